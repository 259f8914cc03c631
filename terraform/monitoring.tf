# Alerts as a table, each with what to do (alerts/*.md). They come with the image and not before: there is nothing to watch without
# programs, and a log metric that was made in the same minute is not known to the alerts yet.

locals {
  # A lag is noticed when two syncs in a row did not come through. Monitoring looks back 25 hours at most, so an entity that
  # syncs once a day has an hour for its run, and one that syncs less often has no such alert.
  daily_schedules = { for job in values(local.entity_schedules) : job.entity => split(" ", job.schedule)[1] if endswith(job.schedule, " * * *") }
  sync_hours      = { for entity, hour in local.daily_schedules : entity => hour == "*" ? 1 : try(tonumber(regex("^\\*/([0-9]+)$", hour)[0]), 24) }
  lag_hours       = { for entity, hours in local.sync_hours : entity => min(25, 2 * hours + 1) }

  subscriptions = merge(google_pubsub_subscription.lane, { dead_letter = google_pubsub_subscription.dead_letter })
  queue_filter  = { for role, subscription in local.subscriptions : role => "resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"${subscription.name}\"" }
  log_filter    = { for key, metric in google_logging_metric.worker : key => "resource.type=\"cloud_run_worker_pool\" AND metric.type=\"logging.googleapis.com/user/${metric.name}\"" }

  # What the instructions name.
  places = {
    logs                     = "${var.project_id}.${local.datasets.logs}"
    region                   = var.region
    worker                   = var.worker_name
    dead_letter_subscription = google_pubsub_subscription.dead_letter.name
  }

  # Each condition: what it says, the metric, the value above which it holds, the window in seconds, how points become one
  # value, and (for sums) what the sums are kept apart by.
  alerts = merge(
    {
      dead_letters = {
        title        = "dead letters"
        instructions = templatefile("${path.module}/alerts/dead_letters.md", local.places)
        conditions = [
          { title = "Messages in the dead-letter subscription", above = 0, window = 60, aligner = "ALIGN_MAX", sum_by = null,
          filter = "${local.queue_filter["dead_letter"]} AND metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\"" },
        ]
      }
      failed_runs = {
        title        = "failed runs"
        instructions = templatefile("${path.module}/alerts/failed_runs.md", local.places)
        conditions = [
          { title = "A task was rejected", above = 0, window = 300, aligner = "ALIGN_DELTA", sum_by = ["metric.label.entity", "metric.label.tenant"],
          filter = local.log_filter["rejected"] },
          { title = "More than ${var.unfinished_tasks_per_hour} attempts an hour end without success", above = var.unfinished_tasks_per_hour, window = 3600, aligner = "ALIGN_DELTA", sum_by = [],
          filter = local.log_filter["unfinished"] },
        ]
      }
      schema = {
        title        = "schema validation"
        instructions = templatefile("${path.module}/alerts/schema.md", local.places)
        conditions = [
          { title = "Records broke their schema and were quarantined", above = 0, window = 300, aligner = "ALIGN_DELTA", sum_by = ["metric.label.entity", "metric.label.tenant"],
          filter = local.log_filter["quarantined"] },
          { title = "Fields differ from the registry", above = 0, window = 3600, aligner = "ALIGN_DELTA", sum_by = ["metric.label.entity"],
          filter = local.log_filter["drift"] },
        ]
      }
    },
    {
      for lane in local.lanes : "oldest_message_${lane}" => {
        title        = "oldest message of the ${lane} lane"
        instructions = templatefile("${path.module}/alerts/oldest_message.md", merge(local.places, { lane = lane, seconds = var.oldest_message_seconds[lane] }))
        conditions = [
          { title = "Oldest unacknowledged message is older than ${var.oldest_message_seconds[lane]} s", above = var.oldest_message_seconds[lane], window = 60, aligner = "ALIGN_MAX", sum_by = null,
          filter = "${local.queue_filter[lane]} AND metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\"" },
        ]
      }
    },
  )
}

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
}

resource "google_monitoring_alert_policy" "alert" {
  for_each = { for key, alert in local.alerts : key => alert if local.deployed }

  project               = var.project_id
  display_name          = "st-ingestor: ${each.value.title}"
  combiner              = "OR"
  notification_channels = local.channels

  dynamic "conditions" {
    for_each = each.value.conditions
    content {
      display_name = conditions.value.title
      condition_threshold {
        filter          = conditions.value.filter
        comparison      = "COMPARISON_GT"
        threshold_value = conditions.value.above
        duration        = "0s"
        aggregations {
          alignment_period     = "${conditions.value.window}s"
          per_series_aligner   = conditions.value.aligner
          cross_series_reducer = conditions.value.sum_by == null ? null : "REDUCE_SUM"
          group_by_fields      = conditions.value.sum_by
        }
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = each.value.instructions
  }
}

# A count of runs that came through, because a lag that is measured when a run ends does not grow when no run ends.
resource "google_monitoring_alert_policy" "watermark_lag" {
  for_each = { for entity, hours in local.lag_hours : entity => hours if local.deployed && !var.schedules_paused }

  project               = var.project_id
  display_name          = "st-ingestor: watermark lag of ${each.key}"
  combiner              = "OR"
  notification_channels = local.channels

  conditions {
    display_name = "No run of ${each.key} came through within ${each.value} hours"
    condition_threshold {
      filter                  = "${local.log_filter["completed"]} AND metric.labels.entity=\"${each.key}\""
      comparison              = "COMPARISON_LT"
      threshold_value         = 1
      duration                = "60s"
      evaluation_missing_data = "EVALUATION_MISSING_DATA_ACTIVE" # no line at all is the worst lag
      aggregations {
        alignment_period     = "${3600 * each.value}s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
        group_by_fields      = ["metric.label.tenant"]
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = templatefile("${path.module}/alerts/watermark_lag.md", merge(local.places, { entity = each.key, hours = each.value }))
  }
}
