/* A full read keeps the limiter busy: 10 requests a second, each with a second of latency, on a faster clock. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <time.h>

#include "base/log.h"
#include "fake_st.h"
#include "record/encoder.h"

enum { RECORDS = 40000, PAGE = 100, RATE = 10, BURST = 2 * RATE, LATENCY_MS = 1000 };

static void *begin(void *user, const struct st_window *window)
{
    (void)window;
    return user;
}

static void sent(void *fetch, int64_t fetched_at_us)
{
    (void)fetch;
    (void)fetched_at_us;
}

static bool look(void *fetch, struct slice record, struct st_record_times *ret, struct error *err)
{
    struct row_info info;
    (void)fetch;
    (void)err;
    bool ok = record_peek(NULL, record, &info);
    *ret = (struct st_record_times){info.has_created, info.has_modified, info.created_us, info.modified_us};
    return ok;
}

static bool end(void *fetch, bool complete, struct error *err)
{
    (void)fetch;
    (void)complete;
    (void)err;
    return true;
}

static void a_full_read_uses_the_allowed_rate(void **state)
{
    struct fake_st *fake = fake_start();
    struct fake_client client;
    struct st_read_result result;
    struct error err = ERROR_INIT;
    struct st_sink sink = {begin, sent, look, end, NULL};
    struct st_read_request request = {.entity = fake_entity(), .whole = true, .page_size = PAGE, .concurrency = 16};
    (void)state;
    for (int i = 0; i < RECORDS; i++)
        fake_add(fake, FAKE_BASE_US - 86400000000LL * 3000 + i * 5000000000LL, FAKE_BASE_US);
    fake->latency_ms = LATENCY_MS;
    fake_client_init(&client, fake, RATE, 20000);
    int64_t started_ms = clock_mono_ms();
    if (!st_read(client.tenant, &request, &sink, &result, NULL, &err))
        fail_msg("%s: %s", err.code, err.message);
    double seconds = (double)(clock_mono_ms() - started_ms) / 1000.0;
    double allowed = RATE * seconds;
    print_message("%lld requests in %.1f s: %.0f %% of the rate, %.2f requests per page\n", (long long)result.requests,
                  seconds, 100.0 * (double)result.requests / allowed, (double)result.requests * PAGE / RECORDS);
    assert_int_equal(result.records, RECORDS);
    assert_true((double)result.requests >= 0.9 * allowed);
    assert_true((double)result.requests <= allowed + BURST + 1);
    assert_true(result.requests <= RECORDS / PAGE * 9 / 5);
    fake_client_release(&client);
    fake_stop(fake);
}

int main(void)
{
    setenv("ST_CLOCK_SCALE", "10", 1);
    log_set_level(LOG_LEVEL_FATAL);
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_full_read_uses_the_allowed_rate)};
    http_global_init();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    http_global_release();
    return failed;
}
