/* task.h - what one message asks for: tenant x entity x mode (x window), with a task id (design 4.2).
 *
 * The minimal legal message is {"entity":"jobs","mode":"incremental"}. Unknown members are ignored. */
#ifndef ST_DISPATCH_TASK_H
#define ST_DISPATCH_TASK_H

#include "base/buf.h"
#include "dispatch/settings.h"

enum task_mode { TASK_INCREMENTAL, TASK_FULL, TASK_BACKFILL, TASK_RECONCILE };
enum task_lane { TASK_LANE_LIVE, TASK_LANE_BACKFILL };

enum { TASK_MAX_BYTES = 64 * 1024, TASK_ID_SIZE = 128, TASK_REQUESTED_BY_SIZE = 128, TASK_ENTITY_SIZE = 64 };

struct task {
    char entity[TASK_ENTITY_SIZE]; /* a registry name, or "all" */
    enum task_mode mode;
    int64_t tenant; /* 0: not said */
    bool has_from, has_to;
    int64_t from_us, to_us;     /* backfill: [from, to) of creation time */
    char task_id[TASK_ID_SIZE]; /* "": the message's Pub/Sub id stands for it */
    char requested_by[TASK_REQUESTED_BY_SIZE];
};

const char *task_mode_name(enum task_mode mode);
bool task_mode_parse(const char *text, enum task_mode *ret);
const char *task_lane_name(enum task_lane lane);

/* Reads a message's data. False with class PERMANENT and the codes message_syntax, unknown_mode, bad_window, bad_tenant, ... */
bool task_parse(struct slice data, struct task *ret, struct error *err) MUST_CHECK;
/* Checks the task against what is configured: entity known, tenant configured. Codes unknown_entity, unknown_tenant. */
/* An enabled entity of the registry, or "all". Codes: unknown_entity, entity_disabled. */
bool task_check_entity(const char *name, const struct settings *settings, struct error *err) MUST_CHECK;
bool task_check(const struct task *task, const struct settings *settings, struct error *err) MUST_CHECK;
/* True when the task stands for several: "all", or no tenant where several are configured. */
bool task_is_group(const struct task *task, const struct settings *settings);
/* Calls fn for each single task that the group stands for, by priority; disabled entities are left out. False when fn said so. */
bool task_expand(const struct task *task, const struct settings *settings,
                 bool (*fn)(void *user, const struct task *single), void *user);
/* The message's data, as JSON. */
void task_format(const struct task *task, struct buf *out);

#endif
