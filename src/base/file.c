#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static bool read_whole(int fd, size_t max_bytes, struct buf *out, const char *path, struct error *err)
{
    char piece[16384];
    size_t left = max_bytes;
    for (;;) {
        ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(err, errno, "cannot read '%s'", path);
        if (n == 0)
            return true;
        if ((size_t)n > left)
            return error_set(err, ERROR_PERMANENT, "file_too_large", "'%s' is larger than %zu bytes", path, max_bytes);
        buf_append(out, piece, (size_t)n);
        left -= (size_t)n;
    }
}

bool file_read(const char *path, size_t max_bytes, struct buf *out, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, errno, "cannot open '%s'", path);
    bool ok = read_whole(fd, max_bytes, out, path, err);
    close(fd);
    return ok;
}
