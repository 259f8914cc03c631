/* reconcile.h - what a comparison of source and warehouse asks the warehouse (the comparison itself: worker/reconcile.h).
 *
 * The source's side are rows that the comparison staged, under a run of its own that is never announced. */
#ifndef ST_BIGQUERY_RECONCILE_H
#define ST_BIGQUERY_RECONCILE_H

#include "bigquery/warehouse.h"

enum reconcile_axis { RECONCILE_CREATED, RECONCILE_MODIFIED };

/* Live rows of one hour of one axis, in order of axis and hour. */
struct reconcile_hour {
    enum reconcile_axis axis;
    int64_t from_us, rows;
};

struct reconcile_range { /* [from, to) */
    int64_t from_us, to_us;
};

/* What is compared, and what was staged for it. */
struct reconcile_scope {
    const struct entity *entity;
    int64_t tenant;
    const char *run_id;             /* of the staged rows */
    int64_t staged_since_us;        /* no row of the run is older, by BigQuery's clock */
    struct reconcile_range created; /* rows created outside are none of this comparison */
    int64_t complete_until_us;      /* versions from here on are not compared: the warehouse need not have them yet */
    const int64_t *fetches;         /* accepted ones */
    size_t fetch_count;
    const struct reconcile_range *created_read, *modified_read; /* what was read whole, by axis */
    size_t created_read_count, modified_read_count;
    const char *time_zone; /* of days, IANA */
};

enum reconcile_kind {
    RECONCILE_MISSING, /* at the source only (or deleted in the warehouse) */
    RECONCILE_EXTRA,   /* in the warehouse only */
    RECONCILE_STALE,   /* the source has a newer version */
    RECONCILE_VALUE,   /* the same version, other values */
    RECONCILE_KINDS,
};
const char *reconcile_kind_name(enum reconcile_kind kind); /* "missing", ... */

struct reconcile_difference {
    enum reconcile_kind kind;
    int64_t id, created_us, source_us, warehouse_us; /* versions; INT64_MIN = none */
    char columns[256];                               /* VALUE: the columns that differ, cut at the end */
};
enum { RECONCILE_MAX_DIFFERENCES = 10000 }; /* listed; the counts go on */

struct reconcile_findings {
    int64_t counts[RECONCILE_KINDS];
    struct reconcile_difference *items; /* by creation time */
    size_t count;
};
void reconcile_findings_release(struct reconcile_findings *findings);

struct reconcile_sum { /* a day whose sums differ */
    char column[129], day[11], source[64], warehouse[64];
};
enum { RECONCILE_MAX_SUMS = 1000 };

/* Hours of the created axis within scope->created, and of the modified axis from its beginning to complete_until_us,
 * there without the rows whose keys are staged (they have changed since). *ret: free with free(). */
bool warehouse_reconcile_hours(struct warehouse *w, const struct reconcile_scope *scope, struct reconcile_hour **ret,
                               size_t *ret_count, struct cancel *cancel, struct error *err) MUST_CHECK;
/* Creation times (distinct, sorted, at most `max` and one more) of rows that stand in a range read on the modified axis
 * and were not among what was read: moved since, or not there any more. *ret: free with free(). */
bool warehouse_reconcile_absent(struct warehouse *w, const struct reconcile_scope *scope, size_t max, int64_t **ret,
                                size_t *ret_count, struct cancel *cancel, struct error *err) MUST_CHECK;
/* The differences. `values`: compares all values of rows of the same version, too. */
bool warehouse_reconcile_compare(struct warehouse *w, const struct reconcile_scope *scope, bool values,
                                 struct reconcile_findings *ret, struct cancel *cancel, struct error *err) MUST_CHECK;
/* Days of creation (in the scope's zone) whose sum of a NUMERIC column differs; at most RECONCILE_MAX_SUMS. *ret: free
 * with free(). */
bool warehouse_reconcile_sums(struct warehouse *w, const struct reconcile_scope *scope, struct reconcile_sum **ret,
                              size_t *ret_count, struct cancel *cancel, struct error *err) MUST_CHECK;
/* The texts, for the analyzer test. */
void reconcile_each_sql(const struct warehouse_names *names, const struct entity *entity,
                        void (*fn)(void *user, const char *name, const char *sql), void *user);

#endif
