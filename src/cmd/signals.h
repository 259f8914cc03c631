/* signals.h - SIGTERM and SIGINT as a request to stop, SIGHUP as one to look at the settings again, for the programs that
 * run until they are told. */
#ifndef ST_CMD_SIGNALS_H
#define ST_CMD_SIGNALS_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "base/cancel.h"

struct signals_options {
    struct cancel *shutdown;
    const char *message;           /* logged at the first SIGTERM or SIGINT */
    void (*on_hangup)(void *user); /* at each SIGHUP, on the signals' own thread; ends by itself */
    void *user;
};

struct signals {
    sigset_t set;
    struct signals_options options;
    atomic_bool over;
    pthread_t thread;
};

/* First of all: a signal that comes before signals_catch waits for it. As the first process of a container the program would not get it
 * at all otherwise, and else be killed by it. */
void signals_block(void);
/* Before any other thread starts: all threads inherit the mask, and only one of its own takes signals. The first SIGTERM or SIGINT logs
 * the message and sets `shutdown`; the second one ends the program at once with 128 + its number, as a shell names a program that a
 * signal ended. An orderly end that takes longer than SIGNALS_GRACE_MS of real time is cut short with exit code 0. */
enum { SIGNALS_GRACE_MS = 7000 /* the platform kills 10 s after its SIGTERM; 8 are promised */ };
void signals_catch(struct signals *signals, const struct signals_options *options);
void signals_release(struct signals *signals);

#endif
