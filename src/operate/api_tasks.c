/* api_tasks.c - the tasks that a request stands for; /tasks/:id and /runs/:id.
 *
 * A request that stands for several tasks has one id; its parts are called ID/ENTITY/TENANT (task_expand makes these names, here and in
 * the worker), so that the id alone is enough to find them. A task that no worker has begun has left no trace in the run log; what this
 * process published of late it remembers itself. */
#include <stdio.h>
#include <stdlib.h>

#include "api_internal.h"
#include "base/clock.h"
#include "operate/operate.h"
#include "operate/table.h"

/* ---- The tasks of a request ------------------------------------------------------------------------------------------ */

static bool add_task(void *user, const struct task *single)
{
    struct api_tasks *tasks = user;
    if (tasks->count >= API_MAX_TASKS)
        return false;
    if (tasks->count == tasks->cap) {
        tasks->cap = tasks->cap ? tasks->cap * 2 : 16;
        tasks->items = xrealloc(tasks->items, tasks->cap * sizeof *tasks->items);
    }
    tasks->items[tasks->count++] = *single;
    return true;
}

static void finish_tasks(struct api_tasks *tasks)
{
    tasks->ids = xcalloc(tasks->count + 1, sizeof *tasks->ids);
    tasks->statuses = xcalloc(tasks->count + 1, sizeof *tasks->statuses);
    for (size_t i = 0; i < tasks->count; i++)
        tasks->ids[i] = tasks->items[i].task_id;
}

bool api_tasks_init(struct api_tasks *tasks, const struct settings *s, const struct task *group, const char *id,
                    struct error *err)
{
    struct task named = *group;
    *tasks = (struct api_tasks){0};
    snprintf(named.task_id, sizeof named.task_id, "%s", id);
    bool ok = task_expand(&named, s, add_task, tasks);
    if (tasks->count == 1)
        snprintf(tasks->items[0].task_id, sizeof tasks->items[0].task_id, "%s", id);
    finish_tasks(tasks);
    return ok || error_set(err, ERROR_PERMANENT, "too_many_tasks",
                           "the request stands for more than %d tasks: name a tenant", API_MAX_TASKS);
}

void api_tasks_release(struct api_tasks *tasks)
{
    free(tasks->items);
    free(tasks->ids);
    free(tasks->statuses);
    *tasks = (struct api_tasks){0};
}

/* ---- /tasks/:id ------------------------------------------------------------------------------------------------------- */

static void keep(struct api_tasks *tasks, const char *id, int64_t tenant)
{
    size_t count = 0;
    bool part = strchr(id, '/') != NULL;
    for (size_t i = 0; i < tasks->count; i++)
        if ((!part || strcmp(tasks->items[i].task_id, id) == 0) && (!tenant || tasks->items[i].tenant == tenant))
            tasks->items[count++] = tasks->items[i];
    tasks->count = count;
}

/* Of a request that was published here: exactly its tasks. Else all that the id may stand for. */
static void find_tasks(struct api_tasks *tasks, const struct settings *s, const char *id, int64_t tenant,
                       const struct api_recent *recent)
{
    struct task plain = {.tenant = tenant};
    *tasks = (struct api_tasks){0};
    if (recent) {
        (void)!api_tasks_init(tasks, s, &recent->group, recent->id, NULL);
        keep(tasks, id, tenant);
        return;
    }
    snprintf(plain.task_id, sizeof plain.task_id, "%s", id);
    (void)add_task(tasks, &plain);
    snprintf(plain.entity, sizeof plain.entity, "all");
    if (!strchr(id, '/'))
        (void)task_expand(&plain, s, add_task, tasks);
    finish_tasks(tasks);
}

static void take_status(struct api_tasks *tasks, const struct task_status *found)
{
    for (size_t i = 0; i < tasks->count; i++)
        if (strcmp(tasks->items[i].task_id, found->task_id) == 0)
            tasks->statuses[i] = *found;
}

/* What a remembered task is before its first run. */
static void fill_queued(struct api_tasks *tasks)
{
    for (size_t i = 0; i < tasks->count; i++) {
        struct task_status *status = &tasks->statuses[i];
        const struct task *task = &tasks->items[i];
        if (status->task_id[0])
            continue;
        *status = (struct task_status){.mode = task->mode, .tenant = task->tenant, .state = TASK_STATE_QUEUED};
        snprintf(status->task_id, sizeof status->task_id, "%s", task->task_id);
        snprintf(status->entity, sizeof status->entity, "%s", task->entity);
    }
}

/* The state of all together: what is least ended, and a rejection before a success. */
static enum task_state state_of_all(const struct task_status *list, size_t count)
{
    static const int rank[] = {
        [TASK_STATE_SKIPPED] = 0,  [TASK_STATE_SUCCESS] = 1, [TASK_STATE_REJECTED] = 2,
        [TASK_STATE_RETRYING] = 3, [TASK_STATE_QUEUED] = 4,  [TASK_STATE_RUNNING] = 5,
    };
    enum task_state state = list[0].state;
    for (size_t i = 1; i < count; i++)
        if (rank[list[i].state] > rank[state])
            state = list[i].state;
    return state;
}

static void put_task(struct buf *out, const struct task_status *t)
{
    bool begun = t->state != TASK_STATE_QUEUED;
    buf_append_char(out, '{');
    api_member(out, "taskId", t->task_id);
    api_member(out, "entity", t->entity);
    api_member_int(out, "tenant", t->tenant);
    api_member(out, "mode", task_mode_name(t->mode));
    api_member(out, "state", task_state_name(t->state));
    api_member(out, "runId", begun ? t->run_id : NULL);
    api_member_int(out, "recordsProcessed", t->records);
    api_member_time(out, "startTime", t->start_us);
    api_member_time(out, "endTime", t->end_us);
    api_member_int(out, "duration", t->duration_ms);
    if (t->error_message[0]) {
        api_member(out, "error", t->error_message);
        api_member(out, "errorCode", t->error_code);
    }
    buf_append_char(out, '}');
}

static void put_tasks(struct buf *out, const char *id, const struct task_status *list, size_t count)
{
    enum task_state state = state_of_all(list, count);
    const char *success = !task_state_is_final(state) ? "null" : task_state_is_success(state) ? "true" : "false";
    buf_append_char(out, '{');
    api_member(out, "taskId", id);
    api_member(out, "state", task_state_name(state));
    buf_printf(out, ",\"success\":%s,\"tasks\":[", success);
    for (size_t i = 0; i < count; i++) {
        buf_append_str(out, i ? "," : "");
        put_task(out, &list[i]);
    }
    buf_append_str(out, "]}");
}

static void unknown(struct api_call *call, const char *what, const char *where)
{
    struct error err = ERROR_INIT;
    error_set(&err, ERROR_PERMANENT, "not_found", "%s \"%s\"%s", what, call->request.name, where);
    api_fail(call, 404, &err);
}

static void answer_task(struct api_call *call, struct api_tasks *tasks, bool known, const struct task_status *found,
                        size_t count)
{
    const char *id = call->request.name;
    for (size_t i = 0; known && i < count; i++)
        take_status(tasks, &found[i]);
    if (known)
        fill_queued(tasks);
    if (known && tasks->count > 0)
        put_tasks(&call->body, id, tasks->statuses, tasks->count);
    else if (!known && count > 0)
        put_tasks(&call->body, id, found, count);
    else
        unknown(call, "no run has begun in the last 31 days for a task",
                "; one that waits in the queue is not seen before");
}

void api_task(struct api_call *call)
{
    struct api *api = call->api;
    struct api_recent recent;
    struct api_tasks tasks;
    struct task_status *found = NULL;
    struct error err = ERROR_INIT;
    size_t count = 0;
    int64_t since_us = clock_wall_us() - API_TASK_DAYS * INT64_C(86400000000);
    bool known = api_recall(api, call->request.name, &recent);
    find_tasks(&tasks, api->settings, call->request.name, call->request.tenant, known ? &recent : NULL);
    if (tasks_look(api->services, tasks.ids, tasks.count, known ? recent.published_us : since_us, &found, &count,
                   http_exchange_cancel(call->x, API_ASK_MS, false), &err))
        answer_task(call, &tasks, known, found, count);
    else
        api_fail_upstream(call, &err);
    free(found);
    api_tasks_release(&tasks);
}

/* ---- /runs/:id -------------------------------------------------------------------------------------------------------- */

void api_run(struct api_call *call)
{
    struct bq_result result = {0};
    struct error err = ERROR_INIT;
    if (!operate_run(call->api->services, call->request.tenant, call->request.name, &result,
                     http_exchange_cancel(call->x, API_ASK_MS, false), &err))
        api_fail_upstream(call, &err);
    else if (result.row_count == 0)
        unknown(call, "there is no run", " in the run log");
    else
        table_json_row(&call->body, &result, 0);
    bq_result_release(&result);
}
