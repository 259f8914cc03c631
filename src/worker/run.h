/* run.h - one attempt at a task: the value that the steps hand on (design 4, steps 3 to 8).
 *
 * A run belongs to the slot thread that made it; its fetches run on reader threads and meet it only in stage.c, under
 * its lock. */
#ifndef ST_WORKER_RUN_H
#define ST_WORKER_RUN_H

#include <pthread.h>

#include "base/log.h"
#include "base/uuid.h"
#include "message.h"
#include "record/encoder.h"
#include "servicetitan/export.h"

enum { RUN_MAX_DRIFTS = 256, RUN_MAX_GROUP_DAYS = 4096 };
/* Our clock and the one of _staged_at may differ by this much. */
#define STAGE_CLOCK_MARGIN_US INT64_C(3600000000)

/* What all runs of a worker share. */
struct sync_cache;
struct fetch_index;
struct run_env {
    struct services *services;
    const struct settings *settings;
    struct sync_cache *watermarks;
    struct fetch_index *fetches;
    const char *worker_name; /* host and pid, for the run log */
    int readers;             /* reader threads of one run */
};

struct accepted_fetch {
    int64_t fetch_id, rows;
    size_t attempt; /* whose it is, see stage_run_id */
};

struct run_drift {
    char field[160];
    enum drift_kind kind;
    int64_t count;
    char sample[128];
};

/* What the fetches of a run have brought, filled under the lock. */
struct stage {
    pthread_mutex_t lock;
    struct bq_appender *appender;
    int64_t next_fetch_id;
    char (*earlier)[UUID_TEXT_SIZE]; /* runs that are resumed: earlier attempts at the task */
    size_t earlier_count;
    int64_t earliest_us; /* nothing was staged before, by the workers' clocks */
    struct accepted_fetch *accepted;
    size_t accepted_count, accepted_cap;
    int64_t fetched, rows, quarantined; /* fetched is counted apart: it must be the sum of the other two */
    struct run_drift *drifts;
    size_t drift_count;
    int32_t group_days[RUN_MAX_GROUP_DAYS]; /* days whose rows without identity changed; sorted, distinct */
    size_t group_day_count;
    bool too_many_days;
    int64_t logged_at_ms; /* last progress line */
    int64_t announced_records;
};

/* What a later attempt needs to go on (checkpoint.c); incremental runs have none. */
struct checkpoint {
    bool resumes;              /* an earlier attempt has left its frame */
    struct st_window *windows; /* that earlier attempts have read: not read again; sorted, without overlap */
    size_t window_count, reread_count;
    int64_t rows;                 /* of these windows */
    struct task_fetch *unwritten; /* accepted since; under the stage's lock */
    size_t unwritten_count, unwritten_cap;
    int64_t written_at_ms;
    bool writing;
};

struct run {
    const struct run_env *env;
    const struct message *message;
    const struct entity *entity;
    struct st_tenant *tenant;
    struct cancel *cancel; /* lease lost, shutdown */
    char run_id[UUID_TEXT_SIZE];
    char log_name[64];
    struct log_context log;
    int64_t started_us, started_mono_ms;
    int64_t frame_to_us;  /* start by the server's clock */
    int64_t watermark_us; /* candidate: frame_to - overlap */
    int64_t from_us;      /* incremental: the watermark it reads from */
    bool synced;          /* from_us is a watermark: there was a run before */
    bool foreign;         /* it was set with another overlap than ours: its frame is not known */
    char token
        [PAGE_MAX_CONTINUE]; /* where the export feed goes on: at first for this run, then for the next; "" = not known */
    bool skipped;            /* done already: nothing was run */
    int64_t requests;        /* its own, of all ranges */
    struct stage stage;
    struct checkpoint checkpoint;
    struct merge_outcome merged;
    int64_t staged_min_us, staged_max_us, staged_bytes;
};

/* The whole story of one run. True: DONE. False: err says why, and verdict.c what follows. Both outputs are set in any
 * case. */
bool run_task(const struct run_env *env, const struct message *message, struct cancel *cancel, int64_t *ret_records,
              char ret_run_id[UUID_TEXT_SIZE], struct error *err) MUST_CHECK;

/* Does the run read the entity's export feed: as its feed, or for what only that shows? */
static inline bool run_reads_feed(const struct run *run)
{
    enum task_mode mode = run->message->task.mode;
    return (mode == TASK_INCREMENTAL || mode == TASK_FULL) &&
           (run->entity->feed == FEED_EXPORT || run->entity->tombstone);
}

/* The steps, in order; each in the file of its name. */
bool fetch_all(struct run *run, struct error *err) MUST_CHECK; /* fetch.c: windows, several requests in flight */
/* Reads one range into the stage; whole: everything, the bounds of history found on the way. */
enum row_choice { ROW_ALL, ROW_WITH_ID /* note the days of the others */, ROW_WITHOUT_ID, ROW_WITHOUT_MODIFIED };
int64_t fetch_page_size(const struct run *run);
bool fetch_range(struct run *run, struct st_window range, bool whole, enum row_choice choice,
                 struct error *err) MUST_CHECK;
bool stage_verify(struct run *run, struct error *err) MUST_CHECK;   /* stage.c: what is staged is what was read */
bool merge_run(struct run *run, struct error *err) MUST_CHECK;      /* merge.c: announce, then the change chain */
bool commit_begin(struct run *run, struct error *err) MUST_CHECK;   /* commit.c: run log "running" */
bool commit_skipped(struct run *run, struct error *err) MUST_CHECK; /* commit.c: the task was done already */
bool commit_success(struct run *run, struct error *err) MUST_CHECK; /* commit.c: watermark, run log "success" */
void commit_failure(struct run *run, const struct error *why);      /* commit.c: run log "failed"; best effort */

/* checkpoint.c */
/* Looks what is known of the task: sets run->skipped when it is done; else takes over what earlier attempts have left,
 * frame first. */
bool checkpoint_open(struct run *run, struct error *err) MUST_CHECK;
/* Before the first read: the frame is kept for later attempts. */
bool checkpoint_frame(struct run *run, struct error *err) MUST_CHECK;
/* An accepted fetch whose rows are safe. Any reader thread; now and then it writes what has come together. */
void checkpoint_add(struct run *run, const struct st_window *window, int64_t fetch_id, int64_t rows,
                    int64_t staged_at_us);
void checkpoint_write(struct run *run); /* the rest; best effort */
void checkpoint_release(struct run *run);
/* Moves the fetches to keep to the front and returns how many: those that the check, which counts by these runs, finds
 * whole, and of overlapping windows one. Pure. */
size_t checkpoint_pick(struct task_fetch *fetches, size_t count, const char *const *runs, size_t run_count,
                       const struct stage_check *check);

/* stage.c */
void stage_init(struct run *run);
void stage_release(struct run *run);
int64_t stage_next_fetch(struct run *run);
/* Under which id the rows of an attempt stand in the stage; 0 is this run. */
const char *stage_run_id(const struct run *run, size_t attempt);
/* An accepted fetch of an earlier run counts as this one's. */
void stage_take_over(struct run *run, const struct task_fetch *fetch);
/* Rows of an accepted fetch are in the stage. */
void stage_accept(struct run *run, int64_t fetch_id, int64_t fetched, int64_t rows, int64_t quarantined);
void stage_add_drift(struct run *run, const char *field, enum drift_kind kind, int64_t count, struct slice sample);
void stage_add_group_day(struct run *run, int32_t day);
bool stage_check_quarantine(struct run *run,
                            struct error *err) MUST_CHECK; /* too many bad records: the schema is broken */

/* Every accepted fetch has as many distinct rows in the stage as it brought. */
bool stage_compare(const struct run *run, const struct stage_check *check, struct error *err) MUST_CHECK;
/* None is so old that it may expire before it is merged. */
bool stage_check_age(const struct run *run, struct error *err) MUST_CHECK;
/* merge.c: the accepted fetches, sorted by stage_verify, as ranges; they borrow the run's ids; free with free(). */
struct event_staged_fetches *merge_fetch_ranges(const struct run *run, size_t *ret_count);

/* row.c: one fetch's records on their way into the stage. */
struct fetch_index *fetch_index_new(void); /* outlives all rows that its fetches have added */
void fetch_index_free(struct fetch_index *index);
struct fetch;
struct fetch *fetch_new(struct run *run, const struct st_window *window /* NULL: a batch of the export feed */,
                        enum row_choice choice);
void fetch_free(struct fetch *fetch);
void fetch_sent(struct fetch *fetch, int64_t fetched_at_us);
bool fetch_record(struct fetch *fetch, struct slice record, struct st_record_times *ret, struct error *err) MUST_CHECK;
/* Waits until the rows are safe, then accepts the fetch. */
bool fetch_complete(struct fetch *fetch, struct error *err) MUST_CHECK;

/* sync_cache.c: watermarks, with the export feed's token, seen or set by this worker. A stale one is always safe. */
struct sync_cache *sync_cache_new(size_t tenants, size_t entities);
void sync_cache_free(struct sync_cache *cache);
bool sync_cache_get(struct sync_cache *cache, int64_t tenant, const struct entity *entity, int64_t *ret_us,
                    char ret_token[PAGE_MAX_CONTINUE] /* may be NULL */);
void sync_cache_put(struct sync_cache *cache, int64_t tenant, const struct entity *entity, int64_t us,
                    const char *token);
void sync_cache_each(struct sync_cache *cache,
                     void (*fn)(void *user, int64_t tenant, const struct entity *entity, int64_t us), void *user);

#endif
