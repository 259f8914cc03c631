/* windows.h - arithmetic of time windows: which parts of a range are left, how far the next request reaches, whether a
 * record belongs.
 *
 * Pure. A span is a stretch of time that one reader eats from its lower end, a bite (= one request) at a time, steering
 * by the density that the last bites showed; a reader without work takes over the upper half of another one's span. So
 * uneven histories need no map, empty stretches are crossed in growing steps, and memory holds one span per reader. */
#ifndef ST_SERVICETITAN_WINDOWS_H
#define ST_SERVICETITAN_WINDOWS_H

#include "servicetitan/read.h"

/* Unbounded ends as numbers, for comparisons. */
#define WINDOW_BEGINNING INT64_MIN
#define WINDOW_END INT64_MAX
/* Where a span without a lower bound starts to count time: 2000-01-01. */
#define SPAN_HISTORY_FLOOR_US 946684800000000LL

int64_t window_from(const struct st_window *window);
int64_t window_to(const struct st_window *window);
struct st_window window_of(enum st_column column, int64_t from_us, int64_t to_us);

/* The parts of `range` that no accepted window covers, in order; ret has room for accepted_count + 1. Accepted windows
 * are sorted by from_us (unbounded first) and may overlap; timeless ones are skipped. */
size_t window_gaps(const struct st_window *range, const struct st_window *accepted, size_t accepted_count,
                   struct st_window *ret);

/* Does a record with these times belong to the window? Without the column's time nobody can say: true. A record that
 * was edited about the time of the request may show a later modifiedOn than the one by which it was found. */
bool window_holds(const struct st_window *window, const struct st_record_times *times, int64_t sent_at_us);

struct span {
    int64_t from_us, to_us; /* from_us < to_us */
    bool open_from;         /* the first bite has no lower bound; from_us is a guess then */
    double per_us;          /* records expected per microsecond; < 0 = unknown: the first bite is all of it */
};

/* End of the next bite: about 80 % of a page by the density, on the coarsest of whole seconds, milliseconds,
 * microseconds. */
int64_t span_bite_end(const struct span *span, int64_t page_size);
/* What the bite [from, end) held. */
void span_learn(struct span *span, int64_t end_us, int64_t records);
/* The bite [from, end) holds more than a page: the next one is clearly shorter. */
void span_overfull(struct span *span, int64_t end_us, int64_t records, int64_t page_size);
/* Cuts the upper half off, when more than one bite is expected. */
bool span_halve(struct span *span, int64_t page_size, struct span *ret_upper);

#endif
