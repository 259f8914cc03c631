/* buf.h - owned, growing bytes. Always NUL-terminated behind len, so that ptr is also a C string.
 *
 * Memory that cannot be had aborts; growth from foreign input must be checked against a limit first. */
#ifndef ST_BASE_BUF_H
#define ST_BASE_BUF_H

#include "base/error.h"
#include "base/slice.h"

struct buf {
    char *ptr; /* never NULL after an append; owned */
    size_t len;
    size_t cap;
};

#define BUF_INIT ((struct buf){NULL, 0, 0})

void buf_release(struct buf *b); /* frees; the buf is BUF_INIT again */
static inline void buf_clear(struct buf *b)
{
    b->len = 0;
    if (b->ptr)
        b->ptr[0] = '\0';
}
void buf_reserve(struct buf *b, size_t more); /* room for `more` further bytes */
void buf_append(struct buf *b, const void *ptr, size_t len);
void buf_append_slice(struct buf *b, struct slice s);
void buf_append_str(struct buf *b, const char *text);
void buf_append_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(struct buf *b, const char *fmt, va_list args) PRINTF_LIKE(2, 0);
/* JSON string with quotes and escapes; bytes that are not UTF-8 become U+FFFD. */
void buf_append_json_string(struct buf *b, struct slice s);
/* Percent-encodes everything but RFC 3986 unreserved characters. */
void buf_append_url_escaped(struct buf *b, struct slice s);
static inline struct slice buf_slice(const struct buf *b)
{
    return slice_of(b->ptr, b->len);
}
/* "" for an empty buf; valid until the next append. */
static inline const char *buf_cstr(const struct buf *b)
{
    return b->ptr ? b->ptr : "";
}
/* Hands the bytes to the caller (free with free()); the buf is empty again. Never NULL. */
char *buf_detach(struct buf *b);

/* malloc family that aborts when there is no memory. */
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *ptr, size_t size);
char *xstrdup(const char *text);
char *xstrndup(const char *ptr, size_t len);
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);

#endif
