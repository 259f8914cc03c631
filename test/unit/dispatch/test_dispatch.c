/* Which messages a dispatch stands for. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>

#include "plan.h"

#define SUNDAY_US INT64_C(1761436800000000) /* 2025-10-26T00:00:00Z */
#define SATURDAY_US (SUNDAY_US - INT64_C(3600000000))

static struct entity jobs = {.name = "jobs"}, invoices = {.name = "invoices"}, campaigns = {.name = "campaigns"};
static struct entity_settings entities[] = {
    {.entity = &jobs, .enabled = true, .priority = 2, .sync_mode = "incremental"},
    {.entity = &invoices, .enabled = true, .priority = 1, .sync_mode = "full"},
    {.entity = &campaigns, .enabled = false, .priority = 1, .sync_mode = "incremental"},
};
static struct tenant_settings tenants[] = {{.id = 7}, {.id = 8}};

static struct settings settings_of(const char *default_mode)
{
    return (struct settings){.entities = entities,
                             .entity_count = 3,
                             .tenants = tenants,
                             .tenant_count = 2,
                             .default_mode = default_mode,
                             .full_sync_day = "sunday"};
}

static void modes_are_resolved(void **state)
{
    (void)state;
    static const struct {
        const char *wanted, *fallback;
        int64_t now_us;
        size_t entity;
        enum task_mode mode;
    } cases[] = {
        {"incremental", "full", SUNDAY_US, 1, TASK_INCREMENTAL},
        {"full", "incremental", SATURDAY_US, 0, TASK_FULL},
        {NULL, "entity", SUNDAY_US, 0, TASK_INCREMENTAL},
        {NULL, "entity", SATURDAY_US, 1, TASK_FULL},
        {NULL, "full", SATURDAY_US, 0, TASK_FULL},
        {NULL, "auto", SUNDAY_US - 1, 0, TASK_INCREMENTAL},
        {NULL, "auto", SUNDAY_US, 0, TASK_FULL},
        {"auto", "incremental", SUNDAY_US + INT64_C(86399999999), 0, TASK_FULL},
        {"auto", "incremental", SUNDAY_US + INT64_C(86400000000), 0, TASK_INCREMENTAL},
        {"auto", "incremental", SATURDAY_US, 1, TASK_FULL}, /* its own syncMode */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct settings s = settings_of(cases[i].fallback);
        struct error err = ERROR_INIT;
        enum task_mode mode = TASK_RECONCILE;
        if (!plan_mode(&s, &entities[cases[i].entity], cases[i].wanted, cases[i].now_us, &mode, &err) ||
            mode != cases[i].mode)
            fail_msg("case %zu: %s %s", i, task_mode_name(mode), err.message);
    }
}

static void the_full_sync_day_may_be_never(void **state)
{
    (void)state;
    struct settings s = settings_of("auto");
    struct error err = ERROR_INIT;
    s.full_sync_day = "never";
    for (int day = 0; day < 7; day++) {
        enum task_mode mode = TASK_FULL;
        assert_true(plan_mode(&s, &entities[0], NULL, SUNDAY_US + day * INT64_C(86400000000), &mode, &err));
        assert_int_equal(mode, TASK_INCREMENTAL);
    }
}

static void other_modes_are_refused(void **state)
{
    (void)state;
    static const char *const modes[] = {"", "backfill", "Reconcile", "Full", "fulll"};
    const struct settings s = settings_of("entity");
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        struct error err = ERROR_INIT;
        enum task_mode mode;
        assert_false(plan_mode(&s, &entities[0], modes[i], SUNDAY_US, &mode, &err));
        assert_string_equal(err.code, "unknown_mode");
    }
}

static void all_means_the_enabled_ones_by_priority_and_each_once(void **state)
{
    (void)state;
    static const char *const names[] = {"jobs", "all", "all", "invoices", "jobs"};
    static const char *const wanted[] = {"jobs", "invoices"}; /* campaigns is disabled */
    const struct settings s = settings_of("entity");
    const struct dispatch_request request = {names, 5, "full", 8, "me", false};
    struct error err = ERROR_INIT;
    struct plan plan;
    assert_true(plan_make(&plan, &s, &request, SUNDAY_US, &err));
    assert_int_equal(plan.count, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct task *task = &plan.items[i].task;
        assert_string_equal(task->entity, wanted[i]);
        assert_int_equal(task->mode, TASK_FULL);
        assert_int_equal(task->tenant, 8);
        assert_string_equal(task->requested_by, "me");
        assert_int_equal(strlen(task->task_id), 36);
        assert_true(i == 0 || strcmp(task->task_id, plan.items[0].task.task_id) != 0);
    }
    free(plan.items);
}

static void single_tasks_are_one_per_tenant_behind_each_other(void **state)
{
    (void)state;
    static const char *const names[] = {"all"};
    static const struct {
        const char *entity;
        int64_t tenant;
    } wanted[] = {{"invoices", 7}, {"invoices", 8}, {"jobs", 7}, {"jobs", 8}};
    struct settings s = settings_of("entity");
    struct dispatch_request request = {names, 1, "full", 0, "me", true};
    struct error err = ERROR_INIT;
    struct dispatched *items;
    size_t count;
    assert_true(dispatch_plan(&s, &request, &items, &count, &err));
    assert_int_equal(count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(items[i].task.entity, wanted[i].entity);
        assert_int_equal(items[i].task.tenant, wanted[i].tenant);
        assert_string_equal(items[i].message_id, "");
        assert_true(i == 0 || strcmp(items[i].task.task_id, items[i - 1].task.task_id) != 0);
    }
    free(items);
    s.tenant_count = 1; /* the worker would find the tenant itself; who waits needs to know it */
    assert_true(dispatch_plan(&s, &request, &items, &count, &err));
    assert_int_equal(count, 2);
    assert_int_equal(items[1].task.tenant, 7);
    free(items);
}

static void nothing_is_planned_when_anything_is_wrong(void **state)
{
    (void)state;
    static const char *const unknown[] = {"jobs", "job"}, *const all[] = {"all"};
    struct settings s = settings_of("entity"), none = settings_of("entity");
    const struct dispatch_request bad_entity = {unknown, 2, NULL, 0, NULL, false},
                                  bad_tenant = {all, 1, NULL, 9, NULL, false}, fine = {all, 1, NULL, 0, NULL, false};
    struct error err = ERROR_INIT;
    struct plan plan;
    assert_false(plan_make(&plan, &s, &bad_entity, SUNDAY_US, &err));
    assert_string_equal(err.code, "unknown_entity");
    free(plan.items);
    assert_false(plan_make(&plan, &s, &bad_tenant, SUNDAY_US, &err));
    assert_string_equal(err.code, "unknown_tenant");
    free(plan.items);
    none.entities = &entities[2];
    none.entity_count = 1;
    assert_false(plan_make(&plan, &none, &fine, SUNDAY_US, &err));
    assert_string_equal(err.code, "nothing");
    free(plan.items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(modes_are_resolved),
        cmocka_unit_test(the_full_sync_day_may_be_never),
        cmocka_unit_test(other_modes_are_refused),
        cmocka_unit_test(all_means_the_enabled_ones_by_priority_and_each_once),
        cmocka_unit_test(single_tasks_are_one_per_tenant_behind_each_other),
        cmocka_unit_test(nothing_is_planned_when_anything_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
