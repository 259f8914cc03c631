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
        add_table(list, names->raw, &registry_at(s->registry, i)->target);
        add_table(list, names->stage, &registry_at(s->registry, i)->stage);
    }
    for (size_t i = 0; i < events_table_count(); i++)
        add_table(list, names->logs, events_table(i));
}

static enum exit_code exec(struct invocation *in)
{
    const struct settings *s = &in->settings;
    const struct warehouse_names names = {s->bq_project, s->bq_dataset_raw, s->bq_dataset_stage, s->bq_dataset_mart,
                                          s->bq_dataset_logs};
    struct sql_list list = {.out = BUF_INIT, .json = in->json};
    const char *what = in->argc == 1 ? in->argv[0] : "";
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
    {NULL, NULL, NULL},
};

const struct command command_schema = {
    .name = "schema",
    .arguments = "ddl|sql|tables|terraform",
    .summary = "Print what the registry makes: DDL, every SQL text that is sent, the tables, or what terraform reads.",
    .details = "ddl: the statements of init, in order\nsql: these, and every statement that the programs send\n"
               "tables: tables with columns and types, as JSON\n"
               "terraform: what init makes, as JSON, without project and dataset names: terraform/generated/init.json",
    .options = options,
    .needs = SETTINGS_BIGQUERY,
    .exec = exec,
};
