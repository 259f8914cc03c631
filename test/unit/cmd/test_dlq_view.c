/* What a dead letter shows on a terminal: whoever may publish chooses its bytes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "dlq_view.h"

/* What is printed on standard output; free it. */
static char *printed(const struct dlq_letter *letter, bool json)
{
    char *text = NULL;
    size_t size = 0;
    FILE *real = stdout;
    stdout = open_memstream(&text, &size);
    dlq_print_letter(letter, json);
    fclose(stdout);
    stdout = real;
    return text;
}

static bool steers(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text == 0x7F || ((unsigned char)*text < 0x20 && *text != '\n') ||
            ((unsigned char)text[0] == 0xC2 && (unsigned char)text[1] >= 0x80 && (unsigned char)text[1] < 0xA0))
            return true;
    return false;
}

static void a_letter_does_not_steer_the_terminal(void **state)
{
    static const char bad[] = "a\x1b[2J\x7f\xc2\x9b"
                              "31mz";
    const struct pubsub_attribute attributes[] = {{bad, "plain"}, {"plain", bad}};
    const struct dlq_letter letter = {
        .id = "17", .data = slice_str(bad), .attributes = attributes, .attribute_count = 2};
    (void)state;
    char *text = printed(&letter, false);
    assert_false(steers(text));
    assert_non_null(strstr(text, "message        17\n"));
    assert_non_null(strstr(text, "a [2J  31mz"));
    free(text);
    text = printed(&letter, true);
    assert_non_null(strstr(text, "\"messageId\":\"17\""));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_letter_does_not_steer_the_terminal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
