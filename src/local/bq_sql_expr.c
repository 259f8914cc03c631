/* bq_sql_expr.c - expressions, by precedence, loosest first: OR, AND, NOT, comparison, |, ^, &, shifts, + -, * / ||,
 * unary, postfix, primary. Every binary operation is put in parentheses, so DuckDB's own precedence never matters.
 *
 * Differences that are mended here: integer literals are INT64 and literals with a point FLOAT64; / is FLOAT64 (or
 * NUMERIC) division that refuses zero; array subscripts name their base; IN UNNEST; double-quoted strings. */
#include "bq_sql_parser.h"

#include <stdio.h>
#include <stdlib.h>

enum { STRUCT_MAX_FIELDS = 256 };

struct binary_row {
    const char *op;       /* BigQuery */
    const char *function; /* NULL: the same operator in DuckDB */
    const char *duck;     /* operator when it differs */
};

/* Levels of left-associative operators, loosest first. */
static const struct binary_row BIT_OR[] = {{"|", NULL, "|"}, {NULL, NULL, NULL}};
static const struct binary_row BIT_XOR[] = {{"^", "xor", NULL}, {NULL, NULL, NULL}};
static const struct binary_row BIT_AND[] = {{"&", NULL, "&"}, {NULL, NULL, NULL}};
static const struct binary_row SHIFT[] = {{"<<", NULL, "<<"}, {">>", NULL, ">>"}, {NULL, NULL, NULL}};
static const struct binary_row SUM[] = {{"+", NULL, "+"}, {"-", NULL, "-"}, {NULL, NULL, NULL}};
static const struct binary_row PRODUCT[] = {
    {"*", "bq_multiply", NULL}, {"/", "bq_divide", NULL}, {"||", NULL, "||"}, {NULL, NULL, NULL}};
static const struct binary_row *const LEVELS[] = {BIT_OR, BIT_XOR, BIT_AND, SHIFT, SUM, PRODUCT};
enum { LEVEL_COUNT = sizeof LEVELS / sizeof LEVELS[0] };

static const char *parse_unary(struct sql_parser *p);

static const struct binary_row *find_operator(struct sql_parser *p, const struct binary_row *rows)
{
    for (; rows->op; rows++)
        if (parser_at_op(p, rows->op))
            return rows;
    return NULL;
}

static const char *parse_level(struct sql_parser *p, int level)
{
    if (level == LEVEL_COUNT)
        return parse_unary(p);
    const char *left = parse_level(p, level + 1);
    const struct binary_row *row;
    while (left && (row = find_operator(p, LEVELS[level])) != NULL) {
        size_t offset = parser_peek(p, 0)->offset;
        parser_take(p);
        const char *right = parse_level(p, level + 1);
        if (!right)
            return NULL;
        if (row->function)
            left = parser_text(p, "\001%zu\002%s(%s, %s)", offset, row->function, left, right);
        else
            left = parser_text(p, "(%s \001%zu\002%s %s)", left, offset, row->duck, right);
        if (strlen(left) > SQL_MAX_BYTES * 4u) {
            parser_fail(p, offset, "Query is too complex");
            return NULL;
        }
    }
    return left;
}

/* ---- comparisons ---- */

static const char *parse_in_list(struct sql_parser *p, const char *left, const char * not )
{
    if (parser_at_word(p, "SELECT") || parser_at_word(p, "WITH")) {
        const char *query = parse_query(p);
        return query && parser_expect_op(p, ")") ? parser_text(p, "(%s %sIN (%s))", left, not, query) : NULL;
    }
    const char *list = parse_expr_list(p, NULL);
    return list && parser_expect_op(p, ")") ? parser_text(p, "(%s %sIN (%s))", left, not, list) : NULL;
}

static const char *parse_in_unnest(struct sql_parser *p, const char *left, const char * not )
{
    const char *elements;
    if (!parser_expect_op(p, "("))
        return NULL;
    if (parse_array_param_elements(p, &elements)) {
        if (!elements || !parser_expect_op(p, ")"))
            return NULL;
        if (elements[0] == '\0')
            return *not ? "TRUE" : "FALSE";
        return parser_text(p, "(%s %sIN (%s))", left, not, elements);
    }
    const char *array = parse_expr(p);
    if (!array || !parser_expect_op(p, ")"))
        return NULL;
    return parser_text(p, "(%s %sIN (SELECT unnest(%s)))", left, not, array);
}

static const char *parse_in(struct sql_parser *p, const char *left, const char * not )
{
    if (parser_accept_word(p, "UNNEST"))
        return parse_in_unnest(p, left, not );
    return parser_expect_op(p, "(") ? parse_in_list(p, left, not ) : NULL;
}

static const char *parse_between(struct sql_parser *p, const char *left, const char * not )
{
    const char *low = parse_level(p, 0);
    if (!low || !parser_expect_word(p, "AND"))
        return NULL;
    const char *high = parse_level(p, 0);
    return high ? parser_text(p, "(%s %sBETWEEN %s AND %s)", left, not, low, high) : NULL;
}

static const char *parse_like(struct sql_parser *p, const char *left, const char * not )
{
    const char *pattern = parse_level(p, 0);
    return pattern ? parser_text(p, "(%s %sLIKE %s ESCAPE '\\')", left, not, pattern) : NULL;
}

static const char *parse_is(struct sql_parser *p, const char *left)
{
    static const char *const WHAT[] = {"NULL", "TRUE", "FALSE"};
    const char *not = parser_accept_word(p, "NOT") ? "NOT " : "";
    for (size_t i = 0; i < 3; i++)
        if (parser_accept_word(p, WHAT[i]))
            return parser_text(p, "(%s IS %s%s)", left, not, WHAT[i]);
    if (!parser_accept_words(p, "DISTINCT", "FROM")) {
        parser_unexpected(p);
        return NULL;
    }
    const char *right = parse_level(p, 0);
    return right ? parser_text(p, "(%s IS %sDISTINCT FROM %s)", left, not, right) : NULL;
}

static const char *parse_relation(struct sql_parser *p, const char *left)
{
    static const char *const OPS[][2] = {{"=", "="},   {"<>", "<>"}, {"!=", "<>"}, {"<=", "<="},
                                         {">=", ">="}, {"<", "<"},   {">", ">"}};
    for (size_t i = 0; i < sizeof OPS / sizeof OPS[0]; i++) {
        if (!parser_at_op(p, OPS[i][0]))
            continue;
        size_t offset = parser_peek(p, 0)->offset;
        parser_take(p);
        const char *right = parse_level(p, 0);
        return right ? parser_text(p, "(%s \001%zu\002%s %s)", left, offset, OPS[i][1], right) : NULL;
    }
    return left;
}

static const char *parse_comparison(struct sql_parser *p)
{
    const char *left = parse_level(p, 0);
    if (!left)
        return NULL;
    bool negated = parser_at_word(p, "NOT") && (parser_at_word_n(p, 1, "IN") || parser_at_word_n(p, 1, "LIKE") ||
                                                parser_at_word_n(p, 1, "BETWEEN"));
    if (negated)
        parser_take(p);
    const char *not = negated ? "NOT " : "";
    if (parser_accept_word(p, "IN"))
        return parse_in(p, left, not );
    if (parser_accept_word(p, "BETWEEN"))
        return parse_between(p, left, not );
    if (parser_accept_word(p, "LIKE"))
        return parse_like(p, left, not );
    if (parser_accept_word(p, "IS"))
        return parse_is(p, left);
    return parse_relation(p, left);
}

/* ---- logic ---- */

static const char *parse_not(struct sql_parser *p)
{
    if (!parser_accept_word(p, "NOT"))
        return parse_comparison(p);
    if (!parser_enter(p))
        return NULL;
    const char *inner = parse_not(p);
    parser_leave(p);
    return inner ? parser_text(p, "(NOT %s)", inner) : NULL;
}

/* next {keyword next} in one pair of parentheses, so that long chains stay linear. */
static const char *parse_chain(struct sql_parser *p, const char *keyword, const char *(*next)(struct sql_parser *))
{
    const char *first = next(p);
    if (!first || !parser_at_word(p, keyword))
        return first;
    struct buf out = BUF_INIT;
    buf_printf(&out, "(%s", first);
    while (parser_accept_word(p, keyword)) {
        const char *more = next(p);
        if (!more) {
            buf_release(&out);
            return NULL;
        }
        buf_printf(&out, " %s %s", keyword, more);
    }
    buf_append_char(&out, ')');
    return parser_keep(p, &out);
}

static const char *parse_and(struct sql_parser *p)
{
    return parse_chain(p, "AND", parse_not);
}

const char *parse_expr(struct sql_parser *p)
{
    if (!parser_enter(p))
        return NULL;
    const char *text = parse_chain(p, "OR", parse_and);
    parser_leave(p);
    return p->failed ? NULL : text;
}

const char *parse_expr_list(struct sql_parser *p, size_t *ret_count)
{
    struct buf out = BUF_INIT;
    size_t count = 0;
    do {
        const char *item = parse_expr(p);
        if (!item) {
            buf_release(&out);
            return NULL;
        }
        buf_printf(&out, "%s%s", count++ ? ", " : "", item);
    } while (parser_accept_op(p, ","));
    if (ret_count)
        *ret_count = count;
    return parser_keep(p, &out);
}

/* ---- literals ---- */

static const char *integer_literal(struct sql_parser *p, bool negative)
{
    const struct sql_token *token = parser_peek(p, 0);
    char digits[32];
    struct slice text = token->text;
    bool hex = text.len > 2 && (text.ptr[1] | 0x20) == 'x';
    uint64_t limit = (uint64_t)INT64_MAX + (negative ? 1 : 0), value = 0;
    bool fits = text.len < sizeof digits;
    if (fits) {
        memcpy(digits, text.ptr, text.len);
        digits[text.len] = '\0';
        value = strtoull(digits + (hex ? 2 : 0), NULL, hex ? 16 : 10);
        fits = (hex || text.len <= 19) && value <= limit;
    }
    if (!fits) {
        parser_fail(p, token->offset, "Invalid integer literal: %.*s", SLICE_ARG(text));
        return NULL;
    }
    parser_take(p);
    return parser_text(p, "CAST(%s%llu AS BIGINT)", negative ? "-" : "", (unsigned long long)value);
}

static const char *float_literal(struct sql_parser *p)
{
    struct slice text = parser_peek(p, 0)->text;
    bool has_exponent = memchr(text.ptr, 'e', text.len) || memchr(text.ptr, 'E', text.len);
    parser_take(p);
    return parser_text(p, "%s%.*s%s", text.ptr[0] == '.' ? "0" : "", SLICE_ARG(text), has_exponent ? "" : "e0");
}

static const char *bytes_literal(struct sql_parser *p)
{
    struct slice value = parser_peek(p, 0)->value;
    struct buf out = BUF_INIT;
    buf_append_str(&out, "CAST('");
    for (size_t i = 0; i < value.len; i++)
        buf_printf(&out, "\\x%02X", (unsigned char)value.ptr[i]);
    buf_append_str(&out, "' AS BLOB)");
    parser_take(p);
    return parser_keep(p, &out);
}

static const char *string_literal(struct sql_parser *p)
{
    const char *text = parser_string_literal(p, parser_peek(p, 0)->value);
    parser_take(p);
    return text;
}

/* DATE '..', TIMESTAMP '..', NUMERIC '..', JSON '..' */
static const char *typed_literal(struct sql_parser *p)
{
    static const char *const ROWS[][2] = {{"DATE", "DATE"}, {"TIMESTAMP", "TIMESTAMPTZ"}, {"DATETIME", "TIMESTAMP"},
                                          {"TIME", "TIME"}, {"NUMERIC", "DECIMAL(38,9)"}, {"DECIMAL", "DECIMAL(38,9)"},
                                          {"JSON", "JSON"}};
    if (parser_peek(p, 1)->kind != SQL_STRING)
        return NULL;
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        if (!parser_at_word(p, ROWS[i][0]))
            continue;
        size_t offset = parser_peek(p, 0)->offset;
        parser_take(p);
        return parser_text(p, "\001%zu\002CAST(%s AS %s)", offset, string_literal(p), ROWS[i][1]);
    }
    return NULL;
}

/* ---- primaries with syntax of their own ---- */

static const char *parse_case(struct sql_parser *p)
{
    struct buf out = BUF_INIT;
    size_t whens = 0;
    const char *text = "";
    buf_append_str(&out, "(CASE");
    if (!parser_at_word(p, "WHEN") && (text = parse_expr(p)) != NULL)
        buf_printf(&out, " %s", text);
    while (text && parser_accept_word(p, "WHEN")) {
        const char *when = parse_expr(p);
        text = when && parser_expect_word(p, "THEN") ? parse_expr(p) : NULL;
        if (text)
            buf_printf(&out, " WHEN %s THEN %s", when, text);
        whens++;
    }
    if (text && whens == 0)
        parser_expected(p, "keyword WHEN");
    if (text && parser_accept_word(p, "ELSE") && (text = parse_expr(p)) != NULL)
        buf_printf(&out, " ELSE %s", text);
    if (!text || p->failed || !parser_expect_word(p, "END")) {
        buf_release(&out);
        return NULL;
    }
    buf_append_str(&out, " END)");
    return parser_keep(p, &out);
}

/* CAST( and SAFE_CAST( are taken. */
static const char *parse_cast(struct sql_parser *p, const char *duck_cast, size_t offset)
{
    const char *value = parser_expect_op(p, "(") ? parse_expr(p) : NULL;
    if (!value || !parser_expect_word(p, "AS"))
        return NULL;
    const char *type = parse_type(p, NULL);
    if (!type)
        return NULL;
    if (parser_at_word(p, "FORMAT")) {
        parser_fail(p, parser_peek(p, 0)->offset, "CAST with FORMAT is not supported by this server");
        return NULL;
    }
    if (!parser_expect_op(p, ")"))
        return NULL;
    bool try = duck_cast[0] == 'T';
    if (strcmp(type, "VARCHAR") == 0)
        return parser_text(p, "\001%zu\002bq_string(%s)", offset, value);
    if (strcmp(type, "BLOB") == 0)
        return parser_text(p, "\001%zu\002bq_bytes(%s)", offset, value);
    if (strcmp(type, "BIGINT") == 0)
        return parser_text(p, "\001%zu\002%s(bq_int64(%s)%s)", offset, try ? "TRY" : "", value, "");
    return parser_text(p, "\001%zu\002%s(%s AS %s)", offset, duck_cast, value, type);
}

/* The name that a field of a STRUCT literal gives itself: AS name, or the last part of a path; empty = none. */
static bool struct_field_name(struct sql_parser *p, const char *value, struct slice *ret)
{
    *ret = SLICE_NULL;
    if (parser_accept_word(p, "AS"))
        return parser_name(p, ret);
    const char *mark = strrchr(value, '\002');
    size_t len = strlen(value);
    if (mark && value[0] == '\001' && value[len - 1] == '"')
        *ret = slice_of(mark + 2, len - (size_t)(mark - value) - 3);
    return true;
}

static const char *struct_text(struct sql_parser *p, const char *const *values, const struct sql_names *names,
                               bool named)
{
    struct buf out = BUF_INIT;
    buf_append_str(&out, named ? "struct_pack(" : "row(");
    for (size_t i = 0; i < names->count; i++) {
        char fallback[24];
        int n = snprintf(fallback, sizeof fallback, "_field_%zu", i + 1);
        buf_append_str(&out, i ? ", " : "");
        if (named) {
            duck_append_name(&out, names->names[i].len ? names->names[i] : slice_of(fallback, (size_t)n));
            buf_append_str(&out, " := ");
        }
        buf_append_str(&out, values[i]);
    }
    buf_append_char(&out, ')');
    return parser_keep(p, &out);
}

/* STRUCT(1 AS a, b); the word STRUCT is taken. Without any name it is a row, which is coerced by position; an element of an array
 * takes the names of the array's first element. */
static const char *parse_struct(struct sql_parser *p)
{
    const struct sql_names *inherit = p->inherit;
    struct sql_names *names = arena_zalloc(p->arena, sizeof *names);
    const char *values[STRUCT_MAX_FIELDS];
    struct slice found[STRUCT_MAX_FIELDS];
    bool named = false;
    p->inherit = NULL;
    if (!parser_expect_op(p, "("))
        return NULL;
    while (!(names->count == 0 && parser_at_op(p, ")"))) {
        size_t i = names->count++;
        if (i == STRUCT_MAX_FIELDS - 1) {
            parser_fail(p, parser_peek(p, 0)->offset, "Too many fields in STRUCT");
            return NULL;
        }
        values[i] = parse_expr(p);
        if (!values[i] || !struct_field_name(p, values[i], &found[i]))
            return NULL;
        if (inherit && i < inherit->count)
            found[i] = inherit->names[i];
        named = named || found[i].len > 0;
        if (!parser_accept_op(p, ","))
            break;
    }
    names->names = arena_alloc(p->arena, (names->count + 1) * sizeof found[0]);
    if (names->count > 0)
        memcpy(names->names, found, names->count * sizeof found[0]);
    p->last_struct = named ? names : NULL;
    return parser_expect_op(p, ")") ? struct_text(p, values, names, named) : NULL;
}

/* Elements of an array literal up to "]", which is taken; NULL on failure. */
static const char *parse_elements(struct sql_parser *p)
{
    struct buf out = BUF_INIT;
    const struct sql_names *names = NULL;
    size_t count = 0;
    bool ok = true;
    while (ok && !(count == 0 && parser_at_op(p, "]"))) {
        bool is_struct = parser_at_word(p, "STRUCT") && parser_at_op_n(p, 1, "(");
        p->inherit = is_struct ? names : NULL;
        const char *item = parse_expr(p);
        p->inherit = NULL;
        ok = item != NULL;
        if (ok && is_struct && count == 0)
            names = p->last_struct;
        buf_printf(&out, "%s%s", count++ ? ", " : "", ok ? item : "");
        if (!parser_accept_op(p, ","))
            break;
    }
    const char *text = parser_keep(p, &out);
    return ok && parser_expect_op(p, "]") ? text : NULL;
}

static const char *parse_typed_constructor(struct sql_parser *p)
{
    bool is_array = parser_at_word(p, "ARRAY");
    const char *type = parse_type(p, NULL);
    if (!type)
        return NULL;
    if (is_array) {
        if (!parser_expect_op(p, "["))
            return NULL;
        const char *items = parse_elements(p);
        return items ? parser_text(p, "CAST([%s] AS %s)", items, type) : NULL;
    }
    if (!parser_expect_op(p, "("))
        return NULL;
    const char *items = parse_expr_list(p, NULL);
    return items && parser_expect_op(p, ")") ? parser_text(p, "CAST(row(%s) AS %s)", items, type) : NULL;
}

static const char *parse_array(struct sql_parser *p)
{
    if (parser_at_op_n(p, 1, "<"))
        return parse_typed_constructor(p);
    parser_take(p);
    if (parser_accept_op(p, "(")) {
        const char *query = parse_query(p);
        return query && parser_expect_op(p, ")") ? parser_text(p, "ARRAY(%s)", query) : NULL;
    }
    if (!parser_expect_op(p, "["))
        return NULL;
    const char *items = parse_elements(p);
    return items ? parser_text(p, "[%s]", items) : NULL;
}

static const char *parse_exists(struct sql_parser *p)
{
    if (!parser_expect_op(p, "("))
        return NULL;
    const char *query = parse_query(p);
    return query && parser_expect_op(p, ")") ? parser_text(p, "EXISTS (%s)", query) : NULL;
}

/* "(": a subquery, a row (tuple) or a parenthesized expression. */
static const char *parse_parenthesis(struct sql_parser *p)
{
    parser_take(p);
    size_t ahead = 0;
    while (ahead + 1 < PARSER_AHEAD && parser_at_op_n(p, ahead, "("))
        ahead++;
    if (parser_at_word_n(p, ahead, "SELECT") || parser_at_word_n(p, ahead, "WITH")) {
        const char *query = parse_query(p);
        return query && parser_expect_op(p, ")") ? parser_text(p, "(%s)", query) : NULL;
    }
    size_t count;
    const char *list = parse_expr_list(p, &count);
    if (!list || !parser_expect_op(p, ")"))
        return NULL;
    return parser_text(p, count > 1 ? "row(%s)" : "(%s)", list);
}

static const char *parse_interval(struct sql_parser *p)
{
    static const char *const PARTS[][2] = {{"MICROSECOND", "to_microseconds"},
                                           {"MILLISECOND", "to_milliseconds"},
                                           {"SECOND", "to_seconds"},
                                           {"MINUTE", "to_minutes"},
                                           {"HOUR", "to_hours"},
                                           {"DAY", "to_days"},
                                           {"WEEK", "to_weeks"},
                                           {"MONTH", "to_months"},
                                           {"QUARTER", "to_quarters"},
                                           {"YEAR", "to_years"}};
    const char *count = parse_unary(p);
    for (size_t i = 0; count && i < sizeof PARTS / sizeof PARTS[0]; i++)
        if (parser_accept_word(p, PARTS[i][0]))
            return parser_text(p, "%s(CAST(%s AS INTEGER))", PARTS[i][1], count);
    if (count)
        parser_unexpected(p);
    return NULL;
}

/* A name, with its dots, as a column path. */
static const char *parse_name_path(struct sql_parser *p)
{
    struct buf out = BUF_INIT;
    parser_append_mark(&out, parser_peek(p, 0)->offset);
    duck_append_name(&out, parser_peek(p, 0)->value);
    parser_take(p);
    while (parser_at_op(p, ".") && !parser_at_op_n(p, 1, "*")) {
        parser_take(p);
        const struct sql_token *token = parser_peek(p, 0);
        if (token->kind != SQL_WORD && token->kind != SQL_QUOTED) {
            parser_unexpected(p);
            break;
        }
        buf_append_char(&out, '.');
        parser_append_mark(&out, token->offset);
        duck_append_name(&out, token->value);
        parser_take(p);
    }
    return parser_keep(p, &out);
}

static const char *parse_keyword(struct sql_parser *p)
{
    static const char *const CONSTANTS[] = {"NULL", "TRUE", "FALSE"};
    size_t offset = parser_peek(p, 0)->offset;
    for (size_t i = 0; i < 3; i++)
        if (parser_accept_word(p, CONSTANTS[i]))
            return CONSTANTS[i];
    if (parser_accept_word(p, "CASE"))
        return parse_case(p);
    if (parser_accept_word(p, "CAST"))
        return parse_cast(p, "CAST", offset);
    if (parser_at_word(p, "SAFE_CAST") && parser_at_op_n(p, 1, "(")) {
        parser_take(p);
        return parse_cast(p, "TRY_CAST", offset);
    }
    if (parser_at_word(p, "ARRAY"))
        return parse_array(p);
    if (parser_at_word(p, "STRUCT")) {
        if (parser_at_op_n(p, 1, "<"))
            return parse_typed_constructor(p);
        parser_take(p);
        return parse_struct(p);
    }
    if (parser_accept_word(p, "EXISTS"))
        return parse_exists(p);
    if (parser_accept_word(p, "INTERVAL"))
        return parse_interval(p);
    static const char *const CALLS[] = {"IF", "EXTRACT", "LEFT", "RIGHT"};
    for (size_t i = 0; i < sizeof CALLS / sizeof CALLS[0]; i++)
        if (parser_at_word(p, CALLS[i]) && parser_at_op_n(p, 1, "("))
            return parse_call(p, /* safe */ false);
    parser_unexpected(p);
    return NULL;
}

static const char *parse_word(struct sql_parser *p)
{
    const char *typed = typed_literal(p);
    if (typed)
        return typed;
    if (parser_at_op_n(p, 1, "(") && !sql_is_reserved(parser_peek(p, 0)->text) && !parser_at_word(p, "SAFE_CAST"))
        return parse_call(p, /* safe */ false);
    if (parser_at_word(p, "SAFE") && parser_at_op_n(p, 1, ".") && parser_at_op_n(p, 3, "(")) {
        parser_take(p);
        parser_take(p);
        return parse_call(p, /* safe */ true);
    }
    static const char *const BARE[] = {"CURRENT_TIMESTAMP", "CURRENT_DATE", "CURRENT_DATETIME", "CURRENT_TIME"};
    for (size_t i = 0; i < sizeof BARE / sizeof BARE[0]; i++)
        if (parser_at_word(p, BARE[i]) && !parser_at_op_n(p, 1, "."))
            return parse_call(p, /* safe */ false);
    if (sql_is_reserved(parser_peek(p, 0)->text) || parser_at_word(p, "SAFE_CAST"))
        return parse_keyword(p);
    return parse_name_path(p);
}

static const char *parse_primary(struct sql_parser *p)
{
    const struct sql_token *token = parser_peek(p, 0);
    switch (token->kind) {
    case SQL_INT:
        return integer_literal(p, /* negative */ false);
    case SQL_FLOAT:
        return float_literal(p);
    case SQL_STRING:
        return string_literal(p);
    case SQL_BYTES:
        return bytes_literal(p);
    case SQL_PARAM:
    case SQL_POSITIONAL:
        return parse_param(p);
    case SQL_QUOTED:
        return parse_name_path(p);
    case SQL_WORD:
        return parse_word(p);
    default:
        break;
    }
    if (parser_at_op(p, "("))
        return parse_parenthesis(p);
    if (parser_accept_op(p, "[")) {
        const char *items = parse_elements(p);
        return items ? parser_text(p, "[%s]", items) : NULL;
    }
    parser_unexpected(p);
    return NULL;
}

/* ---- postfix ---- */

/* [OFFSET(i)] and its family; '[' is taken. */
static const char *parse_subscript(struct sql_parser *p, const char *array, size_t offset)
{
    static const char *const ROWS[][2] = {{"OFFSET", "bq_offset"},
                                          {"ORDINAL", "bq_ordinal"},
                                          {"SAFE_OFFSET", "safe_offset"},
                                          {"SAFE_ORDINAL", "safe_ordinal"}};
    const char *kind = "bq_offset";
    bool named = false;
    for (size_t i = 0; i < 4 && !named; i++) {
        if (parser_at_word(p, ROWS[i][0]) && parser_at_op_n(p, 1, "(")) {
            kind = ROWS[i][1];
            named = true;
            parser_take(p);
            parser_take(p);
        }
    }
    bool is_text = parser_peek(p, 0)->kind == SQL_STRING;
    const char *index = parse_expr(p);
    if (!index || (named && !parser_expect_op(p, ")")) || !parser_expect_op(p, "]"))
        return NULL;
    if (is_text && !named)
        return parser_text(p, "(%s -> %s)", array, index);
    bool ordinal = strstr(kind, "ordinal") != NULL;
    if (kind[0] == 's')
        return parser_text(p, "(CASE WHEN %s >= %d THEN (%s)[%s%s] END)", index, ordinal, array, index,
                           ordinal ? "" : " + 1");
    return parser_text(p, "(%s)[\001%zu\002bq_index(%s, len(%s), %d)]", array, offset, index, array, ordinal);
}

static const char *parse_postfix(struct sql_parser *p)
{
    const char *text = parse_primary(p);
    while (text) {
        size_t offset = parser_peek(p, 0)->offset;
        if (parser_at_op(p, ".") && !parser_at_op_n(p, 1, "*")) {
            parser_take(p);
            const struct sql_token *token = parser_peek(p, 0);
            if (token->kind != SQL_WORD && token->kind != SQL_QUOTED) {
                parser_unexpected(p);
                return NULL;
            }
            text = parser_text(p, "(%s).%s", text, parser_quoted(p, token->value, token->offset));
            parser_take(p);
        } else if (parser_accept_op(p, "[")) {
            text = parse_subscript(p, text, offset);
        } else {
            break;
        }
    }
    return text;
}

static const char *parse_unary(struct sql_parser *p)
{
    if (parser_at_op(p, "-") && parser_peek(p, 1)->kind == SQL_INT) {
        parser_take(p);
        return integer_literal(p, /* negative */ true);
    }
    static const char *const OPS[] = {"-", "+", "~"};
    for (size_t i = 0; i < 3; i++) {
        if (!parser_accept_op(p, OPS[i]))
            continue;
        if (!parser_enter(p))
            return NULL;
        const char *inner = parse_unary(p);
        parser_leave(p);
        return inner ? parser_text(p, "(%s %s)", OPS[i], inner) : NULL;
    }
    return parse_postfix(p);
}
