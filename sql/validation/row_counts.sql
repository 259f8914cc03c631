-- How many rows do a table of v1 and a table of v2 hold?
--
-- Grain: one row.
-- Deleted records are marked in v2, not removed; they do not count here.
-- Cost: v1's count is free; v2's reads one column of the table (8 bytes a row).
-- Parameters: V1_PROJECT_ID, V1_DATASET_RAW, V1_TABLE, BQ_PROJECT_ID, BQ_DATASET_RAW, V2_TABLE.
SELECT v1_rows, v2_rows, v2_rows - v1_rows AS difference
FROM (SELECT COUNT(*) AS v1_rows FROM `${V1_PROJECT_ID}.${V1_DATASET_RAW}.${V1_TABLE}`)
CROSS JOIN (
  SELECT COUNT(*) AS v2_rows FROM `${BQ_PROJECT_ID}.${BQ_DATASET_RAW}.${V2_TABLE}` WHERE _deleted_at IS NULL
);
