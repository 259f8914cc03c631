/* peek.c - the id and the times of a record, for reads that only look. */
#include "base/timestamp.h"
#include "number.h"
#include "record/encoder.h"
#include "tokenizer.h"

/* The first byte of a value decides; whatever does not parse counts as absent. */
static void peek_member(struct slice name, struct slice value, struct row_info *info)
{
    bool quoted = value.len >= 2 && value.ptr[0] == '"';
    struct slice text = quoted ? slice_of(value.ptr + 1, value.len - 2) : value;
    if (slice_eq(name, SLICE_LIT("id")))
        info->has_id = number_to_int64(text, &info->id);
    else if (quoted && slice_eq(name, SLICE_LIT("createdOn")))
        info->has_created = timestamp_parse(text, &info->created_us, NULL);
    else if (quoted && slice_eq(name, SLICE_LIT("modifiedOn")))
        info->has_modified = timestamp_parse(text, &info->modified_us, NULL);
}

bool record_peek(const struct entity *entity, struct slice record, struct row_info *info)
{
    struct cursor cursor;
    (void)entity; /* all entities have these three under the same names */
    *info = (struct row_info){0};
    cursor_init(&cursor, record);
    token_space(&cursor);
    if (token_peek(&cursor) != TOKEN_OBJECT || !token_enter(&cursor))
        return false;
    bool more = !(cursor.at < cursor.end && *cursor.at == '}');
    cursor.at += !more;
    while (more) {
        struct token_text name;
        if (!token_name(&cursor, &name))
            return false;
        const char *value = cursor.at;
        if (!token_skip(&cursor))
            return false;
        peek_member(name.raw, slice_of(value, (size_t)(cursor.at - value)), info);
        if (!token_next(&cursor, '}', &more))
            return false;
    }
    token_space(&cursor);
    return cursor.at == cursor.end;
}
