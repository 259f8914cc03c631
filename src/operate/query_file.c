/* query_file.c - finding the operators' SQL files and filling their placeholders.
 *
 * A placeholder always stands where a name stands, so a value is a name and nothing else: no quote, no space, no comment can
 * come in by one. */
#include "operate/query_file.h"

#include <glob.h>
#include <stdlib.h>

#include "base/file.h"

/* ---- Placeholders ------------------------------------------------------------------------------------------------ */

static bool is_name_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

static bool is_safe(struct slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        bool comment = c == '-' && i > 0 && value.ptr[i - 1] == '-';
        if (comment || !(is_name_char(c) || c == '-' || c == '.'))
            return false;
    }
    return value.len > 0 && value.len <= QUERY_VALUE_MAX_BYTES;
}

/* The value of an option that is a name; NULL: there is no such option. */
static const char *option_text(const struct settings *s, struct slice name)
{
    for (size_t i = 0; i < settings_row_count(); i++) {
        const struct option_row *row = &settings_rows[i];
        const char *value;
        if (row->type != OPTION_NAME || !row->env || !slice_eq_str(name, row->env))
            continue;
        memcpy(&value, (const char *)s + row->offset, sizeof value);
        return value ? value : "";
    }
    return NULL;
}

struct fill {
    const struct settings *settings;
    const struct query_param *params;
    size_t count;
    bool used[QUERY_MAX_PARAMS];
    int line;
    struct buf out;
    struct error *err;
};

static bool find_value(struct fill *fill, struct slice name, struct slice *ret)
{
    for (size_t i = 0; i < fill->count; i++) {
        if (slice_eq(fill->params[i].name, name)) {
            fill->used[i] = true;
            *ret = fill->params[i].value;
            return true;
        }
    }
    *ret = slice_str(option_text(fill->settings, name));
    return ret->len > 0;
}

static bool put_value(struct fill *fill, struct slice name)
{
    struct slice value;
    if (!find_value(fill, name, &value))
        return error_set(fill->err, ERROR_PERMANENT, "config_missing",
                         "line %d: there is no value for ${%.*s}; %s%.*s%s", fill->line, SLICE_ARG(name),
                         option_text(fill->settings, name) ? "set " : "give it with --param ", SLICE_ARG(name),
                         option_text(fill->settings, name) ? "" : "=VALUE");
    if (!is_safe(value))
        return error_set(fill->err, ERROR_PERMANENT, "config_value",
                         "line %d: %.*s is \"%.*s\": only letters, digits, '_', '.' and single '-' are allowed",
                         fill->line, SLICE_ARG(name), SLICE_ARG(value));
    buf_append_slice(&fill->out, value);
    return true;
}

/* `at` is behind "${"; the length of NAME, or 0 when no "NAME}" stands there. */
static size_t name_length(struct slice text, size_t at)
{
    size_t end = at;
    while (end < text.len && is_name_char(text.ptr[end]))
        end++;
    return end < text.len && text.ptr[end] == '}' ? end - at : 0;
}

static bool fill_text(struct fill *fill, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        fill->line += text.ptr[i] == '\n';
        if (text.ptr[i] == '\0') /* what follows would be lost on the way: another statement */
            return error_set(fill->err, ERROR_PERMANENT, "config_value",
                             "line %d: there is a NUL byte: not a text file", fill->line);
        if (text.ptr[i] != '$' || i + 1 >= text.len || text.ptr[i + 1] != '{') {
            buf_append_char(&fill->out, text.ptr[i]);
            continue;
        }
        size_t len = name_length(text, i + 2);
        if (len == 0)
            return error_set(fill->err, ERROR_PERMANENT, "config_value", "line %d: \"${\" is not followed by NAME}",
                             fill->line);
        if (!put_value(fill, slice_of(text.ptr + i + 2, len)))
            return false;
        i += len + 2;
    }
    return true;
}

static bool check_used(const struct fill *fill)
{
    for (size_t i = 0; i < fill->count; i++)
        if (!fill->used[i])
            return error_set(fill->err, ERROR_PERMANENT, "config_value",
                             "there is no placeholder ${%.*s} to put \"%.*s\" in for", SLICE_ARG(fill->params[i].name),
                             SLICE_ARG(fill->params[i].value));
    return true;
}

bool query_fill(struct slice text, const struct settings *settings, const struct query_param *params, size_t count,
                struct buf *ret, struct error *err)
{
    struct fill fill = {.settings = settings, .params = params, .count = count, .line = 1, .err = err};
    if (count > QUERY_MAX_PARAMS)
        return error_set(err, ERROR_PERMANENT, "config_value", "there are %zu params: at most %d are allowed", count,
                         QUERY_MAX_PARAMS);
    bool ok = fill_text(&fill, text) && check_used(&fill);
    if (ok)
        buf_append_slice(ret, buf_slice(&fill.out));
    buf_release(&fill.out);
    return ok;
}

/* ---- What the text is -------------------------------------------------------------------------------------------- */

static bool starts(struct slice s, const char *with)
{
    return slice_starts_with(s, slice_str(with));
}

static struct slice behind(struct slice s, size_t len)
{
    return slice_of(s.ptr + len, s.len - len);
}

/* Behind the comment that the text begins with. */
static struct slice skip_comment(struct slice s)
{
    if (!starts(s, "/*")) {
        slice_cut(&s, '\n');
        return s;
    }
    const char *end = s.len > 2 ? memmem(s.ptr + 2, s.len - 2, "*/", 2) : NULL;
    return end ? behind(s, (size_t)(end - s.ptr) + 2) : SLICE_NULL;
}

/* Behind white space, comments and, where they are asked for, parentheses. */
static struct slice skip_to_text(struct slice s, bool parentheses)
{
    for (;;) {
        s = slice_trim(s);
        if (starts(s, "--") || starts(s, "#") || starts(s, "/*"))
            s = skip_comment(s);
        else if (parentheses && starts(s, "("))
            s = behind(s, 1);
        else
            return s;
    }
}

bool query_is_select(struct slice text)
{
    struct slice word = skip_to_text(text, /* parentheses */ true);
    size_t len = 0;
    while (len < word.len && is_name_char(word.ptr[len]))
        len++;
    word.len = len;
    return slice_eq_nocase(word, SLICE_LIT("SELECT")) || slice_eq_nocase(word, SLICE_LIT("WITH"));
}

/* ---- Files ------------------------------------------------------------------------------------------------------- */

static char *title_of(struct slice text)
{
    struct slice line = slice_cut(&text, '\n');
    if (!starts(line, "--"))
        return xstrdup("");
    line = slice_trim(behind(line, 2));
    return xstrndup(line.ptr, line.len);
}

/* `path` ends in "/folder/name.sql". */
static void add_file(struct query_files *files, const char *path, struct slice text)
{
    const char *name = strrchr(path, '/') + 1, *folder = name - 1;
    while (folder > path && folder[-1] != '/')
        folder--;
    files->items[files->count++] = (struct query_file){
        .folder = xstrndup(folder, (size_t)(name - 1 - folder)),
        .name = xstrndup(name, strlen(name) - strlen(".sql")),
        .path = xstrdup(path),
        .title = title_of(text),
    };
}

static bool add_if_query(struct query_files *files, const char *path, struct error *err)
{
    struct buf text = BUF_INIT;
    bool ok = file_read(path, QUERY_FILE_MAX_BYTES, &text, err);
    if (ok && query_is_select(buf_slice(&text)))
        add_file(files, path, buf_slice(&text));
    buf_release(&text);
    return ok;
}

bool query_files_list(const char *root, struct query_files *ret, struct error *err)
{
    char *pattern = xasprintf("%s/*/*.sql", root);
    glob_t found = {0};
    int outcome = glob(pattern, 0, NULL, &found); /* sorted */
    bool ok = outcome == 0 || outcome == GLOB_NOMATCH;
    *ret = (struct query_files){NULL, 0};
    if (!ok)
        error_set(err, ERROR_PERMANENT, "query_file", "cannot list '%s'", pattern);
    else if (found.gl_pathc > QUERY_FILES_MAX)
        ok = error_set(err, ERROR_PERMANENT, "query_file", "'%s' are more than %d files", pattern, QUERY_FILES_MAX);
    ret->items = xcalloc(ok ? found.gl_pathc + 1 : 1, sizeof *ret->items);
    for (size_t i = 0; ok && i < found.gl_pathc; i++)
        ok = add_if_query(ret, found.gl_pathv[i], err);
    globfree(&found);
    free(pattern);
    return ok;
}

void query_files_release(struct query_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        free(files->items[i].folder);
        free(files->items[i].name);
        free(files->items[i].path);
        free(files->items[i].title);
    }
    free(files->items);
    *files = (struct query_files){NULL, 0};
}

const struct query_file *query_files_find(const struct query_files *files, const char *name)
{
    for (size_t i = 0; i < files->count; i++)
        if (strcmp(files->items[i].name, name) == 0)
            return &files->items[i];
    return NULL;
}
