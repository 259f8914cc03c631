# Two lanes and the dead-letter queue, with the policies of `st-ingestor init`: generated/init.json has the figures.

resource "google_pubsub_topic" "queue" {
  for_each = local.queues

  project = var.project_id
  name    = each.value.topic

  depends_on = [google_project_service.api]
}

resource "google_pubsub_subscription" "lane" {
  for_each = local.lanes

  project              = var.project_id
  name                 = local.queues[each.key].subscription
  topic                = google_pubsub_topic.queue[each.key].id
  ack_deadline_seconds = local.init.queues[each.key].ack_deadline_seconds

  expiration_policy {
    ttl = "" # never
  }
  retry_policy {
    minimum_backoff = local.init.queues[each.key].minimum_backoff
    maximum_backoff = local.init.queues[each.key].maximum_backoff
  }
  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.queue["dead_letter"].id
    max_delivery_attempts = local.init.queues[each.key].max_delivery_attempts
  }
}

# Without a dead-letter policy of its own, because looking at a dead letter must not use it up, and without a backoff, because
# what an operator has looked at must be there again at once.
resource "google_pubsub_subscription" "dead_letter" {
  project                    = var.project_id
  name                       = local.queues["dead_letter"].subscription
  topic                      = google_pubsub_topic.queue["dead_letter"].id
  ack_deadline_seconds       = local.init.queues["dead_letter"].ack_deadline_seconds
  message_retention_duration = local.init.queues["dead_letter"].message_retention_duration

  expiration_policy {
    ttl = "" # never
  }
}

# Pub/Sub's own forwarding, for messages that kill their workers, is done by its service agent. Without these two roles
# nothing is forwarded, and nothing says so. The agent exists from the project's first topic or subscription on, so its
# roles come after all of them; see README.md for a project where it is missing all the same.
locals {
  pubsub_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

resource "google_pubsub_topic_iam_member" "agent_publishes_dead_letters" {
  project = var.project_id
  topic   = google_pubsub_topic.queue["dead_letter"].name
  role    = "roles/pubsub.publisher"
  member  = local.pubsub_agent

  depends_on = [google_pubsub_subscription.lane, google_pubsub_subscription.dead_letter]
}

resource "google_pubsub_subscription_iam_member" "agent_takes_from_lanes" {
  for_each = local.lanes

  project      = var.project_id
  subscription = google_pubsub_subscription.lane[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent

  depends_on = [google_pubsub_subscription.dead_letter]
}
