/* fetch.c - one window, one page, one fetch: asked for, checked, handed to the sink, accepted or made anew.
 *
 * A fetch is complete when it brought exactly as many records as the totalCount of that same reply says, and hasMore is
 * not true. What other replies said does not matter: totals change while they are read. When the total shows that the
 * window cannot fit, the transfer is stopped; the first record is still looked at, so that an ignored filter shows in
 * the first reply already. */
#include "reading.h"

#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/log.h"
#include "base/timestamp.h"
#include "record/encoder.h"

enum { REFETCHES = 5, MAX_IDENTITIES = 2 * 1000 * 1000 };

/* ---- Records ----------------------------------------------------------------------------------------------------- */

static bool refuse(struct reader *reader, struct st_record_times times)
{
    char from[TIMESTAMP_TEXT_SIZE], to[TIMESTAMP_TEXT_SIZE], seen[TIMESTAMP_TEXT_SIZE];
    const struct st_window *window = &reader->window;
    int64_t us = window->column == ST_CREATED_ON ? times.created_us : times.modified_us;
    reader->refused = true;
    return error_set(&reader->error, ERROR_PERMANENT, "filter_ignored",
                     "cannot read %s: a record of %s \"%s\" came for the window [%s, %s), so the filter is not applied "
                     "by the endpoint",
                     reader->reading->request->entity->name,
                     window->column == ST_CREATED_ON ? "createdOn" : "modifiedOn", timestamp_text(seen, us, 6),
                     window->has_from ? timestamp_text(from, window->from_us, 6) : "-",
                     window->has_to ? timestamp_text(to, window->to_us, 6) : "-");
}

static void collect_identity(struct reader *reader, struct slice record, const struct row_info *info)
{
    struct identities *all = reader->identities;
    if (all->count == all->capacity) {
        all->capacity = all->capacity ? 2 * all->capacity : 1024;
        all->hashes = xrealloc(all->hashes, all->capacity * sizeof all->hashes[0]);
    }
    all->hashes[all->count++] = info->has_id ? (uint64_t)info->id : XXH3_64bits(record.ptr, record.len);
    all->all_have_id = all->all_have_id && info->has_id;
}

/* Looks at a record without handing it out, when its times or its identity are needed. */
static bool look_at(struct reader *reader, struct slice record, struct st_record_times *ret)
{
    struct row_info info = {0};
    if (!record_peek(reader->reading->request->entity, record, &info))
        return true; /* no object: the sink's encoder says what is wrong with it */
    *ret = (struct st_record_times){info.has_created, info.has_modified, info.created_us, info.modified_us};
    bool wanted = !reader->window.timeless || !info.has_created;
    if (!wanted || !reader->identities)
        return wanted;
    if (reader->identities->count == MAX_IDENTITIES) {
        reader->refused = true;
        return error_set(&reader->error, ERROR_PERMANENT, "tie_too_large",
                         "cannot read %s: more than %d records share one instant",
                         reader->reading->request->entity->name, MAX_IDENTITIES);
    }
    collect_identity(reader, record, &info);
    return true;
}

static void begin_sink(struct reader *reader)
{
    const struct st_sink *sink = reader->reading->sink;
    if (reader->begun)
        return;
    reader->fetch = sink->begin(sink->user, &reader->window);
    reader->begun = true;
    sink->sent(reader->fetch, reader->sent_at_us);
}

static bool hand_out(struct reader *reader, struct slice record, struct st_record_times *times)
{
    begin_sink(reader);
    reader->refused = !reader->reading->sink->record(reader->fetch, record, times, &reader->error);
    reader->handed_out += !reader->refused;
    return !reader->refused;
}

static int64_t page_holds(const struct reader *reader, const struct page_envelope *seen)
{
    bool smaller = seen->page_size > 0 && seen->page_size < reader->asked_page_size;
    return smaller ? seen->page_size : reader->asked_page_size;
}

static bool is_overfull(const struct reader *reader, const struct page_envelope *seen)
{
    return !reader->paging && seen->total_count > page_holds(reader, seen);
}

static bool on_record(void *user, struct slice record)
{
    struct reader *reader = user;
    struct st_record_times times = {0};
    bool quiet = reader->silent || is_overfull(reader, page_envelope(reader->page));
    if (quiet || reader->identities || reader->window.timeless) {
        bool wanted = look_at(reader, record, &times);
        if (reader->refused)
            return false;
        if (!wanted)
            return true;
    }
    if (!quiet && !hand_out(reader, record, &times))
        return false;
    return reader->window.timeless || window_holds(&reader->window, &times, reader->sent_at_us) ||
           refuse(reader, times);
}

static bool stop_when_overfull(void *user, const struct page_envelope *seen)
{
    struct reader *reader = user;
    reader->overfull = is_overfull(reader, seen);
    return reader->overfull && seen->records > 0;
}

static void note_sending(void *user, int64_t sent_at_us)
{
    struct reader *reader = user;
    reader->sent_at_us = sent_at_us;
    atomic_fetch_add(&reader->reading->counters.requests, 1);
}

/* ---- One fetch --------------------------------------------------------------------------------------------------- */

void reader_init(struct reader *reader, struct st_reading *reading)
{
    *reader = (struct reader){.reading = reading};
    reader->page = page_new(on_record, reader);
}

void reader_release(struct reader *reader)
{
    page_free(reader->page);
}

static void begin_pass(struct reader *reader, const struct st_window *window, bool silent)
{
    struct st_reading *reading = reader->reading;
    reader->window = *window;
    reader->asked_page_size = st_page_size(reading->tenant, reading->request->entity, reading->request->page_size);
    reader->silent = silent;
    reader->paging = reader->overfull = reader->refused = false;
    reader->identities = NULL;
}

void reader_begin_fetch(struct reader *reader, const struct st_window *window)
{
    BUG_ON(reader->begun);
    begin_pass(reader, window, /* silent */ false);
    reader->handed_out = 0;
}

void reader_begin_silent(struct reader *reader, const struct st_window *window)
{
    begin_pass(reader, window, /* silent */ true);
}

bool reader_end_fetch(struct reader *reader, bool complete, struct error *err)
{
    if (complete)
        begin_sink(reader);
    if (!reader->begun)
        return true;
    reader->begun = false;
    bool kept = reader->reading->sink->end(reader->fetch, complete, err);
    reader->refused = complete && !kept; /* the sink has tried what it can: no new fetch */
    return kept;
}

void reader_drop_fetch(struct reader *reader)
{
    struct error ignored = ERROR_INIT;
    if (!reader_end_fetch(reader, /* complete */ false, &ignored))
        return; /* it is thrown away: nothing to fail */
}

static void tell_window(const struct reader *reader)
{
    static const struct log_context context = {.context = "v2-ingestor:servicetitan"};
    const struct st_window *window = &reader->window;
    char from[TIMESTAMP_TEXT_SIZE], to[TIMESTAMP_TEXT_SIZE];
    log_debug(&context, LOG_MSG("Window read"),
              LOG_STR("column", window->column == ST_CREATED_ON ? "createdOn" : "modifiedOn"),
              LOG_STR("from", window->has_from ? timestamp_text(from, window->from_us, 3) : NULL),
              LOG_STR("to", window->has_to ? timestamp_text(to, window->to_us, 3) : NULL),
              LOG_INT("pageSize", reader->asked_page_size), LOG_INT("records", reader->handed_out));
}

void reader_count_accepted(struct reader *reader)
{
    tell_window(reader);
    struct st_reading *reading = reader->reading;
    int64_t records = atomic_fetch_add(&reading->counters.records, reader->handed_out) + reader->handed_out;
    atomic_fetch_add(&reading->counters.windows, 1);
    if (reading->request->progress)
        reading->request->progress(reading->request->progress_user, records, atomic_load(&reading->expected));
}

bool reader_list(struct reader *reader, int64_t page_number, struct st_list_reply *reply, struct error *err)
{
    struct st_list_request request = {
        .entity = reader->reading->request->entity,
        .window = reader->window,
        .unfiltered = reader->window.timeless || (!reader->window.has_from && !reader->window.has_to),
        .background = reader->reading->request->background,
        .by_id = reader->paging,
        .page = page_number,
        .page_size = reader->asked_page_size,
        .sink = reader->page,
        .sending = note_sending,
        .stop = stop_when_overfull,
        .user = reader,
    };
    bool ok = st_list(reader->reading->tenant, &request, reply, reader->reading->cancel, err);
    if (ok && reader->refused) {
        *err = reader->error;
        return false;
    }
    if (ok)
        st_page_ok(reader->reading->tenant, request.entity, request.page_size);
    return ok;
}

/* A smaller page than asked for is remembered, whether the envelope admits it or not. */
static void learn_page_size(const struct reader *reader, const struct page_envelope *seen)
{
    struct st_tenant *tenant = reader->reading->tenant;
    const struct entity *entity = reader->reading->request->entity;
    if (seen->page_size > 0 && seen->page_size < reader->asked_page_size)
        st_page_cap(tenant, entity, seen->page_size);
    else if (!reader->overfull && seen->has_more == 1 && seen->records > 0 && seen->records < reader->asked_page_size)
        st_page_cap(tenant, entity, seen->records);
}

/* How the records that came compare with what the reply says. */
static enum fetch_outcome judge(const struct reader *reader, const struct page_envelope *seen, int64_t *ret_count,
                                struct error *err)
{
    int64_t page = page_holds(reader, seen);
    int64_t total = seen->total_count >= 0 ? seen->total_count : seen->records + (seen->has_more == 1 ? page : 0);
    *ret_count = total;
    if (reader->overfull || (total > seen->records && (seen->has_more == 1 || total > page)))
        return FETCH_OVERFULL;
    if (total == seen->records && seen->has_more != 1)
        return FETCH_ACCEPTED;
    error_set(err, ERROR_RETRY, "page_incomplete", "could not read %s: %lld records came, but totalCount is %lld",
              reader->reading->request->entity->name, (long long)seen->records, (long long)total);
    return FETCH_FAILED;
}

static enum fetch_outcome fetch_once(struct reader *reader, const struct st_window *window, int64_t *ret_count,
                                     struct error *err)
{
    struct st_list_reply reply;
    enum fetch_outcome outcome = FETCH_FAILED;
    reader_begin_fetch(reader, window);
    if (reader_list(reader, 1, &reply, err)) {
        learn_page_size(reader, &reply.envelope);
        outcome = judge(reader, &reply.envelope, ret_count, err);
    }
    if (outcome != FETCH_ACCEPTED)
        reader_drop_fetch(reader);
    else if (!reader_end_fetch(reader, /* complete */ true, err))
        outcome = FETCH_FAILED;
    else
        reader_count_accepted(reader);
    return outcome;
}

/* Tries that st_list could not repeat itself, because records had been handed out or the reply contradicts itself. A
 * breaker that opened is waited for in the middle of a read only; before its first window the caller had better defer.
 */
bool reader_may_refetch(struct reader *reader, const struct error *err)
{
    if (strcmp(err->code, "breaker_open") == 0)
        return atomic_load(&reader->reading->counters.windows) > 0;
    if (reader->refused || !error_may_retry(err))
        return strcmp(err->code, "page_syntax") == 0 && page_envelope(reader->page)->records > 0;
    return strcmp(err->code, "page_incomplete") == 0 || page_envelope(reader->page)->records > 0;
}

enum fetch_outcome reader_read_window(struct reader *reader, const struct st_window *window, int64_t *ret_count,
                                      struct error *err)
{
    struct st_reading *reading = reader->reading;
    struct backoff backoff;
    struct backoff_policy policy = BACKOFF_DEFAULT;
    policy.max_retries = REFETCHES;
    backoff_init(&backoff, policy);
    for (;;) {
        enum fetch_outcome outcome = fetch_once(reader, window, ret_count, err);
        if (outcome != FETCH_FAILED)
            return outcome;
        bool smaller_page = strcmp(err->code, "page_too_large") == 0;
        if (!smaller_page &&
            (!reader_may_refetch(reader, err) ||
             !st_retry_wait(reading->tenant, &backoff, reading->request->entity->name, reading->cancel, err)))
            return FETCH_FAILED;
        atomic_fetch_add(&reading->counters.refetches, 1);
    }
}
