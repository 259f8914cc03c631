#include "process_metrics.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metrics.h"
#include "base/version.h"

enum { PROC_FILE_MAX_BYTES = 1024, STARTTIME_FIELD = 22 /* of /proc/self/stat, counted from 1 */ };

/* The beginning of a small file; empty when it cannot be read. */
static struct slice read_proc(const char *path, char out[PROC_FILE_MAX_BYTES])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, out, PROC_FILE_MAX_BYTES) : -1;
    if (fd >= 0)
        close(fd);
    return slice_of(out, len > 0 ? (size_t)len : 0);
}

static void collect_memory(void)
{
    char text[PROC_FILE_MAX_BYTES];
    struct slice rest = read_proc("/proc/self/statm", text);
    int64_t pages, page_bytes = sysconf(_SC_PAGESIZE);
    if (slice_to_int64(slice_cut(&rest, ' '), &pages))
        metrics_set(METRIC_PROCESS_VIRTUAL, pages * page_bytes, METRIC_NO_LABELS);
    if (slice_to_int64(slice_cut(&rest, ' '), &pages))
        metrics_set(METRIC_PROCESS_RSS, pages * page_bytes, METRIC_NO_LABELS);
}

static void collect_cpu(void)
{
    struct timespec used;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) == 0)
        metrics_set(METRIC_PROCESS_CPU, (int64_t)used.tv_sec * 1000000 + used.tv_nsec / 1000, METRIC_NO_LABELS);
}

static void collect_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    struct rlimit limit;
    int64_t open_files = -1; /* the directory's own */
    if (dir) {
        for (struct dirent *entry; (entry = readdir(dir));)
            open_files += entry->d_name[0] != '.';
        closedir(dir);
        metrics_set(METRIC_PROCESS_FDS, open_files, METRIC_NO_LABELS);
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        metrics_set(METRIC_PROCESS_MAX_FDS, (int64_t)limit.rlim_cur, METRIC_NO_LABELS);
}

/* Looked up once, so that it does not tremble with the clocks it is computed from. Real time, whatever the program's. */
static int64_t start_ms;
static pthread_once_t start_once = PTHREAD_ONCE_INIT;

static void find_start(void)
{
    char text[PROC_FILE_MAX_BYTES];
    struct slice rest = read_proc("/proc/self/stat", text);
    struct timespec now, up;
    int64_t ticks = 0;
    const char *name_end = rest.len ? memrchr(rest.ptr, ')', rest.len) : NULL; /* the name may hold blanks */
    if (!name_end)
        return;
    rest = slice_of(name_end + 2, rest.len - (size_t)(name_end + 2 - rest.ptr));
    for (int field = 3; field < STARTTIME_FIELD; field++)
        slice_cut(&rest, ' ');
    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &up);
    if (!slice_to_int64(slice_cut(&rest, ' '), &ticks))
        return;
    int64_t now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    int64_t up_ms = (int64_t)up.tv_sec * 1000 + up.tv_nsec / 1000000;
    start_ms = now_ms - up_ms + ticks * 1000 / sysconf(_SC_CLK_TCK);
}

static void collect_log_lines(void)
{
    for (enum log_level level = LOG_LEVEL_DEBUG; level <= LOG_LEVEL_FATAL; level++)
        metrics_set(METRIC_LOG_LINES, (int64_t)log_count(level), METRIC_LABELS(log_level_name(level)));
    metrics_set(METRIC_LOG_LEFT_OUT, (int64_t)log_left_out(), METRIC_NO_LABELS);
}

void process_metrics_collect(void)
{
    collect_memory();
    collect_cpu();
    collect_files();
    collect_log_lines();
    pthread_once(&start_once, find_start);
    if (start_ms)
        metrics_set(METRIC_PROCESS_START, start_ms, METRIC_NO_LABELS);
    metrics_set(METRIC_BUILD_INFO, 1, METRIC_LABELS(ST_VERSION));
}
