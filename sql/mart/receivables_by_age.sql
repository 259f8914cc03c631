-- Who owes how much, and for how long?
--
-- Grain: one row per tenant and customer (survivor of merges) with an open balance on at least one invoice.
-- Time zone: today is the tenant's (tenant_time_zones; UTC when it is not named there), so the view's answer changes at the tenant's midnight.
-- Rules: those of invoices; what is owed is the balance that ServiceTitan keeps for each invoice, payments being taken off there. Age is days since due_day:
-- not_due up to 0, then 1 to 30, 31 to 60, 61 to 90, and more. Negative balances (overpaid, adjustments) stand in their age's column
-- and lower it; credits is their sum. Payments that are not applied to an invoice lower nothing.
-- Cost: a few columns of invoices.
-- Parameters: BQ_PROJECT_ID, BQ_DATASET_MART.
SELECT tenant_id, customer_id, MAX(customer_name) AS customer_name, as_of_day, COUNT(*) AS open_invoices, SUM(balance) AS owed,
  SUM(IF(age <= 0, balance, 0)) AS not_due, SUM(IF(age BETWEEN 1 AND 30, balance, 0)) AS days_1_to_30,
  SUM(IF(age BETWEEN 31 AND 60, balance, 0)) AS days_31_to_60, SUM(IF(age BETWEEN 61 AND 90, balance, 0)) AS days_61_to_90,
  SUM(IF(age > 90, balance, 0)) AS over_90_days, SUM(IF(balance < 0, balance, 0)) AS credits, MIN(due_day) AS oldest_due_day
FROM (
  SELECT tenant_id, customer_id, customer_name, balance, due_day, DATE(CURRENT_TIMESTAMP(), time_zone) AS as_of_day,
    DATE_DIFF(DATE(CURRENT_TIMESTAMP(), time_zone), due_day, DAY) AS age
  FROM `${BQ_PROJECT_ID}.${BQ_DATASET_MART}.invoices`
  WHERE balance != 0
)
GROUP BY tenant_id, customer_id, as_of_day;
