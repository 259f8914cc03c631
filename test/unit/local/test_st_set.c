/* Selections over generated and edited records against looking at every record. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>

#include "st_set.h"

#define END_TICKS (1761040800LL * ST_TICKS_PER_SECOND)

struct world {
    struct st_timeline *timeline;
    struct st_company company;
    struct st_overlay overlays[ST_ENTITIES];
    int64_t now;
};

static void make(struct world *w, int64_t jobs)
{
    w->timeline = st_timeline_new(END_TICKS, ST_HISTORY_YEARS);
    const struct st_company_options options = {w->timeline, 77, 3, jobs, 30, 10, 5};
    st_company_init(&w->company, &options);
    for (int e = 0; e < ST_ENTITIES; e++)
        st_overlay_init(&w->overlays[e], &w->company, (enum st_entity)e);
    w->now = END_TICKS + 5 * ST_TICKS_PER_SECOND;
}

static void drop(struct world *w)
{
    for (int e = 0; e < ST_ENTITIES; e++)
        st_overlay_release(&w->overlays[e]);
    st_timeline_free(w->timeline);
}

static void edit(struct world *w, enum st_entity entity, unsigned kinds, int64_t count, uint64_t seed,
                 bool same_instant)
{
    struct st_edit_batch batch = {
        .count = count, .seed = seed, .now = w->now += ST_TICKS_PER_SECOND, .same_instant = same_instant, .index = -1};
    struct st_edit_result result;
    struct error err = ERROR_INIT;
    for (int kind = 0; kind < ST_EDIT_KINDS; kind++)
        batch.kinds[kind] = kinds >> kind & 1;
    bool ok = st_overlay_apply(&w->overlays[entity], &batch, &result, &err);
    assert_string_equal(err.message, "");
    assert_true(ok);
}

enum {
    CREATE = 1 << ST_EDIT_CREATE,
    CHANGE = 1 << ST_EDIT_CHANGE,
    OFF = 1 << ST_EDIT_DEACTIVATE,
    ON = 1 << ST_EDIT_REACTIVATE,
    DELETE = 1 << ST_EDIT_DELETE,
    MERGE = 1 << ST_EDIT_MERGE,
};

static const struct {
    enum st_entity entity;
    unsigned kinds;
} KINDS[] = {
    {ST_JOBS, CREATE | CHANGE | DELETE},
    {ST_INVOICES, CREATE | CHANGE | OFF | ON | DELETE},
    {ST_CUSTOMERS, CREATE | CHANGE | OFF | ON | DELETE | MERGE},
    {ST_PAYROLL, CREATE | CHANGE | DELETE},
    {ST_CAMPAIGNS, CREATE | CHANGE | OFF},
};

static int64_t instant(const struct world *w, const struct st_overlay *overlay, struct st_random *r)
{
    struct st_version v;
    int64_t index = (int64_t)(st_random_next(r) % (uint64_t)st_overlay_limit(overlay));
    if (st_random_percent(r, 60) && st_overlay_version(overlay, index, &v))
        return (st_random_percent(r, 50) || v.modified == ST_NO_TIME ? v.created : v.modified) +
               (int64_t)st_random_below(r, 3) - 1;
    return st_timeline_start(w->timeline) +
           (int64_t)(st_random_next(r) % (uint64_t)(w->now - st_timeline_start(w->timeline)));
}

static struct st_span span(const struct world *w, const struct st_overlay *overlay, struct st_random *r)
{
    if (st_random_percent(r, 40))
        return (struct st_span){ST_NO_TIME, ST_FOREVER};
    int64_t a = instant(w, overlay, r), b = instant(w, overlay, r);
    struct st_span both = {a < b ? a : b, a < b ? b : a};
    if (st_random_percent(r, 25))
        both.to = ST_FOREVER;
    return both;
}

static struct st_filter some_filter(const struct world *w, const struct st_overlay *overlay, struct st_random *r)
{
    struct st_filter filter = ST_FILTER_ALL;
    filter.created = span(w, overlay, r);
    filter.modified = span(w, overlay, r);
    filter.active = (enum st_active)((int)st_random_below(r, 3) - 1);
    filter.with_deleted = st_random_percent(r, 30);
    filter.null_as_created = st_random_percent(r, 30);
    return filter;
}

static int64_t dated(const struct st_version *v)
{
    return v->modified == ST_NO_TIME ? v->created : v->modified;
}

static int by_modified(const void *a, const void *b)
{
    const struct st_version *x = a, *y = b;
    if (dated(x) != dated(y))
        return dated(x) < dated(y) ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static size_t select_slowly(const struct st_overlay *overlay, const struct st_filter *filter, enum st_order order,
                            struct st_version *ret)
{
    size_t count = 0;
    for (int64_t i = 0; i < st_overlay_limit(overlay); i++)
        if (st_overlay_version(overlay, i, &ret[count]) && st_filter_matches(filter, overlay, &ret[count]))
            count++;
    if (order == ST_BY_MODIFIED)
        qsort(ret, count, sizeof *ret, by_modified);
    return count;
}

static void compare(const struct st_set *set, enum st_order order, const struct st_version *expected, size_t count,
                    struct st_random *r)
{
    assert_int_equal(set->total, count);
    bool descending = st_random_percent(r, 50);
    size_t limit = 1 + st_random_below(r, (uint32_t)count + 10), got = 0;
    if (limit < count / 10)
        limit = count / 10;
    struct st_version *page = calloc(limit, sizeof *page);
    for (size_t offset = 0; offset <= count; offset += limit) {
        size_t n = st_set_page(set, order, descending, (int64_t)offset, limit, page);
        assert_int_equal(n, offset + limit <= count ? limit : count - offset);
        for (size_t i = 0; i < n; i++, got++) {
            const struct st_version *want = &expected[descending ? count - 1 - got : got];
            assert_int_equal(page[i].index, want->index);
            assert_int_equal(page[i].modified, want->modified);
            assert_int_equal(page[i].revision, want->revision);
        }
    }
    assert_int_equal(got, count);
    free(page);
}

static void compare_some(struct world *w, enum st_entity entity, struct st_random *r)
{
    struct st_overlay *overlay = &w->overlays[entity];
    st_overlay_read_lock(overlay, w->now, 0);
    struct st_version *all = calloc((size_t)st_overlay_limit(overlay) + 1, sizeof *all);
    for (int round = 0; round < 25; round++) {
        struct st_filter filter = some_filter(w, overlay, r);
        struct st_set set;
        st_set_init(&set, overlay, &filter);
        for (int order = ST_BY_INDEX; order <= ST_BY_MODIFIED; order++)
            compare(&set, (enum st_order)order, all, select_slowly(overlay, &filter, (enum st_order)order, all), r);
        st_set_release(&set);
    }
    free(all);
    st_overlay_unlock(overlay);
}

static void pages_and_totals_equal_a_full_look(void **state)
{
    (void)state;
    struct st_random r = {12};
    for (size_t k = 0; k < ST_COUNT(KINDS); k++) {
        struct world w;
        make(&w, 1500);
        compare_some(&w, KINDS[k].entity, &r);
        for (uint64_t batch = 1; batch <= 4; batch++) {
            edit(&w, KINDS[k].entity, KINDS[k].kinds, 150, batch, batch == 3);
            compare_some(&w, KINDS[k].entity, &r);
        }
        drop(&w);
    }
}

static void places_in_the_order_of_change(void **state)
{
    (void)state;
    struct world w;
    make(&w, 800);
    edit(&w, ST_INVOICES, CREATE | CHANGE | OFF, 200, 1, /*same_instant=*/true);
    struct st_overlay *overlay = &w.overlays[ST_INVOICES];
    struct st_filter filter = ST_FILTER_ALL;
    st_overlay_read_lock(overlay, w.now, 0);
    struct st_version *all = calloc((size_t)st_overlay_limit(overlay) + 1, sizeof *all);
    size_t count = select_slowly(overlay, &filter, ST_BY_MODIFIED, all);
    struct st_set set;
    st_set_init(&set, overlay, &filter);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(st_set_up_to(&set, dated(&all[i]), all[i].index), i + 1);
    st_set_release(&set);
    st_overlay_unlock(overlay);
    free(all);
    drop(&w);
}

static void links_select_both_ways(void **state)
{
    (void)state;
    struct world w;
    make(&w, 700);
    edit(&w, ST_INVOICES, CREATE | CHANGE, 300, 4, false);
    struct st_overlay *overlay = &w.overlays[ST_INVOICES];
    int64_t sum = 0;
    st_overlay_read_lock(overlay, w.now, 0);
    for (int64_t job = -1; job < w.company.count[ST_JOBS]; job++) {
        struct st_filter filter = ST_FILTER_ALL;
        filter.linked = true;
        filter.link_target = job;
        filter.link_count = w.company.count[ST_JOBS];
        struct st_set set;
        st_set_init(&set, overlay, &filter);
        assert_true(job >= 0 || set.total == 0);
        sum += set.total;
        st_set_release(&set);
    }
    assert_int_equal(sum, st_overlay_limit(overlay));
    st_overlay_unlock(overlay);
    drop(&w);
}

static void edits_are_seen_after_the_lag(void **state)
{
    (void)state;
    struct world w;
    make(&w, 300);
    struct st_overlay *overlay = &w.overlays[ST_CUSTOMERS];
    const int64_t lag = 60 * ST_TICKS_PER_SECOND;
    struct st_edit_batch batch = {.count = 1, .kinds[ST_EDIT_CHANGE] = true, .now = w.now, .lag = lag, .index = 5};
    struct st_edit_result first, second;
    struct error err = ERROR_INIT;
    assert_true(st_overlay_apply(overlay, &batch, &first, &err));
    batch.now += lag / 2;
    assert_true(st_overlay_apply(overlay, &batch, &second, &err));
    static const struct {
        int64_t after_half_lags;
        uint32_t revision;
    } cases[] = {{0, 0}, {1, 0}, {2, 1}, {3, 2}};
    for (size_t i = 0; i < ST_COUNT(cases); i++) {
        struct st_version v;
        st_overlay_read_lock(overlay, w.now + cases[i].after_half_lags * lag / 2 + ST_TICKS_PER_SECOND, lag);
        assert_true(st_overlay_version(overlay, 5, &v));
        assert_int_equal(v.revision, cases[i].revision);
        st_overlay_unlock(overlay);
    }
    assert_true(second.last_modified > first.last_modified);
    drop(&w);
}

static void edits_have_growing_instants(void **state)
{
    (void)state;
    struct world w;
    make(&w, 300);
    int64_t last = 0;
    for (int i = 0; i < 50; i++) {
        struct st_edit_batch batch = {
            .count = 20, .kinds[ST_EDIT_CHANGE] = true, .seed = (uint64_t)i, .now = w.now, .index = -1};
        struct st_edit_result result;
        struct error err = ERROR_INIT;
        assert_true(st_overlay_apply(&w.overlays[ST_JOBS], &batch, &result, &err));
        assert_int_equal(result.applied[ST_EDIT_CHANGE], 20);
        assert_true(result.first_modified > last);
        assert_true(result.last_modified >= result.first_modified + 19);
        last = result.last_modified;
    }
    drop(&w);
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    static const struct {
        enum st_entity entity;
        unsigned kinds;
        int64_t count, index;
        const char *message;
    } cases[] = {
        {ST_JOBS, OFF, 1, -1, "cannot deactivate \"jobs\": the entity has no active flag"},
        {ST_PAYMENTS, MERGE, 1, -1, "cannot merge \"payments\": only customers and locations"},
        {ST_JOBS, 0, 1, -1, "cannot apply 1 edits: 0 to 200000 of at least one kind are allowed"},
        {ST_JOBS, CHANGE, 200001, -1, "cannot apply 200001 edits: 0 to 200000 of at least one kind are allowed"},
        {ST_JOBS, CHANGE, 1, 300, "cannot edit record 300: there is none"},
    };
    struct world w;
    make(&w, 300);
    for (size_t i = 0; i < ST_COUNT(cases); i++) {
        struct st_edit_batch batch = {.count = cases[i].count, .now = w.now, .index = cases[i].index};
        struct st_edit_result result;
        struct error err = ERROR_INIT;
        for (int kind = 0; kind < ST_EDIT_KINDS; kind++)
            batch.kinds[kind] = cases[i].kinds >> kind & 1;
        assert_false(st_overlay_apply(&w.overlays[cases[i].entity], &batch, &result, &err));
        assert_string_equal(err.message, cases[i].message);
    }
    drop(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_and_totals_equal_a_full_look),
        cmocka_unit_test(places_in_the_order_of_change),
        cmocka_unit_test(links_select_both_ways),
        cmocka_unit_test(edits_are_seen_after_the_lag),
        cmocka_unit_test(edits_have_growing_instants),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
