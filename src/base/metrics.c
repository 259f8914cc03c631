/* metrics.c - the series behind the list: a hash table under one mutex, and collectors that fill in at scrape time.
 *
 * A scrape first lets the collectors set what they know, then writes everything in one go with the mutex held, so that
 * what was added together is seen together. Series of collectors that were not set again are dropped; all others stay,
 * as Prometheus wants counters to. Only a scrape frees series. */
#include "base/metrics.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <xxhash.h>

#include "process_metrics.h"

enum { BUCKETS = 1024, MAX_COLLECTORS = 16 };

#define METRIC_ROW(id, kind, unit, name, labels, help) {METRIC_##kind, METRIC_##unit, name, labels, help},
static const struct metric_row {
    enum metric_kind kind;
    enum metric_unit unit;
    const char *name, *labels /* "lane,verdict" */, *help;
} rows[] = {METRICS(METRIC_ROW)};

/* Upper bounds of all histograms, in milliseconds: requests and runs. */
static const int64_t bounds_ms[] = {50,    100,   250,    500,    1000,   2500,    5000,    10000,
                                    30000, 60000, 120000, 300000, 900000, 3600000, 14400000};
enum { BOUNDS = sizeof bounds_ms / sizeof bounds_ms[0] };

struct series {
    struct series *next; /* in its bucket */
    enum metric metric;
    uint64_t hash;
    bool collected, fresh; /* set by a collector; in this scrape */
    int64_t value;         /* histograms: the sum */
    int64_t *counts;       /* histograms: observations per bound, the last beyond all */
    size_t key_len;
    char key[]; /* the label values, each with its NUL */
};

static struct {
    pthread_mutex_t mutex;
    struct series *buckets[BUCKETS];
    size_t count;
    int64_t dropped;
    uint64_t updates;
} table = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static struct {
    pthread_mutex_t mutex; /* also held during a scrape */
    struct {
        metrics_collector_fn *fn;
        void *user;
    } items[MAX_COLLECTORS];
    size_t count;
} collectors = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* ---- Label values ------------------------------------------------------------------------------------------------ */

static size_t label_count(enum metric metric)
{
    size_t count = rows[metric].labels[0] != '\0';
    for (const char *at = rows[metric].labels; *at; at++)
        count += *at == ',';
    return count;
}

struct key {
    size_t len;
    char bytes[METRIC_MAX_LABELS * (METRIC_LABEL_MAX_BYTES + 1)];
};

static void key_add(struct key *key, const char *value)
{
    struct slice text = slice_str(value);
    char *out = key->bytes + key->len;
    if (text.len > METRIC_LABEL_MAX_BYTES)
        text.len = METRIC_LABEL_MAX_BYTES;
    bool clean = slice_is_utf8(text);
    for (size_t i = 0; i < text.len; i++)
        out[i] = clean || (unsigned char)text.ptr[i] < 0x80 ? text.ptr[i] : '?';
    out[text.len] = '\0';
    key->len += text.len + 1;
}

static void key_of(struct key *key, enum metric metric, struct metric_labels labels)
{
    size_t wanted = label_count(metric);
    key->len = 0;
    for (size_t i = 0; i < METRIC_MAX_LABELS; i++) {
        if ((i < wanted) != (labels.values[i] != NULL))
            BUG("metric %s has the labels \"%s\"", rows[metric].name, rows[metric].labels);
        if (i < wanted)
            key_add(key, labels.values[i]);
    }
}

const char *metric_number(char out[METRIC_NUMBER_SIZE], int64_t number)
{
    snprintf(out, METRIC_NUMBER_SIZE, "%lld", (long long)number);
    return out;
}

/* ---- Series. All with the mutex held. ---------------------------------------------------------------------------- */

static struct series *find(enum metric metric, const struct key *key, uint64_t hash)
{
    struct series *series = table.buckets[hash % BUCKETS];
    while (series && (series->hash != hash || series->metric != metric || series->key_len != key->len ||
                      memcmp(series->key, key->bytes, key->len) != 0))
        series = series->next;
    return series;
}

static uint64_t hash_of(enum metric metric, const struct key *key)
{
    return XXH3_64bits_withSeed(key->bytes, key->len, (XXH64_hash_t)metric);
}

/* NULL when there are too many already. */
static struct series *find_or_make(enum metric metric, struct metric_labels labels)
{
    struct key key;
    table.updates++;
    key_of(&key, metric, labels);
    uint64_t hash = hash_of(metric, &key);
    struct series *series = find(metric, &key, hash);
    if (series)
        return series;
    if (table.count == METRICS_MAX_SERIES) {
        table.dropped++;
        return NULL;
    }
    series = xmalloc(sizeof *series + key.len);
    *series =
        (struct series){.next = table.buckets[hash % BUCKETS], .metric = metric, .hash = hash, .key_len = key.len};
    memcpy(series->key, key.bytes, key.len);
    if (rows[metric].kind == METRIC_HISTOGRAM)
        series->counts = xcalloc(BOUNDS + 1, sizeof series->counts[0]);
    table.buckets[hash % BUCKETS] = series;
    table.count++;
    return series;
}

void metrics_add_all(const struct metric_update *updates, size_t count)
{
    pthread_mutex_lock(&table.mutex);
    for (size_t i = 0; i < count; i++) {
        BUG_ON(rows[updates[i].metric].kind != METRIC_COUNTER);
        struct series *series = find_or_make(updates[i].metric, updates[i].labels);
        if (series)
            series->value += updates[i].amount;
    }
    pthread_mutex_unlock(&table.mutex);
}

void metrics_add(enum metric metric, int64_t amount, struct metric_labels labels)
{
    const struct metric_update update = {metric, amount, labels};
    metrics_add_all(&update, 1);
}

void metrics_observe(enum metric metric, int64_t value, struct metric_labels labels)
{
    size_t at = 0;
    BUG_ON(rows[metric].kind != METRIC_HISTOGRAM);
    while (at < BOUNDS && value > bounds_ms[at])
        at++;
    pthread_mutex_lock(&table.mutex);
    struct series *series = find_or_make(metric, labels);
    if (series) {
        series->value += value;
        series->counts[at]++;
    }
    pthread_mutex_unlock(&table.mutex);
}

void metrics_set(enum metric metric, int64_t value, struct metric_labels labels)
{
    BUG_ON(rows[metric].kind == METRIC_HISTOGRAM);
    pthread_mutex_lock(&table.mutex);
    struct series *series = find_or_make(metric, labels);
    if (series) {
        series->value = value;
        series->collected = series->fresh = true;
    }
    pthread_mutex_unlock(&table.mutex);
}

uint64_t metrics_updates(void)
{
    pthread_mutex_lock(&table.mutex);
    uint64_t updates = table.updates;
    pthread_mutex_unlock(&table.mutex);
    return updates;
}

static int64_t observations(const struct series *series)
{
    int64_t total = 0;
    for (size_t i = 0; i <= BOUNDS; i++)
        total += series->counts[i];
    return total;
}

int64_t metrics_value(enum metric metric, struct metric_labels labels)
{
    struct key key;
    key_of(&key, metric, labels);
    pthread_mutex_lock(&table.mutex);
    const struct series *series = find(metric, &key, hash_of(metric, &key));
    int64_t value = metric == METRIC_METRICS_DROPPED ? table.dropped
                    : !series                        ? 0
                    : series->counts                 ? observations(series)
                                                     : series->value;
    pthread_mutex_unlock(&table.mutex);
    return value;
}

/* ---- Collectors -------------------------------------------------------------------------------------------------- */

void metrics_add_collector(metrics_collector_fn *fn, void *user)
{
    pthread_mutex_lock(&collectors.mutex);
    BUG_ON(collectors.count == MAX_COLLECTORS);
    collectors.items[collectors.count].fn = fn;
    collectors.items[collectors.count++].user = user;
    pthread_mutex_unlock(&collectors.mutex);
}

void metrics_remove_collector(metrics_collector_fn *fn, void *user)
{
    pthread_mutex_lock(&collectors.mutex);
    size_t kept = 0;
    for (size_t i = 0; i < collectors.count; i++)
        if (collectors.items[i].fn != fn || collectors.items[i].user != user)
            collectors.items[kept++] = collectors.items[i];
    collectors.count = kept;
    pthread_mutex_unlock(&collectors.mutex);
}

/* Calls fn for each series' place in its list; fn may take the series out of it. With the table's mutex held. */
static void each_series(void (*fn)(struct series **at))
{
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct series **at = &table.buckets[i]; *at;) {
            struct series *series = *at;
            fn(at);
            if (*at == series)
                at = &series->next;
        }
    }
}

static void make_stale(struct series **at)
{
    (*at)->fresh = false;
}

static void drop_stale(struct series **at)
{
    struct series *series = *at;
    if (!series->collected || series->fresh)
        return;
    *at = series->next;
    free(series->counts);
    free(series);
    table.count--;
}

/* With the collectors' mutex held. */
static void collect(void)
{
    pthread_mutex_lock(&table.mutex);
    each_series(make_stale);
    pthread_mutex_unlock(&table.mutex);
    process_metrics_collect();
    for (size_t i = 0; i < collectors.count; i++)
        collectors.items[i].fn(collectors.items[i].user);
}

/* ---- The text form ----------------------------------------------------------------------------------------------- */

static void put_number(struct buf *out, int64_t value, enum metric_unit unit)
{
    uint64_t size = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    const char *sign = value < 0 ? "-" : "";
    if (unit == METRIC_ONE)
        buf_printf(out, "%s%llu", sign, (unsigned long long)size);
    else if (unit == METRIC_MILLI)
        buf_printf(out, "%s%llu.%03llu", sign, (unsigned long long)(size / 1000), (unsigned long long)(size % 1000));
    else
        buf_printf(out, "%s%llu.%06llu", sign, (unsigned long long)(size / 1000000),
                   (unsigned long long)(size % 1000000));
}

/* "0.25", "10": without the zeros that say nothing. */
static void put_bound(struct buf *out, int64_t ms)
{
    put_number(out, ms, METRIC_MILLI);
    while (out->ptr[out->len - 1] == '0')
        out->len--;
    if (out->ptr[out->len - 1] == '.')
        out->len--;
    out->ptr[out->len] = '\0';
}

static void put_label_value(struct buf *out, const char *value)
{
    for (; *value; value++) {
        if (*value == '\\' || *value == '"')
            buf_append_char(out, '\\');
        if (*value == '\n')
            buf_append_str(out, "\\n");
        else
            buf_append_char(out, *value);
    }
}

/* The labels in braces, then a blank; `bound` (may be NULL) is the value of a further label "le". */
static void put_labels(struct buf *out, const struct series *series, const char *bound)
{
    struct slice names = slice_str(rows[series->metric].labels);
    const char *value = series->key, *separator = "{";
    while (names.len > 0) {
        struct slice name = slice_cut(&names, ',');
        buf_printf(out, "%s%.*s=\"", separator, SLICE_ARG(name));
        put_label_value(out, value);
        buf_append_char(out, '"');
        value += strlen(value) + 1;
        separator = ",";
    }
    if (bound) {
        buf_printf(out, "%sle=\"%s\"", separator, bound);
        separator = ",";
    }
    buf_append_str(out, separator[0] == ',' ? "} " : " ");
}

static void put_histogram(struct buf *out, const struct series *series)
{
    const struct metric_row *row = &rows[series->metric];
    struct buf bound = BUF_INIT;
    int64_t below = 0;
    for (size_t i = 0; i <= BOUNDS; i++) {
        buf_clear(&bound);
        if (i < BOUNDS)
            put_bound(&bound, bounds_ms[i]);
        else
            buf_append_str(&bound, "+Inf");
        below += series->counts[i];
        buf_printf(out, "%s_bucket", row->name);
        put_labels(out, series, bound.ptr);
        buf_printf(out, "%lld\n", (long long)below);
    }
    buf_printf(out, "%s_sum", row->name);
    put_labels(out, series, NULL);
    put_number(out, series->value, row->unit);
    buf_printf(out, "\n%s_count", row->name);
    put_labels(out, series, NULL);
    buf_printf(out, "%lld\n", (long long)below);
    buf_release(&bound);
}

static void put_series(struct buf *out, const struct series *series)
{
    const struct metric_row *row = &rows[series->metric];
    if (row->kind == METRIC_HISTOGRAM) {
        put_histogram(out, series);
        return;
    }
    buf_append_str(out, row->name);
    put_labels(out, series, NULL);
    put_number(out, series->value, row->unit);
    buf_append_char(out, '\n');
}

static void put_heading(struct buf *out, const struct metric_row *row)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    buf_printf(out, "# HELP %s ", row->name);
    for (const char *at = row->help; *at; at++) {
        if (*at == '\\')
            buf_append_char(out, '\\');
        buf_append_char(out, *at);
    }
    buf_printf(out, "\n# TYPE %s %s\n", row->name, kinds[row->kind]);
}

static int by_metric_and_labels(const void *a, const void *b)
{
    const struct series *x = *(struct series *const *)a, *y = *(struct series *const *)b;
    if (x->metric != y->metric)
        return x->metric < y->metric ? -1 : 1;
    size_t common = x->key_len < y->key_len ? x->key_len : y->key_len;
    int order = memcmp(x->key, y->key, common);
    return order ? order : (x->key_len > y->key_len) - (x->key_len < y->key_len);
}

/* With the table's mutex held; free with free(). */
static struct series **sorted_series(void)
{
    struct series **all = xcalloc(table.count + 1, sizeof(struct series *));
    size_t count = 0;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct series *series = table.buckets[i]; series; series = series->next)
            all[count++] = series;
    qsort(all, count, sizeof(struct series *), by_metric_and_labels);
    return all;
}

/* A counter without labels is there from the start, so that its first step is seen as one. */
static void put_unlabelled(struct buf *out, enum metric metric)
{
    const struct metric_row *row = &rows[metric];
    int64_t value = metric == METRIC_METRICS_DROPPED ? table.dropped : 0;
    if (row->kind != METRIC_COUNTER || row->labels[0])
        return;
    buf_printf(out, "%s ", row->name);
    put_number(out, value, row->unit);
    buf_append_char(out, '\n');
}

void metrics_render(struct buf *out)
{
    pthread_mutex_lock(&collectors.mutex);
    collect();
    pthread_mutex_lock(&table.mutex);
    each_series(drop_stale);
    struct series **all = sorted_series(), **at = all;
    for (enum metric metric = 0; metric < METRIC_COUNT; metric++) {
        put_heading(out, &rows[metric]);
        if (!*at || (*at)->metric != metric)
            put_unlabelled(out, metric);
        for (; *at && (*at)->metric == metric; at++)
            put_series(out, *at);
    }
    free(all);
    pthread_mutex_unlock(&table.mutex);
    pthread_mutex_unlock(&collectors.mutex);
}

void metrics_markdown(struct buf *out)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    buf_append_str(out, "| metric | kind | labels | what it counts |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        buf_printf(out, "| `%s` | %s | ", rows[i].name, kinds[rows[i].kind]);
        for (const char *at = rows[i].labels; *at; at++)
            buf_append_str(out, *at == ',' ? ", " : (char[]){*at, '\0'});
        buf_printf(out, " | %s |\n", rows[i].help);
    }
}
