/* st_out.h - writes generated records as JSON, straight into memory that was reserved for a whole record.
 *
 * A record type is a table of fields: key, writer, offset of the value in the type's struct. Texts are kept
 * JSON-escaped, so nothing is escaped while writing. One thread per struct st_out. */
#ifndef ST_LOCAL_ST_OUT_H
#define ST_LOCAL_ST_OUT_H

#include "base/buf.h"
#include "st_time.h"

#define ST_NULL INT64_MIN /* null id or number */

enum {
    ST_RECORD_MAX_BYTES = 64 * 1024, /* of one record; the models stay far below */
    ST_TEXT_PARTS = 4,
};

struct st_out {
    char *p;
    int64_t day; /* of day_text; timestamps come in order of days, mostly */
    char day_text[10];
    bool day_known;
};

struct st_decimal { /* units * 10^-scale, followed by `zeros` further zeros; null when null is set */
    int64_t units;
    uint8_t scale;
    uint8_t zeros;
    bool null;
};
struct st_text { /* parts written one after the other; null when the first part has no pointer */
    struct slice part[ST_TEXT_PARTS];
};
struct st_named {
    int64_t id; /* ST_NULL: the whole object is null */
    struct st_text name;
};

typedef void st_put_fn(struct st_out *out, const void *value);
struct st_field {
    struct slice key; /* "\"name\":" */
    st_put_fn *put;
    size_t offset;
};
#define ST_LIT(text)                                                                                                   \
    {                                                                                                                  \
        "" text, sizeof(text) - 1                                                                                      \
    } /* a slice in a static table */
#define ST_FIELD(name, put, type, member)                                                                              \
    {                                                                                                                  \
        ST_LIT("\"" name "\":"), put, offsetof(type, member)                                                           \
    }
#define ST_COUNT(array) (sizeof(array) / sizeof((array)[0]))

static inline void st_raw(struct st_out *out, struct slice s)
{
    memcpy(out->p, s.ptr, s.len);
    out->p += s.len;
}
#define ST_RAW(out, literal) st_raw((out), SLICE_LIT(literal))

void st_put_int(struct st_out *out, const void *int64);       /* ST_NULL: null */
void st_put_digits(struct st_out *out, const void *int64);    /* quoted; ST_NULL: null */
void st_put_bool(struct st_out *out, const void *int8);       /* negative: null */
void st_put_time(struct st_out *out, const void *ticks);      /* ST_NO_TIME: null; 0..7 fraction digits */
void st_put_decimal(struct st_out *out, const void *decimal); /* JSON number */
void st_put_money(struct st_out *out, const void *decimal);   /* the same as text */
void st_put_text(struct st_out *out, const void *text);       /* struct st_text */
void st_put_json(struct st_out *out, const void *slice);      /* struct slice, written as it is; no pointer: null */
void st_put_named(struct st_out *out, const void *named);     /* {"id":, "name":} */
void st_put_fields(struct st_out *out, const struct st_field *fields, size_t count, const void *base); /* with braces */
void st_put_number(struct st_out *out, int64_t number);

static inline struct st_text st_text1(struct slice a)
{
    return (struct st_text){{a, SLICE_NULL, SLICE_NULL, SLICE_NULL}};
}
static inline struct st_text st_text2(struct slice a, struct slice b)
{
    return (struct st_text){{a, b, SLICE_NULL, SLICE_NULL}};
}
static inline struct st_text st_text3(struct slice a, struct slice b, struct slice c)
{
    return (struct st_text){{a, b, c, SLICE_NULL}};
}
#define ST_NO_TEXT ((struct st_text){{SLICE_NULL, SLICE_NULL, SLICE_NULL, SLICE_NULL}})
static inline struct st_decimal st_cents(int64_t cents)
{
    return (struct st_decimal){cents, 2, 0, false};
}
#define ST_NO_DECIMAL ((struct st_decimal){0, 0, 0, true})

#endif
