/* api_request.h - what an HTTP request asks for: method, path and query become a checked value, or a refusal that says what is allowed.
 *
 * Pure: no settings, no I/O. All bytes are foreign. Strict on purpose: a parameter that is unknown, repeated or misspelt is refused, since
 * a `mod=full` that silently became an incremental would be believed to have been a full sync. */
#ifndef ST_OPERATE_API_REQUEST_H
#define ST_OPERATE_API_REQUEST_H

#include "base/buf.h"

enum api_method { API_GET = 1, API_HEAD = 2, API_POST = 4 };

enum api_param { API_TENANT = 1, API_MODE = 2, API_PARALLEL = 4, API_WAIT = 8, API_TIMEOUT = 16 };

enum {
    API_NAME_SIZE = 128, /* of an entity or an id in the path */
    API_TIMEOUT_DEFAULT_S = 300,
    API_TIMEOUT_MAX_S = 3600,
};

/* Which threads serve it; what an unauthenticated caller may do hangs on PUBLISH, too. */
enum api_lane {
    API_LANE_QUICK,   /* answers from memory */
    API_LANE_ASK,     /* asks Google */
    API_LANE_PUBLISH, /* publishes, and may wait */
    API_LANES,
};

struct api_call;

struct api_route {
    const char *pattern; /* "/ingest/:entity": what begins with ':' stands for one segment, the request's name */
    unsigned methods, params;
    enum api_lane lane;
    bool open; /* needs no token */
    void (*handle)(struct api_call *call);
    const char *summary;
};

struct api_request {
    const struct api_route *route;
    unsigned method;          /* one of enum api_method */
    char name[API_NAME_SIZE]; /* decoded; "" when the route has none */
    unsigned given;           /* bits of enum api_param: what the query names */
    int64_t tenant;           /* 0: not said */
    bool full;                /* mode; default incremental */
    bool parallel;            /* default false */
    bool wait;                /* default true */
    int64_t timeout_s;        /* default API_TIMEOUT_DEFAULT_S */
};

struct api_refusal {
    int status;
    struct error err;   /* code and message */
    struct buf allowed; /* members of a JSON array, without brackets; "" = nothing to list */
    unsigned methods;   /* of a 405 */
};
void api_refusal_release(struct api_refusal *refusal);
/* Fills status, code and message; returns false. */
bool api_refuse(struct api_refusal *refusal, int status, const char *code, const char *fmt, ...) PRINTF_LIKE(4, 5);
void api_allow(struct api_refusal *refusal, const char *text); /* one more entry of `allowed` */

/* The route that a target's path (up to '?') leads to; NULL: none. */
const struct api_route *api_route_find(const struct api_route *routes, size_t count, struct slice target);
/* target: path and query as on the request line. False: *refusal tells why (release it). */
bool api_request_parse(const struct api_route *routes, size_t count, const char *method, struct slice target,
                       struct api_request *ret, struct api_refusal *refusal) MUST_CHECK;
/* "GET, HEAD" */
void api_method_list(struct buf *out, unsigned methods);

#endif
