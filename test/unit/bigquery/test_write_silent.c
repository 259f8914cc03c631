/* test_write_silent.c - connections on which an answer is due and does not come, on a fast clock: patience is 2 s there. */
#include "fake_write.h"

#include "base/clock.h"

static const struct column columns[] = {{.name = "text", .type = COLUMN_STRING}};
static const struct table_schema table = {.name = "t", .columns = columns, .column_count = 1};

struct fixture {
    struct fake_write *fake;
    struct google_credentials *creds;
    struct bq_writer *writer;
    struct bq_appender *appender;
};

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    f->fake = fake_write_start();
    f->creds = google_credentials_none();
    f->writer = fake_writer(f->fake, f->creds, 0);
    f->appender = bq_writer_table(f->writer, "d", &table);
    *state = f;
    return 0;
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

static void add_and_wait(struct fixture *f)
{
    struct buf row = BUF_INIT;
    struct error err = ERROR_INIT;
    uint64_t ticket = 0;
    row_put_string(&row, 0, SLICE_LIT("x"));
    if (!bq_appender_add(f->appender, buf_slice(&row), 7, NULL, NULL, &ticket, NULL, &err) ||
        !bq_appender_wait(f->appender, ticket, NULL, &err))
        fail_msg("%s", err.message);
    buf_release(&row);
}

static void rows_without_an_answer_are_sent_again_on_a_new_connection(void **state)
{
    struct fixture *f = *state;
    fake_fault(f->fake, FAULT_SILENT, 0, 0);
    add_and_wait(f);
    fake_sync(f->fake);
    assert_int_equal(f->fake->streams, 2);
    assert_int_equal(f->fake->row_count, 2); /* at least once: rows carry numbers */
}

static void an_idle_connection_is_left_alone(void **state)
{
    struct fixture *f = *state;
    add_and_wait(f);
    cancel_sleep_ms(NULL, (int64_t)(3000 * clock_scale())); /* longer than the patience: nothing is due */
    add_and_wait(f);
    fake_sync(f->fake);
    assert_int_equal(f->fake->streams, 1);
    assert_int_equal(f->fake->row_count, 2);
}

int main(void)
{
    setenv("ST_CLOCK_SCALE", "100", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_without_an_answer_are_sent_again_on_a_new_connection, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_idle_connection_is_left_alone, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
