/* encoder.h - one JSON record in, one stage row out, by the registry's plan: no tree, no double between JSON and NUMERIC.
 *
 * An encoder belongs to one fetch and one thread. What a record must have: strict JSON in UTF-8, at most PAGE_MAX_DEPTH deep; an int64 `id`
 * (or, where the registry says surrogateKey, none, but then a createdOn); createdOn and modifiedOn that are times, null or absent. Anything
 * else is refused with a reason. All other columns are forgiving (design P8, 4.5, 6):
 * - INT64, NUMERIC and FLOAT64 take JSON numbers and numbers written as text, by their digits: 12, 12.0, 1.2e1 and "12" are the integer 12. A
 *   NUMERIC with more than nine decimals (trailing zeros aside) is rounded half to even, kept literally and counted (DRIFT_ROUNDED).
 * - TIMESTAMP takes RFC 3339; digits below the microsecond are cut off, towards the past, which is not drift. DATE is the date as written.
 * - STRING takes numbers and truth values too, as their literal text; BOOL takes "true" and "false" (both DRIFT_TYPE).
 * - A value that its column cannot hold is NULL there, kept literally and counted (DRIFT_TYPE). Nothing is ever saturated.
 * - Escapes are decoded; a lone surrogate or U+0000 becomes U+FFFD, and the text's source is kept (DRIFT_TEXT).
 * - Null members of lists are dropped and counted (DRIFT_NULL_ELEMENT); a missing list is an empty one. A member that is there twice:
 *   the last one counts (DRIFT_TYPE). Undocumented enum values are stored and counted.
 * - Members that the registry does not know are kept (DRIFT_UNKNOWN_FIELD).
 * "Kept" means in _extra, one flat JSON object whose keys are paths: {"newField":1,"customer.email":"x","items[3].sku.colour":null}. Numbers
 * that a JSON value of BigQuery cannot hold exactly are texts there. At most 1,024 values, else the record is refused.
 * _row_hash: XXH3-128 over the members in any order, white space aside, without null members and those that only one feed has. */
#ifndef ST_RECORD_ENCODER_H
#define ST_RECORD_ENCODER_H

#include "record/registry.h"

struct record_encoder;

struct row_context { /* what all rows of one fetch share */
    int64_t tenant;
    const char *run_id;    /* UUID */
    int64_t fetch_id;      /* number of the fetch within the run, from 1 */
    int64_t fetched_at_us; /* by the server's clock, when the request was sent */
    bool from_export;      /* by the export feed, which tells what was deleted */
};

enum row_outcome {
    ROW_ENCODED,
    ROW_REFUSED, /* breaks its schema: info->reason says why; quarantine it */
};

struct row_info {
    bool has_id;
    int64_t id; /* real id, or the surrogate (< 0) when has_id is false and the entity allows it */
    bool has_created, has_modified;
    int64_t created_us, modified_us;
    char reason[256]; /* ROW_REFUSED */
};

/* What differed from the schema, counted per field over the encoder's life. */
enum drift_kind {
    DRIFT_UNKNOWN_FIELD,
    DRIFT_TYPE,
    DRIFT_ENUM_VALUE,
    DRIFT_MISSING_REQUIRED,
    DRIFT_ROUNDED,
    DRIFT_NULL_ELEMENT,
    DRIFT_TEXT
};
typedef void drift_fn(void *user, const char *field_path, enum drift_kind kind, int64_t count, struct slice sample);

struct record_encoder *record_encoder_new(const struct entity *entity, const struct row_context *context);
void record_encoder_free(struct record_encoder *encoder);
/* Appends the row's bytes (protobuf wire format, schema entity->stage) to `row`. Row numbers are given 1, 2, 3, ... to encoded rows only.
 * On ROW_REFUSED `row` is as before. The record must be one whole JSON object; anything else is refused. */
enum row_outcome record_encode(struct record_encoder *encoder, struct slice record, struct buf *row,
                               struct row_info *info);
int64_t record_encoder_rows(const struct record_encoder *encoder); /* encoded so far = the last row number */
/* Only the times and the id, without encoding; for reads that just look. False: not a JSON object. */
bool record_peek(const struct entity *entity, struct slice record, struct row_info *info);
void record_encoder_each_drift(struct record_encoder *encoder, drift_fn *fn,
                               void *user);        /* at most 256 distinct fields */
const char *drift_kind_name(enum drift_kind kind); /* "unknown_field", ... */

#endif
