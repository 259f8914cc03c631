/* faults_rule.c - see faults_rule.h. Kinds, codes and members are tables. */
#include "faults_rule.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "grpc_server.h"

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

enum { MAX_COUNT = 1000000000, MAX_ROWS = 5000, MAX_BYTES = 1 << 30, DEFAULT_DELAY_MS = 1000, DEFAULT_STATUS = 503 };

/* ---- Kinds ------------------------------------------------------------------------------------------------------ */

static const struct kind {
    const char *name;
    enum fault_kind kind;
    bool after;        /* unless "after" says otherwise */
    bool says_when;    /* "after" may be given */
    bool on_responses; /* of a stream; points take a subset, which is their server's business */
} KINDS[] = {
    {"status", FAULT_STATUS, false, true, true},
    {"delay", FAULT_DELAY, false, true, false},
    {"cut_before", FAULT_CUT, false, false, true},
    {"cut_after", FAULT_CUT, true, false, false},
    {"silence", FAULT_SILENCE, false, true, true},
    {"duplicate", FAULT_DUPLICATE, false, false, true},
    {"garbage", FAULT_GARBAGE, true, false, true},
    {"truncate", FAULT_TRUNCATE, true, false, true},
    {"cut_body", FAULT_TRUNCATE, true, false, true},
    {"ignore", FAULT_IGNORE, false, false, false},
    {"reset_attempts", FAULT_RESET_ATTEMPTS, false, false, false},
    {"wrong_total", FAULT_WRONG_TOTAL, false, false, false},
    {"extra_field", FAULT_EXTRA_FIELD, false, false, false},
    {"ignore_filter", FAULT_IGNORE_FILTER, false, false, false},
    {"page_cap", FAULT_PAGE_CAP, false, false, false},
    {"duplicate_rows", FAULT_DUPLICATE_ROWS, false, false, false},
    {"expire_token", FAULT_EXPIRE_TOKEN, false, false, false},
};

static const struct kind *find_kind(const char *name)
{
    for (size_t i = 0; i < COUNT(KINDS); i++)
        if (strcasecmp(name, KINDS[i].name) == 0)
            return &KINDS[i];
    return NULL;
}

/* ---- Codes: the same failure over HTTP and over gRPC ------------------------------------------------------------- */

static const struct code {
    const char *name;
    int grpc, http;
} CODES[] = {
    {"UNAVAILABLE", RPC_UNAVAILABLE, 503},
    {"INVALID_ARGUMENT", RPC_INVALID_ARGUMENT, 400},
    {"UNAUTHENTICATED", RPC_UNAUTHENTICATED, 401},
    {"PERMISSION_DENIED", RPC_PERMISSION_DENIED, 403},
    {"NOT_FOUND", RPC_NOT_FOUND, 404},
    {"ALREADY_EXISTS", RPC_ALREADY_EXISTS, 409},
    {"ABORTED", RPC_ABORTED, 409},
    {"FAILED_PRECONDITION", RPC_FAILED_PRECONDITION, 412},
    {"RESOURCE_EXHAUSTED", RPC_RESOURCE_EXHAUSTED, 429},
    {"CANCELLED", RPC_CANCELLED, 499},
    {"INTERNAL", RPC_INTERNAL, 500},
    {"UNKNOWN", RPC_UNKNOWN, 500},
    {"DATA_LOSS", RPC_DATA_LOSS, 500},
    {"UNIMPLEMENTED", RPC_UNIMPLEMENTED, 501},
    {"DEADLINE_EXCEEDED", RPC_DEADLINE_EXCEEDED, 504},
    {"OUT_OF_RANGE", RPC_OUT_OF_RANGE, 400},
};

static int grpc_of_http(int status)
{
    for (size_t i = 0; i < COUNT(CODES); i++)
        if (CODES[i].http == status)
            return CODES[i].grpc;
    return status >= 500 ? RPC_UNAVAILABLE : RPC_UNKNOWN;
}

static int http_of_grpc(int code)
{
    for (size_t i = 0; i < COUNT(CODES); i++)
        if (CODES[i].grpc == code)
            return CODES[i].http;
    return 500;
}

bool fault_grpc_code(struct json_object *value, int *ret)
{
    bool number = json_object_is_type(value, json_type_int);
    for (size_t i = 0; i < COUNT(CODES); i++) {
        if (number ? json_object_get_int64(value) == CODES[i].grpc
                   : strcasecmp(json_object_get_string(value), CODES[i].name) == 0) {
            *ret = CODES[i].grpc;
            return true;
        }
    }
    return false;
}

/* ---- Members ---------------------------------------------------------------------------------------------------- */

bool fault_check_members(struct json_object *json, const char *const *allowed, struct error *err)
{
    if (!json_object_is_type(json, json_type_object))
        return error_set(err, ERROR_PERMANENT, "fault", "cannot use the body: an object is needed");
    json_object_object_foreach(json, name, value)
    {
        const char *const *at = allowed;
        (void)value;
        while (*at && strcmp(*at, name) != 0)
            at++;
        if (*at == NULL)
            return error_set(err, ERROR_PERMANENT, "fault",
                             "cannot use \"%.100s\": there is no such member; GET /_admin lists them", name);
    }
    return true;
}

bool fault_number(struct json_object *json, const char *name, int64_t fallback, int64_t low, int64_t high, int64_t *ret,
                  struct error *err)
{
    *ret = json_int_at(json, name, fallback);
    if (*ret >= low && *ret <= high)
        return true;
    return error_set(err, ERROR_PERMANENT, "fault", "cannot take \"%s\" %lld: %lld to %lld are allowed", name,
                     (long long)*ret, (long long)low, (long long)high);
}

/* The place of the text in the list; the first one when it is absent. */
static bool choice(struct json_object *json, const char *name, const char *const *list, size_t count, int *ret,
                   struct error *err)
{
    const char *text = json_text_at(json, name, list[0]);
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(text, list[i]) == 0) {
            *ret = (int)i;
            return true;
        }
    }
    struct buf all = BUF_INIT;
    for (size_t i = 0; i < count; i++)
        buf_printf(&all, "%s%s", i ? ", " : "", list[i]);
    error_set(err, ERROR_PERMANENT, "fault", "cannot take \"%s\" \"%.50s\": one of %s is allowed", name, text,
              buf_cstr(&all));
    buf_release(&all);
    return false;
}

static bool copy_text(struct json_object *json, const char *name, char *ret, size_t size, struct error *err)
{
    const char *text = json_text_at(json, name, "");
    if (strlen(text) >= size)
        return error_set(err, ERROR_PERMANENT, "fault", "cannot take \"%s\": at most %zu bytes are allowed", name,
                         size - 1);
    memcpy(ret, text, strlen(text) + 1);
    return true;
}

/* ---- Which requests --------------------------------------------------------------------------------------------- */

bool fault_pattern_matches(const char *pattern, const char *method)
{
    struct slice rest = slice_str(pattern);
    bool matches = false;
    while (rest.len > 0) {
        char one[FAULTS_TEXT_SIZE];
        struct slice part = slice_trim(slice_cut(&rest, ','));
        bool without = part.len > 0 && part.ptr[0] == '!';
        snprintf(one, sizeof one, "%.*s", (int)(part.len - without), part.ptr + without);
        if (fnmatch(one, method, 0) != 0)
            continue;
        if (without)
            return false;
        matches = true;
    }
    return matches;
}

bool fault_match_parse(struct json_object *json, struct fault_match *ret, struct error *err)
{
    static const char *const places[] = {"request", "response", "point"};
    static const char *const only[] = {"any", "effects"};
    int on = 0, effects = 0;
    const char *pattern = json_text_at(json, "method", "*"), *path = json_text_at(json, "path", NULL);
    if (!choice(json, "on", places, COUNT(places), &on, err) || !choice(json, "only", only, COUNT(only), &effects, err))
        return false;
    if (strlen(pattern) >= FAULTS_TEXT_SIZE)
        return error_set(err, ERROR_PERMANENT, "fault", "cannot take \"method\": at most %d bytes are allowed",
                         FAULTS_TEXT_SIZE - 1);
    ret->pattern = xstrdup(pattern);
    ret->path = path ? xstrdup(path) : NULL;
    ret->on = (enum fault_on)on;
    ret->effects_only = effects == 1;
    return true;
}

void fault_match_release(struct fault_match *match)
{
    free(match->pattern);
    free(match->path);
    *match = (struct fault_match){.pattern = NULL};
}

static bool contains(struct slice text, const char *part)
{
    return text.len > 0 && memmem(text.ptr, text.len, part, strlen(part)) != NULL;
}

bool fault_matches(const struct fault_match *match, enum fault_on on, const struct fault_event *event)
{
    if (match->on != on || (match->effects_only && !event->effect))
        return false;
    if (match->path && !contains(event->target, match->path) && !contains(event->body, match->path))
        return false;
    return fault_pattern_matches(match->pattern, event->method);
}

/* ---- Rules ------------------------------------------------------------------------------------------------------ */

static bool parse_status(struct json_object *json, struct fault *ret, struct error *err)
{
    struct json_object *code = json_at(json, "code");
    int64_t status = DEFAULT_STATUS;
    if (code && !fault_grpc_code(code, &ret->grpc_code))
        return error_set(err, ERROR_PERMANENT, "fault",
                         "cannot take \"code\" \"%.50s\": the name or number of a gRPC error code is allowed",
                         json_object_get_string(code));
    if (code)
        status = http_of_grpc(ret->grpc_code);
    if (!fault_number(json, "status", status, 200, 599, &status, err))
        return false;
    ret->http_status = (int)status;
    if (!code)
        ret->grpc_code = grpc_of_http(ret->http_status);
    return fault_number(json, "retryAfter", 0, 0, 86400, &ret->retry_after_s, err) &&
           copy_text(json, "reason", ret->reason, sizeof ret->reason, err) &&
           copy_text(json, "message", ret->message, sizeof ret->message, err);
}

static bool parse_fault(struct json_object *json, const struct kind *kind, struct fault *ret, struct error *err)
{
    static const char *const bodies[] = {"json", "html", "empty", "garbage"};
    int body = 0;
    bool page_cap = kind->kind == FAULT_PAGE_CAP;
    ret->kind = kind->kind;
    ret->after = kind->says_when ? json_bool_at(json, "after", kind->after) : kind->after;
    if (!choice(json, "body", bodies, COUNT(bodies), &body, err) || !parse_status(json, ret, err))
        return false;
    ret->body = (enum fault_body)body;
    ret->in_band = kind->kind == FAULT_STATUS && json_bool_at(json, "inBand", false);
    return fault_number(json, "delayMs", kind->kind == FAULT_DELAY ? DEFAULT_DELAY_MS : 0, 0, FAULTS_MAX_DELAY_MS,
                        &ret->delay_ms, err) &&
           fault_number(json, "bytes", 0, 0, MAX_BYTES, &ret->bytes, err) &&
           fault_number(json, "rows", page_cap ? 500 : 1, 1, MAX_ROWS, &ret->rows, err) &&
           fault_number(json, "delta", 1, -MAX_COUNT, MAX_COUNT, &ret->delta, err);
}

/* What has no meaning is refused: a test that arms it would wait for nothing. */
static bool check_place(const struct fault_rule *rule, const struct kind *kind, struct error *err)
{
    bool responses = rule->match.on == FAULT_ON_RESPONSE;
    if (responses && (!kind->on_responses || rule->fault.after != kind->after))
        return error_set(err, ERROR_PERMANENT, "fault", "cannot make a fault of kind \"%s\" on responses", kind->name);
    if (responses && rule->fault.delay_ms > 0)
        return error_set(err, ERROR_PERMANENT, "fault", "cannot delay responses");
    return true;
}

bool fault_rule_parse(struct json_object *json, struct fault_rule *ret, struct error *err)
{
    static const char *const members[] = {"method",  "path",   "on",   "only",       "kind",   "count",   "skip",
                                          "after",   "status", "code", "retryAfter", "reason", "message", "body",
                                          "delayMs", "bytes",  "rows", "delta",      "inBand", NULL};
    *ret = (struct fault_rule){.id = 0};
    if (!fault_check_members(json, members, err))
        return false;
    const char *name = json_text_at(json, "kind", "");
    const struct kind *kind = find_kind(name);
    if (kind == NULL)
        return error_set(err, ERROR_PERMANENT, "fault", "cannot make a fault of kind \"%.50s\": there is none", name);
    ret->kind = kind->name;
    return fault_match_parse(json, &ret->match, err) && fault_number(json, "count", 1, 1, MAX_COUNT, &ret->left, err) &&
           fault_number(json, "skip", 0, 0, MAX_COUNT, &ret->skip, err) && parse_fault(json, kind, &ret->fault, err) &&
           check_place(ret, kind, err);
}

void fault_rule_release(struct fault_rule *rule)
{
    fault_match_release(&rule->match);
}
