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
  `verdict` STRING OPTIONS(description='What became of the message: done, defer (it waits in the worker), retry (it comes again) or reject (dead letter)')
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
  `updated_at` TIMESTAMP OPTIONS(description='When, by the worker\'s clock'),
  `continue_from` STRING OPTIONS(description='Where the export feed goes on; NULL: that run did not read it')
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
  `window_from` TIMESTAMP OPTIONS(description='Records created from then on; NULL: from the beginning'),
  `window_to` TIMESTAMP OPTIONS(description='Up to then, exclusive'),
  `source_count` INT64 OPTIONS(description='Records at the source'),
  `warehouse_count` INT64 OPTIONS(description='Live rows in the warehouse'),
  `missing_count` INT64 OPTIONS(description='At the source only'),
  `surplus_count` INT64 OPTIONS(description='In the warehouse only'),
  `stale_count` INT64 OPTIONS(description='In both, the source\'s version is another one'),
  `different_count` INT64 OPTIONS(description='In both, the same version with other values; the deep form looks for these'),
  `form` STRING OPTIONS(description='quick or deep'),
  `state` STRING OPTIONS(description='equal or different'),
  `requests` INT64 OPTIONS(description='API requests made'),
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
AS SELECT entity_type, tenant_id, last_sync_time, records_processed, updated_at, run_id, mode, continue_from
FROM (
  SELECT entity_type, tenant_id, last_sync_time, records_processed, updated_at, run_id, mode, continue_from,
    event_time,
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
  `_deleted` BOOL OPTIONS(description='The feed shows the record as deleted; NULL: this feed does not tell'),
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
  `_deleted` BOOL OPTIONS(description='The feed shows the record as deleted; NULL: this feed does not tell'),
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
  `_deleted` BOOL OPTIONS(description='The feed shows the record as deleted; NULL: this feed does not tell'),
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
  `_deleted` BOOL OPTIONS(description='The feed shows the record as deleted; NULL: this feed does not tell'),
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
  `_deleted` BOOL OPTIONS(description='The feed shows the record as deleted; NULL: this feed does not tell'),
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
  `_deleted` BOOL OPTIONS(description='The feed shows the record as deleted; NULL: this feed does not tell'),
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
  `_deleted` BOOL OPTIONS(description='The feed shows the record as deleted; NULL: this feed does not tell'),
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
  `_deleted` BOOL OPTIONS(description='The feed shows the record as deleted; NULL: this feed does not tell'),
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

-- table st_mart_v2.tenant_settings
CREATE TABLE IF NOT EXISTS `st_mart_v2.tenant_settings` (
  `tenant_id` INT64 NOT NULL OPTIONS(description='ServiceTitan tenant'),
  `time_zone` STRING OPTIONS(description='Time zone of the business, a name of the tz database such as America/New_York; UTC when missing')
)
OPTIONS(description='What the views of this dataset must be told about each tenant; written by hand, empty at first');

-- view st_mart_v2.tenant_time_zones
CREATE OR REPLACE VIEW `st_mart_v2.tenant_time_zones`
OPTIONS(description='Which time zone does each tenant live in?\n\nGrain: one row per tenant that tenant_settings names with a time zone, whatever number of rows it has there.\nRules: tenants that are not named live in UTC. Write a zone once, and all views follow:\nINSERT INTO st_mart_v2.tenant_settings (tenant_id, time_zone) VALUES (1234567, \'America/New_York\')')
AS SELECT tenant_id, MAX(time_zone) AS time_zone
FROM `st_mart_v2.tenant_settings`
WHERE time_zone != ''
GROUP BY tenant_id;

-- view st_mart_v2.customer_survivors
CREATE OR REPLACE VIEW `st_mart_v2.customer_survivors`
OPTIONS(description='Which customer stands for each customer after merges?\n\nGrain: one row per live customer; customers without a merge stand for themselves.\nRules: merges are followed one after the other, at most 20 times. merge_state says how it ended: \'not merged\'; \'merged\': the survivor\nwas found; \'survivor unknown\': the last one named is not in the warehouse, or deleted at the source, so the last known one stands for it;\n\'endless\': merged in a circle, or more than 20 times, so the customer stands for itself.')
AS WITH RECURSIVE chain AS (
  SELECT c._tenant_id AS tenant_id, c.id, c.id AS reached, c.mergedToId AS merged_to, 0 AS merges
  FROM `st_stage_v2.customers` AS c
  WHERE c.mergedToId IS NOT NULL
  UNION ALL
  SELECT chain.tenant_id, chain.id, c.id AS reached, c.mergedToId AS merged_to, chain.merges + 1 AS merges
  FROM chain
  JOIN `st_stage_v2.customers` AS c ON c._tenant_id = chain.tenant_id AND c.id = chain.merged_to
  WHERE chain.merges < 20
),
last_of_chain AS (
  SELECT tenant_id, id, reached, merged_to, merges
  FROM chain
  WHERE TRUE
  QUALIFY ROW_NUMBER() OVER (PARTITION BY tenant_id, id ORDER BY merges DESC) = 1
),
resolved AS (
  SELECT c._tenant_id AS tenant_id, c.id,
    IF(l.merges = 20 AND l.merged_to IS NOT NULL, c.id, IFNULL(l.reached, c.id)) AS survivor_id,
    CASE
      WHEN l.id IS NULL THEN 'not merged'
      WHEN l.merged_to IS NULL THEN 'merged'
      WHEN l.merges = 20 THEN 'endless'
      ELSE 'survivor unknown'
    END AS merge_state,
    IFNULL(l.merges, 0) AS merges
  FROM `st_stage_v2.customers` AS c
  LEFT JOIN last_of_chain AS l ON l.tenant_id = c._tenant_id AND l.id = c.id
)
SELECT r.tenant_id, r.id AS customer_id, r.survivor_id, r.merge_state, r.merges, s.name AS survivor_name, s.type AS survivor_type,
  s.active AS survivor_active, s.createdOn AS survivor_created_on
FROM resolved AS r
JOIN `st_stage_v2.customers` AS s ON s._tenant_id = r.tenant_id AND s.id = r.survivor_id;

-- view st_mart_v2.location_survivors
CREATE OR REPLACE VIEW `st_mart_v2.location_survivors`
OPTIONS(description='Which location stands for each location after merges?\n\nGrain: one row per live location; locations without a merge stand for themselves.\nRules: merges are followed one after the other, at most 20 times. merge_state says how it ended: \'not merged\'; \'merged\': the survivor\nwas found; \'survivor unknown\': the last one named is not in the warehouse, or deleted at the source, so the last known one stands for it;\n\'endless\': merged in a circle, or more than 20 times, so the location stands for itself.')
AS WITH RECURSIVE chain AS (
  SELECT c._tenant_id AS tenant_id, c.id, c.id AS reached, c.mergedToId AS merged_to, 0 AS merges
  FROM `st_stage_v2.locations` AS c
  WHERE c.mergedToId IS NOT NULL
  UNION ALL
  SELECT chain.tenant_id, chain.id, c.id AS reached, c.mergedToId AS merged_to, chain.merges + 1 AS merges
  FROM chain
  JOIN `st_stage_v2.locations` AS c ON c._tenant_id = chain.tenant_id AND c.id = chain.merged_to
  WHERE chain.merges < 20
),
last_of_chain AS (
  SELECT tenant_id, id, reached, merged_to, merges
  FROM chain
  WHERE TRUE
  QUALIFY ROW_NUMBER() OVER (PARTITION BY tenant_id, id ORDER BY merges DESC) = 1
),
resolved AS (
  SELECT c._tenant_id AS tenant_id, c.id,
    IF(l.merges = 20 AND l.merged_to IS NOT NULL, c.id, IFNULL(l.reached, c.id)) AS survivor_id,
    CASE
      WHEN l.id IS NULL THEN 'not merged'
      WHEN l.merged_to IS NULL THEN 'merged'
      WHEN l.merges = 20 THEN 'endless'
      ELSE 'survivor unknown'
    END AS merge_state,
    IFNULL(l.merges, 0) AS merges
  FROM `st_stage_v2.locations` AS c
  LEFT JOIN last_of_chain AS l ON l.tenant_id = c._tenant_id AND l.id = c.id
)
SELECT r.tenant_id, r.id AS location_id, r.survivor_id, r.merge_state, r.merges, s.name AS survivor_name,
  s.customerId AS survivor_customer_id, s.address_street AS street, s.address_unit AS unit, s.address_city AS city,
  s.address_state AS state, s.address_zip AS zip, s.address_country AS country
FROM resolved AS r
JOIN `st_stage_v2.locations` AS s ON s._tenant_id = r.tenant_id AND s.id = r.survivor_id;

-- view st_mart_v2.jobs
CREATE OR REPLACE VIEW `st_mart_v2.jobs`
OPTIONS(description='Which jobs were there, for whom, where, and by which campaign?\n\nGrain: one row per job that is live at the source; canceled jobs too, with their job_status.\nTime zone: days are the tenant\'s (tenant_time_zones; UTC when it is not named there), with summer time.\nRules: customer and location are the survivors of merges, the ids as they stand in the job are in original_...; where they\nwere deleted, the job stays and their names are NULL. Campaign 0 is no campaign: NULL. total is before tax, and what the job says; what was\nbilled is in invoices.')
AS SELECT j._tenant_id AS tenant_id, j.id AS job_id, j.jobNumber AS job_number, j.jobStatus AS job_status, j.priority,
  DATE(j.createdOn, IFNULL(z.time_zone, 'UTC')) AS created_day, DATE(j.completedOn, IFNULL(z.time_zone, 'UTC')) AS completed_day,
  j.createdOn AS created_on, j.completedOn AS completed_on, j.businessUnitId AS business_unit_id, j.jobTypeId AS job_type_id,
  IFNULL(c.survivor_id, j.customerId) AS customer_id, j.customerId AS original_customer_id, c.survivor_name AS customer_name,
  c.survivor_type AS customer_type, IFNULL(l.survivor_id, j.locationId) AS location_id, j.locationId AS original_location_id,
  l.survivor_name AS location_name, l.street, l.city, l.state, l.zip, NULLIF(j.campaignId, 0) AS campaign_id, a.name AS campaign_name,
  a.category_name AS campaign_category, NULLIF(j.invoiceId, 0) AS invoice_id, j.total, j.noCharge AS no_charge,
  j.recallForId AS recall_for_id, j.soldById AS sold_by_id, IFNULL(z.time_zone, 'UTC') AS time_zone
FROM `st_stage_v2.jobs` AS j
LEFT JOIN `st_mart_v2.tenant_time_zones` AS z ON z.tenant_id = j._tenant_id
LEFT JOIN `st_mart_v2.customer_survivors` AS c ON c.tenant_id = j._tenant_id AND c.customer_id = j.customerId
LEFT JOIN `st_mart_v2.location_survivors` AS l ON l.tenant_id = j._tenant_id AND l.location_id = j.locationId
LEFT JOIN `st_stage_v2.campaigns` AS a ON a._tenant_id = j._tenant_id AND a.id = j.campaignId;

-- view st_mart_v2.invoices
CREATE OR REPLACE VIEW `st_mart_v2.invoices`
OPTIONS(description='Which invoices count, of which day, and how much is revenue?\n\nGrain: one row per invoice that is live and active at the source.\nTime zone: invoice_day and due_day are calendar days as they stand on the invoice, in no zone. Where an invoice names no day, the day on which\nit was made counts, in the tenant\'s zone (tenant_time_zones; UTC when it is not named there).\nRules: inactive invoices (voided, deleted) do not count. revenue is the amount before tax: subTotal; where that is missing, total less\nsalesTax. Adjustments are invoices of their own, often negative, on their own day (adjusts_invoice_id). Invoices of canceled jobs count as long as they are\nactive. customer_id is the survivor of merges. Where no due day is given, the invoice is due on its day.')
AS SELECT i._tenant_id AS tenant_id, i.id AS invoice_id, i.referenceNumber AS invoice_number,
  IFNULL(DATE(i.invoiceDate), DATE(i.createdOn, IFNULL(z.time_zone, 'UTC'))) AS invoice_day,
  COALESCE(DATE(i.dueDate), DATE(i.invoiceDate), DATE(i.createdOn, IFNULL(z.time_zone, 'UTC'))) AS due_day, DATE(i.paidOn) AS paid_day,
  IFNULL(c.survivor_id, i.customer_id) AS customer_id, i.customer_id AS original_customer_id,
  IFNULL(c.survivor_name, i.customer_name) AS customer_name, NULLIF(i.jobId, 0) AS job_id, i.businessUnitId AS business_unit_id,
  i.businessUnit_name AS business_unit_name, i.invoiceType_name AS invoice_type, i.adjustmentToId AS adjusts_invoice_id,
  IFNULL(i.subTotal, IFNULL(i.total, 0) - IFNULL(i.salesTax, 0)) AS revenue, IFNULL(i.salesTax, 0) AS sales_tax,
  IFNULL(i.total, 0) AS total, IFNULL(i.balance, 0) AS balance, IFNULL(z.time_zone, 'UTC') AS time_zone
FROM `st_stage_v2.invoices` AS i
LEFT JOIN `st_mart_v2.tenant_time_zones` AS z ON z.tenant_id = i._tenant_id
LEFT JOIN `st_mart_v2.customer_survivors` AS c ON c.tenant_id = i._tenant_id AND c.customer_id = i.customer_id
WHERE i.active IS NOT FALSE;

-- view st_mart_v2.invoice_items
CREATE OR REPLACE VIEW `st_mart_v2.invoice_items`
OPTIONS(description='What was sold, line by line?\n\nGrain: one row per line of an invoice that is live and active; invoices without lines have no row.\nTime zone: invoice_day as in invoices.\nRules: those of invoices. total is the price of the line before tax, total_cost its cost; lines need not add up to the invoice\'s revenue\n(discounts of the whole invoice have no line), so sums of invoices come from invoices. The business unit is the line\'s, else the invoice\'s.')
AS SELECT n.tenant_id, n.invoice_id, item.id AS item_id, item.`order` AS position, n.invoice_day, n.customer_id, n.job_id,
  IFNULL(item.businessUnit.id, n.business_unit_id) AS business_unit_id, item.type AS item_type, item.skuId AS sku_id,
  item.skuName AS sku_name, item.displayName AS display_name, item.quantity, item.price, item.total, item.cost,
  item.totalCost AS total_cost, item.taxable, item.isChargeable AS is_chargeable, item.technicianId AS technician_id,
  item.estimateItemId AS estimate_item_id
FROM `st_stage_v2.invoices` AS i
JOIN `st_mart_v2.invoices` AS n ON n.tenant_id = i._tenant_id AND n.invoice_id = i.id
CROSS JOIN UNNEST(i.items) AS item;

-- view st_mart_v2.estimate_items
CREATE OR REPLACE VIEW `st_mart_v2.estimate_items`
OPTIONS(description='What was offered, line by line, and was it sold?\n\nGrain: one row per line of an estimate that is live and active; estimates without lines have no row.\nTime zone: days are the tenant\'s (tenant_time_zones; UTC when it is not named there), with summer time.\nRules: is_sold is the estimate\'s: all of its lines are sold or none is. Several estimates of one job offer the same work at several\nprices, so the sum of what is not sold is no expected income. Change orders are marked by is_change_order.')
AS SELECT e._tenant_id AS tenant_id, e.id AS estimate_id, item.id AS item_id, DATE(e.createdOn, IFNULL(z.time_zone, 'UTC')) AS created_day,
  e.status, e.status = 'Sold' AS is_sold, DATE(e.soldOn, IFNULL(z.time_zone, 'UTC')) AS sold_day, e.soldBy AS sold_by_id,
  NULLIF(e.jobId, 0) AS job_id, IFNULL(c.survivor_id, e.customerId) AS customer_id, e.businessUnitId AS business_unit_id,
  e.isChangeOrder AS is_change_order, item.sku.id AS sku_id, item.sku.name AS sku_name, item.sku.displayName AS display_name,
  item.sku.type AS sku_type, item.qty AS quantity, item.unitRate AS unit_rate, item.total, item.unitCost AS unit_cost,
  item.totalCost AS total_cost, item.invoiceItemId AS invoice_item_id, IFNULL(z.time_zone, 'UTC') AS time_zone
FROM `st_stage_v2.estimates` AS e
LEFT JOIN `st_mart_v2.tenant_time_zones` AS z ON z.tenant_id = e._tenant_id
LEFT JOIN `st_mart_v2.customer_survivors` AS c ON c.tenant_id = e._tenant_id AND c.customer_id = e.customerId
CROSS JOIN UNNEST(e.items) AS item
WHERE e.active IS NOT FALSE;

-- view st_mart_v2.payment_applications
CREATE OR REPLACE VIEW `st_mart_v2.payment_applications`
OPTIONS(description='Which payment paid which invoice, and how much of it?\n\nGrain: one row per part of a live and active payment that was applied to an invoice.\nTime zone: payment_day is the calendar day as it stands on the payment, in no zone.\nRules: inactive payments (voided, deleted) do not count. Refunds are negative, or name the payment that they refund: is_refund. What is not applied\nto an invoice yet has no row: payment_total and unapplied_amount are the whole payment\'s and stand on each of its rows, so\nnever add them up here. The invoice may be inactive or deleted.')
AS SELECT p._tenant_id AS tenant_id, p.id AS payment_id, part.appliedId AS application_id, part.appliedTo AS invoice_id,
  part.appliedAmount AS applied_amount, part.appliedOn AS applied_on, DATE(p.date) AS payment_day, p.type AS payment_type,
  IFNULL(c.survivor_id, p.customer_id) AS customer_id, p.total < 0 OR p.refundedPaymentId IS NOT NULL AS is_refund,
  p.refundedPaymentId AS refunded_payment_id, p.total AS payment_total, p.unappliedAmount AS unapplied_amount
FROM `st_stage_v2.payments` AS p
LEFT JOIN `st_mart_v2.customer_survivors` AS c ON c.tenant_id = p._tenant_id AND c.customer_id = p.customer_id
CROSS JOIN UNNEST(p.appliedTo) AS part
WHERE p.active IS NOT FALSE;

-- view st_mart_v2.daily_revenue
CREATE OR REPLACE VIEW `st_mart_v2.daily_revenue`
OPTIONS(description='How much revenue did each day bring?\n\nGrain: one row per tenant, day and business unit with at least one invoice.\nTime zone: the day is invoice_day of invoices.\nRules: those of invoices: billed, active, before tax, each invoice on one day only; what was paid does not matter. Adjustments lower the\nday on which they were made, not that of the invoice that they adjust; adjustments is their part of revenue. Invoices of nothing are counted in\ninvoices and in zero_invoices.')
AS SELECT tenant_id, invoice_day AS day, business_unit_id, MAX(business_unit_name) AS business_unit_name, COUNT(*) AS invoices,
  COUNTIF(total = 0) AS zero_invoices, SUM(revenue) AS revenue, SUM(sales_tax) AS sales_tax, SUM(total) AS total,
  SUM(IF(adjusts_invoice_id IS NOT NULL, revenue, 0)) AS adjustments
FROM `st_mart_v2.invoices`
GROUP BY tenant_id, day, business_unit_id;

-- view st_mart_v2.receivables_by_age
CREATE OR REPLACE VIEW `st_mart_v2.receivables_by_age`
OPTIONS(description='Who owes how much, and for how long?\n\nGrain: one row per tenant and customer (survivor of merges) with an open balance on at least one invoice.\nTime zone: today is the tenant\'s (tenant_time_zones; UTC when it is not named there), so the view\'s answer changes at the tenant\'s midnight.\nRules: those of invoices; what is owed is the balance that ServiceTitan keeps for each invoice, payments being taken off there. Age is days since due_day:\nnot_due up to 0, then 1 to 30, 31 to 60, 61 to 90, and more. Negative balances (overpaid, adjustments) stand in their age\'s column\nand lower it; credits is their sum. Payments that are not applied to an invoice lower nothing.')
AS SELECT tenant_id, customer_id, MAX(customer_name) AS customer_name, as_of_day, COUNT(*) AS open_invoices, SUM(balance) AS owed,
  SUM(IF(age <= 0, balance, 0)) AS not_due, SUM(IF(age BETWEEN 1 AND 30, balance, 0)) AS days_1_to_30,
  SUM(IF(age BETWEEN 31 AND 60, balance, 0)) AS days_31_to_60, SUM(IF(age BETWEEN 61 AND 90, balance, 0)) AS days_61_to_90,
  SUM(IF(age > 90, balance, 0)) AS over_90_days, SUM(IF(balance < 0, balance, 0)) AS credits, MIN(due_day) AS oldest_due_day
FROM (
  SELECT tenant_id, customer_id, customer_name, balance, due_day, DATE(CURRENT_TIMESTAMP(), time_zone) AS as_of_day,
    DATE_DIFF(DATE(CURRENT_TIMESTAMP(), time_zone), due_day, DAY) AS age
  FROM `st_mart_v2.invoices`
  WHERE balance != 0
)
GROUP BY tenant_id, customer_id, as_of_day;

-- view st_mart_v2.estimate_conversion
CREATE OR REPLACE VIEW `st_mart_v2.estimate_conversion`
OPTIONS(description='How many estimates are sold, and how many opportunities are won?\n\nGrain: one row per tenant, month in which the estimates were made, and business unit.\nTime zone: days are the tenant\'s (tenant_time_zones; UTC when it is not named there), with summer time.\nRules: live and active estimates without change orders. An estimate counts in the month in which it was made, however late it is sold, so\nfigures of past months still grow. conversion_percent is estimates sold of estimates made. Several estimates of one job are one\nopportunity, which counts once, in the month and business unit of its first estimate, and is won when any of them is sold:\nclose_percent. An estimate without a job is an opportunity of its own. Amounts are before tax.')
AS WITH offers AS (
  SELECT e._tenant_id AS tenant_id, DATE_TRUNC(DATE(e.createdOn, IFNULL(z.time_zone, 'UTC')), MONTH) AS month,
    e.businessUnitId AS business_unit_id, e.businessUnitName AS business_unit_name, e.status, e.status = 'Sold' AS is_sold,
    IFNULL(e.subtotal, 0) AS amount,
    DATE_DIFF(DATE(e.soldOn, IFNULL(z.time_zone, 'UTC')), DATE(e.createdOn, IFNULL(z.time_zone, 'UTC')), DAY) AS days_to_sale, e.createdOn, e.id,
    IF(IFNULL(e.jobId, 0) = 0, CONCAT('estimate ', CAST(e.id AS STRING)), CONCAT('job ', CAST(e.jobId AS STRING))) AS opportunity
  FROM `st_stage_v2.estimates` AS e
  LEFT JOIN `st_mart_v2.tenant_time_zones` AS z ON z.tenant_id = e._tenant_id
  WHERE e.active IS NOT FALSE AND e.isChangeOrder IS NOT TRUE
),
marked AS (
  SELECT tenant_id, month, business_unit_id, business_unit_name, status, IFNULL(is_sold, FALSE) AS is_sold, amount, days_to_sale,
    ROW_NUMBER() OVER (PARTITION BY tenant_id, opportunity ORDER BY createdOn, id) = 1 AS is_first,
    LOGICAL_OR(IFNULL(is_sold, FALSE)) OVER (PARTITION BY tenant_id, opportunity) AS is_won
  FROM offers
)
SELECT tenant_id, month, business_unit_id, MAX(business_unit_name) AS business_unit_name, COUNT(*) AS estimates, COUNTIF(is_sold) AS sold,
  COUNTIF(status = 'Dismissed') AS dismissed, COUNTIF(status = 'Open') AS still_open,
  ROUND(100 * CAST(COUNTIF(is_sold) AS NUMERIC) / COUNT(*), 2) AS conversion_percent, SUM(amount) AS offered_amount,
  SUM(IF(is_sold, amount, 0)) AS sold_amount,
  ROUND(SAFE_DIVIDE(CAST(SUM(IF(is_sold, days_to_sale, NULL)) AS NUMERIC), COUNT(IF(is_sold, days_to_sale, NULL))), 1) AS average_days_to_sale,
  COUNTIF(is_first) AS opportunities, COUNTIF(is_first AND is_won) AS opportunities_won,
  ROUND(100 * SAFE_DIVIDE(CAST(COUNTIF(is_first AND is_won) AS NUMERIC), COUNTIF(is_first)), 2) AS close_percent
FROM marked
GROUP BY tenant_id, month, business_unit_id;

-- view st_mart_v2.gross_pay_by_job
CREATE OR REPLACE VIEW `st_mart_v2.gross_pay_by_job`
OPTIONS(description='What did each technician earn, by which job, on which day?\n\nGrain: one row per tenant, employee, job and day with at least one pay item; job_id is NULL for pay that belongs to no job.\nTime zone: the day is the calendar day of the work as the API writes it, in no zone.\nRules: every live pay item counts once, those without an id too: equal ones are told apart by their number among equals. gross_pay is\namount and adjustment together; adjustments may be negative. Office employees are in it; employee_type tells them apart. Pay still changes for\nsome 45 days.')
AS SELECT _tenant_id AS tenant_id, employeeId AS employee_id, MAX(employeeType) AS employee_type, NULLIF(jobId, 0) AS job_id,
  MAX(jobNumber) AS job_number, IFNULL(paidDate, DATE(date)) AS day, COUNT(*) AS pay_items, SUM(IFNULL(paidDurationHours, 0)) AS paid_hours,
  SUM(IFNULL(amount, 0)) AS amount, SUM(IFNULL(amountAdjustment, 0)) AS adjustment,
  SUM(IFNULL(amount, 0) + IFNULL(amountAdjustment, 0)) AS gross_pay
FROM `st_stage_v2.payroll`
GROUP BY tenant_id, employee_id, job_id, day;

-- view st_mart_v2.campaign_return
CREATE OR REPLACE VIEW `st_mart_v2.campaign_return`
OPTIONS(description='What did each campaign bring?\n\nGrain: one row per tenant, campaign and month in which its jobs were made; campaign_id is NULL for jobs without a campaign.\nTime zone: the month is that of created_day of jobs.\nRules: a job belongs to one campaign and one month, and takes along the revenue of all its invoices, the cost of their lines and the pay for\nit, whenever they come; so nothing counts twice, and figures of past months still grow. Canceled jobs are counted apart, and what was billed for them\ncounts. Invoices without a job belong to no campaign and are not in it. What a campaign itself costs is not in the data: margin is\nrevenue less line cost and pay. A campaign that was deleted has no name.')
AS WITH billed AS (
  SELECT tenant_id, job_id, SUM(revenue) AS revenue
  FROM `st_mart_v2.invoices`
  WHERE job_id IS NOT NULL
  GROUP BY tenant_id, job_id
),
costs AS (
  SELECT tenant_id, job_id, SUM(IFNULL(total_cost, 0)) AS line_cost
  FROM `st_mart_v2.invoice_items`
  WHERE job_id IS NOT NULL
  GROUP BY tenant_id, job_id
),
pay AS (
  SELECT tenant_id, job_id, SUM(gross_pay) AS gross_pay
  FROM `st_mart_v2.gross_pay_by_job`
  WHERE job_id IS NOT NULL
  GROUP BY tenant_id, job_id
),
per_job AS (
  SELECT j.tenant_id, j.campaign_id, j.campaign_name, j.campaign_category, DATE_TRUNC(j.created_day, MONTH) AS month, j.job_status, j.customer_id,
    IFNULL(b.revenue, 0) AS revenue, IFNULL(c.line_cost, 0) AS line_cost, IFNULL(p.gross_pay, 0) AS gross_pay
  FROM `st_mart_v2.jobs` AS j
  LEFT JOIN billed AS b ON b.tenant_id = j.tenant_id AND b.job_id = j.job_id
  LEFT JOIN costs AS c ON c.tenant_id = j.tenant_id AND c.job_id = j.job_id
  LEFT JOIN pay AS p ON p.tenant_id = j.tenant_id AND p.job_id = j.job_id
)
SELECT tenant_id, campaign_id, MAX(campaign_name) AS campaign_name, MAX(campaign_category) AS campaign_category, month,
  COUNT(*) AS jobs, COUNTIF(job_status = 'Completed') AS completed_jobs, COUNTIF(job_status = 'Canceled') AS canceled_jobs,
  COUNT(DISTINCT customer_id) AS customers, SUM(revenue) AS revenue, SUM(line_cost) AS line_cost, SUM(gross_pay) AS gross_pay,
  SUM(revenue - line_cost - gross_pay) AS margin,
  ROUND(SAFE_DIVIDE(SUM(revenue), COUNTIF(job_status != 'Canceled')), 2) AS revenue_per_kept_job
FROM per_job
GROUP BY tenant_id, campaign_id, month;

-- view st_mart_v2.customer_lifetime_value
CREATE OR REPLACE VIEW `st_mart_v2.customer_lifetime_value`
OPTIONS(description='What is each customer worth so far?\n\nGrain: one row per tenant and customer: survivors of merges, with what belongs to those that were merged into them; customers that were\ndeleted stay as long as a job, invoice or payment names them, without a name.\nTime zone: days are the tenant\'s (tenant_time_zones; UTC when it is not named there), with summer time.\nRules: revenue, billed and owed are those of invoices (active, each once; revenue before tax, billed with it); paid is the sum of active\npayments, refunds taken off, applied or not. Jobs, invoices and payments are added up apart and never joined with each other, so nothing counts\ntwice. first_day and last_day are those of the first and last job or invoice.')
AS WITH facts AS (
  SELECT tenant_id, customer_id, 0 AS jobs, 0 AS completed_jobs, 0 AS invoices, CAST(0 AS NUMERIC) AS revenue,
    CAST(0 AS NUMERIC) AS billed, CAST(0 AS NUMERIC) AS owed, CAST(0 AS NUMERIC) AS paid, CAST(NULL AS DATE) AS day
  FROM `st_mart_v2.customer_survivors`
  WHERE survivor_id = customer_id
  UNION ALL
  SELECT tenant_id, customer_id, 1, IF(job_status = 'Completed', 1, 0), 0, 0, 0, 0, 0, created_day
  FROM `st_mart_v2.jobs`
  UNION ALL
  SELECT tenant_id, customer_id, 0, 0, 1, revenue, total, balance, 0, invoice_day
  FROM `st_mart_v2.invoices`
  UNION ALL
  SELECT p._tenant_id, IFNULL(c.survivor_id, p.customer_id), 0, 0, 0, 0, 0, 0, IFNULL(p.total, 0), CAST(NULL AS DATE)
  FROM `st_stage_v2.payments` AS p
  LEFT JOIN `st_mart_v2.customer_survivors` AS c ON c.tenant_id = p._tenant_id AND c.customer_id = p.customer_id
  WHERE p.active IS NOT FALSE
),
sums AS (
  SELECT tenant_id, customer_id, SUM(jobs) AS jobs, SUM(completed_jobs) AS completed_jobs, SUM(invoices) AS invoices, SUM(revenue) AS revenue,
    SUM(billed) AS billed, SUM(owed) AS owed, SUM(paid) AS paid, MIN(day) AS first_day, MAX(day) AS last_day
  FROM facts
  WHERE customer_id IS NOT NULL
  GROUP BY tenant_id, customer_id
)
SELECT s.tenant_id, s.customer_id, c.survivor_name AS customer_name, c.survivor_type AS customer_type,
  DATE(c.survivor_created_on, IFNULL(z.time_zone, 'UTC')) AS customer_since, s.jobs, s.completed_jobs, s.invoices, s.revenue, s.billed, s.paid, s.owed,
  s.first_day, s.last_day, ROUND(SAFE_DIVIDE(s.revenue, s.invoices), 2) AS revenue_per_invoice
FROM sums AS s
LEFT JOIN `st_mart_v2.customer_survivors` AS c ON c.tenant_id = s.tenant_id AND c.customer_id = s.customer_id
LEFT JOIN `st_mart_v2.tenant_time_zones` AS z ON z.tenant_id = s.tenant_id;

