/* test_bq_rest.c - the local BigQuery's REST, asked by a real HTTP client. */
#include "bq_fixture.h"

#define QUERIES "projects/p/queries"
#define JOBS "projects/p/jobs"

static int set_up(void **state)
{
    struct bq_fixture *f = xcalloc(1, sizeof *f);
    f->http = http_client_new();
    bq_fixture_open(f);
    json_object_put(bq_call(f, "POST", "projects/p/datasets", "{\"datasetReference\":{\"datasetId\":\"d\"}}"));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct bq_fixture *f = *state;
    bq_fixture_close(f);
    http_client_free(f->http);
    free(f);
    return system("rm -rf data");
}

static void expect(struct bq_fixture *f, struct json_object *answer, int status, const char *path, const char *value)
{
    if (f->status != status || strcmp(json_text_at(answer, path, "absent"), value) != 0)
        fail_msg("expected %d and %s=%s, got %d %s", status, path, value, f->status,
                 answer ? json_object_to_json_string(answer) : "(no body)");
    json_object_put(answer);
}

static const char *reason(struct json_object *answer)
{
    struct json_object *errors = json_at(answer, "error.errors");
    return errors ? json_text_at(json_object_array_get_idx(errors, 0), "reason", "") : "no error";
}

static void expect_error(struct bq_fixture *f, struct json_object *answer, int status, const char *expected)
{
    if (f->status != status || strcmp(reason(answer), expected) != 0)
        fail_msg("expected %d %s, got %d %s", status, expected, f->status,
                 answer ? json_object_to_json_string(answer) : "(no body)");
    assert_int_equal(json_int_at(answer, "error.code", 0), status);
    assert_true(strlen(json_text_at(answer, "error.message", "")) > 0);
    assert_non_null(json_at(answer, "error.status"));
    json_object_put(answer);
}

static void test_datasets(void **state)
{
    struct bq_fixture *f = *state;
    expect(f, bq_call(f, "GET", "projects/p/datasets/d", NULL), 200, "datasetReference.datasetId", "d");
    expect(f, bq_call(f, "PATCH", "projects/p/datasets/d", "{\"labels\":{\"team\":\"x\"}}"), 200, "labels.team", "x");
    expect_error(f, bq_call(f, "POST", "projects/p/datasets", "{\"datasetReference\":{\"datasetId\":\"d\"}}"), 409,
                 "duplicate");
    expect_error(f, bq_call(f, "GET", "projects/p/datasets/none", NULL), 404, "notFound");
    expect_error(f, bq_call(f, "POST", "projects/p/datasets", "{not json"), 400, "parseError");
    json_object_put(bq_call(f, "POST", "projects/p/datasets", "{\"datasetReference\":{\"datasetId\":\"e\"}}"));
    struct json_object *page = bq_call(f, "GET", "projects/p/datasets?maxResults=1", NULL);
    assert_int_equal(json_object_array_length(json_at(page, "datasets")), 1);
    char *next = xasprintf("projects/p/datasets?maxResults=1&pageToken=%s", json_text_at(page, "nextPageToken", ""));
    json_object_put(page);
    page = bq_call(f, "GET", next, NULL);
    free(next);
    assert_string_equal(
        json_text_at(json_object_array_get_idx(json_at(page, "datasets"), 0), "datasetReference.datasetId", ""), "e");
    assert_null(json_at(page, "nextPageToken"));
    json_object_put(page);
    assert_null(bq_call(f, "DELETE", "projects/p/datasets/e", NULL));
    assert_int_equal(f->status, 204);
    expect_error(f, bq_call(f, "DELETE", "projects/p/datasets/e", NULL), 404, "notFound");
}

static void test_tables(void **state)
{
    struct bq_fixture *f = *state;
    const char *table = "{\"tableReference\":{\"tableId\":\"t\"},\"schema\":{\"fields\":[{\"name\":\"id\",\"type\":"
                        "\"INT64\",\"mode\":\"REQUIRED\"},{\"name\":\"s\",\"type\":\"STRING\"}]}}";
    expect(f, bq_call(f, "POST", "projects/p/datasets/d/tables", table), 200, "id", "p:d.t");
    expect_error(f, bq_call(f, "POST", "projects/p/datasets/d/tables", table), 409, "duplicate");
    struct json_object *got = bq_call(f, "GET", "projects/p/datasets/d/tables/t", NULL);
    char *link =
        xasprintf("http://127.0.0.1:%u/bigquery/v2/projects/p/datasets/d/tables/t", bq_server_rest_port(f->server));
    assert_string_equal(json_text_at(got, "selfLink", ""), link);
    assert_string_equal(json_text_at(json_object_array_get_idx(json_at(got, "schema.fields"), 0), "type", ""),
                        "INTEGER");
    json_object_put(got);
    free(link);
    expect(f, bq_call(f, "GET", "projects/p/datasets/d/tables", NULL), 200, "totalItems", "1");
    expect_error(f, bq_call(f, "GET", "projects/p/datasets/d/tables/none", NULL), 404, "notFound");
    expect_error(f, bq_call(f, "DELETE", "projects/p/datasets/d", NULL), 400, "resourceInUse");
    assert_null(bq_call(f, "DELETE", "projects/p/datasets/d/tables/t", NULL));
    assert_int_equal(f->status, 204);
}

static void test_refusals(void **state)
{
    static const struct {
        const char *method, *path, *body;
        int status;
        const char *reason;
    } cases[] = {
        {"POST", QUERIES, "{\"query\":\"SELECT 1\"}", 400, "invalid"}, /* legacy SQL is REST's default */
        {"POST", QUERIES, "{\"useLegacySql\":false}", 400, "required"},
        {"POST", QUERIES, "{\"useLegacySql\":false,\"query\":\"SELEC 1\"}", 400, "invalidQuery"},
        {"POST", QUERIES, "{\"useLegacySql\":false,\"query\":\"SELECT * FROM d.none\"}", 404, "notFound"},
        {"POST", QUERIES, "{\"useLegacySql\":false,\"query\":\"SELECT 1\",\"location\":\"EU\"}", 404, "notFound"},
        {"POST", QUERIES, "{\"useLegacySql\":false,\"query\":\"SELECT 1\",\"createSession\":true}", 501,
         "notImplemented"},
        {"POST", QUERIES, "{\"useLegacySql\":false,\"query\":\"SELECT 1\",\"labels\":{\"A\":\"b\"}}", 400, "invalid"},
        {"POST", QUERIES, "[]", 400, "parseError"},
        {"POST", JOBS, "{\"configuration\":{\"load\":{}}}", 501, "notImplemented"},
        {"POST", JOBS, "{\"configuration\":{\"copy\":{}}}", 501, "notImplemented"},
        {"POST", JOBS, "{}", 400, "required"},
        {"POST", JOBS,
         "{\"jobReference\":{\"jobId\":\"a b\"},\"configuration\":{\"query\":{\"query\":\"SELECT "
         "1\",\"useLegacySql\":false}}}",
         400, "invalid"},
        {"POST", JOBS,
         "{\"configuration\":{\"query\":{\"query\":\"SELECT "
         "1\",\"useLegacySql\":false,\"destinationTable\":{\"tableId\":\"x\"}}}}",
         501, "notImplemented"},
        {"GET", JOBS "/none", NULL, 404, "notFound"},
        {"GET", QUERIES "/none", NULL, 404, "notFound"},
        {"GET", QUERIES "/none?pageToken=x", NULL, 400, "invalid"},
        {"GET", QUERIES "/none?maxResults=-1", NULL, 400, "invalid"},
        {"POST", JOBS "/none/cancel", "{}", 404, "notFound"},
        {"GET", "projects/p/models", NULL, 404, "notFound"},
    };
    struct bq_fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect_error(f, bq_call(f, cases[i].method, cases[i].path, cases[i].body), cases[i].status, cases[i].reason);
    }
}

static void test_query_with_parameters(void **state)
{
    struct bq_fixture *f = *state;
    const char *named =
        "{\"useLegacySql\":false,\"query\":\"SELECT @a + 1 AS x, @s AS s\",\"parameterMode\":\"named\","
        "\"queryParameters\":[{\"name\":\"a\",\"parameterType\":{\"type\":\"INT64\"},"
        "\"parameterValue\":{\"value\":\"41\"}},{\"name\":\"s\",\"parameterType\":{\"type\":\"STRING\"},"
        "\"parameterValue\":{\"value\":\"it's\"}}]}";
    struct json_object *answer = bq_call(f, "POST", QUERIES, named);
    assert_int_equal(f->status, 200);
    assert_true(json_bool_at(answer, "jobComplete", false));
    assert_string_equal(json_text_at(answer, "totalRows", ""), "1");
    assert_string_equal(json_object_to_json_string_ext(json_at(answer, "rows"), JSON_C_TO_STRING_PLAIN),
                        "[{\"f\":[{\"v\":\"42\"},{\"v\":\"it's\"}]}]");
    json_object_put(answer);
    const char *positional = "{\"useLegacySql\":false,\"query\":\"SELECT ? AS x\",\"queryParameters\":[{"
                             "\"parameterType\":{\"type\":\"INT64\"},\"parameterValue\":{\"value\":\"7\"}}]}";
    answer = bq_call(f, "POST", QUERIES, positional);
    assert_string_equal(json_object_to_json_string_ext(json_at(answer, "rows"), JSON_C_TO_STRING_PLAIN),
                        "[{\"f\":[{\"v\":\"7\"}]}]");
    json_object_put(answer);
}

static void test_timestamp_formats(void **state)
{
    static const struct {
        const char *options, *query, *value;
    } cases[] = {
        {"", "", "1.761040800123456E9"},
        {",\"formatOptions\":{\"useInt64Timestamp\":true}", "formatOptions.useInt64Timestamp=True", "1761040800123456"},
        {",\"formatOptions\":{\"timestampOutputFormat\":\"ISO8601_STRING\"}",
         "formatOptions.timestampOutputFormat=ISO8601_STRING", "2025-10-21T10:00:00.123456Z"},
    };
    struct bq_fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *body =
            xasprintf("{\"useLegacySql\":false,\"query\":\"SELECT TIMESTAMP '2025-10-21 10:00:00.123456+00' AS "
                      "t\"%s}",
                      cases[i].options);
        struct json_object *answer = bq_call(f, "POST", QUERIES, body);
        char *again = xasprintf(QUERIES "/%s?%s", json_text_at(answer, "jobReference.jobId", ""), cases[i].query);
        char *expected = xasprintf("[{\"f\":[{\"v\":\"%s\"}]}]", cases[i].value);
        assert_string_equal(json_object_to_json_string_ext(json_at(answer, "rows"), JSON_C_TO_STRING_PLAIN), expected);
        json_object_put(answer);
        answer = bq_call(f, "GET", again, NULL);
        assert_string_equal(json_object_to_json_string_ext(json_at(answer, "rows"), JSON_C_TO_STRING_PLAIN), expected);
        json_object_put(answer);
        free(body);
        free(again);
        free(expected);
    }
}

static void insert_job(struct bq_fixture *f, const char *id, const char *sql, const char *more)
{
    struct buf body = BUF_INIT;
    buf_printf(&body,
               "{\"jobReference\":{\"jobId\":\"%s\"},\"configuration\":{%s\"query\":{\"useLegacySql\":false,\"query\":",
               id, more);
    buf_append_json_string(&body, slice_str(sql));
    buf_append_str(&body, "}}}");
    expect(f, bq_call(f, "POST", JOBS, buf_cstr(&body)), 200, "jobReference.jobId", id);
    buf_release(&body);
}

static struct json_object *wait_job(struct bq_fixture *f, const char *id)
{
    char *results = xasprintf(QUERIES "/%s?timeoutMs=60000&maxResults=0", id), *get = xasprintf(JOBS "/%s", id);
    json_object_put(bq_call(f, "GET", results, NULL));
    struct json_object *job = bq_call(f, "GET", get, NULL);
    assert_string_equal(json_text_at(job, "status.state", ""), "DONE");
    free(results);
    free(get);
    return job;
}

static void test_job_ids_over_a_restart(void **state)
{
    struct bq_fixture *f = *state;
    const char *body =
        "{\"jobReference\":{\"jobId\":\"j1\",\"location\":\"us\"},\"configuration\":{\"query\":{\"query\":"
        "\"SELECT 1\",\"useLegacySql\":false}}}";
    bq_run(f, "CREATE TABLE d.t (id INT64)");
    insert_job(f, "j1", "INSERT INTO d.t (id) VALUES (1), (2)", "\"labels\":{\"run\":\"r-1\"},");
    struct json_object *job = wait_job(f, "j1");
    assert_string_equal(json_text_at(job, "statistics.query.statementType", ""), "INSERT");
    assert_string_equal(json_text_at(job, "statistics.query.numDmlAffectedRows", ""), "2");
    assert_string_equal(json_text_at(job, "statistics.query.dmlStats.insertedRowCount", ""), "2");
    assert_string_equal(json_text_at(job, "configuration.labels.run", ""), "r-1");
    assert_string_equal(json_text_at(job, "id", ""), "p:US.j1");
    assert_true(json_int_at(job, "statistics.endTime", 0) >= json_int_at(job, "statistics.startTime", 1));
    json_object_put(job);
    expect_error(f, bq_call(f, "POST", JOBS, body), 409, "duplicate");
    bq_fixture_close(f);
    bq_fixture_open(f);
    expect_error(f, bq_call(f, "POST", JOBS, body), 409, "duplicate");
    expect(f, bq_call(f, "GET", JOBS "/j1?location=US", NULL), 200, "statistics.query.numDmlAffectedRows", "2");
    expect(f, bq_call(f, "GET", QUERIES "/j1", NULL), 200, "numDmlAffectedRows", "2");
    expect_error(f, bq_call(f, "GET", JOBS "/j1?location=EU", NULL), 404, "notFound");
    expect(f, bq_call(f, "DELETE", JOBS "/j1/delete", NULL), 200, "error", "absent");
    expect_error(f, bq_call(f, "GET", JOBS "/j1", NULL), 404, "notFound");
}

static void test_failed_job(void **state)
{
    struct bq_fixture *f = *state;
    insert_job(f, "bad", "SELECT nope FROM UNNEST([1]) AS x", "");
    struct json_object *job = wait_job(f, "bad");
    assert_string_equal(json_text_at(job, "status.errorResult.reason", ""), "invalidQuery");
    json_object_put(job);
    expect_error(f, bq_call(f, "GET", QUERIES "/bad", NULL), 400, "invalidQuery");
}

static void test_paging(void **state)
{
    struct bq_fixture *f = *state;
    struct json_object *page = bq_call(f, "POST", QUERIES,
                                       "{\"useLegacySql\":false,\"maxResults\":4,\"query\":\"SELECT x FROM "
                                       "UNNEST(GENERATE_ARRAY(1, 10)) AS x ORDER BY x\"}");
    char *id = xstrdup(json_text_at(page, "jobReference.jobId", ""));
    size_t seen = 0;
    for (;;) {
        struct json_object *rows = json_at(page, "rows");
        assert_string_equal(json_text_at(page, "totalRows", ""), "10");
        for (size_t i = 0; rows && i < json_object_array_length(rows); i++) {
            struct json_object *cells = json_at(json_object_array_get_idx(rows, i), "f");
            assert_int_equal(json_int_at(json_object_array_get_idx(cells, 0), "v", 0), ++seen);
        }
        const char *token = json_text_at(page, "pageToken", NULL);
        if (!token)
            break;
        char *path = xasprintf(QUERIES "/%s?maxResults=4&pageToken=%s", id, token);
        json_object_put(page);
        page = bq_call(f, "GET", path, NULL);
        free(path);
    }
    assert_int_equal(seen, 10);
    json_object_put(page);
    char *none = xasprintf(QUERIES "/%s?maxResults=0", id);
    page = bq_call(f, "GET", none, NULL);
    assert_null(json_at(page, "rows"));
    assert_non_null(json_at(page, "schema.fields"));
    assert_non_null(json_at(page, "pageToken"));
    json_object_put(page);
    free(none);
    char *last = xasprintf(QUERIES "/%s?startIndex=9", id);
    page = bq_call(f, "GET", last, NULL);
    assert_int_equal(json_object_array_length(json_at(page, "rows")), 1);
    json_object_put(page);
    free(last);
    free(id);
}

static void test_settings(void **state)
{
    struct bq_fixture *f = *state;
    static const struct {
        const char *body;
        int status;
    } cases[] = {
        {"{}", 400},
        {"{\"maxJobPartitions\":0}", 400},
        {"{\"dmlDurationMs\":-1}", 400},
        {"{\"maxJobPartitions\":\"x\",\"dmlDurationMs\":1}", 400},
        {"{\"maxJobPartitions\":30}", 200},
    };
    char *url = xasprintf("http://127.0.0.1:%u/_local/bigquery", bq_server_rest_port(f->server));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct http_response response = HTTP_RESPONSE_INIT;
        struct error err = ERROR_INIT;
        struct http_request request = {.method = "POST", .url = url, .body = slice_str(cases[i].body)};
        assert_true(http_perform(f->http, &request, &response, &err));
        assert_int_equal(response.status, cases[i].status);
        if (cases[i].status == 200) {
            struct json_object *settings = json_parse(buf_slice(&response.body), "settings", &err);
            assert_int_equal(json_int_at(settings, "maxJobPartitions", -1), 30);
            assert_int_equal(json_int_at(settings, "dmlDurationMs", -1), 0);
            json_object_put(settings);
        }
        http_response_release(&response);
    }
    free(url);
}

static void test_slow_dml_can_be_cancelled_and_timed_out(void **state)
{
    struct bq_fixture *f = *state;
    bq_run(f, "CREATE TABLE d.t (id INT64)");
    struct http_response response = HTTP_RESPONSE_INIT;
    struct error err = ERROR_INIT;
    char *url = xasprintf("http://127.0.0.1:%u/_local/bigquery", bq_server_rest_port(f->server));
    struct http_request request = {.method = "POST", .url = url, .body = SLICE_LIT("{\"dmlDurationMs\":600000}")};
    assert_true(http_perform(f->http, &request, &response, &err));
    assert_int_equal(response.status, 200);
    http_response_release(&response);
    free(url);

    insert_job(f, "slow", "INSERT INTO d.t (id) VALUES (1)", "");
    expect(f, bq_call(f, "GET", QUERIES "/slow?timeoutMs=0", NULL), 200, "jobComplete", "false");
    expect(f, bq_call(f, "POST", JOBS "/slow/cancel?location=US", ""), 200, "kind", "bigquery#jobCancelResponse");
    struct json_object *job = wait_job(f, "slow");
    assert_string_equal(json_text_at(job, "status.errorResult.reason", ""), "stopped");
    json_object_put(job);
    insert_job(f, "late", "INSERT INTO d.t (id) VALUES (2)", "\"jobTimeoutMs\":\"50\",");
    job = wait_job(f, "late");
    assert_string_equal(json_text_at(job, "status.errorResult.reason", ""), "timeout");
    json_object_put(job);
    assert_bq_value(f, "SELECT COUNT(*) AS n FROM d.t", "0");
}

static void test_request_id(void **state)
{
    struct bq_fixture *f = *state;
    bq_run(f, "CREATE TABLE d.t (id INT64)");
    for (int i = 0; i < 2; i++)
        expect(f,
               bq_call(f, "POST", QUERIES,
                       "{\"useLegacySql\":false,\"requestId\":\"r1\",\"query\":\"INSERT INTO d.t (id) VALUES (1)\"}"),
               200, "numDmlAffectedRows", "1");
    assert_bq_value(f, "SELECT COUNT(*) AS n FROM d.t", "1");
}

static void test_dry_run(void **state)
{
    struct bq_fixture *f = *state;
    bq_run(f, "CREATE TABLE d.t (id INT64)");
    struct json_object *job = bq_call(f, "POST", JOBS,
                                      "{\"configuration\":{\"dryRun\":true,\"query\":{\"useLegacySql\":false,\"query\":"
                                      "\"INSERT INTO d.t (id) VALUES (1)\"}}}");
    assert_int_equal(f->status, 200);
    assert_string_equal(json_text_at(job, "status.state", ""), "DONE");
    assert_null(json_at(job, "jobReference.jobId"));
    assert_string_equal(json_text_at(job, "statistics.query.statementType", ""), "INSERT");
    json_object_put(job);
    assert_bq_value(f, "SELECT COUNT(*) AS n FROM d.t", "0");
    expect_error(f, bq_call(f, "POST", QUERIES, "{\"useLegacySql\":false,\"dryRun\":true,\"query\":\"SELECT x\"}"), 400,
                 "invalidQuery");
}

static void test_insert_all_and_list(void **state)
{
#define INSERT_ALL "projects/p/datasets/d/tables/t/insertAll"
    struct bq_fixture *f = *state;
    bq_run(
        f,
        "CREATE TABLE d.t (id INT64 NOT NULL, n NUMERIC, b BYTES, ts TIMESTAMP, a ARRAY<STRING>, r STRUCT<x INT64>)");
    struct json_object *answer =
        bq_call(f, "POST", INSERT_ALL,
                "{\"rows\":[{\"json\":{\"id\":1,\"n\":\"1.5\",\"b\":\"aGk=\",\"ts\":\"2025-10-21T10:00:00Z\",\"a\":["
                "\"x\",\"y\"],\"r\":{\"x\":\"7\"}}}]}");
    assert_int_equal(f->status, 200);
    assert_null(json_at(answer, "insertErrors"));
    json_object_put(answer);
    answer = bq_call(f, "GET", "projects/p/datasets/d/tables/t/data?formatOptions.useInt64Timestamp=true", NULL);
    assert_string_equal(json_object_to_json_string_ext(json_at(answer, "rows"), JSON_C_TO_STRING_PLAIN),
                        "[{\"f\":[{\"v\":\"1\"},{\"v\":\"1.5\"},{\"v\":\"aGk=\"},{\"v\":\"1761040800000000\"},{\"v\":[{"
                        "\"v\":\"x\"},{\"v\":\"y\"}]},{\"v\":{\"f\":[{\"v\":\"7\"}]}}]}]");
    json_object_put(answer);
#define MIXED "{\"rows\":[{\"json\":{\"id\":2}},{\"json\":{\"id\":\"x\"}},{\"json\":{\"id\":3,\"zz\":1}}]"
    const char *strict = MIXED "}", *skip = MIXED ",\"skipInvalidRows\":true}";
    answer = bq_call(f, "POST", INSERT_ALL, strict);
    assert_int_equal(json_object_array_length(json_at(answer, "insertErrors")), 3);
    json_object_put(answer);
    assert_bq_value(f, "SELECT COUNT(*) AS n FROM d.t", "1");
    answer = bq_call(f, "POST", INSERT_ALL, skip);
    assert_int_equal(json_object_array_length(json_at(answer, "insertErrors")), 2);
    json_object_put(answer);
    assert_bq_value(f, "SELECT COUNT(*) AS n FROM d.t", "2");
}

int main(void)
{
    http_global_init();
    grpc_global_init();
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_datasets),
        CASE(test_tables),
        CASE(test_refusals),
        CASE(test_query_with_parameters),
        CASE(test_timestamp_formats),
        CASE(test_job_ids_over_a_restart),
        CASE(test_failed_job),
        CASE(test_paging),
        CASE(test_settings),
        CASE(test_slow_dml_can_be_cancelled_and_timed_out),
        CASE(test_request_id),
        CASE(test_dry_run),
        CASE(test_insert_all_and_list),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    grpc_global_release();
    http_global_release();
    return failed;
}
