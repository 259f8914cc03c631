/* st-ingestor: routes to a subcommand. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/version.h"
#include "command.h"
#include "signals.h"

static void print_help(FILE *out)
{
    fprintf(out,
            "st-ingestor keeps ServiceTitan data in BigQuery: complete, current, and provably equal to the source.\n\n"
            "usage: st-ingestor COMMAND [ARGUMENTS]\n       st-ingestor --version\n\ncommands:\n");
    for (size_t i = 0; commands[i]; i++)
        fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(out,
            "\nst-ingestor COMMAND --help tells more. Settings come from config/config.json, .env and the "
            "environment, later ones over\n"
            "earlier ones; `st-ingestor config options` lists them all.\n\nexit codes: 0 done, 1 tried and failed, "
            "2 wrong use or configuration\n");
}

static void print_command_help(const struct command *command)
{
    printf("usage: st-ingestor %s%s%s [OPTIONS]\n\n%s\n", command->name, command->arguments ? " " : "",
           command->arguments ? command->arguments : "", command->summary);
    if (command->details)
        printf("\n%s\n", command->details);
    printf("\noptions:\n");
    for (const struct command_option *o = command->options; o && o->name; o++) {
        char left[48];
        snprintf(left, sizeof left, "%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
        printf("  %-26s %s\n", left, o->text);
    }
    printf("  %-26s %s\n  %-26s %s\n  %-26s %s\n  %-26s %s\n", "--config FILE", "config file (config/config.json)",
           "--registry FILE", "schema registry (config/schema_registry.json)", "--env-file FILE",
           "file of NAME=value lines (.env)", "--help", "this text");
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; commands[i]; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static bool takes_option(const struct command *command, const char *name)
{
    for (const struct command_option *o = command->options; o && o->name; o++)
        if (strcmp(o->name, name) == 0)
            return true;
    return false;
}

/* Every word that looks like an option must be one of the command's; they are taken out when the command asks for them.
 */
static bool check_options(const struct invocation *in)
{
    for (int i = 0; i < in->argc; i++) {
        char name[64];
        struct slice rest = slice_str(in->argv[i]);
        if (in->argv[i][0] != '-' || in->argv[i][1] == '\0')
            continue;
        struct slice head = slice_cut(&rest, '=');
        snprintf(name, sizeof name, "%.*s", SLICE_ARG(head));
        if (!takes_option(in->command, name)) {
            usage_error(in, "unknown option '%s'", name);
            return false;
        }
        if (head.len < strlen(in->argv[i]) && invocation_is_switch(in, name)) {
            usage_error(in, "option '%s' takes no value", name);
            return false;
        }
    }
    return true;
}

static enum exit_code run_with_settings(struct invocation *in)
{
    struct error err = ERROR_INIT;
    enum log_level level;
    enum exit_code code;
    if (!settings_load(&in->settings, &in->files, in->command->needs, &err)) {
        command_tell(in, &err);
        code = EXIT_USAGE;
    } else {
        if (log_level_parse(in->settings.log_level, &level))
            log_set_level(level);
        code = in->command->exec(in);
    }
    settings_release(&in->settings);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "st-ingestor %s: could not write to standard output\n", in->command->name);
        return code == EXIT_OK ? EXIT_FAILED : code;
    }
    return code;
}

/* Options that every command takes. */
static void take_common_options(struct invocation *in)
{
    in->files.config = invocation_option(in, "--config");
    in->files.registry = invocation_option(in, "--registry");
    in->files.env = invocation_option(in, "--env-file");
}

int main(int argc, char **argv)
{
    struct invocation in = {.argc = argc > 2 ? argc - 2 : 0, .argv = argv + 2};
    signal(SIGPIPE, SIG_IGN);
    const struct command *about = argc == 3 && strcmp(argv[1], "help") == 0 ? find_command(argv[2]) : NULL;
    if (about) {
        print_command_help(about);
        return EXIT_OK;
    }
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(argc < 2 ? stderr : stdout);
        return argc < 2 ? EXIT_USAGE : EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("st-ingestor %s\n", ST_VERSION);
        return EXIT_OK;
    }
    in.command = find_command(argv[1]);
    if (!in.command) {
        fprintf(stderr, "st-ingestor: unknown command '%s'; `st-ingestor --help` lists them\n", argv[1]);
        return EXIT_USAGE;
    }
    if (in.command->service)
        signals_block();
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            print_command_help(in.command);
            return EXIT_OK;
        }
    }
    take_common_options(&in);
    if (!check_options(&in))
        return EXIT_USAGE;
    in.json = takes_option(in.command, "--json") && invocation_option(&in, "--json") != NULL;
    if (in.command->needs == COMMAND_NO_SETTINGS)
        return in.command->exec(&in);
    return run_with_settings(&in);
}
