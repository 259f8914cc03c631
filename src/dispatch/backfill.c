/* backfill.c - planning against the source's counts, and publishing what has no message yet. */
#include "dispatch/backfill.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "servicetitan/read.h"
#include "slices.h"

/* ---- Planning ----------------------------------------------------------------------------------------------------- */

struct range_plan { /* one entity of one tenant */
    struct slice_range range;
    struct slice_list list;
};

struct planner {
    struct services *services;
    const struct backfill_request *request;
    struct cancel *cancel; /* our own, child of the caller's: the first failure ends all counting */
    struct range_plan *plans;
    size_t count;
    backfill_count_fn *tell;
    void *user;
    pthread_mutex_t lock; /* what follows, and tell */
    size_t next;
    bool failed;
    struct error first;
};

static bool count_range(void *user, const struct slice_range *range, int64_t *ret, struct error *err)
{
    struct planner *p = user;
    const struct st_window window = {
        .column = ST_CREATED_ON, .has_from = true, .has_to = true, .from_us = range->from_us, .to_us = range->to_us};
    return st_count(services_tenant(p->services, range->tenant), range->entity, &window, ret, p->cancel, err) ||
           error_prefix(err, "counting %s of tenant %lld", range->entity->name, (long long)range->tenant);
}

static bool plan_range(struct planner *p, struct range_plan *plan, struct error *err)
{
    const struct settings *s = p->services->settings;
    struct slice_range *range = &plan->range;
    int64_t page = s->st_page_size < range->entity->max_page_size ? s->st_page_size : range->entity->max_page_size;
    if (!count_range(p, range, &range->records, err))
        return false;
    if (p->request->slice_us)
        return slices_fixed(&plan->list, range, p->request->slice_us, page, err);
    int64_t capacity = slices_capacity(range->entity, page, settings_tenant_rate(s, range->tenant));
    return slices_auto(&plan->list, range, capacity, page, count_range, p, err);
}

static struct range_plan *next_range(struct planner *p)
{
    struct range_plan *plan = NULL;
    pthread_mutex_lock(&p->lock);
    if (!p->failed && p->next < p->count) {
        plan = &p->plans[p->next++];
        p->tell(p->user, plan->range.entity->name, plan->range.tenant);
    }
    pthread_mutex_unlock(&p->lock);
    return plan;
}

static void fail(struct planner *p, const struct error *err)
{
    pthread_mutex_lock(&p->lock);
    if (!p->failed)
        p->first = *err;
    p->failed = true;
    pthread_mutex_unlock(&p->lock);
    cancel_set(p->cancel, "another count failed");
}

static void *count_ranges(void *user)
{
    struct planner *p = user;
    struct range_plan *plan;
    while ((plan = next_range(p))) {
        struct error err = ERROR_INIT;
        if (!plan_range(p, plan, &err))
            fail(p, &err);
    }
    return NULL;
}

/* Tenants have rates of their own, so their counts wait for each other least when they are made side by side. */
static void count_side_by_side(struct planner *p)
{
    enum { THREADS = 8 };
    pthread_t threads[THREADS];
    size_t started = 0;
    while (started < THREADS && started < p->count && pthread_create(&threads[started], NULL, count_ranges, p) == 0)
        started++;
    if (started == 0)
        count_ranges(p);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

static void planner_init(struct planner *p)
{
    const struct backfill_request *r = p->request;
    p->plans = xcalloc(r->entity_count * r->tenant_count + 1, sizeof p->plans[0]);
    for (size_t i = 0; i < r->entity_count; i++)
        for (size_t k = 0; k < r->tenant_count; k++)
            p->plans[p->count++].range =
                (struct slice_range){r->entities[i]->entity, r->tenants[k], r->from_us, r->to_us, 0};
    pthread_mutex_init(&p->lock, NULL);
}

static void planner_release(struct planner *p)
{
    for (size_t i = 0; i < p->count; i++)
        free(p->plans[i].list.items);
    free(p->plans);
    pthread_mutex_destroy(&p->lock);
    cancel_free(p->cancel);
}

static bool collect(struct planner *p, struct backfill *ret, struct error *err)
{
    struct slice_list all = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < p->count; i++) {
        ret->records += p->plans[i].range.records;
        for (size_t k = 0; ok && k < p->plans[i].list.count; k++) {
            ret->requests += p->plans[i].list.items[k].requests;
            ok = slices_append(&all, &p->plans[i].list.items[k], err);
        }
    }
    slices_order(&all, p->request, ret->id);
    ret->slices = all.items;
    ret->count = all.count;
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
    struct planner p = {
        .services = services, .request = request, .cancel = cancel_new(cancel), .tell = tell, .user = user};
    *ret = (struct backfill){.from_us = request->from_us,
                             .to_us = request->to_us,
                             .key = xstrdup(request->key),
                             .entities = entity_names(request)};
    snprintf(ret->id, sizeof ret->id, "%012llx", (unsigned long long)(random_u64() >> 16));
    planner_init(&p);
    count_side_by_side(&p);
    bool ok = !p.failed && collect(&p, ret, err);
    if (p.failed)
        *err = p.first;
    planner_release(&p);
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
