/* bq_type.h - schemas: REST's field JSON <-> struct engine_field <-> DuckDB column types. */
#ifndef ST_LOCAL_BQ_TYPE_H
#define ST_LOCAL_BQ_TYPE_H

#include "base/arena.h"
#include "bq_engine.h"

enum { SCHEMA_MAX_DEPTH = 15, SCHEMA_MAX_COLUMNS = 10000, SCHEMA_MAX_NAME = 300 };

/* Reads schema.fields (an array; NULL = no columns). Everything is allocated in the arena. *ret_nodes: fields in the
 * tree. */
bool type_fields_parse(struct json_object *fields, struct arena *arena, struct engine_field **ret, size_t *ret_count,
                       size_t *ret_nodes, struct error *err) MUST_CHECK;
/* {"name":..,"type":"INTEGER",...} array with legacy type names; modes only where given unless `all_modes`. Owned by
 * the caller. */
struct json_object *type_fields_json(const struct engine_field *fields, size_t count, bool all_modes);

/* "BIGINT", "STRUCT("a" BIGINT)[]", ... */
void type_append_duck(struct buf *out, const struct engine_field *field);
/* A type as messages and INFORMATION_SCHEMA name it: INT64, ARRAY<STRUCT<a INT64>>, NUMERIC. */
void type_append_standard(struct buf *out, const struct engine_field *field);
/* False for an unknown name. Takes legacy and standard names in any case. *ret_known: a real BigQuery type that is not
 * served. */
bool type_from_name(struct slice name, enum engine_type *ret, bool *ret_known);
const char *type_legacy_name(enum engine_type type);
const char *type_standard_name(enum engine_type type);
/* Bytes a value of the type counts for in totalBytesProcessed (an estimate for texts). */
int64_t type_estimated_bytes(const struct engine_field *field);
const struct engine_field *type_find(const struct engine_field *fields, size_t count, struct slice name);

#endif
