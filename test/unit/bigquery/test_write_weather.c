/* test_write_weather.c - appends through breaks of every kind, before and after the effect, on a fast clock: each row is stored at least
 * once, in whatever order, and nobody waits for ever. */
#include "fake_write.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

static const struct column columns[] = {{.name = "text", .type = COLUMN_STRING}};
static const struct table_schema table = {.name = "t", .columns = columns, .column_count = 1};

enum { ADDERS = 4, ROWS_EACH = 40, GIANTS = 6, GIANT_BYTES = 1000 * 1000 };

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

static uint64_t add(struct fixture *f, struct slice text)
{
    struct buf row = BUF_INIT;
    struct error err = ERROR_INIT;
    uint64_t ticket = 0;
    row_put_string(&row, 0, text);
    if (!bq_appender_add(f->appender, buf_slice(&row), 7, NULL, NULL, &ticket, NULL, &err))
        fail_msg("%s", err.message);
    buf_release(&row);
    return ticket;
}

static void await(struct fixture *f, uint64_t first, uint64_t last)
{
    struct error err = ERROR_INIT;
    if (!bq_appender_wait_range(f->appender, first, last, NULL, &err))
        fail_msg("%s", err.message);
    fake_sync(f->fake);
}

/* How often the text was stored; behind key and length of its field. */
static int times_stored(struct fixture *f, const char *text)
{
    int times = 0;
    fake_sync(f->fake);
    for (size_t i = 0; i < f->fake->row_count; i++)
        times += slice_eq_str(slice_of(f->fake->rows[i] + 2, f->fake->lengths[i] - 2), text);
    return times;
}

/* ---- One break of each kind -------------------------------------------------------------------------------------- */

static const struct weather {
    enum fault_kind kind;
    int code;
    int times; /* the row is stored */
} weathers[] = {
    {FAULT_END, 0, 1},         {FAULT_END, 1, 1},         {FAULT_END, 2, 1},         {FAULT_END, 4, 1},
    {FAULT_END, 5, 1},         {FAULT_END, 8, 1},         {FAULT_END, 9, 1},         {FAULT_END, 10, 1},
    {FAULT_END, 13, 1},        {FAULT_END, 14, 1},        {FAULT_END, 16, 1},        {FAULT_STORED_END, 0, 2},
    {FAULT_STORED_END, 10, 2}, {FAULT_STORED_END, 13, 2}, {FAULT_STORED_END, 14, 2}, {FAULT_STORED_END, 8, 2},
    {FAULT_STATUS, 8, 1},      {FAULT_STATUS, 10, 1},     {FAULT_STATUS, 13, 1},     {FAULT_STATUS, 14, 1},
    {FAULT_SILENT, 0, 2},
};
enum { WEATHERS = sizeof weathers / sizeof weathers[0] };

static void every_break_is_survived(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < WEATHERS; i++) {
        char text[16];
        snprintf(text, sizeof text, "row %zu", i);
        fake_fault(f->fake, weathers[i].kind, weathers[i].code, 0);
        uint64_t ticket = add(f, slice_str(text));
        await(f, ticket, ticket);
        if (times_stored(f, text) != weathers[i].times)
            fail_msg("case %zu: stored %d times, not %d", i, times_stored(f, text), weathers[i].times);
    }
}

/* ---- Many adders in a storm -------------------------------------------------------------------------------------- */

struct adder {
    struct fixture *f;
    int number;
};

static void *add_in_storm(void *user)
{
    const struct adder *adder = user;
    uint64_t first = 0, last = 0;
    for (int i = 0; i < ROWS_EACH; i++) {
        char text[32];
        snprintf(text, sizeof text, "adder %d row %d", adder->number, i);
        last = add(adder->f, slice_str(text));
        first = i == 0 ? last : first;
        if (i % 3 == 0)
            await(adder->f, first, last); /* a request with a few rows */
    }
    await(adder->f, first, last);
    return NULL;
}

static void rows_of_many_threads_survive_a_storm(void **state)
{
    struct fixture *f = *state;
    struct adder adders[ADDERS];
    pthread_t threads[ADDERS];
    for (int i = 0; i < FAKE_MAX_FAULTS; i++) {
        const struct weather *weather =
            &weathers[(i * 7) % (WEATHERS - 1)]; /* without the silence: it takes 2 s each */
        bool calm = i % 3 == 2 || weather->code == 16;
        fake_fault(f->fake, calm ? FAULT_NONE : weather->kind, weather->code, 0);
    }
    for (int i = 0; i < ADDERS; i++) {
        adders[i] = (struct adder){f, i};
        pthread_create(&threads[i], NULL, add_in_storm, &adders[i]);
    }
    for (int i = 0; i < ADDERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < ADDERS * ROWS_EACH; i++) {
        char text[32];
        snprintf(text, sizeof text, "adder %d row %d", i / ROWS_EACH, i % ROWS_EACH);
        assert_true(times_stored(f, text) >= 1);
    }
    assert_true(f->fake->streams > ADDERS);
    assert_int_equal(bq_writer_in_flight_bytes(f->writer), 0);
}

/* ---- A service that reads no more -------------------------------------------------------------------------------- */

/* More than flow control lets pass. */
static void a_service_that_reads_no_more_is_left_for_a_new_connection(void **state)
{
    struct fixture *f = *state;
    char *giant = xmalloc(GIANT_BYTES + 1);
    memset(giant, 'x', GIANT_BYTES);
    giant[GIANT_BYTES] = '\0';
    fake_hold(f->fake, true);
    uint64_t first = 0, last = 0;
    for (int i = 0; i < GIANTS / 2; i++) {
        last = add(f, slice_of(giant, GIANT_BYTES));
        first = i == 0 ? last : first;
    }
    fake_await_requests(f->fake, 2); /* the second one is of a new connection: the first takes one, and is held */
    fake_hold(f->fake, false);
    await(f, first, last);
    assert_true(f->fake->streams >= 2);
    assert_true(f->fake->row_count >= GIANTS / 2);
    free(giant);
}

/* The same at the end of the program: nobody waits for the patience. */
static void a_writer_goes_away_while_its_send_waits(void **state)
{
    struct fixture *f = *state;
    char *giant = xmalloc(GIANT_BYTES);
    memset(giant, 'x', GIANT_BYTES);
    fake_hold(f->fake, true);
    for (int i = 0; i < GIANTS / 2; i++)
        add(f, slice_of(giant, GIANT_BYTES));
    fake_await_requests(f->fake, 1);
    bq_writer_free(f->writer);
    assert_int_equal(f->fake->streams, 1);
    fake_hold(f->fake, false);
    f->writer = fake_writer(f->fake, f->creds, 0);
    free(giant);
}

/* Somebody takes the connection and never says a word: the send itself waits, far longer than the patience. */
static void a_send_that_waits_for_a_connection_is_given_up(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(listener, 16), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    char target[32];
    struct error err = ERROR_INIT;
    snprintf(target, sizeof target, "127.0.0.1:%d", ntohs(at.sin_port));
    bq_writer_free(f->writer);
    f->writer = bq_writer_new(
        &(struct bq_writer_options){.project = "p", .target = target, .creds = f->creds, .patience_ms = 1000}, &err);
    assert_non_null(f->writer);
    f->appender = bq_writer_table(f->writer, "d", &table);
    uint64_t ticket = add(f, SLICE_LIT("x"));
    assert_false(bq_appender_wait(f->appender, ticket, NULL, &err));
    assert_int_equal(err.class, ERROR_RETRY);
    assert_string_equal(err.code, "append_silent");
    close(listener);
}

int main(void)
{
    setenv("ST_CLOCK_SCALE", "100", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_break_is_survived, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rows_of_many_threads_survive_a_storm, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_service_that_reads_no_more_is_left_for_a_new_connection, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_send_that_waits_for_a_connection_is_given_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_writer_goes_away_while_its_send_waits, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
