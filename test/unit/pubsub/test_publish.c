/* Publishing: what is refused before anything is sent, how requests are split, what is retried and what a failure
 * tells. */
#include "fake_pubsub.h"

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

struct ids {
    size_t count;
    bool in_order;
};

static void note_id(void *user, size_t index, const char *id)
{
    struct ids *ids = user;
    char want[32];
    snprintf(want, sizeof want, "%zu", ids->count);
    ids->in_order = ids->in_order && index == ids->count && strcmp(id, want) == 0;
    ids->count++;
}

static struct pubsub_message *messages_of(size_t count, struct slice data)
{
    struct pubsub_message *messages = xcalloc(count, sizeof *messages);
    for (size_t i = 0; i < count; i++)
        messages[i].data = data;
    return messages;
}

static bool publish(struct fake *f, const struct pubsub_message *messages, size_t count, struct ids *ids,
                    size_t *ret_published, struct error *err)
{
    *ids = (struct ids){0, true};
    *err = ERROR_INIT;
    return pubsub_publish(f->client, "tasks", messages, count, note_id, ids, ret_published, NULL, err);
}

static void a_thousand_messages_go_in_one_request(void **state)
{
    struct fake *f = *state;
    struct pubsub_message *messages = messages_of(2500, SLICE_LIT("{}"));
    struct ids ids;
    struct error err;
    size_t published = 0;
    assert_true(publish(f, messages, 2500, &ids, &published, &err));
    assert_int_equal(published, 2500);
    assert_int_equal(ids.count, 2500);
    assert_true(ids.in_order);
    assert_int_equal(fake_read(f, &f->requests), 3);
    assert_int_equal(fake_read(f, &f->largest_request_messages), 1000);
    assert_string_equal(f->routing, "topic=projects%2Fp%2Ftopics%2Ftasks");
    free(messages);
}

static void no_request_is_larger_than_ten_megabytes(void **state)
{
    struct fake *f = *state;
    enum { BYTES = 3000000 };
    char *data = xcalloc(1, BYTES);
    struct pubsub_message *messages = messages_of(7, slice_of(data, BYTES));
    struct ids ids;
    struct error err;
    size_t published = 0;
    assert_true(publish(f, messages, 7, &ids, &published, &err));
    assert_int_equal(fake_read(f, &f->requests), 3);
    assert_true(f->largest_request_bytes <= 10000000);
    assert_true(f->largest_request_bytes > 9000000);
    assert_true(ids.in_order);
    free(messages);
    free(data);
}

static void a_bad_message_keeps_all_from_being_sent(void **state)
{
    static char big[PUBSUB_MAX_MESSAGE_BYTES + 1], key[258], value[1026];
    static struct pubsub_attribute many[PUBSUB_MAX_ATTRIBUTES + 1];
    memset(key, 'k', sizeof key - 1);
    memset(value, 'v', sizeof value - 1);
    for (size_t i = 0; i < sizeof many / sizeof many[0]; i++)
        many[i] = (struct pubsub_attribute){"k", "v"};
    const struct pubsub_attribute long_key = {key, ""}, no_key = {"", ""}, reserved = {"googclient", ""},
                                  long_value = {"k", value}, not_utf8 = {"k", "\xff"};
    const struct {
        struct pubsub_message message;
        const char *reason;
    } cases[] = {
        {{SLICE_NULL, NULL, 0}, "it has neither data nor attributes"},
        {{slice_of(big, sizeof big), NULL, 0}, "it is larger than 10 MB"},
        {{SLICE_NULL, many, sizeof many / sizeof many[0]}, "it has more than 100 attributes"},
        {{SLICE_NULL, &long_key, 1}, "an attribute key is empty or longer than 256 bytes"},
        {{SLICE_NULL, &no_key, 1}, "an attribute key is empty or longer than 256 bytes"},
        {{SLICE_NULL, &reserved, 1}, "an attribute key starts with \"goog\", which is reserved"},
        {{SLICE_NULL, &long_value, 1}, "an attribute value is longer than 1024 bytes"},
        {{SLICE_NULL, &not_utf8, 1}, "an attribute is not UTF-8"},
    };
    struct fake *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct pubsub_message messages[] = {{SLICE_LIT("good"), NULL, 0}, cases[i].message};
        struct ids ids;
        struct error err;
        size_t published = 9;
        char want[200];
        snprintf(want, sizeof want, "cannot publish message 1: %s", cases[i].reason);
        assert_false(publish(f, messages, 2, &ids, &published, &err));
        assert_string_equal(err.message, want);
        assert_int_equal(err.class, ERROR_PERMANENT);
        assert_int_equal(published, 0);
    }
    assert_int_equal(fake_read(f, &f->publish.calls), 0);
}

static void transient_failures_are_retried(void **state)
{
    static const int statuses[] = {
        GRPC_STATUS_ABORTED, GRPC_STATUS_CANCELLED,   GRPC_STATUS_INTERNAL,         GRPC_STATUS_RESOURCE_EXHAUSTED,
        GRPC_STATUS_UNKNOWN, GRPC_STATUS_UNAVAILABLE, GRPC_STATUS_DEADLINE_EXCEEDED};
    struct fake *f = *state;
    const struct pubsub_message message = {SLICE_LIT("x"), NULL, 0};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        struct ids ids;
        struct error err;
        size_t published = 0;
        int before = fake_read(f, &f->publish.calls);
        fake_set_fault(f, &f->publish, statuses[i], 2);
        f->published = 0;
        assert_true(publish(f, &message, 1, &ids, &published, &err));
        assert_int_equal(fake_read(f, &f->publish.calls) - before, 3);
        assert_int_equal(published, 1);
    }
}

static void permanent_failures_are_not(void **state)
{
    struct fake *f = *state;
    const struct pubsub_message message = {SLICE_LIT("x"), NULL, 0};
    struct ids ids;
    struct error err;
    size_t published = 9;
    fake_set_fault(f, &f->publish, GRPC_STATUS_NOT_FOUND, -1);
    assert_false(publish(f, &message, 1, &ids, &published, &err));
    assert_string_equal(err.code, "not_found");
    assert_int_equal(err.effect, EFFECT_NONE);
    assert_int_equal(fake_read(f, &f->publish.calls), 1);
    assert_int_equal(published, 0);
}

static void an_outage_ends_after_a_minute_and_may_have_published(void **state)
{
    struct fake *f = *state;
    const struct pubsub_message message = {SLICE_LIT("x"), NULL, 0};
    struct ids ids;
    struct error err;
    size_t published = 9;
    fake_set_fault(f, &f->publish, GRPC_STATUS_UNAVAILABLE, -1);
    int64_t started_ms = clock_mono_ms();
    assert_false(publish(f, &message, 1, &ids, &published, &err));
    assert_string_equal(err.code, "unavailable");
    assert_int_equal(err.effect, EFFECT_MAYBE);
    assert_in_range(clock_mono_ms() - started_ms, 15000, 75000);
    assert_in_range(fake_read(f, &f->publish.calls), 6, 14);
}

static void a_cancelled_publish_ends_at_once(void **state)
{
    struct fake *f = *state;
    const struct pubsub_message message = {SLICE_LIT("x"), NULL, 0};
    struct error err = ERROR_INIT;
    size_t published = 9;
    struct cancel *cancel = cancel_new(NULL);
    cancel_set(cancel, "shutdown");
    assert_false(pubsub_publish(f->client, "tasks", &message, 1, NULL, NULL, &published, cancel, &err));
    assert_int_equal(err.class, ERROR_CANCELLED);
    assert_int_equal(fake_read(f, &f->publish.calls), 0);
    cancel_free(cancel);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    setenv("ST_CLOCK_SCALE", "20", 1);
    const struct CMUnitTest tests[] = {
        CASE(a_thousand_messages_go_in_one_request),
        CASE(no_request_is_larger_than_ten_megabytes),
        CASE(a_bad_message_keeps_all_from_being_sent),
        CASE(transient_failures_are_retried),
        CASE(permanent_failures_are_not),
        CASE(an_outage_ends_after_a_minute_and_may_have_published),
        CASE(a_cancelled_publish_ends_at_once),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    grpc_global_release();
    return failed;
}
