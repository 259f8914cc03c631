/* reload.h - SIGHUP: the settings are read again; the log level and the rates take effect at once, and what else has changed is named
 * as needing a restart. */
#ifndef ST_CMD_RELOAD_H
#define ST_CMD_RELOAD_H

#include <pthread.h>

#include "command.h"

struct reload {
    const struct invocation *in; /* its settings are what the program runs with */
    pthread_mutex_t lock;
    struct services *services; /* under the lock; NULL before they are open and after they are closed */
    struct settings latest;    /* the signals' thread's: read last */
    bool again;                /* latest is set */
};

void reload_init(struct reload *reload, const struct invocation *in);
void reload_release(struct reload *reload); /* after signals_release */
/* Whose rates follow; NULL: nobody's any more. */
void reload_set_services(struct reload *reload, struct services *services);
/* For signals_options.on_hangup. Settings that cannot be read are logged and change nothing. */
void reload_now(void *reload);

#endif
