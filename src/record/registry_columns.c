/* registry_columns.c - the registry's loader, lower half: members with their checks, and lists of columns.
 *
 * Everything that BigQuery, the encoder or the SQL of the change chain would refuse later is refused here, with the
 * place. */
#include "registry_load.h"

#include <stdio.h>

static const char *const column_members[] = {"name",        "type", "mode",   "nullable", "source",
                                             "description", "enum", "fields", NULL};

/* facts/bigquery.md 3: names that BigQuery keeps for itself. A leading underscore is ours: bookkeeping columns. */
static const char *const reserved_prefixes[] = {
    "_TABLE_",
    "_FILE_",
    "_PARTITION",
    "_ROW_TIMESTAMP",
    "__ROOT__",
    "_COLIDENTIFIER",
    "_CHANGE_SEQUENCE_NUMBER",
    "_CHANGE_TYPE",
    "_CHANGE_TIMESTAMP",
    NULL,
};

static const struct {
    const char *name;
    enum column_mode mode;
} modes[] = {{"NULLABLE", COLUMN_NULLABLE}, {"REQUIRED", COLUMN_REQUIRED}, {"REPEATED", COLUMN_REPEATED}};

struct place place_member(const struct place *at, const char *member)
{
    struct place place;
    int used = snprintf(place.text, sizeof place.text, "%s", at->text);
    size_t room = sizeof place.text - (size_t)used;
    snprintf(place.text + used, room, "%s%s", used ? "." : "", member);
    return place;
}

struct place place_index(const struct place *at, size_t index)
{
    struct place place = *at;
    size_t used = strlen(place.text);
    snprintf(place.text + used, sizeof place.text - used, "[%zu]", index);
    return place;
}

bool load_refuse(struct load *load, const struct place *at, const char *member, const char *fmt, ...)
{
    struct buf reason = BUF_INIT;
    va_list args;
    va_start(args, fmt);
    buf_vprintf(&reason, fmt, args);
    va_end(args);
    struct place place = member ? place_member(at, member) : *at;
    error_set(load->err, ERROR_PERMANENT, "registry", "%s: %s%s%s", load->file, place.text, place.text[0] ? ": " : "",
              buf_cstr(&reason));
    buf_release(&reason);
    return false;
}

static bool is_one_of(const char *const *list, const char *text)
{
    for (; *list; list++) {
        if (strcmp(*list, text) == 0)
            return true;
    }
    return false;
}

bool load_is_object(struct load *load, const struct place *at, struct json_object *obj, const char *const *allowed)
{
    if (!json_object_is_type(obj, json_type_object))
        return load_refuse(load, at, NULL, "must be an object");
    json_object_object_foreach(obj, name, value)
    {
        (void)value;
        if (allowed && !is_one_of(allowed, name))
            return load_refuse(load, at, name, "unknown member");
    }
    return true;
}

bool load_text(struct load *load, const struct place *at, struct json_object *obj, const char *member, bool needed,
               const char **ret)
{
    struct json_object *value = NULL;
    *ret = NULL;
    if (!json_object_object_get_ex(obj, member, &value))
        return needed ? load_refuse(load, at, member, "missing") : true;
    if (!json_object_is_type(value, json_type_string) || json_object_get_string_len(value) == 0)
        return load_refuse(load, at, member, "must be a text that is not empty");
    struct slice text = slice_of(json_object_get_string(value), (size_t)json_object_get_string_len(value));
    if (memchr(text.ptr, '\0', text.len))
        return load_refuse(load, at, member, "must not hold U+0000");
    *ret = arena_strdup(load->arena, text);
    return true;
}

bool load_bool(struct load *load, const struct place *at, struct json_object *obj, const char *member, bool fallback,
               bool *ret)
{
    struct json_object *value = NULL;
    *ret = fallback;
    if (!json_object_object_get_ex(obj, member, &value))
        return true;
    if (!json_object_is_type(value, json_type_boolean))
        return load_refuse(load, at, member, "must be true or false");
    *ret = json_object_get_boolean(value);
    return true;
}

bool load_texts(struct load *load, const struct place *at, struct json_object *obj, const char *member, size_t max,
                const char *const **ret, size_t *ret_count)
{
    struct json_object *list = NULL;
    *ret = NULL;
    *ret_count = 0;
    if (!json_object_object_get_ex(obj, member, &list))
        return true;
    if (!json_object_is_type(list, json_type_array))
        return load_refuse(load, at, member, "must be a list of texts");
    size_t count = json_object_array_length(list);
    if (count == 0 || count > max)
        return load_refuse(load, at, member, "must have 1 to %zu members, not %zu", max, count);
    const char **texts = arena_zalloc(load->arena, (count + 1) * sizeof *texts);
    for (size_t i = 0; i < count; i++) {
        struct json_object *item = json_object_array_get_idx(list, i);
        if (!json_object_is_type(item, json_type_string) || json_object_get_string_len(item) == 0)
            return load_refuse(load, at, member, "must be a list of texts");
        if (is_one_of(texts, json_object_get_string(item)))
            return load_refuse(load, at, member, "'%s' stands there twice", json_object_get_string(item));
        texts[i] = arena_strdup(load->arena, slice_str(json_object_get_string(item)));
    }
    *ret = texts;
    *ret_count = count;
    return true;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_name_char(char c)
{
    return is_letter(c) || (c >= '0' && c <= '9') || c == '_';
}

static bool check_name(struct load *load, const struct place *at, const char *name)
{
    if (strlen(name) > REGISTRY_MAX_NAME)
        return load_refuse(load, at, "name", "longer than %d characters", REGISTRY_MAX_NAME);
    for (size_t i = 0; reserved_prefixes[i]; i++) {
        struct slice prefix = slice_str(reserved_prefixes[i]);
        if (strlen(name) >= prefix.len && slice_eq_nocase(slice_of(name, prefix.len), prefix))
            return load_refuse(load, at, "name", "'%s' begins with '%s', which BigQuery reserves", name, prefix.ptr);
    }
    if (name[0] == '_')
        return load_refuse(load, at, "name", "'%s' begins with an underscore, as bookkeeping columns do", name);
    for (const char *c = name; *c; c++) {
        if (!is_name_char(*c) || (c == name && !is_letter(*c)))
            return load_refuse(load, at, "name", "'%s' must be letters, digits and underscores, a letter first", name);
    }
    return true;
}

/* member ("." member | "[" digit "]")*, members made of letters, digits, "_" and "-". */
static bool source_is_valid(const char *source)
{
    const char *c = source;
    for (;;) {
        const char *start = c;
        while (is_name_char(*c) || *c == '-')
            c++;
        if (c == start)
            return false;
        while (*c == '[') {
            if (c[1] < '0' || c[1] > '0' + REGISTRY_MAX_INDEX || c[2] != ']')
                return false;
            c += 3;
        }
        if (*c == '\0')
            return true;
        if (*c++ != '.')
            return false;
    }
}

static bool load_type(struct load *load, const struct place *at, struct json_object *obj, enum column_type *ret)
{
    const char *text;
    if (!load_text(load, at, obj, "type", true, &text))
        return false;
    for (enum column_type type = COLUMN_STRING; type <= COLUMN_STRUCT; type++) {
        if (strcmp(column_type_sql(type), text) == 0) {
            *ret = type;
            return true;
        }
    }
    return load_refuse(load, at, "type",
                       "'%s' is not one of STRING, INT64, FLOAT64, BOOL, NUMERIC, TIMESTAMP, DATE, JSON, STRUCT", text);
}

static bool load_mode(struct load *load, const struct place *at, struct json_object *obj, enum column_mode *ret)
{
    const char *text;
    if (!load_text(load, at, obj, "mode", false, &text))
        return false;
    *ret = COLUMN_NULLABLE;
    for (size_t i = 0; text && i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(modes[i].name, text) == 0) {
            *ret = modes[i].mode;
            return true;
        }
    }
    return text ? load_refuse(load, at, "mode", "'%s' is not one of NULLABLE, REQUIRED, REPEATED", text) : true;
}

static bool load_source(struct load *load, const struct place *at, struct json_object *obj, struct column *column)
{
    if (!load_text(load, at, obj, "source", false, &column->source))
        return false;
    if (!column->source)
        column->source = column->name;
    if (strlen(column->source) > REGISTRY_MAX_NAME || !source_is_valid(column->source))
        return load_refuse(load, at, "source", "'%s' is not a path like 'a', 'a.b' or 'a[0].b'", column->source);
    return true;
}

static bool load_fields(struct load *load, const struct place *at, struct json_object *obj, int depth,
                        struct column *column)
{
    bool has = json_object_object_get_ex(obj, "fields", NULL);
    if (column->type != COLUMN_STRUCT)
        return has ? load_refuse(load, at, "fields", "only a STRUCT has fields") : true;
    struct column *fields;
    if (!load_columns(load, at, obj, "fields", 0, depth + 1, &fields, &column->field_count))
        return false;
    column->fields = fields;
    return true;
}

static bool load_column(struct load *load, const struct place *at, struct json_object *obj, int depth,
                        struct column *column)
{
    bool nullable;
    size_t enum_count;
    if (!load_is_object(load, at, obj, column_members) || !load_text(load, at, obj, "name", true, &column->name) ||
        !check_name(load, at, column->name) || !load_type(load, at, obj, &column->type) ||
        !load_mode(load, at, obj, &column->mode) || !load_bool(load, at, obj, "nullable", true, &nullable) ||
        !load_source(load, at, obj, column) || !load_text(load, at, obj, "description", true, &column->description) ||
        !load_texts(load, at, obj, "enum", REGISTRY_MAX_ENUM, &column->enum_values, &enum_count))
        return false;
    if (column->enum_values && column->type != COLUMN_STRING)
        return load_refuse(load, at, "enum", "only a STRING has listed values");
    if (column->mode == COLUMN_REQUIRED && depth > 0)
        return load_refuse(load, at, "mode",
                           "a field of a STRUCT cannot be REQUIRED: the API's word is not dependable");
    if (column->mode == COLUMN_REPEATED && column->type == COLUMN_JSON)
        return load_refuse(load, at, "mode", "a JSON column holds a whole array, it cannot be REPEATED");
    column->expected = !nullable;
    return load_fields(load, at, obj, depth, column);
}

static bool check_twins(struct load *load, const struct place *at, const struct column *columns, size_t index)
{
    const struct column *column = &columns[index];
    for (size_t i = 0; i < index; i++) {
        if (slice_eq_nocase(slice_str(columns[i].name), slice_str(column->name)))
            return load_refuse(load, at, "name", "'%s' is there already (upper and lower case are the same)",
                               column->name);
        if (column->type == COLUMN_STRUCT && columns[i].type == COLUMN_STRUCT &&
            strcmp(columns[i].source, column->source) == 0)
            return load_refuse(load, at, "source", "'%s' feeds the STRUCT '%s' already", column->source,
                               columns[i].name);
    }
    return true;
}

bool load_columns(struct load *load, const struct place *at, struct json_object *obj, const char *member, size_t spare,
                  int depth, struct column **ret, size_t *ret_count)
{
    struct json_object *list = NULL;
    if (depth > REGISTRY_MAX_NESTING)
        return load_refuse(load, at, NULL, "nested deeper than %d STRUCTs", REGISTRY_MAX_NESTING);
    if (!json_object_object_get_ex(obj, member, &list))
        return load_refuse(load, at, member, "missing");
    if (!json_object_is_type(list, json_type_array))
        return load_refuse(load, at, member, "must be a list of columns");
    size_t count = json_object_array_length(list);
    if (count == 0 || count > REGISTRY_MAX_COLUMNS)
        return load_refuse(load, at, member, "must have 1 to %d columns, not %zu", REGISTRY_MAX_COLUMNS, count);
    struct column *columns = arena_zalloc(load->arena, (count + spare) * sizeof *columns);
    struct place list_place = place_member(at, member);
    for (size_t i = 0; i < count; i++) {
        struct place place = place_index(&list_place, i);
        if (!load_column(load, &place, json_object_array_get_idx(list, i), depth, &columns[i]) ||
            !check_twins(load, &place, columns, i))
            return false;
    }
    *ret = columns;
    *ret_count = count;
    return true;
}
