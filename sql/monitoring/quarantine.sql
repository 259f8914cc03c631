-- Which records broke their schema in the last 7 days, and how?
--
-- Grain: one row per tenant, entity and reason, most records first. The records themselves are in the column payload of the table.
-- Cost: the columns named here, of 7 days: next to nothing (the payloads are not read).
-- Parameters: BQ_PROJECT_ID, BQ_DATASET_LOGS.
SELECT tenant_id, entity_type, reason, COUNT(*) AS times, COUNT(DISTINCT record_id) AS records, COUNT(DISTINCT run_id) AS runs,
  MIN(record_id) AS a_record, MAX(payload_bytes) AS largest_bytes, MAX(seen_at) AS last_seen
FROM `${BQ_PROJECT_ID}.${BQ_DATASET_LOGS}.quarantine`
WHERE event_time >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 7 DAY)
GROUP BY tenant_id, entity_type, reason
ORDER BY times DESC, tenant_id, entity_type, reason;
