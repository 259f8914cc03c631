/* pubsub_server.c - start, stop and numbers of the local Pub/Sub server; see pubsub_server.h.
 *
 * One mutex guards all state: handlers do little under it and never block. Message ids are decimal and rise, also over
 * restarts. */
#include "pubsub_server.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/uuid.h"
#include "pubsub_internal.h"

#define DEFAULT_MAX_BYTES (1LL << 30)
#define DEFAULT_MAX_MESSAGES 2000000LL

enum { MESSAGES_TAG = 2 << 3 | 2 /* PublishRequest.messages */ };
enum { HANDLER_THREADS = 32 /* some may be held or delayed by the fault bench */ };

static void free_state(struct pubsub_server *server)
{
    while (server->subscriptions) {
        struct ps_subscription *sub = server->subscriptions;
        server->subscriptions = sub->next;
        ps_subscription_free(server, sub);
    }
    while (server->topics) {
        struct ps_topic *topic = server->topics;
        server->topics = topic->next;
        ps_topic_free(topic);
    }
}

struct pubsub_server *pubsub_server_start(const struct pubsub_server_options *options, struct error *err)
{
    struct pubsub_server *server = xcalloc(1, sizeof *server);
    server->max_bytes = options->max_bytes ? options->max_bytes : DEFAULT_MAX_BYTES;
    server->max_messages = options->max_messages ? options->max_messages : DEFAULT_MAX_MESSAGES;
    server->nonce = (uint32_t)random_u64();
    server->next_serial = 1;
    server->next_message_id = (uint64_t)clock_wall_us();
    pthread_mutex_init(&server->mutex, NULL);
    const struct rpc_server_options rpc = {
        .faults = options->faults, .fault_service = "pubsub", .threads = HANDLER_THREADS};
    server->faults = options->faults;
    server->rpc = rpc_server_new(&rpc);
    rpc_server_add(server->rpc, ps_publisher_methods, ps_publisher_method_count, server);
    rpc_server_add(server->rpc, ps_subscriber_methods, ps_subscriber_method_count, server);
    rpc_server_add(server->rpc, ps_receive_methods, ps_receive_method_count, server);
    rpc_server_add(server->rpc, &ps_stream_method, 1, server);
    rpc_server_add(server->rpc, ps_refused_methods, ps_refused_method_count, server);
    if (!rpc_server_listen(server->rpc, options->bind_address, options->port, &server->port, err)) {
        rpc_server_free(server->rpc);
        pthread_mutex_destroy(&server->mutex);
        free(server);
        return NULL;
    }
    ps_timers_start(server);
    rpc_server_start(server->rpc);
    return server;
}

void pubsub_server_stop(struct pubsub_server *server)
{
    if (!server)
        return;
    rpc_server_stop(server->rpc);
    pthread_mutex_lock(&server->mutex);
    free_state(server);
    pthread_mutex_unlock(&server->mutex);
    ps_timers_stop(server);
    rpc_server_free(server->rpc);
    pthread_mutex_destroy(&server->mutex);
    free(server);
}

uint16_t pubsub_server_port(const struct pubsub_server *server)
{
    return server->port;
}

static void subscription_stats(const struct ps_subscription *sub, struct buf *out)
{
    int64_t total = (int64_t)sub->entries.count;
    buf_append_str(out, "{\"name\":");
    buf_append_json_string(out, slice_str(sub->pb->name));
    buf_printf(out, ",\"ready\":%lld,\"leased\":%lld,\"delayed\":%lld,\"streams\":%d", (long long)sub->ready_count,
               (long long)sub->leased_count, (long long)(total - sub->ready_count - sub->leased_count),
               sub->stream_count);
    buf_printf(out, ",\"acked\":%lld,\"nacked\":%lld,\"expired\":%lld,\"deadLettered\":%lld}",
               (long long)sub->counters.acked, (long long)sub->counters.nacked, (long long)sub->counters.expired,
               (long long)sub->counters.dead_lettered);
}

void pubsub_server_stats(struct pubsub_server *server, struct buf *out)
{
    pthread_mutex_lock(&server->mutex);
    buf_printf(out, "{\"bytes\":%lld,\"subscriptions\":[", (long long)server->bytes);
    for (const struct ps_subscription *sub = server->subscriptions; sub; sub = sub->next) {
        subscription_stats(sub, out);
        if (sub->next)
            buf_append_char(out, ',');
    }
    buf_append_str(out, "]}");
    pthread_mutex_unlock(&server->mutex);
}

static void append_message(struct buf *out, const Google__Pubsub__V1__PubsubMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(&message->base);
    uint8_t *bytes = xmalloc(len + 1);
    protobuf_c_message_pack(&message->base, bytes);
    buf_append_char(out, MESSAGES_TAG);
    size_t rest = len;
    for (; rest > 0x7F; rest >>= 7)
        buf_append_char(out, (char)((rest & 0x7F) | 0x80));
    buf_append_char(out, (char)rest);
    buf_append_slice(out, slice_of((const char *)bytes, len));
    free(bytes);
}

void pubsub_server_messages(struct pubsub_server *server, const char *subscription, struct buf *out)
{
    pthread_mutex_lock(&server->mutex);
    for (const struct ps_subscription *sub = server->subscriptions; sub; sub = sub->next) {
        if (strcmp(sub->pb->name, subscription) != 0)
            continue;
        for (size_t i = 0; i < sub->entries.bucket_count; i++)
            for (const struct ps_entry *entry = sub->entries.buckets[i]; entry; entry = entry->chain)
                append_message(out, entry->message->pb);
    }
    pthread_mutex_unlock(&server->mutex);
}

bool pubsub_server_set_ack_deadline(struct pubsub_server *server, const char *subscription, int seconds,
                                    struct error *err)
{
    if (seconds < PS_MIN_ACK_DEADLINE_S || seconds > PS_MAX_ACK_DEADLINE_S)
        return ps_error(err, RPC_INVALID_ARGUMENT,
                        "Invalid ack deadline given: %d seconds. It must be between %d and %d", seconds,
                        PS_MIN_ACK_DEADLINE_S, PS_MAX_ACK_DEADLINE_S);
    pthread_mutex_lock(&server->mutex);
    struct ps_subscription *sub = ps_get_subscription(server, subscription, err);
    if (sub)
        sub->pb->ack_deadline_seconds = seconds;
    pthread_mutex_unlock(&server->mutex);
    return sub != NULL;
}

int pubsub_server_close_streams(struct pubsub_server *server, const char *subscription)
{
    int count = 0;
    pthread_mutex_lock(&server->mutex);
    for (struct ps_subscription *sub = server->subscriptions; sub; sub = sub->next) {
        if (subscription && strcmp(sub->pb->name, subscription) != 0)
            continue;
        for (; sub->streams; count++)
            ps_stream_end(server, sub->streams, RPC_UNAVAILABLE,
                          "The service was unable to fulfill your request. Please try again.");
    }
    pthread_mutex_unlock(&server->mutex);
    return count;
}
