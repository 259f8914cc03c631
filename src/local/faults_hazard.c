/* faults_hazard.c - the switches of the fault bench, and its way to the open streams. */
#include <stdlib.h>

#include "faults_internal.h"

/* ---- Hazards ---------------------------------------------------------------------------------------------------- */

enum { HOUR_MS = 3600000, APPEND_IDLE_MS = 600000 };

static const struct {
    const char *name;
    int64_t fallback, high;
} SWITCHES[HAZARDS] = {
    [HAZARD_YOUNG_TABLE_MS] = {"youngTableMs", 0, 24LL * HOUR_MS},
    [HAZARD_JOBS_HIDDEN_LOOKS] = {"jobsHiddenLooks", 0, 1000},
    [HAZARD_JOBS_FORGOTTEN_MS] = {"jobsForgottenMs", 0, 366LL * 24 * HOUR_MS},
    [HAZARD_FORGOTTEN_ARE_FREE] = {"forgottenIdsAreFree", 1, 1},
    [HAZARD_APPEND_IDLE_MS] = {"appendIdleMs", APPEND_IDLE_MS, 24LL * HOUR_MS},
};

int64_t faults_hazard(const struct faults *faults, enum hazard hazard)
{
    return faults ? atomic_load(&faults->hazards[hazard]) : SWITCHES[hazard].fallback;
}

bool faults_set_hazards(struct faults *faults, struct json_object *change, struct error *err)
{
    const char *members[HAZARDS + 1] = {NULL};
    int64_t values[HAZARDS];
    for (int i = 0; i < HAZARDS; i++)
        members[i] = SWITCHES[i].name;
    if (!fault_check_members(change, members, err))
        return false;
    for (int i = 0; i < HAZARDS; i++)
        if (!fault_number(change, SWITCHES[i].name, atomic_load(&faults->hazards[i]), 0, SWITCHES[i].high, &values[i],
                          err))
            return false;
    for (int i = 0; i < HAZARDS; i++)
        atomic_store(&faults->hazards[i], values[i]);
    return true;
}

void faults_reset_hazards(struct faults *faults)
{
    for (int i = 0; i < HAZARDS; i++)
        atomic_store(&faults->hazards[i], SWITCHES[i].fallback);
}

void faults_hazards_json(const struct faults *faults, struct buf *out)
{
    for (int i = 0; i < HAZARDS; i++)
        buf_printf(out, "%c\"%s\":%lld", i ? ',' : '{', SWITCHES[i].name, (long long)atomic_load(&faults->hazards[i]));
    buf_append_char(out, '}');
}

/* ---- Streams ---------------------------------------------------------------------------------------------------- */

void faults_watch_streams(struct faults *faults, fault_streams_fn *fn, void *user)
{
    if (!faults)
        return;
    pthread_mutex_lock(&faults->mutex);
    BUG_ON(faults->watcher_count == FAULTS_MAX_SERVERS);
    faults->watchers[faults->watcher_count++] = (struct fault_watcher){fn, user};
    pthread_mutex_unlock(&faults->mutex);
}

void faults_forget_streams(struct faults *faults, const void *user)
{
    if (!faults)
        return;
    pthread_mutex_lock(&faults->mutex);
    for (size_t i = 0; i < faults->watcher_count; i++)
        if (faults->watchers[i].user == user)
            faults->watchers[i] = faults->watchers[--faults->watcher_count];
    pthread_mutex_unlock(&faults->mutex);
}

int faults_act_on_streams(struct faults *faults, const char *pattern, const char *path, enum fault_stream_act act,
                          int grpc_code)
{
    int count = 0;
    pthread_mutex_lock(&faults->mutex); /* a server that stops waits until we are done with it */
    for (size_t i = 0; i < faults->watcher_count; i++)
        count += faults->watchers[i].fn(faults->watchers[i].user, pattern, path, act, grpc_code);
    pthread_mutex_unlock(&faults->mutex);
    return count;
}
