/* encoder.c - see encoder.h: one pass over a record's text, each value straight into the row.
 *
 * Protobuf fields may stand in any order, so members are written as they come. A STRUCT's message is built in a buffer
 * of its own, one per depth of nesting, and then copied behind its length. What the pass cannot do is undo: when a
 * member turns up twice it stops, the text is rewritten without the first one (dedupe.c) and encoded anew.
 *
 * _row_hash is the sum of the XXH3-128 hashes of the members `"name":value` without white space, which no order of
 * members changes. Members that are null are left out: null and absent make the same row. */
#include "record/encoder.h"

#include <stdio.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/timestamp.h"
#include "dedupe.h"
#include "encoder_state.h"
#include "twins.h"
#include "wire.h"

static bool encode_value(struct record_encoder *encoder, const struct plan_value *value);

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static size_t position_of(const struct entity *entity, const char *name)
{
    size_t position = column_index(entity->stage.columns, entity->stage.column_count, name);
    if (position == SIZE_MAX)
        BUG("stage table '%s' has no column '%s'", entity->stage.name, name);
    return position;
}

struct record_encoder *record_encoder_new(const struct entity *entity, const struct row_context *context)
{
    struct record_encoder *encoder = xcalloc(1, sizeof *encoder);
    encoder->entity = entity;
    encoder->arena = arena_new(0);
    encoder->plan = plan_new(encoder->arena, entity);
    row_put_int64(&encoder->prefix, position_of(entity, "_tenant_id"), context->tenant);
    row_put_string(&encoder->prefix, position_of(entity, "_run_id"), slice_str(context->run_id));
    row_put_int64(&encoder->prefix, position_of(entity, "_fetch_id"), context->fetch_id);
    row_put_int64(&encoder->prefix, position_of(entity, "_fetched_at"), context->fetched_at_us);
    encoder->row_number_at = position_of(entity, "_row_number");
    encoder->row_hash_at = position_of(entity, "_row_hash");
    encoder->extra_at = position_of(entity, "_extra");
    encoder->group_date_at = position_of(entity, "_group_date");
    encoder->id_at = position_of(entity, "id");
    encoder->deleted_at = position_of(entity, "_deleted");
    encoder->tombstone = context->from_export ? entity->tombstone : NULL;
    for (size_t i = 1; i < PLAN_MAX_SINKS; i++)
        encoder->sinks[i] = &encoder->messages[i];
    if (entity->id_nullable)
        encoder->twins = twins_new();
    return encoder;
}

void record_encoder_free(struct record_encoder *encoder)
{
    if (!encoder)
        return;
    for (size_t i = 0; i < PLAN_MAX_SINKS; i++)
        buf_release(&encoder->messages[i]);
    buf_release(&encoder->prefix);
    buf_release(&encoder->text);
    buf_release(&encoder->scratch);
    buf_release(&encoder->path);
    extra_release(&encoder->extra);
    drift_release(&encoder->drift);
    twins_free(encoder->twins);
    arena_free(encoder->arena);
    free(encoder);
}

int64_t record_encoder_rows(const struct record_encoder *encoder)
{
    return encoder->rows;
}

void record_encoder_each_drift(struct record_encoder *encoder, drift_fn *fn, void *user)
{
    drift_each(&encoder->drift, fn, user);
}

/* ---- Refusals, paths, what fits no column ------------------------------------------------------------------------ */

bool encoder_refuse(struct record_encoder *encoder, const char *fmt, ...)
{
    if (encoder->refused)
        return false;
    va_list args;
    va_start(args, fmt);
    vsnprintf(encoder->info->reason, sizeof encoder->info->reason, fmt, args);
    va_end(args);
    encoder->refused = true;
    return false;
}

static bool is_plain_name(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (memchr(".[]\"\\", name.ptr[i], 5))
            return false;
    }
    return name.len > 0;
}

/* A name with a character that paths are made of is written ["a.b"]. */
static void append_name(struct buf *path, struct slice raw)
{
    size_t start = path->len;
    buf_reserve(path, raw.len + 1);
    if (start > 0)
        buf_append_char(path, '.');
    size_t name = path->len;
    text_unescape(path, raw);
    if (is_plain_name(slice_of(path->ptr + name, path->len - name)))
        return;
    struct buf quoted = BUF_INIT;
    buf_append_json_string(&quoted, slice_of(path->ptr + name, path->len - name));
    path->len = start;
    buf_append_char(path, '[');
    buf_append_slice(path, buf_slice(&quoted));
    buf_append_char(path, ']');
    buf_release(&quoted);
}

struct slice encoder_path(struct record_encoder *encoder, bool with_index)
{
    struct buf *path = &encoder->path;
    buf_clear(path);
    for (size_t i = 0; i < encoder->level; i++) {
        const struct frame *frame = &encoder->frames[i];
        if (frame->name.ptr)
            append_name(path, frame->name);
        else if (with_index)
            buf_printf(path, "[%lld]", (long long)frame->index);
        else
            buf_append_str(path, "[]");
    }
    return buf_slice(path);
}

bool encoder_keep(struct record_encoder *encoder, struct slice literal)
{
    bool sound = true;
    struct slice path = encoder_path(encoder, true);
    if (path.len > EXTRA_MAX_PATH)
        return encoder_refuse(encoder, "the path of an unknown member is longer than %d bytes", EXTRA_MAX_PATH);
    switch (extra_add(&encoder->extra, path, literal, &sound)) {
    case EXTRA_ADDED:
        break;
    case EXTRA_TWICE:
        encoder->twice = true;
        return false;
    case EXTRA_FULL:
        return encoder_refuse(encoder, "more than %d values fit no column", EXTRA_MAX_VALUES);
    }
    return true;
}

/* A value that no column asks for. */
static bool keep_unknown(struct record_encoder *encoder)
{
    const char *start = encoder->cursor.at;
    if (!token_skip(&encoder->cursor))
        return false;
    struct slice literal = slice_of(start, (size_t)(encoder->cursor.at - start));
    drift_note(&encoder->drift, encoder_path(encoder, false), DRIFT_UNKNOWN_FIELD, literal);
    return encoder_keep(encoder, literal);
}

/* A container where its columns expected something else. */
static bool keep_misfit(struct record_encoder *encoder, const struct plan_value *value)
{
    const char *start = encoder->cursor.at;
    bool wanted = false;
    if (!token_skip(&encoder->cursor))
        return false;
    struct slice literal = slice_of(start, (size_t)(encoder->cursor.at - start));
    encode_json_targets(encoder, value, literal);
    for (const struct plan_target *target = value->targets; target; target = target->next) {
        wanted |= target->type == COLUMN_JSON;
        if (target->role == ROLE_KEY)
            return encoder_refuse(encoder, "the key is not an int64");
        if (target->role != ROLE_NONE)
            return encoder_refuse(encoder, "createdOn or modifiedOn is not a time");
    }
    if (wanted)
        return true;
    drift_note(&encoder->drift, slice_str(value->path), DRIFT_TYPE, literal);
    return encoder_keep(encoder, literal);
}

/* ---- Members ----------------------------------------------------------------------------------------------------- */

static bool member_is(const struct plan_member *member, struct slice name)
{
    return member->name_len == name.len && memcmp(member->name, name.ptr, name.len) == 0;
}

/* `*expected` is where the last record would have had it; a miss is learned. */
static struct plan_member *find_member(struct plan_object *object, size_t *expected, struct slice name)
{
    if (*expected < object->count && member_is(&object->members[*expected], name))
        return &object->members[*expected];
    for (size_t i = 0; i < object->count; i++) {
        if (member_is(&object->members[i], name)) {
            *expected = i;
            return &object->members[i];
        }
    }
    return NULL;
}

struct member_set {
    uint64_t words[PLAN_SET_WORDS];
};

static bool set_add(struct member_set *set, size_t index)
{
    uint64_t bit = 1ULL << index % 64, *word = &set->words[index / 64];
    bool added = !(*word & bit);
    *word |= bit;
    return added;
}

static void note_missing(struct record_encoder *encoder, const struct plan_object *object,
                         const struct member_set *present)
{
    for (size_t word = 0; word < PLAN_SET_WORDS; word++) {
        uint64_t missing = object->expected[word] & ~present->words[word];
        for (; missing; missing &= missing - 1) {
            size_t index = word * 64 + (size_t)__builtin_ctzll(missing);
            drift_note(&encoder->drift, slice_str(object->members[index].value.path), DRIFT_MISSING_REQUIRED,
                       SLICE_NULL);
        }
    }
}

static struct slice decoded_name(struct record_encoder *encoder, const struct token_text *name)
{
    if (!name->escaped)
        return name->raw;
    buf_clear(&encoder->text);
    text_unescape(&encoder->text, name->raw);
    return buf_slice(&encoder->text);
}

/* A member that only one feed has: it makes no column, but it may tell that the record was deleted. */
static bool look_at_ignored(struct record_encoder *encoder, const struct plan_member *member)
{
    const char *start = encoder->cursor.at;
    if (!token_skip(&encoder->cursor))
        return false;
    struct slice literal = slice_of(start, (size_t)(encoder->cursor.at - start));
    if (!encoder->tombstone || strcmp(member->name, encoder->tombstone) != 0)
        return true;
    if (slice_eq_str(literal, "false"))
        encoder->deleted = DELETED_YES;
    else if (slice_eq_str(literal, "true"))
        encoder->deleted = DELETED_NO;
    else
        drift_note(&encoder->drift, encoder_path(encoder, false), DRIFT_TYPE, literal);
    return true;
}

static bool encode_member(struct record_encoder *encoder, struct plan_object *object, struct plan_member *member,
                          struct member_set *seen, struct member_set *present)
{
    if (!member)
        return keep_unknown(encoder);
    size_t index = (size_t)(member - object->members);
    if (!set_add(seen, index)) {
        encoder->twice = true;
        return false;
    }
    if (token_peek(&encoder->cursor) == TOKEN_NULL)
        return token_literal(&encoder->cursor, TOKEN_NULL);
    set_add(present, index);
    return member->ignored ? look_at_ignored(encoder, member) : encode_value(encoder, &member->value);
}

/* `"name":value` from `start` to the cursor into the row's hash. */
static void hash_member(struct record_encoder *encoder, const char *start, const struct token_text *name,
                        const char *value)
{
    struct cursor *cursor = &encoder->cursor;
    struct slice whole = slice_of(start, (size_t)(cursor->at - start));
    if (*value == 'n')
        return;
    if (cursor->spaced || name->escaped) {
        buf_clear(&encoder->scratch);
        buf_append_json_string(&encoder->scratch, decoded_name(encoder, name));
        buf_append_char(&encoder->scratch, ':');
        token_compact(&encoder->scratch, slice_of(value, (size_t)(cursor->at - value)));
        whole = buf_slice(&encoder->scratch);
    }
    XXH128_hash_t hash = XXH3_128bits(whole.ptr, whole.len);
    encoder->hash[0] += hash.low64;
    encoder->hash[1] += hash.high64;
}

/* The members of the object at the cursor, into the sinks that their targets name. */
static bool encode_members(struct record_encoder *encoder, struct plan_object *object)
{
    struct cursor *cursor = &encoder->cursor;
    struct member_set seen = {{0}}, present = {{0}};
    bool top = encoder->level == 0, more;
    size_t *expected = &object->first;
    if (!token_enter(cursor))
        return false;
    struct frame *frame = &encoder->frames[encoder->level++];
    more = !(cursor->at < cursor->end && *cursor->at == '}');
    cursor->at += !more;
    while (more) {
        struct token_text name;
        const char *start = cursor->at;
        cursor->spaced &= !top;
        if (!token_name(cursor, &name))
            return false;
        const char *value = cursor->at;
        struct plan_member *member = find_member(object, expected, decoded_name(encoder, &name));
        frame->name = name.raw;
        if (!encode_member(encoder, object, member, &seen, &present))
            return false;
        if (top && !(member && member->ignored))
            hash_member(encoder, start, &name, value);
        if (member)
            expected = &member->after;
        if (!token_next(cursor, '}', &more))
            return false;
    }
    encoder->level--;
    token_leave(cursor);
    note_missing(encoder, object, &present);
    return true;
}

/* ---- Containers -------------------------------------------------------------------------------------------------- */

static bool encode_object(struct record_encoder *encoder, const struct plan_value *value)
{
    struct plan_object *object = value->object;
    const char *start = encoder->cursor.at;
    if (!object)
        return keep_misfit(encoder, value);
    if (object->is_message)
        buf_clear(encoder->sinks[object->sink + 1]);
    if (!encode_members(encoder, object))
        return false;
    if (object->is_message)
        wire_put_bytes(encoder->sinks[object->sink], object->position, buf_slice(encoder->sinks[object->sink + 1]));
    if (value->targets)
        encode_json_targets(encoder, value, slice_of(start, (size_t)(encoder->cursor.at - start)));
    return true;
}

static bool encode_element(struct record_encoder *encoder, const struct plan_array *array, int64_t index)
{
    const struct plan_value *value = &array->element;
    if (index <= REGISTRY_MAX_INDEX && array->special[index])
        value = array->special[index];
    if (token_peek(&encoder->cursor) == TOKEN_NULL) {
        drift_note(&encoder->drift, slice_str(value->path), DRIFT_NULL_ELEMENT, SLICE_LIT("null"));
        return token_literal(&encoder->cursor, TOKEN_NULL);
    }
    if (!value->targets && !value->object && !value->array)
        return keep_unknown(encoder);
    return encode_value(encoder, value);
}

static bool encode_array(struct record_encoder *encoder, const struct plan_value *value)
{
    struct cursor *cursor = &encoder->cursor;
    const char *start = cursor->at;
    bool more;
    if (!value->array)
        return keep_misfit(encoder, value);
    if (!token_enter(cursor))
        return false;
    struct frame *frame = &encoder->frames[encoder->level++];
    *frame = (struct frame){SLICE_NULL, 0};
    more = !(cursor->at < cursor->end && *cursor->at == ']');
    cursor->at += !more;
    for (; more; frame->index++) {
        if (!encode_element(encoder, value->array, frame->index) || !token_next(cursor, ']', &more))
            return false;
    }
    encoder->level--;
    token_leave(cursor);
    if (value->targets)
        encode_json_targets(encoder, value, slice_of(start, (size_t)(cursor->at - start)));
    return true;
}

static bool encode_value(struct record_encoder *encoder, const struct plan_value *value)
{
    enum token_kind kind = token_peek(&encoder->cursor);
    if (kind == TOKEN_OBJECT)
        return encode_object(encoder, value);
    if (kind == TOKEN_ARRAY)
        return encode_array(encoder, value);
    if (kind == TOKEN_BAD)
        return cursor_fail(&encoder->cursor, "a value was expected");
    return encode_scalar(encoder, value, kind);
}

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

/* A row without an id of its own gets one from its content, and a place in the group of its day. */
static bool put_surrogate(struct record_encoder *encoder, struct buf *row)
{
    struct row_info *info = encoder->info;
    if (!encoder->entity->id_nullable)
        return encoder_refuse(encoder, "the key is missing");
    if (!info->has_created)
        return encoder_refuse(encoder, "neither id nor createdOn: the row belongs to no group");
    int64_t ordinal = twins_next(encoder->twins, encoder->hash);
    if (ordinal < 0)
        return encoder_refuse(encoder, "more than %d different rows without an id in one fetch", TWINS_MAX_ROWS);
    info->id = twins_surrogate(encoder->hash, ordinal);
    wire_put_varint(row, encoder->id_at, (uint64_t)info->id);
    wire_put_varint(row, encoder->group_date_at, (uint64_t)(int64_t)timestamp_to_days(info->created_us));
    return true;
}

static void put_hash(struct record_encoder *encoder, struct buf *row)
{
    static const char digits[] = "0123456789abcdef";
    char text[32];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = digits[encoder->hash[i < 16 ? 1 : 0] >> (60 - 4 * (i % 16)) & 15];
    wire_put_bytes(row, encoder->row_hash_at, slice_of(text, sizeof text));
}

static bool put_bookkeeping(struct record_encoder *encoder, struct buf *row)
{
    if (!encoder->info->has_id && !put_surrogate(encoder, row))
        return false;
    buf_append_slice(row, buf_slice(&encoder->prefix));
    wire_put_varint(row, encoder->row_number_at, (uint64_t)encoder->rows + 1);
    put_hash(encoder, row);
    if (encoder->deleted != DELETED_UNKNOWN)
        wire_put_varint(row, encoder->deleted_at, encoder->deleted == DELETED_YES);
    if (encoder->extra.count > 0) {
        buf_append_char(&encoder->extra.json, '}');
        wire_put_bytes(row, encoder->extra_at, buf_slice(&encoder->extra.json));
    }
    return true;
}

static bool encode_record(struct record_encoder *encoder, struct slice record, struct buf *row)
{
    struct cursor *cursor = &encoder->cursor;
    cursor_init(cursor, record);
    encoder->sinks[0] = row;
    encoder->level = 0;
    encoder->hash[0] = encoder->hash[1] = 0;
    encoder->refused = encoder->twice = false;
    encoder->deleted = DELETED_UNKNOWN;
    *encoder->info = (struct row_info){0};
    extra_clear(&encoder->extra);
    token_space(cursor);
    if (token_peek(cursor) != TOKEN_OBJECT)
        return encoder_refuse(encoder, "the record is not a JSON object");
    if (!encode_members(encoder, encoder->plan))
        return false;
    token_space(cursor);
    if (cursor->at != cursor->end)
        return cursor_fail(cursor, "text behind the record");
    return put_bookkeeping(encoder, row);
}

/* One value and nothing behind it. */
static bool check_whole(struct cursor *cursor, struct slice record)
{
    cursor_init(cursor, record);
    token_space(cursor);
    if (!token_skip(cursor))
        return false;
    token_space(cursor);
    return cursor->at == cursor->end || cursor_fail(cursor, "text behind the record");
}

/* A member is there twice: the last one counts. */
static bool encode_again(struct record_encoder *encoder, struct slice record, struct buf *row)
{
    struct buf text = BUF_INIT, path = BUF_INIT;
    struct cursor cursor;
    bool encoded = false;
    buf_append_slice(&path, encoder_path(encoder, false));
    drift_settle(&encoder->drift, false);
    if (!check_whole(&cursor, record)) {
        encoder->cursor = cursor;
        goto out;
    }
    json_dedupe(&text, record);
    drift_note(&encoder->drift, buf_slice(&path), DRIFT_TYPE, SLICE_LIT("there twice"));
    encoded = encode_record(encoder, buf_slice(&text), row);
    if (!encoded && encoder->twice)
        encoder_refuse(encoder, "two unknown members cannot be told apart");
    if (!encoded && !encoder->refused)
        encoder_refuse(encoder, "%s", encoder->cursor.problem);
out:
    buf_release(&text);
    buf_release(&path);
    return encoded;
}

enum row_outcome record_encode(struct record_encoder *encoder, struct slice record, struct buf *row,
                               struct row_info *info)
{
    size_t start = row->len;
    encoder->info = info;
    bool encoded = encode_record(encoder, record, row);
    if (!encoded && encoder->twice) {
        row->len = start;
        encoded = encode_again(encoder, record, row);
    }
    drift_settle(&encoder->drift, encoded);
    if (encoded) {
        encoder->rows++;
        return ROW_ENCODED;
    }
    encoder_refuse(encoder, "%s at byte %zu", encoder->cursor.problem ? encoder->cursor.problem : "malformed record",
                   (size_t)(encoder->cursor.at - encoder->cursor.start));
    row->len = start;
    if (row->ptr)
        row->ptr[start] = '\0';
    return ROW_REFUSED;
}
