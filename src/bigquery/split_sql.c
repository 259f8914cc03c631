/* split_sql.c - the texts for a change that would modify more partitions than a job may (design 7).
 *
 * It is done in parts, each a change of the chain for itself. Nothing remembers which parts are done: a row that has
 * been merged is no news any more, so the next search for the cut sees fewer rows, until what is left is one change.
 *
 * Each row of the source has a part key, "<old day> <landing day>": the partition where the target holds its key (the
 * landing day again when it does not) and the partition where the row will stand; an empty text is the NULL partition.
 * A part is a range of these keys. A key adds at most two days to a part, so that there is always a next part; old days
 * come first, so that each part of the target is scanned for one part of the change or two.
 *
 * Groups of rows without identity are replaced as sets, so all rows of a group have the same part key, its date. */
#include "merge_sql.h"
#include "tables.h"

enum { DAY_LENGTH = 10 };

#define DAY(alias) "COALESCE(CAST(DATE(" alias ".`modifiedOn`) AS STRING), '')"

bool split_part_may_hold(const struct merge_scope *scope, const char *partition)
{
    if (scope->entity->id_nullable) /* rows of a group stand anywhere */
        return true;
    return strncmp(partition, scope->part_from, DAY_LENGTH) >= 0 &&
           strncmp(partition, scope->part_until, DAY_LENGTH) <= 0;
}

/* The part key of source row w, whose key the target holds as h. */
static void put_part_key(struct buf *out, const struct entity *entity)
{
    static const char key[] = "CONCAT(COALESCE(h.old_day, " DAY("w") "), ' ', " DAY("w") ")";
    if (entity->id_nullable)
        buf_printf(out, "IF(w.`id` < 0 AND w._group_date IS NOT NULL, CAST(w._group_date AS STRING), %s)", key);
    else
        buf_append_str(out, key);
}

static void put_whole(struct buf *out, const struct merge_scope *scope)
{
    buf_append_str(out, "WITH whole AS (");
    merge_put_source(out, scope);
    buf_append_str(out, "\n)");
}

static void put_target(struct buf *out, const struct merge_scope *scope)
{
    buf_append_str(out, "\n  FROM ");
    sql_table(out, scope->names->project, scope->names->raw, scope->entity->target.name);
    buf_append_str(out, " AS t\n  WHERE ");
    merge_put_partitions(out, "t", scope->partitions, scope->partition_count);
}

static const char join_held[] =
    "\n  FROM whole AS w\n  LEFT JOIN held AS h ON w._tenant_id = h._tenant_id AND w.`id` = h.`id`\n  WHERE ";

/* A row outside of the part must not come into the source at all: the target's partitions are pruned to the part, and
 * the row would count as new. */
void split_put_part_source(struct buf *out, const struct merge_scope *scope)
{
    buf_append_str(out, "\n  ");
    put_whole(out, scope);
    buf_append_str(out, ", held AS (\n  SELECT t._tenant_id, t.`id`, MIN(" DAY("t") ") AS old_day");
    put_target(out, scope);
    buf_append_str(out, "\n  GROUP BY t._tenant_id, t.`id`\n)\n  SELECT ");
    merge_put_source_columns(out, scope->entity, "w");
    buf_printf(out, "w._deleted%s", scope->entity->id_nullable ? ", w._gone" : "");
    buf_append_str(out, join_held);
    put_part_key(out, scope->entity);
    buf_append_str(out, " >= ");
    sql_string(out, scope->part_from);
    buf_append_str(out, " AND ");
    put_part_key(out, scope->entity);
    buf_append_str(out, " < ");
    sql_string(out, scope->part_until);
}

/* The rows that are news, by part key, with the days that they modify. */
static void put_changes(struct buf *out, const struct merge_scope *scope)
{
    put_whole(out, scope);
    buf_append_str(out, ", held AS (\n  SELECT t._tenant_id, t.`id`, t.`modifiedOn`, t.`createdOn`, t._row_hash,\n"
                        "    t._fetched_at, t._deleted_at, " DAY("t") " AS old_day");
    put_target(out, scope);
    buf_append_str(out, "\n), changes AS (\n  SELECT ");
    put_part_key(out, scope->entity);
    buf_append_str(out, " AS part, h.old_day, " DAY("w") " AS landing_day");
    buf_append_str(out, join_held);
    buf_append_str(out, scope->entity->id_nullable ? "h.`id` IS NULL OR w._gone OR " : "h.`id` IS NULL OR ");
    buf_append_str(out, MERGE_CHANGES("w", "h") "\n)");
}

void split_sql(struct buf *out, const struct merge_scope *scope, size_t max_days)
{
    put_changes(out, scope);
    buf_append_str(out, ", touched AS (\n  SELECT c.part, c.landing_day AS day\n  FROM changes AS c\n"
                        "  UNION DISTINCT\n  SELECT c.part, c.old_day AS day\n  FROM changes AS c\n"
                        "  WHERE c.old_day IS NOT NULL\n"
                        "), days AS (\n  SELECT u.day, MIN(u.part) AS part\n  FROM touched AS u\n  GROUP BY u.day\n"
                        "), widths AS (\n  SELECT d.part, SUM(COUNT(*)) OVER (ORDER BY d.part) AS days\n"
                        "  FROM days AS d\n  GROUP BY d.part\n)\n");
    buf_printf(out,
               "SELECT MIN(w.part) AS part_from, MIN(IF(w.days > %zu, w.part, NULL)) AS part_until\n"
               "FROM widths AS w",
               max_days);
}
