/* test_bq_engine.c - catalog, DML, MERGE, snapshots and conflicts, row insertion, job store, restarts and kill -9. */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "engine_fixture.h"

static struct engine *engine;

/* ---- the catalog ---- */

static struct json_object *parse(const char *text)
{
    struct json_object *obj = json_tokener_parse(text);
    assert_non_null(obj);
    return obj;
}

static void insert_dataset(const char *name)
{
    struct error err = ERROR_INIT;
    char text[128];
    snprintf(text, sizeof text, "{\"datasetReference\":{\"datasetId\":\"%s\"}}", name);
    struct json_object *body = parse(text), *ret = engine_dataset_insert(engine, "proj-1", body, &err);
    if (!ret)
        fail_msg("%s", err.message);
    json_object_put(ret);
    json_object_put(body);
}

static const char TABLE[] =
    "{\"tableReference\":{\"tableId\":\"ev\"},\"description\":\"events\",\"schema\":{\"fields\":["
    "{\"name\":\"id\",\"type\":\"INT64\",\"mode\":\"REQUIRED\"},{\"name\":\"seen\",\"type\":\"TIMESTAMP\","
    "\"defaultValueExpression\":"
    "\"CURRENT_TIMESTAMP()\"},{\"name\":\"note\",\"type\":\"STRING\"},{\"name\":\"price\",\"type\":\"NUMERIC\"},"
    "{\"name\":\"tags\",\"type\":\"STRING\",\"mode\":\"REPEATED\"},"
    "{\"name\":\"lines\",\"type\":\"STRUCT\",\"mode\":\"REPEATED\",\"fields\":[{\"name\":\"sku\",\"type\":\"STRING\"},{"
    "\"name\":\"n\","
    "\"type\":\"INT64\"},{\"name\":\"sub\",\"type\":\"INT64\",\"mode\":\"REPEATED\"}]},"
    "{\"name\":\"addr\",\"type\":\"RECORD\",\"fields\":[{\"name\":\"zip\",\"type\":\"STRING\"}]},{\"name\":\"day\","
    "\"type\":\"DATE\"},"
    "{\"name\":\"doc\",\"type\":\"JSON\"},{\"name\":\"ok\",\"type\":\"BOOL\"},{\"name\":\"raw\",\"type\":\"BYTES\"}]},"
    "\"timePartitioning\":{\"type\":\"DAY\",\"field\":\"seen\"},\"clustering\":{\"fields\":[\"note\"]}}";

static void insert_table(const char *dataset)
{
    struct error err = ERROR_INIT;
    struct json_object *body = parse(TABLE), *ret = engine_table_insert(engine, "proj-1", dataset, body, &err);
    if (!ret)
        fail_msg("%s", err.message);
    assert_string_equal(json_text_at(ret, "numRows", ""), "0");
    assert_string_equal(json_text_at(ret, "id", ""), "proj-1:cat.ev");
    json_object_put(ret);
    json_object_put(body);
}

static void test_catalog(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    insert_dataset("cat");
    struct json_object *body = parse("{\"datasetReference\":{\"datasetId\":\"cat\"}}");
    assert_null(engine_dataset_insert(engine, "proj-1", body, &err));
    assert_string_equal(err.message, "Already Exists: Dataset proj-1:cat");
    assert_int_equal(err.status, 409);
    json_object_put(body);
    insert_table("cat");

    struct json_object *table = engine_table_get(engine, "proj-1", "cat", "ev", &err);
    struct json_object *fields = json_at(table, "schema.fields");
    assert_string_equal(json_text_at(json_object_array_get_idx(fields, 0), "type", ""), "INTEGER");
    assert_string_equal(json_text_at(json_object_array_get_idx(fields, 5), "type", ""), "RECORD");
    assert_null(json_at(json_object_array_get_idx(fields, 2), "mode"));
    char *etag = strdup(json_text_at(table, "etag", ""));

    struct json_object *patch = parse("{\"description\":\"changed\"}");
    struct json_object *patched = engine_table_patch(engine, "proj-1", "cat", "ev", patch, false, etag, &err);
    assert_non_null(patched);
    assert_string_equal(json_text_at(patched, "description", ""), "changed");
    assert_null(engine_table_patch(engine, "proj-1", "cat", "ev", patch, false, etag, &err));
    assert_int_equal(err.status, 412);
    json_object_put(patched);
    json_object_put(patch);

    json_object_array_add(fields, parse("{\"name\":\"extra\",\"type\":\"FLOAT64\"}"));
    struct json_object *lines = json_at(json_object_array_get_idx(fields, 5), "fields");
    json_object_array_add(lines, parse("{\"name\":\"more\",\"type\":\"STRING\"}"));
    json_object_object_add(json_object_array_get_idx(fields, 0), "mode", json_object_new_string("NULLABLE"));
    patch = json_object_new_object();
    json_object_object_add(patch, "schema", json_object_get(json_at(table, "schema")));
    patched = engine_table_patch(engine, "proj-1", "cat", "ev", patch, false, NULL, &err);
    if (!patched)
        fail_msg("%s", err.message);
    json_object_put(patched);
    json_object_put(patch);
    expect(engine,
           "INSERT INTO cat.ev (extra, lines) VALUES (1.5, [STRUCT('s' AS sku, 1 AS n, [7] AS sub, 'm' AS more)])",
           "+1 ~0 -0");
    expect(engine, "SELECT id, extra, l.more, l.sub FROM cat.ev, UNNEST(lines) AS l", "(null,\"1.5\",\"m\",[\"7\"])");

    patch = parse("{\"schema\":{\"fields\":[{\"name\":\"id\",\"type\":\"STRING\"}]}}");
    assert_null(engine_table_patch(engine, "proj-1", "cat", "ev", patch, false, NULL, &err));
    assert_int_equal(err.status, 400);
    json_object_put(patch);
    assert_true(engine_table_delete(engine, "proj-1", "cat", "ev", &err));
    assert_false(engine_table_delete(engine, "proj-1", "cat", "ev", &err));
    assert_string_equal(err.message, "Not found: Table proj-1:cat.ev");
    json_object_put(table);
    free(etag);
    assert_true(engine_dataset_delete(engine, "proj-1", "cat", false, &err));
}

static void test_ddl(void **state)
{
    (void)state;
    expect(engine, "CREATE SCHEMA IF NOT EXISTS ddl OPTIONS (description = 'x', labels = [('a', 'b')])", "CREATE");
    expect(engine, "create schema if not exists `proj-1`.ddl", "SKIP");
    expect(engine,
           "CREATE TABLE `proj-1.ddl.t` (a INT64 NOT NULL OPTIONS(description='k'), b STRING DEFAULT 'd', c NUMERIC, s "
           "STRUCT<x INT64, y "
           "ARRAY<STRUCT<z STRING>>>, PRIMARY KEY (a) NOT ENFORCED) PARTITION BY RANGE_BUCKET(a, GENERATE_ARRAY(0, "
           "100, 10)) CLUSTER BY b "
           "OPTIONS (expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 2 DAY))",
           "CREATE");
    expect(engine, "CREATE TABLE IF NOT EXISTS ddl.t (a INT64)", "SKIP");
    expect(engine,
           "ALTER TABLE ddl.t ADD COLUMN IF NOT EXISTS b STRING, ADD COLUMN d DATE, ALTER COLUMN a DROP NOT NULL",
           "ALTER");
    expect(engine, "INSERT INTO ddl.t (c) VALUES (1.25); SELECT a, b, c, d FROM ddl.t", "(null,\"d\",\"1.25\",null)");
    expect(engine, "CREATE OR REPLACE VIEW ddl.v AS SELECT b, c * 2 AS twice FROM ddl.t", "CREATE");
    expect(engine, "SELECT * FROM ddl.v", "(\"d\",\"2.5\")");
    expect(engine,
           "CREATE OR REPLACE TABLE ddl.t2 PARTITION BY day AS SELECT DATE '2025-01-01' AS day, SUM(c) AS s FROM ddl.t",
           "CREATE");
    expect(engine,
           "SELECT column_name, data_type, is_partitioning_column FROM ddl.INFORMATION_SCHEMA.COLUMNS WHERE table_name "
           "= 't2' ORDER "
           "BY ordinal_position",
           "(\"day\",\"DATE\",\"YES\"),(\"s\",\"NUMERIC\",\"NO\")");
    expect(engine, "SELECT partition_id, total_rows FROM ddl.INFORMATION_SCHEMA.PARTITIONS WHERE table_name = 't2'",
           "(\"20250101\",\"1\")");
    expect(engine, "DROP VIEW ddl.v; DROP TABLE IF EXISTS ddl.t2; DROP TABLE IF EXISTS ddl.t2", "");
    expect(engine, "DROP TABLE ddl.t2", "notFound: Not found: Table proj-1:ddl.t2");
}

/* ---- DML ---- */

static void test_merge(void **state)
{
    (void)state;
    expect(
        engine,
        "CREATE SCHEMA m; CREATE TABLE m.t (k INT64, v STRING, n INT64); CREATE TABLE m.s (k INT64, v STRING, n INT64);"
        "INSERT m.t VALUES (1, 'one', 1), (2, 'two', 2), (NULL, 'null', 0); INSERT m.s VALUES (1, 'ONE', 5), (3, "
        "'three', 3), "
        "(NULL, 'again', 9)",
        "");
    expect(engine,
           "MERGE INTO m.t USING m.s AS src ON t.k = src.k WHEN MATCHED AND src.n > t.n THEN UPDATE SET v = src.v, n = "
           "src.n WHEN NOT "
           "MATCHED BY TARGET THEN INSERT ROW WHEN NOT MATCHED BY SOURCE AND t.k = 2 THEN DELETE",
           "+2 ~1 -1");
    expect(engine, "SELECT k, v, n FROM m.t ORDER BY k, v",
           "(null,\"again\",\"9\"),(null,\"null\",\"0\"),(\"1\",\"ONE\",\"5\"),(\"3\",\"three\",\"3\")");
    expect(engine,
           "MERGE m.t T USING (SELECT 1 AS k, 'x' AS v UNION ALL SELECT 1, 'y') S ON T.k = S.k WHEN MATCHED AND S.v = "
           "'y' THEN UPDATE SET v "
           "= S.v",
           "+0 ~1 -0");
    expect(engine,
           "MERGE m.t T USING (SELECT 1 AS k, 'x' AS v UNION ALL SELECT 1, 'y') S ON T.k = S.k WHEN MATCHED THEN "
           "UPDATE SET v = S.v",
           "invalidQuery: UPDATE/MERGE must match at most one source row for each target row");
    expect(engine, "SELECT v FROM m.t WHERE k = 1", "(\"y\")");
    expect(engine,
           "MERGE m.t T USING (SELECT 77 AS k) S ON FALSE WHEN NOT MATCHED THEN INSERT (k, v) VALUES (S.k, DEFAULT) "
           "WHEN NOT MATCHED "
           "BY SOURCE THEN DELETE",
           "+1 ~0 -4");
    expect(engine, "UPDATE m.t SET v = s.v FROM m.s AS s WHERE s.n > 4",
           "invalidQuery: UPDATE/MERGE must match at most one source row for each target row");
    expect(engine, "UPDATE m.t AS x SET x.v = s.v, n = s.n + 1 FROM m.s AS s WHERE s.k = 3", "+0 ~1 -0");
    expect(engine, "DELETE m.t WHERE v = 'three'", "+0 ~0 -1");
    expect(engine, "INSERT INTO m.t SELECT * FROM m.s", "+3 ~0 -0");
    expect(engine, "TRUNCATE TABLE m.t", "+0 ~0 -3");
}

#define TOO_MANY(n)                                                                                                    \
    "invalidQuery: Too many partitions produced by query, allowed 3, query produces at least " n " partitions"
#define DAYS(n) "UNNEST(GENERATE_ARRAY(1, " n ")) AS i"
#define ROWS(n) "SELECT i AS k, TIMESTAMP_ADD(TIMESTAMP '2020-01-01 10:00:00+00', INTERVAL i DAY) AS ts FROM " DAYS(n)
#define MERGED(source)                                                                                                 \
    "MERGE pl.t T USING (" source ") S ON T.k = S.k WHEN MATCHED AND COALESCE(T.ts != S.ts, TRUE) "                    \
    "THEN UPDATE SET ts = S.ts WHEN NOT MATCHED THEN INSERT (k, ts) VALUES (S.k, S.ts)"

static void test_partition_limit(void **state)
{
    (void)state;
    engine_set_max_job_partitions(engine, 3);
    expect(engine,
           "CREATE SCHEMA pl; CREATE TABLE pl.t (k INT64, ts TIMESTAMP, v INT64) PARTITION BY DATE(ts);"
           "CREATE TABLE pl.plain (k INT64, ts TIMESTAMP)",
           "");
    expect(engine, "INSERT pl.plain (k, ts) " ROWS("9"), "+9 ~0 -0");
    expect(engine, "INSERT pl.t (k, ts) " ROWS("4"), TOO_MANY("4"));
    expect(engine, "SELECT COUNT(*) FROM pl.t", "(\"0\")"); /* all or nothing */
    expect(engine, "INSERT pl.t (k, ts) " ROWS("3"), "+3 ~0 -0");
    /* NULL is a partition; rows that stay as they are do not count; a moved row counts twice */
    expect(engine, "INSERT pl.t (k, ts, v) SELECT 10 + i, IF(i = 1, NULL, TIMESTAMP '2021-01-01'), i FROM " DAYS("3"),
           "+3 ~0 -0");
    expect(engine, MERGED(ROWS("6")), "+3 ~0 -0");
    expect(engine, MERGED("SELECT k, TIMESTAMP '2022-01-01' AS ts FROM pl.t WHERE k IN (1, 2, 11)"), TOO_MANY("4"));
    expect(engine, MERGED("SELECT k, TIMESTAMP '2022-01-01' AS ts FROM pl.t WHERE k IN (1, 11)"), "+0 ~2 -0");
    expect(engine, MERGED("SELECT k, TIMESTAMP '2022-01-01' AS ts FROM pl.t WHERE k IN (1, 11)"), "+0 ~0 -0");
    expect(engine,
           "MERGE pl.t T USING (SELECT -1 AS k) S ON T.k = S.k WHEN NOT MATCHED BY SOURCE AND T.k < 7 THEN UPDATE SET "
           "v = 5",
           TOO_MANY("6"));
    expect(engine, "UPDATE pl.t SET v = 1 WHERE k IN (2, 3, 4, 5)", TOO_MANY("4"));
    expect(engine, "UPDATE pl.t SET v = 1 WHERE k IN (2, 3, 4)", "+0 ~3 -0");
    expect(engine, "DELETE pl.t WHERE k < 10", TOO_MANY("6"));
    expect(engine, "DELETE pl.t WHERE k < 4", "+0 ~0 -3");
    expect(engine, "TRUNCATE TABLE pl.t", "+0 ~0 -6");
    expect(engine, "CREATE TABLE pl.made PARTITION BY DATE(ts) AS " ROWS("4"), TOO_MANY("4"));
    expect(engine, "CREATE TABLE pl.made PARTITION BY DATE(ts) AS " ROWS("3"), "CREATE");
    expect(engine, "CREATE TABLE pl.range PARTITION BY RANGE_BUCKET(k, GENERATE_ARRAY(0, 100, 10)) AS " ROWS("29"),
           "CREATE");
    expect(engine, "UPDATE pl.range SET ts = NULL WHERE k > 0", "+0 ~29 -0");
    expect(engine, "INSERT pl.range (k) SELECT 10 * i FROM " DAYS("4"), TOO_MANY("4"));
    engine_set_max_job_partitions(engine, ENGINE_MAX_JOB_PARTITIONS);
    expect(engine, "INSERT pl.t (k, ts) " ROWS("4000"), "+4000 ~0 -0");
    expect(engine, "DELETE pl.t WHERE k > 0", "+0 ~0 -4000");
    expect(
        engine, "INSERT pl.t (k, ts) " ROWS("4001"),
        "invalidQuery: Too many partitions produced by query, allowed 4000, query produces at least 4001 partitions");
}

/* Enough rows for several threads: DuckDB's own counts per action were short there. */
static void test_merge_counts_many(void **state)
{
    (void)state;
    expect(engine, "CREATE SCHEMA many; CREATE TABLE many.t (k INT64, v INT64, l ARRAY<INT64>)", "");
    expect(engine, "INSERT many.t SELECT x, 0, [x] FROM UNNEST(GENERATE_ARRAY(1, 600000)) AS x", "+600000 ~0 -0");
    expect(engine,
           "MERGE many.t T USING (SELECT x FROM UNNEST(GENERATE_ARRAY(300001, 900000)) AS x) S ON T.k = S.x WHEN "
           "MATCHED THEN UPDATE "
           "SET v = 1, l = [S.x, 1] WHEN NOT MATCHED THEN INSERT (k) VALUES (S.x)",
           "+300000 ~300000 -0");
    expect(engine,
           "MERGE many.t T USING (SELECT x FROM UNNEST(GENERATE_ARRAY(800001, 1000000)) AS x) S ON T.k = S.x WHEN "
           "MATCHED AND S.x > "
           "850000 THEN UPDATE SET v = 2 WHEN MATCHED THEN DELETE WHEN NOT MATCHED AND S.x < 950001 THEN INSERT (k) "
           "VALUES (S.x)",
           "+50000 ~50000 -50000");
    expect(engine, "SELECT COUNT(*), SUM(v), SUM(ARRAY_LENGTH(l)) FROM many.t", "(\"900000\",\"400000\",\"900000\")");
}

/* The statement that the product sends (design 7). */
static void test_product_merge(void **state)
{
    (void)state;
    expect(
        engine,
        "CREATE SCHEMA st_raw_v2; CREATE SCHEMA st_stage_v2; CREATE SCHEMA st_logs_v2;"
        "CREATE TABLE st_raw_v2.raw_jobs (_tenant_id INT64 NOT NULL, id INT64 NOT NULL, summary STRING, createdOn "
        "TIMESTAMP, modifiedOn "
        "TIMESTAMP, _row_hash STRING) PARTITION BY DATE(modifiedOn);"
        "CREATE TABLE st_stage_v2.stage_jobs (_tenant_id INT64, id INT64, summary STRING, createdOn TIMESTAMP, "
        "modifiedOn TIMESTAMP, "
        "_row_hash STRING, _run_id STRING, _fetch_id INT64, _fetched_at TIMESTAMP, _staged_at TIMESTAMP DEFAULT "
        "CURRENT_TIMESTAMP());"
        "CREATE TABLE st_logs_v2.staged_run_events (run_id STRING, fetches ARRAY<STRUCT<first INT64, last INT64>>);"
        "INSERT st_logs_v2.staged_run_events VALUES ('r1', [STRUCT(1 AS first, 2 AS last), STRUCT(5, 5)]), ('r2', "
        "[STRUCT(1, 9)]);"
        "INSERT st_raw_v2.raw_jobs VALUES (7, 1, 'old', TIMESTAMP '2025-01-01', TIMESTAMP '2025-01-02', 'h0'), (7, 2, "
        "'same', TIMESTAMP "
        "'2025-01-01', TIMESTAMP '2025-01-02', 'h2');"
        "INSERT st_stage_v2.stage_jobs (_tenant_id, id, summary, createdOn, modifiedOn, _row_hash, _run_id, _fetch_id, "
        "_fetched_at) "
        "VALUES (7, 1, 'newer', TIMESTAMP '2025-01-01', TIMESTAMP '2025-01-03', 'h1', 'r1', 1, TIMESTAMP '2025-02-01'),"
        "(7, 1, 'older', TIMESTAMP '2025-01-01', TIMESTAMP '2025-01-02', 'h9', 'r1', 2, TIMESTAMP '2025-02-01'),"
        "(7, 2, 'same', TIMESTAMP '2025-01-01', TIMESTAMP '2025-01-02', 'h2', 'r1', 5, TIMESTAMP '2025-02-01'),"
        "(7, 3, 'fresh', TIMESTAMP '2025-01-01', NULL, 'h3', 'r1', 5, TIMESTAMP '2025-02-01'),"
        "(7, 4, 'not accepted', TIMESTAMP '2025-01-01', NULL, 'h4', 'r1', 3, TIMESTAMP '2025-02-01'),"
        "(7, 5, 'other run', TIMESTAMP '2025-01-01', NULL, 'h5', 'r2', 1, TIMESTAMP '2025-02-01')",
        "");
    expect_params(
        engine,
        "MERGE `proj-1.st_raw_v2.raw_jobs` T USING (SELECT s.* EXCEPT(_fetch_id, _staged_at) FROM "
        "`proj-1.st_stage_v2.stage_jobs` s JOIN "
        "(SELECT e.run_id, a.first, a.last FROM `proj-1.st_logs_v2.staged_run_events` e, UNNEST(e.fetches) a WHERE "
        "e.run_id IN "
        "UNNEST(@runs)) f ON s._run_id = f.run_id AND s._fetch_id BETWEEN f.first AND f.last WHERE s._staged_at "
        "BETWEEN TIMESTAMP "
        "'2020-01-01 00:00:00+00' AND TIMESTAMP '2100-01-01' QUALIFY ROW_NUMBER() OVER (PARTITION BY s._tenant_id, "
        "s.id ORDER BY "
        "COALESCE(s.modifiedOn, s.createdOn) DESC, s._fetched_at DESC, s._row_hash) = 1) S ON T._tenant_id = "
        "S._tenant_id AND T.id = S.id "
        "AND (DATE(T.modifiedOn) IN (DATE '2025-01-02', DATE '2025-01-03') OR T.modifiedOn IS NULL) WHEN MATCHED AND "
        "(COALESCE(S.modifiedOn, S.createdOn) > COALESCE(T.modifiedOn, T.createdOn) OR S._row_hash != T._row_hash) "
        "THEN UPDATE SET "
        "summary=S.summary, modifiedOn=S.modifiedOn, _row_hash=S._row_hash WHEN NOT MATCHED THEN INSERT (_tenant_id, "
        "id, summary, "
        "createdOn, modifiedOn, _row_hash) VALUES (S._tenant_id, S.id, S.summary, S.createdOn, S.modifiedOn, "
        "S._row_hash)",
        "[{\"name\":\"runs\",\"parameterType\":{\"type\":\"ARRAY\",\"arrayType\":{\"type\":\"STRING\"}},"
        "\"parameterValue\":{\"arrayValues\":"
        "[{\"value\":\"r1\"}]}}]",
        "+1 ~1 -0");
    expect(engine, "SELECT id, summary, _row_hash FROM st_raw_v2.raw_jobs ORDER BY id",
           "(\"1\",\"newer\",\"h1\"),(\"2\",\"same\",\"h2\"),(\"3\",\"fresh\",\"h3\")");
}

static void test_brief_queries(void **state)
{
    (void)state;
    expect(engine,
           "CREATE SCHEMA IF NOT EXISTS st_logs_v2; CREATE TABLE st_logs_v2.ingestion_logs (entity_type STRING, "
           "start_time TIMESTAMP, status "
           "STRING, records_inserted INT64, duration_ms INT64, error_message STRING); CREATE TABLE "
           "st_logs_v2.sync_events (entity_type "
           "STRING, last_sync_time TIMESTAMP, records_processed INT64, updated_at TIMESTAMP); CREATE VIEW "
           "st_logs_v2.sync_state AS SELECT "
           "* FROM `proj-1.st_logs_v2.sync_events` WHERE TRUE QUALIFY ROW_NUMBER() OVER (PARTITION BY entity_type "
           "ORDER BY updated_at "
           "DESC) = 1;"
           "INSERT st_logs_v2.ingestion_logs VALUES ('jobs', CURRENT_TIMESTAMP(), 'failed', 3, 12, 'boom'), ('jobs', "
           "TIMESTAMP "
           "'2001-01-01', 'failed', 0, 0, 'old');"
           "INSERT st_logs_v2.sync_events VALUES ('jobs', TIMESTAMP '2025-01-01', 5, TIMESTAMP '2025-01-01'), ('jobs', "
           "TIMESTAMP "
           "'2025-01-02', 6, TIMESTAMP '2025-01-02')",
           "");
    expect(engine,
           "SELECT entity_type, status, records_inserted, duration_ms\nFROM `proj-1.st_logs_v2.ingestion_logs`\nWHERE "
           "DATE(start_time) = "
           "CURRENT_DATE()\nORDER BY start_time DESC;",
           "(\"jobs\",\"failed\",\"3\",\"12\")");
    expect(engine,
           "SELECT entity_type, error_message FROM `proj-1.st_logs_v2.ingestion_logs` WHERE status = 'failed' AND "
           "start_time >= "
           "TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 24 HOUR);",
           "(\"jobs\",\"boom\")");
    expect(engine,
           "SELECT entity_type, last_sync_time, records_processed\nFROM `proj-1.st_logs_v2.sync_state`\nORDER BY "
           "updated_at DESC;",
           "(\"jobs\",\"1735776000000000\",\"6\")");
    expect(engine, "SELECT COUNT(*) FROM `proj-1.st_logs_v2.ingestion_logs`;", "(\"2\")");
    expect(engine, "SELECT SUM(records_inserted) FROM `proj-1.st_logs_v2.ingestion_logs`;", "(\"3\")");
}

/* ---- concurrency ---- */

struct job {
    const char *sql;
    int64_t dml_ms;
    char *got;
    pthread_t thread;
};

static void *run_job(void *user)
{
    struct job *job = user;
    job->got = fixture_run(engine, job->sql, NULL, job->dml_ms);
    return NULL;
}

static void run_together(struct job *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(pthread_create(&jobs[i].thread, NULL, run_job, &jobs[i]), 0);
    for (size_t i = 0; i < count; i++)
        pthread_join(jobs[i].thread, NULL);
}

static void test_insert_only_merges_double(void **state)
{
    (void)state;
    static const char MERGE[] =
        "MERGE dbl.t T USING (SELECT 5 AS k) S ON T.k = S.k WHEN NOT MATCHED THEN INSERT (k) VALUES (S.k)";
    expect(engine, "CREATE SCHEMA dbl; CREATE TABLE dbl.t (k INT64)", "");
    struct job jobs[2] = {{MERGE, 500, NULL, 0}, {MERGE, 500, NULL, 0}};
    run_together(jobs, 2);
    assert_string_equal(jobs[0].got, "+1 ~0 -0");
    assert_string_equal(jobs[1].got, "+1 ~0 -0");
    expect(engine, "SELECT COUNT(*) FROM dbl.t", "(\"2\")");
    expect(engine, MERGE, "+0 ~0 -0");
    free(jobs[0].got);
    free(jobs[1].got);
}

static void test_conflicting_updates_are_retried(void **state)
{
    (void)state;
    expect(engine, "CREATE SCHEMA con; CREATE TABLE con.t (k INT64, n INT64); INSERT con.t VALUES (1, 0)", "");
    struct job jobs[4];
    for (int i = 0; i < 4; i++)
        jobs[i] = (struct job){"UPDATE con.t SET n = n + 1 WHERE k = 1", 100, NULL, 0};
    run_together(jobs, 4);
    int done = 0;
    for (int i = 0; i < 4; i++) {
        bool ok = strcmp(jobs[i].got, "+0 ~1 -0") == 0;
        done += ok;
        if (!ok)
            assert_non_null(
                strstr(jobs[i].got, "Could not serialize access to table proj-1:con.t due to concurrent update"));
        free(jobs[i].got);
    }
    char expected[32];
    snprintf(expected, sizeof expected, "(\"%d\")", done);
    assert_true(done >= 2);
    expect(engine, "SELECT n FROM con.t", expected);
}

static void test_cancel(void **state)
{
    (void)state;
    struct engine_request request = ENGINE_REQUEST_INIT;
    struct engine_result *result = NULL;
    struct error err = ERROR_INIT;
    request.sql = "SELECT 1";
    request.sql_len = 8;
    request.project = "proj-1";
    request.cancel = cancel_new(NULL);
    cancel_set(request.cancel, "test");
    assert_false(engine_run(engine, &request, &result, &err));
    assert_string_equal(err.code, "stopped");
    assert_int_equal(err.class, ERROR_CANCELLED);
    cancel_free(request.cancel);
}

/* ---- rows ---- */

static int node_of(const struct engine_schema *schema, const char *name)
{
    size_t count;
    const struct engine_field *fields = engine_schema_fields(schema, &count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(fields[i].name, name) == 0)
            return fields[i].node;
    fail_msg("no field %s", name);
    return -1;
}

static void put_row(struct engine_rows *rows, const struct engine_schema *schema, int64_t id, int lines)
{
    int list = node_of(schema, "lines"), addr = node_of(schema, "addr");
    engine_rows_begin_row(rows);
    engine_rows_put_int64(rows, node_of(schema, "id"), id);
    engine_rows_put_string(rows, node_of(schema, "price"), slice_str("-12.000000005"));
    for (int i = 0; i < lines; i++) {
        engine_rows_begin_struct(rows, list);
        engine_rows_put_int64(rows, list + 2, i);
        for (int k = 0; k < i; k++)
            engine_rows_put_int64(rows, list + 3, k);
        engine_rows_put_string(rows, list + 1, slice_str("a sku that is longer than twelve bytes"));
        engine_rows_end_struct(rows, list);
    }
    engine_rows_put_string(rows, node_of(schema, "tags"), slice_str("x"));
    engine_rows_put_string(rows, node_of(schema, "tags"), slice_str("y"));
    if (id % 2 == 0) {
        engine_rows_begin_struct(rows, addr);
        engine_rows_put_string(rows, addr + 1, slice_str("90210"));
        engine_rows_end_struct(rows, addr);
    }
    engine_rows_put_int64(rows, node_of(schema, "day"), 20000);
    engine_rows_put_string(rows, node_of(schema, "doc"), slice_str("{\"a\":[1,2]}"));
    engine_rows_put_bool(rows, node_of(schema, "ok"), true);
    engine_rows_put_bytes(rows, node_of(schema, "raw"), slice_of("\0\1", 2));
    engine_rows_end_row(rows);
}

static void test_rows(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    insert_dataset("ins");
    struct json_object *body = parse(TABLE), *made = engine_table_insert(engine, "proj-1", "ins", body, &err);
    assert_non_null(made);
    json_object_put(made);
    json_object_put(body);
    struct engine_schema *schema = engine_schema_open(engine, "proj-1", "ins", "ev", &err);
    assert_non_null(schema);
    bool use_default[11] = {false, true};
    struct engine_rows *rows = engine_rows_new(engine, schema, use_default, &err);
    if (!rows)
        fail_msg("%s", err.message);
    enum { ROWS = 9000 }; /* several chunks, and lists that outgrow one */
    for (int i = 0; i < ROWS; i++)
        put_row(rows, schema, i, i % 4);
    expect(engine, "SELECT COUNT(*) FROM ins.ev", "(\"0\")");
    if (!engine_rows_commit(rows, &err))
        fail_msg("%s", err.message);
    engine_rows_free(rows);
    expect(engine,
           "SELECT COUNT(*), COUNT(DISTINCT id), COUNTIF(seen IS NOT NULL), COUNT(DISTINCT seen), SUM(price), "
           "COUNTIF(addr.zip = '90210') "
           "FROM ins.ev",
           "(\"9000\",\"9000\",\"9000\",\"1\",\"-108000.000045\",\"4500\")");
    expect(engine,
           "SELECT id, tags, lines, addr, day, doc, ok, raw, note FROM ins.ev WHERE id IN (8998, 8999) ORDER BY id",
           "(\"8998\",[\"x\",\"y\"],[(\"a sku that is longer than twelve bytes\",\"0\",[]),(\"a sku that is longer "
           "than twelve "
           "bytes\",\"1\",[\"0\"])],(\"90210\"),\"2024-10-04\",\"{\\\"a\\\":[1,2]}\",\"true\",\"AAE=\",null),"
           "(\"8999\",[\"x\",\"y\"],[(\"a sku that is longer than twelve bytes\",\"0\",[]),(\"a sku that is longer "
           "than twelve "
           "bytes\",\"1\",[\"0\"]),(\"a sku that is longer than twelve "
           "bytes\",\"2\",[\"0\",\"1\"])],null,\"2024-10-04\",\"{\\\"a\\\":[1,2]}\","
           "\"true\",\"AAE=\",null)");
    expect(engine, "SELECT COUNT(*), SUM(l.n), SUM(ARRAY_LENGTH(l.sub)) FROM ins.ev, UNNEST(lines) AS l",
           "(\"13500\",\"9000\",\"9000\")");

    rows = engine_rows_new(engine, schema, NULL, &err);
    put_row(rows, schema, 1, 0);
    engine_rows_begin_row(rows);
    engine_rows_put_string(rows, node_of(schema, "price"), slice_str("nonsense"));
    engine_rows_end_row(rows);
    engine_rows_begin_row(rows);
    engine_rows_end_row(rows);
    size_t count;
    const struct engine_row_error *errors = engine_rows_errors(rows, &count);
    assert_int_equal(count, 2);
    assert_int_equal(errors[0].index, 1);
    assert_string_equal(errors[0].message, "Field price: Invalid value for type NUMERIC");
    assert_int_equal(errors[1].index, 2);
    assert_string_equal(errors[1].message, "Field id: Missing required field");
    assert_false(engine_rows_commit(rows, &err));
    engine_rows_free(rows);
    expect(engine, "SELECT COUNT(*) FROM ins.ev", "(\"9000\")");

    assert_true(engine_schema_is_current(engine, schema));
    expect(engine, "ALTER TABLE ins.ev ADD COLUMN later STRING", "ALTER");
    assert_false(engine_schema_is_current(engine, schema));
    engine_schema_free(schema);
}

/* ---- jobs, restarts ---- */

static void test_jobs(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct json_object *job = parse("{\"n\":1,\"text\":\"it's\"}");
    assert_true(engine_job_insert(engine, "proj-1", "j1", job, &err));
    assert_false(engine_job_insert(engine, "proj-1", "j1", job, &err));
    assert_string_equal(err.message, "Already Exists: Job proj-1:US.j1");
    assert_int_equal(err.status, 409);
    json_object_object_add(job, "n", json_object_new_int(2));
    assert_true(engine_job_update(engine, "proj-1", "j1", job, &err));
    assert_true(engine_job_insert(engine, "proj-1", "j2", job, &err));
    json_object_put(job);
    job = engine_job_get(engine, "proj-1", "j1", &err);
    assert_int_equal(json_int_at(job, "n", 0), 2);
    assert_string_equal(json_text_at(job, "text", ""), "it's");
    json_object_put(job);
    assert_null(engine_job_get(engine, "other", "j1", &err));
    assert_int_equal(err.status, 404);
    job = engine_job_list(engine, "proj-1", 0, 1, &err);
    assert_int_equal(json_object_array_length(job), 1);
    json_object_put(job);
}

static void test_restart(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    expect(engine,
           "CREATE SCHEMA again; CREATE TABLE again.t (a INT64, b STRING DEFAULT 'q'); INSERT again.t (a) VALUES (1)",
           "");
    engine_close(engine);
    engine = fixture_open();
    expect(engine, "INSERT again.t (a) VALUES (2); SELECT * FROM again.t ORDER BY a", "(\"1\",\"q\"),(\"2\",\"q\")");
    struct json_object *job = parse("{}");
    assert_false(engine_job_insert(engine, "proj-1", "j1", job, &err));
    assert_int_equal(err.status, 409);
    json_object_put(job);
}

static int setup(void **state)
{
    (void)state;
    fixture_make_folder();
    engine = fixture_open();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    engine_close(engine);
    fixture_remove_folder();
    return 0;
}

/* A child that inserts rows and tells each acknowledged one through a pipe, until it is killed. Before any engine is open here. */
static void write_until_killed(int fd)
{
    engine = fixture_open();
    /* ALTER beside a DEFAULT and an array: a table like this could not be opened again after a kill, once. */
    char *made = fixture_run(
        engine,
        "CREATE SCHEMA IF NOT EXISTS kill9; CREATE TABLE IF NOT EXISTS kill9.t (a INT64, b TIMESTAMP DEFAULT "
        "CURRENT_TIMESTAMP(), c ARRAY<STRING>); ALTER TABLE kill9.t ADD COLUMN IF NOT EXISTS d STRING",
        NULL, 0);
    free(made);
    for (int i = 0;; i++) {
        char sql[64], *got;
        snprintf(sql, sizeof sql, "INSERT kill9.t (a) VALUES (%d), (%d)", i, i);
        got = fixture_run(engine, sql, NULL, 0);
        if (strcmp(got, "+2 ~0 -0") != 0 || write(fd, "x", 1) != 1)
            _exit(1);
        free(got);
    }
}

static int kill_after(int acknowledged)
{
    int fds[2], seen = 0;
    char c;
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        write_until_killed(fds[1]);
    close(fds[1]);
    while (seen < acknowledged && read(fds[0], &c, 1) == 1)
        seen++;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    while (read(fds[0], &c, 1) == 1)
        seen++;
    close(fds[0]);
    return seen;
}

static void test_kill(void **state)
{
    (void)state;
    fixture_make_folder();
    int seen = kill_after(25);
    seen += kill_after(7);
    engine = fixture_open();
    char *got = fixture_run(engine, "SELECT COUNT(*) FROM kill9.t", NULL, 0);
    int rows = (int)strtol(got + 2, NULL, 10);
    /* every acknowledged pair; at most one more pair per killed child, and never half a pair */
    assert_true(rows >= seen * 2 && rows <= seen * 2 + 4 && rows % 2 == 0 && seen >= 32);
    free(got);
    engine_close(engine);
    fixture_remove_folder();
}

int main(void)
{
    const struct CMUnitTest first[] = {cmocka_unit_test(test_kill)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_catalog),
        cmocka_unit_test(test_ddl),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_partition_limit),
        cmocka_unit_test(test_merge_counts_many),
        cmocka_unit_test(test_product_merge),
        cmocka_unit_test(test_brief_queries),
        cmocka_unit_test(test_insert_only_merges_double),
        cmocka_unit_test(test_conflicting_updates_are_retried),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_jobs),
        cmocka_unit_test(test_restart),
    };
    int failed = cmocka_run_group_tests_name("kill", first, NULL, NULL); /* forks: before DuckDB has threads */
    return failed + cmocka_run_group_tests_name("engine", tests, setup, teardown);
}
