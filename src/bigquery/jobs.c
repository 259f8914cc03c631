/* jobs.c - query jobs with ids of our choice: insert, look, wait, cancel; and bq_query_run on top of them.
 *
 * There is one path for all statements: jobs.insert with an id, jobs.get until DONE, getQueryResults for rows
 * (result.c). An id can be taken once, so a lost answer is settled by asking again; a failed job spends its id, so a
 * fresh try of a query takes a new one. A 404 of jobs.get never means done. */
#include "bigquery/client.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/timestamp.h"
#include "base/uuid.h"
#include "errors.h"
#include "net/backoff.h"
#include "rest.h"
#include "result.h"

enum {
    POLL_FIRST_MS = 50,
    POLL_MAX_MS = 2000,
    LABEL_MAX = 63,
    QUERY_TRIES = 4,
    ABSENT_LOOKS = 20,
    ABSENT_PAUSE_MS = 500
};

/* ---- Request body ------------------------------------------------------------------------------------------------ */

static const struct {
    const char *type; /* element type of arrays */
    bool array;
} param_types[] = {
    [BQ_PARAM_STRING] = {"STRING", false},       [BQ_PARAM_INT64] = {"INT64", false},
    [BQ_PARAM_TIMESTAMP] = {"TIMESTAMP", false}, [BQ_PARAM_BOOL] = {"BOOL", false},
    [BQ_PARAM_STRING_ARRAY] = {"STRING", true},  [BQ_PARAM_INT64_ARRAY] = {"INT64", true},
};

/* "2025-10-21 10:00:00.000000+00:00" */
static void put_timestamp(struct buf *out, int64_t us)
{
    char text[TIMESTAMP_TEXT_SIZE];
    timestamp_text(text, us, 6);
    text[10] = ' ';
    buf_printf(out, "\"%.26s+00:00\"", text);
}

static void put_scalar(struct buf *out, const struct bq_param *param)
{
    if (param->type == BQ_PARAM_STRING && !param->string)
        buf_append_str(out, "null");
    else if (param->type == BQ_PARAM_STRING)
        buf_append_json_string(out, slice_str(param->string));
    else if (param->type == BQ_PARAM_TIMESTAMP)
        put_timestamp(out, param->number);
    else if (param->type == BQ_PARAM_BOOL)
        buf_append_str(out, param->number ? "\"true\"" : "\"false\"");
    else
        buf_printf(out, "\"%lld\"", (long long)param->number);
}

static void put_array(struct buf *out, const struct bq_param *param)
{
    for (size_t i = 0; i < param->count; i++) {
        buf_append_str(out, i ? ",{\"value\":" : "{\"value\":");
        if (param->type == BQ_PARAM_STRING_ARRAY)
            buf_append_json_string(out, slice_str(param->strings[i]));
        else
            buf_printf(out, "\"%lld\"", (long long)param->numbers[i]);
        buf_append_char(out, '}');
    }
}

static void put_param(struct buf *out, const struct bq_param *param)
{
    const char *type = param_types[param->type].type;
    buf_append_str(out, "{\"name\":");
    buf_append_json_string(out, slice_str(param->name));
    if (param_types[param->type].array) {
        buf_printf(out, ",\"parameterType\":{\"type\":\"ARRAY\",\"arrayType\":{\"type\":\"%s\"}}", type);
        buf_append_str(out, ",\"parameterValue\":{\"arrayValues\":[");
        put_array(out, param);
        buf_append_str(out, "]}}");
    } else {
        buf_printf(out, ",\"parameterType\":{\"type\":\"%s\"},\"parameterValue\":{\"value\":", type);
        put_scalar(out, param);
        buf_append_str(out, "}}");
    }
}

/* What BigQuery allows in a label: lower-case letters, digits, '_' and '-', at most 63; a key begins with a letter. */
static void put_label_text(struct buf *out, const char *text, bool is_key)
{
    size_t written = 0;
    buf_append_char(out, '"');
    if (is_key && !isalpha((unsigned char)text[0])) {
        buf_append_char(out, 'x');
        written++;
    }
    for (; *text && written < LABEL_MAX; text++, written++) {
        char c = (char)tolower((unsigned char)*text);
        bool allowed = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
        buf_append_char(out, allowed ? c : '_');
    }
    buf_append_char(out, '"');
}

static const char *label_of(const struct bq_query *query, const char *key)
{
    for (size_t i = 0; i < query->label_count; i++)
        if (strcmp(query->labels[i].key, key) == 0)
            return query->labels[i].value;
    return NULL;
}

static void put_label(struct buf *out, const char *key, const char *value)
{
    buf_append_char(out, ',');
    put_label_text(out, key, true);
    buf_append_char(out, ':');
    put_label_text(out, value, false);
}

/* What the query says of itself, then what is known of the run on whose behalf the thread works (its log scope). */
static void put_labels(struct buf *out, const struct bq_query *query)
{
    static const struct log_context nobody = {.context = NULL};
    const struct log_context *scope = log_scope() ? log_scope() : &nobody;
    char tenant[METRIC_NUMBER_SIZE];
    const struct bq_label known[] = {
        {"st_run", scope->run_id},
        {"st_entity", scope->entity},
        {"st_tenant", scope->tenant ? metric_number(tenant, scope->tenant) : NULL},
        {"st_mode", scope->mode},
    };
    buf_append_str(out, "\"app\":\"st-ingestor\"");
    for (size_t i = 0; i < query->label_count; i++)
        put_label(out, query->labels[i].key, query->labels[i].value);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].value && !label_of(query, known[i].key))
            put_label(out, known[i].key, known[i].value);
}

void bq_job_body(struct buf *out, const struct bq_client *client, const char *job_id, const struct bq_query *query)
{
    buf_append_str(out, "{\"jobReference\":{\"projectId\":");
    buf_append_json_string(out, slice_str(client->project));
    if (job_id) {
        buf_append_str(out, ",\"jobId\":");
        buf_append_json_string(out, slice_str(job_id));
    }
    buf_append_str(out, ",\"location\":");
    buf_append_json_string(out, slice_str(client->location));
    buf_printf(out, "},\"configuration\":{%s\"jobTimeoutMs\":\"%lld\",\"labels\":{", job_id ? "" : "\"dryRun\":true,",
               (long long)client->job_timeout_ms);
    put_labels(out, query);
    buf_append_str(out, "},\"query\":{\"useLegacySql\":false,\"query\":");
    buf_append_json_string(out, slice_str(query->sql));
    if (query->max_bytes_billed > 0)
        buf_printf(out, ",\"maximumBytesBilled\":\"%lld\"", (long long)query->max_bytes_billed);
    if (query->param_count > 0) {
        buf_append_str(out, ",\"parameterMode\":\"NAMED\",\"queryParameters\":[");
        for (size_t i = 0; i < query->param_count; i++) {
            if (i)
                buf_append_char(out, ',');
            put_param(out, &query->params[i]);
        }
        buf_append_char(out, ']');
    }
    buf_append_str(out, "}}}");
}

/* ---- Primitives -------------------------------------------------------------------------------------------------- */

static const char *step_of(const struct bq_query *query)
{
    const char *step = label_of(query, "st_step");
    return step ? step : "other";
}

void bq_note_billed(const struct bq_query *query, int64_t bytes)
{
    metrics_add(METRIC_BQ_BYTES_BILLED, bytes, METRIC_LABELS(step_of(query)));
}

static enum bq_insert count_insert(const struct bq_query *query, enum bq_insert inserted)
{
    static const char *const results[] = {
        [BQ_INSERTED] = "inserted", [BQ_INSERT_EXISTS] = "exists", [BQ_INSERT_FAILED] = "failed"};
    metrics_add(METRIC_BQ_JOBS, 1, METRIC_LABELS(step_of(query), results[inserted]));
    return inserted;
}

enum bq_insert bq_job_insert(struct bq_client *client, const char *job_id, const struct bq_query *query,
                             struct cancel *cancel, struct error *err)
{
    struct buf body = BUF_INIT;
    char *what = xasprintf("insert job '%s'", job_id);
    struct json_object *answer = NULL;
    int status = 0;
    bq_job_body(&body, client, job_id, query);
    bool ok = bq_rest(client, &(struct bq_call){"POST", "/jobs", buf_slice(&body), what, 409, REST_INSERT_MS}, cancel,
                      &status, &answer, err);
    json_object_put(answer);
    free(what);
    buf_release(&body);
    return count_insert(query, !ok ? BQ_INSERT_FAILED : status == 409 ? BQ_INSERT_EXISTS : BQ_INSERTED);
}

void bq_job_release(struct bq_job *job)
{
    json_object_put(job->resource);
    *job = (struct bq_job){0};
}

/* Takes `resource` over. */
static void read_job(struct json_object *resource, const char *job_id, struct bq_job *ret)
{
    char *what = xasprintf("run job '%s'", job_id);
    struct json_object *failure = json_at(resource, "status.errorResult");
    bool done = strcmp(json_text_at(resource, "status.state", ""), "DONE") == 0;
    *ret = (struct bq_job){.state = done ? BQ_JOB_DONE : BQ_JOB_RUNNING, .resource = resource};
    ret->failed = done && failure;
    if (ret->failed)
        bq_job_error(&ret->job_error, failure, what);
    ret->affected_rows = json_int_at(resource, "statistics.query.numDmlAffectedRows", -1);
    ret->inserted_rows = json_int_at(resource, "statistics.query.dmlStats.insertedRowCount", 0);
    ret->updated_rows = json_int_at(resource, "statistics.query.dmlStats.updatedRowCount", 0);
    ret->deleted_rows = json_int_at(resource, "statistics.query.dmlStats.deletedRowCount", 0);
    ret->bytes_billed = json_int_at(resource, "statistics.query.totalBytesBilled", 0);
    ret->start_us = json_int_at(resource, "statistics.startTime", 0) * 1000;
    ret->end_us = json_int_at(resource, "statistics.endTime", 0) * 1000;
    free(what);
}

bool bq_job_get(struct bq_client *client, const char *job_id, struct bq_job *ret, struct cancel *cancel,
                struct error *err)
{
    struct buf path = BUF_INIT;
    char *what = xasprintf("read job '%s'", job_id);
    struct json_object *answer = NULL;
    int status = 0;
    bq_job_path(&path, client, "/jobs/", job_id, "");
    bool ok =
        bq_rest(client, &(struct bq_call){"GET", path.ptr, SLICE_NULL, what, 404, 0}, cancel, &status, &answer, err);
    if (ok && status == 404)
        *ret = (struct bq_job){.state = BQ_JOB_ABSENT};
    else if (ok && !answer)
        ok = error_set(err, ERROR_RETRY, "http_empty", "could not %s: the answer has no body", what);
    else if (ok)
        read_job(answer, job_id, ret);
    free(what);
    buf_release(&path);
    return ok;
}

bool bq_job_wait(struct bq_client *client, const char *job_id, int64_t timeout_ms, struct bq_job *ret,
                 struct cancel *cancel, struct error *err)
{
    int64_t deadline = clock_mono_ms() + timeout_ms, pause_ms = POLL_FIRST_MS;
    bool seen = false;
    for (;;) {
        struct bq_job job;
        if (!bq_job_get(client, job_id, &job, cancel, err))
            return false;
        if (job.state == BQ_JOB_DONE || (job.state == BQ_JOB_ABSENT && !seen)) {
            *ret = job;
            return true;
        }
        seen = seen || job.state == BQ_JOB_RUNNING;
        bq_job_release(&job);
        if (clock_mono_ms() >= deadline)
            return error_set(err, ERROR_RETRY, "job_wait", "could not see job '%s' end within %lld ms", job_id,
                             (long long)timeout_ms);
        if (!cancel_sleep_ms(cancel, pause_ms))
            return cancel_check(cancel, err);
        pause_ms = pause_ms * 3 / 2 < POLL_MAX_MS ? pause_ms * 3 / 2 : POLL_MAX_MS;
    }
}

bool bq_job_cancel(struct bq_client *client, const char *job_id, struct cancel *cancel, struct error *err)
{
    struct buf path = BUF_INIT;
    char *what = xasprintf("cancel job '%s'", job_id);
    struct json_object *answer = NULL;
    int status = 0;
    bq_job_path(&path, client, "/jobs/", job_id, "/cancel");
    bool ok =
        bq_rest(client, &(struct bq_call){"POST", path.ptr, SLICE_LIT(""), what, 0, 0}, cancel, &status, &answer, err);
    json_object_put(answer);
    free(what);
    buf_release(&path);
    return ok;
}

bool bq_job_rows(struct bq_client *client, const char *job_id, struct bq_result *ret, struct cancel *cancel,
                 struct error *err)
{
    return bq_result_read(client, job_id, ret, cancel, err);
}

/* ---- Query to the end -------------------------------------------------------------------------------------------- */

static void take_statistics(struct bq_result *result, const struct bq_job *job)
{
    result->affected_rows = job->affected_rows;
    result->inserted_rows = job->inserted_rows;
    result->updated_rows = job->updated_rows;
    result->deleted_rows = job->deleted_rows;
    result->bytes_billed = job->bytes_billed;
    result->bytes_processed = json_int_at(job->resource, "statistics.query.totalBytesProcessed", 0);
    snprintf(result->statement_type, sizeof result->statement_type, "%s",
             json_text_at(job->resource, "statistics.query.statementType", ""));
    snprintf(result->ddl_operation, sizeof result->ddl_operation, "%s",
             json_text_at(job->resource, "statistics.query.ddlOperationPerformed", ""));
}

/* A job just inserted may be unknown for a moment. */
static bool wait_inserted(struct bq_client *client, const char *job_id, struct bq_job *ret, struct cancel *cancel,
                          struct error *err)
{
    for (int look = 0; look < ABSENT_LOOKS; look++) {
        if (!bq_job_wait(client, job_id, client->job_timeout_ms * 2, ret, cancel, err))
            return false;
        if (ret->state == BQ_JOB_DONE)
            return true;
        if (!cancel_sleep_ms(cancel, ABSENT_PAUSE_MS))
            return cancel_check(cancel, err);
    }
    return error_set(err, ERROR_RETRY, "job_lost", "could not find job '%s' just inserted", job_id);
}

/* One job from insert to rows. *ret_spent: the job failed as such, and a new id may do better. */
static bool run_job(struct bq_client *client, const char *job_id, const struct bq_query *query,
                    struct bq_result *result, bool *ret_spent, struct cancel *cancel, struct error *err)
{
    struct bq_job job = {0};
    *ret_spent = false;
    /* EXISTS: the id is fresh, so the first of our own tries had arrived. */
    if (bq_job_insert(client, job_id, query, cancel, err) == BQ_INSERT_FAILED)
        return false;
    if (!wait_inserted(client, job_id, &job, cancel, err))
        return false;
    bool ok = true;
    bq_note_billed(query, job.bytes_billed);
    if (job.failed) {
        *ret_spent = true;
        ok = false;
        if (err)
            *err = job.job_error;
    } else {
        ok = strcmp(json_text_at(job.resource, "statistics.query.statementType", "SELECT"), "SELECT") != 0 ||
             bq_result_read(client, job_id, result, cancel, err);
        take_statistics(result, &job);
    }
    bq_job_release(&job);
    return ok;
}

bool bq_query_run(struct bq_client *client, const struct bq_query *query, struct bq_result *result,
                  struct cancel *cancel, struct error *err)
{
    struct backoff backoff;
    backoff_init(&backoff, (struct backoff_policy){1000, 16000, 25, QUERY_TRIES - 1});
    *result = (struct bq_result){.affected_rows = -1};
    for (;;) {
        char uuid[UUID_TEXT_SIZE], job_id[UUID_TEXT_SIZE + 8];
        struct error problem = ERROR_INIT;
        bool spent;
        uuid_generate(uuid);
        snprintf(job_id, sizeof job_id, "st_q_%s", uuid);
        if (run_job(client, job_id, query, result, &spent, cancel, &problem))
            return true;
        bq_result_release(result);
        result->affected_rows = -1;
        int64_t wait_ms = spent && error_may_retry(&problem) ? backoff_next_ms(&backoff, problem.wait_ms) : -1;
        if (wait_ms < 0) {
            if (err)
                *err = problem;
            return false;
        }
        bq_note_retry(wait_ms, backoff.retries, &problem);
        if (!cancel_sleep_ms(cancel, wait_ms))
            return cancel_check(cancel, err);
    }
}

bool bq_query_estimate(struct bq_client *client, const struct bq_query *query, struct bq_estimate *ret,
                       struct cancel *cancel, struct error *err)
{
    struct buf body = BUF_INIT;
    struct json_object *answer = NULL;
    int status = 0;
    bq_job_body(&body, client, /* job_id */ NULL, query);
    bool ok =
        bq_rest(client, &(struct bq_call){"POST", "/jobs", buf_slice(&body), "check the query", 0, REST_INSERT_MS},
                cancel, &status, &answer, err);
    if (ok) {
        snprintf(ret->statement_type, sizeof ret->statement_type, "%s",
                 json_text_at(answer, "statistics.query.statementType", ""));
        ret->bytes_processed = json_int_at(answer, "statistics.totalBytesProcessed", 0);
    }
    json_object_put(answer);
    buf_release(&body);
    return ok;
}
