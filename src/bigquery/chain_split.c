/* chain_split.c - the plan of a change that could modify more partitions than a job may: one run, cut into parts.
 *
 * The find counts generously and cheaply. Only when a run alone is beyond the bound by that count, this second job, with
 * the find's id and "_split", looks which rows are news: a second full read of a long history changes hardly anything and
 * is one change. Else it says which part of the rows comes next. That part is change n; it does not count as a merge of
 * the run, so the find of change n + 1 sees the run again, with fewer rows left to do. */
#include "chain.h"

#include <stdlib.h>

#include "merge_sql.h"
#include "rest.h"

size_t chain_max_days(const struct warehouse *w)
{
    return w->max_change_days > 0 ? w->max_change_days : CHANGE_MAX_DAYS;
}

bool chain_is_wide(const struct warehouse *w, const struct change_plan *plan)
{
    return plan->days > (int64_t)chain_max_days(w);
}

static bool share_split(struct warehouse *w, const struct entity *entity, const char *job_id,
                        const struct change_plan *plan, bool *ret_usable, struct error *job_error,
                        struct cancel *cancel, struct error *err)
{
    const struct bq_label labels[] = {{"st_step", "split"},
                                      {"st_entity", entity->name},
                                      {"st_target", entity->target.name},
                                      {"st_run", plan->runs[0]}};
    struct bq_param params[PLAN_PARAMS];
    const struct merge_scope scope = plan_scope(w, entity, plan);
    struct buf sql = BUF_INIT;
    split_sql(&sql, &scope, chain_max_days(w));
    plan_params(plan, plan->run_count, params);
    struct bq_query query = {.sql = sql.ptr,
                             .params = params,
                             .param_count = PLAN_PARAMS,
                             .labels = labels,
                             .label_count = sizeof labels / sizeof labels[0]};
    bool ok = chain_share_job(w, job_id, &query, ret_usable, job_error, cancel, err);
    buf_release(&sql);
    return ok;
}

/* A key goes into the text of a statement. */
static bool is_part_key(const char *text)
{
    return text && strspn(text, "0123456789- ") == strlen(text);
}

static bool read_split(struct warehouse *w, const char *job_id, struct change_plan *plan, struct cancel *cancel,
                       struct error *err)
{
    struct bq_result result;
    if (!bq_job_rows(w->client, job_id, &result, cancel, err))
        return false;
    const char *from = bq_result_text(&result, 0, "part_from"), *until = bq_result_text(&result, 0, "part_until");
    bool ok = result.row_count == 1 && (!until || (is_part_key(from) && is_part_key(until)));
    if (!ok)
        error_set(err, ERROR_PERMANENT, "bad_answer", "cannot read the result of job '%s'", job_id);
    if (ok && until) {
        plan->part_from = xstrdup(from);
        plan->part_until = xstrdup(until);
    }
    bq_result_release(&result);
    return ok;
}

bool chain_split(struct warehouse *w, const struct entity *entity, const char *find_id, struct change_plan *plan,
                 bool *ret_usable, struct error *job_error, struct cancel *cancel, struct error *err)
{
    struct error problem = ERROR_INIT;
    char *job_id = xasprintf("%s_split", find_id);
    bool ok = share_split(w, entity, job_id, plan, ret_usable, job_error, cancel, err);
    if (ok && *ret_usable && !read_split(w, job_id, plan, cancel, &problem)) {
        *ret_usable = false;
        ok = chain_is_spent(&problem, job_error, err);
    }
    free(job_id);
    return ok;
}

struct merge_scope plan_scope(const struct warehouse *w, const struct entity *entity, const struct change_plan *plan)
{
    return (struct merge_scope){.names = &w->names,
                                .entity = entity,
                                .partitions = (const char *const *)plan->partitions,
                                .partition_count = plan->partition_count,
                                .staged_min_us = plan->staged_min_us,
                                .staged_max_us = plan->staged_max_us,
                                .part_from = plan->part_from,
                                .part_until = plan->part_until};
}
