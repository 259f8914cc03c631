/* fake_write.h - the Storage Write service in the test's own process: it keeps what it acknowledged, and answers by a
 * queue of faults, one per request. */
#ifndef ST_TEST_FAKE_WRITE_H
#define ST_TEST_FAKE_WRITE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "../google/grpc_test_server.h"
#include "bigquery/write.h"
#include "bigquery_storage.pb-c.h"

enum { FAKE_MAX_ROWS = 65536, FAKE_MAX_FAULTS = 64 };

enum fault_kind {
    FAULT_NONE,
    FAULT_ROW,        /* row `at` is refused */
    FAULT_STATUS,     /* the request fails in-band with `code` */
    FAULT_END,        /* the stream ends with `code` instead of an answer */
    FAULT_STORED_END, /* stored, but the stream ends before the answer */
    FAULT_SILENT,     /* stored, but no answer comes and the stream stays */
};
struct fault {
    enum fault_kind kind;
    int code;
    int64_t at;
};

struct fake_write {
    struct test_server *server;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct fault faults[FAKE_MAX_FAULTS];
    size_t fault_count, fault_next;
    char *rows[FAKE_MAX_ROWS]; /* acknowledged (or stored) rows as text */
    size_t lengths[FAKE_MAX_ROWS];
    size_t row_count;
    int requests, streams, first_requests;
    size_t largest_request, largest_rows;
    int held; /* > 0: answers wait until it is 0 */
    char stream_name[256];
    struct buf descriptor;
    int missing; /* default_missing_value_interpretation of the first request */
};

typedef Google__Cloud__Bigquery__Storage__V1__AppendRowsRequest fake_request;
typedef Google__Cloud__Bigquery__Storage__V1__AppendRowsResponse fake_response;

static inline void fake_keep_rows(struct fake_write *fake, const Google__Cloud__Bigquery__Storage__V1__ProtoRows *rows)
{
    for (size_t i = 0; i < rows->n_serialized_rows && fake->row_count < FAKE_MAX_ROWS; i++) {
        fake->lengths[fake->row_count] = rows->serialized_rows[i].len;
        fake->rows[fake->row_count++] =
            xstrndup((const char *)rows->serialized_rows[i].data, rows->serialized_rows[i].len);
    }
}

static inline void fake_note_first(struct fake_write *fake, const fake_request *request)
{
    if (!request->proto_rows->writer_schema)
        return;
    fake->first_requests++;
    fake->missing = (int)request->default_missing_value_interpretation;
    snprintf(fake->stream_name, sizeof fake->stream_name, "%s", request->write_stream);
    buf_clear(&fake->descriptor);
    buf_append(&fake->descriptor, request->proto_rows->writer_schema->proto_descriptor.data,
               request->proto_rows->writer_schema->proto_descriptor.len);
}

/* The fault of this request, and what it did to the rows. */
static inline struct fault fake_take(struct fake_write *fake, const fake_request *request, size_t bytes)
{
    struct fault fault = {FAULT_NONE, 0, 0};
    pthread_mutex_lock(&fake->mutex);
    fake->requests++;
    fake->largest_request = bytes > fake->largest_request ? bytes : fake->largest_request;
    size_t rows = request->proto_rows->rows->n_serialized_rows;
    fake->largest_rows = rows > fake->largest_rows ? rows : fake->largest_rows;
    fake_note_first(fake, request);
    pthread_cond_broadcast(&fake->changed);
    while (fake->held > 0)
        pthread_cond_wait(&fake->changed, &fake->mutex);
    if (fake->fault_next < fake->fault_count)
        fault = fake->faults[fake->fault_next++];
    if (fault.kind == FAULT_NONE || fault.kind == FAULT_STORED_END || fault.kind == FAULT_SILENT)
        fake_keep_rows(fake, request->proto_rows->rows);
    pthread_mutex_unlock(&fake->mutex);
    return fault;
}

/* False: the stream is to end. */
static inline bool fake_answer(struct test_call *call, struct fault fault)
{
    fake_response response;
    Google__Cloud__Bigquery__Storage__V1__AppendRowsResponse__AppendResult result;
    Google__Rpc__Status status;
    Google__Cloud__Bigquery__Storage__V1__RowError row, *rows[] = {&row};
    char message[] = "bad value", text[] = "told to";
    google__cloud__bigquery__storage__v1__append_rows_response__init(&response);
    google__cloud__bigquery__storage__v1__append_rows_response__append_result__init(&result);
    google__rpc__status__init(&status);
    google__cloud__bigquery__storage__v1__row_error__init(&row);
    if (fault.kind == FAULT_SILENT)
        return true;
    if (fault.kind == FAULT_END || fault.kind == FAULT_STORED_END) {
        test_call_finish(call, fault.code, "told to", SLICE_NULL);
        return false;
    }
    response.response_case = GOOGLE__CLOUD__BIGQUERY__STORAGE__V1__APPEND_ROWS_RESPONSE__RESPONSE_APPEND_RESULT;
    response.append_result = &result;
    if (fault.kind != FAULT_NONE) {
        status.code = fault.kind == FAULT_ROW ? 3 : fault.code;
        status.message = text;
        response.response_case = GOOGLE__CLOUD__BIGQUERY__STORAGE__V1__APPEND_ROWS_RESPONSE__RESPONSE_ERROR;
        response.error = &status;
    }
    if (fault.kind == FAULT_ROW) {
        row.index = fault.at;
        row.message = message;
        response.row_errors = rows;
        response.n_row_errors = 1;
    }
    return test_call_send_message(call, &response.base);
}

static inline void fake_handle(void *user, struct test_call *call)
{
    struct fake_write *fake = user;
    struct buf bytes = BUF_INIT;
    pthread_mutex_lock(&fake->mutex);
    fake->streams++;
    pthread_mutex_unlock(&fake->mutex);
    while (test_call_recv(call, &bytes)) {
        fake_request *request = google__cloud__bigquery__storage__v1__append_rows_request__unpack(
            NULL, bytes.len, (const uint8_t *)bytes.ptr);
        assert_non_null(request);
        struct fault fault = fake_take(fake, request, bytes.len);
        google__cloud__bigquery__storage__v1__append_rows_request__free_unpacked(request, NULL);
        if (!fake_answer(call, fault))
            break;
    }
    buf_release(&bytes);
}

static inline struct fake_write *fake_write_start(void)
{
    struct fake_write *fake = xcalloc(1, sizeof *fake);
    pthread_mutex_init(&fake->mutex, NULL);
    pthread_cond_init(&fake->changed, NULL);
    fake->server = test_server_start(fake_handle, fake);
    return fake;
}

static inline void fake_write_stop(struct fake_write *fake)
{
    test_server_stop(fake->server);
    for (size_t i = 0; i < fake->row_count; i++)
        free(fake->rows[i]);
    buf_release(&fake->descriptor);
    free(fake);
}

static inline void fake_fault(struct fake_write *fake, enum fault_kind kind, int code, int64_t at)
{
    pthread_mutex_lock(&fake->mutex);
    fake->faults[fake->fault_count++] = (struct fault){kind, code, at};
    pthread_mutex_unlock(&fake->mutex);
}

static inline void fake_hold(struct fake_write *fake, bool hold)
{
    pthread_mutex_lock(&fake->mutex);
    fake->held = hold;
    pthread_cond_broadcast(&fake->changed);
    pthread_mutex_unlock(&fake->mutex);
}

/* Behind this the test may read what acknowledged requests left: TSan does not see the order that gRPC makes. */
static inline void fake_sync(struct fake_write *fake)
{
    pthread_mutex_lock(&fake->mutex);
    pthread_mutex_unlock(&fake->mutex);
}

static inline void fake_await_requests(struct fake_write *fake, int requests)
{
    pthread_mutex_lock(&fake->mutex);
    while (fake->requests < requests)
        pthread_cond_wait(&fake->changed, &fake->mutex);
    pthread_mutex_unlock(&fake->mutex);
}

static inline struct bq_writer *fake_writer(struct fake_write *fake, struct google_credentials *creds,
                                            int64_t patience_ms)
{
    char target[32];
    struct error err = ERROR_INIT;
    snprintf(target, sizeof target, "127.0.0.1:%d", fake->server->port);
    struct bq_writer *writer = bq_writer_new(
        &(struct bq_writer_options){.project = "p", .target = target, .creds = creds, .patience_ms = patience_ms},
        &err);
    if (!writer)
        fail_msg("%s", err.message);
    return writer;
}

#endif
