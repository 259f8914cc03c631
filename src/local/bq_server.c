/* bq_server.c - puts the engine, the jobs, REST and Storage Write together, and takes them apart in reverse. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "bq_rest.h"
#include "bq_server.h"
#include "bq_write.h"

enum { GRPC_THREADS = 32 };                 /* some may be held or delayed by the fault bench */
enum { GRPC_MAX_RECEIVE_BYTES = 24 << 20 }; /* above the request limit, so that the service itself refuses */

struct bq_server {
    struct engine *engine;
    struct query_jobs *jobs;
    struct bq_rest *rest;
    struct bq_write *write;
    struct rpc_server *own_rpc; /* NULL: the caller's */
    uint16_t grpc_port;
};

static bool start_engine(struct bq_server *server, const struct bq_server_options *options, struct error *err)
{
    struct engine_options engine = {
        .folder = options->folder, .location = options->location, .dml_duration_ms = options->dml_duration_ms};
    if (mkdir(options->folder, 0700) != 0 && errno != EEXIST)
        return error_errno(err, errno, "cannot make the folder \"%s\"", options->folder);
    server->engine = engine_open(&engine, err);
    if (!server->engine)
        return false;
    server->jobs = query_jobs_new(server->engine, options->faults);
    return true;
}

static bool start_rest(struct bq_server *server, const struct bq_server_options *options, struct error *err)
{
    struct bq_rest_options rest = {.engine = server->engine,
                                   .jobs = server->jobs,
                                   .faults = options->faults,
                                   .bind_address = options->bind_address,
                                   .port = options->rest_port,
                                   .dml_duration_ms = options->dml_duration_ms};
    server->rest = bq_rest_start(&rest, err);
    return server->rest != NULL;
}

static bool start_write(struct bq_server *server, const struct bq_server_options *options, struct error *err)
{
    server->write = bq_write_new(server->engine, options->folder, options->faults, err);
    if (!server->write)
        return false;
    if (options->rpc) {
        bq_write_register(server->write, options->rpc);
        return true;
    }
    struct rpc_server_options rpc = {.max_receive_bytes = GRPC_MAX_RECEIVE_BYTES,
                                     .faults = options->faults,
                                     .fault_service = "write",
                                     .threads = GRPC_THREADS};
    server->own_rpc = rpc_server_new(&rpc);
    bq_write_register(server->write, server->own_rpc);
    if (!rpc_server_listen(server->own_rpc, options->bind_address, options->grpc_port, &server->grpc_port, err))
        return false;
    rpc_server_start(server->own_rpc);
    return true;
}

struct bq_server *bq_server_start(const struct bq_server_options *options, struct error *err)
{
    struct bq_server *server = xcalloc(1, sizeof *server);
    if (start_engine(server, options, err) && start_write(server, options, err) && start_rest(server, options, err))
        return server;
    bq_server_stop(server);
    return NULL;
}

void bq_server_stop(struct bq_server *server)
{
    if (!server)
        return;
    if (server->jobs)
        query_jobs_stop(server->jobs); /* requests that wait for a job end */
    bq_rest_stop(server->rest);
    rpc_server_free(server->own_rpc);
    bq_write_free(server->write);
    query_jobs_free(server->jobs);
    engine_close(server->engine);
    free(server);
}

uint16_t bq_server_rest_port(const struct bq_server *server)
{
    return bq_rest_port(server->rest);
}

uint16_t bq_server_grpc_port(const struct bq_server *server)
{
    return server->grpc_port;
}
