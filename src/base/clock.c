#include "base/clock.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>

enum { CLOCK_MAX_SCALE = 100000 };

/* Written once, before any reader (pthread_once). */
static struct {
    double scale;
    int64_t wall_base_us; /* scaled wall clock = base + (real - base) * scale */
    int64_t mono_base_us;
} state;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int64_t read_us(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void init(void)
{
    const char *scale = getenv("ST_CLOCK_SCALE");
    const char *base = getenv("ST_CLOCK_BASE");
    long wanted = scale ? strtol(scale, NULL, 10) : 1;
    state.scale = wanted >= 1 && wanted <= CLOCK_MAX_SCALE ? (double)wanted : 1.0;
    state.wall_base_us = base ? (int64_t)strtoll(base, NULL, 10) * 1000000 : read_us(CLOCK_REALTIME);
    state.mono_base_us = read_us(CLOCK_MONOTONIC);
}

static bool is_real(void)
{
    pthread_once(&once, init);
    return state.scale <= 1.0;
}

int64_t clock_wall_us(void)
{
    int64_t real = read_us(CLOCK_REALTIME);
    if (is_real())
        return real;
    return state.wall_base_us + (int64_t)((double)(real - state.wall_base_us) * state.scale);
}

int64_t clock_mono_us(void)
{
    int64_t real = read_us(CLOCK_MONOTONIC);
    if (is_real())
        return real;
    return state.mono_base_us + (int64_t)((double)(real - state.mono_base_us) * state.scale);
}

int64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

double clock_scale(void)
{
    is_real();
    return state.scale;
}

int64_t clock_real_ms(int64_t duration_ms)
{
    if (is_real() || duration_ms <= 0)
        return duration_ms;
    return (int64_t)ceil((double)duration_ms / state.scale);
}

int64_t clock_network_ms(int64_t duration_ms, int64_t least_real_ms)
{
    int64_t least_ms = duration_ms < least_real_ms ? duration_ms : least_real_ms;
    int64_t real_ms = clock_real_ms(duration_ms);
    return real_ms > least_ms ? real_ms : least_ms;
}

void clock_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

/* Deadlines from here on, INT64_MAX among them, never come. */
#define NEVER_US (INT64_MAX / 2)

/* The real monotonic moment at which this clock shows deadline_mono_ms. */
static struct timespec real_deadline(int64_t deadline_mono_ms)
{
    int64_t us = deadline_mono_ms < NEVER_US / 1000 ? deadline_mono_ms * 1000 : NEVER_US;
    if (!is_real())
        us = state.mono_base_us + (int64_t)ceil((double)(us - state.mono_base_us) / state.scale);
    if (us < 0)
        us = 0;
    return (struct timespec){us / 1000000, (us % 1000000) * 1000};
}

bool clock_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t deadline_mono_ms)
{
    struct timespec until = real_deadline(deadline_mono_ms);
    return pthread_cond_timedwait(cond, mutex, &until) != ETIMEDOUT;
}
