/* bq_rest_data.c - tabledata.list and tabledata.insertAll.
 *
 * insertAll takes JSON values as the service does: numbers or text for numbers, base64 for BYTES, seconds or text for
 * TIMESTAMP, text or any value for JSON. A request with a bad row stores nothing, its good rows are reported "stopped";
 * with skipInvalidRows the good ones are stored. insertId is best effort in the service and not looked at here. */
#include <stdlib.h>

#include <openssl/evp.h>

#include "bq_rest_internal.h"

enum { MAX_INSERT_ROWS = 50000 };

/* ---- tabledata.list --------------------------------------------------------------------------------------------- */

static bool data_list(struct rest_request *r, struct buf *out, struct error *err)
{
    int64_t start, max, total = 0;
    enum engine_timestamp_format format;
    struct engine_result *result = NULL;
    struct buf rows = BUF_INIT;
    if (http_exchange_query(r->x, "selectedFields"))
        return rest_fail(err, "notImplemented", "selectedFields is not supported by the local server");
    if (!rest_query_start(r, &start, err) || !rest_query_int(r, "maxResults", REST_MAX_PAGE_ROWS, &max, err) ||
        !rest_timestamp_format(r, &format, err))
        return false;
    max = max > REST_MAX_PAGE_ROWS ? REST_MAX_PAGE_ROWS : max;
    if (!engine_table_rows(r->rest->engine, r->params[REST_PROJECT], r->params[REST_DATASET], r->params[REST_TABLE],
                           start, max, &result, &total, err))
        return false;
    int64_t written = max > 0 ? engine_result_write_rows(result, 0, max, REST_MAX_PAGE_BYTES, format, &rows) : 0;
    struct json_object *head = json_object_new_object();
    json_put_text(head, "kind", "bigquery#tableDataList");
    json_put_int_text(head, "totalRows", total);
    if (start + written < total)
        rest_put_page_token(head, "pageToken", start + written);
    rest_put_with_rows(out, head, &rows);
    buf_release(&rows);
    engine_result_free(result);
    return true;
}

/* ---- Values of insertAll ---------------------------------------------------------------------------------------- */

struct row_writer {
    struct engine_rows *rows;
    bool ignore_unknown;
};

static bool put_value(struct row_writer *w, const struct engine_field *field, struct json_object *value);
static bool put_members(struct row_writer *w, const struct engine_field *fields, size_t count,
                        struct json_object *object);

static bool bad_value(struct row_writer *w, const struct engine_field *field, struct json_object *value)
{
    engine_rows_fail(w->rows, "Cannot convert value to the type of field %s: %.80s", field->name,
                     json_object_get_string(value));
    return false;
}

static bool put_text(struct row_writer *w, const struct engine_field *field, struct json_object *value)
{
    if (json_object_is_type(value, json_type_object) || json_object_is_type(value, json_type_array))
        return bad_value(w, field, value);
    engine_rows_put_string(w->rows, field->node, slice_str(json_object_get_string(value)));
    return true;
}

static bool put_json(struct row_writer *w, const struct engine_field *field, struct json_object *value)
{
    bool text = json_object_is_type(value, json_type_string);
    const char *json =
        text ? json_object_get_string(value)
             : json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    engine_rows_put_string(w->rows, field->node, slice_str(json));
    return true;
}

static bool put_int(struct row_writer *w, const struct engine_field *field, struct json_object *value)
{
    int64_t number;
    if (!slice_to_int64(slice_str(json_object_get_string(value)), &number))
        return bad_value(w, field, value);
    engine_rows_put_int64(w->rows, field->node, number);
    return true;
}

static bool put_float(struct row_writer *w, const struct engine_field *field, struct json_object *value)
{
    const char *text = json_object_get_string(value);
    char *end;
    double number = strtod(text, &end); /* the process never leaves the C locale */
    if (end == text || *end)
        return bad_value(w, field, value);
    engine_rows_put_double(w->rows, field->node, number);
    return true;
}

static bool put_bool(struct row_writer *w, const struct engine_field *field, struct json_object *value)
{
    struct slice text = slice_str(json_object_get_string(value));
    bool yes = slice_eq_nocase(text, SLICE_LIT("true"));
    if (!yes && !slice_eq_nocase(text, SLICE_LIT("false")))
        return bad_value(w, field, value);
    engine_rows_put_bool(w->rows, field->node, yes);
    return true;
}

static bool put_base64(struct row_writer *w, const struct engine_field *field, struct json_object *value)
{
    struct slice text = slice_str(json_object_get_string(value));
    unsigned char *bytes = xmalloc(text.len / 4 * 3 + 4);
    int len = EVP_DecodeBlock(bytes, (const unsigned char *)text.ptr, (int)text.len);
    if (len < 0 || text.len % 4 != 0) {
        free(bytes);
        return bad_value(w, field, value);
    }
    size_t padding = text.len >= 4 ? (size_t)(text.ptr[text.len - 1] == '=') + (text.ptr[text.len - 2] == '=') : 0;
    engine_rows_put_bytes(w->rows, field->node, slice_of(bytes, (size_t)len - padding));
    free(bytes);
    return true;
}

/* A number is seconds since 1970, to the microsecond; text is a timestamp. */
static bool put_timestamp(struct row_writer *w, const struct engine_field *field, struct json_object *value)
{
    if (json_object_is_type(value, json_type_string))
        return put_text(w, field, value);
    int64_t seconds, us;
    double number = json_object_get_double(value);
    if (json_object_is_type(value, json_type_int)) {
        seconds = json_object_get_int64(value);
        if (__builtin_mul_overflow(seconds, 1000000, &us))
            return bad_value(w, field, value);
    } else if (json_object_is_type(value, json_type_double) && number > -1e11 && number < 1e12) {
        us = (int64_t)(number * 1e6 + (number < 0 ? -0.5 : 0.5));
    } else {
        return bad_value(w, field, value);
    }
    engine_rows_put_int64(w->rows, field->node, us);
    return true;
}

static bool put_struct(struct row_writer *w, const struct engine_field *field, struct json_object *value)
{
    if (!json_object_is_type(value, json_type_object))
        return bad_value(w, field, value);
    engine_rows_begin_struct(w->rows, field->node);
    bool ok = put_members(w, field->fields, field->field_count, value);
    engine_rows_end_struct(w->rows, field->node);
    return ok;
}

static bool put_value(struct row_writer *w, const struct engine_field *field, struct json_object *value)
{
    static bool (*const putters[])(struct row_writer *, const struct engine_field *, struct json_object *) = {
        [ENGINE_STRING] = put_text,         [ENGINE_BYTES] = put_base64, [ENGINE_INT64] = put_int,
        [ENGINE_FLOAT64] = put_float,       [ENGINE_BOOL] = put_bool,    [ENGINE_NUMERIC] = put_text,
        [ENGINE_TIMESTAMP] = put_timestamp, [ENGINE_DATE] = put_text,    [ENGINE_TIME] = put_text,
        [ENGINE_DATETIME] = put_text,       [ENGINE_JSON] = put_json,    [ENGINE_STRUCT] = put_struct,
    };
    return putters[field->type](w, field, value);
}

static bool put_repeated(struct row_writer *w, const struct engine_field *field, struct json_object *value)
{
    if (!json_object_is_type(value, json_type_array)) {
        engine_rows_fail(w->rows, "Array specified for non-repeated field or value of repeated field %s is no array",
                         field->name);
        return false;
    }
    bool ok = true;
    for (size_t i = 0; ok && i < json_object_array_length(value); i++) {
        struct json_object *element = json_object_array_get_idx(value, i);
        ok = element ? put_value(w, field, element) : bad_value(w, field, value);
    }
    return ok;
}

static const struct engine_field *field_named(const struct engine_field *fields, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (slice_eq_nocase(slice_str(fields[i].name), slice_str(name)))
            return &fields[i];
    return NULL;
}

static bool put_members(struct row_writer *w, const struct engine_field *fields, size_t count,
                        struct json_object *object)
{
    bool ok = true;
    json_object_object_foreach(object, name, value)
    {
        const struct engine_field *field = field_named(fields, count, name);
        if (!field && w->ignore_unknown)
            continue;
        if (!field) {
            engine_rows_fail(w->rows, "no such field: %.100s.", name);
            return false;
        }
        if (!ok || !value)
            continue;
        ok = field->mode == ENGINE_REPEATED ? put_repeated(w, field, value) : put_value(w, field, value);
    }
    return ok;
}

/* ---- tabledata.insertAll ---------------------------------------------------------------------------------------- */

struct insert {
    struct rest_request *r;
    struct json_object *items; /* rows[] */
    struct engine_schema *schema;
    bool *use_default; /* DEFAULT columns get their value */
    bool *bad;         /* per item */
    struct json_object *errors;
};

static struct engine_rows *decode_rows(struct insert *insert, struct error *err)
{
    size_t column_count;
    const struct engine_field *columns = engine_schema_fields(insert->schema, &column_count);
    struct engine_rows *rows = engine_rows_new(insert->r->rest->engine, insert->schema, insert->use_default, err);
    struct row_writer w = {rows, json_bool_at(insert->r->body, "ignoreUnknownValues", false)};
    for (size_t i = 0; rows && i < json_object_array_length(insert->items); i++) {
        struct json_object *json = json_at(json_object_array_get_idx(insert->items, i), "json");
        if (insert->bad[i])
            continue;
        engine_rows_begin_row(rows);
        if (json && json_object_is_type(json, json_type_object))
            put_members(&w, columns, column_count, json);
        else
            engine_rows_fail(rows, "Required parameter is missing: json");
        engine_rows_end_row(rows);
    }
    return rows;
}

static void add_row_error(struct insert *insert, int64_t index, const char *reason, const char *message)
{
    struct json_object *item = json_object_new_object(), *errors = json_object_new_array();
    struct json_object *error = json_object_new_object();
    json_put_text(error, "reason", reason);
    json_put_text(error, "location", "");
    json_put_text(error, "debugInfo", "");
    json_put_text(error, "message", message);
    json_object_array_add(errors, error);
    json_object_object_add(item, "index", json_object_new_int64(index));
    json_object_object_add(item, "errors", errors);
    json_object_array_add(insert->errors, item);
}

/* Notes which items are bad; true when there are any. */
static bool note_errors(struct insert *insert, const struct engine_rows *rows)
{
    size_t count;
    const struct engine_row_error *errors = engine_rows_errors(rows, &count);
    for (size_t i = 0; i < count; i++) {
        if (!insert->bad[errors[i].index])
            add_row_error(insert, errors[i].index, "invalid", errors[i].message);
        insert->bad[errors[i].index] = true;
    }
    return count > 0;
}

static void stop_good_rows(struct insert *insert)
{
    for (size_t i = 0; i < json_object_array_length(insert->items); i++)
        if (!insert->bad[i])
            add_row_error(insert, (int64_t)i, "stopped", "");
}

static bool store(struct insert *insert, struct error *err)
{
    struct engine_rows *rows = decode_rows(insert, err);
    bool ok = rows != NULL;
    if (ok && note_errors(insert, rows)) {
        engine_rows_free(rows);
        rows = NULL;
        if (!json_bool_at(insert->r->body, "skipInvalidRows", false)) {
            stop_good_rows(insert);
            return true;
        }
        rows = decode_rows(insert, err);
        ok = rows != NULL;
    }
    ok = ok && (engine_rows_count(rows) == 0 || engine_rows_commit(rows, err));
    engine_rows_free(rows);
    return ok;
}

static bool *all_defaults(const struct engine_schema *schema)
{
    size_t count;
    engine_schema_fields(schema, &count);
    bool *flags = xcalloc(count + 1, sizeof *flags);
    for (size_t i = 0; i < count; i++)
        flags[i] = true;
    return flags;
}

static bool insert_all(struct rest_request *r, struct buf *out, struct error *err)
{
    struct insert insert = {.r = r, .items = json_at(r->body, "rows")};
    bool is_array = insert.items && json_object_is_type(insert.items, json_type_array);
    size_t count = is_array ? json_object_array_length(insert.items) : 0;
    if (json_at(r->body, "templateSuffix"))
        return rest_fail(err, "notImplemented", "templateSuffix is not supported by the local server");
    if (count == 0)
        return rest_fail(err, "invalid", "No rows present in the request.");
    if (count > MAX_INSERT_ROWS)
        return rest_fail(err, "invalid", "too many rows present in the request, limit: %d row count: %zu.",
                         MAX_INSERT_ROWS, count);
    insert.schema = engine_schema_open(r->rest->engine, r->params[REST_PROJECT], r->params[REST_DATASET],
                                       r->params[REST_TABLE], err);
    if (!insert.schema)
        return false;
    insert.use_default = all_defaults(insert.schema);
    insert.bad = xcalloc(count, sizeof *insert.bad);
    insert.errors = json_object_new_array();
    bool ok = store(&insert, err);
    struct json_object *answer = json_object_new_object();
    json_put_text(answer, "kind", "bigquery#tableDataInsertAllResponse");
    if (json_object_array_length(insert.errors) > 0)
        json_object_object_add(answer, "insertErrors", json_object_get(insert.errors));
    if (ok)
        rest_put_json(out, answer);
    else
        json_object_put(answer);
    json_object_put(insert.errors);
    free(insert.bad);
    free(insert.use_default);
    engine_schema_free(insert.schema);
    return ok;
}

const struct rest_route rest_data_routes[] = {
    {"GET", "projects/{}/datasets/{}/tables/{}/data", data_list, false, "bigquery.tabledata.list", false},
    {"POST", "projects/{}/datasets/{}/tables/{}/insertAll", insert_all, true, "bigquery.tabledata.insertAll", true},
    {NULL, NULL, NULL, false, NULL, false},
};
