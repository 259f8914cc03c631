/* pubsub.h - Google Cloud Pub/Sub: publish, administer, pull with leases.
 *
 * Protocol facts: facts on Pub/Sub 1-3, 8. Names are short ids; the project is the client's. */
#ifndef ST_PUBSUB_PUBSUB_H
#define ST_PUBSUB_PUBSUB_H

#include "base/cancel.h"
#include "google/grpc.h"

enum {
    PUBSUB_MAX_ATTRIBUTES = 100,
    PUBSUB_MAX_VALUE_BYTES = 1024, /* of an attribute */
    PUBSUB_MAX_MESSAGE_BYTES = 10000000,
    PUBSUB_MAX_PUBLISH_MESSAGES = 1000
};

struct pubsub_attribute {
    const char *key;
    const char *value;
};

struct pubsub_message { /* to publish; everything borrowed */
    struct slice data;
    const struct pubsub_attribute *attributes;
    size_t attribute_count;
};

struct pubsub_client;

/* emulator_host "host:port" or NULL for Google (pubsub.googleapis.com:443). creds is borrowed. */
struct pubsub_client *pubsub_client_new(const char *project, const char *emulator_host,
                                        struct google_credentials *creds, struct error *err) MUST_CHECK;
void pubsub_client_free(struct pubsub_client *client);

/* Why the service would refuse the attribute, or NULL. */
const char *pubsub_attribute_refusal(const struct pubsub_attribute *attribute);
/* Bytes that a message with these data and no attributes may still have in attributes (pubsub_attribute_bytes of each), so that it can be
 * published to the topic: the limit of 10 MB is one of the whole request. May be negative. */
int64_t pubsub_attribute_room(struct pubsub_client *client, const char *topic, size_t data_bytes);
int64_t pubsub_attribute_bytes(const struct pubsub_attribute *attribute);
/* Publishes all messages, in requests within the service's limits, with retries; ids_ret (may be NULL): callback per message id, in order.
 * A failure part-way: *ret_published says how many are in for certain; the rest may or may not be (effect MAYBE). */
bool pubsub_publish(struct pubsub_client *client, const char *topic, const struct pubsub_message *messages,
                    size_t count, void (*on_id)(void *user, size_t index, const char *id), void *user,
                    size_t *ret_published, struct cancel *cancel, struct error *err) MUST_CHECK;

/* Administration, for init and doctor. *ret_created false: it was there already. */
bool pubsub_ensure_topic(struct pubsub_client *client, const char *topic, bool *ret_created,
                         struct error *err) MUST_CHECK;
struct pubsub_subscription_options {
    const char *topic;
    int ack_deadline_s;            /* 60 */
    int min_backoff_s;             /* 10 */
    int max_backoff_s;             /* 600 */
    const char *dead_letter_topic; /* NULL: none */
    int max_delivery_attempts;     /* 30 */
    bool never_expires;
    int retention_s; /* 0 = the service's default (7 d) */
};
/* Makes it, or compares what is there: *ret_difference (owned text, NULL when none) says how it differs from the options. */
bool pubsub_ensure_subscription(struct pubsub_client *client, const char *subscription,
                                const struct pubsub_subscription_options *options, bool *ret_created,
                                char **ret_difference, struct error *err) MUST_CHECK;
/* One short look, for readiness: timeout_ms in all, no retries beyond it. */
bool pubsub_topic_exists(struct pubsub_client *client, const char *topic, int64_t timeout_ms, bool *ret,
                         struct cancel *cancel, struct error *err) MUST_CHECK;
bool pubsub_subscription_exists(struct pubsub_client *client, const char *subscription, bool *ret,
                                struct error *err) MUST_CHECK;

/* ---- Receiving ---------------------------------------------------------------------------------------------- */

struct pubsub_subscriber; /* one StreamingPull stream, reopened for ever, plus its lease keeper thread */

struct pubsub_delivery { /* owned by the receiver until settled */
    struct slice data;
    const struct pubsub_attribute *attributes;
    size_t attribute_count;
    const char *message_id;
    int64_t publish_time_us;
    int delivery_attempt; /* 0 when the subscription has no dead-letter policy */
    struct cancel *lease; /* set ("lease lost") when the lease could not be kept: stop, the verdict is RETRY */
    int lane;             /* as given to the subscriber */
};

struct pubsub_subscriber_options {
    const char *subscription;
    int lane;
    int64_t max_outstanding_messages;
    int64_t max_outstanding_bytes;
    int stream_ack_deadline_s; /* 60 */
    int extension_s;           /* 60..600: each renewal; renewed with >= 1/2 of it left */
    /* Called for each message, on one thread of the subscriber's own; must not block. The delivery stays the receiver's until
     * pubsub_settle. At most max_outstanding_messages are out at a time, also when a new stream brings more. */
    void (*on_delivery)(void *user, struct pubsub_delivery *delivery);
    void *user;
};

struct pubsub_subscriber *pubsub_subscriber_start(struct pubsub_client *client,
                                                  const struct pubsub_subscriber_options *options,
                                                  struct error *err) MUST_CHECK;
enum pubsub_settlement { PUBSUB_ACK, PUBSUB_NACK };
/* Acks or nacks by a unary call (with retries within the lease), then frees the delivery in any case. False: the call did not get through;
 * the message will come again. Thread-safe. */
bool pubsub_settle(struct pubsub_subscriber *subscriber, struct pubsub_delivery *delivery, enum pubsub_settlement how,
                   struct error *err);
/* Nacks many at once, in few calls with one try each, and frees them; what does not get through comes again when its lease ends. */
void pubsub_give_back(struct pubsub_subscriber *subscriber, struct pubsub_delivery *const *deliveries, size_t count);
/* From now on so many messages may be out. The service takes the number at the beginning of a stream only, so another one is opened; what
 * is out stays so. Does not block. */
void pubsub_subscriber_set_max(struct pubsub_subscriber *subscriber, int64_t max_outstanding_messages);
/* Stops the stream; leases of unsettled deliveries are still kept until pubsub_subscriber_free. */
void pubsub_subscriber_stop(struct pubsub_subscriber *subscriber);
void pubsub_subscriber_free(struct pubsub_subscriber *subscriber); /* all deliveries must be settled */
/* Permanent failure of the stream (NOT_FOUND, PERMISSION_DENIED, ...): true and err filled. */
bool pubsub_subscriber_failed(struct pubsub_subscriber *subscriber, struct error *err);
/* True while a stream is open and has answered. */
bool pubsub_subscriber_is_open(struct pubsub_subscriber *subscriber);
/* Milliseconds since the last message arrived or the stream was (re)opened and confirmed; for --drain. */
int64_t pubsub_subscriber_idle_ms(struct pubsub_subscriber *subscriber);
/* ---- Receiving by unary pulls: for tools that look at a backlog and leave it as it was. No stream stands open, so what is given back stays
 * in the backlog. One thread uses a puller; its lease keeper has a thread of its own. ---- */
struct pubsub_puller;
struct pubsub_puller *pubsub_puller_new(struct pubsub_client *client, const char *subscription, int extension_s);
void pubsub_puller_free(struct pubsub_puller *puller); /* all deliveries must be settled; NULL is fine */
/* At most `max` (PUBSUB_MAX_PULL) of the messages that are there now; an empty answer may come although there are some: ask again. The
 * deliveries in ret[0..*ret_count) are the caller's until settled, their leases are kept. */
enum { PUBSUB_MAX_PULL = 1000 };
bool pubsub_pull(struct pubsub_puller *puller, size_t max, struct pubsub_delivery **ret, size_t *ret_count,
                 struct cancel *cancel, struct error *err) MUST_CHECK;
/* Acks or nacks many, in as few calls as the service's limits allow, and frees all. False: for some of them it did not get through. */
bool pubsub_pulled_settle(struct pubsub_puller *puller, struct pubsub_delivery *const *deliveries, size_t count,
                          enum pubsub_settlement how, struct error *err);
/* Counters for metrics. */
struct pubsub_stats {
    int64_t delivered, acked, nacked, lost_leases, extensions, reopened;
};
void pubsub_subscriber_stats(struct pubsub_subscriber *subscriber, struct pubsub_stats *ret);

#endif
