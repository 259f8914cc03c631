/* Lives of tokens and rates of requests, on a clock that runs a thousand times as fast. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/cancel.h"
#include "base/clock.h"
#include "st_token.h"
#include "st_client.h"

static long status_of(struct st_client *client)
{
    struct answer answer = st_client_list(client, "jpm", "jobs?pageSize=1");
    long status = answer.status;
    answer_release(&answer);
    return status;
}

static void a_token_lives_900_seconds(void **state)
{
    (void)state;
    const struct st_server_options options = {.jobs = 10, .rate_per_second = 1000};
    int64_t asked_ms = clock_mono_ms();
    struct st_client client = st_client_start(&options);
    int64_t given_ms = clock_mono_ms();
    long status = 200;
    while (status == 200) { /* whatever a request takes on the fast clock, both bounds hold */
        int64_t sent_ms = clock_mono_ms();
        status = status_of(&client);
        assert_true(status == 401 || sent_ms < given_ms + 901000);
        assert_true(status == 200 || clock_mono_ms() > asked_ms + 899000);
        cancel_sleep_ms(NULL, 5000);
    }
    assert_int_equal(status, 401);
    st_client_login(&client);
    assert_int_equal(status_of(&client), 200);
    st_client_stop(&client);
}

static void too_many_requests_are_refused_with_a_wait(void **state)
{
    (void)state;
    const struct st_server_options options = {.jobs = 10, .rate_per_second = 0.001}; /* one in 1000 s */
    struct st_client client = st_client_start(&options);
    assert_int_equal(status_of(&client), 200);
    struct answer answer = st_client_list(&client, "jpm", "jobs");
    const char *title = json_text_at(answer.json, "title", "");
    const char *wait = strstr(title, "Try again in ");
    assert_int_equal(answer.status, 429);
    assert_non_null(wait);
    int64_t seconds = atoll(wait + 13);
    assert_in_range(seconds, 1, 1000);
    assert_string_equal(title + strlen(title) - 8, " seconds"); /* the number stands before the last word */
    assert_non_null(strstr(buf_cstr(&answer.headers), "Retry-After: "));
    answer_release(&answer);
    answer = st_client_admin(&client, "/_admin/settings", "{\"retryAfter\":false}");
    answer_release(&answer);
    answer = st_client_list(&client, "jpm", "jobs");
    assert_true(answer.status == 200 || strstr(buf_cstr(&answer.headers), "Retry-After") == NULL);
    answer_release(&answer);
    cancel_sleep_ms(NULL, seconds * 1000 + 1000);
    st_client_login(&client); /* the token is over by now */
    assert_int_equal(status_of(&client), 200);
    st_client_stop(&client);
}

static void tokens_are_throttled_too(void **state)
{
    (void)state;
    const struct st_server_options options = {.jobs = 10};
    struct st_client client = st_client_start(&options);
    struct answer answer = st_client_admin(&client, "/_admin/settings", "{\"tokenRatePerSecond\":0.0001}");
    answer_release(&answer);
    long status = 200;
    for (int i = 0; i < 20 && status == 200; i++) {
        answer = st_client_ask_token(&client, client.access.client_secret);
        status = answer.status;
        answer_release(&answer);
    }
    assert_int_equal(status, 429);
    st_client_stop(&client);
}

static void only_own_tokens_are_read(void **state)
{
    (void)state;
    struct st_token_key key, other;
    st_token_key_init(&key, 1);
    st_token_key_init(&other, 2);
    struct st_token_claims claims = {42, 1000, 1900}, read = {0};
    struct buf token = BUF_INIT;
    st_token_make(&key, &claims, "cid.x", &token);
    assert_true(st_token_read(&key, buf_slice(&token), &read));
    assert_int_equal(read.tenant, 42);
    assert_int_equal(read.expires_s, 1900);
    assert_false(st_token_read(&other, buf_slice(&token), &read));
    for (size_t i = 0; i < token.len; i++) { /* any changed byte spoils it */
        token.ptr[i] ^= 1;
        assert_false(st_token_read(&key, buf_slice(&token), &read));
        token.ptr[i] ^= 1;
        assert_false(st_token_read(&key, slice_of(token.ptr, i), &read));
    }
    buf_release(&token);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_lives_900_seconds),
        cmocka_unit_test(too_many_requests_are_refused_with_a_wait),
        cmocka_unit_test(tokens_are_throttled_too),
        cmocka_unit_test(only_own_tokens_are_read),
    };
    setenv("ST_CLOCK_SCALE", "1000", 1);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
