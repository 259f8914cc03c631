/* The option table: loading and checking. Its printed forms are in option_print.c. */
#include "base/option.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ENV_FILE_MAX_BYTES = 64 * 1024, SHOWN_VALUE_BYTES = 120 };

void option_set_init(struct option_set *set, const struct option_row *rows, size_t count, void *values)
{
    *set = (struct option_set){.rows = rows, .count = count, .values = values};
    set->owned = xcalloc(count, sizeof *set->owned);
    set->origin = xcalloc(count, sizeof *set->origin);
    set->given = xcalloc(count, sizeof *set->given);
}

static void *value_at(const struct option_set *set, size_t i)
{
    return (char *)set->values + set->rows[i].offset;
}

void option_set_release(struct option_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        if (set->rows[i].type == OPTION_SECRET) {
            struct secret **secret = value_at(set, i);
            secret_unref(*secret);
            *secret = NULL;
        }
        buf_release(&set->owned[i]);
    }
    free(set->owned);
    free(set->origin);
    free(set->given);
    *set = (struct option_set){0};
}

static bool is_choice(const char *choices, struct slice value)
{
    struct slice rest = slice_str(choices);
    while (rest.len > 0)
        if (slice_eq(slice_cut(&rest, '|'), value))
            return true;
    return false;
}

static bool is_name(struct slice s)
{
    if (s.len < 1 || s.len > 255)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
                  c == '.';
        if (!ok)
            return false;
    }
    return true;
}

static bool is_host_port(struct slice s)
{
    const char *colon = s.len > 0 ? memrchr(s.ptr, ':', s.len) : NULL;
    int64_t port;
    if (!colon || colon == s.ptr)
        return false;
    struct slice digits = slice_of(colon + 1, s.len - (size_t)(colon + 1 - s.ptr));
    return slice_to_int64(digits, &port) && port >= 1 && port <= 65535 && !memchr(s.ptr, '/', s.len);
}

static bool is_loopback_host(struct slice host)
{
    char text[INET_ADDRSTRLEN];
    struct in_addr address;
    if (slice_eq_str(host, "localhost") || slice_eq_str(host, "[::1]"))
        return true;
    snprintf(text, sizeof text, "%.*s", SLICE_ARG(host));
    return host.len < sizeof text && inet_pton(AF_INET, text, &address) == 1 &&
           ntohl(address.s_addr) >> 24 == IN_LOOPBACKNET;
}

/* https anywhere; plain http on loopback only. The full check of an address is the HTTP client's. */
bool option_is_url(struct slice s)
{
    /* "http://localhost:1@elsewhere" is elsewhere; and what has a password must not be printed by `config show`. */
    if (s.len == 0 || memchr(s.ptr, '@', s.len))
        return false;
    if (slice_starts_with(s, SLICE_LIT("https://")))
        return s.len > 8;
    if (!slice_starts_with(s, SLICE_LIT("http://")))
        return false;
    struct slice host = slice_of(s.ptr + 7, s.len - 7);
    host = slice_cut(&host, '/');
    if (slice_starts_with(host, SLICE_LIT("[::1]:")))
        host.len = 5;
    else if (host.len > 0 && host.ptr[0] != '[')
        host = slice_cut(&host, ':');
    return is_loopback_host(host);
}

static bool bad_value(struct error *err, const struct option_row *row, struct slice value, const char *origin,
                      const char *allowed)
{
    const char *name = row->env ? row->env : row->json_path;
    bool hidden = row->type == OPTION_SECRET;
    char shown[SHOWN_VALUE_BYTES + 1] = "***";
    if (!hidden)
        snprintf(shown, sizeof shown, "%.*s", SLICE_ARG(value));
    return error_set(err, ERROR_PERMANENT, "config_value", "%s is \"%s%s\" (from %s): %s", name, shown,
                     !hidden && value.len > SHOWN_VALUE_BYTES ? "..." : "", origin, allowed);
}

static bool store_int(const struct option_row *row, struct slice text, void *value, const char *origin,
                      struct error *err)
{
    char allowed[96];
    int64_t number;
    snprintf(allowed, sizeof allowed, "a whole number from %lld to %lld is allowed", (long long)row->min,
             (long long)row->max);
    if (!slice_to_int64(text, &number) || number < row->min || number > row->max)
        return bad_value(err, row, text, origin, allowed);
    *(int64_t *)value = number;
    return true;
}

static bool store_bool(const struct option_row *row, struct slice text, void *value, const char *origin,
                       struct error *err)
{
    bool yes = slice_eq_nocase(text, SLICE_LIT("true"));
    if (!yes && !slice_eq_nocase(text, SLICE_LIT("false")))
        return bad_value(err, row, text, origin, "true or false is allowed");
    *(bool *)value = yes;
    return true;
}

static bool check_text(const struct option_row *row, struct slice text, const char *origin, struct error *err)
{
    char allowed[256];
    if (text.len == 0 || row->type == OPTION_STRING || row->type == OPTION_SECRET)
        return true;
    if (row->type == OPTION_CHOICE && !is_choice(row->choices, text)) {
        snprintf(allowed, sizeof allowed, "one of %s is allowed", row->choices);
        return bad_value(err, row, text, origin, allowed);
    }
    if (row->type == OPTION_NAME && !is_name(text))
        return bad_value(err, row, text, origin, "letters, digits, '_', '-' and '.' are allowed, at most 255");
    if (row->type == OPTION_HOST_PORT && !is_host_port(text))
        return bad_value(err, row, text, origin, "host:port is allowed");
    if (row->type == OPTION_URL && !option_is_url(text))
        return bad_value(err, row, text, origin,
                         "an https:// address is allowed, or http:// on this machine's loopback");
    return true;
}

static bool store(struct option_set *set, size_t i, struct slice text, const char *origin, struct error *err)
{
    const struct option_row *row = &set->rows[i];
    void *value = value_at(set, i);
    text = slice_trim(text);
    set->origin[i] = origin;
    if (memchr(text.ptr ? text.ptr : "", '\0', text.len))
        return bad_value(err, row, slice_str("..."), origin, "a NUL byte is not allowed");
    if (row->type == OPTION_INT)
        return store_int(row, text, value, origin, err);
    if (row->type == OPTION_BOOL)
        return store_bool(row, text, value, origin, err);
    if (!check_text(row, text, origin, err))
        return false;
    if (row->type == OPTION_SECRET) {
        struct secret **secret = value;
        secret_unref(*secret);
        *secret = text.len > 0 ? secret_new(text) : NULL;
        return true;
    }
    buf_clear(&set->owned[i]);
    buf_append_slice(&set->owned[i], text);
    *(const char **)value = buf_cstr(&set->owned[i]);
    return true;
}

bool option_set_defaults(struct option_set *set, struct error *err)
{
    for (size_t i = 0; i < set->count; i++)
        if (!store(set, i, slice_str(set->rows[i].fallback ? set->rows[i].fallback : ""), "default", err))
            return false;
    return true;
}

bool option_set_json(struct option_set *set, struct json_object *root, const char *path, struct error *err)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct option_row *row = &set->rows[i];
        struct json_object *at = row->json_path ? json_at(root, row->json_path) : NULL;
        if (!at)
            continue;
        if (row->type == OPTION_SECRET)
            return error_set(err, ERROR_PERMANENT, "config_secret",
                             "%s: '%s' holds a secret; secrets belong in the environment (%s)", path, row->json_path,
                             row->env);
        if (json_object_is_type(at, json_type_object) || json_object_is_type(at, json_type_array))
            return error_set(err, ERROR_PERMANENT, "config_value", "%s: '%s' must be one value", path, row->json_path);
        const char *text = json_object_get_string(at);
        size_t len = json_object_is_type(at, json_type_string) ? (size_t)json_object_get_string_len(at) : strlen(text);
        if (!store(set, i, slice_of(text, len), path, err))
            return false;
        set->given[i] = true;
    }
    return true;
}

static size_t find_env(const struct option_set *set, struct slice name)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->rows[i].env && slice_eq_str(name, set->rows[i].env))
            return i;
    return SIZE_MAX;
}

/* Cuts "export NAME='value'" into its parts; false for comments, blanks and lines without '='. */
static bool split_env_line(struct slice line, struct slice *ret_name, struct slice *ret_value)
{
    line = slice_trim(line);
    if (line.len == 0 || line.ptr[0] == '#' || !memchr(line.ptr, '=', line.len))
        return false;
    if (slice_starts_with(line, SLICE_LIT("export ")))
        line = slice_trim(slice_of(line.ptr + 7, line.len - 7));
    *ret_name = slice_trim(slice_cut(&line, '='));
    line = slice_trim(line);
    if (line.len >= 2 && (line.ptr[0] == '"' || line.ptr[0] == '\'') && line.ptr[line.len - 1] == line.ptr[0])
        line = slice_of(line.ptr + 1, line.len - 2);
    *ret_value = line;
    return true;
}

static bool load_file(const char *path, bool optional, struct buf *out, struct error *err)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return optional && errno == ENOENT ? true : error_errno(err, errno, "cannot open '%s'", path);
    buf_reserve(out, ENV_FILE_MAX_BYTES + 1);
    out->len = fread(out->ptr, 1, ENV_FILE_MAX_BYTES + 1, file);
    bool ok = !ferror(file) && out->len <= ENV_FILE_MAX_BYTES;
    fclose(file);
    if (!ok)
        return error_set(err, ERROR_PERMANENT, "config_file",
                         "cannot read '%s': it is unreadable or larger than %d bytes", path, ENV_FILE_MAX_BYTES);
    out->ptr[out->len] = '\0';
    return true;
}

static void wipe(struct buf *text)
{
    if (text->ptr)
        explicit_bzero(text->ptr, text->cap);
    buf_release(text);
}

bool option_set_env_file(struct option_set *set, const char *path, bool optional, struct error *err)
{
    struct buf text = BUF_INIT;
    bool ok = load_file(path, optional, &text, err);
    struct slice rest = buf_slice(&text), name, value;
    while (ok && rest.len > 0) {
        if (!split_env_line(slice_cut(&rest, '\n'), &name, &value))
            continue;
        size_t i = find_env(set, name);
        if (i == SIZE_MAX || value.len == 0) /* "NAME=" is how the sample file shows what is to be filled in */
            continue;
        ok = store(set, i, value, path, err);
        set->given[i] = true;
    }
    wipe(&text);
    return ok;
}

bool option_set_environment(struct option_set *set, struct error *err)
{
    for (size_t i = 0; i < set->count; i++) {
        const char *text = set->rows[i].env ? getenv(set->rows[i].env) : NULL;
        if (!text || text[0] == '\0')
            continue;
        if (!store(set, i, slice_str(text), "the environment", err))
            return false;
        set->given[i] = true;
    }
    return true;
}

static bool is_empty(const struct option_set *set, size_t i)
{
    const void *value = value_at(set, i);
    switch (set->rows[i].type) {
    case OPTION_INT:
    case OPTION_BOOL:
        return false;
    case OPTION_SECRET:
        return secret_is_empty(*(struct secret *const *)value);
    default:
        return (*(const char *const *)value)[0] == '\0';
    }
}

bool option_set_check(const struct option_set *set, unsigned command, struct error *err)
{
    struct buf missing = BUF_INIT;
    for (size_t i = 0; i < set->count; i++) {
        if (!(set->rows[i].needed_by & command) || !is_empty(set, i))
            continue;
        buf_printf(&missing, "%s%s", missing.len ? ", " : "",
                   set->rows[i].env ? set->rows[i].env : set->rows[i].json_path);
    }
    bool ok = missing.len == 0;
    if (!ok)
        error_set(err, ERROR_PERMANENT, "config_missing",
                  "not set: %s. Set it in the environment or in .env (see .env.example)", buf_cstr(&missing));
    buf_release(&missing);
    return ok;
}

struct secret *option_secret_named(const char *name, const char *env_file)
{
    struct slice text = slice_trim(slice_str(getenv(name))); /* mounted secrets often end in a newline */
    struct buf file = BUF_INIT;
    struct secret *secret = NULL;
    struct slice rest, key, value;
    if (text.len > 0)
        return secret_new(text);
    if (!env_file || !load_file(env_file, true, &file, NULL))
        return NULL;
    rest = buf_slice(&file);
    while (rest.len > 0) { /* the last one counts, as for the options */
        if (!split_env_line(slice_cut(&rest, '\n'), &key, &value) || !slice_eq_str(key, name) || value.len == 0)
            continue;
        secret_unref(secret);
        secret = secret_new(value);
    }
    wipe(&file);
    return secret;
}
