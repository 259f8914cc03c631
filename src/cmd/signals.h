/* signals.h - SIGTERM and SIGINT as a request to stop, for the programs that run until they are told. */
#ifndef ST_CMD_SIGNALS_H
#define ST_CMD_SIGNALS_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "base/cancel.h"

struct signals {
    sigset_t set;
    struct cancel *shutdown;
    const char *message;
    atomic_bool over;
    pthread_t thread;
};

/* First of all: a signal that comes before signals_catch waits for it. As the first process of a container the program would not get it
 * at all otherwise, and else be killed by it. */
void signals_block(void);
/* Before any other thread starts: all threads inherit the mask, and only one of its own takes signals. The first one logs the message
 * and sets `shutdown`; the second one ends the program at once. */
void signals_catch(struct signals *signals, struct cancel *shutdown, const char *message);
void signals_release(struct signals *signals);

#endif
