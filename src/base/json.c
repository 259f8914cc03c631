#include "base/json.h"

#include <stdio.h>

#include "base/buf.h"
#include "base/file.h"

/* Line and column (from 1) of a byte offset. */
static void locate(struct slice text, size_t offset, int *ret_line, int *ret_column)
{
    int line = 1, column = 1;
    for (size_t i = 0; i < offset && i < text.len; i++) {
        column++;
        if (text.ptr[i] == '\n') {
            line++;
            column = 1;
        }
    }
    *ret_line = line;
    *ret_column = column;
}

static bool syntax_error(struct error *err, struct slice text, size_t offset, const char *what, const char *reason)
{
    int line, column;
    locate(text, offset, &line, &column);
    return error_set(err, ERROR_PERMANENT, "json", "%s is not valid JSON at line %d, column %d: %s", what, line, column,
                     reason);
}

struct json_object *json_parse(struct slice text, const char *what, struct error *err)
{
    struct json_tokener *tokener = json_tokener_new_ex(JSON_MAX_DEPTH);
    struct json_object *obj = NULL;
    BUG_ON(!tokener);
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    if (text.len > INT32_MAX) {
        error_set(err, ERROR_PERMANENT, "json", "%s is too large: %zu bytes", what, text.len);
        goto out;
    }
    if (slice_trim(text).len == 0) {
        error_set(err, ERROR_PERMANENT, "json", "%s is empty", what);
        goto out;
    }
    obj = json_tokener_parse_ex(tokener, text.ptr, (int)text.len);
    enum json_tokener_error problem = json_tokener_get_error(tokener);
    bool ran_out = problem == json_tokener_continue;
    if (ran_out) { /* a bare number ends only with the text */
        json_object_put(obj);
        obj = json_tokener_parse_ex(tokener, "", 1);
        problem = json_tokener_get_error(tokener);
    }
    size_t end = ran_out ? text.len : json_tokener_get_parse_end(tokener);
    if (problem != json_tokener_success) {
        const char *reason = ran_out ? "unexpected end" : json_tokener_error_desc(problem);
        json_object_put(obj);
        obj = NULL;
        syntax_error(err, text, end, what, reason);
    } else if (end < text.len && slice_trim(slice_of(text.ptr + end, text.len - end)).len > 0) {
        json_object_put(obj);
        obj = NULL;
        syntax_error(err, text, end, what, "unexpected text behind the value");
    } else if (!obj) {
        error_set(err, ERROR_PERMANENT, "json", "%s is null", what);
    }
out:
    json_tokener_free(tokener);
    return obj;
}

struct json_object *json_load_file(const char *path, size_t max_bytes, struct error *err)
{
    struct buf text = BUF_INIT;
    struct json_object *obj = NULL;
    if (file_read(path, max_bytes, &text, err))
        obj = json_parse(buf_slice(&text), path, err);
    buf_release(&text);
    return obj;
}

struct json_object *json_at(struct json_object *obj, const char *path)
{
    struct slice rest = slice_str(path);
    char name[256];
    while (obj && rest.len > 0) {
        struct slice part = slice_cut(&rest, '.');
        if (part.len >= sizeof name || !json_object_is_type(obj, json_type_object))
            return NULL;
        snprintf(name, sizeof name, "%.*s", SLICE_ARG(part));
        if (!json_object_object_get_ex(obj, name, &obj))
            return NULL;
    }
    return obj;
}

const char *json_text_at(struct json_object *obj, const char *path, const char *fallback)
{
    struct json_object *at = json_at(obj, path);
    if (!at || json_object_is_type(at, json_type_object) || json_object_is_type(at, json_type_array))
        return fallback;
    return json_object_get_string(at);
}

int64_t json_int_at(struct json_object *obj, const char *path, int64_t fallback)
{
    struct json_object *at = json_at(obj, path);
    int64_t value;
    if (at && json_object_is_type(at, json_type_int))
        return json_object_get_int64(at);
    if (at && json_object_is_type(at, json_type_string) &&
        slice_to_int64(slice_str(json_object_get_string(at)), &value))
        return value;
    return fallback;
}

bool json_bool_at(struct json_object *obj, const char *path, bool fallback)
{
    struct json_object *at = json_at(obj, path);
    if (!at)
        return fallback;
    if (json_object_is_type(at, json_type_boolean))
        return json_object_get_boolean(at);
    if (json_object_is_type(at, json_type_string))
        return slice_eq_nocase(slice_str(json_object_get_string(at)), SLICE_LIT("true"));
    return fallback;
}
