-- Which time zone does each tenant live in?
--
-- Grain: one row per tenant that tenant_settings names with a time zone, whatever number of rows it has there.
-- Rules: tenants that are not named live in UTC. Write a zone once, and all views follow:
-- INSERT INTO st_mart_v2.tenant_settings (tenant_id, time_zone) VALUES (1234567, 'America/New_York')
-- Cost: next to nothing.
-- Parameters: BQ_PROJECT_ID, BQ_DATASET_MART.
SELECT tenant_id, MAX(time_zone) AS time_zone
FROM `${BQ_PROJECT_ID}.${BQ_DATASET_MART}.tenant_settings`
WHERE time_zone != ''
GROUP BY tenant_id;
