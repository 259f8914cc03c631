/* Arithmetic of windows and spans. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "../../../src/servicetitan/windows.h"

#define S 1000000LL
#define BEGIN WINDOW_BEGINNING
#define END WINDOW_END

static const struct {
    int64_t range[2], accepted[4][2], gaps[4][2];
    size_t accepted_count, gap_count;
} gap_cases[] = {
    {{0, 100}, {{0}}, {{0, 100}}, 0, 1},
    {{0, 100}, {{0, 100}}, {{0}}, 1, 0},
    {{0, 100}, {{-50, 200}}, {{0}}, 1, 0},
    {{0, 100}, {{10, 20}, {20, 30}, {60, 90}}, {{0, 10}, {30, 60}, {90, 100}}, 3, 3},
    {{0, 100}, {{10, 50}, {20, 30}, {40, 60}}, {{0, 10}, {60, 100}}, 3, 2},
    {{0, 100}, {{-10, 5}, {100, 120}}, {{5, 100}}, 2, 1},
    {{BEGIN, END}, {{0}}, {{BEGIN, END}}, 0, 1},
    {{BEGIN, END}, {{BEGIN, 10}, {20, END}}, {{10, 20}}, 2, 1},
    {{BEGIN, END}, {{5, 10}}, {{BEGIN, 5}, {10, END}}, 1, 2},
    {{5, END}, {{7, 9}}, {{5, 7}, {9, END}}, 1, 2},
    {{5, END}, {{BEGIN, END}}, {{0}}, 1, 0},
};

static void gaps_are_what_is_left(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof gap_cases / sizeof gap_cases[0]; c++) {
        struct st_window range = window_of(ST_CREATED_ON, gap_cases[c].range[0], gap_cases[c].range[1]), accepted[4],
                         gaps[5];
        for (size_t i = 0; i < gap_cases[c].accepted_count; i++)
            accepted[i] = window_of(ST_CREATED_ON, gap_cases[c].accepted[i][0], gap_cases[c].accepted[i][1]);
        size_t count = window_gaps(&range, accepted, gap_cases[c].accepted_count, gaps);
        if (count != gap_cases[c].gap_count)
            fail_msg("case %zu: %zu gaps instead of %zu", c, count, gap_cases[c].gap_count);
        for (size_t i = 0; i < count; i++)
            if (window_from(&gaps[i]) != gap_cases[c].gaps[i][0] || window_to(&gaps[i]) != gap_cases[c].gaps[i][1])
                fail_msg("case %zu: gap %zu is [%lld, %lld)", c, i, (long long)window_from(&gaps[i]),
                         (long long)window_to(&gaps[i]));
    }
}

static void timeless_windows_cover_no_time(void **state)
{
    (void)state;
    struct st_window range = window_of(ST_CREATED_ON, BEGIN, END), gaps[2], accepted = {.timeless = true};
    assert_int_equal(window_gaps(&range, &accepted, 1, gaps), 1);
    assert_false(gaps[0].has_from || gaps[0].has_to);
}

static void a_window_holds_what_its_filter_lets_through(void **state)
{
    (void)state;
    struct st_window created = window_of(ST_CREATED_ON, 100 * S, 200 * S),
                     modified = window_of(ST_MODIFIED_ON, 100 * S, 200 * S);
    struct st_window open = window_of(ST_MODIFIED_ON, 100 * S, END);
    static const struct {
        int64_t at, sent;
        bool created, modified, open;
    } cases[] = {
        {100 * S, 9999 * S, true, true, true},     {100 * S - 1, 9999 * S, false, false, false},
        {200 * S - 1, 9999 * S, true, true, true}, {200 * S, 9999 * S, false, false, true},
        {200 * S, 300 * S, false, true, true}, /* edited between the search and the reply */
        {99 * S, 99 * S, false, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct st_record_times times = {true, true, cases[i].at, cases[i].at};
        assert_int_equal(window_holds(&created, &times, cases[i].sent), cases[i].created);
        assert_int_equal(window_holds(&modified, &times, cases[i].sent), cases[i].modified);
        assert_int_equal(window_holds(&open, &times, cases[i].sent), cases[i].open);
    }
    struct st_record_times none = {.created_us = 1};
    assert_true(window_holds(&created, &none, 0)); /* nobody can say */
}

static void bites_aim_at_most_of_a_page_on_whole_seconds(void **state)
{
    (void)state;
    struct span unknown = {0, 1000 * S, false, -1};
    assert_int_equal(span_bite_end(&unknown, 5000), 1000 * S);
    struct span span = {0, 1000 * S, false, 100.0 / S}; /* 100 records a second, 100,000 in all */
    int64_t end = span_bite_end(&span, 5000);
    assert_int_equal(end % S, 0);
    assert_in_range(end, 35 * S, 40 * S);
    span.per_us = 100000.0 / S; /* below a second: milliseconds */
    end = span_bite_end(&span, 5000);
    assert_int_equal(end % 1000, 0);
    assert_in_range(end, 35000, 40000);
    span.per_us = 1000; /* below a millisecond */
    assert_in_range(span_bite_end(&span, 5000), 1, 4);
    span.per_us = 1e9; /* and never nothing */
    assert_int_equal(span_bite_end(&span, 5000), 1);
    span.per_us = 0;
    assert_int_equal(span_bite_end(&span, 5000), 1000 * S);
    struct span negative = {-10 * S - 1, -2 * S, false, 100.0 / S};
    assert_int_equal(span_bite_end(&negative, 500), -7 * S);
}

/* Whatever the density does, an overfull window becomes shorter until it is one microsecond. */
static void overfull_windows_always_get_shorter(void **state)
{
    static const int64_t counts[] = {8, 9, 100, 100000, 5000000};
    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct span span = {1735689600123457LL, 1735689600123457LL + 86400 * S, false, -1};
        int rounds = 0;
        for (int64_t end = span_bite_end(&span, 7); end - span.from_us > 1; rounds++) {
            span_overfull(&span, end, counts[i], 7);
            int64_t shorter = span_bite_end(&span, 7);
            assert_true(shorter > span.from_us && shorter < end);
            end = shorter;
        }
        assert_in_range(rounds, 1, 120);
    }
}

static void empty_years_are_crossed_in_growing_steps(void **state)
{
    (void)state;
    struct span span = {0, 10LL * 365 * 86400 * S, false, 1e6 / (10.0 * 365 * 86400 * S)};
    int steps = 0;
    while (span.from_us < span.to_us) {
        int64_t end = span_bite_end(&span, 5000);
        span_learn(&span, end, 0);
        span.from_us = end;
        steps++;
    }
    assert_in_range(steps, 2, 6);
}

static void halves_join_and_small_rests_stay_whole(void **state)
{
    (void)state;
    struct span span = {0, 1000 * S, true, 100.0 / S}, upper;
    assert_true(span_halve(&span, 5000, &upper));
    assert_int_equal(span.to_us, 480 * S); /* 12 of 25 bites */
    assert_int_equal(upper.from_us, 480 * S);
    assert_int_equal(upper.to_us, 1000 * S);
    assert_true(span.open_from && !upper.open_from);
    struct span small = {0, 10 * S, false, 100.0 / S}, unknown = {0, 1000 * S, false, -1}, instant = {0, 1, false, 1e9};
    assert_false(span_halve(&small, 5000, &upper));
    assert_false(span_halve(&unknown, 5000, &upper));
    assert_false(span_halve(&instant, 5000, &upper));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gaps_are_what_is_left),
        cmocka_unit_test(timeless_windows_cover_no_time),
        cmocka_unit_test(a_window_holds_what_its_filter_lets_through),
        cmocka_unit_test(bites_aim_at_most_of_a_page_on_whole_seconds),
        cmocka_unit_test(overfull_windows_always_get_shorter),
        cmocka_unit_test(empty_years_are_crossed_in_growing_steps),
        cmocka_unit_test(halves_join_and_small_rests_stay_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
