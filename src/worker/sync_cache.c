#include <stdio.h>
#include <stdlib.h>

#include "run.h"

struct cached {
    int64_t tenant;
    const struct entity *entity;
    int64_t us;
    char token[PAGE_MAX_CONTINUE];
};

struct sync_cache {
    pthread_mutex_t lock;
    size_t count, cap;
    struct cached items[];
};

struct sync_cache *sync_cache_new(size_t tenants, size_t entities)
{
    size_t cap = tenants * entities;
    struct sync_cache *cache = xcalloc(1, sizeof *cache + cap * sizeof cache->items[0]);
    pthread_mutex_init(&cache->lock, NULL);
    cache->cap = cap;
    return cache;
}

void sync_cache_free(struct sync_cache *cache)
{
    if (!cache)
        return;
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

static struct cached *find(struct sync_cache *cache, int64_t tenant, const struct entity *entity)
{
    for (size_t i = 0; i < cache->count; i++)
        if (cache->items[i].tenant == tenant && cache->items[i].entity == entity)
            return &cache->items[i];
    return NULL;
}

bool sync_cache_get(struct sync_cache *cache, int64_t tenant, const struct entity *entity, int64_t *ret_us,
                    char ret_token[PAGE_MAX_CONTINUE])
{
    pthread_mutex_lock(&cache->lock);
    const struct cached *item = find(cache, tenant, entity);
    if (item)
        *ret_us = item->us;
    if (item && ret_token)
        memcpy(ret_token, item->token, sizeof item->token);
    pthread_mutex_unlock(&cache->lock);
    return item != NULL;
}

void sync_cache_each(struct sync_cache *cache,
                     void (*fn)(void *user, int64_t tenant, const struct entity *entity, int64_t us), void *user)
{
    pthread_mutex_lock(&cache->lock);
    for (size_t i = 0; i < cache->count; i++)
        fn(user, cache->items[i].tenant, cache->items[i].entity, cache->items[i].us);
    pthread_mutex_unlock(&cache->lock);
}

void sync_cache_put(struct sync_cache *cache, int64_t tenant, const struct entity *entity, int64_t us,
                    const char *token)
{
    pthread_mutex_lock(&cache->lock);
    struct cached *item = find(cache, tenant, entity);
    if (!item && cache->count < cache->cap) {
        item = &cache->items[cache->count++];
        *item = (struct cached){.tenant = tenant, .entity = entity, .us = INT64_MIN};
    }
    if (item && us > item->us) {
        item->us = us;
        snprintf(item->token, sizeof item->token, "%s", token);
    }
    pthread_mutex_unlock(&cache->lock);
}
