/* append_error.h - what an answer or the end of an append stream means. Pure. */
#ifndef ST_BIGQUERY_PRIVATE_APPEND_ERROR_H
#define ST_BIGQUERY_PRIVATE_APPEND_ERROR_H

#include "base/error.h"
#include "base/slice.h"

enum append_action {
    APPEND_RETRY,     /* reopen and resend */
    APPEND_THROTTLED, /* the same, more slowly and with more patience */
    APPEND_YOUNG,   /* the table or a column is not known to the write service yet: resend, with patience of its own */
    APPEND_REFRESH, /* the token was refused: once more with a new one */
    APPEND_FAIL,    /* the same request will fail again */
};

/* gRPC code and StorageErrorCode (0 = none) to what is done about it. */
enum append_action append_action(int grpc_code, int storage_code);
/* The StorageErrorCode inside serialized google.rpc.Status bytes (grpc-status-details-bin); 0 = none. */
int append_storage_code(struct slice status_bytes);

#endif
