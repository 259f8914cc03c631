/* st_overlay.c - see st_overlay.h. */
#include "st_overlay.h"

#include <stdlib.h>

struct st_edited {
    struct st_version shown;  /* what readers see, when visible */
    struct st_version latest; /* what the next edit builds on */
    bool visible;
};

enum { RECENT_SHARE = 50, RECENT_PART = 20, DRAWS = 64 };

const char *const st_edit_names[ST_EDIT_KINDS] = {"create", "edit", "deactivate", "reactivate", "delete", "merge"};

void st_overlay_init(struct st_overlay *overlay, const struct st_company *company, enum st_entity entity)
{
    *overlay = (struct st_overlay){.company = company, .entity = entity};
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr,
                                  PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP); /* readers must not starve edits */
    pthread_rwlock_init(&overlay->shared.lock, &attr);
    pthread_rwlockattr_destroy(&attr);
}

void st_overlay_release(struct st_overlay *overlay)
{
    free(overlay->shared.edited);
    free(overlay->shared.order);
    free(overlay->shared.slots);
    free(overlay->shared.waiting);
    pthread_rwlock_destroy(&overlay->shared.lock);
}

/* ---- Finding ----------------------------------------------------------------------------------------------------- */

static int64_t generated(const struct st_overlay *overlay)
{
    return overlay->company->count[overlay->entity];
}

static uint32_t *slot_of(const struct st_overlay *overlay, int64_t index)
{
    size_t mask = overlay->shared.slot_count - 1;
    size_t at = st_mix(0x0eed, (uint64_t)index) & mask;
    while (overlay->shared.slots[at] && overlay->shared.edited[overlay->shared.slots[at] - 1].latest.index != index)
        at = (at + 1) & mask;
    return &overlay->shared.slots[at];
}

static struct st_edited *find(const struct st_overlay *overlay, int64_t index)
{
    if (overlay->shared.slot_count == 0)
        return NULL;
    uint32_t at = *slot_of(overlay, index);
    return at ? &overlay->shared.edited[at - 1] : NULL;
}

int64_t st_overlay_limit(const struct st_overlay *overlay)
{
    return generated(overlay) + overlay->shared.created;
}

size_t st_overlay_count(const struct st_overlay *overlay)
{
    return overlay->shared.ordered;
}

const struct st_version *st_overlay_nth(const struct st_overlay *overlay, size_t n)
{
    const struct st_edited *edited = &overlay->shared.edited[overlay->shared.order[n]];
    return edited->visible ? &edited->shown : NULL;
}

const struct st_version *st_overlay_find(const struct st_overlay *overlay, int64_t index)
{
    const struct st_edited *edited = find(overlay, index);
    return edited && edited->visible ? &edited->shown : NULL;
}

bool st_overlay_version(const struct st_overlay *overlay, int64_t index, struct st_version *ret)
{
    const struct st_version *shown = st_overlay_find(overlay, index);
    if (shown)
        *ret = *shown;
    else if (index >= 0 && index < generated(overlay))
        st_company_version(overlay->company, overlay->entity, index, ret);
    else
        return false;
    return true;
}

/* ---- Adding ------------------------------------------------------------------------------------------------------ */

static void grow_slots(struct st_overlay *overlay)
{
    size_t wanted = overlay->shared.slot_count ? overlay->shared.slot_count * 2 : 1024;
    free(overlay->shared.slots);
    overlay->shared.slots = xcalloc(wanted, sizeof *overlay->shared.slots);
    overlay->shared.slot_count = wanted;
    for (size_t i = 0; i < overlay->shared.count; i++)
        *slot_of(overlay, overlay->shared.edited[i].latest.index) = (uint32_t)i + 1;
}

/* The record's entry, made from its generated state when it has none. The pointer is valid until the next call. */
static struct st_edited *entry(struct st_overlay *overlay, int64_t index)
{
    struct st_edited *known = find(overlay, index);
    if (known)
        return known;
    if (overlay->shared.count == overlay->shared.cap) {
        overlay->shared.cap = overlay->shared.cap ? overlay->shared.cap * 2 : 256;
        overlay->shared.edited = xrealloc(overlay->shared.edited, overlay->shared.cap * sizeof *overlay->shared.edited);
    }
    struct st_edited *edited = &overlay->shared.edited[overlay->shared.count++];
    *edited = (struct st_edited){.latest = {.index = index, .merged_to = -1, .active = true}};
    if (index < generated(overlay))
        st_company_version(overlay->company, overlay->entity, index, &edited->latest);
    if (overlay->shared.count * 2 > overlay->shared.slot_count)
        grow_slots(overlay);
    else
        *slot_of(overlay, index) = (uint32_t)overlay->shared.count;
    return edited;
}

static void wait_for_sight(struct st_overlay *overlay, const struct st_version *version)
{
    if (overlay->shared.waiting_count == overlay->shared.waiting_cap) {
        size_t cap = overlay->shared.waiting_cap ? overlay->shared.waiting_cap * 2 : 256;
        struct st_version *ring = xcalloc(cap, sizeof *ring);
        for (size_t i = 0; i < overlay->shared.waiting_count; i++)
            ring[i] = overlay->shared.waiting[(overlay->shared.waiting_first + i) % overlay->shared.waiting_cap];
        free(overlay->shared.waiting);
        overlay->shared.waiting = ring;
        overlay->shared.waiting_cap = cap;
        overlay->shared.waiting_first = 0;
    }
    size_t at = (overlay->shared.waiting_first + overlay->shared.waiting_count++) % overlay->shared.waiting_cap;
    overlay->shared.waiting[at] = *version;
}

static void show(struct st_edited *edited, const struct st_version *version)
{
    edited->shown = *version;
    edited->visible = true;
}

static void show_waiting(struct st_overlay *overlay, int64_t until)
{
    while (overlay->shared.waiting_count > 0) {
        const struct st_version *version = &overlay->shared.waiting[overlay->shared.waiting_first];
        if (version->modified > until)
            return;
        show(find(overlay, version->index), version);
        overlay->shared.waiting_first = (overlay->shared.waiting_first + 1) % overlay->shared.waiting_cap;
        overlay->shared.waiting_count--;
    }
}

static int by_index(const void *a, const void *b, void *edited)
{
    const struct st_edited *e = edited;
    int64_t x = e[*(const uint32_t *)a].latest.index, y = e[*(const uint32_t *)b].latest.index;
    return (x > y) - (x < y);
}

/* Brings the entries added since the last call into the order: sorts them, then merges. */
static void order_new(struct st_overlay *overlay)
{
    size_t old = overlay->shared.ordered, count = overlay->shared.count;
    if (old == count)
        return;
    uint32_t *fresh = xcalloc(count - old, sizeof *fresh), *merged = xcalloc(count, sizeof *merged);
    for (size_t i = old; i < count; i++)
        fresh[i - old] = (uint32_t)i;
    qsort_r(fresh, count - old, sizeof *fresh, by_index, overlay->shared.edited);
    for (size_t i = 0, j = 0, k = 0; k < count; k++) {
        bool take_old =
            j == count - old || (i < old && by_index(&overlay->shared.order[i], &fresh[j], overlay->shared.edited) < 0);
        merged[k] = take_old ? overlay->shared.order[i++] : fresh[j++];
    }
    free(fresh);
    free(overlay->shared.order);
    overlay->shared.order = merged;
    overlay->shared.ordered = count;
}

/* ---- Editing ----------------------------------------------------------------------------------------------------- */

static bool fits(enum st_edit_kind kind, const struct st_version *v)
{
    if (v->deleted)
        return false;
    return kind == ST_EDIT_REACTIVATE ? !v->active : kind == ST_EDIT_CHANGE || kind == ST_EDIT_DELETE || v->active;
}

static void latest_version(struct st_overlay *overlay, int64_t index, struct st_version *ret)
{
    const struct st_edited *edited = find(overlay, index);
    if (edited)
        *ret = edited->latest;
    else
        st_company_version(overlay->company, overlay->entity, index, ret);
}

/* A record to edit: half of the time a recent one. -1 when none was found that the kind suits. */
static int64_t draw_target(struct st_overlay *overlay, enum st_edit_kind kind, struct st_random *r)
{
    int64_t limit = st_overlay_limit(overlay);
    for (int i = 0; i < DRAWS && limit > 0; i++) {
        int64_t part = st_random_percent(r, RECENT_SHARE) ? limit / RECENT_PART + 1 : limit;
        int64_t index = limit - 1 - (int64_t)(st_random_next(r) % (uint64_t)part);
        struct st_version v;
        latest_version(overlay, index, &v);
        if (fits(kind, &v))
            return index;
    }
    return -1;
}

static int64_t draw_survivor(struct st_overlay *overlay, int64_t victim, struct st_random *r)
{
    int64_t survivor = draw_target(overlay, ST_EDIT_MERGE, r);
    return survivor == victim ? -1 : survivor;
}

static int64_t next_instant(struct st_overlay *overlay, const struct st_edit_batch *batch, bool first,
                            struct st_random *r)
{
    int64_t *last = &overlay->shared.last_modified;
    if (batch->same_instant && !first)
        return *last;
    int64_t now = batch->now + st_random_below(r, 10);
    *last = now > *last ? now : *last + 1;
    return *last;
}

static void change(struct st_version *v, enum st_edit_kind kind, int64_t survivor)
{
    v->revision++;
    switch (kind) {
    case ST_EDIT_DEACTIVATE:
        v->active = false;
        break;
    case ST_EDIT_REACTIVATE:
        v->active = true;
        v->merged_to = -1;
        break;
    case ST_EDIT_DELETE:
        v->deleted = true;
        v->active = false;
        break;
    case ST_EDIT_MERGE:
        v->active = false;
        v->merged_to = survivor;
        break;
    default:
        break;
    }
}

/* False when no record suits the kind. */
static bool apply_one(struct st_overlay *overlay, const struct st_edit_batch *batch, enum st_edit_kind kind, bool first,
                      struct st_random *r)
{
    int64_t index = kind == ST_EDIT_CREATE ? st_overlay_limit(overlay)
                    : batch->index >= 0    ? batch->index
                                           : draw_target(overlay, kind, r);
    int64_t survivor = kind == ST_EDIT_MERGE ? draw_survivor(overlay, index, r) : -1;
    if (index < 0 || (kind == ST_EDIT_MERGE && survivor < 0))
        return false;
    struct st_edited *edited = entry(overlay, index);
    int64_t instant = next_instant(overlay, batch, first, r);
    if (kind == ST_EDIT_CREATE) {
        overlay->shared.created++;
        edited->latest.created = instant;
    } else {
        change(&edited->latest, kind, survivor);
    }
    edited->latest.modified = instant;
    if (batch->lag > 0)
        wait_for_sight(overlay, &edited->latest);
    else
        show(edited, &edited->latest);
    return true;
}

static enum st_edit_kind draw_kind(const struct st_edit_batch *batch, struct st_random *r)
{
    for (;;) {
        enum st_edit_kind kind = (enum st_edit_kind)st_random_below(r, ST_EDIT_KINDS);
        if (batch->kinds[kind])
            return kind;
    }
}

static bool check_batch(const struct st_overlay *overlay, const struct st_edit_batch *batch, struct error *err)
{
    const struct st_model *model = st_models[overlay->entity];
    bool any = false;
    for (int kind = 0; kind < ST_EDIT_KINDS; kind++)
        any = any || batch->kinds[kind];
    if (!any || batch->count < 0 || batch->count > ST_MAX_BATCH)
        return error_set(err, ERROR_PERMANENT, "edits",
                         "cannot apply %lld edits: 0 to %d of at least one kind are allowed", (long long)batch->count,
                         ST_MAX_BATCH);
    if (!model->has_active && (batch->kinds[ST_EDIT_DEACTIVATE] || batch->kinds[ST_EDIT_REACTIVATE]))
        return error_set(err, ERROR_PERMANENT, "edits", "cannot deactivate \"%s\": the entity has no active flag",
                         model->name);
    if (batch->kinds[ST_EDIT_MERGE] && overlay->entity != ST_CUSTOMERS && overlay->entity != ST_LOCATIONS)
        return error_set(err, ERROR_PERMANENT, "edits", "cannot merge \"%s\": only customers and locations",
                         model->name);
    if (batch->index >= 0 && (batch->kinds[ST_EDIT_CREATE] || batch->index >= st_overlay_limit(overlay)))
        return error_set(err, ERROR_PERMANENT, "edits", "cannot edit record %lld: there is none",
                         (long long)batch->index);
    if (overlay->shared.count + (size_t)batch->count > ST_MAX_EDITED)
        return error_set(err, ERROR_PERMANENT, "edits", "cannot hold more than %d edited records of \"%s\"",
                         ST_MAX_EDITED, model->name);
    return true;
}

bool st_overlay_apply(struct st_overlay *overlay, const struct st_edit_batch *batch, struct st_edit_result *ret,
                      struct error *err)
{
    *ret = (struct st_edit_result){.first_modified = ST_NO_TIME, .last_modified = ST_NO_TIME};
    struct st_random r = {st_mix(batch->seed, (uint64_t)overlay->entity)};
    pthread_rwlock_wrlock(&overlay->shared.lock);
    bool ok = check_batch(overlay, batch, err);
    for (int64_t i = 0; ok && i < batch->count; i++) {
        enum st_edit_kind kind = draw_kind(batch, &r);
        bool first = ret->first_modified == ST_NO_TIME;
        if (!apply_one(overlay, batch, kind, first, &r))
            continue;
        ret->applied[kind]++;
        if (first)
            ret->first_modified = overlay->shared.last_modified;
        ret->last_modified = overlay->shared.last_modified;
    }
    order_new(overlay);
    pthread_rwlock_unlock(&overlay->shared.lock);
    return ok;
}

void st_overlay_read_lock(struct st_overlay *overlay, int64_t now, int64_t lag)
{
    pthread_rwlock_rdlock(&overlay->shared.lock);
    if (overlay->shared.waiting_count == 0)
        return;
    pthread_rwlock_unlock(&overlay->shared.lock);
    pthread_rwlock_wrlock(&overlay->shared.lock);
    show_waiting(overlay, now - lag);
    pthread_rwlock_unlock(&overlay->shared.lock);
    pthread_rwlock_rdlock(&overlay->shared.lock);
}

void st_overlay_unlock(struct st_overlay *overlay)
{
    pthread_rwlock_unlock(&overlay->shared.lock);
}
