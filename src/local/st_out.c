/* st_out.c - see st_out.h. The hot path of the simulator: a page of 5,000 records is about 200,000 calls of these. */
#include "st_out.h"

static const char PAIRS[] = "000102030405060708091011121314151617181920212223242526272829303132333435363738394041424344"
                            "45464748495051525354555657"
                            "5859606162636465666768697071727374757677787980818283848586878889909192939495969798"
                            "99";

static void put_pair(char *to, uint32_t number)
{
    memcpy(to, PAIRS + number * 2, 2);
}

static void put_unsigned(struct st_out *out, uint64_t number)
{
    char text[20];
    char *p = text + sizeof text;
    while (number >= 100) {
        p -= 2;
        put_pair(p, (uint32_t)(number % 100));
        number /= 100;
    }
    if (number >= 10) {
        p -= 2;
        put_pair(p, (uint32_t)number);
    } else {
        *--p = (char)('0' + number);
    }
    st_raw(out, slice_of(p, (size_t)(text + sizeof text - p)));
}

void st_put_number(struct st_out *out, int64_t number)
{
    if (number < 0)
        *out->p++ = '-';
    put_unsigned(out, number < 0 ? 0 - (uint64_t)number : (uint64_t)number);
}

void st_put_int(struct st_out *out, const void *int64)
{
    int64_t number = *(const int64_t *)int64;
    if (number == ST_NULL)
        ST_RAW(out, "null");
    else
        st_put_number(out, number);
}

void st_put_digits(struct st_out *out, const void *int64)
{
    int64_t number = *(const int64_t *)int64;
    if (number == ST_NULL) {
        ST_RAW(out, "null");
        return;
    }
    *out->p++ = '"';
    st_put_number(out, number);
    *out->p++ = '"';
}

void st_put_bool(struct st_out *out, const void *int8)
{
    int8_t value = *(const int8_t *)int8;
    if (value < 0)
        ST_RAW(out, "null");
    else if (value)
        ST_RAW(out, "true");
    else
        ST_RAW(out, "false");
}

/* Civil date of a day count, valid after 1970 (proleptic Gregorian, era arithmetic). */
static void day_text(char *to, int64_t day)
{
    uint32_t z = (uint32_t)(day + 719468);
    uint32_t era = z / 146097, doe = z % 146097;
    uint32_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    uint32_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    uint32_t mp = (5 * doy + 2) / 153;
    uint32_t month = mp < 10 ? mp + 3 : mp - 9;
    uint32_t year = yoe + era * 400 + (month <= 2);
    put_pair(to, year / 100 % 100);
    put_pair(to + 2, year % 100);
    to[4] = '-';
    put_pair(to + 5, month);
    to[7] = '-';
    put_pair(to + 8, doy - (153 * mp + 2) / 5 + 1);
}

static void put_fraction(struct st_out *out, uint32_t fraction)
{
    if (fraction == 0)
        return;
    int digits = 7;
    while (fraction % 10 == 0) {
        fraction /= 10;
        digits--;
    }
    *out->p++ = '.';
    for (int i = digits - 1; i >= 0; i--) {
        out->p[i] = (char)('0' + fraction % 10);
        fraction /= 10;
    }
    out->p += digits;
}

void st_put_time(struct st_out *out, const void *ticks)
{
    int64_t time = *(const int64_t *)ticks;
    if (time == ST_NO_TIME) {
        ST_RAW(out, "null");
        return;
    }
    int64_t day = time / ST_TICKS_PER_DAY;
    if (!out->day_known || day != out->day) {
        day_text(out->day_text, day);
        out->day = day;
        out->day_known = true;
    }
    int64_t rest = time % ST_TICKS_PER_DAY;
    uint32_t seconds = (uint32_t)(rest / ST_TICKS_PER_SECOND);
    char *p = out->p;
    *p = '"';
    memcpy(p + 1, out->day_text, sizeof out->day_text);
    p[11] = 'T';
    put_pair(p + 12, seconds / 3600);
    p[14] = ':';
    put_pair(p + 15, seconds / 60 % 60);
    p[17] = ':';
    put_pair(p + 18, seconds % 60);
    out->p += 20;
    put_fraction(out, (uint32_t)(rest % ST_TICKS_PER_SECOND));
    ST_RAW(out, "Z\"");
}

static void put_scaled(struct st_out *out, const struct st_decimal *d)
{
    static const int64_t power[] = {1, 10, 100, 1000, 10000, 100000, 1000000};
    uint64_t units = d->units < 0 ? 0 - (uint64_t)d->units : (uint64_t)d->units;
    if (d->units < 0)
        *out->p++ = '-';
    put_unsigned(out, units / (uint64_t)power[d->scale]);
    if (d->scale == 0)
        return;
    uint64_t rest = units % (uint64_t)power[d->scale];
    *out->p++ = '.';
    for (int i = d->scale - 1; i >= 0; i--) {
        out->p[i] = (char)('0' + rest % 10);
        rest /= 10;
    }
    out->p += d->scale;
    memset(out->p, '0', d->zeros);
    out->p += d->zeros;
}

void st_put_decimal(struct st_out *out, const void *decimal)
{
    const struct st_decimal *d = decimal;
    if (d->null)
        ST_RAW(out, "null");
    else
        put_scaled(out, d);
}

void st_put_money(struct st_out *out, const void *decimal)
{
    const struct st_decimal *d = decimal;
    if (d->null) {
        ST_RAW(out, "null");
        return;
    }
    *out->p++ = '"';
    put_scaled(out, d);
    *out->p++ = '"';
}

void st_put_text(struct st_out *out, const void *text)
{
    const struct st_text *t = text;
    if (t->part[0].ptr == NULL) {
        ST_RAW(out, "null");
        return;
    }
    *out->p++ = '"';
    for (int i = 0; i < ST_TEXT_PARTS && t->part[i].ptr; i++)
        st_raw(out, t->part[i]);
    *out->p++ = '"';
}

void st_put_json(struct st_out *out, const void *slice)
{
    const struct slice *s = slice;
    st_raw(out, s->ptr ? *s : SLICE_LIT("null"));
}

void st_put_named(struct st_out *out, const void *named)
{
    const struct st_named *n = named;
    if (n->id == ST_NULL) {
        ST_RAW(out, "null");
        return;
    }
    ST_RAW(out, "{\"id\":");
    st_put_number(out, n->id);
    ST_RAW(out, ",\"name\":");
    st_put_text(out, &n->name);
    *out->p++ = '}';
}

void st_put_fields(struct st_out *out, const struct st_field *fields, size_t count, const void *base)
{
    char separator = '{';
    for (size_t i = 0; i < count; i++) {
        *out->p++ = separator;
        st_raw(out, fields[i].key);
        fields[i].put(out, (const char *)base + fields[i].offset);
        separator = ',';
    }
    *out->p++ = '}';
}
