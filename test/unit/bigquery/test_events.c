/* test_events.c - events as rows: each value under its column, what is not text made text, durable before the call
 * returns. */
#include "fake_write.h"

#include "../record/row_view.h"
#include "../../../src/bigquery/tables.h"

struct fixture {
    struct fake_write *fake;
    struct google_credentials *creds;
    struct bq_writer *writer;
    struct events *events;
};

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    f->fake = fake_write_start();
    f->creds = google_credentials_none();
    f->writer = fake_writer(f->fake, f->creds, 300);
    f->events = events_new(f->writer, "logs");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    events_free(f->events);
    bq_writer_free(f->writer);
    google_credentials_free(f->creds);
    fake_write_stop(f->fake);
    free(f);
    return 0;
}

/* The last stored row as text. */
static char *last(struct fixture *f, const struct table_schema *table)
{
    struct buf out = BUF_INIT;
    fake_sync(f->fake);
    size_t i = f->fake->row_count - 1;
    assert_true(f->fake->row_count > 0);
    row_view(&out, table->columns, table->column_count, slice_of(f->fake->rows[i], f->fake->lengths[i]));
    fake_sync(f->fake);
    return buf_detach(&out);
}

static void expect(struct fixture *f, const struct table_schema *table, const char *const *parts)
{
    char *text = last(f, table);
    for (; *parts; parts++)
        if (!strstr(text, *parts))
            fail_msg("no '%s' in: %s", *parts, text);
    assert_null(strstr(text, "event_time")); /* the server's */
    free(text);
}

static void each_kind_is_a_row_of_its_table(void **state)
{
    struct fixture *f = *state;
    struct error err = ERROR_INIT;
    const struct event_staged_fetches fetches[] = {{"r", 1, 3}, {"earlier", 7, 7}};
    const char *const runs[] = {"r", "s"};
    const struct event_staged staged = {.run_id = "r",
                                        .target = "raw_jobs",
                                        .lane = "live",
                                        .tenant = 9,
                                        .rows = 5,
                                        .staged_min_us = 1,
                                        .staged_max_us = 2,
                                        .fetches = fetches,
                                        .fetch_count = 2,
                                        .full_groups = true};
    assert_true(events_staged(f->events, &staged, NULL, &err));
    assert_string_equal(f->fake->stream_name, "projects/p/datasets/logs/tables/staged_run_events/streams/_default");
    expect(f, &table_staged_run_events,
           (const char *const[]){"row_count=5", "first_fetch=1", "last_fetch=3", "first_fetch=7", "run_id=\"earlier\"",
                                 "withdrawn=", NULL});
    const struct event_change change = {.target = "raw_jobs",
                                        .job_id = "j",
                                        .state = "failed",
                                        .error_code = "invalidQuery",
                                        .number = 4,
                                        .rows_inserted = 2,
                                        .run_ids = runs,
                                        .run_count = 2};
    assert_true(events_change(f->events, &change, NULL, &err));
    expect(f, &table_target_change_events,
           (const char *const[]){"change_number=4", "state=\"failed\"", "\"r\",\"s\"", NULL});
    const struct event_sync sync = {
        .entity = "jobs", .kind = "advance", .tenant = 9, .last_sync_us = 5, .records_processed = 3};
    assert_true(events_sync(f->events, &sync, NULL, &err));
    expect(f, &table_sync_state_events, (const char *const[]){"entity_type=\"jobs\"", "records_processed=3", NULL});
}

static void a_checkpoint_says_what_it_has(void **state)
{
    struct fixture *f = *state;
    struct error err = ERROR_INIT;
    const struct event_checkpoint frame = {.task_id = "t", .frame = true, .frame_to_us = 9, .watermark_us = 8},
                                  fetch = {.task_id = "t",
                                           .column = "createdOn",
                                           .has_to = true,
                                           .to_us = 5,
                                           .rows = 3,
                                           .fetch_id = 2},
                                  timeless = {.task_id = "t", .fetch_id = 4};
    assert_true(events_checkpoints(f->events, &frame, 1, NULL, &err));
    expect(f, &table_checkpoint_events, (const char *const[]){"kind=\"frame\"", "frame_to=", "watermark=", NULL});
    assert_true(events_checkpoints(f->events, &fetch, 1, NULL, &err));
    expect(f, &table_checkpoint_events,
           (const char *const[]){"kind=\"fetch\"", "column_name=\"createdOn\"", "window_to=", "row_count=3", NULL});
    char *text = last(f, &table_checkpoint_events);
    assert_null(strstr(text, "window_from")); /* the beginning of time */
    assert_null(strstr(text, "frame_to"));
    free(text);
    assert_true(events_checkpoints(f->events, &timeless, 1, NULL, &err));
    text = last(f, &table_checkpoint_events);
    assert_null(strstr(text, "column_name"));
    assert_non_null(strstr(text, "fetch_id=4"));
    free(text);
}

static void a_run_that_goes_on_has_no_end(void **state)
{
    struct fixture *f = *state;
    struct error err = ERROR_INIT;
    struct event_run run = {.run_id = "r", .entity = "jobs", .status = "running", .start_us = 1000000};
    assert_true(events_run(f->events, &run, NULL, &err));
    char *text = last(f, &table_ingestion_log_events);
    assert_null(strstr(text, "end_time"));
    assert_null(strstr(text, "duration_ms"));
    assert_null(strstr(text, "error_message"));
    free(text);
    run.status = "failed";
    run.end_us = 3500000;
    run.error_message = "no luck";
    assert_true(events_run(f->events, &run, NULL, &err));
    expect(f, &table_ingestion_log_events,
           (const char *const[]){"duration_ms=2500", "error_message=\"no luck\"", NULL});
}

static void foreign_bytes_cannot_break_a_request(void **state)
{
    struct fixture *f = *state;
    struct error err = ERROR_INIT;
    struct event_quarantine quarantine = {
        .run_id = "r", .entity = "jobs", .reason = "bad \xff", .payload = SLICE_LIT("\xff\xfe")};
    assert_true(events_quarantine(f->events, &quarantine, NULL, &err));
    expect(f, &table_quarantine,
           (const char *const[]){"payload_encoding=\"base64\"", "payload=\"//4=\"", "payload_bytes=2", NULL});
    assert_true(slice_is_utf8(slice_of(f->fake->rows[0], f->fake->lengths[0])));
    fake_sync(f->fake);
    char *huge = xmalloc(12 << 20);
    memset(huge, 'x', 12 << 20);
    quarantine.payload = slice_of(huge, 12 << 20);
    if (!events_quarantine(f->events, &quarantine, NULL, &err))
        fail_msg("%s", err.message);
    fake_sync(f->fake);
    assert_true(f->fake->lengths[1] < BQ_APPEND_MAX_BYTES && f->fake->lengths[1] > 8000000);
    free(huge);
}

static void a_refused_event_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct error err = ERROR_INIT;
    const struct event_sync sync = {.entity = "jobs", .kind = "advance"};
    fake_fault(f->fake, FAULT_ROW, 0, 0);
    assert_false(events_sync(f->events, &sync, NULL, &err));
    assert_string_equal(err.code, "row_refused");
    assert_non_null(strstr(err.message, "sync_state_events"));
    fake_fault(f->fake, FAULT_END, 7, 0);
    assert_false(events_sync(f->events, &sync, NULL, &err));
    assert_string_equal(err.code, "permission_denied");
    assert_true(events_sync(f->events, &sync, NULL, &err));
}

static int count_rows(struct fixture *f)
{
    fake_sync(f->fake);
    int count = (int)f->fake->row_count;
    fake_sync(f->fake);
    return count;
}

static void many_events_are_few_requests(void **state)
{
    enum { COUNT = 25000 };
    struct fixture *f = *state;
    struct error err = ERROR_INIT;
    struct event_backfill *slices = xcalloc(COUNT, sizeof *slices);
    for (int i = 0; i < COUNT; i++)
        slices[i] = (struct event_backfill){.kind = EVENT_BACKFILL_SLICE,
                                            .backfill_id = "abc",
                                            .slice = i + 1,
                                            .entity = "jobs",
                                            .tenant = 7,
                                            .from_us = i,
                                            .to_us = i + 1,
                                            .requests = 3,
                                            .task_id = "bf-abc"};
    assert_true(events_backfill(f->events, slices, COUNT, NULL, &err));
    int rows = count_rows(f);
    assert_int_equal(rows, COUNT);
    expect(f, &table_backfill_events,
           (const char *const[]){"kind=\"slice\"", "slice_number=25000", "window_to=1970-01-01T00:00:00.025000Z",
                                 "records_expected=0", NULL});
    assert_true(events_backfill(f->events, slices, 0, NULL, &err)); /* none is fine */
    fake_fault(f->fake, FAULT_ROW, 0, 0);
    assert_false(events_backfill(f->events, slices, 3, NULL, &err));
    assert_string_equal(err.code, "row_refused");
    fake_fault(f->fake, FAULT_END, 7, 0);
    assert_false(events_backfill(f->events, slices, 3, NULL, &err));
    assert_string_equal(err.code, "permission_denied");
    free(slices);
}

static void backfills_and_dispatches_are_rows(void **state)
{
    struct fixture *f = *state;
    struct error err = ERROR_INIT;
    const struct event_backfill published = {
        .kind = EVENT_BACKFILL_PUBLISHED, .backfill_id = "abc", .slice = 4, .message_id = "m4"};
    assert_true(events_backfill(f->events, &published, 1, NULL, &err));
    char *text = last(f, &table_backfill_events);
    assert_non_null(strstr(text, "message_id=\"m4\""));
    assert_null(strstr(text, "window_from")); /* what a kind does not have is NULL */
    assert_null(strstr(text, "records_expected"));
    free(text);
    const struct event_backfill head = {.kind = EVENT_BACKFILL_HEAD,
                                        .backfill_id = "abc",
                                        .slice = 60,
                                        .plan_key = "key",
                                        .entities = "jobs, payroll",
                                        .requested_by = "cli"};
    assert_true(events_backfill(f->events, &head, 1, NULL, &err));
    expect(f, &table_backfill_events,
           (const char *const[]){"kind=\"head\"", "plan_key=\"key\"", "entities=\"jobs, payroll\"", NULL});
    const struct event_dispatch dispatches[] = {{"jobs", "full", "t1", "m1", "0 2 * * *", 5, 6},
                                                {"payroll", "incremental", "t2", "m2", "0 3 * * *", 7, 8}};
    assert_true(events_dispatch(f->events, dispatches, 2, NULL, &err));
    expect(f, &table_dispatch_events,
           (const char *const[]){"entity_type=\"payroll\"", "schedule=\"0 3 * * *\"",
                                 "slot_time=1970-01-01T00:00:00.000007Z", "dispatched_at=1970-01-01T00:00:00.000008Z",
                                 NULL});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_kind_is_a_row_of_its_table, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_checkpoint_says_what_it_has, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_run_that_goes_on_has_no_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(foreign_bytes_cannot_break_a_request, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_refused_event_is_an_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_events_are_few_requests, set_up, tear_down),
        cmocka_unit_test_setup_teardown(backfills_and_dispatches_are_rows, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
