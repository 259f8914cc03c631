/* faults_admin.h - the routes of the fault bench. JSON in, JSON out; loopback only. The same routes, over the same
 * bench, are on every HTTP port of st-local ($ST_LOCAL_ADMIN_URL, $ST_LOCAL_PUBSUB_ADMIN_URL,
 * $BIGQUERY_EMULATOR_HOST); none of them is counted or disturbed. GET /_admin is this list as text.
 *
 *   POST   /_admin/faults     a rule, or {"faults":[rules]} -> {"ids":[...]}
 *   GET    /_admin/faults     what is armed and what has fired
 *   DELETE /_admin/faults     none any more; requests left without an answer are cut
 *   GET    /_admin/requests   counters per method, total number; ?since=n lists the requests after number n
 *   DELETE /_admin/requests   all counters to zero: the next request is number 1
 *   POST   /_admin/hold       stops one request: {"number":k} or {"method":pattern,"nth":k}, "where":"before"|"after"
 *   GET    /_admin/hold       ?timeoutMs=n waits until that request has arrived
 *   DELETE /_admin/hold       lets it go on; ?cut=true cuts it
 *   POST   /_admin/hazards    switches, by the names that GET shows; DELETE sets them back
 *   POST   /_admin/streams    {"method":pattern,"act":"close"|"silence","code":"UNAVAILABLE"} all open streams, now */
#ifndef ST_LOCAL_FAULTS_ADMIN_H
#define ST_LOCAL_FAULTS_ADMIN_H

#include "faults.h"
#include "net/http_server.h"

/* True: the request was for the bench, and is answered. False: it is the caller's. */
bool faults_admin_serve(struct faults *faults, struct http_exchange *x);

#endif
