/* bq_job_resource.c - builds Job resources.
 *
 * 64-bit numbers are JSON strings. Of a SELECT, configuration.query.destinationTable names an anonymous table, as the
 * service does; this server has none behind it, results are read through getQueryResults. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/uuid.h"
#include "bq_job_resource.h"

void json_put_text(struct json_object *obj, const char *name, const char *text)
{
    json_object_object_add(obj, name, json_object_new_string(text));
}

void json_put_int_text(struct json_object *obj, const char *name, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    json_put_text(obj, name, text);
}

static struct json_object *member_object(struct json_object *obj, const char *name)
{
    struct json_object *child = NULL;
    if (!json_object_object_get_ex(obj, name, &child) || !child) {
        child = json_object_new_object();
        json_object_object_add(obj, name, child);
    }
    return child;
}

static struct json_object *deep_copy(struct json_object *src)
{
    struct json_object *copy = NULL;
    if (src && json_object_deep_copy(src, &copy, NULL) != 0)
        BUG("could not copy a JSON value");
    return copy;
}

/* ---- Configuration ---------------------------------------------------------------------------------------------- */

static struct json_object *anonymous_table(const char *project)
{
    struct json_object *table = json_object_new_object();
    char *name = xasprintf("anon%016llx", (unsigned long long)random_u64());
    json_put_text(table, "projectId", project);
    json_put_text(table, "datasetId", "_anonymous");
    json_put_text(table, "tableId", name);
    free(name);
    return table;
}

static struct json_object *full_configuration(const char *project, struct json_object *given)
{
    struct json_object *configuration = deep_copy(given);
    struct json_object *query = member_object(configuration, "query");
    json_put_text(configuration, "jobType", "QUERY");
    if (!json_at(query, "priority"))
        json_put_text(query, "priority", "INTERACTIVE");
    if (!json_at(query, "writeDisposition"))
        json_put_text(query, "writeDisposition", "WRITE_TRUNCATE");
    if (!json_at(query, "destinationTable"))
        json_object_object_add(query, "destinationTable", anonymous_table(project));
    json_object_object_add(query, "useLegacySql", json_object_new_boolean(0));
    return configuration;
}

struct json_object *job_resource_new(const char *project, const char *location, const char *job_id,
                                     struct json_object *configuration)
{
    struct json_object *job = json_object_new_object();
    json_put_text(job, "kind", "bigquery#job");
    if (job_id) {
        char *id = xasprintf("%s:%s.%s", project, location, job_id);
        json_put_text(job, "id", id);
        free(id);
    }
    json_put_text(job, "user_email", "local@localhost");
    json_put_text(job, "principal_subject", "user:local@localhost");
    struct json_object *reference = member_object(job, "jobReference");
    json_put_text(reference, "projectId", project);
    if (job_id)
        json_put_text(reference, "jobId", job_id);
    json_put_text(reference, "location", location);
    json_put_text(member_object(job, "jobCreationReason"), "code", "REQUESTED");
    json_object_object_add(job, "configuration", full_configuration(project, configuration));
    json_put_int_text(member_object(job, "statistics"), "creationTime", clock_wall_us() / 1000);
    job_resource_set_state(job, "PENDING");
    return job;
}

void job_engine_request(struct json_object *configuration, const char *project, struct engine_request *ret)
{
    struct json_object *query = json_at(configuration, "query");
    struct json_object *parameters = json_at(query, "queryParameters");
    const char *mode = json_text_at(query, "parameterMode", "");
    *ret = ENGINE_REQUEST_INIT;
    ret->sql = json_text_at(query, "query", "");
    ret->sql_len = strlen(ret->sql);
    ret->project = project;
    ret->default_project = json_text_at(query, "defaultDataset.projectId", NULL);
    ret->default_dataset = json_text_at(query, "defaultDataset.datasetId", NULL);
    ret->query_parameters = parameters;
    ret->positional = slice_eq_nocase(slice_str(mode), SLICE_LIT("POSITIONAL")); /* Node: "positional" */
    if (!mode[0] && parameters && json_object_array_length(parameters) > 0)
        ret->positional = json_at(json_object_array_get_idx(parameters, 0), "name") == NULL;
    ret->maximum_bytes_billed = json_int_at(query, "maximumBytesBilled", 0);
}

/* ---- State and statistics --------------------------------------------------------------------------------------- */

void job_resource_set_state(struct json_object *job, const char *state)
{
    json_put_text(member_object(job, "status"), "state", state);
    char *etag = xasprintf("%016llx", (unsigned long long)random_u64());
    json_put_text(job, "etag", etag);
    free(etag);
}

void job_resource_set_time(struct json_object *job, const char *member, int64_t ms)
{
    json_put_int_text(member_object(job, "statistics"), member, ms);
}

static void put_dml(struct json_object *query, const struct engine_result *result)
{
    struct engine_dml_stats stats;
    if (!engine_result_dml(result, &stats))
        return;
    json_put_int_text(query, "numDmlAffectedRows", stats.inserted + stats.updated + stats.deleted);
    struct json_object *dml = member_object(query, "dmlStats");
    json_put_int_text(dml, "insertedRowCount", stats.inserted);
    json_put_int_text(dml, "updatedRowCount", stats.updated);
    json_put_int_text(dml, "deletedRowCount", stats.deleted);
}

static void put_ddl(struct json_object *query, const struct engine_result *result)
{
    const char *operation = engine_result_ddl_operation(result);
    struct json_object *table = engine_result_target(result);
    struct json_object *dataset = engine_result_target_dataset(result);
    if (!operation)
        return;
    json_put_text(query, "ddlOperationPerformed", operation);
    if (table)
        json_object_object_add(query, "ddlTargetTable", deep_copy(table));
    if (dataset)
        json_object_object_add(query, "ddlTargetDataset", deep_copy(dataset));
}

void job_resource_set_result(struct json_object *job, const struct engine_result *result)
{
    struct json_object *statistics = member_object(job, "statistics");
    struct json_object *query = member_object(statistics, "query");
    struct json_object *referenced = engine_result_referenced_tables(result);
    struct json_object *schema = engine_result_schema(result);
    json_put_int_text(statistics, "totalBytesProcessed", engine_result_bytes_processed(result));
    json_put_int_text(statistics, "totalSlotMs", 1);
    if (engine_result_child_count(result) > 0)
        json_put_int_text(statistics, "numChildJobs", (int64_t)engine_result_child_count(result));
    json_put_text(query, "statementType", engine_result_statement_type(result));
    json_put_int_text(query, "totalBytesProcessed", engine_result_bytes_processed(result));
    json_put_int_text(query, "totalBytesBilled", engine_result_bytes_billed(result));
    json_put_int_text(query, "totalSlotMs", 1);
    json_object_object_add(query, "cacheHit", json_object_new_boolean(0));
    if (json_object_array_length(referenced) > 0)
        json_object_object_add(query, "referencedTables", deep_copy(referenced));
    if (schema)
        json_object_object_add(query, "schema", deep_copy(schema));
    put_dml(query, result);
    put_ddl(query, result);
}

void job_copy_query_statistics(struct json_object *job, struct json_object *response)
{
    static const struct {
        const char *from, *to;
    } members[] = {
        {"statistics.totalBytesProcessed", "totalBytesProcessed"},
        {"statistics.query.totalBytesBilled", "totalBytesBilled"},
        {"statistics.query.numDmlAffectedRows", "numDmlAffectedRows"},
        {"statistics.query.dmlStats", "dmlStats"},
        {"statistics.query.cacheHit", "cacheHit"},
        {"statistics.creationTime", "creationTime"},
        {"statistics.startTime", "startTime"},
        {"statistics.endTime", "endTime"},
        {"jobCreationReason", "jobCreationReason"},
    };
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        struct json_object *value = json_at(job, members[i].from);
        if (value)
            json_object_object_add(response, members[i].to, deep_copy(value));
    }
}

/* ---- Errors ----------------------------------------------------------------------------------------------------- */

struct json_object *error_proto(const struct error *err)
{
    struct json_object *proto = json_object_new_object();
    json_put_text(proto, "reason", err->code[0] ? err->code : "internalError");
    if (strcmp(err->code, "invalidQuery") == 0)
        json_put_text(proto, "location", "query");
    json_put_text(proto, "message", err->message);
    return proto;
}

int reason_http_status(const char *reason)
{
    static const struct {
        const char *reason;
        int status;
    } table[] = {
        {"accessDenied", 403},
        {"backendError", 503},
        {"badRequest", 400},
        {"blocked", 403},
        {"conditionNotMet", 412},
        {"duplicate", 409},
        {"invalid", 400},
        {"invalidQuery", 400},
        {"jobBackendError", 400},
        {"jobInternalError", 400},
        {"jobRateLimitExceeded", 400},
        {"notFound", 404},
        {"notImplemented", 501},
        {"quotaExceeded", 403},
        {"rateLimitExceeded", 403},
        {"required", 400},
        {"parseError", 400},
        {"resourceInUse", 400},
        {"resourcesExceeded", 400},
        {"responseTooLarge", 403},
        {"stopped", 499},
        {"tableUnavailable", 400},
        {"timeout", 400},
        {"bytesBilledLimitExceeded", 500},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strcmp(table[i].reason, reason) == 0)
            return table[i].status;
    return 500;
}

void job_resource_set_error(struct json_object *job, const struct error *err)
{
    struct json_object *status = member_object(job, "status");
    struct json_object *errors = json_object_new_array();
    json_object_array_add(errors, error_proto(err));
    json_object_object_add(status, "errorResult", error_proto(err));
    json_object_object_add(status, "errors", errors);
}

bool job_resource_error(struct json_object *job, struct error *ret)
{
    struct json_object *result = json_at(job, "status.errorResult");
    if (!result)
        return false;
    const char *reason = json_text_at(result, "reason", "internalError");
    error_set(ret, ERROR_PERMANENT, reason, "%s", json_text_at(result, "message", ""));
    ret->status = reason_http_status(reason);
    return true;
}

bool job_resource_is_done(struct json_object *job)
{
    return strcmp(json_text_at(job, "status.state", ""), "DONE") == 0;
}
