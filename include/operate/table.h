/* table.h - results for people (aligned columns) and for programs (JSON). */
#ifndef ST_OPERATE_TABLE_H
#define ST_OPERATE_TABLE_H

#include "bigquery/client.h"

/* Aligned columns with a heading; times as RFC 3339, NULL as "-". Numbers stand at the right. A text
 * longer than 60 characters, in the last column 240, ends in "…"; JSON has all of it. */
void table_print(struct buf *out, const struct bq_result *result);
/* The text (UTF-8) without what steers a terminal: control characters become spaces. */
void table_printable(struct buf *out, const char *text);
/* One JSON array of objects; integers as numbers, times as RFC 3339 text, NULL as null. */
void table_json(struct buf *out, const struct bq_result *result);
void table_json_row(struct buf *out, const struct bq_result *result, size_t row); /* one of these objects */

/* A table made by hand, for what no statement answers: columns first, then rows of as many texts (NULL = NULL), in the form that REST gives
 * them. Release with bq_result_release. */
struct table_column {
    const char *name, *type; /* STRING, INTEGER, TIMESTAMP (us), BOOLEAN */
};
void table_begin(struct bq_result *ret, const struct table_column *columns, size_t count);
void table_add_row(struct bq_result *table, const char *const *cells);

#endif
