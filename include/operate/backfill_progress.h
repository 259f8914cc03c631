/* backfill_progress.h - how far backfills are: their slices joined with the run log. */
#ifndef ST_OPERATE_BACKFILL_PROGRESS_H
#define ST_OPERATE_BACKFILL_PROGRESS_H

#include "dispatch/backfill.h"

enum slice_state {
    SLICE_UNPUBLISHED, /* planned, or asked for again; no message is known to be out */
    SLICE_QUEUED,      /* its message waits */
    SLICE_RUNNING,
    SLICE_RETRYING, /* the newest run failed; the message comes again */
    SLICE_DONE,     /* final: a run has succeeded */
    SLICE_REJECTED, /* final: its message is in the dead-letter topic */
    SLICE_STATES,
};
const char *slice_state_name(enum slice_state state); /* "unpublished", ... */

struct slice_status {
    int64_t number, tenant, from_us, to_us, requests;
    enum slice_state state;
    char entity[TASK_ENTITY_SIZE], run_id[UUID_TEXT_SIZE];
    int64_t records;                                                     /* of the run that tells the state */
    int64_t start_us, end_us;                                            /* 0: none */
    char error_code[ERROR_CODE_SIZE], error_message[ERROR_MESSAGE_SIZE]; /* RETRYING and REJECTED */
};
struct backfill_progress {
    struct slice_status *slices; /* owned: free with free() */
    size_t count, states[SLICE_STATES];
    int64_t records;            /* of what is done */
    int64_t records_per_minute; /* over the last minutes; 0: nothing ended in them */
    int64_t eta_s;              /* until all is final, by the requests that are left; -1: not known */
};
enum { PROGRESS_RATE_MINUTES = 10 };

bool backfill_progress_read(struct services *services, const struct backfill *backfill, struct backfill_progress *ret,
                            struct cancel *cancel, struct error *err) MUST_CHECK;
bool backfill_is_final(const struct backfill_progress *progress);
/* Sums, rate and ETA from the slices; pure. */
void backfill_progress_sum(struct backfill_progress *progress, int64_t now_us);

/* Backfills, newest first: backfill_id, created_at, entities, window_from, window_to, slices, done, running, queued, retrying, rejected,
 * unpublished, records, records_expected. */
bool backfill_list(struct services *services, int64_t limit, struct bq_result *ret, struct cancel *cancel,
                   struct error *err) MUST_CHECK;

/* The statements, for the analyzer test. */
void backfill_progress_each_sql(const struct settings *settings,
                                void (*fn)(void *user, const char *name, const char *sql), void *user);

#endif
