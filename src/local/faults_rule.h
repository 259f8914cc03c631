/* faults_rule.h - one rule of the fault bench, read from JSON. */
#ifndef ST_LOCAL_FAULTS_RULE_H
#define ST_LOCAL_FAULTS_RULE_H

#include "faults.h"

struct fault_match { /* which requests */
    char *pattern;   /* of methods */
    char *path;      /* part of the target; NULL = any */
    enum fault_on on;
    bool effects_only;
};

struct fault_rule {
    int64_t id;
    struct fault_match match;
    const char *kind; /* as it was written */
    int64_t skip, left;
    struct fault fault;
};

/* Unknown members and values are refused. Release it when that fails, too. */
bool fault_rule_parse(struct json_object *json, struct fault_rule *ret, struct error *err) MUST_CHECK;
void fault_rule_release(struct fault_rule *rule);
/* Members "method", "path", "on" and "only" of a rule or a hold. */
bool fault_match_parse(struct json_object *json, struct fault_match *ret, struct error *err) MUST_CHECK;
void fault_match_release(struct fault_match *match);
bool fault_matches(const struct fault_match *match, enum fault_on on, const struct fault_event *event);
/* Only members in the NULL-terminated list. */
bool fault_check_members(struct json_object *json, const char *const *allowed, struct error *err) MUST_CHECK;
bool fault_number(struct json_object *json, const char *name, int64_t fallback, int64_t low, int64_t high, int64_t *ret,
                  struct error *err) MUST_CHECK;
/* "UNAVAILABLE" or 14; false when there is no such code. */
bool fault_grpc_code(struct json_object *value, int *ret);

#endif
