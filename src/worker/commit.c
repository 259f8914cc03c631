/* Step 8, commit: the watermark forward, the run log, drift. Never before the merge is done. */
#include "run.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "verdict.h"

static struct event_run run_event(struct run *run, const char *status)
{
    return (struct event_run){
        .run_id = run->run_id,
        .task_id = run->message->task_id,
        .entity = run->entity->name,
        .mode = task_mode_name(run->message->task.mode),
        .status = status,
        .message_id = run->message->delivery->message_id,
        .worker = run->env->worker_name,
        .tenant = run->message->task.tenant,
        .start_us = run->started_us,
        .frame_to_us = run->frame_to_us,
        .watermark_us = run->watermark_us,
        .records_fetched = run->stage.fetched,
        .records_inserted = run->stage.rows,
        .records_quarantined = run->stage.quarantined,
        .rows_changed = run->merged.rows_changed,
        .requests = run->requests,
        .bytes_billed = run->merged.bytes_billed,
        .delivery_attempt = run->message->delivery->delivery_attempt,
    };
}

bool commit_begin(struct run *run, struct error *err)
{
    const struct event_run event = run_event(run, "running");
    log_info(&run->log, LOG_MSG("Ingestion started"), LOG_TIME("frameTo", run->frame_to_us),
             LOG_STR("messageId", event.message_id), LOG_INT("deliveryAttempt", event.delivery_attempt));
    return events_run(run->env->services->events, &event, run->cancel, err) || error_prefix(err, "writing the run log");
}

/* Whoever published a task under an id of its own may wait for it, so its end is told although nothing was run. */
bool commit_skipped(struct run *run, struct error *err)
{
    struct event_run event = run_event(run, "skipped");
    event.end_us = clock_wall_us();
    event.verdict = verdict_name(VERDICT_DONE);
    log_info(&run->log, LOG_MSG("Task is done already"), LOG_STR("messageId", event.message_id));
    if (!run->message->task.task_id[0])
        return true;
    return events_run(run->env->services->events, &event, run->cancel, err) || error_prefix(err, "writing the run log");
}

/* One line and one row per field and kind of drift. */
static bool commit_drift(struct run *run, struct error *err)
{
    for (size_t i = 0; i < run->stage.drift_count; i++) {
        const struct run_drift *drift = &run->stage.drifts[i];
        const struct event_drift event = {
            .run_id = run->run_id,
            .entity = run->entity->name,
            .field = drift->field,
            .kind = drift_kind_name(drift->kind),
            .sample = slice_str(drift->sample),
            .tenant = run->message->task.tenant,
            .count = drift->count,
            .at_us = clock_wall_us(),
        };
        log_warn(&run->log, LOG_MSG("Schema drift; the value is kept in _extra"), LOG_STR("field", drift->field),
                 LOG_STR("kind", event.kind), LOG_INT("records", drift->count));
        metrics_add(METRIC_DRIFT_RECORDS, drift->count, METRIC_LABELS(run->entity->name, event.kind));
        if (!events_drift(run->env->services->events, &event, run->cancel, err))
            return error_prefix(err, "writing schema drift");
    }
    return true;
}

/* Only incremental and full runs move it: a backfill neither moves nor blocks the watermark. */
static bool commit_watermark(struct run *run, struct error *err)
{
    enum task_mode mode = run->message->task.mode;
    if (mode != TASK_INCREMENTAL && mode != TASK_FULL)
        return true;
    const struct event_sync event = {
        .entity = run->entity->name,
        .run_id = run->run_id,
        .mode = task_mode_name(mode),
        .kind = "advance",
        .tenant = run->message->task.tenant,
        .last_sync_us = run->watermark_us,
        .records_processed = run->stage.rows,
        .updated_us = clock_wall_us(),
        .continue_from = run->token,
    };
    if (!events_sync(run->env->services->events, &event, run->cancel, err))
        return error_prefix(err, "moving the watermark");
    sync_cache_put(run->env->watermarks, run->message->task.tenant, run->entity, run->watermark_us, run->token);
    return true;
}

bool commit_success(struct run *run, struct error *err)
{
    if (!commit_drift(run, err) || !commit_watermark(run, err))
        return false;
    struct event_run event = run_event(run, "success");
    event.end_us = clock_wall_us();
    event.verdict = verdict_name(VERDICT_DONE);
    if (!events_run(run->env->services->events, &event, run->cancel, err))
        return error_prefix(err, "writing the run log");
    int64_t duration_ms = clock_mono_ms() - run->started_mono_ms;
    metrics_add(METRIC_ROWS_CHANGED, event.rows_changed, METRIC_LABELS(run->entity->name));
    metrics_observe(METRIC_RUN_DURATION, duration_ms, METRIC_LABELS(run->entity->name, run->log.mode));
    log_info(&run->log, LOG_MSG("Ingestion completed"), LOG_INT("recordsFetched", event.records_fetched),
             LOG_INT("recordsInserted", event.records_inserted),
             LOG_INT("recordsQuarantined", event.records_quarantined), LOG_INT("rowsChanged", event.rows_changed),
             LOG_INT("requests", event.requests), LOG_INT("bytesBilled", event.bytes_billed),
             LOG_INT("durationMs", duration_ms));
    return true;
}

/* The run has failed already: its own failure to say so changes nothing. When the run was cancelled no time is left for
 * it. */
void commit_failure(struct run *run, const struct error *why)
{
    struct error ignored = ERROR_INIT;
    struct event_run event = run_event(run, "failed");
    if (cancel_is_set(run->cancel))
        return;
    event.end_us = clock_wall_us();
    event.error_message = why->message;
    event.error_class = error_class_name(why->class);
    event.error_code = why->code;
    event.verdict = verdict_name(verdict_of(false, why, event.delivery_attempt));
    if (!events_run(run->env->services->events, &event, run->cancel, &ignored))
        log_warn(&run->log, LOG_MSG("Run log not written; the failure stands in this log only"), LOG_ERR(&ignored));
}
