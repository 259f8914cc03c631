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
    bool single_tasks;        /* a message per tenant, so that each task can be waited for */
};

struct dispatched {
    struct task task;
    char message_id[64]; /* "" until it is published */
};

/* The messages that the request stands for, each entity's behind each other; nothing is published. *ret: free with free(). */
bool dispatch_plan(const struct settings *settings, const struct dispatch_request *request, struct dispatched **ret,
                   size_t *ret_count, struct error *err) MUST_CHECK;
/* Publishes them to the live lane and fills in their message ids. */
bool dispatch_send(struct services *services, struct dispatched *items, size_t count, struct cancel *cancel,
                   struct error *err) MUST_CHECK;
/* The same to the backfill lane: windows that are to be read again. */
bool dispatch_send_backfills(struct services *services, struct dispatched *items, size_t count, struct cancel *cancel,
                             struct error *err) MUST_CHECK;
/* Both: checks everything first, then publishes. *ret (free with free()) has one entry per message published. */
bool dispatch_publish(struct services *services, const struct dispatch_request *request, struct dispatched **ret,
                      size_t *ret_count, struct cancel *cancel, struct error *err) MUST_CHECK;

#endif
