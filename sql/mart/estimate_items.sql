-- What was offered, line by line, and was it sold?
--
-- Grain: one row per line of an estimate that is live and active; estimates without lines have no row.
-- Time zone: days are the tenant's (tenant_time_zones; UTC when it is not named there), with summer time.
-- Rules: is_sold is the estimate's: all of its lines are sold or none is. Several estimates of one job offer the same work at several
-- prices, so the sum of what is not sold is no expected income. Change orders are marked by is_change_order.
-- Cost: the lines of estimates that are asked for: the largest part of that table.
-- Parameters: BQ_PROJECT_ID, BQ_DATASET_STAGE, BQ_DATASET_MART.
SELECT e._tenant_id AS tenant_id, e.id AS estimate_id, item.id AS item_id, DATE(e.createdOn, IFNULL(z.time_zone, 'UTC')) AS created_day,
  e.status, e.status = 'Sold' AS is_sold, DATE(e.soldOn, IFNULL(z.time_zone, 'UTC')) AS sold_day, e.soldBy AS sold_by_id,
  NULLIF(e.jobId, 0) AS job_id, IFNULL(c.survivor_id, e.customerId) AS customer_id, e.businessUnitId AS business_unit_id,
  e.isChangeOrder AS is_change_order, item.sku.id AS sku_id, item.sku.name AS sku_name, item.sku.displayName AS display_name,
  item.sku.type AS sku_type, item.qty AS quantity, item.unitRate AS unit_rate, item.total, item.unitCost AS unit_cost,
  item.totalCost AS total_cost, item.invoiceItemId AS invoice_item_id, IFNULL(z.time_zone, 'UTC') AS time_zone
FROM `${BQ_PROJECT_ID}.${BQ_DATASET_STAGE}.estimates` AS e
LEFT JOIN `${BQ_PROJECT_ID}.${BQ_DATASET_MART}.tenant_time_zones` AS z ON z.tenant_id = e._tenant_id
LEFT JOIN `${BQ_PROJECT_ID}.${BQ_DATASET_MART}.customer_survivors` AS c ON c.tenant_id = e._tenant_id AND c.customer_id = e.customerId
CROSS JOIN UNNEST(e.items) AS item
WHERE e.active IS NOT FALSE;
