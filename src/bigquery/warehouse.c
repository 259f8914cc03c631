/* warehouse.c - the worker's short questions to the warehouse: watermark, what the stage holds of runs;
 * task_history.c has the one about a task.
 *
 * Each is one statement with parameters, so that its text never changes and BigQuery can cache its plan; texts are made
 * by the *_sql functions, which the analyzer test reads through warehouse_each_sql. */
#include "bigquery/warehouse.h"

#include <stdlib.h>

#include "base/metrics.h"
#include "bigquery/reconcile.h"
#include "chain.h"
#include "task_history.h"
#include "tables.h"

/* ---- Texts ------------------------------------------------------------------------------------------------------- */

static void watermark_sql(struct buf *out, const struct warehouse_names *names)
{
    buf_append_str(out, "SELECT last_sync_time, records_processed, updated_at, continue_from\nFROM ");
    sql_table(out, names->project, names->logs, "sync_state");
    buf_append_str(out, "\nWHERE tenant_id = @tenant AND entity_type = @entity");
}

static void verify_sql(struct buf *out, const struct warehouse_names *names, const struct entity *entity)
{
    buf_append_str(
        out, "SELECT _run_id, _fetch_id, COUNT(DISTINCT _row_number) AS distinct_rows, MIN(_staged_at) AS staged_min,\n"
             "  MAX(_staged_at) AS staged_max\nFROM ");
    sql_table(out, names->project, names->stage, entity->stage.name);
    buf_append_str(out, "\nWHERE _run_id IN UNNEST(@runs) AND _staged_at >= @since\nGROUP BY _run_id, _fetch_id");
}

/* The texts of a change that is too wide. */
static void each_split_sql(const struct warehouse_names *names, const struct entity *entity,
                           void (*fn)(void *user, const char *name, const char *sql), void *user)
{
    static const char *const days[] = {"2025-10-20", "2025-10-21"};
    const int64_t at_us = 1761040800000000;
    struct merge_scope scope = {.names = names,
                                .entity = entity,
                                .partitions = days,
                                .partition_count = 2,
                                .staged_min_us = at_us,
                                .staged_max_us = at_us + 60000000};
    struct buf sql = BUF_INIT;
    char *title = xasprintf("split %s", entity->name);
    split_sql(&sql, &scope, CHANGE_MAX_DAYS);
    fn(user, title, sql.ptr);
    free(title);
    title = xasprintf("merge part of %s", entity->name);
    buf_clear(&sql);
    scope.part_from = "2025-10-20 2025-10-20";
    scope.part_until = "2025-10-21 2025-10-30";
    merge_scope_sql(&sql, &scope);
    fn(user, title, sql.ptr);
    free(title);
    buf_release(&sql);
}

void warehouse_each_sql(const struct warehouse_names *names, const struct registry *registry,
                        void (*fn)(void *user, const char *name, const char *sql), void *user)
{
    static const char *const days[] = {"2025-10-20", "2025-10-21"};
    const int64_t at_us = 1761040800000000;
    struct buf sql = BUF_INIT;
    watermark_sql(&sql, names);
    fn(user, "watermark", sql.ptr);
    buf_clear(&sql);
    task_history_sql(&sql, names);
    fn(user, "task_history", sql.ptr);
    chain_each_sql(names, fn, user);
    for (size_t i = 0; i < registry_count(registry); i++) {
        const struct entity *entity = registry_at(registry, i);
        if (!entity->enabled)
            continue;
        char *title = xasprintf("verify %s", entity->name);
        buf_clear(&sql);
        verify_sql(&sql, names, entity);
        fn(user, title, sql.ptr);
        free(title);
        title = xasprintf("find %s", entity->name);
        buf_clear(&sql);
        find_sql(&sql, names, entity, CHANGE_MAX_DAYS);
        fn(user, title, sql.ptr);
        free(title);
        title = xasprintf("merge %s", entity->name);
        buf_clear(&sql);
        merge_sql(&sql, names, entity, days, 2, at_us, at_us + 60000000);
        fn(user, title, sql.ptr);
        free(title);
        each_split_sql(names, entity, fn, user);
        reconcile_each_sql(names, entity, fn, user);
    }
    buf_release(&sql);
}

/* ---- Questions --------------------------------------------------------------------------------------------------- */

bool warehouse_watermark(struct warehouse *w, int64_t tenant, const char *entity, struct sync_state *ret,
                         struct cancel *cancel, struct error *err)
{
    const struct bq_param params[] = {{.name = "tenant", .type = BQ_PARAM_INT64, .number = tenant},
                                      {.name = "entity", .type = BQ_PARAM_STRING, .string = entity}};
    struct buf sql = BUF_INIT;
    struct bq_result result;
    watermark_sql(&sql, &w->names);
    char tenant_text[METRIC_NUMBER_SIZE];
    const struct bq_label labels[] = {
        {"st_step", "watermark"}, {"st_entity", entity}, {"st_tenant", metric_number(tenant_text, tenant)}};
    struct bq_query query = {.sql = sql.ptr, .params = params, .param_count = 2, .labels = labels, .label_count = 3};
    bool ok = bq_query_run(w->client, &query, &result, cancel, err);
    if (ok) {
        *ret = (struct sync_state){.found = bq_result_text(&result, 0, "last_sync_time") != NULL};
        ret->last_sync_us = bq_result_int(&result, 0, "last_sync_time", 0);
        ret->records_processed = bq_result_int(&result, 0, "records_processed", 0);
        ret->updated_us = bq_result_int(&result, 0, "updated_at", 0);
        const char *token = ret->found ? bq_result_string(&result, 0, "continue_from") : "";
        if (strlen(token) < sizeof ret->continue_from)
            memcpy(ret->continue_from, token, strlen(token) + 1);
        bq_result_release(&result);
    } else {
        error_prefix(err, "watermark of '%s'", entity);
    }
    buf_release(&sql);
    return ok;
}

void stage_check_release(struct stage_check *check)
{
    free(check->fetches);
    *check = (struct stage_check){0};
}

static int by_run_and_fetch(const void *a, const void *b)
{
    const struct fetch_rows *x = a, *y = b;
    if (x->run != y->run)
        return x->run < y->run ? -1 : 1;
    return x->fetch_id < y->fetch_id ? -1 : x->fetch_id > y->fetch_id;
}

const struct fetch_rows *stage_check_find(const struct stage_check *check, size_t run, int64_t fetch_id)
{
    static const struct fetch_rows nothing = {0};
    const struct fetch_rows key = {.run = run, .fetch_id = fetch_id};
    const struct fetch_rows *found =
        check->count ? bsearch(&key, check->fetches, check->count, sizeof key, by_run_and_fetch) : NULL;
    return found ? found : &nothing;
}

static size_t run_index(const char *const *run_ids, size_t count, const char *run_id)
{
    size_t i = 0;
    while (i < count && strcmp(run_ids[i], run_id ? run_id : "") != 0)
        i++;
    return i;
}

static void read_check(const struct bq_result *result, const char *const *run_ids, size_t run_count,
                       struct stage_check *ret)
{
    *ret = (struct stage_check){.count = result->row_count};
    ret->fetches = xcalloc(result->row_count + 1, sizeof *ret->fetches);
    for (size_t i = 0; i < result->row_count; i++)
        ret->fetches[i] = (struct fetch_rows){
            .fetch_id = bq_result_int(result, i, "_fetch_id", 0),
            .distinct_rows = bq_result_int(result, i, "distinct_rows", 0),
            .run = run_index(run_ids, run_count, bq_result_text(result, i, "_run_id")),
            .staged_min_us = bq_result_int(result, i, "staged_min", 0),
            .staged_max_us = bq_result_int(result, i, "staged_max", 0),
        };
    qsort(ret->fetches, ret->count, sizeof *ret->fetches, by_run_and_fetch);
}

bool warehouse_verify_stage(struct warehouse *w, const struct entity *entity, const char *const *run_ids,
                            size_t run_count, int64_t since_us, struct stage_check *ret, struct cancel *cancel,
                            struct error *err)
{
    const struct bq_param params[] = {
        {.name = "runs", .type = BQ_PARAM_STRING_ARRAY, .strings = run_ids, .count = run_count},
        {.name = "since", .type = BQ_PARAM_TIMESTAMP, .number = since_us}};
    const struct bq_label labels[] = {{"st_step", "verify"}, {"st_run", run_ids[0]}, {"st_entity", entity->name}};
    struct buf sql = BUF_INIT;
    struct bq_result result;
    verify_sql(&sql, &w->names, entity);
    struct bq_query query = {.sql = sql.ptr, .params = params, .param_count = 2, .labels = labels, .label_count = 3};
    bool ok = bq_query_run(w->client, &query, &result, cancel, err);
    if (ok) {
        read_check(&result, run_ids, run_count, ret);
        bq_result_release(&result);
    } else {
        error_prefix(err, "stage of run '%s'", run_ids[0]);
    }
    buf_release(&sql);
    return ok;
}
