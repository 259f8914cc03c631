-- Up to when is each entity complete?
--
-- Grain: one row per tenant and entity, latest change first.
-- Cost: the columns named here, of all watermarks ever written: some 5 MB for a tenant after a year; they never expire.
-- Parameters: BQ_PROJECT_ID, BQ_DATASET_LOGS.
SELECT tenant_id, entity_type, last_sync_time, records_processed, updated_at, mode, run_id
FROM `${BQ_PROJECT_ID}.${BQ_DATASET_LOGS}.sync_state`
ORDER BY updated_at DESC, tenant_id, entity_type;
