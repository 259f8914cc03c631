/* bq_sql.h - translation of BigQuery statements to DuckDB.
 *
 * One recursive-descent pass with bounded depth, by BigQuery's grammar: it builds DuckDB text bottom-up and resolves
 * table names, parameters and views on the way. Column names and types are checked by DuckDB when it prepares the text;
 * a map from its offsets back to the source gives BigQuery's "[line:col]". What the grammar does not know is a syntax
 * error, never a guess. */
#ifndef ST_LOCAL_BQ_SQL_H
#define ST_LOCAL_BQ_SQL_H

#include "bq_catalog.h"

enum { SQL_MAX_BYTES = 1024 * 1024, SQL_MAX_DEPTH = 120, SQL_MAX_VIEW_DEPTH = 16, SQL_MAX_REFERENCED = 1000 };

enum sql_kind {
    SQL_SELECT,
    SQL_INSERT,
    SQL_UPDATE,
    SQL_DELETE,
    SQL_MERGE,
    SQL_TRUNCATE,
    SQL_CREATE_TABLE,
    SQL_CREATE_TABLE_AS,
    SQL_CREATE_VIEW,
    SQL_CREATE_SCHEMA,
    SQL_ALTER_TABLE,
    SQL_ALTER_SCHEMA,
    SQL_DROP_TABLE,
    SQL_DROP_VIEW,
    SQL_DROP_SCHEMA,
};

struct sql_name {
    const char *project, *dataset, *table; /* table NULL: a dataset */
};

/* Offsets of the DuckDB text to offsets of the source, ascending. */
struct sql_map {
    struct sql_map_row {
        size_t out, source;
    } * rows;
    size_t count, cap;
};

enum sql_when_kind { SQL_WHEN_MATCHED, SQL_WHEN_NOT_MATCHED, SQL_WHEN_NOT_MATCHED_BY_SOURCE };
enum sql_when_action { SQL_DO_UPDATE, SQL_DO_DELETE, SQL_DO_INSERT, SQL_DO_INSERT_ROW };

struct sql_when {
    enum sql_when_kind kind;
    enum sql_when_action action;
    const char *condition; /* NULL = none */
    const char *columns;   /* INSERT (columns) ROW; NULL = all */
    const char *extra;     /* INSERT ROW: ", default" behind the columns of the source */
    const char *text;      /* "UPDATE SET ...", "DELETE", "INSERT (...) VALUES (...)"; INSERT_ROW: NULL */
};

/* Texts with marks (see sql_finish); all in the arena. */
struct sql_merge {
    const char *target; /* "main.t1" */
    const char *target_alias, *source_alias;
    const char *source; /* a FROM item without alias */
    const char *on;
    struct sql_when *whens;
    size_t when_count;
};

/* Changes of ALTER TABLE, in order. */
struct sql_alter {
    enum { SQL_ADD_COLUMN, SQL_DROP_NOT_NULL, SQL_SET_OPTIONS, SQL_ALTER_COLUMN_OPTIONS } what;
    bool if_not_exists;
    const char *column;
    struct json_object *json; /* field or options (REST members); owned by the statement */
};

struct sql_statement {
    enum sql_kind kind;
    struct slice source;         /* the statement's own text */
    const char *text;            /* with marks; SELECT, or the whole DML but MERGE; CREATE TABLE AS: the query */
    const char *double_match;    /* UPDATE with FROM: a query that has a row when a target row has two matches */
    struct sql_name target;      /* DML and DDL */
    struct engine_schema *table; /* DML target; referenced */
    struct sql_merge merge;
    bool if_exists, if_not_exists, or_replace, cascade;
    struct json_object *resource; /* CREATE TABLE/VIEW/SCHEMA: REST resource; owned */
    bool has_columns;             /* CREATE TABLE AS with a column list */
    struct sql_alter *alters;
    size_t alter_count;
    struct engine_schema **referenced; /* tables read and written, each once; owned references */
    size_t referenced_count;
};

struct sql_context {
    struct catalog *catalog;
    const char *location;
    const char *project;         /* for names without a project */
    const char *default_project; /* of default_dataset */
    const char *default_dataset; /* may be NULL */
    struct json_object *params;  /* REST queryParameters or NULL */
    bool positional;
    bool syntax_only;       /* names are not looked up */
    int64_t now_us;         /* CURRENT_TIMESTAMP() */
    size_t next_positional; /* counts '?' over a script */
};

/* Translates the statement at *offset and moves *offset behind its ';'. At the end of the text: success and *ret_end
 * true. */
bool sql_translate(struct sql_context *ctx, struct slice sql, size_t *offset, struct arena *arena,
                   struct sql_statement *ret, bool *ret_end, struct error *err) MUST_CHECK;
void sql_statement_release(struct sql_statement *stmt);

/* A scalar expression (a column's DEFAULT). NULL = error. Plain DuckDB text in the arena; CURRENT_TIMESTAMP() stays a
 * call. */
const char *sql_translate_default(struct sql_context *ctx, struct slice expression, struct arena *arena,
                                  struct error *err) MUST_CHECK;

/* Strips the marks into *out and fills the map (may be NULL). */
void sql_finish(const char *marked, struct buf *out, struct sql_map *map);
/* Source offset for an offset of the finished text; `fallback` when none stands before it. */
size_t sql_map_source(const struct sql_map *map, long out_offset, size_t fallback);

#endif
