/* bq_sql_functions.h - the table of functions: BigQuery name and argument count to a DuckDB template. */
#ifndef ST_LOCAL_BQ_SQL_FUNCTIONS_H
#define ST_LOCAL_BQ_SQL_FUNCTIONS_H

#include "base/slice.h"

enum function_kind {
    FUNCTION_SCALAR,
    FUNCTION_AGGREGATE, /* takes DISTINCT, ORDER BY, LIMIT, OVER; the template is a DuckDB aggregate's name */
    FUNCTION_WINDOW,    /* needs OVER */
    FUNCTION_REFUSED,   /* BigQuery has it, this server does not */
};

struct function_row {
    const char *name;
    int min, max;
    enum function_kind kind;
    const char *template; /* $1..$9: an argument; $*: all, comma-separated; $|: all, joined by || */
};

/* The first row of the name that takes `count` arguments (count < 0: any). NULL = none. */
const struct function_row *function_find(struct slice name, int count);

#endif
