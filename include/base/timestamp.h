/* timestamp.h - exact time texts. No locale, no time zone data base: UTC and fixed offsets only.
 *
 * Unit: microseconds since 1970-01-01T00:00:00Z, years 0001..9999. */
#ifndef ST_BASE_TIMESTAMP_H
#define ST_BASE_TIMESTAMP_H

#include "base/buf.h"

#define TIMESTAMP_MIN_US (-62135596800000000LL) /* 0001-01-01T00:00:00Z */
#define TIMESTAMP_MAX_US 253402300799999999LL   /* 9999-12-31T23:59:59.999999Z */

/* RFC 3339 date-time as ServiceTitan writes it: 'T' or ' ', 0..9 fraction digits, 'Z', an offset "+hh:mm", or nothing (= UTC).
 * Digits past the microsecond are cut off (towards the past); *ret_exact (may be NULL) says whether all of them were zero.
 * A bare date is midnight UTC. False: not a time, or out of range. */
bool timestamp_parse(struct slice text, int64_t *ret_us, bool *ret_exact);
/* Calendar date "YYYY-MM-DD" (or the date part of a date-time, as written, without conversion) to days since 1970-01-01. */
bool timestamp_parse_date(struct slice text, int32_t *ret_days);
/* "2025-10-21T10:00:00.000Z" with `digits` (0, 3 or 6) fraction digits. */
void timestamp_format(struct buf *out, int64_t us, int digits);
/* "2025-10-21". */
void timestamp_format_date(struct buf *out, int32_t days);
/* floor(us / day). */
int32_t timestamp_to_days(int64_t us);
/* IMF-fixdate of HTTP "Tue, 21 Oct 2025 10:00:00 GMT". */
bool timestamp_parse_http_date(struct slice text, int64_t *ret_us);

enum { TIMESTAMP_TEXT_SIZE = 32 };
/* The same as timestamp_format into a fixed array; returns it. */
const char *timestamp_text(char out[TIMESTAMP_TEXT_SIZE], int64_t us, int digits);

#endif
