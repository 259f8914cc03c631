/* st_time.h - when the records of a generated company were created and modified, as functions of their index.
 *
 * Unit: ticks of 100 ns since 1970-01-01T00:00:00Z, the resolution that the API shows.
 *
 * createdOn is monotone in the index: history has a weight per hour (office hours, weekends, growth, seasons), the sum
 * of all weights is divided into one equal slot per record, and a record's instant lies in its slot. So an index is
 * found by bisection.
 *
 * modifiedOn: records are dealt into classes (64 at a time, in fixed shares, so that the members of a class before any
 * index are counted by a formula), and a class shifts whole blocks of the index to a later block of time. A count of a
 * window is then full blocks, plus one block to look through per class and bound; nothing ever walks over all records.
 * Classes also carry what a count must know without looking at the record: inactive, and modifiedOn null. */
#ifndef ST_LOCAL_ST_TIME_H
#define ST_LOCAL_ST_TIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ST_TICKS_PER_SECOND 10000000LL
#define ST_TICKS_PER_HOUR (3600 * ST_TICKS_PER_SECOND)
#define ST_TICKS_PER_DAY (24 * ST_TICKS_PER_HOUR)
#define ST_NO_TIME INT64_MIN /* null; also "no lower bound" */
#define ST_FOREVER INT64_MAX

enum {
    ST_HISTORY_YEARS = 5, /* when nobody says otherwise */
    ST_MAX_HISTORY_YEARS = 20,
    ST_CLASSES = 10,
    ST_CLASS_GROUP = 64, /* records (or pairs) that are dealt into classes together */
    ST_MAX_BLOCK = 256,  /* records of one block at most */
};

/* Deterministic randomness. */
uint64_t st_mix(uint64_t a, uint64_t b);
struct st_random {
    uint64_t state;
};
static inline uint64_t st_random_next(struct st_random *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
/* 0 .. n-1; n < 2^32. */
static inline uint32_t st_random_below(struct st_random *r, uint32_t n)
{
    return (uint32_t)(((st_random_next(r) >> 32) * n) >> 32);
}
static inline bool st_random_percent(struct st_random *r, uint32_t percent)
{
    return st_random_below(r, 100) < percent;
}

/* The shape of history, shared by all entities and tenants of a server. */
struct st_timeline;
struct st_timeline *st_timeline_new(int64_t end_ticks, int64_t years); /* 1 .. ST_MAX_HISTORY_YEARS, in whole weeks */
void st_timeline_free(struct st_timeline *timeline);
int64_t st_timeline_start(const struct st_timeline *timeline);
int64_t st_timeline_end(const struct st_timeline *timeline);
int64_t st_timeline_hours(const struct st_timeline *timeline);
uint64_t st_timeline_weight(const struct st_timeline *timeline);             /* of all of history */
int64_t st_timeline_at(const struct st_timeline *timeline, uint64_t weight); /* instant by which so much has passed */

struct st_class {
    int shift_hours; /* how much later than creation; ST_UNMODIFIED: modifiedOn equals createdOn */
    int share;       /* of ST_CLASS_GROUP */
    bool inactive;
    bool modified_null;
};
enum { ST_UNMODIFIED = -1 };

/* One entity of one tenant. */
struct st_series {
    const struct st_timeline *timeline;
    const struct st_class *classes; /* ST_CLASSES */
    uint64_t seed;
    int64_t count; /* records 0 .. count-1 */
    uint64_t step; /* weight of one slot */
    int64_t block; /* records of one block */
    int64_t blocks;
    int64_t shift[ST_CLASSES];    /* in blocks */
    uint8_t deal[ST_CLASS_GROUP]; /* class by slot of a group */
    int pair_shift;               /* 1: two neighbours share a class (needed for exact duplicates) */
    int duplicate_permille;
    int tie_percent;
    int tie_run;
};

struct st_series_options {
    const struct st_timeline *timeline;
    const struct st_class *classes;
    uint64_t seed;
    int64_t count;
    int duplicate_permille; /* pairs of neighbours that are exact duplicates */
    int tie_percent;
    int tie_run;
};
void st_series_init(struct st_series *series, const struct st_series_options *options);

/* The record whose content `index` has: itself, or its neighbour when it is an exact duplicate. */
int64_t st_series_original(const struct st_series *series, int64_t index);
int64_t st_series_created(const struct st_series *series, int64_t index);
int st_series_class(const struct st_series *series, int64_t index);
/* ST_NO_TIME where modifiedOn is null. */
int64_t st_series_modified(const struct st_series *series, int64_t index);
/* First index whose createdOn is not before `ticks`. */
int64_t st_series_index_at(const struct st_series *series, int64_t ticks);

struct st_span { /* [from, to) of indexes or of ticks */
    int64_t from, to;
};

/* Members of the classes in `mask` with index in `indexes` and modifiedOn in `modified`; {ST_NO_TIME, ST_FOREVER} lets
 * all through, those without modifiedOn too. null_as_created: a record without modifiedOn counts with createdOn. */
struct st_count_query {
    unsigned mask;
    struct st_span indexes;
    struct st_span modified;
    bool null_as_created;
};
int64_t st_series_count(const struct st_series *series, const struct st_count_query *query);
/* Index spans that hold all records with modifiedOn in the query's range, ascending and disjoint; at most 3 *
 * ST_CLASSES. */
size_t st_series_candidates(const struct st_series *series, const struct st_count_query *query, struct st_span *ret);
bool st_series_matches(const struct st_series *series, const struct st_count_query *query, int64_t index);

#endif
