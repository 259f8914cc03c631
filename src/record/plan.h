/* plan.h - the registry's columns, turned round: for each place in a record, the columns that its value feeds.
 *
 * One value may feed several columns (invoices: businessUnit.id is a field of a STRUCT and a column of its own), so
 * each place has a list of targets, and each target names its sink: 0 is the row, n the message of the n-th STRUCT
 * around. A plan belongs to one encoder, which notes in it the order of members that it has met, so that finding a
 * member is mostly one comparison. */
#ifndef ST_RECORD_PLAN_H
#define ST_RECORD_PLAN_H

#include "base/arena.h"
#include "record/registry.h"
#include "registry_load.h"

enum plan_role { ROLE_NONE, ROLE_KEY, ROLE_CREATED, ROLE_MODIFIED };

enum {
    PLAN_MAX_SINKS = REGISTRY_MAX_NESTING + 2,
    PLAN_MAX_MEMBERS = REGISTRY_MAX_COLUMNS,
    PLAN_SET_WORDS = PLAN_MAX_MEMBERS / 64
};

struct plan_target {
    enum column_type type;
    enum plan_role role;
    size_t sink;
    size_t position;
    const char *const *enum_values;
    struct plan_target *next;
};

struct plan_value {
    const char *path;            /* "items[].sku.name", for reports */
    struct plan_target *targets; /* all but STRUCT */
    struct plan_object *object;  /* when members below it are known */
    struct plan_array *array;    /* when it is a list */
};

struct plan_member {
    const char *name;
    size_t name_len;
    struct plan_value value;
    size_t after; /* the member that followed the last time */
    bool ignored; /* only one feed has it */
};

struct plan_object {
    struct plan_member *members;
    size_t count, cap;
    size_t first;    /* the member that came first the last time */
    bool is_message; /* a STRUCT: its members go to sink + 1, then as one value to (sink, position) */
    size_t sink, position;
    uint64_t expected[PLAN_SET_WORDS]; /* members that are documented as never null */
};

struct plan_array {
    struct plan_value element; /* what every element feeds */
    struct plan_value
        *special[REGISTRY_MAX_INDEX + 1]; /* elements that feed more than the others, all in all; else NULL */
};

/* The plan's root, made in `arena`. Columns of a checked registry always have a plan. */
struct plan_object *plan_new(struct arena *arena, const struct entity *entity);

#endif
