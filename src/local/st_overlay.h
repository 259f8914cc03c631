/* st_overlay.h - the edits made to one entity of one generated company: what memory grows with.
 *
 * An edit never changes the generated record; it puts a newer version over it, or adds a record behind the generated
 * ones. Versions get the server's present as modifiedOn, strictly increasing per entity in ticks of 100 ns (unless one
 * batch asks for a single instant). With a visibility lag a version is shown only when it is old enough; until then
 * lists show the one before.
 *
 * Readers hold the lock for a whole request, so that a page is a consistent state; edits are applied in batches
 * between. */
#ifndef ST_LOCAL_ST_OVERLAY_H
#define ST_LOCAL_ST_OVERLAY_H

#include <pthread.h>

#include "base/error.h"
#include "st_company.h"

enum {
    ST_MAX_EDITED = 2000000, /* records with edits per entity and tenant */
    ST_MAX_BATCH = 200000,   /* edits of one call */
};

enum st_edit_kind {
    ST_EDIT_CREATE,
    ST_EDIT_CHANGE,
    ST_EDIT_DEACTIVATE,
    ST_EDIT_REACTIVATE,
    ST_EDIT_DELETE,
    ST_EDIT_MERGE, /* customers and locations: inactive, mergedToId set */
    ST_EDIT_KINDS,
};
extern const char *const st_edit_names[ST_EDIT_KINDS];

struct st_edited;

struct st_overlay {
    const struct st_company *company;
    enum st_entity entity;
    struct { /* under lock */
        pthread_rwlock_t lock;
        struct st_edited *edited;
        size_t count, cap;
        uint32_t *order; /* edited, by index */
        size_t ordered;
        uint32_t *slots; /* hash of index -> edited + 1 */
        size_t slot_count;
        int64_t created;
        int64_t last_modified;
        struct st_version *waiting; /* ring of versions that are not visible yet, oldest first */
        size_t waiting_count, waiting_cap, waiting_first;
    } shared;
};

void st_overlay_init(struct st_overlay *overlay, const struct st_company *company, enum st_entity entity);
void st_overlay_release(struct st_overlay *overlay);

struct st_edit_batch {
    int64_t count;
    bool kinds[ST_EDIT_KINDS]; /* at least one; drawn with equal chances */
    uint64_t seed;
    int64_t now;       /* ticks */
    int64_t lag;       /* ticks */
    bool same_instant; /* all with one modifiedOn */
    int64_t index;     /* -1: drawn; else this record */
};
struct st_edit_result {
    int64_t applied[ST_EDIT_KINDS];
    int64_t first_modified, last_modified;
};
/* False: over ST_MAX_EDITED or ST_MAX_BATCH, or a kind that the entity cannot have; nothing was applied then. */
bool st_overlay_apply(struct st_overlay *overlay, const struct st_edit_batch *batch, struct st_edit_result *ret,
                      struct error *err) MUST_CHECK;

/* Shows what has become visible by `now`, and keeps the state until unlock. */
void st_overlay_read_lock(struct st_overlay *overlay, int64_t now, int64_t lag);
void st_overlay_unlock(struct st_overlay *overlay);

/* All below: under the read lock. */
int64_t st_overlay_limit(const struct st_overlay *overlay); /* indexes are below this */
size_t st_overlay_count(const struct st_overlay *overlay);  /* records with a visible or waiting edit */
/* The n-th edited record by index: its visible version, or NULL when none is visible yet. */
const struct st_version *st_overlay_nth(const struct st_overlay *overlay, size_t n);
/* Visible version over this record; NULL: as generated. */
const struct st_version *st_overlay_find(const struct st_overlay *overlay, int64_t index);
/* Visible state of any record; false when there is none. */
bool st_overlay_version(const struct st_overlay *overlay, int64_t index, struct st_version *ret);

#endif
