/* Which windows of earlier attempts are kept: those whose rows are all in the stage, and of overlapping ones one. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "run.h"

enum { MAX_WINDOWS = 6, ROWS = 10 };

static const char *const runs[] = {"a", "b"};

/* A window as "<run><fetch> <from> <to>"; "-" is no bound, "timeless" and "modified" what they say; "!": rows are missing
 * in the stage. */
struct window_case {
    const char *windows[MAX_WINDOWS], *kept; /* run and fetch of each */
};

static const struct window_case cases[] = {
    {{NULL}, ""},
    {{"a1 - 10", "a2 10 20", "a3 20 -"}, "a1 a2 a3"},
    {{"a3 20 -", "a1 - 10", "a2 10 20"}, "a1 a2 a3"},          /* by time */
    {{"a1 - 10", "a2! 10 20", "a3 20 -"}, "a1 a3"},            /* not all there */
    {{"a1 - 10", "b1 10 20", "b2 20 30"}, "a1 b1 b2"},         /* of two attempts */
    {{"a1 - 10", "a2 10 20", "b1 - 10", "b2 10 20"}, "b1 b2"}, /* twins: the later reading (see below) */
    {{"a1 - 10", "b1! - 10"}, "a1"},                           /* the later one is not whole */
    {{"a1 0 10", "b1 5 15", "b2 15 20"}, "a1 b2"},             /* not two readings of 5 to 10 */
    {{"a1 0 10", "b1 0 30", "a2 10 20"}, "b1"},                /* the longer one */
    {{"a1 0 10", "b1! 0 30", "a2 10 20"}, "a1 a2"},            /* unless it is not whole */
    {{"a1 - -"}, "a1"},                                        /* everything fitted one page */
    {{"a1 - -", "b1 5 6"}, "a1"},                              /* and covers all others */
    {{"a1 timeless", "a2 - 5"}, "a1 a2"},                      /* they do not cover each other */
    {{"a2 - 5", "a1 timeless", "b1 timeless"}, "b1 a2"},       /* one reading of these as well */
    {{"a2 - 5", "a1 timeless", "b1! timeless"}, "a1 a2"},
    {{"a1 modified", "a2 0 5"}, "a2"}, /* of no use to a read by createdOn */
    {{"c1 0 5", "a2 5 9"}, "a2"},      /* of a run that nobody asked for */
};

/* "-" and nothing are 0. */
static int64_t number(const char *text)
{
    int64_t value = 0;
    return slice_to_int64(slice_str(text), &value) ? value : 0;
}

/* Fetches of run b are later. */
static struct task_fetch parse(const char *text)
{
    struct task_fetch fetch = {.run_id = {text[0]}, .fetch_id = text[1] - '0', .rows = ROWS};
    char from[16] = "", to[16] = "";
    fetch.staged_at_us = text[0];
    sscanf(strchr(text, ' '), "%15s %15s", from, to);
    fetch.timeless = strcmp(from, "timeless") == 0;
    fetch.by_modified = strcmp(from, "modified") == 0;
    fetch.has_from = to[0] && strcmp(from, "-") != 0;
    fetch.has_to = to[0] && strcmp(to, "-") != 0;
    fetch.from_us = number(from);
    fetch.to_us = number(to);
    return fetch;
}

/* Every fetch of runs a and b that the case does not call short is there, in the order of a check. */
static size_t find_rows(const struct window_case *c, struct fetch_rows *ret)
{
    size_t count = 0;
    for (size_t run = 0; run < 2; run++)
        for (int64_t id = 1; id <= MAX_WINDOWS; id++) {
            bool is_short = false;
            for (size_t i = 0; i < MAX_WINDOWS && c->windows[i]; i++)
                is_short = is_short || (c->windows[i][0] == runs[run][0] && c->windows[i][1] - '0' == id &&
                                        c->windows[i][2] == '!');
            ret[count++] = (struct fetch_rows){.run = run, .fetch_id = id, .distinct_rows = is_short ? ROWS - 1 : ROWS};
        }
    return count;
}

static void whole_windows_are_kept_once(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        struct task_fetch fetches[MAX_WINDOWS];
        struct fetch_rows found[2 * MAX_WINDOWS];
        const struct stage_check check = {.fetches = found, .count = find_rows(&cases[n], found)};
        size_t count = 0;
        char kept[64] = "";
        for (; count < MAX_WINDOWS && cases[n].windows[count]; count++)
            fetches[count] = parse(cases[n].windows[count]);
        size_t kept_count = checkpoint_pick(fetches, count, runs, 2, &check);
        for (size_t i = 0, len = 0; i < kept_count; i++)
            len += (size_t)snprintf(kept + len, sizeof kept - len, "%s%s%lld", i ? " " : "", fetches[i].run_id,
                                    (long long)fetches[i].fetch_id);
        if (strcmp(kept, cases[n].kept) != 0)
            fail_msg("case %zu: kept '%s', not '%s'", n, kept, cases[n].kept);
    }
}

static void a_window_without_rows_is_whole(void **state)
{
    struct task_fetch fetch = {.run_id = "a", .fetch_id = 1, .has_to = true, .to_us = 5};
    const struct stage_check nothing = {0};
    (void)state;
    assert_int_equal(checkpoint_pick(&fetch, 1, runs, 1, &nothing), 1);
    fetch.rows = 1;
    assert_int_equal(checkpoint_pick(&fetch, 1, runs, 1, &nothing), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_windows_are_kept_once),
        cmocka_unit_test(a_window_without_rows_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
