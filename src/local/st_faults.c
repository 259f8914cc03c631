/* st_faults.c - see st_faults.h.
 *
 * A rule in JSON: "method" (any when absent), "path" (part of the request's path, any when absent), "count" (uses; 1),
 * "skip" (matching requests to let pass first; 0), "kind", and by kind: status       "status" (503), "body" (json |
 * html | empty | garbage), "retryAfter" (seconds) delay        "ms" cut_before   - cut_body     "bytes" (0 = half of
 * them) wrong_total  "delta" extra_field  - ignore_filter - page_cap     "rows" duplicate_rows "rows" expire_token -
 * Thread-safe. */
#include "st_faults.h"

#include <pthread.h>
#include <stdlib.h>
#include <strings.h>

struct rule {
    char *method, *path; /* NULL: any */
    const char *kind;
    int64_t skip, left;
    struct st_fault_effects effects;
};

struct st_faults {
    pthread_mutex_t lock; /* all below */
    struct rule *rules;
    size_t count;
};

struct st_faults *st_faults_new(void)
{
    struct st_faults *faults = xcalloc(1, sizeof *faults);
    pthread_mutex_init(&faults->lock, NULL);
    return faults;
}

static void clear(struct st_faults *faults)
{
    for (size_t i = 0; i < faults->count; i++) {
        free(faults->rules[i].method);
        free(faults->rules[i].path);
    }
    faults->count = 0;
}

void st_faults_clear(struct st_faults *faults)
{
    pthread_mutex_lock(&faults->lock);
    clear(faults);
    pthread_mutex_unlock(&faults->lock);
}

void st_faults_free(struct st_faults *faults)
{
    if (faults == NULL)
        return;
    clear(faults);
    pthread_mutex_destroy(&faults->lock);
    free(faults->rules);
    free(faults);
}

/* ---- Kinds --------------------------------------------------------------------------------------------------------
 */

static bool number(struct json_object *rule, const char *name, int64_t fallback, int64_t low, int64_t high,
                   int64_t *ret, struct error *err)
{
    *ret = json_int_at(rule, name, fallback);
    if (*ret >= low && *ret <= high)
        return true;
    return error_set(err, ERROR_PERMANENT, "fault", "cannot take \"%s\" %lld: %lld to %lld are allowed", name,
                     (long long)*ret, (long long)low, (long long)high);
}

static bool make_status(struct json_object *rule, struct st_fault_effects *ret, struct error *err)
{
    static const char *const bodies[] = {"json", "html", "empty", "garbage"};
    const char *body = json_text_at(rule, "body", "json");
    int64_t status;
    if (!number(rule, "status", 503, 200, 599, &status, err) ||
        !number(rule, "retryAfter", 0, 0, 86400, &ret->retry_after_s, err))
        return false;
    ret->status = (int)status;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
        if (strcasecmp(body, bodies[i]) == 0) {
            ret->body = (enum st_fault_body)i;
            return true;
        }
    return error_set(err, ERROR_PERMANENT, "fault",
                     "cannot make a body \"%s\": json, html, empty or garbage are allowed", body);
}

static bool make_delay(struct json_object *rule, struct st_fault_effects *ret, struct error *err)
{
    return number(rule, "ms", 1000, 0, ST_FAULT_MAX_DELAY_MS, &ret->delay_ms, err);
}

static bool make_cut_before(struct json_object *rule, struct st_fault_effects *ret, struct error *err)
{
    (void)rule;
    (void)err;
    return ret->cut_before = true;
}

static bool make_cut_body(struct json_object *rule, struct st_fault_effects *ret, struct error *err)
{
    ret->cut_body = true;
    return number(rule, "bytes", 0, 0, INT64_MAX, &ret->cut_bytes, err);
}

static bool make_wrong_total(struct json_object *rule, struct st_fault_effects *ret, struct error *err)
{
    return number(rule, "delta", 1, -1000000000, 1000000000, &ret->total_delta, err);
}

static bool make_extra_field(struct json_object *rule, struct st_fault_effects *ret, struct error *err)
{
    (void)rule;
    (void)err;
    return ret->extra_field = true;
}

static bool make_ignore_filter(struct json_object *rule, struct st_fault_effects *ret, struct error *err)
{
    (void)rule;
    (void)err;
    return ret->ignore_filters = true;
}

static bool make_page_cap(struct json_object *rule, struct st_fault_effects *ret, struct error *err)
{
    return number(rule, "rows", 500, 1, ST_FAULT_MAX_ROWS, &ret->page_cap, err);
}

static bool make_duplicate_rows(struct json_object *rule, struct st_fault_effects *ret, struct error *err)
{
    return number(rule, "rows", 1, 1, ST_FAULT_MAX_ROWS, &ret->duplicate_rows, err);
}

static bool make_expire_token(struct json_object *rule, struct st_fault_effects *ret, struct error *err)
{
    (void)rule;
    (void)err;
    return ret->expire_token = true;
}

static const struct kind {
    const char *name;
    bool (*make)(struct json_object *rule, struct st_fault_effects *ret, struct error *err);
} KINDS[] = {
    {"status", make_status},
    {"delay", make_delay},
    {"cut_before", make_cut_before},
    {"cut_body", make_cut_body},
    {"wrong_total", make_wrong_total},
    {"extra_field", make_extra_field},
    {"ignore_filter", make_ignore_filter},
    {"page_cap", make_page_cap},
    {"duplicate_rows", make_duplicate_rows},
    {"expire_token", make_expire_token},
};

static const struct kind *kind_of(const char *name)
{
    for (size_t i = 0; i < sizeof KINDS / sizeof KINDS[0]; i++)
        if (strcasecmp(name, KINDS[i].name) == 0)
            return &KINDS[i];
    return NULL;
}

/* ---- Rules --------------------------------------------------------------------------------------------------------
 */

static char *copy(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

static bool append(struct st_faults *faults, const struct rule *rule, struct error *err)
{
    pthread_mutex_lock(&faults->lock);
    bool room = faults->count < ST_MAX_FAULTS;
    if (room) {
        faults->rules = xrealloc(faults->rules, (faults->count + 1) * sizeof *faults->rules);
        faults->rules[faults->count++] = *rule;
    }
    pthread_mutex_unlock(&faults->lock);
    return room || error_set(err, ERROR_PERMANENT, "fault", "cannot hold more than %d faults", ST_MAX_FAULTS);
}

bool st_faults_add(struct st_faults *faults, struct json_object *json, struct error *err)
{
    struct rule rule = {.kind = NULL};
    const char *name = json_text_at(json, "kind", "");
    const struct kind *kind = kind_of(name);
    if (kind == NULL)
        return error_set(err, ERROR_PERMANENT, "fault", "cannot make a fault of kind \"%s\": there is none", name);
    rule.kind = kind->name;
    if (!number(json, "count", 1, 1, 1000000000, &rule.left, err) ||
        !number(json, "skip", 0, 0, 1000000000, &rule.skip, err) || !kind->make(json, &rule.effects, err))
        return false;
    rule.method = copy(json_text_at(json, "method", NULL));
    rule.path = copy(json_text_at(json, "path", NULL));
    if (append(faults, &rule, err))
        return true;
    free(rule.method);
    free(rule.path);
    return false;
}

static void drop(struct st_faults *faults, size_t at)
{
    free(faults->rules[at].method);
    free(faults->rules[at].path);
    memmove(&faults->rules[at], &faults->rules[at + 1], (faults->count - at - 1) * sizeof *faults->rules);
    faults->count--;
}

void st_faults_take(struct st_faults *faults, const char *method, const char *path, struct st_fault_effects *ret)
{
    *ret = (struct st_fault_effects){0};
    pthread_mutex_lock(&faults->lock);
    for (size_t i = 0; i < faults->count; i++) {
        struct rule *rule = &faults->rules[i];
        if ((rule->method && strcasecmp(rule->method, method) != 0) || (rule->path && strstr(path, rule->path) == NULL))
            continue;
        if (rule->skip > 0) {
            rule->skip--;
            continue;
        }
        *ret = rule->effects;
        if (--rule->left == 0)
            drop(faults, i);
        break;
    }
    pthread_mutex_unlock(&faults->lock);
}

void st_faults_json(struct st_faults *faults, struct buf *out)
{
    pthread_mutex_lock(&faults->lock);
    buf_append_str(out, "{\"faults\":[");
    for (size_t i = 0; i < faults->count; i++) {
        const struct rule *rule = &faults->rules[i];
        buf_printf(out, "%s{\"kind\":\"%s\",\"skip\":%lld,\"count\":%lld,\"path\":", i ? "," : "", rule->kind,
                   (long long)rule->skip, (long long)rule->left);
        buf_append_json_string(out, slice_str(rule->path ? rule->path : ""));
        buf_append_char(out, '}');
    }
    buf_append_str(out, "]}");
    pthread_mutex_unlock(&faults->lock);
}
