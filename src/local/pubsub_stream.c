/* pubsub_stream.c - StreamingPull.
 *
 * The first request names the subscription, the lease and the flow control limits; they cannot be sent again. Every
 * request is answered at once, with the subscription's properties in each response, because clients take a
 * silent stream for a dead one and re-read the properties from every response. Acks and lease changes on the stream are
 * confirmed. The stream ends with UNAVAILABLE when the client has been silent for PS_STREAM_IDLE_MS or after
 * PS_STREAM_LIFE_MS: all clients must reopen. Messages of a stream that ended stay leased until their deadline. */
#include <stddef.h>
#include <stdlib.h>

#include "base/clock.h"
#include "pubsub_internal.h"

#define REBALANCE_TEXT "The service was unable to fulfill your request. Please try again. [code=8a75]"

void ps_stream_end(struct pubsub_server *server, struct ps_stream *stream, enum rpc_status status, const char *message)
{
    if (stream->call)
        rpc_call_finish(stream->call, status, message);
    ps_timer_cancel(server, &stream->timer);
    if (stream->sub)
        ps_stream_unlink(stream->sub, stream);
    stream->sub = NULL;
}

static int64_t end_of_patience(const struct ps_stream *stream)
{
    int64_t idle = stream->active_ms + PS_STREAM_IDLE_MS;
    int64_t life = stream->opened_ms + PS_STREAM_LIFE_MS;
    return idle < life ? idle : life;
}

static void stream_fire(struct pubsub_server *server, struct ps_timer *timer)
{
    struct ps_stream *stream = (struct ps_stream *)(void *)((char *)timer - offsetof(struct ps_stream, timer));
    if (end_of_patience(stream) > clock_mono_ms())
        ps_timer_set(server, &stream->timer, end_of_patience(stream));
    else
        ps_stream_end(server, stream, RPC_UNAVAILABLE, REBALANCE_TEXT);
}

/* ---- Checks ---- */

static bool check_ids(char *const *ids, size_t count, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (!ps_ack_id_well_formed(ids[i]))
            return ps_error(err, RPC_INVALID_ARGUMENT,
                            "You have passed an invalid ack ID to the service (ack_id=%.200s).", ids[i]);
    }
    return true;
}

static bool check_changes(const Google__Pubsub__V1__StreamingPullRequest *r, struct error *err)
{
    if (r->n_modify_deadline_seconds != r->n_modify_deadline_ack_ids)
        return ps_error(err, RPC_INVALID_ARGUMENT,
                        "modify_deadline_seconds has %zu values and modify_deadline_ack_ids %zu; they must be as many",
                        r->n_modify_deadline_seconds, r->n_modify_deadline_ack_ids);
    for (size_t i = 0; i < r->n_modify_deadline_seconds; i++) {
        if (r->modify_deadline_seconds[i] < 0 || r->modify_deadline_seconds[i] > PS_MAX_ACK_DEADLINE_S)
            return ps_error(err, RPC_INVALID_ARGUMENT,
                            "Invalid ack deadline given: %d seconds. It must be between 0 and %d",
                            r->modify_deadline_seconds[i], PS_MAX_ACK_DEADLINE_S);
    }
    return check_ids(r->ack_ids, r->n_ack_ids, err) &&
           check_ids(r->modify_deadline_ack_ids, r->n_modify_deadline_ack_ids, err);
}

static bool check_deadline(int32_t seconds, bool required, struct error *err)
{
    if ((seconds == 0 && !required) || (seconds >= PS_MIN_ACK_DEADLINE_S && seconds <= PS_MAX_ACK_DEADLINE_S))
        return true;
    return ps_error(err, RPC_INVALID_ARGUMENT, "Invalid stream_ack_deadline_seconds: %d. It must be between %d and %d",
                    seconds, PS_MIN_ACK_DEADLINE_S, PS_MAX_ACK_DEADLINE_S);
}

/* ---- Requests ---- */

static bool open_stream(struct pubsub_server *server, struct ps_stream *stream,
                        const Google__Pubsub__V1__StreamingPullRequest *r, struct error *err)
{
    if (!check_deadline(r->stream_ack_deadline_seconds, true, err))
        return false;
    struct ps_subscription *sub = ps_get_subscription(server, r->subscription, err);
    if (!sub)
        return false;
    stream->sub = sub;
    stream->max_messages = r->max_outstanding_messages;
    stream->max_bytes = r->max_outstanding_bytes;
    stream->opened_ms = clock_mono_ms();
    ps_stream_link(sub, stream);
    return true;
}

static bool check_later_request(const Google__Pubsub__V1__StreamingPullRequest *r, struct error *err)
{
    const char *what = r->subscription[0]            ? "subscription"
                       : r->max_outstanding_messages ? "max_outstanding_messages"
                       : r->max_outstanding_bytes    ? "max_outstanding_bytes"
                       : r->protocol_version         ? "protocol_version"
                                                     : NULL;
    if (what)
        return ps_error(err, RPC_INVALID_ARGUMENT, "%s can only be set in the first request of a stream", what);
    return check_deadline(r->stream_ack_deadline_seconds, false, err);
}

struct outcome { /* ids by what became of them; borrowed from the request */
    char **good, **stale;
    size_t good_count, stale_count;
};

static void outcome_init(struct outcome *o, size_t count)
{
    *o = (struct outcome){xcalloc(count + 1, sizeof(char *)), xcalloc(count + 1, sizeof(char *)), 0, 0};
}

static void outcome_add(struct outcome *o, char *id, enum ps_ack_result result)
{
    if (result == PS_ACK_OK)
        o->good[o->good_count++] = id;
    else
        o->stale[o->stale_count++] = id;
}

static void outcome_release(struct outcome *o)
{
    free(o->good);
    free(o->stale);
}

static void settle(struct pubsub_server *server, struct ps_subscription *sub,
                   const Google__Pubsub__V1__StreamingPullRequest *r, struct outcome *acks, struct outcome *changes)
{
    for (size_t i = 0; i < r->n_ack_ids; i++)
        outcome_add(acks, r->ack_ids[i], ps_ack(server, sub, r->ack_ids[i]));
    for (size_t i = 0; i < r->n_modify_deadline_ack_ids; i++)
        outcome_add(changes, r->modify_deadline_ack_ids[i],
                    ps_modack(server, sub, r->modify_deadline_ack_ids[i], r->modify_deadline_seconds[i]));
}

static void answer(struct ps_stream *stream, const struct outcome *acks, const struct outcome *changes)
{
    Google__Pubsub__V1__StreamingPullResponse response;
    Google__Pubsub__V1__StreamingPullResponse__SubscriptionProperties properties;
    Google__Pubsub__V1__StreamingPullResponse__AcknowledgeConfirmation acked;
    Google__Pubsub__V1__StreamingPullResponse__ModifyAckDeadlineConfirmation changed;
    google__pubsub__v1__streaming_pull_response__init(&response);
    google__pubsub__v1__streaming_pull_response__subscription_properties__init(&properties);
    google__pubsub__v1__streaming_pull_response__acknowledge_confirmation__init(&acked);
    google__pubsub__v1__streaming_pull_response__modify_ack_deadline_confirmation__init(&changed);
    response.subscription_properties = &properties;
    acked.ack_ids = acks->good;
    acked.n_ack_ids = acks->good_count;
    acked.invalid_ack_ids = acks->stale;
    acked.n_invalid_ack_ids = acks->stale_count;
    changed.ack_ids = changes->good;
    changed.n_ack_ids = changes->good_count;
    changed.invalid_ack_ids = changes->stale;
    changed.n_invalid_ack_ids = changes->stale_count;
    if (acks->good_count + acks->stale_count > 0)
        response.acknowledge_confirmation = &acked;
    if (changes->good_count + changes->stale_count > 0)
        response.modify_ack_deadline_confirmation = &changed;
    rpc_call_send(stream->call, &response.base);
}

static bool handle_request(struct pubsub_server *server, struct ps_stream *stream,
                           const Google__Pubsub__V1__StreamingPullRequest *r, struct error *err)
{
    struct outcome acks, changes;
    if (!check_changes(r, err))
        return false;
    if (!(stream->sub ? check_later_request(r, err) : open_stream(server, stream, r, err)))
        return false;
    if (r->stream_ack_deadline_seconds > 0)
        stream->ack_deadline_ms = (int64_t)r->stream_ack_deadline_seconds * 1000;
    stream->active_ms = clock_mono_ms();
    ps_timer_set(server, &stream->timer, end_of_patience(stream));
    outcome_init(&acks, r->n_ack_ids);
    outcome_init(&changes, r->n_modify_deadline_ack_ids);
    settle(server, stream->sub, r, &acks, &changes);
    answer(stream, &acks, &changes);
    outcome_release(&acks);
    outcome_release(&changes);
    ps_dispatch(server, stream->sub);
    return true;
}

/* ---- Handlers ---- */

static void on_opened(void *service, struct rpc_call *call)
{
    (void)service;
    struct ps_stream *stream = xcalloc(1, sizeof *stream);
    stream->refs = 1;
    stream->call = rpc_call_ref(call);
    stream->timer.fire = stream_fire;
    rpc_call_set_user(call, stream);
}

static void on_message(void *service, struct rpc_call *call, struct rpc_message *message)
{
    struct pubsub_server *server = service;
    struct ps_stream *stream = rpc_call_user(call);
    struct error err = ERROR_INIT;
    Google__Pubsub__V1__StreamingPullRequest *request =
        ps_request(call, message, &google__pubsub__v1__streaming_pull_request__descriptor);
    if (!request)
        return;
    pthread_mutex_lock(&server->mutex);
    if (!rpc_call_is_over(call) && !handle_request(server, stream, request, &err))
        ps_stream_end(server, stream, (enum rpc_status)err.status, err.message);
    pthread_mutex_unlock(&server->mutex);
    ps_request_free(request);
}

static void on_drained(void *service, struct rpc_call *call)
{
    struct pubsub_server *server = service;
    struct ps_stream *stream = rpc_call_user(call);
    pthread_mutex_lock(&server->mutex);
    if (stream->sub)
        ps_dispatch(server, stream->sub);
    pthread_mutex_unlock(&server->mutex);
}

static void on_closed(void *service, struct rpc_call *call)
{
    struct pubsub_server *server = service;
    struct ps_stream *stream = rpc_call_user(call);
    pthread_mutex_lock(&server->mutex);
    ps_stream_end(server, stream, RPC_CANCELLED, NULL);
    stream->call = NULL;
    ps_stream_unref(stream);
    pthread_mutex_unlock(&server->mutex);
    rpc_call_unref(call);
}

static const struct rpc_stream_handlers handlers = {
    .later = "ping", .opened = on_opened, .message = on_message, .drained = on_drained, .closed = on_closed};

const struct rpc_method ps_stream_method = {.path = "/google.pubsub.v1.Subscriber/StreamingPull", .stream = &handlers};
