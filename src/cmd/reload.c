#include "reload.h"

#include <stdio.h>

#include "base/log.h"

static const struct log_context main_log = {.context = "v2-ingestor:main"};

void reload_init(struct reload *reload, const struct invocation *in)
{
    *reload = (struct reload){.in = in};
    pthread_mutex_init(&reload->lock, NULL);
}

void reload_release(struct reload *reload)
{
    if (reload->again)
        settings_release(&reload->latest);
    pthread_mutex_destroy(&reload->lock);
}

void reload_set_services(struct reload *reload, struct services *services)
{
    pthread_mutex_lock(&reload->lock);
    reload->services = services;
    pthread_mutex_unlock(&reload->lock);
}

static void tell_change(const char *setting, const char *before, const char *after, int64_t tenant)
{
    const struct log_context context = {.context = main_log.context, .tenant = tenant};
    log_warn(&context, LOG_MSG("Setting changed"), LOG_STR("setting", setting), LOG_STR("from", before),
             LOG_STR("to", after));
}

/* Told at the level of a warning, which every setting but the quietest shows; before and after, whichever shows more. */
static void take_log_level(const struct settings *before, const struct settings *after)
{
    enum log_level level;
    if (strcmp(before->log_level, after->log_level) == 0 || !log_level_parse(after->log_level, &level))
        return;
    tell_change("LOG_LEVEL", before->log_level, after->log_level, 0);
    log_set_level(level);
}

static void take_rate(struct services *services, const struct settings *before, const struct settings *after,
                      int64_t tenant)
{
    int64_t was = settings_tenant_rate(before, tenant), is = settings_tenant_rate(after, tenant);
    char old[64], new[64];
    if (was == is && before->st_burst == after->st_burst)
        return;
    snprintf(old, sizeof old, "%lld/s, burst %lld", (long long)was, (long long)before->st_burst);
    snprintf(new, sizeof new, "%lld/s, burst %lld", (long long)is, (long long)after->st_burst);
    st_tenant_set_rate(services_tenant(services, tenant), (double)is, (double)after->st_burst);
    tell_change("RATE_LIMIT_PER_SECOND", old, new, tenant);
}

static void take_rates(struct reload *reload, const struct settings *before, const struct settings *after)
{
    pthread_mutex_lock(&reload->lock);
    for (size_t i = 0; reload->services && reload->services->tenants && i < reload->in->settings.tenant_count; i++) {
        int64_t tenant = reload->in->settings.tenants[i].id;
        if (settings_tenant(after, tenant) && services_tenant(reload->services, tenant))
            take_rate(reload->services, before, after, tenant);
    }
    pthread_mutex_unlock(&reload->lock);
}

/* ---- What waits for a restart ---- */

static const char *name_of(const struct option_row *row)
{
    return row->env ? row->env : row->json_path;
}

static bool is_taken_at_once(const struct option_row *row)
{
    static const size_t offsets[] = {offsetof(struct settings, log_level),
                                     offsetof(struct settings, st_rate_per_second),
                                     offsetof(struct settings, st_burst)};
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++)
        if (row->offset == offsets[i])
            return true;
    return false;
}

static bool same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool same_value(const struct option_row *row, const struct settings *a, const struct settings *b)
{
    const void *x = (const char *)a + row->offset, *y = (const char *)b + row->offset;
    const struct secret *const *secret_x = x, *const *secret_y = y;
    const char *const *text_x = x, *const *text_y = y;
    if (row->type == OPTION_INT)
        return *(const int64_t *)x == *(const int64_t *)y;
    if (row->type == OPTION_BOOL)
        return *(const bool *)x == *(const bool *)y;
    if (row->type == OPTION_SECRET)
        return secret_equal(*secret_x, *secret_y);
    return same_text(*text_x, *text_y);
}

static bool same_entities(const struct settings *a, const struct settings *b)
{
    return json_object_equal(json_at(a->config, "entities"), json_at(b->config, "entities")) != 0;
}

/* Their rates are taken at once; everything else about them is opened at the start. */
static bool same_tenants(const struct settings *a, const struct settings *b)
{
    bool same = a->tenant_count == b->tenant_count;
    for (size_t i = 0; same && i < a->tenant_count; i++) {
        const struct tenant_settings *x = &a->tenants[i], *y = &b->tenants[i];
        same = x->id == y->id && same_text(x->api_url, y->api_url) && same_text(x->auth_url, y->auth_url) &&
               secret_equal(x->client_id, y->client_id) && secret_equal(x->client_secret, y->client_secret) &&
               secret_equal(x->app_key, y->app_key);
    }
    return same;
}

static void add_name(struct buf *names, const char *name)
{
    buf_printf(names, "%s%s", names->len ? ", " : "", name);
}

static void tell_what_waits(const struct settings *running, const struct settings *after)
{
    struct buf names = BUF_INIT;
    for (size_t i = 0; i < settings_row_count(); i++)
        if (!is_taken_at_once(&settings_rows[i]) && !same_value(&settings_rows[i], running, after))
            add_name(&names, name_of(&settings_rows[i]));
    if (!same_entities(running, after))
        add_name(&names, "entities");
    if (!same_tenants(running, after))
        add_name(&names, "tenants");
    if (names.len)
        log_warn(&main_log, LOG_MSG("Settings changed that take effect after a restart only"),
                 LOG_STR("settings", buf_cstr(&names)));
    buf_release(&names);
}

void reload_now(void *user)
{
    struct reload *reload = user;
    const struct invocation *in = reload->in;
    struct error err = ERROR_INIT;
    struct settings fresh;
    if (!settings_load(&fresh, &in->files, in->command->needs, &err)) {
        log_error(&main_log, LOG_MSG("Settings not read again; the old ones stay"), LOG_ERR(&err));
        settings_release(&fresh);
        return;
    }
    const struct settings *before = reload->again ? &reload->latest : &in->settings;
    take_log_level(before, &fresh);
    take_rates(reload, before, &fresh);
    tell_what_waits(&in->settings, &fresh);
    if (reload->again)
        settings_release(&reload->latest);
    reload->latest = fresh;
    reload->again = true;
    log_info(&main_log, LOG_MSG("Settings read again"));
}
