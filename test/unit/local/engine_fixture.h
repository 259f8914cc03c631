/* engine_fixture.h - an engine on a folder of its own, and statements with their results as text. For the engine's unit tests. */
#ifndef ENGINE_FIXTURE_H
#define ENGINE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../../src/local/bq_engine.h"

static char fixture_folder[64];

static inline void fixture_make_folder(void)
{
    snprintf(fixture_folder, sizeof fixture_folder, "/tmp/st-engine-XXXXXX");
    assert_non_null(mkdtemp(fixture_folder));
}

static inline void fixture_remove_folder(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -rf '%s'", fixture_folder);
    assert_int_equal(system(command), 0);
}

static inline struct engine *fixture_open(void)
{
    struct engine_options options = {.folder = fixture_folder, .memory_limit_bytes = 1000000000};
    struct error err = ERROR_INIT;
    struct engine *engine = engine_open(&options, &err);
    if (!engine)
        fail_msg("%s", err.message);
    return engine;
}

/* Rows as "[[1,"a"],...]": cells of REST without their wrapping; an error as "reason: message". Owned by the caller. */
static inline char *fixture_run(struct engine *engine, const char *sql, const char *params, int64_t dml_ms)
{
    struct engine_request request = ENGINE_REQUEST_INIT;
    struct engine_result *result = NULL;
    struct error err = ERROR_INIT;
    struct buf out = BUF_INIT;
    request.sql = sql;
    request.sql_len = strlen(sql);
    request.project = "proj-1";
    request.query_parameters = params ? json_tokener_parse(params) : NULL;
    request.positional = params && strchr(sql, '?') != NULL;
    request.dml_duration_ms = dml_ms;
    if (engine_run(engine, &request, &result, &err)) {
        struct engine_dml_stats dml;
        engine_result_write_rows(result, 0, 1000, 1000000, ENGINE_TIMESTAMP_INT64, &out);
        if (engine_result_dml(result, &dml))
            buf_printf(&out, "+%d ~%d -%d", (int)dml.inserted, (int)dml.updated, (int)dml.deleted);
        if (engine_result_ddl_operation(result))
            buf_append_str(&out, engine_result_ddl_operation(result));
    } else {
        buf_printf(&out, "%s: %s", err.code, err.message);
    }
    engine_result_free(result);
    json_object_put(request.query_parameters);
    char *text = buf_detach(&out), *to = text;
    if (text[0] != '{')
        return text; /* an error, or counts */
    static const char *const WRAPS[] = {"{\"v\":", "{\"f\":["};
    char open[64] = ""; /* 'v': a cell, 'f': a row, '[': a list, each as it was opened */
    size_t depth = 0;
    bool in_string = false;
    for (const char *from = text; *from;) { /* {"f":[{"v":"1"}]} becomes ("1") */
        bool is_cell = !in_string && strncmp(from, WRAPS[0], strlen(WRAPS[0])) == 0;
        bool is_row = !in_string && strncmp(from, WRAPS[1], strlen(WRAPS[1])) == 0;
        if (is_cell || is_row) {
            assert_true(depth < sizeof open);
            open[depth++] = is_cell ? 'v' : 'f';
            from += strlen(WRAPS[is_row]);
            if (is_row)
                *to++ = '(';
        } else if (!in_string && *from == '[') {
            assert_true(depth < sizeof open);
            open[depth++] = '[';
            *to++ = *from++;
        } else if (!in_string && depth > 0 && *from == ']' && open[depth - 1] == 'f') {
            depth--;
            from += 2;
            *to++ = ')';
        } else if (!in_string && depth > 0 && (*from == ']' || *from == '}')) {
            if (open[--depth] == '[')
                *to++ = ']';
            from++;
        } else {
            if (*from == '\\')
                *to++ = *from++;
            else if (*from == '"')
                in_string = !in_string;
            *to++ = *from++;
        }
    }
    *to = '\0';
    return text;
}

static inline void expect(struct engine *engine, const char *sql, const char *expected)
{
    char *got = fixture_run(engine, sql, NULL, 0);
    if (strcmp(got, expected) != 0)
        fail_msg("%s\n  expected %s\n  got      %s", sql, expected, got);
    free(got);
}

static inline void expect_params(struct engine *engine, const char *sql, const char *params, const char *expected)
{
    char *got = fixture_run(engine, sql, params, 0);
    if (strcmp(got, expected) != 0)
        fail_msg("%s\n  expected %s\n  got      %s", sql, expected, got);
    free(got);
}

#endif
