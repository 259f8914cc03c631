/* http_pool.c - a bounded set of HTTP clients that threads borrow.
 *
 * Clients are made when first needed and given out last in, first out, so that a quiet process keeps few warm
 * connections. Any thread. */
#include <pthread.h>
#include <stdlib.h>

#include "net/http.h"

struct http_pool {
    pthread_mutex_t mutex;
    pthread_cond_t returned;
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
    return pool;
}

void http_pool_free(struct http_pool *pool)
{
    if (!pool)
        return;
    BUG_ON(pool->idle != pool->made);
    for (size_t i = 0; i < pool->idle; i++)
        http_client_free(pool->clients[i]);
    pthread_cond_destroy(&pool->returned);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

struct http_client *http_pool_take(struct http_pool *pool)
{
    struct http_client *client = NULL;
    pthread_mutex_lock(&pool->mutex);
    while (pool->idle == 0 && pool->made == pool->max_clients)
        pthread_cond_wait(&pool->returned, &pool->mutex);
    if (pool->idle > 0)
        client = pool->clients[--pool->idle];
    else
        pool->made++;
    pthread_mutex_unlock(&pool->mutex);
    return client ? client : http_client_new();
}

void http_pool_give(struct http_pool *pool, struct http_client *client)
{
    pthread_mutex_lock(&pool->mutex);
    BUG_ON(pool->idle == pool->made);
    pool->clients[pool->idle++] = client;
    pthread_cond_signal(&pool->returned);
    pthread_mutex_unlock(&pool->mutex);
}
