/* bq_sql_dml.c - INSERT, UPDATE, DELETE, MERGE, TRUNCATE. */
#include "bq_sql_parser.h"

#include <stdlib.h>

/* ---- the target ---- */

/* Parses the path of a DML target and resolves it; views cannot be targets. *ret_text: "main.t1". */
static bool parse_target(struct sql_parser *p, const char *what, const char **ret_text)
{
    struct sql_path path;
    if (!parse_path(p, &path) || !path_to_name(p, &path, &p->stmt->target))
        return false;
    struct engine_schema *table = parser_table(p, &p->stmt->target, path.offset);
    p->stmt->table = table;
    if (table && table->view_query)
        return parser_fail(p, path.offset, "%s target cannot be a view: %s.%s", what, table->dataset, table->name);
    *ret_text = parser_table_text(p, table, path.offset);
    return *ret_text != NULL;
}

/* [AS] alias; the table's name otherwise. */
static bool target_alias(struct sql_parser *p, const char **ret)
{
    struct slice alias = slice_str(p->stmt->target.table);
    bool given = parser_accept_word(p, "AS");
    if (given || parser_at_name(p)) {
        if (!parser_name(p, &alias))
            return false;
    }
    struct buf out = BUF_INIT;
    duck_append_name(&out, alias);
    *ret = parser_keep(p, &out);
    return true;
}

/* A column of the target that is assigned; checked here, so that messages are BigQuery's. */
static bool target_column(struct sql_parser *p, struct slice name, size_t offset)
{
    const struct engine_schema *table = p->stmt->table;
    if (table && !type_find(table->fields, table->field_count, name))
        return parser_fail(p, offset, "Column %.*s is not present in table %s.%s.%s", SLICE_ARG(name), table->project,
                           table->dataset, table->name);
    return true;
}

/* ---- column lists and DEFAULTs ---- */

/* Columns that a row gives, in its order, and those that get their DEFAULT behind them. */
struct insert_columns {
    const struct engine_field **given;
    size_t given_count;
    const char *names; /* "a", "b": all of them; NULL = no list was written and none is needed */
    const char *extra; /* ", default, default" behind a row; "" = none */
};

/* DuckDB text of a column's DEFAULT, for this statement. */
static const char *default_text(struct sql_parser *p, const struct engine_field *field)
{
    if (!field->default_expression)
        return field->mode == ENGINE_REPEATED ? "[]" : "NULL";
    struct sql_parser inner = {.ctx = p->ctx,
                               .sql = slice_str(field->default_expression),
                               .arena = p->arena,
                               .err = p->err,
                               .stmt = p->stmt,
                               .depth = p->depth};
    const char *marked = parse_expr(&inner);
    buf_release(&inner.scratch);
    p->failed = p->failed || inner.failed || !marked;
    if (p->failed)
        return NULL;
    struct buf out = BUF_INIT;
    buf_append_str(&out, "CAST(");
    sql_finish(marked, &out, NULL);
    buf_append_str(&out, " AS ");
    type_append_duck(&out, field);
    buf_append_char(&out, ')');
    return parser_keep(p, &out);
}

static bool is_given(const struct insert_columns *columns, const struct engine_field *field)
{
    for (size_t i = 0; i < columns->given_count; i++)
        if (columns->given[i] == field)
            return true;
    return false;
}

/* All columns of the table, as if they were listed. */
static void all_columns(struct sql_parser *p, struct insert_columns *ret)
{
    const struct engine_schema *table = p->stmt->table;
    *ret = (struct insert_columns){.extra = ""};
    if (!table)
        return;
    ret->given = arena_alloc(p->arena, (table->field_count + 1) * sizeof ret->given[0]);
    for (size_t i = 0; i < table->field_count; i++)
        ret->given[i] = &table->fields[i];
    ret->given_count = table->field_count;
}

/* Adds the columns with a DEFAULT (and arrays, which are empty) that are not listed. */
static bool add_defaults(struct sql_parser *p, struct insert_columns *columns, struct buf *names)
{
    const struct engine_schema *table = p->stmt->table;
    struct buf extra = BUF_INIT;
    for (size_t i = 0; table && i < table->field_count; i++) {
        const struct engine_field *field = &table->fields[i];
        if (is_given(columns, field) || (!field->default_expression && field->mode != ENGINE_REPEATED))
            continue;
        const char *value = default_text(p, field);
        buf_append_str(names, ", ");
        duck_append_name(names, slice_str(field->name));
        buf_printf(&extra, ", %s", value ? value : "");
    }
    columns->extra = parser_keep(p, &extra);
    return !p->failed;
}

/* (a, b, c) */
static bool column_list(struct sql_parser *p, struct insert_columns *ret)
{
    const struct engine_schema *table = p->stmt->table;
    struct buf names = BUF_INIT;
    struct slice name;
    size_t cap = table ? table->field_count : 0;
    *ret = (struct insert_columns){.given = arena_alloc(p->arena, (cap + 1) * sizeof ret->given[0])};
    bool ok = parser_expect_op(p, "(");
    do {
        size_t offset = parser_peek(p, 0)->offset;
        ok = ok && parser_name(p, &name) && target_column(p, name, offset);
        if (!ok)
            break;
        const struct engine_field *field = table ? type_find(table->fields, table->field_count, name) : NULL;
        if (field && is_given(ret, field))
            ok = parser_fail(p, offset, "INSERT has columns with duplicate name: %.*s", SLICE_ARG(name));
        if (ok && field)
            ret->given[ret->given_count++] = field;
        buf_printf(&names, "%s%s", names.len ? ", " : "", parser_quoted(p, name, offset));
    } while (ok && parser_accept_op(p, ","));
    ok = ok && parser_expect_op(p, ")") && add_defaults(p, ret, &names);
    ret->names = parser_keep(p, &names);
    return ok;
}

/* (v, v, ...): one value for each given column. */
static bool append_values_row(struct sql_parser *p, struct buf *out, const struct insert_columns *columns)
{
    size_t count = 0, offset = parser_peek(p, 0)->offset;
    if (!parser_expect_op(p, "("))
        return false;
    buf_append_char(out, '(');
    do {
        const struct engine_field *field = count < columns->given_count ? columns->given[count] : NULL;
        const char *value;
        if (parser_accept_word(p, "DEFAULT"))
            value = field ? default_text(p, field) : "NULL";
        else
            value = parse_expr(p);
        if (!value)
            return false;
        buf_printf(out, "%s%s", count++ ? ", " : "", value);
    } while (parser_accept_op(p, ","));
    buf_printf(out, "%s)", columns->extra);
    if (p->stmt->table && count != columns->given_count)
        return parser_fail(p, offset, "Inserted row has wrong column count; Has %zu, expected %zu", count,
                           columns->given_count);
    return parser_expect_op(p, ")");
}

/* ---- INSERT ---- */

static bool append_insert_query(struct sql_parser *p, struct buf *out, const struct insert_columns *columns)
{
    const char *query = parse_query(p);
    if (query && columns->extra[0])
        buf_printf(out, "SELECT *%s FROM (%s) AS _rows", columns->extra, query);
    else if (query)
        buf_append_str(out, query);
    return query != NULL;
}

static bool parse_insert(struct sql_parser *p)
{
    const char *target;
    struct insert_columns columns;
    p->stmt->kind = SQL_INSERT;
    parser_accept_word(p, "INTO");
    if (!parse_target(p, "INSERT", &target))
        return false;
    bool listed = parser_at_op(p, "(") && !parser_at_word_n(p, 1, "SELECT") && !parser_at_word_n(p, 1, "WITH") &&
                  !parser_at_op_n(p, 1, "(");
    if (!listed)
        all_columns(p, &columns);
    else if (!column_list(p, &columns))
        return false;
    struct buf out = BUF_INIT;
    buf_printf(&out, "INSERT INTO %s ", target);
    if (columns.names)
        buf_printf(&out, "(%s) ", columns.names);
    bool ok = true;
    if (parser_accept_word(p, "VALUES")) {
        size_t rows = 0;
        buf_append_str(&out, "VALUES ");
        do {
            buf_append_str(&out, rows++ ? ", " : "");
            ok = append_values_row(p, &out, &columns);
        } while (ok && parser_accept_op(p, ","));
    } else {
        ok = append_insert_query(p, &out, &columns);
    }
    p->stmt->text = parser_keep(p, &out);
    return ok;
}

/* ---- UPDATE, DELETE, TRUNCATE ---- */

/* Left side of an assignment: a column, perhaps behind the target's alias. */
static const char *assigned_column(struct sql_parser *p, const char *alias, const struct engine_field **ret_field)
{
    struct slice name;
    size_t offset = parser_peek(p, 0)->offset;
    if (!parser_name(p, &name))
        return NULL;
    if (parser_at_op(p, ".")) {
        struct buf quoted = BUF_INIT;
        duck_append_name(&quoted, name);
        bool is_alias = slice_eq_nocase(buf_slice(&quoted), slice_str(alias));
        buf_release(&quoted);
        if (!is_alias) {
            parser_fail(p, offset, "Assigning to a field of a STRUCT is not supported by this server");
            return NULL;
        }
        parser_take(p);
        offset = parser_peek(p, 0)->offset;
        if (!parser_name(p, &name))
            return NULL;
    }
    const struct engine_schema *table = p->stmt->table;
    *ret_field = table ? type_find(table->fields, table->field_count, name) : NULL;
    return target_column(p, name, offset) ? parser_quoted(p, name, offset) : NULL;
}

static const char *assignments(struct sql_parser *p, const char *alias)
{
    struct buf out = BUF_INIT;
    size_t count = 0;
    bool ok;
    do {
        const struct engine_field *field = NULL;
        const char *column = assigned_column(p, alias, &field), *value = NULL;
        if (column && parser_expect_op(p, "="))
            value = !parser_accept_word(p, "DEFAULT") ? parse_expr(p) : field ? default_text(p, field) : "NULL";
        ok = value != NULL;
        if (ok)
            buf_printf(&out, "%s%s = %s", count++ ? ", " : "", column, value);
    } while (ok && parser_accept_op(p, ","));
    const char *text = parser_keep(p, &out);
    return ok ? text : NULL;
}

static const char *required_where(struct sql_parser *p, const char *what)
{
    if (!parser_at_word(p, "WHERE")) {
        parser_fail(p, parser_peek(p, 0)->offset, "%s must have a WHERE clause", what);
        return NULL;
    }
    parser_take(p);
    return parse_expr(p);
}

/* FROM of UPDATE: items joined to the target. */
static const char *update_from(struct sql_parser *p)
{
    struct sql_scope *outer = p->scope;
    const char *from = parse_from_list(p);
    p->scope = outer;
    return from;
}

static bool parse_update(struct sql_parser *p)
{
    const char *target, *alias, *from = NULL;
    p->stmt->kind = SQL_UPDATE;
    if (!parse_target(p, "UPDATE", &target))
        return false;
    if (parser_at_word(p, "SET"))
        alias = parser_quoted(p, slice_str(p->stmt->target.table), 0);
    else if (!target_alias(p, &alias))
        return false;
    const char *sets = parser_expect_word(p, "SET") ? assignments(p, alias) : NULL;
    if (!sets || (parser_accept_word(p, "FROM") && !(from = update_from(p))))
        return false;
    const char *where = required_where(p, "UPDATE");
    if (!where)
        return false;
    p->stmt->text = parser_text(p, "UPDATE %s AS %s SET %s%s%s WHERE %s", target, alias, sets, from ? " FROM " : "",
                                from ? from : "", where);
    if (from)
        p->stmt->double_match = parser_text(p,
                                            "SELECT 1 FROM (SELECT %s.rowid AS r FROM %s AS %s CROSS JOIN %s WHERE %s) "
                                            "GROUP BY r HAVING count(*) > 1 LIMIT 1",
                                            alias, target, alias, from, where);
    return true;
}

static bool parse_delete(struct sql_parser *p)
{
    const char *target, *alias;
    p->stmt->kind = SQL_DELETE;
    parser_accept_word(p, "FROM");
    if (!parse_target(p, "DELETE", &target) || !target_alias(p, &alias))
        return false;
    const char *where = required_where(p, "DELETE");
    p->stmt->text = where ? parser_text(p, "DELETE FROM %s AS %s WHERE %s", target, alias, where) : NULL;
    return where != NULL;
}

static bool parse_truncate(struct sql_parser *p)
{
    const char *target;
    p->stmt->kind = SQL_TRUNCATE;
    if (!parser_expect_word(p, "TABLE") || !parse_target(p, "TRUNCATE", &target))
        return false;
    p->stmt->text = parser_text(p, "DELETE FROM %s", target);
    return true;
}

/* ---- MERGE ---- */

static bool merge_source(struct sql_parser *p, struct sql_merge *merge)
{
    struct slice alias = SLICE_NULL;
    struct sql_path path;
    struct sql_name name;
    if (parser_at_op(p, "(")) {
        parser_take(p);
        const char *query = parse_query(p);
        if (!query || !parser_expect_op(p, ")"))
            return false;
        merge->source = parser_text(p, "(%s)", query);
    } else if (parser_at_word(p, "UNNEST")) {
        parser_take(p);
        const char *array = parser_expect_op(p, "(") ? parse_expr(p) : NULL;
        if (!array || !parser_expect_op(p, ")"))
            return false;
        merge->source = parser_text(p, "(SELECT unnest(_e) FROM (SELECT unnest(%s) AS _e) AS _n)", array);
    } else {
        if (!parse_path(p, &path) || !path_to_name(p, &path, &name))
            return false;
        merge->source = parser_table_text(p, parser_table(p, &name, path.offset), path.offset);
        if (!merge->source)
            return false;
        alias = path.parts[path.count - 1];
    }
    bool given = parser_accept_word(p, "AS");
    if ((given || parser_at_name(p)) && !parser_name(p, &alias))
        return false;
    struct buf out = BUF_INIT;
    duck_append_name(&out, alias.len > 0 ? alias : SLICE_LIT("_source"));
    merge->source_alias = parser_keep(p, &out);
    return true;
}

static bool when_insert(struct sql_parser *p, struct sql_when *when)
{
    struct insert_columns columns;
    when->action = SQL_DO_INSERT;
    if (!parser_at_op(p, "("))
        all_columns(p, &columns);
    else if (!column_list(p, &columns))
        return false;
    if (parser_accept_word(p, "ROW")) {
        when->action = SQL_DO_INSERT_ROW;
        when->columns = columns.names;
        when->extra = columns.extra;
        return true;
    }
    struct buf out = BUF_INIT;
    buf_append_str(&out, "INSERT ");
    if (columns.names)
        buf_printf(&out, "(%s) ", columns.names);
    buf_append_str(&out, "VALUES ");
    bool ok = parser_expect_word(p, "VALUES") && append_values_row(p, &out, &columns);
    when->text = parser_keep(p, &out);
    return ok;
}

static bool when_action(struct sql_parser *p, struct sql_when *when, const char *alias)
{
    if (when->kind == SQL_WHEN_NOT_MATCHED)
        return parser_expect_word(p, "INSERT") && when_insert(p, when);
    if (parser_accept_word(p, "DELETE")) {
        when->action = SQL_DO_DELETE;
        when->text = "DELETE";
        return true;
    }
    when->action = SQL_DO_UPDATE;
    if (!parser_expect_word(p, "UPDATE") || !parser_expect_word(p, "SET"))
        return false;
    const char *sets = assignments(p, alias);
    when->text = sets ? parser_text(p, "UPDATE SET %s", sets) : NULL;
    return sets != NULL;
}

/* Behind WHEN. */
static bool parse_when(struct sql_parser *p, struct sql_merge *merge)
{
    struct sql_when when = {.kind = SQL_WHEN_MATCHED};
    if (parser_accept_word(p, "NOT"))
        when.kind = SQL_WHEN_NOT_MATCHED;
    if (!parser_expect_word(p, "MATCHED"))
        return false;
    if (when.kind == SQL_WHEN_NOT_MATCHED && parser_accept_word(p, "BY")) {
        if (parser_accept_word(p, "SOURCE"))
            when.kind = SQL_WHEN_NOT_MATCHED_BY_SOURCE;
        else if (!parser_expect_word(p, "TARGET"))
            return false;
    }
    if (parser_accept_word(p, "AND") && !(when.condition = parse_expr(p)))
        return false;
    if (!parser_expect_word(p, "THEN") || !when_action(p, &when, merge->target_alias))
        return false;
    merge->whens = realloc(merge->whens, (merge->when_count + 1) * sizeof *merge->whens);
    BUG_ON(!merge->whens);
    merge->whens[merge->when_count++] = when;
    return true;
}

static bool parse_merge(struct sql_parser *p)
{
    struct sql_merge *merge = &p->stmt->merge;
    p->stmt->kind = SQL_MERGE;
    parser_accept_word(p, "INTO");
    if (!parse_target(p, "MERGE", &merge->target))
        return false;
    if (parser_at_word(p, "USING"))
        merge->target_alias = parser_quoted(p, slice_str(p->stmt->target.table), 0);
    else if (!target_alias(p, &merge->target_alias))
        return false;
    if (!parser_expect_word(p, "USING") || !merge_source(p, merge) || !parser_expect_word(p, "ON"))
        return false;
    merge->on = parse_expr(p);
    if (!merge->on)
        return false;
    do {
        if (!parser_expect_word(p, "WHEN") || !parse_when(p, merge))
            return false;
    } while (parser_at_word(p, "WHEN"));
    return true;
}

bool parse_dml(struct sql_parser *p)
{
    static const struct {
        const char *word;
        bool (*parse)(struct sql_parser *p);
    } ROWS[] = {{"INSERT", parse_insert},
                {"UPDATE", parse_update},
                {"DELETE", parse_delete},
                {"MERGE", parse_merge},
                {"TRUNCATE", parse_truncate}};
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++)
        if (parser_accept_word(p, ROWS[i].word))
            return ROWS[i].parse(p) && !p->failed;
    return parser_unexpected(p);
}
