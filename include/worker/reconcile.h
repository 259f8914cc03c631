/* reconcile.h - the proof that the warehouse equals the source, or where it does not (one tenant, one entity).
 *
 * The quick form counts windows of createdOn and of modifiedOn on both sides, with one request each, halves those that
 * differ down to a page, reads these and compares keys and versions. Where many differ everything is read, since then
 * differences may hide each other in a count. The deep form reads the range and compares every value, and the sums of
 * money by day.
 *
 * Compared is what the warehouse has to have: versions before the watermark. What changes while this runs is newer. Rows
 * are staged like those of any read, under a run that is never announced, and fall out of the stage by themselves. */
#ifndef ST_WORKER_RECONCILE_H
#define ST_WORKER_RECONCILE_H

#include "bigquery/reconcile.h"
#include "dispatch/services.h"

struct reconcile_request {
    const struct entity *entity;
    int64_t tenant;
    bool has_from, has_to;
    int64_t from_us, to_us; /* of createdOn, to exclusive; without: everything up to the watermark */
    bool deep;
    int readers; /* requests in flight, >= 1 */
    void (*progress)(void *user, const char *step, int64_t done,
                     int64_t of /* -1 unknown */); /* may be NULL; any thread */
    void *progress_user;
};

struct reconcile_result {
    char run_id[40];
    int64_t from_us, to_us;                /* what was compared; from_us INT64_MIN: from the beginning */
    int64_t source_count, warehouse_count; /* of that range by createdOn */
    int64_t windows, differing_windows;    /* counted */
    int64_t requests, records;             /* made; read */
    bool read_all;                         /* the quick form had to read everything */
    struct reconcile_findings findings;
    struct reconcile_sum *sums; /* deep; owned */
    size_t sum_count;
};

/* Needs BigQuery and the tenant's ServiceTitan. Writes the row of st_logs_v2.reconciliation. *ret is to be released in any
 * case. PERMANENT "no_watermark": never synced, so that there is nothing to compare. Blocks; any thread. */
bool reconcile(struct services *services, const struct reconcile_request *request, struct reconcile_result *ret,
               struct cancel *cancel, struct error *err) MUST_CHECK;
void reconcile_result_release(struct reconcile_result *result);
bool reconcile_is_equal(const struct reconcile_result *result);
/* What a repair reads again, as windows of creation time. *ret: free with free(). */
size_t reconcile_repairs(const struct reconcile_result *result, struct reconcile_range **ret);

#endif
