/* Step 5, encode: a record becomes a stage row, or goes to quarantine with its reason.
 *
 * A fetch lives on one reader thread. Its quarantined records are kept until it is accepted, so that a fetch that is
 * made anew does not report them twice; they are bounded in number and bytes. Its rows are gathered here and handed to the
 * appender, which all readers share, some dozens at a time. */
#include "run.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/timestamp.h"

enum { REFUSED_REASON_SIZE = 160, FETCH_MAX_QUARANTINE_BYTES = 1 << 20, QUARANTINE_MAX_PAYLOAD_BYTES = 256 * 1024 };

struct bad_record {
    struct bad_record *next;
    bool has_id;
    int64_t id;
    char reason[256];
    size_t len;
    char payload[];
};

struct fetch {
    struct fetch *next; /* in the index of live fetches */
    struct run *run;
    uint64_t tag;    /* of its rows; unique in the process */
    int64_t refused; /* rows that BigQuery refused; under the index's lock until the wait is over */
    char refused_reason[REFUSED_REASON_SIZE];
    enum row_choice choice;
    bool from_export;
    int64_t fetch_id;
    struct st_window window;
    int64_t begun_us;
    struct record_encoder *encoder;     /* made when the request is sent: rows carry that time */
    struct bq_rows rows;                /* not yet with the appender */
    uint64_t first_ticket, last_ticket; /* of those that are */
    bool any_added;
    int64_t read; /* records that are this fetch's; each ends as a row or in quarantine */
    int64_t quarantined;
    struct bad_record *bad; /* newest first */
    size_t bad_bytes;
};

/* Live fetches by tag: a row may be refused after the fetch that made it was given up. */
struct fetch_index {
    pthread_mutex_t lock;
    uint64_t last_tag;
    struct fetch *first;
};

struct fetch_index *fetch_index_new(void)
{
    struct fetch_index *index = xcalloc(1, sizeof *index);
    pthread_mutex_init(&index->lock, NULL);
    return index;
}

void fetch_index_free(struct fetch_index *index)
{
    if (!index)
        return;
    pthread_mutex_destroy(&index->lock);
    free(index);
}

/* On the appender's thread. */
static void row_refused(void *user, uint64_t tag, struct slice row, const char *message)
{
    struct fetch_index *index = user;
    (void)row;
    pthread_mutex_lock(&index->lock);
    for (struct fetch *fetch = index->first; fetch; fetch = fetch->next) {
        if (fetch->tag == tag) {
            fetch->refused++;
            snprintf(fetch->refused_reason, sizeof fetch->refused_reason, "%s", message);
        }
    }
    pthread_mutex_unlock(&index->lock);
}

struct fetch *fetch_new(struct run *run, const struct st_window *window, enum row_choice choice)
{
    struct fetch_index *index = run->env->fetches;
    struct fetch *fetch = xcalloc(1, sizeof *fetch);
    fetch->run = run;
    fetch->choice = choice;
    fetch->from_export = window == NULL;
    fetch->fetch_id = stage_next_fetch(run);
    if (window)
        fetch->window = *window;
    fetch->begun_us = clock_wall_us();
    pthread_mutex_lock(&index->lock);
    fetch->tag = ++index->last_tag;
    fetch->rows.tag = fetch->tag;
    fetch->rows.on_error = row_refused;
    fetch->rows.user = index;
    fetch->next = index->first;
    index->first = fetch;
    pthread_mutex_unlock(&index->lock);
    return fetch;
}

static void forget(struct fetch *fetch)
{
    struct fetch_index *index = fetch->run->env->fetches;
    pthread_mutex_lock(&index->lock);
    struct fetch **at = &index->first;
    while (*at != fetch)
        at = &(*at)->next;
    *at = fetch->next;
    pthread_mutex_unlock(&index->lock);
}

void fetch_free(struct fetch *fetch)
{
    forget(fetch);
    while (fetch->bad) {
        struct bad_record *next = fetch->bad->next;
        free(fetch->bad);
        fetch->bad = next;
    }
    record_encoder_free(fetch->encoder);
    bq_rows_release(&fetch->rows);
    free(fetch);
}

void fetch_sent(struct fetch *fetch, int64_t fetched_at_us)
{
    if (fetch->encoder)
        return;
    const struct row_context context = {fetch->run->message->task.tenant, fetch->run->run_id, fetch->fetch_id,
                                        fetched_at_us, fetch->from_export};
    fetch->encoder = record_encoder_new(fetch->run->entity, &context);
}

static void keep_bad(struct fetch *fetch, struct slice record, const struct row_info *info)
{
    size_t len = record.len < QUARANTINE_MAX_PAYLOAD_BYTES ? record.len : QUARANTINE_MAX_PAYLOAD_BYTES;
    fetch->quarantined++;
    if (fetch->bad_bytes + sizeof(struct bad_record) + len > FETCH_MAX_QUARANTINE_BYTES)
        return; /* counted; the share of bad records ends such a run anyway */
    struct bad_record *bad = xmalloc(sizeof *bad + len);
    *bad = (struct bad_record){.next = fetch->bad, .has_id = info->has_id, .id = info->id, .len = len};
    memcpy(bad->reason, info->reason, sizeof bad->reason);
    memcpy(bad->payload, record.ptr, len);
    fetch->bad = bad;
    fetch->bad_bytes += sizeof *bad + len;
}

static bool add_rows(struct fetch *fetch, struct error *err)
{
    uint64_t first;
    if (fetch->rows.count == 0)
        return true;
    if (!bq_appender_add_rows(fetch->run->stage.appender, &fetch->rows, &first, fetch->run->cancel, err))
        return false;
    if (!fetch->any_added)
        fetch->first_ticket = first;
    fetch->last_ticket = first + fetch->rows.count - 1;
    fetch->any_added = true;
    bq_rows_clear(&fetch->rows);
    return true;
}

/* Rows that this read does not want: those of groups are read whole later, those with modifiedOn came by it already. */
static bool is_wanted(struct fetch *fetch, const struct row_info *info)
{
    switch (fetch->choice) {
    case ROW_ALL:
        return true;
    case ROW_WITH_ID:
        if (info->has_id || !info->has_created)
            return true; /* without id and day it belongs nowhere: the encoder refuses it */
        stage_add_group_day(fetch->run, timestamp_to_days(info->created_us));
        return false;
    case ROW_WITHOUT_ID:
        return !info->has_id;
    case ROW_WITHOUT_MODIFIED:
        return !info->has_modified;
    }
    return true;
}

bool fetch_record(struct fetch *fetch, struct slice record, struct st_record_times *ret, struct error *err)
{
    struct row_info info = {0};
    bool ok = true;
    /* What cannot even be looked at is the encoder's to refuse: it must not vanish. */
    if (fetch->choice == ROW_ALL || !record_peek(fetch->run->entity, record, &info) || is_wanted(fetch, &info)) {
        fetch->read++;
        if (record_encode(fetch->encoder, record, &fetch->rows.bytes, &info) == ROW_ENCODED) {
            bq_rows_end_row(&fetch->rows);
            ok = !bq_rows_is_full(&fetch->rows) || add_rows(fetch, err);
        } else {
            keep_bad(fetch, record, &info);
        }
    }
    *ret = (struct st_record_times){info.has_created, info.has_modified, info.created_us, info.modified_us};
    return ok;
}

/* What BigQuery would not take is data too: one entry with the count and the last reason. */
static void keep_refused(struct fetch *fetch)
{
    struct row_info info = {0};
    if (fetch->refused == 0)
        return;
    snprintf(info.reason, sizeof info.reason, "BigQuery refused %lld rows: %s", (long long)fetch->refused,
             fetch->refused_reason);
    keep_bad(fetch, SLICE_LIT(""), &info);
    fetch->quarantined += fetch->refused - 1;
}

static bool report_bad(struct fetch *fetch, struct error *err)
{
    const struct run *run = fetch->run;
    for (const struct bad_record *bad = fetch->bad; bad; bad = bad->next) {
        const struct event_quarantine event = {
            .run_id = run->run_id,
            .entity = run->entity->name,
            .reason = bad->reason,
            .payload = slice_of(bad->payload, bad->len),
            .tenant = run->message->task.tenant,
            .fetch_id = fetch->fetch_id,
            .at_us = clock_wall_us(),
            .id = bad->id,
            .has_id = bad->has_id,
        };
        if (!events_quarantine(run->env->services->events, &event, run->cancel, err))
            return error_prefix(err, "writing to the quarantine");
    }
    return true;
}

/* For alerts: one line per fetch that brought such records, in the brief's words. */
static void tell_bad(const struct fetch *fetch)
{
    static struct log_limit limit;
    const struct log_context *log = &fetch->run->log;
    char message[320];
    int64_t left_out;
    if (fetch->quarantined == 0 || !log_enabled(LOG_LEVEL_WARN) || !log_limit_pass(&limit, &left_out))
        return;
    snprintf(message, sizeof message, "Schema validation failed: %s",
             fetch->bad ? fetch->bad->reason : "see the quarantine table");
    log_warn(log, LOG_MSG(message), LOG_INT("recordsQuarantined", fetch->quarantined),
             LOG_INT("recordsFetched", fetch->read), LOG_INT("leftOut", left_out));
}

static void take_drift(void *user, const char *field, enum drift_kind kind, int64_t count, struct slice sample)
{
    stage_add_drift(user, field, kind, count, sample);
}

bool fetch_complete(struct fetch *fetch, struct error *err)
{
    struct run *run = fetch->run;
    if (!add_rows(fetch, err) || (fetch->any_added && !bq_appender_wait_range(run->stage.appender, fetch->first_ticket,
                                                                              fetch->last_ticket, run->cancel, err)))
        return error_prefix(err, "staging %s", run->entity->name);
    keep_refused(fetch);
    if (!report_bad(fetch, err))
        return false;
    if (fetch->encoder)
        record_encoder_each_drift(fetch->encoder, take_drift, run);
    int64_t rows = (fetch->encoder ? record_encoder_rows(fetch->encoder) : 0) - fetch->refused;
    if (fetch->read != rows + fetch->quarantined)
        return error_set(err, ERROR_PERMANENT, "fetch_unbalanced",
                         "cannot accept fetch %lld of %s: of %lld records %lld were staged and %lld quarantined",
                         (long long)fetch->fetch_id, run->entity->name, (long long)fetch->read, (long long)rows,
                         (long long)fetch->quarantined);
    stage_accept(run, fetch->fetch_id, fetch->read, rows, fetch->quarantined);
    tell_bad(fetch);
    if (!fetch->from_export && fetch->choice == ROW_ALL) /* others hold a part of their window */
        checkpoint_add(run, &fetch->window, fetch->fetch_id, rows, fetch->begun_us);
    return true;
}
