/* api_internal.h - the API's parts: api.c (life, bounds, routes, one request from beginning to end), api_ingest.c (routes that publish),
 * api_tasks.c (tasks and runs by id), api_read.c (everything else), api_auth.c, api_request.c. Private to operate. */
#ifndef ST_OPERATE_API_INTERNAL_H
#define ST_OPERATE_API_INTERNAL_H

#include <pthread.h>

#include "api_auth.h"
#include "api_request.h"
#include "net/http_server.h"
#include "operate/api.h"
#include "operate/task_watch.h"

enum { /* bounds */
       API_MAX_CONNECTIONS = 1024,
       API_MAX_CONNECTIONS_PER_ADDRESS = 768, /* so that no single address can take all; a proxy is one address */
       API_MAX_WAITING = 256,                 /* requests that publish at once; 503 beyond */
       API_SPARE_THREADS = 4,                 /* which say 503 then */
       API_ASK_THREADS = 16,
       API_QUICK_THREADS = 2,
       API_MAX_TARGET_BYTES = 4096,
       API_MAX_HEADER_BYTES = 16 * 1024,
       API_MAX_BODY_BYTES = 16 * 1024, /* no route reads one; clients send "{}" with a POST */
       API_CONNECTION_BYTES = 32 * 1024,
       API_FIRST_REQUEST_S = 10,
       API_NEXT_REQUEST_S = 75, /* proxies keep connections for a minute */
       API_ASK_MS = 30000,      /* what a question to Google may take; 504 beyond */
       API_PUBLISH_MS = 30000,
       API_GRACE_MS = 5000,
       API_MAX_TASKS = 8192, /* of one request */
       API_MAX_LISTED = 50,  /* tenants in an error */
       API_RECENT = 1024,    /* requests whose tasks are known before they have a run */
       API_TASK_DAYS = 31,   /* how far back /tasks looks */
       API_READY_MS = 5000,  /* what readiness may take */
       API_READY_FRESH_MS = 5000,
};

struct api_recent { /* a request that published; ids of its tasks start with id */
    char id[UUID_TEXT_SIZE];
    struct task group;
    int64_t published_us;
};

struct api_ready { /* the last look; one at a time */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool looking, looked;
    int64_t looked_ms;
    struct error topic, warehouse; /* class NONE: it answers */
};

struct api {
    struct services *services;
    const struct settings *settings;
    struct api_auth auth;
    struct task_watch *watch;
    struct http_server *server;
    struct cancel *stop; /* set when the server stops */
    struct api_ready ready;
    pthread_mutex_t lock; /* what follows */
    size_t waiting;
    struct api_recent *recent; /* a ring */
    size_t recent_count;       /* ever remembered */
};

struct api_call { /* one request under way; on its handler's stack */
    struct api *api;
    struct http_exchange *x;
    struct api_request request;
    struct api_refusal refusal;
    /* the answer */
    int status;
    const char *content_type;
    struct buf body;
    /* for the log line */
    struct error err;
    struct buf task_ids;
    char run_id[UUID_TEXT_SIZE];
};

/* Answers with an error: {"success":false,"error":...,"errorCode":...}; it also stands in the log line. */
void api_fail(struct api_call *call, int status, const struct error *err);
/* An error of Pub/Sub or BigQuery: 504 when the time was over, 503 for what may pass, else 502. */
void api_fail_upstream(struct api_call *call, const struct error *err);
void api_hint_init(struct error *err); /* adds what to do to a "not found" of Google's */
/* Answers with call->refusal. */
void api_answer_refusal(struct api_call *call);
const char *api_mode_name(const struct api_request *request);

void api_member(struct buf *out, const char *name,
                const char *value); /* ,"name":"value"; NULL value: null; no comma after '{' */
void api_member_int(struct buf *out, const char *name, int64_t value);
void api_member_time(struct buf *out, const char *name, int64_t us); /* 0: null */

/* Handlers */
void api_ingest(struct api_call *call);
void api_ingest_all(struct api_call *call);
void api_full_sync(struct api_call *call);
void api_task(struct api_call *call);
void api_run(struct api_call *call);
void api_health(struct api_call *call);
void api_metrics(struct api_call *call);
void api_ready(struct api_call *call);
void api_entities(struct api_call *call);
void api_status(struct api_call *call);
void api_last_sync(struct api_call *call);

struct api_tasks { /* the single tasks that a request stands for; by priority */
    struct task *items;
    const char **ids;             /* parallel, borrowed from items */
    struct task_status *statuses; /* parallel; zeroed: queued */
    size_t count, cap;
};
/* A group's tasks: one alone is called `id`, several ID/ENTITY/TENANT. False: more than API_MAX_TASKS. */
bool api_tasks_init(struct api_tasks *tasks, const struct settings *settings, const struct task *group, const char *id,
                    struct error *err) MUST_CHECK;
void api_tasks_release(struct api_tasks *tasks);

/* The request's tasks become known to /tasks before a worker has begun them. */
void api_remember(struct api *api, const struct task *group, const char *id, int64_t published_us);
bool api_recall(struct api *api, const char *id, struct api_recent *ret);

#endif
