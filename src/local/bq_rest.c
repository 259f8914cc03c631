/* bq_rest.c - the way of a REST request: route, body, handler, answer or error body.
 *
 * Handlers run on http_server.h's threads and may block (jobs.query waits for its job). Paths are matched segment by
 * segment before they are decoded, so that an id may hold an escaped slash. Authorization and Accept-Encoding headers
 * are accepted and not looked at; prettyPrint, alt, fields and quotaUser as well. */
#include <stdio.h>
#include <stdlib.h>

#include "bq_rest_internal.h"
#include "faults_admin.h"

enum { HANDLER_THREADS = 64, STOP_GRACE_MS = 2000 };

/* ---- Errors ----------------------------------------------------------------------------------------------------- */

bool rest_fail(struct error *err, const char *reason, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    error_setv(err, ERROR_PERMANENT, reason, fmt, args);
    va_end(args);
    if (err)
        err->status = reason_http_status(reason);
    return false;
}

static const char *status_name(int status)
{
    static const struct {
        int status;
        const char *name;
    } names[] = {
        {400, "INVALID_ARGUMENT"}, {401, "UNAUTHENTICATED"},     {403, "PERMISSION_DENIED"}, {404, "NOT_FOUND"},
        {409, "ALREADY_EXISTS"},   {412, "FAILED_PRECONDITION"}, {499, "CANCELLED"},         {500, "INTERNAL"},
        {501, "UNIMPLEMENTED"},    {503, "UNAVAILABLE"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].status == status)
            return names[i].name;
    return "UNKNOWN";
}

/* Fills *out; returns the HTTP status. */
static int put_error(const struct error *err, struct buf *out)
{
    int status = err->status >= 400 && err->status < 600 ? err->status : reason_http_status(err->code);
    struct json_object *body = json_object_new_object(), *error = json_object_new_object();
    struct json_object *errors = json_object_new_array(), *item = error_proto(err);
    json_put_text(item, "domain", "global");
    if (json_at(item, "location"))
        json_put_text(item, "locationType", "parameter");
    json_object_array_add(errors, item);
    json_object_object_add(error, "code", json_object_new_int(status));
    json_put_text(error, "message", err->message);
    json_object_object_add(error, "errors", errors);
    json_put_text(error, "status", status_name(status));
    json_object_object_add(body, "error", error);
    buf_clear(out);
    rest_put_json(out, body);
    return status;
}

/* ---- What routes share ------------------------------------------------------------------------------------------ */

void rest_put_json(struct buf *out, struct json_object *obj)
{
    size_t len;
    const char *text = json_object_to_json_string_length(obj, JSON_C_TO_STRING_NOSLASHESCAPE, &len);
    buf_append(out, text, len);
    json_object_put(obj);
}

void rest_put_with_rows(struct buf *out, struct json_object *head, const struct buf *rows)
{
    rest_put_json(out, head);
    if (rows->len == 0)
        return;
    BUG_ON(out->len < 3); /* head is never an empty object */
    out->len--;
    buf_append_str(out, ",\"rows\":[");
    buf_append_slice(out, buf_slice(rows));
    buf_append_str(out, "]}");
}

bool rest_query_bool(const struct rest_request *r, const char *name)
{
    const char *value = http_exchange_query(r->x, name);
    return value && slice_eq_nocase(slice_str(value), SLICE_LIT("true"));
}

bool rest_query_int(const struct rest_request *r, const char *name, int64_t fallback, int64_t *ret, struct error *err)
{
    const char *value = http_exchange_query(r->x, name);
    int64_t number = fallback;
    if (value && (!slice_to_int64(slice_str(value), &number) || number < 0))
        return rest_fail(err, "invalid", "Invalid value at '%s': \"%.100s\"", name, value);
    *ret = number;
    return true;
}

bool rest_query_start(const struct rest_request *r, int64_t *ret, struct error *err)
{
    const char *token = http_exchange_query(r->x, "pageToken");
    if (!token || !token[0])
        return rest_query_int(r, "startIndex", 0, ret, err);
    if (token[0] != 'R' || !slice_to_int64(slice_str(token + 1), ret) || *ret < 0)
        return rest_fail(err, "invalid", "Invalid page token: \"%.100s\"", token);
    return true;
}

void rest_put_page_token(struct json_object *obj, const char *name, int64_t start)
{
    char token[32];
    snprintf(token, sizeof token, "R%lld", (long long)start);
    json_put_text(obj, name, token);
}

/* From the body (jobs.query) or from dotted names in the query string. */
bool rest_timestamp_format(const struct rest_request *r, enum engine_timestamp_format *ret, struct error *err)
{
    static const struct {
        const char *name;
        enum engine_timestamp_format format;
    } formats[] = {
        {"FLOAT64", ENGINE_TIMESTAMP_FLOAT64},
        {"INT64", ENGINE_TIMESTAMP_INT64},
        {"ISO8601_STRING", ENGINE_TIMESTAMP_ISO8601},
        {"TIMESTAMP_OUTPUT_FORMAT_UNSPECIFIED", ENGINE_TIMESTAMP_FLOAT64},
    };
    bool int64 = rest_query_bool(r, "formatOptions.useInt64Timestamp") ||
                 json_bool_at(r->body, "formatOptions.useInt64Timestamp", false);
    const char *name = http_exchange_query(r->x, "formatOptions.timestampOutputFormat");
    if (!name)
        name = json_text_at(r->body, "formatOptions.timestampOutputFormat", NULL);
    *ret = int64 ? ENGINE_TIMESTAMP_INT64 : ENGINE_TIMESTAMP_FLOAT64;
    if (!name)
        return true;
    if (int64)
        return rest_fail(err, "invalid", "useInt64Timestamp and timestampOutputFormat cannot both be set");
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (strcmp(formats[i].name, name) == 0) {
            *ret = formats[i].format;
            return true;
        }
    }
    return rest_fail(err, "invalid", "Invalid value at 'formatOptions.timestampOutputFormat': \"%.100s\"", name);
}

bool rest_check_location(const struct rest_request *r, const char *location, struct error *err)
{
    const char *ours = engine_location(r->rest->engine);
    if (!location || !location[0] || slice_eq_nocase(slice_str(location), slice_str(ours)))
        return true;
    return rest_fail(err, "notFound", "Not found: nothing of project %s is in location %.50s; it is in %s",
                     r->params[REST_PROJECT], location, ours);
}

void rest_put_self_link(const struct rest_request *r, struct json_object *resource, const char *fmt, ...)
{
    const char *host = http_exchange_header(r->x, "Host");
    struct buf link = BUF_INIT;
    va_list args;
    buf_printf(&link, "http://%s/bigquery/v2/", host ? host : "localhost");
    va_start(args, fmt);
    buf_vprintf(&link, fmt, args);
    va_end(args);
    json_put_text(resource, "selfLink", buf_cstr(&link));
    buf_release(&link);
}

/* ---- Routing ---------------------------------------------------------------------------------------------------- */

static void release_params(struct rest_request *r)
{
    for (size_t i = 0; i < REST_PARAMS; i++) {
        free(r->params[i]);
        r->params[i] = NULL;
    }
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* The escapes were checked by the HTTP server. */
static char *decode_segment(struct slice s)
{
    struct buf out = BUF_INIT;
    for (size_t i = 0; i < s.len; i++) {
        bool escape = s.ptr[i] == '%' && i + 2 < s.len && hex_digit(s.ptr[i + 1]) >= 0;
        if (escape) {
            buf_append_char(&out, (char)(hex_digit(s.ptr[i + 1]) << 4 | hex_digit(s.ptr[i + 2])));
            i += 2;
        } else {
            buf_append_char(&out, s.ptr[i]);
        }
    }
    return buf_detach(&out);
}

static bool match(struct rest_request *r, const char *pattern, struct slice path)
{
    struct slice want = slice_str(pattern);
    size_t params = 0;
    while (want.len > 0 && path.len > 0) {
        struct slice expected = slice_cut(&want, '/'), segment = slice_cut(&path, '/');
        if (slice_eq_str(expected, "{}") && segment.len > 0 && params < REST_PARAMS)
            r->params[params++] = decode_segment(segment);
        else if (!slice_eq(expected, segment))
            break;
        if (want.len == 0 && path.len == 0)
            return true;
    }
    release_params(r);
    return false;
}

static const struct rest_route *find_route(struct rest_request *r)
{
    static const struct rest_route *const tables[] = {rest_job_routes, rest_catalog_routes, rest_data_routes};
    const char *method = http_exchange_method(r->x);
    struct slice path = slice_str(http_exchange_raw_path(r->x));
    while (path.len > 0 && path.ptr[0] == '/')
        path = slice_of(path.ptr + 1, path.len - 1);
    if (slice_starts_with(path, SLICE_LIT("bigquery/v2/")))
        path = slice_of(path.ptr + strlen("bigquery/v2/"), path.len - strlen("bigquery/v2/"));
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++)
        for (const struct rest_route *route = tables[t]; route->method; route++)
            if (strcmp(route->method, method) == 0 && match(r, route->pattern, path))
                return route;
    return NULL;
}

static bool read_body(struct rest_request *r, const struct rest_route *route, struct error *err)
{
    struct slice text = http_exchange_body(r->x);
    const char *encoding = http_exchange_header(r->x, "Content-Encoding");
    if (text.len > 0 && encoding && strcmp(encoding, "identity") != 0)
        return rest_fail(err, "badRequest", "Content-Encoding \"%.50s\" is not supported by the local server",
                         encoding);
    if (!route->needs_body)
        return true;
    struct error bad = ERROR_INIT;
    r->body = json_parse(text, "the request body", &bad);
    if (r->body && json_object_is_type(r->body, json_type_object))
        return true;
    return rest_fail(err, "parseError", "Parse Error: %s", r->body ? "the request body is not an object" : bad.message);
}

/* ---- The way of a request ---------------------------------------------------------------------------------------- */

static const char JSON_TYPE[] = "application/json; charset=UTF-8";

/* What the service says with a status when nothing else is asked for. */
static const struct {
    int status;
    const char *reason, *message;
} usual[] = {
    {400, "invalid", "Invalid value"},
    {401, "authError", "Invalid Credentials"},
    {403, "rateLimitExceeded", "Exceeded rate limits: too many requests for this project"},
    {404, "notFound", "Not found"},
    {409, "duplicate", "Already Exists"},
    {412, "conditionNotMet", "Precondition Failed"},
    {429, "rateLimitExceeded", "Exceeded rate limits: too many requests for this project"},
    {500, "internalError", "An internal error occurred and the request could not be completed. Error: 2908961"},
    {502, "backendError", "Error encountered during execution. Retrying may solve the problem."},
    {503, "backendError", "The service is currently unavailable."},
    {504, "backendError", "Deadline exceeded"},
};

static void reply_fault(void *user, const struct fault *fault)
{
    struct rest_request *r = user;
    struct buf out = BUF_INIT;
    struct error err = ERROR_INIT;
    size_t i = 0;
    while (i + 1 < sizeof usual / sizeof usual[0] && usual[i].status != fault->http_status)
        i++;
    rest_fail(&err, fault->reason[0] ? fault->reason : usual[i].reason, "%s",
              fault->message[0] ? fault->message : usual[i].message);
    err.status = fault->http_status;
    const char *type = faults_http_body(fault, fault->http_status, &out);
    if (!type) {
        type = JSON_TYPE;
        put_error(&err, &out);
    }
    faults_http_headers(fault, r->x);
    http_exchange_reply_buf(r->x, fault->http_status, type, &out);
    buf_release(&out);
}

static bool serve(struct rest_request *r, const struct rest_route *route, struct buf *out, struct error *err)
{
    if (!route)
        return rest_fail(err, "notFound", "Not Found: %s %.200s", http_exchange_method(r->x),
                         http_exchange_raw_path(r->x));
    bool ok = read_body(r, route, err) && route->fn(r, out, err);
    if (r->ticket.fault.kind == FAULT_DUPLICATE && r->body && route->effect) { /* it arrives a second time */
        struct buf ignored = BUF_INIT;
        struct error ignored_error = ERROR_INIT;
        int status = r->status;
        (void)route->fn(r, &ignored, &ignored_error);
        r->status = status;
        buf_release(&ignored);
    }
    return ok;
}

static void answer(struct rest_request *r, const struct rest_route *route)
{
    struct error err = ERROR_INIT;
    struct buf out = BUF_INIT;
    if (!serve(r, route, &out, &err))
        r->status = put_error(&err, &out);
    else if (r->status == 204)
        buf_clear(&out);
    faults_http_reply(r->rest->faults, &r->ticket, r->x, r->status, r->status == 204 ? NULL : JSON_TYPE, &out,
                      reply_fault, r);
}

static void handle(void *user, struct http_exchange *x)
{
    struct rest_request r = {.rest = user, .x = x, .status = 200};
    if (faults_admin_serve(r.rest->faults, x))
        return;
    const struct rest_route *route = find_route(&r);
    const struct fault_event event = {.method = route ? route->name : "bigquery.unknown",
                                      .target = slice_str(http_exchange_raw_path(x)),
                                      .body = http_exchange_body(x),
                                      .effect = route && route->effect};
    if (event.method)
        faults_request(r.rest->faults, &event, &r.ticket);
    const struct fault *fault = &r.ticket.fault;
    if (!faults_http_before(r.rest->faults, &r.ticket, x)) {
        if (fault->kind == FAULT_STATUS && !fault->after)
            reply_fault(&r, fault);
        else
            answer(&r, route);
    }
    json_object_put(r.body);
    release_params(&r);
}

/* ---- Life ------------------------------------------------------------------------------------------------------- */

struct bq_rest *bq_rest_start(const struct bq_rest_options *options, struct error *err)
{
    struct bq_rest *rest = xcalloc(1, sizeof *rest);
    rest->engine = options->engine;
    rest->jobs = options->jobs;
    rest->faults = options->faults;
    rest->dml_duration_ms = options->dml_duration_ms;
    struct http_server_options http = {
        .bind_address = options->bind_address,
        .port = options->port,
        .handler_threads = HANDLER_THREADS,
        .max_body_bytes = REST_MAX_BODY_BYTES,
        .idle_timeout_s = 300,
        .handler = handle,
        .user = rest,
    };
    rest->server = http_server_start(&http, err);
    if (!rest->server) {
        free(rest);
        return NULL;
    }
    return rest;
}

void bq_rest_stop(struct bq_rest *rest)
{
    if (!rest)
        return;
    http_server_stop(rest->server, STOP_GRACE_MS);
    free(rest);
}

uint16_t bq_rest_port(const struct bq_rest *rest)
{
    return http_server_port(rest->server);
}
