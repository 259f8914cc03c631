/* number.c - see number.h.
 *
 * A text becomes 0.d1d2...dn x 10^point, d1 and dn not zero; the digits stay where they are, in the text. */
#include "number.h"

#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/buf.h"

enum {
    MAX_EXPONENT = 100000000,
    INT64_DIGITS = 19,
    EXACT_DOUBLE_DIGITS = 15,
    EXACT_DOUBLE_POWER = 22,
    SAFE_POWER = 300
};

struct decimal {
    const char *digits; /* the text from its first digit that is not zero; a '.' may stand among them */
    int64_t count;      /* significant digits, 0 = zero */
    int64_t point;      /* digits before the decimal point */
    bool negative;
};

static bool is_digit(char c)
{
    return (unsigned char)(c - '0') <= 9;
}

/* Exponents saturate: no text is long enough to bring such a value back into any range. */
static bool parse_exponent(const char *at, const char *end, int64_t *ret)
{
    bool negative = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+'))
        at++;
    if (at == end)
        return false;
    int64_t value = 0;
    for (; at < end; at++) {
        if (!is_digit(*at))
            return false;
        if (value < MAX_EXPONENT)
            value = value * 10 + (*at - '0');
    }
    *ret = negative ? -value : value;
    return true;
}

static bool decimal_parse(struct slice text, struct decimal *ret)
{
    const char *at = text.ptr, *end = text.ptr + text.len;
    struct decimal d = {.negative = at < end && *at == '-'};
    int64_t whole = 0, seen = 0, last = 0;
    bool fraction = false;
    at += d.negative;
    if (at == end || !is_digit(*at))
        return false;
    for (; at < end && (is_digit(*at) || (*at == '.' && !fraction)); at++) {
        if (*at == '.') {
            fraction = true;
            if (end - at < 2 || !is_digit(at[1]))
                return false;
            continue;
        }
        if (!d.digits && *at == '0') {
            whole -= fraction; /* zeros behind the point, before the first digit */
            continue;
        }
        if (!d.digits)
            d.digits = at;
        seen++;
        whole += !fraction;
        if (*at != '0')
            last = seen;
    }
    int64_t exponent = 0;
    if (at < end && ((*at != 'e' && *at != 'E') || !parse_exponent(at + 1, end, &exponent)))
        return false;
    d.count = last;
    d.point = last ? whole + exponent : 0;
    *ret = d;
    return true;
}

/* The next significant digit. */
static int next_digit(const char **at)
{
    if (**at == '.')
        (*at)++;
    return *(*at)++ - '0';
}

bool number_to_int64(struct slice text, int64_t *ret)
{
    struct decimal d;
    if (!decimal_parse(text, &d) || d.count > d.point || d.point > INT64_DIGITS)
        return false;
    const char *at = d.digits;
    uint64_t value = 0; /* 19 digits fit */
    for (int64_t i = 0; i < d.point; i++)
        value = value * 10 + (uint64_t)(i < d.count ? next_digit(&at) : 0);
    if (value > (uint64_t)INT64_MAX + d.negative)
        return false;
    *ret = d.negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

/* Adds one to a number of decimal digits; true when it overflowed into a digit more, which the caller has to put
 * before. */
static bool increment(char *digits, int count)
{
    for (int i = count - 1; i >= 0; i--) {
        if (digits[i] != '9') {
            digits[i]++;
            return false;
        }
        digits[i] = '0';
    }
    return true;
}

/* Is what was cut off, beginning with the next digit at `at`, more than half a unit, or half of one above an odd digit?
 */
static bool rounds_up(const struct decimal *d, int64_t kept, const char *at, bool last_is_odd)
{
    if (kept < 0)
        return false; /* the first digit that counts is further behind */
    int digit = next_digit(&at);
    if (digit != 5)
        return digit > 5;
    return d->count > kept + 1 || last_is_odd;
}

/* digits[0..29+9): the value times 10^9 as an integer with leading zeros. */
static size_t write_plain(const char *digits, bool negative, char *out)
{
    const char *whole = digits, *point = digits + NUMERIC_WHOLE_DIGITS, *end = point + NUMERIC_DECIMALS;
    char *to = out;
    while (whole < point - 1 && *whole == '0')
        whole++;
    while (end > point && end[-1] == '0')
        end--;
    bool zero = end == point && whole == point - 1 && *whole == '0';
    if (negative && !zero)
        *to++ = '-';
    memcpy(to, whole, (size_t)(point - whole));
    to += point - whole;
    if (end > point) {
        *to++ = '.';
        memcpy(to, point, (size_t)(end - point));
        to += end - point;
    }
    *to = '\0';
    return (size_t)(to - out);
}

enum number_fit number_to_numeric(struct slice text, char out[NUMERIC_TEXT_SIZE], size_t *ret_len)
{
    char digits[NUMERIC_WHOLE_DIGITS + NUMERIC_DECIMALS];
    struct decimal d;
    if (!decimal_parse(text, &d))
        return NUMBER_MALFORMED;
    if (d.count > 0 && d.point > NUMERIC_WHOLE_DIGITS)
        return NUMBER_OUT_OF_RANGE;
    memset(digits, '0', sizeof digits);
    int64_t room = d.point + NUMERIC_DECIMALS; /* significant digits that the column has room for */
    int64_t kept = d.count < room ? d.count : room;
    bool rounded = d.count > room;
    const char *at = d.digits;
    bool odd = false;
    for (int64_t i = 0; i < kept; i++) {
        char digit = (char)('0' + next_digit(&at));
        digits[NUMERIC_WHOLE_DIGITS - d.point + i] = digit;
        odd = digit & 1;
    }
    if (rounded && rounds_up(&d, kept, at, odd) && increment(digits, sizeof digits))
        return NUMBER_OUT_OF_RANGE;
    *ret_len = write_plain(digits, d.negative, out);
    return rounded ? NUMBER_ROUNDED : NUMBER_EXACT;
}

static locale_t plain_locale;

static void make_plain_locale(void)
{
    plain_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    BUG_ON(!plain_locale);
}

/* By the library, in the C locale whatever the process has set. */
static bool slow_double(struct slice text, double *ret)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_plain_locale);
    char *copy = xstrndup(text.ptr, text.len);
    double value = strtod_l(copy, NULL, plain_locale);
    free(copy);
    if (isinf(value))
        return false;
    *ret = value;
    return true;
}

bool number_to_double(struct slice text, double *ret)
{
    static const double powers[EXACT_DOUBLE_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                          1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                          1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    struct decimal d;
    if (!decimal_parse(text, &d))
        return false;
    int64_t power = d.point - d.count;
    if (d.count > EXACT_DOUBLE_DIGITS || power > EXACT_DOUBLE_POWER || power < -EXACT_DOUBLE_POWER)
        return slow_double(text, ret);
    const char *at = d.digits;
    int64_t mantissa = 0;
    for (int64_t i = 0; i < d.count; i++)
        mantissa = mantissa * 10 + next_digit(&at);
    double value = (double)mantissa; /* both operands are exact, so one rounding is all */
    value = power < 0 ? value / powers[-power] : value * powers[power];
    *ret = d.negative ? -value : value;
    return true;
}

static bool fits_uint64(const struct decimal *d)
{
    enum { UINT64_DIGITS = 20 };
    static const char largest[] = "18446744073709551615";
    if (d->count > d->point || d->point > UINT64_DIGITS)
        return false;
    if (d->point < UINT64_DIGITS)
        return true;
    const char *at = d->digits;
    for (int i = 0; i < UINT64_DIGITS; i++) {
        int digit = i < d->count ? next_digit(&at) : 0;
        if (digit != largest[i] - '0')
            return digit < largest[i] - '0';
    }
    return true;
}

/* Up to fifteen significant digits survive the way through a double; plain integers go as int64 or uint64. */
bool number_fits_json(struct slice text)
{
    struct decimal d;
    int64_t value;
    if (!decimal_parse(text, &d))
        return false;
    if (!memchr(text.ptr, '.', text.len) && !memchr(text.ptr, 'e', text.len) && !memchr(text.ptr, 'E', text.len))
        return number_to_int64(text, &value) || (!d.negative && fits_uint64(&d));
    return d.count <= EXACT_DOUBLE_DIGITS && d.point <= SAFE_POWER && d.point >= -SAFE_POWER;
}
