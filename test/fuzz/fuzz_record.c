/* fuzz_record.c - the encoder against json-c: the same record, two ways of reading it, every value compared.
 *
 * The first byte of the input chooses the entity, the rest is the record. What the encoder calls malformed json-c must
 * refuse too, and the other way round, but for what json-c takes although it is not JSON: NaN and Infinity, single
 * quotes, control characters, and numbers like "12.". Row bytes are decoded by test code and compared with
 * json-c's tree: texts by their bytes, integers by value (those that json-c saturates must be NULL), decimals by the
 * digits of the literal that json-c keeps, rounded by a second implementation. The registry is
 * config/schema_registry.json below $ST_ROOT or here. */
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>

#include <json-c/json.h>

#include "../unit/record/row_view.h"
#include "fuzz_replay.h"
#include "record/encoder.h"
#include "record/page.h"

/* ---- Decimals, a second time ------------------------------------------------------------------------------------- */

enum { PLACES = 80, EXPONENT_LIMIT = 60 };

/* Fixed point: PLACES digits before and behind the point. False: too large for that, or not a number. */
static bool fixed_point(const char *text, size_t len, char digits[2 * PLACES], bool *negative)
{
    size_t i = 0, whole = 0;
    long exponent = 0;
    memset(digits, '0', 2 * PLACES);
    *negative = len > 0 && text[0] == '-';
    i += *negative;
    size_t mantissa_end = i;
    while (mantissa_end < len && text[mantissa_end] != 'e' && text[mantissa_end] != 'E')
        mantissa_end++;
    if (mantissa_end < len) {
        char copy[16] = "";
        if (len - mantissa_end - 1 >= sizeof copy)
            return false;
        memcpy(copy, text + mantissa_end + 1, len - mantissa_end - 1);
        exponent = strtol(copy, NULL, 10);
        if (labs(exponent) > EXPONENT_LIMIT)
            return false;
    }
    while (i + whole < mantissa_end && text[i + whole] != '.')
        whole++;
    long place = PLACES - (long)whole - exponent;
    for (; i < mantissa_end; i++) {
        if (text[i] == '.')
            continue;
        if (text[i] < '0' || text[i] > '9' || ((place < 0 || place >= 2 * PLACES) && text[i] != '0'))
            return false;
        if (place >= 0 && place < 2 * PLACES)
            digits[place] = text[i];
        place++;
    }
    return true;
}

/* Half to even at the ninth decimal. */
static void round_fixed(char digits[2 * PLACES])
{
    char *cut = digits + PLACES + 9, *end = digits + 2 * PLACES;
    bool beyond = false;
    for (char *c = cut + 1; c < end; c++)
        beyond |= *c != '0';
    bool up = *cut > '5' || (*cut == '5' && (beyond || (cut[-1] - '0') % 2 == 1));
    memset(cut, '0', (size_t)(end - cut));
    for (char *c = cut - 1; up && c >= digits; c--) {
        up = *c == '9';
        *c = up ? '0' : (char)(*c + 1);
    }
}

static bool is_zero(const char *digits, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (digits[i] != '0')
            return false;
    }
    return true;
}

static void check_numeric(const char *literal, size_t len, const struct wire_field *found, const char *column)
{
    char expected[2 * PLACES], actual[2 * PLACES];
    bool negative, minus;
    if (!fixed_point(literal, len, expected, &negative))
        return;
    round_fixed(expected);
    bool fits = is_zero(expected, PLACES - 29);
    if (!fits != !found)
        BUG("%s: '%.*s' fits: %d, but is there: %d", column, (int)len, literal, fits, found != NULL);
    if (!found)
        return;
    if (!fixed_point(found->bytes.ptr, found->bytes.len, actual, &minus) ||
        memcmp(expected, actual, sizeof actual) != 0)
        BUG("%s: '%.*s' became '%.*s'", column, (int)len, literal, SLICE_ARG(found->bytes));
    if (!is_zero(expected, sizeof expected) && minus != negative)
        BUG("%s: '%.*s' lost its sign", column, (int)len, literal);
}

/* ---- Columns ----------------------------------------------------------------------------------------------------- */

/* The value at a source path; NULL when there is none or it is null. */
static struct json_object *value_at(struct json_object *at, const char *path)
{
    while (at && *path) {
        size_t len = strcspn(path, ".[");
        char *name = xstrndup(path, len);
        struct json_object *next = NULL;
        if (!json_object_is_type(at, json_type_object) || !json_object_object_get_ex(at, name, &next))
            next = NULL;
        free(name);
        at = next;
        for (path += len; *path == '['; path += 3)
            at = json_object_is_type(at, json_type_array) ? json_object_array_get_idx(at, (size_t)(path[1] - '0'))
                                                          : NULL;
        path += *path == '.';
    }
    return at;
}

/* The literal of a number that json-c keeps as text, or the content of a text. */
static struct slice literal_of(struct json_object *value)
{
    if (json_object_is_type(value, json_type_string))
        return slice_of(json_object_get_string(value), (size_t)json_object_get_string_len(value));
    return slice_str(json_object_to_json_string(value));
}

static void check_int64(struct json_object *value, const struct wire_field *found, const char *column)
{
    if (json_object_is_type(value, json_type_int)) {
        int64_t seen = json_object_get_int64(value);
        bool edge = seen == INT64_MAX || seen == INT64_MIN;
        if (found && (int64_t)found->scalar != seen)
            BUG("%s: %lld became %lld", column, (long long)seen, (long long)found->scalar);
        if (!found && !edge)
            BUG("%s: %lld was lost", column, (long long)seen);
    } else if (found && !json_object_is_type(value, json_type_double) &&
               !json_object_is_type(value, json_type_string)) {
        BUG("%s: an integer out of nothing", column);
    } else if (found) {
        char expected[2 * PLACES], actual[2 * PLACES], text[32];
        bool a, b;
        struct slice literal = literal_of(value);
        snprintf(text, sizeof text, "%lld", (long long)found->scalar);
        if (fixed_point(literal.ptr, literal.len, expected, &a) && fixed_point(text, strlen(text), actual, &b) &&
            memcmp(expected, actual, sizeof actual) != 0)
            BUG("%s: '%.*s' became %s", column, SLICE_ARG(literal), text);
    }
}

static void check_string(struct json_object *value, const struct wire_field *found, const char *column)
{
    if (!json_object_is_type(value, json_type_string))
        return; /* numbers and words keep their literal, which json-c does not always have */
    struct slice text = literal_of(value);
    if (!found)
        BUG("%s: a text was lost", column);
    if (memchr(text.ptr, '\0', text.len) || memmem(text.ptr, text.len, "\xef\xbf\xbd", 3))
        return; /* replaced characters: how many differs */
    if (!slice_eq(text, found->bytes))
        BUG("%s: '%.*s' became '%.*s'", column, SLICE_ARG(text), SLICE_ARG(found->bytes));
}

static void check_bool(struct json_object *value, const struct wire_field *found, const char *column)
{
    bool is_bool = json_object_is_type(value, json_type_boolean);
    if (is_bool && (!found || (found->scalar != 0) != json_object_get_boolean(value)))
        BUG("%s: a truth value changed", column);
}

static void check_double(struct json_object *value, const struct wire_field *found, const char *column)
{
    if (!json_object_is_type(value, json_type_double) && !json_object_is_type(value, json_type_string))
        return;
    double actual, expected = strtod(literal_of(value).ptr, NULL);
    if (!found)
        return;
    memcpy(&actual, &found->scalar, sizeof actual);
    if (memcmp(&actual, &expected, sizeof actual) != 0)
        BUG("%s: '%s' became %.17g", column, literal_of(value).ptr, actual);
}

static void check_columns(const struct column *columns, size_t count, struct slice row, struct json_object *object);

static void check_one(const struct column *column, struct json_object *value, const struct wire_field *found)
{
    struct slice literal;
    switch (column->type) {
    case COLUMN_INT64:
        check_int64(value, found, column->name);
        break;
    case COLUMN_STRING:
        check_string(value, found, column->name);
        break;
    case COLUMN_BOOL:
        check_bool(value, found, column->name);
        break;
    case COLUMN_FLOAT64:
        check_double(value, found, column->name);
        break;
    case COLUMN_NUMERIC:
        literal = literal_of(value);
        if (json_object_is_type(value, json_type_double))
            check_numeric(literal.ptr, literal.len, found, column->name);
        else if (json_object_is_type(value, json_type_int) && literal.len < 19)
            check_numeric(literal.ptr, literal.len, found, column->name);
        break;
    case COLUMN_STRUCT:
        if (json_object_is_type(value, json_type_object) != (found != NULL))
            BUG("%s: an object came or went", column->name);
        if (found)
            check_columns(column->fields, column->field_count, found->bytes, value);
        break;
    case COLUMN_TIMESTAMP:
    case COLUMN_DATE:
        if (found && !json_object_is_type(value, json_type_string))
            BUG("%s: a time out of nothing", column->name);
        break;
    case COLUMN_JSON:
        break;
    }
}

/* The n-th value of a field in a message. */
static bool field_at(struct slice message, uint64_t number, size_t n, struct wire_field *ret)
{
    struct wire_field field = {0};
    while (message.len > 0) {
        if (!wire_next(&message, &field))
            BUG("the row is not protobuf");
        if (field.number == number && n-- == 0) {
            *ret = field;
            return true;
        }
    }
    return false;
}

static void check_list(const struct column *column, uint64_t number, struct slice row, struct json_object *value)
{
    struct wire_field field = {0};
    size_t at = 0;
    bool list = json_object_is_type(value, json_type_array);
    for (size_t i = 0; list && column->type == COLUMN_STRUCT && i < json_object_array_length(value); i++) {
        struct json_object *element = json_object_array_get_idx(value, i);
        if (!json_object_is_type(element, json_type_object))
            continue;
        if (!field_at(row, number, at++, &field))
            BUG("%s: element %zu was lost", column->name, i);
        check_one(column, element, &field);
    }
    if ((!list || column->type == COLUMN_STRUCT) && field_at(row, number, at, &field))
        BUG("%s: elements out of nothing", column->name);
}

static void check_columns(const struct column *columns, size_t count, struct slice row, struct json_object *object)
{
    for (size_t i = 0; i < count; i++) {
        struct wire_field field = {0}, second;
        struct json_object *value = value_at(object, columns[i].source);
        if (columns[i].mode == COLUMN_REPEATED) {
            check_list(&columns[i], i + 1, row, value);
            continue;
        }
        bool found = field_at(row, i + 1, 0, &field);
        if (found && field_at(row, i + 1, 1, &second))
            BUG("%s: there twice", columns[i].name);
        if (found && !value && columns[i].mode != COLUMN_REQUIRED)
            BUG("%s: a value out of nothing", columns[i].name);
        if (value)
            check_one(&columns[i], value, found ? &field : NULL);
    }
}

/* ---- Records ----------------------------------------------------------------------------------------------------- */

static const struct registry *project_registry(void)
{
    static struct registry *registry;
    if (registry)
        return registry;
    const char *root = getenv("ST_ROOT");
    struct error err = ERROR_INIT;
    char *path = xasprintf("%s/config/schema_registry.json", root ? root : ".");
    registry = registry_load(path, &err);
    if (!registry)
        BUG("%s", err.message);
    free(path);
    return registry;
}

static struct json_object *parse(struct slice text)
{
    struct json_tokener *tokener = json_tokener_new_ex(PAGE_MAX_DEPTH + 1);
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    struct json_object *object = json_tokener_parse_ex(tokener, text.ptr, (int)text.len);
    if (json_tokener_get_error(tokener) != json_tokener_success) {
        json_object_put(object);
        object = NULL;
    }
    json_tokener_free(tokener);
    return object;
}

/* Bytes with which json-c takes what is not JSON: control characters, single quotes, NaN and Infinity. */
static bool may_be_lax(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c < 0x20 || c == '\'' || c == 'N' || c == 'I')
            return true;
    }
    return false;
}

/* json-c also takes "12." and the like: where a number was called malformed, RFC 8259's grammar has the word. */
static void check_number_refusal(const char *reason, struct slice record)
{
    static const char grammar[] = "^-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?([^-+.0-9a-zA-Z]|$)";
    regex_t regex;
    size_t at = strtoul(strstr(reason, " at byte ") + strlen(" at byte "), NULL, 10);
    char *rest = xstrndup(record.ptr + at, record.len - at);
    if (regcomp(&regex, grammar, REG_EXTENDED | REG_NOSUB) != 0)
        BUG("the grammar does not compile");
    if (regexec(&regex, rest, 0, NULL, 0) == 0)
        BUG("%s, but it is a number: %.*s", reason, SLICE_ARG(record));
    regfree(&regex);
    free(rest);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    static const struct row_context context = {1, "11111111-2222-4333-8444-555555555555", 1, 0, false};
    const struct registry *registry = project_registry();
    if (size < 2)
        return 0;
    const struct entity *entity = registry_at(registry, input[0] % registry_count(registry));
    struct slice record = slice_of(input + 1, size - 1);
    struct record_encoder *encoder = record_encoder_new(entity, &context);
    struct buf row = BUF_INIT;
    struct row_info info, peeked;
    bool encoded = record_encode(encoder, record, &row, &info) == ROW_ENCODED;
    bool malformed = !encoded && strstr(info.reason, " at byte ");
    struct json_object *object = parse(record);
    if (encoded && !json_object_is_type(object, json_type_object))
        BUG("encoded, but json-c refuses it: %.*s", SLICE_ARG(record));
    if (malformed && strstr(info.reason, "malformed number"))
        check_number_refusal(info.reason, record);
    else if (malformed && object && !may_be_lax(record))
        BUG("%s, but json-c takes it: %.*s", info.reason, SLICE_ARG(record));
    if (encoded && (!record_peek(entity, record, &peeked)))
        BUG("encoded, but not seen: %.*s", SLICE_ARG(record));
    if (encoded)
        check_columns(entity->stage.columns, entity->source_column_count, buf_slice(&row), object);
    if (!encoded && row.len > 0)
        BUG("a refused record left bytes");
    json_object_put(object);
    buf_release(&row);
    record_encoder_free(encoder);
    return 0;
}
