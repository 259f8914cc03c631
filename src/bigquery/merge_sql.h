/* merge_sql.h - what the texts of a change share: merge_sql.c, find_sql.c, split_sql.c. */
#ifndef ST_BIGQUERY_PRIVATE_MERGE_SQL_H
#define ST_BIGQUERY_PRIVATE_MERGE_SQL_H

#include "bigquery/warehouse.h"

/* Partitions that a text lists one by one: as many as a table may have in BigQuery. A literal takes 19 bytes and a text
 * holds at most four lists, which stays below BigQuery's 1 MB for a text. */
enum { MERGE_MAX_LISTED = 10000 };

/* What one change merges. */
struct merge_scope {
    const struct warehouse_names *names; /* borrowed, all of them */
    const struct entity *entity;
    const char *const *partitions; /* "YYYY-MM-DD": all that hold a staged key, or a row of a staged group */
    size_t partition_count;
    int64_t staged_min_us, staged_max_us;
    const char *part_from, *part_until; /* of a partial change: the part keys, from inclusive, until exclusive (see
                                           split_sql.c); NULL = all rows */
};

/* A row's version, by which newer wins. */
#define VERSION(alias) "COALESCE(" alias ".`modifiedOn`, " alias ".`createdOn`, TIMESTAMP '0001-01-01 00:00:00+00:00')"

/* Does the source row S change the target row T of its key? */
#define MERGE_CHANGES(S, T)                                                                                            \
    "(\n  " VERSION(S) " > " VERSION(T) "\n"                                                                           \
                                        "  OR (" VERSION(S) " = " VERSION(                                             \
                                            T) " AND " S "._row_hash != COALESCE(" T "._row_hash, '')\n"               \
                                               "    AND " S "._fetched_at > " T "._fetched_at)\n"                      \
                                               "  OR (NOT " S "._deleted AND " S "._fetched_at > " T "._deleted_at)\n" \
                                               "  OR (" S "._deleted AND " T "._deleted_at IS NULL AND " S             \
                                               "._fetched_at > " T "._fetched_at)\n"                                   \
                                               ")"

/* Constant condition on the target's partitions; the NULL one is always among them. */
void merge_put_partitions(struct buf *out, const char *alias, const char *const *partitions, size_t count);
/* The columns of the source, from a table that has them all; ends with a comma. */
void merge_put_source_columns(struct buf *out, const struct entity *entity, const char *alias);
/* The query for all rows that the change has to look at, one per key; the part does not matter. */
void merge_put_source(struct buf *out, const struct merge_scope *scope);
void merge_scope_sql(struct buf *out, const struct merge_scope *scope);

/* The source of a partial change. */
void split_put_part_source(struct buf *out, const struct merge_scope *scope);
/* Can a row of this part stand in that partition of the target? */
bool split_part_may_hold(const struct merge_scope *scope, const char *partition);
/* The question where a change that is too wide has to be cut so that a job changes at most max_days partitions: one row
 * (part_from, part_until); part_until is NULL when it need not be cut. */
void split_sql(struct buf *out, const struct merge_scope *scope, size_t max_days);

#endif
