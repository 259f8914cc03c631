/* reconcile.c - the steps of a comparison.
 *
 *   bounds   everything before the watermark; what has changed since is read first (one request as a rule), so that
 *            records which have moved out of the modified axis are not counted on the warehouse's side either
 *   count    windows of about equal weight, on both sides: hours from one statement, records by one request each
 *   narrow   windows that differ are halved down to a page, or everything is taken where many differ
 *   read     what is left, into the stage
 *   compare  stage and target, in one statement
 *   explain  a count that the findings do not explain hides something: its window is read, and compared again
 *
 * A row that is missing in a window of the modified axis has moved, or is gone: its instant of creation is read, to know
 * which. */
#include "worker/reconcile.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/timestamp.h"
#include "reconcile_plan.h"
#include "run.h"

enum { MAX_INSTANTS = 200, MAX_COUNTERS = 32, MAX_ROUNDS = 5 };
#define STAGE_CLOCK_MARGIN_US INT64_C(3600000000)

struct comparison {
    const struct reconcile_request *request;
    struct reconcile_result *result;
    struct services *services;
    struct cancel *cancel;
    struct run run;
    struct run_env env;
    struct message message;
    int64_t complete_us; /* the watermark */
    struct reconcile_range created;
    struct reconcile_hour *hours;
    size_t hour_count;
    struct plan_list windows, leaves;
    size_t top_count;                /* the first of the windows: those that tile the axes */
    struct reconcile_range *read[2]; /* by axis: what was read whole */
    size_t read_count[2];
    int64_t *fetches;
};

static void tell(const struct comparison *c, const char *step, int64_t done, int64_t of)
{
    if (c->request->progress)
        c->request->progress(c->request->progress_user, step, done, of);
}

/* ---- Bounds ------------------------------------------------------------------------------------------------------ */

static bool find_bounds(struct comparison *c, struct error *err)
{
    const struct reconcile_request *request = c->request;
    struct sync_state state = {0};
    if (!warehouse_watermark(&c->services->warehouse, request->tenant, request->entity->name, &state, c->cancel, err))
        return false;
    if (!state.found)
        return error_set(
            err, ERROR_PERMANENT, "no_watermark",
            "cannot compare %s of tenant %lld: it was never synced, so the warehouse need not have anything; "
            "`st-ingestor dispatch %s --mode full` reads it",
            request->entity->name, (long long)request->tenant, request->entity->name);
    c->complete_us = state.last_sync_us;
    c->created.from_us = request->has_from ? request->from_us : TIMESTAMP_MIN_US;
    c->created.to_us = request->has_to && request->to_us < c->complete_us ? request->to_us : c->complete_us;
    c->result->from_us = request->has_from ? request->from_us : INT64_MIN;
    c->result->to_us = c->created.to_us;
    return true;
}

static struct reconcile_scope scope_of(struct comparison *c)
{
    const struct stage *stage = &c->run.stage;
    free(c->fetches);
    c->fetches = xcalloc(stage->accepted_count + 1, sizeof c->fetches[0]);
    for (size_t i = 0; i < stage->accepted_count; i++)
        c->fetches[i] = stage->accepted[i].fetch_id;
    return (struct reconcile_scope){
        .entity = c->request->entity,
        .tenant = c->request->tenant,
        .run_id = c->run.run_id,
        .staged_since_us = c->run.started_us - STAGE_CLOCK_MARGIN_US,
        .created = c->created,
        .complete_until_us = c->complete_us,
        .fetches = c->fetches,
        .fetch_count = stage->accepted_count,
        .created_read = c->read[RECONCILE_CREATED],
        .created_read_count = c->read_count[RECONCILE_CREATED],
        .modified_read = c->read[RECONCILE_MODIFIED],
        .modified_read_count = c->read_count[RECONCILE_MODIFIED],
        .time_zone = c->services->settings->schedule_time_zone,
    };
}

/* ---- Counting ---------------------------------------------------------------------------------------------------- */

struct counting { /* shared by the threads that count */
    struct comparison *c;
    struct plan_window *windows;
    size_t count;
    pthread_mutex_t lock;
    size_t next, done;
    bool failed;
    struct error first;
    const struct log_context *scope;
};

static struct st_window window_of_plan(const struct plan_window *window)
{
    return (struct st_window){
        .column = window->axis == RECONCILE_CREATED ? ST_CREATED_ON : ST_MODIFIED_ON,
        .has_from = window->has_from,
        .has_to = true,
        .from_us = window->from_us,
        .to_us = window->to_us,
    };
}

static struct plan_window *next_window(struct counting *counting)
{
    pthread_mutex_lock(&counting->lock);
    struct plan_window *window =
        counting->failed || counting->next == counting->count ? NULL : &counting->windows[counting->next++];
    pthread_mutex_unlock(&counting->lock);
    return window;
}

static void note_counted(struct counting *counting, bool ok, const struct error *err)
{
    pthread_mutex_lock(&counting->lock);
    if (!ok && !counting->failed)
        counting->first = *err;
    counting->failed |= !ok;
    size_t done = ++counting->done;
    pthread_mutex_unlock(&counting->lock);
    tell(counting->c, "counting", (int64_t)done, (int64_t)counting->count);
}

static void *counter_main(void *user)
{
    struct counting *counting = user;
    struct comparison *c = counting->c;
    struct plan_window *window;
    log_scope_set(counting->scope);
    while ((window = next_window(counting)) != NULL) {
        struct error err = ERROR_INIT;
        const struct st_window range = window_of_plan(window);
        bool ok = st_count(c->run.tenant, c->request->entity, &range, &window->source, c->cancel, &err);
        note_counted(counting, ok, &err);
    }
    return NULL;
}

static bool count_windows(struct comparison *c, struct plan_window *windows, size_t count, struct error *err)
{
    struct counting counting = {.c = c, .windows = windows, .count = count, .scope = log_scope()};
    pthread_t threads[MAX_COUNTERS];
    int wanted = c->request->readers < MAX_COUNTERS ? c->request->readers : MAX_COUNTERS, started = 0;
    pthread_mutex_init(&counting.lock, NULL);
    while (started < wanted && (size_t)started + 1 < count &&
           pthread_create(&threads[started], NULL, counter_main, &counting) == 0)
        started++;
    counter_main(&counting); /* this thread counts too */
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&counting.lock);
    c->result->requests += (int64_t)counting.done;
    c->result->windows += (int64_t)counting.done;
    if (counting.failed && err)
        *err = counting.first;
    return !counting.failed || error_prefix(err, "counting %s", c->request->entity->name);
}

/* The first list of windows of one axis; which hours are its own. */
static void plan_axis(struct comparison *c, enum reconcile_axis axis, int64_t to_us)
{
    size_t first = 0, count = 0;
    while (first < c->hour_count && c->hours[first].axis != axis)
        first++;
    while (first + count < c->hour_count && c->hours[first + count].axis == axis)
        count++;
    plan_windows(&c->windows, axis, c->request->has_from, c->created.from_us, to_us, c->hours + first, count,
                 fetch_page_size(&c->run));
}

static void add_up(struct comparison *c)
{
    for (size_t i = 0; i < c->windows.count; i++) {
        const struct plan_window *window = &c->windows.items[i];
        c->result->differing_windows += plan_differs(window);
        if (window->axis != RECONCILE_CREATED)
            continue;
        c->result->source_count += window->source;
        c->result->warehouse_count += window->warehouse;
    }
}

static bool count_all(struct comparison *c, struct error *err)
{
    const struct reconcile_scope scope = scope_of(c);
    if (!warehouse_reconcile_hours(&c->services->warehouse, &scope, &c->hours, &c->hour_count, c->cancel, err))
        return false;
    plan_axis(c, RECONCILE_CREATED, c->created.to_us);
    if (!c->request->deep)
        plan_axis(c, RECONCILE_MODIFIED, c->complete_us);
    c->top_count = c->windows.count;
    if (!count_windows(c, c->windows.items, c->windows.count, err))
        return false;
    add_up(c);
    return true;
}

/* ---- Narrowing --------------------------------------------------------------------------------------------------- */

/* Halves what differs until it is a page, or an hour. The list grows at its end while it is worked through. */
static bool narrow(struct comparison *c, struct error *err)
{
    int64_t page = fetch_page_size(&c->run);
    for (size_t i = 0; i < c->windows.count; i++) {
        struct plan_window window = c->windows.items[i], lower, upper;
        if (!plan_differs(&window))
            continue;
        if (!plan_halve(&window, page, &lower, &upper)) {
            plan_append(&c->leaves, &window);
            continue;
        }
        if (!count_windows(c, &lower, 1, err))
            return false;
        upper.source = window.source - lower.source;
        plan_append(&c->windows, &lower);
        plan_append(&c->windows, &upper);
    }
    return true;
}

static void take_everything(struct comparison *c)
{
    const struct plan_window everything = {
        .axis = RECONCILE_CREATED,
        .has_from = c->request->has_from,
        .from_us = c->created.from_us,
        .to_us = c->created.to_us,
        .source = -1,
    };
    c->leaves.count = 0;
    plan_append(&c->leaves, &everything);
}

static bool choose(struct comparison *c, struct error *err)
{
    c->result->read_all = !c->request->deep && plan_reads_all(&c->windows);
    if (!c->request->deep && !c->result->read_all)
        return narrow(c, err);
    take_everything(c);
    return true;
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static void note_read(struct comparison *c, const struct plan_window *window)
{
    enum reconcile_axis axis = window->axis;
    c->read[axis] = xrealloc(c->read[axis], (c->read_count[axis] + 1) * sizeof c->read[axis][0]);
    c->read[axis][c->read_count[axis]++] =
        (struct reconcile_range){window->has_from ? window->from_us : TIMESTAMP_MIN_US, window->to_us};
}

static bool read_window(struct comparison *c, const struct plan_window *window, struct error *err)
{
    if (!fetch_range(&c->run, window_of_plan(window), /* whole */ false, ROW_ALL, err))
        return false;
    note_read(c, window);
    return true;
}

static bool read_leaves(struct comparison *c, struct error *err)
{
    for (size_t i = 0; i < c->leaves.count; i++) {
        tell(c, "reading", (int64_t)i, (int64_t)c->leaves.count);
        if (!read_window(c, &c->leaves.items[i], err))
            return false;
    }
    return stage_verify(&c->run, err);
}

/* What has changed since the watermark, so that it is not taken for lost. */
static bool read_changes(struct comparison *c, struct error *err)
{
    const struct st_window since = {.column = ST_MODIFIED_ON, .has_from = true, .from_us = c->complete_us};
    tell(c, "reading what has changed since the last sync", 0, -1);
    return c->request->deep || fetch_range(&c->run, since, /* whole */ false, ROW_ALL, err);
}

/* Rows that were not where the warehouse has them: where they were created, they are, or they are gone. */
static bool read_absent(struct comparison *c, struct error *err)
{
    int64_t *instants = NULL;
    size_t count = 0;
    const struct reconcile_scope scope = scope_of(c);
    if (scope.modified_read_count == 0)
        return true;
    if (!warehouse_reconcile_absent(&c->services->warehouse, &scope, MAX_INSTANTS, &instants, &count, c->cancel, err))
        return false;
    bool ok = true;
    if (count > MAX_INSTANTS) {
        take_everything(c);
        c->result->read_all = true;
        ok = read_leaves(c, err);
    }
    for (size_t i = 0; ok && count <= MAX_INSTANTS && i < count; i++) {
        const struct plan_window instant = {
            .axis = RECONCILE_CREATED, .has_from = true, .from_us = instants[i], .to_us = instants[i] + 1};
        tell(c, "looking for rows that are elsewhere or gone", (int64_t)i, (int64_t)count);
        ok = read_window(c, &instant, err);
    }
    free(instants);
    return ok && stage_verify(&c->run, err);
}

/* ---- Comparing --------------------------------------------------------------------------------------------------- */

static bool compare(struct comparison *c, struct error *err)
{
    const struct reconcile_scope scope = scope_of(c);
    struct reconcile_result *result = c->result;
    if (scope.created_read_count == 0 && scope.modified_read_count == 0)
        return true; /* all counts agree */
    tell(c, "comparing", 0, -1);
    return warehouse_reconcile_compare(&c->services->warehouse, &scope, c->request->deep, &result->findings, c->cancel,
                                       err) &&
           (!c->request->deep || warehouse_reconcile_sums(&c->services->warehouse, &scope, &result->sums,
                                                          &result->sum_count, c->cancel, err));
}

static bool was_read(const struct comparison *c, const struct plan_window *window)
{
    int64_t from_us = window->has_from ? window->from_us : TIMESTAMP_MIN_US;
    for (size_t i = 0; i < c->read_count[window->axis]; i++) {
        const struct reconcile_range *read = &c->read[window->axis][i];
        if (read->from_us <= from_us && window->to_us <= read->to_us)
            return true;
    }
    return false;
}

/* The windows that hide something, as the next leaves. */
static bool find_unexplained(struct comparison *c)
{
    c->leaves.count = 0;
    for (size_t i = 0; i < c->top_count; i++) {
        const struct plan_window *window = &c->windows.items[i];
        if (plan_unexplained(window, &c->result->findings) != 0 && !was_read(c, window))
            plan_append(&c->leaves, window);
    }
    return c->leaves.count > 0;
}

/* Rounds end: each window is read once, and nothing is read when all counts are explained. What changes meanwhile may
 * cost some windows. */
static bool explain(struct comparison *c, struct error *err)
{
    if (c->request->deep || c->result->read_all)
        return true;
    for (int round = 0; round < MAX_ROUNDS && find_unexplained(c); round++) {
        reconcile_findings_release(&c->result->findings);
        if (!read_leaves(c, err) || !read_absent(c, err) || !compare(c, err))
            return false;
        if (c->result->read_all)
            return true;
    }
    return true;
}

static bool record(struct comparison *c, struct error *err)
{
    const struct reconcile_result *result = c->result;
    const int64_t *counts = result->findings.counts;
    const struct event_reconciliation event = {
        .run_id = c->run.run_id,
        .entity = c->request->entity->name,
        .form = c->request->deep ? "deep" : "quick",
        .state = reconcile_is_equal(result) ? "equal" : "different",
        .tenant = c->request->tenant,
        .from_us = result->from_us,
        .to_us = result->to_us,
        .source_count = result->source_count,
        .warehouse_count = result->warehouse_count,
        .missing = counts[RECONCILE_MISSING],
        .extra = counts[RECONCILE_EXTRA],
        .stale = counts[RECONCILE_STALE],
        .value = counts[RECONCILE_VALUE],
        .requests = result->requests,
        .checked_us = clock_wall_us(),
    };
    log_at(reconcile_is_equal(result) ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, &c->run.log,
           LOG_MSG("Source and warehouse compared"), LOG_STR("state", event.state), LOG_STR("form", event.form),
           LOG_INT("sourceCount", event.source_count), LOG_INT("warehouseCount", event.warehouse_count),
           LOG_INT("missing", event.missing), LOG_INT("extra", event.extra), LOG_INT("stale", event.stale),
           LOG_INT("value", event.value), LOG_INT("requests", event.requests));
    return events_reconciliation(c->services->events, &event, c->cancel, err) ||
           error_prefix(err, "writing the comparison's row");
}

static bool go(struct comparison *c, struct error *err)
{
    if (!find_bounds(c, err))
        return false;
    if (c->created.from_us >= c->created.to_us)
        return record(c, err); /* nothing lies before the watermark */
    bool ok = read_changes(c, err) && count_all(c, err) && choose(c, err) && read_leaves(c, err) &&
              read_absent(c, err) && compare(c, err) && explain(c, err);
    c->result->requests += c->run.requests;
    c->result->records = c->run.stage.fetched;
    return ok && record(c, err);
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static void init(struct comparison *c)
{
    const struct reconcile_request *request = c->request;
    c->env = (struct run_env){
        .services = c->services,
        .settings = c->services->settings,
        .fetches = fetch_index_new(),
        .worker_name = "",
        .readers = request->readers > 0 ? request->readers : 1,
    };
    c->message = (struct message){.lane = TASK_LANE_BACKFILL};
    c->message.task.mode = TASK_RECONCILE;
    c->message.task.tenant = request->tenant;
    c->run.env = &c->env;
    c->run.message = &c->message;
    c->run.entity = request->entity;
    c->run.tenant = services_tenant(c->services, request->tenant);
    c->run.cancel = c->cancel;
    c->run.started_us = clock_wall_us();
    c->run.started_mono_ms = clock_mono_ms();
    uuid_generate(c->run.run_id);
    snprintf(c->run.log_name, sizeof c->run.log_name, "v2-ingestor:reconcile:%.40s", request->entity->name);
    c->run.log = (struct log_context){
        c->run.log_name, c->run.run_id, c->message.task_id, request->entity->name, task_mode_name(TASK_RECONCILE),
        request->tenant};
    stage_init(&c->run);
    snprintf(c->result->run_id, sizeof c->result->run_id, "%s", c->run.run_id);
}

static void release(struct comparison *c)
{
    bq_appender_forget(c->run.stage.appender, c->env.fetches); /* rows of fetches that were given up */
    stage_release(&c->run);
    fetch_index_free(c->env.fetches);
    free(c->hours);
    free(c->windows.items);
    free(c->leaves.items);
    free(c->read[0]);
    free(c->read[1]);
    free(c->fetches);
}

bool reconcile(struct services *services, const struct reconcile_request *request, struct reconcile_result *ret,
               struct cancel *cancel, struct error *err)
{
    struct comparison c = {.request = request, .result = ret, .services = services, .cancel = cancel};
    *ret = (struct reconcile_result){0};
    init(&c);
    const struct log_context *before = log_scope_set(&c.run.log);
    bool ok = go(&c, err);
    log_scope_set(before);
    release(&c);
    return ok;
}

void reconcile_result_release(struct reconcile_result *result)
{
    reconcile_findings_release(&result->findings);
    free(result->sums);
    *result = (struct reconcile_result){0};
}

bool reconcile_is_equal(const struct reconcile_result *result)
{
    for (int kind = 0; kind < RECONCILE_KINDS; kind++)
        if (result->findings.counts[kind] > 0)
            return false;
    return true;
}

size_t reconcile_repairs(const struct reconcile_result *result, struct reconcile_range **ret)
{
    return plan_repairs(&result->findings, ret);
}
