/* bq_catalog.h - datasets and tables: in memory for look-ups, in the data base for ever.
 *
 * A table's snapshot (struct engine_schema) is immutable and reference counted; a change publishes a new one. The rows
 * live in DuckDB tables named t<id>, so that names, case and replacement cost nothing there; ids are never used twice.
 * Views have no DuckDB object: their text is translated anew in each statement that names them.
 *
 * Writers take the admin lock for the length of one short transaction; readers only the memory lock. */
#ifndef ST_LOCAL_BQ_CATALOG_H
#define ST_LOCAL_BQ_CATALOG_H

#include <pthread.h>
#include <stdatomic.h>

#include "bq_duck.h"
#include "bq_type.h"

/* One table or view as it was at some moment. */
struct engine_schema {
    atomic_int refs;
    int64_t id;
    char *project, *dataset, *name;
    char *resource;         /* JSON text, normalised */
    const char *view_query; /* in the arena; NULL = a table */
    int64_t expiration_ms;  /* wall clock; 0 = never */
    struct arena *arena;
    struct engine_field *fields;
    size_t field_count, node_count;
};

struct catalog_dataset {
    char *project, *name;
    char *resource;
    struct engine_schema **tables; /* in order of creation */
    size_t table_count;
};

struct catalog {
    struct duck *duck;
    pthread_mutex_t admin; /* one writer at a time; taken before memory */
    pthread_mutex_t memory;
    struct catalog_dataset *datasets; /* under memory */
    size_t dataset_count;
    int64_t next_id; /* under admin */
};

bool catalog_open(struct catalog *catalog, struct duck *duck, struct error *err) MUST_CHECK;
void catalog_close(struct catalog *catalog);

/* A snapshot from a resource text (taken over on success). Not yet published. */
struct engine_schema *schema_new(int64_t id, const char *project, const char *dataset, const char *name,
                                 const char *resource, struct error *err) MUST_CHECK;
struct engine_schema *schema_ref(struct engine_schema *schema);
void schema_unref(struct engine_schema *schema);
bool schema_is_expired(const struct engine_schema *schema);

/* Look-ups. Results are copies or references of the caller's. NULL = there is none. */
char *catalog_dataset_text(struct catalog *catalog, const char *project, const char *dataset);
struct engine_schema *catalog_table(struct catalog *catalog, const char *project, const char *dataset,
                                    const char *name);
/* All tables of a dataset, ordered by name; free each by schema_unref and the array by free. */
struct engine_schema **catalog_tables(struct catalog *catalog, const char *project, const char *dataset,
                                      size_t *ret_count);
/* Names of the project's datasets, ordered; free each and the array. */
char **catalog_datasets(struct catalog *catalog, const char *project, size_t *ret_count);

int64_t catalog_take_id(struct catalog *catalog);

enum catalog_put { CATALOG_NEW, CATALOG_REPLACE, CATALOG_CHANGE };
/* Writes a dataset. NEW: duplicate when it exists; CHANGE: must exist. */
bool catalog_put_dataset(struct catalog *catalog, const char *project, const char *name, const char *resource,
                         enum catalog_put how, struct error *err) MUST_CHECK;
bool catalog_drop_dataset(struct catalog *catalog, const char *project, const char *name, struct error *err) MUST_CHECK;
/* Publishes a snapshot (taken over, also on failure). `sql` (may be NULL) runs in the same transaction. NEW:
 * "duplicate" when the name is taken; REPLACE: the old table, if any, is dropped; CHANGE: `schema` has the id of the
 * table that it follows. */
bool catalog_put_table(struct catalog *catalog, struct engine_schema *schema, enum catalog_put how, const char *sql,
                       struct error *err) MUST_CHECK;
bool catalog_drop_table(struct catalog *catalog, const struct engine_schema *schema, struct error *err) MUST_CHECK;

/* 404 and 409 in BigQuery's words. `where` adds " was not found in location US". Return false. */
bool catalog_no_table(struct error *err, const char *project, const char *dataset, const char *table,
                      const char *location);
bool catalog_no_dataset(struct error *err, const char *project, const char *dataset, const char *location);

#endif
