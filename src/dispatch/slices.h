/* slices.h - how a range becomes slices: the pure part of planning a backfill. */
#ifndef ST_DISPATCH_PRIVATE_SLICES_H
#define ST_DISPATCH_PRIVATE_SLICES_H

#include "dispatch/backfill.h"

struct slice_list {
    struct backfill_slice *items; /* owned; free with free() */
    size_t count, cap;
};

struct slice_range { /* one entity of one tenant */
    const struct entity *entity;
    int64_t tenant, from_us, to_us, records;
};

/* How many requests so many records are expected to take, at least one: pages are BACKFILL_FILL_PERCENT full, and rows without identity
 * make the run read their days twice. */
int64_t slices_requests(const struct entity *entity, int64_t records, int64_t page_size);
/* How many records BACKFILL_SLICE_MINUTES of work hold. */
int64_t slices_capacity(const struct entity *entity, int64_t page_size, int64_t rate_per_second);

/* "30d", "12h", "90m", "2w", "auto" (0). */
bool slices_parse(const char *text, int64_t *ret_us);
/* Slices of one length, counted from the beginning of the range's first day; its records are taken to come evenly. Entities whose rows live in groups by day get whole days. */
bool slices_fixed(struct slice_list *list, const struct slice_range *range, int64_t slice_us, int64_t page_size,
                  struct error *err) MUST_CHECK;
/* Slices of at most `capacity` records that begin and end on days, as few as the halving of ranges gives; a day is never split. count tells
 * the records of a part. */
typedef bool slices_count_fn(void *user, const struct slice_range *range, int64_t *ret, struct error *err);
bool slices_auto(struct slice_list *list, const struct slice_range *range, int64_t capacity, int64_t page_size,
                 slices_count_fn *count, void *user, struct error *err) MUST_CHECK;
/* One more; an error beyond BACKFILL_MAX_SLICES. */
bool slices_append(struct slice_list *list, const struct backfill_slice *slice, struct error *err) MUST_CHECK;
/* The order of publishing: entity by entity, of each the oldest first, tenants in turn, so that the rates of all are used. Numbers them. */
void slices_order(struct slice_list *list, const struct backfill_request *request, const char *backfill_id);

#endif
