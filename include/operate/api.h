/* api.h - the HTTP API: publishes tasks, tells what became of them, reads the run log. It never ingests.
 *
 * Routes, parameters and who may call what: src/operate/api.c and api_auth.c. Answers are JSON. */
#ifndef ST_OPERATE_API_H
#define ST_OPERATE_API_H

#include "dispatch/services.h"

struct api;

/* Serves on API_BIND and PORT until api_stop. services (Pub/Sub and BigQuery open) is borrowed. Errors: code "config" for settings that
 * cannot hold. */
struct api *api_start(struct services *services, struct error *err) MUST_CHECK;
uint16_t api_port(const struct api *api);
/* No new connections; who waits for a run gets 202 at once, what is under way may end within the grace. Frees. NULL is fine. */
void api_stop(struct api *api);

#endif
