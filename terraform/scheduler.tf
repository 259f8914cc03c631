# One job per enabled entity that has a schedule in config.json, and the common ones. Each publishes to the live lane; the
# names end in -v2, so that they stand beside v1's.

locals {
  time_zone = coalesce(var.time_zone, try(local.config.sync.timeZone, null), "America/Los_Angeles")

  entity_schedules = {
    for name, entity in local.config.entities :
    "${name}-sync" => { schedule = entity.schedule, entity = name, mode = try(entity.syncMode, "incremental") }
    if try(entity.enabled, true) && try(entity.schedule, "") != ""
  }
  schedules = { for name, job in merge(local.entity_schedules, var.common_schedules) : "${name}-v2" => job }
}

resource "google_cloud_scheduler_job" "sync" {
  for_each = local.schedules

  project     = var.project_id
  region      = var.region
  name        = each.key
  description = "${each.value.mode} sync of ${each.value.entity}"
  schedule    = each.value.schedule
  time_zone   = local.time_zone
  paused      = var.schedules_paused

  pubsub_target {
    topic_name = google_pubsub_topic.queue["live"].id
    data       = base64encode(jsonencode({ entity = each.value.entity, mode = each.value.mode }))
  }

  retry_config {
    retry_count          = 5
    min_backoff_duration = "10s"
    max_backoff_duration = "300s"
  }
}
