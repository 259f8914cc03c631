#include "signals.h"

#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "command.h"

static const struct log_context main_log = {.context = "v2-ingestor:main"};

/* The first signal asks for an orderly end, the second one ends at once. SIGUSR2 is our own: the command is over. */
static void *wait_for_signals(void *user)
{
    struct signals *signals = user;
    int got = 0;
    for (int terms = 0; sigwait(&signals->set, &got) == 0;) {
        if (got == SIGUSR2)
            break;
        if (terms++ > 0)
            _exit(EXIT_FAILED);
        log_info(&main_log, LOG_MSG(signals->message), LOG_STR("signal", strsignal(got)));
        cancel_set(signals->shutdown, "shutdown");
    }
    return NULL;
}

void signals_catch(struct signals *signals, struct cancel *shutdown, const char *message)
{
    sigemptyset(&signals->set);
    sigaddset(&signals->set, SIGTERM);
    sigaddset(&signals->set, SIGINT);
    sigaddset(&signals->set, SIGUSR2);
    signals->shutdown = shutdown;
    signals->message = message;
    pthread_sigmask(SIG_BLOCK, &signals->set, NULL);
    if (pthread_create(&signals->thread, NULL, wait_for_signals, signals) != 0)
        BUG("cannot start a thread");
}

void signals_release(struct signals *signals)
{
    pthread_kill(signals->thread, SIGUSR2);
    pthread_join(signals->thread, NULL);
}
