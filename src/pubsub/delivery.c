/* delivery.c - a StreamingPullResponse becomes deliveries, each with memory of its own, since they end at different
 * times.
 *
 * Unpacking is bounded: a few hostile bytes can ask for a hundred times their size in structures. Messages without an
 * ack id cannot be settled and are left out; they come again when the server means them. */
#include "delivery.h"

#include <stdlib.h>

#include "pubsub.pb-c.h"

typedef Google__Pubsub__V1__StreamingPullResponse wire_response;
typedef Google__Pubsub__V1__ReceivedMessage wire_received;

static void *bounded_alloc(void *user, size_t size)
{
    size_t *left = user;
    if (size > *left)
        return NULL;
    *left -= size;
    return xmalloc(size ? size : 1);
}

static void bounded_free(void *user, void *ptr)
{
    (void)user;
    free(ptr);
}

static void release_lease(struct lease *lease)
{
    delivery_free((struct delivery *)((char *)lease - offsetof(struct delivery, lease)));
}

static int64_t time_us(const Google__Protobuf__Timestamp *time)
{
    enum { NANOS = 1000000000 };
    const int64_t max_s = 253402300799;
    if (!time || time->seconds < -max_s || time->seconds > max_s || time->nanos < 0 || time->nanos >= NANOS)
        return 0;
    return time->seconds * 1000000 + time->nanos / 1000;
}

static void copy_attributes(struct delivery *d, const Google__Pubsub__V1__PubsubMessage *message)
{
    struct pubsub_attribute *attributes = arena_alloc(d->arena, (message->n_attributes + 1) * sizeof *attributes);
    for (size_t i = 0; i < message->n_attributes; i++) {
        attributes[i].key = arena_strdup(d->arena, slice_str(message->attributes[i]->key));
        attributes[i].value = arena_strdup(d->arena, slice_str(message->attributes[i]->value));
    }
    d->open.attributes = attributes;
    d->open.attribute_count = message->n_attributes;
}

static struct delivery *make(const wire_received *received, int lane)
{
    const Google__Pubsub__V1__PubsubMessage *message = received->message;
    struct delivery *d = xcalloc(1, sizeof *d);
    d->arena = arena_new(0);
    const char *data = arena_strdup(d->arena, slice_of(message->data.data, message->data.len));
    d->open.data = slice_of(data, message->data.len);
    copy_attributes(d, message);
    d->open.message_id = arena_strdup(d->arena, slice_str(message->message_id));
    d->open.publish_time_us = time_us(message->publish_time);
    d->open.delivery_attempt = received->delivery_attempt;
    d->open.lane = lane;
    d->open.lease = cancel_new(NULL);
    d->lease.ack_id = arena_strdup(d->arena, slice_str(received->ack_id));
    d->lease.message_id = d->open.message_id;
    d->lease.cancel = d->open.lease;
    d->lease.release = release_lease;
    d->bytes = message->data.len;
    return d;
}

struct delivery *delivery_list(wire_received *const *received, size_t count, int lane, size_t *ret_count)
{
    struct delivery *first = NULL, **last = &first;
    *ret_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (!received[i]->message || !*received[i]->ack_id)
            continue;
        *last = make(received[i], lane);
        last = &(*last)->next;
        ++*ret_count;
    }
    return first;
}

bool delivery_parse(struct slice response, int lane, struct delivery **ret, size_t *ret_count, struct error *err)
{
    size_t left = DELIVERY_MAX_UNPACKED_BYTES;
    ProtobufCAllocator bounded = {bounded_alloc, bounded_free, &left};
    wire_response *wire = google__pubsub__v1__streaming_pull_response__unpack(
        &bounded, response.len, (const uint8_t *)(response.ptr ? response.ptr : ""));
    if (!wire)
        return error_set(err, ERROR_RETRY, "pubsub_reply",
                         "could not read a message of the stream: it is no StreamingPullResponse");
    *ret = delivery_list(wire->received_messages, wire->n_received_messages, lane, ret_count);
    google__pubsub__v1__streaming_pull_response__free_unpacked(wire, &bounded);
    return true;
}

void delivery_free(struct delivery *delivery)
{
    if (!delivery)
        return;
    cancel_free(delivery->open.lease);
    arena_free(delivery->arena);
    free(delivery);
}
