/* grpc_server_pool.c - the bounded threads on which handlers run.
 *
 * The queue holds calls, not events: a call with several events goes back to the end after each, so that one busy
 * stream does not keep the others waiting. Each call is in the queue at most once (call->scheduled), which is what
 * makes the handlers of one call run one at a time. */
#include <stdlib.h>

#include "base/buf.h"
#include "grpc_server_internal.h"

struct rpc_pool {
    void (*run)(struct rpc_call *call);
    pthread_t *threads;
    int thread_count;
    pthread_mutex_t mutex; /* guards below */
    pthread_cond_t wake;
    struct rpc_call *head, **tail;
    bool stopping;
};

static void *pool_thread(void *arg)
{
    struct rpc_pool *pool = arg;
    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        while (!pool->head && !pool->stopping)
            pthread_cond_wait(&pool->wake, &pool->mutex);
        struct rpc_call *call = pool->head;
        if (!call)
            break;
        pool->head = call->pool_next;
        if (!pool->head)
            pool->tail = &pool->head;
        pthread_mutex_unlock(&pool->mutex);
        pool->run(call);
        pthread_mutex_lock(&pool->mutex);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

struct rpc_pool *rpc_pool_new(int threads, void (*run)(struct rpc_call *call))
{
    struct rpc_pool *pool = xcalloc(1, sizeof *pool);
    pool->run = run;
    pool->tail = &pool->head;
    pool->threads = xcalloc((size_t)threads, sizeof *pool->threads);
    pool->thread_count = threads;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    for (int i = 0; i < threads; i++)
        BUG_ON(pthread_create(&pool->threads[i], NULL, pool_thread, pool) != 0);
    return pool;
}

void rpc_pool_push(struct rpc_pool *pool, struct rpc_call *call)
{
    pthread_mutex_lock(&pool->mutex);
    call->pool_next = NULL;
    *pool->tail = call;
    pool->tail = &call->pool_next;
    pthread_cond_signal(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
}

void rpc_pool_free(struct rpc_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    for (int i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->threads);
    free(pool);
}
