/* bq_value.c - texts of single values in DuckDB vectors. No locale, no double on the way of a decimal. */
#include "bq_value.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/timestamp.h"

enum { NUMERIC_SCALE = 9 };
#define DAY_US 86400000000LL

/* ---- scalars ---- */

static int128 wide(duckdb_hugeint value)
{
    return (int128)value.upper * ((int128)1 << 64) + value.lower;
}

static void write_digits(struct buf *out, uint128 value)
{
    char digits[48];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + (int)(value % 10));
        value /= 10;
    } while (value > 0);
    buf_append(out, digits + at, sizeof digits - at);
}

void value_write_decimal(struct buf *out, duckdb_hugeint value, int scale)
{
    int128 v = wide(value);
    uint128 magnitude = v < 0 ? -(uint128)v : (uint128)v, unit = 1;
    for (int i = 0; i < scale; i++)
        unit *= 10;
    if (v < 0)
        buf_append_char(out, '-');
    write_digits(out, magnitude / unit);
    uint128 fraction = magnitude % unit;
    if (fraction == 0)
        return;
    buf_append_char(out, '.');
    for (unit /= 10; fraction > 0; unit /= 10) {
        buf_append_char(out, (char)('0' + (int)(fraction / unit)));
        fraction %= unit;
    }
}

void value_write_double(struct buf *out, double value)
{
    char text[40];
    if (isnan(value) || isinf(value)) {
        buf_append_str(out, isnan(value) ? "NaN" : value < 0 ? "-Infinity" : "Infinity");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    buf_append_str(out, text);
    if (!strpbrk(text, ".e"))
        buf_append_str(out, ".0");
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static void write_time_of_day(struct buf *out, int64_t us, bool always_six)
{
    int64_t seconds = us / 1000000, fraction = us % 1000000;
    buf_printf(out, "%02" PRId64 ":%02" PRId64 ":%02" PRId64, seconds / 3600, seconds / 60 % 60, seconds % 60);
    if (fraction == 0)
        return;
    if (fraction % 1000 == 0 && !always_six)
        buf_printf(out, ".%03" PRId64, fraction / 1000);
    else
        buf_printf(out, ".%06" PRId64, fraction);
}

static void write_datetime(struct buf *out, int64_t us, char separator, bool always_six)
{
    int64_t days = floor_div(us, DAY_US);
    timestamp_format_date(out, (int32_t)days);
    buf_append_char(out, separator);
    write_time_of_day(out, us - days * DAY_US, always_six);
}

void value_write_datetime(struct buf *out, int64_t us, char separator)
{
    write_datetime(out, us, separator, /* always_six */ false);
}

/* Decimal seconds as the service writes them: 1.7610408E9, exact to the microsecond. */
static void write_float_seconds(struct buf *out, int64_t us)
{
    char text[48];
    double seconds = (double)us / 1e6;
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*E", digits, seconds);
        if (strtod(text, NULL) == seconds)
            break;
    }
    char *exponent = strchr(text, 'E');
    buf_append(out, text, (size_t)(exponent - text));
    int64_t power = 0;
    slice_to_int64(slice_str(exponent[1] == '+' ? exponent + 2 : exponent + 1), &power);
    buf_printf(out, "E%lld", (long long)power);
}

static void write_timestamp(struct buf *out, int64_t us, enum engine_timestamp_format format)
{
    if (format == ENGINE_TIMESTAMP_INT64) {
        buf_printf(out, "%" PRId64, us);
    } else if (format == ENGINE_TIMESTAMP_FLOAT64) {
        write_float_seconds(out, us);
    } else {
        value_write_datetime(out, us, 'T');
        buf_append_char(out, 'Z');
    }
}

static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void value_write_base64(struct buf *out, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t n = bytes.len - i < 3 ? bytes.len - i : 3;
        uint32_t v = 0;
        for (size_t k = 0; k < 3; k++)
            v = (v << 8) | (k < n ? (unsigned char)bytes.ptr[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            buf_append_char(out, k <= n ? BASE64[(v >> (18 - 6 * k)) & 63] : '=');
    }
}

bool value_read_base64(struct buf *out, struct slice text)
{
    uint32_t v = 0;
    int bits = 0;
    while (text.len > 0 && text.ptr[text.len - 1] == '=')
        text.len--;
    for (size_t i = 0; i < text.len; i++) {
        const char *hit = text.ptr[i] ? strchr(BASE64, text.ptr[i]) : NULL;
        if (!hit)
            return false;
        v = (v << 6) | (uint32_t)(hit - BASE64);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            buf_append_char(out, (char)(v >> bits));
        }
    }
    return true;
}

/* ---- NUMERIC from text ---- */

struct digits {
    char digits[96]; /* without leading zeros */
    size_t count;
    int point; /* digits before the decimal point */
};

static bool read_number(struct slice text, bool *negative, struct digits *d)
{
    size_t i = 0, seen = 0;
    bool after_point = false;
    int exponent = 0;
    *d = (struct digits){.count = 0};
    *negative = text.len > 0 && text.ptr[0] == '-';
    if (text.len > 0 && (text.ptr[0] == '-' || text.ptr[0] == '+'))
        i++;
    for (; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '.' && !after_point) {
            after_point = true;
            continue;
        }
        if (c < '0' || c > '9')
            break;
        seen++;
        if (d->count == 0 && c == '0') {
            d->point -= after_point;
            continue;
        }
        if (d->count < sizeof d->digits)
            d->digits[d->count++] = c;
        d->point += !after_point;
    }
    if (seen == 0)
        return false;
    if (i < text.len && (text.ptr[i] | 0x20) == 'e') {
        struct slice rest = slice_of(text.ptr + i + 1, text.len - i - 1);
        int64_t e;
        if (rest.len > 0 && rest.ptr[0] == '+')
            rest = slice_of(rest.ptr + 1, rest.len - 1);
        if (!slice_to_int64(rest, &e) || e < -1000 || e > 1000)
            return false;
        exponent = (int)e;
        i = text.len;
    }
    d->point += exponent;
    return i == text.len;
}

bool value_parse_numeric(struct slice text, duckdb_hugeint *ret)
{
    static const char LIMIT[] = "99999999999999999999999999999999999999";
    struct digits d;
    bool negative;
    if (!read_number(slice_trim(text), &negative, &d))
        return false;
    int keep = d.point + NUMERIC_SCALE; /* digits that stand in the scaled integer */
    uint128 value = 0, limit = 0;
    for (size_t i = 0; i < sizeof LIMIT - 1; i++)
        limit = limit * 10 + 9;
    if (d.count > 0 && keep > 38)
        return false;
    for (int i = 0; i < keep; i++)
        value = value * 10 + (unsigned)(i < (int)d.count ? d.digits[i] - '0' : 0);
    if (keep >= 0 && keep < (int)d.count && d.digits[keep] >= '5')
        value++;
    if (value > limit)
        return false;
    int128 sign = negative ? -(int128)value : (int128)value;
    ret->lower = (uint64_t)sign;
    ret->upper = (int64_t)(sign >> 64);
    return true;
}

/* ---- from vectors ---- */

static duckdb_hugeint decimal_at(void *data, duckdb_logical_type type, idx_t row)
{
    int64_t v;
    switch (duckdb_decimal_internal_type(type)) {
    case DUCKDB_TYPE_SMALLINT:
        v = ((int16_t *)data)[row];
        break;
    case DUCKDB_TYPE_INTEGER:
        v = ((int32_t *)data)[row];
        break;
    case DUCKDB_TYPE_BIGINT:
        v = ((int64_t *)data)[row];
        break;
    default:
        return ((duckdb_hugeint *)data)[row];
    }
    return (duckdb_hugeint){(uint64_t)v, v < 0 ? -1 : 0};
}

static void write_enum(struct buf *out, void *data, duckdb_logical_type type, idx_t row)
{
    idx_t index;
    switch (duckdb_enum_internal_type(type)) {
    case DUCKDB_TYPE_UTINYINT:
        index = ((uint8_t *)data)[row];
        break;
    case DUCKDB_TYPE_USMALLINT:
        index = ((uint16_t *)data)[row];
        break;
    default:
        index = ((uint32_t *)data)[row];
    }
    char *text = duckdb_enum_dictionary_value(type, index);
    buf_append_str(out, text);
    duckdb_free(text);
}

static bool write_integer(struct buf *out, duckdb_type id, void *data, idx_t row)
{
    switch (id) {
    case DUCKDB_TYPE_TINYINT:
        buf_printf(out, "%d", ((int8_t *)data)[row]);
        return true;
    case DUCKDB_TYPE_SMALLINT:
        buf_printf(out, "%d", ((int16_t *)data)[row]);
        return true;
    case DUCKDB_TYPE_INTEGER:
        buf_printf(out, "%d", ((int32_t *)data)[row]);
        return true;
    case DUCKDB_TYPE_BIGINT:
        buf_printf(out, "%" PRId64, ((int64_t *)data)[row]);
        return true;
    case DUCKDB_TYPE_UTINYINT:
        buf_printf(out, "%u", ((uint8_t *)data)[row]);
        return true;
    case DUCKDB_TYPE_USMALLINT:
        buf_printf(out, "%u", ((uint16_t *)data)[row]);
        return true;
    case DUCKDB_TYPE_UINTEGER:
        buf_printf(out, "%u", ((uint32_t *)data)[row]);
        return true;
    case DUCKDB_TYPE_UBIGINT:
        buf_printf(out, "%" PRIu64, ((uint64_t *)data)[row]);
        return true;
    case DUCKDB_TYPE_HUGEINT:
        value_write_decimal(out, ((duckdb_hugeint *)data)[row], 0);
        return true;
    default:
        return false;
    }
}

static void write_uuid(struct buf *out, duckdb_hugeint v)
{
    uint64_t high = (uint64_t)v.upper ^ (1ULL << 63);
    buf_printf(out, "%08" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%012" PRIx64, high >> 32,
               (high >> 16) & 0xFFFF, high & 0xFFFF, v.lower >> 48, (uint64_t)(v.lower & 0xFFFFFFFFFFFFULL));
}

/* Scalars but BYTES and timestamps, which differ by use. */
static void write_scalar(struct buf *out, duckdb_logical_type type, void *data, idx_t row, bool always_six,
                         char separator)
{
    duckdb_type id = duckdb_get_type_id(type);
    if (write_integer(out, id, data, row))
        return;
    switch (id) {
    case DUCKDB_TYPE_BOOLEAN:
        buf_append_str(out, ((bool *)data)[row] ? "true" : "false");
        break;
    case DUCKDB_TYPE_FLOAT:
        value_write_double(out, (double)((float *)data)[row]);
        break;
    case DUCKDB_TYPE_DOUBLE:
        value_write_double(out, ((double *)data)[row]);
        break;
    case DUCKDB_TYPE_DECIMAL:
        value_write_decimal(out, decimal_at(data, type, row), duckdb_decimal_scale(type));
        break;
    case DUCKDB_TYPE_DATE:
        timestamp_format_date(out, ((int32_t *)data)[row]);
        break;
    case DUCKDB_TYPE_TIME:
        write_time_of_day(out, ((int64_t *)data)[row], always_six);
        break;
    case DUCKDB_TYPE_TIMESTAMP:
    case DUCKDB_TYPE_TIMESTAMP_TZ:
        write_datetime(out, ((int64_t *)data)[row], separator, always_six);
        break;
    case DUCKDB_TYPE_UUID:
        write_uuid(out, ((duckdb_hugeint *)data)[row]);
        break;
    case DUCKDB_TYPE_ENUM:
        write_enum(out, data, type, row);
        break;
    case DUCKDB_TYPE_VARCHAR:
        buf_append_slice(out, duck_string_at(data, row));
        break;
    case DUCKDB_TYPE_INTERVAL: {
        duckdb_interval v = ((duckdb_interval *)data)[row];
        buf_printf(out, "%d-%d %d ", v.months / 12, abs(v.months % 12), v.days);
        if (v.micros < 0)
            buf_append_char(out, '-');
        write_time_of_day(out, v.micros < 0 ? -v.micros : v.micros, always_six);
        break;
    }
    default:
        break;
    }
}

/* The double without ".0" that REST and JSON do not write. */
static void trim_integral(struct buf *out, size_t start)
{
    if (out->len - start > 2 && memcmp(out->ptr + out->len - 2, ".0", 2) == 0) {
        out->len -= 2;
        out->ptr[out->len] = '\0';
    }
}

static void write_cell_scalar(struct buf *out, duckdb_logical_type type, void *data, idx_t row,
                              enum engine_timestamp_format format)
{
    duckdb_type id = duckdb_get_type_id(type);
    struct buf text = BUF_INIT;
    if (id == DUCKDB_TYPE_BLOB)
        value_write_base64(&text, duck_string_at(data, row));
    else if (id == DUCKDB_TYPE_TIMESTAMP_TZ)
        write_timestamp(&text, ((int64_t *)data)[row], format);
    else
        write_scalar(&text, type, data, row, /* always_six */ true, 'T');
    buf_append_json_string(out, slice_of(buf_cstr(&text), text.len));
    buf_release(&text);
}

/* The value behind "v": without the wrapping. */
static void write_cell_value(struct buf *out, duckdb_vector vector, duckdb_logical_type type, idx_t row,
                             enum engine_timestamp_format format)
{
    duckdb_type id = duckdb_get_type_id(type);
    bool valid = duck_valid(duckdb_vector_get_validity(vector), row);
    if (id == DUCKDB_TYPE_LIST) {
        duckdb_list_entry entry =
            valid ? ((duckdb_list_entry *)duckdb_vector_get_data(vector))[row] : (duckdb_list_entry){0, 0};
        duckdb_vector child = duckdb_list_vector_get_child(vector);
        duckdb_logical_type child_type = duckdb_list_type_child_type(type);
        buf_append_char(out, '[');
        for (idx_t i = 0; i < entry.length; i++) {
            buf_append_str(out, i ? "," : "");
            value_write_cell(out, child, child_type, entry.offset + i, format);
        }
        buf_append_char(out, ']');
        duckdb_destroy_logical_type(&child_type);
    } else if (!valid) {
        buf_append_str(out, "null");
    } else if (id == DUCKDB_TYPE_STRUCT) {
        buf_append_str(out, "{\"f\":[");
        for (idx_t i = 0; i < duckdb_struct_type_child_count(type); i++) {
            duckdb_logical_type child_type = duckdb_struct_type_child_type(type, i);
            buf_append_str(out, i ? "," : "");
            value_write_cell(out, duckdb_struct_vector_get_child(vector, i), child_type, row, format);
            duckdb_destroy_logical_type(&child_type);
        }
        buf_append_str(out, "]}");
    } else {
        write_cell_scalar(out, type, duckdb_vector_get_data(vector), row, format);
    }
}

void value_write_cell(struct buf *out, duckdb_vector vector, duckdb_logical_type type, idx_t row,
                      enum engine_timestamp_format format)
{
    buf_append_str(out, "{\"v\":");
    write_cell_value(out, vector, type, row, format);
    buf_append_char(out, '}');
}

void value_write_text(struct buf *out, duckdb_vector vector, duckdb_logical_type type, idx_t row)
{
    duckdb_type id = duckdb_get_type_id(type);
    void *data = duckdb_vector_get_data(vector);
    size_t start = out->len;
    if (!duck_valid(duckdb_vector_get_validity(vector), row))
        return;
    if (id == DUCKDB_TYPE_BLOB) {
        buf_append_slice(out, duck_string_at(data, row));
        return;
    }
    if (id == DUCKDB_TYPE_LIST || id == DUCKDB_TYPE_STRUCT) {
        value_write_json(out, vector, type, row);
        return;
    }
    write_scalar(out, type, data, row, /* always_six */ false, ' ');
    if (id == DUCKDB_TYPE_TIMESTAMP_TZ)
        buf_append_str(out, "+00");
    if (id == DUCKDB_TYPE_DOUBLE || id == DUCKDB_TYPE_FLOAT)
        trim_integral(out, start);
}

static bool is_bare_json(duckdb_type id)
{
    return id == DUCKDB_TYPE_BOOLEAN || id == DUCKDB_TYPE_TINYINT || id == DUCKDB_TYPE_SMALLINT ||
           id == DUCKDB_TYPE_INTEGER || id == DUCKDB_TYPE_BIGINT || id == DUCKDB_TYPE_HUGEINT ||
           id == DUCKDB_TYPE_DECIMAL || id == DUCKDB_TYPE_DOUBLE || id == DUCKDB_TYPE_FLOAT ||
           id == DUCKDB_TYPE_UTINYINT || id == DUCKDB_TYPE_USMALLINT || id == DUCKDB_TYPE_UINTEGER ||
           id == DUCKDB_TYPE_UBIGINT;
}

/* Numbers that a JSON reader would round are strings. */
static bool is_safe_number(struct slice text)
{
    size_t digits = 0;
    for (size_t i = 0; i < text.len; i++)
        digits += text.ptr[i] >= '0' && text.ptr[i] <= '9';
    return digits <= 15 && (text.ptr[0] == '-' || (text.ptr[0] >= '0' && text.ptr[0] <= '9'));
}

static void write_json_scalar(struct buf *out, duckdb_logical_type type, void *data, idx_t row)
{
    duckdb_type id = duckdb_get_type_id(type);
    char *alias = duckdb_logical_type_get_alias(type);
    bool is_json = alias && strcmp(alias, "JSON") == 0;
    struct buf text = BUF_INIT;
    duckdb_free(alias);
    if (id == DUCKDB_TYPE_BLOB) {
        value_write_base64(&text, duck_string_at(data, row));
    } else {
        write_scalar(&text, type, data, row, /* always_six */ false, 'T');
        if (id == DUCKDB_TYPE_TIMESTAMP_TZ)
            buf_append_char(&text, 'Z');
        if (id == DUCKDB_TYPE_DOUBLE || id == DUCKDB_TYPE_FLOAT)
            trim_integral(&text, 0);
    }
    struct slice s = slice_of(buf_cstr(&text), text.len);
    bool exact = id == DUCKDB_TYPE_DOUBLE || id == DUCKDB_TYPE_FLOAT || id == DUCKDB_TYPE_BOOLEAN;
    bool finite = s.len > 0 && s.ptr[s.len - 1] != 'y' && s.ptr[0] != 'N';
    if (is_json || (is_bare_json(id) && finite && (exact || is_safe_number(s))))
        buf_append_slice(out, s);
    else
        buf_append_json_string(out, s);
    buf_release(&text);
}

static void write_json_struct(struct buf *out, duckdb_vector vector, duckdb_logical_type type, idx_t row)
{
    buf_append_char(out, '{');
    for (idx_t i = 0; i < duckdb_struct_type_child_count(type); i++) {
        duckdb_logical_type child_type = duckdb_struct_type_child_type(type, i);
        char *name = duckdb_struct_type_child_name(type, i);
        buf_append_str(out, i ? "," : "");
        buf_append_json_string(out, slice_str(name));
        buf_append_char(out, ':');
        value_write_json(out, duckdb_struct_vector_get_child(vector, i), child_type, row);
        duckdb_free(name);
        duckdb_destroy_logical_type(&child_type);
    }
    buf_append_char(out, '}');
}

void value_write_json(struct buf *out, duckdb_vector vector, duckdb_logical_type type, idx_t row)
{
    duckdb_type id = duckdb_get_type_id(type);
    bool valid = duck_valid(duckdb_vector_get_validity(vector), row);
    if (id == DUCKDB_TYPE_LIST) {
        duckdb_list_entry entry =
            valid ? ((duckdb_list_entry *)duckdb_vector_get_data(vector))[row] : (duckdb_list_entry){0, 0};
        duckdb_logical_type child_type = duckdb_list_type_child_type(type);
        buf_append_char(out, '[');
        for (idx_t i = 0; i < entry.length; i++) {
            buf_append_str(out, i ? "," : "");
            value_write_json(out, duckdb_list_vector_get_child(vector), child_type, entry.offset + i);
        }
        buf_append_char(out, ']');
        duckdb_destroy_logical_type(&child_type);
    } else if (!valid) {
        buf_append_str(out, "null");
    } else if (id == DUCKDB_TYPE_STRUCT) {
        write_json_struct(out, vector, type, row);
    } else {
        write_json_scalar(out, type, duckdb_vector_get_data(vector), row);
    }
}
