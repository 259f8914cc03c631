/* health.h - the answer to GET /health, the same for every program that listens. */
#ifndef ST_BASE_HEALTH_H
#define ST_BASE_HEALTH_H

#include "base/buf.h"

/* {"status":"healthy","service":"st-v2-ingestor","version":"2.0.0","timestamp":"2025-10-21T12:00:00.000Z"}; `reason` (may be
 * NULL) follows as a member of its own when it is not healthy. */
void health_json(struct buf *out, bool healthy, const char *reason);

#endif
