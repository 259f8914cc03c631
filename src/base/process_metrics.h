/* process_metrics.h - what the process knows of itself at scrape time: memory, CPU, files, log lines, version. */
#ifndef ST_BASE_PROCESS_METRICS_H
#define ST_BASE_PROCESS_METRICS_H

void process_metrics_collect(void); /* for metrics.c */

#endif
