-- How much revenue did each day bring?
--
-- Grain: one row per tenant, day and business unit with at least one invoice.
-- Time zone: the day is invoice_day of invoices.
-- Rules: those of invoices: billed, active, before tax, each invoice on one day only; what was paid does not matter. Adjustments lower the
-- day on which they were made, not that of the invoice that they adjust; adjustments is their part of revenue. Invoices of nothing are counted in
-- invoices and in zero_invoices.
-- Cost: a few columns of invoices.
-- Parameters: BQ_PROJECT_ID, BQ_DATASET_MART.
SELECT tenant_id, invoice_day AS day, business_unit_id, MAX(business_unit_name) AS business_unit_name, COUNT(*) AS invoices,
  COUNTIF(total = 0) AS zero_invoices, SUM(revenue) AS revenue, SUM(sales_tax) AS sales_tax, SUM(total) AS total,
  SUM(IF(adjusts_invoice_id IS NOT NULL, revenue, 0)) AS adjustments
FROM `${BQ_PROJECT_ID}.${BQ_DATASET_MART}.invoices`
GROUP BY tenant_id, day, business_unit_id;
