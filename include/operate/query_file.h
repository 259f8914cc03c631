/* query_file.h - the SQL files that operators run: sql/<folder>/<name>.sql, with ${NAME} where a project, dataset,
 * table or column belongs. The same files go through `envsubst | bq query`; NAME is the option's name in the environment. */
#ifndef ST_OPERATE_QUERY_FILE_H
#define ST_OPERATE_QUERY_FILE_H

#include "dispatch/settings.h"

enum {
    QUERY_FILE_MAX_BYTES = 256 * 1024,
    QUERY_FILES_MAX = 1000,      /* files that are listed */
    QUERY_MAX_PARAMS = 64,       /* further placeholders of one call */
    QUERY_VALUE_MAX_BYTES = 1024 /* BigQuery's longest name of a table */
};

struct query_param {
    struct slice name, value;
};

/* Puts values in for each ${NAME} of the text: from the params, else from the options that are names (projects, datasets; never a
 * secret). Values are 1..1024 letters, digits, '_', '-' and '.', with no "--": nothing that could end a quoted name or begin
 * anything else. "config_missing": no value for a placeholder; "config_value": a value that is not allowed, a "${" that is no
 * placeholder, a param that has none. Errors name it and its line; *ret is untouched then. */
bool query_fill(struct slice text, const struct settings *settings, const struct query_param *params, size_t count,
                struct buf *ret, struct error *err) MUST_CHECK;

/* Does the text begin, behind comments and parentheses, with SELECT or WITH? What else it may hold is for the estimate to say. */
bool query_is_select(struct slice text);

struct query_file {
    char *folder; /* "monitoring" */
    char *name;   /* "recent_runs" */
    char *path;
    char *title; /* the first comment line, without its dashes; "" when there is none */
};
struct query_files {
    struct query_file *items; /* by folder and name */
    size_t count;
};
/* The queries in root/<folder>/<name>.sql; files that do not begin as a query are left out. No such root: none. Release also after a failure. */
bool query_files_list(const char *root, struct query_files *ret, struct error *err) MUST_CHECK;
void query_files_release(struct query_files *files);
/* Borrowed; NULL when there is none of that name. */
const struct query_file *query_files_find(const struct query_files *files, const char *name);

#endif
