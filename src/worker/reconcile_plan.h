/* reconcile_plan.h - which windows a comparison counts, and how it halves those that differ: the pure part. */
#ifndef ST_WORKER_PRIVATE_RECONCILE_PLAN_H
#define ST_WORKER_PRIVATE_RECONCILE_PLAN_H

#include "bigquery/reconcile.h"

/* A window of one axis. It begins and ends on hours, apart from the outer ends, and knows its hours. */
struct plan_window {
    enum reconcile_axis axis;
    bool has_from;                      /* false: from the beginning */
    int64_t from_us, to_us;             /* to exclusive */
    const struct reconcile_hour *hours; /* within the list that the plan was made from */
    size_t hour_count;
    int64_t warehouse, source; /* live rows; records, -1 = not counted yet */
};
struct plan_list {
    struct plan_window *items; /* owned; free with free() */
    size_t count, capacity;
};

/* At most so many windows of equal weight: what an untouched entity costs is about that many requests, however large it
 * is. On the modified axis a stale row shows when a border lies between its old and its new time, so there are more, and
 * the last weeks are cut finer: at 1, 2, 4, ... days before the end. */
enum { PLAN_CREATED_WINDOWS = 24, PLAN_MODIFIED_WINDOWS = 96, PLAN_RECENT_CUTS = 6 };
/* Above this share of differing windows (1 / PLAN_READ_ALL_SHARE) differences are so many that some of them may hide each
 * other (one missing, one extra in a window): everything is read. */
enum { PLAN_READ_ALL_SHARE = 4 };

/* Windows of [from, to) on one axis, of about equal weight and at least `least` rows; one where there are no rows. `hours`
 * are those of this axis, in order. */
void plan_windows(struct plan_list *list, enum reconcile_axis axis, bool has_from, int64_t from_us, int64_t to_us,
                  const struct reconcile_hour *hours, size_t count, int64_t least);
void plan_append(struct plan_list *list, const struct plan_window *window);
bool plan_differs(const struct plan_window *window);
/* Is it cheaper to read all of the created axis than to look further into the windows that differ? */
bool plan_reads_all(const struct plan_list *list);
/* Cuts a window into two of about equal weight, where it has more than one hour and either side more than `page`. The
 * source's count of the lower half has to be asked for, that of the upper one follows. */
bool plan_halve(const struct plan_window *window, int64_t page, struct plan_window *ret_lower,
                struct plan_window *ret_upper);

/* The difference of a window's counts that the findings do not explain: where it is not 0, two differences hid each other
 * in this count, and one of them was found elsewhere. */
int64_t plan_unexplained(const struct plan_window *window, const struct reconcile_findings *findings);

/* The ranges (sorted by from) that a repair has to read again: the hour of creation of each difference, adjacent ones as
 * one. Differences without a creation time are left out. *ret: free with free(). */
size_t plan_repairs(const struct reconcile_findings *findings, struct reconcile_range **ret);

#endif
