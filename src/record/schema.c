/* schema.c - what follows from a list of columns: SQL types, writer descriptor, row bytes.
 *
 * The descriptor is hand-encoded: only five fields of FieldDescriptorProto and three of DescriptorProto are needed, and
 * the generated source of descriptor.proto would be larger than this layer. BigQuery reads it with proto2 presence: an
 * absent field is a missing value, so NULL needs no mark of its own. Pure functions; any thread. */
#include "record/schema.h"

#include "wire.h"

/* Field numbers of google.protobuf.DescriptorProto and FieldDescriptorProto, minus one as positions. */
enum { MESSAGE_NAME = 0, MESSAGE_FIELD = 1, MESSAGE_NESTED = 2 };
enum { FIELD_NAME = 0, FIELD_NUMBER = 2, FIELD_LABEL = 3, FIELD_TYPE = 4, FIELD_TYPE_NAME = 5 };
enum { LABEL_OPTIONAL = 1, LABEL_REQUIRED = 2, LABEL_REPEATED = 3 };
enum { TYPE_DOUBLE = 1, TYPE_INT64 = 3, TYPE_INT32 = 5, TYPE_BOOL = 8, TYPE_STRING = 9, TYPE_MESSAGE = 11 };

static const struct {
    const char *sql;
    int wire;
} types[] = {
    [COLUMN_STRING] = {"STRING", TYPE_STRING},   [COLUMN_INT64] = {"INT64", TYPE_INT64},
    [COLUMN_FLOAT64] = {"FLOAT64", TYPE_DOUBLE}, [COLUMN_BOOL] = {"BOOL", TYPE_BOOL},
    [COLUMN_NUMERIC] = {"NUMERIC", TYPE_STRING}, [COLUMN_TIMESTAMP] = {"TIMESTAMP", TYPE_INT64},
    [COLUMN_DATE] = {"DATE", TYPE_INT32},        [COLUMN_JSON] = {"JSON", TYPE_STRING},
    [COLUMN_STRUCT] = {"STRUCT", TYPE_MESSAGE},
};

static const int labels[] = {
    [COLUMN_NULLABLE] = LABEL_OPTIONAL,
    [COLUMN_REQUIRED] = LABEL_REQUIRED,
    [COLUMN_REPEATED] = LABEL_REPEATED,
};

const char *column_type_sql(enum column_type type)
{
    return types[type].sql;
}

static void struct_sql(struct buf *out, const struct column *column)
{
    buf_append_str(out, "STRUCT<");
    for (size_t i = 0; i < column->field_count; i++) {
        buf_printf(out, "%s`%s` ", i ? ", " : "", column->fields[i].name);
        column_sql(out, &column->fields[i]);
    }
    buf_append_char(out, '>');
}

void column_sql(struct buf *out, const struct column *column)
{
    bool repeated = column->mode == COLUMN_REPEATED;
    if (repeated)
        buf_append_str(out, "ARRAY<");
    if (column->type == COLUMN_STRUCT)
        struct_sql(out, column);
    else
        buf_append_str(out, column_type_sql(column->type));
    if (repeated)
        buf_append_char(out, '>');
}

size_t column_index(const struct column *columns, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(columns[i].name, name) == 0)
            return i;
    }
    return SIZE_MAX;
}

const struct column *column_find(const struct column *columns, size_t count, const char *name)
{
    size_t i = column_index(columns, count, name);
    return i == SIZE_MAX ? NULL : &columns[i];
}

/* Name of a STRUCT's message type: field names are unique within their message, so theirs is too. */
static void struct_message_name(struct buf *out, const struct column *column)
{
    buf_printf(out, "%s_message", column->name);
}

static void put_field(struct buf *out, const struct column *column, size_t position)
{
    struct buf field = BUF_INIT;
    wire_put_bytes(&field, FIELD_NAME, slice_str(column->name));
    wire_put_varint(&field, FIELD_NUMBER, position + 1);
    wire_put_varint(&field, FIELD_LABEL, (uint64_t)labels[column->mode]);
    wire_put_varint(&field, FIELD_TYPE, (uint64_t)types[column->type].wire);
    if (column->type == COLUMN_STRUCT) {
        struct buf name = BUF_INIT;
        struct_message_name(&name, column);
        wire_put_bytes(&field, FIELD_TYPE_NAME, buf_slice(&name));
        buf_release(&name);
    }
    wire_put_bytes(out, MESSAGE_FIELD, buf_slice(&field));
    buf_release(&field);
}

static void put_nested(struct buf *out, const struct column *column)
{
    struct buf name = BUF_INIT, nested = BUF_INIT;
    struct_message_name(&name, column);
    schema_descriptor(&nested, buf_cstr(&name), column->fields, column->field_count);
    wire_put_bytes(out, MESSAGE_NESTED, buf_slice(&nested));
    buf_release(&nested);
    buf_release(&name);
}

void schema_descriptor(struct buf *out, const char *message_name, const struct column *columns, size_t count)
{
    wire_put_bytes(out, MESSAGE_NAME, slice_str(message_name));
    for (size_t i = 0; i < count; i++) {
        if (!columns[i].default_sql)
            put_field(out, &columns[i], i);
    }
    for (size_t i = 0; i < count; i++) {
        if (columns[i].type == COLUMN_STRUCT && !columns[i].default_sql)
            put_nested(out, &columns[i]);
    }
}

void row_put_int64(struct buf *row, size_t position, int64_t value)
{
    wire_put_varint(row, position, (uint64_t)value);
}

void row_put_string(struct buf *row, size_t position, struct slice value)
{
    wire_put_bytes(row, position, value);
}

void row_put_double(struct buf *row, size_t position, double value)
{
    wire_put_double(row, position, value);
}
