/* bq_rows.c - fast row insertion: values go straight into the vectors of a data chunk, chunks into DuckDB's query
 * appender.
 *
 * The appender runs "INSERT INTO t(..) SELECT .. FROM rows" inside one transaction of its own connection, so a batch is
 * atomic however large it is; DEFAULT expressions are part of that SELECT. A missing value is a NULL that was never
 * put: the validity of a column is cleared for a row when it begins and set by a put. */
#include "bq_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/timestamp.h"
#include "bq_value.h"

enum { ROWS_CHUNK = 2048, ROWS_LIST_MIN = 4096, DATE_MIN_DAYS = -719162, DATE_MAX_DAYS = 2932896 };

struct node {
    const struct engine_field *field;
    struct node *parent;  /* NULL: a column */
    duckdb_vector list;   /* REPEATED: the list vector; else NULL */
    duckdb_vector vector; /* of the values (the list's child when REPEATED) */
    void *data;
    uint64_t *validity; /* of the values */
    uint64_t *list_validity;
    idx_t count, cap; /* REPEATED: elements so far, room */
    idx_t open;       /* row or element that is being filled */
    struct node **children;
    bool was_put; /* in the open row; columns only */
};

struct engine_rows {
    struct engine *engine;
    const struct engine_schema *schema;
    duckdb_connection conn;
    duckdb_appender appender;
    duckdb_data_chunk chunk;
    duckdb_logical_type *types;
    struct node *nodes; /* by node number */
    bool *use_default;
    struct node **stack; /* open STRUCTs */
    size_t depth, stack_cap;
    idx_t in_chunk;
    int64_t count;
    bool row_failed, failed, spent;
    char failure[300];
    struct engine_row_error *errors;
    size_t error_count;
};

/* ---- schema handles ---- */

int64_t engine_schema_created_ms(const struct engine_schema *schema)
{
    struct error err = ERROR_INIT;
    struct json_object *resource = json_parse(slice_str(schema->resource), "resource", &err);
    int64_t ms = json_int_at(resource, "creationTime", 0);
    json_object_put(resource);
    return ms;
}

struct engine_schema *engine_schema_open(struct engine *engine, const char *project, const char *dataset,
                                         const char *table, struct error *err)
{
    struct engine_schema *schema = catalog_table(&engine->catalog, project, dataset, table);
    if (!schema) {
        catalog_no_table(err, project, dataset, table, NULL);
    } else if (schema->view_query) {
        bq_fail(err, "invalid", 400, "Cannot write to a view: %s:%s.%s", project, dataset, table);
        schema_unref(schema);
        schema = NULL;
    }
    return schema;
}

void engine_schema_free(struct engine_schema *schema)
{
    schema_unref(schema);
}

const struct engine_field *engine_schema_fields(const struct engine_schema *schema, size_t *ret_count)
{
    *ret_count = schema->field_count;
    return schema->fields;
}

size_t engine_schema_node_count(const struct engine_schema *schema)
{
    return schema->node_count;
}

bool engine_schema_is_current(struct engine *engine, const struct engine_schema *schema)
{
    struct engine_schema *now = catalog_table(&engine->catalog, schema->project, schema->dataset, schema->name);
    bool current = now == schema;
    schema_unref(now);
    return current;
}

/* ---- types and vectors ---- */

static duckdb_logical_type value_type(const struct engine_field *field);

static duckdb_logical_type struct_type(const struct engine_field *field)
{
    duckdb_logical_type *types = xcalloc(field->field_count, sizeof types[0]);
    const char **names = xcalloc(field->field_count, sizeof names[0]);
    for (size_t i = 0; i < field->field_count; i++) {
        types[i] = value_type(&field->fields[i]);
        names[i] = field->fields[i].name;
    }
    duckdb_logical_type type = duckdb_create_struct_type(types, names, field->field_count);
    for (size_t i = 0; i < field->field_count; i++)
        duckdb_destroy_logical_type(&types[i]);
    free(types);
    free(names);
    return type;
}

static duckdb_logical_type value_type(const struct engine_field *field)
{
    static const duckdb_type IDS[] = {
        [ENGINE_STRING] = DUCKDB_TYPE_VARCHAR,     [ENGINE_BYTES] = DUCKDB_TYPE_BLOB,
        [ENGINE_INT64] = DUCKDB_TYPE_BIGINT,       [ENGINE_FLOAT64] = DUCKDB_TYPE_DOUBLE,
        [ENGINE_BOOL] = DUCKDB_TYPE_BOOLEAN,       [ENGINE_TIMESTAMP] = DUCKDB_TYPE_TIMESTAMP_TZ,
        [ENGINE_DATE] = DUCKDB_TYPE_DATE,          [ENGINE_TIME] = DUCKDB_TYPE_TIME,
        [ENGINE_DATETIME] = DUCKDB_TYPE_TIMESTAMP, [ENGINE_JSON] = DUCKDB_TYPE_VARCHAR,
        [ENGINE_NUMERIC] = DUCKDB_TYPE_DECIMAL,    [ENGINE_STRUCT] = DUCKDB_TYPE_STRUCT};
    duckdb_logical_type type;
    if (field->type == ENGINE_STRUCT)
        type = struct_type(field);
    else if (field->type == ENGINE_NUMERIC)
        type = duckdb_create_decimal_type(38, 9);
    else
        type = duckdb_create_logical_type(IDS[field->type]);
    if (field->mode != ENGINE_REPEATED)
        return type;
    duckdb_logical_type list = duckdb_create_list_type(type);
    duckdb_destroy_logical_type(&type);
    return list;
}

static void link_nodes(struct engine_rows *rows, const struct engine_field *fields, size_t count, struct node *parent)
{
    for (size_t i = 0; i < count; i++) {
        struct node *node = &rows->nodes[fields[i].node];
        node->field = &fields[i];
        node->parent = parent;
        if (parent)
            parent->children[i] = node;
        if (fields[i].field_count > 0) {
            node->children = xcalloc(fields[i].field_count, sizeof(struct node *));
            link_nodes(rows, fields[i].fields, fields[i].field_count, node);
        }
    }
}

/* Takes the pointers of a vector again: at the start of a chunk and when a list has grown. */
static void bind_vector(struct node *node, duckdb_vector vector)
{
    bool repeated = node->field->mode == ENGINE_REPEATED;
    node->list = repeated ? vector : NULL;
    if (repeated) {
        duckdb_vector_ensure_validity_writable(vector);
        node->list_validity = duckdb_vector_get_validity(vector);
    }
    node->vector = repeated ? duckdb_list_vector_get_child(vector) : vector;
    duckdb_vector_ensure_validity_writable(node->vector);
    node->validity = duckdb_vector_get_validity(node->vector);
    node->data = node->field->type == ENGINE_STRUCT ? NULL : duckdb_vector_get_data(node->vector);
    for (size_t i = 0; i < node->field->field_count; i++)
        bind_vector(node->children[i], duckdb_struct_vector_get_child(node->vector, i));
}

static void bind_columns(struct engine_rows *rows)
{
    for (size_t i = 0; i < rows->schema->field_count; i++) {
        struct node *node = &rows->nodes[rows->schema->fields[i].node];
        bind_vector(node, duckdb_data_chunk_get_vector(rows->chunk, i));
    }
    for (size_t i = 0; i < rows->schema->node_count; i++) {
        rows->nodes[i].count = 0;
        rows->nodes[i].cap = 0;
    }
}

static inline void set_valid(uint64_t *validity, idx_t row)
{
    validity[row / 64] |= 1ULL << (row % 64);
}

static inline void set_null(uint64_t *validity, idx_t row)
{
    validity[row / 64] &= ~(1ULL << (row % 64));
}

/* Makes an instance NULL, and everything under it; lists become empty. */
static void clear_instance(struct node *node, idx_t at)
{
    if (node->list) {
        set_valid(node->list_validity, at);
        ((duckdb_list_entry *)duckdb_vector_get_data(node->list))[at] = (duckdb_list_entry){node->count, 0};
        return;
    }
    set_null(node->validity, at);
    for (size_t i = 0; i < node->field->field_count; i++)
        clear_instance(node->children[i], at);
}

static void clear_children(struct node *node, idx_t at)
{
    for (size_t i = 0; i < node->field->field_count; i++)
        clear_instance(node->children[i], at);
}

/* Row or element of the parent that is open. */
static inline idx_t parent_open(const struct engine_rows *rows, const struct node *node)
{
    return node->parent ? node->parent->open : rows->in_chunk;
}

static void grow_list(struct node *node)
{
    idx_t cap = node->cap ? node->cap * 2 : ROWS_LIST_MIN;
    duckdb_list_vector_set_size(node->list, node->count);
    duckdb_list_vector_reserve(node->list, cap);
    node->cap = cap;
    bind_vector(node, node->list);
}

/* Where the next value of the node goes; a new element when it is REPEATED. */
static idx_t next_slot(struct engine_rows *rows, struct node *node)
{
    idx_t owner = parent_open(rows, node);
    node->was_put = true;
    if (!node->list)
        return owner;
    if (node->count == node->cap)
        grow_list(node);
    ((duckdb_list_entry *)duckdb_vector_get_data(node->list))[owner].length++;
    return node->count++;
}

/* ---- batches ---- */

static void append_target(struct engine_rows *rows, struct buf *sql)
{
    const struct engine_schema *schema = rows->schema;
    buf_printf(sql, "INSERT INTO main.t%" PRId64 " (", schema->id);
    for (size_t i = 0; i < schema->field_count; i++) {
        buf_append_str(sql, i ? ", " : "");
        duck_append_name(sql, slice_str(schema->fields[i].name));
    }
    buf_append_str(sql, ") SELECT ");
}

static bool append_source(struct engine_rows *rows, struct buf *sql, struct arena *arena, struct error *err)
{
    const struct engine_schema *schema = rows->schema;
    for (size_t i = 0; i < schema->field_count; i++) {
        const struct engine_field *field = &schema->fields[i];
        bool with_default = rows->use_default[i] && field->default_expression;
        buf_printf(sql, "%s%sc%zu", i ? ", " : "", with_default ? "coalesce(" : "", i);
        if (!with_default)
            continue;
        struct sql_context ctx;
        engine_sql_context(rows->engine, schema->project, &ctx);
        const char *value = sql_translate_default(&ctx, slice_str(field->default_expression), arena, err);
        if (!value)
            return false;
        buf_printf(sql, ", CAST(%s AS ", value);
        type_append_duck(sql, field);
        buf_append_str(sql, "))");
    }
    buf_append_str(sql, " FROM _rows");
    return true;
}

static bool create_appender(struct engine_rows *rows, struct error *err)
{
    size_t count = rows->schema->field_count;
    struct buf sql = BUF_INIT;
    struct arena *arena = arena_new(0);
    const char **names = xcalloc(count, sizeof names[0]);
    append_target(rows, &sql);
    bool ok = append_source(rows, &sql, arena, err);
    for (size_t i = 0; i < count; i++) {
        char name[16];
        int n = snprintf(name, sizeof name, "c%zu", i);
        names[i] = arena_strdup(arena, slice_of(name, (size_t)n));
    }
    if (ok && duckdb_appender_create_query(rows->conn, buf_cstr(&sql), count, rows->types, "_rows", names,
                                           &rows->appender) != DuckDBSuccess)
        ok = bq_fail(err, "backendError", 500, "cannot append to %s: %s", rows->schema->name,
                     duckdb_appender_error(rows->appender));
    free(names);
    arena_free(arena);
    buf_release(&sql);
    return ok;
}

struct engine_rows *engine_rows_new(struct engine *engine, const struct engine_schema *schema, const bool *use_default,
                                    struct error *err)
{
    struct engine_rows *rows = xcalloc(1, sizeof *rows);
    rows->engine = engine;
    rows->schema = schema;
    rows->types = xcalloc(schema->field_count, sizeof rows->types[0]);
    rows->nodes = xcalloc(schema->node_count, sizeof rows->nodes[0]);
    rows->use_default = xcalloc(schema->field_count, sizeof(bool));
    rows->stack_cap = SCHEMA_MAX_DEPTH + 1;
    rows->stack = xcalloc(rows->stack_cap, sizeof(struct node *));
    for (size_t i = 0; i < schema->field_count; i++) {
        rows->types[i] = value_type(&schema->fields[i]);
        rows->use_default[i] = use_default && use_default[i];
    }
    link_nodes(rows, schema->fields, schema->field_count, NULL);
    rows->conn = duck_borrow(engine->duck, err);
    bool ok = rows->conn && create_appender(rows, err) && duck_exec(rows->conn, "BEGIN", err);
    if (!ok) {
        engine_rows_free(rows);
        return NULL;
    }
    rows->chunk = duckdb_create_data_chunk(rows->types, schema->field_count);
    bind_columns(rows);
    return rows;
}

void engine_rows_free(struct engine_rows *rows)
{
    if (!rows)
        return;
    if (rows->appender) {
        if (!rows->spent)
            duckdb_appender_clear(rows->appender);
        duckdb_appender_destroy(&rows->appender);
    }
    if (rows->chunk)
        duckdb_destroy_data_chunk(&rows->chunk);
    duck_return(rows->engine->duck, rows->conn);
    for (size_t i = 0; i < rows->schema->field_count; i++)
        duckdb_destroy_logical_type(&rows->types[i]);
    for (size_t i = 0; i < rows->schema->node_count; i++)
        free(rows->nodes[i].children);
    free(rows->types);
    free(rows->nodes);
    free(rows->use_default);
    free(rows->stack);
    free(rows->errors);
    free(rows);
}

/* List sizes must be set before a chunk is handed over. */
static void seal_lists(struct engine_rows *rows)
{
    for (size_t i = 0; i < rows->schema->node_count; i++)
        if (rows->nodes[i].list)
            duckdb_list_vector_set_size(rows->nodes[i].list, rows->nodes[i].count);
}

static bool flush_chunk(struct engine_rows *rows)
{
    if (rows->in_chunk == 0)
        return true;
    seal_lists(rows);
    duckdb_data_chunk_set_size(rows->chunk, rows->in_chunk);
    if (!rows->failed && rows->error_count == 0 &&
        duckdb_append_data_chunk(rows->appender, rows->chunk) != DuckDBSuccess) {
        rows->failed = true;
        snprintf(rows->failure, sizeof rows->failure, "%s", duckdb_appender_error(rows->appender));
    }
    duckdb_data_chunk_reset(rows->chunk);
    rows->in_chunk = 0;
    bind_columns(rows);
    return !rows->failed;
}

void engine_rows_begin_row(struct engine_rows *rows)
{
    if (rows->in_chunk == ROWS_CHUNK)
        flush_chunk(rows);
    rows->row_failed = false;
    rows->depth = 0;
    for (size_t i = 0; i < rows->schema->field_count; i++) {
        struct node *node = &rows->nodes[rows->schema->fields[i].node];
        node->was_put = false;
        clear_instance(node, rows->in_chunk);
    }
}

void engine_rows_fail(struct engine_rows *rows, const char *fmt, ...)
{
    if (rows->row_failed)
        return; /* the first error of a row is the one that is told */
    rows->row_failed = true;
    if (rows->error_count == ENGINE_MAX_ROW_ERRORS)
        return;
    rows->errors = xrealloc(rows->errors, (rows->error_count + 1) * sizeof rows->errors[0]);
    struct engine_row_error *error = &rows->errors[rows->error_count++];
    error->index = rows->count;
    va_list args;
    va_start(args, fmt);
    vsnprintf(error->message, sizeof error->message, fmt, args);
    va_end(args);
}

void engine_rows_end_row(struct engine_rows *rows)
{
    for (size_t i = 0; i < rows->schema->field_count; i++) {
        const struct engine_field *field = &rows->schema->fields[i];
        bool has_default = rows->use_default[i] && field->default_expression;
        if (field->mode == ENGINE_REQUIRED && !rows->nodes[field->node].was_put && !has_default)
            engine_rows_fail(rows, "Field %s: Missing required field", field->name);
    }
    rows->count++;
    rows->in_chunk++;
}

/* ---- puts ---- */

static void bad_value(struct engine_rows *rows, const struct engine_field *field, const char *why)
{
    engine_rows_fail(rows, "Field %s: %s for type %s", field->name, why, type_standard_name(field->type));
}

static bool in_range(struct engine_rows *rows, const struct engine_field *field, int64_t value, int64_t low,
                     int64_t high)
{
    if (value >= low && value <= high)
        return true;
    bad_value(rows, field, "Value out of range");
    return false;
}

/* Packed civil time of day to microseconds; false when no such time. */
static bool unpack_time(int64_t packed, int64_t *ret)
{
    int64_t us = packed & 0xFFFFF, s = (packed >> 20) & 63, m = (packed >> 26) & 63, h = (packed >> 32) & 31;
    *ret = ((h * 60 + m) * 60 + s) * 1000000 + us;
    return us < 1000000 && s < 60 && m < 60 && h < 24;
}

static bool unpack_datetime(int64_t packed, int64_t *ret)
{
    int64_t time, day = (packed >> 37) & 31, month = (packed >> 42) & 15, year = packed >> 46;
    char text[24];
    int32_t days;
    if (!unpack_time(packed & ((1LL << 37) - 1), &time) || year < 1 || year > 9999)
        return false;
    int n = snprintf(text, sizeof text, "%04d-%02d-%02d", (int)year, (int)month, (int)day);
    if (!timestamp_parse_date(slice_of(text, (size_t)n), &days))
        return false;
    *ret = days * 86400000000LL + time;
    return true;
}

static void store_int64(struct engine_rows *rows, struct node *node, int64_t value)
{
    idx_t at = next_slot(rows, node);
    ((int64_t *)node->data)[at] = value;
    set_valid(node->validity, at);
}

static void store_numeric(struct engine_rows *rows, struct node *node, int128 value)
{
    int128 limit = (int128)1000000000000000000LL * 1000000000000000000LL * 100;
    if (value >= limit || value <= -limit) {
        bad_value(rows, node->field, "Value out of range");
        return;
    }
    idx_t at = next_slot(rows, node);
    ((duckdb_hugeint *)node->data)[at] = (duckdb_hugeint){(uint64_t)value, (int64_t)(value >> 64)};
    set_valid(node->validity, at);
}

static void store_text(struct engine_rows *rows, struct node *node, struct slice value)
{
    idx_t at = next_slot(rows, node);
    duckdb_unsafe_vector_assign_string_element_len(node->vector, at, value.ptr ? value.ptr : "", value.len);
    set_valid(node->validity, at);
}

static void store_date(struct engine_rows *rows, struct node *node, int64_t days)
{
    if (!in_range(rows, node->field, days, DATE_MIN_DAYS, DATE_MAX_DAYS))
        return;
    idx_t at = next_slot(rows, node);
    ((int32_t *)node->data)[at] = (int32_t)days;
    set_valid(node->validity, at);
}

static void store_bool(struct engine_rows *rows, struct node *node, bool value)
{
    idx_t at = next_slot(rows, node);
    ((bool *)node->data)[at] = value;
    set_valid(node->validity, at);
}

static void store_double(struct engine_rows *rows, struct node *node, double value)
{
    idx_t at = next_slot(rows, node);
    ((double *)node->data)[at] = value;
    set_valid(node->validity, at);
}

void engine_rows_put_int64(struct engine_rows *rows, int number, int64_t value)
{
    struct node *node = &rows->nodes[number];
    int64_t us;
    switch (node->field->type) {
    case ENGINE_INT64:
        store_int64(rows, node, value);
        return;
    case ENGINE_TIMESTAMP:
        if (in_range(rows, node->field, value, TIMESTAMP_MIN_US, TIMESTAMP_MAX_US))
            store_int64(rows, node, value);
        return;
    case ENGINE_DATE:
        store_date(rows, node, value);
        return;
    case ENGINE_DATETIME:
        if (unpack_datetime(value, &us))
            store_int64(rows, node, us);
        else
            bad_value(rows, node->field, "Invalid packed value");
        return;
    case ENGINE_TIME:
        if (unpack_time(value, &us) && value >= 0 && value >> 37 == 0)
            store_int64(rows, node, us);
        else
            bad_value(rows, node->field, "Invalid packed value");
        return;
    case ENGINE_NUMERIC:
        store_numeric(rows, node, (int128)value * 1000000000);
        return;
    case ENGINE_BOOL:
        store_bool(rows, node, value != 0);
        return;
    case ENGINE_FLOAT64:
        store_double(rows, node, (double)value);
        return;
    default:
        bad_value(rows, node->field, "An integer is no value");
    }
}

void engine_rows_put_double(struct engine_rows *rows, int number, double value)
{
    struct node *node = &rows->nodes[number];
    struct buf text = BUF_INIT;
    duckdb_hugeint numeric;
    if (node->field->type == ENGINE_FLOAT64) {
        store_double(rows, node, value);
    } else if (node->field->type == ENGINE_NUMERIC) {
        value_write_double(&text, value);
        if (value_parse_numeric(buf_slice(&text), &numeric))
            store_numeric(rows, node, (int128)numeric.upper * ((int128)1 << 64) + numeric.lower);
        else
            bad_value(rows, node->field, "Value out of range");
    } else {
        bad_value(rows, node->field, "A floating point number is no value");
    }
    buf_release(&text);
}

void engine_rows_put_bool(struct engine_rows *rows, int number, bool value)
{
    struct node *node = &rows->nodes[number];
    if (node->field->type == ENGINE_BOOL)
        store_bool(rows, node, value);
    else
        bad_value(rows, node->field, "A boolean is no value");
}

/* "HH:MM:SS[.ffffff]" */
static bool parse_time_text(struct slice text, int64_t *ret)
{
    struct buf whole = BUF_INIT;
    bool plain = text.len >= 8 && text.ptr[2] == ':' && text.ptr[text.len - 1] != 'Z' &&
                 !memchr(text.ptr, '+', text.len) && !memchr(text.ptr, '-', text.len);
    buf_printf(&whole, "1970-01-01T%.*s", SLICE_ARG(text));
    bool ok = plain && timestamp_parse(buf_slice(&whole), ret, NULL);
    buf_release(&whole);
    return ok;
}

static bool is_json(struct slice text)
{
    struct error ignored = ERROR_INIT;
    struct json_tokener *tokener = json_tokener_new_ex(JSON_MAX_DEPTH * 8);
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
    struct json_object *obj = json_tokener_parse_ex(tokener, text.ptr ? text.ptr : "", (int)text.len);
    enum json_tokener_error state = json_tokener_get_error(tokener);
    if (state == json_tokener_continue) { /* a bare number ends with its text */
        json_object_put(obj);
        obj = json_tokener_parse_ex(tokener, "\n", 1);
        state = json_tokener_get_error(tokener);
    } else if (state == json_tokener_success && json_tokener_get_parse_end(tokener) < text.len) {
        state = slice_trim(slice_of(text.ptr + json_tokener_get_parse_end(tokener),
                                    text.len - json_tokener_get_parse_end(tokener)))
                            .len == 0
                    ? state
                    : json_tokener_error_parse_unexpected;
    }
    json_object_put(obj);
    json_tokener_free(tokener);
    (void)ignored;
    return state == json_tokener_success;
}

static void put_checked_text(struct engine_rows *rows, struct node *node, struct slice value)
{
    if (node->field->max_length > 0) {
        int64_t length = 0;
        for (size_t i = 0; i < value.len; i++)
            length += ((unsigned char)value.ptr[i] & 0xC0) != 0x80;
        if (length > node->field->max_length) {
            engine_rows_fail(rows,
                             "Field %s: STRING(%" PRId64 ") has maximum length %" PRId64
                             " but got a value with length %" PRId64,
                             node->field->name, node->field->max_length, node->field->max_length, length);
            return;
        }
    }
    store_text(rows, node, value);
}

void engine_rows_put_string(struct engine_rows *rows, int number, struct slice value)
{
    struct node *node = &rows->nodes[number];
    duckdb_hugeint numeric;
    int64_t us;
    int32_t days;
    if (!slice_is_utf8(value)) {
        bad_value(rows, node->field, "Invalid UTF-8");
        return;
    }
    switch (node->field->type) {
    case ENGINE_STRING:
        put_checked_text(rows, node, value);
        return;
    case ENGINE_BYTES:
        store_text(rows, node, value);
        return;
    case ENGINE_JSON:
        if (is_json(value))
            store_text(rows, node, value);
        else
            bad_value(rows, node->field, "Invalid text");
        return;
    case ENGINE_NUMERIC:
        if (value_parse_numeric(value, &numeric))
            store_numeric(rows, node, (int128)numeric.upper * ((int128)1 << 64) + numeric.lower);
        else
            bad_value(rows, node->field, "Invalid value");
        return;
    case ENGINE_DATE:
        if (timestamp_parse_date(value, &days))
            store_date(rows, node, days);
        else
            bad_value(rows, node->field, "Invalid value");
        return;
    case ENGINE_TIME:
        if (parse_time_text(value, &us))
            store_int64(rows, node, us);
        else
            bad_value(rows, node->field, "Invalid value");
        return;
    case ENGINE_DATETIME:
    case ENGINE_TIMESTAMP:
        if (timestamp_parse(value, &us, NULL))
            store_int64(rows, node, us);
        else
            bad_value(rows, node->field, "Invalid value");
        return;
    default:
        bad_value(rows, node->field, "A string is no value");
    }
}

/* Little-endian two's complement of value x 10^9. */
static bool unpack_numeric(struct slice bytes, int128 *ret)
{
    if (bytes.len == 0 || bytes.len > 16)
        return false;
    uint128 v = (unsigned char)bytes.ptr[bytes.len - 1] & 0x80 ? ~(uint128)0 : 0;
    for (size_t i = bytes.len; i-- > 0;)
        v = (v << 8) | (unsigned char)bytes.ptr[i];
    *ret = (int128)v;
    return true;
}

void engine_rows_put_bytes(struct engine_rows *rows, int number, struct slice value)
{
    struct node *node = &rows->nodes[number];
    int128 numeric;
    if (node->field->type == ENGINE_BYTES)
        store_text(rows, node, value);
    else if (node->field->type == ENGINE_NUMERIC && unpack_numeric(value, &numeric))
        store_numeric(rows, node, numeric);
    else
        bad_value(rows, node->field, "Bytes are no value");
}

void engine_rows_begin_struct(struct engine_rows *rows, int number)
{
    struct node *node = &rows->nodes[number];
    BUG_ON(rows->depth >= rows->stack_cap);
    bool again = !node->list && node->was_put && duck_valid(node->validity, parent_open(rows, node));
    idx_t at = again ? parent_open(rows, node) : next_slot(rows, node);
    node->open = at;
    if (!again)
        clear_children(node, at);
    set_valid(node->validity, at);
    rows->stack[rows->depth++] = node;
}

void engine_rows_end_struct(struct engine_rows *rows, int number)
{
    struct node *node = &rows->nodes[number];
    BUG_ON(rows->depth == 0 || rows->stack[rows->depth - 1] != node);
    rows->depth--;
    for (size_t i = 0; i < node->field->field_count; i++) {
        struct node *child = node->children[i];
        if (child->field->mode == ENGINE_REQUIRED && !duck_valid(child->validity, node->open))
            engine_rows_fail(rows, "Field %s.%s: Missing required field", node->field->name, child->field->name);
    }
}

int64_t engine_rows_count(const struct engine_rows *rows)
{
    return rows->count;
}

const struct engine_row_error *engine_rows_errors(const struct engine_rows *rows, size_t *ret_count)
{
    *ret_count = rows->error_count;
    return rows->errors;
}

static bool commit_failed(struct engine_rows *rows, const char *text, struct error *err)
{
    struct duck_failure fail;
    duck_failure_parse(text, &fail);
    if (strcmp(fail.type, "Catalog") == 0)
        return catalog_no_table(err, rows->schema->project, rows->schema->dataset, rows->schema->name, NULL);
    if (duck_failure_is_conflict(&fail)) {
        bq_fail(err, "backendError", 503, "The table was changed while rows were written: %s", fail.message);
        if (err)
            err->class = ERROR_RETRY;
        return false;
    }
    return duck_failure_error(&fail, err);
}

bool engine_rows_commit(struct engine_rows *rows, struct error *err)
{
    struct duck_failure fail;
    if (rows->spent)
        return bq_fail(err, "invalid", 400, "the batch was committed before");
    if (rows->error_count > 0)
        return bq_fail(err, "invalid", 400, "%zu rows have errors", rows->error_count);
    flush_chunk(rows);
    rows->spent = true;
    if (rows->failed)
        return commit_failed(rows, rows->failure, err);
    if (duckdb_appender_flush(rows->appender) != DuckDBSuccess)
        return commit_failed(rows, duckdb_appender_error(rows->appender), err);
    if (!duck_run(rows->conn, "COMMIT", NULL, &fail))
        return duck_failure_is_conflict(&fail) ? commit_failed(rows, fail.message, err)
                                               : duck_failure_error(&fail, err);
    return true;
}
