/* wire.h - protobuf wire format, the four primitives that rows and descriptors need, inlined for the encoder.
 *
 * Proto2 rules: a value that is absent is not written, a zero that is there is. Field numbers are positions + 1. */
#ifndef ST_RECORD_WIRE_H
#define ST_RECORD_WIRE_H

#include "base/buf.h"

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2 };
enum { WIRE_MAX_VARINT_BYTES = 10 };

/* Room for `more` bytes and the NUL behind them, without a call when there is plenty. */
static inline char *wire_room(struct buf *b, size_t more)
{
    if (b->cap - b->len <= more)
        buf_reserve(b, more);
    return b->ptr + b->len;
}

/* The caller has made room for WIRE_MAX_VARINT_BYTES. */
static inline char *wire_varint_at(char *at, uint64_t value)
{
    while (value >= 0x80) {
        *at++ = (char)(value | 0x80);
        value >>= 7;
    }
    *at++ = (char)value;
    return at;
}

static inline void wire_end(struct buf *b, const char *at)
{
    b->len = (size_t)(at - b->ptr);
    b->ptr[b->len] = '\0';
}

static inline char *wire_key_at(char *at, size_t position, enum wire_type type)
{
    return wire_varint_at(at, ((uint64_t)position + 1) << 3 | (uint64_t)type);
}

static inline void wire_put_varint(struct buf *b, size_t position, uint64_t value)
{
    char *at = wire_room(b, 2 * WIRE_MAX_VARINT_BYTES);
    at = wire_key_at(at, position, WIRE_VARINT);
    wire_end(b, wire_varint_at(at, value));
}

static inline void wire_put_bytes(struct buf *b, size_t position, struct slice value)
{
    char *at = wire_room(b, 2 * WIRE_MAX_VARINT_BYTES + value.len);
    at = wire_key_at(at, position, WIRE_BYTES);
    at = wire_varint_at(at, value.len);
    if (value.len > 0)
        memcpy(at, value.ptr, value.len);
    wire_end(b, at + value.len);
}

static inline void wire_put_double(struct buf *b, size_t position, double value)
{
    char *at = wire_room(b, WIRE_MAX_VARINT_BYTES + sizeof(uint64_t));
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    at = wire_key_at(at, position, WIRE_FIXED64);
    for (int i = 0; i < 8; i++)
        *at++ = (char)(bits >> (8 * i));
    wire_end(b, at);
}

#endif
