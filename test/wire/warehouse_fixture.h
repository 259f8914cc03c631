/* warehouse_fixture.h - the warehouse layer over a local BigQuery in the test's process, with several workers, and runs.
 *
 * Each "worker" has a warehouse of its own, so that nothing but BigQuery stands between them. The clock runs fast; a
 * DML statement takes a while on the snapshot of its start, so that two at once would double a key. */
#ifndef ST_TEST_WAREHOUSE_FIXTURE_H
#define ST_TEST_WAREHOUSE_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../src/local/bq_server.h"
#include "base/clock.h"
#include "base/timestamp.h"
#include "base/uuid.h"
#include "bigquery/warehouse.h"
#include "net/http.h"
#include "record/encoder.h"

enum { WORKERS = 3, DML_MS = 30000 /* of the fast clock: 0.3 s */ };

struct worker {
    struct bq_client *client;
    struct bq_writer *writer;
    struct events *events;
    struct warehouse w;
};

static struct bq_server *server;
static struct registry *registry;
static int64_t tenant_id = 7; /* of the runs that begin */
static struct google_credentials *creds;
static struct worker workers[WORKERS];

static inline void must(bool ok, const struct error *err)
{
    if (!ok)
        fail_msg("%s", err->message);
}

static inline void worker_open(struct worker *worker)
{
    struct error err = ERROR_INIT;
    char base[64], target[64];
    snprintf(base, sizeof base, "http://127.0.0.1:%d", bq_server_rest_port(server));
    snprintf(target, sizeof target, "127.0.0.1:%d", bq_server_grpc_port(server));
    worker->client = bq_client_new(
        &(struct bq_options){.project = "test-project", .location = "US", .rest_base = base, .creds = creds}, &err);
    must(worker->client, &err);
    worker->writer =
        bq_writer_new(&(struct bq_writer_options){.project = "test-project", .target = target, .creds = creds}, &err);
    must(worker->writer, &err);
    worker->events = events_new(worker->writer, "st_logs_v2");
    worker->w = (struct warehouse){.client = worker->client,
                                   .writer = worker->writer,
                                   .events = worker->events,
                                   .registry = registry,
                                   .names = {"test-project", "st_raw_v2", "st_stage_v2", "st_mart_v2", "st_logs_v2"}};
}

static inline void worker_close(struct worker *worker)
{
    warehouse_release(&worker->w);
    events_free(worker->events);
    bq_writer_free(worker->writer);
    bq_client_free(worker->client);
}

static inline int set_up(void **state)
{
    struct error err = ERROR_INIT;
    const char *root = getenv("ST_ROOT");
    char *path = xasprintf("%s/config/schema_registry.json", root ? root : ".");
    (void)state;
    http_global_init();
    grpc_global_init();
    registry = registry_load(path, &err);
    free(path);
    must(registry, &err);
    creds = google_credentials_none();
    server = bq_server_start(&(struct bq_server_options){.folder = "data"}, &err);
    must(server, &err);
    for (int i = 0; i < WORKERS; i++)
        worker_open(&workers[i]);
    must(warehouse_init(&workers[0].w, NULL, NULL, NULL, &err), &err);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < WORKERS; i++)
        worker_close(&workers[i]);
    bq_server_stop(server);
    google_credentials_free(creds);
    registry_free(registry);
    return 0;
}

static inline void set_local(const char *name, int64_t value)
{
    struct error err = ERROR_INIT;
    struct http_client *http = http_client_new();
    struct http_response response = HTTP_RESPONSE_INIT;
    char url[96], body[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/_local/bigquery", bq_server_rest_port(server));
    snprintf(body, sizeof body, "{\"%s\":%lld}", name, (long long)value);
    must(http_perform(http, &(struct http_request){.method = "POST", .url = url, .body = slice_str(body)}, &response,
                      &err),
         &err);
    assert_int_equal(response.status, 200);
    http_response_release(&response);
    http_client_free(http);
}

static inline void set_dml_duration(int64_t ms)
{
    set_local("dmlDurationMs", ms);
}

/* First column of the first row, as a number. */
static inline int64_t ask(const char *sql)
{
    struct error err = ERROR_INIT;
    struct bq_result result;
    must(bq_query_run(workers[0].client, &(struct bq_query){.sql = sql}, &result, NULL, &err), &err);
    int64_t answer = result.row_count ? bq_result_int(&result, 0, result.columns[0], -1) : -1;
    bq_result_release(&result);
    return answer;
}

/* ---- A run: records into the stage, announced -------------------------------------------------------------------- */

struct run {
    char id[UUID_TEXT_SIZE];
    const struct entity *entity;
    struct worker *worker;
    struct record_encoder *encoder;
    struct bq_appender *appender;
    uint64_t first, last;
    int64_t rows;
};

static inline void run_begin(struct run *run, struct worker *worker, const char *entity, int64_t fetched_us)
{
    *run = (struct run){.worker = worker, .entity = registry_find(registry, entity)};
    uuid_generate(run->id);
    struct row_context context = {tenant_id, run->id, 1, fetched_us, false};
    run->encoder = record_encoder_new(run->entity, &context);
    run->appender = bq_writer_table(worker->writer, "st_stage_v2", &run->entity->stage);
}

static inline void run_add(struct run *run, const char *record)
{
    struct buf row = BUF_INIT;
    struct row_info info;
    struct error err = ERROR_INIT;
    if (record_encode(run->encoder, slice_str(record), &row, &info) != ROW_ENCODED)
        fail_msg("%s: %s", info.reason, record);
    must(bq_appender_add(run->appender, buf_slice(&row), 0, NULL, NULL, &run->last, NULL, &err), &err);
    run->first = run->first ? run->first : run->last;
    run->rows++;
    buf_release(&row);
}

static inline void run_announce(struct run *run, bool full_groups)
{
    struct error err = ERROR_INIT;
    struct stage_check check;
    struct event_staged_fetches fetches = {run->id, 1, 1};
    must(bq_appender_wait_range(run->appender, run->first, run->last, NULL, &err), &err);
    must(warehouse_verify_stage(&run->worker->w, run->entity, &(const char *){run->id}, 1,
                                clock_wall_us() - INT64_C(86400000000), &check, NULL, &err),
         &err);
    assert_int_equal(check.count, 1);
    assert_int_equal(check.fetches[0].fetch_id, 1);
    assert_int_equal(check.fetches[0].distinct_rows, run->rows);
    struct event_staged event = {.run_id = run->id,
                                 .task_id = run->id,
                                 .target = run->entity->target.name,
                                 .lane = "live",
                                 .tenant = tenant_id,
                                 .rows = run->rows,
                                 .bytes = run->rows * 1024,
                                 .staged_min_us = check.fetches[0].staged_min_us,
                                 .staged_max_us = check.fetches[0].staged_max_us,
                                 .announced_us = clock_wall_us(),
                                 .fetches = &fetches,
                                 .fetch_count = 1,
                                 .full_groups = full_groups};
    must(events_staged(run->worker->events, &event, NULL, &err), &err);
    stage_check_release(&check);
    record_encoder_free(run->encoder);
}

static inline struct merge_outcome run_merge(struct run *run)
{
    struct error err = ERROR_INIT;
    struct merge_outcome outcome = {0};
    must(warehouse_merge(&run->worker->w, run->entity, run->id, &outcome, NULL, &err), &err);
    return outcome;
}

#endif
