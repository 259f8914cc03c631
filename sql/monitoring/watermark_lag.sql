-- How far is each entity behind, and what did its runs do?
--
-- Grain: one row per tenant and entity that ever ran or has a watermark; never synced and furthest behind first.
-- Cost: the columns named here, of all runs that are kept (365 days): some 20 MB for a tenant after a year.
-- Parameters: BQ_PROJECT_ID, BQ_DATASET_LOGS.
SELECT tenant_id, entity_type, s.last_sync_time,
  TIMESTAMP_DIFF(CURRENT_TIMESTAMP(), s.last_sync_time, MINUTE) AS lag_minutes,
  r.last_success, r.last_failure, r.failures_24h
FROM (
  SELECT tenant_id, entity_type,
    MAX(IF(status = 'success', start_time, NULL)) AS last_success,
    MAX(IF(status = 'failed', start_time, NULL)) AS last_failure,
    COUNTIF(status = 'failed' AND start_time >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 24 HOUR)) AS failures_24h
  FROM `${BQ_PROJECT_ID}.${BQ_DATASET_LOGS}.ingestion_logs`
  GROUP BY tenant_id, entity_type
) AS r
FULL OUTER JOIN `${BQ_PROJECT_ID}.${BQ_DATASET_LOGS}.sync_state` AS s USING (tenant_id, entity_type)
ORDER BY lag_minutes DESC NULLS FIRST, tenant_id, entity_type;
