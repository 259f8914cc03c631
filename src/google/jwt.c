/* jwt.c - the signed assertion (RFC 7523) with which a service account asks for an access token: RS256 over OpenSSL. */
#include <openssl/evp.h>

#include "credentials_internal.h"

#define JWT_SCOPE "https://www.googleapis.com/auth/cloud-platform"
enum { JWT_LIFETIME_S = 3600 };

/* base64url without padding (RFC 7515). */
static void append_base64url(struct buf *out, struct slice bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i < 3 ? bytes.len - i : 3;
        uint32_t group = 0;
        for (size_t k = 0; k < 3; k++)
            group = group << 8 | (k < left ? (unsigned char)bytes.ptr[i + k] : 0U);
        for (size_t k = 0; k <= left; k++)
            buf_append_char(out, digits[group >> (18 - 6 * k) & 63]);
    }
}

static void append_header(const struct identity *id, struct buf *out)
{
    struct buf json = BUF_INIT;
    buf_append_str(&json, "{\"alg\":\"RS256\",\"typ\":\"JWT\"");
    if (id->key_id) {
        buf_append_str(&json, ",\"kid\":");
        buf_append_json_string(&json, slice_str(id->key_id));
    }
    buf_append_char(&json, '}');
    append_base64url(out, buf_slice(&json));
    buf_release(&json);
}

static void append_claims(const struct identity *id, int64_t now_us, struct buf *out)
{
    struct buf json = BUF_INIT;
    long long issued_s = (long long)(now_us / 1000000);
    buf_append_str(&json, "{\"iss\":");
    buf_append_json_string(&json, slice_str(id->email));
    buf_append_str(&json, ",\"scope\":\"" JWT_SCOPE "\",\"aud\":");
    buf_append_json_string(&json, slice_str(id->token_url));
    buf_printf(&json, ",\"iat\":%lld,\"exp\":%lld}", issued_s, issued_s + JWT_LIFETIME_S);
    append_base64url(out, buf_slice(&json));
    buf_release(&json);
}

static bool sign(EVP_PKEY *key, struct slice text, struct buf *ret_signature)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t len = 0;
    const unsigned char *bytes = (const unsigned char *)text.ptr;
    bool ok = ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
              EVP_DigestSign(ctx, NULL, &len, bytes, text.len) == 1;
    if (ok) {
        buf_reserve(ret_signature, len);
        ok = EVP_DigestSign(ctx, (unsigned char *)ret_signature->ptr, &len, bytes, text.len) == 1;
        ret_signature->len = ok ? len : 0;
    }
    EVP_MD_CTX_free(ctx);
    return ok;
}

bool identity_sign_jwt(const struct identity *id, int64_t now_us, struct buf *out, struct error *err)
{
    struct buf signature = BUF_INIT;
    size_t start = out->len;
    append_header(id, out);
    buf_append_char(out, '.');
    append_claims(id, now_us, out);
    bool ok = sign(id->key, slice_of(out->ptr + start, out->len - start), &signature);
    if (ok) {
        buf_append_char(out, '.');
        append_base64url(out, buf_slice(&signature));
    } else {
        error_set(err, ERROR_PERMANENT, "credentials_key", "cannot sign with the private key of \"%s\"", id->email);
    }
    buf_release(&signature);
    return ok;
}
