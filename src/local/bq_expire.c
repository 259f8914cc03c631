/* bq_expire.c - housekeeping: tables past their expirationTime, rows of partitions past theirs. */
#include "bq_internal.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"

static bool expire_partitions(struct engine *engine, const struct engine_schema *table, struct error *err)
{
    struct json_object *resource = json_parse(slice_str(table->resource), "table", err);
    const char *field = json_text_at(resource, "timePartitioning.field", NULL);
    int64_t keep_ms = json_int_at(resource, "timePartitioning.expirationMs", 0);
    bool ok = resource != NULL;
    if (ok && field && keep_ms > 0) {
        struct buf sql = BUF_INIT;
        const char *type = json_text_at(resource, "timePartitioning.type", "DAY");
        buf_printf(&sql, "DELETE FROM main.t%" PRId64 " WHERE date_trunc('%s', CAST(", table->id, type);
        duck_append_name(&sql, slice_str(field));
        buf_printf(&sql, " AS TIMESTAMP)) < make_timestamp(%" PRId64 ")", clock_wall_us() - keep_ms * 1000);
        duckdb_connection conn = duck_borrow(engine->duck, err);
        struct duck_failure fail;
        ok = conn && (duck_run(conn, buf_cstr(&sql), NULL, &fail) || duck_failure_is_conflict(&fail) ||
                      duck_failure_error(&fail, err));
        duck_return(engine->duck, conn);
        buf_release(&sql);
    }
    json_object_put(resource);
    return ok;
}

/* References to all tables of all datasets, expired ones too. */
static struct engine_schema **all_tables(struct catalog *catalog, size_t *ret_count)
{
    size_t count = 0, cap = 0;
    struct engine_schema **list = NULL;
    pthread_mutex_lock(&catalog->memory);
    for (size_t i = 0; i < catalog->dataset_count; i++) {
        for (size_t j = 0; j < catalog->datasets[i].table_count; j++) {
            if (count == cap) {
                cap = cap ? cap * 2 : 32;
                list = xrealloc(list, cap * sizeof(struct engine_schema *));
            }
            list[count++] = schema_ref(catalog->datasets[i].tables[j]);
        }
    }
    pthread_mutex_unlock(&catalog->memory);
    *ret_count = count;
    return list;
}

bool engine_expire(struct engine *engine, struct error *err)
{
    size_t count;
    struct engine_schema **list = all_tables(&engine->catalog, &count);
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        if (ok && schema_is_expired(list[i])) {
            struct error ignored = ERROR_INIT; /* somebody else dropped or replaced it */
            ok = catalog_drop_table(&engine->catalog, list[i], &ignored) || ignored.status == 404;
        } else if (ok && !list[i]->view_query) {
            ok = expire_partitions(engine, list[i], err);
        }
        schema_unref(list[i]);
    }
    free(list);
    return ok;
}
