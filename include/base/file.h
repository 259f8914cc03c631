/* file.h - whole files of bounded size. */
#ifndef ST_BASE_FILE_H
#define ST_BASE_FILE_H

#include "base/buf.h"

/* Appends the file's bytes. False: it cannot be opened or read ("errno_<n>"), or is larger than max_bytes
 * ("file_too_large"); what was read by then stays in *out. */
bool file_read(const char *path, size_t max_bytes, struct buf *out, struct error *err) MUST_CHECK;

#endif
