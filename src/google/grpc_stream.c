/* grpc_stream.c - a bidirectional stream as two blocking halves: one thread sends, one receives, any thread cancels.
 *
 * All operations share the stream's own completion queue and are plucked by tag, so the two threads never wait for each
 * other. At most one send and one receive are under way: flow control reaches the sender as a blocked call, and a
 * receive that timed out goes on and is picked up by the next one. The status is asked for at the open and read by the
 * receiving thread (or by free). */
#include <stdatomic.h>
#include <stdlib.h>

#include "grpc_internal.h"

/* Operations of the stream; their addresses are the tags. */
enum { OP_HEAD, OP_INITIAL, OP_STATUS, OP_SEND, OP_RECV, OP_COUNT };

struct grpc_stream {
    struct grpc_link *link;
    char *method;
    grpc_call *call;
    grpc_completion_queue *cq;
    struct call_head head;
    grpc_metadata_array initial;
    char tags[OP_COUNT];
    atomic_bool cancelled;
    struct { /* the sending thread's */
        bool closed;
    } send;
    struct { /* the receiving thread's */
        grpc_byte_buffer *message;
        bool pending; /* an OP_RECV is under way */
        bool ended;   /* `end` is complete */
        struct call_end end;
    } recv;
};

static bool start(struct grpc_stream *stream, int tag, const grpc_op *ops, size_t count)
{
    return grpc_call_start_batch(stream->call, ops, count, &stream->tags[tag], NULL) == GRPC_CALL_OK;
}

/* False when the deadline passed first. Otherwise *ret_ok says whether the operation did what it should. */
static bool pluck(struct grpc_stream *stream, int tag, gpr_timespec deadline, bool *ret_ok)
{
    grpc_event event = grpc_completion_queue_pluck(stream->cq, &stream->tags[tag], deadline, NULL);
    if (event.type != GRPC_OP_COMPLETE)
        return false;
    *ret_ok = event.success != 0;
    return true;
}

static void start_head(struct grpc_stream *stream)
{
    grpc_op head = {.op = GRPC_OP_SEND_INITIAL_METADATA};
    grpc_op initial = {.op = GRPC_OP_RECV_INITIAL_METADATA};
    grpc_op status = call_end_op(&stream->recv.end);
    head.data.send_initial_metadata.count = stream->head.count;
    head.data.send_initial_metadata.metadata = stream->head.metadata;
    initial.data.recv_initial_metadata.recv_initial_metadata = &stream->initial;
    /* The metadata was checked by call_head_init, and nothing has been started on this call before. */
    BUG_ON(!start(stream, OP_HEAD, &head, 1));
    BUG_ON(!start(stream, OP_INITIAL, &initial, 1));
    BUG_ON(!start(stream, OP_STATUS, &status, 1));
}

struct grpc_stream *grpc_stream_open(struct grpc_link *link, const char *method, const char *routing, struct error *err)
{
    struct call_head head;
    if (!call_head_init(&head, link, routing, /*cancel*/ NULL, err))
        return NULL;
    struct grpc_stream *stream = xcalloc(1, sizeof *stream);
    stream->link = link;
    stream->method = xstrdup(method);
    stream->head = head;
    atomic_init(&stream->cancelled, false);
    grpc_metadata_array_init(&stream->initial);
    call_end_init(&stream->recv.end);
    stream->cq = grpc_completion_queue_create_for_pluck(NULL);
    grpc_slice name = grpc_slice_from_copied_string(method);
    stream->call = grpc_channel_create_call(link->channel, NULL, GRPC_PROPAGATE_DEFAULTS, stream->cq, name, NULL,
                                            gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    grpc_slice_unref(name);
    start_head(stream);
    return stream;
}

static bool send_failed(struct grpc_stream *stream, struct error *err)
{
    bool ours = atomic_load(&stream->cancelled);
    error_set(err, ours ? ERROR_CANCELLED : ERROR_RETRY, ours ? "cancelled" : "grpc_stream",
              "could not send on the stream \"%s\": %s", stream->method, ours ? "it was cancelled" : "it has ended");
    if (err)
        err->effect = EFFECT_MAYBE;
    return false;
}

/* Sends and destroys `bytes`. */
static bool send_bytes(struct grpc_stream *stream, grpc_byte_buffer *bytes, struct error *err)
{
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
    bool ok = false;
    BUG_ON(stream->send.closed);
    op.data.send_message.send_message = bytes;
    bool started = start(stream, OP_SEND, &op, 1);
    grpc_byte_buffer_destroy(bytes);
    if (!started || !pluck(stream, OP_SEND, gpr_inf_future(GPR_CLOCK_MONOTONIC), &ok) || !ok)
        return send_failed(stream, err);
    return true;
}

bool grpc_stream_send(struct grpc_stream *stream, struct slice head, struct slice body, struct error *err)
{
    return send_bytes(stream, byte_buffer_of(head, body), err);
}

bool grpc_stream_send_message(struct grpc_stream *stream, const ProtobufCMessage *message, struct error *err)
{
    return send_bytes(stream, byte_buffer_of_message(message), err);
}

bool grpc_stream_half_close(struct grpc_stream *stream, struct error *err)
{
    grpc_op op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    bool ok = false;
    if (stream->send.closed)
        return true;
    stream->send.closed = true;
    if (!start(stream, OP_SEND, &op, 1) || !pluck(stream, OP_SEND, gpr_inf_future(GPR_CLOCK_MONOTONIC), &ok) || !ok)
        return send_failed(stream, err);
    return true;
}

static void read_status(struct grpc_stream *stream)
{
    bool ok = false;
    if (stream->recv.ended)
        return;
    pluck(stream, OP_STATUS, gpr_inf_future(GPR_CLOCK_MONOTONIC), &ok);
    stream->recv.ended = true;
    if (stream->recv.end.status == GRPC_STATUS_UNAUTHENTICATED && stream->head.token)
        google_credentials_refused(stream->link->creds, stream->head.token);
}

static enum grpc_recv recv_end(struct grpc_stream *stream, struct buf *ret_details, struct error *err)
{
    const struct call_end *end = &stream->recv.end;
    read_status(stream);
    if (ret_details)
        call_end_details(end, ret_details);
    if (!err)
        return GRPC_RECV_END;
    *err = ERROR_INIT;
    if (end->status == GRPC_STATUS_OK)
        return GRPC_RECV_END;
    call_end_error(end, stream->method, stream->head.token, err);
    if (err->class == ERROR_CANCELLED && !atomic_load(&stream->cancelled))
        err->class = ERROR_RETRY; /* the server gave the stream up, not we */
    return GRPC_RECV_END;
}

/* Starts a receive unless one is under way; false when the call takes none any more. */
static bool want_message(struct grpc_stream *stream)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    if (stream->recv.pending)
        return true;
    stream->recv.message = NULL;
    op.data.recv_message.recv_message = &stream->recv.message;
    stream->recv.pending = start(stream, OP_RECV, &op, 1);
    return stream->recv.pending;
}

enum grpc_recv grpc_stream_recv(struct grpc_stream *stream, int64_t timeout_ms, struct buf *ret,
                                struct buf *ret_details, struct error *err)
{
    bool ok = false;
    buf_clear(ret);
    if (stream->recv.ended || !want_message(stream))
        return recv_end(stream, ret_details, err);
    if (!pluck(stream, OP_RECV, grpc_deadline_after(timeout_ms), &ok))
        return GRPC_RECV_TIMEOUT;
    stream->recv.pending = false;
    if (!stream->recv.message)
        return recv_end(stream, ret_details, err);
    bool readable = byte_buffer_read(stream->recv.message, ret);
    grpc_byte_buffer_destroy(stream->recv.message);
    stream->recv.message = NULL;
    if (readable)
        return GRPC_RECV_MESSAGE;
    grpc_call_cancel_with_status(stream->call, GRPC_STATUS_INTERNAL, "a message could not be decompressed", NULL);
    return recv_end(stream, ret_details, err);
}

void grpc_stream_cancel(struct grpc_stream *stream)
{
    atomic_store(&stream->cancelled, true);
    grpc_call_cancel(stream->call, NULL);
}

void grpc_stream_free(struct grpc_stream *stream)
{
    gpr_timespec never = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    bool ok;
    if (!stream)
        return;
    grpc_call_cancel(stream->call, NULL);
    if (stream->recv.pending)
        pluck(stream, OP_RECV, never, &ok);
    if (stream->recv.message)
        grpc_byte_buffer_destroy(stream->recv.message);
    pluck(stream, OP_HEAD, never, &ok);
    pluck(stream, OP_INITIAL, never, &ok);
    read_status(stream);
    grpc_call_unref(stream->call);
    grpc_completion_queue_shutdown(stream->cq);
    grpc_completion_queue_destroy(stream->cq);
    grpc_metadata_array_destroy(&stream->initial);
    call_end_release(&stream->recv.end);
    call_head_release(&stream->head);
    free(stream->method);
    free(stream);
}
