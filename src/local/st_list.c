/* st_list.c - GET /{module}/v2/tenant/{t}/{resource}: one page of a list, built straight into the reply's bytes. */
#include <stdlib.h>

#include "st_query.h"

enum { USUAL_RECORD_BYTES = 1400 };

static const struct slice EXTRA = ST_LIT(",\"simulatedNewField\":{\"since\":\"2026-03\",\"values\":[1,\"two\",null]}}");

/* ---- Records ----------------------------------------------------------------------------------------------------- */

/* Replaces the closing brace of the record just written. */
static void append_members(struct st_out *out, struct slice members)
{
    out->p--;
    st_raw(out, members);
}

static void write_record(struct st_call *call, struct st_out *out, const struct st_version *v)
{
    st_models[call->entity]->write(out, &call->site->company, v);
    if (call->ticket.fault.kind == FAULT_EXTRA_FIELD)
        append_members(out, EXTRA);
}

static void write_active(struct st_out *out, const struct st_version *v)
{
    append_members(out, v->active ? SLICE_LIT(",\"active\":true}") : SLICE_LIT(",\"active\":false}"));
}

void st_write_records(struct st_call *call, const struct st_version *versions, size_t count, bool export,
                      struct buf *body)
{
    bool add_active = export && st_models[call->entity]->export_active;
    struct st_out out = {.p = NULL};
    buf_reserve(body, count * USUAL_RECORD_BYTES + ST_RECORD_MAX_BYTES);
    for (size_t i = 0; i < count; i++) {
        buf_reserve(body, ST_RECORD_MAX_BYTES);
        out.p = body->ptr + body->len;
        if (i)
            *out.p++ = ',';
        write_record(call, &out, &versions[i]);
        if (add_active)
            write_active(&out, &versions[i]);
        size_t bytes = (size_t)(out.p - (body->ptr + body->len));
        BUG_ON(bytes > ST_RECORD_MAX_BYTES);
        body->len += bytes;
    }
    atomic_fetch_add(&call->server->stats.records, (long long)count);
}

/* ---- Pages ------------------------------------------------------------------------------------------------------- */

static size_t page_of_ids(const struct st_query *query, const struct st_overlay *overlay, struct st_version *ret)
{
    size_t count = 0;
    for (int i = 0; i < query->id_count; i++) {
        int64_t index;
        struct st_version v;
        if (st_company_index(overlay->company, overlay->entity, query->ids[i], st_overlay_limit(overlay), &index) &&
            st_overlay_version(overlay, index, &v) && st_filter_matches(&query->filter, overlay, &v))
            ret[count++] = v;
    }
    return count;
}

static void shuffle(struct st_version *versions, size_t count, struct st_random *r)
{
    for (size_t i = count; i > 1; i--) {
        size_t j = st_random_below(r, (uint32_t)i);
        struct st_version swap = versions[i - 1];
        versions[i - 1] = versions[j];
        versions[j] = swap;
    }
}

/* Another order in each request: starts the list somewhere else, goes around, and mixes the page. So two pages of one
 * read overlap and miss records, as was seen with gross pay items. */
static size_t shuffled_page(struct st_call *call, const struct st_set *set, int64_t offset, size_t limit,
                            struct st_version *ret)
{
    if (set->total == 0 || offset >= set->total)
        return 0;
    struct st_random r = {st_mix(call->server->seed, atomic_fetch_add(&call->server->shuffles, 1))};
    if ((int64_t)limit > set->total - offset)
        limit = (size_t)(set->total - offset);
    int64_t start = (offset + (int64_t)(st_random_next(&r) % (uint64_t)set->total)) % set->total;
    size_t count = st_set_page(set, ST_BY_INDEX, true, start, limit, ret);
    if (count < limit)
        count += st_set_page(set, ST_BY_INDEX, true, 0, limit - count, ret + count);
    shuffle(ret, count, &r);
    return count;
}

struct page {
    struct st_version *versions;
    size_t count;
    int64_t total, offset, size;
};

static void select_page(struct st_call *call, const struct st_query *query, struct page *page)
{
    struct st_overlay *overlay = &call->site->overlays[call->entity];
    struct st_set set;
    st_set_init(&set, overlay, &query->filter);
    page->total = set.total;
    if (query->id_count >= 0) {
        page->total = (int64_t)page_of_ids(query, overlay, page->versions);
        page->count = page->offset == 0 ? (size_t)page->total : 0;
    } else if (call->settings.shuffle && !query->sorted) {
        page->count = shuffled_page(call, &set, page->offset, (size_t)page->size, page->versions);
    } else {
        page->count =
            st_set_page(&set, query->order, query->descending, page->offset, (size_t)page->size, page->versions);
    }
    st_set_release(&set);
}

static void write_page(struct st_call *call, const struct st_query *query, const struct page *page, struct buf *body)
{
    const struct fault *fault = &call->ticket.fault;
    bool more = page->offset + (int64_t)page->count < page->total && page->count > 0;
    buf_printf(body, "{\"page\":%lld,\"pageSize\":%lld,\"hasMore\":%s,\"totalCount\":", (long long)query->page,
               (long long)page->size, more ? "true" : "false");
    if (query->include_total)
        buf_printf(body, "%lld", (long long)(page->total + (fault->kind == FAULT_WRONG_TOTAL ? fault->delta : 0)));
    else
        buf_append_str(body, "null");
    buf_append_str(body, ",\"data\":[");
    st_write_records(call, page->versions, page->count, /*export=*/false, body);
    size_t twice = fault->kind == FAULT_DUPLICATE_ROWS ? (size_t)fault->rows : 0;
    twice = twice < page->count ? twice : page->count;
    if (twice > 0) {
        buf_append_char(body, ',');
        st_write_records(call, page->versions, twice, /*export=*/false, body);
    }
    buf_append_str(body, "]}");
}

static int64_t page_size(const struct st_call *call, const struct st_query *query)
{
    int64_t size = query->page_size;
    int64_t cap = call->settings.page_cap[call->entity];
    if (cap > 0 && size > cap)
        size = cap;
    if (call->ticket.fault.kind == FAULT_PAGE_CAP && size > call->ticket.fault.rows)
        size = call->ticket.fault.rows;
    return size;
}

void st_list_serve(struct st_call *call)
{
    struct st_query query;
    if (!st_query_read(call, /*export=*/false, &query))
        return;
    struct page page = {.size = page_size(call, &query)};
    if (query.page - 1 > INT64_MAX / ST_MAX_PAGE_SIZE)
        query.page = INT64_MAX / ST_MAX_PAGE_SIZE;
    page.offset = (query.page - 1) * page.size;
    page.versions = xcalloc((size_t)(page.size > ST_MAX_IDS ? page.size : ST_MAX_IDS), sizeof *page.versions);
    struct st_overlay *overlay = &call->site->overlays[call->entity];
    struct buf body = BUF_INIT;
    st_overlay_read_lock(overlay, call->now, call->settings.visibility_lag_ms * 10000);
    select_page(call, &query, &page);
    write_page(call, &query, &page, &body);
    st_overlay_unlock(overlay);
    free(page.versions);
    st_reply(call, 200, "application/json; charset=utf-8", &body);
    buf_release(&body);
}
