/* export.c - the batches of an export feed, one after the other: each reply names where the next one begins.
 *
 * A batch is a fetch like a window is: complete or made anew from the same place. A token that the server does not take
 * any more (nobody documents how long one lives) is replaced by the time that stands beside it; what comes twice by
 * that is harmless. */
#include "servicetitan/export.h"

#include <string.h>

#include "base/log.h"
#include "tenant.h"

enum { REFETCHES = 5, MAX_BATCHES = 1000 * 1000 };

struct feed {
    struct st_tenant *tenant;
    const struct st_export_request *request;
    const struct st_sink *sink;
    struct st_export_result *result;
    struct cancel *cancel;
    struct page *page;

    /* The batch under way. */
    void *fetch; /* the sink's state */
    bool begun;
    bool refused; /* the sink did not take a record; error says why */
    int64_t sent_at_us;
    struct error error;
};

static void begin_fetch(struct feed *feed)
{
    static const struct st_window none = {0};
    if (feed->begun)
        return;
    feed->fetch = feed->sink->begin(feed->sink->user, &none);
    feed->begun = true;
    feed->sink->sent(feed->fetch, feed->sent_at_us);
}

static bool on_record(void *user, struct slice record)
{
    struct feed *feed = user;
    struct st_record_times times;
    begin_fetch(feed);
    feed->refused = !feed->sink->record(feed->fetch, record, &times, &feed->error);
    return !feed->refused;
}

static void note_sending(void *user, int64_t sent_at_us)
{
    struct feed *feed = user;
    feed->sent_at_us = sent_at_us;
    feed->result->requests++;
}

static bool end_fetch(struct feed *feed, bool complete, struct error *err)
{
    if (!feed->begun)
        return true;
    feed->begun = false;
    return feed->sink->end(feed->fetch, complete, err);
}

static void drop_fetch(struct feed *feed)
{
    struct error ignored = ERROR_INIT;
    if (!end_fetch(feed, /* complete */ false, &ignored))
        return; /* it is thrown away: nothing to fail */
}

/* ---- One batch --------------------------------------------------------------------------------------------------- */

static bool list_batch(struct feed *feed, struct st_list_reply *reply, struct error *err)
{
    const struct st_export_request *request = feed->request;
    const char *token = feed->result->token;
    const struct st_list_request list = {
        .entity = request->entity,
        .export = true,
        .continue_from = token[0] ? token : NULL,
        .window = {.column = ST_MODIFIED_ON, .has_from = request->has_from, .from_us = request->from_us},
        .background = request->background,
        .sink = feed->page,
        .sending = note_sending,
        .user = feed,
    };
    feed->refused = false;
    if (!st_list(feed->tenant, &list, reply, feed->cancel, err))
        return false;
    if (feed->refused)
        *err = feed->error;
    return !feed->refused;
}

static bool check_batch(const struct feed *feed, const struct page_envelope *seen, struct error *err)
{
    const char *name = feed->request->entity->name;
    if (!seen->continue_from[0])
        return error_set(err, ERROR_RETRY, "feed_broken", "could not read the feed of %s: a reply has no continueFrom",
                         name);
    if (seen->has_more == 1 && strcmp(seen->continue_from, feed->result->token) == 0)
        return error_set(err, ERROR_RETRY, "feed_broken",
                         "could not read the feed of %s: it says that there is more, and goes on where it was", name);
    return true;
}

static bool read_once(struct feed *feed, struct page_envelope *seen, struct error *err)
{
    struct st_list_reply reply;
    if (!list_batch(feed, &reply, err) || !check_batch(feed, &reply.envelope, err)) {
        drop_fetch(feed);
        return false;
    }
    if (!end_fetch(feed, /* complete */ true, err)) {
        feed->refused = true; /* the sink has tried what it can: no new fetch */
        return false;
    }
    *seen = reply.envelope;
    return true;
}

static bool may_read_again(const struct feed *feed, const struct error *err)
{
    const struct page_envelope *seen = page_envelope(feed->page);
    if (strcmp(err->code, "breaker_open") == 0)
        return feed->result->batches > 0;
    if (strcmp(err->code, "page_syntax") == 0)
        return seen->records > 0;
    return !feed->refused && error_may_retry(err) && (seen->records > 0 || strcmp(err->code, "feed_broken") == 0);
}

/* The token of an earlier read only: one of this read was made moments ago. */
static bool forget_token(struct feed *feed, const struct error *err)
{
    static const struct log_context context = {.context = "v2-ingestor:servicetitan"};
    if (err->status != 400 || feed->result->batches > 0 || !feed->result->token[0])
        return false;
    log_warn(&context, LOG_MSG("The feed does not take its token; reading by time"), LOG_ERR(err));
    feed->result->token[0] = '\0';
    feed->result->token_refused = true;
    return true;
}

static bool read_batch(struct feed *feed, struct page_envelope *seen, struct error *err)
{
    struct backoff backoff;
    struct backoff_policy policy = BACKOFF_DEFAULT;
    policy.max_retries = REFETCHES;
    backoff_init(&backoff, policy);
    while (!read_once(feed, seen, err)) {
        if (forget_token(feed, err))
            continue;
        if (!may_read_again(feed, err) ||
            !st_retry_wait(feed->tenant, &backoff, feed->request->entity->name, feed->cancel, err))
            return false;
        feed->result->refetches++;
    }
    return true;
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

static bool read_feed(struct feed *feed, struct error *err)
{
    struct st_export_result *result = feed->result;
    for (int i = 0; i < MAX_BATCHES; i++) {
        struct page_envelope seen;
        if (!cancel_check(feed->cancel, err) || !read_batch(feed, &seen, err))
            return false;
        result->batches++;
        result->records += seen.records;
        memcpy(result->token, seen.continue_from, sizeof result->token);
        if (feed->request->progress)
            feed->request->progress(feed->request->progress_user, result->records, -1);
        if (seen.has_more != 1)
            return true;
    }
    return error_set(err, ERROR_RETRY, "feed_broken", "could not read the feed of %s to its end: %d batches and more",
                     feed->request->entity->name, MAX_BATCHES);
}

bool st_export(struct st_tenant *tenant, const struct st_export_request *request, const struct st_sink *sink,
               struct st_export_result *ret, struct cancel *cancel, struct error *err)
{
    struct feed feed = {.tenant = tenant, .request = request, .sink = sink, .result = ret, .cancel = cancel};
    struct error local = ERROR_INIT;
    *ret = (struct st_export_result){0};
    if (request->token && strlen(request->token) < sizeof ret->token)
        memcpy(ret->token, request->token, strlen(request->token) + 1);
    feed.page = page_new(on_record, &feed);
    bool ok = read_feed(&feed, &local);
    page_free(feed.page);
    if (!ok && err)
        *err = local;
    return ok;
}
