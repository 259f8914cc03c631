/* task_watch.h - what became of published tasks, read from the run log. CLI verbs, HTTP routes and backfills share it. */
#ifndef ST_OPERATE_TASK_WATCH_H
#define ST_OPERATE_TASK_WATCH_H

#include "base/uuid.h"
#include "dispatch/services.h"
#include "dispatch/task.h"

enum task_state {
    TASK_STATE_QUEUED,   /* no run of it has begun */
    TASK_STATE_RUNNING,  /* a run is under way */
    TASK_STATE_RETRYING, /* the newest run failed; the message comes again */
    TASK_STATE_SUCCESS,  /* final: a run has succeeded */
    TASK_STATE_SKIPPED,  /* final: it was done already, by the run of an earlier message */
    TASK_STATE_REJECTED, /* final: the newest run failed and its message is in the dead-letter topic */
};
const char *task_state_name(enum task_state state); /* "queued", ... */
bool task_state_is_final(enum task_state state);
bool task_state_is_success(enum task_state state); /* success or skipped */

enum {
    TASKS_MAX_IDS = 10000,         /* of one look */
    TASK_WATCH_MAX_WAITERS = 4096, /* calls of task_watch_wait under way at once */
};

struct task_status { /* of one task x entity x tenant: the parts of a fan-out may share a task id */
    char task_id[TASK_ID_SIZE], entity[TASK_ENTITY_SIZE];
    char run_id[UUID_TEXT_SIZE]; /* the run that tells the state; "" while queued */
    enum task_mode mode;
    enum task_state state;
    int64_t tenant, records, start_us, end_us /* 0 = none */, duration_ms;
    char error_code[ERROR_CODE_SIZE], error_message[ERROR_MESSAGE_SIZE]; /* RETRYING and REJECTED */
};

/* One statement: every part of these tasks that has had a run since `since_us` (a lower bound that keeps the scan small: the publish time).
 * *ret is owned (free with free()). Tasks without a run are absent. */
bool tasks_look(struct services *services, const char *const *task_ids, size_t count, int64_t since_us,
                struct task_status **ret, size_t *ret_count, struct cancel *cancel, struct error *err) MUST_CHECK;
/* The statement, for the analyzer test. Free with free(). */
char *tasks_look_sql(const struct settings *settings);

/* Waits for tasks, for any number of threads at once: one thread asks the warehouse for all that anybody waits for, soon after a wait has
 * begun and less often as the waits grow old, so that hundreds of waiting requests cost no more statements than one. */
struct task_watch;
struct task_watch *task_watch_new(struct services *services); /* borrows services, BigQuery open */
void task_watch_free(struct task_watch *watch);               /* no wait may be under way */
/* Each id names a single task (one entity, one tenant). Blocks until all are final: true. False: err has class RETRY and code
 * "timeout" at the deadline (clock_mono_ms), "busy" beyond the bound, or class CANCELLED. ret (parallel to ids, zeroed first) tells in
 * any case where each stands by the last look; a warehouse that does not answer only makes the wait longer. */
bool task_watch_wait(struct task_watch *watch, const char *const *task_ids, size_t count, int64_t since_us,
                     int64_t deadline_ms, struct task_status *ret, struct cancel *cancel, struct error *err) MUST_CHECK;
int64_t task_watch_looks(struct task_watch *watch); /* statements sent so far, for metrics */

#endif
