/* bq_catalog.c - datasets and tables: in memory for look-ups, in the data base for ever.
 *
 * On disk: schema cat with datasets, tables and jobs (bq_jobs.c). The order of a change is data base first, then
 * memory, both under the admin lock, so memory never shows what a crash would lose. Physical tables that no catalog row
 * names (a crash between CREATE TABLE AS and its catalog row) are dropped at open. */
#include "bq_catalog.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cancel.h"
#include "base/clock.h"

enum { CONFLICT_TRIES = 200, CONFLICT_WAIT_MS = 25 };

/* ---- Snapshots ---- */

struct engine_schema *schema_new(int64_t id, const char *project, const char *dataset, const char *name,
                                 const char *resource, struct error *err)
{
    struct json_object *obj = json_parse(slice_str(resource), "table resource", err);
    if (!obj)
        return NULL;
    struct engine_schema *schema = xcalloc(1, sizeof *schema);
    atomic_init(&schema->refs, 1);
    schema->id = id;
    schema->project = xstrdup(project);
    schema->dataset = xstrdup(dataset);
    schema->name = xstrdup(name);
    schema->resource = xstrdup(resource);
    schema->arena = arena_new(0);
    schema->expiration_ms = json_int_at(obj, "expirationTime", 0);
    const char *query = json_text_at(obj, "view.query", NULL);
    if (query)
        schema->view_query = arena_strdup(schema->arena, slice_str(query));
    bool ok = type_fields_parse(json_at(obj, "schema.fields"), schema->arena, &schema->fields, &schema->field_count,
                                &schema->node_count, err);
    json_object_put(obj);
    if (ok)
        return schema;
    schema_unref(schema);
    return NULL;
}

struct engine_schema *schema_ref(struct engine_schema *schema)
{
    atomic_fetch_add(&schema->refs, 1);
    return schema;
}

void schema_unref(struct engine_schema *schema)
{
    if (!schema || atomic_fetch_sub(&schema->refs, 1) > 1)
        return;
    free(schema->project);
    free(schema->dataset);
    free(schema->name);
    free(schema->resource);
    arena_free(schema->arena);
    free(schema);
}

bool schema_is_expired(const struct engine_schema *schema)
{
    return schema->expiration_ms > 0 && schema->expiration_ms <= clock_wall_us() / 1000;
}

/* ---- Memory (under the memory lock) ---- */

static struct catalog_dataset *find_dataset(struct catalog *catalog, const char *project, const char *name)
{
    for (size_t i = 0; i < catalog->dataset_count; i++)
        if (strcmp(catalog->datasets[i].name, name) == 0 && strcmp(catalog->datasets[i].project, project) == 0)
            return &catalog->datasets[i];
    return NULL;
}

static struct engine_schema **find_table(struct catalog *catalog, const char *project, const char *dataset,
                                         const char *name)
{
    struct catalog_dataset *ds = find_dataset(catalog, project, dataset);
    for (size_t i = 0; ds && i < ds->table_count; i++)
        if (strcmp(ds->tables[i]->name, name) == 0)
            return &ds->tables[i];
    return NULL;
}

static void add_dataset(struct catalog *catalog, const char *project, const char *name, const char *resource)
{
    catalog->datasets = xrealloc(catalog->datasets, (catalog->dataset_count + 1) * sizeof *catalog->datasets);
    catalog->datasets[catalog->dataset_count++] =
        (struct catalog_dataset){xstrdup(project), xstrdup(name), xstrdup(resource), NULL, 0};
}

static void release_dataset(struct catalog_dataset *ds)
{
    for (size_t i = 0; i < ds->table_count; i++)
        schema_unref(ds->tables[i]);
    free(ds->tables);
    free(ds->project);
    free(ds->name);
    free(ds->resource);
}

static void remove_dataset(struct catalog *catalog, struct catalog_dataset *ds)
{
    size_t i = (size_t)(ds - catalog->datasets);
    release_dataset(ds);
    memmove(ds, ds + 1, (catalog->dataset_count - i - 1) * sizeof *ds);
    catalog->dataset_count--;
}

/* Takes the reference over. */
static void publish_table(struct catalog *catalog, struct engine_schema *schema)
{
    struct engine_schema **slot = find_table(catalog, schema->project, schema->dataset, schema->name);
    if (slot) {
        schema_unref(*slot);
        *slot = schema;
        return;
    }
    struct catalog_dataset *ds = find_dataset(catalog, schema->project, schema->dataset);
    BUG_ON(!ds);
    ds->tables = xrealloc(ds->tables, (ds->table_count + 1) * sizeof(struct engine_schema *));
    ds->tables[ds->table_count++] = schema;
}

static void unpublish_table(struct catalog *catalog, const struct engine_schema *schema)
{
    struct engine_schema **slot = find_table(catalog, schema->project, schema->dataset, schema->name);
    struct catalog_dataset *ds = find_dataset(catalog, schema->project, schema->dataset);
    if (!slot)
        return;
    size_t i = (size_t)(slot - ds->tables);
    struct engine_schema *old = *slot;
    memmove(slot, slot + 1, (ds->table_count - i - 1) * sizeof(struct engine_schema *));
    ds->table_count--;
    schema_unref(old);
}

/* ---- Look-ups ---- */

char *catalog_dataset_text(struct catalog *catalog, const char *project, const char *dataset)
{
    pthread_mutex_lock(&catalog->memory);
    struct catalog_dataset *ds = find_dataset(catalog, project, dataset);
    char *text = ds ? xstrdup(ds->resource) : NULL;
    pthread_mutex_unlock(&catalog->memory);
    return text;
}

struct engine_schema *catalog_table(struct catalog *catalog, const char *project, const char *dataset, const char *name)
{
    pthread_mutex_lock(&catalog->memory);
    struct engine_schema **slot = find_table(catalog, project, dataset, name);
    struct engine_schema *schema = slot && !schema_is_expired(*slot) ? schema_ref(*slot) : NULL;
    pthread_mutex_unlock(&catalog->memory);
    return schema;
}

static int compare_schema(const void *a, const void *b)
{
    const struct engine_schema *const *left = a, *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

static int compare_text(const void *a, const void *b)
{
    const char *const *left = a, *const *right = b;
    return strcmp(*left, *right);
}

struct engine_schema **catalog_tables(struct catalog *catalog, const char *project, const char *dataset,
                                      size_t *ret_count)
{
    pthread_mutex_lock(&catalog->memory);
    struct catalog_dataset *ds = find_dataset(catalog, project, dataset);
    struct engine_schema **list = xcalloc((ds ? ds->table_count : 0) + 1, sizeof(struct engine_schema *));
    size_t n = 0;
    for (size_t i = 0; ds && i < ds->table_count; i++)
        if (!schema_is_expired(ds->tables[i]))
            list[n++] = schema_ref(ds->tables[i]);
    pthread_mutex_unlock(&catalog->memory);
    qsort(list, n, sizeof list[0], compare_schema);
    *ret_count = n;
    return list;
}

char **catalog_datasets(struct catalog *catalog, const char *project, size_t *ret_count)
{
    pthread_mutex_lock(&catalog->memory);
    char **list = xcalloc(catalog->dataset_count + 1, sizeof(char *));
    size_t n = 0;
    for (size_t i = 0; i < catalog->dataset_count; i++)
        if (strcmp(catalog->datasets[i].project, project) == 0)
            list[n++] = xstrdup(catalog->datasets[i].name);
    pthread_mutex_unlock(&catalog->memory);
    qsort(list, n, sizeof list[0], compare_text);
    *ret_count = n;
    return list;
}

int64_t catalog_take_id(struct catalog *catalog)
{
    pthread_mutex_lock(&catalog->memory);
    int64_t id = catalog->next_id++;
    pthread_mutex_unlock(&catalog->memory);
    return id;
}

/* ---- Errors ---- */

bool catalog_no_table(struct error *err, const char *project, const char *dataset, const char *table,
                      const char *location)
{
    error_set(err, ERROR_PERMANENT, "notFound", "Not found: Table %s:%s.%s%s%s", project, dataset, table,
              location ? " was not found in location " : "", location ? location : "");
    if (err)
        err->status = 404;
    return false;
}

bool catalog_no_dataset(struct error *err, const char *project, const char *dataset, const char *location)
{
    error_set(err, ERROR_PERMANENT, "notFound", "Not found: Dataset %s:%s%s%s", project, dataset,
              location ? " was not found in location " : "", location ? location : "");
    if (err)
        err->status = 404;
    return false;
}

static bool duplicate(struct error *err, const char *what, const char *project, const char *dataset, const char *table)
{
    error_set(err, ERROR_PERMANENT, "duplicate", "Already Exists: %s %s:%s%s%s", what, project, dataset,
              table ? "." : "", table ? table : "");
    if (err)
        err->status = 409;
    return false;
}

/* ---- Writers (under the admin lock) ---- */

/* One transaction; tried again while another one holds the same catalog entry. */
static bool run_transaction(struct catalog *catalog, const char *sql, struct error *err)
{
    duckdb_connection conn = duck_borrow(catalog->duck, err);
    if (!conn)
        return false;
    struct buf text = BUF_INIT;
    buf_printf(&text, "BEGIN; %s; COMMIT", sql);
    struct duck_failure fail;
    bool ok = false;
    for (int i = 0; i < CONFLICT_TRIES; i++) {
        ok = duck_run(conn, buf_cstr(&text), NULL, &fail);
        if (ok || !duck_failure_is_conflict(&fail))
            break;
        struct duck_failure ignored;
        bool rolled_back = duck_run(conn, "ROLLBACK", NULL, &ignored);
        (void)rolled_back;
        cancel_sleep_ms(NULL, CONFLICT_WAIT_MS);
    }
    if (!ok)
        duck_failure_error(&fail, err);
    buf_release(&text);
    duck_return(catalog->duck, conn);
    return ok;
}

static void append_key(struct buf *sql, const char *project, const char *dataset)
{
    buf_append_str(sql, "project=");
    duck_append_string(sql, slice_str(project));
    buf_append_str(sql, " AND dataset=");
    duck_append_string(sql, slice_str(dataset));
}

static void append_values(struct buf *sql, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_append_str(sql, i ? ", " : "");
        duck_append_string(sql, slice_str(texts[i]));
    }
}

bool catalog_put_dataset(struct catalog *catalog, const char *project, const char *name, const char *resource,
                         enum catalog_put how, struct error *err)
{
    struct buf sql = BUF_INIT;
    pthread_mutex_lock(&catalog->admin);
    pthread_mutex_lock(&catalog->memory);
    bool exists = find_dataset(catalog, project, name) != NULL;
    pthread_mutex_unlock(&catalog->memory);
    bool ok = exists == (how != CATALOG_NEW);
    if (!ok && exists)
        duplicate(err, "Dataset", project, name, NULL);
    else if (!ok)
        catalog_no_dataset(err, project, name, NULL);
    buf_append_str(&sql, "DELETE FROM cat.datasets WHERE ");
    append_key(&sql, project, name);
    buf_append_str(&sql, "; INSERT INTO cat.datasets VALUES (");
    append_values(&sql, (const char *const[]){project, name, resource}, 3);
    buf_append_str(&sql, ")");
    ok = ok && run_transaction(catalog, buf_cstr(&sql), err);
    if (ok) {
        pthread_mutex_lock(&catalog->memory);
        struct catalog_dataset *ds = find_dataset(catalog, project, name);
        if (ds) {
            free(ds->resource);
            ds->resource = xstrdup(resource);
        } else {
            add_dataset(catalog, project, name, resource);
        }
        pthread_mutex_unlock(&catalog->memory);
    }
    pthread_mutex_unlock(&catalog->admin);
    buf_release(&sql);
    return ok;
}

bool catalog_drop_dataset(struct catalog *catalog, const char *project, const char *name, struct error *err)
{
    struct buf sql = BUF_INIT;
    pthread_mutex_lock(&catalog->admin);
    pthread_mutex_lock(&catalog->memory);
    struct catalog_dataset *ds = find_dataset(catalog, project, name);
    buf_append_str(&sql, "DELETE FROM cat.datasets WHERE ");
    append_key(&sql, project, name);
    buf_append_str(&sql, "; DELETE FROM cat.tables WHERE ");
    append_key(&sql, project, name);
    for (size_t i = 0; ds && i < ds->table_count; i++)
        buf_printf(&sql, "; DROP TABLE IF EXISTS t%lld", (long long)ds->tables[i]->id);
    pthread_mutex_unlock(&catalog->memory);
    bool ok = ds ? run_transaction(catalog, buf_cstr(&sql), err) : catalog_no_dataset(err, project, name, NULL);
    if (ok) {
        pthread_mutex_lock(&catalog->memory);
        remove_dataset(catalog, find_dataset(catalog, project, name));
        pthread_mutex_unlock(&catalog->memory);
    }
    pthread_mutex_unlock(&catalog->admin);
    buf_release(&sql);
    return ok;
}

/* The table that has the name now (also an expired one), as a reference; *ret_dataset says whether its dataset exists.
 */
static struct engine_schema *current_table(struct catalog *catalog, const struct engine_schema *schema,
                                           bool *ret_dataset)
{
    pthread_mutex_lock(&catalog->memory);
    *ret_dataset = find_dataset(catalog, schema->project, schema->dataset) != NULL;
    struct engine_schema **slot = find_table(catalog, schema->project, schema->dataset, schema->name);
    struct engine_schema *old = slot ? schema_ref(*slot) : NULL;
    pthread_mutex_unlock(&catalog->memory);
    return old;
}

static bool check_put(const struct engine_schema *schema, const struct engine_schema *old, bool has_dataset,
                      enum catalog_put how, struct error *err)
{
    bool taken = old && !schema_is_expired(old);
    if (!has_dataset)
        return catalog_no_dataset(err, schema->project, schema->dataset, NULL);
    if (how == CATALOG_NEW && taken)
        return duplicate(err, old->view_query ? "View" : "Table", schema->project, schema->dataset, schema->name);
    if (how == CATALOG_CHANGE && (!taken || old->id != schema->id))
        return catalog_no_table(err, schema->project, schema->dataset, schema->name, NULL);
    return true;
}

static void put_table_sql(struct buf *sql, const struct engine_schema *schema, const struct engine_schema *old,
                          const char *extra)
{
    if (extra)
        buf_printf(sql, "%s; ", extra);
    if (old) {
        buf_printf(sql, "DELETE FROM cat.tables WHERE id=%lld; ", (long long)old->id);
        if (old->id != schema->id && !old->view_query)
            buf_printf(sql, "DROP TABLE t%lld; ", (long long)old->id);
    }
    buf_printf(sql, "INSERT INTO cat.tables VALUES (%lld, ", (long long)schema->id);
    append_values(sql, (const char *const[]){schema->project, schema->dataset, schema->name, schema->resource}, 4);
    buf_append_str(sql, ")");
}

bool catalog_put_table(struct catalog *catalog, struct engine_schema *schema, enum catalog_put how, const char *sql,
                       struct error *err)
{
    struct buf text = BUF_INIT;
    bool has_dataset;
    pthread_mutex_lock(&catalog->admin);
    struct engine_schema *old = current_table(catalog, schema, &has_dataset);
    bool ok = check_put(schema, old, has_dataset, how, err);
    if (ok) {
        put_table_sql(&text, schema, old, sql);
        ok = run_transaction(catalog, buf_cstr(&text), err);
    }
    if (ok) {
        pthread_mutex_lock(&catalog->memory);
        publish_table(catalog, schema);
        pthread_mutex_unlock(&catalog->memory);
    } else {
        schema_unref(schema);
    }
    pthread_mutex_unlock(&catalog->admin);
    schema_unref(old);
    buf_release(&text);
    return ok;
}

bool catalog_drop_table(struct catalog *catalog, const struct engine_schema *schema, struct error *err)
{
    struct buf sql = BUF_INIT;
    bool has_dataset;
    pthread_mutex_lock(&catalog->admin);
    struct engine_schema *old = current_table(catalog, schema, &has_dataset);
    bool ok = old && old->id == schema->id;
    if (!ok)
        catalog_no_table(err, schema->project, schema->dataset, schema->name, NULL);
    buf_printf(&sql, "DELETE FROM cat.tables WHERE id=%lld", (long long)schema->id);
    if (!schema->view_query)
        buf_printf(&sql, "; DROP TABLE t%lld", (long long)schema->id);
    ok = ok && run_transaction(catalog, buf_cstr(&sql), err);
    if (ok) {
        pthread_mutex_lock(&catalog->memory);
        unpublish_table(catalog, schema);
        pthread_mutex_unlock(&catalog->memory);
    }
    pthread_mutex_unlock(&catalog->admin);
    schema_unref(old);
    buf_release(&sql);
    return ok;
}

/* ---- Open and close ---- */

static char *cell(duckdb_data_chunk chunk, idx_t col, idx_t row)
{
    duckdb_string_t *data = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, col));
    struct slice s = duck_string_at(data, row);
    return xstrndup(s.ptr, s.len);
}

static bool load_dataset_row(struct catalog *catalog, duckdb_data_chunk chunk, idx_t row, struct error *err)
{
    char *project = cell(chunk, 0, row), *name = cell(chunk, 1, row), *resource = cell(chunk, 2, row);
    (void)err;
    add_dataset(catalog, project, name, resource);
    free(project);
    free(name);
    free(resource);
    return true;
}

static bool load_table_row(struct catalog *catalog, duckdb_data_chunk chunk, idx_t row, struct error *err)
{
    int64_t id = ((int64_t *)duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 4)))[row];
    char *project = cell(chunk, 0, row), *dataset = cell(chunk, 1, row), *name = cell(chunk, 2, row);
    char *resource = cell(chunk, 3, row);
    struct engine_schema *schema = schema_new(id, project, dataset, name, resource, err);
    if (schema)
        publish_table(catalog, schema);
    if (id >= catalog->next_id)
        catalog->next_id = id + 1;
    free(project);
    free(dataset);
    free(name);
    free(resource);
    return schema != NULL;
}

static bool load_rows(struct catalog *catalog, duckdb_connection conn, const char *sql,
                      bool (*load)(struct catalog *, duckdb_data_chunk, idx_t, struct error *), struct error *err)
{
    duckdb_result result;
    struct duck_failure fail;
    if (!duck_run(conn, sql, &result, &fail))
        return duck_failure_error(&fail, err);
    bool ok = true;
    duckdb_data_chunk chunk;
    while (ok && (chunk = duckdb_fetch_chunk(result)) != NULL) {
        for (idx_t i = 0; ok && i < duckdb_data_chunk_get_size(chunk); i++)
            ok = load(catalog, chunk, i, err);
        duckdb_destroy_data_chunk(&chunk);
    }
    duckdb_destroy_result(&result);
    return ok;
}

static bool drop_orphan(struct catalog *catalog, duckdb_data_chunk chunk, idx_t row, struct error *err)
{
    char *name = cell(chunk, 0, row);
    char *sql = xasprintf("DROP TABLE \"%s\"", name);
    bool ok = run_transaction(catalog, sql, err);
    free(sql);
    free(name);
    return ok;
}

static const char SETUP_SQL[] =
    "CREATE SCHEMA IF NOT EXISTS cat;"
    "CREATE TABLE IF NOT EXISTS cat.datasets (project VARCHAR, dataset VARCHAR, resource VARCHAR);"
    "CREATE TABLE IF NOT EXISTS cat.tables (id BIGINT, project VARCHAR, dataset VARCHAR, name VARCHAR, "
    "resource VARCHAR);"
    "CREATE TABLE IF NOT EXISTS cat.jobs (seq BIGINT, project VARCHAR, job_id VARCHAR, body VARCHAR, "
    "PRIMARY KEY (project, job_id));";

static const char ORPHAN_SQL[] =
    "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main' AND table_name NOT IN "
    "(SELECT 't' || id FROM cat.tables)";

bool catalog_open(struct catalog *catalog, struct duck *duck, struct error *err)
{
    *catalog = (struct catalog){.duck = duck, .next_id = 1};
    pthread_mutex_init(&catalog->admin, NULL);
    pthread_mutex_init(&catalog->memory, NULL);
    duckdb_connection conn = duck_borrow(duck, err);
    bool ok = conn && duck_exec(conn, SETUP_SQL, err);
    ok = ok && load_rows(catalog, conn, "SELECT project, dataset, resource FROM cat.datasets", load_dataset_row, err);
    ok = ok && load_rows(catalog, conn, "SELECT project, dataset, name, resource, id FROM cat.tables ORDER BY id",
                         load_table_row, err);
    ok = ok && load_rows(catalog, conn, ORPHAN_SQL, drop_orphan, err);
    duck_return(duck, conn);
    return ok;
}

void catalog_close(struct catalog *catalog)
{
    if (!catalog->duck)
        return;
    for (size_t i = 0; i < catalog->dataset_count; i++)
        release_dataset(&catalog->datasets[i]);
    free(catalog->datasets);
    pthread_mutex_destroy(&catalog->admin);
    pthread_mutex_destroy(&catalog->memory);
    *catalog = (struct catalog){0};
}
