/* Results for people and for programs, over a result made by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/json.h"
#include "operate/table.h"

enum { COLUMNS = 4, ROWS = 4 };

static char *columns[COLUMNS] = {(char[]){"n"}, (char[]){"at"}, (char[]){"ok"}, (char[]){"text"}};
static char *types[COLUMNS] = {(char[]){"INTEGER"}, (char[]){"TIMESTAMP"}, (char[]){"BOOLEAN"}, (char[]){"STRING"}};
static char *row0[COLUMNS] = {(char[]){"-12345"}, (char[]){"1761040800123456"}, (char[]){"true"}, (char[]){"Größe ✓"}};
static char *row1[COLUMNS] = {NULL, NULL, NULL, NULL};
static char *row2[COLUMNS] = {(char[]){"7"}, (char[]){"0"}, (char[]){"false"},
                              (char[]){"a\"b\\\n\x1b[31mred\xc2\x9b"
                                       "1m"}};
/* What no server should send: it must not break the JSON. */
static char *row3[COLUMNS] = {(char[]){"1,\"x\":2"}, (char[]){"9223372036854775807"}, (char[]){"maybe"}, (char[]){""}};
static char **rows[ROWS] = {row0, row1, row2, row3};

static struct bq_result result_of(size_t row_count)
{
    return (struct bq_result){
        .column_count = COLUMNS, .row_count = row_count, .columns = columns, .types = types, .cells = rows};
}

static void people_get_aligned_columns(void **state)
{
    (void)state;
    const struct bq_result r = result_of(3);
    struct buf out = BUF_INIT;
    table_print(&out, &r);
    assert_string_equal(out.ptr, "     n  at                    ok     text\n"
                                 "-12345  2025-10-21T10:00:00Z  true   Größe ✓\n"
                                 "     -  -                     -      -\n"
                                 "     7  1970-01-01T00:00:00Z  false  a\"b\\  [31mred 1m\n");
    buf_release(&out);
}

static void programs_get_json_that_parses(void **state)
{
    (void)state;
    const struct bq_result r = result_of(ROWS);
    struct buf out = BUF_INIT;
    struct error err = ERROR_INIT;
    table_json(&out, &r);
    struct json_object *list = json_parse(buf_slice(&out), "the table", &err);
    if (!list)
        fail_msg("%s:\n%s", err.message, out.ptr);
    assert_int_equal(json_object_array_length(list), ROWS);
    struct json_object *first = json_object_array_get_idx(list, 0), *third = json_object_array_get_idx(list, 2);
    struct json_object *last = json_object_array_get_idx(list, 3), *member = NULL;
    assert_true(json_object_is_type(json_at(first, "n"), json_type_int));
    assert_int_equal(json_int_at(first, "n", 0), -12345);
    assert_string_equal(json_text_at(first, "at", ""), "2025-10-21T10:00:00.123Z");
    assert_true(json_object_is_type(json_at(first, "ok"), json_type_boolean));
    assert_string_equal(json_text_at(first, "text", ""), "Größe ✓");
    assert_true(json_object_object_get_ex(json_object_array_get_idx(list, 1), "text", &member));
    assert_null(member); /* null, not absent */
    assert_string_equal(json_text_at(third, "text", ""), row2[3]);
    assert_string_equal(json_text_at(last, "n", ""), row3[0]);
    assert_null(json_at(last, "x"));
    assert_string_equal(json_text_at(last, "ok", ""), "maybe");
    assert_string_equal(json_text_at(last, "text", "-"), "");
    json_object_put(list);
    buf_release(&out);
}

static void no_rows_are_a_heading_and_an_empty_list(void **state)
{
    (void)state;
    const struct bq_result r = result_of(0);
    struct buf out = BUF_INIT;
    table_print(&out, &r);
    assert_string_equal(out.ptr, "n  at  ok  text\n");
    buf_clear(&out);
    table_json(&out, &r);
    assert_string_equal(out.ptr, "[\n]\n");
    buf_release(&out);
}

/* The mark of a cut takes the last place; the last column, where messages stand, is longer. */
static void long_cells_are_cut_between_characters_and_say_so(void **state)
{
    (void)state;
    char cell[601] = "", *two_types[2] = {types[3], types[3]}, *names[2] = {columns[3], columns[3]};
    char *cells[2] = {cell, cell}, **only[1] = {cells};
    for (size_t i = 0; i < 300; i++)
        memcpy(cell + 2 * i, "é", 2);
    const struct bq_result r = {.column_count = 2, .row_count = 1, .columns = names, .types = two_types, .cells = only};
    struct buf out = BUF_INIT, expected = BUF_INIT;
    table_print(&out, &r);
    buf_printf(&expected, "text%*s  text\n%.*s…  %.*s…\n", 56, "", 59 * 2, cell, 239 * 2, cell);
    assert_string_equal(out.ptr, expected.ptr);
    assert_true(slice_is_utf8(buf_slice(&out)));
    buf_release(&out);
    buf_release(&expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(people_get_aligned_columns),
        cmocka_unit_test(programs_get_json_that_parses),
        cmocka_unit_test(no_rows_are_a_heading_and_an_empty_list),
        cmocka_unit_test(long_cells_are_cut_between_characters_and_say_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
