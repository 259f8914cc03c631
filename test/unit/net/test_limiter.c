/* Token bucket and AIMD on a scaled clock: seconds of waiting pass in milliseconds. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "net/limiter.h"

static void take(struct limiter *limiter, int times)
{
    for (int i = 0; i < times; i++) {
        struct error err = ERROR_INIT;
        assert_true(limiter_take(limiter, NULL, NULL, &err));
    }
}

static void the_burst_passes_and_the_rate_holds(void **state)
{
    (void)state;
    struct limiter *limiter = limiter_new(10, 20);
    int64_t started_ms = clock_mono_ms();
    take(limiter, 20);
    int64_t burst_ms = clock_mono_ms() - started_ms;
    take(limiter, 300);
    int64_t all_ms = clock_mono_ms() - started_ms;
    assert_true(burst_ms < 2000);
    /* 300 tokens beyond the burst take 30 s; at most 10 % of what is allowed is left unused. */
    assert_true(all_ms >= 29900);
    assert_true(all_ms <= 33300);
    limiter_free(limiter);
}

struct user {
    struct limiter *limiter;
    struct cancel *cancel;
    atomic_int *order;
    int place, turn;
    bool background, ok;
    pthread_t thread;
};

static void *wait_in_line(void *arg)
{
    struct user *user = arg;
    struct error err = ERROR_INIT;
    user->ok = user->background ? limiter_take_background(user->limiter, user->cancel, NULL, &err)
                                : limiter_take(user->limiter, user->cancel, NULL, &err);
    user->turn = atomic_fetch_add(user->order, 1);
    return NULL;
}

static void waiters_are_served_in_the_order_they_came(void **state)
{
    (void)state;
    enum { USERS = 8 };
    struct limiter *limiter = limiter_new(0.2, 1); /* 5 s per token: 50 real ms */
    struct user users[USERS];
    atomic_int order = 0;
    take(limiter, 1);
    for (int i = 0; i < USERS; i++) {
        users[i] = (struct user){.limiter = limiter, .order = &order, .place = i};
        pthread_create(&users[i].thread, NULL, wait_in_line, &users[i]);
        cancel_sleep_ms(NULL, 500); /* they come one after the other */
    }
    for (int i = 0; i < USERS; i++) {
        pthread_join(users[i].thread, NULL);
        assert_int_equal(users[i].turn, i);
    }
    limiter_free(limiter);
}

static void the_background_stands_behind_all_others(void **state)
{
    (void)state;
    static const int turns[] = {3, 4, 0, 5, 1, 2}; /* of background, background, live, background, live, live */
    enum { USERS = 6 };
    struct limiter *limiter = limiter_new(0.0001, 1); /* no token before all stand in line */
    struct user users[USERS];
    atomic_int order = 0;
    take(limiter, 1);
    for (int i = 0; i < USERS; i++) {
        users[i] = (struct user){.limiter = limiter, .order = &order, .background = i == 0 || i == 1 || i == 3};
        pthread_create(&users[i].thread, NULL, wait_in_line, &users[i]);
        cancel_sleep_ms(NULL, 1000);
    }
    limiter_set_rate(limiter, 0.2, 1);
    for (int i = 0; i < USERS; i++) {
        pthread_join(users[i].thread, NULL);
        assert_int_equal(users[i].turn, turns[i]);
    }
    limiter_free(limiter);
}

static void a_waiter_can_be_cancelled_and_leaves_the_line(void **state)
{
    (void)state;
    struct limiter *limiter = limiter_new(0.001, 1);
    struct cancel *cancel = cancel_new(NULL);
    atomic_int order = 0;
    struct user first = {.limiter = limiter, .cancel = cancel, .order = &order},
                second = {.limiter = limiter, .order = &order};
    take(limiter, 1);
    pthread_create(&first.thread, NULL, wait_in_line, &first);
    cancel_sleep_ms(NULL, 500);
    pthread_create(&second.thread, NULL, wait_in_line, &second);
    cancel_sleep_ms(NULL, 500);
    cancel_set(cancel, "shutdown");
    pthread_join(first.thread, NULL);
    assert_false(first.ok);
    limiter_set_rate(limiter, 1000, 1); /* wakes the next in line */
    pthread_join(second.thread, NULL);
    assert_true(second.ok);
    cancel_free(cancel);
    limiter_free(limiter);
}

static void a_429_halves_the_rate_once_per_second_and_time_heals(void **state)
{
    (void)state;
    struct limiter *limiter = limiter_new(100, 20);
    limiter_throttled(limiter);
    limiter_throttled(limiter); /* the same second: the same trouble */
    assert_in_range((int)limiter_rate(limiter), 50, 55);
    cancel_sleep_ms(NULL, 1001);
    limiter_throttled(limiter);
    assert_in_range((int)limiter_rate(limiter), 25, 33);
    for (int i = 0; i < 8; i++) {
        cancel_sleep_ms(NULL, 1001);
        limiter_throttled(limiter);
    }
    assert_in_range((int)limiter_rate(limiter), 10, 16); /* never below a tenth */
    cancel_sleep_ms(NULL, 8000);
    double healing = limiter_rate(limiter);
    assert_true(healing >= 10 + 7 * 5 && healing <= 10 + 12 * 5);
    cancel_sleep_ms(NULL, 12000);
    assert_true(limiter_rate(limiter) == 100.0);
    limiter_free(limiter);
}

static void a_429_slows_the_others_down(void **state)
{
    (void)state;
    struct limiter *limiter = limiter_new(10, 20);
    limiter_throttled(limiter);
    int64_t started_ms = clock_mono_ms();
    take(limiter, 10); /* the saved burst is gone; 5, 5.5, 6 ... tokens a second */
    assert_true(clock_mono_ms() - started_ms >= 1500);
    limiter_free(limiter);
}

static void slow_tenants_are_not_stopped_altogether(void **state)
{
    (void)state;
    struct limiter *limiter = limiter_new(2, 1);
    for (int i = 0; i < 5; i++) {
        limiter_throttled(limiter);
        cancel_sleep_ms(NULL, 1001);
    }
    assert_true(limiter_rate(limiter) >= 1.0);
    limiter_free(limiter);
}

int main(void)
{
    setenv("ST_CLOCK_SCALE", "100", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_burst_passes_and_the_rate_holds),
        cmocka_unit_test(waiters_are_served_in_the_order_they_came),
        cmocka_unit_test(the_background_stands_behind_all_others),
        cmocka_unit_test(a_waiter_can_be_cancelled_and_leaves_the_line),
        cmocka_unit_test(a_429_halves_the_rate_once_per_second_and_time_heals),
        cmocka_unit_test(a_429_slows_the_others_down),
        cmocka_unit_test(slow_tenants_are_not_stopped_altogether),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
