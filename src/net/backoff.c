/* backoff.c - how long to wait before the next try. One struct backoff per call that is being retried; no thread safety
 * needed. */
#include "net/backoff.h"

#include "base/uuid.h"

void backoff_init(struct backoff *b, struct backoff_policy policy)
{
    b->policy = policy;
    b->retries = 0;
}

void backoff_reset(struct backoff *b)
{
    b->retries = 0;
}

/* first * 2^retries, at most max. */
static int64_t plain_ms(const struct backoff *b)
{
    int64_t ms = b->policy.first_ms;
    for (int i = 0; i < b->retries && ms < b->policy.max_ms; i++)
        ms *= 2;
    return ms < b->policy.max_ms ? ms : b->policy.max_ms;
}

int64_t backoff_next_ms(struct backoff *b, int64_t floor_ms)
{
    if (b->retries >= b->policy.max_retries)
        return -1;
    int64_t plain = plain_ms(b);
    int64_t spread = plain * b->policy.jitter_percent / 100;
    int64_t jitter = (int64_t)(random_u64() % (uint64_t)(2 * spread + 1)) - spread;
    b->retries++;
    return plain + jitter > floor_ms ? plain + jitter : floor_ms;
}
