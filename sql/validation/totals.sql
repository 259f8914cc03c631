-- Do v1 and v2 add up to the same amount?
--
-- Grain: one row. V1_COLUMN and V2_COLUMN are the amounts: total, of invoices. v1's may be a float; both are added up as NUMERIC.
-- Deleted records are marked in v2, not removed; they do not count here.
-- Cost: one column of v1's table, two of v2's.
-- Parameters: V1_PROJECT_ID, V1_DATASET_RAW, V1_TABLE, V1_COLUMN, BQ_PROJECT_ID, BQ_DATASET_RAW, V2_TABLE, V2_COLUMN.
SELECT v1_rows, v2_rows, v1_total, v2_total, v2_total - v1_total AS difference
FROM (
  SELECT COUNT(*) AS v1_rows, SUM(CAST(`${V1_COLUMN}` AS NUMERIC)) AS v1_total
  FROM `${V1_PROJECT_ID}.${V1_DATASET_RAW}.${V1_TABLE}`
)
CROSS JOIN (
  SELECT COUNT(*) AS v2_rows, SUM(CAST(`${V2_COLUMN}` AS NUMERIC)) AS v2_total
  FROM `${BQ_PROJECT_ID}.${BQ_DATASET_RAW}.${V2_TABLE}`
  WHERE _deleted_at IS NULL
);
