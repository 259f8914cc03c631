/* fake_st.h - a ServiceTitan of one tenant and one entity, with a history held in memory and faults by script.
 *
 * Facts it keeps: form token endpoint, Bearer and ST-App-Key, envelope, AND of half-open time filters, unknown
 * parameters ignored, order that is not dependable. All fields may be set by the test before the first request; `mutex`
 * guards them afterwards. */
#ifndef ST_TEST_FAKE_ST_H
#define ST_TEST_FAKE_ST_H

#include "../net/tiny_server.h"
#include "base/clock.h"
#include "base/timestamp.h"
#include "base/uuid.h"
#include "servicetitan/read.h"

enum { FAKE_MAX_FAULTS = 64, FAKE_MAX_TOKENS = 64, FAKE_TENANT = 4711 };
#define FAKE_BASE_US 1735689600000000LL /* 2025-01-01T00:00:00Z */

struct fake_record {
    int64_t id;
    bool has_created;
    int64_t created_us, modified_us;
};

/* What happens to one list request (or token request) instead of the right thing. */
struct fake_fault {
    int status; /* 0: the right reply, but cut after cut_bytes; -1: connection closed; -2: never answers */
    const char *headers;
    const char *body;
    size_t cut_bytes;
};

struct fake_st {
    struct tiny_server *server;
    pthread_mutex_t mutex;
    char api_url[64], auth_url[80];

    struct fake_record *records;
    size_t count, capacity;

    struct fake_fault list_faults[FAKE_MAX_FAULTS], token_faults[FAKE_MAX_FAULTS];
    size_t list_fault_count, list_fault_next, token_fault_count, token_fault_next;
    unsigned chaos_percent; /* of the list requests fail in some way */
    int64_t latency_ms;     /* of all replies, by the scaled clock, before their Date */
    uint64_t cut_every;     /* every n-th list reply is cut in the middle; 0 = never */
    int64_t page_cap;       /* larger pages are cut down to this; 0 = none */
    bool cap_is_silent;     /* the envelope claims the asked size */
    int64_t refuse_above;   /* 413 for larger pages; 0 = never */
    bool ignore_filter;
    bool shuffled;        /* another order with each request */
    bool total_last;      /* envelope scalars behind data */
    int64_t date_skew_us; /* of the Date header */
    bool send_date;
    int64_t token_life_s;
    void (*before_list)(struct fake_st *fake, const char *target); /* called with the mutex held */
    void *user;

    int tokens_made, list_requests, unauthorized, max_page_asked;
    bool token_valid[FAKE_MAX_TOKENS];
    int last_token;
    char last_target[4096], last_app_key[64], last_form[512], last_form_type[64];
};

static inline void fake_add(struct fake_st *fake, int64_t created_us, int64_t modified_us)
{
    if (fake->count == fake->capacity) {
        fake->capacity = fake->capacity ? 2 * fake->capacity : 64;
        fake->records = xrealloc(fake->records, fake->capacity * sizeof fake->records[0]);
    }
    fake->records[fake->count] = (struct fake_record){(int64_t)fake->count + 1, true, created_us, modified_us};
    fake->count++;
}

/* ---- Replies ----------------------------------------------------------------------------------------------------- */

static inline bool fake_send(struct fake_st *fake, int fd, int status, const char *headers, struct slice body)
{
    struct buf all = BUF_INIT;
    if (fake->send_date) {
        static const char days[] = "ThuFriSatSunMonTueWed", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
        time_t seconds = (time_t)((clock_wall_us() + fake->date_skew_us) / 1000000);
        struct tm tm;
        gmtime_r(&seconds, &tm);
        buf_printf(&all, "Date: %.3s, %02d %.3s %d %02d:%02d:%02d GMT\r\n", days + 3 * ((seconds / 86400) % 7),
                   tm.tm_mday, months + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    }
    buf_append_str(&all, headers ? headers : "");
    bool ok = tiny_reply(fd, status, buf_cstr(&all), body);
    buf_release(&all);
    return ok;
}

/* Serves a scripted fault; false when the connection ends. */
static inline bool fake_serve_fault(struct fake_st *fake, int fd, const struct fake_fault *fault)
{
    char byte;
    if (fault->status == -1)
        return false;
    if (fault->status == -2) {
        while (recv(fd, &byte, 1, 0) > 0)
            ;
        return false;
    }
    return fake_send(fake, fd, fault->status, fault->headers, slice_str(fault->body ? fault->body : ""));
}

static inline bool fake_serve_token(struct fake_st *fake, const struct tiny_request *request)
{
    char body[256];
    struct fake_fault fault = {.status = 200};
    pthread_mutex_lock(&fake->mutex);
    snprintf(fake->last_form, sizeof fake->last_form, "%.*s", SLICE_ARG(request->body));
    tiny_header(request, "Content-Type", fake->last_form_type, sizeof fake->last_form_type);
    bool broken = fake->token_fault_next < fake->token_fault_count;
    if (broken) {
        fault = fake->token_faults[fake->token_fault_next++];
    } else {
        int number = fake->tokens_made++ % FAKE_MAX_TOKENS;
        fake->token_valid[number] = true;
        snprintf(body, sizeof body,
                 "{\"access_token\":\"token-number-%d\",\"expires_in\":%lld,\"token_type\":\"Bearer\"}", number,
                 (long long)fake->token_life_s);
    }
    pthread_mutex_unlock(&fake->mutex);
    if (fake->latency_ms > 0)
        cancel_sleep_ms(NULL, fake->latency_ms);
    return broken ? fake_serve_fault(fake, request->fd, &fault)
                  : fake_send(fake, request->fd, 200, NULL, slice_str(body));
}

/* ---- Lists ------------------------------------------------------------------------------------------------------- */

struct fake_query {
    int64_t page, page_size;
    bool total, by_id, has_bound[4];
    int64_t bound_us[4]; /* createdOnOrAfter createdBefore modifiedOnOrAfter modifiedBefore */
};

static inline int fake_hex(char c)
{
    return c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
}

static inline void fake_decode(char *text)
{
    char *to = text;
    for (const char *from = text; *from; from++) {
        if (*from == '%' && from[1] && from[2]) {
            *to++ = (char)(fake_hex(from[1]) * 16 + fake_hex(from[2]));
            from += 2;
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
}

static inline struct fake_query fake_parse(const char *target)
{
    static const char *const bounds[] = {
        "createdOnOrAfter=", "createdBefore=", "modifiedOnOrAfter=", "modifiedBefore="};
    struct fake_query query = {.page = 1, .page_size = 50};
    char *text = xstrdup(strchr(target, '?') ? strchr(target, '?') + 1 : ""), *save = NULL;
    for (char *part = strtok_r(text, "&", &save); part; part = strtok_r(NULL, "&", &save)) {
        fake_decode(part);
        if (strncmp(part, "page=", 5) == 0)
            query.page = atoll(part + 5);
        if (strncmp(part, "pageSize=", 9) == 0)
            query.page_size = atoll(part + 9);
        query.total = query.total || strcmp(part, "includeTotal=true") == 0;
        query.by_id = query.by_id || strcmp(part, "sort=+Id") == 0;
        for (int i = 0; i < 4; i++)
            if (strncmp(part, bounds[i], strlen(bounds[i])) == 0)
                query.has_bound[i] = timestamp_parse(slice_str(part + strlen(bounds[i])), &query.bound_us[i], NULL);
    }
    free(text);
    return query;
}

static inline bool fake_matches(const struct fake_query *q, const struct fake_record *r)
{
    if ((q->has_bound[0] || q->has_bound[1]) && !r->has_created)
        return false;
    return (!q->has_bound[0] || r->created_us >= q->bound_us[0]) &&
           (!q->has_bound[1] || r->created_us < q->bound_us[1]) &&
           (!q->has_bound[2] || r->modified_us >= q->bound_us[2]) &&
           (!q->has_bound[3] || r->modified_us < q->bound_us[3]);
}

static inline void fake_append_record(struct buf *out, const struct fake_record *r)
{
    char created[TIMESTAMP_TEXT_SIZE], modified[TIMESTAMP_TEXT_SIZE];
    timestamp_text(created, r->created_us, 6);
    timestamp_text(modified, r->modified_us, 6);
    buf_printf(out, "{\"id\":%lld,\"createdOn\":", (long long)r->id);
    if (r->has_created)
        buf_printf(out, "\"%s\"", created);
    else
        buf_append_str(out, "null");
    buf_printf(out, ",\"modifiedOn\":\"%s\",\"name\":\"number %lld\"}", modified, (long long)r->id);
}

/* Positions of the matching records in the order of this request. */
static inline size_t fake_select(struct fake_st *fake, const struct fake_query *query, size_t *order)
{
    size_t n = 0;
    for (size_t i = 0; i < fake->count; i++)
        if (fake->ignore_filter || fake_matches(query, &fake->records[i]))
            order[n++] = i;
    for (size_t i = 0; i < n / 2 && !query->by_id; i++) { /* newest id first, as the real one */
        size_t swap = order[i];
        order[i] = order[n - 1 - i];
        order[n - 1 - i] = swap;
    }
    for (size_t i = n; i > 1 && fake->shuffled; i--) {
        size_t j = random_u64() % i, swap = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swap;
    }
    return n;
}

static inline void fake_build_page(struct fake_st *fake, const struct fake_query *query, struct buf *out)
{
    size_t *order = xcalloc(fake->count + 1, sizeof *order);
    size_t n = fake_select(fake, query, order);
    int64_t size = fake->page_cap && fake->page_cap < query->page_size ? fake->page_cap : query->page_size;
    size_t from = (size_t)((query->page - 1) * size), to = from + (size_t)size;
    from = from < n ? from : n;
    to = to < n ? to : n;
    struct buf scalars = BUF_INIT;
    buf_printf(&scalars, "\"page\":%lld,\"pageSize\":%lld,\"hasMore\":%s,\"totalCount\":", (long long)query->page,
               (long long)(fake->cap_is_silent ? query->page_size : size), to < n ? "true" : "false");
    query->total ? buf_printf(&scalars, "%zu", n) : buf_append_str(&scalars, "null");
    buf_append_char(out, '{');
    if (!fake->total_last)
        buf_printf(out, "%s,", buf_cstr(&scalars));
    buf_append_str(out, "\"data\":[");
    for (size_t i = from; i < to; i++) {
        if (i > from)
            buf_append_char(out, ',');
        fake_append_record(out, &fake->records[order[i]]);
    }
    buf_append_char(out, ']');
    if (fake->total_last)
        buf_printf(out, ",%s", buf_cstr(&scalars));
    buf_append_char(out, '}');
    buf_release(&scalars);
    free(order);
}

static inline bool fake_is_authorized(struct fake_st *fake, const struct tiny_request *request)
{
    char bearer[128];
    int number = -1;
    tiny_header(request, "ST-App-Key", fake->last_app_key, sizeof fake->last_app_key);
    tiny_header(request, "Authorization", bearer, sizeof bearer);
    if (sscanf(bearer, "Bearer token-number-%d", &number) != 1 || number < 0 || number >= FAKE_MAX_TOKENS)
        return false;
    fake->last_token = number;
    return fake->token_valid[number];
}

static inline bool fake_cut(struct fake_st *fake, int fd, const struct buf *body, size_t bytes)
{
    struct buf head = BUF_INIT;
    (void)fake;
    buf_printf(&head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", body->len);
    tiny_write(fd, head.ptr, head.len);
    tiny_write(fd, body->ptr, bytes < body->len ? bytes : body->len - 1);
    buf_release(&head);
    return false;
}

static inline struct fake_fault fake_chaos(void)
{
    static const struct fake_fault faults[] = {
        {.status = 500},
        {.status = 503, .body = "<html>busy</html>"},
        {.status = 429, .headers = "Retry-After: 3\r\n"},
        {.status = 429, .body = "{\"title\":\"Rate limit is exceeded. Try again in 2 seconds.\"}"},
        {.status = 200, .body = ""},
        {.status = 200, .body = "<html>"},
        {.status = -1},
        {.status = 0, .cut_bytes = 40},
        {.status = 0, .cut_bytes = 300},
    };
    return faults[random_u64() % (sizeof faults / sizeof faults[0])];
}

static inline bool fake_serve_list(struct fake_st *fake, const struct tiny_request *request)
{
    struct buf body = BUF_INIT;
    struct fake_fault fault = {.status = 0, .cut_bytes = SIZE_MAX};
    struct fake_query query = fake_parse(request->target);
    pthread_mutex_lock(&fake->mutex);
    snprintf(fake->last_target, sizeof fake->last_target, "%s", request->target);
    bool authorized = fake_is_authorized(fake, request);
    fake->list_requests++;
    fake->unauthorized += !authorized;
    if (query.page_size > fake->max_page_asked)
        fake->max_page_asked = (int)query.page_size;
    if (!authorized)
        fault = (struct fake_fault){.status = 401, .body = "{\"title\":\"Unauthorized\",\"status\":401}"};
    else if (fake->list_fault_next < fake->list_fault_count)
        fault = fake->list_faults[fake->list_fault_next++];
    else if (fake->refuse_above && query.page_size > fake->refuse_above)
        fault = (struct fake_fault){.status = 413, .body = "<html>too large</html>"};
    else if (random_u64() % 100 < fake->chaos_percent)
        fault = fake_chaos();
    if (fault.status == 0) {
        if (fake->before_list)
            fake->before_list(fake, request->target);
        fake_build_page(fake, &query, &body);
        if (fake->cut_every && (uint64_t)fake->list_requests % fake->cut_every == 0)
            fault.cut_bytes = body.len * 2 / 3;
    }
    pthread_mutex_unlock(&fake->mutex);
    if (fake->latency_ms > 0)
        cancel_sleep_ms(NULL, fake->latency_ms);
    bool go_on;
    if (fault.status != 0)
        go_on = fake_serve_fault(fake, request->fd, &fault);
    else if (fault.cut_bytes != SIZE_MAX)
        go_on = fake_cut(fake, request->fd, &body, fault.cut_bytes);
    else
        go_on = fake_send(fake, request->fd, 200, "Content-Type: application/json\r\n", buf_slice(&body));
    buf_release(&body);
    return go_on;
}

static inline bool fake_handle(void *user, const struct tiny_request *request)
{
    struct fake_st *fake = user;
    if (strcmp(request->target, "/connect/token") == 0)
        return fake_serve_token(fake, request);
    if (strncmp(request->target, "/jpm/v2/tenant/4711/jobs?", 25) == 0)
        return fake_serve_list(fake, request);
    return fake_send(fake, request->fd, 404, NULL, SLICE_LIT("{\"title\":\"Resource not found\"}"));
}

static inline struct fake_st *fake_start(void)
{
    struct fake_st *fake = xcalloc(1, sizeof *fake);
    pthread_mutex_init(&fake->mutex, NULL);
    fake->token_life_s = 900;
    fake->send_date = true;
    fake->server = tiny_server_start(fake_handle, fake);
    snprintf(fake->api_url, sizeof fake->api_url, "http://127.0.0.1:%d", fake->server->port);
    snprintf(fake->auth_url, sizeof fake->auth_url, "http://127.0.0.1:%d/connect/token", fake->server->port);
    return fake;
}

static inline void fake_stop(struct fake_st *fake)
{
    tiny_server_stop(fake->server);
    pthread_mutex_destroy(&fake->mutex);
    free(fake->records);
    free(fake);
}

static inline void fake_fault_list(struct fake_st *fake, struct fake_fault fault)
{
    pthread_mutex_lock(&fake->mutex);
    fake->list_faults[fake->list_fault_count++] = fault;
    pthread_mutex_unlock(&fake->mutex);
}

static inline void fake_fault_token(struct fake_st *fake, struct fake_fault fault)
{
    pthread_mutex_lock(&fake->mutex);
    fake->token_faults[fake->token_fault_count++] = fault;
    pthread_mutex_unlock(&fake->mutex);
}

/* ---- The tenant that talks to it --------------------------------------------------------------------------------- */

static inline const struct entity *fake_entity(void)
{
    static const struct entity jobs = {
        .name = "jobs",
        .path = "jpm/v2/tenant/{tenant}/jobs",
        .active_param = "active",
        .active_value = "Any",
        .max_page_size = 200,
    };
    return &jobs;
}

struct fake_client {
    struct http_pool *pool;
    struct secret *id, *secret, *app_key;
    struct st_tenant *tenant;
};

/* Rates are by the scaled clock, so that limits cost no real time unless a test wants them. */
static inline void fake_client_init(struct fake_client *client, const struct fake_st *fake, double rate,
                                    int64_t timeout_ms)
{
    struct error err = ERROR_INIT;
    client->pool = http_pool_new(16);
    client->id = secret_new(SLICE_LIT("cid.one&two"));
    client->secret = secret_new(SLICE_LIT("cs1.very/secret"));
    client->app_key = secret_new(SLICE_LIT("ak1.appkey"));
    struct st_tenant_options options = {
        .tenant = FAKE_TENANT,
        .api_url = fake->api_url,
        .auth_url = fake->auth_url,
        .client_id = client->id,
        .client_secret = client->secret,
        .app_key = client->app_key,
        .rate_per_second = rate,
        .burst = 2 * rate,
        .max_retries = 5,
        .timeout_ms = timeout_ms,
        .pool = client->pool,
    };
    client->tenant = st_tenant_new(&options, &err);
    if (!client->tenant)
        BUG("%s", err.message);
}

static inline void fake_client_release(struct fake_client *client)
{
    st_tenant_free(client->tenant);
    http_pool_free(client->pool);
    secret_unref(client->id);
    secret_unref(client->secret);
    secret_unref(client->app_key);
}

#endif
