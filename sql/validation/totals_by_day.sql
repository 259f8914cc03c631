-- On which days do v1 and v2 differ in rows or amount?
--
-- Grain: one row per day on which they differ, newest first; none when they agree. V1_DATE and V2_DATE are the columns that give
-- the day (invoiceDate, createdOn), V1_COLUMN and V2_COLUMN the amounts.
-- Deleted records are marked in v2, not removed; they do not count here.
-- Cost: two columns of v1's table, three of v2's.
-- Parameters: V1_PROJECT_ID, V1_DATASET_RAW, V1_TABLE, V1_DATE, V1_COLUMN, BQ_PROJECT_ID, BQ_DATASET_RAW, V2_TABLE, V2_DATE, V2_COLUMN.
WITH v1 AS (
  SELECT CAST(`${V1_DATE}` AS DATE) AS day, COUNT(*) AS v1_rows, SUM(CAST(`${V1_COLUMN}` AS NUMERIC)) AS v1_total
  FROM `${V1_PROJECT_ID}.${V1_DATASET_RAW}.${V1_TABLE}`
  GROUP BY day
),
v2 AS (
  SELECT CAST(`${V2_DATE}` AS DATE) AS day, COUNT(*) AS v2_rows, SUM(CAST(`${V2_COLUMN}` AS NUMERIC)) AS v2_total
  FROM `${BQ_PROJECT_ID}.${BQ_DATASET_RAW}.${V2_TABLE}`
  WHERE _deleted_at IS NULL
  GROUP BY day
)
SELECT IFNULL(v1.day, v2.day) AS day, v1_rows, v2_rows, v1_total, v2_total, IFNULL(v2_total, 0) - IFNULL(v1_total, 0) AS difference
FROM v1
FULL OUTER JOIN v2 ON v1.day = v2.day
WHERE IFNULL(v1_rows, 0) != IFNULL(v2_rows, 0) OR IFNULL(v1_total, 0) != IFNULL(v2_total, 0)
ORDER BY day DESC;
