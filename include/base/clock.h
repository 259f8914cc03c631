/* clock.h - the one clock of the program.
 *
 * Timers (backoff, leases, breakers, job durations, expiry) read it, so that tests can let hours pass
 * in seconds: with ST_CLOCK_SCALE=S (1..100000) both clocks run S times as fast as real time. The scaled wall clock
 * counts from ST_CLOCK_BASE (Unix seconds, default: the real time at the start of the process), so
 * that processes which share a base agree. Time-outs of sockets stay real. All functions are thread-safe. */
#ifndef ST_BASE_CLOCK_H
#define ST_BASE_CLOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

int64_t clock_wall_us(void); /* microseconds since 1970-01-01T00:00:00Z */
int64_t clock_mono_ms(void); /* never goes back; the base of all deadlines */
int64_t clock_mono_us(void);
double clock_scale(void); /* 1.0 unless a test says otherwise */

/* Waits on cond until the deadline (clock_mono_ms; INT64_MAX: for ever); false when it passed. The condition must have been
 * made by clock_cond_init. Spurious wake-ups return true: callers loop on their own predicate. */
void clock_cond_init(pthread_cond_t *cond);
bool clock_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t deadline_mono_ms);

/* Real milliseconds that correspond to a duration of this clock, rounded up; for poll(), curl, gRPC. */
int64_t clock_real_ms(int64_t duration_ms);
/* The same for waits on a network, which is as slow on a fast clock as on a slow one: a fast clock makes them shorter than
 * duration_ms, but not shorter than least_real_ms. */
int64_t clock_network_ms(int64_t duration_ms, int64_t least_real_ms);

#endif
