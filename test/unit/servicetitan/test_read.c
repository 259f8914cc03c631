/* Complete reads against a server whose records move, tie and lie. The property throughout: what was accepted is the
 * source, each record once. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <time.h>

#include "base/log.h"
#include "fake_st.h"
#include "record/encoder.h"

/* ---- A sink that keeps ids --------------------------------------------------------------------------------------- */

struct fetch {
    struct sink *sink;
    struct st_window window;
    int64_t *ids;
    size_t count, capacity;
    int64_t fetched_at_us;
};

struct sink {
    pthread_mutex_t mutex;
    struct st_window *windows; /* accepted */
    size_t window_count, window_capacity;
    int64_t *ids; /* accepted */
    size_t count, capacity;
    int begun, ended, dropped;
    bool refuse_records, refuse_ends;
    int64_t stop_after; /* cancels when so many records were accepted; 0 = never */
    struct cancel *cancel;
};

static void *on_begin(void *user, const struct st_window *window)
{
    struct sink *sink = user;
    struct fetch *fetch = xcalloc(1, sizeof *fetch);
    fetch->sink = sink;
    fetch->window = *window;
    pthread_mutex_lock(&sink->mutex);
    sink->begun++;
    pthread_mutex_unlock(&sink->mutex);
    return fetch;
}

static void on_sent(void *state, int64_t fetched_at_us)
{
    ((struct fetch *)state)->fetched_at_us = fetched_at_us;
}

static bool on_record(void *state, struct slice record, struct st_record_times *ret, struct error *err)
{
    struct fetch *fetch = state;
    struct row_info info;
    if (fetch->sink->refuse_records)
        return error_set(err, ERROR_PERMANENT, "quarantine", "too many bad records");
    assert_true(fetch->fetched_at_us != 0);
    assert_true(record_peek(NULL, record, &info));
    *ret = (struct st_record_times){info.has_created, info.has_modified, info.created_us, info.modified_us};
    if (fetch->count == fetch->capacity) {
        fetch->capacity = fetch->capacity ? 2 * fetch->capacity : 64;
        fetch->ids = xrealloc(fetch->ids, fetch->capacity * sizeof fetch->ids[0]);
    }
    fetch->ids[fetch->count++] = info.id;
    return true;
}

static void keep(struct sink *sink, const struct fetch *fetch)
{
    if (sink->window_count == sink->window_capacity) {
        sink->window_capacity = sink->window_capacity ? 2 * sink->window_capacity : 64;
        sink->windows = xrealloc(sink->windows, sink->window_capacity * sizeof sink->windows[0]);
    }
    sink->windows[sink->window_count++] = fetch->window;
    for (size_t i = 0; i < fetch->count; i++) {
        if (sink->count == sink->capacity) {
            sink->capacity = sink->capacity ? 2 * sink->capacity : 1024;
            sink->ids = xrealloc(sink->ids, sink->capacity * sizeof sink->ids[0]);
        }
        sink->ids[sink->count++] = fetch->ids[i];
    }
    if (sink->stop_after && (int64_t)sink->count >= sink->stop_after)
        cancel_set(sink->cancel, "shutdown");
}

static bool on_end(void *state, bool complete, struct error *err)
{
    struct fetch *fetch = state;
    struct sink *sink = fetch->sink;
    pthread_mutex_lock(&sink->mutex);
    bool ok = !complete || !sink->refuse_ends;
    if (complete && ok)
        keep(sink, fetch);
    sink->ended++;
    sink->dropped += !complete;
    pthread_mutex_unlock(&sink->mutex);
    free(fetch->ids);
    free(fetch);
    return ok || error_set(err, ERROR_RETRY, "stage", "could not stage");
}

/* ---- Fixture ----------------------------------------------------------------------------------------------------- */

struct fixture {
    struct fake_st *fake;
    struct fake_client client;
    struct sink sink;
    struct st_read_request request;
    struct st_read_result result;
    struct error err;
    unsigned seed;
};

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    f->fake = fake_start();
    fake_client_init(&f->client, f->fake, 1e6, 20000);
    pthread_mutex_init(&f->sink.mutex, NULL);
    f->request = (struct st_read_request){.entity = fake_entity(), .page_size = 7, .concurrency = 4};
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    fake_client_release(&f->client);
    fake_stop(f->fake);
    free(f->sink.windows);
    free(f->sink.ids);
    pthread_mutex_destroy(&f->sink.mutex);
    free(f);
    return 0;
}

static bool read_with(struct fixture *f, struct cancel *cancel)
{
    struct st_sink sink = {on_begin, on_sent, on_record, on_end, &f->sink};
    bool ok = st_read(f->client.tenant, &f->request, &sink, &f->result, cancel, &f->err);
    assert_int_equal(f->sink.begun, f->sink.ended);
    return ok;
}

static void read_all(struct fixture *f)
{
    if (!read_with(f, NULL))
        fail_msg("%s: %s", f->err.code, f->err.message);
}

static int by_id(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The accepted ids are exactly those of the source that `wanted` picks. */
static void assert_equals_source(struct fixture *f, bool (*wanted)(const struct fixture *, const struct fake_record *))
{
    size_t at = 0;
    if (f->sink.count > 0)
        qsort(f->sink.ids, f->sink.count, sizeof f->sink.ids[0], by_id);
    for (size_t i = 0; i < f->fake->count; i++) {
        if (wanted && !wanted(f, &f->fake->records[i]))
            continue;
        if (at >= f->sink.count || f->sink.ids[at] != f->fake->records[i].id)
            fail_msg("seed %u: record %lld is missing or another one is there twice (%zu of %zu accepted)", f->seed,
                     (long long)f->fake->records[i].id, f->sink.count, f->fake->count);
        at++;
    }
    assert_int_equal(at, f->sink.count);
    assert_int_equal(f->result.records, f->sink.count);
    assert_int_equal(f->result.windows, f->sink.window_count);
}

/* Accepted windows do not overlap and leave nothing out of [from, to). */
static int by_from(const void *a, const void *b)
{
    const struct st_window *x = a, *y = b;
    if (x->has_from != y->has_from)
        return x->has_from ? 1 : -1;
    return x->has_from ? (x->from_us > y->from_us) - (x->from_us < y->from_us) : 0;
}

static void assert_windows_tile(struct fixture *f, bool has_from, int64_t from_us, bool has_to, int64_t to_us)
{
    struct st_window *windows = f->sink.windows;
    size_t count = f->sink.window_count;
    qsort(windows, count, sizeof windows[0], by_from);
    assert_int_equal(windows[0].has_from, has_from);
    if (has_from)
        assert_int_equal(windows[0].from_us, from_us);
    for (size_t i = 1; i < count; i++) {
        assert_true(windows[i - 1].has_to);
        assert_int_equal(windows[i].from_us, windows[i - 1].to_us);
    }
    assert_int_equal(windows[count - 1].has_to, has_to);
    if (has_to)
        assert_int_equal(windows[count - 1].to_us, to_us);
}

/* ---- Histories --------------------------------------------------------------------------------------------------- */

static uint64_t next_random(struct fixture *f)
{
    f->seed = f->seed * 1664525u + 1013904223u;
    return f->seed >> 8;
}

/* Bursts, quiet years, ties beyond a page, neighbours in the same millisecond. */
static void make_history(struct fixture *f, size_t count)
{
    int64_t at_us = FAKE_BASE_US - 10LL * 365 * 86400 * 1000000;
    static const int64_t steps_us[] = {0, 1, 7, 1000, 100000, 1000000, 3600000000LL, 86400000000LL, 90LL * 86400000000};
    size_t kind = 5, left = 0;
    while (f->fake->count < count && at_us < FAKE_BASE_US) {
        if (left == 0) {
            kind = next_random(f) % (sizeof steps_us / sizeof steps_us[0]);
            left = 1 + next_random(f) % (kind == 8 ? 3 : 40);
        }
        left--;
        if (steps_us[kind] > 0)
            at_us += 1 + (int64_t)(next_random(f) % (uint64_t)steps_us[kind]);
        fake_add(f->fake, at_us, at_us + (int64_t)(next_random(f) % 1000000) * 1000000);
    }
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static void little_is_one_request(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 7; i++)
        fake_add(f->fake, FAKE_BASE_US + i, FAKE_BASE_US + i * 1000);
    f->request.range = (struct st_window){.column = ST_MODIFIED_ON, .has_from = true, .from_us = FAKE_BASE_US};
    read_all(f);
    assert_equals_source(f, NULL);
    assert_int_equal(f->fake->list_requests, 1);
    assert_int_equal(f->result.requests, 1);
    assert_non_null(
        strstr(f->fake->last_target,
               "pageSize=7&page=1&includeTotal=true&active=Any&modifiedOnOrAfter=2025-01-01T00%3A00%3A00Z"));
    assert_null(strstr(f->fake->last_target, "created"));
    assert_null(strstr(f->fake->last_target, "Before"));
}

static void nothing_is_an_accepted_window_too(void **state)
{
    struct fixture *f = *state;
    f->request.range = (struct st_window){.column = ST_CREATED_ON,
                                          .has_from = true,
                                          .has_to = true,
                                          .from_us = FAKE_BASE_US,
                                          .to_us = FAKE_BASE_US + 500};
    read_all(f);
    assert_equals_source(f, NULL);
    assert_int_equal(f->sink.window_count, 1);
    assert_non_null(strstr(f->fake->last_target, "createdBefore=2025-01-01T00%3A00%3A00.000500Z"));
}

static bool in_range(const struct fixture *f, const struct fake_record *r)
{
    int64_t us = f->request.range.column == ST_CREATED_ON ? r->created_us : r->modified_us;
    return us >= f->request.range.from_us && (!f->request.range.has_to || us < f->request.range.to_us);
}

static void random_ranges_bring_every_record_once(void **state)
{
    struct fixture *f = *state;
    for (unsigned seed = 1; seed <= 12; seed++) {
        f->seed = seed;
        f->fake->count = 0;
        f->sink.count = f->sink.window_count = 0;
        make_history(f, 50 + seed * 150);
        f->fake->shuffled = false;
        f->fake->total_last = seed % 3 == 0;
        f->fake->cut_every = seed % 2 ? 0 : 13;
        int64_t from_us = f->fake->records[f->fake->count / 10].created_us;
        int64_t to_us = f->fake->records[f->fake->count * 9 / 10].created_us + 1;
        f->request.range = (struct st_window){.column = seed % 2 ? ST_CREATED_ON : ST_MODIFIED_ON,
                                              .has_from = true,
                                              .has_to = true,
                                              .from_us = from_us,
                                              .to_us = to_us};
        read_all(f);
        assert_equals_source(f, in_range);
        assert_windows_tile(f, true, from_us, true, to_us);
    }
}

static void random_whole_reads_find_the_bounds_of_history(void **state)
{
    struct fixture *f = *state;
    for (unsigned seed = 101; seed <= 108; seed++) {
        f->seed = seed;
        f->fake->count = 0;
        f->sink.count = f->sink.window_count = 0;
        make_history(f, 1500);
        f->request.whole = true;
        f->request.concurrency = 1 + (int)(seed % 8);
        read_all(f);
        assert_equals_source(f, NULL);
        assert_windows_tile(f, false, 0, false, 0);
    }
}

static void a_large_even_history_costs_few_extra_requests(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 20000; i++)
        fake_add(f->fake, FAKE_BASE_US - 86400000000LL * 3650 + i * 15000000000LL, FAKE_BASE_US);
    f->request.whole = true;
    f->request.page_size = 200;
    f->request.concurrency = 1; /* how readers share spans, and so how many bites there are, is the scheduler's doing */
    read_all(f);
    assert_equals_source(f, NULL);
    assert_true(f->result.requests <= 100 * 3 / 2 + 30); /* 100 full pages is the least */
}

static void failures_of_all_kinds_lose_nothing(void **state)
{
    struct fixture *f = *state;
    f->fake->chaos_percent = 10;
    for (unsigned seed = 301; seed <= 304; seed++) {
        f->seed = seed;
        f->fake->count = f->sink.count = f->sink.window_count = 0;
        make_history(f, 900);
        f->request.whole = true;
        read_all(f);
        assert_equals_source(f, NULL);
        assert_windows_tile(f, false, 0, false, 0);
    }
    assert_true(f->sink.dropped > 0);
}

/* Rarely enough that the other readers cannot make all of these requests between a refusal and its own retry: a second
 * refusal, of a newer token, is final. */
enum { LISTS_PER_TOKEN = 50 };

static void forget_token(struct fake_st *fake, const char *target)
{
    (void)target;
    if (fake->list_requests % LISTS_PER_TOKEN == 0)
        fake->token_valid[fake->last_token] = false;
}

static void tokens_that_expire_in_the_middle_are_replaced(void **state)
{
    struct fixture *f = *state;
    f->seed = 41;
    make_history(f, 1800);
    f->fake->before_list = forget_token;
    f->request.whole = true;
    read_all(f);
    assert_equals_source(f, NULL);
    assert_true(f->fake->tokens_made > 5);
    assert_true(f->fake->unauthorized > 0);
}

static void very_old_records_are_found(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 40; i++)
        fake_add(f->fake, TIMESTAMP_MIN_US + i * 86400000000LL, FAKE_BASE_US);
    for (int i = 0; i < 40; i++)
        fake_add(f->fake, FAKE_BASE_US + i, FAKE_BASE_US);
    f->request.whole = true;
    read_all(f);
    assert_equals_source(f, NULL);
}

static void records_of_the_future_are_found(void **state)
{
    struct fixture *f = *state;
    int64_t now_us = clock_wall_us();
    for (int i = 0; i < 60; i++)
        fake_add(f->fake, now_us + 86400000000LL * 30 + i * 3600000000LL, FAKE_BASE_US);
    f->request.range = (struct st_window){.column = ST_CREATED_ON, .has_from = true, .from_us = FAKE_BASE_US};
    read_all(f);
    assert_equals_source(f, NULL);
}

static void ties_beyond_a_page_are_paged_and_verified(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 100; i++)
        fake_add(f->fake, FAKE_BASE_US + 123456, FAKE_BASE_US + 123456);
    for (int i = 0; i < 20; i++)
        fake_add(f->fake, FAKE_BASE_US + i, FAKE_BASE_US + i);
    f->request.range = (struct st_window){.column = ST_MODIFIED_ON, .has_from = true, .from_us = FAKE_BASE_US};
    read_all(f);
    assert_equals_source(f, NULL);
}

static void a_tie_that_never_settles_is_no_success(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 100; i++)
        fake_add(f->fake, FAKE_BASE_US, FAKE_BASE_US);
    f->fake->shuffled = true;
    f->request.range = (struct st_window){
        .column = ST_CREATED_ON, .has_from = true, .has_to = true, .from_us = FAKE_BASE_US, .to_us = FAKE_BASE_US + 1};
    assert_false(read_with(f, NULL));
    assert_string_equal(f->err.code, "instant_unsettled");
    assert_int_equal(f->err.class, ERROR_RETRY);
    assert_int_equal(f->sink.window_count, 0);
}

/* With each pass one record leaves the instant and another one enters it: every pass is whole, no two are equal. */
static void swap_members(struct fake_st *fake, const char *target)
{
    if (!strstr(target, "&page=1&") || !strstr(target, "000001Z"))
        return;
    for (size_t i = 0; i < 2; i++)
        fake->records[i].created_us = FAKE_BASE_US + (fake->records[i].created_us == FAKE_BASE_US ? 5000000 : 0);
}

static void a_tie_whose_members_change_is_no_success(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 30; i++)
        fake_add(f->fake, FAKE_BASE_US, FAKE_BASE_US);
    f->fake->records[0].created_us += 5000000;
    f->fake->before_list = swap_members;
    f->request.range = (struct st_window){
        .column = ST_CREATED_ON, .has_from = true, .has_to = true, .from_us = FAKE_BASE_US, .to_us = FAKE_BASE_US + 1};
    assert_false(read_with(f, NULL));
    assert_string_equal(f->err.code, "instant_unsettled");
    f->fake->before_list = NULL;
    read_all(f);
    assert_int_equal(f->sink.count, 29);
}

static void a_cut_count_is_counted_again(void **state)
{
    struct fixture *f = *state;
    int64_t count = 0;
    for (int i = 0; i < 30; i++)
        fake_add(f->fake, FAKE_BASE_US, FAKE_BASE_US);
    fake_fault_list(f->fake,
                    (struct fake_fault){.status = 0, .cut_bytes = SIZE_MAX - 1}); /* the last byte is missing */
    assert_true(st_count(f->client.tenant, fake_entity(), NULL, &count, NULL, &f->err));
    assert_int_equal(count, 30);
    assert_int_equal(f->fake->list_requests, 2);
}

static void smaller_caps_are_noticed(void **state)
{
    struct fixture *f = *state;
    for (int silent = 0; silent < 2; silent++) {
        struct fake_client fresh;
        struct fake_client kept = f->client;
        fake_client_init(&fresh, f->fake, 1e6, 20000);
        f->client = fresh;
        f->fake->count = f->sink.count = f->sink.window_count = 0;
        f->seed = 77;
        make_history(f, 900);
        f->fake->page_cap = 20;
        f->fake->cap_is_silent = silent;
        f->request.page_size = 50;
        f->request.range = (struct st_window){.column = ST_CREATED_ON, .has_from = true, .from_us = 0};
        read_all(f);
        assert_equals_source(f, NULL);
        fake_client_release(&fresh);
        f->client = kept;
    }
}

static void a_413_halves_the_page_for_good(void **state)
{
    struct fixture *f = *state;
    f->seed = 5;
    make_history(f, 1200);
    f->fake->refuse_above = 60;
    f->request.page_size = 200;
    f->request.whole = true;
    read_all(f);
    assert_equals_source(f, NULL);
    f->fake->max_page_asked = 0;
    f->sink.count = f->sink.window_count = 0;
    read_all(f);
    assert_int_equal(f->fake->max_page_asked, 50);
}

static const char incomplete[] = "{\"page\":1,\"pageSize\":7,\"hasMore\":false,\"totalCount\":3,\"data\":["
                                 "{\"id\":1,\"createdOn\":\"2025-01-01T00:00:00Z\"}]}";

static void a_reply_that_contradicts_itself_is_read_anew(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 3; i++)
        fake_add(f->fake, FAKE_BASE_US + i, FAKE_BASE_US);
    fake_fault_list(f->fake, (struct fake_fault){.status = 200, .body = incomplete});
    f->request.range = (struct st_window){.column = ST_CREATED_ON, .has_from = true, .from_us = FAKE_BASE_US};
    read_all(f);
    assert_equals_source(f, NULL);
    assert_int_equal(f->result.refetches, 1);
    assert_int_equal(f->sink.dropped, 1);
    for (int i = 0; i < 20; i++)
        fake_fault_list(f->fake, (struct fake_fault){.status = 200, .body = incomplete});
    assert_false(read_with(f, NULL));
    assert_string_equal(f->err.code, "page_incomplete");
    assert_int_equal(f->err.class, ERROR_RETRY);
    assert_int_equal(f->result.requests, 6);
}

static void an_ignored_filter_is_an_error_and_no_data(void **state)
{
    struct fixture *f = *state;
    static const int64_t counts[] = {3, 500};
    for (size_t i = 0; i < 2; i++) {
        f->fake->count = 0;
        for (int64_t n = 0; n < counts[i]; n++)
            fake_add(f->fake, FAKE_BASE_US - 5000000, FAKE_BASE_US - 5000000);
        f->fake->ignore_filter = true;
        f->fake->list_requests = 0;
        f->request.range = (struct st_window){.column = ST_MODIFIED_ON, .has_from = true, .from_us = FAKE_BASE_US};
        assert_false(read_with(f, NULL));
        assert_string_equal(f->err.code, "filter_ignored");
        assert_int_equal(f->err.class, ERROR_PERMANENT);
        assert_int_equal(f->fake->list_requests, 1);
        assert_int_equal(f->sink.window_count, 0);
    }
}

static void records_without_a_time_are_read_by_pages(void **state)
{
    struct fixture *f = *state;
    f->seed = 9;
    make_history(f, 400);
    for (size_t i = 0; i < f->fake->count; i += 37)
        f->fake->records[i].has_created = false;
    f->request.whole = true;
    read_all(f);
    assert_equals_source(f, NULL);
    size_t timeless = 0;
    for (size_t i = 0; i < f->sink.window_count; i++)
        timeless += f->sink.windows[i].timeless;
    assert_int_equal(timeless, 1);
}

/* ---- Live data ---- */

/* With each list request one old record is edited and a new one is made. */
static void edit_one(struct fake_st *fake, const char *target)
{
    (void)target;
    int64_t now_us = clock_wall_us() + fake->date_skew_us;
    size_t stable = *(size_t *)fake->user;
    if (fake->count < stable + 300) {
        size_t victim = random_u64() % stable;
        if (fake->records[victim].id % 2 == 0)
            fake->records[victim].modified_us = now_us;
        fake_add(fake, now_us, now_us);
    }
}

static bool unchanged(const struct fixture *f, const struct fake_record *r)
{
    return r->id % 2 == 1 && (size_t)r->id <= *(size_t *)f->fake->user && in_range(f, r);
}

static void assert_contains(struct fixture *f, bool (*wanted)(const struct fixture *, const struct fake_record *))
{
    qsort(f->sink.ids, f->sink.count, sizeof f->sink.ids[0], by_id);
    for (size_t i = 0; i < f->fake->count; i++) {
        int64_t id = f->fake->records[i].id;
        if (wanted(f, &f->fake->records[i]) && !bsearch(&id, f->sink.ids, f->sink.count, sizeof id, by_id))
            fail_msg("record %lld is missing", (long long)id);
    }
}

static bool all_of_the_start(const struct fixture *f, const struct fake_record *r)
{
    return (size_t)r->id <= *(size_t *)f->fake->user && r->modified_us >= f->request.range.from_us;
}

static void edits_during_the_read_lose_nothing(void **state)
{
    struct fixture *f = *state;
    for (unsigned seed = 201; seed <= 204; seed++) {
        f->seed = seed;
        f->fake->before_list = NULL;
        f->fake->count = f->sink.count = f->sink.window_count = 0;
        make_history(f, 800);
        f->fake->date_skew_us = ((int64_t)seed % 4 - 2) * 3 * 3600 * 1000000; /* the server's clock is hours off */
        size_t stable = f->fake->count;
        f->fake->user = &stable;
        f->fake->before_list = edit_one;
        f->request.range = (struct st_window){
            .column = ST_MODIFIED_ON, .has_from = true, .from_us = f->fake->records[100].modified_us};
        read_all(f);
        assert_contains(f, unchanged);
        /* Even what was edited meanwhile is there: the tail is read last. */
        assert_contains(f, all_of_the_start);
    }
}

/* Slow replies leave doubt about the server's clock. The tail must be cut in its past all the same: what is edited
 * between then and a cut in the future would get from an unread window into one that was read. */
static void a_doubtful_clock_cuts_the_tail_in_the_past(void **state)
{
    struct fixture *f = *state;
    static const int64_t skews_us[] = {-10800000000LL, -30000000, 0, 10800000000LL};
    for (size_t i = 0; i < sizeof skews_us / sizeof skews_us[0]; i++) {
        fake_client_release(&f->client);
        fake_client_init(&f->client, f->fake, 1e6, 200000);
        f->seed = 301 + (unsigned)i;
        f->fake->before_list = NULL;
        f->fake->count = f->sink.count = f->sink.window_count = 0;
        make_history(f, 400);
        f->fake->date_skew_us = skews_us[i];
        f->fake->latency_ms = 20000;
        size_t stable = f->fake->count;
        f->fake->user = &stable;
        f->fake->before_list = edit_one;
        f->request.range = (struct st_window){
            .column = ST_MODIFIED_ON, .has_from = true, .from_us = f->fake->records[100].modified_us};
        read_all(f);
        assert_contains(f, all_of_the_start);
    }
}

/* ---- Going on and giving up ---- */

static void accepted_windows_are_not_read_again(void **state)
{
    struct fixture *f = *state;
    f->seed = 31;
    make_history(f, 1000);
    f->request.whole = true;
    struct cancel *cancel = cancel_new(NULL);
    f->sink.cancel = cancel;
    f->sink.stop_after = 400;
    assert_false(read_with(f, cancel));
    assert_int_equal(f->err.class, ERROR_CANCELLED);
    assert_true(f->sink.count >= 400 && f->sink.count < 1000);
    qsort(f->sink.windows, f->sink.window_count, sizeof f->sink.windows[0], by_from);
    struct st_window *accepted = xcalloc(f->sink.window_count, sizeof *accepted);
    memcpy(accepted, f->sink.windows, f->sink.window_count * sizeof *accepted);
    f->request.accepted = accepted;
    f->request.accepted_count = f->sink.window_count;
    f->sink.stop_after = 0;
    size_t before = f->sink.count;
    read_all(f);
    assert_int_equal(f->result.records, f->sink.count - before);
    f->result.records = (int64_t)f->sink.count;
    f->result.windows = (int64_t)f->sink.window_count;
    assert_equals_source(f, NULL);
    assert_windows_tile(f, false, 0, false, 0);
    free(accepted);
    cancel_free(cancel);
}

static void a_sink_that_fails_ends_the_read(void **state)
{
    struct fixture *f = *state;
    f->seed = 3;
    make_history(f, 500);
    f->request.whole = true;
    f->sink.refuse_records = true;
    assert_false(read_with(f, NULL));
    assert_string_equal(f->err.code, "quarantine");
    f->sink.refuse_records = false;
    f->sink.refuse_ends = true;
    assert_false(read_with(f, NULL));
    assert_string_equal(f->err.code, "stage");
    assert_int_equal(f->sink.count, 0);
}

static void the_first_permanent_failure_is_the_reads(void **state)
{
    struct fixture *f = *state;
    f->seed = 4;
    make_history(f, 500);
    f->request.whole = true;
    for (int i = 0; i < 6; i++)
        fake_fault_list(f->fake, (struct fake_fault){.cut_bytes = SIZE_MAX});
    fake_fault_list(f->fake, (struct fake_fault){.status = 403, .body = "{\"title\":\"no scope\"}"});
    assert_false(read_with(f, NULL));
    assert_string_equal(f->err.code, "http_403");
    assert_int_equal(f->err.class, ERROR_PERMANENT);
}

static void an_outage_opens_the_breaker_and_the_read_defers(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 40; i++)
        fake_fault_list(f->fake, (struct fake_fault){.status = 503, .body = "<html>"});
    f->request.whole = true;
    assert_false(read_with(f, NULL));
    assert_int_equal(f->err.class, ERROR_RETRY);
    assert_int_not_equal(st_tenant_breaker(f->client.tenant), BREAKER_CLOSED);
    int sent = f->fake->list_requests;
    assert_true(sent <= 11); /* five tries, then probes */
    assert_false(read_with(f, NULL));
    assert_string_equal(f->err.code, "breaker_open");
    assert_true(f->err.wait_ms > 0);
    assert_int_equal(f->fake->list_requests, sent);
}

static void counts_are_exact(void **state)
{
    struct fixture *f = *state;
    struct st_window window = {
        .column = ST_CREATED_ON, .has_from = true, .has_to = true, .from_us = FAKE_BASE_US, .to_us = FAKE_BASE_US + 10};
    int64_t count = -1;
    for (int i = 0; i < 30; i++)
        fake_add(f->fake, FAKE_BASE_US + i, FAKE_BASE_US);
    assert_true(st_count(f->client.tenant, fake_entity(), &window, &count, NULL, &f->err));
    assert_int_equal(count, 10);
    assert_non_null(strstr(f->fake->last_target, "pageSize=1&"));
    assert_true(st_count(f->client.tenant, fake_entity(), NULL, &count, NULL, &f->err));
    assert_int_equal(count, 30);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    setenv("ST_CLOCK_SCALE", "1000", 1);
    log_set_level(LOG_LEVEL_FATAL);
    const struct CMUnitTest tests[] = {
        CASE(little_is_one_request),
        CASE(nothing_is_an_accepted_window_too),
        CASE(random_ranges_bring_every_record_once),
        CASE(random_whole_reads_find_the_bounds_of_history),
        CASE(a_large_even_history_costs_few_extra_requests),
        CASE(failures_of_all_kinds_lose_nothing),
        CASE(tokens_that_expire_in_the_middle_are_replaced),
        CASE(very_old_records_are_found),
        CASE(records_of_the_future_are_found),
        CASE(ties_beyond_a_page_are_paged_and_verified),
        CASE(a_tie_that_never_settles_is_no_success),
        CASE(a_tie_whose_members_change_is_no_success),
        CASE(a_cut_count_is_counted_again),
        CASE(smaller_caps_are_noticed),
        CASE(a_413_halves_the_page_for_good),
        CASE(a_reply_that_contradicts_itself_is_read_anew),
        CASE(an_ignored_filter_is_an_error_and_no_data),
        CASE(records_without_a_time_are_read_by_pages),
        CASE(edits_during_the_read_lose_nothing),
        CASE(a_doubtful_clock_cuts_the_tail_in_the_past),
        CASE(accepted_windows_are_not_read_again),
        CASE(a_sink_that_fails_ends_the_read),
        CASE(the_first_permanent_failure_is_the_reads),
        CASE(an_outage_opens_the_breaker_and_the_read_defers),
        CASE(counts_are_exact),
    };
    http_global_init();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    http_global_release();
    return failed;
}
