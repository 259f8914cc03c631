/* clang-format off */ /* One option a line reads as a table. */
/* The table of options. Adding one: a row here, a member in struct settings; everything else follows (make docs). */
#include <stddef.h>

#include "dispatch/settings.h"

#define ST "ServiceTitan"
#define BQ "BigQuery"
#define PS "Pub/Sub"
#define GO "Google"
#define SY "Sync"
#define PR "Program"
#define AT(member) offsetof(struct settings, member)

/* Without designators per cell: env, json, type, offset, default, min, max, choices, needed by, section, text. */
const struct option_row settings_rows[] = {
    {"ST_CLIENT_ID", NULL, OPTION_SECRET, AT(st_client_id), NULL, 0, 0, NULL, SETTINGS_ONE_TENANT, ST, "Client id of the ServiceTitan app, for one tenant."},
    {"ST_CLIENT_SECRET", NULL, OPTION_SECRET, AT(st_client_secret), NULL, 0, 0, NULL, SETTINGS_ONE_TENANT, ST, "Client secret of the ServiceTitan app."},
    {"ST_TENANT_ID", NULL, OPTION_STRING, AT(st_tenant_id), NULL, 0, 0, NULL, SETTINGS_ONE_TENANT, ST, "Tenant id, for one tenant; several stand in the config's tenants list."},
    {"ST_APP_KEY", NULL, OPTION_SECRET, AT(st_app_key), NULL, 0, 0, NULL, SETTINGS_ONE_TENANT, ST, "Application key, sent as ST-App-Key."},
    {"ST_API_URL", "servicetitan.apiUrl", OPTION_URL, AT(st_api_url), "https://api.servicetitan.io", 0, 0, NULL, 0, ST, "Base of the API; the integration environment has its own."},
    {"ST_AUTH_URL", "servicetitan.authUrl", OPTION_URL, AT(st_auth_url), "https://auth.servicetitan.io/connect/token", 0, 0, NULL, 0, ST, "Token endpoint."},
    {"ST_PAGE_SIZE", "servicetitan.pageSize", OPTION_INT, AT(st_page_size), "5000", 1, 5000, NULL, 0, ST, "Largest page to ask for; windows are cut so that each fits one."},
    {"RATE_LIMIT_PER_SECOND", "servicetitan.rateLimitPerSecond", OPTION_INT, AT(st_rate_per_second), "10", 1, 60, NULL, 0, ST, "Requests per second and tenant (ServiceTitan allows 60)."},
    {"ST_RATE_BURST", "servicetitan.rateBurst", OPTION_INT, AT(st_burst), "20", 1, 120, NULL, 0, ST, "Size of the token bucket."},
    {"ST_TIMEOUT_MS", "servicetitan.timeoutMs", OPTION_INT, AT(st_timeout_ms), "120000", 1000, 600000, NULL, 0, ST, "Time-out of one request in milliseconds."},
    {"BQ_PROJECT_ID", "bigquery.projectId", OPTION_NAME, AT(bq_project), NULL, 0, 0, NULL, SETTINGS_BIGQUERY, BQ, "Google Cloud project of the datasets and jobs."},
    {"BQ_LOCATION", "bigquery.location", OPTION_NAME, AT(bq_location), "US", 0, 0, NULL, 0, BQ, "Location of the datasets; every call carries it."},
    {"BQ_DATASET_RAW", "bigquery.datasets.raw", OPTION_NAME, AT(bq_dataset_raw), "st_raw_v2", 0, 0, NULL, 0, BQ, "Dataset of the target tables."},
    {"BQ_DATASET_STAGE", "bigquery.datasets.stage", OPTION_NAME, AT(bq_dataset_stage), "st_stage_v2", 0, 0, NULL, 0, BQ, "Dataset of the stage tables."},
    {"BQ_DATASET_MART", "bigquery.datasets.mart", OPTION_NAME, AT(bq_dataset_mart), "st_mart_v2", 0, 0, NULL, 0, BQ, "Dataset of the analysts' views."},
    {"BQ_DATASET_LOGS", "bigquery.datasets.logs", OPTION_NAME, AT(bq_dataset_logs), "st_logs_v2", 0, 0, NULL, 0, BQ, "Dataset of sync state and run logs."},
    {"BQ_JOB_TIMEOUT_S", "bigquery.jobTimeoutSeconds", OPTION_INT, AT(bq_job_timeout_s), "1800", 10, 21600, NULL, 0, BQ, "Time limit of every query job in seconds."},
    {"BIGQUERY_EMULATOR_HOST", NULL, OPTION_URL, AT(bq_emulator_host), NULL, 0, 0, NULL, 0, BQ, "REST base URL of a local server instead of Google's."},
    {"BIGQUERY_STORAGE_EMULATOR_HOST", NULL, OPTION_HOST_PORT, AT(bq_storage_emulator_host), NULL, 0, 0, NULL, 0, BQ, "host:port of a local Storage Write server (plaintext, loopback)."},
    {"PUBSUB_PROJECT_ID", "pubsub.projectId", OPTION_NAME, AT(pubsub_project), NULL, 0, 0, NULL, SETTINGS_PUBSUB, PS, "Google Cloud project of the topics."},
    {"PUBSUB_TOPIC", "pubsub.topic", OPTION_NAME, AT(pubsub_topic), "st-ingest", 0, 0, NULL, 0, PS, "Topic of the live lane."},
    {"PUBSUB_SUBSCRIPTION", "pubsub.subscription", OPTION_NAME, AT(pubsub_subscription), "st-ingest-worker", 0, 0, NULL, 0, PS, "Subscription of the live lane."},
    {"PUBSUB_BACKFILL_TOPIC", "pubsub.backfillTopic", OPTION_NAME, AT(pubsub_backfill_topic), "st-backfill", 0, 0, NULL, 0, PS, "Topic of the backfill lane."},
    {"PUBSUB_BACKFILL_SUBSCRIPTION", "pubsub.backfillSubscription", OPTION_NAME, AT(pubsub_backfill_subscription), "st-backfill-worker", 0, 0, NULL, 0, PS, "Subscription of the backfill lane."},
    {"PUBSUB_DEAD_LETTER_TOPIC", "pubsub.deadLetterTopic", OPTION_NAME, AT(pubsub_dead_letter_topic), "st-dead-letter", 0, 0, NULL, 0, PS, "Topic for messages that were given up."},
    {"PUBSUB_DEAD_LETTER_SUBSCRIPTION", "pubsub.deadLetterSubscription", OPTION_NAME, AT(pubsub_dead_letter_subscription), "st-dead-letter-operator", 0, 0, NULL, 0, PS, "Subscription from which operators read and replay."},
    {"PUBSUB_EMULATOR_HOST", NULL, OPTION_HOST_PORT, AT(pubsub_emulator_host), NULL, 0, 0, NULL, 0, PS, "host:port of a local Pub/Sub server (plaintext, loopback)."},
    {"GOOGLE_APPLICATION_CREDENTIALS", NULL, OPTION_STRING, AT(google_credentials), NULL, 0, 0, NULL, 0, GO, "Path of a credentials file; without it: the gcloud login, then the metadata server."},
    {"DEFAULT_MODE", "sync.defaultMode", OPTION_CHOICE, AT(default_mode), "entity", 0, 0, "entity|incremental|full|auto", 0, SY, "Mode of a dispatch that names none: each entity's syncMode, one mode for all, or auto (full on the full-sync day)."},
    {"FULL_SYNC_DAY", "sync.fullSyncDay", OPTION_CHOICE, AT(full_sync_day), "sunday", 0, 0, "monday|tuesday|wednesday|thursday|friday|saturday|sunday|never", 0, SY, "Weekday (UTC) on which mode auto is a full sync."},
    {"SCHEDULE_TIME_ZONE", "sync.timeZone", OPTION_STRING, AT(schedule_time_zone), "America/Los_Angeles", 0, 0, NULL, 0, SY, "Time zone of the entities' schedules (a name of the tz database)."},
    {"LOOKBACK_DAYS", "sync.lookbackDays", OPTION_INT, AT(lookback_days), "7", 1, 36500, NULL, 0, SY, "How far back an entity's first incremental run reads."},
    {"SYNC_OVERLAP_SECONDS", "sync.overlapSeconds", OPTION_INT, AT(overlap_s), "300", 60, 86400, NULL, 0, SY, "How far the watermark trails the start of a run; lists lag by 1 to 3 minutes."},
    {"WORKER_CONCURRENCY", "sync.concurrency", OPTION_INT, AT(worker_concurrency), "8", 1, 64, NULL, 0, SY, "Runs at once in one worker; one of several is kept for the live lane."},
    {"MAX_CONCURRENT_REQUESTS", "sync.maxConcurrentRequests", OPTION_INT, AT(max_concurrent_requests), "16", 1, 256, NULL, 0, SY, "ServiceTitan requests in flight in one worker; one of several is kept for the live lane."},
    {"MAX_RETRIES", "sync.maxRetries", OPTION_INT, AT(max_retries), "5", 0, 20, NULL, 0, SY, "Tries after the first of one request: 1, 2, 4, 8, 16 s apart."},
    {"QUARANTINE_PERCENT", "sync.quarantinePercent", OPTION_INT, AT(quarantine_percent), "5", 0, 100, NULL, 0, SY, "A run with a larger share of records that break their schema fails."},
    {"PORT", NULL, OPTION_INT, AT(port), "8080", 1, 65535, NULL, 0, PR, "Port of the HTTP API."},
    {"WORKER_PORT", "worker.port", OPTION_INT, AT(worker_port), "0", 0, 65535, NULL, 0, PR, "Port of the worker's /health, /ready and /metrics; 0: none."},
    {"WORKER_BIND", "worker.bind", OPTION_STRING, AT(worker_bind), "127.0.0.1", 0, 0, NULL, 0, PR, "IP address that the worker's port listens on; in a container 0.0.0.0."},
    {"LOG_PROGRESS_SECONDS", "logging.progressSeconds", OPTION_INT, AT(log_progress_s), "10", 1, 3600, NULL, 0, PR, "How often a run that is under way logs its progress."},
    {"LOG_LEVEL", "logging.level", OPTION_CHOICE, AT(log_level), "info", 0, 0, "debug|info|warn|error|fatal", 0, PR, "Least severe log line that is written."},
};

size_t settings_row_count(void)
{
    return sizeof settings_rows / sizeof settings_rows[0];
}
