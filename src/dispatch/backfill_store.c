/* backfill_store.c - backfills in the warehouse: written as events, read back through the views backfills and
 * backfill_slices. */
#include "dispatch/backfill.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

/* ---- Texts -------------------------------------------------------------------------------------------------------- */

#define HEAD_COLUMNS                                                                                                   \
    "backfill_id, entities, window_from, window_to, slices, records_expected, requests_expected, plan_key, created_at"

static char *by_key_text(const struct settings *s)
{
    return xasprintf("SELECT " HEAD_COLUMNS "\nFROM `%s.%s.backfills`\nWHERE plan_key = @key\n"
                     "ORDER BY created_at DESC, backfill_id\nLIMIT 1",
                     s->bq_project, s->bq_dataset_logs);
}

static char *by_prefix_text(const struct settings *s)
{
    return xasprintf("SELECT " HEAD_COLUMNS "\nFROM `%s.%s.backfills`\nWHERE STARTS_WITH(backfill_id, @key)\n"
                     "ORDER BY created_at DESC, backfill_id\nLIMIT 2",
                     s->bq_project, s->bq_dataset_logs);
}

static char *slices_text(const struct settings *s)
{
    return xasprintf("SELECT slice_number, entity_type, tenant_id, window_from, window_to, records_expected, "
                     "requests_expected, task_id, message_id\n"
                     "FROM `%s.%s.backfill_slices`\nWHERE backfill_id = @key\nORDER BY slice_number",
                     s->bq_project, s->bq_dataset_logs);
}

void backfill_each_sql(const struct settings *s, void (*fn)(void *user, const char *name, const char *sql), void *user)
{
    char *texts[] = {by_key_text(s), by_prefix_text(s), slices_text(s)};
    static const char *const names[] = {"backfill by key", "backfill by id", "backfill slices"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        fn(user, names[i], texts[i]);
        free(texts[i]);
    }
}

/* ---- The value ---------------------------------------------------------------------------------------------------- */

void backfill_release(struct backfill *b)
{
    free(b->key);
    free(b->entities);
    free(b->slices);
    *b = (struct backfill){0};
}

size_t backfill_unpublished(const struct backfill *b)
{
    size_t count = 0;
    for (size_t i = 0; i < b->count; i++)
        count += b->slices[i].message_id[0] == '\0';
    return count;
}

/* ---- Writing ------------------------------------------------------------------------------------------------------ */

static bool record_slices(struct services *services, const struct backfill *b, struct cancel *cancel, struct error *err)
{
    struct event_backfill *rows = xcalloc(b->count, sizeof *rows);
    for (size_t i = 0; i < b->count; i++) {
        const struct backfill_slice *slice = &b->slices[i];
        rows[i] = (struct event_backfill){
            .kind = EVENT_BACKFILL_SLICE,
            .backfill_id = b->id,
            .slice = slice->number,
            .entity = slice->entity,
            .tenant = slice->tenant,
            .from_us = slice->from_us,
            .to_us = slice->to_us,
            .records = slice->records,
            .requests = slice->requests,
            .task_id = slice->task_id,
        };
    }
    bool ok = events_backfill(services->events, rows, b->count, cancel, err);
    free(rows);
    return ok;
}

/* The head comes last: a kill before it leaves slices that nobody looks at. */
bool backfill_record(struct services *services, struct backfill *b, struct cancel *cancel, struct error *err)
{
    const struct event_backfill head = {
        .kind = EVENT_BACKFILL_HEAD,
        .backfill_id = b->id,
        .slice = (int64_t)b->count,
        .from_us = b->from_us,
        .to_us = b->to_us,
        .records = b->records,
        .requests = b->requests,
        .plan_key = b->key,
        .entities = b->entities,
        .requested_by = "cli",
    };
    if (!record_slices(services, b, cancel, err) || !events_backfill(services->events, &head, 1, cancel, err))
        return error_prefix(err, "recording the plan");
    b->created_us = clock_wall_us();
    return true;
}

static struct backfill_slice *slice_numbered(struct backfill *b, int64_t number)
{
    return number >= 1 && number <= (int64_t)b->count ? &b->slices[number - 1] : NULL;
}

bool backfill_ask_again(struct services *services, struct backfill *b, const int64_t *numbers, size_t count,
                        struct cancel *cancel, struct error *err)
{
    struct event_backfill *rows = xcalloc(count + 1, sizeof *rows);
    for (size_t i = 0; i < count; i++)
        rows[i] = (struct event_backfill){.kind = EVENT_BACKFILL_RETRY, .backfill_id = b->id, .slice = numbers[i]};
    bool ok = events_backfill(services->events, rows, count, cancel, err) ||
              error_prefix(err, "recording which slices are to be published again");
    free(rows);
    for (size_t i = 0; ok && i < count; i++) {
        struct backfill_slice *slice = slice_numbered(b, numbers[i]);
        if (slice)
            slice->message_id[0] = '\0';
    }
    return ok;
}

/* ---- Reading ------------------------------------------------------------------------------------------------------ */

/* Consumes the text. */
static bool ask(struct services *services, char *sql, const char *key, struct bq_result *ret, struct cancel *cancel,
                struct error *err)
{
    const struct bq_param params[] = {{.name = "key", .type = BQ_PARAM_STRING, .string = key}};
    const struct bq_label step = {"st_step", "backfill"};
    const struct bq_query query = {.sql = sql, .params = params, .param_count = 1, .labels = &step, .label_count = 1};
    bool ok = bq_query_run(services->bigquery, &query, ret, cancel, err) || error_prefix(err, "reading backfills");
    free(sql);
    return ok;
}

static void read_slice(const struct bq_result *r, size_t row, struct backfill_slice *slice)
{
    *slice = (struct backfill_slice){
        .number = bq_result_int(r, row, "slice_number", 0),
        .tenant = bq_result_int(r, row, "tenant_id", 0),
        .from_us = bq_result_int(r, row, "window_from", 0),
        .to_us = bq_result_int(r, row, "window_to", 0),
        .records = bq_result_int(r, row, "records_expected", 0),
        .requests = bq_result_int(r, row, "requests_expected", 0),
    };
    snprintf(slice->entity, sizeof slice->entity, "%s", bq_result_string(r, row, "entity_type"));
    snprintf(slice->task_id, sizeof slice->task_id, "%s", bq_result_string(r, row, "task_id"));
    snprintf(slice->message_id, sizeof slice->message_id, "%s", bq_result_string(r, row, "message_id"));
}

static bool read_slices(struct services *services, struct backfill *b, int64_t expected, struct cancel *cancel,
                        struct error *err)
{
    struct bq_result result = {0};
    bool ok = ask(services, slices_text(services->settings), b->id, &result, cancel, err);
    if (ok && (int64_t)result.row_count != expected)
        ok = error_set(err, ERROR_PERMANENT, "backfill_broken",
                       "backfill %s has %zu slices where its plan says %lld: make a new one (--new)", b->id,
                       result.row_count, (long long)expected);
    if (ok) {
        b->slices = xcalloc(result.row_count + 1, sizeof b->slices[0]);
        for (size_t i = 0; i < result.row_count; i++)
            read_slice(&result, i, &b->slices[b->count++]);
    }
    bq_result_release(&result);
    return ok;
}

static bool read_backfill(struct services *services, const struct bq_result *r, struct backfill *b,
                          struct cancel *cancel, struct error *err)
{
    snprintf(b->id, sizeof b->id, "%s", bq_result_string(r, 0, "backfill_id"));
    b->key = xstrdup(bq_result_string(r, 0, "plan_key"));
    b->entities = xstrdup(bq_result_string(r, 0, "entities"));
    b->from_us = bq_result_int(r, 0, "window_from", 0);
    b->to_us = bq_result_int(r, 0, "window_to", 0);
    b->created_us = bq_result_int(r, 0, "created_at", 0);
    b->records = bq_result_int(r, 0, "records_expected", 0);
    b->requests = bq_result_int(r, 0, "requests_expected", 0);
    return read_slices(services, b, bq_result_int(r, 0, "slices", 0), cancel, err);
}

bool backfill_find(struct services *services, const char *key, bool *ret_found, struct backfill *ret,
                   struct cancel *cancel, struct error *err)
{
    struct bq_result result = {0};
    *ret = (struct backfill){0};
    bool ok = ask(services, by_key_text(services->settings), key, &result, cancel, err);
    *ret_found = ok && result.row_count > 0;
    if (*ret_found)
        ok = read_backfill(services, &result, ret, cancel, err);
    bq_result_release(&result);
    return ok;
}

bool backfill_load(struct services *services, const char *id_prefix, struct backfill *ret, struct cancel *cancel,
                   struct error *err)
{
    struct bq_result result = {0};
    *ret = (struct backfill){0};
    bool ok = ask(services, by_prefix_text(services->settings), id_prefix, &result, cancel, err);
    if (ok && result.row_count == 0)
        ok = error_set(err, ERROR_PERMANENT, "unknown_backfill",
                       "there is no backfill \"%.40s\": `st-ingestor backfill list` shows them", id_prefix);
    if (ok && result.row_count > 1)
        ok = error_set(err, ERROR_PERMANENT, "unknown_backfill", "more than one backfill begins with \"%.40s\"",
                       id_prefix);
    ok = ok && read_backfill(services, &result, ret, cancel, err);
    bq_result_release(&result);
    return ok;
}
