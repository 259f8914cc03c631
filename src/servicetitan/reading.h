/* reading.h - one st_read under way, shared by its readers; for read.c, fetch.c and paging.c only. */
#ifndef ST_SERVICETITAN_READING_H
#define ST_SERVICETITAN_READING_H

#include <stdatomic.h>

#include "base/log.h"
#include "tenant.h"
#include "work.h"

struct st_reading {
    struct st_tenant *tenant;
    const struct st_read_request *request;
    const struct st_sink *sink;
    enum st_column column;
    const struct log_context *scope; /* of the thread that reads; its reader threads work for the same run */
    struct cancel *cancel;           /* our own, child of the caller's: the first failure of a reader ends all */
    struct {
        atomic_llong records, windows, requests, splits, refetches;
    } counters;
    atomic_llong expected; /* records in all; -1 unknown */
    struct work work;
    struct {
        pthread_mutex_t mutex;
        bool failed;
        struct error first;
    } failure;
};

/* Hashes of record identities, for comparing two readings of the same records. */
struct identities {
    uint64_t *hashes;
    size_t count, capacity;
    bool all_have_id;
};

/* One reader: a thread and what it owns. Also the calling thread, for the first and the last window. */
struct reader {
    struct st_reading *reading;
    struct page *page;

    /* The fetch under way. */
    struct st_window window;
    int64_t asked_page_size;
    int64_t sent_at_us;
    void *fetch; /* the sink's state */
    bool begun;
    bool silent;   /* a verifying pass: nothing is handed out */
    bool paging;   /* page by page: a total beyond one page is no reason to stop */
    bool overfull; /* the window holds more than one page */
    bool refused;  /* a record callback failed; error says why */
    int64_t handed_out;
    struct identities *identities; /* collected when not NULL */
    struct error error;
};

enum fetch_outcome {
    FETCH_ACCEPTED,
    FETCH_OVERFULL, /* *ret_count = how many records the window holds */
    FETCH_FAILED,
};

void reader_init(struct reader *reader, struct st_reading *reading);
void reader_release(struct reader *reader);

/* ---- fetch.c ---- */
/* Reads one window that should fit one page, with as many new fetches as it needs. *ret_count: records, also when
 * accepted. */
enum fetch_outcome reader_read_window(struct reader *reader, const struct st_window *window, int64_t *ret_count,
                                      struct error *err);
/* One page of the window into the reader's page, stopped when overfull (unless paging). */
bool reader_list(struct reader *reader, int64_t page_number, struct st_list_reply *reply, struct error *err) MUST_CHECK;
void reader_begin_fetch(struct reader *reader, const struct st_window *window);
/* The same without a fetch of its own: a verifying pass beside the fetch that is under way. */
void reader_begin_silent(struct reader *reader, const struct st_window *window);
/* Ends the sink's fetch. complete: it is begun even when empty, and false means that the sink could not keep it. */
bool reader_end_fetch(struct reader *reader, bool complete, struct error *err) MUST_CHECK;
void reader_drop_fetch(struct reader *reader);
void reader_count_accepted(struct reader *reader);
bool reader_may_refetch(struct reader *reader, const struct error *err);

/* ---- paging.c ---- */
/* Reads a window page by page, because no split can make it fit: records that share one instant. */
bool reader_read_instant(struct reader *reader, const struct st_window *window, struct error *err) MUST_CHECK;
/* Full read: the records without the time column, `expected` of them, out of unfiltered pages. */
bool reader_read_timeless(struct reader *reader, int64_t expected, struct error *err) MUST_CHECK;

#endif
