/* local_json.h - what all admin routes of st-local share: JSON in, JSON out. */
#ifndef ST_LOCAL_LOCAL_JSON_H
#define ST_LOCAL_LOCAL_JSON_H

#include "base/json.h"
#include "net/http_server.h"

/* The request's body, which must be an object; owned. NULL: err. */
struct json_object *local_read_object(struct http_exchange *x, struct error *err) MUST_CHECK;
/* Answers {"error":message}. */
void local_reply_error(struct http_exchange *x, int status, const char *message);

#endif
