/* st_settings.c - the settings of the simulator by name. */
#include <strings.h>

#include "st_admin.h"

enum { MAX_LATENCY_MS = 600000 };

enum kind { INTEGER, DECIMAL, FLAG };

static const struct row {
    const char *name;
    enum kind kind;
    size_t offset;
    int64_t min, max;
} ROWS[] = {
    {"ratePerSecond", DECIMAL, offsetof(struct st_settings, rate_per_second), 0, 1000000},
    {"tokenRatePerSecond", DECIMAL, offsetof(struct st_settings, token_rate_per_second), 0, 1000000},
    {"retryAfter", FLAG, offsetof(struct st_settings, retry_after), 0, 1},
    {"clampPageSize", FLAG, offsetof(struct st_settings, clamp_page_size), 0, 1},
    {"shuffle", FLAG, offsetof(struct st_settings, shuffle), 0, 1},
    {"invoicesHideInactive", FLAG, offsetof(struct st_settings, invoices_hide_inactive), 0, 1},
    {"latencyMs", INTEGER, offsetof(struct st_settings, latency_ms), 0, MAX_LATENCY_MS},
    {"visibilityLagMs", INTEGER, offsetof(struct st_settings, visibility_lag_ms), 0, 86400000},
    {"clockSkewMs", INTEGER, offsetof(struct st_settings, clock_skew_ms), -604800000, 604800000},
    {"exportBatch", INTEGER, offsetof(struct st_settings, export_batch), 1, ST_MAX_PAGE_SIZE},
    {"exportLagMs", INTEGER, offsetof(struct st_settings, export_lag_ms), 0, 86400000},
    {"tokenLifeS", INTEGER, offsetof(struct st_settings, token_life_s), 1, 86400},
};

static void show(const struct st_settings *settings, const struct row *row, struct buf *out)
{
    const void *value = (const char *)settings + row->offset;
    if (row->kind == FLAG)
        buf_append_str(out, *(const bool *)value ? "true" : "false");
    else if (row->kind == INTEGER)
        buf_printf(out, "%lld", (long long)*(const int64_t *)value);
    else
        buf_printf(out, "%.6g", *(const double *)value);
}

void st_settings_json(const struct st_settings *settings, struct buf *out)
{
    buf_append_char(out, '{');
    for (size_t i = 0; i < ST_COUNT(ROWS); i++) {
        buf_printf(out, "\"%s\":", ROWS[i].name);
        show(settings, &ROWS[i], out);
        buf_append_char(out, ',');
    }
    buf_append_str(out, "\"pageCap\":{");
    for (int e = 0; e < ST_ENTITIES; e++)
        buf_printf(out, "%s\"%s\":%lld", e ? "," : "", st_models[e]->name, (long long)settings->page_cap[e]);
    buf_append_str(out, "}}");
}

static bool change_row(struct st_settings *settings, const struct row *row, struct json_object *value,
                       struct error *err)
{
    void *to = (char *)settings + row->offset;
    if (row->kind == FLAG) {
        if (!json_object_is_type(value, json_type_boolean))
            return error_set(err, ERROR_PERMANENT, "setting", "cannot set \"%s\": true or false is allowed", row->name);
        *(bool *)to = json_object_get_boolean(value);
        return true;
    }
    double number = json_object_get_double(value);
    bool is_number = json_object_is_type(value, json_type_int) || json_object_is_type(value, json_type_double);
    if (!is_number || number < (double)row->min || number > (double)row->max || (row->kind == DECIMAL && number <= 0))
        return error_set(err, ERROR_PERMANENT, "setting", "cannot set \"%s\": a number from %lld to %lld is allowed",
                         row->name, (long long)row->min, (long long)row->max);
    if (row->kind == INTEGER)
        *(int64_t *)to = json_object_get_int64(value);
    else
        *(double *)to = number;
    return true;
}

static bool change_caps(struct st_settings *settings, struct json_object *caps, struct error *err)
{
    for (int e = 0; e < ST_ENTITIES; e++) {
        int64_t cap = json_int_at(caps, st_models[e]->name, settings->page_cap[e]);
        if (cap < 0 || cap > ST_MAX_PAGE_SIZE)
            return error_set(err, ERROR_PERMANENT, "setting", "cannot cap pages at %lld: 0 to %d is allowed",
                             (long long)cap, ST_MAX_PAGE_SIZE);
        settings->page_cap[e] = cap;
    }
    return true;
}

static bool change_one(struct st_settings *settings, const char *name, struct json_object *value, struct error *err)
{
    if (strcmp(name, "pageCap") == 0)
        return change_caps(settings, value, err);
    for (size_t i = 0; i < ST_COUNT(ROWS); i++)
        if (strcmp(name, ROWS[i].name) == 0)
            return change_row(settings, &ROWS[i], value, err);
    return error_set(err, ERROR_PERMANENT, "setting", "cannot set \"%s\": there is no such setting", name);
}

bool st_settings_change(struct st_settings *settings, struct json_object *change, struct error *err)
{
    struct st_settings changed = *settings;
    json_object_object_foreach(change, name, value)
    {
        if (!change_one(&changed, name, value, err))
            return false;
    }
    *settings = changed;
    return true;
}
