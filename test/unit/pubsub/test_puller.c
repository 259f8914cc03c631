/* Unary pulls against a service on the wire, on a clock that runs 20 times as fast. */
#include "fake_pubsub.h"

enum { ROOM = 2700 };

struct bench {
    struct fake *fake;
    struct pubsub_puller *puller;
    struct pubsub_delivery *list[ROOM];
    size_t count;
};

static int set_up(void **state)
{
    struct bench *bench = xcalloc(1, sizeof *bench);
    bench->fake = fake_new();
    bench->puller = pubsub_puller_new(bench->fake->client, "dead", 60);
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    pubsub_puller_free(bench->puller);
    fake_free(bench->fake);
    free(bench);
    return 0;
}

static void wait_with(struct bench *bench, int messages)
{
    fake_lock(bench->fake);
    bench->fake->waiting = messages;
    fake_unlock(bench->fake);
}

static void pull(struct bench *bench, size_t max)
{
    struct error err = ERROR_INIT;
    size_t count = 99;
    if (!pubsub_pull(bench->puller, max, bench->list + bench->count, &count, NULL, &err))
        fail_msg("%s", err.message);
    bench->count += count;
}

static void settle(struct bench *bench, size_t first, size_t count, enum pubsub_settlement how)
{
    struct error err = ERROR_INIT;
    if (!pubsub_pulled_settle(bench->puller, bench->list + first, count, how, &err))
        fail_msg("%s", err.message);
}

static void what_is_there_comes_and_its_lease_is_kept(void **state)
{
    struct bench *bench = *state;
    struct fake *f = bench->fake;
    wait_with(bench, 2);
    pull(bench, 10);
    assert_int_equal(bench->count, 2);
    assert_true(f->pulled_at_once);
    assert_string_equal(f->routing, "subscription=projects%2Fp%2Fsubscriptions%2Fdead");
    const struct pubsub_delivery *d = bench->list[1];
    assert_string_equal(d->message_id, "m1");
    assert_memory_equal(d->data.ptr, "he\0lo", 5);
    assert_string_equal(d->attributes[0].value, "jobs");
    assert_int_equal(d->delivery_attempt, 3);
    assert_int_equal(d->publish_time_us, 1761040800123456);
    /* Longer than the lease that came with it, and than one extension. */
    FAKE_AWAIT(f, f->messages[1].extensions >= 2);
    settle(bench, 0, 1, PUBSUB_ACK);
    settle(bench, 1, 1, PUBSUB_NACK);
    assert_int_equal(fake_read(f, &f->messages[0].acks), 1);
    assert_int_equal(fake_read(f, &f->messages[1].nacks), 1);
    assert_int_equal(fake_read(f, &f->messages[0].late) + fake_read(f, &f->messages[1].late), 0);
}

static void nothing_is_an_empty_answer(void **state)
{
    struct bench *bench = *state;
    pull(bench, 10);
    assert_int_equal(bench->count, 0);
}

static void no_more_than_asked_for_is_taken(void **state)
{
    struct bench *bench = *state;
    wait_with(bench, 5);
    fake_lock(bench->fake);
    bench->fake->sent_more = 2;
    fake_unlock(bench->fake);
    pull(bench, 3);
    assert_int_equal(bench->count, 3);
    settle(bench, 0, 3, PUBSUB_NACK);
}

static void many_are_settled_in_few_calls(void **state)
{
    enum { ACKED = 2600 };
    struct bench *bench = *state;
    struct fake *f = bench->fake;
    wait_with(bench, ROOM);
    while (bench->count < ROOM)
        pull(bench, ROOM - bench->count);
    assert_int_equal(fake_read(f, &f->pull.calls), 3); /* 1,000 a call */
    settle(bench, 0, ACKED, PUBSUB_ACK);
    assert_int_equal(fake_read(f, &f->ack.calls), 2); /* 2,500 ids a call */
    settle(bench, ACKED, ROOM - ACKED, PUBSUB_NACK);
    for (int i = 0; i < ROOM; i++) {
        assert_int_equal(fake_read(f, &f->messages[i].acks), i < ACKED);
        assert_int_equal(fake_read(f, &f->messages[i].nacks), i >= ACKED);
    }
}

static void failures_are_told(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    size_t count;
    wait_with(bench, 1);
    fake_set_fault(bench->fake, &bench->fake->pull, GRPC_STATUS_UNAVAILABLE, 2); /* tried again */
    pull(bench, 1);
    assert_int_equal(bench->count, 1);
    fake_set_fault(bench->fake, &bench->fake->pull, GRPC_STATUS_PERMISSION_DENIED, -1);
    assert_false(pubsub_pull(bench->puller, 1, bench->list + 1, &count, NULL, &err));
    assert_int_equal(err.class, ERROR_PERMANENT);
    fake_set_fault(bench->fake, &bench->fake->ack, GRPC_STATUS_PERMISSION_DENIED, -1);
    assert_false(pubsub_pulled_settle(bench->puller, bench->list, 1, PUBSUB_ACK, &err));
}

static void an_ack_after_the_end_of_the_lease_is_not_certain(void **state)
{
    struct bench *bench = *state;
    struct fake *f = bench->fake;
    struct error err = ERROR_INIT;
    wait_with(bench, 1);
    fake_set_fault(f, &f->modack, GRPC_STATUS_UNAVAILABLE, -1);
    pull(bench, 1);
    FAKE_AWAIT(f, clock_mono_ms() > f->messages[0].deadline_ms + 60000);
    assert_false(pubsub_pulled_settle(bench->puller, bench->list, 1, PUBSUB_ACK, &err));
    assert_string_equal(err.code, "lease_lost");
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    setenv("ST_CLOCK_SCALE", "20", 1);
    const struct CMUnitTest tests[] = {
        CASE(what_is_there_comes_and_its_lease_is_kept),
        CASE(nothing_is_an_empty_answer),
        CASE(no_more_than_asked_for_is_taken),
        CASE(many_are_settled_in_few_calls),
        CASE(failures_are_told),
        CASE(an_ack_after_the_end_of_the_lease_is_not_certain),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    grpc_global_release();
    return failed;
}
