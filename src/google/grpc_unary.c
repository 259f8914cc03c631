/* grpc_unary.c - one request, one reply, blocking, with a deadline and a way to be cancelled.
 *
 * Each call has a completion queue of its own, plucked by the calling thread; another thread's cancel_set reaches the
 * call through a hook. The one retry made here is for UNAUTHENTICATED: the cached token may have been revoked, so a
 * fresh one is tried once. */
#include <stdlib.h>

#include "grpc_internal.h"

enum { STATUS_CANCELLED = 1 };

struct unary {
    struct grpc_link *link;
    const char *method;
    const char *routing;
    const ProtobufCMessage *request;
    const ProtobufCMessageDescriptor *reply_type;
    int64_t timeout_ms;
    struct cancel *cancel;
};

static void cancel_call(void *user)
{
    grpc_call_cancel(user, NULL);
}

/* Runs the whole exchange as one batch; it always completes, by the call's deadline at the latest. */
static bool run_batch(const struct unary *u, grpc_call *call, grpc_completion_queue *cq, struct call_head *head,
                      struct call_end *end, grpc_byte_buffer **ret_reply)
{
    grpc_metadata_array initial;
    grpc_metadata_array_init(&initial);
    grpc_byte_buffer *message = byte_buffer_of_message(u->request);
    grpc_op ops[6] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_MESSAGE}, {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
        {.op = GRPC_OP_RECV_INITIAL_METADATA}, {.op = GRPC_OP_RECV_MESSAGE}, call_end_op(end),
    };
    ops[0].data.send_initial_metadata.count = head->count;
    ops[0].data.send_initial_metadata.metadata = head->metadata;
    ops[1].data.send_message.send_message = message;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &initial;
    ops[4].data.recv_message.recv_message = ret_reply;
    bool started = grpc_call_start_batch(call, ops, sizeof ops / sizeof ops[0], call, NULL) == GRPC_CALL_OK;
    grpc_byte_buffer_destroy(message);
    if (started)
        grpc_completion_queue_pluck(cq, call, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    grpc_metadata_array_destroy(&initial);
    return started;
}

static bool unpack_reply(const struct unary *u, grpc_byte_buffer *reply, ProtobufCMessage **ret, struct error *err)
{
    struct buf bytes = BUF_INIT;
    ProtobufCMessage *message = NULL;
    if (reply && byte_buffer_read(reply, &bytes))
        message = protobuf_c_message_unpack(u->reply_type, NULL, bytes.len, (const uint8_t *)buf_cstr(&bytes));
    buf_release(&bytes);
    if (!message) {
        error_set(err, ERROR_RETRY, "grpc_reply", "could not read the reply to \"%s\": it is not a %s", u->method,
                  u->reply_type->short_name);
        err->effect = EFFECT_DONE;
        return false;
    }
    *ret = message;
    return true;
}

/* A CANCELLED status is ours only when we asked for it; else the server gave the call up. */
static void settle_cancelled(const struct unary *u, struct error *err)
{
    struct error ours = ERROR_INIT;
    if (err->status != STATUS_CANCELLED)
        return;
    if (cancel_check(u->cancel, &ours)) {
        err->class = ERROR_RETRY;
        return;
    }
    ours.effect = EFFECT_MAYBE;
    ours.status = STATUS_CANCELLED;
    *err = ours;
}

static bool call_once(const struct unary *u, ProtobufCMessage **ret, struct error *err)
{
    struct call_head head;
    struct call_end end;
    grpc_byte_buffer *reply = NULL;
    bool ok = false;
    if (!cancel_check(u->cancel, err) || !call_head_init(&head, u->link, u->routing, u->cancel, err))
        return false;
    call_end_init(&end);
    grpc_completion_queue *cq = grpc_completion_queue_create_for_pluck(NULL);
    grpc_slice method = grpc_slice_from_copied_string(u->method);
    grpc_call *call = grpc_channel_create_call(u->link->channel, NULL, GRPC_PROPAGATE_DEFAULTS, cq, method, NULL,
                                               grpc_deadline_after(u->timeout_ms), NULL);
    grpc_slice_unref(method);
    uint64_t hook = u->cancel ? cancel_add_hook(u->cancel, cancel_call, call) : 0;
    bool started = run_batch(u, call, cq, &head, &end, &reply);
    if (u->cancel)
        cancel_remove_hook(u->cancel, hook);
    if (!started) {
        error_set(err, ERROR_PERMANENT, "grpc_call", "cannot call \"%s\": the request is malformed", u->method);
    } else if (end.status != GRPC_STATUS_OK) {
        call_end_error(&end, u->method, head.token, err);
        settle_cancelled(u, err);
    } else {
        ok = unpack_reply(u, reply, ret, err);
    }
    if (end.status == GRPC_STATUS_UNAUTHENTICATED && head.token)
        google_credentials_refused(u->link->creds, head.token);
    if (reply)
        grpc_byte_buffer_destroy(reply);
    grpc_call_unref(call);
    grpc_completion_queue_shutdown(cq);
    grpc_completion_queue_destroy(cq);
    call_end_release(&end);
    call_head_release(&head);
    return ok;
}

bool grpc_unary(struct grpc_link *link, const char *method, const char *routing, const ProtobufCMessage *request,
                const ProtobufCMessageDescriptor *reply_type, int64_t timeout_ms, struct cancel *cancel,
                ProtobufCMessage **ret, struct error *err)
{
    const struct unary u = {link, method, routing, request, reply_type, timeout_ms, cancel};
    struct error own = ERROR_INIT;
    struct error *why = err ? err : &own;
    if (call_once(&u, ret, why))
        return true;
    bool has_token = link->creds && !google_credentials_is_none(link->creds) && !link->plaintext;
    if (why->status != GRPC_STATUS_UNAUTHENTICATED || !has_token)
        return false;
    return call_once(&u, ret, why);
}
