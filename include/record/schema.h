/* schema.h - columns and tables as data. DDL, writer descriptors, encoders and checks all derive from these.
 *
 * A column's protobuf field number is its position in its list + 1. All strings live as long as the owner of the list. */
#ifndef ST_RECORD_SCHEMA_H
#define ST_RECORD_SCHEMA_H

#include "base/buf.h"
#include "base/error.h"

enum column_type {
    COLUMN_STRING,
    COLUMN_INT64,
    COLUMN_FLOAT64,
    COLUMN_BOOL,
    COLUMN_NUMERIC,
    COLUMN_TIMESTAMP,
    COLUMN_DATE,
    COLUMN_JSON,
    COLUMN_STRUCT,
};

enum column_mode { COLUMN_NULLABLE, COLUMN_REQUIRED, COLUMN_REPEATED };

struct column {
    const char *name;
    enum column_type type;
    enum column_mode mode;
    const char *description; /* may be NULL */
    const char *default_sql; /* DEFAULT expression of the server, may be NULL; such columns are left out of rows */
    const char *source; /* source path in the record ("businessUnit.id", "appliedTo[0].appliedTo"); NULL: bookkeeping */
    const char *const *enum_values; /* documented values, NULL-terminated; NULL: open */
    const struct column *fields;    /* COLUMN_STRUCT; their source paths start at the object */
    size_t field_count;
    bool expected; /* documented as never null: NULL is stored all the same, and counted as drift */
};

enum table_partition { PARTITION_NONE, PARTITION_DAY, PARTITION_HOUR };

struct table_schema {
    const char *name; /* without dataset */
    const char *description;
    const struct column *columns;
    size_t column_count;
    enum table_partition partition;
    const char *partition_column;  /* a TIMESTAMP or DATE column */
    int partition_expiration_days; /* 0 = never */
    const char *cluster[4];        /* NULL-terminated when fewer */
};

const char *column_type_sql(enum column_type type); /* "INT64"; STRUCT has none of its own */
void column_sql(struct buf *out,
                const struct column *column); /* the type: "ARRAY<STRUCT<`id` INT64, ...>>" (names may be keywords) */
const struct column *column_find(const struct column *columns, size_t count, const char *name); /* exact case; NULL */
size_t column_index(const struct column *columns, size_t count, const char *name); /* SIZE_MAX when absent */

/* Serialized DescriptorProto (self-contained, proto2 presence, nested messages) for rows of these columns. Columns with a
 * default are left out, so that the server's missing-value rule fills them; the others keep their numbers. Types:
 * INT64 int64, BOOL bool, FLOAT64 double, STRING/JSON/NUMERIC string, TIMESTAMP int64 us, DATE int32 days, STRUCT message. */
void schema_descriptor(struct buf *out, const char *message_name, const struct column *columns, size_t count);

/* ---- Row primitives: protobuf wire format, field = position + 1 ------------------------------------------------ */
void row_put_int64(struct buf *row, size_t position, int64_t value); /* INT64, TIMESTAMP, BOOL (0/1), DATE (days) */
void row_put_string(struct buf *row, size_t position,
                    struct slice value); /* STRING, JSON, NUMERIC; also a nested message */
void row_put_double(struct buf *row, size_t position, double value);

#endif
