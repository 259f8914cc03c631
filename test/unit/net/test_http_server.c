/* test_http_server.c - the server on a real socket: requests from libcurl (net/http.h) and raw ones. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "net/http.h"
#include "net/http_server.h"

enum { MAX_BODY = 4096, SLOW_CALLS = 8 };

struct fixture {
    struct http_server *server;
    struct http_client *client;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int inside; /* handlers in /slow */
    bool release;
};

static void append_pair(void *user, const char *name, const char *value)
{
    buf_printf(user, "%s=%s;", name, value);
}

static void describe(struct http_exchange *x)
{
    struct buf out = BUF_INIT;
    const char *header = http_exchange_header(x, "x-TEST");
    const char *a = http_exchange_query(x, "a");
    buf_printf(&out, "%s|%s|%s|", http_exchange_method(x), http_exchange_path(x), http_exchange_raw_path(x));
    http_exchange_each_query(x, append_pair, &out);
    buf_printf(&out, "|%s|%s|%s|%.*s", a ? a : "-", header ? header : "-",
               http_exchange_peer_is_loopback(x) ? "loopback" : "far", SLICE_ARG(http_exchange_body(x)));
    http_exchange_add_header(x, "X-Reply", "yes");
    http_exchange_reply_buf(x, 201, "text/plain", &out);
}

static void wait_for_release(struct fixture *f)
{
    pthread_mutex_lock(&f->mutex);
    f->inside++;
    pthread_cond_broadcast(&f->changed);
    while (!f->release)
        pthread_cond_wait(&f->changed, &f->mutex);
    pthread_mutex_unlock(&f->mutex);
}

static void handle(void *user, struct http_exchange *x)
{
    struct fixture *f = user;
    const char *path = http_exchange_path(x);
    if (strcmp(path, "/slow") == 0) {
        wait_for_release(f);
        http_exchange_reply(x, 200, "text/plain", SLICE_LIT("slow"));
    } else if (strcmp(path, "/cut") == 0) {
        http_exchange_reply_cut(x, 200, "text/plain", SLICE_LIT("0123456789"), 4);
    } else if (strcmp(path, "/abort") == 0) {
        http_exchange_abort(x);
    } else if (strcmp(path, "/silent") != 0) {
        describe(x);
    }
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct http_server_options options = {
        .handler_threads = SLOW_CALLS, .max_body_bytes = MAX_BODY, .handler = handle, .user = f};
    struct error err = ERROR_INIT;
    pthread_mutex_init(&f->mutex, NULL);
    pthread_cond_init(&f->changed, NULL);
    f->server = http_server_start(&options, &err);
    assert_non_null(f->server);
    f->client = http_client_new();
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    http_client_free(f->client);
    http_server_stop(f->server, 1000);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->mutex);
    free(f);
    return 0;
}

static bool call(struct fixture *f, struct http_client *client, const char *method, const char *target,
                 struct slice body, struct http_response *response, struct error *err)
{
    char *url = xasprintf("http://127.0.0.1:%u%s", http_server_port(f->server), target);
    struct http_request request = {.method = method, .url = url, .body = body};
    request.headers[request.header_count++] = (struct http_header){"X-Test", SLICE_LIT("here")};
    bool ok = http_perform(client, &request, response, err);
    free(url);
    return ok;
}

static void test_request_is_seen_whole(void **state)
{
    static const struct {
        const char *method, *target, *body, *seen;
    } cases[] = {
        {"GET", "/a/b", "", "GET|/a/b|/a/b||-|here|loopback|"},
        {"GET", "/p%20q%2Fr?a=1&b=x+y&a=%32&c", "", "GET|/p q/r|/p%20q%2Fr|a=1;b=x y;a=2;c=;|1|here|loopback|"},
        {"POST", "/x?a=", "hello", "POST|/x|/x|a=;||here|loopback|hello"},
        {"PATCH", "/x", "{}", "PATCH|/x|/x||-|here|loopback|{}"},
        {"DELETE", "/x+y", "", "DELETE|/x+y|/x+y||-|here|loopback|"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct http_response response = HTTP_RESPONSE_INIT;
        struct error err = ERROR_INIT;
        struct slice body = cases[i].body[0] ? slice_str(cases[i].body) : SLICE_NULL;
        assert_true(call(f, f->client, cases[i].method, cases[i].target, body, &response, &err));
        assert_int_equal(response.status, 201);
        assert_string_equal(buf_cstr(&response.body), cases[i].seen);
        http_response_release(&response);
    }
}

static void test_statuses_made_by_the_server(void **state)
{
    static const struct {
        const char *target;
        size_t body_bytes;
        int status;
    } cases[] = {
        {"/silent", 0, 500},           {"/bad%0", 0, 400},          {"/bad%zz", 0, 400},
        {"/nul%00x", 0, 400},          {"/q?a=%", 0, 400},          {"/big", MAX_BODY, 201},
        {"/big", MAX_BODY + 1, 413},   {"/big", 2 * MAX_BODY, 413}, {"/big", 64 * MAX_BODY, 413},
        {"/big", 512 * MAX_BODY, 413},
    };
    struct fixture *f = *state;
    char *bytes = xcalloc(512, MAX_BODY);
    memset(bytes, 'x', 512 * MAX_BODY);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct http_response response = HTTP_RESPONSE_INIT;
        struct error err = ERROR_INIT;
        struct slice body = cases[i].body_bytes ? slice_of(bytes, cases[i].body_bytes) : SLICE_NULL;
        assert_true(call(f, f->client, body.len ? "POST" : "GET", cases[i].target, body, &response, &err));
        assert_int_equal(response.status, cases[i].status);
        http_response_release(&response);
    }
    free(bytes);
}

/* A raw request; the whole answer until the server closes. */
static void talk(struct fixture *f, struct slice request, struct buf *answer)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(http_server_port(f->server))};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&in, sizeof in), 0);
    size_t sent = 0;
    while (sent < request.len) {
        ssize_t n = send(fd, request.ptr + sent, request.len - sent, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        sent += (size_t)n;
    }
    char piece[4096];
    ssize_t n;
    while ((n = recv(fd, piece, sizeof piece, 0)) > 0)
        buf_append(answer, piece, (size_t)n);
    close(fd);
}

static void test_cut_and_abort(void **state)
{
    struct buf answer = BUF_INIT;
    talk(*state, SLICE_LIT("GET /cut HTTP/1.1\r\nHost: h\r\n\r\n"), &answer);
    assert_non_null(strstr(buf_cstr(&answer), "Content-Length: 10\r\n"));
    const char *body = strstr(buf_cstr(&answer), "\r\n\r\n");
    assert_non_null(body);
    assert_string_equal(body + 4, "0123");
    buf_clear(&answer);
    talk(*state, SLICE_LIT("GET /abort HTTP/1.1\r\nHost: h\r\n\r\n"), &answer);
    assert_int_equal(answer.len, 0);
    buf_release(&answer);
}

static void test_endless_chunked_body_is_cut(void **state)
{
    struct buf request = BUF_INIT, answer = BUF_INIT;
    buf_append_str(&request, "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 2048; i++) {
        buf_append_str(&request, "400\r\n");
        for (int k = 0; k < 0x400; k++)
            buf_append_char(&request, 'x');
        buf_append_str(&request, "\r\n");
    }
    talk(*state, buf_slice(&request), &answer); /* ends only because the server closes: the last chunk is missing */
    assert_null(strstr(buf_cstr(&answer), " 201 "));
    buf_release(&request);
    buf_release(&answer);
}

struct slow_call {
    struct fixture *f;
    pthread_t thread;
    bool ok;
    int status;
};

static void *call_slow(void *user)
{
    struct slow_call *slow = user;
    struct http_client *client = http_client_new();
    struct http_response response = HTTP_RESPONSE_INIT;
    struct error err = ERROR_INIT;
    slow->ok = call(slow->f, client, "GET", "/slow", SLICE_NULL, &response, &err);
    slow->status = response.status;
    http_response_release(&response);
    http_client_free(client);
    return NULL;
}

static void wait_inside(struct fixture *f, int count)
{
    pthread_mutex_lock(&f->mutex);
    while (f->inside < count)
        pthread_cond_wait(&f->changed, &f->mutex);
    pthread_mutex_unlock(&f->mutex);
}

static void set_release(struct fixture *f)
{
    pthread_mutex_lock(&f->mutex);
    f->release = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->mutex);
}

static void test_handlers_run_side_by_side(void **state)
{
    struct fixture *f = *state;
    struct slow_call calls[SLOW_CALLS + 2];
    size_t count = sizeof calls / sizeof calls[0];
    for (size_t i = 0; i < count; i++) {
        calls[i] = (struct slow_call){.f = f};
        assert_int_equal(pthread_create(&calls[i].thread, NULL, call_slow, &calls[i]), 0);
    }
    wait_inside(f, SLOW_CALLS); /* all threads are in a handler at once; two requests wait */
    set_release(f);
    for (size_t i = 0; i < count; i++) {
        pthread_join(calls[i].thread, NULL);
        assert_true(calls[i].ok);
        assert_int_equal(calls[i].status, 200);
    }
}

static void *stop_server(void *user)
{
    struct fixture *f = user;
    http_server_stop(f->server, 60000);
    return NULL;
}

static void test_stop_lets_requests_finish(void **state)
{
    struct fixture *f = *state;
    struct slow_call slow = {.f = f};
    pthread_t stopper;
    pthread_create(&slow.thread, NULL, call_slow, &slow);
    wait_inside(f, 1);
    pthread_create(&stopper, NULL, stop_server, f);
    set_release(f);
    pthread_join(slow.thread, NULL);
    pthread_join(stopper, NULL);
    f->server = NULL;
    assert_true(slow.ok);
    assert_int_equal(slow.status, 200);
}

static void *stop_server_now(void *user)
{
    struct fixture *f = user;
    http_server_stop(f->server, 0);
    return NULL;
}

static void test_stop_without_grace_cuts_connections(void **state)
{
    struct fixture *f = *state;
    struct slow_call slow = {.f = f};
    pthread_t stopper;
    pthread_create(&slow.thread, NULL, call_slow, &slow);
    wait_inside(f, 1);
    pthread_create(&stopper, NULL, stop_server_now, f);
    pthread_join(slow.thread, NULL); /* the client is told while the handler still runs */
    assert_false(slow.ok);
    set_release(f);
    pthread_join(stopper, NULL);
    f->server = NULL;
}

static void test_port_in_use_and_bad_address(void **state)
{
    struct fixture *f = *state;
    struct error err = ERROR_INIT;
    struct http_server_options taken = {.port = http_server_port(f->server), .handler = handle, .user = f};
    assert_null(http_server_start(&taken, &err));
    assert_non_null(strstr(err.message, "could not listen on port"));
    struct http_server_options bad = {.bind_address = "localhost:1", .handler = handle, .user = f};
    assert_null(http_server_start(&bad, &err));
    assert_string_equal(err.message, "cannot listen on \"localhost:1\": not an IP address");
}

/* ---- Clients that are slow or gone, lanes, refusals -------------------------------------------------------------- */

enum { LANE_SLOW = 1, TARGET_MAX = 200, HEADER_MAX = 2000 };

struct watching {
    struct http_server *server;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int inside, ended;
    char reason[64]; /* why the last /wait ended */
};

static void tell(struct watching *w, int *counter)
{
    pthread_mutex_lock(&w->mutex);
    ++*counter;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->mutex);
}

static void wait_count(struct watching *w, const int *counter, int count)
{
    pthread_mutex_lock(&w->mutex);
    while (*counter < count)
        pthread_cond_wait(&w->changed, &w->mutex);
    pthread_mutex_unlock(&w->mutex);
}

/* /wait?limit=MS&heed=1 sleeps until cancelled; everything else answers at once. */
static void handle_watching(void *user, struct http_exchange *x)
{
    struct watching *w = user;
    const char *limit = http_exchange_query(x, "limit");
    int64_t limit_ms = 0;
    if (strcmp(http_exchange_path(x), "/wait") == 0) {
        struct error err = ERROR_INIT;
        if (limit)
            (void)!slice_to_int64(slice_str(limit), &limit_ms);
        struct cancel *cancel = http_exchange_cancel(x, limit_ms, http_exchange_query(x, "heed") != NULL);
        tell(w, &w->inside);
        while (cancel_sleep_ms(cancel, 1000))
            ;
        assert_false(cancel_check(cancel, &err));
        snprintf(w->reason, sizeof w->reason, "%.60s", err.message);
        tell(w, &w->ended);
    }
    http_exchange_reply(x, 200, "text/plain", SLICE_LIT("ok"));
}

static size_t lane_of_watching(void *user, const struct http_exchange *x)
{
    (void)user;
    return strcmp(http_exchange_path(x), "/wait") == 0 ? LANE_SLOW : 0;
}

static void refuse_watching(void *user, struct http_exchange *x, int status, const char *why)
{
    (void)user;
    char text[128];
    int len = snprintf(text, sizeof text, "{\"why\":\"%s\"}", why);
    http_exchange_reply(x, status, "application/json", slice_of(text, (size_t)len));
}

static int set_up_watching(void **state)
{
    struct watching *w = xcalloc(1, sizeof *w);
    struct http_server_options options = {.handler_threads = 1,
                                          .further_lanes = {SLOW_CALLS},
                                          .lane_of = lane_of_watching,
                                          .max_target_bytes = TARGET_MAX,
                                          .max_header_bytes = HEADER_MAX,
                                          .max_body_bytes = MAX_BODY,
                                          .first_request_s = 1,
                                          .next_request_s = 2,
                                          .handler = handle_watching,
                                          .refuse = refuse_watching,
                                          .user = w};
    struct error err = ERROR_INIT;
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->changed, NULL);
    w->server = http_server_start(&options, &err);
    assert_non_null(w->server);
    *state = w;
    return 0;
}

static int tear_down_watching(void **state)
{
    struct watching *w = *state;
    http_server_stop(w->server, 1000);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->mutex);
    free(w);
    return 0;
}

static int connect_to(const struct watching *w)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(http_server_port(w->server))};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&in, sizeof in), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* What comes until the server closes, or until `until` has come. */
static void hear(int fd, const char *until, struct buf *out)
{
    char piece[4096];
    ssize_t n;
    while (!(until && strstr(buf_cstr(out), until)) && (n = recv(fd, piece, sizeof piece, 0)) > 0)
        buf_append(out, piece, (size_t)n);
}

static void ask(const struct watching *w, const char *target, const char *headers, struct buf *out)
{
    int fd = connect_to(w);
    char *text = xasprintf("GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%s\r\n", target, headers);
    say(fd, text);
    hear(fd, NULL, out);
    free(text);
    close(fd);
}

static void test_a_full_lane_stops_no_other(void **state)
{
    struct watching *w = *state;
    int fds[SLOW_CALLS + 2];
    size_t count = sizeof fds / sizeof fds[0];
    struct buf answer = BUF_INIT;
    for (size_t i = 0; i < count; i++) {
        fds[i] = connect_to(w);
        say(fds[i], "GET /wait?limit=600000 HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    wait_count(w, &w->inside, SLOW_CALLS);
    ask(w, "/quick", "", &answer);
    assert_non_null(strstr(buf_cstr(&answer), " 200 "));
    assert_int_equal(w->inside, SLOW_CALLS);
    buf_release(&answer);
    http_server_stop(w->server, 1000); /* and the stop ends what waits */
    w->server = NULL;
    assert_string_equal(w->reason, "cancelled: the server is stopping");
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
}

static void test_a_gone_client_and_a_limit_end_the_wait(void **state)
{
    struct watching *w = *state;
    int fd = connect_to(w);
    say(fd, "GET /wait?heed=1 HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_count(w, &w->inside, 1);
    close(fd);
    wait_count(w, &w->ended, 1);
    assert_string_equal(w->reason, "cancelled: the client has gone");
    /* one that only ends its own sending gets its answer at once */
    struct buf answer = BUF_INIT;
    fd = connect_to(w);
    say(fd, "GET /wait?heed=1 HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_count(w, &w->inside, 2);
    shutdown(fd, SHUT_WR);
    hear(fd, "ok", &answer);
    assert_non_null(strstr(buf_cstr(&answer), " 200 "));
    close(fd);
    buf_clear(&answer);
    ask(w, "/wait?limit=100", "", &answer);
    assert_non_null(strstr(buf_cstr(&answer), " 200 "));
    wait_count(w, &w->ended, 3);
    assert_string_equal(w->reason, "cancelled: the time is over");
    buf_release(&answer);
}

/* A byte now and then keeps MHD's own time-out away for ever; the test ends only because the server cuts. */
static void test_slow_requests_are_cut(void **state)
{
    struct watching *w = *state;
    struct buf answer = BUF_INIT;
    char byte = 'a';
    int fd = connect_to(w);
    say(fd, "GET /quick HTTP/1.1\r\nX-Slow: ");
    while (send(fd, &byte, 1, MSG_NOSIGNAL) == 1)
        usleep(50000);
    close(fd);
    fd = connect_to(w); /* nothing at all */
    hear(fd, NULL, &answer);
    close(fd);
    fd = connect_to(w); /* a whole request, then a slow one */
    say(fd, "GET /quick HTTP/1.1\r\nHost: h\r\n\r\n");
    hear(fd, "ok", &answer);
    say(fd, "GET /quick HTTP/1.1\r\nX-Slow: ");
    while (send(fd, &byte, 1, MSG_NOSIGNAL) == 1)
        usleep(50000);
    close(fd);
    buf_release(&answer);
}

static void test_a_long_wait_is_not_a_slow_request(void **state)
{
    struct watching *w = *state;
    struct buf answer = BUF_INIT;
    ask(w, "/wait?limit=3000", "", &answer); /* longer than either bound on requests */
    assert_non_null(strstr(buf_cstr(&answer), " 200 "));
    buf_release(&answer);
}

static void test_own_bounds_and_refusals(void **state)
{
    static const struct {
        size_t target_bytes, header_bytes;
        const char *want;
    } cases[] = {
        {TARGET_MAX, 10, " 200 "}, {TARGET_MAX + 1, 10, " 414 "}, {3, HEADER_MAX - 40, " 200 "},
        {3, HEADER_MAX, " 431 "},  {3, 15000, " 431 "},
    };
    struct watching *w = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf answer = BUF_INIT, target = BUF_INIT, headers = BUF_INIT;
        buf_append_char(&target, '/');
        while (target.len < cases[i].target_bytes)
            buf_append_char(&target, 'x');
        buf_append_str(&headers, "X-Big: ");
        for (size_t k = 0; k < cases[i].header_bytes; k++)
            buf_append_char(&headers, 'x');
        buf_append_str(&headers, "\r\n");
        ask(w, buf_cstr(&target), buf_cstr(&headers), &answer);
        if (!strstr(buf_cstr(&answer), cases[i].want))
            fail_msg("case %zu: %s", i, buf_cstr(&answer));
        if (!strstr(cases[i].want, "200"))
            assert_non_null(strstr(buf_cstr(&answer), "{\"why\":\"the "));
        buf_release(&answer);
        buf_release(&target);
        buf_release(&headers);
    }
    struct buf answer = BUF_INIT;
    ask(w, "/%zz", "", &answer);
    assert_non_null(strstr(buf_cstr(&answer), "{\"why\":\"the URL is not well-formed\"}"));
    buf_release(&answer);
}

int main(void)
{
    http_global_init();
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
#define WATCH(fn) cmocka_unit_test_setup_teardown(fn, set_up_watching, tear_down_watching)
    const struct CMUnitTest tests[] = {
        CASE(test_request_is_seen_whole),
        CASE(test_statuses_made_by_the_server),
        CASE(test_cut_and_abort),
        CASE(test_endless_chunked_body_is_cut),
        CASE(test_handlers_run_side_by_side),
        CASE(test_stop_lets_requests_finish),
        CASE(test_stop_without_grace_cuts_connections),
        CASE(test_port_in_use_and_bad_address),
        WATCH(test_a_full_lane_stops_no_other),
        WATCH(test_a_gone_client_and_a_limit_end_the_wait),
        WATCH(test_slow_requests_are_cut),
        WATCH(test_a_long_wait_is_not_a_slow_request),
        WATCH(test_own_bounds_and_refusals),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    http_global_release();
    return failed;
}
