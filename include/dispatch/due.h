/* due.h - which entities' schedules are due: what a plain cron needs to drive the pipeline where there is no Cloud Scheduler.
 *
 * An entity is due when its schedule has had a slot since its last dispatch of this kind, however many were missed, and when it never had
 * one. What was published is recorded afterwards: a kill in between publishes once more, and never loses a slot. */
#ifndef ST_DISPATCH_DUE_H
#define ST_DISPATCH_DUE_H

#include "dispatch/dispatch.h"

struct due {
    const struct entity_settings *entity;
    int64_t slot_us, next_us; /* newest slot by now, and the next one; 0: none */
    int64_t last_us;          /* the time for which its last dispatch was made; 0: never */
    bool is_due;
};

/* Slots of the enabled entities that have a schedule, by priority. names (count 0: all) chooses among them: one without a schedule is an
 * error. Sets the process's time zone for a moment: before other threads start. *ret: free with free(). */
bool due_slots(const struct settings *settings, const char *const *names, size_t name_count, int64_t now_us,
               struct due **ret, size_t *ret_count, struct error *err) MUST_CHECK;
/* Reads the last dispatches and decides. */
bool due_decide(struct services *services, struct due *dues, size_t count, int64_t now_us, struct cancel *cancel,
                struct error *err) MUST_CHECK;
/* The pure part: a last dispatch far in the future, of a clock that was wrong, does not count. */
bool due_is_due(const struct due *due, int64_t now_us);
/* The mode to ask for. auto is full for the first dispatch of the full-sync day only. */
const char *due_mode(const struct settings *settings, const struct due *due, const char *wanted, int64_t now_us);
/* After publishing: entities that were due at now_us. */
bool due_record(struct services *services, const struct due *dues, size_t count, const struct dispatched *items,
                size_t item_count, int64_t now_us, struct cancel *cancel, struct error *err) MUST_CHECK;
/* The statement, for the analyzer test. Free with free(). */
char *due_sql(const struct settings *settings);

#endif
