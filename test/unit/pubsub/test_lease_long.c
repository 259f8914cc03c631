/* A task of half an hour under an ack deadline of ten seconds, on a clock that runs 50 times as fast: one delivery, one
 * ack in time, every renewal with half of the extension left; also when the stream ends and calls fail on the way. */
#include "fake_pubsub.h"

enum { TASK_MS = 30 * 60 * 1000, DEADLINE_S = 10, EXTENSION_S = 60 };

static void half_an_hour_passes_without_a_redelivery(void **state)
{
    struct fake *f = fake_new();
    struct inbox inbox = {.fake = f};
    struct error err = ERROR_INIT;
    struct pubsub_stats stats;
    (void)state;
    const struct pubsub_subscriber_options options = {.subscription = "live",
                                                      .max_outstanding_messages = 10,
                                                      .stream_ack_deadline_s = DEADLINE_S,
                                                      .extension_s = EXTENSION_S,
                                                      .on_delivery = inbox_put,
                                                      .user = &inbox};
    struct pubsub_subscriber *sub = pubsub_subscriber_start(f->client, &options, &err);
    fake_deliver(f, 3);
    inbox_get(&inbox, 2);
    cancel_sleep_ms(NULL, TASK_MS / 3);
    fake_end_stream(f, GRPC_STATUS_UNAVAILABLE);
    cancel_sleep_ms(NULL, TASK_MS / 3);
    fake_set_fault(f, &f->modack, GRPC_STATUS_UNAVAILABLE, 2);
    cancel_sleep_ms(NULL, TASK_MS / 3);
    for (int i = 0; i < 3; i++) {
        assert_false(cancel_is_set(inbox.deliveries[i]->lease));
        assert_true(pubsub_settle(sub, inbox.deliveries[i], PUBSUB_ACK, &err));
    }
    pubsub_subscriber_stats(sub, &stats);
    pubsub_subscriber_free(sub);
    for (int i = 0; i < 3; i++) {
        const struct fake_message *m = &f->messages[i];
        assert_int_equal(m->acks, 1);
        assert_int_equal(m->late, 0);
        assert_in_range(m->extensions, TASK_MS / 1000 / EXTENSION_S, 4 * TASK_MS / 1000 / EXTENSION_S);
        /* The two failed calls may eat into it: a third is left even then. */
        assert_in_range(m->least_left_ms, EXTENSION_S * 1000 / 3, EXTENSION_S * 1000);
    }
    assert_int_equal(stats.lost_leases, 0);
    assert_int_equal(stats.delivered, 3);
    fake_free(f);
}

int main(void)
{
    setenv("ST_CLOCK_SCALE", "50", 1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(half_an_hour_passes_without_a_redelivery)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    grpc_global_release();
    return failed;
}
