/* bq_write.h - google.cloud.bigquery.storage.v1.BigQueryWrite of the local BigQuery, on grpc_server.h. */
#ifndef ST_LOCAL_BQ_WRITE_H
#define ST_LOCAL_BQ_WRITE_H

#include "bq_engine.h"
#include "faults.h"
#include "grpc_server.h"

struct bq_write;

/* folder: the data folder; streams are kept below it. */
struct bq_write *bq_write_new(struct engine *engine, const char *folder, struct faults *faults,
                              struct error *err) MUST_CHECK;               /* faults: borrowed; NULL = none */
void bq_write_register(struct bq_write *write, struct rpc_server *server); /* before it starts */
void bq_write_free(struct bq_write *write);                                /* after the rpc_server has stopped */

#endif
