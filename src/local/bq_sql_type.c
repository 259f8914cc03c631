/* bq_sql_type.c - types in statements, and query parameters.
 *
 * Parameters become typed literals: exact, quoted by us, and constants for DuckDB's planner. */
#include "bq_sql_parser.h"

#include <stdio.h>

#include "base/timestamp.h"

/* ---- types ---- */

static void set_member(struct json_object *field, const char *name, const char *value)
{
    if (field)
        json_object_object_add(field, name, json_object_new_string(value));
}

static const char *parse_type_inner(struct sql_parser *p, struct json_object *field);

/* Behind STRUCT<: [name] type [OPTIONS..] {, ...} > */
static const char *parse_struct_type(struct sql_parser *p, struct json_object *field)
{
    struct buf out = BUF_INIT;
    struct json_object *fields = json_object_new_array();
    size_t count = 0;
    bool ok = true;
    buf_append_str(&out, "STRUCT(");
    do {
        struct json_object *child = json_object_new_object();
        char fallback[24];
        struct slice name = slice_of(fallback, (size_t)snprintf(fallback, sizeof fallback, "_field_%zu", count + 1));
        json_object_array_add(fields, child);
        if (parser_peek(p, 1)->kind == SQL_WORD || parser_peek(p, 1)->kind == SQL_QUOTED)
            ok = parser_name(p, &name);
        json_object_object_add(child, "name", json_object_new_string_len(name.ptr, (int)name.len));
        const char *type = ok ? parse_type_inner(p, child) : NULL;
        ok = type != NULL;
        buf_append_str(&out, count++ ? ", " : "");
        duck_append_name(&out, name);
        buf_printf(&out, " %s", ok ? type : "");
        if (ok && parser_accept_words(p, "NOT", "NULL"))
            set_member(child, "mode", "REQUIRED");
    } while (ok && parser_accept_op(p, ","));
    buf_append_char(&out, ')');
    if (field)
        json_object_object_add(field, "fields", json_object_get(fields));
    json_object_put(fields);
    const char *text = parser_keep(p, &out);
    return ok ? text : NULL;
}

/* '>' also as the first half of '>>'. */
static bool expect_close(struct sql_parser *p)
{
    if (parser_at_op(p, ">>")) {
        p->ahead[0].offset++;
        p->ahead[0].text = p->ahead[0].value = slice_of(p->ahead[0].text.ptr + 1, 1);
        return true;
    }
    return parser_expect_op(p, ">");
}

static const char *parse_array_type(struct sql_parser *p, struct json_object *field, size_t offset)
{
    if (field && json_object_object_get(field, "mode")) {
        parser_fail(p, offset, "Array of array types are not supported");
        return NULL;
    }
    set_member(field, "mode", "REPEATED");
    const char *element = parse_type_inner(p, field);
    return element && expect_close(p) ? parser_text(p, "%s[]", element) : NULL;
}

/* (n) or (p, s) behind a scalar type. */
static bool parse_type_arguments(struct sql_parser *p, struct json_object *field, enum engine_type type)
{
    static const char *const LENGTH[] = {"maxLength", NULL}, *const DECIMALS[] = {"precision", "scale"};
    const char *const *names = type == ENGINE_NUMERIC ? DECIMALS : LENGTH;
    if (!parser_accept_op(p, "("))
        return true;
    if (type != ENGINE_NUMERIC && type != ENGINE_STRING && type != ENGINE_BYTES)
        return parser_fail(p, p->last_end - 1, "%s does not support type parameters", type_standard_name(type));
    for (int i = 0; i < 2 && names[i]; i++) {
        if (parser_peek(p, 0)->kind != SQL_INT)
            return parser_expected(p, "integer literal");
        struct slice text = parser_peek(p, 0)->text;
        if (field)
            json_object_object_add(field, names[i], json_object_new_string_len(text.ptr, (int)text.len));
        parser_take(p);
        if (!parser_accept_op(p, ","))
            break;
    }
    return parser_expect_op(p, ")");
}

static const char *parse_scalar_type(struct sql_parser *p, struct json_object *field)
{
    struct sql_token token = *parser_peek(p, 0);
    enum engine_type type;
    bool known = false;
    if (token.kind != SQL_WORD) {
        parser_expected(p, "a type");
        return NULL;
    }
    if (!type_from_name(token.text, &type, &known) || type == ENGINE_STRUCT) {
        parser_fail(p, token.offset, known ? "Type %.*s is not supported by this server" : "Type not found: %.*s",
                    SLICE_ARG(token.text));
        return NULL;
    }
    parser_take(p);
    if (!parse_type_arguments(p, field, type))
        return NULL;
    set_member(field, "type", type_standard_name(type));
    struct engine_field scalar = {.type = type};
    struct buf out = BUF_INIT;
    type_append_duck(&out, &scalar);
    return parser_keep(p, &out);
}

static const char *parse_type_inner(struct sql_parser *p, struct json_object *field)
{
    size_t offset = parser_peek(p, 0)->offset;
    const char *text = NULL;
    if (!parser_enter(p))
        return NULL;
    if (parser_at_word(p, "ARRAY") && parser_at_op_n(p, 1, "<")) {
        parser_take(p);
        parser_take(p);
        text = parse_array_type(p, field, offset);
    } else if (parser_at_word(p, "STRUCT") && parser_at_op_n(p, 1, "<")) {
        parser_take(p);
        parser_take(p);
        set_member(field, "type", "STRUCT");
        text = parse_struct_type(p, field);
        text = text && expect_close(p) ? text : NULL;
    } else {
        text = parse_scalar_type(p, field);
    }
    parser_leave(p);
    return text;
}

const char *parse_type(struct sql_parser *p, struct json_object *field)
{
    return parse_type_inner(p, field);
}

/* ---- parameters ---- */

static bool append_param(struct sql_parser *p, struct buf *out, struct json_object *type, struct json_object *value,
                         size_t offset, int depth);

static bool bad_param(struct sql_parser *p, size_t offset, const char *type, const char *value)
{
    return parser_fail(p, offset, "Invalid value for parameter of type %s: %s", type, value);
}

static bool append_scalar(struct sql_parser *p, struct buf *out, const char *name, struct json_object *value,
                          size_t offset)
{
    enum engine_type type;
    bool known;
    if (!type_from_name(slice_str(name), &type, &known) || type == ENGINE_STRUCT)
        return parser_fail(p, offset, "Invalid or unsupported parameter type: %s", name);
    struct engine_field scalar = {.type = type};
    const char *text = json_text_at(value, "value", NULL);
    if (!text) {
        buf_append_str(out, "CAST(NULL AS ");
        type_append_duck(out, &scalar);
        buf_append_char(out, ')');
        return true;
    }
    int64_t number;
    if (type == ENGINE_INT64 && !slice_to_int64(slice_str(text), &number))
        return bad_param(p, offset, name, text);
    if (type == ENGINE_BOOL && strcasecmp(text, "true") != 0 && strcasecmp(text, "false") != 0)
        return bad_param(p, offset, name, text);
    if (type == ENGINE_TIMESTAMP && !timestamp_parse(slice_str(text), &number, NULL))
        return bad_param(p, offset, name, text);
    buf_append_str(out, type == ENGINE_BYTES ? "from_base64(" : "CAST(");
    duck_append_string(out, slice_str(text));
    if (type != ENGINE_BYTES) {
        buf_append_str(out, " AS ");
        type_append_duck(out, &scalar);
    }
    buf_append_char(out, ')');
    return true;
}

static bool append_struct(struct sql_parser *p, struct buf *out, struct json_object *type, struct json_object *value,
                          size_t offset, int depth)
{
    struct json_object *fields = json_at(type, "structTypes");
    struct json_object *values = json_at(value, "structValues");
    size_t count = fields ? json_object_array_length(fields) : 0;
    if (count == 0)
        return parser_fail(p, offset, "Invalid parameter of type STRUCT");
    buf_append_str(out, "struct_pack(");
    for (size_t i = 0; i < count; i++) {
        struct json_object *field = json_object_array_get_idx(fields, i);
        const char *name = json_text_at(field, "name", "");
        struct json_object *member = NULL;
        if (values)
            json_object_object_get_ex(values, name, &member);
        buf_append_str(out, i ? ", " : "");
        duck_append_name(out, slice_str(name));
        buf_append_str(out, " := ");
        if (!append_param(p, out, json_at(field, "type"), member, offset, depth + 1))
            return false;
    }
    buf_append_char(out, ')');
    return true;
}

static bool append_elements(struct sql_parser *p, struct buf *out, struct json_object *type, struct json_object *value,
                            size_t offset, int depth)
{
    struct json_object *values = json_at(value, "arrayValues");
    size_t count = values ? json_object_array_length(values) : 0;
    for (size_t i = 0; i < count; i++) {
        buf_append_str(out, i ? ", " : "");
        if (!append_param(p, out, json_at(type, "arrayType"), json_object_array_get_idx(values, i), offset, depth + 1))
            return false;
    }
    return true;
}

/* The DuckDB type of a REST QueryParameterType. */
static void append_param_type(struct buf *out, struct json_object *type, int depth)
{
    const char *name = json_text_at(type, "type", "STRING");
    enum engine_type scalar;
    bool known;
    struct json_object *fields = json_at(type, "structTypes");
    if (depth > SCHEMA_MAX_DEPTH)
        return;
    if (strcasecmp(name, "ARRAY") == 0) {
        append_param_type(out, json_at(type, "arrayType"), depth + 1);
        buf_append_str(out, "[]");
    } else if (fields) {
        buf_append_str(out, "STRUCT(");
        for (size_t i = 0; i < json_object_array_length(fields); i++) {
            struct json_object *field = json_object_array_get_idx(fields, i);
            buf_append_str(out, i ? ", " : "");
            duck_append_name(out, slice_str(json_text_at(field, "name", "")));
            buf_append_char(out, ' ');
            append_param_type(out, json_at(field, "type"), depth + 1);
        }
        buf_append_char(out, ')');
    } else if (type_from_name(slice_str(name), &scalar, &known) && scalar != ENGINE_STRUCT) {
        struct engine_field field = {.type = scalar};
        type_append_duck(out, &field);
    } else {
        buf_append_str(out, "VARCHAR");
    }
}

static bool append_param(struct sql_parser *p, struct buf *out, struct json_object *type, struct json_object *value,
                         size_t offset, int depth)
{
    const char *name = json_text_at(type, "type", NULL);
    if (!name || depth > SCHEMA_MAX_DEPTH)
        return parser_fail(p, offset, "Invalid query parameter: no type");
    if (strcasecmp(name, "STRUCT") == 0)
        return append_struct(p, out, type, value, offset, depth);
    if (strcasecmp(name, "ARRAY") != 0)
        return append_scalar(p, out, name, value, offset);
    buf_append_str(out, "CAST([");
    if (!append_elements(p, out, type, value, offset, depth))
        return false;
    buf_append_str(out, "] AS ");
    append_param_type(out, type, 0);
    buf_append_char(out, ')');
    return true;
}

/* The REST parameter that the token names; NULL and an error when there is none. */
static struct json_object *find_param(struct sql_parser *p, const struct sql_token *token)
{
    struct json_object *params = p->ctx->params;
    size_t count = params && json_object_is_type(params, json_type_array) ? json_object_array_length(params) : 0;
    if (token->kind == SQL_POSITIONAL) {
        if (p->ctx->positional && p->ctx->next_positional < count)
            return json_object_array_get_idx(params, p->ctx->next_positional);
        if (p->ctx->positional)
            parser_fail(p, token->offset, "Query parameter number %zu is not given", p->ctx->next_positional + 1);
        else
            parser_fail(p, token->offset, "Positional parameters are not supported");
        return NULL;
    }
    for (size_t i = 0; i < count && !p->ctx->positional; i++) {
        struct json_object *param = json_object_array_get_idx(params, i);
        if (slice_eq_nocase(slice_str(json_text_at(param, "name", "")), token->value))
            return param;
    }
    parser_fail(p, token->offset, "Query parameter '%.*s' not found", SLICE_ARG(token->value));
    return NULL;
}

static void take_param(struct sql_parser *p)
{
    if (parser_peek(p, 0)->kind == SQL_POSITIONAL)
        p->ctx->next_positional++;
    parser_take(p);
}

const char *parse_param(struct sql_parser *p)
{
    struct sql_token token = *parser_peek(p, 0);
    if (p->ctx->syntax_only) {
        parser_take(p);
        return "NULL";
    }
    struct json_object *param = find_param(p, &token);
    struct buf out = BUF_INIT;
    bool ok = param &&
              append_param(p, &out, json_at(param, "parameterType"), json_at(param, "parameterValue"), token.offset, 0);
    if (ok)
        take_param(p);
    const char *text = parser_keep(p, &out);
    return ok ? text : NULL;
}

bool parse_array_param_elements(struct sql_parser *p, const char **ret)
{
    struct sql_token token = *parser_peek(p, 0);
    if ((token.kind != SQL_PARAM && token.kind != SQL_POSITIONAL) || !parser_at_op_n(p, 1, ")") || p->ctx->syntax_only)
        return false;
    struct json_object *param = find_param(p, &token);
    struct json_object *type = param ? json_at(param, "parameterType") : NULL;
    *ret = NULL;
    if (!param)
        return true;
    if (strcasecmp(json_text_at(type, "type", ""), "ARRAY") != 0) {
        parser_fail(p, token.offset, "Values referenced in UNNEST must be arrays");
        return true;
    }
    struct buf out = BUF_INIT;
    bool ok = append_elements(p, &out, type, json_at(param, "parameterValue"), token.offset, 0);
    take_param(p);
    const char *text = parser_keep(p, &out);
    *ret = ok ? text : NULL;
    return true;
}
