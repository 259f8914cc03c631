/* A scaled clock: an hour of waiting passes in moments, and two processes that share a base agree. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <time.h>

#include "base/cancel.h"
#include "base/clock.h"

static void an_hour_passes_in_moments(void **state)
{
    (void)state;
    time_t started = time(NULL);
    int64_t before = clock_mono_ms();
    assert_true(cancel_sleep_ms(NULL, 3600 * 1000));
    assert_true(clock_mono_ms() - before >= 3600 * 1000);
    assert_true(time(NULL) - started < 30);
}

static void the_wall_clock_counts_from_the_shared_base(void **state)
{
    (void)state;
    int64_t elapsed_us = clock_wall_us() - 1761040800000000;
    int64_t real_us = ((int64_t)time(NULL) - 1761040800) * 1000000;
    assert_true(elapsed_us > real_us * 9000);
    assert_int_equal(clock_real_ms(10000), 1);
    assert_int_equal(clock_real_ms(10001), 2);
}

int main(void)
{
    setenv("ST_CLOCK_SCALE", "10000", 1);
    setenv("ST_CLOCK_BASE", "1761040800", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_hour_passes_in_moments),
        cmocka_unit_test(the_wall_clock_counts_from_the_shared_base),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
