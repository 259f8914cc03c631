/* result.h - rows of a finished query job, page by page, into one bounded table of texts. */
#ifndef ST_BIGQUERY_PRIVATE_RESULT_H
#define ST_BIGQUERY_PRIVATE_RESULT_H

#include "bigquery/client.h"

bool bq_result_read(struct bq_client *client, const char *job_id, struct bq_result *ret, struct cancel *cancel,
                    struct error *err) MUST_CHECK;
/* Adds the rows of one answer of getQueryResults; the columns come from the first. *bytes counts the cells' text. Pure.
 */
bool bq_result_add_page(struct bq_result *result, struct json_object *page, size_t *bytes,
                        struct error *err) MUST_CHECK;
/* The request body of jobs.insert (jobs.c); job_id NULL: of a dry run. Pure. */
void bq_job_body(struct buf *out, const struct bq_client *client, const char *job_id, const struct bq_query *query);

#endif
