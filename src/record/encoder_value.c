/* encoder_value.c - scalars into columns: one converter per column type, each of which says how well the value fitted.
 *
 * What does not fit is NULL in its column, stays literally in _extra, and is counted: no value is lost, and no record
 * is refused for a field that the warehouse can do without. Only the key and the two times that order versions and
 * windows are worth a refusal. Ticks of 100 ns below the microsecond are cut off, towards the past: the column cannot
 * hold them, and that is not drift. */
#include <math.h>

#include "base/timestamp.h"
#include "encoder_state.h"
#include "number.h"
#include "wire.h"

/* How a value fitted; any of them together. */
enum fit {
    FIT_WELL = 0,
    FIT_KEEP = 1,    /* keep it literally in _extra */
    FIT_TYPE = 2,    /* not the type that was expected */
    FIT_ENUM = 4,    /* not one of the documented values */
    FIT_ROUNDED = 8, /* more decimals than the column has */
    FIT_TEXT = 16,   /* the text holds what UTF-8 columns cannot */
};

struct scalar {
    enum token_kind kind;
    struct slice literal; /* as written, with quotes */
    struct slice text;    /* decoded text; number or word as written */
    bool sound;
};

typedef unsigned put_fn(struct record_encoder *encoder, const struct plan_target *target, const struct scalar *scalar);

static struct buf *sink_of(struct record_encoder *encoder, const struct plan_target *target)
{
    return encoder->sinks[target->sink];
}

/* As much of a literal as a reason shows, cut between characters. */
static struct slice shown(struct slice literal)
{
    enum { SHOWN_BYTES = 40 };
    if (literal.len > SHOWN_BYTES)
        literal.len = SHOWN_BYTES;
    while (literal.len > 0 && !slice_is_utf8(literal))
        literal.len--;
    return literal;
}

static bool is_listed(const char *const *values, struct slice text)
{
    for (; *values; values++) {
        if (strncmp(*values, text.ptr, text.len) == 0 && (*values)[text.len] == '\0')
            return true;
    }
    return false;
}

static unsigned put_string(struct record_encoder *encoder, const struct plan_target *target,
                           const struct scalar *scalar)
{
    unsigned fit = scalar->kind == TOKEN_STRING ? FIT_WELL : FIT_TYPE;
    if (!scalar->sound)
        fit |= FIT_KEEP | FIT_TEXT;
    if (target->enum_values && !is_listed(target->enum_values, scalar->text))
        fit |= FIT_ENUM;
    wire_put_bytes(sink_of(encoder, target), target->position, scalar->text);
    return fit;
}

/* Plain digits that cannot overflow, which nearly all are. */
static bool small_int64(struct slice text, int64_t *ret)
{
    enum { SAFE_DIGITS = 18 };
    size_t i = text.len > 0 && text.ptr[0] == '-';
    bool negative = i > 0;
    int64_t value = 0;
    if (text.len == i || text.len - i > SAFE_DIGITS)
        return false;
    for (; i < text.len; i++) {
        unsigned digit = (unsigned char)(text.ptr[i] - '0');
        if (digit > 9)
            return false;
        value = value * 10 + digit;
    }
    *ret = negative ? -value : value;
    return true;
}

static bool is_number_kind(const struct scalar *scalar)
{
    return scalar->kind == TOKEN_NUMBER || scalar->kind == TOKEN_STRING;
}

static unsigned put_int64(struct record_encoder *encoder, const struct plan_target *target, const struct scalar *scalar)
{
    int64_t value;
    if (!is_number_kind(scalar) || (!small_int64(scalar->text, &value) && !number_to_int64(scalar->text, &value))) {
        if (target->role == ROLE_KEY)
            encoder_refuse(encoder, "the key is not an int64: %.*s", SLICE_ARG(shown(scalar->literal)));
        return FIT_KEEP | FIT_TYPE;
    }
    if (target->role == ROLE_KEY) {
        encoder->info->has_id = true;
        encoder->info->id = value;
    }
    wire_put_varint(sink_of(encoder, target), target->position, (uint64_t)value);
    return FIT_WELL;
}

static unsigned put_float64(struct record_encoder *encoder, const struct plan_target *target,
                            const struct scalar *scalar)
{
    double value;
    if (!is_number_kind(scalar) || !number_to_double(scalar->text, &value))
        return FIT_KEEP | FIT_TYPE;
    wire_put_double(sink_of(encoder, target), target->position, value);
    return FIT_WELL;
}

static unsigned put_bool(struct record_encoder *encoder, const struct plan_target *target, const struct scalar *scalar)
{
    bool yes = slice_eq(scalar->text, SLICE_LIT("true")), no = slice_eq(scalar->text, SLICE_LIT("false"));
    if (!yes && !no)
        return FIT_KEEP | FIT_TYPE;
    wire_put_varint(sink_of(encoder, target), target->position, yes);
    return scalar->kind == TOKEN_STRING ? FIT_TYPE : FIT_WELL;
}

static unsigned put_numeric(struct record_encoder *encoder, const struct plan_target *target,
                            const struct scalar *scalar)
{
    char text[NUMERIC_TEXT_SIZE];
    size_t len = 0;
    if (!is_number_kind(scalar))
        return FIT_KEEP | FIT_TYPE;
    enum number_fit fit = number_to_numeric(scalar->text, text, &len);
    if (fit == NUMBER_MALFORMED || fit == NUMBER_OUT_OF_RANGE)
        return FIT_KEEP | FIT_TYPE;
    wire_put_bytes(sink_of(encoder, target), target->position, slice_of(text, len));
    return fit == NUMBER_ROUNDED ? FIT_KEEP | FIT_ROUNDED : FIT_WELL;
}

static unsigned put_timestamp(struct record_encoder *encoder, const struct plan_target *target,
                              const struct scalar *scalar)
{
    int64_t us;
    if (scalar->kind != TOKEN_STRING || !timestamp_parse(scalar->text, &us, NULL)) {
        if (target->role != ROLE_NONE)
            encoder_refuse(encoder, "%s is not a time: %.*s", target->role == ROLE_CREATED ? "createdOn" : "modifiedOn",
                           SLICE_ARG(shown(scalar->literal)));
        return FIT_KEEP | FIT_TYPE;
    }
    struct row_info *info = encoder->info;
    if (target->role == ROLE_CREATED) {
        info->has_created = true;
        info->created_us = us;
    } else if (target->role == ROLE_MODIFIED) {
        info->has_modified = true;
        info->modified_us = us;
    }
    wire_put_varint(sink_of(encoder, target), target->position, (uint64_t)us);
    return FIT_WELL;
}

static unsigned put_date(struct record_encoder *encoder, const struct plan_target *target, const struct scalar *scalar)
{
    int32_t days;
    if (scalar->kind != TOKEN_STRING || !timestamp_parse_date(scalar->text, &days))
        return FIT_KEEP | FIT_TYPE;
    wire_put_varint(sink_of(encoder, target), target->position, (uint64_t)(int64_t)days);
    return FIT_WELL;
}

static unsigned put_json(struct record_encoder *encoder, const struct plan_target *target, const struct scalar *scalar)
{
    buf_clear(&encoder->scratch);
    bool sound = json_copy(&encoder->scratch, scalar->literal);
    wire_put_bytes(sink_of(encoder, target), target->position, buf_slice(&encoder->scratch));
    return sound ? FIT_WELL : FIT_TEXT;
}

static put_fn *const put[] = {
    [COLUMN_STRING] = put_string, [COLUMN_INT64] = put_int64,     [COLUMN_FLOAT64] = put_float64,
    [COLUMN_BOOL] = put_bool,     [COLUMN_NUMERIC] = put_numeric, [COLUMN_TIMESTAMP] = put_timestamp,
    [COLUMN_DATE] = put_date,     [COLUMN_JSON] = put_json,
};

static bool settle_fit(struct record_encoder *encoder, const struct plan_value *value, unsigned fit,
                       struct slice literal)
{
    static const struct {
        unsigned fit;
        enum drift_kind kind;
    } kinds[] = {
        {FIT_TYPE, DRIFT_TYPE}, {FIT_ENUM, DRIFT_ENUM_VALUE}, {FIT_ROUNDED, DRIFT_ROUNDED}, {FIT_TEXT, DRIFT_TEXT}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (fit & kinds[i].fit)
            drift_note(&encoder->drift, slice_str(value->path), kinds[i].kind, literal);
    }
    return !(fit & FIT_KEEP) || encoder_keep(encoder, literal);
}

static bool take_scalar(struct record_encoder *encoder, enum token_kind kind, struct scalar *ret)
{
    struct cursor *cursor = &encoder->cursor;
    const char *start = cursor->at;
    *ret = (struct scalar){.kind = kind, .sound = true};
    if (kind == TOKEN_STRING) {
        struct token_text text;
        if (!token_string(cursor, &text))
            return false;
        ret->text = text.raw;
        if (text.escaped) {
            buf_clear(&encoder->text);
            ret->sound = text_unescape(&encoder->text, text.raw);
            ret->text = buf_slice(&encoder->text);
        }
    } else if (kind == TOKEN_NUMBER) {
        if (!token_number(cursor, &ret->text))
            return false;
    } else {
        if (!token_literal(cursor, kind))
            return false;
        ret->text = slice_of(start, (size_t)(cursor->at - start));
    }
    ret->literal = slice_of(start, (size_t)(cursor->at - start));
    return true;
}

bool encode_scalar(struct record_encoder *encoder, const struct plan_value *value, enum token_kind kind)
{
    struct scalar scalar;
    if (!take_scalar(encoder, kind, &scalar))
        return false;
    unsigned fit = value->targets ? FIT_WELL : FIT_KEEP | FIT_TYPE;
    for (const struct plan_target *target = value->targets; target; target = target->next)
        fit |= put[target->type](encoder, target, &scalar);
    if (encoder->refused)
        return false;
    return fit == FIT_WELL || settle_fit(encoder, value, fit, scalar.literal);
}

void encode_json_targets(struct record_encoder *encoder, const struct plan_value *value, struct slice literal)
{
    struct scalar whole = {.literal = literal, .sound = true};
    for (const struct plan_target *target = value->targets; target; target = target->next) {
        if (target->type == COLUMN_JSON && put_json(encoder, target, &whole) != FIT_WELL)
            drift_note(&encoder->drift, slice_str(value->path), DRIFT_TEXT, literal);
    }
}
