#include "operate/operate.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    ACK_DEADLINE_S = 60,
    MIN_BACKOFF_S = 10,
    MAX_BACKOFF_S = 600,
    MAX_DELIVERY_ATTEMPTS = 30,
    DEAD_LETTER_RETENTION_S = 31 * 86400
};

struct teller {
    operate_tell_fn *tell;
    void *user;
};

static void tell_made(const struct teller *teller, const char *kind, const char *name, bool created)
{
    char object[300];
    snprintf(object, sizeof object, "%s %s", kind, name);
    teller->tell(teller->user, object, created ? "created" : "exists");
}

static bool make_topics(struct services *v, const struct teller *teller, struct error *err)
{
    const struct settings *s = v->settings;
    const char *const topics[] = {s->pubsub_topic, s->pubsub_backfill_topic, s->pubsub_dead_letter_topic};
    for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++) {
        bool created;
        if (!pubsub_ensure_topic(v->pubsub, topics[i], &created, err))
            return error_prefix(err, "topic '%s'", topics[i]);
        tell_made(teller, "topic", topics[i], created);
    }
    return true;
}

static bool make_subscription(struct services *v, const struct teller *teller, const char *name,
                              const struct pubsub_subscription_options *options, struct error *err)
{
    bool created;
    char *difference = NULL;
    if (!pubsub_ensure_subscription(v->pubsub, name, options, &created, &difference, err))
        return error_prefix(err, "subscription '%s'", name);
    if (difference) {
        char object[300];
        snprintf(object, sizeof object, "subscription %s", name);
        teller->tell(teller->user, object, difference);
    } else {
        tell_made(teller, "subscription", name, created);
    }
    free(difference);
    return true;
}

static bool make_subscriptions(struct services *v, const struct teller *teller, struct error *err)
{
    const struct settings *s = v->settings;
    struct pubsub_subscription_options lane = {
        .topic = s->pubsub_topic,
        .ack_deadline_s = ACK_DEADLINE_S,
        .min_backoff_s = MIN_BACKOFF_S,
        .max_backoff_s = MAX_BACKOFF_S,
        .dead_letter_topic = s->pubsub_dead_letter_topic,
        .max_delivery_attempts = MAX_DELIVERY_ATTEMPTS,
        .never_expires = true,
    };
    struct pubsub_subscription_options backfill = lane;
    const struct pubsub_subscription_options dead = {
        .topic = s->pubsub_dead_letter_topic,
        .ack_deadline_s = ACK_DEADLINE_S, /* no backoff: what an operator has looked at is there again at once */
        .never_expires = true,
        .retention_s = DEAD_LETTER_RETENTION_S,
    };
    backfill.topic = s->pubsub_backfill_topic;
    return make_subscription(v, teller, s->pubsub_subscription, &lane, err) &&
           make_subscription(v, teller, s->pubsub_backfill_subscription, &backfill, err) &&
           make_subscription(v, teller, s->pubsub_dead_letter_subscription, &dead, err);
}

static void tell_warehouse(void *user, const char *object, bool created)
{
    const struct teller *teller = user;
    teller->tell(teller->user, object, created ? "created" : "exists");
}

bool operate_init(struct services *v, operate_tell_fn *tell, void *user, struct cancel *cancel, struct error *err)
{
    struct teller teller = {tell, user};
    return warehouse_init(&v->warehouse, tell_warehouse, &teller, cancel, err) && make_topics(v, &teller, err) &&
           make_subscriptions(v, &teller, err);
}
