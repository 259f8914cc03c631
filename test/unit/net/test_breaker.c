/* The breaker's states, on a clock in which a minute passes in moments. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cancel.h"
#include "net/breaker.h"

static void fail_times(struct breaker *breaker, int times)
{
    for (int i = 0; i < times; i++) {
        struct error err = ERROR_INIT;
        assert_true(breaker_enter(breaker, &err));
        breaker_leave(breaker, /* ok */ false);
    }
}

static void only_failures_in_a_row_open_it(void **state)
{
    (void)state;
    struct breaker *breaker = breaker_new(5, 60000);
    struct error err = ERROR_INIT;
    fail_times(breaker, 4);
    assert_true(breaker_enter(breaker, &err));
    breaker_leave(breaker, /* ok */ true);
    fail_times(breaker, 4);
    assert_int_equal(breaker_state(breaker), BREAKER_CLOSED);
    fail_times(breaker, 1);
    assert_int_equal(breaker_state(breaker), BREAKER_OPEN);
    assert_false(breaker_enter(breaker, &err));
    assert_int_equal(err.class, ERROR_RETRY);
    assert_string_equal(err.code, "breaker_open");
    assert_in_range(err.wait_ms, 1, 60000);
    breaker_free(breaker);
}

struct late_call {
    struct breaker *breaker;
    bool ok;
};

static void *leave_late(void *user)
{
    struct late_call *call = user;
    breaker_leave(call->breaker, call->ok);
    return NULL;
}

static void leave_on_another_thread(struct breaker *breaker, bool ok)
{
    struct late_call call = {breaker, ok};
    pthread_t thread;
    pthread_create(&thread, NULL, leave_late, &call);
    pthread_join(thread, NULL);
}

static void an_open_breaker_says_when_its_probe_is_due(void **state)
{
    (void)state;
    struct breaker *breaker = breaker_new(1, 60000);
    fail_times(breaker, 1);
    assert_int_equal(breaker_state(breaker), BREAKER_OPEN);
    cancel_sleep_ms(NULL, 60001);
    assert_int_equal(breaker_state(breaker), BREAKER_HALF_OPEN); /* by time alone: nobody has entered */
    fail_times(breaker, 1);                                      /* the probe */
    assert_int_equal(breaker_state(breaker), BREAKER_OPEN);
    breaker_free(breaker);
}

static void one_probe_decides(void **state)
{
    (void)state;
    struct breaker *breaker = breaker_new(5, 60000);
    struct error err = ERROR_INIT;
    fail_times(breaker, 5);
    cancel_sleep_ms(NULL, 60001);
    assert_true(breaker_enter(breaker, &err));
    assert_int_equal(breaker_state(breaker), BREAKER_HALF_OPEN);
    assert_false(breaker_enter(breaker, &err)); /* only one */
    leave_on_another_thread(breaker, /* ok */ true);
    assert_int_equal(breaker_state(breaker), BREAKER_HALF_OPEN); /* a call from before says nothing */
    breaker_leave(breaker, /* ok */ false);
    assert_int_equal(breaker_state(breaker), BREAKER_OPEN);
    assert_false(breaker_enter(breaker, &err));
    cancel_sleep_ms(NULL, 60001);
    assert_true(breaker_enter(breaker, &err));
    breaker_leave(breaker, /* ok */ true);
    assert_int_equal(breaker_state(breaker), BREAKER_CLOSED);
    fail_times(breaker, 4);
    assert_int_equal(breaker_state(breaker), BREAKER_CLOSED); /* it counts from zero again */
    breaker_free(breaker);
}

static void an_abandoned_call_counts_for_nothing(void **state)
{
    (void)state;
    struct breaker *breaker = breaker_new(5, 60000);
    struct error err = ERROR_INIT;
    fail_times(breaker, 4);
    assert_true(breaker_enter(breaker, &err));
    breaker_abandon(breaker);
    assert_int_equal(breaker_state(breaker), BREAKER_CLOSED);
    fail_times(breaker, 1);
    cancel_sleep_ms(NULL, 60001);
    assert_true(breaker_enter(breaker, &err));
    breaker_abandon(breaker);
    assert_true(breaker_enter(breaker, &err)); /* the probe was given back */
    breaker_leave(breaker, /* ok */ true);
    assert_string_equal(breaker_state_name(breaker_state(breaker)), "closed");
    breaker_free(breaker);
}

struct story {
    char text[160];
};

static void write_down(void *user, enum breaker_state state, int failures)
{
    struct story *story = user;
    size_t len = strlen(story->text);
    snprintf(story->text + len, sizeof story->text - len, "%s %d, ", breaker_state_name(state), failures);
}

static void each_change_is_told_once_and_in_order(void **state)
{
    (void)state;
    struct breaker *breaker = breaker_new(2, 60000);
    struct story story = {""};
    struct error err = ERROR_INIT;
    breaker_watch(breaker, write_down, &story);
    fail_times(breaker, 1);
    assert_string_equal(story.text, "");
    fail_times(breaker, 1);
    assert_false(breaker_enter(breaker, &err));
    cancel_sleep_ms(NULL, 60000);
    assert_true(breaker_enter(breaker, &err));
    assert_false(breaker_enter(breaker, NULL));
    breaker_abandon(breaker);
    fail_times(breaker, 1); /* the probe once more */
    cancel_sleep_ms(NULL, 60000);
    assert_true(breaker_enter(breaker, &err));
    breaker_leave(breaker, /* ok */ true);
    fail_times(breaker, 1);
    assert_string_equal(story.text, "open 2, half_open 2, open 3, half_open 3, closed 0, ");
    breaker_free(breaker);
}

enum { PROBERS = 16 };

struct prober {
    struct breaker *breaker;
    pthread_barrier_t *all;
    bool passed;
};

static void *try_to_pass(void *user)
{
    struct prober *prober = user;
    pthread_barrier_wait(prober->all);
    prober->passed = breaker_enter(prober->breaker, NULL);
    pthread_barrier_wait(prober->all);
    if (prober->passed)
        breaker_leave(prober->breaker, /* ok */ false);
    return NULL;
}

static void of_many_threads_one_is_the_probe(void **state)
{
    (void)state;
    struct breaker *breaker = breaker_new(5, 60000);
    struct prober probers[PROBERS];
    pthread_t threads[PROBERS];
    pthread_barrier_t all;
    fail_times(breaker, 5);
    for (int round = 0; round < 20; round++) {
        int passed = 0;
        cancel_sleep_ms(NULL, 60000);
        pthread_barrier_init(&all, NULL, PROBERS);
        for (int i = 0; i < PROBERS; i++) {
            probers[i] = (struct prober){breaker, &all, false};
            pthread_create(&threads[i], NULL, try_to_pass, &probers[i]);
        }
        for (int i = 0; i < PROBERS; i++) {
            pthread_join(threads[i], NULL);
            passed += probers[i].passed;
        }
        pthread_barrier_destroy(&all);
        assert_int_equal(passed, 1);
        assert_int_equal(breaker_state(breaker), BREAKER_OPEN);
    }
    breaker_free(breaker);
}

int main(void)
{
    setenv("ST_CLOCK_SCALE", "1000", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_failures_in_a_row_open_it),
        cmocka_unit_test(an_open_breaker_says_when_its_probe_is_due),
        cmocka_unit_test(one_probe_decides),
        cmocka_unit_test(an_abandoned_call_counts_for_nothing),
        cmocka_unit_test(each_change_is_told_once_and_in_order),
        cmocka_unit_test(of_many_threads_one_is_the_probe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
