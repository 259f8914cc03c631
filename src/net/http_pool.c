/* http_pool.c - a bounded set of HTTP clients that threads borrow.
 *
 * Clients are made when first needed and given out last in, first out, so that a quiet process keeps few warm
 * connections. Those of the background get one when nobody else waits, and never the last: an exchange may take minutes. Any
 * thread. */
#include <pthread.h>
#include <stdlib.h>

#include "net/http.h"

struct http_pool {
    pthread_mutex_t mutex;
    pthread_cond_t returned, spare; /* a client is in; the background may have one */
    size_t waiting;                 /* foreground */
    size_t max_clients;
    size_t made;
    size_t idle;
    struct http_client *clients[]; /* the first `idle` are in */
};

struct http_pool *http_pool_new(size_t max_clients)
{
    BUG_ON(max_clients == 0);
    struct http_pool *pool = xcalloc(1, sizeof *pool + max_clients * sizeof(struct http_client *));
    pool->max_clients = max_clients;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->returned, NULL);
    pthread_cond_init(&pool->spare, NULL);
    return pool;
}

void http_pool_free(struct http_pool *pool)
{
    if (!pool)
        return;
    BUG_ON(pool->idle != pool->made);
    for (size_t i = 0; i < pool->idle; i++)
        http_client_free(pool->clients[i]);
    pthread_cond_destroy(&pool->spare);
    pthread_cond_destroy(&pool->returned);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

static bool has_free(const struct http_pool *pool)
{
    return pool->idle > 0 || pool->made < pool->max_clients;
}

static bool has_spare(const struct http_pool *pool)
{
    size_t out = pool->made - pool->idle;
    return pool->waiting == 0 && out < (pool->max_clients > 1 ? pool->max_clients - 1 : 1);
}

/* With the mutex held. */
static void wake_one(struct http_pool *pool)
{
    if (pool->waiting > 0 && has_free(pool))
        pthread_cond_signal(&pool->returned);
    else if (has_spare(pool))
        pthread_cond_signal(&pool->spare);
}

/* With the mutex held, which it releases: an idle client, or room for a new one. */
static struct http_client *take_free(struct http_pool *pool)
{
    struct http_client *client = NULL;
    if (pool->idle > 0)
        client = pool->clients[--pool->idle];
    else
        pool->made++;
    wake_one(pool);
    pthread_mutex_unlock(&pool->mutex);
    return client ? client : http_client_new();
}

/* Everybody who waits looks at his own cancel. */
static void wake_all(void *user)
{
    struct http_pool *pool = user;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->returned);
    pthread_cond_broadcast(&pool->spare);
    pthread_mutex_unlock(&pool->mutex);
}

/* Once what it waits for is there, or with the cancel; a wake-up that came to one who leaves is passed on. */
static struct http_client *take_when(struct http_pool *pool, bool (*there)(const struct http_pool *pool),
                                     pthread_cond_t *changed, struct cancel *cancel, struct error *err)
{
    struct http_client *client = NULL;
    uint64_t hook = cancel ? cancel_add_hook(cancel, wake_all, pool) : 0;
    pthread_mutex_lock(&pool->mutex);
    pool->waiting += changed == &pool->returned;
    while (!there(pool) && !cancel_is_set(cancel))
        pthread_cond_wait(changed, &pool->mutex);
    pool->waiting -= changed == &pool->returned;
    if (cancel_check(cancel, err)) {
        client = take_free(pool);
    } else {
        wake_one(pool);
        pthread_mutex_unlock(&pool->mutex);
    }
    if (cancel)
        cancel_remove_hook(cancel, hook);
    return client;
}

struct http_client *http_pool_take(struct http_pool *pool, struct cancel *cancel, struct error *err)
{
    return take_when(pool, has_free, &pool->returned, cancel, err);
}

struct http_client *http_pool_take_background(struct http_pool *pool, struct cancel *cancel, struct error *err)
{
    return take_when(pool, has_spare, &pool->spare, cancel, err);
}

void http_pool_give(struct http_pool *pool, struct http_client *client)
{
    pthread_mutex_lock(&pool->mutex);
    BUG_ON(pool->idle == pool->made);
    pool->clients[pool->idle++] = client;
    wake_one(pool);
    pthread_mutex_unlock(&pool->mutex);
}
