/* bq_time_format.h - FORMAT_TIMESTAMP's and PARSE_TIMESTAMP's format elements. UTC, English names, no locale. */
#ifndef ST_LOCAL_BQ_TIME_FORMAT_H
#define ST_LOCAL_BQ_TIME_FORMAT_H

#include "base/buf.h"

/* Appends `us` by the format. NULL = fine, else why not. `zone`: %Z and %z mean UTC; without it they are empty. */
const char *time_format(struct buf *out, struct slice format, int64_t us, bool zone);
/* Reads the whole text by the format; what it does not name is that of 1970-01-01 00:00:00 UTC. */
bool time_parse(struct slice format, struct slice text, int64_t *ret_us);

#endif
