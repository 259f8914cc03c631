/* bq_sql_query.c - queries: WITH, SELECT, FROM, joins, UNNEST, set operations, ORDER BY, LIMIT.
 *
 * Mended here: a comma in FROM binds like CROSS JOIN; UNNEST names its element; NULLs sort first; EXCEPT and REPLACE of
 * a star; columns without a name are f0_, f1_, ...; tables are named with their schema, so that no WITH name can hide
 * them. */
#include "bq_sql_parser.h"

#include <stdlib.h>

/* ---- scopes ---- */

static void scope_push(struct sql_parser *p, struct slice name, bool is_cte)
{
    struct sql_scope *scope = arena_alloc(p->arena, sizeof *scope);
    *scope = (struct sql_scope){p->scope, name, is_cte};
    p->scope = scope;
}

static bool scope_has(const struct sql_parser *p, struct slice name, bool is_cte)
{
    for (const struct sql_scope *s = p->scope; s; s = s->outer)
        if (s->is_cte == is_cte && slice_eq_nocase(s->name, name))
            return true;
    return false;
}

/* ---- ORDER BY, LIMIT ---- */

static const char *order_item(struct sql_parser *p)
{
    const char *text;
    if (parser_peek(p, 0)->kind == SQL_INT) {
        text = parser_text(p, "%.*s", SLICE_ARG(parser_peek(p, 0)->text));
        parser_take(p);
    } else {
        text = parse_expr(p);
    }
    if (!text)
        return NULL;
    bool desc = parser_accept_word(p, "DESC");
    if (!desc)
        parser_accept_word(p, "ASC");
    const char *nulls = desc ? "LAST" : "FIRST";
    if (parser_accept_word(p, "NULLS")) {
        nulls = parser_at_word(p, "FIRST") ? "FIRST" : "LAST";
        if (!parser_accept_word(p, "FIRST") && !parser_expect_word(p, "LAST"))
            return NULL;
    }
    return parser_text(p, "%s %s NULLS %s", text, desc ? "DESC" : "ASC", nulls);
}

const char *parse_order_list(struct sql_parser *p)
{
    struct buf out = BUF_INIT;
    size_t count = 0;
    const char *item;
    do {
        item = order_item(p);
        buf_printf(&out, "%s%s", count++ ? ", " : "", item ? item : "");
    } while (item && parser_accept_op(p, ","));
    const char *text = parser_keep(p, &out);
    return item ? text : NULL;
}

static const char *limit_count(struct sql_parser *p)
{
    enum sql_token_kind kind = parser_peek(p, 0)->kind;
    if (kind == SQL_PARAM || kind == SQL_POSITIONAL)
        return parse_param(p);
    if (kind != SQL_INT) {
        parser_expected(p, "integer literal");
        return NULL;
    }
    const char *text = parser_text(p, "%.*s", SLICE_ARG(parser_peek(p, 0)->text));
    parser_take(p);
    return text;
}

static bool append_order_and_limit(struct sql_parser *p, struct buf *out)
{
    if (parser_accept_words(p, "ORDER", "BY")) {
        const char *list = parse_order_list(p);
        if (!list)
            return false;
        buf_printf(out, " ORDER BY %s", list);
    }
    if (parser_accept_word(p, "LIMIT")) {
        const char *count = limit_count(p);
        if (!count)
            return false;
        buf_printf(out, " LIMIT %s", count);
        if (parser_accept_word(p, "OFFSET")) {
            if (!(count = limit_count(p)))
                return false;
            buf_printf(out, " OFFSET %s", count);
        }
    }
    return true;
}

/* ---- names of tables ---- */

/* Dashed project names lex as operators and numbers; reads them again as characters. */
static bool dashed_part(struct sql_parser *p, struct slice *part)
{
    size_t at = p->last_end;
    if (at >= p->sql.len || p->sql.ptr[at] != '-')
        return false;
    size_t end = at;
    while (end < p->sql.len &&
           (p->sql.ptr[end] == '-' || p->sql.ptr[end] == '_' || (p->sql.ptr[end] >= '0' && p->sql.ptr[end] <= '9') ||
            ((p->sql.ptr[end] | 0x20) >= 'a' && (p->sql.ptr[end] | 0x20) <= 'z')))
        end++;
    if (p->sql.ptr[end - 1] == '-')
        return false;
    *part = slice_of(part->ptr, part->len + (end - at));
    p->ahead_count = 0;
    p->offset = end;
    p->last_end = end;
    return true;
}

/* A quoted part may hold several: `p.d.t`. */
static bool add_part(struct sql_parser *p, struct sql_path *path, struct slice part, bool quoted)
{
    while (quoted && memchr(part.ptr, '.', part.len)) {
        if (path->count == 4)
            return parser_fail(p, path->offset, "Invalid table name: too many parts");
        path->parts[path->count++] = slice_cut(&part, '.');
    }
    if (path->count == 4)
        return parser_fail(p, path->offset, "Invalid table name: too many parts");
    path->parts[path->count++] = part;
    return true;
}

bool parse_path(struct sql_parser *p, struct sql_path *ret)
{
    *ret = (struct sql_path){.offset = parser_peek(p, 0)->offset};
    for (bool first = true;; first = false) {
        const struct sql_token *token = parser_peek(p, 0);
        bool ok = first ? parser_at_name(p) : token->kind == SQL_WORD || token->kind == SQL_QUOTED;
        if (!ok)
            return parser_expected(p, first ? "identifier" : "identifier after \".\"");
        bool quoted = token->kind == SQL_QUOTED;
        struct slice part = token->value;
        parser_take(p);
        if (first && !quoted)
            dashed_part(p, &part);
        if (!add_part(p, ret, part, quoted))
            return false;
        if (!parser_accept_op(p, "."))
            return true;
    }
}

static const char *keep_part(struct sql_parser *p, struct slice part)
{
    return arena_strdup(p->arena, part);
}

bool path_to_name(struct sql_parser *p, const struct sql_path *path, struct sql_name *ret)
{
    const struct sql_context *ctx = p->ctx;
    size_t n = path->count;
    if (n > 3)
        return parser_fail(p, path->offset, "Invalid table name: too many parts");
    ret->table = keep_part(p, path->parts[n - 1]);
    if (n == 1) {
        if (!ctx->default_dataset && !ctx->syntax_only)
            return parser_fail(p, path->offset, "Table \"%s\" must be qualified with a dataset (e.g. dataset.table).",
                               ret->table);
        ret->dataset = ctx->default_dataset;
        ret->project = ctx->default_project ? ctx->default_project : ctx->project;
        return true;
    }
    ret->dataset = keep_part(p, path->parts[n - 2]);
    ret->project = n == 3 ? keep_part(p, path->parts[0]) : ctx->project;
    return true;
}

bool path_to_dataset(struct sql_parser *p, const struct sql_path *path, struct sql_name *ret)
{
    if (path->count > 2)
        return parser_fail(p, path->offset, "Invalid dataset name: too many parts");
    ret->table = NULL;
    ret->dataset = keep_part(p, path->parts[path->count - 1]);
    ret->project = path->count == 2 ? keep_part(p, path->parts[0]) : p->ctx->project;
    return true;
}

/* ---- tables and views ---- */

static bool remember_table(struct sql_parser *p, struct engine_schema *table)
{
    struct sql_statement *stmt = p->stmt;
    for (size_t i = 0; i < stmt->referenced_count; i++) {
        if (stmt->referenced[i]->id == table->id) {
            schema_unref(table);
            return true;
        }
    }
    if (stmt->referenced_count == SQL_MAX_REFERENCED) {
        schema_unref(table);
        return parser_fail(p, 0, "Too many tables in one query");
    }
    stmt->referenced = realloc(stmt->referenced, (stmt->referenced_count + 1) * sizeof(struct engine_schema *));
    BUG_ON(!stmt->referenced);
    stmt->referenced[stmt->referenced_count++] = table;
    return true;
}

struct engine_schema *parser_table(struct sql_parser *p, const struct sql_name *name, size_t offset)
{
    (void)offset;
    if (p->ctx->syntax_only || p->failed)
        return NULL;
    struct engine_schema *table = catalog_table(p->ctx->catalog, name->project, name->dataset, name->table);
    if (table) {
        int64_t id = table->id;
        if (!remember_table(p, table))
            return NULL;
        for (size_t i = 0; i < p->stmt->referenced_count; i++)
            if (p->stmt->referenced[i]->id == id)
                return p->stmt->referenced[i];
    }
    char *dataset = catalog_dataset_text(p->ctx->catalog, name->project, name->dataset);
    if (dataset)
        catalog_no_table(p->err, name->project, name->dataset, name->table, p->ctx->location);
    else
        catalog_no_dataset(p->err, name->project, name->dataset, p->ctx->location);
    free(dataset);
    p->failed = true;
    return NULL;
}

/* The view's text, translated where the view lives (its own project; no default dataset, no parameters). */
static const char *view_text(struct sql_parser *p, struct engine_schema *view, size_t offset)
{
    if (p->view_depth >= SQL_MAX_VIEW_DEPTH) {
        parser_fail(p, offset, "Too many nested views or views that refer to each other: %s.%s", view->dataset,
                    view->name);
        return NULL;
    }
    struct sql_context ctx = *p->ctx;
    ctx.project = view->project;
    ctx.default_dataset = ctx.default_project = NULL;
    ctx.params = NULL;
    struct sql_parser inner = {.ctx = &ctx,
                               .sql = slice_str(view->view_query),
                               .arena = p->arena,
                               .err = p->err,
                               .stmt = p->stmt,
                               .view_depth = p->view_depth + 1,
                               .depth = p->depth};
    const char *marked = parse_query(&inner);
    parser_accept_op(&inner, ";");
    if (marked && !inner.failed && parser_peek(&inner, 0)->kind != SQL_EOF)
        parser_expected(&inner, "end of input");
    p->failed = p->failed || inner.failed || !marked;
    buf_release(&inner.scratch);
    if (p->failed)
        return NULL;
    struct buf out = BUF_INIT;
    buf_append_char(&out, '(');
    sql_finish(marked, &out, NULL);
    buf_append_char(&out, ')');
    return parser_keep(p, &out);
}

const char *parser_table_text(struct sql_parser *p, struct engine_schema *table, size_t offset)
{
    if (!table)
        return p->failed ? NULL : "syntax_only";
    if (table->view_query)
        return view_text(p, table, offset);
    return parser_text(p, "main.\001%zu\002t%lld", offset, (long long)table->id);
}

/* ---- FROM items ---- */

static bool accept_alias(struct sql_parser *p, struct slice *alias)
{
    *alias = SLICE_NULL;
    if (parser_accept_word(p, "AS"))
        return parser_name(p, alias);
    if (parser_at_name(p) && !parser_at_word(p, "WINDOW"))
        return parser_name(p, alias);
    return true;
}

static const char *with_alias(struct sql_parser *p, const char *item, struct slice alias)
{
    struct buf out = BUF_INIT;
    buf_printf(&out, "%s AS ", item);
    if (alias.len > 0) {
        scope_push(p, alias, /* is_cte */ false);
        duck_append_name(&out, alias);
    } else {
        buf_printf(&out, "_q%d", ++p->next_alias);
    }
    return parser_keep(p, &out);
}

/* [AS alias] [WITH OFFSET [AS alias]] behind an array. Struct literals show their fields as columns. */
static const char *unnest_text(struct sql_parser *p, const char *array)
{
    struct slice alias, offset_alias = SLICE_NULL;
    if (!accept_alias(p, &alias))
        return NULL;
    bool with_offset = parser_accept_words(p, "WITH", "OFFSET");
    if (with_offset && !accept_alias(p, &offset_alias))
        return NULL;
    if (with_offset && offset_alias.len == 0)
        offset_alias = SLICE_LIT("offset");
    struct buf out = BUF_INIT;
    bool structs = strncmp(array, "[struct_pack(", 13) == 0 || strncmp(array, "CAST([struct_pack(", 18) == 0;
    buf_printf(&out, "(SELECT %s", structs ? "unnest(_e)" : "_e AS ");
    if (!structs) {
        duck_append_name(&out, alias.len > 0 ? alias : SLICE_LIT("f0_"));
        if (alias.len > 0)
            scope_push(p, alias, /* is_cte */ false);
    }
    if (with_offset) {
        buf_append_str(&out, ", _o AS ");
        duck_append_name(&out, offset_alias);
    }
    buf_printf(&out, " FROM (SELECT unnest(%s) AS _e", array);
    if (with_offset)
        buf_printf(&out, ", unnest(range(len(%s))) AS _o", array);
    buf_printf(&out, ") AS _n%d)", ++p->next_alias);
    const char *item = parser_keep(p, &out);
    return structs ? with_alias(p, item, alias) : parser_text(p, "%s AS _u%d", item, ++p->next_alias);
}

static const char *parse_unnest(struct sql_parser *p)
{
    const char *array = parser_expect_op(p, "(") ? parse_expr(p) : NULL;
    return array && parser_expect_op(p, ")") ? unnest_text(p, array) : NULL;
}

static const char *path_as_expression(struct sql_parser *p, const struct sql_path *path)
{
    struct buf out = BUF_INIT;
    for (size_t i = 0; i < path->count; i++) {
        buf_append_str(&out, i ? "." : "");
        parser_append_mark(&out, path->offset);
        duck_append_name(&out, path->parts[i]);
    }
    return parser_keep(p, &out);
}

static const char *parse_table_item(struct sql_parser *p)
{
    struct sql_path path;
    struct slice alias;
    if (!parse_path(p, &path))
        return NULL;
    if (path.count > 1 && scope_has(p, path.parts[0], /* is_cte */ false))
        return unnest_text(p, path_as_expression(p, &path));
    const char *item;
    struct slice last = path.parts[path.count - 1];
    struct sql_name name;
    if (path.count == 1 && scope_has(p, path.parts[0], /* is_cte */ true)) {
        item = parser_quoted(p, path.parts[0], path.offset);
    } else if (path.count > 1 && slice_eq_nocase(path.parts[path.count - 2], SLICE_LIT("INFORMATION_SCHEMA"))) {
        struct slice dataset = path.count > 2 ? path.parts[path.count - 3] : SLICE_NULL;
        const char *project = path.count > 3 ? keep_part(p, path.parts[0]) : p->ctx->project;
        item = information_schema(p, project, dataset, last, path.offset);
    } else {
        item = path_to_name(p, &path, &name) ? parser_table_text(p, parser_table(p, &name, path.offset), path.offset)
                                             : NULL;
    }
    if (!item)
        return NULL;
    if (parser_at_word(p, "FOR")) {
        parser_fail(p, parser_peek(p, 0)->offset, "FOR SYSTEM_TIME AS OF is not supported by this server");
        return NULL;
    }
    if (!accept_alias(p, &alias))
        return NULL;
    return with_alias(p, item, alias.len > 0 ? alias : last);
}

static const char *parse_from_parenthesis(struct sql_parser *p)
{
    size_t ahead = 1;
    while (ahead + 1 < PARSER_AHEAD && parser_at_op_n(p, ahead, "("))
        ahead++;
    bool is_query = parser_at_word_n(p, ahead, "SELECT") || parser_at_word_n(p, ahead, "WITH");
    parser_take(p);
    struct slice alias;
    if (!is_query) {
        const char *join = parse_from_list(p);
        return join && parser_expect_op(p, ")") ? parser_text(p, "(%s)", join) : NULL;
    }
    const char *query = parse_query(p);
    if (!query || !parser_expect_op(p, ")") || !accept_alias(p, &alias))
        return NULL;
    return with_alias(p, parser_text(p, "(%s)", query), alias);
}

static const char *parse_from_item(struct sql_parser *p)
{
    if (!parser_enter(p))
        return NULL;
    const char *item;
    if (parser_accept_word(p, "UNNEST"))
        item = parse_unnest(p);
    else if (parser_at_op(p, "("))
        item = parse_from_parenthesis(p);
    else
        item = parse_table_item(p);
    parser_leave(p);
    return item;
}

/* The join operator that is next, as DuckDB has it; NULL = none. *needs_condition: ON or USING must follow. */
static const char *accept_join(struct sql_parser *p, bool *needs_condition)
{
    static const struct {
        const char *word, *duck;
    } SIDES[] = {{"LEFT", "LEFT JOIN"}, {"RIGHT", "RIGHT JOIN"}, {"FULL", "FULL JOIN"}};
    *needs_condition = false;
    if (parser_accept_op(p, ","))
        return "CROSS JOIN";
    if (parser_accept_words(p, "CROSS", "JOIN"))
        return "CROSS JOIN";
    *needs_condition = true;
    if (parser_accept_word(p, "JOIN") || parser_accept_words(p, "INNER", "JOIN"))
        return "JOIN";
    for (size_t i = 0; i < 3; i++) {
        if (!parser_accept_word(p, SIDES[i].word))
            continue;
        parser_accept_word(p, "OUTER");
        return parser_expect_word(p, "JOIN") ? SIDES[i].duck : NULL;
    }
    return NULL;
}

static const char *parse_using(struct sql_parser *p)
{
    struct buf out = BUF_INIT;
    struct slice name;
    size_t count = 0;
    bool ok = parser_expect_op(p, "(");
    do {
        size_t offset = parser_peek(p, 0)->offset;
        ok = ok && parser_name(p, &name);
        if (ok)
            buf_printf(&out, "%s%s", count++ ? ", " : " USING (", parser_quoted(p, name, offset));
    } while (ok && parser_accept_op(p, ","));
    buf_append_char(&out, ')');
    const char *text = parser_keep(p, &out);
    return ok && parser_expect_op(p, ")") ? text : NULL;
}

static const char *parse_join_condition(struct sql_parser *p)
{
    if (parser_accept_word(p, "USING"))
        return parse_using(p);
    if (!parser_expect_word(p, "ON"))
        return NULL;
    const char *condition = parse_expr(p);
    return condition ? parser_text(p, " ON %s", condition) : NULL;
}

const char *parse_from_list(struct sql_parser *p)
{
    const char *first = parse_from_item(p);
    if (!first)
        return NULL;
    struct buf out = BUF_INIT;
    buf_append_str(&out, first);
    const char *join;
    bool needs_condition, ok = true;
    while (ok && (join = accept_join(p, &needs_condition)) != NULL) {
        bool unnest = parser_at_word(p, "UNNEST");
        const char *item = parse_from_item(p);
        const char *condition = "";
        ok = item != NULL;
        if (ok && needs_condition && unnest && !parser_at_word(p, "ON") && !parser_at_word(p, "USING"))
            condition = " ON TRUE";
        else if (ok && needs_condition)
            ok = (condition = parse_join_condition(p)) != NULL;
        if (ok)
            buf_printf(&out, " %s %s%s", join, item, condition);
    }
    const char *text = parser_keep(p, &out);
    return ok && !p->failed ? text : NULL;
}

/* ---- SELECT ---- */

static bool append_star_except(struct sql_parser *p, struct buf *out)
{
    struct slice name;
    size_t count = 0;
    if (!parser_expect_op(p, "("))
        return false;
    buf_append_str(out, " EXCLUDE (");
    do {
        size_t offset = parser_peek(p, 0)->offset;
        if (!parser_name(p, &name))
            return false;
        buf_printf(out, "%s%s", count++ ? ", " : "", parser_quoted(p, name, offset));
    } while (parser_accept_op(p, ","));
    buf_append_char(out, ')');
    return parser_expect_op(p, ")");
}

static bool append_star_replace(struct sql_parser *p, struct buf *out)
{
    struct slice name;
    size_t count = 0;
    if (!parser_expect_op(p, "("))
        return false;
    buf_append_str(out, " REPLACE (");
    do {
        const char *value = parse_expr(p);
        if (!value)
            return false;
        parser_accept_word(p, "AS");
        if (!parser_name(p, &name))
            return false;
        buf_printf(out, "%s%s AS ", count++ ? ", " : "", value);
        duck_append_name(out, name);
    } while (parser_accept_op(p, ","));
    buf_append_char(out, ')');
    return parser_expect_op(p, ")");
}

/* "*" is next; `prefix` is "" or a path and a dot. */
static bool append_star(struct sql_parser *p, struct buf *out, const char *prefix)
{
    buf_append_str(out, prefix);
    parser_append_mark(out, parser_peek(p, 0)->offset);
    buf_append_char(out, '*');
    parser_take(p);
    if (parser_accept_word(p, "EXCEPT") && !append_star_except(p, out))
        return false;
    return !parser_accept_word(p, "REPLACE") || append_star_replace(p, out);
}

/* Name that a path or field access gives to its column: the last marked name. */
static const char *implied_name(const char *text)
{
    size_t len = strlen(text);
    if (len == 0 || text[len - 1] != '"' || !strrchr(text, '\002'))
        return NULL;
    return strrchr(text, '\002') + 1;
}

struct select_list {
    struct buf text;
    size_t count;
    int unnamed;
    bool as_struct, as_value;
};

static bool select_item(struct sql_parser *p, struct select_list *list)
{
    struct slice alias;
    buf_append_str(&list->text, list->count++ ? ", " : "");
    if (parser_at_op(p, "*"))
        return append_star(p, &list->text, "");
    const char *value = parse_expr(p);
    if (!value)
        return false;
    if (parser_accept_op(p, "."))
        return append_star(p, &list->text, parser_text(p, "%s.", value));
    if (!accept_alias(p, &alias))
        return false;
    struct buf name = BUF_INIT;
    const char *implied = implied_name(value);
    if (alias.len == 0 && implied && value[0] == '\001' && !list->as_struct) {
        buf_append_str(&list->text, value); /* a path names its column itself */
        return true;
    }
    if (alias.len > 0)
        duck_append_name(&name, alias);
    else if (implied)
        buf_append_str(&name, implied);
    else
        buf_printf(&name, "\"f%d_\"", list->unnamed++);
    if (list->as_struct)
        buf_printf(&list->text, "%s := %s", buf_cstr(&name), value);
    else
        buf_printf(&list->text, "%s AS %s", value, buf_cstr(&name));
    buf_release(&name);
    return true;
}

static const char *parse_select_list(struct sql_parser *p)
{
    struct select_list list = {.text = BUF_INIT};
    if (parser_accept_words(p, "AS", "STRUCT"))
        list.as_struct = true;
    else if (parser_accept_words(p, "AS", "VALUE"))
        list.as_value = true;
    bool ok;
    do {
        if (list.count > 0 && parser_at_word(p, "FROM"))
            break; /* a trailing comma is legal */
        ok = select_item(p, &list);
    } while (ok && parser_accept_op(p, ","));
    const char *text = parser_keep(p, &list.text);
    if (!ok)
        return NULL;
    return list.as_struct ? parser_text(p, "struct_pack(%s)", text) : text;
}

static const char *grouping_item(struct sql_parser *p)
{
    static const char *const KINDS[] = {"ROLLUP", "CUBE"};
    for (size_t i = 0; i < 2; i++) {
        if (!parser_accept_word(p, KINDS[i]))
            continue;
        const char *list = parser_expect_op(p, "(") ? parse_expr_list(p, NULL) : NULL;
        return list && parser_expect_op(p, ")") ? parser_text(p, "%s (%s)", KINDS[i], list) : NULL;
    }
    if (parser_peek(p, 0)->kind == SQL_INT) {
        const char *text = parser_text(p, "%.*s", SLICE_ARG(parser_peek(p, 0)->text));
        parser_take(p);
        return text;
    }
    return parse_expr(p);
}

static bool append_group_by(struct sql_parser *p, struct buf *out)
{
    if (!parser_accept_words(p, "GROUP", "BY"))
        return true;
    buf_append_str(out, " GROUP BY ");
    if (parser_accept_word(p, "ALL")) {
        buf_append_str(out, "ALL");
        return true;
    }
    size_t count = 0;
    do {
        const char *item = grouping_item(p);
        if (!item)
            return false;
        buf_printf(out, "%s%s", count++ ? ", " : "", item);
    } while (parser_accept_op(p, ","));
    return true;
}

static bool append_condition(struct sql_parser *p, struct buf *out, const char *keyword)
{
    if (!parser_accept_word(p, keyword))
        return true;
    const char *condition = parse_expr(p);
    if (condition)
        buf_printf(out, " %s %s", keyword, condition);
    return condition != NULL;
}

static bool append_from(struct sql_parser *p, struct buf *out)
{
    if (!parser_accept_word(p, "FROM"))
        return true;
    const char *from = parse_from_list(p);
    if (from)
        buf_printf(out, " FROM %s", from);
    return from != NULL;
}

/* WINDOW name AS (...): kept as written, the specification by way of a call's OVER. */
static bool refuse_window(struct sql_parser *p)
{
    if (!parser_at_word(p, "WINDOW"))
        return true;
    return parser_fail(p, parser_peek(p, 0)->offset, "The WINDOW clause is not supported by this server");
}

static const char *parse_select(struct sql_parser *p)
{
    struct sql_scope *outer = p->scope;
    struct buf out = BUF_INIT;
    parser_take(p);
    bool distinct = parser_accept_word(p, "DISTINCT");
    if (!distinct)
        parser_accept_word(p, "ALL");
    const char *list = parse_select_list(p);
    buf_printf(&out, "SELECT %s%s", distinct ? "DISTINCT " : "", list ? list : "");
    bool ok = list && append_from(p, &out) && append_condition(p, &out, "WHERE") && append_group_by(p, &out) &&
              append_condition(p, &out, "HAVING") && append_condition(p, &out, "QUALIFY") && refuse_window(p);
    p->scope = outer;
    const char *text = parser_keep(p, &out);
    return ok && !p->failed ? text : NULL;
}

/* ---- set operations ---- */

static const char *parse_query_primary(struct sql_parser *p)
{
    if (!parser_enter(p))
        return NULL;
    const char *text = NULL;
    if (parser_at_word(p, "SELECT")) {
        text = parse_select(p);
    } else if (parser_accept_op(p, "(")) {
        const char *inner = parse_query(p);
        text = inner && parser_expect_op(p, ")") ? parser_text(p, "(%s)", inner) : NULL;
    } else {
        parser_unexpected(p);
    }
    parser_leave(p);
    return text;
}

static const char *accept_set_operation(struct sql_parser *p)
{
    if (parser_accept_word(p, "UNION")) {
        if (parser_accept_word(p, "ALL"))
            return "UNION ALL";
        return parser_expect_word(p, "DISTINCT") ? "UNION" : NULL;
    }
    if (parser_accept_word(p, "INTERSECT"))
        return parser_expect_word(p, "DISTINCT") ? "INTERSECT" : NULL;
    if (parser_accept_word(p, "EXCEPT"))
        return parser_expect_word(p, "DISTINCT") ? "EXCEPT" : NULL;
    return NULL;
}

static bool append_with(struct sql_parser *p, struct buf *out)
{
    struct slice name;
    size_t count = 0;
    if (!parser_accept_word(p, "WITH"))
        return true;
    bool recursive = parser_accept_word(p, "RECURSIVE");
    buf_append_str(out, recursive ? "WITH RECURSIVE " : "WITH ");
    do {
        if (!parser_name(p, &name) || !parser_expect_word(p, "AS") || !parser_expect_op(p, "("))
            return false;
        if (recursive)
            scope_push(p, name, /* is_cte */ true);
        const char *query = parse_query(p);
        if (!query || !parser_expect_op(p, ")"))
            return false;
        if (!recursive)
            scope_push(p, name, /* is_cte */ true);
        buf_append_str(out, count++ ? ", " : "");
        duck_append_name(out, name);
        buf_printf(out, " AS (%s)", query);
    } while (parser_accept_op(p, ","));
    buf_append_char(out, ' ');
    return true;
}

const char *parse_query(struct sql_parser *p)
{
    struct sql_scope *outer = p->scope;
    struct buf out = BUF_INIT;
    if (!parser_enter(p))
        return NULL;
    bool ok = append_with(p, &out);
    const char *first = ok ? parse_query_primary(p) : NULL;
    ok = first != NULL;
    buf_append_str(&out, ok ? first : "");
    const char *operation;
    while (ok && (operation = accept_set_operation(p)) != NULL) {
        const char *more = parse_query_primary(p);
        ok = more != NULL;
        if (ok)
            buf_printf(&out, " %s %s", operation, more);
    }
    ok = ok && !p->failed && append_order_and_limit(p, &out);
    p->scope = outer;
    parser_leave(p);
    const char *text = parser_keep(p, &out);
    return ok && !p->failed ? text : NULL;
}
