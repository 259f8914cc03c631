/* st_base_time.c - see st_base_time.h.
 *
 * The file holds the seed and the size too: with others, the same base time would belong to another company, and what
 * was loaded from the first one would look like data loss. */
#include "st_base_time.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/timestamp.h"

enum { MAX_FILE_BYTES = 4096 };
#define SECOND_US 1000000LL
#define EARLIEST_US (631152000 * SECOND_US) /* 1990: five years of history must lie after 1970 */

static bool read_file(const struct st_server_options *options, const char *path, int64_t *ret_us, struct error *err)
{
    struct json_object *root = json_load_file(path, MAX_FILE_BYTES, err);
    if (root == NULL)
        return false;
    bool ok = timestamp_parse(slice_str(json_text_at(root, "baseTime", "")), ret_us, NULL);
    if (!ok)
        error_set(err, ERROR_PERMANENT, "data", "cannot use \"%s\": no baseTime in it", path);
    else if (json_int_at(root, "seed", -1) != (int64_t)options->seed || json_int_at(root, "jobs", -1) != options->jobs)
        ok = error_set(err, ERROR_PERMANENT, "data",
                       "cannot use \"%s\": it was made with another seed or number of jobs", path);
    json_object_put(root);
    return ok;
}

static bool write_file(const struct st_server_options *options, const char *path, int64_t us, struct error *err)
{
    char text[TIMESTAMP_TEXT_SIZE];
    char *temporary = xasprintf("%s.new", path);
    FILE *file = fopen(temporary, "w");
    bool ok = file && fprintf(file, "{\"baseTime\":\"%s\",\"seed\":%lld,\"jobs\":%lld}\n", timestamp_text(text, us, 0),
                              (long long)options->seed, (long long)options->jobs) > 0;
    if (file && fclose(file) != 0)
        ok = false;
    if (!ok || rename(temporary, path) != 0)
        ok = error_set(err, ERROR_PERMANENT, "data", "cannot write \"%s\": %s", path, strerror(errno));
    free(temporary);
    return ok;
}

bool st_base_time(const struct st_server_options *options, int64_t *ret_us, struct error *err)
{
    int64_t us = options->base_time_us ? options->base_time_us : clock_wall_us();
    us -= us % SECOND_US;
    if (us < EARLIEST_US || us > TIMESTAMP_MAX_US / 2)
        return error_set(err, ERROR_PERMANENT, "config_value", "cannot end history at %lld s: too early or too late",
                         (long long)(us / SECOND_US));
    bool ok = true;
    if (options->data_dir) {
        char *path = xasprintf("%s/servicetitan.json", options->data_dir);
        if (options->base_time_us == 0 && access(path, R_OK) == 0)
            ok = read_file(options, path, &us, err);
        else
            ok = write_file(options, path, us, err);
        free(path);
    }
    if (ok)
        *ret_us = us;
    return ok;
}
