/* test_tasks.c - what became of tasks, against the local BigQuery: one look, and many waits that share their looks. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../src/local/bq_server.h"
#include "base/clock.h"
#include "operate/operate.h"
#include "operate/task_watch.h"

enum { TENANT = 7, WAITERS = 64, LARGE = 8000, WAIT_MS = 600000 };

static struct bq_server *server;
static struct settings settings;
static struct services services;
static int64_t began_us;

static void must(bool ok, const struct error *err)
{
    if (!ok)
        fail_msg("%s", err->message);
}

static void set(const char *name, const char *prefix, int port)
{
    char value[64];
    snprintf(value, sizeof value, "%s127.0.0.1:%d", prefix, port);
    setenv(name, value, 1);
}

static int set_up(void **state)
{
    struct error err = ERROR_INIT;
    const char *root = getenv("ST_ROOT") ? getenv("ST_ROOT") : ".";
    char *config = xasprintf("%s/config/config.json", root);
    char *registry = xasprintf("%s/config/schema_registry.json", root);
    const struct settings_files files = {config, registry, "/dev/null"};
    (void)state;
    server = bq_server_start(&(struct bq_server_options){.folder = "data"}, &err);
    must(server, &err);
    setenv("BQ_PROJECT_ID", "test-project", 1);
    set("BIGQUERY_EMULATOR_HOST", "http://", bq_server_rest_port(server));
    set("BIGQUERY_STORAGE_EMULATOR_HOST", "", bq_server_grpc_port(server));
    must(settings_load(&settings, &files, SETTINGS_BIGQUERY, &err), &err);
    must(services_open(&services, &settings, SETTINGS_BIGQUERY, &err), &err);
    must(warehouse_init(&services.warehouse, NULL, NULL, NULL, &err), &err);
    began_us = clock_wall_us();
    free(config);
    free(registry);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    services_close(&services);
    settings_release(&settings);
    bq_server_stop(server);
    return 0;
}

struct told { /* one row of the run log */
    const char *task_id, *run_id, *entity, *status, *verdict;
    int64_t start_s; /* after the test's begin */
};

static void tell(const struct told *t)
{
    struct error err = ERROR_INIT;
    const struct event_run event = {
        .run_id = t->run_id,
        .task_id = t->task_id,
        .entity = t->entity,
        .mode = "full",
        .status = t->status,
        .verdict = t->verdict,
        .tenant = TENANT,
        .start_us = began_us + t->start_s * 1000000,
        .end_us = strcmp(t->status, "running") == 0 ? 0 : began_us + (t->start_s + 5) * 1000000,
        .records_inserted = 40 + t->start_s,
        .error_code = strcmp(t->status, "failed") == 0 ? "http_503" : NULL,
        .error_message = strcmp(t->status, "failed") == 0 ? "it is down" : NULL,
    };
    must(events_run(services.events, &event, NULL, &err), &err);
}

static const struct task_status *find(const struct task_status *list, size_t count, const char *id, const char *entity)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].task_id, id) == 0 && strcmp(list[i].entity, entity) == 0)
            return &list[i];
    return NULL;
}

static void a_look_tells_the_run_that_says_most(void **state)
{
    static const struct told rows[] = {
        {"t-running", "r1", "jobs", "running", NULL, 0},      {"t-success", "r2", "jobs", "running", NULL, 0},
        {"t-success", "r2", "jobs", "success", "done", 0},    {"t-retrying", "r3", "jobs", "running", NULL, 0},
        {"t-retrying", "r3", "jobs", "failed", "retry", 0},   {"t-again", "r4", "jobs", "failed", "retry", 0},
        {"t-again", "r5", "jobs", "running", NULL, 10},       {"t-rejected", "r6", "jobs", "failed", "retry", 0},
        {"t-rejected", "r7", "jobs", "failed", "reject", 10}, {"t-replayed", "r8", "jobs", "failed", "reject", 0},
        {"t-replayed", "r9", "jobs", "running", NULL, 20},    {"t-twin", "r10", "jobs", "success", "done", 0},
        {"t-twin", "r11", "jobs", "failed", "retry", 10},     {"t-skipped", "r12", "jobs", "skipped", "done", 0},
        {"t-shared", "r13", "jobs", "success", "done", 0},    {"t-shared", "r14", "payroll", "running", NULL, 0},
    };
    static const struct {
        const char *id, *entity, *run_id;
        enum task_state state;
    } expected[] = {
        {"t-running", "jobs", "r1", TASK_STATE_RUNNING},   {"t-success", "jobs", "r2", TASK_STATE_SUCCESS},
        {"t-retrying", "jobs", "r3", TASK_STATE_RETRYING}, {"t-again", "jobs", "r5", TASK_STATE_RUNNING},
        {"t-rejected", "jobs", "r7", TASK_STATE_REJECTED}, {"t-replayed", "jobs", "r9", TASK_STATE_RUNNING},
        {"t-twin", "jobs", "r10", TASK_STATE_SUCCESS},     {"t-skipped", "jobs", "r12", TASK_STATE_SKIPPED},
        {"t-shared", "jobs", "r13", TASK_STATE_SUCCESS},   {"t-shared", "payroll", "r14", TASK_STATE_RUNNING},
    };
    static const char *const ids[] = {"t-running",  "t-success", "t-retrying", "t-again",  "t-rejected",
                                      "t-replayed", "t-twin",    "t-skipped",  "t-shared", "t-unknown"};
    enum { EXPECTED = sizeof expected / sizeof expected[0] };
    struct error err = ERROR_INIT;
    struct task_status *found;
    size_t count;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        tell(&rows[i]);
    must(tasks_look(&services, ids, sizeof ids / sizeof ids[0], began_us, &found, &count, NULL, &err), &err);
    assert_int_equal(count, EXPECTED);
    for (size_t i = 0; i < EXPECTED; i++) {
        const struct task_status *got = find(found, count, expected[i].id, expected[i].entity);
        if (!got)
            fail_msg("%s %s is missing", expected[i].id, expected[i].entity);
        if (got->state != expected[i].state || strcmp(got->run_id, expected[i].run_id) != 0)
            fail_msg("%s: %s by %s", expected[i].id, task_state_name(got->state), got->run_id);
    }
    const struct task_status *rejected = find(found, count, "t-rejected", "jobs");
    assert_string_equal(rejected->error_message, "it is down");
    assert_string_equal(rejected->error_code, "http_503");
    const struct task_status *success = find(found, count, "t-success", "jobs");
    assert_int_equal(success->records, 40);
    assert_int_equal(success->duration_ms, 5000);
    assert_int_equal(success->tenant, TENANT);
    assert_int_equal(success->mode, TASK_FULL);
    assert_string_equal(success->error_message, "");
    free(found);
}

static void runs_of_skipped_tasks_are_no_runs_for_people(void **state)
{
    struct error err = ERROR_INIT;
    struct bq_result result;
    (void)state;
    must(operate_runs(&services, TENANT, "jobs", 100, &result, NULL, &err), &err);
    assert_true(result.row_count > 0);
    for (size_t i = 0; i < result.row_count; i++)
        assert_string_not_equal(bq_result_text(&result, i, "status"), "skipped");
    bq_result_release(&result);
}

struct wait {
    struct task_watch *watch;
    pthread_t thread;
    char id[32];
    bool ok;
    struct task_status status;
    struct error err;
};

static void *wait_main(void *user)
{
    struct wait *wait = user;
    const char *id = wait->id;
    wait->ok =
        task_watch_wait(wait->watch, &id, 1, began_us, clock_mono_ms() + WAIT_MS, &wait->status, NULL, &wait->err);
    return NULL;
}

static void many_waits_share_their_looks(void **state)
{
    static struct wait waits[WAITERS];
    struct task_watch *watch = task_watch_new(&services);
    (void)state;
    for (int i = 0; i < WAITERS; i++) {
        waits[i].watch = watch;
        snprintf(waits[i].id, sizeof waits[i].id, "w-%d", i);
        assert_int_equal(pthread_create(&waits[i].thread, NULL, wait_main, &waits[i]), 0);
    }
    while (task_watch_looks(watch) == 0) /* all of them wait by now, and nothing has ended */
        cancel_sleep_ms(NULL, 1);
    int64_t before = task_watch_looks(watch);
    for (int i = 0; i < WAITERS; i++) {
        char run_id[32];
        snprintf(run_id, sizeof run_id, "wr-%d", i);
        tell(&(struct told){waits[i].id, run_id, "jobs", i % 2 ? "failed" : "success", i % 2 ? "reject" : "done", i});
    }
    for (int i = 0; i < WAITERS; i++) {
        pthread_join(waits[i].thread, NULL);
        must(waits[i].ok, &waits[i].err);
        assert_int_equal(waits[i].status.state, i % 2 ? TASK_STATE_REJECTED : TASK_STATE_SUCCESS);
        assert_int_equal(waits[i].status.records, 40 + i);
    }
    int64_t looks = task_watch_looks(watch) - before;
    if (looks > WAITERS / 2)
        fail_msg("%lld statements for %d waits", (long long)looks, WAITERS);
    task_watch_free(watch);
}

/* More ids than one look may ask for: each wait has its turn, also the one that began first. */
struct large_wait {
    struct task_watch *watch;
    pthread_t thread;
    const char **ids;
    struct task_status *statuses;
    bool ok;
    struct error err;
};

static void *wait_for_all_main(void *user)
{
    struct large_wait *wait = user;
    wait->ok = task_watch_wait(wait->watch, wait->ids, LARGE, began_us, clock_mono_ms() + WAIT_MS, wait->statuses, NULL,
                               &wait->err);
    return NULL;
}

static void large_wait_begin(struct large_wait *wait, struct task_watch *watch, char letter)
{
    *wait = (struct large_wait){.watch = watch, .err = ERROR_INIT};
    wait->ids = xcalloc(LARGE, sizeof *wait->ids);
    wait->statuses = xcalloc(LARGE, sizeof *wait->statuses);
    for (int i = 0; i < LARGE; i++)
        wait->ids[i] = xasprintf("%c-%d", letter, i);
    assert_int_equal(pthread_create(&wait->thread, NULL, wait_for_all_main, wait), 0);
}

static void large_wait_end(struct large_wait *wait)
{
    pthread_join(wait->thread, NULL);
    for (int i = 0; i < LARGE; i++)
        free((void *)(uintptr_t)wait->ids[i]);
    free(wait->ids);
    free(wait->statuses);
}

static void tell_success_of_all(char letter)
{
    struct error err = ERROR_INIT;
    struct bq_result result;
    char *sql = xasprintf(
        "INSERT INTO `test-project.st_logs_v2.ingestion_log_events` (run_id, task_id, entity_type, tenant_id, "
        "mode, status, verdict, start_time, event_time)\n"
        "SELECT CONCAT('run-', CAST(n AS STRING)), CONCAT('%c-', CAST(n AS STRING)), 'jobs', 7, 'full', "
        "'success', 'done', CURRENT_TIMESTAMP(), CURRENT_TIMESTAMP()\n"
        "FROM UNNEST(GENERATE_ARRAY(0, %d)) AS n",
        letter, LARGE - 1);
    must(bq_query_run(services.bigquery, &(struct bq_query){.sql = sql}, &result, NULL, &err), &err);
    bq_result_release(&result);
    free(sql);
}

static void more_ids_than_one_look_takes_have_their_turn(void **state)
{
    struct task_watch *watch = task_watch_new(&services);
    struct large_wait older, newer;
    (void)state;
    large_wait_begin(&older, watch, 'o');
    while (task_watch_looks(watch) == 0) /* it waits before the other one begins */
        cancel_sleep_ms(NULL, 1);
    large_wait_begin(&newer, watch, 'n');
    tell_success_of_all('o'); /* the newer one's never end */
    large_wait_end(&older);
    must(older.ok, &older.err);
    tell_success_of_all('n');
    large_wait_end(&newer);
    must(newer.ok, &newer.err);
    task_watch_free(watch);
}

static void a_wait_ends_at_its_deadline_and_tells_where_the_task_stands(void **state)
{
    static const char *const ids[] = {"t-running", "t-unknown", "t-success"};
    struct task_watch *watch = task_watch_new(&services);
    struct task_status statuses[3];
    struct error err = ERROR_INIT;
    (void)state;
    /* Long enough for a look: the deadline counts on the fast clock. */
    assert_false(task_watch_wait(watch, ids, 3, began_us, clock_mono_ms() + 20000, statuses, NULL, &err));
    assert_string_equal(err.code, "timeout");
    assert_int_equal(err.class, ERROR_RETRY);
    assert_int_equal(statuses[0].state, TASK_STATE_RUNNING);
    assert_int_equal(statuses[1].state, TASK_STATE_QUEUED);
    assert_int_equal(statuses[2].state, TASK_STATE_SUCCESS);
    task_watch_free(watch);
}

static void *cancel_main(void *user)
{
    cancel_set(user, "shutdown");
    return NULL;
}

static void a_cancelled_wait_ends_at_once(void **state)
{
    static const char *const ids[] = {"t-unknown"};
    struct task_watch *watch = task_watch_new(&services);
    struct cancel *cancel = cancel_new(NULL);
    struct task_status status;
    struct error err = ERROR_INIT;
    pthread_t thread;
    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, cancel_main, cancel), 0);
    assert_false(task_watch_wait(watch, ids, 1, began_us, INT64_MAX, &status, cancel, &err));
    assert_int_equal(err.class, ERROR_CANCELLED);
    pthread_join(thread, NULL);
    cancel_free(cancel);
    task_watch_free(watch);
}

static void too_many_ids_are_refused(void **state)
{
    const char **ids = xcalloc(TASKS_MAX_IDS + 1, sizeof *ids);
    struct error err = ERROR_INIT;
    struct task_status *found;
    size_t count;
    (void)state;
    for (size_t i = 0; i <= TASKS_MAX_IDS; i++)
        ids[i] = "x";
    assert_false(tasks_look(&services, ids, TASKS_MAX_IDS + 1, began_us, &found, &count, NULL, &err));
    assert_string_equal(err.code, "too_many");
    free(ids);
}

int main(void)
{
    setenv("ST_CLOCK_SCALE", "20", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_look_tells_the_run_that_says_most),
        cmocka_unit_test(runs_of_skipped_tasks_are_no_runs_for_people),
        cmocka_unit_test(many_waits_share_their_looks),
        cmocka_unit_test(more_ids_than_one_look_takes_have_their_turn),
        cmocka_unit_test(a_wait_ends_at_its_deadline_and_tells_where_the_task_stands),
        cmocka_unit_test(a_cancelled_wait_ends_at_once),
        cmocka_unit_test(too_many_ids_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
