-- How much of what the runs of the last 7 days read was new?
--
-- Grain: one row per tenant, entity and mode. Much read and little changed: the schedule may be slower, or the overlap smaller.
-- Cost: the columns named here, of all runs that are kept (365 days): some 20 MB for a tenant after a year.
-- Parameters: BQ_PROJECT_ID, BQ_DATASET_LOGS.
SELECT tenant_id, entity_type, mode, COUNT(*) AS runs, COUNTIF(rows_changed = 0) AS runs_without_change,
  SUM(records_fetched) AS records_fetched, SUM(records_inserted) AS records_inserted,
  SUM(records_quarantined) AS records_quarantined, SUM(rows_changed) AS rows_changed,
  ROUND(100 * SAFE_DIVIDE(SUM(rows_changed), SUM(records_inserted)), 1) AS changed_percent, SUM(requests) AS requests
FROM `${BQ_PROJECT_ID}.${BQ_DATASET_LOGS}.ingestion_logs`
WHERE status = 'success'
  AND start_time >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 7 DAY)
GROUP BY tenant_id, entity_type, mode
ORDER BY tenant_id, entity_type, mode;
