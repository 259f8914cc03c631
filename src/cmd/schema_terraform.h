/* schema_terraform.h - what init makes, in the form that terraform/ reads. */
#ifndef ST_CMD_SCHEMA_TERRAFORM_H
#define ST_CMD_SCHEMA_TERRAFORM_H

#include "dispatch/settings.h"

/* Appends one JSON object: datasets, tables and views of the registry, and the policies of the Pub/Sub queues.
 *
 * It holds for every project: names of project and datasets are holes that terraform's templatefile fills (project, raw,
 * stage, mart, logs), and names of topics and subscriptions are not in it. */
void schema_terraform(struct buf *out, const struct settings *settings);

#endif
