/* client.c - a ServiceTitan tenant: what all its requests share, and how one exchange with it goes.
 *
 * list.c builds list requests on this, token.c keeps the token, endpoints.c the page sizes. Any thread. */
#include "tenant.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

enum {
    BREAKER_THRESHOLD = 5,
    BREAKER_RESET_MS = 60 * 1000,
    MAX_PATIENCE_MS = 5 * 60 * 1000, /* a longer wait is the caller's business */
    CLOCK_TOLERANCE_US = 2 * 1000 * 1000,
    DATE_RESOLUTION_US = 1000 * 1000,
};

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static bool check_url(const char *name, const char *url, struct error *err)
{
    const char *refusal = http_url_refusal(url);
    return !refusal ||
           error_set(err, ERROR_PERMANENT, "config_value", "cannot use %s \"%s\": %s", name, url ? url : "", refusal);
}

static bool check_secret(const char *name, int64_t tenant, const struct secret *secret, struct error *err)
{
    if (secret_is_empty(secret))
        return error_set(err, ERROR_PERMANENT, "config_value", "cannot use tenant %lld: %s is missing",
                         (long long)tenant, name);
    struct slice value = secret_reveal(secret);
    for (size_t i = 0; i < value.len; i++)
        if (iscntrl((unsigned char)value.ptr[i])) /* every request would fail */
            return error_set(err, ERROR_PERMANENT, "config_value",
                             "cannot use tenant %lld: %s holds a line break or another control character",
                             (long long)tenant, name);
    return true;
}

static bool check_options(const struct st_tenant_options *o, struct error *err)
{
    if (o->tenant <= 0)
        return error_set(err, ERROR_PERMANENT, "config_value", "cannot use tenant \"%lld\": not a tenant id",
                         (long long)o->tenant);
    if (!(o->rate_per_second > 0) || o->max_retries < 0)
        return error_set(err, ERROR_PERMANENT, "config_value",
                         "cannot use tenant %lld: rate and retries must not be negative or zero", (long long)o->tenant);
    return check_url("ST_API_URL", o->api_url, err) && check_url("ST_AUTH_URL", o->auth_url, err) &&
           check_secret("ST_CLIENT_ID", o->tenant, o->client_id, err) &&
           check_secret("ST_CLIENT_SECRET", o->tenant, o->client_secret, err) &&
           check_secret("ST_APP_KEY", o->tenant, o->app_key, err);
}

static char *without_slash(const char *url)
{
    size_t len = strlen(url);
    while (len > 0 && url[len - 1] == '/')
        len--;
    return xstrndup(url, len);
}

static void tell_breaker_change(const struct st_tenant *tenant, const char *endpoint, enum breaker_state state,
                                int failures)
{
    const struct log_context context = {.context = "v2-ingestor:servicetitan", .tenant = tenant->id};
    const char *name = breaker_state_name(state);
    char id[METRIC_NUMBER_SIZE];
    metrics_add(METRIC_ST_BREAKER_CHANGES, 1, METRIC_LABELS(metric_number(id, tenant->id), endpoint, name));
    if (state == BREAKER_OPEN)
        log_warn(&context, LOG_MSG("Circuit breaker opened; one request tries again after its pause"),
                 LOG_STR("endpoint", endpoint), LOG_INT("failures", failures), LOG_INT("pauseMs", BREAKER_RESET_MS));
    else
        log_info(&context,
                 LOG_MSG(state == BREAKER_CLOSED ? "Circuit breaker closed" : "Circuit breaker lets one request try"),
                 LOG_STR("endpoint", endpoint));
}

static void api_breaker_changed(void *user, enum breaker_state state, int failures)
{
    tell_breaker_change(user, "list", state, failures);
}

static void auth_breaker_changed(void *user, enum breaker_state state, int failures)
{
    tell_breaker_change(user, "token", state, failures);
}

struct st_tenant *st_tenant_new(const struct st_tenant_options *options, struct error *err)
{
    if (!check_options(options, err))
        return NULL;
    struct st_tenant *tenant = xcalloc(1, sizeof *tenant);
    tenant->id = options->tenant;
    tenant->api_url = without_slash(options->api_url);
    tenant->auth_url = xstrdup(options->auth_url);
    tenant->client_id = secret_ref(options->client_id);
    tenant->client_secret = secret_ref(options->client_secret);
    tenant->app_key = secret_ref(options->app_key);
    tenant->max_retries = options->max_retries;
    tenant->timeout_ms = options->timeout_ms;
    tenant->pool = options->pool;
    tenant->limiter = limiter_new(options->rate_per_second, options->burst);
    tenant->api_breaker = breaker_new(BREAKER_THRESHOLD, BREAKER_RESET_MS);
    tenant->auth_breaker = breaker_new(BREAKER_THRESHOLD, BREAKER_RESET_MS);
    breaker_watch(tenant->api_breaker, api_breaker_changed, tenant);
    breaker_watch(tenant->auth_breaker, auth_breaker_changed, tenant);
    pthread_mutex_init(&tenant->token.mutex, NULL);
    clock_cond_init(&tenant->token.changed);
    pthread_mutex_init(&tenant->clock.mutex, NULL);
    pthread_mutex_init(&tenant->endpoints.mutex, NULL);
    return tenant;
}

void st_tenant_free(struct st_tenant *tenant)
{
    if (!tenant)
        return;
    secret_unref(tenant->token.value);
    secret_unref(tenant->client_id);
    secret_unref(tenant->client_secret);
    secret_unref(tenant->app_key);
    limiter_free(tenant->limiter);
    breaker_free(tenant->api_breaker);
    breaker_free(tenant->auth_breaker);
    pthread_mutex_destroy(&tenant->token.mutex);
    pthread_cond_destroy(&tenant->token.changed);
    pthread_mutex_destroy(&tenant->clock.mutex);
    pthread_mutex_destroy(&tenant->endpoints.mutex);
    free(tenant->api_url);
    free(tenant->auth_url);
    free(tenant);
}

int64_t st_tenant_id(const struct st_tenant *tenant)
{
    return tenant->id;
}

void st_tenant_stats(struct st_tenant *tenant, struct st_stats *ret)
{
    *ret = (struct st_stats){
        .requests = atomic_load(&tenant->counters.requests),
        .retries = atomic_load(&tenant->counters.retries),
        .throttled = atomic_load(&tenant->counters.throttled),
        .bytes = atomic_load(&tenant->counters.bytes),
        .limiter_wait_ms = atomic_load(&tenant->counters.limiter_wait_ms),
    };
}

enum breaker_state st_tenant_breaker(struct st_tenant *tenant)
{
    enum breaker_state api = breaker_state(tenant->api_breaker), auth = breaker_state(tenant->auth_breaker);
    if (api == BREAKER_OPEN || auth == BREAKER_OPEN)
        return BREAKER_OPEN;
    return api != BREAKER_CLOSED ? api : auth;
}

/* ---- The server's clock ------------------------------------------------------------------------------------------ */

/* The Date of a reply was true at some moment between sending and the end, and is cut to whole seconds. */
struct st_offset st_offset_note(struct st_offset old, int64_t sent_us, int64_t elapsed_us, int64_t date_us)
{
    struct st_offset seen = {true, date_us - sent_us - elapsed_us, date_us + DATE_RESOLUTION_US - sent_us};
    if (!old.known)
        return seen;
    struct st_offset both = {true, old.low_us > seen.low_us ? old.low_us : seen.low_us,
                             old.high_us < seen.high_us ? old.high_us : seen.high_us};
    return both.low_us <= both.high_us ? both : seen; /* no common ground: a clock was set */
}

/* The possible offset nearest to zero: towards the safe side when the server is ahead and the reply was slow. */
int64_t st_offset_us(struct st_offset offset)
{
    if (!offset.known)
        return 0;
    if (offset.low_us > CLOCK_TOLERANCE_US)
        return offset.low_us;
    return offset.high_us < -CLOCK_TOLERANCE_US ? offset.high_us : 0;
}

int64_t st_offset_least_us(struct st_offset offset)
{
    return offset.known ? offset.low_us : 0;
}

void st_clock_note(struct st_tenant *tenant, const struct http_response *response)
{
    if (response->server_time_us == 0)
        return;
    pthread_mutex_lock(&tenant->clock.mutex);
    tenant->clock.offset = st_offset_note(tenant->clock.offset, response->sent_wall_us,
                                          response->elapsed_ms * 1000 + 1000, response->server_time_us);
    pthread_mutex_unlock(&tenant->clock.mutex);
}

int64_t st_clock_at(struct st_tenant *tenant, int64_t wall_us)
{
    pthread_mutex_lock(&tenant->clock.mutex);
    int64_t offset_us = st_offset_us(tenant->clock.offset);
    pthread_mutex_unlock(&tenant->clock.mutex);
    return wall_us + offset_us;
}

static bool clock_is_known(struct st_tenant *tenant)
{
    pthread_mutex_lock(&tenant->clock.mutex);
    bool known = tenant->clock.offset.known;
    pthread_mutex_unlock(&tenant->clock.mutex);
    return known;
}

bool st_tenant_now(struct st_tenant *tenant, int64_t *ret_us, struct cancel *cancel, struct error *err)
{
    if (!clock_is_known(tenant)) { /* the token reply carries a Date, and the token is needed next anyway */
        struct secret *token;
        uint64_t generation;
        if (!st_token_get(tenant, &token, &generation, cancel, err))
            return false;
        secret_unref(token);
    }
    pthread_mutex_lock(&tenant->clock.mutex);
    *ret_us = clock_wall_us() + st_offset_least_us(tenant->clock.offset);
    pthread_mutex_unlock(&tenant->clock.mutex);
    return true;
}

/* ---- One exchange ------------------------------------------------------------------------------------------------ */

void st_scrub(const struct st_tenant *tenant, const struct secret *token, struct error *err)
{
    if (!err)
        return;
    const struct secret *const secrets[] = {tenant->client_id, tenant->client_secret, tenant->app_key, token};
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++)
        secret_blot(err->message, secrets[i]);
}

/* What the breaker learns from an exchange: replies below 500 prove that the host lives. */
static void tell_breaker(struct breaker *breaker, bool replied, int status, enum error_class class)
{
    if (!replied && class == ERROR_CANCELLED)
        breaker_abandon(breaker);
    else
        breaker_leave(breaker, replied && status < 500);
}

void st_count_metric(const struct st_tenant *tenant, enum metric metric, int64_t amount)
{
    char id[METRIC_NUMBER_SIZE];
    metrics_add(metric, amount, METRIC_LABELS(metric_number(id, tenant->id)));
}

double st_tenant_rate(struct st_tenant *tenant)
{
    return limiter_rate(tenant->limiter);
}

void st_tenant_set_rate(struct st_tenant *tenant, double rate_per_second, double burst)
{
    limiter_set_rate(tenant->limiter, rate_per_second, burst);
}

/* status 0: no (whole) reply came. */
static void count_exchange(const struct st_tenant *tenant, const char *endpoint, int status,
                           const struct http_response *response)
{
    char id[METRIC_NUMBER_SIZE], code[METRIC_NUMBER_SIZE] = "error";
    metric_number(id, tenant->id);
    if (status > 0)
        metric_number(code, status);
    const struct metric_update updates[] = {
        {METRIC_ST_REQUESTS, 1, METRIC_LABELS(id, endpoint, code)},
        {METRIC_ST_BYTES, response->body_bytes, METRIC_LABELS(id)},
    };
    metrics_add_all(updates, sizeof updates / sizeof updates[0]);
    if (status > 0)
        metrics_observe(METRIC_ST_REQUEST_DURATION, response->elapsed_ms, METRIC_LABELS(endpoint));
}

bool st_exchange(struct st_tenant *tenant, struct breaker *breaker, bool background, const struct http_request *request,
                 struct http_response *response, struct error *err)
{
    struct error local = ERROR_INIT;
    if (!breaker_enter(breaker, err))
        return false;
    struct http_client *client = background ? http_pool_take_background(tenant->pool, request->cancel, err)
                                            : http_pool_take(tenant->pool, request->cancel, err);
    if (!client) {
        breaker_abandon(breaker);
        return false;
    }
    bool replied = http_perform(client, request, response, &local);
    http_pool_give(tenant->pool, client);
    tell_breaker(breaker, replied, response->status, local.class);
    atomic_fetch_add(&tenant->counters.requests, 1);
    atomic_fetch_add(&tenant->counters.bytes, response->body_bytes);
    count_exchange(tenant, breaker == tenant->auth_breaker ? "token" : "list", replied ? response->status : 0,
                   response);
    st_clock_note(tenant, response);
    if (!replied && err)
        *err = local;
    return replied;
}

bool st_retry_wait(struct st_tenant *tenant, struct backoff *backoff, const char *entity, struct cancel *cancel,
                   struct error *err)
{
    static struct log_limit limit;
    struct log_context context = {.context = "v2-ingestor:servicetitan", .entity = entity, .tenant = tenant->id};
    int64_t wait_ms = err->wait_ms > MAX_PATIENCE_MS ? -1 : backoff_next_ms(backoff, err->wait_ms);
    if (wait_ms < 0)
        return false;
    log_retry(&context, &limit, wait_ms, backoff->retries, err);
    atomic_fetch_add(&tenant->counters.retries, 1);
    st_count_metric(tenant, METRIC_ST_RETRIES, 1);
    metrics_add(METRIC_RETRIES, 1, METRIC_LABELS("servicetitan"));
    return cancel_sleep_ms(cancel, wait_ms) || cancel_check(cancel, err);
}
