/* twins.h - rows without an identity: an ordinal among the rows of one fetch that have the same content. */
#ifndef ST_RECORD_TWINS_H
#define ST_RECORD_TWINS_H

#include <stdint.h>

enum { TWINS_MAX_ROWS = 1 << 20 };

struct twins;

struct twins *twins_new(void);
void twins_free(struct twins *twins);
/* How many rows of this content came before; -1 when there are more different rows than TWINS_MAX_ROWS. */
int64_t twins_next(struct twins *twins, const uint64_t hash[2]);
/* A negative id from content and ordinal: never met by a real id, the same in every read. */
int64_t twins_surrogate(const uint64_t hash[2], int64_t ordinal);

#endif
