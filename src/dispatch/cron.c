/* cron.c - parsing of cron fields, and the search for the slots before and after an instant.
 *
 * Fields speak of local time, so slots are searched in the zone's own calendar and turned into instants one by one. The
 * calendar runs back where an hour comes twice and jumps where one is skipped: the search begins far enough beyond the
 * instant that no slot escapes it. */
#include "dispatch/cron.h"

#include "base/slice.h"
#include "base/timestamp.h"

enum {
    FIELDS = 5,
    DAY_S = 86400,
    SEARCH_DAYS = 9 * 366,       /* the rarest day, 29 February, comes again within 8 years */
    CALENDAR_JUMP_S = 2 * 86400, /* no zone's clock was ever set by more than a day */
    WEEKDAY_OF_1970 = 4,         /* a Thursday */
};
#define SECOND_US INT64_C(1000000)

struct field {
    int min, max;
    const char *names; /* three letters each, the first means `names_from`; NULL: numbers only */
    int names_from;
};

static const struct field fields[FIELDS] = {
    {0, 59, NULL, 0},
    {0, 23, NULL, 0},
    {1, 31, NULL, 0},
    {1, 12, "janfebmaraprmayjunjulaugsepoctnovdec", 1},
    {0, 7, "sunmontuewedthufrisat", 0},
};

/* ---- Parsing ------------------------------------------------------------------------------------------------------ */

static bool read_value(struct slice text, const struct field *field, int64_t *ret)
{
    for (const char *name = field->names; name && *name; name += 3) {
        if (slice_eq_nocase(text, slice_of(name, 3))) {
            *ret = (name - field->names) / 3 + field->names_from;
            return true;
        }
    }
    return slice_to_int64(text, ret) && text.ptr[0] != '-';
}

static bool contains(struct slice text, char c)
{
    return text.len > 0 && memchr(text.ptr, c, text.len) != NULL;
}

/* "*", "5", "1-5", each with an optional "/2", as bits. */
static bool add_item(struct slice item, const struct field *field, uint64_t *bits)
{
    int64_t from = field->min, to = field->max, every = 1;
    bool has_step = contains(item, '/');
    struct slice step = item, value = slice_cut(&step, '/');
    if (has_step && (!slice_to_int64(step, &every) || every < 1))
        return false;
    if (!slice_eq_str(value, "*")) {
        bool has_end = contains(value, '-');
        struct slice last = value, first = slice_cut(&last, '-');
        if (!read_value(first, field, &from) || (has_end && !read_value(last, field, &to)))
            return false;
        if (has_end && slice_eq_nocase(last, SLICE_LIT("sun")))
            to = field->max; /* "fri-sun" ends on 7 */
        if (!has_end)
            to = has_step ? field->max : from;
    }
    if (from < field->min || to > field->max || from > to)
        return false;
    for (int64_t at = from; at <= to; at += every < 64 ? every : 64)
        *bits |= UINT64_C(1) << at;
    return true;
}

static bool read_field(struct slice text, const struct field *field, uint64_t *bits)
{
    bool more = true;
    *bits = 0;
    while (more) {
        more = contains(text, ',');
        struct slice item = slice_cut(&text, ',');
        if (item.len == 0 || !add_item(item, field, bits))
            return false;
    }
    return true;
}

/* Is there a day of the month in one of the months? February's 29th counts. */
static bool day_exists(uint64_t days, uint64_t months)
{
    static const int last[] = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    for (int month = 1; month <= 12; month++)
        if (months >> month & 1 && days & ((UINT64_C(2) << last[month]) - 1))
            return true;
    return false;
}

bool cron_parse(const char *text, struct cron *ret)
{
    enum { MINUTE, HOUR, DAY, MONTH, WEEKDAY };
    struct slice rest = slice_trim(slice_str(text));
    uint64_t bits[FIELDS];
    bool starred[FIELDS];
    size_t count = 0;
    for (; rest.len > 0; count++) {
        struct slice field = slice_cut(&rest, ' ');
        rest = slice_trim(rest);
        if (count == FIELDS || field.len == 0 || !read_field(field, &fields[count], &bits[count]))
            return false;
        starred[count] = field.ptr[0] == '*';
    }
    if (count != FIELDS)
        return false;
    bool either = !starred[DAY] && !starred[WEEKDAY];
    if (!either && !day_exists(bits[DAY], bits[MONTH]))
        return false;
    if (bits[WEEKDAY] >> 7 & 1)
        bits[WEEKDAY] |= 1;
    *ret = (struct cron){bits[MINUTE], bits[HOUR], bits[DAY], bits[MONTH], bits[WEEKDAY] & 0x7F, either};
    return true;
}

/* ---- Slots of the calendar, in seconds of local time -------------------------------------------------------------- */

/* Month and day of a day since 1970 (days of the proleptic Gregorian calendar, counted in years from March on). */
static void month_and_day(int64_t days, int *month, int *day)
{
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, in_era = z - era * 146097;
    int64_t year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    int64_t in_year = in_era - (365 * year + year / 4 - year / 100), from_march = (5 * in_year + 2) / 153;
    *day = (int)(in_year - (153 * from_march + 2) / 5 + 1);
    *month = (int)(from_march < 10 ? from_march + 3 : from_march - 9);
}

static bool is_on_day(const struct cron *cron, int64_t days)
{
    int month, day;
    month_and_day(days, &month, &day);
    bool in_days = cron->days >> day & 1;
    bool in_weekdays = cron->weekdays >> (((days + WEEKDAY_OF_1970) % 7 + 7) % 7) & 1;
    return cron->months >> month & 1 && (cron->either_day ? in_days || in_weekdays : in_days && in_weekdays);
}

static bool is_at_minute(const struct cron *cron, int64_t minute)
{
    return cron->hours >> (minute / 60) & 1 && cron->minutes >> (minute % 60) & 1;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b != 0 && a < 0);
}

/* The newest slot at or before local_s (step -1), or the first one at or after it (step 1). */
static bool find_slot(const struct cron *cron, int64_t local_s, int step, int64_t *ret_s)
{
    enum { MINUTES = DAY_S / 60 };
    int64_t day = floor_div(local_s, DAY_S), second = local_s - day * DAY_S;
    int64_t minute = step < 0 ? second / 60 : (second + 59) / 60;
    for (int i = 0; i < SEARCH_DAYS; i++, day += step, minute = step < 0 ? MINUTES - 1 : 0) {
        if (!is_on_day(cron, day))
            continue;
        for (; minute >= 0 && minute < MINUTES; minute += step) {
            if (is_at_minute(cron, minute)) {
                *ret_s = day * DAY_S + minute * 60;
                return true;
            }
        }
    }
    return false;
}

/* ---- Slots as instants -------------------------------------------------------------------------------------------- */

bool cron_previous(const struct cron *cron, const struct zone *zone, int64_t at_us, int64_t *ret_us)
{
    int64_t at_s = floor_div(at_us, SECOND_US), local = at_s + zone_offset_s(zone, at_s) + CALENDAR_JUMP_S;
    for (; find_slot(cron, local, -1, &local); local--) {
        int64_t instant = zone_instant_s(zone, local);
        if (instant <= at_s) {
            *ret_us = instant * SECOND_US;
            return true;
        }
    }
    return false;
}

bool cron_next(const struct cron *cron, const struct zone *zone, int64_t at_us, int64_t *ret_us)
{
    int64_t at_s = floor_div(at_us, SECOND_US), local = at_s + zone_offset_s(zone, at_s) - CALENDAR_JUMP_S;
    for (; find_slot(cron, local, 1, &local); local++) {
        int64_t instant = zone_instant_s(zone, local);
        if (instant > at_s) {
            *ret_us = instant * SECOND_US;
            return true;
        }
    }
    return false;
}
