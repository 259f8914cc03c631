/* Operators' SQL files: what is put in for placeholders and what never is, which texts are queries, which files are listed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "operate/query_file.h"

static const struct settings settings = {
    .bq_project = "p-1",
    .bq_dataset_logs = "logs.x",
    .bq_dataset_raw = "",
    .bq_dataset_mart = "m`art",
    .st_api_url = "https://api",
};

struct row {
    const char *text, *params[3]; /* "NAME=VALUE" */
    const char *expected;         /* the text, or "code: message" */
};

static const struct row fills[] = {
    {"", {NULL}, ""},
    {"SELECT 1", {NULL}, "SELECT 1"},
    {"`${BQ_PROJECT_ID}.${BQ_DATASET_LOGS}.t`", {NULL}, "`p-1.logs.x.t`"},
    {"${A}${B_2}", {"A=1", "B_2=x-y.z_"}, "1x-y.z_"},
    {"${BQ_PROJECT_ID}", {"BQ_PROJECT_ID=other"}, "other"},
    {"$1 $ $$ $A '$.path' {A}", {NULL}, "$1 $ $$ $A '$.path' {A}"},
    {"$${A}", {"A=b"}, "$b"},
    {"a $", {NULL}, "a $"},
    {"1\n2 ${NOPE}", {NULL}, "config_missing: line 2: there is no value for ${NOPE}; give it with --param NOPE=VALUE"},
    {"${BQ_DATASET_RAW}",
     {NULL},
     "config_missing: line 1: there is no value for ${BQ_DATASET_RAW}; set BQ_DATASET_RAW"},
    /* Options that are no names, above all secrets, cannot come in. */
    {"${ST_CLIENT_SECRET}",
     {NULL},
     "config_missing: line 1: there is no value for ${ST_CLIENT_SECRET}; give it with --param ST_CLIENT_SECRET=VALUE"},
    {"${ST_API_URL}",
     {NULL},
     "config_missing: line 1: there is no value for ${ST_API_URL}; give it with --param ST_API_URL=VALUE"},
    {"${BQ_DATASET_MART}",
     {NULL},
     "config_value: line 1: BQ_DATASET_MART is \"m`art\": only letters, digits, '_', '.' and single '-' are allowed"},
    {"${A}",
     {"A=a b"},
     "config_value: line 1: A is \"a b\": only letters, digits, '_', '.' and single '-' are allowed"},
    {"${A}",
     {"A=a;b"},
     "config_value: line 1: A is \"a;b\": only letters, digits, '_', '.' and single '-' are allowed"},
    {"${A}", {"A='"}, "config_value: line 1: A is \"'\": only letters, digits, '_', '.' and single '-' are allowed"},
    {"${A}",
     {"A=a--b"},
     "config_value: line 1: A is \"a--b\": only letters, digits, '_', '.' and single '-' are allowed"},
    {"${A}",
     {"A=\xc3\xa9"},
     "config_value: line 1: A is \"\xc3\xa9\": only letters, digits, '_', '.' and single '-' are allowed"},
    /* A value is not read again. */
    {"${A}",
     {"A=${B}", "B=c"},
     "config_value: line 1: A is \"${B}\": only letters, digits, '_', '.' and single '-' are allowed"},
    {"\n\n${", {NULL}, "config_value: line 3: \"${\" is not followed by NAME}"},
    {"${}", {NULL}, "config_value: line 1: \"${\" is not followed by NAME}"},
    {"${A", {"A=1"}, "config_value: line 1: \"${\" is not followed by NAME}"},
    {"${A:-x}", {"A=1"}, "config_value: line 1: \"${\" is not followed by NAME}"},
    {"${A}", {"A=1", "B=2"}, "config_value: there is no placeholder ${B} to put \"2\" in for"},
};

static void run_row(const struct row *row)
{
    struct query_param params[3];
    struct buf got = BUF_INIT;
    struct error err = ERROR_INIT;
    size_t count = 0;
    for (; count < 3 && row->params[count]; count++) {
        params[count].value = slice_str(row->params[count]);
        params[count].name = slice_cut(&params[count].value, '=');
    }
    if (!query_fill(slice_str(row->text), &settings, params, count, &got, &err)) {
        assert_int_equal(got.len, 0);
        buf_printf(&got, "%s: %s", err.code, err.message);
    }
    assert_string_equal(buf_cstr(&got), row->expected);
    buf_release(&got);
}

static void placeholders_take_names_and_nothing_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof fills / sizeof fills[0]; i++)
        run_row(&fills[i]);
}

static void values_and_params_are_bounded(void **state)
{
    (void)state;
    static struct query_param params[QUERY_MAX_PARAMS + 1];
    struct buf value = BUF_INIT, got = BUF_INIT;
    struct error err = ERROR_INIT;
    for (int i = 0; i < QUERY_VALUE_MAX_BYTES; i++)
        buf_append_char(&value, 'a');
    params[0] = (struct query_param){SLICE_LIT("A"), buf_slice(&value)};
    assert_true(query_fill(SLICE_LIT("${A}"), &settings, params, 1, &got, &err));
    assert_int_equal(got.len, QUERY_VALUE_MAX_BYTES);
    buf_append_char(&value, 'a');
    params[0].value = buf_slice(&value);
    assert_false(query_fill(SLICE_LIT("${A}"), &settings, params, 1, &got, &err));
    assert_false(query_fill(SLICE_LIT(""), &settings, params, QUERY_MAX_PARAMS + 1, &got, &err));
    assert_string_equal(err.message, "there are 65 params: at most 64 are allowed");
    assert_false(query_fill(SLICE_LIT("SELECT 1\n\0 FROM t"), &settings, NULL, 0, &got, &err));
    assert_string_equal(err.message, "line 2: there is a NUL byte: not a text file");
    buf_release(&value);
    buf_release(&got);
}

static void a_query_begins_with_select_or_with(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is;
    } rows[] = {
        {"SELECT 1", true},
        {"select\t1", true},
        {"WITH a AS (SELECT 1) SELECT * FROM a", true},
        {"((SELECT 1))", true},
        {"(WITH a AS", true},
        {"-- DELETE\n# DROP\n/* TRUNCATE\n*/ /**/ SELECT 1", true},
        {"/* -- */SELECT 1", true},
        {"", false},
        {"-- SELECT 1", false},
        {"/* SELECT 1", false},
        {"/*/ SELECT 1", false},
        {"# SELECT 1", false},
        {"-- a\nDROP TABLE x", false},
        {"DELETE FROM t WHERE TRUE -- SELECT", false},
        {"SELECTED", false},
        {"SELECT_1", false},
        {"`SELECT` 1", false},
        {";SELECT 1", false},
        {"EXPORT DATA AS SELECT 1", false},
        {"CREATE TABLE t AS SELECT 1", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (query_is_select(slice_str(rows[i].text)) != rows[i].is)
            fail_msg("%s", rows[i].text);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void queries_are_listed_by_folder_and_name(void **state)
{
    (void)state;
    struct query_files files;
    struct error err = ERROR_INIT;
    mkdir("sql", 0700);
    mkdir("sql/b", 0700);
    mkdir("sql/a", 0700);
    write_file("sql/b/two.sql", "--  What, then? \n--\nSELECT 1");
    write_file("sql/b/one.sql", "SELECT 1");
    write_file("sql/a/three.sql", "/* x */ SELECT 1");
    write_file("sql/a/view.sql", "-- A view.\nCREATE VIEW v AS SELECT 1");
    write_file("sql/a/note.txt", "SELECT 1");
    write_file("sql/top.sql", "SELECT 1");
    assert_true(query_files_list("sql", &files, &err));
    assert_int_equal(files.count, 3);
    assert_string_equal(files.items[0].name, "three");
    assert_string_equal(files.items[0].folder, "a");
    assert_string_equal(files.items[0].title, "");
    assert_string_equal(files.items[1].name, "one");
    assert_string_equal(files.items[2].path, "sql/b/two.sql");
    assert_string_equal(files.items[2].title, "What, then?");
    assert_ptr_equal(query_files_find(&files, "two"), &files.items[2]);
    assert_null(query_files_find(&files, "view"));
    assert_null(query_files_find(&files, "tw"));
    query_files_release(&files);
    assert_true(query_files_list("none", &files, &err));
    assert_int_equal(files.count, 0);
    query_files_release(&files);
}

static void a_file_too_large_is_an_error(void **state)
{
    (void)state;
    struct query_files files;
    struct error err = ERROR_INIT;
    mkdir("big", 0700);
    mkdir("big/a", 0700);
    struct buf text = BUF_INIT;
    buf_append_str(&text, "SELECT 1");
    while (text.len <= QUERY_FILE_MAX_BYTES)
        buf_append_char(&text, ' ');
    write_file("big/a/big.sql", text.ptr);
    assert_false(query_files_list("big", &files, &err));
    assert_string_equal(err.message, "'big/a/big.sql' is larger than 262144 bytes");
    query_files_release(&files);
    buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(placeholders_take_names_and_nothing_else),
        cmocka_unit_test(values_and_params_are_bounded),
        cmocka_unit_test(a_query_begins_with_select_or_with),
        cmocka_unit_test(queries_are_listed_by_folder_and_name),
        cmocka_unit_test(a_file_too_large_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
