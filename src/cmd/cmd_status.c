/* status, runs and last-sync: three questions, one way to print the answer. */
#include <stdio.h>
#include <stdlib.h>

#include "command.h"
#include "operate/operate.h"

struct question {
    int64_t tenant, limit;
    const char *entity;
};

typedef bool ask_fn(struct services *services, const struct question *q, struct bq_result *ret, struct error *err);

static bool ask_status(struct services *v, const struct question *q, struct bq_result *ret, struct error *err)
{
    return operate_status(v, q->tenant, q->entity, ret, NULL, err);
}

static bool ask_runs(struct services *v, const struct question *q, struct bq_result *ret, struct error *err)
{
    return operate_runs(v, q->tenant, q->entity, q->limit, ret, NULL, err);
}

static bool ask_last_sync(struct services *v, const struct question *q, struct bq_result *ret, struct error *err)
{
    return operate_last_sync(v, q->tenant, q->entity, ret, NULL, err);
}

static bool read_question(struct invocation *in, struct question *q)
{
    *q = (struct question){.limit = 10};
    if (!invocation_limit(in, &q->limit) || !invocation_tenant(in, &q->tenant))
        return false;
    if (in->argc > 1) {
        usage_error(in, "unexpected argument '%s'", in->argv[1]);
        return false;
    }
    q->entity = in->argc == 1 ? in->argv[0] : NULL;
    if (q->entity && !settings_entity(&in->settings, q->entity)) {
        usage_error(in, "unknown entity \"%s\"", q->entity);
        return false;
    }
    return true;
}

static enum exit_code ask(struct invocation *in, ask_fn *fn)
{
    struct error err = ERROR_INIT;
    struct services services;
    struct question question;
    struct bq_result result = {0};
    if (!read_question(in, &question))
        return EXIT_USAGE;
    bool ok =
        services_open(&services, &in->settings, SETTINGS_BIGQUERY, &err) && fn(&services, &question, &result, &err);
    services_close(&services);
    if (ok)
        command_print_result(in, &result);
    else
        add_init_hint(&err);
    bq_result_release(&result);
    return ok ? EXIT_OK : command_failed(in, &err);
}

static enum exit_code exec_status(struct invocation *in)
{
    return ask(in, ask_status);
}

static enum exit_code exec_runs(struct invocation *in)
{
    return ask(in, ask_runs);
}

static enum exit_code exec_last_sync(struct invocation *in)
{
    return ask(in, ask_last_sync);
}

static const struct command_option options[] = {
    {"--tenant", "ID", "one tenant; default: all"},
    {"--json", NULL, "print JSON"},
    {NULL, NULL, NULL},
};

static const struct command_option runs_options[] = {
    {"--tenant", "ID", "one tenant; default: all"},
    {"--limit", "N", "how many runs, newest first (10)"},
    {"--json", NULL, "print JSON"},
    {NULL, NULL, NULL},
};

const struct command command_status = {
    .name = "status",
    .arguments = "[ENTITY]",
    .summary = "Show the newest run and the watermark of each tenant and entity.",
    .options = options,
    .needs = SETTINGS_BIGQUERY,
    .exec = exec_status,
};

const struct command command_runs = {
    .name = "runs",
    .arguments = "[ENTITY]",
    .summary = "Show the newest runs.",
    .options = runs_options,
    .needs = SETTINGS_BIGQUERY,
    .exec = exec_runs,
};

const struct command command_last_sync = {
    .name = "last-sync",
    .arguments = "[ENTITY]",
    .summary = "Show the watermark: the time up to which an entity is known to be complete.",
    .options = options,
    .needs = SETTINGS_BIGQUERY,
    .exec = exec_last_sync,
};
