/* bq_duck.h - one DuckDB database and a pool of its connections.
 *
 * Errors of DuckDB come as JSON (errors_as_json) and are taken apart here into struct duck_failure; the layer above
 * turns them into BigQuery's words. The pool is thread-safe; a borrowed connection belongs to one thread. */
#ifndef ST_LOCAL_BQ_DUCK_H
#define ST_LOCAL_BQ_DUCK_H

#include "base/buf.h"
#include "duckdb.h"

struct duck;

struct duck_failure {
    char type[40];     /* "Binder", "Catalog", "Conversion", "TransactionContext", "Interrupt", ... */
    char subtype[40];  /* "COLUMN_NOT_FOUND", ... */
    char name[128];    /* what was not found */
    char message[512]; /* DuckDB's text, first lines */
    long position;     /* offset in the statement's text; -1 = unknown */
};

/* Opens (makes) the data base file and fixes its settings: UTC, no access to files, no extensions, bounded memory with
 * spill to temp_folder, configuration locked. */
struct duck *duck_open(const char *path, const char *temp_folder, int64_t memory_bytes, int threads,
                       struct error *err) MUST_CHECK;
void duck_close(struct duck *duck);

duckdb_connection duck_borrow(struct duck *duck, struct error *err) MUST_CHECK;
/* Ends a transaction that is still open. */
void duck_return(struct duck *duck, duckdb_connection conn);

/* Runs one statement (or several); the result, if wanted, must be destroyed by the caller. */
bool duck_run(duckdb_connection conn, const char *sql, duckdb_result *ret, struct duck_failure *fail) MUST_CHECK;
/* The same without a result; a failure is reason "backendError" with DuckDB's words. For the engine's own statements.
 */
bool duck_exec(duckdb_connection conn, const char *sql, struct error *err) MUST_CHECK;
/* One BIGINT from the first row; `fallback` when there is none. */
bool duck_int(duckdb_connection conn, const char *sql, int64_t fallback, int64_t *ret, struct error *err) MUST_CHECK;

void duck_failure_parse(const char *text, struct duck_failure *ret);
bool duck_failure_is_conflict(const struct duck_failure *fail);
/* reason backendError, 500; returns false. */
bool duck_failure_error(const struct duck_failure *fail, struct error *err);

/* 'text' with quotes doubled; control bytes 1 and 2 (the translator's marks) and NUL by chr(). */
void duck_append_string(struct buf *out, struct slice text);
/* "name" with quotes doubled. */
void duck_append_name(struct buf *out, struct slice name);
/* Text of a VARCHAR or BLOB cell of a flat vector. */
struct slice duck_string_at(duckdb_string_t *data, idx_t row);
static inline bool duck_valid(const uint64_t *validity, idx_t row)
{
    return !validity || (validity[row / 64] >> (row % 64)) & 1;
}

#endif
