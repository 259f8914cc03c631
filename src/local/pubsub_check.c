/* pubsub_check.c - what the service accepts: names, limits, settings; and how requests are read.
 *
 * The texts of errors follow the service's where it has them. Features that this server does not have are refused with
 * UNIMPLEMENTED and their name, never ignored. Fields that our .proto leaves out arrive as unknown fields and are
 * recognised by number. */
#include <stdlib.h>

#include "base/clock.h"
#include "pubsub_internal.h"

enum {
    ID_MIN_BYTES = 3,
    ID_MAX_BYTES = 255,
    PROJECT_MAX_BYTES = 128,
    DEFAULT_PAGE = 100,
    MAX_LABELS = 64,
    MAX_LABEL_BYTES = 63,
    MAX_ATTRIBUTES = 100,
    MAX_KEY_BYTES = 256,
    MAX_VALUE_BYTES = 1024,
    MAX_ORDERING_KEY_BYTES = 1024,
    MIN_RETENTION_S = 600,
    MAX_RETENTION_S = 31 * 86400,
    MIN_EXPIRATION_S = 86400,
    MAX_BACKOFF_S = 600,
    MIN_ATTEMPTS = 5,
    MAX_ATTEMPTS = 100,
    REQUEST_MEMORY_FACTOR = 4, /* what unpacking may allocate, per byte of the request */
    REQUEST_MEMORY_BASE = 16 << 20,
};

bool ps_error(struct error *err, enum rpc_status status, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    error_setv(err, ERROR_PERMANENT, "pubsub", fmt, args);
    va_end(args);
    err->status = (int)status;
    return false;
}

/* ---- Names ---- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_name_char(char c)
{
    return is_letter(c) || (c >= '0' && c <= '9') || (c && strchr("-_.~+%", c));
}

static bool all_name_chars(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_name_char(text.ptr[i]))
            return false;
    }
    return true;
}

static bool is_id(struct slice id)
{
    return id.len >= ID_MIN_BYTES && id.len <= ID_MAX_BYTES && is_letter(id.ptr[0]) && all_name_chars(id) &&
           !slice_starts_with(id, SLICE_LIT("goog"));
}

static bool is_project(struct slice id)
{
    for (size_t i = 0; i < id.len; i++) {
        if (!is_name_char(id.ptr[i]) && id.ptr[i] != ':') /* "example.com:project" */
            return false;
    }
    return id.len > 0 && id.len <= PROJECT_MAX_BYTES;
}

bool ps_check_project(const char *name, struct error *err)
{
    struct slice rest = slice_str(name);
    if (slice_eq_str(slice_cut(&rest, '/'), "projects") && is_project(rest))
        return true;
    return ps_error(err, RPC_INVALID_ARGUMENT,
                    "Invalid [projects] name: (name=%.300s); it must be of the form projects/{project}", name);
}

bool ps_check_name(const char *name, const char *collection, struct error *err)
{
    struct slice rest = slice_str(name);
    bool ok = slice_eq_str(slice_cut(&rest, '/'), "projects") && is_project(slice_cut(&rest, '/')) &&
              slice_eq_str(slice_cut(&rest, '/'), collection) && is_id(rest);
    if (ok)
        return true;
    return ps_error(
        err, RPC_INVALID_ARGUMENT,
        "Invalid [%s] name: (name=%.300s); it must be of the form projects/{project}/%s/{id}, where {id} has 3 to "
        "255 letters, digits or any of -_.~+%%, starts with a letter and not with \"goog\"",
        collection, name, collection);
}

/* ---- Settings ---- */

struct refused_field {
    unsigned number;
    const char *name;
};

static const struct refused_field topic_refused[] = {{3, "message_storage_policy"},
                                                     {6, "schema_settings"},
                                                     {10, "ingestion_data_source_settings"},
                                                     {13, "message_transforms"}};
static const struct refused_field subscription_refused[] = {{18, "bigquery_config"},
                                                            {22, "cloud_storage_config"},
                                                            {23, "analytics_hub_subscription_info"},
                                                            {25, "message_transforms"},
                                                            {27, "bigtable_config"}};

static bool refuse(struct error *err, const char *what)
{
    return ps_error(err, RPC_UNIMPLEMENTED, "%s is not supported by the local Pub/Sub server", what);
}

static bool check_unknown_fields(const ProtobufCMessage *message, const struct refused_field *rows, size_t count,
                                 struct error *err)
{
    for (unsigned i = 0; i < message->n_unknown_fields; i++) {
        for (size_t r = 0; r < count; r++) {
            if (message->unknown_fields[i].tag == rows[r].number)
                return refuse(err, rows[r].name);
        }
    }
    return true;
}

static bool check_duration(const Google__Protobuf__Duration *d, int64_t min_s, int64_t max_s, const char *field,
                           struct error *err)
{
    if (!d)
        return true;
    bool whole = d->nanos >= 0 && d->nanos < 1000000000;
    if (whole && d->seconds >= min_s && (d->seconds < max_s || (d->seconds == max_s && d->nanos == 0)))
        return true;
    return ps_error(err, RPC_INVALID_ARGUMENT,
                    "The value for %s is out of range. You passed %llds; it must be %llds to %llds.", field,
                    (long long)d->seconds, (long long)min_s, (long long)max_s);
}

static bool check_label(const char *key, const char *value, struct error *err)
{
    size_t key_len = strlen(key);
    if (key_len > 0 && key_len <= MAX_LABEL_BYTES && strlen(value) <= MAX_LABEL_BYTES &&
        !(key[0] >= 'A' && key[0] <= 'Z'))
        return true;
    return ps_error(err, RPC_INVALID_ARGUMENT, "Invalid label \"%.80s\": keys have 1 to %d bytes, values up to %d", key,
                    MAX_LABEL_BYTES, MAX_LABEL_BYTES);
}

bool ps_check_topic(const Google__Pubsub__V1__Topic *topic, struct error *err)
{
    if (topic->kms_key_name[0])
        return refuse(err, "kms_key_name");
    if (!check_unknown_fields(&topic->base, topic_refused, sizeof topic_refused / sizeof topic_refused[0], err))
        return false;
    if (topic->n_labels > MAX_LABELS)
        return ps_error(err, RPC_INVALID_ARGUMENT, "at most %d labels are allowed", MAX_LABELS);
    for (size_t i = 0; i < topic->n_labels; i++) {
        if (!check_label(topic->labels[i]->key, topic->labels[i]->value, err))
            return false;
    }
    return check_duration(topic->message_retention_duration, MIN_RETENTION_S, MAX_RETENTION_S,
                          "message_retention_duration", err);
}

static bool check_refused_features(const Google__Pubsub__V1__Subscription *sub, struct error *err)
{
    if (sub->enable_message_ordering)
        return refuse(err, "message ordering (enable_message_ordering)");
    if (sub->filter[0])
        return refuse(err, "a subscription filter");
    if (sub->enable_exactly_once_delivery)
        return refuse(err, "exactly-once delivery (enable_exactly_once_delivery)");
    if (sub->push_config && sub->push_config->push_endpoint[0])
        return refuse(err, "a push subscription (push_config)");
    return check_unknown_fields(&sub->base, subscription_refused,
                                sizeof subscription_refused / sizeof subscription_refused[0], err);
}

static int64_t duration_ns(const Google__Protobuf__Duration *d, int64_t fallback_s)
{
    return d ? d->seconds * 1000000000 + d->nanos : fallback_s * 1000000000;
}

static bool check_retry(const Google__Pubsub__V1__RetryPolicy *retry, struct error *err)
{
    if (!retry)
        return true;
    if (!check_duration(retry->minimum_backoff, 0, MAX_BACKOFF_S, "retry_policy.minimum_backoff", err) ||
        !check_duration(retry->maximum_backoff, 0, MAX_BACKOFF_S, "retry_policy.maximum_backoff", err))
        return false;
    if (duration_ns(retry->minimum_backoff, 10) <= duration_ns(retry->maximum_backoff, MAX_BACKOFF_S))
        return true;
    return ps_error(err, RPC_INVALID_ARGUMENT, "retry_policy.minimum_backoff must not exceed maximum_backoff");
}

static bool check_dead_letter(const Google__Pubsub__V1__DeadLetterPolicy *policy, const char *topic, struct error *err)
{
    if (!policy)
        return true;
    if (!ps_check_name(policy->dead_letter_topic, "topics", err))
        return false;
    if (strcmp(policy->dead_letter_topic, topic) == 0)
        return ps_error(err, RPC_INVALID_ARGUMENT, "the dead letter topic must not be the topic of the subscription");
    if (policy->max_delivery_attempts == 0 ||
        (policy->max_delivery_attempts >= MIN_ATTEMPTS && policy->max_delivery_attempts <= MAX_ATTEMPTS))
        return true;
    return ps_error(err, RPC_INVALID_ARGUMENT, "max_delivery_attempts must be between %d and %d. You passed %d.",
                    MIN_ATTEMPTS, MAX_ATTEMPTS, policy->max_delivery_attempts);
}

bool ps_check_subscription(const Google__Pubsub__V1__Subscription *sub, struct error *err)
{
    if (!check_refused_features(sub, err))
        return false;
    if (sub->ack_deadline_seconds != 0 &&
        (sub->ack_deadline_seconds < PS_MIN_ACK_DEADLINE_S || sub->ack_deadline_seconds > PS_MAX_ACK_DEADLINE_S))
        return ps_error(err, RPC_INVALID_ARGUMENT,
                        "Invalid ack deadline given: %d seconds. It must be between %d and %d seconds",
                        sub->ack_deadline_seconds, PS_MIN_ACK_DEADLINE_S, PS_MAX_ACK_DEADLINE_S);
    if (sub->n_labels > MAX_LABELS)
        return ps_error(err, RPC_INVALID_ARGUMENT, "at most %d labels are allowed", MAX_LABELS);
    for (size_t i = 0; i < sub->n_labels; i++) {
        if (!check_label(sub->labels[i]->key, sub->labels[i]->value, err))
            return false;
    }
    if (sub->expiration_policy && !check_duration(sub->expiration_policy->ttl, MIN_EXPIRATION_S, INT64_MAX / 1000000000,
                                                  "expiration_policy.ttl", err))
        return false;
    return check_duration(sub->message_retention_duration, MIN_RETENTION_S, MAX_RETENTION_S,
                          "message_retention_duration", err) &&
           check_retry(sub->retry_policy, err) && check_dead_letter(sub->dead_letter_policy, sub->topic, err);
}

/* ---- Publish ---- */

static bool check_attribute(const char *key, const char *value, struct error *err)
{
    size_t len = strlen(key);
    if (len == 0 || len > MAX_KEY_BYTES)
        return ps_error(err, RPC_INVALID_ARGUMENT, "an attribute key has %zu bytes; 1 to %d are allowed", len,
                        MAX_KEY_BYTES);
    if (strncmp(key, "goog", 4) == 0)
        return ps_error(err, RPC_INVALID_ARGUMENT, "the attribute key \"%s\" must not start with \"goog\"", key);
    if (strlen(value) > MAX_VALUE_BYTES)
        return ps_error(err, RPC_INVALID_ARGUMENT, "the value of attribute \"%s\" has %zu bytes; up to %d are allowed",
                        key, strlen(value), MAX_VALUE_BYTES);
    if (!slice_is_utf8(slice_str(key)) || !slice_is_utf8(slice_str(value)))
        return ps_error(err, RPC_INVALID_ARGUMENT, "an attribute is not valid UTF-8");
    return true;
}

static bool check_message(const Google__Pubsub__V1__PubsubMessage *message, struct error *err)
{
    if (message->data.len == 0 && message->n_attributes == 0)
        return ps_error(
            err, RPC_INVALID_ARGUMENT,
            "Some messages in the publish request do not have any data or attributes: each message must have non-empty "
            "data or at least one attribute.");
    if (message->n_attributes > MAX_ATTRIBUTES)
        return ps_error(err, RPC_INVALID_ARGUMENT, "a message has %zu attributes; up to %d are allowed",
                        message->n_attributes, MAX_ATTRIBUTES);
    if (strlen(message->ordering_key) > MAX_ORDERING_KEY_BYTES)
        return ps_error(err, RPC_INVALID_ARGUMENT, "an ordering key has more than %d bytes", MAX_ORDERING_KEY_BYTES);
    if (protobuf_c_message_get_packed_size(&message->base) > PS_MAX_MESSAGE_BYTES)
        return ps_error(err, RPC_INVALID_ARGUMENT, "a message is larger than %d bytes", PS_MAX_MESSAGE_BYTES);
    for (size_t i = 0; i < message->n_attributes; i++) {
        if (!check_attribute(message->attributes[i]->key, message->attributes[i]->value, err))
            return false;
    }
    return true;
}

bool ps_check_publish(const Google__Pubsub__V1__PublishRequest *request, size_t request_bytes, struct error *err)
{
    if (request->n_messages == 0)
        return ps_error(
            err, RPC_INVALID_ARGUMENT,
            "The value for message_count is too small. You passed 0 in the request, but the minimum value is 1.");
    if (request->n_messages > PS_MAX_PUBLISH_MESSAGES)
        return ps_error(
            err, RPC_INVALID_ARGUMENT,
            "The value for message_count is too large. You passed %zu in the request, but the maximum value is %d.",
            request->n_messages, PS_MAX_PUBLISH_MESSAGES);
    if (request_bytes > PS_MAX_PUBLISH_BYTES)
        return ps_error(
            err, RPC_INVALID_ARGUMENT,
            "The value for request_size is too large. You passed %zu in the request, but the maximum value is %d.",
            request_bytes, PS_MAX_PUBLISH_BYTES);
    for (size_t i = 0; i < request->n_messages; i++) {
        if (!check_message(request->messages[i], err))
            return false;
        if (strcmp(request->messages[i]->ordering_key, request->messages[0]->ordering_key) != 0)
            return ps_error(
                err, RPC_FAILED_PRECONDITION,
                "In a single publish request, all messages must have no ordering key or they must all have the same "
                "ordering key.");
    }
    return true;
}

/* ---- Requests ---- */

struct budget {
    size_t left;
};

static void *budget_alloc(void *user, size_t size)
{
    struct budget *budget = user;
    if (size > budget->left)
        return NULL;
    budget->left -= size;
    return malloc(size);
}

static void budget_free(void *user, void *ptr)
{
    (void)user;
    free(ptr);
}

void *ps_request(struct rpc_call *call, const struct rpc_message *message, const ProtobufCMessageDescriptor *type)
{
    struct slice bytes = rpc_message_bytes(message);
    struct budget budget = {bytes.len * REQUEST_MEMORY_FACTOR + REQUEST_MEMORY_BASE};
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};
    void *request = protobuf_c_message_unpack(type, &allocator, bytes.len, (const uint8_t *)bytes.ptr);
    if (!request) {
        char *text = xasprintf("the request is not a %s", type->name);
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, text);
        free(text);
    }
    return request;
}

void ps_request_free(void *request)
{
    if (request)
        protobuf_c_message_free_unpacked(request, NULL);
}

void *ps_clone(const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = xmalloc(len ? len : 1);
    protobuf_c_message_pack(message, bytes);
    void *copy = protobuf_c_message_unpack(message->descriptor, NULL, len, bytes);
    BUG_ON(!copy);
    free(bytes);
    return copy;
}

void ps_set_string(char **field, const char *value)
{
    if (*field != protobuf_c_empty_string)
        free(*field);
    *field = xstrdup(value);
}

void ps_reply_empty(struct rpc_call *call)
{
    Google__Protobuf__Empty empty;
    google__protobuf__empty__init(&empty);
    rpc_call_reply(call, &empty.base);
}

/* ---- Lists ---- */

bool ps_page_start(const char *token, uint64_t *ret, struct error *err)
{
    int64_t serial = 0;
    if (token[0] && (!slice_to_int64(slice_str(token), &serial) || serial < 0))
        return ps_error(err, RPC_INVALID_ARGUMENT, "Invalid page token \"%.100s\"", token);
    *ret = (uint64_t)serial;
    return true;
}

size_t ps_page_size(int32_t wanted)
{
    if (wanted <= 0)
        return DEFAULT_PAGE;
    return wanted < PS_MAX_PAGE ? (size_t)wanted : PS_MAX_PAGE;
}

bool ps_in_project(const char *name, const char *project)
{
    size_t len = strlen(project);
    return strncmp(name, project, len) == 0 && name[len] == '/';
}

/* ---- Handlers ---- */

void ps_serve(struct pubsub_server *server, struct rpc_call *call, const struct rpc_message *message,
              const ProtobufCMessageDescriptor *type, ps_method_fn *method)
{
    struct error err = ERROR_INIT;
    void *request = ps_request(call, message, type);
    if (!request)
        return;
    pthread_mutex_lock(&server->mutex);
    bool ok = method(server, call, request, &err);
    pthread_mutex_unlock(&server->mutex);
    if (!ok)
        rpc_call_fail(call, &err);
    ps_request_free(request);
}
