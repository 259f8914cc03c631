#include "verdict.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/metrics.h"
#include "base/timestamp.h"

enum { GIVE_BACK_AT_ONCE = 500 };

const char *verdict_name(enum verdict verdict)
{
    static const char *const names[] = {
        [VERDICT_DONE] = "done", [VERDICT_DEFER] = "defer", [VERDICT_RETRY] = "retry", [VERDICT_REJECT] = "reject"};
    return names[verdict];
}

enum verdict verdict_of(bool ok, const struct error *err, int delivery_attempt)
{
    if (ok)
        return VERDICT_DONE;
    if (err->class == ERROR_PERMANENT)
        return VERDICT_REJECT;
    if (err->class == ERROR_AWAY)
        return VERDICT_DEFER;
    if (err->class != ERROR_CANCELLED && delivery_attempt >= VERDICT_LAST_ATTEMPT)
        return VERDICT_REJECT;
    return VERDICT_RETRY;
}

/* ---- The dead letter ---------------------------------------------------------------------------------------------- */

/* What goes with the data, as far as the service's limits allow: the reason first, then what the message had. */
struct attributes {
    struct pubsub_attribute items[PUBSUB_MAX_ATTRIBUTES];
    size_t count;
    int64_t room; /* bytes */
};

/* Own ones, also those without a value, stand over what an earlier dead-lettering, or anybody, left in the message. */
static bool has_key(const struct pubsub_attribute *list, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].key, key) == 0)
            return true;
    return false;
}

static void add_attribute(struct attributes *list, const char *key, const char *value)
{
    const struct pubsub_attribute attribute = {key, value};
    int64_t bytes = pubsub_attribute_bytes(&attribute);
    if (list->count == PUBSUB_MAX_ATTRIBUTES || bytes > list->room || pubsub_attribute_refusal(&attribute))
        return;
    list->items[list->count++] = attribute;
    list->room -= bytes;
}

/* Pub/Sub refuses a message with an attribute that is not UTF-8; an error may quote foreign bytes. */
static void make_utf8(char *text)
{
    if (slice_is_utf8(slice_str(text)))
        return;
    for (; *text; text++)
        if ((unsigned char)*text >= 0x80)
            *text = '?';
}

/* A replay is a new message to Pub/Sub; when its task was published first, its attributes tell. */
static const char *first_published(const struct pubsub_delivery *d, const char *published)
{
    int64_t first_us;
    for (size_t i = 0; i < d->attribute_count; i++)
        if (strcmp(d->attributes[i].key, "first_publish_time") == 0 &&
            timestamp_parse(slice_str(d->attributes[i].value), &first_us, NULL) && first_us <= d->publish_time_us)
            return d->attributes[i].value;
    return published;
}

static bool publish_dead_letter(const struct run_env *env, const struct message *message, const struct error *why,
                                const char *run_id, struct error *err)
{
    const struct settings *s = env->settings;
    const struct pubsub_delivery *d = message->delivery;
    struct pubsub_client *client = env->services->pubsub;
    struct attributes list = {.room = pubsub_attribute_room(client, s->pubsub_dead_letter_topic, d->data.len)};
    char attempts[16], published[TIMESTAMP_TEXT_SIZE], reason[PUBSUB_MAX_VALUE_BYTES];
    snprintf(attempts, sizeof attempts, "%d", d->delivery_attempt);
    timestamp_text(published, d->publish_time_us, 3);
    snprintf(reason, sizeof reason, "%s", why->message);
    make_utf8(reason);
    const struct pubsub_attribute own[] = {
        {"error_class", error_class_name(why->class)},
        {"error_code", why->code},
        {"run_id", run_id},
        {"task_id", message->task_id},
        {"source_message_id", d->message_id},
        {"CloudPubSubDeadLetterSourceDeliveryCount", attempts},
        {"CloudPubSubDeadLetterSourceSubscription",
         message->lane == TASK_LANE_BACKFILL ? s->pubsub_backfill_subscription : s->pubsub_subscription},
        {"CloudPubSubDeadLetterSourceSubscriptionProject", s->pubsub_project},
        {"CloudPubSubDeadLetterSourceTopicPublishTime", published},
        {"first_publish_time", first_published(d, published)},
        {"error_message", reason},
    };
    const size_t own_count = sizeof own / sizeof own[0];
    for (size_t i = 0; i < own_count; i++)
        if (own[i].value[0])
            add_attribute(&list, own[i].key, own[i].value);
    for (size_t i = 0; i < d->attribute_count; i++)
        if (!has_key(own, own_count, d->attributes[i].key))
            add_attribute(&list, d->attributes[i].key, d->attributes[i].value);
    const struct pubsub_message letter = {d->data, list.items, list.count};
    return pubsub_publish(client, s->pubsub_dead_letter_topic, &letter, 1, NULL, NULL, NULL, d->lease, err);
}

/* ---- Settling ----------------------------------------------------------------------------------------------------- */

/* One line per end; a success has been told by its run. */
static void tell(const struct log_context *log, enum verdict verdict, const struct message *message,
                 const struct error *why)
{
    static const struct {
        enum log_level level;
        const char *text;
    } lines[] = {
        [VERDICT_DEFER] = {LOG_LEVEL_INFO, "Task deferred; its message is kept until the source answers again"},
        [VERDICT_RETRY] = {LOG_LEVEL_WARN, "Task not finished; its message is given back and comes again"},
        [VERDICT_REJECT] = {LOG_LEVEL_ERROR, "Task rejected; its message is in the dead-letter topic"},
    };
    if (verdict != VERDICT_DONE)
        log_at(lines[verdict].level, log, LOG_MSG(lines[verdict].text),
               LOG_STR("messageId", message->delivery->message_id),
               LOG_INT("deliveryAttempt", message->delivery->delivery_attempt), LOG_ERR(why));
}

/* The reason is told too: when the message is lost track of here, this line is all there is. */
static void tell_unpublished(const struct log_context *log, const struct message *message, const struct error *why,
                             const struct error *err)
{
    log_error(log, LOG_MSG("Dead letter not published; its message is given back and comes again"),
              LOG_STR("messageId", message->delivery->message_id),
              LOG_INT("deliveryAttempt", message->delivery->delivery_attempt), LOG_STR("reason", why->message),
              LOG_STR("reasonCode", why->code), LOG_ERR(err));
}

static void settle(const struct log_context *log, struct message *message, enum pubsub_settlement how)
{
    struct error err = ERROR_INIT;
    if (!pubsub_settle(message->from, message->delivery, how, &err))
        log_warn(log, LOG_MSG("Message not settled; it comes again"), LOG_ERR(&err));
    message->delivery = NULL;
}

static struct log_context context_of(const struct message *message, const char *run_id)
{
    return (struct log_context){.context = "v2-ingestor:worker",
                                .run_id = run_id,
                                .task_id = message->task_id,
                                .entity = message->task.entity,
                                .mode = message->readable ? task_mode_name(message->task.mode) : NULL,
                                .tenant = message->task.tenant};
}

static void count(const struct message *message, enum verdict verdict)
{
    metrics_add(METRIC_VERDICTS, 1, METRIC_LABELS(task_lane_name(message->lane), verdict_name(verdict)));
}

int64_t verdict_give_back(struct message *list, const struct error *why)
{
    int64_t given = 0;
    while (list) {
        struct pubsub_subscriber *from = list->from;
        struct pubsub_delivery *deliveries[GIVE_BACK_AT_ONCE];
        size_t count_now = 0;
        while (list && list->from == from && count_now < GIVE_BACK_AT_ONCE) {
            struct message *message = list;
            const struct log_context log = context_of(message, NULL);
            list = message->next;
            tell(&log, VERDICT_RETRY, message, why);
            count(message, VERDICT_RETRY);
            deliveries[count_now++] = message->delivery;
            message_free(message);
        }
        pubsub_give_back(from, deliveries, count_now);
        given += (int64_t)count_now;
    }
    return given;
}

enum verdict verdict_settle(const struct run_env *env, struct message *message, enum verdict verdict,
                            const struct error *why, const char *run_id)
{
    struct error err = ERROR_INIT;
    const struct log_context log = context_of(message, run_id);
    const struct log_context *before = log_scope_set(&log);
    if (verdict == VERDICT_REJECT && !publish_dead_letter(env, message, why, run_id, &err)) {
        tell_unpublished(&log, message, why, &err);
        verdict = VERDICT_RETRY;
    } else {
        tell(&log, verdict, message, why);
    }
    if (verdict != VERDICT_DEFER)
        settle(&log, message, verdict == VERDICT_RETRY ? PUBSUB_NACK : PUBSUB_ACK);
    log_scope_set(before);
    count(message, verdict);
    return verdict;
}
