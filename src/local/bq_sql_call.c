/* bq_sql_call.c - function calls: arguments with a syntax of their own (date parts, STAR, INTERVAL), aggregates with
 * DISTINCT, ORDER BY and LIMIT, windows, and the table of plain functions. */
#include "bq_sql_functions.h"
#include "bq_sql_parser.h"

#include <stdio.h>

#include "base/timestamp.h"

enum { CALL_MAX_ARGS = 1000 };

struct call {
    struct slice name;
    size_t offset;
    const char **args;
    size_t count, cap;
    bool is_star, distinct, ignore_nulls, respect_nulls;
    const char *order; /* ORDER BY list or NULL */
    const char *limit;
};

/* ---- date parts ---- */

struct part_row {
    const char *name, *duck;
    int64_t micros;   /* of parts with a fixed length up to DAY; 0 = none */
    const char *step; /* interval maker for the others */
};

static const struct part_row PARTS[] = {
    {"MICROSECOND", "microsecond", 1, "to_microseconds"},
    {"MILLISECOND", "millisecond", 1000, NULL},
    {"SECOND", "second", 1000000, NULL},
    {"MINUTE", "minute", 60000000LL, NULL},
    {"HOUR", "hour", 3600000000LL, NULL},
    {"DAY", "day", 86400000000LL, "to_days"},
    {"WEEK", "week", 0, "to_weeks"},
    {"ISOWEEK", "week", 0, NULL},
    {"MONTH", "month", 0, "to_months"},
    {"QUARTER", "quarter", 0, "to_quarters"},
    {"YEAR", "year", 0, "to_years"},
    {"ISOYEAR", "isoyear", 0, NULL},
};

static const struct part_row *parse_part(struct sql_parser *p)
{
    for (size_t i = 0; i < sizeof PARTS / sizeof PARTS[0]; i++)
        if (parser_accept_word(p, PARTS[i].name))
            return &PARTS[i];
    const struct sql_token *token = parser_peek(p, 0);
    parser_fail(p, token->offset, "A valid date part name is required but found %.*s", SLICE_ARG(token->text));
    return NULL;
}

/* (x, INTERVAL n PART) of *_ADD and *_SUB */
static const char *call_add(struct sql_parser *p, const char *type, const char *sign)
{
    const char *value = parse_expr(p);
    if (!value || !parser_expect_op(p, ",") || !parser_expect_word(p, "INTERVAL"))
        return NULL;
    size_t offset = parser_peek(p, 0)->offset;
    const char *count = parse_expr(p);
    const struct part_row *part = count ? parse_part(p) : NULL;
    if (!part || !parser_expect_op(p, ")"))
        return NULL;
    bool is_timestamp = strcmp(type, "TIMESTAMPTZ") == 0, is_date = strcmp(type, "DATE") == 0;
    bool calendar = part->step && part->micros != 1;
    if ((is_timestamp && part->micros == 0) || (is_date && !calendar) || (!part->micros && !part->step)) {
        parser_fail(p, offset, "%s does not support the %s date part",
                    is_timestamp ? "TIMESTAMP_ADD"
                    : is_date    ? "DATE_ADD"
                                 : "DATETIME_ADD",
                    part->name);
        return NULL;
    }
    if (part->micros && !is_date)
        return parser_text(p, "(CAST(%s AS %s) %s to_microseconds((%s) * %lld))", value, type, sign, count,
                           (long long)part->micros);
    return parser_text(p, "CAST(CAST(%s AS %s) %s %s(CAST(%s AS INTEGER)) AS %s)", value, type, sign, part->step, count,
                       type);
}

static const char *call_timestamp_add(struct sql_parser *p)
{
    return call_add(p, "TIMESTAMPTZ", "+");
}
static const char *call_timestamp_sub(struct sql_parser *p)
{
    return call_add(p, "TIMESTAMPTZ", "-");
}
static const char *call_date_add(struct sql_parser *p)
{
    return call_add(p, "DATE", "+");
}
static const char *call_date_sub(struct sql_parser *p)
{
    return call_add(p, "DATE", "-");
}
static const char *call_datetime_add(struct sql_parser *p)
{
    return call_add(p, "TIMESTAMP", "+");
}
static const char *call_datetime_sub(struct sql_parser *p)
{
    return call_add(p, "TIMESTAMP", "-");
}

/* (a, b, PART): the two values and the part, ")" taken. */
static const struct part_row *diff_arguments(struct sql_parser *p, const char **a, const char **b)
{
    *a = parse_expr(p);
    *b = *a && parser_expect_op(p, ",") ? parse_expr(p) : NULL;
    const struct part_row *part = *b && parser_expect_op(p, ",") ? parse_part(p) : NULL;
    return part && parser_expect_op(p, ")") ? part : NULL;
}

/* Whole units between two instants, towards zero. */
static const char *call_timestamp_diff(struct sql_parser *p)
{
    const char *a, *b;
    size_t offset = parser_peek(p, 0)->offset;
    const struct part_row *part = diff_arguments(p, &a, &b);
    if (part && part->micros)
        return parser_text(
            p, "((bq_to_units(CAST(%s AS TIMESTAMPTZ), 1) - bq_to_units(CAST(%s AS TIMESTAMPTZ), 1)) // %lld)", a, b,
            (long long)part->micros);
    if (part)
        parser_fail(p, offset, "TIMESTAMP_DIFF does not support the %s date part", part->name);
    return NULL;
}

/* Boundaries crossed; weeks begin on Sunday. */
static const char *civil_diff(struct sql_parser *p, const char *type)
{
    const char *a, *b;
    const struct part_row *part = diff_arguments(p, &a, &b);
    if (!part)
        return NULL;
    if (strcmp(part->duck, "week") == 0) { /* DuckDB counts spans of seven days, not boundaries */
        const char *shift = strcmp(part->name, "WEEK") == 0 ? " + to_days(1)" : "";
        return parser_text(
            p,
            "(date_diff('day', date_trunc('week', CAST(%s AS DATE)%s), date_trunc('week', CAST(%s AS DATE)%s)) // 7)",
            b, shift, a, shift);
    }
    return parser_text(p, "date_diff('%s', CAST(%s AS %s), CAST(%s AS %s))", part->duck, b, type, a, type);
}

static const char *call_date_diff(struct sql_parser *p)
{
    return civil_diff(p, "DATE");
}
static const char *call_datetime_diff(struct sql_parser *p)
{
    return civil_diff(p, "TIMESTAMP");
}

/* (x, PART [, zone]) */
static const char *call_trunc(struct sql_parser *p, const char *type)
{
    const char *value = parse_expr(p);
    const struct part_row *part = value && parser_expect_op(p, ",") ? parse_part(p) : NULL;
    if (!part)
        return NULL;
    if (parser_at_op(p, ",") && strcmp(type, "TIMESTAMPTZ") == 0) {
        parser_take(p);
        const char *zone = parse_expr(p);
        if (!zone || !parser_expect_op(p, ")"))
            return NULL;
        return parser_text(p, "timezone(%s, date_trunc('%s', timezone(%s, CAST(%s AS TIMESTAMPTZ))))", zone, part->duck,
                           zone, value);
    }
    if (!parser_expect_op(p, ")"))
        return NULL;
    bool week = strcmp(part->name, "WEEK") == 0;
    return parser_text(p, "CAST(date_trunc('%s', CAST(%s AS %s)%s)%s AS %s)", part->duck, value, type,
                       week ? " + to_days(1)" : "", week ? " - to_days(1)" : "", type);
}

static const char *call_timestamp_trunc(struct sql_parser *p)
{
    return call_trunc(p, "TIMESTAMPTZ");
}
static const char *call_date_trunc(struct sql_parser *p)
{
    return call_trunc(p, "DATE");
}
static const char *call_datetime_trunc(struct sql_parser *p)
{
    return call_trunc(p, "TIMESTAMP");
}

static const char *call_extract(struct sql_parser *p)
{
    static const char *const ROWS[][2] = {{"MICROSECOND", "(date_part('microsecond', $) %% 1000000)"},
                                          {"MILLISECOND", "(date_part('millisecond', $) %% 1000)"},
                                          {"SECOND", "date_part('second', $)"},
                                          {"MINUTE", "date_part('minute', $)"},
                                          {"HOUR", "date_part('hour', $)"},
                                          {"DAYOFWEEK", "(date_part('dow', $) + 1)"},
                                          {"DAY", "date_part('day', $)"},
                                          {"DAYOFYEAR", "date_part('doy', $)"},
                                          {"ISOWEEK", "date_part('week', $)"},
                                          {"WEEK", "CAST(strftime(CAST($ AS TIMESTAMP), '%%U') AS BIGINT)"},
                                          {"MONTH", "date_part('month', $)"},
                                          {"QUARTER", "date_part('quarter', $)"},
                                          {"ISOYEAR", "date_part('isoyear', $)"},
                                          {"YEAR", "date_part('year', $)"},
                                          {"DATE", "CAST($ AS DATE)"},
                                          {"TIME", "CAST($ AS TIME)"}};
    const char *template = NULL;
    for (size_t i = 0; !template && i < sizeof ROWS / sizeof ROWS[0]; i++)
        if (parser_accept_word(p, ROWS[i][0]))
            template = ROWS[i][1];
    if (!template) {
        parser_unexpected(p);
        return NULL;
    }
    const char *value = parser_expect_word(p, "FROM") ? parse_expr(p) : NULL;
    if (value && parser_accept_words(p, "AT", "TIME")) {
        const char *zone = parser_expect_word(p, "ZONE") ? parse_expr(p) : NULL;
        value = zone ? parser_text(p, "timezone(%s, %s)", zone, value) : NULL;
    }
    if (!value || !parser_expect_op(p, ")"))
        return NULL;
    struct buf out = BUF_INIT;
    for (const char *c = template; *c; c++) {
        if (*c == '$')
            buf_append_str(&out, value);
        else if (*c != '%' || c[1] != '%')
            buf_append_char(&out, *c);
    }
    return parser_keep(p, &out);
}

/* ---- others with a syntax of their own ---- */

static const char *now_text(struct sql_parser *p, const char *duck_type)
{
    char text[TIMESTAMP_TEXT_SIZE];
    if (p->in_default)
        return parser_text(p, "CAST(bq_now() AS %s)", duck_type);
    timestamp_text(text, p->ctx->now_us, 6);
    return parser_text(p, "CAST(CAST('%s' AS TIMESTAMPTZ) AS %s)", text, duck_type);
}

/* CURRENT_*(), the parentheses being optional; "(" is not taken. */
static const char *call_current(struct sql_parser *p, struct slice name)
{
    static const char *const ROWS[][2] = {{"CURRENT_TIMESTAMP", "TIMESTAMPTZ"},
                                          {"CURRENT_DATE", "DATE"},
                                          {"CURRENT_DATETIME", "TIMESTAMP"},
                                          {"CURRENT_TIME", "TIME"}};
    size_t row = 0;
    while (row < 4 && !slice_eq_nocase(name, slice_str(ROWS[row][0])))
        row++;
    if (row == 4) {
        parser_fail(p, p->last_end - name.len, "Function not found: %.*s", SLICE_ARG(name));
        return NULL;
    }
    if (parser_accept_op(p, "(") && !parser_accept_op(p, ")")) {
        const char *zone = parse_expr(p);
        if (!zone || !parser_expect_op(p, ")"))
            return NULL;
        return parser_text(p, "CAST(timezone(%s, %s) AS %s)", zone, now_text(p, "TIMESTAMPTZ"), ROWS[row][1]);
    }
    return now_text(p, ROWS[row][1]);
}

/* NULL when any argument is NULL, as BigQuery has it. */
static const char *call_extreme(struct sql_parser *p, const char *duck)
{
    struct buf nulls = BUF_INIT, all = BUF_INIT;
    size_t count = 0;
    bool ok = true;
    do {
        const char *arg = parse_expr(p);
        ok = arg != NULL;
        if (ok) {
            buf_printf(&nulls, "%s(%s) IS NULL", count ? " OR " : "", arg);
            buf_printf(&all, "%s%s", count++ ? ", " : "", arg);
        }
    } while (ok && parser_accept_op(p, ","));
    const char *text = ok && parser_expect_op(p, ")") ? parser_text(p, "(CASE WHEN %s THEN NULL ELSE %s(%s) END)",
                                                                    buf_cstr(&nulls), duck, buf_cstr(&all))
                                                      : NULL;
    buf_release(&nulls);
    buf_release(&all);
    return text;
}

static const char *call_greatest(struct sql_parser *p)
{
    return call_extreme(p, "greatest");
}
static const char *call_least(struct sql_parser *p)
{
    return call_extreme(p, "least");
}

/* Whether a literal pattern has a capturing group. */
static bool has_group(struct slice pattern)
{
    for (size_t i = 0; i < pattern.len; i++) {
        if (pattern.ptr[i] == '\\')
            i++;
        else if (pattern.ptr[i] == '(' && (i + 1 >= pattern.len || pattern.ptr[i + 1] != '?'))
            return true;
    }
    return false;
}

static const char *call_regexp_extract(struct sql_parser *p, bool all)
{
    const char *value = parse_expr(p);
    if (!value || !parser_expect_op(p, ","))
        return NULL;
    const struct sql_token *token = parser_peek(p, 0);
    if (token->kind != SQL_STRING) {
        parser_fail(p, token->offset, "This server takes only a literal as the regular expression of REGEXP_EXTRACT");
        return NULL;
    }
    int group = has_group(token->value);
    const char *pattern = parse_expr(p);
    if (!pattern || !parser_expect_op(p, ")"))
        return NULL;
    if (all)
        return parser_text(p, "regexp_extract_all(%s, %s, %d)", value, pattern, group);
    return parser_text(p, "(CASE WHEN regexp_matches(%s, %s) THEN regexp_extract(%s, %s, %d) END)", value, pattern,
                       value, pattern, group);
}

static const char *call_regexp_one(struct sql_parser *p)
{
    return call_regexp_extract(p, false);
}
static const char *call_regexp_all(struct sql_parser *p)
{
    return call_regexp_extract(p, true);
}

static const char *call_generate_dates(struct sql_parser *p)
{
    const char *from = parse_expr(p);
    const char *to = from && parser_expect_op(p, ",") ? parse_expr(p) : NULL;
    const char *step = to ? "to_days(1)" : NULL;
    if (step && parser_accept_op(p, ","))
        step = parse_expr(p);
    if (!step || !parser_expect_op(p, ")"))
        return NULL;
    return parser_text(p, "CAST(generate_series(CAST(%s AS DATE), CAST(%s AS DATE), %s) AS DATE[])", from, to, step);
}

/* One directive of FORMAT: returns its text for `arg`, or NULL. */
static const char *format_piece(struct sql_parser *p, struct slice spec, const char *arg, size_t offset)
{
    char conversion = spec.ptr[spec.len - 1];
    if (spec.len == 2 && strchr("st", conversion))
        return parser_text(p, "bq_string(%s)", arg);
    if (spec.len == 2 && conversion == 'T')
        return parser_text(p, "bq_to_json(%s)", arg);
    if (strchr("dioxX", conversion))
        return parser_text(p, "printf('%.*sd', CAST(%s AS BIGINT))", (int)spec.len - 1, spec.ptr, arg);
    if (strchr("feEgG", conversion))
        return parser_text(p, "printf('%.*s', CAST(%s AS DOUBLE))", SLICE_ARG(spec), arg);
    if (conversion == 's')
        return parser_text(p, "printf('%.*s', bq_string(%s))", SLICE_ARG(spec), arg);
    parser_fail(p, offset, "This server does not know the FORMAT specifier %.*s", SLICE_ARG(spec));
    return NULL;
}

static size_t spec_length(struct slice text)
{
    size_t n = 1;
    while (n < text.len && strchr("-+ #0123456789.", text.ptr[n]))
        n++;
    return n < text.len ? n + 1 : n;
}

/* FORMAT('literal', ...) becomes a concatenation. */
static const char *call_format(struct sql_parser *p)
{
    const struct sql_token *token = parser_peek(p, 0);
    size_t offset = token->offset;
    if (token->kind != SQL_STRING) {
        parser_fail(p, offset, "This server takes only a literal as the format of FORMAT");
        return NULL;
    }
    struct slice rest = token->value;
    struct buf out = BUF_INIT;
    bool ok = true;
    parser_take(p);
    buf_append_str(&out, "(''");
    while (ok && rest.len > 0) {
        const char *percent = memchr(rest.ptr, '%', rest.len);
        size_t plain = percent ? (size_t)(percent - rest.ptr) : rest.len;
        buf_printf(&out, " || %s", parser_string_literal(p, slice_of(rest.ptr, plain)));
        rest = slice_of(rest.ptr + plain, rest.len - plain);
        if (rest.len == 0)
            break;
        size_t n = spec_length(rest);
        struct slice spec = slice_of(rest.ptr, n);
        rest = slice_of(rest.ptr + n, rest.len - n);
        if (slice_eq_str(spec, "%%")) {
            buf_append_str(&out, " || '%'");
            continue;
        }
        const char *arg = n >= 2 && parser_expect_op(p, ",") ? parse_expr(p) : NULL;
        const char *piece = arg ? format_piece(p, spec, arg, offset) : NULL;
        ok = piece != NULL;
        if (ok)
            buf_printf(&out, " || %s", piece);
    }
    buf_append_char(&out, ')');
    const char *text = parser_keep(p, &out);
    return ok && !p->failed && parser_expect_op(p, ")") ? text : NULL;
}

static const struct special_row {
    const char *name;
    const char *(*parse)(struct sql_parser *p); /* "(" is taken; takes ")" */
} SPECIALS[] = {
    {"TIMESTAMP_ADD", call_timestamp_add},
    {"TIMESTAMP_SUB", call_timestamp_sub},
    {"DATE_ADD", call_date_add},
    {"DATE_SUB", call_date_sub},
    {"DATETIME_ADD", call_datetime_add},
    {"DATETIME_SUB", call_datetime_sub},
    {"TIMESTAMP_DIFF", call_timestamp_diff},
    {"DATE_DIFF", call_date_diff},
    {"DATETIME_DIFF", call_datetime_diff},
    {"TIMESTAMP_TRUNC", call_timestamp_trunc},
    {"DATE_TRUNC", call_date_trunc},
    {"DATETIME_TRUNC", call_datetime_trunc},
    {"EXTRACT", call_extract},
    {"GREATEST", call_greatest},
    {"LEAST", call_least},
    {"REGEXP_EXTRACT", call_regexp_one},
    {"REGEXP_SUBSTR", call_regexp_one},
    {"REGEXP_EXTRACT_ALL", call_regexp_all},
    {"GENERATE_DATE_ARRAY", call_generate_dates},
    {"FORMAT", call_format},
};

/* ---- windows ---- */

static bool frame_bound(struct sql_parser *p, struct buf *out)
{
    if (parser_accept_words(p, "CURRENT", "ROW")) {
        buf_append_str(out, "CURRENT ROW");
        return true;
    }
    if (parser_accept_word(p, "UNBOUNDED")) {
        buf_append_str(out, "UNBOUNDED");
    } else {
        const char *n = parse_expr(p);
        if (!n)
            return false;
        buf_append_str(out, n);
    }
    if (parser_accept_word(p, "PRECEDING"))
        buf_append_str(out, " PRECEDING");
    else if (parser_accept_word(p, "FOLLOWING"))
        buf_append_str(out, " FOLLOWING");
    else
        return parser_unexpected(p);
    return true;
}

static bool window_frame(struct sql_parser *p, struct buf *out)
{
    if (!parser_at_word(p, "ROWS") && !parser_at_word(p, "RANGE"))
        return true;
    buf_append_str(out, parser_at_word(p, "ROWS") ? " ROWS " : " RANGE ");
    parser_take(p);
    if (!parser_accept_word(p, "BETWEEN"))
        return frame_bound(p, out);
    buf_append_str(out, "BETWEEN ");
    if (!frame_bound(p, out) || !parser_expect_word(p, "AND"))
        return false;
    buf_append_str(out, " AND ");
    return frame_bound(p, out);
}

/* Behind "(": [name] [PARTITION BY] [ORDER BY] [frame] ")" */
static bool window_spec(struct sql_parser *p, struct buf *out)
{
    struct slice base;
    buf_append_char(out, '(');
    if (parser_at_name(p)) {
        if (!parser_name(p, &base))
            return false;
        duck_append_name(out, base);
    }
    if (parser_accept_words(p, "PARTITION", "BY")) {
        const char *list = parse_expr_list(p, NULL);
        if (!list)
            return false;
        buf_printf(out, " PARTITION BY %s", list);
    }
    if (parser_accept_words(p, "ORDER", "BY")) {
        const char *list = parse_order_list(p);
        if (!list)
            return false;
        buf_printf(out, " ORDER BY %s", list);
    }
    bool ok = window_frame(p, out) && parser_expect_op(p, ")");
    buf_append_char(out, ')');
    return ok;
}

/* OVER name | OVER (...): " OVER ..."; "" when there is none. */
static const char *parse_over(struct sql_parser *p)
{
    if (!parser_accept_word(p, "OVER"))
        return "";
    struct buf out = BUF_INIT;
    struct slice name;
    bool ok;
    buf_append_str(&out, " OVER ");
    if (parser_accept_op(p, "(")) {
        ok = window_spec(p, &out);
    } else {
        ok = parser_name(p, &name);
        if (ok)
            duck_append_name(&out, name);
    }
    const char *text = parser_keep(p, &out);
    return ok ? text : NULL;
}

/* ---- plain calls and aggregates ---- */

static void add_argument(struct sql_parser *p, struct call *call, const char *arg)
{
    if (call->count == call->cap) {
        size_t cap = call->cap ? call->cap * 2 : 4;
        const char **more = arena_alloc(p->arena, cap * sizeof more[0]);
        if (call->count > 0)
            memcpy(more, call->args, call->count * sizeof more[0]);
        call->args = more;
        call->cap = cap;
    }
    call->args[call->count++] = arg;
}

static bool parse_arguments(struct sql_parser *p, struct call *call)
{
    call->distinct = parser_accept_word(p, "DISTINCT");
    if (parser_at_op(p, "*") && parser_at_op_n(p, 1, ")")) {
        parser_take(p);
        call->is_star = true;
    }
    while (!call->is_star && !(call->count == 0 && parser_at_op(p, ")"))) {
        if (call->count == CALL_MAX_ARGS)
            return parser_fail(p, call->offset, "Too many arguments");
        const char *arg = parse_expr(p);
        if (!arg)
            return false;
        add_argument(p, call, arg);
        if (!parser_accept_op(p, ","))
            break;
    }
    call->ignore_nulls = parser_accept_words(p, "IGNORE", "NULLS");
    call->respect_nulls = !call->ignore_nulls && parser_accept_words(p, "RESPECT", "NULLS");
    if (parser_accept_words(p, "ORDER", "BY") && !(call->order = parse_order_list(p)))
        return false;
    if (parser_accept_word(p, "LIMIT") && !(call->limit = parse_expr(p)))
        return false;
    return parser_expect_op(p, ")");
}

static void append_arguments(const struct call *call, struct buf *out, const char *separator)
{
    for (size_t i = 0; i < call->count; i++)
        buf_printf(out, "%s%s", i ? separator : "", call->args[i]);
}

static const char *expand(struct sql_parser *p, const struct call *call, const char *template)
{
    struct buf out = BUF_INIT;
    parser_append_mark(&out, call->offset);
    for (const char *c = template; *c; c++) {
        if (*c != '$' || !c[1] || c[1] == '\'') {
            buf_append_char(&out, *c);
        } else if (*++c == '*') {
            append_arguments(call, &out, ", ");
        } else if (*c == '|') {
            append_arguments(call, &out, " || ");
        } else {
            buf_append_str(&out, call->args[*c - '1']);
        }
    }
    return parser_keep(p, &out);
}

static const char *aggregate_text(struct sql_parser *p, const struct call *call, const char *duck, const char *over)
{
    struct buf out = BUF_INIT;
    buf_printf(&out, "\001%zu\002%s(%s", call->offset, duck, call->distinct ? "DISTINCT " : "");
    append_arguments(call, &out, ", ");
    buf_append_str(&out, call->is_star ? "*" : "");
    buf_append_str(&out, call->ignore_nulls && *over && strcmp(duck, "list") != 0 ? " IGNORE NULLS" : "");
    if (call->order)
        buf_printf(&out, " ORDER BY %s", call->order);
    buf_append_char(&out, ')');
    if (call->ignore_nulls && strcmp(duck, "list") == 0)
        buf_printf(&out, " FILTER (WHERE (%s) IS NOT NULL)", call->args[0]);
    buf_append_str(&out, over);
    return parser_keep(p, &out);
}

static const char *aggregate(struct sql_parser *p, struct call *call, const struct function_row *row, const char *over)
{
    if (slice_eq_nocase(call->name, SLICE_LIT("AVG")))
        return parser_text(p, "bq_average(%s, %s)", aggregate_text(p, call, "sum", over),
                           aggregate_text(p, call, "count", over));
    if (slice_eq_nocase(call->name, SLICE_LIT("STRING_AGG")) && call->count == 1)
        add_argument(p, call, "','");
    const char *text = aggregate_text(p, call, row->template, over);
    if (slice_eq_nocase(call->name, SLICE_LIT("ARRAY_CONCAT_AGG")))
        text = parser_text(p, "flatten(%s)", text);
    if (call->limit && strcmp(row->template, "list") == 0)
        return parser_text(p, "list_slice(%s, 1, %s)", text, call->limit);
    if (call->limit) {
        parser_fail(p, call->offset, "This server takes LIMIT in ARRAY_AGG only");
        return NULL;
    }
    return text;
}

static const char *check_modifiers(struct sql_parser *p, const struct call *call, const struct function_row *row,
                                   const char *over)
{
    if (row->kind == FUNCTION_WINDOW && !*over)
        parser_fail(p, call->offset, "Analytic function %s cannot be called without an OVER clause", row->name);
    if (row->kind == FUNCTION_SCALAR && *over)
        parser_fail(p, call->offset, "Scalar function %s cannot be called with an OVER clause", row->name);
    if (row->kind == FUNCTION_SCALAR && (call->distinct || call->order || call->limit || call->is_star))
        parser_fail(p, call->offset, "Syntax error: %s takes no DISTINCT, ORDER BY, LIMIT or *", row->name);
    if (call->is_star && !slice_eq_nocase(call->name, SLICE_LIT("COUNT")))
        parser_fail(p, call->offset, "Argument * can only be used in COUNT(*)");
    return p->failed ? NULL : over;
}

static const char *plain_call(struct sql_parser *p, struct call *call)
{
    if (!parse_arguments(p, call))
        return NULL;
    const struct function_row *row = function_find(call->name, call->is_star ? 1 : (int)call->count);
    if (!row) {
        const struct function_row *other = function_find(call->name, -1);
        parser_fail(p, call->offset,
                    other ? "No matching signature for function %.*s with %d arguments" : "Function not found: %.*s",
                    SLICE_ARG(call->name), (int)call->count);
        return NULL;
    }
    if (row->kind == FUNCTION_REFUSED) {
        parser_fail(p, call->offset, "Function %s is not supported by this server", row->name);
        return NULL;
    }
    const char *over = parse_over(p);
    if (!over || !check_modifiers(p, call, row, over))
        return NULL;
    if (row->kind == FUNCTION_SCALAR)
        return expand(p, call, row->template);
    return aggregate(p, call, row, over);
}

static const char *named_call(struct sql_parser *p, struct call *call)
{
    parser_take(p);
    if (call->name.len > 8 && slice_eq_nocase(slice_of(call->name.ptr, 8), SLICE_LIT("CURRENT_")))
        return call_current(p, call->name);
    parser_take(p);
    for (size_t i = 0; i < sizeof SPECIALS / sizeof SPECIALS[0]; i++) {
        if (!slice_eq_nocase(call->name, slice_str(SPECIALS[i].name)))
            continue;
        const char *text = SPECIALS[i].parse(p);
        return text ? parser_text(p, "\001%zu\002%s", call->offset, text) : NULL;
    }
    return plain_call(p, call);
}

const char *parse_call(struct sql_parser *p, bool safe)
{
    const struct sql_token *token = parser_peek(p, 0);
    struct call *call = arena_zalloc(p->arena, sizeof *call);
    call->name = token->value;
    call->offset = token->offset;
    if (!parser_enter(p))
        return NULL;
    const char *text = named_call(p, call);
    parser_leave(p);
    return text && safe ? parser_text(p, "TRY(%s)", text) : text;
}
