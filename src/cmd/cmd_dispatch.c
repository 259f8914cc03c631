/* dispatch: publish messages; now or when a schedule is due, all at once or one entity after the other. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/timestamp.h"
#include "command.h"
#include "dispatch/due.h"
#include "operate/task_watch.h"
#include "terminal.h"

enum { TIMEOUT_S = 3600, TIMEOUT_MAX_S = 7 * 86400, WAIT_CHUNK_MS = 10000 };

struct dispatch { /* one call of the command */
    const struct invocation *in;
    struct services services;
    const char *mode;
    int64_t tenant, timeout_s, now_us;
    bool due, dry_run, sequential, wait;
    struct due *dues; /* owned, as what follows */
    size_t due_count;
    struct dispatched *items;
    size_t count;
    struct task_watch *watch;
    struct task_status *statuses; /* parallel to items, when somebody waits */
    size_t rows;                  /* printed so far */
    bool failed;                  /* a task was rejected, or did not end in time */
};

static bool waits(const struct dispatch *d)
{
    return d->sequential || d->wait;
}

/* ---- What was published ------------------------------------------------------------------------------------------- */

static void put_member(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, ",\"%s\":", name);
    buf_append_json_string(out, slice_str(value));
}

/* A tenant of 0 stands for all of them. */
static void put_task(struct buf *out, const struct dispatched *item)
{
    const struct task *task = &item->task;
    buf_append_str(out, "{\"entity\":");
    buf_append_json_string(out, slice_str(task->entity));
    put_member(out, "mode", task_mode_name(task->mode));
    if (task->tenant)
        buf_printf(out, ",\"tenant\":%lld", (long long)task->tenant);
    else
        put_member(out, "tenant", "all");
    put_member(out, "taskId", task->task_id);
    put_member(out, "messageId", item->message_id);
}

static void print_json(const struct dispatched *items, size_t count)
{
    struct buf out = BUF_INIT;
    for (size_t i = 0; i < count; i++) {
        buf_append_str(&out, i ? ",\n " : "");
        put_task(&out, &items[i]);
        buf_append_char(&out, '}');
    }
    printf("[%s]\n", buf_cstr(&out));
    buf_release(&out);
}

static void tenant_text(char out[24], int64_t tenant)
{
    snprintf(out, 24, "%s", "all");
    if (tenant)
        snprintf(out, 24, "%lld", (long long)tenant);
}

static void print_table(const struct dispatched *items, size_t count)
{
    printf("%-12s %-12s %-14s %-38s %s\n", "ENTITY", "MODE", "TENANT", "TASK", "MESSAGE");
    for (size_t i = 0; i < count; i++) {
        const struct task *task = &items[i].task;
        char tenant[24];
        tenant_text(tenant, task->tenant);
        printf("%-12s %-12s %-14s %-38s %s\n", task->entity, task_mode_name(task->mode), tenant, task->task_id,
               items[i].message_id);
    }
}

/* ---- What is due -------------------------------------------------------------------------------------------------- */

static const char *time_or(char out[TIMESTAMP_TEXT_SIZE], int64_t us, const char *none)
{
    return us ? timestamp_text(out, us, 0) : none;
}

static void print_dues(const struct due *dues, size_t count)
{
    char last[TIMESTAMP_TEXT_SIZE], slot[TIMESTAMP_TEXT_SIZE], next[TIMESTAMP_TEXT_SIZE];
    printf("%-12s %-16s %-20s %-20s %-20s %s\n", "ENTITY", "SCHEDULE", "LAST DISPATCH", "NEWEST SLOT", "NEXT SLOT",
           "DUE");
    for (size_t i = 0; i < count; i++)
        printf("%-12s %-16s %-20s %-20s %-20s %s\n", dues[i].entity->entity->name, dues[i].entity->schedule,
               time_or(last, dues[i].last_us, "never"), time_or(slot, dues[i].slot_us, "-"),
               time_or(next, dues[i].next_us, "-"), dues[i].is_due ? "yes" : "no");
}

static void put_time(struct buf *out, const char *name, int64_t us)
{
    char text[TIMESTAMP_TEXT_SIZE];
    if (us)
        put_member(out, name, timestamp_text(text, us, 0));
}

static void print_dues_json(const struct due *dues, size_t count)
{
    struct buf out = BUF_INIT;
    for (size_t i = 0; i < count; i++) {
        buf_append_str(&out, i ? ",\n {\"entity\":" : "{\"entity\":");
        buf_append_json_string(&out, slice_str(dues[i].entity->entity->name));
        put_member(&out, "schedule", dues[i].entity->schedule);
        put_time(&out, "lastDispatch", dues[i].last_us);
        put_time(&out, "newestSlot", dues[i].slot_us);
        put_time(&out, "nextSlot", dues[i].next_us);
        buf_printf(&out, ",\"due\":%s}", dues[i].is_due ? "true" : "false");
    }
    printf("[%s]\n", buf_cstr(&out));
    buf_release(&out);
}

/* ---- The messages ------------------------------------------------------------------------------------------------- */

static bool add_items(struct dispatch *d, const struct dispatch_request *request, struct error *err)
{
    struct dispatched *items = NULL;
    size_t count = 0;
    if (!dispatch_plan(&d->in->settings, request, &items, &count, err))
        return false;
    d->items = xrealloc(d->items, (d->count + count + 1) * sizeof *items);
    memcpy(d->items + d->count, items, count * sizeof *items);
    d->count += count;
    free(items);
    return true;
}

static bool plan_due(struct dispatch *d, struct error *err)
{
    for (size_t i = 0; i < d->due_count; i++) {
        const char *name = d->dues[i].entity->entity->name;
        const struct dispatch_request request = {
            .entities = &name,
            .entity_count = 1,
            .mode = due_mode(&d->in->settings, &d->dues[i], d->mode, d->now_us),
            .requested_by = "schedule",
            .single_tasks = waits(d),
        };
        if (d->dues[i].is_due && !add_items(d, &request, err))
            return false;
    }
    return true;
}

static bool plan(struct dispatch *d, struct error *err)
{
    static const char *const everything[] = {"all"};
    if (d->due)
        return plan_due(d, err);
    const struct dispatch_request request = {
        .entities = d->in->argc > 0 ? (const char *const *)d->in->argv : everything,
        .entity_count = d->in->argc > 0 ? (size_t)d->in->argc : 1,
        .mode = d->mode,
        .tenant = d->tenant,
        .requested_by = "cli",
        .single_tasks = waits(d),
    };
    return add_items(d, &request, err);
}

static bool send(struct dispatch *d, size_t first, size_t count, struct error *err)
{
    return dispatch_send(&d->services, d->items + first, count, NULL, err) &&
           (!d->due || due_record(&d->services, d->dues, d->due_count, d->items + first, count, d->now_us, NULL, err));
}

/* ---- Waiting ------------------------------------------------------------------------------------------------------ */

static void print_row(struct dispatch *d, size_t at)
{
    const struct task_status *status = &d->statuses[at];
    const struct task *task = &d->items[at].task;
    char reason[REASON_SIZE];
    if (d->rows++ == 0)
        printf("%-12s %-12s %-14s %-9s %10s %9s  %s\n", "ENTITY", "MODE", "TENANT", "STATE", "RECORDS", "SECONDS",
               "REASON");
    printf("%-12s %-12s %-14lld %-9s %10lld %9.1f  %s\n", task->entity, task_mode_name(task->mode),
           (long long)task->tenant, task_state_name(status->state), (long long)status->records,
           (double)status->duration_ms / 1000,
           status->error_message[0] || task_state_is_final(status->state)
               ? reason_text(reason, status->error_message)
               : "not ended within --timeout; the workers go on");
    fflush(stdout);
}

static void print_row_json(struct dispatch *d, size_t at)
{
    const struct task_status *status = &d->statuses[at];
    struct buf out = BUF_INIT;
    put_task(&out, &d->items[at]);
    put_member(&out, "state", task_state_name(status->state));
    buf_printf(&out, ",\"records\":%lld,\"durationMs\":%lld", (long long)status->records,
               (long long)status->duration_ms);
    if (status->run_id[0])
        put_member(&out, "runId", status->run_id);
    if (status->error_message[0])
        put_member(&out, "error", status->error_message);
    printf("%s%s}", d->rows++ ? ",\n " : "[", buf_cstr(&out));
    fflush(stdout);
    buf_release(&out);
}

static void report(struct dispatch *d, size_t at)
{
    d->failed = d->failed || !task_state_is_success(d->statuses[at].state);
    (d->in->json ? print_row_json : print_row)(d, at);
}

/* Tells each task as it ends; those that have not ended in time are told as they are then. */
static bool wait_for(struct dispatch *d, size_t first, size_t count, struct error *err)
{
    const char **ids = xcalloc(count + 1, sizeof *ids);
    bool *told = xcalloc(count + 1, sizeof *told);
    int64_t deadline_ms = clock_mono_ms() + d->timeout_s * 1000;
    bool done = false, ok = true;
    for (size_t i = 0; i < count; i++)
        ids[i] = d->items[first + i].task.task_id;
    while (ok && !done) {
        int64_t chunk_ms = clock_mono_ms() + WAIT_CHUNK_MS;
        struct error why = ERROR_INIT;
        done = task_watch_wait(d->watch, ids, count, d->now_us, chunk_ms < deadline_ms ? chunk_ms : deadline_ms,
                               d->statuses + first, NULL, &why) ||
               clock_mono_ms() >= deadline_ms;
        ok = done || strcmp(why.code, "timeout") == 0;
        if (!ok)
            *err = why;
        for (size_t i = 0; ok && i < count; i++) {
            if (!told[i] && (done || task_state_is_final(d->statuses[first + i].state)))
                report(d, first + i);
            told[i] = told[i] || task_state_is_final(d->statuses[first + i].state);
        }
    }
    free(ids);
    free(told);
    return ok;
}

/* The messages of one entity stand behind each other. */
static size_t group_length(const struct dispatch *d, size_t first)
{
    size_t end = first;
    while (end < d->count && (!d->sequential || strcmp(d->items[end].task.entity, d->items[first].task.entity) == 0))
        end++;
    return end - first;
}

/* Goes on with the next entity also when one was rejected: it may have nothing to do with the others. */
static bool send_and_wait(struct dispatch *d, struct error *err)
{
    bool ok = true;
    terminal_at_interrupt("What is published goes on without you: st-ingestor runs   shows it");
    d->watch = task_watch_new(&d->services);
    d->statuses = xcalloc(d->count + 1, sizeof d->statuses[0]);
    for (size_t first = 0, count; ok && first < d->count; first += count) {
        count = group_length(d, first);
        ok = send(d, first, count, err) && wait_for(d, first, count, err);
    }
    if (d->in->json && d->rows > 0)
        printf("]\n");
    task_watch_free(d->watch);
    free(d->statuses);
    return ok;
}

/* ---- The command -------------------------------------------------------------------------------------------------- */

/* A crontab line that has nothing to do says nothing. */
static bool run(struct dispatch *d, struct error *err)
{
    if (d->due && !due_decide(&d->services, d->dues, d->due_count, d->now_us, NULL, err))
        return false;
    if (d->dry_run) {
        (d->in->json ? print_dues_json : print_dues)(d->dues, d->due_count);
        return true;
    }
    if (!plan(d, err))
        return false;
    if (waits(d) && d->count > 0)
        return send_and_wait(d, err);
    if (d->count > 0 && !send(d, 0, d->count, err))
        return false;
    if (d->in->json)
        print_json(d->items, d->count);
    else if (d->count > 0)
        print_table(d->items, d->count);
    return true;
}

static bool read_options(struct invocation *in, struct dispatch *d)
{
    const char *timeout = invocation_option(in, "--timeout");
    *d = (struct dispatch){
        .in = in,
        .mode = invocation_option(in, "--mode"),
        .timeout_s = TIMEOUT_S,
        .now_us = clock_wall_us(),
        .due = invocation_option(in, "--due") != NULL,
        .dry_run = invocation_option(in, "--dry-run") != NULL,
        .sequential = invocation_option(in, "--sequential") != NULL,
        .wait = invocation_option(in, "--wait") != NULL,
    };
    if (!invocation_tenant(in, &d->tenant))
        return false;
    if (timeout &&
        (!slice_to_int64(slice_str(timeout), &d->timeout_s) || d->timeout_s < 1 || d->timeout_s > TIMEOUT_MAX_S))
        usage_error(in, "--timeout is \"%s\": seconds, from 1 to %d, are needed", timeout, TIMEOUT_MAX_S);
    else if (timeout && !waits(d))
        usage_error(in, "--timeout belongs to --sequential or --wait");
    else if (d->due && d->tenant)
        usage_error(in, "--due takes no --tenant: schedules are the entities'");
    else if (d->dry_run && !d->due)
        usage_error(in, "--dry-run belongs to --due");
    else
        return true;
    return false;
}

static enum exit_code exec(struct invocation *in)
{
    struct error err = ERROR_INIT;
    struct dispatch d;
    if (!read_options(in, &d))
        return EXIT_USAGE;
    unsigned needs = SETTINGS_PUBSUB | (d.due || waits(&d) ? SETTINGS_BIGQUERY : 0);
    bool ok = settings_check(&in->settings, needs, &err) &&
              (!d.due || due_slots(&in->settings, (const char *const *)in->argv, (size_t)in->argc, d.now_us, &d.dues,
                                   &d.due_count, &err)) &&
              services_open(&d.services, &in->settings, needs, &err) && run(&d, &err);
    services_close(&d.services);
    free(d.dues);
    free(d.items);
    if (!ok) {
        add_init_hint(&err);
        return command_failed(in, &err);
    }
    return d.failed ? EXIT_FAILED : EXIT_OK;
}

static const struct command_option options[] = {
    {"--mode", "MODE", "incremental, full, auto (full on the full-sync day), or reconcile; default: sync.defaultMode"},
    {"--tenant", "ID", "one tenant; default: all configured ones"},
    {"--sequential", NULL, "publish an entity when the one before has ended; a row tells how each ended"},
    {"--wait", NULL, "publish all at once and wait for all of them"},
    {"--timeout", "SECONDS", "how long to wait: sequential, for each entity; wait, for all (3600)"},
    {"--due", NULL, "only what the schedules in config.json say is due since the last dispatch --due"},
    {"--dry-run", NULL, "with --due: show schedules, last dispatches and slots; publish nothing"},
    {"--json", NULL, "print JSON"},
    {NULL, NULL, NULL},
};

const struct command command_dispatch = {
    .name = "dispatch",
    .arguments = "[ENTITY...|all]",
    .summary = "Publish one message per entity and mode; workers do the rest.",
    .details = "Without an entity: all enabled ones, by priority. A message without a tenant is expanded by the worker "
               "that takes "
               "it.\n\n"
               "--sequential and --wait publish one message per tenant and read the run log. An entity that is "
               "rejected, or does "
               "not end in\ntime, does not stop the next; the exit code is 1 then.\n\n"
               "--due is for a crontab line where there is no Cloud Scheduler, as often as the schedules are fine:\n"
               "  */5 * * * * st-ingestor dispatch --due\n"
               "Schedules are in the time zone SCHEDULE_TIME_ZONE. An entity is due when its schedule has had a slot "
               "since its\n"
               "last dispatch (several missed slots cost one message), and when it never had one. With mode auto only "
               "the first\n"
               "dispatch of a full-sync day is full. Nothing is printed when nothing is due. What was published is "
               "recorded in\n"
               "dispatch_events afterwards: a kill in between publishes once more, two machines at once twice; both "
               "are harmless.",
    .options = options,
    .needs = SETTINGS_PUBSUB,
    .exec = exec,
};
