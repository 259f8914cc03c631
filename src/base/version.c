#include "base/version.h"

#include "base/clock.h"
#include "base/timestamp.h"

void health_json(struct buf *out, bool healthy, const char *reason)
{
    char now[TIMESTAMP_TEXT_SIZE];
    buf_printf(out, "{\"status\":\"%s\",\"service\":\"%s\",\"version\":\"%s\",\"timestamp\":\"%s\"",
               healthy ? "healthy" : "unhealthy", ST_SERVICE_NAME, ST_VERSION, timestamp_text(now, clock_wall_us(), 3));
    if (!healthy && reason) {
        buf_append_str(out, ",\"reason\":");
        buf_append_json_string(out, slice_str(reason));
    }
    buf_append_char(out, '}');
}
