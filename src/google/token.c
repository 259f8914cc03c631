/* token.c - one exchange with a token endpoint: the request of each kind of identity, and what its replies mean.
 *
 * Requests carry secrets in the form body only; the body is wiped afterwards. An error reply is quoted by its OAuth
 * members "error" and "error_description" alone, and not even those when they repeat something we sent as a secret
 * (servers that echo exist). */
#include <ctype.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "credentials_internal.h"

enum {
    TOKEN_CONNECT_TIMEOUT_MS = 5000,
    TOKEN_TIMEOUT_MS = 15000,
    TOKEN_MAX_REPLY_BYTES = 64 * 1024,
    TOKEN_MAX_BYTES = 16 * 1024, /* metadata of a call is bounded; real tokens have 1-2 KiB */
    TOKEN_DEFAULT_LIFETIME_S = 3600,
    TOKEN_MAX_LIFETIME_S = 86400,
};

static void wipe(struct buf *bytes)
{
    if (bytes->ptr)
        explicit_bzero(bytes->ptr, bytes->cap);
    buf_release(bytes);
}

static void append_field(struct buf *form, const char *name, struct slice value)
{
    buf_printf(form, "%s%s=", form->len > 0 ? "&" : "", name);
    buf_append_url_escaped(form, value);
}

static bool build_form(const struct identity *id, struct buf *form, struct error *err)
{
    struct buf jwt = BUF_INIT;
    if (id->kind == IDENTITY_SERVICE_ACCOUNT) {
        bool ok = identity_sign_jwt(id, clock_wall_us(), &jwt, err);
        append_field(form, "grant_type", SLICE_LIT("urn:ietf:params:oauth:grant-type:jwt-bearer"));
        append_field(form, "assertion", buf_slice(&jwt));
        wipe(&jwt);
        return ok;
    }
    append_field(form, "grant_type", SLICE_LIT("refresh_token"));
    append_field(form, "client_id", slice_str(id->client_id));
    append_field(form, "client_secret", secret_reveal(id->client_secret));
    append_field(form, "refresh_token", secret_reveal(id->refresh_token));
    return true;
}

/* True when the text repeats a secret of ours, or anything that looks like one: a JWT starts with "eyJ", in base64 with
 * "ZXlK". */
static bool echoes_secret(const struct identity *id, char *text)
{
    bool secret = secret_blot(text, id->client_secret), token = secret_blot(text, id->refresh_token);
    return secret || token || strstr(text, "eyJ") || strstr(text, "ZXlK");
}

static void append_printable(struct buf *out, const char *text)
{
    for (; *text; text++)
        buf_append_char(out, iscntrl((unsigned char)*text) ? ' ' : *text);
}

/* "invalid_grant: Invalid JWT Signature." when the reply is an OAuth error, else empty. */
static void oauth_reason(const struct identity *id, struct slice body, struct buf *out)
{
    struct json_object *reply = json_parse(body, "the reply", NULL);
    if (reply && json_object_is_type(json_at(reply, "error"), json_type_string)) {
        append_printable(out, json_text_at(reply, "error", ""));
        const char *text = json_text_at(reply, "error_description", "");
        buf_append_str(out, *text ? ": " : "");
        append_printable(out, text);
    }
    json_object_put(reply);
    if (out->len > 0 && echoes_secret(id, out->ptr)) {
        buf_clear(out);
        buf_append_str(out, "the reason is withheld, it repeats a secret");
    }
}

static bool refused(const struct identity *id, const struct http_response *reply, struct error *err)
{
    struct buf reason = BUF_INIT;
    enum { TOO_MANY_REQUESTS = 429, REQUEST_TIMEOUT = 408, SERVER_ERRORS = 500 };
    bool throttled = reply->status == TOO_MANY_REQUESTS;
    bool transient = reply->status >= SERVER_ERRORS || reply->status == REQUEST_TIMEOUT;
    enum error_class class = throttled ? ERROR_THROTTLED : transient ? ERROR_RETRY : ERROR_PERMANENT;
    oauth_reason(id, buf_slice(&reply->body), &reason);
    error_set(err, class, class == ERROR_PERMANENT ? "credentials_refused" : "credentials_busy",
              "%s get an access token for the %s: HTTP status %d%s%s",
              class == ERROR_PERMANENT ? "cannot" : "could not", id->description, reply->status,
              reason.len > 0 ? ": " : "", buf_cstr(&reason));
    if (err) {
        err->status = reply->status;
        err->wait_ms = throttled && reply->retry_after_ms > 0 ? reply->retry_after_ms : 0;
    }
    buf_release(&reason);
    return false;
}

static bool read_token(const struct identity *id, const struct http_response *reply, struct secret **ret,
                       int64_t *ret_lifetime_s, struct error *err)
{
    struct json_object *json = json_parse(buf_slice(&reply->body), "the reply", NULL);
    struct json_object *token = json ? json_at(json, "access_token") : NULL;
    int64_t lifetime_s = json ? json_int_at(json, "expires_in", TOKEN_DEFAULT_LIFETIME_S) : 0;
    size_t len = json_object_is_type(token, json_type_string) ? (size_t)json_object_get_string_len(token) : 0;
    bool ok = len > 0 && len <= TOKEN_MAX_BYTES && lifetime_s > 0;
    if (ok) {
        *ret = secret_new(slice_of(json_object_get_string(token), len));
        *ret_lifetime_s = lifetime_s < TOKEN_MAX_LIFETIME_S ? lifetime_s : TOKEN_MAX_LIFETIME_S;
    } else {
        error_set(err, ERROR_RETRY, "credentials_reply",
                  "could not get an access token for the %s: the reply has no usable access_token", id->description);
    }
    json_object_put(json);
    return ok;
}

bool identity_fetch_token(const struct identity *id, struct http_client *client, struct cancel *cancel,
                          struct secret **ret, int64_t *ret_lifetime_s, struct error *err)
{
    struct http_response reply = HTTP_RESPONSE_INIT;
    struct buf form = BUF_INIT;
    struct http_request request = {
        .method = "POST",
        .url = id->token_url,
        .headers = {{"Content-Type", SLICE_LIT("application/x-www-form-urlencoded")}},
        .header_count = 1,
        .connect_timeout_ms = TOKEN_CONNECT_TIMEOUT_MS,
        .timeout_ms = TOKEN_TIMEOUT_MS,
        .max_body_bytes = TOKEN_MAX_REPLY_BYTES,
        .cancel = cancel,
    };
    bool ok = false;
    if (id->kind == IDENTITY_METADATA) {
        request.method = "GET";
        request.headers[0] = (struct http_header){"Metadata-Flavor", SLICE_LIT("Google")};
        request.allow_link_local = true;
    } else {
        if (!build_form(id, &form, err))
            goto out;
        request.body = buf_slice(&form);
    }
    enum { HTTP_OK = 200 };
    if (!http_perform(client, &request, &reply, err)) {
        error_prefix(err, "could not get an access token for the %s", id->description);
        goto out;
    }
    ok = reply.status == HTTP_OK ? read_token(id, &reply, ret, ret_lifetime_s, err) : refused(id, &reply, err);
out:
    wipe(&form);
    wipe(&reply.body);
    http_response_release(&reply);
    return ok;
}
