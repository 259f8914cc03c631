#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "dispatch/task.h"

static void messages_are_read_or_refused_with_a_code(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        const char *code; /* NULL: fine */
    } cases[] = {
        {"{\"entity\":\"jobs\",\"mode\":\"incremental\"}", NULL},
        {"{\"entity\":\"jobs\"}", NULL},
        {"{\"entity\":\"all\",\"mode\":\"full\",\"tenant\":42,\"unknown\":[1,2]}", NULL},
        {"{\"entity\":\"jobs\",\"tenant\":\"42\"}", NULL},
        {"{\"entity\":\"jobs\",\"mode\":\"backfill\",\"from\":\"2024-01-01\",\"to\":\"2024-02-01T00:00:00Z\"}", NULL},
        {"{\"entity\":\"jobs\",\"mode\":\"reconcile\"}", NULL},
        {"", "message_syntax"},
        {"not json", "message_syntax"},
        {"[]", "message_syntax"},
        {"{\"entity\":1}", "message_syntax"},
        {"{\"entity\":\"a\\u0000b\"}", "message_syntax"},
        {"{\"entity\":\"j\xc0\xaf\"}", "message_syntax"},           /* overlong */
        {"{\"task_id\":\"\xed\xa0\x80\"}", "message_syntax"},       /* half a pair, in UTF-8 */
        {"{\"x\":\"\xff\",\"entity\":\"jobs\"}", "message_syntax"}, /* in a member that nobody reads */
        {"\xef\xbb\xbf{\"entity\":\"jobs\"}", "message_syntax"},    /* byte order mark */
        {"{\"entity\":\"jobs\"}{}", "message_syntax"},
        {"{\"entity\":\"jobs\",}", "message_syntax"},
        {"{\"entity\":null}", "unknown_entity"},
        {"{\"entity\":\"jobs\",\"tenant\":NaN}", "bad_tenant"},
        {"{\"entity\":\"jobs\",\"tenant\":-99999999999999999999999}", "bad_tenant"},
        {"{\"mode\":\"full\"}", "unknown_entity"},
        {"{\"entity\":\"jobs\",\"mode\":\"fast\"}", "unknown_mode"},
        {"{\"entity\":\"jobs\",\"tenant\":0}", "bad_tenant"},
        {"{\"entity\":\"jobs\",\"tenant\":\"x\"}", "bad_tenant"},
        {"{\"entity\":\"jobs\",\"tenant\":1.5}", "bad_tenant"},
        {"{\"entity\":\"jobs\",\"tenant\":\"xéééééééééééééééééééééééé\"}", "bad_tenant"},
        {"{\"entity\":\"jobs\",\"mode\":\"full\",\"from\":\"2024-01-01\"}", "bad_window"},
        {"{\"entity\":\"jobs\",\"mode\":\"backfill\",\"from\":\"2024-01-01\"}", "bad_window"},
        {"{\"entity\":\"jobs\",\"mode\":\"backfill\",\"from\":\"2024-02-01\",\"to\":\"2024-02-01\"}", "bad_window"},
        {"{\"entity\":\"jobs\",\"mode\":\"backfill\",\"from\":\"yesterday\",\"to\":\"2024-02-01\"}", "bad_window"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        struct task task;
        bool ok = task_parse(slice_str(cases[i].data), &task, &err);
        if (ok != (cases[i].code == NULL) || (!ok && strcmp(err.code, cases[i].code) != 0))
            fail_msg("%s: ok %d, code \"%s\": %s", cases[i].data, ok, err.code, err.message);
        assert_true(slice_is_utf8(slice_str(err.message))); /* it becomes an attribute of the dead letter */
        assert_int_equal(err.class, ok ? ERROR_NONE : ERROR_PERMANENT);
    }
}

static void a_message_that_is_too_large_is_refused_unread(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct task task;
    char *big = malloc(TASK_MAX_BYTES + 1);
    memset(big, ' ', TASK_MAX_BYTES + 1);
    assert_false(task_parse(slice_of(big, TASK_MAX_BYTES + 1), &task, &err));
    assert_string_equal(err.code, "message_syntax");
    free(big);
}

static void what_is_formatted_reads_back(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct buf text = BUF_INIT;
    struct task back, task = {.entity = "invoices",
                              .mode = TASK_BACKFILL,
                              .tenant = INT64_MAX,
                              .has_from = true,
                              .has_to = true,
                              .from_us = -123456,
                              .to_us = 1761040800123456,
                              .task_id = "a \"quoted\" id",
                              .requested_by = "test"};
    task_format(&task, &text);
    assert_true(task_parse(buf_slice(&text), &back, &err));
    assert_string_equal(back.entity, task.entity);
    assert_string_equal(back.task_id, task.task_id);
    assert_string_equal(back.requested_by, task.requested_by);
    assert_int_equal(back.tenant, task.tenant);
    assert_int_equal(back.from_us, task.from_us);
    assert_int_equal(back.to_us, task.to_us);
    assert_int_equal(back.mode, task.mode);
    buf_release(&text);
}

/* ---- Expansion, over settings made by hand ---- */

static struct entity jobs = {.name = "jobs"}, invoices = {.name = "invoices"}, campaigns = {.name = "campaigns"};
static struct entity_settings entities[] = {
    {.entity = &jobs, .enabled = true, .priority = 2, .sync_mode = "incremental"},
    {.entity = &invoices, .enabled = true, .priority = 1, .sync_mode = "incremental"},
    {.entity = &campaigns, .enabled = false, .priority = 1, .sync_mode = "incremental"},
};
static struct tenant_settings tenants[] = {{.id = 7}, {.id = 8}};

struct names {
    char text[512];
};

static bool note(void *user, const struct task *single)
{
    struct names *names = user;
    size_t len = strlen(names->text);
    snprintf(names->text + len, sizeof names->text - len, "%s/%lld/%s ", single->entity, (long long)single->tenant,
             single->task_id);
    return true;
}

static void groups_are_expanded_by_priority_without_disabled_entities(void **state)
{
    (void)state;
    const struct settings settings = {.entities = entities, .entity_count = 3, .tenants = tenants, .tenant_count = 2};
    static const struct {
        struct task task;
        bool group;
        const char *singles;
    } cases[] = {
        {{.entity = "all", .task_id = "t"},
         true,
         "invoices/7/t/invoices/7 invoices/8/t/invoices/8 jobs/7/t/jobs/7 jobs/8/t/jobs/8 "},
        {{.entity = "all", .tenant = 8}, true, "invoices/8/ jobs/8/ "},
        {{.entity = "jobs"}, true, "jobs/7/ jobs/8/ "},
        {{.entity = "jobs", .tenant = 7}, false, "jobs/7/ "},
        {{.entity = "campaigns", .tenant = 7}, false, "campaigns/7/ "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct names names = {""};
        assert_int_equal(task_is_group(&cases[i].task, &settings), cases[i].group);
        assert_true(task_expand(&cases[i].task, &settings, note, &names));
        assert_string_equal(names.text, cases[i].singles);
    }
}

/* A full task is done when its id has succeeded before: ids that differ anywhere must stay different. */
static void long_ids_stay_different(void **state)
{
    (void)state;
    const struct settings settings = {.entities = entities, .entity_count = 3, .tenants = tenants, .tenant_count = 1};
    struct task a = {.entity = "jobs"}, b = {.entity = "jobs"};
    struct names first = {""}, again = {""}, other = {""};
    memset(a.task_id, 'x', sizeof a.task_id - 1);
    memset(b.task_id, 'x', sizeof b.task_id - 1);
    b.task_id[sizeof b.task_id - 2] = 'y';
    assert_true(task_expand(&a, &settings, note, &first) && task_expand(&a, &settings, note, &again) &&
                task_expand(&b, &settings, note, &other));
    assert_string_equal(first.text, again.text);
    assert_string_not_equal(first.text, other.text);
    assert_non_null(strstr(first.text, "/jobs/7 "));
}

static void what_is_not_configured_is_refused(void **state)
{
    (void)state;
    const struct settings settings = {.entities = entities, .entity_count = 3, .tenants = tenants, .tenant_count = 2};
    const struct task unknown_entity = {.entity = "job"}, unknown_tenant = {.entity = "jobs", .tenant = 9},
                      disabled_entity = {.entity = "campaigns"}, fine = {.entity = "all"};
    struct error err = ERROR_INIT;
    assert_false(task_check(&unknown_entity, &settings, &err));
    assert_string_equal(err.code, "unknown_entity");
    assert_non_null(strstr(err.message, "jobs, invoices, or all is allowed"));
    assert_false(task_check(&disabled_entity, &settings, &err));
    assert_string_equal(err.code, "entity_disabled");
    assert_non_null(strstr(err.message, "set entities.campaigns.enabled in config.json"));
    assert_false(task_check(&unknown_tenant, &settings, &err));
    assert_string_equal(err.code, "unknown_tenant");
    assert_true(task_check(&fine, &settings, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_read_or_refused_with_a_code),
        cmocka_unit_test(a_message_that_is_too_large_is_refused_unread),
        cmocka_unit_test(what_is_formatted_reads_back),
        cmocka_unit_test(groups_are_expanded_by_priority_without_disabled_entities),
        cmocka_unit_test(long_ids_stay_different),
        cmocka_unit_test(what_is_not_configured_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
