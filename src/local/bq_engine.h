/* bq_engine.h - the SQL engine of the local BigQuery server: catalog, statements, row insertion, job store.
 *
 * It knows nothing of HTTP or gRPC. The REST and Storage Write servers stand on this header; the engine stands on
 * DuckDB, to which it translates BigQuery's dialect by a grammar of its own. One data folder, one process at a time.
 *
 * Threads: every function may be called from any thread at any time, except that one engine_rows or engine_result
 * belongs to one thread at a time. Calls may block (disk, DML queue, the settable duration of DML): never call from an
 * event loop.
 *
 * Errors: err->code is BigQuery's reason ("notFound", "duplicate", "invalid", "invalidQuery", "resourcesExceeded",
 * "conditionNotMet", "stopped", "backendError", "notImplemented", "responseTooLarge", ...), err->status the HTTP status
 * that goes with it (404, 409, 400, 412, ...), err->message BigQuery's text. For "invalidQuery" REST adds location
 * "query". A cancelled statement has class CANCELLED and reason "stopped".
 *
 * Durability: whatever a call has acknowledged survives kill -9. */
#ifndef ST_LOCAL_BQ_ENGINE_H
#define ST_LOCAL_BQ_ENGINE_H

#include "base/buf.h"
#include "base/cancel.h"
#include "base/json.h"

struct engine;
struct engine_result;

enum { ENGINE_MAX_JOB_PARTITIONS = 4000 }; /* BigQuery's */

struct engine_options {
    const char *folder;         /* made when missing; holds bigquery.duckdb and tmp/ (spill) */
    const char *location;       /* NULL = "US" */
    int64_t memory_limit_bytes; /* 0 = 4 GiB */
    int threads;                /* of DuckDB; 0 = 2 */
    int64_t dml_duration_ms;    /* how long an UPDATE, DELETE, MERGE or INSERT lasts at least; see engine_request */
    int64_t max_job_partitions; /* that one such statement may modify; 0 = ENGINE_MAX_JOB_PARTITIONS */
};

struct engine *engine_open(const struct engine_options *options, struct error *err) MUST_CHECK;
void engine_close(struct engine *engine); /* NULL is fine; all results and rows must be freed before */
const char *engine_location(const struct engine *engine);
void engine_set_dml_duration_ms(struct engine *engine, int64_t ms); /* for the admin route; jobs that start later */
void engine_set_max_job_partitions(struct engine *engine, int64_t count); /* likewise */
int64_t engine_max_job_partitions(const struct engine *engine);

/* Housekeeping: drops tables whose expirationTime has passed and rows of expired partitions. Cheap when there is
 * nothing to do; call it every few seconds. (Expired tables are also hidden from every look-up at once.) */
bool engine_expire(struct engine *engine, struct error *err) MUST_CHECK;

/* ---- Datasets and tables: json-c resources in REST's shape ----
 *
 * Returned objects are owned by the caller (json_object_put) and complete but for selfLink (the server knows its URL): kind, etag, id,
 * datasetReference/tableReference, location, creationTime, lastModifiedTime, ...; tables also type, schema with legacy
 * type names, numRows, numBytes, numLongTermBytes, numTotalLogicalBytes, numActiveLogicalBytes, streaming nothing.
 * Views: type VIEW, view{query,useLegacySql:false}, schema. `resource` arguments are borrowed request bodies.
 * `if_match`: the etag asked for, or NULL; else 412 conditionNotMet. insert answers 409 "duplicate", look-ups 404
 * "notFound" in BigQuery's words. */
struct json_object *engine_dataset_insert(struct engine *engine, const char *project, struct json_object *resource,
                                          struct error *err) MUST_CHECK;
struct json_object *engine_dataset_get(struct engine *engine, const char *project, const char *dataset,
                                       struct error *err) MUST_CHECK;
/* JSON array of all datasets of the project (full resources), ordered by name. */
struct json_object *engine_dataset_list(struct engine *engine, const char *project, struct error *err) MUST_CHECK;
/* patch: members given replace, null removes. update (PUT): `replace` true, mutable members not given are removed. */
struct json_object *engine_dataset_patch(struct engine *engine, const char *project, const char *dataset,
                                         struct json_object *resource, bool replace, const char *if_match,
                                         struct error *err) MUST_CHECK;
bool engine_dataset_delete(struct engine *engine, const char *project, const char *dataset, bool delete_contents,
                           struct error *err) MUST_CHECK;

struct json_object *engine_table_insert(struct engine *engine, const char *project, const char *dataset,
                                        struct json_object *resource, struct error *err) MUST_CHECK;
struct json_object *engine_table_get(struct engine *engine, const char *project, const char *dataset, const char *table,
                                     struct error *err) MUST_CHECK;
struct json_object *engine_table_list(struct engine *engine, const char *project, const char *dataset,
                                      struct error *err) MUST_CHECK;
/* Schema changes: added NULLABLE or REPEATED columns (also inside RECORDs) and REQUIRED -> NULLABLE; else 400 invalid.
 */
struct json_object *engine_table_patch(struct engine *engine, const char *project, const char *dataset,
                                       const char *table, struct json_object *resource, bool replace,
                                       const char *if_match, struct error *err) MUST_CHECK;
bool engine_table_delete(struct engine *engine, const char *project, const char *dataset, const char *table,
                         struct error *err) MUST_CHECK;

/* ---- Statements ---------------------------------------------------------------------------------------------------
 * DML works on the snapshot of its start: the statement's snapshot is taken, dml_duration_ms pass on base/clock.h, then
 * the statement runs and commits. Two jobs that change the same rows conflict: the later one is tried again from a new
 * snapshot (3 times), then fails "Could not serialize access to table P:D.T due to concurrent update". Insert-only
 * statements never conflict, so two concurrent MERGEs can both insert one key. Two mutating statements run per
 * table, 20 wait, more are refused (resourcesExceeded). A statement that modifies more partitions than one job may
 * fails as a whole (invalidQuery). */
struct engine_request {
    const char *sql; /* one statement, or a script: statements separated by ';' */
    size_t sql_len;
    const char *project;                  /* of the job; for names without a project */
    const char *default_project;          /* defaultDataset.projectId; NULL = project */
    const char *default_dataset;          /* defaultDataset.datasetId; NULL = none */
    struct json_object *query_parameters; /* REST queryParameters array, borrowed; NULL = none */
    bool positional;                      /* parameterMode POSITIONAL */
    bool dry_run;                         /* analyse only: schema, type, bytes, referenced tables */
    int64_t dml_duration_ms;              /* < 0: the engine's setting */
    int64_t maximum_bytes_billed;         /* 0 = none; else reason bytesBilledLimitExceeded */
    /* Where the record of the job that this is (job_id, of `project`) stands, NULL = nowhere: it is asked for when a
     * single DML statement is about to commit, and becomes durable with the statement's changes or not at all. Asked
     * again when the statement is tried again. */
    const char *job_id;
    struct json_object *(*job_end)(void *user, const struct engine_result *result); /* owned by the engine then */
    void *job_end_user;
    struct cancel *cancel; /* NULL = none; interrupts a running statement */
};
#define ENGINE_REQUEST_INIT ((struct engine_request){.dml_duration_ms = -1})

/* Runs to the end (blocking). *ret is owned by the caller; untouched on failure. Rows of a script: its last
 * statement's. */
bool engine_run(struct engine *engine, const struct engine_request *request, struct engine_result **ret,
                struct error *err) MUST_CHECK;
void engine_result_free(struct engine_result *result);

struct engine_dml_stats {
    int64_t inserted, updated, deleted;
};

/* "SELECT", "MERGE", "CREATE_TABLE", ..., "SCRIPT" for several statements. */
const char *engine_result_statement_type(const struct engine_result *result);
/* {"fields":[...]} with mode on every field; borrowed; NULL for statements without rows (DML of a dry run: the
 * target's). */
struct json_object *engine_result_schema(const struct engine_result *result);
int64_t engine_result_row_count(const struct engine_result *result);
/* False when the statement was no DML. numDmlAffectedRows = the sum of the three. */
bool engine_result_dml(const struct engine_result *result, struct engine_dml_stats *ret);
/* CREATE, SKIP, REPLACE, ALTER, DROP; NULL when the statement was no DDL. */
const char *engine_result_ddl_operation(const struct engine_result *result);
/* tableReference of a DDL or DML target {projectId,datasetId,tableId}; borrowed; NULL = none. */
struct json_object *engine_result_target(const struct engine_result *result);
/* datasetReference of CREATE/DROP SCHEMA; borrowed; NULL = none. */
struct json_object *engine_result_target_dataset(const struct engine_result *result);
/* Array of tableReference; borrowed, never NULL. */
struct json_object *engine_result_referenced_tables(const struct engine_result *result);
int64_t engine_result_bytes_processed(const struct engine_result *result);
int64_t engine_result_bytes_billed(const struct engine_result *result); /* 10 MB at least per referenced table */
/* Scripts: the statements in order (for child jobs); 0 for a single statement. */
size_t engine_result_child_count(const struct engine_result *result);
const struct engine_result *engine_result_child(const struct engine_result *result, size_t i);

enum engine_timestamp_format {
    ENGINE_TIMESTAMP_FLOAT64, /* decimal seconds, "1.7610408E9": REST's default */
    ENGINE_TIMESTAMP_INT64,   /* microseconds */
    ENGINE_TIMESTAMP_ISO8601, /* "2025-10-21T10:00:00.123456Z" */
};

/* Appends rows start.. as comma-separated {"f":[...]} objects, at most max_rows and (after the first) max_bytes of
 * text. Returns how many were written. Random access, so that page tokens are just row numbers. */
int64_t engine_result_write_rows(const struct engine_result *result, int64_t start, int64_t max_rows, size_t max_bytes,
                                 enum engine_timestamp_format format, struct buf *out);

/* tabledata.list: the rows [start, start+max_rows) of a table as a result; *ret_total_rows: rows of the whole table. */
bool engine_table_rows(struct engine *engine, const char *project, const char *dataset, const char *table,
                       int64_t start, int64_t max_rows, struct engine_result **ret, int64_t *ret_total_rows,
                       struct error *err) MUST_CHECK;

/* ---- Row insertion (Storage Write, insertAll) ---------------------------------------------------------------------
 * 1. engine_schema_open: the table's columns as a tree with a number (`node`) for every field, nested ones too.
 * Immutable and shared; a writer keeps it for the life of a connection and compares engine_schema_is_current before
 * each request (false: the table changed or is gone; open again, and tell the client by updated_schema).
 * 2. engine_rows_new, then per row engine_rows_begin_row, puts in any order (protobuf's wire order),
 * engine_rows_end_row.
 * 3. engine_rows_commit: atomic; the rows are durable and visible when it returns true. engine_rows_free drops what is
 * not committed. Any number of rows may go into one batch (they spill to disk), so several PENDING streams are
 * committed atomically by putting all of their rows into one batch. PENDING and BUFFERED streams: the caller holds the
 * serialized rows (or their file) and decodes them at commit or flush.
 *
 * Puts convert as the service does (facts on BigQuery 3): an int64 into INT64, BOOL, DATE (days), TIMESTAMP (us),
 * DATETIME and TIME (packed), NUMERIC, FLOAT64; a string into STRING, BYTES, DATE, DATETIME, TIME, TIMESTAMP (RFC 3339;
 * for insertAll), NUMERIC, JSON (checked) ; bytes into BYTES and NUMERIC (packed); double into FLOAT64 and NUMERIC.
 * What does not fit is recorded as an error of the current row, and the batch can only be dropped then. Timestamp and
 * wrapper messages are unpacked by the caller. */
enum engine_type {
    ENGINE_STRING,
    ENGINE_BYTES,
    ENGINE_INT64,
    ENGINE_FLOAT64,
    ENGINE_BOOL,
    ENGINE_NUMERIC,
    ENGINE_TIMESTAMP,
    ENGINE_DATE,
    ENGINE_TIME,
    ENGINE_DATETIME,
    ENGINE_JSON,
    ENGINE_STRUCT,
};
enum engine_mode { ENGINE_NULLABLE, ENGINE_REQUIRED, ENGINE_REPEATED };

struct engine_field {
    const char *name;
    enum engine_type type;
    enum engine_mode mode;
    const char *default_expression; /* NULL = none */
    const char *description;        /* NULL = none */
    int64_t max_length;             /* STRING(n), BYTES(n); 0 = none */
    int precision, scale;           /* NUMERIC(p,s); 0 = none */
    int node;                       /* for engine_rows_*; dense from 0 over the whole tree, parents before children */
    size_t field_count;             /* ENGINE_STRUCT */
    const struct engine_field *fields;
};

struct engine_schema;

struct engine_schema *engine_schema_open(struct engine *engine, const char *project, const char *dataset,
                                         const char *table, struct error *err) MUST_CHECK;
void engine_schema_free(struct engine_schema *schema);
const struct engine_field *engine_schema_fields(const struct engine_schema *schema, size_t *ret_count);
size_t engine_schema_node_count(const struct engine_schema *schema);
int64_t engine_schema_created_ms(const struct engine_schema *schema); /* clock_wall_us / 1000 */
bool engine_schema_is_current(struct engine *engine, const struct engine_schema *schema);

struct engine_rows;

/* use_default: one flag per top-level column (NULL = all false). Where a row has no value for a column, it gets the
 * column's DEFAULT expression if the flag is set (NULL where the column has none), else NULL; REPEATED becomes empty. A
 * REQUIRED column without a value (and without a default in force) is a row error. The schema must outlive the batch.
 */
struct engine_rows *engine_rows_new(struct engine *engine, const struct engine_schema *schema, const bool *use_default,
                                    struct error *err) MUST_CHECK;
void engine_rows_free(struct engine_rows *rows);

void engine_rows_begin_row(struct engine_rows *rows);
/* A value for a field of the innermost open STRUCT (or of the row). On a REPEATED field: one more element. */
void engine_rows_put_int64(struct engine_rows *rows, int node, int64_t value);
void engine_rows_put_double(struct engine_rows *rows, int node, double value);
void engine_rows_put_bool(struct engine_rows *rows, int node, bool value);
void engine_rows_put_string(struct engine_rows *rows, int node, struct slice value);
void engine_rows_put_bytes(struct engine_rows *rows, int node, struct slice value);
/* A STRUCT (or one more element of a REPEATED STRUCT); may nest. A singular STRUCT opened twice in a row is merged. */
void engine_rows_begin_struct(struct engine_rows *rows, int node);
void engine_rows_end_struct(struct engine_rows *rows, int node);
/* An error of the current row that the caller found (bad wire format ...). */
void engine_rows_fail(struct engine_rows *rows, const char *fmt, ...) PRINTF_LIKE(2, 3);
void engine_rows_end_row(struct engine_rows *rows);

int64_t engine_rows_count(const struct engine_rows *rows); /* rows ended so far, bad ones too */

struct engine_row_error {
    int64_t index; /* 0-based, in the order of engine_rows_begin_row */
    char message[200];
};
enum { ENGINE_MAX_ROW_ERRORS = 1000 };
/* The errors recorded so far, in order; at most ENGINE_MAX_ROW_ERRORS. Commit refuses while there are any. */
const struct engine_row_error *engine_rows_errors(const struct engine_rows *rows, size_t *ret_count);

/* False with reason "invalid" when there are row errors, "notFound" when the table is gone. *rows is spent either way.
 */
bool engine_rows_commit(struct engine_rows *rows, struct error *err) MUST_CHECK;

/* ---- Job store ----------------------------------------------------------------------------------------------------
 * Any JSON under (project, location, job id); "job ids answer 409" across restarts stands on this. */
/* 409 duplicate "Already Exists: Job P:LOCATION.ID" when the id is taken. Atomic against itself. */
bool engine_job_insert(struct engine *engine, const char *project, const char *job_id, struct json_object *job,
                       struct error *err) MUST_CHECK;
bool engine_job_update(struct engine *engine, const char *project, const char *job_id, struct json_object *job,
                       struct error *err) MUST_CHECK;
/* Owned; NULL and 404 "Not found: Job P:LOCATION.ID" when there is none. */
struct json_object *engine_job_get(struct engine *engine, const char *project, const char *job_id,
                                   struct error *err) MUST_CHECK;
/* Array of the newest `max` jobs after skipping `start`, newest first. */
struct json_object *engine_job_list(struct engine *engine, const char *project, int64_t start, int64_t max,
                                    struct error *err) MUST_CHECK;
bool engine_job_delete(struct engine *engine, const char *project, const char *job_id, struct error *err) MUST_CHECK;

#endif
