/* Percent-decoding of foreign URLs, into exactly as much room as there is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "net/url.h"

static void test_decoding(void **state)
{
    static const struct {
        const char *text;
        bool plus_is_space;
        size_t size;
        const char *want; /* NULL: refused */
    } cases[] = {
        {"", false, 1, ""},
        {"abc", false, 4, "abc"},
        {"abc", false, 3, NULL},
        {"", false, 0, NULL},
        {"a%62c", false, 4, "abc"},
        {"%2F%2f", false, 8, "//"},
        {"a+b", false, 8, "a+b"},
        {"a+b", true, 8, "a b"},
        {"%2B", true, 8, "+"},
        {"%", false, 8, NULL},
        {"%4", false, 8, NULL},
        {"a%zz", false, 8, NULL},
        {"%G0", false, 8, NULL},
        {"%4g", false, 8, NULL},
        {"%00", false, 8, NULL},
        {"a%2", false, 8, NULL},
        {"%ff%FE", false, 8, "\xff\xfe"},
        {"%25%32%35", false, 8, "%25"}, /* decoded once only */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[8];
        bool ok = url_decode(slice_str(cases[i].text), cases[i].plus_is_space, out, cases[i].size);
        if (ok != (cases[i].want != NULL) || (ok && strcmp(out, cases[i].want) != 0))
            fail_msg("case %zu: '%s'", i, cases[i].text);
    }
    char out[4];
    assert_false(url_decode(slice_of("a\0b", 3), false, out, sizeof out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_decoding)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
