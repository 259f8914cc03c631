/* bq_append_request.c - parses AppendRowsRequest by hand: rows stay where they were received. */
#include "bq_append.h"

#include "bq_wire.h"

bool append_rows_next(struct wire *w, struct slice *ret_row)
{
    struct wire_field f;
    while (wire_next(w, &f)) {
        if (f.number == 1 && f.type == WIRE_BYTES) {
            *ret_row = f.bytes;
            return true;
        }
    }
    return false;
}

/* The last field `number` of a message made of byte fields. */
static bool last_bytes(struct slice message, uint32_t number, struct slice *ret)
{
    struct wire w = wire_of(message);
    struct wire_field f;
    while (wire_next(&w, &f))
        if (f.number == number && f.type == WIRE_BYTES)
            *ret = f.bytes;
    return !w.bad;
}

static bool parse_rows(struct slice proto_data, struct append_request *ret)
{
    struct slice schema = SLICE_NULL, row;
    if (!last_bytes(proto_data, 1, &schema) || !last_bytes(proto_data, 2, &ret->rows))
        return false;
    if (schema.ptr && !last_bytes(schema, 1, &ret->descriptor))
        return false;
    struct wire w = wire_of(ret->rows);
    while (append_rows_next(&w, &row))
        ret->row_count++;
    return !w.bad;
}

static bool parse_offset(struct slice wrapper, struct append_request *ret)
{
    struct wire w = wire_of(wrapper);
    struct wire_field f;
    ret->has_offset = true;
    while (wire_next(&w, &f))
        if (f.number == 1 && f.type == WIRE_VARINT)
            ret->offset = (int64_t)f.value;
    return !w.bad;
}

bool append_request_parse(struct slice bytes, struct append_request *ret)
{
    struct wire w = wire_of(bytes);
    struct wire_field f;
    bool ok = true;
    *ret = (struct append_request){.bytes = bytes};
    while (ok && wire_next(&w, &f)) {
        bool text = f.type == WIRE_BYTES;
        if (f.number == 1 && text) {
            ret->write_stream = f.bytes;
        } else if (f.number == 2 && text) {
            ok = parse_offset(f.bytes, ret);
        } else if (f.number == 4 && text) {
            ret->has_proto_rows = true;
            ok = parse_rows(f.bytes, ret);
        } else if (f.number == 5 && text) {
            ret->has_arrow_rows = true;
        } else if (f.number == 8 && f.type == WIRE_VARINT) {
            ret->default_missing = (int)f.value;
        }
    }
    return ok && !w.bad;
}

void append_request_each_missing(const struct append_request *request,
                                 void (*fn)(void *user, struct slice column, int interpretation), void *user)
{
    struct wire w = wire_of(request->bytes);
    struct wire_field f, entry;
    while (wire_next(&w, &f)) {
        if (f.number != 7 || f.type != WIRE_BYTES)
            continue;
        struct wire e = wire_of(f.bytes);
        struct slice column = SLICE_LIT("");
        int interpretation = 0;
        while (wire_next(&e, &entry)) {
            if (entry.number == 1 && entry.type == WIRE_BYTES)
                column = entry.bytes;
            else if (entry.number == 2 && entry.type == WIRE_VARINT)
                interpretation = (int)entry.value;
        }
        fn(user, column, interpretation);
    }
}
