#include "signals.h"

#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "command.h"

static const struct log_context main_log = {.context = "v2-ingestor:main"};

static void fill(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGUSR2);
}

/* The first signal asks for an orderly end, the second one ends at once. SIGUSR2 is our own: the command is over; one that comes from
 * elsewhere means nothing. */
static void *wait_for_signals(void *user)
{
    struct signals *signals = user;
    int got = 0;
    for (int terms = 0; sigwait(&signals->set, &got) == 0;) {
        if (atomic_load(&signals->over))
            break;
        if (got == SIGUSR2)
            continue;
        if (terms++ > 0)
            _exit(EXIT_FAILED);
        log_info(&main_log, LOG_MSG(signals->message), LOG_STR("signal", strsignal(got)));
        cancel_set(signals->shutdown, "shutdown");
    }
    return NULL;
}

void signals_block(void)
{
    sigset_t set;
    fill(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

void signals_catch(struct signals *signals, struct cancel *shutdown, const char *message)
{
    fill(&signals->set);
    atomic_init(&signals->over, false);
    signals->shutdown = shutdown;
    signals->message = message;
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
