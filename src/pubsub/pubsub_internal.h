/* pubsub_internal.h - the client behind publish, administration and subscribers: a link, names, and calls with retries.
 */
#ifndef ST_PUBSUB_PUBSUB_INTERNAL_H
#define ST_PUBSUB_PUBSUB_INTERNAL_H

#include "base/clock.h"
#include "pubsub/pubsub.h"

struct pubsub_client {
    char *project;
    char *target;
    bool plaintext;
    struct google_credentials *creds; /* borrowed */
    struct grpc_link *link;           /* unary calls of all threads; each stream has a link of its own */
};

/* "projects/P/topics/ID"; owned by the caller. */
char *pubsub_topic_name(const struct pubsub_client *client, const char *id);
char *pubsub_subscription_name(const struct pubsub_client *client, const char *id);
/* "key=URL-escaped name"; owned by the caller. */
char *pubsub_routing(const char *key, const char *name);

enum { PUBSUB_CALL_TIMEOUT_MS = 60000, PUBSUB_CALL_TOTAL_MS = 60000, PUBSUB_ONE_TRY = 1 };

struct pubsub_call {
    const char *method;      /* "/google.pubsub.v1.Publisher/Publish" */
    const char *routing_key; /* "topic" */
    const char *resource;    /* "projects/p/topics/t" */
    const ProtobufCMessage *request;
    const ProtobufCMessageDescriptor *reply_type;
    int64_t timeout_ms; /* of one try, real time; 0 = PUBSUB_CALL_TIMEOUT_MS, less on a fast clock */
    int64_t until_ms;   /* clock_mono_ms after which no further try begins; 0 = PUBSUB_CALL_TOTAL_MS from now;
                           PUBSUB_ONE_TRY */
    struct cancel *cancel;
};

/* Tries until it succeeds, fails for good, is cancelled or the time is over. *ret may be given as NULL to drop the
 * reply. The error is the last one, its effect the worst of all tries. */
bool pubsub_call(struct pubsub_client *client, const struct pubsub_call *call, ProtobufCMessage **ret,
                 struct error *err) MUST_CHECK;

/* A duration on the program's clock that is never shorter than a real time: on a fast clock the network stays as slow
 * as it is. */
static inline int64_t pubsub_timer_ms(int64_t ms, int64_t real_floor_ms)
{
    int64_t floor_ms = (int64_t)((double)real_floor_ms * clock_scale());
    return ms > floor_ms ? ms : floor_ms;
}

#endif
