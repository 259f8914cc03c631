/* bq_duck.c - opening DuckDB safely, borrowing connections, taking its errors apart.
 *
 * Settings are global and locked, so no statement can change them; the time zone is UTC for every connection. At most
 * POOL_IDLE connections are kept. DuckDB wants to make a folder in HOME for extensions: extension_directory keeps it
 * out. */
#include "bq_duck.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"

enum { POOL_IDLE = 16 };

struct duck {
    duckdb_database db;
    pthread_mutex_t mutex;
    duckdb_connection idle[POOL_IDLE];
    size_t idle_count;
};

static bool backend_error(struct error *err, const char *what, const char *why)
{
    error_set(err, ERROR_PERMANENT, "backendError", "%s: %s", what, why ? why : "unknown reason");
    if (err)
        err->status = 500;
    return false;
}

static bool open_database(struct duck *duck, const char *path, const char *temp_folder, struct error *err)
{
    duckdb_config config = NULL;
    char *why = NULL;
    if (duckdb_create_config(&config) != DuckDBSuccess)
        BUG("duckdb_create_config");
    duckdb_set_config(config, "autoinstall_known_extensions", "false");
    duckdb_set_config(config, "autoload_known_extensions", "false");
    duckdb_set_config(config, "extension_directory", temp_folder);
    duckdb_set_config(config, "home_directory", temp_folder);
    bool ok = duckdb_open_ext(path, &duck->db, config, &why) == DuckDBSuccess;
    if (!ok)
        backend_error(err, "cannot open the data base", why);
    duckdb_free(why);
    duckdb_destroy_config(&config);
    return ok;
}

static bool fix_settings(duckdb_connection conn, const char *temp_folder, int64_t memory_bytes, int threads,
                         struct error *err)
{
    struct buf sql = BUF_INIT;
    buf_append_str(&sql, "SET GLOBAL TimeZone='UTC'; SET GLOBAL errors_as_json=true; SET GLOBAL temp_directory=");
    duck_append_string(&sql, slice_str(temp_folder));
    buf_printf(&sql,
               "; SET GLOBAL memory_limit='%lldMB'; SET GLOBAL threads=%d; SET GLOBAL checkpoint_threshold='128MB'; "
               "SET GLOBAL enable_external_access=false; SET GLOBAL lock_configuration=true",
               (long long)(memory_bytes / 1000000), threads);
    bool ok = duck_exec(conn, buf_cstr(&sql), err);
    buf_release(&sql);
    return ok;
}

struct duck *duck_open(const char *path, const char *temp_folder, int64_t memory_bytes, int threads, struct error *err)
{
    struct duck *duck = xcalloc(1, sizeof *duck);
    pthread_mutex_init(&duck->mutex, NULL);
    duckdb_connection conn = NULL;
    bool ok = open_database(duck, path, temp_folder, err);
    ok = ok && (conn = duck_borrow(duck, err)) != NULL;
    ok = ok && fix_settings(conn, temp_folder, memory_bytes, threads, err);
    if (conn)
        duckdb_disconnect(&conn);
    if (!ok) {
        duck_close(duck);
        return NULL;
    }
    return duck;
}

void duck_close(struct duck *duck)
{
    if (!duck)
        return;
    while (duck->idle_count > 0)
        duckdb_disconnect(&duck->idle[--duck->idle_count]);
    if (duck->db)
        duckdb_close(&duck->db);
    pthread_mutex_destroy(&duck->mutex);
    free(duck);
}

duckdb_connection duck_borrow(struct duck *duck, struct error *err)
{
    duckdb_connection conn = NULL;
    pthread_mutex_lock(&duck->mutex);
    if (duck->idle_count > 0)
        conn = duck->idle[--duck->idle_count];
    pthread_mutex_unlock(&duck->mutex);
    if (!conn && duckdb_connect(duck->db, &conn) != DuckDBSuccess) {
        backend_error(err, "cannot connect to the data base", NULL);
        return NULL;
    }
    return conn;
}

void duck_return(struct duck *duck, duckdb_connection conn)
{
    if (!conn)
        return;
    struct duck_failure ignored; /* no transaction is open: the usual case */
    bool rolled_back = duck_run(conn, "ROLLBACK", NULL, &ignored);
    (void)rolled_back;
    pthread_mutex_lock(&duck->mutex);
    if (duck->idle_count < POOL_IDLE) {
        duck->idle[duck->idle_count++] = conn;
        conn = NULL;
    }
    pthread_mutex_unlock(&duck->mutex);
    if (conn)
        duckdb_disconnect(&conn);
}

static void copy_text(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text ? text : "");
}

/* "Parser Error: {...}" or "{...}" or plain text. */
void duck_failure_parse(const char *text, struct duck_failure *ret)
{
    *ret = (struct duck_failure){.position = -1};
    const char *brace = text ? strchr(text, '{') : NULL;
    struct error ignored = ERROR_INIT;
    struct json_object *obj = brace ? json_parse(slice_str(brace), "error", &ignored) : NULL;
    if (!obj) {
        copy_text(ret->message, sizeof ret->message, text);
        return;
    }
    copy_text(ret->type, sizeof ret->type, json_text_at(obj, "exception_type", ""));
    copy_text(ret->subtype, sizeof ret->subtype, json_text_at(obj, "error_subtype", ""));
    copy_text(ret->name, sizeof ret->name, json_text_at(obj, "name", ""));
    copy_text(ret->message, sizeof ret->message, json_text_at(obj, "exception_message", ""));
    ret->position = (long)json_int_at(obj, "position", -1);
    json_object_put(obj);
}

bool duck_failure_is_conflict(const struct duck_failure *fail)
{
    return strcasestr(fail->message, "conflict on") || strcasestr(fail->message, "transaction conflict") ||
           strcasestr(fail->message, "write-write conflict") || strcasestr(fail->message, "has been altered") ||
           strcasestr(fail->message, "failed to commit");
}

bool duck_failure_error(const struct duck_failure *fail, struct error *err)
{
    return backend_error(err, fail->type[0] ? fail->type : "data base", fail->message);
}

bool duck_run(duckdb_connection conn, const char *sql, duckdb_result *ret, struct duck_failure *fail)
{
    duckdb_result result;
    bool ok = duckdb_query(conn, sql, &result) == DuckDBSuccess;
    if (!ok)
        duck_failure_parse(duckdb_result_error(&result), fail);
    if (ok && ret)
        *ret = result;
    else
        duckdb_destroy_result(&result);
    return ok;
}

bool duck_exec(duckdb_connection conn, const char *sql, struct error *err)
{
    struct duck_failure fail;
    return duck_run(conn, sql, NULL, &fail) || duck_failure_error(&fail, err);
}

bool duck_int(duckdb_connection conn, const char *sql, int64_t fallback, int64_t *ret, struct error *err)
{
    duckdb_result result;
    struct duck_failure fail;
    if (!duck_run(conn, sql, &result, &fail))
        return duck_failure_error(&fail, err);
    duckdb_data_chunk chunk = duckdb_fetch_chunk(result);
    *ret = fallback;
    if (chunk && duckdb_data_chunk_get_size(chunk) > 0) {
        duckdb_vector v = duckdb_data_chunk_get_vector(chunk, 0);
        if (duck_valid(duckdb_vector_get_validity(v), 0))
            *ret = *(int64_t *)duckdb_vector_get_data(v);
    }
    if (chunk)
        duckdb_destroy_data_chunk(&chunk);
    duckdb_destroy_result(&result);
    return true;
}

void duck_append_string(struct buf *out, struct slice text)
{
    bool plain = true;
    for (size_t i = 0; i < text.len; i++)
        plain = plain && (unsigned char)text.ptr[i] > 2;
    if (!plain)
        buf_append_char(out, '(');
    buf_append_char(out, '\'');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c <= 2)
            buf_printf(out, "'||chr(%d)||'", c);
        else if (c == '\'')
            buf_append_str(out, "''");
        else
            buf_append_char(out, (char)c);
    }
    buf_append_str(out, plain ? "'" : "')");
}

void duck_append_name(struct buf *out, struct slice name)
{
    buf_append_char(out, '"');
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == '"')
            buf_append_char(out, '"');
        if ((unsigned char)name.ptr[i] > 2)
            buf_append_char(out, name.ptr[i]);
    }
    buf_append_char(out, '"');
}

struct slice duck_string_at(duckdb_string_t *data, idx_t row)
{
    duckdb_string_t *s = &data[row];
    uint32_t len = s->value.inlined.length;
    return slice_of(len <= 12 ? s->value.inlined.inlined : s->value.pointer.ptr, len);
}
