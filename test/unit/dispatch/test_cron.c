/* Cron fields, and the slots before and after an instant in zones that set their clocks. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/timestamp.h"
#include "dispatch/cron.h"

#define LA "America/Los_Angeles"

static void fields_are_read_or_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
    } cases[] = {
        {"0 */2 * * *", true},     {"0 2 * * *", true},
        {"0 3 * * 0", true},       {"0,30 8-18/2 1 1-6 *", true},
        {"59 23 31 12 7", true},   {"", false},
        {"0 2 * *", false},        {"0 2 * * * *", false},
        {"60 2 * * *", false},     {"0 24 * * *", false},
        {"0 2 0 * *", false},      {"0 2 * 13 *", false},
        {"0 2 * * 8", false},      {"*/0 * * * *", false},
        {"a * * * *", false},      {"5-1 * * * *", false},
        {"0  2 * * *", true},      {"0  2 * *", false},
        {"0, * * * *", false},     {",0 * * * *", false},
        {"0/ * * * *", false},     {"1- * * * *", false},
        {"5/20 * * * *", true},    {"*/99999999999 * * * *", true},
        {"0 0 31 2 *", false},     {"0 0 31 4,6,9,11 *", false},
        {"0 0 29 2 *", true},      {"0 0 31 2 1", true}, /* day of month or weekday */
        {"0 0 31 2 */2", false},   {"0 0 * jan-Mar MON-fri", true},
        {"0 0 * * fri-sun", true}, {"0 0 * * sun,sat", true},
        {"0 0 * mon *", false},    {"0 0 * * jan", false},
        {"jan 0 * * *", false},    {"0 0 * * monday", false},
        {"0 0 * * sun-sat", true}, {"-5 0 * * *", false},
        {"0 0 * * mon-", false},   {"0 0 * dec,jan *", true},
        {"0 2 * *  ", false},      {"* * * * * root", false},
        {"@daily", false},         {"0 0 ? * *", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct cron cron;
        if (cron_parse(cases[i].text, &cron) != cases[i].ok)
            fail_msg("\"%s\" should be %s", cases[i].text, cases[i].ok ? "fine" : "refused");
    }
}

static int64_t time_of(const char *text)
{
    int64_t us;
    if (!timestamp_parse(slice_str(text), &us, NULL))
        fail_msg("bad time in a test: %s", text);
    return us;
}

static void check_slot(const char *what, const char *text, const char *zone, const char *at, bool found, int64_t got_us,
                       const char *wanted)
{
    char got[TIMESTAMP_TEXT_SIZE];
    if (!found || got_us != time_of(wanted))
        fail_msg("%s slot of \"%s\" in %s at %s is %s, not %s", what, text, zone, at,
                 found ? timestamp_text(got, got_us, 0) : "none", wanted);
}

/* Clocks of Los Angeles in 2026: 8 March 2:00 becomes 3:00 (10:00 UTC), 1 November 2:00 becomes 1:00 (9:00 UTC). */
static void slots_before_and_after(void **state)
{
    (void)state;
    static const struct {
        const char *text, *zone, *at, *previous, *next;
    } cases[] = {
        /* the slot's own instant counts as before */
        {"0 */2 * * *", "UTC", "2026-11-25T04:00:00Z", "2026-11-25T04:00:00Z", "2026-11-25T06:00:00Z"},
        {"0 */2 * * *", "UTC", "2026-11-25T03:59:59.999Z", "2026-11-25T02:00:00Z", "2026-11-25T04:00:00Z"},
        {"0 */2 * * *", LA, "2026-11-25T03:59:59Z", "2026-11-25T02:00:00Z", "2026-11-25T04:00:00Z"},
        {"0 2 * * *", LA, "2026-11-25T12:00:00Z", "2026-11-25T10:00:00Z", "2026-11-26T10:00:00Z"},
        {"0 2 * * *", LA, "2026-07-25T12:00:00Z", "2026-07-25T09:00:00Z", "2026-07-26T09:00:00Z"},
        {"0 2 * * *", "Asia/Kolkata", "2026-11-25T12:00:00Z", "2026-11-24T20:30:00Z", "2026-11-25T20:30:00Z"},
        {"59 23 31 12 *", "UTC", "2026-11-25T12:00:00Z", "2025-12-31T23:59:00Z", "2026-12-31T23:59:00Z"},
        {"0 0 29 2 *", "UTC", "2098-01-01T00:00:00Z", "2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z"},
        {"* * * * *", "UTC", "2026-11-25T12:00:30Z", "2026-11-25T12:00:00Z", "2026-11-25T12:01:00Z"},
        {"5/20 8-18/5 * * *", "UTC", "2026-11-25T13:06:00Z", "2026-11-25T13:05:00Z", "2026-11-25T13:25:00Z"},
        {"5/20 8-18/5 * * *", "UTC", "2026-11-25T18:46:00Z", "2026-11-25T18:45:00Z", "2026-11-26T08:05:00Z"},
        /* weekdays: 25 November 2026 is a Wednesday */
        {"0 3 * * 0", "UTC", "2026-11-25T00:00:00Z", "2026-11-22T03:00:00Z", "2026-11-29T03:00:00Z"},
        {"0 3 * * 7", "UTC", "2026-11-25T00:00:00Z", "2026-11-22T03:00:00Z", "2026-11-29T03:00:00Z"},
        {"0 3 * * fri-sun", "UTC", "2026-11-25T00:00:00Z", "2026-11-22T03:00:00Z", "2026-11-27T03:00:00Z"},
        {"0 3 * nov mon-fri", "UTC", "2026-11-28T00:00:00Z", "2026-11-27T03:00:00Z", "2026-11-30T03:00:00Z"},
        {"0 3 * * sun", LA, "2026-11-29T10:00:00Z", "2026-11-22T11:00:00Z", "2026-11-29T11:00:00Z"},
        /* both day fields restricted: either; one of them with '*': both */
        {"0 0 13 * 5", "UTC", "2026-11-25T00:00:00Z", "2026-11-20T00:00:00Z", "2026-11-27T00:00:00Z"},
        {"0 0 30 * 5", "UTC", "2026-11-28T00:00:00Z", "2026-11-27T00:00:00Z", "2026-11-30T00:00:00Z"},
        {"0 0 */2 * 5", "UTC", "2026-11-28T00:00:00Z", "2026-11-27T00:00:00Z", "2026-12-11T00:00:00Z"},
        /* the skipped hour: once, right after; no second time at the slot of 3:00 */
        {"30 2 * * *", LA, "2026-03-08T09:59:59Z", "2026-03-07T10:30:00Z", "2026-03-08T10:00:00Z"},
        {"30 2 * * *", LA, "2026-03-08T10:00:00Z", "2026-03-08T10:00:00Z", "2026-03-09T09:30:00Z"},
        {"0 2,3 * * *", LA, "2026-03-08T09:30:00Z", "2026-03-07T11:00:00Z", "2026-03-08T10:00:00Z"},
        {"0 2,3 * * *", LA, "2026-03-08T10:00:00Z", "2026-03-08T10:00:00Z", "2026-03-09T09:00:00Z"},
        {"*/30 * * * *", LA, "2026-03-08T10:10:00Z", "2026-03-08T10:00:00Z", "2026-03-08T10:30:00Z"},
        /* the repeated hour: once, the first time */
        {"30 1 * * *", LA, "2026-11-01T08:29:59Z", "2026-10-31T08:30:00Z", "2026-11-01T08:30:00Z"},
        {"30 1 * * *", LA, "2026-11-01T08:30:00Z", "2026-11-01T08:30:00Z", "2026-11-02T09:30:00Z"},
        {"30 1 * * *", LA, "2026-11-01T09:10:00Z", "2026-11-01T08:30:00Z", "2026-11-02T09:30:00Z"},
        {"30 1 * * *", LA, "2026-11-01T09:45:00Z", "2026-11-01T08:30:00Z", "2026-11-02T09:30:00Z"},
        {"0 * * * *", LA, "2026-11-01T09:30:00Z", "2026-11-01T08:00:00Z", "2026-11-01T10:00:00Z"},
        /* half an hour, the southern half, and a day that never was (Samoa left out 30 December 2011) */
        {"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T15:30:00Z", "2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"},
        {"0 12 30 12 *", "Pacific/Apia", "2012-01-15T00:00:00Z", "2011-12-30T10:00:00Z", "2012-12-29T22:00:00Z"},
        {"0 12 * * *", "Pacific/Apia", "2011-12-30T09:00:00Z", "2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        struct cron cron;
        struct zone *zone = zone_open(cases[i].zone, &err);
        int64_t before = 0, after = 0;
        if (!zone)
            fail_msg("%s", err.message);
        assert_true(cron_parse(cases[i].text, &cron));
        bool found = cron_previous(&cron, zone, time_of(cases[i].at), &before);
        check_slot("previous", cases[i].text, cases[i].zone, cases[i].at, found, before, cases[i].previous);
        found = cron_next(&cron, zone, time_of(cases[i].at), &after);
        check_slot("next", cases[i].text, cases[i].zone, cases[i].at, found, after, cases[i].next);
        zone_close(zone);
    }
}

/* Stepping from slot to slot over years meets as many as stepping back, and never stands still. */
static void steps_forward_and_back_agree(void **state)
{
    (void)state;
    static const char *const texts[] = {"30 1,2 * * *", "*/7 1-3 * 3,11 *", "0 0 13 * fri", "59 23 28-31 * *"};
    static const char *const zones[] = {LA, "UTC", "Europe/Berlin", "Australia/Lord_Howe"};
    const int64_t begin = time_of("2025-12-31T00:00:00Z"), end = time_of("2027-01-03T00:00:00Z");
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        for (size_t k = 0; k < sizeof zones / sizeof zones[0]; k++) {
            struct error err = ERROR_INIT;
            struct cron cron;
            struct zone *zone = zone_open(zones[k], &err);
            int64_t at = begin, slot = 0;
            assert_non_null(zone);
            assert_true(cron_parse(texts[i], &cron));
            while (cron_next(&cron, zone, at, &slot) && slot < end) {
                int64_t back = 0;
                assert_true(slot > at);
                assert_true(cron_previous(&cron, zone, slot, &back) && back == slot);
                if (at != begin && (!cron_previous(&cron, zone, slot - 1, &back) || back != at))
                    fail_msg("\"%s\" in %s: before %lld comes %lld, not %lld", texts[i], zones[k], (long long)slot,
                             (long long)back, (long long)at);
                at = slot;
            }
            assert_true(at != begin);
            zone_close(zone);
        }
    }
}

static void unknown_zones_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {
        "",     "Mars/Olympus",   "../../etc/passwd", "/etc/localtime",      "America",  "America/",
        ":UTC", "PST8PDT,M3.2.0", "zone.tab",         "America/Los Angeles", "tzdata.zi"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct error err = ERROR_INIT;
        struct zone *zone = zone_open(names[i], &err);
        if (zone)
            fail_msg("zone \"%s\" was opened", names[i]);
        assert_string_equal(err.code, "config_value");
        assert_non_null(strstr(err.message, "SCHEDULE_TIME_ZONE"));
    }
}

static void the_process_gets_its_zone_back(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    setenv("TZ", "Asia/Tokyo", 1);
    struct zone *zone = zone_open(LA, &err);
    assert_int_equal(zone_offset_s(zone, 1764000000), -8 * 3600);
    zone_close(zone);
    assert_string_equal(getenv("TZ"), "Asia/Tokyo");
    unsetenv("TZ");
    zone = zone_open("UTC", &err);
    assert_int_equal(zone_offset_s(zone, 1764000000), 0);
    zone_close(zone);
    assert_null(getenv("TZ"));
    zone_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_read_or_refused),     cmocka_unit_test(slots_before_and_after),
        cmocka_unit_test(steps_forward_and_back_agree),   cmocka_unit_test(unknown_zones_are_refused),
        cmocka_unit_test(the_process_gets_its_zone_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
