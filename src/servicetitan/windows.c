#include "windows.h"

#define FILL 0.8       /* of a page: room for growth and for uneven density */
#define BITE_SLACK 0.1 /* so that a rest of a little more than FILL is one bite and not two halves */
#define OVERFULL_LEAST 1.25
/* The density falls by this factor at most from bite to bite: empty years are crossed in a few requests, with few
 * overfull ones after. */
#define MAX_GROWTH 8.0
#define MAX_EMPTY_GROWTH 64.0 /* after a bite that held nothing */

/* An edit may come between the server's search and its reply. When the server's clock is known by slow replies only, so is
 * the moment of sending: the tolerance is as long as a request may take. */
enum { EDIT_TOLERANCE_US = 120 * 1000 * 1000 };

int64_t window_from(const struct st_window *window)
{
    return window->has_from ? window->from_us : WINDOW_BEGINNING;
}

int64_t window_to(const struct st_window *window)
{
    return window->has_to ? window->to_us : WINDOW_END;
}

struct st_window window_of(enum st_column column, int64_t from_us, int64_t to_us)
{
    bool has_from = from_us != WINDOW_BEGINNING, has_to = to_us != WINDOW_END;
    return (struct st_window){
        .column = column,
        .has_from = has_from,
        .has_to = has_to,
        .from_us = has_from ? from_us : 0,
        .to_us = has_to ? to_us : 0,
    };
}

size_t window_gaps(const struct st_window *range, const struct st_window *accepted, size_t accepted_count,
                   struct st_window *ret)
{
    size_t count = 0;
    int64_t at_us = window_from(range), end_us = window_to(range);
    for (size_t i = 0; i < accepted_count && at_us < end_us; i++) {
        int64_t from_us = window_from(&accepted[i]), to_us = window_to(&accepted[i]);
        if (accepted[i].timeless || to_us <= at_us)
            continue;
        if (from_us > at_us)
            ret[count++] = window_of(range->column, at_us, from_us < end_us ? from_us : end_us);
        at_us = to_us;
    }
    if (at_us < end_us)
        ret[count++] = window_of(range->column, at_us, end_us);
    return count;
}

bool window_holds(const struct st_window *window, const struct st_record_times *times, int64_t sent_at_us)
{
    bool by_creation = window->column == ST_CREATED_ON;
    if (!(by_creation ? times->has_created : times->has_modified))
        return true;
    int64_t us = by_creation ? times->created_us : times->modified_us;
    if (us < window_from(window))
        return false;
    return us < window_to(window) || window_to(window) == WINDOW_END ||
           (!by_creation && us >= sent_at_us - EDIT_TOLERANCE_US);
}

/* The latest moment on a coarse grid in (from, end]; the grid is what endpoints surely understand, whole seconds first.
 */
static int64_t on_grid(int64_t from_us, int64_t end_us)
{
    static const int64_t grids_us[] = {1000000, 1000};
    for (size_t i = 0; i < sizeof grids_us / sizeof grids_us[0]; i++) {
        int64_t rest = end_us % grids_us[i];
        int64_t cut = end_us - (rest < 0 ? rest + grids_us[i] : rest);
        if (cut > from_us)
            return cut;
    }
    return end_us > from_us ? end_us : from_us + 1;
}

/* In how many equal bites the span is best eaten: equal ones, so that no sliver is left at the end. */
static int64_t bites_of(const struct span *span, int64_t page_size)
{
    double expected = span->per_us * (double)(span->to_us - span->from_us);
    double bites = expected / (FILL * (double)page_size) - BITE_SLACK;
    return bites <= 1 ? 1 : (int64_t)bites + 1;
}

/* The end of the first n of `bites` equal bites; not the span's own end unless there is no time between. */
static int64_t cut_after(const struct span *span, int64_t n, int64_t bites)
{
    double share = (double)n / (double)bites;
    return on_grid(span->from_us, span->from_us + (int64_t)((double)(span->to_us - span->from_us) * share));
}

int64_t span_bite_end(const struct span *span, int64_t page_size)
{
    int64_t bites = bites_of(span, page_size);
    return bites == 1 ? span->to_us : cut_after(span, 1, bites);
}

void span_learn(struct span *span, int64_t end_us, int64_t records)
{
    double seen = (double)records / (double)(end_us - span->from_us);
    double least = span->per_us / (records == 0 ? MAX_EMPTY_GROWTH : MAX_GROWTH);
    span->per_us = seen > least ? seen : least;
}

void span_overfull(struct span *span, int64_t end_us, int64_t records, int64_t page_size)
{
    double least = OVERFULL_LEAST * (double)page_size;
    double count = (double)records > least ? (double)records : least;
    span->per_us = count / (double)(end_us - span->from_us);
}

bool span_halve(struct span *span, int64_t page_size, struct span *ret_upper)
{
    int64_t bites = bites_of(span, page_size);
    if (span->to_us - span->from_us < 2 || bites < 2)
        return false;
    int64_t middle_us = cut_after(span, bites / 2, bites); /* between two bites, so that sharing costs no request */
    *ret_upper = *span;
    ret_upper->from_us = middle_us;
    ret_upper->open_from = false;
    span->to_us = middle_us;
    return true;
}
