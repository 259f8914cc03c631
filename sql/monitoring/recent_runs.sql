-- Which runs started today (UTC), and how did they end?
--
-- Grain: one row per run, newest first.
-- Cost: the columns named here, of all runs that are kept (365 days): some 20 MB for a tenant after a year.
-- Parameters: BQ_PROJECT_ID, BQ_DATASET_LOGS.
SELECT tenant_id, entity_type, mode, start_time, status, records_fetched, records_inserted, rows_changed, duration_ms, run_id
FROM `${BQ_PROJECT_ID}.${BQ_DATASET_LOGS}.ingestion_logs`
WHERE DATE(start_time) = CURRENT_DATE()
ORDER BY start_time DESC, run_id;
