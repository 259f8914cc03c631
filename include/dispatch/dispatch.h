/* dispatch.h - publishing tasks: one message per entity and mode. */
#ifndef ST_DISPATCH_DISPATCH_H
#define ST_DISPATCH_DISPATCH_H

#include "dispatch/services.h"
#include "dispatch/task.h"

struct dispatch_request {
    const char *const *entities; /* names, or the one name "all" (the enabled ones, by priority) */
    size_t entity_count;
    const char *mode;         /* incremental, full, auto; NULL: the settings' default mode */
    int64_t tenant;           /* 0: all configured ones (the worker expands) */
    const char *requested_by; /* "cli" */
};

struct dispatched {
    struct task task;
    char message_id[64];
};

/* Checks everything first, then publishes to the live lane. *ret (free with free()) has one entry per message published. */
bool dispatch_publish(struct services *services, const struct dispatch_request *request, struct dispatched **ret,
                      size_t *ret_count, struct cancel *cancel, struct error *err) MUST_CHECK;

#endif
