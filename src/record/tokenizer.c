/* tokenizer.c - tokens of JSON text.
 *
 * Strings are most of a record, so they are scanned sixteen bytes at a time where the machine can (SSE2 is in every
 * x86-64), else byte by byte; both ways check the same. Nothing is copied or converted here. Pure functions on a
 * cursor; one thread each. */
#include "tokenizer.h"

#include "record/page.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { HEX_DIGITS = 4 };

void cursor_init(struct cursor *cursor, struct slice text)
{
    *cursor = (struct cursor){.at = text.ptr, .end = text.ptr + text.len, .start = text.ptr};
}

bool cursor_fail(struct cursor *cursor, const char *problem)
{
    if (!cursor->problem)
        cursor->problem = problem;
    return false;
}

void token_space_slow(struct cursor *cursor)
{
    const char *at = cursor->at;
    while (at < cursor->end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
        at++;
    cursor->spaced |= at != cursor->at;
    cursor->at = at;
}

enum token_kind token_peek(const struct cursor *cursor)
{
    static const unsigned char kinds[256] = {
        ['{'] = TOKEN_OBJECT, ['['] = TOKEN_ARRAY,  ['"'] = TOKEN_STRING, ['-'] = TOKEN_NUMBER, ['0'] = TOKEN_NUMBER,
        ['1'] = TOKEN_NUMBER, ['2'] = TOKEN_NUMBER, ['3'] = TOKEN_NUMBER, ['4'] = TOKEN_NUMBER, ['5'] = TOKEN_NUMBER,
        ['6'] = TOKEN_NUMBER, ['7'] = TOKEN_NUMBER, ['8'] = TOKEN_NUMBER, ['9'] = TOKEN_NUMBER, ['t'] = TOKEN_TRUE,
        ['f'] = TOKEN_FALSE,  ['n'] = TOKEN_NULL,
    };
    return cursor->at < cursor->end ? (enum token_kind)kinds[(unsigned char)*cursor->at] : TOKEN_BAD;
}

/* ---- Strings ----------------------------------------------------------------------------------------------------- */

/* Moves to the next quote, backslash or control character. *high: bytes beyond ASCII were passed. */
static const char *plain_end(const char *at, const char *end, bool *high)
{
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'), control = _mm_set1_epi8(0x1f);
    while (end - at >= 16) {
        __m128i block = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(block, quote), _mm_cmpeq_epi8(block, backslash));
        stop = _mm_or_si128(stop, _mm_cmpeq_epi8(_mm_min_epu8(block, control), block));
        unsigned stops = (unsigned)_mm_movemask_epi8(stop), highs = (unsigned)_mm_movemask_epi8(block);
        if (stops) {
            unsigned before = (stops & -stops) - 1;
            *high |= (highs & before) != 0;
            return at + __builtin_ctz(stops);
        }
        *high |= highs != 0;
        at += 16;
    }
#endif
    for (; at < end; at++) {
        unsigned char c = (unsigned char)*at;
        if (c == '"' || c == '\\' || c < 0x20)
            return at;
        *high |= c >= 0x80;
    }
    return end;
}

/* Four hex digits; -1 when they are not. */
static int hex4(const char *at, const char *end)
{
    if (end - at < HEX_DIGITS)
        return -1;
    int value = 0;
    for (int i = 0; i < HEX_DIGITS; i++) {
        int digit = hex_value(at[i]);
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* Length of the escape at `at` (a backslash), 0 when it is none. */
static size_t escape_length(const char *at, const char *end)
{
    if (end - at < 2)
        return 0;
    if (at[1] == 'u')
        return hex4(at + 2, end) < 0 ? 0 : 2 + HEX_DIGITS;
    return at[1] && strchr("\"\\/bfnrt", at[1]) ? 2 : 0;
}

bool token_string(struct cursor *cursor, struct token_text *ret)
{
    const char *start = cursor->at + 1, *at = start, *end = cursor->end;
    bool high = false, escaped = false;
    if (cursor->at >= end || *cursor->at != '"')
        return cursor_fail(cursor, "a text was expected");
    for (;;) {
        at = plain_end(at, end, &high);
        if (at == end)
            return cursor_fail(cursor, "a text has no end");
        if (*at == '"')
            break;
        size_t length = *at == '\\' ? escape_length(at, end) : 0;
        if (length == 0) {
            cursor->at = at;
            return cursor_fail(cursor, *at == '\\' ? "unknown escape" : "control character in a text");
        }
        escaped = true;
        at += length;
    }
    ret->raw = slice_of(start, (size_t)(at - start));
    ret->escaped = escaped;
    if (high && !slice_is_utf8(ret->raw))
        return cursor_fail(cursor, "a text is not UTF-8");
    cursor->at = at + 1;
    return true;
}

static void append_utf8(struct buf *out, int c)
{
    char bytes[4];
    size_t n;
    if (c < 0x80) {
        bytes[0] = (char)c;
        n = 1;
    } else if (c < 0x800) {
        bytes[0] = (char)(0xc0 | c >> 6);
        bytes[1] = (char)(0x80 | (c & 0x3f));
        n = 2;
    } else if (c < 0x10000) {
        bytes[0] = (char)(0xe0 | c >> 12);
        bytes[1] = (char)(0x80 | (c >> 6 & 0x3f));
        bytes[2] = (char)(0x80 | (c & 0x3f));
        n = 3;
    } else {
        bytes[0] = (char)(0xf0 | c >> 18);
        bytes[1] = (char)(0x80 | (c >> 12 & 0x3f));
        bytes[2] = (char)(0x80 | (c >> 6 & 0x3f));
        bytes[3] = (char)(0x80 | (c & 0x3f));
        n = 4;
    }
    buf_append(out, bytes, n);
}

/* The character of a checked \u escape at *at, which moves behind it (and behind the second half of a pair).
 * U+0000 and halves without their other half give -1. */
static int take_unicode(const char **at, const char *end)
{
    int c = hex4(*at + 2, end);
    *at += 2 + HEX_DIGITS;
    if (c < 0xd800 || c > 0xdfff)
        return c ? c : -1;
    if (c > 0xdbff || end - *at < 2 || (*at)[0] != '\\' || (*at)[1] != 'u')
        return -1;
    int low = hex4(*at + 2, end);
    if (low < 0xdc00 || low > 0xdfff)
        return -1;
    *at += 2 + HEX_DIGITS;
    return 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
}

static char simple_escape(char c)
{
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return c;
    }
}

bool text_unescape(struct buf *out, struct slice raw)
{
    enum { REPLACEMENT = 0xfffd };
    const char *at = raw.ptr, *end = raw.ptr + raw.len;
    bool sound = true;
    while (at < end) {
        const char *escape = memchr(at, '\\', (size_t)(end - at));
        size_t plain = (size_t)((escape ? escape : end) - at);
        buf_append(out, at, plain);
        at += plain;
        if (!escape)
            break;
        if (at[1] != 'u') {
            buf_append_char(out, simple_escape(at[1]));
            at += 2;
            continue;
        }
        int c = take_unicode(&at, end);
        sound &= c >= 0;
        append_utf8(out, c < 0 ? REPLACEMENT : c);
    }
    return sound;
}

bool text_is_sound(struct slice raw)
{
    const char *at = raw.ptr, *end = raw.ptr + raw.len;
    while (at < end && (at = memchr(at, '\\', (size_t)(end - at)))) {
        if (at[1] != 'u')
            at += 2;
        else if (take_unicode(&at, end) < 0)
            return false;
    }
    return true;
}

/* ---- Numbers and literals ---------------------------------------------------------------------------------------- */

static const char *digits_end(const char *at, const char *end)
{
    while (at < end && (unsigned char)(*at - '0') <= 9)
        at++;
    return at;
}

static const char *number_end(const char *at, const char *end)
{
    if (at < end && *at == '-')
        at++;
    const char *whole = at;
    at = digits_end(at, end);
    if (at == whole || (*whole == '0' && at - whole > 1))
        return NULL;
    if (at < end && *at == '.') {
        const char *fraction = at + 1;
        at = digits_end(fraction, end);
        if (at == fraction)
            return NULL;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-'))
            at++;
        const char *exponent = at;
        at = digits_end(at, end);
        if (at == exponent)
            return NULL;
    }
    return at;
}

bool token_number(struct cursor *cursor, struct slice *ret)
{
    const char *end = number_end(cursor->at, cursor->end);
    if (!end)
        return cursor_fail(cursor, "malformed number");
    *ret = slice_of(cursor->at, (size_t)(end - cursor->at));
    cursor->at = end;
    return true;
}

bool token_literal(struct cursor *cursor, enum token_kind kind)
{
    struct slice word = kind == TOKEN_TRUE    ? SLICE_LIT("true")
                        : kind == TOKEN_FALSE ? SLICE_LIT("false")
                                              : SLICE_LIT("null");
    if ((size_t)(cursor->end - cursor->at) < word.len || memcmp(cursor->at, word.ptr, word.len) != 0)
        return cursor_fail(cursor, "unknown word");
    cursor->at += word.len;
    return true;
}

/* ---- Structure --------------------------------------------------------------------------------------------------- */

bool token_enter(struct cursor *cursor)
{
    if (++cursor->depth > PAGE_MAX_DEPTH)
        return cursor_fail(cursor, "nested too deeply");
    cursor->at++;
    token_space(cursor);
    return true;
}

void token_leave(struct cursor *cursor)
{
    cursor->depth--;
}

bool token_next(struct cursor *cursor, char close, bool *ret_more)
{
    token_space(cursor);
    if (cursor->at >= cursor->end)
        return cursor_fail(cursor, "the text ends too early");
    if (*cursor->at == close) {
        cursor->at++;
        *ret_more = false;
        return true;
    }
    if (*cursor->at != ',')
        return cursor_fail(cursor, close == '}' ? "',' or '}' was expected" : "',' or ']' was expected");
    cursor->at++;
    token_space(cursor);
    *ret_more = true;
    return true;
}

bool token_name(struct cursor *cursor, struct token_text *ret)
{
    if (!token_string(cursor, ret))
        return false;
    token_space(cursor);
    if (cursor->at >= cursor->end || *cursor->at != ':')
        return cursor_fail(cursor, "':' was expected");
    cursor->at++;
    token_space(cursor);
    return true;
}

/* Recursion ends at PAGE_MAX_DEPTH. */
static bool skip_container(struct cursor *cursor, char close)
{
    struct token_text name;
    if (!token_enter(cursor))
        return false;
    bool more = !(cursor->at < cursor->end && *cursor->at == close);
    if (!more)
        cursor->at++;
    while (more) {
        if ((close == '}' && !token_name(cursor, &name)) || !token_skip(cursor) || !token_next(cursor, close, &more))
            return false;
    }
    token_leave(cursor);
    return true;
}

bool token_skip(struct cursor *cursor)
{
    struct token_text text;
    struct slice number;
    enum token_kind kind = token_peek(cursor);
    switch (kind) {
    case TOKEN_OBJECT:
        return skip_container(cursor, '}');
    case TOKEN_ARRAY:
        return skip_container(cursor, ']');
    case TOKEN_STRING:
        return token_string(cursor, &text);
    case TOKEN_NUMBER:
        return token_number(cursor, &number);
    case TOKEN_TRUE:
    case TOKEN_FALSE:
    case TOKEN_NULL:
        return token_literal(cursor, kind);
    case TOKEN_BAD:
        break;
    }
    return cursor_fail(cursor, "a value was expected");
}

void token_compact(struct buf *out, struct slice value)
{
    const char *at = value.ptr, *end = value.ptr + value.len;
    buf_reserve(out, value.len);
    while (at < end) {
        const char *start = at;
        if (*at == '"') {
            for (at++; *at != '"'; at++)
                at += *at == '\\';
            at++;
        } else {
            while (at < end && *at != '"' && (unsigned char)*at > ' ')
                at++;
        }
        buf_append(out, start, (size_t)(at - start));
        while (at < end && (unsigned char)*at <= ' ')
            at++;
    }
}
