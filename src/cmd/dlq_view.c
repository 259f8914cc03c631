/* dlq_view.c - dead letters and what they have in common, as tables and as JSON. */
#include "dlq_view.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/timestamp.h"
#include "operate/table.h"

/* Consumes the table. */
static void print_table(struct bq_result *table, bool json)
{
    struct buf text = BUF_INIT;
    (json ? table_json : table_print)(&text, table);
    fputs(buf_cstr(&text), stdout);
    buf_release(&text);
    bq_result_release(table);
}

static void add_letter(struct bq_result *table, const struct dlq_letter *letter)
{
    char dead[24], tenant[24], attempts[24], replays[24];
    bool known = letter->readable;
    snprintf(dead, sizeof dead, "%lld", (long long)letter->dead_us);
    snprintf(tenant, sizeof tenant, "%lld", (long long)letter->task.tenant);
    snprintf(attempts, sizeof attempts, "%lld", (long long)letter->attempts);
    snprintf(replays, sizeof replays, "%lld", (long long)letter->replays);
    const char *const cells[] = {
        letter->id,
        dead,
        known && letter->task.tenant ? tenant : NULL,
        known ? letter->task.entity : NULL,
        known ? task_mode_name(letter->task.mode) : NULL,
        task_lane_name(letter->lane),
        attempts,
        replays,
        letter->error_code[0] ? letter->error_code : NULL,
        letter->run_id[0] ? letter->run_id : NULL,
        letter->error_message[0] ? letter->error_message : NULL,
    };
    table_add_row(table, cells);
}

void dlq_print_letters(const struct dlq *dlq, const size_t *which, size_t count, bool json)
{
    static const struct table_column columns[] = {
        {"message_id", "STRING"},    {"dead_lettered", "TIMESTAMP"},
        {"tenant_id", "INTEGER"},    {"entity", "STRING"},
        {"mode", "STRING"},          {"lane", "STRING"},
        {"attempts", "INTEGER"},     {"replays", "INTEGER"},
        {"error_code", "STRING"},    {"run_id", "STRING"},
        {"error_message", "STRING"},
    };
    struct bq_result table;
    table_begin(&table, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < count; i++)
        add_letter(&table, dlq_at(dlq, which[i]));
    print_table(&table, json);
}

/* ---- One letter, whole ------------------------------------------------------------------------------------------------ */

static void put_json_letter(struct buf *out, const struct dlq_letter *letter)
{
    char stamp[TIMESTAMP_TEXT_SIZE];
    buf_append_str(out, "{\"messageId\":");
    buf_append_json_string(out, slice_str(letter->id));
    buf_printf(out, ",\"deadLettered\":\"%s\",\"attributes\":{", timestamp_text(stamp, letter->dead_us, 3));
    for (size_t i = 0; i < letter->attribute_count; i++) {
        buf_append_str(out, i ? "," : "");
        buf_append_json_string(out, slice_str(letter->attributes[i].key));
        buf_append_char(out, ':');
        buf_append_json_string(out, slice_str(letter->attributes[i].value));
    }
    buf_append_str(out, "},\"data\":");
    buf_append_json_string(out, letter->data);
    buf_append_str(out, "}\n");
}

/* Whoever may publish chooses keys and values: neither may steer the terminal. */
static void put_attribute(struct buf *out, const struct pubsub_attribute *attribute)
{
    struct buf key = BUF_INIT, value = BUF_INIT;
    table_printable(&key, attribute->key);
    buf_append_json_string(&value, slice_str(attribute->value));
    buf_printf(out, "%-46s ", buf_cstr(&key));
    table_printable(out, buf_cstr(&value));
    buf_append_char(out, '\n');
    buf_release(&key);
    buf_release(&value);
}

static void put_letter(struct buf *out, const struct dlq_letter *letter)
{
    char stamp[TIMESTAMP_TEXT_SIZE];
    struct buf data = BUF_INIT;
    buf_append_json_string(&data, letter->data); /* escapes: it may hold anything */
    buf_printf(out, "message        %s\ndead-lettered  %s\n", letter->id, timestamp_text(stamp, letter->dead_us, 3));
    if (letter->published_us)
        buf_printf(out, "published      %s\n", timestamp_text(stamp, letter->published_us, 3));
    buf_printf(out, "replay goes to the %s lane\n\n", task_lane_name(letter->lane));
    for (size_t i = 0; i < letter->attribute_count; i++)
        put_attribute(out, &letter->attributes[i]);
    buf_append_char(out, '\n');
    table_printable(out, buf_cstr(&data));
    buf_append_char(out, '\n');
    buf_release(&data);
}

void dlq_print_letter(const struct dlq_letter *letter, bool json)
{
    struct buf text = BUF_INIT;
    (json ? put_json_letter : put_letter)(&text, letter);
    fputs(buf_cstr(&text), stdout);
    buf_release(&text);
}

/* ---- What they have in common ---------------------------------------------------------------------------------------- */

struct group {
    const struct dlq_letter *first; /* the oldest: says what all have in common */
    size_t count;
    int64_t newest_us;
};

static bool is_alike(const struct dlq_letter *a, const struct dlq_letter *b)
{
    return a->readable == b->readable && strcmp(a->task.entity, b->task.entity) == 0 && a->task.mode == b->task.mode &&
           a->task.tenant == b->task.tenant && strcmp(a->error_code, b->error_code) == 0;
}

static size_t gather(const struct dlq *dlq, const size_t *which, size_t count, struct group *groups)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        const struct dlq_letter *letter = dlq_at(dlq, which[i]);
        size_t at = 0;
        while (at < found && !is_alike(groups[at].first, letter))
            at++;
        if (at == found)
            groups[found++].first = letter;
        groups[at].count++;
        groups[at].newest_us = letter->dead_us; /* oldest first */
    }
    return found;
}

static int by_size(const void *a, const void *b)
{
    const struct group *x = a, *y = b;
    return x->count > y->count ? -1 : x->count < y->count;
}

static void add_group(struct bq_result *table, const struct group *group)
{
    const struct dlq_letter *first = group->first;
    char letters[24], tenant[24], oldest[24], newest[24];
    snprintf(letters, sizeof letters, "%zu", group->count);
    snprintf(tenant, sizeof tenant, "%lld", (long long)first->task.tenant);
    snprintf(oldest, sizeof oldest, "%lld", (long long)first->dead_us);
    snprintf(newest, sizeof newest, "%lld", (long long)group->newest_us);
    const char *const cells[] = {letters,
                                 first->readable && first->task.tenant ? tenant : NULL,
                                 first->readable ? first->task.entity : NULL,
                                 first->readable ? task_mode_name(first->task.mode) : NULL,
                                 first->error_code[0] ? first->error_code : NULL,
                                 oldest,
                                 newest};
    table_add_row(table, cells);
}

void dlq_print_stats(const struct dlq *dlq, const size_t *which, size_t count, bool json)
{
    static const struct table_column columns[] = {
        {"letters", "INTEGER"},   {"tenant_id", "INTEGER"}, {"entity", "STRING"},   {"mode", "STRING"},
        {"error_code", "STRING"}, {"oldest", "TIMESTAMP"},  {"newest", "TIMESTAMP"}};
    struct group *groups = xcalloc(count + 1, sizeof *groups);
    struct bq_result table;
    size_t found = gather(dlq, which, count, groups);
    qsort(groups, found, sizeof *groups, by_size);
    table_begin(&table, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < found; i++)
        add_group(&table, &groups[i]);
    print_table(&table, json);
    if (!json)
        printf("%zu dead letters\n", count);
    free(groups);
}
