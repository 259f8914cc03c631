/* fake_bq.h - BigQuery's jobs over REST in the test's own process, as far as the change chain sees them.
 *
 * Statements are told apart by their job ids and texts; find jobs and recorded events are computed from what was
 * announced and recorded. It watches the rule of the chain: change n may only be inserted when n-1 has ended and its
 * event is there. Events come from events_change and events_staged below, which stand in for events.c at link time. */
#ifndef ST_TEST_FAKE_BQ_H
#define ST_TEST_FAKE_BQ_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "bigquery/warehouse.h"
#include "net/http.h"
#include "net/http_server.h"

enum { FAKE_MAX_RUNS = 64, FAKE_MAX_JOBS = 4096, FAKE_MAX_CHANGES = 512 };

struct fake_run {
    char id[64];
    int64_t rows;
    bool withdrawn, poison;
    int merged; /* successful changes that held it */
    int parts;  /* partial changes that are still to come; it is wide while > 0, and when `wide` */
    bool wide;
    bool uncut; /* its first part is too wide for itself */
};

struct fake_job {
    char *id;
    struct json_object *configuration;
    int looks_left; /* jobs.get answers RUNNING so often */
    const char *reason, *message;
    char *rows; /* JSON of "rows", for SELECT */
    const char *schema;
    int64_t number; /* of a change; else 0 */
    bool done_seen;
};

struct fake_bq {
    struct http_server *server;
    pthread_mutex_t mutex;
    struct fake_run runs[FAKE_MAX_RUNS];
    size_t run_count;
    struct fake_job jobs[FAKE_MAX_JOBS];
    size_t job_count;
    struct {
        int64_t number;
        bool failed;
        char code[48], runs[1024];
        int64_t run_count, rows_changed;
    } changes[FAKE_MAX_CHANGES];
    size_t change_count;
    int violations, merges, finds, splits, statements, conflicts;
    int partial;               /* successful partial changes */
    int weather;               /* so many changes fail with backendError first */
    const char *denied;        /* all changes fail with this reason */
    int failing_finds;         /* so many find jobs fail first */
    int failing_splits;        /* so many split jobs fail first */
    int lost_answers;          /* so many inserts are stored, but the connection is cut */
    int longest_looks;         /* a change runs for so many looks */
    int endless;               /* so many changes run until they are cancelled, and a few looks longer */
    int cancels, lost_cancels; /* asked for; so many of them are heard, but not answered */
    bool idle;                 /* changes change no row */
    int cancel_after_parts;    /* when so many parts are merged, `cancel` is set */
    struct cancel *cancel;
    char base[64];
};

static struct fake_bq *fake_bq; /* for the events that stand in */

static inline struct fake_run *fake_find_run(const char *id)
{
    for (size_t i = 0; i < fake_bq->run_count; i++)
        if (strcmp(fake_bq->runs[i].id, id) == 0)
            return &fake_bq->runs[i];
    return NULL;
}

static inline void fake_announce(const char *id, int64_t rows, bool poison)
{
    pthread_mutex_lock(&fake_bq->mutex);
    struct fake_run *run = &fake_bq->runs[fake_bq->run_count++];
    *run = (struct fake_run){.rows = rows, .poison = poison};
    snprintf(run->id, sizeof run->id, "%s", id);
    pthread_mutex_unlock(&fake_bq->mutex);
}

bool events_staged(struct events *events, const struct event_staged *e, struct cancel *cancel, struct error *err)
{
    (void)events;
    (void)cancel;
    (void)err;
    pthread_mutex_lock(&fake_bq->mutex);
    struct fake_run *run = fake_find_run(e->run_id);
    if (run && e->withdrawn)
        run->withdrawn = true;
    pthread_mutex_unlock(&fake_bq->mutex);
    return true;
}

static inline bool fake_recorded(int64_t number)
{
    for (size_t i = 0; i < fake_bq->change_count; i++)
        if (fake_bq->changes[i].number == number)
            return true;
    return false;
}

bool events_change(struct events *events, const struct event_change *e, struct cancel *cancel, struct error *err)
{
    (void)events;
    (void)cancel;
    (void)err;
    pthread_mutex_lock(&fake_bq->mutex);
    if (!fake_recorded(e->number)) {
        struct buf runs = BUF_INIT;
        size_t at = fake_bq->change_count++;
        for (size_t i = 0; i < e->run_count; i++)
            buf_printf(&runs, "%s%s", i ? " " : "", e->run_ids[i]);
        fake_bq->changes[at].number = e->number;
        fake_bq->changes[at].failed = strcmp(e->state, "failed") == 0;
        fake_bq->changes[at].run_count = (int64_t)e->run_count;
        fake_bq->changes[at].rows_changed = e->rows_inserted;
        snprintf(fake_bq->changes[at].code, sizeof fake_bq->changes[at].code, "%s", e->error_code ? e->error_code : "");
        snprintf(fake_bq->changes[at].runs, sizeof fake_bq->changes[at].runs, "%s", buf_cstr(&runs));
        buf_release(&runs);
    }
    pthread_mutex_unlock(&fake_bq->mutex);
    return true;
}

/* ---- Statements. With the mutex held. ---------------------------------------------------------------------------- */

#define FIELD(name, type) "{\"name\":\"" name "\",\"type\":\"" type "\",\"mode\":\"NULLABLE\"}"

static inline void fake_cell(struct buf *out, const char *text)
{
    buf_append_str(out, "{\"v\":");
    if (text)
        buf_append_json_string(out, slice_str(text));
    else
        buf_append_str(out, "null");
    buf_append_char(out, '}');
}

static inline void fake_row(struct buf *out, size_t count, const char *const *cells)
{
    buf_append_str(out, out->len ? ",{\"f\":[" : "{\"f\":[");
    for (size_t i = 0; i < count; i++) {
        if (i)
            buf_append_char(out, ',');
        fake_cell(out, cells[i]);
    }
    buf_append_str(out, "]}");
}

static inline bool fake_is_merged(const char *id)
{
    for (size_t i = 0; i < fake_bq->change_count; i++)
        if (!fake_bq->changes[i].failed && strstr(fake_bq->changes[i].runs, id))
            return true;
    return false;
}

static inline struct json_object *fake_param(struct fake_job *job, const char *name)
{
    struct json_object *params = json_at(job->configuration, "query.queryParameters");
    for (size_t i = 0; params && i < json_object_array_length(params); i++)
        if (strcmp(json_text_at(json_object_array_get_idx(params, i), "name", ""), name) == 0)
            return json_at(json_object_array_get_idx(params, i), "parameterValue");
    return NULL;
}

static inline struct fake_run *fake_run_at(struct json_object *runs, size_t i)
{
    return fake_find_run(json_text_at(json_object_array_get_idx(runs, i), "value", ""));
}

static inline void fake_do_split(struct fake_job *job)
{
    struct buf rows = BUF_INIT;
    struct json_object *runs = json_at(fake_param(job, "runs"), "arrayValues");
    struct fake_run *run = fake_run_at(runs, 0);
    fake_bq->splits++;
    if (fake_bq->failing_splits-- > 0) {
        job->reason = "jobBackendError";
        job->message = "told to";
    }
    if (json_object_array_length(runs) != 1)
        fake_bq->violations++;
    const char *from = "2025-10-21 2025-10-21", *until = run->uncut ? from : "2025-10-22 2025-10-23";
    fake_row(&rows, 2, (const char *const[]){from, run->parts > 0 || run->uncut ? until : NULL});
    job->rows = buf_detach(&rows);
    job->schema = "[" FIELD("part_from", "STRING") "," FIELD("part_until", "STRING") "]";
}

static inline void fake_do_find(struct fake_job *job)
{
    struct buf rows = BUF_INIT;
    size_t taken = 0;
    fake_bq->finds++;
    if (fake_bq->failing_finds-- > 0) {
        job->reason = "jobBackendError";
        job->message = "told to";
    }
    for (size_t i = 0; i < fake_bq->run_count; i++) {
        char text[24];
        if (fake_bq->runs[i].withdrawn || fake_is_merged(fake_bq->runs[i].id))
            continue;
        if (fake_bq->runs[i].wide && taken > 0)
            break; /* runs are taken up to the bound */
        snprintf(text, sizeof text, "%lld", (long long)fake_bq->runs[i].rows);
        fake_row(&rows, 8,
                 (const char *const[]){"run", fake_bq->runs[i].id, "1", NULL, text, "1761040800000000",
                                       "1761040801000000", fake_bq->runs[i].wide ? "9999" : "3"});
        taken++;
        if (fake_bq->runs[i].wide)
            break;
    }
    fake_row(&rows, 8, (const char *const[]){"partition", NULL, "0", "2025-10-21", "0", NULL, NULL, "0"});
    job->rows = buf_detach(&rows);
    job->schema = "[" FIELD("kind", "STRING") "," FIELD("run_id", "STRING") "," FIELD("place", "INTEGER") "," FIELD(
        "partition_date",
        "DATE") "," FIELD("row_count",
                          "INTEGER") "," FIELD("staged_min",
                                               "TIMESTAMP") "," FIELD("staged_max",
                                                                      "TIMESTAMP") "," FIELD("days", "INTEGER") "]";
}

static inline void fake_do_statement(struct fake_job *job, const char *sql)
{
    struct buf rows = BUF_INIT;
    char a[24], b[24], c[24];
    fake_bq->statements++;
    if (strstr(sql, "'merged' AS kind")) {
        const char *run = json_text_at(fake_param(job, "run"), "value", "");
        for (size_t i = 0; i < fake_bq->change_count; i++) {
            if (fake_bq->changes[i].failed || !strstr(fake_bq->changes[i].runs, run))
                continue;
            snprintf(a, sizeof a, "%lld", (long long)fake_bq->changes[i].number);
            snprintf(b, sizeof b, "%lld", (long long)fake_bq->changes[i].run_count);
            snprintf(c, sizeof c, "%lld", (long long)fake_bq->changes[i].rows_changed);
            fake_row(&rows, 5, (const char *const[]){"merged", a, b, "10", c});
        }
        if (fake_find_run(run) && fake_find_run(run)->withdrawn)
            fake_row(&rows, 5, (const char *const[]){"withdrawn", "0", "0", "0", "0"});
        job->schema = "[" FIELD("kind", "STRING") "," FIELD("change_number", "INTEGER") "," FIELD(
            "run_count", "INTEGER") "," FIELD("bytes_billed", "INTEGER") "," FIELD("rows_changed", "INTEGER") "]";
    } else {
        size_t top = 0;
        for (size_t i = 0; i < fake_bq->change_count; i++)
            top = fake_bq->changes[i].number > fake_bq->changes[top].number ? i : top;
        if (fake_bq->change_count > 0) {
            snprintf(a, sizeof a, "%lld", (long long)fake_bq->changes[top].number);
            snprintf(b, sizeof b, "%lld", (long long)fake_bq->changes[top].run_count);
            fake_row(&rows, 5,
                     (const char *const[]){a, fake_bq->changes[top].failed ? "failed" : "success",
                                           fake_bq->changes[top].code, b, fake_bq->changes[top].runs});
        }
        job->schema = "[" FIELD("change_number", "INTEGER") "," FIELD("state", "STRING") "," FIELD(
            "error_code", "STRING") "," FIELD("run_count", "INTEGER") "," FIELD("runs", "STRING") "]";
    }
    job->rows = buf_detach(&rows);
}

static inline void fake_do_change(struct fake_job *job)
{
    struct json_object *runs = json_at(fake_param(job, "runs"), "arrayValues");
    bool partial = json_at(job->configuration, "labels.st_part") != NULL;
    bool cut = strstr(json_text_at(job->configuration, "query.query", ""), "< '2025-10-22 2025-10-23'") != NULL;
    fake_bq->merges++;
    if (partial != cut)
        fake_bq->violations++;
    job->number = strtoll(strrchr(job->id, '_') + 1, NULL, 10);
    job->looks_left = fake_bq->longest_looks;
    if (job->number > 1 && !fake_recorded(job->number - 1))
        fake_bq->violations++;
    for (size_t i = 0; i + 1 < fake_bq->job_count; i++)
        if (fake_bq->jobs[i].number > 0 && fake_bq->jobs[i].looks_left > 0)
            fake_bq->violations++; /* two changes at once */
    for (size_t i = 0; i < json_object_array_length(runs); i++) {
        struct fake_run *run = fake_run_at(runs, i);
        if (run->poison) {
            job->reason = "invalidQuery";
            job->message = "Cannot parse '?' as INT64";
        }
    }
    if (fake_bq->denied) {
        job->reason = fake_bq->denied;
        job->message = "told to";
    } else if (fake_bq->endless > 0) {
        fake_bq->endless--;
        job->reason = "stopped";
        job->message = "Job execution was cancelled";
        job->looks_left = INT_MAX;
    } else if (fake_bq->weather-- > 0) {
        job->reason = "jobBackendError";
        job->message = "told to";
    }
    for (size_t i = 0; !job->reason && i < json_object_array_length(runs); i++) {
        struct fake_run *run = fake_run_at(runs, i);
        run->merged += !partial;
        run->parts -= partial;
        fake_bq->partial += partial;
        if (fake_bq->cancel && fake_bq->partial == fake_bq->cancel_after_parts)
            cancel_set(fake_bq->cancel, "shutdown");
        if (partial ? run->parts < 0 : run->parts > 0)
            fake_bq->violations++;
    }
}

static inline struct fake_job *fake_find_job(const char *id)
{
    for (size_t i = 0; i < fake_bq->job_count; i++)
        if (strcmp(fake_bq->jobs[i].id, id) == 0)
            return &fake_bq->jobs[i];
    return NULL;
}

/* ---- REST -------------------------------------------------------------------------------------------------------- */

static inline void fake_error(struct http_exchange *x, int status, const char *reason)
{
    struct buf body = BUF_INIT;
    buf_printf(&body,
               "{\"error\":{\"code\":%d,\"message\":\"fake\",\"errors\":[{\"reason\":\"%s\",\"message\":\"fake\"}]}}",
               status, reason);
    http_exchange_reply_buf(x, status, "application/json", &body);
}

static inline void fake_reply_job(struct http_exchange *x, struct fake_job *job)
{
    struct buf body = BUF_INIT;
    bool done = job->looks_left <= 0;
    buf_printf(&body, "{\"status\":{\"state\":\"%s\"", done ? "DONE" : "RUNNING");
    if (done && job->reason)
        buf_printf(&body, ",\"errorResult\":{\"reason\":\"%s\",\"message\":\"%s\"}", job->reason, job->message);
    buf_printf(&body, "},\"configuration\":%s,",
               json_object_to_json_string_ext(job->configuration, JSON_C_TO_STRING_PLAIN));
    buf_printf(&body,
               "\"statistics\":{\"endTime\":\"%lld\",\"query\":{\"statementType\":\"%s\",\"numDmlAffectedRows\":\"%d\","
               "\"totalBytesBilled\":\"1000\",\"dmlStats\":{\"insertedRowCount\":\"100\"}}}}",
               (long long)clock_wall_us() / 1000, job->number ? "MERGE" : "SELECT", fake_bq->idle ? 0 : 100);
    job->looks_left--;
    http_exchange_reply_buf(x, 200, "application/json", &body);
}

static inline void fake_insert(struct http_exchange *x)
{
    struct json_object *body = json_parse(http_exchange_body(x), "body", NULL);
    const char *id = json_text_at(body, "jobReference.jobId", "");
    bool cut = false;
    struct fake_job *job = fake_find_job(id);
    if (job) {
        fake_bq->conflicts++;
        fake_error(x, 409, "duplicate");
        json_object_put(body);
        return;
    }
    job = &fake_bq->jobs[fake_bq->job_count++];
    *job = (struct fake_job){.id = xstrdup(id), .configuration = json_object_get(json_at(body, "configuration"))};
    if (strstr(id, "_split"))
        fake_do_split(job);
    else if (strstr(id, "_find"))
        fake_do_find(job);
    else if (strncmp(id, "st_q_", 5) == 0)
        fake_do_statement(job, json_text_at(body, "configuration.query.query", ""));
    else
        fake_do_change(job);
    if (job->number && fake_bq->lost_answers > 0) {
        fake_bq->lost_answers--;
        cut = true;
    }
    json_object_put(body);
    if (cut)
        http_exchange_abort(x);
    else
        http_exchange_reply(x, 200, "application/json", SLICE_LIT("{}"));
}

/* ".../jobs/ID/cancel": the job goes on for a while. */
static inline void fake_cancel(struct http_exchange *x, const char *path)
{
    char *id = xstrndup(path, strlen(path) - strlen("/cancel"));
    struct fake_job *job = fake_find_job(strrchr(id, '/') + 1);
    free(id);
    fake_bq->cancels++;
    if (job && job->looks_left > fake_bq->longest_looks)
        job->looks_left = fake_bq->longest_looks;
    if (fake_bq->lost_cancels-- > 0)
        http_exchange_abort(x);
    else if (job)
        http_exchange_reply(x, 200, "application/json", SLICE_LIT("{}"));
    else
        fake_error(x, 404, "notFound");
}

static inline void fake_handle(void *user, struct http_exchange *x)
{
    const char *path = http_exchange_path(x), *name = strrchr(path, '/') + 1;
    (void)user;
    pthread_mutex_lock(&fake_bq->mutex);
    struct fake_job *job = fake_find_job(name);
    if (strcmp(http_exchange_method(x), "POST") == 0 && strcmp(name, "jobs") == 0) {
        fake_insert(x);
    } else if (strcmp(name, "cancel") == 0) {
        fake_cancel(x, path);
    } else if (!job) {
        fake_error(x, 404, "notFound");
    } else if (strstr(path, "/queries/")) {
        struct buf body = BUF_INIT;
        buf_printf(&body, "{\"jobComplete\":true,\"schema\":{\"fields\":%s},\"rows\":[%s]}", job->schema, job->rows);
        http_exchange_reply_buf(x, 200, "application/json", &body);
    } else {
        fake_reply_job(x, job);
    }
    pthread_mutex_unlock(&fake_bq->mutex);
}

static inline void fake_bq_start(void)
{
    struct error err = ERROR_INIT;
    http_global_init();
    fake_bq = xcalloc(1, sizeof *fake_bq);
    pthread_mutex_init(&fake_bq->mutex, NULL);
    fake_bq->longest_looks = 2;
    fake_bq->server =
        http_server_start(&(struct http_server_options){.bind_address = "127.0.0.1", .handler = fake_handle}, &err);
    if (!fake_bq->server)
        fail_msg("%s", err.message);
    snprintf(fake_bq->base, sizeof fake_bq->base, "http://127.0.0.1:%d", http_server_port(fake_bq->server));
}

static inline void fake_bq_stop(void)
{
    http_server_stop(fake_bq->server, 1000);
    for (size_t i = 0; i < fake_bq->job_count; i++) {
        free(fake_bq->jobs[i].id);
        free(fake_bq->jobs[i].rows);
        json_object_put(fake_bq->jobs[i].configuration);
    }
    free(fake_bq);
}

#endif
