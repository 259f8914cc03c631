/* test_wide_changes.c - changes of more partitions than one job may modify, against the local BigQuery with a low limit.
 *
 * Each story is told twice: for one tenant by three workers, slow jobs and a limit far below the days it touches, then
 * for another tenant by one worker without a limit that matters. Both tenants must end with the same rows. */
#include "warehouse_fixture.h"

enum {
    JOB_LIMIT = 50, /* of the server */
    MAX_DAYS = 49,  /* of the workers */
    DAYS = 120,     /* of a history */
    KEYS = 240,     /* ids of a tenant */
    NULL_KEYS = 60, /* of them: without modifiedOn at first */
    GROUPS = 50,    /* days of pay */
    LAST_DAY = 12 * 28 - 1,
    NARROW = 7, /* tenants */
    UNLIMITED = 8,
};

#define CAMPAIGNS "`test-project.st_raw_v2.raw_campaigns`"
#define PAY "`test-project.st_raw_v2.raw_payroll`"
#define CHANGES "`test-project.st_logs_v2.target_changes`"

static int64_t job_limit = JOB_LIMIT, max_days = MAX_DAYS;
static unsigned dice; /* seed of the stories that throw some */

static void set_max_days(size_t days)
{
    for (int i = 0; i < WORKERS; i++)
        workers[i].w.max_change_days = days;
}

static void day_text(char *text, size_t size, int day)
{
    snprintf(text, size, "2025-%02d-%02d", 1 + day / 28, 1 + day % 28);
}

/* ---- Stories: what each worker reads in each round */

struct story {
    const char *entity;
    int rounds;
    void (*tell)(struct run *run, int worker, int round);
    bool groups;
};

static void add_campaign(struct run *run, int id, int day)
{
    char record[512], modified[64] = "null", date[32];
    day_text(date, sizeof date, day);
    if (day >= 0)
        snprintf(modified, sizeof modified, "\"%sT10:00:00Z\"", date);
    snprintf(record, sizeof record,
             "{\"id\":%d,\"name\":\"%d\",\"active\":true,\"createdOn\":\"2020-01-01T00:00:00Z\",\"modifiedOn\":%s}", id,
             day, modified);
    run_add(run, record);
}

/* First load: versions of each key over all of history, and some rows without a time. */
static void tell_load(struct run *run, int worker, int round)
{
    (void)round;
    for (int id = 1; id <= KEYS; id++)
        add_campaign(run, id, id <= NULL_KEYS ? -1 : (id + worker * 3) % DAYS);
}

/* Rows without a time get one, each another; the other rows move by some days, here and there over others' versions. */
static void tell_moves(struct run *run, int worker, int round)
{
    for (int id = 1 + worker; id <= KEYS; id++)
        add_campaign(run, id, id <= NULL_KEYS ? DAYS + id : (id * 7 + worker * 5 + round * 40) % (2 * DAYS));
}

/* A mass edit: all rows move to one day. */
static void tell_mass_edit(struct run *run, int worker, int round)
{
    (void)worker;
    (void)round;
    for (int id = 1; id <= KEYS; id++)
        add_campaign(run, id, 2 * DAYS);
}

/* All rows of one day move to as many days as there are. */
static void tell_scatter(struct run *run, int worker, int round)
{
    (void)round;
    for (int id = 1; id <= KEYS; id++)
        add_campaign(run, id, 2 * DAYS + 1 + (id + worker) % (LAST_DAY - 2 * DAYS));
}

/* 0 .. below - 1, the same for both tellings. */
static int throw_dice(int worker, int round, int id, int below)
{
    uint64_t z = ((uint64_t)dice << 40) + ((uint64_t)(worker * 16 + round) << 20) + (uint64_t)id;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (int)((z ^ (z >> 31)) % (uint64_t)below);
}

/* Some keys, each somewhere or without a time. */
static void tell_dice(struct run *run, int worker, int round)
{
    for (int id = 1; id <= 14; id++)
        if (throw_dice(worker, round, id, 4) > 0)
            add_campaign(run, 10000 + id, throw_dice(worker, round, -id, 12) - 1);
}

static void add_pay(struct run *run, const char *id, int group, int modified_day, const char *memo)
{
    char record[768], created[32], modified[32];
    day_text(created, sizeof created, group);
    day_text(modified, sizeof modified, modified_day);
    snprintf(
        record, sizeof record,
        "{\"id\":%s,\"payrollId\":1,\"date\":\"2025-03-01T00:00:00Z\",\"amount\":\"12.50\",\"grossPayItemType\":"
        "\"TimesheetTime\",\"jobId\":5,\"memo\":\"%s\",\"createdOn\":\"%sT08:00:00Z\",\"modifiedOn\":\"%sT09:00:00Z\"}",
        id, memo, created, modified);
    run_add(run, record);
}

/* Whole reads of all groups. In the second round one row of each group has gone, one has changed, one has come. The
 * groups' rows stand on days of their own and on ones that they share. */
static void tell_pay(struct run *run, int worker, int round)
{
    char text[32];
    for (int group = 0; group < GROUPS; group++) {
        add_pay(run, "null", group, group, "stays");
        add_pay(run, "null", group, 100 + group / 10, "stays too");
        if (round == 0)
            add_pay(run, "null", group, group + 1, "goes");
        add_pay(run, "null", group, 60 + (group * 7 + round) % 40, round ? "changed" : "changes");
        if (round > 0)
            add_pay(run, "null", group, 200 + group, "comes");
        snprintf(text, sizeof text, "%d", 1000 + group); /* and rows with an id */
        add_pay(run, text, group, 150 + group / 2 + worker + round * 20, "has an id");
    }
}

struct teller {
    const struct story *story;
    int worker, round;
    int64_t rows_changed;
    pthread_t thread;
};

static int64_t told_at(const struct teller *teller)
{
    return 1000000000LL * (1 + teller->round) + (teller->story->groups ? 0 : 10000000LL * teller->worker);
}

static void begin(struct teller *teller, struct run *run, struct worker *worker)
{
    run_begin(run, worker, teller->story->entity, told_at(teller));
    teller->story->tell(run, teller->worker, teller->round);
    run_announce(run, teller->story->groups);
}

static void *tell_main(void *user)
{
    struct teller *teller = user;
    struct run run;
    begin(teller, &run, &workers[teller->worker]);
    teller->rows_changed = run_merge(&run).rows_changed;
    return NULL;
}

/* All workers at once, round by round. */
static void tell_narrow(const struct story *story, struct teller *tellers)
{
    tenant_id = NARROW;
    set_local("maxJobPartitions", job_limit);
    set_max_days((size_t)max_days);
    set_dml_duration(DML_MS / 3);
    for (int round = 0; round < story->rounds; round++) {
        for (int i = 0; i < WORKERS; i++) {
            tellers[i] = (struct teller){.story = story, .worker = i, .round = round};
            pthread_create(&tellers[i].thread, NULL, tell_main, &tellers[i]);
        }
        for (int i = 0; i < WORKERS; i++)
            pthread_join(tellers[i].thread, NULL);
    }
    set_dml_duration(0);
}

static void tell_unlimited(const struct story *story)
{
    tenant_id = UNLIMITED;
    set_local("maxJobPartitions", 4000);
    set_max_days(0);
    for (int round = 0; round < story->rounds; round++) {
        for (int i = 0; i < WORKERS; i++) {
            struct teller teller = {.story = story, .worker = i, .round = round};
            struct run run;
            begin(&teller, &run, &workers[0]);
            run_merge(&run);
        }
    }
}

static int64_t askf(const char *format, ...) PRINTF_LIKE(1, 2);

static int64_t askf(const char *format, ...)
{
    struct buf sql = BUF_INIT;
    va_list args;
    va_start(args, format);
    buf_vprintf(&sql, format, args);
    va_end(args);
    int64_t answer = ask(buf_cstr(&sql));
    buf_release(&sql);
    return answer;
}

static int64_t changes(const char *target, const char *condition)
{
    return askf("SELECT COUNT(*) FROM " CHANGES " WHERE target = '%s' AND %s", target, condition);
}

/* Rows of one tenant that the other has not, by what does not depend on runs. */
static void expect_same(const char *table, const char *columns)
{
    int64_t differ =
        askf("SELECT COUNT(*) FROM (SELECT row_text, COUNT(*) AS n FROM (SELECT CONCAT(%s) AS row_text FROM %s "
             "WHERE _tenant_id IN (%d, %d)) GROUP BY row_text HAVING COUNT(*) != 2)",
             columns, table, NARROW, UNLIMITED);
    assert_int_equal(differ, 0);
    assert_int_equal(askf("SELECT COUNT(*) - COUNT(DISTINCT id) FROM %s WHERE _tenant_id = %d", table, NARROW), 0);
    assert_true(askf("SELECT COUNT(*) FROM %s WHERE _tenant_id = %d", table, NARROW) > 0);
}

#define CAMPAIGN_COLUMNS "CAST(id AS STRING), '|', COALESCE(CAST(modifiedOn AS STRING), ''), '|', name, '|', _row_hash"
#define PAY_COLUMNS                                                                                                    \
    "CAST(id AS STRING), '|', CAST(modifiedOn AS STRING), '|', memo, '|', _row_hash, '|', "                            \
    "CAST(_deleted_at IS NULL AS STRING)"

/* Both tellings, and that the first one was done by parts. */
static void tell_twice(const struct story *story, const char *target)
{
    struct teller tellers[WORKERS];
    int64_t before = changes(target, "ARRAY_LENGTH(run_ids) = 0");
    tell_narrow(story, tellers);
    assert_true(changes(target, "ARRAY_LENGTH(run_ids) = 0") > before);
    assert_int_equal(changes(target, "state != 'success'"), 0);
    tell_unlimited(story);
}

static void tell_campaigns(void (*tell)(struct run *run, int worker, int round), int rounds)
{
    tell_twice(&(struct story){.entity = "campaigns", .rounds = rounds, .tell = tell}, "raw_campaigns");
    expect_same(CAMPAIGNS, CAMPAIGN_COLUMNS);
    assert_int_equal(askf("SELECT COUNT(*) FROM " CAMPAIGNS " WHERE _tenant_id = %d", NARROW), KEYS);
}

static void a_first_load_of_a_long_history(void **state)
{
    (void)state;
    tell_campaigns(tell_load, 1);
    assert_int_equal(askf("SELECT COUNT(*) FROM " CAMPAIGNS " WHERE _tenant_id = %d AND modifiedOn IS NULL", NARROW),
                     NULL_KEYS);
}

static void keys_that_move_between_partitions(void **state)
{
    (void)state;
    tell_campaigns(tell_moves, 2);
    assert_int_equal(askf("SELECT COUNT(*) FROM " CAMPAIGNS " WHERE _tenant_id = %d AND modifiedOn IS NULL", NARROW),
                     0);
}

static void a_mass_edit_moves_all_rows_to_one_day(void **state)
{
    (void)state;
    tell_campaigns(tell_mass_edit, 1);
    assert_int_equal(askf("SELECT COUNT(DISTINCT modifiedOn) FROM " CAMPAIGNS " WHERE _tenant_id = %d", NARROW), 1);
}

static void the_rows_of_one_day_move_everywhere(void **state)
{
    (void)state;
    tell_campaigns(tell_scatter, 1);
    assert_true(askf("SELECT COUNT(DISTINCT modifiedOn) FROM " CAMPAIGNS " WHERE _tenant_id = %d", NARROW) > JOB_LIMIT);
}

/* A bound of two days is the least that can work: each row that moves is a part for itself. */
static void the_smallest_bound_gets_there_too(void **state)
{
    const struct story story = {.entity = "campaigns", .rounds = 2, .tell = tell_dice};
    (void)state;
    dice = 5;
    job_limit = max_days = 2;
    tell_twice(&story, "raw_campaigns");
    expect_same(CAMPAIGNS, CAMPAIGN_COLUMNS);
    job_limit = JOB_LIMIT;
    max_days = MAX_DAYS;
}

/* The same rows again are no news: one change, and it changes nothing. */
static void a_second_read_of_a_long_history_is_one_change(void **state)
{
    const struct story story = {.entity = "campaigns", .rounds = 1, .tell = tell_scatter};
    struct teller teller = {.story = &story, .worker = 2};
    struct run run;
    (void)state;
    tenant_id = NARROW;
    set_local("maxJobPartitions", JOB_LIMIT);
    set_max_days(MAX_DAYS);
    int64_t before = changes("raw_campaigns", "TRUE");
    begin(&teller, &run, &workers[1]);
    struct merge_outcome outcome = run_merge(&run);
    assert_int_equal(changes("raw_campaigns", "TRUE"), before + 1);
    assert_int_equal(outcome.rows_changed, 0);
}

/* Alone, the numbers of a run are the sums over its parts. */
static void the_outcome_of_a_wide_run_is_the_sum_of_its_parts(void **state)
{
    const struct story story = {.entity = "customers", .rounds = 1};
    struct teller teller = {.story = &story};
    struct run run;
    (void)state;
    tenant_id = NARROW;
    run_begin(&run, &workers[0], story.entity, told_at(&teller));
    for (int id = 1; id <= KEYS; id++) {
        char record[512], date[32];
        day_text(date, sizeof date, id % DAYS);
        snprintf(
            record, sizeof record,
            "{\"id\":%d,\"active\":true,\"name\":\"n\",\"type\":\"Residential\",\"createdOn\":\"2020-01-01T00:00:00Z\","
            "\"createdById\":1,\"modifiedOn\":\"%sT00:00:00Z\",\"balance\":\"1.5\",\"doNotMail\":false,"
            "\"doNotService\":false}",
            id, date);
        run_add(&run, record);
    }
    run_announce(&run, false);
    struct merge_outcome outcome = run_merge(&run);
    assert_int_equal(outcome.rows_changed, KEYS);
    assert_int_equal(outcome.change_number, (DAYS + MAX_DAYS - 1) / MAX_DAYS);
    assert_int_equal(outcome.runs_in_change, 1);
    assert_int_equal(askf("SELECT SUM(bytes_billed) FROM " CHANGES " WHERE target = 'raw_customers'"),
                     outcome.bytes_billed);
}

static void groups_are_replaced_as_sets(void **state)
{
    (void)state;
    tell_twice(&(struct story){.entity = "payroll", .rounds = 2, .tell = tell_pay, .groups = true}, "raw_payroll");
    expect_same(PAY, PAY_COLUMNS);
    assert_int_equal(
        askf("SELECT COUNT(*) FROM " PAY " WHERE _tenant_id = %d AND id < 0 AND _deleted_at IS NULL", NARROW),
        4 * GROUPS);
    assert_int_equal(askf("SELECT COUNT(*) FROM " PAY " WHERE _tenant_id = %d AND memo IN ('goes', 'changes') "
                          "AND _deleted_at IS NULL",
                          NARROW),
                     0);
    /* what the second round changed in a group was changed by one job */
    assert_int_equal(
        askf("SELECT COUNT(DISTINCT _ingested_at) FROM " PAY " WHERE _tenant_id = %d AND id < 0", NARROW) > 3, 1);
    assert_int_equal(askf("SELECT COUNT(*) FROM (SELECT _group_date FROM " PAY " WHERE _tenant_id = %d AND id < 0 AND "
                          "COALESCE(_deleted_at, _fetched_at) >= TIMESTAMP_SECONDS(2000) GROUP BY _group_date HAVING "
                          "COUNT(*) != 4 OR COUNT(DISTINCT _ingested_at) != 1)",
                          NARROW),
                     0);
}

/* A group that stands in more days than a job may modify cannot be replaced as a set: its run is rejected, and the others
 * go on. */
static void a_group_that_is_too_wide_blocks_nobody(void **state)
{
    struct error err = ERROR_INIT;
    struct merge_outcome outcome = {0};
    struct run wide, other;
    (void)state;
    tenant_id = NARROW + 10;
    set_local("maxJobPartitions", JOB_LIMIT);
    set_max_days(MAX_DAYS);
    run_begin(&wide, &workers[0], "payroll", 5000000000);
    for (int i = 0; i <= MAX_DAYS; i++)
        add_pay(&wide, "null", 300, i, "wide");
    run_announce(&wide, true);
    run_begin(&other, &workers[1], "payroll", 5000000000);
    add_pay(&other, "null", 301, 301, "narrow");
    run_announce(&other, true);
    assert_false(warehouse_merge(&workers[0].w, wide.entity, wide.id, &outcome, NULL, &err));
    assert_true(outcome.rejected);
    assert_string_equal(err.code, "too_many_partitions");
    assert_int_equal(run_merge(&other).rows_changed, 1);
    assert_int_equal(askf("SELECT COUNT(*) FROM " PAY " WHERE memo = 'wide'"), 0);
}

/* What all this is for: a worker that does not cut meets the limit. */
static void without_parts_the_job_fails(void **state)
{
    const struct story story = {.entity = "campaigns", .rounds = 1, .tell = tell_load};
    struct teller teller = {.story = &story};
    struct error err = ERROR_INIT;
    struct merge_outcome outcome = {0};
    struct run run;
    (void)state;
    tenant_id = NARROW + 20;
    set_max_days(0);
    begin(&teller, &run, &workers[0]);
    assert_false(warehouse_merge(&workers[0].w, run.entity, run.id, &outcome, NULL, &err));
    assert_string_equal(err.code, "invalidQuery");
    assert_non_null(strstr(err.message, "Too many partitions produced by query, allowed 50"));
}

int main(void)
{
    setenv("ST_CLOCK_SCALE", "100", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_first_load_of_a_long_history),
        cmocka_unit_test(keys_that_move_between_partitions),
        cmocka_unit_test(a_mass_edit_moves_all_rows_to_one_day),
        cmocka_unit_test(the_rows_of_one_day_move_everywhere),
        cmocka_unit_test(the_smallest_bound_gets_there_too),
        cmocka_unit_test(a_second_read_of_a_long_history_is_one_change),
        cmocka_unit_test(the_outcome_of_a_wide_run_is_the_sum_of_its_parts),
        cmocka_unit_test(groups_are_replaced_as_sets),
        cmocka_unit_test(a_group_that_is_too_wide_blocks_nobody),
        cmocka_unit_test(without_parts_the_job_fails),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
