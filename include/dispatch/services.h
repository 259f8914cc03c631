/* services.h - the outside systems that a command reaches, built in order and taken down in reverse. */
#ifndef ST_DISPATCH_SERVICES_H
#define ST_DISPATCH_SERVICES_H

#include "bigquery/warehouse.h"
#include "dispatch/settings.h"
#include "pubsub/pubsub.h"
#include "servicetitan/client.h"

struct services {
    const struct settings *settings;
    struct google_credentials *pubsub_credentials, *bigquery_credentials; /* emulator or real, each for itself */
    struct pubsub_client *pubsub;
    struct bq_client *bigquery;
    struct bq_writer *writer;
    struct events *events;
    struct warehouse warehouse;
    struct http_pool *http;
    struct st_tenant **tenants; /* parallel to settings->tenants */
};

/* Builds what the bits (enum settings_command) name; connects lazily. On failure release with services_close as well. */
bool services_open(struct services *services, const struct settings *settings, unsigned what,
                   struct error *err) MUST_CHECK;
void services_close(struct services *services);
struct st_tenant *services_tenant(const struct services *services, int64_t id); /* NULL: not configured */

#endif
