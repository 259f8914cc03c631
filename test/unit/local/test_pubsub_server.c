/* The local Pub/Sub server on the wire, with a clock that runs SCALE times as fast: leases, backoff, dead letters, flow
 * control, fair shares, bounds. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../../src/local/grpc_server.h"
#include "../../../src/local/pubsub_server.h"
#include "base/clock.h"
#include "rpc_fixture.h"
#include "pubsub.pb-c.h"

#define SCALE "50"
#define TOPIC "projects/p/topics/orders"
#define DEAD_TOPIC "projects/p/topics/dead"
#define SUB "projects/p/subscriptions/orders-sub"
#define DEAD_SUB "projects/p/subscriptions/dead-sub"
#define PUBLISHER "/google.pubsub.v1.Publisher/"
#define SUBSCRIBER "/google.pubsub.v1.Subscriber/"
#define INIT(type, var) google__pubsub__v1__##type##__init(&(var))

enum { CALL_MS = 20000, SMALL_SERVER_BYTES = 8 << 20 };

struct bench {
    struct faults *faults;
    struct pubsub_server *server;
    struct google_credentials *none;
    struct grpc_link *link;
};

static bool call(struct bench *bench, const char *method, const ProtobufCMessage *request,
                 const ProtobufCMessageDescriptor *reply_type, void *ret_reply, struct error *err)
{
    ProtobufCMessage *reply = NULL;
    if (!grpc_unary(bench->link, method, "", request, reply_type, CALL_MS, NULL, &reply, err))
        return false;
    if (ret_reply)
        memcpy(ret_reply, &reply, sizeof reply);
    else
        protobuf_c_message_free_unpacked(reply, NULL);
    return true;
}

static char *text(const char *literal) /* protobuf-c's fields are not const; nothing writes to them */
{
    char *out;
    memcpy(&out, &literal, sizeof out);
    return out;
}

static void make_topic(struct bench *bench, const char *name)
{
    Google__Pubsub__V1__Topic topic;
    struct error err = ERROR_INIT;
    INIT(topic, topic);
    topic.name = text(name);
    if (!call(bench, PUBLISHER "CreateTopic", &topic.base, topic.base.descriptor, NULL, &err))
        fail_msg("%s", err.message);
}

static void subscription_init(Google__Pubsub__V1__Subscription *sub, const char *name, const char *topic)
{
    INIT(subscription, *sub);
    sub->name = text(name);
    sub->topic = text(topic);
}

static bool make_subscription(struct bench *bench, const Google__Pubsub__V1__Subscription *sub, struct error *err)
{
    return call(bench, SUBSCRIBER "CreateSubscription", &sub->base, sub->base.descriptor, NULL, err);
}

static void make_plain(struct bench *bench)
{
    Google__Pubsub__V1__Subscription sub;
    struct error err = ERROR_INIT;
    make_topic(bench, TOPIC);
    subscription_init(&sub, SUB, TOPIC);
    if (!make_subscription(bench, &sub, &err))
        fail_msg("%s", err.message);
}

static bool publish_bytes(struct bench *bench, size_t count, size_t bytes, struct error *err)
{
    Google__Pubsub__V1__PublishRequest request;
    Google__Pubsub__V1__PubsubMessage *rows = xcalloc(count, sizeof *rows);
    Google__Pubsub__V1__PubsubMessage **list = xcalloc(count, sizeof *list);
    uint8_t *data = xcalloc(1, bytes);
    INIT(publish_request, request);
    request.topic = text(TOPIC);
    request.n_messages = count;
    request.messages = list;
    for (size_t i = 0; i < count; i++) {
        INIT(pubsub_message, rows[i]);
        rows[i].data = (ProtobufCBinaryData){bytes, data};
        list[i] = &rows[i];
    }
    bool ok =
        call(bench, PUBLISHER "Publish", &request.base, &google__pubsub__v1__publish_response__descriptor, NULL, err);
    free(data);
    free(list);
    free(rows);
    return ok;
}

static void publish(struct bench *bench, size_t count, size_t bytes)
{
    struct error err = ERROR_INIT;
    if (!publish_bytes(bench, count, bytes, &err))
        fail_msg("%s", err.message);
}

static Google__Pubsub__V1__PullResponse *pull(struct bench *bench, const char *sub, int max)
{
    Google__Pubsub__V1__PullRequest request;
    Google__Pubsub__V1__PullResponse *reply = NULL;
    struct error err = ERROR_INIT;
    INIT(pull_request, request);
    request.subscription = text(sub);
    request.max_messages = max;
    if (!call(bench, SUBSCRIBER "Pull", &request.base, &google__pubsub__v1__pull_response__descriptor, &reply, &err))
        fail_msg("%s", err.message);
    return reply;
}

static void drop(void *message)
{
    protobuf_c_message_free_unpacked(message, NULL);
}

static bool modack(struct bench *bench, char *ack_id, int seconds, struct error *err)
{
    Google__Pubsub__V1__ModifyAckDeadlineRequest request;
    INIT(modify_ack_deadline_request, request);
    request.subscription = text(SUB);
    request.ack_deadline_seconds = seconds;
    request.n_ack_ids = 1;
    request.ack_ids = &ack_id;
    return call(bench, SUBSCRIBER "ModifyAckDeadline", &request.base, &google__protobuf__empty__descriptor, NULL, err);
}

static bool ack(struct bench *bench, char *ack_id, struct error *err)
{
    Google__Pubsub__V1__AcknowledgeRequest request;
    INIT(acknowledge_request, request);
    request.subscription = text(SUB);
    request.n_ack_ids = 1;
    request.ack_ids = &ack_id;
    return call(bench, SUBSCRIBER "Acknowledge", &request.base, &google__protobuf__empty__descriptor, NULL, err);
}

/* ---- Streams ---- */

static struct grpc_stream *open_stream(struct bench *bench, int64_t max_messages)
{
    Google__Pubsub__V1__StreamingPullRequest request;
    struct error err = ERROR_INIT;
    struct grpc_stream *stream = grpc_stream_open(bench->link, SUBSCRIBER "StreamingPull", "", &err);
    INIT(streaming_pull_request, request);
    request.subscription = text(SUB);
    request.stream_ack_deadline_seconds = 600;
    request.max_outstanding_messages = max_messages;
    if (!stream || !grpc_stream_send_message(stream, &request.base, &err))
        fail_msg("%s", err.message);
    return stream;
}

/* The next response, at most `wait_ms` of real time; NULL when none came. */
static Google__Pubsub__V1__StreamingPullResponse *next_response(struct grpc_stream *stream, int64_t wait_ms,
                                                                size_t *ret_bytes)
{
    struct buf bytes = BUF_INIT;
    struct error err = ERROR_INIT;
    Google__Pubsub__V1__StreamingPullResponse *response = NULL;
    if (grpc_stream_recv(stream, wait_ms, &bytes, NULL, &err) == GRPC_RECV_MESSAGE)
        response = google__pubsub__v1__streaming_pull_response__unpack(NULL, bytes.len, (const uint8_t *)bytes.ptr);
    if (ret_bytes)
        *ret_bytes = bytes.len;
    buf_release(&bytes);
    return response;
}

static void expect_empty_response(struct grpc_stream *stream)
{
    Google__Pubsub__V1__StreamingPullResponse *response = next_response(stream, CALL_MS, NULL);
    assert_non_null(response);
    assert_int_equal(response->n_received_messages, 0);
    assert_non_null(response->subscription_properties);
    drop(response);
}

/* Receives until `count` messages have come, keeping the ack ids when asked to; returns the largest response. */
static size_t receive(struct grpc_stream *stream, size_t count, char **ack_ids)
{
    size_t largest = 0;
    for (size_t got = 0; got < count;) {
        size_t bytes = 0;
        Google__Pubsub__V1__StreamingPullResponse *response = next_response(stream, CALL_MS, &bytes);
        assert_non_null(response);
        assert_non_null(response->subscription_properties);
        assert_true(got + response->n_received_messages <= count);
        for (size_t i = 0; i < response->n_received_messages; i++, got++) {
            if (ack_ids)
                ack_ids[got] = xstrdup(response->received_messages[i]->ack_id);
        }
        largest = bytes > largest ? bytes : largest;
        drop(response);
    }
    return largest;
}

/* ---- Set-up ---- */

static int set_up(void **state)
{
    struct bench *bench = xcalloc(1, sizeof *bench);
    struct error err = ERROR_INIT;
    bench->faults = faults_new();
    const struct pubsub_server_options options = {
        .max_bytes = SMALL_SERVER_BYTES, .max_messages = 5000, .faults = bench->faults};
    bench->server = pubsub_server_start(&options, &err);
    if (!bench->server)
        fail_msg("%s", err.message);
    bench->link = link_to(pubsub_server_port(bench->server), &bench->none);
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    grpc_link_free(bench->link);
    faults_stop(bench->faults);
    pubsub_server_stop(bench->server);
    faults_free(bench->faults);
    google_credentials_free(bench->none);
    free(bench);
    grpc_global_release();
    return 0;
}

/* ---- Tests ---- */

static void test_lease_expires_and_extends(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    make_plain(bench);
    publish(bench, 1, 1);
    Google__Pubsub__V1__PullResponse *first = pull(bench, SUB, 1);
    int64_t start = clock_mono_ms();
    assert_int_equal(first->n_received_messages, 1);
    assert_int_equal(first->received_messages[0]->delivery_attempt, 0);
    assert_true(modack(bench, first->received_messages[0]->ack_id, 25, &err)); /* instead of the subscription's 10 s */
    Google__Pubsub__V1__PullResponse *second = pull(bench, SUB, 1);
    int64_t waited = clock_mono_ms() - start;
    assert_int_equal(second->n_received_messages, 1);
    assert_in_range(waited, 24900, 60000);
    assert_string_equal(second->received_messages[0]->message->message_id,
                        first->received_messages[0]->message->message_id);
    assert_string_not_equal(second->received_messages[0]->ack_id, first->received_messages[0]->ack_id);
    assert_true(ack(bench, first->received_messages[0]->ack_id, &err)); /* stale: fine, and nothing happens */
    assert_true(modack(bench, second->received_messages[0]->ack_id, 0, &err));
    Google__Pubsub__V1__PullResponse *third = pull(bench, SUB, 1);
    assert_int_equal(third->n_received_messages, 1);
    assert_true(ack(bench, third->received_messages[0]->ack_id, &err));
    Google__Pubsub__V1__PullResponse *none = pull(bench, SUB, 1); /* waits, then answers empty */
    assert_int_equal(none->n_received_messages, 0);
    assert_false(ack(bench, text("nonsense"), &err));
    assert_int_equal(err.status, RPC_INVALID_ARGUMENT);
    drop(first), drop(second), drop(third), drop(none);
}

static void make_lane_with_dead_letters(struct bench *bench)
{
    Google__Pubsub__V1__Subscription sub, dead;
    Google__Pubsub__V1__DeadLetterPolicy policy;
    Google__Pubsub__V1__RetryPolicy retry;
    Google__Protobuf__Duration min, max;
    struct error err = ERROR_INIT;
    make_topic(bench, TOPIC);
    make_topic(bench, DEAD_TOPIC);
    subscription_init(&sub, SUB, TOPIC);
    subscription_init(&dead, DEAD_SUB, DEAD_TOPIC);
    INIT(dead_letter_policy, policy);
    INIT(retry_policy, retry);
    google__protobuf__duration__init(&min);
    google__protobuf__duration__init(&max);
    min.seconds = 2;
    max.seconds = 5;
    retry.minimum_backoff = &min;
    retry.maximum_backoff = &max;
    policy.dead_letter_topic = text(DEAD_TOPIC);
    policy.max_delivery_attempts = 5;
    sub.retry_policy = &retry;
    sub.dead_letter_policy = &policy;
    if (!make_subscription(bench, &sub, &err) || !make_subscription(bench, &dead, &err))
        fail_msg("%s", err.message);
}

static const char *attribute(const Google__Pubsub__V1__PubsubMessage *message, const char *key)
{
    for (size_t i = 0; i < message->n_attributes; i++) {
        if (strcmp(message->attributes[i]->key, key) == 0)
            return message->attributes[i]->value;
    }
    return "absent";
}

static void test_backoff_then_dead_letter(void **state)
{
    static const int64_t waits_ms[] = {0, 2000, 4000, 5000, 5000}; /* doubles from the minimum to the maximum */
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    make_lane_with_dead_letters(bench);
    publish(bench, 1, 3);
    int64_t failed_ms = clock_mono_ms();
    for (int attempt = 1; attempt <= 5; attempt++) {
        Google__Pubsub__V1__PullResponse *got = pull(bench, SUB, 1);
        int64_t waited = clock_mono_ms() - failed_ms;
        assert_int_equal(got->n_received_messages, 1);
        assert_int_equal(got->received_messages[0]->delivery_attempt, attempt);
        assert_in_range(waited + 1, waits_ms[attempt - 1], waits_ms[attempt - 1] + 20000);
        failed_ms = clock_mono_ms();
        assert_true(modack(bench, got->received_messages[0]->ack_id, 0, &err));
        drop(got);
    }
    Google__Pubsub__V1__PullResponse *dead = pull(bench, DEAD_SUB, 1);
    assert_int_equal(dead->n_received_messages, 1);
    const Google__Pubsub__V1__PubsubMessage *letter = dead->received_messages[0]->message;
    assert_int_equal(letter->data.len, 3);
    assert_string_equal(attribute(letter, "CloudPubSubDeadLetterSourceDeliveryCount"), "5");
    assert_string_equal(attribute(letter, "CloudPubSubDeadLetterSourceSubscription"), "orders-sub");
    assert_string_equal(attribute(letter, "CloudPubSubDeadLetterSourceSubscriptionProject"), "p");
    drop(dead);
}

static void test_expiry_counts_as_attempt(void **state)
{
    struct bench *bench = *state;
    make_lane_with_dead_letters(bench);
    publish(bench, 1, 1);
    Google__Pubsub__V1__PullResponse *first = pull(bench, SUB, 1);
    Google__Pubsub__V1__PullResponse *second = pull(bench, SUB, 1); /* after the 10 s lease and the 2 s backoff */
    assert_int_equal(first->received_messages[0]->delivery_attempt, 1);
    assert_int_equal(second->n_received_messages, 1);
    assert_int_equal(second->received_messages[0]->delivery_attempt, 2);
    drop(first), drop(second);
}

static void test_flow_control_and_ack_elsewhere(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    char *ids[3];
    make_plain(bench);
    publish(bench, 10, 1);
    struct grpc_stream *stream = open_stream(bench, 3);
    expect_empty_response(stream);
    receive(stream, 3, ids);
    assert_null(next_response(stream, 100, NULL)); /* the limit holds while nothing is settled */
    assert_true(ack(bench, ids[0], &err));         /* a unary ack frees the stream's room */
    receive(stream, 1, NULL);
    assert_true(modack(bench, ids[1], 0, &err));
    receive(stream, 1, NULL);
    assert_null(next_response(stream, 100, NULL));
    for (int i = 0; i < 3; i++)
        free(ids[i]);
    grpc_stream_free(stream);
}

static void test_two_streams_share(void **state)
{
    struct bench *bench = *state;
    make_plain(bench);
    struct grpc_stream *a = open_stream(bench, 0), *b = open_stream(bench, 0);
    expect_empty_response(a);
    expect_empty_response(b);
    publish(bench, 100, 10);
    receive(a, 50, NULL);
    receive(b, 50, NULL);
    grpc_stream_free(a);
    grpc_stream_free(b);
}

static void test_responses_stay_below_4_mib(void **state)
{
    struct bench *bench = *state;
    make_plain(bench);
    publish(bench, 7, 1000000);
    struct grpc_stream *stream = open_stream(bench, 0);
    expect_empty_response(stream);
    size_t largest = receive(stream, 7, NULL);
    assert_in_range(largest, 1000000, 4 << 20);
    grpc_stream_free(stream);
}

static void test_confirmations(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    char *ids[2], stale[] = "st0000000000000000000000010000000000000001";
    Google__Pubsub__V1__StreamingPullRequest request;
    int32_t seconds = 60;
    make_plain(bench);
    publish(bench, 2, 1);
    struct grpc_stream *stream = open_stream(bench, 0);
    expect_empty_response(stream);
    receive(stream, 2, ids);
    INIT(streaming_pull_request, request);
    request.n_ack_ids = 2;
    request.ack_ids = (char *[]){ids[0], stale};
    request.n_modify_deadline_ack_ids = request.n_modify_deadline_seconds = 1;
    request.modify_deadline_ack_ids = &ids[1];
    request.modify_deadline_seconds = &seconds;
    assert_true(grpc_stream_send_message(stream, &request.base, &err));
    Google__Pubsub__V1__StreamingPullResponse *r = next_response(stream, CALL_MS, NULL);
    assert_non_null(r);
    assert_int_equal(r->acknowledge_confirmation->n_ack_ids, 1);
    assert_string_equal(r->acknowledge_confirmation->ack_ids[0], ids[0]);
    assert_int_equal(r->acknowledge_confirmation->n_invalid_ack_ids, 1);
    assert_string_equal(r->acknowledge_confirmation->invalid_ack_ids[0], stale);
    assert_string_equal(r->modify_ack_deadline_confirmation->ack_ids[0], ids[1]);
    drop(r);
    free(ids[0]);
    free(ids[1]);
    grpc_stream_free(stream);
}

static void expect_end(struct grpc_stream *stream, int status)
{
    struct buf bytes = BUF_INIT;
    struct error err = ERROR_INIT;
    assert_int_equal(grpc_stream_recv(stream, CALL_MS, &bytes, NULL, &err), GRPC_RECV_END);
    assert_int_equal(err.status, status);
    buf_release(&bytes);
    grpc_stream_free(stream);
}

static void test_silent_stream_is_closed(void **state)
{
    struct bench *bench = *state;
    make_plain(bench);
    int64_t start = clock_mono_ms();
    struct grpc_stream *stream = open_stream(bench, 0);
    expect_empty_response(stream);
    expect_end(stream, RPC_UNAVAILABLE);
    assert_in_range(clock_mono_ms() - start, 89900, 200000);
}

static void test_deleted_subscription_ends_stream(void **state)
{
    struct bench *bench = *state;
    Google__Pubsub__V1__DeleteSubscriptionRequest request;
    struct error err = ERROR_INIT;
    make_plain(bench);
    publish(bench, 3, 1);
    struct grpc_stream *stream = open_stream(bench, 0);
    expect_empty_response(stream);
    receive(stream, 3, NULL);
    INIT(delete_subscription_request, request);
    request.subscription = text(SUB);
    assert_true(
        call(bench, SUBSCRIBER "DeleteSubscription", &request.base, &google__protobuf__empty__descriptor, NULL, &err));
    expect_end(stream, RPC_NOT_FOUND);
}

static void test_closed_for_rebalancing(void **state)
{
    struct bench *bench = *state;
    make_plain(bench);
    struct grpc_stream *stream = open_stream(bench, 0);
    expect_empty_response(stream);
    assert_int_equal(pubsub_server_close_streams(bench->server, DEAD_SUB), 0);
    assert_int_equal(pubsub_server_close_streams(bench->server, SUB), 1);
    expect_end(stream, RPC_UNAVAILABLE);
}

static void test_memory_is_bounded(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    make_plain(bench);
    publish(bench, 7, 1000000);
    assert_false(publish_bytes(bench, 3, 1000000, &err));
    assert_int_equal(err.status, RPC_RESOURCE_EXHAUSTED);
    Google__Pubsub__V1__PullResponse *got = pull(bench, SUB, 3);
    assert_int_equal(got->n_received_messages, 3);
    for (size_t i = 0; i < 3; i++)
        assert_true(ack(bench, got->received_messages[i]->ack_id, &err));
    assert_true(publish_bytes(bench, 3, 1000000, &err)); /* acks make room */
    drop(got);
}

static void test_publish_limits(void **state)
{
    static const struct {
        size_t count, bytes;
        int status;
    } cases[] = {{0, 1, RPC_INVALID_ARGUMENT},        {1, 0, RPC_INVALID_ARGUMENT},
                 {1001, 1, RPC_INVALID_ARGUMENT},     {1, 10000001, RPC_INVALID_ARGUMENT},
                 {11, 1000000, RPC_INVALID_ARGUMENT}, {1000, 1, 0}};
    struct bench *bench = *state;
    make_plain(bench);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        publish_bytes(bench, cases[i].count, cases[i].bytes, &err);
        if (err.status != cases[i].status)
            fail_msg("%zu messages of %zu bytes: status %d, want %d (%s)", cases[i].count, cases[i].bytes, err.status,
                     cases[i].status, err.message);
    }
}

/* ---- Hazards of the service, on demand ---- */

/* With a lease of its own, in spite of the one that is held, and of its end by an ack. */
static void test_delivered_again_in_spite_of_lease_and_ack(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    make_plain(bench);
    publish(bench, 1, 1);
    arm(bench->faults,
        "{\"method\":\"pubsub.delivery\",\"on\":\"point\",\"path\":\"orders-sub\",\"kind\":\"duplicate\"}");
    Google__Pubsub__V1__PullResponse *first = pull(bench, SUB, 1), *second = pull(bench, SUB, 1);
    assert_string_equal(first->received_messages[0]->message->message_id,
                        second->received_messages[0]->message->message_id);
    assert_string_not_equal(first->received_messages[0]->ack_id, second->received_messages[0]->ack_id);
    assert_true(ack(bench, first->received_messages[0]->ack_id, &err));
    assert_true(ack(bench, second->received_messages[0]->ack_id, &err));
    publish(bench, 1, 1);
    arm(bench->faults, "{\"method\":\"pubsub.delivery\",\"on\":\"point\",\"kind\":\"duplicate\",\"delayMs\":5000}");
    Google__Pubsub__V1__PullResponse *third = pull(bench, SUB, 1);
    assert_true(ack(bench, third->received_messages[0]->ack_id, &err));
    Google__Pubsub__V1__PullResponse *late = pull(bench, SUB, 1);
    assert_string_equal(late->received_messages[0]->message->message_id,
                        third->received_messages[0]->message->message_id);
    assert_true(ack(bench, late->received_messages[0]->ack_id, &err));
    struct buf stats = BUF_INIT;
    pubsub_server_stats(bench->server, &stats);
    assert_non_null(strstr(buf_cstr(&stats), "\"ready\":0,\"leased\":0,\"delayed\":0"));
    buf_release(&stats);
    drop(first);
    drop(second);
    drop(third);
    drop(late);
}

static void test_attempts_are_forgotten(void **state)
{
    static const int attempts[] = {1, 2, 1, 2};
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    make_lane_with_dead_letters(bench);
    publish(bench, 1, 1);
    arm(bench->faults, "{\"method\":\"pubsub.delivery\",\"on\":\"point\",\"kind\":\"reset_attempts\",\"skip\":2}");
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++) {
        Google__Pubsub__V1__PullResponse *got = pull(bench, SUB, 1);
        assert_int_equal(got->received_messages[0]->delivery_attempt, attempts[i]);
        assert_true(modack(bench, got->received_messages[0]->ack_id, 0, &err));
        drop(got);
    }
}

int main(void)
{
    setenv("ST_CLOCK_SCALE", SCALE, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lease_expires_and_extends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_backoff_then_dead_letter, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_expiry_counts_as_attempt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_flow_control_and_ack_elsewhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_two_streams_share, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_responses_stay_below_4_mib, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_confirmations, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_silent_stream_is_closed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_deleted_subscription_ends_stream, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_closed_for_rebalancing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_memory_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_publish_limits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_delivered_again_in_spite_of_lease_and_ack, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_attempts_are_forgotten, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
