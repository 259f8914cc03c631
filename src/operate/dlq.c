/* dlq.c - a session with the dead-letter subscription: its letters are held by leases while somebody looks at them.
 *
 * Replay publishes first and acknowledges last, with the audit in between: a kill anywhere leaves the letter where it is, at worst beside
 * a message that is in the lane already. That duplicate is the same task (task_id), and tasks may run twice. */
#include "operate/dlq.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "dlq_letter.h"
#include "net/limiter.h"

enum {
    LEASE_S = 20,         /* a session that is killed hides its letters for so long */
    EMPTY_PULLS = 3,      /* in a row: nothing more is there */
    EMPTY_PAUSE_MS = 250, /* real time */
    BATCH = 50,           /* letters published, audited and acknowledged together */
};

struct held {
    struct pubsub_delivery *delivery; /* NULL once settled */
    struct dlq_letter letter;
};

struct dlq {
    struct services *services;
    struct pubsub_puller *puller;
    struct held *held;
    size_t count;
    int64_t bytes;
};

/* ---- Reading -------------------------------------------------------------------------------------------------------- */

struct dlq *dlq_open(struct services *services)
{
    struct dlq *dlq = xcalloc(1, sizeof *dlq);
    dlq->services = services;
    dlq->held = xcalloc(DLQ_MAX_HELD, sizeof *dlq->held);
    dlq->puller = pubsub_puller_new(services->pubsub, services->settings->pubsub_dead_letter_subscription, LEASE_S);
    return dlq;
}

static int by_age(const void *a, const void *b)
{
    const struct dlq_letter *x = &((const struct held *)a)->letter, *y = &((const struct held *)b)->letter;
    if (x->dead_us != y->dead_us)
        return x->dead_us < y->dead_us ? -1 : 1;
    return strcmp(x->id, y->id);
}

static void hold(struct dlq *dlq, struct pubsub_delivery *delivery)
{
    struct held *held = &dlq->held[dlq->count++];
    held->delivery = delivery;
    letter_read(delivery, dlq->services->settings, &held->letter);
    dlq->bytes += (int64_t)delivery->data.len;
}

/* Full before a pull could bring more than may be held: a pull's bytes are not bounded, its messages are. */
static bool is_full(const struct dlq *dlq)
{
    return dlq->count == DLQ_MAX_HELD || dlq->bytes > DLQ_MAX_HELD_BYTES;
}

static bool pull(struct dlq *dlq, size_t *ret_count, struct cancel *cancel, struct error *err)
{
    struct pubsub_delivery *list[PUBSUB_MAX_PULL];
    size_t room = DLQ_MAX_HELD - dlq->count;
    if (!pubsub_pull(dlq->puller, room < PUBSUB_MAX_PULL ? room : PUBSUB_MAX_PULL, list, ret_count, cancel, err))
        return error_prefix(err, "reading dead letters");
    for (size_t i = 0; i < *ret_count; i++)
        hold(dlq, list[i]);
    return true;
}

bool dlq_read(struct dlq *dlq, bool *ret_full, struct cancel *cancel, struct error *err)
{
    for (int empty = 0; empty < EMPTY_PULLS && !is_full(dlq);) {
        size_t count;
        if (!pull(dlq, &count, cancel, err))
            return false;
        empty = count > 0 ? 0 : empty + 1;
        if (count == 0 && !cancel_sleep_ms(cancel, (int64_t)(EMPTY_PAUSE_MS * clock_scale())))
            return cancel_check(cancel, err);
    }
    *ret_full = is_full(dlq);
    qsort(dlq->held, dlq->count, sizeof *dlq->held, by_age);
    return true;
}

size_t dlq_count(const struct dlq *dlq)
{
    return dlq->count;
}

const struct dlq_letter *dlq_at(const struct dlq *dlq, size_t index)
{
    return index < dlq->count ? &dlq->held[index].letter : NULL;
}

static void give_back(struct dlq *dlq)
{
    struct error ignored = ERROR_INIT;
    struct pubsub_delivery **list = xcalloc(DLQ_MAX_HELD, sizeof(struct pubsub_delivery *));
    for (size_t i = 0; i < dlq->count; i++)
        list[i] = dlq->held[i].delivery;
    (void)!pubsub_pulled_settle(dlq->puller, list, dlq->count, PUBSUB_NACK, &ignored); /* else the leases end soon */
    free(list);
}

void dlq_close(struct dlq *dlq)
{
    if (!dlq)
        return;
    give_back(dlq);
    pubsub_puller_free(dlq->puller);
    free(dlq->held);
    free(dlq);
}

/* ---- Settling ------------------------------------------------------------------------------------------------------- */

struct batch {
    struct held *items[BATCH];
    char new_ids[BATCH][64]; /* of the replayed messages */
    size_t count;
};

struct id_sink {
    struct batch *batch;
    size_t index[BATCH];
};

static void note_id(void *user, size_t index, const char *id)
{
    struct id_sink *sink = user;
    snprintf(sink->batch->new_ids[sink->index[index]], sizeof sink->batch->new_ids[0], "%s", id);
}

static bool publish_lane(struct dlq *dlq, struct batch *batch, enum task_lane lane, struct cancel *cancel,
                         struct error *err)
{
    const struct settings *s = dlq->services->settings;
    const char *topic = lane == TASK_LANE_BACKFILL ? s->pubsub_backfill_topic : s->pubsub_topic;
    struct pubsub_message messages[BATCH];
    struct replay *replays = xcalloc(BATCH, sizeof *replays);
    struct id_sink sink = {.batch = batch};
    size_t count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->items[i]->letter.lane != lane)
            continue;
        replay_init(&replays[count], &batch->items[i]->letter);
        messages[count] = replays[count].message;
        sink.index[count++] = i;
    }
    bool ok =
        count == 0 || pubsub_publish(dlq->services->pubsub, topic, messages, count, note_id, &sink, NULL, cancel, err);
    free(replays);
    return ok;
}

static bool publish_batch(struct dlq *dlq, struct batch *batch, struct cancel *cancel, struct error *err)
{
    return publish_lane(dlq, batch, TASK_LANE_LIVE, cancel, err) &&
           publish_lane(dlq, batch, TASK_LANE_BACKFILL, cancel, err);
}

static bool audit_batch(struct dlq *dlq, const struct batch *batch, const char *what, const char *actor,
                        struct cancel *cancel, struct error *err)
{
    struct event_dead_letter events[BATCH];
    for (size_t i = 0; i < batch->count; i++) {
        const struct dlq_letter *letter = &batch->items[i]->letter;
        events[i] = (struct event_dead_letter){
            .action = what,
            .message_id = letter->id,
            .source_message_id = letter->source_message_id,
            .new_message_id = batch->new_ids[i],
            .task_id = letter->task_id,
            .run_id = letter->run_id,
            .entity = letter->readable ? letter->task.entity : "",
            .mode = letter->readable ? task_mode_name(letter->task.mode) : "",
            .tenant = letter->readable ? letter->task.tenant : 0,
            .reason = letter->error_message,
            .error_class = letter->error_class,
            .error_code = letter->error_code,
            .attempts = letter->attempts,
            .replays = letter->replays,
            .actor = actor,
            .payload = letter->data,
        };
    }
    return events_dead_letters(dlq->services->events, events, batch->count, cancel, err);
}

static bool acknowledge_batch(struct dlq *dlq, struct batch *batch, struct error *err)
{
    struct pubsub_delivery *list[BATCH];
    for (size_t i = 0; i < batch->count; i++) {
        list[i] = batch->items[i]->delivery;
        dlq->bytes -= (int64_t)list[i]->data.len;
        batch->items[i]->delivery = NULL;
    }
    return pubsub_pulled_settle(dlq->puller, list, batch->count, PUBSUB_ACK, err);
}

static bool settle_batch(struct dlq *dlq, struct batch *batch, bool replay, const struct dlq_action *action,
                         struct cancel *cancel, struct error *err)
{
    const char *what = replay ? "replayed" : "discarded";
    return batch->count == 0 ||
           ((!replay || publish_batch(dlq, batch, cancel, err)) &&
            audit_batch(dlq, batch, what, action->actor, cancel, err) && acknowledge_batch(dlq, batch, err));
}

/* Fills the batch from *at on; letters that were replayed too often are counted and passed over. */
static bool fill_batch(struct dlq *dlq, const size_t *which, size_t count, size_t *at, bool replay,
                       const struct dlq_action *action, struct limiter *limiter, struct batch *batch,
                       struct dlq_totals *totals, struct cancel *cancel, struct error *err)
{
    batch->count = 0;
    for (; *at < count && batch->count < BATCH; ++*at) {
        struct held *held = &dlq->held[which[*at]];
        if (replay && !action->force && held->letter.replays >= DLQ_MAX_REPLAYS) {
            totals->refused++;
            continue;
        }
        if (limiter && !limiter_take(limiter, cancel, NULL, err))
            return false;
        batch->new_ids[batch->count][0] = '\0';
        batch->items[batch->count++] = held;
    }
    return true;
}

static void drop_settled(struct dlq *dlq)
{
    size_t kept = 0;
    for (size_t i = 0; i < dlq->count; i++)
        if (dlq->held[i].delivery)
            dlq->held[kept++] = dlq->held[i];
    dlq->count = kept;
}

static bool settle(struct dlq *dlq, const size_t *which, size_t count, bool replay, const struct dlq_action *action,
                   struct dlq_totals *ret, struct cancel *cancel, struct error *err)
{
    struct limiter *limiter = action->rate > 0 ? limiter_new(action->rate, 1) : NULL;
    struct batch *batch = xcalloc(1, sizeof *batch);
    struct dlq_totals totals = {0, 0};
    bool ok = true;
    for (size_t at = 0; ok && at < count;) {
        ok = fill_batch(dlq, which, count, &at, replay, action, limiter, batch, &totals, cancel, err) &&
             settle_batch(dlq, batch, replay, action, cancel, err);
        totals.done += ok ? batch->count : 0;
        if (ok && action->progress)
            action->progress(action->user, totals.done, count);
    }
    drop_settled(dlq);
    free(batch);
    limiter_free(limiter);
    *ret = totals;
    return ok;
}

bool dlq_replay(struct dlq *dlq, const size_t *which, size_t count, const struct dlq_action *action,
                struct dlq_totals *ret, struct cancel *cancel, struct error *err)
{
    return settle(dlq, which, count, true, action, ret, cancel, err);
}

bool dlq_discard(struct dlq *dlq, const size_t *which, size_t count, const struct dlq_action *action,
                 struct dlq_totals *ret, struct cancel *cancel, struct error *err)
{
    return settle(dlq, which, count, false, action, ret, cancel, err);
}
