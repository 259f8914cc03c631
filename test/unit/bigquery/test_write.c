/* test_write.c - appenders against a Storage Write service on the wire: order, bounds, row errors, broken streams. */
#include "fake_write.h"

static const struct column columns[] = {
    {.name = "name", .type = COLUMN_STRING, .mode = COLUMN_REQUIRED},
    {.name = "at", .type = COLUMN_TIMESTAMP, .default_sql = "CURRENT_TIMESTAMP()"},
};
static const struct table_schema table = {.name = "t", .columns = columns, .column_count = 2};

struct fixture {
    struct fake_write *fake;
    struct google_credentials *creds;
    struct bq_writer *writer;
    struct bq_appender *appender;
};

static int set_up_patient(void **state, int64_t patience_ms)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    f->fake = fake_write_start();
    f->creds = google_credentials_none();
    f->writer = fake_writer(f->fake, f->creds, patience_ms);
    f->appender = bq_writer_table(f->writer, "d", &table);
    *state = f;
    return 0;
}

static int set_up(void **state)
{
    return set_up_patient(state, 0);
}

static int set_up_impatient(void **state)
{
    return set_up_patient(state, 300);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    bq_writer_free(f->writer);
    google_credentials_free(f->creds);
    fake_write_stop(f->fake);
    free(f);
    return 0;
}

static uint64_t add_for(struct fixture *f, const char *text, bq_row_error_fn *fn, void *user)
{
    struct buf row = BUF_INIT;
    struct error err = ERROR_INIT;
    uint64_t ticket = 0;
    fake_sync(f->fake);
    row_put_string(&row, 0, slice_str(text));
    if (!bq_appender_add(f->appender, buf_slice(&row), 7, fn, user, &ticket, NULL, &err))
        fail_msg("%s", err.message);
    buf_release(&row);
    return ticket;
}

static uint64_t add(struct fixture *f, const char *text)
{
    return add_for(f, text, NULL, NULL);
}

static void await(struct fixture *f, uint64_t ticket)
{
    struct error err = ERROR_INIT;
    if (!bq_appender_wait(f->appender, ticket, NULL, &err))
        fail_msg("%s", err.message);
    fake_sync(f->fake);
}

/* The text of a stored row: key, length, text. */
static const char *stored(struct fixture *f, size_t i)
{
    assert_true(i < f->fake->row_count);
    return f->fake->rows[i] + 2;
}

static void rows_arrive_in_order_with_the_schema_once(void **state)
{
    struct fixture *f = *state;
    struct buf descriptor = BUF_INIT;
    add(f, "a");
    await(f, add(f, "b"));
    await(f, add(f, "c"));
    assert_int_equal(f->fake->row_count, 3);
    assert_string_equal(stored(f, 0), "a");
    assert_string_equal(stored(f, 1), "b");
    assert_string_equal(stored(f, 2), "c");
    assert_int_equal(f->fake->requests, 2);
    assert_int_equal(f->fake->first_requests, 1);
    assert_int_equal(f->fake->missing, 2); /* DEFAULT_VALUE */
    assert_string_equal(f->fake->stream_name, "projects/p/datasets/d/tables/t/streams/_default");
    schema_descriptor(&descriptor, "row", columns, 2);
    assert_true(slice_eq(buf_slice(&descriptor), buf_slice(&f->fake->descriptor)));
    assert_ptr_equal(bq_writer_table(f->writer, "d", &table), f->appender);
    buf_release(&descriptor);
}

static void requests_are_bounded_in_rows_and_bytes(void **state)
{
    struct fixture *f = *state;
    char *big = xmalloc(300001);
    uint64_t ticket = 0;
    memset(big, 'x', 300000);
    big[300000] = '\0';
    for (int i = 0; i < 25000; i++)
        ticket = add(f, "s");
    await(f, ticket);
    assert_int_equal(f->fake->row_count, 25000);
    assert_int_equal(f->fake->largest_rows, BQ_APPEND_MAX_ROWS);
    for (int i = 0; i < 40; i++)
        ticket = add(f, big);
    await(f, ticket);
    assert_int_equal(f->fake->row_count, 25040);
    assert_true(f->fake->largest_request <= 2 * BQ_APPEND_TARGET_BYTES + 1000);
    assert_true(f->fake->largest_request >= BQ_APPEND_TARGET_BYTES);
    free(big);
}

struct adder {
    struct fixture *f;
    int rows;
    pthread_mutex_t mutex;
    int added;
};

static void *add_many(void *user)
{
    struct adder *adder = user;
    char *big = xmalloc(500001);
    memset(big, 'x', 500000);
    big[500000] = '\0';
    for (int i = 0; i < adder->rows; i++) {
        add(adder->f, big);
        pthread_mutex_lock(&adder->mutex);
        adder->added++;
        pthread_mutex_unlock(&adder->mutex);
    }
    free(big);
    return NULL;
}

static void a_full_pipeline_blocks_the_adder(void **state)
{
    struct fixture *f = *state;
    struct adder adder = {.f = f, .rows = 20};
    pthread_t thread;
    pthread_mutex_init(&adder.mutex, NULL);
    fake_hold(f->fake, true);
    pthread_create(&thread, NULL, add_many, &adder);
    fake_await_requests(f->fake, 1);
    pthread_mutex_lock(&adder.mutex);
    int limit = BQ_APPEND_IN_FLIGHT_BYTES / 500000;
    assert_true(adder.added <= limit);
    pthread_mutex_unlock(&adder.mutex);
    fake_hold(f->fake, false);
    pthread_join(thread, NULL);
    await(f, add(f, "end"));
    assert_int_equal(f->fake->row_count, 21);
}

struct told {
    int count;
    uint64_t tag;
    char text[64], row[64];
};

static void tell(void *user, uint64_t tag, struct slice row, const char *message)
{
    struct told *told = user;
    told->count++;
    told->tag = tag;
    snprintf(told->text, sizeof told->text, "%s", message);
    snprintf(told->row, sizeof told->row, "%.*s", (int)row.len - 2, row.ptr + 2);
}

static void a_refused_row_goes_and_the_others_are_sent_again(void **state)
{
    struct fixture *f = *state;
    struct told told = {0}, other = {0};
    fake_fault(f->fake, FAULT_ROW, 0, 1);
    fake_hold(f->fake, true);
    add_for(f, "a", tell, &other);
    add_for(f, "b", tell, &told);
    uint64_t last = add_for(f, "c", tell, &other);
    fake_hold(f->fake, false);
    await(f, last);
    assert_int_equal(told.count, 1);
    assert_int_equal(told.tag, 7);
    assert_string_equal(told.row, "b");
    assert_string_equal(told.text, "bad value");
    assert_int_equal(other.count, 0);
    assert_int_equal(f->fake->row_count, 2);
    assert_string_equal(stored(f, 0), "a");
    assert_string_equal(stored(f, 1), "c");
    assert_int_equal(f->fake->streams, 1);
}

static void a_broken_stream_is_reopened_and_nothing_is_lost(void **state)
{
    static const struct {
        enum fault_kind kind;
        int code;
        size_t rows;
    } cases[] = {{FAULT_END, 14, 1},        {FAULT_END, 10, 1}, {FAULT_END, 0, 1},   {FAULT_STATUS, 13, 1},
                 {FAULT_STORED_END, 14, 2}, {FAULT_END, 5, 1},  {FAULT_STATUS, 1, 1}};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t before = f->fake->row_count;
        int streams = f->fake->streams;
        fake_fault(f->fake, cases[i].kind, cases[i].code, 0);
        await(f, add(f, "x"));
        if (f->fake->row_count - before != cases[i].rows)
            fail_msg("case %zu: %zu rows, not %zu", i, f->fake->row_count - before, cases[i].rows);
        assert_true(f->fake->streams > streams || i == 0);
        fake_fault(f->fake, FAULT_NONE, 0, 0); /* consumed by the resend or the next */
        f->fake->fault_next = f->fake->fault_count;
    }
}

static void a_lasting_failure_reaches_its_waiters_and_only_them(void **state)
{
    struct fixture *f = *state;
    struct error err = ERROR_INIT;
    await(f, add(f, "before"));
    fake_fault(f->fake, FAULT_END, 7, 0); /* PERMISSION_DENIED */
    uint64_t lost = add(f, "lost");
    assert_false(bq_appender_wait(f->appender, lost, NULL, &err));
    assert_int_equal(err.class, ERROR_PERMANENT);
    assert_string_equal(err.code, "permission_denied");
    uint64_t after = add(f, "after");
    await(f, after);
    assert_false(bq_appender_wait(f->appender, lost, NULL, &err));
    assert_true(bq_appender_wait_range(f->appender, after, after, NULL, &err));
    assert_false(bq_appender_wait_range(f->appender, lost, after, NULL, &err));
    assert_int_equal(f->fake->row_count, 2);
    assert_string_equal(stored(f, 1), "after");
}

static void patience_ends(void **state)
{
    struct fixture *f = *state;
    struct error err = ERROR_INIT;
    for (int i = 0; i < 30; i++)
        fake_fault(f->fake, FAULT_END, 14, 0);
    assert_false(bq_appender_wait(f->appender, add(f, "x"), NULL, &err));
    assert_int_equal(err.class, ERROR_RETRY);
    assert_string_equal(err.code, "unavailable");
    fake_sync(f->fake);
    assert_true(f->fake->requests > 1 && f->fake->requests < 30);
}

static void cancelled_waits_end_and_forgotten_rows_tell_nobody(void **state)
{
    struct fixture *f = *state;
    struct told told = {0};
    struct error err = ERROR_INIT;
    struct cancel *cancel = cancel_new(NULL);
    fake_fault(f->fake, FAULT_ROW, 0, 0);
    fake_hold(f->fake, true);
    uint64_t ticket = add_for(f, "a", tell, &told);
    cancel_set(cancel, "shutdown");
    assert_false(bq_appender_wait(f->appender, ticket, cancel, &err));
    assert_int_equal(err.class, ERROR_CANCELLED);
    bq_appender_forget(f->appender, &told);
    fake_hold(f->fake, false);
    await(f, add(f, "b"));
    assert_int_equal(told.count, 0);
    cancel_free(cancel);
}

static void rows_beyond_the_limit_are_refused_at_once(void **state)
{
    struct fixture *f = *state;
    struct error err = ERROR_INIT;
    uint64_t ticket;
    char *giant = xcalloc(1, BQ_APPEND_MAX_BYTES + 1);
    assert_false(
        bq_appender_add(f->appender, slice_of(giant, BQ_APPEND_MAX_BYTES + 1), 0, NULL, NULL, &ticket, NULL, &err));
    assert_string_equal(err.code, "row_too_large");
    free(giant);
}

static void a_writer_goes_away_with_rows_under_way(void **state)
{
    struct fixture *f = *state;
    fake_hold(f->fake, true);
    uint64_t ticket = add(f, "x");
    struct cancel *cancel = cancel_new(NULL);
    cancel_set(cancel, "x");
    assert_false(bq_appender_wait(f->appender, ticket, cancel, NULL)); /* sends it */
    fake_await_requests(f->fake, 1);
    bq_writer_free(f->writer);
    f->writer = NULL;
    fake_hold(f->fake, false);
    cancel_free(cancel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_arrive_in_order_with_the_schema_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(requests_are_bounded_in_rows_and_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_pipeline_blocks_the_adder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_refused_row_goes_and_the_others_are_sent_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_broken_stream_is_reopened_and_nothing_is_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lasting_failure_reaches_its_waiters_and_only_them, set_up, tear_down),
        cmocka_unit_test_setup_teardown(patience_ends, set_up_impatient, tear_down),
        cmocka_unit_test_setup_teardown(cancelled_waits_end_and_forgotten_rows_tell_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rows_beyond_the_limit_are_refused_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_writer_goes_away_with_rows_under_way, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
