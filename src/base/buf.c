#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

enum { BUF_FIRST_BYTES = 64 };

void *xmalloc(size_t size)
{
    void *ptr = malloc(size ? size : 1);
    if (!ptr)
        BUG("no memory for %zu bytes", size);
    return ptr;
}

void *xcalloc(size_t count, size_t size)
{
    void *ptr = calloc(count ? count : 1, size ? size : 1);
    if (!ptr)
        BUG("no memory for %zu x %zu bytes", count, size);
    return ptr;
}

void *xrealloc(void *ptr, size_t size)
{
    void *moved = realloc(ptr, size ? size : 1);
    if (!moved)
        BUG("no memory for %zu bytes", size);
    return moved;
}

char *xstrndup(const char *ptr, size_t len)
{
    char *copy = xmalloc(len + 1);
    if (len > 0)
        memcpy(copy, ptr, len);
    copy[len] = '\0';
    return copy;
}

char *xstrdup(const char *text)
{
    return xstrndup(text, strlen(text));
}

char *xasprintf(const char *fmt, ...)
{
    struct buf b = BUF_INIT;
    va_list args;
    va_start(args, fmt);
    buf_vprintf(&b, fmt, args);
    va_end(args);
    return buf_detach(&b);
}

void buf_release(struct buf *b)
{
    free(b->ptr);
    *b = BUF_INIT;
}

void buf_reserve(struct buf *b, size_t more)
{
    if (more >= SIZE_MAX / 2 || b->len + more >= SIZE_MAX / 2)
        BUG("a buffer of %zu + %zu bytes", b->len, more);
    size_t needed = b->len + more + 1;
    if (needed <= b->cap)
        return;
    size_t cap = b->cap ? b->cap : BUF_FIRST_BYTES;
    while (cap < needed)
        cap *= 2;
    b->ptr = xrealloc(b->ptr, cap);
    b->cap = cap;
}

void buf_append(struct buf *b, const void *ptr, size_t len)
{
    buf_reserve(b, len);
    if (len > 0)
        memcpy(b->ptr + b->len, ptr, len);
    b->len += len;
    b->ptr[b->len] = '\0';
}

void buf_append_slice(struct buf *b, struct slice s)
{
    buf_append(b, s.ptr, s.len);
}

void buf_append_str(struct buf *b, const char *text)
{
    buf_append(b, text, strlen(text));
}

void buf_append_char(struct buf *b, char c)
{
    buf_append(b, &c, 1);
}

void buf_vprintf(struct buf *b, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    buf_reserve(b, BUF_FIRST_BYTES);
    size_t room = b->cap - b->len;
    int needed = vsnprintf(b->ptr + b->len, room, fmt, args);
    BUG_ON(needed < 0);
    if ((size_t)needed >= room) {
        buf_reserve(b, (size_t)needed);
        vsnprintf(b->ptr + b->len, (size_t)needed + 1, fmt, again);
    }
    b->len += (size_t)needed;
    va_end(again);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    buf_vprintf(b, fmt, args);
    va_end(args);
}

static void append_json_char(struct buf *b, unsigned char c)
{
    switch (c) {
    case '"':
        buf_append_str(b, "\\\"");
        break;
    case '\\':
        buf_append_str(b, "\\\\");
        break;
    case '\n':
        buf_append_str(b, "\\n");
        break;
    case '\r':
        buf_append_str(b, "\\r");
        break;
    case '\t':
        buf_append_str(b, "\\t");
        break;
    default:
        if (c < 0x20 || c == 0x7F)
            buf_printf(b, "\\u%04x", c);
        else
            buf_append_char(b, (char)c);
    }
}

/* Length of the longest well-formed start of s: whole when it is UTF-8, else up to the first bad byte. */
static size_t utf8_prefix(struct slice s)
{
    size_t good = 0;
    while (good < s.len) {
        size_t step = 1;
        while (step <= 4 && good + step <= s.len && !slice_is_utf8(slice_of(s.ptr + good, step)))
            step++;
        if (step > 4 || good + step > s.len)
            break;
        good += step;
    }
    return good;
}

static void append_json_text(struct buf *b, struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        append_json_char(b, (unsigned char)s.ptr[i]);
}

void buf_append_json_string(struct buf *b, struct slice s)
{
    buf_append_char(b, '"');
    if (slice_is_utf8(s)) {
        append_json_text(b, s);
    } else {
        while (s.len > 0) {
            size_t good = utf8_prefix(s);
            append_json_text(b, slice_of(s.ptr, good));
            s = slice_of(s.ptr + good, s.len - good);
            if (s.len > 0) {
                buf_append_str(b, "\xEF\xBF\xBD");
                s = slice_of(s.ptr + 1, s.len - 1);
            }
        }
    }
    buf_append_char(b, '"');
}

static bool is_unreserved(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

void buf_append_url_escaped(struct buf *b, struct slice s)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (is_unreserved(c)) {
            buf_append_char(b, (char)c);
        } else {
            char escaped[3] = {'%', hex[c >> 4], hex[c & 15]};
            buf_append(b, escaped, sizeof escaped);
        }
    }
}

char *buf_detach(struct buf *b)
{
    buf_reserve(b, 0);
    b->ptr[b->len] = '\0';
    char *ptr = b->ptr;
    *b = BUF_INIT;
    return ptr;
}
