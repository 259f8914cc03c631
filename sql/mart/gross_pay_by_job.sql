-- What did each technician earn, by which job, on which day?
--
-- Grain: one row per tenant, employee, job and day with at least one pay item; job_id is NULL for pay that belongs to no job.
-- Time zone: the day is the calendar day of the work as the API writes it, in no zone.
-- Rules: every live pay item counts once, those without an id too: equal ones are told apart by their number among equals. gross_pay is
-- amount and adjustment together; adjustments may be negative. Office employees are in it; employee_type tells them apart. Pay still changes for
-- some 45 days.
-- Cost: a few columns of payroll.
-- Parameters: BQ_PROJECT_ID, BQ_DATASET_STAGE.
SELECT _tenant_id AS tenant_id, employeeId AS employee_id, MAX(employeeType) AS employee_type, NULLIF(jobId, 0) AS job_id,
  MAX(jobNumber) AS job_number, IFNULL(paidDate, DATE(date)) AS day, COUNT(*) AS pay_items, SUM(IFNULL(paidDurationHours, 0)) AS paid_hours,
  SUM(IFNULL(amount, 0)) AS amount, SUM(IFNULL(amountAdjustment, 0)) AS adjustment,
  SUM(IFNULL(amount, 0) + IFNULL(amountAdjustment, 0)) AS gross_pay
FROM `${BQ_PROJECT_ID}.${BQ_DATASET_STAGE}.payroll`
GROUP BY tenant_id, employee_id, job_id, day;
