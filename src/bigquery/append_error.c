/* append_error.c - failures of AppendRows, by gRPC code and StorageErrorCode, as one table (facts on BigQuery 1, 2).
 *
 * The order of the tries is what makes NOT_FOUND special: a table that exists may be unknown to the write service for a
 * minute or more after it was made, and a new column for minutes. A row is added only to tables that have been seen to
 * exist, so both are waited for. The default stream has no offsets: their codes cannot come. */
#include "append_error.h"

#include "bigquery_storage.pb-c.h"

#define STORAGE(name) GOOGLE__CLOUD__BIGQUERY__STORAGE__V1__STORAGE_ERROR__STORAGE_ERROR_CODE__##name

enum grpc_code {
    CODE_OK = 0,
    CODE_CANCELLED = 1,
    CODE_UNKNOWN = 2,
    CODE_DEADLINE_EXCEEDED = 4,
    CODE_NOT_FOUND = 5,
    CODE_RESOURCE_EXHAUSTED = 8,
    CODE_FAILED_PRECONDITION = 9,
    CODE_ABORTED = 10,
    CODE_INTERNAL = 13,
    CODE_UNAVAILABLE = 14,
    CODE_UNAUTHENTICATED = 16,
    CODE_ANY = -1,
};

static const struct {
    int grpc_code, storage_code; /* -1: any */
    enum append_action action;
} rows[] = {
    {CODE_ANY, STORAGE(TABLE_NOT_FOUND), APPEND_YOUNG},
    {CODE_ANY, STORAGE(STREAM_NOT_FOUND), APPEND_YOUNG},
    {CODE_ANY, STORAGE(SCHEMA_MISMATCH_EXTRA_FIELDS), APPEND_YOUNG},
    {CODE_NOT_FOUND, -1, APPEND_YOUNG},
    {CODE_RESOURCE_EXHAUSTED, -1, APPEND_THROTTLED},
    {CODE_UNAUTHENTICATED, -1, APPEND_REFRESH},
    {CODE_OK, -1, APPEND_RETRY}, /* ended without a status of its own */
    {CODE_CANCELLED, -1, APPEND_RETRY},
    {CODE_UNKNOWN, -1, APPEND_RETRY},
    {CODE_DEADLINE_EXCEEDED, -1, APPEND_RETRY},
    {CODE_FAILED_PRECONDITION, -1, APPEND_RETRY},
    {CODE_ABORTED, -1, APPEND_RETRY},
    {CODE_INTERNAL, -1, APPEND_RETRY},
    {CODE_UNAVAILABLE, -1, APPEND_RETRY},
};

enum append_action append_action(int grpc_code, int storage_code)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool code_fits = rows[i].grpc_code == CODE_ANY || rows[i].grpc_code == grpc_code;
        if (code_fits && (rows[i].storage_code == -1 || rows[i].storage_code == storage_code))
            return rows[i].action;
    }
    return APPEND_FAIL;
}

int append_storage_code(struct slice status_bytes)
{
    int code = 0;
    Google__Rpc__Status *status =
        google__rpc__status__unpack(NULL, status_bytes.len, (const uint8_t *)status_bytes.ptr);
    for (size_t i = 0; status && code == 0 && i < status->n_details; i++) {
        const Google__Protobuf__Any *any = status->details[i];
        if (!any->type_url || !strstr(any->type_url, "google.cloud.bigquery.storage.v1.StorageError"))
            continue;
        Google__Cloud__Bigquery__Storage__V1__StorageError *detail =
            google__cloud__bigquery__storage__v1__storage_error__unpack(NULL, any->value.len, any->value.data);
        if (detail) {
            code = (int)detail->code;
            google__cloud__bigquery__storage__v1__storage_error__free_unpacked(detail, NULL);
        }
    }
    if (status)
        google__rpc__status__free_unpacked(status, NULL);
    return code;
}
