/* turn.h - may a message that waits in this process be run now? (design 8: DEFER)
 *
 * Pure but for the clock and the breakers. Used under the worker's lock. */
#ifndef ST_WORKER_TURN_H
#define ST_WORKER_TURN_H

#include "message.h"

enum turn {
    TURN_NOW,
    TURN_TWIN,  /* one that asks for the same is under way */
    TURN_AWAY,  /* the tenant's breaker is open, or its one probe is out */
    TURN_SHARE, /* the tenant has its share of the slots: others come first */
};

struct turn_view {
    const struct settings *settings;
    const struct message *const *running; /* one per slot; NULL: it is free */
    size_t slots;
    enum breaker_state (*breaker)(void *user, int64_t tenant);
    void *user;
};

enum turn turn_of(const struct turn_view *view, const struct message *message);
/* What waits for something that may last: it takes room in the stream, and shall not take that of others. */
bool turn_is_deferred(enum turn turn);

#endif
