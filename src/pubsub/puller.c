/* puller.c - unary Pull, with the leases of what it brings kept until it is settled.
 *
 * A waiting Pull may be handed messages that nobody takes any more when its caller goes away, and so may an open stream: both hide them for
 * as long as a lease. So a puller asks for what is there now and has no call open in between. Google discourages return_immediately because
 * an answer may be empty although messages are there; who looks at a backlog asks several times. */
#include <stdlib.h>

#include "delivery.h"
#include "pubsub.pb-c.h"

enum {
    PULL_TIMEOUT_MS = 30000,   /* of one try, real time, */
    SETTLE_TIMEOUT_MS = 10000, /* and this */
    LEAST_ACK_DEADLINE_S = 10, /* whatever the subscription's is, a lease lasts so long */
};

struct pubsub_puller {
    struct pubsub_client *client;
    char *subscription; /* full name */
    struct lease_keeper *keeper;
};

struct pubsub_puller *pubsub_puller_new(struct pubsub_client *client, const char *subscription, int extension_s)
{
    struct pubsub_puller *puller = xcalloc(1, sizeof *puller);
    puller->client = client;
    puller->subscription = pubsub_subscription_name(client, subscription);
    puller->keeper = lease_keeper_new(client, puller->subscription, extension_s);
    return puller;
}

void pubsub_puller_free(struct pubsub_puller *puller)
{
    if (!puller)
        return;
    lease_keeper_free(puller->keeper);
    free(puller->subscription);
    free(puller);
}

static void keep(struct pubsub_puller *puller, struct delivery *list, int64_t asked_ms, struct pubsub_delivery **ret)
{
    for (size_t i = 0; list; i++) {
        struct delivery *next = list->next;
        struct lease *lease = &list->lease;
        list->next = NULL;
        ret[i] = &list->open;
        lease_keeper_add(puller->keeper, &lease, 1, asked_ms, LEAST_ACK_DEADLINE_S);
        list = next;
    }
}

bool pubsub_pull(struct pubsub_puller *puller, size_t max, struct pubsub_delivery **ret, size_t *ret_count,
                 struct cancel *cancel, struct error *err)
{
    Google__Pubsub__V1__PullRequest request;
    google__pubsub__v1__pull_request__init(&request);
    ProtobufCMessage *message = NULL;
    request.subscription = puller->subscription;
    request.return_immediately = true;
    request.max_messages = (int32_t)(max < PUBSUB_MAX_PULL ? max : PUBSUB_MAX_PULL);
    const struct pubsub_call call = {.method = "/google.pubsub.v1.Subscriber/Pull",
                                     .routing_key = "subscription",
                                     .resource = puller->subscription,
                                     .request = &request.base,
                                     .reply_type = &google__pubsub__v1__pull_response__descriptor,
                                     .timeout_ms = PULL_TIMEOUT_MS,
                                     .cancel = cancel};
    int64_t asked_ms = clock_mono_ms();
    if (!pubsub_call(puller->client, &call, &message, err))
        return false;
    Google__Pubsub__V1__PullResponse *reply = (Google__Pubsub__V1__PullResponse *)message;
    size_t sane =
        reply->n_received_messages < max ? reply->n_received_messages : max; /* more than asked for: comes again */
    keep(puller, delivery_list(reply->received_messages, sane, 0, ret_count), asked_ms, ret);
    protobuf_c_message_free_unpacked(message, NULL);
    return true;
}

/* ---- Settling ---- */

static bool acknowledge(struct pubsub_puller *puller, const char *const *ack_ids, size_t count, int64_t until_ms,
                        struct error *err)
{
    Google__Pubsub__V1__AcknowledgeRequest request;
    google__pubsub__v1__acknowledge_request__init(&request);
    request.subscription = puller->subscription;
    memcpy(&request.ack_ids, &ack_ids, sizeof ack_ids); /* borrowed; packing only reads */
    request.n_ack_ids = count;
    const struct pubsub_call call = {.method = "/google.pubsub.v1.Subscriber/Acknowledge",
                                     .routing_key = "subscription",
                                     .resource = puller->subscription,
                                     .request = &request.base,
                                     .reply_type = &google__protobuf__empty__descriptor,
                                     .timeout_ms = SETTLE_TIMEOUT_MS,
                                     .until_ms = until_ms};
    return pubsub_call(puller->client, &call, NULL, err);
}

/* As many ids as one call may carry; *ret_expires_ms is when the first of their leases ends, *ret_held whether all of
 * them still last. */
static size_t collect(struct pubsub_puller *puller, struct pubsub_delivery *const *list, size_t count,
                      const char **ret_ids, int64_t *ret_expires_ms, bool *ret_held)
{
    size_t taken = 0, bytes = 0;
    *ret_expires_ms = INT64_MAX;
    *ret_held = true;
    while (taken < count && taken < LEASE_MAX_IDS && bytes < LEASE_MAX_REQUEST_BYTES / 2) {
        struct lease *lease = &delivery_of(list[taken])->lease;
        int64_t expires_ms;
        *ret_held = lease_keeper_remove(puller->keeper, lease, &expires_ms) && *ret_held;
        if (expires_ms < *ret_expires_ms)
            *ret_expires_ms = expires_ms;
        bytes += strlen(lease->ack_id);
        ret_ids[taken++] = lease->ack_id;
    }
    return taken;
}

bool pubsub_pulled_settle(struct pubsub_puller *puller, struct pubsub_delivery *const *list, size_t count,
                          enum pubsub_settlement how, struct error *err)
{
    bool all = true;
    for (size_t done = 0; done < count;) {
        const char *ids[LEASE_MAX_IDS];
        int64_t until_ms;
        bool held;
        size_t taken = collect(puller, list + done, count - done, ids, &until_ms, &held);
        bool ok = how == PUBSUB_ACK ? acknowledge(puller, ids, taken, until_ms, err)
                                    : lease_modify(puller->client, puller->subscription, ids, taken, 0,
                                                   SETTLE_TIMEOUT_MS, until_ms, NULL, err);
        if (ok && !held && how == PUBSUB_ACK)
            ok = error_set(err, ERROR_RETRY, "lease_lost", "could not ack %zu messages for certain: a lease had ended",
                           taken);
        for (size_t i = 0; i < taken; i++)
            lease_unref(puller->keeper, &delivery_of(list[done + i])->lease);
        all = all && ok;
        done += taken;
    }
    return all;
}
