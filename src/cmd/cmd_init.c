#include <stdio.h>

#include "command.h"
#include "operate/operate.h"

struct printer {
    bool json;
    size_t count, created;
};

static void tell(void *user, const char *object, const char *state)
{
    struct printer *p = user;
    struct buf line = BUF_INIT;
    if (p->json) {
        buf_append_str(&line, p->count ? ",\n {\"object\":" : "[{\"object\":");
        buf_append_json_string(&line, slice_str(object));
        buf_append_str(&line, ",\"state\":");
        buf_append_json_string(&line, slice_str(state));
        buf_append_char(&line, '}');
        fputs(buf_cstr(&line), stdout);
        buf_release(&line);
    } else {
        printf("%-60s %s\n", object, state);
    }
    fflush(stdout);
    p->count++;
    p->created += strcmp(state, "created") == 0;
}

static enum exit_code exec(struct invocation *in)
{
    struct error err = ERROR_INIT;
    struct services services;
    struct printer printer = {.json = in->json};
    if (in->argc > 0)
        return usage_error(in, "unexpected argument '%s'", in->argv[0]);
    bool ok = services_open(&services, &in->settings, in->command->needs, &err) &&
              operate_init(&services, tell, &printer, NULL, &err);
    services_close(&services);
    if (in->json)
        puts(printer.count ? "]" : "[]");
    if (!ok)
        return command_failed(in, &err);
    if (!in->json)
        printf("%zu objects, %zu created\n", printer.count, printer.created);
    return EXIT_OK;
}

static const struct command_option options[] = {
    {"--json", NULL, "print JSON"},
    {NULL, NULL, NULL},
};

const struct command command_init = {
    .name = "init",
    .summary = "Make the datasets, tables, views, topics and subscriptions that are missing.",
    .details = "Says of each object whether it exists or was created, or how it differs from what this version would "
               "make. Safe to repeat.",
    .options = options,
    .needs = SETTINGS_PUBSUB | SETTINGS_BIGQUERY,
    .exec = exec,
};
