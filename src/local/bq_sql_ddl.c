/* bq_sql_ddl.c - CREATE, ALTER and DROP become REST resources, the same that tables.insert gets. */
#include "bq_sql_parser.h"

#include <stdio.h>
#include <stdlib.h>

static void add_text(struct json_object *obj, const char *name, struct slice text)
{
    json_object_object_add(obj, name, json_object_new_string_len(text.ptr, (int)text.len));
}

/* ---- OPTIONS(...) ---- */

enum option_kind {
    OPTION_TEXT,
    OPTION_BOOL,
    OPTION_LABELS,
    OPTION_DAYS,
    OPTION_TIME,
    OPTION_PARTITION_DAYS,
    OPTION_IGNORED
};

struct option_row {
    const char *name, *member;
    enum option_kind kind;
};

static const struct option_row TABLE_OPTIONS[] = {
    {"description", "description", OPTION_TEXT},
    {"friendly_name", "friendlyName", OPTION_TEXT},
    {"labels", "labels", OPTION_LABELS},
    {"expiration_timestamp", "expirationTime", OPTION_TIME},
    {"partition_expiration_days", "partitionExpirationMs", OPTION_PARTITION_DAYS},
    {"require_partition_filter", "requirePartitionFilter", OPTION_BOOL},
    {"max_staleness", "maxStaleness", OPTION_IGNORED},
    {"enable_fine_grained_mutations", NULL, OPTION_IGNORED},
    {NULL, NULL, OPTION_TEXT},
};
static const struct option_row SCHEMA_OPTIONS[] = {
    {"description", "description", OPTION_TEXT},
    {"friendly_name", "friendlyName", OPTION_TEXT},
    {"location", "location", OPTION_TEXT},
    {"labels", "labels", OPTION_LABELS},
    {"default_table_expiration_days", "defaultTableExpirationMs", OPTION_DAYS},
    {"default_partition_expiration_days", "defaultPartitionExpirationMs", OPTION_DAYS},
    {"is_case_insensitive", NULL, OPTION_IGNORED},
    {"max_time_travel_hours", NULL, OPTION_IGNORED},
    {NULL, NULL, OPTION_TEXT},
};
static const struct option_row COLUMN_OPTIONS[] = {
    {"description", "description", OPTION_TEXT},
    {NULL, NULL, OPTION_TEXT},
};

static bool option_text(struct sql_parser *p, struct json_object *obj, const char *member)
{
    if (parser_peek(p, 0)->kind != SQL_STRING)
        return parser_expected(p, "string literal");
    add_text(obj, member, parser_peek(p, 0)->value);
    parser_take(p);
    return true;
}

static bool option_bool(struct sql_parser *p, struct json_object *obj, const char *member)
{
    bool value = parser_at_word(p, "TRUE");
    if (!parser_accept_word(p, "TRUE") && !parser_accept_word(p, "FALSE"))
        return parser_expected(p, "keyword TRUE or FALSE");
    json_object_object_add(obj, member, json_object_new_boolean(value));
    return true;
}

/* [("key", "value"), ...] or STRUCTs of the same. */
static bool option_labels(struct sql_parser *p, struct json_object *obj, const char *member)
{
    struct json_object *labels = json_object_new_object();
    json_object_object_add(obj, member, labels);
    if (!parser_expect_op(p, "["))
        return false;
    while (!parser_at_op(p, "]")) {
        parser_accept_word(p, "STRUCT");
        if (!parser_expect_op(p, "(") || parser_peek(p, 0)->kind != SQL_STRING)
            return parser_expected(p, "string literal");
        const char *key = arena_strdup(p->arena, parser_peek(p, 0)->value);
        parser_take(p);
        if (!parser_expect_op(p, ",") || !option_text(p, labels, key) || !parser_expect_op(p, ")"))
            return false;
        if (!parser_accept_op(p, ","))
            break;
    }
    return parser_expect_op(p, "]");
}

static bool option_days(struct sql_parser *p, struct json_object *obj, const char *member)
{
    const struct sql_token *token = parser_peek(p, 0);
    if (parser_accept_word(p, "NULL"))
        return true;
    if (token->kind != SQL_INT && token->kind != SQL_FLOAT)
        return parser_expected(p, "number");
    char digits[40], text[32];
    snprintf(digits, sizeof digits, "%.*s", SLICE_ARG(token->text));
    double days = strtod(digits, NULL);
    if (!(days > 0 && days < 1e6))
        return parser_fail(p, token->offset, "Invalid number of days: %s", digits);
    snprintf(text, sizeof text, "%lld", (long long)(days * 86400000.0));
    json_object_object_add(obj, member, json_object_new_string(text));
    parser_take(p);
    return true;
}

/* An expression that the engine evaluates: expirationSql. */
static bool option_time(struct sql_parser *p, struct json_object *obj)
{
    if (parser_accept_word(p, "NULL"))
        return true;
    const char *marked = parse_expr(p);
    if (!marked)
        return false;
    struct buf out = BUF_INIT;
    sql_finish(marked, &out, NULL);
    json_object_object_add(obj, "expirationSql", json_object_new_string(buf_cstr(&out)));
    buf_release(&out);
    return true;
}

static bool option_value(struct sql_parser *p, const struct option_row *row, struct json_object *obj)
{
    switch (row->kind) {
    case OPTION_TEXT:
        if (!parser_accept_word(p, "NULL"))
            return option_text(p, obj, row->member);
        json_object_object_add(obj, row->member, NULL);
        return true;
    case OPTION_BOOL:
        return option_bool(p, obj, row->member);
    case OPTION_LABELS:
        return option_labels(p, obj, row->member);
    case OPTION_DAYS:
    case OPTION_PARTITION_DAYS:
        return option_days(p, obj, row->member);
    case OPTION_TIME:
        return option_time(p, obj);
    case OPTION_IGNORED:
        return parse_expr(p) != NULL;
    }
    return false;
}

/* The parenthesis behind OPTIONS, into REST members of obj. */
static bool parse_options(struct sql_parser *p, const struct option_row *rows, struct json_object *obj)
{
    if (!parser_expect_op(p, "("))
        return false;
    while (!parser_at_op(p, ")")) {
        struct slice name;
        size_t offset = parser_peek(p, 0)->offset;
        if (!parser_name(p, &name) || !parser_expect_op(p, "="))
            return false;
        const struct option_row *row = rows;
        while (row->name && !slice_eq_nocase(name, slice_str(row->name)))
            row++;
        if (!row->name)
            return parser_fail(p, offset, "Unknown option: %.*s", SLICE_ARG(name));
        if (!option_value(p, row, obj))
            return false;
        if (!parser_accept_op(p, ","))
            break;
    }
    return parser_expect_op(p, ")");
}

/* ---- columns ---- */

static bool column_attributes(struct sql_parser *p, struct json_object *field)
{
    for (;;) {
        if (parser_accept_words(p, "NOT", "NULL")) {
            if (json_object_object_get(field, "mode"))
                return parser_fail(p, p->last_end, "NOT NULL cannot be applied to ARRAY column");
            json_object_object_add(field, "mode", json_object_new_string("REQUIRED"));
        } else if (parser_accept_word(p, "DEFAULT")) {
            size_t start = parser_peek(p, 0)->offset;
            p->in_default = true;
            const char *value = parse_expr(p);
            p->in_default = false;
            if (!value)
                return false;
            add_text(field, "defaultValueExpression", slice_of(p->sql.ptr + start, p->last_end - start));
        } else if (parser_accept_word(p, "OPTIONS")) {
            if (!parse_options(p, COLUMN_OPTIONS, field))
                return false;
        } else {
            return true;
        }
    }
}

/* name type attributes; the new field is put into `fields`. */
static bool parse_column(struct sql_parser *p, struct json_object *fields)
{
    struct slice name;
    if (!parser_name(p, &name))
        return false;
    struct json_object *field = json_object_new_object();
    json_object_array_add(fields, field);
    add_text(field, "name", name);
    return parse_type(p, field) && column_attributes(p, field);
}

/* PRIMARY KEY (a, b) NOT ENFORCED */
static bool parse_primary_key(struct sql_parser *p, struct json_object *resource)
{
    struct json_object *constraints = json_object_new_object(), *key = json_object_new_object();
    struct json_object *columns = json_object_new_array();
    json_object_object_add(resource, "tableConstraints", constraints);
    json_object_object_add(constraints, "primaryKey", key);
    json_object_object_add(key, "columns", columns);
    if (!parser_expect_word(p, "KEY") || !parser_expect_op(p, "("))
        return false;
    do {
        struct slice name;
        if (!parser_name(p, &name))
            return false;
        json_object_array_add(columns, json_object_new_string_len(name.ptr, (int)name.len));
    } while (parser_accept_op(p, ","));
    return parser_expect_op(p, ")") && parser_expect_word(p, "NOT") && parser_expect_word(p, "ENFORCED");
}

static bool parse_columns(struct sql_parser *p, struct json_object *resource)
{
    struct json_object *schema = json_object_new_object(), *fields = json_object_new_array();
    json_object_object_add(resource, "schema", schema);
    json_object_object_add(schema, "fields", fields);
    do {
        if (parser_at_op(p, ")"))
            break; /* a trailing comma is legal */
        bool is_key = parser_at_word(p, "PRIMARY") && parser_at_word_n(p, 1, "KEY");
        if (is_key)
            parser_take(p);
        if (is_key ? !parse_primary_key(p, resource) : !parse_column(p, fields))
            return false;
    } while (parser_accept_op(p, ","));
    return parser_expect_op(p, ")");
}

/* ---- PARTITION BY, CLUSTER BY ---- */

static bool partition_range(struct sql_parser *p, struct json_object *resource)
{
    static const char *const NAMES[] = {"start", "end", "interval"};
    struct json_object *partitioning = json_object_new_object(), *range = json_object_new_object();
    struct slice column;
    json_object_object_add(resource, "rangePartitioning", partitioning);
    json_object_object_add(partitioning, "range", range);
    if (!parser_expect_op(p, "(") || !parser_name(p, &column) || !parser_expect_op(p, ",") ||
        !parser_expect_word(p, "GENERATE_ARRAY") || !parser_expect_op(p, "("))
        return false;
    add_text(partitioning, "field", column);
    for (int i = 0; i < 3; i++) {
        if (i > 0 && !parser_expect_op(p, ","))
            return false;
        if (parser_peek(p, 0)->kind != SQL_INT)
            return parser_expected(p, "integer literal");
        add_text(range, NAMES[i], parser_peek(p, 0)->text);
        parser_take(p);
    }
    return parser_expect_op(p, ")") && parser_expect_op(p, ")");
}

static bool partition_part(struct sql_parser *p, struct json_object *partitioning)
{
    static const char *const PARTS[] = {"HOUR", "DAY", "MONTH", "YEAR"};
    for (size_t i = 0; i < 4; i++) {
        if (parser_accept_word(p, PARTS[i])) {
            json_object_object_add(partitioning, "type", json_object_new_string(PARTS[i]));
            return true;
        }
    }
    return parser_unexpected(p);
}

static bool parse_partition_by(struct sql_parser *p, struct json_object *resource)
{
    struct slice column;
    if (parser_accept_word(p, "RANGE_BUCKET"))
        return partition_range(p, resource);
    struct json_object *partitioning = json_object_new_object();
    json_object_object_add(resource, "timePartitioning", partitioning);
    bool trunc = (parser_at_word(p, "TIMESTAMP_TRUNC") || parser_at_word(p, "DATE_TRUNC") ||
                  parser_at_word(p, "DATETIME_TRUNC")) &&
                 parser_at_op_n(p, 1, "(");
    bool date = parser_at_word(p, "DATE") && parser_at_op_n(p, 1, "(");
    if (trunc || date) {
        parser_take(p);
        parser_take(p);
    }
    size_t offset = parser_peek(p, 0)->offset;
    if (!parser_name(p, &column))
        return false;
    if (column.len > 0 && column.ptr[0] == '_' && slice_starts_with(column, SLICE_LIT("_PARTITION")))
        return parser_fail(p, offset, "Ingestion-time partitioning is not supported by this server");
    add_text(partitioning, "field", column);
    if (trunc)
        return parser_expect_op(p, ",") && partition_part(p, partitioning) && parser_expect_op(p, ")");
    json_object_object_add(partitioning, "type", json_object_new_string("DAY"));
    return !date || parser_expect_op(p, ")");
}

static bool parse_cluster_by(struct sql_parser *p, struct json_object *resource)
{
    struct json_object *clustering = json_object_new_object(), *fields = json_object_new_array();
    json_object_object_add(resource, "clustering", clustering);
    json_object_object_add(clustering, "fields", fields);
    do {
        struct slice name;
        if (!parser_name(p, &name))
            return false;
        json_object_array_add(fields, json_object_new_string_len(name.ptr, (int)name.len));
    } while (parser_accept_op(p, ","));
    return true;
}

/* ---- CREATE ---- */

static bool parse_object_name(struct sql_parser *p, bool is_dataset)
{
    struct sql_path path;
    if (!parse_path(p, &path))
        return false;
    return is_dataset ? path_to_dataset(p, &path, &p->stmt->target) : path_to_name(p, &path, &p->stmt->target);
}

static void name_partition_expiration(struct json_object *resource)
{
    struct json_object *ms = json_object_object_get(resource, "partitionExpirationMs");
    struct json_object *partitioning = json_object_object_get(resource, "timePartitioning");
    if (ms && partitioning)
        json_object_object_add(partitioning, "expirationMs", json_object_get(ms));
    if (partitioning)
        json_object_object_del(resource, "partitionExpirationMs");
}

static bool accept_if_not_exists(struct sql_parser *p, bool *ret)
{
    *ret = parser_accept_word(p, "IF");
    return !*ret || (parser_expect_word(p, "NOT") && parser_expect_word(p, "EXISTS"));
}

static bool create_table(struct sql_parser *p)
{
    struct sql_statement *stmt = p->stmt;
    stmt->kind = SQL_CREATE_TABLE;
    if (!accept_if_not_exists(p, &stmt->if_not_exists) || !parse_object_name(p, /* is_dataset */ false))
        return false;
    stmt->has_columns = parser_accept_op(p, "(");
    if (stmt->has_columns && !parse_columns(p, stmt->resource))
        return false;
    if (parser_accept_words(p, "PARTITION", "BY") && !parse_partition_by(p, stmt->resource))
        return false;
    if (parser_accept_words(p, "CLUSTER", "BY") && !parse_cluster_by(p, stmt->resource))
        return false;
    if (parser_accept_word(p, "OPTIONS") && !parse_options(p, TABLE_OPTIONS, stmt->resource))
        return false;
    name_partition_expiration(stmt->resource);
    if (parser_accept_word(p, "AS")) {
        stmt->kind = SQL_CREATE_TABLE_AS;
        stmt->text = parse_query(p);
        return stmt->text != NULL;
    }
    return stmt->has_columns || parser_expected(p, "\"(\" or keyword AS");
}

static bool create_view(struct sql_parser *p)
{
    struct sql_statement *stmt = p->stmt;
    stmt->kind = SQL_CREATE_VIEW;
    if (!accept_if_not_exists(p, &stmt->if_not_exists) || !parse_object_name(p, /* is_dataset */ false))
        return false;
    if (parser_at_op(p, "("))
        return parser_fail(p, parser_peek(p, 0)->offset, "A column list of a view is not supported by this server");
    if (parser_accept_word(p, "OPTIONS") && !parse_options(p, TABLE_OPTIONS, stmt->resource))
        return false;
    if (!parser_expect_word(p, "AS"))
        return false;
    size_t start = parser_peek(p, 0)->offset;
    stmt->text = parse_query(p);
    if (!stmt->text)
        return false;
    struct json_object *view = json_object_new_object();
    json_object_object_add(stmt->resource, "view", view);
    add_text(view, "query", slice_of(p->sql.ptr + start, p->last_end - start));
    json_object_object_add(view, "useLegacySql", json_object_new_boolean(false));
    return true;
}

static bool create_schema(struct sql_parser *p)
{
    struct sql_statement *stmt = p->stmt;
    stmt->kind = SQL_CREATE_SCHEMA;
    if (!accept_if_not_exists(p, &stmt->if_not_exists) || !parse_object_name(p, /* is_dataset */ true))
        return false;
    return !parser_accept_word(p, "OPTIONS") || parse_options(p, SCHEMA_OPTIONS, stmt->resource);
}

static bool parse_create(struct sql_parser *p)
{
    p->stmt->resource = json_object_new_object();
    if (parser_accept_word(p, "OR")) {
        if (!parser_expect_word(p, "REPLACE"))
            return false;
        p->stmt->or_replace = true;
    }
    if (parser_accept_word(p, "TABLE"))
        return create_table(p);
    if (parser_accept_word(p, "VIEW"))
        return create_view(p);
    if (!p->stmt->or_replace && parser_accept_word(p, "SCHEMA"))
        return create_schema(p);
    return parser_unexpected(p);
}

/* ---- ALTER ---- */

static struct sql_alter *add_alter(struct sql_parser *p)
{
    struct sql_statement *stmt = p->stmt;
    stmt->alters = realloc(stmt->alters, (stmt->alter_count + 1) * sizeof *stmt->alters);
    BUG_ON(!stmt->alters);
    stmt->alters[stmt->alter_count] = (struct sql_alter){.what = SQL_ADD_COLUMN};
    return &stmt->alters[stmt->alter_count++];
}

static bool alter_add_column(struct sql_parser *p)
{
    struct sql_alter *alter = add_alter(p);
    if (!parser_expect_word(p, "COLUMN") || !accept_if_not_exists(p, &alter->if_not_exists))
        return false;
    alter->json = json_object_new_array();
    return parse_column(p, alter->json);
}

static bool alter_column(struct sql_parser *p)
{
    struct sql_alter *alter = add_alter(p);
    struct slice name;
    if (!parser_expect_word(p, "COLUMN") || !parser_name(p, &name))
        return false;
    alter->column = arena_strdup(p->arena, name);
    if (parser_accept_word(p, "DROP")) {
        alter->what = SQL_DROP_NOT_NULL;
        return parser_expect_word(p, "NOT") && parser_expect_word(p, "NULL");
    }
    alter->what = SQL_ALTER_COLUMN_OPTIONS;
    alter->json = json_object_new_object();
    return parser_expect_word(p, "SET") && parser_expect_word(p, "OPTIONS") &&
           parse_options(p, COLUMN_OPTIONS, alter->json);
}

static bool alter_set_options(struct sql_parser *p, const struct option_row *rows)
{
    struct sql_alter *alter = add_alter(p);
    alter->what = SQL_SET_OPTIONS;
    alter->json = json_object_new_object();
    return parser_expect_word(p, "OPTIONS") && parse_options(p, rows, alter->json);
}

static bool parse_alter(struct sql_parser *p)
{
    bool is_schema = parser_accept_word(p, "SCHEMA");
    if (!is_schema && !parser_accept_word(p, "VIEW") && !parser_expect_word(p, "TABLE"))
        return false;
    p->stmt->kind = is_schema ? SQL_ALTER_SCHEMA : SQL_ALTER_TABLE;
    if (parser_accept_word(p, "IF")) {
        p->stmt->if_exists = true;
        if (!parser_expect_word(p, "EXISTS"))
            return false;
    }
    if (!parse_object_name(p, is_schema))
        return false;
    do {
        bool ok;
        if (!is_schema && parser_accept_word(p, "ADD"))
            ok = alter_add_column(p);
        else if (!is_schema && parser_accept_word(p, "ALTER"))
            ok = alter_column(p);
        else if (parser_accept_word(p, "SET"))
            ok = alter_set_options(p, is_schema ? SCHEMA_OPTIONS : TABLE_OPTIONS);
        else
            ok = parser_unexpected(p);
        if (!ok)
            return false;
    } while (parser_accept_op(p, ","));
    return true;
}

/* ---- DROP ---- */

static bool parse_drop(struct sql_parser *p)
{
    bool is_schema = false;
    if (parser_accept_word(p, "TABLE"))
        p->stmt->kind = SQL_DROP_TABLE;
    else if (parser_accept_word(p, "VIEW"))
        p->stmt->kind = SQL_DROP_VIEW;
    else if ((is_schema = parser_accept_word(p, "SCHEMA")))
        p->stmt->kind = SQL_DROP_SCHEMA;
    else
        return parser_unexpected(p);
    if (parser_accept_word(p, "IF")) {
        p->stmt->if_exists = true;
        if (!parser_expect_word(p, "EXISTS"))
            return false;
    }
    if (!parse_object_name(p, is_schema))
        return false;
    if (is_schema && !(p->stmt->cascade = parser_accept_word(p, "CASCADE")))
        parser_accept_word(p, "RESTRICT");
    return true;
}

bool parse_ddl(struct sql_parser *p)
{
    if (parser_accept_word(p, "CREATE"))
        return parse_create(p) && !p->failed;
    if (parser_accept_word(p, "ALTER"))
        return parse_alter(p) && !p->failed;
    if (parser_accept_word(p, "DROP"))
        return parse_drop(p) && !p->failed;
    return parser_unexpected(p);
}
