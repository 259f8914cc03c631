/* pubsub_timer.c - the timers of the local Pub/Sub server: a binary heap of due times and one thread.
 *
 * Leases, backoffs, waiting pulls and idle streams are timers inside their own structs; setting one again moves it. The
 * thread sleeps until the earliest is due and fires with the server's mutex held, so that a fire sees a consistent
 * state. */
#include <stdlib.h>

#include "base/clock.h"
#include "pubsub_internal.h"

static void put(struct ps_timers *timers, size_t place, struct ps_timer *timer)
{
    timers->heap[place - 1] = timer;
    timer->place = place;
}

static void sift_up(struct ps_timers *timers, struct ps_timer *timer)
{
    size_t place = timer->place;
    while (place > 1 && timers->heap[place / 2 - 1]->due_ms > timer->due_ms) {
        put(timers, place, timers->heap[place / 2 - 1]);
        place /= 2;
    }
    put(timers, place, timer);
}

static void sift_down(struct ps_timers *timers, struct ps_timer *timer)
{
    size_t place = timer->place;
    for (;;) {
        size_t child = place * 2;
        if (child > timers->count)
            break;
        if (child < timers->count && timers->heap[child]->due_ms < timers->heap[child - 1]->due_ms)
            child++;
        if (timers->heap[child - 1]->due_ms >= timer->due_ms)
            break;
        put(timers, place, timers->heap[child - 1]);
        place = child;
    }
    put(timers, place, timer);
}

void ps_timer_cancel(struct pubsub_server *server, struct ps_timer *timer)
{
    struct ps_timers *timers = &server->timers;
    if (timer->place == 0)
        return;
    size_t place = timer->place;
    struct ps_timer *last = timers->heap[timers->count - 1];
    timers->count--;
    timer->place = 0;
    if (last == timer)
        return;
    put(timers, place, last);
    sift_up(timers, last);
    sift_down(timers, last);
}

void ps_timer_set(struct pubsub_server *server, struct ps_timer *timer, int64_t due_ms)
{
    struct ps_timers *timers = &server->timers;
    ps_timer_cancel(server, timer);
    if (timers->count == timers->cap) {
        timers->cap = timers->cap ? timers->cap * 2 : 256;
        timers->heap = xrealloc(timers->heap, timers->cap * sizeof(struct ps_timer *));
    }
    timer->due_ms = due_ms;
    timers->count++;
    put(timers, timers->count, timer);
    sift_up(timers, timer);
    if (timer->place == 1)
        pthread_cond_signal(&timers->changed);
}

static void *timer_thread(void *arg)
{
    struct pubsub_server *server = arg;
    struct ps_timers *timers = &server->timers;
    pthread_mutex_lock(&server->mutex);
    while (!timers->stopping) {
        if (timers->count == 0) {
            pthread_cond_wait(&timers->changed, &server->mutex);
            continue;
        }
        struct ps_timer *first = timers->heap[0];
        if (first->due_ms > clock_mono_ms()) {
            clock_cond_wait(&timers->changed, &server->mutex, first->due_ms);
            continue;
        }
        ps_timer_cancel(server, first);
        first->fire(server, first);
    }
    pthread_mutex_unlock(&server->mutex);
    return NULL;
}

void ps_timers_start(struct pubsub_server *server)
{
    clock_cond_init(&server->timers.changed);
    BUG_ON(pthread_create(&server->timers.thread, NULL, timer_thread, server) != 0);
}

void ps_timers_stop(struct pubsub_server *server)
{
    pthread_mutex_lock(&server->mutex);
    server->timers.stopping = true;
    pthread_cond_signal(&server->timers.changed);
    pthread_mutex_unlock(&server->mutex);
    pthread_join(server->timers.thread, NULL);
    pthread_cond_destroy(&server->timers.changed);
    free(server->timers.heap);
    server->timers.heap = NULL;
}
