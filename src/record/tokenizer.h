/* tokenizer.h - a streaming JSON tokenizer over text that lies whole in memory; keeps number text, builds nothing.
 *
 * Strict RFC 8259 and UTF-8, depth bounded by PAGE_MAX_DEPTH. A cursor walks forward; the first problem stays in it.
 * `spaced` remembers that insignificant white space was met, so that a caller knows whether a stretch of text is
 * compact already. */
#ifndef ST_RECORD_TOKENIZER_H
#define ST_RECORD_TOKENIZER_H

#include "base/buf.h"

enum token_kind {
    TOKEN_BAD, /* no value begins here */
    TOKEN_OBJECT,
    TOKEN_ARRAY,
    TOKEN_STRING,
    TOKEN_NUMBER,
    TOKEN_TRUE,
    TOKEN_FALSE,
    TOKEN_NULL,
};

struct cursor {
    const char *at, *end, *start;
    const char *problem; /* static text; NULL = none so far; `at` is where */
    int depth;           /* containers around `at` */
    bool spaced;
};

struct token_text {
    struct slice raw; /* between the quotes, as written */
    bool escaped;     /* raw holds a backslash */
};

void cursor_init(struct cursor *cursor, struct slice text);
/* Records the problem (the first one wins) and returns false. */
bool cursor_fail(struct cursor *cursor, const char *problem);
/* What value begins here, by its first character. */
enum token_kind token_peek(const struct cursor *cursor);
/* Each takes one token at the cursor and moves behind it. */
bool token_string(struct cursor *cursor, struct token_text *ret);
bool token_number(struct cursor *cursor, struct slice *ret);
bool token_literal(struct cursor *cursor, enum token_kind kind); /* true, false, null */
/* Any value, checked through and through. */
bool token_skip(struct cursor *cursor);
/* In and out of containers, counting depth. */
bool token_enter(struct cursor *cursor);
void token_leave(struct cursor *cursor);
/* The comma or closing bracket behind a member: *ret_more tells which. Both are taken, with the white space around. */
bool token_next(struct cursor *cursor, char close, bool *ret_more);
/* `"name" :` with the white space around. */
bool token_name(struct cursor *cursor, struct token_text *ret);

void token_space_slow(struct cursor *cursor);

static inline void token_space(struct cursor *cursor)
{
    if (cursor->at < cursor->end && (unsigned char)*cursor->at <= ' ')
        token_space_slow(cursor);
}

/* Appends the text with its escapes decoded. False: it had a lone surrogate or U+0000, which became U+FFFD. */
bool text_unescape(struct buf *out, struct slice raw);
/* Is there a lone surrogate or U+0000 among the escapes? */
bool text_is_sound(struct slice raw);
/* Appends a checked JSON value without insignificant white space. */
void token_compact(struct buf *out, struct slice value);

#endif
