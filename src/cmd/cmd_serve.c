#include <malloc.h>
#include <stdio.h>
#include <sys/resource.h>

#include "base/log.h"
#include "command.h"
#include "operate/api.h"
#include "reload.h"
#include "signals.h"

enum {
    MALLOC_ARENAS = 4,        /* hundreds of threads may wait: their free memory must not add up */
    FOREVER_MS = 86400 * 1000 /* of one sleep; it is repeated */
};

enum { DESCRIPTORS = 4096 }; /* of the API's connections and of those to Google, with room */

static const struct log_context main_log = {.context = "v2-ingestor:main"};

/* Many systems begin with 1,024, which the API's own connections may use up. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= DESCRIPTORS)
        return;
    limit.rlim_cur = limit.rlim_max < DESCRIPTORS ? limit.rlim_max : DESCRIPTORS;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static bool serve(struct invocation *in, struct services *services, struct cancel *shutdown, struct error *err)
{
    if (!services_open(services, &in->settings, in->command->needs, err))
        return false;
    struct api *api = api_start(services, err);
    if (!api)
        return false;
    while (cancel_sleep_ms(shutdown, FOREVER_MS))
        ;
    api_stop(api);
    log_info(&main_log, LOG_MSG("HTTP API stopped"));
    return true;
}

static enum exit_code exec(struct invocation *in)
{
    struct error err = ERROR_INIT;
    struct services services = {0};
    struct signals signals;
    struct reload reload;
    if (in->argc > 0)
        return usage_error(in, "unexpected argument '%s'", in->argv[0]);
    struct cancel *shutdown = cancel_new(NULL);
    mallopt(M_ARENA_MAX, MALLOC_ARENAS);
    raise_descriptor_limit();
    reload_init(&reload, in);
    signals_catch(&signals, &(const struct signals_options){
                                shutdown, "Shutdown asked for; waiting requests are answered with their task ids",
                                reload_now, &reload});
    bool ok = serve(in, &services, shutdown, &err);
    services_close(&services);
    signals_release(&signals);
    reload_release(&reload);
    cancel_free(shutdown);
    return ok ? EXIT_OK : command_failed(in, &err);
}

const struct command command_serve = {
    .name = "serve",
    .summary = "Serve the HTTP API: start ingestions, ask for runs and watermarks.",
    .details =
        "Publishes messages and reads the run log; workers do the ingesting. Listens on API_BIND and PORT.\n\n"
        "  GET  /health  /ready  /metrics  /entities\n"
        "  GET  /ingest/ENTITY?mode=incremental|full      POST too\n"
        "  GET  /ingest-all?mode=&parallel=true|false     POST too\n"
        "  POST /full-sync/ENTITY\n"
        "  GET  /status/ENTITY  /last-sync/ENTITY  /tasks/ID  /runs/ID\n\n"
        "Each takes tenant=ID. Those that start something wait for the run (timeout=SECONDS, 300) and then answer\n"
        "202 with a status URL; wait=false answers at once. With API_TOKEN all but /health and /ready need it as\n"
        "a bearer token; without it, only this machine may start something, unless\n"
        "API_ALLOW_UNAUTHENTICATED=true. SIGTERM and SIGINT end it; SIGHUP\n"
        "reads the log level again.",
    .needs = SETTINGS_PUBSUB | SETTINGS_BIGQUERY,
    .service = true,
    .exec = exec,
};
