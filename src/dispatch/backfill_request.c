/* backfill_request.c - the words of a backfill command, checked and made plain. */
#include "dispatch/backfill.h"

#include <stdlib.h>

#include "base/timestamp.h"
#include "slices.h"

#define DAY_US INT64_C(86400000000)

static bool add_tenants(const struct backfill_ask *ask, const struct settings *s, struct backfill_request *ret,
                        struct error *err)
{
    const struct task task = {.entity = "all", .tenant = ask->tenant};
    if (!task_check(&task, s, err))
        return false;
    ret->tenants = xcalloc(s->tenant_count, sizeof ret->tenants[0]);
    for (size_t i = 0; i < s->tenant_count; i++)
        if (!ask->tenant || ask->tenant == s->tenants[i].id)
            ret->tenants[ret->tenant_count++] = s->tenants[i].id;
    return true;
}

static bool is_named(const struct backfill_ask *ask, const struct entity_settings *entity)
{
    for (size_t i = 0; i < ask->entity_count; i++)
        if (strcmp(ask->entities[i], entity->entity->name) == 0 ||
            (strcmp(ask->entities[i], "all") == 0 && entity->enabled))
            return true;
    return false;
}

static bool add_entities(const struct backfill_ask *ask, const struct settings *s, struct backfill_request *ret,
                         struct error *err)
{
    const struct entity_settings *order[REGISTRY_MAX_ENTITIES];
    for (size_t i = 0; i < ask->entity_count; i++) {
        struct task task = {.tenant = 0};
        struct slice name = slice_str(ask->entities[i]);
        size_t len = name.len < sizeof task.entity ? name.len : sizeof task.entity - 1;
        memcpy(task.entity, name.ptr, len);
        if (!task_check(&task, s, err))
            return false;
    }
    settings_order(s, order);
    ret->entities = xcalloc(s->entity_count + 1, sizeof ret->entities[0]);
    for (size_t i = 0; i < s->entity_count; i++)
        if (is_named(ask, order[i]))
            ret->entities[ret->entity_count++] = order[i];
    return ret->entity_count > 0 ||
           error_set(err, ERROR_PERMANENT, "nothing", "nothing to read again: no entity is enabled");
}

static bool read_time(const char *option, const char *text, int64_t *ret_us, struct error *err)
{
    return timestamp_parse(slice_str(text), ret_us, NULL) ||
           error_set(err, ERROR_PERMANENT, "bad_window",
                     "%s is \"%s\": a date (2021-01-31) or an RFC 3339 time is needed, in UTC where it names no offset",
                     option, text);
}

/* Without --to: up to now, on a day boundary, so that the same command gives the same plan all day long. */
static bool read_window(const struct backfill_ask *ask, int64_t now_us, struct backfill_request *ret, struct error *err)
{
    if (!ask->from)
        return error_set(err, ERROR_PERMANENT, "bad_window", "--from is missing: say from when records are to be read");
    ret->to_us = ((int64_t)timestamp_to_days(now_us) + 1) * DAY_US;
    if (!read_time("--from", ask->from, &ret->from_us, err) ||
        (ask->to && !read_time("--to", ask->to, &ret->to_us, err)))
        return false;
    if (ret->from_us >= ret->to_us)
        return error_set(err, ERROR_PERMANENT, "bad_window", "--from is not before %s",
                         ask->to ? "--to" : "the end of today (UTC)");
    return true;
}

static bool read_slice(const struct backfill_ask *ask, struct backfill_request *ret, struct error *err)
{
    const char *text = ask->slice ? ask->slice : "auto";
    return slices_parse(text, &ret->slice_us) ||
           error_set(err, ERROR_PERMANENT, "bad_slice",
                     "--slice is \"%s\": auto or a length such as 30d, 12h or 90m is needed", text);
}

static char *make_key(const struct backfill_ask *ask, const struct backfill_request *r)
{
    char from[TIMESTAMP_TEXT_SIZE], to[TIMESTAMP_TEXT_SIZE];
    struct buf key = BUF_INIT;
    buf_printf(&key, "from=%s to=%s slice=%lld", timestamp_text(from, r->from_us, 6),
               ask->to ? timestamp_text(to, r->to_us, 6) : "today", (long long)(r->slice_us / 1000000));
    for (size_t i = 0; i < r->entity_count; i++)
        buf_printf(&key, "%s%s", i ? "," : " entities=", r->entities[i]->entity->name);
    for (size_t i = 0; i < r->tenant_count; i++)
        buf_printf(&key, "%s%lld", i ? "," : " tenants=", (long long)r->tenants[i]);
    return buf_detach(&key);
}

bool backfill_request_make(const struct backfill_ask *ask, const struct settings *s, int64_t now_us,
                           struct backfill_request *ret, struct error *err)
{
    *ret = (struct backfill_request){0};
    if (!add_tenants(ask, s, ret, err) || !add_entities(ask, s, ret, err) || !read_window(ask, now_us, ret, err) ||
        !read_slice(ask, ret, err))
        return false;
    ret->key = make_key(ask, ret);
    return true;
}

void backfill_request_release(struct backfill_request *request)
{
    free(request->entities);
    free(request->tenants);
    free(request->key);
    *request = (struct backfill_request){0};
}
