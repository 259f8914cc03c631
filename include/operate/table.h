/* table.h - results for people (aligned columns) and for programs (JSON). */
#ifndef ST_OPERATE_TABLE_H
#define ST_OPERATE_TABLE_H

#include "bigquery/client.h"

/* Aligned columns with a heading; times as RFC 3339, NULL as "-". Numbers stand at the right. */
void table_print(struct buf *out, const struct bq_result *result);
/* One JSON array of objects; integers as numbers, times as RFC 3339 text, NULL as null. */
void table_json(struct buf *out, const struct bq_result *result);

#endif
