/* st_journal.h - edits go through here, so that they survive a restart.
 *
 * A batch of edits is a function of its parameters and of what went before; so the journal holds one line of parameters
 * per batch, and a start plays them again. Without a data folder nothing is kept. Thread-safe. */
#ifndef ST_LOCAL_ST_JOURNAL_H
#define ST_LOCAL_ST_JOURNAL_H

#include "st_state.h"

struct st_journal;

/* Replays <dir>/servicetitan-edits.log into the server's overlays and opens it for more. dir NULL: a journal that keeps
 * nothing. */
struct st_journal *st_journal_open(struct st_server *server, const char *dir, struct error *err) MUST_CHECK;
void st_journal_close(struct st_journal *journal); /* NULL is fine */
bool st_journal_apply(struct st_journal *journal, struct st_site *site, enum st_entity entity,
                      const struct st_edit_batch *batch, struct st_edit_result *ret, struct error *err) MUST_CHECK;

#endif
