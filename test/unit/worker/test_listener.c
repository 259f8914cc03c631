/* The worker's own HTTP server: what it says in every state that a worker can be in. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/metrics.h"
#include "listener.h"

static struct worker_view seen; /* what the worker looks like */
static struct settings settings = {.worker_bind = "127.0.0.1"};
static struct entity entity = {.name = "jobs"};

struct fixture {
    struct google_credentials *creds;
    struct services services;
    struct run_env env;
    struct listener *listener;
    struct http_client *client;
};

static void look(void *user, struct worker_view *ret)
{
    (void)user;
    *ret = seen;
}

/* A listening socket on a free port, as somebody else's. */
static int take_port(uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct error err = ERROR_INIT;
    uint16_t port;
    http_global_init();
    grpc_global_init();
    f->creds = google_credentials_none();
    const struct bq_writer_options writer = {.project = "p", .target = "127.0.0.1:1", .creds = f->creds};
    f->services = (struct services){.settings = &settings, .writer = bq_writer_new(&writer, &err)};
    f->env = (struct run_env){.services = &f->services, .settings = &settings, .watermarks = sync_cache_new(1, 1)};
    seen = (struct worker_view){.env = &f->env, .slots = 8, .slots_busy = 3, .warehouse_answered = true};
    for (int lane = 0; lane < WORKER_LANES; lane++)
        seen.lanes[lane].subscribed = seen.lanes[lane].open = true;
    close(take_port(&port));
    settings.worker_port = port;
    const struct listener_options options = {&settings, look, NULL};
    assert_true(listener_start(&options, &f->listener, &err));
    f->client = http_client_new();
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    http_client_free(f->client);
    listener_stop(f->listener);
    sync_cache_free(f->env.watermarks);
    bq_writer_free(f->services.writer);
    google_credentials_free(f->creds);
    grpc_global_release();
    http_global_release();
    free(f);
    return 0;
}

/* The status; the body in *ret. */
static int get(struct fixture *f, const char *path, struct buf *ret)
{
    char url[128];
    struct error err = ERROR_INIT;
    struct http_response response = HTTP_RESPONSE_INIT;
    snprintf(url, sizeof url, "http://127.0.0.1:%lld%s", (long long)settings.worker_port, path);
    const struct http_request request = {.method = "GET", .url = url};
    if (!http_perform(f->client, &request, &response, &err))
        fail_msg("%s", err.message);
    buf_clear(ret);
    buf_append_slice(ret, buf_slice(&response.body));
    int status = response.status;
    http_response_release(&response);
    return status;
}

static void ready_names_each_part_that_is_not(void **state)
{
    static const struct {
        bool live, backfill, warehouse, stopping;
        int status;
        const char *body;
    } cases[] = {
        {true, true, true, false, 200, "true,\"backfillStream\":true,\"warehouse\":true,\"running\":true"},
        {false, true, true, false, 503, "false,\"backfillStream\":true,\"warehouse\":true,\"running\":true"},
        {true, false, true, false, 503, "true,\"backfillStream\":false,\"warehouse\":true,\"running\":true"},
        {true, true, false, false, 503, "true,\"backfillStream\":true,\"warehouse\":false,\"running\":true"},
        {true, true, true, true, 503, "true,\"backfillStream\":true,\"warehouse\":true,\"running\":false"},
    };
    struct buf body = BUF_INIT;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char expected[256];
        seen.lanes[TASK_LANE_LIVE].open = cases[i].live;
        seen.lanes[TASK_LANE_BACKFILL].open = cases[i].backfill;
        seen.warehouse_answered = cases[i].warehouse;
        seen.stopping = cases[i].stopping;
        snprintf(expected, sizeof expected, "{\"status\":\"%s\",\"checks\":{\"liveStream\":%s}}",
                 cases[i].status == 200 ? "ready" : "not ready", cases[i].body);
        assert_int_equal(get(*state, "/ready", &body), cases[i].status);
        assert_string_equal(body.ptr, expected);
        assert_int_equal(get(*state, "/health", &body), 200); /* none of it calls for a restart */
    }
    buf_release(&body);
}

static void only_what_cannot_mend_itself_is_unhealthy(void **state)
{
    struct buf body = BUF_INIT;
    error_set(&seen.failure, ERROR_PERMANENT, "not_found", "no subscription \"x\"");
    assert_int_equal(get(*state, "/health", &body), 503);
    assert_non_null(
        strstr(body.ptr, "{\"status\":\"unhealthy\",\"service\":\"st-v2-ingestor\",\"version\":\"2.0.0\","));
    assert_non_null(strstr(body.ptr, ",\"reason\":\"no subscription \\\"x\\\"\"}"));
    seen.failure = ERROR_INIT;
    assert_int_equal(get(*state, "/health", &body), 200);
    assert_null(strstr(body.ptr, "reason"));
    buf_release(&body);
}

static void gauges_show_the_look_of_the_moment(void **state)
{
    struct fixture *f = *state;
    struct buf body = BUF_INIT;
    seen.lanes[TASK_LANE_LIVE].queued = 5;
    seen.lanes[TASK_LANE_BACKFILL].stats = (struct pubsub_stats){.reopened = 2, .extensions = 40, .lost_leases = 1};
    sync_cache_put(f->env.watermarks, 7, &entity, 1761040800123000, "");
    assert_int_equal(get(f, "/metrics", &body), 200);
    static const char *const expected[] = {
        "\nst_ingestor_queue_messages{lane=\"live\"} 5\n",
        "\nst_ingestor_slots 8\n",
        "\nst_ingestor_slots_busy 3\n",
        "\nst_ingestor_pubsub_stream_open{lane=\"backfill\"} 1\n",
        "\nst_ingestor_pubsub_stream_reopenings_total{lane=\"backfill\"} 2\n",
        "\nst_ingestor_lease_extensions_total{lane=\"backfill\"} 40\n",
        "\nst_ingestor_lease_losses_total{lane=\"backfill\"} 1\n",
        "\nst_ingestor_watermark_timestamp_seconds{tenant=\"7\",entity=\"jobs\"} 1761040800.123\n",
        "\nst_ingestor_watermark_lag_seconds{tenant=\"7\",entity=\"jobs\"} ",
        "\nst_ingestor_bigquery_append_in_flight_bytes 0\n",
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        if (!strstr(body.ptr, expected[i]))
            fail_msg("not there: %s", expected[i]);
    buf_release(&body);
}

static void a_stopped_listener_leaves_nothing_behind(void **state)
{
    struct fixture *f = *state;
    struct buf out = BUF_INIT;
    char url[64];
    struct error err = ERROR_INIT;
    struct http_response response = HTTP_RESPONSE_INIT;
    assert_int_equal(get(f, "/health", &out), 200);
    listener_stop(f->listener);
    f->listener = NULL;
    snprintf(url, sizeof url, "http://127.0.0.1:%lld/health", (long long)settings.worker_port);
    const struct http_request request = {.method = "GET", .url = url};
    assert_false(http_perform(f->client, &request, &response, &err)); /* nobody listens */
    http_response_release(&response);
    buf_clear(&out);
    metrics_render(&out); /* its collector is gone */
    assert_null(strstr(out.ptr, "st_ingestor_slots_busy 3"));
    buf_release(&out);
}

static void a_busy_port_and_a_bad_address_are_told(void **state)
{
    struct error err = ERROR_INIT;
    struct listener *listener;
    uint16_t port;
    int64_t before = settings.worker_port;
    int fd = take_port(&port);
    char number[16];
    (void)state;
    snprintf(number, sizeof number, "%u", port);
    settings.worker_port = port;
    const struct listener_options options = {&settings, look, NULL};
    assert_false(listener_start(&options, &listener, &err));
    assert_null(listener);
    assert_non_null(strstr(err.message, "WORKER_PORT"));
    assert_non_null(strstr(err.message, number));
    assert_non_null(strstr(err.message, "Address already in use"));
    settings.worker_bind = "everywhere";
    assert_false(listener_start(&options, &listener, &err));
    assert_non_null(strstr(err.message, "\"everywhere\": not an IP address"));
    settings.worker_bind = "127.0.0.1";
    settings.worker_port = 0;
    assert_true(listener_start(&options, &listener, &err));
    assert_null(listener);
    settings.worker_port = before;
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ready_names_each_part_that_is_not, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_what_cannot_mend_itself_is_unhealthy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gauges_show_the_look_of_the_moment, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stopped_listener_leaves_nothing_behind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_busy_port_and_a_bad_address_are_told, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
