/* Planning of backfills: what is asked for, slices that tile the range, estimates, order. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/timestamp.h"
#include "slices.h"

#define DAY_US INT64_C(86400000000)
#define NOW_US INT64_C(1764037800000000) /* 2025-11-25T02:30:00Z */

static struct entity jobs = {.name = "jobs"}, payroll = {.name = "payroll", .id_nullable = true},
                     campaigns = {.name = "campaigns"};
static struct entity_settings entities[] = {
    {.entity = &payroll, .enabled = true, .priority = 2},
    {.entity = &jobs, .enabled = true, .priority = 1},
    {.entity = &campaigns, .enabled = false, .priority = 1},
};
static struct tenant_settings tenants[] = {{.id = 7}, {.id = 8}};
static const struct settings settings = {
    .entities = entities, .entity_count = 3, .tenants = tenants, .tenant_count = 2, .st_rate_per_second = 10};

/* ---- The words of the command ------------------------------------------------------------------------------------- */

static void requests_are_read_or_refused(void **state)
{
    (void)state;
    static const struct {
        const char *entity;
        int64_t tenant;
        const char *from, *to, *slice, *code; /* NULL: fine */
        const char *says;
    } cases[] = {
        {"all", 0, "2021-01-01", NULL, NULL, NULL, NULL},
        {"jobs", 8, "2021-01-01T00:00:00-08:00", "2021-01-02", "90m", NULL, NULL},
        {"campaigns", 0, "2021-01-01", NULL, NULL, "entity_disabled", "entities.campaigns.enabled"},
        {"job", 0, "2021-01-01", NULL, NULL, "unknown_entity", "\"job\""},
        {"", 0, "2021-01-01", NULL, NULL, "unknown_entity", "\"\""},
        {"jobs", 9, "2021-01-01", NULL, NULL, "unknown_tenant", "tenant 9"},
        {"jobs", 0, NULL, NULL, NULL, "bad_window", "--from is missing"},
        {"jobs", 0, "yesterday", NULL, NULL, "bad_window", "--from is \"yesterday\""},
        {"jobs", 0, "2021-01-01", "2021-13-01", NULL, "bad_window", "--to is \"2021-13-01\""},
        {"jobs", 0, "2021-01-01", "2021-01-01", NULL, "bad_window", "not before --to"},
        {"jobs", 0, "2025-11-26", NULL, NULL, "bad_window", "not before the end of today"},
        {"jobs", 0, "2021-01-01", NULL, "month", "bad_slice", "--slice is \"month\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct backfill_ask ask = {&cases[i].entity, 1,           cases[i].tenant,
                                         cases[i].from,    cases[i].to, cases[i].slice};
        struct backfill_request request;
        struct error err = ERROR_INIT;
        bool ok = backfill_request_make(&ask, &settings, NOW_US, &request, &err);
        if (ok != !cases[i].code || (!ok && (strcmp(err.code, cases[i].code) || !strstr(err.message, cases[i].says))))
            fail_msg("case %zu: %d %s: %s", i, ok, err.code, err.message);
        backfill_request_release(&request);
    }
}

static char *key_of(const char *const *names, size_t count, int64_t tenant, const char *to, const char *slice,
                    int64_t now_us)
{
    const struct backfill_ask ask = {names, count, tenant, "2021-01-01", to, slice};
    struct backfill_request request;
    struct error err = ERROR_INIT;
    if (!backfill_request_make(&ask, &settings, now_us, &request, &err))
        fail_msg("%s", err.message);
    char *key = xstrdup(request.key);
    backfill_request_release(&request);
    return key;
}

/* The same command finds its plan again: in another order, under another name, on another day; no other command does. */
static void keys_tell_commands_apart(void **state)
{
    (void)state;
    static const char *const all[] = {"all"}, *const both[] = {"payroll", "jobs", "jobs"}, *const one[] = {"jobs"};
    char *first = key_of(all, 1, 0, NULL, NULL, NOW_US);
    char *same[] = {key_of(both, 3, 0, NULL, "auto", NOW_US), key_of(all, 1, 0, NULL, NULL, NOW_US + 3 * DAY_US)};
    char *others[] = {key_of(one, 1, 0, NULL, NULL, NOW_US), key_of(all, 1, 7, NULL, NULL, NOW_US),
                      key_of(all, 1, 0, "2025-11-26", NULL, NOW_US), key_of(all, 1, 0, NULL, "30d", NOW_US)};
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        assert_string_equal(first, same[i]);
        free(same[i]);
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_string_not_equal(first, others[i]);
        free(others[i]);
    }
    free(first);
}

static void the_end_is_the_end_of_today(void **state)
{
    (void)state;
    static const char *const names[] = {"payroll", "jobs"};
    const struct backfill_ask ask = {names, 2, 0, "2021-01-01", NULL, NULL};
    struct backfill_request request;
    struct error err = ERROR_INIT;
    assert_true(backfill_request_make(&ask, &settings, NOW_US, &request, &err));
    assert_int_equal(request.to_us % DAY_US, 0);
    assert_true(request.to_us > NOW_US && request.to_us - NOW_US <= DAY_US);
    assert_int_equal(request.entity_count, 2);
    assert_ptr_equal(request.entities[0]->entity, &jobs); /* by priority */
    assert_int_equal(request.tenant_count, 2);
    backfill_request_release(&request);
}

static void lengths_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t us; /* -1: refused */
    } cases[] = {
        {"auto", 0},
        {"30d", 30 * DAY_US},
        {"12h", DAY_US / 2},
        {"90m", INT64_C(5400000000)},
        {"2w", 14 * DAY_US},
        {"", -1},
        {"d", -1},
        {"30", -1},
        {"-1d", -1},
        {"0d", -1},
        {"1.5d", -1},
        {"30D", -1},
        {"30 d", -1},
        {"100001d", -1},
        {"99999999999999999999d", -1},
        {"1s", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t us = -1;
        bool ok = slices_parse(cases[i].text, &us);
        if (ok != (cases[i].us >= 0) || us != cases[i].us)
            fail_msg("\"%s\" is read as %lld", cases[i].text, (long long)us);
    }
}

/* ---- Estimates ---------------------------------------------------------------------------------------------------- */

static void estimates(void **state)
{
    (void)state;
    static const struct {
        int64_t records, page;
        int64_t jobs, payroll;
    } cases[] = {
        {0, 5000, 1, 1},           {1, 5000, 1, 2}, {3000, 5000, 1, 2}, {3001, 5000, 2, 4},
        {1000000, 5000, 334, 668}, {10, 1, 10, 20}, {601, 1000, 2, 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(slices_requests(&jobs, cases[i].records, cases[i].page), cases[i].jobs);
        assert_int_equal(slices_requests(&payroll, cases[i].records, cases[i].page), cases[i].payroll);
    }
    /* A slice as full as it may be takes the minutes it should. */
    for (int64_t rate = 1; rate <= 60; rate += 13) {
        int64_t capacity = slices_capacity(&payroll, 5000, rate);
        assert_int_equal(slices_requests(&payroll, capacity, 5000), rate * 60 * BACKFILL_SLICE_MINUTES);
    }
}

/* ---- Slices ------------------------------------------------------------------------------------------------------- */

static uint64_t seed = 88172645463325252;

static int64_t draw(int64_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (int64_t)(seed % (uint64_t)below);
}

static void check_tiles(const struct slice_list *list, const struct slice_range *range)
{
    int64_t at = range->from_us, records = 0;
    assert_true(list->count > 0);
    for (size_t i = 0; i < list->count; i++) {
        const struct backfill_slice *slice = &list->items[i];
        if (slice->from_us != at || slice->to_us <= slice->from_us)
            fail_msg("slice %zu of %zu is [%lld, %lld) behind %lld", i, list->count, (long long)slice->from_us,
                     (long long)slice->to_us, (long long)at);
        if (i > 0 && range->entity->id_nullable)
            assert_int_equal(slice->from_us % DAY_US, 0);
        assert_string_equal(slice->entity, range->entity->name);
        assert_int_equal(slice->tenant, range->tenant);
        assert_true(slice->requests >= 1);
        at = slice->to_us;
        records += slice->records;
    }
    assert_int_equal(at, range->to_us);
    assert_int_equal(records, range->records);
}

static struct slice_range random_range(const struct entity *entity)
{
    int64_t from = draw(20000) * DAY_US - 3000 * DAY_US, length = (1 + draw(4000)) * DAY_US;
    if (draw(2))
        from += draw(DAY_US);
    if (draw(2))
        length = 1 + draw(length);
    return (struct slice_range){entity, 7, from, from + length, draw(3000000)};
}

static void fixed_slices_tile_the_range(void **state)
{
    (void)state;
    static const char *const lengths[] = {"1d", "30d", "7h", "12h", "90m", "2w", "5000d", "31m"};
    for (int i = 0; i < 4000; i++) {
        struct slice_list list = {0};
        struct error err = ERROR_INIT;
        const struct slice_range range = random_range(i % 2 ? &payroll : &jobs);
        int64_t slice_us = 0;
        assert_true(slices_parse(lengths[draw(sizeof lengths / sizeof lengths[0])], &slice_us));
        if (slices_fixed(&list, &range, slice_us, 5000, &err)) {
            check_tiles(&list, &range);
            for (size_t k = 1; k + 1 < list.count; k++) /* inner ones have the length, in whole days where it matters */
                assert_true(list.items[k].to_us - list.items[k].from_us >= slice_us);
        } else {
            assert_string_equal(err.code, "bad_slice");
            assert_true((range.to_us - range.from_us) / slice_us >= BACKFILL_MAX_SLICES - 1);
        }
        free(list.items);
    }
}

static void sixty_months_are_sixty_slices(void **state)
{
    (void)state;
    struct slice_list list = {0};
    struct error err = ERROR_INIT;
    const struct slice_range range = {&jobs, 7, 0, 1800 * DAY_US, 600000};
    assert_true(slices_fixed(&list, &range, 30 * DAY_US, 5000, &err));
    assert_int_equal(list.count, 60);
    for (size_t i = 0; i < list.count; i++) {
        assert_int_equal(list.items[i].records, 10000);
        assert_int_equal(list.items[i].requests, 4);
    }
    free(list.items);
}

struct history { /* records per day */
    int64_t per_day[5000], first_day;
    int calls;
    bool failing;
};

static bool count_history(void *user, const struct slice_range *range, int64_t *ret, struct error *err)
{
    struct history *history = user;
    if (history->failing && history->calls == 2)
        return error_set(err, ERROR_RETRY, "http_503", "no");
    history->calls++;
    *ret = 0;
    for (int64_t day = timestamp_to_days(range->from_us); day * DAY_US < range->to_us; day++)
        *ret += history->per_day[day - history->first_day];
    return true;
}

static void auto_slices_tile_the_range_and_hold_what_they_may(void **state)
{
    (void)state;
    struct history *history = xcalloc(1, sizeof *history);
    for (int i = 0; i < 300; i++) {
        struct slice_list list = {0};
        struct error err = ERROR_INIT;
        struct slice_range range = random_range(i % 2 ? &payroll : &jobs);
        int64_t capacity = 1 + draw(20000);
        history->first_day = timestamp_to_days(range.from_us);
        history->calls = 0;
        for (size_t day = 0; day < 5000; day++)
            history->per_day[day] = draw(4) == 0 ? draw(2000) : day % 400 < 200 ? 0 : draw(30);
        assert_true(count_history(history, &range, &range.records, &err));
        assert_true(slices_auto(&list, &range, capacity, 5000, count_history, history, &err));
        check_tiles(&list, &range);
        for (size_t k = 0; k < list.count; k++) {
            const struct backfill_slice *slice = &list.items[k];
            if (slice->records > capacity && slice->to_us - slice->from_us > DAY_US)
                fail_msg("a slice of %lld days holds %lld records; %lld are allowed",
                         (long long)((slice->to_us - slice->from_us) / DAY_US), (long long)slice->records,
                         (long long)capacity);
            if (k > 0 && list.items[k - 1].records + slice->records <= capacity)
                fail_msg("slices %zu and %zu fit together", k - 1, k);
        }
        free(list.items);
    }
    free(history);
}

static void an_empty_range_is_one_slice_and_costs_no_further_count(void **state)
{
    (void)state;
    struct history *history = xcalloc(1, sizeof *history);
    struct slice_list list = {0};
    struct error err = ERROR_INIT;
    const struct slice_range range = {&jobs, 7, 0, 4000 * DAY_US, 0};
    assert_true(slices_auto(&list, &range, 100, 5000, count_history, history, &err));
    assert_int_equal(list.count, 1);
    assert_int_equal(list.items[0].requests, 1);
    assert_int_equal(history->calls, 0);
    free(list.items);
    free(history);
}

static void a_count_that_fails_is_told(void **state)
{
    (void)state;
    struct history *history = xcalloc(1, sizeof *history);
    struct slice_list list = {0};
    struct error err = ERROR_INIT;
    const struct slice_range range = {&jobs, 7, 0, 4000 * DAY_US, 100000};
    for (size_t day = 0; day < 5000; day++)
        history->per_day[day] = 25;
    history->failing = true;
    assert_false(slices_auto(&list, &range, 100, 5000, count_history, history, &err));
    assert_string_equal(err.code, "http_503");
    free(list.items);
    free(history);
}

/* ---- Order -------------------------------------------------------------------------------------------------------- */

static void tenants_take_turns(void **state)
{
    (void)state;
    static const char *const names[] = {"all"};
    const struct backfill_ask ask = {names, 1, 0, "2021-01-01", "2021-01-04", "1d"};
    struct backfill_request request;
    struct slice_list list = {0};
    struct error err = ERROR_INIT;
    struct buf order = BUF_INIT;
    assert_true(backfill_request_make(&ask, &settings, NOW_US, &request, &err));
    for (size_t i = 0; i < request.entity_count; i++) {
        for (size_t k = 0; k < request.tenant_count; k++) {
            const struct slice_range range = {request.entities[i]->entity, request.tenants[k], request.from_us,
                                              request.to_us, 0};
            assert_true(slices_fixed(&list, &range, request.slice_us, 5000, &err));
        }
    }
    slices_order(&list, &request, "abc");
    for (size_t i = 0; i < list.count; i++)
        buf_printf(&order, "%c%lld.%d ", list.items[i].entity[0], (long long)list.items[i].tenant,
                   timestamp_to_days(list.items[i].from_us) - 18628);
    assert_string_equal(buf_cstr(&order), "j7.0 j8.0 j7.1 j8.1 j7.2 j8.2 p7.0 p8.0 p7.1 p8.1 p7.2 p8.2 ");
    assert_int_equal(list.items[11].number, 12);
    assert_string_equal(list.items[11].task_id, "bf-abc-12");
    buf_release(&order);
    free(list.items);
    backfill_request_release(&request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_read_or_refused),
        cmocka_unit_test(keys_tell_commands_apart),
        cmocka_unit_test(the_end_is_the_end_of_today),
        cmocka_unit_test(lengths_are_read),
        cmocka_unit_test(estimates),
        cmocka_unit_test(fixed_slices_tile_the_range),
        cmocka_unit_test(sixty_months_are_sixty_slices),
        cmocka_unit_test(auto_slices_tile_the_range_and_hold_what_they_may),
        cmocka_unit_test(an_empty_range_is_one_slice_and_costs_no_further_count),
        cmocka_unit_test(a_count_that_fails_is_told),
        cmocka_unit_test(tenants_take_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
