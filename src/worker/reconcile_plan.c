#include "reconcile_plan.h"

#include <stdlib.h>

#define HOUR_US INT64_C(3600000000)
#define DAY_US (24 * HOUR_US)

void plan_append(struct plan_list *list, const struct plan_window *window)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 32;
        list->items = xrealloc(list->items, list->capacity * sizeof list->items[0]);
    }
    list->items[list->count++] = *window;
}

static int64_t rows_of(const struct reconcile_hour *hours, size_t count)
{
    int64_t rows = 0;
    for (size_t i = 0; i < count; i++)
        rows += hours[i].rows;
    return rows;
}

/* How many hours, from the first on, hold about `wanted` rows; at least one. */
static size_t hours_for(const struct reconcile_hour *hours, size_t count, int64_t wanted)
{
    int64_t rows = hours[0].rows;
    size_t n = 1;
    while (n < count && rows + hours[n].rows / 2 < wanted)
        rows += hours[n++].rows;
    return n;
}

/* The first of the cuts before the end that lies behind `us`; the end itself, when none does. */
static int64_t next_recent_cut(int64_t us, int64_t end_us)
{
    for (int i = PLAN_RECENT_CUTS - 1; i >= 0; i--)
        if (end_us - (DAY_US << i) > us)
            return end_us - (DAY_US << i);
    return end_us;
}

/* As many of these hours as lie before the next recent cut; at least one. */
static size_t up_to_cut(const struct reconcile_hour *hours, size_t count, int64_t end_us)
{
    int64_t cut_us = next_recent_cut(hours[0].from_us, end_us);
    size_t n = 1;
    while (n < count && hours[n].from_us < cut_us)
        n++;
    return n;
}

void plan_windows(struct plan_list *list, enum reconcile_axis axis, bool has_from, int64_t from_us, int64_t to_us,
                  const struct reconcile_hour *hours, size_t count, int64_t least)
{
    bool is_modified = axis == RECONCILE_MODIFIED;
    int64_t wanted = rows_of(hours, count) / (is_modified ? PLAN_MODIFIED_WINDOWS : PLAN_CREATED_WINDOWS) + 1;
    size_t at = 0;
    wanted = wanted > least ? wanted : least;
    do {
        size_t most = count == 0 ? 0 : is_modified ? up_to_cut(hours + at, count - at, to_us) : count - at;
        size_t n = count == 0 ? 0 : hours_for(hours + at, most, wanted);
        bool is_first = at == 0, is_last = at + n >= count;
        const struct plan_window window = {
            .axis = axis,
            .has_from = has_from || !is_first,
            .from_us = is_first ? from_us : hours[at].from_us,
            .to_us = is_last ? to_us : hours[at + n].from_us,
            .hours = hours + at,
            .hour_count = n,
            .warehouse = rows_of(hours + at, n),
            .source = -1,
        };
        plan_append(list, &window);
        at += n;
    } while (at < count);
}

bool plan_differs(const struct plan_window *window)
{
    return window->source >= 0 && window->source != window->warehouse;
}

bool plan_reads_all(const struct plan_list *list)
{
    size_t differing = 0;
    for (size_t i = 0; i < list->count; i++)
        differing += plan_differs(&list->items[i]);
    return differing > 1 && differing * PLAN_READ_ALL_SHARE > list->count;
}

bool plan_halve(const struct plan_window *window, int64_t page, struct plan_window *ret_lower,
                struct plan_window *ret_upper)
{
    int64_t larger = window->source > window->warehouse ? window->source : window->warehouse;
    if (window->hour_count < 2 || larger <= page)
        return false;
    size_t n = hours_for(window->hours, window->hour_count - 1, window->warehouse / 2);
    *ret_lower = *ret_upper = *window;
    ret_lower->hour_count = n;
    ret_lower->warehouse = rows_of(window->hours, n);
    ret_lower->to_us = window->hours[n].from_us;
    ret_upper->has_from = true;
    ret_upper->from_us = ret_lower->to_us;
    ret_upper->hours = window->hours + n;
    ret_upper->hour_count = window->hour_count - n;
    ret_upper->warehouse = window->warehouse - ret_lower->warehouse;
    ret_lower->source = ret_upper->source = -1;
    return true;
}

/* ---- Explaining -------------------------------------------------------------------------------------------------- */

static bool is_inside(const struct plan_window *window, int64_t us)
{
    return us != INT64_MIN && us < window->to_us && (!window->has_from || us >= window->from_us);
}

/* What one difference adds to (source - warehouse) of the window. */
static int64_t share_of(const struct plan_window *window, const struct reconcile_difference *d)
{
    bool at_source = d->kind != RECONCILE_EXTRA, in_warehouse = d->kind != RECONCILE_MISSING;
    int64_t source_us = window->axis == RECONCILE_CREATED ? d->created_us : d->source_us;
    int64_t warehouse_us = window->axis == RECONCILE_CREATED ? d->created_us : d->warehouse_us;
    return (int64_t)(at_source && is_inside(window, source_us)) -
           (int64_t)(in_warehouse && is_inside(window, warehouse_us));
}

int64_t plan_unexplained(const struct plan_window *window, const struct reconcile_findings *findings)
{
    int64_t left = window->source - window->warehouse;
    for (size_t i = 0; i < findings->count; i++)
        left -= share_of(window, &findings->items[i]);
    return left;
}

/* ---- Repairs ----------------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static int64_t hour_of(int64_t us)
{
    int64_t rest = us % HOUR_US;
    return us - (rest < 0 ? rest + HOUR_US : rest);
}

size_t plan_repairs(const struct reconcile_findings *findings, struct reconcile_range **ret)
{
    int64_t *hours = xcalloc(findings->count + 1, sizeof *hours);
    size_t hour_count = 0, count = 0;
    for (size_t i = 0; i < findings->count; i++)
        if (findings->items[i].created_us != INT64_MIN)
            hours[hour_count++] = hour_of(findings->items[i].created_us);
    qsort(hours, hour_count, sizeof hours[0], by_value);
    *ret = xcalloc(hour_count + 1, sizeof **ret);
    for (size_t i = 0; i < hour_count; i++) {
        if (count > 0 && hours[i] <= (*ret)[count - 1].to_us)
            (*ret)[count - 1].to_us = hours[i] + HOUR_US;
        else
            (*ret)[count++] = (struct reconcile_range){hours[i], hours[i] + HOUR_US};
    }
    free(hours);
    return count;
}
