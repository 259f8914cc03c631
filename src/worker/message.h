/* message.h - steps 1 and 2 of the way: a delivery becomes a task, or a reason to refuse it. */
#ifndef ST_WORKER_MESSAGE_H
#define ST_WORKER_MESSAGE_H

#include "dispatch/services.h"
#include "dispatch/task.h"

struct message {
    struct message *next;             /* in the worker's queue */
    struct pubsub_delivery *delivery; /* ours until settled */
    struct pubsub_subscriber *from;   /* set by the worker */
    enum task_lane lane;
    struct task task;
    char task_id[TASK_ID_SIZE]; /* the task's own, else that of the dead letter it was, else the Pub/Sub message id */
    bool readable;              /* false: `refused` says why */
    struct error refused;
    int64_t received_ms;   /* when it came to this process */
    int64_t not_before_ms; /* after a run that had to be deferred: when the next may be tried */
};

/* How long a message may wait in a process without a try. Pub/Sub keeps a message for seven days: so it is tried, and its
 * tries are counted, often enough that it ends in the dead-letter topic before (VERDICT_LAST_ATTEMPT times this). */
enum { MESSAGE_MAX_WAIT_S = 4 * 3600 };

/* Parses and checks. Never fails: what cannot be read is a message that will be dead-lettered. */
struct message *message_new(struct pubsub_delivery *delivery, const struct settings *settings);
void message_free(struct message *message);           /* the delivery must be settled */
size_t message_bytes(const struct message *message);  /* of its data and attributes */
bool message_may_wait(const struct message *message); /* not longer than that yet */
/* True when both ask for the same thing, so that one may wait for the other: same tenant, entity and mode, and for
 * windows the same task. */
bool message_is_twin(const struct message *a, const struct message *b);

#endif
