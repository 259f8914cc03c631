/* faults_hold.c - one request stopped in its way: what is armed, its wait, and who waits for it. */
#include <string.h>

#include "base/clock.h"
#include "faults_internal.h"

bool fault_hold_wants(struct fault_hold *hold, enum fault_on on, const struct fault_event *event, int64_t number)
{
    if (hold->state != HOLD_ARMED)
        return false;
    if (hold->number > 0)
        return on == FAULT_ON_REQUEST && hold->number == number;
    return fault_matches(&hold->match, on, event) && hold->skip-- <= 0;
}

void fault_hold_claim(struct fault_hold *hold, const struct fault_event *event, int64_t number)
{
    size_t len = strlen(event->method);
    len = len < FAULTS_METHOD_SIZE ? len : FAULTS_METHOD_SIZE - 1;
    memcpy(hold->held_method, event->method, len);
    hold->held_method[len] = '\0';
    hold->held_number = number;
    hold->state = HOLD_CLAIMED;
}

bool fault_hold_stay(struct faults *faults, int64_t generation)
{
    struct fault_hold *hold = &faults->hold;
    int64_t deadline = clock_mono_ms() + faults_of_real_ms(FAULTS_MAX_HOLD_REAL_MS);
    if (hold->generation != generation)
        return false;
    hold->state = HOLD_ARRIVED;
    pthread_cond_broadcast(&faults->changed);
    while (hold->generation == generation && clock_mono_ms() < deadline && faults_wait(faults, deadline))
        ;
    return hold->generation == generation + 1 && hold->cut;
}

static void let_go(struct faults *faults, bool cut)
{
    struct fault_hold *hold = &faults->hold;
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
    struct fault_hold *hold = &faults->hold;
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
    struct fault_hold *hold = &faults->hold;
    int64_t generation = hold->generation, deadline = clock_mono_ms() + faults_of_real_ms(wait_real_ms);
    while (hold->generation == generation && (hold->state == HOLD_ARMED || hold->state == HOLD_CLAIMED) &&
           clock_mono_ms() < deadline && faults_wait(faults, deadline))
        ;
    buf_printf(out, "{\"armed\":%s,\"arrived\":%s,\"where\":\"%s\",\"number\":%lld,\"method\":\"%s\"}",
               hold->state == HOLD_NONE ? "false" : "true", hold->state == HOLD_ARRIVED ? "true" : "false",
               hold->after ? "after" : "before", (long long)hold->held_number, hold->held_method);
    pthread_mutex_unlock(&faults->mutex);
}
