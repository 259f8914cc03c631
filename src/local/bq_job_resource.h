/* bq_job_resource.h - Job resources of REST v2 as JSON: what a job says of itself in each state. Pure functions. */
#ifndef ST_LOCAL_BQ_JOB_RESOURCE_H
#define ST_LOCAL_BQ_JOB_RESOURCE_H

#include "bq_engine.h"

/* A PENDING job; `job_id` NULL for a dry run. */
struct json_object *job_resource_new(const char *project, const char *location, const char *job_id,
                                     struct json_object *configuration);
void job_resource_set_state(struct json_object *job, const char *state);
/* member: "startTime", "endTime"; Unix milliseconds. */
void job_resource_set_time(struct json_object *job, const char *member, int64_t ms);
void job_resource_set_result(struct json_object *job, const struct engine_result *result);
void job_resource_set_error(struct json_object *job, const struct error *err);
/* True when status.errorResult is there; *ret gets its reason, message and HTTP status. */
bool job_resource_error(struct json_object *job, struct error *ret);
bool job_resource_is_done(struct json_object *job);

/* {"reason","message"(,"location")} */
struct json_object *error_proto(const struct error *err);
/* HTTP status of a reason (500 for unknown ones). */
int reason_http_status(const char *reason);

/* The engine's view of configuration.query. Everything is borrowed from it. */
void job_engine_request(struct json_object *configuration, const char *project, struct engine_request *ret);
/* QueryResponse members that come from statistics: totalBytesProcessed, dmlStats, ... */
void job_copy_query_statistics(struct json_object *job, struct json_object *response);

void json_put_text(struct json_object *obj, const char *name, const char *text);
void json_put_int_text(struct json_object *obj, const char *name, int64_t value); /* int64 as JSON string */

#endif
