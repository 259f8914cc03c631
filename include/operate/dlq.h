/* dlq.h - dead letters as operators see them: look, replay, discard.
 *
 * A session holds what it has read of the dead-letter subscription; whatever it does not settle is given back when it closes, at once and
 * without a trace: the subscription has no dead-letter policy of its own, so looking uses up nothing. While a session holds a letter, other
 * sessions do not see it. One thread uses a session. */
#ifndef ST_OPERATE_DLQ_H
#define ST_OPERATE_DLQ_H

#include "dispatch/services.h"
#include "dispatch/task.h"

enum {
    DLQ_MAX_HELD = 10000,          /* letters that a session holds at once, */
    DLQ_MAX_HELD_BYTES = 64 << 20, /* and their bytes */
    DLQ_MAX_REPLAYS = 3,           /* replaying a letter once more needs force */
    DLQ_MAX_IDS = 1000,
};

struct dlq_letter { /* borrowed from the session */
    const char *id; /* message id on the dead-letter topic */
    struct slice data;
    const struct pubsub_attribute *attributes;
    size_t attribute_count;
    int64_t dead_us;      /* when it was dead-lettered */
    int64_t published_us; /* when it was published first; 0 = not said */
    bool readable;        /* task is what the data ask for */
    struct task task;
    enum task_lane lane; /* where it came from, and where a replay goes */
    int64_t attempts, replays;
    /* "" where the letter does not say: Pub/Sub forwards by itself what killed its workers */
    const char *task_id, *run_id, *source_message_id, *error_class, *error_code, *error_message;
};

struct dlq_filter { /* all of it must fit; NULL, 0 or false = any */
    const char *entity, *error_class, *run_id;
    const char *const *ids;
    size_t id_count;
    int64_t tenant, only_tenant; /* the second: where there is one only, a task that names none is its */
    int64_t since_us, until_us;  /* of dead_us: [since, until) */
    bool has_mode;
    enum task_mode mode;
};
bool dlq_fits(const struct dlq_letter *letter, const struct dlq_filter *filter);

struct dlq;
struct dlq *dlq_open(struct services *services); /* Pub/Sub open, borrowed */
void dlq_close(struct dlq *dlq);                 /* gives back what is not settled; NULL is fine */
/* Reads on until nothing more comes or the session is full (*ret_full). */
bool dlq_read(struct dlq *dlq, bool *ret_full, struct cancel *cancel, struct error *err) MUST_CHECK;
/* Those held and not settled, oldest first; valid until the next call of read, replay or discard. */
size_t dlq_count(const struct dlq *dlq);
const struct dlq_letter *dlq_at(const struct dlq *dlq, size_t index);

struct dlq_action {
    const char *actor; /* for the audit: "cli by NAME on HOST" */
    double rate;       /* letters per second; 0 = as fast as it goes */
    bool force;        /* replay also what has been replayed DLQ_MAX_REPLAYS times */
    void (*progress)(void *user, size_t done, size_t all); /* may be NULL */
    void *user;
};
struct dlq_totals {
    size_t done, refused; /* refused: replayed too often */
};
/* Settles the letters at these indexes (ascending): publishes each again with its original data, its own attributes, replay_count and
 * replayed_from (discard: publishes nothing), writes an audit row, and only then acknowledges, some dozens at a time. Ended in between, some
 * are published twice and none is lost. Needs BigQuery open for the audit. */
bool dlq_replay(struct dlq *dlq, const size_t *which, size_t count, const struct dlq_action *action,
                struct dlq_totals *ret, struct cancel *cancel, struct error *err) MUST_CHECK;
bool dlq_discard(struct dlq *dlq, const size_t *which, size_t count, const struct dlq_action *action,
                 struct dlq_totals *ret, struct cancel *cancel, struct error *err) MUST_CHECK;

#endif
