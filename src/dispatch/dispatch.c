#include "dispatch/dispatch.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/timestamp.h"
#include "base/uuid.h"
#include "plan.h"

/* 1970-01-01 was a Thursday. */
static bool is_full_sync_day(const struct settings *s, int64_t now_us)
{
    static const char *const days[] = {"thursday", "friday", "saturday", "sunday", "monday", "tuesday", "wednesday"};
    return strcmp(days[timestamp_to_days(now_us) % 7], s->full_sync_day) == 0;
}

bool plan_mode(const struct settings *s, const struct entity_settings *entity, const char *wanted, int64_t now_us,
               enum task_mode *ret, struct error *err)
{
    const char *name = wanted ? wanted : s->default_mode;
    if (strcmp(name, "auto") == 0)
        name = is_full_sync_day(s, now_us) ? "full" : entity->sync_mode;
    if (strcmp(name, "entity") == 0)
        name = entity->sync_mode;
    if (!task_mode_parse(name, ret) || *ret == TASK_BACKFILL)
        return error_set(err, ERROR_PERMANENT, "unknown_mode",
                         "unknown mode \"%s\": incremental, full, auto or reconcile is allowed", name);
    return true;
}

static bool add_entity(struct plan *plan, const struct settings *s, const struct dispatch_request *request,
                       const char *name, int64_t now_us, struct error *err)
{
    char uuid[UUID_TEXT_SIZE];
    struct dispatched *item = &plan->items[plan->count];
    *item = (struct dispatched){.task = {.tenant = request->tenant}};
    snprintf(item->task.entity, sizeof item->task.entity, "%s", name);
    if (!task_check(&item->task, s, err) ||
        !plan_mode(s, settings_entity(s, item->task.entity), request->mode, now_us, &item->task.mode, err))
        return false;
    uuid_generate(uuid);
    snprintf(item->task.task_id, sizeof item->task.task_id, "%s", uuid);
    snprintf(item->task.requested_by, sizeof item->task.requested_by, "%s",
             request->requested_by ? request->requested_by : "");
    for (size_t i = 0; i < plan->count; i++)
        if (strcmp(plan->items[i].task.entity, name) == 0)
            return true; /* named twice: one message */
    plan->count++;
    return true;
}

static bool add_all(struct plan *plan, const struct settings *s, const struct dispatch_request *request, int64_t now_us,
                    struct error *err)
{
    const struct entity_settings *order[REGISTRY_MAX_ENTITIES];
    settings_order(s, order);
    for (size_t i = 0; i < s->entity_count; i++)
        if (order[i]->enabled && !add_entity(plan, s, request, order[i]->entity->name, now_us, err))
            return false;
    return true;
}

bool plan_make(struct plan *plan, const struct settings *s, const struct dispatch_request *request, int64_t now_us,
               struct error *err)
{
    *plan = (struct plan){0};
    plan->items = xcalloc(request->entity_count + s->entity_count + 1, sizeof plan->items[0]);
    for (size_t i = 0; i < request->entity_count; i++) {
        const char *name = request->entities[i];
        bool ok = strcmp(name, "all") == 0 ? add_all(plan, s, request, now_us, err)
                                           : add_entity(plan, s, request, name, now_us, err);
        if (!ok)
            return false;
    }
    if (plan->count == 0)
        return error_set(err, ERROR_PERMANENT, "nothing", "nothing to dispatch: no entity is enabled");
    return true;
}

/* ---- Single tasks ------------------------------------------------------------------------------------------------- */

static bool add_single(void *user, const struct task *single)
{
    struct plan *plan = user;
    plan->items[plan->count++].task = *single;
    return true;
}

/* Groups, which the worker would expand, are expanded here. */
static void expand(struct plan *plan, const struct settings *s)
{
    struct plan single = {.items = xcalloc(plan->count * (s->tenant_count + 1), sizeof single.items[0])};
    for (size_t i = 0; i < plan->count; i++) {
        if (task_is_group(&plan->items[i].task, s)) {
            task_expand(&plan->items[i].task, s, add_single, &single);
            continue;
        }
        if (!plan->items[i].task.tenant)
            plan->items[i].task.tenant = s->tenants[0].id;
        add_single(&single, &plan->items[i].task);
    }
    free(plan->items);
    *plan = single;
}

bool dispatch_plan(const struct settings *s, const struct dispatch_request *request, struct dispatched **ret,
                   size_t *ret_count, struct error *err)
{
    struct plan plan = {0};
    if (!plan_make(&plan, s, request, clock_wall_us(), err)) {
        free(plan.items);
        return false;
    }
    if (request->single_tasks)
        expand(&plan, s);
    *ret = plan.items;
    *ret_count = plan.count;
    return true;
}

/* ---- Publishing --------------------------------------------------------------------------------------------------- */

static void note_id(void *user, size_t index, const char *id)
{
    struct dispatched *items = user;
    snprintf(items[index].message_id, sizeof items[index].message_id, "%s", id);
}

static bool send_to(struct services *services, const char *topic, struct dispatched *items, size_t count,
                    struct cancel *cancel, struct error *err)
{
    struct buf *texts = xcalloc(count + 1, sizeof *texts);
    struct pubsub_message *messages = xcalloc(count + 1, sizeof *messages);
    for (size_t i = 0; i < count; i++) {
        task_format(&items[i].task, &texts[i]);
        messages[i].data = buf_slice(&texts[i]);
    }
    bool ok = pubsub_publish(services->pubsub, topic, messages, count, note_id, items, NULL, cancel, err);
    for (size_t i = 0; i < count; i++)
        buf_release(&texts[i]);
    free(texts);
    free(messages);
    return ok;
}

bool dispatch_send(struct services *services, struct dispatched *items, size_t count, struct cancel *cancel,
                   struct error *err)
{
    return send_to(services, services->settings->pubsub_topic, items, count, cancel, err);
}

bool dispatch_send_backfills(struct services *services, struct dispatched *items, size_t count, struct cancel *cancel,
                             struct error *err)
{
    return send_to(services, services->settings->pubsub_backfill_topic, items, count, cancel, err);
}

bool dispatch_publish(struct services *services, const struct dispatch_request *request, struct dispatched **ret,
                      size_t *ret_count, struct cancel *cancel, struct error *err)
{
    if (!dispatch_plan(services->settings, request, ret, ret_count, err))
        return false;
    if (dispatch_send(services, *ret, *ret_count, cancel, err))
        return true;
    free(*ret);
    *ret = NULL;
    return false;
}
