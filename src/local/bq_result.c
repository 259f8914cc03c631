/* bq_result.c - results: DuckDB's chunks kept as they are, REST's cells written from them on demand. */
#include "bq_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/timestamp.h"
#include "bq_value.h"

static const char *const STATEMENT_TYPES[] = {
    [SQL_SELECT] = "SELECT",
    [SQL_INSERT] = "INSERT",
    [SQL_UPDATE] = "UPDATE",
    [SQL_DELETE] = "DELETE",
    [SQL_MERGE] = "MERGE",
    [SQL_TRUNCATE] = "TRUNCATE_TABLE",
    [SQL_CREATE_TABLE] = "CREATE_TABLE",
    [SQL_CREATE_TABLE_AS] = "CREATE_TABLE_AS_SELECT",
    [SQL_CREATE_VIEW] = "CREATE_VIEW",
    [SQL_CREATE_SCHEMA] = "CREATE_SCHEMA",
    [SQL_ALTER_TABLE] = "ALTER_TABLE",
    [SQL_ALTER_SCHEMA] = "ALTER_SCHEMA",
    [SQL_DROP_TABLE] = "DROP_TABLE",
    [SQL_DROP_VIEW] = "DROP_VIEW",
    [SQL_DROP_SCHEMA] = "DROP_SCHEMA",
};

struct engine_result *result_new(enum sql_kind kind)
{
    struct engine_result *result = xcalloc(1, sizeof *result);
    result->kind = kind;
    result->referenced = json_object_new_array();
    return result;
}

void engine_result_free(struct engine_result *result)
{
    if (!result)
        return;
    for (size_t i = 0; i < result->child_count; i++)
        engine_result_free(result->children[i]);
    free(result->children);
    for (size_t i = 0; i < result->chunk_count; i++)
        duckdb_destroy_data_chunk(&result->chunks[i]);
    free(result->chunks);
    free(result->starts);
    for (size_t i = 0; i < result->column_count; i++)
        duckdb_destroy_logical_type(&result->types[i]);
    free(result->types);
    if (result->has_rows)
        duckdb_destroy_result(&result->rows);
    json_object_put(result->schema);
    json_object_put(result->target);
    json_object_put(result->target_dataset);
    json_object_put(result->referenced);
    free(result);
}

struct json_object *table_reference(const char *project, const char *dataset, const char *table)
{
    struct json_object *ref = json_object_new_object();
    json_object_object_add(ref, "projectId", json_object_new_string(project));
    json_object_object_add(ref, "datasetId", json_object_new_string(dataset));
    json_object_object_add(ref, "tableId", json_object_new_string(table));
    return ref;
}

/* ---- schema ---- */

static const char *legacy_type(duckdb_logical_type type)
{
    char *alias = duckdb_logical_type_get_alias(type);
    bool is_json = alias && strcmp(alias, "JSON") == 0;
    duckdb_free(alias);
    if (is_json)
        return "JSON";
    switch (duckdb_get_type_id(type)) {
    case DUCKDB_TYPE_BOOLEAN:
        return "BOOLEAN";
    case DUCKDB_TYPE_FLOAT:
    case DUCKDB_TYPE_DOUBLE:
        return "FLOAT";
    case DUCKDB_TYPE_DECIMAL:
        return "NUMERIC";
    case DUCKDB_TYPE_TIMESTAMP_TZ:
        return "TIMESTAMP";
    case DUCKDB_TYPE_TIMESTAMP:
        return "DATETIME";
    case DUCKDB_TYPE_DATE:
        return "DATE";
    case DUCKDB_TYPE_TIME:
        return "TIME";
    case DUCKDB_TYPE_BLOB:
        return "BYTES";
    case DUCKDB_TYPE_STRUCT:
        return "RECORD";
    case DUCKDB_TYPE_INTERVAL:
        return "INTERVAL";
    case DUCKDB_TYPE_VARCHAR:
    case DUCKDB_TYPE_ENUM:
    case DUCKDB_TYPE_UUID:
        return "STRING";
    default:
        return "INTEGER";
    }
}

struct json_object *result_field_json(const char *name, duckdb_logical_type type)
{
    struct json_object *field = json_object_new_object();
    duckdb_logical_type child = NULL;
    json_object_object_add(field, "name", json_object_new_string(name));
    if (duckdb_get_type_id(type) == DUCKDB_TYPE_LIST)
        child = duckdb_list_type_child_type(type);
    duckdb_logical_type inner = child ? child : type;
    json_object_object_add(field, "type", json_object_new_string(legacy_type(inner)));
    json_object_object_add(field, "mode", json_object_new_string(child ? "REPEATED" : "NULLABLE"));
    if (duckdb_get_type_id(inner) == DUCKDB_TYPE_STRUCT) {
        struct json_object *fields = json_object_new_array();
        for (idx_t i = 0; i < duckdb_struct_type_child_count(inner); i++) {
            char *child_name = duckdb_struct_type_child_name(inner, i);
            duckdb_logical_type member = duckdb_struct_type_child_type(inner, i);
            json_object_array_add(fields, result_field_json(child_name, member));
            duckdb_destroy_logical_type(&member);
            duckdb_free(child_name);
        }
        json_object_object_add(field, "fields", fields);
    }
    if (child)
        duckdb_destroy_logical_type(&child);
    return field;
}

bool result_check_names(struct json_object *fields, struct error *err)
{
    size_t count = json_object_array_length(fields);
    for (size_t i = 0; i < count; i++) {
        const char *name = json_text_at(json_object_array_get_idx(fields, i), "name", "");
        for (size_t j = 0; j < i; j++)
            if (strcasecmp(name, json_text_at(json_object_array_get_idx(fields, j), "name", "")) == 0)
                return bq_fail(err, "invalidQuery", 400,
                               "Duplicate column names in the result are not supported. Found duplicate(s): %s", name);
    }
    return true;
}

bool result_take_rows(struct engine_result *result, duckdb_result *rows, struct error *err)
{
    result->rows = *rows;
    result->has_rows = true;
    result->column_count = duckdb_column_count(rows);
    result->types = xcalloc(result->column_count, sizeof(duckdb_logical_type));
    struct json_object *fields = json_object_new_array();
    result->schema = json_object_new_object();
    json_object_object_add(result->schema, "fields", fields);
    for (size_t i = 0; i < result->column_count; i++) {
        result->types[i] = duckdb_column_logical_type(rows, i);
        json_object_array_add(fields, result_field_json(duckdb_column_name(rows, i), result->types[i]));
    }
    if (!result_check_names(fields, err))
        return false;
    size_t cap = 0;
    duckdb_data_chunk chunk;
    while ((chunk = duckdb_fetch_chunk(*rows)) != NULL) {
        if (result->chunk_count == cap) {
            cap = cap ? cap * 2 : 16;
            result->chunks = xrealloc(result->chunks, cap * sizeof(duckdb_data_chunk));
            result->starts = xrealloc(result->starts, cap * sizeof(int64_t));
        }
        result->starts[result->chunk_count] = result->row_count;
        result->chunks[result->chunk_count++] = chunk;
        result->row_count += (int64_t)duckdb_data_chunk_get_size(chunk);
        if (result->row_count > RESULT_MAX_ROWS)
            return bq_fail(err, "responseTooLarge", 403,
                           "Response too large to return. This server keeps at most %d rows of a result",
                           RESULT_MAX_ROWS);
    }
    return true;
}

/* ---- cells ---- */

static size_t find_chunk(const struct engine_result *result, int64_t row)
{
    size_t low = 0, high = result->chunk_count;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (result->starts[middle] <= row)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static void write_row(const struct engine_result *result, duckdb_data_chunk chunk, idx_t row,
                      enum engine_timestamp_format format, struct buf *out)
{
    buf_append_str(out, "{\"f\":[");
    for (size_t i = 0; i < result->column_count; i++) {
        buf_append_str(out, i ? "," : "");
        value_write_cell(out, duckdb_data_chunk_get_vector(chunk, i), result->types[i], row, format);
    }
    buf_append_str(out, "]}");
}

int64_t engine_result_write_rows(const struct engine_result *result, int64_t start, int64_t max_rows, size_t max_bytes,
                                 enum engine_timestamp_format format, struct buf *out)
{
    size_t before = out->len;
    int64_t written = 0;
    if (start < 0 || start >= result->row_count)
        return 0;
    size_t at = find_chunk(result, start);
    while (written < max_rows && start + written < result->row_count) {
        if (written > 0 && out->len - before >= max_bytes)
            break;
        int64_t in_chunk = start + written - result->starts[at];
        if (in_chunk >= (int64_t)duckdb_data_chunk_get_size(result->chunks[at])) {
            at++;
            continue;
        }
        buf_append_str(out, written ? "," : "");
        write_row(result, result->chunks[at], (idx_t)in_chunk, format, out);
        written++;
    }
    return written;
}

/* ---- accessors ---- */

const char *engine_result_statement_type(const struct engine_result *result)
{
    return result->is_script ? "SCRIPT" : STATEMENT_TYPES[result->kind];
}

struct json_object *engine_result_schema(const struct engine_result *result)
{
    return result->schema;
}

int64_t engine_result_row_count(const struct engine_result *result)
{
    return result->row_count;
}

bool engine_result_dml(const struct engine_result *result, struct engine_dml_stats *ret)
{
    if (result->has_dml)
        *ret = result->dml;
    return result->has_dml;
}

const char *engine_result_ddl_operation(const struct engine_result *result)
{
    return result->ddl_operation;
}

struct json_object *engine_result_target(const struct engine_result *result)
{
    return result->target;
}

struct json_object *engine_result_target_dataset(const struct engine_result *result)
{
    return result->target_dataset;
}

struct json_object *engine_result_referenced_tables(const struct engine_result *result)
{
    return result->referenced;
}

int64_t engine_result_bytes_processed(const struct engine_result *result)
{
    return result->bytes_processed;
}

int64_t engine_result_bytes_billed(const struct engine_result *result)
{
    return result->bytes_billed;
}

size_t engine_result_child_count(const struct engine_result *result)
{
    return result->child_count;
}

const struct engine_result *engine_result_child(const struct engine_result *result, size_t i)
{
    return result->children[i];
}
