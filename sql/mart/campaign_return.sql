-- What did each campaign bring?
--
-- Grain: one row per tenant, campaign and month in which its jobs were made; campaign_id is NULL for jobs without a campaign.
-- Time zone: the month is that of created_day of jobs.
-- Rules: a job belongs to one campaign and one month, and takes along the revenue of all its invoices, the cost of their lines and the pay for
-- it, whenever they come; so nothing counts twice, and figures of past months still grow. Canceled jobs are counted apart, and what was billed for them
-- counts. Invoices without a job belong to no campaign and are not in it. What a campaign itself costs is not in the data: margin is
-- revenue less line cost and pay. A campaign that was deleted has no name.
-- Cost: a few columns of jobs, invoices and their lines, payroll, customers, locations and campaigns.
-- Parameters: BQ_PROJECT_ID, BQ_DATASET_MART.
WITH billed AS (
  SELECT tenant_id, job_id, SUM(revenue) AS revenue
  FROM `${BQ_PROJECT_ID}.${BQ_DATASET_MART}.invoices`
  WHERE job_id IS NOT NULL
  GROUP BY tenant_id, job_id
),
costs AS (
  SELECT tenant_id, job_id, SUM(IFNULL(total_cost, 0)) AS line_cost
  FROM `${BQ_PROJECT_ID}.${BQ_DATASET_MART}.invoice_items`
  WHERE job_id IS NOT NULL
  GROUP BY tenant_id, job_id
),
pay AS (
  SELECT tenant_id, job_id, SUM(gross_pay) AS gross_pay
  FROM `${BQ_PROJECT_ID}.${BQ_DATASET_MART}.gross_pay_by_job`
  WHERE job_id IS NOT NULL
  GROUP BY tenant_id, job_id
),
per_job AS (
  SELECT j.tenant_id, j.campaign_id, j.campaign_name, j.campaign_category, DATE_TRUNC(j.created_day, MONTH) AS month, j.job_status, j.customer_id,
    IFNULL(b.revenue, 0) AS revenue, IFNULL(c.line_cost, 0) AS line_cost, IFNULL(p.gross_pay, 0) AS gross_pay
  FROM `${BQ_PROJECT_ID}.${BQ_DATASET_MART}.jobs` AS j
  LEFT JOIN billed AS b ON b.tenant_id = j.tenant_id AND b.job_id = j.job_id
  LEFT JOIN costs AS c ON c.tenant_id = j.tenant_id AND c.job_id = j.job_id
  LEFT JOIN pay AS p ON p.tenant_id = j.tenant_id AND p.job_id = j.job_id
)
SELECT tenant_id, campaign_id, MAX(campaign_name) AS campaign_name, MAX(campaign_category) AS campaign_category, month,
  COUNT(*) AS jobs, COUNTIF(job_status = 'Completed') AS completed_jobs, COUNTIF(job_status = 'Canceled') AS canceled_jobs,
  COUNT(DISTINCT customer_id) AS customers, SUM(revenue) AS revenue, SUM(line_cost) AS line_cost, SUM(gross_pay) AS gross_pay,
  SUM(revenue - line_cost - gross_pay) AS margin,
  ROUND(SAFE_DIVIDE(SUM(revenue), COUNTIF(job_status != 'Canceled')), 2) AS revenue_per_kept_job
FROM per_job
GROUP BY tenant_id, campaign_id, month;
