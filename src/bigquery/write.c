/* write.c - appenders: rows of many threads into the _default stream of one table each.
 *
 * Two threads per table, started with its first row. The sender owns the connection: it opens it when there is
 * something to send, seals and sends requests, and after a break takes it down, puts what was not acknowledged back and
 * decides whether to try again. The receiver lives as long as the connection and settles requests; answers come in the
 * order of sending. Adders and waiters only touch the lists, under the appender's mutex.
 *
 * Tickets number the rows. Requests stand in the list by tickets and leave it at the front only, so "everything up to a
 * ticket is settled" is a look at the front. There is no timer: a request goes when it is full, or when somebody waits
 * for a row of it, and while one is being sent the rows of other waiters gather in the next. At-least-once: a resent
 * request may be stored twice.
 *
 * The service closes a connection after 600 s without traffic; with nothing unacknowledged that is no failure, and the
 * next row opens a new one. */
#include "bigquery/write.h"

#include <stdlib.h>

#include "append_error.h"
#include "base/clock.h"
#include "batch.h"
#include "bigquery_storage.pb-c.h"

enum { PATIENCE_MS = 300000, BACKOFF_FIRST_MS = 50, BACKOFF_MAX_MS = 10000, MAX_LOST_RANGES = 64, NAME_BYTES = 2048 };
static const char append_method[] = "/google.cloud.bigquery.storage.v1.BigQueryWrite/AppendRows";

struct lost_range {
    uint64_t first, last;
    struct error err;
};

struct bq_writer {
    char *project;
    int64_t patience_ms;
    struct grpc_link *link;
    pthread_mutex_t mutex;
    struct bq_appender *appenders; /* under mutex; only grows */
};

struct bq_appender {
    struct bq_appender *next;
    struct bq_writer *writer;
    char *stream_name; /* "projects/P/datasets/D/tables/T/streams/_default" */
    char *routing;
    struct buf descriptor;

    pthread_mutex_t mutex;  /* everything below */
    pthread_cond_t changed; /* any change that somebody may wait for */
    pthread_t sender;
    bool started, stopping;
    struct batch *first, *last;           /* unsettled requests by ticket; the open one is the last */
    struct batch *sent_first, *sent_last; /* awaiting answers, by time of sending */
    uint64_t next_ticket;
    uint64_t flush_to; /* somebody waits for this ticket */
    size_t outstanding_bytes;
    struct lost_range lost[MAX_LOST_RANGES];
    size_t lost_count;
    const void *telling; /* the user whose row-error callback runs now */

    struct grpc_stream *stream;          /* the sender's; NULL: not connected */
    struct grpc_stream *receiver_stream; /* the same, constant while the receiver runs */
    pthread_t receiver;
    bool broken;
    bool first_request;
    struct error end; /* why it broke */
    enum append_action end_action;
    int failures; /* in a row, without an acknowledged request */
    int64_t failing_since_ms, not_before_ms;
};

/* ---- Lists. All with the mutex held. -------------------------------------------------------------------------------
 */

static struct batch *open_batch(struct bq_appender *a)
{
    return a->last && a->last->state == BATCH_OPEN ? a->last : NULL;
}

static void seal(struct bq_appender *a)
{
    struct batch *batch = open_batch(a);
    if (batch)
        batch->state = BATCH_READY;
}

static struct batch *begin_batch(struct bq_appender *a)
{
    struct batch *batch = batch_new(a->next_ticket);
    if (a->last)
        a->last->next = batch;
    else
        a->first = batch;
    a->last = batch;
    return batch;
}

/* Lets settled requests leave at the front. */
static void settle(struct bq_appender *a)
{
    while (a->first && a->first->state == BATCH_DONE) {
        struct batch *batch = a->first;
        a->first = batch->next;
        if (!a->first)
            a->last = NULL;
        a->outstanding_bytes -= batch->bytes;
        batch_free(batch);
    }
    pthread_cond_broadcast(&a->changed);
}

/* The next request to send; seals the open one when it is waited for. */
static struct batch *next_ready(struct bq_appender *a)
{
    for (struct batch *batch = a->first; batch; batch = batch->next) {
        if (batch->state == BATCH_OPEN && batch->count > 0 && batch->first_ticket <= a->flush_to)
            batch->state = BATCH_READY;
        if (batch->state == BATCH_READY)
            return batch;
    }
    return NULL;
}

static void push_sent(struct bq_appender *a, struct batch *batch)
{
    batch->state = BATCH_SENT;
    batch->next_sent = NULL;
    if (a->sent_last)
        a->sent_last->next_sent = batch;
    else
        a->sent_first = batch;
    a->sent_last = batch;
}

static struct batch *pop_sent(struct bq_appender *a)
{
    struct batch *batch = a->sent_first;
    if (!batch)
        return NULL;
    a->sent_first = batch->next_sent;
    if (!a->sent_first)
        a->sent_last = NULL;
    batch->next_sent = NULL;
    return batch;
}

/* Remembers that these rows are lost. When there are too many ranges the two oldest become one: a row too many is
 * called lost, never one too few. */
static void remember_lost(struct bq_appender *a, uint64_t first, uint64_t last, const struct error *err)
{
    if (a->lost_count == MAX_LOST_RANGES) {
        a->lost[0].last = a->lost[1].last;
        memmove(&a->lost[1], &a->lost[2], (MAX_LOST_RANGES - 2) * sizeof a->lost[0]);
        a->lost_count--;
    }
    a->lost[a->lost_count++] = (struct lost_range){first, last, *err};
}

/* Gives up everything that is not settled; their waiters get the error, and later rows begin anew. */
static void lose_all(struct bq_appender *a, const struct error *err)
{
    if (a->first)
        remember_lost(a, a->first->first_ticket, a->next_ticket - 1, err);
    for (struct batch *batch = a->first; batch; batch = batch->next)
        batch->state = BATCH_DONE;
    a->failures = 0;
    a->failing_since_ms = a->not_before_ms = 0;
    settle(a);
}

/* ---- Receiver -------------------------------------------------------------------------------------------------------
 */

typedef Google__Cloud__Bigquery__Storage__V1__AppendRowsResponse response_t;

/* The connection is of no more use; the sender takes it down. */
static void set_broken(struct bq_appender *a, const struct error *err, int storage_code)
{
    if (!a->broken) {
        a->broken = true;
        a->end = *err;
        a->end_action = append_action(err->status, storage_code);
    }
    pthread_cond_broadcast(&a->changed);
}

/* Tells the owner of a refused row, without the mutex. */
static void tell_refused(struct bq_appender *a, struct batch *batch, size_t index, const char *message)
{
    struct batch_row item = batch->items[index];
    if (!item.on_error)
        return;
    a->telling = item.user;
    pthread_mutex_unlock(&a->mutex);
    item.on_error(item.user, item.tag, slice_of(batch->rows.ptr + item.offset, item.len), message);
    pthread_mutex_lock(&a->mutex);
    a->telling = NULL;
    pthread_cond_broadcast(&a->changed);
}

/* Nothing of the request was stored: the listed rows go, the others are sent again. False when no row could be named.
 */
static bool refuse_rows(struct bq_appender *a, struct batch *batch, const response_t *response)
{
    bool *drop = xcalloc(batch->count + 1, sizeof *drop);
    size_t dropped = 0;
    for (size_t i = 0; i < response->n_row_errors; i++) {
        const Google__Cloud__Bigquery__Storage__V1__RowError *row = response->row_errors[i];
        if (row->index < 0 || (uint64_t)row->index >= batch->count || drop[row->index])
            continue;
        drop[row->index] = true;
        dropped++;
        tell_refused(a, batch, (size_t)row->index, row->message ? row->message : "");
    }
    if (dropped > 0) {
        batch_drop(batch, drop);
        batch->state = batch->count > 0 ? BATCH_READY : BATCH_DONE;
    }
    free(drop);
    return dropped > 0;
}

/* The first detail that is a StorageError decides, else the code alone. */
static int storage_code_of(const Google__Rpc__Status *status)
{
    struct buf bytes = BUF_INIT;
    size_t len = google__rpc__status__get_packed_size(status);
    buf_reserve(&bytes, len);
    google__rpc__status__pack(status, (uint8_t *)bytes.ptr);
    bytes.len = len;
    int code = append_storage_code(buf_slice(&bytes));
    buf_release(&bytes);
    return code;
}

static void request_failed(struct bq_appender *a, const Google__Rpc__Status *status)
{
    struct error err = ERROR_INIT;
    grpc_status_error(&err, status->code, status->message, append_method);
    set_broken(a, &err, storage_code_of(status));
}

static void protocol_error(struct bq_appender *a, const char *text)
{
    struct error err = ERROR_INIT;
    grpc_status_error(&err, 13 /* INTERNAL */, text, append_method);
    set_broken(a, &err, 0);
}

/* With the mutex held. */
static void handle_response(struct bq_appender *a, const response_t *response)
{
    struct batch *batch = pop_sent(a);
    if (!batch) {
        protocol_error(a, "an answer came for no request");
        return;
    }
    while (batch->in_send) /* the answer overtook the return of the send */
        pthread_cond_wait(&a->changed, &a->mutex);
    bool refused = response->n_row_errors > 0 && refuse_rows(a, batch, response);
    if (!refused &&
        response->response_case == GOOGLE__CLOUD__BIGQUERY__STORAGE__V1__APPEND_ROWS_RESPONSE__RESPONSE_ERROR) {
        batch->state = BATCH_READY;
        request_failed(a, response->error);
        return;
    }
    if (!refused && response->n_row_errors > 0) {
        batch->state = BATCH_READY;
        protocol_error(a, "row errors name no row of the request");
        return;
    }
    if (!refused)
        batch->state = BATCH_DONE;
    a->failures = 0;
    a->failing_since_ms = 0;
    settle(a);
}

static void *receiver_main(void *user)
{
    struct bq_appender *a = user;
    struct buf message = BUF_INIT, details = BUF_INIT;
    struct error err = ERROR_INIT;
    while (grpc_stream_recv(a->receiver_stream, -1, &message, &details, &err) == GRPC_RECV_MESSAGE) {
        response_t *response = google__cloud__bigquery__storage__v1__append_rows_response__unpack(
            NULL, message.len, (const uint8_t *)message.ptr);
        pthread_mutex_lock(&a->mutex);
        if (response)
            handle_response(a, response);
        else
            protocol_error(a, "an answer could not be read");
        bool over = a->broken;
        pthread_mutex_unlock(&a->mutex);
        if (response)
            google__cloud__bigquery__storage__v1__append_rows_response__free_unpacked(response, NULL);
        if (over)
            break;
    }
    pthread_mutex_lock(&a->mutex);
    set_broken(a, &err, append_storage_code(buf_slice(&details)));
    pthread_mutex_unlock(&a->mutex);
    buf_release(&message);
    buf_release(&details);
    return NULL;
}

/* ---- Sender. All with the mutex held, which they leave while they block.
 * ---------------------------------------------- */

/* True when the connection stands. Otherwise the failure has been noted as that of a broken one. */
static bool connect_stream(struct bq_appender *a)
{
    struct error err = ERROR_INIT;
    pthread_mutex_unlock(&a->mutex);
    struct grpc_stream *stream = grpc_stream_open(a->writer->link, append_method, a->routing, &err);
    pthread_mutex_lock(&a->mutex);
    if (!stream) {
        set_broken(a, &err, 0);
        a->end_action = error_may_retry(&err) ? APPEND_RETRY : APPEND_FAIL;
        return false;
    }
    a->stream = a->receiver_stream = stream;
    a->first_request = true;
    if (pthread_create(&a->receiver, NULL, receiver_main, a) != 0)
        BUG("cannot start a thread");
    return true;
}

static void disconnect(struct bq_appender *a)
{
    struct grpc_stream *stream = a->stream;
    a->stream = NULL;
    if (stream) {
        pthread_mutex_unlock(&a->mutex);
        grpc_stream_cancel(stream);
        pthread_join(a->receiver, NULL);
        grpc_stream_free(stream);
        pthread_mutex_lock(&a->mutex);
    }
    a->broken = false;
    for (struct batch *batch = pop_sent(a); batch; batch = pop_sent(a))
        batch->state = BATCH_READY;
}

static int64_t patience_of(const struct bq_appender *a, enum append_action action)
{
    return action == APPEND_THROTTLED ? 2 * a->writer->patience_ms : a->writer->patience_ms;
}

/* After a break: when to try again, or that there is no use. */
static void judge(struct bq_appender *a)
{
    int64_t now = clock_mono_ms(), pause = BACKOFF_FIRST_MS;
    if (a->failing_since_ms == 0)
        a->failing_since_ms = now;
    a->failures++;
    bool hopeless = a->end_action == APPEND_FAIL || (a->end_action == APPEND_REFRESH && a->failures > 1);
    if (!hopeless && now - a->failing_since_ms < patience_of(a, a->end_action)) {
        for (int i = 1; i < a->failures && pause < BACKOFF_MAX_MS; i++)
            pause *= 2;
        if (a->end_action == APPEND_THROTTLED && pause < 1000)
            pause = 1000;
        a->not_before_ms = now + (pause < BACKOFF_MAX_MS ? pause : BACKOFF_MAX_MS);
        return;
    }
    struct error err = a->end;
    if (err.class == ERROR_NONE)
        error_set(&err, ERROR_RETRY, "stream_ended", "could not append: the service keeps ending the stream");
    if (!hopeless && err.class == ERROR_PERMANENT && a->end_action == APPEND_YOUNG)
        error_prefix(&err, "no change in %lld s", (long long)(patience_of(a, a->end_action) / 1000));
    if (err.class == ERROR_CANCELLED)
        err.class = ERROR_RETRY;
    lose_all(a, &err);
}

static void recover(struct bq_appender *a)
{
    bool unanswered = a->sent_first || next_ready(a);
    disconnect(a);
    if (unanswered)
        judge(a);
}

static void send_batch(struct bq_appender *a, struct batch *batch)
{
    struct buf head = BUF_INIT;
    struct error err = ERROR_INIT;
    struct grpc_stream *stream = a->stream;
    bool first = a->first_request;
    append_request_head(&head, first ? slice_str(a->stream_name) : SLICE_NULL,
                        first ? buf_slice(&a->descriptor) : SLICE_NULL, batch->rows.len);
    a->first_request = false;
    batch->in_send = true;
    push_sent(a, batch);
    pthread_mutex_unlock(&a->mutex);
    bool ok = grpc_stream_send(stream, buf_slice(&head), buf_slice(&batch->rows), &err);
    pthread_mutex_lock(&a->mutex);
    batch->in_send = false;
    pthread_cond_broadcast(&a->changed);
    buf_release(&head);
    /* A send fails only on a stream that has ended: the receiver is about to learn why. */
    while (!ok && !a->broken)
        pthread_cond_wait(&a->changed, &a->mutex);
}

static void *sender_main(void *user)
{
    struct bq_appender *a = user;
    pthread_mutex_lock(&a->mutex);
    while (!a->stopping) {
        if (a->broken) {
            recover(a);
            continue;
        }
        struct batch *batch = next_ready(a);
        if (!batch)
            pthread_cond_wait(&a->changed, &a->mutex);
        else if (clock_mono_ms() < a->not_before_ms)
            clock_cond_wait(&a->changed, &a->mutex, a->not_before_ms);
        else if (a->stream || connect_stream(a))
            send_batch(a, batch);
    }
    disconnect(a);
    pthread_mutex_unlock(&a->mutex);
    return NULL;
}

/* ---- Adders and waiters
 * ------------------------------------------------------------------------------------------------ */

static void wake(void *user)
{
    struct bq_appender *a = user;
    pthread_mutex_lock(&a->mutex);
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->mutex);
}

static void start(struct bq_appender *a)
{
    if (a->started)
        return;
    if (pthread_create(&a->sender, NULL, sender_main, a) != 0)
        BUG("cannot start a thread");
    a->started = true;
}

/* Waits until the row fits under the bound. */
static bool wait_for_room(struct bq_appender *a, size_t len, struct cancel *cancel, struct error *err)
{
    while (a->outstanding_bytes > 0 && a->outstanding_bytes + len > BQ_APPEND_IN_FLIGHT_BYTES) {
        seal(a);
        pthread_cond_broadcast(&a->changed);
        if (!cancel_check(cancel, err))
            return false;
        pthread_cond_wait(&a->changed, &a->mutex);
    }
    return true;
}

static uint64_t put_row(struct bq_appender *a, struct slice row, uint64_t tag, bq_row_error_fn *on_error, void *user)
{
    struct batch *batch = open_batch(a);
    if (batch && batch_is_full(batch, row.len)) {
        seal(a);
        batch = NULL;
    }
    if (!batch)
        batch = begin_batch(a);
    batch_add(batch, row, tag, on_error, user);
    a->outstanding_bytes += row.len;
    if (batch_is_full(batch, 0)) {
        seal(a);
        pthread_cond_broadcast(&a->changed);
    }
    return a->next_ticket++;
}

bool bq_appender_add(struct bq_appender *appender, struct slice row, uint64_t tag, bq_row_error_fn *on_error,
                     void *user, uint64_t *ret_ticket, struct cancel *cancel, struct error *err)
{
    struct bq_appender *a = appender;
    if (row.len > BQ_APPEND_MAX_BYTES)
        return error_set(err, ERROR_PERMANENT, "row_too_large", "cannot append a row of %zu bytes: the limit is %d",
                         row.len, BQ_APPEND_MAX_BYTES);
    pthread_mutex_lock(&a->mutex);
    start(a);
    bool ok = true;
    if (a->outstanding_bytes + row.len > BQ_APPEND_IN_FLIGHT_BYTES && a->outstanding_bytes > 0) {
        pthread_mutex_unlock(&a->mutex);
        uint64_t hook = cancel ? cancel_add_hook(cancel, wake, a) : 0;
        pthread_mutex_lock(&a->mutex);
        ok = wait_for_room(a, row.len, cancel, err);
        pthread_mutex_unlock(&a->mutex);
        if (cancel)
            cancel_remove_hook(cancel, hook);
        pthread_mutex_lock(&a->mutex);
    }
    if (ok)
        *ret_ticket = put_row(a, row, tag, on_error, user);
    pthread_mutex_unlock(&a->mutex);
    return ok;
}

static const struct lost_range *find_lost(const struct bq_appender *a, uint64_t first, uint64_t last)
{
    for (size_t i = 0; i < a->lost_count; i++)
        if (a->lost[i].first <= last && a->lost[i].last >= first)
            return &a->lost[i];
    return NULL;
}

bool bq_appender_wait_range(struct bq_appender *appender, uint64_t first, uint64_t last, struct cancel *cancel,
                            struct error *err)
{
    struct bq_appender *a = appender;
    uint64_t hook = cancel ? cancel_add_hook(cancel, wake, a) : 0;
    bool ok = true;
    pthread_mutex_lock(&a->mutex);
    if (last > a->flush_to)
        a->flush_to = last;
    pthread_cond_broadcast(&a->changed);
    while (ok && a->first && a->first->first_ticket <= last && !find_lost(a, first, last)) {
        ok = cancel_check(cancel, err);
        if (ok)
            pthread_cond_wait(&a->changed, &a->mutex);
    }
    const struct lost_range *lost = ok ? find_lost(a, first, last) : NULL;
    if (lost) {
        ok = false;
        if (err)
            *err = lost->err;
    }
    pthread_mutex_unlock(&a->mutex);
    if (cancel)
        cancel_remove_hook(cancel, hook);
    return ok;
}

bool bq_appender_wait(struct bq_appender *appender, uint64_t ticket, struct cancel *cancel, struct error *err)
{
    return bq_appender_wait_range(appender, ticket, ticket, cancel, err);
}

void bq_appender_forget(struct bq_appender *appender, const void *user)
{
    struct bq_appender *a = appender;
    pthread_mutex_lock(&a->mutex);
    for (struct batch *batch = a->first; batch; batch = batch->next)
        for (size_t i = 0; i < batch->count; i++)
            if (batch->items[i].user == user)
                batch->items[i].on_error = NULL;
    while (a->telling == user && user)
        pthread_cond_wait(&a->changed, &a->mutex);
    pthread_mutex_unlock(&a->mutex);
}

/* ---- Writer
 * -------------------------------------------------------------------------------------------------------------- */

struct bq_writer *bq_writer_new(const struct bq_writer_options *options, struct error *err)
{
    bool emulator = options->target && options->target[0];
    const char *target = emulator ? options->target : "bigquerystorage.googleapis.com:443";
    struct grpc_link *link = grpc_link_new(target, emulator, options->creds, err);
    if (!link)
        return NULL;
    struct bq_writer *writer = xcalloc(1, sizeof *writer);
    writer->project = xstrdup(options->project);
    writer->patience_ms = options->patience_ms > 0 ? options->patience_ms : PATIENCE_MS;
    writer->link = link;
    pthread_mutex_init(&writer->mutex, NULL);
    return writer;
}

static struct bq_appender *appender_new(struct bq_writer *writer, const char *stream_name,
                                        const struct table_schema *schema)
{
    struct bq_appender *a = xcalloc(1, sizeof *a);
    struct buf routing = BUF_INIT;
    a->writer = writer;
    a->stream_name = xstrdup(stream_name);
    buf_append_str(&routing, "write_stream=");
    buf_append_url_escaped(&routing, slice_str(stream_name));
    a->routing = buf_detach(&routing);
    a->next_ticket = 1;
    schema_descriptor(&a->descriptor, "row", schema->columns, schema->column_count);
    pthread_mutex_init(&a->mutex, NULL);
    clock_cond_init(&a->changed);
    return a;
}

struct bq_appender *bq_writer_table(struct bq_writer *writer, const char *dataset, const struct table_schema *schema)
{
    char *name =
        xasprintf("projects/%s/datasets/%s/tables/%s/streams/_default", writer->project, dataset, schema->name);
    pthread_mutex_lock(&writer->mutex);
    struct bq_appender *a = writer->appenders;
    while (a && strcmp(a->stream_name, name) != 0)
        a = a->next;
    if (!a) {
        a = appender_new(writer, name, schema);
        a->next = writer->appenders;
        writer->appenders = a;
    }
    pthread_mutex_unlock(&writer->mutex);
    free(name);
    return a;
}

static void appender_free(struct bq_appender *a)
{
    struct error err = ERROR_INIT;
    pthread_mutex_lock(&a->mutex);
    a->stopping = true;
    if (a->stream)
        grpc_stream_cancel(a->stream); /* a send may wait for flow control */
    pthread_cond_broadcast(&a->changed);
    bool started = a->started;
    pthread_mutex_unlock(&a->mutex);
    if (started)
        pthread_join(a->sender, NULL);
    error_set(&err, ERROR_CANCELLED, "writer_closed", "could not append: the writer was closed");
    pthread_mutex_lock(&a->mutex);
    lose_all(a, &err);
    pthread_mutex_unlock(&a->mutex);
    pthread_cond_destroy(&a->changed);
    pthread_mutex_destroy(&a->mutex);
    buf_release(&a->descriptor);
    free(a->stream_name);
    free(a->routing);
    free(a);
}

void bq_writer_free(struct bq_writer *writer)
{
    if (!writer)
        return;
    while (writer->appenders) {
        struct bq_appender *next = writer->appenders->next;
        appender_free(writer->appenders);
        writer->appenders = next;
    }
    grpc_link_free(writer->link);
    pthread_mutex_destroy(&writer->mutex);
    free(writer->project);
    free(writer);
}
