/* Step 7, merge: the run is announced, and taken to the target by whoever changes it next (the change chain).
 *
 * A run that has resumed announces the fetches of earlier attempts under its own id. Never under theirs: the worker that
 * made them may still live, and announce them itself. Then both are merged, which changes nothing twice. */
#include "run.h"

#include <stdlib.h>

#include "base/clock.h"

/* Consecutive accepted fetches make one range; fetches that were given up leave gaps. */
struct event_staged_fetches *merge_fetch_ranges(const struct run *run, size_t *ret_count)
{
    const struct stage *stage = &run->stage;
    struct event_staged_fetches *ranges = xcalloc(stage->accepted_count, sizeof *ranges);
    size_t count = 0;
    for (size_t i = 0; i < stage->accepted_count; i++) {
        const struct accepted_fetch *fetch = &stage->accepted[i];
        bool goes_on = i > 0 && fetch[-1].attempt == fetch->attempt && fetch[-1].fetch_id + 1 == fetch->fetch_id;
        if (goes_on)
            ranges[count - 1].last = fetch->fetch_id;
        else
            ranges[count++] =
                (struct event_staged_fetches){stage_run_id(run, fetch->attempt), fetch->fetch_id, fetch->fetch_id};
    }
    *ret_count = count;
    return ranges;
}

static bool announce(struct run *run, struct error *err)
{
    size_t count;
    struct event_staged_fetches *ranges = merge_fetch_ranges(run, &count);
    const struct event_staged event = {
        .run_id = run->run_id,
        .task_id = run->message->task_id,
        .target = run->entity->target.name,
        .lane = task_lane_name(run->message->lane),
        .tenant = run->message->task.tenant,
        .rows = run->stage.rows,
        .bytes = run->staged_bytes,
        .staged_min_us = run->staged_min_us,
        .staged_max_us = run->staged_max_us,
        .announced_us = clock_wall_us(),
        .fetches = ranges,
        .fetch_count = count,
        .full_groups = run->entity->id_nullable,
    };
    bool ok = events_staged(run->env->services->events, &event, run->cancel, err);
    free(ranges);
    return ok || error_prefix(err, "announcing the run");
}

bool merge_run(struct run *run, struct error *err)
{
    if (run->stage.rows == 0)
        return true;
    if (!announce(run, err))
        return false;
    if (!warehouse_merge(&run->env->services->warehouse, run->entity, run->run_id, &run->merged, run->cancel, err))
        return error_prefix(err, "merging into %s", run->entity->target.name);
    log_debug(&run->log, LOG_MSG("Run merged"), LOG_INT("change", run->merged.change_number),
              LOG_INT("runsInChange", run->merged.runs_in_change), LOG_INT("rowsChanged", run->merged.rows_changed),
              LOG_INT("bytesBilled", run->merged.bytes_billed));
    return true;
}
