/* st_export.c - GET /{module}/v2/tenant/{t}/export/{resource}: all records by modifiedOn, in batches that the server
 * sizes.
 *
 * continueFrom names the last record sent, by (modifiedOn, index), and the feed it is good for; it is given with the
 * last batch too. A change shows up 15 minutes after it was made, or at once with includeRecentChanges=true: then the
 * token given at the end lies 15 minutes back, so that what was shown early comes again. A record without modifiedOn
 * stands at its createdOn. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "st_query.h"

struct position { /* of the last record that was sent */
    int64_t modified, index;
};

enum { TOKEN_BYTES = 48 };

static uint64_t seal(const struct st_call *call, struct position at)
{
    uint64_t key =
        st_mix(call->server->seed, (uint64_t)call->site->company.tenant * ST_ENTITIES + (uint64_t)call->entity);
    return st_mix(key, st_mix((uint64_t)at.modified, (uint64_t)at.index));
}

static void make_token(const struct st_call *call, struct position at, char ret[TOKEN_BYTES + 1])
{
    snprintf(ret, TOKEN_BYTES + 1, "%016llx%016llx%016llx", (unsigned long long)at.modified,
             (unsigned long long)at.index, (unsigned long long)seal(call, at));
}

static bool read_token(const struct st_call *call, const char *text, struct position *ret)
{
    unsigned long long modified, index, sealed;
    if (strlen(text) != TOKEN_BYTES || sscanf(text, "%16llx%16llx%16llx", &modified, &index, &sealed) != 3)
        return false;
    *ret = (struct position){(int64_t)modified, (int64_t)index};
    return seal(call, *ret) == sealed;
}

/* Where to go on from; false: an answer was sent. */
static bool read_position(struct st_call *call, const struct st_query *query, struct position *ret)
{
    *ret = (struct position){0, -1};
    if (query->from == NULL || query->from[0] == '\0' || read_token(call, query->from, ret))
        return true;
    *ret = (struct position){0, -1};
    if (st_parse_ticks(query->from, &ret->modified)) {
        ret->modified--; /* inclusive */
        ret->index = INT64_MAX;
        return true;
    }
    st_reply_problem(call, 400, "One or more validation errors occurred.", "From",
                     "The value is neither a date nor a token of this feed.");
    return false;
}

/* Changes from here on are not shown yet. */
static int64_t visible_until(const struct st_call *call, const struct st_query *query)
{
    return query->include_recent ? ST_FOREVER : call->now - call->settings.export_lag_ms * 10000;
}

static struct position resume_at(const struct st_call *call, const struct st_query *query, struct position last,
                                 bool more)
{
    int64_t settled = call->now - call->settings.export_lag_ms * 10000;
    if (more || !query->include_recent || last.modified < settled)
        return last;
    return (struct position){settled, -1};
}

static void write_batch(struct st_call *call, const struct st_query *query, struct position at, struct buf *body)
{
    struct st_overlay *overlay = &call->site->overlays[call->entity];
    struct st_filter filter = query->filter;
    filter.null_as_created = true;
    filter.modified = (struct st_span){at.modified, visible_until(call, query)};
    struct st_set set;
    st_set_init(&set, overlay, &filter);
    int64_t offset = st_set_up_to(&set, at.modified, at.index);
    size_t limit = (size_t)call->settings.export_batch;
    struct st_version *versions = xcalloc(limit, sizeof *versions);
    size_t count = st_set_page(&set, ST_BY_MODIFIED, /*descending=*/false, offset, limit, versions);
    bool more = offset + (int64_t)count < set.total;
    if (count > 0) {
        const struct st_version *last = &versions[count - 1];
        at = (struct position){last->modified == ST_NO_TIME ? last->created : last->modified, last->index};
    }
    char token[TOKEN_BYTES + 1];
    make_token(call, resume_at(call, query, at, more), token);
    buf_printf(body, "{\"hasMore\":%s,\"continueFrom\":\"%s\",\"data\":[", more ? "true" : "false", token);
    st_write_records(call, versions, count, /*export=*/true, body);
    buf_append_str(body, "]}");
    free(versions);
    st_set_release(&set);
}

void st_export_serve(struct st_call *call)
{
    struct st_query query;
    struct position at;
    if (!st_query_read(call, /*export=*/true, &query) || !read_position(call, &query, &at))
        return;
    struct st_overlay *overlay = &call->site->overlays[call->entity];
    struct buf body = BUF_INIT;
    st_overlay_read_lock(overlay, call->now, call->settings.visibility_lag_ms * 10000);
    write_batch(call, &query, at, &body);
    st_overlay_unlock(overlay);
    st_reply(call, 200, "application/json; charset=utf-8", &body);
    buf_release(&body);
}
