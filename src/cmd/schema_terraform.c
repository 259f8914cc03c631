/* schema_terraform.c - the warehouse and the queues as JSON for terraform, from the same objects that init makes.
 *
 * Types have the names that BigQuery's REST API answers with (INTEGER, RECORD), and every column has its mode, so that a
 * plan right after an apply shows no difference. */
#include "schema_terraform.h"

#include <stdio.h>

#include "bigquery/warehouse.h"
#include "operate/operate.h"

enum { MS_PER_DAY = 86400000, CLUSTER_COLUMNS = 4 };

/* Holes in place of names. */
static const struct warehouse_names holes = {"${project}", "${raw}", "${stage}", "${mart}", "${logs}"};

struct printer {
    struct buf *out;
    enum ddl_kind kind; /* only these */
    size_t count;
};

/* A text of our own: where it looks like a hole to terraform's template, it must not be one. */
static void put_text(struct buf *out, const char *text)
{
    struct buf json = BUF_INIT;
    buf_append_json_string(&json, slice_str(text));
    for (const char *at = buf_cstr(&json); *at; at++) {
        if ((*at == '$' || *at == '%') && at[1] == '{')
            buf_printf(out, "\\u%04x", (unsigned)*at);
        else
            buf_append_char(out, *at);
    }
    buf_release(&json);
}

static void put_member(struct buf *out, const char *name, const char *text)
{
    buf_printf(out, "\"%s\": ", name);
    put_text(out, text);
}

static const char *const rest_types[] = {
    [COLUMN_STRING] = "STRING", [COLUMN_INT64] = "INTEGER",   [COLUMN_FLOAT64] = "FLOAT",
    [COLUMN_BOOL] = "BOOLEAN",  [COLUMN_NUMERIC] = "NUMERIC", [COLUMN_TIMESTAMP] = "TIMESTAMP",
    [COLUMN_DATE] = "DATE",     [COLUMN_JSON] = "JSON",       [COLUMN_STRUCT] = "RECORD",
};

/* Columns nest as deep as the registry, whose depth is bounded when it is loaded. */
static void put_columns(struct buf *out, const struct column *columns, size_t count, int indent)
{
    static const char *const modes[] = {
        [COLUMN_NULLABLE] = "NULLABLE", [COLUMN_REQUIRED] = "REQUIRED", [COLUMN_REPEATED] = "REPEATED"};
    buf_append_char(out, '[');
    for (size_t i = 0; i < count; i++) {
        const struct column *c = &columns[i];
        buf_printf(out, "%s\n%*s{", i ? "," : "", indent, "");
        put_member(out, "name", c->name);
        buf_printf(out, ", \"type\": \"%s\", \"mode\": \"%s\"", rest_types[c->type], modes[c->mode]);
        if (c->default_sql) {
            buf_append_str(out, ", ");
            put_member(out, "defaultValueExpression", c->default_sql);
        }
        if (c->description && c->description[0]) {
            buf_append_str(out, ", ");
            put_member(out, "description", c->description);
        }
        if (c->type == COLUMN_STRUCT) {
            buf_append_str(out, ", \"fields\": ");
            put_columns(out, c->fields, c->field_count, indent + 2);
        }
        buf_append_char(out, '}');
    }
    buf_append_char(out, ']');
}

static void put_partitioning(struct buf *out, const struct table_schema *table)
{
    static const char *const types[] = {[PARTITION_DAY] = "DAY", [PARTITION_HOUR] = "HOUR"};
    if (table->partition == PARTITION_NONE) {
        buf_append_str(out, "null");
        return;
    }
    buf_printf(out, "{\"type\": \"%s\", \"field\": \"%s\", \"expiration_ms\": ", types[table->partition],
               table->partition_column);
    if (table->partition_expiration_days > 0)
        buf_printf(out, "%lld}", (long long)table->partition_expiration_days * MS_PER_DAY);
    else
        buf_append_str(out, "null}");
}

static void put_clustering(struct buf *out, const struct table_schema *table)
{
    buf_append_char(out, '[');
    for (size_t i = 0; i < CLUSTER_COLUMNS && table->cluster[i]; i++)
        buf_printf(out, "%s\"%s\"", i ? ", " : "", table->cluster[i]);
    buf_append_char(out, ']');
}

static const char *dataset_role(const char *dataset)
{
    static const struct {
        const char *const *dataset;
        const char *role;
    } roles[] = {{&holes.raw, "raw"}, {&holes.stage, "stage"}, {&holes.mart, "mart"}, {&holes.logs, "logs"}};
    size_t i = 0;
    while (*roles[i].dataset != dataset)
        i++;
    return roles[i].role;
}

static void put_table(struct buf *out, const struct table_schema *table)
{
    buf_append_str(out, ",\n   \"partitioning\": ");
    put_partitioning(out, table);
    buf_append_str(out, ",\n   \"clustering\": ");
    put_clustering(out, table);
    buf_append_str(out, ",\n   \"schema\": ");
    put_columns(out, table->columns, table->column_count, 4);
}

/* Queries are ours, and their holes are meant: no put_text. */
static void put_query(struct buf *out, const struct ddl_object *object)
{
    buf_append_str(out, ",\n   \"query\": ");
    buf_append_json_string(out, slice_str(object->query));
    buf_printf(out, ", \"level\": %zu", object->level);
}

static void put_object(void *user, const struct ddl_object *object)
{
    struct printer *p = user;
    if (object->kind != p->kind)
        return;
    buf_printf(p->out, "%s\n  {\"dataset\": \"%s\", ", p->count++ ? "," : "", dataset_role(object->dataset));
    if (object->name) {
        put_member(p->out, "name", object->name);
        buf_append_str(p->out, ", ");
    }
    put_member(p->out, "description", object->description);
    if (object->kind == DDL_TABLE)
        put_table(p->out, object->table);
    else if (object->kind == DDL_VIEW)
        put_query(p->out, object);
    buf_append_char(p->out, '}');
}

static void put_objects(struct buf *out, const struct settings *s, const char *title, enum ddl_kind kind)
{
    struct printer printer = {out, kind, 0};
    buf_printf(out, " \"%s\": [", title);
    ddl_each_object(&holes, s->registry, put_object, &printer);
    buf_append_str(out, "],\n");
}

static void put_duration(struct buf *out, const char *name, int seconds, bool set)
{
    if (set)
        buf_printf(out, ", \"%s\": \"%ds\"", name, seconds);
    else
        buf_printf(out, ", \"%s\": null", name);
}

static void put_queue(struct buf *out, const struct operate_queue *queue)
{
    const struct pubsub_subscription_options *p = &queue->policy;
    buf_printf(out, "{\"ack_deadline_seconds\": %d, \"never_expires\": %s", p->ack_deadline_s,
               p->never_expires ? "true" : "false");
    put_duration(out, "minimum_backoff", p->min_backoff_s, p->max_backoff_s > 0);
    put_duration(out, "maximum_backoff", p->max_backoff_s, p->max_backoff_s > 0);
    put_duration(out, "message_retention_duration", p->retention_s, p->retention_s > 0);
    if (p->dead_letter_topic)
        buf_printf(out, ", \"max_delivery_attempts\": %d}", p->max_delivery_attempts);
    else
        buf_append_str(out, ", \"max_delivery_attempts\": null}");
}

void schema_terraform(struct buf *out, const struct settings *s)
{
    struct operate_queue queues[OPERATE_QUEUES];
    buf_append_str(out, "{\n");
    put_objects(out, s, "datasets", DDL_DATASET);
    put_objects(out, s, "tables", DDL_TABLE);
    put_objects(out, s, "views", DDL_VIEW);
    operate_queues(s, queues);
    buf_append_str(out, " \"queues\": {");
    for (size_t i = 0; i < OPERATE_QUEUES; i++) {
        buf_printf(out, "%s\n  \"%s\": ", i ? "," : "", queues[i].role);
        put_queue(out, &queues[i]);
    }
    buf_append_str(out, "}\n}\n");
}
