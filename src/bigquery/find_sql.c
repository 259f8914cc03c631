/* find_sql.c - the search for what the next change of a target has to merge and where (design 7).
 *
 * One change may modify so many partitions and no more, so the search counts, run by run, the days that a change up to
 * this run could modify: those where its keys (and groups) stand and those where its rows land. The count is an upper
 * bound, made from columns that the search reads anyway, the stage's modifiedOn apart: it does not ask which rows are
 * news. Runs are taken up to the bound. When the first one alone is beyond it, split_sql.c asks more exactly. */
#include "merge_sql.h"
#include "tables.h"

/* Bounds of one change, and the ages beyond which the stage (7 days) may have dropped rows already. */
#define FIND_MAX_RUNS "500"
#define FIND_MAX_BYTES "8589934592"
#define STAGE_LIFE "INTERVAL 168 HOUR"
#define RUN_LIFE "INTERVAL 156 HOUR"
#define CHANGE_LIFE "INTERVAL 192 HOUR"

/* Announced runs of the target that wait, in order, up to the bounds of one change. The first is taken whatever its
 * size. */
static void put_ready(struct buf *out, const struct warehouse_names *names, const struct entity *entity)
{
    buf_append_str(
        out,
        "WITH latest AS (\n"
        "  SELECT e.run_id, e.lane, e.row_count, e.byte_count, e.staged_min, e.staged_max, e.announced_at, e.fetches,\n"
        "    e.withdrawn\n  FROM ");
    sql_table(out, names->project, names->logs, "staged_run_events");
    buf_append_str(out, " AS e\n  WHERE e.target = ");
    sql_string(out, entity->target.name);
    buf_append_str(
        out, " AND e.event_time >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), " STAGE_LIFE ")\n"
             "  QUALIFY ROW_NUMBER() OVER (PARTITION BY e.run_id ORDER BY IF(e.withdrawn, 0, 1), e.event_time) = 1\n"
             "), merged AS (\n  SELECT DISTINCT run_id\n  FROM ");
    sql_table(out, names->project, names->logs, "target_change_events");
    buf_append_str(out, " AS c\n  CROSS JOIN UNNEST(c.run_ids) AS run_id\n  WHERE c.target = ");
    sql_string(out, entity->target.name);
    buf_append_str(
        out, " AND c.state = 'success' AND c.event_time >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), " CHANGE_LIFE ")\n"
             "), queue AS (\n"
             "  SELECT l.run_id, l.row_count, l.staged_min, l.staged_max, l.fetches,\n"
             "    SUM(COALESCE(l.byte_count, 0)) OVER (ORDER BY IF(l.lane = 'live', 0, 1), l.announced_at, l.run_id\n"
             "      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS bytes_so_far,\n"
             "    ROW_NUMBER() OVER (ORDER BY IF(l.lane = 'live', 0, 1), l.announced_at, l.run_id) AS place\n"
             "  FROM latest AS l\n"
             "  LEFT JOIN merged AS m ON l.run_id = m.run_id\n"
             "  WHERE NOT l.withdrawn AND m.run_id IS NULL\n"
             "    AND (l.staged_min IS NULL OR l.staged_min >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), " RUN_LIFE "))\n"
             "), ready AS (\n"
             "  SELECT q.run_id, q.row_count, q.staged_min, q.staged_max, q.fetches, q.place\n"
             "  FROM queue AS q\n"
             "  WHERE q.place = 1 OR (q.place <= " FIND_MAX_RUNS " AND q.bytes_so_far <= " FIND_MAX_BYTES ")\n"
             ")");
}

/* The keys (and groups) that these runs have staged, and the days where the rows land. */
static void put_keys(struct buf *out, const struct warehouse_names *names, const struct entity *entity)
{
    buf_append_str(
        out, ", ranges AS (\n"
             "  SELECT r.run_id, COALESCE(f.run_id, r.run_id) AS stage_run, r.place, f.first_fetch, f.last_fetch\n"
             "  FROM ready AS r\n  CROSS JOIN UNNEST(r.fetches) AS f\n"
             "), staged AS (\n"
             "  SELECT DISTINCT f.place, s._tenant_id, s.`id`, s._group_date,\n"
             "    DATE(s.`modifiedOn`) AS landing_date\n  FROM ");
    sql_table(out, names->project, names->stage, entity->stage.name);
    buf_append_str(
        out, " AS s\n"
             "  JOIN ranges AS f ON s._run_id = f.stage_run AND s._fetch_id BETWEEN f.first_fetch AND f.last_fetch\n"
             "  WHERE s._staged_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), " STAGE_LIFE ")\n)");
}

/* Days of the target's rows that match staged ones by `condition`. */
static void put_old_days(struct buf *out, const struct warehouse_names *names, const struct entity *entity,
                         const char *condition)
{
    buf_append_str(out, "\n  UNION DISTINCT\n  SELECT k.place, DATE(t.`modifiedOn`) AS day, TRUE AS is_old\n  FROM ");
    sql_table(out, names->project, names->raw, entity->target.name);
    buf_printf(out, " AS t\n  JOIN staged AS k ON t._tenant_id = k._tenant_id AND %s", condition);
}

/* The days that each run could modify. */
static void put_touched(struct buf *out, const struct warehouse_names *names, const struct entity *entity)
{
    buf_append_str(out, ", touched AS (\n  SELECT k.place, k.landing_date AS day, FALSE AS is_old\n  FROM staged AS k");
    put_old_days(out, names, entity, "t.`id` = k.`id`");
    if (entity->id_nullable)
        put_old_days(out, names, entity, "t._group_date = k._group_date\n  WHERE t.`id` < 0");
    buf_append_str(out, "\n)");
}

/* The runs of this change: each day counts for the first run that could modify it. */
static void put_taken(struct buf *out, size_t max_days)
{
    buf_append_str(out, ", days AS (\n  SELECT u.day, MIN(u.place) AS place\n  FROM touched AS u\n  GROUP BY u.day\n"
                        "), widths AS (\n"
                        "  SELECT r.place, SUM(COUNT(d.place)) OVER (ORDER BY r.place) AS days\n"
                        "  FROM ready AS r\n  LEFT JOIN days AS d ON r.place = d.place\n  GROUP BY r.place\n"
                        "), taken AS (\n"
                        "  SELECT r.run_id, r.place, r.row_count, r.staged_min, r.staged_max, w.days\n"
                        "  FROM ready AS r\n  JOIN widths AS w ON r.place = w.place\n");
    buf_printf(out,
               "  WHERE r.place = 1 OR w.days <= %zu\n"
               "), places AS (\n  SELECT DISTINCT u.day AS partition_date\n  FROM touched AS u\n"
               "  JOIN taken AS r ON u.place = r.place\n  WHERE u.is_old AND u.day IS NOT NULL\n)",
               max_days);
}

void find_sql(struct buf *out, const struct warehouse_names *names, const struct entity *entity, size_t max_days)
{
    put_ready(out, names, entity);
    put_keys(out, names, entity);
    put_touched(out, names, entity);
    put_taken(out, max_days);
    buf_append_str(
        out,
        "\nSELECT 'run' AS kind, r.run_id, r.place, CAST(NULL AS DATE) AS partition_date, r.row_count, r.staged_min,\n"
        "  r.staged_max, r.days\nFROM taken AS r\nUNION ALL\n"
        "SELECT 'partition' AS kind, CAST(NULL AS STRING) AS run_id, 0 AS place, p.partition_date, 0 AS row_count,\n"
        "  CAST(NULL AS TIMESTAMP) AS staged_min, CAST(NULL AS TIMESTAMP) AS staged_max, 0 AS days\n"
        "FROM places AS p\nUNION ALL\n"
        "SELECT DISTINCT 'stage' AS kind, f.stage_run AS run_id, r.place, CAST(NULL AS DATE) AS partition_date,\n"
        "  0 AS row_count, CAST(NULL AS TIMESTAMP) AS staged_min, CAST(NULL AS TIMESTAMP) AS staged_max, 0 AS days\n"
        "FROM taken AS r\nJOIN ranges AS f ON r.place = f.place\nWHERE f.stage_run != f.run_id\n"
        "ORDER BY kind DESC, place, partition_date, run_id");
}
