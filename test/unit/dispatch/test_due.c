/* Which schedules are due, and in which mode. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/timestamp.h"
#include "dispatch/due.h"

#define MINUTE_US INT64_C(60000000)
#define DAY_US (1440 * MINUTE_US)
#define NOON_US INT64_C(1764072000000000) /* 2025-11-25T12:00:00Z, a Tuesday; 4:00 in Los Angeles */

static struct entity jobs = {.name = "jobs"}, invoices = {.name = "invoices"}, campaigns = {.name = "campaigns"},
                     payroll = {.name = "payroll"};
static struct entity_settings entities[] = {
    {.entity = &jobs, .enabled = true, .priority = 2, .schedule = "0 */2 * * *", .sync_mode = "incremental"},
    {.entity = &invoices, .enabled = true, .priority = 1, .schedule = "30 3 * * *", .sync_mode = "incremental"},
    {.entity = &campaigns, .enabled = false, .priority = 1, .schedule = "0 0 * * *", .sync_mode = "incremental"},
    {.entity = &payroll, .enabled = true, .priority = 1, .schedule = "", .sync_mode = "incremental"},
};
static struct tenant_settings tenants[] = {{.id = 7}};

static char config_path[] = "config.json";

static struct settings make_settings(void)
{
    return (struct settings){.entities = entities,
                             .entity_count = 4,
                             .tenants = tenants,
                             .tenant_count = 1,
                             .schedule_time_zone = "America/Los_Angeles",
                             .default_mode = "entity",
                             .full_sync_day = "tuesday",
                             .config_path = config_path};
}

static void slots_are_of_the_schedules_zone(void **state)
{
    (void)state;
    const struct settings s = make_settings();
    struct error err = ERROR_INIT;
    struct due *dues;
    size_t count;
    assert_true(due_slots(&s, NULL, 0, NOON_US + MINUTE_US, &dues, &count, &err));
    assert_int_equal(count, 2); /* enabled, with a schedule, by priority */
    assert_ptr_equal(dues[0].entity, &entities[1]);
    assert_int_equal(dues[0].slot_us, NOON_US - 30 * MINUTE_US);
    assert_int_equal(dues[0].next_us, NOON_US - 30 * MINUTE_US + DAY_US);
    assert_int_equal(dues[1].slot_us, NOON_US);
    assert_int_equal(dues[1].next_us, NOON_US + 120 * MINUTE_US);
    free(dues);
}

static void names_choose_and_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t count;
        const char *says; /* NULL: fine */
    } cases[] = {{"all", 2, NULL},
                 {"jobs", 1, NULL},
                 {"campaigns", 0, "entity \"campaigns\" is disabled"},
                 {"payroll", 0, "payroll has no schedule in config.json"},
                 {"job", 0, "unknown entity \"job\""}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct settings s = make_settings();
        struct error err = ERROR_INIT;
        struct due *dues = NULL;
        size_t count = 0;
        bool ok = due_slots(&s, &cases[i].name, 1, NOON_US, &dues, &count, &err);
        if (ok == !!cases[i].says || count != cases[i].count || (!ok && !strstr(err.message, cases[i].says)))
            fail_msg("%s: %d, %zu, %s", cases[i].name, ok, count, err.message);
        free(dues);
    }
}

static void a_slot_since_the_last_dispatch_is_due(void **state)
{
    (void)state;
    static const struct {
        int64_t slot_us, last_us;
        bool due;
    } cases[] = {
        {NOON_US - 60, 0, true}, /* never dispatched */
        {0, 0, true},
        {NOON_US, NOON_US - 1, true},
        {NOON_US, NOON_US, false}, /* that slot was seen */
        {NOON_US - 5 * MINUTE_US, NOON_US - 4 * MINUTE_US, false},
        {NOON_US, NOON_US - 900 * DAY_US, true},    /* many missed slots */
        {NOON_US, NOON_US + 59 * MINUTE_US, false}, /* another machine's clock is ahead */
        {NOON_US, NOON_US + 61 * MINUTE_US, true},  /* a clock that was wrong blocks nothing */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct due due = {.slot_us = cases[i].slot_us, .last_us = cases[i].last_us};
        if (due_is_due(&due, NOON_US) != cases[i].due)
            fail_msg("case %zu", i);
    }
}

static void auto_is_full_once_a_day(void **state)
{
    (void)state;
    const struct settings s = make_settings();
    const struct due first = {.last_us = NOON_US - DAY_US}, again = {.last_us = NOON_US - MINUTE_US}, never = {0};
    assert_string_equal(due_mode(&s, &first, "auto", NOON_US), "auto");
    assert_string_equal(due_mode(&s, &never, "auto", NOON_US), "auto");
    assert_string_equal(due_mode(&s, &again, "auto", NOON_US), "entity");
    assert_string_equal(due_mode(&s, &again, "full", NOON_US), "full");
    assert_string_equal(due_mode(&s, &again, NULL, NOON_US), "entity");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_of_the_schedules_zone),
        cmocka_unit_test(names_choose_and_are_checked),
        cmocka_unit_test(a_slot_since_the_last_dispatch_is_due),
        cmocka_unit_test(auto_is_full_once_a_day),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
