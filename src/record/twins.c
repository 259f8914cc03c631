/* twins.c - see twins.h. An open hash table of 128-bit contents, which are random enough to be their own hash. */
#include "twins.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/buf.h"

enum { TWINS_FIRST_SLOTS = 256 };

struct slot {
    uint64_t hash[2];
    int64_t count; /* 0 = free */
};

struct twins {
    struct slot *slots;
    size_t size; /* a power of two */
    size_t used;
};

struct twins *twins_new(void)
{
    struct twins *twins = xcalloc(1, sizeof *twins);
    twins->size = TWINS_FIRST_SLOTS;
    twins->slots = xcalloc(twins->size, sizeof *twins->slots);
    return twins;
}

void twins_free(struct twins *twins)
{
    if (!twins)
        return;
    free(twins->slots);
    free(twins);
}

static struct slot *find_slot(struct twins *twins, const uint64_t hash[2])
{
    size_t i = (size_t)hash[0] & (twins->size - 1);
    while (twins->slots[i].count > 0 && (twins->slots[i].hash[0] != hash[0] || twins->slots[i].hash[1] != hash[1]))
        i = (i + 1) & (twins->size - 1);
    return &twins->slots[i];
}

static void grow(struct twins *twins)
{
    struct twins larger = {xcalloc(twins->size * 2, sizeof *larger.slots), twins->size * 2, twins->used};
    for (size_t i = 0; i < twins->size; i++) {
        if (twins->slots[i].count > 0)
            *find_slot(&larger, twins->slots[i].hash) = twins->slots[i];
    }
    free(twins->slots);
    *twins = larger;
}

int64_t twins_next(struct twins *twins, const uint64_t hash[2])
{
    if (twins->used * 2 >= twins->size && twins->size < 2 * TWINS_MAX_ROWS)
        grow(twins);
    struct slot *slot = find_slot(twins, hash);
    if (slot->count == 0) {
        if (twins->used == TWINS_MAX_ROWS)
            return -1;
        twins->used++;
        slot->hash[0] = hash[0];
        slot->hash[1] = hash[1];
    }
    return slot->count++;
}

int64_t twins_surrogate(const uint64_t hash[2], int64_t ordinal)
{
    uint64_t content[3] = {hash[0], hash[1], (uint64_t)ordinal};
    uint64_t mixed = XXH3_64bits(content, sizeof content);
    return -1 - (int64_t)(mixed >> 1);
}
