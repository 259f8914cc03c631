/* page.h - a response body, cut into records while it arrives.
 *
 * Fed with pieces of any size; finds the envelope's scalars and the elements of `data` by a streaming tokenizer; holds at most one
 * record (bounded by PAGE_MAX_RECORD_BYTES). Members of the envelope may come in any order; unknown ones are skipped. */
#ifndef ST_RECORD_PAGE_H
#define ST_RECORD_PAGE_H

#include "base/error.h"
#include "base/slice.h"

enum { PAGE_MAX_RECORD_BYTES = 8 * 1024 * 1024, PAGE_MAX_DEPTH = 64, PAGE_MAX_CONTINUE = 1024 /* with the NUL */ };

struct page_envelope {
    int64_t page; /* -1 = absent or null, for all three */
    int64_t page_size;
    int64_t total_count;
    int has_more;                          /* -1 absent, 0, 1 */
    char continue_from[PAGE_MAX_CONTINUE]; /* export feed; "" = absent */
    bool data_seen;
    int64_t records; /* elements of data so far */
};

/* One element of `data`, valid during the call. False stops the page (page_feed then returns true, page_stopped is true). */
typedef bool page_record_fn(void *user, struct slice record);

struct page;
struct page *page_new(page_record_fn *on_record, void *user);
void page_free(struct page *page);
void page_reset(struct page *page);
bool page_feed(struct page *page, struct slice piece,
               struct error *err) MUST_CHECK; /* PERMANENT "page_syntax" with the byte offset */
/* The body is over: true when it was one whole JSON object with a data array. A cut body is RETRY "page_cut". */
bool page_finish(struct page *page, struct error *err) MUST_CHECK;
bool page_stopped(const struct page *page);
const struct page_envelope *page_envelope(const struct page *page); /* what has been seen so far */

#endif
