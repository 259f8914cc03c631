# Counts of the worker's own log lines. A test keeps each message equal to the one in the source.

locals {
  worker_log = "resource.type=\"cloud_run_worker_pool\" AND resource.labels.worker_pool_name=\"${var.worker_name}\""

  log_metrics = {
    completed = {
      description = "Runs that brought an entity's watermark forward, or found that it is forward already"
      filter      = "jsonPayload.message=(\"Ingestion completed\" OR \"Task is done already\") AND jsonPayload.mode=(\"incremental\" OR \"full\")"
    }
    rejected = {
      description = "Tasks that were given up: their message is in the dead-letter topic"
      filter      = "jsonPayload.message=\"Task rejected; its message is in the dead-letter topic\""
    }
    unfinished = {
      description = "Attempts that ended without the task being done: the message comes again"
      filter      = "jsonPayload.message=\"Task not finished; its message is given back and comes again\""
    }
    quarantined = {
      description = "Runs in which records broke their schema and went to the quarantine table"
      filter      = "jsonPayload.message=\"Ingestion completed\" AND jsonPayload.recordsQuarantined>0"
    }
    drift = {
      description = "Fields that differ from the registry, once per run and kind"
      filter      = "jsonPayload.message=\"Schema drift; the value is kept in _extra\""
    }
  }
}

resource "google_logging_metric" "worker" {
  for_each = local.log_metrics

  project     = var.project_id
  name        = "st-ingestor/${each.key}"
  description = each.value.description
  filter      = "${local.worker_log} AND ${each.value.filter}"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"

    labels {
      key         = "entity"
      value_type  = "STRING"
      description = "Entity"
    }
    labels {
      key         = "tenant"
      value_type  = "STRING"
      description = "ServiceTitan tenant"
    }
  }

  label_extractors = {
    entity = "EXTRACT(jsonPayload.entityType)"
    tenant = "EXTRACT(jsonPayload.tenantId)"
  }

  depends_on = [google_project_service.api]
}
