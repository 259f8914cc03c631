/* st_base_time.h - where generated history ends: given, remembered in the data folder, or the start of the server;
 * with it what else makes the company: seed, size and length of history. */
#ifndef ST_LOCAL_ST_BASE_TIME_H
#define ST_LOCAL_ST_BASE_TIME_H

#include "st_server.h"

/* Settles base time (whole seconds), seed, jobs and history_years: what is zero is taken from <data_dir>/servicetitan.json, else a
 * default. Writes the file when there is none; what was given and differs from it is an error. */
bool st_base_time(struct st_server_options *options, struct error *err) MUST_CHECK;

#endif
