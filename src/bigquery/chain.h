/* chain.h - what the files of the change chain share. */
#ifndef ST_BIGQUERY_PRIVATE_CHAIN_H
#define ST_BIGQUERY_PRIVATE_CHAIN_H

#include "merge_sql.h"

/* What a find job tells: the runs that wait, in order, and the target partitions that hold their keys. */
struct change_plan {
    char **runs;
    int64_t *rows; /* of each run */
    size_t run_count;
    char **
        stage_runs; /* under whose ids the rows of all these runs stand in the stage: themselves, and attempts that they resumed */
    size_t stage_run_count;
    char **partitions; /* "YYYY-MM-DD" */
    size_t partition_count;
    int64_t staged_min_us, staged_max_us; /* over all runs; 0 = no rows */
    int find;                             /* number of the find job: 1 = "_find", 2 = "_find2" */
    int64_t days;                         /* that the first run could modify, at most */
    char *part_from, *part_until;         /* of a partial change, of one run: its part keys; NULL = all rows */
};

enum { CHAIN_MAX_FINDS = 50, PLAN_PARAMS = 2 };

bool plan_read(const struct bq_result *result, struct change_plan *ret, struct error *err) MUST_CHECK;
void plan_release(struct change_plan *plan);
/* Parameters of a statement about the plan's first `runs` runs; borrowed from the plan. More stage runs than needed only
 * prune less. */
void plan_params(const struct change_plan *plan, size_t runs, struct bq_param ret[PLAN_PARAMS]);
struct merge_scope plan_scope(const struct warehouse *w, const struct entity *entity, const struct change_plan *plan);
size_t plan_index(const struct change_plan *plan, const char *run_id); /* SIZE_MAX: not in it */

/* "st_<dataset>_<target>_<n>", with "_find", "_find2", ... when find > 0. */
void chain_job_id(struct buf *out, const char *dataset, const char *target, int64_t number, int find);
/* Result of find job number `find` of change n: runs it when nobody has. *ret_usable false: the number is spent
 * (failed, too old), and job_error says why. err: it could not be settled now. */
bool chain_find(struct warehouse *w, const struct entity *entity, int64_t number, int find, bool *ret_usable,
                struct change_plan *ret, struct error *job_error, struct cancel *cancel, struct error *err) MUST_CHECK;
/* A job of the chain that whoever needs it shares: inserted when nobody has, and waited for. *ret_usable false: its id is
 * spent (failed, too old), and job_error says why. */
bool chain_share_job(struct warehouse *w, const char *job_id, const struct bq_query *query, bool *ret_usable,
                     struct error *job_error, struct cancel *cancel, struct error *err) MUST_CHECK;
/* After a job's result could not be read: true when its id is spent by that (then job_error), else err. */
bool chain_is_spent(const struct error *problem, struct error *job_error, struct error *err);
size_t chain_max_days(const struct warehouse *w);
/* Can the plan's first run modify more partitions than one change may? Then the plan holds no other. */
bool chain_is_wide(const struct warehouse *w, const struct change_plan *plan);
/* Asks where a wide plan, which find job `find_id` made, has to be cut, and cuts it. Results as those of chain_find. */
bool chain_split(struct warehouse *w, const struct entity *entity, const char *find_id, struct change_plan *plan,
                 bool *ret_usable, struct error *job_error, struct cancel *cancel, struct error *err) MUST_CHECK;
/* The plan of a find that some change names; false when its result is gone. */
bool chain_find_again(struct warehouse *w, const struct entity *entity, int64_t number, int find,
                      struct change_plan *ret, struct cancel *cancel);
/* Waits for a job of the chain until it is DONE; one that is stuck is cancelled and waited for again. ABSENT just after
 * a 409 is looked at again. */
bool chain_wait(struct warehouse *w, const char *job_id, struct bq_job *ret, struct cancel *cancel,
                struct error *err) MUST_CHECK;

/* One change that has ended; number, job_id and job are the caller's to fill in. */
struct change_end {
    int64_t number;
    char job_id[1024];
    struct bq_job job;
    char **runs;
    size_t run_count;
    bool partial; /* it merged a part of the rows of its only run */
};
void change_end_read(struct change_end *ended); /* runs and partial, from the job */
bool change_end_record(struct warehouse *w, const char *target, const struct change_end *ended, struct cancel *cancel,
                       struct error *err) MUST_CHECK;
int64_t change_end_rows(const struct change_end *ended); /* that it inserted, updated and deleted */
void change_end_release(struct change_end *ended);

/* Where the chain stands by the recorded events: the highest change (0: none) and how it ended. */
struct chain_head {
    int64_t number;
    bool failed;
    char code[ERROR_CODE_SIZE];
    char run_id[128]; /* the only run of it, when it was alone; else "" */
    size_t run_count;
};
bool chain_read_head(struct warehouse *w, const char *target, struct chain_head *ret, struct cancel *cancel,
                     struct error *err) MUST_CHECK;
/* What became of one run by the recorded events. */
struct run_fate {
    bool merged, withdrawn;
    int64_t change_number, rows_changed, bytes_billed, run_count; /* of the change */
};
bool chain_read_fate(struct warehouse *w, const char *target, const char *run_id, struct run_fate *ret,
                     struct cancel *cancel, struct error *err) MUST_CHECK;
void chain_each_sql(const struct warehouse_names *names, void (*fn)(void *user, const char *name, const char *sql),
                    void *user);

#endif
