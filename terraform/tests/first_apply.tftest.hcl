# Before there is an image: everything but the programs and their alerts.

mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
}

variables {
  project_id   = "test-project"
  st_tenant_id = "1234567"
}

run "without_an_image" {
  # No programs yet.
  assert {
    condition     = length(google_cloud_run_v2_worker_pool.worker) == 0 && length(google_cloud_run_v2_service.serve) == 0
    error_message = "nothing can run without an image"
  }
  assert {
    condition     = length(google_monitoring_alert_policy.alert) == 0 && length(google_monitoring_alert_policy.watermark_lag) == 0
    error_message = "there is nothing to watch without programs"
  }
  assert {
    condition     = output.service_url == null
    error_message = "no service, no address"
  }

  # The image can be pushed and the secrets filled.
  assert {
    condition     = output.image_repository == "us-central1-docker.pkg.dev/test-project/st-ingestor/st-ingestor"
    error_message = "image_repository is ${output.image_repository}"
  }
  assert {
    condition     = output.secrets == tolist(["ST_APP_KEY", "ST_CLIENT_ID", "ST_CLIENT_SECRET"])
    error_message = "secrets are ${jsonencode(output.secrets)}"
  }

  # Operators reach the same things.
  assert {
    condition     = output.environment["BQ_PROJECT_ID"] == "test-project" && output.environment["PUBSUB_TOPIC"] == "st-ingest" && output.environment["ST_TENANT_ID"] == "1234567"
    error_message = "settings are ${jsonencode(output.environment)}"
  }

  # The lanes have their policies.
  assert {
    condition = alltrue([
      for lane in values(google_pubsub_subscription.lane) :
      lane.ack_deadline_seconds == 60 && lane.expiration_policy[0].ttl == "" &&
      lane.retry_policy[0].minimum_backoff == "10s" && lane.retry_policy[0].maximum_backoff == "600s" &&
      lane.dead_letter_policy[0].max_delivery_attempts == 30 &&
      lane.dead_letter_policy[0].dead_letter_topic == google_pubsub_topic.queue["dead_letter"].id
    ])
    error_message = "an outage of four hours must dead-letter nothing, and no subscription may expire"
  }
  assert {
    condition     = google_pubsub_subscription.dead_letter.message_retention_duration == "2678400s" && length(google_pubsub_subscription.dead_letter.dead_letter_policy) == 0 && length(google_pubsub_subscription.dead_letter.retry_policy) == 0
    error_message = "dead letters wait for 31 days, and looking at one does not use it up"
  }

  # Pubsub may forward dead letters.
  assert {
    condition = (
      google_pubsub_topic_iam_member.agent_publishes_dead_letters.role == "roles/pubsub.publisher" &&
      google_pubsub_topic_iam_member.agent_publishes_dead_letters.topic == "st-dead-letter" &&
      google_pubsub_topic_iam_member.agent_publishes_dead_letters.member == "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"
    )
    error_message = "without this role dead letters stay where they are, and nothing says so"
  }
  assert {
    condition = { for lane, member in google_pubsub_subscription_iam_member.agent_takes_from_lanes : member.subscription => member.role } == {
      "st-ingest-worker"   = "roles/pubsub.subscriber"
      "st-backfill-worker" = "roles/pubsub.subscriber"
    }
    error_message = "the service agent takes messages from both lanes"
  }

  # Data is protected.
  assert {
    condition     = alltrue([for key, table in google_bigquery_table.table : table.deletion_protection == !startswith(key, "stage.")])
    error_message = "target and log tables are protected; stage rows expire by themselves"
  }
  assert {
    condition     = alltrue([for dataset in values(google_bigquery_dataset.dataset) : dataset.delete_contents_on_destroy == false])
    error_message = "a dataset with tables must not go"
  }
  assert {
    condition     = strcontains(google_bigquery_table.view["logs.sync_state"].view[0].query, "`test-project.st_logs_v2.sync_state_events`")
    error_message = "views name the project and the datasets"
  }

  # Schedules are there before the programs: their messages wait.
  assert {
    condition     = alltrue([for job in values(google_cloud_scheduler_job.sync) : job.pubsub_target[0].topic_name == google_pubsub_topic.queue["live"].id])
    error_message = "schedules publish to the live lane"
  }
}
