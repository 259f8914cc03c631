/* Sums, rate and the time that is left, from the states of slices. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "operate/backfill_progress.h"

#define SECOND_US INT64_C(1000000)
#define NOW_US (1764037800 * SECOND_US)
#define MINUTES(n) ((n)*60 * SECOND_US)

static struct slice_status slice(enum slice_state state, int64_t records, int64_t requests, int64_t start_us,
                                 int64_t end_us)
{
    return (struct slice_status){
        .state = state, .records = records, .requests = requests, .start_us = start_us, .end_us = end_us};
}

static void the_last_minutes_make_the_rate(void **state)
{
    (void)state;
    struct slice_status slices[] = {
        slice(SLICE_DONE, 900000, 90, NOW_US - MINUTES(50), NOW_US - MINUTES(40)), /* long ago: another rate */
        slice(SLICE_DONE, 4000, 4, NOW_US - MINUTES(12), NOW_US - MINUTES(9)),
        slice(SLICE_DONE, 6000, 6, NOW_US - MINUTES(9), NOW_US - MINUTES(1)),
        slice(SLICE_RUNNING, 0, 5, NOW_US - MINUTES(1), 0),
        slice(SLICE_REJECTED, 0, 50, NOW_US - MINUTES(8), NOW_US - MINUTES(7)), /* nobody waits for it */
        slice(SLICE_QUEUED, 0, 10, 0, 0),
        slice(SLICE_UNPUBLISHED, 0, 5, 0, 0),
        slice(SLICE_RETRYING, 0, 10, NOW_US - MINUTES(3), NOW_US - MINUTES(2)),
    };
    struct backfill_progress p = {.slices = slices, .count = 8};
    backfill_progress_sum(&p, NOW_US);
    assert_int_equal(p.states[SLICE_DONE], 3);
    assert_int_equal(p.states[SLICE_QUEUED], 1);
    assert_int_equal(p.records, 910000);
    assert_int_equal(p.records_per_minute, 1000);
    assert_int_equal(p.eta_s, 1800); /* 10 requests took 10 minutes, 30 are left */
    assert_false(backfill_is_final(&p));
}

static void a_young_backfill_is_measured_from_its_first_run(void **state)
{
    (void)state;
    struct slice_status slices[] = {slice(SLICE_DONE, 300, 1, NOW_US - MINUTES(2), NOW_US - MINUTES(1)),
                                    slice(SLICE_QUEUED, 0, 3, 0, 0)};
    struct backfill_progress p = {.slices = slices, .count = 2};
    backfill_progress_sum(&p, NOW_US);
    assert_int_equal(p.records_per_minute, 150);
    assert_int_equal(p.eta_s, 360);
}

static void nothing_is_promised_without_a_pace(void **state)
{
    (void)state;
    struct slice_status slices[] = {slice(SLICE_DONE, 300, 1, NOW_US - MINUTES(90), NOW_US - MINUTES(80)),
                                    slice(SLICE_QUEUED, 0, 3, 0, 0)};
    struct backfill_progress p = {.slices = slices, .count = 2}, none = {.slices = slices + 1, .count = 1};
    backfill_progress_sum(&p, NOW_US);
    assert_int_equal(p.records_per_minute, 0);
    assert_int_equal(p.eta_s, -1);
    backfill_progress_sum(&none, NOW_US);
    assert_int_equal(none.eta_s, -1);
}

static void the_end_is_done_or_rejected(void **state)
{
    (void)state;
    struct slice_status slices[] = {slice(SLICE_DONE, 1, 1, NOW_US - 9, NOW_US - 3),
                                    slice(SLICE_REJECTED, 0, 1, NOW_US - 9, NOW_US - 3)};
    struct backfill_progress p = {.slices = slices, .count = 2};
    backfill_progress_sum(&p, NOW_US);
    assert_true(backfill_is_final(&p));
    assert_int_equal(p.eta_s, 0);
    slices[1].state = SLICE_UNPUBLISHED;
    backfill_progress_sum(&p, NOW_US);
    assert_false(backfill_is_final(&p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_minutes_make_the_rate),
        cmocka_unit_test(a_young_backfill_is_measured_from_its_first_run),
        cmocka_unit_test(nothing_is_promised_without_a_pace),
        cmocka_unit_test(the_end_is_done_or_rejected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
