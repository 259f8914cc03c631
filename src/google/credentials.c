/* credentials.c - one access token for all threads and both transports, fetched by one of them at a time.
 *
 * Whoever first sees the token within five minutes of its end renews it, while the others go on with the old one.
 * Without a usable token all wait for the one fetch that is under way and share its failure, so that an outage costs
 * one attempt and not one per thread. Fetching happens outside the lock. Expiry is counted on the monotonic clock: a
 * wrong wall clock cannot stretch it. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "credentials_internal.h"
#include "google/credentials.h"
#include "net/backoff.h"

enum {
    TOKEN_MIN_LEFT_MS = 60 * 1000,
    TOKEN_RENEW_AHEAD_MS = 5 * 60 * 1000,
    TOKEN_RENEW_PAUSE_MS = 10 * 1000, /* the metadata server hands out its cached token until shortly before the end */
};
static const struct backoff_policy fetch_policy = {500, 4000, 25, 2};

struct google_credentials {
    struct identity id;         /* immutable */
    struct http_client *client; /* of the thread that fetches */
    pthread_mutex_t mutex;
    struct { /* guarded by mutex */
        pthread_cond_t changed;
        bool fetching;
        uint64_t failures; /* counts fetches that failed */
        struct error failure;
        struct secret *token;
        int64_t expires_ms;
        int64_t renew_ms; /* not before */
    } shared;
};

static struct google_credentials *credentials_alloc(void)
{
    struct google_credentials *creds = xcalloc(1, sizeof *creds);
    pthread_mutex_init(&creds->mutex, NULL);
    clock_cond_init(&creds->shared.changed);
    return creds;
}

struct google_credentials *google_credentials_none(void)
{
    struct google_credentials *creds = credentials_alloc();
    creds->id.description = xstrdup("none");
    return creds;
}

/* Where gcloud leaves the user's application default credentials; NULL when there is no such file. */
static char *well_known_file(void)
{
    const char *config = getenv("CLOUDSDK_CONFIG"), *home = getenv("HOME");
    char *path = NULL;
    if (config && *config)
        path = xasprintf("%s/application_default_credentials.json", config);
    else if (home && *home)
        path = xasprintf("%s/.config/gcloud/application_default_credentials.json", home);
    if (path && access(path, F_OK) == 0)
        return path;
    free(path);
    return NULL;
}

static bool find_identity(struct identity *id, const char *path, struct error *err)
{
    const char *named = path && *path ? path : getenv("GOOGLE_APPLICATION_CREDENTIALS");
    if (named && *named)
        return identity_load(id, named, err);
    char *well_known = well_known_file();
    bool ok = well_known ? identity_load(id, well_known, err) : identity_metadata(id, err);
    free(well_known);
    return ok;
}

struct google_credentials *google_credentials_new(const char *path, struct error *err)
{
    struct google_credentials *creds = credentials_alloc();
    if (!find_identity(&creds->id, path, err)) {
        google_credentials_free(creds);
        return NULL;
    }
    http_global_init();
    creds->client = http_client_new();
    return creds;
}

void google_credentials_free(struct google_credentials *creds)
{
    if (!creds)
        return;
    http_client_free(creds->client);
    identity_release(&creds->id);
    secret_unref(creds->shared.token);
    pthread_cond_destroy(&creds->shared.changed);
    pthread_mutex_destroy(&creds->mutex);
    free(creds);
}

bool google_credentials_is_none(const struct google_credentials *creds)
{
    return creds->id.kind == IDENTITY_NONE;
}

const char *google_credentials_describe(const struct google_credentials *creds)
{
    return creds->id.description;
}

static bool fetch_with_retries(struct google_credentials *creds, struct cancel *cancel, struct secret **ret,
                               int64_t *ret_lifetime_s, struct error *err)
{
    static const struct log_context context = {.context = "v2-ingestor:google"};
    static struct log_limit limit;
    struct backoff backoff;
    backoff_init(&backoff, fetch_policy);
    while (!identity_fetch_token(&creds->id, creds->client, cancel, ret, ret_lifetime_s, err)) {
        int64_t wait_ms = error_may_retry(err) ? backoff_next_ms(&backoff, 0) : -1;
        if (wait_ms < 0)
            return false;
        metrics_add(METRIC_RETRIES, 1, METRIC_LABELS("google_auth"));
        log_retry(&context, &limit, wait_ms, backoff.retries, err);
        if (!cancel_sleep_ms(cancel, wait_ms))
            return cancel_check(cancel, err);
    }
    return true;
}

/* Called with the lock held and returns with it; releases it while the network is waited for. */
static bool fetch(struct google_credentials *creds, struct cancel *cancel, struct error *err)
{
    struct secret *token = NULL;
    int64_t lifetime_s = 0, asked_ms = clock_mono_ms();
    creds->shared.fetching = true;
    pthread_mutex_unlock(&creds->mutex);
    bool ok = fetch_with_retries(creds, cancel, &token, &lifetime_s, err);
    pthread_mutex_lock(&creds->mutex);
    creds->shared.fetching = false;
    int64_t pause_ms = clock_mono_ms() + TOKEN_RENEW_PAUSE_MS;
    if (ok) {
        secret_unref(creds->shared.token);
        creds->shared.token = token;
        creds->shared.expires_ms = asked_ms + lifetime_s * 1000;
        creds->shared.renew_ms = creds->shared.expires_ms - TOKEN_RENEW_AHEAD_MS;
    } else if (err->class != ERROR_CANCELLED) {
        creds->shared.failures++;
        creds->shared.failure = *err;
    }
    if (creds->shared.renew_ms < pause_ms)
        creds->shared.renew_ms = pause_ms;
    pthread_cond_broadcast(&creds->shared.changed);
    return ok;
}

static bool usable(const struct google_credentials *creds)
{
    return creds->shared.token && creds->shared.expires_ms - clock_mono_ms() >= TOKEN_MIN_LEFT_MS;
}

/* Waits until the fetch of another thread is over, which its own time-outs bound; false with its error when it failed,
 * or when cancelled. Lock held. */
static bool await_fetch(struct google_credentials *creds, struct cancel *cancel, struct error *err)
{
    uint64_t before = creds->shared.failures;
    while (creds->shared.fetching && !cancel_is_set(cancel))
        pthread_cond_wait(&creds->shared.changed, &creds->mutex);
    if (!cancel_check(cancel, err))
        return false;
    if (creds->shared.failures == before)
        return true;
    *err = creds->shared.failure;
    return false;
}

static bool token_locked(struct google_credentials *creds, struct cancel *cancel, struct secret **ret,
                         struct error *err)
{
    while (!usable(creds) && creds->shared.fetching) {
        if (!await_fetch(creds, cancel, err))
            return false;
        if (creds->shared.token)
            break; /* just fetched: whatever its lifetime, there is no better one */
    }
    bool due = !creds->shared.token || clock_mono_ms() >= creds->shared.renew_ms ||
               (!usable(creds) && creds->shared.expires_ms <= clock_mono_ms());
    if (due && !creds->shared.fetching && !fetch(creds, cancel, err) && !usable(creds))
        return false;
    *ret = secret_ref(creds->shared.token);
    return true;
}

static void wake_waiters(void *user)
{
    struct google_credentials *creds = user;
    pthread_mutex_lock(&creds->mutex);
    pthread_cond_broadcast(&creds->shared.changed);
    pthread_mutex_unlock(&creds->mutex);
}

bool google_credentials_token(struct google_credentials *creds, struct cancel *cancel, struct secret **ret,
                              struct error *err)
{
    struct error own = ERROR_INIT;
    struct secret *token = NULL;
    if (google_credentials_is_none(creds)) {
        *ret = secret_new(SLICE_NULL);
        return true;
    }
    uint64_t hook = cancel ? cancel_add_hook(cancel, wake_waiters, creds) : 0;
    pthread_mutex_lock(&creds->mutex);
    bool ok = token_locked(creds, cancel, &token, err ? err : &own);
    pthread_mutex_unlock(&creds->mutex);
    if (cancel)
        cancel_remove_hook(cancel, hook);
    if (ok)
        *ret = token;
    return ok;
}

void google_credentials_refused(struct google_credentials *creds, const struct secret *token)
{
    pthread_mutex_lock(&creds->mutex);
    if (creds->shared.token && slice_eq(secret_reveal(creds->shared.token), secret_reveal(token))) {
        secret_unref(creds->shared.token);
        creds->shared.token = NULL;
    }
    pthread_mutex_unlock(&creds->mutex);
}
