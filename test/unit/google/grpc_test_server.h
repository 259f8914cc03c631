/* grpc_test_server.h - a small gRPC server over the C core, in the test's own process: a thread per call, blocking
 * handlers.
 *
 *   static void handle(void *user, struct test_call *call) { ... test_call_recv, test_call_send, test_call_finish ... }
 *   struct test_server *server = test_server_start(handle, user, NULL);
 *
 * A handler that returns without test_call_finish ends the call with OK. test_server_stop cancels what is under way and
 * waits for it. */
#ifndef ST_TEST_GRPC_TEST_SERVER_H
#define ST_TEST_GRPC_TEST_SERVER_H

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/time.h>
#include <protobuf-c/protobuf-c.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "google/grpc.h"

struct test_server;

struct test_call {
    struct test_server *server;
    struct test_call *next;
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array metadata;
    grpc_completion_queue *cq; /* this call's own, plucked */
    pthread_t thread;
    bool accepted; /* its thread runs or has run */
    bool head_sent;
    bool finished;
    bool closed;
    int cancelled;
    char tags[4];
};

enum { TEST_TAG_RECV, TEST_TAG_SEND, TEST_TAG_CLOSE };

typedef void test_handler_fn(void *user, struct test_call *call);

struct test_server {
    grpc_server *server;
    grpc_completion_queue *cq;
    pthread_t thread;
    int port;
    test_handler_fn *handler;
    void *user;
    struct test_call *calls; /* the accepting thread's; read after it was joined */
};

static inline bool test_call_run(struct test_call *call, int tag, const grpc_op *ops, size_t count)
{
    if (grpc_call_start_batch(call->call, ops, count, &call->tags[tag], NULL) != GRPC_CALL_OK)
        return false;
    return grpc_completion_queue_pluck(call->cq, &call->tags[tag], gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).success;
}

static inline bool test_call_is(const struct test_call *call, const char *method)
{
    return grpc_slice_str_cmp(call->details.method, method) == 0;
}

/* Copies the value of a header into *ret; false when absent. */
static inline bool test_call_header(const struct test_call *call, const char *name, struct buf *ret)
{
    buf_clear(ret);
    for (size_t i = 0; i < call->metadata.count; i++) {
        const grpc_metadata *md = &call->metadata.metadata[i];
        if (grpc_slice_str_cmp(md->key, name) != 0)
            continue;
        buf_append(ret, GRPC_SLICE_START_PTR(md->value), GRPC_SLICE_LENGTH(md->value));
        return true;
    }
    return false;
}

/* False at the half close or a cancellation. */
static inline bool test_call_recv(struct test_call *call, struct buf *ret)
{
    grpc_byte_buffer *bytes = NULL;
    grpc_byte_buffer_reader reader;
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &bytes;
    bool ok = test_call_run(call, TEST_TAG_RECV, &op, 1) && bytes;
    buf_clear(ret);
    if (ok) {
        grpc_byte_buffer_reader_init(&reader, bytes);
        grpc_slice all = grpc_byte_buffer_reader_readall(&reader);
        buf_append(ret, GRPC_SLICE_START_PTR(all), GRPC_SLICE_LENGTH(all));
        grpc_slice_unref(all);
        grpc_byte_buffer_reader_destroy(&reader);
    }
    if (bytes)
        grpc_byte_buffer_destroy(bytes);
    return ok;
}

/* Adds SEND_INITIAL_METADATA once: without it a status never leaves. */
static inline size_t test_call_head(struct test_call *call, grpc_op *ops)
{
    if (call->head_sent)
        return 0;
    call->head_sent = true;
    ops[0] = (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA};
    return 1;
}

static inline bool test_call_send(struct test_call *call, struct slice message)
{
    grpc_op ops[2];
    size_t count = test_call_head(call, ops);
    grpc_slice slice = grpc_slice_from_copied_buffer(message.ptr ? message.ptr : "", message.len);
    grpc_byte_buffer *bytes = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    ops[count] = (grpc_op){.op = GRPC_OP_SEND_MESSAGE};
    ops[count++].data.send_message.send_message = bytes;
    bool ok = test_call_run(call, TEST_TAG_SEND, ops, count);
    grpc_byte_buffer_destroy(bytes);
    return ok;
}

static inline bool test_call_send_message(struct test_call *call, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = xmalloc(size + 1);
    protobuf_c_message_pack(message, bytes);
    bool ok = test_call_send(call, slice_of(bytes, size));
    free(bytes);
    return ok;
}

static inline void test_call_finish(struct test_call *call, int status, const char *text, struct slice details)
{
    grpc_op ops[2];
    size_t count = test_call_head(call, ops);
    grpc_slice message = grpc_slice_from_copied_string(text ? text : "");
    grpc_metadata trailer = {.key = grpc_slice_from_static_string("grpc-status-details-bin"),
                             .value = grpc_slice_from_copied_buffer(details.ptr ? details.ptr : "", details.len)};
    ops[count] = (grpc_op){.op = GRPC_OP_SEND_STATUS_FROM_SERVER};
    ops[count].data.send_status_from_server.status = (grpc_status_code)status;
    ops[count].data.send_status_from_server.status_details = &message;
    ops[count].data.send_status_from_server.trailing_metadata_count = details.len > 0 ? 1 : 0;
    ops[count++].data.send_status_from_server.trailing_metadata = &trailer;
    call->finished = true;
    test_call_run(call, TEST_TAG_SEND, ops, count);
    grpc_slice_unref(message);
    grpc_slice_unref(trailer.value);
}

static inline void test_call_await_close(struct test_call *call)
{
    if (!call->closed)
        grpc_completion_queue_pluck(call->cq, &call->tags[TEST_TAG_CLOSE], gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    call->closed = true;
}

/* Blocks until the client (or the end of the server) has cancelled; for handlers that play dead. */
static inline void test_call_await_cancel(struct test_call *call)
{
    test_call_await_close(call);
}

static inline void *test_call_main(void *user)
{
    struct test_call *call = user;
    grpc_op close = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    close.data.recv_close_on_server.cancelled = &call->cancelled;
    if (grpc_call_start_batch(call->call, &close, 1, &call->tags[TEST_TAG_CLOSE], NULL) != GRPC_CALL_OK)
        abort();
    call->server->handler(call->server->user, call);
    if (!call->finished)
        test_call_finish(call, GRPC_STATUS_OK, "", SLICE_NULL);
    test_call_await_close(call);
    return NULL;
}

static inline void test_server_await_call(struct test_server *server)
{
    struct test_call *call = xcalloc(1, sizeof *call);
    call->server = server;
    call->next = server->calls;
    server->calls = call;
    grpc_call_details_init(&call->details);
    grpc_metadata_array_init(&call->metadata);
    call->cq = grpc_completion_queue_create_for_pluck(NULL);
    grpc_server_request_call(server->server, &call->call, &call->details, &call->metadata, call->cq, server->cq, call);
}

static inline void *test_server_main(void *user)
{
    struct test_server *server = user;
    for (;;) {
        grpc_event event = grpc_completion_queue_next(server->cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        struct test_call *call = event.tag;
        if (event.tag == server || !event.success)
            continue;
        test_server_await_call(server);
        call->accepted = true;
        pthread_create(&call->thread, NULL, test_call_main, call);
    }
}

/* `tls` NULL: plaintext. `port` 0: a free one. NULL when the port cannot be bound. */
static inline struct test_server *test_server_start_at(int port, test_handler_fn *handler, void *user,
                                                       grpc_server_credentials *tls)
{
    struct test_server *server = xcalloc(1, sizeof *server);
    char address[32];
    grpc_arg args[] = {
        {GRPC_ARG_INTEGER, (char[]){GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH}, .value.integer = 64 << 20},
        {GRPC_ARG_INTEGER, (char[]){GRPC_ARG_ALLOW_REUSEPORT}, .value.integer = 0},
    };
    const grpc_channel_args all = {sizeof args / sizeof args[0], args};
    grpc_global_init();
    server->handler = handler;
    server->user = user;
    server->server = grpc_server_create(&all, NULL);
    server->cq = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(server->server, server->cq, NULL);
    grpc_server_credentials *creds = tls ? tls : grpc_insecure_server_credentials_create();
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    server->port = grpc_server_add_http2_port(server->server, address, creds);
    if (!tls)
        grpc_server_credentials_release(creds);
    if (server->port == 0)
        BUG("port %d cannot be bound", port);
    grpc_server_start(server->server);
    test_server_await_call(server);
    pthread_create(&server->thread, NULL, test_server_main, server);
    return server;
}

static inline struct test_server *test_server_start(test_handler_fn *handler, void *user)
{
    return test_server_start_at(0, handler, user, NULL);
}

static inline void test_server_free_call(struct test_call *call)
{
    if (call->accepted)
        pthread_join(call->thread, NULL);
    if (call->call)
        grpc_call_unref(call->call);
    grpc_completion_queue_shutdown(call->cq);
    grpc_completion_queue_destroy(call->cq);
    grpc_call_details_destroy(&call->details);
    grpc_metadata_array_destroy(&call->metadata);
    free(call);
}

static inline void test_server_stop(struct test_server *server)
{
    if (!server)
        return;
    grpc_server_shutdown_and_notify(server->server, server->cq, server);
    grpc_server_cancel_all_calls(server->server);
    grpc_completion_queue_shutdown(server->cq);
    pthread_join(server->thread, NULL);
    while (server->calls) {
        struct test_call *next = server->calls->next;
        test_server_free_call(server->calls);
        server->calls = next;
    }
    grpc_server_destroy(server->server);
    grpc_completion_queue_destroy(server->cq);
    free(server);
}

static inline const char *test_server_target(const struct test_server *server, char out[32])
{
    snprintf(out, 32, "127.0.0.1:%d", server->port);
    return out;
}

#endif
