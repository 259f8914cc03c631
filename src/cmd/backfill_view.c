#include "backfill_view.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/timestamp.h"
#include "terminal.h"

enum { LOOK_MIN_MS = 1000, LOOK_MAX_MS = 10000 };
#define DAY_US INT64_C(86400000000)

/* ---- Times -------------------------------------------------------------------------------------------------------- */

/* A date where the time is midnight. */
static const char *short_time(char out[TIMESTAMP_TEXT_SIZE], int64_t us)
{
    timestamp_text(out, us, us % 1000000 ? 6 : 0);
    if (us % DAY_US == 0)
        out[10] = '\0';
    return out;
}

static const char *duration_text(char out[32], int64_t seconds)
{
    if (seconds < 120)
        snprintf(out, 32, "%lld s", (long long)seconds);
    else if (seconds < 2 * 3600)
        snprintf(out, 32, "%lld min", (long long)(seconds + 30) / 60);
    else
        snprintf(out, 32, "%.1f h", (double)seconds / 3600);
    return out;
}

/* ---- The plan ----------------------------------------------------------------------------------------------------- */

struct plan_row { /* one entity of one tenant */
    const char *entity;
    int64_t tenant, slices, records, requests;
    double minutes;
};

static double minutes_of(const struct settings *s, int64_t tenant, int64_t requests)
{
    const struct tenant_settings *t = settings_tenant(s, tenant);
    int64_t rate = t && t->rate_per_second ? t->rate_per_second : s->st_rate_per_second;
    return (double)requests / (double)rate / 60;
}

static struct plan_row *row_of(struct plan_row *rows, size_t *count, const struct backfill_slice *slice)
{
    for (size_t i = 0; i < *count; i++)
        if (rows[i].tenant == slice->tenant && strcmp(rows[i].entity, slice->entity) == 0)
            return &rows[i];
    rows[*count] = (struct plan_row){.entity = slice->entity, .tenant = slice->tenant};
    return &rows[(*count)++];
}

/* Free the rows. Tenants have a rate each, so the whole takes as long as the busiest of them. */
static struct plan_row *plan_rows(const struct settings *s, const struct backfill *b, size_t *ret_count,
                                  double *ret_minutes)
{
    struct plan_row *rows = xcalloc(b->count + 1, sizeof *rows);
    *ret_count = 0;
    *ret_minutes = 0;
    for (size_t i = 0; i < b->count; i++) {
        struct plan_row *row = row_of(rows, ret_count, &b->slices[i]);
        row->slices++;
        row->records += b->slices[i].records;
        row->requests += b->slices[i].requests;
        row->minutes = minutes_of(s, row->tenant, row->requests);
    }
    for (size_t i = 0; i < *ret_count; i++) {
        double sum = 0;
        for (size_t k = 0; k < *ret_count; k++)
            sum += rows[k].tenant == rows[i].tenant ? rows[k].minutes : 0;
        *ret_minutes = sum > *ret_minutes ? sum : *ret_minutes;
    }
    return rows;
}

static const char *plural(int64_t count)
{
    return count == 1 ? "" : "s";
}

void backfill_print_plan(const struct settings *s, const struct backfill *b)
{
    char from[TIMESTAMP_TEXT_SIZE], to[TIMESTAMP_TEXT_SIZE];
    size_t count;
    double minutes;
    struct plan_row *rows = plan_rows(s, b, &count, &minutes);
    printf("Backfill %s: records created from %s to %s (exclusive), UTC\n\n", b->id, short_time(from, b->from_us),
           short_time(to, b->to_us));
    printf("%-12s %-14s %8s %12s %10s %9s\n", "ENTITY", "TENANT", "SLICES", "RECORDS", "REQUESTS", "MINUTES");
    for (size_t i = 0; i < count; i++)
        printf("%-12s %-14lld %8lld %12lld %10lld %9.1f\n", rows[i].entity, (long long)rows[i].tenant,
               (long long)rows[i].slices, (long long)rows[i].records, (long long)rows[i].requests, rows[i].minutes);
    printf("\n%zu message%s, one per slice; %lld records, about %lld request%s, %.1f minutes at the allowed rate.\n",
           b->count, plural((int64_t)b->count), (long long)b->records, (long long)b->requests, plural(b->requests),
           minutes);
    printf("Requests are estimated for pages that are %d %% full.\n", BACKFILL_FILL_PERCENT);
    free(rows);
}

static void put_window(struct buf *out, int64_t from_us, int64_t to_us)
{
    char from[TIMESTAMP_TEXT_SIZE], to[TIMESTAMP_TEXT_SIZE];
    buf_printf(out, "\"from\":\"%s\",\"to\":\"%s\"", timestamp_text(from, from_us, 0), timestamp_text(to, to_us, 0));
}

void backfill_print_plan_json(const struct settings *s, const struct backfill *b)
{
    struct buf out = BUF_INIT;
    size_t count;
    double minutes;
    struct plan_row *rows = plan_rows(s, b, &count, &minutes);
    buf_printf(&out, "{\"backfill\":\"%s\",", b->id);
    put_window(&out, b->from_us, b->to_us);
    buf_printf(&out, ",\"messages\":%zu,\"unpublished\":%zu,\"records\":%lld,\"requests\":%lld,\"minutes\":%.1f,\n",
               b->count, backfill_unpublished(b), (long long)b->records, (long long)b->requests, minutes);
    buf_append_str(&out, " \"entities\":[");
    for (size_t i = 0; i < count; i++)
        buf_printf(&out,
                   "%s\n  {\"entity\":\"%s\",\"tenant\":%lld,\"slices\":%lld,\"records\":%lld,\"requests\":%lld,"
                   "\"minutes\":%.1f}",
                   i ? "," : "", rows[i].entity, (long long)rows[i].tenant, (long long)rows[i].slices,
                   (long long)rows[i].records, (long long)rows[i].requests, rows[i].minutes);
    buf_append_str(&out, "],\n \"slices\":[");
    for (size_t i = 0; i < b->count; i++) {
        const struct backfill_slice *slice = &b->slices[i];
        buf_printf(&out, "%s\n  {\"number\":%lld,\"entity\":\"%s\",\"tenant\":%lld,", i ? "," : "",
                   (long long)slice->number, slice->entity, (long long)slice->tenant);
        put_window(&out, slice->from_us, slice->to_us);
        buf_printf(&out, ",\"records\":%lld,\"requests\":%lld,\"taskId\":\"%s\"}", (long long)slice->records,
                   (long long)slice->requests, slice->task_id);
    }
    printf("%s]}\n", buf_cstr(&out));
    free(rows);
    buf_release(&out);
}

/* ---- Progress ----------------------------------------------------------------------------------------------------- */

static void put_states(struct buf *out, const struct backfill_progress *p)
{
    static const enum slice_state order[] = {SLICE_DONE,     SLICE_RUNNING,  SLICE_QUEUED,
                                             SLICE_RETRYING, SLICE_REJECTED, SLICE_UNPUBLISHED};
    const char *separator = "";
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        if (p->states[order[i]] == 0)
            continue;
        buf_printf(out, "%s%zu %s", separator, p->states[order[i]], slice_state_name(order[i]));
        separator = ", ";
    }
}

static void put_pace(struct buf *out, const struct backfill *b, const struct backfill_progress *p)
{
    char eta[32];
    buf_printf(out, "%lld of %lld records", (long long)p->records, (long long)b->records);
    if (backfill_is_final(p))
        return;
    if (p->records_per_minute > 0)
        buf_printf(out, ", %lld per minute", (long long)p->records_per_minute);
    if (p->eta_s >= 0)
        buf_printf(out, ", ready in about %s", duration_text(eta, p->eta_s));
}

static void print_slices(const struct backfill_progress *p, bool all)
{
    char from[TIMESTAMP_TEXT_SIZE], to[TIMESTAMP_TEXT_SIZE];
    bool heading = false;
    for (size_t i = 0; i < p->count; i++) {
        const struct slice_status *slice = &p->slices[i];
        if (!all && slice->state != SLICE_REJECTED && slice->state != SLICE_RETRYING)
            continue;
        if (!heading)
            printf("\n%6s %-12s %-14s %-20s %-20s %-11s %10s  %s\n", "SLICE", "ENTITY", "TENANT", "FROM", "TO", "STATE",
                   "RECORDS", "REASON");
        heading = true;
        char reason[REASON_SIZE];
        printf("%6lld %-12s %-14lld %-20s %-20s %-11s %10lld  %s\n", (long long)slice->number, slice->entity,
               (long long)slice->tenant, short_time(from, slice->from_us), short_time(to, slice->to_us),
               slice_state_name(slice->state), (long long)slice->records, reason_text(reason, slice->error_message));
    }
}

void backfill_print_progress(const struct backfill *b, const struct backfill_progress *p, bool all_slices)
{
    char from[TIMESTAMP_TEXT_SIZE], to[TIMESTAMP_TEXT_SIZE], made[TIMESTAMP_TEXT_SIZE];
    struct buf text = BUF_INIT;
    buf_printf(&text, "Backfill %s of %s: records created from %s to %s (exclusive); planned %s\n%zu slices: ", b->id,
               b->entities, short_time(from, b->from_us), short_time(to, b->to_us),
               timestamp_text(made, b->created_us, 0), p->count);
    put_states(&text, p);
    buf_append_char(&text, '\n');
    put_pace(&text, b, p);
    printf("%s\n", buf_cstr(&text));
    buf_release(&text);
    print_slices(p, all_slices);
    if (p->states[SLICE_REJECTED])
        printf("\nWhen the reason is mended: st-ingestor backfill retry %s   publishes the rejected slices again\n",
               b->id);
    else if (p->states[SLICE_UNPUBLISHED])
        printf("\nst-ingestor backfill retry %s   publishes what has no message yet\n", b->id);
}

static void put_slice_json(struct buf *out, const struct slice_status *slice)
{
    char at[TIMESTAMP_TEXT_SIZE];
    buf_printf(out, "{\"number\":%lld,\"entity\":\"%s\",\"tenant\":%lld,", (long long)slice->number, slice->entity,
               (long long)slice->tenant);
    put_window(out, slice->from_us, slice->to_us);
    buf_printf(out, ",\"state\":\"%s\",\"records\":%lld", slice_state_name(slice->state), (long long)slice->records);
    if (slice->run_id[0])
        buf_printf(out, ",\"runId\":\"%s\"", slice->run_id);
    if (slice->end_us)
        buf_printf(out, ",\"endTime\":\"%s\"", timestamp_text(at, slice->end_us, 3));
    if (slice->error_message[0]) {
        buf_append_str(out, ",\"error\":");
        buf_append_json_string(out, slice_str(slice->error_message));
    }
    buf_append_char(out, '}');
}

void backfill_print_progress_json(const struct backfill *b, const struct backfill_progress *p)
{
    char made[TIMESTAMP_TEXT_SIZE];
    struct buf out = BUF_INIT;
    buf_printf(&out, "{\"backfill\":\"%s\",\"createdAt\":\"%s\",\"entities\":", b->id,
               timestamp_text(made, b->created_us, 3));
    buf_append_json_string(&out, slice_str(b->entities));
    buf_append_char(&out, ',');
    put_window(&out, b->from_us, b->to_us);
    buf_printf(&out, ",\n \"count\":%zu", p->count);
    for (int i = 0; i < SLICE_STATES; i++)
        buf_printf(&out, ",\"%s\":%zu", slice_state_name((enum slice_state)i), p->states[i]);
    buf_printf(&out, ",\"records\":%lld,\"recordsExpected\":%lld,\"recordsPerMinute\":%lld", (long long)p->records,
               (long long)b->records, (long long)p->records_per_minute);
    if (p->eta_s >= 0)
        buf_printf(&out, ",\"etaSeconds\":%lld", (long long)p->eta_s);
    buf_append_str(&out, ",\n \"slices\":[");
    for (size_t i = 0; i < p->count; i++) {
        buf_append_str(&out, i ? ",\n  " : "\n  ");
        put_slice_json(&out, &p->slices[i]);
    }
    printf("%s]}\n", buf_cstr(&out));
    buf_release(&out);
}

/* ---- Watching ----------------------------------------------------------------------------------------------------- */

static void show_progress(struct progress_line *line, const struct backfill *b, const struct backfill_progress *p)
{
    struct buf text = BUF_INIT;
    buf_printf(&text, "backfill %s: ", b->id);
    put_states(&text, p);
    buf_append_str(&text, "; ");
    put_pace(&text, b, p);
    progress_show(line, "%s", buf_cstr(&text));
    buf_release(&text);
}

/* A warehouse that does not answer for a while only makes the wait longer. */
bool backfill_watch(struct services *services, const struct backfill *b, struct backfill_progress *ret,
                    struct error *err)
{
    struct progress_line line = {0};
    bool ok = false;
    terminal_at_interrupt("The backfill goes on without you: st-ingestor backfill show %s --watch   looks again",
                          b->id);
    for (int64_t wait_ms = LOOK_MIN_MS;; wait_ms = wait_ms * 5 / 4 < LOOK_MAX_MS ? wait_ms * 5 / 4 : LOOK_MAX_MS) {
        struct error why = ERROR_INIT;
        if (backfill_progress_read(services, b, ret, NULL, &why)) {
            show_progress(&line, b, ret);
            ok = backfill_is_final(ret);
            if (ok)
                break;
        } else if (!error_may_retry(&why)) {
            *err = why;
            break;
        } else {
            progress_show(&line, "%s; looking again", why.message);
        }
        free(ret->slices);
        ret->slices = NULL;
        cancel_sleep_ms(NULL, wait_ms);
    }
    progress_end(&line);
    return ok;
}
