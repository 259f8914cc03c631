-- What was changed in each target in the last 7 days?
--
-- Grain: one row per target table. A change takes along all runs that are ready, so there are fewer changes than runs.
-- Cost: the columns named here, of all changes ever made: some 10 MB for a tenant after a year; they never expire.
-- Parameters: BQ_PROJECT_ID, BQ_DATASET_LOGS.
SELECT target, COUNT(*) AS changes, COUNTIF(state = 'failed') AS failed, SUM(ARRAY_LENGTH(run_ids)) AS runs,
  SUM(rows_inserted) AS rows_inserted, SUM(rows_updated) AS rows_updated, SUM(rows_deleted) AS rows_deleted,
  ROUND(AVG(TIMESTAMP_DIFF(ended_at, started_at, MILLISECOND)) / 1000, 1) AS average_seconds,
  SUM(bytes_billed) AS bytes_billed, MAX(change_number) AS last_change, MAX(ended_at) AS last_change_at
FROM `${BQ_PROJECT_ID}.${BQ_DATASET_LOGS}.target_changes`
WHERE ended_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 7 DAY)
GROUP BY target
ORDER BY target;
