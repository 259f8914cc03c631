/* plan.c - see plan.h. Source paths are entered one by one; those with an index first, so that a REPEATED column,
 * entered later, can be entered below "[0]" as well as below "every element". */
#include "plan.h"

#include <stdlib.h>

struct builder {
    struct arena *arena;
};

static char *path_join(struct arena *arena, const char *prefix, const char *suffix, bool dot)
{
    char *text = xasprintf("%s%s%s", prefix, dot && prefix[0] ? "." : "", suffix);
    char *copy = arena_strdup(arena, slice_str(text));
    free(text);
    return copy;
}

static struct plan_member *object_find(struct plan_object *object, struct slice name)
{
    for (size_t i = 0; i < object->count; i++) {
        if (slice_eq(slice_of(object->members[i].name, object->members[i].name_len), name))
            return &object->members[i];
    }
    return NULL;
}

/* Growing moves members; nobody keeps pointers to them across additions to the same object. */
static struct plan_member *object_member(struct builder *b, struct plan_object *object, struct slice name,
                                         const char *prefix)
{
    struct plan_member *found = object_find(object, name);
    if (found)
        return found;
    BUG_ON(object->count == PLAN_MAX_MEMBERS);
    if (object->count == object->cap) {
        size_t cap = object->cap ? object->cap * 2 : 8;
        struct plan_member *members = arena_zalloc(b->arena, cap * sizeof *members);
        if (object->count > 0)
            memcpy(members, object->members, object->count * sizeof *members);
        object->members = members;
        object->cap = cap;
    }
    struct plan_member *member = &object->members[object->count++];
    member->name = arena_strdup(b->arena, name);
    member->name_len = name.len;
    member->value.path = path_join(b->arena, prefix, member->name, true);
    member->after = object->count; /* the order of the registry, to begin with */
    return member;
}

static struct plan_object *value_object(struct builder *b, struct plan_value *value)
{
    if (!value->object)
        value->object = arena_zalloc(b->arena, sizeof *value->object);
    return value->object;
}

static struct plan_array *value_array(struct builder *b, struct plan_value *value)
{
    if (!value->array) {
        value->array = arena_zalloc(b->arena, sizeof *value->array);
        value->array->element.path = path_join(b->arena, value->path, "[]", false);
    }
    return value->array;
}

static struct plan_value *array_special(struct builder *b, struct plan_array *array, int index)
{
    if (!array->special[index]) {
        array->special[index] = arena_zalloc(b->arena, sizeof(struct plan_value));
        array->special[index]->path = array->element.path;
    }
    return array->special[index];
}

static enum plan_role role_of(const struct column *column, size_t sink)
{
    if (sink > 0)
        return ROLE_NONE;
    if (column->mode == COLUMN_REQUIRED)
        return ROLE_KEY;
    if (strcmp(column->name, "createdOn") == 0)
        return ROLE_CREATED;
    return strcmp(column->name, "modifiedOn") == 0 ? ROLE_MODIFIED : ROLE_NONE;
}

static void add_columns(struct builder *b, struct plan_object *object, const char *prefix, const struct column *columns,
                        size_t count, size_t sink);

/* The value at the column's place, or each element of it. */
static void feed(struct builder *b, struct plan_value *value, const struct column *column, size_t sink, size_t position)
{
    if (column->type == COLUMN_STRUCT) {
        struct plan_object *object = value_object(b, value);
        BUG_ON(object->is_message);
        object->is_message = true;
        object->sink = sink;
        object->position = position;
        add_columns(b, object, value->path, column->fields, column->field_count, sink + 1);
        return;
    }
    struct plan_target *target = arena_zalloc(b->arena, sizeof *target);
    *target = (struct plan_target){.type = column->type,
                                   .role = role_of(column, sink),
                                   .sink = sink,
                                   .position = position,
                                   .enum_values = column->enum_values,
                                   .next = value->targets};
    value->targets = target;
}

static void feed_all(struct builder *b, struct plan_value *value, const struct column *column, size_t sink,
                     size_t position)
{
    if (column->mode != COLUMN_REPEATED) {
        feed(b, value, column, sink, position);
        return;
    }
    struct plan_array *array = value_array(b, value);
    feed(b, &array->element, column, sink, position);
    for (size_t i = 0; i <= REGISTRY_MAX_INDEX; i++) {
        if (array->special[i])
            feed(b, array->special[i], column, sink, position);
    }
}

/* Walks a checked source path from `object`, making what is missing. */
static struct plan_value *walk(struct builder *b, struct plan_object *object, const char *prefix, const char *source)
{
    const char *at = source;
    for (;;) {
        size_t len = strcspn(at, ".[");
        struct plan_value *value = &object_member(b, object, slice_of(at, len), prefix)->value;
        for (at += len; *at == '['; at += strlen("[0]"))
            value = array_special(b, value_array(b, value), at[1] - '0');
        if (*at == '\0')
            return value;
        at++;
        prefix = value->path;
        object = value_object(b, value);
    }
}

static void expect(struct plan_object *object, const struct column *column)
{
    struct plan_member *member = object_find(object, slice_str(column->source));
    if (!member || !column->expected)
        return;
    size_t index = (size_t)(member - object->members);
    object->expected[index / 64] |= 1ULL << index % 64;
}

static bool has_index(const struct column *column)
{
    return strchr(column->source, '[') != NULL;
}

static void add_columns(struct builder *b, struct plan_object *object, const char *prefix, const struct column *columns,
                        size_t count, size_t sink)
{
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < count; i++) {
            if (has_index(&columns[i]) != (pass == 0))
                continue;
            feed_all(b, walk(b, object, prefix, columns[i].source), &columns[i], sink, i);
            expect(object, &columns[i]);
        }
    }
}

struct plan_object *plan_new(struct arena *arena, const struct entity *entity)
{
    struct builder b = {arena};
    struct plan_object *root = arena_zalloc(arena, sizeof *root);
    add_columns(&b, root, "", entity->stage.columns, entity->source_column_count, 0);
    for (size_t i = 0; entity->feed_only && entity->feed_only[i]; i++)
        object_member(&b, root, slice_str(entity->feed_only[i]), "")->ignored = true;
    return root;
}
