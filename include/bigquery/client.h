/* client.h - BigQuery REST v2: query jobs with chosen ids, datasets and tables.
 *
 * Every call carries the location. Thread-safe; requests borrow connections from a pool. Reasons decide retries before
 * HTTP statuses do (facts on BigQuery 5): see bq_error in bigquery/errors.c for the table. */
#ifndef ST_BIGQUERY_CLIENT_H
#define ST_BIGQUERY_CLIENT_H

#include "base/buf.h"
#include "base/cancel.h"
#include "base/json.h"
#include "google/credentials.h"

struct bq_client;

struct bq_options {
    const char *project;
    const char *location;             /* "US" */
    const char *rest_base;            /* NULL: https://bigquery.googleapis.com; emulator: "http://127.0.0.1:P" */
    struct google_credentials *creds; /* borrowed */
    int64_t job_timeout_ms;           /* jobTimeoutMs of every job; 0 = 30 min */
};

struct bq_client *bq_client_new(const struct bq_options *options, struct error *err) MUST_CHECK;
void bq_client_free(struct bq_client *client);
const char *bq_client_project(const struct bq_client *client);

enum bq_param_type {
    BQ_PARAM_STRING,
    BQ_PARAM_INT64,
    BQ_PARAM_TIMESTAMP,
    BQ_PARAM_BOOL,
    BQ_PARAM_STRING_ARRAY,
    BQ_PARAM_INT64_ARRAY
};
struct bq_param {
    const char *name;
    enum bq_param_type type;
    const char *string;         /* STRING; NULL = SQL NULL */
    int64_t number;             /* INT64, BOOL, TIMESTAMP (us) */
    const char *const *strings; /* STRING_ARRAY */
    const int64_t *numbers;     /* INT64_ARRAY */
    size_t count;
};
struct bq_label {
    const char *key;
    const char *value;
}; /* sanitised to what BigQuery allows */

/* Every job gets app=st-ingestor, the labels given here (st_step: what it is for), and of the thread's log scope st_run, st_entity,
 * st_tenant and st_mode, where they are not given. */

struct bq_query {
    const char *sql;
    const struct bq_param *params;
    size_t param_count;
    const struct bq_label *labels;
    size_t label_count;
    int64_t max_bytes_billed; /* 0 = none */
};

struct bq_result { /* all rows, bounded by BQ_MAX_RESULT_ROWS and BQ_MAX_RESULT_BYTES */
    size_t column_count, row_count;
    char **columns; /* names */
    char **types;   /* "INTEGER", "RECORD", ... */
    char ***
        cells; /* cells[row][column]: text as REST gives it (timestamps: int64 us; RECORD/REPEATED: JSON text), NULL = NULL */
    int64_t affected_rows; /* DML; -1 = none */
    int64_t inserted_rows, updated_rows, deleted_rows;
    int64_t bytes_processed, bytes_billed;
    char statement_type[32];
    char ddl_operation[16]; /* "CREATE", "SKIP", "" */
};
enum { BQ_MAX_RESULT_ROWS = 200000, BQ_MAX_RESULT_BYTES = 64 * 1024 * 1024 };
void bq_result_release(struct bq_result *result);
const char *bq_result_text(const struct bq_result *result, size_t row,
                           const char *column); /* NULL: NULL or no such column */
/* The same with "" for NULL. */
const char *bq_result_string(const struct bq_result *result, size_t row, const char *column);
int64_t bq_result_int(const struct bq_result *result, size_t row, const char *column, int64_t fallback);

/* Runs to the end and reads all rows (with a fresh job id; ambiguous failures are settled by that id). `result` is zeroed first. */
bool bq_query_run(struct bq_client *client, const struct bq_query *query, struct bq_result *result,
                  struct cancel *cancel, struct error *err) MUST_CHECK;

/* What a statement is and would read, by a dry run: nothing runs, nothing is billed, no job is kept. */
struct bq_estimate {
    char statement_type[32]; /* "SELECT", "MERGE", "SCRIPT" (several statements), ... */
    int64_t bytes_processed;
};
bool bq_query_estimate(struct bq_client *client, const struct bq_query *query, struct bq_estimate *ret,
                       struct cancel *cancel, struct error *err) MUST_CHECK;

/* Jobs with chosen ids: the primitives of the change chain. */
enum bq_job_state { BQ_JOB_ABSENT, BQ_JOB_RUNNING, BQ_JOB_DONE };
struct bq_job {
    enum bq_job_state state;
    bool failed; /* DONE with an errorResult: job_error says what */
    struct error job_error;
    int64_t affected_rows, inserted_rows, updated_rows, deleted_rows, bytes_billed;
    int64_t start_us, end_us;
    struct json_object *resource; /* the whole job; owned; NULL when ABSENT */
};
void bq_job_release(struct bq_job *job);
enum bq_insert { BQ_INSERTED, BQ_INSERT_EXISTS, BQ_INSERT_FAILED };
/* jobs.insert once, with retries of the same id while the outcome is ambiguous. EXISTS: another one was first (409). */
enum bq_insert bq_job_insert(struct bq_client *client, const char *job_id, const struct bq_query *query,
                             struct cancel *cancel, struct error *err);
/* jobs.get. A 404 is ABSENT and success; it never means done. */
bool bq_job_get(struct bq_client *client, const char *job_id, struct bq_job *ret, struct cancel *cancel,
                struct error *err) MUST_CHECK;
/* Polls until DONE (or ABSENT at the first look); cancelled or deadline: err. */
bool bq_job_wait(struct bq_client *client, const char *job_id, int64_t timeout_ms, struct bq_job *ret,
                 struct cancel *cancel, struct error *err) MUST_CHECK;
bool bq_job_rows(struct bq_client *client, const char *job_id, struct bq_result *ret, struct cancel *cancel,
                 struct error *err) MUST_CHECK;
bool bq_job_cancel(struct bq_client *client, const char *job_id, struct cancel *cancel, struct error *err) MUST_CHECK;

/* *ret_created false: it was there. */
bool bq_ensure_dataset(struct bq_client *client, const char *dataset, const char *description, bool *ret_created,
                       struct cancel *cancel, struct error *err) MUST_CHECK;
/* The table resource (owned), or NULL in *ret with success when there is none. */
bool bq_table_get(struct bq_client *client, const char *dataset, const char *table, struct json_object **ret,
                  struct cancel *cancel, struct error *err) MUST_CHECK;
/* Is there such a table or view? */
bool bq_table_exists(struct bq_client *client, const char *dataset, const char *table, bool *ret, struct cancel *cancel,
                     struct error *err) MUST_CHECK;

/* Class, code and effect of a REST answer: status, reason of the body; pure. */
bool bq_error(struct error *err, int http_status, struct slice body, const char *what);

#endif
