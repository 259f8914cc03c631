/* bq_exec.c - running statements: one, or a script; queries; DuckDB's failures in BigQuery's words. */
#include "bq_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "bq_sql_lexer.h"

/* ---- failures ---- */

struct failure_row {
    const char *type, *subtype, *needle; /* NULL = any */
    const char *format;                  /* %s: the name or the needle's text */
};

static const struct failure_row FAILURES[] = {
    {"Binder", "COLUMN_NOT_FOUND", NULL, "Unrecognized name: %s"},
    {"Constraint", NULL, "NOT NULL constraint failed", "Required field %s cannot be null"},
    {"Out of Memory", NULL, NULL, "Resources exceeded during query execution: %s"},
    {NULL, NULL, NULL, NULL},
};

/* The column behind the last dot of "NOT NULL constraint failed: t1.name". */
static const char *failed_name(const struct duck_failure *fail)
{
    const char *dot = strrchr(fail->message, '.');
    return fail->name[0] ? fail->name : dot && dot[1] ? dot + 1 : fail->message;
}

static bool has_place(const struct duck_failure *fail)
{
    return fail->position >= 0 && (strcmp(fail->type, "Binder") == 0 || strcmp(fail->type, "Catalog") == 0 ||
                                   strcmp(fail->type, "Parser") == 0);
}

static bool translate_failure(struct exec *exec, const struct sql_statement *stmt, const struct duck_failure *fail,
                              const struct sql_map *map, struct error *err)
{
    const struct failure_row *row = FAILURES;
    char text[ERROR_MESSAGE_SIZE];
    while (row->format &&
           (strcmp(row->type, fail->type) != 0 || (row->subtype && strcmp(row->subtype, fail->subtype) != 0) ||
            (row->needle && !strstr(fail->message, row->needle))))
        row++;
    if (row->format == FAILURES[0].format)
        snprintf(text, sizeof text, "Unrecognized name: %s", failed_name(fail));
    else if (row->format == FAILURES[1].format)
        snprintf(text, sizeof text, "Required field %s cannot be null", failed_name(fail));
    else
        snprintf(text, sizeof text, "%s", fail->message);
    size_t start = stmt->source.ptr ? (size_t)(stmt->source.ptr - exec->sql.ptr) : 0;
    if (row->format && row->format == FAILURES[2].format)
        return bq_fail(err, "resourcesExceeded", 400, "Resources exceeded during query execution: %s", fail->message);
    if (has_place(fail))
        return sql_error_at(exec->sql, sql_map_source(map, fail->position, start), err, "%s", text);
    return bq_fail(err, "invalidQuery", 400, "%s", text);
}

static void interrupt(void *user)
{
    duckdb_interrupt(user);
}

static bool stopped(struct exec *exec, struct error *err)
{
    error_set(err, ERROR_CANCELLED, "stopped", "Job execution was cancelled: User requested cancellation");
    if (err)
        err->status = 200;
    (void)exec;
    return false;
}

bool exec_text(struct exec *exec, const struct sql_statement *stmt, const char *marked, duckdb_result *ret,
               bool *ret_conflict, struct error *err)
{
    struct buf text = BUF_INIT;
    struct sql_map map = {NULL, 0, 0};
    struct duck_failure fail;
    sql_finish(marked, &text, &map);
    uint64_t hook = exec->cancel ? cancel_add_hook(exec->cancel, interrupt, exec->conn) : 0;
    bool ok = !cancel_is_set(exec->cancel) && duck_run(exec->conn, buf_cstr(&text), ret, &fail);
    if (exec->cancel)
        cancel_remove_hook(exec->cancel, hook);
    if (ret_conflict)
        *ret_conflict = false;
    if (!ok && cancel_is_set(exec->cancel))
        stopped(exec, err);
    else if (!ok && ret_conflict && duck_failure_is_conflict(&fail))
        *ret_conflict = true;
    else if (!ok)
        translate_failure(exec, stmt, &fail, &map, err);
    free(map.rows);
    buf_release(&text);
    return ok;
}

bool exec_describe(struct exec *exec, const struct sql_statement *stmt, const char *marked,
                   struct json_object **ret_fields, struct error *err)
{
    struct buf text = BUF_INIT;
    struct sql_map map = {NULL, 0, 0};
    duckdb_prepared_statement prepared = NULL;
    sql_finish(marked, &text, &map);
    bool ok = duckdb_prepare(exec->conn, buf_cstr(&text), &prepared) == DuckDBSuccess;
    if (ok) {
        struct json_object *fields = json_object_new_array();
        for (idx_t i = 0; i < duckdb_prepared_statement_column_count(prepared); i++) {
            const char *name = duckdb_prepared_statement_column_name(prepared, i);
            duckdb_logical_type type = duckdb_prepared_statement_column_logical_type(prepared, i);
            json_object_array_add(fields, result_field_json(name, type));
            duckdb_destroy_logical_type(&type);
            duckdb_free((void *)(uintptr_t)name);
        }
        *ret_fields = fields;
    } else {
        struct duck_failure fail;
        duck_failure_parse(duckdb_prepare_error(prepared), &fail);
        translate_failure(exec, stmt, &fail, &map, err);
    }
    duckdb_destroy_prepare(&prepared);
    free(map.rows);
    buf_release(&text);
    return ok;
}

/* ---- statistics ---- */

static void count_references(struct exec *exec, const struct sql_statement *stmt, struct engine_result *result)
{
    size_t tables = 0;
    for (size_t i = 0; i < stmt->referenced_count; i++) {
        const struct engine_schema *schema = stmt->referenced[i];
        json_object_array_add(result->referenced, table_reference(schema->project, schema->dataset, schema->name));
        if (schema->view_query)
            continue;
        result->bytes_processed += resource_table_bytes(exec->engine, schema);
        tables++;
    }
    int64_t least = (int64_t)tables * MINIMUM_BILLED_BYTES, unit = 1024 * 1024;
    result->bytes_billed = result->bytes_processed > least ? (result->bytes_processed + unit - 1) / unit * unit : least;
}

static bool check_budget(struct exec *exec, const struct engine_result *result, struct error *err)
{
    int64_t maximum = exec->request->maximum_bytes_billed;
    if (maximum <= 0 || result->bytes_billed <= maximum)
        return true;
    return bq_fail(err, "bytesBilledLimitExceeded", 500,
                   "Query exceeded limit for bytes billed: %lld. %lld or higher required.", (long long)maximum,
                   (long long)result->bytes_billed);
}

/* ---- statements ---- */

static bool run_select(struct exec *exec, struct sql_statement *stmt, struct engine_result *result, struct error *err)
{
    if (exec->request->dry_run) {
        struct json_object *fields;
        if (!exec_describe(exec, stmt, stmt->text, &fields, err))
            return false;
        result->schema = json_object_new_object();
        json_object_object_add(result->schema, "fields", fields);
        return result_check_names(fields, err);
    }
    duckdb_result rows;
    return exec_text(exec, stmt, stmt->text, &rows, NULL, err) && result_take_rows(result, &rows, err);
}

static bool run_one(struct exec *exec, struct sql_statement *stmt, struct engine_result **ret, struct error *err)
{
    struct engine_result *result = result_new(stmt->kind);
    count_references(exec, stmt, result);
    bool ok = check_budget(exec, result, err);
    if (stmt->target.table)
        result->target = table_reference(stmt->target.project, stmt->target.dataset, stmt->target.table);
    if (ok && stmt->kind == SQL_SELECT)
        ok = run_select(exec, stmt, result, err);
    else if (ok && stmt->kind <= SQL_TRUNCATE)
        ok = dml_run(exec, stmt, result, err);
    else if (ok)
        ok = ddl_run(exec, stmt, result, err);
    if (ok)
        *ret = result;
    else
        engine_result_free(result);
    return ok;
}

/* ---- scripts ---- */

static bool count_statements(struct exec *exec, size_t *ret, struct error *err)
{
    struct sql_context ctx = exec->ctx;
    struct sql_statement stmt;
    size_t offset = 0;
    bool end = false;
    ctx.syntax_only = true;
    *ret = 0;
    while (!end) {
        if (!sql_translate(&ctx, exec->sql, &offset, exec->arena, &stmt, &end, err))
            return false;
        *ret += !end;
        sql_statement_release(&stmt);
        arena_clear(exec->arena);
    }
    return *ret > 0 || bq_fail(err, "invalidQuery", 400, "Syntax error: Unexpected end of script");
}

static bool run_next(struct exec *exec, size_t *offset, struct engine_result **ret, struct error *err)
{
    struct sql_statement stmt;
    bool end;
    arena_clear(exec->arena);
    if (!sql_translate(&exec->ctx, exec->sql, offset, exec->arena, &stmt, &end, err))
        return false;
    bool ok = run_one(exec, &stmt, ret, err);
    sql_statement_release(&stmt);
    return ok;
}

static void add_child(struct engine_result *script, struct engine_result *child)
{
    script->children = xrealloc(script->children, (script->child_count + 1) * sizeof(struct engine_result *));
    script->children[script->child_count++] = child;
    script->bytes_processed += child->bytes_processed;
    script->bytes_billed += child->bytes_billed;
}

/* The last statement's rows are the script's rows: they move up. */
static void take_last(struct engine_result *script)
{
    struct engine_result *last = script->children[script->child_count - 1];
    script->schema = json_object_get(last->schema);
    script->rows = last->rows;
    script->has_rows = last->has_rows;
    script->chunks = last->chunks;
    script->starts = last->starts;
    script->types = last->types;
    script->chunk_count = last->chunk_count;
    script->column_count = last->column_count;
    script->row_count = last->row_count;
    last->has_rows = false;
    last->chunks = NULL;
    last->starts = NULL;
    last->types = NULL;
    last->chunk_count = last->column_count = 0;
    last->row_count = 0;
}

/* BigQuery gives every failure in a script a place; what has none gets its statement's. */
static void add_place(struct exec *exec, size_t offset, struct error *err)
{
    struct sql_token token;
    struct error ignored = ERROR_INIT;
    const struct error plain = *err;
    int line, column;
    if (err->class == ERROR_CANCELLED || strstr(err->message, " at ["))
        return;
    arena_clear(exec->arena);
    do {
        if (!sql_lex(exec->sql, offset, exec->arena, &token, &ignored))
            return;
        offset = token.end;
    } while (token.kind == SQL_OP && slice_eq_str(token.text, ";"));
    sql_position(exec->sql, token.offset, &line, &column);
    error_set(err, plain.class, plain.code, "%s at [%d:%d]", plain.message, line, column);
    err->status = plain.status;
}

static bool run_script(struct exec *exec, size_t count, struct engine_result **ret, struct error *err)
{
    size_t offset = 0;
    if (count == 1)
        return run_next(exec, &offset, ret, err);
    struct engine_result *script = result_new(SQL_SELECT), *child;
    bool ok = true;
    script->is_script = true;
    for (size_t i = 0; ok && i < count; i++) {
        size_t start = offset;
        ok = run_next(exec, &offset, &child, err);
        if (ok)
            add_child(script, child);
        else
            add_place(exec, start, err);
    }
    if (ok) {
        take_last(script);
        *ret = script;
    } else {
        engine_result_free(script);
    }
    return ok;
}

bool engine_run(struct engine *engine, const struct engine_request *request, struct engine_result **ret,
                struct error *err)
{
    struct exec exec = {.engine = engine, .request = request, .cancel = request->cancel};
    size_t count;
    if (request->sql_len > SQL_MAX_BYTES)
        return bq_fail(err, "invalid", 400,
                       "The query is too large. The maximum standard SQL query length is %dK characters",
                       SQL_MAX_BYTES / 1024);
    exec.sql = slice_of(request->sql, request->sql_len);
    if (!slice_is_utf8(exec.sql))
        return bq_fail(err, "invalidQuery", 400, "The query is not valid UTF-8");
    engine_sql_context(engine, request->project, &exec.ctx);
    exec.ctx.default_project = request->default_project ? request->default_project : request->project;
    exec.ctx.default_dataset = request->default_dataset;
    exec.ctx.params = request->query_parameters;
    exec.ctx.positional = request->positional;
    exec.dml_duration_ms =
        request->dml_duration_ms >= 0 ? request->dml_duration_ms : atomic_load(&engine->dml_duration_ms);
    exec.conn = duck_borrow(engine->duck, err);
    if (!exec.conn)
        return false;
    exec.arena = arena_new(64 * 1024);
    bool ok = count_statements(&exec, &count, err) && run_script(&exec, count, ret, err);
    arena_free(exec.arena);
    duck_return(engine->duck, exec.conn);
    return ok;
}

bool engine_table_rows(struct engine *engine, const char *project, const char *dataset, const char *table,
                       int64_t start, int64_t max_rows, struct engine_result **ret, int64_t *ret_total_rows,
                       struct error *err)
{
    struct engine_schema *schema = catalog_table(&engine->catalog, project, dataset, table);
    if (!schema)
        return catalog_no_table(err, project, dataset, table, NULL);
    struct buf sql = BUF_INIT;
    struct duck_failure fail;
    duckdb_result rows;
    duckdb_connection conn = duck_borrow(engine->duck, err);
    struct engine_result *result = result_new(SQL_SELECT);
    bool ok = conn != NULL;
    if (ok && schema->view_query)
        ok = bq_fail(err, "invalid", 400, "Cannot list a table of type VIEW.");
    buf_printf(&sql, "SELECT * FROM main.t%lld LIMIT %lld OFFSET %lld", (long long)schema->id, (long long)max_rows,
               (long long)start);
    if (ok && !duck_run(conn, buf_cstr(&sql), &rows, &fail))
        ok = duck_failure_error(&fail, err);
    ok = ok && result_take_rows(result, &rows, err);
    if (ok) {
        *ret_total_rows = resource_table_rows(engine, schema);
        *ret = result;
    } else {
        engine_result_free(result);
    }
    duck_return(engine->duck, conn);
    buf_release(&sql);
    schema_unref(schema);
    return ok;
}
