/* Which records of a read are kept: none may vanish without a word. What is kept in the quarantine shows when the fetch is
 * completed: nothing listens at the writer's address and the run is cancelled, so that writing it fails. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/metrics.h"
#include "run.h"

static const struct st_window everything = {.column = ST_CREATED_ON};

struct fixture {
    struct google_credentials *creds;
    struct registry *registry;
    struct settings settings;
    struct services services;
    struct run_env env;
    struct message message;
    struct pubsub_delivery delivery;
    struct run run;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct error err = ERROR_INIT;
    const char *root = getenv("ST_ROOT");
    char *path = xasprintf("%s/config/schema_registry.json", root ? root : ".");
    grpc_global_init();
    f->creds = google_credentials_none();
    const struct bq_writer_options options = {.project = "p", .target = "127.0.0.1:1", .creds = f->creds};
    f->registry = registry_load(path, &err);
    free(path);
    f->settings = (struct settings){.bq_dataset_stage = "st_stage_v2", .quarantine_percent = 5};
    f->services.settings = &f->settings;
    f->services.writer = bq_writer_new(&options, &err);
    f->services.events = events_new(f->services.writer, "st_logs_v2");
    f->env = (struct run_env){.services = &f->services, .settings = &f->settings, .fetches = fetch_index_new()};
    f->message.delivery = &f->delivery;
    f->message.task.tenant = 1;
    f->run = (struct run){.env = &f->env,
                          .message = &f->message,
                          .entity = registry_find(f->registry, "payroll"),
                          .run_id = "00000000-0000-4000-8000-000000000001",
                          .cancel = cancel_new(NULL)};
    stage_init(&f->run);
    cancel_set(f->run.cancel, "test");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    stage_release(&f->run);
    cancel_free(f->run.cancel);
    events_free(f->services.events);
    bq_writer_free(f->services.writer);
    fetch_index_free(f->env.fetches);
    google_credentials_free(f->creds);
    registry_free(f->registry);
    grpc_global_release();
    free(f);
    return 0;
}

static void no_record_vanishes(void **state)
{
    struct run *run = &((struct fixture *)*state)->run;
    enum fate { LEFT_OUT, QUARANTINED, GROUP_DAY };
    static const struct {
        enum row_choice choice;
        const char *record;
        enum fate fate;
    } cases[] = {
        {ROW_WITH_ID, "{\"id\":null,\"createdOn\":\"2025-10-21T10:00:00Z\"}", GROUP_DAY},
        {ROW_WITH_ID, "{\"id\":null}", QUARANTINED}, /* no group would bring it back */
        {ROW_WITH_ID, "{}", QUARANTINED},
        {ROW_WITH_ID, "7", QUARANTINED},
        {ROW_WITH_ID, "{\"id\":null,", QUARANTINED},
        {ROW_WITHOUT_ID, "{\"id\":5,\"createdOn\":\"2025-10-21T10:00:00Z\"}", LEFT_OUT},
        {ROW_WITHOUT_ID, "null", QUARANTINED},
        {ROW_WITHOUT_MODIFIED, "{\"id\":5,\"modifiedOn\":\"2025-10-21T10:00:00Z\"}", LEFT_OUT},
        {ROW_WITHOUT_MODIFIED, "[]", QUARANTINED},
        {ROW_ALL, "{}", QUARANTINED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct st_record_times times;
        struct error err = ERROR_INIT;
        size_t days = run->stage.group_day_count;
        struct fetch *fetch = fetch_new(run, &everything, cases[i].choice);
        fetch_sent(fetch, 0);
        assert_true(fetch_record(fetch, slice_str(cases[i].record), &times, &err));
        bool complete = fetch_complete(fetch, &err);
        fetch_free(fetch);
        if (complete == (cases[i].fate == QUARANTINED) ||
            run->stage.group_day_count != days + (cases[i].fate == GROUP_DAY))
            fail_msg("case %zu: %s: complete %d, %zu days: %s", i, cases[i].record, complete,
                     run->stage.group_day_count, err.message);
        if (!complete)
            assert_non_null(strstr(err.message, "quarantine"));
    }
    assert_int_equal(run->stage.rows, 0);
}

/* The counters cost nothing per record: they move when a fetch is accepted, and balance then. */
static void records_are_counted_once_per_fetch(void **state)
{
    enum { RECORDS = 500 };
    struct run *run = &((struct fixture *)*state)->run;
    static const char record[] =
        "{\"id\":5,\"createdOn\":\"2025-10-21T10:00:00Z\",\"modifiedOn\":\"2025-10-21T10:00:00Z\"}";
    static const enum row_choice choices[] = {ROW_ALL, ROW_WITHOUT_ID};
    for (size_t i = 0; i < 2; i++) {
        struct fetch *fetch = fetch_new(run, &everything, choices[i]);
        struct error err = ERROR_INIT;
        struct st_record_times times;
        uint64_t before = metrics_updates();
        fetch_sent(fetch, 0);
        for (int n = 0; n < RECORDS; n++)
            assert_true(fetch_record(fetch, slice_str(record), &times, &err));
        assert_int_equal(metrics_updates(), before);
        /* ROW_ALL has rows, which the cancelled run cannot stage; ROW_WITHOUT_ID wants none of these and is accepted. */
        bool complete = fetch_complete(fetch, &err);
        assert_int_equal(complete, choices[i] == ROW_WITHOUT_ID);
        assert_int_equal(metrics_updates(), before + (complete ? 3 : 0));
        fetch_free(fetch);
    }
    assert_int_equal(run->stage.fetched, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_record_vanishes, setup, teardown),
        cmocka_unit_test_setup_teardown(records_are_counted_once_per_fetch, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
