/* Loading of the settings: files found, options stored, then the config's lists (entities, tenants), each checked with
 * its place. */
#include "dispatch/settings.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "dispatch/cron.h"

enum { CONFIG_MAX_BYTES = 4 << 20, TENANT_ID_MAX = 19 };

static bool config_error(struct error *err, const struct settings *s, const char *place, const char *what)
{
    return error_set(err, ERROR_PERMANENT, "config", "%s: %s %s", s->config_path, place, what);
}

char *settings_find(const char *given, const char *name)
{
    char exe[PATH_MAX];
    if (given)
        return xstrdup(given);
    if (access(name, R_OK) == 0)
        return xstrdup(name);
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n > 0 ? n : 0] = '\0';
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(exe, '/');
        if (!slash)
            break;
        *slash = '\0';
        char *path = xasprintf("%s/%s", exe, name);
        if (access(path, R_OK) == 0)
            return path;
        free(path);
    }
    return xstrdup(name);
}

enum path_kind { PATH_UNKNOWN, PATH_SECTION, PATH_OPTION };

static enum path_kind path_kind(const char *path)
{
    for (size_t i = 0; i < settings_row_count(); i++) {
        const char *have = settings_rows[i].json_path;
        size_t len = strlen(path);
        if (!have || strncmp(have, path, len) != 0)
            continue;
        if (have[len] == '\0')
            return PATH_OPTION;
        if (have[len] == '.')
            return PATH_SECTION;
    }
    return PATH_UNKNOWN;
}

/* Refuses members that no option row has, at any depth. */
static bool check_members(const struct settings *s, struct json_object *obj, const char *prefix, struct error *err)
{
    json_object_object_foreach(obj, name, value)
    {
        char path[256];
        snprintf(path, sizeof path, "%s%s%s", prefix, prefix[0] ? "." : "", name);
        if (!prefix[0] && (strcmp(name, "entities") == 0 || strcmp(name, "tenants") == 0))
            continue;
        enum path_kind kind = path_kind(path);
        bool object = json_object_is_type(value, json_type_object);
        if (kind == PATH_UNKNOWN)
            return config_error(err, s, path, "is not a known option");
        if (kind == PATH_SECTION && !object && value)
            return config_error(err, s, path, "must be an object");
        if (object && !check_members(s, value, path, err))
            return false;
    }
    return true;
}

/* Absent or null is fine: the default holds. */
static bool has_type(struct json_object *obj, const char *member, enum json_type type)
{
    struct json_object *at = json_at(obj, member);
    return !at || json_object_is_type(at, type);
}

static bool load_entity(struct settings *s, struct entity_settings *e, struct json_object *obj, struct error *err)
{
    static const char *const members[] = {"enabled", "syncMode", "schedule", "priority", "description", NULL};
    char place[128];
    struct cron cron;
    json_object_object_foreach(obj, name, value)
    {
        size_t i = 0;
        (void)value;
        while (members[i] && strcmp(members[i], name) != 0)
            i++;
        snprintf(place, sizeof place, "entities.%s.%s", e->entity->name, name);
        if (!members[i])
            return config_error(err, s, place, "is not a known option");
    }
    snprintf(place, sizeof place, "entities.%s", e->entity->name);
    if (!has_type(obj, "enabled", json_type_boolean))
        return config_error(err, s, place, "has an 'enabled' that is neither true nor false");
    if (!has_type(obj, "syncMode", json_type_string) || !has_type(obj, "schedule", json_type_string) ||
        !has_type(obj, "description", json_type_string))
        return config_error(err, s, place, "has a syncMode, schedule or description that is not text");
    if (!has_type(obj, "priority", json_type_int))
        return config_error(err, s, place, "has a priority that is not a whole number");
    e->enabled = json_bool_at(obj, "enabled", true);
    e->sync_mode = json_text_at(obj, "syncMode", "incremental");
    e->schedule = json_text_at(obj, "schedule", "");
    e->priority = json_int_at(obj, "priority", 1);
    e->description = json_text_at(obj, "description", e->entity->description);
    if (strcmp(e->sync_mode, "incremental") != 0 && strcmp(e->sync_mode, "full") != 0)
        return config_error(err, s, place, "has a syncMode that is neither \"incremental\" nor \"full\"");
    if (e->schedule[0] && !cron_parse(e->schedule, &cron))
        return config_error(err, s, place, "has a schedule that is not five cron fields");
    if (e->priority < 1 || e->priority > 100)
        return config_error(err, s, place, "has a priority outside 1 to 100");
    return true;
}

static bool load_entities(struct settings *s, struct error *err)
{
    struct json_object *section = json_at(s->config, "entities");
    s->entity_count = registry_count(s->registry);
    s->entities = xcalloc(s->entity_count, sizeof *s->entities);
    for (size_t i = 0; i < s->entity_count; i++) {
        const struct entity *entity = registry_at(s->registry, i);
        s->entities[i] = (struct entity_settings){entity, false, "incremental", "", 1, entity->description};
    }
    if (!section)
        return config_error(err, s, "entities", "is missing");
    if (!json_object_is_type(section, json_type_object))
        return config_error(err, s, "entities", "must be an object");
    json_object_object_foreach(section, name, value)
    {
        char place[128];
        size_t i = 0;
        while (i < s->entity_count && strcmp(s->entities[i].entity->name, name) != 0)
            i++;
        snprintf(place, sizeof place, "entities.%s", name);
        if (i == s->entity_count)
            return config_error(err, s, place, "is not in the registry");
        if (!json_object_is_type(value, json_type_object))
            return config_error(err, s, place, "must be an object");
        if (!load_entity(s, &s->entities[i], value, err))
            return false;
    }
    for (size_t i = 0; i < s->entity_count; i++)
        registry_set_enabled(s->registry, i, s->entities[i].enabled);
    return true;
}

static bool parse_tenant_id(const char *text, int64_t *ret)
{
    return strlen(text) <= TENANT_ID_MAX && slice_to_int64(slice_str(text), ret) && *ret > 0;
}

static char *copy_or_null(const char *text)
{
    return text && text[0] ? xstrdup(text) : NULL;
}

/* Reads the secret whose variable the config names; notes the name when it is unset. */
static struct secret *tenant_secret(const struct settings *s, struct json_object *obj, const char *member,
                                    struct buf *missing)
{
    const char *name = json_text_at(obj, member, "");
    struct secret *secret = name[0] ? option_secret_named(name, s->env_path) : NULL;
    if (!secret)
        buf_printf(missing, "%s%s", missing->len ? ", " : "", name[0] ? name : member);
    return secret;
}

static bool check_tenant_members(const struct settings *s, struct json_object *obj, size_t index, struct error *err)
{
    static const char *const members[] = {
        "id", "name", "clientIdEnv", "clientSecretEnv", "appKeyEnv", "apiUrl", "authUrl", "rateLimitPerSecond", NULL};
    char place[64];
    snprintf(place, sizeof place, "tenants[%zu]", index);
    if (!json_object_is_type(obj, json_type_object))
        return config_error(err, s, place, "must be an object");
    json_object_object_foreach(obj, name, value)
    {
        size_t i = 0;
        (void)value;
        while (members[i] && strcmp(members[i], name) != 0)
            i++;
        if (!members[i])
            return error_set(err, ERROR_PERMANENT, "config", "%s: tenants[%zu].%s is not a known option",
                             s->config_path, index, name);
    }
    return true;
}

static bool is_variable_name(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_', digit = c >= '0' && c <= '9';
        if (!letter && !(digit && i > 0))
            return false;
    }
    return s.len > 0;
}

/* A secret that was written where its variable's name belongs must not show up in an error: no value is printed. */
static bool check_tenant_texts(const struct settings *s, struct json_object *obj, const char *place, struct error *err)
{
    static const char *const names[] = {"clientIdEnv", "clientSecretEnv", "appKeyEnv"};
    static const char *const urls[] = {"apiUrl", "authUrl"};
    char at[96];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(at, sizeof at, "%s.%s", place, names[i]);
        if (json_at(obj, names[i]) && !is_variable_name(slice_str(json_text_at(obj, names[i], ""))))
            return config_error(err, s, at, "is not the name of an environment variable");
    }
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        snprintf(at, sizeof at, "%s.%s", place, urls[i]);
        if (json_at(obj, urls[i]) && !option_is_url(slice_str(json_text_at(obj, urls[i], ""))))
            return config_error(err, s, at,
                                "is neither an https:// address nor an http:// one on this machine's loopback");
    }
    return true;
}

static bool load_tenant(struct settings *s, struct json_object *obj, size_t index, struct error *err)
{
    struct tenant_settings *t = &s->tenants[s->tenant_count];
    struct buf missing = BUF_INIT;
    char place[64];
    if (!check_tenant_members(s, obj, index, err))
        return false;
    snprintf(place, sizeof place, "tenants[%zu]", index);
    if (!parse_tenant_id(json_text_at(obj, "id", ""), &t->id))
        return config_error(err, s, place, "has no id that is a positive number");
    if (settings_tenant(s, t->id))
        return config_error(err, s, place, "has an id that stands in the list already");
    t->rate_per_second = json_int_at(obj, "rateLimitPerSecond", 0);
    if (json_at(obj, "rateLimitPerSecond") && (t->rate_per_second < 1 || t->rate_per_second > 60))
        return config_error(err, s, place, "has a rateLimitPerSecond that is not a whole number from 1 to 60");
    if (!check_tenant_texts(s, obj, place, err))
        return false;
    s->tenant_count++;
    t->name = copy_or_null(json_text_at(obj, "name", ""));
    t->api_url = copy_or_null(json_text_at(obj, "apiUrl", ""));
    t->auth_url = copy_or_null(json_text_at(obj, "authUrl", ""));
    t->client_id = tenant_secret(s, obj, "clientIdEnv", &missing);
    t->client_secret = tenant_secret(s, obj, "clientSecretEnv", &missing);
    t->app_key = tenant_secret(s, obj, "appKeyEnv", &missing);
    t->missing = missing.len > 0 ? buf_detach(&missing) : NULL;
    buf_release(&missing);
    return true;
}

/* One tenant from the ST_ variables alone. */
static bool load_single_tenant(struct settings *s, struct error *err)
{
    struct tenant_settings *t = &s->tenants[0];
    struct buf missing = BUF_INIT;
    const struct {
        const char *name;
        struct secret *secret;
    } needed[] = {
        {"ST_CLIENT_ID", s->st_client_id}, {"ST_CLIENT_SECRET", s->st_client_secret}, {"ST_APP_KEY", s->st_app_key}};
    if (s->st_tenant_id[0] == '\0')
        return true;
    if (!parse_tenant_id(s->st_tenant_id, &t->id))
        return error_set(err, ERROR_PERMANENT, "config_value", "ST_TENANT_ID is \"%s\": a positive number is allowed",
                         s->st_tenant_id);
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
        if (secret_is_empty(needed[i].secret))
            buf_printf(&missing, "%s%s", missing.len ? ", " : "", needed[i].name);
    t->client_id = secret_ref(s->st_client_id);
    t->client_secret = secret_ref(s->st_client_secret);
    t->app_key = secret_ref(s->st_app_key);
    t->missing = missing.len > 0 ? buf_detach(&missing) : NULL;
    s->tenant_count = 1;
    return true;
}

static bool load_tenants(struct settings *s, struct error *err)
{
    struct json_object *list = json_at(s->config, "tenants");
    size_t count = list && json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
    if (list && !json_object_is_type(list, json_type_array))
        return config_error(err, s, "tenants", "must be a list");
    if (count > SETTINGS_MAX_TENANTS)
        return config_error(err, s, "tenants", "has more than 1000 entries");
    s->tenants = xcalloc(count + 1, sizeof *s->tenants);
    for (size_t i = 0; i < count; i++)
        if (!load_tenant(s, json_object_array_get_idx(list, i), i, err))
            return false;
    return count > 0 || load_single_tenant(s, err);
}

static bool check_servicetitan(const struct settings *s, struct error *err)
{
    if (s->tenant_count == 0)
        return error_set(
            err, ERROR_PERMANENT, "config_missing",
            "not set: ST_TENANT_ID (and ST_CLIENT_ID, ST_CLIENT_SECRET, ST_APP_KEY), or a tenants list in %s",
            s->config_path);
    for (size_t i = 0; i < s->tenant_count; i++)
        if (s->tenants[i].missing)
            return error_set(err, ERROR_PERMANENT, "config_missing",
                             "tenant %lld: not set: %s. Set it in the environment or in .env (see .env.example)",
                             (long long)s->tenants[i].id, s->tenants[i].missing);
    return true;
}

/* A file that the caller named must be there. */
static bool load_options(struct settings *s, bool env_optional, struct error *err)
{
    option_set_init(&s->options, settings_rows, settings_row_count(), s);
    return option_set_defaults(&s->options, err) && option_set_json(&s->options, s->config, s->config_path, err) &&
           option_set_env_file(&s->options, s->env_path, env_optional, err) && option_set_environment(&s->options, err);
}

bool settings_check(const struct settings *s, unsigned command, struct error *err)
{
    return option_set_check(&s->options, command, err) &&
           (!(command & SETTINGS_SERVICETITAN) || check_servicetitan(s, err));
}

bool settings_load(struct settings *s, const struct settings_files *files, unsigned command, struct error *err)
{
    *s = (struct settings){0};
    s->config_path = settings_find(files->config, "config/config.json");
    s->registry_path = settings_find(files->registry, "config/schema_registry.json");
    s->env_path = settings_find(files->env, ".env");
    s->config = json_load_file(s->config_path, CONFIG_MAX_BYTES, err);
    if (!s->config)
        return false;
    if (!json_object_is_type(s->config, json_type_object))
        return config_error(err, s, "the file", "must hold an object");
    if (!check_members(s, s->config, "", err) || !load_options(s, !files->env, err) ||
        !option_set_check(&s->options, command, err))
        return false;
    s->registry = registry_load(s->registry_path, err);
    if (!s->registry)
        return false;
    if (!load_entities(s, err) || !load_tenants(s, err))
        return false;
    return !(command & SETTINGS_SERVICETITAN) || check_servicetitan(s, err);
}

static void release_tenant(struct tenant_settings *t)
{
    free(t->name);
    free(t->api_url);
    free(t->auth_url);
    free(t->missing);
    secret_unref(t->client_id);
    secret_unref(t->client_secret);
    secret_unref(t->app_key);
}

void settings_release(struct settings *s)
{
    for (size_t i = 0; i < s->tenant_count; i++)
        release_tenant(&s->tenants[i]);
    free(s->tenants);
    free(s->entities);
    registry_free(s->registry);
    if (s->options.rows)
        option_set_release(&s->options);
    json_object_put(s->config);
    free(s->config_path);
    free(s->registry_path);
    free(s->env_path);
    *s = (struct settings){0};
}

const struct tenant_settings *settings_tenant(const struct settings *s, int64_t id)
{
    for (size_t i = 0; i < s->tenant_count; i++)
        if (s->tenants[i].id == id)
            return &s->tenants[i];
    return NULL;
}

int64_t settings_tenant_rate(const struct settings *s, int64_t id)
{
    const struct tenant_settings *tenant = settings_tenant(s, id);
    return tenant && tenant->rate_per_second ? tenant->rate_per_second : s->st_rate_per_second;
}

const struct entity_settings *settings_entity(const struct settings *s, const char *name)
{
    for (size_t i = 0; i < s->entity_count; i++)
        if (strcmp(s->entities[i].entity->name, name) == 0)
            return &s->entities[i];
    return NULL;
}

static int by_priority(const void *a, const void *b)
{
    const struct entity_settings *const *x = a, *const *y = b;
    if ((*x)->priority != (*y)->priority)
        return (*x)->priority < (*y)->priority ? -1 : 1;
    return *x < *y ? -1 : *x > *y;
}

void settings_order(const struct settings *s, const struct entity_settings **ret)
{
    for (size_t i = 0; i < s->entity_count; i++)
        ret[i] = &s->entities[i];
    qsort(ret, s->entity_count, sizeof ret[0], by_priority);
}
