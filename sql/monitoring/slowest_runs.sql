-- Which runs of the last 7 days took longest?
--
-- Grain: one row per run that ended, the 20 longest.
-- Cost: the columns named here, of all runs that are kept (365 days): some 20 MB for a tenant after a year.
-- Parameters: BQ_PROJECT_ID, BQ_DATASET_LOGS.
SELECT tenant_id, entity_type, mode, start_time, status, ROUND(duration_ms / 1000, 1) AS seconds, records_fetched, requests,
  CAST(SAFE_DIVIDE(records_fetched * 1000, duration_ms) AS INT64) AS records_per_second, run_id
FROM `${BQ_PROJECT_ID}.${BQ_DATASET_LOGS}.ingestion_logs`
WHERE duration_ms IS NOT NULL
  AND start_time >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 7 DAY)
ORDER BY duration_ms DESC, run_id
LIMIT 20;
