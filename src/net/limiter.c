/* limiter.c - token bucket whose rate shrinks on a 429 and grows back (AIMD).
 *
 * Tokens are counted when somebody asks, by the time that has passed; no thread of its own. Waiters stand in a list on
 * their own stacks, and only the first of them sleeps with a deadline, so that requests leave in the order they came
 * and a free token wakes one thread. Waiters of the background stand behind all others. A 429 also throws the saved burst away: what was saved up is exactly what the
 * server does not want now. */
#include "net/limiter.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"

#define CUT_FACTOR 0.5
#define GROWTH_SHARE 0.05    /* of the full rate, per second without a 429 */
#define FLOOR_SHARE 0.10     /* of the full rate */
#define FLOOR_PER_SECOND 1.0 /* the floor is the larger of both, the full rate at most */
enum { SECOND_US = 1000000 };

struct waiter {
    struct waiter *next;
    struct limiter *limiter;
    bool background;
    pthread_cond_t wake;
};

struct limiter {
    pthread_mutex_t mutex;
    double full_rate, rate; /* per second */
    double burst, tokens;
    int64_t counted_us; /* tokens are counted up to here */
    int64_t grown_us;   /* rate has grown up to here */
    int64_t cut_us;     /* last halving; 0 = never */
    struct waiter *first, **last;
};

struct limiter *limiter_new(double rate_per_second, double burst)
{
    BUG_ON(rate_per_second <= 0);
    struct limiter *limiter = xcalloc(1, sizeof *limiter);
    pthread_mutex_init(&limiter->mutex, NULL);
    limiter->full_rate = limiter->rate = rate_per_second;
    limiter->burst = limiter->tokens = burst < 1 ? 1 : burst;
    limiter->counted_us = limiter->grown_us = clock_mono_us();
    limiter->last = &limiter->first;
    return limiter;
}

void limiter_free(struct limiter *limiter)
{
    if (!limiter)
        return;
    BUG_ON(limiter->first != NULL);
    pthread_mutex_destroy(&limiter->mutex);
    free(limiter);
}

/* Brings rate and tokens up to now. */
static void advance(struct limiter *limiter)
{
    int64_t now_us = clock_mono_us();
    limiter->tokens += limiter->rate * (double)(now_us - limiter->counted_us) / SECOND_US;
    if (limiter->tokens > limiter->burst)
        limiter->tokens = limiter->burst;
    limiter->counted_us = now_us;
    int64_t seconds = (now_us - limiter->grown_us) / SECOND_US;
    limiter->grown_us += seconds * SECOND_US;
    limiter->rate += (double)seconds * GROWTH_SHARE * limiter->full_rate;
    if (limiter->rate > limiter->full_rate)
        limiter->rate = limiter->full_rate;
}

static bool take_token(struct limiter *limiter)
{
    advance(limiter);
    if (limiter->tokens < 1)
        return false;
    limiter->tokens -= 1;
    return true;
}

/* When the next token will be whole, in clock_mono_ms, rounded up. */
static int64_t next_token_ms(const struct limiter *limiter)
{
    double missing_us = (1 - limiter->tokens) / limiter->rate * SECOND_US;
    return (limiter->counted_us + (int64_t)missing_us) / 1000 + 1;
}

static void wake_first(struct limiter *limiter)
{
    if (limiter->first)
        pthread_cond_signal(&limiter->first->wake);
}

static void join_queue(struct limiter *limiter, struct waiter *waiter)
{
    struct waiter **at = &limiter->first;
    if (waiter->background)
        at = limiter->last;
    while (*at && !(*at)->background)
        at = &(*at)->next;
    waiter->next = *at;
    *at = waiter;
    if (!waiter->next)
        limiter->last = &waiter->next;
}

static void leave_queue(struct limiter *limiter, struct waiter *waiter)
{
    struct waiter **at = &limiter->first;
    while (*at != waiter)
        at = &(*at)->next;
    *at = waiter->next;
    if (limiter->last == &waiter->next)
        limiter->last = at;
    wake_first(limiter);
}

static void on_cancel(void *user)
{
    struct waiter *waiter = user;
    pthread_mutex_lock(&waiter->limiter->mutex);
    pthread_cond_signal(&waiter->wake);
    pthread_mutex_unlock(&waiter->limiter->mutex);
}

/* Waits for the turn and the token; the caller stands in the queue and holds the mutex. */
static bool wait_turn(struct limiter *limiter, struct waiter *waiter, struct cancel *cancel)
{
    while (!cancel_is_set(cancel)) {
        if (limiter->first != waiter)
            pthread_cond_wait(&waiter->wake, &limiter->mutex);
        else if (take_token(limiter))
            return true;
        else
            clock_cond_wait(&waiter->wake, &limiter->mutex, next_token_ms(limiter));
    }
    return false;
}

static bool take(struct limiter *limiter, bool background, struct cancel *cancel, int64_t *ret_waited_ms,
                 struct error *err)
{
    struct waiter waiter = {.limiter = limiter, .background = background};
    int64_t started_ms = clock_mono_ms();
    clock_cond_init(&waiter.wake);
    pthread_mutex_lock(&limiter->mutex);
    join_queue(limiter, &waiter);
    pthread_mutex_unlock(&limiter->mutex);
    uint64_t hook = cancel ? cancel_add_hook(cancel, on_cancel, &waiter) : 0;

    pthread_mutex_lock(&limiter->mutex);
    bool got = wait_turn(limiter, &waiter, cancel);
    leave_queue(limiter, &waiter);
    pthread_mutex_unlock(&limiter->mutex);

    if (cancel)
        cancel_remove_hook(cancel, hook); /* not under the mutex, which the hook takes */
    pthread_cond_destroy(&waiter.wake);
    if (!got)
        return cancel_check(cancel, err);
    if (ret_waited_ms)
        *ret_waited_ms = clock_mono_ms() - started_ms;
    return true;
}

bool limiter_take(struct limiter *limiter, struct cancel *cancel, int64_t *ret_waited_ms, struct error *err)
{
    return take(limiter, false, cancel, ret_waited_ms, err);
}

bool limiter_take_background(struct limiter *limiter, struct cancel *cancel, int64_t *ret_waited_ms, struct error *err)
{
    return take(limiter, true, cancel, ret_waited_ms, err);
}

static double floor_rate(const struct limiter *limiter)
{
    double share = limiter->full_rate * FLOOR_SHARE;
    double least = share > FLOOR_PER_SECOND ? share : FLOOR_PER_SECOND;
    return least < limiter->full_rate ? least : limiter->full_rate;
}

void limiter_throttled(struct limiter *limiter)
{
    pthread_mutex_lock(&limiter->mutex);
    advance(limiter);
    if (limiter->cut_us == 0 || limiter->counted_us - limiter->cut_us >= SECOND_US) {
        limiter->rate *= CUT_FACTOR;
        if (limiter->rate < floor_rate(limiter))
            limiter->rate = floor_rate(limiter);
        limiter->cut_us = limiter->counted_us;
        if (limiter->tokens > 0)
            limiter->tokens = 0;
    }
    limiter->grown_us = limiter->counted_us;
    pthread_mutex_unlock(&limiter->mutex);
}

double limiter_rate(struct limiter *limiter)
{
    pthread_mutex_lock(&limiter->mutex);
    advance(limiter);
    double rate = limiter->rate;
    pthread_mutex_unlock(&limiter->mutex);
    return rate;
}

void limiter_set_rate(struct limiter *limiter, double rate_per_second, double burst)
{
    BUG_ON(rate_per_second <= 0);
    pthread_mutex_lock(&limiter->mutex);
    advance(limiter);
    limiter->full_rate = limiter->rate = rate_per_second;
    limiter->burst = burst < 1 ? 1 : burst;
    if (limiter->tokens > limiter->burst)
        limiter->tokens = limiter->burst;
    wake_first(limiter);
    pthread_mutex_unlock(&limiter->mutex);
}
