-- How much did BigQuery bill for changing the targets, day by day?
--
-- Grain: one row per day (UTC) of the last 30 and target table, newest day first. These MERGEs are nearly all that the ingestor is
-- billed for; its small questions stand in the project's own job history (INFORMATION_SCHEMA.JOBS).
-- Cost: the columns named here, of all changes ever made: some 5 MB for a tenant after a year; they never expire.
-- Parameters: BQ_PROJECT_ID, BQ_DATASET_LOGS.
SELECT DATE(ended_at) AS day, target, COUNT(*) AS changes, SUM(rows_inserted + rows_updated + rows_deleted) AS rows_changed,
  SUM(bytes_billed) AS bytes_billed, ROUND(SUM(bytes_billed) / POW(2, 30), 3) AS gib_billed
FROM `${BQ_PROJECT_ID}.${BQ_DATASET_LOGS}.target_changes`
WHERE ended_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 30 DAY)
GROUP BY day, target
ORDER BY day DESC, bytes_billed DESC, target;
