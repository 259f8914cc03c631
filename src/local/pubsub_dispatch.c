/* pubsub_dispatch.c - who gets the next message.
 *
 * Waiting pulls come first: each asked for exactly what it can take. Then the streams in turn, one message each, so
 * that two streams of equal limits get equal shares; within a stream's flow control limits, and never more than
 * PS_STREAM_BUFFER_BYTES beyond what flow control has taken: what sits in a buffer cannot go to anybody else. What one
 * dispatch collects for a stream goes out in few responses of less than 4 MiB (unless one message is larger). */
#include <stdlib.h>

#include "base/clock.h"
#include "pubsub_internal.h"

enum { DEFAULT_ACK_DEADLINE_S = 10, RESPONSE_OVERHEAD_BYTES = 96 }; /* ack id and tags of one message */

/* ---- Responses ---- */

struct received { /* ReceivedMessages of a response and the memory behind them */
    Google__Pubsub__V1__ReceivedMessage *rows;
    Google__Pubsub__V1__ReceivedMessage **list;
    char (*ack_ids)[PS_ACK_ID_SIZE];
};

static void received_init(struct received *r, const struct pubsub_server *server, struct ps_entry *const *entries,
                          size_t count)
{
    r->rows = xcalloc(count, sizeof *r->rows);
    r->list = xcalloc(count, sizeof(Google__Pubsub__V1__ReceivedMessage *));
    r->ack_ids = xcalloc(count, sizeof *r->ack_ids);
    for (size_t i = 0; i < count; i++) {
        google__pubsub__v1__received_message__init(&r->rows[i]);
        ps_ack_id(server, entries[i], r->ack_ids[i]);
        r->rows[i].ack_id = r->ack_ids[i];
        r->rows[i].message = entries[i]->message->pb;
        r->rows[i].delivery_attempt = entries[i]->sub->pb->dead_letter_policy ? entries[i]->failures + 1 : 0;
        r->list[i] = &r->rows[i];
    }
}

static void received_release(struct received *r)
{
    free(r->rows);
    free(r->list);
    free(r->ack_ids);
}

/* ---- Streams ---- */

void ps_stream_unref(struct ps_stream *stream)
{
    if (--stream->refs > 0)
        return;
    free(stream->batch);
    free(stream);
}

static void flush(struct pubsub_server *server, struct ps_stream *stream)
{
    if (stream->batch_count == 0)
        return;
    Google__Pubsub__V1__StreamingPullResponse response;
    Google__Pubsub__V1__StreamingPullResponse__SubscriptionProperties properties;
    struct received received;
    google__pubsub__v1__streaming_pull_response__init(&response);
    google__pubsub__v1__streaming_pull_response__subscription_properties__init(&properties);
    received_init(&received, server, stream->batch, stream->batch_count);
    response.subscription_properties = &properties;
    response.n_received_messages = stream->batch_count;
    response.received_messages = received.list;
    rpc_call_send(stream->call, &response.base); /* to a call that just ended: the leases run out, as everywhere */
    received_release(&received);
    stream->batch_count = 0;
    stream->batch_bytes = 0;
    stream->active_ms = clock_mono_ms();
}

static void batch_add(struct pubsub_server *server, struct ps_stream *stream, struct ps_entry *entry)
{
    int64_t bytes = entry->message->bytes + RESPONSE_OVERHEAD_BYTES;
    if (stream->batch_bytes + bytes > PS_MAX_RESPONSE_BYTES)
        flush(server, stream);
    if (stream->batch_count == stream->batch_cap) {
        stream->batch_cap = stream->batch_cap ? stream->batch_cap * 2 : 16;
        stream->batch = xrealloc(stream->batch, stream->batch_cap * sizeof(struct ps_entry *));
    }
    stream->batch[stream->batch_count++] = entry;
    stream->batch_bytes += bytes;
    stream->room_bytes -= bytes;
}

static bool can_take(const struct ps_stream *stream)
{
    return stream->room_bytes > 0 && (stream->max_messages <= 0 || stream->messages < stream->max_messages) &&
           (stream->max_bytes <= 0 || stream->bytes < stream->max_bytes);
}

void ps_stream_link(struct ps_subscription *sub, struct ps_stream *stream)
{
    stream->next = NULL;
    stream->prev = sub->streams_tail;
    *(sub->streams_tail ? &sub->streams_tail->next : &sub->streams) = stream;
    sub->streams_tail = stream;
    sub->stream_count++;
}

void ps_stream_unlink(struct ps_subscription *sub, struct ps_stream *stream)
{
    *(stream->prev ? &stream->prev->next : &sub->streams) = stream->next;
    *(stream->next ? &stream->next->prev : &sub->streams_tail) = stream->prev;
    stream->prev = stream->next = NULL;
    sub->stream_count--;
}

/* The first stream that can take a message; it goes to the end of the line. */
static struct ps_stream *take_turn(struct ps_subscription *sub)
{
    for (struct ps_stream *stream = sub->streams; stream; stream = stream->next) {
        if (can_take(stream)) {
            ps_stream_unlink(sub, stream);
            ps_stream_link(sub, stream);
            return stream;
        }
    }
    return NULL;
}

static void drop_old(struct pubsub_server *server, struct ps_subscription *sub)
{
    while (sub->ready_head && ps_entry_is_too_old(sub->ready_head))
        ps_entry_remove(server, sub->ready_head);
}

static void serve_streams(struct pubsub_server *server, struct ps_subscription *sub)
{
    for (struct ps_stream *stream = sub->streams; stream; stream = stream->next)
        stream->room_bytes = PS_STREAM_BUFFER_BYTES - (int64_t)rpc_call_queued_bytes(stream->call);
    for (;;) {
        drop_old(server, sub);
        struct ps_entry *entry = sub->ready_head;
        struct ps_stream *stream = entry ? take_turn(sub) : NULL;
        if (!stream)
            break;
        ps_entry_lease(server, entry, stream->ack_deadline_ms, stream);
        batch_add(server, stream, entry);
    }
    for (struct ps_stream *stream = sub->streams; stream; stream = stream->next)
        flush(server, stream);
}

/* ---- Pulls ---- */

bool ps_pull_now(struct pubsub_server *server, struct ps_subscription *sub, struct rpc_call *call, int max_messages)
{
    struct ps_entry *entries[PS_MAX_PULL];
    size_t count = 0;
    int64_t bytes = 0;
    int seconds = sub->pb->ack_deadline_seconds ? sub->pb->ack_deadline_seconds : DEFAULT_ACK_DEADLINE_S;
    for (;;) {
        drop_old(server, sub);
        struct ps_entry *entry = sub->ready_head;
        if (!entry || count == (size_t)max_messages || count == PS_MAX_PULL)
            break;
        bytes += entry->message->bytes + RESPONSE_OVERHEAD_BYTES;
        if (count > 0 && bytes > PS_MAX_RESPONSE_BYTES)
            break;
        ps_entry_lease(server, entry, (int64_t)seconds * 1000, NULL);
        entries[count++] = entry;
    }
    if (count == 0)
        return false;
    Google__Pubsub__V1__PullResponse response;
    struct received received;
    google__pubsub__v1__pull_response__init(&response);
    received_init(&received, server, entries, count);
    response.n_received_messages = count;
    response.received_messages = received.list;
    rpc_call_reply(call, &response.base);
    received_release(&received);
    return true;
}

void ps_pull_free(struct pubsub_server *server, struct ps_pull *pull)
{
    struct ps_subscription *sub = pull->sub;
    *(pull->prev ? &pull->prev->next : &sub->pulls) = pull->next;
    *(pull->next ? &pull->next->prev : &sub->pulls_tail) = pull->prev;
    ps_timer_cancel(server, &pull->timer);
    rpc_call_set_user(pull->call, NULL);
    rpc_call_unref(pull->call);
    free(pull);
}

void ps_dispatch(struct pubsub_server *server, struct ps_subscription *sub)
{
    while (sub->pulls && ps_pull_now(server, sub, sub->pulls->call, sub->pulls->max_messages))
        ps_pull_free(server, sub->pulls);
    serve_streams(server, sub);
}
