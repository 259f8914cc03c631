/* reconcile: does the warehouse equal the source, where not, and the messages that mend it. */
#include <stdio.h>
#include <stdlib.h>

#include "base/timestamp.h"
#include "base/uuid.h"
#include "command.h"
#include "dispatch/dispatch.h"
#include "operate/table.h"
#include "terminal.h"
#include "worker/reconcile.h"

enum { SHOWN_DIFFERENCES = 20, MAX_REPAIRS = 1000, TEXT_SIZE = 32 };

struct comparing { /* one call of the command */
    struct invocation *in;
    struct services services;
    struct reconcile_request request; /* of the comparison under way */
    bool repair, yes;
    int64_t tenant, limit;
    const struct entity_settings *entities[REGISTRY_MAX_ENTITIES];
    size_t entity_count;
    struct bq_result table;
    struct buf json, lists; /* one object per comparison; the differences for people */
    struct dispatched *repairs;
    size_t repair_count;
    bool different, unknown; /* what was never synced cannot be compared */
    struct progress_line line;
};

/* ---- Words ------------------------------------------------------------------------------------------------------- */

static void take_entities(struct comparing *c)
{
    const struct settings *s = &c->in->settings;
    const struct entity_settings *order[REGISTRY_MAX_ENTITIES];
    bool all = c->in->argc == 0;
    for (int i = 0; i < c->in->argc; i++)
        all |= strcmp(c->in->argv[i], "all") == 0;
    settings_order(s, order);
    for (size_t i = 0; i < s->entity_count; i++) {
        bool named = all && order[i]->enabled;
        for (int k = 0; k < c->in->argc; k++)
            named |= strcmp(c->in->argv[k], order[i]->entity->name) == 0;
        if (named)
            c->entities[c->entity_count++] = order[i];
    }
}

/* The same words are refused as by dispatch. */
static bool check_names(const struct comparing *c, struct error *err)
{
    const struct settings *s = &c->in->settings;
    for (int i = 0; i < c->in->argc; i++)
        if (!task_check_entity(c->in->argv[i], s, err))
            return false;
    return !c->tenant || settings_tenant(s, c->tenant) ||
           error_set(err, ERROR_PERMANENT, "unknown_tenant", "tenant %lld is not configured", (long long)c->tenant);
}

static bool take_time(struct comparing *c, const char *name, bool *ret_has, int64_t *ret_us)
{
    const char *text = invocation_option(c->in, name);
    *ret_has = text != NULL;
    if (!text || timestamp_parse(slice_str(text), ret_us, NULL))
        return true;
    usage_error(c->in,
                "%s is \"%s\": a date (2021-01-31) or an RFC 3339 time is needed, in UTC where it names no offset",
                name, text);
    return false;
}

static bool take_words(struct comparing *c)
{
    struct reconcile_request *r = &c->request;
    c->limit = SHOWN_DIFFERENCES;
    r->deep = invocation_option(c->in, "--deep") != NULL;
    c->repair = invocation_option(c->in, "--repair") != NULL;
    c->yes = invocation_option(c->in, "--yes") != NULL;
    if (!invocation_limit(c->in, &c->limit) || !invocation_tenant(c->in, &c->tenant) ||
        !take_time(c, "--from", &r->has_from, &r->from_us) || !take_time(c, "--to", &r->has_to, &r->to_us))
        return false;
    if (c->yes && !c->repair) {
        usage_error(c->in, "--yes belongs to --repair");
        return false;
    }
    if (r->has_from && r->has_to && r->from_us >= r->to_us) {
        usage_error(c->in, "--from is not before --to");
        return false;
    }
    return true;
}

/* ---- What was found ---------------------------------------------------------------------------------------------- */

static const char *time_text(char out[TIMESTAMP_TEXT_SIZE], int64_t us, int digits)
{
    return us == INT64_MIN ? NULL : timestamp_text(out, us, digits);
}

static void add_row(struct comparing *c, const struct reconcile_result *r)
{
    char cells[9][TEXT_SIZE];
    const int64_t numbers[] = {c->request.tenant,
                               r->source_count,
                               r->warehouse_count,
                               r->findings.counts[RECONCILE_MISSING],
                               r->findings.counts[RECONCILE_EXTRA],
                               r->findings.counts[RECONCILE_STALE],
                               r->findings.counts[RECONCILE_VALUE],
                               r->requests};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        snprintf(cells[i], TEXT_SIZE, "%lld", (long long)numbers[i]);
    snprintf(cells[8], TEXT_SIZE, "%lld", (long long)r->to_us);
    const char *const row[] = {c->request.entity->name,
                               cells[0],
                               cells[8],
                               cells[1],
                               cells[2],
                               cells[3],
                               cells[4],
                               cells[5],
                               c->request.deep ? cells[6] : NULL,
                               cells[7],
                               reconcile_is_equal(r) ? "equal" : "different"};
    table_add_row(&c->table, row);
}

static void put_number(struct buf *out, const char *name, int64_t value)
{
    buf_printf(out, ",\"%s\":%lld", name, (long long)value);
}

static void put_text(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, ",\"%s\":", name);
    if (value)
        buf_append_json_string(out, slice_str(value));
    else
        buf_append_str(out, "null");
}

static void put_difference(struct buf *out, const struct reconcile_difference *d)
{
    char text[TIMESTAMP_TEXT_SIZE];
    buf_printf(out, "{\"id\":%lld", (long long)d->id);
    put_text(out, "kind", reconcile_kind_name(d->kind));
    put_text(out, "createdOn", time_text(text, d->created_us, 6));
    put_text(out, "sourceVersion", time_text(text, d->source_us, 6));
    put_text(out, "warehouseVersion", time_text(text, d->warehouse_us, 6));
    if (d->kind == RECONCILE_VALUE)
        put_text(out, "columns", d->columns);
    buf_append_char(out, '}');
}

static void put_sum(struct buf *out, const struct reconcile_sum *sum)
{
    buf_append_str(out, "{\"day\":");
    buf_append_json_string(out, slice_str(sum->day));
    put_text(out, "column", sum->column);
    put_text(out, "source", sum->source);
    put_text(out, "warehouse", sum->warehouse);
    buf_append_char(out, '}');
}

static void add_json(struct comparing *c, const struct reconcile_result *r)
{
    struct buf *out = &c->json;
    char text[TIMESTAMP_TEXT_SIZE];
    buf_append_str(out, out->len ? ",\n {\"entity\":" : "{\"entity\":");
    buf_append_json_string(out, slice_str(c->request.entity->name));
    put_number(out, "tenant", c->request.tenant);
    put_text(out, "runId", r->run_id);
    put_text(out, "form", c->request.deep ? "deep" : "quick");
    put_text(out, "state", reconcile_is_equal(r) ? "equal" : "different");
    put_text(out, "from", time_text(text, r->from_us, 6));
    put_text(out, "to", time_text(text, r->to_us, 6));
    put_number(out, "sourceCount", r->source_count);
    put_number(out, "warehouseCount", r->warehouse_count);
    for (int kind = 0; kind < RECONCILE_KINDS; kind++)
        put_number(out, reconcile_kind_name(kind), r->findings.counts[kind]);
    put_number(out, "requests", r->requests);
    put_number(out, "recordsRead", r->records);
    buf_append_str(out, ",\"differences\":[");
    for (size_t i = 0; i < r->findings.count; i++) {
        buf_append_str(out, i ? ",\n  " : "");
        put_difference(out, &r->findings.items[i]);
    }
    buf_append_str(out, "],\"sums\":[");
    for (size_t i = 0; i < r->sum_count; i++) {
        buf_append_str(out, i ? ",\n  " : "");
        put_sum(out, &r->sums[i]);
    }
    buf_append_str(out, "]}");
}

/* Of several tenants each line names its own. */
static const char *whose(const struct comparing *c, int64_t tenant, char out[TEXT_SIZE])
{
    out[0] = '\0';
    if (c->in->settings.tenant_count > 1)
        snprintf(out, TEXT_SIZE, " of %lld", (long long)tenant);
    return out;
}

static void add_lists(struct comparing *c, const struct reconcile_result *r)
{
    struct buf *out = &c->lists;
    char text[TEXT_SIZE];
    const char *of = whose(c, c->request.tenant, text);
    size_t shown = r->findings.count < (size_t)c->limit ? r->findings.count : (size_t)c->limit;
    for (size_t i = 0; i < shown; i++) {
        const struct reconcile_difference *d = &r->findings.items[i];
        char created[TIMESTAMP_TEXT_SIZE];
        const char *at = time_text(created, d->created_us, 3);
        buf_printf(out, "%-8s %s%s %lld, created %s%s%s\n", reconcile_kind_name(d->kind), c->request.entity->name, of,
                   (long long)d->id, at ? at : "-", d->columns[0] ? ": " : "", d->columns);
    }
    if (shown < r->findings.count)
        buf_printf(out, "         and more of %s%s: --limit shows up to 1000, --json all\n", c->request.entity->name,
                   of);
    for (size_t i = 0; i < r->sum_count && i < (size_t)c->limit; i++)
        buf_printf(out, "sum      %s%s, %s of %s: %s at the source, %s in the warehouse\n", c->request.entity->name, of,
                   r->sums[i].column, r->sums[i].day, r->sums[i].source, r->sums[i].warehouse);
}

/* ---- Repairs ----------------------------------------------------------------------------------------------------- */

static bool add_repairs(struct comparing *c, const struct reconcile_result *r, struct error *err)
{
    struct reconcile_range *ranges;
    size_t count = reconcile_repairs(r, &ranges);
    char uuid[UUID_TEXT_SIZE];
    if (c->repair_count + count > MAX_REPAIRS) {
        free(ranges);
        return error_set(err, ERROR_PERMANENT, "too_many_windows",
                         "more than %d windows differ: a full sync is cheaper (`st-ingestor dispatch %s --mode full`)",
                         MAX_REPAIRS, c->request.entity->name);
    }
    c->repairs = xrealloc(c->repairs, (c->repair_count + count + 1) * sizeof c->repairs[0]);
    for (size_t i = 0; i < count; i++) {
        struct dispatched *item = &c->repairs[c->repair_count++];
        *item = (struct dispatched){.task = {.mode = TASK_BACKFILL,
                                             .tenant = c->request.tenant,
                                             .has_from = true,
                                             .has_to = true,
                                             .from_us = ranges[i].from_us,
                                             .to_us = ranges[i].to_us}};
        uuid_generate(uuid);
        snprintf(item->task.entity, sizeof item->task.entity, "%s", c->request.entity->name);
        snprintf(item->task.task_id, sizeof item->task.task_id, "repair-%s", uuid);
        snprintf(item->task.requested_by, sizeof item->task.requested_by, "reconcile");
    }
    free(ranges);
    return true;
}

static void put_repair(struct buf *out, const struct dispatched *item)
{
    char from[TIMESTAMP_TEXT_SIZE], to[TIMESTAMP_TEXT_SIZE];
    buf_append_str(out, "{\"entity\":");
    buf_append_json_string(out, slice_str(item->task.entity));
    put_number(out, "tenant", item->task.tenant);
    put_text(out, "from", timestamp_text(from, item->task.from_us, 0));
    put_text(out, "to", timestamp_text(to, item->task.to_us, 0));
    put_text(out, "taskId", item->task.task_id);
    put_text(out, "messageId", item->message_id[0] ? item->message_id : NULL);
    buf_append_char(out, '}');
}

static bool publish_repairs(struct comparing *c, struct error *err)
{
    size_t n = c->repair_count;
    if (n == 0 || !c->repair)
        return true;
    if (!c->yes && !terminal_ask("Read %zu window%s again? [y/N] ", n, n == 1 ? "" : "s")) {
        fprintf(stderr, "Nothing was published.\n");
        return true;
    }
    if (!dispatch_send_backfills(&c->services, c->repairs, n, NULL, err))
        return error_prefix(err, "publishing the repairs");
    for (size_t i = 0; i < n && !c->in->json; i++) {
        char from[TIMESTAMP_TEXT_SIZE], to[TIMESTAMP_TEXT_SIZE], of[TEXT_SIZE];
        const struct task *task = &c->repairs[i].task;
        buf_printf(&c->lists, "repair   %s%s, created %s to %s: message %s\n", task->entity, whose(c, task->tenant, of),
                   timestamp_text(from, task->from_us, 0), timestamp_text(to, task->to_us, 0),
                   c->repairs[i].message_id);
    }
    return true;
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

static void show_step(void *user, const char *step, int64_t done, int64_t of)
{
    struct comparing *c = user;
    if (of > 0)
        progress_show(&c->line, "%s: %s, %lld of %lld", c->request.entity->name, step, (long long)done, (long long)of);
    else
        progress_show(&c->line, "%s: %s", c->request.entity->name, step);
}

static bool compare_one(struct comparing *c, struct error *err)
{
    struct reconcile_result result;
    bool ok = reconcile(&c->services, &c->request, &result, NULL, err);
    progress_end(&c->line);
    if (ok) {
        c->different |= !reconcile_is_equal(&result);
        add_row(c, &result);
        add_json(c, &result);
        add_lists(c, &result);
        ok = add_repairs(c, &result, err);
    }
    reconcile_result_release(&result);
    return ok;
}

/* That of one entity or tenant does not keep the others from being compared. */
static bool is_never_synced(struct comparing *c, struct error *err)
{
    if (strcmp(err->code, "no_watermark") != 0)
        return false;
    command_tell(c->in, err);
    *err = ERROR_INIT;
    c->unknown = true;
    return true;
}

static bool compare_all(struct comparing *c, struct error *err)
{
    const struct settings *s = &c->in->settings;
    for (size_t e = 0; e < c->entity_count; e++) {
        for (size_t t = 0; t < s->tenant_count; t++) {
            if (c->tenant && s->tenants[t].id != c->tenant)
                continue;
            c->request.entity = c->entities[e]->entity;
            c->request.tenant = s->tenants[t].id;
            c->request.readers = (int)s->max_concurrent_requests;
            c->request.progress = show_step;
            c->request.progress_user = c;
            if (!compare_one(c, err) && !is_never_synced(c, err))
                return false;
        }
    }
    return publish_repairs(c, err);
}

static void print(const struct comparing *c)
{
    struct buf out = BUF_INIT;
    if (!c->in->json) {
        table_print(&out, &c->table);
        printf("%s%s%s", buf_cstr(&out), c->lists.len ? "\n" : "", c->lists.len ? c->lists.ptr : "");
        buf_release(&out);
        return;
    }
    for (size_t i = 0; i < c->repair_count; i++) {
        buf_append_str(&out, i ? ",\n  " : "");
        put_repair(&out, &c->repairs[i]);
    }
    printf("{\"comparisons\":[%s],\n \"repairs\":[%s]}\n", c->json.len ? c->json.ptr : "", buf_cstr(&out));
    buf_release(&out);
}

static enum exit_code exec(struct invocation *in)
{
    static const struct table_column columns[] = {
        {"entity", "STRING"},     {"tenant", "INTEGER"},   {"up_to", "TIMESTAMP"}, {"source", "INTEGER"},
        {"warehouse", "INTEGER"}, {"missing", "INTEGER"},  {"extra", "INTEGER"},   {"stale", "INTEGER"},
        {"value", "INTEGER"},     {"requests", "INTEGER"}, {"result", "STRING"},
    };
    struct comparing c = {.in = in};
    struct error err = ERROR_INIT;
    if (!take_words(&c))
        return EXIT_USAGE;
    if (!check_names(&c, &err))
        return command_failed(in, &err);
    take_entities(&c);
    table_begin(&c.table, columns, sizeof columns / sizeof columns[0]);
    unsigned needs = SETTINGS_BIGQUERY | SETTINGS_SERVICETITAN | (c.repair ? SETTINGS_PUBSUB : 0);
    bool ok = services_open(&c.services, &in->settings, needs, &err) && compare_all(&c, &err);
    services_close(&c.services);
    if (c.table.row_count > 0)
        print(&c);
    bq_result_release(&c.table);
    buf_release(&c.json);
    buf_release(&c.lists);
    free(c.repairs);
    if (!ok) {
        add_init_hint(&err);
        return command_failed(in, &err);
    }
    return c.different || c.unknown ? EXIT_FAILED : EXIT_OK;
}

static const struct command_option options[] = {
    {"--tenant", "ID", "one tenant; default: all configured ones"},
    {"--from", "TIME", "records created from then on: a date (2021-01-31) or an RFC 3339 time, UTC"},
    {"--to", "TIME", "up to then, exclusive; default: up to the watermark"},
    {"--deep", NULL, "read the range and compare every value, and sums of money by day"},
    {"--repair", NULL, "publish backfill messages for what differs"},
    {"--yes", NULL, "publish without a question"},
    {"--limit", "N", "how many differences to show of each entity (20)"},
    {"--json", NULL, "print JSON, with all differences"},
    {NULL, NULL, NULL},
};

const struct command command_reconcile = {
    .name = "reconcile",
    .arguments = "[ENTITY...|all]",
    .summary = "Compare source and warehouse, and say what is missing, extra or stale.",
    .details = "Counts windows of createdOn and of modifiedOn on both sides (at most some 125 requests, however "
               "large the table), and reads\nonly where they differ. Two differences that hide each other in all "
               "counts are seen by --deep only. What was changed\nafter the watermark is not compared. Exit code 1 "
               "also when something differs, or was never synced.\n\n"
               "  reconcile                            every enabled entity of every tenant\n"
               "  reconcile jobs --from 2024-01-01 --deep\n"
               "  reconcile invoices --repair --yes    read again what differs",
    .options = options,
    .needs = SETTINGS_BIGQUERY | SETTINGS_SERVICETITAN,
    .exec = exec,
};
