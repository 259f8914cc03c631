/* chain.c - changes of one target, one after the other in the whole fleet (design 7).
 *
 * BigQuery's job ids are the lock: change n is the job st_<dataset>_<target>_<n>, and an id can be taken once. The
 * walker goes from the last change that it knows to have ended: is job n there, then it waits for its end and records
 * it; if not, it takes the result of find n, inserts job n with what that names, and then does the same, whoever's
 * insert came first. Nobody inserts n before n-1 was seen DONE and its event is durable, because find n leaves out the
 * runs that recorded changes name. A 404 means only "not yet".
 *
 * In a process one caller walks for all (`led`); the others wait until a change that holds their run has ended. A
 * walker that fails takes its own error and leaves the walk to the next. What the walker knows is kept between walks.
 *
 * A change that fails for the weather spends its number, and the next tries the same runs. One that fails for its rows
 * is followed by one with half of its runs, until a run stands alone: that run is withdrawn and rejected, nobody else.
 *
 * A run that would modify more partitions than a job may is merged by several changes (chain_split.c). All but the last
 * are partial: their jobs say so by the label st_part, they are recorded without runs, and nobody's run ends with them.
 */
#include "chain.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "errors.h"
#include "net/backoff.h"
#include "rest.h"

enum { CHAIN_MAX_WEATHER = 6, CHAIN_MAX_EMPTY_FINDS = 3, CHAIN_MAX_STEPS = 100000 };

/* A caller of warehouse_merge, on its own stack. Under the chain's mutex. */
struct waiter {
    struct waiter *next;
    const char *run_id;
    bool settled, ok;
    struct merge_outcome outcome;
    int64_t part_rows_changed, part_bytes_billed; /* of partial changes that went by */
    struct error err;
};

struct chain {
    struct chain *next;
    char *target;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool led;
    struct waiter *waiters;
    /* The leader's; handed on under the mutex by `led`. */
    int64_t known; /* the last change seen DONE and recorded; -1 = not yet looked */
    size_t limit;  /* at most so many runs in the next change; 0 = no limit */
    int find;      /* the find of the next change that is worth a look */
    int weather;   /* transient failures in a row */
    struct backoff pause;
};

struct warehouse_state {
    pthread_mutex_t mutex;
    struct chain *chains;
};

/* What a walk works with. */
struct walk {
    struct warehouse *w;
    const struct entity *entity;
    struct chain *chain;
    struct waiter *leader;
    struct cancel *cancel;
    int64_t inserted; /* the last change that was this walk's own; 0 = none */
};

/* ---- State ------------------------------------------------------------------------------------------------------- */

static pthread_mutex_t state_mutex = PTHREAD_MUTEX_INITIALIZER;

static struct warehouse_state *state_of(struct warehouse *w)
{
    pthread_mutex_lock(&state_mutex);
    if (!w->state) {
        w->state = xcalloc(1, sizeof *w->state);
        pthread_mutex_init(&w->state->mutex, NULL);
    }
    struct warehouse_state *state = w->state;
    pthread_mutex_unlock(&state_mutex);
    return state;
}

static struct chain *chain_of(struct warehouse *w, const char *target)
{
    struct warehouse_state *state = state_of(w);
    pthread_mutex_lock(&state->mutex);
    struct chain *chain = state->chains;
    while (chain && strcmp(chain->target, target) != 0)
        chain = chain->next;
    if (!chain) {
        chain = xcalloc(1, sizeof *chain);
        chain->target = xstrdup(target);
        chain->known = -1;
        chain->find = 1;
        pthread_mutex_init(&chain->mutex, NULL);
        clock_cond_init(&chain->changed);
        chain->next = state->chains;
        state->chains = chain;
    }
    pthread_mutex_unlock(&state->mutex);
    return chain;
}

void warehouse_release(struct warehouse *w)
{
    if (!w->state)
        return;
    while (w->state->chains) {
        struct chain *chain = w->state->chains;
        w->state->chains = chain->next;
        pthread_cond_destroy(&chain->changed);
        pthread_mutex_destroy(&chain->mutex);
        free(chain->target);
        free(chain);
    }
    pthread_mutex_destroy(&w->state->mutex);
    free(w->state);
    w->state = NULL;
}

/* ---- Waiters ----------------------------------------------------------------------------------------------------- */

static void settle_ok(struct walk *walk, const char *run_id, struct merge_outcome outcome)
{
    pthread_mutex_lock(&walk->chain->mutex);
    for (struct waiter *waiter = walk->chain->waiters; waiter; waiter = waiter->next) {
        if (waiter->settled || strcmp(waiter->run_id, run_id) != 0)
            continue;
        waiter->settled = waiter->ok = true;
        waiter->outcome = outcome;
        waiter->outcome.rows_changed += waiter->part_rows_changed;
        waiter->outcome.bytes_billed += waiter->part_bytes_billed;
    }
    pthread_cond_broadcast(&walk->chain->changed);
    pthread_mutex_unlock(&walk->chain->mutex);
}

static void add_part(struct walk *walk, const char *run_id, int64_t rows_changed, int64_t bytes_billed)
{
    pthread_mutex_lock(&walk->chain->mutex);
    for (struct waiter *waiter = walk->chain->waiters; waiter; waiter = waiter->next) {
        if (waiter->settled || strcmp(waiter->run_id, run_id) != 0)
            continue;
        waiter->part_rows_changed += rows_changed;
        waiter->part_bytes_billed += bytes_billed;
    }
    pthread_mutex_unlock(&walk->chain->mutex);
}

static void settle_rejected(struct walk *walk, const char *run_id, int64_t number, const struct error *reason)
{
    pthread_mutex_lock(&walk->chain->mutex);
    for (struct waiter *waiter = walk->chain->waiters; waiter; waiter = waiter->next) {
        if (waiter->settled || strcmp(waiter->run_id, run_id) != 0)
            continue;
        waiter->settled = true;
        waiter->ok = false;
        waiter->outcome = (struct merge_outcome){.change_number = number, .runs_in_change = 1, .rejected = true};
        waiter->err = *reason;
        waiter->err.class = ERROR_PERMANENT;
    }
    pthread_cond_broadcast(&walk->chain->changed);
    pthread_mutex_unlock(&walk->chain->mutex);
}

/* ---- A change that has ended ------------------------------------------------------------------------------------- */

static int64_t rows_in(const struct change_plan *plan, const struct change_end *ended)
{
    int64_t rows = 0;
    for (size_t i = 0; i < ended->run_count; i++) {
        size_t at = plan_index(plan, ended->runs[i]);
        rows += at == SIZE_MAX ? 0 : plan->rows[at];
    }
    return rows;
}

static int64_t share(int64_t amount, int64_t part, int64_t whole)
{
    return whole > 0 ? (int64_t)((double)amount * ((double)part / (double)whole)) : 0;
}

/* A part is cut so that it changes something; one that does not would be followed by itself for ever. */
static bool settle_part(struct walk *walk, const struct change_end *ended, struct error *err)
{
    const struct bq_job *job = &ended->job;
    for (size_t i = 0; i < ended->run_count; i++)
        add_part(walk, ended->runs[i], change_end_rows(ended), job->bytes_billed);
    return job->affected_rows != 0 ||
           error_set(err, ERROR_RETRY, "part_idle", "could not merge into '%s' by parts: job '%s' has changed no row",
                     walk->chain->target, ended->job_id);
}

/* Shares by rows, which the find job of the change knows; without its result equal shares. */
static void settle_success(struct walk *walk, const struct change_end *ended)
{
    const struct bq_job *job = &ended->job;
    struct change_plan plan = {0};
    int64_t find = json_int_at(job->resource, "configuration.labels.st_find", 1);
    int64_t changed = change_end_rows(ended);
    bool alone = ended->run_count == 1;
    bool by_rows = !alone && find > 0 && find <= CHAIN_MAX_FINDS &&
                   chain_find_again(walk->w, walk->entity, ended->number, (int)find, &plan, walk->cancel);
    int64_t whole = by_rows ? rows_in(&plan, ended) : (int64_t)ended->run_count;
    for (size_t i = 0; i < ended->run_count; i++) {
        size_t at = plan_index(&plan, ended->runs[i]);
        int64_t part = by_rows ? (at == SIZE_MAX ? 0 : plan.rows[at]) : 1;
        settle_ok(
            walk, ended->runs[i],
            (struct merge_outcome){.change_number = ended->number,
                                   .runs_in_change = ended->run_count,
                                   .rows_changed = alone ? changed : share(changed, part, whole),
                                   .bytes_billed = alone ? job->bytes_billed : share(job->bytes_billed, part, whole)});
    }
    plan_release(&plan);
}

static bool withdraw(struct walk *walk, const char *run_id, struct error *err)
{
    struct event_staged event = {.run_id = run_id,
                                 .target = walk->chain->target,
                                 .lane = "live",
                                 .withdrawn = true,
                                 .announced_us = clock_wall_us()};
    return events_staged(walk->w->events, &event, walk->cancel, err);
}

static bool blames_rows(const struct error *err)
{
    return err->class == ERROR_PERMANENT && bq_reason_blames_rows(err->code);
}

/* Moves the chain over a failed change. False when the walk ends with the change's own error. */
static bool pass_failure(struct walk *walk, const struct change_end *ended, struct error *err)
{
    struct chain *chain = walk->chain;
    const struct error *reason = &ended->job.job_error;
    if (blames_rows(reason) && ended->run_count == 1) {
        if (!withdraw(walk, ended->runs[0], err))
            return false;
        settle_rejected(walk, ended->runs[0], ended->number, reason);
    }
    chain->known = ended->number;
    chain->find = 1;
    chain->limit = blames_rows(reason) ? ended->run_count / 2 : chain->limit;
    if (blames_rows(reason))
        return true;
    if (error_may_retry(reason) && ++chain->weather < CHAIN_MAX_WEATHER) {
        int64_t pause_ms = backoff_next_ms(&chain->pause, reason->wait_ms);
        pause_ms = pause_ms > 0 ? pause_ms : reason->wait_ms;
        bq_note_retry(pause_ms, chain->weather, reason);
        return cancel_sleep_ms(walk->cancel, pause_ms) || cancel_check(walk->cancel, err);
    }
    chain->weather = 0;
    if (err)
        *err = *reason;
    return false;
}

/* Every worker that waits sees the change end; who inserted it counts it. */
static void count_billed(const struct walk *walk, const struct change_end *ended)
{
    const struct bq_label label = {"st_step", "merge"};
    const struct bq_query query = {.labels = &label, .label_count = 1};
    if (walk->inserted == ended->number)
        bq_note_billed(&query, ended->job.bytes_billed);
}

/* Waits for job n, records its end, tells the waiters. True: the chain is one further. */
static bool pass_change(struct walk *walk, int64_t number, const char *job_id, struct error *err)
{
    struct chain *chain = walk->chain;
    struct change_end ended = {.number = number};
    snprintf(ended.job_id, sizeof ended.job_id, "%s", job_id);
    bool ok = chain_wait(walk->w, job_id, &ended.job, walk->cancel, err);
    if (ok) {
        count_billed(walk, &ended);
        change_end_read(&ended);
        ok = change_end_record(walk->w, chain->target, &ended, walk->cancel, err);
    }
    if (ok && ended.job.failed) {
        ok = pass_failure(walk, &ended, err);
    } else if (ok) {
        if (ended.partial)
            ok = settle_part(walk, &ended, err);
        else
            settle_success(walk, &ended);
        chain->known = number;
        chain->find = 1;
        chain->limit = 0;
        chain->weather = 0;
        backoff_init(&chain->pause, BACKOFF_DEFAULT);
    }
    change_end_release(&ended);
    return ok;
}

/* ---- A change to be made ----------------------------------------------------------------------------------------- */

struct change_labels {
    char number[24], find[24], runs[24];
    struct bq_label items[10];
    size_t count;
};

/* st_run is who inserted the job: the leader. All that it takes stand in its parameter, and tenant and mode of the leader,
 * which the scope tells, say something only when it takes no other. */
static void label_change(struct change_labels *ret, const struct walk *walk, int64_t number,
                         const struct change_plan *plan, size_t runs)
{
    bool others = runs > 1 || strcmp(plan->runs[0], walk->leader->run_id) != 0;
    snprintf(ret->number, sizeof ret->number, "%lld", (long long)number);
    snprintf(ret->find, sizeof ret->find, "%d", plan->find);
    snprintf(ret->runs, sizeof ret->runs, "%zu", runs);
    const struct bq_label labels[] = {
        {"st_step", "merge"},
        {"st_entity", walk->entity->name},
        {"st_target", walk->chain->target},
        {"st_change", ret->number},
        {"st_find", ret->find},
        {"st_run", walk->leader->run_id},
        {"st_runs", ret->runs},
        {"st_tenant", "several"},
        {"st_mode", "several"},
    };
    enum { ALL = sizeof labels / sizeof labels[0], LEADERS_OWN = 2 };
    memcpy(ret->items, labels, sizeof labels);
    ret->count = others ? ALL : ALL - LEADERS_OWN;
    if (plan->part_until) /* whoever waits for the job learns from it that the change is a partial one */
        ret->items[ret->count++] = (struct bq_label){"st_part", plan->part_until};
}

static bool insert_change(struct walk *walk, int64_t number, const char *job_id, const struct change_plan *plan,
                          struct error *err)
{
    size_t runs = walk->chain->limit > 0 && walk->chain->limit < plan->run_count ? walk->chain->limit : plan->run_count;
    struct bq_param params[PLAN_PARAMS];
    struct change_labels labels;
    const struct merge_scope scope = plan_scope(walk->w, walk->entity, plan);
    struct buf sql = BUF_INIT;
    label_change(&labels, walk, number, plan, runs);
    merge_scope_sql(&sql, &scope);
    plan_params(plan, runs, params);
    struct bq_query query = {.sql = sql.ptr,
                             .params = params,
                             .param_count = PLAN_PARAMS,
                             .labels = labels.items,
                             .label_count = labels.count};
    enum bq_insert inserted = bq_job_insert(walk->w->client, job_id, &query, walk->cancel, err);
    walk->inserted = inserted == BQ_INSERTED ? number : walk->inserted;
    buf_release(&sql);
    return inserted != BQ_INSERT_FAILED; /* EXISTS: another was first, and its job is as good */
}

/* The leader's run is in no plan: merged or withdrawn by somebody meanwhile? *ret_settled. */
static bool look_for_fate(struct walk *walk, bool *ret_settled, struct error *err)
{
    struct run_fate fate;
    const char *run_id = walk->leader->run_id;
    if (!chain_read_fate(walk->w, walk->chain->target, run_id, &fate, walk->cancel, err))
        return false;
    int64_t runs = fate.run_count > 0 ? fate.run_count : 1;
    if (fate.merged) {
        settle_ok(walk, run_id,
                  (struct merge_outcome){.change_number = fate.change_number,
                                         .runs_in_change = (size_t)runs,
                                         .rows_changed = fate.rows_changed / runs,
                                         .bytes_billed = fate.bytes_billed / runs});
    } else if (fate.withdrawn) {
        struct error reason = ERROR_INIT;
        error_set(&reason, ERROR_PERMANENT, "run_withdrawn",
                  "cannot merge run '%s': it was rejected, see target_changes", run_id);
        settle_rejected(walk, run_id, 0, &reason);
    }
    *ret_settled = fate.merged || fate.withdrawn;
    return true;
}

/* A plan for change n with something in it; or, with none in *ret, the leader's run has been settled. */
static bool make_plan(struct walk *walk, int64_t number, struct change_plan *ret, struct error *err)
{
    struct chain *chain = walk->chain;
    struct error spent = ERROR_INIT;
    bool settled = false;
    int empty = 0, failed = 0;
    for (; chain->find <= CHAIN_MAX_FINDS; chain->find++) {
        struct change_plan plan = {0};
        bool usable;
        if (!chain_find(walk->w, walk->entity, number, chain->find, &usable, &plan, &spent, walk->cancel, err))
            return false;
        bool holds = usable && plan_index(&plan, walk->leader->run_id) != SIZE_MAX;
        bool ok = !usable || holds || look_for_fate(walk, &settled, err);
        if (ok && usable && !settled && plan.run_count > 0) {
            *ret = plan;
            return true;
        }
        plan_release(&plan);
        if (!ok || settled)
            return ok;
        empty += usable;
        failed += !usable;
        if (empty >= CHAIN_MAX_EMPTY_FINDS)
            return error_set(err, ERROR_RETRY, "run_not_ready",
                             "could not merge run '%s' into '%s': it is not announced, or its staged rows have expired",
                             walk->leader->run_id, chain->target);
        if (failed >= CHAIN_MAX_EMPTY_FINDS)
            break;
    }
    if (spent.class == ERROR_NONE)
        error_set(&spent, ERROR_RETRY, "find_spent", "could not find what to merge into '%s': all searches are spent",
                  chain->target);
    if (err)
        *err = spent;
    return false;
}

/* A group of rows without identity that is too wide is the one thing that cannot be cut: its run fails for good, and the
 * next find goes without it. */
static bool reject_uncut(struct walk *walk, int64_t number, const struct change_plan *plan, struct error *err)
{
    struct error reason = ERROR_INIT;
    error_set(&reason, ERROR_PERMANENT, "too_many_partitions",
              "cannot merge run '%s' into '%s': the rows without identity of %s stand in more than %zu partitions, and "
              "they are replaced by one job",
              plan->runs[0], walk->chain->target, plan->part_from, chain_max_days(walk->w));
    if (!withdraw(walk, plan->runs[0], err))
        return false;
    settle_rejected(walk, plan->runs[0], number, &reason);
    walk->chain->find++;
    return true;
}

/* Makes change n. True also when only runs were settled. */
static bool make_change(struct walk *walk, int64_t number, const char *job_id, struct error *err)
{
    struct change_plan plan = {0};
    if (!make_plan(walk, number, &plan, err))
        return false;
    if (plan.run_count == 0)
        return true;
    bool ok;
    if (plan.part_until && strcmp(plan.part_from, plan.part_until) == 0)
        ok = reject_uncut(walk, number, &plan, err);
    else
        ok = insert_change(walk, number, job_id, &plan, err) && pass_change(walk, number, job_id, err);
    plan_release(&plan);
    return ok;
}

/* ---- The walk ---------------------------------------------------------------------------------------------------- */

/* Where the recorded events stand; the last change's failure still rules the next one. */
static bool find_position(struct walk *walk, struct error *err)
{
    struct chain *chain = walk->chain;
    struct chain_head head;
    if (!chain_read_head(walk->w, chain->target, &head, walk->cancel, err))
        return false;
    bool bad = head.failed && bq_reason_blames_rows(head.code);
    if (bad && head.run_count == 1 && !withdraw(walk, head.run_id, err)) /* its finder may have died in between */
        return false;
    chain->known = head.number;
    chain->limit = bad ? head.run_count / 2 : 0;
    chain->find = 1;
    chain->weather = 0;
    backoff_init(&chain->pause, BACKOFF_DEFAULT);
    return true;
}

/* One change further, or the leader's run settled otherwise. */
static bool step(struct walk *walk, struct error *err)
{
    struct chain *chain = walk->chain;
    struct buf job_id = BUF_INIT;
    struct bq_job job = {0};
    if (chain->known < 0 && !find_position(walk, err))
        return false;
    int64_t number = chain->known + 1;
    chain_job_id(&job_id, walk->w->names.raw, chain->target, number, 0);
    bool ok = bq_job_get(walk->w->client, job_id.ptr, &job, walk->cancel, err);
    if (ok && job.state == BQ_JOB_ABSENT)
        ok = make_change(walk, number, job_id.ptr, err);
    else if (ok)
        ok = pass_change(walk, number, job_id.ptr, err);
    bq_job_release(&job);
    buf_release(&job_id);
    return ok;
}

static bool is_settled(struct walk *walk)
{
    pthread_mutex_lock(&walk->chain->mutex);
    bool settled = walk->leader->settled;
    pthread_mutex_unlock(&walk->chain->mutex);
    return settled;
}

/* Walks until the leader's own run is settled. */
static bool lead(struct walk *walk, struct error *err)
{
    for (int i = 0; i < CHAIN_MAX_STEPS; i++) {
        if (is_settled(walk))
            return true;
        if (!cancel_check(walk->cancel, err) || !step(walk, err))
            return is_settled(walk); /* a rejection may have come with the last step */
    }
    return error_set(err, ERROR_RETRY, "chain_long", "could not merge run '%s': %d changes went by without it",
                     walk->leader->run_id, CHAIN_MAX_STEPS);
}

static void wake(void *user)
{
    struct chain *chain = user;
    pthread_mutex_lock(&chain->mutex);
    pthread_cond_broadcast(&chain->changed);
    pthread_mutex_unlock(&chain->mutex);
}

static void leave(struct chain *chain, struct waiter *waiter)
{
    struct waiter **at = &chain->waiters;
    while (*at != waiter)
        at = &(*at)->next;
    *at = waiter->next;
}

/* Waits for others, or leads when nobody does. With the mutex held. False: err. */
static bool wait_or_lead(struct walk *walk, struct error *err)
{
    struct chain *chain = walk->chain;
    bool ok = true;
    while (ok && !walk->leader->settled) {
        ok = cancel_check(walk->cancel, err);
        if (!ok)
            break;
        if (chain->led) {
            pthread_cond_wait(&chain->changed, &chain->mutex);
            continue;
        }
        chain->led = true;
        pthread_mutex_unlock(&chain->mutex);
        ok = lead(walk, err);
        pthread_mutex_lock(&chain->mutex);
        chain->led = false;
        pthread_cond_broadcast(&chain->changed);
    }
    return ok;
}

bool warehouse_merge(struct warehouse *w, const struct entity *entity, const char *run_id, struct merge_outcome *ret,
                     struct cancel *cancel, struct error *err)
{
    struct chain *chain = chain_of(w, entity->target.name);
    struct waiter waiter = {.run_id = run_id};
    struct walk walk = {w, entity, chain, &waiter, cancel, 0};
    uint64_t hook = cancel ? cancel_add_hook(cancel, wake, chain) : 0;
    pthread_mutex_lock(&chain->mutex);
    waiter.next = chain->waiters;
    chain->waiters = &waiter;
    bool ok = wait_or_lead(&walk, err);
    leave(chain, &waiter);
    pthread_mutex_unlock(&chain->mutex);
    if (cancel)
        cancel_remove_hook(cancel, hook);
    if (!ok)
        return false;
    *ret = waiter.outcome;
    if (!waiter.ok && err)
        *err = waiter.err;
    return waiter.ok;
}
