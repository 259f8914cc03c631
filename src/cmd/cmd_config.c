/* config: the option table in its printed forms, and the entities as they are set. */
#include <stdio.h>

#include "base/metrics.h"
#include "command.h"
#include "operate/table.h"

/* In the order in which they are dispatched. */
static void print_entities(struct buf *out, const struct invocation *in)
{
    static const struct table_column columns[] = {
        {"entity", "STRING"},   {"enabled", "BOOLEAN"},  {"sync_mode", "STRING"},
        {"schedule", "STRING"}, {"priority", "INTEGER"}, {"description", "STRING"},
    };
    const struct settings *s = &in->settings;
    const struct entity_settings **order = xcalloc(s->entity_count, sizeof *order);
    struct bq_result table;
    table_begin(&table, columns, sizeof columns / sizeof columns[0]);
    settings_order(s, order);
    for (size_t i = 0; i < s->entity_count; i++) {
        const struct entity_settings *e = order[i];
        char priority[24];
        snprintf(priority, sizeof priority, "%lld", (long long)e->priority);
        const char *const cells[] = {
            e->entity->name, e->enabled ? "true" : "false", e->sync_mode, e->schedule[0] ? e->schedule : NULL, priority,
            e->description,
        };
        table_add_row(&table, cells);
    }
    (in->json ? table_json : table_print)(out, &table);
    bq_result_release(&table);
    free(order);
}

static enum exit_code exec(struct invocation *in)
{
    struct buf text = BUF_INIT;
    const char *what = in->argc > 0 ? in->argv[0] : "show";
    if (in->argc > 1)
        return usage_error(in, "unexpected argument '%s'", in->argv[1]);
    if (in->json && strcmp(what, "entities") != 0)
        return usage_error(in, "--json goes with entities");
    if (strcmp(what, "show") == 0)
        option_show(&text, &in->settings.options);
    else if (strcmp(what, "entities") == 0)
        print_entities(&text, in);
    else if (strcmp(what, "options") == 0)
        option_help(&text, settings_rows, settings_row_count());
    else if (strcmp(what, "env") == 0)
        option_sample_env(&text, settings_rows, settings_row_count());
    else if (strcmp(what, "markdown") == 0)
        option_markdown(&text, settings_rows, settings_row_count());
    else if (strcmp(what, "metrics") == 0)
        metrics_markdown(&text);
    else
        return usage_error(in, "unknown argument '%s'", what);
    fputs(buf_cstr(&text), stdout);
    buf_release(&text);
    return EXIT_OK;
}

static const struct command_option options[] = {
    {"--json", NULL, "print JSON (entities)"},
    {NULL, NULL, NULL},
};

const struct command command_config = {
    .name = "config",
    .arguments = "[show|entities|options|env|markdown|metrics]",
    .summary = "Show the settings in force and where each comes from, the entities, or all options.",
    .details = "show: each option, its value and its origin (secrets as set or not set)\nentities: what config.json "
               "says of each, in the order of dispatch (also as --json)\noptions: every option with "
               "what is allowed\n"
               "env: a sample .env file\nmarkdown: the README's table\nmetrics: what /metrics of worker and serve "
               "tell, as a markdown table",
    .options = options,
    .needs = 0,
    .exec = exec,
};
