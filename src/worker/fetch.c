/* Step 4, fetch: which ranges a task reads, and the sink that hands the reader's records on.
 *
 *   incremental  modifiedOn from the watermark, newest window open; entities whose modifiedOn may be absent are read
 *                by createdOn as well
 *   full         everything, split on createdOn
 *   export feed  instead of these two where the registry says so; beside them where only the feed shows deletions
 *   backfill     [from, to) of createdOn; whole days where rows may lack identity
 *
 * Rows without identity (payroll) live in groups, tenant x day of createdOn: any change that an incremental run sees
 * re-reads the group whole. The others hold whole groups anyway. */
#include "run.h"

#include "base/clock.h"
#include "base/timestamp.h"

#define DAY_US INT64_C(86400000000)

struct read_plan {
    struct run *run;
    enum row_choice choice;
};

static void *sink_begin(void *user, const struct st_window *window)
{
    struct read_plan *plan = user;
    return fetch_new(plan->run, window, plan->choice);
}

static void *export_begin(void *user, const struct st_window *window)
{
    struct read_plan *plan = user;
    (void)window;
    return fetch_new(plan->run, NULL, plan->choice);
}

static void sink_sent(void *fetch, int64_t fetched_at_us)
{
    fetch_sent(fetch, fetched_at_us);
}

static bool sink_record(void *fetch, struct slice record, struct st_record_times *ret, struct error *err)
{
    return fetch_record(fetch, record, ret, err);
}

static bool sink_end(void *fetch, bool complete, struct error *err)
{
    bool ok = !complete || fetch_complete(fetch, err);
    fetch_free(fetch);
    return ok;
}

static void log_progress(void *user, int64_t records, int64_t expected)
{
    struct run *run = user;
    int64_t now = clock_mono_ms(), every = run->env->settings->log_progress_s * 1000;
    pthread_mutex_lock(&run->stage.lock);
    bool due = now - run->stage.logged_at_ms >= every && records > run->stage.announced_records;
    if (due) {
        run->stage.logged_at_ms = now;
        run->stage.announced_records = records;
    }
    pthread_mutex_unlock(&run->stage.lock);
    if (due)
        log_info(&run->log, LOG_MSG("Ingestion progress"), LOG_INT("recordsFetched", records),
                 LOG_INT("recordsExpected", expected), LOG_INT("durationMs", now - run->started_mono_ms));
}

int64_t fetch_page_size(const struct run *run)
{
    int64_t wanted = run->env->settings->st_page_size, most = run->entity->max_page_size;
    return wanted < most ? wanted : most;
}

bool fetch_range(struct run *run, struct st_window range, bool whole, enum row_choice choice, struct error *err)
{
    struct read_plan plan = {run, choice};
    const struct st_sink sink = {sink_begin, sink_sent, sink_record, sink_end, &plan};
    const struct st_read_request request = {
        .entity = run->entity,
        .range = range,
        .whole = whole,
        .page_size = fetch_page_size(run),
        .concurrency = run->env->readers,
        .background = run->message->lane == TASK_LANE_BACKFILL,
        .accepted = run->checkpoint.windows,
        .accepted_count = run->checkpoint.window_count,
        .progress = log_progress,
        .progress_user = run,
    };
    struct st_read_result result = {0};
    bool ok = st_read(run->tenant, &request, &sink, &result, run->cancel, err);
    run->requests += result.requests;
    if (!ok)
        return error_prefix(err, "reading %s", run->entity->name);
    log_debug(&run->log, LOG_MSG("Range read"), LOG_INT("records", result.records), LOG_INT("windows", result.windows),
              LOG_INT("requests", result.requests), LOG_INT("splits", result.splits),
              LOG_INT("refetches", result.refetches));
    return stage_check_quarantine(run, err);
}

/* Reads on from the run's token, else from from_us, else (FROM_THE_BEGINNING) everything; the token becomes the next
 * run's. */
#define FROM_THE_BEGINNING INT64_MIN
static bool read_export(struct run *run, int64_t from_us, enum row_choice choice, struct error *err)
{
    struct read_plan plan = {run, choice};
    const struct st_sink sink = {export_begin, sink_sent, sink_record, sink_end, &plan};
    const struct st_export_request request = {
        .entity = run->entity,
        .token = run->token[0] ? run->token : NULL,
        .has_from = from_us != FROM_THE_BEGINNING,
        .from_us = from_us,
        .background = run->message->lane == TASK_LANE_BACKFILL,
        .progress = log_progress,
        .progress_user = run,
    };
    struct st_export_result result;
    bool ok = st_export(run->tenant, &request, &sink, &result, run->cancel, err);
    run->requests += result.requests;
    if (!ok)
        return error_prefix(err, "reading the feed of %s", run->entity->name);
    log_debug(&run->log, LOG_MSG("Feed read"), LOG_INT("records", result.records), LOG_INT("batches", result.batches),
              LOG_INT("requests", result.requests), LOG_INT("refetches", result.refetches));
    memcpy(run->token, result.token, sizeof run->token);
    return stage_check_quarantine(run, err);
}

/* Consecutive days make one range. */
static bool read_groups(struct run *run, struct error *err)
{
    const struct stage *stage = &run->stage;
    if (stage->too_many_days) {
        const struct st_window everything = {.column = ST_CREATED_ON};
        return fetch_range(run, everything, /* whole */ true, ROW_WITHOUT_ID, err);
    }
    for (size_t i = 0; i < stage->group_day_count;) {
        size_t end = i + 1;
        while (end < stage->group_day_count && stage->group_days[end] == stage->group_days[end - 1] + 1)
            end++;
        const struct st_window days = {
            .column = ST_CREATED_ON,
            .has_from = true,
            .has_to = true,
            .from_us = stage->group_days[i] * DAY_US,
            .to_us = (stage->group_days[end - 1] + 1) * DAY_US,
        };
        if (!fetch_range(run, days, false, ROW_WITHOUT_ID, err))
            return false;
        i = end;
    }
    return true;
}

static bool fetch_incremental(struct run *run, struct error *err)
{
    enum row_choice choice = run->entity->id_nullable ? ROW_WITH_ID : ROW_ALL;
    const struct st_window modified = {.column = ST_MODIFIED_ON, .has_from = true, .from_us = run->from_us};
    const struct st_window created = {.column = ST_CREATED_ON, .has_from = true, .from_us = run->from_us};
    if (run->entity->feed == FEED_LIST && !fetch_range(run, modified, false, choice, err))
        return false;
    if (run_reads_feed(run) && !read_export(run, run->from_us, choice, err))
        return false;
    if (run->entity->modified_nullable && !fetch_range(run, created, false, ROW_WITHOUT_MODIFIED, err))
        return false;
    return !run->entity->id_nullable || read_groups(run, err);
}

/* The feed from its beginning brings everything, what was deleted too. Beside the list it is read on from where the last
 * run left it; a first run has left nothing behind that could have been deleted since, so it begins at its own frame. */
static bool fetch_full(struct run *run, struct error *err)
{
    const struct st_window everything = {.column = ST_CREATED_ON};
    enum row_choice choice = run->entity->id_nullable ? ROW_WITH_ID : ROW_ALL;
    int64_t from_us = run->entity->feed == FEED_EXPORT ? FROM_THE_BEGINNING
                      : run->synced                    ? run->from_us
                                                       : run->watermark_us;
    if (run->entity->feed == FEED_EXPORT)
        run->token[0] = '\0';
    else if (!fetch_range(run, everything, /* whole */ true, ROW_ALL, err))
        return false;
    if (run_reads_feed(run) && !read_export(run, from_us, choice, err))
        return false;
    return !run->entity->id_nullable || run->entity->feed == FEED_LIST || read_groups(run, err);
}

/* One range that holds whole groups: a later attempt can go on with what is missing of it. */
static struct st_window whole_days(struct st_window window)
{
    window.from_us = timestamp_to_days(window.from_us) * DAY_US;
    window.to_us = (timestamp_to_days(window.to_us - 1) + 1) * DAY_US;
    return window;
}

static bool fetch_backfill(struct run *run, struct error *err)
{
    const struct task *task = &run->message->task;
    const struct st_window window = {
        .column = ST_CREATED_ON, .has_from = true, .has_to = true, .from_us = task->from_us, .to_us = task->to_us};
    return fetch_range(run, run->entity->id_nullable ? whole_days(window) : window, false, ROW_ALL, err);
}

bool fetch_all(struct run *run, struct error *err)
{
    switch (run->message->task.mode) {
    case TASK_INCREMENTAL:
        return fetch_incremental(run, err);
    case TASK_FULL:
        return fetch_full(run, err);
    case TASK_BACKFILL:
        return fetch_backfill(run, err);
    case TASK_RECONCILE:
        break; /* no read of this kind: reconcile.c */
    }
    return error_set(err, ERROR_PERMANENT, "unknown_mode", "unknown mode %d", (int)run->message->task.mode);
}
