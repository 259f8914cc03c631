/* bq_resource.c - datasets and tables as REST resources: create, get, list, patch, delete, expire.
 *
 * What is stored is the client's resource, cleaned: known members, the schema in legacy names, creationTime and
 * lastModifiedTime. What is computed (ids, etag, row counts) is added when it is read. */
#include "bq_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <xxhash.h>

#include "base/clock.h"

static const char *const DATASET_MEMBERS[] = {"friendlyName",
                                              "description",
                                              "labels",
                                              "access",
                                              "defaultTableExpirationMs",
                                              "defaultPartitionExpirationMs",
                                              "isCaseInsensitive",
                                              "maxTimeTravelHours",
                                              "location",
                                              NULL};
static const char *const TABLE_MEMBERS[] = {"friendlyName",
                                            "description",
                                            "labels",
                                            "expirationTime",
                                            "timePartitioning",
                                            "rangePartitioning",
                                            "clustering",
                                            "requirePartitionFilter",
                                            "maxStaleness",
                                            "tableConstraints",
                                            "view",
                                            "schema",
                                            NULL};

static void set_int(struct json_object *obj, const char *name, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, value);
    json_object_object_add(obj, name, json_object_new_string(text));
}

static void set_text(struct json_object *obj, const char *name, const char *value)
{
    json_object_object_add(obj, name, json_object_new_string(value));
}

static int64_t now_ms(void)
{
    return clock_wall_us() / 1000;
}

static struct json_object *copy_json(struct json_object *obj)
{
    struct json_object *copy = NULL;
    if (obj && json_object_deep_copy(obj, &copy, NULL) != 0)
        BUG("json_object_deep_copy");
    return copy;
}

/* Members of `from` into `to`: null removes. `replace`: members that are not given are removed. */
static void take_members(struct json_object *to, struct json_object *from, const char *const *names, bool replace)
{
    for (; *names; names++) {
        struct json_object *value = NULL;
        bool given = json_object_object_get_ex(from, *names, &value);
        if (given && value)
            json_object_object_add(to, *names, copy_json(value));
        else if (given || replace)
            json_object_object_del(to, *names);
    }
}

static void add_etag(struct json_object *obj)
{
    const char *text = json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN);
    char etag[24];
    snprintf(etag, sizeof etag, "%016" PRIx64, (uint64_t)XXH3_64bits(text, strlen(text)));
    set_text(obj, "etag", etag);
}

static bool check_etag(struct json_object *obj, const char *if_match, struct error *err)
{
    const char *etag = json_text_at(obj, "etag", "");
    size_t n = if_match ? strlen(if_match) : 0;
    bool quoted = n >= 2 && if_match[0] == '"' && if_match[n - 1] == '"';
    if (!if_match || slice_eq_str(slice_of(if_match + quoted, n - 2 * (size_t)quoted), etag) ||
        strcmp(if_match, "*") == 0)
        return true;
    return bq_fail(err, "conditionNotMet", 412, "Precondition check failed.");
}

static bool valid_id(const char *id, const char *more)
{
    size_t n = strlen(id);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)id[i];
        bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        if (!letter && !(c >= '0' && c <= '9') && c != '_' && !strchr(more, c) && !(c >= 0x80 && more[0]))
            return false;
    }
    return n > 0 && n <= 1024 && slice_is_utf8(slice_str(id));
}

/* ---- datasets ---- */

static struct json_object *dataset_json(struct engine *engine, const char *project, const char *name, const char *text,
                                        struct error *err)
{
    struct json_object *obj = json_parse(slice_str(text), "dataset", err);
    if (!obj)
        return NULL;
    struct json_object *ref = json_object_new_object();
    struct buf id = BUF_INIT;
    add_etag(obj);
    buf_printf(&id, "%s:%s", project, name);
    set_text(obj, "kind", "bigquery#dataset");
    set_text(obj, "id", buf_cstr(&id));
    set_text(ref, "datasetId", name);
    set_text(ref, "projectId", project);
    json_object_object_add(obj, "datasetReference", ref);
    set_text(obj, "type", "DEFAULT");
    if (!json_at(obj, "location"))
        set_text(obj, "location", engine->location);
    if (!json_at(obj, "maxTimeTravelHours"))
        set_text(obj, "maxTimeTravelHours", "168");
    buf_release(&id);
    return obj;
}

bool resource_create_dataset(struct engine *engine, const char *project, const char *name, struct json_object *resource,
                             struct error *err)
{
    if (!valid_id(name, ""))
        return bq_fail(
            err, "invalid", 400,
            "Invalid dataset ID \"%s\". Dataset IDs must be alphanumeric (plus underscores) and must be at most 1024 "
            "characters long.",
            name);
    struct json_object *obj = json_object_new_object();
    take_members(obj, resource, DATASET_MEMBERS, /* replace */ false);
    set_int(obj, "creationTime", now_ms());
    set_int(obj, "lastModifiedTime", now_ms());
    bool ok = catalog_put_dataset(&engine->catalog, project, name,
                                  json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN), CATALOG_NEW, err);
    json_object_put(obj);
    return ok;
}

struct json_object *engine_dataset_insert(struct engine *engine, const char *project, struct json_object *resource,
                                          struct error *err)
{
    const char *name = json_text_at(resource, "datasetReference.datasetId", NULL);
    if (!name) {
        bq_fail(err, "invalid", 400, "Required parameter is missing: datasetReference.datasetId");
        return NULL;
    }
    if (!resource_create_dataset(engine, project, name, resource, err))
        return NULL;
    return engine_dataset_get(engine, project, name, err);
}

struct json_object *engine_dataset_get(struct engine *engine, const char *project, const char *dataset,
                                       struct error *err)
{
    char *text = catalog_dataset_text(&engine->catalog, project, dataset);
    if (!text) {
        catalog_no_dataset(err, project, dataset, NULL);
        return NULL;
    }
    struct json_object *obj = dataset_json(engine, project, dataset, text, err);
    free(text);
    return obj;
}

struct json_object *engine_dataset_list(struct engine *engine, const char *project, struct error *err)
{
    size_t count;
    char **names = catalog_datasets(&engine->catalog, project, &count);
    struct json_object *list = json_object_new_array();
    for (size_t i = 0; i < count; i++) {
        struct json_object *obj = engine_dataset_get(engine, project, names[i], err);
        if (obj)
            json_object_array_add(list, obj);
        free(names[i]);
    }
    free(names);
    return list;
}

struct json_object *engine_dataset_patch(struct engine *engine, const char *project, const char *dataset,
                                         struct json_object *resource, bool replace, const char *if_match,
                                         struct error *err)
{
    struct json_object *now = engine_dataset_get(engine, project, dataset, err);
    if (!now)
        return NULL;
    bool ok = check_etag(now, if_match, err);
    struct json_object *obj = json_object_new_object();
    take_members(obj, now, DATASET_MEMBERS, /* replace */ false);
    take_members(obj, resource, DATASET_MEMBERS, replace);
    set_text(obj, "creationTime", json_text_at(now, "creationTime", "0"));
    set_int(obj, "lastModifiedTime", now_ms());
    ok = ok && catalog_put_dataset(&engine->catalog, project, dataset,
                                   json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN), CATALOG_CHANGE, err);
    json_object_put(obj);
    json_object_put(now);
    return ok ? engine_dataset_get(engine, project, dataset, err) : NULL;
}

bool engine_dataset_delete(struct engine *engine, const char *project, const char *dataset, bool delete_contents,
                           struct error *err)
{
    size_t count;
    struct engine_schema **tables = catalog_tables(&engine->catalog, project, dataset, &count);
    for (size_t i = 0; i < count; i++)
        schema_unref(tables[i]);
    free(tables);
    if (count > 0 && !delete_contents)
        return bq_fail(err, "resourceInUse", 400, "Dataset %s:%s is still in use", project, dataset);
    return catalog_drop_dataset(&engine->catalog, project, dataset, err);
}

/* ---- tables: reading ---- */

static int64_t row_bytes(const struct engine_schema *schema)
{
    int64_t bytes = 0;
    for (size_t i = 0; i < schema->field_count; i++)
        bytes += type_estimated_bytes(&schema->fields[i]);
    return bytes;
}

int64_t resource_table_rows(struct engine *engine, const struct engine_schema *schema)
{
    struct error ignored = ERROR_INIT;
    int64_t rows = 0;
    char sql[64];
    duckdb_connection conn = schema->view_query ? NULL : duck_borrow(engine->duck, &ignored);
    snprintf(sql, sizeof sql, "SELECT count(*) FROM main.t%" PRId64, schema->id);
    if (conn && !duck_int(conn, sql, 0, &rows, &ignored))
        rows = 0;
    duck_return(engine->duck, conn);
    return rows;
}

int64_t resource_table_bytes(struct engine *engine, const struct engine_schema *schema)
{
    return resource_table_rows(engine, schema) * row_bytes(schema);
}

static struct json_object *table_json(struct engine *engine, const struct engine_schema *schema, struct error *err)
{
    struct json_object *obj = json_parse(slice_str(schema->resource), "table", err);
    if (!obj)
        return NULL;
    struct buf id = BUF_INIT;
    add_etag(obj);
    buf_printf(&id, "%s:%s.%s", schema->project, schema->dataset, schema->name);
    set_text(obj, "kind", "bigquery#table");
    set_text(obj, "id", buf_cstr(&id));
    json_object_object_add(obj, "tableReference", table_reference(schema->project, schema->dataset, schema->name));
    set_text(obj, "type", schema->view_query ? "VIEW" : "TABLE");
    set_text(obj, "location", engine->location);
    int64_t rows = resource_table_rows(engine, schema), bytes = rows * row_bytes(schema);
    set_int(obj, "numRows", rows);
    set_int(obj, "numBytes", bytes);
    set_int(obj, "numLongTermBytes", 0);
    set_int(obj, "numTotalLogicalBytes", bytes);
    set_int(obj, "numActiveLogicalBytes", bytes);
    buf_release(&id);
    return obj;
}

/* The table as a reference; NULL with 404. */
static struct engine_schema *find_table(struct engine *engine, const char *project, const char *dataset,
                                        const char *table, struct error *err)
{
    struct engine_schema *schema = catalog_table(&engine->catalog, project, dataset, table);
    char *text = schema ? NULL : catalog_dataset_text(&engine->catalog, project, dataset);
    if (!schema && text)
        catalog_no_table(err, project, dataset, table, NULL);
    else if (!schema)
        catalog_no_dataset(err, project, dataset, NULL);
    free(text);
    return schema;
}

struct json_object *engine_table_get(struct engine *engine, const char *project, const char *dataset, const char *table,
                                     struct error *err)
{
    struct engine_schema *schema = find_table(engine, project, dataset, table, err);
    struct json_object *obj = schema ? table_json(engine, schema, err) : NULL;
    schema_unref(schema);
    return obj;
}

struct json_object *engine_table_list(struct engine *engine, const char *project, const char *dataset,
                                      struct error *err)
{
    char *text = catalog_dataset_text(&engine->catalog, project, dataset);
    if (!text) {
        catalog_no_dataset(err, project, dataset, NULL);
        return NULL;
    }
    free(text);
    size_t count;
    struct engine_schema **tables = catalog_tables(&engine->catalog, project, dataset, &count);
    struct json_object *list = json_object_new_array();
    for (size_t i = 0; i < count; i++) {
        struct json_object *obj = table_json(engine, tables[i], err);
        if (obj)
            json_object_array_add(list, obj);
        schema_unref(tables[i]);
    }
    free(tables);
    return list;
}

/* ---- tables: checks ---- */

static bool check_partitioning(struct json_object *obj, const struct engine_schema *schema, struct error *err)
{
    struct json_object *time = json_at(obj, "timePartitioning"), *range = json_at(obj, "rangePartitioning");
    const char *column = json_text_at(time ? time : range, "field", NULL);
    if (!time && !range)
        return true;
    if (!column)
        return bq_fail(err, "invalid", 400, "Ingestion-time partitioning is not supported by this server");
    const struct engine_field *field = type_find(schema->fields, schema->field_count, slice_str(column));
    if (!field)
        return bq_fail(err, "invalid", 400, "The field specified for partitioning cannot be found in the schema: %s.",
                       column);
    bool is_time = field->type == ENGINE_TIMESTAMP || field->type == ENGINE_DATE || field->type == ENGINE_DATETIME;
    if (field->mode == ENGINE_REPEATED || (time ? !is_time : field->type != ENGINE_INT64))
        return bq_fail(err, "invalid", 400, "The field specified for partitioning has an unsupported type: %s.",
                       column);
    return true;
}

static bool check_clustering(struct json_object *obj, const struct engine_schema *schema, struct error *err)
{
    struct json_object *fields = json_at(obj, "clustering.fields");
    size_t count = fields ? json_object_array_length(fields) : 0;
    if (count > 4)
        return bq_fail(err, "invalid", 400, "Too many clustering fields, maximum is 4.");
    for (size_t i = 0; i < count; i++) {
        const char *name = json_object_get_string(json_object_array_get_idx(fields, i));
        const struct engine_field *field = type_find(schema->fields, schema->field_count, slice_str(name ? name : ""));
        if (!field)
            return bq_fail(err, "invalid", 400, "The field specified for clustering cannot be found in the schema: %s.",
                           name);
        bool bad = field->type == ENGINE_STRUCT || field->type == ENGINE_JSON || field->type == ENGINE_BYTES ||
                   field->type == ENGINE_FLOAT64 || field->type == ENGINE_TIME;
        if (field->mode == ENGINE_REPEATED || bad)
            return bq_fail(err, "invalid", 400, "The field specified for clustering has an unsupported type: %s.",
                           name);
    }
    return true;
}

/* ---- tables: writing ---- */

/* DEFAULTs are put into each INSERT by the translator and by bq_rows.c. DuckDB's tables have none: it cannot replay ALTER TABLE from
 * its log when the table has a default that calls a function. Here they are only checked. */
static bool append_column(struct engine *engine, struct buf *sql, const struct engine_schema *schema,
                          const struct engine_field *field, struct error *err)
{
    struct sql_context ctx;
    engine_sql_context(engine, schema->project, &ctx);
    if (field->default_expression &&
        !sql_translate_default(&ctx, slice_str(field->default_expression), schema->arena, err))
        return false;
    duck_append_name(sql, slice_str(field->name));
    buf_append_char(sql, ' ');
    type_append_duck(sql, field);
    return true;
}

static bool create_sql(struct engine *engine, struct buf *sql, const struct engine_schema *schema, struct error *err)
{
    if (schema->field_count == 0)
        return bq_fail(err, "invalid", 400, "Table %s must have at least one column: this server needs a schema",
                       schema->name);
    buf_printf(sql, "CREATE TABLE main.t%" PRId64 " (", schema->id);
    for (size_t i = 0; i < schema->field_count; i++) {
        buf_append_str(sql, i ? ", " : "");
        if (!append_column(engine, sql, schema, &schema->fields[i], err))
            return false;
        if (schema->fields[i].mode == ENGINE_REQUIRED)
            buf_append_str(sql, " NOT NULL");
    }
    buf_append_char(sql, ')');
    return true;
}

/* expirationSql, the dataset's default, or nothing. */
static bool settle_expiration(struct engine *engine, const struct sql_name *name, struct json_object *obj,
                              struct json_object *resource, struct error *err)
{
    const char *expression = json_text_at(resource, "expirationSql", NULL);
    int64_t us = 0;
    if (expression) {
        struct buf sql = BUF_INIT;
        buf_printf(&sql, "SELECT epoch_us(CAST(%s AS TIMESTAMPTZ))", expression);
        duckdb_connection conn = duck_borrow(engine->duck, err);
        bool ok = conn && duck_int(conn, buf_cstr(&sql), 0, &us, err);
        duck_return(engine->duck, conn);
        buf_release(&sql);
        if (!ok)
            return false;
        set_int(obj, "expirationTime", us / 1000);
        return true;
    }
    char *text = catalog_dataset_text(&engine->catalog, name->project, name->dataset);
    struct json_object *dataset = text ? json_parse(slice_str(text), "dataset", err) : NULL;
    int64_t table_ms = json_int_at(dataset, "defaultTableExpirationMs", 0);
    int64_t partition_ms = json_int_at(dataset, "defaultPartitionExpirationMs", 0);
    struct json_object *partitioning = json_at(obj, "timePartitioning");
    if (partitioning && partition_ms > 0 && !json_at(partitioning, "expirationMs"))
        set_int(partitioning, "expirationMs", partition_ms);
    else if (table_ms > 0 && !json_at(obj, "expirationTime") && !(partitioning && partition_ms > 0))
        set_int(obj, "expirationTime", now_ms() + table_ms);
    json_object_put(dataset);
    free(text);
    return true;
}

bool view_fields(struct engine *engine, const char *project, const char *query, struct json_object **ret_fields,
                 struct error *err)
{
    struct engine_request request = ENGINE_REQUEST_INIT;
    struct engine_result *result = NULL;
    request.sql = query;
    request.sql_len = strlen(query);
    request.project = project;
    request.dry_run = true;
    if (!engine_run(engine, &request, &result, err))
        return false;
    bool ok = result->kind == SQL_SELECT && !result->is_script;
    if (ok)
        *ret_fields = copy_json(json_at(result->schema, "fields"));
    else
        bq_fail(err, "invalidQuery", 400, "The view's query is not a SELECT statement");
    engine_result_free(result);
    return ok;
}

/* The stored resource of a new table; NULL with err. */
static struct json_object *new_resource(struct engine *engine, const struct sql_name *name,
                                        struct json_object *resource, struct error *err)
{
    struct json_object *obj = json_object_new_object(), *fields = NULL;
    take_members(obj, resource, TABLE_MEMBERS, /* replace */ false);
    bool ok = settle_expiration(engine, name, obj, resource, err);
    const char *query = json_text_at(obj, "view.query", NULL);
    if (ok && query) {
        ok = view_fields(engine, name->project, query, &fields, err);
        struct json_object *schema = json_object_new_object();
        json_object_object_add(schema, "fields", fields);
        json_object_object_add(obj, "schema", schema);
        json_object_object_add(json_at(obj, "view"), "useLegacySql", json_object_new_boolean(false));
    }
    set_int(obj, "creationTime", now_ms());
    set_int(obj, "lastModifiedTime", now_ms());
    if (ok)
        return obj;
    json_object_put(obj);
    return NULL;
}

/* Schema names become legacy ones: parse, write again. */
static struct engine_schema *normal_schema(int64_t id, const struct sql_name *name, struct json_object *obj,
                                           struct error *err)
{
    struct engine_schema *draft = schema_new(id, name->project, name->dataset, name->table,
                                             json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN), err);
    if (!draft)
        return NULL;
    struct json_object *schema = json_object_new_object();
    json_object_object_add(schema, "fields",
                           type_fields_json(draft->fields, draft->field_count, /* all_modes */ false));
    json_object_object_add(obj, "schema", schema);
    schema_unref(draft);
    return schema_new(id, name->project, name->dataset, name->table,
                      json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN), err);
}

bool resource_create_table(struct engine *engine, const struct sql_name *name, struct json_object *resource,
                           enum table_create how, duckdb_connection conn, const char *query, struct error *err)
{
    if (!valid_id(name->table, "- $"))
        return bq_fail(err, "invalid", 400, "Invalid table ID \"%s\".", name->table);
    struct json_object *obj = new_resource(engine, name, resource, err);
    struct engine_schema *schema = obj ? normal_schema(catalog_take_id(&engine->catalog), name, obj, err) : NULL;
    struct buf sql = BUF_INIT;
    bool ok =
        schema && (schema->view_query || (check_partitioning(obj, schema, err) && check_clustering(obj, schema, err)));
    ok = ok && (schema->view_query || create_sql(engine, &sql, schema, err));
    int64_t id = schema ? schema->id : 0;
    bool made = false;
    if (ok && query) {
        buf_printf(&sql, "; INSERT INTO main.t%" PRId64 " %s", id, query);
        made = ok = duck_exec(conn, buf_cstr(&sql), err) && partitions_check_new(engine, schema, conn, err);
        buf_clear(&sql);
    }
    if (ok)
        ok = catalog_put_table(&engine->catalog, schema, how == TABLE_CREATE_OR_REPLACE ? CATALOG_REPLACE : CATALOG_NEW,
                               sql.len > 0 ? buf_cstr(&sql) : NULL, err);
    else
        schema_unref(schema);
    if (!ok && query) {
        struct error ignored = ERROR_INIT;
        buf_clear(&sql);
        buf_printf(&sql, "DROP TABLE IF EXISTS main.t%" PRId64, id);
        made = duck_exec(conn, buf_cstr(&sql), &ignored);
    }
    (void)made;
    buf_release(&sql);
    json_object_put(obj);
    return ok;
}

struct json_object *engine_table_insert(struct engine *engine, const char *project, const char *dataset,
                                        struct json_object *resource, struct error *err)
{
    const char *table = json_text_at(resource, "tableReference.tableId", NULL);
    if (!table) {
        bq_fail(err, "invalid", 400, "Required parameter is missing: tableReference.tableId");
        return NULL;
    }
    struct sql_name name = {project, dataset, table};
    if (!resource_create_table(engine, &name, resource, TABLE_CREATE_NEW, NULL, NULL, err))
        return NULL;
    return engine_table_get(engine, project, dataset, table, err);
}

/* ---- tables: schema changes ---- */

struct schema_change {
    struct engine *engine;
    const struct engine_schema *to;
    struct buf sql;
    struct error *err;
};

static bool bad_change(struct schema_change *change, const char *what, const char *field)
{
    return bq_fail(change->err, "invalid", 400, "Provided Schema does not match Table %s:%s.%s. %s (field: %s)",
                   change->to->project, change->to->dataset, change->to->name, what, field);
}

/* `path`: DuckDB's "a"."b". prefix of a nested field; "" at the top. */
static bool change_fields(struct schema_change *change, const struct engine_field *old, size_t old_count,
                          const struct engine_field *new, size_t new_count, const char *path);

static bool add_field(struct schema_change *change, const struct engine_field *field, const char *path)
{
    if (field->mode == ENGINE_REQUIRED)
        return bad_change(change, "Cannot add required fields to an existing schema.", field->name);
    buf_printf(&change->sql, "ALTER TABLE main.t%" PRId64 " ADD COLUMN %s", change->to->id, path);
    if (path[0]) {
        duck_append_name(&change->sql, slice_str(field->name));
        buf_append_char(&change->sql, ' ');
        type_append_duck(&change->sql, field);
    } else if (!append_column(change->engine, &change->sql, change->to, field, change->err)) {
        return false;
    }
    buf_append_str(&change->sql, "; ");
    return true;
}

static bool change_field(struct schema_change *change, const struct engine_field *old, const struct engine_field *new,
                         const char *path)
{
    if (old->type != new->type)
        return bad_change(change, "Field has changed type", old->name);
    bool relaxed = old->mode == ENGINE_REQUIRED && new->mode == ENGINE_NULLABLE;
    if (old->mode != new->mode && !relaxed)
        return bad_change(change, "Field has changed mode", old->name);
    if (relaxed && !path[0]) {
        buf_printf(&change->sql, "ALTER TABLE main.t%" PRId64 " ALTER COLUMN ", change->to->id);
        duck_append_name(&change->sql, slice_str(old->name));
        buf_append_str(&change->sql, " DROP NOT NULL; ");
    }
    struct buf inner = BUF_INIT;
    buf_append_str(&inner, path);
    duck_append_name(&inner, slice_str(old->name));
    buf_append_str(&inner, old->mode == ENGINE_REPEATED ? ".element." : ".");
    bool ok = change_fields(change, old->fields, old->field_count, new->fields, new->field_count, buf_cstr(&inner));
    buf_release(&inner);
    return ok;
}

static bool change_fields(struct schema_change *change, const struct engine_field *old, size_t old_count,
                          const struct engine_field *new, size_t new_count, const char *path)
{
    for (size_t i = 0; i < old_count; i++) {
        const struct engine_field *match = type_find(new, new_count, slice_str(old[i].name));
        if (!match)
            return bad_change(change, "Field is missing in new schema", old[i].name);
        if (!change_field(change, &old[i], match, path))
            return false;
    }
    for (size_t i = 0; i < new_count; i++)
        if (!type_find(old, old_count, slice_str(new[i].name)) && !add_field(change, &new[i], path))
            return false;
    return true;
}

bool resource_change_table(struct engine *engine, struct engine_schema *table, struct json_object *members,
                           bool replace, struct error *err)
{
    struct sql_name name = {table->project, table->dataset, table->name};
    struct json_object *obj = json_parse(slice_str(table->resource), "table", err);
    if (!obj)
        return false;
    struct json_object *schema_before = copy_json(json_at(obj, "schema")), *view = copy_json(json_at(obj, "view"));
    struct json_object *partitioning = copy_json(json_at(obj, "timePartitioning"));
    take_members(obj, members, TABLE_MEMBERS, replace);
    if (!json_at(obj, "schema") || (view && !json_at(members, "view")))
        json_object_object_add(obj, "schema", copy_json(schema_before));
    if (view && !json_at(obj, "view"))
        json_object_object_add(obj, "view", copy_json(view));
    bool ok = settle_expiration(engine, &name, obj, members, err);
    set_int(obj, "lastModifiedTime", now_ms());
    const char *before = json_text_at(partitioning, "field", ""),
               *after = json_text_at(json_at(obj, "timePartitioning"), "field", "");
    if (ok && strcmp(before, after) != 0)
        ok = bq_fail(err, "invalid", 400, "Cannot change partitioning of table %s:%s.%s", name.project, name.dataset,
                     name.table);
    struct engine_schema *next = ok ? normal_schema(table->id, &name, obj, err) : NULL;
    struct schema_change change = {engine, next, BUF_INIT, err};
    ok = next && check_clustering(obj, next, err);
    if (ok && !table->view_query)
        ok = change_fields(&change, table->fields, table->field_count, next->fields, next->field_count, "");
    if (change.sql.len >= 2)
        change.sql.ptr[change.sql.len - 2] = '\0';
    if (ok)
        ok = catalog_put_table(&engine->catalog, next, CATALOG_CHANGE, change.sql.len ? buf_cstr(&change.sql) : NULL,
                               err);
    else
        schema_unref(next);
    buf_release(&change.sql);
    json_object_put(partitioning);
    json_object_put(schema_before);
    json_object_put(view);
    json_object_put(obj);
    return ok;
}

struct json_object *engine_table_patch(struct engine *engine, const char *project, const char *dataset,
                                       const char *table, struct json_object *resource, bool replace,
                                       const char *if_match, struct error *err)
{
    struct engine_schema *schema = find_table(engine, project, dataset, table, err);
    struct json_object *now = schema ? table_json(engine, schema, err) : NULL;
    bool ok = now && check_etag(now, if_match, err) && resource_change_table(engine, schema, resource, replace, err);
    json_object_put(now);
    schema_unref(schema);
    return ok ? engine_table_get(engine, project, dataset, table, err) : NULL;
}

bool engine_table_delete(struct engine *engine, const char *project, const char *dataset, const char *table,
                         struct error *err)
{
    struct engine_schema *schema = find_table(engine, project, dataset, table, err);
    bool ok = schema && catalog_drop_table(&engine->catalog, schema, err);
    schema_unref(schema);
    return ok;
}
