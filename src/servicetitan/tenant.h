/* tenant.h - what is inside a struct st_tenant, for the files of this folder only.
 *
 * Each group of fields stands behind its own mutex; no two of them are held at once. */
#ifndef ST_SERVICETITAN_TENANT_H
#define ST_SERVICETITAN_TENANT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/metrics.h"
#include "net/limiter.h"
#include "servicetitan/client.h"

enum { ST_MIN_PAGE_SIZE = 50 }; /* a page is never halved below this */

/* The difference server clock - our clock lies in [low_us, high_us], as far as Date headers told. */
struct st_offset {
    bool known;
    int64_t low_us, high_us;
};

/* What was learned about the page size of one list endpoint. */
struct st_endpoint {
    const char *entity; /* borrowed from the registry */
    int64_t hard_cap;   /* named by the server (envelope, 413); 0 = none */
    int64_t soft_cap;   /* after time-outs; 0 = none; grows back */
    int successes;      /* at soft_cap, in a row */
};

struct st_tenant {
    int64_t id;
    char *api_url, *auth_url;
    struct secret *client_id, *client_secret, *app_key;
    int max_retries;
    int64_t timeout_ms;
    struct http_pool *pool; /* borrowed */
    struct limiter *limiter;
    struct breaker *api_breaker, *auth_breaker;
    struct {
        atomic_llong requests, retries, throttled, bytes, limiter_wait_ms;
    } counters;
    struct {
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        struct secret *value; /* NULL = none */
        uint64_t generation;
        int64_t expires_ms, renew_ms; /* clock_mono_ms */
        bool renewing;
        uint64_t failures;    /* renewals that failed, so that those who waited for one share its error */
        struct error failure; /* of the last one */
    } token;
    struct {
        pthread_mutex_t mutex;
        struct st_offset offset;
    } clock;
    struct {
        pthread_mutex_t mutex;
        struct st_endpoint list[REGISTRY_MAX_ENTITIES];
        size_t count;
    } endpoints;
};

/* ---- token.c ---- */
/* A token that is valid now, renewed when it must be. The caller unrefs *ret. */
bool st_token_get(struct st_tenant *tenant, struct secret **ret, uint64_t *ret_generation, struct cancel *cancel,
                  struct error *err) MUST_CHECK;
/* The API refused this token: the next st_token_get renews, unless somebody has done so since. Returns the newest
 * generation there is. */
uint64_t st_token_refused(struct st_tenant *tenant, uint64_t generation);

/* ---- client.c ---- */
/* Notes what a reply's Date header says about the server's clock. */
void st_clock_note(struct st_tenant *tenant, const struct http_response *response);
/* Pure: the offset interval after one more reply, the one number to use, and the least that it can be. */
struct st_offset st_offset_note(struct st_offset old, int64_t sent_us, int64_t elapsed_us, int64_t date_us);
int64_t st_offset_us(struct st_offset offset);
int64_t st_offset_least_us(struct st_offset offset);
/* Our estimate of the server's time for a moment of our wall clock. */
int64_t st_clock_at(struct st_tenant *tenant, int64_t wall_us);
/* Logs why and waits before the next try. False: no try is left (err as it was) or cancelled (err says so). */
bool st_retry_wait(struct st_tenant *tenant, struct backoff *backoff, const char *entity, struct cancel *cancel,
                   struct error *err) MUST_CHECK;
/* Overwrites our secrets (and the given token, may be NULL) in a message that quotes what the server said. */
void st_scrub(const struct st_tenant *tenant, const struct secret *token, struct error *err);
/* Adds to a metric whose only label is the tenant. */
void st_count_metric(const struct st_tenant *tenant, enum metric metric, int64_t amount);
/* One HTTP exchange with breaker and counters. background: others get a connection first. */
bool st_exchange(struct st_tenant *tenant, struct breaker *breaker, bool background, const struct http_request *request,
                 struct http_response *response, struct error *err) MUST_CHECK;

/* ---- endpoints.c ---- */
int64_t st_page_size(struct st_tenant *tenant, const struct entity *entity, int64_t wanted);
/* The server answers with pages of at most `cap`, or refused more. */
void st_page_cap(struct st_tenant *tenant, const struct entity *entity, int64_t cap);
/* A page of `asked` was refused (413) or timed out: halve. False when it cannot get smaller. */
bool st_page_halve(struct st_tenant *tenant, const struct entity *entity, int64_t asked, bool refused);
void st_page_ok(struct st_tenant *tenant, const struct entity *entity, int64_t asked);

#endif
