/* bq_internal.h - what the files of the engine share. Private to bq_*.c. */
#ifndef ST_LOCAL_BQ_INTERNAL_H
#define ST_LOCAL_BQ_INTERNAL_H

#include "bq_catalog.h"
#include "bq_engine.h"
#include "bq_sql.h"

enum { DML_MAX_RUNNING = 2, DML_MAX_QUEUED = 20, DML_CONFLICT_RETRIES = 3 };
enum { RESULT_MAX_ROWS = 2000000 };
#define MINIMUM_BILLED_BYTES (10 * 1024 * 1024LL)

/* Mutating statements of one table. */
struct dml_queue {
    struct dml_queue *next;
    int64_t table_id;
    int running, waiting;
    uint64_t finished; /* counts ends, so that a loser can wait for a winner */
};

struct engine {
    struct duck *duck;
    char *folder, *location;
    struct catalog catalog;
    bool catalog_is_open;
    atomic_llong dml_duration_ms, max_job_partitions;
    struct {
        pthread_mutex_t mutex;
        pthread_cond_t cond;
        struct dml_queue *queues;
    } dml;
    struct {
        pthread_mutex_t mutex;
        int64_t next_seq;
    } jobs;
};

/* ---- bq_udf.c ---- */
bool udf_register(struct duck *duck, struct error *err) MUST_CHECK;

/* ---- bq_result.c ---- */
struct engine_result {
    enum sql_kind kind;
    bool is_script, has_dml, has_rows;
    struct engine_dml_stats dml;
    const char *ddl_operation;
    struct json_object *schema, *target, *target_dataset, *referenced;
    int64_t bytes_processed, bytes_billed;
    duckdb_result rows; /* valid while has_rows */
    duckdb_data_chunk *chunks;
    int64_t *starts;            /* first row of each chunk */
    duckdb_logical_type *types; /* of the columns */
    size_t chunk_count, column_count;
    int64_t row_count;
    struct engine_result **children;
    size_t child_count;
};
struct engine_result *result_new(enum sql_kind kind);
/* Takes the result over, reads all chunks, makes the schema. */
bool result_take_rows(struct engine_result *result, duckdb_result *rows, struct error *err) MUST_CHECK;
/* REST fields of columns with DuckDB types. Owned by the caller. */
struct json_object *result_field_json(const char *name, duckdb_logical_type type);
/* Duplicate output names are refused as BigQuery does. */
bool result_check_names(struct json_object *schema, struct error *err) MUST_CHECK;
struct json_object *table_reference(const char *project, const char *dataset, const char *table);

/* ---- bq_exec.c, bq_dml.c, bq_ddl.c ---- */
struct exec {
    struct engine *engine;
    const struct engine_request *request;
    struct sql_context ctx;
    struct arena *arena;
    duckdb_connection conn;
    struct slice sql;
    struct cancel *cancel;
    int64_t dml_duration_ms;
};
/* Runs finished text; failures in BigQuery's words with the place in the source. *ret_conflict (may be NULL): worth a
 * new try. */
bool exec_text(struct exec *exec, const struct sql_statement *stmt, const char *marked, duckdb_result *ret,
               bool *ret_conflict, struct error *err) MUST_CHECK;
/* Result columns of a query, without running it: array of REST fields. */
bool exec_describe(struct exec *exec, const struct sql_statement *stmt, const char *marked,
                   struct json_object **ret_fields, struct error *err) MUST_CHECK;
bool dml_run(struct exec *exec, struct sql_statement *stmt, struct engine_result *result, struct error *err) MUST_CHECK;
int64_t dml_first_count(duckdb_result *rows); /* of a result of one BIGINT */
bool ddl_run(struct exec *exec, struct sql_statement *stmt, struct engine_result *result, struct error *err) MUST_CHECK;

/* ---- bq_partitions.c ---- */
/* A DML statement on a table with partitions: how many does it modify? Inside of its transaction. */
struct partition_watch {
    const char *digests; /* NULL: need not be asked */
    int64_t limit;
};
/* Before it runs. `most`: it modifies so many at most. */
bool partitions_note(struct exec *exec, const struct sql_statement *stmt, int64_t most, struct partition_watch *ret,
                     bool *conflict, struct error *err) MUST_CHECK;
/* After it has run: invalidQuery when it has modified too many. */
bool partitions_check(struct exec *exec, const struct sql_statement *stmt, const struct partition_watch *watch,
                      bool *conflict, struct error *err) MUST_CHECK;

/* The same for a new table that a query has filled. */
bool partitions_check_new(struct engine *engine, const struct engine_schema *table, duckdb_connection conn,
                          struct error *err) MUST_CHECK;

/* ---- bq_resource.c ---- */
enum table_create { TABLE_CREATE_NEW, TABLE_CREATE_OR_REPLACE };
/* Makes a table or view from a REST resource (borrowed). `query` (DuckDB text, may be NULL) fills it, on `conn`. */
bool resource_create_table(struct engine *engine, const struct sql_name *name, struct json_object *resource,
                           enum table_create how, duckdb_connection conn, const char *query,
                           struct error *err) MUST_CHECK;
bool resource_create_dataset(struct engine *engine, const char *project, const char *name, struct json_object *resource,
                             struct error *err) MUST_CHECK;
/* Writes the changed fields array and members of a table. `members`: as in a patch. */
bool resource_change_table(struct engine *engine, struct engine_schema *table, struct json_object *members,
                           bool replace, struct error *err) MUST_CHECK;
int64_t resource_table_rows(struct engine *engine, const struct engine_schema *schema);
int64_t resource_table_bytes(struct engine *engine, const struct engine_schema *schema);
/* Fields of a view's query. */
bool view_fields(struct engine *engine, const char *project, const char *query, struct json_object **ret_fields,
                 struct error *err) MUST_CHECK;
void engine_sql_context(struct engine *engine, const char *project, struct sql_context *ret);
bool bq_fail(struct error *err, const char *reason, int status, const char *fmt, ...) PRINTF_LIKE(4, 5);

#endif
