/* grpc_server.c - accepts calls and moves completions; see grpc_server.h.
 *
 * One thread polls the completion queue. It never runs a handler: it changes the state of the call and queues an event
 * for the pool. Several accept slots are outstanding, so that a burst of calls does not wait for the queue's turn.
 *
 * Shutdown order, as the C core wants it: shutdown_and_notify, cancel all calls, wait until every call has ended and
 * its core object is freed, shut down the completion queue, drain it, then destroy server and queue. */
#include "grpc_server.h"

#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <stdlib.h>

#include "base/buf.h"
#include "grpc_server_fault.h"

enum {
    RPC_MAX_METADATA_BYTES = 4 << 20,
    RPC_MIN_PING_INTERVAL_MS = 1000, /* clients of Pub/Sub ping as often as each 30 s */
};

static grpc_arg int_arg(const char *key, int value)
{
    grpc_arg arg = {.type = GRPC_ARG_INTEGER};
    memcpy(&arg.key, &key, sizeof key); /* the core's struct has no const; it never writes to keys */
    arg.value.integer = value;
    return arg;
}

struct rpc_server *rpc_server_new(const struct rpc_server_options *options)
{
    static const struct rpc_server_options defaults;
    const struct rpc_server_options *o = options ? options : &defaults;
    int max_receive = (int)(o->max_receive_bytes ? o->max_receive_bytes : RPC_DEFAULT_MAX_RECEIVE_BYTES);
    grpc_init();
    grpc_arg args[] = {
        int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, max_receive),
        int_arg(GRPC_ARG_MAX_METADATA_SIZE, RPC_MAX_METADATA_BYTES),
        int_arg(GRPC_ARG_ALLOW_REUSEPORT, 0), /* else a second server on the same port "succeeds" */
        int_arg(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        int_arg(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, RPC_MIN_PING_INTERVAL_MS),
        int_arg(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0), /* never GOAWAY for pings */
    };
    const grpc_channel_args all = {sizeof args / sizeof args[0], args};
    struct rpc_server *server = xcalloc(1, sizeof *server);
    server->core = grpc_server_create(&all, NULL);
    server->cq = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(server->core, server->cq, NULL);
    server->pool = rpc_pool_new(o->threads ? o->threads : RPC_DEFAULT_THREADS, rpc_call_run);
    server->shutdown_op.kind = RPC_OP_SHUTDOWN;
    server->faults = o->faults;
    server->fault_service = o->fault_service;
    faults_watch_streams(server->faults, rpc_fault_streams, server);
    pthread_mutex_init(&server->mutex, NULL);
    pthread_cond_init(&server->changed, NULL);
    return server;
}

void rpc_server_add(struct rpc_server *server, const struct rpc_method *methods, size_t count, void *service)
{
    BUG_ON(server->running || server->service_count == RPC_MAX_SERVICES);
    for (size_t i = 0; i < count; i++)
        BUG_ON(!methods[i].path || !methods[i].unary == !methods[i].stream);
    server->services[server->service_count++] = (struct rpc_service){methods, count, service};
}

bool rpc_server_listen(struct rpc_server *server, const char *address, uint16_t port, uint16_t *ret_port,
                       struct error *err)
{
    char *target = xasprintf("%s:%u", address ? address : "127.0.0.1", (unsigned)port);
    grpc_server_credentials *plain = grpc_insecure_server_credentials_create();
    int bound = grpc_server_add_http2_port(server->core, target, plain);
    grpc_server_credentials_release(plain);
    if (bound <= 0)
        error_set(err, ERROR_PERMANENT, "listen",
                  "could not listen on \"%s\": the port is in use or not ours; give another one, or 0 for a free one",
                  target);
    else if (ret_port)
        *ret_port = (uint16_t)bound;
    free(target);
    return bound > 0;
}

static const struct rpc_method *find_method(const struct rpc_server *server, const char *path, void **ret_service)
{
    for (size_t s = 0; s < server->service_count; s++) {
        const struct rpc_service *service = &server->services[s];
        for (size_t m = 0; m < service->count; m++) {
            if (strcmp(service->methods[m].path, path) == 0) {
                *ret_service = service->service;
                return &service->methods[m];
            }
        }
    }
    return NULL;
}

/* One more slot for a call to come; not while stopping, because the queue may be shut down any moment then. */
static void accept_one(struct rpc_server *server)
{
    pthread_mutex_lock(&server->mutex);
    if (!server->stopping) {
        struct rpc_call *call = rpc_call_new(server);
        grpc_call_error rc = grpc_server_request_call(server->core, &call->core, &call->details, &call->headers,
                                                      server->cq, server->cq, &call->new_op);
        BUG_ON(rc != GRPC_CALL_OK);
    }
    pthread_mutex_unlock(&server->mutex);
}

static void enlist(struct rpc_server *server, struct rpc_call *call)
{
    pthread_mutex_lock(&server->mutex);
    server->live++;
    call->server_next = server->calls;
    if (server->calls)
        server->calls->server_prev = call;
    server->calls = call;
    pthread_mutex_unlock(&server->mutex);
}

static void new_call(struct rpc_server *server, struct rpc_call *call, bool ok)
{
    if (!ok) { /* shutting down */
        rpc_call_unref(call);
        return;
    }
    void *service = NULL;
    char *path = grpc_slice_to_c_string(call->details.method);
    call->path = xstrdup(path);
    gpr_free(path);
    if (server->faults)
        rpc_fault_name(call);
    enlist(server, call);
    accept_one(server);
    const struct rpc_method *method = find_method(server, call->path, &service);
    rpc_call_accepted(call, method, service);
}

void rpc_server_ended(struct rpc_server *server, struct rpc_call *call)
{
    pthread_mutex_lock(&server->mutex);
    *(call->server_prev ? &call->server_prev->server_next : &server->calls) = call->server_next;
    if (call->server_next)
        call->server_next->server_prev = call->server_prev;
    server->live--;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->mutex);
}

static void *poll_thread(void *arg)
{
    struct rpc_server *server = arg;
    for (;;) {
        grpc_event event = grpc_completion_queue_next(server->cq, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        struct rpc_op *op = event.tag;
        if (op->kind == RPC_OP_NEW_CALL) {
            new_call(server, op->call, event.success != 0);
        } else if (op->kind == RPC_OP_SHUTDOWN) {
            pthread_mutex_lock(&server->mutex);
            server->shut_down = true;
            pthread_cond_broadcast(&server->changed);
            pthread_mutex_unlock(&server->mutex);
        } else {
            rpc_call_completed(op->call, op->kind, event.success != 0);
        }
    }
}

void rpc_server_start(struct rpc_server *server)
{
    grpc_server_start(server->core);
    for (int i = 0; i < RPC_ACCEPT_SLOTS; i++)
        accept_one(server);
    BUG_ON(pthread_create(&server->thread, NULL, poll_thread, server) != 0);
    server->running = true;
}

void rpc_server_stop(struct rpc_server *server)
{
    if (!server->running)
        return;
    pthread_mutex_lock(&server->mutex);
    server->stopping = true;
    pthread_mutex_unlock(&server->mutex);
    grpc_server_shutdown_and_notify(server->core, server->cq, &server->shutdown_op);
    grpc_server_cancel_all_calls(server->core);
    pthread_mutex_lock(&server->mutex);
    while (server->live > 0 || !server->shut_down)
        pthread_cond_wait(&server->changed, &server->mutex);
    pthread_mutex_unlock(&server->mutex);
    grpc_completion_queue_shutdown(server->cq);
    pthread_join(server->thread, NULL);
    server->running = false;
}

/* A server that never ran still has to be shut down before the core lets it be destroyed. */
static void shut_down_unstarted(struct rpc_server *server)
{
    grpc_server_shutdown_and_notify(server->core, server->cq, &server->shutdown_op);
    grpc_completion_queue_shutdown(server->cq);
    while (grpc_completion_queue_next(server->cq, gpr_inf_future(GPR_CLOCK_REALTIME), NULL).type != GRPC_QUEUE_SHUTDOWN)
        ;
}

void rpc_server_free(struct rpc_server *server)
{
    if (!server)
        return;
    faults_forget_streams(server->faults, server);
    if (server->running)
        rpc_server_stop(server);
    else if (!server->shut_down)
        shut_down_unstarted(server);
    rpc_pool_free(server->pool);
    grpc_server_destroy(server->core);
    grpc_completion_queue_destroy(server->cq);
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->mutex);
    free(server);
    grpc_shutdown();
}
