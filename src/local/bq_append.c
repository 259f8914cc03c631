/* bq_append.c - AppendRows connections.
 *
 * gRPC's handler only queues a request; a thread of the pool takes all that wait on a connection and serves them in
 * order. Neighbouring requests for one visible stream (_default or COMMITTED), with one writer schema and the same
 * defaults, go into one engine batch: one commit, then one response each. When a batch has row errors nothing of it was
 * stored, and its requests are served again one by one, so that only those with bad rows are refused and offsets behind
 * a refused one are out of range.
 *
 * A connection keeps what it knows of each destination (multiplexing is for default streams only). When a table has
 * changed, the schema is opened again and the next response carries updated_schema. */
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "bq_append.h"
#include "bq_wire.h"
#include "bq_write_internal.h"

enum {
    MAX_DESTINATIONS = 100,
    PAUSE_BYTES = 32 << 20, /* of queued requests: reading stops */
    BATCH_BYTES = 32 << 20,
    MAX_ROW_ERRORS_SENT = 100,
};

struct destination {
    struct destination *next;
    char *name;
    struct table_name table;
    struct write_stream *stream; /* NULL: the default stream */
    struct engine_schema *schema;
    struct proto_plan *plan;
    struct buf descriptor;
    bool announce; /* updated_schema goes with the next response */
};

struct queued {
    struct queued *next;
    struct rpc_message *message;
    struct write_error *refusal; /* of the fault bench: answered by this instead; NULL = served */
};

struct append_conn {
    struct bq_write *write;
    struct rpc_call *call;

    struct { /* under mutex */
        struct queued *first, **end;
        size_t bytes;
        bool scheduled; /* in the pool's list or being served */
        bool half_closed, paused;
        int refs;
    } shared;
    pthread_mutex_t mutex;
    struct append_conn *ready_next;            /* the pool's mutex */
    struct append_conn *open_prev, *open_next; /* the same */
    atomic_llong active_ms;                    /* clock_mono_ms of the last traffic */
    atomic_bool serving;

    struct { /* the thread that serves it */
        struct destination *destinations;
        size_t destination_count;
        struct destination *current;
        int default_missing;
        bool over; /* finished by us: the rest is dropped */
    } own;
};

/* Requests that share one engine batch. */
struct item {
    const struct append_request *request;
    int64_t first_row, offset;
};

struct batch {
    struct destination *destination; /* NULL: no batch is open */
    struct engine_rows *rows;
    struct buf defaults;
    struct item *items;
    size_t count, bytes;
};

/* ---- Life and queue --------------------------------------------------------------------------------------------- */

static void destination_free(struct destination *d)
{
    proto_plan_free(d->plan);
    engine_schema_free(d->schema);
    buf_release(&d->descriptor);
    free(d->name);
    free(d);
}

static void free_queue(struct queued *list)
{
    for (struct queued *next; list; list = next) {
        next = list->next;
        rpc_message_unref(list->message);
        free(list->refusal);
        free(list);
    }
}

static void conn_free(struct append_conn *conn)
{
    free_queue(conn->shared.first);
    for (struct destination *d = conn->own.destinations, *next; d; d = next) {
        next = d->next;
        destination_free(d);
    }
    rpc_call_unref(conn->call);
    pthread_mutex_destroy(&conn->mutex);
    free(conn);
}

void append_unref(struct append_conn *conn)
{
    pthread_mutex_lock(&conn->mutex);
    bool last = --conn->shared.refs == 0;
    pthread_mutex_unlock(&conn->mutex);
    if (last)
        conn_free(conn);
}

struct append_conn **append_ready_next(struct append_conn *conn)
{
    return &conn->ready_next;
}

/* Caller holds conn->mutex. */
static void schedule(struct append_conn *conn)
{
    struct bq_write *write = conn->write;
    if (conn->shared.scheduled)
        return;
    conn->shared.scheduled = true;
    conn->shared.refs++;
    pthread_mutex_lock(&write->mutex);
    conn->ready_next = NULL;
    *write->ready_end = conn;
    write->ready_end = &conn->ready_next;
    pthread_cond_signal(&write->work);
    pthread_mutex_unlock(&write->mutex);
}

static void on_opened(void *service, struct rpc_call *call)
{
    struct append_conn *conn = xcalloc(1, sizeof *conn);
    conn->write = service;
    conn->call = rpc_call_ref(call);
    conn->shared.end = &conn->shared.first;
    conn->shared.refs = 1;
    pthread_mutex_init(&conn->mutex, NULL);
    rpc_call_set_user(call, conn);
    atomic_store(&conn->active_ms, clock_mono_ms());
    pthread_mutex_lock(&conn->write->mutex);
    conn->open_next = conn->write->open;
    if (conn->open_next)
        conn->open_next->open_prev = conn;
    conn->write->open = conn;
    pthread_mutex_unlock(&conn->write->mutex);
}

static void enqueue(struct rpc_call *call, struct rpc_message *message, struct write_error *refusal)
{
    struct append_conn *conn = rpc_call_user(call);
    struct queued *q = xcalloc(1, sizeof *q);
    q->message = rpc_message_ref(message);
    q->refusal = refusal;
    pthread_mutex_lock(&conn->mutex);
    *conn->shared.end = q;
    conn->shared.end = &q->next;
    conn->shared.bytes += rpc_message_bytes(message).len;
    atomic_store(&conn->active_ms, clock_mono_ms());
    if (conn->shared.bytes > PAUSE_BYTES && !conn->shared.paused) {
        conn->shared.paused = true;
        rpc_call_pause(call);
    }
    schedule(conn);
    pthread_mutex_unlock(&conn->mutex);
}

static void on_message(void *service, struct rpc_call *call, struct rpc_message *message)
{
    (void)service;
    enqueue(call, message, NULL);
}

static void on_refused(void *service, struct rpc_call *call, struct rpc_message *message, enum rpc_status status,
                       const char *text)
{
    struct write_error *refusal = xcalloc(1, sizeof *refusal);
    (void)service;
    write_fail(refusal, status, 0, "", "%s", text);
    enqueue(call, message, refusal);
}

static void on_half_closed(void *service, struct rpc_call *call)
{
    struct append_conn *conn = rpc_call_user(call);
    (void)service;
    pthread_mutex_lock(&conn->mutex);
    conn->shared.half_closed = true;
    schedule(conn);
    pthread_mutex_unlock(&conn->mutex);
}

static void on_closed(void *service, struct rpc_call *call)
{
    struct bq_write *write = service;
    struct append_conn *conn = rpc_call_user(call);
    pthread_mutex_lock(&write->mutex);
    *(conn->open_prev ? &conn->open_prev->open_next : &write->open) = conn->open_next;
    if (conn->open_next)
        conn->open_next->open_prev = conn->open_prev;
    pthread_mutex_unlock(&write->mutex);
    append_unref(conn);
}

void append_close_idle(struct bq_write *write, int64_t idle_ms)
{
    struct write_error failure;
    for (struct append_conn *conn = write->open; conn; conn = conn->open_next) {
        if (atomic_load(&conn->serving) || clock_mono_ms() - atomic_load(&conn->active_ms) < idle_ms)
            continue;
        write_fail(&failure, RPC_ABORTED, 0, "",
                   "Closing the stream because it has been inactive for %lld seconds. Entity: (connection)",
                   (long long)(idle_ms / 1000));
        write_finish(conn->call, &failure);
    }
}

const struct rpc_stream_handlers append_handlers = {.answers_each = true,
                                                    .opened = on_opened,
                                                    .message = on_message,
                                                    .refuse = on_refused,
                                                    .half_closed = on_half_closed,
                                                    .closed = on_closed};

/* ---- Responses -------------------------------------------------------------------------------------------------- */

static void end_call(struct append_conn *conn, const struct write_error *failure)
{
    conn->own.over = true;
    write_finish(conn->call, failure);
}

static void send_response(struct append_conn *conn, struct destination *d, BQS(AppendRowsResponse) * response)
{
    struct arena *arena = arena_new(0);
    if (d) {
        response->write_stream = d->name;
        if (d->announce)
            response->updated_schema = write_table_schema(arena, d->schema);
        d->announce = false;
    }
    if (!rpc_call_send(conn->call, &response->base) && !rpc_call_is_over(conn->call)) {
        struct write_error full;
        write_fail(&full, RPC_ABORTED, 0, "", "The client does not read its responses");
        end_call(conn, &full);
    }
    arena_free(arena);
}

static void send_result(struct append_conn *conn, struct destination *d, int64_t offset)
{
    BQS(AppendRowsResponse) response;
    google__cloud__bigquery__storage__v1__append_rows_response__init(&response);
    BQS(AppendRowsResponse__AppendResult) result;
    google__cloud__bigquery__storage__v1__append_rows_response__append_result__init(&result);
    Google__Protobuf__Int64Value value;
    google__protobuf__int64_value__init(&value);
    value.value = offset;
    if (d->stream)
        result.offset = &value;
    response.response_case = GOOGLE__CLOUD__BIGQUERY__STORAGE__V1__APPEND_ROWS_RESPONSE__RESPONSE_APPEND_RESULT;
    response.append_result = &result;
    send_response(conn, d, &response);
}

/* In-band error, with row errors or without. */
static void send_error(struct append_conn *conn, struct destination *d, const struct write_error *failure,
                       BQS(RowError) * *row_errors, size_t row_error_count)
{
    BQS(AppendRowsResponse) response;
    google__cloud__bigquery__storage__v1__append_rows_response__init(&response);
    Google__Rpc__Status status;
    google__rpc__status__init(&status);
    Google__Protobuf__Any detail, *details[] = {&detail};
    google__protobuf__any__init(&detail);
    struct buf packed = BUF_INIT;
    char type_url[] = "type.googleapis.com/google.cloud.bigquery.storage.v1.StorageError";
    char *message = xstrdup(failure->message);
    if (failure->fatal) {
        end_call(conn, failure);
        free(message);
        return;
    }
    status.code = failure->status;
    status.message = message;
    write_pack_storage_error(failure, &packed);
    if (packed.len > 0) {
        detail.type_url = type_url;
        detail.value = (ProtobufCBinaryData){packed.len, (uint8_t *)packed.ptr};
        status.details = details;
        status.n_details = 1;
    }
    response.response_case = GOOGLE__CLOUD__BIGQUERY__STORAGE__V1__APPEND_ROWS_RESPONSE__RESPONSE_ERROR;
    response.error = &status;
    response.row_errors = row_errors;
    response.n_row_errors = row_error_count;
    send_response(conn, d, &response);
    buf_release(&packed);
    free(message);
}

/* The errors of rows [first, first + count), numbered from the request's first row. */
static void send_row_errors(struct append_conn *conn, struct destination *d, const struct engine_rows *rows,
                            int64_t first, int64_t count)
{
    BQS(RowError) items[MAX_ROW_ERRORS_SENT];
    BQS(RowError) * list[MAX_ROW_ERRORS_SENT];
    char *messages[MAX_ROW_ERRORS_SENT];
    size_t total, n = 0;
    const struct engine_row_error *errors = engine_rows_errors(rows, &total);
    struct write_error failure;
    for (size_t i = 0; i < total && n < MAX_ROW_ERRORS_SENT; i++) {
        if (errors[i].index < first || errors[i].index >= first + count)
            continue;
        google__cloud__bigquery__storage__v1__row_error__init(&items[n]);
        items[n].index = errors[i].index - first;
        items[n].code = GOOGLE__CLOUD__BIGQUERY__STORAGE__V1__ROW_ERROR__ROW_ERROR_CODE__FIELDS_ERROR;
        items[n].message = messages[n] = xstrdup(errors[i].message);
        list[n] = &items[n];
        n++;
    }
    write_fail(&failure, RPC_INVALID_ARGUMENT, 0, "",
               "Errors found while processing rows. Please refer to the row_errors field for details. The list may not "
               "be complete because of the size limitations.");
    send_error(conn, d, &failure, list, n);
    for (size_t i = 0; i < n; i++)
        free(messages[i]);
}

/* ---- Destinations ----------------------------------------------------------------------------------------------- */

static bool open_schema(struct append_conn *conn, struct destination *d, struct write_error *ret)
{
    struct engine_schema *schema = write_open_table(conn->write, &d->table, d->name, ret);
    if (!schema)
        return false;
    proto_plan_free(d->plan);
    d->plan = NULL;
    engine_schema_free(d->schema);
    d->schema = schema;
    return true;
}

static struct destination *known_destination(struct append_conn *conn, struct slice name)
{
    struct destination *d = conn->own.destinations;
    while (d && !slice_eq_str(name, d->name))
        d = d->next;
    return d;
}

static bool resolve_name(struct append_conn *conn, struct slice name, struct destination *d, struct write_error *ret)
{
    if (write_is_default_stream(name, &d->table))
        return true;
    d->stream = write_streams_find(conn->write->streams, name);
    if (d->stream) {
        d->table = d->stream->table;
        return true;
    }
    struct slice rest = name;
    bool looks_like_one = slice_eq_str(slice_cut(&rest, '/'), "projects") && memmem(name.ptr, name.len, "/streams/", 9);
    if (!looks_like_one) {
        write_fail(ret, RPC_INVALID_ARGUMENT, 0, d->name, "Invalid stream name. Entity: %s", d->name);
    } else {
        write_fail(ret, RPC_NOT_FOUND, BQS_CODE(STREAM_NOT_FOUND), d->name,
                   "Requested entity was not found. Entity: %s", d->name);
    }
    ret->fatal = true;
    return false;
}

static struct destination *new_destination(struct append_conn *conn, struct slice name, struct write_error *ret)
{
    struct destination *d = xcalloc(1, sizeof *d);
    bool too_long = name.len >= WRITE_STREAM_NAME_SIZE;
    d->name = xstrndup(name.ptr ? name.ptr : "", too_long ? 0 : name.len);
    bool ok = !too_long || write_fail(ret, RPC_INVALID_ARGUMENT, 0, "", "Invalid stream name. Entity: (too long)");
    if (ok && conn->own.destination_count >= MAX_DESTINATIONS)
        ok = write_fail(ret, RPC_RESOURCE_EXHAUSTED, 0, d->name, "A connection serves at most %d streams",
                        MAX_DESTINATIONS);
    ok = ok && resolve_name(conn, name, d, ret);
    bool mixed = conn->own.current && (d->stream || conn->own.current->stream);
    if (ok && mixed)
        ok = write_fail(ret, RPC_INVALID_ARGUMENT, BQS_CODE(INVALID_STREAM_TYPE), d->name,
                        "Only default streams can share a connection. Entity: %s", d->name);
    if (!ok || !open_schema(conn, d, ret)) {
        ret->fatal = true;
        destination_free(d);
        return NULL;
    }
    d->next = conn->own.destinations;
    conn->own.destinations = d;
    conn->own.destination_count++;
    return d;
}

/* The destination of a request, which becomes the connection's current one. */
static struct destination *find_destination(struct append_conn *conn, const struct append_request *request,
                                            struct write_error *ret)
{
    struct destination *d = conn->own.current;
    if (request->write_stream.len > 0 && !(d && slice_eq_str(request->write_stream, d->name)))
        d = known_destination(conn, request->write_stream);
    if (!d)
        d = new_destination(conn, request->write_stream, ret);
    if (d)
        conn->own.current = d;
    return d;
}

/* A plan for the newest writer schema and the newest table schema. */
static bool refresh_plan(struct append_conn *conn, struct destination *d, const struct append_request *request,
                         struct write_error *ret)
{
    struct error err = ERROR_INIT;
    bool new_descriptor = request->descriptor.ptr && !slice_eq(request->descriptor, buf_slice(&d->descriptor));
    if (!engine_schema_is_current(conn->write->engine, d->schema)) {
        if (!open_schema(conn, d, ret))
            return false;
        d->announce = true;
    }
    if (new_descriptor) {
        buf_clear(&d->descriptor);
        buf_append_slice(&d->descriptor, request->descriptor);
        proto_plan_free(d->plan);
        d->plan = NULL;
    }
    if (d->plan)
        return true;
    if (d->descriptor.len == 0)
        return write_fail(ret, RPC_INVALID_ARGUMENT, 0, d->name,
                          "Invalid request: the first request of a stream must have a writer schema. Entity: %s",
                          d->name);
    d->plan = proto_plan_new(buf_slice(&d->descriptor), d->schema, &err);
    if (d->plan)
        return true;
    buf_clear(&d->descriptor);
    bool extra = strcmp(err.code, "extra_fields") == 0;
    return write_fail(ret, RPC_INVALID_ARGUMENT, extra ? BQS_CODE(SCHEMA_MISMATCH_EXTRA_FIELDS) : 0, d->name,
                      "%s Entity: %s", err.message, d->name);
}

struct interpretation {
    struct slice column;
    int value;
};

static void look_up_interpretation(void *user, struct slice column, int value)
{
    struct interpretation *wanted = user;
    if (slice_eq_nocase(column, wanted->column))
        wanted->value = value;
}

/* The names of the columns whose DEFAULT is in force for this request. */
static void default_names(struct append_conn *conn, const struct destination *d, const struct append_request *request,
                          struct buf *ret)
{
    size_t count;
    const struct engine_field *columns = engine_schema_fields(d->schema, &count);
    if (request->default_missing != 0)
        conn->own.default_missing = request->default_missing;
    for (size_t i = 0; i < count; i++) {
        struct interpretation wanted = {slice_str(columns[i].name), 0};
        append_request_each_missing(request, look_up_interpretation, &wanted);
        int value = wanted.value ? wanted.value : conn->own.default_missing;
        if (value == 2 && columns[i].default_expression) {
            buf_append_str(ret, columns[i].name);
            buf_append_char(ret, '\n');
        }
    }
}

/* ---- Offsets ---------------------------------------------------------------------------------------------------- */

static bool check_offset(const struct destination *d, const struct append_request *request, int64_t expected,
                         struct write_error *ret)
{
    if (!d->stream)
        return !request->has_offset || write_fail(ret, RPC_INVALID_ARGUMENT, 0, d->name,
                                                  "Offset cannot be set on a default stream. Entity: %s", d->name);
    if (d->stream->finalized)
        return write_fail(ret, RPC_INVALID_ARGUMENT, BQS_CODE(STREAM_FINALIZED), d->name,
                          "Stream has been finalized and cannot be appended. Entity: %s", d->name);
    if (!request->has_offset || request->offset == expected)
        return true;
    bool behind = request->offset < expected;
    return write_fail(ret, behind ? RPC_ALREADY_EXISTS : RPC_OUT_OF_RANGE,
                      behind ? BQS_CODE(OFFSET_ALREADY_EXISTS) : BQS_CODE(OFFSET_OUT_OF_RANGE), d->name,
                      "The offset is %s stream, expected offset %lld, received %lld Entity: %s",
                      behind ? "within" : "beyond", (long long)expected, (long long)request->offset, d->name);
}

/* ---- Batches ---------------------------------------------------------------------------------------------------- */

static void put_rows(const struct proto_plan *plan, struct slice proto_rows, struct engine_rows *rows)
{
    struct wire w = wire_of(proto_rows);
    struct slice row;
    while (append_rows_next(&w, &row))
        proto_plan_put_row(plan, row, rows);
}

static struct engine_rows *open_rows(struct append_conn *conn, const struct destination *d, struct slice defaults,
                                     struct write_error *ret)
{
    struct error err = ERROR_INIT;
    bool *flags = write_default_flags(d->schema, defaults);
    struct engine_rows *rows = engine_rows_new(conn->write->engine, d->schema, flags, &err);
    free(flags);
    if (!rows)
        write_fail_engine(ret, d->name, &err);
    return rows;
}

static void lock_stream(struct destination *d)
{
    if (d->stream)
        pthread_mutex_lock(&d->stream->mutex);
}

static void unlock_stream(struct destination *d)
{
    if (d->stream)
        pthread_mutex_unlock(&d->stream->mutex);
}

static void serve_alone(struct append_conn *conn, struct destination *d, const struct append_request *request,
                        struct slice defaults);

static void close_batch(struct batch *batch)
{
    engine_rows_free(batch->rows);
    unlock_stream(batch->destination);
    batch->rows = NULL;
    batch->destination = NULL;
    batch->count = batch->bytes = 0;
}

static bool has_row_errors(const struct engine_rows *rows)
{
    size_t count;
    engine_rows_errors(rows, &count);
    return count > 0;
}

/* Stores the batch and notes the stream's new end. */
static bool commit_batch(struct batch *batch, struct write_error *ret)
{
    struct destination *d = batch->destination;
    int64_t count = engine_rows_count(batch->rows);
    struct error err = ERROR_INIT;
    if (count > 0 && !engine_rows_commit(batch->rows, &err))
        return write_fail_engine(ret, d->name, &err);
    if (d->stream && count > 0 && !write_stream_set_end(d->stream, d->stream->rows + count, &err))
        return write_fail_engine(ret, d->name, &err);
    return true;
}

/* Commits what the batch holds and answers its requests. */
static void flush(struct append_conn *conn, struct batch *batch)
{
    struct destination *d = batch->destination;
    struct write_error failure;
    if (!d)
        return;
    bool bad_rows = has_row_errors(batch->rows);
    if (bad_rows && batch->count == 1) {
        send_row_errors(conn, d, batch->rows, 0, batch->items[0].request->row_count);
        close_batch(batch);
    } else if (bad_rows) {
        size_t count = batch->count;
        close_batch(batch);
        for (size_t i = 0; i < count && !conn->own.over; i++)
            serve_alone(conn, d, batch->items[i].request, buf_slice(&batch->defaults));
    } else if (commit_batch(batch, &failure)) {
        for (size_t i = 0; i < batch->count; i++)
            send_result(conn, d, batch->items[i].offset);
        close_batch(batch);
    } else {
        close_batch(batch);
        end_call(conn, &failure);
    }
}

static bool open_batch(struct append_conn *conn, struct batch *batch, struct destination *d, struct slice defaults,
                       struct write_error *ret)
{
    struct engine_rows *rows = open_rows(conn, d, defaults, ret);
    if (!rows)
        return false;
    lock_stream(d);
    batch->rows = rows;
    batch->destination = d;
    buf_clear(&batch->defaults);
    buf_append_slice(&batch->defaults, defaults);
    return true;
}

static bool add_to_batch(struct batch *batch, const struct append_request *request, struct write_error *ret)
{
    struct destination *d = batch->destination;
    int64_t pending = engine_rows_count(batch->rows);
    int64_t expected = d->stream ? d->stream->rows + pending : 0;
    if (!check_offset(d, request, expected, ret))
        return false;
    batch->items[batch->count++] = (struct item){request, pending, expected};
    batch->bytes += request->bytes.len;
    put_rows(d->plan, request->rows, batch->rows);
    return true;
}

/* A batch of one; the plan is the one that the request was served with before. */
static void serve_alone(struct append_conn *conn, struct destination *d, const struct append_request *request,
                        struct slice defaults)
{
    struct item item;
    struct batch batch = {.items = &item};
    struct write_error failure;
    if (!open_batch(conn, &batch, d, defaults, &failure)) {
        end_call(conn, &failure);
    } else if (add_to_batch(&batch, request, &failure)) {
        flush(conn, &batch);
    } else {
        close_batch(&batch);
        send_error(conn, d, &failure, NULL, 0);
    }
    buf_release(&batch.defaults);
}

/* PENDING and BUFFERED: the rows are checked by a batch that is thrown away, and go to the stream's log. */
static void serve_spooled(struct append_conn *conn, struct destination *d, const struct append_request *request,
                          struct slice defaults)
{
    struct write_error failure;
    struct error err = ERROR_INIT;
    struct engine_rows *rows = open_rows(conn, d, defaults, &failure);
    if (!rows) {
        end_call(conn, &failure);
        return;
    }
    put_rows(d->plan, request->rows, rows);
    lock_stream(d);
    int64_t offset = d->stream->rows;
    bool fits = !d->stream->has_rows_blocks || slice_eq(defaults, buf_slice(&d->stream->defaults));
    if (!check_offset(d, request, offset, &failure)) {
        send_error(conn, d, &failure, NULL, 0);
    } else if (has_row_errors(rows)) {
        send_row_errors(conn, d, rows, 0, request->row_count);
    } else if (!fits) {
        write_fail(&failure, RPC_INVALID_ARGUMENT, 0, d->name,
                   "The local server cannot change missing value interpretations within a %s stream. Entity: %s",
                   d->stream->type == STREAM_PENDING ? "PENDING" : "BUFFERED", d->name);
        send_error(conn, d, &failure, NULL, 0);
    } else if (write_stream_spool(d->stream, buf_slice(&d->descriptor), defaults, request->rows, request->row_count,
                                  &err)) {
        send_result(conn, d, offset);
    } else {
        write_fail_engine(&failure, d->name, &err);
        end_call(conn, &failure);
    }
    unlock_stream(d);
    engine_rows_free(rows);
}

/* ---- Serving ---------------------------------------------------------------------------------------------------- */

static bool check_request(const struct append_request *request, bool well_formed, struct write_error *ret)
{
    bool ok = false;
    if (!well_formed)
        write_fail(ret, RPC_INVALID_ARGUMENT, 0, "", "Invalid request: it is not a well-formed AppendRowsRequest");
    else if (request->bytes.len > WRITE_MAX_REQUEST_BYTES)
        write_fail(ret, RPC_INVALID_ARGUMENT, 0, "", "AppendRows request too large: %zu limit %d", request->bytes.len,
                   WRITE_MAX_REQUEST_BYTES);
    else if (request->has_arrow_rows)
        write_fail(ret, RPC_UNIMPLEMENTED, 0, "", "Arrow rows are not supported by the local server");
    else if (!request->has_proto_rows)
        write_fail(ret, RPC_INVALID_ARGUMENT, 0, "", "Invalid request: rows must be specified");
    else
        ok = true;
    ret->fatal = true;
    return ok;
}

/* What is open must be stored first when the request goes elsewhere or brings another writer schema. */
static bool belongs_to(const struct append_conn *conn, const struct batch *batch, const struct append_request *request)
{
    const struct destination *d = batch->destination;
    bool same_stream = request->write_stream.len == 0 || slice_eq_str(request->write_stream, d->name);
    bool same_writer = !request->descriptor.ptr || slice_eq(request->descriptor, buf_slice(&d->descriptor));
    return same_stream && same_writer && batch->bytes < BATCH_BYTES &&
           engine_schema_is_current(conn->write->engine, d->schema);
}

/* A request whose offset does not follow the open batch is looked at again when the batch is stored: rows that the
 * offset was counted from may have been refused. */
static void serve_visible(struct append_conn *conn, struct batch *batch, struct destination *d,
                          const struct append_request *request, struct slice defaults)
{
    struct write_error failure;
    bool open = batch->destination != NULL;
    if (open && add_to_batch(batch, request, &failure))
        return;
    flush(conn, batch);
    if (conn->own.over)
        return;
    if (!open_batch(conn, batch, d, defaults, &failure)) {
        end_call(conn, &failure);
    } else if (!add_to_batch(batch, request, &failure)) {
        close_batch(batch);
        send_error(conn, d, &failure, NULL, 0);
    }
}

static void serve_one(struct append_conn *conn, struct batch *batch, const struct append_request *request,
                      bool well_formed)
{
    struct write_error failure = {.status = 0};
    struct buf defaults = BUF_INIT;
    struct destination *d = NULL;
    if (batch->destination && (!well_formed || !belongs_to(conn, batch, request)))
        flush(conn, batch);
    bool ok = !conn->own.over && check_request(request, well_formed, &failure) &&
              (d = find_destination(conn, request, &failure)) != NULL && refresh_plan(conn, d, request, &failure);
    if (ok) {
        default_names(conn, d, request, &defaults);
        if (batch->destination && !slice_eq(buf_slice(&defaults), buf_slice(&batch->defaults)))
            flush(conn, batch);
    }
    if (ok && !conn->own.over) {
        bool visible = !d->stream || d->stream->type == STREAM_COMMITTED;
        if (visible)
            serve_visible(conn, batch, d, request, buf_slice(&defaults));
        else
            serve_spooled(conn, d, request, buf_slice(&defaults));
    }
    if (!ok && !conn->own.over) {
        flush(conn, batch);
        if (!conn->own.over)
            send_error(conn, d, &failure, NULL, 0);
    }
    buf_release(&defaults);
}

static void serve_all(struct append_conn *conn, struct queued *list, size_t count)
{
    struct append_request *requests = xcalloc(count, sizeof *requests);
    struct batch batch = {.items = xcalloc(count, sizeof *batch.items)};
    size_t i = 0;
    for (struct queued *q = list; q && !conn->own.over; q = q->next, i++) {
        if (q->refusal) {
            flush(conn, &batch); /* what came before is answered before */
            if (!conn->own.over)
                send_error(conn, conn->own.current, q->refusal, NULL, 0);
            continue;
        }
        bool well_formed = append_request_parse(rpc_message_bytes(q->message), &requests[i]);
        serve_one(conn, &batch, &requests[i], well_formed);
    }
    if (!conn->own.over)
        flush(conn, &batch);
    else if (batch.destination)
        close_batch(&batch);
    buf_release(&batch.defaults);
    free(batch.items);
    free(requests);
}

/* All that waits, in order; *ret_done: nothing waits and the connection is not scheduled any more. */
static struct queued *take_queue(struct append_conn *conn, size_t *ret_count, bool *ret_done)
{
    pthread_mutex_lock(&conn->mutex);
    struct queued *list = conn->shared.first;
    conn->shared.first = NULL;
    conn->shared.end = &conn->shared.first;
    conn->shared.bytes = 0;
    *ret_done = list == NULL;
    bool finish = !list && conn->shared.half_closed;
    if (!list)
        conn->shared.scheduled = false;
    if (conn->shared.paused) {
        conn->shared.paused = false;
        rpc_call_resume(conn->call);
    }
    pthread_mutex_unlock(&conn->mutex);
    *ret_count = 0;
    for (struct queued *q = list; q; q = q->next)
        (*ret_count)++;
    if (finish)
        rpc_call_finish(conn->call, RPC_OK, "");
    return list;
}

void append_serve(struct append_conn *conn)
{
    for (;;) {
        size_t count;
        bool done;
        atomic_store(&conn->serving, true);
        struct queued *list = take_queue(conn, &count, &done);
        if (done)
            break;
        serve_all(conn, list, count);
        atomic_store(&conn->active_ms, clock_mono_ms());
        free_queue(list);
    }
    atomic_store(&conn->serving, false);
}
