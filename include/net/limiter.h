/* limiter.h - token bucket with AIMD: rate requests/s, burst, shrunk by a 429 and grown back by successes.
 *
 * One per tenant; thread-safe; waiters are served in the order they came, those of the background behind all others. A 429 makes the refused request itself wait (its caller's business)
 * and halves the rate for all others (not below 1/s... 10 % of the rate), at most once per second; each second without
 * another 429 gives back 5 % of the full rate. */
#ifndef ST_NET_LIMITER_H
#define ST_NET_LIMITER_H

#include "base/cancel.h"

struct limiter;

struct limiter *limiter_new(double rate_per_second, double burst);
void limiter_free(struct limiter *limiter);
/* Waits for a token. False when cancelled. *ret_waited_ms may be NULL. */
bool limiter_take(struct limiter *limiter, struct cancel *cancel, int64_t *ret_waited_ms, struct error *err) MUST_CHECK;
/* The same for work that may wait: everybody else goes first. */
bool limiter_take_background(struct limiter *limiter, struct cancel *cancel, int64_t *ret_waited_ms,
                             struct error *err) MUST_CHECK;
void limiter_throttled(struct limiter *limiter); /* a 429 came back */
double limiter_rate(struct limiter *limiter);    /* the current, possibly shrunk rate */
void limiter_set_rate(struct limiter *limiter, double rate_per_second, double burst);

#endif
