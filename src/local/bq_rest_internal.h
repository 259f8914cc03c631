/* bq_rest_internal.h - what the routes of the REST server share. */
#ifndef ST_LOCAL_BQ_REST_INTERNAL_H
#define ST_LOCAL_BQ_REST_INTERNAL_H

#include <stdatomic.h>

#include "bq_job_resource.h"
#include "bq_rest.h"
#include "faults_http.h"
#include "net/http_server.h"

enum {
    REST_MAX_BODY_BYTES = 20 << 20, /* insertAll and queries: 10 MB in the service */
    REST_MAX_PAGE_ROWS = 100000,
    REST_MAX_PAGE_BYTES = 10 << 20,
    REST_DEFAULT_LIST = 50,
};

struct bq_rest {
    struct engine *engine;
    struct query_jobs *jobs;
    struct http_server *server;
    _Atomic int64_t dml_duration_ms;
    struct faults *faults; /* borrowed; NULL = none */
};

enum { REST_PROJECT, REST_DATASET, REST_TABLE, REST_PARAMS = 3, REST_JOB = REST_DATASET };

struct rest_request {
    struct bq_rest *rest;
    struct http_exchange *x;
    char *params[REST_PARAMS]; /* the {} of the route's pattern, in order; decoded */
    struct json_object *body;  /* NULL: none was sent */
    struct fault_ticket ticket;
    int status; /* of a success; 200 unless the route says otherwise; 204 sends no body */
};

/* Appends the JSON of the answer to *out; false with err: error body. */
typedef bool rest_route_fn(struct rest_request *r, struct buf *out, struct error *err);

struct rest_route {
    const char *method;
    const char *pattern; /* "projects/{}/datasets/{}" behind the base */
    rest_route_fn *fn;
    bool needs_body;
    const char *name; /* for the fault bench: "bigquery.jobs.insert"; NULL = not its business */
    bool effect;      /* it changes something */
};

extern const struct rest_route rest_catalog_routes[], rest_data_routes[], rest_job_routes[]; /* end: method NULL */

/* False with a REST error. */
bool rest_fail(struct error *err, const char *reason, const char *fmt, ...) PRINTF_LIKE(3, 4);
void rest_put_json(struct buf *out, struct json_object *obj); /* takes obj over */
bool rest_query_bool(const struct rest_request *r, const char *name);
/* Non-negative integer from the query; fallback when absent; false with err when it is not a number. */
bool rest_query_int(const struct rest_request *r, const char *name, int64_t fallback, int64_t *ret, struct error *err);
/* pageToken, else startIndex, else 0. Tokens are "R" and a row number. */
bool rest_query_start(const struct rest_request *r, int64_t *ret, struct error *err);
void rest_put_page_token(struct json_object *obj, const char *name, int64_t start);
bool rest_timestamp_format(const struct rest_request *r, enum engine_timestamp_format *ret, struct error *err);
/* A location that was asked for must be the server's. */
bool rest_check_location(const struct rest_request *r, const char *location, struct error *err);
void rest_put_self_link(const struct rest_request *r, struct json_object *resource, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* Appends `head`'s members, then "rows" when there are any, as one object. Takes head over. */
void rest_put_with_rows(struct buf *out, struct json_object *head, const struct buf *rows);

#endif
