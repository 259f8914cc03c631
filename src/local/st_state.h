/* st_state.h - what the parts of the simulator share: companies with their edits, settings, faults, counters. Private
 * to st_*.c. */
#ifndef ST_LOCAL_ST_STATE_H
#define ST_LOCAL_ST_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "net/http_server.h"
#include "faults_http.h"
#include "st_overlay.h"
#include "st_server.h"
#include "st_token.h"

enum {
    ST_MAX_PAGE_SIZE = 5000,
    ST_DEFAULT_PAGE_SIZE = 50,
    ST_MAX_TENANTS = 1000,
    ST_STATUS_SLOTS = 600,
};

/* Changed by POST /_admin/settings; copied under the server's lock at the start of each request. */
struct st_settings {
    double rate_per_second;       /* per tenant */
    double token_rate_per_second; /* per tenant */
    bool retry_after;             /* 429 carries Retry-After */
    bool clamp_page_size;         /* over the largest page: clamp instead of 400 */
    bool shuffle;                 /* lists without sort: another order in every request */
    bool invoices_hide_inactive;  /* default of invoices' activeState */
    int64_t latency_ms;
    int64_t visibility_lag_ms;
    int64_t clock_skew_ms;
    int64_t export_batch;
    int64_t export_lag_ms; /* 15 minutes */
    int64_t token_life_s;
    int64_t page_cap[ST_ENTITIES]; /* pages are silently no larger; 0 = no cap */
};

struct st_rate { /* token bucket, one second deep */
    double level;
    int64_t at_us;
};

struct st_site { /* one tenant */
    struct st_company company;
    struct st_overlay overlays[ST_ENTITIES];
    char *client_id, *client_secret;
    struct { /* under the server's lock */
        struct st_rate api, token;
    } guarded;
};

enum st_route {
    ST_ROUTE_TOKEN,
    ST_ROUTE_LIST,
    ST_ROUTE_EXPORT = ST_ROUTE_LIST + ST_ENTITIES,
    ST_ROUTE_OTHER = ST_ROUTE_EXPORT + ST_ENTITIES,
    ST_ROUTES
};

struct st_stats {
    atomic_llong requests[ST_ROUTES];
    atomic_llong statuses[ST_STATUS_SLOTS];
    atomic_llong tokens, bytes, records, in_flight, most_in_flight;
};

struct st_stream;  /* the continuous edits */
struct st_journal; /* keeps edits over restarts */

struct st_server {
    struct http_server *http;
    struct st_timeline *timeline;
    struct st_site *sites;
    size_t site_count;
    uint64_t seed;
    struct st_token_key token_key;
    char *app_key;
    char *fixtures; /* folder; NULL: none */
    struct faults *faults;
    bool own_faults;
    struct st_journal *journal;
    struct st_stream *stream;
    struct st_stats stats;
    atomic_ullong shuffles;
    pthread_mutex_t lock; /* settings, rates */
    struct st_settings settings;
};

void st_server_settings(struct st_server *server, struct st_settings *ret);
int64_t st_server_now_us(const struct st_settings *settings);
static inline int64_t st_server_now(const struct st_settings *settings)
{
    return st_server_now_us(settings) * 10;
}
struct st_site *st_server_site(struct st_server *server, int64_t tenant); /* NULL: none */
/* 0, or the milliseconds to wait until the bucket has one again. */
int64_t st_rate_take(struct st_server *server, struct st_rate *rate, double per_second);

/* One request on its way through the simulator. */
struct st_call {
    struct st_server *server;
    struct http_exchange *x;
    struct st_settings settings;
    int64_t now; /* ticks, server's clock */
    struct st_site *site;
    enum st_entity entity;
    struct fault_ticket ticket;
};

/* Replies. All API answers go through st_reply, which applies the faults of the call and counts. */
void st_reply(struct st_call *call, int status, const char *content_type, struct buf *body);
/* The error that a fault asks for. */
void st_reply_fault(struct st_call *call, const struct fault *fault);
/* ProblemDetails; `field` and `problem` fill errors when given. */
void st_reply_problem(struct st_call *call, int status, const char *title, const char *field, const char *problem);

/* 429 in the form whose title ends with the seconds to wait. */
void st_reply_throttled(struct st_call *call, int64_t wait_ms);

/* Appends the records, separated by commas. Under the read lock of their overlay. */
void st_write_records(struct st_call *call, const struct st_version *versions, size_t count, bool export,
                      struct buf *body);

void st_token_serve(struct st_call *call);
void st_list_serve(struct st_call *call);
void st_export_serve(struct st_call *call);
void st_admin_serve(struct st_server *server, struct http_exchange *x);
void st_stream_stop(struct st_server *server); /* joins the thread of continuous edits; NULL stream is fine */

#endif
