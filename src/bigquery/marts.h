/* marts.h - what stands in the mart dataset: the analysts' views (sql/mart/, part of the program) and their settings table. */
#ifndef ST_BIGQUERY_MARTS_H
#define ST_BIGQUERY_MARTS_H

#include "bigquery/warehouse.h"

/* Where the tenants' time zones stand; empty at first, and only ever written by people. */
extern const struct table_schema table_tenant_settings;

struct mart_view {
    const char *name;
    const char *text; /* of the file: a comment that says what a row is, then the query with ${BQ_...} for names */
};
size_t mart_view_count(void); /* in the order of dependence */
const struct mart_view *mart_view_at(size_t index);
/* The view reads nothing but what is there: enabled entities, and views of which the same is true. */
bool mart_view_is_possible(const struct registry *registry, const struct mart_view *view);
/* One more than the highest level that it reads; views outside of the marts, and tables, are level 0. */
size_t mart_view_level(const struct mart_view *view);
void mart_view_description(struct buf *out, const struct mart_view *view);
void mart_view_query(struct buf *out, const struct warehouse_names *names, const struct mart_view *view);

#endif
