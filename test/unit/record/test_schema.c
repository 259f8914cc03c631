#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

#include "record/schema.h"
#include "row_view.h"

static const struct column inner[] = {
    {.name = "id", .type = COLUMN_INT64},
    {.name = "order", .type = COLUMN_NUMERIC},
};
static const struct column outer[] = {
    {.name = "tags", .type = COLUMN_STRING, .mode = COLUMN_REPEATED},
    {.name = "deep", .type = COLUMN_STRUCT, .mode = COLUMN_REPEATED, .fields = inner, .field_count = 2},
};
static const struct column columns[] = {
    {.name = "id", .type = COLUMN_INT64, .mode = COLUMN_REQUIRED},
    {.name = "f", .type = COLUMN_FLOAT64},
    {.name = "b", .type = COLUMN_BOOL},
    {.name = "s", .type = COLUMN_STRING},
    {.name = "made", .type = COLUMN_TIMESTAMP, .default_sql = "CURRENT_TIMESTAMP()"},
    {.name = "t", .type = COLUMN_TIMESTAMP},
    {.name = "d", .type = COLUMN_DATE},
    {.name = "j", .type = COLUMN_JSON},
    {.name = "o", .type = COLUMN_STRUCT, .fields = outer, .field_count = 2},
};
enum { COLUMNS = sizeof columns / sizeof columns[0] };

static void types_in_sql(void **state)
{
    (void)state;
    static const struct {
        const char *column, *sql;
    } cases[] = {
        {"id", "INT64"},    {"f", "FLOAT64"},
        {"b", "BOOL"},      {"s", "STRING"},
        {"t", "TIMESTAMP"}, {"d", "DATE"},
        {"j", "JSON"},      {"o", "STRUCT<`tags` ARRAY<STRING>, `deep` ARRAY<STRUCT<`id` INT64, `order` NUMERIC>>>"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf sql = BUF_INIT;
        column_sql(&sql, column_find(columns, COLUMNS, cases[i].column));
        assert_string_equal(buf_cstr(&sql), cases[i].sql);
        buf_release(&sql);
    }
    assert_null(column_find(columns, COLUMNS, "ID"));
    assert_true(column_index(columns, COLUMNS, "x") == SIZE_MAX);
    assert_int_equal(column_index(columns, COLUMNS, "d"), 6);
}

/* The descriptor as text, read by the field numbers of descriptor.proto. */
static void describe_field(struct buf *out, struct slice field)
{
    static const char *const labels[] = {"?", "optional", "required", "repeated"};
    struct wire_field f = {0};
    struct slice name = SLICE_NULL, type_name = SLICE_NULL;
    uint64_t number = 0, label = 0, type = 0;
    while (field.len > 0) {
        assert_true(wire_next(&field, &f));
        if (f.number == 1)
            name = f.bytes;
        else if (f.number == 3)
            number = f.scalar;
        else if (f.number == 4)
            label = f.scalar;
        else if (f.number == 5)
            type = f.scalar;
        else if (f.number == 6)
            type_name = f.bytes;
        else
            fail_msg("unexpected field %llu", (unsigned long long)f.number);
    }
    buf_printf(out, "%s %llu%.*s %.*s=%llu;", labels[label & 3], (unsigned long long)type, SLICE_ARG(type_name),
               SLICE_ARG(name), (unsigned long long)number);
}

static void describe_message(struct buf *out, struct slice message)
{
    struct wire_field f = {0};
    while (message.len > 0) {
        assert_true(wire_next(&message, &f));
        if (f.number == 1)
            buf_printf(out, "%.*s{", SLICE_ARG(f.bytes));
        else if (f.number == 2)
            describe_field(out, f.bytes);
        else if (f.number == 3)
            describe_message(out, f.bytes);
        else
            fail_msg("unexpected field %llu", (unsigned long long)f.number);
    }
    buf_append_char(out, '}');
}

static void descriptor_of_the_rows(void **state)
{
    (void)state;
    struct buf descriptor = BUF_INIT, found = BUF_INIT;
    schema_descriptor(&descriptor, "Row", columns, COLUMNS);
    describe_message(&found, buf_slice(&descriptor));
    assert_string_equal(buf_cstr(&found),
                        "Row{required 3 id=1;optional 1 f=2;optional 8 b=3;optional 9 s=4;optional 3 t=6;"
                        "optional 5 d=7;optional 9 j=8;optional 11o_message o=9;"
                        "o_message{repeated 9 tags=1;repeated 11deep_message deep=2;"
                        "deep_message{optional 3 id=1;optional 9 order=2;}}}");
    buf_release(&descriptor);
    buf_release(&found);
}

static void row_primitives(void **state)
{
    (void)state;
    struct buf row = BUF_INIT, text = BUF_INIT, nested = BUF_INIT;
    row_put_int64(&row, 0, INT64_MIN);
    row_put_double(&row, 1, -0.5);
    row_put_int64(&row, 2, 0);
    row_put_string(&row, 3, SLICE_LIT(""));
    row_put_int64(&row, 5, -1);
    row_put_int64(&row, 6, -719162);
    row_put_string(&nested, 0, SLICE_LIT("x"));
    row_put_string(&nested, 0, SLICE_NULL);
    row_put_string(&row, 8, buf_slice(&nested));
    row_view(&text, columns, COLUMNS, buf_slice(&row));
    assert_string_equal(buf_cstr(&text), "id=-9223372036854775808 f=-0.5 b=false s=\"\" t=1969-12-31T23:59:59.999999Z "
                                         "d=0001-01-01 o={tags=[\"x\",\"\"]}");
    buf_clear(&row);
    row_put_int64(&row, 299, 300);
    assert_memory_equal(row.ptr, "\xe0\x12\xac\x02", 4);
    assert_int_equal(row.len, 4);
    buf_release(&row);
    buf_release(&text);
    buf_release(&nested);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_in_sql),
        cmocka_unit_test(descriptor_of_the_rows),
        cmocka_unit_test(row_primitives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
