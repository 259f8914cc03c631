/* bq_partitions.c - BigQuery's limit on the partitions that one job may modify.
 *
 * Which partitions a statement has modified is seen from outside, by a digest of each before and after it, inside of
 * the statement's transaction: that holds for whatever the statement is. */
#include "bq_internal.h"

static const char NOTED[] = "temp.main._partitions_before";

/* The partition of a row of the table as an expression over t; false: the table has no partitions by column. */
static bool put_partition(struct buf *out, const struct engine_schema *table)
{
    struct json_object *resource = json_parse(slice_str(table->resource), "table", NULL);
    const char *time_field = json_text_at(resource, "timePartitioning.field", NULL);
    const char *range_field = json_text_at(resource, "rangePartitioning.field", NULL);
    if (time_field) {
        buf_printf(out, "date_trunc('%s', CAST(t.", json_text_at(resource, "timePartitioning.type", "DAY"));
        duck_append_name(out, slice_str(time_field));
        buf_append_str(out, " AS TIMESTAMP))");
    } else if (range_field) {
        buf_append_str(out, "(t.");
        duck_append_name(out, slice_str(range_field));
        buf_printf(out, " - %lld) // %lld", (long long)json_int_at(resource, "rangePartitioning.range.start", 0),
                   (long long)json_int_at(resource, "rangePartitioning.range.interval", 1));
    }
    json_object_put(resource);
    return time_field || range_field;
}

/* The digests, as a query; NULL: nothing to watch. In the arena. */
static const char *digests(struct exec *exec, const struct sql_statement *stmt)
{
    struct buf out = BUF_INIT;
    const char *text = NULL;
    buf_append_str(&out, "SELECT ");
    if (put_partition(&out, stmt->table)) {
        buf_printf(&out, " AS p, count(*) AS n, bit_xor(hash(t)) AS h FROM main.t%lld AS t GROUP BY 1",
                   (long long)stmt->table->id);
        text = arena_strdup(exec->arena, buf_slice(&out));
    }
    buf_release(&out);
    return text;
}

static bool run_text(struct exec *exec, const struct sql_statement *stmt, struct buf *text, duckdb_result *ret,
                     bool *conflict, struct error *err)
{
    const char *kept = arena_strdup(exec->arena, buf_slice(text));
    buf_release(text);
    return exec_text(exec, stmt, kept, ret, conflict, err);
}

static bool within_limit(int64_t modified, int64_t limit, struct error *err)
{
    return modified <= limit ||
           bq_fail(err, "invalidQuery", 400,
                   "Too many partitions produced by query, allowed %lld, query produces at least %lld partitions",
                   (long long)limit, (long long)modified);
}

bool partitions_check_new(struct engine *engine, const struct engine_schema *table, duckdb_connection conn,
                          struct error *err)
{
    struct buf text = BUF_INIT;
    int64_t count = 0;
    bool ok = true;
    buf_append_str(&text, "SELECT count(*) FROM (SELECT DISTINCT ");
    if (put_partition(&text, table)) {
        buf_printf(&text, " FROM main.t%lld AS t)", (long long)table->id);
        ok = duck_int(conn, buf_cstr(&text), 0, &count, err) &&
             within_limit(count, atomic_load(&engine->max_job_partitions), err);
    }
    buf_release(&text);
    return ok;
}

bool partitions_note(struct exec *exec, const struct sql_statement *stmt, int64_t most, struct partition_watch *ret,
                     bool *conflict, struct error *err)
{
    *ret = (struct partition_watch){.limit = atomic_load(&exec->engine->max_job_partitions)};
    if (most > ret->limit)
        ret->digests = digests(exec, stmt);
    if (!ret->digests)
        return true;
    struct buf text = BUF_INIT;
    buf_printf(&text, "CREATE TEMP TABLE _partitions_before AS %s", ret->digests);
    return run_text(exec, stmt, &text, NULL, conflict, err);
}

bool partitions_check(struct exec *exec, const struct sql_statement *stmt, const struct partition_watch *watch,
                      bool *conflict, struct error *err)
{
    struct buf text = BUF_INIT;
    int64_t modified;
    if (!watch->digests)
        return true;
    buf_printf(&text,
               "SELECT count(*) FROM (SELECT p FROM (SELECT * FROM %s UNION ALL SELECT * FROM (%s)) GROUP BY p "
               "HAVING count(*) = 1 OR min(n) <> max(n) OR min(h) <> max(h))",
               NOTED, watch->digests);
    duckdb_result rows;
    if (!run_text(exec, stmt, &text, &rows, conflict, err))
        return false;
    modified = dml_first_count(&rows);
    duckdb_destroy_result(&rows);
    if (!within_limit(modified, watch->limit, err))
        return false;
    buf_printf(&text, "DROP TABLE %s", NOTED);
    return run_text(exec, stmt, &text, NULL, conflict, err);
}
