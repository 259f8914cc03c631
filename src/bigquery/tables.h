/* tables.h - the event tables of the logs dataset and the views over them, as data. */
#ifndef ST_BIGQUERY_PRIVATE_TABLES_H
#define ST_BIGQUERY_PRIVATE_TABLES_H

#include "bigquery/events.h"
#include "bigquery/warehouse.h"

extern const struct table_schema table_ingestion_log_events, table_sync_state_events, table_staged_run_events,
    table_target_change_events, table_checkpoint_events, table_schema_drift, table_quarantine, table_dead_letter_audit,
    table_backfill_events, table_dispatch_events, table_reconciliation;

struct log_view {
    const char *name; /* "sync_state" */
    const char *description;
    const char *table; /* the event table it reads */
    const char *sql;   /* its query, with "%s" once, for the table's quoted name */
};
size_t log_view_count(void);
const struct log_view *log_view_at(size_t index);
/* The query text of a view. */
void log_view_sql(struct buf *out, const struct warehouse_names *names, const struct log_view *view);

/* `project.dataset.table` in one pair of backticks; project NULL: `dataset.table`; table NULL: the dataset. */
void sql_table(struct buf *out, const char *project, const char *dataset, const char *table);
/* A SQL string literal in single quotes. */
void sql_string(struct buf *out, const char *text);

#endif
