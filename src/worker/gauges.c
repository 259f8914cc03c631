/* What a scrape shows of the worker's state at that moment; what happened is counted where it happens. */
#include "listener.h"

#include "base/clock.h"
#include "base/metrics.h"

static void collect_lanes(const struct worker_view *view)
{
    for (int lane = 0; lane < WORKER_LANES; lane++) {
        const struct metric_labels labels = METRIC_LABELS(task_lane_name((enum task_lane)lane));
        const struct pubsub_stats *stats = &view->lanes[lane].stats;
        metrics_set(METRIC_QUEUE_MESSAGES, view->lanes[lane].queued, labels);
        metrics_set(METRIC_STREAM_OPEN, view->lanes[lane].open, labels);
        metrics_set(METRIC_STREAM_REOPENINGS, stats->reopened, labels);
        metrics_set(METRIC_LEASE_EXTENSIONS, stats->extensions, labels);
        metrics_set(METRIC_LEASE_LOSSES, stats->lost_leases, labels);
    }
}

static void collect_tenants(const struct run_env *env)
{
    static const int64_t numbers[] = {[BREAKER_CLOSED] = 0, [BREAKER_HALF_OPEN] = 1, [BREAKER_OPEN] = 2};
    for (size_t i = 0; i < env->settings->tenant_count; i++) {
        struct st_tenant *tenant = env->services->tenants[i];
        char id[METRIC_NUMBER_SIZE];
        const struct metric_labels labels = METRIC_LABELS(metric_number(id, st_tenant_id(tenant)));
        metrics_set(METRIC_ST_BREAKER, numbers[st_tenant_breaker(tenant)], labels);
        metrics_set(METRIC_ST_RATE, (int64_t)(st_tenant_rate(tenant) * 1000), labels);
    }
}

static void collect_watermark(void *user, int64_t tenant, const struct entity *entity, int64_t us)
{
    const int64_t *now_us = user;
    char id[METRIC_NUMBER_SIZE];
    const struct metric_labels labels = METRIC_LABELS(metric_number(id, tenant), entity->name);
    metrics_set(METRIC_WATERMARK, us / 1000, labels);
    metrics_set(METRIC_WATERMARK_LAG, (*now_us - us) / 1000, labels);
}

void gauges_collect(const struct worker_view *view)
{
    int64_t now_us = clock_wall_us();
    metrics_set(METRIC_SLOTS, (int64_t)view->slots, METRIC_NO_LABELS);
    metrics_set(METRIC_SLOTS_BUSY, (int64_t)view->slots_busy, METRIC_NO_LABELS);
    metrics_set(METRIC_BQ_APPEND_IN_FLIGHT, bq_writer_in_flight_bytes(view->env->services->writer), METRIC_NO_LABELS);
    collect_lanes(view);
    collect_tenants(view->env);
    sync_cache_each(view->env->watermarks, collect_watermark, &now_us);
}
