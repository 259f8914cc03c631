/* registry.c - config/schema_registry.json: entities and their tables.
 *
 * The file is checked as a whole before anything else starts: a mistake in it would otherwise show up as a refused
 * statement, a refused row or a silent NULL, far from its cause. Target and stage table share the source columns; the
 * bookkeeping columns behind them are ours and stand here. Immutable once the settings have said which entities are
 * enabled; any thread may read. */
#include "record/registry.h"

#include <stdlib.h>

#include "base/file.h"
#include "dedupe.h"
#include "registry_load.h"
#include "tokenizer.h"

enum { REGISTRY_MAX_BYTES = 4 * 1024 * 1024, STAGE_EXPIRATION_DAYS = 7, REGISTRY_MAX_PAGE_SIZE = 5000 };

struct registry {
    struct arena *arena;
    struct entity *entities;
    size_t count;
};

#define BOOKKEEPING(column_name, column_type, column_mode, text)                                                       \
    {                                                                                                                  \
        .name = column_name, .type = column_type, .mode = column_mode, .description = text                             \
    }

static const struct column target_columns[] = {
    BOOKKEEPING("_tenant_id", COLUMN_INT64, COLUMN_REQUIRED, "ServiceTitan tenant; with id the key of the row"),
    BOOKKEEPING("_run_id", COLUMN_STRING, COLUMN_REQUIRED, "Run that wrote this version of the row"),
    BOOKKEEPING("_ingested_at", COLUMN_TIMESTAMP, COLUMN_REQUIRED, "When this version was merged"),
    BOOKKEEPING("_ingestion_source", COLUMN_STRING, COLUMN_REQUIRED, "Program that wrote the row: servicetitan_v2"),
    BOOKKEEPING("_row_hash", COLUMN_STRING, COLUMN_REQUIRED, "Hash of the source record, independent of member order"),
    BOOKKEEPING("_fetched_at", COLUMN_TIMESTAMP, COLUMN_REQUIRED,
                "When the record was asked for, by the server's clock"),
    BOOKKEEPING("_extra", COLUMN_JSON, COLUMN_NULLABLE, "Source values that fit no column, by their path"),
    BOOKKEEPING("_deleted_at", COLUMN_TIMESTAMP, COLUMN_NULLABLE, "When the source was seen to have lost the record"),
    BOOKKEEPING("_group_date", COLUMN_DATE, COLUMN_NULLABLE, "Rows without an id of their own: day of creation (UTC)"),
};

static const struct column stage_columns[] = {
    BOOKKEEPING("_tenant_id", COLUMN_INT64, COLUMN_REQUIRED, "ServiceTitan tenant"),
    BOOKKEEPING("_run_id", COLUMN_STRING, COLUMN_REQUIRED, "Run that staged the row"),
    BOOKKEEPING("_fetch_id", COLUMN_INT64, COLUMN_REQUIRED, "Fetch within the run, from 1"),
    BOOKKEEPING("_row_number", COLUMN_INT64, COLUMN_REQUIRED, "Row within the fetch, dense from 1"),
    BOOKKEEPING("_row_hash", COLUMN_STRING, COLUMN_REQUIRED, "Hash of the source record, independent of member order"),
    BOOKKEEPING("_fetched_at", COLUMN_TIMESTAMP, COLUMN_REQUIRED,
                "When the record was asked for, by the server's clock"),
    BOOKKEEPING("_extra", COLUMN_JSON, COLUMN_NULLABLE, "Source values that fit no column, by their path"),
    BOOKKEEPING("_deleted", COLUMN_BOOL, COLUMN_NULLABLE,
                "The feed shows the record as deleted; NULL: this feed does not tell"),
    BOOKKEEPING("_group_date", COLUMN_DATE, COLUMN_NULLABLE, "Rows without an id of their own: day of creation (UTC)"),
    {.name = "_staged_at",
     .type = COLUMN_TIMESTAMP,
     .description = "When the server took the row",
     .default_sql = "CURRENT_TIMESTAMP()"},
};

enum {
    TARGET_COLUMNS = sizeof target_columns / sizeof target_columns[0],
    STAGE_COLUMNS = sizeof stage_columns / sizeof stage_columns[0],
};

static const char *const root_members[] = {"description", "entities", NULL};
static const char *const entity_members[] = {
    "description", "path",       "exportPath",     "activeFilter",  "maxPageSize", "primaryKey", "surrogateKey",
    "targetTable", "stageTable", "partitionField", "clusterFields", "feedOnly",    "columns",    "feed",
    "tombstone",   NULL,
};
static const char *const active_members[] = {"param", "value", NULL};

/* ---- Paths and filters ------------------------------------------------------------------------------------------ */

/* "jpm/v2/tenant/{tenant}/jobs": joined to a base URL as it is, so nothing but plain segments. */
static bool check_path(struct load *load, const struct place *at, const char *member, const char *path)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/{}";
    const char *hole = strstr(path, "/{tenant}/");
    if (!hole || strpbrk(hole + strlen("/{tenant}/"), "{}") || memchr(path, '{', (size_t)(hole - path)))
        return load_refuse(load, at, member, "'%s' must have one segment '{tenant}'", path);
    if (path[strspn(path, allowed)] != '\0' || path[0] == '/' || path[strlen(path) - 1] == '/' || strstr(path, "//"))
        return load_refuse(load, at, member, "'%s' must be plain segments without a slash at either end", path);
    return true;
}

static bool load_paths(struct load *load, const struct place *at, struct json_object *obj, struct entity *entity)
{
    if (!load_text(load, at, obj, "path", true, &entity->path) || !check_path(load, at, "path", entity->path) ||
        !load_text(load, at, obj, "exportPath", false, &entity->export_path))
        return false;
    return !entity->export_path || check_path(load, at, "exportPath", entity->export_path);
}

static bool load_active_filter(struct load *load, const struct place *at, struct json_object *obj,
                               struct entity *entity)
{
    struct json_object *filter = NULL;
    if (!json_object_object_get_ex(obj, "activeFilter", &filter))
        return true;
    struct place place = place_member(at, "activeFilter");
    return load_is_object(load, &place, filter, active_members) &&
           load_text(load, &place, filter, "param", true, &entity->active_param) &&
           load_text(load, &place, filter, "value", true, &entity->active_value);
}

static bool load_page_size(struct load *load, const struct place *at, struct json_object *obj, struct entity *entity)
{
    struct json_object *value = NULL;
    if (!json_object_object_get_ex(obj, "maxPageSize", &value))
        return load_refuse(load, at, "maxPageSize", "missing");
    int64_t size = json_object_is_type(value, json_type_int) ? json_object_get_int64(value) : 0;
    if (size < 1 || size > REGISTRY_MAX_PAGE_SIZE)
        return load_refuse(load, at, "maxPageSize", "must be a number from 1 to %d", REGISTRY_MAX_PAGE_SIZE);
    entity->max_page_size = (int)size;
    return true;
}

/* ---- Tables ------------------------------------------------------------------------------------------------------ */

static bool load_table_name(struct load *load, const struct place *at, struct json_object *obj, const char *member,
                            const char **ret)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    if (!load_text(load, at, obj, member, true, ret))
        return false;
    if (strlen(*ret) > REGISTRY_MAX_NAME || (*ret)[strspn(*ret, allowed)] != '\0')
        return load_refuse(load, at, member, "'%s' must be letters, digits and underscores", *ret);
    return true;
}

static bool check_key(struct load *load, const struct place *at, struct json_object *obj, const struct entity *entity,
                      const struct column *columns)
{
    const char *key;
    if (!load_text(load, at, obj, "primaryKey", true, &key))
        return false;
    if (strcmp(key, "id") != 0)
        return load_refuse(load, at, "primaryKey", "'%s' must be 'id': rows are keyed by tenant and id", key);
    const struct column *column = column_find(columns, entity->source_column_count, key);
    if (!column)
        return load_refuse(load, at, "primaryKey", "there is no column '%s'", key);
    if (column->type != COLUMN_INT64 || column->mode != COLUMN_REQUIRED || strcmp(column->source, key) != 0)
        return load_refuse(load, at, "primaryKey", "the column '%s' must be INT64, REQUIRED and of that source", key);
    for (size_t i = 0; i < entity->source_column_count; i++) {
        if (columns[i].mode == COLUMN_REQUIRED && &columns[i] != column)
            return load_refuse(load, at, "columns",
                               "'%s' is REQUIRED: only the key can be, the API's word is not dependable",
                               columns[i].name);
    }
    return true;
}

/* Windows, versions and groups are made from these two, so every entity has them under their own names. */
static bool check_times(struct load *load, const struct place *at, struct entity *entity, const struct column *columns)
{
    static const char *const names[] = {"createdOn", "modifiedOn"};
    const struct column *column = NULL;
    for (size_t i = 0; i < 2; i++) {
        column = column_find(columns, entity->source_column_count, names[i]);
        if (!column || column->type != COLUMN_TIMESTAMP || column->mode != COLUMN_NULLABLE ||
            strcmp(column->source, names[i]) != 0)
            return load_refuse(load, at, "columns", "a NULLABLE TIMESTAMP column '%s' of that source is needed",
                               names[i]);
    }
    entity->modified_nullable = !column->expected;
    return true;
}

static bool load_partition(struct load *load, const struct place *at, struct json_object *obj, struct entity *entity,
                           const struct column *columns)
{
    const char *name;
    if (!load_text(load, at, obj, "partitionField", true, &name))
        return false;
    const struct column *column = column_find(columns, entity->source_column_count, name);
    if (!column)
        return load_refuse(load, at, "partitionField", "there is no column '%s'", name);
    if (column->mode == COLUMN_REPEATED || (column->type != COLUMN_TIMESTAMP && column->type != COLUMN_DATE))
        return load_refuse(load, at, "partitionField", "'%s' must be a TIMESTAMP or DATE, not REPEATED", name);
    entity->target.partition = PARTITION_DAY;
    entity->target.partition_column = column->name;
    return true;
}

/* facts/bigquery.md 6: types that can cluster. */
static bool can_cluster(const struct column *column)
{
    return column->mode != COLUMN_REPEATED && column->type != COLUMN_FLOAT64 && column->type != COLUMN_JSON &&
           column->type != COLUMN_STRUCT;
}

static bool load_cluster(struct load *load, const struct place *at, struct json_object *obj, struct entity *entity,
                         const struct column *columns)
{
    enum { MAX_CLUSTER = sizeof entity->target.cluster / sizeof entity->target.cluster[0] };
    const char *const *names;
    size_t count;
    if (!load_texts(load, at, obj, "clusterFields", MAX_CLUSTER, &names, &count))
        return false;
    if (count == 0)
        return load_refuse(load, at, "clusterFields", "missing");
    for (size_t i = 0; i < count; i++) {
        const struct column *column = column_find(columns, entity->source_column_count, names[i]);
        if (!column)
            return load_refuse(load, at, "clusterFields", "there is no column '%s'", names[i]);
        if (!can_cluster(column))
            return load_refuse(load, at, "clusterFields", "'%s' is of a type that BigQuery cannot cluster by",
                               names[i]);
        entity->target.cluster[i] = column->name;
    }
    return true;
}

static void build_tables(struct load *load, struct entity *entity, struct column *columns)
{
    size_t count = entity->source_column_count;
    struct column *stage = arena_zalloc(load->arena, (count + STAGE_COLUMNS) * sizeof *stage);
    memcpy(stage, columns, count * sizeof *stage);
    memcpy(stage + count, stage_columns, sizeof stage_columns);
    memcpy(columns + count, target_columns, sizeof target_columns);
    entity->target.columns = columns;
    entity->target.column_count = count + TARGET_COLUMNS;
    entity->target.description = entity->description;
    entity->stage.columns = stage;
    entity->stage.column_count = count + STAGE_COLUMNS;
    entity->stage.description = "Rows of unfinished runs, on their way to the target table";
    entity->stage.partition = PARTITION_HOUR;
    entity->stage.partition_column = "_staged_at";
    entity->stage.partition_expiration_days = STAGE_EXPIRATION_DAYS;
    entity->stage.cluster[0] = "_run_id";
}

static bool load_tables(struct load *load, const struct place *at, struct json_object *obj, struct entity *entity)
{
    struct column *columns;
    if (!load_table_name(load, at, obj, "targetTable", &entity->target.name) ||
        !load_table_name(load, at, obj, "stageTable", &entity->stage.name) ||
        !load_columns(load, at, obj, "columns", TARGET_COLUMNS, 0, &columns, &entity->source_column_count) ||
        !check_key(load, at, obj, entity, columns) || !check_times(load, at, entity, columns) ||
        !load_partition(load, at, obj, entity, columns) || !load_cluster(load, at, obj, entity, columns))
        return false;
    build_tables(load, entity, columns);
    return true;
}

/* ---- Entities ---------------------------------------------------------------------------------------------------- */

/* The name goes into messages, table names, job ids and labels. */
static bool check_entity_name(struct load *load, const struct place *at, const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
    if (name[0] < 'a' || name[0] > 'z' || name[strspn(name, allowed)] != '\0' || strlen(name) > REGISTRY_MAX_NAME)
        return load_refuse(load, at, NULL, "'%s' must be small letters, digits and underscores", name);
    return strcmp(name, "all") != 0 || load_refuse(load, at, NULL, "'all' means every entity and cannot name one");
}

static bool load_feed_only(struct load *load, const struct place *at, struct json_object *obj, struct entity *entity)
{
    size_t count;
    if (!load_texts(load, at, obj, "feedOnly", REGISTRY_MAX_ENUM, &entity->feed_only, &count))
        return false;
    for (size_t i = 0; i < count; i++) {
        for (size_t c = 0; c < entity->source_column_count; c++) {
            struct slice source = slice_str(entity->target.columns[c].source);
            size_t head = strcspn(source.ptr, ".[");
            if (slice_eq_str(slice_of(source.ptr, head), entity->feed_only[i]))
                return load_refuse(load, at, "feedOnly", "'%s' is the source of the column '%s'", entity->feed_only[i],
                                   entity->target.columns[c].name);
        }
    }
    return true;
}

static bool load_feed(struct load *load, const struct place *at, struct json_object *obj, struct entity *entity)
{
    const char *feed = NULL;
    if (!load_text(load, at, obj, "feed", false, &feed))
        return false;
    if (feed && strcmp(feed, "export") != 0 && strcmp(feed, "list") != 0)
        return load_refuse(load, at, "feed", "'%s' must be 'list' or 'export'", feed);
    entity->feed = feed && strcmp(feed, "export") == 0 ? FEED_EXPORT : FEED_LIST;
    return entity->feed == FEED_LIST || entity->export_path ||
           load_refuse(load, at, "feed", "there is no exportPath to read");
}

static bool load_tombstone(struct load *load, const struct place *at, struct json_object *obj, struct entity *entity)
{
    if (!load_text(load, at, obj, "tombstone", false, &entity->tombstone))
        return false;
    if (!entity->tombstone)
        return true;
    for (size_t i = 0; entity->feed_only && entity->feed_only[i]; i++)
        if (strcmp(entity->feed_only[i], entity->tombstone) == 0)
            return entity->export_path || load_refuse(load, at, "tombstone", "there is no exportPath to read");
    return load_refuse(load, at, "tombstone", "'%s' must be among the members of feedOnly", entity->tombstone);
}

static bool load_entity(struct load *load, const struct place *at, const char *name, struct json_object *obj,
                        struct entity *entity)
{
    entity->name = arena_strdup(load->arena, slice_str(name));
    entity->enabled = true;
    return load_is_object(load, at, obj, entity_members) && check_entity_name(load, at, name) &&
           load_text(load, at, obj, "description", true, &entity->description) && load_paths(load, at, obj, entity) &&
           load_active_filter(load, at, obj, entity) && load_page_size(load, at, obj, entity) &&
           load_bool(load, at, obj, "surrogateKey", false, &entity->id_nullable) &&
           load_tables(load, at, obj, entity) && load_feed_only(load, at, obj, entity) &&
           load_feed(load, at, obj, entity) && load_tombstone(load, at, obj, entity);
}

static bool check_table_twins(struct load *load, const struct place *at, const struct registry *registry,
                              const struct entity *entity)
{
    if (strcmp(entity->target.name, entity->stage.name) == 0)
        return load_refuse(load, at, "stageTable", "'%s' is the target table too", entity->stage.name);
    for (size_t i = 0; i < registry->count; i++) {
        const struct entity *other = &registry->entities[i];
        if (strcmp(other->target.name, entity->target.name) == 0)
            return load_refuse(load, at, "targetTable", "'%s' is the table of '%s'", entity->target.name, other->name);
        if (strcmp(other->stage.name, entity->stage.name) == 0)
            return load_refuse(load, at, "stageTable", "'%s' is the table of '%s'", entity->stage.name, other->name);
    }
    return true;
}

static bool load_entities(struct load *load, struct registry *registry, struct json_object *root)
{
    struct place top = {""};
    struct json_object *entities = NULL;
    if (!load_is_object(load, &top, root, root_members))
        return false;
    if (!json_object_object_get_ex(root, "entities", &entities))
        return load_refuse(load, &top, "entities", "missing");
    struct place at = place_member(&top, "entities");
    if (!load_is_object(load, &at, entities, NULL))
        return false;
    int count = json_object_object_length(entities);
    if (count < 1 || count > REGISTRY_MAX_ENTITIES)
        return load_refuse(load, &at, NULL, "must have 1 to %d entities, not %d", REGISTRY_MAX_ENTITIES, count);
    registry->entities = arena_zalloc(load->arena, (size_t)count * sizeof *registry->entities);
    json_object_object_foreach(entities, name, value)
    {
        struct place place = place_member(&at, name);
        struct entity *entity = &registry->entities[registry->count];
        if (!load_entity(load, &place, name, value, entity) || !check_table_twins(load, &place, registry, entity))
            return false;
        registry->count++;
    }
    return true;
}

/* json-c silently takes the last of two members of one name; here that would hide an entity. */
static bool check_member_twins(struct slice text, const char *path, struct error *err)
{
    struct buf once = BUF_INIT;
    struct cursor cursor;
    bool good = true;
    cursor_init(&cursor, text);
    token_space(&cursor);
    if (!token_skip(&cursor)) {
        good = error_set(err, ERROR_PERMANENT, "registry", "%s: %s at byte %zu", path, cursor.problem,
                         (size_t)(cursor.at - text.ptr));
    } else {
        const char *twin = json_dedupe(&once, text);
        int line = 1;
        for (const char *at = text.ptr; twin && at < twin; at++)
            line += *at == '\n';
        if (twin)
            good =
                error_set(err, ERROR_PERMANENT, "registry", "%s: line %d: the member stands there twice", path, line);
    }
    buf_release(&once);
    return good;
}

static struct json_object *load_root(const char *path, struct error *err)
{
    struct buf text = BUF_INIT;
    struct json_object *root = NULL;
    if (file_read(path, REGISTRY_MAX_BYTES, &text, err))
        root = json_parse(buf_slice(&text), path, err);
    if (root && !check_member_twins(buf_slice(&text), path, err)) {
        json_object_put(root);
        root = NULL;
    }
    buf_release(&text);
    return root;
}

struct registry *registry_load(const char *path, struct error *err)
{
    struct json_object *root = load_root(path, err);
    if (!root)
        return NULL;
    struct registry *registry = xcalloc(1, sizeof *registry);
    registry->arena = arena_new(0);
    struct load load = {registry->arena, path, err};
    if (!load_entities(&load, registry, root)) {
        registry_free(registry);
        registry = NULL;
    }
    json_object_put(root);
    return registry;
}

void registry_free(struct registry *registry)
{
    if (!registry)
        return;
    arena_free(registry->arena);
    free(registry);
}

const struct entity *registry_find(const struct registry *registry, const char *name)
{
    for (size_t i = 0; i < registry->count; i++) {
        if (strcmp(registry->entities[i].name, name) == 0)
            return &registry->entities[i];
    }
    return NULL;
}

size_t registry_count(const struct registry *registry)
{
    return registry->count;
}

const struct entity *registry_at(const struct registry *registry, size_t index)
{
    return index < registry->count ? &registry->entities[index] : NULL;
}

void registry_set_enabled(struct registry *registry, size_t index, bool enabled)
{
    BUG_ON(index >= registry->count);
    registry->entities[index].enabled = enabled;
}
