/* Counts of generated records against counting them one by one. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "st_time.h"

#define END_TICKS (1761040800LL * ST_TICKS_PER_SECOND) /* 2025-10-21T10:00:00Z */

static const struct st_class CLASSES[ST_CLASSES] = {
    {ST_UNMODIFIED, 11, false, false}, {2, 20, false, false},           {48, 10, false, false},
    {9 * 24, 9, false, false},         {35 * 24, 5, false, false},      {120 * 24, 3, false, false},
    {400 * 24, 2, false, false},       {ST_UNMODIFIED, 1, false, true}, {30 * 24, 2, true, false},
    {300 * 24, 1, true, false},
};

static const struct shape {
    int64_t count;
    int duplicate_permille, tie_percent, tie_run;
} SHAPES[] = {
    {0, 0, 0, 1},       {1, 0, 0, 1},     {2, 500, 0, 1},       {63, 0, 0, 1},     {64, 100, 50, 3},
    {130, 300, 100, 7}, {2047, 0, 10, 8}, {9001, 100, 10, 100}, {30000, 12, 2, 8},
};

static struct st_timeline *timeline;

static void make(struct st_series *series, const struct shape *shape, uint64_t seed)
{
    const struct st_series_options options = {
        timeline, CLASSES, seed, shape->count, shape->duplicate_permille, shape->tie_percent, shape->tie_run};
    st_series_init(series, &options);
}

static int set_up(void **state)
{
    (void)state;
    timeline = st_timeline_new(END_TICKS, ST_HISTORY_YEARS);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    st_timeline_free(timeline);
    return 0;
}

static void time_passes_with_weight(void **state)
{
    static const int YEARS[] = {1, ST_HISTORY_YEARS, ST_MAX_HISTORY_YEARS};
    (void)state;
    for (size_t y = 0; y < sizeof YEARS / sizeof YEARS[0]; y++) {
        struct st_timeline *line = st_timeline_new(END_TICKS, YEARS[y]);
        uint64_t total = st_timeline_weight(line);
        int64_t last = st_timeline_start(line), length = END_TICKS - last;
        int64_t least = YEARS[y] * 36525 * ST_TICKS_PER_DAY / 100;
        assert_true(length >= least && length < least + 8 * ST_TICKS_PER_DAY);
        assert_int_equal(st_timeline_hours(line), length / ST_TICKS_PER_HOUR);
        assert_int_equal(st_timeline_at(line, 0), last);
        for (uint64_t i = 1; i <= 100000; i++) {
            int64_t at = st_timeline_at(line, total / 100000 * i);
            assert_true(at >= last && at < last + 4 * ST_TICKS_PER_DAY * YEARS[y]);
            last = at;
        }
        assert_int_equal(st_timeline_at(line, total), END_TICKS);
        st_timeline_free(line);
    }
}

static void created_grows_with_the_index(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof SHAPES / sizeof SHAPES[0]; s++) {
        struct st_series series;
        make(&series, &SHAPES[s], 5);
        int64_t last = st_timeline_start(timeline), ties = 0;
        for (int64_t i = 0; i < series.count; i++) {
            int64_t created = st_series_created(&series, i);
            assert_true(created >= last);
            assert_true(created < END_TICKS);
            ties += i > 0 && created == last;
            last = created;
            int64_t modified = st_series_modified(&series, i);
            assert_true(modified == ST_NO_TIME || (modified >= created && modified < END_TICKS));
        }
        if (SHAPES[s].tie_percent == 100)
            assert_true(ties > series.count / 2);
    }
}

static int64_t count_slowly(const struct st_series *series, const struct st_count_query *query)
{
    int64_t count = 0;
    bool open = query->modified.from == ST_NO_TIME && query->modified.to == ST_FOREVER;
    for (int64_t i = 0; i < series->count; i++) {
        int64_t modified = st_series_modified(series, i);
        if (modified == ST_NO_TIME && query->null_as_created)
            modified = st_series_created(series, i);
        bool dated = modified != ST_NO_TIME && modified >= query->modified.from && modified < query->modified.to;
        count += i >= query->indexes.from && i < query->indexes.to && (query->mask >> st_series_class(series, i) & 1) &&
                 (open || dated);
    }
    return count;
}

static int64_t some_instant(const struct st_series *series, struct st_random *r)
{
    uint32_t draw = st_random_below(r, 20);
    if (draw == 0)
        return ST_NO_TIME;
    if (draw == 1)
        return ST_FOREVER;
    if (draw < 10 && series->count > 0) { /* exactly on a record, or next to it */
        int64_t index = (int64_t)st_random_below(r, (uint32_t)series->count);
        int64_t modified = st_series_modified(series, index);
        return (modified == ST_NO_TIME ? st_series_created(series, index) : modified) + (int64_t)st_random_below(r, 3) -
               1;
    }
    int64_t start = st_timeline_start(timeline) - ST_TICKS_PER_DAY;
    return start + (int64_t)(st_random_next(r) % (uint64_t)(END_TICKS + 2 * ST_TICKS_PER_DAY - start));
}

static void counts_equal_counting(void **state)
{
    (void)state;
    struct st_random r = {99};
    for (size_t s = 0; s < sizeof SHAPES / sizeof SHAPES[0]; s++) {
        struct st_series series;
        make(&series, &SHAPES[s], 7 + s);
        for (int i = 0; i < (series.count > 5000 ? 60 : 400); i++) {
            struct st_count_query query = {
                .mask = st_random_percent(&r, 50) ? 0x3ff : st_random_below(&r, 0x400),
                .indexes = {0, series.count},
                .modified = {some_instant(&series, &r), some_instant(&series, &r)},
                .null_as_created = st_random_percent(&r, 50),
            };
            if (st_random_percent(&r, 50) && series.count > 0)
                query.indexes = (struct st_span){st_random_below(&r, (uint32_t)series.count + 1),
                                                 st_random_below(&r, (uint32_t)series.count + 1)};
            if (query.modified.from > query.modified.to || query.modified.from == ST_FOREVER ||
                query.modified.to == ST_NO_TIME)
                query.modified = (struct st_span){ST_NO_TIME, ST_FOREVER};
            assert_int_equal(st_series_count(&series, &query), count_slowly(&series, &query));
        }
    }
}

static void candidates_hold_all_that_match(void **state)
{
    (void)state;
    struct st_random r = {3};
    struct st_series series;
    make(&series, &SHAPES[7], 21);
    for (int round = 0; round < 60; round++) {
        int64_t from = some_instant(&series, &r), to = some_instant(&series, &r);
        struct st_count_query query = {
            0x3ff, {0, series.count}, {from < to ? from : to, from < to ? to : from}, round % 2 == 0};
        struct st_span spans[3 * ST_CLASSES];
        size_t count = st_series_candidates(&series, &query, spans);
        int64_t found = 0;
        for (size_t i = 0; i < count; i++) {
            assert_true(i == 0 || spans[i].from > spans[i - 1].to);
            for (int64_t index = spans[i].from; index < spans[i].to; index++)
                found += st_series_matches(&series, &query, index);
        }
        assert_int_equal(found, st_series_count(&series, &query));
    }
}

static void index_is_found_by_time(void **state)
{
    (void)state;
    struct st_random r = {4};
    struct st_series series;
    make(&series, &SHAPES[7], 2);
    for (int round = 0; round < 2000; round++) {
        int64_t ticks = some_instant(&series, &r);
        int64_t index = st_series_index_at(&series, ticks);
        assert_true(index == series.count || st_series_created(&series, index) >= ticks);
        assert_true(index == 0 || st_series_created(&series, index - 1) < ticks);
    }
}

static void duplicates_are_equal_neighbours(void **state)
{
    (void)state;
    struct st_series series;
    make(&series, &SHAPES[7], 2);
    int64_t duplicates = 0;
    for (int64_t i = 0; i < series.count; i++) {
        int64_t original = st_series_original(&series, i);
        assert_true(original == i || (original == i - 1 && (i & 1)));
        assert_int_equal(st_series_created(&series, i), st_series_created(&series, original));
        assert_int_equal(st_series_modified(&series, i), st_series_modified(&series, original));
        duplicates += original != i;
    }
    assert_in_range(duplicates, series.count / 2 / 10 / 2, series.count / 2 / 10 * 2);
}

static void a_hundred_million_need_no_walk(void **state)
{
    (void)state;
    const struct shape large = {100000000, 12, 2, 8};
    struct st_series series;
    make(&series, &large, 1);
    struct st_random r = {8};
    for (int round = 0; round < 50; round++) {
        int64_t middle = some_instant(&series, &r);
        if (middle == ST_NO_TIME || middle == ST_FOREVER)
            continue;
        struct st_count_query before = {0x3ff, {0, series.count}, {ST_NO_TIME, middle}, true};
        struct st_count_query after = {0x3ff, {0, series.count}, {middle, ST_FOREVER}, true};
        assert_int_equal(st_series_count(&series, &before) + st_series_count(&series, &after), series.count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_passes_with_weight),        cmocka_unit_test(created_grows_with_the_index),
        cmocka_unit_test(counts_equal_counting),          cmocka_unit_test(candidates_hold_all_that_match),
        cmocka_unit_test(index_is_found_by_time),         cmocka_unit_test(duplicates_are_equal_neighbours),
        cmocka_unit_test(a_hundred_million_need_no_walk),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
