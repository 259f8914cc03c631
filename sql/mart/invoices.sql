-- Which invoices count, of which day, and how much is revenue?
--
-- Grain: one row per invoice that is live and active at the source.
-- Time zone: invoice_day and due_day are calendar days as they stand on the invoice, in no zone. Where an invoice names no day, the day on which
-- it was made counts, in the tenant's zone (tenant_time_zones; UTC when it is not named there).
-- Rules: inactive invoices (voided, deleted) do not count. revenue is the amount before tax: subTotal; where that is missing, total less
-- salesTax. Adjustments are invoices of their own, often negative, on their own day (adjusts_invoice_id). Invoices of canceled jobs count as long as they are
-- active. customer_id is the survivor of merges. Where no due day is given, the invoice is due on its day.
-- Cost: the columns of invoices that are asked for; the lines are not read.
-- Parameters: BQ_PROJECT_ID, BQ_DATASET_STAGE, BQ_DATASET_MART.
SELECT i._tenant_id AS tenant_id, i.id AS invoice_id, i.referenceNumber AS invoice_number,
  IFNULL(DATE(i.invoiceDate), DATE(i.createdOn, IFNULL(z.time_zone, 'UTC'))) AS invoice_day,
  COALESCE(DATE(i.dueDate), DATE(i.invoiceDate), DATE(i.createdOn, IFNULL(z.time_zone, 'UTC'))) AS due_day, DATE(i.paidOn) AS paid_day,
  IFNULL(c.survivor_id, i.customer_id) AS customer_id, i.customer_id AS original_customer_id,
  IFNULL(c.survivor_name, i.customer_name) AS customer_name, NULLIF(i.jobId, 0) AS job_id, i.businessUnitId AS business_unit_id,
  i.businessUnit_name AS business_unit_name, i.invoiceType_name AS invoice_type, i.adjustmentToId AS adjusts_invoice_id,
  IFNULL(i.subTotal, IFNULL(i.total, 0) - IFNULL(i.salesTax, 0)) AS revenue, IFNULL(i.salesTax, 0) AS sales_tax,
  IFNULL(i.total, 0) AS total, IFNULL(i.balance, 0) AS balance, IFNULL(z.time_zone, 'UTC') AS time_zone
FROM `${BQ_PROJECT_ID}.${BQ_DATASET_STAGE}.invoices` AS i
LEFT JOIN `${BQ_PROJECT_ID}.${BQ_DATASET_MART}.tenant_time_zones` AS z ON z.tenant_id = i._tenant_id
LEFT JOIN `${BQ_PROJECT_ID}.${BQ_DATASET_MART}.customer_survivors` AS c ON c.tenant_id = i._tenant_id AND c.customer_id = i.customer_id
WHERE i.active IS NOT FALSE;
