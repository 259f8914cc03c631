/* plan.h - which messages a dispatch stands for: the pure part, before anything is published. */
#ifndef ST_DISPATCH_PLAN_H
#define ST_DISPATCH_PLAN_H

#include "dispatch/dispatch.h"

struct plan {
    struct dispatched *items; /* owned; free with free() */
    size_t count;
};

/* The mode of an entity's message. wanted NULL: the settings' default. "entity" stands for the entity's own syncMode, "auto"
 * for full on the full-sync day (UTC) and the syncMode on others. */
bool plan_mode(const struct settings *settings, const struct entity_settings *entity, const char *wanted,
               int64_t now_us, enum task_mode *ret, struct error *err) MUST_CHECK;
/* One item per entity, each once, "all" by priority. Release the plan's items also after a failure. */
bool plan_make(struct plan *plan, const struct settings *settings, const struct dispatch_request *request,
               int64_t now_us, struct error *err) MUST_CHECK;

#endif
