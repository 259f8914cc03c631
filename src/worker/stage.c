/* Step 6, stage: what the fetches of a run have brought, and the proof that all of it is there.
 *
 * A fetch counts only when it was accepted, that is: read completely and acknowledged by the Storage Write API. Before
 * the merge the stage table is asked how many distinct rows it holds of each accepted fetch; the default stream
 * delivers at least once. */
#include "run.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/timestamp.h"

#define STAGE_MAX_AGE_US (150 * INT64_C(3600000000))
/* Rows differ too much to be measured without reading them; bytes only order and bound changes, so a round figure
 * does. */
enum { QUARANTINE_FREE_RECORDS = 20, STAGE_ROW_BYTES_ESTIMATE = 1024 };

void stage_init(struct run *run)
{
    pthread_mutex_init(&run->stage.lock, NULL);
    run->stage.logged_at_ms = run->started_mono_ms;
    run->stage.earliest_us = run->started_us;
    run->stage.appender =
        bq_writer_table(run->env->services->writer, run->env->settings->bq_dataset_stage, &run->entity->stage);
}

void stage_release(struct run *run)
{
    free(run->stage.accepted);
    free(run->stage.drifts);
    free(run->stage.earlier);
    pthread_mutex_destroy(&run->stage.lock);
}

int64_t stage_next_fetch(struct run *run)
{
    pthread_mutex_lock(&run->stage.lock);
    int64_t id = ++run->stage.next_fetch_id;
    pthread_mutex_unlock(&run->stage.lock);
    return id;
}

/* Once per accepted fetch, so that the counters balance at every scrape, and a fetch that was given up is in none. */
static void count_records(const struct run *run, int64_t fetched, int64_t rows, int64_t quarantined)
{
    const struct metric_labels entity = METRIC_LABELS(run->entity->name);
    const struct metric_update updates[] = {
        {METRIC_RECORDS_READ, fetched, entity},
        {METRIC_RECORDS_STAGED, rows, entity},
        {METRIC_RECORDS_QUARANTINED, quarantined, entity},
    };
    metrics_add_all(updates, sizeof updates / sizeof updates[0]);
}

static void add_accepted(struct stage *stage, struct accepted_fetch fetch)
{
    if (stage->accepted_count == stage->accepted_cap) {
        stage->accepted_cap = stage->accepted_cap ? stage->accepted_cap * 2 : 16;
        stage->accepted = xrealloc(stage->accepted, stage->accepted_cap * sizeof stage->accepted[0]);
    }
    stage->accepted[stage->accepted_count++] = fetch;
}

void stage_accept(struct run *run, int64_t fetch_id, int64_t fetched, int64_t rows, int64_t quarantined)
{
    struct stage *stage = &run->stage;
    count_records(run, fetched, rows, quarantined);
    pthread_mutex_lock(&stage->lock);
    add_accepted(stage, (struct accepted_fetch){.fetch_id = fetch_id, .rows = rows});
    stage->fetched += fetched;
    stage->rows += rows;
    stage->quarantined += quarantined;
    pthread_mutex_unlock(&stage->lock);
}

const char *stage_run_id(const struct run *run, size_t attempt)
{
    return attempt == 0 ? run->run_id : run->stage.earlier[attempt - 1];
}

static size_t attempt_of(struct stage *stage, const char *run_id)
{
    for (size_t i = 0; i < stage->earlier_count; i++)
        if (strcmp(stage->earlier[i], run_id) == 0)
            return i + 1;
    stage->earlier = xrealloc(stage->earlier, (stage->earlier_count + 1) * sizeof stage->earlier[0]);
    snprintf(stage->earlier[stage->earlier_count], UUID_TEXT_SIZE, "%s", run_id);
    return ++stage->earlier_count;
}

/* Its quarantined records were reported and its records counted by the run that read them. */
void stage_take_over(struct run *run, const struct task_fetch *fetch)
{
    struct stage *stage = &run->stage;
    const struct accepted_fetch taken = {fetch->fetch_id, fetch->rows, attempt_of(stage, fetch->run_id)};
    add_accepted(stage, taken);
    stage->fetched += fetch->rows;
    stage->rows += fetch->rows;
    if (fetch->staged_at_us < stage->earliest_us)
        stage->earliest_us = fetch->staged_at_us;
}

static struct run_drift *find_drift(struct stage *stage, const char *field, enum drift_kind kind)
{
    for (size_t i = 0; i < stage->drift_count; i++)
        if (stage->drifts[i].kind == kind && strcmp(stage->drifts[i].field, field) == 0)
            return &stage->drifts[i];
    return NULL;
}

static size_t utf8_cut(struct slice s, size_t max)
{
    size_t len = s.len < max ? s.len : max;
    while (len > 0 && len < s.len && ((unsigned char)s.ptr[len] & 0xC0) == 0x80)
        len--;
    return len;
}

void stage_add_drift(struct run *run, const char *field, enum drift_kind kind, int64_t count, struct slice sample)
{
    struct stage *stage = &run->stage;
    pthread_mutex_lock(&stage->lock);
    if (!stage->drifts)
        stage->drifts = xcalloc(RUN_MAX_DRIFTS, sizeof stage->drifts[0]);
    struct run_drift *drift = find_drift(stage, field, kind);
    if (!drift && stage->drift_count < RUN_MAX_DRIFTS) {
        drift = &stage->drifts[stage->drift_count++];
        *drift = (struct run_drift){.kind = kind};
        snprintf(drift->field, sizeof drift->field, "%s", field);
        memcpy(drift->sample, sample.ptr ? sample.ptr : "", utf8_cut(sample, sizeof drift->sample - 1));
    }
    if (drift)
        drift->count += count;
    pthread_mutex_unlock(&stage->lock);
}

void stage_add_group_day(struct run *run, int32_t day)
{
    struct stage *stage = &run->stage;
    pthread_mutex_lock(&stage->lock);
    size_t at = 0;
    while (at < stage->group_day_count && stage->group_days[at] < day)
        at++;
    bool known = at < stage->group_day_count && stage->group_days[at] == day;
    if (!known && stage->group_day_count == RUN_MAX_GROUP_DAYS) {
        stage->too_many_days = true;
    } else if (!known) {
        memmove(stage->group_days + at + 1, stage->group_days + at,
                (stage->group_day_count - at) * sizeof stage->group_days[0]);
        stage->group_days[at] = day;
        stage->group_day_count++;
    }
    pthread_mutex_unlock(&stage->lock);
}

bool stage_check_quarantine(struct run *run, struct error *err)
{
    struct stage *stage = &run->stage;
    int64_t percent = run->env->settings->quarantine_percent;
    pthread_mutex_lock(&stage->lock);
    int64_t bad = stage->quarantined, all = stage->rows + bad;
    pthread_mutex_unlock(&stage->lock);
    if (bad <= QUARANTINE_FREE_RECORDS || bad * 100 <= all * percent)
        return true;
    return error_set(err, ERROR_PERMANENT, "schema_broken",
                     "Schema validation failed: %lld of %lld records of %s break their schema, more than %lld %%; see "
                     "the quarantine table",
                     (long long)bad, (long long)all, run->entity->name, (long long)percent);
}

static int by_fetch(const void *a, const void *b)
{
    const struct accepted_fetch *x = a, *y = b;
    if (x->attempt != y->attempt)
        return x->attempt < y->attempt ? -1 : 1;
    return x->fetch_id < y->fetch_id ? -1 : x->fetch_id > y->fetch_id;
}

bool stage_compare(const struct run *run, const struct stage_check *check, struct error *err)
{
    for (size_t i = 0; i < run->stage.accepted_count; i++) {
        const struct accepted_fetch *fetch = &run->stage.accepted[i];
        int64_t found = stage_check_find(check, fetch->attempt, fetch->fetch_id)->distinct_rows;
        if (found != fetch->rows)
            return error_set(err, ERROR_RETRY, "stage_incomplete",
                             "could not find all staged rows of %s: fetch %lld of run %s has %lld of %lld",
                             run->entity->name, (long long)fetch->fetch_id, stage_run_id(run, fetch->attempt),
                             (long long)found, (long long)fetch->rows);
    }
    return true;
}

/* When the accepted rows were staged, by the server's clock. */
static void measure(struct run *run, const struct stage_check *check)
{
    for (size_t i = 0; i < run->stage.accepted_count; i++) {
        const struct accepted_fetch *fetch = &run->stage.accepted[i];
        const struct fetch_rows *found = stage_check_find(check, fetch->attempt, fetch->fetch_id);
        if (found->distinct_rows == 0)
            continue;
        if (run->staged_min_us == 0 || found->staged_min_us < run->staged_min_us)
            run->staged_min_us = found->staged_min_us;
        if (found->staged_max_us > run->staged_max_us)
            run->staged_max_us = found->staged_max_us;
    }
    run->staged_bytes = run->stage.rows * STAGE_ROW_BYTES_ESTIMATE;
}

/* No change takes rows that the stage is about to drop (156 hours, find_sql.c): better read them again than wait for
 * that. A later attempt keeps none so old. */
bool stage_check_age(const struct run *run, struct error *err)
{
    if (run->staged_min_us == 0 || clock_wall_us() - run->staged_min_us < STAGE_MAX_AGE_US)
        return true;
    return error_set(err, ERROR_RETRY, "stage_expiring",
                     "could not rely on the staged rows of %s any more: the oldest are about to expire; they are read "
                     "again",
                     run->entity->name);
}

bool stage_verify(struct run *run, struct error *err)
{
    struct stage_check check = {0};
    struct stage *stage = &run->stage;
    qsort(stage->accepted, stage->accepted_count, sizeof stage->accepted[0], by_fetch);
    if (stage->rows == 0)
        return true;
    const char **runs = xcalloc(stage->earlier_count + 1, sizeof *runs);
    for (size_t i = 0; i <= stage->earlier_count; i++)
        runs[i] = stage_run_id(run, i);
    bool ok = warehouse_verify_stage(&run->env->services->warehouse, run->entity, runs, stage->earlier_count + 1,
                                     stage->earliest_us - STAGE_CLOCK_MARGIN_US, &check, run->cancel, err) ||
              error_prefix(err, "verifying the stage");
    free(runs);
    ok = ok && stage_compare(run, &check, err);
    measure(run, &check);
    stage_check_release(&check);
    return ok && stage_check_age(run, err);
}
