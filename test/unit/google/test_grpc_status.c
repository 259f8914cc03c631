/* Every gRPC status: its class, effect and name, and what a code outside the table becomes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "google/grpc.h"

static const struct {
    int code;
    const char *name;
    enum error_class class;
    enum error_effect effect;
} cases[] = {
    {0, "ok", ERROR_NONE, EFFECT_DONE},
    {1, "cancelled", ERROR_CANCELLED, EFFECT_MAYBE},
    {2, "unknown", ERROR_RETRY, EFFECT_MAYBE},
    {3, "invalid_argument", ERROR_PERMANENT, EFFECT_NONE},
    {4, "deadline_exceeded", ERROR_RETRY, EFFECT_MAYBE},
    {5, "not_found", ERROR_PERMANENT, EFFECT_NONE},
    {6, "already_exists", ERROR_PERMANENT, EFFECT_NONE},
    {7, "permission_denied", ERROR_PERMANENT, EFFECT_NONE},
    {8, "resource_exhausted", ERROR_THROTTLED, EFFECT_NONE},
    {9, "failed_precondition", ERROR_PERMANENT, EFFECT_NONE},
    {10, "aborted", ERROR_RETRY, EFFECT_MAYBE},
    {11, "out_of_range", ERROR_PERMANENT, EFFECT_NONE},
    {12, "unimplemented", ERROR_PERMANENT, EFFECT_NONE},
    {13, "internal", ERROR_RETRY, EFFECT_MAYBE},
    {14, "unavailable", ERROR_RETRY, EFFECT_MAYBE},
    {15, "data_loss", ERROR_PERMANENT, EFFECT_NONE},
    {16, "unauthenticated", ERROR_PERMANENT, EFFECT_NONE},
    {17, "unknown", ERROR_RETRY, EFFECT_MAYBE},
    {-1, "unknown", ERROR_RETRY, EFFECT_MAYBE},
};

static void each_status_has_its_class(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        assert_false(grpc_status_error(&err, cases[i].code, "why", "/a.B/C"));
        assert_string_equal(err.code, cases[i].name);
        assert_int_equal(err.class, cases[i].class);
        assert_int_equal(err.effect, cases[i].effect);
        assert_int_equal(err.status, cases[i].code);
    }
}

static void the_message_names_call_status_and_reason(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    grpc_status_error(&err, 5, "no such topic", "/a.B/C");
    assert_string_equal(err.message, "cannot call \"a.B/C\": not_found: no such topic");
    grpc_status_error(&err, 14, "", "/a.B/C");
    assert_string_equal(err.message, "could not call \"a.B/C\": unavailable: no reason given");
    assert_false(grpc_status_error(NULL, 14, NULL, "/a.B/C"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_status_has_its_class),
        cmocka_unit_test(the_message_names_call_status_and_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
