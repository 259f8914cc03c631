/* Export feeds against a server of scripted batches: each record is accepted once per batch that was whole, and the
 * read ends where the next one has to begin. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/log.h"
#include "fake_st.h"
#include "record/encoder.h"
#include "servicetitan/export.h"

enum { BATCH = 3, MAX_SEEN = 64 };

/* ---- A feed of numbered records: the token is "at-N" -------------------------------------------------------------- */

struct feed_server {
    struct tiny_server *server;
    char url[64], auth_url[80];
    pthread_mutex_t mutex;
    int records, refuse_tokens; /* so many requests with a token get a 400 */
    bool no_token, stuck, endless;
    int cut, fail; /* so many replies are cut in the middle; fail before anything */
    char last[4096];
    int asked;
};

static void put_batch(struct feed_server *s, int at, struct buf *body)
{
    int end = at + BATCH < s->records ? at + BATCH : s->records;
    buf_append_str(body, "{\"data\":[");
    for (int i = at; i < end; i++)
        buf_printf(body, "%s{\"id\":%d,\"active\":%s}", i > at ? "," : "", i + 1, i % 2 ? "false" : "true");
    bool more = end < s->records || s->endless;
    buf_append_str(body, "]");
    buf_printf(body, ",\"hasMore\":%s", more ? "true" : "false");
    if (!s->no_token)
        buf_printf(body, ",\"continueFrom\":\"at-%d\"", s->stuck ? at : s->endless ? (at + 1) % s->records : end);
    buf_append_char(body, '}');
}

static bool serve(void *user, const struct tiny_request *request)
{
    struct feed_server *s = user;
    struct buf body = BUF_INIT;
    bool ok;
    if (strcmp(request->target, "/connect/token") == 0)
        return tiny_reply(request->fd, 200, "",
                          SLICE_LIT("{\"access_token\":\"t\",\"expires_in\":900,\"token_type\":\"Bearer\"}"));
    pthread_mutex_lock(&s->mutex);
    snprintf(s->last, sizeof s->last, "%s", request->target);
    s->asked++;
    const char *token = strstr(request->target, "from=at-");
    if (s->fail > 0) {
        s->fail--;
        ok = tiny_reply(request->fd, 503, "", SLICE_LIT("<html>"));
    } else if (strstr(request->target, "from=") && !strstr(request->target, "from=20") && s->refuse_tokens > 0) {
        s->refuse_tokens--;
        ok = tiny_reply(request->fd, 400, "", SLICE_LIT("{\"title\":\"bad\",\"status\":400}"));
    } else {
        put_batch(s, token ? (int)strtol(token + 8, NULL, 10) : 0, &body);
        if (s->cut > 0) {
            s->cut--;
            ok = fake_cut(NULL, request->fd, &body, body.len * 2 / 3);
        } else {
            ok = tiny_reply(request->fd, 200, "", buf_slice(&body));
        }
    }
    pthread_mutex_unlock(&s->mutex);
    buf_release(&body);
    return ok;
}

/* ---- A sink that keeps ids --------------------------------------------------------------------------------------- */

struct seen {
    int64_t ids[MAX_SEEN], pending[MAX_SEEN];
    size_t count, pending_count;
    int begun, dropped;
    bool refuse_record, refuse_end;
};

static void *on_begin(void *user, const struct st_window *window)
{
    struct seen *seen = user;
    assert_false(window->has_from || window->has_to || window->timeless);
    seen->begun++;
    seen->pending_count = 0;
    return seen;
}

static void on_sent(void *fetch, int64_t fetched_at_us)
{
    (void)fetch;
    assert_true(fetched_at_us > 0);
}

static bool on_record(void *fetch, struct slice record, struct st_record_times *ret, struct error *err)
{
    struct seen *seen = fetch;
    struct row_info info;
    assert_true(record_peek(NULL, record, &info));
    *ret = (struct st_record_times){0};
    if (seen->refuse_record)
        return error_set(err, ERROR_PERMANENT, "no_room", "no room");
    assert_true(seen->pending_count < MAX_SEEN);
    seen->pending[seen->pending_count++] = info.id;
    return true;
}

static bool on_end(void *fetch, bool complete, struct error *err)
{
    struct seen *seen = fetch;
    if (complete && seen->refuse_end)
        return error_set(err, ERROR_RETRY, "not_staged", "not staged");
    seen->dropped += !complete;
    for (size_t i = 0; complete && i < seen->pending_count && seen->count < MAX_SEEN; i++)
        seen->ids[seen->count++] = seen->pending[i];
    return true;
}

/* ---- Fixture ----------------------------------------------------------------------------------------------------- */

struct fixture {
    struct feed_server s;
    struct fake_client client;
    struct seen seen;
    struct st_export_request request;
    struct st_export_result result;
    struct error err;
};

static int set_up(void **state)
{
    static struct entity jobs;
    struct fixture *f = xcalloc(1, sizeof *f);
    struct fake_st fake = {0};
    jobs = *fake_entity();
    jobs.export_path = "jpm/v2/tenant/{tenant}/export/jobs";
    pthread_mutex_init(&f->s.mutex, NULL);
    f->s.records = 10;
    f->s.server = tiny_server_start(serve, &f->s);
    snprintf(fake.api_url, sizeof fake.api_url, "http://127.0.0.1:%d", f->s.server->port);
    snprintf(fake.auth_url, sizeof fake.auth_url, "http://127.0.0.1:%d/connect/token", f->s.server->port);
    fake_client_init(&f->client, &fake, 1e6, 20000);
    f->request.entity = &jobs;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    fake_client_release(&f->client);
    tiny_server_stop(f->s.server);
    pthread_mutex_destroy(&f->s.mutex);
    free(f);
    return 0;
}

static bool read_feed(struct fixture *f)
{
    const struct st_sink sink = {on_begin, on_sent, on_record, on_end, &f->seen};
    f->err = (struct error){0};
    return st_export(f->client.tenant, &f->request, &sink, &f->result, NULL, &f->err);
}

static void assert_ids(const struct fixture *f, int64_t from, int64_t to)
{
    assert_int_equal(f->seen.count, to - from + 1);
    for (size_t i = 0; i < f->seen.count; i++)
        assert_int_equal(f->seen.ids[i], from + (int64_t)i);
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static void a_feed_is_read_to_its_end(void **state)
{
    struct fixture *f = *state;
    assert_true(read_feed(f));
    assert_ids(f, 1, 10);
    assert_string_equal(f->result.token, "at-10");
    assert_int_equal(f->result.batches, 4);
    assert_int_equal(f->result.records, 10);
    assert_int_equal(f->result.requests, 4);
    assert_string_equal(f->s.last, "/jpm/v2/tenant/4711/export/jobs?includeRecentChanges=true&from=at-9");
}

static void it_goes_on_from_a_token_or_a_time(void **state)
{
    struct fixture *f = *state;
    f->request.token = "at-6";
    f->request.has_from = true; /* the token counts */
    f->request.from_us = FAKE_BASE_US;
    assert_true(read_feed(f));
    assert_ids(f, 7, 10);
    f->request.token = NULL;
    f->s.records = 2;
    assert_true(read_feed(f));
    assert_string_equal(f->s.last,
                        "/jpm/v2/tenant/4711/export/jobs?includeRecentChanges=true&from=2025-01-01T00%3A00%3A00Z");
}

static void nothing_new_moves_the_token_and_makes_no_fetch(void **state)
{
    struct fixture *f = *state;
    f->request.token = "at-10";
    assert_true(read_feed(f));
    assert_int_equal(f->seen.begun, 0);
    assert_string_equal(f->result.token, "at-10");
    assert_int_equal(f->result.batches, 1);
}

static void a_token_that_is_not_taken_gives_way_to_the_time(void **state)
{
    struct fixture *f = *state;
    f->request.token = "worn out";
    f->request.has_from = true;
    f->request.from_us = FAKE_BASE_US;
    f->s.refuse_tokens = 1;
    assert_true(read_feed(f));
    assert_ids(f, 1, 10);
    assert_true(f->result.token_refused);
    /* One that this read was given must be good. */
    f->s.refuse_tokens = 1;
    f->request.token = NULL;
    f->seen.count = 0;
    assert_false(read_feed(f));
    assert_int_equal(f->err.class, ERROR_PERMANENT);
    assert_ids(f, 1, 3);
    assert_string_equal(f->result.token, "at-3");
}

static void what_breaks_in_the_middle_is_made_anew(void **state)
{
    struct fixture *f = *state;
    f->s.cut = 2;
    f->s.fail = 1;
    assert_true(read_feed(f));
    assert_ids(f, 1, 10);
    assert_int_equal(f->seen.dropped, 2);
    assert_int_equal(f->result.refetches, 2);
}

static void a_feed_that_leads_nowhere_is_an_error(void **state)
{
    struct fixture *f = *state;
    f->s.no_token = true;
    assert_false(read_feed(f));
    assert_string_equal(f->err.code, "feed_broken");
    assert_int_equal(f->err.class, ERROR_RETRY);
    assert_int_equal(f->seen.count, 0);
    f->s.no_token = false;
    f->s.stuck = true;
    f->request.token = "at-3";
    assert_false(read_feed(f));
    assert_string_equal(f->err.code, "feed_broken");
    assert_int_equal(f->seen.count, 0);
    assert_string_equal(f->result.token, "at-3");
}

static void a_sink_that_fails_ends_the_read(void **state)
{
    struct fixture *f = *state;
    f->seen.refuse_record = true;
    assert_false(read_feed(f));
    assert_string_equal(f->err.code, "no_room");
    assert_int_equal(f->s.asked, 1);
    f->seen.refuse_record = false;
    f->seen.refuse_end = true;
    assert_false(read_feed(f));
    assert_string_equal(f->err.code, "not_staged");
    assert_int_equal(f->s.asked, 2);
    assert_string_equal(f->result.token, "");
}

int main(void)
{
    setenv("ST_CLOCK_SCALE", "1000", 1);
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_feed_is_read_to_its_end),
        CASE(it_goes_on_from_a_token_or_a_time),
        CASE(nothing_new_moves_the_token_and_makes_no_fetch),
        CASE(a_token_that_is_not_taken_gives_way_to_the_time),
        CASE(what_breaks_in_the_middle_is_made_anew),
        CASE(a_feed_that_leads_nowhere_is_an_error),
        CASE(a_sink_that_fails_ends_the_read),
    };
    http_global_init();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    http_global_release();
    return failed;
}
