/* registry.h - config/schema_registry.json: the one place that knows an entity.
 *
 * Loaded once at start, checked as a whole (a wrong registry is refused with the place), read-only once the settings have said
 * which entities are enabled; any thread. */
#ifndef ST_RECORD_REGISTRY_H
#define ST_RECORD_REGISTRY_H

#include "record/schema.h"

enum { REGISTRY_MAX_ENTITIES = 64 };

/* Where incremental and full reads of an entity get its records from. */
enum entity_feed { FEED_LIST, FEED_EXPORT };

struct entity {
    const char *name; /* "jobs" */
    bool enabled;     /* false: it is known, and nothing is made or moved for it; see registry_set_enabled */
    const char *description;
    const char *path;           /* "jpm/v2/tenant/{tenant}/jobs" */
    const char *export_path;    /* NULL: none */
    enum entity_feed feed;      /* FEED_EXPORT: there is an export_path */
    const char *tombstone;      /* member that only the export feed has, false in what was deleted; NULL: none */
    const char *active_param;   /* "active" or "activeState"; NULL: the endpoint has none */
    const char *active_value;   /* "Any" or "All" */
    int max_page_size;          /* 5000 */
    bool id_nullable;           /* payroll: rows without id live in groups (design 6) */
    bool modified_nullable;     /* invoices: modifiedOn may be absent: read by createdOn as well */
    struct table_schema target; /* raw_<entity>: source columns, then the target bookkeeping columns */
    struct table_schema stage;  /* stage_<entity>: the same source columns, then the stage bookkeeping columns */
    size_t source_column_count; /* how many of both are source columns */
    const char *const
        *feed_only; /* members that only the export feed has, NULL-terminated: neither drift nor part of _row_hash */
};

/* Bookkeeping columns, in this order behind the source columns.
 * target: _tenant_id INT64, _run_id STRING, _ingested_at TIMESTAMP, _ingestion_source STRING, _row_hash STRING, _fetched_at TIMESTAMP,
 *         _extra JSON, _deleted_at TIMESTAMP, _group_date DATE (rows without identity: day of createdOn; else NULL)
 * stage:  _tenant_id INT64, _run_id STRING, _fetch_id INT64, _row_number INT64, _row_hash STRING, _fetched_at TIMESTAMP, _extra JSON,
 *         _deleted BOOL (NULL: the feed does not tell), _group_date DATE, _staged_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP() (never written by us) */

struct registry;

struct registry *registry_load(const char *path, struct error *err) MUST_CHECK;
void registry_free(struct registry *registry);
const struct entity *registry_find(const struct registry *registry, const char *name); /* NULL when unknown */
size_t registry_count(const struct registry *registry);
const struct entity *registry_at(const struct registry *registry, size_t index); /* in file order */
/* All entities are enabled until the settings say otherwise, once, before anything else uses the registry. */
void registry_set_enabled(struct registry *registry, size_t index, bool enabled);

#endif
