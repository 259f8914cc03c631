/* st_reply.c - answers of the simulator: counts them, and does to them what the call's faults say. */
#include <stdio.h>
#include <string.h>

#include "base/uuid.h"
#include "st_state.h"

static const char JSON_TYPE[] = "application/json; charset=utf-8";

static void count(const struct st_call *call, int status, const struct buf *body)
{
    struct st_stats *stats = &call->server->stats;
    atomic_fetch_add(&stats->statuses[status < ST_STATUS_SLOTS ? status : 0], 1);
    atomic_fetch_add(&stats->bytes, (long long)body->len);
}

void st_reply_fault(struct st_call *call, const struct fault *fault)
{
    struct buf body = BUF_INIT;
    const char *type = faults_http_body(fault, fault->http_status, &body);
    if (!type) {
        type = "application/json";
        buf_append_str(&body, "{\"type\":\"about:blank\",\"title\":");
        buf_append_json_string(
            &body, slice_str(fault->message[0] ? fault->message : "An error occurred while processing your request."));
        buf_printf(&body, ",\"status\":%d,\"traceId\":\"00-f00d-00\",\"errors\":{},\"data\":{}}", fault->http_status);
    }
    faults_http_headers(fault, call->x);
    count(call, fault->http_status, &body);
    http_exchange_reply_buf(call->x, fault->http_status, type, &body);
    buf_release(&body);
}

static void fail_after(void *user, const struct fault *fault)
{
    st_reply_fault(user, fault);
}

void st_reply(struct st_call *call, int status, const char *content_type, struct buf *body)
{
    count(call, status, body);
    faults_http_reply(call->server->faults, &call->ticket, call->x, status, content_type, body, fail_after, call);
}

void st_reply_problem(struct st_call *call, int status, const char *title, const char *field, const char *problem)
{
    struct buf body = BUF_INIT;
    buf_append_str(&body, "{\"type\":\"https://tools.ietf.org/html/rfc9110\",\"title\":");
    buf_append_json_string(&body, slice_str(title));
    buf_printf(&body, ",\"status\":%d,\"traceId\":\"00-%016llx%016llx-%016llx-00\",\"errors\":{", status,
               (unsigned long long)random_u64(), (unsigned long long)random_u64(), (unsigned long long)random_u64());
    if (field) {
        buf_append_json_string(&body, slice_str(field));
        buf_append_str(&body, ":[");
        buf_append_json_string(&body, slice_str(problem));
        buf_append_char(&body, ']');
    }
    buf_append_str(&body, "},\"data\":{}}");
    st_reply(call, status, status == 401 ? JSON_TYPE : "application/problem+json; charset=utf-8", &body);
    buf_release(&body);
}

void st_reply_throttled(struct st_call *call, int64_t wait_ms)
{
    char title[96], seconds[24];
    snprintf(seconds, sizeof seconds, "%lld", (long long)((wait_ms + 999) / 1000));
    snprintf(title, sizeof title, "Rate limit is exceeded. Try again in %s seconds", seconds);
    if (call->settings.retry_after)
        http_exchange_add_header(call->x, "Retry-After", seconds);
    st_reply_problem(call, 429, title, NULL, NULL);
}
