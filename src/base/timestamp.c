#include "base/timestamp.h"

#include <stdio.h>

#define US_PER_SECOND 1000000LL
#define US_PER_DAY (86400LL * US_PER_SECOND)

/* Days since 1970-01-01 of a proleptic Gregorian date (era arithmetic over 400-year cycles). */
static int32_t days_from_civil(int y, int m, int d)
{
    y -= m <= 2;
    int era = (y >= 0 ? y : y - 399) / 400;
    int yoe = y - era * 400;
    int doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    int doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

static void civil_from_days(int32_t days, int *ret_y, int *ret_m, int *ret_d)
{
    int z = days + 719468;
    int era = (z >= 0 ? z : z - 146096) / 146097;
    int doe = z - era * 146097;
    int yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int mp = (5 * doy + 2) / 153;
    *ret_d = doy - (153 * mp + 2) / 5 + 1;
    *ret_m = mp + (mp < 10 ? 3 : -9);
    *ret_y = yoe + era * 400 + (*ret_m <= 2);
}

static bool is_leap(int y)
{
    return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

static bool is_date(int y, int m, int d)
{
    static const unsigned char lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (y < 1 || y > 9999 || m < 1 || m > 12 || d < 1)
        return false;
    return d <= lengths[m - 1] + (m == 2 && is_leap(y));
}

/* Reads exactly `count` digits at the start of *s. */
static bool take_digits(struct slice *s, int count, int *ret)
{
    int value = 0;
    if (s->len < (size_t)count)
        return false;
    for (int i = 0; i < count; i++) {
        unsigned digit = (unsigned)(unsigned char)s->ptr[i] - '0';
        if (digit > 9)
            return false;
        value = value * 10 + (int)digit;
    }
    *s = slice_of(s->ptr + count, s->len - (size_t)count);
    *ret = value;
    return true;
}

static bool take_char(struct slice *s, char c)
{
    if (s->len == 0 || s->ptr[0] != c)
        return false;
    *s = slice_of(s->ptr + 1, s->len - 1);
    return true;
}

static bool take_date(struct slice *s, int32_t *ret_days)
{
    int y, m, d;
    if (!take_digits(s, 4, &y) || !take_char(s, '-') || !take_digits(s, 2, &m) || !take_char(s, '-') ||
        !take_digits(s, 2, &d))
        return false;
    if (!is_date(y, m, d))
        return false;
    *ret_days = days_from_civil(y, m, d);
    return true;
}

/* ".123456789": up to nine digits; microseconds, and whether what was cut off is zero. */
static bool take_fraction(struct slice *s, int64_t *ret_us, bool *ret_exact)
{
    int64_t us = 0;
    int digits = 0;
    bool exact = true;
    if (!take_char(s, '.'))
        return true;
    while (s->len > 0 && s->ptr[0] >= '0' && s->ptr[0] <= '9') {
        int digit = s->ptr[0] - '0';
        if (++digits > 9)
            return false;
        if (digits <= 6)
            us = us * 10 + digit;
        else if (digit != 0)
            exact = false;
        *s = slice_of(s->ptr + 1, s->len - 1);
    }
    if (digits == 0)
        return false;
    for (int i = digits; i < 6; i++)
        us *= 10;
    *ret_us = us;
    *ret_exact = exact;
    return true;
}

/* "Z", "z", "+hh:mm", "-hh:mm", "+hhmm" or nothing (UTC). */
static bool take_offset(struct slice *s, int64_t *ret_us)
{
    int h, m;
    *ret_us = 0;
    if (s->len == 0 || take_char(s, 'Z') || take_char(s, 'z'))
        return true;
    bool negative = s->ptr[0] == '-';
    if (!take_char(s, '+') && !take_char(s, '-'))
        return false;
    if (!take_digits(s, 2, &h))
        return false;
    take_char(s, ':');
    if (!take_digits(s, 2, &m) || h > 23 || m > 59)
        return false;
    int64_t offset = (h * 3600LL + m * 60LL) * US_PER_SECOND;
    *ret_us = negative ? -offset : offset;
    return true;
}

static bool take_clock(struct slice *s, int64_t *ret_us, bool *ret_exact)
{
    int h, m, sec;
    int64_t fraction = 0;
    if (!take_digits(s, 2, &h) || !take_char(s, ':') || !take_digits(s, 2, &m) || !take_char(s, ':') ||
        !take_digits(s, 2, &sec))
        return false;
    if (h > 23 || m > 59 || sec > 59 || !take_fraction(s, &fraction, ret_exact))
        return false;
    *ret_us = (h * 3600LL + m * 60LL + sec) * US_PER_SECOND + fraction;
    return true;
}

bool timestamp_parse(struct slice text, int64_t *ret_us, bool *ret_exact)
{
    int32_t days;
    int64_t clock_us = 0, offset_us = 0;
    bool exact = true;
    if (!take_date(&text, &days))
        return false;
    if (text.len > 0) {
        if (!take_char(&text, 'T') && !take_char(&text, 't') && !take_char(&text, ' '))
            return false;
        if (!take_clock(&text, &clock_us, &exact) || !take_offset(&text, &offset_us) || text.len > 0)
            return false;
    }
    int64_t us = days * US_PER_DAY + clock_us - offset_us;
    if (us < TIMESTAMP_MIN_US || us > TIMESTAMP_MAX_US)
        return false;
    *ret_us = us;
    if (ret_exact)
        *ret_exact = exact;
    return true;
}

bool timestamp_parse_date(struct slice text, int32_t *ret_days)
{
    struct slice whole = text;
    int64_t us;
    int32_t days;
    if (!take_date(&text, &days))
        return false;
    if (text.len > 0 && !timestamp_parse(whole, &us, NULL))
        return false;
    *ret_days = days;
    return true;
}

int32_t timestamp_to_days(int64_t us)
{
    int64_t days = us / US_PER_DAY;
    return (int32_t)(us % US_PER_DAY < 0 ? days - 1 : days);
}

void timestamp_format_date(struct buf *out, int32_t days)
{
    int y, m, d;
    civil_from_days(days, &y, &m, &d);
    buf_printf(out, "%04d-%02d-%02d", y, m, d);
}

const char *timestamp_text(char out[TIMESTAMP_TEXT_SIZE], int64_t us, int digits)
{
    int y, m, d;
    int32_t days = timestamp_to_days(us);
    int64_t rest = us - days * US_PER_DAY;
    int seconds = (int)(rest / US_PER_SECOND), fraction = (int)(rest % US_PER_SECOND);
    civil_from_days(days, &y, &m, &d);
    int n = snprintf(out, TIMESTAMP_TEXT_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d", y, m, d, seconds / 3600,
                     seconds / 60 % 60, seconds % 60);
    if (digits == 3)
        n += snprintf(out + n, TIMESTAMP_TEXT_SIZE - (size_t)n, ".%03d", fraction / 1000);
    else if (digits == 6)
        n += snprintf(out + n, TIMESTAMP_TEXT_SIZE - (size_t)n, ".%06d", fraction);
    snprintf(out + n, TIMESTAMP_TEXT_SIZE - (size_t)n, "Z");
    return out;
}

void timestamp_format(struct buf *out, int64_t us, int digits)
{
    char text[TIMESTAMP_TEXT_SIZE];
    buf_append_str(out, timestamp_text(text, us, digits));
}

static bool take_month(struct slice *s, int *ret)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    for (int m = 0; m < 12; m++) {
        if (s->len >= 3 && memcmp(s->ptr, names + (ptrdiff_t)m * 3, 3) == 0) {
            *s = slice_of(s->ptr + 3, s->len - 3);
            *ret = m + 1;
            return true;
        }
    }
    return false;
}

bool timestamp_parse_http_date(struct slice text, int64_t *ret_us)
{
    int d, m, y;
    int64_t clock_us;
    bool exact;
    text = slice_trim(text);
    slice_cut(&text, ' '); /* the day's name carries nothing */
    if (!take_digits(&text, 2, &d) || !take_char(&text, ' ') || !take_month(&text, &m) || !take_char(&text, ' ') ||
        !take_digits(&text, 4, &y) || !take_char(&text, ' ') || !take_clock(&text, &clock_us, &exact))
        return false;
    if (!slice_eq_str(text, " GMT") || !is_date(y, m, d))
        return false;
    *ret_us = days_from_civil(y, m, d) * US_PER_DAY + clock_us;
    return true;
}
