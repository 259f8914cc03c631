/* publish.c - publishes messages in requests within the service's limits (facts on Pub/Sub 7, 8).
 *
 * Everything is checked before anything is sent, so that a bad message cannot leave half a batch behind. One request is
 * under way at a time, in order; what is in for certain is counted, so that a caller can go on from there. */
#include <stdlib.h>

#include "base/metrics.h"
#include "pubsub.pb-c.h"
#include "pubsub_internal.h"

enum {
    MAX_REQUEST_BYTES = 10000000,
    ELEMENT_OVERHEAD_BYTES = 6, /* tag and length of one repeated element, at most */
    MAX_KEY_BYTES = 256,
    ATTRIBUTE_OVERHEAD_BYTES = 9, /* tags and lengths of the entry, its key and its value, at most */
};

typedef Google__Pubsub__V1__PubsubMessage wire_message;
typedef Google__Pubsub__V1__PubsubMessage__AttributesEntry wire_attribute;

static bool refuse(struct error *err, size_t index, const char *why)
{
    return error_set(err, ERROR_PERMANENT, "pubsub_message", "cannot publish message %zu: %s", index, why);
}

const char *pubsub_attribute_refusal(const struct pubsub_attribute *attribute)
{
    struct slice key = slice_str(attribute->key), value = slice_str(attribute->value);
    if (key.len == 0 || key.len > MAX_KEY_BYTES)
        return "an attribute key is empty or longer than 256 bytes";
    if (slice_starts_with(key, SLICE_LIT("goog")))
        return "an attribute key starts with \"goog\", which is reserved";
    if (value.len > PUBSUB_MAX_VALUE_BYTES)
        return "an attribute value is longer than 1024 bytes";
    if (!slice_is_utf8(key) || !slice_is_utf8(value))
        return "an attribute is not UTF-8";
    return NULL;
}

int64_t pubsub_attribute_bytes(const struct pubsub_attribute *attribute)
{
    return (int64_t)(strlen(attribute->key) + strlen(attribute->value)) + ATTRIBUTE_OVERHEAD_BYTES;
}

int64_t pubsub_attribute_room(struct pubsub_client *client, const char *topic, size_t data_bytes)
{
    char *name = pubsub_topic_name(client, topic);
    int64_t others = (int64_t)(data_bytes + strlen(name)) + 3 * ELEMENT_OVERHEAD_BYTES; /* topic, message and data */
    free(name);
    return MAX_REQUEST_BYTES - others;
}

static bool check_message(const struct pubsub_message *message, size_t index, struct error *err)
{
    size_t bytes = message->data.len;
    if (message->data.len == 0 && message->attribute_count == 0)
        return refuse(err, index, "it has neither data nor attributes");
    if (message->attribute_count > PUBSUB_MAX_ATTRIBUTES)
        return refuse(err, index, "it has more than 100 attributes");
    for (size_t i = 0; i < message->attribute_count; i++) {
        const char *why = pubsub_attribute_refusal(&message->attributes[i]);
        if (why)
            return refuse(err, index, why);
        bytes += strlen(message->attributes[i].key) + strlen(message->attributes[i].value);
    }
    return bytes <= PUBSUB_MAX_MESSAGE_BYTES || refuse(err, index, "it is larger than 10 MB");
}

/* The wire form, borrowing everything from `message`; free_wire gives its own memory back. */
static wire_message *wire_of(const struct pubsub_message *message)
{
    wire_message *wire = xmalloc(sizeof *wire);
    google__pubsub__v1__pubsub_message__init(wire);
    memcpy(&wire->data.data, &message->data.ptr, sizeof wire->data.data); /* borrowed; packing only reads it */
    wire->data.len = message->data.len;
    wire->n_attributes = message->attribute_count;
    wire->attributes = xcalloc(message->attribute_count + 1, sizeof(wire_attribute *));
    for (size_t i = 0; i < message->attribute_count; i++) {
        wire->attributes[i] = xmalloc(sizeof(wire_attribute));
        google__pubsub__v1__pubsub_message__attributes_entry__init(wire->attributes[i]);
        memcpy(&wire->attributes[i]->key, &message->attributes[i].key, sizeof(char *));
        memcpy(&wire->attributes[i]->value, &message->attributes[i].value, sizeof(char *));
    }
    return wire;
}

static void free_wire(wire_message *wire)
{
    for (size_t i = 0; i < wire->n_attributes; i++)
        free(wire->attributes[i]);
    free(wire->attributes);
    free(wire);
}

struct publisher {
    struct pubsub_client *client;
    char *topic;
    struct cancel *cancel;
    void (*on_id)(void *user, size_t index, const char *id);
    void *user;
};

/* One request with the messages [first, first + count). */
static bool send_request(const struct publisher *p, wire_message **wires, size_t first, size_t count, struct error *err)
{
    Google__Pubsub__V1__PublishRequest request;
    google__pubsub__v1__publish_request__init(&request);
    ProtobufCMessage *message = NULL;
    request.topic = p->topic;
    request.n_messages = count;
    request.messages = wires;
    struct pubsub_call call = {.method = "/google.pubsub.v1.Publisher/Publish",
                               .routing_key = "topic",
                               .resource = p->topic,
                               .request = &request.base,
                               .reply_type = &google__pubsub__v1__publish_response__descriptor,
                               .cancel = p->cancel};
    if (!pubsub_call(p->client, &call, &message, err))
        return false;
    Google__Pubsub__V1__PublishResponse *reply = (Google__Pubsub__V1__PublishResponse *)message;
    bool ok = reply->n_message_ids == count;
    for (size_t i = 0; ok && p->on_id && i < count; i++)
        p->on_id(p->user, first + i, reply->message_ids[i]);
    if (!ok) {
        error_set(err, ERROR_RETRY, "pubsub_reply", "could not read the reply to a publish: %zu ids for %zu messages",
                  reply->n_message_ids, count);
        if (err)
            err->effect = EFFECT_DONE;
    }
    protobuf_c_message_free_unpacked(message, NULL);
    return ok;
}

/* Takes as many messages from `first` on as one request may carry, and sends them. *ret_count is how many those are. */
static bool publish_some(const struct publisher *p, const struct pubsub_message *messages, size_t count, size_t first,
                         size_t *ret_count, struct error *err)
{
    wire_message *wires[PUBSUB_MAX_PUBLISH_MESSAGES];
    size_t taken = 0, bytes = strlen(p->topic) + ELEMENT_OVERHEAD_BYTES;
    bool ok = true;
    while (taken < PUBSUB_MAX_PUBLISH_MESSAGES && first + taken < count) {
        wire_message *wire = wire_of(&messages[first + taken]);
        bytes += google__pubsub__v1__pubsub_message__get_packed_size(wire) + ELEMENT_OVERHEAD_BYTES;
        if (bytes > MAX_REQUEST_BYTES) {
            free_wire(wire);
            break;
        }
        wires[taken++] = wire;
    }
    if (taken == 0)
        ok = refuse(err, first, "it is larger than a request of 10 MB may be");
    ok = ok && send_request(p, wires, first, taken, err);
    for (size_t i = 0; i < taken; i++)
        free_wire(wires[i]);
    *ret_count = taken;
    return ok;
}

bool pubsub_publish(struct pubsub_client *client, const char *topic, const struct pubsub_message *messages,
                    size_t count, void (*on_id)(void *user, size_t index, const char *id), void *user,
                    size_t *ret_published, struct cancel *cancel, struct error *err)
{
    size_t done = 0, taken = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++)
        ok = check_message(&messages[i], i, err);
    struct publisher publisher = {client, pubsub_topic_name(client, topic), cancel, on_id, user};
    while (ok && done < count) {
        ok = publish_some(&publisher, messages, count, done, &taken, err);
        if (ok)
            done += taken;
    }
    if (!ok && done > 0 && err && err->effect == EFFECT_NONE)
        err->effect = EFFECT_MAYBE;
    if (ret_published)
        *ret_published = done;
    if (done > 0)
        metrics_add(METRIC_MESSAGES_PUBLISHED, (int64_t)done, METRIC_LABELS(topic));
    free(publisher.topic);
    return ok;
}
