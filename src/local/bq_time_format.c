/* bq_time_format.c - FORMAT_TIMESTAMP's and PARSE_TIMESTAMP's format elements. */
#include "bq_time_format.h"

#include <ctype.h>
#include <stdio.h>

#include "base/timestamp.h"

#define DAY_US 86400000000LL

static const char *const MONTHS[] = {"January", "February", "March",     "April",   "May",      "June",
                                     "July",    "August",   "September", "October", "November", "December"};
static const char *const DAYS[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};

struct civil {
    int64_t days;
    int year, month, day, hour, minute, second, micro, weekday, yearday;
};

static int64_t days_of(int y, int m, int d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    unsigned yoe = (unsigned)(y - era * 400);
    unsigned doy = (153 * (unsigned)(m + (m > 2 ? -3 : 9)) + 2) / 5 + (unsigned)d - 1;
    return era * 146097 + (int64_t)(yoe * 365 + yoe / 4 - yoe / 100 + doy) - 719468;
}

static struct civil civil_of(int64_t us)
{
    struct civil c = {0};
    c.days = us / DAY_US - (us % DAY_US < 0);
    int64_t rest = us - c.days * DAY_US;
    int64_t z = c.days + 719468, era = (z >= 0 ? z : z - 146096) / 146097;
    unsigned doe = (unsigned)(z - era * 146097);
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    c.day = (int)(doy - (153 * mp + 2) / 5 + 1);
    c.month = (int)(mp < 10 ? mp + 3 : mp - 9);
    c.year = (int)(yoe + era * 400) + (c.month <= 2);
    c.hour = (int)(rest / 3600000000LL);
    c.minute = (int)(rest / 60000000 % 60);
    c.second = (int)(rest / 1000000 % 60);
    c.micro = (int)(rest % 1000000);
    c.weekday = (int)(((c.days + 4) % 7 + 7) % 7);
    c.yearday = (int)(c.days - days_of(c.year, 1, 1));
    return c;
}

/* ISO week and its year. */
static int iso_week(const struct civil *c, int *year)
{
    int monday_based = (c->weekday + 6) % 7;
    struct civil thursday = civil_of((c->days - monday_based + 3) * DAY_US);
    *year = thursday.year;
    return thursday.yearday / 7 + 1;
}

static void fraction(struct buf *out, int micro, int digits)
{
    char text[8];
    snprintf(text, sizeof text, "%06u", (unsigned)micro);
    buf_append_char(out, '.');
    buf_append(out, text, (size_t)digits);
}

/* %E*S, %E#S ... behind "%E". */
static const char *format_extended(struct buf *out, const struct civil *c, struct slice *format)
{
    char kind = format->len > 0 ? format->ptr[0] : 0;
    bool is_digit = kind >= '0' && kind <= '6';
    if (kind == 'z') {
        buf_append_str(out, "+00:00");
        *format = slice_of(format->ptr + 1, format->len - 1);
        return NULL;
    }
    if (format->len < 2 || format->ptr[1] != 'S' || (!is_digit && kind != '*')) {
        if (format->len >= 2 && kind == '4' && format->ptr[1] == 'Y') {
            buf_printf(out, "%04d", c->year);
            *format = slice_of(format->ptr + 2, format->len - 2);
            return NULL;
        }
        return "Invalid format: unknown element %E";
    }
    buf_printf(out, "%02d", c->second);
    int digits = is_digit ? kind - '0' : 6;
    if (kind == '*')
        while (digits > 0 && c->micro % (int[]){1000000, 100000, 10000, 1000, 100, 10, 1}[digits - 1] == 0)
            digits--;
    if (digits > 0)
        fraction(out, c->micro, digits);
    *format = slice_of(format->ptr + 2, format->len - 2);
    return NULL;
}

/* Elements that are one number: padded to a width with zeros or blanks. */
static bool format_number(struct buf *out, char e, const struct civil *c)
{
    int iso_year, week = iso_week(c, &iso_year), hour12 = c->hour % 12 == 0 ? 12 : c->hour % 12;
    const struct {
        char element, pad;
        int width, value;
    } numbers[] = {
        {'Y', '0', 1, c->year},
        {'y', '0', 2, c->year % 100},
        {'m', '0', 2, c->month},
        {'d', '0', 2, c->day},
        {'e', ' ', 2, c->day},
        {'H', '0', 2, c->hour},
        {'k', ' ', 2, c->hour},
        {'I', '0', 2, hour12},
        {'l', ' ', 2, hour12},
        {'M', '0', 2, c->minute},
        {'S', '0', 2, c->second},
        {'j', '0', 3, c->yearday + 1},
        {'w', '0', 1, c->weekday},
        {'V', '0', 2, week},
        {'u', '0', 1, c->weekday == 0 ? 7 : c->weekday},
        {'G', '0', 1, iso_year},
        {'C', '0', 2, c->year / 100},
        {'U', '0', 2, (c->yearday + 7 - c->weekday) / 7},
        {'Q', '0', 1, (c->month + 2) / 3},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (numbers[i].element != e)
            continue;
        if (numbers[i].pad == '0')
            buf_printf(out, "%0*d", numbers[i].width, numbers[i].value);
        else
            buf_printf(out, "%*d", numbers[i].width, numbers[i].value);
        return true;
    }
    return false;
}

static bool format_word(struct buf *out, char e, const struct civil *c, bool zone)
{
    const struct {
        char element;
        int max;
        const char *text;
    } words[] = {
        {'p', 2, c->hour < 12 ? "AM" : "PM"},
        {'P', 2, c->hour < 12 ? "am" : "pm"},
        {'B', 20, MONTHS[c->month - 1]},
        {'b', 3, MONTHS[c->month - 1]},
        {'h', 3, MONTHS[c->month - 1]},
        {'A', 20, DAYS[c->weekday]},
        {'a', 3, DAYS[c->weekday]},
        {'Z', 3, zone ? "UTC" : ""},
        {'z', 5, zone ? "+0000" : ""},
        {'n', 1, "\n"},
        {'t', 1, "\t"},
        {'%', 1, "%"},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (words[i].element != e)
            continue;
        buf_printf(out, "%.*s", words[i].max, words[i].text);
        return true;
    }
    return false;
}

static const char *format_one(struct buf *out, char e, const struct civil *c, bool zone)
{
    switch (e) {
    case 'F':
        buf_printf(out, "%04d-%02d-%02d", c->year, c->month, c->day);
        return NULL;
    case 'T':
    case 'X':
        buf_printf(out, "%02d:%02d:%02d", c->hour, c->minute, c->second);
        return NULL;
    case 'R':
        buf_printf(out, "%02d:%02d", c->hour, c->minute);
        return NULL;
    case 'D':
    case 'x':
        buf_printf(out, "%02d/%02d/%02d", c->month, c->day, c->year % 100);
        return NULL;
    case 's':
        buf_printf(out, "%lld", (long long)(c->days * 86400 + c->hour * 3600 + c->minute * 60 + c->second));
        return NULL;
    case 'c':
        buf_printf(out, "%.3s %.3s %2d %02d:%02d:%02d %d", DAYS[c->weekday], MONTHS[c->month - 1], c->day, c->hour,
                   c->minute, c->second, c->year);
        return NULL;
    default:
        return format_number(out, e, c) || format_word(out, e, c, zone) ? NULL : "Invalid format: unknown element";
    }
}

const char *time_format(struct buf *out, struct slice format, int64_t us, bool zone)
{
    struct civil c = civil_of(us);
    const char *why = NULL;
    while (format.len > 0 && !why) {
        char first = format.ptr[0];
        format = slice_of(format.ptr + 1, format.len - 1);
        if (first != '%' || format.len == 0) {
            buf_append_char(out, first);
            continue;
        }
        char e = format.ptr[0];
        format = slice_of(format.ptr + 1, format.len - 1);
        why = e == 'E' ? format_extended(out, &c, &format) : format_one(out, e, &c, zone);
    }
    return why;
}

/* ---- parsing ---- */

struct time_reader {
    struct slice text;
    int year, month, day, hour, minute, second, micro, offset_minutes;
    bool pm, has_pm, has_epoch;
    int64_t epoch;
};

static bool read_int(struct time_reader *r, size_t max_digits, int *ret)
{
    size_t n = 0;
    int v = 0;
    while (n < max_digits && n < r->text.len && r->text.ptr[n] >= '0' && r->text.ptr[n] <= '9')
        v = v * 10 + (r->text.ptr[n++] - '0');
    r->text = slice_of(r->text.ptr + n, r->text.len - n);
    *ret = v;
    return n > 0;
}

static bool read_char(struct time_reader *r, char c)
{
    if (r->text.len == 0 || r->text.ptr[0] != c)
        return false;
    r->text = slice_of(r->text.ptr + 1, r->text.len - 1);
    return true;
}

static bool read_seconds(struct time_reader *r)
{
    int unit = 100000;
    if (!read_int(r, 2, &r->second))
        return false;
    if (!read_char(r, '.'))
        return true;
    r->micro = 0;
    while (r->text.len > 0 && r->text.ptr[0] >= '0' && r->text.ptr[0] <= '9') {
        r->micro += (r->text.ptr[0] - '0') * unit;
        unit /= 10;
        r->text = slice_of(r->text.ptr + 1, r->text.len - 1);
    }
    return true;
}

static bool read_zone(struct time_reader *r)
{
    int hours, minutes = 0;
    if (read_char(r, 'Z'))
        return true;
    if (slice_starts_with(r->text, SLICE_LIT("UTC"))) {
        r->text = slice_of(r->text.ptr + 3, r->text.len - 3);
        return true;
    }
    bool minus = r->text.len > 0 && r->text.ptr[0] == '-';
    if (!minus && !(r->text.len > 0 && r->text.ptr[0] == '+'))
        return false;
    r->text = slice_of(r->text.ptr + 1, r->text.len - 1);
    if (!read_int(r, 2, &hours))
        return false;
    read_char(r, ':');
    if (r->text.len > 0 && isdigit((unsigned char)r->text.ptr[0]) && !read_int(r, 2, &minutes))
        return false;
    r->offset_minutes = (minus ? -1 : 1) * (hours * 60 + minutes);
    return hours < 24 && minutes < 60;
}

static bool read_month_name(struct time_reader *r, bool full)
{
    for (int i = 0; i < 12; i++) {
        size_t n = full ? strlen(MONTHS[i]) : 3;
        if (r->text.len >= n && slice_eq_nocase(slice_of(r->text.ptr, n), slice_of(MONTHS[i], n))) {
            r->text = slice_of(r->text.ptr + n, r->text.len - n);
            r->month = i + 1;
            return true;
        }
    }
    return false;
}

static bool read_meridiem(struct time_reader *r)
{
    if (r->text.len < 2 || (r->text.ptr[1] | 0x20) != 'm')
        return false;
    r->pm = (r->text.ptr[0] | 0x20) == 'p';
    r->has_pm = true;
    r->text = slice_of(r->text.ptr + 2, r->text.len - 2);
    return true;
}

static bool parse_one(struct time_reader *r, char e)
{
    int64_t sign;
    switch (e) {
    case 'Y':
        return read_int(r, 4, &r->year);
    case 'm':
        return read_int(r, 2, &r->month);
    case 'd':
    case 'e':
        read_char(r, ' ');
        return read_int(r, 2, &r->day);
    case 'H':
    case 'k':
    case 'I':
    case 'l':
        read_char(r, ' ');
        return read_int(r, 2, &r->hour);
    case 'M':
        return read_int(r, 2, &r->minute);
    case 'S':
        return read_int(r, 2, &r->second);
    case 'p':
    case 'P':
        return read_meridiem(r);
    case 'F':
        return parse_one(r, 'Y') && read_char(r, '-') && parse_one(r, 'm') && read_char(r, '-') && parse_one(r, 'd');
    case 'T':
    case 'X':
        return parse_one(r, 'R') && read_char(r, ':') && parse_one(r, 'S');
    case 'R':
        return parse_one(r, 'H') && read_char(r, ':') && parse_one(r, 'M');
    case 'y':
        if (!read_int(r, 2, &r->year))
            return false;
        r->year += r->year < 70 ? 2000 : 1900;
        return true;
    case 'D':
    case 'x':
        return parse_one(r, 'm') && read_char(r, '/') && parse_one(r, 'd') && read_char(r, '/') && parse_one(r, 'y');
    case 'B':
        return read_month_name(r, true) || read_month_name(r, false);
    case 'b':
    case 'h':
        return read_month_name(r, false);
    case 'Z':
    case 'z':
        return read_zone(r);
    case '%':
        return read_char(r, '%');
    case 's':
        sign = read_char(r, '-') ? -1 : 1;
        r->has_epoch = true;
        for (r->epoch = 0; r->text.len > 0 && isdigit((unsigned char)r->text.ptr[0]) && r->epoch < 1000000000000LL;)
            r->epoch = r->epoch * 10 + (r->text.ptr[0] - '0'), r->text = slice_of(r->text.ptr + 1, r->text.len - 1);
        r->epoch *= sign;
        return true;
    default:
        return false;
    }
}

static bool reader_value(const struct time_reader *r, int64_t *ret_us)
{
    static const int LENGTHS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (r->has_epoch) {
        *ret_us = r->epoch * 1000000;
        return true;
    }
    bool leap = (r->year % 4 == 0 && r->year % 100 != 0) || r->year % 400 == 0;
    if (r->year < 1 || r->year > 9999 || r->month < 1 || r->month > 12 || r->day < 1)
        return false;
    if (r->day > LENGTHS[r->month - 1] + (leap && r->month == 2) || r->minute > 59 || r->second > 59)
        return false;
    int hour = r->has_pm ? r->hour % 12 + (r->pm ? 12 : 0) : r->hour;
    if (hour > 23)
        return false;
    int64_t seconds =
        days_of(r->year, r->month, r->day) * 86400 + hour * 3600 + (r->minute - r->offset_minutes) * 60 + r->second;
    *ret_us = seconds * 1000000 + r->micro;
    return true;
}

bool time_parse(struct slice format, struct slice text, int64_t *ret_us)
{
    struct time_reader r = {.text = text, .year = 1970, .month = 1, .day = 1};
    bool ok = true;
    while (ok && format.len > 0) {
        char c = format.ptr[0];
        format = slice_of(format.ptr + 1, format.len - 1);
        if (c == ' ') {
            while (r.text.len > 0 && r.text.ptr[0] == ' ')
                read_char(&r, ' ');
        } else if (c != '%' || format.len == 0) {
            ok = read_char(&r, c);
        } else if (format.ptr[0] == 'E' && format.len >= 3 && format.ptr[2] == 'S') {
            ok = read_seconds(&r);
            format = slice_of(format.ptr + 3, format.len - 3);
        } else if (format.ptr[0] == 'E' && format.len >= 2 && format.ptr[1] == 'z') {
            ok = read_zone(&r);
            format = slice_of(format.ptr + 2, format.len - 2);
        } else {
            ok = parse_one(&r, format.ptr[0]);
            format = slice_of(format.ptr + 1, format.len - 1);
        }
    }
    return ok && r.text.len == 0 && reader_value(&r, ret_us);
}
