/* bq_type.c - schemas: REST's field JSON <-> struct engine_field <-> DuckDB column types.
 *
 * TIMESTAMP is DuckDB's TIMESTAMPTZ (an instant), DATETIME its TIMESTAMP, NUMERIC DECIMAL(38,9), JSON its JSON (text
 * with a type name). Types that the local server does not serve are refused by name, never stored as something else. */
#include "bq_type.h"

#include <stdio.h>
#include <stdlib.h>

#include "bq_duck.h"

struct type_row {
    const char *standard, *legacy, *duck;
    int64_t bytes;
};

enum { ESTIMATED_TEXT_BYTES = 20 };

static const struct type_row TYPES[] = {
    [ENGINE_STRING] = {"STRING", "STRING", "VARCHAR", ESTIMATED_TEXT_BYTES},
    [ENGINE_BYTES] = {"BYTES", "BYTES", "BLOB", ESTIMATED_TEXT_BYTES},
    [ENGINE_INT64] = {"INT64", "INTEGER", "BIGINT", 8},
    [ENGINE_FLOAT64] = {"FLOAT64", "FLOAT", "DOUBLE", 8},
    [ENGINE_BOOL] = {"BOOL", "BOOLEAN", "BOOLEAN", 1},
    [ENGINE_NUMERIC] = {"NUMERIC", "NUMERIC", "DECIMAL(38,9)", 16},
    [ENGINE_TIMESTAMP] = {"TIMESTAMP", "TIMESTAMP", "TIMESTAMPTZ", 8},
    [ENGINE_DATE] = {"DATE", "DATE", "DATE", 8},
    [ENGINE_TIME] = {"TIME", "TIME", "TIME", 8},
    [ENGINE_DATETIME] = {"DATETIME", "DATETIME", "TIMESTAMP", 8},
    [ENGINE_JSON] = {"JSON", "JSON", "JSON", ESTIMATED_TEXT_BYTES},
    [ENGINE_STRUCT] = {"STRUCT", "RECORD", NULL, 0},
};
enum { TYPE_COUNT = sizeof TYPES / sizeof TYPES[0] };

static const struct {
    const char *alias;
    enum engine_type type;
} ALIASES[] = {{"INT", ENGINE_INT64},     {"SMALLINT", ENGINE_INT64}, {"BIGINT", ENGINE_INT64},
               {"TINYINT", ENGINE_INT64}, {"BYTEINT", ENGINE_INT64},  {"DECIMAL", ENGINE_NUMERIC}};

static const char *const UNSERVED[] = {"BIGNUMERIC", "BIGDECIMAL", "GEOGRAPHY", "INTERVAL", "RANGE"};

static bool invalid(struct error *err, const char *before, const char *what, const char *after)
{
    error_set(err, ERROR_PERMANENT, "invalid", "%s%s%s", before, what, after);
    if (err)
        err->status = 400;
    return false;
}

bool type_from_name(struct slice name, enum engine_type *ret, bool *ret_known)
{
    *ret_known = true;
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        if (slice_eq_nocase(name, slice_str(TYPES[i].standard)) || slice_eq_nocase(name, slice_str(TYPES[i].legacy))) {
            *ret = (enum engine_type)i;
            return true;
        }
    }
    for (size_t i = 0; i < sizeof ALIASES / sizeof ALIASES[0]; i++) {
        if (slice_eq_nocase(name, slice_str(ALIASES[i].alias))) {
            *ret = ALIASES[i].type;
            return true;
        }
    }
    for (size_t i = 0; i < sizeof UNSERVED / sizeof UNSERVED[0]; i++)
        if (slice_eq_nocase(name, slice_str(UNSERVED[i])))
            return false;
    *ret_known = false;
    return false;
}

const char *type_legacy_name(enum engine_type type)
{
    return TYPES[type].legacy;
}

const char *type_standard_name(enum engine_type type)
{
    return TYPES[type].standard;
}

static bool name_is_valid(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > SCHEMA_MAX_NAME || (name[0] >= '0' && name[0] <= '9'))
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c < 32 || strchr("!\"$()*,./;?@[\\]^`{}~", c))
            return false;
    }
    return slice_is_utf8(slice_str(name));
}

static bool has_reserved_prefix(const char *name)
{
    static const char *const PREFIXES[] = {"_TABLE_",
                                           "_FILE_",
                                           "_PARTITION",
                                           "_ROW_TIMESTAMP",
                                           "__ROOT__",
                                           "_COLIDENTIFIER",
                                           "_CHANGE_SEQUENCE_NUMBER",
                                           "_CHANGE_TYPE",
                                           "_CHANGE_TIMESTAMP"};
    for (size_t i = 0; i < sizeof PREFIXES / sizeof PREFIXES[0]; i++)
        if (strncasecmp(name, PREFIXES[i], strlen(PREFIXES[i])) == 0)
            return true;
    return false;
}

static bool mode_parse(const char *text, enum engine_mode *ret)
{
    static const char *const MODES[] = {"NULLABLE", "REQUIRED", "REPEATED"};
    for (int i = 0; i < 3; i++) {
        if (strcasecmp(text, MODES[i]) == 0) {
            *ret = (enum engine_mode)i;
            return true;
        }
    }
    return false;
}

struct field_reader {
    struct arena *arena;
    int next_node;
    struct error *err;
};

static const char *keep_text(struct field_reader *reader, struct json_object *obj, const char *member)
{
    const char *text = json_text_at(obj, member, NULL);
    return text ? arena_strdup(reader->arena, slice_str(text)) : NULL;
}

static bool read_fields(struct field_reader *reader, struct json_object *list, int depth, struct engine_field **ret,
                        size_t *ret_count);

static bool read_type(struct field_reader *reader, struct json_object *obj, int depth, struct engine_field *field)
{
    const char *type = json_text_at(obj, "type", "");
    bool known;
    if (!type_from_name(slice_str(type), &field->type, &known))
        return invalid(reader->err,
                       known ? "This server does not serve columns of type " : "Invalid value for type: ", type,
                       known ? "" : " is not a valid value");
    if (!mode_parse(json_text_at(obj, "mode", "NULLABLE"), &field->mode))
        return invalid(reader->err, "Invalid value for mode: ", json_text_at(obj, "mode", ""), " is not a valid value");
    if (field->type != ENGINE_STRUCT)
        return true;
    struct json_object *fields = json_at(obj, "fields");
    if (!fields || json_object_array_length(fields) == 0)
        return invalid(reader->err, "Field ", field->name, " is type RECORD but has no schema");
    struct engine_field *children;
    if (!read_fields(reader, fields, depth + 1, &children, &field->field_count))
        return false;
    field->fields = children;
    return true;
}

static bool read_field(struct field_reader *reader, struct json_object *obj, int depth, struct engine_field *field)
{
    field->name = keep_text(reader, obj, "name");
    if (!field->name || !name_is_valid(field->name) || has_reserved_prefix(field->name))
        return invalid(reader->err, "Invalid field name \"", field->name ? field->name : "", "\".");
    field->node = reader->next_node++;
    field->description = keep_text(reader, obj, "description");
    field->default_expression = keep_text(reader, obj, "defaultValueExpression");
    field->max_length = json_int_at(obj, "maxLength", 0);
    field->precision = (int)json_int_at(obj, "precision", 0);
    field->scale = (int)json_int_at(obj, "scale", 0);
    if (field->precision < 0 || field->precision > 38 || field->scale < 0 || field->scale > 9)
        return invalid(reader->err, "Invalid precision or scale of field ", field->name, "");
    return read_type(reader, obj, depth, field);
}

static bool read_fields(struct field_reader *reader, struct json_object *list, int depth, struct engine_field **ret,
                        size_t *ret_count)
{
    if (!json_object_is_type(list, json_type_array))
        return invalid(reader->err, "schema.fields is not an array", "", "");
    size_t count = json_object_array_length(list);
    if (count > SCHEMA_MAX_COLUMNS || depth > SCHEMA_MAX_DEPTH)
        return invalid(reader->err, depth > SCHEMA_MAX_DEPTH ? "Too deeply nested schema" : "Too many columns", "", "");
    struct engine_field *fields = arena_zalloc(reader->arena, (count + 1) * sizeof *fields);
    for (size_t i = 0; i < count; i++) {
        struct json_object *obj = json_object_array_get_idx(list, i);
        if (!json_object_is_type(obj, json_type_object))
            return invalid(reader->err, "a field of the schema is not an object", "", "");
        if (!read_field(reader, obj, depth, &fields[i]))
            return false;
        if (type_find(fields, i, slice_str(fields[i].name)))
            return invalid(reader->err, "Duplicate field name: ", fields[i].name, "");
    }
    *ret = fields;
    *ret_count = count;
    return true;
}

bool type_fields_parse(struct json_object *fields, struct arena *arena, struct engine_field **ret, size_t *ret_count,
                       size_t *ret_nodes, struct error *err)
{
    struct field_reader reader = {arena, 0, err};
    *ret = NULL;
    *ret_count = 0;
    if (fields && !read_fields(&reader, fields, 1, ret, ret_count))
        return false;
    *ret_nodes = (size_t)reader.next_node;
    return true;
}

static void add_text(struct json_object *obj, const char *name, const char *text)
{
    if (text)
        json_object_object_add(obj, name, json_object_new_string(text));
}

static void add_int_text(struct json_object *obj, const char *name, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    if (value > 0)
        add_text(obj, name, text);
}

struct json_object *type_fields_json(const struct engine_field *fields, size_t count, bool all_modes)
{
    static const char *const MODES[] = {"NULLABLE", "REQUIRED", "REPEATED"};
    struct json_object *list = json_object_new_array();
    for (size_t i = 0; i < count; i++) {
        const struct engine_field *field = &fields[i];
        struct json_object *obj = json_object_new_object();
        add_text(obj, "name", field->name);
        add_text(obj, "type", TYPES[field->type].legacy);
        if (all_modes || field->mode != ENGINE_NULLABLE)
            add_text(obj, "mode", MODES[field->mode]);
        if (field->type == ENGINE_STRUCT)
            json_object_object_add(obj, "fields", type_fields_json(field->fields, field->field_count, all_modes));
        add_text(obj, "description", field->description);
        add_text(obj, "defaultValueExpression", field->default_expression);
        add_int_text(obj, "maxLength", field->max_length);
        add_int_text(obj, "precision", field->precision);
        add_int_text(obj, "scale", field->scale);
        json_object_array_add(list, obj);
    }
    return list;
}

void type_append_duck(struct buf *out, const struct engine_field *field)
{
    if (field->type != ENGINE_STRUCT) {
        buf_append_str(out, TYPES[field->type].duck);
    } else {
        buf_append_str(out, "STRUCT(");
        for (size_t i = 0; i < field->field_count; i++) {
            buf_append_str(out, i ? ", " : "");
            duck_append_name(out, slice_str(field->fields[i].name));
            buf_append_char(out, ' ');
            type_append_duck(out, &field->fields[i]);
        }
        buf_append_char(out, ')');
    }
    if (field->mode == ENGINE_REPEATED)
        buf_append_str(out, "[]");
}

void type_append_standard(struct buf *out, const struct engine_field *field)
{
    if (field->mode == ENGINE_REPEATED)
        buf_append_str(out, "ARRAY<");
    buf_append_str(out, TYPES[field->type].standard);
    for (size_t i = 0; i < field->field_count; i++) {
        buf_printf(out, "%s%s ", i ? ", " : "<", field->fields[i].name);
        type_append_standard(out, &field->fields[i]);
    }
    if (field->field_count > 0)
        buf_append_char(out, '>');
    if (field->mode == ENGINE_REPEATED)
        buf_append_char(out, '>');
}

int64_t type_estimated_bytes(const struct engine_field *field)
{
    int64_t bytes = TYPES[field->type].bytes;
    for (size_t i = 0; i < field->field_count; i++)
        bytes += type_estimated_bytes(&field->fields[i]);
    return bytes;
}

const struct engine_field *type_find(const struct engine_field *fields, size_t count, struct slice name)
{
    for (size_t i = 0; i < count; i++)
        if (slice_eq_nocase(slice_str(fields[i].name), name))
            return &fields[i];
    return NULL;
}
