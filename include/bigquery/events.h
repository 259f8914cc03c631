/* events.h - the append-only event tables of st_logs_v2 and the views that show the latest of each.
 *
 * Event tables end in _events (sync_state_events, ingestion_log_events, ...); the views have the brief's names (sync_state,
 * ingestion_logs), so that its queries work as written. Written through the Storage Write API: concurrent writers never conflict. */
#ifndef ST_BIGQUERY_EVENTS_H
#define ST_BIGQUERY_EVENTS_H

#include "bigquery/write.h"
#include "record/schema.h"

/* Events of one kind, as values; each is encoded and appended, and durable when the call returns true. */
struct event_run { /* ingestion_log_events: one row at the start of a run (running), one at its end */
    const char *run_id, *task_id, *entity, *mode, *status /* running success failed skipped */, *message_id, *worker;
    int64_t tenant, start_us, end_us /* 0 = not yet */, frame_to_us, watermark_us;
    int64_t records_fetched, records_inserted, records_quarantined, rows_changed, requests, bytes_billed,
        delivery_attempt;
    const char *error_message, *error_class, *error_code;
    const char *verdict; /* done retry reject; NULL while it runs */
};
struct event_sync { /* sync_state_events */
    const char *entity, *run_id, *mode, *kind /* advance or reset */;
    int64_t tenant, last_sync_us, records_processed, updated_us;
    const char *continue_from; /* where the export feed goes on; "" or NULL: it was not read */
};
struct event_staged_fetches {
    const char *run_id; /* that staged them */
    int64_t first, last;
};
struct event_staged { /* staged_run_events: a run whose fetches are verified, ready to be merged */
    const char *run_id, *task_id, *target /* raw_jobs */, *lane /* live or backfill */;
    int64_t tenant, rows, bytes, staged_min_us, staged_max_us, announced_us;
    const struct event_staged_fetches *fetches;
    size_t fetch_count;
    bool full_groups; /* every group of rows without identity that it holds was read whole */
    bool withdrawn;   /* rejected: never merge it */
};
struct event_change { /* target_change_events: change n of a target has ended */
    const char *target, *job_id, *state /* success failed */, *error_code, *error_message;
    int64_t number, started_us, ended_us, rows_inserted, rows_updated, rows_deleted, bytes_billed;
    const char *const *run_ids;
    size_t run_count;
};
struct event_quarantine { /* quarantine */
    const char *run_id, *entity, *reason;
    struct slice payload;
    int64_t tenant, fetch_id, at_us, id;
    bool has_id;
};
struct event_drift { /* schema_drift */
    const char *run_id, *entity, *field, *kind;
    struct slice sample;
    int64_t tenant, count, at_us;
};
struct event_checkpoint { /* checkpoints: the frame of a task and its accepted fetches */
    const char *task_id, *run_id, *entity, *mode;
    int64_t tenant, at_us, frame_to_us, watermark_us;
    bool frame;         /* else a fetch */
    const char *column; /* NULL = the records without a time */
    bool has_from, has_to;
    int64_t from_us, to_us, fetch_id, rows, staged_at_us;
};
struct event_dead_letter { /* dead_letter_audit: what an operator did; "" = not known */
    const char *action /* replayed or discarded */, *message_id, *source_message_id, *new_message_id, *task_id, *run_id;
    const char *entity, *mode, *reason, *error_class, *error_code, *actor;
    int64_t tenant, attempts, replays;
    struct slice payload;
};
struct event_reconciliation { /* reconciliation: one comparison of a tenant's entity */
    const char *run_id, *entity, *form /* quick or deep */, *state /* equal or different */;
    int64_t tenant, from_us /* INT64_MIN: the beginning */, to_us, source_count, warehouse_count;
    int64_t missing, extra, stale, value, requests, checked_us;
};
enum event_backfill_kind {
    EVENT_BACKFILL_SLICE,     /* a slice is planned */
    EVENT_BACKFILL_HEAD,      /* the plan is complete: before this row its slices do not count */
    EVENT_BACKFILL_PUBLISHED, /* a slice's message is in the topic */
    EVENT_BACKFILL_RETRY,     /* a rejected slice is to be published again */
};
struct event_backfill { /* backfill_events; what a kind does not have stays 0 */
    enum event_backfill_kind kind;
    const char *backfill_id;
    int64_t slice;                                  /* number, from 1; HEAD: how many there are */
    const char *entity, *task_id;                   /* SLICE */
    int64_t tenant, from_us, to_us;                 /* SLICE; HEAD: the whole range */
    int64_t records, requests;                      /* SLICE, HEAD: expected */
    const char *message_id;                         /* PUBLISHED */
    const char *plan_key, *entities, *requested_by; /* HEAD: what was asked for, and its entities as people read them */
};
struct event_dispatch { /* dispatch_events: a schedule of an entity was served */
    const char *entity, *mode, *task_id, *message_id, *schedule;
    int64_t slot_us, dispatched_us /* the time for which it was found due */;
};

struct events;
struct events *events_new(struct bq_writer *writer, const char *logs_dataset); /* borrows the writer */
void events_free(struct events *events);
bool events_run(struct events *events, const struct event_run *e, struct cancel *cancel, struct error *err) MUST_CHECK;
bool events_sync(struct events *events, const struct event_sync *e, struct cancel *cancel,
                 struct error *err) MUST_CHECK;
bool events_staged(struct events *events, const struct event_staged *e, struct cancel *cancel,
                   struct error *err) MUST_CHECK;
bool events_change(struct events *events, const struct event_change *e, struct cancel *cancel,
                   struct error *err) MUST_CHECK;
bool events_quarantine(struct events *events, const struct event_quarantine *e, struct cancel *cancel,
                       struct error *err) MUST_CHECK;
bool events_drift(struct events *events, const struct event_drift *e, struct cancel *cancel,
                  struct error *err) MUST_CHECK;
bool events_reconciliation(struct events *events, const struct event_reconciliation *e, struct cancel *cancel,
                           struct error *err) MUST_CHECK;
/* All are durable, in one or few requests, when it returns true. */
bool events_checkpoints(struct events *events, const struct event_checkpoint *e, size_t count, struct cancel *cancel,
                        struct error *err) MUST_CHECK;
/* All are durable, in one or few requests, when it returns true. */
bool events_dead_letters(struct events *events, const struct event_dead_letter *e, size_t count, struct cancel *cancel,
                         struct error *err) MUST_CHECK;
/* Many at once: all are durable, in one or few requests, when it returns true. */
bool events_backfill(struct events *events, const struct event_backfill *e, size_t count, struct cancel *cancel,
                     struct error *err) MUST_CHECK;
bool events_dispatch(struct events *events, const struct event_dispatch *e, size_t count, struct cancel *cancel,
                     struct error *err) MUST_CHECK;

/* The event tables and views, for init, DDL and the analyzer test. */
size_t events_table_count(void);
const struct table_schema *events_table(size_t index);

#endif
