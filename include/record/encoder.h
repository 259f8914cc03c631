/* encoder.h - one JSON record in, one stage row out, by the registry's plan: no tree, no double between JSON and NUMERIC.
 *
 * An encoder belongs to one fetch and one thread. Rules (design P8, 4.5, 6): numbers by their literal text; a NUMERIC with more than nine decimals
 * (trailing zeros aside) is rounded half to even, kept literally in _extra and counted; ints outside int64, NUMERIC out of range, bad
 * times in required columns break the record; unknown members go to _extra as their JSON text and are reported as drift; null array
 * members are dropped (and counted); missing REPEATED = empty. Text may be any Unicode; lone surrogates and U+0000 are refused or replaced by rule and counted.
 * _row_hash: XXH3-128 over the members in any order, white space aside, without members that only one feed has. */
#ifndef ST_RECORD_ENCODER_H
#define ST_RECORD_ENCODER_H

#include "record/registry.h"

struct record_encoder;

struct row_context {       /* what all rows of one fetch share */
    int64_t tenant;
    const char *run_id;    /* UUID */
    int64_t fetch_id;      /* number of the fetch within the run, from 1 */
    int64_t fetched_at_us; /* by the server's clock, when the request was sent */
};

enum row_outcome {
    ROW_ENCODED,
    ROW_REFUSED, /* breaks its schema: info->reason says why; quarantine it */
};

struct row_info {
    bool has_id;
    int64_t id;              /* real id, or the surrogate (< 0) when has_id is false and the entity allows it */
    bool has_created, has_modified;
    int64_t created_us, modified_us;
    char reason[256];        /* ROW_REFUSED */
};

/* What differed from the schema, counted per field over the encoder's life. */
enum drift_kind { DRIFT_UNKNOWN_FIELD, DRIFT_TYPE, DRIFT_ENUM_VALUE, DRIFT_MISSING_REQUIRED, DRIFT_ROUNDED, DRIFT_NULL_ELEMENT, DRIFT_TEXT };
typedef void drift_fn(void *user, const char *field_path, enum drift_kind kind, int64_t count, struct slice sample);

struct record_encoder *record_encoder_new(const struct entity *entity, const struct row_context *context);
void record_encoder_free(struct record_encoder *encoder);
/* Appends the row's bytes (protobuf wire format, schema entity->stage) to `row`. Row numbers are given 1, 2, 3, ... to encoded rows only.
 * On ROW_REFUSED `row` is as before. The record must be one whole JSON object; anything else is refused. */
enum row_outcome record_encode(struct record_encoder *encoder, struct slice record, struct buf *row, struct row_info *info);
int64_t record_encoder_rows(const struct record_encoder *encoder); /* encoded so far = the last row number */
/* Only the times and the id, without encoding; for reads that just look. False: not a JSON object. */
bool record_peek(const struct entity *entity, struct slice record, struct row_info *info);
void record_encoder_each_drift(struct record_encoder *encoder, drift_fn *fn, void *user); /* at most 256 distinct fields */
const char *drift_kind_name(enum drift_kind kind); /* "unknown_field", ... */

#endif
