/* write.c - appenders as their callers see them: rows of many threads into the _default stream of one table each.
 *
 * Adders and waiters only touch the lists, under the appender's mutex; the two threads of append_stream.c do the rest.
 * Tickets number the rows. Requests stand in the list by tickets and leave it at the front only, so "everything up to a
 * ticket is settled" is a look at the front. There is no timer: a request goes when it is full, or when somebody waits
 * for a row of it, and while one is being sent the rows of other waiters gather in the next. At-least-once: a resent
 * request may be stored twice. */
#include "bigquery/write.h"

#include <stdlib.h>

#include "appender.h"
#include "base/clock.h"

enum { PATIENCE_MS = 300000 };

/* ---- Lists. All with the mutex held. ------------------------------------------------------------------------ */

static struct batch *open_batch(struct bq_appender *a)
{
    return a->last && a->last->state == BATCH_OPEN ? a->last : NULL;
}

static void seal(struct bq_appender *a)
{
    struct batch *batch = open_batch(a);
    if (!batch)
        return;
    batch->state = BATCH_READY;
    pthread_cond_signal(&a->work);
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

void appender_settle(struct bq_appender *a)
{
    while (a->first && a->first->state == BATCH_DONE) {
        struct batch *batch = a->first;
        a->first = batch->next;
        if (!a->first)
            a->last = NULL;
        a->outstanding_bytes -= batch->bytes;
        batch_free(batch);
    }
    pthread_cond_broadcast(&a->room);
    pthread_cond_broadcast(&a->settled);
}

/* Remembers that these rows are lost. When there are too many ranges the two oldest become one: a row too many is
 * called lost, never one too few. */
static void remember_lost(struct bq_appender *a, uint64_t first, uint64_t last, const struct error *err)
{
    if (a->lost_count == APPENDER_MAX_LOST_RANGES) {
        a->lost[0].last = a->lost[1].last;
        memmove(&a->lost[1], &a->lost[2], (APPENDER_MAX_LOST_RANGES - 2) * sizeof a->lost[0]);
        a->lost_count--;
    }
    a->lost[a->lost_count++] = (struct lost_range){first, last, *err};
}

void appender_lose_all(struct bq_appender *a, const struct error *err)
{
    if (a->first)
        remember_lost(a, a->first->first_ticket, a->next_ticket - 1, err);
    for (struct batch *batch = a->first; batch; batch = batch->next)
        batch->state = BATCH_DONE;
    a->failures = 0;
    a->failing_since_ms = a->not_before_ms = 0;
    appender_settle(a);
}

/* ---- Adders and waiters ------------------------------------------------------------------------------------------ */

static void wake(void *user)
{
    struct bq_appender *a = user;
    pthread_mutex_lock(&a->mutex);
    pthread_cond_broadcast(&a->room);
    pthread_cond_broadcast(&a->settled);
    pthread_mutex_unlock(&a->mutex);
}

static void start(struct bq_appender *a)
{
    if (a->started)
        return;
    if (pthread_create(&a->sender, NULL, appender_sender_main, a) != 0)
        BUG("cannot start a thread");
    a->started = true;
}

static bool has_room(const struct bq_appender *a, size_t len)
{
    return a->outstanding_bytes == 0 || a->outstanding_bytes + len <= BQ_APPEND_IN_FLIGHT_BYTES;
}

static bool wait_for_room(struct bq_appender *a, size_t len, struct cancel *cancel, struct error *err)
{
    while (!has_room(a, len)) {
        seal(a);
        if (!cancel_check(cancel, err))
            return false;
        pthread_cond_wait(&a->room, &a->mutex);
    }
    return true;
}

static void put_row(struct bq_appender *a, struct slice row, const struct bq_rows *origin)
{
    struct batch *batch = open_batch(a);
    if (batch && batch_is_full(batch, row.len)) {
        seal(a);
        batch = NULL;
    }
    if (!batch)
        batch = begin_batch(a);
    batch_add(batch, row, origin->tag, origin->on_error, origin->user);
    a->outstanding_bytes += row.len;
    a->next_ticket++;
    if (batch_is_full(batch, 0))
        seal(a);
}

static struct slice row_at(const struct bq_rows *rows, size_t i)
{
    size_t start = i > 0 ? rows->ends[i - 1] : 0;
    return slice_of(rows->bytes.ptr + start, rows->ends[i] - start);
}

/* Returns the first ticket. */
static uint64_t put_rows(struct bq_appender *a, const struct bq_rows *rows)
{
    uint64_t first = a->next_ticket;
    for (size_t i = 0; i < rows->count; i++)
        put_row(a, row_at(rows, i), rows);
    return first;
}

static bool check_lengths(const struct bq_rows *rows, struct error *err)
{
    for (size_t i = 0; i < rows->count; i++) {
        size_t len = row_at(rows, i).len;
        if (len > BQ_APPEND_MAX_BYTES)
            return error_set(err, ERROR_PERMANENT, "row_too_large", "cannot append a row of %zu bytes: the limit is %d",
                             len, BQ_APPEND_MAX_BYTES);
    }
    return true;
}

bool bq_appender_add_rows(struct bq_appender *appender, const struct bq_rows *rows, uint64_t *ret_first,
                          struct cancel *cancel, struct error *err)
{
    struct bq_appender *a = appender;
    BUG_ON(rows->count == 0);
    if (!check_lengths(rows, err))
        return false;
    pthread_mutex_lock(&a->mutex);
    start(a);
    if (has_room(a, rows->bytes.len)) {
        *ret_first = put_rows(a, rows);
        pthread_mutex_unlock(&a->mutex);
        return true;
    }
    pthread_mutex_unlock(&a->mutex);
    uint64_t hook = cancel ? cancel_add_hook(cancel, wake, a) : 0;
    pthread_mutex_lock(&a->mutex);
    bool ok = wait_for_room(a, rows->bytes.len, cancel, err);
    if (ok)
        *ret_first = put_rows(a, rows);
    pthread_mutex_unlock(&a->mutex);
    if (cancel)
        cancel_remove_hook(cancel, hook);
    return ok;
}

bool bq_appender_add(struct bq_appender *appender, struct slice row, uint64_t tag, bq_row_error_fn *on_error,
                     void *user, uint64_t *ret_ticket, struct cancel *cancel, struct error *err)
{
    struct buf bytes = {(char *)(uintptr_t)row.ptr, row.len, 0}; /* borrowed: only read */
    const struct bq_rows rows = {
        .bytes = bytes, .ends = &row.len, .count = 1, .tag = tag, .on_error = on_error, .user = user};
    return bq_appender_add_rows(appender, &rows, ret_ticket, cancel, err);
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
    pthread_cond_signal(&a->work);
    while (ok && a->first && a->first->first_ticket <= last && !find_lost(a, first, last)) {
        ok = cancel_check(cancel, err);
        if (ok)
            pthread_cond_wait(&a->settled, &a->mutex);
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
        pthread_cond_wait(&a->settled, &a->mutex);
    pthread_mutex_unlock(&a->mutex);
}

/* ---- Writer ------------------------------------------------------------------------------------------------------ */

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
    writer->creds = options->creds;
    writer->stop = cancel_new(NULL);
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
    a->table = xstrdup(schema->name);
    buf_append_str(&routing, "write_stream=");
    buf_append_url_escaped(&routing, slice_str(stream_name));
    a->routing = buf_detach(&routing);
    a->next_ticket = 1;
    schema_descriptor(&a->descriptor, "row", schema->columns, schema->column_count);
    pthread_mutex_init(&a->mutex, NULL);
    clock_cond_init(&a->work);
    clock_cond_init(&a->sent);
    clock_cond_init(&a->room);
    clock_cond_init(&a->settled);
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

int64_t bq_writer_in_flight_bytes(struct bq_writer *writer)
{
    int64_t bytes = 0;
    pthread_mutex_lock(&writer->mutex);
    for (struct bq_appender *a = writer->appenders; a; a = a->next) {
        pthread_mutex_lock(&a->mutex);
        bytes += (int64_t)a->outstanding_bytes;
        pthread_mutex_unlock(&a->mutex);
    }
    pthread_mutex_unlock(&writer->mutex);
    return bytes;
}

static void appender_free(struct bq_appender *a)
{
    struct error err = ERROR_INIT;
    pthread_mutex_lock(&a->mutex);
    a->stopping = true;
    if (a->stream)
        grpc_stream_cancel(a->stream); /* a send may wait for flow control */
    pthread_cond_signal(&a->work);
    bool started = a->started;
    pthread_mutex_unlock(&a->mutex);
    if (started)
        pthread_join(a->sender, NULL);
    error_set(&err, ERROR_CANCELLED, "writer_closed", "could not append: the writer was closed");
    pthread_mutex_lock(&a->mutex);
    appender_lose_all(a, &err);
    pthread_mutex_unlock(&a->mutex);
    pthread_cond_destroy(&a->work);
    pthread_cond_destroy(&a->sent);
    pthread_cond_destroy(&a->room);
    pthread_cond_destroy(&a->settled);
    pthread_mutex_destroy(&a->mutex);
    buf_release(&a->descriptor);
    free(a->stream_name);
    free(a->routing);
    free(a->table);
    free(a);
}

void bq_writer_free(struct bq_writer *writer)
{
    if (!writer)
        return;
    cancel_set(writer->stop, "the writer was closed");
    while (writer->appenders) {
        struct bq_appender *next = writer->appenders->next;
        appender_free(writer->appenders);
        writer->appenders = next;
    }
    grpc_link_free(writer->link);
    cancel_free(writer->stop);
    pthread_mutex_destroy(&writer->mutex);
    free(writer->project);
    free(writer);
}
