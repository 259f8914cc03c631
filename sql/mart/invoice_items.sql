-- What was sold, line by line?
--
-- Grain: one row per line of an invoice that is live and active; invoices without lines have no row.
-- Time zone: invoice_day as in invoices.
-- Rules: those of invoices. total is the price of the line before tax, total_cost its cost; lines need not add up to the invoice's revenue
-- (discounts of the whole invoice have no line), so sums of invoices come from invoices. The business unit is the line's, else the invoice's.
-- Cost: the lines of invoices that are asked for: the largest part of that table.
-- Parameters: BQ_PROJECT_ID, BQ_DATASET_STAGE, BQ_DATASET_MART.
SELECT n.tenant_id, n.invoice_id, item.id AS item_id, item.`order` AS position, n.invoice_day, n.customer_id, n.job_id,
  IFNULL(item.businessUnit.id, n.business_unit_id) AS business_unit_id, item.type AS item_type, item.skuId AS sku_id,
  item.skuName AS sku_name, item.displayName AS display_name, item.quantity, item.price, item.total, item.cost,
  item.totalCost AS total_cost, item.taxable, item.isChargeable AS is_chargeable, item.technicianId AS technician_id,
  item.estimateItemId AS estimate_item_id
FROM `${BQ_PROJECT_ID}.${BQ_DATASET_STAGE}.invoices` AS i
JOIN `${BQ_PROJECT_ID}.${BQ_DATASET_MART}.invoices` AS n ON n.tenant_id = i._tenant_id AND n.invoice_id = i.id
CROSS JOIN UNNEST(i.items) AS item;
