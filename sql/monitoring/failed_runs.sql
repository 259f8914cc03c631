-- Which runs failed in the last 24 hours, and why?
--
-- Grain: one row per failed run, newest first. A message that is tried again makes a run of its own each time.
-- Cost: the columns named here, of all runs that are kept (365 days): some 20 MB for a tenant after a year.
-- Parameters: BQ_PROJECT_ID, BQ_DATASET_LOGS.
SELECT tenant_id, entity_type, mode, start_time, delivery_attempt, error_class, error_code, run_id, task_id, error_message
FROM `${BQ_PROJECT_ID}.${BQ_DATASET_LOGS}.ingestion_logs`
WHERE status = 'failed'
  AND start_time >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 24 HOUR)
ORDER BY start_time DESC, run_id;
