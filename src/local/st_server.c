/* st_server.c - routes of the simulator, what every API request goes through, and its start and stop.
 *
 * The order of an API request is that of the real gateway: unknown operation (404), faults and latency, application
 * key, token, tenant, rate limit; then the endpoint. Handlers run on the HTTP server's threads. */
#include "st_server.h"

#include <math.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/cancel.h"
#include "base/clock.h"
#include "base/timestamp.h"
#include "faults_admin.h"
#include "st_base_time.h"
#include "st_fixture.h"
#include "st_journal.h"

enum {
    HANDLER_THREADS = 64, /* latency and delays sleep in them */
    MAX_BODY_BYTES = 1 << 20,
    STOP_GRACE_MS = 2000,
};

/* ---- Clock, settings, rates -------------------------------------------------------------------------------------- */

int64_t st_server_now_us(const struct st_settings *settings)
{
    return clock_wall_us() + settings->clock_skew_ms * 1000;
}

void st_server_settings(struct st_server *server, struct st_settings *ret)
{
    pthread_mutex_lock(&server->lock);
    *ret = server->settings;
    pthread_mutex_unlock(&server->lock);
}

int64_t st_rate_take(struct st_server *server, struct st_rate *rate, double per_second)
{
    pthread_mutex_lock(&server->lock);
    int64_t now = clock_mono_us();
    double depth = per_second < 1 ? 1 : per_second;
    double level = rate->at_us ? rate->level + (double)(now - rate->at_us) / 1e6 * per_second : depth;
    rate->level = level < depth ? level : depth;
    rate->at_us = now;
    int64_t wait_ms = 0;
    if (rate->level >= 1)
        rate->level -= 1;
    else
        wait_ms = (int64_t)ceil((1 - rate->level) / per_second * 1000);
    pthread_mutex_unlock(&server->lock);
    return wait_ms;
}

struct st_site *st_server_site(struct st_server *server, int64_t tenant)
{
    for (size_t i = 0; i < server->site_count; i++)
        if (server->sites[i].company.tenant == tenant)
            return &server->sites[i];
    return NULL;
}

/* ---- Routes ------------------------------------------------------------------------------------------------------ */

struct target {
    enum st_route route;
    enum st_entity entity;
    int64_t tenant;
};

static bool find_entity(struct slice module, struct slice resource, enum st_entity *ret)
{
    for (int e = 0; e < ST_ENTITIES; e++)
        if (slice_eq_str(module, st_models[e]->module) && slice_eq_str(resource, st_models[e]->resource)) {
            *ret = (enum st_entity)e;
            return true;
        }
    return false;
}

/* /{module}/v2/tenant/{t}/[export/]{resource}, and the older /estimates/export. */
static bool parse_path(const char *path, struct target *ret)
{
    struct slice rest = slice_str(path);
    if (rest.len == 0 || rest.ptr[0] != '/')
        return false;
    slice_cut(&rest, '/');
    struct slice module = slice_cut(&rest, '/');
    struct slice version = slice_cut(&rest, '/');
    struct slice literal = slice_cut(&rest, '/');
    struct slice tenant = slice_cut(&rest, '/');
    struct slice resource = slice_cut(&rest, '/');
    bool export = slice_eq_str(resource, "export");
    if (export)
        resource = slice_cut(&rest, '/');
    if (slice_eq_str(resource, "estimates") && slice_eq_str(rest, "export")) {
        export = true;
        rest.len = 0;
    }
    if (!slice_eq_str(version, "v2") || !slice_eq_str(literal, "tenant") || rest.len > 0 ||
        !slice_to_int64(tenant, &ret->tenant) || !find_entity(module, resource, &ret->entity) ||
        (export && !st_models[ret->entity]->has_export))
        return false;
    ret->route = (enum st_route)((export ? ST_ROUTE_EXPORT : ST_ROUTE_LIST) + (int)ret->entity);
    return true;
}

static void no_operation(struct st_call *call)
{
    struct buf body = BUF_INIT;
    buf_append_str(&body, "{\"statusCode\":404,\"message\":\"Unable to match incoming request to an operation.\"}");
    st_reply(call, 404, "application/json", &body);
    buf_release(&body);
}

/* ---- Faults before the endpoint ---------------------------------------------------------------------------------- */

/* Gives the request to the bench. `name`: room for the method's name, which the bench borrows. */
static void enter(struct st_call *call, const char *what, const struct target *target, char name[FAULTS_METHOD_SIZE])
{
    bool api = target->route >= ST_ROUTE_LIST && target->route < ST_ROUTE_OTHER;
    snprintf(name, FAULTS_METHOD_SIZE, "servicetitan.%s%s", what, api ? st_models[target->entity]->name : "");
    const struct fault_event event = {.method = name, .target = slice_str(http_exchange_path(call->x))};
    faults_request(call->server->faults, &event, &call->ticket);
}

/* True: the request was answered. */
static bool inject(struct st_call *call)
{
    const struct fault *fault = &call->ticket.fault;
    if (faults_http_before(call->server->faults, &call->ticket, call->x))
        return true;
    if (fault->kind != FAULT_STATUS || fault->after)
        return false;
    st_reply_fault(call, fault);
    return true;
}

/* ---- Admission --------------------------------------------------------------------------------------------------- */

static bool token_is_good(struct st_call *call, struct st_token_claims *claims)
{
    const char *header = http_exchange_header(call->x, "Authorization");
    if (header == NULL || call->ticket.fault.kind == FAULT_EXPIRE_TOKEN)
        return false;
    const char *text = strncasecmp(header, "Bearer ", 7) == 0 ? header + 7 : header; /* both forms work */
    return st_token_read(&call->server->token_key, slice_trim(slice_str(text)), claims) &&
           call->now / ST_TICKS_PER_SECOND < claims->expires_s;
}

/* False: the request was refused. */
static bool admit(struct st_call *call, int64_t tenant)
{
    struct st_token_claims claims;
    const char *app_key = http_exchange_header(call->x, "ST-App-Key");
    if (app_key == NULL || strcmp(app_key, call->server->app_key) != 0) {
        st_reply_problem(call, 401, "The application key is missing or unknown. Send it in the ST-App-Key header.",
                         NULL, NULL);
        return false;
    }
    if (!token_is_good(call, &claims)) {
        http_exchange_add_header(call->x, "WWW-Authenticate", "Bearer error=\"invalid_token\"");
        st_reply_problem(call, 401, "The access token is missing, malformed or expired.", NULL, NULL);
        return false;
    }
    call->site = claims.tenant == tenant ? st_server_site(call->server, tenant) : NULL;
    if (call->site == NULL) {
        st_reply_problem(call, 403, "The application is not connected to this tenant.", NULL, NULL);
        return false;
    }
    int64_t wait_ms = st_rate_take(call->server, &call->site->guarded.api, call->settings.rate_per_second);
    if (wait_ms > 0) {
        st_reply_throttled(call, wait_ms);
        return false;
    }
    return true;
}

static void add_date(struct st_call *call)
{
    static const char days[7][4] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    int64_t us = st_server_now_us(&call->settings);
    char text[TIMESTAMP_TEXT_SIZE], date[40];
    timestamp_text(text, us, 0); /* 2025-10-21T10:00:00Z */
    int month = (text[5] - '0') * 10 + text[6] - '0';
    snprintf(date, sizeof date, "%s, %.2s %s %.4s %.8s GMT", days[timestamp_to_days(us) % 7], text + 8,
             months[month - 1], text, text + 11);
    http_exchange_add_header(call->x, "Date", date);
}

static void serve_api(struct st_call *call, const struct target *target)
{
    if (call->settings.latency_ms > 0)
        cancel_sleep_ms(NULL, call->settings.latency_ms);
    call->entity = target->entity;
    if (!admit(call, target->tenant))
        return;
    if (target->route >= ST_ROUTE_EXPORT)
        st_export_serve(call);
    else
        st_list_serve(call);
}

/* Passes all that a list passes. */
static void serve_fixture(struct st_call *call, const struct st_fixture *fixture)
{
    char name[FAULTS_METHOD_SIZE];
    snprintf(name, sizeof name, "servicetitan.%s.%.*s", fixture->export ? "export" : "list",
             SLICE_ARG(fixture->resource));
    const struct fault_event event = {.method = name, .target = slice_str(http_exchange_path(call->x))};
    atomic_fetch_add(&call->server->stats.requests[ST_ROUTE_OTHER], 1);
    faults_request(call->server->faults, &event, &call->ticket);
    call->now = st_server_now(&call->settings);
    add_date(call);
    if (inject(call))
        return;
    if (call->settings.latency_ms > 0)
        cancel_sleep_ms(NULL, call->settings.latency_ms);
    if (admit(call, fixture->tenant))
        st_fixture_serve(call, fixture);
}

static void serve(struct st_call *call)
{
    const char *method = http_exchange_method(call->x), *path = http_exchange_path(call->x);
    char name[FAULTS_METHOD_SIZE];
    struct target target = {.route = ST_ROUTE_OTHER};
    bool token = strcmp(path, "/connect/token") == 0 && strcmp(method, "POST") == 0;
    bool get = !token && strcmp(method, "GET") == 0;
    struct st_fixture fixture = {0};
    if (get && st_fixture_find(call->server, path, &fixture)) {
        serve_fixture(call, &fixture);
        st_fixture_release(&fixture);
        return;
    }
    bool api = get && parse_path(path, &target);
    enum st_route route = token ? ST_ROUTE_TOKEN : api ? target.route : ST_ROUTE_OTHER;
    atomic_fetch_add(&call->server->stats.requests[route], 1);
    target.route = route;
    enter(call, token ? "token" : !api ? "other" : route < ST_ROUTE_EXPORT ? "list." : "export.", &target, name);
    call->now = st_server_now(&call->settings);
    add_date(call);
    if (inject(call))
        return;
    if (token)
        st_token_serve(call);
    else if (api)
        serve_api(call, &target);
    else
        no_operation(call);
}

static void count_in(struct st_stats *stats)
{
    long long now = atomic_fetch_add(&stats->in_flight, 1) + 1;
    long long most = atomic_load(&stats->most_in_flight);
    while (now > most && !atomic_compare_exchange_weak(&stats->most_in_flight, &most, now))
        ;
}

static void handle(void *user, struct http_exchange *x)
{
    struct st_server *server = user;
    if (faults_admin_serve(server->faults, x))
        return;
    if (strncmp(http_exchange_path(x), "/_admin/", 8) == 0) {
        st_admin_serve(server, x);
        return;
    }
    struct st_call call = {.server = server, .x = x};
    st_server_settings(server, &call.settings);
    count_in(&server->stats);
    serve(&call);
    atomic_fetch_sub(&server->stats.in_flight, 1);
}

/* ---- Start and stop ---------------------------------------------------------------------------------------------- */

static int percent_or(int value, int fallback)
{
    return value < 0 ? 0 : value == 0 ? fallback : value;
}

static void default_settings(const struct st_server_options *options, struct st_settings *ret)
{
    *ret = (struct st_settings){
        .rate_per_second = options->rate_per_second > 0 ? options->rate_per_second : 60,
        .token_rate_per_second = 10,
        .retry_after = true,
        .latency_ms = options->latency_ms,
        .visibility_lag_ms = options->visibility_lag_ms,
        .clock_skew_ms = options->clock_skew_ms,
        .export_batch = 1000,
        .export_lag_ms = 15 * 60 * 1000,
        .token_life_s = ST_TOKEN_LIFE_S,
    };
}

static void make_secret(struct st_site *site, uint64_t seed)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    char text[96];
    int len = snprintf(text, sizeof text, "client secret of %lld, seed %llu", (long long)site->company.tenant,
                       (unsigned long long)seed);
    SHA256((const unsigned char *)text, (size_t)len, digest);
    site->client_id = xasprintf("cid.local.%lld", (long long)site->company.tenant);
    site->client_secret =
        xasprintf("cs1.local.%lld.%02x%02x%02x%02x%02x%02x%02x%02x", (long long)site->company.tenant, digest[0],
                  digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7]);
}

static void make_site(struct st_server *server, const struct st_server_options *options,
                      const struct st_server_tenant *tenant)
{
    struct st_site *site = &server->sites[server->site_count++];
    int64_t jobs = tenant->jobs > 0 ? tenant->jobs : options->jobs;
    const struct st_company_options company = {
        .timeline = server->timeline,
        .tenant = tenant->tenant,
        .seed = server->seed,
        .jobs = jobs,
        .null_payroll_percent = percent_or(options->null_payroll_percent, 30),
        .tie_percent = percent_or(options->tie_percent, 2),
        .tie_run = options->tie_run > 0 ? options->tie_run : 8,
    };
    st_company_init(&site->company, &company);
    for (int e = 0; e < ST_ENTITIES; e++)
        st_overlay_init(&site->overlays[e], &site->company, (enum st_entity)e);
    make_secret(site, server->seed);
}

static bool check_options(const struct st_server_options *options, const struct st_server_tenant *tenants, size_t count,
                          struct error *err)
{
    if (count > ST_MAX_TENANTS)
        return error_set(err, ERROR_PERMANENT, "config_value", "cannot simulate %zu tenants: at most %d", count,
                         ST_MAX_TENANTS);
    if (options->jobs < 0 || options->jobs > ST_MAX_JOBS)
        return error_set(err, ERROR_PERMANENT, "config_value", "cannot simulate %lld jobs: 1 to %lld are allowed",
                         (long long)options->jobs, ST_MAX_JOBS);
    if (options->history_years < 0 || options->history_years > ST_MAX_HISTORY_YEARS)
        return error_set(err, ERROR_PERMANENT, "config_value",
                         "cannot simulate %lld years of history: 1 to %d are allowed",
                         (long long)options->history_years, ST_MAX_HISTORY_YEARS);
    for (size_t i = 0; i < count; i++)
        if (tenants[i].tenant <= 0 || tenants[i].jobs < 0 || tenants[i].jobs > ST_MAX_JOBS)
            return error_set(err, ERROR_PERMANENT, "config_value", "cannot simulate tenant %lld with %lld jobs",
                             (long long)tenants[i].tenant, (long long)tenants[i].jobs);
    return true;
}

static bool start_http(struct st_server *server, const struct st_server_options *options, struct error *err)
{
    const struct http_server_options http = {
        .bind_address = options->bind_address ? options->bind_address : "127.0.0.1",
        .port = options->port,
        .handler_threads = HANDLER_THREADS,
        .max_body_bytes = MAX_BODY_BYTES,
        .handler = handle,
        .user = server,
    };
    server->http = http_server_start(&http, err);
    return server->http != NULL;
}

struct st_server *st_server_start(const struct st_server_options *wanted, struct error *err)
{
    static const struct st_server_tenant one = {ST_SERVER_DEFAULT_TENANT, 0};
    struct st_server_options settled = *wanted, *options = &settled;
    const struct st_server_tenant *tenants = options->tenant_count ? options->tenants : &one;
    size_t count = options->tenant_count ? options->tenant_count : 1;
    if (!check_options(options, tenants, count, err) || !st_base_time(options, err))
        return NULL;
    struct st_server *server = xcalloc(1, sizeof *server);
    pthread_mutex_init(&server->lock, NULL);
    server->seed = options->seed;
    server->timeline = st_timeline_new(options->base_time_us * 10, options->history_years);
    server->sites = xcalloc(count, sizeof *server->sites);
    for (size_t i = 0; i < count; i++)
        make_site(server, options, &tenants[i]);
    st_token_key_init(&server->token_key, server->seed);
    server->app_key = xstrdup("ak1.local.simulated");
    server->fixtures = options->fixtures ? xstrdup(options->fixtures) : NULL;
    server->own_faults = options->faults == NULL;
    server->faults = options->faults ? options->faults : faults_new();
    default_settings(options, &server->settings);
    server->journal = st_journal_open(server, options->data_dir, err);
    if (server->journal == NULL || !start_http(server, options, err)) {
        st_server_stop(server);
        return NULL;
    }
    return server;
}

static void release_site(struct st_site *site)
{
    for (int e = 0; e < ST_ENTITIES; e++)
        st_overlay_release(&site->overlays[e]);
    free(site->client_id);
    free(site->client_secret);
}

void st_server_stop(struct st_server *server)
{
    if (server == NULL)
        return;
    if (server->own_faults)
        faults_stop(server->faults);
    if (server->http)
        http_server_stop(server->http, STOP_GRACE_MS);
    st_stream_stop(server);
    st_journal_close(server->journal);
    for (size_t i = 0; i < server->site_count; i++)
        release_site(&server->sites[i]);
    free(server->sites);
    if (server->own_faults)
        faults_free(server->faults);
    st_timeline_free(server->timeline);
    free(server->app_key);
    free(server->fixtures);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

uint16_t st_server_port(const struct st_server *server)
{
    return http_server_port(server->http);
}

bool st_server_access(const struct st_server *server, size_t i, struct st_server_access *ret)
{
    if (i >= server->site_count)
        return false;
    const struct st_site *site = &server->sites[i];
    *ret = (struct st_server_access){site->company.tenant, site->client_id, site->client_secret, server->app_key};
    return true;
}
