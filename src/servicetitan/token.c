/* token.c - the tenant's access token (OAuth2 client credentials).
 *
 * One token for all threads. 90 s before its end the first thread that needs it renews it, while the others go on with
 * the old one; when there is none, the others wait for that one thread and share its failure. A token that the API
 * refused is dropped by generation, so that ten threads with a 401 cause one renewal. The endpoint takes a form only (a
 * JSON body is refused), throttles, and answers 400 {"error":"invalid_client"} to wrong credentials. Secrets stand in
 * the form body, which is wiped. */
#include "tenant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"

enum {
    RENEW_AHEAD_MS = 90 * 1000,
    SPARE_MS = 5 * 1000, /* a token this near to its end is not sent any more */
    DEFAULT_LIFE_S = 300,
    MAX_LIFE_S = 24 * 3600,
    MAX_TOKEN_REPLY = 256 * 1024,
    TOKEN_TIMEOUT_MS = 30 * 1000, /* a short answer */
};

/* ---- The exchange ------------------------------------------------------------------------------------------------ */

static void append_field(struct buf *form, const char *name, const struct secret *value)
{
    buf_append_str(form, name);
    buf_append_url_escaped(form, secret_reveal(value));
}

/* Reserved ahead, so that no outgrown copy of a secret stays behind in the heap. */
static void build_form(const struct st_tenant *tenant, struct buf *form)
{
    size_t secrets = secret_reveal(tenant->client_id).len + secret_reveal(tenant->client_secret).len;
    buf_reserve(form, 128 + 3 * secrets);
    buf_append_str(form, "grant_type=client_credentials");
    append_field(form, "&client_id=", tenant->client_id);
    append_field(form, "&client_secret=", tenant->client_secret);
}

static bool refused(const struct st_tenant *tenant, const struct http_response *response, struct error *err)
{
    struct json_object *body = json_parse(buf_slice(&response->body), "token reply", NULL);
    char reason[64];
    snprintf(reason, sizeof reason, "%s", json_text_at(body, "error", "without a reason"));
    json_object_put(body);
    const char *hint = response->status == 404 ? "check ST_AUTH_URL" : "check ST_CLIENT_ID, ST_CLIENT_SECRET";
    error_set(err, ERROR_PERMANENT, "auth_failed",
              "ServiceTitan authentication failed: %d %s from \"%s\" for tenant %lld; %s", response->status, reason,
              tenant->auth_url, (long long)tenant->id, hint);
    if (err)
        err->status = response->status;
    return false;
}

/* Takes the token out of the reply. */
static bool read_reply(const struct http_response *response, struct secret **ret, int64_t *ret_life_ms,
                       struct error *err)
{
    struct json_object *body = json_parse(buf_slice(&response->body), "token reply", NULL);
    const char *text = body ? json_text_at(body, "access_token", "") : "";
    bool ok = *text != '\0' && strpbrk(text, "\r\n") == NULL;
    if (ok) {
        int64_t life_s = json_int_at(body, "expires_in", DEFAULT_LIFE_S);
        *ret_life_ms = (life_s < 1 ? DEFAULT_LIFE_S : life_s > MAX_LIFE_S ? MAX_LIFE_S : life_s) * 1000;
        *ret = secret_new(slice_str(text));
    } else {
        error_set(err, ERROR_RETRY, "auth_reply", "could not read the token reply: no access_token in it");
    }
    json_object_put(body);
    return ok;
}

static bool ask_once(struct st_tenant *tenant, struct secret **ret, int64_t *ret_life_ms, struct cancel *cancel,
                     struct error *err)
{
    struct buf form = BUF_INIT;
    struct http_response response = HTTP_RESPONSE_INIT;
    build_form(tenant, &form);
    struct http_request request = {
        .method = "POST",
        .url = tenant->auth_url,
        .headers = {{"Content-Type", SLICE_LIT("application/x-www-form-urlencoded")},
                    {"Accept", SLICE_LIT("application/json")}},
        .header_count = 2,
        .body = buf_slice(&form),
        .timeout_ms = tenant->timeout_ms < TOKEN_TIMEOUT_MS ? tenant->timeout_ms : TOKEN_TIMEOUT_MS,
        .max_body_bytes = MAX_TOKEN_REPLY,
        .cancel = cancel,
    };
    bool ok = st_exchange(tenant, tenant->auth_breaker, /* background */ false, &request, &response, err);
    if (ok && response.status == 200)
        ok = read_reply(&response, ret, ret_life_ms, err);
    else if (ok && response.status >= 400 && response.status < 500 && response.status != 429 && response.status != 408)
        ok = refused(tenant, &response, err);
    else if (ok)
        ok = st_error(err, response.status, response.retry_after_ms, buf_slice(&response.body),
                      "get a ServiceTitan token");
    if (!ok)
        st_scrub(tenant, NULL, err);
    explicit_bzero(form.ptr, form.len);
    if (response.body.ptr)
        explicit_bzero(response.body.ptr, response.body.len);
    buf_release(&form);
    http_response_release(&response);
    return ok;
}

static bool ask(struct st_tenant *tenant, struct secret **ret, int64_t *ret_life_ms, struct cancel *cancel,
                struct error *err)
{
    struct backoff backoff;
    struct backoff_policy policy = BACKOFF_DEFAULT;
    policy.max_retries = tenant->max_retries;
    backoff_init(&backoff, policy);
    while (!ask_once(tenant, ret, ret_life_ms, cancel, err)) {
        bool may_retry = error_may_retry(err) && !(strcmp(err->code, "breaker_open") == 0 && backoff.retries == 0);
        if (!may_retry || !st_retry_wait(tenant, &backoff, NULL, cancel, err))
            return false;
    }
    return true;
}

/* ---- Sharing it -------------------------------------------------------------------------------------------------- */

static void store(struct st_tenant *tenant, struct secret *value, int64_t asked_ms, int64_t life_ms)
{
    int64_t ahead_ms = RENEW_AHEAD_MS < life_ms / 2 ? RENEW_AHEAD_MS : life_ms / 2;
    int64_t spare_ms = SPARE_MS < life_ms / 10 ? SPARE_MS : life_ms / 10;
    secret_unref(tenant->token.value);
    tenant->token.value = value;
    tenant->token.generation++;
    tenant->token.expires_ms = asked_ms + life_ms - spare_ms;
    tenant->token.renew_ms = asked_ms + life_ms - ahead_ms;
}

/* Called and left with the mutex held; it is given up during the exchange. */
static bool renew(struct st_tenant *tenant, struct cancel *cancel, struct error *err)
{
    struct secret *value = NULL;
    int64_t life_ms = 0, asked_ms = clock_mono_ms();
    tenant->token.renewing = true;
    pthread_mutex_unlock(&tenant->token.mutex);
    bool ok = ask(tenant, &value, &life_ms, cancel, err);
    pthread_mutex_lock(&tenant->token.mutex);
    tenant->token.renewing = false;
    if (ok) {
        store(tenant, value, asked_ms, life_ms);
    } else if (err->class != ERROR_CANCELLED) { /* the others were not cancelled: one of them asks again */
        tenant->token.failures++;
        tenant->token.failure = *err;
    }
    pthread_cond_broadcast(&tenant->token.changed);
    return ok;
}

static bool is_valid(const struct st_tenant *tenant)
{
    return tenant->token.value && clock_mono_ms() < tenant->token.expires_ms;
}

/* Waits while another thread renews. False when that failed. */
static bool wait_for_other(struct st_tenant *tenant, struct cancel *cancel, struct error *err)
{
    enum { LOOK_AGAIN_MS = 250 };
    uint64_t failures = tenant->token.failures;
    while (tenant->token.renewing && !cancel_is_set(cancel)) {
        int64_t deadline_ms = clock_mono_ms() + (int64_t)(LOOK_AGAIN_MS * clock_scale());
        clock_cond_wait(&tenant->token.changed, &tenant->token.mutex, deadline_ms);
    }
    if (!cancel_check(cancel, err))
        return false;
    if (tenant->token.failures == failures)
        return true;
    *err = tenant->token.failure;
    return false;
}

/* Ahead of its end a failed renewal does no harm yet. */
static bool ensure_valid(struct st_tenant *tenant, struct cancel *cancel, struct error *err)
{
    while (!is_valid(tenant)) {
        if (tenant->token.renewing ? !wait_for_other(tenant, cancel, err) : !renew(tenant, cancel, err))
            return false;
    }
    if (clock_mono_ms() < tenant->token.renew_ms || tenant->token.renewing)
        return true;
    return renew(tenant, cancel, err) || is_valid(tenant);
}

bool st_token_get(struct st_tenant *tenant, struct secret **ret, uint64_t *ret_generation, struct cancel *cancel,
                  struct error *err)
{
    struct error local = ERROR_INIT;
    pthread_mutex_lock(&tenant->token.mutex);
    bool ok = ensure_valid(tenant, cancel, &local);
    if (ok) {
        *ret = secret_ref(tenant->token.value);
        *ret_generation = tenant->token.generation;
    } else if (err) {
        *err = local;
    }
    pthread_mutex_unlock(&tenant->token.mutex);
    return ok;
}

uint64_t st_token_refused(struct st_tenant *tenant, uint64_t generation)
{
    pthread_mutex_lock(&tenant->token.mutex);
    uint64_t newest = tenant->token.generation;
    if (newest == generation)
        tenant->token.expires_ms = 0;
    pthread_mutex_unlock(&tenant->token.mutex);
    return newest;
}
