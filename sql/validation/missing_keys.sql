-- Which keys are in v1 only, or in v2 only?
--
-- Grain: one row per key, at most 1000; none when both have the same. V1_KEY and V2_KEY are the key columns: id, in v2.
-- Deleted records are marked in v2, not removed; they do not count here.
-- Cost: one column of v1's table, two of v2's.
-- Parameters: V1_PROJECT_ID, V1_DATASET_RAW, V1_TABLE, V1_KEY, BQ_PROJECT_ID, BQ_DATASET_RAW, V2_TABLE, V2_KEY.
WITH v1 AS (
  SELECT DISTINCT CAST(`${V1_KEY}` AS STRING) AS k FROM `${V1_PROJECT_ID}.${V1_DATASET_RAW}.${V1_TABLE}`
),
v2 AS (
  SELECT DISTINCT CAST(`${V2_KEY}` AS STRING) AS k
  FROM `${BQ_PROJECT_ID}.${BQ_DATASET_RAW}.${V2_TABLE}`
  WHERE _deleted_at IS NULL
)
SELECT IF(v1.k IS NULL, 'v2', 'v1') AS only_in, IFNULL(v1.k, v2.k) AS key
FROM v1
FULL OUTER JOIN v2 ON v1.k = v2.k
WHERE v1.k IS NULL OR v2.k IS NULL
ORDER BY only_in, key
LIMIT 1000;
