/* grpc_status.c - what a gRPC status means to a caller: class, effect, code and wording, from one table.
 *
 * Pure. RETRY codes are the union of what Google's service configurations retry (facts on Pub/Sub 1); whether the call
 * took effect is not known for any of them, since the status may be made by this side after the request had left.
 * CANCELLED is ours here; a caller that did not cancel turns it into RETRY (servers cancel streams when they
 * rebalance). */
#include <stddef.h>

#include "google/grpc.h"

struct status_row {
    const char *name;
    enum error_class class;
    enum error_effect effect;
};

static const struct status_row rows[] = {
    {"ok", ERROR_NONE, EFFECT_DONE},
    {"cancelled", ERROR_CANCELLED, EFFECT_MAYBE},
    {"unknown", ERROR_RETRY, EFFECT_MAYBE},
    {"invalid_argument", ERROR_PERMANENT, EFFECT_NONE},
    {"deadline_exceeded", ERROR_RETRY, EFFECT_MAYBE},
    {"not_found", ERROR_PERMANENT, EFFECT_NONE},
    {"already_exists", ERROR_PERMANENT, EFFECT_NONE},
    {"permission_denied", ERROR_PERMANENT, EFFECT_NONE},
    {"resource_exhausted", ERROR_THROTTLED, EFFECT_NONE},
    {"failed_precondition", ERROR_PERMANENT, EFFECT_NONE},
    {"aborted", ERROR_RETRY, EFFECT_MAYBE},
    {"out_of_range", ERROR_PERMANENT, EFFECT_NONE},
    {"unimplemented", ERROR_PERMANENT, EFFECT_NONE},
    {"internal", ERROR_RETRY, EFFECT_MAYBE},
    {"unavailable", ERROR_RETRY, EFFECT_MAYBE},
    {"data_loss", ERROR_PERMANENT, EFFECT_NONE},
    {"unauthenticated", ERROR_PERMANENT, EFFECT_NONE},
};

/* A code outside the table is a newer or broken peer's: the specification says to treat it as UNKNOWN. */
static const struct status_row *row_of(int code)
{
    enum { STATUS_UNKNOWN = 2 };
    bool known = code >= 0 && (size_t)code < sizeof rows / sizeof rows[0];
    return &rows[known ? code : STATUS_UNKNOWN];
}

bool grpc_status_error(struct error *err, int code, const char *message, const char *method)
{
    const struct status_row *row = row_of(code);
    const char *verb = row->class == ERROR_PERMANENT ? "cannot" : "could not";
    const char *text = message && *message ? message : "no reason given";
    if (!err)
        return false;
    error_set(err, row->class, row->name, "%s call \"%s\": %s: %s", verb, method[0] == '/' ? method + 1 : method,
              row->name, text);
    err->effect = row->effect;
    err->status = code;
    return false;
}
