/* grpc_server_internal.h - what the parts of the gRPC server share: server, call, pool. */
#ifndef ST_LOCAL_GRPC_SERVER_INTERNAL_H
#define ST_LOCAL_GRPC_SERVER_INTERNAL_H

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>

#include "faults.h"
#include "grpc_server.h"

enum rpc_op_kind { RPC_OP_NEW_CALL, RPC_OP_READ, RPC_OP_WRITE, RPC_OP_CLOSE, RPC_OP_SHUTDOWN };

struct rpc_op { /* the tag of one batch */
    enum rpc_op_kind kind;
    struct rpc_call *call; /* NULL for RPC_OP_SHUTDOWN */
};

enum rpc_event_kind {
    RPC_EVENT_OPENED,
    RPC_EVENT_MESSAGE,
    RPC_EVENT_HALF_CLOSED,
    RPC_EVENT_DRAINED,
    RPC_EVENT_ENDING,
    RPC_EVENT_CLOSED
};

struct rpc_event { /* work for the pool: one handler to run */
    struct rpc_event *next;
    enum rpc_event_kind kind;
    struct rpc_message *message;
};

struct rpc_out { /* one queued response */
    struct rpc_out *next;
    grpc_slice bytes;
};

struct rpc_held { /* the end of a unary call, kept until the fault bench has seen it; owned */
    bool has_reply;
    grpc_slice reply;
    enum rpc_status status;
    char *text; /* NULL = none */
    bool has_details;
    grpc_slice details;
};
struct rpc_pending;

struct rpc_call {
    atomic_int refs; /* users, and one as long as the call is live in the server */
    struct rpc_server *server;
    struct rpc_op new_op, read_op, write_op, close_op;

    /* Written before the first event, then read only; `core` is freed when the call is over and no batch is left. */
    grpc_call *core;
    grpc_call_details details;
    grpc_metadata_array headers;
    char *path;
    const struct rpc_method *method; /* NULL: unknown */
    void *service;

    _Atomic(void *) user;

    struct rpc_call *pool_next;                 /* guarded by the pool */
    struct rpc_call *server_prev, *server_next; /* guarded by the server's mutex */

    pthread_mutex_t mutex; /* guards all below, and every start of a batch */
    int batches;           /* outstanding in the core */
    bool over;             /* the core has reported the end */
    bool closed_done;      /* the CLOSED event has been handled */

    bool reading, read_ended, paused;
    int unhandled; /* messages read and not yet handled */
    grpc_byte_buffer *received;
    int cancelled;

    bool writing, headers_sent, write_had_message;
    size_t write_bytes; /* of the send that is outstanding */
    struct rpc_out *out, **out_tail;
    size_t out_bytes; /* queued and being sent */

    bool finishing, status_sent;
    enum rpc_status status;
    grpc_slice status_text, status_details;
    grpc_metadata trailer;
    bool has_details;

    struct rpc_event *events, **events_tail;
    bool scheduled;       /* in the pool's queue or being run by it */
    bool drained_pending; /* a DRAINED event is queued */

    struct {                           /* the fault bench (grpc_server_fault.c) */
        char name[FAULTS_METHOD_SIZE]; /* written before the first event */
        bool opened;                   /* a request was handled; handlers only */
        atomic_bool silent;            /* nothing more goes out, whatever is sent; nothing that comes is handled */
        bool waits;                    /* `ticket` wants to see the end of the call before it goes */
        struct fault_ticket ticket;
        struct rpc_held *held;                      /* that end */
        struct rpc_pending *pending, **pending_end; /* requests without a response, oldest first */
    } fault;
};

/* Sends what was held, or drops it. Both take it over. */
void rpc_held_send(struct rpc_call *call, struct rpc_held *held);
void rpc_held_drop(struct rpc_held *held);

/* ---- Pool: runs the events of calls; a call is in its queue at most once ---- */
struct rpc_pool;
struct rpc_pool *rpc_pool_new(int threads, void (*run)(struct rpc_call *call));
void rpc_pool_push(struct rpc_pool *pool, struct rpc_call *call);
void rpc_pool_free(struct rpc_pool *pool); /* the queue must be empty */

struct rpc_service {
    const struct rpc_method *methods;
    size_t count;
    void *service;
};

enum { RPC_MAX_SERVICES = 8, RPC_ACCEPT_SLOTS = 8 };

struct rpc_server {
    grpc_server *core;
    grpc_completion_queue *cq;
    struct rpc_pool *pool;
    struct faults *faults; /* borrowed; NULL = none */
    const char *fault_service;
    struct rpc_service services[RPC_MAX_SERVICES];
    size_t service_count;
    struct rpc_op shutdown_op;
    pthread_t thread;
    bool running;

    pthread_mutex_t mutex; /* guards below */
    pthread_cond_t changed;
    bool stopping, shut_down;
    int64_t live; /* calls accepted and not yet ended */
    struct rpc_call *calls;
};

struct rpc_call *rpc_call_new(struct rpc_server *server);
/* The core has handed over a call; called once by the completion queue thread. */
void rpc_call_accepted(struct rpc_call *call, const struct rpc_method *method, void *service);
/* A batch of the call is done. */
void rpc_call_completed(struct rpc_call *call, enum rpc_op_kind kind, bool ok);
/* Runs the next event of the call; for the pool. */
void rpc_call_run(struct rpc_call *call);
/* The call has ended: the server forgets it. */
void rpc_server_ended(struct rpc_server *server, struct rpc_call *call);

#endif
