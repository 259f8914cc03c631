/* api.c - the server's life, its bounds and routes, and one request from beginning to end.
 *
 * Three lanes of threads: what is answered from memory, what asks Google, and what publishes and may wait for minutes; none can starve
 * another. A request that waits costs a parked thread and no poll of its own (task_watch.h). */
#include "api_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/timestamp.h"

enum { GRPC_NOT_FOUND = 5 };

static const char content_type_json[] = "application/json";
static const struct log_context api_log = {.context = "v2-ingestor:api"};

/* clang-format off */ /* One route a line reads as a table. HEAD only where nothing is published: what follows links must start nothing. */
#define READ (API_GET | API_HEAD)
#define SEND (API_GET | API_POST)
static const struct api_route routes[] = {
    {"/health", READ, API_TENANT, API_LANE_QUICK, true, api_health, "the process is alive"},
    {"/ready", READ, API_TENANT, API_LANE_ASK, true, api_ready, "topic and warehouse answer"},
    {"/metrics", READ, API_TENANT, API_LANE_QUICK, false, api_metrics, "Prometheus metrics of this process"},
    {"/entities", READ, API_TENANT, API_LANE_QUICK, false, api_entities, "the enabled entities"},
    {"/ingest/:entity", SEND, API_TENANT | API_MODE | API_WAIT | API_TIMEOUT, API_LANE_PUBLISH, false, api_ingest, "ingest one entity"},
    {"/ingest-all", SEND, API_TENANT | API_MODE | API_PARALLEL | API_WAIT | API_TIMEOUT, API_LANE_PUBLISH, false, api_ingest_all, "ingest all enabled entities, one after the other or at once"},
    {"/full-sync/:entity", API_POST, API_TENANT | API_WAIT | API_TIMEOUT, API_LANE_PUBLISH, false, api_full_sync, "read everything of one entity again"},
    {"/status/:entity", READ, API_TENANT, API_LANE_ASK, false, api_status, "the last 10 runs"},
    {"/last-sync/:entity", READ, API_TENANT, API_LANE_ASK, false, api_last_sync, "up to when the entity is complete"},
    {"/tasks/:id", READ, API_TENANT, API_LANE_ASK, false, api_task, "what became of a task"},
    {"/runs/:id", READ, API_TENANT, API_LANE_ASK, false, api_run, "one run"},
};
/* clang-format on */
enum { ROUTES = sizeof routes / sizeof routes[0] };

/* ---- JSON --------------------------------------------------------------------------------------------------------- */

static void put_name(struct buf *out, const char *name)
{
    bool first = out->len > 0 && (out->ptr[out->len - 1] == '{' || out->ptr[out->len - 1] == '[');
    buf_printf(out, "%s\"%s\":", first ? "" : ",", name);
}

void api_member(struct buf *out, const char *name, const char *value)
{
    put_name(out, name);
    if (value)
        buf_append_json_string(out, slice_str(value));
    else
        buf_append_str(out, "null");
}

void api_member_int(struct buf *out, const char *name, int64_t value)
{
    put_name(out, name);
    buf_printf(out, "%lld", (long long)value);
}

void api_member_time(struct buf *out, const char *name, int64_t us)
{
    char text[TIMESTAMP_TEXT_SIZE];
    api_member(out, name, us ? timestamp_text(text, us, 3) : NULL);
}

const char *api_mode_name(const struct api_request *request)
{
    return request->full ? "full" : "incremental";
}

/* ---- Errors ------------------------------------------------------------------------------------------------------- */

void api_fail(struct api_call *call, int status, const struct error *err)
{
    call->status = status;
    call->err = *err;
    buf_clear(&call->body);
    buf_append_str(&call->body, "{\"success\":false");
    api_member(&call->body, "error", err->message);
    api_member(&call->body, "errorCode", err->code);
    buf_append_char(&call->body, '}');
}

void api_hint_init(struct error *err)
{
    const struct error plain = *err;
    if (strcmp(plain.code, "notFound") == 0 || plain.status == GRPC_NOT_FOUND)
        error_set(err, plain.class, plain.code, "%s; `st-ingestor init` makes what is missing", plain.message);
}

void api_fail_upstream(struct api_call *call, const struct error *err)
{
    struct error why = *err;
    if (why.class == ERROR_CANCELLED) {
        bool stopping = cancel_is_set(call->api->stop);
        if (stopping)
            error_set(&why, ERROR_RETRY, "stopping", "the server is stopping");
        else
            error_set(&why, ERROR_RETRY, "timeout", "BigQuery has not answered within %d s", API_ASK_MS / 1000);
        api_fail(call, stopping ? 503 : 504, &why);
        return;
    }
    api_hint_init(&why);
    api_fail(call, error_may_retry(err) ? 503 : 502, &why);
}

void api_answer_refusal(struct api_call *call)
{
    struct api_refusal *refusal = &call->refusal;
    api_fail(call, refusal->status, &refusal->err);
    if (refusal->allowed.len > 0) {
        call->body.len--;
        buf_printf(&call->body, ",\"allowed\":[%s]}", buf_cstr(&refusal->allowed));
    }
    if (refusal->methods) {
        struct buf list = BUF_INIT;
        api_method_list(&list, refusal->methods);
        http_exchange_add_header(call->x, "Allow", buf_cstr(&list));
        buf_release(&list);
    }
    if (refusal->status == 401)
        http_exchange_add_header(call->x, "WWW-Authenticate", "Bearer");
}

/* ---- One request -------------------------------------------------------------------------------------------------- */

static const char *forwarded_by(const struct http_exchange *x)
{
    static const char *const names[] = {"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (http_exchange_header(x, names[i]))
            return http_exchange_header(x, names[i]);
    return NULL;
}

static struct api_caller caller_of(const struct http_exchange *x)
{
    return (struct api_caller){
        .loopback = http_exchange_peer_is_loopback(x),
        .authorization = http_exchange_header(x, "Authorization"),
        .host = http_exchange_header(x, "Host"),
        .origin = http_exchange_header(x, "Origin"),
        .referer = http_exchange_header(x, "Referer"),
        .fetch_site = http_exchange_header(x, "Sec-Fetch-Site"),
        .forwarded = forwarded_by(x),
    };
}

static bool check_tenant(const struct settings *s, const struct api_request *request, struct api_refusal *refusal)
{
    char text[24];
    if (!request->tenant || settings_tenant(s, request->tenant))
        return true;
    for (size_t i = 0; i < s->tenant_count && i < API_MAX_LISTED; i++) {
        snprintf(text, sizeof text, "%lld", (long long)s->tenants[i].id);
        api_allow(refusal, text);
    }
    return api_refuse(refusal, 404, "unknown_tenant", "tenant %lld is not configured; %zu %s, see 'allowed'",
                      (long long)request->tenant, s->tenant_count, s->tenant_count == 1 ? "is" : "are");
}

static bool check_entity(const struct settings *s, const struct api_request *request, struct api_refusal *refusal)
{
    if (!strstr(request->route->pattern, ":entity"))
        return true;
    const struct entity_settings *entity = settings_entity(s, request->name);
    bool publishes = request->route->lane == API_LANE_PUBLISH;
    if (entity && (entity->enabled || !publishes))
        return true;
    for (size_t i = 0; i < s->entity_count; i++)
        if (s->entities[i].enabled || !publishes)
            api_allow(refusal, s->entities[i].entity->name);
    if (entity)
        return api_refuse(refusal, 409, "entity_disabled",
                          "entity \"%s\" is disabled; config.json's entities.%s.enabled says so", request->name,
                          request->name);
    return api_refuse(refusal, 404, "unknown_entity", "unknown entity \"%s\"; see 'allowed'", request->name);
}

/* Everything that is checked before a handler runs. */
static bool admit(struct api_call *call)
{
    struct api *api = call->api;
    struct api_refusal *refusal = &call->refusal;
    struct slice target = slice_str(http_exchange_target(call->x));
    const struct api_caller caller = caller_of(call->x);
    const struct api_route *route = api_route_find(routes, ROUTES, target);
    if (!api_auth_token(&api->auth, route, &caller, refusal) ||
        !api_request_parse(routes, ROUTES, http_exchange_method(call->x), target, &call->request, refusal))
        return false;
    if (route->lane == API_LANE_PUBLISH && !api_auth_publish(&api->auth, &caller, refusal))
        return false;
    return check_tenant(api->settings, &call->request, refusal) && check_entity(api->settings, &call->request, refusal);
}

static bool take_slot(struct api_call *call)
{
    struct api *api = call->api;
    pthread_mutex_lock(&api->lock);
    bool free_slot = api->waiting < API_MAX_WAITING;
    if (free_slot)
        api->waiting++;
    pthread_mutex_unlock(&api->lock);
    if (!free_slot) {
        api_refuse(&call->refusal, 503, "busy", "%d requests wait for their runs already; nothing was published",
                   API_MAX_WAITING);
        api_answer_refusal(call);
        http_exchange_add_header(call->x, "Retry-After", "10");
    }
    return free_slot;
}

static void give_slot(struct api *api)
{
    pthread_mutex_lock(&api->lock);
    api->waiting--;
    pthread_mutex_unlock(&api->lock);
}

static void answer(struct api_call *call)
{
    bool publishes;
    if (!admit(call)) {
        api_answer_refusal(call);
        return;
    }
    publishes = call->request.route->lane == API_LANE_PUBLISH;
    if (publishes && !take_slot(call))
        return;
    call->request.route->handle(call);
    if (publishes)
        give_slot(call->api);
}

/* The path only: a query may hold what somebody took for a safe place. */
static void log_call(const struct api_call *call, int64_t began_ms)
{
    const struct api_route *route = call->request.route;
    const struct log_context context = {
        .context = api_log.context, .run_id = call->run_id[0] ? call->run_id : NULL, .tenant = call->request.tenant};
    const char *path = http_exchange_path(call->x), *method = http_exchange_method(call->x);
    const char *task_ids = call->task_ids.len > 0 ? buf_cstr(&call->task_ids) : NULL;
    int64_t duration_ms = clock_mono_ms() - began_ms;
    bool publishes = route && route->lane == API_LANE_PUBLISH;
    enum log_level level = call->status >= 500 ? LOG_LEVEL_WARN : publishes ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;
    if (call->err.class != ERROR_NONE)
        log_at(level, &context, LOG_MSG("Request refused or failed"), LOG_STR("method", method), LOG_STR("path", path),
               LOG_INT("status", call->status), LOG_INT("durationMs", duration_ms), LOG_STR("taskIds", task_ids),
               LOG_ERR(&call->err));
    else
        log_at(level, &context, LOG_MSG("Request answered"), LOG_STR("method", method), LOG_STR("path", path),
               LOG_INT("status", call->status), LOG_INT("durationMs", duration_ms), LOG_STR("taskIds", task_ids));
}

static void reply(struct api_call *call)
{
    http_exchange_add_header(call->x, "Cache-Control", "no-store");
    http_exchange_add_header(call->x, "X-Content-Type-Options", "nosniff");
    bool json = strcmp(call->content_type, content_type_json) == 0;
    if (json)
        buf_append_char(&call->body, '\n');
    http_exchange_reply_buf(call->x, call->status, call->content_type, &call->body);
}

static void release_call(struct api_call *call)
{
    api_refusal_release(&call->refusal);
    buf_release(&call->body);
    buf_release(&call->task_ids);
}

static void count_call(const struct api_call *call)
{
    char code[METRIC_NUMBER_SIZE];
    const char *route = call->request.route ? call->request.route->pattern : "other";
    metrics_add(METRIC_HTTP_REQUESTS, 1, METRIC_LABELS(route, metric_number(code, call->status)));
}

static void on_request(void *user, struct http_exchange *x)
{
    struct api_call call = {.api = user, .x = x, .status = 200, .content_type = content_type_json, .err = ERROR_INIT};
    int64_t began_ms = clock_mono_ms();
    answer(&call);
    log_call(&call, began_ms);
    count_call(&call);
    reply(&call);
    release_call(&call);
}

/* What the server itself refuses: no route was looked for. */
static void on_refusal(void *user, struct http_exchange *x, int status, const char *why)
{
    struct api_call call = {.api = user, .x = x, .content_type = content_type_json, .err = ERROR_INIT};
    api_refuse(&call.refusal, status, status == 400 ? "url_syntax" : "too_large", "%s", why);
    api_answer_refusal(&call);
    log_call(&call, clock_mono_ms());
    count_call(&call);
    reply(&call);
    release_call(&call);
}

static size_t lane_of(void *user, const struct http_exchange *x)
{
    const struct api_route *route = api_route_find(routes, ROUTES, slice_str(http_exchange_target(x)));
    (void)user;
    return route ? route->lane : API_LANE_QUICK;
}

/* ---- Tasks published of late ---------------------------------------------------------------------------------------- */

void api_remember(struct api *api, const struct task *group, const char *id, int64_t published_us)
{
    pthread_mutex_lock(&api->lock);
    struct api_recent *recent = &api->recent[api->recent_count++ % API_RECENT];
    *recent = (struct api_recent){.group = *group, .published_us = published_us};
    snprintf(recent->id, sizeof recent->id, "%s", id);
    pthread_mutex_unlock(&api->lock);
}

bool api_recall(struct api *api, const char *id, struct api_recent *ret)
{
    struct slice rest = slice_str(id), head = slice_cut(&rest, '/');
    bool found = false;
    pthread_mutex_lock(&api->lock);
    for (size_t i = 0; !found && i < API_RECENT && i < api->recent_count; i++) {
        found = slice_eq_str(head, api->recent[i].id);
        if (found)
            *ret = api->recent[i];
    }
    pthread_mutex_unlock(&api->lock);
    return found;
}

/* ---- Life --------------------------------------------------------------------------------------------------------- */

static void collect(void *user)
{
    struct api *api = user;
    pthread_mutex_lock(&api->lock);
    int64_t waiting = (int64_t)api->waiting;
    pthread_mutex_unlock(&api->lock);
    metrics_set(METRIC_API_WAITING, waiting, METRIC_NO_LABELS);
}

static bool start_server(struct api *api, struct error *err)
{
    const struct http_server_options options = {
        .bind_address = api->settings->api_bind,
        .port = (uint16_t)api->settings->port,
        .max_connections = API_MAX_CONNECTIONS,
        .max_connections_per_address = API_MAX_CONNECTIONS_PER_ADDRESS,
        .handler_threads = API_QUICK_THREADS,
        .further_lanes = {API_ASK_THREADS, API_MAX_WAITING + API_SPARE_THREADS},
        .lane_of = lane_of,
        .max_body_bytes = API_MAX_BODY_BYTES,
        .max_target_bytes = API_MAX_TARGET_BYTES,
        .max_header_bytes = API_MAX_HEADER_BYTES,
        .connection_memory_bytes = API_CONNECTION_BYTES,
        .idle_timeout_s = API_NEXT_REQUEST_S,
        .first_request_s = API_FIRST_REQUEST_S,
        .next_request_s = API_NEXT_REQUEST_S,
        .handler = on_request,
        .refuse = on_refusal,
        .user = api,
    };
    api->server = http_server_start(&options, err);
    return api->server != NULL;
}

struct api *api_start(struct services *services, struct error *err)
{
    const struct settings *s = services->settings;
    struct api_auth auth;
    if (!api_auth_init(&auth, s, err))
        return NULL;
    if (s->tenant_count == 0) {
        error_set(err, ERROR_PERMANENT, "config", "no tenant is configured: set ST_TENANT_ID, or a tenants list in %s",
                  s->config_path);
        return NULL;
    }
    struct api *api = xcalloc(1, sizeof *api);
    api->services = services;
    api->settings = s;
    api->auth = auth;
    api->stop = cancel_new(NULL);
    api->recent = xcalloc(API_RECENT, sizeof *api->recent);
    pthread_mutex_init(&api->lock, NULL);
    pthread_mutex_init(&api->ready.lock, NULL);
    clock_cond_init(&api->ready.changed);
    api->watch = task_watch_new(services);
    metrics_add_collector(collect, api);
    if (!start_server(api, err)) {
        api_stop(api);
        return NULL;
    }
    log_info(&api_log, LOG_MSG("HTTP API is listening"), LOG_STR("address", s->api_bind),
             LOG_INT("port", api_port(api)),
             LOG_STR("publish", auth.has_token               ? "with the bearer token"
                                : auth.allow_unauthenticated ? "everybody"
                                                             : "this machine only"));
    return api;
}

uint16_t api_port(const struct api *api)
{
    return http_server_port(api->server);
}

void api_stop(struct api *api)
{
    if (!api)
        return;
    cancel_set(api->stop, "the server is stopping");
    http_server_stop(api->server, API_GRACE_MS);
    metrics_remove_collector(collect, api);
    task_watch_free(api->watch);
    pthread_cond_destroy(&api->ready.changed);
    pthread_mutex_destroy(&api->ready.lock);
    pthread_mutex_destroy(&api->lock);
    cancel_free(api->stop);
    free(api->recent);
    free(api);
}
