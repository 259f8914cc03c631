/* breaker.c - circuit breaker.
 *
 *   CLOSED     calls pass; `threshold` failures in a row -> OPEN
 *   OPEN       calls are refused; after reset_ms the next caller becomes the probe -> HALF_OPEN
 *   HALF_OPEN  only the probe is out; its success -> CLOSED, its failure -> OPEN for another reset_ms,
 *              abandoned -> OPEN, due at once
 *
 * Calls that passed while CLOSED may come back when the breaker has opened meanwhile. Their outcome says nothing about
 * the present, so the probe is known by its thread: enter and leave of one call happen on one thread. */
#include "net/breaker.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"

enum { PROBE_WAIT_MS = 1000 }; /* how long others are told to wait while a probe is out */

struct breaker {
    pthread_mutex_t mutex;
    int threshold;
    int64_t reset_ms;
    enum breaker_state state;
    int failures;         /* in a row, while CLOSED */
    int64_t probe_due_ms; /* OPEN */
    pthread_t probe;      /* HALF_OPEN */
    void (*watch)(void *user, enum breaker_state state, int failures);
    void *watch_user;
    enum breaker_state told;
};

struct breaker *breaker_new(int threshold, int64_t reset_ms)
{
    BUG_ON(threshold < 1);
    struct breaker *breaker = xcalloc(1, sizeof *breaker);
    pthread_mutex_init(&breaker->mutex, NULL);
    breaker->threshold = threshold;
    breaker->reset_ms = reset_ms;
    return breaker;
}

void breaker_free(struct breaker *breaker)
{
    if (!breaker)
        return;
    pthread_mutex_destroy(&breaker->mutex);
    free(breaker);
}

void breaker_watch(struct breaker *breaker, void (*fn)(void *user, enum breaker_state state, int failures), void *user)
{
    breaker->watch = fn;
    breaker->watch_user = user;
}

/* With the mutex held. */
static void tell(struct breaker *breaker)
{
    if (breaker->watch && breaker->told != breaker->state)
        breaker->watch(breaker->watch_user, breaker->state, breaker->failures);
    breaker->told = breaker->state;
}

static void open_until(struct breaker *breaker, int64_t probe_due_ms)
{
    breaker->state = BREAKER_OPEN;
    breaker->probe_due_ms = probe_due_ms;
}

/* How long the caller has to wait; 0 = may pass. */
static int64_t wait_of(struct breaker *breaker)
{
    if (breaker->state == BREAKER_CLOSED)
        return 0;
    if (breaker->state == BREAKER_HALF_OPEN)
        return PROBE_WAIT_MS;
    int64_t wait_ms = breaker->probe_due_ms - clock_mono_ms();
    if (wait_ms > 0)
        return wait_ms;
    breaker->state = BREAKER_HALF_OPEN;
    breaker->probe = pthread_self();
    tell(breaker);
    return 0;
}

bool breaker_enter(struct breaker *breaker, struct error *err)
{
    pthread_mutex_lock(&breaker->mutex);
    int64_t wait_ms = wait_of(breaker);
    pthread_mutex_unlock(&breaker->mutex);
    if (wait_ms == 0)
        return true;
    error_set(err, ERROR_RETRY, "breaker_open",
              "could not send the request: %d failures in a row, the next try is in %lld ms", breaker->threshold,
              (long long)wait_ms);
    if (err)
        err->wait_ms = wait_ms;
    return false;
}

static bool is_probe(const struct breaker *breaker)
{
    return breaker->state == BREAKER_HALF_OPEN && pthread_equal(breaker->probe, pthread_self());
}

void breaker_leave(struct breaker *breaker, bool ok)
{
    pthread_mutex_lock(&breaker->mutex);
    if (breaker->state == BREAKER_CLOSED || is_probe(breaker)) {
        breaker->failures = ok ? 0 : breaker->failures + 1;
        if (ok)
            breaker->state = BREAKER_CLOSED;
        else if (breaker->failures >= breaker->threshold)
            open_until(breaker, clock_mono_ms() + breaker->reset_ms);
        tell(breaker);
    }
    pthread_mutex_unlock(&breaker->mutex);
}

void breaker_abandon(struct breaker *breaker)
{
    pthread_mutex_lock(&breaker->mutex);
    if (is_probe(breaker))
        open_until(breaker, clock_mono_ms());
    pthread_mutex_unlock(&breaker->mutex);
}

enum breaker_state breaker_state(struct breaker *breaker)
{
    pthread_mutex_lock(&breaker->mutex);
    bool due = breaker->state == BREAKER_OPEN && breaker->probe_due_ms <= clock_mono_ms();
    enum breaker_state state = due ? BREAKER_HALF_OPEN : breaker->state;
    pthread_mutex_unlock(&breaker->mutex);
    return state;
}

const char *breaker_state_name(enum breaker_state state)
{
    static const char *const names[] = {
        [BREAKER_CLOSED] = "closed", [BREAKER_OPEN] = "open", [BREAKER_HALF_OPEN] = "half_open"};
    return (size_t)state < sizeof names / sizeof names[0] ? names[state] : "unknown";
}
