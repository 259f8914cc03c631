/* backfill.c - planning against the source's counts, and publishing what has no message yet. */
#include "dispatch/backfill.h"

#include <stdio.h>
#include <stdlib.h>

#include "servicetitan/read.h"
#include "slices.h"

/* ---- Planning ----------------------------------------------------------------------------------------------------- */

struct planner {
    struct services *services;
    const struct backfill_request *request;
    struct slice_list list;
    struct cancel *cancel;
};

static bool count_range(void *user, const struct slice_range *range, int64_t *ret, struct error *err)
{
    struct planner *p = user;
    const struct st_window window = {
        .column = ST_CREATED_ON, .has_from = true, .has_to = true, .from_us = range->from_us, .to_us = range->to_us};
    return st_count(services_tenant(p->services, range->tenant), range->entity, &window, ret, p->cancel, err) ||
           error_prefix(err, "counting %s of tenant %lld", range->entity->name, (long long)range->tenant);
}

static int64_t rate_of(const struct settings *s, int64_t tenant)
{
    int64_t own = settings_tenant(s, tenant)->rate_per_second;
    return own ? own : s->st_rate_per_second;
}

static bool plan_range(struct planner *p, const struct entity *entity, int64_t tenant, struct backfill *ret,
                       struct error *err)
{
    const struct settings *s = p->services->settings;
    int64_t page = s->st_page_size < entity->max_page_size ? s->st_page_size : entity->max_page_size;
    struct slice_range range = {entity, tenant, p->request->from_us, p->request->to_us, 0};
    size_t first = p->list.count;
    if (!count_range(p, &range, &range.records, err))
        return false;
    bool ok = p->request->slice_us ? slices_fixed(&p->list, &range, p->request->slice_us, page, err)
                                   : slices_auto(&p->list, &range, slices_capacity(entity, page, rate_of(s, tenant)),
                                                 page, count_range, p, err);
    ret->records += range.records;
    for (size_t i = first; i < p->list.count; i++)
        ret->requests += p->list.items[i].requests;
    return ok;
}

static char *entity_names(const struct backfill_request *request)
{
    struct buf names = BUF_INIT;
    for (size_t i = 0; i < request->entity_count; i++)
        buf_printf(&names, "%s%s", i ? ", " : "", request->entities[i]->entity->name);
    return buf_detach(&names);
}

bool backfill_plan(struct services *services, const struct backfill_request *request, backfill_count_fn *tell,
                   void *user, struct backfill *ret, struct cancel *cancel, struct error *err)
{
    struct planner p = {.services = services, .request = request, .cancel = cancel};
    bool ok = true;
    *ret = (struct backfill){.from_us = request->from_us,
                             .to_us = request->to_us,
                             .key = xstrdup(request->key),
                             .entities = entity_names(request)};
    snprintf(ret->id, sizeof ret->id, "%012llx", (unsigned long long)(random_u64() >> 16));
    for (size_t i = 0; ok && i < request->entity_count; i++) {
        for (size_t k = 0; ok && k < request->tenant_count; k++) {
            tell(user, request->entities[i]->entity->name, request->tenants[k]);
            ok = plan_range(&p, request->entities[i]->entity, request->tenants[k], ret, err);
        }
    }
    if (ok)
        slices_order(&p.list, request, ret->id);
    ret->slices = p.list.items;
    ret->count = p.list.count;
    return ok;
}

/* ---- Publishing --------------------------------------------------------------------------------------------------- */

struct batch { /* slices whose messages go out together */
    struct backfill_slice *slices[BACKFILL_BATCH];
    struct buf texts[BACKFILL_BATCH];
    size_t count;
};

static void format_slice(const struct backfill_slice *slice, struct buf *out)
{
    struct task task = {.mode = TASK_BACKFILL,
                        .tenant = slice->tenant,
                        .has_from = true,
                        .has_to = true,
                        .from_us = slice->from_us,
                        .to_us = slice->to_us};
    snprintf(task.entity, sizeof task.entity, "%s", slice->entity);
    snprintf(task.task_id, sizeof task.task_id, "%s", slice->task_id);
    snprintf(task.requested_by, sizeof task.requested_by, "backfill");
    task_format(&task, out);
}

/* The next slices without a message, from *at on. */
static void fill_batch(struct batch *batch, struct backfill *b, size_t *at)
{
    batch->count = 0;
    for (; *at < b->count && batch->count < BACKFILL_BATCH; ++*at) {
        struct backfill_slice *slice = &b->slices[*at];
        if (slice->message_id[0])
            continue;
        buf_clear(&batch->texts[batch->count]);
        format_slice(slice, &batch->texts[batch->count]);
        batch->slices[batch->count++] = slice;
    }
}

static void note_id(void *user, size_t index, const char *id)
{
    struct batch *batch = user;
    struct backfill_slice *slice = batch->slices[index];
    snprintf(slice->message_id, sizeof slice->message_id, "%s", id);
}

/* The messages are out before the record says so: a kill in between publishes them once more. */
static bool publish_batch(struct services *services, const struct backfill *b, struct batch *batch,
                          struct cancel *cancel, struct error *err)
{
    struct pubsub_message messages[BACKFILL_BATCH];
    struct event_backfill rows[BACKFILL_BATCH];
    for (size_t i = 0; i < batch->count; i++)
        messages[i] = (struct pubsub_message){.data = buf_slice(&batch->texts[i])};
    if (!pubsub_publish(services->pubsub, services->settings->pubsub_backfill_topic, messages, batch->count, note_id,
                        batch, NULL, cancel, err))
        return error_prefix(err, "publishing");
    for (size_t i = 0; i < batch->count; i++)
        rows[i] = (struct event_backfill){.kind = EVENT_BACKFILL_PUBLISHED,
                                          .backfill_id = b->id,
                                          .slice = batch->slices[i]->number,
                                          .message_id = batch->slices[i]->message_id};
    return events_backfill(services->events, rows, batch->count, cancel, err) ||
           error_prefix(err, "recording what was published");
}

bool backfill_publish(struct services *services, struct backfill *b, backfill_tell_fn *tell, void *user,
                      struct cancel *cancel, struct error *err)
{
    struct batch *batch = xcalloc(1, sizeof *batch);
    size_t at = 0, published = b->count - backfill_unpublished(b);
    bool ok = true;
    for (;;) {
        fill_batch(batch, b, &at);
        if (batch->count == 0)
            break;
        ok = publish_batch(services, b, batch, cancel, err);
        if (!ok)
            break;
        published += batch->count;
        tell(user, published, b->count);
    }
    for (size_t i = 0; i < BACKFILL_BATCH; i++)
        buf_release(&batch->texts[i]);
    free(batch);
    return ok;
}
