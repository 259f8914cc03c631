#include "work.h"

#include <stdlib.h>

void work_init(struct work *work, int readers)
{
    *work = (struct work){.readers = readers};
    pthread_mutex_init(&work->mutex, NULL);
    pthread_cond_init(&work->changed, NULL);
}

void work_release(struct work *work)
{
    free(work->stack);
    pthread_cond_destroy(&work->changed);
    pthread_mutex_destroy(&work->mutex);
}

void work_push(struct work *work, struct span span)
{
    pthread_mutex_lock(&work->mutex);
    if (work->count == work->capacity) {
        work->capacity = work->capacity ? 2 * work->capacity : 16;
        work->stack = xrealloc(work->stack, work->capacity * sizeof work->stack[0]);
    }
    work->stack[work->count++] = span;
    pthread_cond_signal(&work->changed);
    pthread_mutex_unlock(&work->mutex);
}

bool work_take(struct work *work, struct span *ret)
{
    pthread_mutex_lock(&work->mutex);
    while (!work->stopped && work->count == 0 && work->busy > 0)
        pthread_cond_wait(&work->changed, &work->mutex);
    bool got = !work->stopped && work->count > 0;
    if (got) {
        *ret = work->stack[--work->count];
        work->busy++;
    }
    pthread_mutex_unlock(&work->mutex);
    return got;
}

void work_done(struct work *work)
{
    pthread_mutex_lock(&work->mutex);
    work->busy--;
    if (work->busy == 0)
        pthread_cond_broadcast(&work->changed);
    pthread_mutex_unlock(&work->mutex);
}

bool work_is_hungry(struct work *work)
{
    pthread_mutex_lock(&work->mutex);
    bool hungry = (size_t)(work->readers - work->busy) > work->count;
    pthread_mutex_unlock(&work->mutex);
    return hungry;
}

void work_stop(struct work *work)
{
    pthread_mutex_lock(&work->mutex);
    work->stopped = true;
    pthread_cond_broadcast(&work->changed);
    pthread_mutex_unlock(&work->mutex);
}
