/* reconcile.c - the warehouse's side of a comparison: counts by hour, and staged rows against the target.
 *
 * Source rows are the staged ones of accepted fetches, one per key, the newest read. A key is compared when its source
 * version lies before complete_until: newer ones the warehouse need not have. A row that the warehouse got after the
 * source was read is newer than what is known here, and so no difference. */
#include "bigquery/reconcile.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/metrics.h"
#include "merge_sql.h"
#include "tables.h"

static const char *const kind_names[RECONCILE_KINDS] = {"missing", "extra", "stale", "value"};

const char *reconcile_kind_name(enum reconcile_kind kind)
{
    return kind_names[kind];
}

void reconcile_findings_release(struct reconcile_findings *findings)
{
    free(findings->items);
    *findings = (struct reconcile_findings){0};
}

/* ---- Texts ------------------------------------------------------------------------------------------------------- */

static void put_raw(struct buf *out, const struct warehouse_names *names, const struct entity *entity)
{
    sql_table(out, names->project, names->raw, entity->target.name);
}

static void put_stage(struct buf *out, const struct warehouse_names *names, const struct entity *entity)
{
    sql_table(out, names->project, names->stage, entity->stage.name);
}

#define CREATED_WITHIN(alias) alias ".`createdOn` >= @created_from AND " alias ".`createdOn` < @created_to"

static void hours_sql(struct buf *out, const struct warehouse_names *names, const struct entity *entity)
{
    buf_append_str(out, "WITH changed AS (\n  SELECT DISTINCT s.`id`\n  FROM ");
    put_stage(out, names, entity);
    buf_append_str(out,
                   " AS s\n  WHERE s._run_id = @run AND s._staged_at >= @since\n)\n"
                   "SELECT 'created' AS axis, TIMESTAMP_TRUNC(t.`createdOn`, HOUR) AS hour, COUNT(*) AS row_count\n"
                   "FROM ");
    put_raw(out, names, entity);
    buf_append_str(
        out,
        " AS t\nWHERE t._tenant_id = @tenant AND t._deleted_at IS NULL AND " CREATED_WITHIN(
            "t") "\n"
                 "GROUP BY hour\nUNION ALL\n"
                 "SELECT 'modified' AS axis, TIMESTAMP_TRUNC(t.`modifiedOn`, HOUR) AS hour, COUNT(*) AS row_count\n"
                 "FROM ");
    put_raw(out, names, entity);
    buf_append_str(out, " AS t\nLEFT JOIN changed AS c ON t.`id` = c.`id`\n"
                        "WHERE t._tenant_id = @tenant AND t._deleted_at IS NULL AND c.`id` IS NULL\n"
                        "  AND t.`modifiedOn` >= @created_from AND t.`modifiedOn` < @complete\n"
                        "GROUP BY hour\nORDER BY axis, hour");
}

/* One row per key, of the accepted fetches: the newest read. */
static void put_source(struct buf *out, const struct warehouse_names *names, const struct entity *entity)
{
    buf_append_str(out, "source AS (\n  SELECT ");
    merge_put_source_columns(out, entity, "s");
    buf_append_str(out, VERSION("s") " AS version\n  FROM ");
    put_stage(out, names, entity);
    buf_append_str(out,
                   " AS s\n  WHERE s._run_id = @run AND s._staged_at >= @since AND s._fetch_id IN UNNEST(@fetches)\n"
                   "    AND NOT COALESCE(s._deleted, FALSE)\n"
                   "  QUALIFY ROW_NUMBER() OVER (PARTITION BY s.`id` ORDER BY " VERSION(
                       "s") " DESC, s._fetched_at DESC, s._fetch_id, s._row_number) = 1\n)");
}

/* The warehouse's rows of the tenant, live ones and others. */
static void put_held(struct buf *out, const struct warehouse_names *names, const struct entity *entity)
{
    buf_append_str(out, "held AS (\n  SELECT ");
    for (size_t i = 0; i < entity->source_column_count; i++)
        buf_printf(out, "t.`%s`, ", entity->target.columns[i].name);
    buf_append_str(out, "t._extra, t._fetched_at, t._deleted_at, " VERSION("t") " AS version\n  FROM ");
    put_raw(out, names, entity);
    buf_append_str(out, " AS t\n  WHERE t._tenant_id = @tenant\n)");
}

/* What was read whole on one axis, as rows. */
static void put_read(struct buf *out, const char *name, const char *axis)
{
    buf_printf(out,
               "%s AS (\n  SELECT TIMESTAMP_MICROS(f) AS range_from, TIMESTAMP_MICROS(u) AS range_to\n"
               "  FROM UNNEST(CAST(@%s_read_from AS ARRAY<INT64>)) AS f WITH OFFSET AS i\n"
               "  JOIN UNNEST(CAST(@%s_read_to AS ARRAY<INT64>)) AS u WITH OFFSET AS j ON i = j\n)",
               name, axis, axis);
}

/* Live rows that stand where everything was read, and were not among it. */
static void put_absent(struct buf *out, const char *axis, const char *column)
{
    buf_printf(out,
               "SELECT DISTINCT h.`id`, h.`createdOn`, h.version\n  FROM held AS h\n" /* what was read may overlap */
               "  JOIN %s_read AS r ON h.`%s` >= r.range_from AND h.`%s` < r.range_to\n"
               "  LEFT JOIN source AS s ON h.`id` = s.`id`\n"
               "  WHERE s.`id` IS NULL AND h._deleted_at IS NULL AND h.version < @complete\n"
               "    AND " CREATED_WITHIN("h"),
               axis, column, column);
}

static void absent_sql(struct buf *out, const struct warehouse_names *names, const struct entity *entity)
{
    buf_append_str(out, "WITH ");
    put_source(out, names, entity);
    buf_append_str(out, ", ");
    put_held(out, names, entity);
    buf_append_str(out, ", ");
    put_read(out, "modified_read", "modified");
    buf_append_str(out, ", absent AS (\n  ");
    put_absent(out, "modified", "modifiedOn");
    buf_append_str(out, "\n)\nSELECT DISTINCT a.`createdOn`\nFROM absent AS a\nWHERE a.`createdOn` IS NOT NULL\n"
                        "ORDER BY 1\nLIMIT @max");
}

/* The names of the columns whose values differ, each with a comma behind it. */
static void put_other_columns(struct buf *out, const struct entity *entity)
{
    buf_append_str(out, "CONCAT(");
    for (size_t i = 0; i < entity->source_column_count; i++)
        buf_printf(out, "IF(TO_JSON_STRING(s.`%s`) != TO_JSON_STRING(h.`%s`), '%s,', ''),\n      ",
                   entity->target.columns[i].name, entity->target.columns[i].name, entity->target.columns[i].name);
    buf_append_str(
        out, "IF(COALESCE(TO_JSON_STRING(s._extra), '') != COALESCE(TO_JSON_STRING(h._extra), ''), '_extra,', ''))");
}

static void compare_sql(struct buf *out, const struct warehouse_names *names, const struct entity *entity, bool values)
{
    buf_append_str(out, "WITH ");
    put_source(out, names, entity);
    buf_append_str(out, ", ");
    put_held(out, names, entity);
    buf_append_str(out, ", ");
    put_read(out, "created_read", "created");
    buf_append_str(
        out, ", pairs AS (\n  SELECT s.`id`, s.`createdOn`, s.version AS source_version, h.version AS held_version,\n"
             "    h.`id` IS NULL OR h._deleted_at < s._fetched_at AS is_missing, ");
    if (values)
        put_other_columns(out, entity);
    else
        buf_append_str(out, "''");
    buf_append_str(
        out,
        " AS columns\n  FROM source AS s\n  LEFT JOIN held AS h ON s.`id` = h.`id`\n"
        "  WHERE s.version < @complete AND " CREATED_WITHIN(
            "s") "\n"
                 "    AND (h.`id` IS NULL OR h._fetched_at <= s._fetched_at)\n), found AS (\n"
                 "  SELECT 'missing' AS kind, p.`id`, p.`createdOn`, p.source_version, NULL AS held_version, '' AS "
                 "columns\n"
                 "  FROM pairs AS p\n  WHERE p.is_missing\n  UNION ALL\n"
                 "  SELECT 'stale' AS kind, p.`id`, p.`createdOn`, p.source_version, p.held_version, '' AS columns\n"
                 "  FROM pairs AS p\n  WHERE NOT COALESCE(p.is_missing, FALSE) AND p.held_version != p.source_version\n"
                 "  UNION ALL\n"
                 "  SELECT 'value' AS kind, p.`id`, p.`createdOn`, p.source_version, p.held_version, p.columns\n"
                 "  FROM pairs AS p\n"
                 "  WHERE NOT COALESCE(p.is_missing, FALSE) AND p.held_version = p.source_version AND p.columns != ''\n"
                 "  UNION ALL\n"
                 "  SELECT 'extra' AS kind, a.`id`, a.`createdOn`, NULL AS source_version, a.version AS held_version, "
                 "'' AS columns\n"
                 "  FROM (\n  ");
    put_absent(out, "created", "createdOn");
    buf_append_str(out, "\n  ) AS a\n)\n"
                        "SELECT f.kind, f.`id`, f.`createdOn`, f.source_version, f.held_version, f.columns,\n"
                        "  COUNT(*) OVER (PARTITION BY f.kind) AS of_kind,\n"
                        "  ROW_NUMBER() OVER (PARTITION BY f.kind ORDER BY f.`createdOn`, f.`id`) AS place\n"
                        "FROM found AS f\nWHERE TRUE\nQUALIFY place <= @max\nORDER BY f.`createdOn`, f.`id`");
}

/* Sums of every NUMERIC column by day of creation, where they differ; both sides over what was read whole. */
static void sums_sql(struct buf *out, const struct warehouse_names *names, const struct entity *entity,
                     const char *time_zone)
{
    bool any = false;
    buf_append_str(out, "WITH ");
    put_source(out, names, entity);
    buf_append_str(out, ", ");
    put_held(out, names, entity);
    buf_append_str(out, ", cells AS (");
    for (size_t i = 0; i < entity->source_column_count; i++) {
        const struct column *column = &entity->target.columns[i];
        if (column->type != COLUMN_NUMERIC || column->mode == COLUMN_REPEATED)
            continue;
        buf_printf(
            out,
            "%s\n  SELECT '%s' AS column_name, s.`createdOn` AS moment, s.`%s` AS source_value,\n"
            "    CAST(NULL AS NUMERIC) AS held_value\n  FROM source AS s\n"
            "  WHERE s.version < @complete AND " CREATED_WITHIN(
                "s") "\n  UNION ALL\n"
                     "  SELECT '%s' AS column_name, h.`createdOn` AS moment, CAST(NULL AS NUMERIC) AS source_value, "
                     "h.`%s`\n"
                     "  FROM held AS h\n"
                     "  WHERE h._deleted_at IS NULL AND h.version < @complete AND " CREATED_WITHIN("h"),
            any ? "\n  UNION ALL" : "", column->name, column->name, column->name, column->name);
        any = true;
    }
    if (!any)
        buf_append_str(out,
                       "\n  SELECT '' AS column_name, CURRENT_TIMESTAMP() AS moment, NUMERIC '0' AS source_value,\n"
                       "    NUMERIC '0' AS held_value\n");
    buf_append_str(out, "\n)\nSELECT c.column_name, CAST(DATE(c.moment, ");
    sql_string(out, time_zone);
    buf_append_str(out, ") AS STRING) AS day, CAST(COALESCE(SUM(c.source_value), 0) AS STRING) AS source_sum,\n"
                        "  CAST(COALESCE(SUM(c.held_value), 0) AS STRING) AS held_sum\n"
                        "FROM cells AS c\nGROUP BY c.column_name, day\n"
                        "HAVING COALESCE(SUM(c.source_value), 0) != COALESCE(SUM(c.held_value), 0)\n"
                        "ORDER BY day, c.column_name\nLIMIT @max");
}

void reconcile_each_sql(const struct warehouse_names *names, const struct entity *entity,
                        void (*fn)(void *user, const char *name, const char *sql), void *user)
{
    struct buf sql = BUF_INIT;
    for (int i = 0; i < 5; i++) {
        static const char *const titles[] = {"hours", "absent", "compare", "compare values", "sums"};
        char *title = xasprintf("reconcile %s %s", titles[i], entity->name);
        buf_clear(&sql);
        if (i == 0)
            hours_sql(&sql, names, entity);
        else if (i == 1)
            absent_sql(&sql, names, entity);
        else if (i < 4)
            compare_sql(&sql, names, entity, i == 3);
        else
            sums_sql(&sql, names, entity, "America/Los_Angeles");
        fn(user, title, sql.ptr);
        free(title);
    }
    buf_release(&sql);
}

/* ---- Asking ------------------------------------------------------------------------------------------------------ */

struct bounds { /* ranges as the parameters want them */
    int64_t *from, *to;
    size_t count;
};

static void bounds_init(struct bounds *bounds, const struct reconcile_range *ranges, size_t count)
{
    *bounds = (struct bounds){xcalloc(count + 1, sizeof(int64_t)), xcalloc(count + 1, sizeof(int64_t)), count};
    for (size_t i = 0; i < count; i++) {
        bounds->from[i] = ranges[i].from_us;
        bounds->to[i] = ranges[i].to_us;
    }
}

static bool ask(struct warehouse *w, const struct reconcile_scope *scope, const char *step, const char *sql,
                int64_t max, struct bq_result *ret, struct cancel *cancel, struct error *err)
{
    struct bounds created, modified;
    bounds_init(&created, scope->created_read, scope->created_read_count);
    bounds_init(&modified, scope->modified_read, scope->modified_read_count);
    const struct bq_param params[] = {
        {.name = "tenant", .type = BQ_PARAM_INT64, .number = scope->tenant},
        {.name = "run", .type = BQ_PARAM_STRING, .string = scope->run_id},
        {.name = "since", .type = BQ_PARAM_TIMESTAMP, .number = scope->staged_since_us},
        {.name = "created_from", .type = BQ_PARAM_TIMESTAMP, .number = scope->created.from_us},
        {.name = "created_to", .type = BQ_PARAM_TIMESTAMP, .number = scope->created.to_us},
        {.name = "complete", .type = BQ_PARAM_TIMESTAMP, .number = scope->complete_until_us},
        {.name = "max", .type = BQ_PARAM_INT64, .number = max},
        {.name = "fetches", .type = BQ_PARAM_INT64_ARRAY, .numbers = scope->fetches, .count = scope->fetch_count},
        {.name = "created_read_from", .type = BQ_PARAM_INT64_ARRAY, .numbers = created.from, .count = created.count},
        {.name = "created_read_to", .type = BQ_PARAM_INT64_ARRAY, .numbers = created.to, .count = created.count},
        {.name = "modified_read_from", .type = BQ_PARAM_INT64_ARRAY, .numbers = modified.from, .count = modified.count},
        {.name = "modified_read_to", .type = BQ_PARAM_INT64_ARRAY, .numbers = modified.to, .count = modified.count},
    };
    char tenant[METRIC_NUMBER_SIZE];
    const struct bq_label labels[] = {{"st_step", step},
                                      {"st_run", scope->run_id},
                                      {"st_entity", scope->entity->name},
                                      {"st_tenant", metric_number(tenant, scope->tenant)}};
    const struct bq_query query = {.sql = sql,
                                   .params = params,
                                   .param_count = sizeof params / sizeof params[0],
                                   .labels = labels,
                                   .label_count = 4};
    bool ok =
        bq_query_run(w->client, &query, ret, cancel, err) || error_prefix(err, "comparing %s", scope->entity->name);
    free(created.from);
    free(created.to);
    free(modified.from);
    free(modified.to);
    return ok;
}

bool warehouse_reconcile_hours(struct warehouse *w, const struct reconcile_scope *scope, struct reconcile_hour **ret,
                               size_t *ret_count, struct cancel *cancel, struct error *err)
{
    struct buf sql = BUF_INIT;
    struct bq_result result = {0};
    hours_sql(&sql, &w->names, scope->entity);
    bool ok = ask(w, scope, "reconcile_hours", sql.ptr, 0, &result, cancel, err);
    if (ok) {
        *ret = xcalloc(result.row_count + 1, sizeof **ret);
        *ret_count = result.row_count;
        for (size_t i = 0; i < result.row_count; i++) {
            bool created = strcmp(bq_result_string(&result, i, "axis"), "created") == 0;
            (*ret)[i] = (struct reconcile_hour){created ? RECONCILE_CREATED : RECONCILE_MODIFIED,
                                                bq_result_int(&result, i, "hour", 0),
                                                bq_result_int(&result, i, "row_count", 0)};
        }
    }
    bq_result_release(&result);
    buf_release(&sql);
    return ok;
}

bool warehouse_reconcile_absent(struct warehouse *w, const struct reconcile_scope *scope, size_t max, int64_t **ret,
                                size_t *ret_count, struct cancel *cancel, struct error *err)
{
    struct buf sql = BUF_INIT;
    struct bq_result result = {0};
    absent_sql(&sql, &w->names, scope->entity);
    bool ok = ask(w, scope, "reconcile_absent", sql.ptr, (int64_t)max + 1, &result, cancel, err);
    if (ok) {
        *ret = xcalloc(result.row_count + 1, sizeof **ret);
        *ret_count = result.row_count;
        for (size_t i = 0; i < result.row_count; i++)
            (*ret)[i] = bq_result_int(&result, i, "createdOn", 0);
    }
    bq_result_release(&result);
    buf_release(&sql);
    return ok;
}

static bool kind_of(const char *name, enum reconcile_kind *ret)
{
    for (int i = 0; i < RECONCILE_KINDS; i++) {
        if (strcmp(kind_names[i], name) == 0) {
            *ret = i;
            return true;
        }
    }
    return false;
}

static void take_difference(const struct bq_result *result, size_t row, struct reconcile_findings *ret)
{
    struct reconcile_difference *item = &ret->items[ret->count];
    *item = (struct reconcile_difference){
        .id = bq_result_int(result, row, "id", 0),
        .created_us = bq_result_int(result, row, "createdOn", INT64_MIN),
        .source_us = bq_result_int(result, row, "source_version", INT64_MIN),
        .warehouse_us = bq_result_int(result, row, "held_version", INT64_MIN),
    };
    if (!kind_of(bq_result_string(result, row, "kind"), &item->kind))
        return;
    const char *columns = bq_result_string(result, row, "columns");
    size_t len = strlen(columns);
    snprintf(item->columns, sizeof item->columns, "%.*s", len > 0 ? (int)len - 1 : 0, columns);
    ret->counts[item->kind] = bq_result_int(result, row, "of_kind", 0);
    ret->count++;
}

bool warehouse_reconcile_compare(struct warehouse *w, const struct reconcile_scope *scope, bool values,
                                 struct reconcile_findings *ret, struct cancel *cancel, struct error *err)
{
    struct buf sql = BUF_INIT;
    struct bq_result result = {0};
    *ret = (struct reconcile_findings){0};
    compare_sql(&sql, &w->names, scope->entity, values);
    bool ok =
        ask(w, scope, "reconcile_compare", sql.ptr, RECONCILE_MAX_DIFFERENCES / RECONCILE_KINDS, &result, cancel, err);
    if (ok) {
        ret->items = xcalloc(result.row_count + 1, sizeof *ret->items);
        for (size_t i = 0; i < result.row_count; i++)
            take_difference(&result, i, ret);
    }
    bq_result_release(&result);
    buf_release(&sql);
    return ok;
}

bool warehouse_reconcile_sums(struct warehouse *w, const struct reconcile_scope *scope, struct reconcile_sum **ret,
                              size_t *ret_count, struct cancel *cancel, struct error *err)
{
    struct buf sql = BUF_INIT;
    struct bq_result result = {0};
    sums_sql(&sql, &w->names, scope->entity, scope->time_zone);
    bool ok = ask(w, scope, "reconcile_sums", sql.ptr, RECONCILE_MAX_SUMS, &result, cancel, err);
    if (ok) {
        *ret = xcalloc(result.row_count + 1, sizeof **ret);
        *ret_count = result.row_count;
        for (size_t i = 0; i < result.row_count; i++) {
            struct reconcile_sum *sum = &(*ret)[i];
            snprintf(sum->column, sizeof sum->column, "%s", bq_result_string(&result, i, "column_name"));
            snprintf(sum->day, sizeof sum->day, "%s", bq_result_string(&result, i, "day"));
            snprintf(sum->source, sizeof sum->source, "%s", bq_result_string(&result, i, "source_sum"));
            snprintf(sum->warehouse, sizeof sum->warehouse, "%s", bq_result_string(&result, i, "held_sum"));
        }
    }
    bq_result_release(&result);
    buf_release(&sql);
    return ok;
}
