/* query: the operators' SQL files, and others like them, with the settings' names filled in. It reads and never writes: the text
 * must begin as a query, and a dry run must say that it is one SELECT, before anything runs. */
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "command.h"
#include "operate/query_file.h"
#include "operate/table.h"

static void list_json(const struct query_files *files)
{
    struct buf out = BUF_INIT;
    for (size_t i = 0; i < files->count; i++) {
        const struct query_file *f = &files->items[i];
        const char *const members[][2] = {
            {"name", f->name}, {"folder", f->folder}, {"title", f->title}, {"path", f->path}};
        for (size_t k = 0; k < sizeof members / sizeof members[0]; k++) {
            buf_printf(&out, "%s\"%s\":", k ? "," : i ? ",\n {" : "\n {", members[k][0]);
            buf_append_json_string(&out, slice_str(members[k][1]));
        }
        buf_append_char(&out, '}');
    }
    printf("[%s\n]\n", buf_cstr(&out));
    buf_release(&out);
}

static void list_text(const struct query_files *files)
{
    const char *folder = "";
    for (size_t i = 0; i < files->count; i++) {
        const struct query_file *f = &files->items[i];
        if (strcmp(folder, f->folder) != 0)
            printf("%s%s\n", i ? "\n" : "", f->folder);
        folder = f->folder;
        printf("  %-24s %s\n", f->name, f->title);
    }
}

static enum exit_code list(const struct invocation *in, const struct query_files *files, const char *root)
{
    if (in->json)
        list_json(files);
    else if (files->count == 0)
        printf("no queries in '%s'\n", root);
    else
        list_text(files);
    return EXIT_OK;
}

/* NAME=VALUE, any number of times. */
static bool take_params(struct invocation *in, struct query_param *params, size_t *ret_count)
{
    const char *word;
    *ret_count = 0;
    while ((word = invocation_option(in, "--param"))) {
        struct slice value = slice_str(word), name = slice_cut(&value, '=');
        if (*ret_count == QUERY_MAX_PARAMS || name.len == 0 || value.len == 0) {
            usage_error(in, "--param is \"%s\": NAME=VALUE is needed, at most %d times", word, QUERY_MAX_PARAMS);
            return false;
        }
        params[(*ret_count)++] = (struct query_param){name, value};
    }
    return true;
}

/* A word with a '/' or a ".sql" is a path; others are names of the list. Borrowed; NULL: no such name. */
static const char *path_of(const struct query_files *files, const char *word)
{
    size_t len = strlen(word);
    const struct query_file *file = query_files_find(files, word);
    if (strchr(word, '/') || (len > 4 && strcmp(word + len - 4, ".sql") == 0))
        return word;
    return file ? file->path : NULL;
}

static void print_dry_run(const struct invocation *in, const char *sql, const struct bq_estimate *estimate)
{
    struct buf out = BUF_INIT;
    if (in->json) {
        buf_append_str(&out, "{\"sql\":");
        buf_append_json_string(&out, slice_str(sql));
        buf_printf(&out, ",\"bytes_processed\":%lld}\n", (long long)estimate->bytes_processed);
    } else { /* still a statement, for `bq query` */
        struct slice text = slice_trim(slice_str(sql));
        buf_printf(&out, "%.*s\n-- would read %lld bytes\n", SLICE_ARG(text), (long long)estimate->bytes_processed);
    }
    fputs(buf_cstr(&out), stdout);
    buf_release(&out);
}

static void print_rows(const struct invocation *in, const struct bq_result *result)
{
    struct buf out = BUF_INIT;
    (in->json ? table_json : table_print)(&out, result);
    fputs(buf_cstr(&out), stdout);
    if (!in->json && result->row_count == 0)
        printf("(no rows)\n");
    buf_release(&out);
}

static bool run(struct services *v, const struct invocation *in, const char *sql, bool dry_run, struct error *err)
{
    const struct bq_label labels[] = {{"st_step", "query"}, {"st_query", in->argv[0]}};
    const struct bq_query query = {.sql = sql, .labels = labels, .label_count = 2};
    struct bq_estimate estimate;
    struct bq_result result;
    if (!bq_query_estimate(v->bigquery, &query, &estimate, NULL, err))
        return false;
    if (strcmp(estimate.statement_type, "SELECT") != 0)
        return error_set(err, ERROR_PERMANENT, "config_value",
                         "BigQuery takes it for %s: one SELECT is needed; this command only reads",
                         estimate.statement_type);
    if (dry_run) {
        print_dry_run(in, sql, &estimate);
        return true;
    }
    if (!bq_query_run(v->bigquery, &query, &result, NULL, err))
        return false;
    print_rows(in, &result);
    bq_result_release(&result);
    return true;
}

/* The text that is run: the file's, filled in. */
static bool make_sql(const struct invocation *in, const char *path, const struct query_param *params, size_t count,
                     struct buf *ret, struct error *err)
{
    struct buf text = BUF_INIT;
    bool ok = file_read(path, QUERY_FILE_MAX_BYTES, &text, err);
    if (ok && !query_is_select(buf_slice(&text)))
        ok = error_set(err, ERROR_PERMANENT, "config_value",
                       "%s begins with neither SELECT nor WITH; this command only reads", path);
    else if (ok && !query_fill(buf_slice(&text), &in->settings, params, count, ret, err))
        ok = error_prefix(err, "%s", path);
    buf_release(&text);
    return ok;
}

static enum exit_code run_file(struct invocation *in, const char *path, const struct query_param *params, size_t count,
                               bool dry_run)
{
    struct error err = ERROR_INIT;
    struct buf sql = BUF_INIT;
    struct services services = {0};
    bool ok = option_set_check(&in->settings.options, SETTINGS_BIGQUERY, &err) &&
              make_sql(in, path, params, count, &sql, &err) &&
              services_open(&services, &in->settings, SETTINGS_BIGQUERY, &err) &&
              run(&services, in, buf_cstr(&sql), dry_run, &err);
    services_close(&services);
    buf_release(&sql);
    if (!ok && count == 0) /* params name what is not ours to make: v1's tables */
        add_init_hint(&err);
    return ok ? EXIT_OK : command_failed(in, &err);
}

static enum exit_code exec(struct invocation *in)
{
    struct query_param params[QUERY_MAX_PARAMS];
    struct query_files files = {NULL, 0};
    struct error err = ERROR_INIT;
    size_t count;
    bool dry_run = invocation_option(in, "--dry-run") != NULL;
    if (!take_params(in, params, &count))
        return EXIT_USAGE;
    if (in->argc > 1)
        return usage_error(in, "unexpected argument '%s'", in->argv[1]);
    if (in->argc == 0 && (dry_run || count > 0))
        return usage_error(in, "say which query");
    enum exit_code code;
    char *root = settings_find(NULL, "sql");
    const char *path = NULL;
    if (!query_files_list(root, &files, &err))
        code = command_failed(in, &err);
    else if (in->argc == 0)
        code = list(in, &files, root);
    else if (!(path = path_of(&files, in->argv[0])))
        code = usage_error(in, "there is no query '%s' in '%s'; without a name they are listed", in->argv[0], root);
    else
        code = run_file(in, path, params, count, dry_run);
    query_files_release(&files);
    free(root);
    return code;
}

static const struct command_option options[] = {
    {"--param", "NAME=VALUE", "for a ${NAME} that is no setting; may stand several times"},
    {"--dry-run", NULL, "print the filled-in text and how much it would read"},
    {"--json", NULL, "print JSON"},
    {NULL, NULL, NULL},
};

const struct command command_query = {
    .name = "query",
    .arguments = "[NAME|FILE]",
    .summary = "Run one of the queries in sql/ (or a file like them); without an argument, list them.",
    .details =
        "NAME is sql/*/NAME.sql; what has a '/' or ends in .sql is a path. ${NAME} in the text takes the setting of "
        "that name\n"
        "(BQ_PROJECT_ID, BQ_DATASET_LOGS, ...) or a --param; values are names: letters, digits, '_', '-' and '.'.\n"
        "It only reads: the text must be one SELECT, and BigQuery's dry run must agree, before anything runs.",
    .options = options,
    .needs = 0, /* the list needs nothing; a run checks for itself */
    .exec = exec,
};
