#include "operate/backfill_progress.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

enum { LIST_MAX = 1000 };
#define SECOND_US INT64_C(1000000)
#define SINCE_SLACK_US (3600 * SECOND_US) /* the plan's time may be of our clock, event times are BigQuery's */

/* ---- Texts -------------------------------------------------------------------------------------------------------- */

/* Per slice the run that tells most: a success, else the newest; of one run its end. A run that ended before the slice
 * was asked for again tells nothing about the new message. Three pairs of holes: project and dataset of the logs; the
 * condition on slices and on runs is the caller's. */
#define SLICES_WITH_RUNS                                                                                               \
    "SELECT s.backfill_id, s.slice_number, s.entity_type, s.tenant_id, s.window_from, s.window_to, "                   \
    "s.records_expected,\n"                                                                                            \
    "  s.requests_expected, s.task_id, s.message_id, s.retries,\n"                                                     \
    "  CASE WHEN r.status IN ('success', 'skipped') THEN 'done'\n"                                                     \
    "       WHEN r.status IS NULL OR r.event_time < s.requested_at\n"                                                  \
    "         THEN IF(s.published_at IS NULL, 'unpublished', 'queued')\n"                                              \
    "       WHEN r.status = 'running' THEN 'running'\n"                                                                \
    "       WHEN r.verdict = 'reject' THEN 'rejected'\n"                                                               \
    "       ELSE 'retrying' END AS state,\n"                                                                           \
    "  r.run_id, r.records_inserted AS records, r.start_time, r.end_time, r.error_code, r.error_message\n"             \
    "FROM `%s.%s.backfill_slices` AS s\n"                                                                              \
    "LEFT JOIN (\n"                                                                                                    \
    "  SELECT task_id, run_id, status, verdict, records_inserted, start_time, end_time, error_code, "                  \
    "error_message,\n"                                                                                                 \
    "    event_time\n"                                                                                                 \
    "  FROM `%s.%s.ingestion_log_events`\n"                                                                            \
    "  WHERE mode = 'backfill' AND STARTS_WITH(task_id, @tasks) AND event_time >= @since\n"                            \
    "  QUALIFY ROW_NUMBER() OVER (PARTITION BY task_id ORDER BY\n"                                                     \
    "    CASE status WHEN 'success' THEN 0 WHEN 'skipped' THEN 1 ELSE 2 END, start_time DESC,\n"                       \
    "    IF(status = 'running', 1, 0), event_time DESC) = 1\n"                                                         \
    ") AS r ON r.task_id = s.task_id\n"                                                                                \
    "WHERE STARTS_WITH(s.backfill_id, @backfill)"

static char *progress_text(const struct settings *s)
{
    return xasprintf(SLICES_WITH_RUNS "\nORDER BY slice_number", s->bq_project, s->bq_dataset_logs, s->bq_project,
                     s->bq_dataset_logs);
}

static char *list_text(const struct settings *s, int64_t limit)
{
    return xasprintf("SELECT b.backfill_id, b.created_at, b.entities, b.window_from, b.window_to, b.slices,\n"
                     "  COUNTIF(x.state = 'done') AS done, COUNTIF(x.state = 'running') AS running,\n"
                     "  COUNTIF(x.state = 'queued') AS queued, COUNTIF(x.state = 'retrying') AS retrying,\n"
                     "  COUNTIF(x.state = 'rejected') AS rejected, COUNTIF(x.state = 'unpublished') AS unpublished,\n"
                     "  SUM(IF(x.state = 'done', x.records, 0)) AS records, b.records_expected\n"
                     "FROM `%s.%s.backfills` AS b\n"
                     "JOIN (\n" SLICES_WITH_RUNS "\n) AS x ON x.backfill_id = b.backfill_id\n"
                     "GROUP BY b.backfill_id, b.created_at, b.entities, b.window_from, b.window_to, b.slices, "
                     "b.records_expected\n"
                     "ORDER BY b.created_at DESC, b.backfill_id\n"
                     "LIMIT %lld",
                     s->bq_project, s->bq_dataset_logs, s->bq_project, s->bq_dataset_logs, s->bq_project,
                     s->bq_dataset_logs, (long long)(limit < 1 || limit > LIST_MAX ? LIST_MAX : limit));
}

void backfill_progress_each_sql(const struct settings *s, void (*fn)(void *user, const char *name, const char *sql),
                                void *user)
{
    char *texts[] = {progress_text(s), list_text(s, 20)};
    static const char *const names[] = {"backfill progress", "backfill list"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        fn(user, names[i], texts[i]);
        free(texts[i]);
    }
}

/* Consumes the text. An empty id means all backfills. */
static bool ask(struct services *services, char *sql, const char *id, int64_t since_us, struct bq_result *ret,
                struct cancel *cancel, struct error *err)
{
    char tasks[BACKFILL_TASK_ID_SIZE];
    snprintf(tasks, sizeof tasks, "bf-%s%s", id, id[0] ? "-" : "");
    const struct bq_param params[] = {
        {.name = "tasks", .type = BQ_PARAM_STRING, .string = tasks},
        {.name = "since", .type = BQ_PARAM_TIMESTAMP, .number = since_us},
        {.name = "backfill", .type = BQ_PARAM_STRING, .string = id},
    };
    const struct bq_label step = {"st_step", "backfill"};
    const struct bq_query query = {
        .sql = sql,
        .params = params,
        .param_count = sizeof params / sizeof params[0],
        .labels = &step,
        .label_count = 1,
    };
    bool ok = bq_query_run(services->bigquery, &query, ret, cancel, err) || error_prefix(err, "reading backfills");
    free(sql);
    return ok;
}

bool backfill_list(struct services *services, int64_t limit, struct bq_result *ret, struct cancel *cancel,
                   struct error *err)
{
    return ask(services, list_text(services->settings, limit), "", 0, ret, cancel, err);
}

/* ---- Progress of one ---------------------------------------------------------------------------------------------- */

static const char *const state_names[SLICE_STATES] = {
    [SLICE_UNPUBLISHED] = "unpublished", [SLICE_QUEUED] = "queued", [SLICE_RUNNING] = "running",
    [SLICE_RETRYING] = "retrying",       [SLICE_DONE] = "done",     [SLICE_REJECTED] = "rejected"};

const char *slice_state_name(enum slice_state state)
{
    return state_names[state];
}

static enum slice_state state_of(const char *name)
{
    for (int i = 0; i < SLICE_STATES; i++)
        if (strcmp(state_names[i], name) == 0)
            return (enum slice_state)i;
    return SLICE_QUEUED;
}

static void read_status(const struct bq_result *r, size_t row, struct slice_status *ret)
{
    *ret = (struct slice_status){
        .number = bq_result_int(r, row, "slice_number", 0),
        .tenant = bq_result_int(r, row, "tenant_id", 0),
        .from_us = bq_result_int(r, row, "window_from", 0),
        .to_us = bq_result_int(r, row, "window_to", 0),
        .requests = bq_result_int(r, row, "requests_expected", 0),
        .state = state_of(bq_result_string(r, row, "state")),
        .records = bq_result_int(r, row, "records", 0),
        .start_us = bq_result_int(r, row, "start_time", 0),
        .end_us = bq_result_int(r, row, "end_time", 0),
    };
    snprintf(ret->entity, sizeof ret->entity, "%s", bq_result_string(r, row, "entity_type"));
    snprintf(ret->run_id, sizeof ret->run_id, "%s", bq_result_string(r, row, "run_id"));
    if (ret->state == SLICE_RETRYING || ret->state == SLICE_REJECTED) {
        snprintf(ret->error_code, sizeof ret->error_code, "%s", bq_result_string(r, row, "error_code"));
        snprintf(ret->error_message, sizeof ret->error_message, "%s", bq_result_string(r, row, "error_message"));
    }
}

bool backfill_progress_read(struct services *services, const struct backfill *b, struct backfill_progress *ret,
                            struct cancel *cancel, struct error *err)
{
    struct bq_result result = {0};
    *ret = (struct backfill_progress){0};
    bool ok =
        ask(services, progress_text(services->settings), b->id, b->created_us - SINCE_SLACK_US, &result, cancel, err);
    if (ok) {
        ret->slices = xcalloc(result.row_count + 1, sizeof ret->slices[0]);
        ret->count = result.row_count;
        for (size_t i = 0; i < result.row_count; i++)
            read_status(&result, i, &ret->slices[i]);
        backfill_progress_sum(ret, clock_wall_us());
    }
    bq_result_release(&result);
    return ok;
}

bool backfill_is_final(const struct backfill_progress *p)
{
    return p->states[SLICE_DONE] + p->states[SLICE_REJECTED] == p->count;
}

/* ---- Sums --------------------------------------------------------------------------------------------------------- */

static bool is_final(const struct slice_status *slice)
{
    return slice->state == SLICE_DONE || slice->state == SLICE_REJECTED;
}

/* The last minutes, or less where the first run began later. */
static int64_t rate_begin_us(const struct backfill_progress *p, int64_t now_us)
{
    int64_t first_us = now_us, window_us = PROGRESS_RATE_MINUTES * 60 * SECOND_US;
    for (size_t i = 0; i < p->count; i++)
        if (p->slices[i].start_us && p->slices[i].start_us < first_us)
            first_us = p->slices[i].start_us;
    return first_us > now_us - window_us ? first_us : now_us - window_us;
}

void backfill_progress_sum(struct backfill_progress *p, int64_t now_us)
{
    int64_t begin_us = rate_begin_us(p, now_us), records = 0, requests = 0, left = 0;
    memset(p->states, 0, sizeof p->states);
    p->records = 0;
    for (size_t i = 0; i < p->count; i++) {
        const struct slice_status *slice = &p->slices[i];
        bool recent = slice->state == SLICE_DONE && slice->end_us > begin_us;
        p->states[slice->state]++;
        p->records += slice->state == SLICE_DONE ? slice->records : 0;
        records += recent ? slice->records : 0;
        requests += recent ? slice->requests : 0;
        left += is_final(slice) ? 0 : slice->requests;
    }
    int64_t span_us = now_us > begin_us ? now_us - begin_us : 1;
    p->records_per_minute = (int64_t)((double)records * 60e6 / (double)span_us);
    p->eta_s = left == 0 ? 0 : requests == 0 ? -1 : (int64_t)((double)left / (double)requests * (double)span_us / 1e6);
}
