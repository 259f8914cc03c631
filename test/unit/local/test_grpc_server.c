/* The gRPC server of the local stack, seen by a client on the real wire. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <grpc/grpc.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../../src/local/grpc_server.h"
#include "base/clock.h"
#include "rpc_fixture.h"
#include "status.pb-c.h"

enum { LONG_MS = 20000 };

struct bench {
    struct rpc_server *server;
    uint16_t port;
    struct google_credentials *none;
    struct grpc_link *link;
    sem_t reached, go, closed;
    atomic_int handled;
    atomic_int opened;
    struct rpc_call *held;
};

/* ---- The service: what each method does ---- */

static void any_reply(struct rpc_call *call, const char *text)
{
    Google__Protobuf__Any any;
    google__protobuf__any__init(&any);
    char *copy = xstrdup(text);
    any.type_url = copy;
    rpc_call_reply(call, &any.base);
    free(copy);
}

static void say_unary(void *user, struct rpc_call *call, struct rpc_message *request)
{
    struct bench *bench = user;
    struct slice routing = rpc_call_metadata(call, "x-goog-request-params");
    atomic_fetch_add(&bench->handled, 1);
    char *text = xasprintf("%zu bytes for %.*s", rpc_message_bytes(request).len, SLICE_ARG(routing));
    any_reply(call, text);
    free(text);
}

static void fail_unary(void *user, struct rpc_call *call, struct rpc_message *request)
{
    (void)user, (void)request;
    const struct rpc_detail details[] = {{"type.googleapis.com/a", SLICE_LIT("x\0y")},
                                         {"type.googleapis.com/b", SLICE_NULL}};
    rpc_call_finish_details(call, RPC_FAILED_PRECONDITION, "not like\nthis", details, 2);
    rpc_call_finish(call, RPC_OK, "the second end is ignored");
}

static void slow_unary(void *user, struct rpc_call *call, struct rpc_message *request)
{
    struct bench *bench = user;
    (void)request;
    sem_post(&bench->reached);
    sem_wait(&bench->go);
    any_reply(call, "slow");
}

static void later_unary(void *user, struct rpc_call *call, struct rpc_message *request)
{
    struct bench *bench = user;
    (void)request;
    bench->held = rpc_call_ref(call);
    sem_post(&bench->reached);
}

static void note_closed(void *user, struct rpc_call *call)
{
    struct bench *bench = user;
    (void)call;
    sem_post(&bench->closed);
}

static void stream_opened(void *user, struct rpc_call *call)
{
    struct bench *bench = user;
    rpc_call_set_user(call, bench);
    atomic_fetch_add(&bench->opened, 1);
    sem_post(&bench->reached);
}

static void echo_message(void *user, struct rpc_call *call, struct rpc_message *message)
{
    (void)user;
    BUG_ON(rpc_call_user(call) != user);
    if (!rpc_call_send_bytes(call, rpc_message_bytes(message)))
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "the send queue is full");
}

/* Handles one message, then reads no more until somebody resumes. */
static void paused_message(void *user, struct rpc_call *call, struct rpc_message *message)
{
    struct bench *bench = user;
    (void)message;
    rpc_call_pause(call);
    if (!bench->held)
        bench->held = rpc_call_ref(call);
    atomic_fetch_add(&bench->handled, 1);
    sem_post(&bench->reached);
}

/* Sends as much as the queue takes. */
static void flood_message(void *user, struct rpc_call *call, struct rpc_message *message)
{
    struct bench *bench = user;
    while (rpc_call_send_bytes(call, rpc_message_bytes(message)))
        atomic_fetch_add(&bench->handled, 1);
    sem_post(&bench->reached);
}

static const struct rpc_stream_handlers echo_stream = {
    .opened = stream_opened, .message = echo_message, .closed = note_closed};
static const struct rpc_stream_handlers paused_stream = {.message = paused_message, .closed = note_closed};
static const struct rpc_stream_handlers flood_stream = {.message = flood_message, .closed = note_closed};
static const struct rpc_method methods[] = {
    {.path = "/t.T/Say", .unary = say_unary},
    {.path = "/t.T/Fail", .unary = fail_unary},
    {.path = "/t.T/Slow", .unary = slow_unary},
    {.path = "/t.T/Later", .unary = later_unary, .closed = note_closed},
    {.path = "/t.T/Echo", .stream = &echo_stream},
    {.path = "/t.T/Paused", .stream = &paused_stream},
    {.path = "/t.T/Flood", .stream = &flood_stream},
};

/* ---- Set-up ---- */

static int set_up(void **state)
{
    struct bench *bench = xcalloc(1, sizeof *bench);
    struct error err = ERROR_INIT;
    const struct rpc_server_options options = {.threads = 2, .max_receive_bytes = 3 << 20};
    sem_init(&bench->reached, 0, 0);
    sem_init(&bench->go, 0, 0);
    sem_init(&bench->closed, 0, 0);
    bench->server = rpc_server_new(&options);
    rpc_server_add(bench->server, methods, sizeof methods / sizeof methods[0], bench);
    if (!rpc_server_listen(bench->server, NULL, 0, &bench->port, &err))
        fail_msg("%s", err.message);
    rpc_server_start(bench->server);
    bench->link = link_to(bench->port, &bench->none);
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    grpc_link_free(bench->link);
    rpc_server_free(bench->server);
    google_credentials_free(bench->none);
    rpc_call_unref(bench->held);
    free(bench);
    grpc_global_release();
    return 0;
}

static bool call_say(struct bench *bench, const char *method, struct slice value, char **ret, struct error *err)
{
    Google__Protobuf__Any request;
    ProtobufCMessage *reply = NULL;
    google__protobuf__any__init(&request);
    request.value.len = value.len;
    memcpy(&request.value.data, &value.ptr, sizeof value.ptr);
    if (!grpc_unary(bench->link, method, "topic=t", &request.base, &google__protobuf__any__descriptor, LONG_MS, NULL,
                    &reply, err))
        return false;
    Google__Protobuf__Any *any = (Google__Protobuf__Any *)(void *)reply;
    *ret = xstrdup(any->type_url);
    protobuf_c_message_free_unpacked(reply, NULL);
    return true;
}

static struct grpc_stream *open_stream(struct bench *bench, const char *method)
{
    struct error err = ERROR_INIT;
    struct grpc_stream *stream = grpc_stream_open(bench->link, method, "x=y", &err);
    if (!stream)
        fail_msg("%s", err.message);
    return stream;
}

static void send_ok(struct grpc_stream *stream, struct slice bytes)
{
    struct error err = ERROR_INIT;
    if (!grpc_stream_send(stream, bytes, SLICE_NULL, &err))
        fail_msg("%s", err.message);
}

/* ---- Tests ---- */

static void test_unary(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    char *text = NULL;
    assert_true(call_say(bench, "/t.T/Say", SLICE_LIT("abc"), &text, &err));
    assert_string_equal(text, "5 bytes for topic=t");
    free(text);
}

static void test_unknown_method(void **state)
{
    struct error err = ERROR_INIT;
    char *text = NULL;
    assert_false(call_say(*state, "/t.T/Missing", SLICE_NULL, &text, &err));
    assert_int_equal(err.status, RPC_UNIMPLEMENTED);
    assert_non_null(strstr(err.message, "/t.T/Missing"));
}

static void test_details(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    struct buf reply = BUF_INIT, details = BUF_INIT;
    struct grpc_stream *stream = open_stream(bench, "/t.T/Fail");
    send_ok(stream, SLICE_NULL);
    assert_int_equal(grpc_stream_recv(stream, LONG_MS, &reply, &details, &err), GRPC_RECV_END);
    assert_int_equal(err.status, RPC_FAILED_PRECONDITION);
    Google__Rpc__Status *rich = google__rpc__status__unpack(NULL, details.len, (const uint8_t *)details.ptr);
    assert_non_null(rich);
    assert_int_equal(rich->code, RPC_FAILED_PRECONDITION);
    assert_string_equal(rich->message, "not like\nthis");
    assert_int_equal(rich->n_details, 2);
    assert_string_equal(rich->details[0]->type_url, "type.googleapis.com/a");
    assert_int_equal(rich->details[0]->value.len, 3);
    assert_memory_equal(rich->details[0]->value.data, "x\0y", 3);
    google__rpc__status__free_unpacked(rich, NULL);
    grpc_stream_free(stream);
    buf_release(&reply);
    buf_release(&details);
}

static void test_request_too_large(void **state)
{
    struct error err = ERROR_INIT;
    char *text = NULL;
    size_t size = 4 << 20;
    char *big = xcalloc(1, size);
    assert_false(call_say(*state, "/t.T/Say", slice_of(big, size), &text, &err));
    assert_int_equal(err.status, RPC_RESOURCE_EXHAUSTED);
    assert_int_equal(((struct bench *)*state)->handled, 0);
    assert_true(call_say(*state, "/t.T/Say", slice_of(big, 2 << 20), &text, &err));
    free(text);
    free(big);
}

static void test_echo_in_order(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    struct buf reply = BUF_INIT;
    struct grpc_stream *stream = open_stream(bench, "/t.T/Echo");
    for (int i = 0; i < 200; i++) {
        char text[16];
        snprintf(text, sizeof text, "message %d", i);
        send_ok(stream, slice_str(text));
    }
    assert_true(grpc_stream_half_close(stream, &err));
    for (int i = 0; i < 200; i++) {
        char text[16];
        snprintf(text, sizeof text, "message %d", i);
        assert_int_equal(grpc_stream_recv(stream, LONG_MS, &reply, NULL, &err), GRPC_RECV_MESSAGE);
        assert_string_equal(buf_cstr(&reply), text);
    }
    assert_int_equal(grpc_stream_recv(stream, LONG_MS, &reply, NULL, &err), GRPC_RECV_END);
    assert_int_equal(err.class, ERROR_NONE);
    grpc_stream_free(stream);
    sem_wait(&bench->closed);
    buf_release(&reply);
}

struct slow_caller {
    struct bench *bench;
    pthread_t thread;
    char *text;
};

static void *call_slow(void *arg)
{
    struct slow_caller *caller = arg;
    struct error err = ERROR_INIT;
    if (!call_say(caller->bench, "/t.T/Slow", SLICE_NULL, &caller->text, &err))
        caller->text = xstrdup(err.message);
    return NULL;
}

static void test_slow_handler_blocks_nobody(void **state)
{
    struct bench *bench = *state;
    struct slow_caller slow = {.bench = bench};
    struct error err = ERROR_INIT;
    char *text = NULL;
    pthread_create(&slow.thread, NULL, call_slow, &slow);
    sem_wait(&bench->reached);
    for (int i = 0; i < 50; i++) {
        assert_true(call_say(bench, "/t.T/Say", SLICE_NULL, &text, &err));
        free(text);
    }
    sem_post(&bench->go);
    pthread_join(slow.thread, NULL);
    assert_string_equal(slow.text, "slow");
    free(slow.text);
}

static void test_cancel_is_seen(void **state)
{
    struct bench *bench = *state;
    struct grpc_stream *stream = open_stream(bench, "/t.T/Echo");
    sem_wait(&bench->reached);
    grpc_stream_cancel(stream);
    sem_wait(&bench->closed);
    grpc_stream_free(stream);
}

static void test_deadline_of_a_held_call(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    Google__Protobuf__Empty request;
    ProtobufCMessage *reply = NULL;
    google__protobuf__empty__init(&request);
    assert_false(grpc_unary(bench->link, "/t.T/Later", "", &request.base, &google__protobuf__any__descriptor, 200, NULL,
                            &reply, &err));
    assert_int_equal(err.status, RPC_DEADLINE_EXCEEDED);
    sem_wait(&bench->closed);
    assert_true(rpc_call_is_over(bench->held));
    any_reply(bench->held, "too late, and harmless");
}

static void test_pause_bounds_reading(void **state)
{
    struct bench *bench = *state;
    struct grpc_stream *stream = open_stream(bench, "/t.T/Paused");
    for (int i = 0; i < 6; i++)
        send_ok(stream, SLICE_LIT("m"));
    sem_wait(&bench->reached);
    struct error err = ERROR_INIT;
    char *text = NULL;
    /* Calls behind it on the same connection have been handled, so the six have arrived too. */
    assert_true(call_say(bench, "/t.T/Say", SLICE_NULL, &text, &err));
    free(text);
    int before = atomic_load(&bench->handled) - 1;
    assert_in_range(before, 1, 1 + RPC_READ_AHEAD);
    for (int i = 0; i < 6; i++)
        rpc_call_resume(bench->held);
    while (atomic_load(&bench->handled) - 1 < 6) {
        sem_wait(&bench->reached);
        rpc_call_resume(bench->held);
    }
    grpc_stream_free(stream);
    sem_wait(&bench->closed);
}

static void test_send_queue_is_bounded(void **state)
{
    struct bench *bench = *state;
    struct grpc_stream *stream = open_stream(bench, "/t.T/Flood");
    size_t size = 1 << 20;
    char *big = xcalloc(1, size);
    send_ok(stream, slice_of(big, size));
    sem_wait(&bench->reached);
    int taken = atomic_load(&bench->handled);
    int limit = RPC_SEND_QUEUE_BYTES / (1 << 20);
    assert_in_range(taken, limit, 3 * limit); /* what flow control has taken comes on top */
    grpc_stream_free(stream);
    sem_wait(&bench->closed);
    free(big);
}

static void test_port_in_use(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    struct rpc_server *second = rpc_server_new(NULL);
    assert_false(rpc_server_listen(second, NULL, bench->port, NULL, &err));
    assert_non_null(strstr(err.message, "in use"));
    rpc_server_free(second);
}

static void test_stop_cancels_open_calls(void **state)
{
    struct bench *bench = *state;
    struct grpc_stream *stream = open_stream(bench, "/t.T/Echo");
    struct error err = ERROR_INIT;
    struct buf reply = BUF_INIT;
    sem_wait(&bench->reached);
    rpc_server_stop(bench->server);
    assert_int_equal(sem_trywait(&bench->closed), 0);
    assert_int_equal(grpc_stream_recv(stream, LONG_MS, &reply, NULL, &err), GRPC_RECV_END);
    assert_int_not_equal(err.class, ERROR_NONE);
    grpc_stream_free(stream);
    buf_release(&reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_unary, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unknown_method, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_details, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_request_too_large, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_echo_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_slow_handler_blocks_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cancel_is_seen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_deadline_of_a_held_call, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pause_bounds_reading, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_send_queue_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_port_in_use, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stop_cancels_open_calls, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
