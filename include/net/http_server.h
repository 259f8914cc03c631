/* http_server.h - a small HTTP/1.1 server over libmicrohttpd for JSON APIs.
 *
 * Handlers run on bounded lanes of threads (a slow handler delays at most its own lane), get the whole request body (bounded) and
 * answer with a body in memory or a streamed one. Used by the HTTP API and by the local stack. */
#ifndef ST_NET_HTTP_SERVER_H
#define ST_NET_HTTP_SERVER_H

#include "base/buf.h"
#include "base/cancel.h"
#include "base/error.h"

struct http_server;
struct http_exchange; /* one request and its reply; lives until the handler returns */

typedef void http_handler_fn(void *user, struct http_exchange *x);

/* Which lane serves the request; on the server's own thread: must not block. */
typedef size_t http_lane_fn(void *user, const struct http_exchange *x);
/* Answers a request that the server itself refuses (400, 413, 414, 431); on the server's own thread: must not block. */
typedef void http_refuse_fn(void *user, struct http_exchange *x, int status, const char *why);

enum { HTTP_MAX_LANES = 4 };

struct http_server_options {
    const char *bind_address;           /* "127.0.0.1" */
    uint16_t port;                      /* 0 = a free one */
    size_t max_connections;             /* 0 = 1024 */
    size_t max_connections_per_address; /* 0 = no bound of their own */
    size_t handler_threads;             /* of lane 0, at most; started when needed; requests beyond wait; 0 = 16 */
    size_t further_lanes[HTTP_MAX_LANES - 1]; /* threads of lanes 1, 2, ...; the first 0 ends the list */
    http_lane_fn *lane_of;                    /* NULL: lane 0 */
    size_t max_body_bytes;                    /* 413 beyond; 0 = 1 MiB */
    size_t max_target_bytes;                  /* 414 beyond; 0 = what a connection's memory holds */
    size_t max_header_bytes;                  /* 431 beyond; 0 = likewise */
    size_t connection_memory_bytes;           /* 0 = 64 KiB */
    int idle_timeout_s;                       /* without a byte; 0 = 30 */
    int first_request_s;                      /* for a connection's first request to become whole; 0 = no bound */
    int next_request_s; /* for a reply and the request after it, idle time included; 0 = no bound */
    http_handler_fn *handler;
    http_refuse_fn *refuse; /* NULL: plain text */
    void *user;
};

struct http_server *http_server_start(const struct http_server_options *options, struct error *err) MUST_CHECK;
/* Stops accepting, cancels what is watched (http_exchange_cancel), lets running handlers finish for at most grace_ms, then stops. Frees. */
void http_server_stop(struct http_server *server, int64_t grace_ms);
uint16_t http_server_port(const struct http_server *server);

const char *http_exchange_target(const struct http_exchange *x); /* path and query as on the request line */
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

/* For a handler that takes long: set when the server stops, after limit_ms (real time, 0 = none) and, with heed_hangup, when the client
 * goes away; looked at a few times a second. A client that only ends its own sending looks the same as one that is gone: heed_hangup is
 * for those who then answer at once with what there is. A later call changes both. Borrowed: lives as long as the exchange. */
struct cancel *http_exchange_cancel(struct http_exchange *x, int64_t limit_ms, bool heed_hangup);

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
