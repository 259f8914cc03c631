/* st_set.c - see st_set.h. */
#include "st_set.h"

#include <stdlib.h>

static const struct st_series *series_of(const struct st_set *set)
{
    return &set->overlay->company->series[set->overlay->entity];
}

static bool within(struct st_span span, int64_t ticks)
{
    return ticks >= span.from && ticks < span.to;
}

static int64_t effective_modified(const struct st_filter *filter, const struct st_version *v)
{
    return v->modified == ST_NO_TIME && filter->null_as_created ? v->created : v->modified;
}

static bool bounded(struct st_span span)
{
    return span.from != ST_NO_TIME || span.to != ST_FOREVER;
}

bool st_filter_matches(const struct st_filter *filter, const struct st_overlay *overlay, const struct st_version *v)
{
    if (v->deleted && !filter->with_deleted)
        return false;
    if (filter->active != ST_ANY && v->active != (filter->active == ST_ACTIVE_ONLY))
        return false;
    if (filter->linked &&
        st_link(v->index, overlay->company->count[overlay->entity], filter->link_count) != filter->link_target)
        return false;
    if (!within(filter->created, v->created))
        return false;
    int64_t modified = effective_modified(filter, v);
    return !bounded(filter->modified) || (modified != ST_NO_TIME && within(filter->modified, modified));
}

/* ---- Set-up ------------------------------------------------------------------------------------------------------ */

static void make_query(struct st_set *set)
{
    const struct st_series *series = series_of(set);
    const struct st_filter *f = &set->filter;
    set->query = (struct st_count_query){
        .indexes = {st_series_index_at(series, f->created.from),
                    f->created.to == ST_FOREVER ? series->count : st_series_index_at(series, f->created.to)},
        .modified = f->modified,
        .null_as_created = f->null_as_created,
    };
    for (unsigned class = 0; class < ST_CLASSES; class ++)
        if (f->active == ST_ANY || series->classes[class].inactive == (f->active == ST_INACTIVE_ONLY))
            set->query.mask |= 1u << class;
    if (f->linked) {
        struct st_span span = st_link_back(f->link_target, series->count, f->link_count);
        set->query.indexes.from = span.from > set->query.indexes.from ? span.from : set->query.indexes.from;
        set->query.indexes.to = span.to < set->query.indexes.to ? span.to : set->query.indexes.to;
    }
}

static void split_edits(struct st_set *set)
{
    const struct st_series *series = series_of(set);
    size_t edits = st_overlay_count(set->overlay);
    if (edits == 0)
        return;
    set->hidden = xcalloc(edits, sizeof *set->hidden);
    set->added = xcalloc(edits, sizeof *set->added);
    for (size_t i = 0; i < edits; i++) {
        const struct st_version *v = st_overlay_nth(set->overlay, i);
        if (v == NULL)
            continue;
        if (v->index < series->count && st_series_matches(series, &set->query, v->index))
            st_company_version(set->overlay->company, set->overlay->entity, v->index,
                               &set->hidden[set->hidden_count++]);
        if (st_filter_matches(&set->filter, set->overlay, v))
            set->added[set->added_count++] = v;
    }
}

void st_set_init(struct st_set *set, const struct st_overlay *overlay, const struct st_filter *filter)
{
    *set = (struct st_set){.overlay = overlay, .filter = *filter};
    make_query(set);
    split_edits(set);
    set->total = st_series_count(series_of(set), &set->query) - (int64_t)set->hidden_count + (int64_t)set->added_count;
}

void st_set_release(struct st_set *set)
{
    free(set->hidden);
    free(set->added);
}

/* ---- By index ---------------------------------------------------------------------------------------------------- */

static size_t hidden_before(const struct st_set *set, int64_t index)
{
    size_t low = 0, high = set->hidden_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (set->hidden[middle].index < index)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static size_t added_before(const struct st_set *set, int64_t index)
{
    size_t low = 0, high = set->added_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (set->added[middle]->index < index)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int64_t before_index(const struct st_set *set, int64_t index)
{
    struct st_count_query query = set->query;
    if (query.indexes.to > index)
        query.indexes.to = index;
    return st_series_count(series_of(set), &query) - (int64_t)hidden_before(set, index) +
           (int64_t)added_before(set, index);
}

/* Index of the n-th record, ascending from 0. */
static int64_t nth_index(const struct st_set *set, int64_t n)
{
    if (n == 0)
        return 0;
    int64_t low = 0, high = st_overlay_limit(set->overlay);
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (before_index(set, middle + 1) > n)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Walks the generated records of a set that no edit covers, in ascending order from an index. */
struct walk {
    const struct st_set *set;
    struct st_count_query query;
    struct st_span spans[3 * ST_CLASSES];
    size_t span_count, span;
    int64_t at;
};

static void walk_init(struct walk *walk, const struct st_set *set, const struct st_count_query *query)
{
    *walk = (struct walk){.set = set, .query = *query};
    walk->span_count = st_series_candidates(series_of(set), query, walk->spans);
    walk->at = walk->span_count ? walk->spans[0].from : 0;
}

/* -1 at the end. */
static int64_t walk_next(struct walk *walk)
{
    while (walk->span < walk->span_count) {
        for (; walk->at < walk->spans[walk->span].to; walk->at++)
            if (st_series_matches(series_of(walk->set), &walk->query, walk->at) &&
                st_overlay_find(walk->set->overlay, walk->at) == NULL)
                return walk->at++;
        if (++walk->span < walk->span_count)
            walk->at = walk->spans[walk->span].from;
    }
    return -1;
}

static size_t page_by_index(const struct st_set *set, int64_t offset, size_t limit, struct st_version *ret)
{
    struct st_count_query query = set->query;
    int64_t start = nth_index(set, offset);
    query.indexes.from = start > query.indexes.from ? start : query.indexes.from;
    struct walk walk;
    walk_init(&walk, set, &query);
    size_t added = added_before(set, start), count = 0;
    int64_t next = walk_next(&walk);
    while (count < limit && (next >= 0 || added < set->added_count)) {
        if (added < set->added_count && (next < 0 || set->added[added]->index < next)) {
            ret[count++] = *set->added[added++];
        } else {
            st_company_version(set->overlay->company, set->overlay->entity, next, &ret[count++]);
            next = count < limit ? walk_next(&walk) : -1;
        }
    }
    return count;
}

/* ---- By modifiedOn ----------------------------------------------------------------------------------------------- */

/* The set as ordered by modifiedOn: what has none stands at its createdOn. */
static void dated(const struct st_set *set, struct st_set *ret)
{
    *ret = *set;
    if (!bounded(set->filter.modified))
        ret->filter.null_as_created = ret->query.null_as_created = true;
}

static int64_t before_modified(const struct st_set *set, int64_t ticks)
{
    struct st_count_query query = set->query;
    if (ticks <= query.modified.from)
        return 0;
    if (ticks >= query.modified.to)
        return set->total;
    query.modified.to = ticks;
    int64_t count = st_series_count(series_of(set), &query);
    for (size_t i = 0; i < set->hidden_count; i++)
        count -= effective_modified(&set->filter, &set->hidden[i]) < ticks;
    for (size_t i = 0; i < set->added_count; i++)
        count += effective_modified(&set->filter, set->added[i]) < ticks;
    return count;
}

/* All of the set with modifiedOn in the span, unordered. The caller frees. */
static struct st_version *gather(const struct st_set *set, struct st_span span, size_t *ret_count)
{
    struct st_count_query query = set->query;
    query.modified.from = span.from > query.modified.from ? span.from : query.modified.from;
    query.modified.to = span.to < query.modified.to ? span.to : query.modified.to;
    size_t room = (size_t)(before_modified(set, query.modified.to) - before_modified(set, query.modified.from));
    struct st_version *all = xcalloc(room + 1, sizeof *all);
    size_t count = 0;
    struct walk walk;
    walk_init(&walk, set, &query);
    for (int64_t i = walk_next(&walk); i >= 0; i = walk_next(&walk)) {
        BUG_ON(count == room);
        st_company_version(set->overlay->company, set->overlay->entity, i, &all[count++]);
    }
    for (size_t i = 0; i < set->added_count; i++)
        if (within(query.modified, effective_modified(&set->filter, set->added[i]))) {
            BUG_ON(count == room);
            all[count++] = *set->added[i];
        }
    *ret_count = count;
    return all;
}

static int by_modified(const void *a, const void *b, void *filter)
{
    const struct st_version *x = a, *y = b;
    int64_t s = effective_modified(filter, x), t = effective_modified(filter, y);
    if (s != t)
        return s < t ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

/* Latest instant before which at most `n` stand. */
static int64_t instant_of(const struct st_set *set, int64_t n)
{
    int64_t low = st_timeline_start(series_of(set)->timeline) - 1;
    int64_t high = ST_FOREVER / 2;
    while (low < high) {
        int64_t middle = low + (high - low + 1) / 2;
        if (before_modified(set, middle) <= n)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static size_t page_by_modified(const struct st_set *original, int64_t offset, size_t limit, struct st_version *ret)
{
    struct st_set set;
    dated(original, &set);
    int64_t last = offset + (int64_t)limit < set.total ? offset + (int64_t)limit : set.total;
    if (offset >= last)
        return 0;
    int64_t from = instant_of(&set, offset);
    int64_t to = instant_of(&set, last - 1) + 1;
    size_t count;
    struct st_version *all = gather(&set, (struct st_span){from, to}, &count);
    qsort_r(all, count, sizeof *all, by_modified, &set.filter);
    size_t skip = (size_t)(offset - before_modified(&set, from));
    size_t taken = (size_t)(last - offset);
    BUG_ON(skip + taken > count);
    memcpy(ret, all + skip, taken * sizeof *ret);
    free(all);
    return taken;
}

int64_t st_set_up_to(const struct st_set *original, int64_t modified, int64_t index)
{
    struct st_set set;
    dated(original, &set);
    int64_t place = before_modified(&set, modified);
    size_t count;
    struct st_version *tied = gather(&set, (struct st_span){modified, modified + 1}, &count);
    for (size_t i = 0; i < count; i++)
        place += tied[i].index <= index;
    free(tied);
    return place;
}

/* ---- Pages ------------------------------------------------------------------------------------------------------- */

static void reverse(struct st_version *versions, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        struct st_version swap = versions[i];
        versions[i] = versions[count - 1 - i];
        versions[count - 1 - i] = swap;
    }
}

size_t st_set_page(const struct st_set *set, enum st_order order, bool descending, int64_t offset, size_t limit,
                   struct st_version *ret)
{
    if (offset >= set->total || limit == 0)
        return 0;
    if ((int64_t)limit > set->total - offset)
        limit = (size_t)(set->total - offset);
    int64_t from = descending ? set->total - offset - (int64_t)limit : offset;
    size_t count =
        order == ST_BY_INDEX ? page_by_index(set, from, limit, ret) : page_by_modified(set, from, limit, ret);
    if (descending)
        reverse(ret, count);
    return count;
}
