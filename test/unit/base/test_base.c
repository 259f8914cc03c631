/* error, slice, buf, arena, secret, uuid, json, log: the small value modules. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/cancel.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/uuid.h"

static void errors_carry_class_and_are_cut_at_characters(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    char longer[ERROR_MESSAGE_SIZE * 2];
    assert_false(error_set(&err, ERROR_RETRY, "http_503", "could not read '%s'", "x"));
    assert_int_equal(err.class, ERROR_RETRY);
    assert_string_equal(err.message, "could not read 'x'");
    error_prefix(&err, "window %d", 3);
    assert_string_equal(err.message, "window 3: could not read 'x'");
    assert_true(error_may_retry(&err));
    for (size_t i = 0; i + 2 < sizeof longer; i += 2)
        memcpy(longer + i, "\xC3\xA9", 3);
    longer[sizeof longer - 2] = '\0';
    error_set(&err, ERROR_PERMANENT, "x", "a%s", longer);
    assert_true(slice_is_utf8(slice_str(err.message)));
    error_errno(&err, ENOENT, "cannot open '%s'", "f");
    assert_string_equal(err.message, "cannot open 'f': No such file or directory");
    assert_string_equal(error_class_name(ERROR_THROTTLED), "throttled");
}

static void int64_texts_are_read_exactly(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-1", true, -1},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"1 ", false, 0},
        {"+1", false, 0},
        {"0x1", false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t value = 0;
        assert_int_equal(slice_to_int64(slice_str(cases[i].text), &value), cases[i].ok);
        assert_int_equal(value, cases[i].value);
    }
}

static void utf8_is_checked_strictly(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
    } cases[] = {
        {"", true},
        {"plain ascii that is longer than eight", true},
        {"\xC3\xA9", true},
        {"\xE2\x82\xAC", true},
        {"\xF0\x9F\x98\x80", true},
        {"\xC0\x80", false},
        {"\xED\xA0\x80", false},
        {"\xF4\x90\x80\x80", false},
        {"\xE2\x82", false},
        {"\xFF", false},
        {"12345678\x80", false},
        {"\xF5\x80\x80\x80", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(slice_is_utf8(slice_str(cases[i].text)), cases[i].ok);
}

static void slices_cut_and_trim(void **state)
{
    (void)state;
    struct slice rest = slice_str("a.bb.c");
    assert_true(slice_eq_str(slice_cut(&rest, '.'), "a"));
    assert_true(slice_eq_str(slice_cut(&rest, '.'), "bb"));
    assert_true(slice_eq_str(slice_cut(&rest, '.'), "c"));
    assert_int_equal(rest.len, 0);
    assert_true(slice_eq_str(slice_trim(slice_str(" \t x y\r\n")), "x y"));
    assert_true(slice_eq_nocase(slice_str("Retry-After"), slice_str("retry-AFTER")));
    assert_false(slice_eq_nocase(slice_str("a"), slice_str("ab")));
    assert_true(slice_starts_with(slice_str("http://x"), slice_str("http://")));
}

static void buffers_escape(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    buf_append_json_string(&b, slice_of("a\"\\\n\x01\xC3\xA9\xFFz", 9));
    assert_string_equal(b.ptr, "\"a\\\"\\\\\\n\\u0001\xC3\xA9\xEF\xBF\xBDz\"");
    buf_clear(&b);
    buf_append_url_escaped(&b, slice_str("a+b/c d~"));
    assert_string_equal(b.ptr, "a%2Bb%2Fc%20d~");
    buf_clear(&b);
    for (int i = 0; i < 1000; i++)
        buf_printf(&b, "%d,", i);
    assert_int_equal(b.len, 3890);
    char *taken = buf_detach(&b);
    assert_null(b.ptr);
    free(taken);
}

static void arenas_reuse_their_block(void **state)
{
    (void)state;
    struct arena *arena = arena_new(1024);
    for (int round = 0; round < 100; round++) {
        char *small = arena_strdup(arena, slice_str("hello"));
        char *big = arena_zalloc(arena, 5000);
        assert_string_equal(small, "hello");
        assert_int_equal(big[4999], 0);
        assert_int_equal((uintptr_t)big % 16, 0);
        arena_clear(arena);
        assert_true(arena_bytes(arena) <= 1024);
    }
    arena_free(arena);
}

static void json_errors_name_the_place(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *expected; /* NULL: fine */
    } cases[] = {
        {"{\"a\":{\"b\":\"7\"}}", NULL},
        {" 12 ", NULL},
        {"", "is empty"},
        {"{\"a\":1,\n}", "line 2"},
        {"{} x", "line 1, column"},
        {"{\"a\":", "unexpected end"},
        {"null", "is null"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        struct json_object *obj = json_parse(slice_str(cases[i].text), "the text", &err);
        assert_int_equal(obj != NULL, cases[i].expected == NULL);
        if (cases[i].expected && !strstr(err.message, cases[i].expected))
            fail_msg("\"%s\" says not \"%s\"", err.message, cases[i].expected);
        json_object_put(obj);
    }
    struct json_object *obj =
        json_parse(SLICE_LIT("{\"a\":{\"b\":\"7\",\"c\":true,\"d\":null,\"e\":\"False\"}}"), "t", NULL);
    assert_int_equal(json_int_at(obj, "a.b", 0), 7);
    assert_true(json_bool_at(obj, "a.c", false));
    assert_false(json_bool_at(obj, "a.e", true));
    assert_string_equal(json_text_at(obj, "a.d", "none"), "none");
    assert_null(json_at(obj, "a.b.c"));
    json_object_put(obj);
}

static void log_lines_are_json_in_the_brief_s_form(void **state)
{
    (void)state;
    int fds[2];
    char text[2048];
    struct error err = ERROR_INIT;
    const struct log_context ctx = {
        .context = "v2-ingestor:ingestor:jobs", .run_id = "abc123", .entity = "jobs", .tenant = 7};
    assert_int_equal(pipe(fds), 0);
    log_set_fd(fds[1]);
    error_set(&err, ERROR_RETRY, "http_503", "could not");
    log_info(&ctx, LOG_MSG("Ingestion \"completed\""), LOG_INT("recordsFetched", 1247), LOG_BOOL("ok", true),
             LOG_STR("none", NULL), LOG_ERR(&err));
    log_debug(&ctx, LOG_MSG("not shown"));
    log_set_fd(STDERR_FILENO);
    close(fds[1]);
    ssize_t n = read(fds[0], text, sizeof text - 1);
    assert_true(n > 0);
    close(fds[0]);
    assert_int_equal(text[n - 1], '\n');
    struct json_object *line = json_parse(slice_of(text, (size_t)n), "the line", NULL);
    assert_non_null(line);
    assert_string_equal(json_text_at(line, "severity", ""), "INFO");
    assert_string_equal(json_text_at(line, "context", ""), "v2-ingestor:ingestor:jobs");
    assert_string_equal(json_text_at(line, "message", ""), "Ingestion \"completed\"");
    assert_string_equal(json_text_at(line, "runId", ""), "abc123");
    assert_string_equal(json_text_at(line, "entityType", ""), "jobs");
    assert_string_equal(json_text_at(line, "errorClass", ""), "retry");
    assert_int_equal(json_int_at(line, "recordsFetched", 0), 1247);
    assert_int_equal(json_int_at(line, "tenantId", 0), 7);
    json_object_put(line);
}

static void secrets_count_references(void **state)
{
    (void)state;
    struct secret *secret = secret_new(slice_str("hush"));
    struct secret *again = secret_ref(secret);
    secret_unref(secret);
    assert_true(slice_eq_str(secret_reveal(again), "hush"));
    assert_false(secret_is_empty(again));
    assert_true(secret_is_empty(NULL));
    secret_unref(again);
}

static void uuids_are_version_4(void **state)
{
    (void)state;
    char a[UUID_TEXT_SIZE], b[UUID_TEXT_SIZE];
    uuid_generate(a);
    uuid_generate(b);
    assert_int_equal(strlen(a), 36);
    assert_int_equal(a[14], '4');
    assert_non_null(strchr("89ab", a[19]));
    assert_string_not_equal(a, b);
}

static void count_up(void *user)
{
    ++*(int *)user;
}

static void *set_later(void *cancel)
{
    cancel_set(cancel, "shutdown");
    return NULL;
}

static void cancellation_reaches_children_hooks_and_sleepers(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct cancel *parent = cancel_new(NULL), *child = cancel_new(parent);
    int called = 0, removed = 0, late = 0;
    pthread_t thread;
    cancel_add_hook(child, count_up, &called);
    uint64_t handle = cancel_add_hook(child, count_up, &removed);
    cancel_remove_hook(child, handle);
    assert_true(cancel_check(child, &err));
    pthread_create(&thread, NULL, set_later, parent);
    assert_false(cancel_sleep_ms(child, 600000));
    pthread_join(thread, NULL);
    assert_int_equal(called, 1);
    assert_int_equal(removed, 0);
    cancel_add_hook(child, count_up, &late);
    assert_int_equal(late, 1);
    assert_false(cancel_check(child, &err));
    assert_string_equal(err.message, "cancelled: shutdown");
    assert_true(cancel_sleep_ms(NULL, 1));
    cancel_free(child);
    cancel_free(parent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_carry_class_and_are_cut_at_characters),
        cmocka_unit_test(int64_texts_are_read_exactly),
        cmocka_unit_test(utf8_is_checked_strictly),
        cmocka_unit_test(slices_cut_and_trim),
        cmocka_unit_test(buffers_escape),
        cmocka_unit_test(arenas_reuse_their_block),
        cmocka_unit_test(json_errors_name_the_place),
        cmocka_unit_test(log_lines_are_json_in_the_brief_s_form),
        cmocka_unit_test(secrets_count_references),
        cmocka_unit_test(uuids_are_version_4),
        cmocka_unit_test(cancellation_reaches_children_hooks_and_sleepers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
