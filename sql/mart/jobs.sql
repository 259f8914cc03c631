-- Which jobs were there, for whom, where, and by which campaign?
--
-- Grain: one row per job that is live at the source; canceled jobs too, with their job_status.
-- Time zone: days are the tenant's (tenant_time_zones; UTC when it is not named there), with summer time.
-- Rules: customer and location are the survivors of merges, the ids as they stand in the job are in original_...; where they
-- were deleted, the job stays and their names are NULL. Campaign 0 is no campaign: NULL. total is before tax, and what the job says; what was
-- billed is in invoices.
-- Cost: the columns of jobs that are asked for, and a few of customers, locations and campaigns.
-- Parameters: BQ_PROJECT_ID, BQ_DATASET_STAGE, BQ_DATASET_MART.
SELECT j._tenant_id AS tenant_id, j.id AS job_id, j.jobNumber AS job_number, j.jobStatus AS job_status, j.priority,
  DATE(j.createdOn, IFNULL(z.time_zone, 'UTC')) AS created_day, DATE(j.completedOn, IFNULL(z.time_zone, 'UTC')) AS completed_day,
  j.createdOn AS created_on, j.completedOn AS completed_on, j.businessUnitId AS business_unit_id, j.jobTypeId AS job_type_id,
  IFNULL(c.survivor_id, j.customerId) AS customer_id, j.customerId AS original_customer_id, c.survivor_name AS customer_name,
  c.survivor_type AS customer_type, IFNULL(l.survivor_id, j.locationId) AS location_id, j.locationId AS original_location_id,
  l.survivor_name AS location_name, l.street, l.city, l.state, l.zip, NULLIF(j.campaignId, 0) AS campaign_id, a.name AS campaign_name,
  a.category_name AS campaign_category, NULLIF(j.invoiceId, 0) AS invoice_id, j.total, j.noCharge AS no_charge,
  j.recallForId AS recall_for_id, j.soldById AS sold_by_id, IFNULL(z.time_zone, 'UTC') AS time_zone
FROM `${BQ_PROJECT_ID}.${BQ_DATASET_STAGE}.jobs` AS j
LEFT JOIN `${BQ_PROJECT_ID}.${BQ_DATASET_MART}.tenant_time_zones` AS z ON z.tenant_id = j._tenant_id
LEFT JOIN `${BQ_PROJECT_ID}.${BQ_DATASET_MART}.customer_survivors` AS c ON c.tenant_id = j._tenant_id AND c.customer_id = j.customerId
LEFT JOIN `${BQ_PROJECT_ID}.${BQ_DATASET_MART}.location_survivors` AS l ON l.tenant_id = j._tenant_id AND l.location_id = j.locationId
LEFT JOIN `${BQ_PROJECT_ID}.${BQ_DATASET_STAGE}.campaigns` AS a ON a._tenant_id = j._tenant_id AND a.id = j.campaignId;
