/* st_fixture.h - lists of the simulator that come from files: for entities that have no generated model, or in place of one.
 *
 * With `--fixtures DIR`, GET /{module}/v2/tenant/{t}/{resource} answers from DIR/{module}/{resource}.json where there is one: a JSON
 * array of records, the same for all tenants, read again for each request, so that a test edits the source by writing the
 * file. Windows (createdOnOrAfter, createdBefore, modifiedOnOrAfter, modifiedBefore), active, page, pageSize and includeTotal are applied as
 * the API does it; other filters are ignored. The export feed of such a resource shows the same records, in one batch. */
#ifndef ST_LOCAL_ST_FIXTURE_H
#define ST_LOCAL_ST_FIXTURE_H

#include "st_state.h"

enum { ST_FIXTURE_MAX_BYTES = 64 << 20 };

struct st_fixture {
    int64_t tenant;
    bool export;           /* its export feed */
    struct slice resource; /* borrowed from the path */
    char *file;            /* owned */
};

/* The list that the path names, when there is a file for it. */
bool st_fixture_find(const struct st_server *server, const char *path, struct st_fixture *ret);
void st_fixture_release(struct st_fixture *fixture);
void st_fixture_serve(struct st_call *call, const struct st_fixture *fixture);

#endif
