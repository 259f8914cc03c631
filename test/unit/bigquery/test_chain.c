/* test_chain.c - the change chain against jobs over REST: order, sharing, failures. The clock runs fast (backoffs). */
#include "fake_bq.h"

static const struct column source[] = {
    {.name = "id", .type = COLUMN_INT64, .mode = COLUMN_REQUIRED},
    {.name = "modifiedOn", .type = COLUMN_TIMESTAMP},
    {.name = "createdOn", .type = COLUMN_TIMESTAMP},
};
static const struct entity jobs = {.name = "jobs",
                                   .target = {.name = "raw_jobs", .columns = source, .column_count = 3},
                                   .stage = {.name = "stage_jobs", .columns = source, .column_count = 3},
                                   .source_column_count = 3};

enum { MAX_WORKERS = 3, MAX_CALLS = 24, JOB_TIMEOUT_MS = 120000 };
static struct google_credentials *creds;
static struct warehouse workers[MAX_WORKERS];

static int set_up(void **state)
{
    struct error err = ERROR_INIT;
    (void)state;
    fake_bq_start();
    creds = google_credentials_none();
    for (int i = 0; i < MAX_WORKERS; i++) {
        struct bq_client *client = bq_client_new(&(struct bq_options){.project = "p",
                                                                      .location = "US",
                                                                      .rest_base = fake_bq->base,
                                                                      .creds = creds,
                                                                      .job_timeout_ms = JOB_TIMEOUT_MS},
                                                 &err);
        assert_non_null(client);
        workers[i] = (struct warehouse){.client = client,
                                        .names = {"p", "st_raw_v2", "st_stage_v2", "st_mart_v2", "st_logs_v2"}};
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < MAX_WORKERS; i++) {
        warehouse_release(&workers[i]);
        bq_client_free(workers[i].client);
    }
    google_credentials_free(creds);
    fake_bq_stop();
    return 0;
}

struct call {
    struct warehouse *w;
    char run[32];
    bool ok;
    struct merge_outcome outcome;
    struct error err;
    pthread_t thread;
};

static void *merge(void *user)
{
    struct call *call = user;
    call->ok = warehouse_merge(call->w, &jobs, call->run, &call->outcome, NULL, &call->err);
    return NULL;
}

/* `count` runs, the poison one among them (-1: none), each merged by a thread of one of the workers. */
static void merge_all(struct call *calls, int count, int poison)
{
    for (int i = 0; i < count; i++) {
        calls[i] = (struct call){.w = &workers[i % MAX_WORKERS]};
        snprintf(calls[i].run, sizeof calls[i].run, "run-%02d-x", i);
    }
    for (int i = 0; i < count; i++) {
        fake_announce(calls[i].run, 10 + i, i == poison);
        pthread_create(&calls[i].thread, NULL, merge, &calls[i]);
    }
    for (int i = 0; i < count; i++)
        pthread_join(calls[i].thread, NULL);
}

static void expect_merged_once(const struct call *call)
{
    if (!call->ok)
        fail_msg("%s: %s", call->run, call->err.message);
    if (fake_find_run(call->run)->merged != 1)
        fail_msg("%s was merged %d times", call->run, fake_find_run(call->run)->merged);
}

static void one_run_is_one_change(void **state)
{
    struct call call;
    (void)state;
    merge_all(&call, 1, -1);
    expect_merged_once(&call);
    assert_int_equal(call.outcome.change_number, 1);
    assert_int_equal(call.outcome.rows_changed, 100);
    assert_int_equal(call.outcome.bytes_billed, 1000);
    assert_int_equal(call.outcome.runs_in_change, 1);
    assert_int_equal(fake_bq->merges, 1);
    assert_int_equal(fake_bq->finds, 1);
    assert_int_equal(fake_bq->statements, 1); /* where the chain stands; never again in this process */
    assert_true(fake_recorded(1));
}

static void runs_of_many_workers_share_changes(void **state)
{
    struct call calls[MAX_CALLS];
    int64_t rows = 0;
    (void)state;
    merge_all(calls, MAX_CALLS, -1);
    for (int i = 0; i < MAX_CALLS; i++) {
        expect_merged_once(&calls[i]);
        rows += calls[i].outcome.rows_changed;
    }
    assert_int_equal(fake_bq->violations, 0);
    assert_true(fake_bq->merges < MAX_CALLS / 2);
    assert_true(rows <= 100 * fake_bq->merges &&
                rows > 100 * fake_bq->merges - 2 * MAX_CALLS); /* shares add up, rounded down */
}

static void a_second_process_goes_on_where_the_first_ended(void **state)
{
    struct call call;
    (void)state;
    merge_all(&call, 1, -1);
    struct call other = {.w = &workers[1], .run = "second"};
    fake_announce(other.run, 5, false);
    merge(&other);
    expect_merged_once(&other);
    assert_int_equal(other.outcome.change_number, 2);
    assert_int_equal(fake_bq->violations, 0);
}

static void a_run_merged_already_is_told_so(void **state)
{
    struct call call;
    (void)state;
    merge_all(&call, 1, -1);
    struct call again = {.w = &workers[1]};
    snprintf(again.run, sizeof again.run, "%s", call.run);
    merge(&again);
    expect_merged_once(&again);
    assert_int_equal(again.outcome.change_number, 1);
    again.w = call.w;
    merge(&again);
    expect_merged_once(&again);
    assert_int_equal(fake_bq->merges, 1);
}

static void only_the_bad_run_is_rejected(void **state)
{
    struct call calls[9];
    (void)state;
    merge_all(calls, 9, 4);
    for (int i = 0; i < 9; i++) {
        if (i != 4) {
            expect_merged_once(&calls[i]);
            continue;
        }
        assert_false(calls[i].ok);
        assert_true(calls[i].outcome.rejected);
        assert_int_equal(calls[i].err.class, ERROR_PERMANENT);
        assert_string_equal(calls[i].err.code, "invalidQuery");
        assert_true(fake_find_run(calls[i].run)->withdrawn);
        assert_int_equal(fake_find_run(calls[i].run)->merged, 0);
    }
    assert_int_equal(fake_bq->violations, 0);
}

static void weather_spends_numbers_and_passes(void **state)
{
    struct call calls[4];
    (void)state;
    fake_bq->weather = 3;
    merge_all(calls, 4, -1);
    for (int i = 0; i < 4; i++)
        expect_merged_once(&calls[i]);
    assert_true(fake_bq->merges >= 4);
    assert_int_equal(fake_bq->violations, 0);
}

static void lasting_weather_is_a_retry_not_a_rejection(void **state)
{
    struct call call;
    (void)state;
    fake_bq->weather = 1000;
    merge_all(&call, 1, -1);
    assert_false(call.ok);
    assert_false(call.outcome.rejected);
    assert_int_equal(call.err.class, ERROR_RETRY);
    assert_false(fake_find_run(call.run)->withdrawn);
}

static void a_denied_change_rejects_no_run(void **state)
{
    struct call call;
    (void)state;
    fake_bq->denied = "accessDenied";
    merge_all(&call, 1, -1);
    assert_false(call.ok);
    assert_false(call.outcome.rejected);
    assert_int_equal(call.err.class, ERROR_PERMANENT);
    assert_string_equal(call.err.code, "accessDenied");
    assert_false(fake_find_run(call.run)->withdrawn);
}

static void a_failed_find_is_repeated_under_the_next_id(void **state)
{
    struct call call;
    (void)state;
    fake_bq->failing_finds = 2;
    merge_all(&call, 1, -1);
    expect_merged_once(&call);
    assert_int_equal(fake_bq->finds, 3);
    assert_non_null(fake_find_job("st_st_raw_v2_raw_jobs_1_find3"));
}

static void a_lost_answer_is_settled_by_the_id(void **state)
{
    struct call call;
    (void)state;
    fake_bq->lost_answers = 1;
    merge_all(&call, 1, -1);
    expect_merged_once(&call);
    assert_int_equal(fake_bq->merges, 1);
    assert_true(fake_bq->conflicts >= 1);
}

/* Its own time limit should have ended it. Nobody goes on before it was seen to have ended. */
static void a_job_that_never_ends_is_cancelled_and_seen_to_end(void **state)
{
    struct call calls[3];
    (void)state;
    fake_bq->endless = 1;
    fake_bq->lost_cancels = 1;
    merge_all(calls, 3, -1);
    for (int i = 0; i < 3; i++)
        expect_merged_once(&calls[i]);
    assert_true(fake_bq->cancels >= 2);
    assert_true(fake_bq->merges >= 2);
    assert_int_equal(fake_bq->violations, 0);
}

/* ---- Too wide for one job ---- */

static void announce_wide(const char *run, int parts)
{
    fake_announce(run, 1000, false);
    fake_find_run(run)->parts = parts;
    fake_find_run(run)->wide = true;
}

static void a_wide_run_is_merged_by_parts(void **state)
{
    struct call call = {.w = &workers[0], .run = "wide"};
    (void)state;
    announce_wide(call.run, 3);
    merge(&call);
    expect_merged_once(&call);
    assert_int_equal(fake_bq->partial, 3);
    assert_int_equal(fake_bq->merges, 4);
    assert_int_equal(fake_bq->splits, 4);
    assert_int_equal(call.outcome.change_number, 4);
    assert_int_equal(call.outcome.rows_changed, 400); /* over all parts */
    assert_int_equal(call.outcome.bytes_billed, 4000);
    for (int n = 1; n <= 4; n++)
        assert_string_equal(fake_bq->changes[n - 1].runs, n < 4 ? "" : "wide");
    assert_int_equal(fake_bq->violations, 0);
    assert_non_null(fake_find_job("st_st_raw_v2_raw_jobs_1_find_split"));
}

static void a_wide_run_without_news_is_one_change(void **state)
{
    struct call call = {.w = &workers[0], .run = "wide"};
    (void)state;
    announce_wide(call.run, 0);
    merge(&call);
    expect_merged_once(&call);
    assert_int_equal(fake_bq->merges, 1);
    assert_int_equal(fake_bq->partial, 0);
    assert_int_equal(fake_bq->violations, 0);
}

static void workers_share_the_parts_and_other_runs_go_on(void **state)
{
    struct call calls[9];
    (void)state;
    for (int i = 0; i < 9; i++) {
        calls[i] = (struct call){.w = &workers[i % MAX_WORKERS]};
        snprintf(calls[i].run, sizeof calls[i].run, i < 3 ? "wide" : "run-%02d-x", i);
    }
    announce_wide("wide", 4); /* three workers have it: redelivered */
    for (int i = 0; i < 9; i++) {
        if (i >= 3)
            fake_announce(calls[i].run, 10, false);
        pthread_create(&calls[i].thread, NULL, merge, &calls[i]);
    }
    for (int i = 0; i < 9; i++)
        pthread_join(calls[i].thread, NULL);
    for (int i = 0; i < 9; i++)
        expect_merged_once(&calls[i]);
    assert_int_equal(fake_bq->partial, 4);
    assert_int_equal(fake_bq->violations, 0);
}

/* What a killed worker leaves: parts that are recorded, and one that nobody saw the end of. */
static void another_worker_goes_on_between_parts(void **state)
{
    struct call call = {.w = &workers[0], .run = "wide"}, other = {.w = &workers[1], .run = "wide"};
    struct cancel *cancel = cancel_new(NULL);
    (void)state;
    announce_wide(call.run, 5);
    fake_bq->cancel_after_parts = 2;
    fake_bq->cancel = cancel;
    assert_false(warehouse_merge(call.w, &jobs, call.run, &call.outcome, cancel, &call.err));
    assert_int_equal(call.err.class, ERROR_CANCELLED);
    assert_int_equal(fake_bq->partial, 2);
    assert_int_equal(fake_bq->change_count, 1);
    merge(&other);
    expect_merged_once(&other);
    assert_int_equal(fake_bq->partial, 5);
    assert_int_equal(other.outcome.change_number, 6);
    assert_int_equal(other.outcome.rows_changed, 500); /* of part 2, whose end it saw, to the end */
    assert_int_equal(fake_bq->violations, 0);
    cancel_free(cancel);
}

static void weather_between_parts_passes(void **state)
{
    struct call call = {.w = &workers[0], .run = "wide"};
    (void)state;
    announce_wide(call.run, 2);
    fake_bq->weather = 2;
    fake_bq->failing_splits = 2;
    merge(&call);
    expect_merged_once(&call);
    assert_int_equal(fake_bq->partial, 2);
    assert_int_equal(fake_bq->merges, 5);
    assert_non_null(fake_find_job("st_st_raw_v2_raw_jobs_1_find3_split"));
    assert_int_equal(fake_bq->violations, 0);
}

static void a_bad_part_rejects_its_run_only(void **state)
{
    struct call wide = {.w = &workers[0], .run = "wide"}, other = {.w = &workers[1], .run = "other"};
    (void)state;
    announce_wide(wide.run, 2);
    fake_find_run("wide")->poison = true;
    fake_announce(other.run, 10, false);
    merge(&other);
    merge(&wide);
    expect_merged_once(&other);
    assert_false(wide.ok);
    assert_true(wide.outcome.rejected);
    assert_true(fake_find_run("wide")->withdrawn);
    assert_int_equal(fake_bq->violations, 0);
}

static void a_group_that_cannot_be_cut_is_rejected_and_blocks_nobody(void **state)
{
    struct call wide = {.w = &workers[0], .run = "wide"}, other = {.w = &workers[1], .run = "other"};
    (void)state;
    announce_wide(wide.run, 0);
    fake_find_run("wide")->uncut = true;
    fake_announce(other.run, 10, false);
    merge(&wide);
    merge(&other);
    assert_false(wide.ok);
    assert_true(wide.outcome.rejected);
    assert_string_equal(wide.err.code, "too_many_partitions");
    expect_merged_once(&other);
    assert_int_equal(fake_bq->violations, 0);
}

static void a_part_that_changes_nothing_is_not_repeated_for_ever(void **state)
{
    struct call call = {.w = &workers[0], .run = "wide"};
    (void)state;
    announce_wide(call.run, 1000);
    fake_bq->idle = true;
    merge(&call);
    assert_false(call.ok);
    assert_int_equal(call.err.class, ERROR_RETRY);
    assert_string_equal(call.err.code, "part_idle");
    assert_int_equal(fake_bq->merges, 1);
}

static void a_run_that_nobody_announced_is_not_waited_for(void **state)
{
    struct call call = {.w = &workers[0], .run = "ghost"};
    (void)state;
    merge(&call);
    assert_false(call.ok);
    assert_string_equal(call.err.code, "run_not_ready");
    assert_int_equal(fake_bq->merges, 0);
}

static void a_cancelled_caller_leaves(void **state)
{
    struct merge_outcome outcome;
    struct error err = ERROR_INIT;
    struct cancel *cancel = cancel_new(NULL);
    (void)state;
    fake_announce("r", 1, false);
    cancel_set(cancel, "shutdown");
    assert_false(warehouse_merge(&workers[0], &jobs, "r", &outcome, cancel, &err));
    assert_int_equal(err.class, ERROR_CANCELLED);
    cancel_free(cancel);
}

int main(void)
{
    setenv("ST_CLOCK_SCALE", "100", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_run_is_one_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(runs_of_many_workers_share_changes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_second_process_goes_on_where_the_first_ended, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_run_merged_already_is_told_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_the_bad_run_is_rejected, set_up, tear_down),
        cmocka_unit_test_setup_teardown(weather_spends_numbers_and_passes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lasting_weather_is_a_retry_not_a_rejection, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_denied_change_rejects_no_run, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failed_find_is_repeated_under_the_next_id, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lost_answer_is_settled_by_the_id, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_job_that_never_ends_is_cancelled_and_seen_to_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_wide_run_is_merged_by_parts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_wide_run_without_news_is_one_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(workers_share_the_parts_and_other_runs_go_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_worker_goes_on_between_parts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(weather_between_parts_passes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_bad_part_rejects_its_run_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_group_that_cannot_be_cut_is_rejected_and_blocks_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_part_that_changes_nothing_is_not_repeated_for_ever, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_run_that_nobody_announced_is_not_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cancelled_caller_leaves, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
