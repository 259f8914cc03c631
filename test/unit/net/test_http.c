/* HTTP client against a server that misbehaves on purpose. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <time.h>

#include "base/clock.h"
#include "base/timestamp.h"
#include "net/http.h"
#include "tiny_server.h"

static const unsigned char gzip_hello[] = {0x1f, 0x8b, 8, 0, 0,    0,    0,    0,    0, 3, 0xcb, 0x48, 0xcd,
                                           0xc9, 0xc9, 7, 0, 0x86, 0xa6, 0x10, 0x36, 5, 0, 0,    0};

static struct {
    char method[16], target[256], authorization[128], content_type[64], encoding[64], body[256];
    atomic_int requests;
    atomic_int slow_entered;
} seen;

static void note(const struct tiny_request *request)
{
    snprintf(seen.method, sizeof seen.method, "%s", request->method);
    snprintf(seen.target, sizeof seen.target, "%.255s", request->target);
    tiny_header(request, "Authorization", seen.authorization, sizeof seen.authorization);
    tiny_header(request, "Content-Type", seen.content_type, sizeof seen.content_type);
    tiny_header(request, "Accept-Encoding", seen.encoding, sizeof seen.encoding);
    snprintf(seen.body, sizeof seen.body, "%.*s", SLICE_ARG(request->body));
    atomic_fetch_add(&seen.requests, 1);
}

static bool reply_large(int fd)
{
    char block[1024];
    memset(block, 'x', sizeof block);
    if (!tiny_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n", 44))
        return false;
    for (int i = 0; i < 1024; i++)
        if (!tiny_write(fd, block, sizeof block))
            return false;
    return true;
}

static bool handle(void *user, const struct tiny_request *request)
{
    (void)user;
    note(request);
    int fd = request->fd;
    if (strcmp(request->target, "/gzip") == 0)
        return tiny_reply(fd, 200, "Content-Encoding: gzip\r\n", slice_of(gzip_hello, sizeof gzip_hello));
    if (strcmp(request->target, "/redirect") == 0)
        return tiny_reply(fd, 302, "Location: /elsewhere\r\n", SLICE_LIT(""));
    if (strcmp(request->target, "/later") == 0)
        return tiny_reply(fd, 429, "Retry-After: 17\r\n", SLICE_LIT("{}"));
    if (strcmp(request->target, "/later-date") == 0)
        return tiny_reply(fd, 503,
                          "Date: Tue, 21 Oct 2025 10:00:00 GMT\r\nRetry-After: Tue, 21 Oct 2025 10:02:05 GMT\r\n",
                          SLICE_LIT("{}"));
    if (strcmp(request->target, "/nothing") == 0)
        return false;
    if (strcmp(request->target, "/cut") == 0) {
        tiny_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", 45);
        return false;
    }
    if (strcmp(request->target, "/large") == 0)
        return reply_large(fd);
    if (strcmp(request->target, "/slow") == 0) {
        char byte;
        tiny_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx", 41);
        atomic_store(&seen.slow_entered, 1);
        while (recv(fd, &byte, 1, 0) > 0)
            ;
        return false;
    }
    return tiny_reply(fd, 200, "Date: Tue, 21 Oct 2025 10:00:00 GMT\r\nContent-Type: application/json\r\n",
                      SLICE_LIT("hello"));
}

struct fixture {
    struct tiny_server *server;
    struct http_client *client;
    struct http_response response;
    struct error err;
    char url[256];
};

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    memset(&seen, 0, sizeof seen);
    f->server = tiny_server_start(handle, NULL);
    f->client = http_client_new();
    f->response = HTTP_RESPONSE_INIT;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    http_response_release(&f->response);
    http_client_free(f->client);
    tiny_server_stop(f->server);
    free(f);
    return 0;
}

static const char *at(struct fixture *f, const char *target)
{
    snprintf(f->url, sizeof f->url, "http://127.0.0.1:%d%s", f->server->port, target);
    return f->url;
}

static bool get(struct fixture *f, const char *target)
{
    struct http_request request = {.method = "GET", .url = at(f, target)};
    return http_perform(f->client, &request, &f->response, &f->err);
}

static void a_reply_comes_whole(void **state)
{
    struct fixture *f = *state;
    assert_true(get(f, "/x?y=1"));
    assert_int_equal(f->response.status, 200);
    assert_string_equal(buf_cstr(&f->response.body), "hello");
    assert_string_equal(f->response.content_type, "application/json");
    assert_int_equal(f->response.server_time_us, 1761040800000000);
    assert_int_equal(f->response.retry_after_ms, -1);
    assert_int_equal(f->response.body_bytes, 5);
    assert_true(llabs((long long)(clock_wall_us() - f->response.sent_wall_us)) < 60000000);
    assert_string_equal(seen.method, "GET");
    assert_string_equal(seen.target, "/x?y=1");
    assert_string_equal(seen.encoding, "gzip");
    assert_string_equal(seen.content_type, "");
}

static void methods_headers_and_bodies_go_out_as_given(void **state)
{
    struct fixture *f = *state;
    static const char *const methods[] = {"POST", "PATCH", "DELETE", "PUT"};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        struct http_request request = {
            .method = methods[i],
            .url = at(f, "/m"),
            .headers = {{"Authorization", SLICE_LIT("Bearer abc")}, {"Content-Type", SLICE_LIT("application/json")}},
            .header_count = 2,
            .body = SLICE_LIT("{\"a\":1}"),
        };
        assert_true(http_perform(f->client, &request, &f->response, &f->err));
        assert_string_equal(seen.method, methods[i]);
        assert_string_equal(seen.body, "{\"a\":1}");
        assert_string_equal(seen.authorization, "Bearer abc");
        assert_string_equal(seen.content_type, "application/json");
    }
    struct http_request empty = {.method = "POST", .url = at(f, "/m")};
    assert_true(http_perform(f->client, &empty, &f->response, &f->err));
    assert_string_equal(seen.method, "POST");
    assert_string_equal(seen.body, "");
    assert_string_equal(seen.authorization, ""); /* nothing of the last request stays */
    struct http_request gone = {.method = "DELETE", .url = at(f, "/m")};
    assert_true(http_perform(f->client, &gone, &f->response, &f->err));
    assert_string_equal(seen.method, "DELETE");
}

static void gzip_is_decoded_and_redirects_are_not_followed(void **state)
{
    struct fixture *f = *state;
    assert_true(get(f, "/gzip"));
    assert_string_equal(buf_cstr(&f->response.body), "hello");
    assert_true(get(f, "/redirect"));
    assert_int_equal(f->response.status, 302);
    assert_int_equal(atomic_load(&seen.requests), 2);
}

static void retry_after_in_seconds_and_as_date(void **state)
{
    struct fixture *f = *state;
    assert_true(get(f, "/later"));
    assert_int_equal(f->response.status, 429);
    assert_int_equal(f->response.retry_after_ms, 17000);
    assert_true(get(f, "/later-date"));
    assert_int_equal(f->response.retry_after_ms, 125000);
    assert_true(get(f, "/x"));
    assert_int_equal(f->response.retry_after_ms, -1);
}

static void failures_are_classified_with_their_effect(void **state)
{
    struct fixture *f = *state;
    assert_false(get(f, "/cut"));
    assert_int_equal(f->err.class, ERROR_RETRY);
    assert_string_equal(f->err.code, "http_cut");
    assert_int_equal(f->err.effect, EFFECT_MAYBE);
    assert_int_equal(f->response.status, 200);
    assert_false(get(f, "/nothing"));
    assert_string_equal(f->err.code, "http_cut");
    assert_int_equal(f->err.effect, EFFECT_MAYBE);
    struct http_request slow = {.method = "GET", .url = at(f, "/slow"), .timeout_ms = 200};
    assert_false(http_perform(f->client, &slow, &f->response, &f->err));
    assert_string_equal(f->err.code, "http_timeout");
    assert_int_equal(f->err.class, ERROR_RETRY);
    assert_int_equal(f->err.effect, EFFECT_MAYBE);
}

static void nothing_was_sent_when_nobody_listens(void **state)
{
    struct fixture *f = *state;
    struct tiny_server *closed = tiny_server_start(handle, NULL);
    int port = closed->port;
    tiny_server_stop(closed);
    snprintf(f->url, sizeof f->url, "http://127.0.0.1:%d/secretless?token=never", port);
    struct http_request request = {.method = "GET", .url = f->url};
    assert_false(http_perform(f->client, &request, &f->response, &f->err));
    assert_string_equal(f->err.code, "http_connect");
    assert_int_equal(f->err.class, ERROR_RETRY);
    assert_int_equal(f->err.effect, EFFECT_NONE);
    assert_null(strstr(f->err.message, "never")); /* no query in messages */
    assert_non_null(strstr(f->err.message, "/secretless"));
}

static void urls_that_are_refused(void **state)
{
    static const struct {
        const char *url;
        bool refused, loopback;
    } cases[] = {
        {"https://api.servicetitan.io/x", false, false},
        {"http://127.0.0.1:1/", false, true},
        {"http://127.9.8.7/", false, true},
        {"http://localhost:8080", false, true},
        {"http://LOCALHOST/", false, true},
        {"http://[::1]:9/", false, true},
        {"https://127.0.0.1/", false, true},
        {"http://api.servicetitan.io/", true, false},
        {"http://128.0.0.1/", true, false},
        {"http://127.0.0.1.example.com/", true, false},
        {"http://localhost.example.com/", true, false},
        {"http://10.0.0.1/", true, false},
        {"ftp://127.0.0.1/", true, true},
        {"file:///etc/passwd", true, false},
        {"https://user:pw@host/", true, false},
        {"http://127.0.0.1@evil.example/", true, false},
        {"", true, false},
        {"nonsense", true, false},
        {"https://", true, false},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool refused = http_url_refusal(cases[i].url) != NULL;
        if (refused != cases[i].refused || http_url_is_loopback(cases[i].url) != cases[i].loopback)
            fail_msg("\"%s\": %s", cases[i].url, refused ? http_url_refusal(cases[i].url) : "not refused");
    }
    assert_non_null(http_url_refusal(NULL));
    struct http_request request = {.method = "GET", .url = "http://user:hidden@192.0.2.1/x"};
    assert_false(http_perform(f->client, &request, &f->response, &f->err));
    assert_int_equal(f->err.class, ERROR_PERMANENT);
    assert_int_equal(f->err.effect, EFFECT_NONE);
    assert_null(strstr(f->err.message, "hidden"));
    request.url = "http://192.0.2.1/x";
    assert_false(http_perform(f->client, &request, &f->response, &f->err));
    assert_non_null(strstr(f->err.message, "loopback"));
}

static void header_values_cannot_break_out_or_leak(void **state)
{
    struct fixture *f = *state;
    struct http_request request = {.method = "GET",
                                   .url = at(f, "/x"),
                                   .headers = {{"ST-App-Key", SLICE_LIT("hush\r\nX-Evil: 1")}},
                                   .header_count = 1};
    assert_false(http_perform(f->client, &request, &f->response, &f->err));
    assert_int_equal(f->err.class, ERROR_PERMANENT);
    assert_null(strstr(f->err.message, "hush"));
    assert_int_equal(atomic_load(&seen.requests), 0);
}

struct collector {
    size_t bytes, limit;
    int status;
};

static bool collect(void *user, int status, struct slice piece)
{
    struct collector *c = user;
    c->bytes += piece.len;
    c->status = status;
    return c->limit == 0 || c->bytes < c->limit;
}

static void streamed_bodies_and_their_bounds(void **state)
{
    struct fixture *f = *state;
    struct collector all = {0}, some = {.limit = 1000};
    struct http_request request = {.method = "GET", .url = at(f, "/large"), .on_body = collect, .user = &all};
    assert_true(http_perform(f->client, &request, &f->response, &f->err));
    assert_int_equal(all.bytes, 1048576);
    assert_int_equal(all.status, 200);
    assert_int_equal(f->response.body.len, 0);
    assert_false(f->response.stopped);
    request.user = &some;
    assert_true(http_perform(f->client, &request, &f->response, &f->err));
    assert_true(f->response.stopped);
    assert_true(some.bytes >= 1000 && some.bytes < 1048576);
    request.on_body = NULL;
    request.max_body_bytes = 1000000;
    assert_false(http_perform(f->client, &request, &f->response, &f->err));
    assert_string_equal(f->err.code, "http_too_large");
    assert_int_equal(f->err.class, ERROR_PERMANENT);
    request.max_body_bytes = 1048576;
    assert_true(http_perform(f->client, &request, &f->response, &f->err));
    assert_int_equal(f->response.body.len, 1048576);
}

static void *cancel_when_slow(void *user)
{
    while (!atomic_load(&seen.slow_entered))
        sched_yield();
    cancel_set(user, "shutdown");
    return NULL;
}

static void cancellation_ends_a_transfer_at_once(void **state)
{
    struct fixture *f = *state;
    struct cancel *cancel = cancel_new(NULL);
    pthread_t thread;
    struct http_request request = {.method = "GET", .url = at(f, "/slow"), .cancel = cancel};
    pthread_create(&thread, NULL, cancel_when_slow, cancel);
    int64_t started_ms = clock_mono_ms();
    assert_false(http_perform(f->client, &request, &f->response, &f->err));
    pthread_join(thread, NULL);
    assert_int_equal(f->err.class, ERROR_CANCELLED);
    assert_int_equal(f->err.effect, EFFECT_MAYBE);
    assert_non_null(strstr(f->err.message, "shutdown"));
    assert_in_range(clock_mono_ms() - started_ms, 0, 900);                  /* well below the poll's own wake-up */
    assert_false(http_perform(f->client, &request, &f->response, &f->err)); /* set before: nothing is sent */
    assert_int_equal(f->err.class, ERROR_CANCELLED);
    cancel_free(cancel);
    assert_true(get(f, "/x")); /* the client is as good as new */
}

static void proxies_are_ignored_for_loopback(void **state)
{
    struct fixture *f = *state;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    bool ok = get(f, "/x");
    unsetenv("http_proxy");
    assert_true(ok);
}

/* ---- TLS ---- */

static SSL_CTX *self_signed(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *)"127.0.0.1", -1,
                               -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    X509_sign(cert, key, EVP_sha256());
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(ctx, cert);
    SSL_CTX_use_PrivateKey(ctx, key);
    X509_free(cert);
    EVP_PKEY_free(key);
    return ctx;
}

struct tls_server {
    int fd;
    SSL_CTX *ctx;
};

static void *serve_tls_once(void *user)
{
    struct tls_server *server = user;
    int fd = accept(server->fd, NULL, NULL);
    SSL *ssl = SSL_new(server->ctx);
    SSL_set_fd(ssl, fd);
    char byte;
    if (SSL_accept(ssl) == 1)
        SSL_read(ssl, &byte, 1);
    SSL_free(ssl);
    close(fd);
    return NULL;
}

static void a_certificate_that_nobody_vouches_for_is_refused(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    struct tls_server server = {socket(AF_INET, SOCK_STREAM, 0), self_signed()};
    pthread_t thread;
    assert_int_equal(bind(server.fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server.fd, 1), 0);
    getsockname(server.fd, (struct sockaddr *)&address, &len);
    pthread_create(&thread, NULL, serve_tls_once, &server);
    snprintf(f->url, sizeof f->url, "https://127.0.0.1:%d/", ntohs(address.sin_port));
    struct http_request request = {.method = "GET", .url = f->url};
    assert_false(http_perform(f->client, &request, &f->response, &f->err));
    pthread_join(thread, NULL);
    close(server.fd);
    SSL_CTX_free(server.ctx);
    assert_string_equal(f->err.code, "http_certificate");
    assert_int_equal(f->err.class, ERROR_PERMANENT);
    assert_int_equal(f->err.effect, EFFECT_NONE);
}

/* ---- Pool ---- */

struct pool_user {
    struct http_pool *pool;
    bool background;
    struct cancel *cancel;
    struct http_client *got;
    atomic_int done;
};

static void *take_one(void *user)
{
    struct pool_user *u = user;
    u->got =
        u->background ? http_pool_take_background(u->pool, u->cancel, NULL) : http_pool_take(u->pool, u->cancel, NULL);
    atomic_store(&u->done, 1);
    return NULL;
}

static void the_pool_is_bounded_and_gives_clients_again(void **state)
{
    (void)state;
    struct http_pool *pool = http_pool_new(2);
    struct http_client *a = http_pool_take(pool, NULL, NULL), *b = http_pool_take(pool, NULL, NULL);
    assert_ptr_not_equal(a, b);
    struct pool_user waiting = {.pool = pool};
    pthread_t thread;
    pthread_create(&thread, NULL, take_one, &waiting);
    usleep(20000);
    assert_int_equal(atomic_load(&waiting.done), 0);
    http_pool_give(pool, b);
    pthread_join(thread, NULL);
    assert_ptr_equal(waiting.got, b);
    http_pool_give(pool, a);
    http_pool_give(pool, waiting.got);
    http_pool_free(pool);
}

static void the_background_gets_a_client_when_nobody_else_waits(void **state)
{
    (void)state;
    struct http_pool *pool = http_pool_new(1);
    struct http_client *only = http_pool_take_background(pool, NULL, NULL);
    struct pool_user late = {.pool = pool, .background = true}, live = {.pool = pool};
    pthread_t threads[2];
    pthread_create(&threads[0], NULL, take_one, &late);
    usleep(50000);
    pthread_create(&threads[1], NULL, take_one, &live);
    usleep(50000);
    http_pool_give(pool, only);
    pthread_join(threads[1], NULL);
    assert_ptr_equal(live.got, only);
    assert_int_equal(atomic_load(&late.done), 0);
    http_pool_give(pool, only);
    pthread_join(threads[0], NULL);
    assert_ptr_equal(late.got, only);
    http_pool_give(pool, only);
    http_pool_free(pool);
}

static void the_last_client_is_not_the_backgrounds(void **state)
{
    (void)state;
    struct http_pool *pool = http_pool_new(2);
    struct http_client *first = http_pool_take_background(pool, NULL, NULL);
    struct pool_user late = {.pool = pool, .background = true};
    pthread_t thread;
    pthread_create(&thread, NULL, take_one, &late);
    usleep(50000);
    assert_int_equal(atomic_load(&late.done), 0);
    struct http_client *last = http_pool_take(pool, NULL, NULL);
    http_pool_give(pool, last);
    usleep(50000);
    assert_int_equal(atomic_load(&late.done), 0);
    http_pool_give(pool, first);
    pthread_join(thread, NULL);
    assert_non_null(late.got);
    http_pool_give(pool, late.got);
    http_pool_free(pool);
}

/* Whoever leaves takes no client along, and hinders nobody. */
static void a_cancel_ends_the_wait_for_a_client(void **state)
{
    (void)state;
    for (int background = 0; background < 2; background++) {
        struct http_pool *pool = http_pool_new(1);
        struct http_client *only = http_pool_take(pool, NULL, NULL);
        struct cancel *cancel = cancel_new(NULL);
        struct pool_user leaves = {.pool = pool, .background = background, .cancel = cancel};
        struct error err = ERROR_INIT;
        pthread_t thread;
        pthread_create(&thread, NULL, take_one, &leaves);
        cancel_set(cancel, "shutdown");
        pthread_join(thread, NULL);
        assert_null(leaves.got);
        assert_null(http_pool_take(pool, cancel, &err));
        assert_int_equal(err.class, ERROR_CANCELLED);
        http_pool_give(pool, only);
        assert_ptr_equal(http_pool_take(pool, NULL, NULL), only);
        http_pool_give(pool, only);
        http_pool_free(pool);
        cancel_free(cancel);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_reply_comes_whole),
        CASE(methods_headers_and_bodies_go_out_as_given),
        CASE(gzip_is_decoded_and_redirects_are_not_followed),
        CASE(retry_after_in_seconds_and_as_date),
        CASE(failures_are_classified_with_their_effect),
        CASE(nothing_was_sent_when_nobody_listens),
        CASE(urls_that_are_refused),
        CASE(header_values_cannot_break_out_or_leak),
        CASE(streamed_bodies_and_their_bounds),
        CASE(cancellation_ends_a_transfer_at_once),
        CASE(proxies_are_ignored_for_loopback),
        CASE(a_certificate_that_nobody_vouches_for_is_refused),
        cmocka_unit_test(the_pool_is_bounded_and_gives_clients_again),
        cmocka_unit_test(the_background_gets_a_client_when_nobody_else_waits),
        cmocka_unit_test(the_last_client_is_not_the_backgrounds),
        cmocka_unit_test(a_cancel_ends_the_wait_for_a_client),
    };
    http_global_init();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    http_global_release();
    return failed;
}
