/* chain_find.c - the questions of the change chain: what waits to be merged and where, where the chain stands, what
 * became of a run.
 *
 * The search has a job id of its own, so that all workers which want to make the same change share one: its result
 * names runs and partitions, and stays right until the chain moves on, because only the chain changes the target. A
 * search that failed, or whose result has gone (BigQuery keeps results for a day), is repeated under the next id. */
#include "chain.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "rest.h"
#include "tables.h"

enum { WAIT_SLACK_MS = 60000, CANCEL_WAIT_MS = 600000, ABSENT_LOOKS = 20, ABSENT_PAUSE_MS = 500 };
#define FIND_USABLE_US (20 * INT64_C(3600000000))

/* ---- Jobs -------------------------------------------------------------------------------------------------------- */

void chain_job_id(struct buf *out, const char *dataset, const char *target, int64_t number, int find)
{
    buf_printf(out, "st_%s_%s_%lld", dataset, target, (long long)number);
    if (find > 0)
        buf_append_str(out, "_find");
    if (find > 1)
        buf_printf(out, "%d", find);
}

static bool wait_or_stop(struct warehouse *w, const char *job_id, struct bq_job *ret, struct cancel *cancel,
                         struct error *err)
{
    struct error problem = ERROR_INIT;
    bool ok = bq_job_wait(w->client, job_id, w->client->job_timeout_ms + WAIT_SLACK_MS, ret, cancel, &problem);
    if (!ok && strcmp(problem.code, "job_wait") == 0)
        ok = bq_job_cancel(w->client, job_id, cancel, &problem) &&
             bq_job_wait(w->client, job_id, CANCEL_WAIT_MS, ret, cancel, &problem);
    if (!ok && err)
        *err = problem;
    return ok;
}

bool chain_wait(struct warehouse *w, const char *job_id, struct bq_job *ret, struct cancel *cancel, struct error *err)
{
    for (int look = 0; look < ABSENT_LOOKS; look++) {
        if (!wait_or_stop(w, job_id, ret, cancel, err))
            return false;
        if (ret->state == BQ_JOB_DONE)
            return true;
        bq_job_release(ret);
        if (!cancel_sleep_ms(cancel, ABSENT_PAUSE_MS))
            return cancel_check(cancel, err);
    }
    return error_set(err, ERROR_RETRY, "job_lost", "could not find job '%s', whose id is taken", job_id);
}

/* ---- Plans ------------------------------------------------------------------------------------------------------- */

void plan_release(struct change_plan *plan)
{
    for (size_t i = 0; i < plan->run_count; i++)
        free(plan->runs[i]);
    for (size_t i = 0; i < plan->partition_count; i++)
        free(plan->partitions[i]);
    for (size_t i = 0; i < plan->stage_run_count; i++)
        free(plan->stage_runs[i]);
    free(plan->runs);
    free(plan->stage_runs);
    free(plan->rows);
    free(plan->partitions);
    free(plan->part_from);
    free(plan->part_until);
    *plan = (struct change_plan){0};
}

size_t plan_index(const struct change_plan *plan, const char *run_id)
{
    for (size_t i = 0; i < plan->run_count; i++)
        if (strcmp(plan->runs[i], run_id) == 0)
            return i;
    return SIZE_MAX;
}

static void plan_add_run(struct change_plan *plan, const struct bq_result *result, size_t row, const char *run_id)
{
    int64_t staged_min = bq_result_int(result, row, "staged_min", 0),
            staged_max = bq_result_int(result, row, "staged_max", 0);
    if (plan->run_count == 0)
        plan->days = bq_result_int(result, row, "days", 0);
    plan->stage_runs[plan->stage_run_count++] = xstrdup(run_id);
    plan->rows[plan->run_count] = bq_result_int(result, row, "row_count", 0);
    plan->runs[plan->run_count++] = xstrdup(run_id);
    if (staged_min != 0 && (plan->staged_min_us == 0 || staged_min < plan->staged_min_us))
        plan->staged_min_us = staged_min;
    if (staged_max > plan->staged_max_us)
        plan->staged_max_us = staged_max;
}

void plan_params(const struct change_plan *plan, size_t runs, struct bq_param ret[PLAN_PARAMS])
{
    ret[0] = (struct bq_param){
        .name = "runs", .type = BQ_PARAM_STRING_ARRAY, .strings = (const char *const *)plan->runs, .count = runs};
    ret[1] = (struct bq_param){.name = "stage_runs",
                               .type = BQ_PARAM_STRING_ARRAY,
                               .strings = (const char *const *)plan->stage_runs,
                               .count = plan->stage_run_count};
}

bool plan_read(const struct bq_result *result, struct change_plan *ret, struct error *err)
{
    struct change_plan plan = {0};
    plan.runs = xcalloc(result->row_count + 1, sizeof *plan.runs);
    plan.stage_runs = xcalloc(result->row_count + 1, sizeof *plan.stage_runs);
    plan.rows = xcalloc(result->row_count + 1, sizeof *plan.rows);
    plan.partitions = xcalloc(result->row_count + 1, sizeof *plan.partitions);
    for (size_t i = 0; i < result->row_count; i++) {
        const char *kind = bq_result_text(result, i, "kind"), *run_id = bq_result_text(result, i, "run_id");
        const char *date = bq_result_text(result, i, "partition_date");
        if (kind && strcmp(kind, "run") == 0 && run_id) {
            plan_add_run(&plan, result, i, run_id);
        } else if (kind && strcmp(kind, "stage") == 0 && run_id) {
            plan.stage_runs[plan.stage_run_count++] = xstrdup(run_id);
        } else if (kind && strcmp(kind, "partition") == 0 && date && strspn(date, "0123456789-") == strlen(date)) {
            plan.partitions[plan.partition_count++] = xstrdup(date);
        } else {
            plan_release(&plan);
            return error_set(err, ERROR_PERMANENT, "bad_answer", "cannot read row %zu of a find job's result", i);
        }
    }
    *ret = plan;
    return true;
}

/* ---- Find -------------------------------------------------------------------------------------------------------- */

/* Inserts the job when nobody has, and waits for it. */
static bool run_shared(struct warehouse *w, const char *job_id, const struct bq_query *query, struct bq_job *ret,
                       struct cancel *cancel, struct error *err)
{
    enum bq_insert inserted = bq_job_insert(w->client, job_id, query, cancel, err);
    if (inserted == BQ_INSERT_FAILED || !chain_wait(w, job_id, ret, cancel, err))
        return false;
    if (inserted == BQ_INSERTED)
        bq_note_billed(query, ret->bytes_billed);
    return true;
}

bool chain_share_job(struct warehouse *w, const char *job_id, const struct bq_query *query, bool *ret_usable,
                     struct error *job_error, struct cancel *cancel, struct error *err)
{
    struct bq_job job = {0};
    *ret_usable = false;
    if (!run_shared(w, job_id, query, &job, cancel, err))
        return false;
    if (job.failed)
        *job_error = job.job_error;
    else if (job.end_us != 0 && clock_wall_us() - job.end_us > FIND_USABLE_US)
        error_set(job_error, ERROR_RETRY, "find_expired", "could not use job '%s': its result is too old", job_id);
    else
        *ret_usable = true;
    bq_job_release(&job);
    return true;
}

static bool share_find(struct warehouse *w, const struct entity *entity, const char *job_id, bool *ret_usable,
                       struct error *job_error, struct cancel *cancel, struct error *err)
{
    const struct bq_label labels[] = {
        {"st_step", "find"}, {"st_entity", entity->name}, {"st_target", entity->target.name}};
    struct buf sql = BUF_INIT;
    find_sql(&sql, &w->names, entity, chain_max_days(w));
    struct bq_query query = {.sql = sql.ptr, .labels = labels, .label_count = sizeof labels / sizeof labels[0]};
    bool ok = chain_share_job(w, job_id, &query, ret_usable, job_error, cancel, err);
    buf_release(&sql);
    return ok;
}

bool chain_is_spent(const struct error *problem, struct error *job_error, struct error *err)
{
    bool spent = problem->class == ERROR_PERMANENT;
    if (spent)
        *job_error = *problem;
    else if (err)
        *err = *problem;
    return spent;
}

static bool read_plan(struct warehouse *w, const char *job_id, int find, struct change_plan *ret, struct cancel *cancel,
                      struct error *err)
{
    struct bq_result result;
    if (!bq_job_rows(w->client, job_id, &result, cancel, err))
        return false;
    bool ok = plan_read(&result, ret, err);
    ret->find = ok ? find : ret->find;
    bq_result_release(&result);
    return ok;
}

bool chain_find(struct warehouse *w, const struct entity *entity, int64_t number, int find, bool *ret_usable,
                struct change_plan *ret, struct error *job_error, struct cancel *cancel, struct error *err)
{
    struct buf job_id = BUF_INIT;
    struct error problem = ERROR_INIT;
    chain_job_id(&job_id, w->names.raw, entity->target.name, number, find);
    bool ok = share_find(w, entity, job_id.ptr, ret_usable, job_error, cancel, err);
    if (!ok || !*ret_usable)
        goto out;
    if (read_plan(w, job_id.ptr, find, ret, cancel, &problem)) {
        ok = !chain_is_wide(w, ret) || chain_split(w, entity, job_id.ptr, ret, ret_usable, job_error, cancel, err);
    } else {
        *ret_usable = false;
        ok = chain_is_spent(&problem, job_error, err);
    }
out:
    if (!ok || !*ret_usable)
        plan_release(ret);
    buf_release(&job_id);
    return ok;
}

bool chain_find_again(struct warehouse *w, const struct entity *entity, int64_t number, int find,
                      struct change_plan *ret, struct cancel *cancel)
{
    struct buf job_id = BUF_INIT;
    chain_job_id(&job_id, w->names.raw, entity->target.name, number, find);
    bool ok = read_plan(w, job_id.ptr, find, ret, cancel, NULL);
    buf_release(&job_id);
    return ok;
}

/* ---- Recorded events --------------------------------------------------------------------------------------------- */

static void head_sql(struct buf *out, const struct warehouse_names *names)
{
    buf_append_str(out, "SELECT change_number, state, error_code, ARRAY_LENGTH(run_ids) AS run_count,\n"
                        "  ARRAY_TO_STRING(run_ids, ' ') AS runs\nFROM ");
    sql_table(out, names->project, names->logs, "target_changes");
    buf_append_str(out, "\nWHERE target = @target\nORDER BY change_number DESC\nLIMIT 1");
}

static void fate_sql(struct buf *out, const struct warehouse_names *names)
{
    buf_append_str(out,
                   "SELECT 'merged' AS kind, c.change_number, ARRAY_LENGTH(c.run_ids) AS run_count, c.bytes_billed,\n"
                   "  c.rows_inserted + c.rows_updated + c.rows_deleted AS rows_changed\nFROM ");
    sql_table(out, names->project, names->logs, "target_changes");
    buf_append_str(
        out,
        " AS c\nWHERE c.target = @target AND c.state = 'success' AND @run IN UNNEST(c.run_ids)\nUNION ALL\n"
        "SELECT 'withdrawn' AS kind, 0 AS change_number, 0 AS run_count, 0 AS bytes_billed, 0 AS rows_changed\nFROM ");
    sql_table(out, names->project, names->logs, "staged_runs");
    buf_append_str(out, " AS s\nWHERE s.target = @target AND s.run_id = @run AND s.withdrawn");
}

bool chain_read_head(struct warehouse *w, const char *target, struct chain_head *ret, struct cancel *cancel,
                     struct error *err)
{
    const struct bq_param params[] = {{.name = "target", .type = BQ_PARAM_STRING, .string = target}};
    struct buf sql = BUF_INIT;
    struct bq_result result;
    head_sql(&sql, &w->names);
    const struct bq_label labels[] = {{"st_step", "chain_head"}, {"st_target", target}};
    struct bq_query query = {.sql = sql.ptr, .params = params, .param_count = 1, .labels = labels, .label_count = 2};
    bool ok = bq_query_run(w->client, &query, &result, cancel, err);
    buf_release(&sql);
    if (!ok)
        return false;
    const char *state = bq_result_text(&result, 0, "state"), *code = bq_result_text(&result, 0, "error_code");
    const char *runs = bq_result_text(&result, 0, "runs");
    *ret = (struct chain_head){.number = bq_result_int(&result, 0, "change_number", 0)};
    ret->failed = state && strcmp(state, "failed") == 0;
    ret->run_count = (size_t)bq_result_int(&result, 0, "run_count", 0);
    snprintf(ret->code, sizeof ret->code, "%s", code ? code : "");
    if (ret->run_count == 1 && runs)
        snprintf(ret->run_id, sizeof ret->run_id, "%s", runs);
    bq_result_release(&result);
    return true;
}

bool chain_read_fate(struct warehouse *w, const char *target, const char *run_id, struct run_fate *ret,
                     struct cancel *cancel, struct error *err)
{
    const struct bq_param params[] = {{.name = "target", .type = BQ_PARAM_STRING, .string = target},
                                      {.name = "run", .type = BQ_PARAM_STRING, .string = run_id}};
    struct buf sql = BUF_INIT;
    struct bq_result result;
    fate_sql(&sql, &w->names);
    const struct bq_label labels[] = {{"st_step", "run_fate"}, {"st_target", target}, {"st_run", run_id}};
    struct bq_query query = {.sql = sql.ptr, .params = params, .param_count = 2, .labels = labels, .label_count = 3};
    bool ok = bq_query_run(w->client, &query, &result, cancel, err);
    buf_release(&sql);
    if (!ok)
        return false;
    *ret = (struct run_fate){0};
    for (size_t i = 0; i < result.row_count; i++) {
        const char *kind = bq_result_text(&result, i, "kind");
        if (!kind || strcmp(kind, "merged") != 0) {
            ret->withdrawn = true;
            continue;
        }
        ret->merged = true;
        ret->change_number = bq_result_int(&result, i, "change_number", 0);
        ret->rows_changed = bq_result_int(&result, i, "rows_changed", 0);
        ret->bytes_billed = bq_result_int(&result, i, "bytes_billed", 0);
        ret->run_count = bq_result_int(&result, i, "run_count", 1);
    }
    bq_result_release(&result);
    return true;
}

void chain_each_sql(const struct warehouse_names *names, void (*fn)(void *user, const char *name, const char *sql),
                    void *user)
{
    struct buf sql = BUF_INIT;
    head_sql(&sql, names);
    fn(user, "chain_head", sql.ptr);
    buf_clear(&sql);
    fate_sql(&sql, names);
    fn(user, "run_fate", sql.ptr);
    buf_release(&sql);
}
