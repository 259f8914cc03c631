/* rest.h - one authorised REST exchange with BigQuery, retried while that is safe; shared by client.c, jobs.c and
 * result.c. */
#ifndef ST_BIGQUERY_PRIVATE_REST_H
#define ST_BIGQUERY_PRIVATE_REST_H

#include "bigquery/client.h"
#include "net/http.h"

struct bq_client {
    char *project;
    char *location;
    char *base; /* "https://host/bigquery/v2/projects/<project>" */
    struct google_credentials *creds;
    struct http_pool *pool;
    int64_t job_timeout_ms;
};

/* How long an answer may take: a silent server is found out the sooner, the less there is to do for it. */
enum {
    REST_SHORT_MS = 30 * 1000,   /* looks at metadata and jobs */
    REST_INSERT_MS = 60 * 1000,  /* a job is checked before it is taken */
    REST_RESULT_MS = 120 * 1000, /* rows: up to REST_MAX_BODY_BYTES */
};

struct bq_call {
    const char *method;
    const char *path;   /* behind the project, with the query string: "/jobs/x?location=US" */
    struct slice body;  /* JSON; SLICE_NULL: none */
    const char *what;   /* for errors: "insert job 'x'" */
    int accept_status;  /* a status besides 2xx that is an answer, not an error (404, 409); 0 = none */
    int64_t timeout_ms; /* 0 = REST_SHORT_MS */
};

/* Any call made here may be repeated: reads, and writes whose ids are chosen by us. On true *ret_status is the status
 * and *ret the parsed body (owned; NULL when empty or on accept_status). */
bool bq_rest(struct bq_client *client, const struct bq_call *call, struct cancel *cancel, int *ret_status,
             struct json_object **ret, struct error *err) MUST_CHECK;
/* Counts and logs a call that failed and is made again after wait_ms; attempt 1 is the first retry. */
void bq_note_retry(int64_t wait_ms, int attempt, const struct error *err);
/* Counts what a query of this process was billed. */
void bq_note_billed(const struct bq_query *query, int64_t bytes);
/* "/jobs/<id><suffix>?location=<l>", escaped. */
void bq_job_path(struct buf *out, const struct bq_client *client, const char *prefix, const char *job_id,
                 const char *suffix);

#endif
