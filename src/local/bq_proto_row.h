/* bq_proto_row.h - rows in a writer's own protobuf message, put into the engine by a plan made once per connection.
 *
 * A plan matches the writer's DescriptorProto with a table: field by field by name (ASCII case ignored, option
 * column_name first), types by the service's map (facts on BigQuery 3). Immutable and shareable after it is made. */
#ifndef ST_LOCAL_BQ_PROTO_ROW_H
#define ST_LOCAL_BQ_PROTO_ROW_H

#include "bq_engine.h"

struct proto_plan;

/* NULL: err->code is "extra_fields" (the table lacks a field of the writer's) or "descriptor" (all else). The
 * descriptor is copied, the schema borrowed. */
struct proto_plan *proto_plan_new(struct slice descriptor, const struct engine_schema *schema,
                                  struct error *err) MUST_CHECK;
void proto_plan_free(struct proto_plan *plan); /* NULL is fine */

/* One whole row, begin to end. What cannot be read or does not fit becomes an error of the row. */
void proto_plan_put_row(const struct proto_plan *plan, struct slice row, struct engine_rows *rows);

#endif
