/* pubsub_receive.c - Pull, Acknowledge and ModifyAckDeadline as unary calls.
 *
 * A Pull that finds nothing waits in line for PS_PULL_WAIT_MS and then answers with an empty response, as the service
 * does; the client's own deadline may come first. */
#include <stddef.h>
#include <stdlib.h>

#include "base/clock.h"
#include "pubsub_internal.h"

static void pull_fire(struct pubsub_server *server, struct ps_timer *timer)
{
    struct ps_pull *pull = (struct ps_pull *)(void *)((char *)timer - offsetof(struct ps_pull, timer));
    Google__Pubsub__V1__PullResponse empty;
    google__pubsub__v1__pull_response__init(&empty);
    rpc_call_reply(pull->call, &empty.base);
    ps_pull_free(server, pull);
}

static void wait_in_line(struct pubsub_server *server, struct ps_subscription *sub, struct rpc_call *call,
                         int max_messages)
{
    struct ps_pull *pull = xcalloc(1, sizeof *pull);
    pull->sub = sub;
    pull->call = rpc_call_ref(call);
    pull->max_messages = max_messages;
    pull->timer.fire = pull_fire;
    pull->prev = sub->pulls_tail;
    *(sub->pulls_tail ? &sub->pulls_tail->next : &sub->pulls) = pull;
    sub->pulls_tail = pull;
    rpc_call_set_user(call, pull);
    ps_timer_set(server, &pull->timer, clock_mono_ms() + PS_PULL_WAIT_MS);
}

static bool pull(struct pubsub_server *server, struct rpc_call *call, const Google__Pubsub__V1__PullRequest *r,
                 struct error *err)
{
    if (r->max_messages <= 0)
        return ps_error(err, RPC_INVALID_ARGUMENT, "The value for max_messages must be greater than 0. You passed %d.",
                        r->max_messages);
    struct ps_subscription *sub = ps_get_subscription(server, r->subscription, err);
    if (!sub)
        return false;
    if (!sub->pulls && ps_pull_now(server, sub, call, r->max_messages))
        return true;
    if (!r->return_immediately) {
        wait_in_line(server, sub, call, r->max_messages);
        return true;
    }
    Google__Pubsub__V1__PullResponse empty;
    google__pubsub__v1__pull_response__init(&empty);
    rpc_call_reply(call, &empty.base);
    return true;
}

static void on_pull(void *service, struct rpc_call *call, struct rpc_message *message)
{
    struct pubsub_server *server = service;
    struct error err = ERROR_INIT;
    Google__Pubsub__V1__PullRequest *request = ps_request(call, message, &google__pubsub__v1__pull_request__descriptor);
    if (!request)
        return;
    pthread_mutex_lock(&server->mutex);
    if (!pull(server, call, request, &err))
        rpc_call_fail(call, &err);
    pthread_mutex_unlock(&server->mutex);
    ps_request_free(request);
}

static void on_pull_closed(void *service, struct rpc_call *call)
{
    struct pubsub_server *server = service;
    pthread_mutex_lock(&server->mutex);
    struct ps_pull *waiting = rpc_call_user(call);
    if (waiting)
        ps_pull_free(server, waiting);
    pthread_mutex_unlock(&server->mutex);
}

/* ---- Acks and lease changes: stale ids are fine and do nothing ---- */

static bool check_request(const struct rpc_message *message, char *const *ids, size_t count, struct error *err)
{
    if (rpc_message_bytes(message).len > PS_MAX_ACK_REQUEST_BYTES)
        return ps_error(err, RPC_INVALID_ARGUMENT, "Request payload size exceeds the limit: %d bytes.",
                        PS_MAX_ACK_REQUEST_BYTES);
    if (count == 0)
        return ps_error(err, RPC_INVALID_ARGUMENT, "No ack ids specified.");
    for (size_t i = 0; i < count; i++) {
        if (!ps_ack_id_well_formed(ids[i]))
            return ps_error(err, RPC_INVALID_ARGUMENT,
                            "You have passed an invalid ack ID to the service (ack_id=%.200s).", ids[i]);
    }
    return true;
}

static bool acknowledge(struct pubsub_server *server, const Google__Pubsub__V1__AcknowledgeRequest *r,
                        struct error *err)
{
    struct ps_subscription *sub = ps_get_subscription(server, r->subscription, err);
    for (size_t i = 0; sub && i < r->n_ack_ids; i++)
        ps_ack(server, sub, r->ack_ids[i]);
    if (sub)
        ps_dispatch(server, sub); /* flow control has room again */
    return sub != NULL;
}

static void on_acknowledge(void *service, struct rpc_call *call, struct rpc_message *message)
{
    struct pubsub_server *server = service;
    struct error err = ERROR_INIT;
    Google__Pubsub__V1__AcknowledgeRequest *request =
        ps_request(call, message, &google__pubsub__v1__acknowledge_request__descriptor);
    if (!request)
        return;
    bool ok = check_request(message, request->ack_ids, request->n_ack_ids, &err);
    pthread_mutex_lock(&server->mutex);
    ok = ok && acknowledge(server, request, &err);
    pthread_mutex_unlock(&server->mutex);
    if (ok)
        ps_reply_empty(call);
    else
        rpc_call_fail(call, &err);
    ps_request_free(request);
}

static bool modify(struct pubsub_server *server, const Google__Pubsub__V1__ModifyAckDeadlineRequest *r,
                   struct error *err)
{
    if (r->ack_deadline_seconds < 0 || r->ack_deadline_seconds > PS_MAX_ACK_DEADLINE_S)
        return ps_error(err, RPC_INVALID_ARGUMENT,
                        "Invalid ack deadline given: %d seconds. It must be between 0 and %d", r->ack_deadline_seconds,
                        PS_MAX_ACK_DEADLINE_S);
    struct ps_subscription *sub = ps_get_subscription(server, r->subscription, err);
    for (size_t i = 0; sub && i < r->n_ack_ids; i++)
        ps_modack(server, sub, r->ack_ids[i], r->ack_deadline_seconds);
    if (sub)
        ps_dispatch(server, sub);
    return sub != NULL;
}

static void on_modify(void *service, struct rpc_call *call, struct rpc_message *message)
{
    struct pubsub_server *server = service;
    struct error err = ERROR_INIT;
    Google__Pubsub__V1__ModifyAckDeadlineRequest *request =
        ps_request(call, message, &google__pubsub__v1__modify_ack_deadline_request__descriptor);
    if (!request)
        return;
    bool ok = check_request(message, request->ack_ids, request->n_ack_ids, &err);
    pthread_mutex_lock(&server->mutex);
    ok = ok && modify(server, request, &err);
    pthread_mutex_unlock(&server->mutex);
    if (ok)
        ps_reply_empty(call);
    else
        rpc_call_fail(call, &err);
    ps_request_free(request);
}

const struct rpc_method ps_receive_methods[] = {
    {.path = "/google.pubsub.v1.Subscriber/Pull", .unary = on_pull, .effect = true, .closed = on_pull_closed},
    {.path = "/google.pubsub.v1.Subscriber/Acknowledge", .unary = on_acknowledge, .effect = true},
    {.path = "/google.pubsub.v1.Subscriber/ModifyAckDeadline", .unary = on_modify, .effect = true},
};
const size_t ps_receive_method_count = sizeof ps_receive_methods / sizeof ps_receive_methods[0];
