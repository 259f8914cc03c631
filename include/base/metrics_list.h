/* clang-format off */ /* One metric a line reads as a table. */
/* metrics_list.h - every metric of the program, once: id, kind, unit, name, labels, help. Adding one: a line here, and a call of
 * metrics_add where it happens (or of metrics_set in a collector).
 *
 * Names follow Prometheus: base units (seconds, bytes), _total on counters. COUNTER and HISTOGRAM count what happened in this process
 * since its start; GAUGE is what is so at the moment of the scrape. Unit ONE is as it is; MILLI and MICRO are kept in whole
 * thousandths and millionths of the base unit (milliseconds) and written with a decimal point. Label values are few and known: no run, task or message ids. */
#ifndef ST_BASE_METRICS_LIST_H
#define ST_BASE_METRICS_LIST_H

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };
enum metric_unit { METRIC_ONE, METRIC_MILLI, METRIC_MICRO };

#define METRICS(X) \
    /* Messages */ \
    X(MESSAGES_RECEIVED, COUNTER, ONE, "st_ingestor_messages_received_total", "lane", "Messages that Pub/Sub handed to this worker, redeliveries included.") \
    X(MESSAGES_EXPANDED, COUNTER, ONE, "st_ingestor_messages_expanded_total", "lane", "Messages that stood for several entities or tenants and became one message each.") \
    X(MESSAGES_PUBLISHED, COUNTER, ONE, "st_ingestor_messages_published_total", "topic", "Messages published, dead letters included.") \
    X(VERDICTS, COUNTER, ONE, "st_ingestor_verdicts_total", "lane,verdict", "Verdicts on messages: done (acknowledged), defer (kept until the source is back), retry (given back), reject (dead-lettered).") \
    X(QUEUE_MESSAGES, GAUGE, ONE, "st_ingestor_queue_messages", "lane", "Messages held by this worker that wait for a slot, a twin or a breaker.") \
    X(SLOTS, GAUGE, ONE, "st_ingestor_slots", "", "Runs that this worker does at once.") \
    X(SLOTS_BUSY, GAUGE, ONE, "st_ingestor_slots_busy", "", "Slots that work on a message.") \
    X(STREAM_OPEN, GAUGE, ONE, "st_ingestor_pubsub_stream_open", "lane", "1 while the lane's stream to Pub/Sub is open and answers.") \
    X(STREAM_REOPENINGS, COUNTER, ONE, "st_ingestor_pubsub_stream_reopenings_total", "lane", "Streams opened again after their end; some per hour are normal.") \
    X(LEASE_EXTENSIONS, COUNTER, ONE, "st_ingestor_lease_extensions_total", "lane", "Extensions of the leases of messages in work.") \
    X(LEASE_LOSSES, COUNTER, ONE, "st_ingestor_lease_losses_total", "lane", "Leases that ended before their message was settled; it comes again.") \
    /* Runs */ \
    X(RUNS, COUNTER, ONE, "st_ingestor_runs_total", "entity,mode,result", "Runs ended: success, failed, skipped (the task was done already), cancelled (shutdown, lease lost).") \
    X(RUN_DURATION, HISTOGRAM, MILLI, "st_ingestor_run_duration_seconds", "entity,mode", "Duration of successful runs, from their start to the watermark.") \
    X(RUNS_RESUMED, COUNTER, ONE, "st_ingestor_runs_resumed_total", "entity,mode", "Runs that went on where an earlier attempt at their task had ended.") \
    X(WINDOWS_RESUMED, COUNTER, ONE, "st_ingestor_windows_resumed_total", "entity,result", "Windows that earlier attempts of resumed runs had read: kept, or reread (their rows are not all in the stage any more, or are about to expire).") \
    X(RECORDS_READ, COUNTER, ONE, "st_ingestor_records_read_total", "entity", "Records taken from accepted fetches; always records staged plus records quarantined.") \
    X(RECORDS_STAGED, COUNTER, ONE, "st_ingestor_records_staged_total", "entity", "Records that became rows of the stage.") \
    X(RECORDS_QUARANTINED, COUNTER, ONE, "st_ingestor_records_quarantined_total", "entity", "Records that broke their schema, or whose rows BigQuery refused.") \
    X(DRIFT_RECORDS, COUNTER, ONE, "st_ingestor_schema_drift_records_total", "entity,kind", "Records with a member that the schema does not know or expects otherwise; its value is kept in _extra.") \
    X(ROWS_CHANGED, COUNTER, ONE, "st_ingestor_rows_changed_total", "entity", "Rows of the target that merges inserted, updated or deleted (this worker's runs' share).") \
    X(WATERMARK, GAUGE, MILLI, "st_ingestor_watermark_timestamp_seconds", "tenant,entity", "Up to when an entity is complete, as far as this worker has seen: take the maximum over workers.") \
    X(WATERMARK_LAG, GAUGE, MILLI, "st_ingestor_watermark_lag_seconds", "tenant,entity", "Now minus the watermark: take the minimum over workers.") \
    /* ServiceTitan */ \
    X(ST_REQUESTS, COUNTER, ONE, "st_ingestor_servicetitan_requests_total", "tenant,endpoint,code", "Requests by HTTP status; code error: no (whole) reply came. Endpoint: list or token.") \
    X(ST_REQUEST_DURATION, HISTOGRAM, MILLI, "st_ingestor_servicetitan_request_duration_seconds", "endpoint", "From sending a request to the last byte of its reply.") \
    X(ST_BYTES, COUNTER, ONE, "st_ingestor_servicetitan_received_bytes_total", "tenant", "Bytes of reply bodies, after decompression.") \
    X(ST_RETRIES, COUNTER, ONE, "st_ingestor_servicetitan_retries_total", "tenant", "Requests and fetches made again after a failure.") \
    X(ST_THROTTLED, COUNTER, ONE, "st_ingestor_servicetitan_throttled_total", "tenant", "Requests answered with 429: the rate is halved and grows back.") \
    X(ST_LIMITER_WAIT, COUNTER, MILLI, "st_ingestor_servicetitan_limiter_wait_seconds_total", "tenant", "Time that requests waited for the rate limiter.") \
    X(ST_RATE, GAUGE, MILLI, "st_ingestor_servicetitan_rate_limit_requests_per_second", "tenant", "The limiter's present rate: the configured one, or less after 429s.") \
    X(ST_BREAKER, GAUGE, ONE, "st_ingestor_servicetitan_breaker_state", "tenant", "Circuit breaker: 0 closed, 1 half open, 2 open.") \
    X(ST_BREAKER_CHANGES, COUNTER, ONE, "st_ingestor_servicetitan_breaker_transitions_total", "tenant,endpoint,state", "Changes of a circuit breaker's state: open, half_open, closed. Endpoint: list or token.") \
    /* BigQuery and Pub/Sub calls */ \
    X(BQ_JOBS, COUNTER, ONE, "st_ingestor_bigquery_jobs_total", "step,result", "Query jobs asked for: inserted, exists (another worker was first), failed.") \
    X(BQ_BYTES_BILLED, COUNTER, ONE, "st_ingestor_bigquery_billed_bytes_total", "step", "Bytes billed for query jobs that this process inserted and saw end.") \
    X(BQ_REQUESTS, COUNTER, ONE, "st_ingestor_bigquery_requests_total", "code", "REST requests by HTTP status; code error: no (whole) reply came.") \
    X(BQ_APPEND_REQUESTS, COUNTER, ONE, "st_ingestor_bigquery_append_requests_total", "table,result", "AppendRows requests answered: ok, refused (rows of it broke the table's schema), failed.") \
    X(BQ_APPEND_ROWS, COUNTER, ONE, "st_ingestor_bigquery_append_rows_total", "table", "Rows acknowledged by the Storage Write API.") \
    X(BQ_APPEND_BYTES, COUNTER, ONE, "st_ingestor_bigquery_append_bytes_total", "table", "Bytes of these rows.") \
    X(BQ_APPEND_IN_FLIGHT, GAUGE, ONE, "st_ingestor_bigquery_append_in_flight_bytes", "", "Bytes of rows gathered or sent and not yet acknowledged.") \
    X(RETRIES, COUNTER, ONE, "st_ingestor_api_retries_total", "api", "Calls made again after a failure: servicetitan, bigquery, storage_write, pubsub, google_auth.") \
    /* The program itself */ \
    X(HTTP_REQUESTS, COUNTER, ONE, "st_ingestor_http_requests_total", "route,code", "Requests to this program's own HTTP server, by route and status.") \
    X(API_WAITING, GAUGE, ONE, "st_ingestor_api_waiting_requests", "", "Requests to the HTTP API that publish, or wait for their runs; 503 beyond 256.") \
    X(LOG_LINES, COUNTER, ONE, "st_ingestor_log_lines_total", "severity", "Log lines written.") \
    X(LOG_LEFT_OUT, COUNTER, ONE, "st_ingestor_log_lines_left_out_total", "", "Repeated log lines left out in a storm; the next line of the place says how many.") \
    X(METRICS_DROPPED, COUNTER, ONE, "st_ingestor_metrics_dropped_total", "", "Updates dropped because there were too many series: 0 in a healthy program.") \
    X(BUILD_INFO, GAUGE, ONE, "st_ingestor_build_info", "version", "Always 1; the label says which version runs.") \
    X(PROCESS_CPU, COUNTER, MICRO, "process_cpu_seconds_total", "", "User and system CPU time.") \
    X(PROCESS_RSS, GAUGE, ONE, "process_resident_memory_bytes", "", "Resident memory.") \
    X(PROCESS_VIRTUAL, GAUGE, ONE, "process_virtual_memory_bytes", "", "Virtual memory.") \
    X(PROCESS_FDS, GAUGE, ONE, "process_open_fds", "", "Open file descriptors.") \
    X(PROCESS_MAX_FDS, GAUGE, ONE, "process_max_fds", "", "Most file descriptors that may be open.") \
    X(PROCESS_START, GAUGE, MILLI, "process_start_time_seconds", "", "Start of the process, Unix time.")

#endif
