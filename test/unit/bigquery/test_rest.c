/* test_rest.c - the REST client: request bodies, results, retries, against scripted answers over HTTP. The clock runs
 * fast. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../../src/bigquery/result.h"
#include "base/json.h"
#include "base/log.h"
#include "bigquery/client.h"
#include "net/http.h"
#include "net/http_server.h"

enum { MAX_ANSWERS = 32 };

struct script {
    struct http_server *server;
    pthread_mutex_t mutex;
    struct {
        int status;
        const char *body;
    } answers[MAX_ANSWERS];
    size_t count, next;
    char *paths[MAX_ANSWERS], *bodies[MAX_ANSWERS];
    struct google_credentials *creds;
    struct bq_client *client;
};

static void play(void *user, struct http_exchange *x)
{
    struct script *s = user;
    pthread_mutex_lock(&s->mutex);
    if (s->next >= s->count) {
        http_exchange_reply(x, 418, "text/plain", SLICE_LIT("no more answers"));
    } else {
        size_t i = s->next++;
        const char *location = http_exchange_query(x, "location");
        s->paths[i] = xasprintf("%s %s%s%s", http_exchange_method(x), http_exchange_path(x), location ? " in " : "",
                                location ? location : "");
        s->bodies[i] = xstrndup(http_exchange_body(x).ptr, http_exchange_body(x).len);
        if (s->answers[i].status == 0)
            http_exchange_abort(x);
        else
            http_exchange_reply(x, s->answers[i].status, "application/json", slice_str(s->answers[i].body));
    }
    pthread_mutex_unlock(&s->mutex);
}

static int set_up(void **state)
{
    struct error err = ERROR_INIT;
    char base[64];
    struct script *s = xcalloc(1, sizeof *s);
    http_global_init();
    pthread_mutex_init(&s->mutex, NULL);
    s->server =
        http_server_start(&(struct http_server_options){.bind_address = "127.0.0.1", .handler = play, .user = s}, &err);
    assert_non_null(s->server);
    snprintf(base, sizeof base, "http://127.0.0.1:%d/", http_server_port(s->server));
    s->creds = google_credentials_none();
    s->client = bq_client_new(
        &(struct bq_options){.project = "p-1", .location = "EU", .rest_base = base, .creds = s->creds}, &err);
    assert_non_null(s->client);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct script *s = *state;
    bq_client_free(s->client);
    google_credentials_free(s->creds);
    http_server_stop(s->server, 1000);
    for (size_t i = 0; i < s->next; i++) {
        free(s->paths[i]);
        free(s->bodies[i]);
    }
    free(s);
    return 0;
}

static void answer(struct script *s, int status, const char *body)
{
    s->answers[s->count].status = status;
    s->answers[s->count++].body = body;
}

#define BACKEND_ERROR "{\"error\":{\"errors\":[{\"reason\":\"backendError\",\"message\":\"m\"}],\"message\":\"m\"}}"
#define DONE_SELECT                                                                                                    \
    "{\"status\":{\"state\":\"DONE\"},\"statistics\":{\"query\":{\"statementType\":\"SELECT\",\"totalBytesBilled\":"   \
    "\"10485760\"}}}"
#define RUNNING "{\"status\":{\"state\":\"RUNNING\"}}"

static void a_query_goes_from_insert_to_rows(void **state)
{
    struct script *s = *state;
    struct bq_result result;
    struct error err = ERROR_INIT;
    const struct bq_query query = {.sql = "SELECT 1"};
    answer(s, 200, "{}");
    answer(s, 404, "{}"); /* not known yet */
    answer(s, 200, RUNNING);
    answer(s, 200, DONE_SELECT);
    answer(s, 200,
           "{\"jobComplete\":true,\"pageToken\":\"t/"
           "1\",\"schema\":{\"fields\":[{\"name\":\"n\",\"type\":\"INTEGER\"},{\"name\":\"a\",\"type\":\"RECORD\"}]},"
           "\"rows\":[{\"f\":[{\"v\":\"7\"},{\"v\":[{\"v\":\"x\"}]}]}]}");
    answer(s, 200, "{\"jobComplete\":true,\"rows\":[{\"f\":[{\"v\":null},{\"v\":\"y\"}]}]}");
    if (!bq_query_run(s->client, &query, &result, NULL, &err))
        fail_msg("%s", err.message);
    assert_int_equal(result.row_count, 2);
    assert_int_equal(bq_result_int(&result, 0, "n", -1), 7);
    assert_string_equal(bq_result_text(&result, 0, "a"), "[{\"v\":\"x\"}]");
    assert_null(bq_result_text(&result, 1, "n"));
    assert_int_equal(bq_result_int(&result, 1, "n", -1), -1);
    assert_null(bq_result_text(&result, 0, "nope"));
    assert_int_equal(result.bytes_billed, 10485760);
    assert_int_equal(s->next, 6);
    assert_string_equal(s->paths[0], "POST /bigquery/v2/projects/p-1/jobs");
    assert_non_null(strstr(s->paths[1], "GET /bigquery/v2/projects/p-1/jobs/st_q_"));
    assert_non_null(strstr(s->paths[1], " in EU"));
    assert_non_null(strstr(s->paths[4], "/queries/st_q_"));
    bq_result_release(&result);
}

static void an_estimate_is_one_dry_run_without_an_id(void **state)
{
    struct script *s = *state;
    struct error err = ERROR_INIT;
    struct bq_estimate estimate = {"", -1};
    const struct bq_query query = {.sql = "SELECT 1"};
    answer(s, 503, BACKEND_ERROR);
    answer(s, 200,
           "{\"status\":{\"state\":\"DONE\"},\"statistics\":{\"totalBytesProcessed\":\"1234\",\"query\":{"
           "\"statementType\":\"SELECT\"}}}");
    if (!bq_query_estimate(s->client, &query, &estimate, NULL, &err))
        fail_msg("%s", err.message);
    assert_string_equal(estimate.statement_type, "SELECT");
    assert_int_equal(estimate.bytes_processed, 1234);
    assert_int_equal(s->next, 2);
    assert_string_equal(s->paths[1], "POST /bigquery/v2/projects/p-1/jobs");
    assert_non_null(strstr(s->bodies[1], "\"dryRun\":true"));
    assert_non_null(strstr(s->bodies[1], "\"location\":\"EU\""));
    assert_null(strstr(s->bodies[1], "jobId"));
    answer(s, 400, "{\"error\":{\"errors\":[{\"reason\":\"invalidQuery\",\"message\":\"no\"}],\"message\":\"no\"}}");
    assert_false(bq_query_estimate(s->client, &query, &estimate, NULL, &err));
    assert_string_equal(err.code, "invalidQuery");
}

static void the_same_id_is_tried_again_when_the_answer_is_lost(void **state)
{
    struct script *s = *state;
    struct error err = ERROR_INIT;
    const struct bq_query query = {.sql = "SELECT 1"};
    answer(s, 0, NULL);
    answer(s, 503, BACKEND_ERROR);
    answer(s, 409, "{}");
    assert_int_equal(bq_job_insert(s->client, "job-1", &query, NULL, &err), BQ_INSERT_EXISTS);
    assert_int_equal(s->next, 3);
    assert_string_equal(s->bodies[0], s->bodies[2]);
    assert_non_null(strstr(s->bodies[0], "\"jobId\":\"job-1\""));
    assert_non_null(strstr(s->bodies[0], "\"location\":\"EU\""));
    assert_non_null(strstr(s->bodies[0], "\"useLegacySql\":false"));
}

static void a_failed_job_gets_a_new_id_only_for_the_weather(void **state)
{
    struct script *s = *state;
    struct bq_result result;
    struct error err = ERROR_INIT;
    const struct bq_query query = {.sql = "SELECT 1"};
    answer(s, 200, "{}");
    answer(s, 200,
           "{\"status\":{\"state\":\"DONE\",\"errorResult\":{\"reason\":\"jobBackendError\",\"message\":\"m\"}}}");
    answer(s, 200, "{}");
    answer(s, 200,
           "{\"status\":{\"state\":\"DONE\",\"errorResult\":{\"reason\":\"invalidQuery\",\"message\":\"no such "
           "column\"}}}");
    assert_false(bq_query_run(s->client, &query, &result, NULL, &err));
    assert_int_equal(s->next, 4);
    assert_string_not_equal(s->bodies[0], s->bodies[2]);
    assert_int_equal(err.class, ERROR_PERMANENT);
    assert_string_equal(err.code, "invalidQuery");
    assert_non_null(strstr(err.message, "no such column"));
}

/* Each answer of a job's life is lost once, with its effect and without: it is the same job all along. */
static void a_query_outlives_every_lost_answer(void **state)
{
    struct script *s = *state;
    struct bq_result result;
    struct error err = ERROR_INIT;
    const struct bq_query query = {.sql = "SELECT 1"};
    answer(s, 0, NULL); /* the insert: it had arrived */
    answer(s, 409, "{}");
    answer(s, 404, "{}"); /* the looks: not known yet, lost, refused, cut, running */
    answer(s, 0, NULL);
    answer(s, 503, BACKEND_ERROR);
    answer(s, 200, "{\"status\":{\"sta");
    answer(s, 200, RUNNING);
    answer(s, 404, "{}");
    answer(s, 200, DONE_SELECT);
    answer(s, 0, NULL); /* the rows */
    answer(s, 200,
           "{\"jobComplete\":true,\"schema\":{\"fields\":[{\"name\":\"n\",\"type\":\"INTEGER\"}]},"
           "\"rows\":[{\"f\":[{\"v\":\"7\"}]}]}");
    if (!bq_query_run(s->client, &query, &result, NULL, &err))
        fail_msg("%s", err.message);
    assert_int_equal(bq_result_int(&result, 0, "n", -1), 7);
    assert_int_equal(s->next, 11);
    assert_string_equal(s->bodies[0], s->bodies[1]);
    for (int look = 3; look < 9; look++)
        assert_string_equal(s->paths[2], s->paths[look]);
    bq_result_release(&result);
}

/* The id is taken, but nobody knows the job, ever: that is no success. */
static void a_job_that_never_shows_is_lost_not_done(void **state)
{
    struct script *s = *state;
    struct bq_result result;
    struct error err = ERROR_INIT;
    const struct bq_query query = {.sql = "SELECT 1"};
    answer(s, 409, "{}");
    for (int look = 0; look < 20; look++)
        answer(s, 404, "{}");
    assert_false(bq_query_run(s->client, &query, &result, NULL, &err));
    assert_int_equal(err.class, ERROR_RETRY);
    assert_string_equal(err.code, "job_lost");
    assert_int_equal(s->next, 21);
}

static void cancelling_ends_with_the_shutdown_also_in_an_outage(void **state)
{
    struct script *s = *state;
    struct error err = ERROR_INIT;
    struct cancel *cancel = cancel_new(NULL);
    bool created;
    cancel_set(cancel, "shutdown");
    assert_false(bq_job_cancel(s->client, "j", cancel, &err));
    assert_int_equal(err.class, ERROR_CANCELLED);
    assert_false(bq_ensure_dataset(s->client, "d", "text", &created, cancel, &err));
    assert_int_equal(err.class, ERROR_CANCELLED);
    assert_int_equal(s->next, 0);
    cancel_free(cancel);
}

static void what_cannot_pass_is_not_repeated(void **state)
{
    struct script *s = *state;
    struct error err = ERROR_INIT;
    struct bq_job job;
    answer(s, 500,
           "{\"error\":{\"errors\":[{\"reason\":\"bytesBilledLimitExceeded\"}],\"message\":\"Query exceeded limit\"}}");
    assert_false(bq_job_get(s->client, "j", &job, NULL, &err));
    assert_int_equal(s->next, 1);
    assert_int_equal(err.class, ERROR_PERMANENT);
    answer(s, 403, "{\"error\":{\"errors\":[{\"reason\":\"quotaExceeded\"}],\"message\":\"m\"}}");
    assert_false(bq_job_get(s->client, "j", &job, NULL, &err));
    assert_int_equal(s->next, 2); /* minutes are not waited for here */
    assert_int_equal(err.class, ERROR_THROTTLED);
    assert_true(err.wait_ms >= 600000);
}

static void absent_is_not_done(void **state)
{
    struct script *s = *state;
    struct error err = ERROR_INIT;
    struct bq_job job;
    answer(s, 404, "{}");
    assert_true(bq_job_get(s->client, "j", &job, NULL, &err));
    assert_int_equal(job.state, BQ_JOB_ABSENT);
    answer(s, 200, RUNNING);
    answer(s, 404, "{}"); /* for a moment, after it has been seen */
    answer(s, 200,
           "{\"status\":{\"state\":\"DONE\"},\"statistics\":{\"startTime\":\"1000\",\"endTime\":\"2000\",\"query\":{"
           "\"numDmlAffectedRows\":\"5\","
           "\"dmlStats\":{\"insertedRowCount\":\"3\",\"updatedRowCount\":\"2\"}}}}");
    assert_true(bq_job_wait(s->client, "j", 100000, &job, NULL, &err));
    assert_int_equal(job.state, BQ_JOB_DONE);
    assert_false(job.failed);
    assert_int_equal(job.affected_rows, 5);
    assert_int_equal(job.inserted_rows, 3);
    assert_int_equal(job.updated_rows, 2);
    assert_int_equal(job.end_us, 2000000);
    bq_job_release(&job);
}

static void datasets_that_exist_are_left_alone(void **state)
{
    struct script *s = *state;
    struct error err = ERROR_INIT;
    bool created = true;
    answer(s, 200, "{\"kind\":\"bigquery#dataset\"}");
    assert_true(bq_ensure_dataset(s->client, "d", "text", &created, NULL, &err));
    assert_false(created);
    answer(s, 404, "{}");
    answer(s, 409, "{}");
    assert_true(bq_ensure_dataset(s->client, "d", "text", &created, NULL, &err));
    assert_false(created);
    answer(s, 404, "{}");
    answer(s, 200, "{}");
    assert_true(bq_ensure_dataset(s->client, "d", "text", &created, NULL, &err));
    assert_true(created);
    assert_non_null(strstr(s->bodies[4], "\"location\":\"EU\""));
}

static void parameters_and_labels_take_googles_form(void **state)
{
    static const char *const strings[] = {"a", "b\"c"};
    static const int64_t numbers[] = {1, -2};
    const struct bq_param params[] = {
        {.name = "s", .type = BQ_PARAM_STRING, .string = "x\ny"},
        {.name = "null", .type = BQ_PARAM_STRING},
        {.name = "n", .type = BQ_PARAM_INT64, .number = INT64_MIN},
        {.name = "t", .type = BQ_PARAM_TIMESTAMP, .number = 1761040800000001},
        {.name = "b", .type = BQ_PARAM_BOOL, .number = 1},
        {.name = "ss", .type = BQ_PARAM_STRING_ARRAY, .strings = strings, .count = 2},
        {.name = "ns", .type = BQ_PARAM_INT64_ARRAY, .numbers = numbers, .count = 2},
        {.name = "none", .type = BQ_PARAM_STRING_ARRAY},
    };
    const struct bq_label labels[] = {{"St_Run", "A.B c"}, {"9", "x"}};
    const struct bq_query query = {.sql = "SELECT '\"'",
                                   .params = params,
                                   .param_count = 8,
                                   .labels = labels,
                                   .label_count = 2,
                                   .max_bytes_billed = 5};
    struct script *s = *state;
    struct error err = ERROR_INIT;
    answer(s, 200, "{}");
    assert_int_equal(bq_job_insert(s->client, "j", &query, NULL, &err), BQ_INSERTED);
    struct json_object *body = json_parse(slice_str(s->bodies[0]), "body", &err);
    if (!body)
        fail_msg("%s", err.message);
    static const struct {
        const char *type, *value;
    } expected[] = {{"STRING", "{ \"value\": \"x\\ny\" }"},
                    {"STRING", "{ \"value\": null }"},
                    {"INT64", "{ \"value\": \"-9223372036854775808\" }"},
                    {"TIMESTAMP", "{ \"value\": \"2025-10-21 10:00:00.000001+00:00\" }"},
                    {"BOOL", "{ \"value\": \"true\" }"},
                    {"ARRAY", "{ \"arrayValues\": [ { \"value\": \"a\" }, { \"value\": \"b\\\"c\" } ] }"},
                    {"ARRAY", "{ \"arrayValues\": [ { \"value\": \"1\" }, { \"value\": \"-2\" } ] }"},
                    {"ARRAY", "{ \"arrayValues\": [ ] }"}};
    struct json_object *list = json_at(body, "configuration.query.queryParameters");
    for (size_t i = 0; i < 8; i++) {
        struct json_object *param = json_object_array_get_idx(list, i);
        assert_string_equal(json_text_at(param, "name", ""), params[i].name);
        assert_string_equal(json_text_at(param, "parameterType.type", ""), expected[i].type);
        assert_string_equal(json_object_to_json_string(json_at(param, "parameterValue")), expected[i].value);
    }
    assert_string_equal(json_text_at(body, "configuration.labels.st_run", ""), "a_b_c");
    assert_string_equal(json_text_at(body, "configuration.labels.x9", ""), "x");
    assert_string_equal(json_text_at(body, "configuration.labels.app", ""), "st-ingestor");
    assert_string_equal(json_text_at(body, "configuration.query.maximumBytesBilled", ""), "5");
    assert_string_equal(json_text_at(body, "configuration.query.query", ""), query.sql);
    assert_string_equal(json_text_at(body, "configuration.query.parameterMode", ""), "NAMED");
    json_object_put(body);
}

static void labels_of_the_scope_stand_where_the_query_has_none(void **state)
{
    const struct log_context scope = {"c", "0B0C-run", "task", "invoices", "full", 42};
    const struct bq_label own = {"st_entity", "jobs"};
    const struct bq_query query = {.sql = "SELECT 1", .labels = &own, .label_count = 1};
    struct script *s = *state;
    struct error err = ERROR_INIT;
    answer(s, 200, "{}");
    answer(s, 200, "{}");
    assert_int_equal(bq_job_insert(s->client, "j", &query, NULL, &err), BQ_INSERTED);
    log_scope_set(&scope);
    assert_int_equal(bq_job_insert(s->client, "k", &query, NULL, &err), BQ_INSERTED);
    log_scope_set(NULL);
    static const char *const expected[] = {
        "{ \"app\": \"st-ingestor\", \"st_entity\": \"jobs\" }",
        "{ \"app\": \"st-ingestor\", \"st_entity\": \"jobs\", \"st_run\": \"0b0c-run\", \"st_tenant\": \"42\", "
        "\"st_mode\": \"full\" }"};
    for (int i = 0; i < 2; i++) {
        struct json_object *body = json_parse(slice_str(s->bodies[i]), "body", &err);
        assert_string_equal(json_object_to_json_string(json_at(body, "configuration.labels")), expected[i]);
        json_object_put(body);
    }
}

static void broken_results_are_errors(void **state)
{
    static const char *const pages[] = {"{}", "{\"schema\":{\"fields\":7}}",
                                        "{\"schema\":{\"fields\":[{\"name\":\"a\"}]},\"rows\":[{\"f\":[]}]}",
                                        "{\"schema\":{\"fields\":[{\"name\":\"a\"}]},\"rows\":[7]}"};
    (void)state;
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        struct bq_result result = {0};
        struct error err = ERROR_INIT;
        size_t bytes = 0;
        struct json_object *page = json_parse(slice_str(pages[i]), "page", NULL);
        assert_false(bq_result_add_page(&result, page, &bytes, &err));
        assert_string_equal(err.code, "bad_answer");
        bq_result_release(&result);
        json_object_put(page);
    }
}

static void plaintext_far_away_is_refused(void **state)
{
    struct error err = ERROR_INIT;
    (void)state;
    assert_null(bq_client_new(&(struct bq_options){.project = "p", .rest_base = "http://example.com"}, &err));
    assert_string_equal(err.code, "config_value");
    assert_null(bq_client_new(&(struct bq_options){.project = "", .rest_base = NULL}, &err));
}

int main(void)
{
    setenv("ST_CLOCK_SCALE", "100", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_query_goes_from_insert_to_rows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_estimate_is_one_dry_run_without_an_id, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_same_id_is_tried_again_when_the_answer_is_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failed_job_gets_a_new_id_only_for_the_weather, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_query_outlives_every_lost_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_job_that_never_shows_is_lost_not_done, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cancelling_ends_with_the_shutdown_also_in_an_outage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_pass_is_not_repeated, set_up, tear_down),
        cmocka_unit_test_setup_teardown(absent_is_not_done, set_up, tear_down),
        cmocka_unit_test_setup_teardown(datasets_that_exist_are_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(parameters_and_labels_take_googles_form, set_up, tear_down),
        cmocka_unit_test_setup_teardown(labels_of_the_scope_stand_where_the_query_has_none, set_up, tear_down),
        cmocka_unit_test(broken_results_are_errors),
        cmocka_unit_test(plaintext_far_away_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
