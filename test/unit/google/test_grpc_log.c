/* The C core's own words come as log lines of the program's form, and not as errors of ours. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <grpc/support/log.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "google/grpc.h"

static void what_the_core_says_is_a_line_of_the_log(void **state)
{
    (void)state;
    int fds[2], before;
    char text[4096];
    assert_int_equal(pipe(fds), 0);
    grpc_global_init();
    before = dup(STDERR_FILENO);
    dup2(fds[1], STDERR_FILENO); /* both the log and whatever writes on its own */
    gpr_log(GPR_ERROR, "handshake with \"%s\" failed\nbadly", "x");
    gpr_log(GPR_INFO, "nobody asked");
    dup2(before, STDERR_FILENO);
    close(before);
    close(fds[1]);
    ssize_t n = read(fds[0], text, sizeof text);
    close(fds[0]);
    grpc_global_release();
    assert_true(n > 0 && text[n - 1] == '\n');
    assert_ptr_equal(memchr(text, '\n', (size_t)n), text + n - 1); /* one line */
    struct json_object *line = json_parse(slice_of(text, (size_t)n), "the line", NULL);
    assert_non_null(line);
    assert_string_equal(json_text_at(line, "severity", ""), "WARN");
    assert_string_equal(json_text_at(line, "context", ""), "v2-ingestor:grpc");
    assert_string_equal(json_text_at(line, "detail", ""), "handshake with \"x\" failed\nbadly");
    json_object_put(line);
}

int main(void)
{
    unsetenv("GRPC_VERBOSITY");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_core_says_is_a_line_of_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
