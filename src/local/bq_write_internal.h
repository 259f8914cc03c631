/* bq_write_internal.h - what the unary methods (bq_write.c) and AppendRows (bq_append.c) share. */
#ifndef ST_LOCAL_BQ_WRITE_INTERNAL_H
#define ST_LOCAL_BQ_WRITE_INTERNAL_H

#include <pthread.h>

#include "base/arena.h"
#include "bigquery_storage.pb-c.h"
#include "bq_proto_row.h"
#include "bq_stream.h"
#include "bq_write.h"

/* Names of generated code without their package. */
#define BQS(name) Google__Cloud__Bigquery__Storage__V1__##name
#define BQS_CODE(name) GOOGLE__CLOUD__BIGQUERY__STORAGE__V1__STORAGE_ERROR__STORAGE_ERROR_CODE__##name

enum { WRITE_THREADS = 8, WRITE_MAX_REQUEST_BYTES = 20 << 20 };

struct append_conn;

struct bq_write {
    struct engine *engine;
    struct faults *faults;
    struct write_streams *streams;
    pthread_mutex_t commit_mutex; /* one BatchCommit or FlushRows at a time */

    pthread_t threads[WRITE_THREADS];
    size_t thread_count;
    pthread_mutex_t mutex; /* all below */
    pthread_cond_t work;
    struct append_conn *ready_first, **ready_end; /* connections with requests */
    bool stopping;
    struct append_conn *open; /* all connections */
    pthread_cond_t watch;     /* stopping; base/clock.h */
    pthread_t watcher;
    bool watched;
};

/* A failure as this API tells it. */
struct write_error {
    int status; /* enum rpc_status; 0 = none */
    int code;   /* StorageErrorCode; 0 = none */
    bool fatal; /* ends an AppendRows connection */
    char entity[WRITE_STREAM_NAME_SIZE];
    char message[1024];
};

bool write_fail(struct write_error *ret, int status, int code, const char *entity, const char *fmt, ...)
    PRINTF_LIKE(5, 6);
/* The engine's error (notFound, ...) about a table. Fatal. */
bool write_fail_engine(struct write_error *ret, const char *entity, const struct error *err);
void write_finish(struct rpc_call *call, const struct write_error *failure);
/* Packed StorageError; empty when failure->code is 0. */
void write_pack_storage_error(const struct write_error *failure, struct buf *ret);

/* The table as this API knows it: not yet, when the bench says that young tables are unknown. NULL: *ret. */
struct engine_schema *write_open_table(struct bq_write *write, const struct table_name *table, const char *entity,
                                       struct write_error *ret);
/* A TableSchema in the arena. */
BQS(TableSchema) * write_table_schema(struct arena *arena, const struct engine_schema *schema);

/* "…/tables/T/streams/_default" or "…/tables/T/_default". */
bool write_is_default_stream(struct slice name, struct table_name *ret);
/* Column flags from names that each end in '\n'; free() it. */
bool *write_default_flags(const struct engine_schema *schema, struct slice names);

/* AppendRows (bq_append.c) */
extern const struct rpc_stream_handlers append_handlers;
void append_serve(struct append_conn *conn); /* on a thread of the pool */
struct append_conn **append_ready_next(struct append_conn *conn);
/* Ends connections without traffic for so long. The mutex of `write` is held. */
void append_close_idle(struct bq_write *write, int64_t idle_ms);
void append_unref(struct append_conn *conn);

#endif
