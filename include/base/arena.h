/* arena.h - many small allocations with one end of life. One thread at a time. */
#ifndef ST_BASE_ARENA_H
#define ST_BASE_ARENA_H

#include <stddef.h>

#include "base/slice.h"

struct arena;

struct arena *arena_new(size_t block_bytes);         /* 0 = 16 KiB blocks */
void arena_free(struct arena *arena);                /* NULL is fine */
void arena_clear(struct arena *arena);               /* forgets all allocations, keeps one block */
void *arena_alloc(struct arena *arena, size_t size); /* 16-byte aligned, not zeroed */
void *arena_zalloc(struct arena *arena, size_t size);
char *arena_strdup(struct arena *arena, struct slice s); /* NUL-terminated copy */
size_t arena_bytes(const struct arena *arena);           /* bytes held, for budgets */

#endif
