/* bq_rest_jobs.c - routes of jobs and queries.
 *
 * Page tokens are row numbers, because results are random access. jobs.query waits timeoutMs (10 s unless told, at most
 * 200 s) and answers with jobComplete=false then; a failed job makes jobs.query and getQueryResults fail with the job's
 * error as HTTP status. Refused with notImplemented: load, copy and extract jobs, destination tables, sessions. */
#include <stdlib.h>

#include "bq_rest_internal.h"

enum {
    DEFAULT_TIMEOUT_MS = 10000,
    MAX_TIMEOUT_MS = 200000,
    MAX_JOB_ID = 1024,
    MAX_LABELS = 64,
    MAX_LABEL = 63,
    MAX_REQUEST_ID = 128,
    JOBS_PAGE = 50,
};

/* ---- Checks of a configuration ---------------------------------------------------------------------------------- */

static bool check_label(const char *what, const char *text, bool may_be_empty, struct error *err)
{
    size_t len = strlen(text);
    bool ok = (may_be_empty || len > 0) && len <= MAX_LABEL * 4;
    for (const char *p = text; ok && *p; p++) {
        unsigned char c = (unsigned char)*p; /* letters beyond ASCII are allowed */
        ok = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c >= 0x80;
        len -= (c & 0xC0) == 0x80;
    }
    if (ok && len <= MAX_LABEL)
        return true;
    return rest_fail(err, "invalid",
                     "Label %s \"%.100s\" has invalid characters or is longer than %d: lowercase letters, digits, "
                     "underscores and dashes only",
                     what, text, MAX_LABEL);
}

static bool check_labels(struct json_object *labels, struct error *err)
{
    if (!labels)
        return true;
    if (!json_object_is_type(labels, json_type_object) || json_object_object_length(labels) > MAX_LABELS)
        return rest_fail(err, "invalid", "labels must be an object with at most %d members", MAX_LABELS);
    json_object_object_foreach(labels, key, value)
    {
        if (!json_object_is_type(value, json_type_string))
            return rest_fail(err, "invalid", "The value of label \"%.100s\" is not a string", key);
        if (!check_label("key", key, false, err) || !check_label("value", json_object_get_string(value), true, err))
            return false;
    }
    return true;
}

static bool check_dialect(struct json_object *query, const char *sql, struct error *err)
{
    struct slice text = slice_trim(slice_str(sql));
    bool marked = text.len >= 12 && slice_eq_nocase(slice_of(text.ptr, 12), SLICE_LIT("#standardSQL"));
    if (marked || !json_bool_at(query, "useLegacySql", true))
        return true;
    return rest_fail(err, "invalid",
                     "Legacy SQL is not supported by the local server. Set useLegacySql to false (REST's default is "
                     "true).");
}

static bool check_query(struct json_object *query, struct error *err)
{
    static const char *const refused[] = {"destinationTable", "tableDefinitions", "userDefinedFunctionResources",
                                          "destinationEncryptionConfiguration", NULL};
    const char *sql = json_text_at(query, "query", NULL);
    struct json_object *parameters = json_at(query, "queryParameters");
    if (!sql || slice_trim(slice_str(sql)).len == 0)
        return rest_fail(err, "required", "Required parameter is missing: query");
    if (strlen(sql) > 1024 * 1024)
        return rest_fail(err, "invalid", "The query is too large. The maximum length is 1024.00K characters");
    if (!check_dialect(query, sql, err))
        return false;
    for (const char *const *name = refused; *name; name++)
        if (json_at(query, *name))
            return rest_fail(err, "notImplemented", "%s is not supported by the local server", *name);
    struct json_object *properties = json_at(query, "connectionProperties");
    bool has_properties =
        properties && json_object_is_type(properties, json_type_array) && json_object_array_length(properties) > 0;
    if (json_bool_at(query, "createSession", false) || has_properties)
        return rest_fail(err, "notImplemented",
                         "sessions and connectionProperties are not supported by the local server");
    if (parameters && !json_object_is_type(parameters, json_type_array))
        return rest_fail(err, "invalid", "queryParameters must be an array");
    return true;
}

static bool check_configuration(struct json_object *configuration, struct error *err)
{
    static const char *const kinds[] = {"load", "copy", "extract", NULL};
    for (const char *const *kind = kinds; *kind; kind++)
        if (json_at(configuration, *kind))
            return rest_fail(err, "notImplemented", "%s jobs are not supported by the local server", *kind);
    struct json_object *query = json_at(configuration, "query");
    if (!query || !json_object_is_type(query, json_type_object))
        return rest_fail(err, "required", "Required parameter is missing: configuration.query");
    return check_labels(json_at(configuration, "labels"), err) && check_query(query, err);
}

static bool check_job_id(const char *id, struct error *err)
{
    size_t len = strlen(id);
    bool ok = len > 0 && len <= MAX_JOB_ID;
    for (const char *p = id; ok && *p; p++)
        ok = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || *p == '_' || *p == '-';
    if (ok)
        return true;
    return rest_fail(
        err, "invalid",
        "Invalid job ID \"%.100s\". Job IDs must be alphanumeric (plus underscores and dashes) and must be "
        "at most %d characters long.",
        id, MAX_JOB_ID);
}

/* ---- jobs.* ----------------------------------------------------------------------------------------------------- */

static void link_job(const struct rest_request *r, struct json_object *job)
{
    const char *id = json_text_at(job, "jobReference.jobId", NULL);
    if (id)
        rest_put_self_link(r, job, "projects/%s/jobs/%s?location=%s", r->params[REST_PROJECT], id,
                           engine_location(r->rest->engine));
}

static bool find_job(struct rest_request *r, struct query_job **ret, struct error *err)
{
    const char *location = http_exchange_query(r->x, "location");
    const char *project = r->params[REST_PROJECT], *id = r->params[REST_JOB];
    const char *ours = engine_location(r->rest->engine);
    if (location && location[0] && !slice_eq_nocase(slice_str(location), slice_str(ours)))
        return rest_fail(err, "notFound", "Not found: Job %s:%.50s.%.200s", project, location, id);
    if (!query_jobs_find(r->rest->jobs, project, id, ret, err))
        return false;
    if (strcmp(http_exchange_method(r->x), "GET") != 0 || !query_job_is_hidden(*ret))
        return true;
    query_job_unref(*ret);
    *ret = NULL;
    return rest_fail(err, "notFound", "Not found: Job %s:%s.%.200s", project, ours, id);
}

static void answer_job(struct rest_request *r, struct json_object *resource, struct buf *out)
{
    link_job(r, resource);
    rest_put_json(out, resource);
}

static bool dry_run(struct rest_request *r, const struct query_job_spec *spec, struct buf *out, struct error *err)
{
    struct json_object *job = NULL;
    if (!query_jobs_dry_run(r->rest->jobs, spec, &job, err))
        return false;
    answer_job(r, job, out);
    return true;
}

static bool jobs_insert(struct rest_request *r, struct buf *out, struct error *err)
{
    struct json_object *configuration = json_at(r->body, "configuration");
    struct query_job_spec spec = {
        .project = r->params[REST_PROJECT],
        .job_id = json_text_at(r->body, "jobReference.jobId", NULL),
        .configuration = configuration,
    };
    if (!configuration)
        return rest_fail(err, "required", "Required parameter is missing: configuration");
    if (!rest_check_location(r, json_text_at(r->body, "jobReference.location", NULL), err) ||
        (spec.job_id && !check_job_id(spec.job_id, err)) || !check_configuration(configuration, err))
        return false;
    if (json_bool_at(configuration, "dryRun", false))
        return dry_run(r, &spec, out, err);
    struct query_job *job = NULL;
    if (!query_jobs_insert(r->rest->jobs, &spec, &job, err))
        return false;
    answer_job(r, query_job_resource(job), out);
    query_job_unref(job);
    return true;
}

static bool jobs_get(struct rest_request *r, struct buf *out, struct error *err)
{
    struct query_job *job = NULL;
    if (!find_job(r, &job, err))
        return false;
    answer_job(r, query_job_resource(job), out);
    query_job_unref(job);
    return true;
}

static bool jobs_cancel(struct rest_request *r, struct buf *out, struct error *err)
{
    struct query_job *job = NULL;
    if (!find_job(r, &job, err))
        return false;
    query_jobs_cancel(r->rest->jobs, job);
    struct json_object *answer = json_object_new_object(), *resource = query_job_resource(job);
    link_job(r, resource);
    json_put_text(answer, "kind", "bigquery#jobCancelResponse");
    json_object_object_add(answer, "job", resource);
    rest_put_json(out, answer);
    query_job_unref(job);
    return true;
}

static bool jobs_delete(struct rest_request *r, struct buf *out, struct error *err)
{
    struct query_job *job = NULL;
    if (!find_job(r, &job, err))
        return false;
    query_job_unref(job);
    buf_append_str(out, "{}");
    return query_jobs_delete(r->rest->jobs, r->params[REST_PROJECT], r->params[REST_JOB], err);
}

/* stateFilter may be given several times, in any case. */
struct state_filter {
    bool any;
    bool wanted[3];
};
static const char *const state_names[3] = {"PENDING", "RUNNING", "DONE"};

static void add_state(void *user, const char *name, const char *value)
{
    struct state_filter *filter = user;
    if (strcmp(name, "stateFilter") != 0)
        return;
    filter->any = true;
    for (size_t i = 0; i < 3; i++)
        filter->wanted[i] |= slice_eq_nocase(slice_str(value), slice_str(state_names[i]));
}

static bool passes(const struct state_filter *filter, struct json_object *job)
{
    const char *state = json_text_at(job, "status.state", "");
    for (size_t i = 0; i < 3; i++)
        if (strcmp(state, state_names[i]) == 0)
            return !filter->any || filter->wanted[i];
    return false;
}

static struct json_object *list_item(struct rest_request *r, struct json_object *job, bool full)
{
    static const char *const members[] = {"kind",       "id",         "jobReference",      "status",
                                          "statistics", "user_email", "principal_subject", "configuration"};
    struct json_object *item = json_object_new_object();
    size_t count = sizeof members / sizeof members[0] - (full ? 0 : 1);
    for (size_t i = 0; i < count; i++) {
        struct json_object *value = json_at(job, members[i]);
        if (value)
            json_object_object_add(item, members[i], json_object_get(value));
    }
    json_put_text(item, "state", json_text_at(job, "status.state", ""));
    struct json_object *failure = json_at(job, "status.errorResult");
    if (failure)
        json_object_object_add(item, "errorResult", json_object_get(failure));
    link_job(r, item);
    return item;
}

static bool jobs_list(struct rest_request *r, struct buf *out, struct error *err)
{
    struct state_filter filter = {false, {false, false, false}};
    const char *projection = http_exchange_query(r->x, "projection");
    bool full = projection && slice_eq_nocase(slice_str(projection), SLICE_LIT("full"));
    int64_t start, max;
    if (!rest_query_start(r, &start, err) || !rest_query_int(r, "maxResults", JOBS_PAGE, &max, err))
        return false;
    max = max == 0 || max > 1000 ? JOBS_PAGE : max;
    struct json_object *jobs = query_jobs_list(r->rest->jobs, r->params[REST_PROJECT], start, max, err);
    if (!jobs)
        return false;
    http_exchange_each_query(r->x, add_state, &filter);
    struct json_object *answer = json_object_new_object(), *items = json_object_new_array();
    for (size_t i = 0; i < json_object_array_length(jobs); i++) {
        struct json_object *job = json_object_array_get_idx(jobs, i);
        if (passes(&filter, job))
            json_object_array_add(items, list_item(r, job, full));
    }
    json_put_text(answer, "kind", "bigquery#jobList");
    json_object_object_add(answer, "jobs", items);
    if ((int64_t)json_object_array_length(jobs) == max)
        rest_put_page_token(answer, "nextPageToken", start + max);
    rest_put_json(out, answer);
    json_object_put(jobs);
    return true;
}

/* ---- Results ---------------------------------------------------------------------------------------------------- */

struct page {
    int64_t start;
    int64_t max_rows; /* -1: as many as fit */
    enum engine_timestamp_format format;
};

static bool put_result(struct json_object *head, struct query_job *job, const struct page *page, struct buf *rows,
                       struct error *err)
{
    const struct engine_result *result = query_job_result(job);
    if (!result) {
        json_put_text(head, "totalRows", "0");
        return rest_fail(err, "notFound", "Not found: the result of this job is no longer available");
    }
    struct json_object *schema = engine_result_schema(result);
    int64_t total = engine_result_row_count(result);
    int64_t max = page->max_rows < 0 || page->max_rows > REST_MAX_PAGE_ROWS ? REST_MAX_PAGE_ROWS : page->max_rows;
    struct json_object *copy = NULL;
    if (schema && json_object_deep_copy(schema, &copy, NULL) == 0)
        json_object_object_add(head, "schema", copy);
    json_put_int_text(head, "totalRows", total);
    int64_t written = 0;
    if (max > 0 && page->start < total)
        written = engine_result_write_rows(result, page->start, max, REST_MAX_PAGE_BYTES, page->format, rows);
    if (page->start + written < total)
        rest_put_page_token(head, "pageToken", page->start + written);
    return true;
}

/* DML and DDL have no rows: their record is enough, also after a restart. */
static bool has_rows(struct json_object *resource)
{
    const char *type = json_text_at(resource, "statistics.query.statementType", "");
    return strcmp(type, "SELECT") == 0 || strcmp(type, "SCRIPT") == 0;
}

static bool answer_results(struct rest_request *r, struct query_job *job, bool done, const char *kind,
                           const struct page *page, struct buf *out, struct error *err)
{
    if (done && query_job_failed(job, err))
        return false;
    struct json_object *resource = query_job_resource(job), *head = json_object_new_object();
    struct json_object *reference = NULL;
    struct buf rows = BUF_INIT;
    bool ok = true;
    json_put_text(head, "kind", kind);
    if (json_object_deep_copy(json_at(resource, "jobReference"), &reference, NULL) == 0)
        json_object_object_add(head, "jobReference", reference);
    json_object_object_add(head, "jobComplete", json_object_new_boolean(done));
    json_put_text(head, "location", engine_location(r->rest->engine));
    if (strcmp(kind, "bigquery#queryResponse") == 0)
        json_put_text(head, "queryId", json_text_at(resource, "jobReference.jobId", ""));
    if (done) {
        job_copy_query_statistics(resource, head);
        if (query_job_result(job) || has_rows(resource))
            ok = put_result(head, job, page, &rows, err);
        else
            json_put_text(head, "totalRows", "0");
    }
    if (ok)
        rest_put_with_rows(out, head, &rows);
    else
        json_object_put(head);
    buf_release(&rows);
    json_object_put(resource);
    return ok;
}

static int64_t bounded_timeout(int64_t ms)
{
    return ms < 0 || ms > MAX_TIMEOUT_MS ? MAX_TIMEOUT_MS : ms;
}

static bool get_query_results(struct rest_request *r, struct buf *out, struct error *err)
{
    struct page page;
    struct query_job *job = NULL;
    const char *max = http_exchange_query(r->x, "maxResults");
    int64_t timeout_ms;
    if (!rest_query_start(r, &page.start, err) || !rest_query_int(r, "maxResults", 0, &page.max_rows, err) ||
        !rest_query_int(r, "timeoutMs", DEFAULT_TIMEOUT_MS, &timeout_ms, err) ||
        !rest_timestamp_format(r, &page.format, err) || !find_job(r, &job, err))
        return false;
    if (!max)
        page.max_rows = -1;
    bool done = query_job_wait(job, bounded_timeout(timeout_ms));
    bool ok = answer_results(r, job, done, "bigquery#getQueryResultsResponse", &page, out, err);
    query_job_unref(job);
    return ok;
}

/* ---- jobs.query ------------------------------------------------------------------------------------------------- */

static void move_members(struct json_object *from, struct json_object *to, const char *const *names)
{
    for (; *names; names++) {
        struct json_object *value = json_at(from, *names);
        if (value)
            json_object_object_add(to, *names, json_object_get(value));
    }
}

/* A QueryRequest as Job.configuration. */
static struct json_object *configuration_of_request(struct json_object *request)
{
    static const char *const query_members[] = {"query",
                                                "defaultDataset",
                                                "parameterMode",
                                                "queryParameters",
                                                "maximumBytesBilled",
                                                "useLegacySql",
                                                "useQueryCache",
                                                "createSession",
                                                "connectionProperties",
                                                "destinationEncryptionConfiguration",
                                                NULL};
    static const char *const job_members[] = {"labels", "dryRun", "jobTimeoutMs", "reservation", NULL};
    struct json_object *configuration = json_object_new_object(), *query = json_object_new_object();
    move_members(request, query, query_members);
    move_members(request, configuration, job_members);
    json_object_object_add(configuration, "query", query);
    return configuration;
}

static bool query_dry_run(struct rest_request *r, const struct query_job_spec *spec, struct buf *out, struct error *err)
{
    struct json_object *job = NULL;
    if (!query_jobs_dry_run(r->rest->jobs, spec, &job, err))
        return false;
    struct json_object *answer = json_object_new_object();
    json_put_text(answer, "kind", "bigquery#queryResponse");
    json_object_object_add(answer, "jobReference", json_object_get(json_at(job, "jobReference")));
    json_object_object_add(answer, "jobComplete", json_object_new_boolean(1));
    struct json_object *schema = json_at(job, "statistics.query.schema");
    if (schema)
        json_object_object_add(answer, "schema", json_object_get(schema));
    job_copy_query_statistics(job, answer);
    rest_put_json(out, answer);
    json_object_put(job);
    return true;
}

static bool run_query(struct rest_request *r, const struct query_job_spec *spec, struct buf *out, struct error *err)
{
    struct page page = {.start = 0, .max_rows = json_int_at(r->body, "maxResults", -1)};
    struct query_job *job = NULL;
    if (!rest_timestamp_format(r, &page.format, err) || !query_jobs_insert(r->rest->jobs, spec, &job, err))
        return false;
    bool done = query_job_wait(job, bounded_timeout(json_int_at(r->body, "timeoutMs", DEFAULT_TIMEOUT_MS)));
    bool ok = answer_results(r, job, done, "bigquery#queryResponse", &page, out, err);
    query_job_unref(job);
    return ok;
}

static bool query(struct rest_request *r, struct buf *out, struct error *err)
{
    struct json_object *configuration = configuration_of_request(r->body);
    struct query_job_spec spec = {
        .project = r->params[REST_PROJECT],
        .request_id = json_text_at(r->body, "requestId", NULL),
        .configuration = configuration,
    };
    bool ok =
        rest_check_location(r, json_text_at(r->body, "location", NULL), err) && check_configuration(configuration, err);
    if (ok && spec.request_id && strlen(spec.request_id) > MAX_REQUEST_ID)
        ok = rest_fail(err, "invalid", "requestId is longer than %d characters", MAX_REQUEST_ID);
    if (ok)
        ok = json_bool_at(r->body, "dryRun", false) ? query_dry_run(r, &spec, out, err) : run_query(r, &spec, out, err);
    json_object_put(configuration);
    return ok;
}

const struct rest_route rest_job_routes[] = {
    {"POST", "projects/{}/queries", query, true, "bigquery.jobs.query", true},
    {"GET", "projects/{}/queries/{}", get_query_results, false, "bigquery.getQueryResults", false},
    {"POST", "projects/{}/jobs", jobs_insert, true, "bigquery.jobs.insert", true},
    {"GET", "projects/{}/jobs", jobs_list, false, "bigquery.jobs.list", false},
    {"GET", "projects/{}/jobs/{}", jobs_get, false, "bigquery.jobs.get", false},
    {"POST", "projects/{}/jobs/{}/cancel", jobs_cancel, false, "bigquery.jobs.cancel", true},
    {"DELETE", "projects/{}/jobs/{}/delete", jobs_delete, false, "bigquery.jobs.delete", true},
    {NULL, NULL, NULL, false, NULL, false},
};
