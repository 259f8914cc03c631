/* task_watch.c - the run log's answer to "what became of task X", and the one thread that asks it for all who wait. */
#include "operate/task_watch.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

enum {
    LOOK_MIN_MS = 400,            /* between two looks while the youngest wait is new, */
    LOOK_MAX_MS = 10000,          /* and at most, however old the waits are */
    LOOK_SHARE_OF_AGE = 4,        /* in between: a quarter of the youngest wait's age */
    LOOK_SLACK_US = 60 * 1000000, /* event times are BigQuery's, publish times ours or Pub/Sub's */
};

static const struct log_context watch_log = {.context = "v2-ingestor:tasks"};

/* ---- One look ----------------------------------------------------------------------------------------------------- */

/* Per part the run that tells most: a success, else the newest; of one run its end. Skipped tasks are events only. */
static const char look_sql[] =
    "SELECT task_id, tenant_id, entity_type, mode, run_id, status, verdict, start_time, end_time, duration_ms, "
    "records_inserted, error_code, error_message\n"
    "FROM `%s.%s.ingestion_log_events`\n"
    "WHERE task_id IN UNNEST(@tasks) AND event_time >= @since\n"
    "QUALIFY ROW_NUMBER() OVER (PARTITION BY task_id, tenant_id, entity_type, mode\n"
    "  ORDER BY IF(status IN ('success', 'skipped'), 0, 1), start_time DESC, IF(status = 'running', 1, 0), event_time "
    "DESC) = 1";

static const struct {
    const char *name;
    bool final, success;
} states[] = {
    [TASK_STATE_QUEUED] = {"queued", false, false},     [TASK_STATE_RUNNING] = {"running", false, false},
    [TASK_STATE_RETRYING] = {"retrying", false, false}, [TASK_STATE_SUCCESS] = {"success", true, true},
    [TASK_STATE_SKIPPED] = {"skipped", true, true},     [TASK_STATE_REJECTED] = {"rejected", true, false},
};

const char *task_state_name(enum task_state state)
{
    return states[state].name;
}

bool task_state_is_final(enum task_state state)
{
    return states[state].final;
}

bool task_state_is_success(enum task_state state)
{
    return states[state].success;
}

char *tasks_look_sql(const struct settings *s)
{
    return xasprintf(look_sql, s->bq_project, s->bq_dataset_logs);
}

static enum task_state state_of(const char *status, const char *verdict)
{
    if (strcmp(status, "success") == 0)
        return TASK_STATE_SUCCESS;
    if (strcmp(status, "skipped") == 0)
        return TASK_STATE_SKIPPED;
    if (strcmp(status, "failed") != 0)
        return TASK_STATE_RUNNING;
    return strcmp(verdict, "reject") == 0 ? TASK_STATE_REJECTED : TASK_STATE_RETRYING;
}

static void read_status(const struct bq_result *r, size_t row, struct task_status *ret)
{
    *ret = (struct task_status){
        .state = state_of(bq_result_string(r, row, "status"), bq_result_string(r, row, "verdict")),
        .tenant = bq_result_int(r, row, "tenant_id", 0),
        .records = bq_result_int(r, row, "records_inserted", 0),
        .start_us = bq_result_int(r, row, "start_time", 0),
        .end_us = bq_result_int(r, row, "end_time", 0),
        .duration_ms = bq_result_int(r, row, "duration_ms", 0),
    };
    snprintf(ret->task_id, sizeof ret->task_id, "%s", bq_result_string(r, row, "task_id"));
    snprintf(ret->entity, sizeof ret->entity, "%s", bq_result_string(r, row, "entity_type"));
    snprintf(ret->run_id, sizeof ret->run_id, "%s", bq_result_string(r, row, "run_id"));
    if (!task_mode_parse(bq_result_string(r, row, "mode"), &ret->mode))
        ret->mode = TASK_INCREMENTAL;
    if (ret->state == TASK_STATE_RETRYING || ret->state == TASK_STATE_REJECTED) {
        snprintf(ret->error_code, sizeof ret->error_code, "%s", bq_result_string(r, row, "error_code"));
        snprintf(ret->error_message, sizeof ret->error_message, "%s", bq_result_string(r, row, "error_message"));
    }
}

bool tasks_look(struct services *services, const char *const *task_ids, size_t count, int64_t since_us,
                struct task_status **ret, size_t *ret_count, struct cancel *cancel, struct error *err)
{
    struct bq_result result = {0};
    const struct bq_param params[] = {
        {.name = "tasks", .type = BQ_PARAM_STRING_ARRAY, .strings = task_ids, .count = count},
        {.name = "since", .type = BQ_PARAM_TIMESTAMP, .number = since_us - LOOK_SLACK_US},
    };
    if (count > TASKS_MAX_IDS)
        return error_set(err, ERROR_PERMANENT, "too_many", "cannot look for %zu tasks at once: at most %d", count,
                         TASKS_MAX_IDS);
    char *sql = tasks_look_sql(services->settings);
    const struct bq_label step = {"st_step", "tasks"};
    const struct bq_query query = {.sql = sql, .params = params, .param_count = 2, .labels = &step, .label_count = 1};
    bool ok = bq_query_run(services->bigquery, &query, &result, cancel, err);
    free(sql);
    if (ok) {
        *ret = xcalloc(result.row_count + 1, sizeof **ret);
        *ret_count = result.row_count;
        for (size_t i = 0; i < result.row_count; i++)
            read_status(&result, i, &(*ret)[i]);
    } else {
        error_prefix(err, "reading the run log");
    }
    bq_result_release(&result);
    return ok;
}

/* ---- Waiting ------------------------------------------------------------------------------------------------------- */

struct waiter { /* on the stack of who waits; in the list under the lock */
    struct waiter *next;
    const char *const *task_ids;
    size_t count;
    int64_t since_us, began_ms;
    struct task_status *statuses;
};

struct task_watch {
    struct services *services; /* borrowed */
    pthread_t thread;
    struct cancel *stop; /* ends the look under way */
    pthread_mutex_t lock;
    pthread_cond_t wake;    /* the thread: somebody waits, or stop */
    pthread_cond_t changed; /* those who wait: a look has ended, or a cancel */
    struct waiter *waiters; /* under the lock, as what follows */
    size_t waiter_count;
    int64_t looked_ms; /* end of the last look */
    int64_t looks;
    size_t turn; /* the waiter, from the first, with which the next look begins */
    bool stopping;
};

static bool is_done(const struct waiter *waiter)
{
    for (size_t i = 0; i < waiter->count; i++)
        if (!task_state_is_final(waiter->statuses[i].state))
            return false;
    return true;
}

static int by_id(const void *a, const void *b)
{
    const struct task_status *x = a, *y = b;
    return strcmp(x->task_id, y->task_id);
}

static int id_and_status(const void *id, const void *status)
{
    return strcmp(id, ((const struct task_status *)status)->task_id);
}

/* Under the lock. Sorts what was found. */
static void hand_out(struct task_watch *watch, struct task_status *found, size_t count)
{
    if (count == 0)
        return;
    qsort(found, count, sizeof *found, by_id);
    for (struct waiter *w = watch->waiters; w; w = w->next) {
        for (size_t i = 0; i < w->count; i++) {
            const struct task_status *hit = bsearch(w->task_ids[i], found, count, sizeof *found, id_and_status);
            if (hit)
                w->statuses[i] = *hit;
        }
    }
}

/* Adds the waiter's ids that are not final yet; false when not all of them found room. */
static bool add_open_ids(const struct waiter *w, char **ids, size_t *count)
{
    for (size_t i = 0; i < w->count; i++) {
        if (task_state_is_final(w->statuses[i].state))
            continue;
        if (*count == TASKS_MAX_IDS)
            return false;
        ids[(*count)++] = xstrdup(w->task_ids[i]);
    }
    return true;
}

/* Under the lock: the ids that are not final yet, copied, as many as one look may ask for. Where that is not all, the next look begins with
 * the waiter that was cut off, so that each has its turn. Free the array and each. */
static char **open_ids(struct task_watch *watch, size_t *ret_count, int64_t *ret_since_us)
{
    char **ids = xcalloc(TASKS_MAX_IDS, sizeof *ids);
    size_t count = 0, place = 0, cut_off = 0;
    bool room = true;
    *ret_since_us = INT64_MAX;
    for (int round = 0; round < 2; round++) { /* from where the last look stopped to the end, then from the beginning */
        place = 0;
        for (const struct waiter *w = watch->waiters; w; w = w->next, place++) {
            if (!room || (round == 0) != (place >= watch->turn))
                continue;
            room = add_open_ids(w, ids, &count);
            cut_off = room ? cut_off : place;
            *ret_since_us = w->since_us < *ret_since_us ? w->since_us : *ret_since_us;
        }
    }
    watch->turn = room ? 0 : cut_off;
    *ret_count = count;
    return ids;
}

/* Under the lock, which is given up while the warehouse is asked. */
static void look(struct task_watch *watch)
{
    struct error err = ERROR_INIT;
    struct task_status *found = NULL;
    size_t id_count, count = 0;
    int64_t since_us;
    char **ids = open_ids(watch, &id_count, &since_us);
    pthread_mutex_unlock(&watch->lock);
    if (id_count > 0 &&
        !tasks_look(watch->services, (const char *const *)ids, id_count, since_us, &found, &count, watch->stop, &err) &&
        err.class != ERROR_CANCELLED)
        log_warn(&watch_log, LOG_MSG("Run log not read; looking again"), LOG_ERR(&err));
    for (size_t i = 0; i < id_count; i++)
        free(ids[i]);
    free(ids);
    pthread_mutex_lock(&watch->lock);
    hand_out(watch, found, count);
    free(found);
    watch->looked_ms = clock_mono_ms();
    watch->looks += id_count > 0;
    pthread_cond_broadcast(&watch->changed);
}

/* Under the lock: when the next look is due; INT64_MAX while nobody waits. */
static int64_t due_ms(const struct task_watch *watch)
{
    int64_t youngest = INT64_MAX, now = clock_mono_ms();
    for (const struct waiter *w = watch->waiters; w; w = w->next)
        if (!is_done(w) && now - w->began_ms < youngest)
            youngest = now - w->began_ms;
    if (youngest == INT64_MAX)
        return INT64_MAX;
    int64_t wait = youngest / LOOK_SHARE_OF_AGE;
    wait = wait < LOOK_MIN_MS ? LOOK_MIN_MS : wait > LOOK_MAX_MS ? LOOK_MAX_MS : wait;
    return watch->looked_ms + wait;
}

static void *watch_main(void *user)
{
    struct task_watch *watch = user;
    pthread_mutex_lock(&watch->lock);
    while (!watch->stopping) {
        int64_t due = due_ms(watch);
        if (due <= clock_mono_ms())
            look(watch);
        else if (due == INT64_MAX)
            pthread_cond_wait(&watch->wake, &watch->lock);
        else
            clock_cond_wait(&watch->wake, &watch->lock, due);
    }
    pthread_mutex_unlock(&watch->lock);
    return NULL;
}

struct task_watch *task_watch_new(struct services *services)
{
    struct task_watch *watch = xcalloc(1, sizeof *watch);
    watch->services = services;
    watch->stop = cancel_new(NULL);
    pthread_mutex_init(&watch->lock, NULL);
    clock_cond_init(&watch->wake);
    clock_cond_init(&watch->changed);
    if (pthread_create(&watch->thread, NULL, watch_main, watch) != 0)
        BUG("cannot start a thread");
    return watch;
}

void task_watch_free(struct task_watch *watch)
{
    if (!watch)
        return;
    cancel_set(watch->stop, "shutdown");
    pthread_mutex_lock(&watch->lock);
    BUG_ON(watch->waiters);
    watch->stopping = true;
    pthread_cond_signal(&watch->wake);
    pthread_mutex_unlock(&watch->lock);
    pthread_join(watch->thread, NULL);
    pthread_cond_destroy(&watch->changed);
    pthread_cond_destroy(&watch->wake);
    pthread_mutex_destroy(&watch->lock);
    cancel_free(watch->stop);
    free(watch);
}

static void wake_waiters(void *user)
{
    struct task_watch *watch = user;
    pthread_mutex_lock(&watch->lock);
    pthread_cond_broadcast(&watch->changed);
    pthread_mutex_unlock(&watch->lock);
}

/* Under the lock. */
static bool enter(struct task_watch *watch, struct waiter *waiter, struct error *err)
{
    if (watch->waiter_count >= TASK_WATCH_MAX_WAITERS)
        return error_set(err, ERROR_RETRY, "busy", "could not wait for the task: %d callers wait already",
                         TASK_WATCH_MAX_WAITERS);
    waiter->next = watch->waiters;
    watch->waiters = waiter;
    watch->waiter_count++;
    pthread_cond_signal(&watch->wake);
    return true;
}

/* Under the lock. */
static void leave(struct task_watch *watch, struct waiter *waiter)
{
    struct waiter **at = &watch->waiters;
    while (*at != waiter)
        at = &(*at)->next;
    *at = waiter->next;
    watch->waiter_count--;
}

/* Under the lock. */
static bool wait_until_done(struct task_watch *watch, const struct waiter *waiter, int64_t deadline_ms,
                            struct cancel *cancel, struct error *err)
{
    while (!is_done(waiter)) {
        if (!cancel_check(cancel, err))
            return false;
        if (clock_mono_ms() >= deadline_ms)
            return error_set(err, ERROR_RETRY, "timeout", "the task has not ended yet");
        clock_cond_wait(&watch->changed, &watch->lock, deadline_ms);
    }
    return true;
}

bool task_watch_wait(struct task_watch *watch, const char *const *task_ids, size_t count, int64_t since_us,
                     int64_t deadline_ms, struct task_status *ret, struct cancel *cancel, struct error *err)
{
    struct waiter waiter = {NULL, task_ids, count, since_us, clock_mono_ms(), ret};
    memset(ret, 0, count * sizeof *ret);
    uint64_t hook = cancel ? cancel_add_hook(cancel, wake_waiters, watch) : 0;
    pthread_mutex_lock(&watch->lock);
    bool ok = enter(watch, &waiter, err);
    if (ok) {
        ok = wait_until_done(watch, &waiter, deadline_ms, cancel, err);
        leave(watch, &waiter);
    }
    pthread_mutex_unlock(&watch->lock);
    if (cancel)
        cancel_remove_hook(cancel, hook);
    return ok;
}

int64_t task_watch_looks(struct task_watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    int64_t looks = watch->looks;
    pthread_mutex_unlock(&watch->lock);
    return looks;
}
