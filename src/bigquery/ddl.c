/* ddl.c - every statement that makes the warehouse, from names and registry alone; and init, which runs those that are
 * missing.
 *
 * The order is the order of dependence: datasets, event tables, their views, then per enabled entity the target, the stage
 * and the flattened view of live rows, then the analysts' views that read these. What exists is found by tables.get, which costs no statement; a view whose text
 * differs is replaced, because a view holds no data; a table is only ever added to: columns that the registry has and
 * the table lacks are added. */
#include "bigquery/warehouse.h"

#include <stdlib.h>

#include "marts.h"
#include "tables.h"

enum { FLAT_MAX_DEPTH = 8, FLAT_NAME_BYTES = 300 };

/* ---- Texts ------------------------------------------------------------------------------------------------------- */

/* `added`: for ALTER TABLE, where a column can be neither required nor have a default. */
static void put_column(struct buf *out, const struct column *column, bool added)
{
    buf_printf(out, "`%s` ", column->name);
    column_sql(out, column);
    if (column->default_sql && !added)
        buf_printf(out, " DEFAULT %s", column->default_sql);
    if (!added && column->mode == COLUMN_REQUIRED)
        buf_append_str(out, " NOT NULL");
    if (column->description && column->description[0]) {
        buf_append_str(out, " OPTIONS(description=");
        sql_string(out, column->description);
        buf_append_char(out, ')');
    }
}

static void put_partition(struct buf *out, const struct table_schema *table)
{
    if (table->partition == PARTITION_NONE)
        return;
    const struct column *column = column_find(table->columns, table->column_count, table->partition_column);
    BUG_ON(!column);
    if (table->partition == PARTITION_HOUR)
        buf_printf(out, "\nPARTITION BY TIMESTAMP_TRUNC(`%s`, HOUR)", column->name);
    else if (column->type == COLUMN_DATE)
        buf_printf(out, "\nPARTITION BY `%s`", column->name);
    else
        buf_printf(out, "\nPARTITION BY DATE(`%s`)", column->name);
}

static void put_cluster(struct buf *out, const struct table_schema *table)
{
    for (size_t i = 0; i < 4 && table->cluster[i]; i++)
        buf_printf(out, "%s`%s`", i ? ", " : "\nCLUSTER BY ", table->cluster[i]);
}

static void create_table_sql(struct buf *out, const struct warehouse_names *names, const char *dataset,
                             const struct table_schema *table)
{
    buf_append_str(out, "CREATE TABLE IF NOT EXISTS ");
    sql_table(out, names->project, dataset, table->name);
    buf_append_str(out, " (\n  ");
    for (size_t i = 0; i < table->column_count; i++) {
        if (i)
            buf_append_str(out, ",\n  ");
        put_column(out, &table->columns[i], false);
    }
    buf_append_str(out, "\n)");
    put_partition(out, table);
    put_cluster(out, table);
    buf_append_str(out, "\nOPTIONS(description=");
    sql_string(out, table->description ? table->description : "");
    if (table->partition != PARTITION_NONE && table->partition_expiration_days > 0)
        buf_printf(out, ", partition_expiration_days=%d", table->partition_expiration_days);
    buf_append_char(out, ')');
}

static void create_view_sql(struct buf *out, const struct warehouse_names *names, const char *dataset, const char *view,
                            const char *description, const char *query)
{
    buf_append_str(out, "CREATE OR REPLACE VIEW ");
    sql_table(out, names->project, dataset, view);
    buf_append_str(out, "\nOPTIONS(description=");
    sql_string(out, description);
    buf_printf(out, ")\nAS %s", query);
}

/* A STRUCT's fields as columns of their own, named by their path; arrays stay whole. */
static void put_flat(struct buf *out, const struct column *column, const char *path, const char *alias, int depth)
{
    if (column->type != COLUMN_STRUCT || column->mode == COLUMN_REPEATED || depth >= FLAT_MAX_DEPTH) {
        buf_printf(out, "%s%s AS `%s`", out->len ? ",\n  " : "", path, alias);
        return;
    }
    for (size_t i = 0; i < column->field_count; i++) {
        const struct column *field = &column->fields[i];
        char *inner_path = xasprintf("%s.`%s`", path, field->name);
        char *inner_alias = xasprintf("%s_%s", alias, field->name);
        put_flat(out, field, inner_path, inner_alias, depth + 1);
        free(inner_path);
        free(inner_alias);
    }
}

static void flat_view_query(struct buf *out, const struct warehouse_names *names, const struct entity *entity)
{
    static const char *const kept[] = {"_tenant_id", "_run_id", "_ingested_at", "_fetched_at"};
    struct buf list = BUF_INIT;
    for (size_t i = 0; i < entity->source_column_count; i++) {
        const struct column *column = &entity->target.columns[i];
        char *path = xasprintf("t.`%s`", column->name);
        put_flat(&list, column, path, column->name, 0);
        free(path);
    }
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        buf_printf(&list, ",\n  t.%s", kept[i]);
    buf_printf(out, "SELECT\n  %s\nFROM ", buf_cstr(&list));
    sql_table(out, names->project, names->raw, entity->target.name);
    buf_append_str(out, " AS t\nWHERE t._deleted_at IS NULL");
    buf_release(&list);
}

/* ---- The list of objects ----------------------------------------------------------------------------------------- */

struct object {
    enum { OBJECT_DATASET, OBJECT_TABLE, OBJECT_VIEW } kind;
    const char *dataset, *name, *description;
    const struct table_schema *table; /* TABLE */
    const struct log_view *view;      /* VIEW of the logs, or */
    const struct entity *entity;      /* flattened VIEW, or */
    const struct mart_view *mart;     /* analysts' VIEW */
};
typedef bool object_fn(void *user, const struct object *object);

static void view_query(struct buf *out, const struct warehouse_names *names, const struct object *object)
{
    if (object->mart)
        mart_view_query(out, names, object->mart);
    else if (object->entity)
        flat_view_query(out, names, object->entity);
    else
        log_view_sql(out, names, object->view);
}

static bool each_dataset(const struct warehouse_names *names, object_fn *fn, void *user)
{
    const struct object datasets[] = {
        {.kind = OBJECT_DATASET, .dataset = names->raw, .description = "ServiceTitan records, one row per key"},
        {.kind = OBJECT_DATASET,
         .dataset = names->stage,
         .description = "Rows of unfinished runs, and flattened views"},
        {.kind = OBJECT_DATASET, .dataset = names->mart, .description = "Tables and views for analysts"},
        {.kind = OBJECT_DATASET,
         .dataset = names->logs,
         .description = "Runs, sync state and other records of operation"},
    };
    for (size_t i = 0; i < sizeof datasets / sizeof datasets[0]; i++)
        if (!fn(user, &datasets[i]))
            return false;
    return true;
}

static bool each_log_object(const struct warehouse_names *names, object_fn *fn, void *user)
{
    for (size_t i = 0; i < events_table_count(); i++) {
        const struct table_schema *table = events_table(i);
        struct object object = {.kind = OBJECT_TABLE, .dataset = names->logs, .name = table->name, .table = table};
        if (!fn(user, &object))
            return false;
    }
    for (size_t i = 0; i < log_view_count(); i++) {
        const struct log_view *view = log_view_at(i);
        struct object object = {.kind = OBJECT_VIEW,
                                .dataset = names->logs,
                                .name = view->name,
                                .description = view->description,
                                .view = view};
        if (!fn(user, &object))
            return false;
    }
    return true;
}

static bool each_entity_object(const struct warehouse_names *names, const struct entity *entity, object_fn *fn,
                               void *user)
{
    const struct object objects[] = {
        {.kind = OBJECT_TABLE, .dataset = names->raw, .name = entity->target.name, .table = &entity->target},
        {.kind = OBJECT_TABLE, .dataset = names->stage, .name = entity->stage.name, .table = &entity->stage},
        {.kind = OBJECT_VIEW,
         .dataset = names->stage,
         .name = entity->name,
         .description = entity->description,
         .entity = entity},
    };
    for (size_t i = 0; i < sizeof objects / sizeof objects[0]; i++)
        if (!fn(user, &objects[i]))
            return false;
    return true;
}

static bool each_mart_object(const struct warehouse_names *names, const struct registry *registry, object_fn *fn,
                             void *user)
{
    const struct table_schema *table = &table_tenant_settings;
    const struct object settings = {.kind = OBJECT_TABLE, .dataset = names->mart, .name = table->name, .table = table};
    bool ok = fn(user, &settings);
    for (size_t i = 0; ok && i < mart_view_count(); i++) {
        const struct mart_view *view = mart_view_at(i);
        struct buf description = BUF_INIT;
        if (!mart_view_is_possible(registry, view))
            continue;
        mart_view_description(&description, view);
        const struct object object = {.kind = OBJECT_VIEW,
                                      .dataset = names->mart,
                                      .name = view->name,
                                      .description = buf_cstr(&description),
                                      .mart = view};
        ok = fn(user, &object);
        buf_release(&description);
    }
    return ok;
}

static bool each_object(const struct warehouse_names *names, const struct registry *registry, object_fn *fn, void *user)
{
    bool ok = each_dataset(names, fn, user) && each_log_object(names, fn, user);
    for (size_t i = 0; ok && i < registry_count(registry); i++)
        if (registry_at(registry, i)->enabled)
            ok = each_entity_object(names, registry_at(registry, i), fn, user);
    return ok && each_mart_object(names, registry, fn, user);
}

static char *object_title(const struct object *object)
{
    static const char *const kinds[] = {[OBJECT_DATASET] = "dataset", [OBJECT_TABLE] = "table", [OBJECT_VIEW] = "view"};
    return xasprintf("%s %s%s%s", kinds[object->kind], object->dataset, object->name ? "." : "",
                     object->name ? object->name : "");
}

static void object_sql(struct buf *out, const struct warehouse_names *names, const struct object *object)
{
    struct buf query = BUF_INIT;
    const char *description = object->description ? object->description : "";
    if (object->kind == OBJECT_DATASET) {
        buf_append_str(out, "CREATE SCHEMA IF NOT EXISTS ");
        sql_table(out, names->project, object->dataset, /* table */ NULL);
        buf_append_str(out, " OPTIONS(description=");
        sql_string(out, description);
        buf_append_char(out, ')');
    } else if (object->kind == OBJECT_TABLE) {
        create_table_sql(out, names, object->dataset, object->table);
    } else {
        view_query(&query, names, object);
        create_view_sql(out, names, object->dataset, object->name, description, buf_cstr(&query));
    }
    buf_release(&query);
}

struct build {
    const struct warehouse_names *names;
    struct ddl *ddl;
};

static bool add_statement(void *user, const struct object *object)
{
    struct build *build = user;
    struct ddl *ddl = build->ddl;
    struct buf sql = BUF_INIT;
    object_sql(&sql, build->names, object);
    ddl->items = xrealloc(ddl->items, (ddl->count + 1) * sizeof *ddl->items);
    ddl->items[ddl->count++] = (struct ddl_statement){object_title(object), buf_detach(&sql)};
    return true;
}

void ddl_build(const struct warehouse_names *names, const struct registry *registry, struct ddl *ret)
{
    struct build build = {names, ret};
    *ret = (struct ddl){NULL, 0};
    each_object(names, registry, add_statement, &build);
}

void ddl_release(struct ddl *ddl)
{
    for (size_t i = 0; i < ddl->count; i++) {
        free(ddl->items[i].object);
        free(ddl->items[i].sql);
    }
    free(ddl->items);
    *ddl = (struct ddl){NULL, 0};
}

struct visit {
    const struct warehouse_names *names;
    void (*fn)(void *user, const struct ddl_object *object);
    void *user;
};

static bool visit_object(void *user, const struct object *object)
{
    static const enum ddl_kind kinds[] = {
        [OBJECT_DATASET] = DDL_DATASET, [OBJECT_TABLE] = DDL_TABLE, [OBJECT_VIEW] = DDL_VIEW};
    const struct visit *visit = user;
    struct buf query = BUF_INIT;
    const char *description = object->table ? object->table->description : object->description;
    if (object->kind == OBJECT_VIEW)
        view_query(&query, visit->names, object);
    const struct ddl_object shown = {.kind = kinds[object->kind],
                                     .dataset = object->dataset,
                                     .name = object->name,
                                     .description = description ? description : "",
                                     .table = object->table,
                                     .query = query.ptr,
                                     .level = object->mart ? mart_view_level(object->mart) : 0};
    visit->fn(visit->user, &shown);
    buf_release(&query);
    return true;
}

void ddl_each_object(const struct warehouse_names *names, const struct registry *registry,
                     void (*fn)(void *user, const struct ddl_object *object), void *user)
{
    struct visit visit = {names, fn, user};
    each_object(names, registry, visit_object, &visit);
}

/* ---- Init -------------------------------------------------------------------------------------------------------- */

struct init {
    struct warehouse *w;
    void (*tell)(void *user, const char *object, bool created);
    void *user;
    struct cancel *cancel;
    struct error *err;
};

static bool run_statement(struct init *init, const char *sql, bool *ret_made)
{
    const struct bq_label label = {"st_step", "init"};
    struct bq_query query = {.sql = sql, .labels = &label, .label_count = 1};
    struct bq_result result;
    if (!bq_query_run(init->w->client, &query, &result, init->cancel, init->err))
        return false;
    *ret_made = strcmp(result.ddl_operation, "SKIP") != 0; /* SKIP: somebody made it in between */
    bq_result_release(&result);
    return true;
}

static bool run_object(struct init *init, const struct object *object, bool *ret_made)
{
    struct buf sql = BUF_INIT;
    object_sql(&sql, &init->w->names, object);
    bool ok = run_statement(init, sql.ptr, ret_made);
    buf_release(&sql);
    return ok;
}

static bool has_field(struct json_object *fields, const char *name)
{
    size_t count = json_object_is_type(fields, json_type_array) ? json_object_array_length(fields) : 0;
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(json_text_at(json_object_array_get_idx(fields, i), "name", ""), name) == 0)
            return true;
    return false;
}

/* Adds the top-level columns that the table lacks; new columns of BigQuery cannot be required. */
static bool add_columns(struct init *init, const struct object *object, struct json_object *resource, bool *ret_made)
{
    struct json_object *fields = json_at(resource, "schema.fields");
    struct buf sql = BUF_INIT;
    size_t added = 0;
    bool ok = true;
    for (size_t i = 0; fields && i < object->table->column_count; i++) {
        const struct column *column = &object->table->columns[i];
        if (has_field(fields, column->name))
            continue;
        if (added == 0) {
            buf_append_str(&sql, "ALTER TABLE ");
            sql_table(&sql, init->w->names.project, object->dataset, object->name);
        }
        buf_append_str(&sql, added++ ? ", ADD COLUMN IF NOT EXISTS " : " ADD COLUMN IF NOT EXISTS ");
        put_column(&sql, column, true);
    }
    if (added > 0)
        ok = run_statement(init, sql.ptr, ret_made);
    buf_release(&sql);
    return ok;
}

static bool view_has_text(const struct warehouse_names *names, const struct object *object,
                          struct json_object *resource)
{
    struct buf query = BUF_INIT;
    view_query(&query, names, object);
    struct slice there = slice_trim(slice_str(json_text_at(resource, "view.query", "")));
    bool same = slice_eq(there, slice_trim(buf_slice(&query)));
    buf_release(&query);
    return same;
}

/* A view that names no project reads its own: what sql/bigquery_schemas.sql made is not made again. */
static bool view_differs(struct init *init, const struct object *object, struct json_object *resource)
{
    struct warehouse_names no_project = init->w->names;
    no_project.project = NULL;
    return !view_has_text(&init->w->names, object, resource) && !view_has_text(&no_project, object, resource);
}

static bool init_object(void *user, const struct object *object)
{
    struct init *init = user;
    struct json_object *resource = NULL;
    bool made = false, ok;
    if (!cancel_check(init->cancel, init->err))
        return false;
    if (object->kind == OBJECT_DATASET) {
        ok = bq_ensure_dataset(init->w->client, object->dataset, object->description, &made, init->cancel, init->err);
    } else {
        ok = bq_table_get(init->w->client, object->dataset, object->name, &resource, init->cancel, init->err);
        if (ok && !resource)
            ok = run_object(init, object, &made);
        else if (ok && object->kind == OBJECT_TABLE)
            ok = add_columns(init, object, resource, &made);
        else if (ok && view_differs(init, object, resource))
            ok = run_object(init, object, &made);
    }
    char *title = object_title(object);
    if (!ok)
        error_prefix(init->err, "%s", title);
    else if (init->tell)
        init->tell(init->user, title, made);
    free(title);
    json_object_put(resource);
    return ok;
}

bool warehouse_init(struct warehouse *w, void (*tell)(void *user, const char *object, bool created), void *user,
                    struct cancel *cancel, struct error *err)
{
    struct init init = {w, tell, user, cancel, err};
    return each_object(&w->names, w->registry, init_object, &init);
}

/* The last object of each enabled entity and of the logs: init makes them in order, so the others are there too. No worker needs
 * the analysts' views. */
bool warehouse_is_ready(struct warehouse *w, bool *ret, struct cancel *cancel, struct error *err)
{
    bool ready = true;
    for (size_t i = 0; ready && i <= registry_count(w->registry); i++) {
        struct json_object *resource = NULL;
        const struct entity *entity = i > 0 ? registry_at(w->registry, i - 1) : NULL;
        const char *last_view = log_view_at(log_view_count() - 1)->name;
        if (entity && !entity->enabled)
            continue;
        if (!bq_table_get(w->client, entity ? w->names.stage : w->names.logs, entity ? entity->name : last_view,
                          &resource, cancel, err))
            return false;
        ready = resource != NULL;
        json_object_put(resource);
    }
    *ret = ready;
    return true;
}
