-- Which runs have begun and not ended?
--
-- Grain: one row per run, oldest first. A run stays here for good when its worker was killed; its message comes again and makes
-- another run, so look for a later run of the same task.
-- Cost: the columns named here, of all runs that are kept (365 days): some 20 MB for a tenant after a year.
-- Parameters: BQ_PROJECT_ID, BQ_DATASET_LOGS.
SELECT r.tenant_id, r.entity_type, r.mode, r.start_time,
  TIMESTAMP_DIFF(CURRENT_TIMESTAMP(), r.start_time, MINUTE) AS minutes,
  COUNT(later.run_id) AS later_runs_of_the_task, r.delivery_attempt, r.worker, r.run_id, r.task_id
FROM `${BQ_PROJECT_ID}.${BQ_DATASET_LOGS}.ingestion_logs` AS r
LEFT JOIN `${BQ_PROJECT_ID}.${BQ_DATASET_LOGS}.ingestion_logs` AS later
  ON later.task_id = r.task_id AND later.tenant_id = r.tenant_id AND later.entity_type = r.entity_type
  AND later.start_time > r.start_time
WHERE r.status = 'running'
GROUP BY r.tenant_id, r.entity_type, r.mode, r.start_time, r.delivery_attempt, r.worker, r.run_id, r.task_id
ORDER BY r.start_time, r.run_id;
