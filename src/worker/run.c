/* One run, told from beginning to end: begin, fetch (encode, stage), verify, merge, commit.
 *
 * The watermark moves only after the merge is done, and the message is settled only after that (worker.c). The frame,
 * that is the upper end of what the run may claim, comes from the server's clock at the start of the task's first
 * attempt, never from the records it saw. */
#include "run.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "worker/reconcile.h"

enum {
    DONE_ALREADY_MARGIN_S = 15, /* by so much Pub/Sub's clock and ours may differ */
    OLD_MESSAGE_S = 60,         /* one that waited so long may be done by another worker's run */
};

static bool begin(struct run *run, struct error *err)
{
    int64_t overlap_us = run->env->settings->overlap_s * 1000000;
    if (!st_tenant_now(run->tenant, &run->frame_to_us, run->cancel, err))
        return false;
    run->watermark_us = run->frame_to_us - overlap_us;
    return true;
}

/* The frame of the run that set the watermark, where it had our overlap. */
static int64_t frame_of(const struct run *run)
{
    return run->from_us + run->env->settings->overlap_s * 1000000;
}

/* By so much the server's clock is seen to be ahead of ours. */
static int64_t ahead_of(const struct run *run)
{
    return run->frame_to_us > run->started_us ? run->frame_to_us - run->started_us : 0;
}

/* Where an incremental run begins to read: the watermark, or now - LOOKBACK_DAYS at the first run. */
static bool ask_for_watermark(struct run *run, struct error *err)
{
    struct sync_state state = {0};
    if (!warehouse_watermark(&run->env->services->warehouse, run->message->task.tenant, run->entity->name, &state,
                             run->cancel, err))
        return error_prefix(err, "reading the watermark");
    run->synced = state.found;
    if (state.found) {
        run->from_us = state.last_sync_us;
        memcpy(run->token, state.continue_from, sizeof run->token);
        run->foreign = frame_of(run) > state.updated_us + ahead_of(run) + DONE_ALREADY_MARGIN_S * INT64_C(1000000);
        if (!run->foreign)
            sync_cache_put(run->env->watermarks, run->message->task.tenant, run->entity, run->from_us, run->token);
    } else {
        run->from_us = run->frame_to_us - run->env->settings->lookback_days * 86400 * INT64_C(1000000);
    }
    return true;
}

static bool read_watermark(struct run *run, struct error *err)
{
    run->synced =
        sync_cache_get(run->env->watermarks, run->message->task.tenant, run->entity, &run->from_us, run->token);
    return run->synced || ask_for_watermark(run, err);
}

/* A pile of incremental messages costs one run: one that was published well before the frame of the last successful run
 * is done already. The frame is of the server's clock, the publish time of Pub/Sub's: where the server is seen to be
 * ahead of us, so much is added. (Where it is behind, a message is only taken for newer than it is.) */
static bool is_done_already(const struct run *run)
{
    int64_t published_us = run->message->delivery->publish_time_us, cached_us;
    if (run->foreign || !sync_cache_get(run->env->watermarks, run->message->task.tenant, run->entity, &cached_us, NULL))
        return false;
    return published_us > 0 && published_us + ahead_of(run) + DONE_ALREADY_MARGIN_S * INT64_C(1000000) < frame_of(run);
}

/* Of a pile that several workers share, another one's run may have done the message: worth a question. A message that
 * comes at once is not. */
static bool is_old(const struct run *run)
{
    int64_t published_us = run->message->delivery->publish_time_us;
    return published_us > 0 && run->started_us - published_us > OLD_MESSAGE_S * INT64_C(1000000);
}

/* Where the run begins, if it has to. An incremental run is short and reads anew from the watermark; the others go on
 * where an earlier attempt at their task has ended. */
static bool look_back(struct run *run, struct error *err)
{
    if (run->message->task.mode != TASK_INCREMENTAL)
        return (!run_reads_feed(run) || read_watermark(run, err)) && checkpoint_open(run, err);
    if (!read_watermark(run, err))
        return false;
    run->skipped = is_done_already(run);
    if (run->skipped || !is_old(run))
        return true;
    if (!ask_for_watermark(run, err))
        return false;
    run->skipped = is_done_already(run);
    return true;
}

static bool read_all(struct run *run, struct error *err)
{
    bool ok = checkpoint_frame(run, err) && fetch_all(run, err);
    checkpoint_write(run);
    return ok;
}

/* Which member of a record becomes which column, for those who look for a value. */
static void tell_mapping(const struct run *run)
{
    struct buf mapping = BUF_INIT;
    if (!log_enabled(LOG_LEVEL_DEBUG))
        return;
    for (size_t i = 0; i < run->entity->source_column_count; i++) {
        const struct column *column = &run->entity->target.columns[i];
        buf_printf(&mapping, "%s%s=%s", i ? " " : "", column->name, column->source ? column->source : "");
    }
    log_debug(&run->log, LOG_MSG("Field mapping"), LOG_STR("columns", buf_cstr(&mapping)));
    buf_release(&mapping);
}

/* A comparison brings no rows to merge: it has a run of its own for what it stages, and a row of its own for what it
 * found. */
static bool compare(struct run *run, struct error *err)
{
    const struct task *task = &run->message->task;
    const struct reconcile_request request = {
        .entity = run->entity,
        .tenant = task->tenant,
        .has_from = task->has_from,
        .has_to = task->has_to,
        .from_us = task->from_us,
        .to_us = task->to_us,
        .readers = run->env->readers,
    };
    struct reconcile_result result = {0};
    bool ok = commit_begin(run, err) && reconcile(run->env->services, &request, &result, run->cancel, err);
    if (ok)
        run->requests = result.requests;
    reconcile_result_release(&result);
    return ok && commit_success(run, err);
}

static bool go(struct run *run, struct error *err)
{
    if (!begin(run, err) || !look_back(run, err))
        return false;
    if (run->skipped)
        return commit_skipped(run, err);
    if (run->message->task.mode == TASK_RECONCILE)
        return compare(run, err);
    tell_mapping(run);
    return commit_begin(run, err) && read_all(run, err) && stage_verify(run, err) && merge_run(run, err) &&
           commit_success(run, err);
}

static void init(struct run *run, const struct run_env *env, const struct message *message, struct cancel *cancel)
{
    *run = (struct run){.env = env, .message = message, .cancel = cancel};
    run->entity = settings_entity(env->settings, message->task.entity)->entity;
    run->tenant = services_tenant(env->services, message->task.tenant);
    run->started_us = clock_wall_us();
    run->started_mono_ms = clock_mono_ms();
    uuid_generate(run->run_id);
    snprintf(run->log_name, sizeof run->log_name, "v2-ingestor:ingestor:%.40s", run->entity->name);
    run->log = (struct log_context){
        run->log_name,       run->run_id, message->task_id, run->entity->name, task_mode_name(message->task.mode),
        message->task.tenant};
    stage_init(run);
}

static void count_run(const struct run *run, bool ok, const struct error *err)
{
    const char *result = ok && run->skipped              ? "skipped"
                         : ok                            ? "success"
                         : err->class == ERROR_CANCELLED ? "cancelled"
                         : err->class == ERROR_AWAY      ? "deferred"
                                                         : "failed";
    metrics_add(METRIC_RUNS, 1, METRIC_LABELS(run->entity->name, run->log.mode, result));
}

/* A run whose source turned out to be away, or went away under way, is no failed try: its message waits for the breaker,
 * without the slot. */
static void note_absence(const struct run *run, struct error *err)
{
    bool away = strcmp(err->code, "breaker_open") == 0 || st_tenant_breaker(run->tenant) == BREAKER_OPEN;
    if (away && error_may_retry(err) && message_may_wait(run->message))
        err->class = ERROR_AWAY;
}

bool run_task(const struct run_env *env, const struct message *message, struct cancel *cancel, int64_t *ret_records,
              char ret_run_id[UUID_TEXT_SIZE], struct error *err)
{
    struct run run;
    init(&run, env, message, cancel);
    const struct log_context *before = log_scope_set(&run.log);
    bool ok = go(&run, err);
    if (!ok)
        note_absence(&run, err);
    if (!ok)
        commit_failure(&run, err);
    count_run(&run, ok, err);
    log_scope_set(before);
    *ret_records = run.stage.rows;
    memcpy(ret_run_id, run.run_id, UUID_TEXT_SIZE);
    checkpoint_release(&run);
    stage_release(&run);
    return ok;
}
