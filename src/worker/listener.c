/* /health   200 as long as the worker can go on by itself; 503 when a stream has failed for good
 * /ready    200 while messages can come and be worked on: both streams open, the warehouse has answered, not stopping
 * /metrics  Prometheus' text form */
#include "listener.h"

#include <stdlib.h>

#include "base/metrics.h"
#include "base/version.h"
#include "net/http_server.h"

enum {
    HANDLER_THREADS = 2,
    MAX_CONNECTIONS = 64,
    MAX_BODY_BYTES = 1024,
    IDLE_TIMEOUT_S = 30,
    STOP_GRACE_MS = 200,
};
static const struct log_context listener_log = {.context = "v2-ingestor:worker"};
static const char content_type[] = "application/json";

struct listener {
    struct listener_options options;
    struct http_server *server;
};

static void reply_json(struct http_exchange *x, int status, const struct buf *body)
{
    http_exchange_add_header(x, "Cache-Control", "no-store");
    http_exchange_reply(x, status, content_type, buf_slice(body));
}

static int answer_health(const struct listener *listener, struct http_exchange *x)
{
    struct worker_view view;
    struct buf body = BUF_INIT;
    listener->options.look(listener->options.user, &view);
    bool healthy = view.failure.class == ERROR_NONE;
    int status = healthy ? 200 : 503;
    health_json(&body, healthy, view.failure.message);
    reply_json(x, status, &body);
    buf_release(&body);
    return status;
}

static int answer_ready(const struct listener *listener, struct http_exchange *x)
{
    struct worker_view view;
    struct buf body = BUF_INIT;
    listener->options.look(listener->options.user, &view);
    bool live = view.lanes[TASK_LANE_LIVE].open, backfill = view.lanes[TASK_LANE_BACKFILL].open;
    bool ready = live && backfill && view.warehouse_answered && !view.stopping;
    int status = ready ? 200 : 503;
    buf_printf(
        &body,
        "{\"status\":\"%s\",\"checks\":{\"liveStream\":%s,\"backfillStream\":%s,\"warehouse\":%s,\"running\":%s}}",
        ready ? "ready" : "not ready", live ? "true" : "false", backfill ? "true" : "false",
        view.warehouse_answered ? "true" : "false", view.stopping ? "false" : "true");
    reply_json(x, status, &body);
    buf_release(&body);
    return status;
}

static int answer_metrics(const struct listener *listener, struct http_exchange *x)
{
    struct buf body = BUF_INIT;
    (void)listener;
    metrics_render(&body);
    http_exchange_reply_buf(x, 200, METRICS_CONTENT_TYPE, &body);
    return 200;
}

static const struct route {
    const char *path;
    int (*answer)(const struct listener *listener, struct http_exchange *x); /* returns the status */
} routes[] = {{"/health", answer_health}, {"/ready", answer_ready}, {"/metrics", answer_metrics}};
enum { ROUTES = sizeof routes / sizeof routes[0] };

static int answer_not_found(struct http_exchange *x)
{
    struct buf body = BUF_INIT;
    buf_append_str(&body, "{\"error\":\"no such path\",\"paths\":[");
    for (size_t i = 0; i < ROUTES; i++)
        buf_printf(&body, "%s\"%s\"", i ? "," : "", routes[i].path);
    buf_append_str(&body, "]}");
    reply_json(x, 404, &body);
    buf_release(&body);
    return 404;
}

static int answer_wrong_method(struct http_exchange *x)
{
    struct buf body = BUF_INIT;
    buf_append_str(&body, "{\"error\":\"method not allowed\",\"methods\":[\"GET\",\"HEAD\"]}");
    http_exchange_add_header(x, "Allow", "GET, HEAD");
    reply_json(x, 405, &body);
    buf_release(&body);
    return 405;
}

static void handle(void *user, struct http_exchange *x)
{
    const struct listener *listener = user;
    const struct route *route = NULL;
    const char *method = http_exchange_method(x);
    char code[METRIC_NUMBER_SIZE];
    for (size_t i = 0; i < ROUTES && !route; i++)
        if (strcmp(http_exchange_path(x), routes[i].path) == 0)
            route = &routes[i];
    bool allowed = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    int status = !route ? answer_not_found(x) : allowed ? route->answer(listener, x) : answer_wrong_method(x);
    metrics_add(METRIC_HTTP_REQUESTS, 1, METRIC_LABELS(route ? route->path : "other", metric_number(code, status)));
}

static void collect(void *user)
{
    const struct listener *listener = user;
    struct worker_view view;
    listener->options.look(listener->options.user, &view);
    gauges_collect(&view);
}

bool listener_start(const struct listener_options *options, struct listener **ret, struct error *err)
{
    const struct settings *s = options->settings;
    *ret = NULL;
    if (s->worker_port == 0)
        return true;
    struct listener *listener = xcalloc(1, sizeof *listener);
    listener->options = *options;
    const struct http_server_options server = {
        .bind_address = s->worker_bind,
        .port = (uint16_t)s->worker_port,
        .max_connections = MAX_CONNECTIONS,
        .handler_threads = HANDLER_THREADS,
        .max_body_bytes = MAX_BODY_BYTES,
        .idle_timeout_s = IDLE_TIMEOUT_S,
        .handler = handle,
        .user = listener,
    };
    metrics_add_collector(collect, listener);
    listener->server = http_server_start(&server, err);
    if (!listener->server) {
        listener_stop(listener);
        return error_prefix(err, "WORKER_PORT %lld at WORKER_BIND \"%s\"", (long long)s->worker_port, s->worker_bind);
    }
    log_info(&listener_log, LOG_MSG("Listening"), LOG_STR("address", s->worker_bind), LOG_INT("port", s->worker_port));
    *ret = listener;
    return true;
}

void listener_stop(struct listener *listener)
{
    if (!listener)
        return;
    http_server_stop(listener->server, STOP_GRACE_MS);
    metrics_remove_collector(collect, listener);
    free(listener);
}
