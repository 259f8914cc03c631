/* backfill.h - reading years of history again: a plan of slices, recorded in the warehouse, one message per slice.
 *
 * A slice is one entity of one tenant over [from, to) of createdOn; the slices of a plan tile its range. The order of what is written makes a
 * kill at any point harmless: first all slices, then the plan's head (a plan without one does not count), then per batch the messages, then
 * what was published of it. A batch whose record got lost is published again, under the same task ids: workers run it once. */
#ifndef ST_DISPATCH_BACKFILL_H
#define ST_DISPATCH_BACKFILL_H

#include "base/uuid.h"
#include "dispatch/services.h"
#include "dispatch/task.h"

enum {
    BACKFILL_MAX_SLICES = 20000, /* of one backfill */
    BACKFILL_BATCH = 50,         /* messages between two records of what was published */
    BACKFILL_SLICE_MINUTES = 2,  /* --slice auto: work of one slice at the tenant's allowed rate */
    BACKFILL_FILL_PERCENT = 60, /* estimates: how full the pages are on average; windows are never filled to the brim */
    BACKFILL_ID_SIZE = 13,      /* 12 hex digits */
    BACKFILL_TASK_ID_SIZE = 40, /* bf-<id>-<number> */
    BACKFILL_MESSAGE_ID_SIZE = 64,
};

/* ---- What is asked for ---------------------------------------------------------------------------------------------- */

struct backfill_ask {            /* the command's words */
    const char *const *entities; /* names, or "all": the enabled ones */
    size_t entity_count;
    int64_t tenant;        /* 0: all configured ones */
    const char *from, *to; /* dates or RFC 3339, UTC; to is exclusive; NULL: the end of today */
    const char *slice;     /* "30d", "12h", "auto"; NULL: auto */
};
struct backfill_request {
    const struct entity_settings **entities; /* by priority, each once */
    size_t entity_count;
    int64_t *tenants;
    size_t tenant_count;
    int64_t from_us, to_us, slice_us; /* 0: auto */
    char *key;                        /* the same for the same command, also tomorrow where it names no end */
};
/* Errors have the codes unknown_entity, unknown_tenant, bad_window, bad_slice. Release also after a failure. */
bool backfill_request_make(const struct backfill_ask *ask, const struct settings *settings, int64_t now_us,
                           struct backfill_request *ret, struct error *err) MUST_CHECK;
void backfill_request_release(struct backfill_request *request);

/* ---- The plan ------------------------------------------------------------------------------------------------------- */

struct backfill_slice {
    int64_t number; /* from 1 */
    char entity[TASK_ENTITY_SIZE];
    int64_t tenant, from_us, to_us;
    int64_t records;  /* expected: counted (auto), or the range's count spread evenly over slices of one length */
    int64_t requests; /* expected */
    char task_id[BACKFILL_TASK_ID_SIZE];
    char message_id[BACKFILL_MESSAGE_ID_SIZE]; /* "": still to be published */
};
struct backfill {
    char id[BACKFILL_ID_SIZE];
    char *key, *entities; /* owned, as the slices are */
    int64_t from_us, to_us, created_us /* 0: not recorded yet */, records, requests;
    struct backfill_slice *slices;
    size_t count;
};
void backfill_release(struct backfill *backfill);
size_t backfill_unpublished(const struct backfill *backfill);

/* Counts at the source (one request per entity and tenant, with slice auto some more) and plans; nothing is recorded yet. `tell` is called
 * before each entity and tenant is counted, on any thread, one at a time. */
typedef void backfill_count_fn(void *user, const char *entity, int64_t tenant);
bool backfill_plan(struct services *services, const struct backfill_request *request, backfill_count_fn *tell,
                   void *user, struct backfill *ret, struct cancel *cancel, struct error *err) MUST_CHECK;
bool backfill_record(struct services *services, struct backfill *backfill, struct cancel *cancel,
                     struct error *err) MUST_CHECK;
/* The newest plan with that key; *ret_found false: there is none. Release ret in any case. */
bool backfill_find(struct services *services, const char *key, bool *ret_found, struct backfill *ret,
                   struct cancel *cancel, struct error *err) MUST_CHECK;
/* The plan whose id begins so. None, or more than one: code unknown_backfill. */
bool backfill_load(struct services *services, const char *id_prefix, struct backfill *ret, struct cancel *cancel,
                   struct error *err) MUST_CHECK;

/* ---- Publishing ------------------------------------------------------------------------------------------------------ */

/* Publishes what has no message yet, batch by batch. `tell` hears after each batch how many are out. */
typedef void backfill_tell_fn(void *user, size_t published, size_t of);
bool backfill_publish(struct services *services, struct backfill *backfill, backfill_tell_fn *tell, void *user,
                      struct cancel *cancel, struct error *err) MUST_CHECK;
/* Records that these slices (by number) are to be published again, and takes their message ids out of the plan. */
bool backfill_ask_again(struct services *services, struct backfill *backfill, const int64_t *numbers, size_t count,
                        struct cancel *cancel, struct error *err) MUST_CHECK;

/* The statements, for the analyzer test. */
void backfill_each_sql(const struct settings *settings, void (*fn)(void *user, const char *name, const char *sql),
                       void *user);

#endif
