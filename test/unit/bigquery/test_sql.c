/* test_sql.c - the texts that are made from the registry: DDL, MERGE, find. Structure, not spelling. (That every text
 * passes Google's analyzer is test/wire's business.) */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../../src/bigquery/merge_sql.h"
#include "bigquery/warehouse.h"
#include "marts.h"
#include "tables.h"

static const struct warehouse_names names = {"proj", "st_raw_v2", "st_stage_v2", "st_mart_v2", "st_logs_v2"};
static struct registry *registry;

static int load(void **state)
{
    struct error err = ERROR_INIT;
    const char *root = getenv("ST_ROOT");
    char *path = xasprintf("%s/config/schema_registry.json", root ? root : ".");
    (void)state;
    registry = registry_load(path, &err);
    free(path);
    if (!registry)
        fail_msg("%s", err.message);
    return 0;
}

static int unload(void **state)
{
    (void)state;
    registry_free(registry);
    return 0;
}

/* Runs of white space as one space, so that layout does not matter. */
static char *squeeze(const char *text)
{
    struct buf out = BUF_INIT;
    for (; *text; text++) {
        bool space = isspace((unsigned char)*text);
        if (!space)
            buf_append_char(&out, *text);
        else if (out.len > 0 && out.ptr[out.len - 1] != ' ')
            buf_append_char(&out, ' ');
    }
    return buf_detach(&out);
}

static void expect(const char *text, const char *part)
{
    char *flat = squeeze(text);
    if (!strstr(flat, part))
        fail_msg("no '%s' in:\n%s", part, text);
    free(flat);
}

static void refuse(const char *text, const char *part)
{
    char *flat = squeeze(text);
    if (strstr(flat, part))
        fail_msg("'%s' in:\n%s", part, text);
    free(flat);
}

static size_t index_of(const struct ddl *ddl, const char *object)
{
    for (size_t i = 0; i < ddl->count; i++)
        if (strcmp(ddl->items[i].object, object) == 0)
            return i;
    fail_msg("no %s", object);
    return 0;
}

static void ddl_makes_everything_in_order(void **state)
{
    struct ddl ddl;
    (void)state;
    ddl_build(&names, registry, &ddl);
    assert_int_equal(ddl.count, 4 + events_table_count() + log_view_count() + 3 * registry_count(registry) +
                                    mart_table_count() + mart_view_count());
    size_t dataset = index_of(&ddl, "dataset st_logs_v2"), table = index_of(&ddl, "table st_logs_v2.sync_state_events");
    size_t view = index_of(&ddl, "view st_logs_v2.sync_state"), target = index_of(&ddl, "table st_raw_v2.raw_jobs");
    size_t flat = index_of(&ddl, "view st_stage_v2.jobs");
    size_t settings = index_of(&ddl, "table st_mart_v2.tenant_settings"), mart = index_of(&ddl, "view st_mart_v2.jobs");
    assert_true(dataset < table && table < view && view < target && target < flat && flat < settings &&
                settings < mart);
    expect(ddl.items[mart].sql, "FROM `proj.st_stage_v2.jobs` AS j");
    expect(ddl.items[mart].sql, "JOIN `proj.st_mart_v2.customer_survivors` AS c");
    refuse(ddl.items[mart].sql, "${");
    expect(ddl.items[dataset].sql, "CREATE SCHEMA IF NOT EXISTS `proj.st_logs_v2`");
    expect(ddl.items[target].sql, "CREATE TABLE IF NOT EXISTS `proj.st_raw_v2.raw_jobs` (");
    expect(ddl.items[target].sql, "`id` INT64 NOT NULL");
    expect(ddl.items[target].sql, "PARTITION BY DATE(`modifiedOn`) CLUSTER BY `businessUnitId`, `jobStatus`");
    refuse(ddl.items[target].sql, "partition_expiration_days");
    expect(ddl.items[index_of(&ddl, "table st_stage_v2.stage_jobs")].sql,
           "`_staged_at` TIMESTAMP DEFAULT CURRENT_TIMESTAMP()");
    expect(ddl.items[index_of(&ddl, "table st_stage_v2.stage_jobs")].sql,
           "PARTITION BY TIMESTAMP_TRUNC(`_staged_at`, HOUR)");
    expect(ddl.items[index_of(&ddl, "table st_stage_v2.stage_jobs")].sql, "partition_expiration_days=7");
    expect(ddl.items[flat].sql, "WHERE t._deleted_at IS NULL");
    expect(ddl.items[view].sql, "CREATE OR REPLACE VIEW `proj.st_logs_v2.sync_state`");
    expect(ddl.items[view].sql, "FROM `proj.st_logs_v2.sync_state_events`");
    refuse(ddl.items[table].sql, "partition_expiration_days");
    expect(ddl.items[index_of(&ddl, "table st_logs_v2.ingestion_log_events")].sql, "partition_expiration_days=365");
    ddl_release(&ddl);
    assert_int_equal(ddl.count, 0);
}

/* The script's statements are init's, but for the project. */
static void ddl_can_leave_the_project_out(void **state)
{
    struct warehouse_names without = names;
    struct ddl with, script;
    (void)state;
    without.project = NULL;
    ddl_build(&names, registry, &with);
    ddl_build(&without, registry, &script);
    assert_int_equal(with.count, script.count);
    for (size_t i = 0; i < with.count; i++) {
        struct buf text = BUF_INIT;
        const char *at = with.items[i].sql, *found;
        for (; (found = strstr(at, "`proj.")); at = found + strlen("`proj.")) {
            buf_append(&text, at, (size_t)(found - at));
            buf_append_char(&text, '`');
        }
        assert_ptr_not_equal(at, with.items[i].sql);
        buf_append_str(&text, at);
        assert_string_equal(script.items[i].sql, text.ptr);
        assert_string_equal(script.items[i].object, with.items[i].object);
        buf_release(&text);
    }
    ddl_release(&with);
    ddl_release(&script);
}

/* Nothing is made for a disabled entity, and no view that reads it, or reads one that does. */
static void what_is_disabled_is_left_out(void **state)
{
    static const char *const gone[] = {"table st_raw_v2.raw_payroll", "table st_stage_v2.stage_payroll",
                                       "view st_stage_v2.payroll", "view st_mart_v2.gross_pay_by_job",
                                       "view st_mart_v2.campaign_return"};
    enum { GONE = sizeof gone / sizeof gone[0] };
    struct ddl all, some;
    size_t payroll = 0;
    (void)state;
    while (strcmp(registry_at(registry, payroll)->name, "payroll") != 0)
        payroll++;
    ddl_build(&names, registry, &all);
    registry_set_enabled(registry, payroll, false);
    ddl_build(&names, registry, &some);
    registry_set_enabled(registry, payroll, true);
    assert_int_equal(all.count, some.count + GONE);
    for (size_t i = 0; i < GONE; i++) {
        index_of(&all, gone[i]);
        for (size_t k = 0; k < some.count; k++)
            assert_string_not_equal(some.items[k].object, gone[i]);
    }
    ddl_release(&all);
    ddl_release(&some);
}

static void flattened_names_do_not_collide(void **state)
{
    struct ddl ddl;
    (void)state;
    ddl_build(&names, registry, &ddl);
    for (size_t i = 0; i < registry_count(registry); i++) {
        char *object = xasprintf("view st_stage_v2.%s", registry_at(registry, i)->name);
        char *sql = xstrdup(ddl.items[index_of(&ddl, object)].sql);
        char *seen[512];
        size_t count = 0;
        for (char *at = strstr(sql, " AS `"); at; at = strstr(at, " AS `")) {
            at += 5;
            char *end = strchr(at, '`');
            *end = '\0';
            for (size_t k = 0; k < count; k++)
                assert_string_not_equal(seen[k], at);
            seen[count++] = at;
            at = end + 1;
        }
        assert_true(count >= registry_at(registry, i)->source_column_count);
        free(sql);
        free(object);
    }
    ddl_release(&ddl);
}

static void merge_is_pruned_and_deduplicated(void **state)
{
    static const char *const days[] = {"2025-10-20", "2025-10-21"};
    struct buf sql = BUF_INIT;
    (void)state;
    merge_sql(&sql, &names, registry_find(registry, "jobs"), days, 2, 1761040800000001, 1761040860000000);
    expect(sql.ptr, "MERGE `proj.st_raw_v2.raw_jobs` AS T USING (");
    expect(sql.ptr, "(DATE(T.`modifiedOn`) IN (DATE '2025-10-20', DATE '2025-10-21') OR T.`modifiedOn` IS NULL)");
    expect(sql.ptr, "s._staged_at >= TIMESTAMP '2025-10-21 10:00:00.000001+00:00' AND s._staged_at <= TIMESTAMP "
                    "'2025-10-21 10:01:00.000000+00:00'");
    expect(sql.ptr, "QUALIFY ROW_NUMBER() OVER (PARTITION BY s._tenant_id, s.`id` ORDER BY COALESCE(s.`modifiedOn`, "
                    "s.`createdOn`,");
    expect(sql.ptr, "s._fetch_id BETWEEN f.first_fetch AND f.last_fetch");
    expect(sql.ptr, "s._run_id IN UNNEST(@stage_runs)");
    expect(sql.ptr, "WHEN NOT MATCHED THEN INSERT (");
    expect(sql.ptr, "'servicetitan_v2'");
    refuse(sql.ptr, "_gone");
    refuse(sql.ptr, "UPDATE SET `id`");
    refuse(sql.ptr, ", `_tenant_id` = ");
    buf_release(&sql);
}

static void merge_without_old_partitions_touches_only_the_null_one(void **state)
{
    struct buf sql = BUF_INIT;
    (void)state;
    merge_sql(&sql, &names, registry_find(registry, "jobs"), NULL, 0, 1, 2);
    expect(sql.ptr, "T.`id` = S.`id` AND (T.`modifiedOn` IS NULL)");
    buf_release(&sql);
}

static void rows_without_identity_are_replaced_as_sets(void **state)
{
    struct buf sql = BUF_INIT, find = BUF_INIT;
    const struct entity *payroll = registry_find(registry, "payroll");
    (void)state;
    assert_true(payroll->id_nullable);
    merge_sql(&sql, &names, payroll, NULL, 0, 1, 2);
    expect(sql.ptr, "WHEN MATCHED AND S._gone THEN UPDATE SET _deleted_at = S._fetched_at");
    expect(sql.ptr, "WHEN NOT MATCHED AND NOT S._gone THEN INSERT (");
    expect(sql.ptr, "a.`id` < 0 AND a._full_groups");
    find_sql(&find, &names, payroll, 3900);
    expect(find.ptr, "t._group_date = k._group_date");
    buf_clear(&find);
    find_sql(&find, &names, registry_find(registry, "jobs"), 3900);
    refuse(find.ptr, "t._group_date");
    expect(find.ptr, "e.target = 'raw_jobs'");
    buf_release(&sql);
    buf_release(&find);
}

static struct merge_scope scope_of(const char *entity, const char *const *days, size_t count)
{
    return (struct merge_scope){.names = &names,
                                .entity = registry_find(registry, entity),
                                .partitions = days,
                                .partition_count = count,
                                .staged_min_us = 1,
                                .staged_max_us = 2};
}

static void a_find_takes_runs_up_to_the_bound(void **state)
{
    struct buf sql = BUF_INIT;
    (void)state;
    find_sql(&sql, &names, registry_find(registry, "jobs"), 17);
    expect(sql.ptr, "WHERE r.place = 1 OR w.days <= 17");
    expect(sql.ptr, "DATE(s.`modifiedOn`) AS landing_date");
    refuse(sql.ptr, "_row_hash"); /* which rows are news is the split's question: it costs more columns */
    buf_release(&sql);
}

static void a_split_looks_at_news_only(void **state)
{
    static const char *const days[] = {"2025-10-20", "2025-10-21"};
    struct merge_scope scope = scope_of("jobs", days, 2);
    struct buf sql = BUF_INIT;
    (void)state;
    split_sql(&sql, &scope, 17);
    expect(sql.ptr, "WHERE (DATE(t.`modifiedOn`) IN (DATE '2025-10-20', DATE '2025-10-21') OR t.`modifiedOn` IS NULL)");
    expect(sql.ptr, "w._row_hash != COALESCE(h._row_hash, '')");
    expect(sql.ptr, "MIN(IF(w.days > 17, w.part, NULL)) AS part_until");
    refuse(sql.ptr, "_gone");
    buf_clear(&sql);
    scope = scope_of("payroll", days, 2);
    split_sql(&sql, &scope, 17);
    expect(sql.ptr, "IF(w.`id` < 0 AND w._group_date IS NOT NULL, CAST(w._group_date AS STRING), CONCAT(");
    expect(sql.ptr, "h.`id` IS NULL OR w._gone OR (");
    buf_release(&sql);
}

static void a_part_keeps_rows_outside_of_it_out_of_the_source(void **state)
{
    static const char *const days[] = {"2025-10-19", "2025-10-20", "2025-10-21", "2025-10-22"};
    struct merge_scope scope = scope_of("jobs", days, 4);
    struct buf sql = BUF_INIT;
    (void)state;
    scope.part_from = "2025-10-20 2025-11-01";
    scope.part_until = "2025-10-21 2025-10-30";
    merge_scope_sql(&sql, &scope);
    expect(sql.ptr, " >= '2025-10-20 2025-11-01' AND CONCAT(COALESCE(h.old_day, ");
    expect(sql.ptr, " < '2025-10-21 2025-10-30' ) AS S ON");
    /* where the key stands is looked up everywhere, but only the part's own days are changed */
    expect(sql.ptr,
           "(DATE(t.`modifiedOn`) IN (DATE '2025-10-19', DATE '2025-10-20', DATE '2025-10-21', DATE '2025-10-22')");
    expect(sql.ptr, "T.`id` = S.`id` AND (DATE(T.`modifiedOn`) IN (DATE '2025-10-20', DATE '2025-10-21') OR T.");
    buf_clear(&sql);
    scope.part_from = " 2025-10-20"; /* rows of the NULL partition */
    scope.part_until = " 2025-10-21";
    merge_scope_sql(&sql, &scope);
    expect(sql.ptr, "T.`id` = S.`id` AND (T.`modifiedOn` IS NULL)");
    buf_clear(&sql);
    scope = scope_of("payroll", days, 4); /* rows of a group stand anywhere */
    scope.part_from = "2025-10-20";
    scope.part_until = "2025-10-21";
    merge_scope_sql(&sql, &scope);
    expect(sql.ptr, "T.`id` = S.`id` AND (DATE(T.`modifiedOn`) IN (DATE '2025-10-19', DATE '2025-10-20', DATE "
                    "'2025-10-21', DATE '2025-10-22')");
    expect(sql.ptr, "w._deleted, w._gone FROM whole AS w");
    buf_release(&sql);
}

/* As many partitions as a table may have; and more, which no table has. */
static void lists_of_partitions_stay_within_the_length_of_a_text(void **state)
{
    enum { MANY = MERGE_MAX_LISTED + 1, TEXT_LIMIT = 1000000 };
    static char texts[MANY][16];
    static const char *days[MANY];
    struct buf sql = BUF_INIT;
    (void)state;
    for (int i = 0; i < MANY; i++) {
        snprintf(texts[i], sizeof texts[i], "%04d-%02d-%02d", 1990 + i / 300, 1 + i / 25 % 12, 1 + i % 25);
        days[i] = texts[i];
    }
    struct merge_scope scope = scope_of("payroll", days, MERGE_MAX_LISTED);
    scope.part_from = "1990-01-01";
    scope.part_until = "2030-01-01";
    merge_scope_sql(&sql, &scope);
    assert_true(sql.len > 4 * 19 * MERGE_MAX_LISTED && sql.len < TEXT_LIMIT);
    buf_clear(&sql);
    scope.partition_count = MANY;
    merge_scope_sql(&sql, &scope);
    assert_true(sql.len < 50000);
    expect(sql.ptr, "(DATE(T.`modifiedOn`) BETWEEN DATE '1990-01-01' AND DATE '2023-05-01' OR T.`modifiedOn` IS NULL)");
    buf_release(&sql);
}

static void count_sql(void *user, const char *name, const char *sql)
{
    size_t *count = user;
    (*count)++;
    assert_true(strlen(name) > 0);
    assert_true(strlen(sql) > 0 && strlen(sql) < 1000000);
    assert_null(strchr(sql, '%'));
}

static void every_text_is_shown(void **state)
{
    size_t count = 0;
    (void)state;
    warehouse_each_sql(&names, registry, count_sql, &count);
    assert_int_equal(count, 4 + (5 + 5) * registry_count(registry));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ddl_makes_everything_in_order),
        cmocka_unit_test(ddl_can_leave_the_project_out),
        cmocka_unit_test(what_is_disabled_is_left_out),
        cmocka_unit_test(flattened_names_do_not_collide),
        cmocka_unit_test(merge_is_pruned_and_deduplicated),
        cmocka_unit_test(merge_without_old_partitions_touches_only_the_null_one),
        cmocka_unit_test(rows_without_identity_are_replaced_as_sets),
        cmocka_unit_test(a_find_takes_runs_up_to_the_bound),
        cmocka_unit_test(a_split_looks_at_news_only),
        cmocka_unit_test(a_part_keeps_rows_outside_of_it_out_of_the_source),
        cmocka_unit_test(lists_of_partitions_stay_within_the_length_of_a_text),
        cmocka_unit_test(every_text_is_shown),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
