/* faults_internal.h - the state of the fault bench, for faults*.c.
 *
 * One mutex guards everything but the hazards, which are atomic. Whoever waits here (held, delayed, silent) waits on
 * one condition, so that a release, a clear and a stop reach all of them. A hold belongs to a generation: a request
 * that comes back from its wait, or from its effect, learns from it that another hold has taken its place. */
#ifndef ST_LOCAL_FAULTS_INTERNAL_H
#define ST_LOCAL_FAULTS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "faults_rule.h"

struct fault_counts {
    char method[FAULTS_METHOD_SIZE];
    int64_t seen, effects, failed, responses;
};

struct fault_logged { /* one request */
    int64_t number;
    int method; /* place in counts */
    bool effect, failed;
};

struct fault_fired {
    int64_t rule, number; /* 0: a response or a point */
    int method;
    const char *kind;
};

enum fault_hold_state { HOLD_NONE, HOLD_ARMED, HOLD_CLAIMED /* its request has come */, HOLD_ARRIVED /* and waits */ };

struct fault_hold {
    enum fault_hold_state state;
    int64_t generation; /* from 1; rises with every hold and release */
    int64_t number;     /* 0: by match */
    struct fault_match match;
    int64_t skip;
    bool after;
    int64_t held_number; /* since CLAIMED */
    char held_method[FAULTS_METHOD_SIZE];
    bool cut; /* how the last one was released */
};

struct fault_watcher {
    fault_streams_fn *fn;
    void *user;
};

struct faults {
    atomic_llong hazards[HAZARDS];
    pthread_mutex_t mutex; /* all below */
    pthread_cond_t changed;
    bool stopping;
    int64_t clears; /* silences of an earlier one end */
    size_t silent;
    struct fault_rule *rules;
    size_t rule_count;
    int64_t next_rule, total, effects, fired_count;
    struct fault_counts counts[FAULTS_MAX_METHODS];
    int method_count;
    struct fault_logged log[FAULTS_MAX_LOG]; /* rings */
    struct fault_fired fired[FAULTS_MAX_FIRED];
    struct fault_hold hold;
    struct fault_watcher watchers[FAULTS_MAX_SERVERS];
    size_t watcher_count;
};

/* All with the mutex held. */

/* Waits for a change; false when the deadline (clock_mono_ms) has passed or all stops. */
bool faults_wait(struct faults *faults, int64_t deadline_ms);
int64_t faults_of_real_ms(int64_t real_ms); /* how much of our clock passes in so much real time */
bool fault_hold_wants(struct fault_hold *hold, enum fault_on on, const struct fault_event *event, int64_t number);
void fault_hold_claim(struct fault_hold *hold, const struct fault_event *event, int64_t number);
/* Waits as long as the hold is this one; true when it was released by a cut. */
bool fault_hold_stay(struct faults *faults, int64_t generation);

#endif
