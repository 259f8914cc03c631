-- Which payment paid which invoice, and how much of it?
--
-- Grain: one row per part of a live and active payment that was applied to an invoice.
-- Time zone: payment_day is the calendar day as it stands on the payment, in no zone.
-- Rules: inactive payments (voided, deleted) do not count. Refunds are negative, or name the payment that they refund: is_refund. What is not applied
-- to an invoice yet has no row: payment_total and unapplied_amount are the whole payment's and stand on each of its rows, so
-- never add them up here. The invoice may be inactive or deleted.
-- Cost: a few columns of payments.
-- Parameters: BQ_PROJECT_ID, BQ_DATASET_STAGE, BQ_DATASET_MART.
SELECT p._tenant_id AS tenant_id, p.id AS payment_id, part.appliedId AS application_id, part.appliedTo AS invoice_id,
  part.appliedAmount AS applied_amount, part.appliedOn AS applied_on, DATE(p.date) AS payment_day, p.type AS payment_type,
  IFNULL(c.survivor_id, p.customer_id) AS customer_id, p.total < 0 OR p.refundedPaymentId IS NOT NULL AS is_refund,
  p.refundedPaymentId AS refunded_payment_id, p.total AS payment_total, p.unappliedAmount AS unapplied_amount
FROM `${BQ_PROJECT_ID}.${BQ_DATASET_STAGE}.payments` AS p
LEFT JOIN `${BQ_PROJECT_ID}.${BQ_DATASET_MART}.customer_survivors` AS c ON c.tenant_id = p._tenant_id AND c.customer_id = p.customer_id
CROSS JOIN UNNEST(p.appliedTo) AS part
WHERE p.active IS NOT FALSE;
