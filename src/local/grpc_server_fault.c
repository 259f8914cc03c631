/* grpc_server_fault.c - see grpc_server_fault.h. */
#include "grpc_server_fault.h"

#include <stdio.h>
#include <stdlib.h>

#include "wellknown.pb-c.h"

static const char CUT_TEXT[] = "Socket closed";
static const char GARBAGE[] = {0x0f, 0x7f, 0x0f}; /* a wire type that does not exist */

struct rpc_pending { /* a request of a stream whose response is still to come */
    struct rpc_pending *next;
    struct fault_ticket ticket;
    bool swallow; /* its twin answers */
};

void rpc_fault_name(struct rpc_call *call)
{
    const char *slash = strrchr(call->path, '/');
    const char *service = call->server->fault_service;
    snprintf(call->fault.name, sizeof call->fault.name, "%s.%s", service, slash ? slash + 1 : call->path);
}

static struct fault_event event_of(const struct rpc_call *call, const char *name, bool effect)
{
    return (struct fault_event){
        .method = name, .target = rpc_call_metadata(call, "x-goog-request-params"), .effect = effect};
}

/* ---- Ends ------------------------------------------------------------------------------------------------------- */

static const char *usual_text(int code)
{
    switch (code) {
    case RPC_UNAVAILABLE:
        return "The service was unable to fulfill your request. Please try again. [code=8a75]";
    case RPC_RESOURCE_EXHAUSTED:
        return "Quota exceeded for quota metric 'Requests' and limit 'Requests per minute per region'.";
    case RPC_NOT_FOUND:
        return "Requested entity was not found.";
    case RPC_PERMISSION_DENIED:
        return "User not authorized to perform this action.";
    case RPC_UNAUTHENTICATED:
        return "Request had invalid authentication credentials.";
    case RPC_DEADLINE_EXCEEDED:
        return "Deadline Exceeded";
    case RPC_ABORTED:
        return "The operation was aborted.";
    default:
        return "Internal error encountered.";
    }
}

static const char *text_of(const struct fault *fault)
{
    return fault->message[0] ? fault->message : usual_text(fault->grpc_code);
}

static void fall_silent(struct rpc_call *call)
{
    pthread_mutex_lock(&call->mutex);
    call->fault.silent = true;
    pthread_mutex_unlock(&call->mutex);
}

/* No bytes are a message of any type. In a stream the request has no answer. */
static void ignore(struct rpc_call *call)
{
    Google__Protobuf__Empty empty;
    google__protobuf__empty__init(&empty);
    if (call->method->unary)
        rpc_call_reply(call, &empty.base);
}

/* True: the fault has ended the call, or silenced it. */
static bool strike(struct rpc_call *call, const struct fault *fault)
{
    if (fault->kind == FAULT_STATUS)
        rpc_call_finish(call, (enum rpc_status)fault->grpc_code, text_of(fault));
    else if (fault->kind == FAULT_CUT)
        rpc_call_finish(call, RPC_UNAVAILABLE, CUT_TEXT);
    else if (fault->kind == FAULT_SILENCE)
        fall_silent(call);
    else if (fault->kind == FAULT_IGNORE)
        ignore(call);
    else
        return false;
    return true;
}

/* The bytes that go instead; takes `bytes` over. */
static grpc_slice spoil(grpc_slice bytes, const struct fault *fault)
{
    size_t len = GRPC_SLICE_LENGTH(bytes), cut = fault->bytes > 0 ? (size_t)fault->bytes : len / 2;
    if (fault->kind != FAULT_GARBAGE && fault->kind != FAULT_TRUNCATE)
        return bytes;
    grpc_slice bad =
        fault->kind == FAULT_GARBAGE
            ? grpc_slice_from_copied_buffer(GARBAGE, sizeof GARBAGE)
            : grpc_slice_from_copied_buffer((const char *)GRPC_SLICE_START_PTR(bytes), cut < len ? cut : len);
    grpc_slice_unref(bytes);
    return bad;
}

/* ---- Requests --------------------------------------------------------------------------------------------------- */

static void run_handler(struct rpc_call *call, struct rpc_message *message)
{
    if (call->method->stream)
        call->method->stream->message(call->service, call, message);
    else
        call->method->unary(call->service, call, message);
}

static void deliver_unary(struct rpc_call *call, struct rpc_message *message, const struct fault_ticket *ticket)
{
    const struct rpc_method *method = call->method;
    if (fault_waits_for_effect(ticket)) {
        pthread_mutex_lock(&call->mutex);
        call->fault.ticket = *ticket;
        call->fault.waits = true;
        pthread_mutex_unlock(&call->mutex);
    }
    run_handler(call, message);
    if (ticket->fault.kind == FAULT_DUPLICATE && method->effect && !method->closed)
        run_handler(call, message); /* the first answer has won */
}

static void expect_response(struct rpc_call *call, const struct fault_ticket *ticket, bool swallow)
{
    struct rpc_pending *pending = xcalloc(1, sizeof *pending);
    pending->ticket = *ticket;
    pending->swallow = swallow;
    pthread_mutex_lock(&call->mutex);
    *call->fault.pending_end = pending;
    call->fault.pending_end = &pending->next;
    pthread_mutex_unlock(&call->mutex);
}

/* True: the request is refused in band. */
static bool refuse(struct rpc_call *call, struct rpc_message *message, const struct fault *fault)
{
    const struct rpc_stream_handlers *stream = call->method->stream;
    const struct fault_ticket none = {.number = 0};
    if (!stream || !stream->refuse || !fault->in_band || fault->after)
        return false;
    expect_response(call, &none, false);
    stream->refuse(call->service, call, message, (enum rpc_status)fault->grpc_code, text_of(fault));
    return true;
}

static void deliver_message(struct rpc_call *call, struct rpc_message *message, struct fault_ticket *ticket)
{
    const struct rpc_stream_handlers *stream = call->method->stream;
    if (stream->answers_each)
        expect_response(call, ticket, false);
    run_handler(call, message);
    if (!stream->answers_each && fault_waits_for_effect(ticket)) {
        faults_effect(call->server->faults, ticket);
        if (ticket->fault.after)
            strike(call, &ticket->fault);
    }
    if (ticket->fault.kind == FAULT_DUPLICATE && stream->answers_each) {
        const struct fault_ticket none = {.number = 0};
        expect_response(call, &none, true);
        run_handler(call, message);
    }
}

void rpc_fault_deliver(struct rpc_call *call, struct rpc_message *message)
{
    const struct rpc_method *method = call->method;
    if (!call->server->faults) {
        run_handler(call, message);
        return;
    }
    char later[FAULTS_METHOD_SIZE * 2];
    const char *name = call->fault.name;
    struct fault_ticket ticket;
    if (method->stream && method->stream->later && call->fault.opened) {
        snprintf(later, sizeof later, "%s.%s", name, method->stream->later);
        name = later;
    }
    call->fault.opened = true;
    if (call->fault.silent)
        return;
    const struct fault_event event = event_of(call, name, method->effect);
    faults_request(call->server->faults, &event, &ticket);
    if (refuse(call, message, &ticket.fault) || (!ticket.fault.after && strike(call, &ticket.fault)))
        return;
    if (method->unary)
        deliver_unary(call, message, &ticket);
    else
        deliver_message(call, message, &ticket);
}

/* ---- Answers ---------------------------------------------------------------------------------------------------- */

void rpc_fault_ending(struct rpc_call *call)
{
    struct rpc_held *held = call->fault.held;
    faults_effect(call->server->faults, &call->fault.ticket);
    const struct fault *fault = &call->fault.ticket.fault;
    pthread_mutex_lock(&call->mutex);
    call->fault.held = NULL;
    call->fault.waits = false;
    pthread_mutex_unlock(&call->mutex);
    if (fault->after && strike(call, fault)) {
        rpc_held_drop(held);
        return;
    }
    if (held->has_reply)
        held->reply = spoil(held->reply, fault);
    rpc_held_send(call, held);
}

static struct rpc_pending *take_pending(struct rpc_call *call)
{
    pthread_mutex_lock(&call->mutex);
    struct rpc_pending *pending = call->fault.pending;
    if (pending)
        call->fault.pending = pending->next;
    if (!call->fault.pending)
        call->fault.pending_end = &call->fault.pending;
    pthread_mutex_unlock(&call->mutex);
    return pending;
}

/* The response to a request whose ticket waits for it. False: it goes no further. */
static bool settle_pending(struct rpc_call *call, grpc_slice *bytes)
{
    struct rpc_pending *pending = call->method->stream->answers_each ? take_pending(call) : NULL;
    bool goes = true;
    if (pending && fault_waits_for_effect(&pending->ticket)) {
        faults_effect(call->server->faults, &pending->ticket);
        const struct fault *fault = &pending->ticket.fault;
        if (fault->after && strike(call, fault))
            goes = false;
        else if (fault->after)
            *bytes = spoil(*bytes, fault);
    }
    if (pending && pending->swallow)
        goes = false;
    free(pending);
    return goes;
}

bool rpc_fault_response(struct rpc_call *call, grpc_slice *bytes, bool *ret_twice)
{
    struct fault fault;
    const struct fault_event event = event_of(call, call->fault.name, false);
    *ret_twice = false;
    if (!call->server->faults || call->fault.silent)
        return true; /* the silent are dealt with where bytes are queued */
    bool goes = settle_pending(call, bytes);
    if (goes && faults_take(call->server->faults, FAULT_ON_RESPONSE, &event, &fault)) {
        goes = !strike(call, &fault);
        *ret_twice = fault.kind == FAULT_DUPLICATE;
        if (goes)
            *bytes = spoil(*bytes, &fault);
    }
    if (!goes)
        grpc_slice_unref(*bytes);
    return goes;
}

void rpc_fault_forget(struct rpc_call *call)
{
    for (struct rpc_pending *next; call->fault.pending; call->fault.pending = next) {
        next = call->fault.pending->next;
        free(call->fault.pending);
    }
    if (call->fault.held)
        rpc_held_drop(call->fault.held);
}

/* ---- All streams ------------------------------------------------------------------------------------------------ */

static bool matches(struct rpc_call *call, const char *pattern, const char *path)
{
    struct slice target = rpc_call_metadata(call, "x-goog-request-params");
    pthread_mutex_lock(&call->mutex);
    bool open = call->method && call->method->stream && !call->over && !call->finishing;
    pthread_mutex_unlock(&call->mutex);
    bool there = !path || (target.len > 0 && memmem(target.ptr, target.len, path, strlen(path)));
    return open && there && fault_pattern_matches(pattern, call->fault.name);
}

int rpc_fault_streams(void *user, const char *pattern, const char *path, enum fault_stream_act act, int grpc_code)
{
    struct rpc_server *server = user;
    struct fault fault = {.kind = act == FAULT_STREAMS_SILENCE ? FAULT_SILENCE : FAULT_STATUS, .grpc_code = grpc_code};
    struct rpc_call **list = NULL;
    size_t count = 0;
    pthread_mutex_lock(&server->mutex);
    for (struct rpc_call *call = server->calls; call; call = call->server_next) {
        if (!matches(call, pattern, path))
            continue;
        list = xrealloc(list, (count + 1) * sizeof(struct rpc_call *));
        list[count++] = rpc_call_ref(call);
    }
    pthread_mutex_unlock(&server->mutex);
    for (size_t i = 0; i < count; i++) {
        strike(list[i], &fault);
        rpc_call_unref(list[i]);
    }
    free(list);
    return (int)count;
}
