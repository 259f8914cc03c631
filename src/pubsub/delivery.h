/* delivery.h - one received message: what the receiver sees, its lease, and the memory of both. */
#ifndef ST_PUBSUB_DELIVERY_H
#define ST_PUBSUB_DELIVERY_H

#include "base/arena.h"
#include "lease.h"

struct delivery {
    struct pubsub_delivery open; /* first: the receiver's pointer is the delivery's */
    struct lease lease;
    struct arena *arena;
    size_t bytes;
    struct delivery *next; /* in the queue of what is not handed out yet */
};

static inline struct delivery *delivery_of(struct pubsub_delivery *open)
{
    return (struct delivery *)open;
}

enum { DELIVERY_MAX_UNPACKED_BYTES = 256 << 20 };

struct Google__Pubsub__V1__ReceivedMessage;
/* A list in the order of arrival (NULL when there is none), *ret_count its length. */
struct delivery *delivery_list(struct Google__Pubsub__V1__ReceivedMessage *const *received, size_t count, int lane,
                               size_t *ret_count);
/* Reads a StreamingPullResponse. *ret is a list in the order of arrival (NULL for a heartbeat), *ret_count its length;
 * each is freed by delivery_free or, once its lease is kept, by the last reference to that. */
bool delivery_parse(struct slice response, int lane, struct delivery **ret, size_t *ret_count,
                    struct error *err) MUST_CHECK;
void delivery_free(struct delivery *delivery);

#endif
