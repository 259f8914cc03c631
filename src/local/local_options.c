/* local_options.c - see local_options.h. */
#include "local/local_options.h"

#include <stddef.h>
#include <stdio.h>

#include "st_time.h"

enum kind { KIND_TEXT, KIND_NUMBER, KIND_TENANT };

struct row {
    const char *name, *value; /* "--jobs", "N" */
    enum kind kind;
    size_t offset;
    int64_t min, max;
    const char *text;
};

#define AT(member) offsetof(struct local_options, member)

static const struct row rows[] = {
    {"--data", "DIR", KIND_TEXT, AT(data), 0, 0,
     "folder of BigQuery's tables and the simulator's edits; made when missing"},
    {"--pubsub-port", "N", KIND_NUMBER, AT(pubsub_port), 0, 65535, "port of Pub/Sub (default: a free one)"},
    {"--bigquery-port", "N", KIND_NUMBER, AT(bigquery_port), 0, 65535,
     "port of BigQuery's REST API (default: a free one)"},
    {"--bigquery-storage-port", "N", KIND_NUMBER, AT(bigquery_storage_port), 0, 65535,
     "port of the Storage Write API (default: a free one)"},
    {"--servicetitan-port", "N", KIND_NUMBER, AT(servicetitan_port), 0, 65535,
     "port of ServiceTitan (default: a free one)"},
    {"--project", "ID", KIND_TEXT, AT(project), 0, 0, "project id of the printed settings (default: st-local)"},
    {"--location", "NAME", KIND_TEXT, AT(location), 0, 0, "location of BigQuery's data (default: US)"},
    {"--dml-duration-ms", "N", KIND_NUMBER, AT(dml_duration_ms), 0, 86400000,
     "how long each INSERT, UPDATE, DELETE and MERGE takes at least (default: 0)"},
    {"--tenant", "N", KIND_TENANT, AT(tenants), 1, INT64_MAX, "a ServiceTitan tenant; may be given several times"},
    {"--seed", "N", KIND_NUMBER, AT(seed), 1, INT64_MAX,
     "the same seed makes the same company (default: the folder's, else 1)"},
    {"--jobs", "N", KIND_NUMBER, AT(jobs), 1, 100000000,
     "jobs per tenant; the other entities follow (default: the folder's, else 20000)"},
    {"--rate", "N", KIND_NUMBER, AT(rate), 1, 1000000, "requests per second and tenant before a 429 (default: 60)"},
    {"--latency-ms", "N", KIND_NUMBER, AT(latency_ms), 0, 600000,
     "wait before each reply of ServiceTitan (default: 0)"},
    {"--visibility-lag-ms", "N", KIND_NUMBER, AT(lag_ms), 0, 3600000, "until an edit shows in lists (default: 0)"},
    {"--base-time", "SECONDS", KIND_NUMBER, AT(base_time_s), 1, 4102444800,
     "Unix time at which generated history ends (default: the first start with this folder)"},
    {"--history-years", "N", KIND_NUMBER, AT(history_years), 1, ST_MAX_HISTORY_YEARS,
     "years of generated history (default: the folder's, else 5)"},
    {"--fixtures", "DIR", KIND_TEXT, AT(fixtures), 0, 0,
     "lists of ServiceTitan that come from files: DIR/MODULE/RESOURCE.json, an array of records"},
    {"--only", "LIST", KIND_TEXT, AT(only), 0, 0, "some of pubsub,bigquery,servicetitan (default: all)"},
    {"--env-file", "FILE", KIND_TEXT, AT(env_file), 0, 0,
     "write the printed settings there too, at once, when all is ready"},
    {"--log-level", "LEVEL", KIND_TEXT, AT(log_level), 0, 0, "debug, info, warn or error (default: warn)"},
};

enum { ROW_COUNT = sizeof rows / sizeof rows[0] };

void local_options_help(struct buf *out)
{
    buf_append_str(
        out,
        "st-local is the cloud on your machine: Pub/Sub, BigQuery and a ServiceTitan simulator in one process, on\n"
        "loopback. It speaks the real protocols, so that st-ingestor and Google's own clients work against it.\n\n"
        "usage: st-local --data DIR [OPTIONS]\n\noptions:\n");
    for (size_t i = 0; i < ROW_COUNT; i++) {
        char left[48];
        snprintf(left, sizeof left, "%s %s", rows[i].name, rows[i].value);
        buf_printf(out, "  %-28s %s\n", left, rows[i].text);
    }
    buf_printf(out, "  %-28s %s\n\n", "--help", "this text");
    buf_append_str(
        out,
        "When everything listens, it prints `export NAME=value` lines for the programs that use it, then `# ready`:\n\n"
        "  st-local --data /tmp/st --env-file /tmp/st/env &     start it in the background\n"
        "  . /tmp/st/env && st-ingestor init                    point st-ingestor at it\n"
        "  curl -d '{\"entity\":\"all\",\"count\":100}' $ST_LOCAL_ADMIN_URL/_admin/edits\n"
        "                                                       edit records at the source\n"
        "  curl -d '{\"method\":\"bigquery.jobs.insert\",\"kind\":\"cut_after\"}' $ST_LOCAL_ADMIN_URL/_admin/faults\n"
        "                                                       the next job is made, its answer is lost\n"
        "  curl $ST_LOCAL_ADMIN_URL/_admin                      all faults and hazards of the three services, "
        "counters,\n"
        "                                                       how to stop at the k-th request\n\n"
        "SIGTERM or SIGINT stops it. BigQuery's part survives restarts and crashes; Pub/Sub's messages do not.\n"
        "With ST_CLOCK_SCALE=S all timers (leases, backoffs, durations) run S times as fast.\n"
        "exit codes: 0 stopped, 1 could not start, 2 wrong use\n");
}

static const struct row *find_row(const char *name)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    }
    return NULL;
}

static bool set_value(struct local_options *options, const struct row *row, const char *value, struct error *err)
{
    char *at = (char *)options + row->offset;
    int64_t number = 0;
    if (row->kind == KIND_TEXT) {
        memcpy(at, &value, sizeof value);
        return true;
    }
    if (!slice_to_int64(slice_str(value), &number) || number < row->min || number > row->max)
        return error_set(err, ERROR_PERMANENT, "usage",
                         "bad value \"%s\" for %s: a number from %lld to %lld is allowed", value, row->name,
                         (long long)row->min, (long long)row->max);
    if (row->kind == KIND_NUMBER) {
        memcpy(at, &number, sizeof number);
        return true;
    }
    if (options->tenant_count == LOCAL_MAX_TENANTS)
        return error_set(err, ERROR_PERMANENT, "usage", "too many --tenant options: at most %d are allowed",
                         LOCAL_MAX_TENANTS);
    options->tenants[options->tenant_count++] = number;
    return true;
}

static bool choose_services(struct local_options *o, struct error *err)
{
    struct slice rest = slice_str(o->only);
    while (rest.len > 0) {
        struct slice name = slice_cut(&rest, ',');
        bool *flag = slice_eq_str(name, "pubsub")         ? &o->pubsub
                     : slice_eq_str(name, "bigquery")     ? &o->bigquery
                     : slice_eq_str(name, "servicetitan") ? &o->servicetitan
                                                          : NULL;
        if (!flag)
            return error_set(err, ERROR_PERMANENT, "usage",
                             "bad value \"%s\" for --only: a list of pubsub, bigquery and servicetitan is allowed",
                             o->only);
        *flag = true;
    }
    return true;
}

bool local_options_parse(struct local_options *o, int argc, char **argv, struct error *err)
{
    *o = (struct local_options){.project = "st-local", .only = "pubsub,bigquery,servicetitan", .log_level = "warn"};
    for (int i = 1; i < argc; i++) {
        const struct row *row = find_row(argv[i]);
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            o->help = true;
            return true;
        }
        if (!row)
            return error_set(err, ERROR_PERMANENT, "usage", "unknown option \"%s\"; --help lists them", argv[i]);
        if (++i == argc)
            return error_set(err, ERROR_PERMANENT, "usage", "option %s needs a value: %s", row->name, row->value);
        if (!set_value(o, row, argv[i], err))
            return false;
    }
    if (!choose_services(o, err))
        return false;
    if (!o->data && (o->bigquery || o->servicetitan))
        return error_set(err, ERROR_PERMANENT, "usage", "--data DIR is missing: the folder where the tables live");
    return true;
}
