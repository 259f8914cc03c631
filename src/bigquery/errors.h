/* errors.h - what BigQuery's reasons mean, for the REST answers, failed jobs and failed writes of this layer. Pure. */
#ifndef ST_BIGQUERY_PRIVATE_ERRORS_H
#define ST_BIGQUERY_PRIVATE_ERRORS_H

#include "base/json.h"

/* The error of a job that ended with an errorResult {reason, message}. Jobs are atomic: effect NONE. Returns false. */
bool bq_job_error(struct error *err, struct json_object *error_result, const char *what);
/* True when the rows or the statement's size are to blame, so that fewer rows may pass; false when the surroundings are
 * (access, missing tables, quota, weather). Takes the reason that is in error.code. */
bool bq_reason_blames_rows(const char *reason);
/* Class of a known reason; false when the reason is not in the table. */
bool bq_reason_class(const char *reason, enum error_class *ret_class);

#endif
