/* result.c - the rows of a finished query job.
 *
 * REST gives every scalar as text inside {"f":[{"v":...}]}; texts are kept as they come (timestamps as integer
 * microseconds, because the default form is a float), ARRAY and STRUCT as the JSON text of their cells. A result is
 * held whole, so it is bounded. */
#include "result.h"

#include <stdlib.h>

#include "rest.h"

enum { PAGE_ROWS = 20000, SERVER_WAIT_MS = 10000, RESULT_MAX_PAGES = 100000 };

void bq_result_release(struct bq_result *result)
{
    for (size_t i = 0; i < result->row_count; i++) {
        for (size_t k = 0; k < result->column_count; k++)
            free(result->cells[i][k]);
        free(result->cells[i]);
    }
    for (size_t k = 0; k < result->column_count; k++) {
        free(result->columns[k]);
        free(result->types[k]);
    }
    free(result->cells);
    free(result->columns);
    free(result->types);
    *result = (struct bq_result){0};
}

const char *bq_result_text(const struct bq_result *result, size_t row, const char *column)
{
    for (size_t k = 0; row < result->row_count && k < result->column_count; k++)
        if (strcmp(result->columns[k], column) == 0)
            return result->cells[row][k];
    return NULL;
}

const char *bq_result_string(const struct bq_result *result, size_t row, const char *column)
{
    const char *text = bq_result_text(result, row, column);
    return text ? text : "";
}

int64_t bq_result_int(const struct bq_result *result, size_t row, const char *column, int64_t fallback)
{
    int64_t value = fallback;
    const char *text = bq_result_text(result, row, column);
    if (text)
        slice_to_int64(slice_str(text), &value);
    return value;
}

static bool read_columns(struct bq_result *result, struct json_object *page, struct error *err)
{
    struct json_object *fields = json_at(page, "schema.fields");
    if (!json_object_is_type(fields, json_type_array))
        return error_set(err, ERROR_PERMANENT, "bad_answer", "cannot read query results: the answer has no schema");
    result->column_count = json_object_array_length(fields);
    result->columns = xcalloc(result->column_count, sizeof *result->columns);
    result->types = xcalloc(result->column_count, sizeof *result->types);
    for (size_t k = 0; k < result->column_count; k++) {
        struct json_object *field = json_object_array_get_idx(fields, k);
        result->columns[k] = xstrdup(json_text_at(field, "name", ""));
        result->types[k] = xstrdup(json_text_at(field, "type", ""));
    }
    return true;
}

static char *cell_text(struct json_object *cell)
{
    struct json_object *value = json_at(cell, "v");
    if (!value)
        return NULL;
    if (json_object_is_type(value, json_type_object) || json_object_is_type(value, json_type_array))
        return xstrdup(json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    return xstrdup(json_object_get_string(value));
}

/* room doubles at powers of two */
static void grow_rows(struct bq_result *result)
{
    size_t n = result->row_count;
    if (n == 0 || (n >= 16 && (n & (n - 1)) == 0))
        result->cells = xrealloc(result->cells, (n ? n * 2 : 16) * sizeof *result->cells);
}

static bool add_row(struct bq_result *result, struct json_object *row, size_t *bytes, struct error *err)
{
    struct json_object *cells = json_at(row, "f");
    if (!json_object_is_type(cells, json_type_array) || json_object_array_length(cells) != result->column_count)
        return error_set(err, ERROR_PERMANENT, "bad_answer",
                         "cannot read query results: a row does not fit the schema");
    if (result->row_count >= BQ_MAX_RESULT_ROWS)
        return error_set(err, ERROR_PERMANENT, "result_too_large", "cannot hold more than %d result rows",
                         BQ_MAX_RESULT_ROWS);
    char **texts = xcalloc(result->column_count + 1, sizeof *texts);
    for (size_t k = 0; k < result->column_count; k++) {
        texts[k] = cell_text(json_object_array_get_idx(cells, k));
        *bytes += texts[k] ? strlen(texts[k]) + 1 : 0;
    }
    grow_rows(result);
    result->cells[result->row_count++] = texts;
    if (*bytes > BQ_MAX_RESULT_BYTES)
        return error_set(err, ERROR_PERMANENT, "result_too_large", "cannot hold more than %d bytes of result",
                         BQ_MAX_RESULT_BYTES);
    return true;
}

bool bq_result_add_page(struct bq_result *result, struct json_object *page, size_t *bytes, struct error *err)
{
    if (!result->columns && !read_columns(result, page, err))
        return false;
    struct json_object *rows = json_at(page, "rows"); /* absent when there are none */
    size_t count = json_object_is_type(rows, json_type_array) ? json_object_array_length(rows) : 0;
    for (size_t i = 0; i < count; i++)
        if (!add_row(result, json_object_array_get_idx(rows, i), bytes, err))
            return false;
    return true;
}

static bool fetch_page(struct bq_client *client, const char *job_id, const char *token, struct json_object **ret,
                       struct cancel *cancel, struct error *err)
{
    struct buf path = BUF_INIT;
    char *what = xasprintf("read the results of job '%s'", job_id);
    int status = 0;
    bq_job_path(&path, client, "/queries/", job_id, "");
    buf_printf(&path, "&formatOptions.useInt64Timestamp=true&maxResults=%d&timeoutMs=%d", PAGE_ROWS, SERVER_WAIT_MS);
    if (token) {
        buf_append_str(&path, "&pageToken=");
        buf_append_url_escaped(&path, slice_str(token));
    }
    *ret = NULL;
    bool ok = bq_rest(client, &(struct bq_call){"GET", path.ptr, SLICE_NULL, what, 0, REST_RESULT_MS}, cancel, &status,
                      ret, err);
    if (ok && !*ret)
        ok = error_set(err, ERROR_RETRY, "http_empty", "could not %s: the answer has no body", what);
    free(what);
    buf_release(&path);
    return ok;
}

bool bq_result_read(struct bq_client *client, const char *job_id, struct bq_result *ret, struct cancel *cancel,
                    struct error *err)
{
    struct bq_result result = {.affected_rows = -1};
    char *token = NULL;
    size_t bytes = 0;
    bool ok = true, more = true;
    for (int pages = 0; ok && more; pages++) {
        struct json_object *page = NULL;
        ok = pages < RESULT_MAX_PAGES ? fetch_page(client, job_id, token, &page, cancel, err)
                                      : error_set(err, ERROR_PERMANENT, "result_too_large",
                                                  "cannot read more than %d pages", RESULT_MAX_PAGES);
        bool complete = ok && json_bool_at(page, "jobComplete", true);
        if (ok && complete)
            ok = bq_result_add_page(&result, page, &bytes, err);
        const char *next = ok ? json_text_at(page, "pageToken", NULL) : NULL;
        more = ok && (!complete || (next && next[0]));
        if (complete) {
            free(token);
            token = next ? xstrdup(next) : NULL;
        }
        json_object_put(page);
    }
    free(token);
    if (!ok) {
        bq_result_release(&result);
        return false;
    }
    *ret = result;
    return true;
}
