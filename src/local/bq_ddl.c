/* bq_ddl.c - running CREATE, ALTER and DROP on the catalog. */
#include "bq_internal.h"

#include <stdlib.h>
#include <string.h>

static bool exists(struct exec *exec, const struct sql_name *name)
{
    if (!name->table) {
        char *text = catalog_dataset_text(&exec->engine->catalog, name->project, name->dataset);
        free(text);
        return text != NULL;
    }
    struct engine_schema *schema = catalog_table(&exec->engine->catalog, name->project, name->dataset, name->table);
    schema_unref(schema);
    return schema != NULL;
}

static const char *finished_text(struct exec *exec, const char *marked)
{
    struct buf out = BUF_INIT;
    sql_finish(marked, &out, NULL);
    const char *text = arena_strdup(exec->arena, buf_slice(&out));
    buf_release(&out);
    return text;
}

/* Columns of CREATE TABLE ... AS come from the query, unless they are listed. */
static bool describe_query(struct exec *exec, struct sql_statement *stmt, struct error *err)
{
    struct json_object *fields;
    if (!exec_describe(exec, stmt, stmt->text, &fields, err))
        return false;
    bool ok = result_check_names(fields, err);
    if (!stmt->has_columns && ok) {
        struct json_object *schema = json_object_new_object();
        json_object_object_add(schema, "fields", json_object_get(fields));
        json_object_object_add(stmt->resource, "schema", schema);
    }
    json_object_put(fields);
    return ok;
}

static bool create_table(struct exec *exec, struct sql_statement *stmt, struct engine_result *result, struct error *err)
{
    bool was = exists(exec, &stmt->target);
    result->ddl_operation = was ? (stmt->if_not_exists ? "SKIP" : "REPLACE") : "CREATE";
    if (stmt->kind == SQL_CREATE_TABLE_AS && !describe_query(exec, stmt, err))
        return false;
    if (exec->request->dry_run || (was && stmt->if_not_exists))
        return true;
    const char *query = stmt->kind == SQL_CREATE_TABLE_AS ? finished_text(exec, stmt->text) : NULL;
    bool ok =
        resource_create_table(exec->engine, &stmt->target, stmt->resource,
                              stmt->or_replace ? TABLE_CREATE_OR_REPLACE : TABLE_CREATE_NEW, exec->conn, query, err);
    if (!ok && stmt->if_not_exists && err && strcmp(err->code, "duplicate") == 0) {
        *err = ERROR_INIT;
        result->ddl_operation = "SKIP";
        return true;
    }
    return ok;
}

static bool create_schema(struct exec *exec, struct sql_statement *stmt, struct engine_result *result,
                          struct error *err)
{
    bool skip = stmt->if_not_exists && exists(exec, &stmt->target);
    result->ddl_operation = skip ? "SKIP" : "CREATE";
    if (skip || exec->request->dry_run)
        return true;
    bool ok = resource_create_dataset(exec->engine, stmt->target.project, stmt->target.dataset, stmt->resource, err);
    if (!ok && stmt->if_not_exists && err && strcmp(err->code, "duplicate") == 0) {
        *err = ERROR_INIT;
        result->ddl_operation = "SKIP";
        return true;
    }
    return ok;
}

static struct json_object *find_field(struct json_object *fields, const char *name)
{
    for (size_t i = 0; i < json_object_array_length(fields); i++) {
        struct json_object *field = json_object_array_get_idx(fields, i);
        if (strcasecmp(json_text_at(field, "name", ""), name) == 0)
            return field;
    }
    return NULL;
}

static bool add_column(struct sql_alter *alter, struct json_object *fields, bool *changed, struct error *err)
{
    struct json_object *field = json_object_array_get_idx(alter->json, 0);
    const char *name = json_text_at(field, "name", "");
    if (!find_field(fields, name)) {
        json_object_array_add(fields, json_object_get(field));
        *changed = true;
        return true;
    }
    return alter->if_not_exists || bq_fail(err, "invalidQuery", 400, "Column already exists: %s", name);
}

static bool change_column(struct sql_alter *alter, struct json_object *fields, bool *changed, struct error *err)
{
    struct json_object *field = find_field(fields, alter->column);
    if (!field)
        return bq_fail(err, "invalidQuery", 400, "Column not found: %s", alter->column);
    *changed = true;
    if (alter->what == SQL_DROP_NOT_NULL) {
        json_object_object_add(field, "mode", json_object_new_string("NULLABLE"));
        return true;
    }
    json_object_object_foreach(alter->json, key, value) json_object_object_add(field, key, json_object_get(value));
    return true;
}

static void set_options(struct sql_alter *alter, struct json_object *members, struct json_object *resource)
{
    json_object_object_foreach(alter->json, key, value)
    {
        if (strcmp(key, "partitionExpirationMs") == 0) {
            struct json_object *partitioning = json_at(resource, "timePartitioning");
            if (partitioning) {
                json_object_object_add(partitioning, "expirationMs", json_object_get(value));
                json_object_object_add(members, "timePartitioning", json_object_get(partitioning));
            }
        } else {
            json_object_object_add(members, key, json_object_get(value));
        }
    }
}

static bool alter_table(struct exec *exec, struct sql_statement *stmt, struct engine_result *result, struct error *err)
{
    const struct sql_name *name = &stmt->target;
    struct engine_schema *table = catalog_table(&exec->engine->catalog, name->project, name->dataset, name->table);
    result->ddl_operation = table ? "ALTER" : "SKIP";
    if (!table)
        return stmt->if_exists ||
               catalog_no_table(err, name->project, name->dataset, name->table, exec->engine->location);
    struct json_object *resource = json_parse(slice_str(table->resource), "table", err);
    struct json_object *members = json_object_new_object();
    struct json_object *fields = resource ? json_at(resource, "schema.fields") : NULL;
    bool ok = fields != NULL, changed = false;
    for (size_t i = 0; ok && i < stmt->alter_count; i++) {
        struct sql_alter *alter = &stmt->alters[i];
        if (alter->what == SQL_ADD_COLUMN)
            ok = add_column(alter, fields, &changed, err);
        else if (alter->what == SQL_SET_OPTIONS)
            set_options(alter, members, resource);
        else
            ok = change_column(alter, fields, &changed, err);
    }
    if (ok && changed)
        json_object_object_add(members, "schema", json_object_get(json_at(resource, "schema")));
    if (ok && !exec->request->dry_run)
        ok = resource_change_table(exec->engine, table, members, /* replace */ false, err);
    json_object_put(members);
    json_object_put(resource);
    schema_unref(table);
    return ok;
}

static bool alter_schema(struct exec *exec, struct sql_statement *stmt, struct engine_result *result, struct error *err)
{
    result->ddl_operation = "ALTER";
    if (exec->request->dry_run)
        return true;
    struct json_object *members = json_object_new_object();
    for (size_t i = 0; i < stmt->alter_count; i++)
        set_options(&stmt->alters[i], members, members);
    struct json_object *obj = engine_dataset_patch(exec->engine, stmt->target.project, stmt->target.dataset, members,
                                                   /* replace */ false, NULL, err);
    json_object_put(members);
    json_object_put(obj);
    return obj != NULL;
}

static bool drop_table(struct exec *exec, struct sql_statement *stmt, struct engine_result *result, struct error *err)
{
    const struct sql_name *name = &stmt->target;
    struct engine_schema *table = catalog_table(&exec->engine->catalog, name->project, name->dataset, name->table);
    result->ddl_operation = table ? "DROP" : "SKIP";
    if (!table)
        return stmt->if_exists || catalog_no_table(err, name->project, name->dataset, name->table, NULL);
    bool is_view = table->view_query != NULL, wants_view = stmt->kind == SQL_DROP_VIEW;
    bool ok =
        is_view == wants_view ||
        bq_fail(err, "invalidQuery", 400, "%s:%s.%s is not allowed for this operation because it is currently a %s.",
                name->project, name->dataset, name->table, is_view ? "VIEW" : "TABLE");
    if (ok && !exec->request->dry_run)
        ok = catalog_drop_table(&exec->engine->catalog, table, err);
    schema_unref(table);
    return ok;
}

static bool drop_schema(struct exec *exec, struct sql_statement *stmt, struct engine_result *result, struct error *err)
{
    bool was = exists(exec, &stmt->target);
    result->ddl_operation = was ? "DROP" : "SKIP";
    if (!was)
        return stmt->if_exists || catalog_no_dataset(err, stmt->target.project, stmt->target.dataset, NULL);
    return exec->request->dry_run ||
           engine_dataset_delete(exec->engine, stmt->target.project, stmt->target.dataset, stmt->cascade, err);
}

bool ddl_run(struct exec *exec, struct sql_statement *stmt, struct engine_result *result, struct error *err)
{
    if (!stmt->target.table) {
        result->target_dataset = json_object_new_object();
        json_object_object_add(result->target_dataset, "projectId", json_object_new_string(stmt->target.project));
        json_object_object_add(result->target_dataset, "datasetId", json_object_new_string(stmt->target.dataset));
    }
    switch (stmt->kind) {
    case SQL_CREATE_TABLE:
    case SQL_CREATE_TABLE_AS:
    case SQL_CREATE_VIEW:
        return create_table(exec, stmt, result, err);
    case SQL_CREATE_SCHEMA:
        return create_schema(exec, stmt, result, err);
    case SQL_ALTER_TABLE:
        return alter_table(exec, stmt, result, err);
    case SQL_ALTER_SCHEMA:
        return alter_schema(exec, stmt, result, err);
    case SQL_DROP_SCHEMA:
        return drop_schema(exec, stmt, result, err);
    default:
        return drop_table(exec, stmt, result, err);
    }
}
