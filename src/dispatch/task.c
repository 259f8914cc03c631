#include "dispatch/task.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/timestamp.h"

static const char *const mode_names[] = {
    [TASK_INCREMENTAL] = "incremental",
    [TASK_FULL] = "full",
    [TASK_BACKFILL] = "backfill",
    [TASK_RECONCILE] = "reconcile",
};
enum { MODES = sizeof mode_names / sizeof mode_names[0] };

const char *task_mode_name(enum task_mode mode)
{
    return mode_names[mode];
}

bool task_mode_parse(const char *text, enum task_mode *ret)
{
    for (int i = 0; i < MODES; i++) {
        if (strcmp(mode_names[i], text) == 0) {
            *ret = (enum task_mode)i;
            return true;
        }
    }
    return false;
}

const char *task_lane_name(enum task_lane lane)
{
    return lane == TASK_LANE_BACKFILL ? "backfill" : "live";
}

/* Copies a text member into a fixed array. Absent is fine; another type or too long is not. */
static bool take_text(struct json_object *obj, const char *name, char *out, size_t size, struct error *err)
{
    struct json_object *at = json_at(obj, name);
    if (!at)
        return true;
    if (!json_object_is_type(at, json_type_string))
        return error_set(err, ERROR_PERMANENT, "message_syntax", "the message's '%s' must be text", name);
    const char *text = json_object_get_string(at);
    if ((size_t)json_object_get_string_len(at) >= size || strlen(text) != (size_t)json_object_get_string_len(at))
        return error_set(err, ERROR_PERMANENT, "message_syntax",
                         "the message's '%s' is longer than %zu characters or holds a NUL", name, size - 1);
    snprintf(out, size, "%s", text);
    return true;
}

static bool take_time(struct json_object *obj, const char *name, bool *ret_has, int64_t *ret_us, struct error *err)
{
    char text[64] = "";
    if (!take_text(obj, name, text, sizeof text, err))
        return false;
    if (!text[0])
        return true;
    if (!timestamp_parse(slice_str(text), ret_us, NULL))
        return error_set(err, ERROR_PERMANENT, "bad_window", "the message's '%s' is \"%s\": an RFC 3339 time is needed",
                         name, text);
    *ret_has = true;
    return true;
}

/* Length of the longest prefix of at most `max` bytes that does not end inside a character. */
static size_t utf8_prefix(const char *text, size_t max)
{
    size_t len = strnlen(text, max + 1);
    if (len <= max)
        return len;
    for (len = max; len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80;)
        len--;
    return len;
}

static bool take_tenant(struct json_object *obj, struct task *task, struct error *err)
{
    struct json_object *at = json_at(obj, "tenant");
    int64_t id = at ? json_int_at(obj, "tenant", 0) : 0;
    if (at && id <= 0)
        return error_set(err, ERROR_PERMANENT, "bad_tenant",
                         "the message's 'tenant' is \"%.*s\": a positive number is needed",
                         (int)utf8_prefix(json_object_get_string(at), 40), json_object_get_string(at));
    task->tenant = id;
    return true;
}

static bool take_mode(struct json_object *obj, struct task *task, struct error *err)
{
    char text[32] = "incremental";
    if (!take_text(obj, "mode", text, sizeof text, err))
        return false;
    if (!task_mode_parse(text, &task->mode))
        return error_set(err, ERROR_PERMANENT, "unknown_mode",
                         "the message's 'mode' is \"%s\": incremental, full, backfill or reconcile is allowed", text);
    return true;
}

static bool check_window(const struct task *task, struct error *err)
{
    bool backfill = task->mode == TASK_BACKFILL || task->mode == TASK_RECONCILE;
    if (!backfill && (task->has_from || task->has_to))
        return error_set(
            err, ERROR_PERMANENT, "bad_window",
            "the message has 'from' or 'to', but its mode is %s; only backfill and reconcile take a window",
            task_mode_name(task->mode));
    if (task->mode == TASK_BACKFILL && (!task->has_from || !task->has_to))
        return error_set(err, ERROR_PERMANENT, "bad_window", "a backfill needs both 'from' and 'to'");
    if (task->has_from && task->has_to && task->from_us >= task->to_us)
        return error_set(err, ERROR_PERMANENT, "bad_window", "the message's 'from' is not before its 'to'");
    return true;
}

static bool read_members(struct json_object *obj, struct task *task, struct error *err)
{
    if (!json_object_is_type(obj, json_type_object))
        return error_set(err, ERROR_PERMANENT, "message_syntax", "the message is not a JSON object");
    if (!take_text(obj, "entity", task->entity, sizeof task->entity, err))
        return false;
    if (!task->entity[0])
        return error_set(err, ERROR_PERMANENT, "unknown_entity", "the message names no 'entity'");
    return take_mode(obj, task, err) && take_tenant(obj, task, err) &&
           take_time(obj, "from", &task->has_from, &task->from_us, err) &&
           take_time(obj, "to", &task->has_to, &task->to_us, err) &&
           take_text(obj, "task_id", task->task_id, sizeof task->task_id, err) &&
           take_text(obj, "requested_by", task->requested_by, sizeof task->requested_by, err) &&
           check_window(task, err);
}

bool task_parse(struct slice data, struct task *ret, struct error *err)
{
    struct task task = {0};
    if (data.len > TASK_MAX_BYTES)
        return error_set(err, ERROR_PERMANENT, "message_syntax", "the message has %zu bytes; at most %d are allowed",
                         data.len, TASK_MAX_BYTES);
    if (!slice_is_utf8(data)) /* the parser lets some of it pass */
        return error_set(err, ERROR_PERMANENT, "message_syntax", "the message is not UTF-8");
    struct json_object *obj = json_parse(data, "the message", err);
    if (!obj) {
        if (err)
            snprintf(err->code, sizeof err->code, "message_syntax");
        return false;
    }
    bool ok = read_members(obj, &task, err);
    json_object_put(obj);
    if (ok)
        *ret = task;
    return ok;
}

static bool unknown_entity(const char *name, const struct settings *settings, struct error *err)
{
    struct buf names = BUF_INIT;
    for (size_t i = 0; i < settings->entity_count; i++)
        if (settings->entities[i].enabled)
            buf_printf(&names, "%s, ", settings->entities[i].entity->name);
    error_set(err, ERROR_PERMANENT, "unknown_entity", "unknown entity \"%s\": %sor all is allowed", name,
              buf_cstr(&names));
    buf_release(&names);
    return false;
}

bool task_check_entity(const char *name, const struct settings *settings, struct error *err)
{
    const struct entity_settings *entity = settings_entity(settings, name);
    if (strcmp(name, "all") == 0)
        return true;
    if (!entity)
        return unknown_entity(name, settings, err);
    return entity->enabled ||
           error_set(err, ERROR_PERMANENT, "entity_disabled",
                     "entity \"%s\" is disabled: set entities.%s.enabled in config.json, then `st-ingestor init` makes "
                     "its tables",
                     name, name);
}

bool task_check(const struct task *task, const struct settings *settings, struct error *err)
{
    if (!task_check_entity(task->entity, settings, err))
        return false;
    if (task->tenant && !settings_tenant(settings, task->tenant))
        return error_set(err, ERROR_PERMANENT, "unknown_tenant", "tenant %lld is not configured",
                         (long long)task->tenant);
    if (settings->tenant_count == 0)
        return error_set(err, ERROR_PERMANENT, "unknown_tenant", "no tenant is configured");
    return true;
}

bool task_is_group(const struct task *task, const struct settings *settings)
{
    return strcmp(task->entity, "all") == 0 || (task->tenant == 0 && settings->tenant_count > 1);
}

static uint64_t fnv1a(const char *text)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return hash;
}

/* The single task's id: the group's, with entity and tenant, so that a redelivered group makes the same ids again. A full
 * task is done when its id has succeeded before: where the parts do not fit whole, a hash keeps different ids apart. */
static void derive_id(const struct task *group, struct task *single)
{
    enum { ID_KEEP = 36, ENTITY_KEEP = 32 };
    char whole[TASK_ID_SIZE + TASK_ENTITY_SIZE + 32];
    if (!group->task_id[0])
        return;
    int len = snprintf(whole, sizeof whole, "%s/%s/%lld", group->task_id, single->entity, (long long)single->tenant);
    if ((size_t)len < sizeof single->task_id) {
        memcpy(single->task_id, whole, (size_t)len + 1);
        return;
    }
    snprintf(single->task_id, sizeof single->task_id, "%.*s~%016llx/%.*s/%lld",
             (int)utf8_prefix(group->task_id, ID_KEEP), group->task_id, (unsigned long long)fnv1a(whole),
             (int)utf8_prefix(single->entity, ENTITY_KEEP), single->entity, (long long)single->tenant);
}

static bool expand_entity(const struct task *group, const struct entity_settings *entity,
                          const struct settings *settings, bool (*fn)(void *user, const struct task *single),
                          void *user)
{
    for (size_t i = 0; i < settings->tenant_count; i++) {
        if (group->tenant && settings->tenants[i].id != group->tenant)
            continue;
        struct task single = *group;
        snprintf(single.entity, sizeof single.entity, "%s", entity->entity->name);
        single.tenant = settings->tenants[i].id;
        derive_id(group, &single);
        if (!fn(user, &single))
            return false;
    }
    return true;
}

bool task_expand(const struct task *task, const struct settings *settings,
                 bool (*fn)(void *user, const struct task *single), void *user)
{
    const struct entity_settings *order[REGISTRY_MAX_ENTITIES];
    bool all = strcmp(task->entity, "all") == 0, ok = true;
    settings_order(settings, order);
    for (size_t i = 0; ok && i < settings->entity_count; i++)
        if (all ? order[i]->enabled : strcmp(order[i]->entity->name, task->entity) == 0)
            ok = expand_entity(task, order[i], settings, fn, user);
    return ok;
}

static void put_member(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, "%s\"%s\":", out->len > 1 ? "," : "", name);
    buf_append_json_string(out, slice_str(value));
}

void task_format(const struct task *task, struct buf *out)
{
    char text[TIMESTAMP_TEXT_SIZE];
    struct buf json = BUF_INIT;
    buf_append_char(&json, '{');
    put_member(&json, "entity", task->entity);
    put_member(&json, "mode", task_mode_name(task->mode));
    if (task->tenant)
        buf_printf(&json, ",\"tenant\":%lld", (long long)task->tenant);
    if (task->has_from)
        put_member(&json, "from", timestamp_text(text, task->from_us, 6));
    if (task->has_to)
        put_member(&json, "to", timestamp_text(text, task->to_us, 6));
    if (task->task_id[0])
        put_member(&json, "task_id", task->task_id);
    if (task->requested_by[0])
        put_member(&json, "requested_by", task->requested_by);
    buf_append_char(&json, '}');
    buf_append_slice(out, buf_slice(&json));
    buf_release(&json);
}
