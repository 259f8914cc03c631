/* faults.h - the fault bench of st-local: what is to go wrong, where and when, and a count of all that came. One for
 * its three services.
 *
 * Every request has a method, named as people name it: servicetitan.token, servicetitan.list.jobs,
 * servicetitan.export.jobs, bigquery.jobs.insert, bigquery.tables.get, write.AppendRows, pubsub.Publish,
 * pubsub.StreamingPull, ... A server gives each request to faults_request before it serves it, and to faults_effect
 * between its effect and its answer. There it is numbered and counted, held, delayed, and meets the first rule of the
 * queue that matches it. Each message that a client sends in a stream is such a request.
 *
 * Two more things can be matched, by rules that say so ("on"): responses, which are the messages that a server sends in
 * a stream, and points within a server: pubsub.delivery (a message gets a lease), bigquery.job.run and bigquery.job.end
 * (around the effect of a job). Neither is numbered.
 *
 * faults_admin.h has the routes and the words in which rules are written. All functions are thread-safe, and NULL for a
 * bench is one that never does anything. Delays run on base/clock.h; how long a test holds a request is real time. */
#ifndef ST_LOCAL_FAULTS_H
#define ST_LOCAL_FAULTS_H

#include "base/buf.h"
#include "base/json.h"

enum {
    FAULTS_MAX_RULES = 1000,
    FAULTS_MAX_METHODS = 256,         /* counted apart; more are counted together, as "other" */
    FAULTS_MAX_LOG = 8192,            /* the newest requests */
    FAULTS_MAX_FIRED = 1000,          /* the newest faults that happened */
    FAULTS_MAX_WAITING = 32,          /* requests that are left without an answer; one more is cut instead */
    FAULTS_MAX_HOLD_REAL_MS = 600000, /* then a held or silenced request goes on */
    FAULTS_MAX_DELAY_MS = 2147483647, /* 24 days on base/clock.h */
    FAULTS_METHOD_SIZE = 64,
    FAULTS_TEXT_SIZE = 256,
};

enum fault_kind {
    FAULT_NONE,
    FAULT_STATUS,         /* an error of the service instead of the effect, or (after) instead of the answer */
    FAULT_DELAY,          /* nothing but delay_ms; after: the answer is late */
    FAULT_CUT,            /* the connection ends without an answer */
    FAULT_SILENCE,        /* no answer, and the connection stays open; a stream says nothing any more */
    FAULT_DUPLICATE,      /* the request arrives twice, the response is sent twice, the message is delivered twice */
    FAULT_GARBAGE,        /* an answer that cannot be read */
    FAULT_TRUNCATE,       /* `bytes` of the answer; HTTP: then the connection ends */
    FAULT_IGNORE,         /* answered as if it had worked, by an empty message; nothing happens */
    FAULT_RESET_ATTEMPTS, /* pubsub.delivery: the message counts as never delivered */
    /* of ServiceTitan's lists */
    FAULT_WRONG_TOTAL,    /* totalCount + delta */
    FAULT_EXTRA_FIELD,    /* an unknown member in each record */
    FAULT_IGNORE_FILTER,  /* time filters have no effect */
    FAULT_PAGE_CAP,       /* pages are silently no larger than `rows` */
    FAULT_DUPLICATE_ROWS, /* so many records of the page come twice */
    FAULT_EXPIRE_TOKEN,   /* 401 as for an expired token */
};

enum fault_body { FAULT_BODY_JSON, FAULT_BODY_HTML, FAULT_BODY_EMPTY, FAULT_BODY_GARBAGE };

struct fault {
    enum fault_kind kind;
    bool after;      /* the effect happens, the answer is what goes wrong */
    bool in_band;    /* FAULT_STATUS in a stream that can say so: the answer to one request; the stream goes on */
    int http_status; /* FAULT_STATUS: the same failure in both worlds */
    int grpc_code;
    char reason[FAULTS_METHOD_SIZE]; /* BigQuery's; "" = the usual one of the status */
    char message[FAULTS_TEXT_SIZE];  /* "" = the service's own words */
    enum fault_body body;            /* of an HTTP error or of garbage */
    int64_t retry_after_s;           /* header of an HTTP error; 0 = none */
    int64_t delay_ms;                /* before anything else */
    int64_t bytes;                   /* FAULT_TRUNCATE; 0 = half */
    int64_t rows, delta;
};

enum fault_on { FAULT_ON_REQUEST, FAULT_ON_RESPONSE, FAULT_ON_POINT };

struct fault_event {
    const char *method;  /* constant text, or as long as the call */
    struct slice target; /* what it is about: an HTTP path, a resource name, a statement; for rules' "path" */
    struct slice body;   /* the same: a request body */
    bool effect;         /* it changes the server's state */
};

struct fault_ticket { /* of one request, from its coming to its answer */
    int64_t number;   /* of all requests, from 1; 0: there is no bench */
    struct fault fault;
    int64_t hold; /* which hold waits for it behind its effect; 0 = none */
};

struct faults;

struct faults *faults_new(void);
void faults_stop(struct faults *faults); /* lets go of all who wait in it; for servers about to stop */
void faults_free(struct faults *faults); /* NULL is fine */

/* May block: hold, delay. A hold that ends in a cut gives FAULT_CUT. */
void faults_request(struct faults *faults, const struct fault_event *event, struct fault_ticket *ret);
/* Whether faults_effect must be called, and its fault be looked at, before the answer goes. */
bool fault_waits_for_effect(const struct fault_ticket *ticket);
/* May block: hold. What is to happen to the answer is ticket->fault, when that is `after`. */
void faults_effect(struct faults *faults, struct fault_ticket *ticket);
/* A response or a point: never blocks. False: nothing is to happen. */
bool faults_take(struct faults *faults, enum fault_on on, const struct fault_event *event, struct fault *ret);
/* A point where the caller can wait: blocks for a hold. The delay is the caller's. False: nothing is to happen. */
bool faults_point(struct faults *faults, const struct fault_event *event, struct fault *ret);
/* Blocks a request that gets no answer, until the rules are cleared, or for FAULTS_MAX_HOLD_REAL_MS. */
void faults_keep_silent(struct faults *faults);

/* ---- Rules ---- */

/* {"method":"bigquery.*","kind":"status","status":503,"count":2}; see faults_admin.h. *ret_id: for the list of what
 * fired. */
bool faults_add(struct faults *faults, struct json_object *rule, int64_t *ret_id, struct error *err) MUST_CHECK;
void faults_clear(struct faults *faults); /* also ends silences */
void faults_json(struct faults *faults, struct buf *out);

/* ---- Counters ---- */

/* Requests after number `since` are listed one by one, as far as they are remembered; < 0: none. */
void faults_requests_json(struct faults *faults, int64_t since, struct buf *out);
void faults_requests_reset(struct faults *faults); /* the next request is number 1 */

/* ---- One request stopped in its way ---- */

/* {"number":n} or {"method":pattern,"nth":n}, "where":"before"|"after". Replaces the hold before it. */
bool faults_hold(struct faults *faults, struct json_object *hold, struct error *err) MUST_CHECK;
/* Lets the held request go on, or cuts it; no hold is armed any more. */
void faults_release(struct faults *faults, bool cut);
/* Waits until the request has arrived, for at most so long. */
void faults_hold_json(struct faults *faults, int64_t wait_real_ms, struct buf *out);

/* ---- Switches: what a real service does by itself, under all requests ---- */

enum hazard {
    HAZARD_YOUNG_TABLE_MS,     /* the write service says NOT_FOUND of tables younger than this */
    HAZARD_JOBS_HIDDEN_LOOKS,  /* so many jobs.get say 404 after each jobs.insert and each 409 */
    HAZARD_JOBS_FORGOTTEN_MS,  /* jobs older than this are gone; 0 = never */
    HAZARD_FORGOTTEN_ARE_FREE, /* 1: their ids can be taken again; 0: 409 */
    HAZARD_APPEND_IDLE_MS,     /* a silent AppendRows connection is closed; 0 = never */
    HAZARDS
};
int64_t faults_hazard(const struct faults *faults, enum hazard hazard); /* NULL: the default */
bool faults_set_hazards(struct faults *faults, struct json_object *change, struct error *err) MUST_CHECK;
void faults_reset_hazards(struct faults *faults);
void faults_hazards_json(const struct faults *faults, struct buf *out);

/* ---- Open streams, which only their servers know ---- */

enum fault_stream_act { FAULT_STREAMS_CLOSE, FAULT_STREAMS_SILENCE };
/* Does it to all open streams whose method and target match; returns how many. Must not call the bench. */
typedef int fault_streams_fn(void *user, const char *pattern, const char *path, enum fault_stream_act act,
                             int grpc_code);
void faults_watch_streams(struct faults *faults, fault_streams_fn *fn, void *user); /* at most FAULTS_MAX_SERVERS */
void faults_forget_streams(struct faults *faults, const void *user);
int faults_act_on_streams(struct faults *faults, const char *pattern, const char *path, enum fault_stream_act act,
                          int grpc_code);
enum { FAULTS_MAX_SERVERS = 4 };

/* "bigquery.*,!bigquery.jobs.*": any of the first, none of those with '!'. */
bool fault_pattern_matches(const char *pattern, const char *method);

#endif
