/* bq_proto_row.c - plans and decodes.
 *
 * A plan follows the table's schema, so its depth is the table's, whatever the descriptor says; recursive messages end
 * up as a mismatch. Presence is proto2's: what is not on the wire is missing. Fields come in ascending order from most
 * writers, so look-ups try the next field first. Tags that the descriptor does not name are skipped. */
#include <stdlib.h>

#include "bq_proto_descriptor.h"
#include "bq_proto_row.h"
#include "bq_wire.h"

struct plan_field;
typedef bool put_fn(const struct plan_field *field, const struct wire_field *value, struct engine_rows *rows);

enum field_shape {
    SHAPE_SCALAR,
    SHAPE_STRUCT,    /* nested message of a STRUCT column */
    SHAPE_WRAPPER,   /* message {value = 1} of a scalar column; sub has one field */
    SHAPE_TIMESTAMP, /* message {seconds = 1, nanos = 2} of a TIMESTAMP column */
};

struct plan_message {
    size_t field_count;
    struct plan_field *fields; /* ascending numbers */
};

struct plan_field {
    uint32_t number;
    int node;
    enum field_shape shape;
    enum proto_type type;
    enum wire_type wire;
    bool repeated;
    struct slice name;
    put_fn *put; /* SCALAR */
    const struct proto_enum *values;
    struct plan_message sub; /* STRUCT, WRAPPER */
};

struct proto_plan {
    struct arena *arena;
    struct plan_message root;
};

/* ---- Values ----------------------------------------------------------------------------------------------------- */

static bool put_varint(const struct plan_field *field, const struct wire_field *value, struct engine_rows *rows)
{
    engine_rows_put_int64(rows, field->node, (int64_t)value->value);
    return true;
}

static bool put_int32(const struct plan_field *field, const struct wire_field *value, struct engine_rows *rows)
{
    engine_rows_put_int64(rows, field->node, (int32_t)value->value);
    return true;
}

static bool put_uint32(const struct plan_field *field, const struct wire_field *value, struct engine_rows *rows)
{
    engine_rows_put_int64(rows, field->node, (uint32_t)value->value);
    return true;
}

static bool put_uint64_numeric(const struct plan_field *field, const struct wire_field *value, struct engine_rows *rows)
{
    char digits[24], *p = digits + sizeof digits;
    uint64_t rest = value->value;
    do
        *--p = (char)('0' + rest % 10);
    while ((rest /= 10) > 0);
    engine_rows_put_string(rows, field->node, slice_of(p, (size_t)(digits + sizeof digits - p)));
    return true;
}

static bool put_bool(const struct plan_field *field, const struct wire_field *value, struct engine_rows *rows)
{
    engine_rows_put_bool(rows, field->node, value->value != 0);
    return true;
}

static bool put_double(const struct plan_field *field, const struct wire_field *value, struct engine_rows *rows)
{
    double number;
    memcpy(&number, &value->value, sizeof number);
    engine_rows_put_double(rows, field->node, number);
    return true;
}

static bool put_float(const struct plan_field *field, const struct wire_field *value, struct engine_rows *rows)
{
    uint32_t bits = (uint32_t)value->value;
    float number;
    memcpy(&number, &bits, sizeof number);
    engine_rows_put_double(rows, field->node, (double)number);
    return true;
}

static bool put_string(const struct plan_field *field, const struct wire_field *value, struct engine_rows *rows)
{
    engine_rows_put_string(rows, field->node, value->bytes);
    return true;
}

static bool put_bytes(const struct plan_field *field, const struct wire_field *value, struct engine_rows *rows)
{
    engine_rows_put_bytes(rows, field->node, value->bytes);
    return true;
}

static bool put_enum_name(const struct plan_field *field, const struct wire_field *value, struct engine_rows *rows)
{
    const struct proto_enum_value *v = field->values ? field->values->values : NULL;
    while (v && v->number != (int32_t)value->value)
        v = v->next;
    if (v)
        engine_rows_put_string(rows, field->node, v->name);
    else
        engine_rows_fail(rows, "Field %.*s: enum value %d is not defined", SLICE_ARG(field->name), (int)value->value);
    return v != NULL;
}

/* Which proto types a column takes, and how. */
static const struct {
    enum engine_type column;
    enum proto_type type;
    put_fn *put;
} conversions[] = {
    {ENGINE_BOOL, PROTO_BOOL, put_bool},
    {ENGINE_BOOL, PROTO_INT32, put_bool},
    {ENGINE_BOOL, PROTO_INT64, put_bool},
    {ENGINE_BOOL, PROTO_UINT32, put_bool},
    {ENGINE_BOOL, PROTO_UINT64, put_bool},
    {ENGINE_INT64, PROTO_INT64, put_varint},
    {ENGINE_INT64, PROTO_INT32, put_int32},
    {ENGINE_INT64, PROTO_UINT32, put_uint32},
    {ENGINE_INT64, PROTO_ENUM, put_int32},
    {ENGINE_FLOAT64, PROTO_DOUBLE, put_double},
    {ENGINE_FLOAT64, PROTO_FLOAT, put_float},
    {ENGINE_STRING, PROTO_STRING, put_string},
    {ENGINE_STRING, PROTO_ENUM, put_enum_name},
    {ENGINE_BYTES, PROTO_BYTES, put_bytes},
    {ENGINE_BYTES, PROTO_STRING, put_bytes},
    {ENGINE_DATE, PROTO_INT32, put_int32},
    {ENGINE_DATE, PROTO_INT64, put_varint},
    {ENGINE_DATE, PROTO_STRING, put_string},
    {ENGINE_TIMESTAMP, PROTO_INT64, put_varint},
    {ENGINE_TIMESTAMP, PROTO_INT32, put_int32},
    {ENGINE_TIMESTAMP, PROTO_UINT32, put_uint32},
    {ENGINE_DATETIME, PROTO_STRING, put_string},
    {ENGINE_DATETIME, PROTO_INT64, put_varint},
    {ENGINE_TIME, PROTO_STRING, put_string},
    {ENGINE_TIME, PROTO_INT64, put_varint},
    {ENGINE_NUMERIC, PROTO_STRING, put_string},
    {ENGINE_NUMERIC, PROTO_BYTES, put_bytes},
    {ENGINE_NUMERIC, PROTO_INT64, put_varint},
    {ENGINE_NUMERIC, PROTO_INT32, put_int32},
    {ENGINE_NUMERIC, PROTO_UINT32, put_uint32},
    {ENGINE_NUMERIC, PROTO_UINT64, put_uint64_numeric},
    {ENGINE_NUMERIC, PROTO_DOUBLE, put_double},
    {ENGINE_NUMERIC, PROTO_FLOAT, put_float},
    {ENGINE_JSON, PROTO_STRING, put_string},
};

static put_fn *conversion(enum engine_type column, enum proto_type type)
{
    for (size_t i = 0; i < sizeof conversions / sizeof conversions[0]; i++)
        if (conversions[i].column == column && conversions[i].type == type)
            return conversions[i].put;
    return NULL;
}

static enum wire_type wire_type_of(enum proto_type type)
{
    switch (type) {
    case PROTO_DOUBLE:
        return WIRE_FIXED64;
    case PROTO_FLOAT:
        return WIRE_FIXED32;
    case PROTO_STRING:
    case PROTO_BYTES:
    case PROTO_MESSAGE:
        return WIRE_BYTES;
    default:
        return WIRE_VARINT;
    }
}

/* ---- Plans ------------------------------------------------------------------------------------------------------ */

static const char *column_type_name(enum engine_type type)
{
    static const char *const names[] = {"STRING",    "BYTES", "INT64", "FLOAT64",  "BOOL", "NUMERIC",
                                        "TIMESTAMP", "DATE",  "TIME",  "DATETIME", "JSON", "STRUCT"};
    return names[type];
}

static const struct engine_field *column_named(const struct engine_field *columns, size_t count, struct slice name)
{
    for (size_t i = 0; i < count; i++)
        if (slice_eq_nocase(slice_str(columns[i].name), name))
            return &columns[i];
    return NULL;
}

static bool mismatch(struct error *err, const struct proto_message *message, const struct proto_field *field,
                     const struct engine_field *column)
{
    return error_set(err, ERROR_PERMANENT, "descriptor",
                     "The proto field mismatched with BigQuery field at %.*s.%.*s, the proto field type %s, BigQuery "
                     "field type %s",
                     SLICE_ARG(message->name), SLICE_ARG(field->name), proto_type_name(field->type),
                     column_type_name(column->type));
}

static bool plan_message(struct arena *arena, const struct proto_message *message, const struct engine_field *columns,
                         size_t column_count, struct plan_message *ret, struct error *err);

static bool plan_scalar(const struct proto_message *message, const struct proto_field *field,
                        const struct engine_field *column, struct plan_field *ret, struct error *err)
{
    ret->put = conversion(column->type, field->type);
    if (!ret->put)
        return mismatch(err, message, field, column);
    if (ret->put == put_enum_name)
        ret->values = proto_find_enum(message, field->type_name);
    return true;
}

static bool ends_with(struct slice s, const char *suffix)
{
    size_t len = strlen(suffix);
    return s.len >= len && memcmp(s.ptr + s.len - len, suffix, len) == 0;
}

/* A wrapper that is not in the descriptor is known by its name: its value has this type. */
static enum proto_type known_wrapper(struct slice type_name)
{
    static const struct {
        const char *name;
        enum proto_type type;
    } wrappers[] = {
        {"DoubleValue", PROTO_DOUBLE}, {"FloatValue", PROTO_FLOAT},   {"UInt64Value", PROTO_UINT64},
        {"Int64Value", PROTO_INT64},   {"UInt32Value", PROTO_UINT32}, {"Int32Value", PROTO_INT32},
        {"BoolValue", PROTO_BOOL},     {"StringValue", PROTO_STRING}, {"BytesValue", PROTO_BYTES},
    };
    for (size_t i = 0; i < sizeof wrappers / sizeof wrappers[0]; i++)
        if (ends_with(type_name, wrappers[i].name))
            return wrappers[i].type;
    return 0;
}

static bool is_well_known(struct slice type_name)
{
    return memmem(type_name.ptr, type_name.len, "google.protobuf.", 16) != NULL ||
           memmem(type_name.ptr, type_name.len, "google_protobuf_", 16) != NULL;
}

/* A message on a scalar column: google.protobuf.Timestamp or a wrapper, by name, declared inside the root or not. */
static bool plan_well_known(struct arena *arena, const struct proto_message *message, const struct proto_field *field,
                            const struct engine_field *column, struct plan_field *ret, struct error *err)
{
    enum proto_type inner = known_wrapper(field->type_name);
    if (!is_well_known(field->type_name))
        return mismatch(err, message, field, column);
    if (column->type == ENGINE_TIMESTAMP && ends_with(field->type_name, "Timestamp")) {
        ret->shape = SHAPE_TIMESTAMP;
        return true;
    }
    put_fn *put = inner ? conversion(column->type, inner) : NULL;
    if (!put)
        return mismatch(err, message, field, column);
    ret->shape = SHAPE_WRAPPER;
    ret->sub.field_count = 1;
    ret->sub.fields = arena_zalloc(arena, sizeof *ret->sub.fields);
    *ret->sub.fields = (struct plan_field){
        .number = 1, .node = column->node, .type = inner, .wire = wire_type_of(inner), .name = field->name, .put = put};
    return true;
}

static bool plan_field_of(struct arena *arena, const struct proto_message *message, const struct proto_field *field,
                          const struct engine_field *column, struct plan_field *ret, struct error *err)
{
    bool repeated = field->label == PROTO_REPEATED;
    *ret = (struct plan_field){
        .number = field->number,
        .node = column->node,
        .type = field->type,
        .wire = wire_type_of(field->type),
        .repeated = repeated,
        .name = field->name,
    };
    if (repeated != (column->mode == ENGINE_REPEATED))
        return error_set(
            err, ERROR_PERMANENT, "descriptor",
            "The proto field mismatched with BigQuery field at %.*s.%.*s, the proto field %s repeated, the "
            "BigQuery field %s",
            SLICE_ARG(message->name), SLICE_ARG(field->name), repeated ? "is" : "is not", repeated ? "is not" : "is");
    if (field->type != PROTO_MESSAGE)
        return plan_scalar(message, field, column, ret, err);
    if (column->type != ENGINE_STRUCT)
        return plan_well_known(arena, message, field, column, ret, err);
    const struct proto_message *nested = proto_find_message(message, field->type_name);
    if (!nested)
        return error_set(err, ERROR_PERMANENT, "descriptor",
                         "Invalid proto schema: type \"%.*s\" of field %.*s is not defined in it",
                         SLICE_ARG(field->type_name), SLICE_ARG(field->name));
    ret->shape = SHAPE_STRUCT;
    return plan_message(arena, nested, column->fields, column->field_count, &ret->sub, err);
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = ((const struct plan_field *)a)->number, y = ((const struct plan_field *)b)->number;
    return x < y ? -1 : x > y;
}

static bool check_unique(const struct plan_message *plan, const struct proto_message *message, struct error *err)
{
    for (size_t i = 1; i < plan->field_count; i++)
        if (plan->fields[i].number == plan->fields[i - 1].number)
            return error_set(err, ERROR_PERMANENT, "descriptor",
                             "Invalid proto schema: message %.*s has number %u twice", SLICE_ARG(message->name),
                             plan->fields[i].number);
    return true;
}

static bool plan_message(struct arena *arena, const struct proto_message *message, const struct engine_field *columns,
                         size_t column_count, struct plan_message *ret, struct error *err)
{
    bool *taken = arena_zalloc(arena, column_count + 1);
    ret->fields = arena_zalloc(arena, (message->field_count + 1) * sizeof *ret->fields);
    for (const struct proto_field *field = message->fields; field; field = field->next) {
        const struct engine_field *column = column_named(columns, column_count, field->column);
        if (!column)
            return error_set(err, ERROR_PERMANENT, "extra_fields",
                             "Input schema has more fields than BigQuery schema, extra fields: '%.*s'",
                             SLICE_ARG(field->column));
        if (taken[column - columns])
            return error_set(err, ERROR_PERMANENT, "descriptor", "Invalid proto schema: two fields for column %s",
                             column->name);
        taken[column - columns] = true;
        if (!plan_field_of(arena, message, field, column, &ret->fields[ret->field_count++], err))
            return false;
    }
    qsort(ret->fields, ret->field_count, sizeof *ret->fields, by_number);
    return check_unique(ret, message, err);
}

struct proto_plan *proto_plan_new(struct slice descriptor, const struct engine_schema *schema, struct error *err)
{
    struct arena *arena = arena_new(0);
    struct slice copy = slice_of(arena_strdup(arena, descriptor), descriptor.len);
    struct proto_plan *plan = arena_zalloc(arena, sizeof *plan);
    struct proto_message *root = proto_descriptor_parse(arena, copy, err);
    size_t count;
    const struct engine_field *columns = engine_schema_fields(schema, &count);
    plan->arena = arena;
    if (!root || !plan_message(arena, root, columns, count, &plan->root, err)) {
        arena_free(arena);
        return NULL;
    }
    return plan;
}

void proto_plan_free(struct proto_plan *plan)
{
    if (plan)
        arena_free(plan->arena);
}

/* ---- Rows ------------------------------------------------------------------------------------------------------- */

static const struct plan_field *find_field(const struct plan_message *plan, uint32_t number, size_t *hint)
{
    if (*hint < plan->field_count && plan->fields[*hint].number == number)
        return &plan->fields[(*hint)++];
    size_t low = 0, high = plan->field_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (plan->fields[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == plan->field_count || plan->fields[low].number != number)
        return NULL;
    *hint = low + 1;
    return &plan->fields[low];
}

static bool put_message(const struct plan_message *plan, struct slice bytes, struct engine_rows *rows);

static bool bad_value(const struct plan_field *field, struct engine_rows *rows)
{
    engine_rows_fail(rows, "Field %.*s: the value is not encoded as %s", SLICE_ARG(field->name),
                     proto_type_name(field->type));
    return false;
}

static bool put_packed(const struct plan_field *field, struct slice bytes, struct engine_rows *rows)
{
    struct wire w = wire_of(bytes);
    struct wire_field value = {.number = field->number, .type = field->wire};
    bool ok = true;
    while (ok && w.p < w.end) {
        size_t size = field->wire == WIRE_FIXED64 ? 8 : 4;
        bool got = field->wire == WIRE_VARINT ? wire_varint(&w, &value.value) : wire_fixed(&w, size, &value.value);
        ok = got ? field->put(field, &value, rows) : bad_value(field, rows);
    }
    return ok;
}

static bool put_timestamp(const struct plan_field *field, struct slice bytes, struct engine_rows *rows)
{
    struct wire w = wire_of(bytes);
    struct wire_field f;
    int64_t seconds = 0, nanos = 0, us;
    while (wire_next(&w, &f)) {
        if (f.number == 1 && f.type == WIRE_VARINT)
            seconds = (int64_t)f.value;
        else if (f.number == 2 && f.type == WIRE_VARINT)
            nanos = (int32_t)f.value;
    }
    bool ok = !w.bad && nanos >= 0 && nanos < 1000000000 && !__builtin_mul_overflow(seconds, 1000000, &us) &&
              !__builtin_add_overflow(us, nanos / 1000, &us);
    if (!ok)
        return bad_value(field, rows);
    engine_rows_put_int64(rows, field->node, us);
    return true;
}

/* An absent value of a wrapper is the type's zero. */
static bool put_wrapper(const struct plan_field *field, struct slice bytes, struct engine_rows *rows)
{
    const struct plan_field *inner = field->sub.fields;
    struct wire_field value = {.number = 1, .type = inner->wire, .bytes = SLICE_LIT("")}, f;
    struct wire w = wire_of(bytes);
    while (wire_next(&w, &f)) {
        if (f.number == 1 && f.type != inner->wire)
            return bad_value(field, rows);
        if (f.number == 1)
            value = f;
    }
    return w.bad ? bad_value(field, rows) : inner->put(inner, &value, rows);
}

static bool put_value(const struct plan_field *field, const struct wire_field *value, struct engine_rows *rows)
{
    bool packed = field->repeated && value->type == WIRE_BYTES && field->wire != WIRE_BYTES;
    if (packed)
        return put_packed(field, value->bytes, rows);
    if (value->type != field->wire)
        return bad_value(field, rows);
    if (field->shape == SHAPE_SCALAR)
        return field->put(field, value, rows);
    if (field->shape == SHAPE_TIMESTAMP)
        return put_timestamp(field, value->bytes, rows);
    if (field->shape == SHAPE_WRAPPER)
        return put_wrapper(field, value->bytes, rows);
    engine_rows_begin_struct(rows, field->node);
    bool ok = put_message(&field->sub, value->bytes, rows);
    engine_rows_end_struct(rows, field->node);
    return ok;
}

static bool put_message(const struct plan_message *plan, struct slice bytes, struct engine_rows *rows)
{
    struct wire w = wire_of(bytes);
    struct wire_field value;
    size_t hint = 0;
    while (wire_next(&w, &value)) {
        const struct plan_field *field = find_field(plan, value.number, &hint);
        if (field && !put_value(field, &value, rows))
            return false;
    }
    if (w.bad)
        engine_rows_fail(rows, "The row is not a well-formed protobuf message");
    return !w.bad;
}

void proto_plan_put_row(const struct proto_plan *plan, struct slice row, struct engine_rows *rows)
{
    engine_rows_begin_row(rows);
    put_message(&plan->root, row, rows);
    engine_rows_end_row(rows);
}
