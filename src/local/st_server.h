/* st_server.h - the ServiceTitan of the local stack: OAuth2 token endpoint, eight entities with list and export feeds,
 * edits and faults on demand, in one HTTP server on loopback.
 *
 *   token   POST /connect/token                                      (form only; 900 s)
 *   lists   GET  /{module}/v2/tenant/{t}/{resource}
 *   exports GET  /{module}/v2/tenant/{t}/export/{resource}            (seven entities)
 *   admin   see st_admin.h: /_admin/edits, /_admin/stream, /_admin/settings, /_admin/count, /_admin/record,
 *           /_admin/stats; and faults_admin.h
 *
 * The records of a company are computed from its seed, never held: memory grows with edits only, and the totals of any
 * window are exact at any size. Two servers with the same seed, sizes and base time serve the same bytes until edits
 * are made. All generated history lies in the (five) years before the base time; edits are made at the server's present. All
 * functions are thread-safe. */
#ifndef ST_LOCAL_ST_SERVER_H
#define ST_LOCAL_ST_SERVER_H

#include <stddef.h>

#include "base/error.h"

struct st_server;
struct faults;

struct st_server_tenant {
    int64_t tenant; /* positive */
    int64_t jobs;   /* 0 = options.jobs; the other entities follow in fixed ratios (st_company.h) */
};

/* Zero means the default for every member (seed, jobs and base time: what the data folder was made with). What says (settable) can be changed later by POST /_admin/settings. */
struct st_server_options {
    const char *bind_address;               /* "127.0.0.1" */
    uint16_t port;                          /* 0 = a free one */
    uint64_t seed;                          /* 0 = 1; each tenant's own seed is derived from it */
    int64_t jobs;                           /* per tenant; 0 = 20,000 */
    const struct st_server_tenant *tenants; /* NULL = one, ST_SERVER_DEFAULT_TENANT */
    size_t tenant_count;
    const char *data_dir;      /* the base time and the edits live here over restarts; NULL = neither is kept */
    const char *fixtures;      /* folder of lists that come from files (st_fixture.h); NULL = none */
    int64_t base_time_us;      /* end of generated history; 0 = the one in data_dir, else the start of the server */
    int64_t history_years;     /* of generated history; 0 = the folder's, else 5; at most ST_MAX_HISTORY_YEARS */
    struct faults *faults;     /* the bench, borrowed; NULL = one of its own */
    int64_t clock_skew_ms;     /* server's clock minus ours (settable) */
    double rate_per_second;    /* per tenant; 0 = 60 (settable) */
    int64_t latency_ms;        /* before each API reply (settable) */
    int64_t visibility_lag_ms; /* until an edit shows in lists (settable) */
    int null_payroll_percent;  /* pay items with "id": null; 0 = 30, negative = none */
    int tie_percent;           /* records that share createdOn with their neighbours; 0 = 2, negative = none */
    int tie_run;               /* how many share one instant; 0 = 8 */
};

enum { ST_SERVER_DEFAULT_TENANT = 1234567, ST_SERVER_DEFAULT_JOBS = 20000 };

struct st_server *st_server_start(const struct st_server_options *options, struct error *err) MUST_CHECK;
void st_server_stop(struct st_server *server); /* NULL is fine; frees */
uint16_t st_server_port(const struct st_server *server);

/* What a client of the i-th tenant needs; NULL/0 past the last one. Borrowed, valid as long as the server. */
struct st_server_access {
    int64_t tenant;
    const char *client_id;     /* "cid.local.<tenant>" */
    const char *client_secret; /* "cs1.local.<tenant>.<digest of the seed>" */
    const char *app_key;       /* the same for all tenants */
};
bool st_server_access(const struct st_server *server, size_t i, struct st_server_access *ret);

#endif
