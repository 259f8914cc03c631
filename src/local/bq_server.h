/* bq_server.h - the local BigQuery: REST v2 and the Storage Write API over one engine (bq_engine.h), on loopback.
 *
 *   REST   http://127.0.0.1:PORT/bigquery/v2/...  (also without "/bigquery/v2", as Google's Node client asks an emulator)
 *   gRPC   google.cloud.bigquery.storage.v1.BigQueryWrite, plaintext
 *   admin  POST /_local/bigquery {"dmlDurationMs":N}: how long each later DML statement lasts at least, on base/clock.h
 *          POST /_local/bigquery {"maxJobPartitions":N}: how many partitions one may modify; 4000 as in BigQuery
 *          GET  /_local/bigquery: settings and counters
 *
 * Tables, rows, jobs and what streams acknowledged survive kill -9; results of SELECT jobs do not. Any bearer token is
 * accepted. All functions are thread-safe but start and stop. */
#ifndef ST_LOCAL_BQ_SERVER_H
#define ST_LOCAL_BQ_SERVER_H

#include "base/error.h"

struct bq_server;
struct rpc_server;

struct bq_server_options {
    const char *folder;       /* data folder, made when missing */
    const char *location;     /* NULL = "US"; requests that name another one are refused */
    const char *bind_address; /* NULL = "127.0.0.1"; of both ports */
    uint16_t rest_port;       /* 0 = a free one */
    /* Where the Storage Write methods go: an rpc_server of the caller's, not yet started (which the caller stops
     * before bq_server_stop); NULL = a server of our own on grpc_port (0 = a free one). */
    struct rpc_server *rpc;
    uint16_t grpc_port;
    int64_t dml_duration_ms; /* initial; see above */
};

struct bq_server *bq_server_start(const struct bq_server_options *options, struct error *err) MUST_CHECK;
/* Running jobs are cancelled and recorded as such. NULL is fine. Frees. */
void bq_server_stop(struct bq_server *server);
uint16_t bq_server_rest_port(const struct bq_server *server);
uint16_t bq_server_grpc_port(const struct bq_server *server); /* 0 when options.rpc was given */

#endif
