/* chain.h - what the files of the change chain share. */
#ifndef ST_BIGQUERY_PRIVATE_CHAIN_H
#define ST_BIGQUERY_PRIVATE_CHAIN_H

#include "bigquery/warehouse.h"

/* What a find job tells: the runs that wait, in order, and the target partitions that hold their keys. */
struct change_plan {
    char **runs;
    int64_t *rows; /* of each run */
    size_t run_count;
    char **partitions; /* "YYYY-MM-DD" */
    size_t partition_count;
    int64_t staged_min_us, staged_max_us; /* over all runs; 0 = no rows */
    int find;                             /* number of the find job: 1 = "_find", 2 = "_find2" */
};

enum { CHANGE_MAX_PARTITIONS = 4000, CHAIN_MAX_FINDS = 50 };

bool plan_read(const struct bq_result *result, struct change_plan *ret, struct error *err) MUST_CHECK;
void plan_release(struct change_plan *plan);
size_t plan_index(const struct change_plan *plan, const char *run_id); /* SIZE_MAX: not in it */

/* "st_<dataset>_<target>_<n>", with "_find", "_find2", ... when find > 0. */
void chain_job_id(struct buf *out, const char *dataset, const char *target, int64_t number, int find);
/* Result of find job number `find` of change n: runs it when nobody has. *ret_usable false: the number is spent
 * (failed, too old), and job_error says why. err: it could not be settled now. */
bool chain_find(struct warehouse *w, const struct entity *entity, int64_t number, int find, bool *ret_usable,
                struct change_plan *ret, struct error *job_error, struct cancel *cancel, struct error *err) MUST_CHECK;
/* The same for a find that some change names; false when its result is gone. */
bool chain_find_again(struct warehouse *w, const struct entity *entity, int64_t number, int find,
                      struct change_plan *ret, struct cancel *cancel);
/* Waits for a job of the chain until it is DONE; one that is stuck is cancelled and waited for again. ABSENT just after
 * a 409 is looked at again. */
bool chain_wait(struct warehouse *w, const char *job_id, struct bq_job *ret, struct cancel *cancel,
                struct error *err) MUST_CHECK;

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
