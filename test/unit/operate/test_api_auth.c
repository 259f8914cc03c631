/* Who may call what: every combination that decides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "api_auth.h"

#define TOKEN "correct horse battery"

static const struct api_route closed = {.pattern = "/entities"}, opened = {.pattern = "/health", .open = true};

static void make(struct api_auth *auth, const char *token, bool allow)
{
    struct settings settings = {.api_token = token ? secret_new(slice_str(token)) : NULL,
                                .api_allow_unauthenticated = allow};
    struct error err = ERROR_INIT;
    assert_true(api_auth_init(auth, &settings, &err));
    secret_unref(settings.api_token);
}

static void test_settings_that_cannot_hold(void **state)
{
    static const struct {
        const char *token;
        bool allow;
        const char *want;
    } cases[] = {
        {"short", false, "API_TOKEN has 5 characters"},
        {"123456789012345", false, "API_TOKEN has 15 characters"},
        {TOKEN, true, "only one of them can hold"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct settings settings = {.api_token = secret_new(slice_str(cases[i].token)),
                                    .api_allow_unauthenticated = cases[i].allow};
        struct api_auth auth;
        struct error err = ERROR_INIT;
        assert_false(api_auth_init(&auth, &settings, &err));
        assert_string_equal(err.code, "config");
        assert_non_null(strstr(err.message, cases[i].want));
        assert_null(strstr(err.message, cases[i].token));
        secret_unref(settings.api_token);
    }
}

static void test_token(void **state)
{
    static const struct {
        const char *authorization;
        const struct api_route *route;
        bool good;
    } cases[] = {
        {NULL, &closed, false},
        {NULL, NULL, false}, /* an unknown path tells nothing either */
        {NULL, &opened, true},
        {"Bearer wrong", &opened, true},
        {"", &closed, false},
        {"Bearer", &closed, false},
        {"Bearer ", &closed, false},
        {"Bearer wrong", &closed, false},
        {"Bearer " TOKEN, &closed, true},
        {"bearer " TOKEN, &closed, true},
        {"Bearer  " TOKEN " ", &closed, true},
        {"Bearer " TOKEN "x", &closed, false},
        {"Bearer correct horse batter", &closed, false},
        {"Bearer Correct horse battery", &closed, false},
        {"Basic " TOKEN, &closed, false},
        {TOKEN, &closed, false},
    };
    struct api_auth auth;
    (void)state;
    make(&auth, TOKEN, false);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct api_caller caller = {.loopback = true, .authorization = cases[i].authorization};
        struct api_refusal refusal = {.err = ERROR_INIT};
        bool good = api_auth_token(&auth, cases[i].route, &caller, &refusal);
        if (good != cases[i].good)
            fail_msg("case %zu: '%s'", i, cases[i].authorization ? cases[i].authorization : "-");
        if (!good)
            assert_int_equal(refusal.status, 401);
    }
    make(&auth, NULL, false);
    struct api_refusal refusal = {.err = ERROR_INIT};
    assert_true(api_auth_token(&auth, &closed, &(struct api_caller){.loopback = false}, &refusal));
}

static void test_who_may_publish_without_a_token(void **state)
{
    static const struct {
        struct api_caller caller;
        const char *refused; /* part of the message; NULL: may */
    } cases[] = {
        {{.loopback = true, .host = "localhost:8080"}, NULL},
        {{.loopback = true, .host = "LOCALHOST"}, NULL},
        {{.loopback = true, .host = "127.0.0.1:8080"}, NULL},
        {{.loopback = true, .host = "127.8.9.1"}, NULL},
        {{.loopback = true, .host = "[::1]:8080"}, NULL},
        {{.loopback = true, .host = "[::1]"}, NULL},
        {{.loopback = true, .host = "localhost", .fetch_site = "none"}, NULL},
        {{.loopback = false, .host = "localhost:8080"}, "only this machine"},
        {{.loopback = false, .host = "10.0.0.7:8080"}, "only this machine"},
        {{.loopback = true, .host = "localhost", .forwarded = "127.0.0.1"}, "through a proxy"},
        {{.loopback = true, .host = "localhost", .forwarded = ""}, "through a proxy"},
        {{.loopback = true, .host = "localhost", .origin = "http://localhost:8080"}, "web page"},
        {{.loopback = true, .host = "localhost", .origin = "null"}, "web page"},
        {{.loopback = true, .host = "localhost", .referer = "http://evil.example/"}, "web page"},
        {{.loopback = true, .host = "localhost", .fetch_site = "cross-site"}, "web page"},
        {{.loopback = true, .host = "localhost", .fetch_site = "same-origin"}, "web page"},
        {{.loopback = true, .host = "evil.example:8080"}, "another host"}, /* its name points to 127.0.0.1 */
        {{.loopback = true, .host = "127.0.0.1.evil.example"}, "another host"},
        {{.loopback = true, .host = "localhost.evil.example"}, "another host"},
        {{.loopback = true, .host = "[::1].evil.example"}, "another host"},
        {{.loopback = true, .host = ""}, "another host"},
        {{.loopback = true, .host = NULL}, "another host"},
    };
    struct api_auth auth, with_token, allowing;
    (void)state;
    make(&auth, NULL, false);
    make(&with_token, TOKEN, false);
    make(&allowing, NULL, true);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct api_refusal refusal = {.err = ERROR_INIT};
        bool may = api_auth_publish(&auth, &cases[i].caller, &refusal);
        if (may != !cases[i].refused || (!may && !strstr(refusal.err.message, cases[i].refused)))
            fail_msg("case %zu: %d %s", i, may, refusal.err.message);
        if (!may) {
            assert_int_equal(refusal.status, 403);
            assert_non_null(strstr(refusal.err.message, "API_ALLOW_UNAUTHENTICATED=true"));
        }
        assert_true(api_auth_publish(&with_token, &cases[i].caller, &refusal)); /* the token has been checked */
        assert_true(api_auth_publish(&allowing, &cases[i].caller, &refusal));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings_that_cannot_hold),
        cmocka_unit_test(test_token),
        cmocka_unit_test(test_who_may_publish_without_a_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
