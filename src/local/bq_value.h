/* bq_value.h - texts of single values in DuckDB vectors: REST cells, CAST AS STRING, JSON. */
#ifndef ST_LOCAL_BQ_VALUE_H
#define ST_LOCAL_BQ_VALUE_H

#include "bq_duck.h"
#include "bq_engine.h"

__extension__ typedef __int128 int128;
__extension__ typedef unsigned __int128 uint128;

/* REST's {"v":...} */
void value_write_cell(struct buf *out, duckdb_vector vector, duckdb_logical_type type, idx_t row,
                      enum engine_timestamp_format format);
/* As CAST(x AS STRING) gives it; for NULL nothing is written. BYTES are written raw. */
void value_write_text(struct buf *out, duckdb_vector vector, duckdb_logical_type type, idx_t row);
/* As TO_JSON_STRING gives it; NULL is null. */
void value_write_json(struct buf *out, duckdb_vector vector, duckdb_logical_type type, idx_t row);

/* Decimal with `scale` fraction digits, trailing zeros cut. */
void value_write_decimal(struct buf *out, duckdb_hugeint value, int scale);
/* Shortest text that reads back as the same double; "NaN", "Infinity", "-Infinity". */
void value_write_double(struct buf *out, double value);
/* "2025-01-01 10:00:00.123456" with `separator`; fraction of 0, 3 or 6 digits. */
void value_write_datetime(struct buf *out, int64_t us, char separator);
void value_write_base64(struct buf *out, struct slice bytes);
bool value_read_base64(struct buf *out, struct slice text);
/* NUMERIC text to value x 10^9, rounding half away from zero; false: no number or out of range. */
bool value_parse_numeric(struct slice text, duckdb_hugeint *ret);

#endif
