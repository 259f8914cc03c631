/* bq_sql_parser.h - what the files of the translator share. Private to bq_sql_*.c.
 *
 * Parse functions return text in the arena, or NULL with the error set; the first error wins. Text carries marks (byte
 * 1, source offset, byte 2) before names and calls; sql_finish takes them out. */
#ifndef ST_LOCAL_BQ_SQL_PARSER_H
#define ST_LOCAL_BQ_SQL_PARSER_H

#include "bq_sql.h"
#include "bq_sql_lexer.h"

enum { PARSER_AHEAD = 6 };

/* Names that a FROM clause or WITH has brought into sight; innermost first. */
struct sql_scope {
    struct sql_scope *outer;
    struct slice name;
    bool is_cte; /* else a FROM alias */
};

/* Field names of a STRUCT(...) literal. */
struct sql_names {
    struct slice *names;
    size_t count;
};

struct sql_parser {
    struct sql_context *ctx;
    struct slice sql;
    struct arena *arena;
    struct error *err;
    struct sql_statement *stmt;
    size_t offset; /* of the first token not in `ahead` */
    struct sql_token ahead[PARSER_AHEAD];
    size_t ahead_count;
    size_t last_end; /* end of the token taken last */
    bool failed;
    bool in_default; /* a DEFAULT expression: time functions stay calls */
    int depth, view_depth;
    int next_alias;
    struct sql_scope *scope;
    const struct sql_names *inherit; /* for the next STRUCT literal: names of the array's first element */
    const struct sql_names *last_struct;
    struct buf scratch;
};

/* ---- tokens (bq_sql_parse.c) ---- */
const struct sql_token *parser_peek(struct sql_parser *p, size_t n); /* an error token reads as EOF and sets failed */
void parser_take(struct sql_parser *p);
bool parser_at_word(struct sql_parser *p, const char *keyword);
bool parser_at_word_n(struct sql_parser *p, size_t n, const char *keyword);
bool parser_at_op(struct sql_parser *p, const char *op);
bool parser_at_op_n(struct sql_parser *p, size_t n, const char *op);
bool parser_accept_word(struct sql_parser *p, const char *keyword);
bool parser_accept_words(struct sql_parser *p, const char *first, const char *second);
bool parser_accept_op(struct sql_parser *p, const char *op);
bool parser_expect_word(struct sql_parser *p, const char *keyword);
bool parser_expect_op(struct sql_parser *p, const char *op);
/* A name (quoted, or a word that is not reserved) is next. */
bool parser_at_name(struct sql_parser *p);
/* Takes a name; false and "Expected identifier" otherwise. */
bool parser_name(struct sql_parser *p, struct slice *ret);
/* "Syntax error: Unexpected <token>"; returns false. */
bool parser_unexpected(struct sql_parser *p);
bool parser_expected(struct sql_parser *p, const char *what);
bool parser_fail(struct sql_parser *p, size_t offset, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Recursion guard: false when too deep. Pair with parser_leave. */
bool parser_enter(struct sql_parser *p);
void parser_leave(struct sql_parser *p);

/* ---- text ---- */
const char *parser_text(struct sql_parser *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
const char *parser_keep(struct sql_parser *p, struct buf *text); /* into the arena; releases the buf */
void parser_append_mark(struct buf *out, size_t offset);
const char *parser_quoted(struct sql_parser *p, struct slice name, size_t offset); /* marked "name" */
const char *parser_string_literal(struct sql_parser *p, struct slice value);

/* ---- the grammar ---- */
const char *parse_expr(struct sql_parser *p);
/* expr {, expr}; *ret_count may be NULL. */
const char *parse_expr_list(struct sql_parser *p, size_t *ret_count);
/* Call of the function whose name and '(' are next. `safe`: SAFE. prefix. */
const char *parse_call(struct sql_parser *p, bool safe);
const char *parse_from_list(struct sql_parser *p); /* items and joins behind FROM */
const char *parse_query(struct sql_parser *p);     /* WITH .. SELECT .. without closing token */
/* ORDER BY list behind the keywords. */
const char *parse_order_list(struct sql_parser *p);
/* DuckDB name of a type; field (may be NULL) gets it as JSON members type, mode, fields, ... */
const char *parse_type(struct sql_parser *p, struct json_object *field);
const char *parse_param(struct sql_parser *p);
/* True when @name (or ?) is next and an ARRAY parameter; the list of its elements "a, b" ("" = empty). */
bool parse_array_param_elements(struct sql_parser *p, const char **ret);

struct sql_path {
    struct slice parts[4];
    size_t count;
    size_t offset;
};
/* [project.][dataset.]table, with dashes and backquotes as BigQuery takes them. */
bool parse_path(struct sql_parser *p, struct sql_path *ret);
bool path_to_name(struct sql_parser *p, const struct sql_path *path, struct sql_name *ret);
bool path_to_dataset(struct sql_parser *p, const struct sql_path *path, struct sql_name *ret);
/* The table of a name, referenced in the statement; NULL and notFound. syntax_only: NULL and no error (p->failed
 * false). */
struct engine_schema *parser_table(struct sql_parser *p, const struct sql_name *name, size_t offset);
/* FROM item of a table or view, without alias. */
const char *parser_table_text(struct sql_parser *p, struct engine_schema *table, size_t offset);
/* FROM item of an INFORMATION_SCHEMA view; `view` as written. */
const char *information_schema(struct sql_parser *p, const char *project, struct slice dataset, struct slice view,
                               size_t offset);

bool parse_dml(struct sql_parser *p); /* INSERT, UPDATE, DELETE, MERGE, TRUNCATE */
bool parse_ddl(struct sql_parser *p); /* CREATE, ALTER, DROP */

#endif
