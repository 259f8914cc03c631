/* Token, retries, limits and one list request against a server on the wire. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <time.h>

#include "../../../src/servicetitan/tenant.h"
#include "base/log.h"
#include "fake_st.h"

enum { SCALE = 1000 };

struct fixture {
    struct fake_st *fake;
    struct fake_client client;
    struct page *page;
    int64_t records;
    struct st_list_request request;
    struct st_list_reply reply;
    struct error err;
};

static bool count_record(void *user, struct slice record)
{
    struct fixture *f = user;
    (void)record;
    f->records++;
    return true;
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    f->fake = fake_start();
    for (int i = 0; i < 20; i++)
        fake_add(f->fake, FAKE_BASE_US + i * 1000000, FAKE_BASE_US + i * 1000000);
    fake_client_init(&f->client, f->fake, 1e6, 20000);
    f->page = page_new(count_record, f);
    f->request = (struct st_list_request){
        .entity = fake_entity(), .unfiltered = true, .page = 1, .page_size = 100, .sink = f->page};
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    page_free(f->page);
    fake_client_release(&f->client);
    fake_stop(f->fake);
    free(f);
    return 0;
}

static bool list(struct fixture *f)
{
    f->records = 0;
    return st_list(f->client.tenant, &f->request, &f->reply, NULL, &f->err);
}

static void must_list(struct fixture *f)
{
    if (!list(f))
        fail_msg("%s: %s", f->err.code, f->err.message);
}

/* ---- Token ------------------------------------------------------------------------------------------------------- */

static void one_token_serves_many_requests(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 5; i++)
        must_list(f);
    assert_int_equal(f->records, 20);
    assert_int_equal(f->reply.envelope.total_count, 20);
    assert_int_equal(f->fake->tokens_made, 1);
    assert_string_equal(f->fake->last_form,
                        "grant_type=client_credentials&client_id=cid.one%26two&client_secret=cs1.very%2Fsecret");
    assert_string_equal(f->fake->last_form_type, "application/x-www-form-urlencoded");
    assert_string_equal(f->fake->last_app_key, "ak1.appkey");
    struct st_stats stats;
    st_tenant_stats(f->client.tenant, &stats);
    assert_int_equal(stats.requests, 6);
    assert_int_equal(stats.retries, 0);
    assert_true(stats.bytes > 5 * 1000);
    assert_int_equal(st_tenant_id(f->client.tenant), FAKE_TENANT);
}

static void the_token_is_renewed_ahead_of_its_end(void **state)
{
    struct fixture *f = *state;
    f->fake->token_life_s = 1500;
    must_list(f);
    cancel_sleep_ms(NULL, 1000 * 1000);
    must_list(f);
    assert_int_equal(f->fake->tokens_made, 1);
    cancel_sleep_ms(NULL, (1500 - 90 - 1000 + 1) * 1000);
    must_list(f);
    assert_int_equal(f->fake->tokens_made, 2);
    assert_int_equal(f->fake->last_token, 1);
    assert_int_equal(f->fake->unauthorized, 0);
}

static void a_failed_renewal_ahead_of_time_does_no_harm(void **state)
{
    struct fixture *f = *state;
    f->fake->token_life_s = 100000; /* 90 s ahead is far less than the test takes; renewing is what is broken */
    must_list(f);
    pthread_mutex_lock(&f->client.tenant->token.mutex);
    f->client.tenant->token.renew_ms = clock_mono_ms();
    pthread_mutex_unlock(&f->client.tenant->token.mutex);
    fake_fault_token(f->fake, (struct fake_fault){.status = 400, .body = "{\"error\":\"invalid_client\"}"});
    must_list(f);
    assert_int_equal(f->fake->last_token, 0);
    must_list(f); /* the next one renews */
    assert_int_equal(f->fake->last_token, 1);
}

static void a_401_renews_once_and_the_retry_carries_the_new_token(void **state)
{
    struct fixture *f = *state;
    must_list(f);
    pthread_mutex_lock(&f->fake->mutex);
    f->fake->token_valid[0] = false;
    pthread_mutex_unlock(&f->fake->mutex);
    must_list(f);
    assert_int_equal(f->fake->last_token, 1);
    assert_int_equal(f->fake->unauthorized, 1);
    assert_int_equal(f->fake->tokens_made, 2);
}

static void a_401_with_a_fresh_token_is_permanent(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 5; i++)
        fake_fault_list(f->fake,
                        (struct fake_fault){.status = 401, .body = "{\"title\":\"application key is absent\"}"});
    assert_false(list(f));
    assert_int_equal(f->err.class, ERROR_PERMANENT);
    assert_string_equal(f->err.code, "http_401");
    assert_non_null(strstr(f->err.message, "application key is absent"));
    assert_int_equal(f->fake->list_requests, 2);
    assert_int_equal(f->fake->tokens_made, 2);
}

static void wrong_credentials_say_what_to_check(void **state)
{
    struct fixture *f = *state;
    fake_fault_token(f->fake, (struct fake_fault){.status = 400, .body = "{\"error\":\"invalid_client\"}"});
    assert_false(list(f));
    assert_int_equal(f->err.class, ERROR_PERMANENT);
    assert_string_equal(f->err.code, "auth_failed");
    assert_int_equal(f->err.status, 400);
    assert_non_null(strstr(f->err.message, "ServiceTitan authentication failed: 400 invalid_client"));
    assert_non_null(strstr(f->err.message, "check ST_CLIENT_ID, ST_CLIENT_SECRET"));
    assert_int_equal(f->fake->list_requests, 0);
}

static void a_busy_token_endpoint_is_asked_again(void **state)
{
    struct fixture *f = *state;
    fake_fault_token(f->fake, (struct fake_fault){.status = 429, .headers = "Retry-After: 7\r\n"});
    fake_fault_token(f->fake, (struct fake_fault){.status = 503, .body = "<html>"});
    fake_fault_token(f->fake, (struct fake_fault){.status = 200, .body = "{\"nothing\":1}"});
    fake_fault_token(f->fake, (struct fake_fault){.status = -1});
    must_list(f);
    assert_int_equal(f->fake->tokens_made, 1);
}

struct together {
    struct fixture *f;
    bool ok;
    struct error err;
    pthread_t thread;
};

static void *list_together(void *user)
{
    struct together *t = user;
    struct page *page = page_new(count_record, t->f);
    struct st_list_request request = t->f->request;
    struct st_list_reply reply;
    request.sink = page;
    t->ok = st_list(t->f->client.tenant, &request, &reply, NULL, &t->err);
    page_free(page);
    return NULL;
}

static int run_together(struct fixture *f, struct together *all, int count)
{
    int ok = 0;
    for (int i = 0; i < count; i++) {
        all[i] = (struct together){.f = f};
        pthread_create(&all[i].thread, NULL, list_together, &all[i]);
    }
    for (int i = 0; i < count; i++) {
        pthread_join(all[i].thread, NULL);
        ok += all[i].ok;
    }
    return ok;
}

static void many_threads_share_one_renewal_and_its_failure(void **state)
{
    struct fixture *f = *state;
    struct together all[8];
    /* f->records is not looked at: the threads share it only as a place to count into. */
    f->fake->count = 0;
    assert_int_equal(run_together(f, all, 8), 8);
    assert_int_equal(f->fake->tokens_made, 1);
    pthread_mutex_lock(&f->fake->mutex);
    f->fake->token_valid[0] = false;
    pthread_mutex_unlock(&f->fake->mutex);
    assert_int_equal(run_together(f, all, 8), 8);
    assert_int_equal(f->fake->tokens_made, 2);
}

/* ---- Retries ----------------------------------------------------------------------------------------------------- */

static int64_t elapsed_ms(struct fixture *f, bool expect_ok)
{
    int64_t started_ms = clock_mono_ms();
    bool ok = list(f);
    if (ok != expect_ok)
        fail_msg("%s: %s", f->err.code, f->err.message);
    return clock_mono_ms() - started_ms;
}

static void a_refusal_that_comes_late_drops_no_newer_token(void **state)
{
    struct fixture *f = *state;
    struct secret *token = NULL;
    uint64_t first = 0, second = 0, third = 0;
    assert_true(st_token_get(f->client.tenant, &token, &first, NULL, &f->err));
    secret_unref(token);
    assert_int_equal(st_token_refused(f->client.tenant, first), first);
    assert_true(st_token_get(f->client.tenant, &token, &second, NULL, &f->err));
    secret_unref(token);
    assert_true(second > first);
    assert_int_equal(st_token_refused(f->client.tenant, first), second);
    assert_true(st_token_get(f->client.tenant, &token, &third, NULL, &f->err));
    secret_unref(token);
    assert_int_equal(third, second);
    assert_int_equal(f->fake->tokens_made, 2);
}

static void throttling_is_waited_for_in_three_forms(void **state)
{
    struct fixture *f = *state;
    static const struct {
        struct fake_fault fault;
        int64_t least_ms;
    } cases[] = {
        {{.status = 429, .headers = "Retry-After: 120\r\n"}, 120000},
        {{.status = 429, .body = "{\"title\":\"Rate limit is exceeded. Try again in 90 seconds.\"}"}, 90000},
        {{.status = 429, .body = "<html>"}, 30000},
    };
    for (size_t i = 0; i < 3; i++) {
        fake_fault_list(f->fake, cases[i].fault);
        int64_t waited_ms = elapsed_ms(f, true);
        assert_in_range(waited_ms, cases[i].least_ms, cases[i].least_ms + 600000);
        assert_true(limiter_rate(f->client.tenant->limiter) <= 1e6);
    }
    struct st_stats stats;
    st_tenant_stats(f->client.tenant, &stats);
    assert_int_equal(stats.throttled, 3);
    assert_int_equal(stats.retries, 3);
}

static void throttling_beyond_patience_goes_to_the_caller(void **state)
{
    struct fixture *f = *state;
    fake_fault_list(f->fake, (struct fake_fault){.status = 429, .headers = "Retry-After: 3000\r\n"});
    elapsed_ms(f, false);
    assert_int_equal(f->err.class, ERROR_THROTTLED);
    assert_int_equal(f->err.wait_ms, 3000000);
    assert_int_equal(f->fake->list_requests, 1);
}

static void transient_failures_are_retried(void **state)
{
    struct fixture *f = *state;
    static const struct fake_fault faults[] = {
        {.status = 500},
        {.status = 503, .body = "<html>busy</html>"},
        {.status = -1},
        {.status = 200, .body = "<html>not JSON at all</html>"},
        {.status = 200, .body = ""},
        {.status = 0, .cut_bytes = 30},
    };
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        fake_fault_list(f->fake, faults[i]);
        int64_t waited_ms = elapsed_ms(f, true);
        if (waited_ms < 750 && faults[i].status != -1) /* libcurl itself replaces a kept connection that was closed */
            fail_msg("fault %zu was not waited for", i);
        assert_int_equal(f->records, 20);
    }
}

static void tries_are_bounded(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 30; i++)
        fake_fault_list(f->fake, (struct fake_fault){.status = i % 2 ? 500 : 429, .headers = "Retry-After: 1\r\n"});
    elapsed_ms(f, false);
    assert_int_equal(f->fake->list_requests, 6);
}

static void permanent_failures_are_not_retried(void **state)
{
    struct fixture *f = *state;
    static const int statuses[] = {400, 403, 404, 409};
    for (size_t i = 0; i < 4; i++) {
        f->fake->list_requests = 0;
        fake_fault_list(f->fake, (struct fake_fault){.status = statuses[i],
                                                     .body = "{\"title\":\"no\",\"errors\":{\"ids\":[\"too many\"]}}"});
        assert_false(list(f));
        assert_int_equal(f->err.class, ERROR_PERMANENT);
        assert_int_equal(f->err.status, statuses[i]);
        assert_non_null(strstr(f->err.message, "ids: too many"));
        assert_int_equal(f->fake->list_requests, 1);
    }
}

static void after_the_first_record_a_cut_is_the_callers(void **state)
{
    struct fixture *f = *state;
    fake_fault_list(f->fake, (struct fake_fault){.status = 0, .cut_bytes = 400});
    assert_false(list(f));
    assert_int_equal(f->err.class, ERROR_RETRY);
    assert_true(f->records > 0 && f->records < 20);
    assert_int_equal(f->fake->list_requests, 1);
}

static void slow_pages_are_halved_and_grow_back(void **state)
{
    struct fixture *f = *state;
    struct fake_client impatient;
    struct fake_client kept = f->client;
    fake_client_init(&impatient, f->fake, 1e6, 150);
    f->client = impatient;
    must_list(f);
    f->request.page_size = 200;
    fake_fault_list(f->fake, (struct fake_fault){.status = -2});
    assert_false(list(f));
    assert_string_equal(f->err.code, "page_too_large");
    assert_int_equal(f->err.class, ERROR_RETRY);
    assert_int_equal(st_page_size(f->client.tenant, fake_entity(), 200), 100);
    for (int i = 0; i < 64; i++)
        st_page_ok(f->client.tenant, fake_entity(), 100);
    assert_int_equal(st_page_size(f->client.tenant, fake_entity(), 0), 200);
    fake_client_release(&impatient);
    f->client = kept;
}

static void the_rate_holds_and_is_used(void **state)
{
    struct fixture *f = *state;
    struct fake_client limited;
    struct fake_client kept = f->client;
    fake_client_init(&limited, f->fake, 0.5, 20000); /* of the scaled clock: 500 requests per real second */
    f->client = limited;
    must_list(f);
    int64_t started_ms = clock_mono_ms();
    for (int i = 0; i < 40; i++)
        must_list(f);
    assert_true(clock_mono_ms() - started_ms >= 78 * 1000);
    struct st_stats stats;
    st_tenant_stats(f->client.tenant, &stats);
    assert_true(stats.limiter_wait_ms > 0);
    fake_client_release(&limited);
    f->client = kept;
}

/* ---- Secrets, clock, options ------------------------------------------------------------------------------------- */

static void secrets_stay_out_of_errors_and_logs(void **state)
{
    struct fixture *f = *state;
    static const char *const secrets[] = {"cs1.very", "ak1.appkey", "token-number"};
    int log_fd = open("log.txt", O_CREAT | O_TRUNC | O_RDWR, 0600);
    log_set_fd(log_fd);
    log_set_level(LOG_LEVEL_DEBUG);
    fake_fault_token(f->fake, (struct fake_fault){.status = 500, .body = "{\"title\":\"you sent cs1.very/secret\"}"});
    fake_fault_list(f->fake,
                    (struct fake_fault){.status = 500, .body = "{\"title\":\"Bearer token-number-0 and ak1.appkey\"}"});
    fake_fault_list(f->fake,
                    (struct fake_fault){.status = 400, .body = "{\"title\":\"Bearer token-number-0 and ak1.appkey\"}"});
    assert_false(list(f));
    log_set_fd(2);
    log_set_level(LOG_LEVEL_FATAL);
    char text[8192];
    ssize_t n = pread(log_fd, text, sizeof text - 1, 0);
    close(log_fd);
    assert_true(n > 0);
    text[n] = '\0';
    assert_non_null(strstr(text, "retrying in"));
    for (size_t i = 0; i < 3; i++) {
        assert_null(strstr(f->err.message, secrets[i]));
        assert_null(strstr(text, secrets[i]));
        assert_null(strstr(f->fake->last_target, secrets[i]));
    }
}

static void the_servers_clock_is_known_within_seconds(void **state)
{
    struct fixture *f = *state;
    static const int64_t skews_s[] = {0, 3 * 3600, -5 * 3600};
    for (size_t i = 0; i < 3; i++) {
        struct fake_client fresh;
        int64_t now_us = 0, tolerance_us = 600LL * SCALE * 1000; /* 600 real ms of a scaled clock */
        f->fake->date_skew_us = skews_s[i] * 1000000;
        fake_client_init(&fresh, f->fake, 1e6, 20000);
        assert_true(st_tenant_now(fresh.tenant, &now_us, NULL, &f->err));
        int64_t error_us = now_us - clock_wall_us() - f->fake->date_skew_us;
        if (error_us > 0 || error_us < -tolerance_us)
            fail_msg("skew %lld s: off by %lld us", (long long)skews_s[i], (long long)error_us);
        fake_client_release(&fresh);
    }
}

static void offsets_are_intervals(void **state)
{
    (void)state;
    const int64_t s = 1000000;
    static const struct {
        int64_t elapsed_s, date_s, offset_s;
    } cases[] = {
        {0, 0, 0},  {0, 1, 0},   {0, 2, 0},         {0, 3, 3},    {0, 3600, 3600},
        {0, -1, 0}, {0, -4, -3}, {0, -3600, -3599}, {100, 50, 0}, {100, 3650, 3550},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct st_offset offset =
            st_offset_note((struct st_offset){0}, 1000 * s, cases[i].elapsed_s * s, (1000 + cases[i].date_s) * s);
        assert_int_equal(st_offset_us(offset), cases[i].offset_s * s);
        assert_int_equal(st_offset_least_us(offset), (cases[i].date_s - cases[i].elapsed_s) * s);
    }
    /* A quick reply narrows what a slow one left open; a clock that was set starts anew. */
    struct st_offset offset = st_offset_note((struct st_offset){0}, 0, 100 * s, 3650 * s);
    offset = st_offset_note(offset, 1000 * s, 0, (1000 + 3600) * s);
    assert_int_equal(st_offset_us(offset), 3600 * s);
    offset = st_offset_note(offset, 2000 * s, 0, 2000 * s);
    assert_int_equal(st_offset_us(offset), 0);
    assert_int_equal(st_offset_us((struct st_offset){0}), 0);
}

static void bad_options_are_named(void **state)
{
    struct fixture *f = *state;
    struct secret *empty = secret_new(SLICE_LIT(""));
    struct st_tenant_options good = {.tenant = 1,
                                     .api_url = "https://api.servicetitan.io",
                                     .auth_url = "https://auth.servicetitan.io/connect/token",
                                     .client_id = f->client.id,
                                     .client_secret = f->client.secret,
                                     .app_key = f->client.app_key,
                                     .rate_per_second = 10,
                                     .burst = 20,
                                     .max_retries = 5,
                                     .pool = f->client.pool};
    struct st_tenant_options cases[] = {good, good, good, good, good, good};
    static const char *const named[] = {"tenant",           "ST_API_URL", "ST_AUTH_URL",
                                        "ST_CLIENT_SECRET", "ST_APP_KEY", "rate"};
    cases[0].tenant = 0;
    cases[1].api_url = "http://api.servicetitan.io";
    cases[2].auth_url = "nonsense";
    cases[3].client_secret = empty;
    cases[4].app_key = NULL;
    cases[5].rate_per_second = 0;
    for (size_t i = 0; i < 6; i++) {
        assert_null(st_tenant_new(&cases[i], &f->err));
        assert_int_equal(f->err.class, ERROR_PERMANENT);
        if (!strstr(f->err.message, named[i]))
            fail_msg("\"%s\" does not name %s", f->err.message, named[i]);
    }
    secret_unref(empty);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    setenv("ST_CLOCK_SCALE", "1000", 1);
    log_set_level(LOG_LEVEL_FATAL);
    const struct CMUnitTest tests[] = {
        CASE(one_token_serves_many_requests),
        CASE(the_token_is_renewed_ahead_of_its_end),
        CASE(a_failed_renewal_ahead_of_time_does_no_harm),
        CASE(a_401_renews_once_and_the_retry_carries_the_new_token),
        CASE(a_401_with_a_fresh_token_is_permanent),
        CASE(wrong_credentials_say_what_to_check),
        CASE(a_busy_token_endpoint_is_asked_again),
        CASE(many_threads_share_one_renewal_and_its_failure),
        CASE(a_refusal_that_comes_late_drops_no_newer_token),
        CASE(throttling_is_waited_for_in_three_forms),
        CASE(throttling_beyond_patience_goes_to_the_caller),
        CASE(transient_failures_are_retried),
        CASE(tries_are_bounded),
        CASE(permanent_failures_are_not_retried),
        CASE(after_the_first_record_a_cut_is_the_callers),
        CASE(slow_pages_are_halved_and_grow_back),
        CASE(the_rate_holds_and_is_used),
        CASE(secrets_stay_out_of_errors_and_logs),
        CASE(the_servers_clock_is_known_within_seconds),
        CASE(offsets_are_intervals),
        CASE(bad_options_are_named),
    };
    http_global_init();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    http_global_release();
    return failed;
}
