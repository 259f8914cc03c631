/* dedupe.h - a record whose objects have a member twice, rewritten so that the last one stays. */
#ifndef ST_RECORD_DEDUPE_H
#define ST_RECORD_DEDUPE_H

#include "base/buf.h"

/* Appends the checked JSON value without the members that a later one of the same name replaces, at any depth.
 * Returns where in `value` such a member stands, NULL when there is none. */
const char *json_dedupe(struct buf *out, struct slice value);

#endif
