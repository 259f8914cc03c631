/* bq_proto_descriptor.c - parses DescriptorProto by hand: six of its fields are all that matters. */
#include "bq_proto_descriptor.h"

#include "bq_wire.h"

/* google.cloud.bigquery.storage.v1.column_name in FieldOptions */
enum { COLUMN_NAME_EXTENSION = 454943157 };

const char *proto_type_name(enum proto_type type)
{
    static const char *const names[PROTO_TYPE_COUNT] = {
        "unknown", "double",  "float", "int64",  "uint64", "int32",    "fixed64",  "fixed32", "bool",  "string",
        "group",   "message", "bytes", "uint32", "enum",   "sfixed32", "sfixed64", "sint32",  "sint64"};
    return type < PROTO_TYPE_COUNT ? names[type] : names[0];
}

static bool fail(struct error *err, const char *what)
{
    return error_set(err, ERROR_PERMANENT, "descriptor", "Invalid proto schema: %s", what);
}

static void parse_options(struct proto_field *field, struct slice bytes)
{
    struct wire w = wire_of(bytes);
    struct wire_field f;
    while (wire_next(&w, &f))
        if (f.number == COLUMN_NAME_EXTENSION && f.type == WIRE_BYTES)
            field->column = f.bytes;
}

static bool parse_field(struct proto_field *field, struct slice bytes, struct error *err)
{
    struct wire w = wire_of(bytes);
    struct wire_field f;
    struct slice options = SLICE_NULL;
    field->label = PROTO_OPTIONAL;
    while (wire_next(&w, &f)) {
        bool text = f.type == WIRE_BYTES;
        if (f.number == 1 && text)
            field->name = f.bytes;
        else if (f.number == 3 && !text)
            field->number = (uint32_t)f.value;
        else if (f.number == 4 && !text)
            field->label = (enum proto_label)f.value;
        else if (f.number == 5 && !text)
            field->type = (enum proto_type)f.value;
        else if (f.number == 6 && text)
            field->type_name = f.bytes;
        else if (f.number == 8 && text)
            options = f.bytes;
    }
    field->column = field->name;
    parse_options(field, options);
    if (w.bad || field->name.len == 0 || field->number == 0)
        return fail(err, "a field is not well-formed");
    if (field->type == 0 && field->type_name.len > 0)
        field->type = PROTO_MESSAGE;
    if (field->type == 0 || field->type >= PROTO_TYPE_COUNT || field->label == 0 || field->label > PROTO_REPEATED)
        return fail(err, "a field has no known type or label");
    return true;
}

static bool parse_enum_value(struct arena *arena, struct proto_enum *e, struct slice bytes)
{
    struct wire w = wire_of(bytes);
    struct wire_field f;
    struct proto_enum_value *value = arena_zalloc(arena, sizeof *value);
    while (wire_next(&w, &f)) {
        if (f.number == 1 && f.type == WIRE_BYTES)
            value->name = f.bytes;
        else if (f.number == 2 && f.type == WIRE_VARINT)
            value->number = (int32_t)f.value;
    }
    value->next = e->values;
    e->values = value;
    return !w.bad;
}

static bool parse_enum(struct arena *arena, struct proto_message *message, struct slice bytes, struct error *err)
{
    struct wire w = wire_of(bytes);
    struct wire_field f;
    struct proto_enum *e = arena_zalloc(arena, sizeof *e);
    bool ok = true;
    while (ok && wire_next(&w, &f)) {
        if (f.number == 1 && f.type == WIRE_BYTES)
            e->name = f.bytes;
        else if (f.number == 2 && f.type == WIRE_BYTES)
            ok = parse_enum_value(arena, e, f.bytes);
    }
    e->next = message->enums;
    message->enums = e;
    return ok && !w.bad ? true : fail(err, "an enum is not well-formed");
}

static bool parse_message(struct arena *arena, struct proto_message *message, struct slice bytes, int depth,
                          struct error *err);

static bool parse_nested(struct arena *arena, struct proto_message *parent, struct slice bytes, int depth,
                         struct error *err)
{
    struct proto_message *nested = arena_zalloc(arena, sizeof *nested);
    nested->parent = parent;
    nested->next = parent->nested;
    parent->nested = nested;
    return parse_message(arena, nested, bytes, depth + 1, err);
}

static bool parse_message(struct arena *arena, struct proto_message *message, struct slice bytes, int depth,
                          struct error *err)
{
    struct wire w = wire_of(bytes);
    struct wire_field f;
    struct proto_field **end = &message->fields;
    bool ok = true;
    if (depth > PROTO_MAX_NESTED_TYPES)
        return fail(err, "types are nested too deeply");
    while (ok && wire_next(&w, &f)) {
        if (f.type != WIRE_BYTES)
            continue;
        if (f.number == 1) {
            message->name = f.bytes;
        } else if (f.number == 2) {
            *end = arena_zalloc(arena, sizeof **end);
            ok = parse_field(*end, f.bytes, err);
            end = &(*end)->next;
            message->field_count++;
        } else if (f.number == 3) {
            ok = parse_nested(arena, message, f.bytes, depth, err);
        } else if (f.number == 4) {
            ok = parse_enum(arena, message, f.bytes, err);
        }
    }
    return ok && w.bad ? fail(err, "it is not a well-formed DescriptorProto") : ok;
}

struct proto_message *proto_descriptor_parse(struct arena *arena, struct slice bytes, struct error *err)
{
    struct proto_message *root = arena_zalloc(arena, sizeof *root);
    if (bytes.len > PROTO_MAX_DESCRIPTOR_BYTES) {
        fail(err, "it is too large");
        return NULL;
    }
    return parse_message(arena, root, bytes, 0, err) ? root : NULL;
}

/* ---- Names ------------------------------------------------------------------------------------------------------ */

static const struct proto_message *child_named(const struct proto_message *parent, struct slice name)
{
    const struct proto_message *child = parent->nested;
    while (child && !slice_eq(child->name, name))
        child = child->next;
    return child;
}

/* Walks "A.B.C" down from `from`; all parts but the last `leave`. *ret_rest: what was left. */
static const struct proto_message *walk_down(const struct proto_message *from, struct slice path, bool leave_last,
                                             struct slice *ret_rest)
{
    while (from && path.len > 0) {
        if (leave_last && !memchr(path.ptr, '.', path.len))
            break;
        from = child_named(from, slice_cut(&path, '.'));
    }
    *ret_rest = path;
    return from;
}

static const struct proto_message *root_of(const struct proto_message *message)
{
    while (message->parent)
        message = message->parent;
    return message;
}

/* The path as seen from `scope`, without what names the scope itself; false when it cannot start there. */
static bool path_in_scope(const struct proto_message *scope, struct slice type_name, struct slice *ret)
{
    struct slice path = type_name;
    if (path.len > 0 && path.ptr[0] == '.') {
        if (scope->parent)
            return false;
        path = slice_of(path.ptr + 1, path.len - 1);
    }
    *ret = path;
    return path.len > 0;
}

const struct proto_message *proto_find_message(const struct proto_message *scope, struct slice type_name)
{
    struct slice rest, path;
    for (const struct proto_message *at = scope; at; at = at->parent) {
        if (!path_in_scope(at, type_name, &path))
            continue;
        const struct proto_message *found = walk_down(at, path, false, &rest);
        if (found)
            return found;
    }
    const struct proto_message *root = root_of(scope);
    if (!path_in_scope(root, type_name, &path))
        return NULL;
    return slice_eq(slice_cut(&path, '.'), root->name) ? walk_down(root, path, false, &rest) : NULL;
}

static const struct proto_enum *enum_named(const struct proto_message *message, struct slice name)
{
    const struct proto_enum *e = message ? message->enums : NULL;
    while (e && !slice_eq(e->name, name))
        e = e->next;
    return e;
}

const struct proto_enum *proto_find_enum(const struct proto_message *scope, struct slice type_name)
{
    struct slice rest, path;
    for (const struct proto_message *at = scope; at; at = at->parent) {
        if (!path_in_scope(at, type_name, &path))
            continue;
        const struct proto_message *holder = walk_down(at, path, true, &rest);
        const struct proto_enum *found = enum_named(holder, rest);
        if (found)
            return found;
    }
    const struct proto_message *root = root_of(scope);
    if (!path_in_scope(root, type_name, &path) || !slice_eq(slice_cut(&path, '.'), root->name))
        return NULL;
    const struct proto_message *holder = walk_down(root, path, true, &rest);
    return enum_named(holder, rest);
}
