#include "dispatch/due.h"

#include <stdlib.h>

#include "base/timestamp.h"
#include "dispatch/cron.h"
#include "dispatch/task.h"

#define CLOCK_SLACK_US INT64_C(3600000000)

static bool is_wanted(const struct entity_settings *entity, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], entity->entity->name) == 0)
            return true;
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], "all") == 0)
            return entity->enabled && entity->schedule[0];
    return count == 0 && entity->enabled && entity->schedule[0];
}

static bool check_names(const struct settings *s, const char *const *names, size_t count, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct entity_settings *entity = settings_entity(s, names[i]);
        if (strcmp(names[i], "all") == 0)
            continue;
        if (!task_check_entity(names[i], s, err))
            return false;
        if (!entity->schedule[0])
            return error_set(err, ERROR_PERMANENT, "unknown_entity", "%s has no schedule in %s", names[i],
                             s->config_path);
    }
    return true;
}

static void find_slots(struct due *due, const struct zone *zone, int64_t now_us)
{
    struct cron cron;
    BUG_ON(!cron_parse(due->entity->schedule, &cron)); /* checked when the settings were loaded */
    if (!cron_previous(&cron, zone, now_us, &due->slot_us))
        due->slot_us = 0;
    if (!cron_next(&cron, zone, now_us, &due->next_us))
        due->next_us = 0;
}

bool due_slots(const struct settings *s, const char *const *names, size_t name_count, int64_t now_us, struct due **ret,
               size_t *ret_count, struct error *err)
{
    const struct entity_settings *order[REGISTRY_MAX_ENTITIES];
    if (!check_names(s, names, name_count, err))
        return false;
    struct zone *zone = zone_open(s->schedule_time_zone, err);
    if (!zone)
        return false;
    settings_order(s, order);
    *ret = xcalloc(s->entity_count + 1, sizeof **ret);
    *ret_count = 0;
    for (size_t i = 0; i < s->entity_count; i++) {
        if (!is_wanted(order[i], names, name_count))
            continue;
        struct due *due = &(*ret)[(*ret_count)++];
        *due = (struct due){.entity = order[i]};
        find_slots(due, zone, now_us);
    }
    zone_close(zone);
    return true;
}

/* ---- What was dispatched ------------------------------------------------------------------------------------------ */

char *due_sql(const struct settings *s)
{
    return xasprintf("SELECT entity_type, dispatched_at\nFROM `%s.%s.dispatches`", s->bq_project, s->bq_dataset_logs);
}

bool due_is_due(const struct due *due, int64_t now_us)
{
    int64_t last_us = due->last_us > now_us + CLOCK_SLACK_US ? 0 : due->last_us;
    return last_us == 0 || due->slot_us > last_us;
}

static int64_t last_of(const struct bq_result *result, const char *entity)
{
    for (size_t i = 0; i < result->row_count; i++) {
        const char *name = bq_result_text(result, i, "entity_type");
        if (name && strcmp(name, entity) == 0)
            return bq_result_int(result, i, "dispatched_at", 0);
    }
    return 0;
}

bool due_decide(struct services *services, struct due *dues, size_t count, int64_t now_us, struct cancel *cancel,
                struct error *err)
{
    struct bq_result result = {0};
    char *sql = due_sql(services->settings);
    const struct bq_label step = {"st_step", "due"};
    const struct bq_query query = {.sql = sql, .labels = &step, .label_count = 1};
    bool ok = bq_query_run(services->bigquery, &query, &result, cancel, err) ||
              error_prefix(err, "reading the last dispatches");
    free(sql);
    for (size_t i = 0; ok && i < count; i++) {
        dues[i].last_us = last_of(&result, dues[i].entity->entity->name);
        dues[i].is_due = due_is_due(&dues[i], now_us);
    }
    bq_result_release(&result);
    return ok;
}

const char *due_mode(const struct settings *s, const struct due *due, const char *wanted, int64_t now_us)
{
    const char *name = wanted ? wanted : s->default_mode;
    bool again = due->last_us && timestamp_to_days(due->last_us) == timestamp_to_days(now_us);
    return strcmp(name, "auto") == 0 && again ? "entity" : name;
}

static const struct due *due_of(const struct due *dues, size_t count, const char *entity)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(dues[i].entity->entity->name, entity) == 0)
            return &dues[i];
    BUG("%s was not due", entity);
}

bool due_record(struct services *services, const struct due *dues, size_t count, const struct dispatched *items,
                size_t item_count, int64_t now_us, struct cancel *cancel, struct error *err)
{
    struct event_dispatch *rows = xcalloc(item_count + 1, sizeof *rows);
    for (size_t i = 0; i < item_count; i++) {
        const struct task *task = &items[i].task;
        const struct due *due = due_of(dues, count, task->entity);
        rows[i] = (struct event_dispatch){
            .entity = task->entity,
            .mode = task_mode_name(task->mode),
            .task_id = task->task_id,
            .message_id = items[i].message_id,
            .schedule = due->entity->schedule,
            .slot_us = due->slot_us,
            .dispatched_us = now_us,
        };
    }
    bool ok = events_dispatch(services->events, rows, item_count, cancel, err) ||
              error_prefix(err, "recording what was published");
    free(rows);
    return ok;
}
