#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/option.h"

struct values {
    const char *name, *mode, *url, *host;
    int64_t days;
    bool flag;
    struct secret *key;
};
#define AT(member) offsetof(struct values, member)
static const struct option_row rows[] = {
    {.env = "T_NAME",
     .json_path = "a.name",
     .type = OPTION_NAME,
     .offset = AT(name),
     .needed_by = 1,
     .section = "A",
     .text = "Name."},
    {.env = "T_MODE",
     .json_path = "a.mode",
     .type = OPTION_CHOICE,
     .offset = AT(mode),
     .fallback = "slow",
     .choices = "slow|fast",
     .section = "A",
     .text = "Mode."},
    {.env = "T_URL", .type = OPTION_URL, .offset = AT(url), .section = "A", .text = "Address."},
    {.env = "T_HOST", .type = OPTION_HOST_PORT, .offset = AT(host), .section = "B", .text = "Host."},
    {.env = "T_DAYS",
     .json_path = "a.days",
     .type = OPTION_INT,
     .offset = AT(days),
     .fallback = "7",
     .min = 1,
     .max = 30,
     .section = "B",
     .text = "Days."},
    {.env = "T_FLAG",
     .json_path = "a.flag",
     .type = OPTION_BOOL,
     .offset = AT(flag),
     .fallback = "false",
     .section = "B",
     .text = "Flag."},
    {.env = "T_KEY", .type = OPTION_SECRET, .offset = AT(key), .needed_by = 2, .section = "B", .text = "Key."},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static void clear_environment(void)
{
    for (size_t i = 0; i < ROWS; i++)
        unsetenv(rows[i].env);
}

static void later_sources_stand_over_earlier_ones(void **state)
{
    (void)state;
    struct values v = {0};
    struct option_set set;
    struct error err = ERROR_INIT;
    struct json_object *json =
        json_parse(SLICE_LIT("{\"a\":{\"name\":\"from-json\",\"days\":9,\"flag\":true,\"mode\":\"fast\"}}"), "t", &err);
    FILE *file = fopen("env", "w");
    fputs("# comment\n\nexport T_DAYS='11'\nT_KEY=\"k=1\" \nOTHER=x\nT_MODE=slow\nT_NAME=\nT_FLAG=\n", file);
    fclose(file);
    clear_environment();
    setenv("T_DAYS", "12", 1);
    option_set_init(&set, rows, ROWS, &v);
    assert_true(option_set_defaults(&set, &err) && option_set_json(&set, json, "c.json", &err) &&
                option_set_env_file(&set, "env", false, &err) && option_set_environment(&set, &err));
    assert_string_equal(v.name, "from-json");
    assert_string_equal(v.mode, "slow");
    assert_int_equal(v.days, 12);
    assert_true(v.flag);
    assert_string_equal(v.url, "");
    assert_true(slice_eq_str(secret_reveal(v.key), "k=1"));
    struct buf shown = BUF_INIT;
    option_show(&shown, &set);
    assert_null(strstr(shown.ptr, "k=1"));
    assert_non_null(strstr(shown.ptr, "12  (the environment)"));
    buf_release(&shown);
    option_set_release(&set);
    json_object_put(json);
}

static void bad_values_say_which_where_and_what_is_allowed(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *says;
    } cases[] = {
        {"T_DAYS", "0", "T_DAYS is \"0\" (from the environment): a whole number from 1 to 30 is allowed"},
        {"T_DAYS", "31", "1 to 30"},
        {"T_DAYS", "3.5", "whole number"},
        {"T_DAYS", "9223372036854775808", "whole number"},
        {"T_MODE", "quick", "one of slow|fast"},
        {"T_FLAG", "yes", "true or false"},
        {"T_NAME", "a b", "letters, digits"},
        {"T_URL", "http://example.com/", "https://"},
        {"T_URL", "ftp://x", "https://"},
        {"T_URL", "http://127.0.0.1.example.com", "https://"},
        {"T_URL", "http://127.0.0.1:1@example.com", "https://"},
        {"T_URL", "http://[::1]@example.com", "https://"},
        {"T_URL", "http://[::1].example.com", "https://"},
        {"T_URL", "https://me:password@example.com", "https://"},
        {"T_HOST", "localhost", "host:port"},
        {"T_HOST", "h:0", "host:port"},
        {"T_HOST", "h:65536", "host:port"},
        {"T_HOST", "http://h:1", "host:port"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct values v = {0};
        struct option_set set;
        struct error err = ERROR_INIT;
        clear_environment();
        setenv(cases[i].name, cases[i].value, 1);
        option_set_init(&set, rows, ROWS, &v);
        assert_true(option_set_defaults(&set, &err));
        if (option_set_environment(&set, &err) || !strstr(err.message, cases[i].says))
            fail_msg("%s=%s gives \"%s\"", cases[i].name, cases[i].value, err.message);
        option_set_release(&set);
    }
}

static void good_addresses_are_taken(void **state)
{
    (void)state;
    static const char *const urls[] = {"https://api.example.com", "http://127.0.0.1:8080/x", "http://localhost:1",
                                       "http://[::1]:80/"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct values v = {0};
        struct option_set set;
        struct error err = ERROR_INIT;
        clear_environment();
        setenv("T_URL", urls[i], 1);
        option_set_init(&set, rows, ROWS, &v);
        if (!option_set_defaults(&set, &err) || !option_set_environment(&set, &err))
            fail_msg("%s: %s", urls[i], err.message);
        option_set_release(&set);
    }
}

static void what_is_missing_is_named_per_command(void **state)
{
    (void)state;
    struct values v = {0};
    struct option_set set;
    struct error err = ERROR_INIT;
    clear_environment();
    option_set_init(&set, rows, ROWS, &v);
    assert_true(option_set_defaults(&set, &err));
    assert_true(option_set_check(&set, 4, &err));
    assert_false(option_set_check(&set, 1 | 2, &err));
    assert_non_null(strstr(err.message, "T_NAME, T_KEY"));
    option_set_release(&set);
}

static void secrets_never_come_from_the_config_file(void **state)
{
    (void)state;
    static const struct option_row secret_row[] = {
        {.env = "T_KEY", .json_path = "key", .type = OPTION_SECRET, .offset = AT(key), .section = "A", .text = "x"}};
    struct values v = {0};
    struct option_set set;
    struct error err = ERROR_INIT;
    struct json_object *json = json_parse(SLICE_LIT("{\"key\":\"hush\"}"), "t", &err);
    option_set_init(&set, secret_row, 1, &v);
    assert_true(option_set_defaults(&set, &err));
    assert_false(option_set_json(&set, json, "c.json", &err));
    assert_null(strstr(err.message, "hush"));
    option_set_release(&set);
    json_object_put(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(later_sources_stand_over_earlier_ones),
        cmocka_unit_test(bad_values_say_which_where_and_what_is_allowed),
        cmocka_unit_test(good_addresses_are_taken),
        cmocka_unit_test(what_is_missing_is_named_per_command),
        cmocka_unit_test(secrets_never_come_from_the_config_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
