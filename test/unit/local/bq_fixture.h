/* bq_fixture.h - a local BigQuery in the test's process, an HTTP client to it, and small encoders. */
#ifndef ST_TEST_BQ_FIXTURE_H
#define ST_TEST_BQ_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "../../../src/local/bq_server.h"
#include "base/json.h"
#include "net/http.h"
#include "rpc_fixture.h"

struct bq_fixture {
    struct faults *faults;
    struct bq_server *server;
    struct http_client *http;
    struct google_credentials *none;
    struct grpc_link *link;
    int status; /* of the last call */
};

static inline void bq_fixture_open(struct bq_fixture *f)
{
    struct error err = ERROR_INIT;
    f->faults = faults_new();
    struct bq_server_options options = {.folder = "data", .faults = f->faults};
    f->server = bq_server_start(&options, &err);
    if (!f->server)
        fail_msg("could not start: %s", err.message);
    f->link = link_to(bq_server_grpc_port(f->server), &f->none);
}

static inline void bq_fixture_close(struct bq_fixture *f)
{
    grpc_link_free(f->link);
    google_credentials_free(f->none);
    faults_stop(f->faults);
    bq_server_stop(f->server);
    faults_free(f->faults);
}

/* path: behind ".../bigquery/v2/". The answer's JSON, owned by the caller; NULL for an empty body. */
static inline struct json_object *bq_call(struct bq_fixture *f, const char *method, const char *path, const char *body)
{
    struct http_response response = HTTP_RESPONSE_INIT;
    struct error err = ERROR_INIT;
    char *url = xasprintf("http://127.0.0.1:%u/bigquery/v2/%s", bq_server_rest_port(f->server), path);
    struct http_request request = {.method = method, .url = url, .body = body ? slice_str(body) : SLICE_NULL};
    request.headers[request.header_count++] = (struct http_header){"Content-Type", SLICE_LIT("application/json")};
    if (!http_perform(f->http, &request, &response, &err))
        fail_msg("%s %s: %s", method, path, err.message);
    f->status = response.status;
    struct json_object *answer =
        response.body.len > 0 ? json_parse(buf_slice(&response.body), "the answer", &err) : NULL;
    http_response_release(&response);
    free(url);
    return answer;
}

/* Runs a statement by jobs.query; fails the test when it fails. */
static inline struct json_object *bq_sql(struct bq_fixture *f, const char *sql)
{
    struct buf body = BUF_INIT;
    buf_append_str(&body, "{\"useLegacySql\":false,\"timeoutMs\":60000,\"query\":");
    buf_append_json_string(&body, slice_str(sql));
    buf_append_char(&body, '}');
    struct json_object *answer = bq_call(f, "POST", "projects/p/queries", buf_cstr(&body));
    buf_release(&body);
    if (f->status != 200)
        fail_msg("%s: %s", sql, json_object_to_json_string(answer));
    return answer;
}

static inline void bq_hazards(struct bq_fixture *f, const char *switches)
{
    struct error err = ERROR_INIT;
    struct json_object *json = json_parse(slice_str(switches), "switches", &err);
    if (!json || !faults_set_hazards(f->faults, json, &err))
        fail_msg("%s: %s", switches, err.message);
    json_object_put(json);
}

/* The rows of a statement as compact JSON text, e.g. [{"f":[{"v":"1"}]}]; owned by the caller. */
static inline char *bq_rows(struct bq_fixture *f, const char *sql)
{
    struct json_object *answer = bq_sql(f, sql);
    struct json_object *rows = json_at(answer, "rows");
    char *text = xstrdup(rows ? json_object_to_json_string_ext(rows, JSON_C_TO_STRING_PLAIN) : "none");
    json_object_put(answer);
    return text;
}

/* The single value of a statement. */
static inline char *bq_value(struct bq_fixture *f, const char *sql)
{
    struct json_object *answer = bq_sql(f, sql);
    struct json_object *rows = json_at(answer, "rows");
    const char *text = NULL;
    if (rows && json_object_array_length(rows) == 1) {
        struct json_object *cells = json_at(json_object_array_get_idx(rows, 0), "f");
        text = json_text_at(json_object_array_get_idx(cells, 0), "v", "NULL");
    }
    char *copy = xstrdup(text ? text : "not one row");
    json_object_put(answer);
    return copy;
}

static inline void bq_run(struct bq_fixture *f, const char *sql)
{
    json_object_put(bq_sql(f, sql));
}

#define assert_bq_value(f, sql, expected)                                                                              \
    do {                                                                                                               \
        char *value_ = bq_value((f), (sql));                                                                           \
        assert_string_equal(value_, (expected));                                                                       \
        free(value_);                                                                                                  \
    } while (0)

/* ---- Protobuf by hand: what a writer makes ----------------------------------------------------------------------- */

static inline void pb_varint(struct buf *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        buf_append_char(out, (char)(value | 0x80));
    buf_append_char(out, (char)value);
}

static inline void pb_int(struct buf *out, uint32_t number, int64_t value)
{
    pb_varint(out, (uint64_t)number << 3);
    pb_varint(out, (uint64_t)value);
}

static inline void pb_bytes(struct buf *out, uint32_t number, struct slice value)
{
    pb_varint(out, (uint64_t)number << 3 | 2);
    pb_varint(out, value.len);
    buf_append_slice(out, value);
}

static inline void pb_text(struct buf *out, uint32_t number, const char *value)
{
    pb_bytes(out, number, slice_str(value));
}

/* Appends FieldDescriptorProto `name` to a DescriptorProto. label 1 optional, 3 repeated; type_name may be NULL. */
static inline void pb_field(struct buf *descriptor, const char *name, int number, int label, int type,
                            const char *type_name)
{
    struct buf field = BUF_INIT;
    pb_text(&field, 1, name);
    pb_int(&field, 3, number);
    pb_int(&field, 4, label);
    pb_int(&field, 5, type);
    if (type_name)
        pb_text(&field, 6, type_name);
    pb_bytes(descriptor, 2, buf_slice(&field));
    buf_release(&field);
}

#endif
