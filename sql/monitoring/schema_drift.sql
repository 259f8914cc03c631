-- What came from the API in the last 7 days that the registry does not know?
--
-- Grain: one row per entity, field and kind of difference, most frequent first. Unknown fields are kept in the column _extra.
-- Cost: the columns named here, of 7 days: next to nothing.
-- Parameters: BQ_PROJECT_ID, BQ_DATASET_LOGS.
SELECT entity_type, field, kind, SUM(occurrences) AS occurrences, COUNT(DISTINCT run_id) AS runs,
  COUNT(DISTINCT tenant_id) AS tenants, MIN(seen_at) AS first_seen, MAX(seen_at) AS last_seen, MAX(sample) AS sample
FROM `${BQ_PROJECT_ID}.${BQ_DATASET_LOGS}.schema_drift`
WHERE event_time >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 7 DAY)
GROUP BY entity_type, field, kind
ORDER BY occurrences DESC, entity_type, field, kind;
