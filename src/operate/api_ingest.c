/* api_ingest.c - the routes that publish: /ingest/:entity, /full-sync/:entity, /ingest-all.
 *
 * A request publishes its tasks (one message per entity and tenant), waits until all have ended or the time is over, and answers with the
 * runs; or it answers 202 with ids to ask for. What is published is done by the workers, whoever still waits for it: a client that goes, a
 * server that stops and a time-out all end the waiting only. A sequence (parallel=false) lives as long as its request: entities whose turn
 * has not come are not published, and the answer says which. */
#include <stdio.h>
#include <stdlib.h>

#include "api_internal.h"
#include "base/clock.h"
#include "base/log.h"

enum { LOGGED_IDS = 10 };

static const struct log_context ingest_log = {.context = "v2-ingestor:api"};

struct batch { /* one request's tasks, and how far they have come */
    struct api_call *call;
    struct task group;
    char id[UUID_TEXT_SIZE];
    char url[sizeof "/tasks/" + UUID_TEXT_SIZE];
    struct api_tasks tasks;
    size_t published; /* of the tasks, from the first */
    int64_t since_us, deadline_ms;
    struct error why; /* why it is not waited for any longer */
};

/* ---- Publishing and waiting ------------------------------------------------------------------------------------------ */

/* The tasks up to `end`, which belong together. Pub/Sub gets its time whether or not the client stays. */
static bool publish(struct batch *b, size_t end, struct error *err)
{
    struct api *api = b->call->api;
    size_t count = end - b->published;
    struct buf *texts = xcalloc(count, sizeof *texts);
    struct pubsub_message *messages = xcalloc(count, sizeof *messages);
    for (size_t i = 0; i < count; i++) {
        task_format(&b->tasks.items[b->published + i], &texts[i]);
        messages[i].data = buf_slice(&texts[i]);
    }
    bool ok = pubsub_publish(api->services->pubsub, api->settings->pubsub_topic, messages, count, NULL, NULL, NULL,
                             http_exchange_cancel(b->call->x, API_PUBLISH_MS, false), err);
    for (size_t i = 0; i < count; i++)
        buf_release(&texts[i]);
    free(texts);
    free(messages);
    if (ok) {
        b->published = end;
        log_debug(&ingest_log, LOG_MSG("Tasks published"), LOG_STR("taskId", b->id), LOG_INT("tasks", count));
    }
    return ok;
}

/* Until the tasks from `first` have ended, the time is over, the client has gone or the server stops. */
static bool wait_for(struct batch *b, size_t first)
{
    struct cancel *cancel = http_exchange_cancel(b->call->x, 0, true);
    return task_watch_wait(b->call->api->watch, b->tasks.ids + first, b->published - first, b->since_us, b->deadline_ms,
                           b->tasks.statuses + first, cancel, &b->why);
}

static size_t end_of_entity(const struct api_tasks *tasks, size_t first)
{
    size_t end = first;
    while (end < tasks->count && strcmp(tasks->items[end].entity, tasks->items[first].entity) == 0)
        end++;
    return end;
}

/* One step: everything, or one entity. *ret_ended false: the waiting is over before its end. */
static bool step(struct batch *b, size_t end, bool *ret_ended, struct error *err)
{
    size_t first = b->published;
    if (!publish(b, end, err))
        return false;
    *ret_ended = b->call->request.wait && wait_for(b, first);
    return true;
}

/* *ret_ended: all tasks have ended. */
static bool run(struct batch *b, bool sequential, bool *ret_ended, struct error *err)
{
    bool ok = true;
    *ret_ended = true;
    while (ok && *ret_ended && b->published < b->tasks.count)
        ok = step(b, sequential ? end_of_entity(&b->tasks, b->published) : b->tasks.count, ret_ended, err);
    return ok;
}

static bool begin(struct batch *b, struct api_call *call, const char *entity, struct error *err)
{
    const struct api_request *request = &call->request;
    *b = (struct batch){.call = call, .why = ERROR_INIT, .since_us = clock_wall_us()};
    b->deadline_ms = clock_mono_ms() + request->timeout_s * 1000;
    b->group = (struct task){.mode = request->full ? TASK_FULL : TASK_INCREMENTAL, .tenant = request->tenant};
    snprintf(b->group.entity, sizeof b->group.entity, "%s", entity);
    snprintf(b->group.requested_by, sizeof b->group.requested_by, "http");
    uuid_generate(b->id);
    snprintf(b->url, sizeof b->url, "/tasks/%s", b->id);
    if (!api_tasks_init(&b->tasks, call->api->settings, &b->group, b->id, err))
        return false;
    if (b->tasks.count == 0)
        return error_set(err, ERROR_PERMANENT, "nothing", "nothing to ingest: no entity is enabled");
    api_remember(call->api, &b->group, b->id, b->since_us);
    return true;
}

/* ---- Results ----------------------------------------------------------------------------------------------------------- */

struct result { /* of tasks that have all ended */
    size_t count, failed;
    int64_t records, start_us, end_us;
    const struct task_status *first_failed;
};

static struct result result_of(const struct task_status *list, size_t count)
{
    struct result r = {.count = count, .start_us = INT64_MAX};
    for (size_t i = 0; i < count; i++) {
        r.records += list[i].records;
        r.start_us = list[i].start_us < r.start_us ? list[i].start_us : r.start_us;
        r.end_us = list[i].end_us > r.end_us ? list[i].end_us : r.end_us;
        if (task_state_is_success(list[i].state))
            continue;
        if (r.failed++ == 0)
            r.first_failed = &list[i];
    }
    return r;
}

/* One run's own duration; of several, from the first start to the last end. */
static int64_t duration_ms(const struct result *r, const struct task_status *list)
{
    if (r->count == 1)
        return list[0].duration_ms;
    return r->end_us > r->start_us ? (r->end_us - r->start_us) / 1000 : 0;
}

static void put_error(struct buf *out, const struct task_status *failed)
{
    api_member(out, "error", failed->error_message);
    api_member(out, "errorCode", failed->error_code);
    api_member(out, "runId", failed->run_id);
    api_member(out, "taskId", failed->task_id);
}

static void put_run(struct buf *out, const struct task_status *t)
{
    bool success = task_state_is_success(t->state);
    buf_append_char(out, '{');
    api_member_int(out, "tenant", t->tenant);
    buf_printf(out, ",\"success\":%s", success ? "true" : "false");
    api_member_int(out, "recordsProcessed", t->records);
    if (success)
        api_member(out, "runId", t->run_id);
    else
        put_error(out, t);
    api_member_int(out, "duration", t->duration_ms);
    buf_append_char(out, '}');
}

/* Of several tenants, each one's run. */
static void put_runs(struct buf *out, const struct task_status *list, size_t count)
{
    if (count < 2)
        return;
    buf_append_str(out, ",\"runs\":[");
    for (size_t i = 0; i < count; i++) {
        buf_append_str(out, i ? "," : "");
        put_run(out, &list[i]);
    }
    buf_append_char(out, ']');
}

/* "jobs": { "success": true, "recordsProcessed": 1247, "duration": 12450 } */
static void put_entity_result(struct buf *out, const struct task_status *list, size_t count)
{
    const struct result r = result_of(list, count);
    buf_printf(out, "{\"success\":%s", r.failed == 0 ? "true" : "false");
    api_member_int(out, "recordsProcessed", r.records);
    api_member_int(out, "duration", duration_ms(&r, list));
    if (r.first_failed)
        put_error(out, r.first_failed);
    put_runs(out, list, count);
    buf_append_char(out, '}');
}

/* ---- Answers ------------------------------------------------------------------------------------------------------------ */

static void note_ids(struct batch *b)
{
    for (size_t i = 0; i < b->published && i < LOGGED_IDS; i++)
        buf_printf(&b->call->task_ids, "%s%s", i ? "," : "", b->tasks.ids[i]);
    if (b->published > LOGGED_IDS)
        buf_printf(&b->call->task_ids, ",+%zu", b->published - LOGGED_IDS);
}

static const char *why_not_waited(const struct batch *b)
{
    if (!b->call->request.wait)
        return "not waited for, as asked";
    if (strcmp(b->why.code, "timeout") == 0)
        return "not ended within the time-out; the workers go on";
    return cancel_is_set(b->call->api->stop) ? "the server is stopping; the workers go on"
                                             : "no longer waited for; the workers go on";
}

/* What was published, and where to ask for it. */
static void put_ids(struct batch *b)
{
    struct buf *out = &b->call->body;
    buf_append_str(out, ",\"taskIds\":[");
    for (size_t i = 0; i < b->published; i++) {
        buf_append_str(out, i ? "," : "");
        buf_append_json_string(out, slice_str(b->tasks.ids[i]));
    }
    buf_append_char(out, ']');
    api_member(out, "statusUrl", b->url);
}

/* The members of a 202 that all routes have. */
static void put_accepted(struct batch *b)
{
    b->call->status = 202;
    http_exchange_add_header(b->call->x, "Location", b->url);
    api_member(&b->call->body, "message", why_not_waited(b));
    put_ids(b);
}

/* Of a sequence, or of more messages than one request to Pub/Sub takes, a part may be on its way. */
static void fail_publish(struct batch *b, const struct error *err)
{
    struct error why = *err;
    bool may_pass = error_may_retry(err) || err->class == ERROR_CANCELLED;
    if (cancel_is_set(b->call->api->stop))
        error_set(&why, ERROR_RETRY, "stopping", "the server is stopping");
    else if (why.class == ERROR_CANCELLED)
        error_set(&why, ERROR_RETRY, "timeout", "Pub/Sub has not answered within %d s", API_PUBLISH_MS / 1000);
    error_prefix(&why, "could not publish");
    api_hint_init(&why);
    api_fail(b->call, may_pass ? 503 : 502, &why);
    b->call->body.len--; /* the object goes on */
    put_ids(b);
    buf_append_char(&b->call->body, '}');
    if (may_pass)
        http_exchange_add_header(b->call->x, "Retry-After", "10");
}

static void answer_one(struct batch *b, bool ended)
{
    struct buf *out = &b->call->body;
    const struct task_status *list = b->tasks.statuses;
    buf_append_char(out, '{');
    if (!ended) {
        buf_append_str(out, "\"accepted\":true");
    } else {
        b->call->status = result_of(list, b->tasks.count).failed ? 500 : 200;
        buf_printf(out, "\"success\":%s", b->call->status == 200 ? "true" : "false");
    }
    api_member(out, "entity", b->group.entity);
    api_member(out, "mode", task_mode_name(b->group.mode));
    if (!ended) {
        put_accepted(b);
    } else {
        const struct result r = result_of(list, b->tasks.count);
        api_member_int(out, "recordsProcessed", r.records);
        if (r.first_failed)
            put_error(out, r.first_failed);
        else
            api_member(out, "runId", r.count == 1 ? list[0].run_id : NULL);
        api_member_int(out, "duration", duration_ms(&r, list));
        put_runs(out, list, r.count);
    }
    buf_append_char(out, '}');
}

/* Copies a failed run's error to the log line. */
static void note_outcome(struct batch *b)
{
    const struct result r = result_of(b->tasks.statuses, b->published);
    const struct task_status *told = r.first_failed ? r.first_failed : &b->tasks.statuses[0];
    if (b->call->status == 500 && r.first_failed)
        error_set(&b->call->err, ERROR_PERMANENT, told->error_code, "%s: %s", told->entity, told->error_message);
    if (r.count == 1 || b->call->status == 500)
        memcpy(b->call->run_id, told->run_id, sizeof b->call->run_id);
}

static void ingest(struct api_call *call)
{
    struct batch b;
    struct error err = ERROR_INIT;
    bool ended = false;
    if (!begin(&b, call, call->request.name, &err))
        api_fail(call, 400, &err);
    else if (!run(&b, false, &ended, &err))
        fail_publish(&b, &err);
    else
        answer_one(&b, ended);
    note_ids(&b);
    if (ended)
        note_outcome(&b);
    api_tasks_release(&b.tasks);
}

void api_ingest(struct api_call *call)
{
    ingest(call);
}

void api_full_sync(struct api_call *call)
{
    call->request.full = true;
    ingest(call);
}

/* ---- All entities -------------------------------------------------------------------------------------------------------- */

struct summary {
    size_t total, succeeded, failed;
};

static bool have_ended(const struct task_status *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!task_state_is_final(list[i].state))
            return false;
    return true;
}

/* Of the entities that have ended. */
static struct summary put_results(struct batch *b)
{
    struct buf *out = &b->call->body;
    struct summary sum = {0};
    buf_append_str(out, ",\"results\":{");
    for (size_t first = 0, end; first < b->tasks.count; first = end) {
        const struct task_status *list = &b->tasks.statuses[first];
        end = end_of_entity(&b->tasks, first);
        sum.total++;
        if (end > b->published || !have_ended(list, end - first))
            continue;
        bool good = result_of(list, end - first).failed == 0;
        sum.succeeded += good;
        sum.failed += !good;
        if (sum.succeeded + sum.failed > 1)
            buf_append_char(out, ',');
        buf_append_json_string(out, slice_str(b->tasks.items[first].entity));
        buf_append_char(out, ':');
        put_entity_result(out, list, end - first);
    }
    buf_append_char(out, '}');
    return sum;
}

static void put_not_published(struct batch *b)
{
    struct buf *out = &b->call->body;
    buf_append_str(out, ",\"notPublished\":[");
    for (size_t first = b->published; first < b->tasks.count; first = end_of_entity(&b->tasks, first)) {
        buf_append_str(out, first > b->published ? "," : "");
        buf_append_json_string(out, slice_str(b->tasks.items[first].entity));
    }
    buf_append_char(out, ']');
}

static bool any_failed(const struct batch *b)
{
    return result_of(b->tasks.statuses, b->tasks.count).failed > 0;
}

static void answer_all(struct batch *b, bool ended)
{
    struct buf *out = &b->call->body;
    if (ended) {
        b->call->status = any_failed(b) ? 500 : 200;
        buf_printf(out, "{\"success\":%s", b->call->status == 200 ? "true" : "false");
    } else {
        buf_append_str(out, "{\"accepted\":true");
    }
    api_member(out, "mode", task_mode_name(b->group.mode));
    buf_printf(out, ",\"parallel\":%s", b->call->request.parallel ? "true" : "false");
    const struct summary sum = put_results(b);
    buf_append_str(out, ",\"summary\":{");
    api_member_int(out, "total", (int64_t)sum.total);
    api_member_int(out, "succeeded", (int64_t)sum.succeeded);
    api_member_int(out, "failed", (int64_t)sum.failed);
    if (!ended)
        api_member_int(out, "pending", (int64_t)(sum.total - sum.succeeded - sum.failed));
    buf_append_char(out, '}');
    if (!ended) {
        put_accepted(b);
        put_not_published(b);
    }
    buf_append_char(out, '}');
}

/* A sequence needs somebody who lives as long as it does. */
static bool refuse_unattended_sequence(struct api_call *call)
{
    if (call->request.wait || call->request.parallel)
        return false;
    api_refuse(&call->refusal, 400, "bad_parameter",
               "wait=false needs parallel=true: one entity after the other (parallel=false, the default) lasts only as "
               "long as the request that waits");
    api_allow(&call->refusal, "parallel=true&wait=false");
    api_allow(&call->refusal, "wait=true");
    api_answer_refusal(call);
    return true;
}

void api_ingest_all(struct api_call *call)
{
    struct batch b;
    struct error err = ERROR_INIT;
    bool ended = false;
    if (refuse_unattended_sequence(call))
        return;
    if (!begin(&b, call, "all", &err))
        api_fail(call, 400, &err);
    else if (run(&b, !call->request.parallel, &ended, &err))
        answer_all(&b, ended);
    else
        fail_publish(&b, &err);
    note_ids(&b);
    if (ended)
        note_outcome(&b);
    api_tasks_release(&b.tasks);
}
