/* st_time.c - createdOn and modifiedOn of generated records, and exact counts over both. See st_time.h for the idea.
 *
 * Thread-safe: a series does not change after st_series_init. */
#include "st_time.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

enum {
    BLOCKS_WANTED = 2048, /* of small entities; large ones have blocks of ST_MAX_BLOCK */
};

/* One salt per use of the seed, so that the uses are independent. */
enum salt { SALT_DEAL = 0x51, SALT_DUPLICATE, SALT_TIE, SALT_CREATED, SALT_MODIFIED };

uint64_t st_mix(uint64_t a, uint64_t b)
{
    struct st_random r = {a ^ (b * 0xd6e8feb86659fd93u)};
    return st_random_next(&r);
}

/* ---- createdOn --------------------------------------------------------------------------------------------------- */

int64_t st_series_original(const struct st_series *series, int64_t index)
{
    if (series->duplicate_permille == 0 || (index & 1) == 0 || index >= series->count)
        return index;
    uint64_t h = st_mix(series->seed + SALT_DUPLICATE, (uint64_t)index >> 1);
    return (int)(h % 1000) < series->duplicate_permille ? index - 1 : index;
}

/* Cuts digits off as the API does when they are zero, but never below `floor`. */
static int64_t round_some(int64_t ticks, int64_t floor, uint64_t hash)
{
    static const int32_t unit[16] = {1,   1,    1,     1,     1,     1,       1,        10,
                                     100, 1000, 10000, 10000, 10000, 1000000, 10000000, 10000000};
    int64_t rounded = ticks - ticks % unit[hash & 15];
    return rounded >= floor ? rounded : ticks;
}

static int64_t instant_within(int64_t from, int64_t to, uint64_t hash)
{
    if (to <= from)
        return from;
    int64_t ticks = from + (int64_t)((hash >> 4) % (uint64_t)(to - from));
    return round_some(ticks, from, hash);
}

static int64_t slot_start(const struct st_series *series, int64_t index)
{
    if (index > series->count)
        index = series->count;
    return st_timeline_at(series->timeline, (uint64_t)index * series->step);
}

int64_t st_series_created(const struct st_series *series, int64_t index)
{
    int64_t i = st_series_original(series, index);
    int64_t run = i / series->tie_run;
    if ((int)(st_mix(series->seed + SALT_TIE, (uint64_t)run) % 100) < series->tie_percent)
        i = run * series->tie_run;
    uint64_t hash = st_mix(series->seed + SALT_CREATED, (uint64_t)i);
    return instant_within(slot_start(series, i), slot_start(series, i + 1), hash);
}

int64_t st_series_index_at(const struct st_series *series, int64_t ticks)
{
    if (ticks <= st_timeline_start(series->timeline))
        return 0;
    int64_t low = 0, high = series->count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (st_series_created(series, middle) < ticks)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- Classes ----------------------------------------------------------------------------------------------------- */

static int class_of_unit(const struct st_series *series, int64_t unit, uint64_t group_hash)
{
    uint64_t slot =
        ((uint64_t)unit % ST_CLASS_GROUP * (2 * (group_hash & 31) + 1) + (group_hash >> 8)) % ST_CLASS_GROUP;
    return series->deal[slot];
}

static uint64_t group_hash_of(const struct st_series *series, int64_t unit)
{
    return st_mix(series->seed + SALT_DEAL, (uint64_t)unit / ST_CLASS_GROUP);
}

int st_series_class(const struct st_series *series, int64_t index)
{
    int64_t unit = index >> series->pair_shift;
    return class_of_unit(series, unit, group_hash_of(series, unit));
}

static bool in_mask(unsigned mask, int class)
{
    return mask >> class & 1;
}

/* Members of the classes in `mask` with an index before `index`. */
static int64_t members_before(const struct st_series *series, unsigned mask, int64_t index)
{
    int64_t pair = (int64_t)1 << series->pair_shift;
    int64_t unit = index >> series->pair_shift;
    int64_t share = 0, rest = 0;
    for (int class = 0; class < ST_CLASSES; class ++)
        share += in_mask(mask, class) ? series->classes[class].share : 0;
    uint64_t hash = group_hash_of(series, unit);
    for (int64_t u = unit - unit % ST_CLASS_GROUP; u < unit; u++)
        rest += in_mask(mask, class_of_unit(series, u, hash));
    int64_t split = in_mask(mask, class_of_unit(series, unit, hash)) ? index & (pair - 1) : 0;
    return (unit / ST_CLASS_GROUP * share + rest) * pair + split;
}

static int64_t members(const struct st_series *series, unsigned mask, int64_t from, int64_t to)
{
    if (from >= to)
        return 0;
    return members_before(series, mask, to) - members_before(series, mask, from);
}

/* ---- modifiedOn -------------------------------------------------------------------------------------------------- */

static int64_t block_start(const struct st_series *series, int64_t block)
{
    return slot_start(series, block * series->block);
}

/* Indexes from here on are too young to have been modified so late: their modifiedOn equals createdOn. */
static int64_t unshifted_from(const struct st_series *series, int class)
{
    if (series->classes[class].shift_hours == ST_UNMODIFIED)
        return 0;
    int64_t block = series->blocks - series->shift[class] - 1;
    return block > 0 ? block * series->block : 0;
}

static int64_t modified_in_class(const struct st_series *series, int64_t original, int class)
{
    if (original >= unshifted_from(series, class))
        return st_series_created(series, original);
    int64_t block = original / series->block + series->shift[class] + 1;
    uint64_t hash = st_mix(series->seed + SALT_MODIFIED, (uint64_t)original);
    return instant_within(block_start(series, block), block_start(series, block + 1), hash);
}

int64_t st_series_modified(const struct st_series *series, int64_t index)
{
    int class = st_series_class(series, index);
    if (series->classes[class].modified_null)
        return ST_NO_TIME;
    return modified_in_class(series, st_series_original(series, index), class);
}

/* Last block that starts at or before `ticks`; -1 when none does. */
static int64_t block_at(const struct st_series *series, int64_t ticks)
{
    int64_t low = -1, high = series->blocks;
    while (low < high) {
        int64_t middle = low + (high - low + 1) / 2;
        if (block_start(series, middle) <= ticks)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Members of one class in the index span with modifiedOn before `ticks`, in the one block where some are and some are
 * not. */
static int64_t boundary_before(const struct st_series *series, int class, struct st_span indexes, int64_t ticks)
{
    int64_t count = 0;
    for (int64_t i = indexes.from; i < indexes.to; i++)
        if (st_series_class(series, i) == class &&
            modified_in_class(series, st_series_original(series, i), class) < ticks)
            count++;
    return count;
}

static int64_t class_before(const struct st_series *series, int class, struct st_span indexes, int64_t ticks)
{
    if (ticks == ST_FOREVER)
        return members(series, 1u << class, indexes.from, indexes.to);
    if (ticks <= st_timeline_start(series->timeline))
        return 0;
    int64_t fresh = unshifted_from(series, class);
    int64_t count =
        members(series, 1u << class, max64(indexes.from, fresh), min64(indexes.to, st_series_index_at(series, ticks)));
    int64_t block = block_at(series, ticks) - series->shift[class] - 1;
    int64_t end = min64(indexes.to, fresh);
    if (block > 0)
        count += members(series, 1u << class, indexes.from, min64(end, block * series->block));
    if (block >= 0)
        count += boundary_before(
            series, class,
            (struct st_span){max64(indexes.from, block * series->block), min64(end, (block + 1) * series->block)},
            ticks);
    return count;
}

static bool all_time(const struct st_count_query *query)
{
    return query->modified.from == ST_NO_TIME && query->modified.to == ST_FOREVER;
}

/* Classes that a bounded range can hold: those without modifiedOn match no bound. */
static unsigned countable(const struct st_series *series, const struct st_count_query *query)
{
    unsigned mask = query->mask;
    for (int class = 0; class < ST_CLASSES; class ++)
        if (series->classes[class].modified_null && !query->null_as_created)
            mask &= ~(1u << class);
    return mask;
}

int64_t st_series_count(const struct st_series *series, const struct st_count_query *query)
{
    struct st_span indexes = {max64(query->indexes.from, 0), min64(query->indexes.to, series->count)};
    if (indexes.from >= indexes.to || query->modified.from >= query->modified.to)
        return 0;
    if (all_time(query))
        return members(series, query->mask, indexes.from, indexes.to);
    unsigned mask = countable(series, query);
    int64_t count = 0;
    for (int class = 0; class < ST_CLASSES; class ++)
        if (in_mask(mask, class) && series->classes[class].share > 0)
            count += class_before(series, class, indexes, query->modified.to) -
                     class_before(series, class, indexes, query->modified.from);
    return count;
}

bool st_series_matches(const struct st_series *series, const struct st_count_query *query, int64_t index)
{
    if (index < query->indexes.from || index >= query->indexes.to)
        return false;
    int class = st_series_class(series, index);
    if (!in_mask(query->mask, class))
        return false;
    if (all_time(query))
        return true;
    if (series->classes[class].modified_null && !query->null_as_created)
        return false;
    int64_t ticks = modified_in_class(series, st_series_original(series, index), class);
    return ticks >= query->modified.from && ticks < query->modified.to;
}

/* ---- Where to look ----------------------------------------------------------------------------------------------- */

static int by_start(const void *a, const void *b)
{
    const struct st_span *x = a, *y = b;
    return (x->from > y->from) - (x->from < y->from);
}

static size_t merge_spans(struct st_span *spans, size_t count)
{
    qsort(spans, count, sizeof *spans, by_start);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept > 0 && spans[i].from <= spans[kept - 1].to)
            spans[kept - 1].to = max64(spans[kept - 1].to, spans[i].to);
        else
            spans[kept++] = spans[i];
    }
    return kept;
}

static void add_span(struct st_span *spans, size_t *count, int64_t from, int64_t to)
{
    if (from < to)
        spans[(*count)++] = (struct st_span){from, to};
}

static void class_spans(const struct st_series *series, const struct st_count_query *query, int class,
                        struct st_span *spans, size_t *count)
{
    struct st_span all = {max64(query->indexes.from, 0), min64(query->indexes.to, series->count)};
    int64_t fresh = unshifted_from(series, class);
    struct st_span created = {st_series_index_at(series, query->modified.from), series->count};
    struct st_span blocks = {0, series->blocks};
    if (query->modified.to != ST_FOREVER) {
        created.to = st_series_index_at(series, query->modified.to);
        blocks.to = block_at(series, query->modified.to) - series->shift[class];
    }
    if (query->modified.from != ST_NO_TIME)
        blocks.from = max64(0, block_at(series, query->modified.from) - series->shift[class] - 1);
    add_span(spans, count, max64(all.from, max64(fresh, created.from)), min64(all.to, created.to));
    add_span(spans, count, max64(all.from, blocks.from * series->block),
             min64(min64(all.to, fresh), blocks.to * series->block));
}

size_t st_series_candidates(const struct st_series *series, const struct st_count_query *query, struct st_span *ret)
{
    size_t count = 0;
    if (all_time(query)) {
        add_span(ret, &count, max64(query->indexes.from, 0), min64(query->indexes.to, series->count));
        return count;
    }
    unsigned mask = countable(series, query);
    for (int class = 0; class < ST_CLASSES; class ++)
        if (in_mask(mask, class) && series->classes[class].share > 0)
            class_spans(series, query, class, ret, &count);
    return merge_spans(ret, count);
}

/* ---- Set-up ------------------------------------------------------------------------------------------------------ */

static void deal_classes(struct st_series *series)
{
    int slot = 0;
    for (int class = 0; class < ST_CLASSES; class ++)
        for (int i = 0; i < series->classes[class].share; i++)
            series->deal[slot++] = (uint8_t) class;
    BUG_ON(slot != ST_CLASS_GROUP);
}

void st_series_init(struct st_series *series, const struct st_series_options *options)
{
    *series = (struct st_series){
        .timeline = options->timeline,
        .classes = options->classes,
        .seed = options->seed,
        .count = options->count,
        .duplicate_permille = options->duplicate_permille,
        .pair_shift = options->duplicate_permille > 0 ? 1 : 0,
        .tie_percent = options->tie_percent,
        .tie_run = options->tie_run > 0 ? options->tie_run : 1,
    };
    deal_classes(series);
    series->step = options->count > 0 ? st_timeline_weight(options->timeline) / (uint64_t)options->count : 0;
    series->block = min64(max64(options->count / BLOCKS_WANTED, 1), ST_MAX_BLOCK);
    if (series->pair_shift) /* both halves of a pair lie in one block */
        series->block += series->block & 1;
    series->blocks = (options->count + series->block - 1) / series->block;
    for (int class = 0; class < ST_CLASSES; class ++) {
        int64_t hours = max64(options->classes[class].shift_hours, 0);
        series->shift[class] = hours * series->blocks / st_timeline_hours(options->timeline);
    }
}
