/* endpoints.c - which page size works, per list endpoint of a tenant. Thread-safe.
 *
 * No endpoint documents its maximum. What the server names (a smaller pageSize in the envelope, a 413) is believed for
 * good; what time-outs suggest is taken back after a while of success, since a time-out may come from the network as
 * well. */
#include "tenant.h"

#include <string.h>

enum { GROW_AFTER = 64 };

static struct st_endpoint *endpoint_of(struct st_tenant *tenant, const struct entity *entity)
{
    for (size_t i = 0; i < tenant->endpoints.count; i++)
        if (strcmp(tenant->endpoints.list[i].entity, entity->name) == 0)
            return &tenant->endpoints.list[i];
    BUG_ON(tenant->endpoints.count == REGISTRY_MAX_ENTITIES);
    struct st_endpoint *endpoint = &tenant->endpoints.list[tenant->endpoints.count++];
    *endpoint = (struct st_endpoint){.entity = entity->name};
    return endpoint;
}

static int64_t at_most(int64_t value, int64_t cap)
{
    return cap > 0 && cap < value ? cap : value;
}

int64_t st_page_size(struct st_tenant *tenant, const struct entity *entity, int64_t wanted)
{
    pthread_mutex_lock(&tenant->endpoints.mutex);
    struct st_endpoint *endpoint = endpoint_of(tenant, entity);
    int64_t size =
        at_most(at_most(wanted > 0 ? wanted : entity->max_page_size, endpoint->hard_cap), endpoint->soft_cap);
    pthread_mutex_unlock(&tenant->endpoints.mutex);
    return size;
}

void st_page_cap(struct st_tenant *tenant, const struct entity *entity, int64_t cap)
{
    if (cap < 1)
        return;
    pthread_mutex_lock(&tenant->endpoints.mutex);
    struct st_endpoint *endpoint = endpoint_of(tenant, entity);
    endpoint->hard_cap = endpoint->hard_cap ? at_most(endpoint->hard_cap, cap) : cap;
    pthread_mutex_unlock(&tenant->endpoints.mutex);
}

bool st_page_halve(struct st_tenant *tenant, const struct entity *entity, int64_t asked, bool refused)
{
    int64_t half = asked / 2 > ST_MIN_PAGE_SIZE ? asked / 2 : ST_MIN_PAGE_SIZE;
    if (half >= asked)
        return false;
    if (refused) {
        st_page_cap(tenant, entity, half);
        return true;
    }
    pthread_mutex_lock(&tenant->endpoints.mutex);
    struct st_endpoint *endpoint = endpoint_of(tenant, entity);
    endpoint->soft_cap = endpoint->soft_cap ? at_most(endpoint->soft_cap, half) : half;
    endpoint->successes = 0;
    pthread_mutex_unlock(&tenant->endpoints.mutex);
    return true;
}

void st_page_ok(struct st_tenant *tenant, const struct entity *entity, int64_t asked)
{
    pthread_mutex_lock(&tenant->endpoints.mutex);
    struct st_endpoint *endpoint = endpoint_of(tenant, entity);
    if (endpoint->soft_cap > 0 && asked >= endpoint->soft_cap && ++endpoint->successes >= GROW_AFTER) {
        endpoint->successes = 0;
        endpoint->soft_cap *= 2;
        if (endpoint->soft_cap >= entity->max_page_size)
            endpoint->soft_cap = 0;
    }
    pthread_mutex_unlock(&tenant->endpoints.mutex);
}
