/* settings.h - everything that can be set, loaded and checked once at start; read-only afterwards.
 *
 * Sources, later over earlier: defaults, config/config.json, .env, the environment. */
#ifndef ST_DISPATCH_SETTINGS_H
#define ST_DISPATCH_SETTINGS_H

#include "base/option.h"
#include "record/registry.h"

enum settings_command { /* bits of option_row.needed_by: what a command reaches */
                        SETTINGS_PUBSUB = 1,
                        SETTINGS_BIGQUERY = 2,
                        SETTINGS_SERVICETITAN = 4,
                        SETTINGS_ONE_TENANT = 8, /* no command's: shows in the sample file what one tenant needs */
};

enum { SETTINGS_MAX_TENANTS = 1000 };

struct tenant_settings {
    int64_t id;
    char *name;                                         /* may be NULL */
    char *api_url, *auth_url;                           /* NULL: the common ones */
    int64_t rate_per_second;                            /* 0: the common one */
    struct secret *client_id, *client_secret, *app_key; /* NULL while their variables are unset */
    char *missing;                                      /* names of the variables that are unset; NULL: none */
};

struct entity_settings { /* the config's entities section; parallel to the registry */
    const struct entity *entity;
    bool enabled;
    const char *sync_mode; /* incremental or full: the mode of a dispatch that names none */
    const char *schedule;  /* five cron fields (dispatch/cron.h), in the zone of schedule_time_zone; "" = none */
    int64_t priority;      /* 1 is dispatched first */
    const char *description;
};

struct settings {
    /* ServiceTitan */
    struct secret *st_client_id, *st_client_secret, *st_app_key;
    const char *st_tenant_id, *st_api_url, *st_auth_url;
    int64_t st_page_size, st_rate_per_second, st_burst, st_timeout_ms;
    /* BigQuery */
    const char *bq_project, *bq_location, *bq_dataset_raw, *bq_dataset_stage, *bq_dataset_mart, *bq_dataset_logs;
    int64_t bq_job_timeout_s;
    const char *bq_emulator_host, *bq_storage_emulator_host;
    /* Pub/Sub */
    const char *pubsub_project, *pubsub_topic, *pubsub_subscription, *pubsub_backfill_topic,
        *pubsub_backfill_subscription;
    const char *pubsub_dead_letter_topic, *pubsub_dead_letter_subscription, *pubsub_emulator_host;
    /* Google */
    const char *google_credentials;
    /* Sync */
    const char *default_mode, *full_sync_day, *schedule_time_zone;
    int64_t lookback_days, overlap_s, worker_concurrency, max_concurrent_requests, max_retries, quarantine_percent;
    int64_t port, log_progress_s, worker_port;
    const char *log_level, *worker_bind;
    const char *api_bind;
    struct secret *api_token;
    bool api_allow_unauthenticated;
    /* From config.json's lists */
    struct tenant_settings *tenants;
    size_t tenant_count;
    struct entity_settings *entities; /* in registry order */
    size_t entity_count;
    struct registry *registry;
    /* Memory behind the values */
    struct option_set options;
    struct json_object *config;
    char *config_path, *registry_path, *env_path;
};

struct settings_files {
    const char *config, *registry, *env;
}; /* NULL: the usual places */

/* Loads everything and checks what the command (bits) needs. The usual places: config/ beside the working directory, else beside the
 * program or one folder above it; .env likewise. Free with settings_release, also after a failure. */
bool settings_load(struct settings *settings, const struct settings_files *files, unsigned command,
                   struct error *err) MUST_CHECK;
void settings_release(struct settings *settings);
/* A file or folder of the project: `given` if there is one, else the first of the usual places where it exists: working directory,
 * beside the program, one folder above it; else the name as it is. Free it. */
char *settings_find(const char *given, const char *name);

const struct tenant_settings *settings_tenant(const struct settings *settings,
                                              int64_t id); /* NULL when not configured */
const struct entity_settings *settings_entity(const struct settings *settings,
                                              const char *name);           /* NULL when unknown */
int64_t settings_tenant_rate(const struct settings *settings, int64_t id); /* per second; its own or the common one */
/* All entities by priority, then in registry order: ret has room for entity_count of them (at most REGISTRY_MAX_ENTITIES). */
void settings_order(const struct settings *settings, const struct entity_settings **ret);
/* The same check as settings_load's, for what a command needs only in some of its uses. */
bool settings_check(const struct settings *settings, unsigned command, struct error *err) MUST_CHECK;

extern const struct option_row settings_rows[];
size_t settings_row_count(void);

#endif
