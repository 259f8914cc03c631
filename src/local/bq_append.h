/* bq_append.h - one AppendRowsRequest, taken apart without copies. */
#ifndef ST_LOCAL_BQ_APPEND_H
#define ST_LOCAL_BQ_APPEND_H

#include "base/slice.h"

struct append_request {
    struct slice bytes; /* the whole message; everything below points into it */
    struct slice write_stream;
    bool has_offset;
    int64_t offset;
    bool has_proto_rows, has_arrow_rows;
    struct slice descriptor; /* ptr NULL: none */
    struct slice rows;       /* ProtoRows bytes */
    int64_t row_count;
    int default_missing; /* MissingValueInterpretation; 0 = unchanged */
};

bool append_request_parse(struct slice bytes, struct append_request *ret);
/* Calls fn for each entry of missing_value_interpretations. */
void append_request_each_missing(const struct append_request *request,
                                 void (*fn)(void *user, struct slice column, int interpretation), void *user);

/* Iterates ProtoRows: false at the end. */
struct wire;
bool append_rows_next(struct wire *w, struct slice *ret_row);

#endif
