/* dlq_letter.h - reading a dead letter, and the message that its replay is. */
#ifndef ST_OPERATE_DLQ_LETTER_H
#define ST_OPERATE_DLQ_LETTER_H

#include "base/timestamp.h"
#include "operate/dlq.h"

/* Value of an attribute, "" when absent; borrowed. */
const char *letter_attribute(const struct pubsub_delivery *delivery, const char *key);
/* Everything in *ret is borrowed from the delivery. */
void letter_read(const struct pubsub_delivery *delivery, const struct settings *settings, struct dlq_letter *ret);

struct replay { /* message points into the replay itself: it must not be moved */
    struct pubsub_attribute attributes[PUBSUB_MAX_ATTRIBUTES];
    char count_text[24], first_text[TIMESTAMP_TEXT_SIZE];
    struct pubsub_message message;
};
void replay_init(struct replay *replay, const struct dlq_letter *letter);

#endif
