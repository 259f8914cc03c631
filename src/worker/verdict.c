#include "verdict.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/metrics.h"
#include "base/timestamp.h"

const char *verdict_name(enum verdict verdict)
{
    static const char *const names[] = {
        [VERDICT_DONE] = "done", [VERDICT_RETRY] = "retry", [VERDICT_REJECT] = "reject"};
    return names[verdict];
}

enum verdict verdict_of(bool ok, const struct error *err, int delivery_attempt)
{
    if (ok)
        return VERDICT_DONE;
    if (err->class == ERROR_PERMANENT)
        return VERDICT_REJECT;
    if (err->class != ERROR_CANCELLED && delivery_attempt >= VERDICT_LAST_ATTEMPT)
        return VERDICT_REJECT;
    return VERDICT_RETRY;
}

/* Attribute values may have 1024 bytes. */
enum { ATTRIBUTE_VALUE_BYTES = 1024, OWN_ATTRIBUTES = 10 };

struct attributes {
    struct pubsub_attribute items[PUBSUB_MAX_ATTRIBUTES];
    size_t count;
};

/* Own attributes stand over those of the same name that an earlier dead-lettering left. */
static void set_attribute(struct attributes *list, const char *key, const char *value)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i].key, key) == 0) {
            list->items[i].value = value;
            return;
        }
    }
    if (list->count < PUBSUB_MAX_ATTRIBUTES)
        list->items[list->count++] = (struct pubsub_attribute){key, value};
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

static bool publish_dead_letter(const struct run_env *env, const struct message *message, const struct error *why,
                                const char *run_id, struct error *err)
{
    const struct settings *s = env->settings;
    const struct pubsub_delivery *d = message->delivery;
    struct attributes list = {.count = 0};
    char attempts[16], published[TIMESTAMP_TEXT_SIZE], reason[ATTRIBUTE_VALUE_BYTES];
    size_t room = PUBSUB_MAX_ATTRIBUTES - OWN_ATTRIBUTES;
    for (size_t i = 0; i < d->attribute_count && i < room; i++)
        list.items[list.count++] = d->attributes[i];
    snprintf(attempts, sizeof attempts, "%d", d->delivery_attempt);
    snprintf(reason, sizeof reason, "%s", why->message);
    make_utf8(reason);
    set_attribute(&list, "CloudPubSubDeadLetterSourceDeliveryCount", attempts);
    set_attribute(&list, "CloudPubSubDeadLetterSourceSubscription",
                  message->lane == TASK_LANE_BACKFILL ? s->pubsub_backfill_subscription : s->pubsub_subscription);
    set_attribute(&list, "CloudPubSubDeadLetterSourceSubscriptionProject", s->pubsub_project);
    set_attribute(&list, "CloudPubSubDeadLetterSourceTopicPublishTime",
                  timestamp_text(published, d->publish_time_us, 3));
    set_attribute(&list, "error_class", error_class_name(why->class));
    set_attribute(&list, "error_code", why->code);
    set_attribute(&list, "error_message", reason);
    set_attribute(&list, "source_message_id", d->message_id);
    set_attribute(&list, "task_id", message->task_id);
    if (run_id[0])
        set_attribute(&list, "run_id", run_id);
    const struct pubsub_message letter = {d->data, list.items, list.count};
    return pubsub_publish(env->services->pubsub, s->pubsub_dead_letter_topic, &letter, 1, NULL, NULL, NULL, NULL, err);
}

enum verdict verdict_settle(const struct run_env *env, struct message *message, enum verdict verdict,
                            const struct error *why, const char *run_id)
{
    struct error err = ERROR_INIT;
    const struct log_context log = {.context = "v2-ingestor:worker",
                                    .run_id = run_id,
                                    .task_id = message->task_id,
                                    .entity = message->task.entity,
                                    .mode = message->readable ? task_mode_name(message->task.mode) : NULL,
                                    .tenant = message->task.tenant};
    const char *message_id = message->delivery->message_id;
    const struct log_context *before = log_scope_set(&log);
    if (verdict == VERDICT_REJECT && !publish_dead_letter(env, message, why, run_id, &err)) {
        log_error(&log, LOG_MSG("Dead letter not published; the message is given back"),
                  LOG_STR("messageId", message_id), LOG_ERR(&err));
        verdict = VERDICT_RETRY;
    }
    if (verdict == VERDICT_REJECT)
        log_error(&log, LOG_MSG("Task rejected; its message is in the dead-letter topic"),
                  LOG_STR("messageId", message_id), LOG_ERR(why));
    else if (verdict == VERDICT_RETRY)
        log_warn(&log, LOG_MSG("Task not finished; its message is given back and comes again"),
                 LOG_STR("messageId", message_id), LOG_INT("deliveryAttempt", message->delivery->delivery_attempt),
                 LOG_ERR(why));
    err = ERROR_INIT;
    if (!pubsub_settle(message->from, message->delivery, verdict == VERDICT_RETRY ? PUBSUB_NACK : PUBSUB_ACK, &err))
        log_warn(&log, LOG_MSG("Message not settled; it comes again"), LOG_ERR(&err));
    message->delivery = NULL;
    log_scope_set(before);
    metrics_add(METRIC_VERDICTS, 1, METRIC_LABELS(task_lane_name(message->lane), verdict_name(verdict)));
    return verdict;
}
