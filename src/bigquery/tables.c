/* tables.c - the event tables and views of the logs dataset.
 *
 * Tables are only appended to, so that any number of writers never conflict; a view shows what holds now. event_time is
 * the server's clock by DEFAULT: "latest" never depends on a worker's clock. Logs expire after 365 days; sync state and
 * target changes never do, because the watermark and the change chain are read from them. */
#include "tables.h"

enum { LOG_EXPIRY_DAYS = 365 };

#define COL(name_, type_, text_)                                                                                       \
    {                                                                                                                  \
        .name = (name_), .type = (type_), .description = (text_)                                                       \
    }
#define NEED(name_, type_, text_)                                                                                      \
    {                                                                                                                  \
        .name = (name_), .type = (type_), .mode = COLUMN_REQUIRED, .description = (text_)                              \
    }
#define EVENT_TIME                                                                                                     \
    {                                                                                                                  \
        .name = "event_time", .type = COLUMN_TIMESTAMP, .default_sql = "CURRENT_TIMESTAMP()",                          \
        .description = "When the row arrived, by the server's clock"                                                   \
    }
#define TABLE(ident_, name_, days_, text_, ...)                                                                        \
    const struct table_schema ident_ = {.name = (name_),                                                               \
                                        .description = (text_),                                                        \
                                        .columns = ident_##_columns,                                                   \
                                        .column_count = sizeof ident_##_columns / sizeof ident_##_columns[0],          \
                                        .partition = PARTITION_DAY,                                                    \
                                        .partition_column = "event_time",                                              \
                                        .partition_expiration_days = (days_),                                          \
                                        .cluster = {__VA_ARGS__}}

static const struct column table_ingestion_log_events_columns[] = {
    EVENT_TIME,
    NEED("run_id", COLUMN_STRING, "The run, a UUID"),
    COL("task_id", COLUMN_STRING, "The task that the run is an attempt at"),
    COL("entity_type", COLUMN_STRING, "Entity: jobs, invoices, ..."),
    COL("tenant_id", COLUMN_INT64, "ServiceTitan tenant"),
    COL("mode", COLUMN_STRING, "incremental, full, backfill or reconcile"),
    NEED("status", COLUMN_STRING, "running, success, failed, or skipped: the task was done already"),
    COL("start_time", COLUMN_TIMESTAMP, "Start of the run"),
    COL("end_time", COLUMN_TIMESTAMP, "End of the run; NULL while it runs"),
    COL("duration_ms", COLUMN_INT64, "End minus start"),
    COL("frame_to", COLUMN_TIMESTAMP, "Upper end of what the task reads"),
    COL("watermark", COLUMN_TIMESTAMP, "Watermark that the run started from or reached"),
    COL("records_fetched", COLUMN_INT64, "Records read from the API"),
    COL("records_inserted", COLUMN_INT64, "Rows staged and merged"),
    COL("records_quarantined", COLUMN_INT64, "Records that broke their schema"),
    COL("rows_changed", COLUMN_INT64, "Rows of the target that changed, this run's share"),
    COL("requests", COLUMN_INT64, "API requests made"),
    COL("bytes_billed", COLUMN_INT64, "Bytes that BigQuery billed, this run's share"),
    COL("delivery_attempt", COLUMN_INT64, "Attempt of the message"),
    COL("message_id", COLUMN_STRING, "Pub/Sub message id"),
    COL("worker", COLUMN_STRING, "Worker process"),
    COL("error_message", COLUMN_STRING, "Why the run failed"),
    COL("error_class", COLUMN_STRING, "retry, throttled, permanent or cancelled"),
    COL("error_code", COLUMN_STRING, "Short code of the error"),
    COL("verdict", COLUMN_STRING,
        "What became of the message: done, defer (it waits in the worker), retry (it comes again) or reject (dead "
        "letter)"),
};
TABLE(table_ingestion_log_events, "ingestion_log_events", LOG_EXPIRY_DAYS, "Runs: one row at the start, one at the end",
      "entity_type", "tenant_id", "run_id");

static const struct column table_sync_state_events_columns[] = {
    EVENT_TIME,
    NEED("entity_type", COLUMN_STRING, "Entity"),
    NEED("tenant_id", COLUMN_INT64, "ServiceTitan tenant"),
    COL("run_id", COLUMN_STRING, "Run that moved the watermark"),
    COL("mode", COLUMN_STRING, "Mode of that run"),
    NEED("kind", COLUMN_STRING, "advance, or reset: starts afresh from its own value"),
    COL("last_sync_time", COLUMN_TIMESTAMP, "The watermark: complete up to here"),
    COL("records_processed", COLUMN_INT64, "Records of that run"),
    COL("updated_at", COLUMN_TIMESTAMP, "When, by the worker's clock"),
    COL("continue_from", COLUMN_STRING, "Where the export feed goes on; NULL: that run did not read it"),
};
TABLE(table_sync_state_events, "sync_state_events", 0, "Watermarks: every advance and every reset; never expires",
      "tenant_id", "entity_type");

static const struct column fetch_range_fields[] = {
    COL("first_fetch", COLUMN_INT64, "First fetch of the range"),
    COL("last_fetch", COLUMN_INT64, "Last fetch of the range"),
    COL("run_id", COLUMN_STRING, "Run that staged them: an earlier attempt's, when this run resumed it"),
};
static const struct column table_staged_run_events_columns[] = {
    EVENT_TIME,
    NEED("run_id", COLUMN_STRING, "The run"),
    COL("task_id", COLUMN_STRING, "Its task"),
    NEED("target", COLUMN_STRING, "Target table, without dataset"),
    COL("tenant_id", COLUMN_INT64, "ServiceTitan tenant"),
    NEED("lane", COLUMN_STRING, "live or backfill"),
    COL("row_count", COLUMN_INT64, "Rows of the accepted fetches"),
    COL("byte_count", COLUMN_INT64, "Their bytes"),
    COL("staged_min", COLUMN_TIMESTAMP, "Earliest _staged_at of these rows"),
    COL("staged_max", COLUMN_TIMESTAMP, "Latest _staged_at of these rows"),
    COL("announced_at", COLUMN_TIMESTAMP, "When, by the worker's clock"),
    {.name = "fetches",
     .type = COLUMN_STRUCT,
     .mode = COLUMN_REPEATED,
     .fields = fetch_range_fields,
     .field_count = sizeof fetch_range_fields / sizeof fetch_range_fields[0],
     .description = "Accepted fetches, as ranges"},
    NEED("full_groups", COLUMN_BOOL, "Every group of rows without identity in it was read whole"),
    NEED("withdrawn", COLUMN_BOOL, "Rejected: never merge it"),
};
TABLE(table_staged_run_events, "staged_run_events", LOG_EXPIRY_DAYS,
      "Runs whose fetches are verified in the stage and wait to be merged", "target", "run_id");

static const struct column table_target_change_events_columns[] = {
    EVENT_TIME,
    NEED("target", COLUMN_STRING, "Target table, without dataset"),
    NEED("change_number", COLUMN_INT64, "Number of the change; job st_<dataset>_<target>_<number>"),
    COL("job_id", COLUMN_STRING, "The job"),
    NEED("state", COLUMN_STRING, "success or failed"),
    COL("error_code", COLUMN_STRING, "Reason of the failure"),
    COL("error_message", COLUMN_STRING, "Text of the failure"),
    COL("started_at", COLUMN_TIMESTAMP, "Start of the job"),
    COL("ended_at", COLUMN_TIMESTAMP, "End of the job"),
    COL("rows_inserted", COLUMN_INT64, "Rows inserted"),
    COL("rows_updated", COLUMN_INT64, "Rows updated"),
    COL("rows_deleted", COLUMN_INT64, "Rows deleted"),
    COL("bytes_billed", COLUMN_INT64, "Bytes billed"),
    {.name = "run_ids",
     .type = COLUMN_STRING,
     .mode = COLUMN_REPEATED,
     .description = "Runs that the change merged; none when it merged a part of a run's rows"},
};
TABLE(table_target_change_events, "target_change_events", 0,
      "Changes of each target that have ended; outlives BigQuery's own job history; never expires", "target",
      "change_number");

static const struct column table_checkpoint_events_columns[] = {
    EVENT_TIME,
    NEED("task_id", COLUMN_STRING, "The task"),
    NEED("run_id", COLUMN_STRING, "The run that wrote this"),
    NEED("kind", COLUMN_STRING, "frame (once per task) or fetch (one accepted fetch)"),
    COL("entity_type", COLUMN_STRING, "Entity"),
    COL("tenant_id", COLUMN_INT64, "ServiceTitan tenant"),
    COL("mode", COLUMN_STRING, "Mode"),
    COL("checkpoint_time", COLUMN_TIMESTAMP, "When, by the worker's clock"),
    COL("frame_to", COLUMN_TIMESTAMP, "Frame: upper end of what the task reads"),
    COL("watermark", COLUMN_TIMESTAMP, "Frame: watermark candidate"),
    COL("column_name", COLUMN_STRING, "Fetch: time column of the window; NULL = the records without a time"),
    COL("window_from", COLUMN_TIMESTAMP, "Fetch: from; NULL = no lower bound"),
    COL("window_to", COLUMN_TIMESTAMP, "Fetch: to, exclusive; NULL = no upper bound"),
    COL("fetch_id", COLUMN_INT64, "Fetch: its number in the run"),
    COL("row_count", COLUMN_INT64, "Fetch: rows"),
    COL("staged_at", COLUMN_TIMESTAMP, "Fetch: none of its rows was staged before"),
};
TABLE(table_checkpoint_events, "checkpoint_events", LOG_EXPIRY_DAYS,
      "Checkpoints: the frame of a task and its accepted fetches", "task_id", "run_id");

static const struct column table_schema_drift_columns[] = {
    EVENT_TIME,
    NEED("run_id", COLUMN_STRING, "The run that saw it"),
    NEED("entity_type", COLUMN_STRING, "Entity"),
    COL("tenant_id", COLUMN_INT64, "ServiceTitan tenant"),
    NEED("field", COLUMN_STRING, "Path of the field"),
    NEED("kind", COLUMN_STRING, "unknown_field, type, enum_value, ..."),
    COL("occurrences", COLUMN_INT64, "How often in that run"),
    COL("sample", COLUMN_STRING, "One value, cut"),
    COL("seen_at", COLUMN_TIMESTAMP, "When, by the worker's clock"),
};
TABLE(table_schema_drift, "schema_drift", LOG_EXPIRY_DAYS, "What differed from the registry", "entity_type", "field");

static const struct column table_quarantine_columns[] = {
    EVENT_TIME,
    NEED("run_id", COLUMN_STRING, "The run that met it"),
    NEED("entity_type", COLUMN_STRING, "Entity"),
    COL("tenant_id", COLUMN_INT64, "ServiceTitan tenant"),
    COL("fetch_id", COLUMN_INT64, "Fetch within the run"),
    COL("record_id", COLUMN_INT64, "The record's id, where it could be read"),
    NEED("reason", COLUMN_STRING, "Why it was refused"),
    COL("payload", COLUMN_STRING, "The record as it came"),
    NEED("payload_encoding", COLUMN_STRING, "utf8, or base64 where the bytes are not UTF-8"),
    NEED("payload_bytes", COLUMN_INT64, "Its whole length; a payload too long for a row is cut"),
    COL("seen_at", COLUMN_TIMESTAMP, "When, by the worker's clock"),
};
TABLE(table_quarantine, "quarantine", LOG_EXPIRY_DAYS, "Records that broke their schema, with their payload",
      "entity_type", "run_id");

static const struct column table_reconciliation_columns[] = {
    EVENT_TIME,
    NEED("run_id", COLUMN_STRING, "The reconciling run"),
    NEED("entity_type", COLUMN_STRING, "Entity"),
    NEED("tenant_id", COLUMN_INT64, "ServiceTitan tenant"),
    COL("window_from", COLUMN_TIMESTAMP, "Records created from then on; NULL: from the beginning"),
    COL("window_to", COLUMN_TIMESTAMP, "Up to then, exclusive"),
    COL("source_count", COLUMN_INT64, "Records at the source"),
    COL("warehouse_count", COLUMN_INT64, "Live rows in the warehouse"),
    COL("missing_count", COLUMN_INT64, "At the source only"),
    COL("surplus_count", COLUMN_INT64, "In the warehouse only"),
    COL("stale_count", COLUMN_INT64, "In both, the source's version is another one"),
    COL("different_count", COLUMN_INT64, "In both, the same version with other values; the deep form looks for these"),
    COL("form", COLUMN_STRING, "quick or deep"),
    COL("state", COLUMN_STRING, "equal or different"),
    COL("requests", COLUMN_INT64, "API requests made"),
    COL("checked_at", COLUMN_TIMESTAMP, "When"),
};
TABLE(table_reconciliation, "reconciliation", LOG_EXPIRY_DAYS, "Comparisons of source and warehouse", "entity_type",
      "tenant_id");

static const struct column table_dead_letter_audit_columns[] = {
    EVENT_TIME,
    NEED("action", COLUMN_STRING, "replayed or discarded"),
    COL("message_id", COLUMN_STRING, "Message id on the dead-letter topic"),
    COL("original_message_id", COLUMN_STRING, "Message id on its lane"),
    COL("new_message_id", COLUMN_STRING, "Replayed: message id of the new message"),
    COL("task_id", COLUMN_STRING, "Task"),
    COL("run_id", COLUMN_STRING, "Last run"),
    COL("entity_type", COLUMN_STRING, "Entity"),
    COL("tenant_id", COLUMN_INT64, "ServiceTitan tenant"),
    COL("mode", COLUMN_STRING, "Mode"),
    COL("reason", COLUMN_STRING, "Why it was dead-lettered"),
    COL("error_class", COLUMN_STRING, "Class of the error"),
    COL("error_code", COLUMN_STRING, "Short code of the error"),
    COL("delivery_attempt", COLUMN_INT64, "Attempts before"),
    COL("replays", COLUMN_INT64, "How often it had been replayed before"),
    COL("actor", COLUMN_STRING, "Who did it"),
    COL("payload", COLUMN_STRING, "The message's data"),
};
TABLE(table_dead_letter_audit, "dead_letter_audit", LOG_EXPIRY_DAYS, "What became of dead letters", "action",
      "entity_type");

static const struct column table_backfill_events_columns[] = {
    EVENT_TIME,
    NEED("backfill_id", COLUMN_STRING, "The backfill"),
    NEED("kind", COLUMN_STRING,
         "slice (planned), head (the plan is complete), published (a slice's message), retry (a slice is to be "
         "published "
         "again)"),
    NEED("slice_number", COLUMN_INT64, "Slice, from 1; head: how many there are"),
    COL("entity_type", COLUMN_STRING, "Slice: entity"),
    COL("tenant_id", COLUMN_INT64, "Slice: ServiceTitan tenant"),
    COL("window_from", COLUMN_TIMESTAMP, "From, of createdOn"),
    COL("window_to", COLUMN_TIMESTAMP, "To, exclusive"),
    COL("records_expected", COLUMN_INT64, "Records expected, by the source's counts"),
    COL("requests_expected", COLUMN_INT64, "API requests expected"),
    COL("task_id", COLUMN_STRING, "Slice: its task"),
    COL("message_id", COLUMN_STRING, "Published: Pub/Sub message id"),
    COL("plan_key", COLUMN_STRING, "Head: what was asked for; the same command finds its plan by it"),
    COL("entities", COLUMN_STRING, "Head: the entities"),
    COL("requested_by", COLUMN_STRING, "Head: who asked"),
};
TABLE(table_backfill_events, "backfill_events", LOG_EXPIRY_DAYS,
      "Backfills: their plans, and what was published of them", "backfill_id", "kind");

static const struct column table_dispatch_events_columns[] = {
    EVENT_TIME,
    NEED("entity_type", COLUMN_STRING, "Entity"),
    COL("mode", COLUMN_STRING, "Mode of the message"),
    COL("schedule", COLUMN_STRING, "The schedule that was served"),
    COL("slot_time", COLUMN_TIMESTAMP, "Its newest slot by then"),
    NEED("dispatched_at", COLUMN_TIMESTAMP, "The time for which it was found due"),
    COL("task_id", COLUMN_STRING, "Task"),
    COL("message_id", COLUMN_STRING, "Pub/Sub message id"),
};
TABLE(table_dispatch_events, "dispatch_events", LOG_EXPIRY_DAYS, "What dispatch --due published", "entity_type");

static const struct table_schema *const tables[] = {
    &table_ingestion_log_events, &table_sync_state_events, &table_staged_run_events, &table_target_change_events,
    &table_checkpoint_events,    &table_schema_drift,      &table_quarantine,        &table_reconciliation,
    &table_dead_letter_audit,    &table_backfill_events,   &table_dispatch_events,
};

size_t events_table_count(void)
{
    return sizeof tables / sizeof tables[0];
}

const struct table_schema *events_table(size_t index)
{
    return index < events_table_count() ? tables[index] : NULL;
}

/* ---- Views ------------------------------------------------------------------------------------------------------- */

static const struct log_view views[] = {
    {"ingestion_logs", "Runs, one row each: its end where it has ended", "ingestion_log_events",
     "SELECT run_id, task_id, entity_type, tenant_id, mode, status, start_time, end_time, duration_ms, "
     "records_fetched,\n"
     "  records_inserted, records_quarantined, rows_changed, requests, bytes_billed, delivery_attempt, frame_to, "
     "watermark,\n"
     "  message_id, worker, error_message, error_class, error_code, verdict, event_time\n"
     "FROM %s\n"
     "WHERE run_id IS NOT NULL AND status != 'skipped'\n"
     "QUALIFY ROW_NUMBER() OVER (PARTITION BY run_id ORDER BY IF(status = 'running', 1, 0), event_time DESC) = 1"},
    /* Rows before the newest reset do not count; within it the watermark is the maximum, so that a late writer cannot
       move it back. */
    {"sync_state", "The watermark of each tenant and entity", "sync_state_events",
     "SELECT entity_type, tenant_id, last_sync_time, records_processed, updated_at, run_id, mode, continue_from\n"
     "FROM (\n"
     "  SELECT entity_type, tenant_id, last_sync_time, records_processed, updated_at, run_id, mode, continue_from,\n"
     "    event_time,\n"
     "    MAX(IF(kind = 'reset', event_time, NULL)) OVER (PARTITION BY tenant_id, entity_type) AS reset_time\n"
     "  FROM %s\n"
     ")\n"
     "WHERE reset_time IS NULL OR event_time >= reset_time\n"
     "QUALIFY ROW_NUMBER() OVER (PARTITION BY tenant_id, entity_type ORDER BY last_sync_time DESC, event_time DESC) = "
     "1"},
    {"staged_runs", "Announced runs, one row each; a withdrawal holds for good", "staged_run_events",
     "SELECT run_id, task_id, target, tenant_id, lane, row_count, byte_count, staged_min, staged_max, announced_at, "
     "fetches,\n"
     "  full_groups, withdrawn, event_time\n"
     "FROM %s\n"
     "WHERE run_id IS NOT NULL\n"
     "QUALIFY ROW_NUMBER() OVER (PARTITION BY target, run_id ORDER BY IF(withdrawn, 0, 1), event_time DESC) = 1"},
    {"target_changes", "Changes of each target, one row each", "target_change_events",
     "SELECT target, change_number, job_id, state, error_code, error_message, started_at, ended_at, rows_inserted,\n"
     "  rows_updated, rows_deleted, bytes_billed, run_ids, event_time\n"
     "FROM %s\n"
     "WHERE target IS NOT NULL\n"
     "QUALIFY ROW_NUMBER() OVER (PARTITION BY target, change_number ORDER BY event_time) = 1"},
    /* The frame is the first attempt's; twins that wrote a second one are not heard. A task id alone may be shared by
       the parts of a fan-out. */
    {"checkpoints", "The frame of each task and its accepted fetches", "checkpoint_events",
     "SELECT task_id, run_id, kind, entity_type, tenant_id, mode, checkpoint_time, frame_to, watermark, column_name,\n"
     "  window_from, window_to, fetch_id, row_count, staged_at, event_time\n"
     "FROM %s\n"
     "WHERE task_id IS NOT NULL\n"
     "QUALIFY ROW_NUMBER() OVER (PARTITION BY tenant_id, entity_type, mode, task_id, kind,\n"
     "  IF(kind = 'frame', '', run_id), IF(kind = 'frame', 0, fetch_id) ORDER BY event_time, run_id) = 1"},
    {"backfills", "Backfills whose plan is complete, one row each", "backfill_events",
     "SELECT backfill_id, entities, window_from, window_to, slice_number AS slices, records_expected, "
     "requests_expected,\n"
     "  plan_key, requested_by, event_time AS created_at\n"
     "FROM %s\n"
     "WHERE kind = 'head'\n"
     "QUALIFY ROW_NUMBER() OVER (PARTITION BY backfill_id ORDER BY event_time) = 1"},
    /* A message counts for the newest request only; a slice without one is still to be published. */
    {"backfill_slices", "Slices of all backfills, one row each", "backfill_events",
     "SELECT backfill_id, slice_number, entity_type, tenant_id, window_from, window_to, records_expected, "
     "requests_expected,\n"
     "  task_id, requested_at, IF(published_at >= requested_at, published_at, NULL) AS published_at,\n"
     "  IF(published_at >= requested_at, message_id, NULL) AS message_id, retries\n"
     "FROM (\n"
     "  SELECT backfill_id, slice_number, MAX(entity_type) AS entity_type, MAX(tenant_id) AS tenant_id,\n"
     "    MAX(window_from) AS window_from, MAX(window_to) AS window_to, MAX(records_expected) AS records_expected,\n"
     "    MAX(requests_expected) AS requests_expected, MAX(task_id) AS task_id,\n"
     "    MAX(IF(kind IN ('slice', 'retry'), event_time, NULL)) AS requested_at,\n"
     "    MAX(IF(kind = 'published', event_time, NULL)) AS published_at,\n"
     "    ARRAY_AGG(message_id IGNORE NULLS ORDER BY event_time DESC LIMIT 1)[SAFE_OFFSET(0)] AS message_id,\n"
     "    COUNTIF(kind = 'retry') AS retries\n"
     "  FROM %s\n"
     "  WHERE kind != 'head'\n"
     "  GROUP BY backfill_id, slice_number\n"
     ")\n"
     "WHERE task_id IS NOT NULL"},
    {"dispatches", "The newest dispatch of each entity by its schedule", "dispatch_events",
     "SELECT entity_type, mode, schedule, slot_time, dispatched_at, task_id, message_id\n"
     "FROM %s\n"
     "WHERE entity_type IS NOT NULL\n"
     "QUALIFY ROW_NUMBER() OVER (PARTITION BY entity_type ORDER BY event_time DESC) = 1"},
};

size_t log_view_count(void)
{
    return sizeof views / sizeof views[0];
}

const struct log_view *log_view_at(size_t index)
{
    return index < log_view_count() ? &views[index] : NULL;
}

void log_view_sql(struct buf *out, const struct warehouse_names *names, const struct log_view *view)
{
    const char *hole = strstr(view->sql, "%s");
    BUG_ON(!hole);
    buf_append(out, view->sql, (size_t)(hole - view->sql));
    sql_table(out, names->project, names->logs, view->table);
    buf_append_str(out, hole + 2);
}

/* ---- SQL texts --------------------------------------------------------------------------------------------------- */

void sql_table(struct buf *out, const char *project, const char *dataset, const char *table)
{
    buf_printf(out, "`%s%s%s%s%s`", project ? project : "", project ? "." : "", dataset, table ? "." : "",
               table ? table : "");
}

void sql_string(struct buf *out, const char *text)
{
    buf_append_char(out, '\'');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '\'' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c == '\n')
            buf_append_str(out, "\\n");
        else if (c < 0x20)
            buf_printf(out, "\\x%02x", c);
        else
            buf_append_char(out, (char)c);
    }
    buf_append_char(out, '\'');
}
