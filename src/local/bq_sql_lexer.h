/* bq_sql_lexer.h - tokens of BigQuery's dialect.
 *
 * Lexes one token at a time from any offset, so that the parser can look at a place again with other eyes (dashed
 * project names). Values of strings and quoted names are decoded into the arena. No recursion, no state but the offset.
 */
#ifndef ST_LOCAL_BQ_SQL_LEXER_H
#define ST_LOCAL_BQ_SQL_LEXER_H

#include "base/arena.h"
#include "base/error.h"
#include "base/slice.h"

enum sql_token_kind {
    SQL_EOF,
    SQL_WORD,   /* name or keyword, unquoted */
    SQL_QUOTED, /* `name`; value is decoded */
    SQL_INT,    /* decimal or 0x... */
    SQL_FLOAT,
    SQL_STRING,     /* value is decoded, valid UTF-8 */
    SQL_BYTES,      /* b'..'; value is decoded */
    SQL_PARAM,      /* @name; value is the name */
    SQL_SYSVAR,     /* @@name */
    SQL_POSITIONAL, /* ? */
    SQL_OP,         /* punctuation, longest match */
};

struct sql_token {
    enum sql_token_kind kind;
    size_t offset, end; /* in the source */
    struct slice text;  /* as written */
    struct slice value; /* decoded; else = text */
};

/* The next token at or behind `offset`, after white space and comments. False: err is an invalidQuery "Syntax error:
 * ..." with the place. */
bool sql_lex(struct slice sql, size_t offset, struct arena *arena, struct sql_token *ret, struct error *err) MUST_CHECK;

/* 1-based line and column (in characters) of an offset. */
void sql_position(struct slice sql, size_t offset, int *ret_line, int *ret_column);

/* invalidQuery, HTTP 400: "<text> at [line:col]". Returns false. */
bool sql_error_at(struct slice sql, size_t offset, struct error *err, const char *fmt, ...) PRINTF_LIKE(4, 5);

/* True when an unquoted word may not be a name. */
bool sql_is_reserved(struct slice word);

#endif
