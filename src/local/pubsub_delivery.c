/* pubsub_delivery.c - messages, leases, acks, backoff and dead letters.
 *
 * A published message is shared by the subscriptions that hold it. In each it is an entry: ready, leased or delayed.
 * Every delivery has an ack id of its own; an ack id of an earlier delivery, of an entry that is gone, or of an earlier
 * process is stale, and acking it does nothing, as in the service without exactly-once. A nack and an expired lease are
 * the same failure: they count as an attempt, wait for the backoff of the retry policy, and lead to the dead-letter
 * topic when the attempts are used up. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/timestamp.h"
#include "pubsub_internal.h"

enum {
    DEFAULT_MIN_BACKOFF_MS = 10000,
    DEFAULT_MAX_BACKOFF_MS = 600000,
    DEFAULT_ATTEMPTS = 5,
    DEFAULT_RETENTION_S = 7 * 86400
};

/* ---- Table of entries by serial ---- */

static void table_grow(struct ps_table *table)
{
    size_t count = table->bucket_count ? table->bucket_count * 2 : 64;
    struct ps_entry **buckets = xcalloc(count, sizeof(struct ps_entry *));
    for (size_t i = 0; i < table->bucket_count; i++) {
        for (struct ps_entry *entry = table->buckets[i], *next; entry; entry = next) {
            next = entry->chain;
            struct ps_entry **bucket = &buckets[entry->serial & (count - 1)];
            entry->chain = *bucket;
            *bucket = entry;
        }
    }
    free(table->buckets);
    table->buckets = buckets;
    table->bucket_count = count;
}

static void table_add(struct ps_table *table, struct ps_entry *entry)
{
    if (table->count == table->bucket_count)
        table_grow(table);
    struct ps_entry **bucket = &table->buckets[entry->serial & (table->bucket_count - 1)];
    entry->chain = *bucket;
    *bucket = entry;
    table->count++;
}

static struct ps_entry *table_find(const struct ps_table *table, uint64_t serial)
{
    struct ps_entry *entry = table->count ? table->buckets[serial & (table->bucket_count - 1)] : NULL;
    while (entry && entry->serial != serial)
        entry = entry->chain;
    return entry;
}

static void table_remove(struct ps_table *table, const struct ps_entry *entry)
{
    struct ps_entry **link = &table->buckets[entry->serial & (table->bucket_count - 1)];
    while (*link != entry)
        link = &(*link)->chain;
    *link = entry->chain;
    table->count--;
}

/* ---- Ready queue ---- */

static void ready_push(struct ps_entry *entry)
{
    struct ps_subscription *sub = entry->sub;
    entry->state = PS_READY;
    entry->next = NULL;
    entry->prev = sub->ready_tail;
    if (sub->ready_tail)
        sub->ready_tail->next = entry;
    else
        sub->ready_head = entry;
    sub->ready_tail = entry;
    sub->ready_count++;
}

static void ready_remove(struct ps_entry *entry)
{
    struct ps_subscription *sub = entry->sub;
    *(entry->prev ? &entry->prev->next : &sub->ready_head) = entry->next;
    *(entry->next ? &entry->next->prev : &sub->ready_tail) = entry->prev;
    entry->prev = entry->next = NULL;
    sub->ready_count--;
}

/* ---- Messages ---- */

void ps_message_unref(struct pubsub_server *server, struct ps_message *message)
{
    if (--message->refs > 0)
        return;
    server->bytes -= message->bytes;
    ps_request_free(message->pb);
    free(message);
}

static void entry_fire(struct pubsub_server *server, struct ps_timer *timer);

static struct ps_entry *entry_new(struct pubsub_server *server, struct ps_subscription *sub, struct ps_message *message)
{
    struct ps_entry *entry = xcalloc(1, sizeof *entry);
    entry->sub = sub;
    entry->message = message;
    message->refs++;
    entry->serial = server->next_serial++;
    entry->timer.fire = entry_fire;
    table_add(&sub->entries, entry);
    ready_push(entry);
    server->messages++;
    return entry;
}

static void stamp(struct pubsub_server *server, Google__Pubsub__V1__PubsubMessage *pb, int64_t now_us)
{
    char id[24];
    snprintf(id, sizeof id, "%llu", (unsigned long long)server->next_message_id++);
    ps_set_string(&pb->message_id, id);
    if (!pb->publish_time) {
        pb->publish_time = xmalloc(sizeof *pb->publish_time);
        google__protobuf__timestamp__init(pb->publish_time);
    }
    pb->publish_time->seconds = now_us / 1000000;
    pb->publish_time->nanos = (int32_t)(now_us % 1000000) * 1000;
}

bool ps_has_room(struct pubsub_server *server, const struct ps_topic *topic, size_t count, int64_t bytes,
                 struct error *err)
{
    int64_t copies = 0;
    for (const struct ps_subscription *sub = server->subscriptions; sub; sub = sub->next)
        copies += sub->topic == topic ? 1 : 0;
    if (server->bytes + bytes <= server->max_bytes &&
        server->messages + (int64_t)count * copies <= server->max_messages)
        return true;
    return ps_error(
        err, RPC_RESOURCE_EXHAUSTED,
        "the local Pub/Sub server is full: it holds %lld messages and %lld bytes that nobody has acknowledged",
        (long long)server->messages, (long long)server->bytes);
}

struct ps_message *ps_publish(struct pubsub_server *server, struct ps_topic *topic,
                              Google__Pubsub__V1__PubsubMessage *pb)
{
    struct ps_message *message = xcalloc(1, sizeof *message);
    message->refs = 1;
    message->publish_us = clock_wall_us();
    message->pb = pb;
    stamp(server, pb, message->publish_us);
    message->bytes = (int64_t)protobuf_c_message_get_packed_size(&pb->base);
    server->bytes += message->bytes;
    for (struct ps_subscription *sub = server->subscriptions; sub; sub = sub->next) {
        if (sub->topic == topic)
            entry_new(server, sub, message);
    }
    return message;
}

/* ---- Entries ---- */

static void release_lease(struct pubsub_server *server, struct ps_entry *entry)
{
    ps_timer_cancel(server, &entry->timer);
    entry->sub->leased_count--;
    if (!entry->stream)
        return;
    entry->stream->messages--;
    entry->stream->bytes -= entry->message->bytes;
    ps_stream_unref(entry->stream);
    entry->stream = NULL;
}

void ps_entry_remove(struct pubsub_server *server, struct ps_entry *entry)
{
    if (entry->state == PS_READY)
        ready_remove(entry);
    else if (entry->state == PS_LEASED)
        release_lease(server, entry);
    ps_timer_cancel(server, &entry->timer);
    table_remove(&entry->sub->entries, entry);
    ps_message_unref(server, entry->message);
    server->messages--;
    free(entry);
}

void ps_entries_clear(struct pubsub_server *server, struct ps_subscription *sub)
{
    for (size_t i = 0; i < sub->entries.bucket_count; i++) {
        while (sub->entries.buckets[i])
            ps_entry_remove(server, sub->entries.buckets[i]);
    }
    free(sub->entries.buckets);
    sub->entries = (struct ps_table){NULL, 0, 0};
}

/* The fault bench may have a message delivered again in spite of its lease, or of its ack (by an entry of its own), or
 * its attempts forgotten, which the service counts as well as it can and no better. */
static void trouble_delivery(struct pubsub_server *server, struct ps_entry *entry)
{
    const Google__Pubsub__V1__PubsubMessage *pb = entry->message->pb;
    const struct fault_event event = {.method = "pubsub.delivery",
                                      .target = slice_str(entry->sub->pb->name),
                                      .body = slice_of(pb->data.data, pb->data.len)};
    struct fault fault;
    if (entry->again || !faults_take(server->faults, FAULT_ON_POINT, &event, &fault))
        return;
    if (fault.kind == FAULT_RESET_ATTEMPTS)
        entry->failures = 0;
    if (fault.kind != FAULT_DUPLICATE)
        return;
    struct ps_entry *twin = entry_new(server, entry->sub, entry->message);
    twin->again = true;
    twin->failures = entry->failures;
    if (fault.delay_ms <= 0)
        return;
    ready_remove(twin);
    twin->state = PS_DELAYED;
    ps_timer_set(server, &twin->timer, clock_mono_ms() + fault.delay_ms);
}

void ps_entry_lease(struct pubsub_server *server, struct ps_entry *entry, int64_t lease_ms, struct ps_stream *stream)
{
    ready_remove(entry);
    entry->state = PS_LEASED;
    entry->delivery++;
    entry->sub->leased_count++;
    entry->stream = stream;
    if (stream) {
        stream->refs++;
        stream->messages++;
        stream->bytes += entry->message->bytes;
    }
    ps_timer_set(server, &entry->timer, clock_mono_ms() + lease_ms);
    trouble_delivery(server, entry);
}

/* ---- Failures ---- */

static int64_t duration_ms(const Google__Protobuf__Duration *d, int64_t fallback_ms)
{
    return d ? d->seconds * 1000 + d->nanos / 1000000 : fallback_ms;
}

/* min, 2 min, 4 min, ... max. */
static int64_t backoff_ms(const struct ps_subscription *sub, int failures)
{
    const Google__Pubsub__V1__RetryPolicy *retry = sub->pb->retry_policy;
    if (!retry)
        return 0;
    int64_t max = duration_ms(retry->maximum_backoff, DEFAULT_MAX_BACKOFF_MS);
    int64_t wait = duration_ms(retry->minimum_backoff, DEFAULT_MIN_BACKOFF_MS);
    for (int i = 1; i < failures && wait < max; i++)
        wait *= 2;
    return wait < max ? wait : max;
}

static void set_attribute(Google__Pubsub__V1__PubsubMessage *pb, const char *key, const char *value)
{
    size_t i = 0;
    while (i < pb->n_attributes && strcmp(pb->attributes[i]->key, key) != 0)
        i++;
    if (i == pb->n_attributes) {
        pb->attributes = xrealloc(pb->attributes, (pb->n_attributes + 1) * sizeof *pb->attributes);
        pb->attributes[i] = xmalloc(sizeof **pb->attributes);
        google__pubsub__v1__pubsub_message__attributes_entry__init(pb->attributes[i]);
        ps_set_string(&pb->attributes[i]->key, key);
        pb->n_attributes++;
    }
    ps_set_string(&pb->attributes[i]->value, value);
}

static void set_origin(Google__Pubsub__V1__PubsubMessage *pb, const struct ps_entry *entry)
{
    struct slice rest = slice_str(entry->sub->pb->name);
    struct buf text = BUF_INIT;
    slice_cut(&rest, '/');
    struct slice project = slice_cut(&rest, '/');
    slice_cut(&rest, '/');
    buf_printf(&text, "%d", entry->failures);
    set_attribute(pb, "CloudPubSubDeadLetterSourceDeliveryCount", buf_cstr(&text));
    set_attribute(pb, "CloudPubSubDeadLetterSourceSubscription", rest.ptr);
    buf_clear(&text);
    buf_append_slice(&text, project);
    set_attribute(pb, "CloudPubSubDeadLetterSourceSubscriptionProject", buf_cstr(&text));
    buf_clear(&text);
    timestamp_format(&text, entry->message->publish_us, 3);
    text.len--; /* the service writes the offset, not Z */
    buf_append_str(&text, "+00:00");
    set_attribute(pb, "CloudPubSubDeadLetterSourceTopicPublishTime", buf_cstr(&text));
    buf_release(&text);
}

/* True when the entry has moved to the dead-letter topic. One that is missing or full forwards nothing, as in the
 * service. */
static bool dead_letter(struct pubsub_server *server, struct ps_entry *entry)
{
    const Google__Pubsub__V1__DeadLetterPolicy *policy = entry->sub->pb->dead_letter_policy;
    int limit = policy && policy->max_delivery_attempts ? policy->max_delivery_attempts : DEFAULT_ATTEMPTS;
    if (!policy || entry->failures < limit)
        return false;
    struct ps_topic *topic = ps_find_topic(server, policy->dead_letter_topic);
    if (!topic || !ps_has_room(server, topic, 1, entry->message->bytes, &(struct error){0}))
        return false;
    Google__Pubsub__V1__PubsubMessage *copy = ps_clone(&entry->message->pb->base);
    struct ps_message *published;
    set_origin(copy, entry);
    entry->sub->counters.dead_lettered++;
    ps_entry_remove(server, entry);
    published = ps_publish(server, topic, copy);
    for (struct ps_subscription *sub = server->subscriptions; sub; sub = sub->next) {
        if (sub->topic == topic)
            ps_dispatch(server, sub);
    }
    ps_message_unref(server, published);
    return true;
}

/* A nack or an expired lease. The caller dispatches the subscription. */
static void fail_delivery(struct pubsub_server *server, struct ps_entry *entry)
{
    release_lease(server, entry);
    entry->failures++;
    int64_t wait = backoff_ms(entry->sub, entry->failures);
    if (wait > 0) {
        entry->state = PS_DELAYED;
        ps_timer_set(server, &entry->timer, clock_mono_ms() + wait);
    } else {
        ready_push(entry);
    }
    dead_letter(server, entry);
}

static void entry_fire(struct pubsub_server *server, struct ps_timer *timer)
{
    struct ps_entry *entry = (struct ps_entry *)(void *)((char *)timer - offsetof(struct ps_entry, timer));
    struct ps_subscription *sub = entry->sub;
    if (entry->state == PS_DELAYED) {
        ready_push(entry);
    } else {
        sub->counters.expired++;
        fail_delivery(server, entry);
    }
    ps_dispatch(server, sub);
}

/* ---- Ack ids: process, entry and delivery in fixed-width hexadecimal ---- */

enum { ACK_ID_LEN = 2 + 8 + 16 + 16 };

void ps_ack_id(const struct pubsub_server *server, const struct ps_entry *entry, char out[PS_ACK_ID_SIZE])
{
    snprintf(out, PS_ACK_ID_SIZE, "st%08x%016llx%016llx", (unsigned)server->nonce, (unsigned long long)entry->serial,
             (unsigned long long)entry->delivery);
}

bool ps_ack_id_well_formed(const char *text)
{
    return strlen(text) == ACK_ID_LEN && strncmp(text, "st", 2) == 0 &&
           strspn(text + 2, "0123456789abcdef") == ACK_ID_LEN - 2;
}

static uint64_t hex(const char *text, size_t digits)
{
    char copy[17];
    memcpy(copy, text, digits);
    copy[digits] = '\0';
    return strtoull(copy, NULL, 16);
}

static struct ps_entry *leased_by(struct pubsub_server *server, struct ps_subscription *sub, const char *ack_id)
{
    if (hex(ack_id + 2, 8) != server->nonce)
        return NULL;
    struct ps_entry *entry = table_find(&sub->entries, hex(ack_id + 10, 16));
    bool current = entry && entry->state == PS_LEASED && entry->delivery == hex(ack_id + 26, 16);
    return current ? entry : NULL;
}

enum ps_ack_result ps_ack(struct pubsub_server *server, struct ps_subscription *sub, const char *ack_id)
{
    if (!ps_ack_id_well_formed(ack_id))
        return PS_ACK_MALFORMED;
    struct ps_entry *entry = leased_by(server, sub, ack_id);
    if (!entry)
        return PS_ACK_STALE;
    sub->counters.acked++;
    ps_entry_remove(server, entry);
    return PS_ACK_OK;
}

enum ps_ack_result ps_modack(struct pubsub_server *server, struct ps_subscription *sub, const char *ack_id,
                             int32_t seconds)
{
    if (!ps_ack_id_well_formed(ack_id))
        return PS_ACK_MALFORMED;
    struct ps_entry *entry = leased_by(server, sub, ack_id);
    if (!entry)
        return PS_ACK_STALE;
    if (seconds > 0) {
        ps_timer_set(server, &entry->timer, clock_mono_ms() + (int64_t)seconds * 1000);
    } else {
        sub->counters.nacked++;
        fail_delivery(server, entry);
    }
    return PS_ACK_OK;
}

bool ps_entry_is_too_old(const struct ps_entry *entry)
{
    const Google__Protobuf__Duration *d = entry->sub->pb->message_retention_duration;
    int64_t retention_ms = duration_ms(d, (int64_t)DEFAULT_RETENTION_S * 1000);
    return clock_wall_us() - entry->message->publish_us > retention_ms * 1000;
}
