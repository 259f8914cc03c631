/* bq_proto_descriptor.h - a DescriptorProto received at run time, parsed into a tree.
 *
 * Self-contained as the Storage Write API demands: every message and enum is nested in the root. */
#ifndef ST_LOCAL_BQ_PROTO_DESCRIPTOR_H
#define ST_LOCAL_BQ_PROTO_DESCRIPTOR_H

#include "base/arena.h"
#include "base/error.h"

enum { PROTO_MAX_NESTED_TYPES = 32, PROTO_MAX_DESCRIPTOR_BYTES = 4 << 20 };

/* FieldDescriptorProto.Type */
enum proto_type {
    PROTO_DOUBLE = 1,
    PROTO_FLOAT,
    PROTO_INT64,
    PROTO_UINT64,
    PROTO_INT32,
    PROTO_FIXED64,
    PROTO_FIXED32,
    PROTO_BOOL,
    PROTO_STRING,
    PROTO_GROUP,
    PROTO_MESSAGE,
    PROTO_BYTES,
    PROTO_UINT32,
    PROTO_ENUM,
    PROTO_SFIXED32,
    PROTO_SFIXED64,
    PROTO_SINT32,
    PROTO_SINT64,
    PROTO_TYPE_COUNT,
};
const char *proto_type_name(enum proto_type type);

enum proto_label { PROTO_OPTIONAL = 1, PROTO_REQUIRED, PROTO_REPEATED };

struct proto_field {
    struct proto_field *next;
    struct slice name;   /* as in the descriptor */
    struct slice column; /* option column_name, else the name */
    struct slice type_name;
    uint32_t number;
    enum proto_label label;
    enum proto_type type;
};

struct proto_enum_value {
    struct proto_enum_value *next;
    struct slice name;
    int32_t number;
};

struct proto_enum {
    struct proto_enum *next;
    struct slice name;
    struct proto_enum_value *values;
};

struct proto_message {
    struct proto_message *next; /* sibling */
    struct proto_message *parent;
    struct slice name;
    struct proto_field *fields;
    size_t field_count;
    struct proto_message *nested;
    struct proto_enum *enums;
};

/* Everything lives in the arena; texts point into `bytes`, which must live as long. */
struct proto_message *proto_descriptor_parse(struct arena *arena, struct slice bytes, struct error *err) MUST_CHECK;
/* By the scoping rules, from the message that holds the field; NULL when there is none. */
const struct proto_message *proto_find_message(const struct proto_message *scope, struct slice type_name);
const struct proto_enum *proto_find_enum(const struct proto_message *scope, struct slice type_name);

#endif
