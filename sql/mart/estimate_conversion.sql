-- How many estimates are sold, and how many opportunities are won?
--
-- Grain: one row per tenant, month in which the estimates were made, and business unit.
-- Time zone: days are the tenant's (tenant_time_zones; UTC when it is not named there), with summer time.
-- Rules: live and active estimates without change orders. An estimate counts in the month in which it was made, however late it is sold, so
-- figures of past months still grow. conversion_percent is estimates sold of estimates made. Several estimates of one job are one
-- opportunity, which counts once, in the month and business unit of its first estimate, and is won when any of them is sold:
-- close_percent. An estimate without a job is an opportunity of its own. Amounts are before tax.
-- Cost: a few columns of estimates; the lines are not read.
-- Parameters: BQ_PROJECT_ID, BQ_DATASET_STAGE, BQ_DATASET_MART.
WITH offers AS (
  SELECT e._tenant_id AS tenant_id, DATE_TRUNC(DATE(e.createdOn, IFNULL(z.time_zone, 'UTC')), MONTH) AS month,
    e.businessUnitId AS business_unit_id, e.businessUnitName AS business_unit_name, e.status, e.status = 'Sold' AS is_sold,
    IFNULL(e.subtotal, 0) AS amount,
    DATE_DIFF(DATE(e.soldOn, IFNULL(z.time_zone, 'UTC')), DATE(e.createdOn, IFNULL(z.time_zone, 'UTC')), DAY) AS days_to_sale, e.createdOn, e.id,
    IF(IFNULL(e.jobId, 0) = 0, CONCAT('estimate ', CAST(e.id AS STRING)), CONCAT('job ', CAST(e.jobId AS STRING))) AS opportunity
  FROM `${BQ_PROJECT_ID}.${BQ_DATASET_STAGE}.estimates` AS e
  LEFT JOIN `${BQ_PROJECT_ID}.${BQ_DATASET_MART}.tenant_time_zones` AS z ON z.tenant_id = e._tenant_id
  WHERE e.active IS NOT FALSE AND e.isChangeOrder IS NOT TRUE
),
marked AS (
  SELECT tenant_id, month, business_unit_id, business_unit_name, status, IFNULL(is_sold, FALSE) AS is_sold, amount, days_to_sale,
    ROW_NUMBER() OVER (PARTITION BY tenant_id, opportunity ORDER BY createdOn, id) = 1 AS is_first,
    LOGICAL_OR(IFNULL(is_sold, FALSE)) OVER (PARTITION BY tenant_id, opportunity) AS is_won
  FROM offers
)
SELECT tenant_id, month, business_unit_id, MAX(business_unit_name) AS business_unit_name, COUNT(*) AS estimates, COUNTIF(is_sold) AS sold,
  COUNTIF(status = 'Dismissed') AS dismissed, COUNTIF(status = 'Open') AS still_open,
  ROUND(100 * CAST(COUNTIF(is_sold) AS NUMERIC) / COUNT(*), 2) AS conversion_percent, SUM(amount) AS offered_amount,
  SUM(IF(is_sold, amount, 0)) AS sold_amount,
  ROUND(SAFE_DIVIDE(CAST(SUM(IF(is_sold, days_to_sale, NULL)) AS NUMERIC), COUNT(IF(is_sold, days_to_sale, NULL))), 1) AS average_days_to_sale,
  COUNTIF(is_first) AS opportunities, COUNTIF(is_first AND is_won) AS opportunities_won,
  ROUND(100 * SAFE_DIVIDE(CAST(COUNTIF(is_first AND is_won) AS NUMERIC), COUNTIF(is_first)), 2) AS close_percent
FROM marked
GROUP BY tenant_id, month, business_unit_id;
