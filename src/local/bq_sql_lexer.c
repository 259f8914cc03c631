/* bq_sql_lexer.c - tokens of BigQuery's dialect (lexical structure page of its reference).
 *
 * Strings: '..', "..", '''..''', """..""", each with prefixes r, b, rb in any case; escapes are decoded here and a raw
 * string keeps its backslashes. Comments: #, --, and slash-star. All input is foreign: every look is bounded by the
 * slice. */
#include "bq_sql_lexer.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/buf.h"

static const char *const RESERVED[] = {
    "ALL",      "AND",     "ANY",      "ARRAY",     "AS",        "ASC",         "ASSERT_ROWS_MODIFIED",
    "AT",       "BETWEEN", "BY",       "CASE",      "CAST",      "COLLATE",     "CONTAINS",
    "CREATE",   "CROSS",   "CUBE",     "CURRENT",   "DEFAULT",   "DEFINE",      "DESC",
    "DISTINCT", "ELSE",    "END",      "ENUM",      "ESCAPE",    "EXCEPT",      "EXCLUDE",
    "EXISTS",   "EXTRACT", "FALSE",    "FETCH",     "FOLLOWING", "FOR",         "FROM",
    "FULL",     "GROUP",   "GROUPING", "GROUPS",    "HASH",      "HAVING",      "IF",
    "IGNORE",   "IN",      "INNER",    "INTERSECT", "INTERVAL",  "INTO",        "IS",
    "JOIN",     "LATERAL", "LEFT",     "LIKE",      "LIMIT",     "LOOKUP",      "MERGE",
    "NATURAL",  "NEW",     "NO",       "NOT",       "NULL",      "NULLS",       "OF",
    "ON",       "OR",      "ORDER",    "OUTER",     "OVER",      "PARTITION",   "PRECEDING",
    "PROTO",    "QUALIFY", "RANGE",    "RECURSIVE", "RESPECT",   "RIGHT",       "ROLLUP",
    "ROWS",     "SELECT",  "SET",      "SOME",      "STRUCT",    "TABLESAMPLE", "THEN",
    "TO",       "TREAT",   "TRUE",     "UNBOUNDED", "UNION",     "UNNEST",      "USING",
    "WHEN",     "WHERE",   "WINDOW",   "WITH",      "WITHIN",
};

/* Longest first. */
static const char *const OPERATORS[] = {"<=>", "<=", ">=", "<>", "!=", "||", "<<", ">>", "=>", "+",
                                        "-",   "*",  "/",  "=",  "<",  ">",  "(",  ")",  "[",  "]",
                                        ",",   ".",  ";",  "~",  "&",  "|",  "^",  "{",  "}",  ":"};

struct lexer {
    struct slice sql;
    size_t at;
    struct arena *arena;
    struct error *err;
};

bool sql_is_reserved(struct slice word)
{
    for (size_t i = 0; i < sizeof RESERVED / sizeof RESERVED[0]; i++)
        if (slice_eq_nocase(word, slice_str(RESERVED[i])))
            return true;
    return false;
}

void sql_position(struct slice sql, size_t offset, int *ret_line, int *ret_column)
{
    int line = 1, column = 1;
    for (size_t i = 0; i < offset && i < sql.len; i++) {
        if (sql.ptr[i] == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)sql.ptr[i] & 0xC0) != 0x80) {
            column++;
        }
    }
    *ret_line = line;
    *ret_column = column;
}

bool sql_error_at(struct slice sql, size_t offset, struct error *err, const char *fmt, ...)
{
    struct buf text = BUF_INIT;
    va_list args;
    va_start(args, fmt);
    buf_vprintf(&text, fmt, args);
    va_end(args);
    int line, column;
    sql_position(sql, offset, &line, &column);
    error_set(err, ERROR_PERMANENT, "invalidQuery", "%s at [%d:%d]", buf_cstr(&text), line, column);
    if (err)
        err->status = 400;
    buf_release(&text);
    return false;
}

static int peek_char(const struct lexer *lx, size_t ahead)
{
    return lx->at + ahead < lx->sql.len ? (unsigned char)lx->sql.ptr[lx->at + ahead] : -1;
}

static bool at_text(const struct lexer *lx, const char *text)
{
    size_t n = strlen(text);
    return lx->sql.len - lx->at >= n && memcmp(lx->sql.ptr + lx->at, text, n) == 0;
}

static bool is_word_start(int c)
{
    return c == '_' || (c >= 0 && c < 128 && isalpha(c));
}

static bool is_word_char(int c)
{
    return is_word_start(c) || (c >= '0' && c <= '9');
}

static void skip_line(struct lexer *lx)
{
    while (lx->at < lx->sql.len && lx->sql.ptr[lx->at] != '\n')
        lx->at++;
}

/* White space (ASCII) and comments. */
static bool skip_blank(struct lexer *lx)
{
    for (;;) {
        int c = peek_char(lx, 0);
        if (c == ' ' || (c >= '\t' && c <= '\r')) {
            lx->at++;
        } else if (c == '#' || at_text(lx, "--")) {
            skip_line(lx);
        } else if (at_text(lx, "/*")) {
            const char *end = memmem(lx->sql.ptr + lx->at + 2, lx->sql.len - lx->at - 2, "*/", 2);
            if (!end)
                return sql_error_at(lx->sql, lx->at, lx->err, "Syntax error: Unclosed comment");
            lx->at = (size_t)(end - lx->sql.ptr) + 2;
        } else {
            return true;
        }
    }
}

static void append_utf8(struct buf *out, uint32_t c)
{
    if (c < 0x80) {
        buf_append_char(out, (char)c);
    } else if (c < 0x800) {
        buf_append_char(out, (char)(0xC0 | (c >> 6)));
        buf_append_char(out, (char)(0x80 | (c & 0x3F)));
    } else if (c < 0x10000) {
        buf_append_char(out, (char)(0xE0 | (c >> 12)));
        buf_append_char(out, (char)(0x80 | ((c >> 6) & 0x3F)));
        buf_append_char(out, (char)(0x80 | (c & 0x3F)));
    } else {
        buf_append_char(out, (char)(0xF0 | (c >> 18)));
        buf_append_char(out, (char)(0x80 | ((c >> 12) & 0x3F)));
        buf_append_char(out, (char)(0x80 | ((c >> 6) & 0x3F)));
        buf_append_char(out, (char)(0x80 | (c & 0x3F)));
    }
}

/* `digits` digits of `base` at lx->at; -1 when they are not there. */
static int64_t read_digits(struct lexer *lx, int digits, int base)
{
    int64_t value = 0;
    for (int i = 0; i < digits; i++) {
        int c = peek_char(lx, (size_t)i);
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : 99;
        if (d >= base)
            return -1;
        value = value * base + d;
    }
    lx->at += (size_t)digits;
    return value;
}

static bool append_coded(struct lexer *lx, struct buf *out, int digits, int base, bool is_char, size_t start)
{
    int64_t value = read_digits(lx, digits, base);
    bool bad =
        value < 0 || value > 0x10FFFF || (is_char && value >= 0xD800 && value < 0xE000) || (!is_char && value > 255);
    if (bad)
        return sql_error_at(lx->sql, start, lx->err, "Syntax error: Illegal escape sequence");
    if (is_char)
        append_utf8(out, (uint32_t)value);
    else
        buf_append_char(out, (char)value);
    return true;
}

/* Behind a backslash. */
static bool read_escape(struct lexer *lx, struct buf *out, bool is_bytes)
{
    static const char NAMES[] = "abfnrtv\\?\"'`";
    static const char VALUES[] = "\a\b\f\n\r\t\v\\?\"'`";
    size_t start = lx->at - 1;
    int c = peek_char(lx, 0);
    const char *hit = c > 0 ? strchr(NAMES, c) : NULL;
    if (hit) {
        buf_append_char(out, VALUES[hit - NAMES]);
        lx->at++;
        return true;
    }
    if (c >= '0' && c <= '3')
        return append_coded(lx, out, 3, 8, !is_bytes, start);
    lx->at++;
    if (c == 'x' || c == 'X')
        return append_coded(lx, out, 2, 16, !is_bytes, start);
    if (c == 'u' && !is_bytes)
        return append_coded(lx, out, 4, 16, true, start);
    if (c == 'U' && !is_bytes)
        return append_coded(lx, out, 8, 16, true, start);
    return sql_error_at(lx->sql, start, lx->err, "Syntax error: Illegal escape sequence: \\%c",
                        c > 32 && c < 127 ? c : '?');
}

/* lx->at stands on the opening quote. */
static bool read_string(struct lexer *lx, bool raw, bool is_bytes, struct buf *out)
{
    size_t start = lx->at;
    char q = lx->sql.ptr[lx->at];
    const char quotes[4] = {q, q, q, '\0'};
    bool triple = at_text(lx, quotes);
    size_t width = triple ? 3 : 1;
    lx->at += width;
    for (;;) {
        int c = peek_char(lx, 0);
        if (c < 0 || (c == '\n' && !triple))
            return sql_error_at(lx->sql, start, lx->err, "Syntax error: Unclosed string literal");
        if (c == q && (!triple || at_text(lx, quotes))) {
            lx->at += width;
            return true;
        }
        lx->at++;
        if (c != '\\') {
            buf_append_char(out, (char)c);
        } else if (!raw) {
            if (!read_escape(lx, out, is_bytes))
                return false;
        } else {
            buf_append_char(out, '\\');
            if (peek_char(lx, 0) >= 0)
                buf_append_char(out, lx->sql.ptr[lx->at++]);
        }
    }
}

static struct slice keep(struct lexer *lx, struct buf *b)
{
    struct slice s = slice_of(arena_strdup(lx->arena, buf_slice(b)), b->len);
    buf_release(b);
    return s;
}

static bool lex_string(struct lexer *lx, size_t prefix, bool raw, bool is_bytes, struct sql_token *ret)
{
    struct buf value = BUF_INIT;
    lx->at += prefix;
    if (!read_string(lx, raw, is_bytes, &value)) {
        buf_release(&value);
        return false;
    }
    if (!is_bytes && !slice_is_utf8(buf_slice(&value))) {
        buf_release(&value);
        return sql_error_at(lx->sql, ret->offset, lx->err, "Syntax error: Invalid UTF-8 in string literal");
    }
    ret->kind = is_bytes ? SQL_BYTES : SQL_STRING;
    ret->value = keep(lx, &value);
    return true;
}

/* Length of a string prefix (r, b, rb, br) that is followed by a quote; 0 = none. */
static size_t string_prefix(const struct lexer *lx, bool *raw, bool *is_bytes)
{
    size_t n = 0;
    *raw = *is_bytes = false;
    for (; n < 2; n++) {
        int c = peek_char(lx, n) | 0x20;
        if (c == 'r' && !*raw)
            *raw = true;
        else if (c == 'b' && !*is_bytes)
            *is_bytes = true;
        else
            break;
    }
    int q = peek_char(lx, n);
    return q == '\'' || q == '"' ? n : 0;
}

static bool lex_quoted_name(struct lexer *lx, struct sql_token *ret)
{
    struct buf value = BUF_INIT;
    lx->at++;
    for (;;) {
        int c = peek_char(lx, 0);
        if (c < 0 || c == '\n') {
            buf_release(&value);
            return sql_error_at(lx->sql, ret->offset, lx->err, "Syntax error: Unclosed identifier literal");
        }
        lx->at++;
        if (c == '`')
            break;
        if (c != '\\')
            buf_append_char(&value, (char)c);
        else if (!read_escape(lx, &value, false)) {
            buf_release(&value);
            return false;
        }
    }
    if (value.len == 0 || !slice_is_utf8(buf_slice(&value))) {
        buf_release(&value);
        return sql_error_at(lx->sql, ret->offset, lx->err, "Syntax error: Invalid empty identifier");
    }
    ret->kind = SQL_QUOTED;
    ret->value = keep(lx, &value);
    return true;
}

static void skip_decimals(struct lexer *lx)
{
    while (peek_char(lx, 0) >= '0' && peek_char(lx, 0) <= '9')
        lx->at++;
}

static bool lex_number(struct lexer *lx, struct sql_token *ret)
{
    ret->kind = SQL_INT;
    if (at_text(lx, "0x") || at_text(lx, "0X")) {
        lx->at += 2;
        while (peek_char(lx, 0) >= 0 && isxdigit(peek_char(lx, 0)))
            lx->at++;
        if (lx->at == ret->offset + 2)
            return sql_error_at(lx->sql, ret->offset, lx->err, "Syntax error: Invalid hexadecimal literal");
    } else {
        skip_decimals(lx);
        if (peek_char(lx, 0) == '.') {
            ret->kind = SQL_FLOAT;
            lx->at++;
            skip_decimals(lx);
        }
        int sign = peek_char(lx, 1) == '+' || peek_char(lx, 1) == '-';
        int digit = peek_char(lx, sign ? 2 : 1);
        if ((peek_char(lx, 0) | 0x20) == 'e' && digit >= '0' && digit <= '9') {
            ret->kind = SQL_FLOAT;
            lx->at += sign ? 2 : 1;
            skip_decimals(lx);
        }
    }
    if (is_word_start(peek_char(lx, 0)))
        return sql_error_at(lx->sql, lx->at, lx->err, "Syntax error: Missing whitespace between literal and alias");
    return true;
}

static void lex_word(struct lexer *lx)
{
    while (is_word_char(peek_char(lx, 0)))
        lx->at++;
}

static bool lex_param(struct lexer *lx, struct sql_token *ret)
{
    ret->kind = peek_char(lx, 1) == '@' ? SQL_SYSVAR : SQL_PARAM;
    lx->at += ret->kind == SQL_SYSVAR ? 2 : 1;
    size_t start = lx->at;
    if (peek_char(lx, 0) == '`') {
        bool ok = lex_quoted_name(lx, ret);
        ret->kind = SQL_PARAM;
        return ok;
    }
    if (!is_word_start(peek_char(lx, 0)))
        return sql_error_at(lx->sql, ret->offset, lx->err, "Syntax error: Unexpected \"@\"");
    lex_word(lx);
    ret->value = slice_of(lx->sql.ptr + start, lx->at - start);
    return true;
}

static bool lex_operator(struct lexer *lx, struct sql_token *ret)
{
    ret->kind = SQL_OP;
    for (size_t i = 0; i < sizeof OPERATORS / sizeof OPERATORS[0]; i++) {
        if (at_text(lx, OPERATORS[i])) {
            lx->at += strlen(OPERATORS[i]);
            return true;
        }
    }
    int c = peek_char(lx, 0);
    if (c > 32 && c < 127)
        return sql_error_at(lx->sql, lx->at, lx->err, "Syntax error: Illegal input character \"%c\"", c);
    return sql_error_at(lx->sql, lx->at, lx->err, "Syntax error: Illegal input character \"\\x%02x\"", c);
}

static bool lex_one(struct lexer *lx, struct sql_token *ret)
{
    bool raw, is_bytes;
    int c = peek_char(lx, 0);
    if (c < 0)
        return true;
    size_t prefix = string_prefix(lx, &raw, &is_bytes);
    if (prefix > 0 || c == '\'' || c == '"')
        return lex_string(lx, prefix, prefix > 0 && raw, prefix > 0 && is_bytes, ret);
    if (c == '`')
        return lex_quoted_name(lx, ret);
    if (is_word_start(c)) {
        ret->kind = SQL_WORD;
        lex_word(lx);
        return true;
    }
    if ((c >= '0' && c <= '9') || (c == '.' && peek_char(lx, 1) >= '0' && peek_char(lx, 1) <= '9'))
        return lex_number(lx, ret);
    if (c == '@')
        return lex_param(lx, ret);
    if (c == '?') {
        ret->kind = SQL_POSITIONAL;
        lx->at++;
        return true;
    }
    return lex_operator(lx, ret);
}

bool sql_lex(struct slice sql, size_t offset, struct arena *arena, struct sql_token *ret, struct error *err)
{
    struct lexer lx = {sql, offset, arena, err};
    struct sql_token token = {SQL_EOF, 0, 0, SLICE_NULL, SLICE_NULL};
    if (!skip_blank(&lx))
        return false;
    token.offset = lx.at;
    if (!lex_one(&lx, &token))
        return false;
    token.end = lx.at;
    token.text = slice_of(sql.ptr + token.offset, lx.at - token.offset);
    if (!token.value.ptr)
        token.value = token.text;
    *ret = token;
    return true;
}
