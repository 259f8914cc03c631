/* faults_http.h - what a fault does to an HTTP request, the same for all HTTP servers of st-local. What an error looks
 * like (FAULT_STATUS) is the service's business. */
#ifndef ST_LOCAL_FAULTS_HTTP_H
#define ST_LOCAL_FAULTS_HTTP_H

#include "faults.h"
#include "net/http_server.h"

/* Before the effect. True: the exchange is over (cut, silent and then cut, or answered and ignored). */
bool faults_http_before(struct faults *faults, const struct fault_ticket *ticket, struct http_exchange *x);
/* After the effect, instead of http_exchange_reply_buf: waits where it is held, and spoils the answer. `body` is spent.
 * FAULT_STATUS with `after` is answered by `fail`, which must reply. */
void faults_http_reply(struct faults *faults, struct fault_ticket *ticket, struct http_exchange *x, int status,
                       const char *content_type, struct buf *body, void (*fail)(void *user, const struct fault *fault),
                       void *user);
/* The body of an error that no program of the service wrote: HTML, nothing, or bytes. Returns the content type; NULL for
 * FAULT_BODY_JSON, whose text is the service's. */
const char *faults_http_body(const struct fault *fault, int status, struct buf *out);
/* Retry-After, when the fault has one. */
void faults_http_headers(const struct fault *fault, struct http_exchange *x);

#endif
