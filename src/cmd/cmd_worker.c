#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "command.h"
#include "worker/worker.h"

enum {
    MALLOC_ARENAS = 2, /* glibc makes eight per core: with dozens of threads their free memory adds up */
    MALLOC_MAP_BYTES =
        256 * 1024, /* request buffers go back to the system at once; set, so that glibc does not raise it */
};

static const struct log_context main_log = {.context = "v2-ingestor:main"};

struct signals {
    sigset_t set;
    struct cancel *shutdown;
    pthread_t thread;
};

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
        log_info(&main_log, LOG_MSG("Shutdown asked for; unfinished work is given back"),
                 LOG_STR("signal", strsignal(got)));
        cancel_set(signals->shutdown, "shutdown");
    }
    return NULL;
}

/* Before any other thread starts: all threads inherit the mask, and only this one takes signals. */
static void catch_signals(struct signals *signals, struct cancel *shutdown)
{
    sigemptyset(&signals->set);
    sigaddset(&signals->set, SIGTERM);
    sigaddset(&signals->set, SIGINT);
    sigaddset(&signals->set, SIGUSR2);
    signals->shutdown = shutdown;
    pthread_sigmask(SIG_BLOCK, &signals->set, NULL);
    if (pthread_create(&signals->thread, NULL, wait_for_signals, signals) != 0)
        BUG("cannot start a thread");
}

static void release_signals(struct signals *signals)
{
    pthread_kill(signals->thread, SIGUSR2);
    pthread_join(signals->thread, NULL);
}

static enum exit_code exec(struct invocation *in)
{
    struct error err = ERROR_INIT;
    struct services services;
    struct signals signals;
    struct worker_totals totals = {0};
    struct cancel *shutdown = cancel_new(NULL);
    bool drain = invocation_option(in, "--drain") != NULL;
    if (in->argc > 0) {
        cancel_free(shutdown);
        return usage_error(in, "unexpected argument '%s'", in->argv[0]);
    }
    mallopt(M_ARENA_MAX, MALLOC_ARENAS);
    mallopt(M_MMAP_THRESHOLD, MALLOC_MAP_BYTES);
    catch_signals(&signals, shutdown);
    const struct worker_options options = {&services, shutdown, drain};
    bool ok = services_open(&services, &in->settings, in->command->needs, &err) && worker_run(&options, &totals, &err);
    services_close(&services);
    release_signals(&signals);
    cancel_free(shutdown);
    if (!ok)
        return command_failed(in, &err);
    log_info(&main_log, LOG_MSG("Worker stopped"), LOG_INT("messages", totals.messages), LOG_INT("done", totals.done),
             LOG_INT("expanded", totals.expanded), LOG_INT("retried", totals.retried),
             LOG_INT("rejected", totals.rejected), LOG_INT("records", totals.records));
    return drain && totals.rejected > 0 ? EXIT_FAILED : EXIT_OK;
}

static const struct command_option options[] = {
    {"--drain", NULL, "end when both lanes are empty; exit code 1 when a message was dead-lettered"},
    {NULL, NULL, NULL},
};

const struct command command_worker = {
    .name = "worker",
    .summary = "Pull messages and run the ingestions they ask for.",
    .details = "Logs one JSON object per line on standard error. SIGTERM and SIGINT give unfinished messages back and "
               "end the program. With WORKER_PORT set it answers GET /health, /ready and /metrics there.",
    .options = options,
    .needs = SETTINGS_PUBSUB | SETTINGS_BIGQUERY | SETTINGS_SERVICETITAN,
    .service = true,
    .exec = exec,
};
