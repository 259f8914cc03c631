/* st_token.c - see st_token.h. */
#include "st_token.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "base/json.h"
#include "base/uuid.h"

enum { SIGNATURE_BYTES = 32, MAX_TOKEN_BYTES = 8192 };

static const char HEADER[] = "{\"alg\":\"RS256\",\"kid\":\"5C0A7F2B91D34E66\",\"typ\":\"at+jwt\"}";

void st_token_key_init(struct st_token_key *key, uint64_t seed)
{
    char text[64];
    int len = snprintf(text, sizeof text, "token key of seed %llu", (unsigned long long)seed);
    SHA256((const unsigned char *)text, (size_t)len, key->bytes);
}

static void append_base64url(struct buf *out, struct slice bytes)
{
    unsigned char *text = xmalloc(bytes.len * 4 / 3 + 8);
    int len = EVP_EncodeBlock(text, (const unsigned char *)bytes.ptr, (int)bytes.len);
    for (int i = 0; i < len && text[i] != '='; i++)
        buf_append_char(out, text[i] == '+' ? '-' : text[i] == '/' ? '_' : (char)text[i]);
    free(text);
}

static bool decode_base64url(struct slice text, struct buf *out)
{
    struct buf padded = BUF_INIT;
    for (size_t i = 0; i < text.len; i++)
        buf_append_char(&padded, text.ptr[i] == '-' ? '+' : text.ptr[i] == '_' ? '/' : text.ptr[i]);
    size_t pad = (4 - text.len % 4) % 4;
    for (size_t i = 0; i < pad; i++)
        buf_append_char(&padded, '=');
    unsigned char *bytes = xmalloc(padded.len + 4);
    int len = EVP_DecodeBlock(bytes, (const unsigned char *)buf_cstr(&padded), (int)padded.len);
    if (len >= (int)pad)
        buf_append(out, bytes, (size_t)len - pad);
    free(bytes);
    buf_release(&padded);
    return len >= (int)pad && out->len > 0;
}

static void sign(const struct st_token_key *key, struct slice text, unsigned char ret[SIGNATURE_BYTES])
{
    unsigned len = 0;
    HMAC(EVP_sha256(), key->bytes, sizeof key->bytes, (const unsigned char *)text.ptr, text.len, ret, &len);
}

void st_token_make(const struct st_token_key *key, const struct st_token_claims *claims, const char *client_id,
                   struct buf *out)
{
    char id[UUID_TEXT_SIZE];
    uuid_generate(id);
    struct buf payload = BUF_INIT;
    buf_printf(&payload, "{\"nbf\":%lld,\"exp\":%lld,\"iss\":\"https://auth.servicetitan.io\",\"client_id\":\"%s\",",
               (long long)claims->issued_s, (long long)claims->expires_s, client_id);
    buf_printf(&payload,
               "\"tenant\":\"%lld\",\"jti\":\"%s\",\"iat\":%lld,\"scope\":[\"tn.acc.invoices:r\",\"tn.acc.payments:r\","
               "\"tn.jpm.jobs:r\",\"tn.sal.estimates:r\"]}",
               (long long)claims->tenant, id, (long long)claims->issued_s);
    size_t start = out->len;
    append_base64url(out, slice_of(HEADER, sizeof HEADER - 1));
    buf_append_char(out, '.');
    append_base64url(out, buf_slice(&payload));
    unsigned char signature[SIGNATURE_BYTES];
    sign(key, slice_of(out->ptr + start, out->len - start), signature);
    buf_append_char(out, '.');
    append_base64url(out, slice_of(signature, sizeof signature));
    buf_release(&payload);
}

static bool signature_is_ours(const struct st_token_key *key, struct slice signed_part, struct slice signature)
{
    unsigned char expected[SIGNATURE_BYTES];
    sign(key, signed_part, expected);
    struct buf text = BUF_INIT;
    append_base64url(&text, slice_of(expected, sizeof expected));
    bool same = slice_eq(buf_slice(&text), signature);
    buf_release(&text);
    return same;
}

static bool read_claims(struct slice payload, struct st_token_claims *ret)
{
    struct buf json = BUF_INIT;
    struct json_object *root = NULL;
    if (decode_base64url(payload, &json))
        root = json_parse(buf_slice(&json), "access token", NULL);
    if (root) {
        ret->tenant = json_int_at(root, "tenant", 0);
        ret->issued_s = json_int_at(root, "iat", 0);
        ret->expires_s = json_int_at(root, "exp", 0);
    }
    buf_release(&json);
    json_object_put(root);
    return root != NULL;
}

bool st_token_read(const struct st_token_key *key, struct slice text, struct st_token_claims *ret)
{
    if (text.len > MAX_TOKEN_BYTES)
        return false;
    struct slice rest = text;
    struct slice header = slice_cut(&rest, '.');
    struct slice payload = slice_cut(&rest, '.');
    if (header.len == 0 || payload.len == 0 || rest.len == 0)
        return false;
    return signature_is_ours(key, slice_of(text.ptr, header.len + 1 + payload.len), rest) && read_claims(payload, ret);
}
