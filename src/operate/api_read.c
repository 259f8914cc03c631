/* api_read.c - the routes that only read: health, readiness, entities, run history, watermarks. */
#include <stdlib.h>

#include "api_internal.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/version.h"
#include "operate/operate.h"
#include "operate/table.h"

enum { STATUS_RUNS = 10 };

/* ---- From memory -------------------------------------------------------------------------------------------------- */

void api_health(struct api_call *call)
{
    health_json(&call->body, true, NULL);
}

void api_metrics(struct api_call *call)
{
    call->content_type = METRICS_CONTENT_TYPE;
    metrics_render(&call->body);
}

void api_entities(struct api_call *call)
{
    const struct settings *s = call->api->settings;
    size_t count = 0;
    buf_append_str(&call->body, "{\"entities\":[");
    for (size_t i = 0; i < s->entity_count; i++) {
        if (!s->entities[i].enabled)
            continue;
        if (count++ > 0)
            buf_append_char(&call->body, ',');
        buf_append_json_string(&call->body, slice_str(s->entities[i].entity->name));
    }
    buf_printf(&call->body, "],\"count\":%zu}", count);
}

/* ---- Readiness ---------------------------------------------------------------------------------------------------- */

static void look_at_topic(struct api *api, struct cancel *cancel, struct error *err)
{
    bool exists = false;
    if (pubsub_topic_exists(api->services->pubsub, api->settings->pubsub_topic, API_READY_MS, &exists, cancel, err) &&
        !exists)
        error_set(err, ERROR_PERMANENT, "not_found", "topic \"%s\" does not exist; `st-ingestor init` makes it",
                  api->settings->pubsub_topic);
}

static void look_at_warehouse(struct api *api, struct cancel *cancel, struct error *err)
{
    static const char view[] = "ingestion_logs";
    bool exists = false;
    if (bq_table_exists(api->services->bigquery, api->settings->bq_dataset_logs, view, &exists, cancel, err) && !exists)
        error_set(err, ERROR_PERMANENT, "not_found", "view \"%s.%s\" does not exist; `st-ingestor init` makes it",
                  api->settings->bq_dataset_logs, view);
}

/* Probes come every few seconds and from several places: they share one look. */
static void refresh(struct api_call *call)
{
    struct api_ready *ready = &call->api->ready;
    struct error topic = ERROR_INIT, warehouse = ERROR_INIT;
    pthread_mutex_lock(&ready->lock);
    while (ready->looking)
        pthread_cond_wait(&ready->changed, &ready->lock);
    if (ready->looked && clock_mono_ms() - ready->looked_ms < API_READY_FRESH_MS) {
        pthread_mutex_unlock(&ready->lock);
        return;
    }
    ready->looking = true;
    pthread_mutex_unlock(&ready->lock);
    struct cancel *cancel = http_exchange_cancel(call->x, API_READY_MS, false);
    look_at_topic(call->api, cancel, &topic);
    look_at_warehouse(call->api, cancel, &warehouse);
    pthread_mutex_lock(&ready->lock);
    ready->topic = topic;
    ready->warehouse = warehouse;
    ready->looked_ms = clock_mono_ms();
    ready->looked = true;
    ready->looking = false;
    pthread_cond_broadcast(&ready->changed);
    pthread_mutex_unlock(&ready->lock);
}

static void put_check(struct buf *out, const char *name, const struct error *err)
{
    bool timed_out = err->class == ERROR_CANCELLED;
    api_member(out, name, err->class == ERROR_NONE ? "ok" : timed_out ? "no answer in time" : err->message);
}

void api_ready(struct api_call *call)
{
    struct api_ready *ready = &call->api->ready;
    refresh(call);
    pthread_mutex_lock(&ready->lock);
    bool good = ready->topic.class == ERROR_NONE && ready->warehouse.class == ERROR_NONE;
    bool stopping = cancel_is_set(call->api->stop);
    call->status = good && !stopping ? 200 : 503;
    buf_append_str(&call->body, "{");
    api_member(&call->body, "status", stopping ? "stopping" : good ? "ready" : "not ready");
    put_check(&call->body, "topic", &ready->topic);
    put_check(&call->body, "warehouse", &ready->warehouse);
    buf_append_char(&call->body, '}');
    pthread_mutex_unlock(&ready->lock);
}

/* ---- From the run log --------------------------------------------------------------------------------------------- */

/* Where one tenant is configured, others that the warehouse may know are not meant. */
static int64_t tenant_meant(const struct api_call *call)
{
    const struct settings *s = call->api->settings;
    return call->request.tenant || s->tenant_count > 1 ? call->request.tenant : s->tenants[0].id;
}

void api_status(struct api_call *call)
{
    struct bq_result result = {0};
    struct error err = ERROR_INIT;
    if (!operate_runs(call->api->services, tenant_meant(call), call->request.name, STATUS_RUNS, &result,
                      http_exchange_cancel(call->x, API_ASK_MS, false), &err)) {
        api_fail_upstream(call, &err);
        return;
    }
    buf_append_char(&call->body, '{');
    api_member(&call->body, "entity", call->request.name);
    buf_append_str(&call->body, ",\"recentRuns\":");
    table_json(&call->body, &result);
    buf_append_char(&call->body, '}');
    bq_result_release(&result);
}

/* 0: this tenant has none yet. */
static int64_t watermark_of(const struct bq_result *result, int64_t tenant)
{
    for (size_t row = 0; row < result->row_count; row++)
        if (bq_result_int(result, row, "tenant_id", 0) == tenant)
            return bq_result_int(result, row, "last_sync_time", 0);
    return 0;
}

/* The oldest of all that are meant: up to then the entity is complete everywhere. */
static int64_t oldest_watermark(const struct settings *s, const struct bq_result *result, int64_t tenant)
{
    int64_t oldest = INT64_MAX;
    for (size_t i = 0; i < s->tenant_count; i++) {
        int64_t at = watermark_of(result, s->tenants[i].id);
        if ((!tenant || tenant == s->tenants[i].id) && at < oldest)
            oldest = at;
    }
    return oldest;
}

static void put_tenants(struct buf *out, const struct settings *s, const struct bq_result *result)
{
    buf_append_str(out, ",\"tenants\":[");
    for (size_t i = 0; i < s->tenant_count; i++) {
        buf_append_str(out, i ? ",{" : "{");
        api_member_int(out, "tenant", s->tenants[i].id);
        api_member_time(out, "lastSyncTime", watermark_of(result, s->tenants[i].id));
        buf_append_char(out, '}');
    }
    buf_append_char(out, ']');
}

void api_last_sync(struct api_call *call)
{
    const struct settings *s = call->api->settings;
    struct bq_result result = {0};
    struct error err = ERROR_INIT;
    int64_t tenant = tenant_meant(call);
    if (!operate_last_sync(call->api->services, tenant, call->request.name, &result,
                           http_exchange_cancel(call->x, API_ASK_MS, false), &err)) {
        api_fail_upstream(call, &err);
        return;
    }
    buf_append_char(&call->body, '{');
    api_member(&call->body, "entity", call->request.name);
    api_member_time(&call->body, "lastSyncTime", oldest_watermark(s, &result, tenant));
    if (!tenant)
        put_tenants(&call->body, s, &result);
    buf_append_char(&call->body, '}');
    bq_result_release(&result);
}
