#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "turn.h"

enum { SLOTS = 4 };

static enum breaker_state breaker_of(void *user, int64_t tenant)
{
    const enum breaker_state *state = user;
    return tenant == 1 ? *state : BREAKER_CLOSED;
}

static struct message message_of(int64_t tenant, enum task_mode mode, const char *task_id)
{
    struct message message = {.readable = true, .received_ms = clock_mono_ms()};
    snprintf(message.task.entity, sizeof message.task.entity, "jobs");
    snprintf(message.task_id, sizeof message.task_id, "%s", task_id);
    message.task.tenant = tenant;
    message.task.mode = mode;
    return message;
}

/* What runs: so many backfills of tenant 1, so many of tenant 2. The message waits: a backfill, or the twin of the first. */
static const struct {
    const char *name;
    size_t tenants, running_1, running_2;
    enum breaker_state breaker;
    enum task_lane lane;
    bool twin, waited_long, pausing, unreadable, group;
    enum turn turn;
} cases[] = {
    {"nothing runs", .tenants = 2, .turn = TURN_NOW},
    {"its breaker is open", .tenants = 2, .breaker = BREAKER_OPEN, .turn = TURN_AWAY},
    {"its breaker is half open, nobody looks", .tenants = 2, .breaker = BREAKER_HALF_OPEN, .turn = TURN_NOW},
    {"its breaker is half open, one looks", .tenants = 2, .running_1 = 1, .breaker = BREAKER_HALF_OPEN,
     .turn = TURN_AWAY},
    {"half open, another tenant works", .tenants = 2, .running_2 = 1, .breaker = BREAKER_HALF_OPEN, .turn = TURN_NOW},
    {"a twin runs", .tenants = 2, .running_1 = 1, .twin = true, .turn = TURN_TWIN},
    {"a twin runs for very long", .tenants = 2, .running_1 = 1, .twin = true, .waited_long = true, .turn = TURN_NOW},
    {"open for very long", .tenants = 2, .breaker = BREAKER_OPEN, .waited_long = true, .turn = TURN_NOW},
    {"just deferred", .tenants = 2, .pausing = true, .turn = TURN_AWAY},
    {"two slots of four", .tenants = 2, .running_1 = 2, .turn = TURN_NOW},
    {"its share", .tenants = 2, .running_1 = 3, .turn = TURN_SHARE},
    {"its share of the backfill lane", .tenants = 2, .running_1 = 2, .lane = TASK_LANE_BACKFILL, .turn = TURN_SHARE},
    {"the others' share", .tenants = 2, .running_2 = 3, .turn = TURN_NOW},
    {"there are no others", .tenants = 1, .running_1 = 3, .turn = TURN_NOW},
    {"unreadable: it will be rejected", .tenants = 2, .breaker = BREAKER_OPEN, .unreadable = true, .turn = TURN_NOW},
    {"a group: it will be expanded", .tenants = 2, .breaker = BREAKER_OPEN, .group = true, .turn = TURN_NOW},
};

static void who_may_run_now(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct settings settings = {.tenant_count = cases[i].tenants};
        struct message running[SLOTS], waiting = message_of(1, TASK_BACKFILL, cases[i].twin ? "1-0" : "waiting");
        const struct message *slots[SLOTS] = {NULL};
        size_t used = 0;
        char id[24];
        for (size_t n = 0; n < cases[i].running_1 + cases[i].running_2; n++, used++) {
            int64_t tenant = n < cases[i].running_1 ? 1 : 2;
            snprintf(id, sizeof id, "%lld-%zu", (long long)tenant, n);
            running[used] = message_of(tenant, TASK_BACKFILL, id);
            slots[used] = &running[used];
        }
        waiting.lane = cases[i].lane;
        waiting.readable = !cases[i].unreadable;
        if (cases[i].group)
            waiting.task.tenant = 0;
        if (cases[i].waited_long)
            waiting.received_ms -= (MESSAGE_MAX_WAIT_S + 1) * INT64_C(1000);
        if (cases[i].pausing)
            waiting.not_before_ms = clock_mono_ms() + 60000;
        enum breaker_state breaker = cases[i].breaker;
        const struct turn_view view = {&settings, slots, SLOTS, breaker_of, &breaker};
        if (turn_of(&view, &waiting) != cases[i].turn)
            fail_msg("%s: %d", cases[i].name, (int)turn_of(&view, &waiting));
    }
}

static void what_waits_for_something_that_lasts_is_deferred(void **state)
{
    (void)state;
    assert_true(turn_is_deferred(TURN_TWIN));
    assert_true(turn_is_deferred(TURN_AWAY));
    assert_false(turn_is_deferred(TURN_SHARE));
    assert_false(turn_is_deferred(TURN_NOW));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_may_run_now),
        cmocka_unit_test(what_waits_for_something_that_lasts_is_deferred),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
