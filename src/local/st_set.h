/* st_set.h - the records that a query selects: how many, and which stand at a place of an order.
 *
 * Generated records are counted by formula (st_time.h); edited ones are taken out of that and counted by their newest
 * version. Memory and time grow with the edits and the page, not with the company. Valid while the overlay's read lock
 * is held. */
#ifndef ST_LOCAL_ST_SET_H
#define ST_LOCAL_ST_SET_H

#include "st_overlay.h"

enum st_active { ST_ANY = -1, ST_INACTIVE_ONLY = 0, ST_ACTIVE_ONLY = 1 };

struct st_filter {
    struct st_span created;  /* ticks; {ST_NO_TIME, ST_FOREVER} = all */
    struct st_span modified; /* the same; a bound leaves out what has no modifiedOn */
    enum st_active active;
    bool null_as_created; /* a missing modifiedOn is taken to be createdOn */
    bool with_deleted;
    bool linked; /* only records that st_link sends to link_target */
    int64_t link_target, link_count;
};
#define ST_FILTER_ALL                                                                                                  \
    ((struct st_filter){{ST_NO_TIME, ST_FOREVER}, {ST_NO_TIME, ST_FOREVER}, ST_ANY, false, false, false, 0, 0})

enum st_order { ST_BY_INDEX, ST_BY_MODIFIED };

struct st_set {
    const struct st_overlay *overlay;
    struct st_filter filter;
    struct st_count_query query; /* the filter, for generated records */
    struct st_version *hidden;   /* generated state of edited records that would match; by index */
    size_t hidden_count;
    const struct st_version **added; /* edited versions that match; by index */
    size_t added_count;
    int64_t total;
};

void st_set_init(struct st_set *set, const struct st_overlay *overlay, const struct st_filter *filter);
void st_set_release(struct st_set *set);
bool st_filter_matches(const struct st_filter *filter, const struct st_overlay *overlay,
                       const struct st_version *version);

/* Records number offset .. offset+limit-1 of the order (index: as created; modified: then index), into `ret`, which has
 * room for limit. Descending is exactly the reverse. Returns how many. */
size_t st_set_page(const struct st_set *set, enum st_order order, bool descending, int64_t offset, size_t limit,
                   struct st_version *ret);
/* How many stand before (modified, index) in ascending order by modified, itself included. */
int64_t st_set_up_to(const struct st_set *set, int64_t modified, int64_t index);

#endif
