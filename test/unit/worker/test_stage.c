/* What the fetches of a run have brought: accepted fetches, group days, drift, quarantine's share, and the comparison. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "run.h"

static struct column column = {.name = "id", .type = COLUMN_INT64};
static struct entity entity = {.name = "payroll",
                               .stage = {.name = "stage_payroll", .columns = &column, .column_count = 1}};
static struct settings settings = {.bq_dataset_stage = "st_stage_v2", .quarantine_percent = 5};

struct fixture {
    struct google_credentials *creds;
    struct services services;
    struct run_env env;
    struct run run;
};

/* A writer connects with its first row only: nothing listens there. */
static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct error err = ERROR_INIT;
    grpc_global_init();
    f->creds = google_credentials_none();
    const struct bq_writer_options options = {.project = "p", .target = "127.0.0.1:1", .creds = f->creds};
    f->services.writer = bq_writer_new(&options, &err);
    f->services.settings = &settings;
    f->env = (struct run_env){.services = &f->services, .settings = &settings};
    f->run = (struct run){.env = &f->env, .entity = &entity, .run_id = "run-1"};
    stage_init(&f->run);
    *state = f;
    return f->services.writer ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    stage_release(&f->run);
    bq_writer_free(f->services.writer);
    google_credentials_free(f->creds);
    grpc_global_release();
    free(f);
    return 0;
}

static struct run *run_of(void **state)
{
    return &((struct fixture *)*state)->run;
}

static void fetches_are_numbered_from_one_and_accepted_with_their_rows(void **state)
{
    struct run *run = run_of(state);
    int64_t before = metrics_value(METRIC_RECORDS_READ, METRIC_LABELS("payroll"));
    for (int64_t i = 1; i <= 40; i++) {
        assert_int_equal(stage_next_fetch(run), i);
        if (i % 4)
            stage_accept(run, i, i + 1, i, 1);
    }
    assert_int_equal(run->stage.accepted_count, 30);
    assert_int_equal(run->stage.rows, 40 * 41 / 2 - (4 + 8 + 12 + 16 + 20 + 24 + 28 + 32 + 36 + 40));
    assert_int_equal(run->stage.quarantined, 30);
    assert_int_equal(run->stage.fetched, run->stage.rows + 30);
    assert_int_equal(metrics_value(METRIC_RECORDS_READ, METRIC_LABELS("payroll")) - before, run->stage.fetched);
    assert_int_equal(run->stage.accepted[29].fetch_id, 39);
}

static void accepted_fetches_become_ranges_with_gaps(void **state)
{
    struct run *run = run_of(state);
    static const int64_t ids[] = {1, 2, 3, 5, 9, 10}, wanted[][2] = {{1, 3}, {5, 5}, {9, 10}};
    size_t count = 0;
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
        stage_accept(run, ids[i], 1, 1, 0);
    struct event_staged_fetches *ranges = merge_fetch_ranges(run, &count);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(ranges[i].run_id, "run-1");
        assert_int_equal(ranges[i].first, wanted[i][0]);
        assert_int_equal(ranges[i].last, wanted[i][1]);
    }
    free(ranges);
}

static void a_run_without_rows_needs_no_look_at_the_stage(void **state)
{
    struct run *run = run_of(state);
    struct error err = ERROR_INIT;
    stage_accept(run, 2, 3, 0, 3);
    stage_accept(run, 1, 0, 0, 0);
    assert_true(stage_verify(run, &err));                 /* the fixture has no BigQuery client */
    assert_int_equal(run->stage.accepted[0].fetch_id, 1); /* sorted all the same */
}

#define FOUND(run_, fetch, rows)                                                                                       \
    {                                                                                                                  \
        .run = (run_), .fetch_id = (fetch), .distinct_rows = (rows)                                                    \
    }

static void the_stage_must_hold_what_was_brought(void **state)
{
    struct run *run = run_of(state);
    static const struct {
        struct fetch_rows found[4]; /* by run and fetch */
        size_t count;
        bool ok;
    } cases[] = {
        {{FOUND(0, 1, 10), FOUND(0, 3, 5), FOUND(1, 1, 7)}, 3, true},
        /* 2 was given up: its rows do not matter */
        {{FOUND(0, 1, 10), FOUND(0, 2, 99), FOUND(0, 3, 5), FOUND(1, 1, 7)}, 4, true},
        {{FOUND(0, 1, 10), FOUND(1, 1, 7)}, 2, false},
        {{FOUND(0, 1, 10), FOUND(0, 3, 4), FOUND(1, 1, 7)}, 3, false},
        {{FOUND(0, 1, 11), FOUND(0, 3, 5), FOUND(1, 1, 7)}, 3, false},
        {{FOUND(0, 1, 15), FOUND(0, 3, 0), FOUND(1, 1, 7)}, 3, false}, /* the sum alone proves nothing */
        {{FOUND(0, 1, 10), FOUND(0, 3, 5)}, 2, false},                 /* the same number of another attempt */
        {{FOUND(0, 1, 7), FOUND(0, 3, 5), FOUND(1, 1, 10)}, 3, false},
        {{FOUND(0, 0, 0)}, 0, false},
    };
    const struct task_fetch earlier = {.run_id = "run-0", .fetch_id = 1, .rows = 7};
    stage_accept(run, 1, 10, 10, 0);
    stage_accept(run, 3, 5, 5, 0);
    stage_accept(run, 4, 2, 0, 2); /* nothing but quarantine: not in the stage at all */
    stage_take_over(run, &earlier);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fetch_rows found[4];
        struct error err = ERROR_INIT;
        memcpy(found, cases[i].found, sizeof found);
        const struct stage_check check = {.fetches = found, .count = cases[i].count};
        if (stage_compare(run, &check, &err) != cases[i].ok)
            fail_msg("case %zu: %s", i, err.message);
        assert_int_equal(err.class, cases[i].ok ? ERROR_NONE : ERROR_RETRY);
    }
}

/* Numbers of two runs that follow each other are no range. */
static void fetches_of_earlier_attempts_are_announced_as_theirs(void **state)
{
    struct run *run = run_of(state);
    static const struct task_fetch earlier[] = {
        {.run_id = "run-0", .fetch_id = 1, .rows = 4, .staged_at_us = 50},
        {.run_id = "run-0", .fetch_id = 2, .rows = 4, .staged_at_us = 60},
        {.run_id = "run-00", .fetch_id = 3, .rows = 4, .staged_at_us = 40},
    };
    static const struct event_staged_fetches wanted[] = {{"run-1", 3, 4}, {"run-0", 1, 2}, {"run-00", 3, 3}};
    size_t count = 0;
    run->stage.earliest_us = 100;
    for (size_t i = 0; i < sizeof earlier / sizeof earlier[0]; i++)
        stage_take_over(run, &earlier[i]);
    stage_accept(run, 4, 1, 0, 1);
    stage_accept(run, 3, 1, 0, 1);
    assert_int_equal(run->stage.earliest_us, 40);
    assert_int_equal(run->stage.rows, 12);
    assert_int_equal(run->stage.fetched, run->stage.rows + run->stage.quarantined);
    run->stage.rows = 0; /* the fixture has no BigQuery client: sort only */
    struct error err = ERROR_INIT;
    assert_true(stage_verify(run, &err));
    struct event_staged_fetches *ranges = merge_fetch_ranges(run, &count);
    assert_int_equal(count, sizeof wanted / sizeof wanted[0]);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(ranges[i].run_id, wanted[i].run_id);
        assert_int_equal(ranges[i].first, wanted[i].first);
        assert_int_equal(ranges[i].last, wanted[i].last);
    }
    free(ranges);
}

static void rows_about_to_expire_are_not_announced(void **state)
{
    struct run *run = run_of(state);
    const int64_t hour_us = INT64_C(3600000000);
    struct error err = ERROR_INIT;
    assert_true(stage_check_age(run, &err)); /* no rows */
    run->staged_min_us = clock_wall_us() - 149 * hour_us;
    assert_true(stage_check_age(run, &err));
    run->staged_min_us = clock_wall_us() - 151 * hour_us;
    assert_false(stage_check_age(run, &err));
    assert_int_equal(err.class, ERROR_RETRY);
    assert_string_equal(err.code, "stage_expiring");
}

static void group_days_are_sorted_and_distinct(void **state)
{
    struct run *run = run_of(state);
    static const int32_t days[] = {20000, -1, 20001, 20000, 7, -1, 20002}, wanted[] = {-1, 7, 20000, 20001, 20002};
    for (size_t i = 0; i < sizeof days / sizeof days[0]; i++)
        stage_add_group_day(run, days[i]);
    assert_int_equal(run->stage.group_day_count, 5);
    assert_memory_equal(run->stage.group_days, wanted, sizeof wanted);
    assert_false(run->stage.too_many_days);
}

static void too_many_group_days_are_noticed(void **state)
{
    struct run *run = run_of(state);
    for (int32_t i = 0; i < RUN_MAX_GROUP_DAYS; i++)
        stage_add_group_day(run, RUN_MAX_GROUP_DAYS - i);
    stage_add_group_day(run, 1); /* known */
    assert_false(run->stage.too_many_days);
    stage_add_group_day(run, 0);
    assert_true(run->stage.too_many_days);
    assert_int_equal(run->stage.group_day_count, RUN_MAX_GROUP_DAYS);
    assert_int_equal(run->stage.group_days[0], 1);
}

static void drift_is_counted_per_field_and_kind_within_a_bound(void **state)
{
    struct run *run = run_of(state);
    char field[32];
    stage_add_drift(run, "a", DRIFT_UNKNOWN_FIELD, 2, SLICE_LIT("first"));
    stage_add_drift(run, "a", DRIFT_UNKNOWN_FIELD, 3, SLICE_LIT("second"));
    stage_add_drift(run, "a", DRIFT_TYPE, 1, SLICE_NULL);
    assert_int_equal(run->stage.drift_count, 2);
    assert_int_equal(run->stage.drifts[0].count, 5);
    assert_string_equal(run->stage.drifts[0].sample, "first");
    assert_string_equal(run->stage.drifts[1].sample, "");
    for (int i = 0; i < 2 * RUN_MAX_DRIFTS; i++) {
        snprintf(field, sizeof field, "f%d", i);
        stage_add_drift(run, field, DRIFT_TYPE, 1, SLICE_NULL);
    }
    assert_int_equal(run->stage.drift_count, RUN_MAX_DRIFTS);
}

static void samples_are_cut_between_characters(void **state)
{
    struct run *run = run_of(state);
    char text[201] = "x";
    for (size_t i = 0; i < 99; i++)
        memcpy(text + 1 + 2 * i, "é", 2);
    stage_add_drift(run, "a", DRIFT_TYPE, 1, slice_of(text, 199));
    assert_int_equal(strlen(run->stage.drifts[0].sample), 127);
    assert_true(slice_is_utf8(slice_str(run->stage.drifts[0].sample)));
    stage_add_drift(run, "b", DRIFT_TYPE, 1, slice_of(text + 1, 198));
    assert_int_equal(strlen(run->stage.drifts[1].sample), 126);
    assert_true(slice_is_utf8(slice_str(run->stage.drifts[1].sample)));
}

static void the_share_of_bad_records_decides(void **state)
{
    struct run *run = run_of(state);
    static const struct {
        int64_t rows, quarantined;
        bool ok;
    } cases[] = {
        {0, 0, true},           {0, 20, true},                            /* a few are free */
        {0, 21, false},         {380, 20, true},         {399, 21, true}, /* 5 % of 420 */
        {398, 21, false},                                                 /* a little more */
        {1000000, 50000, true}, {1000000, 60000, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        run->stage.rows = cases[i].rows;
        run->stage.quarantined = cases[i].quarantined;
        if (stage_check_quarantine(run, &err) != cases[i].ok)
            fail_msg("case %zu: %s", i, err.message);
        assert_string_equal(err.code, cases[i].ok ? "" : "schema_broken");
        assert_int_equal(err.class, cases[i].ok ? ERROR_NONE : ERROR_PERMANENT);
    }
}

static void watermarks_only_go_forward(void **state)
{
    struct sync_cache *cache = sync_cache_new(2, 1);
    static struct entity other = {.name = "jobs"};
    int64_t us = 0;
    char token[PAGE_MAX_CONTINUE];
    (void)state;
    assert_false(sync_cache_get(cache, 1, &entity, &us, token));
    sync_cache_put(cache, 1, &entity, 100, "newer");
    sync_cache_put(cache, 1, &entity, 90, "older");
    assert_true(sync_cache_get(cache, 1, &entity, &us, token));
    assert_int_equal(us, 100);
    assert_string_equal(token, "newer"); /* the feed's place belongs to its watermark */
    assert_false(sync_cache_get(cache, 2, &entity, &us, NULL));
    sync_cache_put(cache, 2, &entity, 5, "");
    sync_cache_put(cache, 1, &other, 6, ""); /* no room: not kept, and not confused */
    assert_false(sync_cache_get(cache, 1, &other, &us, NULL));
    assert_true(sync_cache_get(cache, 2, &entity, &us, NULL));
    assert_int_equal(us, 5);
    sync_cache_free(cache);
}

#define STAGE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(fetches_are_numbered_from_one_and_accepted_with_their_rows),
        STAGE_TEST(accepted_fetches_become_ranges_with_gaps),
        STAGE_TEST(a_run_without_rows_needs_no_look_at_the_stage),
        STAGE_TEST(the_stage_must_hold_what_was_brought),
        STAGE_TEST(fetches_of_earlier_attempts_are_announced_as_theirs),
        STAGE_TEST(rows_about_to_expire_are_not_announced),
        STAGE_TEST(group_days_are_sorted_and_distinct),
        STAGE_TEST(too_many_group_days_are_noticed),
        STAGE_TEST(drift_is_counted_per_field_and_kind_within_a_bound),
        STAGE_TEST(samples_are_cut_between_characters),
        STAGE_TEST(the_share_of_bad_records_decides),
        cmocka_unit_test(watermarks_only_go_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
