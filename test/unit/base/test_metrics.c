/* metrics: the exposition format, read back by a strict parser of the test's own; bounds; threads; collectors. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/metrics.h"

enum { MAX_SAMPLES = METRICS_MAX_SERIES + 4096 };

struct sample {
    char text[320]; /* name and labels, unescaped: m{a=1,b=x} */
    char value[32];
};
static struct sample samples[MAX_SAMPLES];
static size_t sample_count, family_count;

/* ---- The parser: fails the test on whatever the format does not allow ------------------------------------------------ */

static struct slice take_name(struct slice *rest)
{
    size_t len = 0;
    while (len < rest->len &&
           (isalnum((unsigned char)rest->ptr[len]) || rest->ptr[len] == '_' || rest->ptr[len] == ':'))
        len++;
    assert_true(len > 0 && !isdigit((unsigned char)rest->ptr[0]));
    struct slice name = slice_of(rest->ptr, len);
    *rest = slice_of(rest->ptr + len, rest->len - len);
    return name;
}

static char take_char(struct slice *rest)
{
    assert_true(rest->len > 0);
    char c = rest->ptr[0];
    *rest = slice_of(rest->ptr + 1, rest->len - 1);
    return c;
}

static void take_labels(struct slice *rest, struct buf *out)
{
    assert_int_equal(take_char(rest), '{');
    char next = ',';
    while (next == ',') {
        struct slice name = take_name(rest);
        buf_printf(out, "%s%.*s=", out->len ? "," : "", SLICE_ARG(name));
        assert_int_equal(take_char(rest), '=');
        assert_int_equal(take_char(rest), '"');
        for (char c = take_char(rest); c != '"'; c = take_char(rest)) {
            if (c == '\\') {
                c = take_char(rest);
                assert_true(c == '\\' || c == '"' || c == 'n');
                c = c == 'n' ? '\n' : c;
            }
            buf_append_char(out, c);
        }
        next = take_char(rest);
    }
    assert_int_equal(next, '}');
}

static void check_number(struct slice text)
{
    size_t digits = 0, points = 0;
    for (size_t i = text.len && text.ptr[0] == '-' ? 1 : 0; i < text.len; i++) {
        digits += isdigit((unsigned char)text.ptr[i]) != 0;
        points += text.ptr[i] == '.';
        assert_true(isdigit((unsigned char)text.ptr[i]) || text.ptr[i] == '.');
    }
    assert_true(digits > 0 && points <= 1);
}

static void take_sample(struct slice line, struct slice family, bool histogram)
{
    struct buf labels = BUF_INIT;
    struct slice rest = line, name = take_name(&rest);
    assert_true(slice_starts_with(name, family));
    if (!histogram)
        assert_true(slice_eq(name, family));
    if (rest.ptr[0] == '{')
        take_labels(&rest, &labels);
    assert_int_equal(take_char(&rest), ' ');
    check_number(rest);
    assert_true(sample_count < MAX_SAMPLES);
    struct sample *sample = &samples[sample_count++];
    snprintf(sample->text, sizeof sample->text, "%.*s{%s}", SLICE_ARG(name), buf_cstr(&labels));
    snprintf(sample->value, sizeof sample->value, "%.*s", SLICE_ARG(rest));
    buf_release(&labels);
}

/* Reads a whole scrape: HELP, TYPE, samples, family after family, each once. */
static void parse(struct slice text)
{
    struct slice family = SLICE_NULL;
    bool typed = true, histogram = false;
    sample_count = family_count = 0;
    assert_true(text.len > 0 && text.ptr[text.len - 1] == '\n');
    assert_true(slice_is_utf8(text));
    while (text.len > 0) {
        struct slice line = slice_cut(&text, '\n');
        if (slice_starts_with(line, SLICE_LIT("# HELP "))) {
            assert_true(typed);
            line = slice_of(line.ptr + 7, line.len - 7);
            family = take_name(&line);
            assert_true(line.len > 2 && line.ptr[0] == ' ');
            typed = false;
            family_count++;
        } else if (slice_starts_with(line, SLICE_LIT("# TYPE "))) {
            line = slice_of(line.ptr + 7, line.len - 7);
            assert_true(!typed && slice_eq(take_name(&line), family));
            histogram = slice_eq_str(line, " histogram");
            bool counter = slice_eq_str(line, " counter");
            assert_true(histogram || counter || slice_eq_str(line, " gauge"));
            /* Prometheus' names: counters, and only they, end in _total; all are ours or the process's own. */
            assert_int_equal(counter, family.len > 6 && memcmp(family.ptr + family.len - 6, "_total", 6) == 0);
            assert_true(slice_starts_with(family, SLICE_LIT("st_ingestor_")) ||
                        slice_starts_with(family, SLICE_LIT("process_")));
            typed = true;
        } else {
            assert_true(typed && family.len > 0);
            take_sample(line, family, histogram);
        }
    }
}

static void scrape(void)
{
    struct buf out = BUF_INIT;
    metrics_render(&out);
    parse(buf_slice(&out));
    buf_release(&out);
}

static const char *value_of(const char *text)
{
    const char *found = NULL;
    for (size_t i = 0; i < sample_count; i++) {
        if (strcmp(samples[i].text, text) == 0) {
            assert_null(found); /* twice */
            found = samples[i].value;
        }
    }
    return found ? found : "none";
}

/* ---- Tests ----------------------------------------------------------------------------------------------------------- */

static void every_metric_of_the_list_is_there_with_its_kind(void **state)
{
    (void)state;
    scrape();
    assert_int_equal(family_count, METRIC_COUNT);
    assert_string_equal(value_of("st_ingestor_metrics_dropped_total{}"), "0");
    assert_string_equal(value_of("st_ingestor_build_info{version=2.0.0}"), "1");
    assert_string_not_equal(value_of("process_open_fds{}"), "none");
    assert_string_not_equal(value_of("process_cpu_seconds_total{}"), "none");
    assert_string_not_equal(value_of("process_start_time_seconds{}"), "none");
    assert_string_not_equal(value_of("process_resident_memory_bytes{}"), "none");
}

static void counters_add_up_and_units_are_written_in_seconds(void **state)
{
    (void)state;
    metrics_add(METRIC_VERDICTS, 2, METRIC_LABELS("live", "done"));
    metrics_add(METRIC_VERDICTS, 3, METRIC_LABELS("live", "done"));
    metrics_add(METRIC_VERDICTS, 1, METRIC_LABELS("live", "retry"));
    metrics_add(METRIC_ST_LIMITER_WAIT, 1042, METRIC_LABELS("7"));
    scrape();
    assert_string_equal(value_of("st_ingestor_verdicts_total{lane=live,verdict=done}"), "5");
    assert_string_equal(value_of("st_ingestor_verdicts_total{lane=live,verdict=retry}"), "1");
    assert_string_equal(value_of("st_ingestor_servicetitan_limiter_wait_seconds_total{tenant=7}"), "1.042");
    assert_int_equal(metrics_value(METRIC_VERDICTS, METRIC_LABELS("live", "done")), 5);
    assert_int_equal(metrics_value(METRIC_VERDICTS, METRIC_LABELS("backfill", "done")), 0);
}

static void label_values_are_escaped_cleaned_and_cut(void **state)
{
    (void)state;
    char longer[METRIC_LABEL_MAX_BYTES + 10], expected[METRIC_LABEL_MAX_BYTES + 64];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    metrics_add(METRIC_MESSAGES_PUBLISHED, 1, METRIC_LABELS("a \"b\" \\ c\nd"));
    metrics_add(METRIC_MESSAGES_PUBLISHED, 2, METRIC_LABELS("\xFF{le=\"\xC3"));
    metrics_add(METRIC_MESSAGES_PUBLISHED, 3, METRIC_LABELS("M\xC3\xBCller"));
    metrics_add(METRIC_MESSAGES_PUBLISHED, 4, METRIC_LABELS(longer));
    metrics_add(METRIC_MESSAGES_PUBLISHED, 5, METRIC_LABELS(""));
    scrape();
    assert_string_equal(value_of("st_ingestor_messages_published_total{topic=a \"b\" \\ c\nd}"), "1");
    assert_string_equal(value_of("st_ingestor_messages_published_total{topic=?{le=\"?}"), "2");
    assert_string_equal(value_of("st_ingestor_messages_published_total{topic=M\xC3\xBCller}"), "3");
    assert_string_equal(value_of("st_ingestor_messages_published_total{topic=}"), "5");
    snprintf(expected, sizeof expected, "st_ingestor_messages_published_total{topic=%.*s}", METRIC_LABEL_MAX_BYTES,
             longer);
    assert_string_equal(value_of(expected), "4");
}

static void values_that_share_their_bytes_are_told_apart(void **state)
{
    (void)state;
    metrics_add(METRIC_VERDICTS, 1, METRIC_LABELS("ab", "c"));
    metrics_add(METRIC_VERDICTS, 2, METRIC_LABELS("a", "bc"));
    scrape();
    assert_string_equal(value_of("st_ingestor_verdicts_total{lane=ab,verdict=c}"), "1");
    assert_string_equal(value_of("st_ingestor_verdicts_total{lane=a,verdict=bc}"), "2");
}

static void histograms_are_cumulative(void **state)
{
    (void)state;
    static const int64_t durations_ms[] = {1, 50, 51, 999, 20000000};
    for (size_t i = 0; i < sizeof durations_ms / sizeof durations_ms[0]; i++)
        metrics_observe(METRIC_ST_REQUEST_DURATION, durations_ms[i], METRIC_LABELS("list"));
    scrape();
    static const struct {
        const char *bound, *count;
    } expected[] = {{"0.05", "2"}, {"0.1", "3"}, {"0.5", "3"}, {"1", "4"}, {"10", "4"}, {"14400", "4"}, {"+Inf", "5"}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "st_ingestor_servicetitan_request_duration_seconds_bucket{endpoint=list,le=%s}",
                 expected[i].bound);
        assert_string_equal(value_of(text), expected[i].count);
    }
    assert_string_equal(value_of("st_ingestor_servicetitan_request_duration_seconds_sum{endpoint=list}"), "20001.101");
    assert_string_equal(value_of("st_ingestor_servicetitan_request_duration_seconds_count{endpoint=list}"), "5");
    assert_int_equal(metrics_value(METRIC_ST_REQUEST_DURATION, METRIC_LABELS("list")), 5);
}

static void the_order_does_not_depend_on_what_came_first(void **state)
{
    (void)state;
    static const char *const topics[] = {"order-z", "order-b", "order-m", "order-a"};
    for (size_t i = 0; i < 4; i++)
        metrics_add(METRIC_MESSAGES_PUBLISHED, 1, METRIC_LABELS(topics[i]));
    scrape();
    const char *last = "";
    for (size_t i = 0; i < sample_count; i++) {
        if (!strstr(samples[i].text, "_total{topic=order-"))
            continue;
        assert_true(strcmp(last, samples[i].text) < 0);
        last = samples[i].text;
    }
    assert_string_not_equal(last, "");
}

struct gauge {
    const char *tenant;
    int64_t value;
};

static void set_gauge(void *user)
{
    const struct gauge *gauge = user;
    metrics_set(METRIC_ST_BREAKER, gauge->value, METRIC_LABELS(gauge->tenant));
    metrics_set(METRIC_WATERMARK_LAG, -gauge->value * 1500, METRIC_LABELS(gauge->tenant, "jobs"));
}

static void what_collectors_set_lives_as_long_as_they_set_it(void **state)
{
    (void)state;
    struct gauge gauge = {"1", 2};
    metrics_add_collector(set_gauge, &gauge);
    scrape();
    assert_string_equal(value_of("st_ingestor_servicetitan_breaker_state{tenant=1}"), "2");
    assert_string_equal(value_of("st_ingestor_watermark_lag_seconds{tenant=1,entity=jobs}"), "-3.000");
    gauge = (struct gauge){"5", 1};
    scrape();
    assert_string_equal(value_of("st_ingestor_servicetitan_breaker_state{tenant=5}"), "1");
    assert_string_equal(value_of("st_ingestor_servicetitan_breaker_state{tenant=1}"), "none");
    metrics_remove_collector(set_gauge, &gauge);
    scrape();
    assert_string_equal(value_of("st_ingestor_servicetitan_breaker_state{tenant=5}"), "none");
}

enum { THREADS = 8, ROUNDS = 5000 };

/* Read, staged and quarantined go together; a scrape in between must never see a part. */
static void *add_many(void *user)
{
    const char *entity = user;
    for (int i = 0; i < ROUNDS; i++) {
        const struct metric_update updates[] = {
            {METRIC_RECORDS_READ, 3, METRIC_LABELS(entity)},
            {METRIC_RECORDS_STAGED, 2, METRIC_LABELS(entity)},
            {METRIC_RECORDS_QUARANTINED, 1, METRIC_LABELS(entity)},
        };
        metrics_add_all(updates, 3);
        metrics_observe(METRIC_RUN_DURATION, i, METRIC_LABELS(entity, "full"));
    }
    return NULL;
}

static void threads_lose_nothing_and_scrapes_are_of_one_moment(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    char jobs[] = "jobs";
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, jobs), 0);
    for (int i = 0; i < 20; i++) {
        scrape();
        const char *read = value_of("st_ingestor_records_read_total{entity=jobs}");
        if (strcmp(read, "none") == 0)
            continue;
        long long staged = strtoll(value_of("st_ingestor_records_staged_total{entity=jobs}"), NULL, 10);
        long long bad = strtoll(value_of("st_ingestor_records_quarantined_total{entity=jobs}"), NULL, 10);
        assert_int_equal(strtoll(read, NULL, 10), staged + bad);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(metrics_value(METRIC_RECORDS_READ, METRIC_LABELS("jobs")), 3 * THREADS * ROUNDS);
    assert_int_equal(metrics_value(METRIC_RUN_DURATION, METRIC_LABELS("jobs", "full")), THREADS * ROUNDS);
}

/* Last: the table stays full. */
static void series_are_bounded_and_what_is_dropped_is_counted(void **state)
{
    (void)state;
    char topic[METRIC_NUMBER_SIZE];
    for (int i = 0; i < METRICS_MAX_SERIES + 100; i++)
        metrics_add(METRIC_MESSAGES_PUBLISHED, 1, METRIC_LABELS(metric_number(topic, 1000000 + i)));
    int64_t dropped = metrics_value(METRIC_METRICS_DROPPED, METRIC_NO_LABELS);
    assert_in_range(dropped, 100, 300);
    metrics_add(METRIC_MESSAGES_PUBLISHED, 7, METRIC_LABELS("1000000")); /* known ones go on */
    scrape();
    assert_string_equal(value_of("st_ingestor_messages_published_total{topic=1000000}"), "8");
    assert_true(strtoll(value_of("st_ingestor_metrics_dropped_total{}"), NULL, 10) >= dropped);
    assert_int_equal(family_count, METRIC_COUNT);
}

static void the_table_for_the_handbook_has_every_metric(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    size_t lines = 0;
    metrics_markdown(&out);
    for (const char *at = buf_cstr(&out); (at = strstr(at, "\n| `")); at++)
        lines++;
    assert_int_equal(lines, METRIC_COUNT);
    assert_non_null(strstr(out.ptr, "| `st_ingestor_verdicts_total` | counter | lane, verdict | "));
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_metric_of_the_list_is_there_with_its_kind),
        cmocka_unit_test(counters_add_up_and_units_are_written_in_seconds),
        cmocka_unit_test(label_values_are_escaped_cleaned_and_cut),
        cmocka_unit_test(values_that_share_their_bytes_are_told_apart),
        cmocka_unit_test(histograms_are_cumulative),
        cmocka_unit_test(the_order_does_not_depend_on_what_came_first),
        cmocka_unit_test(what_collectors_set_lives_as_long_as_they_set_it),
        cmocka_unit_test(threads_lose_nothing_and_scrapes_are_of_one_moment),
        cmocka_unit_test(the_table_for_the_handbook_has_every_metric),
        cmocka_unit_test(series_are_bounded_and_what_is_dropped_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
