# Alerts, each with what to do. They come with the image and not before: there is nothing to watch without programs, and a
# log metric that was made in the same minute is not known to the alerts yet.

resource "google_monitoring_notification_channel" "email" {
  for_each = var.alert_emails

  project      = var.project_id
  display_name = "st-ingestor: ${each.key}"
  type         = "email"
  labels       = { email_address = each.key }

  depends_on = [google_project_service.api]
}

locals {
  channels = concat(sort(tolist(var.notification_channels)), [for channel in google_monitoring_notification_channel.email : channel.name])

  # A lag is noticed when two syncs in a row did not come through. Monitoring looks back 25 hours at most, so an entity that
  # syncs once a day has an hour for its run, and one that syncs less often has no such alert.
  daily_schedules = { for job in values(local.entity_schedules) : job.entity => split(" ", job.schedule)[1] if endswith(job.schedule, " * * *") }
  sync_hours      = { for entity, hour in local.daily_schedules : entity => hour == "*" ? 1 : try(tonumber(regex("^\\*/([0-9]+)$", hour)[0]), 24) }
  lag_seconds     = { for entity, hours in local.sync_hours : entity => 3600 * min(25, 2 * hours + 1) }
  watched         = local.deployed && !var.schedules_paused ? local.lag_seconds : tomap({})

  log_metric_filter = { for key, metric in google_logging_metric.worker : key => "metric.type=\"logging.googleapis.com/user/${metric.name}\" AND resource.type=\"cloud_run_worker_pool\"" }
}

resource "google_monitoring_alert_policy" "dead_letters" {
  count = local.deployed ? 1 : 0

  project               = var.project_id
  display_name          = "st-ingestor: dead letters"
  combiner              = "OR"
  notification_channels = local.channels

  conditions {
    display_name = "Messages in the dead-letter subscription"
    condition_threshold {
      filter          = "metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\" AND resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"${google_pubsub_subscription.dead_letter.name}\""
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"
      aggregations {
        alignment_period   = "60s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = <<-EOT
      A task was given up; its data is not in the warehouse. Nothing is lost: the message waits in the dead-letter
      subscription (${google_pubsub_subscription.dead_letter.name}) for 31 days.

      1. Look at the message's attributes `error_message`, `error_class` and `run_id`:
         `gcloud pubsub subscriptions pull ${google_pubsub_subscription.dead_letter.name} --limit=10 --format=json` (it stays there without --auto-ack).
      2. Mend the cause: credentials or rights (401, 403), a wrong entity or tenant in the message, the schema registry.
      3. Publish the message's data to ${google_pubsub_topic.queue["live"].name} again, then acknowledge it here.
    EOT
  }
}

resource "google_monitoring_alert_policy" "oldest_message" {
  for_each = toset([for lane in local.lanes : lane if local.deployed])

  project               = var.project_id
  display_name          = "st-ingestor: oldest message of the ${each.key} lane"
  combiner              = "OR"
  notification_channels = local.channels

  conditions {
    display_name = "Oldest unacknowledged message is older than ${var.oldest_message_seconds[each.key]} s"
    condition_threshold {
      filter          = "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"${google_pubsub_subscription.lane[each.key].name}\""
      comparison      = "COMPARISON_GT"
      threshold_value = var.oldest_message_seconds[each.key]
      duration        = "300s"
      aggregations {
        alignment_period   = "60s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = <<-EOT
      A message of the ${each.key} lane has not been finished for ${var.oldest_message_seconds[each.key]} seconds.

      1. Do workers run? `gcloud run worker-pools describe ${var.worker_name} --region ${var.region}`, and their log. No line
         "Ingestion progress" means that none works.
      2. Is it one long run? "Ingestion progress" lines with a growing `recordsFetched` say so: wait, or raise
         `oldest_message_seconds`.
      3. Is ServiceTitan slow or refusing? Look for "retrying" and status 429 in the log; the limit is RATE_LIMIT_PER_SECOND.
      4. Is there too much to do? Raise `worker_instances`; workers of one tenant share its request rate.
    EOT
  }
}

resource "google_monitoring_alert_policy" "failed_runs" {
  count = local.deployed ? 1 : 0

  project               = var.project_id
  display_name          = "st-ingestor: failed runs"
  combiner              = "OR"
  notification_channels = local.channels

  conditions {
    display_name = "A task was rejected"
    condition_threshold {
      filter          = local.log_metric_filter["rejected"]
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"
      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
        group_by_fields      = ["metric.label.entity", "metric.label.tenant"]
      }
    }
  }

  conditions {
    display_name = "More than ${var.unfinished_tasks_per_hour} attempts an hour end without success"
    condition_threshold {
      filter          = local.log_metric_filter["unfinished"]
      comparison      = "COMPARISON_GT"
      threshold_value = var.unfinished_tasks_per_hour
      duration        = "0s"
      aggregations {
        alignment_period     = "3600s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = <<-EOT
      Runs fail. The failed ones of the last day, with their reason:

          SELECT entity_type, tenant_id, start_time, error_class, error_code, error_message
          FROM `${var.project_id}.${local.datasets.logs}.ingestion_logs`
          WHERE status = 'failed' AND start_time >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 24 HOUR)
          ORDER BY start_time DESC

      `permanent`: it was rejected and waits as a dead letter; mend the cause, then publish it again. `retry` and `throttled`: it
      comes again by itself; when that goes on for hours, look at ServiceTitan's status and at the rate limit.
    EOT
  }
}

# A count, because a lag that is measured when a run ends does not grow when no run ends.
resource "google_monitoring_alert_policy" "watermark_lag" {
  for_each = local.watched

  project               = var.project_id
  display_name          = "st-ingestor: watermark lag of ${each.key}"
  combiner              = "OR"
  notification_channels = local.channels

  conditions {
    display_name = "No run of ${each.key} came through within ${each.value / 3600} hours"
    condition_threshold {
      filter                  = "${local.log_metric_filter["completed"]} AND metric.labels.entity=\"${each.key}\""
      comparison              = "COMPARISON_LT"
      threshold_value         = 1
      duration                = "60s"
      evaluation_missing_data = "EVALUATION_MISSING_DATA_ACTIVE" # no line at all is the worst lag
      aggregations {
        alignment_period     = "${each.value}s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
        group_by_fields      = ["metric.label.tenant"]
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = <<-EOT
      No incremental or full run of ${each.key} has succeeded for a tenant within ${each.value / 3600} hours: its watermark stands still,
      and what changed since then is not in the warehouse. The next run that succeeds reads all of it.

      1. `SELECT * FROM ${var.project_id}.${local.datasets.logs}.sync_state WHERE entity_type = '${each.key}'` shows the watermark.
      2. Is the schedule there and not paused? `gcloud scheduler jobs describe ${each.key}-sync-v2 --location ${var.region}`
      3. Did runs fail, or do messages wait? See the alerts on failed runs and on the oldest message.

      A tenant that has never had a successful run is not noticed here, but as failed runs.
    EOT
  }
}

resource "google_monitoring_alert_policy" "schema" {
  count = local.deployed ? 1 : 0

  project               = var.project_id
  display_name          = "st-ingestor: schema validation"
  combiner              = "OR"
  notification_channels = local.channels

  conditions {
    display_name = "Records broke their schema and were quarantined"
    condition_threshold {
      filter          = local.log_metric_filter["quarantined"]
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"
      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
        group_by_fields      = ["metric.label.entity", "metric.label.tenant"]
      }
    }
  }

  conditions {
    display_name = "Fields differ from the registry"
    condition_threshold {
      filter          = local.log_metric_filter["drift"]
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"
      aggregations {
        alignment_period     = "3600s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
        group_by_fields      = ["metric.label.entity"]
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = <<-EOT
      ServiceTitan sent what `config/schema_registry.json` does not say.

      Quarantined records are not in the target; each stands with reason and payload in
      `${var.project_id}.${local.datasets.logs}.quarantine`. A run with more than QUARANTINE_PERCENT of them fails as a whole.
      Drift loses nothing: the values are in the column `_extra`, and each field is listed in
      `${var.project_id}.${local.datasets.logs}.schema_drift`.

      Mend the entity's entry in the registry, deploy, and run the entity with mode full: quarantined records are read again.
    EOT
  }
}
