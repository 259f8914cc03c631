/* paging.c - reads page by page, where windows do not help: many records of one instant, records without the time
 * column.
 *
 * Offset paging over live data repeats and skips records, so a pass over the pages counts only when something else
 * confirms it: an instant is read until two passes in a row show the same identities; records without a time are read
 * until as many came as the totals say. Every pass that hands records out is a fetch of its own. */
#include "reading.h"

#include <stdlib.h>
#include <string.h>

enum { INSTANT_PASSES = 6, TIMELESS_PASSES = 4, PAGES_SLACK = 2 };

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void identities_release(struct identities *all)
{
    free(all->hashes);
    *all = (struct identities){.all_have_id = true};
}

static void identities_sort(struct identities *all)
{
    if (all->count > 1)
        qsort(all->hashes, all->count, sizeof all->hashes[0], by_value);
}

static size_t identities_distinct(const struct identities *sorted)
{
    size_t distinct = 0;
    for (size_t i = 0; i < sorted->count; i++)
        distinct += i == 0 || sorted->hashes[i] != sorted->hashes[i - 1];
    return distinct;
}

static bool identities_equal(const struct identities *a, const struct identities *b)
{
    return a->count == b->count && (a->count == 0 || memcmp(a->hashes, b->hashes, a->count * sizeof a->hashes[0]) == 0);
}

/* One pass over all pages. *ret_whole: it brought as many records as the total, which stayed the same. */
static bool run_pass(struct reader *reader, int64_t enough, bool *ret_whole, struct error *err)
{
    int64_t total = 0, seen = 0, last_page = 1;
    reader->paging = true;
    *ret_whole = false;
    for (int64_t number = 1; number <= last_page; number++) {
        struct st_list_reply reply;
        if (!reader_list(reader, number, &reply, err))
            return false;
        const struct page_envelope *page = &reply.envelope;
        if (number == 1) {
            int64_t size = page->page_size > 0 && page->page_size < reader->asked_page_size ? page->page_size
                                                                                            : reader->asked_page_size;
            total = page->total_count;
            last_page = total / size + PAGES_SLACK;
        }
        seen += page->records;
        if (page->total_count != total || page->records == 0)
            break;
        if (seen >= total || page->has_more == 0 || (enough >= 0 && (int64_t)reader->identities->count >= enough))
            break;
    }
    *ret_whole = total >= 0 && seen == total;
    return true;
}

/* ---- One instant ------------------------------------------------------------------------------------------------- */

/* The second pass only confirms the first; later ones are fetches again, so that the newest can be accepted. */
static bool instant_pass(struct reader *reader, const struct st_window *window, bool silent, struct identities *ret,
                         bool *ret_whole, struct error *err)
{
    identities_release(ret);
    if (silent) {
        reader_begin_silent(reader, window);
    } else {
        reader_drop_fetch(reader);
        reader_begin_fetch(reader, window);
    }
    reader->identities = ret;
    bool ok = run_pass(reader, /* enough: all */ -1, ret_whole, err);
    identities_sort(ret);
    if (ret->all_have_id && identities_distinct(ret) != ret->count)
        *ret_whole = false; /* a record came twice, so another one was skipped */
    /* A page that was cut after its first records makes this pass void, no more. */
    return ok || strcmp(err->code, "page_too_large") == 0 || reader_may_refetch(reader, err);
}

/* Leaves the accepted pass's fetch open. */
static bool settle_instant(struct reader *reader, const struct st_window *window, struct identities passes[2],
                           struct error *err)
{
    bool was_whole = false;
    for (int i = 0; i < INSTANT_PASSES; i++) {
        bool whole = false;
        if (!instant_pass(reader, window, /* silent */ i == 1, &passes[i % 2], &whole, err))
            return false;
        if (whole && was_whole && identities_equal(&passes[0], &passes[1]))
            return true;
        was_whole = whole;
    }
    return error_set(err, ERROR_RETRY, "instant_unsettled",
                     "could not read %s: the records of one instant did not stay the same over %d readings",
                     reader->reading->request->entity->name, INSTANT_PASSES);
}

bool reader_read_instant(struct reader *reader, const struct st_window *window, struct error *err)
{
    struct identities passes[2] = {{.all_have_id = true}, {.all_have_id = true}};
    bool ok = settle_instant(reader, window, passes, err);
    identities_release(&passes[0]);
    identities_release(&passes[1]);
    if (!ok) {
        reader_drop_fetch(reader);
        return false;
    }
    if (!reader_end_fetch(reader, /* complete */ true, err))
        return false;
    reader_count_accepted(reader);
    return true;
}

/* ---- Records without the time ------------------------------------------------------------------------------------ */

bool reader_read_timeless(struct reader *reader, int64_t expected, struct error *err)
{
    struct st_window window = {.column = ST_CREATED_ON, .timeless = true};
    for (int i = 0; i < TIMELESS_PASSES; i++) {
        struct identities found = {.all_have_id = true};
        bool whole = false;
        reader_begin_fetch(reader, &window);
        reader->identities = &found;
        bool ok = run_pass(reader, expected, &whole, err);
        identities_sort(&found);
        size_t distinct = found.all_have_id ? identities_distinct(&found) : found.count;
        identities_release(&found);
        reader->identities = NULL;
        if (ok && (int64_t)distinct >= expected) {
            ok = reader_end_fetch(reader, /* complete */ true, err);
            if (ok)
                reader_count_accepted(reader);
            return ok;
        }
        reader_drop_fetch(reader);
        if (!ok && strcmp(err->code, "page_too_large") != 0 && !reader_may_refetch(reader, err))
            return false;
    }
    return error_set(err, ERROR_RETRY, "timeless_unsettled",
                     "could not read %s: %lld records have no createdOn, but paging does not bring them all",
                     reader->reading->request->entity->name, (long long)expected);
}
