/* The seed corpus of fuzz_record, replayed in every test run; inputs that once showed a fault stay in it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

#define FUZZ_REPLAY_IN_TEST
#include "../../fuzz/fuzz_record.c"

static void the_corpus_shows_no_fault(void **state)
{
    (void)state;
    const char *root = getenv("ST_ROOT");
    char *path = xasprintf("%s/test/fuzz/corpus/record", root ? root : ".");
    replay(path);
    free(path);
    assert_in_range(replayed, 10, 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_corpus_shows_no_fault)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
