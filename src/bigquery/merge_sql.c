/* merge_sql.c - the text of a change: the MERGE (design 7). What it has to merge, and where, find_sql.c asks; a change
 * of too many partitions is cut into parts by split_sql.c.
 *
 * BigQuery prunes the target by constants only and allows no correlated subquery in a MERGE's clauses: partitions and
 * stage bounds are literals, and everything that has to be looked up is looked up inside the source. The runs are the
 * parameter @runs; @stage_runs are those under whose ids their rows stand in the stage: a run that resumed an earlier
 * attempt announces the attempt's rows as its own, and from here on they are its own.
 *
 * The source holds one row per key: the newest version, of equal versions the later read; the tie-breakers behind make
 * the choice the same every time. Unchanged rows match no clause, so that a second identical read changes nothing.
 *
 * Rows without identity (payroll's null ids) have a negative surrogate id made from their content, and live in groups,
 * tenant and _group_date. A whole read of a group replaces it as a set: live rows of the group that the read does not
 * hold come into the source as "_gone" and are marked deleted. A read that is older than what the target has seen of
 * the group adds nothing to it. */
#include "merge_sql.h"

#include <stdlib.h>

#include "base/timestamp.h"
#include "tables.h"

static const char *const stage_extra[] = {"_tenant_id", "_run_id", "_row_hash", "_fetched_at", "_extra", "_group_date"};
enum { STAGE_EXTRA_COUNT = sizeof stage_extra / sizeof stage_extra[0] };

/* ---- Pieces ------------------------------------------------------------------------------------------------------ */

static void put_timestamp(struct buf *out, int64_t us)
{
    char text[TIMESTAMP_TEXT_SIZE];
    timestamp_text(text, us, 6);
    text[10] = ' ';
    buf_printf(out, "TIMESTAMP '%.26s+00:00'", text);
}

/* So many partitions that a list of them would be too long: all between the first and the last. */
static void put_partition_range(struct buf *out, const char *alias, const char *const *partitions, size_t count)
{
    const char *first = partitions[0], *last = partitions[0];
    for (size_t i = 1; i < count; i++) {
        first = strcmp(partitions[i], first) < 0 ? partitions[i] : first;
        last = strcmp(partitions[i], last) > 0 ? partitions[i] : last;
    }
    buf_printf(out, "DATE(%s.`modifiedOn`) BETWEEN DATE '%s' AND DATE '%s' OR ", alias, first, last);
}

void merge_put_partitions(struct buf *out, const char *alias, const char *const *partitions, size_t count)
{
    buf_append_char(out, '(');
    if (count > MERGE_MAX_LISTED)
        put_partition_range(out, alias, partitions, count);
    for (size_t i = 0; i < count && count <= MERGE_MAX_LISTED; i++) {
        if (i == 0)
            buf_printf(out, "DATE(%s.`modifiedOn`) IN (", alias);
        buf_printf(out, "%sDATE '%s'%s", i ? ", " : "", partitions[i], i + 1 == count ? ") OR " : "");
    }
    buf_printf(out, "%s.`modifiedOn` IS NULL)", alias);
}

/* The columns of the source, from a table that has them all. */
void merge_put_source_columns(struct buf *out, const struct entity *entity, const char *alias)
{
    for (size_t i = 0; i < entity->source_column_count; i++)
        buf_printf(out, "%s.`%s`, ", alias, entity->stage.columns[i].name);
    for (size_t i = 0; i < STAGE_EXTRA_COUNT; i++)
        buf_printf(out, "%s.%s, ", alias, stage_extra[i]);
}

/* Accepted fetches of @runs. */
static void put_ranges(struct buf *out, const struct warehouse_names *names, const struct entity *entity,
                       int64_t since_us)
{
    const int64_t hour_us = INT64_C(3600000000);
    buf_append_str(out,
                   "(\n    SELECT e.run_id, COALESCE(r.run_id, e.run_id) AS stage_run, e.full_groups, r.first_fetch,\n"
                   "      r.last_fetch\n    FROM ");
    sql_table(out, names->project, names->logs, "staged_run_events");
    buf_append_str(out, " AS e\n    CROSS JOIN UNNEST(e.fetches) AS r\n    WHERE e.target = ");
    sql_string(out, entity->target.name);
    buf_append_str(out, " AND e.run_id IN UNNEST(@runs) AND NOT e.withdrawn AND e.event_time >= ");
    put_timestamp(out, since_us - hour_us); /* a run is announced after it is staged */
    buf_append_str(out, "\n  )");
}

/* Whether a staged row says that its record was deleted. Where the export feed tells, a row of the list tells nothing
 * (NULL): it may not lift what the feed has told. Rows without identity are seen in lists only. */
static const char *deleted_of(const struct entity *entity)
{
    if (!entity->tombstone)
        return "FALSE";
    return entity->id_nullable ? "IF(s.`id` < 0, FALSE, s._deleted)" : "s._deleted";
}

/* The columns of stage rows s, as rows of the announced run f. */
static void put_stage_columns(struct buf *out, const struct entity *entity)
{
    for (size_t i = 0; i < entity->source_column_count; i++)
        buf_printf(out, "s.`%s`, ", entity->stage.columns[i].name);
    for (size_t i = 0; i < STAGE_EXTRA_COUNT; i++)
        if (strcmp(stage_extra[i], "_run_id") == 0)
            buf_append_str(out, "f.run_id AS _run_id, ");
        else
            buf_printf(out, "s.%s, ", stage_extra[i]);
}

/* Stage rows of the accepted fetches; `last` are further columns. */
static void put_accepted(struct buf *out, const struct warehouse_names *names, const struct entity *entity,
                         const char *last, int64_t staged_min_us, int64_t staged_max_us)
{
    buf_append_str(out, "SELECT ");
    put_stage_columns(out, entity);
    buf_printf(out, "s._fetch_id, s._row_number, %s AS _deleted", deleted_of(entity));
    buf_printf(out, "%s\n  FROM ", last);
    sql_table(out, names->project, names->stage, entity->stage.name);
    buf_append_str(out, " AS s\n  JOIN ");
    put_ranges(out, names, entity, staged_min_us);
    buf_append_str(out, " AS f\n  ON s._run_id = f.stage_run AND s._fetch_id BETWEEN f.first_fetch AND f.last_fetch\n"
                        "  WHERE s._run_id IN UNNEST(@stage_runs) AND s._staged_at >= ");
    put_timestamp(out, staged_min_us);
    buf_append_str(out, " AND s._staged_at <= ");
    put_timestamp(out, staged_max_us);
}

#define NEWEST(alias, run_id)                                                                                          \
    "\n  QUALIFY ROW_NUMBER() OVER (PARTITION BY " alias "._tenant_id, " alias                                         \
    ".`id` ORDER BY " VERSION(alias) " DESC,\n    " alias "._deleted IS NULL, " alias "._fetched_at DESC, " run_id     \
                                     ", " alias "._fetch_id, " alias "._row_number) = 1"

/* ---- Sources ----------------------------------------------------------------------------------------------------- */

static void put_plain_source(struct buf *out, const struct warehouse_names *names, const struct entity *entity,
                             int64_t staged_min_us, int64_t staged_max_us)
{
    buf_append_str(out, "\n  ");
    put_accepted(out, names, entity, "", staged_min_us, staged_max_us);
    buf_append_str(out, NEWEST("s", "f.run_id"));
}

/* Whole reads, one per group: the one that began latest. Its own length does not count: one that was resumed may hold a
 * part of the group from hours before, and what was read whole in between knows better. */
static const char group_reads[] =
    ", reads AS (\n"
    "  SELECT a._tenant_id, a._group_date, a._run_id, MIN(a._fetched_at) AS read_from, MAX(a._fetched_at) AS read_to\n"
    "  FROM accepted AS a\n"
    "  WHERE a.`id` < 0 AND a._full_groups\n"
    "  GROUP BY a._tenant_id, a._group_date, a._run_id\n"
    "  QUALIFY ROW_NUMBER() OVER (PARTITION BY a._tenant_id, a._group_date ORDER BY MIN(a._fetched_at) DESC, "
    "a._run_id) = 1\n"
    ")";

/* When the target last saw each group. */
static void put_group_seen(struct buf *out, const struct warehouse_names *names, const struct entity *entity,
                           const char *const *partitions, size_t count)
{
    buf_append_str(out, ", seen AS (\n  SELECT t._tenant_id, t._group_date,\n"
                        "    MAX(GREATEST(t._fetched_at, COALESCE(t._deleted_at, t._fetched_at))) AS seen_at\n  FROM ");
    sql_table(out, names->project, names->raw, entity->target.name);
    buf_append_str(out, " AS t\n  WHERE t.`id` < 0 AND ");
    merge_put_partitions(out, "t", partitions, count);
    buf_append_str(out, "\n  GROUP BY t._tenant_id, t._group_date\n)");
}

static void put_group_chosen(struct buf *out, const struct entity *entity)
{
    buf_append_str(out, ", chosen AS (\n  SELECT ");
    merge_put_source_columns(out, entity, "a");
    buf_append_str(
        out,
        "a._deleted, FALSE AS _gone\n"
        "  FROM accepted AS a\n"
        "  LEFT JOIN reads AS r ON a._tenant_id = r._tenant_id AND a._group_date = r._group_date\n"
        "  LEFT JOIN seen AS n ON a._tenant_id = n._tenant_id AND a._group_date = n._group_date\n"
        "  WHERE a.`id` >= 0 OR (\n"
        "    (r._run_id IS NULL OR a._run_id = r._run_id OR (NOT a._full_groups AND a._fetched_at > r.read_to)) AND\n"
        "    (n.seen_at IS NULL OR IF(a._full_groups, r.read_from, a._fetched_at) >= n.seen_at)\n"
        "  )" NEWEST("a", "a._run_id") "\n)");
}

static void put_group_gone(struct buf *out, const struct warehouse_names *names, const struct entity *entity,
                           const char *const *partitions, size_t count)
{
    buf_append_str(out, ", gone AS (\n  SELECT ");
    for (size_t i = 0; i < entity->source_column_count; i++)
        buf_printf(out, "t.`%s`, ", entity->stage.columns[i].name);
    buf_append_str(out, "t._tenant_id, r._run_id, t._row_hash, r.read_to AS _fetched_at, t._extra, t._group_date,\n"
                        "    FALSE AS _deleted, TRUE AS _gone\n  FROM ");
    sql_table(out, names->project, names->raw, entity->target.name);
    buf_append_str(out,
                   " AS t\n"
                   "  JOIN reads AS r ON t._tenant_id = r._tenant_id AND t._group_date = r._group_date\n"
                   "  JOIN seen AS n ON t._tenant_id = n._tenant_id AND t._group_date = n._group_date\n"
                   "  LEFT JOIN chosen AS c ON t._tenant_id = c._tenant_id AND t.`id` = c.`id`\n"
                   "  WHERE t.`id` < 0 AND t._deleted_at IS NULL AND t._fetched_at < r.read_from AND c.`id` IS NULL\n"
                   "    AND r.read_from >= n.seen_at AND ");
    merge_put_partitions(out, "t", partitions, count);
    buf_append_str(out, "\n)");
}

static void put_group_source(struct buf *out, const struct warehouse_names *names, const struct entity *entity,
                             const char *const *partitions, size_t count, int64_t staged_min_us, int64_t staged_max_us)
{
    buf_append_str(out, "\n  WITH accepted AS (\n  ");
    put_accepted(out, names, entity, ", f.full_groups AS _full_groups", staged_min_us, staged_max_us);
    buf_append_str(out, "\n)");
    buf_append_str(out, group_reads);
    put_group_seen(out, names, entity, partitions, count);
    put_group_chosen(out, entity);
    put_group_gone(out, names, entity, partitions, count);
    buf_append_str(out, "\n  SELECT ");
    merge_put_source_columns(out, entity, "c");
    buf_append_str(out, "c._deleted, c._gone FROM chosen AS c\n  UNION ALL\n  SELECT ");
    merge_put_source_columns(out, entity, "g");
    buf_append_str(out, "g._deleted, g._gone FROM gone AS g");
}

/* ---- Clauses ----------------------------------------------------------------------------------------------------- */

/* What a target column becomes. */
static void put_value(struct buf *out, const struct column *column, bool insert)
{
    if (strcmp(column->name, "_ingested_at") == 0)
        buf_append_str(out, "CURRENT_TIMESTAMP()");
    else if (strcmp(column->name, "_ingestion_source") == 0)
        buf_append_str(out, "'servicetitan_v2'");
    else if (strcmp(column->name, "_deleted_at") == 0 && insert)
        buf_append_str(out, "IF(S._deleted, S._fetched_at, NULL)");
    else if (strcmp(column->name, "_deleted_at") == 0) /* a deletion later than this read stands */
        buf_append_str(out, "CASE WHEN S._deleted THEN COALESCE(T._deleted_at, S._fetched_at)"
                            " WHEN S._deleted IS NULL OR T._deleted_at > S._fetched_at THEN T._deleted_at END");
    else
        buf_printf(out, "S.`%s`", column->name);
}

static bool is_key(const struct column *column)
{
    return strcmp(column->name, "id") == 0 || strcmp(column->name, "_tenant_id") == 0;
}

static void put_update(struct buf *out, const struct entity *entity)
{
    bool first = true;
    buf_append_str(out, "\nWHEN MATCHED AND " MERGE_CHANGES("S", "T") " THEN UPDATE SET ");
    for (size_t i = 0; i < entity->target.column_count; i++) {
        const struct column *column = &entity->target.columns[i];
        if (is_key(column))
            continue;
        buf_printf(out, "%s`%s` = ", first ? "" : ", ", column->name);
        put_value(out, column, false);
        first = false;
    }
}

static void put_insert(struct buf *out, const struct entity *entity)
{
    buf_printf(out, "\nWHEN NOT MATCHED%s THEN INSERT (", entity->id_nullable ? " AND NOT S._gone" : "");
    for (size_t i = 0; i < entity->target.column_count; i++)
        buf_printf(out, "%s`%s`", i ? ", " : "", entity->target.columns[i].name);
    buf_append_str(out, ")\nVALUES (");
    for (size_t i = 0; i < entity->target.column_count; i++) {
        if (i)
            buf_append_str(out, ", ");
        put_value(out, &entity->target.columns[i], true);
    }
    buf_append_char(out, ')');
}

void merge_put_source(struct buf *out, const struct merge_scope *scope)
{
    if (scope->entity->id_nullable)
        put_group_source(out, scope->names, scope->entity, scope->partitions, scope->partition_count,
                         scope->staged_min_us, scope->staged_max_us);
    else
        put_plain_source(out, scope->names, scope->entity, scope->staged_min_us, scope->staged_max_us);
}

/* The partitions that hold what this MERGE may change. */
static void put_target_partitions(struct buf *out, const struct merge_scope *scope)
{
    const char **held = xcalloc(scope->partition_count + 1, sizeof *held);
    size_t count = 0;
    for (size_t i = 0; i < scope->partition_count; i++)
        if (!scope->part_from || split_part_may_hold(scope, scope->partitions[i]))
            held[count++] = scope->partitions[i];
    merge_put_partitions(out, "T", held, count);
    free(held);
}

void merge_scope_sql(struct buf *out, const struct merge_scope *scope)
{
    const struct entity *entity = scope->entity;
    buf_append_str(out, "MERGE ");
    sql_table(out, scope->names->project, scope->names->raw, entity->target.name);
    buf_append_str(out, " AS T\nUSING (");
    if (scope->part_from)
        split_put_part_source(out, scope);
    else
        merge_put_source(out, scope);
    buf_append_str(out, "\n) AS S\nON T._tenant_id = S._tenant_id AND T.`id` = S.`id` AND ");
    put_target_partitions(out, scope);
    if (entity->id_nullable)
        buf_append_str(out,
                       "\nWHEN MATCHED AND S._gone THEN UPDATE SET _deleted_at = S._fetched_at, _run_id = S._run_id,\n"
                       "  _ingested_at = CURRENT_TIMESTAMP()");
    put_update(out, entity);
    put_insert(out, entity);
}

void merge_sql(struct buf *out, const struct warehouse_names *names, const struct entity *entity,
               const char *const *partitions, size_t count, int64_t staged_min_us, int64_t staged_max_us)
{
    merge_scope_sql(out, &(struct merge_scope){.names = names,
                                               .entity = entity,
                                               .partitions = partitions,
                                               .partition_count = count,
                                               .staged_min_us = staged_min_us,
                                               .staged_max_us = staged_max_us});
}
