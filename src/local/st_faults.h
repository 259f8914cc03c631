/* st_faults.h - faults on demand: a queue of rules, each for some requests of one method and path, each used up by
 * count.
 *
 * The first rule in the queue that matches a request and still has uses is taken; its effects hold for that request
 * only. */
#ifndef ST_LOCAL_ST_FAULTS_H
#define ST_LOCAL_ST_FAULTS_H

#include "base/buf.h"
#include "base/json.h"

struct st_faults;

enum { ST_MAX_FAULTS = 1000, ST_FAULT_MAX_ROWS = 5000, ST_FAULT_MAX_DELAY_MS = 600000 };

enum st_fault_body { ST_FAULT_JSON, ST_FAULT_HTML, ST_FAULT_EMPTY, ST_FAULT_GARBAGE };

struct st_fault_effects { /* zero: none */
    int status;           /* answer this instead */
    enum st_fault_body body;
    int64_t retry_after_s; /* header of that answer; 0 = none */
    int64_t delay_ms;
    bool cut_before; /* close without a reply */
    bool cut_body;   /* send half of the body (or cut_bytes), then close */
    int64_t cut_bytes;
    int64_t total_delta;    /* added to totalCount */
    bool extra_field;       /* an unknown member in each record */
    bool ignore_filters;    /* time filters have no effect */
    int64_t page_cap;       /* pages are silently no larger */
    int64_t duplicate_rows; /* so many records of the page come twice */
    bool expire_token;      /* 401 as for an expired token */
};

struct st_faults *st_faults_new(void);
void st_faults_free(struct st_faults *faults);
/* Adds a rule: {"method":"GET","path":"/jobs","kind":"status","count":3,"skip":0, …}; see st_faults.c for the kinds. */
bool st_faults_add(struct st_faults *faults, struct json_object *rule, struct error *err) MUST_CHECK;
void st_faults_clear(struct st_faults *faults);
void st_faults_take(struct st_faults *faults, const char *method, const char *path, struct st_fault_effects *ret);
void st_faults_json(struct st_faults *faults, struct buf *out); /* rules with what is left of them */

#endif
