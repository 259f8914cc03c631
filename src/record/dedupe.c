/* dedupe.c - see dedupe.h. JSON leaves open what a member that is there twice means; like json-c and most others we
 * take the last. It does not happen in practice, so the encoder only notices it, and this slow way puts it right.
 * Recursion ends at PAGE_MAX_DEPTH: the value has been checked before. */
#include "dedupe.h"

#include <stdlib.h>

#include "tokenizer.h"

struct member {
    struct slice name; /* decoded, in `names` */
    size_t name_at;
    struct slice whole, value;
    size_t order;
    bool replaced;
};

struct members {
    struct member *items;
    size_t count, cap;
    struct buf names;
};

static void copy_value(struct buf *out, struct cursor *cursor, const char **ret_replaced);

static int by_name(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    size_t shorter = x->name.len < y->name.len ? x->name.len : y->name.len;
    int order = shorter ? memcmp(x->name.ptr, y->name.ptr, shorter) : 0;
    if (order == 0)
        order = (x->name.len > y->name.len) - (x->name.len < y->name.len);
    return order ? order : (x->order > y->order) - (x->order < y->order);
}

static int by_order(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    return (x->order > y->order) - (x->order < y->order);
}

static void gather(struct members *members, struct cursor *cursor)
{
    bool more = token_enter(cursor) && *cursor->at != '}';
    if (!more)
        cursor->at++;
    while (more) {
        struct token_text name;
        struct member member = {.order = members->count, .name_at = members->names.len};
        const char *start = cursor->at;
        BUG_ON(!token_name(cursor, &name));
        text_unescape(&members->names, name.raw);
        member.name.len = members->names.len - member.name_at;
        const char *value = cursor->at;
        BUG_ON(!token_skip(cursor));
        member.whole = slice_of(start, (size_t)(value - start));
        member.value = slice_of(value, (size_t)(cursor->at - value));
        if (members->count == members->cap) {
            members->cap = members->cap ? members->cap * 2 : 16;
            members->items = xrealloc(members->items, members->cap * sizeof *members->items);
        }
        members->items[members->count++] = member;
        BUG_ON(!token_next(cursor, '}', &more));
    }
    token_leave(cursor);
}

static void mark_replaced(struct members *members)
{
    for (size_t i = 0; i < members->count; i++)
        members->items[i].name.ptr = members->names.ptr + members->items[i].name_at;
    if (members->count > 1)
        qsort(members->items, members->count, sizeof *members->items, by_name);
    for (size_t i = 0; i + 1 < members->count; i++)
        members->items[i].replaced = slice_eq(members->items[i].name, members->items[i + 1].name);
    if (members->count > 1)
        qsort(members->items, members->count, sizeof *members->items, by_order);
}

static void copy_object(struct buf *out, struct cursor *cursor, const char **ret_replaced)
{
    struct members members = {0};
    gather(&members, cursor);
    mark_replaced(&members);
    char separator = '{';
    for (size_t i = 0; i < members.count; i++) {
        const struct member *member = &members.items[i];
        if (member->replaced) {
            *ret_replaced = member->whole.ptr;
            continue;
        }
        struct cursor inner;
        cursor_init(&inner, member->value);
        buf_append_char(out, separator);
        buf_append_slice(out, member->whole);
        copy_value(out, &inner, ret_replaced);
        separator = ',';
    }
    if (separator == '{')
        buf_append_char(out, '{');
    buf_append_char(out, '}');
    buf_release(&members.names);
    free(members.items);
}

static void copy_array(struct buf *out, struct cursor *cursor, const char **ret_replaced)
{
    bool more = token_enter(cursor) && *cursor->at != ']';
    buf_append_char(out, '[');
    if (!more)
        cursor->at++;
    while (more) {
        copy_value(out, cursor, ret_replaced);
        BUG_ON(!token_next(cursor, ']', &more));
        if (more)
            buf_append_char(out, ',');
    }
    token_leave(cursor);
    buf_append_char(out, ']');
}

static void copy_value(struct buf *out, struct cursor *cursor, const char **ret_replaced)
{
    const char *start = cursor->at;
    switch (token_peek(cursor)) {
    case TOKEN_OBJECT:
        copy_object(out, cursor, ret_replaced);
        break;
    case TOKEN_ARRAY:
        copy_array(out, cursor, ret_replaced);
        break;
    default:
        BUG_ON(!token_skip(cursor));
        buf_append(out, start, (size_t)(cursor->at - start));
        break;
    }
}

const char *json_dedupe(struct buf *out, struct slice value)
{
    struct cursor cursor;
    const char *replaced = NULL;
    cursor_init(&cursor, value);
    token_space(&cursor);
    copy_value(out, &cursor, &replaced);
    return replaced;
}
