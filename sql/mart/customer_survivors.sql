-- Which customer stands for each customer after merges?
--
-- Grain: one row per live customer; customers without a merge stand for themselves.
-- Rules: merges are followed one after the other, at most 20 times. merge_state says how it ended: 'not merged'; 'merged': the survivor
-- was found; 'survivor unknown': the last one named is not in the warehouse, or deleted at the source, so the last known one stands for it;
-- 'endless': merged in a circle, or more than 20 times, so the customer stands for itself.
-- Cost: a few columns of customers; those that were merged are looked up once per merge.
-- Parameters: BQ_PROJECT_ID, BQ_DATASET_STAGE.
WITH RECURSIVE chain AS (
  SELECT c._tenant_id AS tenant_id, c.id, c.id AS reached, c.mergedToId AS merged_to, 0 AS merges
  FROM `${BQ_PROJECT_ID}.${BQ_DATASET_STAGE}.customers` AS c
  WHERE c.mergedToId IS NOT NULL
  UNION ALL
  SELECT chain.tenant_id, chain.id, c.id AS reached, c.mergedToId AS merged_to, chain.merges + 1 AS merges
  FROM chain
  JOIN `${BQ_PROJECT_ID}.${BQ_DATASET_STAGE}.customers` AS c ON c._tenant_id = chain.tenant_id AND c.id = chain.merged_to
  WHERE chain.merges < 20
),
last_of_chain AS (
  SELECT tenant_id, id, reached, merged_to, merges
  FROM chain
  WHERE TRUE
  QUALIFY ROW_NUMBER() OVER (PARTITION BY tenant_id, id ORDER BY merges DESC) = 1
),
resolved AS (
  SELECT c._tenant_id AS tenant_id, c.id,
    IF(l.merges = 20 AND l.merged_to IS NOT NULL, c.id, IFNULL(l.reached, c.id)) AS survivor_id,
    CASE
      WHEN l.id IS NULL THEN 'not merged'
      WHEN l.merged_to IS NULL THEN 'merged'
      WHEN l.merges = 20 THEN 'endless'
      ELSE 'survivor unknown'
    END AS merge_state,
    IFNULL(l.merges, 0) AS merges
  FROM `${BQ_PROJECT_ID}.${BQ_DATASET_STAGE}.customers` AS c
  LEFT JOIN last_of_chain AS l ON l.tenant_id = c._tenant_id AND l.id = c.id
)
SELECT r.tenant_id, r.id AS customer_id, r.survivor_id, r.merge_state, r.merges, s.name AS survivor_name, s.type AS survivor_type,
  s.active AS survivor_active, s.createdOn AS survivor_created_on
FROM resolved AS r
JOIN `${BQ_PROJECT_ID}.${BQ_DATASET_STAGE}.customers` AS s ON s._tenant_id = r.tenant_id AND s.id = r.survivor_id;
