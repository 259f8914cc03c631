/* row_view.h - row bytes back into text, for tests: `id=12 total=7.5 tags=[1,2] batch={id=1 name="x"}`, in the order of
 * the columns.
 *
 * A decoder of its own: it shares the column list with the code under test, and nothing else. */
#ifndef ST_TEST_ROW_VIEW_H
#define ST_TEST_ROW_VIEW_H

#include <inttypes.h>

#include "base/timestamp.h"
#include "record/schema.h"

struct wire_field {
    uint64_t number;
    int type;
    uint64_t scalar;    /* varint or fixed64 */
    struct slice bytes; /* length-delimited */
};

static inline bool wire_varint(struct slice *in, uint64_t *ret)
{
    *ret = 0;
    for (int shift = 0; shift < 64 && in->len > 0; shift += 7) {
        unsigned char c = (unsigned char)*in->ptr++;
        in->len--;
        *ret |= (uint64_t)(c & 0x7f) << shift;
        if (c < 0x80)
            return true;
    }
    return false;
}

static inline bool wire_next(struct slice *in, struct wire_field *ret)
{
    uint64_t key, length;
    if (!wire_varint(in, &key))
        return false;
    ret->number = key >> 3;
    ret->type = (int)(key & 7);
    if (ret->type == 0)
        return wire_varint(in, &ret->scalar);
    if (ret->type == 1 && in->len >= 8) {
        memcpy(&ret->scalar, in->ptr, 8);
        *in = slice_of(in->ptr + 8, in->len - 8);
        return true;
    }
    if (ret->type != 2 || !wire_varint(in, &length) || length > in->len)
        return false;
    ret->bytes = slice_of(in->ptr, (size_t)length);
    *in = slice_of(in->ptr + length, in->len - (size_t)length);
    return true;
}

static inline void row_view(struct buf *out, const struct column *columns, size_t count, struct slice row);

static inline void field_view(struct buf *out, const struct column *column, const struct wire_field *field)
{
    double real;
    switch (column->type) {
    case COLUMN_STRING:
    case COLUMN_JSON:
        buf_append_json_string(out, field->bytes);
        break;
    case COLUMN_NUMERIC:
        buf_append_slice(out, field->bytes);
        break;
    case COLUMN_INT64:
        buf_printf(out, "%" PRId64, (int64_t)field->scalar);
        break;
    case COLUMN_BOOL:
        buf_append_str(out, field->scalar ? "true" : "false");
        break;
    case COLUMN_FLOAT64:
        memcpy(&real, &field->scalar, sizeof real);
        buf_printf(out, "%.17g", real);
        break;
    case COLUMN_TIMESTAMP:
        timestamp_format(out, (int64_t)field->scalar, 6);
        break;
    case COLUMN_DATE:
        timestamp_format_date(out, (int32_t)(int64_t)field->scalar);
        break;
    case COLUMN_STRUCT:
        buf_append_char(out, '{');
        row_view(out, column->fields, column->field_count, field->bytes);
        buf_append_char(out, '}');
        break;
    }
}

/* A scalar column that is there twice shows both values. */
static inline size_t column_view(struct buf *out, const struct column *column, uint64_t number, struct slice row)
{
    struct wire_field field = {0};
    size_t found = 0;
    while (row.len > 0 && wire_next(&row, &field)) {
        if (field.number != number)
            continue;
        if (found++ > 0)
            buf_append_char(out, ',');
        field_view(out, column, &field);
    }
    return found;
}

static inline void row_view(struct buf *out, const struct column *columns, size_t count, struct slice row)
{
    bool first = true;
    for (size_t i = 0; i < count; i++) {
        struct buf value = BUF_INIT;
        if (column_view(&value, &columns[i], i + 1, row) > 0) {
            bool list = columns[i].mode == COLUMN_REPEATED;
            buf_printf(out, "%s%s=%s%s%s", first ? "" : " ", columns[i].name, list ? "[" : "", buf_cstr(&value),
                       list ? "]" : "");
            first = false;
        }
        buf_release(&value);
    }
}

#endif
