/* bq_dml.c - DML jobs: the queue of each table, the snapshot of the start, the settable duration, conflicts, MERGE.
 *
 * A job opens a transaction and reads from it at once, which fixes its snapshot; then its duration passes; then it runs
 * and commits. DuckDB refuses to change a row that changed since the snapshot: such a loser waits until a job of the
 * table has ended and tries again from a new snapshot. Inserts conflict with nothing, as in BigQuery.
 *
 * MERGE: DuckDB takes the last of several source rows for one target row; BigQuery refuses. So the source is put into a
 * temporary table first (a source with ties must be computed once only), the matches are counted, and then it runs. */
#include "bq_internal.h"

#include <stdlib.h>

#include "base/clock.h"

#define DML_QUEUE_TIMEOUT_MS (7LL * 3600 * 1000)
static const char SOURCE_TABLE[] = "temp.main._merge_source";

/* ---- the queue ---- */

static struct dml_queue *find_queue(struct engine *engine, int64_t table_id)
{
    struct dml_queue *queue = engine->dml.queues;
    while (queue && queue->table_id != table_id)
        queue = queue->next;
    if (!queue) {
        queue = xcalloc(1, sizeof *queue);
        queue->table_id = table_id;
        queue->next = engine->dml.queues;
        engine->dml.queues = queue;
    }
    return queue;
}

static bool queue_enter(struct exec *exec, const struct sql_statement *stmt, struct error *err)
{
    struct engine *engine = exec->engine;
    bool ok = true;
    pthread_mutex_lock(&engine->dml.mutex);
    struct dml_queue *queue = find_queue(engine, stmt->table->id);
    if (queue->running >= DML_MAX_RUNNING && queue->waiting >= DML_MAX_QUEUED)
        ok = bq_fail(err, "resourcesExceeded", 400,
                     "Resources exceeded during query execution: Too many DML statements outstanding against table "
                     "%s:%s.%s, limit is "
                     "%d.",
                     stmt->target.project, stmt->target.dataset, stmt->target.table, DML_MAX_QUEUED);
    int64_t deadline = clock_mono_ms() + DML_QUEUE_TIMEOUT_MS;
    queue->waiting++;
    while (ok && queue->running >= DML_MAX_RUNNING && !cancel_is_set(exec->cancel)) {
        int64_t until = clock_mono_ms() + 100; /* looks at cancel now and then */
        clock_cond_wait(&engine->dml.cond, &engine->dml.mutex, until < deadline ? until : deadline);
        if (clock_mono_ms() >= deadline)
            ok = bq_fail(err, "timeout", 400, "The DML statement waited too long");
    }
    queue->waiting--;
    if (ok && cancel_is_set(exec->cancel)) {
        error_set(err, ERROR_CANCELLED, "stopped", "Job execution was cancelled: User requested cancellation");
        ok = false;
    }
    queue->running += ok;
    pthread_mutex_unlock(&engine->dml.mutex);
    return ok;
}

static void queue_leave(struct exec *exec, const struct sql_statement *stmt)
{
    struct engine *engine = exec->engine;
    pthread_mutex_lock(&engine->dml.mutex);
    struct dml_queue *queue = find_queue(engine, stmt->table->id);
    queue->running--;
    queue->finished++;
    pthread_cond_broadcast(&engine->dml.cond);
    pthread_mutex_unlock(&engine->dml.mutex);
}

/* Waits until the job that this one met has ended (or no other runs). */
static void wait_for_winner(struct exec *exec, const struct sql_statement *stmt, uint64_t finished)
{
    struct engine *engine = exec->engine;
    pthread_mutex_lock(&engine->dml.mutex);
    struct dml_queue *queue = find_queue(engine, stmt->table->id);
    while (queue->running > 1 && queue->finished == finished && !cancel_is_set(exec->cancel))
        clock_cond_wait(&engine->dml.cond, &engine->dml.mutex, clock_mono_ms() + 100);
    pthread_mutex_unlock(&engine->dml.mutex);
}

static uint64_t finished_count(struct exec *exec, const struct sql_statement *stmt)
{
    pthread_mutex_lock(&exec->engine->dml.mutex);
    uint64_t finished = find_queue(exec->engine, stmt->table->id)->finished;
    pthread_mutex_unlock(&exec->engine->dml.mutex);
    return finished;
}

/* ---- MERGE texts ---- */

static void append_insert_row(struct buf *out, const struct sql_merge *merge, const struct sql_when *when,
                              struct json_object *source_fields)
{
    buf_append_str(out, "INSERT ");
    if (when->columns)
        buf_printf(out, "(%s) ", when->columns);
    buf_append_str(out, "VALUES (");
    for (size_t i = 0; i < json_object_array_length(source_fields); i++) {
        buf_printf(out, "%s%s.", i ? ", " : "", merge->source_alias);
        duck_append_name(out, slice_str(json_text_at(json_object_array_get_idx(source_fields, i), "name", "")));
    }
    buf_printf(out, "%s)", when->extra);
}

static const char *keep(struct exec *exec, struct buf *text)
{
    const char *kept = arena_strdup(exec->arena, buf_slice(text));
    buf_release(text);
    return kept;
}

/* The whole statement over a FROM item as the source. */
static const char *merge_statement(struct exec *exec, const struct sql_merge *merge, const char *source,
                                   struct json_object *source_fields)
{
    static const char *const KINDS[] = {"MATCHED", "NOT MATCHED", "NOT MATCHED BY SOURCE"};
    struct buf out = BUF_INIT;
    buf_printf(&out, "MERGE INTO %s AS %s USING %s AS %s ON (%s)", merge->target, merge->target_alias, source,
               merge->source_alias, merge->on);
    for (size_t i = 0; i < merge->when_count; i++) {
        const struct sql_when *when = &merge->whens[i];
        buf_printf(&out, " WHEN %s", KINDS[when->kind]);
        if (when->condition)
            buf_printf(&out, " AND %s", when->condition);
        buf_append_str(&out, " THEN ");
        if (when->action == SQL_DO_INSERT_ROW)
            append_insert_row(&out, merge, when, source_fields);
        else
            buf_append_str(&out, when->text);
    }
    return keep(exec, &out);
}

/* A query with a row when some target row would be changed by two source rows; NULL when no clause changes matches. */
static const char *double_match_text(struct exec *exec, const struct sql_merge *merge, const char *source)
{
    struct buf out = BUF_INIT;
    size_t clauses = 0;
    bool all = false;
    buf_printf(&out, "SELECT 1 FROM (SELECT %s.rowid AS r FROM %s AS %s JOIN %s AS %s ON (%s) WHERE (",
               merge->target_alias, merge->target, merge->target_alias, source, merge->source_alias, merge->on);
    for (size_t i = 0; i < merge->when_count; i++) {
        const struct sql_when *when = &merge->whens[i];
        if (when->kind != SQL_WHEN_MATCHED)
            continue;
        all = all || !when->condition;
        buf_printf(&out, "%s(%s)", clauses++ ? " OR " : "", when->condition ? when->condition : "TRUE");
    }
    buf_append_str(&out, ")) GROUP BY r HAVING count(*) > 1 LIMIT 1");
    const char *text = keep(exec, &out);
    return clauses > 0 ? text : NULL;
}

/* ---- counting ---- */

int64_t dml_first_count(duckdb_result *rows)
{
    duckdb_data_chunk chunk = duckdb_fetch_chunk(*rows);
    int64_t count = 0;
    if (chunk && duckdb_data_chunk_get_size(chunk) > 0)
        count = *(int64_t *)duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 0));
    if (chunk)
        duckdb_destroy_data_chunk(&chunk);
    return count;
}

static bool has_row(duckdb_result *rows)
{
    duckdb_data_chunk chunk = duckdb_fetch_chunk(*rows);
    bool has = chunk && duckdb_data_chunk_get_size(chunk) > 0;
    if (chunk)
        duckdb_destroy_data_chunk(&chunk);
    return has;
}

/* ---- one attempt ---- */

static bool refuse_double_match(struct exec *exec, const struct sql_statement *stmt, const char *text, bool *conflict,
                                struct error *err)
{
    duckdb_result rows;
    if (!text)
        return true;
    if (!exec_text(exec, stmt, text, &rows, conflict, err))
        return false;
    bool twice = has_row(&rows);
    duckdb_destroy_result(&rows);
    if (twice)
        bq_fail(err, "invalidQuery", 400, "UPDATE/MERGE must match at most one source row for each target row");
    return !twice;
}

static bool count_of(struct exec *exec, const struct sql_statement *stmt, const char *text, int64_t *ret,
                     bool *conflict, struct error *err)
{
    duckdb_result rows;
    if (!exec_text(exec, stmt, text, &rows, conflict, err))
        return false;
    *ret = dml_first_count(&rows);
    duckdb_destroy_result(&rows);
    return true;
}

/* Source rows that match nothing and qualify for an INSERT; NULL when there is no DELETE clause, or no INSERT clause: then the
 * table's growth tells. (DuckDB's RETURNING merge_action loses rows in 1.5.6 when several threads merge.) */
static const char *count_inserts_text(struct exec *exec, const struct sql_merge *merge, const char *source)
{
    struct buf out = BUF_INIT;
    size_t inserts = 0;
    bool deletes = false;
    buf_printf(&out, "SELECT count(*) FROM %s AS %s WHERE NOT EXISTS (SELECT 1 FROM %s AS %s WHERE %s) AND (", source,
               merge->source_alias, merge->target, merge->target_alias, merge->on);
    for (size_t i = 0; i < merge->when_count; i++) {
        const struct sql_when *when = &merge->whens[i];
        deletes = deletes || when->action == SQL_DO_DELETE;
        if (when->kind == SQL_WHEN_NOT_MATCHED)
            buf_printf(&out, "%s(%s)", inserts++ ? " OR " : "", when->condition ? when->condition : "TRUE");
    }
    buf_append_char(&out, ')');
    const char *text = keep(exec, &out);
    return inserts > 0 && deletes ? text : NULL;
}

static bool has_action(const struct sql_merge *merge, enum sql_when_action action)
{
    for (size_t i = 0; i < merge->when_count; i++)
        if (merge->whens[i].action == action)
            return true;
    return false;
}

/* From the exact total of changed rows and the table's growth. */
static void split_counts(const struct sql_merge *merge, int64_t changed, int64_t growth, int64_t inserts,
                         struct engine_dml_stats *stats)
{
    bool deletes = has_action(merge, SQL_DO_DELETE);
    if (inserts < 0)
        inserts = deletes ? 0 : growth;
    stats->inserted = inserts;
    stats->deleted = inserts - growth;
    stats->updated = changed - stats->inserted - stats->deleted;
}

/* The source as a table of its own; *ret_fields: its columns. */
static bool make_source(struct exec *exec, const struct sql_statement *stmt, struct json_object **ret_fields,
                        bool *conflict, struct error *err)
{
    struct buf text = BUF_INIT;
    buf_printf(&text, "CREATE TEMP TABLE _merge_source AS SELECT * FROM %s AS %s", stmt->merge.source,
               stmt->merge.source_alias);
    const char *create = keep(exec, &text);
    buf_printf(&text, "SELECT * FROM %s", SOURCE_TABLE);
    const char *describe = keep(exec, &text);
    return exec_text(exec, stmt, create, NULL, conflict, err) && exec_describe(exec, stmt, describe, ret_fields, err);
}

/* Partitions that the MERGE can modify at most: each source row one where its match stands and one where it goes. */
static bool most_partitions(struct exec *exec, const struct sql_statement *stmt, int64_t *ret, bool *conflict,
                            struct error *err)
{
    struct buf text = BUF_INIT;
    bool all = false;
    for (size_t i = 0; i < stmt->merge.when_count; i++)
        all = all || stmt->merge.whens[i].kind == SQL_WHEN_NOT_MATCHED_BY_SOURCE;
    *ret = INT64_MAX;
    if (all)
        return true;
    buf_printf(&text, "SELECT 2 * count(*) FROM %s", SOURCE_TABLE);
    return count_of(exec, stmt, keep(exec, &text), ret, conflict, err);
}

static bool attempt_merge(struct exec *exec, const struct sql_statement *stmt, struct engine_dml_stats *stats,
                          bool *conflict, struct error *err)
{
    const struct sql_merge *merge = &stmt->merge;
    struct json_object *fields = NULL;
    struct buf text = BUF_INIT;
    int64_t before, after, changed, inserts = -1, most;
    struct partition_watch watch;
    buf_printf(&text, "SELECT count(*) FROM %s", merge->target);
    const char *size = keep(exec, &text), *count_inserts = count_inserts_text(exec, merge, SOURCE_TABLE);
    bool ok = make_source(exec, stmt, &fields, conflict, err) && count_of(exec, stmt, size, &before, conflict, err);
    ok = ok && refuse_double_match(exec, stmt, double_match_text(exec, merge, SOURCE_TABLE), conflict, err);
    ok = ok && (!count_inserts || count_of(exec, stmt, count_inserts, &inserts, conflict, err));
    ok = ok && most_partitions(exec, stmt, &most, conflict, err);
    ok = ok && partitions_note(exec, stmt, most, &watch, conflict, err);
    ok = ok && count_of(exec, stmt, merge_statement(exec, merge, SOURCE_TABLE, fields), &changed, conflict, err);
    ok = ok && partitions_check(exec, stmt, &watch, conflict, err);
    ok = ok && count_of(exec, stmt, size, &after, conflict, err);
    ok = ok && exec_text(exec, stmt, "DROP TABLE temp.main._merge_source", NULL, conflict, err);
    if (ok)
        split_counts(merge, changed, after - before, inserts, stats);
    json_object_put(fields);
    return ok;
}

static bool attempt_plain(struct exec *exec, const struct sql_statement *stmt, struct engine_dml_stats *stats,
                          bool *conflict, struct error *err)
{
    struct partition_watch watch;
    int64_t count, most = stmt->kind == SQL_TRUNCATE ? 0 : INT64_MAX; /* TRUNCATE is no DML to BigQuery's limits */
    if (!refuse_double_match(exec, stmt, stmt->double_match, conflict, err) ||
        !partitions_note(exec, stmt, most, &watch, conflict, err) ||
        !count_of(exec, stmt, stmt->text, &count, conflict, err) ||
        !partitions_check(exec, stmt, &watch, conflict, err))
        return false;
    if (stmt->kind == SQL_INSERT)
        stats->inserted = count;
    else if (stmt->kind == SQL_UPDATE)
        stats->updated = count;
    else
        stats->deleted = count;
    return true;
}

/* Snapshot, duration, statement, commit. */
static bool attempt(struct exec *exec, const struct sql_statement *stmt, struct engine_dml_stats *stats, bool *conflict,
                    struct error *err)
{
    int64_t rows;
    *stats = (struct engine_dml_stats){0, 0, 0};
    *conflict = false;
    if (!duck_exec(exec->conn, "BEGIN", err) ||
        !duck_int(exec->conn, "SELECT count(*) FROM cat.datasets", 0, &rows, err))
        return false;
    bool ok = cancel_sleep_ms(exec->cancel, stmt->kind == SQL_TRUNCATE ? 0 : exec->dml_duration_ms);
    if (!ok) {
        error_set(err, ERROR_CANCELLED, "stopped", "Job execution was cancelled: User requested cancellation");
    } else {
        ok = stmt->kind == SQL_MERGE ? attempt_merge(exec, stmt, stats, conflict, err)
                                     : attempt_plain(exec, stmt, stats, conflict, err);
        ok = ok && exec_text(exec, stmt, "COMMIT", NULL, conflict, err);
    }
    struct duck_failure ignored;
    if (!ok && !duck_run(exec->conn, "ROLLBACK", NULL, &ignored))
        return false;
    return ok;
}

static bool run_attempts(struct exec *exec, struct sql_statement *stmt, struct engine_dml_stats *stats,
                         struct error *err)
{
    bool conflict;
    for (int i = 0; i <= DML_CONFLICT_RETRIES; i++) {
        uint64_t finished = finished_count(exec, stmt);
        if (attempt(exec, stmt, stats, &conflict, err))
            return true;
        if (!conflict)
            return false;
        wait_for_winner(exec, stmt, finished);
    }
    return bq_fail(err, "invalidQuery", 400, "Could not serialize access to table %s:%s.%s due to concurrent update",
                   stmt->target.project, stmt->target.dataset, stmt->target.table);
}

static bool dry_run(struct exec *exec, struct sql_statement *stmt, struct engine_result *result, struct error *err)
{
    struct json_object *ignored = NULL, *source = NULL;
    const char *text = stmt->text;
    bool ok = true;
    if (stmt->kind == SQL_MERGE) {
        struct buf select = BUF_INIT;
        buf_printf(&select, "SELECT * FROM %s AS %s", stmt->merge.source, stmt->merge.source_alias);
        ok = exec_describe(exec, stmt, keep(exec, &select), &source, err);
        text = ok ? merge_statement(exec, &stmt->merge, stmt->merge.source, source) : NULL;
    }
    ok = ok && exec_describe(exec, stmt, text, &ignored, err);
    json_object_put(ignored);
    json_object_put(source);
    result->schema = json_object_new_object();
    json_object_object_add(result->schema, "fields",
                           type_fields_json(stmt->table->fields, stmt->table->field_count, /* all_modes */ true));
    return ok;
}

bool dml_run(struct exec *exec, struct sql_statement *stmt, struct engine_result *result, struct error *err)
{
    if (exec->request->dry_run)
        return dry_run(exec, stmt, result, err);
    bool mutates = stmt->kind != SQL_INSERT && stmt->kind != SQL_TRUNCATE;
    if (mutates && !queue_enter(exec, stmt, err))
        return false;
    bool ok = run_attempts(exec, stmt, &result->dml, err);
    if (mutates)
        queue_leave(exec, stmt);
    result->has_dml = ok;
    return ok;
}
