/* The simulator over HTTP: admission, lists, filters, paging, exports, as the real API answers. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "st_client.h"

enum { JOBS = 1200, SEEN_MAX = 20000 };

static struct st_client client;
static const struct st_server_options OPTIONS = {.jobs = JOBS, .seed = 9, .rate_per_second = 100000};

static int set_up(void **state)
{
    (void)state;
    client = st_client_start(&OPTIONS);
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

static int64_t total_of(const char *module, const char *rest)
{
    struct answer answer = st_client_list(&client, module, rest);
    int64_t total = json_int_at(answer.json, "totalCount", -1);
    assert_int_equal(answer.status, 200);
    answer_release(&answer);
    return total;
}

/* ---- Admission --------------------------------------------------------------------------------------------------- */

static void tokens_are_given_for_forms_only(void **state)
{
    (void)state;
    struct answer answer = st_client_ask_token(&client, client.access.client_secret);
    assert_int_equal(answer.status, 200);
    assert_int_equal(json_int_at(answer.json, "expires_in", 0), 900);
    assert_string_equal(json_text_at(answer.json, "token_type", ""), "Bearer");
    answer_release(&answer);
    expect(st_client_ask_token(&client, "cs1.wrong"), 400, "{\"error\":\"invalid_client\"}");
    expect(st_client_send(&client, "/connect/token", "application/json", "{\"grant_type\":\"client_credentials\"}"),
           400, "invalid_request");
    expect(st_client_send(&client, "/connect/token", "application/x-www-form-urlencoded", "grant_type=password"), 400,
           "unsupported_grant_type");
}

static void requests_are_admitted_by_key_token_and_tenant(void **state)
{
    (void)state;
    struct st_client other = client;
    expect(st_client_list(&other, "jpm", "jobs"), 200,
           "\"page\":1,\"pageSize\":50,\"hasMore\":true,\"totalCount\":null,\"data\":[{");
    other.raw_token = true;
    expect(st_client_list(&other, "jpm", "jobs"), 200, "\"page\":1");
    other.no_key = true;
    expect(st_client_list(&other, "jpm", "jobs"), 401, "ST-App-Key");
    other.no_key = false;
    other.no_token = true;
    expect(st_client_list(&other, "jpm", "jobs"), 401, "access token");
    other.no_token = false;
    other.token[strlen(other.token) - 3] ^= 1;
    expect(st_client_list(&other, "jpm", "jobs"), 401, "access token");
    expect(st_client_get(&client, "/jpm/v2/tenant/99/jobs"), 403, "not connected");
    expect(st_client_get(&client, "/jpm/v2/1234567/jobs"), 404, "Unable to match incoming request to an operation.");
    expect(st_client_list(&client, "marketing", "export/campaigns"), 404, "Unable to match");
    expect(st_client_list(&client, "sales", "estimates/export"), 200, "continueFrom");
}

/* ---- Lists ------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *module, *resource, *all;
    int64_t count;
} LISTS[] = {
    {"jpm", "jobs", "", JOBS},
    {"accounting", "invoices", "", JOBS * 95 / 100},
    {"sales", "estimates", "&active=Any", JOBS * 70 / 100},
    {"accounting", "payments", "&activeState=All", JOBS * 80 / 100},
    {"payroll", "gross-pay-items", "", JOBS * 180 / 100},
    {"crm", "customers", "&active=any", JOBS * 45 / 100},
    {"crm", "locations", "&active=ANY", JOBS * 55 / 100},
    {"marketing", "campaigns", "&active=Any", 60},
};

static void pages_cover_every_record_once(void **state)
{
    (void)state;
    static const char *const sorts[] = {
        "", "&sort=%2BId", "&sort=-Id", "&sort=%2BModifiedOn", "&sort=-ModifiedOn", "&sort=%2BCreatedOn"};
    for (size_t l = 0; l < sizeof LISTS / sizeof LISTS[0]; l++)
        for (size_t s = 0; s < sizeof sorts / sizeof sorts[0]; s++) {
            bool more = true;
            int64_t seen = 0, unnamed = 0;
            uint64_t ids = 0;
            for (int page = 1; more; page++) {
                char rest[256];
                snprintf(rest, sizeof rest, "%s?page=%d&pageSize=177&includeTotal=true%s%s", LISTS[l].resource, page,
                         LISTS[l].all, sorts[s]);
                struct answer answer = st_client_list(&client, LISTS[l].module, rest);
                struct json_object *data = json_at(answer.json, "data");
                assert_int_equal(json_int_at(answer.json, "totalCount", 0), LISTS[l].count);
                for (size_t i = 0; i < json_object_array_length(data); i++) {
                    int64_t id = json_int_at(json_object_array_get_idx(data, i), "id", 0);
                    ids ^= (uint64_t)id * 2654435761u;
                    unnamed += id == 0;
                }
                seen += (int64_t)json_object_array_length(data);
                more = json_bool_at(answer.json, "hasMore", false);
                answer_release(&answer);
            }
            static uint64_t first_ids;
            first_ids = s == 0 ? ids : first_ids;
            assert_int_equal(seen, LISTS[l].count);
            assert_int_equal(ids, first_ids);
            assert_true(unnamed == 0 || l == 4);
        }
}

static void parameters_are_read_as_documented(void **state)
{
    (void)state;
    static const struct {
        const char *module, *rest;
        long status;
        const char *text;
    } cases[] = {
        {"jpm", "jobs?pageSize=2&includeTotal=TRUE", 200, "\"pageSize\":2,\"hasMore\":true,\"totalCount\":1200"},
        {"jpm", "jobs?PAGESIZE=2&IncludeTotal=true", 200, "\"pageSize\":2,\"hasMore\":true,\"totalCount\":1200"},
        {"jpm", "jobs?pageSize=2&page=0", 200, "{\"page\":1,\"pageSize\":2"},
        {"jpm", "jobs?pageSize=5000&page=2", 200,
         "{\"page\":2,\"pageSize\":5000,\"hasMore\":false,\"totalCount\":null,\"data\":[]}"},
        {"jpm", "jobs?pageSize=5001", 400, "\"PageSize\":[\"The value '5001' is not valid for pageSize.\"]"},
        {"jpm", "jobs?pageSize=0", 400, "PageSize"},
        {"jpm", "jobs?page=x", 400, "Page"},
        {"jpm", "jobs?modifiedOnOrAfter=yesterday", 400, "ModifiedOnOrAfter"},
        {"jpm", "jobs?modifiedOnOrAfter=2025-01-01T00:00:00+02:00", 400, "ModifiedOnOrAfter"}, /* a raw + is a space */
        {"jpm", "jobs?modifedOnOrAfter=2099-01-01&includeTotal=true", 200,
         "\"totalCount\":1200"},                                                       /* misspelt: ignored */
        {"jpm", "jobs?active=nonsense&includeTotal=true", 200, "\"totalCount\":1200"}, /* jobs have no such filter */
        {"jpm", "jobs?jobStatus=Completed", 501, "jobStatus"},
        {"jpm", "jobs?sort=+ModifiedOn&pageSize=1", 200, "\"jobNumber\":\"101199\""}, /* space: the default order */
        {"jpm", "jobs?sort=%2BId&pageSize=1", 200, "\"jobNumber\":\"100000\""},
        {"jpm",
         "jobs?ids=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33,34,35,36,"
         "37,38,39,40,41,42,"
         "43,44,45,46,47,48,49,50,51",
         400, "\"Ids\":["},
        {"crm", "customers?active=Maybe", 400, "Active"},
        {"accounting", "payments?activeState=All&includeTotal=true&pageSize=1", 200, "\"totalCount\":960"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect(st_client_list(&client, cases[i].module, cases[i].rest), cases[i].status, cases[i].text);
}

static void inactive_records_hide_by_default(void **state)
{
    (void)state;
    static const struct {
        const char *module, *resource, *on, *off, *any;
    } cases[] = {
        {"crm", "customers", "active=True", "active=False", "active=Any"},
        {"sales", "estimates", "active=True", "active=False", "active=Any"},
        {"accounting", "payments", "activeState=ActiveOnly", "activeState=InactiveOnly", "activeState=All"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t totals[4];
        const char *filters[4] = {"", cases[i].on, cases[i].off, cases[i].any};
        for (int f = 0; f < 4; f++) {
            char rest[128];
            snprintf(rest, sizeof rest, "%s?pageSize=1&includeTotal=true&%s", cases[i].resource, filters[f]);
            totals[f] = total_of(cases[i].module, rest);
        }
        assert_int_equal(totals[0], totals[1]);
        assert_true(totals[2] > 0);
        assert_int_equal(totals[1] + totals[2], totals[3]);
    }
}

static void bounds_are_inclusive_below_and_exclusive_above(void **state)
{
    (void)state;
    struct answer answer = st_client_list(&client, "jpm", "jobs?pageSize=300&page=2");
    struct json_object *job = json_object_array_get_idx(json_at(answer.json, "data"), 150);
    const char *created = json_text_at(job, "createdOn", ""), *modified = json_text_at(job, "modifiedOn", "");
    static const char *const names[2][2] = {{"createdOnOrAfter", "createdBefore"},
                                            {"modifiedOnOrAfter", "modifiedBefore"}};
    for (int n = 0; n < 2; n++) {
        const char *time = n ? modified : created;
        char from[128], to[128], none[256], id[256];
        snprintf(from, sizeof from, "jobs?includeTotal=true&pageSize=1&%s=%s", names[n][0], time);
        snprintf(to, sizeof to, "jobs?includeTotal=true&pageSize=1&%s=%s", names[n][1], time);
        snprintf(none, sizeof none, "jobs?includeTotal=true&%s=%s&%s=%s", names[n][0], time, names[n][1], time);
        assert_int_equal(total_of("jpm", from) + total_of("jpm", to), JOBS);
        assert_int_equal(total_of("jpm", none), 0);
        snprintf(id, sizeof id, "jobs?ids=%lld&%s=%s", (long long)json_int_at(job, "id", 0), names[n][0], time);
        expect(st_client_list(&client, "jpm", id), 200, created);
        snprintf(id, sizeof id, "jobs?ids=%lld&%s=%s", (long long)json_int_at(job, "id", 0), names[n][1], time);
        expect(st_client_list(&client, "jpm", id), 200, "\"data\":[]");
    }
    answer_release(&answer);
}

static void links_filter(void **state)
{
    (void)state;
    struct answer answer = st_client_list(&client, "jpm", "jobs?pageSize=40");
    struct json_object *data = json_at(answer.json, "data");
    for (size_t i = 0; i < json_object_array_length(data); i++) {
        struct json_object *job = json_object_array_get_idx(data, i);
        char rest[128], text[64];
        snprintf(rest, sizeof rest, "invoices?jobId=%lld&includeTotal=true", (long long)json_int_at(job, "id", 0));
        snprintf(text, sizeof text, "\"data\":[{\"id\":%lld,", (long long)json_int_at(job, "invoiceId", 0));
        if (json_int_at(job, "invoiceId", 0))
            expect(st_client_list(&client, "accounting", rest), 200, text);
        else
            expect(st_client_list(&client, "accounting", rest), 200, "\"totalCount\":0");
    }
    answer_release(&answer);
}

/* ---- Exports ----------------------------------------------------------------------------------------------------- */

/* Reads the feed to its end; returns how many records, and the token to go on from. */
static int64_t drain(const char *module, const char *feed, const char *more_params, char token[128], int64_t *inactive)
{
    int64_t records = 0;
    bool more = true;
    *inactive = 0;
    while (more) {
        char rest[512];
        snprintf(rest, sizeof rest, "export/%s?from=%s%s", feed, token, more_params);
        struct answer answer = st_client_list(&client, module, rest);
        assert_int_equal(answer.status, 200);
        struct json_object *data = json_at(answer.json, "data");
        for (size_t i = 0; i < json_object_array_length(data); i++)
            *inactive += !json_bool_at(json_object_array_get_idx(data, i), "active", true);
        records += (int64_t)json_object_array_length(data);
        snprintf(token, 128, "%s", json_text_at(answer.json, "continueFrom", ""));
        more = json_bool_at(answer.json, "hasMore", false);
        answer_release(&answer);
    }
    return records;
}

static void exports_go_on_where_they_stopped(void **state)
{
    (void)state;
    char token[128] = "", other[128] = "";
    int64_t inactive;
    struct st_client shared = client;
    client = st_client_start(&OPTIONS);
    expect(st_client_admin(&client, "/_admin/settings", "{\"exportBatch\":251}"), 200, "\"exportBatch\":251");
    assert_in_range(drain("jpm", "jobs", "&includeRecentChanges=true", token, &inactive), JOBS, JOBS + 5);
    expect(st_client_list(&client, "accounting", "export/invoices?from=0000"), 400, "From");
    snprintf(other, sizeof other, "%s", token);
    char rest[256];
    snprintf(rest, sizeof rest, "export/invoices?from=%s", token);
    expect(st_client_list(&client, "accounting", rest), 400, "neither a date nor a token of this feed");
    expect(st_client_admin(&client, "/_admin/edits", "{\"entity\":\"jobs\",\"count\":40,\"kinds\":[\"delete\"]}"), 200,
           "\"delete\":40");
    expect(st_client_admin(&client, "/_admin/edits", "{\"entity\":\"jobs\",\"count\":30,\"kinds\":[\"create\"]}"), 200,
           "\"create\":30");
    assert_int_equal(total_of("jpm", "jobs?pageSize=1&includeTotal=true"), JOBS - 40 + 30);
    assert_int_equal(drain("jpm", "jobs", "", token, &inactive), 0); /* not before 15 minutes have passed */
    int64_t fresh = drain("jpm", "jobs", "&includeRecentChanges=true", other, &inactive);
    assert_in_range(fresh, 70, 75);
    assert_int_equal(inactive, 40);
    assert_in_range(drain("jpm", "jobs", "&includeRecentChanges=true", other, &inactive), 70,
                    75); /* repeats what is younger than that */
    st_client_stop(&client);
    client = shared;
}

static void every_feed_gives_every_record(void **state)
{
    (void)state;
    for (size_t l = 0; l < sizeof LISTS / sizeof LISTS[0] - 1; l++) {
        char token[128] = "";
        int64_t inactive;
        assert_int_equal(drain(LISTS[l].module, LISTS[l].resource, "&includeRecentChanges=true", token, &inactive),
                         LISTS[l].count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_given_for_forms_only),
        cmocka_unit_test(requests_are_admitted_by_key_token_and_tenant),
        cmocka_unit_test(pages_cover_every_record_once),
        cmocka_unit_test(parameters_are_read_as_documented),
        cmocka_unit_test(inactive_records_hide_by_default),
        cmocka_unit_test(bounds_are_inclusive_below_and_exclusive_above),
        cmocka_unit_test(links_filter),
        cmocka_unit_test(exports_go_on_where_they_stopped),
        cmocka_unit_test(every_feed_gives_every_record),
    };
    curl_global_init(CURL_GLOBAL_DEFAULT);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
