/* dedupe.h - a record whose objects have a member twice, rewritten so that the last one stays. */
#ifndef ST_RECORD_DEDUPE_H
#define ST_RECORD_DEDUPE_H

#include "base/buf.h"

/* Appends the checked JSON value without the members that a later one of the same name replaces, at any depth. */
void json_dedupe(struct buf *out, struct slice value);

#endif
