/* test_bq_proto_row.c - rows by a run-time descriptor: which types a column takes, and what arrives in the table. */
#include "bq_fixture.h"
#include "../../../src/local/bq_proto_row.h"

enum {
    P_DOUBLE = 1,
    P_FLOAT,
    P_INT64,
    P_UINT64,
    P_INT32,
    P_BOOL = 8,
    P_STRING,
    P_MESSAGE = 11,
    P_BYTES,
    P_UINT32,
    P_ENUM,
    P_SINT64 = 18,
    OPTIONAL = 1,
    REPEATED = 3,
};

struct table {
    struct engine *engine;
    struct engine_schema *schema;
};

static void run(struct engine *engine, const char *sql)
{
    struct engine_request request = ENGINE_REQUEST_INIT;
    struct engine_result *result = NULL;
    struct error err = ERROR_INIT;
    request.sql = sql;
    request.sql_len = strlen(sql);
    request.project = "p";
    if (!engine_run(engine, &request, &result, &err))
        fail_msg("%s: %s", sql, err.message);
    engine_result_free(result);
}

static int set_up(void **state)
{
    struct table *t = xcalloc(1, sizeof *t);
    struct engine_options options = {.folder = "data"};
    struct error err = ERROR_INIT;
    t->engine = engine_open(&options, &err);
    if (!t->engine)
        fail_msg("%s", err.message);
    run(t->engine, "CREATE SCHEMA d");
    run(t->engine,
        "CREATE TABLE d.t (b BOOL, i INT64, f FLOAT64, s STRING, y BYTES, d DATE, ts TIMESTAMP, dt DATETIME, "
        "ti TIME, n NUMERIC, j JSON, st STRUCT<x INT64, l ARRAY<STRING>>, a ARRAY<INT64>)");
    t->schema = engine_schema_open(t->engine, "p", "d", "t", &err);
    assert_non_null(t->schema);
    *state = t;
    return 0;
}

static int tear_down(void **state)
{
    struct table *t = *state;
    engine_schema_free(t->schema);
    engine_close(t->engine);
    free(t);
    return system("rm -rf data");
}

/* ---- One column at a time --------------------------------------------------------------------------------------- */

struct value {
    const char *column;
    int type;
    int label;
    const char *type_name;
    struct slice wire;    /* the row */
    const char *expected; /* the cell as REST writes it, or "error: <part of the message>" */
};

/* Root {nested x/l, an enum, field 1 for the column}. */
static void put_descriptor(struct buf *out, const struct value *v)
{
    struct buf nested = BUF_INIT, e = BUF_INIT, e_value = BUF_INIT;
    pb_text(out, 1, "Root");
    pb_field(out, v->column, 1, v->label, v->type, v->type_name);
    pb_text(&nested, 1, "Nested");
    pb_field(&nested, "x", 1, OPTIONAL, P_INT64, NULL);
    pb_field(&nested, "l", 2, REPEATED, P_STRING, NULL);
    pb_bytes(out, 3, buf_slice(&nested));
    pb_text(&e, 1, "Color");
    pb_text(&e_value, 1, "RED");
    pb_int(&e_value, 2, 4);
    pb_bytes(&e, 2, buf_slice(&e_value));
    pb_bytes(out, 4, buf_slice(&e));
    buf_release(&nested);
    buf_release(&e);
    buf_release(&e_value);
}

static size_t column_index(const struct table *t, const char *name)
{
    size_t count, i = 0;
    const struct engine_field *columns = engine_schema_fields(t->schema, &count);
    while (i < count && strcmp(columns[i].name, name) != 0)
        i++;
    assert_true(i < count);
    return i;
}

/* The cell of the table's only row, as JSON. */
static char *read_cell(const struct table *t, const char *column)
{
    struct engine_result *result = NULL;
    struct error err = ERROR_INIT;
    struct buf text = BUF_INIT;
    int64_t total;
    assert_true(engine_table_rows(t->engine, "p", "d", "t", 0, 10, &result, &total, &err));
    assert_int_equal(total, 1);
    engine_result_write_rows(result, 0, 1, 1 << 20, ENGINE_TIMESTAMP_INT64, &text);
    struct json_object *row = json_parse(buf_slice(&text), "the row", &err);
    assert_non_null(row);
    struct json_object *cell = json_object_array_get_idx(json_at(row, "f"), column_index(t, column));
    struct json_object *v = json_at(cell, "v");
    char *copy = xstrdup(v ? json_object_to_json_string_ext(v, JSON_C_TO_STRING_PLAIN) : "null");
    json_object_put(row);
    engine_result_free(result);
    buf_release(&text);
    return copy;
}

static void check_value(const struct table *t, const struct value *v)
{
    struct buf descriptor = BUF_INIT;
    struct error err = ERROR_INIT;
    size_t error_count;
    put_descriptor(&descriptor, v);
    struct proto_plan *plan = proto_plan_new(buf_slice(&descriptor), t->schema, &err);
    buf_release(&descriptor);
    if (!plan)
        fail_msg("column %s: %s", v->column, err.message);
    struct engine_rows *rows = engine_rows_new(t->engine, t->schema, NULL, &err);
    assert_non_null(rows);
    proto_plan_put_row(plan, v->wire, rows);
    const struct engine_row_error *errors = engine_rows_errors(rows, &error_count);
    bool want_error = strncmp(v->expected, "error: ", 7) == 0;
    if (want_error != (error_count > 0))
        fail_msg("column %s as type %d, expected %s: %s", v->column, v->type, v->expected,
                 error_count ? errors[0].message : "no error");
    if (want_error && !strstr(errors[0].message, v->expected + 7))
        fail_msg("expected %s, got %s", v->expected, errors[0].message);
    if (!want_error) {
        if (!engine_rows_commit(rows, &err))
            fail_msg("column %s: %s", v->column, err.message);
        char *cell = read_cell(t, v->column);
        if (strcmp(cell, v->expected) != 0)
            fail_msg("column %s as type %d: expected %s, got %s", v->column, v->type, v->expected, cell);
        free(cell);
    }
    engine_rows_free(rows);
    proto_plan_free(plan);
    if (!want_error)
        run(t->engine, "TRUNCATE TABLE d.t");
}

static void test_values(void **state)
{
    static const struct value values[] = {
        {"b", P_BOOL, OPTIONAL, NULL, {"\x08\x01", 2}, "\"true\""},
        {"b", P_INT32, OPTIONAL, NULL, {"\x08\x00", 2}, "\"false\""},
        {"b", P_UINT64, OPTIONAL, NULL, {"\x08\x05", 2}, "\"true\""},
        {"i", P_INT64, OPTIONAL, NULL, {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11}, "\"-1\""},
        {"i", P_INT32, OPTIONAL, NULL, {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11}, "\"-1\""},
        {"i", P_UINT32, OPTIONAL, NULL, {"\x08\xff\xff\xff\xff\x0f", 6}, "\"4294967295\""},
        {"i", P_ENUM, OPTIONAL, "Color", {"\x08\x04", 2}, "\"4\""},
        {"i", P_MESSAGE, OPTIONAL, ".google.protobuf.Int64Value", {"\x0a\x02\x08\x07", 4}, "\"7\""},
        {"i", P_MESSAGE, OPTIONAL, ".google.protobuf.Int64Value", {"\x0a\x00", 2}, "\"0\""},
        {"i", P_INT64, OPTIONAL, NULL, {"\x08\x01\x08\x02", 4}, "\"2\""}, /* the last one wins */
        {"i", P_INT64, OPTIONAL, NULL, {"", 0}, "null"},
        {"i", P_INT64, OPTIONAL, NULL, {"\x10\x05\x08\x02", 4}, "\"2\""}, /* unknown numbers are skipped */
        {"f", P_DOUBLE, OPTIONAL, NULL, {"\x09\x00\x00\x00\x00\x00\x00\xf8\x3f", 9}, "\"1.5\""},
        {"f", P_FLOAT, OPTIONAL, NULL, {"\x0d\x00\x00\xc0\x3f", 5}, "\"1.5\""},
        {"s", P_STRING, OPTIONAL, NULL, {"\x0a\x02hi", 4}, "\"hi\""},
        {"s", P_STRING, OPTIONAL, NULL, {"\x0a\x00", 2}, "\"\""},
        {"s", P_ENUM, OPTIONAL, ".Root.Color", {"\x08\x04", 2}, "\"RED\""},
        {"s", P_ENUM, OPTIONAL, "Color", {"\x08\x05", 2}, "error: enum value 5"},
        {"s", P_STRING, OPTIONAL, NULL, {"\x0a\x01\xff", 3}, "error: "},
        {"y", P_BYTES, OPTIONAL, NULL, {"\x0a\x02hi", 4}, "\"aGk=\""},
        {"d", P_INT32, OPTIONAL, NULL, {"\x08\x01", 2}, "\"1970-01-02\""},
        {"d",
         P_STRING,
         OPTIONAL,
         NULL,
         {"\x0a\x0a"
          "2025-10-21",
          12},
         "\"2025-10-21\""},
        {"d", P_INT64, OPTIONAL, NULL, {"\x08\x80\x80\x80\x80\x10", 6}, "error: "},
        {"ts", P_INT64, OPTIONAL, NULL, {"\x08\xc0\x84\x3d", 4}, "\"1000000\""},
        {"ts", P_MESSAGE, OPTIONAL, ".google.protobuf.Timestamp", {"\x0a\x05\x08\x01\x10\xe8\x07", 7}, "\"1000001\""},
        {"dt",
         P_STRING,
         OPTIONAL,
         NULL,
         {"\x0a\x13"
          "2025-10-21T10:00:00",
          21},
         "\"2025-10-21T10:00:00\""},
        {"ti",
         P_STRING,
         OPTIONAL,
         NULL,
         {"\x0a\x08"
          "10:00:00",
          10},
         "\"10:00:00\""},
        {"n",
         P_STRING,
         OPTIONAL,
         NULL,
         {"\x0a\x05"
          "-1.25",
          7},
         "\"-1.25\""},
        {"n", P_BYTES, OPTIONAL, NULL, {"\x0a\x04\x00\xca\x9a\x3b", 6}, "\"1\""}, /* 10^9 little-endian */
        {"n",
         P_UINT64,
         OPTIONAL,
         NULL,
         {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},
         "\"18446744073709551615\""},
        {"n",
         P_STRING,
         OPTIONAL,
         NULL,
         {"\x0a\x03"
          "abc",
          5},
         "error: "},
        {"j", P_STRING, OPTIONAL, NULL, {"\x0a\x07{\"a\":1}", 9}, "\"{\\\"a\\\":1}\""},
        {"j", P_STRING, OPTIONAL, NULL, {"\x0a\x01{", 3}, "error: "},
        {"st",
         P_MESSAGE,
         OPTIONAL,
         "Nested",
         {"\x0a\x08\x08\x07\x12\x01p\x12\x01q", 10},
         "{\"f\":[{\"v\":\"7\"},{\"v\":[{\"v\":\"p\"},{\"v\":\"q\"}]}]}"},
        {"st", P_MESSAGE, OPTIONAL, ".Root.Nested", {"\x0a\x00", 2}, "{\"f\":[{\"v\":null},{\"v\":[]}]}"},
        {"a", P_INT64, REPEATED, NULL, {"\x08\x01\x08\x02", 4}, "[{\"v\":\"1\"},{\"v\":\"2\"}]"},
        {"a", P_INT64, REPEATED, NULL, {"\x0a\x02\x01\x02", 4}, "[{\"v\":\"1\"},{\"v\":\"2\"}]"}, /* packed */
        {"a", P_INT64, REPEATED, NULL, {"", 0}, "[]"},
        {"i", P_INT64, OPTIONAL, NULL, {"\x0a\x01x", 3}, "error: not encoded as int64"},
        {"i", P_INT64, OPTIONAL, NULL, {"\x08\xff", 2}, "error: not a well-formed"},
        {"i", P_INT64, OPTIONAL, NULL, {"\x0b\x0c", 2}, "error: not a well-formed"},
        {"s", P_STRING, OPTIONAL, NULL, {"\x0a\x7fhi", 4}, "error: not a well-formed"},
        {"a", P_INT64, REPEATED, NULL, {"\x0a\x02\x01\xff", 4}, "error: not encoded"},
    };
    const struct table *t = *state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct value v = values[i];
        check_value(t, &v);
    }
}

static void test_packed_civil_times(void **state)
{
    const struct table *t = *state;
    uint64_t time_s = (uint64_t)10 << 12 | 11 << 6 | 12, day = (uint64_t)2025 << 26 | 10 << 22 | 21 << 17;
    struct {
        const char *column, *expected;
        uint64_t packed;
    } cases[] = {{"ti", "\"10:11:12.000005\"", time_s << 20 | 5},
                 {"dt", "\"2025-10-21T10:11:12.000005\"", (day | time_s) << 20 | 5}};
    for (size_t i = 0; i < 2; i++) {
        struct buf row = BUF_INIT;
        pb_int(&row, 1, (int64_t)cases[i].packed);
        struct value v = {cases[i].column, P_INT64, OPTIONAL, NULL, buf_slice(&row), cases[i].expected};
        check_value(t, &v);
        buf_release(&row);
    }
}

/* ---- Descriptors that do not fit -------------------------------------------------------------------------------- */

static void test_refused_descriptors(void **state)
{
    static const struct {
        struct value v;
        const char *code, *part;
    } cases[] = {
        {{"nope", P_INT64, OPTIONAL, NULL, {NULL, 0}, NULL}, "extra_fields", "'nope'"},
        {{"ts", P_STRING, OPTIONAL, NULL, {NULL, 0}, NULL},
         "descriptor",
         "Root.ts, the proto field type string, BigQuery"},
        {{"i", P_UINT64, OPTIONAL, NULL, {NULL, 0}, NULL}, "descriptor", "uint64"},
        {{"i", P_SINT64, OPTIONAL, NULL, {NULL, 0}, NULL}, "descriptor", "sint64"},
        {{"i", P_INT64, REPEATED, NULL, {NULL, 0}, NULL}, "descriptor", "repeated"},
        {{"a", P_INT64, OPTIONAL, NULL, {NULL, 0}, NULL}, "descriptor", "repeated"},
        {{"st", P_INT64, OPTIONAL, NULL, {NULL, 0}, NULL}, "descriptor", "STRUCT"},
        {{"st", P_MESSAGE, OPTIONAL, "Absent", {NULL, 0}, NULL}, "descriptor", "not defined"},
        {{"st", P_MESSAGE, OPTIONAL, "Root", {NULL, 0}, NULL},
         "extra_fields",
         "'st'"}, /* recursion ends at the table */
        {{"i", P_MESSAGE, OPTIONAL, "Nested", {NULL, 0}, NULL}, "descriptor", "INT64"},
        {{"i", 77, OPTIONAL, NULL, {NULL, 0}, NULL}, "descriptor", "type"},
    };
    const struct table *t = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf descriptor = BUF_INIT;
        struct error err = ERROR_INIT;
        put_descriptor(&descriptor, &cases[i].v);
        assert_null(proto_plan_new(buf_slice(&descriptor), t->schema, &err));
        assert_string_equal(err.code, cases[i].code);
        if (!strstr(err.message, cases[i].part))
            fail_msg("expected \"%s\" in: %s", cases[i].part, err.message);
        buf_release(&descriptor);
    }
}

static void test_hostile_descriptors(void **state)
{
    const struct table *t = *state;
    struct error err = ERROR_INIT;
    struct buf deep = BUF_INIT;
    pb_text(&deep, 1, "m");
    for (int i = 0; i < 1000; i++) {
        struct buf outer = BUF_INIT;
        pb_bytes(&outer, 3, buf_slice(&deep));
        buf_release(&deep);
        deep = outer;
    }
    assert_null(proto_plan_new(buf_slice(&deep), t->schema, &err));
    assert_non_null(strstr(err.message, "nested too deeply"));
    buf_release(&deep);
    assert_null(proto_plan_new(SLICE_LIT("\x12\x05\x0a\x01i"), t->schema, &err));
    struct buf twice = BUF_INIT;
    pb_field(&twice, "i", 1, OPTIONAL, P_INT64, NULL);
    pb_field(&twice, "I", 2, OPTIONAL, P_INT64, NULL);
    assert_null(proto_plan_new(buf_slice(&twice), t->schema, &err));
    assert_non_null(strstr(err.message, "two fields for column i"));
    buf_clear(&twice);
    pb_field(&twice, "i", 1, OPTIONAL, P_INT64, NULL);
    pb_field(&twice, "s", 1, OPTIONAL, P_STRING, NULL);
    assert_null(proto_plan_new(buf_slice(&twice), t->schema, &err));
    assert_non_null(strstr(err.message, "number 1 twice"));
    buf_release(&twice);
}

static void test_column_name_option(void **state)
{
    const struct table *t = *state;
    struct error err = ERROR_INIT;
    struct buf descriptor = BUF_INIT, field = BUF_INIT, options = BUF_INIT;
    pb_text(&options, 454943157, "s");
    pb_text(&field, 1, "col_cw");
    pb_int(&field, 3, 1);
    pb_int(&field, 5, P_STRING);
    pb_bytes(&field, 8, buf_slice(&options));
    pb_bytes(&descriptor, 2, buf_slice(&field));
    struct proto_plan *plan = proto_plan_new(buf_slice(&descriptor), t->schema, &err);
    if (!plan)
        fail_msg("%s", err.message);
    proto_plan_free(plan);
    buf_release(&descriptor);
    buf_release(&field);
    buf_release(&options);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_values),
        CASE(test_packed_civil_times),
        CASE(test_refused_descriptors),
        CASE(test_hostile_descriptors),
        CASE(test_column_name_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
