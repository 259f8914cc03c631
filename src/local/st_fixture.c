/* st_fixture.c - see st_fixture.h. */
#include "st_fixture.h"

#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "base/json.h"
#include "st_query.h"

/* ---- Which file -------------------------------------------------------------------------------------------------- */

/* A folder or file of its own, never "..". */
static bool is_plain(struct slice name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    for (size_t i = 0; i < name.len; i++)
        if (!name.ptr[i] || !strchr(allowed, name.ptr[i]))
            return false;
    return name.len > 0;
}

bool st_fixture_find(const struct st_server *server, const char *path, struct st_fixture *ret)
{
    struct slice rest = slice_str(path);
    if (!server->fixtures || slice_cut(&rest, '/').len > 0)
        return false;
    struct slice module = slice_cut(&rest, '/'), version = slice_cut(&rest, '/'), literal = slice_cut(&rest, '/');
    struct slice tenant = slice_cut(&rest, '/');
    struct slice after = rest, before = slice_cut(&after, '/');
    bool export = slice_eq_str(before, "export") && after.len > 0;
    if (export)
        rest = after;
    *ret = (struct st_fixture){.export = export, .resource = rest};
    if (!slice_eq_str(version, "v2") || !slice_eq_str(literal, "tenant") || !slice_to_int64(tenant, &ret->tenant) ||
        !is_plain(module) || !is_plain(rest))
        return false;
    ret->file = xasprintf("%s/%.*s/%.*s.json", server->fixtures, SLICE_ARG(module), SLICE_ARG(rest));
    if (access(ret->file, R_OK) == 0)
        return true;
    st_fixture_release(ret);
    return false;
}

void st_fixture_release(struct st_fixture *fixture)
{
    free(fixture->file);
    fixture->file = NULL;
}

/* ---- Which records ----------------------------------------------------------------------------------------------- */

struct question {
    struct st_span created, modified; /* ticks */
    enum st_active active;
    int64_t page, size;
    bool total;
};

static bool read_bound(struct st_call *call, const char *name, int64_t *bound)
{
    const char *value = http_exchange_query(call->x, name);
    return !value || st_parse_ticks(value, bound);
}

static int64_t read_number(struct st_call *call, const char *name, int64_t fallback, int64_t max)
{
    const char *value = http_exchange_query(call->x, name);
    int64_t number;
    return value && slice_to_int64(slice_str(value), &number) && number >= 1 && number <= max ? number : fallback;
}

/* active=True|False|Any, activeState=ActiveOnly|InactiveOnly|All; without either: the active ones. */
static enum st_active read_active(struct st_call *call)
{
    const char *value = http_exchange_query(call->x, "active");
    if (!value)
        value = http_exchange_query(call->x, "activeState");
    if (value && (strcasecmp(value, "Any") == 0 || strcasecmp(value, "All") == 0))
        return ST_ANY;
    return value && (strcasecmp(value, "False") == 0 || strcasecmp(value, "InactiveOnly") == 0) ? ST_INACTIVE_ONLY
                                                                                                : ST_ACTIVE_ONLY;
}

static bool read_question(struct st_call *call, struct question *ret)
{
    const char *total = http_exchange_query(call->x, "includeTotal");
    *ret = (struct question){
        .created = {ST_NO_TIME, ST_FOREVER},
        .modified = {ST_NO_TIME, ST_FOREVER},
        .active = read_active(call),
        .page = read_number(call, "page", 1, INT64_MAX / ST_MAX_PAGE_SIZE),
        .size = read_number(call, "pageSize", ST_DEFAULT_PAGE_SIZE, ST_MAX_PAGE_SIZE),
        .total = total && strcasecmp(total, "true") == 0,
    };
    return read_bound(call, "createdOnOrAfter", &ret->created.from) &&
           read_bound(call, "createdBefore", &ret->created.to) &&
           read_bound(call, "modifiedOnOrAfter", &ret->modified.from) &&
           read_bound(call, "modifiedBefore", &ret->modified.to);
}

/* What has no such time is in no window but the whole of time. */
static bool is_within(struct json_object *record, const char *member, struct st_span span)
{
    int64_t at;
    if (span.from == ST_NO_TIME && span.to == ST_FOREVER)
        return true;
    return st_parse_ticks(json_text_at(record, member, ""), &at) && at >= span.from && at < span.to;
}

static bool is_wanted(const struct question *q, struct json_object *record)
{
    bool active = json_bool_at(record, "active", true);
    return (q->active == ST_ANY || active == (q->active == ST_ACTIVE_ONLY)) &&
           is_within(record, "createdOn", q->created) && is_within(record, "modifiedOn", q->modified);
}

/* ---- The answer -------------------------------------------------------------------------------------------------- */

static void write_page(const struct question *q, struct json_object *records, struct buf *body)
{
    struct buf data = BUF_INIT;
    int64_t first = (q->page - 1) * q->size, found = 0;
    for (size_t i = 0; i < json_object_array_length(records); i++) {
        struct json_object *record = json_object_array_get_idx(records, i);
        if (!is_wanted(q, record))
            continue;
        if (found >= first && found - first < q->size)
            buf_printf(&data, "%s%s", data.len ? "," : "",
                       json_object_to_json_string_ext(record, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
        found++;
    }
    buf_printf(body, "{\"page\":%lld,\"pageSize\":%lld,\"hasMore\":%s,\"totalCount\":", (long long)q->page,
               (long long)q->size, found - first > q->size ? "true" : "false");
    if (q->total)
        buf_printf(body, "%lld", (long long)found);
    else
        buf_append_str(body, "null");
    buf_printf(body, ",\"data\":[%s]}", buf_cstr(&data));
    buf_release(&data);
}

/* Where a feed goes on: changes from then on, in ticks. The token is that time; a date is taken as well. */
static bool read_feed_question(struct st_call *call, struct question *ret)
{
    static const char mark[] = "fixture-";
    const char *from = http_exchange_query(call->x, "from");
    int64_t since = ST_NO_TIME;
    *ret = (struct question){.created = {ST_NO_TIME, ST_FOREVER}, .active = ST_ANY};
    if (from && strncmp(from, mark, strlen(mark)) == 0) {
        if (!slice_to_int64(slice_str(from + strlen(mark)), &since))
            return false;
    } else if (from && from[0] && !st_parse_ticks(from, &since)) {
        return false;
    }
    ret->modified = (struct st_span){since, ST_FOREVER};
    return true;
}

/* The next batch begins some minutes back, so what is written into the file with a time of just now is not missed. */
static void write_batch(const struct st_call *call, const struct question *q, struct json_object *records,
                        struct buf *body)
{
    const int64_t back = INT64_C(600) * 10000000;
    size_t written = 0;
    buf_printf(body, "{\"hasMore\":false,\"continueFrom\":\"fixture-%lld\",\"data\":[", (long long)(call->now - back));
    for (size_t i = 0; i < json_object_array_length(records); i++) {
        struct json_object *record = json_object_array_get_idx(records, i);
        if (is_wanted(q, record))
            buf_printf(body, "%s%s", written++ ? "," : "",
                       json_object_to_json_string_ext(record, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    }
    buf_append_str(body, "]}");
}

void st_fixture_serve(struct st_call *call, const struct st_fixture *fixture)
{
    struct error err = ERROR_INIT;
    struct question q;
    struct buf body = BUF_INIT;
    struct json_object *records = json_load_file(fixture->file, ST_FIXTURE_MAX_BYTES, &err);
    if (!records || !json_object_is_type(records, json_type_array)) {
        st_reply_problem(call, 500, records ? "The fixture's file holds no array." : err.message, NULL, NULL);
    } else if (!(fixture->export ? read_feed_question(call, &q) : read_question(call, &q))) {
        st_reply_problem(call, 400, "One or more validation errors occurred.", "Window", "A bound is no time.");
    } else {
        if (fixture->export)
            write_batch(call, &q, records, &body);
        else
            write_page(&q, records, &body);
        st_reply(call, 200, "application/json; charset=utf-8", &body);
    }
    json_object_put(records);
    buf_release(&body);
}
