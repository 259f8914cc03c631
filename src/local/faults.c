/* faults.c - see faults.h, and faults_internal.h for its state: rules, counters, and the way of a request. */
#include <stdlib.h>

#include "base/clock.h"
#include "faults_internal.h"

/* ---- Life ------------------------------------------------------------------------------------------------------- */

struct faults *faults_new(void)
{
    struct faults *faults = xcalloc(1, sizeof *faults);
    pthread_mutex_init(&faults->mutex, NULL);
    clock_cond_init(&faults->changed);
    faults->next_rule = 1;
    faults_reset_hazards(faults);
    return faults;
}

void faults_stop(struct faults *faults)
{
    if (!faults)
        return;
    pthread_mutex_lock(&faults->mutex);
    faults->stopping = true;
    pthread_cond_broadcast(&faults->changed);
    pthread_mutex_unlock(&faults->mutex);
}

static void drop_rules(struct faults *faults)
{
    for (size_t i = 0; i < faults->rule_count; i++)
        fault_rule_release(&faults->rules[i]);
    faults->rule_count = 0;
}

void faults_free(struct faults *faults)
{
    if (!faults)
        return;
    drop_rules(faults);
    fault_match_release(&faults->hold.match);
    pthread_cond_destroy(&faults->changed);
    pthread_mutex_destroy(&faults->mutex);
    free(faults->rules);
    free(faults);
}

bool faults_wait(struct faults *faults, int64_t deadline_ms)
{
    return !faults->stopping && clock_cond_wait(&faults->changed, &faults->mutex, deadline_ms) && !faults->stopping;
}

int64_t faults_of_real_ms(int64_t real_ms)
{
    return (int64_t)((double)real_ms * clock_scale());
}

/* ---- Counting; mutex held --------------------------------------------------------------------------------------- */

static int find_method(struct faults *faults, const char *method)
{
    int i = 0;
    while (i < faults->method_count && strncmp(faults->counts[i].method, method, FAULTS_METHOD_SIZE - 1) != 0)
        i++;
    if (i < faults->method_count)
        return i;
    if (faults->method_count == FAULTS_MAX_METHODS - 1)
        method = "other";
    if (faults->method_count == FAULTS_MAX_METHODS)
        return FAULTS_MAX_METHODS - 1;
    size_t len = strlen(method) < FAULTS_METHOD_SIZE ? strlen(method) : FAULTS_METHOD_SIZE - 1;
    memcpy(faults->counts[i].method, method, len);
    return faults->method_count++;
}

static int64_t count_request(struct faults *faults, const struct fault_event *event, int *ret_method)
{
    int method = find_method(faults, event->method);
    int64_t number = ++faults->total;
    faults->counts[method].seen++;
    faults->counts[method].effects += event->effect;
    faults->effects += event->effect;
    faults->log[number % FAULTS_MAX_LOG] = (struct fault_logged){number, method, event->effect, false};
    *ret_method = method;
    return number;
}

static void count_failure(struct faults *faults, int64_t number, int method)
{
    struct fault_logged *logged = &faults->log[number % FAULTS_MAX_LOG];
    if (logged->number != number || logged->failed)
        return;
    logged->failed = true;
    faults->counts[method].failed++;
}

/* ---- Rules ------------------------------------------------------------------------------------------------------ */

static void drop_rule(struct faults *faults, size_t at)
{
    fault_rule_release(&faults->rules[at]);
    faults->rule_count--;
    memmove(&faults->rules[at], &faults->rules[at + 1], (faults->rule_count - at) * sizeof *faults->rules);
}

static bool is_failure(const struct fault *fault)
{
    return fault->kind == FAULT_STATUS || fault->kind == FAULT_CUT || fault->kind == FAULT_SILENCE ||
           fault->kind == FAULT_IGNORE || fault->kind == FAULT_GARBAGE || fault->kind == FAULT_TRUNCATE ||
           fault->kind == FAULT_EXPIRE_TOKEN;
}

/* The first rule that matches and has let enough pass. Mutex held. */
static bool take_rule(struct faults *faults, enum fault_on on, const struct fault_event *event, int64_t number,
                      struct fault *ret)
{
    for (size_t i = 0; i < faults->rule_count; i++) {
        struct fault_rule *rule = &faults->rules[i];
        if (!fault_matches(&rule->match, on, event) || rule->skip-- > 0)
            continue;
        rule->skip = 0;
        *ret = rule->fault;
        faults->fired[faults->fired_count++ % FAULTS_MAX_FIRED] =
            (struct fault_fired){rule->id, number, find_method(faults, event->method), rule->kind};
        if (--rule->left == 0)
            drop_rule(faults, i);
        return true;
    }
    return false;
}

bool faults_add(struct faults *faults, struct json_object *json, int64_t *ret_id, struct error *err)
{
    struct fault_rule rule;
    if (!fault_rule_parse(json, &rule, err)) {
        fault_rule_release(&rule);
        return false;
    }
    pthread_mutex_lock(&faults->mutex);
    bool room = faults->rule_count < FAULTS_MAX_RULES;
    if (room) {
        rule.id = *ret_id = faults->next_rule++;
        faults->rules = xrealloc(faults->rules, (faults->rule_count + 1) * sizeof *faults->rules);
        faults->rules[faults->rule_count++] = rule;
    }
    pthread_mutex_unlock(&faults->mutex);
    if (room)
        return true;
    fault_rule_release(&rule);
    return error_set(err, ERROR_PERMANENT, "fault", "cannot hold more than %d faults", FAULTS_MAX_RULES);
}

void faults_clear(struct faults *faults)
{
    pthread_mutex_lock(&faults->mutex);
    drop_rules(faults);
    faults->clears++;
    faults->fired_count = 0;
    pthread_cond_broadcast(&faults->changed);
    pthread_mutex_unlock(&faults->mutex);
}

static void put_rule(const struct fault_rule *rule, struct buf *out)
{
    static const char *const places[] = {"request", "response", "point"};
    buf_printf(out, "{\"id\":%lld,\"kind\":\"%s\",\"method\":", (long long)rule->id, rule->kind);
    buf_append_json_string(out, slice_str(rule->match.pattern));
    buf_printf(out, ",\"on\":\"%s\",\"skip\":%lld,\"count\":%lld", places[rule->match.on], (long long)rule->skip,
               (long long)rule->left);
    if (rule->match.path) {
        buf_append_str(out, ",\"path\":");
        buf_append_json_string(out, slice_str(rule->match.path));
    }
    buf_append_char(out, '}');
}

void faults_json(struct faults *faults, struct buf *out)
{
    pthread_mutex_lock(&faults->mutex);
    buf_append_str(out, "{\"faults\":[");
    for (size_t i = 0; i < faults->rule_count; i++) {
        buf_append_str(out, i ? "," : "");
        put_rule(&faults->rules[i], out);
    }
    int64_t first = faults->fired_count > FAULTS_MAX_FIRED ? faults->fired_count - FAULTS_MAX_FIRED : 0;
    buf_printf(out, "],\"firedCount\":%lld,\"fired\":[", (long long)faults->fired_count);
    for (int64_t i = first; i < faults->fired_count; i++) {
        const struct fault_fired *fired = &faults->fired[i % FAULTS_MAX_FIRED];
        buf_printf(out, "%s{\"id\":%lld,\"kind\":\"%s\",\"method\":\"%s\",\"number\":%lld}", i > first ? "," : "",
                   (long long)fired->rule, fired->kind, faults->counts[fired->method].method, (long long)fired->number);
    }
    buf_append_str(out, "]}");
    pthread_mutex_unlock(&faults->mutex);
}

/* ---- Requests --------------------------------------------------------------------------------------------------- */

/* Mutex held. */
static void wait_out(struct faults *faults, int64_t ms)
{
    int64_t deadline = clock_mono_ms() + ms, clears = faults->clears;
    while (clock_mono_ms() < deadline && clears == faults->clears && faults_wait(faults, deadline))
        ;
}

static bool is_late_answer(const struct fault *fault)
{
    return fault->kind == FAULT_DELAY && fault->after;
}

void faults_request(struct faults *faults, const struct fault_event *event, struct fault_ticket *ret)
{
    int method;
    *ret = (struct fault_ticket){.number = 0};
    if (!faults)
        return;
    pthread_mutex_lock(&faults->mutex);
    int64_t number = ret->number = count_request(faults, event, &method);
    take_rule(faults, FAULT_ON_REQUEST, event, number, &ret->fault);
    bool cut = false;
    if (fault_hold_wants(&faults->hold, FAULT_ON_REQUEST, event, number)) {
        fault_hold_claim(&faults->hold, event, number);
        if (faults->hold.after)
            ret->hold = faults->hold.generation;
        else
            cut = fault_hold_stay(faults, faults->hold.generation);
    }
    if (cut)
        ret->fault = (struct fault){.kind = FAULT_CUT};
    if (ret->fault.delay_ms > 0 && !is_late_answer(&ret->fault))
        wait_out(faults, ret->fault.delay_ms);
    if (is_failure(&ret->fault))
        count_failure(faults, number, method);
    pthread_mutex_unlock(&faults->mutex);
}

bool fault_waits_for_effect(const struct fault_ticket *ticket)
{
    return ticket->hold != 0 || ticket->fault.after;
}

void faults_effect(struct faults *faults, struct fault_ticket *ticket)
{
    if (!faults || (ticket->hold == 0 && !is_late_answer(&ticket->fault)))
        return;
    pthread_mutex_lock(&faults->mutex);
    if (is_late_answer(&ticket->fault))
        wait_out(faults, ticket->fault.delay_ms);
    if (ticket->hold != 0 && fault_hold_stay(faults, ticket->hold)) {
        ticket->fault = (struct fault){.kind = FAULT_CUT, .after = true};
        count_failure(faults, ticket->number, faults->log[ticket->number % FAULTS_MAX_LOG].method);
    }
    pthread_mutex_unlock(&faults->mutex);
    ticket->hold = 0;
}

bool faults_take(struct faults *faults, enum fault_on on, const struct fault_event *event, struct fault *ret)
{
    *ret = (struct fault){.kind = FAULT_NONE};
    if (!faults)
        return false;
    pthread_mutex_lock(&faults->mutex);
    if (on == FAULT_ON_RESPONSE)
        faults->counts[find_method(faults, event->method)].responses++;
    bool taken = take_rule(faults, on, event, 0, ret);
    pthread_mutex_unlock(&faults->mutex);
    return taken;
}

bool faults_point(struct faults *faults, const struct fault_event *event, struct fault *ret)
{
    bool taken = faults_take(faults, FAULT_ON_POINT, event, ret);
    if (!faults)
        return false;
    pthread_mutex_lock(&faults->mutex);
    if (fault_hold_wants(&faults->hold, FAULT_ON_POINT, event, 0)) {
        fault_hold_claim(&faults->hold, event, 0);
        fault_hold_stay(faults, faults->hold.generation);
    }
    pthread_mutex_unlock(&faults->mutex);
    return taken;
}

void faults_keep_silent(struct faults *faults)
{
    pthread_mutex_lock(&faults->mutex);
    int64_t deadline = clock_mono_ms() + faults_of_real_ms(FAULTS_MAX_HOLD_REAL_MS), clears = faults->clears;
    if (faults->silent < FAULTS_MAX_WAITING) {
        faults->silent++;
        while (clock_mono_ms() < deadline && clears == faults->clears && faults_wait(faults, deadline))
            ;
        faults->silent--;
    }
    pthread_mutex_unlock(&faults->mutex);
}

/* ---- Counters --------------------------------------------------------------------------------------------------- */

static void put_log(const struct faults *faults, int64_t since, struct buf *out)
{
    int64_t first = faults->total >= FAULTS_MAX_LOG ? faults->total - FAULTS_MAX_LOG + 1 : 1;
    first = since + 1 > first ? since + 1 : first;
    buf_append_str(out, ",\"log\":[");
    for (int64_t number = first; number <= faults->total; number++) {
        const struct fault_logged *logged = &faults->log[number % FAULTS_MAX_LOG];
        buf_printf(out, "%s{\"number\":%lld,\"method\":\"%s\",\"effect\":%s,\"failed\":%s}", number > first ? "," : "",
                   (long long)number, faults->counts[logged->method].method, logged->effect ? "true" : "false",
                   logged->failed ? "true" : "false");
    }
    buf_append_char(out, ']');
}

void faults_requests_json(struct faults *faults, int64_t since, struct buf *out)
{
    const char *separator = "";
    pthread_mutex_lock(&faults->mutex);
    buf_printf(out, "{\"total\":%lld,\"effects\":%lld,\"methods\":{", (long long)faults->total,
               (long long)faults->effects);
    for (int i = 0; i < faults->method_count; i++) {
        const struct fault_counts *counts = &faults->counts[i];
        if (counts->seen + counts->responses == 0)
            continue;
        buf_printf(out, "%s\"%s\":{\"seen\":%lld,\"effects\":%lld,\"failed\":%lld,\"responses\":%lld}", separator,
                   counts->method, (long long)counts->seen, (long long)counts->effects, (long long)counts->failed,
                   (long long)counts->responses);
        separator = ",";
    }
    buf_append_char(out, '}');
    if (since >= 0)
        put_log(faults, since, out);
    buf_append_char(out, '}');
    pthread_mutex_unlock(&faults->mutex);
}

void faults_requests_reset(struct faults *faults)
{
    pthread_mutex_lock(&faults->mutex);
    faults->total = faults->effects = 0;
    for (int i = 0; i < faults->method_count; i++)
        faults->counts[i].seen = faults->counts[i].effects = faults->counts[i].failed = faults->counts[i].responses = 0;
    memset(faults->log, 0, sizeof faults->log);
    pthread_mutex_unlock(&faults->mutex);
}
