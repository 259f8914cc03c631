/* grpc_server_call.c - one call: its reads, its send queue, its end, and the events that it gives to the pool.
 *
 * A call is live from the moment the core hands it over until three things have happened: the core has reported its end
 * (RECV_CLOSE_ON_SERVER, posted for every call, else a cancellation would be invisible), all batches are back, and the
 * closed() handler has run. Only then is the core's object freed. Batches are started under the call's mutex and
 * never after the end. Initial metadata must precede the status, or the core never sends it. */
#include <grpc/byte_buffer_reader.h>
#include <stdlib.h>

#include "base/buf.h"
#include "grpc_server_fault.h"
#include "status.pb-c.h"

/* ---- Messages ---- */

struct rpc_message {
    atomic_int refs;
    grpc_slice slice;
};

static struct rpc_message *message_new(grpc_byte_buffer *buffer)
{
    grpc_byte_buffer_reader reader;
    if (!grpc_byte_buffer_reader_init(&reader, buffer))
        return NULL;
    struct rpc_message *message = xcalloc(1, sizeof *message);
    message->refs = 1;
    message->slice = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    return message;
}

struct slice rpc_message_bytes(const struct rpc_message *message)
{
    return slice_of(GRPC_SLICE_START_PTR(message->slice), GRPC_SLICE_LENGTH(message->slice));
}

struct rpc_message *rpc_message_ref(struct rpc_message *message)
{
    atomic_fetch_add(&message->refs, 1);
    return message;
}

void rpc_message_unref(struct rpc_message *message)
{
    if (!message || atomic_fetch_sub(&message->refs, 1) != 1)
        return;
    grpc_slice_unref(message->slice);
    free(message);
}

/* ---- Life ---- */

struct rpc_call *rpc_call_new(struct rpc_server *server)
{
    struct rpc_call *call = xcalloc(1, sizeof *call);
    call->refs = 1;
    call->server = server;
    call->new_op = (struct rpc_op){RPC_OP_NEW_CALL, call};
    call->read_op = (struct rpc_op){RPC_OP_READ, call};
    call->write_op = (struct rpc_op){RPC_OP_WRITE, call};
    call->close_op = (struct rpc_op){RPC_OP_CLOSE, call};
    call->out_tail = &call->out;
    call->events_tail = &call->events;
    call->fault.pending_end = &call->fault.pending;
    call->status_text = grpc_empty_slice();
    call->status_details = grpc_empty_slice();
    grpc_call_details_init(&call->details);
    grpc_metadata_array_init(&call->headers);
    pthread_mutex_init(&call->mutex, NULL);
    return call;
}

struct rpc_call *rpc_call_ref(struct rpc_call *call)
{
    atomic_fetch_add(&call->refs, 1);
    return call;
}

void rpc_call_unref(struct rpc_call *call)
{
    if (!call || atomic_fetch_sub(&call->refs, 1) != 1)
        return;
    grpc_call_details_destroy(&call->details);
    grpc_metadata_array_destroy(&call->headers);
    grpc_slice_unref(call->status_text);
    grpc_slice_unref(call->status_details);
    rpc_fault_forget(call);
    pthread_mutex_destroy(&call->mutex);
    free(call->path);
    free(call);
}

static void drop_queue(struct rpc_call *call)
{
    while (call->out) {
        struct rpc_out *next = call->out->next;
        grpc_slice_unref(call->out->bytes);
        free(call->out);
        call->out = next;
    }
    call->out_tail = &call->out;
    call->out_bytes = call->writing ? call->write_bytes : 0;
}

/* True when the last thing that kept the call live is gone; its core object is freed then. Mutex held. */
static bool try_end(struct rpc_call *call)
{
    if (!call->core || !call->over || call->batches > 0 || !call->closed_done)
        return false;
    grpc_call_unref(call->core);
    call->core = NULL;
    return true;
}

static void unlock_and_end(struct rpc_call *call)
{
    bool ended = try_end(call);
    struct rpc_server *server = call->server;
    pthread_mutex_unlock(&call->mutex);
    if (!ended)
        return;
    rpc_server_ended(server, call);
    rpc_call_unref(call);
}

/* ---- Events ---- */

static void push_event(struct rpc_call *call, enum rpc_event_kind kind, struct rpc_message *message)
{
    struct rpc_event *event = xcalloc(1, sizeof *event);
    event->kind = kind;
    event->message = message;
    *call->events_tail = event;
    call->events_tail = &event->next;
    if (!call->scheduled) {
        call->scheduled = true;
        rpc_pool_push(call->server->pool, call);
    }
}

/* ---- Batches; all with the mutex held ---- */

static void start_batch(struct rpc_call *call, const grpc_op *ops, size_t count, struct rpc_op *tag)
{
    grpc_call_error rc = grpc_call_start_batch(call->core, ops, count, tag, NULL);
    if (rc != GRPC_CALL_OK)
        BUG("grpc_call_start_batch: %s", grpc_call_error_to_string(rc));
    call->batches++;
}

static void maybe_read(struct rpc_call *call)
{
    bool unary = call->method && call->method->unary;
    if (call->reading || call->read_ended || call->over || call->finishing || !call->method)
        return;
    if (call->paused || call->unhandled >= (unary ? 1 : RPC_READ_AHEAD))
        return;
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &call->received;
    call->reading = true;
    start_batch(call, &op, 1, &call->read_op);
}

static grpc_op status_op(struct rpc_call *call)
{
    grpc_op op = {.op = GRPC_OP_SEND_STATUS_FROM_SERVER};
    op.data.send_status_from_server.status = (grpc_status_code)call->status;
    op.data.send_status_from_server.status_details = &call->status_text;
    if (call->has_details) {
        call->trailer.key = grpc_slice_from_static_string("grpc-status-details-bin");
        call->trailer.value = call->status_details;
        op.data.send_status_from_server.trailing_metadata_count = 1;
        op.data.send_status_from_server.trailing_metadata = &call->trailer;
    }
    call->status_sent = true;
    return op;
}

/* Sends what is due: headers first, one message at a time, the status with or after the last. */
static void pump(struct rpc_call *call)
{
    grpc_op ops[3] = {{0}};
    size_t count = 0;
    grpc_byte_buffer *buffer = NULL;
    bool headers_due = !call->headers_sent && call->method && call->method->stream;
    if (call->writing || call->over || call->status_sent || (!call->out && !call->finishing && !headers_due))
        return;
    if (!call->headers_sent)
        ops[count++] = (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA};
    call->headers_sent = true;
    struct rpc_out *out = call->out;
    call->write_had_message = out != NULL;
    call->write_bytes = 0;
    if (out) {
        call->out = out->next;
        if (!call->out)
            call->out_tail = &call->out;
        call->write_bytes = GRPC_SLICE_LENGTH(out->bytes);
        buffer = grpc_raw_byte_buffer_create(&out->bytes, 1);
        ops[count] = (grpc_op){.op = GRPC_OP_SEND_MESSAGE};
        ops[count++].data.send_message.send_message = buffer;
        grpc_slice_unref(out->bytes);
        free(out);
    }
    if (call->finishing && !call->out)
        ops[count++] = status_op(call);
    call->writing = true;
    start_batch(call, ops, count, &call->write_op);
    if (buffer)
        grpc_byte_buffer_destroy(buffer); /* the core holds its own references */
}

static void set_status(struct rpc_call *call, enum rpc_status status, const char *message)
{
    call->finishing = true;
    call->status = status;
    grpc_slice_unref(call->status_text);
    call->status_text = grpc_slice_from_copied_string(message ? message : "");
}

void rpc_call_accepted(struct rpc_call *call, const struct rpc_method *method, void *service)
{
    pthread_mutex_lock(&call->mutex);
    call->method = method;
    call->service = service;
    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    op.data.recv_close_on_server.cancelled = &call->cancelled;
    start_batch(call, &op, 1, &call->close_op);
    if (!method) {
        char *text = xasprintf("The server does not implement the method %s", call->path);
        set_status(call, RPC_UNIMPLEMENTED, text);
        free(text);
    } else if (method->stream && method->stream->opened) {
        push_event(call, RPC_EVENT_OPENED, NULL);
    }
    pump(call);
    maybe_read(call);
    pthread_mutex_unlock(&call->mutex);
}

/* ---- Completions ---- */

static void read_done(struct rpc_call *call, bool ok)
{
    struct rpc_message *message = NULL;
    call->reading = false;
    if (call->received) {
        message = ok ? message_new(call->received) : NULL;
        grpc_byte_buffer_destroy(call->received);
        call->received = NULL;
    }
    if (message) {
        call->unhandled++;
        push_event(call, RPC_EVENT_MESSAGE, message);
        maybe_read(call);
        return;
    }
    call->read_ended = true;
    if (call->over)
        return;
    if (call->method->stream)
        push_event(call, RPC_EVENT_HALF_CLOSED, NULL);
    else if (!call->finishing)
        set_status(call, RPC_INTERNAL, "the call ended without a request message");
    pump(call);
}

static void write_done(struct rpc_call *call, bool ok)
{
    call->writing = false;
    call->out_bytes -= call->write_bytes;
    call->write_bytes = 0;
    if (!ok)
        drop_queue(call);
    const struct rpc_stream_handlers *stream = call->method ? call->method->stream : NULL;
    bool drained = call->write_had_message && !call->out && !call->finishing && !call->over;
    if (drained && stream && stream->drained && !call->drained_pending) {
        call->drained_pending = true;
        push_event(call, RPC_EVENT_DRAINED, NULL);
    }
    pump(call);
}

static void close_done(struct rpc_call *call)
{
    call->over = true;
    drop_queue(call);
    push_event(call, RPC_EVENT_CLOSED, NULL);
}

void rpc_call_completed(struct rpc_call *call, enum rpc_op_kind kind, bool ok)
{
    pthread_mutex_lock(&call->mutex);
    call->batches--;
    if (kind == RPC_OP_READ)
        read_done(call, ok);
    else if (kind == RPC_OP_WRITE)
        write_done(call, ok);
    else
        close_done(call);
    unlock_and_end(call);
}

/* ---- Handlers, on the pool ---- */

static void half_closed(struct rpc_call *call)
{
    if (call->method->stream->half_closed)
        call->method->stream->half_closed(call->service, call);
    else
        rpc_call_finish(call, RPC_OK, NULL);
}

static void closed(struct rpc_call *call)
{
    const struct rpc_method *method = call->method;
    if (!method)
        return;
    void (*fn)(void *, struct rpc_call *) = method->stream ? method->stream->closed : method->closed;
    if (fn)
        fn(call->service, call);
}

static void handle(struct rpc_call *call, const struct rpc_event *event)
{
    const struct rpc_method *method = call->method;
    switch (event->kind) {
    case RPC_EVENT_OPENED:
        method->stream->opened(call->service, call);
        break;
    case RPC_EVENT_MESSAGE:
        if (method->stream && rpc_call_is_over(call))
            break; /* nobody waits for the answer any more */
        rpc_fault_deliver(call, event->message);
        break;
    case RPC_EVENT_ENDING:
        rpc_fault_ending(call);
        break;
    case RPC_EVENT_HALF_CLOSED:
        half_closed(call);
        break;
    case RPC_EVENT_DRAINED:
        method->stream->drained(call->service, call);
        break;
    case RPC_EVENT_CLOSED:
        closed(call);
        break;
    }
}

static struct rpc_event *take_event(struct rpc_call *call)
{
    pthread_mutex_lock(&call->mutex);
    struct rpc_event *event = call->events;
    call->events = event->next;
    if (!call->events)
        call->events_tail = &call->events;
    if (event->kind == RPC_EVENT_DRAINED)
        call->drained_pending = false;
    pthread_mutex_unlock(&call->mutex);
    return event;
}

void rpc_call_run(struct rpc_call *call)
{
    struct rpc_event *event = take_event(call);
    handle(call, event);
    pthread_mutex_lock(&call->mutex);
    if (event->kind == RPC_EVENT_MESSAGE && call->method->stream) {
        call->unhandled--; /* a unary call stays at its one request */
        maybe_read(call);
    }
    if (event->kind == RPC_EVENT_CLOSED)
        call->closed_done = true;
    if (call->events)
        rpc_pool_push(call->server->pool, call);
    else
        call->scheduled = false;
    unlock_and_end(call);
    rpc_message_unref(event->message);
    free(event);
}

/* ---- For services ---- */

void rpc_call_set_user(struct rpc_call *call, void *user)
{
    atomic_store(&call->user, user);
}

void *rpc_call_user(const struct rpc_call *call)
{
    return atomic_load(&call->user);
}

const char *rpc_call_method(const struct rpc_call *call)
{
    return call->path;
}

struct slice rpc_call_metadata(const struct rpc_call *call, const char *key)
{
    for (size_t i = 0; i < call->headers.count; i++) {
        const grpc_metadata *header = &call->headers.metadata[i];
        if (grpc_slice_str_cmp(header->key, key) == 0)
            return slice_of(GRPC_SLICE_START_PTR(header->value), GRPC_SLICE_LENGTH(header->value));
    }
    return SLICE_NULL;
}

bool rpc_call_is_over(struct rpc_call *call)
{
    pthread_mutex_lock(&call->mutex);
    bool over = call->over || call->finishing;
    pthread_mutex_unlock(&call->mutex);
    return over;
}

size_t rpc_call_queued_bytes(struct rpc_call *call)
{
    pthread_mutex_lock(&call->mutex);
    size_t bytes = call->out_bytes;
    pthread_mutex_unlock(&call->mutex);
    return bytes;
}

static void enqueue(struct rpc_call *call, grpc_slice bytes)
{
    struct rpc_out *out = xcalloc(1, sizeof *out);
    out->bytes = bytes;
    *call->out_tail = out;
    call->out_tail = &out->next;
    call->out_bytes += GRPC_SLICE_LENGTH(bytes);
}

static bool send_slice(struct rpc_call *call, grpc_slice bytes)
{
    bool twice;
    if (!rpc_fault_response(call, &bytes, &twice))
        return true;
    pthread_mutex_lock(&call->mutex);
    bool silent = call->fault.silent && !call->over;
    bool ok = !call->over && !call->finishing && !silent && call->out_bytes < RPC_SEND_QUEUE_BYTES;
    if (ok) {
        if (twice)
            enqueue(call, grpc_slice_ref(bytes));
        enqueue(call, bytes);
        pump(call);
    }
    pthread_mutex_unlock(&call->mutex);
    if (!ok)
        grpc_slice_unref(bytes);
    return ok || silent;
}

static grpc_slice pack(const ProtobufCMessage *message)
{
    grpc_slice bytes = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(bytes));
    return bytes;
}

bool rpc_call_send(struct rpc_call *call, const ProtobufCMessage *response)
{
    return send_slice(call, pack(response));
}

bool rpc_call_send_bytes(struct rpc_call *call, struct slice bytes)
{
    return send_slice(call, grpc_slice_from_copied_buffer(bytes.ptr ? bytes.ptr : "", bytes.len));
}

void rpc_call_pause(struct rpc_call *call)
{
    pthread_mutex_lock(&call->mutex);
    call->paused = true;
    pthread_mutex_unlock(&call->mutex);
}

void rpc_call_resume(struct rpc_call *call)
{
    pthread_mutex_lock(&call->mutex);
    call->paused = false;
    maybe_read(call);
    pthread_mutex_unlock(&call->mutex);
}

/* ---- Ends ---- */

void rpc_held_drop(struct rpc_held *held)
{
    if (held->has_reply)
        grpc_slice_unref(held->reply);
    if (held->has_details)
        grpc_slice_unref(held->details);
    free(held->text);
    free(held);
}

/* Takes the slices of `held` over, not held itself. Mutex held. */
static void end_locked(struct rpc_call *call, struct rpc_held *held)
{
    if (held->has_details) {
        call->status_details = held->details;
        call->has_details = true;
    }
    if (held->has_reply)
        enqueue(call, held->reply);
    held->has_reply = held->has_details = false;
    set_status(call, held->status, held->text);
    pump(call);
}

void rpc_held_send(struct rpc_call *call, struct rpc_held *held)
{
    pthread_mutex_lock(&call->mutex);
    if (!call->over && !call->finishing && !call->fault.silent)
        end_locked(call, held);
    pthread_mutex_unlock(&call->mutex);
    rpc_held_drop(held);
}

/* Ends the call, unless it has ended or is silent; takes over what `held` holds. The bench may want to see it first. */
static void end(struct rpc_call *call, struct rpc_held *held)
{
    pthread_mutex_lock(&call->mutex);
    bool first = !call->over && !call->finishing && !call->fault.silent && !call->fault.held;
    bool waits = first && call->fault.waits;
    if (waits) {
        call->fault.held = held;
        push_event(call, RPC_EVENT_ENDING, NULL);
    } else if (first) {
        end_locked(call, held);
    }
    pthread_mutex_unlock(&call->mutex);
    if (!waits)
        rpc_held_drop(held);
}

static struct rpc_held *held_new(enum rpc_status status, const char *text)
{
    struct rpc_held *held = xcalloc(1, sizeof *held);
    held->status = status;
    held->text = text ? xstrdup(text) : NULL;
    return held;
}

void rpc_call_reply(struct rpc_call *call, const ProtobufCMessage *response)
{
    struct rpc_held *held = held_new(RPC_OK, NULL);
    held->reply = pack(response);
    held->has_reply = true;
    end(call, held);
}

static void finish(struct rpc_call *call, enum rpc_status status, const char *message, grpc_slice *details)
{
    struct rpc_held *held = held_new(status, message);
    if (details) {
        held->details = *details;
        held->has_details = true;
    }
    end(call, held);
}

void rpc_call_finish(struct rpc_call *call, enum rpc_status status, const char *message)
{
    finish(call, status, message, NULL);
}

void rpc_call_finish_details(struct rpc_call *call, enum rpc_status status, const char *message,
                             const struct rpc_detail *details, size_t count)
{
    Google__Protobuf__Any any[RPC_MAX_DETAILS];
    Google__Protobuf__Any *list[RPC_MAX_DETAILS];
    Google__Rpc__Status rich;
    BUG_ON(count > RPC_MAX_DETAILS);
    char *text = xstrdup(message ? message : "");
    for (size_t i = 0; i < count; i++) {
        google__protobuf__any__init(&any[i]);
        memcpy(&any[i].type_url, &details[i].type_url, sizeof any[i].type_url);
        any[i].value.len = details[i].value.len;
        memcpy(&any[i].value.data, &details[i].value.ptr, sizeof any[i].value.data);
        list[i] = &any[i];
    }
    google__rpc__status__init(&rich);
    rich.code = (int32_t)status;
    rich.message = text;
    rich.n_details = count;
    rich.details = list;
    grpc_slice bytes = pack(&rich.base);
    finish(call, status, text, &bytes);
    free(text);
}

void rpc_call_fail(struct rpc_call *call, const struct error *err)
{
    enum rpc_status status = err->status > 0 && err->status <= 16 ? (enum rpc_status)err->status : RPC_INTERNAL;
    rpc_call_finish(call, status, err->message);
}
