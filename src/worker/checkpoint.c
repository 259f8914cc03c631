/* checkpoint.c - what lets a later attempt at a task go on where this one may end (design 5, 6 and 7).
 *
 * The frame of the first attempt is written before its first read and holds for all later ones: what changed at the
 * source after it is the next run's, also where a later attempt does not read again what an earlier one has read. After
 * it comes a row per accepted fetch, when its rows are safe. Rows are written at most once a second, for all fetches
 * since: a killed worker's last second is read again.
 *
 * A later attempt relies on nothing but the stage: a fetch whose rows are not all there is read again. */
#include "run.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/metrics.h"

enum { WRITE_EVERY_MS = 1000, TOLD_RUNS = 3 };

/* ---- Which windows to keep --------------------------------------------------------------------------------------- */

static size_t index_of(const char *const *runs, size_t count, const char *run_id)
{
    size_t i = 0;
    while (i < count && strcmp(runs[i], run_id) != 0)
        i++;
    return i;
}

static bool is_whole(const struct task_fetch *fetch, const char *const *runs, size_t run_count,
                     const struct stage_check *check)
{
    return stage_check_find(check, index_of(runs, run_count, fetch->run_id), fetch->fetch_id)->distinct_rows ==
           fetch->rows;
}

/* Where a window begins; before everything else when nothing bounds it. */
static int64_t beginning(const struct task_fetch *fetch)
{
    return fetch->has_from ? fetch->from_us : INT64_MIN;
}

static int64_t end(const struct task_fetch *fetch)
{
    return fetch->has_to ? fetch->to_us : INT64_MAX;
}

/* The records without a time first; then by time, of windows that begin together the longest first, of equal ones the
 * latest read. */
static int by_window(const void *a, const void *b)
{
    const struct task_fetch *x = a, *y = b;
    if (x->timeless != y->timeless)
        return x->timeless ? -1 : 1;
    if (beginning(x) != beginning(y))
        return beginning(x) < beginning(y) ? -1 : 1;
    if (end(x) != end(y))
        return end(x) > end(y) ? -1 : 1;
    if (x->staged_at_us != y->staged_at_us)
        return x->staged_at_us > y->staged_at_us ? -1 : 1;
    int order = strcmp(x->run_id, y->run_id);
    return order != 0 ? order : (x->fetch_id > y->fetch_id) - (x->fetch_id < y->fetch_id);
}

/* Twins may have read the same windows. Only one reading of each counts: groups without identity are sets, and two
 * readings of one set would add up. */
size_t checkpoint_pick(struct task_fetch *fetches, size_t count, const char *const *runs, size_t run_count,
                       const struct stage_check *check)
{
    int64_t until = INT64_MIN;
    bool any = false, any_timeless = false;
    size_t kept = 0;
    qsort(fetches, count, sizeof fetches[0], by_window);
    for (size_t i = 0; i < count; i++) {
        const struct task_fetch fetch = fetches[i];
        bool covered = fetch.timeless ? any_timeless : any && beginning(&fetch) < until;
        if (fetch.by_modified || covered || !is_whole(&fetch, runs, run_count, check))
            continue;
        any_timeless = any_timeless || fetch.timeless;
        any = any || !fetch.timeless;
        until = fetch.timeless ? until : end(&fetch);
        fetches[kept++] = fetch;
    }
    return kept;
}

/* ---- A later attempt --------------------------------------------------------------------------------------------- */

static struct st_window window_of(const struct task_fetch *fetch)
{
    return (struct st_window){.column = ST_CREATED_ON,
                              .has_from = fetch->has_from,
                              .has_to = fetch->has_to,
                              .timeless = fetch->timeless,
                              .from_us = fetch->from_us,
                              .to_us = fetch->to_us};
}

static void take_over(struct run *run, const struct task_fetch *fetches, size_t count)
{
    struct checkpoint *checkpoint = &run->checkpoint;
    checkpoint->windows = xcalloc(count + 1, sizeof checkpoint->windows[0]);
    for (size_t i = 0; i < count; i++) {
        checkpoint->windows[checkpoint->window_count++] = window_of(&fetches[i]);
        checkpoint->rows += fetches[i].rows;
        stage_take_over(run, &fetches[i]);
    }
}

/* The runs of these fetches, each once, and when the first of their rows may have been staged. */
static size_t list_runs(const struct task_fetch *fetches, size_t count, const char **ret, int64_t *ret_since_us)
{
    size_t runs = 0;
    for (size_t i = 0; i < count; i++) {
        if (index_of(ret, runs, fetches[i].run_id) == runs)
            ret[runs++] = fetches[i].run_id;
        if (i == 0 || fetches[i].staged_at_us < *ret_since_us)
            *ret_since_us = fetches[i].staged_at_us;
    }
    return runs;
}

/* The ids in the fetches move when these are sorted: the list of runs has its own. */
static void own_ids(const char **runs, size_t count, char (*ids)[UUID_TEXT_SIZE])
{
    for (size_t i = 0; i < count; i++) {
        snprintf(ids[i], sizeof ids[i], "%s", runs[i]);
        runs[i] = ids[i];
    }
}

static bool take_over_whole(struct run *run, struct task_history *state, struct error *err)
{
    struct stage_check check = {0};
    const char **runs = xcalloc(state->fetch_count + 1, sizeof *runs);
    int64_t since_us = 0;
    size_t count = list_runs(state->fetches, state->fetch_count, runs, &since_us), kept = 0;
    char(*ids)[UUID_TEXT_SIZE] = xcalloc(count + 1, sizeof *ids);
    own_ids(runs, count, ids);
    bool ok = count == 0 || warehouse_verify_stage(&run->env->services->warehouse, run->entity, runs, count,
                                                   since_us - STAGE_CLOCK_MARGIN_US, &check, run->cancel, err);
    if (ok && count > 0)
        kept = checkpoint_pick(state->fetches, state->fetch_count, runs, count, &check);
    stage_check_release(&check);
    free(runs);
    free(ids);
    if (!ok)
        return error_prefix(err, "looking for the staged rows of earlier attempts");
    take_over(run, state->fetches, kept);
    run->checkpoint.reread_count = state->fetch_count - kept + state->void_count;
    return true;
}

static void count_resumed(const struct run *run)
{
    const char *entity = run->entity->name;
    metrics_add(METRIC_RUNS_RESUMED, 1, METRIC_LABELS(entity, run->log.mode));
    metrics_add(METRIC_WINDOWS_RESUMED, (int64_t)run->checkpoint.window_count, METRIC_LABELS(entity, "kept"));
    metrics_add(METRIC_WINDOWS_RESUMED, (int64_t)run->checkpoint.reread_count, METRIC_LABELS(entity, "reread"));
}

/* Whose windows they are, for the log. */
static void name_runs(const struct run *run, const char *first_run_id, struct buf *out)
{
    const struct stage *stage = &run->stage;
    for (size_t i = 0; i < stage->earlier_count && i < TOLD_RUNS; i++)
        buf_printf(out, "%s%s", i ? " " : "", stage->earlier[i]);
    if (stage->earlier_count > TOLD_RUNS)
        buf_printf(out, " and %zu more", stage->earlier_count - TOLD_RUNS);
    if (stage->earlier_count == 0)
        buf_append_str(out, first_run_id);
}

static bool resume(struct run *run, struct task_history *state, struct error *err)
{
    struct buf runs = BUF_INIT;
    run->checkpoint.resumes = true;
    run->frame_to_us = state->frame_to_us;
    run->watermark_us = state->watermark_us;
    if (!take_over_whole(run, state, err))
        return false;
    count_resumed(run);
    name_runs(run, state->first_run_id, &runs);
    log_info(&run->log, LOG_MSG("Ingestion resumes an earlier attempt"), LOG_STR("earlierRuns", buf_cstr(&runs)),
             LOG_INT("windowsKept", run->checkpoint.window_count), LOG_INT("recordsKept", run->checkpoint.rows),
             LOG_INT("windowsReread", run->checkpoint.reread_count), LOG_TIME("frameTo", run->frame_to_us));
    buf_release(&runs);
    return true;
}

bool checkpoint_open(struct run *run, struct error *err)
{
    const struct task_key task = {run->message->task_id, run->message->task.tenant, run->entity->name, run->log.mode};
    struct task_history state = {0};
    bool ok = warehouse_task_history(&run->env->services->warehouse, &task, &state, run->cancel, err);
    run->skipped = ok && state.done;
    if (ok && !state.done && state.has_frame)
        ok = resume(run, &state, err);
    task_history_release(&state);
    return ok;
}

/* ---- This attempt ------------------------------------------------------------------------------------------------ */

static bool is_kept(const struct run *run)
{
    enum task_mode mode = run->message->task.mode;
    return mode == TASK_FULL || mode == TASK_BACKFILL;
}

static struct event_checkpoint checkpoint_event(const struct run *run)
{
    return (struct event_checkpoint){
        .task_id = run->message->task_id,
        .run_id = run->run_id,
        .entity = run->entity->name,
        .mode = task_mode_name(run->message->task.mode),
        .tenant = run->message->task.tenant,
        .at_us = clock_wall_us(),
    };
}

bool checkpoint_frame(struct run *run, struct error *err)
{
    struct event_checkpoint event = checkpoint_event(run);
    if (!is_kept(run) || run->checkpoint.resumes)
        return true;
    event.frame = true;
    event.frame_to_us = run->frame_to_us;
    event.watermark_us = run->watermark_us;
    return events_checkpoints(run->env->services->events, &event, 1, run->cancel, err) ||
           error_prefix(err, "keeping the run's frame");
}

static struct event_checkpoint fetch_event(const struct run *run, const struct task_fetch *fetch)
{
    struct event_checkpoint event = checkpoint_event(run);
    event.column = fetch->timeless ? NULL : fetch->by_modified ? "modifiedOn" : "createdOn";
    event.has_from = fetch->has_from;
    event.has_to = fetch->has_to;
    event.from_us = fetch->from_us;
    event.to_us = fetch->to_us;
    event.fetch_id = fetch->fetch_id;
    event.rows = fetch->rows;
    event.staged_at_us = fetch->staged_at_us;
    return event;
}

/* Best effort: what is not written is read again, if there is a later attempt. */
static void write_fetches(const struct run *run, const struct task_fetch *fetches, size_t count)
{
    struct error err = ERROR_INIT;
    struct event_checkpoint *events = xcalloc(count, sizeof *events);
    for (size_t i = 0; i < count; i++)
        events[i] = fetch_event(run, &fetches[i]);
    if (!events_checkpoints(run->env->services->events, events, count, run->cancel, &err) &&
        err.class != ERROR_CANCELLED)
        log_warn(&run->log, LOG_MSG("Checkpoint not written; a later attempt would read these windows again"),
                 LOG_INT("windows", count), LOG_ERR(&err));
    free(events);
}

/* One thread writes at a time, without the lock. `now`: whenever something is there. */
static void write_due(struct run *run, bool now)
{
    struct checkpoint *checkpoint = &run->checkpoint;
    int64_t now_ms = clock_mono_ms();
    pthread_mutex_lock(&run->stage.lock);
    bool due = !checkpoint->writing && checkpoint->unwritten_count > 0 &&
               (now || checkpoint->written_at_ms == 0 || now_ms - checkpoint->written_at_ms >= WRITE_EVERY_MS);
    struct task_fetch *fetches = checkpoint->unwritten;
    size_t count = checkpoint->unwritten_count;
    if (due) {
        checkpoint->unwritten = NULL;
        checkpoint->unwritten_count = checkpoint->unwritten_cap = 0;
        checkpoint->writing = true;
    }
    pthread_mutex_unlock(&run->stage.lock);
    if (!due)
        return;
    write_fetches(run, fetches, count);
    free(fetches);
    pthread_mutex_lock(&run->stage.lock);
    checkpoint->writing = false;
    checkpoint->written_at_ms = clock_mono_ms();
    pthread_mutex_unlock(&run->stage.lock);
}

void checkpoint_add(struct run *run, const struct st_window *window, int64_t fetch_id, int64_t rows,
                    int64_t staged_at_us)
{
    struct checkpoint *checkpoint = &run->checkpoint;
    if (!is_kept(run))
        return;
    pthread_mutex_lock(&run->stage.lock);
    if (checkpoint->unwritten_count == checkpoint->unwritten_cap) {
        checkpoint->unwritten_cap = checkpoint->unwritten_cap ? checkpoint->unwritten_cap * 2 : 16;
        checkpoint->unwritten =
            xrealloc(checkpoint->unwritten, checkpoint->unwritten_cap * sizeof checkpoint->unwritten[0]);
    }
    struct task_fetch *fetch = &checkpoint->unwritten[checkpoint->unwritten_count++];
    *fetch = (struct task_fetch){
        .fetch_id = fetch_id,
        .rows = rows,
        .staged_at_us = staged_at_us,
        .timeless = window->timeless,
        .by_modified = window->column == ST_MODIFIED_ON,
        .has_from = window->has_from,
        .has_to = window->has_to,
        .from_us = window->from_us,
        .to_us = window->to_us,
    };
    pthread_mutex_unlock(&run->stage.lock);
    write_due(run, /* now */ false);
}

void checkpoint_write(struct run *run)
{
    write_due(run, /* now */ true);
}

void checkpoint_release(struct run *run)
{
    free(run->checkpoint.windows);
    free(run->checkpoint.unwritten);
}
