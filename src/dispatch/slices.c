#include "slices.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/timestamp.h"

#define SECOND_US INT64_C(1000000)
#define DAY_US INT64_C(86400000000)

/* ---- Estimates ---------------------------------------------------------------------------------------------------- */

static int64_t reads_of(const struct entity *entity)
{
    return entity->id_nullable ? 2 : 1;
}

static int64_t records_per_request(int64_t page_size)
{
    int64_t records = page_size * BACKFILL_FILL_PERCENT / 100;
    return records > 0 ? records : 1;
}

int64_t slices_requests(const struct entity *entity, int64_t records, int64_t page_size)
{
    int64_t per_request = records_per_request(page_size), requests = (records + per_request - 1) / per_request;
    return (requests > 0 ? requests : 1) * (records > 0 ? reads_of(entity) : 1);
}

int64_t slices_capacity(const struct entity *entity, int64_t page_size, int64_t rate_per_second)
{
    return rate_per_second * 60 * BACKFILL_SLICE_MINUTES * records_per_request(page_size) / reads_of(entity);
}

/* ---- The list ----------------------------------------------------------------------------------------------------- */

bool slices_append(struct slice_list *list, const struct backfill_slice *slice, struct error *err)
{
    if (list->count == BACKFILL_MAX_SLICES)
        return error_set(err, ERROR_PERMANENT, "bad_slice",
                         "the plan has more than %d slices: take longer slices, fewer entities or one tenant",
                         BACKFILL_MAX_SLICES);
    if (list->count == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 64;
        list->items = xrealloc(list->items, list->cap * sizeof list->items[0]);
    }
    list->items[list->count++] = *slice;
    return true;
}

static bool add_slice(struct slice_list *list, const struct slice_range *range, int64_t from_us, int64_t to_us,
                      int64_t records, int64_t requests, struct error *err)
{
    struct backfill_slice slice = {
        .tenant = range->tenant, .from_us = from_us, .to_us = to_us, .records = records, .requests = requests};
    snprintf(slice.entity, sizeof slice.entity, "%s", range->entity->name);
    return slices_append(list, &slice, err);
}

/* ---- Slices of one length ----------------------------------------------------------------------------------------- */

bool slices_parse(const char *text, int64_t *ret_us)
{
    static const struct {
        char unit;
        int64_t us;
    } units[] = {{'m', 60 * SECOND_US}, {'h', 3600 * SECOND_US}, {'d', DAY_US}, {'w', 7 * DAY_US}};
    enum { COUNT_MAX = 100000 };
    struct slice whole = slice_str(text);
    int64_t count;
    if (slice_eq_str(whole, "auto")) {
        *ret_us = 0;
        return true;
    }
    if (whole.len < 2 || !slice_to_int64(slice_of(whole.ptr, whole.len - 1), &count) || count < 1 || count > COUNT_MAX)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (units[i].unit == text[whole.len - 1]) {
            *ret_us = count * units[i].us;
            return true;
        }
    }
    return false;
}

static int64_t day_of(int64_t us)
{
    return (int64_t)timestamp_to_days(us) * DAY_US;
}

/* The records up to a time, if they came evenly: what slices of one length are expected to hold. */
static int64_t records_until(const struct slice_range *range, int64_t us)
{
    double share = (double)(us - range->from_us) / (double)(range->to_us - range->from_us);
    return us == range->to_us ? range->records : (int64_t)(share * (double)range->records + 0.5);
}

bool slices_fixed(struct slice_list *list, const struct slice_range *range, int64_t slice_us, int64_t page_size,
                  struct error *err)
{
    if (range->entity->id_nullable)
        slice_us = (slice_us + DAY_US - 1) / DAY_US * DAY_US;
    for (int64_t from = range->from_us, end = day_of(from); from < range->to_us; from = end) {
        while (end <= from)
            end += slice_us;
        if (end > range->to_us)
            end = range->to_us;
        int64_t records = records_until(range, end) - records_until(range, from);
        if (!add_slice(list, range, from, end, records, slices_requests(range->entity, records, page_size), err))
            return false;
    }
    return true;
}

/* ---- Slices of equal work ----------------------------------------------------------------------------------------- */

struct halving {
    struct slice_list *list;
    const struct slice_range *whole;
    int64_t capacity, page_size;
    size_t first; /* of this range in the list */
    slices_count_fn *count;
    void *user;
};

/* Neighbours that fit together become one: so does a stretch without records. */
static bool add_or_extend(struct halving *h, const struct slice_range *part, struct error *err)
{
    struct backfill_slice *last = h->list->count > h->first ? &h->list->items[h->list->count - 1] : NULL;
    if (last && last->records + part->records <= h->capacity) {
        last->to_us = part->to_us;
        last->records += part->records;
        last->requests = slices_requests(part->entity, last->records, h->page_size);
        return true;
    }
    return add_slice(h->list, part, part->from_us, part->to_us, part->records,
                     slices_requests(part->entity, part->records, h->page_size), err);
}

/* The day boundary nearest to the middle; false: none lies inside. */
static bool middle_of(const struct slice_range *part, int64_t *ret_us)
{
    int64_t middle = part->from_us + (part->to_us - part->from_us) / 2;
    int64_t below = day_of(middle), above = below + DAY_US;
    *ret_us = middle - below <= above - middle || above >= part->to_us ? below : above;
    if (*ret_us <= part->from_us)
        *ret_us = above;
    return *ret_us > part->from_us && *ret_us < part->to_us;
}

/* As deep as days can be halved: some twenty levels. */
static bool halve(struct halving *h, const struct slice_range *part, struct error *err)
{
    int64_t middle;
    if (part->records <= h->capacity || !middle_of(part, &middle))
        return add_or_extend(h, part, err);
    struct slice_range left = *part, right = *part;
    left.to_us = right.from_us = middle;
    if (!h->count(h->user, &left, &left.records, err))
        return false;
    right.records = part->records > left.records ? part->records - left.records : 0;
    return halve(h, &left, err) && halve(h, &right, err);
}

bool slices_auto(struct slice_list *list, const struct slice_range *range, int64_t capacity, int64_t page_size,
                 slices_count_fn *count, void *user, struct error *err)
{
    struct halving h = {list, range, capacity, page_size, list->count, count, user};
    return halve(&h, range, err);
}

/* ---- Order -------------------------------------------------------------------------------------------------------- */

struct place { /* a slice and where it belongs */
    size_t entity, tenant, ordinal, index;
};

static int by_place(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->entity != y->entity)
        return x->entity < y->entity ? -1 : 1;
    if (x->ordinal != y->ordinal)
        return x->ordinal < y->ordinal ? -1 : 1;
    return x->tenant < y->tenant ? -1 : x->tenant > y->tenant;
}

static size_t entity_index(const struct backfill_request *request, const char *name)
{
    size_t i = 0;
    while (i < request->entity_count && strcmp(request->entities[i]->entity->name, name) != 0)
        i++;
    return i;
}

/* The list comes range by range, of each the oldest first. */
static void find_places(const struct slice_list *list, const struct backfill_request *request, struct place *places)
{
    size_t range = 0, ordinal = 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct backfill_slice *slice = &list->items[i], *before = i > 0 ? slice - 1 : NULL;
        bool same = before && before->tenant == slice->tenant && strcmp(before->entity, slice->entity) == 0;
        range += before && !same;
        ordinal = same ? ordinal + 1 : 0;
        places[i] = (struct place){entity_index(request, slice->entity), range, ordinal, i};
    }
}

void slices_order(struct slice_list *list, const struct backfill_request *request, const char *backfill_id)
{
    struct place *places = xcalloc(list->count + 1, sizeof *places);
    struct backfill_slice *ordered = xcalloc(list->count + 1, sizeof *ordered);
    find_places(list, request, places);
    qsort(places, list->count, sizeof *places, by_place);
    for (size_t i = 0; i < list->count; i++) {
        ordered[i] = list->items[places[i].index];
        ordered[i].number = (int64_t)i + 1;
        snprintf(ordered[i].task_id, sizeof ordered[i].task_id, "bf-%s-%zu", backfill_id, i + 1);
    }
    free(places);
    free(list->items);
    list->items = ordered;
    list->cap = list->count + 1;
}
