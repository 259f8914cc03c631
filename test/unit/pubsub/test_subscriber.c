/* The subscriber against a service on the wire, on a clock that runs 20 times as fast: pings every 1.5 s, leases of
 * half a second. */
#include "fake_pubsub.h"

struct bench {
    struct fake *fake;
    struct inbox inbox;
    struct pubsub_subscriber *sub;
};

static int set_up(void **state)
{
    struct bench *bench = xcalloc(1, sizeof *bench);
    bench->fake = fake_new();
    bench->inbox.fake = bench->fake;
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    pubsub_subscriber_free(bench->sub);
    fake_free(bench->fake);
    free(bench);
    return 0;
}

static void subscribe(struct bench *bench, int64_t max_messages, int deadline_s)
{
    struct error err = ERROR_INIT;
    const struct pubsub_subscriber_options options = {.subscription = "live",
                                                      .lane = 7,
                                                      .max_outstanding_messages = max_messages,
                                                      .max_outstanding_bytes = 1000000,
                                                      .stream_ack_deadline_s = deadline_s,
                                                      .extension_s = 60,
                                                      .on_delivery = inbox_put,
                                                      .user = &bench->inbox};
    bench->sub = pubsub_subscriber_start(bench->fake->client, &options, &err);
    assert_non_null(bench->sub);
}

static struct pubsub_stats stats_of(struct bench *bench)
{
    struct pubsub_stats stats;
    pubsub_subscriber_stats(bench->sub, &stats);
    return stats;
}

static bool settle(struct bench *bench, int n, enum pubsub_settlement how, struct error *err)
{
    *err = ERROR_INIT;
    return pubsub_settle(bench->sub, inbox_get(&bench->inbox, n), how, err);
}

static void a_message_arrives_is_leased_at_once_and_acked(void **state)
{
    struct bench *bench = *state;
    struct fake *f = bench->fake;
    struct error err;
    subscribe(bench, 5, 600);
    fake_deliver(f, 1);
    struct pubsub_delivery *d = inbox_get(&bench->inbox, 0);
    assert_int_equal(d->data.len, 5);
    assert_memory_equal(d->data.ptr, "he\0lo", 5);
    assert_string_equal(d->message_id, "m0");
    assert_int_equal(d->publish_time_us, 1761040800123456);
    assert_int_equal(d->delivery_attempt, 3);
    assert_int_equal(d->lane, 7);
    assert_int_equal(d->attribute_count, 1);
    assert_string_equal(d->attributes[0].key, "entity");
    assert_string_equal(d->attributes[0].value, "jobs");
    FAKE_AWAIT(f, f->messages[0].extensions >= 1);
    assert_int_equal(fake_read(f, &f->messages[0].last_extension_s), 60);
    assert_true(settle(bench, 0, PUBSUB_ACK, &err));
    assert_int_equal(fake_read(f, &f->messages[0].acks), 1);
    assert_int_equal(fake_read(f, &f->messages[0].late), 0);
    assert_int_equal(stats_of(bench).delivered, 1);
    assert_int_equal(stats_of(bench).acked, 1);
    fake_lock(f);
    const struct fake_stream *s = &f->streams[0];
    assert_int_equal(s->version, 1);
    assert_int_equal(s->max_messages, 5);
    assert_int_equal(s->deadline_s, 600);
    assert_int_equal(strlen(s->client_id), 36);
    assert_string_equal(f->routing, "subscription=projects%2Fp%2Fsubscriptions%2Flive");
    fake_unlock(f);
}

static void a_nack_gives_the_message_back(void **state)
{
    struct bench *bench = *state;
    struct error err;
    subscribe(bench, 5, 60);
    fake_deliver(bench->fake, 1);
    assert_true(settle(bench, 0, PUBSUB_NACK, &err));
    assert_int_equal(fake_read(bench->fake, &bench->fake->messages[0].nacks), 1);
    assert_int_equal(stats_of(bench).nacked, 1);
}

static void many_receipts_go_in_few_calls(void **state)
{
    struct bench *bench = *state;
    struct fake *f = bench->fake;
    struct error err;
    subscribe(bench, 3000, 600);
    fake_deliver(f, 3000);
    inbox_get(&bench->inbox, 2999);
    FAKE_AWAIT(f, f->messages[0].extensions > 0 && f->messages[2999].extensions > 0);
    assert_true(fake_read(f, &f->modack.calls) >= 2);
    assert_int_equal(fake_read(f, &f->largest_modack), 2500);
    for (int i = 0; i < 3000; i++)
        assert_true(settle(bench, i, PUBSUB_ACK, &err));
}

static void a_lease_that_cannot_be_kept_is_lost(void **state)
{
    struct bench *bench = *state;
    struct fake *f = bench->fake;
    struct error err = ERROR_INIT;
    fake_set_fault(f, &f->modack, GRPC_STATUS_UNAVAILABLE, -1);
    subscribe(bench, 5, 10);
    fake_deliver(f, 2);
    struct pubsub_delivery *d = inbox_get(&bench->inbox, 1);
    FAKE_AWAIT(f, cancel_is_set(d->lease));
    assert_false(cancel_check(d->lease, &err));
    assert_non_null(strstr(err.message, "lease lost"));
    FAKE_AWAIT(f, stats_of(bench).lost_leases == 2);
    assert_true(fake_read(f, &f->modack.calls) >= 2);
    assert_false(settle(bench, 0, PUBSUB_ACK, &err));
    assert_string_equal(err.code, "lease_lost");
    assert_int_equal(err.class, ERROR_RETRY);
    assert_true(settle(bench, 1, PUBSUB_NACK, &err));
    assert_int_equal(fake_read(f, &f->messages[0].late), 1);
    assert_int_equal(fake_read(f, &f->messages[1].nacks), 0);
}

static void a_failed_extension_is_repeated_while_time_remains(void **state)
{
    struct bench *bench = *state;
    struct fake *f = bench->fake;
    struct error err;
    fake_set_fault(f, &f->modack, GRPC_STATUS_UNAVAILABLE, 3);
    subscribe(bench, 5, 60);
    fake_deliver(f, 1);
    FAKE_AWAIT(f, f->messages[0].extensions == 1);
    assert_int_equal(fake_read(f, &f->modack.calls), 4);
    assert_false(cancel_is_set(inbox_get(&bench->inbox, 0)->lease));
    assert_true(settle(bench, 0, PUBSUB_ACK, &err));
    assert_int_equal(stats_of(bench).lost_leases, 0);
}

static void a_lease_outlives_the_end_of_its_stream(void **state)
{
    struct bench *bench = *state;
    struct fake *f = bench->fake;
    struct error err;
    subscribe(bench, 5, 60);
    fake_deliver(f, 1);
    inbox_get(&bench->inbox, 0);
    fake_end_stream(f, GRPC_STATUS_UNAVAILABLE);
    FAKE_AWAIT(f, f->stream_count == 2);
    assert_string_equal(f->streams[0].client_id, f->streams[1].client_id);
    fake_deliver(f, 1);
    assert_string_equal(inbox_get(&bench->inbox, 1)->message_id, "m1");
    assert_int_equal(stats_of(bench).reopened, 1);
    FAKE_AWAIT(f, f->messages[0].extensions >= 3);
    assert_true(settle(bench, 0, PUBSUB_ACK, &err));
    assert_true(settle(bench, 1, PUBSUB_ACK, &err));
    assert_int_equal(fake_read(f, &f->messages[0].late) + fake_read(f, &f->messages[1].late), 0);
}

static void transient_ends_are_reopened(void **state)
{
    static const int statuses[] = {GRPC_STATUS_OK,       GRPC_STATUS_CANCELLED,          GRPC_STATUS_UNKNOWN,
                                   GRPC_STATUS_INTERNAL, GRPC_STATUS_RESOURCE_EXHAUSTED, GRPC_STATUS_DEADLINE_EXCEEDED,
                                   GRPC_STATUS_ABORTED,  GRPC_STATUS_UNAUTHENTICATED};
    struct bench *bench = *state;
    struct fake *f = bench->fake;
    subscribe(bench, 5, 60);
    for (int i = 0; i < (int)(sizeof statuses / sizeof statuses[0]); i++) {
        FAKE_AWAIT(f, f->stream_count == i + 1 && f->streams[i].pings > 0 && pubsub_subscriber_idle_ms(bench->sub) > 0);
        fake_end_stream(f, statuses[i]);
    }
    FAKE_AWAIT(f, f->stream_count == 9);
    assert_false(pubsub_subscriber_failed(bench->sub, NULL));
}

static void permanent_ends_fail_the_subscriber(void **state)
{
    static const struct {
        int status, times;
        const char *code;
    } cases[] = {
        {GRPC_STATUS_NOT_FOUND, 1, "not_found"},
        {GRPC_STATUS_PERMISSION_DENIED, 1, "permission_denied"},
        {GRPC_STATUS_INVALID_ARGUMENT, 1, "invalid_argument"},
        {GRPC_STATUS_FAILED_PRECONDITION, 1, "failed_precondition"},
        {GRPC_STATUS_UNAUTHENTICATED, 2, "unauthenticated"},
    };
    struct bench *bench = *state;
    struct fake *f = bench->fake;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        int before = fake_read(f, &f->streaming.calls);
        fake_set_fault(f, &f->streaming, cases[i].status, -1);
        subscribe(bench, 5, 60);
        FAKE_AWAIT(f, pubsub_subscriber_failed(bench->sub, &err));
        assert_string_equal(err.code, cases[i].code);
        assert_int_equal(fake_read(f, &f->streaming.calls) - before, cases[i].times);
        pubsub_subscriber_free(bench->sub);
        bench->sub = NULL;
    }
}

static void a_silent_stream_is_torn_down(void **state)
{
    struct bench *bench = *state;
    struct fake *f = bench->fake;
    subscribe(bench, 5, 60);
    FAKE_AWAIT(f, f->stream_count == 1 && f->streams[0].pings >= 2);
    assert_int_equal(stats_of(bench).reopened, 0);
    fake_lock(f);
    f->mute = true;
    fake_unlock(f);
    FAKE_AWAIT(f, f->stream_count == 2 && f->streams[0].over);
    fake_lock(f);
    f->mute = false;
    fake_unlock(f);
    FAKE_AWAIT(f, f->streams[f->stream_count - 1].pings >= 3);
}

static void bytes_that_are_no_response_end_the_stream(void **state)
{
    struct bench *bench = *state;
    struct fake *f = bench->fake;
    subscribe(bench, 5, 60);
    struct test_call *call = fake_open_stream(f);
    pthread_mutex_lock(&f->send_mutex);
    test_call_send(call, SLICE_LIT("\x0a\xff\xff"));
    pthread_mutex_unlock(&f->send_mutex);
    FAKE_AWAIT(f, f->stream_count == 2);
    fake_deliver(f, 1);
    struct error err;
    assert_true(settle(bench, 0, PUBSUB_ACK, &err));
}

static void a_new_stream_never_hands_out_more_than_the_limit(void **state)
{
    struct bench *bench = *state;
    struct fake *f = bench->fake;
    struct error err;
    subscribe(bench, 2, 600);
    fake_deliver(f, 2);
    inbox_get(&bench->inbox, 1);
    fake_end_stream(f, GRPC_STATUS_UNAVAILABLE);
    FAKE_AWAIT(f, f->stream_count == 2);
    fake_deliver(f, 2);
    FAKE_AWAIT(f, f->messages[2].extensions > 0 && f->messages[3].extensions > 0);
    assert_int_equal(fake_read(f, &bench->inbox.count), 2);
    assert_int_equal(pubsub_subscriber_idle_ms(bench->sub), 0);
    assert_true(settle(bench, 0, PUBSUB_ACK, &err));
    assert_string_equal(inbox_get(&bench->inbox, 2)->message_id, "m2");
    pubsub_subscriber_stop(bench->sub);
    assert_int_equal(fake_read(f, &f->messages[3].nacks), 1);
    assert_int_equal(fake_read(f, &f->messages[1].nacks) + fake_read(f, &f->messages[2].nacks), 0);
    assert_int_equal(fake_read(f, &bench->inbox.count), 3);
    assert_true(settle(bench, 1, PUBSUB_ACK, &err));
    assert_true(settle(bench, 2, PUBSUB_NACK, &err));
}

/* The service takes the number at the beginning of a stream only; what is out stays out. */
static void another_limit_opens_another_stream(void **state)
{
    struct bench *bench = *state;
    struct fake *f = bench->fake;
    subscribe(bench, 2, 600);
    fake_deliver(f, 2);
    inbox_get(&bench->inbox, 1);
    pubsub_subscriber_set_max(bench->sub, 4);
    FAKE_AWAIT(f, f->stream_count == 2);
    fake_deliver(f, 2);
    inbox_get(&bench->inbox, 3);
    fake_lock(f);
    assert_int_equal(f->streams[0].max_messages, 2);
    assert_int_equal(f->streams[1].max_messages, 4);
    fake_unlock(f);
    assert_int_equal(stats_of(bench).reopened, 0); /* nothing was wrong with the first one */
    struct pubsub_delivery *all[4];
    for (int i = 0; i < 4; i++)
        all[i] = inbox_get(&bench->inbox, i);
    pubsub_give_back(bench->sub, all, 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(fake_read(f, &f->messages[i].nacks), 1);
    assert_int_equal(stats_of(bench).nacked, 4);
}

static void what_exceeds_the_queue_is_given_back(void **state)
{
    struct bench *bench = *state;
    struct fake *f = bench->fake;
    struct error err;
    subscribe(bench, 2, 600);
    fake_deliver(f, 30);
    FAKE_AWAIT(f, f->messages[29].nacks == 1);
    int given_back = 0;
    for (int i = 0; i < 30; i++)
        given_back += fake_read(f, &f->messages[i].nacks);
    assert_int_equal(given_back, 10);
    inbox_get(&bench->inbox, 1);
    assert_true(settle(bench, 0, PUBSUB_ACK, &err));
    assert_true(settle(bench, 1, PUBSUB_ACK, &err));
    pubsub_subscriber_stop(bench->sub);
    for (int i = 2; i < fake_read(f, &bench->inbox.count); i++)
        assert_true(settle(bench, i, PUBSUB_NACK, &err));
    for (int i = 2; i < 30; i++)
        assert_int_equal(fake_read(f, &f->messages[i].nacks), 1);
}

static void an_ack_is_repeated_while_the_lease_holds(void **state)
{
    struct bench *bench = *state;
    struct fake *f = bench->fake;
    struct error err;
    subscribe(bench, 5, 60);
    fake_deliver(f, 2);
    inbox_get(&bench->inbox, 1);
    FAKE_AWAIT(f, f->messages[1].extensions > 0);
    fake_set_fault(f, &f->ack, GRPC_STATUS_UNAVAILABLE, 3);
    assert_true(settle(bench, 0, PUBSUB_ACK, &err));
    assert_int_equal(fake_read(f, &f->ack.calls), 4);
    assert_int_equal(fake_read(f, &f->messages[0].acks), 1);
    fake_set_fault(f, &f->ack, GRPC_STATUS_UNAVAILABLE, -1);
    assert_false(settle(bench, 1, PUBSUB_ACK, &err));
    assert_string_equal(err.code, "unavailable");
    assert_true(fake_read(f, &f->ack.calls) > 5);
    assert_int_equal(stats_of(bench).acked, 1);
}

static void *stop_soon(void *user)
{
    struct bench *bench = user;
    FAKE_AWAIT(bench->fake, bench->fake->ack.calls == 1);
    pubsub_subscriber_stop(bench->sub);
    return NULL;
}

static void a_stop_ends_the_patience_of_an_ack(void **state)
{
    struct bench *bench = *state;
    struct fake *f = bench->fake;
    struct error err;
    pthread_t stopper;
    subscribe(bench, 5, 60);
    fake_deliver(f, 1);
    inbox_get(&bench->inbox, 0);
    fake_lock(f);
    f->ack.silent = true;
    fake_unlock(f);
    time_t started = time(NULL);
    pthread_create(&stopper, NULL, stop_soon, bench);
    assert_false(settle(bench, 0, PUBSUB_ACK, &err));
    pthread_join(stopper, NULL);
    assert_int_equal(fake_read(f, &f->ack.calls), 2);
    assert_true(time(NULL) - started < 6);
}

static void idleness_counts_from_the_last_message(void **state)
{
    struct bench *bench = *state;
    struct fake *f = bench->fake;
    struct error err;
    fake_lock(f);
    f->mute = true;
    fake_unlock(f);
    subscribe(bench, 5, 60);
    FAKE_AWAIT(f, f->stream_count == 1 && f->streams[0].pings == 1);
    assert_int_equal(pubsub_subscriber_idle_ms(bench->sub), 0);
    fake_lock(f);
    f->mute = false;
    fake_unlock(f);
    fake_pong(f, fake_open_stream(f));
    FAKE_AWAIT(f, pubsub_subscriber_idle_ms(bench->sub) > 20000);
    fake_deliver(f, 1);
    inbox_get(&bench->inbox, 0);
    assert_true(pubsub_subscriber_idle_ms(bench->sub) < 15000);
    assert_true(settle(bench, 0, PUBSUB_ACK, &err));
}

static void deadlines_out_of_range_are_refused(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    struct pubsub_subscriber_options options = {
        .subscription = "live", .stream_ack_deadline_s = 9, .on_delivery = inbox_put};
    assert_null(pubsub_subscriber_start(bench->fake->client, &options, &err));
    options = (struct pubsub_subscriber_options){.subscription = "live", .extension_s = 601, .on_delivery = inbox_put};
    assert_null(pubsub_subscriber_start(bench->fake->client, &options, &err));
    assert_string_equal(err.message, "cannot subscribe to \"live\" with a deadline of 601 s: allowed are 10 to 600");
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    setenv("ST_CLOCK_SCALE", "20", 1);
    const struct CMUnitTest tests[] = {
        CASE(a_message_arrives_is_leased_at_once_and_acked),
        CASE(a_nack_gives_the_message_back),
        CASE(many_receipts_go_in_few_calls),
        CASE(a_lease_that_cannot_be_kept_is_lost),
        CASE(a_failed_extension_is_repeated_while_time_remains),
        CASE(a_lease_outlives_the_end_of_its_stream),
        CASE(transient_ends_are_reopened),
        CASE(permanent_ends_fail_the_subscriber),
        CASE(a_silent_stream_is_torn_down),
        CASE(bytes_that_are_no_response_end_the_stream),
        CASE(a_new_stream_never_hands_out_more_than_the_limit),
        CASE(another_limit_opens_another_stream),
        CASE(what_exceeds_the_queue_is_given_back),
        CASE(an_ack_is_repeated_while_the_lease_holds),
        CASE(a_stop_ends_the_patience_of_an_ack),
        CASE(idleness_counts_from_the_last_message),
        CASE(deadlines_out_of_range_are_refused),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    grpc_global_release();
    return failed;
}
