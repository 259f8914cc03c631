#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/timestamp.h"

static void parses_what_the_api_writes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t us;
        bool exact;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0, true},
        {"2025-10-21T10:00:00Z", 1761040800000000, true},
        {"2025-10-21T10:00:00.1Z", 1761040800100000, true},
        {"2025-10-21T10:00:00.1234567Z", 1761040800123456, false},
        {"2025-10-21T10:00:00.1234560Z", 1761040800123456, true},
        {"2025-10-21T10:00:00.123456789Z", 1761040800123456, false},
        {"2025-10-21T12:00:00+02:00", 1761040800000000, true},
        {"2025-10-21T04:30:00-0530", 1761040800000000, true},
        {"2025-10-21 10:00:00", 1761040800000000, true},
        {"2025-10-21", 1761004800000000, true},
        {"0001-01-01T00:00:00Z", TIMESTAMP_MIN_US, true},
        {"9999-12-31T23:59:59.999999Z", TIMESTAMP_MAX_US, true},
        {"2024-02-29T00:00:00Z", 1709164800000000, true},
        {"1969-12-31T23:59:59.5Z", -500000, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t us = 42;
        bool exact = false;
        assert_true(timestamp_parse(slice_str(cases[i].text), &us, &exact));
        assert_int_equal(us, cases[i].us);
        assert_int_equal(exact, cases[i].exact);
    }
}

static void refuses_what_is_no_time(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "2025",
        "2025-13-01",
        "2025-02-29",
        "1900-02-29T00:00:00Z",
        "2025-10-21T24:00:00Z",
        "2025-10-21T10:60:00Z",
        "2025-10-21T10:00:60Z",
        "2025-10-21T10:00:00.Z",
        "2025-10-21T10:00:00.1234567890Z",
        "2025-10-21T10:00:00ZZ",
        "2025-10-21T10:00",
        "2025-10-21T10:00:00+2",
        "2025-10-21T10:00:00+24:00",
        "0000-01-01",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "x025-10-21",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t us = 42;
        assert_false(timestamp_parse(slice_str(cases[i]), &us, NULL));
        assert_int_equal(us, 42);
    }
}

static void formats_and_parses_back_every_day(void **state)
{
    (void)state;
    for (int32_t days = -719162; days <= 2932896; days += 13) {
        struct buf text = BUF_INIT;
        int32_t back = 0;
        timestamp_format_date(&text, days);
        assert_true(timestamp_parse_date(buf_slice(&text), &back));
        assert_int_equal(back, days);
        assert_int_equal(timestamp_to_days((int64_t)days * 86400000000LL + 86399999999LL), days);
        buf_release(&text);
    }
}

static void formats_fractions(void **state)
{
    (void)state;
    char text[TIMESTAMP_TEXT_SIZE];
    assert_string_equal(timestamp_text(text, 1761040800123456, 0), "2025-10-21T10:00:00Z");
    assert_string_equal(timestamp_text(text, 1761040800123456, 3), "2025-10-21T10:00:00.123Z");
    assert_string_equal(timestamp_text(text, 1761040800123456, 6), "2025-10-21T10:00:00.123456Z");
    assert_string_equal(timestamp_text(text, -1, 6), "1969-12-31T23:59:59.999999Z");
}

static void reads_dates_as_written(void **state)
{
    (void)state;
    int32_t days = 0;
    assert_true(timestamp_parse_date(slice_str("2025-10-21T23:30:00-07:00"), &days));
    assert_int_equal(days, 20382);
    assert_false(timestamp_parse_date(slice_str("2025-10-21Tgarbage"), &days));
}

static void reads_http_dates(void **state)
{
    (void)state;
    int64_t us = 0;
    assert_true(timestamp_parse_http_date(slice_str("Tue, 21 Oct 2025 10:00:00 GMT"), &us));
    assert_int_equal(us, 1761040800000000);
    assert_false(timestamp_parse_http_date(slice_str("Tue, 21 Oct 2025 10:00:00"), &us));
    assert_false(timestamp_parse_http_date(slice_str("120"), &us));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_what_the_api_writes),
        cmocka_unit_test(refuses_what_is_no_time),
        cmocka_unit_test(formats_and_parses_back_every_day),
        cmocka_unit_test(formats_fractions),
        cmocka_unit_test(reads_dates_as_written),
        cmocka_unit_test(reads_http_dates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
