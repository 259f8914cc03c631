/* slice.h - borrowed text: a pointer and a length, passed by value. Not NUL-terminated. */
#ifndef ST_BASE_SLICE_H
#define ST_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const char *ptr;
    size_t len;
};

#define SLICE_NULL ((struct slice){NULL, 0})
#define SLICE_LIT(text) ((struct slice){"" text, sizeof(text) - 1})
/* For printf("%.*s", SLICE_ARG(s)). */
#define SLICE_ARG(s) (int)(s).len, ((s).ptr ? (s).ptr : "")

static inline struct slice slice_of(const void *ptr, size_t len)
{
    return (struct slice){ptr, len};
}
static inline struct slice slice_str(const char *text)
{
    return (struct slice){text, text ? strlen(text) : 0};
}
static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
static inline bool slice_eq_str(struct slice a, const char *text)
{
    return slice_eq(a, slice_str(text));
}

/* Of one hex digit; -1: it is none. */
static inline int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool slice_eq_nocase(struct slice a, struct slice b); /* ASCII case only */
bool slice_starts_with(struct slice s, struct slice prefix);
struct slice slice_trim(struct slice s); /* ASCII white space at both ends */
/* Cuts at the first `sep`: returns what stands before it and leaves the rest in *s (empty when none was found). */
struct slice slice_cut(struct slice *s, char sep);
/* Decimal int64, whole slice, optional '-'. False on anything else or overflow; *ret untouched then. */
bool slice_to_int64(struct slice s, int64_t *ret);
/* True for well-formed UTF-8 (no surrogates, no overlong forms, <= U+10FFFF). */
bool slice_is_utf8(struct slice s);

#endif
