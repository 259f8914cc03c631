/* client.c - where Pub/Sub is, what things are called there, and a unary call with the retries that the service asks
 * for.
 *
 * Retried is what the error's class allows (the union of the service configuration's codes): 100 ms doubling up to 60
 * s, within a total that the caller sets. A retried publish may be in twice; Pub/Sub delivers at least once anyway. */
#include <limits.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "net/backoff.h"
#include "pubsub_internal.h"

enum { CALL_LEAST_REAL_MS = 15000 };
#define PUBSUB_TARGET "pubsub.googleapis.com:443"
static const struct backoff_policy retry_policy = {100, 60000, 25, INT_MAX};

struct pubsub_client *pubsub_client_new(const char *project, const char *emulator_host,
                                        struct google_credentials *creds, struct error *err)
{
    bool plaintext = emulator_host && *emulator_host;
    const char *target = plaintext ? emulator_host : PUBSUB_TARGET;
    if (!project || !*project) {
        error_set(err, ERROR_PERMANENT, "pubsub_project", "cannot use Pub/Sub without a project id");
        return NULL;
    }
    struct grpc_link *link = grpc_link_new(target, plaintext, creds, err);
    if (!link)
        return NULL;
    struct pubsub_client *client = xcalloc(1, sizeof *client);
    client->project = xstrdup(project);
    client->target = xstrdup(target);
    client->plaintext = plaintext;
    client->creds = creds;
    client->link = link;
    return client;
}

void pubsub_client_free(struct pubsub_client *client)
{
    if (!client)
        return;
    grpc_link_free(client->link);
    free(client->target);
    free(client->project);
    free(client);
}

char *pubsub_topic_name(const struct pubsub_client *client, const char *id)
{
    return xasprintf("projects/%s/topics/%s", client->project, id);
}

char *pubsub_subscription_name(const struct pubsub_client *client, const char *id)
{
    return xasprintf("projects/%s/subscriptions/%s", client->project, id);
}

char *pubsub_routing(const char *key, const char *name)
{
    struct buf out = BUF_INIT;
    buf_printf(&out, "%s=", key);
    buf_append_url_escaped(&out, slice_str(name));
    return buf_detach(&out);
}

/* The wait before the next try, or -1 when there is none. */
static int64_t next_wait_ms(struct backoff *backoff, const struct error *err, int64_t until_ms)
{
    if (!error_may_retry(err))
        return -1;
    int64_t wait_ms = backoff_next_ms(backoff, err->wait_ms);
    return wait_ms >= 0 && clock_mono_ms() + wait_ms < until_ms ? wait_ms : -1;
}

static void note_retry(int64_t wait_ms, int attempt, const struct error *err)
{
    static const struct log_context context = {.context = "v2-ingestor:pubsub"};
    static struct log_limit limit;
    metrics_add(METRIC_RETRIES, 1, METRIC_LABELS("pubsub"));
    log_retry(&context, &limit, wait_ms, attempt, err);
}

bool pubsub_call(struct pubsub_client *client, const struct pubsub_call *call, ProtobufCMessage **ret,
                 struct error *err)
{
    struct error why = ERROR_INIT;
    struct backoff backoff;
    ProtobufCMessage *reply = NULL;
    bool maybe_done = false, ok;
    char *routing = pubsub_routing(call->routing_key, call->resource);
    int64_t until_ms = call->until_ms ? call->until_ms : clock_mono_ms() + PUBSUB_CALL_TOTAL_MS;
    backoff_init(&backoff, retry_policy);
    for (;;) {
        ok = grpc_unary(client->link, call->method, routing, call->request, call->reply_type,
                        call->timeout_ms ? call->timeout_ms
                                         : clock_network_ms(PUBSUB_CALL_TIMEOUT_MS, CALL_LEAST_REAL_MS),
                        call->cancel, &reply, &why);
        if (ok)
            break;
        maybe_done = maybe_done || why.effect != EFFECT_NONE;
        int64_t wait_ms = next_wait_ms(&backoff, &why, until_ms);
        if (wait_ms < 0)
            break;
        note_retry(wait_ms, backoff.retries, &why);
        if (!cancel_sleep_ms(call->cancel, wait_ms) && !cancel_check(call->cancel, &why))
            break;
    }
    free(routing);
    if (!ok) {
        if (maybe_done && why.effect == EFFECT_NONE)
            why.effect = EFFECT_MAYBE;
        if (err)
            *err = why;
    } else if (ret) {
        *ret = reply;
    } else {
        protobuf_c_message_free_unpacked(reply, NULL);
    }
    return ok;
}
