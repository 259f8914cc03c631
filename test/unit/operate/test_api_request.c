/* What a request line asks for, or why it is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "../../fuzz/api_routes.h"
#include "api_request.h"

/* "pattern name tenant mode parallel wait timeout" or "status code" */
static void describe(struct buf *out, const char *method, const char *target)
{
    struct api_request r;
    struct api_refusal refusal;
    if (api_request_parse(routes, ROUTES, method, slice_str(target), &r, &refusal))
        buf_printf(out, "%s '%s' %lld %s %s %s %lld", r.route->pattern, r.name, (long long)r.tenant,
                   r.full ? "full" : "incremental", r.parallel ? "parallel" : "sequence", r.wait ? "wait" : "go",
                   (long long)r.timeout_s);
    else
        buf_printf(out, "%d %s [%s]", refusal.status, refusal.err.code, buf_cstr(&refusal.allowed));
    api_refusal_release(&refusal);
}

static void test_requests(void **state)
{
    static const struct {
        const char *method, *target, *want;
    } cases[] = {
        {"GET", "/health", "/health '' 0 incremental sequence wait 300"},
        {"HEAD", "/health?tenant=7", "/health '' 7 incremental sequence wait 300"},
        {"GET", "/health?", "/health '' 0 incremental sequence wait 300"},
        {"GET", "/health?&&", "/health '' 0 incremental sequence wait 300"},
        {"GET", "/ingest/jobs", "/ingest/:entity 'jobs' 0 incremental sequence wait 300"},
        {"GET", "/ingest/jobs?mode=incremental", "/ingest/:entity 'jobs' 0 incremental sequence wait 300"},
        {"POST", "/ingest/jobs?mode=full&wait=false&tenant=12", "/ingest/:entity 'jobs' 12 full sequence go 300"},
        {"GET", "/ingest/%6Aobs?mode=%66ull&timeout=3600", "/ingest/:entity 'jobs' 0 full sequence wait 3600"},
        {"GET", "/ingest-all?mode=full&parallel=true", "/ingest-all '' 0 full parallel wait 300"},
        {"GET", "/ingest-all?parallel=false&wait=true&timeout=1", "/ingest-all '' 0 incremental sequence wait 1"},
        {"POST", "/full-sync/customers", "/full-sync/:entity 'customers' 0 incremental sequence wait 300"},
        {"GET", "/tasks/a%2Fb%2F1", "/tasks/:id 'a/b/1' 0 incremental sequence wait 300"},
        /* paths */
        {"GET", "", "404 unknown_path"},
        {"GET", "/", "404 unknown_path"},
        {"GET", "/Health", "404 unknown_path"},
        {"GET", "/health/", "404 unknown_path"},
        {"GET", "//health", "404 unknown_path"},
        {"GET", "health", "404 unknown_path"},
        {"GET", "/ingest", "404 unknown_path"},
        {"GET", "/ingest/", "404 unknown_path"},
        {"GET", "/ingest/jobs/x", "404 unknown_path"},
        {"GET", "/tasks/a/b", "404 unknown_path"},
        {"GET", "/ingest/%zz", "400 url_syntax []"},
        {"GET", "/ingest/a%00b", "400 url_syntax []"},
        {"GET", "/ingest/jobs%", "400 url_syntax []"},
        /* methods */
        {"POST", "/health", "405 method_not_allowed [\"GET\",\"HEAD\"]"},
        {"HEAD", "/ingest/jobs", "405 method_not_allowed [\"GET\",\"POST\"]"},
        {"GET", "/full-sync/jobs", "405 method_not_allowed [\"POST\"]"},
        {"get", "/health", "405 method_not_allowed [\"GET\",\"HEAD\"]"},
        {"", "/health", "405 method_not_allowed [\"GET\",\"HEAD\"]"},
        /* parameters */
        {"GET", "/ingest/jobs?mod=full", "400 unknown_parameter [\"tenant\",\"mode\",\"wait\",\"timeout\"]"},
        {"GET", "/ingest/jobs?Mode=full", "400 unknown_parameter [\"tenant\",\"mode\",\"wait\",\"timeout\"]"},
        {"GET", "/ingest/jobs?parallel=true", "400 unknown_parameter [\"tenant\",\"mode\",\"wait\",\"timeout\"]"},
        {"POST", "/full-sync/jobs?mode=full", "400 unknown_parameter [\"tenant\",\"wait\",\"timeout\"]"},
        {"GET", "/ingest/jobs?=full", "400 unknown_parameter [\"tenant\",\"mode\",\"wait\",\"timeout\"]"},
        {"GET", "/ingest/jobs?mode", "400 bad_parameter [\"incremental\",\"full\"]"},
        {"GET", "/ingest/jobs?mode=", "400 bad_parameter [\"incremental\",\"full\"]"},
        {"GET", "/ingest/jobs?mode=FULL", "400 bad_parameter [\"incremental\",\"full\"]"},
        {"GET", "/ingest/jobs?mode=backfill", "400 bad_parameter [\"incremental\",\"full\"]"},
        {"GET", "/ingest/jobs?mode=full&mode=full", "400 duplicate_parameter []"},
        {"GET", "/ingest/jobs?wait=no", "400 bad_parameter [\"true\",\"false\"]"},
        {"GET", "/ingest-all?parallel=1", "400 bad_parameter [\"true\",\"false\"]"},
        {"GET", "/health?tenant=", "400 bad_parameter [\"a positive number\"]"},
        {"GET", "/health?tenant=0", "400 bad_parameter [\"a positive number\"]"},
        {"GET", "/health?tenant=-1", "400 bad_parameter [\"a positive number\"]"},
        {"GET", "/health?tenant=1x", "400 bad_parameter [\"a positive number\"]"},
        {"GET", "/health?tenant=9223372036854775808", "400 bad_parameter [\"a positive number\"]"},
        {"GET", "/ingest/jobs?timeout=0", "400 bad_parameter [\"a whole number of seconds from 1 to 3600\"]"},
        {"GET", "/ingest/jobs?timeout=3601", "400 bad_parameter [\"a whole number of seconds from 1 to 3600\"]"},
        {"GET", "/ingest/jobs?timeout=1.5", "400 bad_parameter [\"a whole number of seconds from 1 to 3600\"]"},
        {"GET", "/ingest/jobs?mode=%f", "400 url_syntax []"},
        {"GET", "/ingest/jobs?mode=a%00", "400 url_syntax []"},
        {"GET", "/health?tenant=0000000000000000000000000000000000000000000000000000000000000000000001",
         "400 url_syntax []"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf got = BUF_INIT;
        describe(&got, cases[i].method, cases[i].target);
        if (strncmp(cases[i].want, "404", 3) == 0)
            got.ptr[strcspn(got.ptr, "[") - 1] = '\0'; /* the list of routes has a test of its own */
        if (strcmp(got.ptr, cases[i].want) != 0)
            fail_msg("%s %s\n got  %s\n want %s", cases[i].method, cases[i].target, got.ptr, cases[i].want);
        buf_release(&got);
    }
}

static void test_refusals_say_what_is_allowed(void **state)
{
    struct api_request request;
    struct api_refusal refusal;
    struct buf list = BUF_INIT;
    (void)state;
    assert_false(api_request_parse(routes, ROUTES, "GET", SLICE_LIT("/nope?x"), &request, &refusal));
    assert_string_equal(refusal.err.message, "there is no \"/nope\"; see 'allowed'");
    assert_string_equal(buf_cstr(&refusal.allowed),
                        "\"GET, HEAD /health\",\"GET, POST /ingest/:entity\",\"GET, POST /ingest-all\","
                        "\"POST /full-sync/:entity\",\"GET, HEAD /tasks/:id\"");
    api_refusal_release(&refusal);
    assert_false(api_request_parse(routes, ROUTES, "PUT", SLICE_LIT("/ingest-all"), &request, &refusal));
    api_method_list(&list, refusal.methods);
    assert_string_equal(buf_cstr(&list), "GET, POST");
    api_refusal_release(&refusal);
    buf_release(&list);
    assert_false(api_request_parse(routes, ROUTES, "GET", SLICE_LIT("/ingest/jobs?mode=fulll"), &request, &refusal));
    assert_string_equal(refusal.err.message, "parameter 'mode' is \"fulll\": incremental or full is allowed");
    api_refusal_release(&refusal);
}

static void test_route_of_a_target(void **state)
{
    (void)state;
    assert_ptr_equal(api_route_find(routes, ROUTES, SLICE_LIT("/health?x=%")), &routes[0]);
    assert_ptr_equal(api_route_find(routes, ROUTES, SLICE_LIT("/ingest/%zz")), &routes[1]);
    assert_null(api_route_find(routes, ROUTES, SLICE_LIT("*")));
    assert_null(api_route_find(routes, ROUTES, SLICE_LIT("http://h/health")));
    assert_null(api_route_find(routes, ROUTES, SLICE_NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_refusals_say_what_is_allowed),
        cmocka_unit_test(test_route_of_a_target),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
