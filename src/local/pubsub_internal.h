/* pubsub_internal.h - what the parts of the local Pub/Sub server share. Everything here is guarded by server->mutex,
 * except what a comment says; functions expect it held unless they say otherwise. Lock order: server mutex before a
 * call's. */
#ifndef ST_LOCAL_PUBSUB_INTERNAL_H
#define ST_LOCAL_PUBSUB_INTERNAL_H

#include <pthread.h>

#include "faults.h"
#include "grpc_server.h"
#include "pubsub.pb-c.h"
#include "pubsub_server.h"

enum {
    PS_MAX_NAMES = 10000, /* topics; subscriptions */
    PS_MAX_PAGE = 1000,   /* items of one List response */
    PS_MAX_PUBLISH_MESSAGES = 1000,
    PS_MAX_PUBLISH_BYTES = 10000000,
    PS_MAX_MESSAGE_BYTES = 10000000,
    PS_MAX_ACK_REQUEST_BYTES = 512 << 10,
    PS_MAX_PULL = 1000,
    PS_MIN_ACK_DEADLINE_S = 10,
    PS_MAX_ACK_DEADLINE_S = 600,
    PS_MAX_RESPONSE_BYTES = 3500000,  /* clients on a bare channel take 4 MiB at most */
    PS_STREAM_BUFFER_BYTES = 4 << 20, /* sent to a stream, not yet taken by flow control */
    PS_PULL_WAIT_MS = 30000,
    PS_STREAM_IDLE_MS = 90000,
    PS_STREAM_LIFE_MS = 30 * 60 * 1000,
};

/* ---- Timers (pubsub_timer.c): a heap and a thread ---------------------------------------------------------------- */

struct ps_timer {
    int64_t due_ms; /* clock_mono_ms */
    size_t place;   /* 1-based in the heap; 0 = not set */
    void (*fire)(struct pubsub_server *server, struct ps_timer *timer);
};

struct ps_timers {
    struct ps_timer **heap;
    size_t count, cap;
    pthread_cond_t changed;
    pthread_t thread;
    bool stopping;
};

void ps_timers_start(struct pubsub_server *server);
void ps_timers_stop(struct pubsub_server *server); /* mutex not held */
void ps_timer_set(struct pubsub_server *server, struct ps_timer *timer, int64_t due_ms);
void ps_timer_cancel(struct pubsub_server *server, struct ps_timer *timer); /* fine when not set */

/* ---- Messages and their deliveries (pubsub_delivery.c) ----------------------------------------------------------- */

struct ps_message { /* one published message, shared by the subscriptions that still hold it */
    int refs;
    int64_t publish_us;
    int64_t bytes; /* packed size */
    Google__Pubsub__V1__PubsubMessage *pb;
};

enum ps_state {
    PS_READY,   /* in the subscription's queue */
    PS_LEASED,  /* delivered; the timer ends the lease */
    PS_DELAYED, /* failed; the timer ends the backoff */
};

struct ps_entry { /* one message in one subscription */
    struct ps_subscription *sub;
    struct ps_message *message;
    uint64_t serial;   /* unique in the server */
    uint64_t delivery; /* of the lease; an ack id names serial and delivery */
    enum ps_state state;
    bool again;   /* the second delivery of a message that has one lease too many: no third */
    int failures; /* nacks and expired leases so far */
    struct ps_timer timer;
    struct ps_stream *stream;     /* whose flow control counts the lease; NULL: pulled */
    struct ps_entry *prev, *next; /* ready queue */
    struct ps_entry *chain;       /* bucket of the table */
};

struct ps_table { /* entries of a subscription by serial */
    struct ps_entry **buckets;
    size_t bucket_count; /* a power of two, or 0 */
    size_t count;
};

struct ps_topic {
    struct ps_topic *next;
    uint64_t serial;
    Google__Pubsub__V1__Topic *pb;
};

struct ps_pull { /* a Pull that waits for messages */
    struct ps_pull *prev, *next;
    struct ps_subscription *sub;
    struct rpc_call *call; /* a reference */
    int max_messages;
    struct ps_timer timer;
};

struct ps_stream {
    int refs;                    /* its call, and each leased entry */
    struct rpc_call *call;       /* a reference; NULL when it is over */
    struct ps_subscription *sub; /* NULL before the first request and after the end */
    struct ps_stream *prev, *next;
    int64_t ack_deadline_ms;
    int64_t max_messages, max_bytes; /* <= 0: no limit */
    int64_t messages, bytes;         /* outstanding */
    int64_t opened_ms, active_ms;
    struct ps_timer timer;
    struct ps_entry **batch; /* collected by one dispatch */
    size_t batch_count, batch_cap;
    int64_t batch_bytes;
    int64_t room_bytes; /* what this dispatch may still send */
};

struct ps_counters {
    int64_t acked, nacked, expired, dead_lettered;
};

struct ps_subscription {
    struct ps_subscription *next;
    uint64_t serial;
    Google__Pubsub__V1__Subscription *pb;
    struct ps_topic *topic; /* NULL: deleted */
    struct ps_table entries;
    struct ps_entry *ready_head, *ready_tail;
    int64_t ready_count, leased_count;
    struct ps_pull *pulls, *pulls_tail;
    struct ps_stream *streams, *streams_tail; /* the next to be served is first */
    int stream_count;
    struct ps_counters counters;
};

struct pubsub_server {
    struct rpc_server *rpc;
    struct faults *faults; /* borrowed; NULL = none */
    uint16_t port;
    int64_t max_bytes, max_messages;
    uint32_t nonce; /* of this process, so that ack ids of an earlier one are known to be stale */

    pthread_mutex_t mutex; /* guards below, and everything that hangs there */
    struct ps_timers timers;
    struct ps_topic *topics;
    struct ps_subscription *subscriptions;
    size_t topic_count, subscription_count;
    uint64_t next_serial, next_message_id;
    int64_t bytes, messages;
};

/* Adds the message to all subscriptions of the topic; takes pb over and fills in id and publish time. The caller
 * dispatches these subscriptions, then drops the reference that it got. */
struct ps_message *ps_publish(struct pubsub_server *server, struct ps_topic *topic,
                              Google__Pubsub__V1__PubsubMessage *pb);
void ps_message_unref(struct pubsub_server *server, struct ps_message *message);
/* Older than the subscription retains messages. */
bool ps_entry_is_too_old(const struct ps_entry *entry);
/* False and RESOURCE_EXHAUSTED when the server is too full for so much more. */
bool ps_has_room(struct pubsub_server *server, const struct ps_topic *topic, size_t count, int64_t bytes,
                 struct error *err);
/* Forgets the entry, whatever its state. */
void ps_entry_remove(struct pubsub_server *server, struct ps_entry *entry);
/* Starts a lease; the entry must be the head of the ready queue. */
void ps_entry_lease(struct pubsub_server *server, struct ps_entry *entry, int64_t lease_ms, struct ps_stream *stream);
void ps_entries_clear(struct pubsub_server *server, struct ps_subscription *sub);

enum ps_ack_result { PS_ACK_OK, PS_ACK_STALE, PS_ACK_MALFORMED };
enum { PS_ACK_ID_SIZE = 64 };
void ps_ack_id(const struct pubsub_server *server, const struct ps_entry *entry, char out[PS_ACK_ID_SIZE]);
enum ps_ack_result ps_ack(struct pubsub_server *server, struct ps_subscription *sub, const char *ack_id);
enum ps_ack_result ps_modack(struct pubsub_server *server, struct ps_subscription *sub, const char *ack_id,
                             int32_t seconds);
/* Whether text has the form of an ack id (of any server). */
bool ps_ack_id_well_formed(const char *text);

/* ---- Dispatch (pubsub_dispatch.c) ---- */

/* Gives ready messages to whoever can take them: waiting pulls first, then streams in turn, one message each. */
void ps_dispatch(struct pubsub_server *server, struct ps_subscription *sub);
/* Delivery of at most max_messages as a PullResponse; false when there was none. */
bool ps_pull_now(struct pubsub_server *server, struct ps_subscription *sub, struct rpc_call *call, int max_messages);
void ps_pull_free(struct pubsub_server *server,
                  struct ps_pull *pull); /* takes it out of the line; its call is not ended */
void ps_stream_link(struct ps_subscription *sub, struct ps_stream *stream);
void ps_stream_unlink(struct ps_subscription *sub, struct ps_stream *stream);
void ps_stream_unref(struct ps_stream *stream);
/* Ends the stream with the status and takes it out of its subscription. */
void ps_stream_end(struct pubsub_server *server, struct ps_stream *stream, enum rpc_status status, const char *message);

/* ---- Services: handlers take the mutex themselves ---- */

extern const struct rpc_method ps_publisher_methods[];
extern const size_t ps_publisher_method_count;
extern const struct rpc_method ps_subscriber_methods[];
extern const size_t ps_subscriber_method_count;
extern const struct rpc_method ps_receive_methods[];
extern const size_t ps_receive_method_count;
extern const struct rpc_method ps_stream_method;
extern const struct rpc_method ps_refused_methods[];
extern const size_t ps_refused_method_count;

struct ps_topic *ps_find_topic(struct pubsub_server *server, const char *name);
struct ps_subscription *ps_find_subscription(struct pubsub_server *server, const char *name);
/* The same, or NOT_FOUND / INVALID_ARGUMENT for a name that cannot be. */
struct ps_topic *ps_get_topic(struct pubsub_server *server, const char *name, struct error *err);
struct ps_subscription *ps_get_subscription(struct pubsub_server *server, const char *name, struct error *err);
/* Ends its pulls and streams with NOT_FOUND and frees it. The list no longer has it. */
void ps_subscription_free(struct pubsub_server *server, struct ps_subscription *sub);
void ps_topic_free(struct ps_topic *topic);

/* ---- Checks (pubsub_check.c); pure ---- */

/* Fills err with the gRPC status; false. */
bool ps_error(struct error *err, enum rpc_status status, const char *fmt, ...) PRINTF_LIKE(3, 4);
bool ps_check_name(const char *name, const char *collection, struct error *err);
bool ps_check_project(const char *name, struct error *err);
bool ps_check_topic(const Google__Pubsub__V1__Topic *topic, struct error *err);
bool ps_check_subscription(const Google__Pubsub__V1__Subscription *sub, struct error *err);
bool ps_check_publish(const Google__Pubsub__V1__PublishRequest *request, size_t request_bytes, struct error *err);

/* ---- Requests (pubsub_check.c) ---- */

/* Unpacks within a memory budget; on failure the call is ended and NULL returned. Free with ps_request_free. */
void *ps_request(struct rpc_call *call, const struct rpc_message *message, const ProtobufCMessageDescriptor *type);
void ps_request_free(void *request);
/* A deep copy of any message. */
void *ps_clone(const ProtobufCMessage *message);
/* Replaces the string field, which may be protobuf-c's shared empty string. */
void ps_set_string(char **field, const char *value);
void ps_reply_empty(struct rpc_call *call);

/* A unary method: the mutex is held; makes the reply, or fills err and returns false. `request` is the unpacked
 * message. */
typedef bool ps_method_fn(struct pubsub_server *server, struct rpc_call *call, void *request, struct error *err);
/* Unpacks, runs the method under the mutex, and fails the call with its error. */
void ps_serve(struct pubsub_server *server, struct rpc_call *call, const struct rpc_message *message,
              const ProtobufCMessageDescriptor *type, ps_method_fn *method);
/* Defines on_<name>, the handler of method <name> that takes a google.pubsub.v1 message. */
#define PS_HANDLER(name, type)                                                                                         \
    static void on_##name(void *service, struct rpc_call *call, struct rpc_message *message)                           \
    {                                                                                                                  \
        ps_serve(service, call, message, &google__pubsub__v1__##type##__descriptor, name);                             \
    }

/* Page tokens are the serial number of the last item shown: stable while items come and go. */
bool ps_page_start(const char *token, uint64_t *ret, struct error *err);
size_t ps_page_size(int32_t wanted);
bool ps_in_project(const char *name, const char *project); /* project: "projects/P" */

#endif
