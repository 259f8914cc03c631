/* bq_sql_parse.c - the translator's tokens, texts, errors and entry points. */
#include "bq_sql_parser.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- tokens ---- */

static const struct sql_token *fill(struct sql_parser *p, size_t n)
{
    static const struct sql_token END = {SQL_EOF, 0, 0, {NULL, 0}, {NULL, 0}};
    while (p->ahead_count <= n) {
        struct sql_token *token = &p->ahead[p->ahead_count];
        if (p->failed)
            return &END;
        if (!sql_lex(p->sql, p->offset, p->arena, token, p->err)) {
            p->failed = true;
            return &END;
        }
        p->offset = token->end;
        p->ahead_count++;
    }
    return &p->ahead[n];
}

const struct sql_token *parser_peek(struct sql_parser *p, size_t n)
{
    BUG_ON(n >= PARSER_AHEAD);
    return fill(p, n);
}

void parser_take(struct sql_parser *p)
{
    p->last_end = parser_peek(p, 0)->end;
    if (p->ahead_count == 0)
        return;
    p->ahead_count--;
    memmove(&p->ahead[0], &p->ahead[1], p->ahead_count * sizeof p->ahead[0]);
}

bool parser_at_word_n(struct sql_parser *p, size_t n, const char *keyword)
{
    const struct sql_token *token = parser_peek(p, n);
    return token->kind == SQL_WORD && slice_eq_nocase(token->text, slice_str(keyword));
}

bool parser_at_word(struct sql_parser *p, const char *keyword)
{
    return parser_at_word_n(p, 0, keyword);
}

bool parser_at_op_n(struct sql_parser *p, size_t n, const char *op)
{
    const struct sql_token *token = parser_peek(p, n);
    return token->kind == SQL_OP && slice_eq_str(token->text, op);
}

bool parser_at_op(struct sql_parser *p, const char *op)
{
    return parser_at_op_n(p, 0, op);
}

bool parser_accept_word(struct sql_parser *p, const char *keyword)
{
    bool at = parser_at_word(p, keyword);
    if (at)
        parser_take(p);
    return at;
}

bool parser_accept_words(struct sql_parser *p, const char *first, const char *second)
{
    bool at = parser_at_word(p, first) && parser_at_word_n(p, 1, second);
    if (at) {
        parser_take(p);
        parser_take(p);
    }
    return at;
}

bool parser_accept_op(struct sql_parser *p, const char *op)
{
    bool at = parser_at_op(p, op);
    if (at)
        parser_take(p);
    return at;
}

/* ---- errors ---- */

bool parser_fail(struct sql_parser *p, size_t offset, const char *fmt, ...)
{
    if (p->failed)
        return false;
    p->failed = true;
    struct buf text = BUF_INIT;
    va_list args;
    va_start(args, fmt);
    buf_vprintf(&text, fmt, args);
    va_end(args);
    sql_error_at(p->sql, offset, p->err, "%s", buf_cstr(&text));
    buf_release(&text);
    return false;
}

static void append_keyword(struct buf *out, struct slice word)
{
    buf_append_str(out, "keyword ");
    for (size_t i = 0; i < word.len; i++)
        buf_append_char(out, (char)(word.ptr[i] == '_' ? '_' : word.ptr[i] & ~0x20));
}

/* As BigQuery names a token in its errors. */
static void describe(const struct sql_token *token, struct buf *out)
{
    static const char *const KINDS[] = {
        [SQL_QUOTED] = "identifier ",      [SQL_INT] = "integer literal ",  [SQL_FLOAT] = "floating point literal ",
        [SQL_STRING] = "string literal ",  [SQL_BYTES] = "bytes literal ",  [SQL_PARAM] = "parameter ",
        [SQL_SYSVAR] = "system variable ", [SQL_POSITIONAL] = "parameter ", [SQL_OP] = "",
    };
    if (token->kind == SQL_EOF)
        buf_append_str(out, "end of input");
    else if (token->kind == SQL_WORD && sql_is_reserved(token->text))
        append_keyword(out, token->text);
    else if (token->kind == SQL_WORD)
        buf_printf(out, "identifier \"%.*s\"", SLICE_ARG(token->text));
    else
        buf_printf(out, "%s%s%.*s%s", KINDS[token->kind], token->kind == SQL_OP ? "\"" : "", SLICE_ARG(token->text),
                   token->kind == SQL_OP ? "\"" : "");
}

static bool complain(struct sql_parser *p, const char *before, const char *between)
{
    const struct sql_token *token = parser_peek(p, 0);
    if (p->failed)
        return false;
    struct buf what = BUF_INIT;
    describe(token, &what);
    parser_fail(p, token->offset, "Syntax error: %s%s%s", before, between, buf_cstr(&what));
    buf_release(&what);
    return false;
}

bool parser_unexpected(struct sql_parser *p)
{
    return complain(p, "Unexpected ", "");
}

bool parser_expected(struct sql_parser *p, const char *what)
{
    char before[80];
    snprintf(before, sizeof before, "Expected %s", what);
    return complain(p, before, " but got ");
}

bool parser_expect_word(struct sql_parser *p, const char *keyword)
{
    char what[48];
    snprintf(what, sizeof what, "keyword %s", keyword);
    return parser_accept_word(p, keyword) || parser_expected(p, what);
}

bool parser_expect_op(struct sql_parser *p, const char *op)
{
    char what[16];
    snprintf(what, sizeof what, "\"%s\"", op);
    return parser_accept_op(p, op) || parser_expected(p, what);
}

bool parser_at_name(struct sql_parser *p)
{
    const struct sql_token *token = parser_peek(p, 0);
    return token->kind == SQL_QUOTED || (token->kind == SQL_WORD && !sql_is_reserved(token->text));
}

bool parser_name(struct sql_parser *p, struct slice *ret)
{
    if (!parser_at_name(p))
        return parser_expected(p, "identifier");
    *ret = parser_peek(p, 0)->value;
    parser_take(p);
    return true;
}

bool parser_enter(struct sql_parser *p)
{
    if (p->depth >= SQL_MAX_DEPTH)
        return parser_fail(p, parser_peek(p, 0)->offset, "Query is too complex: it is nested deeper than %d levels",
                           SQL_MAX_DEPTH);
    p->depth++;
    return !p->failed;
}

void parser_leave(struct sql_parser *p)
{
    p->depth--;
}

/* ---- text ---- */

const char *parser_text(struct sql_parser *p, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    buf_clear(&p->scratch);
    buf_vprintf(&p->scratch, fmt, args);
    va_end(args);
    return arena_strdup(p->arena, buf_slice(&p->scratch));
}

const char *parser_keep(struct sql_parser *p, struct buf *text)
{
    const char *kept = arena_strdup(p->arena, slice_of(buf_cstr(text), text->len));
    buf_release(text);
    return kept;
}

void parser_append_mark(struct buf *out, size_t offset)
{
    buf_printf(out, "\001%zu\002", offset);
}

const char *parser_quoted(struct sql_parser *p, struct slice name, size_t offset)
{
    struct buf out = BUF_INIT;
    parser_append_mark(&out, offset);
    duck_append_name(&out, name);
    return parser_keep(p, &out);
}

const char *parser_string_literal(struct sql_parser *p, struct slice value)
{
    struct buf out = BUF_INIT;
    duck_append_string(&out, value);
    return parser_keep(p, &out);
}

void sql_finish(const char *marked, struct buf *out, struct sql_map *map)
{
    for (const char *c = marked; *c;) {
        if (*c != '\001') {
            size_t run = strcspn(c, "\001");
            buf_append(out, c, run);
            c += run;
            continue;
        }
        size_t source = strtoull(c + 1, NULL, 10);
        c = strchr(c, '\002') + 1;
        if (!map)
            continue;
        if (map->count == map->cap) {
            map->cap = map->cap ? map->cap * 2 : 64;
            map->rows = xrealloc(map->rows, map->cap * sizeof *map->rows);
        }
        map->rows[map->count++] = (struct sql_map_row){out->len, source};
    }
}

size_t sql_map_source(const struct sql_map *map, long out_offset, size_t fallback)
{
    size_t source = fallback;
    for (size_t i = 0; i < map->count && out_offset >= 0 && map->rows[i].out <= (size_t)out_offset; i++)
        source = map->rows[i].source;
    return source;
}

/* ---- entry points ---- */

/* Scripts here are statements, one after the other; what steers a script is refused by name. */
static bool refuse_scripting(struct sql_parser *p)
{
    static const char *const WORDS[] = {"DECLARE", "SET",  "BEGIN",   "IF",     "CASE",     "LOOP",    "WHILE",
                                        "REPEAT",  "FOR",  "BREAK",   "LEAVE",  "CONTINUE", "ITERATE", "RETURN",
                                        "RAISE",   "CALL", "EXECUTE", "COMMIT", "ROLLBACK"};
    for (size_t i = 0; i < sizeof WORDS / sizeof WORDS[0]; i++)
        if (parser_at_word(p, WORDS[i]))
            return parser_fail(p, parser_peek(p, 0)->offset, "Scripting is not supported by this server: %s", WORDS[i]);
    return true;
}

static bool parse_statement(struct sql_parser *p)
{
    static const char *const DML[] = {"INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE"};
    static const char *const DDL[] = {"CREATE", "ALTER", "DROP"};
    for (size_t i = 0; i < sizeof DML / sizeof DML[0]; i++)
        if (parser_at_word(p, DML[i]))
            return parse_dml(p);
    for (size_t i = 0; i < sizeof DDL / sizeof DDL[0]; i++)
        if (parser_at_word(p, DDL[i]))
            return parse_ddl(p);
    if (!parser_at_word(p, "SELECT") && !parser_at_word(p, "WITH") && !parser_at_op(p, "("))
        return refuse_scripting(p) && parser_unexpected(p);
    p->stmt->kind = SQL_SELECT;
    p->stmt->text = parse_query(p);
    return p->stmt->text != NULL;
}

static void parser_init(struct sql_parser *p, struct sql_context *ctx, struct slice sql, size_t offset,
                        struct arena *arena, struct error *err)
{
    *p = (struct sql_parser){.ctx = ctx, .sql = sql, .arena = arena, .err = err, .offset = offset};
}

bool sql_translate(struct sql_context *ctx, struct slice sql, size_t *offset, struct arena *arena,
                   struct sql_statement *ret, bool *ret_end, struct error *err)
{
    struct sql_parser p;
    parser_init(&p, ctx, sql, *offset, arena, err);
    *ret = (struct sql_statement){.kind = SQL_SELECT};
    p.stmt = ret;
    while (parser_accept_op(&p, ";"))
        continue;
    size_t start = parser_peek(&p, 0)->offset;
    *ret_end = !p.failed && parser_peek(&p, 0)->kind == SQL_EOF;
    bool ok = *ret_end || (!p.failed && parse_statement(&p) && !p.failed);
    if (ok && !*ret_end && !parser_at_op(&p, ";") && parser_peek(&p, 0)->kind != SQL_EOF)
        ok = parser_expected(&p, "end of input");
    ok = ok && !p.failed;
    if (ok) {
        ret->source = slice_of(sql.ptr + start, p.last_end > start ? p.last_end - start : 0);
        *offset = parser_at_op(&p, ";") ? parser_peek(&p, 0)->end : sql.len;
    }
    buf_release(&p.scratch);
    if (!ok)
        sql_statement_release(ret);
    return ok;
}

const char *sql_translate_default(struct sql_context *ctx, struct slice expression, struct arena *arena,
                                  struct error *err)
{
    struct sql_parser p;
    struct sql_statement stmt = {.kind = SQL_SELECT};
    parser_init(&p, ctx, expression, 0, arena, err);
    p.stmt = &stmt;
    p.in_default = true;
    const char *marked = parse_expr(&p);
    if (marked && !p.failed && parser_peek(&p, 0)->kind != SQL_EOF)
        parser_expected(&p, "end of input");
    const char *text = NULL;
    if (marked && !p.failed) {
        struct buf out = BUF_INIT;
        sql_finish(marked, &out, NULL);
        text = parser_keep(&p, &out);
    }
    buf_release(&p.scratch);
    sql_statement_release(&stmt);
    return text;
}

void sql_statement_release(struct sql_statement *stmt)
{
    for (size_t i = 0; i < stmt->referenced_count; i++)
        schema_unref(stmt->referenced[i]);
    free(stmt->referenced);
    for (size_t i = 0; i < stmt->alter_count; i++)
        json_object_put(stmt->alters[i].json);
    free(stmt->alters);
    free(stmt->merge.whens);
    json_object_put(stmt->resource);
    *stmt = (struct sql_statement){.kind = SQL_SELECT};
}
