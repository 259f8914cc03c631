/* url.h - percent-decoding of foreign URLs. */
#ifndef ST_NET_URL_H
#define ST_NET_URL_H

#include "base/slice.h"

/* Decodes into `out` (NUL-terminated). False, out unspecified: a broken escape, a NUL byte (C text could not carry it), or more than
 * size - 1 bytes. plus_is_space: as in a query. */
bool url_decode(struct slice text, bool plus_is_space, char *out, size_t size);

#endif
