/* schema: the registry's statements, as text. */
#include <stdio.h>

#include "command.h"

static enum exit_code exec(struct invocation *in)
{
    struct ddl ddl = {0};
    const struct settings *s = &in->settings;
    const struct warehouse_names names = {s->bq_project, s->bq_dataset_raw, s->bq_dataset_stage, s->bq_dataset_mart,
                                          s->bq_dataset_logs};
    if (in->argc != 1 || strcmp(in->argv[0], "ddl") != 0)
        return usage_error(in, "say `schema ddl`");
    ddl_build(&names, s->registry, &ddl);
    for (size_t i = 0; i < ddl.count; i++)
        printf("-- %s\n%s;\n\n", ddl.items[i].object, ddl.items[i].sql);
    ddl_release(&ddl);
    return EXIT_OK;
}

const struct command command_schema = {
    .name = "schema",
    .arguments = "ddl",
    .summary = "Print the statements that make the datasets, tables and views.",
    .needs = SETTINGS_BIGQUERY,
    .exec = exec,
};
