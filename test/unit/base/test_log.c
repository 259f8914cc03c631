/* log: whose line it is, lines of storms, the one line about a retry, the last words of a program with a mistake. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/log.h"

enum { TEXT_SIZE = 60000 };
static int fds[2];
static char text[TEXT_SIZE];

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(pipe(fds), 0);
    log_set_fd(fds[1]);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    log_scope_set(NULL);
    log_set_level(LOG_LEVEL_INFO);
    log_set_fd(STDERR_FILENO);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

/* All lines so far, in `text`. */
static size_t read_lines(void)
{
    log_set_fd(STDERR_FILENO);
    close(fds[1]);
    size_t len = 0, lines = 0;
    for (ssize_t n; len < TEXT_SIZE - 1 && (n = read(fds[0], text + len, TEXT_SIZE - 1 - len)) > 0;)
        len += (size_t)n;
    text[len] = '\0';
    fds[1] = dup(fds[0]); /* for tear_down */
    for (size_t i = 0; i < len; i++)
        lines += text[i] == '\n';
    return lines;
}

/* The line number `index`, parsed; the caller puts it. */
static struct json_object *line_at(size_t index)
{
    struct slice rest = slice_str(text), line = SLICE_NULL;
    for (size_t i = 0; i <= index; i++)
        line = slice_cut(&rest, '\n');
    struct json_object *json = json_parse(line, "the line", NULL);
    assert_non_null(json);
    return json;
}

static const struct log_context lower = {.context = "v2-ingestor:bigquery"};
static const struct log_context run = {
    "v2-ingestor:ingestor:jobs", "0b0cf0f5-5b70-4e2b-a3f2-2a9f4d3c1e10", "task-1", "jobs", "full", 7};

static void a_line_has_the_ids_of_the_scope_and_a_context_of_its_own(void **state)
{
    (void)state;
    const struct log_context other = {.context = "v2-ingestor:x", .entity = "invoices"};
    assert_null(log_scope());
    assert_null(log_scope_set(&run));
    log_info(&lower, LOG_MSG("one"));
    log_info(&other, LOG_MSG("two"));
    log_info(NULL, LOG_MSG("three"));
    assert_ptr_equal(log_scope_set(NULL), &run);
    log_info(&lower, LOG_MSG("four"));
    assert_int_equal(read_lines(), 4);
    struct json_object *line = line_at(0);
    assert_string_equal(json_text_at(line, "context", ""), "v2-ingestor:bigquery");
    assert_string_equal(json_text_at(line, "runId", ""), run.run_id);
    assert_string_equal(json_text_at(line, "taskId", ""), "task-1");
    assert_string_equal(json_text_at(line, "entityType", ""), "jobs");
    assert_string_equal(json_text_at(line, "mode", ""), "full");
    assert_int_equal(json_int_at(line, "tenantId", 0), 7);
    json_object_put(line);
    line = line_at(1);
    assert_string_equal(json_text_at(line, "entityType", ""), "invoices");
    assert_string_equal(json_text_at(line, "runId", ""), run.run_id);
    json_object_put(line);
    line = line_at(2);
    assert_string_equal(json_text_at(line, "context", ""), "v2-ingestor:ingestor:jobs");
    json_object_put(line);
    line = line_at(3);
    assert_null(json_at(line, "runId"));
    assert_null(json_at(line, "tenantId"));
    json_object_put(line);
}

static void *log_from_a_thread(void *inherited)
{
    assert_null(log_scope()); /* nothing comes by itself */
    log_info(&lower, LOG_MSG("alone"));
    log_scope_set(inherited);
    log_info(&lower, LOG_MSG("for the run"));
    return NULL;
}

static void a_thread_inherits_the_scope_by_hand(void **state)
{
    (void)state;
    pthread_t thread;
    struct log_context copy = run;
    log_scope_set(&run);
    assert_int_equal(pthread_create(&thread, NULL, log_from_a_thread, &copy), 0);
    pthread_join(thread, NULL);
    assert_ptr_equal(log_scope(), &run);
    assert_int_equal(read_lines(), 2);
    struct json_object *alone = line_at(0), *for_run = line_at(1);
    assert_null(json_at(alone, "runId"));
    assert_string_equal(json_text_at(for_run, "runId", ""), run.run_id);
    json_object_put(alone);
    json_object_put(for_run);
}

static void a_retry_is_told_in_the_brief_s_form(void **state)
{
    (void)state;
    static struct log_limit limit;
    struct error err = ERROR_INIT, network = ERROR_INIT;
    error_set(&err, ERROR_THROTTLED, "http_429", "could not list jobs: 429");
    err.status = 429;
    error_set(&network, ERROR_RETRY, "http_connect", "could not connect");
    log_retry(&lower, &limit, 30000, 1, &err);
    log_retry(&lower, &limit, 1000, 2, &network);
    assert_int_equal(read_lines(), 2);
    struct json_object *line = line_at(0);
    assert_string_equal(json_text_at(line, "severity", ""), "WARN");
    assert_string_equal(json_text_at(line, "message", ""), "API request failed, retrying in 30000ms");
    assert_int_equal(json_int_at(line, "status", 0), 429);
    assert_int_equal(json_int_at(line, "attempt", 0), 1);
    assert_string_equal(json_text_at(line, "errorCode", ""), "http_429");
    json_object_put(line);
    line = line_at(1);
    assert_null(json_at(line, "status")); /* no reply, no status */
    json_object_put(line);
}

static void a_storm_of_retries_is_bounded_and_what_is_left_out_is_counted(void **state)
{
    (void)state;
    enum { STORM = 100000 };
    static struct log_limit limit;
    struct error err = ERROR_INIT;
    uint64_t before = log_left_out();
    error_set(&err, ERROR_RETRY, "http_503", "could not");
    for (int i = 0; i < STORM; i++)
        log_retry(&lower, &limit, 1000, 1, &err);
    uint64_t left_out = log_left_out() - before;
    limit.second--; /* the next second begins */
    log_retry(&lower, &limit, 1000, 1, &err);
    size_t lines = read_lines();
    assert_int_equal(lines + left_out, STORM + 1);
    assert_in_range(lines, LOG_LIMIT_PER_SECOND + 1, 60 * LOG_LIMIT_PER_SECOND);
    struct json_object *line = line_at(lines - 1);
    assert_true(json_int_at(line, "leftOut", 0) > 0);
    json_object_put(line);
}

static void a_level_that_is_off_costs_no_turn(void **state)
{
    (void)state;
    static struct log_limit limit;
    struct error err = ERROR_INIT;
    error_set(&err, ERROR_RETRY, "http_503", "could not");
    log_set_level(LOG_LEVEL_ERROR);
    log_retry(&lower, &limit, 1000, 1, &err);
    assert_int_equal(limit.written, 0);
    assert_int_equal(read_lines(), 0);
}

static void a_mistake_of_the_program_is_a_fatal_line(void **state)
{
    (void)state;
    int status;
    pid_t child = fork();
    if (child == 0) {
        dup2(fds[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        BUG("a \"quoted\" \\ thing\nof \xFF %s", "several lines");
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_int_equal(read_lines(), 1);
    struct json_object *line = line_at(0);
    assert_string_equal(json_text_at(line, "severity", ""), "FATAL");
    assert_string_equal(json_text_at(line, "context", ""), "v2-ingestor:bug");
    assert_non_null(strstr(json_text_at(line, "message", ""), "thing"));
    assert_non_null(strstr(json_text_at(line, "place", ""), "test_log.c:"));
    json_object_put(line);
}

/* JSON allows them, but readers that cut at Unicode's line ends would see two lines, the second of somebody's making. */
static void a_foreign_text_forges_no_line(void **state)
{
    (void)state;
    log_info(NULL, LOG_MSG("Seen"), LOG_STR("taskId", "a\n\xE2\x80\xA8{}\xE2\x80\xA9\xC2\x85\r\xE2\x80\xA6\xC3\xA9"));
    assert_int_equal(read_lines(), 1);
    assert_non_null(strstr(text, "\"a\\n\\u2028{}\\u2029\\u0085\\r\xE2\x80\xA6\xC3\xA9\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_has_the_ids_of_the_scope_and_a_context_of_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_thread_inherits_the_scope_by_hand, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_retry_is_told_in_the_brief_s_form, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_storm_of_retries_is_bounded_and_what_is_left_out_is_counted, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_level_that_is_off_costs_no_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_foreign_text_forges_no_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_mistake_of_the_program_is_a_fatal_line, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
