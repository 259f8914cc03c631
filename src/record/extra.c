/* extra.c - see extra.h. */
#include "extra.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "number.h"
#include "tokenizer.h"

void extra_clear(struct extra *extra)
{
    buf_clear(&extra->json);
    extra->count = 0;
}

void extra_release(struct extra *extra)
{
    buf_release(&extra->json);
}

/* The source of a JSON text, between its quotes, as the content of a JSON text. */
static void copy_source_text(struct buf *out, struct slice raw)
{
    for (size_t i = 0; i < raw.len; i++) {
        if (raw.ptr[i] == '\\' || raw.ptr[i] == '"')
            buf_append_char(out, '\\');
        buf_append_char(out, raw.ptr[i]);
    }
}

static const char *copy_text(struct buf *out, const char *at, bool *sound)
{
    const char *end = at + 1;
    bool escaped = false;
    for (; *end != '"'; end++) {
        escaped |= *end == '\\';
        end += *end == '\\';
    }
    struct slice raw = slice_of(at + 1, (size_t)(end - at - 1));
    bool good = !escaped || text_is_sound(raw);
    *sound &= good;
    buf_append_char(out, '"');
    if (good)
        buf_append_slice(out, raw);
    else
        copy_source_text(out, raw);
    buf_append_char(out, '"');
    return end + 1;
}

static bool is_number_char(char c)
{
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

static const char *copy_number(struct buf *out, const char *at, const char *end)
{
    const char *start = at;
    while (at < end && is_number_char(*at))
        at++;
    struct slice number = slice_of(start, (size_t)(at - start));
    bool fits = number_fits_json(number);
    if (!fits)
        buf_append_char(out, '"');
    buf_append_slice(out, number);
    if (!fits)
        buf_append_char(out, '"');
    return at;
}

bool json_copy(struct buf *out, struct slice value)
{
    const char *at = value.ptr, *end = value.ptr + value.len;
    bool sound = true;
    buf_reserve(out, value.len + 2);
    while (at < end) {
        if (*at == '"') {
            at = copy_text(out, at, &sound);
        } else if (*at == '-' || (*at >= '0' && *at <= '9')) {
            at = copy_number(out, at, end);
        } else if ((unsigned char)*at <= ' ') {
            at++;
        } else if (*at >= 'a' && *at <= 'z') { /* a word: its 'e' is no exponent */
            while (at < end && *at >= 'a' && *at <= 'z')
                buf_append_char(out, *at++);
        } else {
            buf_append_char(out, *at++);
        }
    }
    return sound;
}

enum extra_result extra_add(struct extra *extra, struct slice path, struct slice value, bool *ret_sound)
{
    uint64_t key = XXH3_64bits(path.ptr, path.len);
    for (size_t i = 0; i < extra->count; i++) {
        if (extra->keys[i] == key)
            return EXTRA_TWICE;
    }
    if (extra->count == EXTRA_MAX_VALUES)
        return EXTRA_FULL;
    buf_append_char(&extra->json, extra->count ? ',' : '{');
    buf_append_json_string(&extra->json, path);
    buf_append_char(&extra->json, ':');
    *ret_sound = json_copy(&extra->json, value);
    extra->keys[extra->count++] = key;
    return EXTRA_ADDED;
}
