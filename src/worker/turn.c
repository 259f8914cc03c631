#include "turn.h"

#include "base/clock.h"

bool turn_is_deferred(enum turn turn)
{
    return turn == TURN_TWIN || turn == TURN_AWAY;
}

static bool twin_is_running(const struct turn_view *view, const struct message *message)
{
    for (size_t i = 0; i < view->slots; i++)
        if (view->running[i] && message_is_twin(view->running[i], message))
            return true;
    return false;
}

static size_t running_of(const struct turn_view *view, int64_t tenant)
{
    size_t count = 0;
    for (size_t i = 0; i < view->slots; i++)
        count += view->running[i] && view->running[i]->readable && view->running[i]->task.tenant == tenant;
    return count;
}

/* A run may wait for its source in its slot, all of a tenant's at once: where there are several tenants, one slot is never
 * given to the same as all others. (The backfill lane has one less.) */
static size_t share_of(const struct turn_view *view, enum task_lane lane)
{
    size_t kept = lane == TASK_LANE_BACKFILL ? 2 : 1;
    if (view->settings->tenant_count < 2)
        return view->slots;
    return view->slots > kept ? view->slots - kept : 1;
}

/* A half-open breaker lets one request pass: so only one run goes and looks. */
static bool is_away(const struct turn_view *view, const struct message *message, size_t running)
{
    enum breaker_state breaker = view->breaker(view->user, message->task.tenant);
    return breaker == BREAKER_OPEN || (breaker == BREAKER_HALF_OPEN && running > 0);
}

enum turn turn_of(const struct turn_view *view, const struct message *message)
{
    if (!message->readable || task_is_group(&message->task, view->settings))
        return TURN_NOW;
    size_t running = running_of(view, message->task.tenant);
    if (clock_mono_ms() < message->not_before_ms)
        return TURN_AWAY;
    if (message_may_wait(message) && twin_is_running(view, message))
        return TURN_TWIN;
    if (message_may_wait(message) && is_away(view, message, running))
        return TURN_AWAY;
    return running < share_of(view, message->lane) ? TURN_NOW : TURN_SHARE;
}
