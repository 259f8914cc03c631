/* Edits, streams, faults, settings and restarts of the simulator, over HTTP. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/timestamp.h"
#include "st_client.h"

enum { JOBS = 500 };

static struct st_client client;

static int set_up(void **state)
{
    (void)state;
    const struct st_server_options options = {.jobs = JOBS, .seed = 4, .rate_per_second = 100000};
    client = st_client_start(&options);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    st_client_stop(&client);
    return 0;
}

static void expect(struct answer answer, long status, const char *text)
{
    if (answer.status != status || strstr(buf_cstr(&answer.body), text) == NULL)
        fail_msg("expected %ld with \"%s\", got %ld: %.300s", status, text, answer.status, buf_cstr(&answer.body));
    answer_release(&answer);
}

static void admin(const char *path, const char *json, const char *text)
{
    expect(st_client_admin(&client, path, json), 200, text);
}

static int64_t total_of(const char *module, const char *rest)
{
    struct answer answer = st_client_list(&client, module, rest);
    int64_t total = json_int_at(answer.json, "totalCount", -1);
    answer_release(&answer);
    return total;
}

/* ---- Edits ------------------------------------------------------------------------------------------------------- */

static void edits_move_records_and_totals(void **state)
{
    (void)state;
    static const char all[] = "customers?active=Any&includeTotal=true&pageSize=1",
                      active[] = "customers?includeTotal=true&pageSize=1";
    int64_t total = total_of("crm", all), live = total_of("crm", active);
    struct answer answer = st_client_admin(&client, "/_admin/edits",
                                           "{\"entity\":\"customers\",\"count\":30,\"kinds\":[\"edit\"],\"seed\":5}");
    assert_int_equal(json_int_at(answer.json, "applied.edit", 0), 30);
    char since[128];
    snprintf(since, sizeof since, "customers?active=Any&includeTotal=true&pageSize=1&modifiedOnOrAfter=%s",
             json_text_at(answer.json, "firstModified", ""));
    answer_release(&answer);
    assert_in_range(total_of("crm", since), 12, 30); /* half of the edits go to few, young records */
    admin("/_admin/edits", "{\"entity\":\"customers\",\"count\":7,\"kinds\":[\"deactivate\"]}", "\"deactivate\":7");
    admin("/_admin/edits", "{\"entity\":\"customers\",\"count\":2,\"kinds\":[\"merge\"]}", "\"merge\":2");
    admin("/_admin/edits", "{\"entity\":\"customers\",\"count\":5,\"kinds\":[\"create\"]}", "\"create\":5");
    admin("/_admin/edits", "{\"entity\":\"customers\",\"count\":3,\"kinds\":[\"delete\"]}", "\"delete\":3");
    assert_int_equal(total_of("crm", all), total + 5 - 3);
    assert_in_range(total_of("crm", active), live - 9 + 5 - 3, live - 9 + 5);
    admin("/_admin/count?entity=customers", NULL, "\"created\":5");
    expect(st_client_admin(&client, "/_admin/edits", "{\"entity\":\"jobs\",\"kinds\":[\"merge\"]}"), 400,
           "only customers and locations");
    expect(st_client_admin(&client, "/_admin/edits", "{\"entity\":\"robots\"}"), 400, "cannot find entity");
    expect(st_client_admin(&client, "/_admin/edits", "{"), 400, "error");
}

static void one_record_changes_when_told(void **state)
{
    (void)state;
    struct answer before = st_client_admin(&client, "/_admin/record?entity=jobs&index=17", NULL);
    admin("/_admin/edits", "{\"entity\":\"jobs\",\"index\":17,\"kinds\":[\"edit\"]}", "\"edit\":1");
    struct answer after = st_client_admin(&client, "/_admin/record?entity=jobs&index=17", NULL);
    assert_int_equal(json_int_at(before.json, "id", 0), json_int_at(after.json, "id", -1));
    assert_string_equal(json_text_at(before.json, "createdOn", ""), json_text_at(after.json, "createdOn", "-"));
    assert_true(strcmp(json_text_at(before.json, "modifiedOn", ""), json_text_at(after.json, "modifiedOn", "")) < 0);
    assert_string_not_equal(json_text_at(before.json, "summary", ""), json_text_at(after.json, "summary", ""));
    answer_release(&before);
    answer_release(&after);
}

static void tied_edits_share_an_instant(void **state)
{
    (void)state;
    struct answer answer =
        st_client_admin(&client, "/_admin/edits",
                        "{\"entity\":\"locations\",\"count\":60,\"kinds\":[\"create\"],\"sameInstant\":true}");
    const char *first = json_text_at(answer.json, "firstModified", "");
    assert_string_equal(first, json_text_at(answer.json, "lastModified", ""));
    char rest[256];
    snprintf(rest, sizeof rest, "locations?includeTotal=true&pageSize=1&modifiedOnOrAfter=%s", first);
    assert_int_equal(total_of("crm", rest), 60);
    answer_release(&answer);
}

static void a_stream_edits_until_stopped(void **state)
{
    (void)state;
    admin("/_admin/stream", "{\"entity\":\"all\",\"perSecond\":500}", "\"perSecond\":500");
    int64_t applied = 0;
    for (int64_t end = clock_mono_ms() + 20000; applied < 400 && clock_mono_ms() < end;) {
        struct answer answer = st_client_admin(&client, "/_admin/stream", NULL);
        applied = json_int_at(answer.json, "applied", 0);
        answer_release(&answer);
        assert_true(total_of("jpm", "jobs?includeTotal=true&pageSize=200&sort=-ModifiedOn") >= JOBS);
    }
    assert_true(applied >= 400);
    admin("/_admin/stream", "{\"perSecond\":0}", "\"perSecond\":0");
    int64_t total = total_of("jpm", "jobs?includeTotal=true&pageSize=1");
    assert_int_equal(total_of("jpm", "jobs?includeTotal=true&pageSize=1"), total);
}

/* ---- Faults ------------------------------------------------------------------------------------------------------ */

static void faults_strike_as_often_as_told(void **state)
{
    (void)state;
    static const struct {
        const char *rule;
        long status;
        const char *text;
    } cases[] = {
        {"{\"kind\":\"status\",\"status\":503,\"body\":\"html\"}", 503, "<h2>Our services"},
        {"{\"kind\":\"status\",\"status\":500,\"body\":\"empty\"}", 500, ""},
        {"{\"kind\":\"status\",\"status\":429,\"retryAfter\":7}", 429, "\"status\":429"},
        {"{\"kind\":\"status\",\"status\":502,\"body\":\"garbage\"}", 502, "{\"title\":\"502"},
        {"{\"kind\":\"wrong_total\",\"delta\":-100}", 200, "\"totalCount\":400"},
        {"{\"kind\":\"extra_field\"}", 200, "\"simulatedNewField\":"},
        {"{\"kind\":\"ignore_filter\"}", 200, "\"totalCount\":500"},
        {"{\"kind\":\"page_cap\",\"rows\":3}", 200, "\"pageSize\":3,\"hasMore\":true"},
        {"{\"kind\":\"expire_token\"}", 401, "access token"},
        {"{\"kind\":\"cut_before\"}", 0, ""},
        {"{\"kind\":\"cut_body\"}", 200, "{\"page\":1"},
        {"{\"kind\":\"delay\",\"delayMs\":20}", 200, "\"totalCount\":500"},
    };
    const struct st_server_options options = {.jobs = JOBS, .rate_per_second = 100000};
    struct st_client shared = client;
    client = st_client_start(&options);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static const char list[] =
            "jobs?pageSize=10&includeTotal=true&createdOnOrAfter=2001-01-01&createdBefore=2099-01-01";
        expect(st_client_admin(&client, "/_admin/faults", cases[i].rule), 200, "{\"ids\":[");
        struct answer answer = st_client_list(&client, "jpm", list);
        if (answer.transfer == CURLE_OK || strstr(cases[i].rule, "cut"))
            expect(answer, cases[i].status, cases[i].text);
        else
            fail_msg("%s: %s", cases[i].rule, curl_easy_strerror(answer.transfer));
        expect(st_client_list(&client, "jpm", list), 200,
               "\"pageSize\":10,\"hasMore\":true,\"totalCount\":500"); /* used up */
    }
    st_client_stop(&client);
    client = shared;
}

static void cuts_are_seen_as_such(void **state)
{
    (void)state;
    admin("/_admin/faults", "{\"faults\":[{\"kind\":\"truncate\",\"bytes\":100},{\"kind\":\"cut_before\"}]}",
          "{\"ids\":[");
    struct answer half = st_client_list(&client, "jpm", "jobs"), none = st_client_list(&client, "jpm", "jobs");
    assert_int_equal(half.transfer, CURLE_PARTIAL_FILE);
    assert_int_equal(half.body.len, 100);
    assert_int_equal(none.transfer, CURLE_GOT_NOTHING);
    answer_release(&half);
    answer_release(&none);
}

static void faults_wait_for_their_request(void **state)
{
    (void)state;
    admin("/_admin/faults",
          "{\"kind\":\"status\",\"status\":500,\"path\":\"/"
          "invoices\",\"method\":\"servicetitan.list.*\",\"skip\":1,\"count\":2}",
          "\"ids\":[");
    const long expected[] = {200, 500, 500, 200};
    for (size_t i = 0; i < 4; i++) {
        expect(st_client_list(&client, "jpm", "jobs?pageSize=1"), 200, "data");
        expect(st_client_list(&client, "accounting", "invoices?pageSize=1"), expected[i], "");
    }
    admin("/_admin/faults", "{\"kind\":\"delay\",\"count\":5}", "\"ids\":[");
    expect(st_client_send(&client, "/_admin/faults", NULL, "DELETE"), 200, "{\"faults\":[],");
    expect(st_client_admin(&client, "/_admin/faults", "{\"kind\":\"plague\"}"), 400, "cannot make a fault of kind");
    expect(st_client_admin(&client, "/_admin/faults", "{\"kind\":\"page_cap\",\"rows\":0}"), 400,
           "1 to 5000 are allowed");
}

static void duplicate_rows_come_twice(void **state)
{
    (void)state;
    admin("/_admin/faults", "{\"kind\":\"duplicate_rows\",\"rows\":2}", "\"ids\":[");
    struct answer answer = st_client_list(&client, "jpm", "jobs?pageSize=5");
    struct json_object *data = json_at(answer.json, "data");
    assert_int_equal(json_object_array_length(data), 7);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(json_int_at(json_object_array_get_idx(data, i), "id", 0),
                         json_int_at(json_object_array_get_idx(data, 5 + i), "id", -1));
    answer_release(&answer);
}

/* ---- Settings ---------------------------------------------------------------------------------------------------- */

static void settings_take_effect(void **state)
{
    (void)state;
    admin("/_admin/settings", "{\"clampPageSize\":true,\"pageCap\":{\"jobs\":20}}", "\"jobs\":20");
    expect(st_client_list(&client, "jpm", "jobs?pageSize=9000"), 200, "\"pageSize\":20,");
    expect(st_client_list(&client, "crm", "customers?pageSize=9000"), 200, "\"pageSize\":5000,");
    admin("/_admin/settings", "{\"clampPageSize\":false,\"pageCap\":{\"jobs\":0}}", "\"jobs\":0");
    expect(st_client_admin(&client, "/_admin/settings", "{\"latencyMs\":-1}"), 400, "latencyMs");
    expect(st_client_admin(&client, "/_admin/settings", "{\"latency\":1}"), 400, "there is no such setting");
}

static void shuffled_lists_differ_between_requests(void **state)
{
    (void)state;
    admin("/_admin/settings", "{\"shuffle\":true}", "\"shuffle\":true");
    struct answer a = st_client_list(&client, "payroll", "gross-pay-items?pageSize=50"),
                  b = st_client_list(&client, "payroll", "gross-pay-items?pageSize=50");
    assert_string_not_equal(buf_cstr(&a.body), buf_cstr(&b.body));
    assert_int_equal(json_object_array_length(json_at(a.json, "data")), 50);
    answer_release(&a);
    answer_release(&b);
    struct answer all = st_client_list(&client, "jpm", "jobs?pageSize=5000&includeTotal=true");
    assert_int_equal(json_object_array_length(json_at(all.json, "data")), json_int_at(all.json, "totalCount", -1));
    answer_release(&all);
    admin("/_admin/settings", "{\"shuffle\":false}", "\"shuffle\":false");
}

static int64_t date_of(const struct answer *answer)
{
    const char *at = strstr(buf_cstr(&answer->headers), "Date: ");
    int64_t us = 0;
    assert_non_null(at);
    assert_true(timestamp_parse_http_date(slice_of(at + 6, strcspn(at + 6, "\r")), &us));
    assert_null(strstr(at + 6, "Date: ")); /* only one */
    return us;
}

static void the_servers_clock_can_be_off(void **state)
{
    (void)state;
    for (int64_t skew_ms = -7200000; skew_ms <= 7200000; skew_ms += 7200000) {
        char json[64];
        snprintf(json, sizeof json, "{\"clockSkewMs\":%lld}", (long long)skew_ms);
        admin("/_admin/settings", json, "clockSkewMs");
        struct answer answer = st_client_list(&client, "jpm", "jobs?pageSize=1");
        int64_t difference = date_of(&answer) - clock_wall_us() - skew_ms * 1000;
        assert_in_range(difference + 3000000, 0, 4000000);
        answer_release(&answer);
    }
    admin("/_admin/settings", "{\"clockSkewMs\":901000}", "clockSkewMs");
    expect(st_client_list(&client, "jpm", "jobs?pageSize=1"), 401, "expired"); /* the token of set_up is over */
    admin("/_admin/settings", "{\"clockSkewMs\":0}", "clockSkewMs");
}

static void a_lag_hides_fresh_edits(void **state)
{
    (void)state;
    int64_t before = total_of("jpm", "jobs?includeTotal=true&pageSize=1");
    admin("/_admin/settings", "{\"visibilityLagMs\":60000}", "60000");
    admin("/_admin/edits", "{\"entity\":\"jobs\",\"count\":4,\"kinds\":[\"create\"]}", "\"create\":4");
    assert_int_equal(total_of("jpm", "jobs?includeTotal=true&pageSize=1"), before);
    expect(st_client_list(&client, "jpm", "export/jobs?includeRecentChanges=true"), 200, "hasMore");
    assert_int_equal(total_of("jpm", "jobs?includeTotal=true&pageSize=1"), before); /* the feed shows them no sooner */
    admin("/_admin/settings", "{\"clockSkewMs\":61000}", "61000");                  /* a minute later */
    assert_int_equal(total_of("jpm", "jobs?includeTotal=true&pageSize=1"), before + 4);
    admin("/_admin/settings", "{\"clockSkewMs\":0,\"visibilityLagMs\":0}", "visibilityLagMs");
}

static void requests_are_counted(void **state)
{
    (void)state;
    expect(st_client_send(&client, "/_admin/stats", NULL, "DELETE"), 200, "\"jobs\":0");
    expect(st_client_list(&client, "jpm", "jobs?pageSize=3"), 200, "data");
    expect(st_client_list(&client, "jpm", "jobs?pageSize=x"), 400, "PageSize");
    expect(st_client_get(&client, "/nowhere"), 404, "Unable");
    admin("/_admin/stats", NULL, "\"jobs\":2");
    admin("/_admin/stats", NULL, "\"statuses\":{\"200\":1,\"400\":1,\"404\":1}");
    admin("/_admin/stats", NULL, "\"records\":3");
}

/* ---- Restart ----------------------------------------------------------------------------------------------------- */

static char *everything(void)
{
    struct answer answer = st_client_list(&client, "crm", "customers?active=Any&pageSize=5000&includeTotal=true");
    char *text = xstrdup(buf_cstr(&answer.body));
    assert_int_equal(answer.status, 200);
    answer_release(&answer);
    return text;
}

static void a_restart_changes_nothing(void **state)
{
    (void)state;
    struct st_server_options options = {.jobs = JOBS, .data_dir = "."}; /* the runner gives a folder of its own */
    struct st_client shared = client;
    struct error err = ERROR_INIT;
    unlink("servicetitan.json");
    unlink("servicetitan-edits.log");
    client = st_client_start(&options);
    admin("/_admin/edits",
          "{\"entity\":\"customers\",\"count\":50,\"kinds\":[\"create\",\"edit\",\"deactivate\",\"merge\",\"delete\"]}",
          "applied");
    admin("/_admin/edits", "{\"entity\":\"customers\",\"count\":20,\"seed\":77}", "applied");
    char *before = everything();
    st_client_stop(&client);
    FILE *torn = fopen("servicetitan-edits.log", "a"); /* what a kill in the middle of a write leaves */
    fputs("1234567 customers 5 1 1", torn);
    fclose(torn);
    client = st_client_start(&options);
    char *after = everything();
    assert_string_equal(before, after);
    st_client_stop(&client);
    options.jobs = JOBS + 1;
    assert_null(st_server_start(&options, &err));
    assert_non_null(strstr(err.message, "it was made with"));
    free(before);
    free(after);
    client = shared;
}

static void several_tenants_are_apart(void **state)
{
    (void)state;
    static const struct st_server_tenant tenants[] = {{111, 100}, {222, 0}};
    const struct st_server_options options = {
        .jobs = 300, .tenants = tenants, .tenant_count = 2, .rate_per_second = 1000};
    struct st_client one = st_client_start(&options), two = one;
    assert_true(st_server_access(two.server, 1, &two.access));
    assert_false(st_server_access(two.server, 2, &two.access));
    st_client_login(&two);
    expect(st_client_list(&one, "jpm", "jobs?includeTotal=true&pageSize=1"), 200, "\"totalCount\":100");
    expect(st_client_list(&two, "jpm", "jobs?includeTotal=true&pageSize=1"), 200, "\"totalCount\":300");
    expect(st_client_get(&one, "/jpm/v2/tenant/222/jobs"), 403, "not connected");
    expect(st_client_admin(&one, "/_admin/edits",
                           "{\"entity\":\"jobs\",\"tenant\":222,\"count\":5,\"kinds\":[\"create\"]}"),
           200, "\"create\":5");
    expect(st_client_list(&one, "jpm", "jobs?includeTotal=true&pageSize=1"), 200, "\"totalCount\":100");
    expect(st_client_list(&two, "jpm", "jobs?includeTotal=true&pageSize=1"), 200, "\"totalCount\":305");
    st_client_stop(&one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edits_move_records_and_totals),  cmocka_unit_test(one_record_changes_when_told),
        cmocka_unit_test(tied_edits_share_an_instant),    cmocka_unit_test(a_stream_edits_until_stopped),
        cmocka_unit_test(faults_strike_as_often_as_told), cmocka_unit_test(cuts_are_seen_as_such),
        cmocka_unit_test(faults_wait_for_their_request),  cmocka_unit_test(duplicate_rows_come_twice),
        cmocka_unit_test(settings_take_effect),           cmocka_unit_test(shuffled_lists_differ_between_requests),
        cmocka_unit_test(the_servers_clock_can_be_off),   cmocka_unit_test(a_lag_hides_fresh_edits),
        cmocka_unit_test(requests_are_counted),           cmocka_unit_test(a_restart_changes_nothing),
        cmocka_unit_test(several_tenants_are_apart),
    };
    curl_global_init(CURL_GLOBAL_DEFAULT);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
