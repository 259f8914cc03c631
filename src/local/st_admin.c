/* st_admin.c - see st_admin.h. */
#include "st_admin.h"

#include <stdlib.h>
#include <strings.h>

#include "local_json.h"
#include "st_set.h"

struct admin {
    struct st_server *server;
    struct http_exchange *x;
    struct json_object *body; /* NULL for GET and DELETE */
    struct buf out;
    struct error err;
};

/* ---- Parameters -------------------------------------------------------------------------------------------------- */

static bool find_site(struct admin *admin, int64_t tenant, struct st_site **ret)
{
    *ret = tenant ? st_server_site(admin->server, tenant) : &admin->server->sites[0];
    return *ret || error_set(&admin->err, ERROR_PERMANENT, "tenant", "cannot find tenant %lld", (long long)tenant);
}

static bool find_entities(struct admin *admin, const char *name, bool ret[ST_ENTITIES])
{
    bool all = strcasecmp(name, "all") == 0;
    enum st_entity one = ST_JOBS;
    if (!all && !st_entity_by_name(name, &one))
        return error_set(&admin->err, ERROR_PERMANENT, "entity", "cannot find entity \"%s\"", name);
    for (int e = 0; e < ST_ENTITIES; e++)
        ret[e] = all || e == (int)one;
    return true;
}

static bool find_kind(struct admin *admin, const char *name, bool ret[ST_EDIT_KINDS])
{
    for (int kind = 0; name && kind < ST_EDIT_KINDS; kind++)
        if (strcasecmp(name, st_edit_names[kind]) == 0)
            return ret[kind] = true;
    return error_set(&admin->err, ERROR_PERMANENT, "kind", "cannot make edits of kind \"%s\"", name ? name : "null");
}

static bool find_kinds(struct admin *admin, bool ret[ST_EDIT_KINDS])
{
    struct json_object *kinds = json_at(admin->body, "kinds");
    memset(ret, 0, ST_EDIT_KINDS * sizeof *ret);
    if (kinds == NULL) {
        ret[ST_EDIT_CREATE] = ret[ST_EDIT_CHANGE] = true;
        return true;
    }
    if (!json_object_is_type(kinds, json_type_array))
        return error_set(&admin->err, ERROR_PERMANENT, "kind", "cannot read \"kinds\": a list is needed");
    for (size_t i = 0; i < json_object_array_length(kinds); i++)
        if (!find_kind(admin, json_object_get_string(json_object_array_get_idx(kinds, i)), ret))
            return false;
    return true;
}

/* ---- Edits ------------------------------------------------------------------------------------------------------- */

static bool apply(struct admin *admin, struct st_site *site, enum st_entity entity, const bool kinds[ST_EDIT_KINDS],
                  bool filter_kinds, struct st_edit_result *sum)
{
    struct st_settings settings;
    st_server_settings(admin->server, &settings);
    struct st_edit_batch batch = {
        .count = json_int_at(admin->body, "count", 1),
        .seed = (uint64_t)json_int_at(admin->body, "seed", 1),
        .now = st_server_now(&settings),
        .lag = settings.visibility_lag_ms * 10000,
        .same_instant = json_bool_at(admin->body, "sameInstant", false),
        .index = json_int_at(admin->body, "index", -1),
    };
    struct st_edit_result result;
    memcpy(batch.kinds, kinds, sizeof batch.kinds);
    if (filter_kinds && !st_edit_kinds_of(entity, kinds, batch.kinds))
        return true;
    if (!st_journal_apply(admin->server->journal, site, entity, &batch, &result, &admin->err))
        return false;
    for (int kind = 0; kind < ST_EDIT_KINDS; kind++)
        sum->applied[kind] += result.applied[kind];
    if (sum->first_modified == ST_NO_TIME)
        sum->first_modified = result.first_modified;
    sum->last_modified = result.last_modified;
    return true;
}

static void append_time(struct buf *out, int64_t ticks)
{
    char text[64];
    struct st_out writer = {.p = text};
    st_put_time(&writer, &ticks);
    buf_append(out, text, (size_t)(writer.p - text));
}

static bool post_edits(struct admin *admin)
{
    struct st_site *site;
    bool entities[ST_ENTITIES], kinds[ST_EDIT_KINDS];
    const char *name = json_text_at(admin->body, "entity", "");
    struct st_edit_result sum = {.first_modified = ST_NO_TIME, .last_modified = ST_NO_TIME};
    if (!find_site(admin, json_int_at(admin->body, "tenant", 0), &site) || !find_entities(admin, name, entities) ||
        !find_kinds(admin, kinds))
        return false;
    for (int e = 0; e < ST_ENTITIES; e++)
        if (entities[e] && !apply(admin, site, (enum st_entity)e, kinds, strcasecmp(name, "all") == 0, &sum))
            return false;
    buf_append_str(&admin->out, "{\"applied\":{");
    for (int kind = 0; kind < ST_EDIT_KINDS; kind++)
        buf_printf(&admin->out, "%s\"%s\":%lld", kind ? "," : "", st_edit_names[kind], (long long)sum.applied[kind]);
    buf_append_str(&admin->out, "},\"firstModified\":");
    append_time(&admin->out, sum.first_modified);
    buf_append_str(&admin->out, ",\"lastModified\":");
    append_time(&admin->out, sum.last_modified);
    buf_append_char(&admin->out, '}');
    return true;
}

static bool post_stream(struct admin *admin)
{
    struct st_stream_plan plan = {.seed = (uint64_t)json_int_at(admin->body, "seed", 1)};
    if (!find_site(admin, json_int_at(admin->body, "tenant", 0), &plan.site) ||
        !find_entities(admin, json_text_at(admin->body, "entity", "all"), plan.entities) ||
        !find_kinds(admin, plan.kinds))
        return false;
    plan.per_second = (double)json_int_at(admin->body, "perSecond", 0);
    if (plan.per_second < 0 || plan.per_second > ST_MAX_BATCH)
        return error_set(&admin->err, ERROR_PERMANENT, "stream", "cannot make so many edits per second: at most %d",
                         ST_MAX_BATCH);
    st_stream_run(admin->server, &plan);
    st_stream_json(admin->server, &admin->out);
    return true;
}

static bool get_stream(struct admin *admin)
{
    st_stream_json(admin->server, &admin->out);
    return true;
}

/* ---- Settings ---------------------------------------------------------------------------------------------------- */

static bool get_settings(struct admin *admin)
{
    struct st_settings settings;
    st_server_settings(admin->server, &settings);
    st_settings_json(&settings, &admin->out);
    return true;
}

static bool post_settings(struct admin *admin)
{
    pthread_mutex_lock(&admin->server->lock);
    bool ok = st_settings_change(&admin->server->settings, admin->body, &admin->err);
    pthread_mutex_unlock(&admin->server->lock);
    return ok && get_settings(admin);
}

/* ---- Reads ------------------------------------------------------------------------------------------------------- */

static bool query_target(struct admin *admin, struct st_site **site, enum st_entity *entity)
{
    const char *tenant = http_exchange_query(admin->x, "tenant");
    const char *name = http_exchange_query(admin->x, "entity");
    int64_t id = 0;
    if (tenant && !slice_to_int64(slice_str(tenant), &id))
        return error_set(&admin->err, ERROR_PERMANENT, "tenant", "cannot read tenant \"%s\"", tenant);
    if (name == NULL || !st_entity_by_name(name, entity))
        return error_set(&admin->err, ERROR_PERMANENT, "entity", "cannot find entity \"%s\"", name ? name : "");
    return find_site(admin, id, site);
}

static int64_t count_of(const struct st_overlay *overlay, enum st_active active, bool with_deleted)
{
    struct st_filter filter = ST_FILTER_ALL;
    filter.active = active;
    filter.with_deleted = with_deleted;
    struct st_set set;
    st_set_init(&set, overlay, &filter);
    int64_t total = set.total;
    st_set_release(&set);
    return total;
}

static void lock_present(struct admin *admin, struct st_overlay *overlay)
{
    struct st_settings settings;
    st_server_settings(admin->server, &settings);
    st_overlay_read_lock(overlay, st_server_now(&settings), settings.visibility_lag_ms * 10000);
}

static bool get_count(struct admin *admin)
{
    struct st_site *site;
    enum st_entity entity;
    if (!query_target(admin, &site, &entity))
        return false;
    struct st_overlay *overlay = &site->overlays[entity];
    lock_present(admin, overlay);
    long long total = count_of(overlay, ST_ANY, false), active = count_of(overlay, ST_ACTIVE_ONLY, false);
    long long with_deleted = count_of(overlay, ST_ANY, true);
    buf_printf(&admin->out,
               "{\"generated\":%lld,\"created\":%lld,\"edited\":%zu,\"total\":%lld,\"active\":%lld,\"inactive\":%lld,"
               "\"deleted\":%lld}",
               (long long)site->company.count[entity], (long long)overlay->shared.created, st_overlay_count(overlay),
               total, active, total - active, with_deleted - total);
    st_overlay_unlock(overlay);
    return true;
}

static bool get_record(struct admin *admin)
{
    struct st_site *site;
    enum st_entity entity;
    int64_t index;
    const char *text = http_exchange_query(admin->x, "index");
    if (!query_target(admin, &site, &entity))
        return false;
    if (text == NULL || !slice_to_int64(slice_str(text), &index))
        return error_set(&admin->err, ERROR_PERMANENT, "index", "cannot read index \"%s\"", text ? text : "");
    struct st_overlay *overlay = &site->overlays[entity];
    struct st_version v;
    lock_present(admin, overlay);
    bool found = st_overlay_version(overlay, index, &v);
    if (found) {
        buf_reserve(&admin->out, ST_RECORD_MAX_BYTES);
        struct st_out out = {.p = admin->out.ptr};
        st_models[entity]->write(&out, &site->company, &v);
        admin->out.len = (size_t)(out.p - admin->out.ptr);
    }
    st_overlay_unlock(overlay);
    return found || error_set(&admin->err, ERROR_PERMANENT, "index", "cannot find record %lld", (long long)index);
}

static void append_routes(struct admin *admin)
{
    const struct st_stats *stats = &admin->server->stats;
    buf_printf(&admin->out, "\"requests\":{\"token\":%lld,\"other\":%lld",
               atomic_load(&stats->requests[ST_ROUTE_TOKEN]), atomic_load(&stats->requests[ST_ROUTE_OTHER]));
    for (int e = 0; e < ST_ENTITIES; e++)
        buf_printf(&admin->out, ",\"%s\":%lld,\"export/%s\":%lld", st_models[e]->name,
                   atomic_load(&stats->requests[ST_ROUTE_LIST + e]), st_models[e]->name,
                   atomic_load(&stats->requests[ST_ROUTE_EXPORT + e]));
    buf_append_char(&admin->out, '}');
}

static bool get_stats(struct admin *admin)
{
    const struct st_stats *stats = &admin->server->stats;
    const char *separator = "";
    buf_append_char(&admin->out, '{');
    append_routes(admin);
    buf_append_str(&admin->out, ",\"statuses\":{");
    for (int status = 0; status < ST_STATUS_SLOTS; status++) {
        long long count = atomic_load(&stats->statuses[status]);
        if (count == 0)
            continue;
        buf_printf(&admin->out, "%s\"%d\":%lld", separator, status, count);
        separator = ",";
    }
    buf_printf(&admin->out, "},\"tokens\":%lld,\"bytes\":%lld,\"records\":%lld,\"mostInFlight\":%lld}",
               atomic_load(&stats->tokens), atomic_load(&stats->bytes), atomic_load(&stats->records),
               atomic_load(&stats->most_in_flight));
    return true;
}

static bool delete_stats(struct admin *admin)
{
    struct st_stats *stats = &admin->server->stats;
    for (int i = 0; i < ST_ROUTES; i++)
        atomic_store(&stats->requests[i], 0);
    for (int i = 0; i < ST_STATUS_SLOTS; i++)
        atomic_store(&stats->statuses[i], 0);
    atomic_store(&stats->tokens, 0);
    atomic_store(&stats->bytes, 0);
    atomic_store(&stats->records, 0);
    atomic_store(&stats->most_in_flight, 0);
    return get_stats(admin);
}

/* ---- Routes ------------------------------------------------------------------------------------------------------ */

static const struct route {
    const char *method, *path;
    bool (*serve)(struct admin *admin);
} ROUTES[] = {
    {"POST", "/_admin/edits", post_edits},     {"POST", "/_admin/stream", post_stream},
    {"GET", "/_admin/stream", get_stream},     {"POST", "/_admin/settings", post_settings},
    {"GET", "/_admin/settings", get_settings}, {"GET", "/_admin/count", get_count},
    {"GET", "/_admin/record", get_record},     {"GET", "/_admin/stats", get_stats},
    {"DELETE", "/_admin/stats", delete_stats},
};

static const struct route *find_route(struct http_exchange *x)
{
    for (size_t i = 0; i < ST_COUNT(ROUTES); i++)
        if (strcmp(http_exchange_method(x), ROUTES[i].method) == 0 &&
            strcmp(http_exchange_path(x), ROUTES[i].path) == 0)
            return &ROUTES[i];
    return NULL;
}

static bool run(struct admin *admin, const struct route *route)
{
    if (strcmp(route->method, "POST") == 0 && !(admin->body = local_read_object(admin->x, &admin->err)))
        return false;
    return route->serve(admin);
}

void st_admin_serve(struct st_server *server, struct http_exchange *x)
{
    struct admin admin = {.server = server, .x = x, .out = BUF_INIT, .err = ERROR_INIT};
    const struct route *route = find_route(x);
    if (!http_exchange_peer_is_loopback(x))
        local_reply_error(x, 403, "admin routes are for loopback only");
    else if (route == NULL)
        local_reply_error(x, 404, "no such admin route");
    else if (!run(&admin, route))
        local_reply_error(x, 400, admin.err.message);
    else
        http_exchange_reply_buf(x, 200, "application/json", &admin.out);
    json_object_put(admin.body);
    buf_release(&admin.out);
}
