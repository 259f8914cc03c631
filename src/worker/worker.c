/* The worker: two lanes in, slots that run tasks, one verdict per message.
 *
 * Streams hand deliveries to a queue on their own threads; slot threads take from it, the live lane first. A message
 * whose twin is under way in this process, or whose tenant's breaker is open, waits in the queue (DEFER, turn.c): its
 * lease is kept, no slot and no attempt is used. The queue is bounded by max_outstanding_messages of the streams.
 *
 * That bound is small, because what waits here is kept from other workers. Where messages that must wait have filled it
 * while a slot is free, it is raised step by step, up to DEFERRED_MAX, so that what lies behind them can be pulled; beyond
 * that, the tenant which has the most of them gives some back, those with the fewest attempts first. */
#include "worker/worker.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "net/backoff.h"
#include "listener.h"
#include "turn.h"
#include "verdict.h"

enum {
    LANES = 2,
    DEFERRED_ROOM = 2,   /* messages that may wait beside the slots' own, per lane; more would starve other workers */
    DEFERRED_STEP = 8,   /* so many times as much when those have to wait for long, */
    DEFERRED_MAX = 1024, /* at most */
    DEFERRED_QUIET_MS = 5000, /* the bound is lowered when nothing has come for so long: what is under way to us in the
                                 stream's last moment would come again only after its lease */
    DEFERRED_PAUSE_MS = 1000, /* between two runs of a message that had to be deferred */
    ACK_DEADLINE_S = 60,
    EXTENSION_S = 60,
    READERS_MAX = 16,
    MAX_OUTSTANDING_BYTES = 16 << 20,
    FULL_BYTES = 12 << 20, /* where bytes, not messages, fill the stream */
    RETRY_MIN_S = 10,      /* the subscriptions' retry policy: a message that was given back comes again after this, */
    RETRY_MAX_S = 600,     /* twice as late each time, at most this late */
    PREPARE_FIRST_MS = 5000, /* how soon a warehouse that does not answer is asked again, and how late at most */
    PREPARE_MAX_MS = 60000,
    POLL_MS = 250, /* how often waiting messages are looked at again: breakers change state by time alone */
};

struct slot {
    struct worker *worker;
    pthread_t thread;
    struct message *running; /* under the worker's lock */
};

struct worker {
    const struct worker_options *options;
    struct run_env env;
    char name[160];
    struct pubsub_subscriber *subscribers[LANES];
    pthread_mutex_t lock;
    pthread_cond_t changed;          /* queue, slots or stopping */
    struct message *queue[LANES];    /* first in, first looked at */
    size_t held[LANES], room[LANES]; /* deliveries that are ours, and how many may be so beside the slots' own */
    size_t held_bytes[LANES];
    const struct message **running; /* by slot, for turn.c */
    size_t *deferred;               /* by tenant: scratch of find_excess */
    struct slot *slots;
    size_t slot_count;
    bool stopping;
    int64_t comes_again_ms; /* by when what was given back has come again; the lanes are not empty before */
    struct worker_totals totals;
    bool warehouse_answered;
    struct listener *listener;
};

static const struct log_context worker_log = {.context = "v2-ingestor:worker"};

/* ---- The queue ------------------------------------------------------------------------------------------------- */

static void on_delivery(void *user, struct pubsub_delivery *delivery)
{
    struct worker *w = user;
    struct message *message = message_new(delivery, w->env.settings);
    pthread_mutex_lock(&w->lock);
    message->from =
        w->subscribers[message->lane]; /* the first may come before subscribe() has it: it holds the lock till then */
    struct message **at = &w->queue[message->lane];
    while (*at)
        at = &(*at)->next;
    *at = message;
    w->held[message->lane]++;
    w->held_bytes[message->lane] += message_bytes(message);
    w->totals.messages++;
    metrics_add(METRIC_MESSAGES_RECEIVED, 1, METRIC_LABELS(task_lane_name(message->lane)));
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static enum breaker_state breaker_of(void *user, int64_t tenant)
{
    struct worker *w = user;
    return st_tenant_breaker(services_tenant(w->env.services, tenant));
}

/* Under the lock. */
static struct turn_view view_turns(struct worker *w)
{
    for (size_t i = 0; i < w->slot_count; i++)
        w->running[i] = w->slots[i].running;
    return (struct turn_view){w->env.settings, w->running, w->slot_count, breaker_of, w};
}

/* Under the lock. One slot is never given to the backfill lane: its runs may take long, and a live message must not wait
 * for the end of one. */
static bool has_slot_for(const struct worker *w, int lane)
{
    size_t backfills = 0;
    for (size_t i = 0; i < w->slot_count; i++)
        backfills += w->slots[i].running && w->slots[i].running->lane == TASK_LANE_BACKFILL;
    return lane != TASK_LANE_BACKFILL || w->slot_count == 1 || backfills + 1 < w->slot_count;
}

/* Under the lock: the first message that need not wait, live before backfill. */
static struct message *take_ready(struct worker *w)
{
    const struct turn_view view = view_turns(w);
    for (int lane = 0; lane < LANES && has_slot_for(w, lane); lane++) {
        for (struct message **at = &w->queue[lane]; *at; at = &(*at)->next) {
            struct message *message = *at;
            if (turn_of(&view, message) != TURN_NOW)
                continue;
            *at = message->next;
            message->next = NULL;
            return message;
        }
    }
    return NULL;
}

/* ---- The end of a message ------------------------------------------------------------------------------------------ */

static void count(struct worker *w, enum verdict verdict)
{
    int64_t *const counters[] = {
        [VERDICT_DONE] = &w->totals.done, [VERDICT_RETRY] = &w->totals.retried, [VERDICT_REJECT] = &w->totals.rejected};
    ++*counters[verdict];
}

/* When a message given back now has come again at the latest. */
static int64_t comes_again_ms(int delivery_attempt)
{
    int64_t wait_s = RETRY_MIN_S;
    for (int i = 1; i < delivery_attempt && wait_s < RETRY_MAX_S; i++)
        wait_s *= 2;
    return clock_mono_ms() + (wait_s < RETRY_MAX_S ? wait_s : RETRY_MAX_S) * 1000;
}

/* Under the lock: it waits where it was, that is before those that came later. */
static void put_back(struct worker *w, struct message *message)
{
    message->not_before_ms = clock_mono_ms() + DEFERRED_PAUSE_MS;
    message->next = w->queue[message->lane];
    w->queue[message->lane] = message;
}

/* Settles the message and frees it, or keeps it waiting. Returns what it came to. */
static enum verdict finish(struct worker *w, struct message *message, enum verdict verdict, const struct error *why,
                           const char *run_id)
{
    int attempt = message->delivery->delivery_attempt;
    bool leaves = verdict != VERDICT_DEFER;
    pthread_mutex_lock(&w->lock);
    if (leaves) { /* before the service knows: make_room must not take its next message, under way to us, for no message */
        w->held[message->lane]--;
        w->held_bytes[message->lane] -= message_bytes(message);
    }
    pthread_mutex_unlock(&w->lock);
    verdict = verdict_settle(&w->env, message, verdict, why, run_id);
    pthread_mutex_lock(&w->lock);
    for (size_t i = 0; i < w->slot_count; i++)
        if (w->slots[i].running == message)
            w->slots[i].running = NULL;
    if (leaves) {
        count(w, verdict);
        message_free(message);
    } else {
        put_back(w, message);
    }
    if (verdict == VERDICT_RETRY && comes_again_ms(attempt) > w->comes_again_ms)
        w->comes_again_ms = comes_again_ms(attempt);
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    return verdict;
}

/* ---- Room for what lies behind messages that must wait ------------------------------------------------------------- */

/* Under the lock: the deferred message that goes first when there are too many, unlinked. */
static struct message *take_excess(struct worker *w, const struct turn_view *view, int lane)
{
    const struct settings *s = w->env.settings;
    struct message **excess = NULL;
    size_t most = 0;
    memset(w->deferred, 0, s->tenant_count * sizeof w->deferred[0]);
    for (struct message *m = w->queue[lane]; m; m = m->next)
        if (turn_is_deferred(turn_of(view, m)))
            w->deferred[settings_tenant(s, m->task.tenant) - s->tenants]++;
    for (struct message **at = &w->queue[lane]; *at; at = &(*at)->next) {
        if (!turn_is_deferred(turn_of(view, *at)))
            continue;
        size_t of_tenant = w->deferred[settings_tenant(s, (*at)->task.tenant) - s->tenants];
        if (!excess || of_tenant > most ||
            (of_tenant == most && (*at)->delivery->delivery_attempt <= (*excess)->delivery->delivery_attempt)) {
            excess = at;
            most = of_tenant;
        }
    }
    if (!excess) /* a breaker's pause has ended since they were counted: all may run */
        return NULL;
    struct message *message = *excess;
    *excess = message->next;
    message->next = NULL;
    return message;
}

static void set_room(struct worker *w, int lane, size_t room)
{
    w->room[lane] = room;
    pubsub_subscriber_set_max(w->subscribers[lane], (int64_t)(w->slot_count + room));
    log_debug(&worker_log, LOG_MSG("Room for deferred messages changed"), LOG_STR("lane", task_lane_name(lane)),
              LOG_INT("messages", room));
}

/* Under the lock, when a slot has found nothing to run. Returns a message to give back, unlinked, or NULL. */
static struct message *make_room(struct worker *w, int lane)
{
    const struct turn_view view = view_turns(w);
    bool full_bytes = w->held_bytes[lane] >= FULL_BYTES;
    size_t deferred = 0, room = w->room[lane];
    for (const struct message *m = w->queue[lane]; m; m = m->next)
        deferred += turn_is_deferred(turn_of(&view, m));
    if (deferred == 0) {
        if (room > DEFERRED_ROOM && w->held[lane] == 0 &&
            pubsub_subscriber_idle_ms(w->subscribers[lane]) >= DEFERRED_QUIET_MS)
            set_room(w, lane, DEFERRED_ROOM);
        return NULL;
    }
    if (!full_bytes && w->held[lane] < w->slot_count + room)
        return NULL;
    if (full_bytes || room == DEFERRED_MAX)
        return take_excess(w, &view, lane);
    set_room(w, lane, room * DEFERRED_STEP < DEFERRED_MAX ? room * DEFERRED_STEP : DEFERRED_MAX);
    return NULL;
}

/* Called and left with the lock held. True: there may be something else now. */
static bool give_excess_back(struct worker *w)
{
    static const struct error why = {
        .class = ERROR_RETRY, .code = "deferred", .message = "could not wait in the worker: too many messages do"};
    struct message *excess = NULL;
    for (int lane = 0; lane < LANES && !excess && has_slot_for(w, lane); lane++)
        excess = make_room(w, lane);
    if (!excess)
        return false;
    pthread_mutex_unlock(&w->lock);
    finish(w, excess, verdict_of(false, &why, excess->delivery->delivery_attempt), &why, "");
    pthread_mutex_lock(&w->lock);
    return true;
}

static struct message *next_message(struct worker *w, struct slot *slot)
{
    struct message *message = NULL;
    pthread_mutex_lock(&w->lock);
    while (!w->stopping && !(message = take_ready(w)))
        if (!give_excess_back(w))
            clock_cond_wait(&w->changed, &w->lock, clock_mono_ms() + POLL_MS);
    slot->running = message;
    pthread_mutex_unlock(&w->lock);
    return message;
}

/* ---- One message ------------------------------------------------------------------------------------------------ */

struct expansion {
    struct buf *texts;
    struct pubsub_message *messages;
    size_t count, cap;
};

static bool add_single(void *user, const struct task *single)
{
    struct expansion *x = user;
    if (x->count == x->cap) {
        x->cap = x->cap ? x->cap * 2 : 16;
        x->texts = xrealloc(x->texts, x->cap * sizeof x->texts[0]);
    }
    x->texts[x->count] = BUF_INIT;
    task_format(single, &x->texts[x->count++]);
    return true;
}

/* A group becomes one message per entity and tenant in the same lane; the group's own message is done when they are
 * published. */
static bool expand(struct worker *w, const struct message *message, struct error *err)
{
    const struct settings *s = w->env.settings;
    const char *topic = message->lane == TASK_LANE_BACKFILL ? s->pubsub_backfill_topic : s->pubsub_topic;
    struct expansion x = {0};
    struct task group = message->task;
    snprintf(group.task_id, sizeof group.task_id, "%s", message->task_id);
    task_expand(&group, s, add_single, &x);
    x.messages = xcalloc(x.count, sizeof x.messages[0]);
    for (size_t i = 0; i < x.count; i++)
        x.messages[i].data = buf_slice(&x.texts[i]);
    bool ok = pubsub_publish(w->env.services->pubsub, topic, x.messages, x.count, NULL, NULL, NULL,
                             w->options->shutdown, err);
    if (ok)
        log_info(&worker_log, LOG_MSG("Message expanded"), LOG_STR("taskId", message->task_id),
                 LOG_INT("messages", x.count));
    for (size_t i = 0; i < x.count; i++)
        buf_release(&x.texts[i]);
    free(x.texts);
    free(x.messages);
    return ok;
}

static void stop_run(void *user)
{
    cancel_set(user, "shutdown");
}

static bool handle(struct worker *w, const struct message *message, int64_t *ret_records, char *run_id,
                   struct error *err)
{
    if (!message->readable) {
        *err = message->refused;
        return false;
    }
    if (task_is_group(&message->task, w->env.settings))
        return expand(w, message, err);
    /* The lease's loss and the shutdown both end the run. */
    struct cancel *cancel = cancel_new(message->delivery->lease);
    uint64_t hook = cancel_add_hook(w->options->shutdown, stop_run, cancel);
    bool ok = run_task(&w->env, message, cancel, ret_records, run_id, err);
    cancel_remove_hook(w->options->shutdown, hook);
    cancel_free(cancel);
    return ok;
}

static void work(struct worker *w, struct message *message)
{
    struct error err = ERROR_INIT;
    char run_id[UUID_TEXT_SIZE] = "";
    int64_t records = 0;
    enum task_lane lane = message->lane;
    bool ok = handle(w, message, &records, run_id, &err);
    bool expanded = ok && message->readable && task_is_group(&message->task, w->env.settings);
    finish(w, message, verdict_of(ok, &err, message->delivery->delivery_attempt), &err, run_id);
    pthread_mutex_lock(&w->lock);
    w->totals.records += records;
    w->totals.expanded += expanded;
    pthread_mutex_unlock(&w->lock);
    if (expanded)
        metrics_add(METRIC_MESSAGES_EXPANDED, 1, METRIC_LABELS(task_lane_name(lane)));
}

static void *slot_main(void *user)
{
    struct slot *slot = user;
    struct message *message;
    while ((message = next_message(slot->worker, slot)))
        work(slot->worker, message);
    return NULL;
}

/* ---- Life ------------------------------------------------------------------------------------------------------- */

static bool subscribe(struct worker *w, struct error *err)
{
    const struct settings *s = w->env.settings;
    const char *const names[LANES] = {
        [TASK_LANE_LIVE] = s->pubsub_subscription, [TASK_LANE_BACKFILL] = s->pubsub_backfill_subscription};
    for (int lane = 0; lane < LANES; lane++) {
        const struct pubsub_subscriber_options options = {
            .subscription = names[lane],
            .lane = lane,
            .max_outstanding_messages = (int64_t)(w->slot_count + w->room[lane]),
            .max_outstanding_bytes = MAX_OUTSTANDING_BYTES,
            .stream_ack_deadline_s = ACK_DEADLINE_S,
            .extension_s = EXTENSION_S,
            .on_delivery = on_delivery,
            .user = w,
        };
        pthread_mutex_lock(&w->lock);
        w->subscribers[lane] = pubsub_subscriber_start(w->env.services->pubsub, &options, err);
        bool ok = w->subscribers[lane] != NULL;
        pthread_mutex_unlock(&w->lock);
        if (!ok)
            return error_prefix(err, "subscribing to '%s'", names[lane]);
    }
    return true;
}

/* ---- Looked at from outside -------------------------------------------------------------------------------------- */

static void look_at_lane(struct worker *w, int lane, struct worker_view *ret)
{
    struct pubsub_subscriber *subscriber = w->subscribers[lane];
    struct error failure = ERROR_INIT;
    for (const struct message *message = w->queue[lane]; message; message = message->next)
        ret->lanes[lane].queued++;
    ret->lanes[lane].subscribed = subscriber != NULL;
    if (!subscriber)
        return;
    ret->lanes[lane].open = pubsub_subscriber_is_open(subscriber);
    pubsub_subscriber_stats(subscriber, &ret->lanes[lane].stats);
    if (pubsub_subscriber_failed(subscriber, &failure))
        ret->failure = failure;
}

static void look(void *user, struct worker_view *ret)
{
    struct worker *w = user;
    *ret = (struct worker_view){.env = &w->env, .slots = w->slot_count};
    pthread_mutex_lock(&w->lock);
    ret->warehouse_answered = w->warehouse_answered;
    ret->stopping = w->stopping || cancel_is_set(w->options->shutdown);
    for (size_t i = 0; i < w->slot_count; i++)
        ret->slots_busy += w->slots[i].running != NULL;
    for (int lane = 0; lane < LANES; lane++)
        look_at_lane(w, lane, ret);
    pthread_mutex_unlock(&w->lock);
}

static void tell_object(void *user, const char *object, bool created)
{
    (void)user;
    if (created)
        log_info(&worker_log, LOG_MSG("Created in the warehouse"), LOG_STR("object", object));
}

/* A worker that finds no tables makes them. */
static bool prepare_once(struct worker *w, struct error *err)
{
    struct warehouse *warehouse = &w->env.services->warehouse;
    bool ready = false;
    if (!warehouse_is_ready(warehouse, &ready, w->options->shutdown, err))
        return error_prefix(err, "looking for the tables");
    if (!ready && !warehouse_init(warehouse, tell_object, NULL, w->options->shutdown, err))
        return error_prefix(err, "making the tables");
    pthread_mutex_lock(&w->lock);
    w->warehouse_answered = true;
    pthread_mutex_unlock(&w->lock);
    return true;
}

/* A worker that is started in the middle of an outage outlives it: it is not ready, takes no message, and says so. What
 * does not pass by itself ends it. */
static bool prepare(struct worker *w, struct error *err)
{
    struct backoff backoff;
    backoff_init(&backoff, (struct backoff_policy){PREPARE_FIRST_MS, PREPARE_MAX_MS, 25, INT_MAX});
    while (!prepare_once(w, err)) {
        if (!error_may_retry(err))
            return false;
        int64_t wait_ms = backoff_next_ms(&backoff, err->wait_ms);
        log_warn(&worker_log, LOG_MSG("The warehouse does not answer; the worker waits and asks again"),
                 LOG_INT("attempt", backoff.retries), LOG_INT("waitMs", wait_ms), LOG_ERR(err));
        if (!cancel_sleep_ms(w->options->shutdown, wait_ms))
            return cancel_check(w->options->shutdown, err);
        *err = ERROR_INIT;
    }
    return true;
}

/* Messages travel in real time, also where a test lets the clock run faster. */
static int64_t drain_idle_ms(const struct worker *w)
{
    return (int64_t)((double)w->options->drain_idle_ms * clock_scale());
}

static bool is_idle(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    bool idle = !w->queue[TASK_LANE_LIVE] && !w->queue[TASK_LANE_BACKFILL] && clock_mono_ms() >= w->comes_again_ms;
    for (size_t i = 0; i < w->slot_count; i++)
        idle = idle && !w->slots[i].running;
    pthread_mutex_unlock(&w->lock);
    for (int lane = 0; lane < LANES; lane++)
        idle = idle && pubsub_subscriber_idle_ms(w->subscribers[lane]) >= drain_idle_ms(w);
    return idle;
}

static bool say_what_to_do(struct error *err)
{
    return error_prefix(err, "receiving messages%s",
                        strcmp(err->code, "not_found") == 0 ? " (st-ingestor init makes what is missing)" : "");
}

/* Waits for the end: shutdown, empty lanes (drain), or a stream that failed for good. */
static bool supervise(struct worker *w, struct error *err)
{
    int64_t idle_since_ms = clock_mono_ms();
    while (cancel_sleep_ms(w->options->shutdown, POLL_MS)) {
        for (int lane = 0; lane < LANES; lane++)
            if (pubsub_subscriber_failed(w->subscribers[lane], err))
                return say_what_to_do(err);
        if (!is_idle(w))
            idle_since_ms = clock_mono_ms();
        else if (w->options->drain_idle_ms > 0 && clock_mono_ms() - idle_since_ms >= drain_idle_ms(w))
            return true;
    }
    return true;
}

/* What waits in the queue is given back: somebody else may take it at once. */
static void give_back(struct worker *w)
{
    const struct error why = {.class = ERROR_CANCELLED, .code = "shutdown", .message = "cancelled: shutdown"};
    for (int lane = 0; lane < LANES; lane++) {
        w->totals.retried += verdict_give_back(w->queue[lane], &why);
        w->queue[lane] = NULL;
    }
}

static void stop(struct worker *w)
{
    for (int lane = 0; lane < LANES; lane++)
        if (w->subscribers[lane])
            pubsub_subscriber_stop(w->subscribers[lane]);
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    for (size_t i = 0; i < w->slot_count; i++)
        if (w->slots[i].worker)
            pthread_join(w->slots[i].thread, NULL);
    give_back(w);
    listener_stop(w->listener); /* up to here it tells that the worker is stopping */
    for (int lane = 0; lane < LANES; lane++)
        if (w->subscribers[lane])
            pubsub_subscriber_free(w->subscribers[lane]);
}

static void init(struct worker *w, const struct worker_options *options)
{
    const struct settings *s = options->services->settings;
    char host[96] = "";
    *w = (struct worker){.options = options, .slot_count = (size_t)s->worker_concurrency};
    gethostname(host, sizeof host - 1);
    snprintf(w->name, sizeof w->name, "%s/%d", host, (int)getpid());
    w->env = (struct run_env){
        .services = options->services,
        .settings = s,
        .watermarks = sync_cache_new(s->tenant_count, s->entity_count),
        .fetches = fetch_index_new(),
        .worker_name = w->name,
        .readers = s->max_concurrent_requests < READERS_MAX ? (int)s->max_concurrent_requests : READERS_MAX,
    };
    pthread_mutex_init(&w->lock, NULL);
    clock_cond_init(&w->changed);
    w->slots = xcalloc(w->slot_count, sizeof w->slots[0]);
    w->running = xcalloc(w->slot_count, sizeof w->running[0]);
    w->deferred = xcalloc(s->tenant_count + 1, sizeof w->deferred[0]);
    for (int lane = 0; lane < LANES; lane++)
        w->room[lane] = DEFERRED_ROOM;
}

/* Rows of fetches that were given up may still be in the pipelines; nothing more is told about them. */
static void forget_fetches(struct worker *w)
{
    const struct settings *s = w->env.settings;
    for (size_t i = 0; i < s->entity_count; i++) {
        struct bq_appender *appender =
            bq_writer_table(w->env.services->writer, s->bq_dataset_stage, &s->entities[i].entity->stage);
        bq_appender_forget(appender, w->env.fetches);
    }
}

static void release(struct worker *w)
{
    free(w->slots);
    free(w->running);
    free(w->deferred);
    forget_fetches(w);
    sync_cache_free(w->env.watermarks);
    fetch_index_free(w->env.fetches);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
}

static void start_slots(struct worker *w)
{
    for (size_t i = 0; i < w->slot_count; i++) {
        w->slots[i].worker = w;
        if (pthread_create(&w->slots[i].thread, NULL, slot_main, &w->slots[i]) != 0)
            BUG("cannot start a thread");
    }
}

bool worker_run(const struct worker_options *options, struct worker_totals *ret, struct error *err)
{
    struct worker w;
    init(&w, options);
    const struct listener_options listen = {w.env.settings, look, &w};
    bool ok = listener_start(&listen, &w.listener, err) && prepare(&w, err) && subscribe(&w, err);
    if (ok) {
        log_info(&worker_log, LOG_MSG("Worker started"), LOG_INT("slots", w.slot_count),
                 LOG_INT("tenants", w.env.settings->tenant_count), LOG_STR("worker", w.name));
        start_slots(&w);
        ok = supervise(&w, err);
    } else {
        ok = err->class == ERROR_CANCELLED && cancel_is_set(options->shutdown); /* an orderly end, only an early one */
    }
    stop(&w);
    *ret = w.totals;
    release(&w);
    return ok;
}
