/* listener.h - the worker's own HTTP server: GET /health, /ready and /metrics, for probes and for Prometheus.
 *
 * Off unless WORKER_PORT is set. It only looks: it never waits for a run or for the network. */
#ifndef ST_WORKER_LISTENER_H
#define ST_WORKER_LISTENER_H

#include "run.h"

enum { WORKER_LANES = 2 };

/* What can be seen of a worker at one moment. */
struct worker_view {
    const struct run_env *env;
    struct {
        bool subscribed, open; /* the stream exists; it has answered */
        int64_t queued;        /* messages that wait for a slot */
        struct pubsub_stats stats;
    } lanes[WORKER_LANES];
    size_t slots, slots_busy;
    bool warehouse_answered; /* at the start */
    bool stopping;
    struct error failure; /* of a stream that will not open again; class NONE: none */
};
typedef void worker_look_fn(void *user, struct worker_view *ret);

struct listener_options {
    const struct settings *settings;
    worker_look_fn *look; /* any thread; must not block */
    void *user;
};

struct listener;

/* Without a port *ret is NULL and all is well. A port that cannot be had is an error: whoever asked for probes and metrics must not get a
 * worker that nobody sees. */
bool listener_start(const struct listener_options *options, struct listener **ret, struct error *err) MUST_CHECK;
void listener_stop(struct listener *listener); /* NULL is fine; `look` is not called any more afterwards */

/* gauges.c: what only a look can tell, for a scrape. */
void gauges_collect(const struct worker_view *view);

#endif
