-- Which dead letters did operators replay or discard in the last 30 days?
--
-- Grain: one row per letter that was replayed or discarded; newest first.
-- Cost: the columns named here, of 30 days: next to nothing.
-- Parameters: BQ_PROJECT_ID, BQ_DATASET_LOGS.
SELECT event_time, action, tenant_id, entity_type, mode, error_class, delivery_attempt, actor, message_id, task_id, run_id, reason
FROM `${BQ_PROJECT_ID}.${BQ_DATASET_LOGS}.dead_letter_audit`
WHERE event_time >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 30 DAY)
ORDER BY event_time DESC, message_id;
