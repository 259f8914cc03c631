/* lease.c - the lease keeper: extends what is held with more than half of the extension left, and says when a lease is
 * lost.
 *
 * One thread, which depends on no run and holds no lock while it waits for the network. Leases are extended by unary
 * calls in batches within the service's limits (facts on Pub/Sub 3, 8). The service answers OK for an expired id too,
 * so a loss is seen by time alone: a lease ends `extension` after the extending request was *sent*, and an answer that
 * comes after the old end proves nothing. The same check finds leases that ran out while the process was stopped. A
 * failed call is repeated, soon, while time remains. */
#include "lease.h"

#include <stdlib.h>

#include "base/log.h"
#include "pubsub.pb-c.h"

enum {
    CALL_MIN_TIMEOUT_MS = 1000, /* real time */
    CALL_MAX_TIMEOUT_MS = 10000,
    RETRY_FIRST_MS = 100,
    RETRY_MAX_MS = 5000,
    RETRY_REAL_FLOOR_MS = 5,
    IDLE_WAIT_MS = 3600 * 1000,
    REQUEST_OVERHEAD_BYTES = 1024, /* subscription name, deadline, tags */
    ID_OVERHEAD_BYTES = 4,         /* tag and length */
};

static const struct log_context log_ctx = {.context = "v2-ingestor:pubsub:lease"};

struct batch {
    size_t count;
    size_t bytes;
    int64_t first_expiry_ms;
    struct lease *leases[LEASE_MAX_IDS]; /* a reference each */
    const char *ids[LEASE_MAX_IDS];
};

struct lease_keeper {
    struct pubsub_client *client;
    char *subscription;
    int64_t extension_ms;
    struct cancel *stop;
    pthread_t thread;
    struct batch batch; /* the keeper thread's */
    pthread_mutex_t mutex;
    struct { /* guarded by mutex */
        pthread_cond_t changed;
        bool stopping;
        struct lease *first;
        struct lease_counts counts;
    } shared;
};

bool lease_modify(struct pubsub_client *client, const char *subscription, const char *const *ack_ids, size_t count,
                  int seconds, int64_t timeout_ms, int64_t until_ms, struct cancel *cancel, struct error *err)
{
    Google__Pubsub__V1__ModifyAckDeadlineRequest request;
    google__pubsub__v1__modify_ack_deadline_request__init(&request);
    memcpy(&request.subscription, &subscription, sizeof subscription); /* borrowed; packing only reads */
    memcpy(&request.ack_ids, &ack_ids, sizeof ack_ids);
    request.n_ack_ids = count;
    request.ack_deadline_seconds = seconds;
    struct pubsub_call call = {.method = "/google.pubsub.v1.Subscriber/ModifyAckDeadline",
                               .routing_key = "subscription",
                               .resource = subscription,
                               .request = &request.base,
                               .reply_type = &google__protobuf__empty__descriptor,
                               .timeout_ms = timeout_ms,
                               .until_ms = until_ms,
                               .cancel = cancel};
    return pubsub_call(client, &call, NULL, err);
}

/* ---- The list; all with the lock held ---- */

static void link_lease(struct lease_keeper *keeper, struct lease *lease)
{
    lease->kept.prev = NULL;
    lease->kept.next = keeper->shared.first;
    if (keeper->shared.first)
        keeper->shared.first->kept.prev = lease;
    keeper->shared.first = lease;
    lease->kept.tracked = true;
    lease->kept.refs++;
}

/* The list's reference passes to the caller. */
static void unlink_lease(struct lease_keeper *keeper, struct lease *lease)
{
    if (lease->kept.prev)
        lease->kept.prev->kept.next = lease->kept.next;
    else
        keeper->shared.first = lease->kept.next;
    if (lease->kept.next)
        lease->kept.next->kept.prev = lease->kept.prev;
    lease->kept.tracked = false;
}

static void unref_locked(struct lease *lease)
{
    BUG_ON(lease->kept.refs <= 0);
    if (--lease->kept.refs == 0)
        lease->release(lease);
}

/* ---- The keeper's thread; called with the lock held, which is given up around calls ---- */

/* Takes out one lease that has ended and tells its holder; false when there is none. */
static bool drop_lost(struct lease_keeper *keeper)
{
    int64_t now_ms = clock_mono_ms();
    struct lease *lease = keeper->shared.first;
    while (lease && lease->kept.expires_ms > now_ms)
        lease = lease->kept.next;
    if (!lease)
        return false;
    unlink_lease(keeper, lease);
    lease->kept.lost = true;
    keeper->shared.counts.lost++;
    pthread_mutex_unlock(&keeper->mutex);
    log_warn(&log_ctx, LOG_MSG("Lease lost, the message will be delivered again"),
             LOG_STR("messageId", lease->message_id), LOG_STR("subscription", keeper->subscription));
    cancel_set(lease->cancel, "lease lost");
    pthread_mutex_lock(&keeper->mutex);
    unref_locked(lease);
    return true;
}

static void collect_due(struct lease_keeper *keeper)
{
    struct batch *batch = &keeper->batch;
    /* What is due soon goes with what is due now: fewer calls, and leases of one arrival stay together. */
    int64_t now_ms = clock_mono_ms(), soon_ms = now_ms + keeper->extension_ms / 20;
    bool any_due = false;
    batch->count = 0;
    batch->bytes = REQUEST_OVERHEAD_BYTES;
    batch->first_expiry_ms = INT64_MAX;
    for (struct lease *lease = keeper->shared.first; lease && !any_due; lease = lease->kept.next)
        any_due = lease->kept.due_ms <= now_ms;
    for (struct lease *lease = keeper->shared.first; any_due && lease; lease = lease->kept.next) {
        size_t bytes = strlen(lease->ack_id) + ID_OVERHEAD_BYTES;
        if (lease->kept.due_ms > soon_ms)
            continue;
        if (batch->count == LEASE_MAX_IDS || batch->bytes + bytes > LEASE_MAX_REQUEST_BYTES)
            break;
        lease->kept.refs++;
        batch->ids[batch->count] = lease->ack_id;
        batch->leases[batch->count++] = lease;
        batch->bytes += bytes;
        if (lease->kept.expires_ms < batch->first_expiry_ms)
            batch->first_expiry_ms = lease->kept.expires_ms;
    }
}

static int64_t retry_ms(int failures)
{
    int64_t ms = RETRY_FIRST_MS;
    for (int i = 1; i < failures && ms < RETRY_MAX_MS; i++)
        ms *= 2;
    return pubsub_timer_ms(ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS, RETRY_REAL_FLOOR_MS);
}

static void settle_batch(struct lease_keeper *keeper, bool ok, int64_t sent_ms)
{
    int64_t now_ms = clock_mono_ms();
    for (size_t i = 0; i < keeper->batch.count; i++) {
        struct lease *lease = keeper->batch.leases[i];
        if (!ok) {
            lease->kept.failures++;
            lease->kept.due_ms = now_ms + retry_ms(lease->kept.failures);
        } else if (now_ms < lease->kept.expires_ms) {
            lease->kept.failures = 0;
            lease->kept.expires_ms = sent_ms + keeper->extension_ms;
            lease->kept.due_ms = sent_ms + keeper->extension_ms * 2 / 5;
            keeper->shared.counts.extensions++;
        }
        unref_locked(lease);
    }
}

static void extend_batch(struct lease_keeper *keeper)
{
    struct error err = ERROR_INIT;
    struct batch *batch = &keeper->batch;
    int64_t sent_ms = clock_mono_ms();
    int64_t timeout_ms = clock_real_ms(batch->first_expiry_ms - sent_ms);
    timeout_ms = timeout_ms < CALL_MIN_TIMEOUT_MS ? CALL_MIN_TIMEOUT_MS : timeout_ms;
    timeout_ms = timeout_ms > CALL_MAX_TIMEOUT_MS ? CALL_MAX_TIMEOUT_MS : timeout_ms;
    pthread_mutex_unlock(&keeper->mutex);
    bool ok = lease_modify(keeper->client, keeper->subscription, batch->ids, batch->count,
                           (int)(keeper->extension_ms / 1000), timeout_ms, PUBSUB_ONE_TRY, keeper->stop, &err);
    if (!ok && err.class != ERROR_CANCELLED)
        log_warn(&log_ctx, LOG_MSG("Leases not extended, trying again while they last"),
                 LOG_INT("leases", batch->count), LOG_STR("subscription", keeper->subscription), LOG_ERR(&err));
    pthread_mutex_lock(&keeper->mutex);
    settle_batch(keeper, ok, sent_ms);
}

static int64_t next_event_ms(const struct lease_keeper *keeper)
{
    int64_t next_ms = clock_mono_ms() + IDLE_WAIT_MS;
    for (const struct lease *lease = keeper->shared.first; lease; lease = lease->kept.next) {
        int64_t due_ms = lease->kept.due_ms < lease->kept.expires_ms ? lease->kept.due_ms : lease->kept.expires_ms;
        next_ms = due_ms < next_ms ? due_ms : next_ms;
    }
    return next_ms;
}

static void *keeper_main(void *user)
{
    struct lease_keeper *keeper = user;
    pthread_mutex_lock(&keeper->mutex);
    while (!keeper->shared.stopping) {
        if (drop_lost(keeper))
            continue;
        collect_due(keeper);
        if (keeper->batch.count > 0)
            extend_batch(keeper);
        else
            clock_cond_wait(&keeper->shared.changed, &keeper->mutex, next_event_ms(keeper));
    }
    pthread_mutex_unlock(&keeper->mutex);
    return NULL;
}

/* ---- For the subscriber ---- */

struct lease_keeper *lease_keeper_new(struct pubsub_client *client, const char *subscription, int extension_s)
{
    struct lease_keeper *keeper = xcalloc(1, sizeof *keeper);
    keeper->client = client;
    keeper->subscription = xstrdup(subscription);
    keeper->extension_ms = (int64_t)extension_s * 1000;
    keeper->stop = cancel_new(NULL);
    pthread_mutex_init(&keeper->mutex, NULL);
    clock_cond_init(&keeper->shared.changed);
    if (pthread_create(&keeper->thread, NULL, keeper_main, keeper) != 0)
        BUG("no thread for the lease keeper");
    return keeper;
}

void lease_keeper_free(struct lease_keeper *keeper)
{
    if (!keeper)
        return;
    pthread_mutex_lock(&keeper->mutex);
    keeper->shared.stopping = true;
    pthread_cond_broadcast(&keeper->shared.changed);
    pthread_mutex_unlock(&keeper->mutex);
    cancel_set(keeper->stop, "shutdown");
    pthread_join(keeper->thread, NULL);
    BUG_ON(keeper->shared.first);
    cancel_free(keeper->stop);
    pthread_cond_destroy(&keeper->shared.changed);
    pthread_mutex_destroy(&keeper->mutex);
    free(keeper->subscription);
    free(keeper);
}

void lease_keeper_add(struct lease_keeper *keeper, struct lease *const *leases, size_t count, int64_t received_ms,
                      int initial_s)
{
    pthread_mutex_lock(&keeper->mutex);
    for (size_t i = 0; i < count; i++) {
        struct lease *lease = leases[i];
        lease->kept.refs = 1; /* the receiver's */
        lease->kept.expires_ms = received_ms + (int64_t)initial_s * 1000;
        lease->kept.due_ms = received_ms;
        link_lease(keeper, lease);
    }
    pthread_cond_broadcast(&keeper->shared.changed);
    pthread_mutex_unlock(&keeper->mutex);
}

bool lease_keeper_remove(struct lease_keeper *keeper, struct lease *lease, int64_t *ret_expires_ms)
{
    pthread_mutex_lock(&keeper->mutex);
    if (lease->kept.tracked) {
        unlink_lease(keeper, lease);
        unref_locked(lease);
    }
    *ret_expires_ms = lease->kept.expires_ms;
    bool held = !lease->kept.lost && clock_mono_ms() < lease->kept.expires_ms;
    pthread_mutex_unlock(&keeper->mutex);
    return held;
}

void lease_unref(struct lease_keeper *keeper, struct lease *lease)
{
    pthread_mutex_lock(&keeper->mutex);
    unref_locked(lease);
    pthread_mutex_unlock(&keeper->mutex);
}

struct lease_counts lease_keeper_counts(struct lease_keeper *keeper)
{
    pthread_mutex_lock(&keeper->mutex);
    struct lease_counts counts = keeper->shared.counts;
    pthread_mutex_unlock(&keeper->mutex);
    return counts;
}
