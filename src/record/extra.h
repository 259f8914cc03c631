/* extra.h - the _extra column of one record: what fits no column, under its path, as JSON.
 *
 * One flat object. A key is the path in the record: "newField", "customer.email", "items[3].sku.colour"; a member whose
 * name has a dot, a bracket or a backslash is written ["a.b"]. Values stay as they were written, but for two things
 * that a JSON value of BigQuery cannot hold: numbers that fit neither int64 nor uint64 nor (without loss) a double
 * become text, and texts with a lone surrogate or U+0000 become their source text (backslashes and all). */
#ifndef ST_RECORD_EXTRA_H
#define ST_RECORD_EXTRA_H

#include "base/buf.h"

enum { EXTRA_MAX_VALUES = 1024, EXTRA_MAX_PATH = 2048 };

struct extra {
    struct buf json; /* "{...", open; empty when there is nothing */
    uint64_t keys[EXTRA_MAX_VALUES];
    size_t count;
};

enum extra_result { EXTRA_ADDED, EXTRA_TWICE /* the key is there */, EXTRA_FULL };

void extra_clear(struct extra *extra);
void extra_release(struct extra *extra);
enum extra_result extra_add(struct extra *extra, struct slice path, struct slice value, bool *ret_sound);
/* Appends a checked JSON value by the rules above, without white space. False: a text was not sound. */
bool json_copy(struct buf *out, struct slice value);

#endif
