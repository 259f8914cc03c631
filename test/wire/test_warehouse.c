/* test_warehouse.c - the warehouse layer against the local BigQuery, in one process: init, sync state, stage and
 * merges. The last test takes the chain out, and a key doubles. */
#include "warehouse_fixture.h"

#include "../../src/bigquery/tables.h"

enum { ROUNDS = 4, KEYS = 40 };

struct told {
    int objects, created;
};

static void tell(void *user, const char *object, bool created)
{
    struct told *told = user;
    (void)object;
    told->objects++;
    told->created += created;
}

/* A campaign whose version is a day: the key moves from partition to partition. */
static void add_campaign(struct run *run, int id, int day, const char *name)
{
    char record[512];
    snprintf(record, sizeof record,
             "{\"id\":%d,\"name\":\"%s\",\"active\":true,\"createdOn\":\"2020-01-01T00:00:00Z\",\"modifiedOn\":\"2025-%"
             "02d-%02dT10:00:00Z\"}",
             id, name, 1 + day / 28, 1 + day % 28);
    run_add(run, record);
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static void init_can_be_repeated(void **state)
{
    struct error err = ERROR_INIT;
    struct told told = {0, 0};
    bool ready = false;
    struct ddl ddl;
    (void)state;
    must(warehouse_init(&workers[1].w, tell, &told, NULL, &err), &err);
    ddl_build(&workers[1].w.names, registry, &ddl);
    assert_int_equal(told.objects, ddl.count);
    ddl_release(&ddl);
    assert_int_equal(told.created, 0);
    must(warehouse_is_ready(&workers[1].w, &ready, NULL, &err), &err);
    assert_true(ready);
}

static void sync(int64_t tenant, const char *kind, int64_t last_us)
{
    struct error err = ERROR_INIT;
    struct event_sync e = {.entity = "jobs",
                           .run_id = "r",
                           .mode = "incremental",
                           .kind = kind,
                           .tenant = tenant,
                           .last_sync_us = last_us,
                           .records_processed = 5,
                           .updated_us = clock_wall_us()};
    must(events_sync(workers[0].events, &e, NULL, &err), &err);
}

static int64_t watermark(int64_t tenant)
{
    struct error err = ERROR_INIT;
    struct sync_state sync_state;
    must(warehouse_watermark(&workers[1].w, tenant, "jobs", &sync_state, NULL, &err), &err);
    return sync_state.found ? sync_state.last_sync_us : -1;
}

static void the_watermark_is_the_maximum_within_the_newest_reset(void **state)
{
    (void)state;
    assert_int_equal(watermark(1), -1);
    sync(1, "advance", 1000000);
    sync(1, "advance", 3000000);
    sync(1, "advance", 2000000); /* late */
    sync(2, "advance", 9000000); /* another tenant */
    assert_int_equal(watermark(1), 3000000);
    sync(1, "reset", 500000);
    assert_int_equal(watermark(1), 500000);
    sync(1, "advance", 700000);
    assert_int_equal(watermark(1), 700000);
    assert_int_equal(watermark(2), 9000000);
    assert_int_equal(ask("SELECT COUNT(*) FROM `test-project.st_logs_v2.sync_state`"), 2);
}

static bool is_done(const struct task_key *task)
{
    struct error err = ERROR_INIT;
    struct task_history state;
    must(warehouse_task_history(&workers[1].w, task, &state, NULL, &err), &err);
    bool done = state.done;
    task_history_release(&state);
    return done;
}

static void run_logs_show_the_latest_and_the_briefs_queries_work(void **state)
{
    struct error err = ERROR_INIT;
    (void)state;
    struct event_run e = {.run_id = "log-1",
                          .task_id = "task-1",
                          .entity = "jobs",
                          .mode = "full",
                          .status = "running",
                          .tenant = 1,
                          .start_us = clock_wall_us()};
    must(events_run(workers[0].events, &e, NULL, &err), &err);
    const struct task_key task = {"task-1", 1, "jobs", "full"}, other_entity = {"task-1", 1, "invoices", "full"},
                          other_tenant = {"task-1", 2, "jobs", "full"}, other_mode = {"task-1", 1, "jobs", "backfill"};
    assert_false(is_done(&task));
    e.status = "success";
    e.end_us = e.start_us + 1500000;
    e.records_fetched = e.records_inserted = 12;
    must(events_run(workers[1].events, &e, NULL, &err), &err);
    assert_true(is_done(&task));
    const struct task_key *const others[] = {&other_entity, &other_tenant, &other_mode};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(is_done(others[i]));
    assert_int_equal(
        ask("SELECT duration_ms, entity_type, start_time, status, records_inserted FROM "
            "`test-project.st_logs_v2.ingestion_logs` "
            "WHERE start_time >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 48 HOUR) ORDER BY start_time DESC"),
        1500);
    assert_int_equal(ask("SELECT COUNT(*) FROM `test-project.st_logs_v2.ingestion_logs` WHERE run_id = 'log-1'"), 1);
    assert_int_equal(ask("SELECT COUNT(*) FROM `test-project.st_logs_v2.ingestion_logs` WHERE status = 'failed'"), 0);
}

static void drift_quarantine_and_checkpoints_are_kept(void **state)
{
    struct error err = ERROR_INIT;
    (void)state;
    struct event_quarantine q = {
        .run_id = "q", .entity = "jobs", .reason = "no id", .payload = SLICE_LIT("{\"a\":\"\xc3\xa9\"}"), .tenant = 1};
    must(events_quarantine(workers[0].events, &q, NULL, &err), &err);
    q.payload = SLICE_LIT("\xff\xfe");
    must(events_quarantine(workers[0].events, &q, NULL, &err), &err);
    struct event_drift d = {
        .run_id = "q", .entity = "jobs", .field = "x.y", .kind = "unknown_field", .sample = SLICE_LIT("1"), .count = 3};
    must(events_drift(workers[0].events, &d, NULL, &err), &err);
    struct event_checkpoint c = {
        .task_id = "t", .run_id = "r1", .entity = "jobs", .mode = "full", .frame = true, .frame_to_us = 5000000};
    must(events_checkpoints(workers[0].events, &c, 1, NULL, &err), &err);
    c.run_id = "r2";
    c.frame_to_us = 6000000; /* a later attempt's frame is not heard */
    must(events_checkpoints(workers[0].events, &c, 1, NULL, &err), &err);
    c.frame = false;
    c.fetch_id = 1;
    must(events_checkpoints(workers[0].events, &c, 1, NULL, &err), &err);
    assert_int_equal(ask("SELECT COUNT(*) FROM `test-project.st_logs_v2.quarantine` WHERE payload_encoding = 'base64' "
                         "AND payload = '//4='"),
                     1);
    assert_int_equal(ask("SELECT occurrences FROM `test-project.st_logs_v2.schema_drift` WHERE field = 'x.y'"), 3);
    assert_int_equal(ask("SELECT UNIX_MICROS(frame_to) FROM `test-project.st_logs_v2.checkpoints` WHERE task_id = 't' "
                         "AND kind = 'frame'"),
                     5000000);
    assert_int_equal(ask("SELECT COUNT(*) FROM `test-project.st_logs_v2.checkpoints` WHERE task_id = 't'"), 2);
}

static void a_second_identical_run_changes_no_row_and_newer_wins(void **state)
{
    struct run run;
    (void)state;
    for (int turn = 0; turn < 2; turn++) {
        run_begin(&run, &workers[turn], "locations", 1000000 + turn);
        for (int id = 1; id <= 10; id++) {
            char record[512];
            snprintf(record, sizeof record,
                     "{\"id\":%d,\"customerId\":1,\"active\":true,\"name\":\"n\",\"address\":{\"city\":\"c\"},"
                     "\"createdById\":1,"
                     "\"createdOn\":\"2025-01-01T00:00:00Z\",\"modifiedOn\":\"2025-02-%02dT00:00:00Z\",\"taxExempt\":"
                     "false,\"tagTypeIds\":[2,1]}",
                     id, id);
            run_add(&run, record);
        }
        run_announce(&run, false);
        struct merge_outcome outcome = run_merge(&run);
        assert_int_equal(outcome.rows_changed, turn == 0 ? 10 : 0);
        assert_int_equal(outcome.runs_in_change, 1);
    }
    assert_int_equal(ask("SELECT COUNT(*) FROM `test-project.st_raw_v2.raw_locations`"), 10);
    assert_int_equal(ask("SELECT COUNT(*) FROM `test-project.st_stage_v2.locations` WHERE address_city = 'c'"), 10);
}

static void add_pay(struct run *run, const char *id, const char *memo, const char *created)
{
    char record[768];
    snprintf(record, sizeof record,
             "{\"id\":%s,\"payrollId\":1,\"date\":\"2025-03-01T00:00:00Z\",\"amount\":\"12.50\",\"grossPayItemType\":"
             "\"TimesheetTime\",\"jobId\":5,"
             "\"memo\":\"%s\",\"createdOn\":\"%s\",\"modifiedOn\":\"%s\"}",
             id, memo, created, created);
    run_add(run, record);
}

#define PAY "`test-project.st_raw_v2.raw_payroll`"

static void groups_of_rows_without_identity_are_replaced_as_sets(void **state)
{
    struct run run;
    (void)state;
    run_begin(&run, &workers[0], "payroll", 10000000);
    add_pay(&run, "77", "kept", "2025-03-02T10:00:00Z");
    add_pay(&run, "null", "a", "2025-03-02T10:00:00Z");
    add_pay(&run, "null", "b", "2025-03-02T11:00:00Z");
    add_pay(&run, "null", "other day", "2025-03-05T11:00:00Z");
    run_announce(&run, true);
    assert_int_equal(run_merge(&run).rows_changed, 4);
    run_begin(&run, &workers[1], "payroll", 30000000); /* b has become c */
    add_pay(&run, "null", "a", "2025-03-02T10:00:00Z");
    add_pay(&run, "null", "c", "2025-03-02T11:00:00Z");
    run_announce(&run, true);
    assert_int_equal(run_merge(&run).rows_changed, 2);
    assert_int_equal(ask("SELECT COUNT(*) FROM " PAY " WHERE _deleted_at IS NULL"), 4);
    assert_int_equal(ask("SELECT COUNT(*) FROM " PAY " WHERE memo = 'b' AND _deleted_at IS NOT NULL"), 1);
    run_begin(&run, &workers[2], "payroll", 20000000); /* an older read comes late */
    add_pay(&run, "null", "a", "2025-03-02T10:00:00Z");
    add_pay(&run, "null", "b", "2025-03-02T11:00:00Z");
    run_announce(&run, true);
    assert_int_equal(run_merge(&run).rows_changed, 0);
    run_begin(&run, &workers[2], "payroll", 40000000); /* b is back; a read that is not whole takes nothing away */
    add_pay(&run, "null", "b", "2025-03-02T11:00:00Z");
    run_announce(&run, false);
    assert_int_equal(run_merge(&run).rows_changed, 1);
    assert_int_equal(ask("SELECT COUNT(*) FROM " PAY " WHERE _deleted_at IS NULL"), 5);
    assert_int_equal(ask("SELECT COUNT(*) - COUNT(DISTINCT id) FROM " PAY), 0);
}

/* Announces the rows of an earlier attempt as this run's own. */
static void announce_with(struct run *run, const struct run *earlier, bool full_groups)
{
    struct error err = ERROR_INIT;
    const char *const ids[] = {run->id, earlier->id};
    const struct event_staged_fetches fetches[] = {{run->id, 1, 1}, {earlier->id, 1, 1}};
    struct stage_check check;
    must(bq_appender_wait_range(earlier->appender, earlier->first, earlier->last, NULL, &err), &err);
    must(bq_appender_wait_range(run->appender, run->first, run->last, NULL, &err), &err);
    must(warehouse_verify_stage(&run->worker->w, run->entity, ids, 2, clock_wall_us() - INT64_C(86400000000), &check,
                                NULL, &err),
         &err);
    assert_int_equal(stage_check_find(&check, 0, 1)->distinct_rows, run->rows);
    assert_int_equal(stage_check_find(&check, 1, 1)->distinct_rows, earlier->rows);
    assert_int_equal(stage_check_find(&check, 1, 2)->distinct_rows, 0);
    const struct event_staged event = {.run_id = run->id,
                                       .task_id = run->id,
                                       .target = run->entity->target.name,
                                       .lane = "live",
                                       .tenant = tenant_id,
                                       .rows = run->rows + earlier->rows,
                                       .staged_min_us = stage_check_find(&check, 1, 1)->staged_min_us,
                                       .staged_max_us = stage_check_find(&check, 0, 1)->staged_max_us,
                                       .announced_us = clock_wall_us(),
                                       .fetches = fetches,
                                       .fetch_count = 2,
                                       .full_groups = full_groups};
    must(events_staged(run->worker->events, &event, NULL, &err), &err);
    stage_check_release(&check);
    record_encoder_free(run->encoder);
}

#define CAMPAIGNS "`test-project.st_raw_v2.raw_campaigns`"

static void a_run_that_resumed_brings_the_rows_of_earlier_attempts(void **state)
{
    struct run zombie, run;
    char *sql;
    (void)state;
    run_begin(&zombie, &workers[0], "campaigns", 50000000);
    for (int key = 9001; key <= 9005; key++)
        add_campaign(&zombie, key, 1, "earlier");
    run_begin(&run, &workers[1], "campaigns", 60000000);
    for (int key = 9006; key <= 9008; key++)
        add_campaign(&run, key, 2, "later");
    announce_with(&run, &zombie, false);
    assert_int_equal(run_merge(&run).rows_changed, 8);
    sql = xasprintf("SELECT COUNT(*) FROM " CAMPAIGNS " WHERE id > 9000 AND _run_id = '%s'", run.id);
    assert_int_equal(ask(sql), 8);
    free(sql);
    run_announce(&zombie, false); /* it lives, and announces what it has */
    assert_int_equal(run_merge(&zombie).rows_changed, 0);
    assert_int_equal(ask("SELECT COUNT(*) FROM " CAMPAIGNS " WHERE id > 9000"), 8);
}

/* A group that was read in two attempts, and whole in between. */
static void a_resumed_group_is_as_old_as_its_older_part(void **state)
{
    struct run part, run, between;
    static const char first[] = "2025-04-02T10:00:00Z", second[] = "2025-04-02T11:00:00Z";
    (void)state;
    run_begin(&part, &workers[0], "payroll", 100000000);
    add_pay(&part, "null", "gone since", first);
    run_begin(&between, &workers[2], "payroll", 110000000);
    add_pay(&between, "null", "edited", first);
    add_pay(&between, "null", "same", second);
    run_announce(&between, true);
    assert_int_equal(run_merge(&between).rows_changed, 2);
    run_begin(&run, &workers[1], "payroll", 120000000);
    add_pay(&run, "null", "same", second);
    announce_with(&run, &part, true);
    assert_int_equal(run_merge(&run).rows_changed, 0);
    assert_int_equal(ask("SELECT COUNT(*) FROM " PAY " WHERE createdOn >= '2025-04-01' AND memo IN ('edited', 'same')"),
                     2);
    assert_int_equal(ask("SELECT COUNT(*) FROM " PAY " WHERE createdOn >= '2025-04-01'"), 2);
    record_encoder_free(part.encoder);
}

static void checkpoint_of(const struct task_key *task, struct task_history *ret)
{
    struct error err = ERROR_INIT;
    must(warehouse_task_history(&workers[1].w, task, ret, NULL, &err), &err);
}

static void a_tasks_history_is_its_own(void **state)
{
    struct error err = ERROR_INIT;
    struct task_history history;
    struct event_checkpoint c[] = {
        {.run_id = "h1", .frame = true, .frame_to_us = 5000000, .watermark_us = 4000000},
        {.run_id = "h1",
         .column = "createdOn",
         .has_to = true,
         .to_us = 100,
         .fetch_id = 1,
         .rows = 3,
         .staged_at_us = 7},
        {.run_id = "h1", .column = "createdOn", .has_from = true, .from_us = 100, .fetch_id = 2, .staged_at_us = 8},
        {.run_id = "h2", .fetch_id = 1, .rows = 1, .staged_at_us = 9},
    };
    const struct task_key task = {"history", 1, "jobs", "full"}, others[] = {{"history", 2, "jobs", "full"},
                                                                             {"history", 1, "invoices", "full"},
                                                                             {"history", 1, "jobs", "backfill"},
                                                                             {"other", 1, "jobs", "full"}};
    (void)state;
    for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
        c[i].task_id = "history";
        c[i].entity = "jobs";
        c[i].mode = "full";
        c[i].tenant = 1;
    }
    must(events_checkpoints(workers[0].events, c, sizeof c / sizeof c[0], NULL, &err), &err);
    checkpoint_of(&task, &history);
    assert_true(history.has_frame && !history.done);
    assert_int_equal(history.frame_to_us, 5000000);
    assert_int_equal(history.watermark_us, 4000000);
    assert_string_equal(history.first_run_id, "h1");
    assert_int_equal(history.fetch_count, 3);
    assert_true(!history.fetches[0].has_from && history.fetches[0].to_us == 100 && history.fetches[0].rows == 3);
    assert_true(history.fetches[1].from_us == 100 && !history.fetches[1].has_to && !history.fetches[1].timeless);
    assert_true(history.fetches[2].timeless && history.fetches[2].staged_at_us == 9);
    task_history_release(&history);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        checkpoint_of(&others[i], &history);
        assert_true(!history.has_frame && !history.done && history.fetch_count == 0);
        task_history_release(&history);
    }
}

/* Whoever replays a task that was rejected for its data has mended something. */
static void a_rejected_tasks_windows_are_read_again(void **state)
{
    struct error err = ERROR_INIT;
    struct task_history history;
    struct event_run run = {.run_id = "h1",
                            .task_id = "history",
                            .entity = "jobs",
                            .mode = "full",
                            .status = "failed",
                            .verdict = "reject",
                            .error_class = "retry",
                            .tenant = 1,
                            .start_us = 1,
                            .end_us = 2};
    const struct task_key task = {"history", 1, "jobs", "full"};
    (void)state;
    must(events_run(workers[0].events, &run, NULL, &err), &err);
    checkpoint_of(&task, &history);
    assert_int_equal(history.fetch_count, 3); /* an outage was the reason: they are as good as before */
    task_history_release(&history);
    run.error_class = "permanent";
    must(events_run(workers[0].events, &run, NULL, &err), &err);
    checkpoint_of(&task, &history);
    assert_int_equal(history.fetch_count, 0);
    assert_int_equal(history.void_count, 3);
    assert_int_equal(history.frame_to_us, 5000000);
    task_history_release(&history);
}

struct storm {
    struct worker *worker;
    int number;
    pthread_t thread;
};

/* Each round is a run over all keys; versions of one key come from all workers in all orders. */
static int day_of(int worker, int round, int key)
{
    return (worker * 7 + round * 11 + key * 3) % 60;
}

static void *storm_main(void *user)
{
    struct storm *storm = user;
    for (int round = 0; round < ROUNDS; round++) {
        struct run run;
        run_begin(&run, storm->worker, "campaigns", 1000000 + round);
        for (int key = 1; key <= KEYS; key++) {
            char name[64];
            snprintf(name, sizeof name, "day %d", day_of(storm->number, round, key));
            add_campaign(&run, key, day_of(storm->number, round, key), name);
        }
        run_announce(&run, false);
        run_merge(&run);
    }
    return NULL;
}

static int newest_day(int key)
{
    int newest = 0;
    for (int worker = 0; worker < WORKERS; worker++)
        for (int round = 0; round < ROUNDS; round++)
            newest = day_of(worker, round, key) > newest ? day_of(worker, round, key) : newest;
    return newest;
}

#define CAMPAIGNS "`test-project.st_raw_v2.raw_campaigns`"

static void three_workers_leave_one_row_per_key_the_newest(void **state)
{
    struct storm storms[WORKERS];
    struct error err = ERROR_INIT;
    struct bq_result result;
    (void)state;
    set_dml_duration(DML_MS);
    for (int i = 0; i < WORKERS; i++) {
        storms[i] = (struct storm){.worker = &workers[i], .number = i};
        pthread_create(&storms[i].thread, NULL, storm_main, &storms[i]);
    }
    for (int i = 0; i < WORKERS; i++)
        pthread_join(storms[i].thread, NULL);
    set_dml_duration(0);
    must(bq_query_run(workers[0].client, &(struct bq_query){.sql = "SELECT id, name FROM " CAMPAIGNS " ORDER BY id"},
                      &result, NULL, &err),
         &err);
    assert_int_equal(result.row_count, KEYS);
    for (int key = 1; key <= KEYS; key++) {
        char name[64];
        snprintf(name, sizeof name, "day %d", newest_day(key));
        assert_int_equal(bq_result_int(&result, (size_t)key - 1, "id", -1), key);
        assert_string_equal(bq_result_text(&result, (size_t)key - 1, "name"), name);
    }
    bq_result_release(&result);
    int64_t changes =
        ask("SELECT COUNT(*) FROM `test-project.st_logs_v2.target_changes` WHERE target = 'raw_campaigns'");
    assert_true(changes >= 1 && changes <= WORKERS * ROUNDS);
}

/* The same statements, but nobody asks whose turn it is. */
static void *unchained_main(void *user)
{
    struct run *run = user;
    struct buf sql = BUF_INIT;
    struct error err = ERROR_INIT;
    struct bq_result result;
    const char *runs[] = {run->id};
    const struct bq_param params[] = {
        {.name = "runs", .type = BQ_PARAM_STRING_ARRAY, .strings = runs, .count = 1},
        {.name = "stage_runs", .type = BQ_PARAM_STRING_ARRAY, .strings = runs, .count = 1}};
    int64_t now = clock_wall_us();
    merge_sql(&sql, &run->worker->w.names, run->entity, NULL, 0, now - INT64_C(86400000000),
              now + INT64_C(86400000000));
    must(bq_query_run(run->worker->client, &(struct bq_query){.sql = sql.ptr, .params = params, .param_count = 2},
                      &result, NULL, &err),
         &err);
    bq_result_release(&result);
    buf_release(&sql);
    return NULL;
}

static void without_the_chain_a_key_doubles(void **state)
{
    struct run runs[2];
    pthread_t threads[2];
    (void)state;
    for (int i = 0; i < 2; i++) {
        run_begin(&runs[i], &workers[i], "campaigns", 9000000);
        add_campaign(&runs[i], 5000, 3 + i, "twice");
        run_announce(&runs[i], false);
    }
    set_dml_duration(DML_MS);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, unchained_main, &runs[i]);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    set_dml_duration(0);
    assert_int_equal(ask("SELECT COUNT(*) FROM " CAMPAIGNS " WHERE id = 5000"), 2);
}

int main(void)
{
    setenv("ST_CLOCK_SCALE", "100", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(init_can_be_repeated),
        cmocka_unit_test(the_watermark_is_the_maximum_within_the_newest_reset),
        cmocka_unit_test(run_logs_show_the_latest_and_the_briefs_queries_work),
        cmocka_unit_test(drift_quarantine_and_checkpoints_are_kept),
        cmocka_unit_test(a_second_identical_run_changes_no_row_and_newer_wins),
        cmocka_unit_test(groups_of_rows_without_identity_are_replaced_as_sets),
        cmocka_unit_test(a_resumed_group_is_as_old_as_its_older_part),
        cmocka_unit_test(a_tasks_history_is_its_own),
        cmocka_unit_test(a_rejected_tasks_windows_are_read_again),
        cmocka_unit_test(three_workers_leave_one_row_per_key_the_newest),
        cmocka_unit_test(a_run_that_resumed_brings_the_rows_of_earlier_attempts),
        cmocka_unit_test(without_the_chain_a_key_doubles),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
