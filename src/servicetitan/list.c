/* list.c - one list request: URL, headers, tries, and the body streamed into the caller's page.
 *
 * A try is: token, turn at the limiter, breaker, exchange. It is repeated as long as no record was handed out: then
 * nobody has seen anything of it. After the first record the fetch belongs to the caller, who throws it away and makes
 * it anew. */
#include "servicetitan/read.h"
#include "tenant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/timestamp.h"

enum { MAX_ERROR_BODY = 16 * 1024, MAX_BODY_BYTES = 1024 * 1024 * 1024 };

static const char *const column_params[][2] = {
    [ST_CREATED_ON] = {"createdOnOrAfter", "createdBefore"},
    [ST_MODIFIED_ON] = {"modifiedOnOrAfter", "modifiedBefore"},
};

/* ---- URL --------------------------------------------------------------------------------------------------------- */

static void append_path(struct buf *url, const struct st_tenant *tenant, const char *path)
{
    static const char placeholder[] = "{tenant}";
    const char *at = strstr(path, placeholder);
    buf_printf(url, "%s/", tenant->api_url);
    if (!at) {
        buf_append_str(url, path);
        return;
    }
    buf_append(url, path, (size_t)(at - path));
    buf_printf(url, "%lld%s", (long long)tenant->id, at + sizeof placeholder - 1);
}

/* A fraction only where it says something: whole seconds are what every endpoint understands for sure. */
static void append_time(struct buf *url, const char *param, int64_t us)
{
    char text[TIMESTAMP_TEXT_SIZE];
    int digits = us % 1000000 == 0 ? 0 : us % 1000 == 0 ? 3 : 6;
    buf_printf(url, "&%s=", param);
    buf_append_url_escaped(url, slice_str(timestamp_text(text, us, digits)));
}

/* A feed shows changes of the last minutes only to those who ask for them. */
static void build_export_url(struct buf *url, const struct st_tenant *tenant, const struct st_list_request *request)
{
    append_path(url, tenant, request->entity->export_path);
    buf_append_str(url, "?includeRecentChanges=true");
    if (request->continue_from) {
        buf_append_str(url, "&from=");
        buf_append_url_escaped(url, slice_str(request->continue_from));
    } else if (request->window.has_from) {
        append_time(url, "from", request->window.from_us);
    }
}

static void build_url(struct buf *url, const struct st_tenant *tenant, const struct st_list_request *request)
{
    const struct st_window *window = &request->window;
    if (request->export) {
        build_export_url(url, tenant, request);
        return;
    }
    append_path(url, tenant, request->entity->path);
    buf_printf(url, "?pageSize=%lld&page=%lld&includeTotal=true", (long long)request->page_size,
               (long long)request->page);
    if (request->entity->active_param)
        buf_printf(url, "&%s=%s", request->entity->active_param, request->entity->active_value);
    if (request->by_id)
        buf_append_str(url, "&sort=%2BId");
    if (request->unfiltered)
        return;
    if (window->has_from)
        append_time(url, column_params[window->column][0], window->from_us);
    if (window->has_to)
        append_time(url, column_params[window->column][1], window->to_us);
}

/* ---- One try ----------------------------------------------------------------------------------------------------- */

struct attempt {
    struct st_tenant *tenant;
    const struct st_list_request *request;
    const char *url;
    struct cancel *cancel;
    bool only_envelope;  /* nobody looks at the records, so a try may always be repeated */
    uint64_t generation; /* of the token that the last try carried */
    uint64_t stale;      /* tokens up to this one were there when the first 401 came; 0 = none came */
    int64_t sent_at_us;
    struct buf error_body; /* of a reply that is no 200, its beginning */
    bool stopped;          /* by the caller or the page's record callback */
    bool page_failed;
    struct error page_error;
};

static bool on_body(void *user, int status, struct slice piece)
{
    struct attempt *attempt = user;
    const struct st_list_request *request = attempt->request;
    if (status != 200) {
        size_t room = MAX_ERROR_BODY - attempt->error_body.len;
        buf_append(&attempt->error_body, piece.ptr, piece.len < room ? piece.len : room);
        return true;
    }
    attempt->page_failed = !page_feed(request->sink, piece, &attempt->page_error);
    if (attempt->page_failed)
        return false;
    attempt->stopped =
        page_stopped(request->sink) || (request->stop && request->stop(request->user, page_envelope(request->sink)));
    return !attempt->stopped;
}

static bool send_with(struct attempt *attempt, const struct secret *token, struct http_response *response,
                      struct error *err)
{
    struct st_tenant *tenant = attempt->tenant;
    struct buf bearer = BUF_INIT;
    struct slice value = secret_reveal(token);
    buf_reserve(&bearer, value.len + 16);
    buf_append_str(&bearer, "Bearer ");
    buf_append_slice(&bearer, value);
    struct http_request request = {
        .method = "GET",
        .url = attempt->url,
        .headers = {{"Authorization", buf_slice(&bearer)},
                    {"ST-App-Key", secret_reveal(tenant->app_key)},
                    {"Accept", SLICE_LIT("application/json")}},
        .header_count = 3,
        .timeout_ms = tenant->timeout_ms,
        .max_body_bytes = MAX_BODY_BYTES,
        .on_body = on_body,
        .user = attempt,
        .cancel = attempt->cancel,
    };
    attempt->sent_at_us = st_clock_at(tenant, clock_wall_us());
    if (attempt->request->sending)
        attempt->request->sending(attempt->request->user, attempt->sent_at_us);
    bool ok = st_exchange(tenant, tenant->api_breaker, attempt->request->background, &request, response, err);
    explicit_bzero(bearer.ptr, bearer.len);
    buf_release(&bearer);
    return ok;
}

static bool judge(struct attempt *attempt, const struct http_response *response, struct error *err)
{
    char what[160];
    if (response->status != 200) {
        if (response->status == 429) {
            limiter_throttled(attempt->tenant->limiter);
            atomic_fetch_add(&attempt->tenant->counters.throttled, 1);
            st_count_metric(attempt->tenant, METRIC_ST_THROTTLED, 1);
        }
        snprintf(what, sizeof what, "list %s of tenant %lld", attempt->request->entity->name,
                 (long long)attempt->tenant->id);
        return st_error(err, response->status, response->retry_after_ms, buf_slice(&attempt->error_body), what);
    }
    if (attempt->page_failed) {
        *err = attempt->page_error;
        return error_prefix(err, "could not list %s", attempt->request->entity->name);
    }
    if (attempt->stopped)
        return true;
    return page_finish(attempt->request->sink, err) ||
           error_prefix(err, "could not list %s", attempt->request->entity->name);
}

static bool wait_turn(struct attempt *attempt, struct error *err)
{
    int64_t waited_ms = 0;
    struct limiter *limiter = attempt->tenant->limiter;
    bool ok = attempt->request->background ? limiter_take_background(limiter, attempt->cancel, &waited_ms, err)
                                           : limiter_take(limiter, attempt->cancel, &waited_ms, err);
    atomic_fetch_add(&attempt->tenant->counters.limiter_wait_ms, waited_ms);
    st_count_metric(attempt->tenant, METRIC_ST_LIMITER_WAIT, waited_ms);
    return ok;
}

static bool try_once(struct attempt *attempt, struct error *err)
{
    struct secret *token = NULL;
    struct http_response response = HTTP_RESPONSE_INIT;
    page_reset(attempt->request->sink);
    buf_clear(&attempt->error_body);
    attempt->page_failed = attempt->stopped = false;
    bool ok = wait_turn(attempt, err) &&
              st_token_get(attempt->tenant, &token, &attempt->generation, attempt->cancel, err) &&
              send_with(attempt, token, &response, err) && judge(attempt, &response, err);
    if (!ok)
        st_scrub(attempt->tenant, token, err);
    secret_unref(token);
    http_response_release(&response);
    return ok;
}

/* ---- Tries ------------------------------------------------------------------------------------------------------- */

/* Time-outs and 413 may mean that the page is too large. Returns true when a smaller one is to be asked for instead. */
static bool halve_page(const struct attempt *attempt, struct error *err)
{
    bool refused = err->status == 413;
    bool slow = err->status == 504 || (strcmp(err->code, "http_timeout") == 0 && err->effect == EFFECT_MAYBE);
    int64_t asked = attempt->request->page_size;
    if (attempt->request->export || (!refused && !slow) ||
        !st_page_halve(attempt->tenant, attempt->request->entity, asked, refused))
        return false;
    char reason[ERROR_MESSAGE_SIZE];
    int status = err->status;
    memcpy(reason, err->message, sizeof reason);
    error_set(err, ERROR_RETRY, "page_too_large", "could not read a page of %lld records: %.500s", (long long)asked,
              reason);
    err->status = status;
    return true;
}

/* A 200 that is not JSON (a gateway's page, cut) is as transient as a 503, as long as nobody has seen a record of it.
 */
static bool may_try_again(const struct attempt *attempt, const struct error *err, int retries)
{
    if (page_envelope(attempt->request->sink)->records > 0 && !attempt->only_envelope)
        return false;
    if (strcmp(err->code, "breaker_open") == 0)
        return retries > 0; /* nothing begun yet: the caller defers; in the middle of it: wait for the probe */
    return error_may_retry(err) || attempt->page_failed;
}

/* A 401 is final only when the refused token was asked for after the first 401; an older one may have ended while it
 * waited. */
static bool renews_token(struct attempt *attempt, const struct error *err)
{
    if (err->status != 401 || strcmp(err->code, "http_401") != 0)
        return false;
    bool fresh = attempt->stale > 0 && attempt->generation > attempt->stale;
    uint64_t newest = st_token_refused(attempt->tenant, attempt->generation);
    if (attempt->stale == 0)
        attempt->stale = newest;
    return !fresh;
}

static bool run_attempts(struct attempt *attempt, struct error *err)
{
    struct backoff backoff;
    struct backoff_policy policy = BACKOFF_DEFAULT;
    policy.max_retries = attempt->tenant->max_retries;
    backoff_init(&backoff, policy);
    while (!try_once(attempt, err)) {
        if (renews_token(attempt, err))
            continue; /* at once, with the new token */
        if (!cancel_check(attempt->cancel, err) || halve_page(attempt, err) ||
            !may_try_again(attempt, err, backoff.retries) ||
            !st_retry_wait(attempt->tenant, &backoff, attempt->request->entity->name, attempt->cancel, err))
            return false;
    }
    return true;
}

static bool list(struct st_tenant *tenant, const struct st_list_request *request, bool only_envelope,
                 struct st_list_reply *ret, struct cancel *cancel, struct error *err)
{
    struct buf url = BUF_INIT;
    struct error local = ERROR_INIT;
    struct attempt attempt = {.tenant = tenant, .request = request, .cancel = cancel, .only_envelope = only_envelope};
    build_url(&url, tenant, request);
    attempt.url = buf_cstr(&url);
    bool ok = run_attempts(&attempt, &local);
    if (ok)
        *ret = (struct st_list_reply){*page_envelope(request->sink), attempt.sent_at_us, attempt.stopped};
    else if (err)
        *err = local;
    buf_release(&attempt.error_body);
    buf_release(&url);
    return ok;
}

bool st_list(struct st_tenant *tenant, const struct st_list_request *request, struct st_list_reply *ret,
             struct cancel *cancel, struct error *err)
{
    return list(tenant, request, /* only_envelope */ false, ret, cancel, err);
}

/* ---- Counting ---------------------------------------------------------------------------------------------------- */

static bool look_away(void *user, struct slice record)
{
    (void)user;
    (void)record;
    return true;
}

bool st_count(struct st_tenant *tenant, const struct entity *entity, const struct st_window *window, int64_t *ret,
              struct cancel *cancel, struct error *err)
{
    struct page *page = page_new(look_away, NULL);
    struct st_list_reply reply;
    struct st_list_request request = {
        .entity = entity, .unfiltered = window == NULL, .page = 1, .page_size = 1, .sink = page};
    if (window)
        request.window = *window;
    bool ok = list(tenant, &request, /* only_envelope */ true, &reply, cancel, err);
    if (ok && reply.envelope.total_count < 0)
        ok = error_set(err, ERROR_PERMANENT, "no_total", "cannot count %s: the reply has no totalCount", entity->name);
    if (ok)
        *ret = reply.envelope.total_count;
    page_free(page);
    return ok;
}
