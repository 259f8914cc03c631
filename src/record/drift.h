/* drift.h - counts of what differed from the schema, per field and kind.
 *
 * A record's findings are pending until it is known to be encoded; those of a refused record are forgotten, its reason
 * says enough. */
#ifndef ST_RECORD_DRIFT_H
#define ST_RECORD_DRIFT_H

#include "record/encoder.h"

enum { DRIFT_MAX_FIELDS = 256, DRIFT_MAX_SAMPLE = 128, DRIFT_MAX_PATH = 256 };

struct drift_entry {
    char *path;
    enum drift_kind kind;
    int64_t count, pending;
    size_t sample_len;
    char sample[DRIFT_MAX_SAMPLE];
};

struct drift {
    struct drift_entry entries[DRIFT_MAX_FIELDS];
    size_t count;
    bool any_pending;
};

void drift_note(struct drift *drift, struct slice path, enum drift_kind kind, struct slice sample);
void drift_settle(struct drift *drift, bool keep);
void drift_each(const struct drift *drift, drift_fn *fn, void *user);
void drift_release(struct drift *drift);

#endif
