#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

#include "verdict.h"

static void every_error_class_has_its_verdict(void **state)
{
    (void)state;
    static const struct {
        bool ok;
        enum error_class class;
        int attempt;
        enum verdict verdict;
    } cases[] = {
        {true, ERROR_NONE, 1, VERDICT_DONE},
        {true, ERROR_NONE, 29, VERDICT_DONE},
        {false, ERROR_RETRY, 1, VERDICT_RETRY},
        {false, ERROR_RETRY, 28, VERDICT_RETRY},
        {false, ERROR_RETRY, 29, VERDICT_REJECT},
        {false, ERROR_THROTTLED, 5, VERDICT_RETRY},
        {false, ERROR_THROTTLED, 30, VERDICT_REJECT},
        {false, ERROR_PERMANENT, 1, VERDICT_REJECT},
        {false, ERROR_CANCELLED, 1, VERDICT_RETRY},
        {false, ERROR_CANCELLED, 29, VERDICT_RETRY}, /* a shutdown says nothing about the message */
        {false, ERROR_AWAY, 1, VERDICT_DEFER},
        {false, ERROR_AWAY, 29, VERDICT_DEFER}, /* it waits without using up an attempt */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct error err = {.class = cases[i].class};
        if (verdict_of(cases[i].ok, &err, cases[i].attempt) != cases[i].verdict)
            fail_msg("case %zu: %s", i, verdict_name(verdict_of(cases[i].ok, &err, cases[i].attempt)));
    }
}

static struct message message_of(const char *entity, enum task_mode mode, int64_t tenant, const char *task_id)
{
    struct message message = {.readable = true};
    snprintf(message.task.entity, sizeof message.task.entity, "%s", entity);
    snprintf(message.task_id, sizeof message.task_id, "%s", task_id);
    message.task.mode = mode;
    message.task.tenant = tenant;
    return message;
}

static void twins_ask_for_the_same_thing(void **state)
{
    (void)state;
    const struct message a = message_of("jobs", TASK_INCREMENTAL, 1, "x"),
                         b = message_of("jobs", TASK_INCREMENTAL, 1, "y");
    const struct message tenant = message_of("jobs", TASK_INCREMENTAL, 2, "x"),
                         mode = message_of("jobs", TASK_FULL, 1, "x");
    const struct message slice1 = message_of("jobs", TASK_BACKFILL, 1, "x"),
                         slice2 = message_of("jobs", TASK_BACKFILL, 1, "y");
    assert_true(message_is_twin(&a, &b));
    assert_false(message_is_twin(&a, &tenant));
    assert_false(message_is_twin(&a, &mode));
    assert_true(message_is_twin(&slice1, &slice1));
    assert_false(message_is_twin(&slice1, &slice2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_class_has_its_verdict),
        cmocka_unit_test(twins_ask_for_the_same_thing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
