/* version.h - who answers: the names that the program gives itself towards others, and its answer to GET /health. */
#ifndef ST_BASE_VERSION_H
#define ST_BASE_VERSION_H

#include "base/buf.h"

#define ST_SERVICE_NAME "st-v2-ingestor"
#define ST_VERSION "2.0.0"

/* {"status":"healthy","service":"st-v2-ingestor","version":"2.0.0","timestamp":"2025-10-21T12:00:00.000Z"}, the same for every program
 * that listens. When it is not healthy, `reason` (may be NULL) follows as a member of its own. */
void health_json(struct buf *out, bool healthy, const char *reason);

#endif
