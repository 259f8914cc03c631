/* test_bq_sql.c - the dialect: tables of statements and their results or errors. */
#include "engine_fixture.h"

struct row {
    const char *sql, *expected;
};

static struct engine *engine;

static const struct row VALUES[] = {
    {"SELECT 1", "(\"1\")"},
    {"select 'a' 'b'", "invalidQuery: Syntax error: Expected end of input but got string literal 'b' at [1:12]"},
    {"SELECT \"it's\", 'say \"x\"', r'a\\n', '''tri'ple''', 'tab\\there'",
     "(\"it's\",\"say \\\"x\\\"\",\"a\\\\n\",\"tri'ple\",\"tab\\there\")"},
    {"SELECT '\\u00e9\\x41\\101'", "(\"\xc3\xa9"
                                   "AA\")"},
    {"SELECT 7 / 2, 6 / 3, DIV(7, 2), MOD(-7, 3), -5, 0x1F, 1e3, .5",
     "(\"3.5\",\"2.0\",\"3\",\"-1\",\"-5\",\"31\",\"1000.0\",\"0.5\")"},
    {"SELECT 1 / 0", "invalidQuery: division by zero: 1 / 0"},
    {"SELECT SAFE_DIVIDE(1, 0), SAFE_DIVIDE(1, 4)", "(null,\"0.25\")"},
    {"SELECT NUMERIC '1.5' * NUMERIC '2.25', NUMERIC '10' / NUMERIC '3', NUMERIC '0.000000001' + 1",
     "(\"3.375\",\"3.333333333\",\"1.000000001\")"},
    {"SELECT CONCAT('a', 'b', NULL), CONCAT('a', 'b'), 'x' || 'y'", "(null,\"ab\",\"xy\")"},
    {"SELECT CAST(2.5 AS INT64), CAST(-2.5 AS INT64), CAST('12' AS INT64), SAFE_CAST('1.5' AS INT64)",
     "(\"3\",\"-3\",\"12\",null)"},
    {"SELECT CAST('x' AS INT64)", "invalidQuery: Bad int64 value: x"},
    {"SELECT CAST(TIMESTAMP '2025-01-02 03:04:05.600+00' AS STRING), CAST(NUMERIC '1.50' AS STRING), CAST(TRUE AS "
     "STRING)",
     "(\"2025-01-02 03:04:05.600+00\",\"1.5\",\"true\")"},
    {"SELECT TIMESTAMP '2025-01-02T10:00:00+02:00', TIMESTAMP('2025-01-02'), DATE '2025-01-02', DATETIME "
     "'2025-01-02T03:04:05'",
     "(\"1735804800000000\",\"1735776000000000\",\"2025-01-02\",\"2025-01-02T03:04:05\")"},
    {"SELECT TIMESTAMP_SUB(TIMESTAMP '2025-01-02', INTERVAL 24 HOUR), DATE_ADD(DATE '2025-01-31', INTERVAL 1 MONTH)",
     "(\"1735689600000000\",\"2025-02-28\")"},
    {"SELECT TIMESTAMP_DIFF(TIMESTAMP '2025-01-02', TIMESTAMP '2025-01-01 00:00:01', HOUR), DATE_DIFF(DATE "
     "'2025-01-06', DATE "
     "'2025-01-04', WEEK)",
     "(\"23\",\"1\")"},
    {"SELECT TIMESTAMP_TRUNC(TIMESTAMP '2025-05-17 12:34:56', MONTH), DATE_TRUNC(DATE '2025-01-08', WEEK)",
     "(\"1746057600000000\",\"2025-01-05\")"},
    {"SELECT EXTRACT(YEAR FROM DATE '2025-03-04'), EXTRACT(DAYOFWEEK FROM DATE '2025-01-05'), EXTRACT(HOUR FROM "
     "TIMESTAMP "
     "'2025-01-01 05:06:07')",
     "(\"2025\",\"1\",\"5\")"},
    {"SELECT FORMAT_TIMESTAMP('%Y-%m-%dT%H:%M:%E*SZ', TIMESTAMP '2025-01-02 03:04:05.67'), FORMAT_DATE('%b %e, %Y', "
     "DATE "
     "'2025-07-04')",
     "(\"2025-01-02T03:04:05.67Z\",\"Jul  4, 2025\")"},
    {"SELECT PARSE_TIMESTAMP('%Y/%m/%d %H:%M', '2025/01/02 03:04'), PARSE_DATE('%F', '2025-01-02')",
     "(\"1735787040000000\",\"2025-01-02\")"},
    {"SELECT UNIX_SECONDS(TIMESTAMP '2025-01-02'), TIMESTAMP_MICROS(1), UNIX_MICROS(TIMESTAMP '1969-12-31 23:59:59')",
     "(\"1735776000\",\"1\",\"-1000000\")"},
    {"SELECT [1, 2, 3][OFFSET(0)], [1, 2][SAFE_OFFSET(5)], [4, 5][ORDINAL(2)], ARRAY_LENGTH([1, 2])",
     "(\"1\",null,\"5\",\"2\")"},
    {"SELECT [1][OFFSET(1)]", "invalidQuery: Array index 1 is out of bounds"},
    {"SELECT ARRAY(SELECT x * 2 FROM UNNEST([3, 1, 2]) AS x ORDER BY x), GENERATE_ARRAY(1, 3)",
     "([\"2\",\"4\",\"6\"],[\"1\",\"2\",\"3\"])"},
    {"SELECT STRUCT(1 AS a, 'x' AS b), STRUCT('y' AS s).s", "((\"1\",\"x\"),\"y\")"},
    {"SELECT TO_JSON_STRING(STRUCT(1 AS a, [TRUE] AS b, NUMERIC '1.50' AS c, NULL AS d))",
     "(\"{\\\"a\\\":1,\\\"b\\\":[true],\\\"c\\\":1.5,\\\"d\\\":null}\")"},
    {"SELECT JSON_VALUE('{\"a\":{\"b\":\"x\"}}', '$.a.b'), JSON_VALUE('{\"a\":[1]}', '$.a'), JSON_QUERY('{\"a\":[1]}', "
     "'$.a')",
     "(\"x\",null,\"[1]\")"},
    {"SELECT PARSE_JSON('{\"k\": 5}')['k'], INT64(PARSE_JSON('7'))", "(\"5\",\"7\")"},
    {"SELECT REGEXP_CONTAINS('abc', r'b.'), REGEXP_EXTRACT('id=42', r'id=(\\d+)'), REGEXP_EXTRACT('x', r'y'), "
     "REGEXP_REPLACE('aba', 'a', 'c')",
     "(\"true\",\"42\",null,\"cbc\")"},
    {"SELECT TO_HEX(MD5('')), LENGTH('h\xc3\xa9'), BYTE_LENGTH('h\xc3\xa9'), b'ab', SUBSTR('hello', 2, 3), "
     "SPLIT('a,b')",
     "(\"d41d8cd98f00b204e9800998ecf8427e\",\"2\",\"3\",\"YWI=\",\"ell\",[\"a\",\"b\"])"},
    {"SELECT FORMAT('%d-%s-%05d-%.2f-%%', 7, 'x', 42, 1.5)", "(\"7-x-00042-1.50-%\")"},
    {"SELECT GREATEST(1, NULL), GREATEST(1, 3), LEAST(2, 1), IFNULL(NULL, 4), NULLIF(1, 1), IF(1 > 2, 'a', 'b')",
     "(null,\"3\",\"1\",\"4\",null,\"b\")"},
    {"SELECT 2 IN UNNEST([1, 2]), 3 NOT IN (1, 2), 5 BETWEEN 1 AND 5, 'abc' LIKE 'a%', NULL IS NOT DISTINCT FROM NULL",
     "(\"true\",\"true\",\"true\",\"true\",\"true\")"},
    {"SELECT ROUND(2.5), ROUND(NUMERIC '2.345', 2), CEIL(1.2), ABS(-3)", "(\"3.0\",\"2.35\",\"2.0\",\"3\")"},
    {"(SELECT 1 AS x UNION ALL SELECT 1) ORDER BY x LIMIT 1", "(\"1\")"},
    {"WITH a AS (SELECT 1 AS n), b AS (SELECT n + 1 AS n FROM a) SELECT a.n, b.n AS m FROM a, b", "(\"1\",\"2\")"},
    {"SELECT x, o FROM UNNEST(['p', 'q']) AS x WITH OFFSET AS o ORDER BY o DESC", "(\"q\",\"1\"),(\"p\",\"0\")"},
    {"SELECT s.id, s.v FROM UNNEST([STRUCT(1 AS id, 'a' AS v), STRUCT(2, 'b')]) AS s ORDER BY id",
     "(\"1\",\"a\"),(\"2\",\"b\")"},
    {"SELECT * EXCEPT (b) REPLACE (a + 1 AS a) FROM (SELECT 1 AS a, 2 AS b, 3 AS c)", "(\"2\",\"3\")"},
    {"SELECT STRING_AGG(x, '-' ORDER BY x DESC), ARRAY_AGG(x ORDER BY x LIMIT 2), COUNTIF(x > 'a'), ANY_VALUE(1), "
     "COUNT(DISTINCT 1) "
     "FROM UNNEST(['b', 'a', 'c']) AS x",
     "(\"c-b-a\",[\"a\",\"b\"],\"2\",\"1\",\"1\")"},
    {"SELECT AVG(x), SUM(x), MAX_BY(x, -x), LOGICAL_OR(x = 2) FROM UNNEST([1, 2]) AS x",
     "(\"1.5\",\"3\",\"1\",\"true\")"},
    {"SELECT AVG(n) FROM UNNEST([NUMERIC '1', NUMERIC '2', NUMERIC '2']) AS n", "(\"1.666666667\")"},
    {"SELECT x FROM UNNEST([3, 1, NULL, 2]) AS x ORDER BY x", "(null),(\"1\"),(\"2\"),(\"3\")"},
    {"SELECT x, SUM(x) OVER (ORDER BY x ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS s FROM UNNEST([1, 2, 3]) AS x "
     "ORDER BY x",
     "(\"1\",\"1\"),(\"2\",\"3\"),(\"3\",\"5\")"},
    {"SELECT x FROM UNNEST([1, 1, 2]) AS x WHERE TRUE QUALIFY ROW_NUMBER() OVER (PARTITION BY x ORDER BY x) = 1 ORDER "
     "BY x",
     "(\"1\"),(\"2\")"},
    {"SELECT a.k, b.v FROM UNNEST([STRUCT(1 AS k), STRUCT(2)]) a LEFT JOIN UNNEST([STRUCT(2 AS k, 'two' AS v)]) b ON "
     "a.k = b.k ORDER BY 1",
     "(\"1\",null),(\"2\",\"two\")"},
    {"SELECT -- comment\n 1 # more\n /* and */ + 1", "(\"2\")"},
    {"SELECT 9223372036854775807, -9223372036854775808", "(\"9223372036854775807\",\"-9223372036854775808\")"},
    {"SELECT CAST(NULL AS STRING) IS NULL, NOT TRUE OR TRUE AND FALSE", "(\"true\",\"false\")"},
    {"SELECT COUNT(*) FROM UNNEST(GENERATE_DATE_ARRAY(DATE '2025-01-01', DATE '2025-01-31')) AS d", "(\"31\")"},
    {"SELECT CASE WHEN FALSE THEN 1 ELSE 2 END, CASE 3 WHEN 3 THEN 'three' END", "(\"2\",\"three\")"},
    {"SELECT SAFE.PARSE_TIMESTAMP('%F', 'bad') IS NULL", "(\"true\")"},
};

static const struct row ERRORS[] = {
    {"SELECT", "invalidQuery: Syntax error: Unexpected end of input at [1:7]"},
    {"SELECT 1 FROM", "invalidQuery: Syntax error: Expected identifier but got end of input at [1:14]"},
    {"SELEC 1", "invalidQuery: Syntax error: Unexpected identifier \"SELEC\" at [1:1]"},
    {"SELECT x\n  FROM UNNEST([1]) AS y", "invalidQuery: Unrecognized name: x at [1:8]"},
    {"SELECT 1,\n   nope", "invalidQuery: Unrecognized name: nope at [2:4]"},
    {"SELECT FOO(1)", "invalidQuery: Function not found: FOO at [1:8]"},
    {"SELECT FARM_FINGERPRINT('x')",
     "invalidQuery: Function FARM_FINGERPRINT is not supported by this server at [1:8]"},
    {"SELECT * FROM nodata.t", "notFound: Not found: Dataset proj-1:nodata was not found in location US"},
    {"SELECT * FROM `proj-1.sqltest.none`",
     "notFound: Not found: Table proj-1:sqltest.none was not found in location US"},
    {"SELECT 'open", "invalidQuery: Syntax error: Unclosed string literal at [1:8]"},
    {"SELECT @who", "invalidQuery: Query parameter 'who' not found at [1:8]"},
    {"SELECT 1; SELEC 2", "invalidQuery: Syntax error: Unexpected identifier \"SELEC\" at [1:11]"},
    {"SELECT 1 AS a;\n\n -- second\n SELECT 2 FROM nodata.t; SELECT 3",
     "notFound: Not found: Dataset proj-1:nodata was not found in location US at [4:2]"},
    {"SELECT 1;; CREATE TABLE sqltest.u (a INT64)", "duplicate: Already Exists: Table proj-1:sqltest.u at [1:12]"},
    {"DECLARE x INT64; SELECT 1", "invalidQuery: Scripting is not supported by this server: DECLARE at [1:1]"},
    {"SELECT 1; if TRUE THEN SELECT 2; END IF",
     "invalidQuery: Scripting is not supported by this server: IF at [1:11]"},
    {"UPDATE sqltest.u SET a = 1", "invalidQuery: UPDATE must have a WHERE clause at [1:27]"},
    {"SELECT CAST(1 AS BIGNUMERIC)", "invalidQuery: Type BIGNUMERIC is not supported by this server at [1:18]"},
    {"INSERT sqltest.u (a, zz) VALUES (1, 2)",
     "invalidQuery: Column zz is not present in table proj-1.sqltest.u at [1:22]"},
    {"INSERT sqltest.u (a) VALUES (1, 2)",
     "invalidQuery: Inserted row has wrong column count; Has 2, expected 1 at [1:29]"},
    {"CREATE TABLE sqltest.u (a INT64)", "duplicate: Already Exists: Table proj-1:sqltest.u"},
    {"SELECT 1 AS a, 2 AS a",
     "invalidQuery: Duplicate column names in the result are not supported. Found duplicate(s): a"},
    {"PRAGMA version", "invalidQuery: Syntax error: Unexpected identifier \"PRAGMA\" at [1:1]"},
    {"SELECT * FROM read_csv('/etc/passwd')",
     "invalidQuery: Syntax error: Expected end of input but got \"(\" at [1:23]"},
};

static void run_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        expect(engine, rows[i].sql, rows[i].expected);
}

static void test_values(void **state)
{
    (void)state;
    run_rows(VALUES, sizeof VALUES / sizeof VALUES[0]);
}

static void test_errors(void **state)
{
    (void)state;
    expect(engine, "CREATE SCHEMA sqltest", "CREATE");
    expect(engine, "CREATE TABLE sqltest.u (a INT64)", "CREATE");
    run_rows(ERRORS, sizeof ERRORS / sizeof ERRORS[0]);
    expect(engine, "DROP SCHEMA sqltest", "resourceInUse: Dataset proj-1:sqltest is still in use");
    expect(engine, "DROP SCHEMA sqltest CASCADE", "DROP");
}

static void test_parameters(void **state)
{
    (void)state;
    expect_params(engine, "SELECT @n + 1, @s, @t, @none IS NULL",
                  "[{\"name\":\"n\",\"parameterType\":{\"type\":\"INT64\"},\"parameterValue\":{\"value\":\"41\"}},"
                  "{\"name\":\"s\",\"parameterType\":{\"type\":\"STRING\"},\"parameterValue\":{\"value\":\"it's\"}},"
                  "{\"name\":\"t\",\"parameterType\":{\"type\":\"TIMESTAMP\"},\"parameterValue\":{\"value\":\"2025-01-"
                  "02 00:00:00+00:00\"}},"
                  "{\"name\":\"none\",\"parameterType\":{\"type\":\"STRING\"},\"parameterValue\":{\"value\":null}}]",
                  "(\"42\",\"it's\",\"1735776000000000\",\"true\")");
    static const char LIST[] =
        "[{\"name\":\"ids\",\"parameterType\":{\"type\":\"ARRAY\",\"arrayType\":{\"type\":\"INT64\"}},"
        "\"parameterValue\":{\"arrayValues\":[{\"value\":\"1\"},{\"value\":\"3\"}]}}]";
    expect_params(engine, "SELECT x FROM UNNEST([1,2,3]) AS x WHERE x IN UNNEST(@ids) ORDER BY x", LIST,
                  "(\"1\"),(\"3\")");
    expect_params(engine, "SELECT SUM(y) FROM UNNEST(@ids) AS y", LIST, "(\"4\")");
    expect_params(engine, "SELECT 1 WHERE 1 IN UNNEST(@ids)",
                  "[{\"name\":\"ids\",\"parameterType\":{\"type\":\"ARRAY\",\"arrayType\":{\"type\":\"INT64\"}},"
                  "\"parameterValue\":{}}]",
                  "");
    expect_params(engine, "SELECT ?, ?",
                  "[{\"parameterType\":{\"type\":\"BOOL\"},\"parameterValue\":{\"value\":\"true\"}},"
                  "{\"parameterType\":{\"type\":\"FLOAT64\"},\"parameterValue\":{\"value\":\"1.25\"}}]",
                  "(\"true\",\"1.25\")");
    expect_params(engine, "SELECT @s.a, @s.b",
                  "[{\"name\":\"s\",\"parameterType\":{\"type\":\"STRUCT\",\"structTypes\":[{\"name\":\"a\",\"type\":{"
                  "\"type\":\"INT64\"}},"
                  "{\"name\":\"b\",\"type\":{\"type\":\"STRING\"}}]},\"parameterValue\":{\"structValues\":{\"a\":{"
                  "\"value\":\"5\"},\"b\":{\"value\":"
                  "\"z\"}}}}]",
                  "(\"5\",\"z\")");
}

static void test_depth_is_bounded(void **state)
{
    (void)state;
    struct buf sql = BUF_INIT;
    buf_append_str(&sql, "SELECT ");
    for (int i = 0; i < 100000; i++)
        buf_append_char(&sql, '(');
    char *got = fixture_run(engine, buf_cstr(&sql), NULL, 0);
    assert_non_null(strstr(got, "nested deeper than"));
    free(got);
    buf_release(&sql);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_depth_is_bounded),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
