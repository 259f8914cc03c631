/* bq_sql_info.c - INFORMATION_SCHEMA views of a dataset, as literal rows made from the catalog. */
#include "bq_sql_parser.h"

#include <inttypes.h>
#include <stdlib.h>

static void append_text(struct buf *out, const char *text)
{
    if (text)
        duck_append_string(out, slice_str(text));
    else
        buf_append_str(out, "CAST(NULL AS VARCHAR)");
}

static void append_name_columns(struct buf *out, const struct engine_schema *table)
{
    append_text(out, table->project);
    buf_append_str(out, " AS table_catalog, ");
    append_text(out, table->dataset);
    buf_append_str(out, " AS table_schema, ");
    append_text(out, table->name);
    buf_append_str(out, " AS table_name");
}

static void tables_row(struct buf *out, const struct engine_schema *table, size_t *count)
{
    struct error ignored = ERROR_INIT;
    struct json_object *resource = json_parse(slice_str(table->resource), "table", &ignored);
    buf_append_str(out, (*count)++ ? " UNION ALL SELECT " : "SELECT ");
    append_name_columns(out, table);
    buf_printf(out, ", '%s' AS table_type, 'NO' AS is_insertable_into, bq_from_micros(%" PRId64 ") AS creation_time",
               table->view_query ? "VIEW" : "BASE TABLE", json_int_at(resource, "creationTime", 0) * 1000);
    json_object_put(resource);
}

static void columns_rows(struct buf *out, const struct engine_schema *table, size_t *count)
{
    struct error ignored = ERROR_INIT;
    struct json_object *resource = json_parse(slice_str(table->resource), "table", &ignored);
    const char *partition =
        json_text_at(resource, "timePartitioning.field", json_text_at(resource, "rangePartitioning.field", ""));
    for (size_t i = 0; i < table->field_count; i++) {
        const struct engine_field *field = &table->fields[i];
        struct buf type = BUF_INIT;
        type_append_standard(&type, field);
        buf_append_str(out, (*count)++ ? " UNION ALL SELECT " : "SELECT ");
        append_name_columns(out, table);
        buf_append_str(out, ", ");
        append_text(out, field->name);
        buf_printf(out, " AS column_name, CAST(%zu AS BIGINT) AS ordinal_position, '%s' AS is_nullable, ", i + 1,
                   field->mode == ENGINE_REQUIRED ? "NO" : "YES");
        append_text(out, buf_cstr(&type));
        buf_printf(out, " AS data_type, '%s' AS is_partitioning_column, ",
                   strcasecmp(partition, field->name) == 0 ? "YES" : "NO");
        append_text(out, field->default_expression ? field->default_expression : "NULL");
        buf_append_str(out, " AS column_default");
        buf_release(&type);
    }
    json_object_put(resource);
}

/* Format of a partition id by the partitioning's type. */
static const char *partition_format(const char *type)
{
    static const char *const ROWS[][2] = {{"HOUR", "%Y%m%d%H"}, {"DAY", "%Y%m%d"}, {"MONTH", "%Y%m"}, {"YEAR", "%Y"}};
    for (size_t i = 0; i < 4; i++)
        if (strcmp(type, ROWS[i][0]) == 0)
            return ROWS[i][1];
    return "%Y%m%d";
}

static void partitions_rows(struct buf *out, const struct engine_schema *table, size_t *count)
{
    struct error ignored = ERROR_INIT;
    struct json_object *resource = json_parse(slice_str(table->resource), "table", &ignored);
    const char *field = json_text_at(resource, "timePartitioning.field", NULL);
    if (!table->view_query) {
        buf_append_str(out, (*count)++ ? " UNION ALL SELECT " : "SELECT ");
        append_name_columns(out, table);
        if (field) {
            buf_append_str(out, ", coalesce(strftime(CAST(");
            duck_append_name(out, slice_str(field));
            buf_printf(out, " AS TIMESTAMP), '%s'), '__NULL__')",
                       partition_format(json_text_at(resource, "timePartitioning.type", "DAY")));
        } else {
            buf_append_str(out, ", CAST(NULL AS VARCHAR)");
        }
        buf_printf(out, " AS partition_id, count(*) AS total_rows FROM main.t%" PRId64 "%s", table->id,
                   field ? " GROUP BY ALL" : "");
    }
    json_object_put(resource);
}

static const struct info_row {
    const char *name;
    void (*append)(struct buf *out, const struct engine_schema *table, size_t *count);
    const char *none; /* columns of the empty view */
} VIEWS[] = {
    {"TABLES", tables_row,
     "SELECT '' AS table_catalog, '' AS table_schema, '' AS table_name, '' AS table_type, '' AS is_insertable_into, "
     "bq_from_micros(0) AS creation_time WHERE FALSE"},
    {"COLUMNS", columns_rows,
     "SELECT '' AS table_catalog, '' AS table_schema, '' AS table_name, '' AS column_name, CAST(0 AS BIGINT) AS "
     "ordinal_position, "
     "'' AS is_nullable, '' AS data_type, '' AS is_partitioning_column, '' AS column_default WHERE FALSE"},
    {"PARTITIONS", partitions_rows,
     "SELECT '' AS table_catalog, '' AS table_schema, '' AS table_name, '' AS partition_id, CAST(0 AS BIGINT) AS "
     "total_rows WHERE "
     "FALSE"},
};

const char *information_schema(struct sql_parser *p, const char *project, struct slice dataset, struct slice view,
                               size_t offset)
{
    const struct info_row *row = NULL;
    for (size_t i = 0; i < sizeof VIEWS / sizeof VIEWS[0]; i++)
        if (slice_eq_nocase(view, slice_str(VIEWS[i].name)))
            row = &VIEWS[i];
    if (!row) {
        parser_fail(p, offset, "INFORMATION_SCHEMA.%.*s is not supported by this server", SLICE_ARG(view));
        return NULL;
    }
    if (p->ctx->syntax_only)
        return parser_text(p, "(%s)", row->none);
    const char *name = dataset.len > 0 ? arena_strdup(p->arena, dataset) : p->ctx->default_dataset;
    char *text = name ? catalog_dataset_text(p->ctx->catalog, project, name) : NULL;
    if (!text) {
        catalog_no_dataset(p->err, project, name ? name : "", p->ctx->location);
        p->failed = true;
        return NULL;
    }
    free(text);
    size_t tables, count = 0;
    struct buf out = BUF_INIT;
    struct engine_schema **list = catalog_tables(p->ctx->catalog, project, name, &tables);
    buf_append_char(&out, '(');
    for (size_t i = 0; i < tables; i++) {
        row->append(&out, list[i], &count);
        schema_unref(list[i]);
    }
    free(list);
    if (count == 0)
        buf_append_str(&out, row->none);
    buf_append_char(&out, ')');
    return parser_keep(p, &out);
}
