#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "../../../src/record/number.h"

#define NINES_29 "99999999999999999999999999999"

static void integers_are_exact(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool fits;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"12", true, 12},
        {"12.0", true, 12},
        {"12.000e0", true, 12},
        {"1.2e1", true, 12},
        {"1200e-2", true, 12},
        {"007", true, 7},
        {"0.0", true, 0},
        {"0e999999999999999999999", true, 0},
        {"9007199254740993", true, 9007199254740993},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"9223372036854775807.0", true, INT64_MAX},
        {"922337203685477580.7e1", true, INT64_MAX},
        {"18446744073709551616", false, 0},
        {"123456789012345678901234567890", false, 0},
        {"1e18", true, 1000000000000000000},
        {"1e19", false, 0},
        {"1e400", false, 0},
        {"12.5", false, 0},
        {"1e-1", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1.", false, 0},
        {".5", false, 0},
        {"1e", false, 0},
        {"1e+", false, 0},
        {"1.2.3", false, 0},
        {"0x10", false, 0},
        {"NaN", false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t value = 42;
        bool fits = number_to_int64(slice_str(cases[i].text), &value);
        if (fits != cases[i].fits || value != (fits ? cases[i].value : 42))
            fail_msg("%s: fits %d, value %lld", cases[i].text, fits, (long long)value);
    }
}

static void numerics_are_exact(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum number_fit fit;
        const char *plain;
    } cases[] = {
        {"0", NUMBER_EXACT, "0"},
        {"-0", NUMBER_EXACT, "0"},
        {"-0.00", NUMBER_EXACT, "0"},
        {"0.00", NUMBER_EXACT, "0"},
        {"424.1700000000", NUMBER_EXACT, "424.17"},
        {"007.50", NUMBER_EXACT, "7.5"},
        {"1e2", NUMBER_EXACT, "100"},
        {"1E+2", NUMBER_EXACT, "100"},
        {"12.5e-3", NUMBER_EXACT, "0.0125"},
        {"-1.000000001", NUMBER_EXACT, "-1.000000001"},
        {"0.000000001", NUMBER_EXACT, "0.000000001"},
        {"1e-9", NUMBER_EXACT, "0.000000001"},
        {NINES_29 ".999999999", NUMBER_EXACT, NINES_29 ".999999999"},
        {"-" NINES_29 ".999999999", NUMBER_EXACT, "-" NINES_29 ".999999999"},
        {"1e28", NUMBER_EXACT, "10000000000000000000000000000"},
        {"1e29", NUMBER_OUT_OF_RANGE, ""},
        {"1e400", NUMBER_OUT_OF_RANGE, ""},
        {"1e999999999999999999999", NUMBER_OUT_OF_RANGE, ""},
        {"100000000000000000000000000000", NUMBER_OUT_OF_RANGE, ""},
        {NINES_29 ".9999999995", NUMBER_OUT_OF_RANGE, ""},
        {NINES_29 ".9999999994", NUMBER_ROUNDED, NINES_29 ".999999999"},
        {"1.123456789012", NUMBER_ROUNDED, "1.123456789"},
        {"1.0000000005", NUMBER_ROUNDED, "1"},
        {"1.0000000015", NUMBER_ROUNDED, "1.000000002"},
        {"1.0000000025", NUMBER_ROUNDED, "1.000000002"},
        {"1.00000000250000", NUMBER_ROUNDED, "1.000000002"},
        {"1.00000000250001", NUMBER_ROUNDED, "1.000000003"},
        {"-1.0000000015", NUMBER_ROUNDED, "-1.000000002"},
        {"0.9999999995", NUMBER_ROUNDED, "1"},
        {"0.9999999994", NUMBER_ROUNDED, "0.999999999"},
        {"0.0000000005", NUMBER_ROUNDED, "0"},
        {"0.00000000050001", NUMBER_ROUNDED, "0.000000001"},
        {"-0.0000000004", NUMBER_ROUNDED, "0"},
        {"0.00000000009", NUMBER_ROUNDED, "0"},
        {"1e-400", NUMBER_ROUNDED, "0"},
        {"9e-999999999999999999999", NUMBER_ROUNDED, "0"},
        {"", NUMBER_MALFORMED, ""},
        {"abc", NUMBER_MALFORMED, ""},
        {"1,000.00", NUMBER_MALFORMED, ""},
        {"$1", NUMBER_MALFORMED, ""},
        {"--1", NUMBER_MALFORMED, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char plain[NUMERIC_TEXT_SIZE] = "";
        size_t len = 0;
        enum number_fit fit = number_to_numeric(slice_str(cases[i].text), plain, &len);
        if (fit != cases[i].fit || strcmp(plain, cases[i].plain) != 0 || len != strlen(plain))
            fail_msg("%s: fit %d, '%s'", cases[i].text, fit, plain);
    }
}

static void doubles_are_nearest(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double value;
    } cases[] = {
        {"0", 0.0},
        {"33.4484", 33.4484},
        {"-112.0740373", -112.0740373},
        {"0.1", 0.1},
        {"1e22", 1e22},
        {"1e23", 1e23},
        {"123456789012345678", 123456789012345678.0},
        {"2.2250738585072011e-308", 2.2250738585072011e-308},
        {"1.7976931348623157e308", 1.7976931348623157e308},
        {"4.9e-324", 4.9e-324},
        {"1e-400", 0.0},
        {"9007199254740993", 9007199254740992.0},
    };
    double value = 7;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(number_to_double(slice_str(cases[i].text), &value));
        if (memcmp(&value, &cases[i].value, sizeof value) != 0)
            fail_msg("%s: %.17g, not %.17g", cases[i].text, value, cases[i].value);
    }
    value = 7;
    assert_false(number_to_double(SLICE_LIT("1e400"), &value));
    assert_false(number_to_double(SLICE_LIT("x"), &value));
    assert_true(value > 6.9);
}

static void knows_what_json_values_hold(void **state)
{
    (void)state;
    static const char *const fit[] = {"0",
                                      "-0",
                                      "1.5",
                                      "9223372036854775807",
                                      "-9223372036854775808",
                                      "18446744073709551615",
                                      "123456789.012345",
                                      "1e299",
                                      "0.100",
                                      "1e2"};
    static const char *const lost[] = {"18446744073709551616",
                                       "-9223372036854775809",
                                       "0.1234567890123456",
                                       "1e400",
                                       "123456789012345678901234567890",
                                       "1e-400",
                                       "9007199254740993.0"};
    for (size_t i = 0; i < sizeof fit / sizeof fit[0]; i++)
        if (!number_fits_json(slice_str(fit[i])))
            fail_msg("%s fits", fit[i]);
    for (size_t i = 0; i < sizeof lost / sizeof lost[0]; i++)
        if (number_fits_json(slice_str(lost[i])))
            fail_msg("%s does not fit", lost[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_exact),
        cmocka_unit_test(numerics_are_exact),
        cmocka_unit_test(doubles_are_nearest),
        cmocka_unit_test(knows_what_json_values_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
