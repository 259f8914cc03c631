#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "command.h"
#include "operate/table.h"

const struct command *const commands[] = {
    &command_worker, &command_serve, &command_dispatch,  &command_backfill, &command_reconcile, &command_init,
    &command_status, &command_runs,  &command_last_sync, &command_query,    &command_dlq,       &command_schema,
    &command_config, NULL,
};

bool invocation_is_switch(const struct invocation *in, const char *name)
{
    for (const struct command_option *o = in->command->options; o && o->name; o++)
        if (strcmp(o->name, name) == 0)
            return o->value == NULL;
    return false;
}

static void remove_words(struct invocation *in, int at, int count)
{
    for (int i = at; i + count < in->argc; i++)
        in->argv[i] = in->argv[i + count];
    in->argc -= count;
}

const char *invocation_option(struct invocation *in, const char *name)
{
    size_t len = strlen(name);
    for (int i = 0; i < in->argc; i++) {
        char *word = in->argv[i];
        if (strncmp(word, name, len) != 0)
            continue;
        if (word[len] == '=') {
            remove_words(in, i, 1);
            return word + len + 1;
        }
        if (word[len] != '\0')
            continue;
        if (invocation_is_switch(in, name)) {
            remove_words(in, i, 1);
            return "";
        }
        const char *value = i + 1 < in->argc ? in->argv[i + 1] : "";
        remove_words(in, i, i + 1 < in->argc ? 2 : 1);
        return value;
    }
    return NULL;
}

enum exit_code usage_error(const struct invocation *in, const char *fmt, ...)
{
    va_list args;
    fprintf(stderr, "st-ingestor %s: ", in->command->name);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "; `st-ingestor %s --help` tells more\n", in->command->name);
    return EXIT_USAGE;
}

void command_tell(const struct invocation *in, const struct error *err)
{
    static const struct log_context context = {.context = "v2-ingestor:main"};
    if (in->command->service)
        log_fatal(&context, LOG_MSG("Program cannot go on"), LOG_STR("command", in->command->name), LOG_ERR(err));
    else
        fprintf(stderr, "st-ingestor %s: %s\n", in->command->name, err->message);
}

enum exit_code command_failed(const struct invocation *in, const struct error *err)
{
    static const char *const usage_codes[] = {"unknown_entity", "entity_disabled", "unknown_mode",   "unknown_tenant",
                                              "config",         "config_value",    "config_missing", "bad_window",
                                              "bad_slice",      "unknown_backfill"};
    command_tell(in, err);
    for (size_t i = 0; i < sizeof usage_codes / sizeof usage_codes[0]; i++)
        if (strcmp(err->code, usage_codes[i]) == 0)
            return EXIT_USAGE;
    return EXIT_FAILED;
}

void add_init_hint(struct error *err)
{
    const struct error plain = *err;
    if (strcmp(err->code, "notFound") == 0)
        error_set(err, plain.class, plain.code, "%s; `st-ingestor init` makes what is missing", plain.message);
}

void command_print_result(const struct invocation *in, const struct bq_result *result)
{
    struct buf text = BUF_INIT;
    (in->json ? table_json : table_print)(&text, result);
    fputs(buf_cstr(&text), stdout);
    if (!in->json && result->row_count == 0)
        printf("(nothing yet)\n");
    buf_release(&text);
}

bool invocation_tenant(struct invocation *in, int64_t *ret)
{
    const char *text = invocation_option(in, "--tenant");
    *ret = 0;
    if (!text)
        return true;
    if (!slice_to_int64(slice_str(text), ret) || *ret <= 0) {
        usage_error(in, "--tenant is \"%s\": a positive number is needed", text);
        return false;
    }
    return true;
}

bool invocation_limit(struct invocation *in, int64_t *ret)
{
    const char *text = invocation_option(in, "--limit");
    if (!text || (slice_to_int64(slice_str(text), ret) && *ret >= 1 && *ret <= 1000))
        return true;
    usage_error(in, "--limit is \"%s\": a number from 1 to 1000 is needed", text);
    return false;
}
