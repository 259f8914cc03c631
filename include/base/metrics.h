/* metrics.h - counters, gauges and histograms of this process, in Prometheus' text form.
 *
 *   metrics_add(METRIC_VERDICTS, 1, METRIC_LABELS("live", "done"));
 *
 * The metrics stand in metrics_list.h. All functions are thread-safe. An update takes one lock and one look-up: add per page or request,
 * not per record. The number of series is bounded (METRICS_MAX_SERIES); what does not fit is counted in st_ingestor_metrics_dropped_total. */
#ifndef ST_BASE_METRICS_H
#define ST_BASE_METRICS_H

#include "base/buf.h"
#include "base/metrics_list.h"

enum { METRIC_MAX_LABELS = 3, METRIC_LABEL_MAX_BYTES = 128, METRICS_MAX_SERIES = 32768, METRIC_NUMBER_SIZE = 24 };

#define METRIC_ID(id, kind, unit, name, labels, help) METRIC_##id,
enum metric { METRICS(METRIC_ID) METRIC_COUNT };
#undef METRIC_ID

/* One value per label of the metric, in the list's order; copied. What is not UTF-8 is replaced, what is too long is cut. */
struct metric_labels {
    const char *values[METRIC_MAX_LABELS];
};
#define METRIC_LABELS(...) ((struct metric_labels){{__VA_ARGS__}})
#define METRIC_NO_LABELS ((struct metric_labels){{NULL}})

struct metric_update {
    enum metric metric;
    int64_t amount;
    struct metric_labels labels;
};

void metrics_add(enum metric metric, int64_t amount, struct metric_labels labels); /* counters */
/* Several at once: a scrape sees all of them or none. */
void metrics_add_all(const struct metric_update *updates, size_t count);
void metrics_observe(enum metric metric, int64_t value,
                     struct metric_labels labels); /* histograms, in the metric's unit */

/* What is read at scrape time: collectors are called by metrics_render, one scrape at a time, and call metrics_set for gauges, and for
 * counters that somebody else keeps. A series that no collector has set in a scrape is gone from it. */
typedef void metrics_collector_fn(void *user);
void metrics_set(enum metric metric, int64_t value, struct metric_labels labels);
void metrics_add_collector(metrics_collector_fn *fn, void *user);
/* Returns when it is not running, and will not run again. Never call it with a lock held that the collector takes. */
void metrics_remove_collector(metrics_collector_fn *fn, void *user);

/* The whole state in the text exposition format 0.0.4: each metric of the list with HELP and TYPE, its series in a stable order. */
void metrics_render(struct buf *out);
#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"
/* The list as a markdown table, for the handbook. */
void metrics_markdown(struct buf *out);

/* A series' present value (histograms: the number of observations); 0 when there is none. For tests. */
int64_t metrics_value(enum metric metric, struct metric_labels labels);
/* Updates so far: tests that a hot path makes none. */
uint64_t metrics_updates(void);
/* A number as a label value. */
const char *metric_number(char out[METRIC_NUMBER_SIZE], int64_t number);

#endif
