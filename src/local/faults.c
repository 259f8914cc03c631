/* faults.c - see faults.h.
 *
 * One mutex guards everything but the hazards, which are atomic. Whoever waits here (held, delayed, silent) waits on
 * one condition, so that a release, a clear and a stop reach all of them. A hold belongs to a generation: a request
 * that comes back from its wait, or from its effect, learns from it that another hold has taken its place. */
#include "faults.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "faults_rule.h"

struct counts {
    char method[FAULTS_METHOD_SIZE];
    int64_t seen, effects, failed, responses;
};

struct logged { /* one request */
    int64_t number;
    int method; /* place in counts */
    bool effect, failed;
};

struct fired {
    int64_t rule, number; /* 0: a response or a point */
    int method;
    const char *kind;
};

enum hold_state { HOLD_NONE, HOLD_ARMED, HOLD_CLAIMED /* its request has come */, HOLD_ARRIVED /* and waits */ };

struct hold {
    enum hold_state state;
    int64_t generation; /* from 1; rises with every hold and release */
    int64_t number;     /* 0: by match */
    struct fault_match match;
    int64_t skip;
    bool after;
    int64_t held_number; /* since CLAIMED */
    char held_method[FAULTS_METHOD_SIZE];
    bool cut; /* how the last one was released */
};

struct watcher {
    fault_streams_fn *fn;
    void *user;
};

struct faults {
    atomic_llong hazards[HAZARDS];
    pthread_mutex_t mutex; /* all below */
    pthread_cond_t changed;
    bool stopping;
    int64_t clears; /* silences of an earlier one end */
    size_t silent;
    struct fault_rule *rules;
    size_t rule_count;
    int64_t next_rule, total, effects, fired_count;
    struct counts counts[FAULTS_MAX_METHODS];
    int method_count;
    struct logged log[FAULTS_MAX_LOG]; /* rings */
    struct fired fired[FAULTS_MAX_FIRED];
    struct hold hold;
    struct watcher watchers[FAULTS_MAX_SERVERS];
    size_t watcher_count;
};

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

/* Waits for a change; false when the deadline has passed or all stops. Mutex held. */
static bool wait_for_change(struct faults *faults, int64_t deadline_ms)
{
    return !faults->stopping && clock_cond_wait(&faults->changed, &faults->mutex, deadline_ms) && !faults->stopping;
}

/* How much of our clock passes in so much real time. */
static int64_t of_real_ms(int64_t real_ms)
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
    faults->log[number % FAULTS_MAX_LOG] = (struct logged){number, method, event->effect, false};
    *ret_method = method;
    return number;
}

static void count_failure(struct faults *faults, int64_t number, int method)
{
    struct logged *logged = &faults->log[number % FAULTS_MAX_LOG];
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
            (struct fired){rule->id, number, find_method(faults, event->method), rule->kind};
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
        const struct fired *fired = &faults->fired[i % FAULTS_MAX_FIRED];
        buf_printf(out, "%s{\"id\":%lld,\"kind\":\"%s\",\"method\":\"%s\",\"number\":%lld}", i > first ? "," : "",
                   (long long)fired->rule, fired->kind, faults->counts[fired->method].method, (long long)fired->number);
    }
    buf_append_str(out, "]}");
    pthread_mutex_unlock(&faults->mutex);
}

/* ---- Holding ---------------------------------------------------------------------------------------------------- */

static bool hold_wants(struct hold *hold, enum fault_on on, const struct fault_event *event, int64_t number)
{
    if (hold->state != HOLD_ARMED)
        return false;
    if (hold->number > 0)
        return on == FAULT_ON_REQUEST && hold->number == number;
    return fault_matches(&hold->match, on, event) && hold->skip-- <= 0;
}

static void claim_hold(struct hold *hold, const struct fault_event *event, int64_t number)
{
    size_t len = strlen(event->method);
    len = len < FAULTS_METHOD_SIZE ? len : FAULTS_METHOD_SIZE - 1;
    memcpy(hold->held_method, event->method, len);
    hold->held_method[len] = '\0';
    hold->held_number = number;
    hold->state = HOLD_CLAIMED;
}

/* Waits as long as the hold is this one; true when it was released by a cut. Mutex held. */
static bool stay(struct faults *faults, int64_t generation)
{
    struct hold *hold = &faults->hold;
    int64_t deadline = clock_mono_ms() + of_real_ms(FAULTS_MAX_HOLD_REAL_MS);
    if (hold->generation != generation)
        return false;
    hold->state = HOLD_ARRIVED;
    pthread_cond_broadcast(&faults->changed);
    while (hold->generation == generation && clock_mono_ms() < deadline && wait_for_change(faults, deadline))
        ;
    return hold->generation == generation + 1 && hold->cut;
}

static void let_go(struct faults *faults, bool cut)
{
    struct hold *hold = &faults->hold;
    hold->state = HOLD_NONE;
    hold->cut = cut;
    hold->generation++;
    pthread_cond_broadcast(&faults->changed);
}

bool faults_hold(struct faults *faults, struct json_object *json, struct error *err)
{
    static const char *const members[] = {"number", "method", "nth", "where", "on", "only", "path", NULL};
    struct fault_match match = {.pattern = NULL};
    int64_t number, nth;
    const char *where = json_text_at(json, "where", "before");
    bool after = strcmp(where, "after") == 0;
    if (!fault_check_members(json, members, err) || !fault_number(json, "number", 0, 0, INT64_MAX, &number, err) ||
        !fault_number(json, "nth", 1, 1, INT64_MAX, &nth, err))
        return false;
    if (!after && strcmp(where, "before") != 0)
        return error_set(err, ERROR_PERMANENT, "hold", "cannot hold \"%.50s\" the effect: before or after is allowed",
                         where);
    if (!fault_match_parse(json, &match, err))
        return false;
    pthread_mutex_lock(&faults->mutex);
    let_go(faults, false);
    struct hold *hold = &faults->hold;
    fault_match_release(&hold->match);
    hold->match = match;
    hold->number = number;
    hold->skip = nth - 1;
    hold->after = after;
    hold->held_number = 0;
    hold->held_method[0] = '\0';
    hold->generation++;
    hold->state = HOLD_ARMED;
    pthread_mutex_unlock(&faults->mutex);
    return true;
}

void faults_release(struct faults *faults, bool cut)
{
    pthread_mutex_lock(&faults->mutex);
    let_go(faults, cut);
    pthread_mutex_unlock(&faults->mutex);
}

void faults_hold_json(struct faults *faults, int64_t wait_real_ms, struct buf *out)
{
    pthread_mutex_lock(&faults->mutex);
    struct hold *hold = &faults->hold;
    int64_t generation = hold->generation, deadline = clock_mono_ms() + of_real_ms(wait_real_ms);
    while (hold->generation == generation && (hold->state == HOLD_ARMED || hold->state == HOLD_CLAIMED) &&
           clock_mono_ms() < deadline && wait_for_change(faults, deadline))
        ;
    buf_printf(out, "{\"armed\":%s,\"arrived\":%s,\"where\":\"%s\",\"number\":%lld,\"method\":\"%s\"}",
               hold->state == HOLD_NONE ? "false" : "true", hold->state == HOLD_ARRIVED ? "true" : "false",
               hold->after ? "after" : "before", (long long)hold->held_number, hold->held_method);
    pthread_mutex_unlock(&faults->mutex);
}

/* ---- Requests --------------------------------------------------------------------------------------------------- */

/* Mutex held. */
static void wait_out(struct faults *faults, int64_t ms)
{
    int64_t deadline = clock_mono_ms() + ms, clears = faults->clears;
    while (clock_mono_ms() < deadline && clears == faults->clears && wait_for_change(faults, deadline))
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
    if (hold_wants(&faults->hold, FAULT_ON_REQUEST, event, number)) {
        claim_hold(&faults->hold, event, number);
        if (faults->hold.after)
            ret->hold = faults->hold.generation;
        else
            cut = stay(faults, faults->hold.generation);
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
    if (ticket->hold != 0 && stay(faults, ticket->hold)) {
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
    if (hold_wants(&faults->hold, FAULT_ON_POINT, event, 0)) {
        claim_hold(&faults->hold, event, 0);
        stay(faults, faults->hold.generation);
    }
    pthread_mutex_unlock(&faults->mutex);
    return taken;
}

void faults_keep_silent(struct faults *faults)
{
    pthread_mutex_lock(&faults->mutex);
    int64_t deadline = clock_mono_ms() + of_real_ms(FAULTS_MAX_HOLD_REAL_MS), clears = faults->clears;
    if (faults->silent < FAULTS_MAX_WAITING) {
        faults->silent++;
        while (clock_mono_ms() < deadline && clears == faults->clears && wait_for_change(faults, deadline))
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
        const struct logged *logged = &faults->log[number % FAULTS_MAX_LOG];
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
        const struct counts *counts = &faults->counts[i];
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

/* ---- Hazards ---------------------------------------------------------------------------------------------------- */

enum { HOUR_MS = 3600000, APPEND_IDLE_MS = 600000 };

static const struct {
    const char *name;
    int64_t fallback, high;
} SWITCHES[HAZARDS] = {
    [HAZARD_YOUNG_TABLE_MS] = {"youngTableMs", 0, 24LL * HOUR_MS},
    [HAZARD_JOBS_HIDDEN_LOOKS] = {"jobsHiddenLooks", 0, 1000},
    [HAZARD_JOBS_FORGOTTEN_MS] = {"jobsForgottenMs", 0, 366LL * 24 * HOUR_MS},
    [HAZARD_FORGOTTEN_ARE_FREE] = {"forgottenIdsAreFree", 1, 1},
    [HAZARD_APPEND_IDLE_MS] = {"appendIdleMs", APPEND_IDLE_MS, 24LL * HOUR_MS},
};

int64_t faults_hazard(const struct faults *faults, enum hazard hazard)
{
    return faults ? atomic_load(&faults->hazards[hazard]) : SWITCHES[hazard].fallback;
}

bool faults_set_hazards(struct faults *faults, struct json_object *change, struct error *err)
{
    const char *members[HAZARDS + 1] = {NULL};
    int64_t values[HAZARDS];
    for (int i = 0; i < HAZARDS; i++)
        members[i] = SWITCHES[i].name;
    if (!fault_check_members(change, members, err))
        return false;
    for (int i = 0; i < HAZARDS; i++)
        if (!fault_number(change, SWITCHES[i].name, atomic_load(&faults->hazards[i]), 0, SWITCHES[i].high, &values[i],
                          err))
            return false;
    for (int i = 0; i < HAZARDS; i++)
        atomic_store(&faults->hazards[i], values[i]);
    return true;
}

void faults_reset_hazards(struct faults *faults)
{
    for (int i = 0; i < HAZARDS; i++)
        atomic_store(&faults->hazards[i], SWITCHES[i].fallback);
}

void faults_hazards_json(const struct faults *faults, struct buf *out)
{
    for (int i = 0; i < HAZARDS; i++)
        buf_printf(out, "%c\"%s\":%lld", i ? ',' : '{', SWITCHES[i].name, (long long)atomic_load(&faults->hazards[i]));
    buf_append_char(out, '}');
}

/* ---- Streams ---------------------------------------------------------------------------------------------------- */

void faults_watch_streams(struct faults *faults, fault_streams_fn *fn, void *user)
{
    if (!faults)
        return;
    pthread_mutex_lock(&faults->mutex);
    BUG_ON(faults->watcher_count == FAULTS_MAX_SERVERS);
    faults->watchers[faults->watcher_count++] = (struct watcher){fn, user};
    pthread_mutex_unlock(&faults->mutex);
}

void faults_forget_streams(struct faults *faults, const void *user)
{
    if (!faults)
        return;
    pthread_mutex_lock(&faults->mutex);
    for (size_t i = 0; i < faults->watcher_count; i++)
        if (faults->watchers[i].user == user)
            faults->watchers[i] = faults->watchers[--faults->watcher_count];
    pthread_mutex_unlock(&faults->mutex);
}

int faults_act_on_streams(struct faults *faults, const char *pattern, const char *path, enum fault_stream_act act,
                          int grpc_code)
{
    int count = 0;
    pthread_mutex_lock(&faults->mutex); /* a server that stops waits until we are done with it */
    for (size_t i = 0; i < faults->watcher_count; i++)
        count += faults->watchers[i].fn(faults->watchers[i].user, pattern, path, act, grpc_code);
    pthread_mutex_unlock(&faults->mutex);
    return count;
}
