/* bq_jobs.h - query jobs of the local BigQuery: ids, states, threads, results.
 *
 * A job is recorded in the engine's job store before it runs (that record is what answers 409) and again when it is
 * DONE. Jobs run on a bounded pool of threads of their own; what comes when all are busy is PENDING. The results of
 * the newest QUERY_JOBS_KEPT jobs stay in memory, as BigQuery keeps them for a day; older or restarted ones have their
 * record only. The end of a single DML statement is recorded in its own transaction, so that a job whose changes are
 * there is DONE with success after any crash; any other job that was not DONE when the process died is DONE with
 * backendError when it is looked at again.
 *
 * Thread-safe. Time: jobTimeoutMs runs on base/clock.h, waiting for a job is real time. */
#ifndef ST_LOCAL_BQ_JOBS_H
#define ST_LOCAL_BQ_JOBS_H

#include "bq_engine.h"
#include "faults.h"

enum {
    QUERY_JOBS_KEPT = 512,        /* finished jobs with their results in memory */
    QUERY_JOBS_MAX_ACTIVE = 1000, /* PENDING and RUNNING; more is refused: rateLimitExceeded */
    QUERY_JOBS_MAX_THREADS = 128,
    QUERY_JOBS_REQUEST_ID_MS = 15 * 60 * 1000,
};

struct query_jobs; /* all of them */
struct query_job;  /* one; reference counted */

struct query_jobs *query_jobs_new(struct engine *engine, struct faults *faults); /* borrowed; faults may be NULL */
/* Cancels what runs, wakes all who wait, refuses new jobs. */
void query_jobs_stop(struct query_jobs *jobs);
void query_jobs_free(struct query_jobs *jobs); /* cancels what runs and waits; all references must be back */

struct query_job_spec {
    const char *project;
    const char *job_id;                /* NULL = one is made up */
    const char *request_id;            /* NULL = none; the same one within 15 minutes gives the same job */
    struct json_object *configuration; /* Job.configuration with a checked `query`; borrowed */
};
/* *ret: a reference. 409 duplicate when the id is taken. */
bool query_jobs_insert(struct query_jobs *jobs, const struct query_job_spec *spec, struct query_job **ret,
                       struct error *err) MUST_CHECK;
/* Analyses without running. *ret: a Job resource, owned. */
bool query_jobs_dry_run(struct query_jobs *jobs, const struct query_job_spec *spec, struct json_object **ret,
                        struct error *err) MUST_CHECK;
/* In memory or from the store; 404 notFound. */
bool query_jobs_find(struct query_jobs *jobs, const char *project, const char *job_id, struct query_job **ret,
                     struct error *err) MUST_CHECK;
/* Whether this look at the job (jobs.get, getQueryResults) must not find it yet: the fault bench wants some of them so. */
bool query_job_is_hidden(struct query_job *job);
/* Array of Job resources, newest first, with states as of now. */
struct json_object *query_jobs_list(struct query_jobs *jobs, const char *project, int64_t start, int64_t max,
                                    struct error *err) MUST_CHECK;
bool query_jobs_delete(struct query_jobs *jobs, const char *project, const char *job_id, struct error *err) MUST_CHECK;
/* Asks it to stop; harmless when it is DONE. */
void query_jobs_cancel(struct query_jobs *jobs, struct query_job *job);

void query_job_unref(struct query_job *job); /* NULL is fine */
/* True when DONE within `real_ms`. */
bool query_job_wait(struct query_job *job, int64_t real_ms);
struct json_object *query_job_resource(struct query_job *job); /* a copy, owned */
/* Of a DONE job: true with the error when it failed. */
bool query_job_failed(struct query_job *job, struct error *ret);
/* Of a DONE job: NULL when it failed or its result is gone. Valid as long as the reference. */
const struct engine_result *query_job_result(const struct query_job *job);

struct query_jobs_counts {
    int64_t inserted, succeeded, failed, active;
};
struct query_jobs_counts query_jobs_counts(struct query_jobs *jobs);

#endif
