/* local_options.h - the command line of st-local: one table of options from which parsing and --help come. */
#ifndef ST_LOCAL_LOCAL_OPTIONS_H
#define ST_LOCAL_LOCAL_OPTIONS_H

#include "base/buf.h"

enum { LOCAL_MAX_TENANTS = 256 };

struct local_options {
    const char *data;    /* folder; required unless only Pub/Sub runs */
    const char *project; /* for BQ_PROJECT_ID and PUBSUB_PROJECT_ID */
    const char *only;    /* "pubsub,bigquery,servicetitan" or some of them */
    const char *env_file;
    int64_t pubsub_port, bigquery_port, bigquery_storage_port, servicetitan_port; /* 0 = a free one */
    int64_t tenants[LOCAL_MAX_TENANTS];
    size_t tenant_count;
    int64_t seed, jobs, rate, latency_ms, lag_ms, base_time_s, history_years, dml_duration_ms;
    const char *location;
    const char *fixtures; /* folder of lists that come from files; NULL: none */
    const char *log_level;
    bool help;
    bool pubsub, bigquery, servicetitan; /* from `only` */
};

/* Strings are borrowed from argv. The error names the option, the value and what is allowed. */
bool local_options_parse(struct local_options *options, int argc, char **argv, struct error *err) MUST_CHECK;
void local_options_help(struct buf *out);

#endif
