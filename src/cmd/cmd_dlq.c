/* dlq: dead letters for operators: list, show, stats, replay, discard. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/timestamp.h"
#include "command.h"
#include "dlq_view.h"
#include "terminal.h"

enum { LIST_LIMIT = 50, MAX_RATE = 1000, DEFAULT_RATE = 10 };

struct question {
    struct dlq_filter filter;
    int64_t limit, rate;
    bool yes, force;
};

/* What fits, of the letters that a session holds. */
struct choice {
    size_t *which;
    size_t count;
    size_t fitting; /* also those beyond the limit */
};

/* ---- What is asked ---------------------------------------------------------------------------------------------------- */

static bool take_time(struct invocation *in, const char *name, int64_t *ret)
{
    const char *text = invocation_option(in, name);
    if (!text || timestamp_parse(slice_str(text), ret, NULL))
        return true;
    usage_error(in, "%s is \"%s\": a date or an RFC 3339 time is needed", name, text);
    return false;
}

static bool take_number(struct invocation *in, const char *name, int64_t max, int64_t *ret)
{
    const char *text = invocation_option(in, name);
    if (!text || (slice_to_int64(slice_str(text), ret) && *ret >= 1 && *ret <= max))
        return true;
    usage_error(in, "%s is \"%s\": a number from 1 to %lld is needed", name, text, (long long)max);
    return false;
}

static bool take_mode(struct invocation *in, struct dlq_filter *filter)
{
    const char *text = invocation_option(in, "--mode");
    filter->has_mode = text != NULL;
    if (!text || task_mode_parse(text, &filter->mode))
        return true;
    usage_error(in, "--mode is \"%s\": incremental, full, backfill or reconcile is allowed", text);
    return false;
}

static bool take_error_class(struct invocation *in, struct dlq_filter *filter)
{
    static const enum error_class classes[] = {ERROR_PERMANENT, ERROR_RETRY, ERROR_THROTTLED, ERROR_CANCELLED};
    filter->error_class = invocation_option(in, "--error-class");
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        if (!filter->error_class || strcmp(filter->error_class, error_class_name(classes[i])) == 0)
            return true;
    usage_error(in, "--error-class is \"%s\": permanent, retry, throttled or cancelled is allowed",
                filter->error_class);
    return false;
}

static bool take_entity(struct invocation *in, struct dlq_filter *filter)
{
    filter->entity = invocation_option(in, "--entity");
    if (!filter->entity || strcmp(filter->entity, "all") == 0 || settings_entity(&in->settings, filter->entity))
        return true;
    usage_error(in, "unknown entity \"%s\"", filter->entity);
    return false;
}

static bool read_question(struct invocation *in, struct question *q)
{
    *q = (struct question){.rate = DEFAULT_RATE};
    q->yes = invocation_option(in, "--yes") != NULL;
    q->force = invocation_option(in, "--force") != NULL;
    bool dry_run = invocation_option(in, "--dry-run") != NULL;
    q->filter.run_id = invocation_option(in, "--run");
    if (q->yes && dry_run) {
        usage_error(in, "--yes and --dry-run are opposites");
        return false;
    }
    q->filter.only_tenant = in->settings.tenant_count == 1 ? in->settings.tenants[0].id : 0;
    return take_error_class(in, &q->filter) && take_entity(in, &q->filter) && take_mode(in, &q->filter) &&
           invocation_tenant(in, &q->filter.tenant) && take_time(in, "--since", &q->filter.since_us) &&
           take_time(in, "--until", &q->filter.until_us) && take_number(in, "--limit", DLQ_MAX_HELD, &q->limit) &&
           take_number(in, "--rate", MAX_RATE, &q->rate);
}

/* ---- What is there ------------------------------------------------------------------------------------------------- */

static struct choice choose(const struct dlq *dlq, const struct question *q)
{
    struct choice choice = {.which = xcalloc(dlq_count(dlq) + 1, sizeof *choice.which)};
    for (size_t i = 0; i < dlq_count(dlq); i++) {
        if (!dlq_fits(dlq_at(dlq, i), &q->filter))
            continue;
        if (q->limit == 0 || choice.fitting < (size_t)q->limit)
            choice.which[choice.count++] = i;
        choice.fitting++;
    }
    return choice;
}

static void tell_rest(const struct dlq *dlq, const struct choice *choice, bool full)
{
    if (choice->count < choice->fitting)
        fprintf(stderr, "%zu of %zu that fit are shown; --limit shows more\n", choice->count, choice->fitting);
    if (full)
        fprintf(stderr, "only the first %zu dead letters were looked at; there are more\n", dlq_count(dlq));
}

static void tell_none(const struct dlq *dlq)
{
    printf("(no dead letters%s)\n", dlq_count(dlq) > 0 ? " that fit" : "");
}

/* True when each letter that was named by its id is there. */
static bool tell_missing(const struct question *q, size_t found, bool full)
{
    if (found >= q->filter.id_count)
        return true;
    fprintf(stderr, "st-ingestor dlq: %zu of %zu dead letters are not there%s\n", q->filter.id_count - found,
            q->filter.id_count,
            full ? ", or beyond what was looked at" : "; perhaps somebody else holds them right now");
    return false;
}

/* ---- list, show, stats ------------------------------------------------------------------------------------------------ */

static enum exit_code list(struct invocation *in, struct question *q, struct dlq *dlq, bool full)
{
    if (q->limit == 0 && !in->json)
        q->limit = LIST_LIMIT;
    struct choice choice = choose(dlq, q);
    if (choice.count > 0 || in->json)
        dlq_print_letters(dlq, choice.which, choice.count, in->json);
    else
        tell_none(dlq);
    tell_rest(dlq, &choice, full);
    free(choice.which);
    return EXIT_OK;
}

static enum exit_code show(struct invocation *in, struct question *q, struct dlq *dlq, bool full)
{
    struct choice choice = choose(dlq, q);
    for (size_t i = 0; i < choice.count; i++)
        dlq_print_letter(dlq_at(dlq, choice.which[i]), in->json);
    size_t found = choice.count;
    free(choice.which);
    return tell_missing(q, found, full) ? EXIT_OK : EXIT_FAILED;
}

static enum exit_code stats(struct invocation *in, struct question *q, struct dlq *dlq, bool full)
{
    struct choice choice = choose(dlq, q);
    dlq_print_stats(dlq, choice.which, choice.count, in->json);
    tell_rest(dlq, &choice, full);
    free(choice.which);
    return EXIT_OK;
}

/* ---- replay, discard -------------------------------------------------------------------------------------------------- */

typedef bool settle_fn(struct dlq *dlq, const size_t *which, size_t count, const struct dlq_action *action,
                       struct dlq_totals *ret, struct cancel *cancel, struct error *err);

struct progress {
    struct progress_line line;
    const char *word;
    size_t before; /* done in earlier rounds */
};

static void tell_progress(void *user, size_t done, size_t all)
{
    struct progress *p = user;
    progress_show(&p->line, "%s %zu of %zu", p->word, p->before + done, p->before + all);
}

static void actor_name(char *out, size_t size)
{
    char host[64] = "";
    const char *user = getenv("USER");
    gethostname(host, sizeof host - 1);
    snprintf(out, size, "%.64s on %s", user && *user ? user : "somebody", host);
}

static void preview(const struct invocation *in, const struct dlq *dlq, const struct choice *choice, const char *word,
                    bool full)
{
    dlq_print_letters(dlq, choice->which, choice->count, in->json);
    tell_rest(dlq, choice, full);
    fprintf(stderr, "Nothing was done. With --yes, %zu dead letters would be %s.\n", choice->count, word);
}

/* Round after round, until nothing that fits is left: a session holds so many at most. */
static bool settle_all(struct question *q, struct dlq *dlq, bool *full, settle_fn *fn, struct dlq_action *action,
                       struct progress *progress, struct dlq_totals *ret, struct error *err)
{
    bool limited = q->limit > 0;
    for (;;) {
        struct dlq_totals totals = {0, 0};
        struct choice choice = choose(dlq, q);
        bool ok = fn(dlq, choice.which, choice.count, action, &totals, NULL, err);
        free(choice.which);
        ret->done += totals.done;
        ret->refused = totals.refused; /* they are held, and so met again in each round */
        progress->before += totals.done;
        q->limit -= limited ? (int64_t)totals.done : 0;
        if (limited && q->limit <= 0)
            *full = false; /* what was asked for is done */
        if (!ok || !*full || totals.done == 0)
            return ok;
        if (!dlq_read(dlq, full, NULL, err))
            return false;
    }
}

static enum exit_code settle(struct invocation *in, struct question *q, struct dlq *dlq, bool full, settle_fn *fn,
                             const char *word)
{
    struct error err = ERROR_INIT;
    struct dlq_totals totals = {0, 0};
    char actor[160];
    struct choice choice = choose(dlq, q);
    enum exit_code code = EXIT_OK;
    size_t fitting = choice.fitting;
    if (fitting == 0 && !in->json)
        tell_none(dlq);
    else if (!q->yes)
        preview(in, dlq, &choice, word, full);
    free(choice.which);
    if (!tell_missing(q, fitting, full))
        code = EXIT_FAILED;
    if (!q->yes || (fitting == 0 && !in->json))
        return code;
    actor_name(actor, sizeof actor);
    struct progress progress = {.word = word};
    struct dlq_action action = {actor, (double)q->rate, q->force, tell_progress, &progress};
    bool ok = settle_all(q, dlq, &full, fn, &action, &progress, &totals, &err);
    progress_end(&progress.line);
    if (in->json)
        printf("{\"%s\":%zu,\"refused\":%zu}\n", word, totals.done, totals.refused);
    else
        printf("%zu dead letters %s\n", totals.done, word);
    if (totals.refused > 0)
        fprintf(stderr,
                "%zu dead letters were replayed %d times already and are left; --force replays them once more\n",
                totals.refused, DLQ_MAX_REPLAYS);
    if (!ok)
        return command_failed(in, &err);
    if (full)
        fprintf(
            stderr,
            "there are more dead letters than the %d that can be looked at together; narrow the filter and repeat\n",
            DLQ_MAX_HELD);
    return full || totals.refused > 0 ? EXIT_FAILED : code;
}

static enum exit_code replay(struct invocation *in, struct question *q, struct dlq *dlq, bool full)
{
    return settle(in, q, dlq, full, dlq_replay, "replayed");
}

static enum exit_code discard(struct invocation *in, struct question *q, struct dlq *dlq, bool full)
{
    return settle(in, q, dlq, full, dlq_discard, "discarded");
}

/* ---- The command ------------------------------------------------------------------------------------------------------ */

static const struct verb {
    const char *name;
    enum exit_code (*fn)(struct invocation *in, struct question *q, struct dlq *dlq, bool full);
    bool takes_ids, needs_ids, needs_warehouse;
} verbs[] = {
    {"list", list, false, false, false},   {"show", show, true, true, false},
    {"replay", replay, true, false, true}, {"discard", discard, true, false, true},
    {"stats", stats, false, false, false},
};

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; name && i < sizeof verbs / sizeof verbs[0]; i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

static bool check_words(const struct invocation *in, const struct verb *verb, struct question *q)
{
    int ids = in->argc - 1;
    if (ids > 0 && !verb->takes_ids)
        usage_error(in, "unexpected argument '%s'", in->argv[1]);
    else if (ids == 0 && verb->needs_ids)
        usage_error(in, "%s needs a message id; `st-ingestor dlq list` shows them", verb->name);
    else if (ids > DLQ_MAX_IDS)
        usage_error(in, "%d message ids are too many: at most %d", ids, DLQ_MAX_IDS);
    else if (q->yes && !verb->needs_warehouse)
        usage_error(in, "%s changes nothing and takes no --yes", verb->name);
    else {
        q->filter.ids = (const char *const *)in->argv + 1;
        q->filter.id_count = (size_t)ids;
        return true;
    }
    return false;
}

/* A discard of everything by a slip of the hand would be for good. */
static bool check_discard(const struct invocation *in, const struct verb *verb, const struct question *q)
{
    const struct dlq_filter *f = &q->filter;
    bool narrowed = f->id_count || f->entity || f->error_class || f->run_id || f->tenant || f->since_us ||
                    f->until_us || f->has_mode || q->limit;
    if (verb->fn != discard || !q->yes || narrowed || q->force)
        return true;
    usage_error(in, "this would discard every dead letter; say which, or --force");
    return false;
}

static enum exit_code run(struct invocation *in, const struct verb *verb, struct question *q)
{
    struct error err = ERROR_INIT;
    struct services services;
    struct dlq *dlq = NULL;
    bool full = false;
    bool needs_warehouse = verb->needs_warehouse && q->yes;
    enum exit_code code;
    bool ok =
        services_open(&services, &in->settings, SETTINGS_PUBSUB | (needs_warehouse ? SETTINGS_BIGQUERY : 0), &err) &&
        (dlq = dlq_open(&services)) && dlq_read(dlq, &full, NULL, &err);
    code = ok ? verb->fn(in, q, dlq, full) : command_failed(in, &err);
    dlq_close(dlq);
    services_close(&services);
    return code;
}

static enum exit_code exec(struct invocation *in)
{
    struct question q;
    if (!read_question(in, &q))
        return EXIT_USAGE;
    const struct verb *verb = find_verb(in->argc > 0 ? in->argv[0] : NULL);
    if (!verb)
        return usage_error(in, "say what to do: list, show, replay, discard or stats");
    if (!check_words(in, verb, &q) || !check_discard(in, verb, &q))
        return EXIT_USAGE;
    return run(in, verb, &q);
}

static const struct command_option options[] = {
    {"--entity", "NAME", "only tasks of this entity"},
    {"--tenant", "ID", "only tasks of this tenant"},
    {"--mode", "MODE", "only tasks of this mode"},
    {"--error-class", "CLASS", "only those that ended so: permanent, retry, throttled, cancelled"},
    {"--run", "ID", "only the one of this run"},
    {"--since", "TIME", "only those dead-lettered since (a date or RFC 3339, UTC)"},
    {"--until", "TIME", "only those dead-lettered before"},
    {"--limit", "N", "at most so many, oldest first (list: 50)"},
    {"--dry-run", NULL, "replay, discard: only show what would happen (what they do without --yes)"},
    {"--yes", NULL, "replay, discard: do it"},
    {"--rate", "N", "replay, discard: so many a second (10)"},
    {"--force", NULL, "replay: also those that were replayed 3 times; discard: without any filter"},
    {"--json", NULL, "print JSON"},
    {NULL, NULL, NULL},
};

const struct command command_dlq = {
    .name = "dlq",
    .arguments = "list|show ID...|replay [ID...]|discard [ID...]|stats",
    .summary = "Look at dead letters, publish them again, or throw them away.",
    .details =
        "A replay publishes the original message to the lane that it came from, as the same task, writes a row into "
        "dead_letter_audit,\nand only then takes the letter off. Looking changes nothing: letters are back as soon as "
        "the command ends.",
    .options = options,
    .needs = SETTINGS_PUBSUB | SETTINGS_BIGQUERY,
    .exec = exec,
};
