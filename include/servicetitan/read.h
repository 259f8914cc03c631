/* read.h - a complete read of a time range as a set of windows, each of which fits one page (design 6).
 *
 * Windows are read in parallel by threads of the read's own, retried alone and accepted alone. The caller gets records through a sink per fetch. */
#ifndef ST_SERVICETITAN_READ_H
#define ST_SERVICETITAN_READ_H

#include "servicetitan/client.h"

struct st_record_times {
    bool has_created, has_modified;
    int64_t created_us, modified_us;
};

struct st_sink {
    /* A fetch begins (on a reader thread): returns its state. fetched_at_us is set by `sent`, before the first record. */
    void *(*begin)(void *user, const struct st_window *window);
    void (*sent)(void *fetch, int64_t fetched_at_us);
    /* One record, valid during the call. Tells its times, for the window check. False: stop, err says why. */
    bool (*record)(void *fetch, struct slice record, struct st_record_times *ret, struct error *err);
    /* The fetch is over. complete: all of its window's records were handed out; return true when they are safe (staged), then the window is accepted.
     * Not complete: forget it (it is made anew, as another fetch, or split). Called exactly once per begin; frees the state. */
    bool (*end)(void *fetch, bool complete, struct error *err);
    void *user;
};

struct st_read_request {
    const struct entity *entity;
    struct st_window range; /* has_to false: the newest window has no upper bound */
    bool
        whole; /* a full read: find the bounds of history, compare the sum with the unfiltered total, read stragglers by pages */
    int64_t page_size;                /* 0 = the entity's largest */
    int concurrency;                  /* reader threads, >= 1 */
    bool background;                  /* other requests go first (a backfill's beside live runs) */
    const struct st_window *accepted; /* windows that need not be read again (checkpoint); sorted by from_us */
    size_t accepted_count;
    void (*progress)(void *user, int64_t records,
                     int64_t expected_total /* -1 unknown */); /* may be NULL; any reader thread */
    void *progress_user;
};

struct st_read_result {
    int64_t records, windows, requests, splits, refetches;
};

bool st_read(struct st_tenant *tenant, const struct st_read_request *request, const struct st_sink *sink,
             struct st_read_result *ret, struct cancel *cancel, struct error *err) MUST_CHECK;

/* Exact count of a window, or of everything (window NULL): one request with pageSize=1. */
bool st_count(struct st_tenant *tenant, const struct entity *entity, const struct st_window *window, int64_t *ret,
              struct cancel *cancel, struct error *err) MUST_CHECK;

#endif
