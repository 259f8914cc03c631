# A config.json with a tenants list: its variables come from secrets of their own.

mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
}

variables {
  project_id  = "test-project"
  image       = "us-central1-docker.pkg.dev/test-project/st-ingestor/st-ingestor:2.0.0"
  config_file = "tests/several_tenants.config.json"
}

run "one_secret_for_each_variable" {
  command = plan

  variables {
    tenant_secrets = {
      NORTH_CLIENT_ID     = "north-client-id"
      NORTH_CLIENT_SECRET = "north-client-secret"
      SOUTH_CLIENT_ID     = "south-client-id"
      SOUTH_CLIENT_SECRET = "south-client-secret"
      ST_APP_KEY          = "st-app-key"
    }
  }
  assert {
    condition     = toset(keys(google_secret_manager_secret_iam_member.worker_reads)) == toset(["north-client-id", "north-client-secret", "south-client-id", "south-client-secret", "st-app-key"])
    error_message = "the worker may read each"
  }
  assert {
    condition     = !contains([for env in google_cloud_run_v2_worker_pool.worker[0].template[0].containers[0].env : env.name], "ST_TENANT_ID")
    error_message = "tenants stand in config.json"
  }
  assert {
    condition     = google_cloud_scheduler_job.sync["jobs-sync-v2"].time_zone == "Europe/Berlin" && google_pubsub_topic.queue["live"].name == "north-ingest" && google_bigquery_dataset.dataset["raw"].dataset_id == "north_raw"
    error_message = "time zone, topic and dataset are config.json's"
  }
  assert {
    condition     = !contains(keys(google_cloud_scheduler_job.sync), "invoices-sync-v2") && !contains(keys(google_cloud_scheduler_job.sync), "payments-sync-v2")
    error_message = "disabled entities and those without a schedule have no job"
  }
  assert {
    condition     = { for entity, policy in google_monitoring_alert_policy.watermark_lag : entity => policy.conditions[0].condition_threshold[0].aggregations[0].alignment_period } == { jobs = "10800s", locations = "90000s" }
    error_message = "every half hour: noticed after three hours; weekly: not to be noticed here"
  }
}

run "a_forgotten_secret_is_told_before_the_worker_is" {
  command         = plan
  expect_failures = [google_cloud_run_v2_worker_pool.worker]
}

run "no_tenant_at_all" {
  command = plan
  variables {
    config_file = "../config/config.json"
  }
  expect_failures = [google_cloud_run_v2_worker_pool.worker]
}
