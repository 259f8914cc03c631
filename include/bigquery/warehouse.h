/* warehouse.h - the warehouse as the worker sees it: datasets, DDL, sync state, verification and the change chain (design 7). */
#ifndef ST_BIGQUERY_WAREHOUSE_H
#define ST_BIGQUERY_WAREHOUSE_H

#include "base/uuid.h"
#include "bigquery/client.h"
#include "bigquery/events.h"
#include "record/page.h"
#include "record/registry.h"

struct warehouse_names {
    const char *project; /* NULL: statements leave it out, and the call's own project holds (the DDL script) */
    const char *raw, *stage, *mart, *logs; /* datasets */
};

struct warehouse {
    struct bq_client *client; /* borrowed, all of them */
    struct bq_writer *writer;
    struct events *events;
    struct warehouse_names names;
    const struct registry *registry;
    struct warehouse_state *state; /* NULL at first: where the chains stand; made at first use */
    size_t max_change_days;        /* 0 = CHANGE_MAX_DAYS; all workers of a target the same */
};
/* Partitions that one change may modify. BigQuery fails a job that modifies more than 4,000; the rest is for what it may
 * count besides. A wider change is done in parts, see src/bigquery/split_sql.c. */
enum { CHANGE_MAX_DAYS = 3900 };
void warehouse_release(struct warehouse *w); /* frees the state; no call may be under way */

/* ---- DDL: every statement of init, in order, for the enabled entities. The same texts make sql/bigquery_schemas.sql. ----------------------- */
struct ddl_statement {
    char *object; /* "table st_raw_v2.raw_jobs" */
    char *sql;
};
struct ddl {
    struct ddl_statement *items;
    size_t count;
};
/* Tables of the mart dataset, for those that list all tables. */
size_t mart_table_count(void);
const struct table_schema *mart_table(size_t index); /* NULL past the end */
void ddl_build(const struct warehouse_names *names, const struct registry *registry, struct ddl *ret);
void ddl_release(struct ddl *ddl);

/* The objects behind these statements, in the same order, for other forms than SQL. Borrowed, valid during the call. */
struct ddl_object {
    enum ddl_kind { DDL_DATASET, DDL_TABLE, DDL_VIEW } kind;
    const char *dataset, *name, *description; /* name: NULL for a dataset; description is never NULL */
    const struct table_schema *table;         /* DDL_TABLE */
    const char *query;                        /* DDL_VIEW */
    size_t
        level; /* DDL_VIEW: it reads views of lower levels only; 0: tables alone, or what init makes before the marts */
};
void ddl_each_object(const struct warehouse_names *names, const struct registry *registry,
                     void (*fn)(void *user, const struct ddl_object *object), void *user);
/* Makes what is missing; tells each object and whether it was made. Safe to repeat and to run from several places at once. */
bool warehouse_init(struct warehouse *w, void (*tell)(void *user, const char *object, bool created), void *user,
                    struct cancel *cancel, struct error *err) MUST_CHECK;
/* One cheap look: do the tables that a worker needs exist? */
bool warehouse_is_ready(struct warehouse *w, bool *ret, struct cancel *cancel, struct error *err) MUST_CHECK;

/* ---- Sync state ------------------------------------------------------------------------------------------------ */
struct sync_state {
    bool found;
    int64_t last_sync_us, records_processed, updated_us;
    char continue_from[PAGE_MAX_CONTINUE]; /* of the export feed; "" = none, or too long to be kept */
};
/* The watermark: the maximum within the newest reset. */
bool warehouse_watermark(struct warehouse *w, int64_t tenant, const char *entity, struct sync_state *ret,
                         struct cancel *cancel, struct error *err) MUST_CHECK;
struct task_key { /* a task id alone may be shared by the parts of a fan-out */
    const char *task_id;
    int64_t tenant;
    const char *entity, *mode;
};
/* What is known of a task when it is delivered (full and backfill remember theirs): is it done, and else its checkpoint,
 * by which a later attempt resumes an earlier one. */
struct task_fetch { /* an accepted fetch of an earlier attempt */
    char run_id[UUID_TEXT_SIZE];
    int64_t fetch_id, rows, staged_at_us /* none of its rows is older */;
    bool timeless, by_modified, has_from, has_to; /* its window */
    int64_t from_us, to_us;
};
struct task_history {
    bool done, has_frame;
    int64_t frame_to_us, watermark_us; /* of the first attempt */
    char first_run_id[UUID_TEXT_SIZE]; /* it */
    struct task_fetch *fetches;
    size_t fetch_count;
    size_t void_count; /* further ones that do not count: so old that their rows may go before they are merged, or of
                          before the task was rejected for its data */
};
/* One statement for all of it. */
bool warehouse_task_history(struct warehouse *w, const struct task_key *task, struct task_history *ret,
                            struct cancel *cancel, struct error *err) MUST_CHECK;
void task_history_release(struct task_history *state);

/* ---- Stage verification ------------------------------------------------------------------------------------------ */
struct fetch_rows {
    int64_t fetch_id, distinct_rows;
    size_t run; /* index of its run */
    int64_t staged_min_us, staged_max_us;
};
struct stage_check { /* what the stage holds of some runs, by run and fetch */
    struct fetch_rows *fetches;
    size_t count;
};
/* What was staged before since_us is not seen. */
bool warehouse_verify_stage(struct warehouse *w, const struct entity *entity, const char *const *run_ids,
                            size_t run_count, int64_t since_us, struct stage_check *ret, struct cancel *cancel,
                            struct error *err) MUST_CHECK;
/* A fetch that is not there has no rows. */
const struct fetch_rows *stage_check_find(const struct stage_check *check, size_t run, int64_t fetch_id);
void stage_check_release(struct stage_check *check);

/* ---- The change chain -------------------------------------------------------------------------------------------- */
struct merge_outcome {
    int64_t change_number;
    int64_t
        rows_changed; /* this run's share by rows of what the change inserted, updated and deleted; exact when it was alone */
    int64_t bytes_billed; /* this run's share by rows */
    size_t runs_in_change;
    bool rejected; /* the run's rows break the merge for good: err says how */
    /* A run that was too wide for one change: the numbers are sums over its parts, apart from those that ended before
     * this call began. */
};
/* Takes an announced run (events_staged is durable) to the target: returns when a change that includes it is DONE and recorded, whoever
 * inserted it. Any number of callers in any number of processes. ERROR_PERMANENT with ret->rejected: this run alone fails for good. */
bool warehouse_merge(struct warehouse *w, const struct entity *entity, const char *run_id, struct merge_outcome *ret,
                     struct cancel *cancel, struct error *err) MUST_CHECK;
/* The texts, for the analyzer test and the docs. `partitions`: "YYYY-MM-DD" literals; null_partition always included. */
void merge_sql(struct buf *out, const struct warehouse_names *names, const struct entity *entity,
               const char *const *partitions, size_t count, int64_t staged_min_us, int64_t staged_max_us);
void find_sql(struct buf *out, const struct warehouse_names *names, const struct entity *entity, size_t max_days);
/* Calls fn for each further statement text that this layer sends (name, SQL). */
void warehouse_each_sql(const struct warehouse_names *names, const struct registry *registry,
                        void (*fn)(void *user, const char *name, const char *sql), void *user);

#endif
