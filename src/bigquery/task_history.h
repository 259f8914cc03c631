/* task_history.h - the text of the question about a task, for the analyzer test. */
#ifndef ST_BIGQUERY_PRIVATE_TASK_HISTORY_H
#define ST_BIGQUERY_PRIVATE_TASK_HISTORY_H

#include "bigquery/warehouse.h"

void task_history_sql(struct buf *out, const struct warehouse_names *names);

#endif
