/* dlq_letter.c - what a dead letter says of itself. Pure: everything comes from its attributes and its data.
 *
 * A worker's own dead letter has error_class and the like; one that Pub/Sub forwarded, because it killed its workers, has only the
 * CloudPubSubDeadLetterSource* attributes, which both have. */
#include "dlq_letter.h"

#include <stdio.h>
#include <stdlib.h>

const char *letter_attribute(const struct pubsub_delivery *delivery, const char *key)
{
    for (size_t i = 0; i < delivery->attribute_count; i++)
        if (strcmp(delivery->attributes[i].key, key) == 0)
            return delivery->attributes[i].value;
    return "";
}

static int64_t number_of(const char *text)
{
    int64_t number;
    return slice_to_int64(slice_str(text), &number) && number > 0 ? number : 0;
}

void letter_read(const struct pubsub_delivery *d, const struct settings *settings, struct dlq_letter *ret)
{
    struct error ignored = ERROR_INIT;
    int64_t published_us;
    *ret = (struct dlq_letter){
        .id = d->message_id,
        .data = d->data,
        .attributes = d->attributes,
        .attribute_count = d->attribute_count,
        .dead_us = d->publish_time_us,
        .attempts = number_of(letter_attribute(d, "CloudPubSubDeadLetterSourceDeliveryCount")),
        .replays = number_of(letter_attribute(d, "replay_count")),
        .task_id = letter_attribute(d, "task_id"),
        .run_id = letter_attribute(d, "run_id"),
        .source_message_id = letter_attribute(d, "source_message_id"),
        .error_class = letter_attribute(d, "error_class"),
        .error_code = letter_attribute(d, "error_code"),
        .error_message = letter_attribute(d, "error_message"),
    };
    if (timestamp_parse(slice_str(letter_attribute(d, "first_publish_time")), &published_us, NULL) ||
        timestamp_parse(slice_str(letter_attribute(d, "CloudPubSubDeadLetterSourceTopicPublishTime")), &published_us,
                        NULL))
        ret->published_us = published_us;
    ret->readable = task_parse(d->data, &ret->task, &ignored);
    bool backfill = strcmp(letter_attribute(d, "CloudPubSubDeadLetterSourceSubscription"),
                           settings->pubsub_backfill_subscription) == 0;
    ret->lane = backfill ? TASK_LANE_BACKFILL : TASK_LANE_LIVE;
}

static bool has_id(const struct dlq_letter *letter, const struct dlq_filter *filter)
{
    for (size_t i = 0; i < filter->id_count; i++)
        if (strcmp(filter->ids[i], letter->id) == 0)
            return true;
    return filter->id_count == 0;
}

static bool fits_text(const char *wanted, const char *is)
{
    return !wanted || strcmp(wanted, is) == 0;
}

bool dlq_fits(const struct dlq_letter *letter, const struct dlq_filter *filter)
{
    bool about_task = filter->entity || filter->tenant || filter->has_mode;
    if (about_task && !letter->readable)
        return false;
    return fits_text(filter->entity, letter->task.entity) &&
           (filter->tenant == 0 ||
            filter->tenant == (letter->task.tenant ? letter->task.tenant : filter->only_tenant)) &&
           (!filter->has_mode || filter->mode == letter->task.mode) &&
           fits_text(filter->error_class, letter->error_class) && fits_text(filter->run_id, letter->run_id) &&
           letter->dead_us >= filter->since_us && (filter->until_us == 0 || letter->dead_us < filter->until_us) &&
           has_id(letter, filter);
}

/* ---- The message that a replay publishes --------------------------------------------------------------------------- */

/* What dead-lettering added is left out; task_id stays, so that the replay is the same task and goes on where it stopped, and
 * first_publish_time, which only the letter knows. */
static bool is_of_the_letter(const char *key)
{
    static const char *const own[] = {"error_class", "error_code",   "error_message", "source_message_id",
                                      "run_id",      "replay_count", "replayed_from", "first_publish_time"};
    if (strncmp(key, "CloudPubSubDeadLetter", strlen("CloudPubSubDeadLetter")) == 0)
        return true;
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (strcmp(key, own[i]) == 0)
            return true;
    return false;
}

void replay_init(struct replay *replay, const struct dlq_letter *letter)
{
    enum { OWN = 3 };
    size_t count = 0;
    for (size_t i = 0; i < letter->attribute_count && count < PUBSUB_MAX_ATTRIBUTES - OWN; i++)
        if (!is_of_the_letter(letter->attributes[i].key))
            replay->attributes[count++] = letter->attributes[i];
    snprintf(replay->count_text, sizeof replay->count_text, "%lld", (long long)letter->replays + 1);
    replay->attributes[count++] = (struct pubsub_attribute){"replay_count", replay->count_text};
    replay->attributes[count++] = (struct pubsub_attribute){"replayed_from", letter->id};
    if (letter->published_us)
        replay->attributes[count++] = (struct pubsub_attribute){
            "first_publish_time", timestamp_text(replay->first_text, letter->published_us, 3)};
    replay->message = (struct pubsub_message){letter->data, replay->attributes, count};
}
