/* What generated records say: all documented fields, the wire's habits, links that hold, the same bytes everywhere. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "st_company.h"
#include "base/json.h"
#include "base/timestamp.h"
#include "st_fields.h"

#define END_TICKS (1761040800LL * ST_TICKS_PER_SECOND)

enum { JOBS = 3000 };

static struct st_timeline *timeline;
static struct st_company company;

static void make_company(struct st_company *ret, uint64_t seed, int64_t tenant)
{
    const struct st_company_options options = {timeline, tenant, seed, JOBS, 30, 2, 8};
    st_company_init(ret, &options);
}

static int set_up(void **state)
{
    (void)state;
    timeline = st_timeline_new(END_TICKS, ST_HISTORY_YEARS);
    make_company(&company, 1, 42);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    st_timeline_free(timeline);
    return 0;
}

/* The record's text; the caller frees. */
static char *text_of(const struct st_company *c, enum st_entity entity, const struct st_version *v)
{
    char *text = malloc(ST_RECORD_MAX_BYTES);
    struct st_out out = {.p = text};
    st_models[entity]->write(&out, c, v);
    assert_true(out.p - text < ST_RECORD_MAX_BYTES);
    *out.p = '\0';
    return text;
}

static char *text_at(const struct st_company *c, enum st_entity entity, int64_t index)
{
    struct st_version v;
    st_company_version(c, entity, index, &v);
    return text_of(c, entity, &v);
}

static struct json_object *record_at(enum st_entity entity, int64_t index)
{
    struct error err = ERROR_INIT;
    char *text = text_at(&company, entity, index);
    struct json_object *record = json_parse(slice_str(text), "record", &err);
    assert_string_equal(err.message, "");
    free(text);
    return record;
}

/* ---- Fields ------------------------------------------------------------------------------------------------------ */

static bool kind_fits(char kind, struct json_object *value)
{
    int64_t us;
    switch (kind) {
    case 'i':
        return json_object_is_type(value, json_type_int);
    case 'n':
        return json_object_is_type(value, json_type_int) || json_object_is_type(value, json_type_double);
    case 'b':
        return json_object_is_type(value, json_type_boolean);
    case 'o':
        return json_object_is_type(value, json_type_object);
    case 't':
        return json_object_is_type(value, json_type_string) &&
               timestamp_parse(slice_str(json_object_get_string(value)), &us, NULL);
    default:
        return json_object_is_type(value, json_type_string);
    }
}

static void check_object(const char *entity, const char *prefix, struct json_object *object);

static void check_one(const struct documented *field, struct json_object *value)
{
    if (!kind_fits(field->kind, value))
        fail_msg("%s.%s is %s", field->entity, field->path, json_object_to_json_string(value));
    if (field->kind == 'o') {
        char prefix[96];
        snprintf(prefix, sizeof prefix, "%s.", field->path);
        check_object(field->entity, prefix, value);
    }
}

static void check_value(const struct documented *field, struct json_object *value)
{
    if (value == NULL) {
        if (!field->nullable)
            fail_msg("%s.%s is null", field->entity, field->path);
        return;
    }
    if (!field->array) {
        check_one(field, value);
        return;
    }
    assert_true(json_object_is_type(value, json_type_array));
    for (size_t i = 0; i < json_object_array_length(value); i++)
        if (json_object_array_get_idx(value, i)) /* members may be null */
            check_one(field, json_object_array_get_idx(value, i));
}

/* All documented members directly under the prefix, and no others. */
static void check_object(const char *entity, const char *prefix, struct json_object *object)
{
    int expected = 0;
    for (size_t i = 0; i < ST_COUNT(DOCUMENTED); i++) {
        const struct documented *field = &DOCUMENTED[i];
        const char *name = field->path + strlen(prefix);
        if (strcmp(field->entity, entity) != 0 || strncmp(field->path, prefix, strlen(prefix)) != 0 ||
            strchr(name, '.'))
            continue;
        struct json_object *value;
        if (!json_object_object_get_ex(object, name, &value))
            fail_msg("%s.%s is absent", entity, field->path);
        check_value(field, value);
        expected++;
    }
    assert_int_equal(json_object_object_length(object), expected);
}

static void records_have_all_documented_fields(void **state)
{
    (void)state;
    for (int e = 0; e < ST_ENTITIES; e++)
        for (int64_t i = 0; i < company.count[e]; i += 1 + company.count[e] / 700) {
            struct json_object *record = record_at((enum st_entity)e, i);
            check_object(st_models[e]->name, "", record);
            json_object_put(record);
        }
}

static void revisions_are_whole_records_too(void **state)
{
    (void)state;
    for (int e = 0; e < ST_ENTITIES; e++)
        for (uint32_t revision = 1; revision < 40; revision++) {
            struct error err = ERROR_INIT;
            struct st_version v;
            st_company_version(&company, (enum st_entity)e, company.count[e] / 2, &v);
            v.revision = revision;
            v.modified = END_TICKS + revision;
            char *text = text_of(&company, (enum st_entity)e, &v);
            struct json_object *record = json_parse(slice_str(text), "record", &err);
            assert_non_null(record);
            check_object(st_models[e]->name, "", record);
            json_object_put(record);
            free(text);
        }
}

/* ---- The wire ---------------------------------------------------------------------------------------------------- */

static int fraction_digits(const char *time)
{
    const char *point = strchr(time, '.');
    const char *end = strchr(time, 'Z');
    assert_true(end && end[1] == '"');
    assert_true(point == NULL || point > end || end[-1] != '0'); /* trailing zeros are cut */
    return point && point < end ? (int)(end - point - 1) : 0;
}

static void times_have_up_to_seven_digits(void **state)
{
    (void)state;
    bool seen[8] = {false};
    for (int64_t i = 0; i < company.count[ST_JOBS]; i++) {
        char *text = text_at(&company, ST_JOBS, i);
        int digits = fraction_digits(strstr(text, "\"createdOn\":\""));
        assert_in_range(digits, 0, 7);
        seen[digits] = true;
        free(text);
    }
    assert_true(seen[0] && seen[3] && seen[6] && seen[7]);
}

static void find_all(enum st_entity entity, const char *const *needles, size_t count)
{
    for (size_t n = 0; n < count; n++) {
        bool found = false;
        for (int64_t i = 0; i < company.count[entity] && !found; i++) {
            char *text = text_at(&company, entity, i);
            found = strstr(text, needles[n]) != NULL;
            free(text);
        }
        if (!found)
            fail_msg("no record of %s holds %s", st_models[entity]->name, needles[n]);
    }
}

static void the_wires_habits_are_there(void **state)
{
    (void)state;
    static const char *const jobs[] = {"\"total\":0.00,",
                                       "00000000,\"createdFrom",
                                       "\"total\":null",
                                       "\"customerPo\":null",
                                       "\"externalData\":null",
                                       "<b>warm</b>",
                                       "\\u2014",
                                       "水漏れ",
                                       "👍",
                                       "\\\"",
                                       "\\r\\n",
                                       ",null",
                                       "\"customFields\":[null]"};
    static const char *const invoices[] = {
        "\"modifiedOn\":null", "\"items\":null",        "\"balance\":\"0.00\"", "\"quantity\":\"1.0000000000\"",
        "T00:00:00Z\"",        "\"customFields\":null", "\"active\":false",     "},null]"};
    static const char *const payments[] = {"\"typeId\":\"9007199254740993\"", "\"appliedTo\":null", "\"appliedTo\":[]",
                                           "\"unappliedAmount\":\"0.00\""};
    static const char *const payroll[] = {"{\"id\":null,", "\"jobId\":0,", "\"locationZip\":\"N/A\"", "\"amount\":-"};
    static const char *const customers[] = {"\"type\":null", "\"country\":null", "\"latitude\":null",
                                            "9007199254740993", "\"balance\":-"};
    static const char *const estimates[] = {"\"items\":null", "\"value\":2,\"name\":\"Dismissed\"",
                                            "\"qty\":1.0000000000"};
    static const char *const campaigns[] = {"\"campaignPhoneNumbers\":null", ",null]", "\"category\":null"};
    find_all(ST_JOBS, jobs, ST_COUNT(jobs));
    find_all(ST_INVOICES, invoices, ST_COUNT(invoices));
    find_all(ST_PAYMENTS, payments, ST_COUNT(payments));
    find_all(ST_PAYROLL, payroll, ST_COUNT(payroll));
    find_all(ST_CUSTOMERS, customers, ST_COUNT(customers));
    find_all(ST_ESTIMATES, estimates, ST_COUNT(estimates));
    find_all(ST_CAMPAIGNS, campaigns, ST_COUNT(campaigns));
}

static void numbers_and_times_are_written_exactly(void **state)
{
    (void)state;
    static const struct {
        st_put_fn *put;
        union {
            int64_t number;
            struct st_decimal decimal;
        } value;
        const char *text;
    } cases[] = {
        {st_put_int, {.number = 0}, "0"},
        {st_put_int, {.number = -7}, "-7"},
        {st_put_int, {.number = 9223372036854775807}, "9223372036854775807"},
        {st_put_int, {.number = ST_NULL}, "null"},
        {st_put_digits, {.number = 1009}, "\"1009\""},
        {st_put_time, {.number = 17610408000000000}, "\"2025-10-21T10:00:00Z\""},
        {st_put_time, {.number = 17610408001200000}, "\"2025-10-21T10:00:00.12Z\""},
        {st_put_time, {.number = 17610408000000001}, "\"2025-10-21T10:00:00.0000001Z\""},
        {st_put_time, {.number = 17091647999999999}, "\"2024-02-28T23:59:59.9999999Z\""},
        {st_put_time, {.number = 17091648000000000}, "\"2024-02-29T00:00:00Z\""},
        {st_put_time, {.number = ST_NO_TIME}, "null"},
        {st_put_decimal, {.decimal = {0, 2, 0, false}}, "0.00"},
        {st_put_decimal, {.decimal = {42417, 2, 8, false}}, "424.1700000000"},
        {st_put_decimal, {.decimal = {-5, 2, 0, false}}, "-0.05"},
        {st_put_decimal, {.decimal = {500, 0, 0, false}}, "500"},
        {st_put_decimal, {.decimal = {0, 0, 0, true}}, "null"},
        {st_put_money, {.decimal = {123456, 2, 0, false}}, "\"1234.56\""},
    };
    for (size_t i = 0; i < ST_COUNT(cases); i++) {
        char text[64] = "";
        struct st_out out = {.p = text};
        cases[i].put(&out, &cases[i].value);
        *out.p = '\0';
        assert_string_equal(text, cases[i].text);
    }
}

/* ---- Sameness and links ------------------------------------------------------------------------------------------ */

static void the_seed_decides_every_byte(void **state)
{
    (void)state;
    struct st_company same, other;
    make_company(&same, 1, 42);
    make_company(&other, 1, 43);
    int64_t different = 0;
    for (int e = 0; e < ST_ENTITIES; e++)
        for (int64_t i = 0; i < company.count[e]; i += 7) {
            char *a = text_at(&company, (enum st_entity)e, i), *b = text_at(&same, (enum st_entity)e, i),
                 *c = text_at(&other, (enum st_entity)e, i);
            assert_string_equal(a, b);
            different += strcmp(a, c) != 0;
            free(a);
            free(b);
            free(c);
        }
    assert_true(different > 100);
}

static void ids_lead_back_to_their_records(void **state)
{
    (void)state;
    for (int e = 0; e < ST_ENTITIES; e++) {
        int64_t last = 0, index, hits = 0;
        for (int64_t i = 0; i < company.count[e]; i++) {
            int64_t id = st_company_id(&company, (enum st_entity)e, i);
            assert_true(id > last);
            assert_true(st_company_index(&company, (enum st_entity)e, id, company.count[e], &index));
            assert_int_equal(index, i);
            hits += st_company_index(&company, (enum st_entity)e, id + 1, company.count[e], &index);
            last = id;
        }
        assert_true(hits < company.count[e] / 4);
    }
}

static int64_t id_at(struct json_object *record, const char *path, enum st_entity target)
{
    int64_t index = -1;
    if (!st_company_index(&company, target, json_int_at(record, path, 0), company.count[target], &index))
        fail_msg("%s points nowhere: %s", path, json_object_to_json_string(record));
    return index;
}

static void links_lead_to_records_that_agree(void **state)
{
    (void)state;
    for (int64_t i = 0; i < company.count[ST_JOBS]; i++) {
        struct json_object *job = record_at(ST_JOBS, i);
        struct json_object *location = record_at(ST_LOCATIONS, id_at(job, "locationId", ST_LOCATIONS));
        assert_int_equal(json_int_at(location, "customerId", 0), json_int_at(job, "customerId", -1));
        id_at(job, "customerId", ST_CUSTOMERS);
        id_at(job, "campaignId", ST_CAMPAIGNS);
        if (json_int_at(job, "invoiceId", 0)) {
            struct json_object *invoice = record_at(ST_INVOICES, id_at(job, "invoiceId", ST_INVOICES));
            assert_int_equal(json_int_at(invoice, "job.id", 0), json_int_at(job, "id", -1));
            assert_int_equal(json_int_at(invoice, "customer.id", 0), json_int_at(job, "customerId", -1));
            json_object_put(invoice);
        }
        json_object_put(location);
        json_object_put(job);
    }
    for (int64_t i = 0; i < company.count[ST_PAYROLL]; i += 3) {
        struct json_object *item = record_at(ST_PAYROLL, i);
        if (json_int_at(item, "jobId", 0)) {
            struct json_object *job = record_at(ST_JOBS, id_at(item, "jobId", ST_JOBS));
            assert_int_equal(json_int_at(job, "customerId", 0), json_int_at(item, "customerId", -1));
            json_object_put(job);
        }
        json_object_put(item);
    }
}

static void payments_pay_invoices(void **state)
{
    (void)state;
    for (int64_t i = 0; i < company.count[ST_PAYMENTS]; i++) {
        struct json_object *payment = record_at(ST_PAYMENTS, i), *applied = json_at(payment, "appliedTo");
        for (size_t n = 0; applied && n < json_object_array_length(applied); n++) {
            struct json_object *invoice =
                record_at(ST_INVOICES, id_at(json_object_array_get_idx(applied, n), "appliedTo", ST_INVOICES));
            assert_true(n > 0 || json_int_at(invoice, "customer.id", 0) == json_int_at(payment, "customer.id", -1));
            json_object_put(invoice);
        }
        json_object_put(payment);
    }
}

static void merged_records_name_a_live_survivor(void **state)
{
    (void)state;
    int merged = 0;
    for (int e = ST_CUSTOMERS; e <= ST_LOCATIONS; e++)
        for (int64_t i = 0; i < company.count[e]; i++) {
            struct json_object *record = record_at((enum st_entity)e, i);
            if (json_at(record, "mergedToId")) {
                struct json_object *survivor =
                    record_at((enum st_entity)e, id_at(record, "mergedToId", (enum st_entity)e));
                assert_false(json_bool_at(record, "active", true));
                assert_true(json_bool_at(survivor, "active", false));
                json_object_put(survivor);
                merged++;
            }
            json_object_put(record);
        }
    assert_in_range(merged, 30, 300);
}

static void some_pay_items_are_nameless_and_doubled(void **state)
{
    (void)state;
    int64_t nameless = 0, doubled = 0;
    char *last = text_at(&company, ST_PAYROLL, 0);
    for (int64_t i = 1; i < company.count[ST_PAYROLL]; i++) {
        char *text = text_at(&company, ST_PAYROLL, i);
        nameless += strncmp(text, "{\"id\":null,", 11) == 0;
        doubled += strcmp(text, last) == 0;
        free(last);
        last = text;
    }
    free(last);
    assert_in_range(nameless, company.count[ST_PAYROLL] * 27 / 100, company.count[ST_PAYROLL] * 34 / 100);
    assert_in_range(doubled, 10, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_have_all_documented_fields),
        cmocka_unit_test(revisions_are_whole_records_too),
        cmocka_unit_test(times_have_up_to_seven_digits),
        cmocka_unit_test(the_wires_habits_are_there),
        cmocka_unit_test(numbers_and_times_are_written_exactly),
        cmocka_unit_test(the_seed_decides_every_byte),
        cmocka_unit_test(ids_lead_back_to_their_records),
        cmocka_unit_test(links_lead_to_records_that_agree),
        cmocka_unit_test(payments_pay_invoices),
        cmocka_unit_test(merged_records_name_a_live_survivor),
        cmocka_unit_test(some_pay_items_are_nameless_and_doubled),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
