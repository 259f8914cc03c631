/* pubsub_publisher.c - the Publisher service: topics and Publish. */
#include <stdio.h>
#include <stdlib.h>

#include "pubsub_internal.h"

struct ps_topic *ps_find_topic(struct pubsub_server *server, const char *name)
{
    struct ps_topic *topic = server->topics;
    while (topic && strcmp(topic->pb->name, name) != 0)
        topic = topic->next;
    return topic;
}

struct ps_topic *ps_get_topic(struct pubsub_server *server, const char *name, struct error *err)
{
    if (!ps_check_name(name, "topics", err))
        return NULL;
    struct ps_topic *topic = ps_find_topic(server, name);
    if (!topic)
        ps_error(err, RPC_NOT_FOUND, "Resource not found (resource=%s).", strrchr(name, '/') + 1);
    return topic;
}

void ps_topic_free(struct ps_topic *topic)
{
    ps_request_free(topic->pb);
    free(topic);
}

/* ---- Methods (ps_method_fn) ---- */

static bool create_topic(struct pubsub_server *server, struct rpc_call *call, void *message, struct error *err)
{
    Google__Pubsub__V1__Topic *request = message;
    if (!ps_check_name(request->name, "topics", err) || !ps_check_topic(request, err))
        return false;
    if (ps_find_topic(server, request->name))
        return ps_error(err, RPC_ALREADY_EXISTS, "Resource already exists in the project (resource=%s).",
                        strrchr(request->name, '/') + 1);
    if (server->topic_count == PS_MAX_NAMES)
        return ps_error(err, RPC_RESOURCE_EXHAUSTED, "the server has %d topics already", PS_MAX_NAMES);
    struct ps_topic *topic = xcalloc(1, sizeof *topic);
    struct ps_topic **end = &server->topics;
    topic->serial = server->next_serial++;
    topic->pb = ps_clone(&request->base);
    topic->pb->state = GOOGLE__PUBSUB__V1__TOPIC__STATE__ACTIVE;
    while (*end)
        end = &(*end)->next;
    *end = topic;
    server->topic_count++;
    rpc_call_reply(call, &topic->pb->base);
    return true;
}

static bool get_topic(struct pubsub_server *server, struct rpc_call *call, void *message, struct error *err)
{
    Google__Pubsub__V1__GetTopicRequest *request = message;
    struct ps_topic *topic = ps_get_topic(server, request->topic, err);
    if (topic)
        rpc_call_reply(call, &topic->pb->base);
    return topic != NULL;
}

/* Moves what the mask names from `from` to `to`; both are whole topics that own their parts. */
static bool apply_mask(Google__Pubsub__V1__Topic *to, Google__Pubsub__V1__Topic *from,
                       const Google__Protobuf__FieldMask *mask, struct error *err)
{
    for (size_t i = 0; i < mask->n_paths; i++) {
        Google__Pubsub__V1__Topic swap = *to;
        if (strcmp(mask->paths[i], "labels") == 0) {
            to->labels = from->labels;
            to->n_labels = from->n_labels;
            from->labels = swap.labels;
            from->n_labels = swap.n_labels;
        } else if (strcmp(mask->paths[i], "message_retention_duration") == 0) {
            to->message_retention_duration = from->message_retention_duration;
            from->message_retention_duration = swap.message_retention_duration;
        } else {
            return ps_error(
                err, RPC_INVALID_ARGUMENT,
                "Invalid update_mask provided in the UpdateTopicRequest: the field \"%.200s\" cannot be updated here",
                mask->paths[i]);
        }
    }
    return true;
}

static bool update_topic(struct pubsub_server *server, struct rpc_call *call, void *message, struct error *err)
{
    Google__Pubsub__V1__UpdateTopicRequest *request = message;
    if (!request->topic || !request->update_mask || request->update_mask->n_paths == 0)
        return ps_error(err, RPC_INVALID_ARGUMENT,
                        "The update_mask in the UpdateTopicRequest must be set, and must contain a "
                        "non-empty paths list.");
    struct ps_topic *topic = ps_get_topic(server, request->topic->name, err);
    if (!topic || !ps_check_topic(request->topic, err))
        return false;
    Google__Pubsub__V1__Topic *changed = ps_clone(&topic->pb->base);
    if (!apply_mask(changed, request->topic, request->update_mask, err)) {
        ps_request_free(changed);
        return false;
    }
    ps_request_free(topic->pb);
    topic->pb = changed;
    rpc_call_reply(call, &changed->base);
    return true;
}

static bool list_topics(struct pubsub_server *server, struct rpc_call *call, void *message, struct error *err)
{
    Google__Pubsub__V1__ListTopicsRequest *request = message;
    Google__Pubsub__V1__ListTopicsResponse response;
    Google__Pubsub__V1__Topic *page[PS_MAX_PAGE];
    char token[24] = "";
    uint64_t after = 0, last = 0;
    size_t size = ps_page_size(request->page_size);
    if (!ps_check_project(request->project, err) || !ps_page_start(request->page_token, &after, err))
        return false;
    google__pubsub__v1__list_topics_response__init(&response);
    response.topics = page;
    for (const struct ps_topic *topic = server->topics; topic; topic = topic->next) {
        if (topic->serial <= after || !ps_in_project(topic->pb->name, request->project))
            continue;
        if (response.n_topics == size) {
            snprintf(token, sizeof token, "%llu", (unsigned long long)last);
            break;
        }
        page[response.n_topics++] = topic->pb;
        last = topic->serial;
    }
    response.next_page_token = token;
    rpc_call_reply(call, &response.base);
    return true;
}

static bool list_subscriptions(struct pubsub_server *server, struct rpc_call *call, void *message, struct error *err)
{
    Google__Pubsub__V1__ListTopicSubscriptionsRequest *request = message;
    Google__Pubsub__V1__ListTopicSubscriptionsResponse response;
    char *page[PS_MAX_PAGE];
    char token[24] = "";
    uint64_t after = 0, last = 0;
    size_t size = ps_page_size(request->page_size);
    struct ps_topic *topic = ps_get_topic(server, request->topic, err);
    if (!topic || !ps_page_start(request->page_token, &after, err))
        return false;
    google__pubsub__v1__list_topic_subscriptions_response__init(&response);
    response.subscriptions = page;
    for (const struct ps_subscription *sub = server->subscriptions; sub; sub = sub->next) {
        if (sub->serial <= after || sub->topic != topic)
            continue;
        if (response.n_subscriptions == size) {
            snprintf(token, sizeof token, "%llu", (unsigned long long)last);
            break;
        }
        page[response.n_subscriptions++] = sub->pb->name;
        last = sub->serial;
    }
    response.next_page_token = token;
    rpc_call_reply(call, &response.base);
    return true;
}

/* Subscriptions stay, with what they hold; a later topic of the same name is another one. */
static bool delete_topic(struct pubsub_server *server, struct rpc_call *call, void *message, struct error *err)
{
    Google__Pubsub__V1__DeleteTopicRequest *request = message;
    struct ps_topic *topic = ps_get_topic(server, request->topic, err);
    struct ps_topic **link = &server->topics;
    if (!topic)
        return false;
    for (struct ps_subscription *sub = server->subscriptions; sub; sub = sub->next) {
        if (sub->topic != topic)
            continue;
        sub->topic = NULL;
        ps_set_string(&sub->pb->topic, "_deleted-topic_");
    }
    while (*link != topic)
        link = &(*link)->next;
    *link = topic->next;
    server->topic_count--;
    ps_topic_free(topic);
    ps_reply_empty(call);
    return true;
}

static void dispatch_topic(struct pubsub_server *server, const struct ps_topic *topic)
{
    for (struct ps_subscription *sub = server->subscriptions; sub; sub = sub->next) {
        if (sub->topic == topic)
            ps_dispatch(server, sub);
    }
}

/* The ids go to the call, or (call NULL) into a JSON list. */
static void publish_all(struct pubsub_server *server, struct ps_topic *topic,
                        Google__Pubsub__V1__PublishRequest *request, struct rpc_call *call, struct buf *ret_ids)
{
    struct ps_message *messages[PS_MAX_PUBLISH_MESSAGES];
    char *ids[PS_MAX_PUBLISH_MESSAGES];
    Google__Pubsub__V1__PublishResponse response;
    google__pubsub__v1__publish_response__init(&response);
    for (size_t i = 0; i < request->n_messages; i++) {
        messages[i] = ps_publish(server, topic, request->messages[i]);
        ids[i] = messages[i]->pb->message_id;
        request->messages[i] = NULL; /* the server's now */
    }
    response.n_message_ids = request->n_messages;
    response.message_ids = ids;
    if (call)
        rpc_call_reply(call, &response.base);
    for (size_t i = 0; !call && i < request->n_messages; i++)
        buf_printf(ret_ids, "%s\"%s\"", i ? "," : "", ids[i]);
    dispatch_topic(server, topic);
    for (size_t i = 0; i < request->n_messages; i++)
        ps_message_unref(server, messages[i]);
}

bool pubsub_server_publish(struct pubsub_server *server, struct slice bytes, struct buf *ret_ids, struct error *err)
{
    ProtobufCMessage *message = protobuf_c_message_unpack(&google__pubsub__v1__publish_request__descriptor, NULL,
                                                          bytes.len, (const uint8_t *)bytes.ptr);
    if (!message)
        return ps_error(err, RPC_INVALID_ARGUMENT, "the body is not a PublishRequest");
    Google__Pubsub__V1__PublishRequest *request = (Google__Pubsub__V1__PublishRequest *)message;
    pthread_mutex_lock(&server->mutex);
    struct ps_topic *topic = ps_get_topic(server, request->topic, err);
    bool ok = topic && ps_check_publish(request, bytes.len, err) &&
              ps_has_room(server, topic, request->n_messages, (int64_t)bytes.len, err);
    if (ok)
        publish_all(server, topic, request, NULL, ret_ids);
    pthread_mutex_unlock(&server->mutex);
    ps_request_free(request);
    return ok;
}

static bool publish(struct pubsub_server *server, struct rpc_call *call, void *message, struct error *err)
{
    Google__Pubsub__V1__PublishRequest *request = message;
    size_t bytes = protobuf_c_message_get_packed_size(&request->base);
    struct ps_topic *topic = ps_get_topic(server, request->topic, err);
    if (!topic || !ps_check_publish(request, bytes, err) ||
        !ps_has_room(server, topic, request->n_messages, (int64_t)bytes, err))
        return false;
    publish_all(server, topic, request, call, NULL);
    return true;
}

/* ---- Handlers ---- */

PS_HANDLER(create_topic, topic)
PS_HANDLER(update_topic, update_topic_request)
PS_HANDLER(publish, publish_request)
PS_HANDLER(get_topic, get_topic_request)
PS_HANDLER(list_topics, list_topics_request)
PS_HANDLER(list_subscriptions, list_topic_subscriptions_request)
PS_HANDLER(delete_topic, delete_topic_request)

const struct rpc_method ps_publisher_methods[] = {
    {.path = "/google.pubsub.v1.Publisher/CreateTopic", .unary = on_create_topic, .effect = true},
    {.path = "/google.pubsub.v1.Publisher/UpdateTopic", .unary = on_update_topic, .effect = true},
    {.path = "/google.pubsub.v1.Publisher/Publish", .unary = on_publish, .effect = true},
    {.path = "/google.pubsub.v1.Publisher/GetTopic", .unary = on_get_topic},
    {.path = "/google.pubsub.v1.Publisher/ListTopics", .unary = on_list_topics},
    {.path = "/google.pubsub.v1.Publisher/ListTopicSubscriptions", .unary = on_list_subscriptions},
    {.path = "/google.pubsub.v1.Publisher/DeleteTopic", .unary = on_delete_topic, .effect = true},
};
const size_t ps_publisher_method_count = sizeof ps_publisher_methods / sizeof ps_publisher_methods[0];
