/* worker.h - the worker: pulls messages of both lanes, runs their tasks in slots, settles each by its verdict (design 4, 8). */
#ifndef ST_WORKER_WORKER_H
#define ST_WORKER_WORKER_H

#include "dispatch/services.h"

struct worker_options {
    struct services *services; /* Pub/Sub, BigQuery and ServiceTitan open; borrowed */
    struct cancel *shutdown;   /* set by SIGTERM: stop pulling, give back what is unfinished, return */
    int64_t drain_idle_ms;     /* return when both lanes have been empty for so long (real time); 0: never */
};

struct worker_totals {
    int64_t messages, done, retried, rejected, expanded, records;
};

/* Blocks until shutdown or, with drain, until the lanes are empty. False: it could not start, or a stream failed for good. */
bool worker_run(const struct worker_options *options, struct worker_totals *ret, struct error *err) MUST_CHECK;

#endif
