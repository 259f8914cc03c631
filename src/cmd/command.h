/* command.h - one file per subcommand: a row with name, summary, usage, what it reaches, exec. Help is made from the
 * rows. */
#ifndef ST_CMD_COMMAND_H
#define ST_CMD_COMMAND_H

#include "dispatch/services.h"

enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1, /* it was tried and did not succeed */
    EXIT_USAGE = 2,  /* wrong arguments or configuration: nothing was tried */
};

struct invocation { /* what every command gets */
    const struct command *command;
    struct settings settings;
    struct settings_files files;
    bool json;
    int argc; /* the command's own words, options taken out in order */
    char **argv;
};

struct command_option {
    const char *name;  /* "--mode" */
    const char *value; /* "MODE"; NULL: a switch */
    const char *text;
};

struct command {
    const char *name;
    const char *arguments; /* "[ENTITY...|all]" */
    const char *summary;
    const char *details;                  /* what to know before using it; may be NULL */
    const struct command_option *options; /* ends with a NULL name; may be NULL */
    unsigned needs;                       /* enum settings_command bits; ~0u: no settings at all */
    bool service; /* runs until a signal ends it, and logs: what else ends it is a log line (FATAL) too */
    enum exit_code (*exec)(struct invocation *in);
};
#define COMMAND_NO_SETTINGS (~0u)

extern const struct command command_worker, command_serve, command_dispatch, command_init, command_status, command_runs,
    command_last_sync, command_backfill, command_reconcile, command_query, command_dlq, command_config, command_schema;
extern const struct command *const commands[]; /* ends with NULL */

/* True for an option of the command that takes no value. */
bool invocation_is_switch(const struct invocation *in, const char *name);
/* Takes the option out of the words: its value, "" for a switch, NULL when absent. */
const char *invocation_option(struct invocation *in, const char *name);
/* Wrong use of the command: one line, with where to find help. Returns EXIT_USAGE. */
enum exit_code usage_error(const struct invocation *in, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* One line on standard error: "st-ingestor COMMAND: message"; of a service, a log line. */
void command_tell(const struct invocation *in, const struct error *err);
/* Tells it. Returns EXIT_FAILED, or EXIT_USAGE for errors of configuration. */
enum exit_code command_failed(const struct invocation *in, const struct error *err);
/* Says what to do where a dataset, table or view is not found: they come with init. */
void add_init_hint(struct error *err);
/* The rows as a table or as JSON, on standard output. */
void command_print_result(const struct invocation *in, const struct bq_result *result);
/* Tenant given by --tenant; 0 when absent. False after an error line. */
bool invocation_tenant(struct invocation *in, int64_t *ret);
/* Rows given by --limit, 1 to 1000; *ret stays when it is absent. False after an error line. */
bool invocation_limit(struct invocation *in, int64_t *ret);

#endif
