/* write.h - rows into a table's _default stream through the Storage Write API.
 *
 * A bq_writer holds one connection per table, shared by all threads of the worker. Rows are gathered into requests of 1-2 MB (at most
 * 10,000 rows; one giant row up to 9 MB), pipelined with bounded bytes in flight; a full pipeline blocks the adder. A broken stream is
 * reopened and unacknowledged requests are resent (at least once: rows carry numbers that make it harmless). */
#ifndef ST_BIGQUERY_WRITE_H
#define ST_BIGQUERY_WRITE_H

#include "base/cancel.h"
#include "google/grpc.h"
#include "record/schema.h"

enum {
    BQ_APPEND_TARGET_BYTES = 1 << 20,
    BQ_APPEND_MAX_BYTES = 9 * 1000 * 1000,
    BQ_APPEND_MAX_ROWS = 10000,
    BQ_APPEND_IN_FLIGHT_BYTES = 4 << 20,
    BQ_ROWS_TARGET_BYTES = 32 * 1024
};

struct bq_writer;   /* all tables of one worker */
struct bq_appender; /* one table */

struct bq_writer_options {
    const char *project;
    const char *target; /* NULL: bigquerystorage.googleapis.com:443; emulator "127.0.0.1:P" (plaintext) */
    struct google_credentials *creds;
    int64_t
        patience_ms; /* how long a table may make no progress (lost streams, a table not yet known to the service); 0 = 5 min */
};
struct bq_writer *bq_writer_new(const struct bq_writer_options *options, struct error *err) MUST_CHECK;
void bq_writer_free(struct bq_writer *writer); /* all appenders flushed by then, else their rows are dropped */
int64_t
bq_writer_in_flight_bytes(struct bq_writer *writer); /* of rows gathered or sent and not yet settled, all tables */

/* The table's appender, made at first use; columns with default_sql are left out of the descriptor and get the server's default.
 * Borrowed: lives as long as the writer. */
struct bq_appender *bq_writer_table(struct bq_writer *writer, const char *dataset, const struct table_schema *schema);

/* A row that the service refused (row error): nothing of its request was stored; the others are resent without it. On
 * the appender's thread, without locks; must not block on the same table. */
typedef void bq_row_error_fn(void *user, uint64_t tag, struct slice row, const char *message);

/* Rows of one origin, gathered by their thread without a lock. Append a row to `bytes`, then end it; when the rows are full, add and clear
 * them. Zero-initialised, with the last three set by the owner. */
struct bq_rows {
    struct buf bytes; /* row behind row */
    size_t *ends;     /* of each in bytes */
    size_t count, cap;
    uint64_t tag; /* the same for all, comes back in the row errors */
    bq_row_error_fn *on_error;
    void *user;
};
void bq_rows_end_row(struct bq_rows *rows);       /* what came to bytes since the last row is a row */
bool bq_rows_is_full(const struct bq_rows *rows); /* BQ_ROWS_TARGET_BYTES reached, or BQ_APPEND_MAX_ROWS */
void bq_rows_clear(struct bq_rows *rows);         /* keeps memory for the next rows, but not that of a giant one */
void bq_rows_release(struct bq_rows *rows);
/* Adds all rows (copied; the bq_rows is unchanged) or none. Blocks while the pipeline is full. Their tickets are *ret_first to
 * *ret_first + count - 1: pass them to bq_appender_wait_range. */
bool bq_appender_add_rows(struct bq_appender *appender, const struct bq_rows *rows, uint64_t *ret_first,
                          struct cancel *cancel, struct error *err) MUST_CHECK;
/* Adds one encoded row (copied). Blocks while the pipeline is full. *ret_ticket: pass to bq_appender_wait. `tag` comes back in the row error. */
bool bq_appender_add(struct bq_appender *appender, struct slice row, uint64_t tag, bq_row_error_fn *on_error,
                     void *user, uint64_t *ret_ticket, struct cancel *cancel, struct error *err) MUST_CHECK;
/* Flushes what is gathered and waits until everything up to the ticket is acknowledged (or refused row by row). */
bool bq_appender_wait(struct bq_appender *appender, uint64_t ticket, struct cancel *cancel,
                      struct error *err) MUST_CHECK;
/* The same for several rows: also fails when any row between the two tickets was lost by a failure that ended before. bq_appender_wait(t) is
 * bq_appender_wait_range(t, t): whoever adds many rows keeps the first ticket too. */
bool bq_appender_wait_range(struct bq_appender *appender, uint64_t first, uint64_t last, struct cancel *cancel,
                            struct error *err) MUST_CHECK;
/* After this returns no row error is told to `user` any more. Call it before `user` goes away, unless a wait for its last row returned true. */
void bq_appender_forget(struct bq_appender *appender, const void *user);

#endif
