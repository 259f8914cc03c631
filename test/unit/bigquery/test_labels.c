/* test_labels.c - what the jobs of the change chain say of themselves, and who counts what they cost. */
#include "fake_bq.h"

#include "base/log.h"
#include "base/metrics.h"

static const struct column source[] = {
    {.name = "id", .type = COLUMN_INT64, .mode = COLUMN_REQUIRED},
    {.name = "modifiedOn", .type = COLUMN_TIMESTAMP},
    {.name = "createdOn", .type = COLUMN_TIMESTAMP},
};
static const struct entity jobs = {.name = "jobs",
                                   .target = {.name = "raw_jobs", .columns = source, .column_count = 3},
                                   .stage = {.name = "stage_jobs", .columns = source, .column_count = 3},
                                   .source_column_count = 3};

enum { WORKERS = 3, RUNS = 18, MERGE_BYTES = 1000 };
static struct google_credentials *creds;
static struct warehouse workers[WORKERS];

static int set_up(void **state)
{
    struct error err = ERROR_INIT;
    (void)state;
    fake_bq_start();
    creds = google_credentials_none();
    for (int i = 0; i < WORKERS; i++) {
        const struct bq_options options = {.project = "p", .rest_base = fake_bq->base, .creds = creds};
        workers[i] = (struct warehouse){.client = bq_client_new(&options, &err),
                                        .names = {"p", "st_raw_v2", "st_stage_v2", "st_mart_v2", "st_logs_v2"}};
        assert_non_null(workers[i].client);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < WORKERS; i++) {
        warehouse_release(&workers[i]);
        bq_client_free(workers[i].client);
    }
    google_credentials_free(creds);
    fake_bq_stop();
    return 0;
}

/* A run on its own thread, as the worker's slots do it: the thread's scope is the run's. */
struct call {
    struct warehouse *w;
    struct log_context scope;
    char run[32];
    struct error err;
    bool ok;
    pthread_t thread;
};

static void *merge(void *user)
{
    struct call *call = user;
    struct merge_outcome outcome;
    log_scope_set(&call->scope);
    call->ok = warehouse_merge(call->w, &jobs, call->run, &outcome, NULL, &call->err);
    log_scope_set(NULL);
    return NULL;
}

static void merge_all(struct call *calls, int count)
{
    for (int i = 0; i < count; i++) {
        calls[i] = (struct call){.w = &workers[i % WORKERS]};
        snprintf(calls[i].run, sizeof calls[i].run, "run-%02d-x", i);
        calls[i].scope = (struct log_context){"v2-ingestor:ingestor:jobs", calls[i].run, "t", "jobs", "full", 100 + i};
        fake_announce(calls[i].run, 10 + i, false);
    }
    for (int i = 0; i < count; i++)
        pthread_create(&calls[i].thread, NULL, merge, &calls[i]);
    for (int i = 0; i < count; i++) {
        pthread_join(calls[i].thread, NULL);
        if (!calls[i].ok)
            fail_msg("%s: %s", calls[i].run, calls[i].err.message);
    }
}

static const char *label(const struct fake_job *job, const char *key)
{
    char path[64];
    snprintf(path, sizeof path, "labels.%s", key);
    return json_text_at(job->configuration, path, "none");
}

static void a_run_alone_is_named_in_every_job(void **state)
{
    struct call call;
    (void)state;
    merge_all(&call, 1);
    assert_true(fake_bq->job_count >= 3); /* where the chain stands, find, merge */
    for (size_t i = 0; i < fake_bq->job_count; i++) {
        const struct fake_job *job = &fake_bq->jobs[i];
        assert_string_equal(label(job, "app"), "st-ingestor");
        assert_string_not_equal(label(job, "st_step"), "none");
        assert_string_equal(label(job, "st_target"), "raw_jobs");
        assert_string_equal(label(job, "st_run"), "run-00-x");
        assert_string_equal(label(job, "st_entity"), "jobs");
        assert_string_equal(label(job, "st_tenant"), "100");
        assert_string_equal(label(job, "st_mode"), "full");
    }
}

static size_t runs_of(const struct fake_job *job)
{
    struct json_object *params = json_at(job->configuration, "query.queryParameters");
    struct json_object *runs = json_at(json_object_array_get_idx(params, 0), "parameterValue.arrayValues");
    return json_object_array_length(runs);
}

static void a_merge_of_several_names_who_inserted_it_and_how_many_it_takes(void **state)
{
    struct call calls[RUNS];
    int64_t before = metrics_value(METRIC_BQ_BYTES_BILLED, METRIC_LABELS("merge"));
    size_t merges = 0, shared = 0;
    (void)state;
    merge_all(calls, RUNS);
    for (size_t i = 0; i < fake_bq->job_count; i++) {
        const struct fake_job *job = &fake_bq->jobs[i];
        char expected[16];
        if (strcmp(label(job, "st_step"), "merge") != 0)
            continue;
        size_t runs = runs_of(job);
        snprintf(expected, sizeof expected, "%zu", runs);
        assert_string_equal(label(job, "st_runs"), expected);
        assert_non_null(fake_find_run(label(job, "st_run")));
        if (runs > 1)
            assert_string_equal(label(job, "st_tenant"), "several");
        merges++;
        shared += runs > 1;
    }
    assert_int_equal(merges, (size_t)fake_bq->merges);
    assert_true(shared > 0);
    /* Every worker sees every change end; the bill is counted once. */
    assert_int_equal(metrics_value(METRIC_BQ_BYTES_BILLED, METRIC_LABELS("merge")) - before,
                     (int64_t)merges * MERGE_BYTES);
}

static void retries_are_counted(void **state)
{
    struct call call;
    int64_t before = metrics_value(METRIC_RETRIES, METRIC_LABELS("bigquery"));
    (void)state;
    fake_bq->weather = 2;
    log_set_level(LOG_LEVEL_ERROR);
    merge_all(&call, 1);
    log_set_level(LOG_LEVEL_INFO);
    assert_int_equal(metrics_value(METRIC_RETRIES, METRIC_LABELS("bigquery")) - before, 2);
}

int main(void)
{
    setenv("ST_CLOCK_SCALE", "100", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_run_alone_is_named_in_every_job, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_merge_of_several_names_who_inserted_it_and_how_many_it_takes, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(retries_are_counted, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
