#include "dispatch/services.h"

#include <stdlib.h>

static const char *or_null(const char *text)
{
    return text && text[0] ? text : NULL;
}

/* An emulator needs no credentials and must not get any. */
static struct google_credentials *credentials_for(const struct settings *s, bool emulator, struct error *err)
{
    return emulator ? google_credentials_none() : google_credentials_new(or_null(s->google_credentials), err);
}

static bool open_pubsub(struct services *v, const struct settings *s, struct error *err)
{
    const char *host = or_null(s->pubsub_emulator_host);
    v->pubsub_credentials = credentials_for(s, host != NULL, err);
    if (!v->pubsub_credentials)
        return false;
    v->pubsub = pubsub_client_new(s->pubsub_project, host, v->pubsub_credentials, err);
    return v->pubsub != NULL;
}

static bool open_bigquery(struct services *v, const struct settings *s, struct error *err)
{
    const char *rest = or_null(s->bq_emulator_host), *storage = or_null(s->bq_storage_emulator_host);
    if ((rest == NULL) != (storage == NULL))
        return error_set(
            err, ERROR_PERMANENT, "config",
            "BIGQUERY_EMULATOR_HOST and BIGQUERY_STORAGE_EMULATOR_HOST belong together: set both or neither");
    v->bigquery_credentials = credentials_for(s, rest != NULL, err);
    if (!v->bigquery_credentials)
        return false;
    const struct bq_options options = {
        .project = s->bq_project,
        .location = s->bq_location,
        .rest_base = rest,
        .creds = v->bigquery_credentials,
        .job_timeout_ms = s->bq_job_timeout_s * 1000,
    };
    v->bigquery = bq_client_new(&options, err);
    if (!v->bigquery)
        return false;
    const struct bq_writer_options writer = {
        .project = s->bq_project, .target = storage, .creds = v->bigquery_credentials};
    v->writer = bq_writer_new(&writer, err);
    if (!v->writer)
        return false;
    v->events = events_new(v->writer, s->bq_dataset_logs);
    v->warehouse = (struct warehouse){
        .client = v->bigquery,
        .writer = v->writer,
        .events = v->events,
        .names = {s->bq_project, s->bq_dataset_raw, s->bq_dataset_stage, s->bq_dataset_mart, s->bq_dataset_logs},
        .registry = s->registry,
    };
    return true;
}

static struct st_tenant *open_tenant(struct services *v, const struct settings *s, const struct tenant_settings *t,
                                     struct error *err)
{
    const struct st_tenant_options options = {
        .tenant = t->id,
        .api_url = t->api_url ? t->api_url : s->st_api_url,
        .auth_url = t->auth_url ? t->auth_url : s->st_auth_url,
        .client_id = t->client_id,
        .client_secret = t->client_secret,
        .app_key = t->app_key,
        .rate_per_second = (double)settings_tenant_rate(s, t->id),
        .burst = (double)s->st_burst,
        .max_retries = (int)s->max_retries,
        .timeout_ms = s->st_timeout_ms,
        .pool = v->http,
    };
    return st_tenant_new(&options, err);
}

static bool open_servicetitan(struct services *v, const struct settings *s, struct error *err)
{
    v->http = http_pool_new((size_t)s->max_concurrent_requests);
    v->tenants = xcalloc(s->tenant_count, sizeof(struct st_tenant *));
    for (size_t i = 0; i < s->tenant_count; i++) {
        v->tenants[i] = open_tenant(v, s, &s->tenants[i], err);
        if (!v->tenants[i])
            return false;
    }
    return true;
}

bool services_open(struct services *v, const struct settings *s, unsigned what, struct error *err)
{
    *v = (struct services){.settings = s};
    http_global_init();
    grpc_global_init();
    if ((what & SETTINGS_PUBSUB) && !open_pubsub(v, s, err))
        return false;
    if ((what & SETTINGS_BIGQUERY) && !open_bigquery(v, s, err))
        return false;
    return !(what & SETTINGS_SERVICETITAN) || open_servicetitan(v, s, err);
}

void services_close(struct services *v)
{
    for (size_t i = 0; v->tenants && i < v->settings->tenant_count; i++)
        st_tenant_free(v->tenants[i]);
    free(v->tenants);
    if (v->http)
        http_pool_free(v->http);
    warehouse_release(&v->warehouse);
    events_free(v->events);
    bq_writer_free(v->writer);
    bq_client_free(v->bigquery);
    pubsub_client_free(v->pubsub);
    google_credentials_free(v->bigquery_credentials);
    google_credentials_free(v->pubsub_credentials);
    if (v->settings) {
        grpc_global_release();
        http_global_release();
    }
    *v = (struct services){0};
}

struct st_tenant *services_tenant(const struct services *v, int64_t id)
{
    for (size_t i = 0; i < v->settings->tenant_count; i++)
        if (v->settings->tenants[i].id == id)
            return v->tenants[i];
    return NULL;
}
