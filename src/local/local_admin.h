/* local_admin.h - the HTTP routes by which tests look at the local Pub/Sub server and disturb it. Loopback only.
 *
 *   GET  /_local/pubsub                                  numbers of each subscription (pubsub_server_stats)
 *   POST /_local/pubsub/close-streams[?subscription=N]   ends open streams with UNAVAILABLE; {"closed":n}
 *
 * and those of the fault bench (faults_admin.h). */
#ifndef ST_LOCAL_LOCAL_ADMIN_H
#define ST_LOCAL_LOCAL_ADMIN_H

#include "pubsub_server.h"

struct local_admin;
struct faults;

/* Borrows both. */
struct local_admin *local_admin_start(struct pubsub_server *pubsub, struct faults *faults,
                                      struct error *err) MUST_CHECK;
void local_admin_stop(struct local_admin *admin); /* NULL is fine; frees */
uint16_t local_admin_port(const struct local_admin *admin);

#endif
