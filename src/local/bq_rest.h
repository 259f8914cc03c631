/* bq_rest.h - REST v2 of the local BigQuery, over net/http_server.h. */
#ifndef ST_LOCAL_BQ_REST_H
#define ST_LOCAL_BQ_REST_H

#include "bq_jobs.h"

struct bq_rest;
struct faults;

struct bq_rest_options {
    struct engine *engine; /* borrowed, both */
    struct query_jobs *jobs;
    const char *bind_address; /* NULL = "127.0.0.1" */
    uint16_t port;            /* 0 = a free one */
    struct faults *faults;    /* borrowed; NULL = none */
    int64_t dml_duration_ms;  /* what the engine was opened with, for GET /_local/bigquery */
};

struct bq_rest *bq_rest_start(const struct bq_rest_options *options, struct error *err) MUST_CHECK;
void bq_rest_stop(struct bq_rest *rest); /* NULL is fine; frees */
uint16_t bq_rest_port(const struct bq_rest *rest);

#endif
