/* bq_engine.c - opening and closing the engine, the job store, small shared helpers. */
#include "bq_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"

#define DEFAULT_MEMORY_BYTES (4LL * 1000 * 1000 * 1000)
enum { DEFAULT_THREADS = 2 };

bool bq_fail(struct error *err, const char *reason, int status, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    error_setv(err, ERROR_PERMANENT, reason, fmt, args);
    va_end(args);
    if (err)
        err->status = status;
    return false;
}

static bool make_folder(const char *path, struct error *err)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return true;
    return error_errno(err, errno, "cannot make folder '%s'", path);
}

static bool open_parts(struct engine *engine, const struct engine_options *options, struct error *err)
{
    char *file = xasprintf("%s/bigquery.duckdb", options->folder), *temp = xasprintf("%s/tmp", options->folder);
    int64_t memory = options->memory_limit_bytes > 0 ? options->memory_limit_bytes : DEFAULT_MEMORY_BYTES;
    int threads = options->threads > 0 ? options->threads : DEFAULT_THREADS;
    bool ok = make_folder(options->folder, err) && make_folder(temp, err);
    ok = ok && (engine->duck = duck_open(file, temp, memory, threads, err)) != NULL;
    ok = ok && udf_register(engine->duck, err);
    if (ok) {
        engine->catalog_is_open = true;
        ok = catalog_open(&engine->catalog, engine->duck, err);
    }
    duckdb_connection conn = ok ? duck_borrow(engine->duck, err) : NULL;
    ok = conn && duck_int(conn, "SELECT coalesce(max(seq), 0) + 1 FROM cat.jobs", 1, &engine->jobs.next_seq, err);
    if (conn)
        duck_return(engine->duck, conn);
    free(file);
    free(temp);
    return ok;
}

struct engine *engine_open(const struct engine_options *options, struct error *err)
{
    struct engine *engine = xcalloc(1, sizeof *engine);
    engine->folder = xstrdup(options->folder);
    engine->location = xstrdup(options->location ? options->location : "US");
    atomic_init(&engine->dml_duration_ms, options->dml_duration_ms);
    atomic_init(&engine->max_job_partitions,
                options->max_job_partitions > 0 ? options->max_job_partitions : ENGINE_MAX_JOB_PARTITIONS);
    pthread_mutex_init(&engine->dml.mutex, NULL);
    clock_cond_init(&engine->dml.cond);
    pthread_mutex_init(&engine->jobs.mutex, NULL);
    if (open_parts(engine, options, err))
        return engine;
    engine_close(engine);
    return NULL;
}

void engine_close(struct engine *engine)
{
    if (!engine)
        return;
    while (engine->dml.queues) {
        struct dml_queue *queue = engine->dml.queues;
        engine->dml.queues = queue->next;
        free(queue);
    }
    if (engine->catalog_is_open)
        catalog_close(&engine->catalog);
    duck_close(engine->duck);
    pthread_mutex_destroy(&engine->dml.mutex);
    pthread_cond_destroy(&engine->dml.cond);
    pthread_mutex_destroy(&engine->jobs.mutex);
    free(engine->folder);
    free(engine->location);
    free(engine);
}

const char *engine_location(const struct engine *engine)
{
    return engine->location;
}

void engine_set_max_job_partitions(struct engine *engine, int64_t count)
{
    atomic_store(&engine->max_job_partitions, count);
}

int64_t engine_max_job_partitions(const struct engine *engine)
{
    return atomic_load(&engine->max_job_partitions);
}

void engine_set_dml_duration_ms(struct engine *engine, int64_t ms)
{
    atomic_store(&engine->dml_duration_ms, ms);
}

void engine_sql_context(struct engine *engine, const char *project, struct sql_context *ret)
{
    *ret = (struct sql_context){
        .catalog = &engine->catalog, .location = engine->location, .project = project, .now_us = clock_wall_us()};
}

/* ---- job store ---- */

static void append_job_key(struct buf *sql, const char *project, const char *job_id)
{
    buf_append_str(sql, " WHERE project=");
    duck_append_string(sql, slice_str(project));
    buf_append_str(sql, " AND job_id=");
    duck_append_string(sql, slice_str(job_id));
}

static bool job_exec(struct engine *engine, struct buf *sql, struct error *err)
{
    duckdb_connection conn = duck_borrow(engine->duck, err);
    bool ok = conn && duck_exec(conn, buf_cstr(sql), err);
    duck_return(engine->duck, conn);
    buf_release(sql);
    return ok;
}

/* Bodies of a query as an array. */
static struct json_object *job_query(struct engine *engine, struct buf *sql, struct error *err)
{
    duckdb_result result;
    struct duck_failure fail;
    duckdb_connection conn = duck_borrow(engine->duck, err);
    bool ok = conn != NULL;
    if (ok && !duck_run(conn, buf_cstr(sql), &result, &fail))
        ok = duck_failure_error(&fail, err);
    buf_release(sql);
    struct json_object *list = ok ? json_object_new_array() : NULL;
    duckdb_data_chunk chunk;
    while (ok && (chunk = duckdb_fetch_chunk(result)) != NULL) {
        duckdb_string_t *data = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 0));
        for (idx_t i = 0; i < duckdb_data_chunk_get_size(chunk); i++) {
            struct json_object *job = json_parse(duck_string_at(data, i), "job", err);
            if (job)
                json_object_array_add(list, job);
        }
        duckdb_destroy_data_chunk(&chunk);
    }
    if (ok)
        duckdb_destroy_result(&result);
    duck_return(engine->duck, conn);
    return list;
}

static bool job_exists(struct engine *engine, const char *project, const char *job_id, bool *ret, struct error *err)
{
    struct buf sql = BUF_INIT;
    int64_t count = 0;
    buf_append_str(&sql, "SELECT count(*) FROM cat.jobs");
    append_job_key(&sql, project, job_id);
    duckdb_connection conn = duck_borrow(engine->duck, err);
    bool ok = conn && duck_int(conn, buf_cstr(&sql), 0, &count, err);
    duck_return(engine->duck, conn);
    buf_release(&sql);
    *ret = count > 0;
    return ok;
}

static bool no_job(const struct engine *engine, const char *project, const char *job_id, struct error *err)
{
    return bq_fail(err, "notFound", 404, "Not found: Job %s:%s.%s", project, engine->location, job_id);
}

bool engine_job_insert(struct engine *engine, const char *project, const char *job_id, struct json_object *job,
                       struct error *err)
{
    bool exists;
    pthread_mutex_lock(&engine->jobs.mutex);
    bool ok = job_exists(engine, project, job_id, &exists, err);
    if (ok && exists)
        ok = bq_fail(err, "duplicate", 409, "Already Exists: Job %s:%s.%s", project, engine->location, job_id);
    if (ok) {
        struct buf sql = BUF_INIT;
        buf_printf(&sql, "INSERT INTO cat.jobs VALUES (%lld, ", (long long)engine->jobs.next_seq++);
        duck_append_string(&sql, slice_str(project));
        buf_append_str(&sql, ", ");
        duck_append_string(&sql, slice_str(job_id));
        buf_append_str(&sql, ", ");
        duck_append_string(&sql, slice_str(json_object_to_json_string_ext(job, JSON_C_TO_STRING_PLAIN)));
        buf_append_char(&sql, ')');
        ok = job_exec(engine, &sql, err);
    }
    pthread_mutex_unlock(&engine->jobs.mutex);
    return ok;
}

bool engine_job_update(struct engine *engine, const char *project, const char *job_id, struct json_object *job,
                       struct error *err)
{
    bool exists;
    pthread_mutex_lock(&engine->jobs.mutex);
    bool ok = job_exists(engine, project, job_id, &exists, err);
    if (ok && !exists)
        ok = no_job(engine, project, job_id, err);
    if (ok) {
        struct buf sql = BUF_INIT;
        buf_append_str(&sql, "UPDATE cat.jobs SET body=");
        duck_append_string(&sql, slice_str(json_object_to_json_string_ext(job, JSON_C_TO_STRING_PLAIN)));
        append_job_key(&sql, project, job_id);
        ok = job_exec(engine, &sql, err);
    }
    pthread_mutex_unlock(&engine->jobs.mutex);
    return ok;
}

struct json_object *engine_job_get(struct engine *engine, const char *project, const char *job_id, struct error *err)
{
    struct buf sql = BUF_INIT;
    buf_append_str(&sql, "SELECT body FROM cat.jobs");
    append_job_key(&sql, project, job_id);
    struct json_object *list = job_query(engine, &sql, err);
    struct json_object *job = NULL;
    if (list && json_object_array_length(list) > 0)
        job = json_object_get(json_object_array_get_idx(list, 0));
    else if (list)
        no_job(engine, project, job_id, err);
    json_object_put(list);
    return job;
}

struct json_object *engine_job_list(struct engine *engine, const char *project, int64_t start, int64_t max,
                                    struct error *err)
{
    struct buf sql = BUF_INIT;
    buf_append_str(&sql, "SELECT body FROM cat.jobs WHERE project=");
    duck_append_string(&sql, slice_str(project));
    buf_printf(&sql, " ORDER BY seq DESC LIMIT %lld OFFSET %lld", (long long)max, (long long)start);
    return job_query(engine, &sql, err);
}

bool engine_job_delete(struct engine *engine, const char *project, const char *job_id, struct error *err)
{
    bool exists;
    pthread_mutex_lock(&engine->jobs.mutex);
    bool ok = job_exists(engine, project, job_id, &exists, err);
    if (ok && !exists)
        ok = no_job(engine, project, job_id, err);
    if (ok) {
        struct buf sql = BUF_INIT;
        buf_append_str(&sql, "DELETE FROM cat.jobs");
        append_job_key(&sql, project, job_id);
        ok = job_exec(engine, &sql, err);
    }
    pthread_mutex_unlock(&engine->jobs.mutex);
    return ok;
}
