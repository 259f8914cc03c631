/* st_base_time.h - where generated history ends: given, remembered in the data folder, or the start of the server. */
#ifndef ST_LOCAL_ST_BASE_TIME_H
#define ST_LOCAL_ST_BASE_TIME_H

#include "st_server.h"

/* Whole seconds. Writes <data_dir>/servicetitan.json when there is none yet. */
bool st_base_time(const struct st_server_options *options, int64_t *ret_us, struct error *err) MUST_CHECK;

#endif
