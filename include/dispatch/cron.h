/* cron.h - five cron fields: minute, hour, day of month, month, weekday; and the slots that they mean in a time zone.
 *
 * Lists, ranges, steps, names of months and weekdays ("mon-fri", "JAN"), 7 as Sunday. Where both day fields are restricted a day needs to
 * match one of them only, as cron has it; a field that begins with '*' is not restricted. A slot in an hour that the clock skips is met
 * once, right after the skip; one in an hour that comes twice is met once, the first time. */
#ifndef ST_DISPATCH_CRON_H
#define ST_DISPATCH_CRON_H

#include "base/error.h"
#include "dispatch/zone.h"

struct cron {
    uint64_t minutes, hours, days, months, weekdays; /* bits; Sunday is weekday 0 */
    bool either_day;                                 /* both day fields are restricted: one of them is enough */
};

/* False: not five fields, or days that never come (31 February). */
bool cron_parse(const char *text, struct cron *ret);
/* The newest slot at or before the time, and the first one after it, as instants. False: there is none for years. */
bool cron_previous(const struct cron *cron, const struct zone *zone, int64_t at_us, int64_t *ret_us);
bool cron_next(const struct cron *cron, const struct zone *zone, int64_t at_us, int64_t *ret_us);

#endif
