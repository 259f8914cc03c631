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

void operate_queues(const struct settings *s, struct operate_queue ret[OPERATE_QUEUES])
{
    const struct pubsub_subscription_options live = {
        .topic = s->pubsub_topic,
        .ack_deadline_s = ACK_DEADLINE_S,
        .min_backoff_s = MIN_BACKOFF_S,
        .max_backoff_s = MAX_BACKOFF_S,
        .dead_letter_topic = s->pubsub_dead_letter_topic,
        .max_delivery_attempts = MAX_DELIVERY_ATTEMPTS,
        .never_expires = true,
    };
    struct pubsub_subscription_options backfill = live;
    const struct pubsub_subscription_options dead = {
        .topic = s->pubsub_dead_letter_topic,
        .ack_deadline_s = ACK_DEADLINE_S, /* no backoff: what an operator has looked at is there again at once */
        .never_expires = true,
        .retention_s = DEAD_LETTER_RETENTION_S,
    };
    backfill.topic = s->pubsub_backfill_topic;
    ret[0] = (struct operate_queue){"live", s->pubsub_subscription, live};
    ret[1] = (struct operate_queue){"backfill", s->pubsub_backfill_subscription, backfill};
    ret[2] = (struct operate_queue){"dead_letter", s->pubsub_dead_letter_subscription, dead};
}

static bool make_topics(struct services *v, const struct teller *teller, const struct operate_queue *queues,
                        struct error *err)
{
    for (size_t i = 0; i < OPERATE_QUEUES; i++) {
        const char *topic = queues[i].policy.topic;
        bool created;
        if (!pubsub_ensure_topic(v->pubsub, topic, &created, err))
            return error_prefix(err, "topic '%s'", topic);
        tell_made(teller, "topic", topic, created);
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

static bool make_subscriptions(struct services *v, const struct teller *teller, const struct operate_queue *queues,
                               struct error *err)
{
    bool ok = true;
    for (size_t i = 0; ok && i < OPERATE_QUEUES; i++)
        ok = make_subscription(v, teller, queues[i].subscription, &queues[i].policy, err);
    return ok;
}

static void tell_warehouse(void *user, const char *object, bool created)
{
    const struct teller *teller = user;
    teller->tell(teller->user, object, created ? "created" : "exists");
}

bool operate_init(struct services *v, operate_tell_fn *tell, void *user, struct cancel *cancel, struct error *err)
{
    struct teller teller = {tell, user};
    struct operate_queue queues[OPERATE_QUEUES];
    operate_queues(v->settings, queues);
    return warehouse_init(&v->warehouse, tell_warehouse, &teller, cancel, err) &&
           make_topics(v, &teller, queues, err) && make_subscriptions(v, &teller, queues, err);
}
