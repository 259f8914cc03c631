/* breaker.h - circuit breaker: CLOSED -> OPEN after `threshold` consecutive failures, HALF_OPEN with one probe after `reset_ms`.
 *
 * One per tenant and host; thread-safe. A call enters and leaves on one thread. */
#ifndef ST_NET_BREAKER_H
#define ST_NET_BREAKER_H

#include "base/error.h"

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

struct breaker;

struct breaker *breaker_new(int threshold, int64_t reset_ms); /* 5, 60000 */
void breaker_free(struct breaker *breaker);
/* fn is told each change of the state once, in order, `failures` in a row behind it; before the first call, and it must not call back. A
 * probe that was abandoned and made again is no change. */
void breaker_watch(struct breaker *breaker, void (*fn)(void *user, enum breaker_state state, int failures), void *user);
/* True: go on (in HALF_OPEN: the caller is the one probe). False: err (RETRY, code "breaker_open", wait_ms until the next probe). */
bool breaker_enter(struct breaker *breaker, struct error *err) MUST_CHECK;
/* What became of the call that breaker_enter let pass. Only failures of transport and 5xx count; 4xx and 429 are `ok`. */
void breaker_leave(struct breaker *breaker, bool ok);
/* Instead of breaker_leave when the call ended without telling anything (cancelled): no failure, no success; a probe is given back. */
void breaker_abandon(struct breaker *breaker);
/* HALF_OPEN also while the probe is due and nobody has made it yet: who waits for an open breaker to change must see that it is time. */
enum breaker_state breaker_state(struct breaker *breaker);
const char *breaker_state_name(enum breaker_state state);

#endif
