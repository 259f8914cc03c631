/* Topics and subscriptions are made when missing, never changed, and compared in words. */
#include "fake_pubsub.h"

static const struct pubsub_subscription_options options = {.topic = "tasks",
                                                           .ack_deadline_s = 60,
                                                           .min_backoff_s = 10,
                                                           .max_backoff_s = 600,
                                                           .dead_letter_topic = "dead",
                                                           .max_delivery_attempts = 30,
                                                           .never_expires = true,
                                                           .retention_s = 604800};

static int set_up(void **state)
{
    *state = fake_new();
    return 0;
}

static int tear_down(void **state)
{
    fake_free(*state);
    return 0;
}

static void a_topic_is_made_once(void **state)
{
    struct fake *f = *state;
    struct error err = ERROR_INIT;
    bool created = false;
    assert_true(pubsub_ensure_topic(f->client, "tasks", &created, &err));
    assert_true(created);
    assert_true(pubsub_ensure_topic(f->client, "tasks", &created, &err));
    assert_false(created);
    assert_int_equal(fake_read(f, &f->created), 1);
}

static void a_subscription_is_made_as_asked(void **state)
{
    struct fake *f = *state;
    struct error err = ERROR_INIT;
    bool created = false, exists = true;
    char *difference = NULL;
    assert_true(pubsub_subscription_exists(f->client, "live", &exists, &err));
    assert_false(exists);
    assert_true(pubsub_ensure_subscription(f->client, "live", &options, &created, &difference, &err));
    assert_true(created);
    assert_null(difference);
    const Google__Pubsub__V1__Subscription *s = f->subscription;
    assert_string_equal(s->name, "projects/p/subscriptions/live");
    assert_string_equal(s->topic, "projects/p/topics/tasks");
    assert_int_equal(s->ack_deadline_seconds, 60);
    assert_int_equal(s->retry_policy->minimum_backoff->seconds, 10);
    assert_int_equal(s->retry_policy->maximum_backoff->seconds, 600);
    assert_string_equal(s->dead_letter_policy->dead_letter_topic, "projects/p/topics/dead");
    assert_int_equal(s->dead_letter_policy->max_delivery_attempts, 30);
    assert_non_null(s->expiration_policy);
    assert_null(s->expiration_policy->ttl);
    assert_true(pubsub_subscription_exists(f->client, "live", &exists, &err));
    assert_true(exists);
    assert_true(pubsub_ensure_subscription(f->client, "live", &options, &created, &difference, &err));
    assert_false(created);
    assert_null(difference);
    assert_int_equal(fake_read(f, &f->created), 1);
}

static void differences_are_told_and_left(void **state)
{
    static const struct {
        struct pubsub_subscription_options wanted;
        const char *difference;
    } cases[] = {
        {{"other", 60, 10, 600, "dead", 30, true, 0},
         "the topic is projects/p/topics/tasks, wanted projects/p/topics/other"},
        {{"tasks", 10, 10, 600, "dead", 30, true, 0}, "the ack deadline (s) is 60, wanted 10"},
        {{"tasks", 60, 5, 300, "dead", 30, true, 0},
         "the minimum backoff (s) is 10, wanted 5; the maximum backoff (s) is 600, wanted 300"},
        {{"tasks", 60, 0, 0, "dead", 30, true, 0}, "the retry policy is set, wanted unset"},
        {{"tasks", 60, 10, 600, NULL, 0, true, 0}, "the dead-letter topic is projects/p/topics/dead, wanted unset"},
        {{"tasks", 60, 10, 600, "dead", 5, true, 0}, "the number of delivery attempts is 30, wanted 5"},
        {{"tasks", 60, 10, 600, "dead", 30, true, 86400}, "the retention (s) is 604800, wanted 86400"},
    };
    struct fake *f = *state;
    struct error err = ERROR_INIT;
    bool created;
    char *difference = NULL;
    assert_true(pubsub_ensure_subscription(f->client, "live", &options, &created, &difference, &err));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(pubsub_ensure_subscription(f->client, "live", &cases[i].wanted, &created, &difference, &err));
        assert_non_null(difference);
        assert_string_equal(difference, cases[i].difference);
        free(difference);
    }
    f->subscription->enable_message_ordering = true;
    f->subscription->enable_exactly_once_delivery = true;
    f->subscription->expiration_policy->ttl = xmalloc(sizeof(Google__Protobuf__Duration));
    google__protobuf__duration__init(f->subscription->expiration_policy->ttl);
    assert_true(pubsub_ensure_subscription(f->client, "live", &options, &created, &difference, &err));
    assert_string_equal(difference, "the expiration is set, wanted never; message ordering is set, wanted unset; "
                                    "exactly-once delivery is set, wanted unset");
    free(difference);
    assert_int_equal(fake_read(f, &f->created), 1);
}

static void a_refusal_names_what_it_was_about(void **state)
{
    struct fake *f = *state;
    struct error err = ERROR_INIT;
    bool flag;
    char *difference;
    fake_set_fault(f, &f->other, GRPC_STATUS_PERMISSION_DENIED, -1);
    assert_false(pubsub_ensure_topic(f->client, "tasks", &flag, &err));
    assert_string_equal(err.message, "topic \"tasks\": cannot call \"google.pubsub.v1.Publisher/GetTopic\": "
                                     "permission_denied: as the test wishes");
    assert_false(pubsub_ensure_subscription(f->client, "live", &options, &flag, &difference, &err));
    assert_string_equal(err.code, "permission_denied");
    assert_false(pubsub_subscription_exists(f->client, "live", &flag, &err));
    fake_set_fault(f, &f->other, GRPC_STATUS_UNAVAILABLE, 2);
    assert_true(pubsub_ensure_topic(f->client, "tasks", &flag, &err));
}

static void a_project_is_needed(void **state)
{
    struct fake *f = *state;
    struct error err = ERROR_INIT;
    assert_null(pubsub_client_new("", "127.0.0.1:1", f->none, &err));
    assert_string_equal(err.message, "cannot use Pub/Sub without a project id");
    assert_null(pubsub_client_new("p", "pubsub.example.com:80", f->none, &err));
    assert_string_equal(err.code, "grpc_plaintext");
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    setenv("ST_CLOCK_SCALE", "20", 1);
    const struct CMUnitTest tests[] = {
        CASE(a_topic_is_made_once),          CASE(a_subscription_is_made_as_asked),
        CASE(differences_are_told_and_left), CASE(a_refusal_names_what_it_was_about),
        CASE(a_project_is_needed),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    grpc_global_release();
    return failed;
}
