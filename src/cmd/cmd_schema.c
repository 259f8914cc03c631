/* schema: what the registry makes: statements, tables, and every SQL text that the programs send. */
#include <stdio.h>

#include "command.h"
#include "operate/operate.h"
#include "schema_terraform.h"

struct sql_list {
    struct buf out;
    bool json;
    size_t count;
};

static void add_sql(void *user, const char *name, const char *sql)
{
    struct sql_list *list = user;
    if (!list->json) {
        buf_printf(&list->out, "-- %s\n%s;\n\n", name, sql);
        return;
    }
    buf_append_str(&list->out, list->count++ ? ",\n {\"name\":" : "[\n {\"name\":");
    buf_append_json_string(&list->out, slice_str(name));
    buf_append_str(&list->out, ",\"sql\":");
    buf_append_json_string(&list->out, slice_str(sql));
    buf_append_char(&list->out, '}');
}

/* What stands above the statements when they are a script of their own (sql/bigquery_schemas.sql). */
static const char script_head[] =
    "-- The datasets, tables and views that st-ingestor works with: what `st-ingestor init` makes in BigQuery.\n"
    "-- Generated from config/schema_registry.json by `make docs`; changes by hand are lost.\n"
    "--\n"
    "--     bq query --use_legacy_sql=false < sql/bigquery_schemas.sql\n"
    "--\n"
    "-- Project: no name carries one, so that BigQuery takes the call's own: bq --project_id=PROJECT query ...\n"
    "-- Location: datasets are made where the script runs, in the US unless told: bq --location=EU query ...\n"
    "-- (An OPTIONS(location=...) would have to name that same place in each CREATE SCHEMA, or the script fails.)\n"
    "-- Names: with other BQ_DATASET_... settings, `st-ingestor schema ddl --no-project` prints the script for them.\n"
    "-- Safe to repeat: tables and their rows stay, views are replaced. Columns that came with a later version are\n"
    "-- added by `st-ingestor init`.\n\n";

static void add_ddl(struct sql_list *list, const struct warehouse_names *names, const struct settings *s)
{
    struct ddl ddl = {0};
    ddl_build(names, s->registry, &ddl);
    for (size_t i = 0; i < ddl.count; i++)
        add_sql(list, ddl.items[i].object, ddl.items[i].sql);
    ddl_release(&ddl);
}

static void add_all_sql(struct sql_list *list, const struct warehouse_names *names, const struct settings *s)
{
    add_ddl(list, names, s);
    warehouse_each_sql(names, s->registry, add_sql, list);
    operate_each_sql(s, add_sql, list);
}

static void add_table(struct sql_list *list, const char *dataset, const struct table_schema *table)
{
    buf_printf(&list->out, "%s {\"dataset\":\"%s\",\"table\":\"%s\",\"columns\":[", list->count++ ? ",\n" : "[\n",
               dataset, table->name);
    for (size_t i = 0; i < table->column_count; i++) {
        struct buf type = BUF_INIT;
        column_sql(&type, &table->columns[i]);
        buf_printf(&list->out, "%s{\"name\":\"%s\",\"type\":\"%s\"}", i ? "," : "", table->columns[i].name,
                   buf_cstr(&type));
        buf_release(&type);
    }
    buf_append_str(&list->out, "]}");
}

static void add_tables(struct sql_list *list, const struct warehouse_names *names, const struct settings *s)
{
    for (size_t i = 0; i < registry_count(s->registry); i++) {
        const struct entity *entity = registry_at(s->registry, i);
        if (!entity->enabled)
            continue;
        add_table(list, names->raw, &entity->target);
        add_table(list, names->stage, &entity->stage);
    }
    for (size_t i = 0; i < mart_table_count(); i++)
        add_table(list, names->mart, mart_table(i));
    for (size_t i = 0; i < events_table_count(); i++)
        add_table(list, names->logs, events_table(i));
}

static enum exit_code exec(struct invocation *in)
{
    const struct settings *s = &in->settings;
    bool no_project = invocation_option(in, "--no-project") != NULL;
    const struct warehouse_names names = {no_project ? NULL : s->bq_project, s->bq_dataset_raw, s->bq_dataset_stage,
                                          s->bq_dataset_mart, s->bq_dataset_logs};
    struct sql_list list = {.out = BUF_INIT, .json = in->json};
    const char *what = in->argc == 1 ? in->argv[0] : "";
    if (no_project && strcmp(what, "ddl") != 0)
        return usage_error(in, "--no-project goes with ddl");
    if (no_project && !list.json)
        buf_append_str(&list.out, script_head);
    if (strcmp(what, "ddl") == 0)
        add_ddl(&list, &names, s);
    else if (strcmp(what, "sql") == 0)
        add_all_sql(&list, &names, s);
    else if (strcmp(what, "tables") == 0)
        add_tables(&list, &names, s);
    else if (strcmp(what, "terraform") == 0)
        schema_terraform(&list.out, s);
    else
        return usage_error(in, "say what to print: ddl, sql, tables or terraform");
    if (strcmp(what, "terraform") != 0 && (list.json || strcmp(what, "tables") == 0))
        buf_append_str(&list.out, "\n]\n");
    fputs(buf_cstr(&list.out), stdout);
    buf_release(&list.out);
    return EXIT_OK;
}

static const struct command_option options[] = {
    {"--json", NULL, "print JSON: a list of {name, sql}"},
    {"--no-project", NULL, "ddl: names without a project, as a script for `bq query`"},
    {NULL, NULL, NULL},
};

const struct command command_schema = {
    .name = "schema",
    .arguments = "ddl|sql|tables|terraform",
    .summary = "Print what the registry makes: DDL, every SQL text that is sent, the tables, or what terraform reads.",
    .details = "ddl: the statements of init, in order; with --no-project, what is in sql/bigquery_schemas.sql\nsql: "
               "these, and every statement that the programs send\n"
               "tables: tables with columns and types, as JSON\n"
               "terraform: what init makes, as JSON, without project and dataset names: terraform/generated/init.json",
    .options = options,
    .needs = SETTINGS_BIGQUERY,
    .exec = exec,
};
