/* config: the option table in its printed forms. */
#include <stdio.h>

#include "base/metrics.h"
#include "command.h"

static enum exit_code exec(struct invocation *in)
{
    struct buf text = BUF_INIT;
    const char *what = in->argc > 0 ? in->argv[0] : "show";
    if (in->argc > 1)
        return usage_error(in, "unexpected argument '%s'", in->argv[1]);
    if (strcmp(what, "show") == 0)
        option_show(&text, &in->settings.options);
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

const struct command command_config = {
    .name = "config",
    .arguments = "[show|options|env|markdown|metrics]",
    .summary = "Show the settings in force and where each comes from; or list all options.",
    .details = "show: each option, its value and its origin (secrets as set or not set)\noptions: every option with "
               "what is allowed\n"
               "env: a sample .env file\nmarkdown: the README's table\nmetrics: what /metrics of worker and serve "
               "tell, as a markdown table",
    .needs = 0,
    .exec = exec,
};
