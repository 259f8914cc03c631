# What is read from elsewhere: config.json (names and schedules, also in the image) and generated/init.json (what
# `st-ingestor init` makes, written by `make docs`). Nothing of it is repeated in these files.

locals {
  config = jsondecode(file(var.config_file == null ? "${path.module}/../config/config.json" : var.config_file))

  location = try(local.config.bigquery.location, "US")

  datasets = {
    raw   = try(local.config.bigquery.datasets.raw, "st_raw_v2")
    stage = try(local.config.bigquery.datasets.stage, "st_stage_v2")
    mart  = try(local.config.bigquery.datasets.mart, "st_mart_v2")
    logs  = try(local.config.bigquery.datasets.logs, "st_logs_v2")
  }

  # The dead_letter queue's topic gets what the two lanes give up.
  queues = {
    live = {
      topic        = try(local.config.pubsub.topic, "st-ingest")
      subscription = try(local.config.pubsub.subscription, "st-ingest-worker")
    }
    backfill = {
      topic        = try(local.config.pubsub.backfillTopic, "st-backfill")
      subscription = try(local.config.pubsub.backfillSubscription, "st-backfill-worker")
    }
    dead_letter = {
      topic        = try(local.config.pubsub.deadLetterTopic, "st-dead-letter")
      subscription = try(local.config.pubsub.deadLetterSubscription, "st-dead-letter-operator")
    }
  }
  lanes = toset(["live", "backfill"])

  # The holes of the generated file are the project and the datasets.
  init   = jsondecode(templatefile("${path.module}/generated/init.json", merge(local.datasets, { project = var.project_id })))
  tables = { for table in local.init.tables : "${table.dataset}.${table.name}" => table }
  views  = { for view in local.init.views : "${view.dataset}.${view.name}" => view if view.level == 0 }

  # Views of the marts by level: each reads views of lower levels only.
  marts = { for level in ["1", "2", "3", "4"] :
    level => { for view in local.init.views : "${view.dataset}.${view.name}" => view if view.level == tonumber(level) }
  }

  deployed  = var.image != null
  api_token = var.allow_unauthenticated || var.require_api_token

  # Settings of both programs. Names that terraform makes are passed on, so that the programs use those and no others.
  environment = merge(
    {
      BQ_PROJECT_ID                   = var.project_id
      BQ_LOCATION                     = local.location
      BQ_DATASET_RAW                  = google_bigquery_dataset.dataset["raw"].dataset_id
      BQ_DATASET_STAGE                = google_bigquery_dataset.dataset["stage"].dataset_id
      BQ_DATASET_MART                 = google_bigquery_dataset.dataset["mart"].dataset_id
      BQ_DATASET_LOGS                 = google_bigquery_dataset.dataset["logs"].dataset_id
      PUBSUB_PROJECT_ID               = var.project_id
      PUBSUB_TOPIC                    = google_pubsub_topic.queue["live"].name
      PUBSUB_SUBSCRIPTION             = google_pubsub_subscription.lane["live"].name
      PUBSUB_BACKFILL_TOPIC           = google_pubsub_topic.queue["backfill"].name
      PUBSUB_BACKFILL_SUBSCRIPTION    = google_pubsub_subscription.lane["backfill"].name
      PUBSUB_DEAD_LETTER_TOPIC        = google_pubsub_topic.queue["dead_letter"].name
      PUBSUB_DEAD_LETTER_SUBSCRIPTION = google_pubsub_subscription.dead_letter.name
    },
    var.st_tenant_id == null ? {} : { ST_TENANT_ID = var.st_tenant_id },
    var.environment,
  )
}
