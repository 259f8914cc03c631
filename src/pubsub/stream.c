/* stream.c - the stream of a subscriber: opened, pinged, watched and reopened for ever, until it fails for good.
 *
 * Streams live for minutes to an hour and always end with an error; that is their design (facts on Pub/Sub 2). Two
 * threads work on one: this file's main receives, and a second one sends the first request and an empty one every 30 s,
 * beginning at once, so that a stream is known to work before its first message. With protocol_version 1 the server
 * answers each ping. When nothing is heard for 15 s after one, a firewall has dropped the connection or the stream is a
 * zombie: it is torn down and opened anew. */
#include <limits.h>
#include <stdlib.h>

#include "base/log.h"
#include "net/backoff.h"
#include "pubsub.pb-c.h"
#include "subscriber_internal.h"

enum {
    PING_MS = 30000,
    PING_REAL_FLOOR_MS = 20,
    SILENCE_MS = 15000,
    SILENCE_REAL_FLOOR_MS = 2000,
    REOPEN_REAL_FLOOR_MS = 10,
    PROTOCOL_VERSION = 1,
    STATUS_UNAUTHENTICATED = 16,
};
static const struct backoff_policy reopen_policy = {100, 10000, 25, INT_MAX};
static const struct log_context log_ctx = {.context = "v2-ingestor:pubsub:stream"};

typedef Google__Pubsub__V1__StreamingPullRequest wire_request;

/* ---- The sending thread of one stream ---- */

static bool send_first(struct pubsub_subscriber *sub, struct grpc_stream *stream)
{
    wire_request request;
    pthread_mutex_lock(&sub->mutex);
    int64_t max_messages = sub->options.max_outstanding_messages;
    pthread_mutex_unlock(&sub->mutex);
    google__pubsub__v1__streaming_pull_request__init(&request);
    request.subscription = sub->subscription;
    request.stream_ack_deadline_seconds = sub->options.stream_ack_deadline_s;
    request.client_id = sub->client_id;
    request.max_outstanding_messages = max_messages;
    request.max_outstanding_bytes = sub->options.max_outstanding_bytes;
    request.protocol_version = PROTOCOL_VERSION;
    return grpc_stream_send_message(stream, &request.base, NULL);
}

static bool send_ping(struct pubsub_subscriber *sub, struct grpc_stream *stream)
{
    wire_request empty;
    long long none = 0;
    google__pubsub__v1__streaming_pull_request__init(&empty);
    atomic_compare_exchange_strong(&sub->unanswered_ms, &none, clock_mono_ms());
    return grpc_stream_send_message(stream, &empty.base, NULL);
}

/* False when the stream is over. */
static bool await_next_ping(struct pubsub_subscriber *sub)
{
    int64_t at_ms = clock_mono_ms() + pubsub_timer_ms(PING_MS, PING_REAL_FLOOR_MS);
    pthread_mutex_lock(&sub->mutex);
    while (!sub->shared.stream_over && clock_mono_ms() < at_ms)
        clock_cond_wait(&sub->shared.changed, &sub->mutex, at_ms);
    bool over = sub->shared.stream_over;
    pthread_mutex_unlock(&sub->mutex);
    return !over;
}

/* Why a send failed is what the receiving thread reads as the end of the stream. */
static void *sender_main(void *user)
{
    struct pubsub_subscriber *sub = user;
    pthread_mutex_lock(&sub->mutex);
    struct grpc_stream *stream = sub->shared.stream;
    pthread_mutex_unlock(&sub->mutex);
    bool alive = send_first(sub, stream);
    while (alive)
        alive = send_ping(sub, stream) && await_next_ping(sub);
    return NULL;
}

/* ---- The receiving thread ---- */

static void note_heard(struct pubsub_subscriber *sub, bool has_messages)
{
    int64_t now_ms = clock_mono_ms();
    atomic_store(&sub->unanswered_ms, 0);
    pthread_mutex_lock(&sub->mutex);
    if (has_messages || !sub->shared.confirmed)
        sub->shared.activity_ms = now_ms;
    sub->shared.confirmed = true;
    pthread_mutex_unlock(&sub->mutex);
}

/* Milliseconds until silence is a fault; <= 0 when it is one. */
static int64_t patience_ms(struct pubsub_subscriber *sub)
{
    int64_t silence_ms = pubsub_timer_ms(SILENCE_MS, SILENCE_REAL_FLOOR_MS);
    int64_t since_ms = atomic_load(&sub->unanswered_ms);
    return since_ms ? since_ms + silence_ms - clock_mono_ms() : silence_ms / 2;
}

static bool take_message(struct pubsub_subscriber *sub, struct slice message, struct error *err)
{
    struct delivery *list = NULL;
    size_t count = 0;
    int64_t received_ms = clock_mono_ms();
    if (!delivery_parse(message, sub->options.lane, &list, &count, err))
        return false;
    note_heard(sub, count > 0);
    subscriber_accept(sub, list, received_ms);
    return true;
}

/* Receives until the stream ends or is given up; err says why. True when anything was heard on it. */
static bool receive_all(struct pubsub_subscriber *sub, struct grpc_stream *stream, struct error *err)
{
    struct buf message = BUF_INIT;
    bool heard = false, alive = true;
    while (alive) {
        int64_t patience = patience_ms(sub);
        if (patience <= 0) {
            error_set(err, ERROR_RETRY, "pubsub_silent", "could not hear from the stream of \"%s\" after a ping",
                      sub->subscription);
            break;
        }
        enum grpc_recv got = grpc_stream_recv(stream, clock_real_ms(patience), &message, NULL, err);
        if (got == GRPC_RECV_MESSAGE) {
            alive = take_message(sub, buf_slice(&message), err);
            heard = heard || alive;
        } else {
            alive = got != GRPC_RECV_END;
        }
    }
    buf_release(&message);
    return heard;
}

/* Puts the stream where stop can cancel it; a stop that came first cancels it here. */
static void announce(struct pubsub_subscriber *sub, struct grpc_stream *stream)
{
    pthread_mutex_lock(&sub->mutex);
    sub->shared.stream = stream;
    sub->shared.stream_over = false;
    if (sub->shared.stopping)
        grpc_stream_cancel(stream);
    pthread_mutex_unlock(&sub->mutex);
}

static void withdraw(struct pubsub_subscriber *sub, struct grpc_stream *stream, pthread_t sender)
{
    grpc_stream_cancel(stream);
    pthread_mutex_lock(&sub->mutex);
    sub->shared.stream_over = true;
    sub->shared.confirmed = false;
    pthread_cond_broadcast(&sub->shared.changed);
    pthread_mutex_unlock(&sub->mutex);
    pthread_join(sender, NULL);
    pthread_mutex_lock(&sub->mutex);
    sub->shared.stream = NULL;
    pthread_mutex_unlock(&sub->mutex);
    grpc_stream_free(stream);
}

/* The open itself cannot be cancelled, so a token that must be fetched first is fetched here, where stop can interrupt
 * it. */
static bool warm_token(struct pubsub_subscriber *sub, struct error *err)
{
    struct secret *token = NULL;
    if (sub->client->plaintext)
        return true;
    if (!google_credentials_token(sub->client->creds, sub->stop, &token, err))
        return false;
    secret_unref(token);
    return true;
}

static bool run_stream(struct pubsub_subscriber *sub, struct error *err)
{
    pthread_t sender;
    char *routing = pubsub_routing("subscription", sub->subscription);
    struct grpc_stream *stream =
        warm_token(sub, err)
            ? grpc_stream_open(sub->stream_link, "/google.pubsub.v1.Subscriber/StreamingPull", routing, err)
            : NULL;
    free(routing);
    if (!stream)
        return false;
    atomic_store(&sub->unanswered_ms, 0);
    announce(sub, stream);
    if (pthread_create(&sender, NULL, sender_main, sub) != 0)
        BUG("no thread for a stream");
    bool heard = receive_all(sub, stream, err);
    withdraw(sub, stream, sender);
    return heard;
}

/* A refused token is replaced by a fresh one at the next open; two refusals in a row are final. */
static bool is_final(const struct error *err, int refusals)
{
    if (err->status == STATUS_UNAUTHENTICATED)
        return refusals > 1;
    return err->class == ERROR_PERMANENT;
}

static void fail(struct pubsub_subscriber *sub, const struct error *err)
{
    pthread_mutex_lock(&sub->mutex);
    sub->shared.failed = true;
    sub->shared.failure = *err;
    pthread_mutex_unlock(&sub->mutex);
}

static void tell_end(const struct pubsub_subscriber *sub, bool heard, int64_t wait_ms, const struct error *err)
{
    struct error ended = *err;
    if (err->class == ERROR_NONE)
        error_set(&ended, ERROR_RETRY, "ok", "the server closed the stream");
    enum log_level level = heard ? LOG_LEVEL_INFO : LOG_LEVEL_WARN;
    log_at(level, &log_ctx, LOG_MSG("Stream ended, opening another one"), LOG_STR("subscription", sub->subscription),
           LOG_INT("waitMs", wait_ms), LOG_ERR(&ended));
}

/* True when that is why the last stream ended; the next one asks for the new number. */
static bool take_resized(struct pubsub_subscriber *sub)
{
    pthread_mutex_lock(&sub->mutex);
    bool resized = sub->shared.resized;
    sub->shared.resized = false;
    pthread_mutex_unlock(&sub->mutex);
    return resized;
}

/* A stop cancels the stream before it sets what interrupts the waits. */
static bool is_over(struct pubsub_subscriber *sub)
{
    pthread_mutex_lock(&sub->mutex);
    bool stopping = sub->shared.stopping;
    pthread_mutex_unlock(&sub->mutex);
    return stopping || cancel_is_set(sub->stop);
}

void *subscriber_stream_main(void *user)
{
    struct pubsub_subscriber *sub = user;
    struct backoff backoff;
    int refusals = 0;
    backoff_init(&backoff, reopen_policy);
    while (!cancel_is_set(sub->stop)) {
        struct error err = ERROR_INIT;
        bool heard = run_stream(sub, &err);
        if (is_over(sub))
            break;
        if (take_resized(sub) && err.class == ERROR_CANCELLED)
            continue;
        refusals = err.status == STATUS_UNAUTHENTICATED ? (heard ? 1 : refusals + 1) : 0;
        if (is_final(&err, refusals)) {
            fail(sub, &err);
            break;
        }
        if (heard)
            backoff_reset(&backoff);
        int64_t wait_ms = pubsub_timer_ms(backoff_next_ms(&backoff, err.wait_ms), REOPEN_REAL_FLOOR_MS);
        tell_end(sub, heard, wait_ms, &err);
        if (!cancel_sleep_ms(sub->stop, wait_ms))
            break;
        pthread_mutex_lock(&sub->mutex);
        sub->shared.stats.reopened++;
        pthread_mutex_unlock(&sub->mutex);
    }
    return NULL;
}
