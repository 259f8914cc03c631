/* faults_http.c - see faults_http.h. */
#include "faults_http.h"

#include <stdio.h>

static void stay_silent(struct faults *faults, struct http_exchange *x)
{
    faults_keep_silent(faults);
    http_exchange_abort(x);
}

bool faults_http_before(struct faults *faults, const struct fault_ticket *ticket, struct http_exchange *x)
{
    const struct fault *fault = &ticket->fault;
    if (fault->after || (fault->kind != FAULT_CUT && fault->kind != FAULT_SILENCE && fault->kind != FAULT_IGNORE))
        return false;
    if (fault->kind == FAULT_CUT)
        http_exchange_abort(x);
    else if (fault->kind == FAULT_SILENCE)
        stay_silent(faults, x);
    else
        http_exchange_reply(x, 200, "application/json", SLICE_LIT("{}"));
    return true;
}

const char *faults_http_body(const struct fault *fault, int status, struct buf *out)
{
    buf_clear(out);
    switch (fault->body) {
    case FAULT_BODY_HTML:
        buf_printf(out,
                   "<html><head><title>%d</title></head><body><h2>Our services aren't available right "
                   "now</h2></body></html>\r\n",
                   status);
        return "text/html";
    case FAULT_BODY_EMPTY:
        return "application/json";
    case FAULT_BODY_GARBAGE:
        buf_printf(out, "{\"title\":\"%d \xff\xfe\",\"status\":", status);
        return "application/json";
    case FAULT_BODY_JSON:
        break;
    }
    return NULL;
}

void faults_http_headers(const struct fault *fault, struct http_exchange *x)
{
    char seconds[24];
    if (fault->retry_after_s <= 0)
        return;
    snprintf(seconds, sizeof seconds, "%lld", (long long)fault->retry_after_s);
    http_exchange_add_header(x, "Retry-After", seconds);
}

/* A whole answer of the right length that is no JSON: half of the real one, unless the rule names another body. */
static void reply_garbage(const struct fault *fault, struct http_exchange *x, int status, const char *type,
                          struct buf *body)
{
    if (fault->body == FAULT_BODY_JSON)
        http_exchange_reply(x, status, type, slice_of(body->ptr, body->len / 2));
    else {
        type = faults_http_body(fault, status, body);
        http_exchange_reply_buf(x, status, type, body);
    }
}

void faults_http_reply(struct faults *faults, struct fault_ticket *ticket, struct http_exchange *x, int status,
                       const char *content_type, struct buf *body, void (*fail)(void *user, const struct fault *fault),
                       void *user)
{
    faults_effect(faults, ticket);
    const struct fault *fault = &ticket->fault;
    size_t bytes = fault->bytes > 0 ? (size_t)fault->bytes : body->len / 2;
    enum fault_kind kind = fault->after ? fault->kind : FAULT_NONE;
    if (kind == FAULT_CUT)
        http_exchange_abort(x);
    else if (kind == FAULT_SILENCE)
        stay_silent(faults, x);
    else if (kind == FAULT_STATUS)
        fail(user, fault);
    else if (kind == FAULT_GARBAGE)
        reply_garbage(fault, x, status, content_type, body);
    else if (kind == FAULT_TRUNCATE)
        http_exchange_reply_cut(x, status, content_type, buf_slice(body), bytes < body->len ? bytes : body->len);
    else
        http_exchange_reply_buf(x, status, content_type, body);
    buf_release(body);
}
