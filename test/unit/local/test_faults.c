/* The fault bench by itself: which requests a rule strikes, what is counted, and how one request is held. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "rpc_fixture.h"

enum { SOON_REAL_MS = 20000 };

static int set_up(void **state)
{
    *state = faults_new();
    return 0;
}

static int tear_down(void **state)
{
    faults_stop(*state);
    faults_free(*state);
    return 0;
}

/* ---- Helpers ---------------------------------------------------------------------------------------------------- */

static struct json_object *parse(const char *text)
{
    struct error err = ERROR_INIT;
    struct json_object *json = json_parse(slice_str(text), "test", &err);
    if (!json)
        fail_msg("%s: %s", text, err.message);
    return json;
}

static void refused(struct faults *faults, const char *rule, const char *says)
{
    struct error err = ERROR_INIT;
    struct json_object *json = parse(rule);
    int64_t id;
    assert_false(faults_add(faults, json, &id, &err));
    if (!strstr(err.message, says))
        fail_msg("%s: \"%s\" does not say \"%s\"", rule, err.message, says);
    json_object_put(json);
}

static struct fault_ticket ask(struct faults *faults, const char *method, bool effect)
{
    const struct fault_event event = {
        .method = method, .target = SLICE_LIT("/tenant/7/jobs"), .body = SLICE_LIT("{\"job\":9}"), .effect = effect};
    struct fault_ticket ticket;
    faults_request(faults, &event, &ticket);
    return ticket;
}

static void assert_says(void (*show)(struct faults *faults, struct buf *out), struct faults *faults, const char *text)
{
    struct buf out = BUF_INIT;
    show(faults, &out);
    if (!strstr(buf_cstr(&out), text))
        fail_msg("\"%s\" is not in %s", text, buf_cstr(&out));
    buf_release(&out);
}

static void show_requests(struct faults *faults, struct buf *out)
{
    faults_requests_json(faults, 0, out);
}

static void show_hold(struct faults *faults, struct buf *out)
{
    faults_hold_json(faults, 0, out);
}

static void wait_for_hold(struct faults *faults, struct buf *out)
{
    faults_hold_json(faults, SOON_REAL_MS, out);
}

/* ---- Rules ------------------------------------------------------------------------------------------------------ */

static void patterns_match_methods(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *method;
        bool matches;
    } cases[] = {
        {"*", "pubsub.Publish", true},
        {"pubsub.Publish", "pubsub.Publish", true},
        {"pubsub.Publish", "pubsub.PublishX", false},
        {"bigquery.*", "bigquery.jobs.get", true},
        {"bigquery.jobs.*", "bigquery.tables.get", false},
        {"*,!bigquery.*", "bigquery.jobs.get", false},
        {"*, !bigquery.*", "write.AppendRows", true},
        {"!pubsub.*", "write.AppendRows", false},
        {"write.*,pubsub.Ack*", "pubsub.Acknowledge", true},
        {"", "pubsub.Publish", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (fault_pattern_matches(cases[i].pattern, cases[i].method) != cases[i].matches)
            fail_msg("\"%s\" and \"%s\"", cases[i].pattern, cases[i].method);
}

static void what_has_no_meaning_is_refused(void **state)
{
    refused(*state, "{\"kind\":\"plague\"}", "no");
    refused(*state, "{\"kind\":\"delay\",\"skp\":1}", "skp");
    refused(*state, "{\"kind\":\"delay\",\"delayMs\":-1}", "delayMs");
    refused(*state, "{\"kind\":\"status\",\"status\":99}", "200 to 599");
    refused(*state, "{\"kind\":\"status\",\"code\":\"BORED\"}", "BORED");
    refused(*state, "{\"kind\":\"status\",\"body\":\"xml\"}", "html");
    refused(*state, "{\"kind\":\"delay\",\"on\":\"response\"}", "on responses");
    refused(*state, "{\"kind\":\"cut_after\",\"on\":\"response\"}", "on responses");
    refused(*state, "{\"kind\":\"cut_before\",\"on\":\"response\",\"delayMs\":5}", "delay responses");
    refused(*state, "{\"kind\":\"cut_before\",\"only\":\"reads\"}", "effects");
    refused(*state, "[1]", "an object");
}

static void rules_are_a_queue(void **state)
{
    struct faults *faults = *state;
    arm(faults, "{\"method\":\"a.*\",\"kind\":\"status\",\"status\":503,\"skip\":1,\"count\":2}");
    arm(faults, "{\"method\":\"a.x\",\"kind\":\"cut_before\"}");
    static const struct {
        const char *method;
        enum fault_kind kind;
    } cases[] = {
        {"b.x", FAULT_NONE},   {"a.y", FAULT_NONE}, {"a.x", FAULT_STATUS},
        {"a.y", FAULT_STATUS}, {"a.x", FAULT_CUT},  {"a.x", FAULT_NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fault_ticket ticket = ask(faults, cases[i].method, false);
        assert_int_equal(ticket.number, i + 1);
        if (ticket.fault.kind != cases[i].kind)
            fail_msg("request %zu: kind %d, expected %d", i + 1, ticket.fault.kind, cases[i].kind);
    }
    assert_says(faults_json, faults, "{\"faults\":[],\"firedCount\":3,\"fired\":[{\"id\":1,\"kind\":\"status\",");
    assert_says(faults_json, faults, "{\"id\":2,\"kind\":\"cut_before\",\"method\":\"a.x\",\"number\":5}");
}

static void rules_see_targets_bodies_and_effects(void **state)
{
    struct faults *faults = *state;
    arm(faults, "{\"path\":\"/invoices\",\"kind\":\"cut_before\"}");
    arm(faults, "{\"path\":\"\\\"job\\\":9\",\"only\":\"effects\",\"kind\":\"cut_after\"}");
    assert_int_equal(ask(faults, "a", false).fault.kind, FAULT_NONE);
    struct fault_ticket ticket = ask(faults, "a", true);
    assert_int_equal(ticket.fault.kind, FAULT_CUT);
    assert_true(ticket.fault.after);
    assert_true(fault_waits_for_effect(&ticket));
}

static void one_failure_in_two_worlds(void **state)
{
    static const struct {
        const char *rule;
        int http, grpc;
    } cases[] = {
        {"{\"kind\":\"status\"}", 503, 14},
        {"{\"kind\":\"status\",\"status\":429}", 429, 8},
        {"{\"kind\":\"status\",\"status\":502}", 502, 14},
        {"{\"kind\":\"status\",\"code\":\"NOT_FOUND\"}", 404, 5},
        {"{\"kind\":\"status\",\"code\":10}", 409, 10},
        {"{\"kind\":\"status\",\"code\":\"INTERNAL\",\"status\":418}", 418, 13},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        arm(*state, cases[i].rule);
        struct fault fault = ask(*state, "m", false).fault;
        if (fault.http_status != cases[i].http || fault.grpc_code != cases[i].grpc)
            fail_msg("%s: %d and %d", cases[i].rule, fault.http_status, fault.grpc_code);
    }
}

static void responses_and_points_are_apart_from_requests(void **state)
{
    struct faults *faults = *state;
    const struct fault_event event = {.method = "s.M"};
    struct fault fault;
    arm(faults, "{\"kind\":\"silence\",\"on\":\"response\"}");
    arm(faults, "{\"kind\":\"duplicate\",\"on\":\"point\",\"delayMs\":5}");
    assert_int_equal(ask(faults, "s.M", true).fault.kind, FAULT_NONE);
    assert_true(faults_take(faults, FAULT_ON_RESPONSE, &event, &fault));
    assert_int_equal(fault.kind, FAULT_SILENCE);
    assert_false(faults_take(faults, FAULT_ON_RESPONSE, &event, &fault));
    assert_true(faults_point(faults, &event, &fault));
    assert_int_equal(fault.delay_ms, 5);
    assert_says(show_requests, faults, "\"s.M\":{\"seen\":1,\"effects\":1,\"failed\":0,\"responses\":2}");
}

static void the_queue_is_bounded(void **state)
{
    for (int i = 0; i < FAULTS_MAX_RULES; i++)
        arm(*state, "{\"kind\":\"delay\"}");
    refused(*state, "{\"kind\":\"delay\"}", "more than 1000");
    faults_clear(*state);
    arm(*state, "{\"kind\":\"delay\",\"delayMs\":0}");
}

/* ---- Counters --------------------------------------------------------------------------------------------------- */

static void requests_are_numbered_and_counted(void **state)
{
    struct faults *faults = *state;
    arm(faults, "{\"method\":\"b\",\"kind\":\"garbage\"}");
    ask(faults, "a", true);
    ask(faults, "b", false);
    ask(faults, "a", false);
    assert_says(show_requests, faults,
                "{\"total\":3,\"effects\":1,\"methods\":{\"a\":{\"seen\":2,\"effects\":1,\"failed\":0");
    assert_says(show_requests, faults, "\"b\":{\"seen\":1,\"effects\":0,\"failed\":1");
    assert_says(show_requests, faults, "{\"number\":2,\"method\":\"b\",\"effect\":false,\"failed\":true}");
    faults_requests_reset(faults);
    assert_says(show_requests, faults, "{\"total\":0,\"effects\":0,\"methods\":{},\"log\":[]}");
    assert_int_equal(ask(faults, "a", false).number, 1);
}

static void counters_are_bounded(void **state)
{
    struct faults *faults = *state;
    char name[32];
    for (int i = 0; i < FAULTS_MAX_LOG + 5; i++) {
        snprintf(name, sizeof name, "m%d", i % 1000);
        ask(faults, name, false);
    }
    struct buf out = BUF_INIT;
    faults_requests_json(faults, 0, &out);
    struct json_object *json = parse(buf_cstr(&out));
    assert_int_equal(json_object_object_length(json_at(json, "methods")), FAULTS_MAX_METHODS);
    assert_true(json_int_at(json, "methods.other.seen", 0) > 1000);
    assert_int_equal(json_object_array_length(json_at(json, "log")), FAULTS_MAX_LOG);
    assert_int_equal(json_int_at(json_object_array_get_idx(json_at(json, "log"), 0), "number", 0), 6);
    json_object_put(json);
    buf_release(&out);
}

/* ---- Holds ------------------------------------------------------------------------------------------------------ */

struct walker { /* a thread that sends one request through the bench */
    struct faults *faults;
    pthread_t thread;
    struct fault_ticket ticket;
    atomic_int step; /* 1: before the effect is over, 2: after it */
};

static void *walk(void *user)
{
    struct walker *walker = user;
    walker->ticket = ask(walker->faults, "w", true);
    atomic_store(&walker->step, 1);
    faults_effect(walker->faults, &walker->ticket);
    atomic_store(&walker->step, 2);
    return NULL;
}

static void hold(struct faults *faults, const char *text)
{
    struct error err = ERROR_INIT;
    struct json_object *json = parse(text);
    if (!faults_hold(faults, json, &err))
        fail_msg("%s: %s", text, err.message);
    json_object_put(json);
}

static void one_request_is_held(void **state)
{
    static const struct {
        const char *hold;
        int step;          /* how far it is while it is held */
        bool cut;          /* how it is let go */
        bool struck_after; /* what becomes of it then */
    } cases[] = {
        {"{\"number\":2}", 0, false, false},
        {"{\"method\":\"w\",\"nth\":1}", 0, true, false},
        {"{\"number\":2,\"where\":\"after\"}", 1, false, false},
        {"{\"method\":\"*\",\"only\":\"effects\",\"where\":\"after\"}", 1, true, true},
    };
    struct faults *faults = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct walker walker = {.faults = faults};
        faults_requests_reset(faults);
        hold(faults, cases[i].hold);
        ask(faults, "other", false);
        assert_says(show_hold, faults, "{\"armed\":true,\"arrived\":false");
        assert_int_equal(pthread_create(&walker.thread, NULL, walk, &walker), 0);
        assert_says(wait_for_hold, faults, "\"arrived\":true");
        assert_says(show_hold, faults, "\"number\":2,\"method\":\"w\"");
        assert_int_equal(atomic_load(&walker.step), cases[i].step);
        ask(faults, "w", true); /* the others go on */
        faults_release(faults, cases[i].cut);
        pthread_join(walker.thread, NULL);
        assert_int_equal(walker.ticket.fault.kind, cases[i].cut ? FAULT_CUT : FAULT_NONE);
        assert_int_equal(walker.ticket.fault.after, cases[i].struck_after);
        assert_says(show_hold, faults, "{\"armed\":false");
    }
}

static void a_stop_lets_all_go(void **state)
{
    struct faults *faults = *state;
    struct walker walkers[2] = {{.faults = faults}, {.faults = faults}};
    hold(faults, "{\"method\":\"w\"}");
    arm(faults, "{\"method\":\"w\",\"kind\":\"delay\",\"delayMs\":86400000,\"skip\":1}");
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&walkers[i].thread, NULL, walk, &walkers[i]), 0);
    assert_says(wait_for_hold, faults, "\"arrived\":true");
    faults_stop(faults);
    for (size_t i = 0; i < 2; i++)
        pthread_join(walkers[i].thread, NULL);
    faults_keep_silent(faults); /* comes back at once */
}

static void *stay_silent(void *user)
{
    faults_keep_silent(user);
    return NULL;
}

static void a_clear_ends_a_silence_and_a_delay(void **state)
{
    struct faults *faults = *state;
    struct walker walker = {.faults = faults};
    pthread_t silent;
    struct buf out = BUF_INIT;
    arm(faults, "{\"method\":\"w\",\"kind\":\"delay\",\"delayMs\":86400000}");
    assert_int_equal(pthread_create(&walker.thread, NULL, walk, &walker), 0);
    assert_int_equal(pthread_create(&silent, NULL, stay_silent, faults), 0);
    do { /* until it has met its rule */
        buf_clear(&out);
        faults_json(faults, &out);
    } while (!strstr(buf_cstr(&out), "\"firedCount\":1"));
    buf_release(&out);
    faults_clear(faults);
    pthread_join(walker.thread, NULL);
    faults_stop(faults); /* the silence may have begun after the clear */
    pthread_join(silent, NULL);
}

static void bad_holds_are_refused(void **state)
{
    static const char *const cases[] = {"{\"number\":-1}", "{\"nth\":0}", "{\"where\":\"during\"}", "{\"nht\":1}"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        struct json_object *json = parse(cases[i]);
        assert_false(faults_hold(*state, json, &err));
        json_object_put(json);
    }
    assert_says(show_hold, *state, "{\"armed\":false");
}

/* ---- The rest --------------------------------------------------------------------------------------------------- */

static void switches_have_names_and_bounds(void **state)
{
    struct faults *faults = *state;
    struct error err = ERROR_INIT;
    struct json_object *good = parse("{\"youngTableMs\":60000,\"jobsHiddenLooks\":2}");
    assert_true(faults_set_hazards(faults, good, &err));
    assert_int_equal(faults_hazard(faults, HAZARD_YOUNG_TABLE_MS), 60000);
    assert_int_equal(faults_hazard(faults, HAZARD_APPEND_IDLE_MS), 600000);
    assert_int_equal(faults_hazard(NULL, HAZARD_APPEND_IDLE_MS), 600000);
    struct json_object *bad = parse("{\"jobsHiddenLooks\":3,\"appendIdleMs\":-1}");
    assert_false(faults_set_hazards(faults, bad, &err));
    assert_int_equal(faults_hazard(faults, HAZARD_JOBS_HIDDEN_LOOKS), 2);
    struct json_object *unknown = parse("{\"oldTableMs\":1}");
    assert_false(faults_set_hazards(faults, unknown, &err));
    faults_reset_hazards(faults);
    assert_int_equal(faults_hazard(faults, HAZARD_YOUNG_TABLE_MS), 0);
    json_object_put(good);
    json_object_put(bad);
    json_object_put(unknown);
}

static int count_streams(void *user, const char *pattern, const char *path, enum fault_stream_act act, int grpc_code)
{
    assert_string_equal(pattern, "s.*");
    assert_null(path);
    assert_int_equal(act, FAULT_STREAMS_SILENCE);
    assert_int_equal(grpc_code, 14);
    return ++*(int *)user;
}

static void servers_are_told_about_streams(void **state)
{
    int first = 0, second = 10;
    faults_watch_streams(*state, count_streams, &first);
    faults_watch_streams(*state, count_streams, &second);
    assert_int_equal(faults_act_on_streams(*state, "s.*", NULL, FAULT_STREAMS_SILENCE, 14), 1 + 11);
    faults_forget_streams(*state, &first);
    assert_int_equal(faults_act_on_streams(*state, "s.*", NULL, FAULT_STREAMS_SILENCE, 14), 12);
}

static void no_bench_does_nothing(void **state)
{
    (void)state;
    struct fault fault;
    const struct fault_event event = {.method = "m"};
    assert_int_equal(ask(NULL, "m", true).number, 0);
    assert_false(faults_take(NULL, FAULT_ON_RESPONSE, &event, &fault));
    assert_false(faults_point(NULL, &event, &fault));
    faults_stop(NULL);
    faults_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(patterns_match_methods),
        TEST(what_has_no_meaning_is_refused),
        TEST(rules_are_a_queue),
        TEST(rules_see_targets_bodies_and_effects),
        TEST(one_failure_in_two_worlds),
        TEST(responses_and_points_are_apart_from_requests),
        TEST(the_queue_is_bounded),
        TEST(requests_are_numbered_and_counted),
        TEST(counters_are_bounded),
        TEST(one_request_is_held),
        TEST(a_stop_lets_all_go),
        TEST(a_clear_ends_a_silence_and_a_delay),
        TEST(bad_holds_are_refused),
        TEST(switches_have_names_and_bounds),
        TEST(servers_are_told_about_streams),
        TEST(no_bench_does_nothing),
    };
    return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
