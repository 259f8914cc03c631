/* zone.h - one named time zone, for schedules only; values and data never use local time.
 *
 * C knows one time zone per process, so opening a zone sets TZ for all of it: open one at a time, in programs whose other threads ask for
 * no local time, and before these start. */
#ifndef ST_DISPATCH_ZONE_H
#define ST_DISPATCH_ZONE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct zone;

/* "America/Los_Angeles", "UTC". An unknown name, or a machine without a time zone database, is an error with the code config_value. */
struct zone *zone_open(const char *name, struct error *err) MUST_CHECK;
void zone_close(struct zone *zone); /* the process is back in the zone it had */
/* Seconds to add to UTC for the zone's local time at that instant. */
int64_t zone_offset_s(const struct zone *zone, int64_t utc_s);
/* The instant of a local time, given as seconds since 1970-01-01T00:00:00 of the zone's own calendar: the first of two, or, where the clock
 * skips that time, the instant right after the skip. */
int64_t zone_instant_s(const struct zone *zone, int64_t local_s);

#endif
