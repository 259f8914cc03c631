/* grpc_server.h - an asynchronous gRPC server over the C core, for the services of the local stack.
 *
 * (The C core owns the name grpc_server, so everything here is rpc_.) A service is a table of methods. Calls arrive on
 * one completion queue thread, which only moves bytes; handlers run on a bounded pool of threads and may block.
 * Handlers of one call run one at a time and in order; handlers of different calls run in parallel. Replies may be made
 * from any thread, within a handler or later, as long as a reference to the call is held. After a call is over, all
 * functions on it are harmless: sends return false, finish does nothing.
 *
 *   unary:   unary(request), once; answer with rpc_call_reply or rpc_call_fail, at once or later. Then closed().
 *   stream:  opened(), message() per request message, half_closed() when the client is done sending, drained() each
 * time the send queue has become empty, closed() when the call is over (finished by us, or cancelled by the client, its
 * deadline, a lost connection or rpc_server_stop): exactly once and last.
 *
 * Bounds: one request of at most max_receive_bytes; RPC_READ_AHEAD requests per stream are held unhandled, the rest
 * waits in HTTP/2 flow control; the send queue of a call holds RPC_SEND_QUEUE_BYTES (and one message beyond); one send
 * and one receive are outstanding in the core. */
#ifndef ST_LOCAL_GRPC_SERVER_H
#define ST_LOCAL_GRPC_SERVER_H

#include <protobuf-c/protobuf-c.h>

#include "base/error.h"
#include "base/slice.h"

enum {
    RPC_READ_AHEAD = 2,
    RPC_SEND_QUEUE_BYTES = 16 << 20,
    RPC_DEFAULT_MAX_RECEIVE_BYTES = 20 << 20,
    RPC_DEFAULT_THREADS = 8,
    RPC_MAX_DETAILS = 8,
};

/* gRPC status codes; struct error.status carries one from the services' inner functions to rpc_call_fail. */
enum rpc_status {
    RPC_OK = 0,
    RPC_CANCELLED = 1,
    RPC_UNKNOWN = 2,
    RPC_INVALID_ARGUMENT = 3,
    RPC_DEADLINE_EXCEEDED = 4,
    RPC_NOT_FOUND = 5,
    RPC_ALREADY_EXISTS = 6,
    RPC_PERMISSION_DENIED = 7,
    RPC_RESOURCE_EXHAUSTED = 8,
    RPC_FAILED_PRECONDITION = 9,
    RPC_ABORTED = 10,
    RPC_OUT_OF_RANGE = 11,
    RPC_UNIMPLEMENTED = 12,
    RPC_INTERNAL = 13,
    RPC_UNAVAILABLE = 14,
    RPC_DATA_LOSS = 15,
    RPC_UNAUTHENTICATED = 16,
};

struct rpc_server;
struct faults;
struct rpc_call;

/* ---- Received messages ------------------------------------------------------------------------------------------- */

/* The bytes of one request, contiguous (copied at most once). Reference counted and immutable: a handler borrows it,
 * and takes a reference to keep it, which also keeps its memory. */
struct rpc_message;
struct slice rpc_message_bytes(const struct rpc_message *message);
struct rpc_message *rpc_message_ref(struct rpc_message *message);
void rpc_message_unref(struct rpc_message *message); /* NULL is fine; any thread */

/* ---- Services ---------------------------------------------------------------------------------------------------- */

struct rpc_stream_handlers { /* each may be NULL, except message */
    bool answers_each;       /* one response to each request, in order (for the fault bench) */
    const char *later;       /* what the bench calls requests behind the first; NULL = the same */
    void (*opened)(void *service, struct rpc_call *call);
    void (*message)(void *service, struct rpc_call *call, struct rpc_message *message);
    /* For the fault bench: answers a request in its turn by an error that does not end the stream. The text is copied. */
    void (*refuse)(void *service, struct rpc_call *call, struct rpc_message *message, enum rpc_status status,
                   const char *text);
    void (*half_closed)(void *service, struct rpc_call *call); /* NULL: the call is finished with OK */
    void (*drained)(void *service, struct rpc_call *call);
    void (*closed)(void *service, struct rpc_call *call);
};

struct rpc_method {
    const char *path; /* "/google.pubsub.v1.Publisher/Publish" */
    /* Exactly one of the two. */
    void (*unary)(void *service, struct rpc_call *call, struct rpc_message *request);
    const struct rpc_stream_handlers *stream;
    bool effect; /* a request changes the state of the server (for the fault bench) */
    /* Unary only, may be NULL: the call is over; for handlers that answer later and must forget the call. */
    void (*closed)(void *service, struct rpc_call *call);
};

struct rpc_server_options {    /* zero means the default */
    struct faults *faults;     /* borrowed; NULL = none */
    const char *fault_service; /* "pubsub": its methods are pubsub.Publish, ... */
    int threads;               /* handlers that may run at once */
    int64_t max_receive_bytes; /* of one message; more is RESOURCE_EXHAUSTED */
};

/* Order of life: new, add*, listen+, start, stop, free. `options` may be NULL. Borrowed: methods and service, until
 * stop. */
struct rpc_server *rpc_server_new(const struct rpc_server_options *options);
void rpc_server_add(struct rpc_server *server, const struct rpc_method *methods, size_t count, void *service);
/* Plaintext. address NULL = "127.0.0.1"; port 0 = a free one. A port in use is an error. */
bool rpc_server_listen(struct rpc_server *server, const char *address, uint16_t port, uint16_t *ret_port,
                       struct error *err) MUST_CHECK;
void rpc_server_start(struct rpc_server *server);
/* Refuses new calls, cancels the open ones and returns when closed() of each has run and no handler runs any more.
 * Handlers that block must be released by the service before. Not from a handler. */
void rpc_server_stop(struct rpc_server *server);
void rpc_server_free(struct rpc_server *server); /* stops it when it runs; NULL is fine */

/* ---- Calls ------------------------------------------------------------------------------------------------------- */

struct rpc_call *rpc_call_ref(struct rpc_call *call);
void rpc_call_unref(struct rpc_call *call);
/* A pointer of the service's; set it in opened() or unary(), release what it points to in closed(). */
void rpc_call_set_user(struct rpc_call *call, void *user);
void *rpc_call_user(const struct rpc_call *call);
const char *rpc_call_method(const struct rpc_call *call);
/* Value of a request header (lower-case key); SLICE_NULL when absent. Valid until closed() returns; use in handlers
 * only. */
struct slice rpc_call_metadata(const struct rpc_call *call, const char *key);
bool rpc_call_is_over(struct rpc_call *call);

/* Streams: queue one response. False: the call is over or being finished, or its send queue is full (nothing was queued
 * then). */
bool rpc_call_send(struct rpc_call *call, const ProtobufCMessage *response);
bool rpc_call_send_bytes(struct rpc_call *call, struct slice bytes); /* copies */
size_t rpc_call_queued_bytes(struct rpc_call *call);                 /* queued and not yet taken by flow control */

/* Stop and resume reading requests; at most RPC_READ_AHEAD that were read already are still handled. Any thread. */
void rpc_call_pause(struct rpc_call *call);
void rpc_call_resume(struct rpc_call *call);

struct rpc_detail {       /* one google.protobuf.Any of the status */
    const char *type_url; /* "type.googleapis.com/google.rpc.ErrorInfo" */
    struct slice value;   /* packed message */
};

/* Ends the call, after what is queued has been sent. The first one wins. */
void rpc_call_reply(struct rpc_call *call, const ProtobufCMessage *response); /* unary: response and OK */
void rpc_call_finish(struct rpc_call *call, enum rpc_status status, const char *message);
/* With google.rpc.Status in the trailer grpc-status-details-bin; at most RPC_MAX_DETAILS. */
void rpc_call_finish_details(struct rpc_call *call, enum rpc_status status, const char *message,
                             const struct rpc_detail *details, size_t count);
/* err->status as gRPC code (0 = INTERNAL) and err->message. */
void rpc_call_fail(struct rpc_call *call, const struct error *err);

#endif
