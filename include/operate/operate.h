/* operate.h - what operators ask for: init, status, last sync. CLI verbs and HTTP routes share these. */
#ifndef ST_OPERATE_OPERATE_H
#define ST_OPERATE_OPERATE_H

#include "dispatch/services.h"

/* Tells each object of the cloud side that the program needs, and what became of it: "created", "exists", or how it differs. */
typedef void operate_tell_fn(void *user, const char *object, const char *state);
/* Datasets, tables, views, topics, subscriptions with their policies. Safe to repeat. */
bool operate_init(struct services *services, operate_tell_fn *tell, void *user, struct cancel *cancel,
                  struct error *err) MUST_CHECK;

/* What init makes in Pub/Sub, in order: a topic and its one subscription. Names are borrowed from the settings. */
enum { OPERATE_QUEUES = 3 };
struct operate_queue {
    const char *role; /* "live", "backfill" or "dead_letter" */
    const char *subscription;
    struct pubsub_subscription_options policy; /* with the topic's name */
};
void operate_queues(const struct settings *settings, struct operate_queue ret[OPERATE_QUEUES]);

/* One row per tenant and entity: the newest run and the watermark. tenant 0 = all, entity NULL = all. The result's columns:
 * tenant_id, entity_type, status, mode, start_time, duration_ms, records_fetched, records_inserted, last_sync_time, error_message. */
bool operate_status(struct services *services, int64_t tenant, const char *entity, struct bq_result *ret,
                    struct cancel *cancel, struct error *err) MUST_CHECK;
/* The newest `limit` runs of an entity (NULL = all), newest first. */
bool operate_runs(struct services *services, int64_t tenant, const char *entity, int64_t limit, struct bq_result *ret,
                  struct cancel *cancel, struct error *err) MUST_CHECK;
/* tenant_id, entity_type, last_sync_time. */
bool operate_last_sync(struct services *services, int64_t tenant, const char *entity, struct bq_result *ret,
                       struct cancel *cancel, struct error *err) MUST_CHECK;
/* The statements behind these, for the analyzer test. */
void operate_each_sql(const struct settings *settings, void (*fn)(void *user, const char *name, const char *sql),
                      void *user);

#endif
