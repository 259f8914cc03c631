/* http.h - one HTTP request at a time over libcurl, body streamed as it arrives.
 *
 * A client holds one libcurl handle and its kept-alive connections: one thread at a time uses it; make one per
 * thread (or take one from a struct http_pool). TLS 1.2+ with verification always; plaintext http:// is accepted for loopback
 * hosts only (127.0.0.0/8, ::1, localhost). Redirects are not followed. Proxies from the environment are ignored for loopback.
 * Secrets travel in headers or the form body only, and never reach an error text or a log line. */
#ifndef ST_NET_HTTP_H
#define ST_NET_HTTP_H

#include "base/buf.h"
#include "base/cancel.h"
#include "base/error.h"

struct http_client;

enum { HTTP_MAX_HEADERS = 16 };

struct http_header {
    const char *name;
    struct slice value;
};

/* Called with each piece of the body as it arrives (decoded when gzip). Return false to end the transfer: http_perform then
 * succeeds with response.stopped = true. `status` is the reply's status, so that error bodies can be told from data. */
typedef bool http_body_fn(void *user, int status, struct slice piece);

struct http_request {
    const char *method; /* "GET", "POST", "PATCH", "DELETE" */
    const char *url;    /* absolute; checked */
    struct http_header headers[HTTP_MAX_HEADERS];
    size_t header_count;
    struct slice body;          /* sent as is; with SLICE_NULL none */
    int64_t connect_timeout_ms; /* 0 = 10 s; real time */
    int64_t timeout_ms;    /* whole request, 0 = 120 s; on a fast clock as much less, but at least 5 s of real time */
    size_t max_body_bytes; /* error "http_too_large" beyond; 0 = 16 MiB; a streamed body: 0 = unbounded */
    http_body_fn *on_body; /* NULL: collected into response.body */
    void *user;
    struct cancel *cancel; /* may be NULL; ends the transfer */
    bool allow_link_local; /* plaintext to metadata.google.internal and 169.254.0.0/16 too: the metadata server only */
};

struct http_response {
    int status;
    struct buf body;        /* collected body; of a streamed one: empty */
    int64_t body_bytes;     /* received, after decoding */
    int64_t retry_after_ms; /* from Retry-After, seconds or HTTP date; -1 = absent */
    int64_t server_time_us; /* Date header; 0 = absent or unreadable */
    int64_t sent_wall_us;   /* our wall clock when the request was sent */
    int64_t elapsed_ms;
    bool stopped; /* on_body ended it */
    char content_type[64];
};
#define HTTP_RESPONSE_INIT ((struct http_response){0, BUF_INIT, 0, -1, 0, 0, 0, false, ""})

struct http_client *http_client_new(void); /* call http_global_init once before */
void http_client_free(struct http_client *client);
/* True when a reply with any status came in completely. False: no (whole) reply: class RETRY for network failures and time-outs,
 * PERMANENT for a bad URL, plaintext off loopback or a certificate that is refused; effect NONE when the request cannot have been sent, else MAYBE. */
bool http_perform(struct http_client *client, const struct http_request *request, struct http_response *response,
                  struct error *err) MUST_CHECK;
void http_response_release(struct http_response *response);

/* True for "http://127.0.0.1:1/..." and the like. */
bool http_url_is_loopback(const char *url);
/* NULL when `url` may be used (https anywhere, http on loopback), else why not. Used by option validation too. */
const char *http_url_refusal(const char *url);

void http_global_init(void); /* idempotent; before threads start */
void http_global_release(void);

/* Bounded set of clients that threads borrow. */
struct http_pool;
struct http_pool *http_pool_new(size_t max_clients);
void http_pool_free(struct http_pool *pool); /* all clients must be back */
/* Waits while all are out; NULL, with the error, when cancelled before (cancel may be NULL). */
struct http_client *http_pool_take(struct http_pool *pool, struct cancel *cancel, struct error *err) MUST_CHECK;
/* The same for work that may wait: everybody else goes first, and the last client of several is theirs. */
struct http_client *http_pool_take_background(struct http_pool *pool, struct cancel *cancel,
                                              struct error *err) MUST_CHECK;
void http_pool_give(struct http_pool *pool, struct http_client *client);

#endif
