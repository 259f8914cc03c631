/* bq_rest_catalog.c - routes of datasets and tables, and the admin route.
 *
 * The engine keeps the resources; here they get a selfLink, and lists get their short items and page tokens. */
#include <stdlib.h>

#include "bq_rest_internal.h"

static void link_dataset(const struct rest_request *r, struct json_object *dataset)
{
    rest_put_self_link(r, dataset, "projects/%s/datasets/%s", r->params[REST_PROJECT],
                       json_text_at(dataset, "datasetReference.datasetId", ""));
}

static void link_table(const struct rest_request *r, struct json_object *table)
{
    rest_put_self_link(r, table, "projects/%s/datasets/%s/tables/%s", r->params[REST_PROJECT], r->params[REST_DATASET],
                       json_text_at(table, "tableReference.tableId", ""));
}

static bool answer_dataset(struct rest_request *r, struct json_object *dataset, struct buf *out)
{
    if (!dataset)
        return false;
    link_dataset(r, dataset);
    rest_put_json(out, dataset);
    return true;
}

static bool answer_table(struct rest_request *r, struct json_object *table, struct buf *out)
{
    if (!table)
        return false;
    link_table(r, table);
    rest_put_json(out, table);
    return true;
}

/* ---- Lists ------------------------------------------------------------------------------------------------------ */

static struct json_object *pick(struct json_object *full, const char *const *members)
{
    struct json_object *item = json_object_new_object();
    for (; *members; members++) {
        struct json_object *value = json_at(full, *members);
        if (value)
            json_object_object_add(item, *members, json_object_get(value));
    }
    return item;
}

/* One page of `all` (taken over) under `name`, with the members of each that lists show. */
static bool answer_list(struct rest_request *r, struct json_object *all, const char *kind, const char *name,
                        const char *const *members, struct buf *out, struct error *err)
{
    int64_t start, max, count;
    if (!all)
        return false;
    if (!rest_query_start(r, &start, err) || !rest_query_int(r, "maxResults", REST_DEFAULT_LIST, &max, err)) {
        json_object_put(all);
        return false;
    }
    struct json_object *list = json_object_new_object(), *items = json_object_new_array();
    count = (int64_t)json_object_array_length(all);
    int64_t end = count - start > max ? start + max : count;
    for (int64_t i = start; i < end; i++)
        json_object_array_add(items, pick(json_object_array_get_idx(all, (size_t)i), members));
    json_put_text(list, "kind", kind);
    if (end > start)
        json_object_object_add(list, name, items);
    else
        json_object_put(items);
    if (end < count && start < count)
        rest_put_page_token(list, "nextPageToken", end);
    if (strcmp(name, "tables") == 0)
        json_object_object_add(list, "totalItems", json_object_new_int64(count));
    rest_put_json(out, list);
    json_object_put(all);
    return true;
}

/* ---- Datasets --------------------------------------------------------------------------------------------------- */

static bool datasets_insert(struct rest_request *r, struct buf *out, struct error *err)
{
    if (!rest_check_location(r, json_text_at(r->body, "location", NULL), err))
        return false;
    return answer_dataset(r, engine_dataset_insert(r->rest->engine, r->params[REST_PROJECT], r->body, err), out);
}

static bool datasets_get(struct rest_request *r, struct buf *out, struct error *err)
{
    return answer_dataset(r, engine_dataset_get(r->rest->engine, r->params[REST_PROJECT], r->params[REST_DATASET], err),
                          out);
}

static bool datasets_list(struct rest_request *r, struct buf *out, struct error *err)
{
    static const char *const members[] = {"kind", "id", "datasetReference", "labels", "friendlyName", "location", NULL};
    struct json_object *all = engine_dataset_list(r->rest->engine, r->params[REST_PROJECT], err);
    return answer_list(r, all, "bigquery#datasetList", "datasets", members, out, err);
}

static bool datasets_change(struct rest_request *r, bool replace, struct buf *out, struct error *err)
{
    const char *etag = http_exchange_header(r->x, "If-Match");
    return answer_dataset(r,
                          engine_dataset_patch(r->rest->engine, r->params[REST_PROJECT], r->params[REST_DATASET],
                                               r->body, replace, etag, err),
                          out);
}

static bool datasets_patch(struct rest_request *r, struct buf *out, struct error *err)
{
    return datasets_change(r, false, out, err);
}

static bool datasets_update(struct rest_request *r, struct buf *out, struct error *err)
{
    return datasets_change(r, true, out, err);
}

static bool datasets_delete(struct rest_request *r, struct buf *out, struct error *err)
{
    (void)out;
    r->status = 204;
    return engine_dataset_delete(r->rest->engine, r->params[REST_PROJECT], r->params[REST_DATASET],
                                 rest_query_bool(r, "deleteContents"), err);
}

/* ---- Tables ----------------------------------------------------------------------------------------------------- */

static bool tables_insert(struct rest_request *r, struct buf *out, struct error *err)
{
    return answer_table(
        r, engine_table_insert(r->rest->engine, r->params[REST_PROJECT], r->params[REST_DATASET], r->body, err), out);
}

static bool tables_get(struct rest_request *r, struct buf *out, struct error *err)
{
    return answer_table(
        r,
        engine_table_get(r->rest->engine, r->params[REST_PROJECT], r->params[REST_DATASET], r->params[REST_TABLE], err),
        out);
}

static bool tables_list(struct rest_request *r, struct buf *out, struct error *err)
{
    static const char *const members[] = {"kind",
                                          "id",
                                          "tableReference",
                                          "type",
                                          "friendlyName",
                                          "labels",
                                          "timePartitioning",
                                          "clustering",
                                          "creationTime",
                                          "expirationTime",
                                          "view",
                                          NULL};
    struct json_object *all = engine_table_list(r->rest->engine, r->params[REST_PROJECT], r->params[REST_DATASET], err);
    return answer_list(r, all, "bigquery#tableList", "tables", members, out, err);
}

static bool tables_change(struct rest_request *r, bool replace, struct buf *out, struct error *err)
{
    const char *etag = http_exchange_header(r->x, "If-Match");
    return answer_table(r,
                        engine_table_patch(r->rest->engine, r->params[REST_PROJECT], r->params[REST_DATASET],
                                           r->params[REST_TABLE], r->body, replace, etag, err),
                        out);
}

static bool tables_patch(struct rest_request *r, struct buf *out, struct error *err)
{
    return tables_change(r, false, out, err);
}

static bool tables_update(struct rest_request *r, struct buf *out, struct error *err)
{
    return tables_change(r, true, out, err);
}

static bool tables_delete(struct rest_request *r, struct buf *out, struct error *err)
{
    (void)out;
    r->status = 204;
    return engine_table_delete(r->rest->engine, r->params[REST_PROJECT], r->params[REST_DATASET], r->params[REST_TABLE],
                               err);
}

/* ---- Admin ------------------------------------------------------------------------------------------------------ */

static bool admin_get(struct rest_request *r, struct buf *out, struct error *err)
{
    (void)err;
    struct query_jobs_counts counts = query_jobs_counts(r->rest->jobs);
    struct json_object *settings = json_object_new_object();
    json_object_object_add(settings, "dmlDurationMs", json_object_new_int64(r->rest->dml_duration_ms));
    json_object_object_add(settings, "maxJobPartitions",
                           json_object_new_int64(engine_max_job_partitions(r->rest->engine)));
    json_object_object_add(settings, "jobsInserted", json_object_new_int64(counts.inserted));
    json_object_object_add(settings, "jobsSucceeded", json_object_new_int64(counts.succeeded));
    json_object_object_add(settings, "jobsFailed", json_object_new_int64(counts.failed));
    json_object_object_add(settings, "jobsActive", json_object_new_int64(counts.active));
    rest_put_json(out, settings);
    return true;
}

static bool admin_set(struct rest_request *r, struct buf *out, struct error *err)
{
    bool has_ms = json_at(r->body, "dmlDurationMs") != NULL, has_max = json_at(r->body, "maxJobPartitions") != NULL;
    int64_t ms = json_int_at(r->body, "dmlDurationMs", -1), max = json_int_at(r->body, "maxJobPartitions", -1);
    if (!has_ms && !has_max)
        return rest_fail(err, "invalid", "a setting is needed: dmlDurationMs or maxJobPartitions");
    if (has_ms && ms < 0)
        return rest_fail(err, "invalid", "dmlDurationMs must be a number of milliseconds >= 0");
    if (has_max && max < 1)
        return rest_fail(err, "invalid", "maxJobPartitions must be a number >= 1");
    if (has_ms) {
        r->rest->dml_duration_ms = ms;
        engine_set_dml_duration_ms(r->rest->engine, ms);
    }
    if (has_max)
        engine_set_max_job_partitions(r->rest->engine, max);
    return admin_get(r, out, err);
}

const struct rest_route rest_catalog_routes[] = {
    {"POST", "projects/{}/datasets", datasets_insert, true},
    {"GET", "projects/{}/datasets", datasets_list, false},
    {"GET", "projects/{}/datasets/{}", datasets_get, false},
    {"PATCH", "projects/{}/datasets/{}", datasets_patch, true},
    {"PUT", "projects/{}/datasets/{}", datasets_update, true},
    {"DELETE", "projects/{}/datasets/{}", datasets_delete, false},
    {"POST", "projects/{}/datasets/{}/tables", tables_insert, true},
    {"GET", "projects/{}/datasets/{}/tables", tables_list, false},
    {"GET", "projects/{}/datasets/{}/tables/{}", tables_get, false},
    {"PATCH", "projects/{}/datasets/{}/tables/{}", tables_patch, true},
    {"PUT", "projects/{}/datasets/{}/tables/{}", tables_update, true},
    {"DELETE", "projects/{}/datasets/{}/tables/{}", tables_delete, false},
    {"GET", "_local/bigquery", admin_get, false},
    {"POST", "_local/bigquery", admin_set, true},
    {NULL, NULL, NULL, false},
};
