/* pubsub_subscriber.c - the Subscriber service's administration of subscriptions, and the methods that are refused. */
#include <stdio.h>
#include <stdlib.h>

#include "base/uuid.h"
#include "pubsub_internal.h"

enum {
    DEFAULT_ACK_DEADLINE_S = 10,
    DEFAULT_RETENTION_S = 7 * 86400,
    DEFAULT_EXPIRATION_S = 31 * 86400,
    DEFAULT_ATTEMPTS = 5,
    DEFAULT_MIN_BACKOFF_S = 10,
    DEFAULT_MAX_BACKOFF_S = 600
};

struct ps_subscription *ps_find_subscription(struct pubsub_server *server, const char *name)
{
    struct ps_subscription *sub = server->subscriptions;
    while (sub && strcmp(sub->pb->name, name) != 0)
        sub = sub->next;
    return sub;
}

struct ps_subscription *ps_get_subscription(struct pubsub_server *server, const char *name, struct error *err)
{
    if (!ps_check_name(name, "subscriptions", err))
        return NULL;
    struct ps_subscription *sub = ps_find_subscription(server, name);
    if (!sub)
        ps_error(err, RPC_NOT_FOUND, "Resource not found (resource=%s).", strrchr(name, '/') + 1);
    return sub;
}

void ps_subscription_free(struct pubsub_server *server, struct ps_subscription *sub)
{
    while (sub->pulls) {
        rpc_call_finish(sub->pulls->call, RPC_NOT_FOUND, "the subscription was deleted");
        ps_pull_free(server, sub->pulls);
    }
    while (sub->streams)
        ps_stream_end(server, sub->streams, RPC_NOT_FOUND, "the subscription was deleted");
    ps_entries_clear(server, sub);
    ps_request_free(sub->pb);
    free(sub);
}

/* ---- Defaults, as the service shows them ---- */

static void default_duration(Google__Protobuf__Duration **field, int64_t seconds)
{
    if (*field)
        return;
    *field = xmalloc(sizeof **field);
    google__protobuf__duration__init(*field);
    (*field)->seconds = seconds;
}

static void set_defaults(Google__Pubsub__V1__Subscription *pb)
{
    if (pb->ack_deadline_seconds == 0)
        pb->ack_deadline_seconds = DEFAULT_ACK_DEADLINE_S;
    default_duration(&pb->message_retention_duration, DEFAULT_RETENTION_S);
    if (!pb->expiration_policy) {
        pb->expiration_policy = xmalloc(sizeof *pb->expiration_policy);
        google__pubsub__v1__expiration_policy__init(pb->expiration_policy);
        default_duration(&pb->expiration_policy->ttl, DEFAULT_EXPIRATION_S);
    }
    if (pb->dead_letter_policy && pb->dead_letter_policy->max_delivery_attempts == 0)
        pb->dead_letter_policy->max_delivery_attempts = DEFAULT_ATTEMPTS;
    if (pb->retry_policy) {
        default_duration(&pb->retry_policy->minimum_backoff, DEFAULT_MIN_BACKOFF_S);
        default_duration(&pb->retry_policy->maximum_backoff, DEFAULT_MAX_BACKOFF_S);
    }
    pb->state = GOOGLE__PUBSUB__V1__SUBSCRIPTION__STATE__ACTIVE;
}

/* "projects/P/topics/T" -> "projects/P/subscriptions/auto-..." for a request without a name. */
static void choose_name(Google__Pubsub__V1__Subscription *pb)
{
    struct slice rest = slice_str(pb->topic);
    slice_cut(&rest, '/');
    struct slice project = slice_cut(&rest, '/');
    char *name =
        xasprintf("projects/%.*s/subscriptions/auto-%016llx", SLICE_ARG(project), (unsigned long long)random_u64());
    ps_set_string(&pb->name, name);
    free(name);
}

static void add_subscription(struct pubsub_server *server, struct ps_topic *topic, Google__Pubsub__V1__Subscription *pb)
{
    struct ps_subscription *sub = xcalloc(1, sizeof *sub);
    struct ps_subscription **end = &server->subscriptions;
    sub->serial = server->next_serial++;
    sub->pb = pb;
    sub->topic = topic;
    while (*end)
        end = &(*end)->next;
    *end = sub;
    server->subscription_count++;
}

/* ---- Methods (ps_method_fn) ---- */

static bool create(struct pubsub_server *server, struct rpc_call *call, void *message, struct error *err)
{
    Google__Pubsub__V1__Subscription *request = message;
    struct ps_topic *topic = ps_get_topic(server, request->topic, err);
    if (!topic)
        return false;
    if (!request->name[0])
        choose_name(request);
    if (!ps_check_name(request->name, "subscriptions", err) || !ps_check_subscription(request, err))
        return false;
    if (ps_find_subscription(server, request->name))
        return ps_error(err, RPC_ALREADY_EXISTS, "Resource already exists in the project (resource=%s).",
                        strrchr(request->name, '/') + 1);
    if (request->dead_letter_policy && !ps_get_topic(server, request->dead_letter_policy->dead_letter_topic, err))
        return false;
    if (server->subscription_count == PS_MAX_NAMES)
        return ps_error(err, RPC_RESOURCE_EXHAUSTED, "the server has %d subscriptions already", PS_MAX_NAMES);
    Google__Pubsub__V1__Subscription *pb = ps_clone(&request->base);
    set_defaults(pb);
    add_subscription(server, topic, pb);
    rpc_call_reply(call, &pb->base);
    return true;
}

static bool get(struct pubsub_server *server, struct rpc_call *call, void *message, struct error *err)
{
    Google__Pubsub__V1__GetSubscriptionRequest *request = message;
    struct ps_subscription *sub = ps_get_subscription(server, request->subscription, err);
    if (sub)
        rpc_call_reply(call, &sub->pb->base);
    return sub != NULL;
}

#define SWAP(type, a, b)                                                                                               \
    do {                                                                                                               \
        type swap_ = (a);                                                                                              \
        (a) = (b);                                                                                                     \
        (b) = swap_;                                                                                                   \
    } while (0)

/* Swaps one masked field between the two; both own their parts, so nothing leaks. */
static bool apply_path(Google__Pubsub__V1__Subscription *to, Google__Pubsub__V1__Subscription *from, const char *path)
{
    if (strcmp(path, "ack_deadline_seconds") == 0)
        to->ack_deadline_seconds = from->ack_deadline_seconds;
    else if (strcmp(path, "retain_acked_messages") == 0)
        to->retain_acked_messages = from->retain_acked_messages;
    else if (strcmp(path, "message_retention_duration") == 0)
        SWAP(Google__Protobuf__Duration *, to->message_retention_duration, from->message_retention_duration);
    else if (strcmp(path, "expiration_policy") == 0)
        SWAP(Google__Pubsub__V1__ExpirationPolicy *, to->expiration_policy, from->expiration_policy);
    else if (strcmp(path, "dead_letter_policy") == 0)
        SWAP(Google__Pubsub__V1__DeadLetterPolicy *, to->dead_letter_policy, from->dead_letter_policy);
    else if (strcmp(path, "retry_policy") == 0)
        SWAP(Google__Pubsub__V1__RetryPolicy *, to->retry_policy, from->retry_policy);
    else if (strcmp(path, "push_config") == 0)
        SWAP(Google__Pubsub__V1__PushConfig *, to->push_config,
             from->push_config); /* an endpoint has been refused before */
    else if (strcmp(path, "enable_exactly_once_delivery") == 0)
        to->enable_exactly_once_delivery = from->enable_exactly_once_delivery; /* true has been refused before */
    else if (strcmp(path, "labels") == 0) {
        SWAP(Google__Pubsub__V1__Subscription__LabelsEntry **, to->labels, from->labels);
        SWAP(size_t, to->n_labels, from->n_labels);
    } else
        return false;
    return true;
}

static bool apply_mask(Google__Pubsub__V1__Subscription *to, Google__Pubsub__V1__Subscription *from,
                       const Google__Protobuf__FieldMask *mask, struct error *err)
{
    for (size_t i = 0; i < mask->n_paths; i++) {
        if (!apply_path(to, from, mask->paths[i]))
            return ps_error(
                err, RPC_INVALID_ARGUMENT,
                "Invalid update_mask provided in the UpdateSubscriptionRequest: the field \"%.200s\" cannot be updated "
                "here",
                mask->paths[i]);
    }
    set_defaults(to);
    return true;
}

static bool update(struct pubsub_server *server, struct rpc_call *call, void *message, struct error *err)
{
    Google__Pubsub__V1__UpdateSubscriptionRequest *request = message;
    if (!request->subscription || !request->update_mask || request->update_mask->n_paths == 0)
        return ps_error(err, RPC_INVALID_ARGUMENT,
                        "The update_mask in the UpdateSubscriptionRequest must be set, and must "
                        "contain a non-empty paths list.");
    struct ps_subscription *sub = ps_get_subscription(server, request->subscription->name, err);
    if (!sub)
        return false;
    Google__Pubsub__V1__Subscription *changed = ps_clone(&sub->pb->base);
    bool ok =
        ps_check_subscription(request->subscription, err) &&
        apply_mask(changed, request->subscription, request->update_mask, err) && ps_check_subscription(changed, err) &&
        (!changed->dead_letter_policy || ps_get_topic(server, changed->dead_letter_policy->dead_letter_topic, err));
    if (!ok) {
        ps_request_free(changed);
        return false;
    }
    ps_request_free(sub->pb);
    sub->pb = changed;
    rpc_call_reply(call, &changed->base);
    return true;
}

static bool list(struct pubsub_server *server, struct rpc_call *call, void *message, struct error *err)
{
    Google__Pubsub__V1__ListSubscriptionsRequest *request = message;
    Google__Pubsub__V1__ListSubscriptionsResponse response;
    Google__Pubsub__V1__Subscription *page[PS_MAX_PAGE];
    char token[24] = "";
    uint64_t after = 0;
    size_t size = ps_page_size(request->page_size);
    if (!ps_check_project(request->project, err) || !ps_page_start(request->page_token, &after, err))
        return false;
    google__pubsub__v1__list_subscriptions_response__init(&response);
    response.subscriptions = page;
    uint64_t last = 0;
    for (const struct ps_subscription *sub = server->subscriptions; sub; sub = sub->next) {
        if (sub->serial <= after || !ps_in_project(sub->pb->name, request->project))
            continue;
        if (response.n_subscriptions == size) {
            snprintf(token, sizeof token, "%llu", (unsigned long long)last);
            break;
        }
        page[response.n_subscriptions++] = sub->pb;
        last = sub->serial;
    }
    response.next_page_token = token;
    rpc_call_reply(call, &response.base);
    return true;
}

static bool delete (struct pubsub_server *server, struct rpc_call *call, void *message, struct error *err)
{
    Google__Pubsub__V1__DeleteSubscriptionRequest *request = message;
    struct ps_subscription *sub = ps_get_subscription(server, request->subscription, err);
    struct ps_subscription **link = &server->subscriptions;
    if (!sub)
        return false;
    while (*link != sub)
        link = &(*link)->next;
    *link = sub->next;
    server->subscription_count--;
    ps_subscription_free(server, sub);
    ps_reply_empty(call);
    return true;
}

/* ---- Handlers ---- */

PS_HANDLER(create, subscription)
PS_HANDLER(get, get_subscription_request)
PS_HANDLER(update, update_subscription_request)
PS_HANDLER(list, list_subscriptions_request)
PS_HANDLER(delete, delete_subscription_request)

const struct rpc_method ps_subscriber_methods[] = {
    {.path = "/google.pubsub.v1.Subscriber/CreateSubscription", .unary = on_create, .effect = true},
    {.path = "/google.pubsub.v1.Subscriber/GetSubscription", .unary = on_get},
    {.path = "/google.pubsub.v1.Subscriber/UpdateSubscription", .unary = on_update, .effect = true},
    {.path = "/google.pubsub.v1.Subscriber/ListSubscriptions", .unary = on_list},
    {.path = "/google.pubsub.v1.Subscriber/DeleteSubscription", .unary = on_delete, .effect = true},
};
const size_t ps_subscriber_method_count = sizeof ps_subscriber_methods / sizeof ps_subscriber_methods[0];

static void on_refused(void *service, struct rpc_call *call, struct rpc_message *message)
{
    (void)service, (void)message;
    char *text = xasprintf("%s is not supported by the local Pub/Sub server", strrchr(rpc_call_method(call), '/') + 1);
    rpc_call_finish(call, RPC_UNIMPLEMENTED, text);
    free(text);
}

#define REFUSED(name)                                                                                                  \
    {                                                                                                                  \
        .path = "/google.pubsub.v1." name, .unary = on_refused                                                         \
    }
const struct rpc_method ps_refused_methods[] = {
    REFUSED("Publisher/ListTopicSnapshots"),
    REFUSED("Publisher/DetachSubscription"),
    REFUSED("Subscriber/ModifyPushConfig"),
    REFUSED("Subscriber/GetSnapshot"),
    REFUSED("Subscriber/ListSnapshots"),
    REFUSED("Subscriber/CreateSnapshot"),
    REFUSED("Subscriber/UpdateSnapshot"),
    REFUSED("Subscriber/DeleteSnapshot"),
    REFUSED("Subscriber/Seek"),
    REFUSED("SchemaService/CreateSchema"),
    REFUSED("SchemaService/GetSchema"),
    REFUSED("SchemaService/ListSchemas"),
    REFUSED("SchemaService/ValidateSchema"),
    REFUSED("SchemaService/ValidateMessage"),
};
const size_t ps_refused_method_count = sizeof ps_refused_methods / sizeof ps_refused_methods[0];
