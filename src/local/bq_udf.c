/* bq_udf.c - functions of BigQuery that DuckDB has not, or has with other results, as DuckDB scalar functions.
 *
 * Each row of FUNCTIONS is one overload: types in, type out, and a C function for one row. NULL in, NULL out, unless
 * `sees_null`. An error ends the statement, with BigQuery's text. They run on DuckDB's threads and share nothing. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/timestamp.h"
#include "bq_internal.h"
#include "bq_time_format.h"
#include "bq_value.h"

enum { UDF_MAX_ARGS = 3 };

struct udf_row {
    duckdb_function_info info;
    duckdb_vector in[UDF_MAX_ARGS], out;
    void *data[UDF_MAX_ARGS], *out_data;
    idx_t row;
    bool is_null;     /* the result, when the function says so */
    struct buf *text; /* scratch; cleared for each row */
};

typedef bool (*udf_fn)(struct udf_row *r); /* false: r->info has the error */

#define ARG(r, i, type) (((type *)(r)->data[i])[(r)->row])
#define RETURN(r, type, value) (((type *)(r)->out_data)[(r)->row] = (value), true)

static bool fail(struct udf_row *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
static bool fail(struct udf_row *r, const char *fmt, ...)
{
    char message[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    duckdb_scalar_function_set_error(r->info, message);
    return false;
}

static int128 decimal_arg(const struct udf_row *r, int i)
{
    duckdb_hugeint v = ARG(r, i, duckdb_hugeint);
    return (int128)v.upper * ((int128)1 << 64) + v.lower;
}

static const int64_t NUMERIC_UNIT = 1000000000;

static bool return_decimal(struct udf_row *r, int128 v)
{
    static const int64_t E19 = 1000000000000000000;
    int128 limit = (int128)E19 * E19 * 100; /* 10^38 */
    if (v >= limit || v <= -limit)
        return fail(r, "numeric overflow");
    return RETURN(r, duckdb_hugeint, ((duckdb_hugeint){(uint64_t)v, (int64_t)(v >> 64)}));
}

static int128 round_div(int128 a, int128 b)
{
    int128 q = a / b, rest = a % b;
    int128 twice = (rest < 0 ? -rest : rest) * 2, size = b < 0 ? -b : b;
    return twice >= size ? q + ((a < 0) == (b < 0) ? 1 : -1) : q;
}

/* ---- arithmetic ---- */

static bool multiply_int(struct udf_row *r)
{
    int64_t a = ARG(r, 0, int64_t), b = ARG(r, 1, int64_t), product;
    if (__builtin_mul_overflow(a, b, &product))
        return fail(r, "int64 overflow: %" PRId64 " * %" PRId64, a, b);
    return RETURN(r, int64_t, product);
}

static bool multiply_double(struct udf_row *r)
{
    return RETURN(r, double, ARG(r, 0, double) * ARG(r, 1, double));
}

/* (a * b) / 10^9 without leaving 128 bits: splits a into whole and fraction. */
static bool multiply_decimal(struct udf_row *r)
{
    int128 a = decimal_arg(r, 0), b = decimal_arg(r, 1), whole, part, rest, sum;
    int128 high = a / NUMERIC_UNIT, low = a % NUMERIC_UNIT;
    if (__builtin_mul_overflow(high, b, &whole))
        return fail(r, "numeric overflow");
    int128 b_high = b / NUMERIC_UNIT, b_low = b % NUMERIC_UNIT;
    part = low * b_high;
    rest = round_div(low * b_low, NUMERIC_UNIT);
    if (__builtin_add_overflow(whole, part + rest, &sum))
        return fail(r, "numeric overflow");
    return return_decimal(r, sum);
}

static bool divide_double(struct udf_row *r)
{
    double a = ARG(r, 0, double), b = ARG(r, 1, double);
    if (b == 0)
        return fail(r, "division by zero: %g / %g", a, b);
    return RETURN(r, double, a / b);
}

static bool divide_int(struct udf_row *r)
{
    int64_t a = ARG(r, 0, int64_t), b = ARG(r, 1, int64_t);
    if (b == 0)
        return fail(r, "division by zero: %" PRId64 " / 0", a);
    return RETURN(r, double, (double)a / (double)b);
}

/* a / b with nine digits behind the point, by long division. */
static bool decimal_quotient(struct udf_row *r, int128 a, int128 b)
{
    bool negative = (a < 0) != (b < 0);
    uint128 n = a < 0 ? -(uint128)a : (uint128)a, d = b < 0 ? -(uint128)b : (uint128)b;
    uint128 q = n / d, rest = n % d;
    for (int i = 0; i < 9; i++) {
        uint128 next;
        int digit = 0;
        if (__builtin_mul_overflow(q, (uint128)10, &next))
            return fail(r, "numeric overflow");
        uint128 times = 0; /* rest * 10 / d, without overflow */
        for (int k = 0; k < 10; k++) {
            times += rest;
            if (times >= d) {
                times -= d;
                digit++;
            }
        }
        q = next + (unsigned)digit;
        rest = times;
    }
    if (rest >= d - rest)
        q++;
    if (q >> 127)
        return fail(r, "numeric overflow");
    return return_decimal(r, negative ? -(int128)q : (int128)q);
}

static bool divide_decimal(struct udf_row *r)
{
    if (decimal_arg(r, 1) == 0)
        return fail(r, "division by zero");
    return decimal_quotient(r, decimal_arg(r, 0), decimal_arg(r, 1));
}

static bool null_result(struct udf_row *r)
{
    r->is_null = true;
    return true;
}

static bool safe_divide_double(struct udf_row *r)
{
    return ARG(r, 1, double) == 0 ? null_result(r) : divide_double(r);
}

static bool safe_divide_int(struct udf_row *r)
{
    return ARG(r, 1, int64_t) == 0 ? null_result(r) : divide_int(r);
}

static bool safe_divide_decimal(struct udf_row *r)
{
    return decimal_arg(r, 1) == 0 ? null_result(r) : divide_decimal(r);
}

static bool div_int(struct udf_row *r)
{
    int64_t a = ARG(r, 0, int64_t), b = ARG(r, 1, int64_t);
    if (b == 0)
        return fail(r, "division by zero: DIV(%" PRId64 ", 0)", a);
    if (b == -1 && a == INT64_MIN)
        return fail(r, "int64 overflow: DIV(%" PRId64 ", -1)", a);
    return RETURN(r, int64_t, a / b);
}

static bool mod_int(struct udf_row *r)
{
    int64_t a = ARG(r, 0, int64_t), b = ARG(r, 1, int64_t);
    if (b == 0)
        return fail(r, "division by zero: MOD(%" PRId64 ", 0)", a);
    return RETURN(r, int64_t, b == -1 ? 0 : a % b);
}

static bool average_decimal(struct udf_row *r)
{
    int64_t count = ARG(r, 1, int64_t);
    return count == 0 ? null_result(r) : return_decimal(r, round_div(decimal_arg(r, 0), count));
}

static bool average_int(struct udf_row *r)
{
    int64_t count = ARG(r, 1, int64_t);
    return count == 0 ? null_result(r) : RETURN(r, double, (double)decimal_arg(r, 0) / (double)count);
}

static bool average_double(struct udf_row *r)
{
    int64_t count = ARG(r, 1, int64_t);
    return count == 0 ? null_result(r) : RETURN(r, double, ARG(r, 0, double) / (double)count);
}

static bool round_double(struct udf_row *r)
{
    double v = ARG(r, 0, double), unit = pow(10, ARG(r, 1, int32_t));
    double scaled = round(v * unit) / unit;
    return RETURN(r, double, isfinite(scaled) ? scaled : v);
}

static bool round_decimal(struct udf_row *r)
{
    int32_t digits = ARG(r, 1, int32_t);
    int128 v = decimal_arg(r, 0), unit = 1;
    if (digits >= 9 || digits < -29)
        return return_decimal(r, digits >= 9 ? v : 0);
    for (int i = digits; i < 9; i++)
        unit *= 10;
    return return_decimal(r, round_div(v, unit) * unit);
}

/* ---- casts ---- */

static bool return_text(struct udf_row *r)
{
    duckdb_vector_assign_string_element_len(r->out, r->row, buf_cstr(r->text), r->text->len);
    return true;
}

static bool string_any(struct udf_row *r)
{
    duckdb_logical_type type = duckdb_vector_get_column_type(r->in[0]);
    value_write_text(r->text, r->in[0], type, r->row);
    bool valid = slice_is_utf8(slice_of(buf_cstr(r->text), r->text->len));
    duckdb_destroy_logical_type(&type);
    return valid ? return_text(r) : fail(r, "Invalid cast of bytes to UTF8 string");
}

static bool json_any(struct udf_row *r)
{
    duckdb_logical_type type = duckdb_vector_get_column_type(r->in[0]);
    value_write_json(r->text, r->in[0], type, r->row);
    duckdb_destroy_logical_type(&type);
    return return_text(r);
}

static bool copy_text(struct udf_row *r)
{
    struct slice s = duck_string_at(r->data[0], r->row);
    duckdb_unsafe_vector_assign_string_element_len(r->out, r->row, s.ptr, s.len);
    return true;
}

static bool int_of_text(struct udf_row *r)
{
    struct slice s = slice_trim(duck_string_at(r->data[0], r->row)), digits = s;
    int64_t v;
    if (digits.len > 1 && digits.ptr[0] == '+')
        digits = slice_of(digits.ptr + 1, digits.len - 1);
    if (!slice_to_int64(digits, &v))
        return fail(r, "Bad int64 value: %.*s", SLICE_ARG(s));
    return RETURN(r, int64_t, v);
}

static bool int_of_double(struct udf_row *r)
{
    double v = round(ARG(r, 0, double));
    if (!(v >= -9223372036854775808.0 && v < 9223372036854775808.0))
        return fail(r, "Illegal conversion of non-finite or too large floating point number to an integer: %g", v);
    return RETURN(r, int64_t, (int64_t)v);
}

static bool int_of_decimal(struct udf_row *r)
{
    int128 v = round_div(decimal_arg(r, 0), NUMERIC_UNIT);
    if (v < INT64_MIN || v > INT64_MAX)
        return fail(r, "int64 out of range");
    return RETURN(r, int64_t, (int64_t)v);
}

static bool int_of_huge(struct udf_row *r)
{
    int128 v = decimal_arg(r, 0);
    if (v < INT64_MIN || v > INT64_MAX)
        return fail(r, "int64 overflow");
    return RETURN(r, int64_t, (int64_t)v);
}

static bool int_of_int(struct udf_row *r)
{
    return RETURN(r, int64_t, ARG(r, 0, int64_t));
}

static bool int_of_bool(struct udf_row *r)
{
    return RETURN(r, int64_t, ARG(r, 0, bool));
}

static bool length_text(struct udf_row *r)
{
    struct slice s = duck_string_at(r->data[0], r->row);
    int64_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.ptr[i] & 0xC0) != 0x80;
    return RETURN(r, int64_t, n);
}

static bool length_bytes(struct udf_row *r)
{
    return RETURN(r, int64_t, (int64_t)duck_string_at(r->data[0], r->row).len);
}

static bool index_check(struct udf_row *r)
{
    int64_t index = ARG(r, 0, int64_t), length = ARG(r, 1, int64_t), base = ARG(r, 2, int32_t);
    if (index < base || index >= length + base)
        return fail(r, "Array index %" PRId64 " is out of bounds", index);
    return RETURN(r, int64_t, index - base + 1);
}

/* ---- time ---- */

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static bool date_of_instant(struct udf_row *r)
{
    return RETURN(r, int32_t, (int32_t)floor_div(ARG(r, 0, int64_t), 86400000000LL));
}

static bool date_of_date(struct udf_row *r)
{
    return RETURN(r, int32_t, ARG(r, 0, int32_t));
}

static bool date_of_text(struct udf_row *r)
{
    struct slice s = duck_string_at(r->data[0], r->row);
    int32_t days;
    if (!timestamp_parse_date(s, &days))
        return fail(r, "Invalid date: '%.*s'", SLICE_ARG(s));
    return RETURN(r, int32_t, days);
}

static bool units_of_instant(struct udf_row *r)
{
    return RETURN(r, int64_t, floor_div(ARG(r, 0, int64_t), ARG(r, 1, int64_t)));
}

static bool instant_of_micros(struct udf_row *r)
{
    int64_t us = ARG(r, 0, int64_t);
    if (us < TIMESTAMP_MIN_US || us > TIMESTAMP_MAX_US)
        return fail(r, "TIMESTAMP value is out of allowed range: %" PRId64, us);
    return RETURN(r, int64_t, us);
}

static bool now(struct udf_row *r)
{
    return RETURN(r, int64_t, clock_wall_us());
}

static bool format_civil(struct udf_row *r, bool zone)
{
    const char *why = time_format(r->text, duck_string_at(r->data[0], r->row), ARG(r, 1, int64_t), zone);
    return why ? fail(r, "%s", why) : return_text(r);
}

static bool format_instant(struct udf_row *r)
{
    return format_civil(r, /* zone */ true);
}

static bool format_datetime(struct udf_row *r)
{
    return format_civil(r, /* zone */ false);
}

static bool parse_time_text(struct udf_row *r)
{
    struct slice format = duck_string_at(r->data[0], r->row), text = duck_string_at(r->data[1], r->row);
    int64_t us;
    if (!time_parse(format, text, &us))
        return fail(r, "Failed to parse input string \"%.*s\"", SLICE_ARG(text));
    return RETURN(r, int64_t, us);
}

/* ---- the table ---- */

enum udf_type {
    T_NONE,
    T_INT,
    T_INT32,
    T_DOUBLE,
    T_DECIMAL,
    T_HUGE,
    T_BOOL,
    T_TEXT,
    T_BYTES,
    T_INSTANT,
    T_DATETIME,
    T_DATE,
    T_ANY
};

struct udf_entry {
    const char *name; /* rows of one name stand together */
    enum udf_type out, in[UDF_MAX_ARGS];
    udf_fn fn;
    bool sees_null;
};

static const struct udf_entry FUNCTIONS[] = {
    {"bq_multiply", T_INT, {T_INT, T_INT}, multiply_int, false},
    {"bq_multiply", T_DOUBLE, {T_DOUBLE, T_DOUBLE}, multiply_double, false},
    {"bq_multiply", T_DECIMAL, {T_DECIMAL, T_DECIMAL}, multiply_decimal, false},
    {"bq_divide", T_DOUBLE, {T_INT, T_INT}, divide_int, false},
    {"bq_divide", T_DOUBLE, {T_DOUBLE, T_DOUBLE}, divide_double, false},
    {"bq_divide", T_DECIMAL, {T_DECIMAL, T_DECIMAL}, divide_decimal, false},
    {"bq_safe_divide", T_DOUBLE, {T_INT, T_INT}, safe_divide_int, false},
    {"bq_safe_divide", T_DOUBLE, {T_DOUBLE, T_DOUBLE}, safe_divide_double, false},
    {"bq_safe_divide", T_DECIMAL, {T_DECIMAL, T_DECIMAL}, safe_divide_decimal, false},
    {"bq_div", T_INT, {T_INT, T_INT}, div_int, false},
    {"bq_mod", T_INT, {T_INT, T_INT}, mod_int, false},
    {"bq_average", T_DECIMAL, {T_DECIMAL, T_INT}, average_decimal, false},
    {"bq_average", T_DOUBLE, {T_HUGE, T_INT}, average_int, false},
    {"bq_average", T_DOUBLE, {T_DOUBLE, T_INT}, average_double, false},
    {"bq_round", T_DOUBLE, {T_DOUBLE, T_INT32}, round_double, false},
    {"bq_round", T_DECIMAL, {T_DECIMAL, T_INT32}, round_decimal, false},
    {"bq_string", T_TEXT, {T_ANY}, string_any, false},
    {"bq_to_json", T_TEXT, {T_ANY}, json_any, true},
    {"bq_bytes", T_BYTES, {T_TEXT}, copy_text, false},
    {"bq_bytes", T_BYTES, {T_BYTES}, copy_text, false},
    {"bq_int64", T_INT, {T_INT}, int_of_int, false},
    {"bq_int64", T_INT, {T_HUGE}, int_of_huge, false},
    {"bq_int64", T_INT, {T_TEXT}, int_of_text, false},
    {"bq_int64", T_INT, {T_DOUBLE}, int_of_double, false},
    {"bq_int64", T_INT, {T_DECIMAL}, int_of_decimal, false},
    {"bq_int64", T_INT, {T_BOOL}, int_of_bool, false},
    {"bq_length", T_INT, {T_TEXT}, length_text, false},
    {"bq_length", T_INT, {T_BYTES}, length_bytes, false},
    {"bq_index", T_INT, {T_INT, T_INT, T_INT32}, index_check, false},
    {"bq_date", T_DATE, {T_INSTANT}, date_of_instant, false},
    {"bq_date", T_DATE, {T_DATETIME}, date_of_instant, false},
    {"bq_date", T_DATE, {T_DATE}, date_of_date, false},
    {"bq_date", T_DATE, {T_TEXT}, date_of_text, false},
    {"bq_to_units", T_INT, {T_INSTANT, T_INT}, units_of_instant, false},
    {"bq_from_micros", T_INSTANT, {T_INT}, instant_of_micros, false},
    {"bq_now", T_INSTANT, {T_NONE}, now, false},
    {"bq_strftime", T_TEXT, {T_TEXT, T_INSTANT}, format_instant, false},
    {"bq_strftime", T_TEXT, {T_TEXT, T_DATETIME}, format_datetime, false},
    {"bq_strptime", T_INT, {T_TEXT, T_TEXT}, parse_time_text, false},
};
enum { FUNCTION_COUNT = sizeof FUNCTIONS / sizeof FUNCTIONS[0] };

static duckdb_logical_type make_type(enum udf_type type)
{
    static const duckdb_type IDS[] = {
        [T_NONE] = DUCKDB_TYPE_INVALID,       [T_INT] = DUCKDB_TYPE_BIGINT,   [T_INT32] = DUCKDB_TYPE_INTEGER,
        [T_DOUBLE] = DUCKDB_TYPE_DOUBLE,      [T_HUGE] = DUCKDB_TYPE_HUGEINT, [T_BOOL] = DUCKDB_TYPE_BOOLEAN,
        [T_TEXT] = DUCKDB_TYPE_VARCHAR,       [T_BYTES] = DUCKDB_TYPE_BLOB,   [T_INSTANT] = DUCKDB_TYPE_TIMESTAMP_TZ,
        [T_DATETIME] = DUCKDB_TYPE_TIMESTAMP, [T_DATE] = DUCKDB_TYPE_DATE,    [T_ANY] = DUCKDB_TYPE_ANY};
    return type == T_DECIMAL ? duckdb_create_decimal_type(38, 9) : duckdb_create_logical_type(IDS[type]);
}

static void set_null(duckdb_vector out, idx_t row)
{
    duckdb_vector_ensure_validity_writable(out);
    uint64_t *validity = duckdb_vector_get_validity(out);
    validity[row / 64] &= ~(1ULL << (row % 64));
}

static void run(duckdb_function_info info, duckdb_data_chunk input, duckdb_vector output)
{
    const struct udf_entry *entry = duckdb_scalar_function_get_extra_info(info);
    struct buf text = BUF_INIT;
    struct udf_row r = {.info = info, .out = output, .out_data = duckdb_vector_get_data(output), .text = &text};
    uint64_t *validity[UDF_MAX_ARGS] = {NULL, NULL, NULL};
    idx_t args = duckdb_data_chunk_get_column_count(input), size = duckdb_data_chunk_get_size(input);
    for (idx_t i = 0; i < args && i < UDF_MAX_ARGS; i++) {
        r.in[i] = duckdb_data_chunk_get_vector(input, i);
        r.data[i] = duckdb_vector_get_data(r.in[i]);
        validity[i] = duckdb_vector_get_validity(r.in[i]);
    }
    for (r.row = 0; r.row < size; r.row++) {
        bool valid = entry->sees_null || (duck_valid(validity[0], r.row) && duck_valid(validity[1], r.row) &&
                                          duck_valid(validity[2], r.row));
        r.is_null = !valid;
        buf_clear(&text);
        if (valid && !entry->fn(&r))
            break;
        if (r.is_null)
            set_null(output, r.row);
    }
    buf_release(&text);
}

static void add_overload(duckdb_scalar_function_set set, const struct udf_entry *entry)
{
    union {
        const void *in;
        void *out;
    } extra = {entry};
    duckdb_scalar_function function = duckdb_create_scalar_function();
    duckdb_scalar_function_set_name(function, entry->name);
    for (int i = 0; i < UDF_MAX_ARGS && entry->in[i] != T_NONE; i++) {
        duckdb_logical_type type = make_type(entry->in[i]);
        duckdb_scalar_function_add_parameter(function, type);
        duckdb_destroy_logical_type(&type);
    }
    duckdb_logical_type type = make_type(entry->out);
    duckdb_scalar_function_set_return_type(function, type);
    duckdb_destroy_logical_type(&type);
    duckdb_scalar_function_set_special_handling(function);
    duckdb_scalar_function_set_extra_info(function, extra.out, NULL);
    duckdb_scalar_function_set_function(function, run);
    if (duckdb_add_scalar_function_to_set(set, function) != DuckDBSuccess)
        BUG("overload of %s", entry->name);
    duckdb_destroy_scalar_function(&function);
}

bool udf_register(struct duck *duck, struct error *err)
{
    duckdb_connection conn = duck_borrow(duck, err);
    bool ok = conn != NULL;
    for (size_t i = 0; ok && i < FUNCTION_COUNT;) {
        const char *name = FUNCTIONS[i].name;
        duckdb_scalar_function_set set = duckdb_create_scalar_function_set(name);
        for (; i < FUNCTION_COUNT && strcmp(FUNCTIONS[i].name, name) == 0; i++)
            add_overload(set, &FUNCTIONS[i]);
        ok = duckdb_register_scalar_function_set(conn, set) == DuckDBSuccess ||
             bq_fail(err, "backendError", 500, "cannot register function %s", name);
        duckdb_destroy_scalar_function_set(&set);
    }
    duck_return(duck, conn);
    return ok;
}
