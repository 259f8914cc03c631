/* append_stream.c - the connection of an appender: one thread that sends, one that receives.
 *
 * The sender owns the connection: it opens it when there is something to send, seals and sends requests, and after a
 * break takes it down, puts what was not acknowledged back and decides whether to try again. The receiver lives as long
 * as the connection and settles requests; answers come in the order of sending.
 *
 * The service closes a connection after 600 s without traffic; with nothing unacknowledged that is no failure, and the
 * next row opens a new one. A connection on which an answer is due and does not come is taken down like a broken one: its
 * rows are sent again, which their numbers make harmless. */
#include "appender.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "bigquery_storage.pb-c.h"

enum {
    BACKOFF_FIRST_MS = 50,
    BACKOFF_MAX_MS = 10000,
    THROTTLED_FIRST_MS = 1000,
    ANSWER_PATIENCE_MS = 120000, /* without the answer that is due, a connection counts as dead */
    ANSWER_PATIENCE_LEAST_REAL_MS = 2000,
    ANSWER_LOOK_REAL_MS = 1000, /* how often that is looked at */
    STATUS_DEADLINE_EXCEEDED = 4,
};
static const char append_method[] = "/google.cloud.bigquery.storage.v1.BigQueryWrite/AppendRows";

/* ---- Lists. All with the mutex held. ------------------------------------------------------------------------ */

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
    batch->sent_ms = clock_mono_ms();
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

/* ---- Receiver ---------------------------------------------------------------------------------------------------- */

typedef Google__Cloud__Bigquery__Storage__V1__AppendRowsResponse response_t;

/* The connection is of no more use; the sender takes it down. */
static void set_broken(struct bq_appender *a, const struct error *err, int storage_code)
{
    if (!a->broken) {
        a->broken = true;
        a->end = *err;
        a->end_action = append_action(err->status, storage_code);
    }
    pthread_cond_signal(&a->work);
}

/* The network is as slow on a fast clock as on a slow one. */
static int64_t answer_patience_ms(void)
{
    int64_t floor_ms = (int64_t)(ANSWER_PATIENCE_LEAST_REAL_MS * clock_scale());
    return ANSWER_PATIENCE_MS > floor_ms ? ANSWER_PATIENCE_MS : floor_ms;
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
    pthread_cond_broadcast(&a->settled);
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
        pthread_cond_signal(&a->work);
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

static void count_answer(const struct bq_appender *a, const struct batch *batch, const char *result)
{
    const struct metric_update updates[] = {
        {METRIC_BQ_APPEND_REQUESTS, 1, METRIC_LABELS(a->table, result)},
        {METRIC_BQ_APPEND_ROWS, (int64_t)batch->count, METRIC_LABELS(a->table)},
        {METRIC_BQ_APPEND_BYTES, (int64_t)batch->rows.len, METRIC_LABELS(a->table)},
    };
    bool stored = strcmp(result, "ok") == 0;
    metrics_add_all(updates, stored ? 3 : 1);
}

/* An answer may overtake the return of the send, not its end: when the send stays, the answer was none to it. */
static bool await_send(struct bq_appender *a, const struct batch *batch)
{
    int64_t until_ms = clock_mono_ms() + answer_patience_ms();
    while (batch->in_send && clock_mono_ms() < until_ms)
        clock_cond_wait(&a->sent, &a->mutex, until_ms);
    return !batch->in_send;
}

/* With the mutex held. */
static void handle_response(struct bq_appender *a, const response_t *response)
{
    struct batch *batch = pop_sent(a);
    if (!batch) {
        protocol_error(a, "an answer came for no request");
        return;
    }
    if (!await_send(a, batch)) {
        batch->state = BATCH_READY;
        protocol_error(a, "an answer came before its request");
        return;
    }
    bool refused = response->n_row_errors > 0 && refuse_rows(a, batch, response);
    bool failed = !refused &&
                  response->response_case == GOOGLE__CLOUD__BIGQUERY__STORAGE__V1__APPEND_ROWS_RESPONSE__RESPONSE_ERROR;
    count_answer(a, batch, refused ? "refused" : failed || response->n_row_errors > 0 ? "failed" : "ok");
    if (failed) {
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
    appender_settle(a);
}

/* True when the connection goes on. */
static bool take_answer(struct bq_appender *a, const struct buf *message)
{
    response_t *response = google__cloud__bigquery__storage__v1__append_rows_response__unpack(
        NULL, message->len, (const uint8_t *)message->ptr);
    pthread_mutex_lock(&a->mutex);
    if (response)
        handle_response(a, response);
    else
        protocol_error(a, "an answer could not be read");
    bool over = a->broken;
    pthread_mutex_unlock(&a->mutex);
    if (response)
        google__cloud__bigquery__storage__v1__append_rows_response__free_unpacked(response, NULL);
    return !over;
}

/* A connection may be silent for as long as it likes, unless an answer is due. */
static bool is_silent(struct bq_appender *a, struct error *err)
{
    pthread_mutex_lock(&a->mutex);
    int64_t waited_ms = a->sent_first ? clock_mono_ms() - a->sent_first->sent_ms : 0;
    pthread_mutex_unlock(&a->mutex);
    if (waited_ms < answer_patience_ms())
        return false;
    error_set(err, ERROR_RETRY, "append_silent", "could not append to '%s': no answer for %lld ms", a->table,
              (long long)waited_ms);
    err->effect = EFFECT_MAYBE;
    err->status = STATUS_DEADLINE_EXCEEDED;
    return true;
}

static void *receiver_main(void *user)
{
    struct bq_appender *a = user;
    struct buf message = BUF_INIT, details = BUF_INIT;
    struct error err = ERROR_INIT;
    for (bool goes_on = true; goes_on;) {
        enum grpc_recv got = grpc_stream_recv(a->receiver_stream, ANSWER_LOOK_REAL_MS, &message, &details, &err);
        goes_on = got == GRPC_RECV_MESSAGE ? take_answer(a, &message) : got == GRPC_RECV_TIMEOUT && !is_silent(a, &err);
    }
    pthread_mutex_lock(&a->mutex);
    set_broken(a, &err, append_storage_code(buf_slice(&details)));
    pthread_mutex_unlock(&a->mutex);
    grpc_stream_cancel(a->receiver_stream); /* a send may wait for flow control, for ever at a silent service */
    buf_release(&message);
    buf_release(&details);
    return NULL;
}

/* ---- Sender. All with the mutex held, which they leave while they block. ----------------------------------------- */

/* The open itself cannot be cancelled, so a token that must be fetched first is fetched here. */
static bool warm_token(const struct bq_writer *writer, struct error *err)
{
    struct secret *token = NULL;
    if (!google_credentials_token(writer->creds, writer->stop, &token, err))
        return false;
    secret_unref(token);
    return true;
}

/* Afterwards the connection stands, or the failure has been noted as that of a broken one. */
static void connect_stream(struct bq_appender *a)
{
    struct error err = ERROR_INIT;
    pthread_mutex_unlock(&a->mutex);
    struct grpc_stream *stream =
        warm_token(a->writer, &err) ? grpc_stream_open(a->writer->link, append_method, a->routing, &err) : NULL;
    pthread_mutex_lock(&a->mutex);
    if (!stream) {
        set_broken(a, &err, 0);
        a->end_action = error_may_retry(&err) ? APPEND_RETRY : APPEND_FAIL;
        return;
    }
    a->stream = a->receiver_stream = stream;
    a->first_request = true;
    if (pthread_create(&a->receiver, NULL, receiver_main, a) != 0)
        BUG("cannot start a thread");
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

/* With the mutex held: lines are bounded in number, and a table whose connection broke has nothing better to do. */
static void note_retry(const struct bq_appender *a, int64_t pause_ms)
{
    static struct log_limit limit;
    const struct log_context context = {.context = "v2-ingestor:bigquery:append"};
    struct error why = a->end;
    if (why.class == ERROR_NONE)
        error_set(&why, ERROR_RETRY, "stream_ended", "the service ended the stream");
    error_prefix(&why, "appending to '%s'", a->table);
    metrics_add(METRIC_RETRIES, 1, METRIC_LABELS("storage_write"));
    log_retry(&context, &limit, pause_ms, a->failures, &why);
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
        if (a->end_action == APPEND_THROTTLED && pause < THROTTLED_FIRST_MS)
            pause = THROTTLED_FIRST_MS;
        pause = pause < BACKOFF_MAX_MS ? pause : BACKOFF_MAX_MS;
        a->not_before_ms = now + pause;
        note_retry(a, pause);
        return;
    }
    struct error err = a->end;
    if (err.class == ERROR_NONE)
        error_set(&err, ERROR_RETRY, "stream_ended", "could not append: the service keeps ending the stream");
    if (!hopeless && err.class == ERROR_PERMANENT && a->end_action == APPEND_YOUNG)
        error_prefix(&err, "no change in %lld s", (long long)(patience_of(a, a->end_action) / 1000));
    if (err.class == ERROR_CANCELLED)
        err.class = ERROR_RETRY;
    appender_lose_all(a, &err);
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
    pthread_cond_signal(&a->sent);
    buf_release(&head);
    /* A send fails only on a stream that has ended: the receiver is about to learn why. */
    while (!ok && !a->broken)
        pthread_cond_wait(&a->work, &a->mutex);
}

void *appender_sender_main(void *user)
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
            pthread_cond_wait(&a->work, &a->mutex);
        else if (clock_mono_ms() < a->not_before_ms)
            clock_cond_wait(&a->work, &a->mutex, a->not_before_ms);
        else if (!a->stream)
            connect_stream(a); /* and look again: what has happened meanwhile? */
        else
            send_batch(a, batch);
    }
    disconnect(a);
    pthread_mutex_unlock(&a->mutex);
    return NULL;
}
