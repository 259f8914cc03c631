/* registry_load.h - what the two halves of the registry's loader share: where we are, and checked access to members. */
#ifndef ST_RECORD_REGISTRY_LOAD_H
#define ST_RECORD_REGISTRY_LOAD_H

#include "base/arena.h"
#include "base/json.h"
#include "record/registry.h"

enum {
    REGISTRY_MAX_COLUMNS = 256, /* per list; the encoder keeps a bit per member */
    REGISTRY_MAX_NESTING = 15,  /* BigQuery's own limit for STRUCTs */
    REGISTRY_MAX_NAME = 128,
    REGISTRY_MAX_ENUM = 64,
    REGISTRY_MAX_INDEX = 9, /* "appliedTo[0]": one digit */
    REGISTRY_PLACE_SIZE = 320,
};

struct load {
    struct arena *arena;
    const char *file;
    struct error *err;
};

/* "entities.jobs.columns[3]", by value: each level makes its own. */
struct place {
    char text[REGISTRY_PLACE_SIZE];
};
struct place place_member(const struct place *at, const char *member);
struct place place_index(const struct place *at, size_t index);

/* "config/schema_registry.json: entities.jobs.columns[3].type: ..."; `member` may be NULL. Returns false. */
bool load_refuse(struct load *load, const struct place *at, const char *member, const char *fmt, ...) PRINTF_LIKE(4, 5);
/* An object with none but these members (NULL-terminated). */
bool load_is_object(struct load *load, const struct place *at, struct json_object *obj, const char *const *allowed);
/* A text copied into the arena; absent gives NULL (and is refused when `needed`), empty is refused. */
bool load_text(struct load *load, const struct place *at, struct json_object *obj, const char *member, bool needed,
               const char **ret);
bool load_bool(struct load *load, const struct place *at, struct json_object *obj, const char *member, bool fallback,
               bool *ret);
/* A list of distinct texts, NULL-terminated in the arena; absent gives NULL. */
bool load_texts(struct load *load, const struct place *at, struct json_object *obj, const char *member, size_t max,
                const char *const **ret, size_t *ret_count);

/* The member `columns` (or `fields`) of obj; `spare` further columns are left zeroed behind them. */
bool load_columns(struct load *load, const struct place *at, struct json_object *obj, const char *member, size_t spare,
                  int depth, struct column **ret, size_t *ret_count);

#endif
