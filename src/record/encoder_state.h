/* encoder_state.h - the encoder's insides, shared by encoder.c (structure) and encoder_value.c (scalars). */
#ifndef ST_RECORD_ENCODER_STATE_H
#define ST_RECORD_ENCODER_STATE_H

#include "drift.h"
#include "extra.h"
#include "plan.h"
#include "record/page.h"
#include "tokenizer.h"

enum { ENCODER_MAX_FRAMES = 2 * PAGE_MAX_DEPTH + 2 };

/* One step of the way from the record to the value at hand. */
struct frame {
    struct slice name; /* as written, escapes and all; ptr NULL: an element */
    int64_t index;
};

struct twins; /* rows without id: how often each content has been met */

struct record_encoder {
    const struct entity *entity;
    struct arena *arena;
    struct plan_object *plan;
    struct buf prefix; /* bytes that all rows of the fetch share */
    size_t row_number_at, row_hash_at, extra_at, group_date_at, id_at, deleted_at; /* positions */
    const char *tombstone; /* member of this feed's records that tells whether they were deleted; NULL: none */
    int64_t rows;
    struct twins *twins;
    struct drift drift;

    /* The record at hand. */
    struct cursor cursor;
    struct buf *sinks[PLAN_MAX_SINKS]; /* 0 = the caller's row */
    struct buf messages[PLAN_MAX_SINKS];
    struct buf text;    /* a decoded text */
    struct buf scratch; /* a compacted member */
    struct buf path;
    struct extra extra;
    struct frame frames[ENCODER_MAX_FRAMES];
    size_t level;
    uint64_t hash[2];
    struct row_info *info;
    enum { DELETED_UNKNOWN, DELETED_NO, DELETED_YES } deleted;
    bool refused;      /* info->reason is set */
    bool twice;        /* a member is there twice */
    bool deduplicated; /* the text has no such members any more */
};

/* Sets the reason (the first one wins) and returns false. */
bool encoder_refuse(struct record_encoder *encoder, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The way to the value at hand, in encoder->path. `with_index`: "items[3].x", else "items[].x". */
struct slice encoder_path(struct record_encoder *encoder, bool with_index);
/* Keeps a value that fits no column in _extra. */
bool encoder_keep(struct record_encoder *encoder, struct slice literal);

/* A text, number, true or false at the cursor into all its columns. */
bool encode_scalar(struct record_encoder *encoder, const struct plan_value *value, enum token_kind kind);
/* The JSON columns among the value's targets. */
void encode_json_targets(struct record_encoder *encoder, const struct plan_value *value, struct slice literal);

#endif
