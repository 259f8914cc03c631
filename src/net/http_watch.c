#include "http_watch.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "base/buf.h"

enum { LOOK_MS = 200 };

enum peer_state { PEER_READING /* a request, or waiting for one */, PEER_BUSY, PEER_REPLYING };

struct http_peer { /* all but the reference count under the watch's lock */
    struct http_watch *watch;
    struct http_peer *prev, *next;
    int fd; /* -1: closed */
    unsigned refs;
    enum peer_state state;
    bool ended;     /* at the last look: no byte can follow those that MHD has still to read */
    int64_t due_ms; /* when the connection is cut; INT64_MAX = not */
    struct cancel *cancel;
    int64_t limit_ms; /* when it is set; INT64_MAX = never by time */
    bool heed_hangup;
};

struct http_watch {
    pthread_mutex_t lock; /* taken before the locks of cancels and of their hooks */
    pthread_cond_t changed;
    pthread_t thread;
    struct http_peer *peers;
    size_t watched; /* peers with a cancel */
    int64_t first_ms, next_ms;
    bool cancelled, stopping;
};

static int64_t real_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t after(int64_t ms)
{
    return ms > 0 ? real_ms() + ms : INT64_MAX;
}

static bool has_hung_up(int fd)
{
    struct pollfd look = {.fd = fd, .events = POLLRDHUP};
    return poll(&look, 1, 0) == 1 && look.revents & (POLLRDHUP | POLLHUP | POLLERR);
}

/* What the client sent before its end may not be read yet: it is cut at the second look. */
static bool has_ended(struct http_peer *peer)
{
    bool ended = peer->ended;
    peer->ended = peer->state == PEER_READING && peer->due_ms != INT64_MAX && has_hung_up(peer->fd);
    return ended && peer->ended;
}

static void look_at(struct http_peer *peer, int64_t now)
{
    if (now >= peer->due_ms || has_ended(peer)) {
        shutdown(peer->fd, SHUT_RDWR); /* MHD's thread sees it and closes */
        peer->due_ms = INT64_MAX;
    }
    if (!peer->cancel || cancel_is_set(peer->cancel))
        return;
    if (peer->heed_hangup && has_hung_up(peer->fd))
        cancel_set(peer->cancel, "the client has gone");
    else if (now >= peer->limit_ms)
        cancel_set(peer->cancel, "the time is over");
}

static void wait_a_moment(struct http_watch *watch)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LOOK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&watch->changed, &watch->lock, &until);
}

static void *watch_main(void *user)
{
    struct http_watch *watch = user;
    pthread_mutex_lock(&watch->lock);
    while (!watch->stopping) {
        bool timed = watch->first_ms > 0 || watch->next_ms > 0;
        if (!watch->peers || (!timed && watch->watched == 0)) {
            pthread_cond_wait(&watch->changed, &watch->lock);
            continue;
        }
        int64_t now = real_ms();
        for (struct http_peer *peer = watch->peers; peer; peer = peer->next)
            look_at(peer, now);
        wait_a_moment(watch);
    }
    pthread_mutex_unlock(&watch->lock);
    return NULL;
}

struct http_watch *http_watch_new(int first_request_s, int next_request_s)
{
    struct http_watch *watch = xcalloc(1, sizeof *watch);
    watch->first_ms = first_request_s * INT64_C(1000);
    watch->next_ms = next_request_s * INT64_C(1000);
    pthread_mutex_init(&watch->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&watch->changed, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&watch->thread, NULL, watch_main, watch) == 0)
        return watch;
    pthread_cond_destroy(&watch->changed);
    pthread_mutex_destroy(&watch->lock);
    free(watch);
    return NULL;
}

void http_watch_free(struct http_watch *watch)
{
    if (!watch)
        return;
    pthread_mutex_lock(&watch->lock);
    BUG_ON(watch->peers);
    watch->stopping = true;
    pthread_cond_signal(&watch->changed);
    pthread_mutex_unlock(&watch->lock);
    pthread_join(watch->thread, NULL);
    pthread_cond_destroy(&watch->changed);
    pthread_mutex_destroy(&watch->lock);
    free(watch);
}

void http_watch_cancel_all(struct http_watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    watch->cancelled = true;
    for (struct http_peer *peer = watch->peers; peer; peer = peer->next)
        if (peer->cancel)
            cancel_set(peer->cancel, "the server is stopping");
    pthread_mutex_unlock(&watch->lock);
}

struct http_peer *http_peer_new(struct http_watch *watch, int fd)
{
    struct http_peer *peer = xcalloc(1, sizeof *peer);
    *peer = (struct http_peer){.watch = watch, .fd = fd, .refs = 1, .due_ms = after(watch->first_ms)};
    pthread_mutex_lock(&watch->lock);
    peer->next = watch->peers;
    if (peer->next)
        peer->next->prev = peer;
    watch->peers = peer;
    pthread_cond_signal(&watch->changed);
    pthread_mutex_unlock(&watch->lock);
    return peer;
}

struct http_peer *http_peer_ref(struct http_peer *peer)
{
    if (peer)
        __atomic_add_fetch(&peer->refs, 1, __ATOMIC_RELAXED);
    return peer;
}

void http_peer_unref(struct http_peer *peer)
{
    if (peer && __atomic_sub_fetch(&peer->refs, 1, __ATOMIC_ACQ_REL) == 0)
        free(peer);
}

void http_peer_closed(struct http_peer *peer)
{
    struct http_watch *watch = peer ? peer->watch : NULL;
    if (!peer)
        return;
    pthread_mutex_lock(&watch->lock);
    if (peer->prev)
        peer->prev->next = peer->next;
    else
        watch->peers = peer->next;
    if (peer->next)
        peer->next->prev = peer->prev;
    if (peer->cancel) {
        cancel_set(peer->cancel, "the connection is closed");
        watch->watched--;
    }
    peer->cancel = NULL;
    peer->fd = -1;
    pthread_mutex_unlock(&watch->lock);
    http_peer_unref(peer);
}

static void enter(struct http_peer *peer, enum peer_state state)
{
    if (!peer)
        return;
    pthread_mutex_lock(&peer->watch->lock);
    peer->state = state;
    peer->ended = false;
    peer->due_ms = state == PEER_BUSY ? INT64_MAX : after(peer->watch->next_ms);
    pthread_mutex_unlock(&peer->watch->lock);
}

void http_peer_busy(struct http_peer *peer)
{
    enter(peer, PEER_BUSY);
}

void http_peer_replying(struct http_peer *peer)
{
    enter(peer, PEER_REPLYING);
}

void http_peer_idle(struct http_peer *peer)
{
    enter(peer, PEER_READING);
}

void http_peer_watch(struct http_peer *peer, struct cancel *cancel, int64_t limit_ms, bool heed_hangup)
{
    if (!peer)
        return;
    struct http_watch *watch = peer->watch;
    pthread_mutex_lock(&watch->lock);
    if (watch->cancelled || peer->fd < 0) {
        cancel_set(cancel, "the server is stopping");
    } else {
        peer->cancel = cancel;
        peer->limit_ms = after(limit_ms);
        peer->heed_hangup = heed_hangup;
        watch->watched++;
        pthread_cond_signal(&watch->changed);
    }
    pthread_mutex_unlock(&watch->lock);
}

void http_peer_unwatch(struct http_peer *peer)
{
    if (!peer)
        return;
    pthread_mutex_lock(&peer->watch->lock);
    if (peer->cancel)
        peer->watch->watched--;
    peer->cancel = NULL;
    pthread_mutex_unlock(&peer->watch->lock);
}
