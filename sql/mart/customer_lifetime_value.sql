-- What is each customer worth so far?
--
-- Grain: one row per tenant and customer: survivors of merges, with what belongs to those that were merged into them; customers that were
-- deleted stay as long as a job, invoice or payment names them, without a name.
-- Time zone: days are the tenant's (tenant_time_zones; UTC when it is not named there), with summer time.
-- Rules: revenue, billed and owed are those of invoices (active, each once; revenue before tax, billed with it); paid is the sum of active
-- payments, refunds taken off, applied or not. Jobs, invoices and payments are added up apart and never joined with each other, so nothing counts
-- twice. first_day and last_day are those of the first and last job or invoice.
-- Cost: a few columns of customers, jobs, invoices and payments.
-- Parameters: BQ_PROJECT_ID, BQ_DATASET_STAGE, BQ_DATASET_MART.
WITH facts AS (
  SELECT tenant_id, customer_id, 0 AS jobs, 0 AS completed_jobs, 0 AS invoices, CAST(0 AS NUMERIC) AS revenue,
    CAST(0 AS NUMERIC) AS billed, CAST(0 AS NUMERIC) AS owed, CAST(0 AS NUMERIC) AS paid, CAST(NULL AS DATE) AS day
  FROM `${BQ_PROJECT_ID}.${BQ_DATASET_MART}.customer_survivors`
  WHERE survivor_id = customer_id
  UNION ALL
  SELECT tenant_id, customer_id, 1, IF(job_status = 'Completed', 1, 0), 0, 0, 0, 0, 0, created_day
  FROM `${BQ_PROJECT_ID}.${BQ_DATASET_MART}.jobs`
  UNION ALL
  SELECT tenant_id, customer_id, 0, 0, 1, revenue, total, balance, 0, invoice_day
  FROM `${BQ_PROJECT_ID}.${BQ_DATASET_MART}.invoices`
  UNION ALL
  SELECT p._tenant_id, IFNULL(c.survivor_id, p.customer_id), 0, 0, 0, 0, 0, 0, IFNULL(p.total, 0), CAST(NULL AS DATE)
  FROM `${BQ_PROJECT_ID}.${BQ_DATASET_STAGE}.payments` AS p
  LEFT JOIN `${BQ_PROJECT_ID}.${BQ_DATASET_MART}.customer_survivors` AS c ON c.tenant_id = p._tenant_id AND c.customer_id = p.customer_id
  WHERE p.active IS NOT FALSE
),
sums AS (
  SELECT tenant_id, customer_id, SUM(jobs) AS jobs, SUM(completed_jobs) AS completed_jobs, SUM(invoices) AS invoices, SUM(revenue) AS revenue,
    SUM(billed) AS billed, SUM(owed) AS owed, SUM(paid) AS paid, MIN(day) AS first_day, MAX(day) AS last_day
  FROM facts
  WHERE customer_id IS NOT NULL
  GROUP BY tenant_id, customer_id
)
SELECT s.tenant_id, s.customer_id, c.survivor_name AS customer_name, c.survivor_type AS customer_type,
  DATE(c.survivor_created_on, IFNULL(z.time_zone, 'UTC')) AS customer_since, s.jobs, s.completed_jobs, s.invoices, s.revenue, s.billed, s.paid, s.owed,
  s.first_day, s.last_day, ROUND(SAFE_DIVIDE(s.revenue, s.invoices), 2) AS revenue_per_invoice
FROM sums AS s
LEFT JOIN `${BQ_PROJECT_ID}.${BQ_DATASET_MART}.customer_survivors` AS c ON c.tenant_id = s.tenant_id AND c.customer_id = s.customer_id
LEFT JOIN `${BQ_PROJECT_ID}.${BQ_DATASET_MART}.tenant_time_zones` AS z ON z.tenant_id = s.tenant_id;
