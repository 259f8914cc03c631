/* The operator's questions to the warehouse: statements over the views of st_logs_v2, with parameters. */
#include "operate/operate.h"

#include <stdlib.h>

#include "base/metrics.h"
#include "dispatch/due.h"
#include "operate/backfill_progress.h"
#include "operate/task_watch.h"

/* %s: project.dataset of the logs. Tenant 0 and entity '' mean all of them. */
static const char status_sql[] =
    "SELECT r.tenant_id, r.entity_type, r.status, r.mode, r.start_time, r.duration_ms, r.records_fetched, "
    "r.records_inserted,\n"
    "       s.last_sync_time, r.error_message\n"
    "FROM (SELECT * FROM `%s.%s.ingestion_logs`\n"
    "      WHERE (@tenant = 0 OR tenant_id = @tenant) AND (@entity = '' OR entity_type = @entity)\n"
    "      QUALIFY ROW_NUMBER() OVER (PARTITION BY tenant_id, entity_type ORDER BY start_time DESC, run_id) = 1) AS r\n"
    "LEFT JOIN `%s.%s.sync_state` AS s ON s.tenant_id = r.tenant_id AND s.entity_type = r.entity_type\n"
    "ORDER BY r.tenant_id, r.entity_type";
static const char runs_sql[] =
    "SELECT run_id, tenant_id, entity_type, mode, status, start_time, end_time, records_fetched, records_inserted, "
    "duration_ms, error_message\n"
    "FROM `%s.%s.ingestion_logs`\n"
    "WHERE (@tenant = 0 OR tenant_id = @tenant) AND (@entity = '' OR entity_type = @entity)\n"
    "ORDER BY start_time DESC, run_id\n"
    "LIMIT %lld";
/* The events, not the view: a skipped run is told, too. */
static const char run_sql[] =
    "SELECT run_id, task_id, tenant_id, entity_type, mode, status, verdict, start_time, end_time, duration_ms, "
    "records_fetched,\n"
    "  records_inserted, records_quarantined, rows_changed, requests, bytes_billed, delivery_attempt, frame_to, "
    "watermark,\n"
    "  error_message, error_code\n"
    "FROM `%s.%s.ingestion_log_events`\n"
    "WHERE run_id = @run AND (@tenant = 0 OR tenant_id = @tenant)\n"
    "ORDER BY IF(status = 'running', 1, 0), event_time DESC\n"
    "LIMIT 1";
static const char last_sync_sql[] =
    "SELECT tenant_id, entity_type, last_sync_time\n"
    "FROM `%s.%s.sync_state`\n"
    "WHERE (@tenant = 0 OR tenant_id = @tenant) AND (@entity = '' OR entity_type = @entity)\n"
    "ORDER BY tenant_id, entity_type";

enum { RUNS_LIMIT_MAX = 1000 };

static bool run_query(struct services *v, const char *sql, int64_t tenant, const char *entity, struct bq_result *ret,
                      struct cancel *cancel, struct error *err)
{
    const struct bq_param params[] = {
        {.name = "tenant", .type = BQ_PARAM_INT64, .number = tenant},
        {.name = "entity", .type = BQ_PARAM_STRING, .string = entity ? entity : ""},
    };
    char tenant_text[METRIC_NUMBER_SIZE];
    const struct bq_label labels[] = {{"st_step", "status"},
                                      {"st_entity", entity ? entity : "all"},
                                      {"st_tenant", tenant ? metric_number(tenant_text, tenant) : "all"}};
    const struct bq_query query = {.sql = sql, .params = params, .param_count = 2, .labels = labels, .label_count = 3};
    return bq_query_run(v->bigquery, &query, ret, cancel, err);
}

static char *status_text(const struct settings *s)
{
    return xasprintf(status_sql, s->bq_project, s->bq_dataset_logs, s->bq_project, s->bq_dataset_logs);
}

static char *runs_text(const struct settings *s, int64_t limit)
{
    if (limit < 1 || limit > RUNS_LIMIT_MAX)
        limit = RUNS_LIMIT_MAX;
    return xasprintf(runs_sql, s->bq_project, s->bq_dataset_logs, (long long)limit);
}

static char *run_text(const struct settings *s)
{
    return xasprintf(run_sql, s->bq_project, s->bq_dataset_logs);
}

static char *last_sync_text(const struct settings *s)
{
    return xasprintf(last_sync_sql, s->bq_project, s->bq_dataset_logs);
}

static bool send_text(struct services *v, char *sql, int64_t tenant, const char *entity, struct bq_result *ret,
                      struct cancel *cancel, struct error *err)
{
    bool ok = run_query(v, sql, tenant, entity, ret, cancel, err);
    free(sql);
    return ok;
}

bool operate_status(struct services *v, int64_t tenant, const char *entity, struct bq_result *ret,
                    struct cancel *cancel, struct error *err)
{
    return send_text(v, status_text(v->settings), tenant, entity, ret, cancel, err);
}

bool operate_runs(struct services *v, int64_t tenant, const char *entity, int64_t limit, struct bq_result *ret,
                  struct cancel *cancel, struct error *err)
{
    return send_text(v, runs_text(v->settings, limit), tenant, entity, ret, cancel, err);
}

bool operate_run(struct services *v, int64_t tenant, const char *run_id, struct bq_result *ret, struct cancel *cancel,
                 struct error *err)
{
    const struct bq_param params[] = {
        {.name = "tenant", .type = BQ_PARAM_INT64, .number = tenant},
        {.name = "run", .type = BQ_PARAM_STRING, .string = run_id},
    };
    char *sql = run_text(v->settings);
    char text[METRIC_NUMBER_SIZE];
    const struct bq_label labels[] = {
        {"st_step", "run"},
        {"st_run", run_id},
        {"st_tenant", tenant ? metric_number(text, tenant) : "all"},
    };
    const struct bq_query query = {.sql = sql, .params = params, .param_count = 2, .labels = labels, .label_count = 3};
    bool ok = bq_query_run(v->bigquery, &query, ret, cancel, err);
    free(sql);
    return ok;
}

bool operate_last_sync(struct services *v, int64_t tenant, const char *entity, struct bq_result *ret,
                       struct cancel *cancel, struct error *err)
{
    return send_text(v, last_sync_text(v->settings), tenant, entity, ret, cancel, err);
}

void operate_each_sql(const struct settings *s, void (*fn)(void *user, const char *name, const char *sql), void *user)
{
    char *texts[] = {status_text(s), runs_text(s, 10), last_sync_text(s), tasks_look_sql(s), due_sql(s), run_text(s)};
    static const char *const names[] = {"operate status", "operate runs", "operate last-sync",
                                        "operate tasks",  "dispatch due", "operate run"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        fn(user, names[i], texts[i]);
        free(texts[i]);
    }
    backfill_each_sql(s, fn, user);
    backfill_progress_each_sql(s, fn, user);
}
