/* drift.c - see drift.h. A short list: most records differ nowhere, and those that do differ in the same few fields. */
#include "drift.h"

#include <stdlib.h>

static const char *const kind_names[] = {
    [DRIFT_UNKNOWN_FIELD] = "unknown_field",
    [DRIFT_TYPE] = "type",
    [DRIFT_ENUM_VALUE] = "enum_value",
    [DRIFT_MISSING_REQUIRED] = "missing_required",
    [DRIFT_ROUNDED] = "rounded",
    [DRIFT_NULL_ELEMENT] = "null_element",
    [DRIFT_TEXT] = "text",
};

const char *drift_kind_name(enum drift_kind kind)
{
    return kind_names[kind];
}

/* The longest start of s that fits and ends between characters. */
static size_t cut_length(struct slice s, size_t max)
{
    if (s.len <= max)
        return s.len;
    while (max > 0 && ((unsigned char)s.ptr[max] & 0xc0) == 0x80)
        max--;
    return max;
}

static struct drift_entry *find_or_add(struct drift *drift, struct slice path, enum drift_kind kind,
                                       struct slice sample)
{
    for (size_t i = 0; i < drift->count; i++) {
        struct drift_entry *entry = &drift->entries[i];
        if (entry->kind == kind && slice_eq_str(path, entry->path))
            return entry;
    }
    if (drift->count == DRIFT_MAX_FIELDS)
        return NULL;
    struct drift_entry *entry = &drift->entries[drift->count++];
    entry->path = xstrndup(path.ptr, path.len);
    entry->kind = kind;
    entry->sample_len = cut_length(sample, sizeof entry->sample);
    if (entry->sample_len > 0)
        memcpy(entry->sample, sample.ptr, entry->sample_len);
    return entry;
}

void drift_note(struct drift *drift, struct slice path, enum drift_kind kind, struct slice sample)
{
    path.len = cut_length(path, DRIFT_MAX_PATH);
    struct drift_entry *entry = find_or_add(drift, path, kind, sample);
    if (!entry)
        return;
    entry->pending++;
    drift->any_pending = true;
}

void drift_settle(struct drift *drift, bool keep)
{
    if (!drift->any_pending)
        return;
    for (size_t i = 0; i < drift->count; i++) {
        if (keep)
            drift->entries[i].count += drift->entries[i].pending;
        drift->entries[i].pending = 0;
    }
    drift->any_pending = false;
}

void drift_each(const struct drift *drift, drift_fn *fn, void *user)
{
    for (size_t i = 0; i < drift->count; i++) {
        const struct drift_entry *entry = &drift->entries[i];
        if (entry->count > 0)
            fn(user, entry->path, entry->kind, entry->count, slice_of(entry->sample, entry->sample_len));
    }
}

void drift_release(struct drift *drift)
{
    for (size_t i = 0; i < drift->count; i++)
        free(drift->entries[i].path);
}
