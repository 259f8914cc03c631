/* backfill: plan, publish, follow and repeat the reading of history. */
#include <stdio.h>
#include <stdlib.h>

#include "backfill_view.h"
#include "base/clock.h"
#include "base/timestamp.h"
#include "terminal.h"

struct wishes { /* the switches of a publication */
    bool yes, dry_run, make_new, watch, json;
};

static enum exit_code failed(const struct invocation *in, struct error *err)
{
    add_init_hint(err);
    return command_failed(in, err);
}

/* ---- Progress ----------------------------------------------------------------------------------------------------- */

/* EXIT_FAILED when slices were rejected, also when nobody waits for the rest. */
static enum exit_code report(const struct invocation *in, const struct backfill *b, struct backfill_progress *p,
                             bool all_slices)
{
    if (in->json)
        backfill_print_progress_json(b, p);
    else
        backfill_print_progress(b, p, all_slices);
    enum exit_code code = p->states[SLICE_REJECTED] ? EXIT_FAILED : EXIT_OK;
    free(p->slices);
    return code;
}

static enum exit_code show_progress(const struct invocation *in, struct services *services, const struct backfill *b,
                                    bool watch, bool all_slices)
{
    struct error err = ERROR_INIT;
    struct backfill_progress progress;
    bool ok = watch ? backfill_watch(services, b, &progress, &err)
                    : backfill_progress_read(services, b, &progress, NULL, &err);
    return ok ? report(in, b, &progress, all_slices) : failed(in, &err);
}

/* ---- Publishing --------------------------------------------------------------------------------------------------- */

static void tell_published(void *user, size_t published, size_t of)
{
    progress_show(user, "published %zu of %zu messages", published, of);
}

static bool publish(struct services *services, struct backfill *b, struct error *err)
{
    struct progress_line line = {0};
    bool ok = backfill_publish(services, b, tell_published, &line, NULL, err);
    progress_end(&line);
    return ok || error_prefix(err, "backfill %s is published in part; the same command publishes the rest", b->id);
}

static enum exit_code after_publishing(const struct invocation *in, struct services *services, const struct backfill *b,
                                       size_t published, const struct wishes *wishes)
{
    if (wishes->watch)
        return show_progress(in, services, b, true, false);
    if (in->json)
        printf("{\"backfill\":\"%s\",\"messages\":%zu,\"published\":%zu}\n", b->id, b->count, published);
    else
        printf("Published %zu messages. st-ingestor backfill show %s   tells how far it is\n", published, b->id);
    return EXIT_OK;
}

/* Publishes what has no message, after a question where there is somebody to ask. */
static enum exit_code go_on(const struct invocation *in, struct services *services, struct backfill *b,
                            const struct wishes *wishes)
{
    struct error err = ERROR_INIT;
    size_t missing = backfill_unpublished(b);
    if (!wishes->yes && !terminal_ask("Publish %zu message%s? [y/N] ", missing, missing == 1 ? "" : "s")) {
        fprintf(stderr, "Nothing was published.\n");
        return EXIT_FAILED;
    }
    if (b->created_us == 0 && !backfill_record(services, b, NULL, &err))
        return failed(in, &err);
    if (!publish(services, b, &err))
        return failed(in, &err);
    return after_publishing(in, services, b, missing, wishes);
}

static void tell_count(void *user, const char *entity, int64_t tenant)
{
    progress_show(user, "counting %s of tenant %lld", entity, (long long)tenant);
}

static bool make_plan(struct services *services, const struct backfill_request *request, struct backfill *ret,
                      struct error *err)
{
    struct progress_line line = {0};
    bool ok = backfill_plan(services, request, tell_count, &line, ret, NULL, err);
    progress_end(&line);
    return ok;
}

static void print_plan(const struct invocation *in, const struct backfill *b)
{
    if (!in->json)
        backfill_print_plan(&in->settings, b);
    else
        backfill_print_plan_json(&in->settings, b);
}

/* The plan that the same command made before, if any: its rest is published, or there is nothing to do. */
static enum exit_code resume(const struct invocation *in, struct services *services, struct backfill *b,
                             const struct wishes *wishes)
{
    char made[TIMESTAMP_TEXT_SIZE];
    size_t missing = backfill_unpublished(b);
    FILE *out = in->json ? stderr : stdout;
    timestamp_text(made, b->created_us, 0);
    if (missing == 0) {
        fprintf(out, "Backfill %s of %s did this: all its messages are published. --new makes another one.\n\n", b->id,
                made);
        return show_progress(in, services, b, wishes->watch, false);
    }
    fprintf(out, "Backfill %s of %s was published in part: %zu of %zu messages are missing. --new makes another one.\n",
            b->id, made, missing, b->count);
    if (wishes->dry_run) {
        print_plan(in, b);
        return EXIT_OK;
    }
    return go_on(in, services, b, wishes);
}

static enum exit_code start(const struct invocation *in, struct services *services,
                            const struct backfill_request *request, const struct wishes *wishes)
{
    struct error err = ERROR_INIT;
    struct backfill backfill = {0};
    bool found = false;
    enum exit_code code = EXIT_OK;
    bool ok = wishes->make_new || backfill_find(services, request->key, &found, &backfill, NULL, &err);
    if (ok && found) {
        code = resume(in, services, &backfill, wishes);
    } else if (ok) {
        ok = make_plan(services, request, &backfill, &err);
        if (ok && (!in->json || wishes->dry_run))
            print_plan(in, &backfill);
        if (ok && !wishes->dry_run)
            code = go_on(in, services, &backfill, wishes);
    }
    backfill_release(&backfill);
    return ok ? code : failed(in, &err);
}

/* Nothing is asked of anybody before it is clear that the answer can come. */
static bool may_go_on(const struct invocation *in, const struct wishes *wishes)
{
    if (wishes->yes || wishes->dry_run || terminal_can_ask())
        return true;
    usage_error(in,
                "there is no terminal to ask on: --yes publishes without a question, --dry-run only shows the plan");
    return false;
}

static enum exit_code exec_start(struct invocation *in)
{
    struct error err = ERROR_INIT;
    struct services services = {0};
    struct backfill_request request = {0};
    struct backfill_ask ask = {.from = invocation_option(in, "--from"),
                               .to = invocation_option(in, "--to"),
                               .slice = invocation_option(in, "--slice")};
    const struct wishes wishes = {.yes = invocation_option(in, "--yes") != NULL,
                                  .dry_run = invocation_option(in, "--dry-run") != NULL,
                                  .make_new = invocation_option(in, "--new") != NULL,
                                  .watch = invocation_option(in, "--watch") != NULL,
                                  .json = in->json};
    enum exit_code code = EXIT_USAGE;
    if (!invocation_tenant(in, &ask.tenant))
        return EXIT_USAGE;
    if (in->argc == 0)
        return usage_error(in, "say what to read again: entities or all");
    ask.entities = (const char *const *)in->argv;
    ask.entity_count = (size_t)in->argc;
    bool ok = settings_check(&in->settings, SETTINGS_SERVICETITAN | SETTINGS_PUBSUB, &err) &&
              backfill_request_make(&ask, &in->settings, clock_wall_us(), &request, &err);
    if (ok && may_go_on(in, &wishes)) {
        ok = services_open(&services, &in->settings, SETTINGS_PUBSUB | SETTINGS_BIGQUERY | SETTINGS_SERVICETITAN, &err);
        code = ok ? start(in, &services, &request, &wishes) : code;
        services_close(&services);
    }
    backfill_request_release(&request);
    return ok ? code : failed(in, &err);
}

/* ---- list, show, retry -------------------------------------------------------------------------------------------- */

static enum exit_code exec_list(struct invocation *in)
{
    struct error err = ERROR_INIT;
    struct services services;
    struct bq_result result = {0};
    int64_t limit = 20;
    if (!invocation_limit(in, &limit))
        return EXIT_USAGE;
    if (in->argc > 1)
        return usage_error(in, "unexpected argument '%s'", in->argv[1]);
    bool ok = services_open(&services, &in->settings, SETTINGS_BIGQUERY, &err) &&
              backfill_list(&services, limit, &result, NULL, &err);
    services_close(&services);
    if (ok)
        command_print_result(in, &result);
    bq_result_release(&result);
    return ok ? EXIT_OK : failed(in, &err);
}

/* The backfill that the command names; services are open then, and to be closed in any case. */
static bool open_named(struct invocation *in, unsigned what, struct services *services, struct backfill *ret,
                       struct error *err)
{
    *services = (struct services){0};
    *ret = (struct backfill){0};
    return settings_check(&in->settings, what, err) && services_open(services, &in->settings, what, err) &&
           backfill_load(services, in->argv[1], ret, NULL, err);
}

static bool names_one(struct invocation *in)
{
    if (in->argc == 2 && in->argv[1][0])
        return true;
    usage_error(in, "%s needs the id of one backfill", in->argv[0]);
    return false;
}

static enum exit_code exec_show(struct invocation *in)
{
    struct error err = ERROR_INIT;
    struct services services;
    struct backfill backfill;
    bool watch = invocation_option(in, "--watch") != NULL, all = invocation_option(in, "--slices") != NULL;
    if (!names_one(in))
        return EXIT_USAGE;
    bool ok = open_named(in, SETTINGS_BIGQUERY, &services, &backfill, &err);
    enum exit_code code = ok ? show_progress(in, &services, &backfill, watch, all) : EXIT_FAILED;
    backfill_release(&backfill);
    services_close(&services);
    return ok ? code : failed(in, &err);
}

/* Rejected slices are asked for again in the record, then published with what had no message anyway. */
static bool mark_rejected(struct services *services, struct backfill *b, struct error *err)
{
    struct backfill_progress progress;
    if (!backfill_progress_read(services, b, &progress, NULL, err))
        return false;
    int64_t *numbers = xcalloc(progress.count + 1, sizeof *numbers);
    size_t count = 0;
    for (size_t i = 0; i < progress.count; i++)
        if (progress.slices[i].state == SLICE_REJECTED)
            numbers[count++] = progress.slices[i].number;
    bool ok = count == 0 || backfill_ask_again(services, b, numbers, count, NULL, err);
    free(numbers);
    free(progress.slices);
    return ok;
}

static enum exit_code retry(const struct invocation *in, struct services *services, struct backfill *b,
                            const struct wishes *wishes)
{
    struct error err = ERROR_INIT;
    if (!mark_rejected(services, b, &err))
        return failed(in, &err);
    if (backfill_unpublished(b) > 0)
        return go_on(in, services, b, wishes);
    if (!in->json)
        printf("No slice of backfill %s was rejected, and all are published.\n", b->id);
    return wishes->watch ? show_progress(in, services, b, true, false) : EXIT_OK;
}

static enum exit_code exec_retry(struct invocation *in)
{
    struct error err = ERROR_INIT;
    struct services services;
    struct backfill backfill;
    const struct wishes wishes = {.yes = true, .watch = invocation_option(in, "--watch") != NULL};
    if (!names_one(in))
        return EXIT_USAGE;
    bool ok = open_named(in, SETTINGS_BIGQUERY | SETTINGS_PUBSUB, &services, &backfill, &err);
    enum exit_code code = ok ? retry(in, &services, &backfill, &wishes) : EXIT_FAILED;
    backfill_release(&backfill);
    services_close(&services);
    return ok ? code : failed(in, &err);
}

static enum exit_code exec(struct invocation *in)
{
    static const struct {
        const char *name;
        enum exit_code (*exec)(struct invocation *in);
    } verbs[] = {{"list", exec_list}, {"show", exec_show}, {"retry", exec_retry}};
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (in->argc > 0 && strcmp(in->argv[0], verbs[i].name) == 0)
            return verbs[i].exec(in);
    return exec_start(in);
}

static const struct command_option options[] = {
    {"--from", "TIME", "read records created from then on: a date (2021-01-31) or an RFC 3339 time, UTC"},
    {"--to", "TIME", "up to then, exclusive; default: up to now (the end of today, UTC)"},
    {"--slice", "LENGTH", "auto, or 30d, 12h, 90m, 2w per message; default: auto, some minutes of work each"},
    {"--tenant", "ID", "one tenant; default: all configured ones"},
    {"--dry-run", NULL, "show the plan and publish nothing"},
    {"--yes", NULL, "publish without a question"},
    {"--new", NULL, "make a new plan, also when the same one was published before"},
    {"--watch", NULL, "show progress until all slices have ended; Ctrl-C leaves the backfill running"},
    {"--slices", NULL, "show: every slice, not only those that failed"},
    {"--limit", "N", "list: how many, newest first (20)"},
    {"--json", NULL, "print JSON"},
    {NULL, NULL, NULL},
};

const struct command command_backfill = {
    .name = "backfill",
    .arguments = "ENTITY...|all --from TIME | list | show ID | retry ID",
    .summary = "Read a range of history again: one message per slice of it.",
    .details =
        "Counts the records at the source, shows messages, requests and minutes at the allowed rate, asks, and "
        "publishes "
        "one message per slice to\nthe backfill lane. Workers serve the live lane first. The same command repeated "
        "publishes what is missing.\n\n"
        "  backfill jobs invoices --from 2021-01-01 --dry-run\n"
        "  backfill all --from 2021-01-01 --to 2026-01-01 --slice 30d --yes --watch\n"
        "  backfill list        backfills, newest first\n"
        "  backfill show ID     progress, rate, time left, failed slices; the beginning of an id is enough\n"
        "  backfill retry ID    publish rejected slices again, and what has no message yet\n\n"
        "Exit code 1 also when slices were rejected.",
    .options = options,
    .needs = SETTINGS_BIGQUERY,
    .exec = exec,
};
