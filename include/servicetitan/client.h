/* client.h - ServiceTitan REST v2: token, limiter, breaker, retries, one list request.
 *
 * One st_tenant per ServiceTitan tenant and process, shared by all its runs: token (renewed ahead of its 900 s life and after a 401),
 * limiter (429 slows all), breaker per host. All functions may block and are thread-safe. */
#ifndef ST_SERVICETITAN_CLIENT_H
#define ST_SERVICETITAN_CLIENT_H

#include "base/cancel.h"
#include "base/secret.h"
#include "net/breaker.h"
#include "net/backoff.h"
#include "net/http.h"
#include "record/page.h"
#include "record/registry.h"

struct st_tenant;

struct st_tenant_options {
    int64_t tenant;
    const char *api_url;                                /* https://api.servicetitan.io */
    const char *auth_url;                               /* https://auth.servicetitan.io/connect/token */
    struct secret *client_id, *client_secret, *app_key; /* referenced */
    double rate_per_second;                             /* 10 */
    double burst;                                       /* 20 */
    int max_retries;                                    /* 5 */
    int64_t timeout_ms;                                 /* per request */
    struct http_pool *pool;                             /* borrowed; bounds the process's concurrent requests */
};

struct st_tenant *st_tenant_new(const struct st_tenant_options *options, struct error *err) MUST_CHECK;
void st_tenant_free(struct st_tenant *tenant);
int64_t st_tenant_id(const struct st_tenant *tenant);
/* The server's time, by the Date headers of its replies, and never later than that: what will be edited after this call is
 * newer than *ret_us (but for the second that a Date is cut to and a slow reply, *ret_us is exact). Our own clock while no
 * reply had a Date. Asks for a token when there was no reply yet. */
bool st_tenant_now(struct st_tenant *tenant, int64_t *ret_us, struct cancel *cancel, struct error *err) MUST_CHECK;
struct st_stats {
    int64_t requests, retries, throttled, bytes, limiter_wait_ms;
};
void st_tenant_stats(struct st_tenant *tenant, struct st_stats *ret);
enum breaker_state st_tenant_breaker(struct st_tenant *tenant);
void st_tenant_set_rate(struct st_tenant *tenant, double rate_per_second, double burst);
double st_tenant_rate(struct st_tenant *tenant); /* requests per second that the limiter allows now */

enum st_column { ST_CREATED_ON, ST_MODIFIED_ON };

struct st_window { /* [from, to) over a time column */
    enum st_column column;
    bool has_from, has_to;
    bool timeless; /* instead of a range: the records that lack the column's time (full reads only) */
    int64_t from_us, to_us;
};

/* One list request, streamed: `GET path?pageSize=&page=&includeTotal=true&<filters>`. Retries happen inside, and only as long as no record
 * has been handed out (`page` is reset before each try); after that the caller's fetch fails and is made anew. */
struct st_list_request {
    const struct entity *entity;
    struct st_window window;
    bool export; /* the export feed: of the window only from_us counts, and not that with a continue_from */
    const char *continue_from; /* token of an earlier batch; NULL: by time, or from the beginning */
    bool unfiltered;           /* no time filter at all */
    bool background;           /* other requests of the tenant and the process go first */
    bool by_id;                /* sort=+Id: helps paging where the endpoint honours it, is ignored where not */
    int64_t page, page_size;
    struct page *sink;                               /* fed with the body */
    void (*sending)(void *user, int64_t sent_at_us); /* before each try, the server's clock; may be NULL */
    bool (*stop)(
        void *user,
        const struct page_envelope *seen); /* asked after each piece; true ends the transfer (overfull window) */
    void *user;
};
struct st_list_reply {
    struct page_envelope envelope;
    int64_t sent_at_us; /* server's clock when the request was sent: the rows' _fetched_at */
    bool stopped;
};
/* A page that was too large (413, time-outs) is not asked for again: code "page_too_large", RETRY; the tenant remembers the smaller size. */
bool st_list(struct st_tenant *tenant, const struct st_list_request *request, struct st_list_reply *ret,
             struct cancel *cancel, struct error *err) MUST_CHECK;

/* Class, code, effect and wait of an API answer: status, Retry-After (-1), body (may be HTML, empty, cut); pure. */
bool st_error(struct error *err, int http_status, int64_t retry_after_ms, struct slice body, const char *what);

#endif
