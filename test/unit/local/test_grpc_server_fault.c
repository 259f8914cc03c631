/* The fault bench where it meets gRPC calls, seen by a client on the real wire: each kind on a unary call, on a stream
 * that answers each request, and on one that does not. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../../src/local/grpc_server.h"
#include "rpc_fixture.h"
#include "status.pb-c.h"

enum { LONG_MS = 20000, SILENT_MS = 300 };

struct bench {
    struct faults *faults;
    struct rpc_server *server;
    struct google_credentials *none;
    struct grpc_link *link;
    atomic_int effects;
};

/* ---- The service ------------------------------------------------------------------------------------------------ */

static void say(void *user, struct rpc_call *call, struct rpc_message *request)
{
    struct bench *bench = user;
    Google__Protobuf__Any any;
    char text[] = "said";
    (void)request;
    atomic_fetch_add(&bench->effects, 1);
    google__protobuf__any__init(&any);
    any.type_url = text;
    rpc_call_reply(call, &any.base);
}

static void echo(void *user, struct rpc_call *call, struct rpc_message *message)
{
    struct bench *bench = user;
    atomic_fetch_add(&bench->effects, 1);
    rpc_call_send_bytes(call, rpc_message_bytes(message));
}

static const struct rpc_stream_handlers each = {.answers_each = true, .message = echo};
static const struct rpc_stream_handlers talk = {.later = "ping", .message = echo};
static const struct rpc_method methods[] = {
    {.path = "/t.T/Say", .unary = say, .effect = true},
    {.path = "/t.T/Each", .stream = &each, .effect = true},
    {.path = "/t.T/Talk", .stream = &talk},
};

static int set_up(void **state)
{
    struct bench *bench = xcalloc(1, sizeof *bench);
    struct error err = ERROR_INIT;
    uint16_t port;
    bench->faults = faults_new();
    const struct rpc_server_options options = {.threads = 4, .faults = bench->faults, .fault_service = "t"};
    bench->server = rpc_server_new(&options);
    rpc_server_add(bench->server, methods, sizeof methods / sizeof methods[0], bench);
    if (!rpc_server_listen(bench->server, NULL, 0, &port, &err))
        fail_msg("%s", err.message);
    rpc_server_start(bench->server);
    bench->link = link_to(port, &bench->none);
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    grpc_link_free(bench->link);
    faults_stop(bench->faults);
    rpc_server_free(bench->server);
    faults_free(bench->faults);
    google_credentials_free(bench->none);
    free(bench);
    grpc_global_release();
    return 0;
}

/* ---- Helpers ---------------------------------------------------------------------------------------------------- */

static bool call_say(struct bench *bench, int64_t timeout_ms, struct error *err)
{
    Google__Protobuf__Any request;
    ProtobufCMessage *reply = NULL;
    google__protobuf__any__init(&request);
    if (!grpc_unary(bench->link, "/t.T/Say", "topic=t", &request.base, &google__protobuf__any__descriptor, timeout_ms,
                    NULL, &reply, err))
        return false;
    protobuf_c_message_free_unpacked(reply, NULL);
    return true;
}

struct talk {
    struct grpc_stream *stream;
    struct buf got, details;
    struct error err;
};

static struct talk open_talk(struct bench *bench, const char *method)
{
    struct talk t = {.got = BUF_INIT, .details = BUF_INIT, .err = ERROR_INIT};
    t.stream = grpc_stream_open(bench->link, method, "subscription=s", &t.err);
    assert_non_null(t.stream);
    return t;
}

static void close_talk(struct talk *t)
{
    grpc_stream_free(t->stream);
    buf_release(&t->got);
    buf_release(&t->details);
}

static void tell(struct talk *t, const char *text)
{
    if (!grpc_stream_send(t->stream, slice_str(text), SLICE_NULL, &t->err))
        fail_msg("%s", t->err.message);
}

static void hears(struct talk *t, const char *text)
{
    enum grpc_recv result = grpc_stream_recv(t->stream, LONG_MS, &t->got, &t->details, &t->err);
    if (result != GRPC_RECV_MESSAGE)
        fail_msg("expected \"%s\", got %d: %s", text, result, t->err.message);
    if (!slice_eq_str(buf_slice(&t->got), text))
        fail_msg("expected \"%s\", got %zu bytes", text, t->got.len);
}

static void ends(struct talk *t, int status)
{
    assert_int_equal(grpc_stream_recv(t->stream, LONG_MS, &t->got, &t->details, &t->err), GRPC_RECV_END);
    assert_int_equal(t->err.status, status);
}

static void hears_nothing(struct talk *t)
{
    assert_int_equal(grpc_stream_recv(t->stream, SILENT_MS, &t->got, &t->details, &t->err), GRPC_RECV_TIMEOUT);
}

/* ---- Unary ------------------------------------------------------------------------------------------------------ */

static void every_kind_on_a_unary_call(void **state)
{
    static const struct {
        const char *rule;
        bool ok;
        int status; /* 0: whatever the client makes of bytes it cannot read */
        int effects;
    } cases[] = {
        {"{\"kind\":\"status\",\"code\":\"RESOURCE_EXHAUSTED\"}", false, RPC_RESOURCE_EXHAUSTED, 0},
        {"{\"kind\":\"status\",\"status\":500,\"after\":true}", false, RPC_INTERNAL, 1},
        {"{\"kind\":\"delay\",\"delayMs\":20}", true, 0, 1},
        {"{\"kind\":\"delay\",\"delayMs\":20,\"after\":true}", true, 0, 1},
        {"{\"kind\":\"ignore\"}", true, 0, 0},
        {"{\"kind\":\"cut_before\"}", false, RPC_UNAVAILABLE, 0},
        {"{\"kind\":\"cut_after\"}", false, RPC_UNAVAILABLE, 1},
        {"{\"kind\":\"silence\"}", false, RPC_DEADLINE_EXCEEDED, 0},
        {"{\"kind\":\"silence\",\"after\":true}", false, RPC_DEADLINE_EXCEEDED, 1},
        {"{\"kind\":\"duplicate\"}", true, 0, 2},
        {"{\"kind\":\"garbage\"}", false, 0, 1},
        {"{\"kind\":\"truncate\",\"bytes\":3}", false, 0, 1},
    };
    struct bench *bench = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        bool silent = strstr(cases[i].rule, "silence") != NULL;
        atomic_store(&bench->effects, 0);
        arm(bench->faults, cases[i].rule);
        bool ok = call_say(bench, silent ? SILENT_MS : LONG_MS, &err);
        if (ok != cases[i].ok || (cases[i].status && err.status != cases[i].status))
            fail_msg("%s: %d, status %d: %s", cases[i].rule, ok, err.status, err.message);
        err = ERROR_INIT;
        if (!call_say(bench, LONG_MS, &err)) /* used up; and all that the first one did is done */
            fail_msg("after %s: %s", cases[i].rule, err.message);
        if (atomic_load(&bench->effects) != cases[i].effects + 1)
            fail_msg("%s: %d effects", cases[i].rule, atomic_load(&bench->effects) - 1);
    }
}

static void *say_in_a_thread(void *user)
{
    struct error err = ERROR_INIT;
    return call_say(user, LONG_MS, &err) ? user : NULL;
}

static void a_unary_call_is_held_behind_its_effect(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    for (int cut = 0; cut < 2; cut++) {
        pthread_t thread;
        void *ok;
        struct buf out = BUF_INIT;
        struct json_object *hold = json_parse(SLICE_LIT("{\"method\":\"t.Say\",\"where\":\"after\"}"), "hold", &err);
        atomic_store(&bench->effects, 0);
        assert_true(faults_hold(bench->faults, hold, &err));
        assert_int_equal(pthread_create(&thread, NULL, say_in_a_thread, bench), 0);
        faults_hold_json(bench->faults, LONG_MS, &out);
        assert_non_null(strstr(buf_cstr(&out), "\"arrived\":true"));
        assert_int_equal(atomic_load(&bench->effects), 1);
        assert_true(call_say(bench, LONG_MS, &err)); /* the others go on */
        faults_release(bench->faults, cut);
        pthread_join(thread, &ok);
        assert_int_equal(ok != NULL, !cut);
        json_object_put(hold);
        buf_release(&out);
    }
}

/* ---- Streams ---------------------------------------------------------------------------------------------------- */

/* The second of three requests is struck. */
static void requests_of_a_stream_that_answers_each(void **state)
{
    static const struct {
        const char *rule;
        const char *hears; /* after the first answer; NULL: the stream ends */
        int status, effects;
        bool silent;
    } cases[] = {
        {"\"kind\":\"status\",\"code\":\"ABORTED\"", NULL, RPC_ABORTED, 1, false},
        {"\"kind\":\"cut_before\"", NULL, RPC_UNAVAILABLE, 1, false},
        {"\"kind\":\"cut_after\"", NULL, RPC_UNAVAILABLE, 2, false},
        {"\"kind\":\"silence\"", NULL, 0, 1, true},
        {"\"kind\":\"silence\",\"after\":true", NULL, 0, 2, true},
        {"\"kind\":\"duplicate\"", "two", 0, 3, false},
        {"\"kind\":\"garbage\"", "\x0f\x7f\x0f", 0, 2, false},
        {"\"kind\":\"truncate\",\"bytes\":2", "tw", 0, 2, false},
    };
    struct bench *bench = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char rule[200];
        struct talk t = open_talk(bench, "/t.T/Each");
        snprintf(rule, sizeof rule, "{\"method\":\"t.Each\",\"skip\":1,%s}", cases[i].rule);
        atomic_store(&bench->effects, 0);
        arm(bench->faults, rule);
        tell(&t, "one");
        hears(&t, "one");
        tell(&t, "two");
        if (cases[i].silent)
            hears_nothing(&t);
        else if (cases[i].hears)
            hears(&t, cases[i].hears);
        else
            ends(&t, cases[i].status);
        if (cases[i].hears) {
            tell(&t, "six");
            hears(&t, "six");
        }
        int effects = atomic_load(&bench->effects) - (cases[i].hears != NULL);
        if (effects != cases[i].effects)
            fail_msg("%s: %d effects", rule, effects);
        close_talk(&t);
    }
}

static void responses_of_a_stream(void **state)
{
    static const struct {
        const char *rule;
        const char *hears[2]; /* NULL: the stream ends, or is silent */
        int status;
    } cases[] = {
        {"\"kind\":\"status\",\"code\":\"UNAVAILABLE\"", {NULL, NULL}, RPC_UNAVAILABLE},
        {"\"kind\":\"cut_before\"", {NULL, NULL}, RPC_UNAVAILABLE},
        {"\"kind\":\"silence\"", {NULL, NULL}, 0},
        {"\"kind\":\"duplicate\"", {"two", "two"}, 0},
        {"\"kind\":\"truncate\",\"bytes\":1", {"t", NULL}, 0},
    };
    struct bench *bench = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char rule[200];
        struct talk t = open_talk(bench, "/t.T/Talk");
        snprintf(rule, sizeof rule, "{\"method\":\"t.Talk\",\"on\":\"response\",\"skip\":1,%s}", cases[i].rule);
        arm(bench->faults, rule);
        tell(&t, "one");
        hears(&t, "one");
        tell(&t, "two");
        for (size_t k = 0; k < 2 && cases[i].hears[k]; k++)
            hears(&t, cases[i].hears[k]);
        if (cases[i].status)
            ends(&t, cases[i].status);
        else if (!cases[i].hears[0])
            hears_nothing(&t);
        close_talk(&t);
    }
}

static void later_requests_have_a_name_of_their_own(void **state)
{
    struct bench *bench = *state;
    struct talk t = open_talk(bench, "/t.T/Talk");
    arm(bench->faults, "{\"method\":\"t.Talk.ping\",\"kind\":\"status\",\"code\":13}");
    tell(&t, "first");
    hears(&t, "first");
    tell(&t, "second");
    ends(&t, RPC_INTERNAL);
    close_talk(&t);
}

static void open_streams_are_closed_or_silenced_at_once(void **state)
{
    struct bench *bench = *state;
    struct talk each_talk = open_talk(bench, "/t.T/Each"), other = open_talk(bench, "/t.T/Talk");
    tell(&each_talk, "a");
    hears(&each_talk, "a");
    tell(&other, "b");
    hears(&other, "b");
    assert_int_equal(faults_act_on_streams(bench->faults, "t.*", "topic=", FAULT_STREAMS_CLOSE, 14), 0);
    assert_int_equal(faults_act_on_streams(bench->faults, "t.Each", "subscription=s", FAULT_STREAMS_CLOSE, 14), 1);
    ends(&each_talk, RPC_UNAVAILABLE);
    assert_int_equal(faults_act_on_streams(bench->faults, "*", NULL, FAULT_STREAMS_SILENCE, 14), 1);
    tell(&other, "c");
    hears_nothing(&other);
    close_talk(&each_talk);
    close_talk(&other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_kind_on_a_unary_call),
        TEST(a_unary_call_is_held_behind_its_effect),
        TEST(requests_of_a_stream_that_answers_each),
        TEST(responses_of_a_stream),
        TEST(later_requests_have_a_name_of_their_own),
        TEST(open_streams_are_closed_or_silenced_at_once),
    };
    return cmocka_run_group_tests_name("grpc_server_fault", tests, NULL, NULL);
}
