#include "api_request.h"

#include <stdio.h>

#include "net/url.h"

enum { VALUE_SIZE = 64, SHOWN_BYTES = 64 };

static const struct {
    const char *name;
    unsigned bit;
} methods[] = {{"GET", API_GET}, {"HEAD", API_HEAD}, {"POST", API_POST}};
enum { METHODS = sizeof methods / sizeof methods[0] };

/* ---- Refusals ----------------------------------------------------------------------------------------------------- */

void api_refusal_release(struct api_refusal *refusal)
{
    buf_release(&refusal->allowed);
}

bool api_refuse(struct api_refusal *refusal, int status, const char *code, const char *fmt, ...)
{
    va_list args;
    refusal->status = status;
    va_start(args, fmt);
    error_setv(&refusal->err, ERROR_PERMANENT, code, fmt, args);
    va_end(args);
    return false;
}

void api_allow(struct api_refusal *refusal, const char *text)
{
    if (refusal->allowed.len > 0)
        buf_append_char(&refusal->allowed, ',');
    buf_append_json_string(&refusal->allowed, slice_str(text));
}

void api_method_list(struct buf *out, unsigned bits)
{
    size_t start = out->len;
    for (size_t i = 0; i < METHODS; i++)
        if (bits & methods[i].bit)
            buf_printf(out, "%s%s", out->len > start ? ", " : "", methods[i].name);
}

/* ---- Path --------------------------------------------------------------------------------------------------------- */

/* What the pattern's ":name" stands for, still encoded; false: another path. */
static bool match(const char *pattern, struct slice path, struct slice *ret_name)
{
    struct slice rest = slice_str(pattern);
    *ret_name = SLICE_NULL;
    while (rest.len > 0 && path.len > 0) {
        bool more = memchr(rest.ptr, '/', rest.len) != NULL, path_more = memchr(path.ptr, '/', path.len) != NULL;
        struct slice want = slice_cut(&rest, '/'), have = slice_cut(&path, '/');
        if (more != path_more)
            return false;
        if (want.len > 0 && want.ptr[0] == ':' && have.len > 0)
            *ret_name = have;
        else if (!slice_eq(want, have))
            return false;
    }
    return rest.len == 0 && path.len == 0;
}

static const struct api_route *find(const struct api_route *routes, size_t count, struct slice path,
                                    struct slice *ret_name)
{
    for (size_t i = 0; i < count; i++)
        if (match(routes[i].pattern, path, ret_name))
            return &routes[i];
    return NULL;
}

const struct api_route *api_route_find(const struct api_route *routes, size_t count, struct slice target)
{
    struct slice name;
    return find(routes, count, slice_cut(&target, '?'), &name);
}

static bool no_route(const struct api_route *routes, size_t count, struct slice path, struct api_refusal *refusal)
{
    struct buf line = BUF_INIT;
    for (size_t i = 0; i < count; i++) {
        buf_clear(&line);
        api_method_list(&line, routes[i].methods);
        buf_printf(&line, " %s", routes[i].pattern);
        api_allow(refusal, buf_cstr(&line));
    }
    buf_release(&line);
    int shown = path.len < SHOWN_BYTES ? (int)path.len : SHOWN_BYTES;
    return api_refuse(refusal, 404, "unknown_path", "there is no \"%.*s\"; see 'allowed'", shown,
                      path.ptr ? path.ptr : "");
}

static bool read_method(const struct api_route *route, const char *text, unsigned *ret, struct api_refusal *refusal)
{
    struct buf list = BUF_INIT;
    *ret = 0;
    for (size_t i = 0; i < METHODS; i++)
        if (strcmp(methods[i].name, text) == 0)
            *ret = methods[i].bit;
    if (*ret & route->methods)
        return true;
    for (size_t i = 0; i < METHODS; i++)
        if (route->methods & methods[i].bit)
            api_allow(refusal, methods[i].name);
    api_method_list(&list, route->methods);
    refusal->methods = route->methods;
    api_refuse(refusal, 405, "method_not_allowed", "%s takes %s, not %.16s", route->pattern, buf_cstr(&list), text);
    buf_release(&list);
    return false;
}

/* ---- Query -------------------------------------------------------------------------------------------------------- */

struct param {
    const char *name;
    unsigned bit;
    bool (*read)(const char *value, struct api_request *ret);
    const char *allowed[3]; /* ends with NULL */
    const char *text;       /* what is allowed, for the message */
};

static bool read_tenant(const char *value, struct api_request *ret)
{
    return slice_to_int64(slice_str(value), &ret->tenant) && ret->tenant > 0;
}

static bool read_choice(const char *value, const char *no, const char *yes, bool *ret)
{
    *ret = strcmp(value, yes) == 0;
    return *ret || strcmp(value, no) == 0;
}

static bool read_mode(const char *value, struct api_request *ret)
{
    return read_choice(value, "incremental", "full", &ret->full);
}

static bool read_parallel(const char *value, struct api_request *ret)
{
    return read_choice(value, "false", "true", &ret->parallel);
}

static bool read_wait(const char *value, struct api_request *ret)
{
    return read_choice(value, "false", "true", &ret->wait);
}

static bool read_timeout(const char *value, struct api_request *ret)
{
    return slice_to_int64(slice_str(value), &ret->timeout_s) && ret->timeout_s >= 1 &&
           ret->timeout_s <= API_TIMEOUT_MAX_S;
}

static const struct param params[] = {
    {"tenant", API_TENANT, read_tenant, {NULL}, "a positive number"},
    {"mode", API_MODE, read_mode, {"incremental", "full"}, "incremental or full"},
    {"parallel", API_PARALLEL, read_parallel, {"true", "false"}, "true or false"},
    {"wait", API_WAIT, read_wait, {"true", "false"}, "true or false"},
    {"timeout", API_TIMEOUT, read_timeout, {NULL}, "a whole number of seconds from 1 to 3600"},
};
enum { PARAMS = sizeof params / sizeof params[0] };

static const struct param *find_param(const char *name, unsigned bits)
{
    for (size_t i = 0; i < PARAMS; i++)
        if (params[i].bit & bits && strcmp(params[i].name, name) == 0)
            return &params[i];
    return NULL;
}

static bool unknown_param(const struct api_route *route, const char *name, struct api_refusal *refusal)
{
    for (size_t i = 0; i < PARAMS; i++)
        if (params[i].bit & route->params)
            api_allow(refusal, params[i].name);
    return api_refuse(refusal, 400, "unknown_parameter", "%s takes no parameter \"%.*s\"; see 'allowed'",
                      route->pattern, SHOWN_BYTES, name);
}

static bool bad_param(const struct param *param, const char *value, struct api_refusal *refusal)
{
    for (size_t i = 0; param->allowed[i]; i++)
        api_allow(refusal, param->allowed[i]);
    if (refusal->allowed.len == 0)
        api_allow(refusal, param->text);
    return api_refuse(refusal, 400, "bad_parameter", "parameter '%s' is \"%s\": %s is allowed", param->name, value,
                      param->text);
}

static bool read_param(struct slice pair, struct api_request *ret, struct api_refusal *refusal)
{
    char name[VALUE_SIZE], value[VALUE_SIZE];
    struct slice key = slice_cut(&pair, '=');
    if (!url_decode(key, true, name, sizeof name) || !url_decode(pair, true, value, sizeof value))
        return api_refuse(refusal, 400, "url_syntax",
                          "a query parameter is longer than %d characters or has a broken escape", VALUE_SIZE - 1);
    const struct param *param = find_param(name, ret->route->params);
    if (!param)
        return unknown_param(ret->route, name, refusal);
    if (ret->given & param->bit)
        return api_refuse(refusal, 400, "duplicate_parameter", "parameter '%s' is given twice", param->name);
    ret->given |= param->bit;
    return param->read(value, ret) || bad_param(param, value, refusal);
}

bool api_request_parse(const struct api_route *routes, size_t count, const char *method, struct slice target,
                       struct api_request *ret, struct api_refusal *refusal)
{
    struct slice query = target, path = slice_cut(&query, '?'), name;
    *ret = (struct api_request){.wait = true, .timeout_s = API_TIMEOUT_DEFAULT_S};
    *refusal = (struct api_refusal){.err = ERROR_INIT};
    ret->route = find(routes, count, path, &name);
    if (!ret->route)
        return no_route(routes, count, path, refusal);
    if (!url_decode(name, false, ret->name, sizeof ret->name))
        return api_refuse(refusal, 400, "url_syntax",
                          "the path's last part is longer than %d characters or has a broken escape",
                          API_NAME_SIZE - 1);
    if (!read_method(ret->route, method, &ret->method, refusal))
        return false;
    while (query.len > 0) {
        struct slice pair = slice_cut(&query, '&');
        if (pair.len > 0 && !read_param(pair, ret, refusal))
            return false;
    }
    return true;
}
