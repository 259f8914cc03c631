/* task_history.c - what is known of a task when it is delivered: is it done, and else its checkpoint.
 *
 * A checkpoint is the frame of the task's first attempt and the list of accepted fetches of all attempts. Stage rows
 * live for seven days. A fetch counts for five and a half: a resumed run must have the time to be merged. That its rows
 * are all there is not asked here (warehouse_verify_stage). Nor does it count when the task was rejected for its data
 * since: whoever replays it has mended something, and wants it read. */
#include "task_history.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/metrics.h"
#include "tables.h"

/* Below the 156 hours after which no change takes a run any more (find_sql.c). */
#define FETCH_LIFE "INTERVAL 132 HOUR"
enum { MAX_ROWS = 50000 }; /* windows beyond are read again */

void task_history_sql(struct buf *out, const struct warehouse_names *names)
{
    static const char task[] = "task_id = @task AND tenant_id = @tenant AND entity_type = @entity AND mode = @mode";
    buf_append_str(out, "SELECT kind, run_id, frame_to, watermark, column_name, window_from, window_to, fetch_id, "
                        "row_count, staged_at,\n"
                        "  event_time, event_time < TIMESTAMP_SUB(CURRENT_TIMESTAMP(), " FETCH_LIFE ") AS expired\n"
                        "FROM ");
    sql_table(out, names->project, names->logs, "checkpoints");
    buf_printf(out, "\nWHERE %s\nUNION ALL\n", task);
    buf_append_str(out,
                   "SELECT IF(status = 'success', 'done', 'rejected') AS kind, MAX(run_id) AS run_id,\n"
                   "  CAST(NULL AS TIMESTAMP) AS frame_to, CAST(NULL AS TIMESTAMP) AS watermark,\n"
                   "  CAST(NULL AS STRING) AS column_name, CAST(NULL AS TIMESTAMP) AS window_from,\n"
                   "  CAST(NULL AS TIMESTAMP) AS window_to, CAST(NULL AS INT64) AS fetch_id, COUNT(*) AS row_count,\n"
                   "  CAST(NULL AS TIMESTAMP) AS staged_at, MAX(event_time) AS event_time, FALSE AS expired\nFROM ");
    sql_table(out, names->project, names->logs, "ingestion_log_events");
    buf_printf(out,
               "\nWHERE %s\n  AND (status = 'success' OR (verdict = 'reject' AND error_class = 'permanent'))\n"
               "GROUP BY kind\nORDER BY staged_at, fetch_id\nLIMIT %d",
               task, MAX_ROWS);
}

static bool is_kind(const struct bq_result *result, size_t row, const char *kind)
{
    const char *text = bq_result_text(result, row, "kind");
    return text && strcmp(text, kind) == 0;
}

static bool is_true(const struct bq_result *result, size_t row, const char *column)
{
    const char *text = bq_result_text(result, row, column);
    return text && strcmp(text, "true") == 0;
}

static void copy_id(char ret[UUID_TEXT_SIZE], const struct bq_result *result, size_t row)
{
    const char *id = bq_result_text(result, row, "run_id");
    snprintf(ret, UUID_TEXT_SIZE, "%s", id ? id : "");
}

static void read_fetch(struct task_fetch *ret, const struct bq_result *result, size_t row)
{
    const char *column = bq_result_text(result, row, "column_name");
    copy_id(ret->run_id, result, row);
    ret->fetch_id = bq_result_int(result, row, "fetch_id", 0);
    ret->rows = bq_result_int(result, row, "row_count", 0);
    ret->staged_at_us = bq_result_int(result, row, "staged_at", 0);
    ret->timeless = !column;
    ret->by_modified = column && strcmp(column, "modifiedOn") == 0;
    ret->has_from = bq_result_text(result, row, "window_from") != NULL;
    ret->has_to = bq_result_text(result, row, "window_to") != NULL;
    ret->from_us = bq_result_int(result, row, "window_from", 0);
    ret->to_us = bq_result_int(result, row, "window_to", 0);
}

static int64_t rejected_at(const struct bq_result *result)
{
    for (size_t i = 0; i < result->row_count; i++)
        if (is_kind(result, i, "rejected"))
            return bq_result_int(result, i, "event_time", 0);
    return 0;
}

static void read_frame(struct task_history *ret, const struct bq_result *result, size_t row)
{
    ret->has_frame = true;
    ret->frame_to_us = bq_result_int(result, row, "frame_to", 0);
    ret->watermark_us = bq_result_int(result, row, "watermark", 0);
    copy_id(ret->first_run_id, result, row);
}

static void read_state(const struct bq_result *result, struct task_history *ret)
{
    int64_t rejected_us = rejected_at(result);
    *ret = (struct task_history){0};
    ret->fetches = xcalloc(result->row_count + 1, sizeof *ret->fetches);
    for (size_t i = 0; i < result->row_count; i++) {
        if (is_kind(result, i, "done"))
            ret->done = true;
        else if (is_kind(result, i, "frame"))
            read_frame(ret, result, i);
        else if (is_kind(result, i, "fetch") && bq_result_int(result, i, "event_time", 0) > rejected_us &&
                 !is_true(result, i, "expired"))
            read_fetch(&ret->fetches[ret->fetch_count++], result, i);
        else if (is_kind(result, i, "fetch"))
            ret->void_count++;
    }
}

void task_history_release(struct task_history *state)
{
    free(state->fetches);
    *state = (struct task_history){0};
}

bool warehouse_task_history(struct warehouse *w, const struct task_key *task, struct task_history *ret,
                            struct cancel *cancel, struct error *err)
{
    const struct bq_param params[] = {
        {.name = "task", .type = BQ_PARAM_STRING, .string = task->task_id},
        {.name = "tenant", .type = BQ_PARAM_INT64, .number = task->tenant},
        {.name = "entity", .type = BQ_PARAM_STRING, .string = task->entity},
        {.name = "mode", .type = BQ_PARAM_STRING, .string = task->mode},
    };
    struct buf sql = BUF_INIT;
    struct bq_result result;
    char tenant[METRIC_NUMBER_SIZE];
    const struct bq_label labels[] = {{"st_step", "task_history"},
                                      {"st_entity", task->entity},
                                      {"st_tenant", metric_number(tenant, task->tenant)},
                                      {"st_mode", task->mode}};
    task_history_sql(&sql, &w->names);
    const struct bq_query query = {
        .sql = sql.ptr, .params = params, .param_count = 4, .labels = labels, .label_count = 4};
    bool ok = bq_query_run(w->client, &query, &result, cancel, err);
    if (ok) {
        read_state(&result, ret);
        bq_result_release(&result);
    } else {
        error_prefix(err, "checkpoint of task '%s'", task->task_id);
    }
    buf_release(&sql);
    return ok;
}
