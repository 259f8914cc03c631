/* export.h - a read of an export feed (facts on ServiceTitan 3.2): what has changed since a continuation token, deleted
 * records too, batch by batch in the server's order. */
#ifndef ST_SERVICETITAN_EXPORT_H
#define ST_SERVICETITAN_EXPORT_H

#include "servicetitan/read.h"

struct st_export_request {
    const struct entity *entity; /* has an export_path */
    const char *token;           /* where an earlier read ended; NULL: from_us counts */
    bool has_from;               /* false: from the oldest record on */
    int64_t from_us;             /* changes at or after this time; also when the server does not take the token */
    bool background;             /* other requests go first */
    void (*progress)(void *user, int64_t records, int64_t expected /* -1 */); /* may be NULL */
    void *progress_user;
};

struct st_export_result {
    int64_t records, batches, requests, refetches;
    char token[PAGE_MAX_CONTINUE]; /* where the next read goes on */
    bool token_refused;            /* the server did not take the request's token: read from from_us */
};

/* Reads until the feed says that there is no more. Recent changes are asked for at once, so the same record may come
 * again, in this read or the next one. Each batch is a fetch of the sink; its window is {0}: a feed has none. Blocks;
 * any thread. On failure *ret says what was read; its token is where the accepted batches end, "" before the first.
 * RETRY "feed_broken": the reply has no continuation, or goes round in circles. */
bool st_export(struct st_tenant *tenant, const struct st_export_request *request, const struct st_sink *sink,
               struct st_export_result *ret, struct cancel *cancel, struct error *err) MUST_CHECK;

#endif
