/* secret_blot: what a server repeats of our secrets is not shown, in whatever form it does. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/secret.h"

/* base64 of it, with 0, 1 and 2 bytes before: YzNjci90K2tleT1+MDEyMw== eGMzY3IvdCtrZXk9fjAxMjM= eHljM2NyL3Qra2V5PX4wMTIz */
#define SECRET "c3cr/t+key=~0123"

static const struct {
    const char *text, *blotted;
} cases[] = {
    {"", ""},
    {"an ordinary error: c3cr/t+ is too short to be it", "an ordinary error: c3cr/t+ is too short to be it"},
    {"refused: " SECRET ".", "refused: ****************."},
    {SECRET SECRET, "********************************"},
    {"cut: c3cr/t+ke", "cut: *********"},
    {"the end t+key=~0123 of it", "the end *********** of it"},
    {"form: a=c3cr%2Ft%2Bkey%3D~0123&b", "form: a=**********************&b"},
    {"form: a=c3cr%2ft%2bkey%3d~0123&b", "form: a=**********************&b"},
    {"Basic YzNjci90K2tleT1+MDEyMw==", "Basic *********************w=="},
    {"Basic eGMzY3IvdCtrZXk9fjAxMjM=", "Basic eGMz******************M="},
    {"Basic eHljM2NyL3Qra2V5PX4wMTIz", "Basic eHlj********************"},
    {"url YzNjci90K2tleT1-MDEyMw", "url *********************w"},
};

static void what_repeats_a_secret_is_blotted_out(void **state)
{
    (void)state;
    struct secret *secret = secret_new(slice_str(SECRET));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "%s", cases[i].text);
        bool found = secret_blot(text, secret);
        assert_string_equal(text, cases[i].blotted);
        assert_int_equal(found, strcmp(cases[i].text, cases[i].blotted) != 0);
    }
    secret_unref(secret);
}

static void secrets_that_are_none_blot_nothing(void **state)
{
    (void)state;
    char text[] = "the key was refused";
    struct secret *none = secret_new(SLICE_NULL), *word = secret_new(slice_str("key")),
                  *four = secret_new(slice_str("fuse"));
    assert_false(secret_blot(text, NULL));
    assert_false(secret_blot(text, none));
    assert_false(secret_blot(text, word));
    assert_true(secret_blot(text, four));
    assert_string_equal(text, "the key was re****d");
    secret_unref(none);
    secret_unref(word);
    secret_unref(four);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_repeats_a_secret_is_blotted_out),
        cmocka_unit_test(secrets_that_are_none_blot_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
