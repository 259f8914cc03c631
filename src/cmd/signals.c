#include "signals.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "command.h"

enum { ENDED_BY_SIGNAL = 128 };

static const struct log_context main_log = {.context = "v2-ingestor:main"};

static void fill(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    sigaddset(set, SIGUSR2);
}

/* Real time, whatever clock a test lets the program have: the platform's patience is real. */
static int64_t real_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* The next signal; 0 when the time is over. until_ms 0: no end. */
static int next_signal(const struct signals *signals, int64_t until_ms)
{
    int got = 0;
    do {
        int64_t left_ms = until_ms ? until_ms - real_ms() : 0;
        const struct timespec wait = {left_ms / 1000, left_ms % 1000 * 1000000};
        if (until_ms && left_ms <= 0)
            return 0;
        got = sigtimedwait(&signals->set, NULL, until_ms ? &wait : NULL);
    } while (got < 0 && (errno == EINTR || errno == EAGAIN));
    return got;
}

/* A worker may be killed at any moment without harm, so ending here loses no more than that; waiting for the platform's
 * SIGKILL would only add an alarm. */
static void cut_short(void)
{
    log_warn(&main_log,
             LOG_MSG("Shutdown takes too long and is cut short; what is unfinished comes again when its lease ends"),
             LOG_INT("graceMs", SIGNALS_GRACE_MS));
    _exit(EXIT_OK);
}

/* The first signal asks for an orderly end, the second one ends at once. SIGUSR2 is our own: the command is over; one that comes from
 * elsewhere means nothing. */
static void *wait_for_signals(void *user)
{
    struct signals *signals = user;
    const struct signals_options *o = &signals->options;
    int got;
    for (int64_t until_ms = 0; (got = next_signal(signals, until_ms)) >= 0;) {
        if (atomic_load(&signals->over))
            break;
        if (got == 0)
            cut_short();
        if (got == SIGHUP && !until_ms && o->on_hangup)
            o->on_hangup(o->user);
        if (got != SIGTERM && got != SIGINT)
            continue;
        if (until_ms)
            _exit(ENDED_BY_SIGNAL + got);
        until_ms = real_ms() + SIGNALS_GRACE_MS;
        log_info(&main_log, LOG_MSG(o->message), LOG_STR("signal", strsignal(got)));
        cancel_set(o->shutdown, "shutdown");
    }
    return NULL;
}

void signals_block(void)
{
    sigset_t set;
    fill(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

void signals_catch(struct signals *signals, const struct signals_options *options)
{
    fill(&signals->set);
    atomic_init(&signals->over, false);
    signals->options = *options;
    signals_block();
    if (pthread_create(&signals->thread, NULL, wait_for_signals, signals) != 0)
        BUG("cannot start a thread");
}

void signals_release(struct signals *signals)
{
    atomic_store(&signals->over, true);
    pthread_kill(signals->thread, SIGUSR2);
    pthread_join(signals->thread, NULL);
}
