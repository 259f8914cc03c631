/* batch.h - the rows of one AppendRows request, and the bytes of the request. Owned and locked by its appender. */
#ifndef ST_BIGQUERY_PRIVATE_BATCH_H
#define ST_BIGQUERY_PRIVATE_BATCH_H

#include "bigquery/write.h"

enum batch_state {
    BATCH_OPEN,  /* being gathered; the last of the list */
    BATCH_READY, /* waits to be sent, for the first time or again */
    BATCH_SENT,  /* its answer is awaited */
    BATCH_DONE,  /* settled; leaves the list when all before it have */
};

struct batch_row {
    uint32_t offset, len; /* of the row itself within rows */
    uint64_t tag;
    bq_row_error_fn *on_error;
    void *user;
};

struct batch {
    struct batch *next;      /* the appender's list, by tickets */
    struct batch *next_sent; /* the connection's list, by time of sending */
    int64_t sent_ms;         /* clock_mono_ms */
    enum batch_state state;
    bool in_send; /* the sender reads its bytes without the lock */
    uint64_t first_ticket, last_ticket;
    struct buf rows; /* ProtoRows: field 1 of every row */
    struct batch_row *items;
    size_t count, cap;
    size_t bytes; /* of rows as counted against the pipeline; does not change when rows are refused */
};

struct batch *batch_new(uint64_t first_ticket);
void batch_free(struct batch *batch);
void batch_add(struct batch *batch, struct slice row, uint64_t tag, bq_row_error_fn *on_error, void *user);
/* True when a row of this length belongs into the next request. */
bool batch_is_full(const struct batch *batch, size_t row_len);
/* Takes out the rows whose mark is set. */
void batch_drop(struct batch *batch, const bool *drop);

/* The request without its rows: the rows' bytes follow it. `stream` and `descriptor`: on the first request of a
 * connection, else SLICE_NULL. */
void append_request_head(struct buf *out, struct slice stream, struct slice descriptor, size_t rows_bytes);

#endif
