/* Windows of a comparison: they tile the range, weigh about the same, halve to the end, and are explained by what was
 * found. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "../../../src/worker/reconcile_plan.h"
#include "base/uuid.h"

#define HOUR INT64_C(3600000000)
#define DAY (24 * HOUR)
enum { HOURS = 5000 };

static struct reconcile_hour hours[HOURS];

static size_t make_hours(unsigned kind, int64_t *ret_rows)
{
    size_t count = kind == 0 ? 0 : kind == 1 ? 1 : HOURS;
    int64_t at = 1000000 * HOUR;
    *ret_rows = 0;
    for (size_t i = 0; i < count; i++) {
        at += HOUR * (int64_t)(1 + (kind == 3 ? random_u64() % 50 : 0));
        hours[i] =
            (struct reconcile_hour){RECONCILE_CREATED, at, (int64_t)(1 + random_u64() % (kind == 4 ? 10000 : 20))};
        *ret_rows += hours[i].rows;
    }
    return count;
}

static void windows_tile_the_range_and_hold_every_row_once(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind <= 4; kind++) {
        for (int axis = 0; axis < 2; axis++) {
            int64_t rows, sum = 0, end = 2000000 * HOUR;
            size_t count = make_hours(kind, &rows);
            struct plan_list list = {0};
            plan_windows(&list, axis, kind % 2 == 0, 500000 * HOUR, end, hours, count, 50);
            assert_true(list.count >= 1);
            int most = axis == RECONCILE_CREATED ? PLAN_CREATED_WINDOWS : PLAN_MODIFIED_WINDOWS;
            assert_true((int64_t)list.count <= 2 * most + PLAN_RECENT_CUTS);
            assert_int_equal(list.items[0].has_from, kind % 2 == 0);
            assert_int_equal(list.items[0].from_us, 500000 * HOUR);
            assert_int_equal(list.items[list.count - 1].to_us, end);
            for (size_t i = 0; i < list.count; i++) {
                const struct plan_window *window = &list.items[i];
                sum += window->warehouse;
                assert_true(window->from_us < window->to_us);
                if (i > 0) {
                    assert_true(window->has_from);
                    assert_int_equal(window->from_us, list.items[i - 1].to_us);
                    assert_ptr_equal(window->hours, list.items[i - 1].hours + list.items[i - 1].hour_count);
                }
            }
            assert_int_equal(sum, rows);
            free(list.items);
        }
    }
}

/* A stale row shows when a border lies between its old and its new time. */
static void the_last_weeks_are_cut_finer_on_the_modified_axis(void **state)
{
    (void)state;
    int64_t end = (1000000 + HOURS + 1) * HOUR;
    int found = 0;
    for (size_t i = 0; i < HOURS; i++)
        hours[i] = (struct reconcile_hour){RECONCILE_MODIFIED, (1000001 + (int64_t)i) * HOUR, 100};
    struct plan_list list = {0};
    plan_windows(&list, RECONCILE_MODIFIED, false, 0, end, hours, HOURS, 5000);
    for (int cut = 0; cut < PLAN_RECENT_CUTS; cut++)
        for (size_t i = 0; i < list.count; i++)
            found += list.items[i].to_us == end - (DAY << cut);
    assert_int_equal(found, PLAN_RECENT_CUTS);
    free(list.items);
}

static void halves_are_the_whole_and_come_to_an_end(void **state)
{
    (void)state;
    int64_t rows;
    size_t count = make_hours(3, &rows), leaves = 0;
    struct plan_list list = {0};
    plan_windows(&list, RECONCILE_CREATED, false, 0, 2000000 * HOUR, hours, count, rows);
    assert_int_equal(list.count, 1);
    for (size_t i = 0; i < list.count; i++) {
        struct plan_window window = list.items[i], lower, upper;
        window.source = window.warehouse + 1;
        if (!plan_halve(&window, 50, &lower, &upper)) {
            assert_true(window.source <= 50 || window.hour_count == 1);
            leaves++;
            continue;
        }
        assert_int_equal(lower.warehouse + upper.warehouse, window.warehouse);
        assert_int_equal(lower.hour_count + upper.hour_count, window.hour_count);
        assert_int_equal(lower.from_us, window.from_us);
        assert_int_equal(lower.to_us, upper.from_us);
        assert_int_equal(upper.to_us, window.to_us);
        assert_int_equal(lower.has_from, window.has_from);
        assert_true(upper.has_from);
        plan_append(&list, &lower);
        plan_append(&list, &upper);
    }
    assert_true(leaves > (size_t)rows / 50);
    free(list.items);
}

static void many_differing_windows_mean_reading_all(void **state)
{
    (void)state;
    static const struct {
        size_t windows, differing;
        bool all;
    } cases[] = {{20, 0, false}, {20, 5, false}, {20, 6, true}, {1, 1, false}, {3, 1, false}, {2, 2, true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct plan_list list = {0};
        for (size_t w = 0; w < cases[i].windows; w++) {
            const struct plan_window window = {.warehouse = 10, .source = w < cases[i].differing ? 11 : 10};
            plan_append(&list, &window);
        }
        if (plan_reads_all(&list) != cases[i].all)
            fail_msg("case %zu", i);
        free(list.items);
    }
}

static void findings_explain_counts(void **state)
{
    (void)state;
    struct reconcile_difference items[] = {
        {.kind = RECONCILE_MISSING, .created_us = 5, .source_us = 105, .warehouse_us = INT64_MIN},
        {.kind = RECONCILE_EXTRA, .created_us = 6, .source_us = INT64_MIN, .warehouse_us = 206},
        {.kind = RECONCILE_STALE, .created_us = 7, .source_us = 207, .warehouse_us = 107},
        {.kind = RECONCILE_VALUE, .created_us = 8, .source_us = 108, .warehouse_us = 108},
    };
    const struct reconcile_findings findings = {.items = items, .count = 4};
    static const struct {
        enum reconcile_axis axis;
        bool has_from;
        int64_t from, to, source, warehouse, left;
    } cases[] = {
        {RECONCILE_CREATED, false, 0, 100, 50, 50, 0},   /* one missing, one extra: hidden, and explained */
        {RECONCILE_CREATED, true, 6, 100, 49, 50, 0},    /* the extra one */
        {RECONCILE_CREATED, true, 6, 100, 50, 50, 1},    /* something else hides it */
        {RECONCILE_MODIFIED, true, 100, 200, 50, 50, 0}, /* missing +1, stale -1 */
        {RECONCILE_MODIFIED, true, 200, 300, 50, 50, 0}, /* extra -1, stale +1 */
        {RECONCILE_MODIFIED, true, 106, 200, 50, 50, 1}, /* the stale one's old place, hidden */
        {RECONCILE_MODIFIED, true, 300, 400, 51, 50, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct plan_window window = {.axis = cases[i].axis,
                                           .has_from = cases[i].has_from,
                                           .from_us = cases[i].from,
                                           .to_us = cases[i].to,
                                           .source = cases[i].source,
                                           .warehouse = cases[i].warehouse};
        if (plan_unexplained(&window, &findings) != cases[i].left)
            fail_msg("case %zu: %lld", i, (long long)plan_unexplained(&window, &findings));
    }
}

static void repairs_are_hours_and_neighbours_are_one(void **state)
{
    (void)state;
    struct reconcile_difference items[] = {
        {.created_us = 5 * HOUR + 1}, {.created_us = 2 * HOUR}, {.created_us = 5 * HOUR + 2},
        {.created_us = 3 * HOUR - 1}, {.created_us = 3 * HOUR}, {.created_us = INT64_MIN},
        {.created_us = -1},
    };
    const struct reconcile_findings findings = {.items = items, .count = 7};
    struct reconcile_range *ranges;
    assert_int_equal(plan_repairs(&findings, &ranges), 3);
    assert_int_equal(ranges[0].from_us, -HOUR);
    assert_int_equal(ranges[0].to_us, 0);
    assert_int_equal(ranges[1].from_us, 2 * HOUR);
    assert_int_equal(ranges[1].to_us, 4 * HOUR);
    assert_int_equal(ranges[2].from_us, 5 * HOUR);
    assert_int_equal(ranges[2].to_us, 6 * HOUR);
    free(ranges);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_tile_the_range_and_hold_every_row_once),
        cmocka_unit_test(the_last_weeks_are_cut_finer_on_the_modified_axis),
        cmocka_unit_test(halves_are_the_whole_and_come_to_an_end),
        cmocka_unit_test(many_differing_windows_mean_reading_all),
        cmocka_unit_test(findings_explain_counts),
        cmocka_unit_test(repairs_are_hours_and_neighbours_are_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
