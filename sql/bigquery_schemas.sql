-- The datasets, tables and views that st-ingestor works with: what `st-ingestor init` makes in BigQuery.
-- Generated from config/schema_registry.json by `make docs`; changes by hand are lost.
--
--     bq query --use_legacy_sql=false < sql/bigquery_schemas.sql
--
-- Project: no name carries one, so that BigQuery takes the call's own: bq --project_id=PROJECT query ...
-- Location: datasets are made where the script runs, in the US unless told: bq --location=EU query ...
-- (An OPTIONS(location=...) would have to name that same place in each CREATE SCHEMA, or the script fails.)
-- Names: with other BQ_DATASET_... settings, `st-ingestor schema ddl --no-project` prints the script for them.
-- Safe to repeat: tables and their rows stay, views are replaced. Columns that came with a later version are
-- added by `st-ingestor init`.

-- dataset st_raw_v2
CREATE SCHEMA IF NOT EXISTS `st_raw_v2` OPTIONS(description='ServiceTitan records, one row per key');

-- dataset st_stage_v2
CREATE SCHEMA IF NOT EXISTS `st_stage_v2` OPTIONS(description='Rows of unfinished runs, and flattened views');

-- dataset st_mart_v2
CREATE SCHEMA IF NOT EXISTS `st_mart_v2` OPTIONS(description='Tables and views for analysts');

-- dataset st_logs_v2
CREATE SCHEMA IF NOT EXISTS `st_logs_v2` OPTIONS(description='Runs, sync state and other records of operation');

-- table st_logs_v2.ingestion_log_events
CREATE TABLE IF NOT EXISTS `st_logs_v2.ingestion_log_events` (
  `event_time` TIMESTAMP DEFAULT CURRENT_TIMESTAMP() OPTIONS(description='When the row arrived, by the server\'s clock'),
  `run_id` STRING NOT NULL OPTIONS(description='The run, a UUID'),
  `task_id` STRING OPTIONS(description='The task that the run is an attempt at'),
  `entity_type` STRING OPTIONS(description='Entity: jobs, invoices, ...'),
  `tenant_id` INT64 OPTIONS(description='ServiceTitan tenant'),
  `mode` STRING OPTIONS(description='incremental, full, backfill or reconcile'),
  `status` STRING NOT NULL OPTIONS(description='running, success, failed, or skipped: the task was done already'),
  `start_time` TIMESTAMP OPTIONS(description='Start of the run'),
  `end_time` TIMESTAMP OPTIONS(description='End of the run; NULL while it runs'),
  `duration_ms` INT64 OPTIONS(description='End minus start'),
  `frame_to` TIMESTAMP OPTIONS(description='Upper end of what the task reads'),
  `watermark` TIMESTAMP OPTIONS(description='Watermark that the run started from or reached'),
  `records_fetched` INT64 OPTIONS(description='Records read from the API'),
  `records_inserted` INT64 OPTIONS(description='Rows staged and merged'),
  `records_quarantined` INT64 OPTIONS(description='Records that broke their schema'),
  `rows_changed` INT64 OPTIONS(description='Rows of the target that changed, this run\'s share'),
  `requests` INT64 OPTIONS(description='API requests made'),
  `bytes_billed` INT64 OPTIONS(description='Bytes that BigQuery billed, this run\'s share'),
  `delivery_attempt` INT64 OPTIONS(description='Attempt of the message'),
  `message_id` STRING OPTIONS(description='Pub/Sub message id'),
  `worker` STRING OPTIONS(description='Worker process'),
  `error_message` STRING OPTIONS(description='Why the run failed'),
  `error_class` STRING OPTIONS(description='retry, throttled, permanent or cancelled'),
  `error_code` STRING OPTIONS(description='Short code of the error'),
  `verdict` STRING OPTIONS(description='What became of the message: done, retry (it comes again) or reject (dead letter)')
)
PARTITION BY DATE(`event_time`)
CLUSTER BY `entity_type`, `tenant_id`, `run_id`
OPTIONS(description='Runs: one row at the start, one at the end', partition_expiration_days=365);

-- table st_logs_v2.sync_state_events
CREATE TABLE IF NOT EXISTS `st_logs_v2.sync_state_events` (
  `event_time` TIMESTAMP DEFAULT CURRENT_TIMESTAMP() OPTIONS(description='When the row arrived, by the server\'s clock'),
  `entity_type` STRING NOT NULL OPTIONS(description='Entity'),
  `tenant_id` INT64 NOT NULL OPTIONS(description='ServiceTitan tenant'),
  `run_id` STRING OPTIONS(description='Run that moved the watermark'),
  `mode` STRING OPTIONS(description='Mode of that run'),
  `kind` STRING NOT NULL OPTIONS(description='advance, or reset: starts afresh from its own value'),
  `last_sync_time` TIMESTAMP OPTIONS(description='The watermark: complete up to here'),
  `records_processed` INT64 OPTIONS(description='Records of that run'),
  `updated_at` TIMESTAMP OPTIONS(description='When, by the worker\'s clock')
)
PARTITION BY DATE(`event_time`)
CLUSTER BY `tenant_id`, `entity_type`
OPTIONS(description='Watermarks: every advance and every reset; never expires');

-- table st_logs_v2.staged_run_events
CREATE TABLE IF NOT EXISTS `st_logs_v2.staged_run_events` (
  `event_time` TIMESTAMP DEFAULT CURRENT_TIMESTAMP() OPTIONS(description='When the row arrived, by the server\'s clock'),
  `run_id` STRING NOT NULL OPTIONS(description='The run'),
  `task_id` STRING OPTIONS(description='Its task'),
  `target` STRING NOT NULL OPTIONS(description='Target table, without dataset'),
  `tenant_id` INT64 OPTIONS(description='ServiceTitan tenant'),
  `lane` STRING NOT NULL OPTIONS(description='live or backfill'),
  `row_count` INT64 OPTIONS(description='Rows of the accepted fetches'),
  `byte_count` INT64 OPTIONS(description='Their bytes'),
  `staged_min` TIMESTAMP OPTIONS(description='Earliest _staged_at of these rows'),
  `staged_max` TIMESTAMP OPTIONS(description='Latest _staged_at of these rows'),
  `announced_at` TIMESTAMP OPTIONS(description='When, by the worker\'s clock'),
  `fetches` ARRAY<STRUCT<`first_fetch` INT64, `last_fetch` INT64, `run_id` STRING>> OPTIONS(description='Accepted fetches, as ranges'),
  `full_groups` BOOL NOT NULL OPTIONS(description='Every group of rows without identity in it was read whole'),
  `withdrawn` BOOL NOT NULL OPTIONS(description='Rejected: never merge it')
)
PARTITION BY DATE(`event_time`)
CLUSTER BY `target`, `run_id`
OPTIONS(description='Runs whose fetches are verified in the stage and wait to be merged', partition_expiration_days=365);

-- table st_logs_v2.target_change_events
CREATE TABLE IF NOT EXISTS `st_logs_v2.target_change_events` (
  `event_time` TIMESTAMP DEFAULT CURRENT_TIMESTAMP() OPTIONS(description='When the row arrived, by the server\'s clock'),
  `target` STRING NOT NULL OPTIONS(description='Target table, without dataset'),
  `change_number` INT64 NOT NULL OPTIONS(description='Number of the change; job st_<dataset>_<target>_<number>'),
  `job_id` STRING OPTIONS(description='The job'),
  `state` STRING NOT NULL OPTIONS(description='success or failed'),
  `error_code` STRING OPTIONS(description='Reason of the failure'),
  `error_message` STRING OPTIONS(description='Text of the failure'),
  `started_at` TIMESTAMP OPTIONS(description='Start of the job'),
  `ended_at` TIMESTAMP OPTIONS(description='End of the job'),
  `rows_inserted` INT64 OPTIONS(description='Rows inserted'),
  `rows_updated` INT64 OPTIONS(description='Rows updated'),
  `rows_deleted` INT64 OPTIONS(description='Rows deleted'),
  `bytes_billed` INT64 OPTIONS(description='Bytes billed'),
  `run_ids` ARRAY<STRING> OPTIONS(description='Runs that the change merged; none when it merged a part of a run\'s rows')
)
PARTITION BY DATE(`event_time`)
CLUSTER BY `target`, `change_number`
OPTIONS(description='Changes of each target that have ended; outlives BigQuery\'s own job history; never expires');

-- table st_logs_v2.checkpoint_events
CREATE TABLE IF NOT EXISTS `st_logs_v2.checkpoint_events` (
  `event_time` TIMESTAMP DEFAULT CURRENT_TIMESTAMP() OPTIONS(description='When the row arrived, by the server\'s clock'),
  `task_id` STRING NOT NULL OPTIONS(description='The task'),
  `run_id` STRING NOT NULL OPTIONS(description='The run that wrote this'),
  `kind` STRING NOT NULL OPTIONS(description='frame (once per task) or fetch (one accepted fetch)'),
  `entity_type` STRING OPTIONS(description='Entity'),
  `tenant_id` INT64 OPTIONS(description='ServiceTitan tenant'),
  `mode` STRING OPTIONS(description='Mode'),
  `checkpoint_time` TIMESTAMP OPTIONS(description='When, by the worker\'s clock'),
  `frame_to` TIMESTAMP OPTIONS(description='Frame: upper end of what the task reads'),
  `watermark` TIMESTAMP OPTIONS(description='Frame: watermark candidate'),
  `column_name` STRING OPTIONS(description='Fetch: time column of the window; NULL = the records without a time'),
  `window_from` TIMESTAMP OPTIONS(description='Fetch: from; NULL = no lower bound'),
  `window_to` TIMESTAMP OPTIONS(description='Fetch: to, exclusive; NULL = no upper bound'),
  `fetch_id` INT64 OPTIONS(description='Fetch: its number in the run'),
  `row_count` INT64 OPTIONS(description='Fetch: rows'),
  `staged_at` TIMESTAMP OPTIONS(description='Fetch: none of its rows was staged before')
)
PARTITION BY DATE(`event_time`)
CLUSTER BY `task_id`, `run_id`
OPTIONS(description='Checkpoints: the frame of a task and its accepted fetches', partition_expiration_days=365);

-- table st_logs_v2.schema_drift
CREATE TABLE IF NOT EXISTS `st_logs_v2.schema_drift` (
  `event_time` TIMESTAMP DEFAULT CURRENT_TIMESTAMP() OPTIONS(description='When the row arrived, by the server\'s clock'),
  `run_id` STRING NOT NULL OPTIONS(description='The run that saw it'),
  `entity_type` STRING NOT NULL OPTIONS(description='Entity'),
  `tenant_id` INT64 OPTIONS(description='ServiceTitan tenant'),
  `field` STRING NOT NULL OPTIONS(description='Path of the field'),
  `kind` STRING NOT NULL OPTIONS(description='unknown_field, type, enum_value, ...'),
  `occurrences` INT64 OPTIONS(description='How often in that run'),
  `sample` STRING OPTIONS(description='One value, cut'),
  `seen_at` TIMESTAMP OPTIONS(description='When, by the worker\'s clock')
)
PARTITION BY DATE(`event_time`)
CLUSTER BY `entity_type`, `field`
OPTIONS(description='What differed from the registry', partition_expiration_days=365);

-- table st_logs_v2.quarantine
CREATE TABLE IF NOT EXISTS `st_logs_v2.quarantine` (
  `event_time` TIMESTAMP DEFAULT CURRENT_TIMESTAMP() OPTIONS(description='When the row arrived, by the server\'s clock'),
  `run_id` STRING NOT NULL OPTIONS(description='The run that met it'),
  `entity_type` STRING NOT NULL OPTIONS(description='Entity'),
  `tenant_id` INT64 OPTIONS(description='ServiceTitan tenant'),
  `fetch_id` INT64 OPTIONS(description='Fetch within the run'),
  `record_id` INT64 OPTIONS(description='The record\'s id, where it could be read'),
  `reason` STRING NOT NULL OPTIONS(description='Why it was refused'),
  `payload` STRING OPTIONS(description='The record as it came'),
  `payload_encoding` STRING NOT NULL OPTIONS(description='utf8, or base64 where the bytes are not UTF-8'),
  `payload_bytes` INT64 NOT NULL OPTIONS(description='Its whole length; a payload too long for a row is cut'),
  `seen_at` TIMESTAMP OPTIONS(description='When, by the worker\'s clock')
)
PARTITION BY DATE(`event_time`)
CLUSTER BY `entity_type`, `run_id`
OPTIONS(description='Records that broke their schema, with their payload', partition_expiration_days=365);

-- table st_logs_v2.reconciliation
CREATE TABLE IF NOT EXISTS `st_logs_v2.reconciliation` (
  `event_time` TIMESTAMP DEFAULT CURRENT_TIMESTAMP() OPTIONS(description='When the row arrived, by the server\'s clock'),
  `run_id` STRING NOT NULL OPTIONS(description='The reconciling run'),
  `entity_type` STRING NOT NULL OPTIONS(description='Entity'),
  `tenant_id` INT64 NOT NULL OPTIONS(description='ServiceTitan tenant'),
  `window_from` TIMESTAMP OPTIONS(description='From'),
  `window_to` TIMESTAMP OPTIONS(description='To, exclusive'),
  `source_count` INT64 OPTIONS(description='Records at the source'),
  `warehouse_count` INT64 OPTIONS(description='Live rows in the warehouse'),
  `missing_count` INT64 OPTIONS(description='At the source only'),
  `surplus_count` INT64 OPTIONS(description='In the warehouse only'),
  `different_count` INT64 OPTIONS(description='In both, with other content'),
  `state` STRING OPTIONS(description='equal, different or repaired'),
  `checked_at` TIMESTAMP OPTIONS(description='When')
)
PARTITION BY DATE(`event_time`)
CLUSTER BY `entity_type`, `tenant_id`
OPTIONS(description='Comparisons of source and warehouse', partition_expiration_days=365);

-- table st_logs_v2.dead_letter_audit
CREATE TABLE IF NOT EXISTS `st_logs_v2.dead_letter_audit` (
  `event_time` TIMESTAMP DEFAULT CURRENT_TIMESTAMP() OPTIONS(description='When the row arrived, by the server\'s clock'),
  `action` STRING NOT NULL OPTIONS(description='replayed or discarded'),
  `message_id` STRING OPTIONS(description='Message id on the dead-letter topic'),
  `original_message_id` STRING OPTIONS(description='Message id on its lane'),
  `new_message_id` STRING OPTIONS(description='Replayed: message id of the new message'),
  `task_id` STRING OPTIONS(description='Task'),
  `run_id` STRING OPTIONS(description='Last run'),
  `entity_type` STRING OPTIONS(description='Entity'),
  `tenant_id` INT64 OPTIONS(description='ServiceTitan tenant'),
  `mode` STRING OPTIONS(description='Mode'),
  `reason` STRING OPTIONS(description='Why it was dead-lettered'),
  `error_class` STRING OPTIONS(description='Class of the error'),
  `error_code` STRING OPTIONS(description='Short code of the error'),
  `delivery_attempt` INT64 OPTIONS(description='Attempts before'),
  `replays` INT64 OPTIONS(description='How often it had been replayed before'),
  `actor` STRING OPTIONS(description='Who did it'),
  `payload` STRING OPTIONS(description='The message\'s data')
)
PARTITION BY DATE(`event_time`)
CLUSTER BY `action`, `entity_type`
OPTIONS(description='What became of dead letters', partition_expiration_days=365);

-- table st_logs_v2.backfill_events
CREATE TABLE IF NOT EXISTS `st_logs_v2.backfill_events` (
  `event_time` TIMESTAMP DEFAULT CURRENT_TIMESTAMP() OPTIONS(description='When the row arrived, by the server\'s clock'),
  `backfill_id` STRING NOT NULL OPTIONS(description='The backfill'),
  `kind` STRING NOT NULL OPTIONS(description='slice (planned), head (the plan is complete), published (a slice\'s message), retry (a slice is to be published again)'),
  `slice_number` INT64 NOT NULL OPTIONS(description='Slice, from 1; head: how many there are'),
  `entity_type` STRING OPTIONS(description='Slice: entity'),
  `tenant_id` INT64 OPTIONS(description='Slice: ServiceTitan tenant'),
  `window_from` TIMESTAMP OPTIONS(description='From, of createdOn'),
  `window_to` TIMESTAMP OPTIONS(description='To, exclusive'),
  `records_expected` INT64 OPTIONS(description='Records expected, by the source\'s counts'),
  `requests_expected` INT64 OPTIONS(description='API requests expected'),
  `task_id` STRING OPTIONS(description='Slice: its task'),
  `message_id` STRING OPTIONS(description='Published: Pub/Sub message id'),
  `plan_key` STRING OPTIONS(description='Head: what was asked for; the same command finds its plan by it'),
  `entities` STRING OPTIONS(description='Head: the entities'),
  `requested_by` STRING OPTIONS(description='Head: who asked')
)
PARTITION BY DATE(`event_time`)
CLUSTER BY `backfill_id`, `kind`
OPTIONS(description='Backfills: their plans, and what was published of them', partition_expiration_days=365);

-- table st_logs_v2.dispatch_events
CREATE TABLE IF NOT EXISTS `st_logs_v2.dispatch_events` (
  `event_time` TIMESTAMP DEFAULT CURRENT_TIMESTAMP() OPTIONS(description='When the row arrived, by the server\'s clock'),
  `entity_type` STRING NOT NULL OPTIONS(description='Entity'),
  `mode` STRING OPTIONS(description='Mode of the message'),
  `schedule` STRING OPTIONS(description='The schedule that was served'),
  `slot_time` TIMESTAMP OPTIONS(description='Its newest slot by then'),
  `dispatched_at` TIMESTAMP NOT NULL OPTIONS(description='The time for which it was found due'),
  `task_id` STRING OPTIONS(description='Task'),
  `message_id` STRING OPTIONS(description='Pub/Sub message id')
)
PARTITION BY DATE(`event_time`)
CLUSTER BY `entity_type`
OPTIONS(description='What dispatch --due published', partition_expiration_days=365);

-- view st_logs_v2.ingestion_logs
CREATE OR REPLACE VIEW `st_logs_v2.ingestion_logs`
OPTIONS(description='Runs, one row each: its end where it has ended')
AS SELECT run_id, task_id, entity_type, tenant_id, mode, status, start_time, end_time, duration_ms, records_fetched,
  records_inserted, records_quarantined, rows_changed, requests, bytes_billed, delivery_attempt, frame_to, watermark,
  message_id, worker, error_message, error_class, error_code, verdict, event_time
FROM `st_logs_v2.ingestion_log_events`
WHERE run_id IS NOT NULL AND status != 'skipped'
QUALIFY ROW_NUMBER() OVER (PARTITION BY run_id ORDER BY IF(status = 'running', 1, 0), event_time DESC) = 1;

-- view st_logs_v2.sync_state
CREATE OR REPLACE VIEW `st_logs_v2.sync_state`
OPTIONS(description='The watermark of each tenant and entity')
AS SELECT entity_type, tenant_id, last_sync_time, records_processed, updated_at, run_id, mode
FROM (
  SELECT entity_type, tenant_id, last_sync_time, records_processed, updated_at, run_id, mode, event_time,
    MAX(IF(kind = 'reset', event_time, NULL)) OVER (PARTITION BY tenant_id, entity_type) AS reset_time
  FROM `st_logs_v2.sync_state_events`
)
WHERE reset_time IS NULL OR event_time >= reset_time
QUALIFY ROW_NUMBER() OVER (PARTITION BY tenant_id, entity_type ORDER BY last_sync_time DESC, event_time DESC) = 1;

-- view st_logs_v2.staged_runs
CREATE OR REPLACE VIEW `st_logs_v2.staged_runs`
OPTIONS(description='Announced runs, one row each; a withdrawal holds for good')
AS SELECT run_id, task_id, target, tenant_id, lane, row_count, byte_count, staged_min, staged_max, announced_at, fetches,
  full_groups, withdrawn, event_time
FROM `st_logs_v2.staged_run_events`
WHERE run_id IS NOT NULL
QUALIFY ROW_NUMBER() OVER (PARTITION BY target, run_id ORDER BY IF(withdrawn, 0, 1), event_time DESC) = 1;

-- view st_logs_v2.target_changes
CREATE OR REPLACE VIEW `st_logs_v2.target_changes`
OPTIONS(description='Changes of each target, one row each')
AS SELECT target, change_number, job_id, state, error_code, error_message, started_at, ended_at, rows_inserted,
  rows_updated, rows_deleted, bytes_billed, run_ids, event_time
FROM `st_logs_v2.target_change_events`
WHERE target IS NOT NULL
QUALIFY ROW_NUMBER() OVER (PARTITION BY target, change_number ORDER BY event_time) = 1;

-- view st_logs_v2.checkpoints
CREATE OR REPLACE VIEW `st_logs_v2.checkpoints`
OPTIONS(description='The frame of each task and its accepted fetches')
AS SELECT task_id, run_id, kind, entity_type, tenant_id, mode, checkpoint_time, frame_to, watermark, column_name,
  window_from, window_to, fetch_id, row_count, staged_at, event_time
FROM `st_logs_v2.checkpoint_events`
WHERE task_id IS NOT NULL
QUALIFY ROW_NUMBER() OVER (PARTITION BY tenant_id, entity_type, mode, task_id, kind,
  IF(kind = 'frame', '', run_id), IF(kind = 'frame', 0, fetch_id) ORDER BY event_time, run_id) = 1;

-- view st_logs_v2.backfills
CREATE OR REPLACE VIEW `st_logs_v2.backfills`
OPTIONS(description='Backfills whose plan is complete, one row each')
AS SELECT backfill_id, entities, window_from, window_to, slice_number AS slices, records_expected, requests_expected,
  plan_key, requested_by, event_time AS created_at
FROM `st_logs_v2.backfill_events`
WHERE kind = 'head'
QUALIFY ROW_NUMBER() OVER (PARTITION BY backfill_id ORDER BY event_time) = 1;

-- view st_logs_v2.backfill_slices
CREATE OR REPLACE VIEW `st_logs_v2.backfill_slices`
OPTIONS(description='Slices of all backfills, one row each')
AS SELECT backfill_id, slice_number, entity_type, tenant_id, window_from, window_to, records_expected, requests_expected,
  task_id, requested_at, IF(published_at >= requested_at, published_at, NULL) AS published_at,
  IF(published_at >= requested_at, message_id, NULL) AS message_id, retries
FROM (
  SELECT backfill_id, slice_number, MAX(entity_type) AS entity_type, MAX(tenant_id) AS tenant_id,
    MAX(window_from) AS window_from, MAX(window_to) AS window_to, MAX(records_expected) AS records_expected,
    MAX(requests_expected) AS requests_expected, MAX(task_id) AS task_id,
    MAX(IF(kind IN ('slice', 'retry'), event_time, NULL)) AS requested_at,
    MAX(IF(kind = 'published', event_time, NULL)) AS published_at,
    ARRAY_AGG(message_id IGNORE NULLS ORDER BY event_time DESC LIMIT 1)[SAFE_OFFSET(0)] AS message_id,
    COUNTIF(kind = 'retry') AS retries
  FROM `st_logs_v2.backfill_events`
  WHERE kind != 'head'
  GROUP BY backfill_id, slice_number
)
WHERE task_id IS NOT NULL;

-- view st_logs_v2.dispatches
CREATE OR REPLACE VIEW `st_logs_v2.dispatches`
OPTIONS(description='The newest dispatch of each entity by its schedule')
AS SELECT entity_type, mode, schedule, slot_time, dispatched_at, task_id, message_id
FROM `st_logs_v2.dispatch_events`
WHERE entity_type IS NOT NULL
QUALIFY ROW_NUMBER() OVER (PARTITION BY entity_type ORDER BY event_time DESC) = 1;

-- table st_raw_v2.raw_jobs
CREATE TABLE IF NOT EXISTS `st_raw_v2.raw_jobs` (
  `id` INT64 NOT NULL OPTIONS(description='Job id'),
  `jobNumber` STRING OPTIONS(description='Number shown to people'),
  `projectId` INT64 OPTIONS(description='Project that the record belongs to'),
  `customerId` INT64 OPTIONS(description='Customer'),
  `locationId` INT64 OPTIONS(description='Service location'),
  `jobStatus` STRING OPTIONS(description='Where the job stands; canceled jobs stay'),
  `completedOn` TIMESTAMP OPTIONS(description='When the job was completed; canceled jobs may have it too'),
  `businessUnitId` INT64 OPTIONS(description='Business unit that does the job'),
  `jobTypeId` INT64 OPTIONS(description='Job type'),
  `priority` STRING OPTIONS(description='Urgency'),
  `campaignId` INT64 OPTIONS(description='Campaign that the job is credited to'),
  `appointmentCount` INT64 OPTIONS(description='Number of appointments'),
  `firstAppointmentId` INT64 OPTIONS(description='Earliest appointment'),
  `lastAppointmentId` INT64 OPTIONS(description='Latest appointment'),
  `recallForId` INT64 OPTIONS(description='Job that this one is a recall of'),
  `warrantyId` INT64 OPTIONS(description='Job whose warranty covers this one'),
  `jobGeneratedLeadSource` STRUCT<`jobId` INT64, `employeeId` INT64> OPTIONS(description='What generated the job as a lead'),
  `noCharge` BOOL OPTIONS(description='True when nothing is charged'),
  `notificationsEnabled` BOOL OPTIONS(description='True when the customer gets notifications'),
  `createdOn` TIMESTAMP OPTIONS(description='When the record was made'),
  `createdById` INT64 OPTIONS(description='User who made the record'),
  `modifiedOn` TIMESTAMP OPTIONS(description='When the record last changed; its version'),
  `tagTypeIds` ARRAY<INT64> OPTIONS(description='Tags on the record'),
  `leadCallId` INT64 OPTIONS(description='Call that led to the job'),
  `partnerLeadCallId` INT64 OPTIONS(description='Call of a partner that led to the job'),
  `bookingId` INT64 OPTIONS(description='Booking that the job was made from'),
  `soldById` INT64 OPTIONS(description='Technician or employee who sold the job'),
  `customerPo` STRING OPTIONS(description='Purchase order number of the customer'),
  `invoiceId` INT64 OPTIONS(description='Invoice of the job'),
  `membershipId` INT64 OPTIONS(description='Membership that the job was sold under'),
  `total` NUMERIC OPTIONS(description='Amount of the job before tax'),
  `createdFromEstimateId` INT64 OPTIONS(description='Estimate that the job was made from'),
  `estimateIds` ARRAY<INT64> OPTIONS(description='Estimates of the job'),
  `summary` STRING OPTIONS(description='Description of the work, HTML'),
  `customFields` ARRAY<STRUCT<`typeId` INT64, `name` STRING, `value` STRING>> OPTIONS(description='Fields that the tenant defined itself'),
  `externalData` ARRAY<STRUCT<`key` STRING, `value` STRING>> OPTIONS(description='Key-value pairs that integrations attached'),
  `_tenant_id` INT64 NOT NULL OPTIONS(description='ServiceTitan tenant; with id the key of the row'),
  `_run_id` STRING NOT NULL OPTIONS(description='Run that wrote this version of the row'),
  `_ingested_at` TIMESTAMP NOT NULL OPTIONS(description='When this version was merged'),
  `_ingestion_source` STRING NOT NULL OPTIONS(description='Program that wrote the row: servicetitan_v2'),
  `_row_hash` STRING NOT NULL OPTIONS(description='Hash of the source record, independent of member order'),
  `_fetched_at` TIMESTAMP NOT NULL OPTIONS(description='When the record was asked for, by the server\'s clock'),
  `_extra` JSON OPTIONS(description='Source values that fit no column, by their path'),
  `_deleted_at` TIMESTAMP OPTIONS(description='When the source was seen to have lost the record'),
  `_group_date` DATE OPTIONS(description='Rows without an id of their own: day of creation (UTC)')
)
PARTITION BY DATE(`modifiedOn`)
CLUSTER BY `businessUnitId`, `jobStatus`
OPTIONS(description='Work that was booked for a customer at a location');

-- table st_stage_v2.stage_jobs
CREATE TABLE IF NOT EXISTS `st_stage_v2.stage_jobs` (
  `id` INT64 NOT NULL OPTIONS(description='Job id'),
  `jobNumber` STRING OPTIONS(description='Number shown to people'),
  `projectId` INT64 OPTIONS(description='Project that the record belongs to'),
  `customerId` INT64 OPTIONS(description='Customer'),
  `locationId` INT64 OPTIONS(description='Service location'),
  `jobStatus` STRING OPTIONS(description='Where the job stands; canceled jobs stay'),
  `completedOn` TIMESTAMP OPTIONS(description='When the job was completed; canceled jobs may have it too'),
  `businessUnitId` INT64 OPTIONS(description='Business unit that does the job'),
  `jobTypeId` INT64 OPTIONS(description='Job type'),
  `priority` STRING OPTIONS(description='Urgency'),
  `campaignId` INT64 OPTIONS(description='Campaign that the job is credited to'),
  `appointmentCount` INT64 OPTIONS(description='Number of appointments'),
  `firstAppointmentId` INT64 OPTIONS(description='Earliest appointment'),
  `lastAppointmentId` INT64 OPTIONS(description='Latest appointment'),
  `recallForId` INT64 OPTIONS(description='Job that this one is a recall of'),
  `warrantyId` INT64 OPTIONS(description='Job whose warranty covers this one'),
  `jobGeneratedLeadSource` STRUCT<`jobId` INT64, `employeeId` INT64> OPTIONS(description='What generated the job as a lead'),
  `noCharge` BOOL OPTIONS(description='True when nothing is charged'),
  `notificationsEnabled` BOOL OPTIONS(description='True when the customer gets notifications'),
  `createdOn` TIMESTAMP OPTIONS(description='When the record was made'),
  `createdById` INT64 OPTIONS(description='User who made the record'),
  `modifiedOn` TIMESTAMP OPTIONS(description='When the record last changed; its version'),
  `tagTypeIds` ARRAY<INT64> OPTIONS(description='Tags on the record'),
  `leadCallId` INT64 OPTIONS(description='Call that led to the job'),
  `partnerLeadCallId` INT64 OPTIONS(description='Call of a partner that led to the job'),
  `bookingId` INT64 OPTIONS(description='Booking that the job was made from'),
  `soldById` INT64 OPTIONS(description='Technician or employee who sold the job'),
  `customerPo` STRING OPTIONS(description='Purchase order number of the customer'),
  `invoiceId` INT64 OPTIONS(description='Invoice of the job'),
  `membershipId` INT64 OPTIONS(description='Membership that the job was sold under'),
  `total` NUMERIC OPTIONS(description='Amount of the job before tax'),
  `createdFromEstimateId` INT64 OPTIONS(description='Estimate that the job was made from'),
  `estimateIds` ARRAY<INT64> OPTIONS(description='Estimates of the job'),
  `summary` STRING OPTIONS(description='Description of the work, HTML'),
  `customFields` ARRAY<STRUCT<`typeId` INT64, `name` STRING, `value` STRING>> OPTIONS(description='Fields that the tenant defined itself'),
  `externalData` ARRAY<STRUCT<`key` STRING, `value` STRING>> OPTIONS(description='Key-value pairs that integrations attached'),
  `_tenant_id` INT64 NOT NULL OPTIONS(description='ServiceTitan tenant'),
  `_run_id` STRING NOT NULL OPTIONS(description='Run that staged the row'),
  `_fetch_id` INT64 NOT NULL OPTIONS(description='Fetch within the run, from 1'),
  `_row_number` INT64 NOT NULL OPTIONS(description='Row within the fetch, dense from 1'),
  `_row_hash` STRING NOT NULL OPTIONS(description='Hash of the source record, independent of member order'),
  `_fetched_at` TIMESTAMP NOT NULL OPTIONS(description='When the record was asked for, by the server\'s clock'),
  `_extra` JSON OPTIONS(description='Source values that fit no column, by their path'),
  `_deleted` BOOL NOT NULL OPTIONS(description='The feed shows the record as deleted'),
  `_group_date` DATE OPTIONS(description='Rows without an id of their own: day of creation (UTC)'),
  `_staged_at` TIMESTAMP DEFAULT CURRENT_TIMESTAMP() OPTIONS(description='When the server took the row')
)
PARTITION BY TIMESTAMP_TRUNC(`_staged_at`, HOUR)
CLUSTER BY `_run_id`
OPTIONS(description='Rows of unfinished runs, on their way to the target table', partition_expiration_days=7);

-- view st_stage_v2.jobs
CREATE OR REPLACE VIEW `st_stage_v2.jobs`
OPTIONS(description='Work that was booked for a customer at a location')
AS SELECT
  t.`id` AS `id`,
  t.`jobNumber` AS `jobNumber`,
  t.`projectId` AS `projectId`,
  t.`customerId` AS `customerId`,
  t.`locationId` AS `locationId`,
  t.`jobStatus` AS `jobStatus`,
  t.`completedOn` AS `completedOn`,
  t.`businessUnitId` AS `businessUnitId`,
  t.`jobTypeId` AS `jobTypeId`,
  t.`priority` AS `priority`,
  t.`campaignId` AS `campaignId`,
  t.`appointmentCount` AS `appointmentCount`,
  t.`firstAppointmentId` AS `firstAppointmentId`,
  t.`lastAppointmentId` AS `lastAppointmentId`,
  t.`recallForId` AS `recallForId`,
  t.`warrantyId` AS `warrantyId`,
  t.`jobGeneratedLeadSource`.`jobId` AS `jobGeneratedLeadSource_jobId`,
  t.`jobGeneratedLeadSource`.`employeeId` AS `jobGeneratedLeadSource_employeeId`,
  t.`noCharge` AS `noCharge`,
  t.`notificationsEnabled` AS `notificationsEnabled`,
  t.`createdOn` AS `createdOn`,
  t.`createdById` AS `createdById`,
  t.`modifiedOn` AS `modifiedOn`,
  t.`tagTypeIds` AS `tagTypeIds`,
  t.`leadCallId` AS `leadCallId`,
  t.`partnerLeadCallId` AS `partnerLeadCallId`,
  t.`bookingId` AS `bookingId`,
  t.`soldById` AS `soldById`,
  t.`customerPo` AS `customerPo`,
  t.`invoiceId` AS `invoiceId`,
  t.`membershipId` AS `membershipId`,
  t.`total` AS `total`,
  t.`createdFromEstimateId` AS `createdFromEstimateId`,
  t.`estimateIds` AS `estimateIds`,
  t.`summary` AS `summary`,
  t.`customFields` AS `customFields`,
  t.`externalData` AS `externalData`,
  t._tenant_id,
  t._run_id,
  t._ingested_at,
  t._fetched_at
FROM `st_raw_v2.raw_jobs` AS t
WHERE t._deleted_at IS NULL;

-- table st_raw_v2.raw_invoices
CREATE TABLE IF NOT EXISTS `st_raw_v2.raw_invoices` (
  `id` INT64 NOT NULL OPTIONS(description='Invoice id'),
  `syncStatus` STRING OPTIONS(description='State in the accounting export'),
  `budgetCodeId` INT64 OPTIONS(description='Budget code'),
  `referenceNumber` STRING OPTIONS(description='Number shown to people'),
  `invoiceDate` TIMESTAMP OPTIONS(description='Day of the invoice, written as midnight UTC'),
  `dueDate` TIMESTAMP OPTIONS(description='Day on which payment is due, written as midnight UTC'),
  `subTotal` NUMERIC OPTIONS(description='Amount before tax'),
  `salesTax` NUMERIC OPTIONS(description='Sales tax'),
  `salesTaxCode` STRUCT<`id` INT64, `name` STRING, `taxRate` NUMERIC> OPTIONS(description='Tax code that was applied'),
  `taxZoneId` INT64 OPTIONS(description='Tax zone'),
  `total` NUMERIC OPTIONS(description='Amount with tax'),
  `balance` NUMERIC OPTIONS(description='What is still owed'),
  `invoiceType` STRUCT<`id` INT64, `name` STRING> OPTIONS(description='Kind of invoice that the tenant defined'),
  `customer` STRUCT<`id` INT64, `name` STRING> OPTIONS(description='Customer who is billed'),
  `customerAddress` STRUCT<`street` STRING, `unit` STRING, `city` STRING, `state` STRING, `zip` STRING, `country` STRING> OPTIONS(description='Billing address'),
  `location` STRUCT<`id` INT64, `name` STRING> OPTIONS(description='Location that was served'),
  `locationAddress` STRUCT<`street` STRING, `unit` STRING, `city` STRING, `state` STRING, `zip` STRING, `country` STRING> OPTIONS(description='Address of the location'),
  `businessUnit` STRUCT<`id` INT64, `name` STRING> OPTIONS(description='Business unit that earned the invoice'),
  `termName` STRING OPTIONS(description='Payment term'),
  `createdBy` STRING OPTIONS(description='Name of the user who made the record'),
  `batch` STRUCT<`id` INT64, `number` STRING, `name` STRING> OPTIONS(description='Accounting batch'),
  `depositedOn` TIMESTAMP OPTIONS(description='When the payment was deposited'),
  `createdOn` TIMESTAMP OPTIONS(description='When the record was made'),
  `modifiedOn` TIMESTAMP OPTIONS(description='When the record last changed; its version; may be missing'),
  `adjustmentToId` INT64 OPTIONS(description='Invoice that this one adjusts'),
  `job` STRUCT<`id` INT64, `number` STRING, `type` STRING> OPTIONS(description='Job that is billed'),
  `projectId` INT64 OPTIONS(description='Project that the record belongs to'),
  `royalty` STRUCT<`status` STRING, `date` TIMESTAMP, `sentOn` TIMESTAMP, `memo` STRING> OPTIONS(description='Royalty report of a franchise'),
  `employeeInfo` STRUCT<`id` INT64, `name` STRING, `modifiedOn` TIMESTAMP> OPTIONS(description='Employee the invoice is credited to'),
  `commissionEligibilityDate` STRING OPTIONS(description='Day from which commission is due, free text'),
  `sentStatus` STRING OPTIONS(description='Whether the invoice was sent to the customer'),
  `reviewStatus` STRING OPTIONS(description='Where the review stands'),
  `assignedTo` STRUCT<`id` INT64, `name` STRING> OPTIONS(description='Person who must review it'),
  `summary` STRING OPTIONS(description='Description of the work, HTML'),
  `items` ARRAY<STRUCT<`id` INT64, `description` STRING, `quantity` NUMERIC, `cost` NUMERIC, `totalCost` NUMERIC, `budgetCodeId` INT64, `inventoryLocationId` INT64, `inventoryLocation` STRING, `price` NUMERIC, `type` STRING, `skuName` STRING, `skuId` INT64, `total` NUMERIC, `inventory` BOOL, `taxable` BOOL, `isChargeable` BOOL, `generalLedgerAccount` STRUCT<`id` INT64, `name` STRING, `number` STRING, `type` STRING, `detailType` STRING>, `costOfSaleAccount` STRUCT<`id` INT64, `name` STRING, `number` STRING, `type` STRING, `detailType` STRING>, `assetAccount` STRUCT<`id` INT64, `name` STRING, `number` STRING, `type` STRING, `detailType` STRING>, `membershipTypeId` INT64, `itemGroup` STRUCT<`rootId` INT64, `name` STRING>, `displayName` STRING, `soldHours` NUMERIC, `createdOn` TIMESTAMP, `modifiedOn` TIMESTAMP, `serviceDate` TIMESTAMP, `order` INT64, `businessUnit` STRUCT<`id` INT64, `name` STRING>, `createdById` INT64, `displayInAmount` BOOL, `importId` STRING, `exportId` STRING, `inventoryStatus` STRING, `addOn` BOOL, `memberPrice` NUMERIC, `technicianId` INT64, `installedEquipmentId` INT64, `estimateItemId` INT64>> OPTIONS(description='Lines of the invoice'),
  `customFields` ARRAY<STRUCT<`name` STRING, `value` STRING>> OPTIONS(description='Fields that the tenant defined itself'),
  `active` BOOL OPTIONS(description='False for records that were deactivated, merged or deleted'),
  `discountTotal` NUMERIC OPTIONS(description='Sum of discounts'),
  `importId` STRING OPTIONS(description='Id in the system it was imported from'),
  `exportId` STRING OPTIONS(description='Id in the accounting system it was exported to'),
  `materialSkuId` INT64 OPTIONS(description='Price book item that materials are billed as'),
  `membershipId` INT64 OPTIONS(description='Membership that is billed'),
  `paidOn` TIMESTAMP OPTIONS(description='When the invoice was paid in full'),
  `invoiceConfiguration` STRING OPTIONS(description='What the invoice was made for'),
  `businessUnitId` INT64 OPTIONS(description='Business unit, from businessUnit'),
  `jobId` INT64 OPTIONS(description='Job that is billed, from job'),
  `status` STRING OPTIONS(description='State in the accounting export, as syncStatus'),
  `_tenant_id` INT64 NOT NULL OPTIONS(description='ServiceTitan tenant; with id the key of the row'),
  `_run_id` STRING NOT NULL OPTIONS(description='Run that wrote this version of the row'),
  `_ingested_at` TIMESTAMP NOT NULL OPTIONS(description='When this version was merged'),
  `_ingestion_source` STRING NOT NULL OPTIONS(description='Program that wrote the row: servicetitan_v2'),
  `_row_hash` STRING NOT NULL OPTIONS(description='Hash of the source record, independent of member order'),
  `_fetched_at` TIMESTAMP NOT NULL OPTIONS(description='When the record was asked for, by the server\'s clock'),
  `_extra` JSON OPTIONS(description='Source values that fit no column, by their path'),
  `_deleted_at` TIMESTAMP OPTIONS(description='When the source was seen to have lost the record'),
  `_group_date` DATE OPTIONS(description='Rows without an id of their own: day of creation (UTC)')
)
PARTITION BY DATE(`modifiedOn`)
CLUSTER BY `businessUnitId`, `jobId`, `status`
OPTIONS(description='Invoices with their lines');

-- table st_stage_v2.stage_invoices
CREATE TABLE IF NOT EXISTS `st_stage_v2.stage_invoices` (
  `id` INT64 NOT NULL OPTIONS(description='Invoice id'),
  `syncStatus` STRING OPTIONS(description='State in the accounting export'),
  `budgetCodeId` INT64 OPTIONS(description='Budget code'),
  `referenceNumber` STRING OPTIONS(description='Number shown to people'),
  `invoiceDate` TIMESTAMP OPTIONS(description='Day of the invoice, written as midnight UTC'),
  `dueDate` TIMESTAMP OPTIONS(description='Day on which payment is due, written as midnight UTC'),
  `subTotal` NUMERIC OPTIONS(description='Amount before tax'),
  `salesTax` NUMERIC OPTIONS(description='Sales tax'),
  `salesTaxCode` STRUCT<`id` INT64, `name` STRING, `taxRate` NUMERIC> OPTIONS(description='Tax code that was applied'),
  `taxZoneId` INT64 OPTIONS(description='Tax zone'),
  `total` NUMERIC OPTIONS(description='Amount with tax'),
  `balance` NUMERIC OPTIONS(description='What is still owed'),
  `invoiceType` STRUCT<`id` INT64, `name` STRING> OPTIONS(description='Kind of invoice that the tenant defined'),
  `customer` STRUCT<`id` INT64, `name` STRING> OPTIONS(description='Customer who is billed'),
  `customerAddress` STRUCT<`street` STRING, `unit` STRING, `city` STRING, `state` STRING, `zip` STRING, `country` STRING> OPTIONS(description='Billing address'),
  `location` STRUCT<`id` INT64, `name` STRING> OPTIONS(description='Location that was served'),
  `locationAddress` STRUCT<`street` STRING, `unit` STRING, `city` STRING, `state` STRING, `zip` STRING, `country` STRING> OPTIONS(description='Address of the location'),
  `businessUnit` STRUCT<`id` INT64, `name` STRING> OPTIONS(description='Business unit that earned the invoice'),
  `termName` STRING OPTIONS(description='Payment term'),
  `createdBy` STRING OPTIONS(description='Name of the user who made the record'),
  `batch` STRUCT<`id` INT64, `number` STRING, `name` STRING> OPTIONS(description='Accounting batch'),
  `depositedOn` TIMESTAMP OPTIONS(description='When the payment was deposited'),
  `createdOn` TIMESTAMP OPTIONS(description='When the record was made'),
  `modifiedOn` TIMESTAMP OPTIONS(description='When the record last changed; its version; may be missing'),
  `adjustmentToId` INT64 OPTIONS(description='Invoice that this one adjusts'),
  `job` STRUCT<`id` INT64, `number` STRING, `type` STRING> OPTIONS(description='Job that is billed'),
  `projectId` INT64 OPTIONS(description='Project that the record belongs to'),
  `royalty` STRUCT<`status` STRING, `date` TIMESTAMP, `sentOn` TIMESTAMP, `memo` STRING> OPTIONS(description='Royalty report of a franchise'),
  `employeeInfo` STRUCT<`id` INT64, `name` STRING, `modifiedOn` TIMESTAMP> OPTIONS(description='Employee the invoice is credited to'),
  `commissionEligibilityDate` STRING OPTIONS(description='Day from which commission is due, free text'),
  `sentStatus` STRING OPTIONS(description='Whether the invoice was sent to the customer'),
  `reviewStatus` STRING OPTIONS(description='Where the review stands'),
  `assignedTo` STRUCT<`id` INT64, `name` STRING> OPTIONS(description='Person who must review it'),
  `summary` STRING OPTIONS(description='Description of the work, HTML'),
  `items` ARRAY<STRUCT<`id` INT64, `description` STRING, `quantity` NUMERIC, `cost` NUMERIC, `totalCost` NUMERIC, `budgetCodeId` INT64, `inventoryLocationId` INT64, `inventoryLocation` STRING, `price` NUMERIC, `type` STRING, `skuName` STRING, `skuId` INT64, `total` NUMERIC, `inventory` BOOL, `taxable` BOOL, `isChargeable` BOOL, `generalLedgerAccount` STRUCT<`id` INT64, `name` STRING, `number` STRING, `type` STRING, `detailType` STRING>, `costOfSaleAccount` STRUCT<`id` INT64, `name` STRING, `number` STRING, `type` STRING, `detailType` STRING>, `assetAccount` STRUCT<`id` INT64, `name` STRING, `number` STRING, `type` STRING, `detailType` STRING>, `membershipTypeId` INT64, `itemGroup` STRUCT<`rootId` INT64, `name` STRING>, `displayName` STRING, `soldHours` NUMERIC, `createdOn` TIMESTAMP, `modifiedOn` TIMESTAMP, `serviceDate` TIMESTAMP, `order` INT64, `businessUnit` STRUCT<`id` INT64, `name` STRING>, `createdById` INT64, `displayInAmount` BOOL, `importId` STRING, `exportId` STRING, `inventoryStatus` STRING, `addOn` BOOL, `memberPrice` NUMERIC, `technicianId` INT64, `installedEquipmentId` INT64, `estimateItemId` INT64>> OPTIONS(description='Lines of the invoice'),
  `customFields` ARRAY<STRUCT<`name` STRING, `value` STRING>> OPTIONS(description='Fields that the tenant defined itself'),
  `active` BOOL OPTIONS(description='False for records that were deactivated, merged or deleted'),
  `discountTotal` NUMERIC OPTIONS(description='Sum of discounts'),
  `importId` STRING OPTIONS(description='Id in the system it was imported from'),
  `exportId` STRING OPTIONS(description='Id in the accounting system it was exported to'),
  `materialSkuId` INT64 OPTIONS(description='Price book item that materials are billed as'),
  `membershipId` INT64 OPTIONS(description='Membership that is billed'),
  `paidOn` TIMESTAMP OPTIONS(description='When the invoice was paid in full'),
  `invoiceConfiguration` STRING OPTIONS(description='What the invoice was made for'),
  `businessUnitId` INT64 OPTIONS(description='Business unit, from businessUnit'),
  `jobId` INT64 OPTIONS(description='Job that is billed, from job'),
  `status` STRING OPTIONS(description='State in the accounting export, as syncStatus'),
  `_tenant_id` INT64 NOT NULL OPTIONS(description='ServiceTitan tenant'),
  `_run_id` STRING NOT NULL OPTIONS(description='Run that staged the row'),
  `_fetch_id` INT64 NOT NULL OPTIONS(description='Fetch within the run, from 1'),
  `_row_number` INT64 NOT NULL OPTIONS(description='Row within the fetch, dense from 1'),
  `_row_hash` STRING NOT NULL OPTIONS(description='Hash of the source record, independent of member order'),
  `_fetched_at` TIMESTAMP NOT NULL OPTIONS(description='When the record was asked for, by the server\'s clock'),
  `_extra` JSON OPTIONS(description='Source values that fit no column, by their path'),
  `_deleted` BOOL NOT NULL OPTIONS(description='The feed shows the record as deleted'),
  `_group_date` DATE OPTIONS(description='Rows without an id of their own: day of creation (UTC)'),
  `_staged_at` TIMESTAMP DEFAULT CURRENT_TIMESTAMP() OPTIONS(description='When the server took the row')
)
PARTITION BY TIMESTAMP_TRUNC(`_staged_at`, HOUR)
CLUSTER BY `_run_id`
OPTIONS(description='Rows of unfinished runs, on their way to the target table', partition_expiration_days=7);

-- view st_stage_v2.invoices
CREATE OR REPLACE VIEW `st_stage_v2.invoices`
OPTIONS(description='Invoices with their lines')
AS SELECT
  t.`id` AS `id`,
  t.`syncStatus` AS `syncStatus`,
  t.`budgetCodeId` AS `budgetCodeId`,
  t.`referenceNumber` AS `referenceNumber`,
  t.`invoiceDate` AS `invoiceDate`,
  t.`dueDate` AS `dueDate`,
  t.`subTotal` AS `subTotal`,
  t.`salesTax` AS `salesTax`,
  t.`salesTaxCode`.`id` AS `salesTaxCode_id`,
  t.`salesTaxCode`.`name` AS `salesTaxCode_name`,
  t.`salesTaxCode`.`taxRate` AS `salesTaxCode_taxRate`,
  t.`taxZoneId` AS `taxZoneId`,
  t.`total` AS `total`,
  t.`balance` AS `balance`,
  t.`invoiceType`.`id` AS `invoiceType_id`,
  t.`invoiceType`.`name` AS `invoiceType_name`,
  t.`customer`.`id` AS `customer_id`,
  t.`customer`.`name` AS `customer_name`,
  t.`customerAddress`.`street` AS `customerAddress_street`,
  t.`customerAddress`.`unit` AS `customerAddress_unit`,
  t.`customerAddress`.`city` AS `customerAddress_city`,
  t.`customerAddress`.`state` AS `customerAddress_state`,
  t.`customerAddress`.`zip` AS `customerAddress_zip`,
  t.`customerAddress`.`country` AS `customerAddress_country`,
  t.`location`.`id` AS `location_id`,
  t.`location`.`name` AS `location_name`,
  t.`locationAddress`.`street` AS `locationAddress_street`,
  t.`locationAddress`.`unit` AS `locationAddress_unit`,
  t.`locationAddress`.`city` AS `locationAddress_city`,
  t.`locationAddress`.`state` AS `locationAddress_state`,
  t.`locationAddress`.`zip` AS `locationAddress_zip`,
  t.`locationAddress`.`country` AS `locationAddress_country`,
  t.`businessUnit`.`id` AS `businessUnit_id`,
  t.`businessUnit`.`name` AS `businessUnit_name`,
  t.`termName` AS `termName`,
  t.`createdBy` AS `createdBy`,
  t.`batch`.`id` AS `batch_id`,
  t.`batch`.`number` AS `batch_number`,
  t.`batch`.`name` AS `batch_name`,
  t.`depositedOn` AS `depositedOn`,
  t.`createdOn` AS `createdOn`,
  t.`modifiedOn` AS `modifiedOn`,
  t.`adjustmentToId` AS `adjustmentToId`,
  t.`job`.`id` AS `job_id`,
  t.`job`.`number` AS `job_number`,
  t.`job`.`type` AS `job_type`,
  t.`projectId` AS `projectId`,
  t.`royalty`.`status` AS `royalty_status`,
  t.`royalty`.`date` AS `royalty_date`,
  t.`royalty`.`sentOn` AS `royalty_sentOn`,
  t.`royalty`.`memo` AS `royalty_memo`,
  t.`employeeInfo`.`id` AS `employeeInfo_id`,
  t.`employeeInfo`.`name` AS `employeeInfo_name`,
  t.`employeeInfo`.`modifiedOn` AS `employeeInfo_modifiedOn`,
  t.`commissionEligibilityDate` AS `commissionEligibilityDate`,
  t.`sentStatus` AS `sentStatus`,
  t.`reviewStatus` AS `reviewStatus`,
  t.`assignedTo`.`id` AS `assignedTo_id`,
  t.`assignedTo`.`name` AS `assignedTo_name`,
  t.`summary` AS `summary`,
  t.`items` AS `items`,
  t.`customFields` AS `customFields`,
  t.`active` AS `active`,
  t.`discountTotal` AS `discountTotal`,
  t.`importId` AS `importId`,
  t.`exportId` AS `exportId`,
  t.`materialSkuId` AS `materialSkuId`,
  t.`membershipId` AS `membershipId`,
  t.`paidOn` AS `paidOn`,
  t.`invoiceConfiguration` AS `invoiceConfiguration`,
  t.`businessUnitId` AS `businessUnitId`,
  t.`jobId` AS `jobId`,
  t.`status` AS `status`,
  t._tenant_id,
  t._run_id,
  t._ingested_at,
  t._fetched_at
FROM `st_raw_v2.raw_invoices` AS t
WHERE t._deleted_at IS NULL;

-- table st_raw_v2.raw_estimates
CREATE TABLE IF NOT EXISTS `st_raw_v2.raw_estimates` (
  `id` INT64 NOT NULL OPTIONS(description='Estimate id'),
  `jobId` INT64 OPTIONS(description='Job during which it was offered'),
  `projectId` INT64 OPTIONS(description='Project that the record belongs to'),
  `locationId` INT64 OPTIONS(description='Service location'),
  `customerId` INT64 OPTIONS(description='Customer'),
  `name` STRING OPTIONS(description='Name of the estimate'),
  `jobNumber` STRING OPTIONS(description='Number of that job'),
  `status` STRING OPTIONS(description='Where the estimate stands'),
  `statusValue` INT64 OPTIONS(description='Code of the status: 0 Open, 1 Sold, 2 Dismissed'),
  `reviewStatus` STRING OPTIONS(description='Where the internal review stands'),
  `summary` STRING OPTIONS(description='Description of the offer'),
  `createdOn` TIMESTAMP OPTIONS(description='When the record was made'),
  `modifiedOn` TIMESTAMP OPTIONS(description='When the record last changed; its version'),
  `soldOn` TIMESTAMP OPTIONS(description='When it was sold'),
  `soldBy` INT64 OPTIONS(description='Employee who sold it'),
  `active` BOOL OPTIONS(description='False for records that were deactivated, merged or deleted'),
  `items` ARRAY<STRUCT<`id` INT64, `sku` STRUCT<`id` INT64, `name` STRING, `displayName` STRING, `type` STRING, `soldHours` NUMERIC, `generalLedgerAccountId` INT64, `generalLedgerAccountName` STRING, `modifiedOn` TIMESTAMP>, `skuAccount` STRING, `description` STRING, `membershipTypeId` INT64, `qty` NUMERIC, `unitRate` NUMERIC, `total` NUMERIC, `unitCost` NUMERIC, `totalCost` NUMERIC, `itemGroupName` STRING, `itemGroupRootId` INT64, `createdOn` TIMESTAMP, `modifiedOn` TIMESTAMP, `chargeable` BOOL, `invoiceItemId` INT64, `budgetCodeId` INT64>> OPTIONS(description='Lines of the estimate'),
  `externalLinks` ARRAY<STRUCT<`name` STRING, `url` STRING>> OPTIONS(description='Links to pages elsewhere'),
  `subtotal` NUMERIC OPTIONS(description='Amount before tax'),
  `tax` NUMERIC OPTIONS(description='Sales tax'),
  `businessUnitId` INT64 OPTIONS(description='Business unit'),
  `businessUnitName` STRING OPTIONS(description='Name of the business unit'),
  `isRecommended` BOOL OPTIONS(description='True for the option that the technician recommends'),
  `budgetCodeId` INT64 OPTIONS(description='Budget code'),
  `isChangeOrder` BOOL OPTIONS(description='True when it changes an earlier estimate'),
  `proposalTagName` STRING OPTIONS(description='Label of the option, such as good, better, best'),
  `_tenant_id` INT64 NOT NULL OPTIONS(description='ServiceTitan tenant; with id the key of the row'),
  `_run_id` STRING NOT NULL OPTIONS(description='Run that wrote this version of the row'),
  `_ingested_at` TIMESTAMP NOT NULL OPTIONS(description='When this version was merged'),
  `_ingestion_source` STRING NOT NULL OPTIONS(description='Program that wrote the row: servicetitan_v2'),
  `_row_hash` STRING NOT NULL OPTIONS(description='Hash of the source record, independent of member order'),
  `_fetched_at` TIMESTAMP NOT NULL OPTIONS(description='When the record was asked for, by the server\'s clock'),
  `_extra` JSON OPTIONS(description='Source values that fit no column, by their path'),
  `_deleted_at` TIMESTAMP OPTIONS(description='When the source was seen to have lost the record'),
  `_group_date` DATE OPTIONS(description='Rows without an id of their own: day of creation (UTC)')
)
PARTITION BY DATE(`modifiedOn`)
CLUSTER BY `businessUnitId`, `jobId`, `status`
OPTIONS(description='Offers with their lines, sold or not');

-- table st_stage_v2.stage_estimates
CREATE TABLE IF NOT EXISTS `st_stage_v2.stage_estimates` (
  `id` INT64 NOT NULL OPTIONS(description='Estimate id'),
  `jobId` INT64 OPTIONS(description='Job during which it was offered'),
  `projectId` INT64 OPTIONS(description='Project that the record belongs to'),
  `locationId` INT64 OPTIONS(description='Service location'),
  `customerId` INT64 OPTIONS(description='Customer'),
  `name` STRING OPTIONS(description='Name of the estimate'),
  `jobNumber` STRING OPTIONS(description='Number of that job'),
  `status` STRING OPTIONS(description='Where the estimate stands'),
  `statusValue` INT64 OPTIONS(description='Code of the status: 0 Open, 1 Sold, 2 Dismissed'),
  `reviewStatus` STRING OPTIONS(description='Where the internal review stands'),
  `summary` STRING OPTIONS(description='Description of the offer'),
  `createdOn` TIMESTAMP OPTIONS(description='When the record was made'),
  `modifiedOn` TIMESTAMP OPTIONS(description='When the record last changed; its version'),
  `soldOn` TIMESTAMP OPTIONS(description='When it was sold'),
  `soldBy` INT64 OPTIONS(description='Employee who sold it'),
  `active` BOOL OPTIONS(description='False for records that were deactivated, merged or deleted'),
  `items` ARRAY<STRUCT<`id` INT64, `sku` STRUCT<`id` INT64, `name` STRING, `displayName` STRING, `type` STRING, `soldHours` NUMERIC, `generalLedgerAccountId` INT64, `generalLedgerAccountName` STRING, `modifiedOn` TIMESTAMP>, `skuAccount` STRING, `description` STRING, `membershipTypeId` INT64, `qty` NUMERIC, `unitRate` NUMERIC, `total` NUMERIC, `unitCost` NUMERIC, `totalCost` NUMERIC, `itemGroupName` STRING, `itemGroupRootId` INT64, `createdOn` TIMESTAMP, `modifiedOn` TIMESTAMP, `chargeable` BOOL, `invoiceItemId` INT64, `budgetCodeId` INT64>> OPTIONS(description='Lines of the estimate'),
  `externalLinks` ARRAY<STRUCT<`name` STRING, `url` STRING>> OPTIONS(description='Links to pages elsewhere'),
  `subtotal` NUMERIC OPTIONS(description='Amount before tax'),
  `tax` NUMERIC OPTIONS(description='Sales tax'),
  `businessUnitId` INT64 OPTIONS(description='Business unit'),
  `businessUnitName` STRING OPTIONS(description='Name of the business unit'),
  `isRecommended` BOOL OPTIONS(description='True for the option that the technician recommends'),
  `budgetCodeId` INT64 OPTIONS(description='Budget code'),
  `isChangeOrder` BOOL OPTIONS(description='True when it changes an earlier estimate'),
  `proposalTagName` STRING OPTIONS(description='Label of the option, such as good, better, best'),
  `_tenant_id` INT64 NOT NULL OPTIONS(description='ServiceTitan tenant'),
  `_run_id` STRING NOT NULL OPTIONS(description='Run that staged the row'),
  `_fetch_id` INT64 NOT NULL OPTIONS(description='Fetch within the run, from 1'),
  `_row_number` INT64 NOT NULL OPTIONS(description='Row within the fetch, dense from 1'),
  `_row_hash` STRING NOT NULL OPTIONS(description='Hash of the source record, independent of member order'),
  `_fetched_at` TIMESTAMP NOT NULL OPTIONS(description='When the record was asked for, by the server\'s clock'),
  `_extra` JSON OPTIONS(description='Source values that fit no column, by their path'),
  `_deleted` BOOL NOT NULL OPTIONS(description='The feed shows the record as deleted'),
  `_group_date` DATE OPTIONS(description='Rows without an id of their own: day of creation (UTC)'),
  `_staged_at` TIMESTAMP DEFAULT CURRENT_TIMESTAMP() OPTIONS(description='When the server took the row')
)
PARTITION BY TIMESTAMP_TRUNC(`_staged_at`, HOUR)
CLUSTER BY `_run_id`
OPTIONS(description='Rows of unfinished runs, on their way to the target table', partition_expiration_days=7);

-- view st_stage_v2.estimates
CREATE OR REPLACE VIEW `st_stage_v2.estimates`
OPTIONS(description='Offers with their lines, sold or not')
AS SELECT
  t.`id` AS `id`,
  t.`jobId` AS `jobId`,
  t.`projectId` AS `projectId`,
  t.`locationId` AS `locationId`,
  t.`customerId` AS `customerId`,
  t.`name` AS `name`,
  t.`jobNumber` AS `jobNumber`,
  t.`status` AS `status`,
  t.`statusValue` AS `statusValue`,
  t.`reviewStatus` AS `reviewStatus`,
  t.`summary` AS `summary`,
  t.`createdOn` AS `createdOn`,
  t.`modifiedOn` AS `modifiedOn`,
  t.`soldOn` AS `soldOn`,
  t.`soldBy` AS `soldBy`,
  t.`active` AS `active`,
  t.`items` AS `items`,
  t.`externalLinks` AS `externalLinks`,
  t.`subtotal` AS `subtotal`,
  t.`tax` AS `tax`,
  t.`businessUnitId` AS `businessUnitId`,
  t.`businessUnitName` AS `businessUnitName`,
  t.`isRecommended` AS `isRecommended`,
  t.`budgetCodeId` AS `budgetCodeId`,
  t.`isChangeOrder` AS `isChangeOrder`,
  t.`proposalTagName` AS `proposalTagName`,
  t._tenant_id,
  t._run_id,
  t._ingested_at,
  t._fetched_at
FROM `st_raw_v2.raw_estimates` AS t
WHERE t._deleted_at IS NULL;

-- table st_raw_v2.raw_payments
CREATE TABLE IF NOT EXISTS `st_raw_v2.raw_payments` (
  `id` INT64 NOT NULL OPTIONS(description='Payment id'),
  `active` BOOL OPTIONS(description='False for records that were deactivated, merged or deleted'),
  `appliedTo` ARRAY<STRUCT<`appliedAmount` NUMERIC, `appliedBy` STRING, `appliedId` INT64, `appliedOn` TIMESTAMP, `appliedTo` INT64, `appliedToReferenceNumber` STRING>> OPTIONS(description='Invoices that the payment was split over'),
  `authCode` STRING OPTIONS(description='Authorisation code of a card payment'),
  `batch` STRUCT<`id` INT64, `number` STRING, `name` STRING> OPTIONS(description='Accounting batch'),
  `businessUnit` STRUCT<`id` INT64, `name` STRING> OPTIONS(description='Business unit that took the payment'),
  `checkNumber` STRING OPTIONS(description='Number of the check'),
  `createdBy` STRING OPTIONS(description='Name of the user who made the record'),
  `createdOn` TIMESTAMP OPTIONS(description='When the record was made'),
  `customer` STRUCT<`id` INT64, `name` STRING> OPTIONS(description='Customer who paid'),
  `customFields` ARRAY<STRUCT<`name` STRING, `value` STRING>> OPTIONS(description='Fields that the tenant defined itself'),
  `date` TIMESTAMP OPTIONS(description='Day of the payment, written as midnight UTC'),
  `deposit` STRUCT<`id` INT64, `name` STRING> OPTIONS(description='Bank deposit that holds the payment'),
  `generalLedgerAccount` STRUCT<`id` INT64, `name` STRING, `number` STRING, `type` STRING, `detailType` STRING> OPTIONS(description='Account that the payment is booked to'),
  `memo` STRING OPTIONS(description='Free text'),
  `modifiedOn` TIMESTAMP OPTIONS(description='When the record last changed; its version'),
  `referenceNumber` STRING OPTIONS(description='Number shown to people'),
  `refundedPaymentId` INT64 OPTIONS(description='Payment that this one refunds'),
  `syncStatus` STRING OPTIONS(description='State in the accounting export'),
  `total` NUMERIC OPTIONS(description='Amount of the payment'),
  `type` STRING OPTIONS(description='Name of the payment type'),
  `typeId` STRING OPTIONS(description='Payment type, as the API\'s text'),
  `unappliedAmount` NUMERIC OPTIONS(description='Part that is not yet split to invoices'),
  `invoiceId` INT64 OPTIONS(description='First invoice that the payment was applied to'),
  `paymentTypeId` INT64 OPTIONS(description='Payment type, typeId as a number'),
  `status` STRING OPTIONS(description='State in the accounting export, as syncStatus'),
  `_tenant_id` INT64 NOT NULL OPTIONS(description='ServiceTitan tenant; with id the key of the row'),
  `_run_id` STRING NOT NULL OPTIONS(description='Run that wrote this version of the row'),
  `_ingested_at` TIMESTAMP NOT NULL OPTIONS(description='When this version was merged'),
  `_ingestion_source` STRING NOT NULL OPTIONS(description='Program that wrote the row: servicetitan_v2'),
  `_row_hash` STRING NOT NULL OPTIONS(description='Hash of the source record, independent of member order'),
  `_fetched_at` TIMESTAMP NOT NULL OPTIONS(description='When the record was asked for, by the server\'s clock'),
  `_extra` JSON OPTIONS(description='Source values that fit no column, by their path'),
  `_deleted_at` TIMESTAMP OPTIONS(description='When the source was seen to have lost the record'),
  `_group_date` DATE OPTIONS(description='Rows without an id of their own: day of creation (UTC)')
)
PARTITION BY DATE(`modifiedOn`)
CLUSTER BY `invoiceId`, `paymentTypeId`, `status`
OPTIONS(description='Payments and the invoices that they were applied to');

-- table st_stage_v2.stage_payments
CREATE TABLE IF NOT EXISTS `st_stage_v2.stage_payments` (
  `id` INT64 NOT NULL OPTIONS(description='Payment id'),
  `active` BOOL OPTIONS(description='False for records that were deactivated, merged or deleted'),
  `appliedTo` ARRAY<STRUCT<`appliedAmount` NUMERIC, `appliedBy` STRING, `appliedId` INT64, `appliedOn` TIMESTAMP, `appliedTo` INT64, `appliedToReferenceNumber` STRING>> OPTIONS(description='Invoices that the payment was split over'),
  `authCode` STRING OPTIONS(description='Authorisation code of a card payment'),
  `batch` STRUCT<`id` INT64, `number` STRING, `name` STRING> OPTIONS(description='Accounting batch'),
  `businessUnit` STRUCT<`id` INT64, `name` STRING> OPTIONS(description='Business unit that took the payment'),
  `checkNumber` STRING OPTIONS(description='Number of the check'),
  `createdBy` STRING OPTIONS(description='Name of the user who made the record'),
  `createdOn` TIMESTAMP OPTIONS(description='When the record was made'),
  `customer` STRUCT<`id` INT64, `name` STRING> OPTIONS(description='Customer who paid'),
  `customFields` ARRAY<STRUCT<`name` STRING, `value` STRING>> OPTIONS(description='Fields that the tenant defined itself'),
  `date` TIMESTAMP OPTIONS(description='Day of the payment, written as midnight UTC'),
  `deposit` STRUCT<`id` INT64, `name` STRING> OPTIONS(description='Bank deposit that holds the payment'),
  `generalLedgerAccount` STRUCT<`id` INT64, `name` STRING, `number` STRING, `type` STRING, `detailType` STRING> OPTIONS(description='Account that the payment is booked to'),
  `memo` STRING OPTIONS(description='Free text'),
  `modifiedOn` TIMESTAMP OPTIONS(description='When the record last changed; its version'),
  `referenceNumber` STRING OPTIONS(description='Number shown to people'),
  `refundedPaymentId` INT64 OPTIONS(description='Payment that this one refunds'),
  `syncStatus` STRING OPTIONS(description='State in the accounting export'),
  `total` NUMERIC OPTIONS(description='Amount of the payment'),
  `type` STRING OPTIONS(description='Name of the payment type'),
  `typeId` STRING OPTIONS(description='Payment type, as the API\'s text'),
  `unappliedAmount` NUMERIC OPTIONS(description='Part that is not yet split to invoices'),
  `invoiceId` INT64 OPTIONS(description='First invoice that the payment was applied to'),
  `paymentTypeId` INT64 OPTIONS(description='Payment type, typeId as a number'),
  `status` STRING OPTIONS(description='State in the accounting export, as syncStatus'),
  `_tenant_id` INT64 NOT NULL OPTIONS(description='ServiceTitan tenant'),
  `_run_id` STRING NOT NULL OPTIONS(description='Run that staged the row'),
  `_fetch_id` INT64 NOT NULL OPTIONS(description='Fetch within the run, from 1'),
  `_row_number` INT64 NOT NULL OPTIONS(description='Row within the fetch, dense from 1'),
  `_row_hash` STRING NOT NULL OPTIONS(description='Hash of the source record, independent of member order'),
  `_fetched_at` TIMESTAMP NOT NULL OPTIONS(description='When the record was asked for, by the server\'s clock'),
  `_extra` JSON OPTIONS(description='Source values that fit no column, by their path'),
  `_deleted` BOOL NOT NULL OPTIONS(description='The feed shows the record as deleted'),
  `_group_date` DATE OPTIONS(description='Rows without an id of their own: day of creation (UTC)'),
  `_staged_at` TIMESTAMP DEFAULT CURRENT_TIMESTAMP() OPTIONS(description='When the server took the row')
)
PARTITION BY TIMESTAMP_TRUNC(`_staged_at`, HOUR)
CLUSTER BY `_run_id`
OPTIONS(description='Rows of unfinished runs, on their way to the target table', partition_expiration_days=7);

-- view st_stage_v2.payments
CREATE OR REPLACE VIEW `st_stage_v2.payments`
OPTIONS(description='Payments and the invoices that they were applied to')
AS SELECT
  t.`id` AS `id`,
  t.`active` AS `active`,
  t.`appliedTo` AS `appliedTo`,
  t.`authCode` AS `authCode`,
  t.`batch`.`id` AS `batch_id`,
  t.`batch`.`number` AS `batch_number`,
  t.`batch`.`name` AS `batch_name`,
  t.`businessUnit`.`id` AS `businessUnit_id`,
  t.`businessUnit`.`name` AS `businessUnit_name`,
  t.`checkNumber` AS `checkNumber`,
  t.`createdBy` AS `createdBy`,
  t.`createdOn` AS `createdOn`,
  t.`customer`.`id` AS `customer_id`,
  t.`customer`.`name` AS `customer_name`,
  t.`customFields` AS `customFields`,
  t.`date` AS `date`,
  t.`deposit`.`id` AS `deposit_id`,
  t.`deposit`.`name` AS `deposit_name`,
  t.`generalLedgerAccount`.`id` AS `generalLedgerAccount_id`,
  t.`generalLedgerAccount`.`name` AS `generalLedgerAccount_name`,
  t.`generalLedgerAccount`.`number` AS `generalLedgerAccount_number`,
  t.`generalLedgerAccount`.`type` AS `generalLedgerAccount_type`,
  t.`generalLedgerAccount`.`detailType` AS `generalLedgerAccount_detailType`,
  t.`memo` AS `memo`,
  t.`modifiedOn` AS `modifiedOn`,
  t.`referenceNumber` AS `referenceNumber`,
  t.`refundedPaymentId` AS `refundedPaymentId`,
  t.`syncStatus` AS `syncStatus`,
  t.`total` AS `total`,
  t.`type` AS `type`,
  t.`typeId` AS `typeId`,
  t.`unappliedAmount` AS `unappliedAmount`,
  t.`invoiceId` AS `invoiceId`,
  t.`paymentTypeId` AS `paymentTypeId`,
  t.`status` AS `status`,
  t._tenant_id,
  t._run_id,
  t._ingested_at,
  t._fetched_at
FROM `st_raw_v2.raw_payments` AS t
WHERE t._deleted_at IS NULL;

-- table st_raw_v2.raw_payroll
CREATE TABLE IF NOT EXISTS `st_raw_v2.raw_payroll` (
  `id` INT64 NOT NULL OPTIONS(description='Pay item id; negative and made from the content when the API gives none'),
  `employeeId` INT64 OPTIONS(description='Employee who is paid'),
  `employeeType` STRING OPTIONS(description='Kind of employee'),
  `businessUnitName` STRING OPTIONS(description='Business unit of the employee'),
  `payrollId` INT64 OPTIONS(description='Payroll period of the employee'),
  `employeePayrollId` STRING OPTIONS(description='Number of the employee in the payroll system'),
  `date` TIMESTAMP OPTIONS(description='Day of the work, as the API\'s time'),
  `activity` STRING OPTIONS(description='What was done'),
  `activityCodeId` INT64 OPTIONS(description='Activity code'),
  `activityCode` STRING OPTIONS(description='Name of the activity code'),
  `amount` NUMERIC OPTIONS(description='Gross pay'),
  `amountAdjustment` NUMERIC OPTIONS(description='Correction of the amount'),
  `payoutBusinessUnitName` STRING OPTIONS(description='Business unit that bears the cost'),
  `grossPayItemType` STRING OPTIONS(description='Kind of pay'),
  `startedOn` TIMESTAMP OPTIONS(description='Start of the paid time'),
  `endedOn` TIMESTAMP OPTIONS(description='End of the paid time'),
  `paidDurationHours` NUMERIC OPTIONS(description='Hours that are paid'),
  `paidTimeType` STRING OPTIONS(description='Kind of paid time'),
  `sourceEntityId` INT64 OPTIONS(description='Record that caused the pay; not unique'),
  `jobId` INT64 OPTIONS(description='Job, 0 when none'),
  `jobNumber` STRING OPTIONS(description='Number of the job'),
  `jobTypeName` STRING OPTIONS(description='Name of the job type'),
  `projectNumber` STRING OPTIONS(description='Number of the project'),
  `projectId` INT64 OPTIONS(description='Project that the record belongs to'),
  `invoiceId` INT64 OPTIONS(description='Invoice'),
  `invoiceNumber` STRING OPTIONS(description='Number of the invoice'),
  `invoiceItemId` INT64 OPTIONS(description='Invoice line'),
  `customerId` INT64 OPTIONS(description='Customer'),
  `customerName` STRING OPTIONS(description='Name of the customer'),
  `locationId` INT64 OPTIONS(description='Service location'),
  `locationName` STRING OPTIONS(description='Name of the location'),
  `locationAddress` STRING OPTIONS(description='Address of the location'),
  `locationZip` STRING OPTIONS(description='Postal code of the location, free text'),
  `zoneName` STRING OPTIONS(description='Name of the dispatch zone'),
  `taxZoneName` STRING OPTIONS(description='Name of the tax zone'),
  `laborTypeId` INT64 OPTIONS(description='Labor type'),
  `laborTypeCode` STRING OPTIONS(description='Code of the labor type'),
  `budgetCodeId` INT64 OPTIONS(description='Budget code'),
  `isPrevailingWageJob` BOOL OPTIONS(description='True when a prevailing wage applies'),
  `memo` STRING OPTIONS(description='Free text'),
  `createdOn` TIMESTAMP OPTIONS(description='When the record was made'),
  `modifiedOn` TIMESTAMP OPTIONS(description='When the record last changed; its version'),
  `paidDate` DATE OPTIONS(description='Day of the work, the calendar day of date'),
  `_tenant_id` INT64 NOT NULL OPTIONS(description='ServiceTitan tenant; with id the key of the row'),
  `_run_id` STRING NOT NULL OPTIONS(description='Run that wrote this version of the row'),
  `_ingested_at` TIMESTAMP NOT NULL OPTIONS(description='When this version was merged'),
  `_ingestion_source` STRING NOT NULL OPTIONS(description='Program that wrote the row: servicetitan_v2'),
  `_row_hash` STRING NOT NULL OPTIONS(description='Hash of the source record, independent of member order'),
  `_fetched_at` TIMESTAMP NOT NULL OPTIONS(description='When the record was asked for, by the server\'s clock'),
  `_extra` JSON OPTIONS(description='Source values that fit no column, by their path'),
  `_deleted_at` TIMESTAMP OPTIONS(description='When the source was seen to have lost the record'),
  `_group_date` DATE OPTIONS(description='Rows without an id of their own: day of creation (UTC)')
)
PARTITION BY DATE(`modifiedOn`)
CLUSTER BY `employeeId`, `paidDate`
OPTIONS(description='Gross pay items: what employees earned, and by what');

-- table st_stage_v2.stage_payroll
CREATE TABLE IF NOT EXISTS `st_stage_v2.stage_payroll` (
  `id` INT64 NOT NULL OPTIONS(description='Pay item id; negative and made from the content when the API gives none'),
  `employeeId` INT64 OPTIONS(description='Employee who is paid'),
  `employeeType` STRING OPTIONS(description='Kind of employee'),
  `businessUnitName` STRING OPTIONS(description='Business unit of the employee'),
  `payrollId` INT64 OPTIONS(description='Payroll period of the employee'),
  `employeePayrollId` STRING OPTIONS(description='Number of the employee in the payroll system'),
  `date` TIMESTAMP OPTIONS(description='Day of the work, as the API\'s time'),
  `activity` STRING OPTIONS(description='What was done'),
  `activityCodeId` INT64 OPTIONS(description='Activity code'),
  `activityCode` STRING OPTIONS(description='Name of the activity code'),
  `amount` NUMERIC OPTIONS(description='Gross pay'),
  `amountAdjustment` NUMERIC OPTIONS(description='Correction of the amount'),
  `payoutBusinessUnitName` STRING OPTIONS(description='Business unit that bears the cost'),
  `grossPayItemType` STRING OPTIONS(description='Kind of pay'),
  `startedOn` TIMESTAMP OPTIONS(description='Start of the paid time'),
  `endedOn` TIMESTAMP OPTIONS(description='End of the paid time'),
  `paidDurationHours` NUMERIC OPTIONS(description='Hours that are paid'),
  `paidTimeType` STRING OPTIONS(description='Kind of paid time'),
  `sourceEntityId` INT64 OPTIONS(description='Record that caused the pay; not unique'),
  `jobId` INT64 OPTIONS(description='Job, 0 when none'),
  `jobNumber` STRING OPTIONS(description='Number of the job'),
  `jobTypeName` STRING OPTIONS(description='Name of the job type'),
  `projectNumber` STRING OPTIONS(description='Number of the project'),
  `projectId` INT64 OPTIONS(description='Project that the record belongs to'),
  `invoiceId` INT64 OPTIONS(description='Invoice'),
  `invoiceNumber` STRING OPTIONS(description='Number of the invoice'),
  `invoiceItemId` INT64 OPTIONS(description='Invoice line'),
  `customerId` INT64 OPTIONS(description='Customer'),
  `customerName` STRING OPTIONS(description='Name of the customer'),
  `locationId` INT64 OPTIONS(description='Service location'),
  `locationName` STRING OPTIONS(description='Name of the location'),
  `locationAddress` STRING OPTIONS(description='Address of the location'),
  `locationZip` STRING OPTIONS(description='Postal code of the location, free text'),
  `zoneName` STRING OPTIONS(description='Name of the dispatch zone'),
  `taxZoneName` STRING OPTIONS(description='Name of the tax zone'),
  `laborTypeId` INT64 OPTIONS(description='Labor type'),
  `laborTypeCode` STRING OPTIONS(description='Code of the labor type'),
  `budgetCodeId` INT64 OPTIONS(description='Budget code'),
  `isPrevailingWageJob` BOOL OPTIONS(description='True when a prevailing wage applies'),
  `memo` STRING OPTIONS(description='Free text'),
  `createdOn` TIMESTAMP OPTIONS(description='When the record was made'),
  `modifiedOn` TIMESTAMP OPTIONS(description='When the record last changed; its version'),
  `paidDate` DATE OPTIONS(description='Day of the work, the calendar day of date'),
  `_tenant_id` INT64 NOT NULL OPTIONS(description='ServiceTitan tenant'),
  `_run_id` STRING NOT NULL OPTIONS(description='Run that staged the row'),
  `_fetch_id` INT64 NOT NULL OPTIONS(description='Fetch within the run, from 1'),
  `_row_number` INT64 NOT NULL OPTIONS(description='Row within the fetch, dense from 1'),
  `_row_hash` STRING NOT NULL OPTIONS(description='Hash of the source record, independent of member order'),
  `_fetched_at` TIMESTAMP NOT NULL OPTIONS(description='When the record was asked for, by the server\'s clock'),
  `_extra` JSON OPTIONS(description='Source values that fit no column, by their path'),
  `_deleted` BOOL NOT NULL OPTIONS(description='The feed shows the record as deleted'),
  `_group_date` DATE OPTIONS(description='Rows without an id of their own: day of creation (UTC)'),
  `_staged_at` TIMESTAMP DEFAULT CURRENT_TIMESTAMP() OPTIONS(description='When the server took the row')
)
PARTITION BY TIMESTAMP_TRUNC(`_staged_at`, HOUR)
CLUSTER BY `_run_id`
OPTIONS(description='Rows of unfinished runs, on their way to the target table', partition_expiration_days=7);

-- view st_stage_v2.payroll
CREATE OR REPLACE VIEW `st_stage_v2.payroll`
OPTIONS(description='Gross pay items: what employees earned, and by what')
AS SELECT
  t.`id` AS `id`,
  t.`employeeId` AS `employeeId`,
  t.`employeeType` AS `employeeType`,
  t.`businessUnitName` AS `businessUnitName`,
  t.`payrollId` AS `payrollId`,
  t.`employeePayrollId` AS `employeePayrollId`,
  t.`date` AS `date`,
  t.`activity` AS `activity`,
  t.`activityCodeId` AS `activityCodeId`,
  t.`activityCode` AS `activityCode`,
  t.`amount` AS `amount`,
  t.`amountAdjustment` AS `amountAdjustment`,
  t.`payoutBusinessUnitName` AS `payoutBusinessUnitName`,
  t.`grossPayItemType` AS `grossPayItemType`,
  t.`startedOn` AS `startedOn`,
  t.`endedOn` AS `endedOn`,
  t.`paidDurationHours` AS `paidDurationHours`,
  t.`paidTimeType` AS `paidTimeType`,
  t.`sourceEntityId` AS `sourceEntityId`,
  t.`jobId` AS `jobId`,
  t.`jobNumber` AS `jobNumber`,
  t.`jobTypeName` AS `jobTypeName`,
  t.`projectNumber` AS `projectNumber`,
  t.`projectId` AS `projectId`,
  t.`invoiceId` AS `invoiceId`,
  t.`invoiceNumber` AS `invoiceNumber`,
  t.`invoiceItemId` AS `invoiceItemId`,
  t.`customerId` AS `customerId`,
  t.`customerName` AS `customerName`,
  t.`locationId` AS `locationId`,
  t.`locationName` AS `locationName`,
  t.`locationAddress` AS `locationAddress`,
  t.`locationZip` AS `locationZip`,
  t.`zoneName` AS `zoneName`,
  t.`taxZoneName` AS `taxZoneName`,
  t.`laborTypeId` AS `laborTypeId`,
  t.`laborTypeCode` AS `laborTypeCode`,
  t.`budgetCodeId` AS `budgetCodeId`,
  t.`isPrevailingWageJob` AS `isPrevailingWageJob`,
  t.`memo` AS `memo`,
  t.`createdOn` AS `createdOn`,
  t.`modifiedOn` AS `modifiedOn`,
  t.`paidDate` AS `paidDate`,
  t._tenant_id,
  t._run_id,
  t._ingested_at,
  t._fetched_at
FROM `st_raw_v2.raw_payroll` AS t
WHERE t._deleted_at IS NULL;

-- table st_raw_v2.raw_customers
CREATE TABLE IF NOT EXISTS `st_raw_v2.raw_customers` (
  `id` INT64 NOT NULL OPTIONS(description='Customer id'),
  `active` BOOL OPTIONS(description='False for records that were deactivated, merged or deleted'),
  `name` STRING OPTIONS(description='Name of the customer'),
  `type` STRING OPTIONS(description='Private person or company'),
  `address` STRUCT<`street` STRING, `unit` STRING, `city` STRING, `state` STRING, `zip` STRING, `country` STRING, `latitude` FLOAT64, `longitude` FLOAT64> OPTIONS(description='Billing address'),
  `customFields` ARRAY<STRUCT<`typeId` INT64, `name` STRING, `value` STRING>> OPTIONS(description='Fields that the tenant defined itself'),
  `balance` NUMERIC OPTIONS(description='What the customer owes'),
  `taxExempt` BOOL OPTIONS(description='True when no sales tax is charged'),
  `tagTypeIds` ARRAY<INT64> OPTIONS(description='Tags on the record'),
  `doNotMail` BOOL OPTIONS(description='True when the customer wants no mail'),
  `doNotService` BOOL OPTIONS(description='True when the customer must not be served'),
  `nationalAccount` BOOL OPTIONS(description='True for a national account'),
  `createdOn` TIMESTAMP OPTIONS(description='When the record was made'),
  `createdById` INT64 OPTIONS(description='User who made the record'),
  `modifiedOn` TIMESTAMP OPTIONS(description='When the record last changed; its version'),
  `mergedToId` INT64 OPTIONS(description='Surviving record after a merge'),
  `paymentTermId` INT64 OPTIONS(description='Payment term'),
  `creditLimit` NUMERIC OPTIONS(description='Credit limit'),
  `creditLimitBalance` NUMERIC OPTIONS(description='What is left of the credit limit'),
  `externalData` ARRAY<STRUCT<`key` STRING, `value` STRING>> OPTIONS(description='Key-value pairs that integrations attached'),
  `_tenant_id` INT64 NOT NULL OPTIONS(description='ServiceTitan tenant; with id the key of the row'),
  `_run_id` STRING NOT NULL OPTIONS(description='Run that wrote this version of the row'),
  `_ingested_at` TIMESTAMP NOT NULL OPTIONS(description='When this version was merged'),
  `_ingestion_source` STRING NOT NULL OPTIONS(description='Program that wrote the row: servicetitan_v2'),
  `_row_hash` STRING NOT NULL OPTIONS(description='Hash of the source record, independent of member order'),
  `_fetched_at` TIMESTAMP NOT NULL OPTIONS(description='When the record was asked for, by the server\'s clock'),
  `_extra` JSON OPTIONS(description='Source values that fit no column, by their path'),
  `_deleted_at` TIMESTAMP OPTIONS(description='When the source was seen to have lost the record'),
  `_group_date` DATE OPTIONS(description='Rows without an id of their own: day of creation (UTC)')
)
PARTITION BY DATE(`modifiedOn`)
CLUSTER BY `type`, `active`
OPTIONS(description='People and companies who are billed');

-- table st_stage_v2.stage_customers
CREATE TABLE IF NOT EXISTS `st_stage_v2.stage_customers` (
  `id` INT64 NOT NULL OPTIONS(description='Customer id'),
  `active` BOOL OPTIONS(description='False for records that were deactivated, merged or deleted'),
  `name` STRING OPTIONS(description='Name of the customer'),
  `type` STRING OPTIONS(description='Private person or company'),
  `address` STRUCT<`street` STRING, `unit` STRING, `city` STRING, `state` STRING, `zip` STRING, `country` STRING, `latitude` FLOAT64, `longitude` FLOAT64> OPTIONS(description='Billing address'),
  `customFields` ARRAY<STRUCT<`typeId` INT64, `name` STRING, `value` STRING>> OPTIONS(description='Fields that the tenant defined itself'),
  `balance` NUMERIC OPTIONS(description='What the customer owes'),
  `taxExempt` BOOL OPTIONS(description='True when no sales tax is charged'),
  `tagTypeIds` ARRAY<INT64> OPTIONS(description='Tags on the record'),
  `doNotMail` BOOL OPTIONS(description='True when the customer wants no mail'),
  `doNotService` BOOL OPTIONS(description='True when the customer must not be served'),
  `nationalAccount` BOOL OPTIONS(description='True for a national account'),
  `createdOn` TIMESTAMP OPTIONS(description='When the record was made'),
  `createdById` INT64 OPTIONS(description='User who made the record'),
  `modifiedOn` TIMESTAMP OPTIONS(description='When the record last changed; its version'),
  `mergedToId` INT64 OPTIONS(description='Surviving record after a merge'),
  `paymentTermId` INT64 OPTIONS(description='Payment term'),
  `creditLimit` NUMERIC OPTIONS(description='Credit limit'),
  `creditLimitBalance` NUMERIC OPTIONS(description='What is left of the credit limit'),
  `externalData` ARRAY<STRUCT<`key` STRING, `value` STRING>> OPTIONS(description='Key-value pairs that integrations attached'),
  `_tenant_id` INT64 NOT NULL OPTIONS(description='ServiceTitan tenant'),
  `_run_id` STRING NOT NULL OPTIONS(description='Run that staged the row'),
  `_fetch_id` INT64 NOT NULL OPTIONS(description='Fetch within the run, from 1'),
  `_row_number` INT64 NOT NULL OPTIONS(description='Row within the fetch, dense from 1'),
  `_row_hash` STRING NOT NULL OPTIONS(description='Hash of the source record, independent of member order'),
  `_fetched_at` TIMESTAMP NOT NULL OPTIONS(description='When the record was asked for, by the server\'s clock'),
  `_extra` JSON OPTIONS(description='Source values that fit no column, by their path'),
  `_deleted` BOOL NOT NULL OPTIONS(description='The feed shows the record as deleted'),
  `_group_date` DATE OPTIONS(description='Rows without an id of their own: day of creation (UTC)'),
  `_staged_at` TIMESTAMP DEFAULT CURRENT_TIMESTAMP() OPTIONS(description='When the server took the row')
)
PARTITION BY TIMESTAMP_TRUNC(`_staged_at`, HOUR)
CLUSTER BY `_run_id`
OPTIONS(description='Rows of unfinished runs, on their way to the target table', partition_expiration_days=7);

-- view st_stage_v2.customers
CREATE OR REPLACE VIEW `st_stage_v2.customers`
OPTIONS(description='People and companies who are billed')
AS SELECT
  t.`id` AS `id`,
  t.`active` AS `active`,
  t.`name` AS `name`,
  t.`type` AS `type`,
  t.`address`.`street` AS `address_street`,
  t.`address`.`unit` AS `address_unit`,
  t.`address`.`city` AS `address_city`,
  t.`address`.`state` AS `address_state`,
  t.`address`.`zip` AS `address_zip`,
  t.`address`.`country` AS `address_country`,
  t.`address`.`latitude` AS `address_latitude`,
  t.`address`.`longitude` AS `address_longitude`,
  t.`customFields` AS `customFields`,
  t.`balance` AS `balance`,
  t.`taxExempt` AS `taxExempt`,
  t.`tagTypeIds` AS `tagTypeIds`,
  t.`doNotMail` AS `doNotMail`,
  t.`doNotService` AS `doNotService`,
  t.`nationalAccount` AS `nationalAccount`,
  t.`createdOn` AS `createdOn`,
  t.`createdById` AS `createdById`,
  t.`modifiedOn` AS `modifiedOn`,
  t.`mergedToId` AS `mergedToId`,
  t.`paymentTermId` AS `paymentTermId`,
  t.`creditLimit` AS `creditLimit`,
  t.`creditLimitBalance` AS `creditLimitBalance`,
  t.`externalData` AS `externalData`,
  t._tenant_id,
  t._run_id,
  t._ingested_at,
  t._fetched_at
FROM `st_raw_v2.raw_customers` AS t
WHERE t._deleted_at IS NULL;

-- table st_raw_v2.raw_locations
CREATE TABLE IF NOT EXISTS `st_raw_v2.raw_locations` (
  `id` INT64 NOT NULL OPTIONS(description='Location id'),
  `customerId` INT64 OPTIONS(description='Customer who owns the location'),
  `active` BOOL OPTIONS(description='False for records that were deactivated, merged or deleted'),
  `name` STRING OPTIONS(description='Name of the location'),
  `address` STRUCT<`street` STRING, `unit` STRING, `city` STRING, `state` STRING, `zip` STRING, `country` STRING, `latitude` FLOAT64, `longitude` FLOAT64> OPTIONS(description='Address of the location'),
  `customFields` ARRAY<STRUCT<`typeId` INT64, `name` STRING, `value` STRING>> OPTIONS(description='Fields that the tenant defined itself'),
  `createdOn` TIMESTAMP OPTIONS(description='When the record was made'),
  `createdById` INT64 OPTIONS(description='User who made the record'),
  `modifiedOn` TIMESTAMP OPTIONS(description='When the record last changed; its version'),
  `mergedToId` INT64 OPTIONS(description='Surviving record after a merge'),
  `zoneId` INT64 OPTIONS(description='Dispatch zone'),
  `taxExempt` BOOL OPTIONS(description='True when no sales tax is charged'),
  `tagTypeIds` ARRAY<INT64> OPTIONS(description='Tags on the record'),
  `externalData` ARRAY<STRUCT<`key` STRING, `value` STRING>> OPTIONS(description='Key-value pairs that integrations attached'),
  `taxZoneId` INT64 OPTIONS(description='Tax zone'),
  `_tenant_id` INT64 NOT NULL OPTIONS(description='ServiceTitan tenant; with id the key of the row'),
  `_run_id` STRING NOT NULL OPTIONS(description='Run that wrote this version of the row'),
  `_ingested_at` TIMESTAMP NOT NULL OPTIONS(description='When this version was merged'),
  `_ingestion_source` STRING NOT NULL OPTIONS(description='Program that wrote the row: servicetitan_v2'),
  `_row_hash` STRING NOT NULL OPTIONS(description='Hash of the source record, independent of member order'),
  `_fetched_at` TIMESTAMP NOT NULL OPTIONS(description='When the record was asked for, by the server\'s clock'),
  `_extra` JSON OPTIONS(description='Source values that fit no column, by their path'),
  `_deleted_at` TIMESTAMP OPTIONS(description='When the source was seen to have lost the record'),
  `_group_date` DATE OPTIONS(description='Rows without an id of their own: day of creation (UTC)')
)
PARTITION BY DATE(`modifiedOn`)
CLUSTER BY `customerId`, `active`
OPTIONS(description='Places where customers are served');

-- table st_stage_v2.stage_locations
CREATE TABLE IF NOT EXISTS `st_stage_v2.stage_locations` (
  `id` INT64 NOT NULL OPTIONS(description='Location id'),
  `customerId` INT64 OPTIONS(description='Customer who owns the location'),
  `active` BOOL OPTIONS(description='False for records that were deactivated, merged or deleted'),
  `name` STRING OPTIONS(description='Name of the location'),
  `address` STRUCT<`street` STRING, `unit` STRING, `city` STRING, `state` STRING, `zip` STRING, `country` STRING, `latitude` FLOAT64, `longitude` FLOAT64> OPTIONS(description='Address of the location'),
  `customFields` ARRAY<STRUCT<`typeId` INT64, `name` STRING, `value` STRING>> OPTIONS(description='Fields that the tenant defined itself'),
  `createdOn` TIMESTAMP OPTIONS(description='When the record was made'),
  `createdById` INT64 OPTIONS(description='User who made the record'),
  `modifiedOn` TIMESTAMP OPTIONS(description='When the record last changed; its version'),
  `mergedToId` INT64 OPTIONS(description='Surviving record after a merge'),
  `zoneId` INT64 OPTIONS(description='Dispatch zone'),
  `taxExempt` BOOL OPTIONS(description='True when no sales tax is charged'),
  `tagTypeIds` ARRAY<INT64> OPTIONS(description='Tags on the record'),
  `externalData` ARRAY<STRUCT<`key` STRING, `value` STRING>> OPTIONS(description='Key-value pairs that integrations attached'),
  `taxZoneId` INT64 OPTIONS(description='Tax zone'),
  `_tenant_id` INT64 NOT NULL OPTIONS(description='ServiceTitan tenant'),
  `_run_id` STRING NOT NULL OPTIONS(description='Run that staged the row'),
  `_fetch_id` INT64 NOT NULL OPTIONS(description='Fetch within the run, from 1'),
  `_row_number` INT64 NOT NULL OPTIONS(description='Row within the fetch, dense from 1'),
  `_row_hash` STRING NOT NULL OPTIONS(description='Hash of the source record, independent of member order'),
  `_fetched_at` TIMESTAMP NOT NULL OPTIONS(description='When the record was asked for, by the server\'s clock'),
  `_extra` JSON OPTIONS(description='Source values that fit no column, by their path'),
  `_deleted` BOOL NOT NULL OPTIONS(description='The feed shows the record as deleted'),
  `_group_date` DATE OPTIONS(description='Rows without an id of their own: day of creation (UTC)'),
  `_staged_at` TIMESTAMP DEFAULT CURRENT_TIMESTAMP() OPTIONS(description='When the server took the row')
)
PARTITION BY TIMESTAMP_TRUNC(`_staged_at`, HOUR)
CLUSTER BY `_run_id`
OPTIONS(description='Rows of unfinished runs, on their way to the target table', partition_expiration_days=7);

-- view st_stage_v2.locations
CREATE OR REPLACE VIEW `st_stage_v2.locations`
OPTIONS(description='Places where customers are served')
AS SELECT
  t.`id` AS `id`,
  t.`customerId` AS `customerId`,
  t.`active` AS `active`,
  t.`name` AS `name`,
  t.`address`.`street` AS `address_street`,
  t.`address`.`unit` AS `address_unit`,
  t.`address`.`city` AS `address_city`,
  t.`address`.`state` AS `address_state`,
  t.`address`.`zip` AS `address_zip`,
  t.`address`.`country` AS `address_country`,
  t.`address`.`latitude` AS `address_latitude`,
  t.`address`.`longitude` AS `address_longitude`,
  t.`customFields` AS `customFields`,
  t.`createdOn` AS `createdOn`,
  t.`createdById` AS `createdById`,
  t.`modifiedOn` AS `modifiedOn`,
  t.`mergedToId` AS `mergedToId`,
  t.`zoneId` AS `zoneId`,
  t.`taxExempt` AS `taxExempt`,
  t.`tagTypeIds` AS `tagTypeIds`,
  t.`externalData` AS `externalData`,
  t.`taxZoneId` AS `taxZoneId`,
  t._tenant_id,
  t._run_id,
  t._ingested_at,
  t._fetched_at
FROM `st_raw_v2.raw_locations` AS t
WHERE t._deleted_at IS NULL;

-- table st_raw_v2.raw_campaigns
CREATE TABLE IF NOT EXISTS `st_raw_v2.raw_campaigns` (
  `id` INT64 NOT NULL OPTIONS(description='Campaign id'),
  `name` STRING OPTIONS(description='Name of the campaign'),
  `modifiedOn` TIMESTAMP OPTIONS(description='When the record last changed; its version'),
  `createdOn` TIMESTAMP OPTIONS(description='When the record was made'),
  `active` BOOL OPTIONS(description='False for records that were deactivated, merged or deleted'),
  `isDefaultCampaign` BOOL OPTIONS(description='True for the campaign that is used when none is chosen'),
  `category` STRUCT<`id` INT64, `name` STRING, `active` BOOL> OPTIONS(description='Category of the campaign'),
  `source` STRING OPTIONS(description='Where customers hear of it'),
  `otherSource` STRING OPTIONS(description='Source in free text'),
  `businessUnit` STRING OPTIONS(description='Business unit, as the API\'s text'),
  `medium` STRING OPTIONS(description='Medium'),
  `otherMedium` STRING OPTIONS(description='Medium in free text'),
  `campaignPhoneNumbers` ARRAY<STRING> OPTIONS(description='Phone numbers that are tracked'),
  `categoryId` INT64 OPTIONS(description='Category, from category'),
  `_tenant_id` INT64 NOT NULL OPTIONS(description='ServiceTitan tenant; with id the key of the row'),
  `_run_id` STRING NOT NULL OPTIONS(description='Run that wrote this version of the row'),
  `_ingested_at` TIMESTAMP NOT NULL OPTIONS(description='When this version was merged'),
  `_ingestion_source` STRING NOT NULL OPTIONS(description='Program that wrote the row: servicetitan_v2'),
  `_row_hash` STRING NOT NULL OPTIONS(description='Hash of the source record, independent of member order'),
  `_fetched_at` TIMESTAMP NOT NULL OPTIONS(description='When the record was asked for, by the server\'s clock'),
  `_extra` JSON OPTIONS(description='Source values that fit no column, by their path'),
  `_deleted_at` TIMESTAMP OPTIONS(description='When the source was seen to have lost the record'),
  `_group_date` DATE OPTIONS(description='Rows without an id of their own: day of creation (UTC)')
)
PARTITION BY DATE(`modifiedOn`)
CLUSTER BY `active`, `categoryId`
OPTIONS(description='Marketing campaigns that jobs are credited to');

-- table st_stage_v2.stage_campaigns
CREATE TABLE IF NOT EXISTS `st_stage_v2.stage_campaigns` (
  `id` INT64 NOT NULL OPTIONS(description='Campaign id'),
  `name` STRING OPTIONS(description='Name of the campaign'),
  `modifiedOn` TIMESTAMP OPTIONS(description='When the record last changed; its version'),
  `createdOn` TIMESTAMP OPTIONS(description='When the record was made'),
  `active` BOOL OPTIONS(description='False for records that were deactivated, merged or deleted'),
  `isDefaultCampaign` BOOL OPTIONS(description='True for the campaign that is used when none is chosen'),
  `category` STRUCT<`id` INT64, `name` STRING, `active` BOOL> OPTIONS(description='Category of the campaign'),
  `source` STRING OPTIONS(description='Where customers hear of it'),
  `otherSource` STRING OPTIONS(description='Source in free text'),
  `businessUnit` STRING OPTIONS(description='Business unit, as the API\'s text'),
  `medium` STRING OPTIONS(description='Medium'),
  `otherMedium` STRING OPTIONS(description='Medium in free text'),
  `campaignPhoneNumbers` ARRAY<STRING> OPTIONS(description='Phone numbers that are tracked'),
  `categoryId` INT64 OPTIONS(description='Category, from category'),
  `_tenant_id` INT64 NOT NULL OPTIONS(description='ServiceTitan tenant'),
  `_run_id` STRING NOT NULL OPTIONS(description='Run that staged the row'),
  `_fetch_id` INT64 NOT NULL OPTIONS(description='Fetch within the run, from 1'),
  `_row_number` INT64 NOT NULL OPTIONS(description='Row within the fetch, dense from 1'),
  `_row_hash` STRING NOT NULL OPTIONS(description='Hash of the source record, independent of member order'),
  `_fetched_at` TIMESTAMP NOT NULL OPTIONS(description='When the record was asked for, by the server\'s clock'),
  `_extra` JSON OPTIONS(description='Source values that fit no column, by their path'),
  `_deleted` BOOL NOT NULL OPTIONS(description='The feed shows the record as deleted'),
  `_group_date` DATE OPTIONS(description='Rows without an id of their own: day of creation (UTC)'),
  `_staged_at` TIMESTAMP DEFAULT CURRENT_TIMESTAMP() OPTIONS(description='When the server took the row')
)
PARTITION BY TIMESTAMP_TRUNC(`_staged_at`, HOUR)
CLUSTER BY `_run_id`
OPTIONS(description='Rows of unfinished runs, on their way to the target table', partition_expiration_days=7);

-- view st_stage_v2.campaigns
CREATE OR REPLACE VIEW `st_stage_v2.campaigns`
OPTIONS(description='Marketing campaigns that jobs are credited to')
AS SELECT
  t.`id` AS `id`,
  t.`name` AS `name`,
  t.`modifiedOn` AS `modifiedOn`,
  t.`createdOn` AS `createdOn`,
  t.`active` AS `active`,
  t.`isDefaultCampaign` AS `isDefaultCampaign`,
  t.`category`.`id` AS `category_id`,
  t.`category`.`name` AS `category_name`,
  t.`category`.`active` AS `category_active`,
  t.`source` AS `source`,
  t.`otherSource` AS `otherSource`,
  t.`businessUnit` AS `businessUnit`,
  t.`medium` AS `medium`,
  t.`otherMedium` AS `otherMedium`,
  t.`campaignPhoneNumbers` AS `campaignPhoneNumbers`,
  t.`categoryId` AS `categoryId`,
  t._tenant_id,
  t._run_id,
  t._ingested_at,
  t._fetched_at
FROM `st_raw_v2.raw_campaigns` AS t
WHERE t._deleted_at IS NULL;

