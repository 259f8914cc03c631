/* bq_jobs.c - runs query jobs on a bounded pool of threads.
 *
 * One mutex guards the table of jobs and every job's resource and state. Statements run outside of it, on a copy of
 * the job's configuration. The watch thread ends jobs whose jobTimeoutMs is over and lets the engine expire tables. */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/uuid.h"
#include "bq_job_resource.h"
#include "bq_jobs.h"

enum {
    BUCKETS = 4096,
    MAX_REQUEST_IDS = 10000,
    EXPIRY_INTERVAL_REAL_MS = 2000,
};

#define NEVER_ENDS_MS (366LL * 24 * 3600 * 1000)

enum job_state {
    JOB_STARTING, /* query_jobs_insert; in the table but not recorded yet; -> PENDING, or freed */
    JOB_PENDING,  /* the queue; -> RUNNING, DONE (cancelled) */
    JOB_RUNNING,  /* a thread of the pool; -> DONE */
    JOB_DONE,     /* nobody changes it any more */
};

struct query_job {
    struct query_jobs *jobs;
    struct query_job *bucket_next;
    struct query_job *queue_next; /* queue of PENDING ones, then list of DONE ones, oldest first */
    char *key;                    /* project:id */
    char *project, *id;
    struct json_object *configuration; /* own copy, for the thread that runs it */
    struct json_object *resource;      /* mutex */
    struct cancel *cancel;
    struct engine_result *result; /* set before DONE, then constant */
    int64_t deadline_ms;          /* clock_mono_ms; INT64_MAX = none */
    struct json_object *recorded; /* the end that was made durable with its statement; its thread's, NULL = none */
    bool timed_out;               /* mutex */
    int64_t hidden_looks;         /* mutex; so many looks do not find it yet */
    enum job_state state;         /* mutex */
    int refs;                     /* mutex */
};

struct request_id {
    char *key; /* project:request id */
    char *job_id;
    int64_t until_ms;
};

struct query_jobs {
    struct engine *engine;
    struct faults *faults;
    pthread_mutex_t mutex; /* all below, and in every job */
    pthread_cond_t work;   /* queue or stopping */
    pthread_cond_t done;   /* a job became DONE; real time */
    pthread_cond_t watch;  /* deadlines changed or stopping; base/clock.h */
    struct query_job *buckets[BUCKETS];
    struct query_job *queue_first, **queue_end;
    struct query_job *kept_first, **kept_end; /* DONE, oldest first; each holds a reference */
    size_t kept;
    size_t idle_threads, thread_count;
    pthread_t threads[QUERY_JOBS_MAX_THREADS];
    pthread_t watcher;
    struct query_jobs_counts counts;
    struct request_id request_ids[MAX_REQUEST_IDS]; /* ring */
    size_t request_id_next;
    bool stopping;
};

/* ---- The table of jobs; under the mutex ------------------------------------------------------------------------- */

static size_t bucket_of(const char *key)
{
    uint64_t hash = 1469598103934665603ULL;
    for (const char *p = key; *p; p++)
        hash = (hash ^ (unsigned char)*p) * 1099511628211ULL;
    return (size_t)(hash % BUCKETS);
}

static struct query_job *table_find(struct query_jobs *jobs, const char *key)
{
    struct query_job *job = jobs->buckets[bucket_of(key)];
    while (job && strcmp(job->key, key) != 0)
        job = job->bucket_next;
    return job;
}

static void table_add(struct query_jobs *jobs, struct query_job *job)
{
    struct query_job **bucket = &jobs->buckets[bucket_of(job->key)];
    job->bucket_next = *bucket;
    *bucket = job;
}

static void table_remove(struct query_jobs *jobs, struct query_job *job)
{
    struct query_job **link = &jobs->buckets[bucket_of(job->key)];
    while (*link && *link != job)
        link = &(*link)->bucket_next;
    if (*link)
        *link = job->bucket_next;
}

static void job_free(struct query_job *job)
{
    engine_result_free(job->result);
    json_object_put(job->configuration);
    json_object_put(job->resource);
    json_object_put(job->recorded);
    cancel_free(job->cancel);
    free(job->key);
    free(job->project);
    free(job->id);
    free(job);
}

static void unref_locked(struct query_job *job, struct query_job **ret_garbage)
{
    *ret_garbage = --job->refs == 0 ? job : NULL;
}

void query_job_unref(struct query_job *job)
{
    struct query_job *garbage;
    if (!job)
        return;
    pthread_mutex_t *mutex = &job->jobs->mutex;
    pthread_mutex_lock(mutex);
    unref_locked(job, &garbage);
    pthread_mutex_unlock(mutex);
    if (garbage)
        job_free(garbage);
}

/* The oldest finished job leaves memory when there are too many; NULL when there are not. */
static struct query_job *drop_oldest(struct query_jobs *jobs)
{
    struct query_job *oldest = jobs->kept_first, *garbage;
    if (jobs->kept <= QUERY_JOBS_KEPT)
        return NULL;
    jobs->kept_first = oldest->queue_next;
    jobs->kept--;
    table_remove(jobs, oldest);
    unref_locked(oldest, &garbage);
    return garbage;
}

static void keep_done(struct query_jobs *jobs, struct query_job *job)
{
    job->queue_next = NULL;
    if (!jobs->kept_first)
        jobs->kept_end = &jobs->kept_first;
    *jobs->kept_end = job;
    jobs->kept_end = &job->queue_next;
    jobs->kept++;
}

static bool set_error(struct error *err, int status, const char *reason, const char *message)
{
    error_set(err, ERROR_PERMANENT, reason, "%s", message);
    if (err)
        err->status = status;
    return false;
}

/* ---- Running ---------------------------------------------------------------------------------------------------- */

static void settle_cancelled(const struct query_job *job, struct error *err)
{
    bool timed_out = job->timed_out;
    if (err->class != ERROR_CANCELLED)
        return;
    err->class = ERROR_PERMANENT;
    if (timed_out)
        error_set(err, ERROR_PERMANENT, "timeout", "Job execution was cancelled: Job timed out after %lld ms",
                  (long long)json_int_at(job->configuration, "jobTimeoutMs", 0));
    else
        error_set(err, ERROR_PERMANENT, "stopped", "Job execution was cancelled: User requested cancellation");
}

static void record_end(struct query_jobs *jobs, struct query_job *job, struct json_object *resource)
{
    struct error err = ERROR_INIT;
    if (!engine_job_update(jobs->engine, job->project, job->id, resource, &err)) {
        struct log_context ctx = {.context = "st-local:bigquery"};
        log_error(&ctx, LOG_MSG("could not record the end of a job"), LOG_STR("jobId", job->id), LOG_ERR(&err));
    }
}

static struct json_object *copy_resource(struct query_jobs *jobs, struct query_job *job)
{
    struct json_object *copy = NULL;
    pthread_mutex_lock(&jobs->mutex);
    if (json_object_deep_copy(job->resource, &copy, NULL) != 0)
        BUG("could not copy a job resource");
    pthread_mutex_unlock(&jobs->mutex);
    return copy;
}

static struct json_object *begin_end(struct query_jobs *jobs, struct query_job *job)
{
    struct json_object *resource = copy_resource(jobs, job);
    int64_t now_ms = clock_wall_us() / 1000;
    if (!json_at(resource, "statistics.startTime"))
        job_resource_set_time(resource, "startTime", now_ms);
    job_resource_set_time(resource, "endTime", now_ms);
    return resource;
}

static struct json_object *success(struct query_jobs *jobs, struct query_job *job, const struct engine_result *result)
{
    struct json_object *resource = begin_end(jobs, job);
    job_resource_set_result(resource, result);
    job_resource_set_state(resource, "DONE");
    return resource;
}

static struct json_object *failure(struct query_jobs *jobs, struct query_job *job, struct error *err)
{
    struct json_object *resource = begin_end(jobs, job);
    pthread_mutex_lock(&jobs->mutex);
    settle_cancelled(job, err);
    pthread_mutex_unlock(&jobs->mutex);
    job_resource_set_error(resource, err);
    job_resource_set_state(resource, "DONE");
    return resource;
}

/* engine_request.job_end: a DML statement is about to commit. */
static struct json_object *record_success(void *user, const struct engine_result *result)
{
    struct query_job *job = user;
    json_object_put(job->recorded);
    job->recorded = success(job->jobs, job, result);
    return json_object_get(job->recorded);
}

/* A point of the fault bench in the life of a job. */
static bool job_point(struct query_jobs *jobs, const struct query_job *job, const char *point, struct fault *ret)
{
    const struct fault_event event = {.method = point,
                                      .target = slice_str(job->id),
                                      .body = slice_str(json_text_at(job->configuration, "query.query", ""))};
    return faults_point(jobs->faults, &event, ret);
}

/* The record is durable before anybody can see DONE: with the statement's own commit where there is one. */
static void end_job(struct query_jobs *jobs, struct query_job *job, bool ok, struct error *err)
{
    struct fault fault;
    if (job_point(jobs, job, "bigquery.job.end", &fault))
        cancel_sleep_ms(NULL, fault.delay_ms);
    struct json_object *resource = ok && job->recorded ? json_object_get(job->recorded)
                                   : ok                ? success(jobs, job, job->result)
                                                       : failure(jobs, job, err);
    if (!ok || !job->recorded)
        record_end(jobs, job, resource);

    pthread_mutex_lock(&jobs->mutex);
    struct json_object *old = job->resource;
    job->resource = resource;
    job->state = JOB_DONE;
    jobs->counts.active--;
    if (ok)
        jobs->counts.succeeded++;
    else
        jobs->counts.failed++;
    keep_done(jobs, job);
    struct query_job *garbage = drop_oldest(jobs);
    pthread_cond_broadcast(&jobs->done);
    pthread_mutex_unlock(&jobs->mutex);
    json_object_put(old);
    if (garbage)
        job_free(garbage);
}

/* Whether the bench lets it run at all; *ret_ms: how long it is to take at least. */
static bool may_run(struct query_jobs *jobs, struct query_job *job, int64_t *ret_ms, struct error *err)
{
    struct fault fault;
    *ret_ms = 0;
    if (!job_point(jobs, job, "bigquery.job.run", &fault))
        return true;
    *ret_ms = fault.kind == FAULT_SILENCE ? NEVER_ENDS_MS : fault.delay_ms;
    if (fault.kind != FAULT_STATUS)
        return true;
    return set_error(err, fault.http_status, fault.reason[0] ? fault.reason : "backendError",
                     fault.message[0] ? fault.message
                                      : "Error encountered during execution. Retrying may solve the problem.");
}

/* What is left of the time that the job is to take; a statement that changed something has taken it already, on the
 * snapshot of its start. */
static bool wait_until(struct query_job *job, int64_t until_ms, struct error *err)
{
    int64_t left = until_ms - clock_mono_ms();
    if (left <= 0 || cancel_sleep_ms(job->cancel, left))
        return true;
    return cancel_check(job->cancel, err);
}

static void run_job(struct query_jobs *jobs, struct query_job *job)
{
    struct engine_request request;
    struct error err = ERROR_INIT;
    int64_t least_ms, start_ms = clock_mono_ms();
    job_engine_request(job->configuration, job->project, &request);
    request.cancel = job->cancel;
    request.job_id = job->id;
    request.job_end = record_success;
    request.job_end_user = job;
    bool ok = cancel_check(job->cancel, &err) && may_run(jobs, job, &least_ms, &err);
    if (ok && least_ms > 0)
        request.dml_duration_ms = least_ms;
    ok = ok && engine_run(jobs->engine, &request, &job->result, &err);
    if (ok && !job->recorded && !wait_until(job, start_ms + least_ms, &err)) {
        engine_result_free(job->result);
        job->result = NULL;
        ok = false;
    }
    end_job(jobs, job, ok, &err);
}

/* NULL: the queue is empty and the manager stops. Jobs that are queued then are cancelled already, and end at once. */
static struct query_job *next_job(struct query_jobs *jobs)
{
    pthread_mutex_lock(&jobs->mutex);
    jobs->idle_threads++;
    while (!jobs->queue_first && !jobs->stopping)
        pthread_cond_wait(&jobs->work, &jobs->mutex);
    jobs->idle_threads--;
    struct query_job *job = jobs->queue_first;
    if (job) {
        jobs->queue_first = job->queue_next;
        if (!jobs->queue_first)
            jobs->queue_end = &jobs->queue_first;
        job->state = JOB_RUNNING;
        job_resource_set_state(job->resource, "RUNNING");
        job_resource_set_time(job->resource, "startTime", clock_wall_us() / 1000);
    }
    pthread_mutex_unlock(&jobs->mutex);
    return job;
}

static void *run_jobs(void *user)
{
    struct query_jobs *jobs = user;
    struct query_job *job;
    while ((job = next_job(jobs)))
        run_job(jobs, job);
    return NULL;
}

static void enqueue_locked(struct query_jobs *jobs, struct query_job *job)
{
    job->queue_next = NULL;
    *jobs->queue_end = job;
    jobs->queue_end = &job->queue_next;
    bool all_busy = jobs->idle_threads == 0;
    if (all_busy && jobs->thread_count < QUERY_JOBS_MAX_THREADS &&
        pthread_create(&jobs->threads[jobs->thread_count], NULL, run_jobs, jobs) == 0)
        jobs->thread_count++;
    pthread_cond_signal(&jobs->work);
    pthread_cond_signal(&jobs->watch);
}

/* ---- Watching --------------------------------------------------------------------------------------------------- */

/* Stops what is over its time; the next deadline. */
static int64_t stop_overdue(struct query_jobs *jobs)
{
    int64_t now = clock_mono_ms(), next = INT64_MAX;
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct query_job *job = jobs->buckets[i]; job; job = job->bucket_next) {
            if (job->state == JOB_STARTING || job->state == JOB_DONE || job->deadline_ms == INT64_MAX || job->timed_out)
                continue;
            if (job->deadline_ms <= now) {
                job->timed_out = true;
                cancel_set(job->cancel, "timeout");
            } else if (job->deadline_ms < next) {
                next = job->deadline_ms;
            }
        }
    }
    return next;
}

static void *watch_jobs(void *user)
{
    struct query_jobs *jobs = user;
    int64_t interval_ms = (int64_t)(EXPIRY_INTERVAL_REAL_MS * clock_scale());
    int64_t expire_at = clock_mono_ms() + interval_ms;
    pthread_mutex_lock(&jobs->mutex);
    while (!jobs->stopping) {
        int64_t deadline = stop_overdue(jobs);
        clock_cond_wait(&jobs->watch, &jobs->mutex, deadline < expire_at ? deadline : expire_at);
        if (jobs->stopping || clock_mono_ms() < expire_at)
            continue;
        pthread_mutex_unlock(&jobs->mutex);
        struct error err = ERROR_INIT;
        if (!engine_expire(jobs->engine, &err)) {
            struct log_context ctx = {.context = "st-local:bigquery"};
            log_warn(&ctx, LOG_MSG("could not expire tables, trying again"), LOG_ERR(&err));
        }
        expire_at = clock_mono_ms() + interval_ms;
        pthread_mutex_lock(&jobs->mutex);
    }
    pthread_mutex_unlock(&jobs->mutex);
    return NULL;
}

/* ---- Inserting -------------------------------------------------------------------------------------------------- */

static char *job_key(const char *project, const char *id)
{
    return xasprintf("%s:%s", project, id);
}

static struct query_job *job_new(struct query_jobs *jobs, const char *project, const char *id)
{
    struct query_job *job = xcalloc(1, sizeof *job);
    job->jobs = jobs;
    job->project = xstrdup(project);
    job->id = xstrdup(id);
    job->key = job_key(project, id);
    job->cancel = cancel_new(NULL);
    job->deadline_ms = INT64_MAX;
    return job;
}

static struct query_job *job_from_spec(struct query_jobs *jobs, const struct query_job_spec *spec)
{
    char made_up[UUID_TEXT_SIZE + 4] = "job_";
    if (!spec->job_id) {
        uuid_generate(made_up + 4);
        for (char *p = made_up; *p; p++)
            *p = *p == '-' ? '_' : *p;
    }
    const char *id = spec->job_id ? spec->job_id : made_up;
    struct query_job *job = job_new(jobs, spec->project, id);
    int64_t timeout_ms = json_int_at(spec->configuration, "jobTimeoutMs", 0);
    if (timeout_ms > 0)
        job->deadline_ms = clock_mono_ms() + timeout_ms;
    job->resource = job_resource_new(spec->project, engine_location(jobs->engine), id, spec->configuration);
    if (json_object_deep_copy(spec->configuration, &job->configuration, NULL) != 0)
        BUG("could not copy a job configuration");
    return job;
}

/* The job that this request id has made in the last 15 minutes; NULL = none. */
static struct request_id *find_request_id(struct query_jobs *jobs, const char *key)
{
    int64_t now = clock_mono_ms();
    for (size_t i = 0; i < MAX_REQUEST_IDS && jobs->request_ids[i].key; i++)
        if (jobs->request_ids[i].until_ms > now && strcmp(jobs->request_ids[i].key, key) == 0)
            return &jobs->request_ids[i];
    return NULL;
}

static void remember_request_id(struct query_jobs *jobs, char *key, const char *job_id)
{
    struct request_id *slot = &jobs->request_ids[jobs->request_id_next];
    jobs->request_id_next = (jobs->request_id_next + 1) % MAX_REQUEST_IDS;
    free(slot->key);
    free(slot->job_id);
    *slot = (struct request_id){key, xstrdup(job_id), clock_mono_ms() + QUERY_JOBS_REQUEST_ID_MS};
}

/* Takes the request id for this job, or tells which job has it; NULL = taken. */
static char *claim_request_id(struct query_jobs *jobs, const struct query_job_spec *spec, const struct query_job *job)
{
    if (!spec->request_id || !spec->request_id[0])
        return NULL;
    char *key = job_key(spec->project, spec->request_id);
    pthread_mutex_lock(&jobs->mutex);
    struct request_id *earlier = find_request_id(jobs, key);
    char *other = earlier ? xstrdup(earlier->job_id) : NULL;
    if (!earlier)
        remember_request_id(jobs, key, job->id);
    pthread_mutex_unlock(&jobs->mutex);
    if (other)
        free(key);
    return other;
}

/* A place in the table, so that whoever looks for the id waits until it is recorded, or refused. */
static bool reserve(struct query_jobs *jobs, struct query_job *job, struct error *err)
{
    pthread_mutex_lock(&jobs->mutex);
    bool full = jobs->counts.active >= QUERY_JOBS_MAX_ACTIVE;
    bool stopping = jobs->stopping;
    struct query_job *other = table_find(jobs, job->key);
    bool taken = other != NULL;
    if (taken)
        other->hidden_looks = faults_hazard(jobs->faults, HAZARD_JOBS_HIDDEN_LOOKS);
    if (!full && !taken && !stopping) {
        jobs->counts.active++;
        job->refs = 2; /* the table's and the caller's */
        table_add(jobs, job);
    }
    pthread_mutex_unlock(&jobs->mutex);
    if (stopping)
        return set_error(err, 503, "backendError", "The server is stopping");
    if (full)
        return set_error(err, 403, "rateLimitExceeded",
                         "Exceeded rate limits: too many concurrent queries for this project_and_region");
    if (!taken)
        return true;
    char *message = xasprintf("Already Exists: Job %s:%s.%s", job->project, engine_location(jobs->engine), job->id);
    set_error(err, 409, "duplicate", message);
    free(message);
    return false;
}

static bool start_job(struct query_jobs *jobs, struct query_job *job, struct error *err)
{
    if (!reserve(jobs, job, err))
        return false;
    bool recorded = engine_job_insert(jobs->engine, job->project, job->id, job->resource, err);
    pthread_mutex_lock(&jobs->mutex);
    if (recorded) {
        job->state = JOB_PENDING;
        job->hidden_looks = faults_hazard(jobs->faults, HAZARD_JOBS_HIDDEN_LOOKS);
        jobs->counts.inserted++;
        enqueue_locked(jobs, job);
    } else {
        table_remove(jobs, job);
        jobs->counts.active--;
    }
    pthread_cond_broadcast(&jobs->done);
    pthread_mutex_unlock(&jobs->mutex);
    return recorded;
}

static void forget_request_id(struct query_jobs *jobs, const struct query_job *job)
{
    pthread_mutex_lock(&jobs->mutex);
    for (size_t i = 0; i < MAX_REQUEST_IDS && jobs->request_ids[i].key; i++)
        if (strcmp(jobs->request_ids[i].job_id, job->id) == 0)
            jobs->request_ids[i].until_ms = 0;
    pthread_mutex_unlock(&jobs->mutex);
}

static bool find_anywhere(struct query_jobs *jobs, const char *project, const char *job_id, struct query_job **ret,
                          struct error *err);
static bool is_forgotten(struct query_jobs *jobs, struct query_job *job);
static bool delete_job(struct query_jobs *jobs, struct query_job *job, struct error *err);

/* What becomes of an id that the service has forgotten is not documented; the bench chooses. */
static void free_forgotten_id(struct query_jobs *jobs, const struct query_job_spec *spec)
{
    struct query_job *job = NULL;
    struct error ignored = ERROR_INIT;
    if (!spec->job_id || faults_hazard(jobs->faults, HAZARD_JOBS_FORGOTTEN_MS) == 0 ||
        faults_hazard(jobs->faults, HAZARD_FORGOTTEN_ARE_FREE) == 0 ||
        !find_anywhere(jobs, spec->project, spec->job_id, &job, &ignored))
        return;
    if (is_forgotten(jobs, job))
        (void)!delete_job(jobs, job, &ignored);
    query_job_unref(job);
}

bool query_jobs_insert(struct query_jobs *jobs, const struct query_job_spec *spec, struct query_job **ret,
                       struct error *err)
{
    free_forgotten_id(jobs, spec);
    struct query_job *job = job_from_spec(jobs, spec);
    char *other = claim_request_id(jobs, spec, job);
    if (other) {
        bool found = query_jobs_find(jobs, spec->project, other, ret, err);
        job_free(job);
        free(other);
        return found;
    }
    if (!start_job(jobs, job, err)) {
        forget_request_id(jobs, job);
        job_free(job);
        return false;
    }
    *ret = job;
    return true;
}

bool query_jobs_dry_run(struct query_jobs *jobs, const struct query_job_spec *spec, struct json_object **ret,
                        struct error *err)
{
    struct engine_request request;
    struct engine_result *result = NULL;
    job_engine_request(spec->configuration, spec->project, &request);
    request.dry_run = true;
    if (!engine_run(jobs->engine, &request, &result, err))
        return false;
    struct json_object *job = job_resource_new(spec->project, engine_location(jobs->engine), NULL, spec->configuration);
    job_resource_set_result(job, result);
    job_resource_set_state(job, "DONE");
    json_put_text(json_at(job, "statistics.query"), "totalBytesProcessedAccuracy", "PRECISE");
    engine_result_free(result);
    *ret = job;
    return true;
}

/* ---- Looking ---------------------------------------------------------------------------------------------------- */

/* What a job was doing when an earlier process died never ended. */
static void settle_orphan(struct query_jobs *jobs, const char *project, const char *id, struct json_object *resource)
{
    struct error lost = ERROR_INIT;
    if (job_resource_is_done(resource))
        return;
    error_set(&lost, ERROR_RETRY, "backendError",
              "The server was restarted while the job ran. Retry with a new job id.");
    job_resource_set_error(resource, &lost);
    job_resource_set_time(resource, "endTime", clock_wall_us() / 1000);
    job_resource_set_state(resource, "DONE");
    struct error err = ERROR_INIT;
    if (!engine_job_update(jobs->engine, project, id, resource, &err)) {
        struct log_context ctx = {.context = "st-local:bigquery"};
        log_error(&ctx, LOG_MSG("could not record the end of a lost job"), LOG_STR("jobId", id), LOG_ERR(&err));
    }
}

static struct query_job *find_in_memory(struct query_jobs *jobs, const char *project, const char *id)
{
    char *key = job_key(project, id);
    pthread_mutex_lock(&jobs->mutex);
    struct query_job *job;
    while ((job = table_find(jobs, key)) && job->state == JOB_STARTING)
        pthread_cond_wait(&jobs->done, &jobs->mutex);
    if (job)
        job->refs++;
    pthread_mutex_unlock(&jobs->mutex);
    free(key);
    return job;
}

static bool find_anywhere(struct query_jobs *jobs, const char *project, const char *job_id, struct query_job **ret,
                          struct error *err)
{
    struct query_job *job = find_in_memory(jobs, project, job_id);
    if (!job) {
        struct json_object *resource = engine_job_get(jobs->engine, project, job_id, err);
        if (!resource)
            return false;
        job = find_in_memory(jobs, project, job_id); /* it may have been recorded between the two looks */
        if (job) {
            json_object_put(resource);
        } else {
            settle_orphan(jobs, project, job_id, resource);
            job = job_new(jobs, project, job_id);
            job->resource = resource;
            job->state = JOB_DONE;
            job->refs = 1;
        }
    }
    *ret = job;
    return true;
}

/* Done, and older than the service remembers. */
static bool is_forgotten(struct query_jobs *jobs, struct query_job *job)
{
    int64_t limit_ms = faults_hazard(jobs->faults, HAZARD_JOBS_FORGOTTEN_MS);
    pthread_mutex_lock(&jobs->mutex);
    bool done = job->state == JOB_DONE;
    int64_t created_ms = json_int_at(job->resource, "statistics.creationTime", 0);
    pthread_mutex_unlock(&jobs->mutex);
    return limit_ms > 0 && done && clock_wall_us() / 1000 - created_ms >= limit_ms;
}

bool query_jobs_find(struct query_jobs *jobs, const char *project, const char *job_id, struct query_job **ret,
                     struct error *err)
{
    struct query_job *job = NULL;
    if (!find_anywhere(jobs, project, job_id, &job, err))
        return false;
    if (!is_forgotten(jobs, job)) {
        *ret = job;
        return true;
    }
    query_job_unref(job);
    char *message = xasprintf("Not found: Job %s:%s.%s", project, engine_location(jobs->engine), job_id);
    set_error(err, 404, "notFound", message);
    free(message);
    return false;
}

bool query_job_is_hidden(struct query_job *job)
{
    pthread_mutex_lock(&job->jobs->mutex);
    bool hidden = job->hidden_looks > 0;
    job->hidden_looks -= hidden;
    pthread_mutex_unlock(&job->jobs->mutex);
    return hidden;
}

struct json_object *query_jobs_list(struct query_jobs *jobs, const char *project, int64_t start, int64_t max,
                                    struct error *err)
{
    struct json_object *stored = engine_job_list(jobs->engine, project, start, max, err);
    if (!stored)
        return NULL;
    struct json_object *list = json_object_new_array();
    for (size_t i = 0; i < json_object_array_length(stored); i++) {
        const char *id = json_text_at(json_object_array_get_idx(stored, i), "jobReference.jobId", "");
        struct query_job *job = NULL;
        struct error gone = ERROR_INIT;
        if (!query_jobs_find(jobs, project, id, &job, &gone))
            continue;
        json_object_array_add(list, query_job_resource(job));
        query_job_unref(job);
    }
    json_object_put(stored);
    return list;
}

static void forget_done(struct query_jobs *jobs, struct query_job *job)
{
    struct query_job **link = &jobs->kept_first;
    while (*link && *link != job)
        link = &(*link)->queue_next;
    if (!*link)
        return;
    *link = job->queue_next;
    if (!*link)
        jobs->kept_end = link;
    jobs->kept--;
    table_remove(jobs, job);
    job->refs--; /* the table's; the caller still holds one */
}

static bool delete_job(struct query_jobs *jobs, struct query_job *job, struct error *err)
{
    pthread_mutex_lock(&jobs->mutex);
    bool done = job->state == JOB_DONE;
    if (done)
        forget_done(jobs, job);
    pthread_mutex_unlock(&jobs->mutex);
    if (done)
        return engine_job_delete(jobs->engine, job->project, job->id, err);
    return set_error(err, 400, "invalid", "Cannot delete a job that is not DONE.");
}

bool query_jobs_delete(struct query_jobs *jobs, const char *project, const char *job_id, struct error *err)
{
    struct query_job *job = NULL;
    if (!query_jobs_find(jobs, project, job_id, &job, err))
        return false;
    bool ok = delete_job(jobs, job, err);
    query_job_unref(job);
    return ok;
}

void query_jobs_cancel(struct query_jobs *jobs, struct query_job *job)
{
    (void)jobs;
    cancel_set(job->cancel, "stopped");
}

bool query_job_wait(struct query_job *job, int64_t real_ms)
{
    struct query_jobs *jobs = job->jobs;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + real_ms % 1000 * 1000000;
    until.tv_sec += (time_t)(real_ms / 1000 + ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    pthread_mutex_lock(&jobs->mutex);
    while (job->state != JOB_DONE && !jobs->stopping && pthread_cond_timedwait(&jobs->done, &jobs->mutex, &until) == 0)
        ;
    bool done = job->state == JOB_DONE;
    pthread_mutex_unlock(&jobs->mutex);
    return done;
}

struct json_object *query_job_resource(struct query_job *job)
{
    return copy_resource(job->jobs, job);
}

bool query_job_failed(struct query_job *job, struct error *ret)
{
    pthread_mutex_lock(&job->jobs->mutex);
    bool failed = job_resource_error(job->resource, ret);
    pthread_mutex_unlock(&job->jobs->mutex);
    return failed;
}

const struct engine_result *query_job_result(const struct query_job *job)
{
    return job->result;
}

struct query_jobs_counts query_jobs_counts(struct query_jobs *jobs)
{
    pthread_mutex_lock(&jobs->mutex);
    struct query_jobs_counts counts = jobs->counts;
    pthread_mutex_unlock(&jobs->mutex);
    return counts;
}

/* ---- Life ------------------------------------------------------------------------------------------------------- */

struct query_jobs *query_jobs_new(struct engine *engine, struct faults *faults)
{
    struct query_jobs *jobs = xcalloc(1, sizeof *jobs);
    jobs->engine = engine;
    jobs->faults = faults;
    jobs->queue_end = &jobs->queue_first;
    jobs->kept_end = &jobs->kept_first;
    pthread_mutex_init(&jobs->mutex, NULL);
    pthread_cond_init(&jobs->work, NULL);
    clock_cond_init(&jobs->watch);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&jobs->done, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&jobs->watcher, NULL, watch_jobs, jobs) != 0)
        BUG("could not start the thread that watches jobs");
    return jobs;
}

void query_jobs_stop(struct query_jobs *jobs)
{
    pthread_mutex_lock(&jobs->mutex);
    jobs->stopping = true;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct query_job *job = jobs->buckets[i]; job; job = job->bucket_next)
            if (job->state != JOB_DONE)
                cancel_set(job->cancel, "stopped");
    pthread_cond_broadcast(&jobs->work);
    pthread_cond_broadcast(&jobs->watch);
    pthread_cond_broadcast(&jobs->done);
    pthread_mutex_unlock(&jobs->mutex);
}

void query_jobs_free(struct query_jobs *jobs)
{
    if (!jobs)
        return;
    query_jobs_stop(jobs);
    pthread_join(jobs->watcher, NULL);
    for (size_t i = 0; i < jobs->thread_count; i++)
        pthread_join(jobs->threads[i], NULL);
    for (struct query_job *job = jobs->kept_first, *next; job; job = next) {
        next = job->queue_next;
        job_free(job);
    }
    for (size_t i = 0; i < MAX_REQUEST_IDS; i++) {
        free(jobs->request_ids[i].key);
        free(jobs->request_ids[i].job_id);
    }
    pthread_cond_destroy(&jobs->done);
    pthread_cond_destroy(&jobs->watch);
    pthread_cond_destroy(&jobs->work);
    pthread_mutex_destroy(&jobs->mutex);
    free(jobs);
}
