/* client.c - BigQuery REST v2: the authorised exchange with its retries, datasets and tables.
 *
 * Every request of this client may be sent twice: reads change nothing, jobs have ids of ours, datasets and tables
 * answer 409. So an ambiguous failure is simply tried again, and the id settles what happened. A quota that needs
 * minutes is not waited for here: the caller gets THROTTLED with the wait. Threads borrow connections from a pool of
 * REST_MAX_CONNECTIONS. */
#include "bigquery/client.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/metrics.h"
#include "net/backoff.h"
#include "rest.h"

enum {
    REST_MAX_CONNECTIONS = 16,
    REST_MAX_BODY_BYTES = 48 * 1024 * 1024,
    REST_MAX_WAIT_MS = 60000,
    JOB_TIMEOUT_MS = 30 * 60 * 1000,
};

static const struct backoff_policy retry_policy = {250, 16000, 25, 6};

struct bq_client *bq_client_new(const struct bq_options *options, struct error *err)
{
    const char *base =
        options->rest_base && options->rest_base[0] ? options->rest_base : "https://bigquery.googleapis.com";
    const char *refusal = http_url_refusal(base);
    if (refusal) {
        error_set(err, ERROR_PERMANENT, "config_value", "cannot use '%s' as the address of BigQuery: %s", base,
                  refusal);
        return NULL;
    }
    if (!options->project || !options->project[0]) {
        error_set(err, ERROR_PERMANENT, "config_value", "cannot use BigQuery without a project id");
        return NULL;
    }
    struct bq_client *client = xcalloc(1, sizeof *client);
    struct buf url = BUF_INIT;
    size_t len = strlen(base);
    while (len > 0 && base[len - 1] == '/')
        len--;
    buf_append(&url, base, len);
    buf_append_str(&url, "/bigquery/v2/projects/");
    buf_append_url_escaped(&url, slice_str(options->project));
    client->base = buf_detach(&url);
    client->project = xstrdup(options->project);
    client->location = xstrdup(options->location && options->location[0] ? options->location : "US");
    client->creds = options->creds;
    client->job_timeout_ms = options->job_timeout_ms > 0 ? options->job_timeout_ms : JOB_TIMEOUT_MS;
    client->pool = http_pool_new(REST_MAX_CONNECTIONS);
    return client;
}

void bq_client_free(struct bq_client *client)
{
    if (!client)
        return;
    http_pool_free(client->pool);
    free(client->base);
    free(client->project);
    free(client->location);
    free(client);
}

const char *bq_client_project(const struct bq_client *client)
{
    return client->project;
}

static void add_header(struct http_request *request, const char *name, struct slice value)
{
    BUG_ON(request->header_count >= HTTP_MAX_HEADERS);
    request->headers[request->header_count++] = (struct http_header){name, value};
}

/* status 0: no (whole) reply came. */
static void count_exchange(int status)
{
    char code[METRIC_NUMBER_SIZE] = "error";
    if (status > 0)
        metric_number(code, status);
    metrics_add(METRIC_BQ_REQUESTS, 1, METRIC_LABELS(code));
}

void bq_note_retry(int64_t wait_ms, int attempt, const struct error *err)
{
    static const struct log_context context = {.context = "v2-ingestor:bigquery"};
    static struct log_limit limit;
    metrics_add(METRIC_RETRIES, 1, METRIC_LABELS("bigquery"));
    log_retry(&context, &limit, wait_ms, attempt, err);
}

/* One exchange, whatever its status. The token is returned so that a 401 can be reported. */
static bool exchange(struct bq_client *client, const struct bq_call *call, struct cancel *cancel,
                     struct http_response *response, struct secret **ret_token, struct error *err)
{
    struct buf url = BUF_INIT, bearer = BUF_INIT;
    bool ok = google_credentials_token(client->creds, cancel, ret_token, err);
    if (!ok)
        return false;
    buf_printf(&url, "%s%s", client->base, call->path);
    struct http_request request = {.method = call->method,
                                   .url = url.ptr,
                                   .body = call->body,
                                   .cancel = cancel,
                                   .timeout_ms = call->timeout_ms > 0 ? call->timeout_ms : REST_SHORT_MS,
                                   .max_body_bytes = REST_MAX_BODY_BYTES};
    add_header(&request, "Accept", SLICE_LIT("application/json"));
    if (call->body.ptr)
        add_header(&request, "Content-Type", SLICE_LIT("application/json"));
    if (!secret_is_empty(*ret_token)) {
        buf_append_str(&bearer, "Bearer ");
        buf_append_slice(&bearer, secret_reveal(*ret_token));
        add_header(&request, "Authorization", buf_slice(&bearer));
    }
    struct http_client *http = http_pool_take(client->pool, cancel, err);
    ok = http && http_perform(http, &request, response, err);
    if (http) {
        http_pool_give(client->pool, http);
        count_exchange(ok ? response->status : 0);
    }
    if (bearer.ptr)
        explicit_bzero(bearer.ptr, bearer.cap);
    buf_release(&bearer);
    buf_release(&url);
    return ok;
}

/* One try. A 401 makes the token be renewed; the class RETRY then lets the loop below use the new one, once. */
static bool try_once(struct bq_client *client, const struct bq_call *call, struct cancel *cancel, bool *renewed,
                     int *ret_status, struct json_object **ret, struct error *err)
{
    struct http_response response = HTTP_RESPONSE_INIT;
    struct secret *token = NULL;
    struct json_object *json = NULL;
    bool ok = exchange(client, call, cancel, &response, &token, err);
    if (!ok) {
        error_prefix(err, "%s", call->what);
        goto out;
    }
    if (response.status == 401 && !*renewed && !google_credentials_is_none(client->creds)) {
        google_credentials_refused(client->creds, token);
        *renewed = true;
        ok = error_set(err, ERROR_RETRY, "http_401", "could not %s: the access token was refused", call->what);
        goto out;
    }
    bool answered = response.status == call->accept_status;
    if (!answered && (response.status < 200 || response.status > 299)) {
        ok = bq_error(err, response.status, buf_slice(&response.body), call->what);
        if (err && response.retry_after_ms > err->wait_ms && err->class == ERROR_THROTTLED)
            err->wait_ms = response.retry_after_ms;
        goto out;
    }
    if (!answered && response.body.len > 0 &&
        !(json = json_parse(buf_slice(&response.body), "BigQuery's answer", err))) {
        /* The body of a success is Google's own; a broken one was cut on the way. */
        ok = error_prefix(err, "%s", call->what);
        if (err)
            err->class = ERROR_RETRY, err->effect = EFFECT_MAYBE;
        goto out;
    }
    *ret_status = response.status;
    *ret = json;
out:
    if (!ok && err)
        secret_blot(err->message, token); /* servers that echo exist */
    secret_unref(token);
    http_response_release(&response);
    return ok;
}

bool bq_rest(struct bq_client *client, const struct bq_call *call, struct cancel *cancel, int *ret_status,
             struct json_object **ret, struct error *err)
{
    struct backoff backoff;
    bool renewed = false;
    backoff_init(&backoff, retry_policy);
    for (;;) {
        struct error problem = ERROR_INIT;
        if (try_once(client, call, cancel, &renewed, ret_status, ret, &problem))
            return true;
        int64_t wait_ms = -1;
        if (error_may_retry(&problem) && problem.wait_ms <= REST_MAX_WAIT_MS)
            wait_ms = backoff_next_ms(&backoff, problem.wait_ms);
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

void bq_job_path(struct buf *out, const struct bq_client *client, const char *prefix, const char *job_id,
                 const char *suffix)
{
    buf_append_str(out, prefix);
    buf_append_url_escaped(out, slice_str(job_id));
    buf_append_str(out, suffix);
    buf_append_str(out, "?location=");
    buf_append_url_escaped(out, slice_str(client->location));
}

/* ---- Datasets and tables ---------------------------------------------------------------------------------------- */

bool bq_ensure_dataset(struct bq_client *client, const char *dataset, const char *description, bool *ret_created,
                       struct cancel *cancel, struct error *err)
{
    struct buf path = BUF_INIT, body = BUF_INIT;
    char *what = xasprintf("make dataset '%s'", dataset);
    struct json_object *answer = NULL;
    int status = 0;
    buf_append_str(&path, "/datasets/");
    buf_append_url_escaped(&path, slice_str(dataset));
    bool ok =
        bq_rest(client, &(struct bq_call){"GET", path.ptr, SLICE_NULL, what, 404, 0}, cancel, &status, &answer, err);
    if (!ok || status != 404) {
        *ret_created = ok ? false : *ret_created;
        goto out;
    }
    buf_append_str(&body, "{\"datasetReference\":{\"projectId\":");
    buf_append_json_string(&body, slice_str(client->project));
    buf_append_str(&body, ",\"datasetId\":");
    buf_append_json_string(&body, slice_str(dataset));
    buf_append_str(&body, "},\"location\":");
    buf_append_json_string(&body, slice_str(client->location));
    buf_append_str(&body, ",\"description\":");
    buf_append_json_string(&body, slice_str(description ? description : ""));
    buf_append_char(&body, '}');
    ok = bq_rest(client, &(struct bq_call){"POST", "/datasets", buf_slice(&body), what, 409, 0}, cancel, &status,
                 &answer, err);
    if (ok)
        *ret_created = status != 409; /* 409: somebody made it in between */
out:
    json_object_put(answer);
    free(what);
    buf_release(&path);
    buf_release(&body);
    return ok;
}

bool bq_table_get(struct bq_client *client, const char *dataset, const char *table, struct json_object **ret,
                  struct cancel *cancel, struct error *err)
{
    struct buf path = BUF_INIT;
    char *what = xasprintf("read table '%s.%s'", dataset, table);
    struct json_object *answer = NULL;
    int status = 0;
    buf_append_str(&path, "/datasets/");
    buf_append_url_escaped(&path, slice_str(dataset));
    buf_append_str(&path, "/tables/");
    buf_append_url_escaped(&path, slice_str(table));
    bool ok =
        bq_rest(client, &(struct bq_call){"GET", path.ptr, SLICE_NULL, what, 404, 0}, cancel, &status, &answer, err);
    if (ok)
        *ret = answer;
    free(what);
    buf_release(&path);
    return ok;
}

bool bq_table_exists(struct bq_client *client, const char *dataset, const char *table, bool *ret, struct cancel *cancel,
                     struct error *err)
{
    struct json_object *resource = NULL;
    if (!bq_table_get(client, dataset, table, &resource, cancel, err))
        return false;
    *ret = resource != NULL;
    json_object_put(resource);
    return true;
}
