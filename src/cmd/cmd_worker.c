#include <malloc.h>

#include "base/log.h"
#include "command.h"
#include "reload.h"
#include "signals.h"
#include "worker/worker.h"

enum {
    MALLOC_ARENAS = 2, /* glibc makes eight per core: with dozens of threads their free memory adds up */
    DRAIN_IDLE_S = 3,
    DRAIN_IDLE_MAX_S = 3600,
    MALLOC_MAP_BYTES =
        256 * 1024, /* request buffers go back to the system at once; set, so that glibc does not raise it */
};

static const struct log_context main_log = {.context = "v2-ingestor:main"};

/* Milliseconds that the lanes must have been empty; 0 without --drain. False after an error line. */
static bool read_drain(struct invocation *in, int64_t *ret_ms)
{
    bool drain = invocation_option(in, "--drain") != NULL;
    const char *idle = invocation_option(in, "--idle");
    int64_t seconds = DRAIN_IDLE_S;
    *ret_ms = 0;
    if (idle && (!slice_to_int64(slice_str(idle), &seconds) || seconds < 1 || seconds > DRAIN_IDLE_MAX_S)) {
        usage_error(in, "--idle is \"%s\": a number of seconds from 1 to %d is needed", idle, DRAIN_IDLE_MAX_S);
        return false;
    }
    if (idle && !drain) {
        usage_error(in, "--idle goes with --drain");
        return false;
    }
    *ret_ms = drain ? seconds * 1000 : 0;
    return true;
}

static enum exit_code exec(struct invocation *in)
{
    struct error err = ERROR_INIT;
    struct services services;
    struct signals signals;
    struct reload reload;
    struct worker_totals totals = {0};
    int64_t drain_idle_ms;
    if (!read_drain(in, &drain_idle_ms))
        return EXIT_USAGE;
    if (in->argc > 0)
        return usage_error(in, "unexpected argument '%s'", in->argv[0]);
    struct cancel *shutdown = cancel_new(NULL);
    mallopt(M_ARENA_MAX, MALLOC_ARENAS);
    mallopt(M_MMAP_THRESHOLD, MALLOC_MAP_BYTES);
    reload_init(&reload, in);
    signals_catch(&signals, &(const struct signals_options){
                                shutdown, "Shutdown asked for; unfinished work is given back", reload_now, &reload});
    const struct worker_options options = {&services, shutdown, drain_idle_ms};
    bool ok = services_open(&services, &in->settings, in->command->needs, &err);
    reload_set_services(&reload, ok ? &services : NULL);
    ok = ok && worker_run(&options, &totals, &err);
    reload_set_services(&reload, NULL);
    services_close(&services);
    signals_release(&signals);
    reload_release(&reload);
    cancel_free(shutdown);
    if (!ok)
        return command_failed(in, &err);
    log_info(&main_log, LOG_MSG("Worker stopped"), LOG_INT("messages", totals.messages), LOG_INT("done", totals.done),
             LOG_INT("expanded", totals.expanded), LOG_INT("retried", totals.retried),
             LOG_INT("rejected", totals.rejected), LOG_INT("records", totals.records));
    return drain_idle_ms > 0 && totals.rejected > 0 ? EXIT_FAILED : EXIT_OK;
}

static const struct command_option options[] = {
    {"--drain", NULL, "end when both lanes are empty; exit code 1 when a message was dead-lettered"},
    {"--idle", "SECONDS", "with --drain: how long both lanes must have been empty (3)"},
    {NULL, NULL, NULL},
};

const struct command command_worker = {
    .name = "worker",
    .summary = "Pull messages and run the ingestions they ask for.",
    .details =
        "Logs one JSON object per line on standard error. SIGTERM and SIGINT give unfinished messages back and "
        "end the program within 8 s; a second one ends it at once. SIGHUP reads the settings again: log level and "
        "rates take effect, what needs a restart is named. With WORKER_PORT set it answers GET /health, /ready and "
        "/metrics there.",
    .options = options,
    .needs = SETTINGS_PUBSUB | SETTINGS_BIGQUERY | SETTINGS_SERVICETITAN,
    .service = true,
    .exec = exec,
};
