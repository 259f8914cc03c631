/* admin.c - topics and subscriptions for `init` and `doctor`: look first, create what is missing, say how the rest
 * differs.
 *
 * Nothing that exists is ever changed: an operator may have had reasons, so differences are told and left. */
#include <stdio.h>
#include <stdlib.h>

#include "pubsub.pb-c.h"
#include "pubsub_internal.h"

enum { STATUS_NOT_FOUND = 5, STATUS_ALREADY_EXISTS = 6, DEFAULT_DELIVERY_ATTEMPTS = 5 };

typedef Google__Pubsub__V1__Subscription wire_subscription;

static bool status_is(const struct error *err, int code)
{
    return err->status == code;
}

static bool topic_call(struct pubsub_client *client, const char *method, const char *routing_key, const char *name,
                       const ProtobufCMessage *request, struct error *err)
{
    struct pubsub_call call = {.method = method,
                               .routing_key = routing_key,
                               .resource = name,
                               .request = request,
                               .reply_type = &google__pubsub__v1__topic__descriptor};
    return pubsub_call(client, &call, NULL, err);
}

bool pubsub_ensure_topic(struct pubsub_client *client, const char *topic, bool *ret_created, struct error *err)
{
    Google__Pubsub__V1__GetTopicRequest get;
    google__pubsub__v1__get_topic_request__init(&get);
    Google__Pubsub__V1__Topic wanted;
    google__pubsub__v1__topic__init(&wanted);
    struct error why = ERROR_INIT;
    char *name = pubsub_topic_name(client, topic);
    get.topic = name;
    wanted.name = name;
    bool created = false;
    bool ok = topic_call(client, "/google.pubsub.v1.Publisher/GetTopic", "topic", name, &get.base, &why);
    if (!ok && status_is(&why, STATUS_NOT_FOUND)) {
        created = ok = topic_call(client, "/google.pubsub.v1.Publisher/CreateTopic", "name", name, &wanted.base, &why);
        ok = ok || status_is(&why, STATUS_ALREADY_EXISTS); /* made by somebody else meanwhile */
    }
    free(name);
    if (!ok) {
        if (err)
            *err = why;
        return error_prefix(err, "topic \"%s\"", topic);
    }
    *ret_created = created;
    return true;
}

bool pubsub_topic_exists(struct pubsub_client *client, const char *topic, int64_t timeout_ms, bool *ret,
                         struct cancel *cancel, struct error *err)
{
    Google__Pubsub__V1__GetTopicRequest get;
    google__pubsub__v1__get_topic_request__init(&get);
    struct error why = ERROR_INIT;
    get.topic = pubsub_topic_name(client, topic);
    struct pubsub_call call = {.method = "/google.pubsub.v1.Publisher/GetTopic",
                               .routing_key = "topic",
                               .resource = get.topic,
                               .request = &get.base,
                               .reply_type = &google__pubsub__v1__topic__descriptor,
                               .timeout_ms = timeout_ms,
                               .until_ms = PUBSUB_ONE_TRY,
                               .cancel = cancel};
    bool found = pubsub_call(client, &call, NULL, &why);
    free(get.topic);
    if (!found && !status_is(&why, STATUS_NOT_FOUND)) {
        if (err)
            *err = why;
        return error_prefix(err, "topic \"%s\"", topic);
    }
    *ret = found;
    return true;
}

static bool get_subscription(struct pubsub_client *client, char *name, wire_subscription **ret, struct error *err)
{
    Google__Pubsub__V1__GetSubscriptionRequest get;
    google__pubsub__v1__get_subscription_request__init(&get);
    ProtobufCMessage *reply = NULL;
    get.subscription = name;
    struct pubsub_call call = {.method = "/google.pubsub.v1.Subscriber/GetSubscription",
                               .routing_key = "subscription",
                               .resource = name,
                               .request = &get.base,
                               .reply_type = &google__pubsub__v1__subscription__descriptor};
    if (!pubsub_call(client, &call, &reply, err))
        return false;
    *ret = (wire_subscription *)reply;
    return true;
}

/* All parts of a wanted subscription on the caller's stack. */
struct wanted {
    wire_subscription subscription;
    Google__Pubsub__V1__RetryPolicy retry;
    Google__Pubsub__V1__DeadLetterPolicy dead_letter;
    Google__Pubsub__V1__ExpirationPolicy expiration;
    Google__Protobuf__Duration min_backoff, max_backoff, retention;
    char *topic, *dead_letter_topic;
};

static void wanted_init(struct wanted *w, const struct pubsub_client *client, char *name,
                        const struct pubsub_subscription_options *options)
{
    google__pubsub__v1__subscription__init(&w->subscription);
    google__pubsub__v1__retry_policy__init(&w->retry);
    google__pubsub__v1__dead_letter_policy__init(&w->dead_letter);
    google__pubsub__v1__expiration_policy__init(&w->expiration);
    google__protobuf__duration__init(&w->min_backoff);
    google__protobuf__duration__init(&w->max_backoff);
    google__protobuf__duration__init(&w->retention);
    w->topic = pubsub_topic_name(client, options->topic);
    w->dead_letter_topic = options->dead_letter_topic ? pubsub_topic_name(client, options->dead_letter_topic) : NULL;
    w->subscription.name = name;
    w->subscription.topic = w->topic;
    w->subscription.ack_deadline_seconds = options->ack_deadline_s;
    w->min_backoff.seconds = options->min_backoff_s;
    w->max_backoff.seconds = options->max_backoff_s;
    w->retry.minimum_backoff = &w->min_backoff;
    w->retry.maximum_backoff = &w->max_backoff;
    if (options->max_backoff_s > 0)
        w->subscription.retry_policy = &w->retry;
    w->dead_letter.dead_letter_topic = w->dead_letter_topic;
    w->dead_letter.max_delivery_attempts = options->max_delivery_attempts;
    if (w->dead_letter_topic)
        w->subscription.dead_letter_policy = &w->dead_letter;
    if (options->never_expires)
        w->subscription.expiration_policy = &w->expiration; /* present and without a ttl: never */
    w->retention.seconds = options->retention_s;
    if (options->retention_s > 0)
        w->subscription.message_retention_duration = &w->retention;
}

static void wanted_release(struct wanted *w)
{
    free(w->topic);
    free(w->dead_letter_topic);
}

static bool create_subscription(struct pubsub_client *client, char *name, const struct wanted *w, struct error *err)
{
    struct pubsub_call call = {.method = "/google.pubsub.v1.Subscriber/CreateSubscription",
                               .routing_key = "name",
                               .resource = name,
                               .request = &w->subscription.base,
                               .reply_type = &google__pubsub__v1__subscription__descriptor};
    return pubsub_call(client, &call, NULL, err);
}

/* ---- Comparing ---- */

static void differ(struct buf *out, const char *what, const char *is, const char *want)
{
    buf_printf(out, "%s%s is %s, wanted %s", out->len > 0 ? "; " : "", what, *is ? is : "unset",
               *want ? want : "unset");
}

static void compare_text(struct buf *out, const char *what, const char *is, const char *want)
{
    if (strcmp(is, want) != 0)
        differ(out, what, is, want);
}

static void compare_int(struct buf *out, const char *what, int64_t is, int64_t want)
{
    char is_text[32], want_text[32];
    if (is == want)
        return;
    snprintf(is_text, sizeof is_text, "%lld", (long long)is);
    snprintf(want_text, sizeof want_text, "%lld", (long long)want);
    differ(out, what, is_text, want_text);
}

static int64_t seconds_of(const Google__Protobuf__Duration *duration, int64_t unset)
{
    return duration ? duration->seconds : unset;
}

static void compare_dead_letter(struct buf *out, const wire_subscription *is, const wire_subscription *want)
{
    const Google__Pubsub__V1__DeadLetterPolicy *a = is->dead_letter_policy, *b = want->dead_letter_policy;
    compare_text(out, "the dead-letter topic", a ? a->dead_letter_topic : "", b ? b->dead_letter_topic : "");
    if (!a || !b)
        return;
    int attempts = a->max_delivery_attempts ? a->max_delivery_attempts : DEFAULT_DELIVERY_ATTEMPTS;
    compare_int(out, "the number of delivery attempts", attempts, b->max_delivery_attempts);
}

static void compare_retry(struct buf *out, const wire_subscription *is, const wire_subscription *want)
{
    if (is->retry_policy && want->retry_policy) {
        compare_int(out, "the minimum backoff (s)", seconds_of(is->retry_policy->minimum_backoff, 10),
                    want->retry_policy->minimum_backoff->seconds);
        compare_int(out, "the maximum backoff (s)", seconds_of(is->retry_policy->maximum_backoff, 600),
                    want->retry_policy->maximum_backoff->seconds);
    } else if (is->retry_policy || want->retry_policy) {
        differ(out, "the retry policy", is->retry_policy ? "set" : "", want->retry_policy ? "set" : "");
    }
}

/* Properties that this program never sets, because its deliveries could not work with them. */
static void compare_forbidden(struct buf *out, const wire_subscription *is)
{
    const struct {
        const char *what;
        bool set;
    } forbidden[] = {
        {"a push endpoint", is->push_config && *is->push_config->push_endpoint},
        {"message ordering", is->enable_message_ordering},
        {"exactly-once delivery", is->enable_exactly_once_delivery},
        {"a filter", *is->filter != '\0'},
        {"its detachment from the topic", is->detached},
    };
    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++) {
        if (forbidden[i].set)
            differ(out, forbidden[i].what, "set", "");
    }
}

/* Owned text, or NULL when there is no difference. */
static char *compare(const wire_subscription *is, const struct wanted *w)
{
    const wire_subscription *want = &w->subscription;
    struct buf out = BUF_INIT;
    compare_text(&out, "the topic", is->topic, want->topic);
    compare_int(&out, "the ack deadline (s)", is->ack_deadline_seconds, want->ack_deadline_seconds);
    compare_retry(&out, is, want);
    compare_dead_letter(&out, is, want);
    bool expires = !is->expiration_policy || is->expiration_policy->ttl;
    if (want->expiration_policy && expires)
        differ(&out, "the expiration", "set", "never");
    if (want->message_retention_duration)
        compare_int(&out, "the retention (s)", seconds_of(is->message_retention_duration, 7 * 86400),
                    want->message_retention_duration->seconds);
    compare_forbidden(&out, is);
    if (out.len > 0)
        return buf_detach(&out);
    buf_release(&out);
    return NULL;
}

bool pubsub_ensure_subscription(struct pubsub_client *client, const char *subscription,
                                const struct pubsub_subscription_options *options, bool *ret_created,
                                char **ret_difference, struct error *err)
{
    struct wanted wanted = {.topic = NULL};
    struct error why = ERROR_INIT;
    wire_subscription *there = NULL;
    char *name = pubsub_subscription_name(client, subscription);
    bool created = false;
    wanted_init(&wanted, client, name, options);
    bool ok = get_subscription(client, name, &there, &why);
    if (!ok && status_is(&why, STATUS_NOT_FOUND)) {
        created = ok = create_subscription(client, name, &wanted, &why);
        if (!ok && status_is(&why, STATUS_ALREADY_EXISTS))
            ok = get_subscription(client, name, &there, &why);
    }
    if (ok) {
        *ret_created = created;
        *ret_difference = there ? compare(there, &wanted) : NULL;
    } else {
        if (err)
            *err = why;
        error_prefix(err, "subscription \"%s\"", subscription);
    }
    if (there)
        protobuf_c_message_free_unpacked(&there->base, NULL);
    wanted_release(&wanted);
    free(name);
    return ok;
}

bool pubsub_subscription_exists(struct pubsub_client *client, const char *subscription, bool *ret, struct error *err)
{
    wire_subscription *there = NULL;
    struct error why = ERROR_INIT;
    char *name = pubsub_subscription_name(client, subscription);
    bool found = get_subscription(client, name, &there, &why);
    free(name);
    if (there)
        protobuf_c_message_free_unpacked(&there->base, NULL);
    if (!found && !status_is(&why, STATUS_NOT_FOUND)) {
        if (err)
            *err = why;
        return error_prefix(err, "subscription \"%s\"", subscription);
    }
    *ret = found;
    return true;
}
