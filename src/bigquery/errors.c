/* errors.c - BigQuery's reasons as class, effect and wait.
 *
 * Reasons decide before HTTP statuses do: rateLimitExceeded comes as 403 and bytesBilledLimitExceeded as 500, so that a
 * program which looks at statuses gives up on the first and hammers on with the second. Some failures share a reason
 * with quite different ones and are known by their text only (the queue of DML statements, the conflict of two mutating
 * statements). */
#include "errors.h"

#include <stdio.h>

#include "bigquery/client.h"

/* Quotas are counted over minutes to a day: an early retry only burns more of them. */
enum { QUOTA_WAIT_MS = 600000, RATE_WAIT_MS = 1000 };

struct reason_row {
    const char *reason;
    enum error_class class;
    enum error_effect effect;
    int64_t wait_ms;
    bool blames_rows;
};

static const struct reason_row reasons[] = {
    {"backendError", ERROR_RETRY, EFFECT_MAYBE, 0, false},
    {"internalError", ERROR_RETRY, EFFECT_MAYBE, 0, false},
    {"badGateway", ERROR_RETRY, EFFECT_MAYBE, 0, false},
    {"jobBackendError", ERROR_RETRY, EFFECT_NONE, 0, false},
    {"jobInternalError", ERROR_RETRY, EFFECT_NONE, 0, false},
    {"tableUnavailable", ERROR_RETRY, EFFECT_NONE, 0, false},
    {"timeout", ERROR_RETRY, EFFECT_NONE, 0, false},
    {"stopped", ERROR_RETRY, EFFECT_NONE, 0, false},
    {"rateLimitExceeded", ERROR_THROTTLED, EFFECT_NONE, RATE_WAIT_MS, false},
    {"jobRateLimitExceeded", ERROR_THROTTLED, EFFECT_NONE, RATE_WAIT_MS, false},
    {"quotaExceeded", ERROR_THROTTLED, EFFECT_NONE, QUOTA_WAIT_MS, false},
    {"bytesBilledLimitExceeded", ERROR_PERMANENT, EFFECT_NONE, 0, true},
    {"resourcesExceeded", ERROR_PERMANENT, EFFECT_NONE, 0, true},
    {"responseTooLarge", ERROR_PERMANENT, EFFECT_NONE, 0, true},
    {"invalidQuery", ERROR_PERMANENT, EFFECT_NONE, 0, true},
    {"invalid", ERROR_PERMANENT, EFFECT_NONE, 0, true},
    {"billingTierLimitExceeded", ERROR_PERMANENT, EFFECT_NONE, 0, true},
    {"badRequest", ERROR_PERMANENT, EFFECT_NONE, 0, false},
    {"invalidUser", ERROR_PERMANENT, EFFECT_NONE, 0, false},
    {"resourceInUse", ERROR_PERMANENT, EFFECT_NONE, 0, false},
    {"accessDenied", ERROR_PERMANENT, EFFECT_NONE, 0, false},
    {"billingNotEnabled", ERROR_PERMANENT, EFFECT_NONE, 0, false},
    {"blocked", ERROR_PERMANENT, EFFECT_NONE, 0, false},
    {"notFound", ERROR_PERMANENT, EFFECT_NONE, 0, false},
    {"duplicate", ERROR_PERMANENT, EFFECT_NONE, 0, false},
    {"notImplemented", ERROR_PERMANENT, EFFECT_NONE, 0, false},
    {"conditionNotMet", ERROR_PERMANENT, EFFECT_NONE, 0, false},
    {"authError", ERROR_PERMANENT, EFFECT_NONE, 0, false},
    {"required", ERROR_PERMANENT, EFFECT_NONE, 0, false},
};

/* Texts that overrule the reason they come with. */
static const struct {
    const char *text;
    enum error_class class;
    int64_t wait_ms;
} texts[] = {
    {"Too many DML statements outstanding", ERROR_THROTTLED, 10000},
    {"Could not serialize access", ERROR_RETRY, 0},
    {"too many table update operations", ERROR_THROTTLED, 10000},
    {"too many concurrent queries", ERROR_THROTTLED, 10000},
};

static const struct reason_row *find_reason(const char *reason)
{
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (strcmp(reasons[i].reason, reason) == 0)
            return &reasons[i];
    return NULL;
}

static struct reason_row from_status(int status)
{
    if (status == 429)
        return (struct reason_row){"", ERROR_THROTTLED, EFFECT_NONE, RATE_WAIT_MS, false};
    if (status == 408 || status >= 500)
        return (struct reason_row){"", status == 501 ? ERROR_PERMANENT : ERROR_RETRY, EFFECT_MAYBE, 0, false};
    return (struct reason_row){"", ERROR_PERMANENT, EFFECT_NONE, 0, false};
}

static void overrule_by_text(struct reason_row *row, const char *message)
{
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (!strcasestr(message, texts[i].text))
            continue;
        row->class = texts[i].class;
        row->wait_ms = texts[i].wait_ms;
        row->blames_rows = false;
        return;
    }
}

/* One wording for all: "<what>: <reason>: <message>". */
static bool fill(struct error *err, struct reason_row row, int status, const char *reason, const char *message,
                 const char *what)
{
    char code[ERROR_CODE_SIZE];
    if (!err)
        return false;
    overrule_by_text(&row, message);
    if (reason[0])
        snprintf(code, sizeof code, "%s", reason);
    else
        snprintf(code, sizeof code, "http_%d", status);
    error_set(err, row.class, code, "%s %s: %s: %s", row.class == ERROR_PERMANENT ? "cannot" : "could not", what, code,
              message[0] ? message : "no message");
    err->effect = row.effect;
    err->wait_ms = row.class == ERROR_THROTTLED ? row.wait_ms : 0;
    err->status = status;
    return false;
}

bool bq_error(struct error *err, int http_status, struct slice body, const char *what)
{
    struct json_object *json = body.len ? json_parse(body, what, NULL) : NULL;
    struct json_object *errors = json_at(json, "error.errors");
    struct json_object *first =
        json_object_is_type(errors, json_type_array) ? json_object_array_get_idx(errors, 0) : NULL;
    const char *reason = first ? json_text_at(first, "reason", "") : "";
    const char *message = json_text_at(json, "error.message", first ? json_text_at(first, "message", "") : "");
    const struct reason_row *known = find_reason(reason);
    fill(err, known ? *known : from_status(http_status), http_status, reason, message, what);
    json_object_put(json);
    return false;
}

bool bq_job_error(struct error *err, struct json_object *error_result, const char *what)
{
    const char *reason = json_text_at(error_result, "reason", "");
    const struct reason_row *known = find_reason(reason);
    struct reason_row row = known ? *known : (struct reason_row){"", ERROR_PERMANENT, EFFECT_NONE, 0, false};
    row.effect = EFFECT_NONE;
    return fill(err, row, 0, reason[0] ? reason : "job_failed", json_text_at(error_result, "message", ""), what);
}

bool bq_reason_blames_rows(const char *reason)
{
    const struct reason_row *row = find_reason(reason);
    return row && row->blames_rows;
}

bool bq_reason_class(const char *reason, enum error_class *ret_class)
{
    const struct reason_row *row = find_reason(reason);
    if (row)
        *ret_class = row->class;
    return row != NULL;
}
