/* read.c - a complete read of a time range.
 *
 *   gaps      the parts of the range that the checkpoint does not cover
 *   spans     closed gaps, eaten bite by bite by the reader threads (windows.h)
 *   tail      the newest, unbounded window comes last: whatever was edited while the rest was read has moved there
 *   timeless  a full read compares the filtered with the unfiltered total, and pages for the records that have no
 * createdOn
 *
 * A tail that holds more than a page gives its part before "now" to the readers and is asked for again from there, so
 * an incremental read of little is one request. The first failure that no retry mends ends all readers. */
#include "reading.h"

#include <stdlib.h>
#include <string.h>

#include "base/timestamp.h"

enum {
    READER_STACK_BYTES = 256 * 1024,
    MAX_READERS = 256,
    TAIL_ROUNDS = 64,
    TOTAL_TRIES = 5,
};
#define SECOND_US 1000000LL
#define FAR_FUTURE_US 253370764800000000LL /* 9999-01-01: a bound that every record with a time is below */

/* ---- Failing ----------------------------------------------------------------------------------------------------- */

/* The first failure is the read's; what follows from ending the others is not. */
static void fail(struct st_reading *reading, const struct error *err)
{
    pthread_mutex_lock(&reading->failure.mutex);
    bool first = !reading->failure.failed;
    if (first) {
        reading->failure.failed = true;
        reading->failure.first = *err;
    }
    pthread_mutex_unlock(&reading->failure.mutex);
    if (!first)
        return;
    cancel_set(reading->cancel, "another window failed");
    work_stop(&reading->work);
}

/* ---- Spans ------------------------------------------------------------------------------------------------------- */

static void share_work(struct reader *reader, struct span *span, int64_t page_size)
{
    struct span upper;
    while (work_is_hungry(&reader->reading->work) && span_halve(span, page_size, &upper))
        work_push(&reader->reading->work, upper);
}

/* More than a page, and no time left to split: page inside it, or look below the guessed beginning of history. */
static bool read_unsplittable(struct reader *reader, struct span *span, const struct st_window *window, int64_t count,
                              struct error *err)
{
    if (span->open_from && span->from_us > TIMESTAMP_MIN_US) {
        span->from_us = TIMESTAMP_MIN_US;
        span->per_us = (double)count / (double)(span->to_us - span->from_us);
        return true;
    }
    if (!reader_read_instant(reader, window, err))
        return false;
    span->from_us += 1;
    span->open_from = false;
    return true;
}

static bool take_bite(struct reader *reader, struct span *span, int64_t page_size, struct error *err)
{
    enum st_column column = reader->reading->column;
    int64_t count = 0, end_us = span_bite_end(span, page_size);
    struct st_window window = window_of(column, span->open_from ? WINDOW_BEGINNING : span->from_us, end_us);
    switch (reader_read_window(reader, &window, &count, err)) {
    case FETCH_ACCEPTED:
        span_learn(span, end_us, count);
        span->from_us = end_us;
        span->open_from = false;
        return true;
    case FETCH_OVERFULL:
        atomic_fetch_add(&reader->reading->counters.splits, 1);
        if (end_us - span->from_us <= 1)
            return read_unsplittable(reader, span, &window, count, err);
        span_overfull(span, end_us, count, page_size);
        return true;
    case FETCH_FAILED:
        break;
    }
    return false;
}

static bool read_span(struct reader *reader, struct span *span, struct error *err)
{
    const struct st_read_request *request = reader->reading->request;
    while (span->from_us < span->to_us) {
        int64_t page_size = st_page_size(reader->reading->tenant, request->entity, request->page_size);
        share_work(reader, span, page_size);
        if (!cancel_check(reader->reading->cancel, err) || !take_bite(reader, span, page_size, err))
            return false;
    }
    return true;
}

static void *reader_main(void *user)
{
    struct st_reading *reading = user;
    struct reader reader;
    struct span span;
    log_scope_set(reading->scope);
    reader_init(&reader, reading);
    while (work_take(&reading->work, &span)) {
        struct error err = ERROR_INIT;
        if (!read_span(&reader, &span, &err))
            fail(reading, &err);
        work_done(&reading->work);
    }
    reader_release(&reader);
    return NULL;
}

static int start_readers(struct st_reading *reading, pthread_t *threads, int wanted, struct error *err)
{
    pthread_attr_t attr;
    int started = 0;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, READER_STACK_BYTES);
    while (started < wanted) {
        int errnum = pthread_create(&threads[started], &attr, reader_main, reading);
        if (errnum != 0) {
            error_errno(err, errnum, "could not start a reader thread");
            err->class = ERROR_RETRY;
            fail(reading, err);
            break;
        }
        started++;
    }
    pthread_attr_destroy(&attr);
    return started;
}

static int reader_count(const struct st_reading *reading)
{
    int wanted = reading->request->concurrency;
    return wanted < 1 ? 1 : wanted > MAX_READERS ? MAX_READERS : wanted;
}

/* Reads all spans that wait in reading->work. */
static bool run_readers(struct st_reading *reading, struct error *err)
{
    pthread_t threads[MAX_READERS];
    int started = start_readers(reading, threads, reader_count(reading), err);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (reading->failure.failed)
        *err = reading->failure.first;
    return !reading->failure.failed;
}

/* ---- Gaps and the tail ------------------------------------------------------------------------------------------- */

static int64_t counted_from(int64_t from_us)
{
    return from_us == WINDOW_BEGINNING ? SPAN_HISTORY_FLOOR_US : from_us;
}

static void push_span(struct st_reading *reading, int64_t from_us, int64_t to_us, int64_t expected)
{
    struct span span = {counted_from(from_us), to_us, from_us == WINDOW_BEGINNING, -1};
    if (span.from_us >= to_us)
        span.from_us = TIMESTAMP_MIN_US < to_us ? TIMESTAMP_MIN_US : to_us - 1;
    if (expected >= 0)
        span.per_us = (double)expected / (double)(span.to_us - span.from_us);
    work_push(&reading->work, span);
}

static bool read_closed_gaps(struct st_reading *reading, const struct st_window *gaps, size_t count, struct error *err)
{
    for (size_t i = count; i > 0; i--) /* a stack: the oldest is read first */
        push_span(reading, window_from(&gaps[i - 1]), window_to(&gaps[i - 1]), -1);
    return count == 0 || run_readers(reading, err);
}

/* Where an overfull tail is cut: at the server's now and not later, since a record that is edited must not get from an
 * unread window into one that was read. Only what lies in the future (step_us > 0) is cut beyond its beginning. */
static bool cut_tail(struct st_reading *reading, int64_t from_us, int64_t step_us, int64_t *ret_us, struct error *err)
{
    int64_t now_us, begin_us = counted_from(from_us);
    if (!st_tenant_now(reading->tenant, &now_us, reading->cancel, err))
        return false;
    int64_t whole_us = now_us - now_us % SECOND_US;
    if (whole_us > begin_us + step_us)
        *ret_us = whole_us;
    else if (now_us > begin_us + step_us)
        *ret_us = now_us;
    else
        *ret_us = begin_us + (step_us > 0 ? step_us : SECOND_US);
    if (*ret_us > TIMESTAMP_MAX_US)
        *ret_us = TIMESTAMP_MAX_US;
    return true;
}

/* Reads the part of an overfull tail before the cut, and moves its beginning there. */
static bool shorten_tail(struct st_reading *reading, int64_t *from_us, int64_t count, int64_t *step_us,
                         struct error *err)
{
    int64_t cut_us = 0, before = atomic_load(&reading->counters.records);
    atomic_fetch_add(&reading->counters.splits, 1);
    if (atomic_load(&reading->expected) < 0)
        atomic_store(&reading->expected, before + count);
    if (!cut_tail(reading, *from_us, *step_us, &cut_us, err))
        return false;
    push_span(reading, *from_us, cut_us, count);
    if (!run_readers(reading, err))
        return false;
    /* Nothing was before the cut: the tail lies in the future. */
    bool found = atomic_load(&reading->counters.records) > before;
    *step_us = found ? 0 : *step_us == 0 ? SECOND_US : *step_us < FAR_FUTURE_US / 4 ? *step_us * 2 : *step_us;
    *from_us = cut_us;
    return true;
}

static bool read_tail(struct st_reading *reading, int64_t from_us, struct error *err)
{
    struct reader reader;
    int64_t step_us = 0;
    bool ok = false;
    reader_init(&reader, reading);
    for (int round = 0; round < TAIL_ROUNDS; round++) {
        struct st_window tail = window_of(reading->column, from_us, WINDOW_END);
        int64_t count = 0;
        enum fetch_outcome outcome = reader_read_window(&reader, &tail, &count, err);
        ok = outcome == FETCH_ACCEPTED;
        if (outcome != FETCH_OVERFULL || !shorten_tail(reading, &from_us, count, &step_us, err))
            goto out;
    }
    error_set(err, ERROR_RETRY, "tail_grows",
              "could not read %s to the end: the newest records come faster than they can be read",
              reading->request->entity->name);
out:
    reader_release(&reader);
    return ok;
}

static bool read_gaps(struct st_reading *reading, const struct st_window *gaps, size_t count, struct error *err)
{
    bool has_tail = count > 0 && !gaps[count - 1].has_to;
    size_t closed = has_tail ? count - 1 : count;
    return read_closed_gaps(reading, gaps, closed, err) &&
           (!has_tail || read_tail(reading, window_from(&gaps[closed]), err));
}

/* ---- Records without createdOn ----------------------------------------------------------------------------------- */

/* How many records no window can find. The unfiltered total is asked for before and after, so that new records do not
 * count. */
static bool count_timeless(struct st_reading *reading, int64_t *ret, struct error *err)
{
    const struct entity *entity = reading->request->entity;
    struct st_window dated = window_of(ST_CREATED_ON, WINDOW_BEGINNING, FAR_FUTURE_US);
    int64_t before = 0, with_time = 0, after = 0;
    for (int i = 0; i < TOTAL_TRIES && (i == 0 || before != after); i++) {
        if (!st_count(reading->tenant, entity, NULL, &before, reading->cancel, err) ||
            !st_count(reading->tenant, entity, &dated, &with_time, reading->cancel, err) ||
            !st_count(reading->tenant, entity, NULL, &after, reading->cancel, err))
            return false;
        atomic_fetch_add(&reading->counters.requests, 3);
    }
    int64_t all = before < after ? before : after;
    *ret = all > with_time ? all - with_time : 0;
    return true;
}

static bool covers_timeless(const struct st_window *window)
{
    return window->timeless || (!window->has_from && !window->has_to);
}

static bool read_timeless(struct st_reading *reading, struct error *err)
{
    int64_t count = 0;
    for (size_t i = 0; i < reading->request->accepted_count; i++)
        if (covers_timeless(&reading->request->accepted[i]))
            return true;
    if (!count_timeless(reading, &count, err))
        return false;
    if (count == 0)
        return true;
    struct reader reader;
    reader_init(&reader, reading);
    bool ok = reader_read_timeless(&reader, count, err);
    reader_release(&reader);
    return ok;
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

static bool read_all(struct st_reading *reading, struct error *err)
{
    const struct st_read_request *request = reading->request;
    struct st_window range = request->range;
    if (request->whole)
        range = window_of(ST_CREATED_ON, WINDOW_BEGINNING, WINDOW_END);
    struct st_window *gaps = xcalloc(request->accepted_count + 1, sizeof *gaps);
    size_t count = window_gaps(&range, request->accepted, request->accepted_count, gaps);
    bool ok = read_gaps(reading, gaps, count, err);
    /* A whole read that fitted one page was unfiltered, and so brought these records too. */
    bool was_unfiltered =
        count == 1 && !gaps[0].has_from && !gaps[0].has_to && atomic_load(&reading->counters.splits) == 0;
    free(gaps);
    return ok && (!request->whole || was_unfiltered || read_timeless(reading, err));
}

static bool check_request(const struct st_read_request *request, struct error *err)
{
    const struct st_window *range = &request->range;
    if (!request->whole && range->has_from && range->has_to && range->from_us >= range->to_us)
        return error_set(err, ERROR_PERMANENT, "bad_window", "cannot read %s: the range ends before it begins",
                         request->entity->name);
    return true;
}

bool st_read(struct st_tenant *tenant, const struct st_read_request *request, const struct st_sink *sink,
             struct st_read_result *ret, struct cancel *cancel, struct error *err)
{
    struct st_reading reading = {.tenant = tenant, .request = request, .sink = sink, .scope = log_scope()};
    reading.column = request->whole ? ST_CREATED_ON : request->range.column;
    struct error local = ERROR_INIT;
    if (!check_request(request, err))
        return false;
    atomic_init(&reading.expected, -1);
    reading.cancel = cancel_new(cancel);
    pthread_mutex_init(&reading.failure.mutex, NULL);
    work_init(&reading.work, reader_count(&reading));
    bool ok = read_all(&reading, &local);
    *ret = (struct st_read_result){
        .records = atomic_load(&reading.counters.records),
        .windows = atomic_load(&reading.counters.windows),
        .requests = atomic_load(&reading.counters.requests),
        .splits = atomic_load(&reading.counters.splits),
        .refetches = atomic_load(&reading.counters.refetches),
    };
    work_release(&reading.work);
    pthread_mutex_destroy(&reading.failure.mutex);
    cancel_free(reading.cancel);
    if (!ok && err)
        *err = local;
    return ok;
}
