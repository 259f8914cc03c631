#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "net/backoff.h"

static void waits_double_within_the_jitter(void **state)
{
    static const int64_t plain_ms[] = {1000, 2000, 4000, 8000, 16000};
    (void)state;
    int64_t least[5] = {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX}, most[5] = {0};
    for (int round = 0; round < 2000; round++) {
        struct backoff b;
        backoff_init(&b, BACKOFF_DEFAULT);
        for (int i = 0; i < 5; i++) {
            int64_t ms = backoff_next_ms(&b, 0);
            assert_in_range(ms, plain_ms[i] * 3 / 4, plain_ms[i] * 5 / 4);
            least[i] = ms < least[i] ? ms : least[i];
            most[i] = ms > most[i] ? ms : most[i];
        }
        assert_int_equal(backoff_next_ms(&b, 0), -1);
    }
    for (int i = 0; i < 5; i++) { /* the jitter uses its whole range */
        assert_true(least[i] < plain_ms[i] * 80 / 100);
        assert_true(most[i] > plain_ms[i] * 120 / 100);
    }
}

static void the_floor_is_kept_and_the_ceiling_too(void **state)
{
    (void)state;
    struct backoff b;
    backoff_init(&b, (struct backoff_policy){1000, 4000, 0, 10});
    assert_int_equal(backoff_next_ms(&b, 30000), 30000);
    assert_int_equal(backoff_next_ms(&b, 0), 2000);
    assert_int_equal(backoff_next_ms(&b, 0), 4000);
    assert_int_equal(backoff_next_ms(&b, 0), 4000);
    backoff_reset(&b);
    assert_int_equal(backoff_next_ms(&b, 0), 1000);
}

static void no_retries_means_none(void **state)
{
    (void)state;
    struct backoff b;
    backoff_init(&b, (struct backoff_policy){1000, 4000, 25, 0});
    assert_int_equal(backoff_next_ms(&b, 500), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_double_within_the_jitter),
        cmocka_unit_test(the_floor_is_kept_and_the_ceiling_too),
        cmocka_unit_test(no_retries_means_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
