/* subscriber.c - hands out what the stream brings, settles what the receiver has finished, and takes itself down in
 * order.
 *
 * Threads: one receives (stream.c), one hands out, one keeps leases (lease.c). The server's limit counts per stream, so
 * after a reopen it may send as much again as is still being worked on: what exceeds the limit waits here with its
 * lease kept, costs no delivery attempt, and is handed out when something is settled. That queue is bounded; what goes
 * beyond is given back at once. Acks and nacks are unary calls, repeated as long as the lease holds (an ack after its
 * end is ignored silently). */
#include <limits.h>
#include <stdlib.h>

#include "base/log.h"
#include "pubsub.pb-c.h"
#include "subscriber_internal.h"

enum {
    MIN_DEADLINE_S = 10,
    MAX_DEADLINE_S = 600,
    DEFAULT_DEADLINE_S = 60,
    QUEUE_SLACK = 16,
    SETTLE_TIMEOUT_MS = 10000,     /* of one try; real time */
    LAST_SETTLE_TIMEOUT_MS = 2000, /* once stopping */
    GIVE_BACK_TIMEOUT_MS = 2000,
};

static const struct log_context log_ctx = {.context = "v2-ingestor:pubsub:subscriber"};

/* ---- What has arrived ---- */

/* Gives the memory back; a lease that was kept may still be part of a call of the keeper. */
static void drop(struct pubsub_subscriber *sub, struct delivery *delivery, bool was_kept)
{
    if (was_kept)
        lease_unref(sub->keeper, &delivery->lease);
    else
        delivery_free(delivery);
}

/* Nacks a list that was never handed out, in as few calls as the limits allow, and frees it. Its leases are kept no
 * more. */
static void give_back(struct pubsub_subscriber *sub, struct delivery *list, bool was_kept)
{
    const char *ids[LEASE_MAX_IDS];
    while (list) {
        struct error err = ERROR_INIT;
        size_t count = 0, bytes = 0;
        struct delivery *rest = list;
        for (; rest && count < LEASE_MAX_IDS && bytes < LEASE_MAX_REQUEST_BYTES / 2; rest = rest->next) {
            bytes += strlen(rest->lease.ack_id);
            ids[count++] = rest->lease.ack_id;
        }
        if (!lease_modify(sub->client, sub->subscription, ids, count, 0, GIVE_BACK_TIMEOUT_MS, PUBSUB_ONE_TRY, NULL,
                          &err))
            log_warn(&log_ctx, LOG_MSG("Messages not given back, they come again when their leases end"),
                     LOG_INT("messages", count), LOG_ERR(&err));
        while (list != rest) {
            struct delivery *next = list->next;
            drop(sub, list, was_kept);
            list = next;
        }
    }
}

/* Cuts the list where the queue's bound is reached; returns what does not fit. */
static struct delivery *cut_excess(struct pubsub_subscriber *sub, struct delivery **list)
{
    pthread_mutex_lock(&sub->mutex);
    int64_t max = sub->options.max_outstanding_messages, max_bytes = sub->options.max_outstanding_bytes;
    int64_t room = max > 0 ? 2 * max + QUEUE_SLACK - sub->shared.queued - sub->shared.outstanding : INT64_MAX;
    int64_t room_bytes = max_bytes > 0 ? 2 * max_bytes - sub->shared.queued_bytes : INT64_MAX;
    pthread_mutex_unlock(&sub->mutex);
    struct delivery **at = list;
    for (; *at && room > 0 && room_bytes > 0; at = &(*at)->next) {
        room--;
        room_bytes -= (int64_t)(*at)->bytes;
    }
    struct delivery *excess = *at;
    *at = NULL;
    return excess;
}

static void keep_leases(struct pubsub_subscriber *sub, struct delivery *list, int64_t received_ms)
{
    struct lease *leases[LEASE_MAX_IDS];
    while (list) {
        size_t count = 0;
        for (; list && count < LEASE_MAX_IDS; list = list->next)
            leases[count++] = &list->lease;
        lease_keeper_add(sub->keeper, leases, count, received_ms, sub->options.stream_ack_deadline_s);
    }
}

void subscriber_accept(struct pubsub_subscriber *sub, struct delivery *list, int64_t received_ms)
{
    struct delivery *excess = cut_excess(sub, &list);
    keep_leases(sub, list, received_ms);
    pthread_mutex_lock(&sub->mutex);
    while (list) {
        struct delivery *delivery = list;
        list = delivery->next;
        delivery->next = NULL;
        *sub->shared.queue_end = delivery;
        sub->shared.queue_end = &delivery->next;
        sub->shared.queued++;
        sub->shared.queued_bytes += (int64_t)delivery->bytes;
    }
    pthread_cond_broadcast(&sub->shared.changed);
    pthread_mutex_unlock(&sub->mutex);
    give_back(sub, excess, /*was_kept*/ false);
}

/* ---- Handing out ---- */

static bool may_hand_out(const struct pubsub_subscriber *sub)
{
    int64_t max = sub->options.max_outstanding_messages;
    return sub->shared.queue && (max <= 0 || sub->shared.outstanding < max);
}

/* The next delivery, or NULL when the subscriber is stopping. */
static struct delivery *await_delivery(struct pubsub_subscriber *sub)
{
    struct delivery *delivery = NULL;
    pthread_mutex_lock(&sub->mutex);
    while (!sub->shared.stopping && !may_hand_out(sub))
        pthread_cond_wait(&sub->shared.changed, &sub->mutex);
    if (!sub->shared.stopping) {
        delivery = sub->shared.queue;
        sub->shared.queue = delivery->next;
        if (!delivery->next)
            sub->shared.queue_end = &sub->shared.queue;
        delivery->next = NULL;
        sub->shared.queued--;
        sub->shared.queued_bytes -= (int64_t)delivery->bytes;
        sub->shared.outstanding++;
    }
    pthread_mutex_unlock(&sub->mutex);
    return delivery;
}

/* Counts a delivery out of what is outstanding. */
static void forget(struct pubsub_subscriber *sub, int64_t *counter)
{
    pthread_mutex_lock(&sub->mutex);
    sub->shared.outstanding--;
    if (counter)
        ++*counter;
    pthread_cond_broadcast(&sub->shared.changed);
    pthread_mutex_unlock(&sub->mutex);
}

static void *handout_main(void *user)
{
    struct pubsub_subscriber *sub = user;
    struct delivery *delivery;
    int64_t expires_ms;
    while ((delivery = await_delivery(sub))) {
        if (cancel_is_set(delivery->open.lease)) { /* lost while it waited: it comes again */
            lease_keeper_remove(sub->keeper, &delivery->lease, &expires_ms);
            lease_unref(sub->keeper, &delivery->lease);
            forget(sub, NULL);
            continue;
        }
        pthread_mutex_lock(&sub->mutex);
        sub->shared.stats.delivered++;
        pthread_mutex_unlock(&sub->mutex);
        sub->options.on_delivery(sub->options.user, &delivery->open);
    }
    return NULL;
}

/* ---- Settling ---- */

static bool acknowledge(struct pubsub_subscriber *sub, const struct lease *lease, int64_t timeout_ms, int64_t until_ms,
                        struct cancel *cancel, struct error *err)
{
    Google__Pubsub__V1__AcknowledgeRequest request;
    google__pubsub__v1__acknowledge_request__init(&request);
    char *id;
    memcpy(&id, &lease->ack_id, sizeof id);
    request.subscription = sub->subscription;
    request.ack_ids = &id;
    request.n_ack_ids = 1;
    struct pubsub_call call = {.method = "/google.pubsub.v1.Subscriber/Acknowledge",
                               .routing_key = "subscription",
                               .resource = sub->subscription,
                               .request = &request.base,
                               .reply_type = &google__protobuf__empty__descriptor,
                               .timeout_ms = timeout_ms,
                               .until_ms = until_ms,
                               .cancel = cancel};
    return pubsub_call(sub->client, &call, NULL, err);
}

static bool settle_call(struct pubsub_subscriber *sub, const struct lease *lease, enum pubsub_settlement how,
                        int64_t timeout_ms, int64_t until_ms, struct cancel *cancel, struct error *err)
{
    if (how == PUBSUB_ACK)
        return acknowledge(sub, lease, timeout_ms, until_ms, cancel, err);
    return lease_modify(sub->client, sub->subscription, &lease->ack_id, 1, 0, timeout_ms, until_ms, cancel, err);
}

/* Tries as long as the lease holds; a stop ends that patience and leaves one short last try. */
static bool settle_held(struct pubsub_subscriber *sub, const struct lease *lease, enum pubsub_settlement how,
                        int64_t expires_ms, struct error *err)
{
    struct error why = ERROR_INIT;
    bool ok = settle_call(sub, lease, how, SETTLE_TIMEOUT_MS, expires_ms, sub->stop, &why);
    if (!ok && why.class == ERROR_CANCELLED)
        ok = settle_call(sub, lease, how, LAST_SETTLE_TIMEOUT_MS, PUBSUB_ONE_TRY, NULL, &why);
    if (!ok && err)
        *err = why;
    return ok;
}

/* An ack whose lease has ended is still worth one try, but nobody can promise that it counted. */
static bool settle_lost(struct pubsub_subscriber *sub, const struct lease *lease, enum pubsub_settlement how,
                        struct error *err)
{
    if (how == PUBSUB_NACK)
        return true;
    (void)!settle_call(sub, lease, how, LAST_SETTLE_TIMEOUT_MS, PUBSUB_ONE_TRY, NULL, NULL);
    error_set(err, ERROR_RETRY, "lease_lost", "could not ack message \"%s\" for certain: its lease had ended",
              lease->message_id);
    if (err)
        err->effect = EFFECT_MAYBE;
    return false;
}

bool pubsub_settle(struct pubsub_subscriber *sub, struct pubsub_delivery *open, enum pubsub_settlement how,
                   struct error *err)
{
    struct delivery *delivery = delivery_of(open);
    struct lease *lease = &delivery->lease;
    int64_t expires_ms = 0;
    bool held = lease_keeper_remove(sub->keeper, lease, &expires_ms);
    bool ok = held ? settle_held(sub, lease, how, expires_ms, err) : settle_lost(sub, lease, how, err);
    lease_unref(sub->keeper, lease);
    struct pubsub_stats *stats = &sub->shared.stats;
    forget(sub, !ok ? NULL : how == PUBSUB_ACK ? &stats->acked : &stats->nacked);
    return ok;
}

void pubsub_give_back(struct pubsub_subscriber *sub, struct pubsub_delivery *const *deliveries, size_t count)
{
    struct delivery *list = NULL;
    int64_t expires_ms, held = 0;
    for (size_t i = count; i > 0; i--) {
        struct delivery *delivery = delivery_of(deliveries[i - 1]);
        held += lease_keeper_remove(sub->keeper, &delivery->lease, &expires_ms);
        delivery->next = list;
        list = delivery;
    }
    give_back(sub, list, /*was_kept*/ true);
    pthread_mutex_lock(&sub->mutex);
    sub->shared.outstanding -= (int64_t)count;
    sub->shared.stats.nacked += held;
    pthread_cond_broadcast(&sub->shared.changed);
    pthread_mutex_unlock(&sub->mutex);
}

void pubsub_subscriber_set_max(struct pubsub_subscriber *sub, int64_t max_outstanding_messages)
{
    pthread_mutex_lock(&sub->mutex);
    sub->options.max_outstanding_messages = max_outstanding_messages;
    sub->shared.resized = true;
    if (sub->shared.stream)
        grpc_stream_cancel(sub->shared.stream);
    pthread_cond_broadcast(&sub->shared.changed);
    pthread_mutex_unlock(&sub->mutex);
}

/* ---- Life ---- */

static bool check_options(const struct pubsub_subscriber_options *o, struct error *err)
{
    const int values[] = {o->stream_ack_deadline_s, o->extension_s};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        if (values[i] != 0 && (values[i] < MIN_DEADLINE_S || values[i] > MAX_DEADLINE_S))
            return error_set(err, ERROR_PERMANENT, "pubsub_options",
                             "cannot subscribe to \"%s\" with a deadline of %d s: allowed are %d to %d",
                             o->subscription, values[i], MIN_DEADLINE_S, MAX_DEADLINE_S);
    }
    return true;
}

static void free_parts(struct pubsub_subscriber *sub)
{
    lease_keeper_free(sub->keeper);
    grpc_link_free(sub->stream_link);
    cancel_free(sub->stop);
    pthread_cond_destroy(&sub->shared.changed);
    pthread_mutex_destroy(&sub->mutex);
    free(sub->subscription);
    free(sub);
}

struct pubsub_subscriber *pubsub_subscriber_start(struct pubsub_client *client,
                                                  const struct pubsub_subscriber_options *options, struct error *err)
{
    if (!check_options(options, err))
        return NULL;
    struct grpc_link *link = grpc_link_new(client->target, client->plaintext, client->creds, err);
    if (!link)
        return NULL;
    struct pubsub_subscriber *sub = xcalloc(1, sizeof *sub);
    sub->client = client;
    sub->options = *options;
    if (!options->stream_ack_deadline_s)
        sub->options.stream_ack_deadline_s = DEFAULT_DEADLINE_S;
    if (!options->extension_s)
        sub->options.extension_s = DEFAULT_DEADLINE_S;
    sub->subscription = pubsub_subscription_name(client, options->subscription);
    uuid_generate(sub->client_id);
    sub->stream_link = link;
    sub->stop = cancel_new(NULL);
    atomic_init(&sub->unanswered_ms, 0);
    pthread_mutex_init(&sub->mutex, NULL);
    clock_cond_init(&sub->shared.changed);
    sub->shared.queue_end = &sub->shared.queue;
    sub->keeper = lease_keeper_new(client, sub->subscription, sub->options.extension_s);
    if (pthread_create(&sub->handout_thread, NULL, handout_main, sub) != 0 ||
        pthread_create(&sub->stream_thread, NULL, subscriber_stream_main, sub) != 0)
        BUG("no threads for a subscriber");
    return sub;
}

/* What waits for handing out goes back at once, so that another worker gets it. */
static void give_back_queue(struct pubsub_subscriber *sub)
{
    int64_t expires_ms;
    pthread_mutex_lock(&sub->mutex);
    struct delivery *list = sub->shared.queue;
    sub->shared.queue = NULL;
    sub->shared.queue_end = &sub->shared.queue;
    sub->shared.queued = sub->shared.queued_bytes = 0;
    pthread_mutex_unlock(&sub->mutex);
    for (struct delivery *delivery = list; delivery; delivery = delivery->next)
        lease_keeper_remove(sub->keeper, &delivery->lease, &expires_ms);
    give_back(sub, list, /*was_kept*/ true);
}

void pubsub_subscriber_stop(struct pubsub_subscriber *sub)
{
    pthread_mutex_lock(&sub->mutex);
    bool first = !sub->shared.stopping;
    sub->shared.stopping = true;
    if (sub->shared.stream)
        grpc_stream_cancel(sub->shared.stream);
    pthread_cond_broadcast(&sub->shared.changed);
    pthread_mutex_unlock(&sub->mutex);
    if (!first)
        return;
    cancel_set(sub->stop, "shutdown");
    pthread_join(sub->stream_thread, NULL);
    pthread_join(sub->handout_thread, NULL);
    give_back_queue(sub);
}

void pubsub_subscriber_free(struct pubsub_subscriber *sub)
{
    if (!sub)
        return;
    pubsub_subscriber_stop(sub);
    pthread_mutex_lock(&sub->mutex);
    int64_t outstanding = sub->shared.outstanding;
    pthread_mutex_unlock(&sub->mutex);
    BUG_ON(outstanding != 0);
    free_parts(sub);
}

bool pubsub_subscriber_failed(struct pubsub_subscriber *sub, struct error *err)
{
    pthread_mutex_lock(&sub->mutex);
    bool failed = sub->shared.failed;
    if (failed && err)
        *err = sub->shared.failure;
    pthread_mutex_unlock(&sub->mutex);
    return failed;
}

bool pubsub_subscriber_is_open(struct pubsub_subscriber *sub)
{
    pthread_mutex_lock(&sub->mutex);
    bool open = sub->shared.confirmed && !sub->shared.failed && !sub->shared.stopping;
    pthread_mutex_unlock(&sub->mutex);
    return open;
}

int64_t pubsub_subscriber_idle_ms(struct pubsub_subscriber *sub)
{
    pthread_mutex_lock(&sub->mutex);
    bool idle = sub->shared.confirmed && sub->shared.queued == 0;
    int64_t idle_ms = idle ? clock_mono_ms() - sub->shared.activity_ms : 0;
    pthread_mutex_unlock(&sub->mutex);
    return idle_ms;
}

void pubsub_subscriber_stats(struct pubsub_subscriber *sub, struct pubsub_stats *ret)
{
    struct lease_counts leases = lease_keeper_counts(sub->keeper);
    pthread_mutex_lock(&sub->mutex);
    *ret = sub->shared.stats;
    pthread_mutex_unlock(&sub->mutex);
    ret->lost_leases = leases.lost;
    ret->extensions = leases.extensions;
}
