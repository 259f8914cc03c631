/* st_oauth.c - POST /connect/token: client credentials in a form, a token of 900 s.
 *
 * As the real one: a JSON body is refused, a wrong client or secret is 400 invalid_client, and asking too often is 429.
 */
#include <ctype.h>
#include <strings.h>

#include "st_state.h"

enum { FORM_VALUE_BYTES = 512 };

static const char JSON_TYPE[] = "application/json; charset=utf-8";

static int hex(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c ? strchr(digits, tolower((unsigned char)c)) : NULL;
    return at ? (int)(at - digits) : -1;
}

static bool decode(struct slice text, char ret[FORM_VALUE_BYTES])
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            if (i + 2 >= text.len || hex(text.ptr[i + 1]) < 0 || hex(text.ptr[i + 2]) < 0)
                return false;
            c = (char)(hex(text.ptr[i + 1]) * 16 + hex(text.ptr[i + 2]));
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        if (len + 1 == FORM_VALUE_BYTES || c == '\0')
            return false;
        ret[len++] = c;
    }
    ret[len] = '\0';
    return true;
}

/* Value of a form member; empty when absent or not decodable. */
static void form_value(struct slice form, const char *name, char ret[FORM_VALUE_BYTES])
{
    ret[0] = '\0';
    while (form.len > 0) {
        struct slice pair = slice_cut(&form, '&');
        struct slice key = slice_cut(&pair, '=');
        if (slice_eq_str(key, name)) {
            if (!decode(pair, ret))
                ret[0] = '\0';
            return;
        }
    }
}

static void refuse(struct st_call *call, const char *error)
{
    struct buf body = BUF_INIT;
    buf_printf(&body, "{\"error\":\"%s\"}", error);
    st_reply(call, 400, JSON_TYPE, &body);
    buf_release(&body);
}

static struct st_site *site_of_client(struct st_server *server, const char *id, const char *secret)
{
    for (size_t i = 0; i < server->site_count; i++)
        if (strcmp(server->sites[i].client_id, id) == 0 && strcmp(server->sites[i].client_secret, secret) == 0)
            return &server->sites[i];
    return NULL;
}

static bool is_form(const struct http_exchange *x)
{
    const char *type = http_exchange_header(x, "Content-Type");
    return type && strncasecmp(type, "application/x-www-form-urlencoded", 33) == 0;
}

static void grant(struct st_call *call, const struct st_site *site)
{
    struct st_token_claims claims = {.tenant = site->company.tenant, .issued_s = call->now / ST_TICKS_PER_SECOND};
    claims.expires_s = claims.issued_s + call->settings.token_life_s;
    struct buf body = BUF_INIT;
    buf_append_str(&body, "{\"access_token\":\"");
    st_token_make(&call->server->token_key, &claims, site->client_id, &body);
    buf_printf(&body,
               "\",\"expires_in\":%lld,\"token_type\":\"Bearer\",\"scope\":\"tn.acc.invoices:r tn.acc.payments:r "
               "tn.jpm.jobs:r "
               "tn.sal.estimates:r\"}",
               (long long)call->settings.token_life_s);
    atomic_fetch_add(&call->server->stats.tokens, 1);
    http_exchange_add_header(call->x, "Cache-Control", "no-store, no-cache, max-age=0");
    st_reply(call, 200, JSON_TYPE, &body);
    buf_release(&body);
}

void st_token_serve(struct st_call *call)
{
    char grant_type[FORM_VALUE_BYTES], id[FORM_VALUE_BYTES], secret[FORM_VALUE_BYTES];
    struct slice form = http_exchange_body(call->x);
    if (!is_form(call->x)) {
        refuse(call, "invalid_request");
        return;
    }
    form_value(form, "grant_type", grant_type);
    form_value(form, "client_id", id);
    form_value(form, "client_secret", secret);
    if (strcmp(grant_type, "client_credentials") != 0) {
        refuse(call, "unsupported_grant_type");
        return;
    }
    struct st_site *site = site_of_client(call->server, id, secret);
    if (site == NULL) {
        refuse(call, "invalid_client");
        return;
    }
    int64_t wait_ms = st_rate_take(call->server, &site->guarded.token, call->settings.token_rate_per_second);
    if (wait_ms > 0)
        st_reply_throttled(call, wait_ms);
    else
        grant(call, site);
}
