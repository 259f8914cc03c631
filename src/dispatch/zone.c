#include "dispatch/zone.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"

enum { DAY_S = 86400, NAME_MAX_BYTES = 64 };

struct zone {
    char *before; /* TZ as it was; NULL: unset */
};

/* Names are paths below the database's folder: nothing that could lead out of it. */
static bool is_name(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > NAME_MAX_BYTES || name[0] == '/' || name[len - 1] == '/' || strstr(name, ".."))
        return false;
    for (; *name; name++) {
        bool letter = (*name >= 'A' && *name <= 'Z') || (*name >= 'a' && *name <= 'z');
        if (!letter && !(*name >= '0' && *name <= '9') && !strchr("/_+-", *name))
            return false;
    }
    return true;
}

/* tzset() takes an unknown name for UTC without a word, so the file is looked at first: it begins with its format's name. */
static bool is_zone_file(const char *path)
{
    char magic[4] = "";
    FILE *file = fopen(path, "rbe");
    bool ok = file && fread(magic, 1, sizeof magic, file) == sizeof magic && memcmp(magic, "TZif", 4) == 0;
    if (file)
        fclose(file);
    return ok;
}

static bool check_name(const char *name, struct error *err)
{
    const char *folder = getenv("TZDIR");
    if (!is_name(name))
        return error_set(err, ERROR_PERMANENT, "config_value",
                         "SCHEDULE_TIME_ZONE is \"%s\": the name of a time zone is needed, as America/Los_Angeles",
                         name);
    if (!folder || !folder[0])
        folder = "/usr/share/zoneinfo";
    char *path = xasprintf("%s/%s", folder, name);
    bool ok = is_zone_file(path);
    if (!ok)
        error_set(err, ERROR_PERMANENT, "config_value",
                  "SCHEDULE_TIME_ZONE is \"%s\": \"%s\" is not a time zone file (the package tzdata has them)", name,
                  path);
    free(path);
    return ok;
}

struct zone *zone_open(const char *name, struct error *err)
{
    const char *before = getenv("TZ");
    if (strcmp(name, "UTC") != 0 && !check_name(name, err)) /* UTC needs no database */
        return NULL;
    struct zone *zone = xcalloc(1, sizeof *zone);
    zone->before = before ? xstrdup(before) : NULL;
    char *value = strcmp(name, "UTC") == 0 ? xstrdup("UTC0") : xasprintf(":%s", name);
    setenv("TZ", value, 1);
    tzset();
    free(value);
    return zone;
}

void zone_close(struct zone *zone)
{
    if (!zone)
        return;
    if (zone->before)
        setenv("TZ", zone->before, 1);
    else
        unsetenv("TZ");
    tzset();
    free(zone->before);
    free(zone);
}

int64_t zone_offset_s(const struct zone *zone, int64_t utc_s)
{
    struct tm local;
    time_t at = (time_t)utc_s;
    (void)zone; /* the process's */
    return localtime_r(&at, &local) ? (int64_t)local.tm_gmtoff : 0;
}

/* The first second in (low, high] with another offset than low's. */
static int64_t change_between(const struct zone *zone, int64_t low, int64_t high)
{
    int64_t before = zone_offset_s(zone, low);
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (zone_offset_s(zone, middle) == before)
            low = middle;
        else
            high = middle;
    }
    return high;
}

/* No zone changes its offset twice within two days. */
int64_t zone_instant_s(const struct zone *zone, int64_t local_s)
{
    int64_t before = zone_offset_s(zone, local_s - DAY_S), after = zone_offset_s(zone, local_s + DAY_S);
    int64_t early = local_s - before, late = local_s - after;
    if (zone_offset_s(zone, early) == before)
        return early;
    if (zone_offset_s(zone, late) == after)
        return late;
    return change_between(zone, late, early);
}
