#include "base/arena.h"

#include <stdalign.h>
#include <stdlib.h>

#include "base/buf.h"

enum { ARENA_BLOCK_BYTES = 16 * 1024, ARENA_ALIGN = 16 };

struct block {
    struct block *next;
    size_t used, size;
    alignas(ARENA_ALIGN) char bytes[];
};

struct arena {
    struct block *blocks; /* newest first; the oldest one is kept by arena_clear */
    size_t block_bytes;
    size_t total_bytes;
};

struct arena *arena_new(size_t block_bytes)
{
    struct arena *arena = xcalloc(1, sizeof *arena);
    arena->block_bytes = block_bytes ? block_bytes : ARENA_BLOCK_BYTES;
    return arena;
}

static void free_blocks(struct block *block)
{
    while (block) {
        struct block *next = block->next;
        free(block);
        block = next;
    }
}

void arena_free(struct arena *arena)
{
    if (!arena)
        return;
    free_blocks(arena->blocks);
    free(arena);
}

void arena_clear(struct arena *arena)
{
    struct block *keep = arena->blocks;
    if (!keep)
        return;
    free_blocks(keep->next);
    keep->next = NULL;
    keep->used = 0;
    if (keep->size > arena->block_bytes) {
        free(keep);
        arena->blocks = NULL;
        arena->total_bytes = 0;
        return;
    }
    arena->total_bytes = keep->size;
}

static struct block *add_block(struct arena *arena, size_t need)
{
    size_t size = need > arena->block_bytes ? need : arena->block_bytes;
    struct block *block = xmalloc(sizeof *block + size);
    *block = (struct block){arena->blocks, 0, size};
    arena->blocks = block;
    arena->total_bytes += size;
    return block;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    BUG_ON(size > SIZE_MAX / 2);
    size_t need = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    struct block *block = arena->blocks;
    if (!block || block->size - block->used < need)
        block = add_block(arena, need);
    void *ptr = block->bytes + block->used;
    block->used += need;
    return ptr;
}

void *arena_zalloc(struct arena *arena, size_t size)
{
    return memset(arena_alloc(arena, size), 0, size);
}

char *arena_strdup(struct arena *arena, struct slice s)
{
    char *copy = arena_alloc(arena, s.len + 1);
    if (s.len > 0)
        memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    return copy;
}

size_t arena_bytes(const struct arena *arena)
{
    return arena->total_bytes;
}
