/* backfill_view.h - a backfill for people and for programs: its plan, its progress, and the wait for its end. */
#ifndef ST_CMD_BACKFILL_VIEW_H
#define ST_CMD_BACKFILL_VIEW_H

#include "command.h"
#include "operate/backfill_progress.h"

/* Per entity, and per tenant when there are several: slices, records, requests, minutes at the allowed rate. */
void backfill_print_plan(const struct settings *settings, const struct backfill *backfill);
void backfill_print_plan_json(const struct settings *settings, const struct backfill *backfill);
/* all_slices: each of them, else those that need somebody's eyes. */
void backfill_print_progress(const struct backfill *backfill, const struct backfill_progress *progress,
                             bool all_slices);
void backfill_print_progress_json(const struct backfill *backfill, const struct backfill_progress *progress);
/* A progress line until all slices are final; ret (release its slices) is how it ended. Ctrl-C leaves the backfill running. */
bool backfill_watch(struct services *services, const struct backfill *backfill, struct backfill_progress *ret,
                    struct error *err) MUST_CHECK;

#endif
