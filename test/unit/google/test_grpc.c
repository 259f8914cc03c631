/* Unary calls and streams against a C-core server in this process. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "grpc_test_server.h"
#include "wellknown.pb-c.h"

#define DETAILS                                                                                                        \
    "\x08\x05\x12\x03"                                                                                                 \
    "abc\0x"

/* What the server saw and when it may go on. */
struct bench {
    struct test_server *server;
    struct grpc_link *link;
    struct google_credentials *none;
    pthread_mutex_t mutex;
    struct buf routing; /* guarded by mutex */
    atomic_int calls;
    sem_t reached;
    sem_t go;
};

static void note_headers(struct bench *bench, struct test_call *call)
{
    struct buf ignored = BUF_INIT;
    pthread_mutex_lock(&bench->mutex);
    test_call_header(call, "x-goog-request-params", &bench->routing);
    pthread_mutex_unlock(&bench->mutex);
    if (test_call_header(call, "authorization", &ignored))
        BUG("a token on a plaintext link");
    buf_release(&ignored);
}

static void echo_all(struct test_call *call)
{
    struct buf message = BUF_INIT;
    while (test_call_recv(call, &message) && test_call_send(call, buf_slice(&message)))
        ;
    buf_release(&message);
}

static void handle(void *user, struct test_call *call)
{
    struct bench *bench = user;
    atomic_fetch_add(&bench->calls, 1);
    note_headers(bench, call);
    if (test_call_is(call, "/t.T/Echo")) {
        echo_all(call);
    } else if (test_call_is(call, "/t.T/Fail")) {
        test_call_finish(call, GRPC_STATUS_NOT_FOUND, "no such\nthing", slice_of(DETAILS, sizeof DETAILS - 1));
    } else if (test_call_is(call, "/t.T/ServerCancels")) {
        test_call_finish(call, GRPC_STATUS_CANCELLED, "rebalancing", SLICE_NULL);
    } else if (test_call_is(call, "/t.T/Garbage")) {
        test_call_send(call, SLICE_LIT("\xff\xff\xff"));
    } else if (test_call_is(call, "/t.T/Silent")) {
        sem_post(&bench->reached);
        test_call_await_cancel(call);
    } else if (test_call_is(call, "/t.T/NeverReads")) {
        sem_post(&bench->reached);
        sem_wait(&bench->go);
    } else if (test_call_is(call, "/t.T/Later")) {
        sem_wait(&bench->go);
        test_call_send(call, SLICE_LIT("late"));
    }
}

static int set_up(void **state)
{
    struct bench *bench = xcalloc(1, sizeof *bench);
    char target[32];
    struct error err = ERROR_INIT;
    pthread_mutex_init(&bench->mutex, NULL);
    sem_init(&bench->reached, 0, 0);
    sem_init(&bench->go, 0, 0);
    bench->server = test_server_start(handle, bench);
    bench->none = google_credentials_none();
    bench->link = grpc_link_new(test_server_target(bench->server, target), true, bench->none, &err);
    *state = bench;
    return bench->link ? 0 : -1;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    grpc_link_free(bench->link);
    sem_post(&bench->go);
    test_server_stop(bench->server);
    google_credentials_free(bench->none);
    buf_release(&bench->routing);
    free(bench);
    return 0;
}

static bool call(struct bench *bench, const char *method, int64_t timeout_ms, struct cancel *cancel, int64_t *ret,
                 struct error *err)
{
    Google__Protobuf__Int64Value request = GOOGLE__PROTOBUF__INT64_VALUE__INIT;
    ProtobufCMessage *reply = NULL;
    request.value = 1234567890123;
    if (!grpc_unary(bench->link, method, "name=projects/p", &request.base, &google__protobuf__int64_value__descriptor,
                    timeout_ms, cancel, &reply, err))
        return false;
    *ret = ((Google__Protobuf__Int64Value *)reply)->value;
    protobuf_c_message_free_unpacked(reply, NULL);
    return true;
}

static void a_unary_call_carries_request_routing_and_reply(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    int64_t value = 0;
    assert_true(call(bench, "/t.T/Echo", 5000, NULL, &value, &err));
    assert_int_equal(value, 1234567890123);
    assert_string_equal(buf_cstr(&bench->routing), "name=projects/p");
}

static void a_status_becomes_an_error(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    int64_t value;
    assert_false(call(bench, "/t.T/Fail", 5000, NULL, &value, &err));
    assert_string_equal(err.message, "cannot call \"t.T/Fail\": not_found: no such thing");
    assert_int_equal(err.class, ERROR_PERMANENT);
    assert_false(call(bench, "/t.T/ServerCancels", 5000, NULL, &value, &err));
    assert_string_equal(err.code, "cancelled");
    assert_int_equal(err.class, ERROR_RETRY);
    assert_int_equal(atomic_load(&bench->calls), 2);
}

static void a_reply_that_is_no_message_was_still_an_effect(void **state)
{
    struct error err = ERROR_INIT;
    int64_t value;
    assert_false(call(*state, "/t.T/Garbage", 5000, NULL, &value, &err));
    assert_string_equal(err.code, "grpc_reply");
    assert_int_equal(err.effect, EFFECT_DONE);
}

static void a_deadline_ends_a_silent_call(void **state)
{
    struct error err = ERROR_INIT;
    int64_t value;
    assert_false(call(*state, "/t.T/Silent", 50, NULL, &value, &err));
    assert_string_equal(err.code, "deadline_exceeded");
    assert_int_equal(err.class, ERROR_RETRY);
    assert_int_equal(err.effect, EFFECT_MAYBE);
}

struct canceller {
    sem_t *reached;
    struct cancel *cancel;
    struct grpc_stream *stream;
};

static void *cancel_when_reached(void *user)
{
    struct canceller *canceller = user;
    sem_wait(canceller->reached);
    if (canceller->cancel)
        cancel_set(canceller->cancel, "lease lost");
    if (canceller->stream)
        grpc_stream_cancel(canceller->stream);
    return NULL;
}

static void another_thread_cancels_a_unary_call(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    struct cancel *cancel = cancel_new(NULL);
    struct canceller canceller = {&bench->reached, cancel, NULL};
    pthread_t thread;
    int64_t value;
    pthread_create(&thread, NULL, cancel_when_reached, &canceller);
    assert_false(call(bench, "/t.T/Silent", 60000, cancel, &value, &err));
    pthread_join(thread, NULL);
    assert_int_equal(err.class, ERROR_CANCELLED);
    assert_int_equal(err.effect, EFFECT_MAYBE);
    assert_non_null(strstr(err.message, "lease lost"));
    int before = atomic_load(&bench->calls);
    assert_false(call(bench, "/t.T/Echo", 60000, cancel, &value, &err));
    assert_int_equal(err.class, ERROR_CANCELLED);
    assert_int_equal(err.effect, EFFECT_NONE);
    assert_int_equal(atomic_load(&bench->calls), before);
    cancel_free(cancel);
}

static void a_dead_server_is_unavailable_and_may_come_back(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    int64_t value;
    int port = bench->server->port;
    assert_true(call(bench, "/t.T/Echo", 5000, NULL, &value, &err));
    test_server_stop(bench->server);
    assert_false(call(bench, "/t.T/Echo", 5000, NULL, &value, &err));
    assert_string_equal(err.code, "unavailable");
    assert_int_equal(err.class, ERROR_RETRY);
    bench->server = test_server_start_at(port, handle, bench, NULL);
    int64_t give_up_ms = clock_mono_ms() + 10000;
    while (!call(bench, "/t.T/Echo", 5000, NULL, &value, &err) && clock_mono_ms() < give_up_ms)
        cancel_sleep_ms(NULL, 20);
    assert_true(clock_mono_ms() < give_up_ms);
}

static struct grpc_stream *open_stream(struct bench *bench, const char *method)
{
    struct error err = ERROR_INIT;
    struct grpc_stream *stream = grpc_stream_open(bench->link, method, "subscription=s", &err);
    assert_non_null(stream);
    return stream;
}

static void a_stream_echoes_head_and_body_in_order(void **state)
{
    struct bench *bench = *state;
    struct grpc_stream *stream = open_stream(bench, "/t.T/Echo");
    struct error err = ERROR_INIT;
    struct buf got = BUF_INIT, details = BUF_INIT, want = BUF_INIT;
    for (int i = 0; i < 100; i++) {
        buf_clear(&want);
        buf_printf(&want, "head %d body", i);
        struct slice all = buf_slice(&want);
        assert_true(grpc_stream_send(stream, slice_of(all.ptr, 5), slice_of(all.ptr + 5, all.len - 5), &err));
        assert_int_equal(grpc_stream_recv(stream, 5000, &got, NULL, &err), GRPC_RECV_MESSAGE);
        assert_string_equal(buf_cstr(&got), buf_cstr(&want));
    }
    assert_true(grpc_stream_half_close(stream, &err));
    assert_int_equal(grpc_stream_recv(stream, -1, &got, &details, &err), GRPC_RECV_END);
    assert_int_equal(err.class, ERROR_NONE);
    assert_int_equal(details.len, 0);
    assert_int_equal(grpc_stream_recv(stream, -1, &got, &details, &err), GRPC_RECV_END);
    assert_string_equal(buf_cstr(&bench->routing), "subscription=s");
    grpc_stream_free(stream);
    buf_release(&got);
    buf_release(&details);
    buf_release(&want);
}

static void messages_of_nine_megabytes_pass(void **state)
{
    struct grpc_stream *stream = open_stream(*state, "/t.T/Echo");
    struct error err = ERROR_INIT;
    struct buf big = BUF_INIT, got = BUF_INIT;
    while (big.len < 9 << 20)
        buf_printf(&big, "%zu,", big.len);
    assert_true(grpc_stream_send(stream, SLICE_NULL, buf_slice(&big), &err));
    assert_int_equal(grpc_stream_recv(stream, 30000, &got, NULL, &err), GRPC_RECV_MESSAGE);
    assert_true(slice_eq(buf_slice(&got), buf_slice(&big)));
    grpc_stream_free(stream);
    buf_release(&got);
    buf_release(&big);
}

static void the_end_of_a_stream_hands_out_raw_details(void **state)
{
    struct grpc_stream *stream = open_stream(*state, "/t.T/Fail");
    struct error err = ERROR_INIT;
    struct buf got = BUF_INIT, details = BUF_INIT;
    assert_int_equal(grpc_stream_recv(stream, -1, &got, &details, &err), GRPC_RECV_END);
    assert_string_equal(err.code, "not_found");
    assert_int_equal(details.len, sizeof DETAILS - 1);
    assert_memory_equal(details.ptr, DETAILS, details.len);
    assert_false(grpc_stream_send(stream, SLICE_LIT("x"), SLICE_NULL, &err));
    assert_int_equal(err.class, ERROR_RETRY);
    grpc_stream_free(stream);
    buf_release(&got);
    buf_release(&details);
}

static void a_receive_that_timed_out_is_picked_up_again(void **state)
{
    struct bench *bench = *state;
    struct grpc_stream *stream = open_stream(bench, "/t.T/Later");
    struct error err = ERROR_INIT;
    struct buf got = BUF_INIT;
    assert_int_equal(grpc_stream_recv(stream, 30, &got, NULL, &err), GRPC_RECV_TIMEOUT);
    assert_int_equal(grpc_stream_recv(stream, 0, &got, NULL, &err), GRPC_RECV_TIMEOUT);
    sem_post(&bench->go);
    assert_int_equal(grpc_stream_recv(stream, 5000, &got, NULL, &err), GRPC_RECV_MESSAGE);
    assert_string_equal(buf_cstr(&got), "late");
    assert_int_equal(grpc_stream_recv(stream, 5000, &got, NULL, &err), GRPC_RECV_END);
    grpc_stream_free(stream);
    buf_release(&got);
}

static void another_thread_cancels_a_waiting_receive(void **state)
{
    struct bench *bench = *state;
    struct grpc_stream *stream = open_stream(bench, "/t.T/Silent");
    struct canceller canceller = {&bench->reached, NULL, stream};
    struct error err = ERROR_INIT;
    struct buf got = BUF_INIT;
    pthread_t thread;
    pthread_create(&thread, NULL, cancel_when_reached, &canceller);
    assert_int_equal(grpc_stream_recv(stream, -1, &got, NULL, &err), GRPC_RECV_END);
    pthread_join(thread, NULL);
    assert_int_equal(err.class, ERROR_CANCELLED);
    grpc_stream_free(stream);
}

static void another_thread_cancels_a_send_that_flow_control_holds(void **state)
{
    struct bench *bench = *state;
    struct grpc_stream *stream = open_stream(bench, "/t.T/NeverReads");
    struct canceller canceller = {&bench->reached, NULL, stream};
    struct error err = ERROR_INIT;
    char *mebibyte = xcalloc(1, 1 << 20);
    pthread_t thread;
    int sent = 0;
    sem_wait(&bench->reached); /* only a send that is stuck is cancelled */
    while (sent < 5 && grpc_stream_send(stream, SLICE_NULL, slice_of(mebibyte, 64 * 1024), &err))
        sent++;
    pthread_create(&thread, NULL, cancel_when_reached, &canceller);
    sem_post(&bench->reached);
    while (sent < 1000 && grpc_stream_send(stream, SLICE_NULL, slice_of(mebibyte, 1 << 20), &err))
        sent++;
    pthread_join(thread, NULL);
    assert_true(sent < 1000);
    assert_int_equal(err.class, ERROR_CANCELLED);
    sem_post(&bench->go);
    grpc_stream_free(stream);
    free(mebibyte);
}

static void freeing_an_open_stream_ends_it(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    struct buf got = BUF_INIT;
    for (int i = 0; i < 20; i++) {
        struct grpc_stream *stream = open_stream(bench, "/t.T/Silent");
        if (i % 2)
            assert_int_equal(grpc_stream_recv(stream, 1, &got, NULL, &err), GRPC_RECV_TIMEOUT);
        grpc_stream_free(stream);
    }
}

static void targets_are_checked(void **state)
{
    static const struct {
        const char *target;
        bool plaintext;
        const char *code;
    } cases[] = {
        {"127.0.0.1:1", true, NULL},
        {"localhost:8085", true, NULL},
        {"[::1]:8085", true, NULL},
        {"127.1.2.3:80", true, NULL},
        {"pubsub.googleapis.com:443", false, NULL},
        {"pubsub.googleapis.com:443", true, "grpc_plaintext"},
        {"10.0.0.1:443", true, "grpc_plaintext"},
        {"localhost.example.com:1", true, "grpc_plaintext"},
        {"127.0.0.1.example.com:1", true, "grpc_plaintext"},
        {"127.0.0.1", true, "grpc_target"},
        {"localhost:", true, "grpc_target"},
        {":443", false, "grpc_target"},
        {"", false, "grpc_target"},
        {"::1:443", true, "grpc_target"},
    };
    struct bench *bench = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        struct grpc_link *link = grpc_link_new(cases[i].target, cases[i].plaintext, bench->none, &err);
        assert_string_equal(link ? "ok" : err.code, cases[i].code ? cases[i].code : "ok");
        grpc_link_free(link);
    }
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_unary_call_carries_request_routing_and_reply),
        CASE(a_status_becomes_an_error),
        CASE(a_reply_that_is_no_message_was_still_an_effect),
        CASE(a_deadline_ends_a_silent_call),
        CASE(another_thread_cancels_a_unary_call),
        CASE(a_dead_server_is_unavailable_and_may_come_back),
        CASE(a_stream_echoes_head_and_body_in_order),
        CASE(messages_of_nine_megabytes_pass),
        CASE(the_end_of_a_stream_hands_out_raw_details),
        CASE(a_receive_that_timed_out_is_picked_up_again),
        CASE(another_thread_cancels_a_waiting_receive),
        CASE(another_thread_cancels_a_send_that_flow_control_holds),
        CASE(freeing_an_open_stream_ends_it),
        CASE(targets_are_checked),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    grpc_global_release();
    return failed;
}
