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

/* ---- Several rows at once ---- */

static void gather(struct bq_rows *rows, const char *text)
{
    row_put_string(&rows->bytes, 0, slice_str(text));
    bq_rows_end_row(rows);
}

static void gather_long(struct bq_rows *rows, char c, size_t len)
{
    char *text = xmalloc(len + 1);
    memset(text, c, len);
    text[len] = '\0';
    gather(rows, text);
    free(text);
}

static uint64_t add_rows(struct fixture *f, const struct bq_rows *rows)
{
    struct error err = ERROR_INIT;
    uint64_t first = 0;
    fake_sync(f->fake);
    if (!bq_appender_add_rows(f->appender, rows, &first, NULL, &err))
        fail_msg("%s", err.message);
    return first;
}

static void rows_are_added_together_with_tickets_in_a_row(void **state)
{
    struct fixture *f = *state;
    struct bq_rows rows = {0};
    struct error err = ERROR_INIT;
    uint64_t alone = add(f, "a");
    gather(&rows, "b");
    gather(&rows, "c");
    gather(&rows, "d");
    uint64_t first = add_rows(f, &rows);
    assert_int_equal(rows.count, 3);
    assert_int_equal(first, alone + 1);
    assert_int_equal(add(f, "e"), first + 3);
    assert_true(bq_appender_wait_range(f->appender, alone, first + 3, NULL, &err));
    fake_sync(f->fake);
    assert_int_equal(f->fake->row_count, 5);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(stored(f, i)[0], 'a' + (int)i);
    bq_rows_release(&rows);
}

static void gathered_rows_are_bounded_and_cleared(void **state)
{
    struct bq_rows rows = {0};
    (void)state;
    gather_long(&rows, 'x', BQ_ROWS_TARGET_BYTES / 2);
    assert_false(bq_rows_is_full(&rows));
    gather_long(&rows, 'x', BQ_ROWS_TARGET_BYTES / 2);
    assert_true(bq_rows_is_full(&rows));
    size_t cap = rows.bytes.cap;
    bq_rows_clear(&rows);
    assert_false(bq_rows_is_full(&rows));
    assert_int_equal(rows.bytes.len, 0);
    assert_int_equal(rows.bytes.cap, cap);
    gather_long(&rows, 'x', BQ_APPEND_MAX_BYTES);
    bq_rows_clear(&rows);
    assert_int_equal(rows.bytes.cap, 0);
    for (int i = 0; i < BQ_APPEND_MAX_ROWS; i++) {
        assert_false(bq_rows_is_full(&rows));
        bq_rows_end_row(&rows);
    }
    assert_true(bq_rows_is_full(&rows));
    bq_rows_release(&rows);
}

static void a_refused_row_in_the_middle_tells_its_own_owner(void **state)
{
    struct fixture *f = *state;
    struct told mine = {0}, theirs = {0};
    struct error err = ERROR_INIT;
    struct bq_rows one = {.tag = 11, .on_error = tell, .user = &mine};
    struct bq_rows two = {.tag = 12, .on_error = tell, .user = &theirs};
    fake_fault(f->fake, FAULT_ROW, 0, 4);
    fake_fault(f->fake, FAULT_ROW, 0, 1); /* of what is left */
    gather(&one, "a");
    gather(&one, "b");
    gather(&one, "c");
    gather(&two, "d");
    gather(&two, "e");
    gather(&two, "f");
    uint64_t first = add_rows(f, &one);
    uint64_t second = add_rows(f, &two);
    assert_true(bq_appender_wait_range(f->appender, first, second + 2, NULL, &err));
    fake_sync(f->fake);
    assert_int_equal(theirs.count, 1);
    assert_int_equal(theirs.tag, 12);
    assert_string_equal(theirs.row, "e");
    assert_int_equal(mine.count, 1);
    assert_int_equal(mine.tag, 11);
    assert_string_equal(mine.row, "b");
    assert_int_equal(f->fake->row_count, 4);
    assert_string_equal(stored(f, 2), "d");
    assert_string_equal(stored(f, 3), "f");
    bq_rows_release(&one);
    bq_rows_release(&two);
}

static void a_giant_row_among_others_travels_alone(void **state)
{
    struct fixture *f = *state;
    struct bq_rows rows = {0};
    struct error err = ERROR_INIT;
    size_t giant = BQ_APPEND_MAX_BYTES - 5; /* with the key and length of its one field exactly the limit */
    gather(&rows, "before");
    gather_long(&rows, 'x', giant);
    gather(&rows, "after");
    uint64_t first = add_rows(f, &rows);
    assert_true(bq_appender_wait_range(f->appender, first, first + 2, NULL, &err));
    fake_sync(f->fake);
    assert_int_equal(f->fake->requests, 3);
    assert_int_equal(f->fake->row_count, 3);
    assert_int_equal(f->fake->lengths[1], BQ_APPEND_MAX_BYTES);
    assert_true(f->fake->largest_request < BQ_APPEND_MAX_BYTES + 1000);
    assert_string_equal(stored(f, 2), "after");
    bq_rows_clear(&rows);
    gather(&rows, "good");
    gather_long(&rows, 'x', giant + 1);
    assert_false(bq_appender_add_rows(f->appender, &rows, &first, NULL, &err));
    assert_string_equal(err.code, "row_too_large");
    await(f, add(f, "end"));
    assert_int_equal(f->fake->row_count, 4); /* nothing of the refused call */
    bq_rows_release(&rows);
}

static void *cancel_it(void *user)
{
    cancel_set(user, "shutdown");
    return NULL;
}

/* The cancel comes before, while or after the adder begins to wait: it ends the same. */
static void a_blocked_adder_is_cancelled_and_leaves_nothing(void **state)
{
    enum { LONG_ROW = 1000 * 1000 };
    struct fixture *f = *state;
    struct bq_rows rows = {0};
    struct error err = ERROR_INIT;
    struct cancel *cancel = cancel_new(NULL);
    pthread_t thread;
    uint64_t first = 0, last = 0;
    fake_hold(f->fake, true);
    gather_long(&rows, 'x', LONG_ROW);
    for (int i = 0; i < BQ_APPEND_IN_FLIGHT_BYTES / (LONG_ROW + 10); i++)
        last = add_rows(f, &rows);
    fake_await_requests(f->fake, 1); /* full, and not an answer yet */
    pthread_create(&thread, NULL, cancel_it, cancel);
    assert_false(bq_appender_add_rows(f->appender, &rows, &first, cancel, &err));
    assert_int_equal(err.class, ERROR_CANCELLED);
    pthread_join(thread, NULL);
    fake_hold(f->fake, false);
    uint64_t end = add(f, "end");
    assert_int_equal(end, last + 1);
    await(f, end);
    assert_int_equal(f->fake->row_count, BQ_APPEND_IN_FLIGHT_BYTES / (LONG_ROW + 10) + 1);
    bq_rows_release(&rows);
    cancel_free(cancel);
}

enum { CROWD = 8, CROWD_CALLS = 40, CROWD_ROWS = 4, CROWD_ROW_BYTES = 20000 };

struct crowd_member {
    struct fixture *f;
    char letter;
    uint64_t first, last;
};

static void *add_in_a_crowd(void *user)
{
    struct crowd_member *member = user;
    struct bq_rows rows = {0};
    for (int i = 0; i < CROWD_CALLS; i++) {
        for (int row = 0; row < CROWD_ROWS; row++)
            gather_long(&rows, member->letter, CROWD_ROW_BYTES);
        uint64_t first = add_rows(member->f, &rows);
        member->first = i == 0 ? first : member->first;
        member->last = first + CROWD_ROWS - 1;
        bq_rows_clear(&rows);
    }
    bq_rows_release(&rows);
    return NULL;
}

/* 25 MB through a pipeline of 4: adders block and go on, with refused rows in between. */
static void many_adders_share_a_full_pipeline(void **state)
{
    enum { REFUSED = 3, ALL = CROWD * CROWD_CALLS * CROWD_ROWS };
    struct fixture *f = *state;
    struct crowd_member crowd[CROWD];
    pthread_t threads[CROWD];
    int seen[CROWD] = {0};
    struct error err = ERROR_INIT;
    for (int i = 0; i < REFUSED; i++) {
        fake_fault(f->fake, FAULT_ROW, 0, 0);
        fake_fault(f->fake, FAULT_NONE, 0, 0);
    }
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = (struct crowd_member){.f = f, .letter = (char)('A' + i)};
        pthread_create(&threads[i], NULL, add_in_a_crowd, &crowd[i]);
    }
    for (int i = 0; i < CROWD; i++) {
        pthread_join(threads[i], NULL);
        assert_true(bq_appender_wait_range(f->appender, crowd[i].first, crowd[i].last, NULL, &err));
    }
    fake_sync(f->fake);
    assert_int_equal(f->fake->row_count, ALL - REFUSED);
    for (size_t i = 0; i < f->fake->row_count; i++) {
        const char *text = stored(f, i) + 2; /* its length takes three bytes */
        assert_int_equal(strspn(text, (char[]){text[0], '\0'}), CROWD_ROW_BYTES);
        seen[text[0] - 'A']++;
    }
    for (int i = 0; i < CROWD; i++)
        assert_in_range(seen[i], CROWD_CALLS * CROWD_ROWS - REFUSED, CROWD_CALLS * CROWD_ROWS);
    assert_true(f->fake->largest_request <= 2 * BQ_APPEND_TARGET_BYTES + 1000);
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
        cmocka_unit_test(gathered_rows_are_bounded_and_cleared),
        cmocka_unit_test_setup_teardown(rows_are_added_together_with_tickets_in_a_row, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_refused_row_in_the_middle_tells_its_own_owner, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_giant_row_among_others_travels_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_blocked_adder_is_cancelled_and_leaves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_adders_share_a_full_pipeline, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
