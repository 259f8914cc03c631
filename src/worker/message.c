#include "message.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

/* A replayed dead letter is the task that it was, although its message is a new one. */
static const char *attribute_task_id(const struct pubsub_delivery *delivery)
{
    for (size_t i = 0; i < delivery->attribute_count; i++) {
        const char *value = delivery->attributes[i].value;
        if (strcmp(delivery->attributes[i].key, "task_id") == 0 && value[0] && strlen(value) < TASK_ID_SIZE)
            return value;
    }
    return NULL;
}

static const char *task_id_of(const struct message *message)
{
    const char *replayed = attribute_task_id(message->delivery);
    if (message->task.task_id[0])
        return message->task.task_id;
    return replayed ? replayed : message->delivery->message_id;
}

struct message *message_new(struct pubsub_delivery *delivery, const struct settings *settings)
{
    struct message *message = xcalloc(1, sizeof *message);
    message->delivery = delivery;
    message->lane = (enum task_lane)delivery->lane;
    message->received_ms = clock_mono_ms();
    message->readable = task_parse(delivery->data, &message->task, &message->refused) &&
                        task_check(&message->task, settings, &message->refused);
    if (message->readable && message->task.tenant == 0 && settings->tenant_count == 1)
        message->task.tenant = settings->tenants[0].id;
    snprintf(message->task_id, sizeof message->task_id, "%s", task_id_of(message));
    return message;
}

void message_free(struct message *message)
{
    free(message);
}

size_t message_bytes(const struct message *message)
{
    const struct pubsub_delivery *d = message->delivery;
    size_t bytes = d->data.len;
    for (size_t i = 0; i < d->attribute_count; i++)
        bytes += strlen(d->attributes[i].key) + strlen(d->attributes[i].value);
    return bytes;
}

bool message_may_wait(const struct message *message)
{
    return clock_mono_ms() - message->received_ms < MESSAGE_MAX_WAIT_S * INT64_C(1000);
}

static bool has_window(const struct message *message)
{
    return message->task.mode == TASK_BACKFILL || message->task.mode == TASK_RECONCILE;
}

bool message_is_twin(const struct message *a, const struct message *b)
{
    if (!a->readable || !b->readable || a->task.mode != b->task.mode || a->task.tenant != b->task.tenant ||
        strcmp(a->task.entity, b->task.entity) != 0)
        return false;
    return !has_window(a) || strcmp(a->task_id, b->task_id) == 0;
}
