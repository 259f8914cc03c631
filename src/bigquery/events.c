/* events.c - events as rows of the event tables, each durable when the call returns.
 *
 * Values find their column by name, so that a table's columns can be re-ordered without touching this file. Any thread;
 * the appenders gather what several threads write at the same time into one request. */
#include "bigquery/events.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/evp.h>

#include "tables.h"

enum {
    EVENT_PAYLOAD_MAX_BYTES = 8 * 1024 * 1024, /* a row stays under BQ_APPEND_MAX_BYTES */
    EVENT_BASE64_MAX_BYTES = 6 * 1000 * 1000,
    EVENT_TEXT_MAX_BYTES = 64 * 1024,
};

struct events {
    struct bq_writer *writer; /* borrowed */
    char *dataset;
};

struct events *events_new(struct bq_writer *writer, const char *logs_dataset)
{
    struct events *events = xcalloc(1, sizeof *events);
    events->writer = writer;
    events->dataset = xstrdup(logs_dataset);
    return events;
}

void events_free(struct events *events)
{
    if (!events)
        return;
    free(events->dataset);
    free(events);
}

/* ---- One row ---------------------------------------------------------------------------------------------------- */

struct event_row {
    const struct table_schema *table;
    struct buf bytes;
};

static size_t position(const struct event_row *row, const char *column)
{
    size_t at = column_index(row->table->columns, row->table->column_count, column);
    if (at == SIZE_MAX)
        BUG("table '%s' has no column '%s'", row->table->name, column);
    return at;
}

/* The longest prefix of at most `max` bytes that does not end inside a character. */
static struct slice cut_text(struct slice text, size_t max)
{
    if (text.len <= max)
        return text;
    text.len = max;
    while (text.len > 0 && ((unsigned char)text.ptr[text.len] & 0xC0) == 0x80)
        text.len--;
    return text;
}

/* Text of ours or of foreign origin: what is not UTF-8 would break the whole request, so it is escaped as JSON would.
 */
static void put_slice(struct event_row *row, const char *column, struct slice text)
{
    if (!text.ptr)
        return;
    if (slice_is_utf8(text)) {
        row_put_string(&row->bytes, position(row, column), cut_text(text, EVENT_TEXT_MAX_BYTES));
        return;
    }
    struct buf clean = BUF_INIT;
    buf_append_json_string(&clean, cut_text(text, EVENT_TEXT_MAX_BYTES));
    row_put_string(&row->bytes, position(row, column), buf_slice(&clean));
    buf_release(&clean);
}

static void put_text(struct event_row *row, const char *column, const char *text)
{
    if (text)
        put_slice(row, column, slice_str(text));
}

static void put_int(struct event_row *row, const char *column, int64_t value)
{
    row_put_int64(&row->bytes, position(row, column), value);
}

/* 0 is "not known": no time of this project is 1970. */
static void put_time(struct event_row *row, const char *column, int64_t us)
{
    if (us != 0)
        put_int(row, column, us);
}

struct refusal {
    bool refused;
    char message[256];
};

static void on_refused(void *user, uint64_t tag, struct slice row, const char *message)
{
    struct refusal *refusal = user;
    (void)tag;
    (void)row;
    refusal->refused = true;
    snprintf(refusal->message, sizeof refusal->message, "%s", message);
}

/* Consumes the row. */
static bool append(struct events *events, struct event_row *row, struct cancel *cancel, struct error *err)
{
    struct bq_appender *appender = bq_writer_table(events->writer, events->dataset, row->table);
    struct refusal refusal = {false, ""};
    uint64_t ticket;
    bool ok = bq_appender_add(appender, buf_slice(&row->bytes), 0, on_refused, &refusal, &ticket, cancel, err) &&
              bq_appender_wait(appender, ticket, cancel, err);
    bq_appender_forget(appender, &refusal); /* a cancelled wait leaves the row under way */
    if (ok && refusal.refused)
        ok = error_set(err, ERROR_PERMANENT, "row_refused", "cannot write an event: %s", refusal.message);
    if (!ok)
        error_prefix(err, "table '%s'", row->table->name);
    buf_release(&row->bytes);
    return ok;
}

/* ---- Kinds ------------------------------------------------------------------------------------------------------- */

bool events_run(struct events *events, const struct event_run *e, struct cancel *cancel, struct error *err)
{
    struct event_row row = {&table_ingestion_log_events, BUF_INIT};
    put_text(&row, "run_id", e->run_id);
    put_text(&row, "task_id", e->task_id);
    put_text(&row, "entity_type", e->entity);
    put_int(&row, "tenant_id", e->tenant);
    put_text(&row, "mode", e->mode);
    put_text(&row, "status", e->status);
    put_time(&row, "start_time", e->start_us);
    put_time(&row, "end_time", e->end_us);
    if (e->end_us != 0)
        put_int(&row, "duration_ms", (e->end_us - e->start_us) / 1000);
    put_time(&row, "frame_to", e->frame_to_us);
    put_time(&row, "watermark", e->watermark_us);
    put_int(&row, "records_fetched", e->records_fetched);
    put_int(&row, "records_inserted", e->records_inserted);
    put_int(&row, "records_quarantined", e->records_quarantined);
    put_int(&row, "rows_changed", e->rows_changed);
    put_int(&row, "requests", e->requests);
    put_int(&row, "bytes_billed", e->bytes_billed);
    put_int(&row, "delivery_attempt", e->delivery_attempt);
    put_text(&row, "message_id", e->message_id);
    put_text(&row, "worker", e->worker);
    put_text(&row, "error_message", e->error_message);
    put_text(&row, "error_class", e->error_class);
    put_text(&row, "error_code", e->error_code);
    put_text(&row, "verdict", e->verdict);
    return append(events, &row, cancel, err);
}

bool events_sync(struct events *events, const struct event_sync *e, struct cancel *cancel, struct error *err)
{
    struct event_row row = {&table_sync_state_events, BUF_INIT};
    put_text(&row, "entity_type", e->entity);
    put_int(&row, "tenant_id", e->tenant);
    put_text(&row, "run_id", e->run_id);
    put_text(&row, "mode", e->mode);
    put_text(&row, "kind", e->kind);
    put_time(&row, "last_sync_time", e->last_sync_us);
    put_int(&row, "records_processed", e->records_processed);
    put_time(&row, "updated_at", e->updated_us);
    put_text(&row, "continue_from", e->continue_from);
    return append(events, &row, cancel, err);
}

static void put_fetches(struct event_row *row, const struct event_staged *e)
{
    struct buf range = BUF_INIT;
    for (size_t i = 0; i < e->fetch_count; i++) {
        buf_clear(&range);
        row_put_int64(&range, 0, e->fetches[i].first);
        row_put_int64(&range, 1, e->fetches[i].last);
        row_put_string(&range, 2, slice_str(e->fetches[i].run_id));
        row_put_string(&row->bytes, position(row, "fetches"), buf_slice(&range));
    }
    buf_release(&range);
}

bool events_staged(struct events *events, const struct event_staged *e, struct cancel *cancel, struct error *err)
{
    struct event_row row = {&table_staged_run_events, BUF_INIT};
    put_text(&row, "run_id", e->run_id);
    put_text(&row, "task_id", e->task_id);
    put_text(&row, "target", e->target);
    put_int(&row, "tenant_id", e->tenant);
    put_text(&row, "lane", e->lane);
    put_int(&row, "row_count", e->rows);
    put_int(&row, "byte_count", e->bytes);
    put_time(&row, "staged_min", e->staged_min_us);
    put_time(&row, "staged_max", e->staged_max_us);
    put_time(&row, "announced_at", e->announced_us);
    put_fetches(&row, e);
    put_int(&row, "full_groups", e->full_groups);
    put_int(&row, "withdrawn", e->withdrawn);
    return append(events, &row, cancel, err);
}

bool events_change(struct events *events, const struct event_change *e, struct cancel *cancel, struct error *err)
{
    struct event_row row = {&table_target_change_events, BUF_INIT};
    put_text(&row, "target", e->target);
    put_int(&row, "change_number", e->number);
    put_text(&row, "job_id", e->job_id);
    put_text(&row, "state", e->state);
    put_text(&row, "error_code", e->error_code);
    put_text(&row, "error_message", e->error_message);
    put_time(&row, "started_at", e->started_us);
    put_time(&row, "ended_at", e->ended_us);
    put_int(&row, "rows_inserted", e->rows_inserted);
    put_int(&row, "rows_updated", e->rows_updated);
    put_int(&row, "rows_deleted", e->rows_deleted);
    put_int(&row, "bytes_billed", e->bytes_billed);
    for (size_t i = 0; i < e->run_count; i++)
        put_text(&row, "run_ids", e->run_ids[i]);
    return append(events, &row, cancel, err);
}

/* The payload as text where it is text, else base64; cut where it would not fit a row. */
static void put_payload(struct event_row *row, struct slice payload)
{
    size_t at = position(row, "payload");
    bool utf8 = slice_is_utf8(payload);
    put_text(row, "payload_encoding", utf8 ? "utf8" : "base64");
    put_int(row, "payload_bytes", (int64_t)payload.len);
    if (utf8) {
        row_put_string(&row->bytes, at, cut_text(payload, EVENT_PAYLOAD_MAX_BYTES));
        return;
    }
    size_t len = payload.len < EVENT_BASE64_MAX_BYTES ? payload.len : EVENT_BASE64_MAX_BYTES;
    unsigned char *text = xmalloc(len / 3 * 4 + 8);
    int written = EVP_EncodeBlock(text, (const unsigned char *)payload.ptr, (int)len);
    row_put_string(&row->bytes, at, slice_of(text, (size_t)written));
    free(text);
}

bool events_quarantine(struct events *events, const struct event_quarantine *e, struct cancel *cancel,
                       struct error *err)
{
    struct event_row row = {&table_quarantine, BUF_INIT};
    put_text(&row, "run_id", e->run_id);
    put_text(&row, "entity_type", e->entity);
    put_int(&row, "tenant_id", e->tenant);
    put_int(&row, "fetch_id", e->fetch_id);
    if (e->has_id)
        put_int(&row, "record_id", e->id);
    put_text(&row, "reason", e->reason);
    put_payload(&row, e->payload);
    put_time(&row, "seen_at", e->at_us);
    return append(events, &row, cancel, err);
}

bool events_drift(struct events *events, const struct event_drift *e, struct cancel *cancel, struct error *err)
{
    struct event_row row = {&table_schema_drift, BUF_INIT};
    put_text(&row, "run_id", e->run_id);
    put_text(&row, "entity_type", e->entity);
    put_int(&row, "tenant_id", e->tenant);
    put_text(&row, "field", e->field);
    put_text(&row, "kind", e->kind);
    put_int(&row, "occurrences", e->count);
    put_slice(&row, "sample", e->sample);
    put_time(&row, "seen_at", e->at_us);
    return append(events, &row, cancel, err);
}

/* ---- Many rows at once -------------------------------------------------------------------------------------------- */

struct event_rows {
    const struct table_schema *table;
    struct refusal refusal;
    struct bq_rows rows;
    uint64_t first, last; /* tickets */
    bool any;
};

static void rows_init(struct event_rows *list, const struct table_schema *table)
{
    *list = (struct event_rows){.table = table};
    list->rows.on_error = on_refused;
    list->rows.user = &list->refusal;
}

static bool rows_hand_over(struct events *events, struct event_rows *list, struct cancel *cancel, struct error *err)
{
    struct bq_appender *appender = bq_writer_table(events->writer, events->dataset, list->table);
    uint64_t first;
    if (list->rows.count == 0)
        return true;
    if (!bq_appender_add_rows(appender, &list->rows, &first, cancel, err))
        return false;
    list->first = list->any ? list->first : first;
    list->last = first + list->rows.count - 1;
    list->any = true;
    bq_rows_clear(&list->rows);
    return true;
}

/* Consumes the row. */
static bool rows_add(struct events *events, struct event_rows *list, struct event_row *row, struct cancel *cancel,
                     struct error *err)
{
    buf_append_slice(&list->rows.bytes, buf_slice(&row->bytes));
    bq_rows_end_row(&list->rows);
    buf_release(&row->bytes);
    return !bq_rows_is_full(&list->rows) || rows_hand_over(events, list, cancel, err);
}

/* Waits until all are durable; ends the list in any case. */
static bool rows_finish(struct events *events, struct event_rows *list, bool ok, struct cancel *cancel,
                        struct error *err)
{
    struct bq_appender *appender = bq_writer_table(events->writer, events->dataset, list->table);
    ok = ok && rows_hand_over(events, list, cancel, err) &&
         (!list->any || bq_appender_wait_range(appender, list->first, list->last, cancel, err));
    bq_appender_forget(appender, &list->refusal);
    if (ok && list->refusal.refused)
        ok = error_set(err, ERROR_PERMANENT, "row_refused", "cannot write an event: %s", list->refusal.message);
    if (!ok)
        error_prefix(err, "table '%s'", list->table->name);
    bq_rows_release(&list->rows);
    return ok;
}

static void put_window(struct event_row *row, const struct event_checkpoint *e)
{
    put_text(row, "column_name", e->column);
    if (e->has_from)
        put_int(row, "window_from", e->from_us);
    if (e->has_to)
        put_int(row, "window_to", e->to_us);
    put_int(row, "fetch_id", e->fetch_id);
    put_int(row, "row_count", e->rows);
    put_time(row, "staged_at", e->staged_at_us);
}

static void put_checkpoint(struct event_row *row, const struct event_checkpoint *e)
{
    put_text(row, "task_id", e->task_id);
    put_text(row, "run_id", e->run_id);
    put_text(row, "kind", e->frame ? "frame" : "fetch");
    put_text(row, "entity_type", e->entity);
    put_int(row, "tenant_id", e->tenant);
    put_text(row, "mode", e->mode);
    put_time(row, "checkpoint_time", e->at_us);
    if (e->frame) {
        put_time(row, "frame_to", e->frame_to_us);
        put_time(row, "watermark", e->watermark_us);
    } else {
        put_window(row, e);
    }
}

bool events_checkpoints(struct events *events, const struct event_checkpoint *e, size_t count, struct cancel *cancel,
                        struct error *err)
{
    struct event_rows list;
    bool ok = true;
    rows_init(&list, &table_checkpoint_events);
    for (size_t i = 0; ok && i < count; i++) {
        struct event_row row = {&table_checkpoint_events, BUF_INIT};
        put_checkpoint(&row, &e[i]);
        ok = rows_add(events, &list, &row, cancel, err);
    }
    return rows_finish(events, &list, ok, cancel, err);
}

static void put_dead_letter(struct event_row *row, const struct event_dead_letter *e)
{
    put_text(row, "action", e->action);
    put_text(row, "message_id", e->message_id);
    put_text(row, "original_message_id", e->source_message_id);
    put_text(row, "new_message_id", e->new_message_id);
    put_text(row, "task_id", e->task_id);
    put_text(row, "run_id", e->run_id);
    put_text(row, "entity_type", e->entity);
    if (e->tenant)
        put_int(row, "tenant_id", e->tenant);
    put_text(row, "mode", e->mode);
    put_text(row, "reason", e->reason);
    put_text(row, "error_class", e->error_class);
    put_text(row, "error_code", e->error_code);
    put_int(row, "delivery_attempt", e->attempts);
    put_int(row, "replays", e->replays);
    put_text(row, "actor", e->actor);
    put_slice(row, "payload", e->payload);
}

bool events_reconciliation(struct events *events, const struct event_reconciliation *e, struct cancel *cancel,
                           struct error *err)
{
    struct event_row row = {&table_reconciliation, BUF_INIT};
    put_text(&row, "run_id", e->run_id);
    put_text(&row, "entity_type", e->entity);
    put_int(&row, "tenant_id", e->tenant);
    if (e->from_us != INT64_MIN)
        put_time(&row, "window_from", e->from_us);
    put_time(&row, "window_to", e->to_us);
    put_int(&row, "source_count", e->source_count);
    put_int(&row, "warehouse_count", e->warehouse_count);
    put_int(&row, "missing_count", e->missing);
    put_int(&row, "surplus_count", e->extra);
    put_int(&row, "stale_count", e->stale);
    put_int(&row, "different_count", e->value);
    put_text(&row, "form", e->form);
    put_text(&row, "state", e->state);
    put_int(&row, "requests", e->requests);
    put_time(&row, "checked_at", e->checked_us);
    return append(events, &row, cancel, err);
}

bool events_dead_letters(struct events *events, const struct event_dead_letter *e, size_t count, struct cancel *cancel,
                         struct error *err)
{
    struct event_rows list;
    bool ok = true;
    rows_init(&list, &table_dead_letter_audit);
    for (size_t i = 0; ok && i < count; i++) {
        struct event_row row = {&table_dead_letter_audit, BUF_INIT};
        put_dead_letter(&row, &e[i]);
        ok = rows_add(events, &list, &row, cancel, err);
    }
    return rows_finish(events, &list, ok, cancel, err);
}

static void put_backfill(struct event_row *row, const struct event_backfill *e)
{
    static const char *const kinds[] = {[EVENT_BACKFILL_SLICE] = "slice",
                                        [EVENT_BACKFILL_HEAD] = "head",
                                        [EVENT_BACKFILL_PUBLISHED] = "published",
                                        [EVENT_BACKFILL_RETRY] = "retry"};
    put_text(row, "backfill_id", e->backfill_id);
    put_text(row, "kind", kinds[e->kind]);
    put_int(row, "slice_number", e->slice);
    put_text(row, "message_id", e->message_id);
    if (e->kind != EVENT_BACKFILL_SLICE && e->kind != EVENT_BACKFILL_HEAD)
        return;
    put_text(row, "entity_type", e->entity);
    if (e->tenant)
        put_int(row, "tenant_id", e->tenant);
    put_int(row, "window_from", e->from_us);
    put_int(row, "window_to", e->to_us);
    put_int(row, "records_expected", e->records);
    put_int(row, "requests_expected", e->requests);
    put_text(row, "task_id", e->task_id);
    put_text(row, "plan_key", e->plan_key);
    put_text(row, "entities", e->entities);
    put_text(row, "requested_by", e->requested_by);
}

bool events_backfill(struct events *events, const struct event_backfill *e, size_t count, struct cancel *cancel,
                     struct error *err)
{
    struct event_rows list;
    bool ok = true;
    rows_init(&list, &table_backfill_events);
    for (size_t i = 0; ok && i < count; i++) {
        struct event_row row = {&table_backfill_events, BUF_INIT};
        put_backfill(&row, &e[i]);
        ok = rows_add(events, &list, &row, cancel, err);
    }
    return rows_finish(events, &list, ok, cancel, err);
}

bool events_dispatch(struct events *events, const struct event_dispatch *e, size_t count, struct cancel *cancel,
                     struct error *err)
{
    struct event_rows list;
    bool ok = true;
    rows_init(&list, &table_dispatch_events);
    for (size_t i = 0; ok && i < count; i++) {
        struct event_row row = {&table_dispatch_events, BUF_INIT};
        put_text(&row, "entity_type", e[i].entity);
        put_text(&row, "mode", e[i].mode);
        put_text(&row, "schedule", e[i].schedule);
        put_time(&row, "slot_time", e[i].slot_us);
        put_time(&row, "dispatched_at", e[i].dispatched_us);
        put_text(&row, "task_id", e[i].task_id);
        put_text(&row, "message_id", e[i].message_id);
        ok = rows_add(events, &list, &row, cancel, err);
    }
    return rows_finish(events, &list, ok, cancel, err);
}
