/* work.h - spans waiting for a reader: a stack (so that it stays small), shared by the readers of one read.
 * Thread-safe. */
#ifndef ST_SERVICETITAN_WORK_H
#define ST_SERVICETITAN_WORK_H

#include <pthread.h>

#include "windows.h"

struct work {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct span *stack;
    size_t count, capacity;
    int readers; /* threads that live by this stack, started or about to be */
    int busy;    /* those with a span */
    bool stopped;
};

void work_init(struct work *work, int readers);
void work_release(struct work *work);
void work_push(struct work *work, struct span span);
/* The next span; waits while others may still push some. False: all is done, or stopped. Each true is followed by
 * work_done. */
bool work_take(struct work *work, struct span *ret);
void work_done(struct work *work);
bool work_is_hungry(struct work *work); /* more readers are without a span than spans are left */
void work_stop(struct work *work);

#endif
