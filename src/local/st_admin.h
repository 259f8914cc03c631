/* st_admin.h - the routes by which tests and demos steer the simulator. JSON in, JSON out; loopback only; no limits, no
 * faults, not counted.
 *
 *   POST   /_admin/edits     {"entity":"jobs"|"all", "count":100,
 * "kinds":["create","edit","deactivate","reactivate","delete","merge"], "seed":1, "tenant":T, "sameInstant":false,
 * "index":N} Edits now. Kinds default to create and edit. With "all", kinds that an entity cannot have are left out.
 *                            Without "tenant": the first one. Answers how many of each kind, firstModified and
 * lastModified. POST   /_admin/stream    the same without count and index, with "perSecond":N: goes on until it is
 * replaced or N is 0. GET    /_admin/stream    {"perSecond":N,"applied":n} POST   /_admin/settings  any of the
 * names that GET shows (st_settings.c) GET    /_admin/count?entity=&tenant=
 * {"generated","created","edited","total","active","inactive","deleted"} GET    /_admin/record?entity=&index=&tenant=
 * the record's visible state as a list shows it GET    /_admin/stats     requests by route and status, tokens, bytes,
 * records, mostInFlight; DELETE sets them to zero */
#ifndef ST_LOCAL_ST_ADMIN_H
#define ST_LOCAL_ST_ADMIN_H

#include "st_journal.h"

/* Settings as JSON, and changed by JSON (nothing is changed when a value is refused). */
void st_settings_json(const struct st_settings *settings, struct buf *out);
bool st_settings_change(struct st_settings *settings, struct json_object *change, struct error *err) MUST_CHECK;

/* Continuous edits. */
struct st_stream_plan {
    struct st_site *site;
    bool entities[ST_ENTITIES];
    bool kinds[ST_EDIT_KINDS];
    double per_second; /* of each entity */
    uint64_t seed;
};
void st_stream_run(struct st_server *server,
                   const struct st_stream_plan *plan); /* replaces the one before; 0 per second ends it */
void st_stream_json(struct st_server *server, struct buf *out);
/* The kinds of a batch that the entity can have; false when none is left. */
bool st_edit_kinds_of(enum st_entity entity, const bool wanted[ST_EDIT_KINDS], bool ret[ST_EDIT_KINDS]);

#endif
