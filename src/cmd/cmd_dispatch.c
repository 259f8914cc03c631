#include <stdio.h>
#include <stdlib.h>

#include "command.h"
#include "dispatch/dispatch.h"

static void put_member(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, ",\"%s\":", name);
    buf_append_json_string(out, slice_str(value));
}

/* A tenant of 0 stands for all of them. */
static void print_json(const struct dispatched *items, size_t count)
{
    struct buf out = BUF_INIT;
    for (size_t i = 0; i < count; i++) {
        const struct task *task = &items[i].task;
        buf_append_str(&out, i ? ",\n {\"entity\":" : "[{\"entity\":");
        buf_append_json_string(&out, slice_str(task->entity));
        put_member(&out, "mode", task_mode_name(task->mode));
        if (task->tenant)
            buf_printf(&out, ",\"tenant\":%lld", (long long)task->tenant);
        else
            put_member(&out, "tenant", "all");
        put_member(&out, "taskId", task->task_id);
        put_member(&out, "messageId", items[i].message_id);
        buf_append_char(&out, '}');
    }
    printf("%s]\n", buf_cstr(&out));
    buf_release(&out);
}

static void print_table(const struct dispatched *items, size_t count)
{
    printf("%-12s %-12s %-14s %-38s %s\n", "ENTITY", "MODE", "TENANT", "TASK", "MESSAGE");
    for (size_t i = 0; i < count; i++) {
        const struct task *task = &items[i].task;
        char tenant[24] = "all";
        if (task->tenant)
            snprintf(tenant, sizeof tenant, "%lld", (long long)task->tenant);
        printf("%-12s %-12s %-14s %-38s %s\n", task->entity, task_mode_name(task->mode), tenant, task->task_id,
               items[i].message_id);
    }
}

static enum exit_code exec(struct invocation *in)
{
    static const char *const everything[] = {"all"};
    struct error err = ERROR_INIT;
    struct services services;
    struct dispatched *items = NULL;
    size_t count = 0;
    struct dispatch_request request = {.mode = invocation_option(in, "--mode"), .requested_by = "cli"};
    if (!invocation_tenant(in, &request.tenant))
        return EXIT_USAGE;
    request.entities = in->argc > 0 ? (const char *const *)in->argv : everything;
    request.entity_count = in->argc > 0 ? (size_t)in->argc : 1;
    bool ok = services_open(&services, &in->settings, SETTINGS_PUBSUB, &err) &&
              dispatch_publish(&services, &request, &items, &count, NULL, &err);
    services_close(&services);
    if (!ok)
        return command_failed(in, &err);
    (in->json ? print_json : print_table)(items, count);
    free(items);
    return EXIT_OK;
}

static const struct command_option options[] = {
    {"--mode", "MODE", "incremental, full, or auto (full on the full-sync day); default: sync.defaultMode"},
    {"--tenant", "ID", "one tenant; default: all configured ones"},
    {"--json", NULL, "print JSON"},
    {NULL, NULL, NULL},
};

const struct command command_dispatch = {
    .name = "dispatch",
    .arguments = "[ENTITY...|all]",
    .summary = "Publish one message per entity and mode; workers do the rest.",
    .details = "Without an entity: all enabled ones, by priority. A message without a tenant is expanded by the worker "
               "that takes it.",
    .options = options,
    .needs = SETTINGS_PUBSUB,
    .exec = exec,
};
