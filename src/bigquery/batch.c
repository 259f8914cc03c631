/* batch.c - rows gathered in the form in which they travel.
 *
 * An AppendRowsRequest is written by hand, head and rows apart: packing megabytes through generated code would copy
 * every row twice more. Rows are kept as field 1 of ProtoRows from the start, so that the body is one piece of memory.
 */
#include "batch.h"

#include <stdlib.h>

enum { KEY_STREAM = 1 << 3 | 2, KEY_PROTO_ROWS = 4 << 3 | 2, KEY_TRACE = 6 << 3 | 2, KEY_MISSING = 8 << 3 | 0 };
enum { KEY_SCHEMA = 1 << 3 | 2, KEY_ROWS = 2 << 3 | 2 }; /* in ProtoData */
enum { KEY_FIRST_BYTES = 1 << 3 | 2 };                   /* ProtoSchema.proto_descriptor, ProtoRows.serialized_rows */
enum { MISSING_DEFAULT_VALUE = 2, VARINT_MAX = 10 };
enum { ROWS_KEEP_BYTES = 2 * BQ_ROWS_TARGET_BYTES };

struct batch *batch_new(uint64_t first_ticket)
{
    struct batch *batch = xcalloc(1, sizeof *batch);
    batch->first_ticket = first_ticket;
    batch->last_ticket = first_ticket - 1;
    return batch;
}

void batch_free(struct batch *batch)
{
    if (!batch)
        return;
    buf_release(&batch->rows);
    free(batch->items);
    free(batch);
}

static size_t varint(unsigned char out[VARINT_MAX], uint64_t value)
{
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        out[n++] = (unsigned char)(value | 0x80);
    out[n++] = (unsigned char)value;
    return n;
}

static void put_key_len(struct buf *out, unsigned key, size_t len)
{
    unsigned char bytes[VARINT_MAX + 1] = {(unsigned char)key};
    buf_append(out, bytes, 1 + varint(bytes + 1, len));
}

static size_t key_len_bytes(size_t len)
{
    unsigned char bytes[VARINT_MAX];
    return 1 + varint(bytes, len);
}

void batch_add(struct batch *batch, struct slice row, uint64_t tag, bq_row_error_fn *on_error, void *user)
{
    if (batch->count == batch->cap) {
        batch->cap = batch->cap ? batch->cap * 2 : 16;
        batch->items = xrealloc(batch->items, batch->cap * sizeof *batch->items);
    }
    put_key_len(&batch->rows, KEY_FIRST_BYTES, row.len);
    batch->items[batch->count++] = (struct batch_row){
        .offset = (uint32_t)batch->rows.len,
        .len = (uint32_t)row.len,
        .tag = tag,
        .on_error = on_error,
        .user = user,
    };
    buf_append_slice(&batch->rows, row);
    batch->last_ticket++;
    batch->bytes += row.len;
}

bool batch_is_full(const struct batch *batch, size_t row_len)
{
    return batch->count >= BQ_APPEND_MAX_ROWS || batch->rows.len >= BQ_APPEND_TARGET_BYTES ||
           (batch->count > 0 && batch->rows.len + row_len > 2 * BQ_APPEND_TARGET_BYTES);
}

void batch_drop(struct batch *batch, const bool *drop)
{
    struct buf old = batch->rows;
    size_t kept = 0;
    batch->rows = BUF_INIT;
    for (size_t i = 0; i < batch->count; i++) {
        struct batch_row item = batch->items[i];
        if (drop[i])
            continue;
        struct slice row = slice_of(old.ptr + item.offset, item.len);
        put_key_len(&batch->rows, KEY_FIRST_BYTES, row.len);
        item.offset = (uint32_t)batch->rows.len;
        buf_append_slice(&batch->rows, row);
        batch->items[kept++] = item;
    }
    batch->count = kept;
    buf_release(&old);
}

void append_request_head(struct buf *out, struct slice stream, struct slice descriptor, size_t rows_bytes)
{
    size_t schema_bytes = descriptor.ptr ? key_len_bytes(descriptor.len) + descriptor.len : 0;
    size_t data_bytes = key_len_bytes(rows_bytes) + rows_bytes;
    if (descriptor.ptr)
        data_bytes += key_len_bytes(schema_bytes) + schema_bytes;
    if (stream.ptr) {
        static const char trace[] = "st-ingestor";
        put_key_len(out, KEY_STREAM, stream.len);
        buf_append_slice(out, stream);
        put_key_len(out, KEY_TRACE, sizeof trace - 1);
        buf_append(out, trace, sizeof trace - 1);
        put_key_len(out, KEY_MISSING, MISSING_DEFAULT_VALUE); /* absent columns get the table's DEFAULT */
    }
    put_key_len(out, KEY_PROTO_ROWS, data_bytes);
    if (descriptor.ptr) {
        put_key_len(out, KEY_SCHEMA, schema_bytes);
        put_key_len(out, KEY_FIRST_BYTES, descriptor.len);
        buf_append_slice(out, descriptor);
    }
    put_key_len(out, KEY_ROWS, rows_bytes);
}

/* ---- Rows on their way to a batch -------------------------------------------------------------------------------- */

void bq_rows_end_row(struct bq_rows *rows)
{
    if (rows->count == rows->cap) {
        rows->cap = rows->cap ? rows->cap * 2 : 16;
        rows->ends = xrealloc(rows->ends, rows->cap * sizeof *rows->ends);
    }
    rows->ends[rows->count++] = rows->bytes.len;
}

bool bq_rows_is_full(const struct bq_rows *rows)
{
    return rows->bytes.len >= BQ_ROWS_TARGET_BYTES || rows->count >= BQ_APPEND_MAX_ROWS;
}

void bq_rows_clear(struct bq_rows *rows)
{
    rows->count = 0;
    if (rows->bytes.cap > ROWS_KEEP_BYTES)
        buf_release(&rows->bytes);
    else
        buf_clear(&rows->bytes);
}

void bq_rows_release(struct bq_rows *rows)
{
    buf_release(&rows->bytes);
    free(rows->ends);
    rows->ends = NULL;
    rows->count = rows->cap = 0;
}
