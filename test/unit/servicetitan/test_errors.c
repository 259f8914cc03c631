/* Every status that an API or its gateway answers, with what to make of it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "servicetitan/client.h"

static const struct {
    int status;
    enum error_class class;
    enum error_effect effect;
    int64_t wait_ms;
} statuses[] = {
    {204, ERROR_PERMANENT, EFFECT_MAYBE, 0}, {206, ERROR_PERMANENT, EFFECT_MAYBE, 0},
    {301, ERROR_PERMANENT, EFFECT_NONE, 0},  {302, ERROR_PERMANENT, EFFECT_NONE, 0},
    {304, ERROR_PERMANENT, EFFECT_NONE, 0},  {307, ERROR_PERMANENT, EFFECT_NONE, 0},
    {400, ERROR_PERMANENT, EFFECT_NONE, 0},  {401, ERROR_PERMANENT, EFFECT_NONE, 0},
    {402, ERROR_PERMANENT, EFFECT_NONE, 0},  {403, ERROR_PERMANENT, EFFECT_NONE, 0},
    {404, ERROR_PERMANENT, EFFECT_NONE, 0},  {405, ERROR_PERMANENT, EFFECT_NONE, 0},
    {406, ERROR_PERMANENT, EFFECT_NONE, 0},  {408, ERROR_RETRY, EFFECT_MAYBE, 0},
    {409, ERROR_PERMANENT, EFFECT_NONE, 0},  {410, ERROR_PERMANENT, EFFECT_NONE, 0},
    {413, ERROR_PERMANENT, EFFECT_NONE, 0},  {414, ERROR_PERMANENT, EFFECT_NONE, 0},
    {415, ERROR_PERMANENT, EFFECT_NONE, 0},  {422, ERROR_PERMANENT, EFFECT_NONE, 0},
    {425, ERROR_RETRY, EFFECT_NONE, 0},      {429, ERROR_THROTTLED, EFFECT_NONE, 30000},
    {431, ERROR_PERMANENT, EFFECT_NONE, 0},  {451, ERROR_PERMANENT, EFFECT_NONE, 0},
    {500, ERROR_RETRY, EFFECT_MAYBE, 0},     {501, ERROR_RETRY, EFFECT_MAYBE, 0},
    {502, ERROR_RETRY, EFFECT_MAYBE, 0},     {503, ERROR_RETRY, EFFECT_MAYBE, 0},
    {504, ERROR_RETRY, EFFECT_MAYBE, 0},     {520, ERROR_RETRY, EFFECT_MAYBE, 0},
    {599, ERROR_RETRY, EFFECT_MAYBE, 0},
};

static void every_status_has_its_class(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        struct error err = ERROR_INIT;
        char code[16];
        assert_false(st_error(&err, statuses[i].status, -1, SLICE_LIT(""), "list jobs"));
        if (err.class != statuses[i].class || err.effect != statuses[i].effect || err.wait_ms != statuses[i].wait_ms)
            fail_msg("%d: %s, effect %d, wait %lld", statuses[i].status, error_class_name(err.class), err.effect,
                     (long long)err.wait_ms);
        snprintf(code, sizeof code, "http_%d", statuses[i].status);
        assert_string_equal(err.code, code);
        assert_int_equal(err.status, statuses[i].status);
        assert_non_null(strstr(err.message, err.class == ERROR_PERMANENT ? "cannot list jobs" : "could not list jobs"));
    }
    assert_false(st_error(NULL, 500, -1, SLICE_LIT(""), "list jobs"));
}

static const struct {
    int64_t retry_after_ms;
    const char *body;
    int64_t wait_ms;
} throttles[] = {
    {17000, "{\"title\":\"Try again in 5 seconds.\"}", 17000}, /* the header comes first */
    {0, "{\"title\":\"Try again in 5 seconds.\"}", 0},
    {-1, "{\"title\":\"Rate limit is exceeded. Try again in 59 seconds.\",\"status\":429}", 59000},
    {-1, "{\"title\":\"Rate limit is exceeded. Try again in 0 seconds\"}", 0},
    {-1, "{\"title\":\"429 Too Many Requests\"}", 30000}, /* a number elsewhere is no wait */
    {-1, "{\"title\":\"Try again in abc12 seconds\"}", 30000},
    {-1, "{\"title\":\"Try again in 99999999999999999999 seconds\"}", 30000},
    {-1, "{\"title\":\"12\"}", 30000},
    {-1, "{\"title\":null}", 30000},
    {-1, "{\"title\":7}", 30000},
    {-1, "[1]", 30000},
    {-1, "<html>slow down</html>", 30000},
    {-1, "", 30000},
    {-1, "{\"title\":\"Try again in 5 sec", 30000}, /* cut */
};

static void throttling_waits_what_is_asked(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof throttles / sizeof throttles[0]; i++) {
        struct error err = ERROR_INIT;
        st_error(&err, 429, throttles[i].retry_after_ms, slice_str(throttles[i].body), "list jobs");
        assert_int_equal(err.class, ERROR_THROTTLED);
        if (err.wait_ms != throttles[i].wait_ms)
            fail_msg("%s: %lld instead of %lld", throttles[i].body, (long long)err.wait_ms,
                     (long long)throttles[i].wait_ms);
    }
    struct error err = ERROR_INIT;
    st_error(&err, 503, 4000, SLICE_LIT(""), "list jobs");
    assert_int_equal(err.wait_ms, 4000);
}

static const struct {
    const char *body, *said;
} bodies[] = {
    {"{\"title\":\"One or more errors\",\"errors\":{\"pageSize\":[\"must be at most 5000\"],\"page\":[\"is odd\"]}}",
     "cannot list jobs: 400 bad request: One or more errors (pageSize: must be at most 5000; page: is odd)"},
    {"{\"title\":\"Wrong\",\"errors\":{}}", "400 bad request: Wrong"},
    {"{\"errors\":{\"from\":\"is no date\",\"x\":[]}}", "400 bad request (from: is no date; x: )"},
    {"  <!DOCTYPE html><html>", "400 bad request, with an HTML page"},
    {"", "400 bad request, with an empty body"},
    {"plain\ntext\x01", "400 bad request: plain text "},
    {"\xff\xfe", "400 bad request: (not text)"},
    {"{\"title\":\"cut", "400 bad request: {\"title\":\"cut"},
};

static void bodies_explain_when_they_can(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct error err = ERROR_INIT;
        st_error(&err, 400, -1, slice_str(bodies[i].body), "list jobs");
        if (!strstr(err.message, bodies[i].said))
            fail_msg("\"%s\" instead of \"%s\"", err.message, bodies[i].said);
    }
}

static void long_bodies_are_cut(void **state)
{
    (void)state;
    char body[5000];
    struct error err = ERROR_INIT;
    memset(body, 'x', sizeof body);
    st_error(&err, 400, -1, slice_of(body, sizeof body), "list jobs");
    assert_true(strlen(err.message) < 300);
    for (size_t shift = 0; shift < 2; shift++) { /* one of both cuts falls inside a character */
        memset(body, 'x', sizeof body);
        for (size_t i = shift; i + 1 < sizeof body; i += 2)
            memcpy(body + i, "\xc3\xa9", 2);
        st_error(&err, 400, -1, slice_of(body, sizeof body - 2 + shift), "list jobs");
        assert_true(slice_is_utf8(slice_str(err.message)));
        assert_non_null(strstr(err.message, "\xc3\xa9"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_its_class),
        cmocka_unit_test(throttling_waits_what_is_asked),
        cmocka_unit_test(bodies_explain_when_they_can),
        cmocka_unit_test(long_bodies_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
