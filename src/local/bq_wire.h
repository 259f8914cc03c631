/* bq_wire.h - reads protobuf's wire format field by field, without copies. All bytes are hostile. */
#ifndef ST_LOCAL_BQ_WIRE_H
#define ST_LOCAL_BQ_WIRE_H

#include "base/slice.h"

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct wire {
    const uint8_t *p, *end;
    bool bad; /* what was read is not well-formed; nothing more comes */
};

struct wire_field {
    uint32_t number;
    enum wire_type type;
    uint64_t value;     /* VARINT, FIXED64, FIXED32 */
    struct slice bytes; /* BYTES */
};

static inline struct wire wire_of(struct slice s)
{
    const uint8_t *p = (const uint8_t *)s.ptr;
    return (struct wire){p, p ? p + s.len : p, false};
}

static inline bool wire_fail(struct wire *w)
{
    w->bad = true;
    w->p = w->end;
    return false;
}

static inline bool wire_varint(struct wire *w, uint64_t *ret)
{
    uint64_t value = 0;
    if (w->p < w->end && *w->p < 0x80) {
        *ret = *w->p++;
        return true;
    }
    for (int shift = 0; shift < 64 && w->p < w->end; shift += 7) {
        uint8_t byte = *w->p++;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *ret = value;
            return true;
        }
    }
    return wire_fail(w);
}

/* Little-endian, `size` 4 or 8. */
static inline bool wire_fixed(struct wire *w, size_t size, uint64_t *ret)
{
    uint64_t value = 0;
    if ((size_t)(w->end - w->p) < size)
        return wire_fail(w);
    for (size_t i = 0; i < size; i++)
        value |= (uint64_t)w->p[i] << (8 * i);
    w->p += size;
    *ret = value;
    return true;
}

static inline bool wire_bytes(struct wire *w, struct slice *ret)
{
    uint64_t len;
    if (!wire_varint(w, &len) || len > (uint64_t)(w->end - w->p))
        return wire_fail(w);
    *ret = slice_of(w->p, (size_t)len);
    w->p += len;
    return true;
}

/* False at the end, and for malformed bytes (then bad is set). Groups are malformed: nothing here uses them. */
static inline bool wire_next(struct wire *w, struct wire_field *field)
{
    uint64_t tag;
    if (w->p >= w->end || !wire_varint(w, &tag))
        return false;
    if (tag >> 3 == 0 || tag >> 3 > 0x1FFFFFFF)
        return wire_fail(w);
    field->number = (uint32_t)(tag >> 3);
    field->type = (enum wire_type)(tag & 7);
    if (field->type == WIRE_VARINT)
        return wire_varint(w, &field->value);
    if (field->type == WIRE_BYTES)
        return wire_bytes(w, &field->bytes);
    if (field->type == WIRE_FIXED64)
        return wire_fixed(w, 8, &field->value);
    if (field->type == WIRE_FIXED32)
        return wire_fixed(w, 4, &field->value);
    return wire_fail(w);
}

#endif
