#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "record/encoder.h"
#include "row_view.h"

/* An entity with a column of every type, so that each rule has a short case. */
static const char entity_json[] =
    "{\"entities\":{\"things\":{\"description\":\"d\",\"path\":\"a/tenant/{tenant}/things\",\"maxPageSize\":10,"
    "\"primaryKey\":\"id\",\"targetTable\":\"raw_things\",\"stageTable\":\"stage_things\",\"partitionField\":"
    "\"modifiedOn\","
    "\"clusterFields\":[\"n\"],\"feedOnly\":[\"active\"],%s\"columns\":["
    "{\"name\":\"id\",\"type\":\"INT64\",\"mode\":\"REQUIRED\",\"description\":\"d\"},"
    "{\"name\":\"s\",\"type\":\"STRING\",\"nullable\":false,\"description\":\"d\"},"
    "{\"name\":\"n\",\"type\":\"INT64\",\"description\":\"d\"},"
    "{\"name\":\"f\",\"type\":\"FLOAT64\",\"description\":\"d\"},"
    "{\"name\":\"b\",\"type\":\"BOOL\",\"description\":\"d\"},"
    "{\"name\":\"m\",\"type\":\"NUMERIC\",\"description\":\"d\"},"
    "{\"name\":\"t\",\"type\":\"TIMESTAMP\",\"description\":\"d\"},"
    "{\"name\":\"day\",\"type\":\"DATE\",\"source\":\"t\",\"description\":\"d\"},"
    "{\"name\":\"j\",\"type\":\"JSON\",\"description\":\"d\"},"
    "{\"name\":\"e\",\"type\":\"STRING\",\"description\":\"d\",\"enum\":[\"On\",\"Off\"]},"
    "{\"name\":\"list\",\"type\":\"INT64\",\"mode\":\"REPEATED\",\"description\":\"d\"},"
    "{\"name\":\"o\",\"type\":\"STRUCT\",\"description\":\"d\",\"fields\":["
    "{\"name\":\"id\",\"type\":\"INT64\",\"nullable\":false,\"description\":\"d\"},"
    "{\"name\":\"name\",\"type\":\"STRING\",\"description\":\"d\"},"
    "{\"name\":\"deep\",\"type\":\"STRUCT\",\"description\":\"d\",\"fields\":["
    "{\"name\":\"m\",\"type\":\"NUMERIC\",\"description\":\"d\"}]}]},"
    "{\"name\":\"oId\",\"type\":\"INT64\",\"source\":\"o.id\",\"description\":\"d\"},"
    "{\"name\":\"items\",\"type\":\"STRUCT\",\"mode\":\"REPEATED\",\"description\":\"d\",\"fields\":["
    "{\"name\":\"k\",\"type\":\"INT64\",\"description\":\"d\"},"
    "{\"name\":\"tags\",\"type\":\"STRING\",\"mode\":\"REPEATED\",\"description\":\"d\"}]},"
    "{\"name\":\"firstK\",\"type\":\"INT64\",\"source\":\"items[0].k\",\"description\":\"d\"},"
    "{\"name\":\"status\",\"type\":\"STRING\",\"source\":\"st.name\",\"description\":\"d\"},"
    "{\"name\":\"statusValue\",\"type\":\"INT64\",\"source\":\"st.value\",\"description\":\"d\"},"
    "{\"name\":\"createdOn\",\"type\":\"TIMESTAMP\",\"description\":\"d\"},"
    "{\"name\":\"modifiedOn\",\"type\":\"TIMESTAMP\",\"description\":\"d\"}]}}}";

struct fixture {
    struct registry *registry;
    const struct entity *entity;
    struct record_encoder *encoder;
};

static const struct row_context context = {9, "11111111-2222-4333-8444-555555555555", 4, 1761040800000000, false};

static void fixture_open(struct fixture *f, const char *more)
{
    FILE *file = fopen("registry.json", "w");
    struct error err = ERROR_INIT;
    assert_non_null(file);
    struct buf text = BUF_INIT;
    const char *hole = strstr(entity_json, "%s");
    buf_append(&text, entity_json, (size_t)(hole - entity_json));
    buf_append_str(&text, more);
    buf_append_str(&text, hole + 2);
    fwrite(text.ptr, 1, text.len, file);
    fclose(file);
    buf_release(&text);
    f->registry = registry_load("registry.json", &err);
    assert_string_equal(err.message, "");
    f->entity = registry_find(f->registry, "things");
    f->encoder = record_encoder_new(f->entity, &context);
}

static void fixture_close(struct fixture *f)
{
    record_encoder_free(f->encoder);
    registry_free(f->registry);
}

static void show_drift(void *user, const char *path, enum drift_kind kind, int64_t count, struct slice sample)
{
    (void)sample;
    buf_printf(user, "%s:%s*%lld ", path, drift_kind_name(kind), (long long)count);
}

/* Source columns and _extra of one record by a fresh encoder, then " | " and its drift; or "refused: reason". */
static void encode_text(const struct fixture *f, struct slice record, struct buf *out)
{
    struct record_encoder *encoder = record_encoder_new(f->entity, &context);
    struct buf row = BUF_INIT;
    struct row_info info;
    char *exact = xmalloc(record.len); /* reading past the record is found by the sanitizer */
    memcpy(exact, record.ptr, record.len);
    if (record_encode(encoder, slice_of(exact, record.len), &row, &info) == ROW_ENCODED) {
        size_t extra = column_index(f->entity->stage.columns, f->entity->stage.column_count, "_extra");
        row_view(out, f->entity->stage.columns, f->entity->source_column_count, buf_slice(&row));
        struct buf value = BUF_INIT;
        if (column_view(&value, &(struct column){.type = COLUMN_NUMERIC}, extra + 1, buf_slice(&row)))
            buf_printf(out, " _extra=%s", buf_cstr(&value));
        buf_release(&value);
    } else {
        assert_int_equal(row.len, 0);
        assert_int_equal(record_encoder_rows(encoder), 0);
        buf_printf(out, "refused: %s", info.reason);
    }
    buf_append_str(out, " | ");
    record_encoder_each_drift(encoder, show_drift, out);
    free(exact);
    buf_release(&row);
    record_encoder_free(encoder);
}

struct rule {
    const char *members;  /* behind {"id":1,"s":"" */
    const char *expected; /* behind id=1 s="" */
};

static void check_rules(const struct rule *rules, size_t count)
{
    struct fixture f;
    fixture_open(&f, "");
    for (size_t i = 0; i < count; i++) {
        struct buf record = BUF_INIT, found = BUF_INIT, expected = BUF_INIT;
        buf_printf(&record, "{\"id\":1,\"s\":\"\",%s}", rules[i].members);
        buf_printf(&expected, "%s%s", strncmp(rules[i].expected, "refused", 7) ? "id=1 s=\"\"" : "", rules[i].expected);
        encode_text(&f, buf_slice(&record), &found);
        assert_string_equal(buf_cstr(&found), buf_cstr(&expected));
        buf_release(&record);
        buf_release(&found);
        buf_release(&expected);
    }
    fixture_close(&f);
}

#define CHECK_RULES(rules) check_rules(rules, sizeof rules / sizeof rules[0])

static void numbers(void **state)
{
    (void)state;
    static const struct rule rules[] = {
        {"\"n\":9007199254740993", " n=9007199254740993 | "},
        {"\"n\":9223372036854775807", " n=9223372036854775807 | "},
        {"\"n\":-9223372036854775808", " n=-9223372036854775808 | "},
        {"\"n\":9223372036854775808", " _extra={\"n\":9223372036854775808} | n:type*1 "},
        {"\"n\":123456789012345678901234567890", " _extra={\"n\":\"123456789012345678901234567890\"} | n:type*1 "},
        {"\"n\":\"12\"", " n=12 | "},
        {"\"n\":12.0", " n=12 | "},
        {"\"n\":1.2e1", " n=12 | "},
        {"\"n\":12.5", " _extra={\"n\":12.5} | n:type*1 "},
        {"\"n\":\"\"", " _extra={\"n\":\"\"} | n:type*1 "},
        {"\"n\":true", " _extra={\"n\":true} | n:type*1 "},
        {"\"n\":{\"a\": 1}", " _extra={\"n\":{\"a\":1}} | n:type*1 "},
        {"\"n\":null", " | "},
        {"\"m\":0.00", " m=0 | "},
        {"\"m\":-0", " m=0 | "},
        {"\"m\":\"1234.50\"", " m=1234.5 | "},
        {"\"m\":99999999999999999999999999999.999999999", " m=99999999999999999999999999999.999999999 | "},
        {"\"m\":0.123456789", " m=0.123456789 | "},
        {"\"m\":0.123456789000", " m=0.123456789 | "},
        {"\"m\":0.123456789012", " m=0.123456789 _extra={\"m\":0.123456789012} | m:rounded*1 "},
        {"\"m\":\"0.1234567885\"", " m=0.123456788 _extra={\"m\":\"0.1234567885\"} | m:rounded*1 "},
        {"\"m\":0.1234567890123456789", " m=0.123456789 _extra={\"m\":\"0.1234567890123456789\"} | m:rounded*1 "},
        {"\"m\":1e29", " _extra={\"m\":1e29} | m:type*1 "},
        {"\"m\":1e400", " _extra={\"m\":\"1e400\"} | m:type*1 "},
        {"\"m\":\"n/a\"", " _extra={\"m\":\"n/a\"} | m:type*1 "},
        {"\"f\":33.4484", " f=33.448399999999999 | "},
        {"\"f\":\"-0.5\"", " f=-0.5 | "},
        {"\"f\":1e999", " _extra={\"f\":\"1e999\"} | f:type*1 "},
    };
    CHECK_RULES(rules);
}

static void times_and_words(void **state)
{
    (void)state;
    static const struct rule rules[] = {
        {"\"t\":\"2025-10-21T10:00:00Z\"", " t=2025-10-21T10:00:00.000000Z day=2025-10-21 | "},
        {"\"t\":\"2025-10-21T10:00:00.1234567Z\"", " t=2025-10-21T10:00:00.123456Z day=2025-10-21 | "},
        {"\"t\":\"2025-10-21T23:00:00.5-02:00\"", " t=2025-10-22T01:00:00.500000Z day=2025-10-21 | "},
        {"\"t\":\"0001-01-01T00:00:00Z\"", " t=0001-01-01T00:00:00.000000Z day=0001-01-01 | "},
        {"\"t\":\"9999-12-31T23:59:59.9999999Z\"", " t=9999-12-31T23:59:59.999999Z day=9999-12-31 | "},
        {"\"t\":\"yesterday\"", " _extra={\"t\":\"yesterday\"} | t:type*1 "},
        {"\"t\":1700000000", " _extra={\"t\":1700000000} | t:type*1 "},
        {"\"b\":true", " b=true | "},
        {"\"b\":false", " b=false | "},
        {"\"b\":\"true\"", " b=true | b:type*1 "},
        {"\"b\":\"yes\"", " _extra={\"b\":\"yes\"} | b:type*1 "},
        {"\"b\":0", " _extra={\"b\":0} | b:type*1 "},
        {"\"e\":\"On\"", " e=\"On\" | "},
        {"\"e\":\"Onward\"", " e=\"Onward\" | e:enum_value*1 "},
        {"\"e\":\"O\"", " e=\"O\" | e:enum_value*1 "},
        {"\"e\":\"\"", " e=\"\" | e:enum_value*1 "},
        {"\"e\":7.50", " e=\"7.50\" | e:type*1 e:enum_value*1 "},
        {"\"e\":[\"On\"]", " _extra={\"e\":[\"On\"]} | e:type*1 "},
        {"\"createdOn\":\"never\"", "refused: createdOn is not a time: \"never\" | "},
        {"\"modifiedOn\":12", "refused: modifiedOn is not a time: 12 | "},
        {"\"modifiedOn\":{}", "refused: createdOn or modifiedOn is not a time | "},
    };
    CHECK_RULES(rules);
}

static void texts(void **state)
{
    (void)state;
    static const struct rule rules[] = {
        {"\"o\":{\"id\":1,\"name\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}",
         " o={id=1 name=\"\\\"\\\\/\\u0008\\u000c\\n\\r\\t\"} oId=1 | "},
        {"\"o\":{\"id\":1,\"name\":\"\\u00e9\\ud83d\\ude00\xc3\xa9\"}",
         " o={id=1 name=\"\xc3\xa9\xf0\x9f\x98\x80\xc3\xa9\"} oId=1 | "},
        {"\"o\":{\"id\":1,\"name\":\"a\\ud800b\"}", " o={id=1 name=\"a\xef\xbf\xbd"
                                                    "b\"} oId=1 _extra={\"o.name\":\"a\\\\ud800b\"} | o.name:text*1 "},
        {"\"o\":{\"id\":1,\"name\":\"\\udc00\\ud800\\\"\"}",
         " o={id=1 name=\"\xef\xbf\xbd\xef\xbf\xbd\\\"\"} oId=1 _extra={\"o.name\":\"\\\\udc00\\\\ud800\\\\\\\"\"} | "
         "o.name:text*1 "},
        {"\"o\":{\"id\":1,\"name\":\"x\\u0000y\"}",
         " o={id=1 name=\"x\xef\xbf\xbdy\"} oId=1 _extra={\"o.name\":\"x\\\\u0000y\"} | o.name:text*1 "},
        {"\"j\":{\"a\" : [ 1 , \"x y\" , {} ] }", " j=\"{\\\"a\\\":[1,\\\"x y\\\",{}]}\" | "},
        {"\"j\":12345678901234567890123", " j=\"\\\"12345678901234567890123\\\"\" | "},
        {"\"j\":[1.10,true,null,-0.0,1e5]", " j=\"[1.10,true,null,-0.0,1e5]\" | "},
        {"\"j\":\"\\ud800\"", " j=\"\\\"\\\\\\\\ud800\\\"\" | j:text*1 "},
        {"\"j\":true", " j=\"true\" | "},
        {"\"j\":null", " | "},
        {"\"e\":\"\xff\"", "refused: a text is not UTF-8 at byte 19 | "},
        {"\"e\":\"\xed\xa0\x80\"", "refused: a text is not UTF-8 at byte 19 | "},
        {"\"e\":\"a\nb\"", "refused: control character in a text at byte 21 | "},
        {"\"e\":\"\\x\"", "refused: unknown escape at byte 20 | "},
        {"\"e\":\"\\u12g4\"", "refused: unknown escape at byte 20 | "},
    };
    CHECK_RULES(rules);
}

static void nested_values(void **state)
{
    (void)state;
    static const struct rule rules[] = {
        {"\"list\":[]", " | "},
        {"\"list\":null", " | "},
        {"\"list\":[1,\"2\",3.0]", " list=[1,2,3] | "},
        {"\"list\":[1,null,null,2]", " list=[1,2] | list[]:null_element*2 "},
        {"\"list\":[1,\"x\",[2]]", " list=[1] _extra={\"list[1]\":\"x\",\"list[2]\":[2]} | list[]:type*2 "},
        {"\"list\":5", " _extra={\"list\":5} | list:type*1 "},
        {"\"list\":{}", " _extra={\"list\":{}} | list:type*1 "},
        {"\"o\":{}", " o={} | o.id:missing_required*1 "},
        {"\"o\":null", " | "},
        {"\"o\":{\"id\":7,\"deep\":{\"m\":1.50}}", " o={id=7 deep={m=1.5}} oId=7 | "},
        {"\"o\":{\"id\":7,\"deep\":{\"m\":1,\"u\":[ ]}}",
         " o={id=7 deep={m=1}} oId=7 _extra={\"o.deep.u\":[]} | o.deep.u:unknown_field*1 "},
        {"\"o\":\"seven\"", " _extra={\"o\":\"seven\"} | o:type*1 "},
        {"\"o\":[{\"id\":7}]", " _extra={\"o\":[{\"id\":7}]} | o:type*1 "},
        {"\"items\":[{\"k\":1,\"tags\":[\"a\",\"b\"]},{\"k\":2},{}]",
         " items=[{k=1 tags=[\"a\",\"b\"]},{k=2},{}] firstK=1 | "},
        {"\"items\":[null,{\"k\":2}]", " items=[{k=2}] | items[]:null_element*1 "},
        {"\"items\":[{\"k\":\"x\"},{\"k\":\"y\",\"z\":1}]",
         " items=[{},{}] _extra={\"items[0].k\":\"x\",\"items[1].k\":\"y\",\"items[1].z\":1} | items[].k:type*2 "
         "items[].z:unknown_field*1 "},
        {"\"st\":{\"name\":\"Open\",\"value\":0}", " status=\"Open\" statusValue=0 | "},
        {"\"st\":{\"name\":\"Open\",\"since\":3}",
         " status=\"Open\" _extra={\"st.since\":3} | st.since:unknown_field*1 "},
        {"\"st\":\"Open\"", " _extra={\"st\":\"Open\"} | st:type*1 "},
        {"\"new\":1", " _extra={\"new\":1} | new:unknown_field*1 "},
        {"\"new\":null", " _extra={\"new\":null} | new:unknown_field*1 "},
        {"\"a.b\":1,\"x\\\"y\":2,\"\":3",
         " _extra={\"[\\\"a.b\\\"]\":1,\"[\\\"x\\\\\\\"y\\\"]\":2,\"[\\\"\\\"]\":3} | [\"a.b\"]:unknown_field*1 "
         "[\"x\\\"y\"]:unknown_field*1 [\"\"]:unknown_field*1 "},
        {"\"\":1", " _extra={\"[\\\"\\\"]\":1} | [\"\"]:unknown_field*1 "},
        {"\"active\":false", " | "},
        {"\"\\u006e\":5", " n=5 | "},
    };
    CHECK_RULES(rules);
}

static void the_last_of_two_counts(void **state)
{
    (void)state;
    static const struct rule rules[] = {
        {"\"n\":1,\"n\":2", " n=2 | n:type*1 "},
        {"\"n\":1,\"\\u006e\":2", " n=2 | n:type*1 "},
        {"\"n\":1,\"n\":null", " | n:type*1 "},
        {"\"n\":\"x\",\"n\":3", " n=3 | n:type*1 "},
        {"\"list\":[1],\"list\":[2]", " list=[2] | list:type*1 "},
        {"\"o\":{\"id\":1,\"name\":\"a\"},\"o\":{\"id\":2}", " o={id=2} oId=2 | o:type*1 "},
        {"\"o\":{\"id\":1,\"id\":2}", " o={id=2} oId=2 | o.id:type*1 "},
        {"\"items\":[{\"k\":1,\"k\":2},{\"k\":3,\"k\":4}]", " items=[{k=2},{k=4}] firstK=2 | items[].k:type*1 "},
        {"\"u\":1,\"u\":[ 2 ]", " _extra={\"u\":[2]} | u:unknown_field*1 u:type*1 "},
        {"\"n\":1,\"n\":2x", "refused: ',' or '}' was expected at byte 26 | "},
    };
    CHECK_RULES(rules);
}

static void refuses_what_is_no_record(void **state)
{
    (void)state;
    static const struct {
        const char *record, *reason;
    } cases[] = {
        {"", "the record is not a JSON object"},
        {"null", "the record is not a JSON object"},
        {"[]", "the record is not a JSON object"},
        {"{}", "the key is missing"},
        {"{\"id\":null}", "the key is missing"},
        {"{\"id\":\"abc\"}", "the key is not an int64: \"abc\""},
        {"{\"id\":9223372036854775808}", "the key is not an int64: 9223372036854775808"},
        {"{\"id\":{}}", "the key is not an int64"},
        {"{\"id\":1", "the text ends too early at byte 7"},
        {"{\"id\":1,}", "a text was expected at byte 8"},
        {"{\"id\" 1}", "':' was expected at byte 6"},
        {"{\"id\":1}x", "text behind the record at byte 8"},
        {"{\"id\":01}", "malformed number at byte 6"},
        {"{\"id\":1.}", "malformed number at byte 6"},
        {"{\"id\":-}", "malformed number at byte 6"},
        {"{\"id\":1,\"b\":TRUE}", "a value was expected at byte 12"},
        {"{\"id\":1,\"b\":tru}", "unknown word at byte 12"},
        {"{\"id\":1,\"u\":[1 2]}", "',' or ']' was expected at byte 15"},
        {"{\"id\":1,\"u\":{\"a\":[}}", "a value was expected at byte 18"},
        {"{\"id\":1,\"id\":2} {}", "text behind the record at byte 16"},
        {"{'id':1}", "a text was expected at byte 1"},
        {"{\"id\":1,\"u\":NaN}", "a value was expected at byte 12"},
    };
    struct fixture f;
    fixture_open(&f, "");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf found = BUF_INIT, expected = BUF_INIT;
        buf_printf(&expected, "refused: %s | ", cases[i].reason);
        encode_text(&f, slice_str(cases[i].record), &found);
        assert_string_equal(buf_cstr(&found), buf_cstr(&expected));
        buf_release(&found);
        buf_release(&expected);
    }
    fixture_close(&f);
}

static enum row_outcome encode_one(struct record_encoder *encoder, const char *record, struct buf *row,
                                   struct row_info *info)
{
    buf_clear(row);
    return record_encode(encoder, slice_str(record), row, info);
}

/* The value of a STRING column at the top of the row. */
static const char *text_column(const struct entity *entity, const char *name, struct slice row, char out[64])
{
    struct wire_field field = {0};
    size_t number = column_index(entity->stage.columns, entity->stage.column_count, name) + 1;
    out[0] = '\0';
    while (row.len > 0 && wire_next(&row, &field)) {
        if (field.number == number)
            snprintf(out, 64, "%.*s", SLICE_ARG(field.bytes));
    }
    return out;
}

static void the_hash_knows_the_content_only(void **state)
{
    (void)state;
    static const char *const same[] = {
        "{\"id\":1,\"s\":\"a b\",\"o\":{\"id\":2},\"u\":[1,2]}",
        " { \"u\" : [ 1 ,\n2 ] , \"o\" : { \"id\":\t2 } , \"s\":\"a b\", \"id\":1 } ",
        "{\"id\":1,\"s\":\"a b\",\"o\":{\"id\":2},\"u\":[1,2],\"active\":true,\"n\":null}",
        "{\"\\u0069d\":1,\"s\":\"a b\",\"o\":{\"id\":2},\"u\":[1,2],\"active\":false}",
        "{\"id\":1,\"s\":\"x\",\"s\":\"a b\",\"o\":{\"id\":2},\"u\":[1,2]}",
    };
    static const char *const other[] = {
        "{\"id\":1,\"s\":\"ab\",\"o\":{\"id\":2},\"u\":[1,2]}",
        "{\"id\":1,\"s\":\"a b\",\"o\":{\"id\":2},\"u\":[2,1]}",
        "{\"id\":1,\"s\":\"a b\",\"o\":{\"id\":2},\"u\":[1,2],\"n\":0}",
        "{\"id\":1,\"s\":\"a b\",\"o\":{\"id\":2},\"v\":[1,2]}",
        "{\"id\":1,\"s\":\"a b\",\"o\":{\"id\":\"2\"},\"u\":[1,2]}",
    };
    struct fixture f;
    struct buf row = BUF_INIT;
    struct row_info info;
    char first[64], next[64];
    fixture_open(&f, "");
    assert_int_equal(encode_one(f.encoder, same[0], &row, &info), ROW_ENCODED);
    text_column(f.entity, "_row_hash", buf_slice(&row), first);
    assert_int_equal(strlen(first), 32);
    for (size_t i = 1; i < sizeof same / sizeof same[0]; i++) {
        assert_int_equal(encode_one(f.encoder, same[i], &row, &info), ROW_ENCODED);
        assert_string_equal(text_column(f.entity, "_row_hash", buf_slice(&row), next), first);
    }
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
        assert_int_equal(encode_one(f.encoder, other[i], &row, &info), ROW_ENCODED);
        assert_string_not_equal(text_column(f.entity, "_row_hash", buf_slice(&row), next), first);
    }
    buf_release(&row);
    fixture_close(&f);
}

static void rows_carry_their_bookkeeping(void **state)
{
    (void)state;
    struct fixture f;
    struct buf row = BUF_INIT, found = BUF_INIT;
    struct row_info info;
    fixture_open(&f, "");
    static const char record[] =
        "{\"id\":5,\"s\":\"\",\"createdOn\":\"2025-10-21T10:00:00Z\",\"modifiedOn\":\"2025-10-22T00:00:00.5Z\"}";
    assert_int_equal(encode_one(f.encoder, record, &row, &info), ROW_ENCODED);
    assert_int_equal(encode_one(f.encoder, "{\"id\":\"x\"}", &row, &info), ROW_REFUSED);
    assert_int_equal(encode_one(f.encoder, record, &row, &info), ROW_ENCODED);
    assert_true(info.has_id && info.has_created && info.has_modified);
    assert_int_equal(info.id, 5);
    assert_int_equal(info.created_us, 1761040800000000);
    assert_int_equal(info.modified_us, 1761091200500000);
    assert_int_equal(record_encoder_rows(f.encoder), 2);
    size_t source = f.entity->source_column_count;
    struct column hidden[16];
    size_t count = f.entity->stage.column_count - source;
    memcpy(hidden, f.entity->stage.columns + source, count * sizeof *hidden);
    struct buf all = BUF_INIT;
    row_view(&all, f.entity->stage.columns, f.entity->stage.column_count, buf_slice(&row));
    const char *tail = strstr(buf_cstr(&all), " _tenant_id");
    assert_non_null(tail);
    char hash[64];
    text_column(f.entity, "_row_hash", buf_slice(&row), hash);
    buf_printf(
        &found,
        " _tenant_id=9 _run_id=\"11111111-2222-4333-8444-555555555555\" _fetch_id=4 _row_number=2 _row_hash=\"%s\" "
        "_fetched_at=2025-10-21T10:00:00.000000Z",
        hash);
    assert_string_equal(tail, buf_cstr(&found));
    buf_release(&all);
    buf_release(&row);
    buf_release(&found);
    fixture_close(&f);
}

/* The export feed alone tells; what it tells is no part of the record. */
static void tombstones_are_the_export_feeds(void **state)
{
    (void)state;
    static const struct {
        const char *member;
        const char *by_export; /* NULL: the column is NULL */
        const char *drift;
    } cases[] = {
        {"\"active\":true", "false", ""},
        {"\"active\": false", "true", ""},
        {"\"active\":null", NULL, ""},
        {"\"active\":\"false\"", NULL, "active:type*1 "},
        {"\"n\":1", NULL, ""},
        {"\"st\":{\"active\":false}", NULL, "st.active:unknown_field*1 "},
    };
    struct fixture f;
    char hash[64], by_list[64];
    struct row_context exported = context;
    exported.from_export = true;
    fixture_open(&f, "\"exportPath\":\"a/tenant/{tenant}/e\",\"tombstone\":\"active\",");
    size_t deleted = column_index(f.entity->stage.columns, f.entity->stage.column_count, "_deleted");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct record_encoder *encoder = record_encoder_new(f.entity, &exported);
        struct buf row = BUF_INIT, other = BUF_INIT, value = BUF_INIT, drift = BUF_INIT;
        struct row_info info;
        char record[128];
        snprintf(record, sizeof record, "{\"id\":1,\"s\":\"\",%s}", cases[i].member);
        assert_int_equal(encode_one(encoder, record, &row, &info), ROW_ENCODED);
        bool told = column_view(&value, &f.entity->stage.columns[deleted], deleted + 1, buf_slice(&row));
        assert_int_equal(told, cases[i].by_export != NULL);
        if (told)
            assert_string_equal(buf_cstr(&value), cases[i].by_export);
        record_encoder_each_drift(encoder, show_drift, &drift);
        assert_string_equal(buf_cstr(&drift), cases[i].drift);
        assert_int_equal(encode_one(f.encoder, record, &other, &info), ROW_ENCODED);
        assert_false(column_view(&value, &f.entity->stage.columns[deleted], deleted + 1, buf_slice(&other)));
        text_column(f.entity, "_row_hash", buf_slice(&row), hash);
        text_column(f.entity, "_row_hash", buf_slice(&other), by_list);
        assert_string_equal(hash, by_list);
        buf_release(&row);
        buf_release(&other);
        buf_release(&value);
        buf_release(&drift);
        record_encoder_free(encoder);
    }
    fixture_close(&f);
}

static void rows_without_id_get_one(void **state)
{
    (void)state;
    static const char twin[] = "{\"id\":null,\"s\":\"a\",\"createdOn\":\"2025-10-21T23:59:59Z\"}";
    struct fixture f;
    struct buf row = BUF_INIT, text = BUF_INIT;
    struct row_info first, second, other, real, again;
    fixture_open(&f, "\"surrogateKey\":true,");
    assert_int_equal(encode_one(f.encoder, twin, &row, &first), ROW_ENCODED);
    row_view(&text, f.entity->stage.columns, f.entity->stage.column_count, buf_slice(&row));
    assert_non_null(strstr(buf_cstr(&text), " _group_date=2025-10-21"));
    assert_int_equal(encode_one(f.encoder, twin, &row, &second), ROW_ENCODED);
    assert_int_equal(encode_one(f.encoder, "{\"s\":\"b\",\"createdOn\":\"2025-10-21T23:59:59Z\"}", &row, &other),
                     ROW_ENCODED);
    assert_int_equal(
        encode_one(f.encoder, "{\"id\":3,\"s\":\"a\",\"createdOn\":\"2025-10-21T23:59:59Z\"}", &row, &real),
        ROW_ENCODED);
    assert_false(first.has_id);
    assert_true(first.id < 0 && second.id < 0 && other.id < 0);
    assert_true(first.id != second.id && first.id != other.id && second.id != other.id);
    assert_true(real.has_id);
    assert_int_equal(real.id, 3);
    buf_clear(&text);
    row_view(&text, f.entity->stage.columns, f.entity->stage.column_count, buf_slice(&row));
    assert_null(strstr(buf_cstr(&text), "_group_date"));
    struct record_encoder *later = record_encoder_new(f.entity, &context);
    assert_int_equal(encode_one(later, twin, &row, &again), ROW_ENCODED);
    assert_int_equal(again.id, first.id);
    assert_int_equal(encode_one(later, twin, &row, &again), ROW_ENCODED);
    assert_int_equal(again.id, second.id);
    assert_int_equal(encode_one(later, "{\"s\":\"a\"}", &row, &again), ROW_REFUSED);
    assert_string_equal(again.reason, "neither id nor createdOn: the row belongs to no group");
    record_encoder_free(later);
    buf_release(&row);
    buf_release(&text);
    fixture_close(&f);
}

static void large_and_deep_values(void **state)
{
    (void)state;
    enum { MEGABYTE = 1024 * 1024 };
    struct fixture f;
    struct buf record = BUF_INIT, row = BUF_INIT;
    struct row_info info;
    fixture_open(&f, "");
    buf_append_str(&record, "{\"id\":1,\"s\":\"");
    size_t start = record.len;
    for (int i = 0; i < MEGABYTE; i++)
        buf_append_char(&record, (char)('a' + i % 26));
    buf_append_str(&record, "\"}");
    assert_int_equal(record_encode(f.encoder, buf_slice(&record), &row, &info), ROW_ENCODED);
    assert_non_null(memmem(row.ptr, row.len, record.ptr + start, MEGABYTE));
    for (int depth = 62; depth <= 64; depth++) { /* one more is the record itself */
        buf_clear(&record);
        buf_append_str(&record, "{\"id\":1,\"s\":\"\",\"u\":");
        for (int i = 0; i < depth; i++)
            buf_append_char(&record, '[');
        for (int i = 0; i < depth; i++)
            buf_append_char(&record, ']');
        buf_append_char(&record, '}');
        enum row_outcome outcome = record_encode(f.encoder, buf_slice(&record), &row, &info);
        assert_int_equal(outcome, depth < 64 ? ROW_ENCODED : ROW_REFUSED);
    }
    buf_clear(&record);
    buf_append_str(&record, "{\"id\":1");
    for (int i = 0; i < 2000; i++)
        buf_printf(&record, ",\"u%d\":%d", i, i);
    buf_append_char(&record, '}');
    assert_int_equal(record_encode(f.encoder, buf_slice(&record), &row, &info), ROW_REFUSED);
    assert_string_equal(info.reason, "more than 1024 values fit no column");
    buf_release(&record);
    buf_release(&row);
    fixture_close(&f);
}

static void looks_without_encoding(void **state)
{
    (void)state;
    struct row_info info;
    assert_true(record_peek(
        NULL, SLICE_LIT(" {\"o\":{\"id\":7},\"id\":\"12\",\"createdOn\":\"2025-10-21T10:00:00Z\",\"modifiedOn\":null}"),
        &info));
    assert_true(info.has_id && info.has_created && !info.has_modified);
    assert_int_equal(info.id, 12);
    assert_int_equal(info.created_us, 1761040800000000);
    assert_true(record_peek(NULL, SLICE_LIT("{}"), &info));
    assert_false(info.has_id || info.has_created || info.has_modified);
    assert_false(record_peek(NULL, SLICE_LIT("[]"), &info));
    assert_false(record_peek(NULL, SLICE_LIT("{\"id\":1"), &info));
    assert_false(record_peek(NULL, SLICE_LIT("{\"id\":1}}"), &info));
}

static void drift_is_counted_over_the_fetch(void **state)
{
    (void)state;
    struct fixture f;
    struct buf row = BUF_INIT, drift = BUF_INIT;
    struct row_info info;
    fixture_open(&f, "");
    for (int i = 0; i < 3; i++)
        assert_int_equal(encode_one(f.encoder, "{\"id\":1,\"new\":2}", &row, &info), ROW_ENCODED);
    assert_int_equal(encode_one(f.encoder, "{\"id\":1,\"other\":2,\"new\":1]", &row, &info), ROW_REFUSED);
    record_encoder_each_drift(f.encoder, show_drift, &drift);
    assert_string_equal(buf_cstr(&drift), "new:unknown_field*3 s:missing_required*3 ");
    buf_release(&row);
    buf_release(&drift);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),
        cmocka_unit_test(times_and_words),
        cmocka_unit_test(texts),
        cmocka_unit_test(nested_values),
        cmocka_unit_test(the_last_of_two_counts),
        cmocka_unit_test(refuses_what_is_no_record),
        cmocka_unit_test(the_hash_knows_the_content_only),
        cmocka_unit_test(rows_carry_their_bookkeeping),
        cmocka_unit_test(tombstones_are_the_export_feeds),
        cmocka_unit_test(rows_without_id_get_one),
        cmocka_unit_test(large_and_deep_values),
        cmocka_unit_test(looks_without_encoding),
        cmocka_unit_test(drift_is_counted_over_the_fetch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
