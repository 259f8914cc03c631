/* pubsub_server.h - Google Cloud Pub/Sub of the local stack, in memory.
 *
 * Publisher and Subscriber over plaintext gRPC on loopback, any project. Supported: topics, pull subscriptions,
 * Publish, Pull, StreamingPull with flow control and heartbeats, leases, retry policies, dead-letter policies. Refused
 * with UNIMPLEMENTED and the reason: ordering, filters, exactly-once, push and export subscriptions, snapshots, seek,
 * schemas, customer keys. Messages, topics and subscriptions are lost at exit. All timers run on base/clock.h. */
#ifndef ST_LOCAL_PUBSUB_SERVER_H
#define ST_LOCAL_PUBSUB_SERVER_H

#include "base/buf.h"

struct pubsub_server;
struct faults;

struct pubsub_server_options { /* zero means the default */
    const char *bind_address;  /* "127.0.0.1" */
    uint16_t port;             /* 0 = a free one */
    int64_t max_bytes;         /* of undelivered and unacked messages: 1 GiB; Publish is RESOURCE_EXHAUSTED beyond */
    struct faults *faults;     /* the fault bench, borrowed; NULL = none */
    int64_t max_messages;      /* the same, counted once per subscription: 2,000,000 */
};

struct pubsub_server *pubsub_server_start(const struct pubsub_server_options *options, struct error *err) MUST_CHECK;
void pubsub_server_stop(struct pubsub_server *server); /* ends all calls and frees; NULL is fine */
uint16_t pubsub_server_port(const struct pubsub_server *server);

/* For the admin route; thread-safe. */
/* JSON:
 * {"bytes":..,"subscriptions":[{"name":..,"ready":..,"leased":..,"delayed":..,"streams":..,"acked":..,"nacked":..,"expired":..,
 * "deadLettered":..}]}. */
void pubsub_server_stats(struct pubsub_server *server, struct buf *out);
/* Publishes what a client of another kind has made: the bytes of a google.pubsub.v1.PublishRequest, held against the same
 * rules. Appends the message ids, as the members of a JSON list. */
bool pubsub_server_publish(struct pubsub_server *server, struct slice request, struct buf *ret_ids,
                           struct error *err) MUST_CHECK;
/* Changes the subscription's ack deadline, by the rules of UpdateSubscription. */
bool pubsub_server_set_ack_deadline(struct pubsub_server *server, const char *subscription, int seconds,
                                    struct error *err) MUST_CHECK;
/* What the subscription holds, in no order, as the bytes of a google.pubsub.v1.PublishRequest without a topic. Changes
 * nothing. */
void pubsub_server_messages(struct pubsub_server *server, const char *subscription, struct buf *out);
/* Ends all open streams of the subscription (NULL: of all) with UNAVAILABLE, as the service does now and then. Returns
 * how many. */
int pubsub_server_close_streams(struct pubsub_server *server, const char *subscription);

#endif
