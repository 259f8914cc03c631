/* errors.c - what an answer of the ServiceTitan API means. Pure: status, Retry-After and body in, struct error out.
 *
 * Error bodies are ProblemDetails (title, status, traceId, errors: field -> texts) when the API itself answers; the
 * gateway before it sends HTML, cut texts or nothing. So the status decides, and the body only makes the message
 * better. */
#include "servicetitan/client.h"

#include <ctype.h>
#include <stdio.h>

#include "base/json.h"

enum {
    DEFAULT_THROTTLE_MS = 30 * 1000, /* the brief: "longer backoff (30s+)" */
    MAX_TITLE_WAIT_S = 3600,
    MAX_SNIPPET = 200,
    MAX_FIELD_ERRORS = 8,
};

static const struct status_rule {
    int status;
    enum error_class class;
    enum error_effect effect;
    const char *meaning;
} status_rules[] = {
    {400, ERROR_PERMANENT, EFFECT_NONE, "bad request"},
    {401, ERROR_PERMANENT, EFFECT_NONE, "unauthorized; check ST_APP_KEY and that the app belongs to this environment"},
    {403, ERROR_PERMANENT, EFFECT_NONE, "forbidden; check the app's scopes and that the tenant has connected it"},
    {404, ERROR_PERMANENT, EFFECT_NONE, "not found; check ST_API_URL, the tenant id and the entity's path"},
    {408, ERROR_RETRY, EFFECT_MAYBE, "request time-out"},
    {409, ERROR_PERMANENT, EFFECT_NONE, "conflict"},
    {413, ERROR_PERMANENT, EFFECT_NONE, "too large"},
    {425, ERROR_RETRY, EFFECT_NONE, "too early"},
    {429, ERROR_THROTTLED, EFFECT_NONE, "too many requests"},
    {500, ERROR_RETRY, EFFECT_MAYBE, "server error"},
    {502, ERROR_RETRY, EFFECT_MAYBE, "bad gateway"},
    {503, ERROR_RETRY, EFFECT_MAYBE, "service unavailable"},
    {504, ERROR_RETRY, EFFECT_MAYBE, "gateway time-out"},
};

static struct status_rule rule_of(int status)
{
    for (size_t i = 0; i < sizeof status_rules / sizeof status_rules[0]; i++)
        if (status_rules[i].status == status)
            return status_rules[i];
    if (status >= 500)
        return (struct status_rule){status, ERROR_RETRY, EFFECT_MAYBE, "server error"};
    if (status >= 400)
        return (struct status_rule){status, ERROR_PERMANENT, EFFECT_NONE, "refused"};
    if (status >= 300)
        return (struct status_rule){status, ERROR_PERMANENT, EFFECT_NONE,
                                    "a redirect, which is not followed; check ST_API_URL"};
    return (struct status_rule){status, ERROR_PERMANENT, EFFECT_MAYBE, "an unexpected status"};
}

/* "Rate limit is exceeded. Try again in 17 seconds." -> 17: the number stands right before the last word. -1 when it
 * does not. */
static int64_t seconds_in_title(const char *title)
{
    struct slice text = slice_trim(slice_str(title));
    size_t end = text.len;
    while (end > 0 && !isspace((unsigned char)text.ptr[end - 1]))
        end--;
    struct slice before = slice_trim(slice_of(text.ptr, end));
    size_t start = before.len;
    while (start > 0 && isdigit((unsigned char)before.ptr[start - 1]))
        start--;
    int64_t seconds;
    if (start > 0 && !isspace((unsigned char)before.ptr[start - 1]))
        return -1;
    if (!slice_to_int64(slice_of(before.ptr + start, before.len - start), &seconds) || seconds > MAX_TITLE_WAIT_S)
        return -1;
    return seconds;
}

static int64_t throttle_wait_ms(int64_t retry_after_ms, const char *title)
{
    if (retry_after_ms >= 0)
        return retry_after_ms;
    int64_t seconds = title ? seconds_in_title(title) : -1;
    return seconds >= 0 ? seconds * 1000 : DEFAULT_THROTTLE_MS;
}

/* Foreign text for a message: one line, printable, UTF-8, cut. */
static void append_clean(struct buf *out, struct slice text)
{
    size_t len = text.len < MAX_SNIPPET ? text.len : MAX_SNIPPET;
    while (len < text.len && len > 0 && ((unsigned char)text.ptr[len] & 0xC0) == 0x80)
        len--;
    if (!slice_is_utf8(slice_of(text.ptr, len))) {
        buf_append_str(out, "(not text)");
        return;
    }
    for (size_t i = 0; i < len; i++)
        buf_append_char(out, (unsigned char)text.ptr[i] < 0x20 || text.ptr[i] == 0x7f ? ' ' : text.ptr[i]);
}

static void append_field_errors(struct buf *out, struct json_object *errors)
{
    int shown = 0;
    if (!json_object_is_type(errors, json_type_object))
        return;
    json_object_object_foreach(errors, field, value)
    {
        struct json_object *text =
            json_object_is_type(value, json_type_array) ? json_object_array_get_idx(value, 0) : value;
        if (++shown > MAX_FIELD_ERRORS)
            break;
        buf_append_str(out, shown == 1 ? " (" : "; ");
        append_clean(out, slice_str(field));
        buf_append_str(out, ": ");
        append_clean(out, slice_str(text ? json_object_get_string(text) : ""));
    }
    if (shown > 0)
        buf_append_char(out, ')');
}

static void append_detail(struct buf *out, struct json_object *problem, struct slice body)
{
    body = slice_trim(body);
    if (problem) {
        const char *title = json_text_at(problem, "title", json_text_at(problem, "error", ""));
        buf_append_str(out, *title ? ": " : "");
        append_clean(out, slice_str(title));
        append_field_errors(out, json_at(problem, "errors"));
    } else if (body.len == 0) {
        buf_append_str(out, ", with an empty body");
    } else if (body.ptr[0] == '<') {
        buf_append_str(out, ", with an HTML page");
    } else {
        buf_append_str(out, ": ");
        append_clean(out, body);
    }
}

static struct json_object *parse_problem(struct slice body)
{
    struct json_object *problem = body.len ? json_parse(body, "error body", NULL) : NULL;
    if (problem && !json_object_is_type(problem, json_type_object)) {
        json_object_put(problem);
        problem = NULL;
    }
    return problem;
}

bool st_error(struct error *err, int http_status, int64_t retry_after_ms, struct slice body, const char *what)
{
    struct status_rule rule = rule_of(http_status);
    struct json_object *problem = parse_problem(body);
    struct buf detail = BUF_INIT;
    char code[ERROR_CODE_SIZE];
    append_detail(&detail, problem, body);
    snprintf(code, sizeof code, "http_%d", http_status);
    error_set(err, rule.class, code, "%s %s: %d %s%s", rule.class == ERROR_PERMANENT ? "cannot" : "could not", what,
              http_status, rule.meaning, buf_cstr(&detail));
    if (err) {
        err->effect = rule.effect;
        err->status = http_status;
        if (rule.class == ERROR_THROTTLED)
            err->wait_ms = throttle_wait_ms(retry_after_ms, problem ? json_text_at(problem, "title", NULL) : NULL);
        else if (rule.class == ERROR_RETRY && retry_after_ms > 0)
            err->wait_ms = retry_after_ms;
    }
    json_object_put(problem);
    buf_release(&detail);
    return false;
}
