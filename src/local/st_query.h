/* st_query.h - the query string of a list or export request, as the API reads it: names in any case, unknown names
 * ignored. */
#ifndef ST_LOCAL_ST_QUERY_H
#define ST_LOCAL_ST_QUERY_H

#include "st_set.h"
#include "st_state.h"

enum { ST_MAX_IDS = 50 };

struct st_query {
    struct st_filter filter;
    int64_t page, page_size;
    bool include_total;
    bool include_recent;
    const char *from; /* exports; borrowed from the exchange */
    bool sorted, descending;
    enum st_order order;
    int64_t ids[ST_MAX_IDS];
    int id_count; /* -1: no ids filter */
};

/* False: an answer was sent (400 for bad values, 501 for documented filters that are not simulated). */
bool st_query_read(struct st_call *call, bool export, struct st_query *ret);
/* RFC 3339 to ticks, rounded up to the next tick; false when it is no time. */
bool st_parse_ticks(const char *text, int64_t *ret);

#endif
