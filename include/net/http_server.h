/* http_server.h - a small HTTP/1.1 server over libmicrohttpd for JSON APIs.
 *
 * Handlers run on a bounded pool of worker threads (a slow handler delays nobody else), get the whole request body (bounded) and
 * answer with a body in memory or a streamed one. Used by the HTTP API and by the local stack. */
#ifndef ST_NET_HTTP_SERVER_H
#define ST_NET_HTTP_SERVER_H

#include "base/buf.h"
#include "base/error.h"

struct http_server;
struct http_exchange; /* one request and its reply; lives until the handler returns */

typedef void http_handler_fn(void *user, struct http_exchange *x);

struct http_server_options {
    const char *bind_address; /* "127.0.0.1" */
    uint16_t port;            /* 0 = a free one */
    size_t max_connections;   /* 0 = 1024 */
    size_t handler_threads;   /* 0 = 16; requests beyond wait in a queue as long as max_connections */
    size_t max_body_bytes;    /* 413 beyond; 0 = 1 MiB */
    int idle_timeout_s;       /* 0 = 30 */
    http_handler_fn *handler;
    void *user;
};

struct http_server *http_server_start(const struct http_server_options *options, struct error *err) MUST_CHECK;
/* Stops accepting, lets running handlers finish for at most grace_ms, then stops. Frees. */
void http_server_stop(struct http_server *server, int64_t grace_ms);
uint16_t http_server_port(const struct http_server *server);

const char *http_exchange_method(const struct http_exchange *x);
const char *http_exchange_path(const struct http_exchange *x);     /* without query, percent-decoded as a whole */
const char *http_exchange_raw_path(const struct http_exchange *x); /* not decoded */
/* Value of a query parameter (decoded; first one when repeated), NULL when absent. */
const char *http_exchange_query(const struct http_exchange *x, const char *name);
/* All query parameters in order, repeated ones included. */
void http_exchange_each_query(const struct http_exchange *x,
                              void (*fn)(void *user, const char *name, const char *value), void *user);
const char *http_exchange_header(const struct http_exchange *x, const char *name); /* NULL when absent */
struct slice http_exchange_body(const struct http_exchange *x);
bool http_exchange_peer_is_loopback(const struct http_exchange *x);

void http_exchange_add_header(struct http_exchange *x, const char *name, const char *value);
/* Exactly one of these per request; a handler that calls none answers 500. `body` is copied. */
void http_exchange_reply(struct http_exchange *x, int status, const char *content_type, struct slice body);
/* As above, but takes the buf's bytes over without a copy. */
void http_exchange_reply_buf(struct http_exchange *x, int status, const char *content_type, struct buf *body);
/* Sends the first `bytes` of the body with a Content-Length of all of it, then cuts the connection. For fault injection. */
void http_exchange_reply_cut(struct http_exchange *x, int status, const char *content_type, struct slice body,
                             size_t bytes);
/* Closes the connection without any reply. */
void http_exchange_abort(struct http_exchange *x);

#endif
