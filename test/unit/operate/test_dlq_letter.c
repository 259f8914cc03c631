/* test_dlq_letter.c - what a dead letter says of itself, which ones are meant, and what a replay publishes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

#include "../../../src/operate/dlq_letter.h"

enum { DEAD_S = 1761040800 };

static const struct settings settings = {.pubsub_backfill_subscription = "st-backfill-worker"};

static const struct pubsub_attribute by_a_worker[] = {
    {"origin", "scheduler"},
    {"CloudPubSubDeadLetterSourceDeliveryCount", "29"},
    {"CloudPubSubDeadLetterSourceSubscription", "st-backfill-worker"},
    {"CloudPubSubDeadLetterSourceSubscriptionProject", "p"},
    {"CloudPubSubDeadLetterSourceTopicPublishTime", "2025-10-21T10:00:00.000Z"},
    {"error_class", "permanent"},
    {"error_code", "http_403"},
    {"error_message", "forbidden"},
    {"source_message_id", "77"},
    {"task_id", "t-1"},
    {"run_id", "r-1"},
    {"replay_count", "2"},
    {"replayed_from", "55"},
};
static const struct pubsub_attribute by_the_service[] = {
    {"CloudPubSubDeadLetterSourceDeliveryCount", "30"},
    {"CloudPubSubDeadLetterSourceSubscription", "st-ingest-worker"},
    {"CloudPubSubDeadLetterSourceTopicPublishTime", "2025-10-21T10:00:00.123+00:00"},
};

#define DELIVERY(data_, attributes_)                                                                                   \
    ((struct pubsub_delivery){.data = slice_str(data_),                                                                \
                              .attributes = (attributes_),                                                             \
                              .attribute_count = sizeof(attributes_) / sizeof((attributes_)[0]),                       \
                              .message_id = "100",                                                                     \
                              .publish_time_us = DEAD_S * INT64_C(1000000)})

static void a_workers_letter_says_everything(void **state)
{
    const struct pubsub_delivery d = DELIVERY("{\"entity\":\"jobs\",\"mode\":\"full\",\"tenant\":7}", by_a_worker);
    struct dlq_letter letter;
    (void)state;
    letter_read(&d, &settings, &letter);
    assert_true(letter.readable);
    assert_string_equal(letter.task.entity, "jobs");
    assert_int_equal(letter.task.mode, TASK_FULL);
    assert_int_equal(letter.task.tenant, 7);
    assert_int_equal(letter.lane, TASK_LANE_BACKFILL);
    assert_int_equal(letter.attempts, 29);
    assert_int_equal(letter.replays, 2);
    assert_int_equal(letter.published_us, 1761040800000000);
    assert_string_equal(letter.error_code, "http_403");
    assert_string_equal(letter.run_id, "r-1");
    assert_string_equal(letter.task_id, "t-1");
    assert_string_equal(letter.source_message_id, "77");
}

static void the_services_own_letter_says_little(void **state)
{
    const struct pubsub_delivery d = DELIVERY("not JSON", by_the_service);
    struct dlq_letter letter;
    (void)state;
    letter_read(&d, &settings, &letter);
    assert_false(letter.readable);
    assert_int_equal(letter.lane, TASK_LANE_LIVE);
    assert_int_equal(letter.attempts, 30);
    assert_int_equal(letter.replays, 0);
    assert_int_equal(letter.published_us, 1761040800123000);
    assert_string_equal(letter.error_class, "");
    assert_string_equal(letter.task_id, "");
}

static void numbers_that_are_none_count_as_nothing(void **state)
{
    static const struct pubsub_attribute odd[] = {{"CloudPubSubDeadLetterSourceDeliveryCount", "many"},
                                                  {"CloudPubSubDeadLetterSourceTopicPublishTime", "yesterday"},
                                                  {"replay_count", "-4"}};
    const struct pubsub_delivery d = DELIVERY("{}", odd);
    struct dlq_letter letter;
    (void)state;
    letter_read(&d, &settings, &letter);
    assert_int_equal(letter.attempts, 0);
    assert_int_equal(letter.replays, 0);
    assert_int_equal(letter.published_us, 0);
}

/* Through any number of replays the letter tells when its task was published first. */
static void the_first_publish_time_outlives_replays(void **state)
{
    static const struct pubsub_attribute again[] = {
        {"CloudPubSubDeadLetterSourceTopicPublishTime", "2025-10-25T10:00:00.000Z"},
        {"first_publish_time", "2025-10-21T10:00:00.000Z"},
    };
    const struct pubsub_delivery d = DELIVERY("{}", again);
    struct dlq_letter letter;
    struct replay replay;
    (void)state;
    letter_read(&d, &settings, &letter);
    assert_int_equal(letter.published_us, 1761040800000000);
    replay_init(&replay, &letter);
    const struct pubsub_attribute *last = &replay.attributes[replay.message.attribute_count - 1];
    assert_string_equal(last->key, "first_publish_time");
    assert_string_equal(last->value, "2025-10-21T10:00:00.000Z");
}

static void filters_are_anded(void **state)
{
    static const char *const right_ids[] = {"99", "100"}, *const wrong_ids[] = {"99"};
    static const struct {
        struct dlq_filter filter;
        bool readable, unreadable; /* does it fit a letter of each kind? */
    } cases[] = {
        {{0}, true, true},
        {{.entity = "jobs"}, true, false},
        {{.entity = "invoices"}, false, false},
        {{.tenant = 7}, true, false},
        {{.tenant = 8}, false, false},
        {{.has_mode = true, .mode = TASK_FULL}, true, false},
        {{.has_mode = true, .mode = TASK_INCREMENTAL}, false, false},
        {{.entity = "jobs", .has_mode = true, .mode = TASK_FULL, .tenant = 7}, true, false},
        {{.entity = "jobs", .tenant = 8}, false, false},
        {{.error_class = "permanent"}, true, true},
        {{.error_class = "retry"}, false, false},
        {{.run_id = "r-1"}, true, true},
        {{.run_id = "r-2"}, false, false},
        {{.since_us = DEAD_S * INT64_C(1000000)}, true, true},
        {{.since_us = DEAD_S * INT64_C(1000000) + 1}, false, false},
        {{.until_us = DEAD_S * INT64_C(1000000)}, false, false},
        {{.until_us = DEAD_S * INT64_C(1000000) + 1}, true, true},
        {{.ids = right_ids, .id_count = 2}, true, true},
        {{.ids = wrong_ids, .id_count = 1}, false, false},
    };
    const struct pubsub_delivery d = DELIVERY("{\"entity\":\"jobs\",\"mode\":\"full\",\"tenant\":7}", by_a_worker);
    const struct pubsub_delivery garbage = DELIVERY("{", by_a_worker);
    const struct pubsub_delivery unnamed = DELIVERY("{\"entity\":\"jobs\",\"mode\":\"full\"}", by_a_worker);
    struct dlq_letter readable, unreadable;
    (void)state;
    letter_read(&d, &settings, &readable);
    letter_read(&garbage, &settings, &unreadable);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (dlq_fits(&readable, &cases[i].filter) != cases[i].readable)
            fail_msg("case %zu, readable letter", i);
        if (dlq_fits(&unreadable, &cases[i].filter) != cases[i].unreadable)
            fail_msg("case %zu, unreadable letter", i);
    }
    letter_read(&unnamed, &settings, &readable);
    assert_false(dlq_fits(&readable, &(struct dlq_filter){.tenant = 7}));
    assert_true(dlq_fits(&readable, &(struct dlq_filter){.tenant = 7, .only_tenant = 7}));
    assert_false(dlq_fits(&readable, &(struct dlq_filter){.tenant = 8, .only_tenant = 7}));
}

static void a_replay_is_the_original_and_counts(void **state)
{
    static const char *const expected[][2] = {{"origin", "scheduler"},
                                              {"task_id", "t-1"},
                                              {"replay_count", "3"},
                                              {"replayed_from", "100"},
                                              {"first_publish_time", "2025-10-21T10:00:00.000Z"}};
    const struct pubsub_delivery d = DELIVERY("{\"entity\":\"jobs\"}", by_a_worker);
    struct dlq_letter letter;
    struct replay replay;
    (void)state;
    letter_read(&d, &settings, &letter);
    replay_init(&replay, &letter);
    assert_true(slice_eq_str(replay.message.data, "{\"entity\":\"jobs\"}"));
    assert_int_equal(replay.message.attribute_count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(replay.message.attributes[i].key, expected[i][0]);
        assert_string_equal(replay.message.attributes[i].value, expected[i][1]);
    }
}

static void a_replay_never_has_more_attributes_than_allowed(void **state)
{
    static char keys[PUBSUB_MAX_ATTRIBUTES][8];
    static struct pubsub_attribute many[PUBSUB_MAX_ATTRIBUTES];
    struct dlq_letter letter;
    struct replay replay;
    (void)state;
    for (int i = 0; i < PUBSUB_MAX_ATTRIBUTES; i++) {
        snprintf(keys[i], sizeof keys[i], "k%d", i);
        many[i] = (struct pubsub_attribute){keys[i], "v"};
    }
    many[0] = (struct pubsub_attribute){"first_publish_time", "2025-10-21T10:00:00Z"};
    const struct pubsub_delivery d = DELIVERY("{}", many);
    letter_read(&d, &settings, &letter);
    replay_init(&replay, &letter);
    assert_int_equal(replay.message.attribute_count, PUBSUB_MAX_ATTRIBUTES);
    assert_string_equal(replay.message.attributes[PUBSUB_MAX_ATTRIBUTES - 2].key, "replayed_from");
    assert_string_equal(replay.message.attributes[PUBSUB_MAX_ATTRIBUTES - 1].key, "first_publish_time");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_workers_letter_says_everything),
        cmocka_unit_test(the_services_own_letter_says_little),
        cmocka_unit_test(numbers_that_are_none_count_as_nothing),
        cmocka_unit_test(the_first_publish_time_outlives_replays),
        cmocka_unit_test(filters_are_anded),
        cmocka_unit_test(a_replay_is_the_original_and_counts),
        cmocka_unit_test(a_replay_never_has_more_attributes_than_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
