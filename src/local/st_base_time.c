/* st_base_time.c - see st_base_time.h.
 *
 * The file holds the seed and the size too: with others, the same base time would belong to another company, and what
 * was loaded from the first one would look like data loss. What is not given is taken from there. */
#include "st_base_time.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/timestamp.h"
#include "st_time.h"

enum { MAX_FILE_BYTES = 4096 };
#define SECOND_US 1000000LL
#define EARLIEST_US (662688000 * SECOND_US) /* 1991: all years of history must lie after 1970 */

/* What was given must agree with the folder; what was not is taken from it. */
static bool agree(int64_t *given, int64_t stored, const char *option, const char *dir, struct error *err)
{
    if (*given != 0 && *given != stored)
        return error_set(
            err, ERROR_PERMANENT, "data",
            "cannot use \"%s\" with %s %lld: it was made with %lld; leave the option out or take another folder", dir,
            option, (long long)*given, (long long)stored);
    *given = stored;
    return true;
}

static bool read_file(struct st_server_options *options, const char *path, struct error *err)
{
    struct json_object *root = json_load_file(path, MAX_FILE_BYTES, err);
    if (root == NULL)
        return false;
    int64_t base_us = 0, seed = json_int_at(root, "seed", 0), jobs = json_int_at(root, "jobs", 0);
    int64_t years = json_int_at(root, "historyYears", ST_HISTORY_YEARS);
    bool ok = timestamp_parse(slice_str(json_text_at(root, "baseTime", "")), &base_us, NULL) && seed > 0 && jobs > 0 &&
              years >= 1 && years <= ST_MAX_HISTORY_YEARS;
    json_object_put(root);
    if (!ok)
        return error_set(err, ERROR_PERMANENT, "data", "cannot use \"%s\": it needs baseTime, seed and jobs", path);
    int64_t given_seed = (int64_t)options->seed, base_s = options->base_time_us / SECOND_US;
    if (!agree(&given_seed, seed, "seed", options->data_dir, err) ||
        !agree(&options->jobs, jobs, "jobs", options->data_dir, err) ||
        !agree(&options->history_years, years, "history years", options->data_dir, err) ||
        !agree(&base_s, base_us / SECOND_US, "base time", options->data_dir, err))
        return false;
    options->seed = (uint64_t)seed;
    options->base_time_us = base_us;
    return true;
}

static bool write_file(const struct st_server_options *options, const char *path, int64_t us, struct error *err)
{
    char text[TIMESTAMP_TEXT_SIZE];
    char *temporary = xasprintf("%s.new", path);
    FILE *file = fopen(temporary, "w");
    bool ok = file && fprintf(file, "{\"baseTime\":\"%s\",\"seed\":%lld,\"jobs\":%lld,\"historyYears\":%lld}\n",
                              timestamp_text(text, us, 0), (long long)options->seed, (long long)options->jobs,
                              (long long)options->history_years) > 0;
    if (file && fclose(file) != 0)
        ok = false;
    if (!ok || rename(temporary, path) != 0)
        ok = error_set(err, ERROR_PERMANENT, "data", "cannot write \"%s\": %s", path, strerror(errno));
    free(temporary);
    return ok;
}

static void take_defaults(struct st_server_options *options)
{
    options->seed = options->seed ? options->seed : 1;
    options->jobs = options->jobs > 0 ? options->jobs : ST_SERVER_DEFAULT_JOBS;
    options->history_years = options->history_years > 0 ? options->history_years : ST_HISTORY_YEARS;
    options->base_time_us = options->base_time_us ? options->base_time_us : clock_wall_us();
    options->base_time_us -= options->base_time_us % SECOND_US;
}

bool st_base_time(struct st_server_options *options, struct error *err)
{
    char *path = options->data_dir ? xasprintf("%s/servicetitan.json", options->data_dir) : NULL;
    bool exists = path && access(path, F_OK) == 0;
    bool ok = !exists || read_file(options, path, err);
    if (ok) {
        take_defaults(options);
        if (options->base_time_us < EARLIEST_US || options->base_time_us > TIMESTAMP_MAX_US / 2)
            ok = error_set(err, ERROR_PERMANENT, "config_value", "cannot end history at %lld s: too early or too late",
                           (long long)(options->base_time_us / SECOND_US));
    }
    if (ok && path && !exists)
        ok = write_file(options, path, options->base_time_us, err);
    free(path);
    return ok;
}
