# With an image: the brief's service, the worker pool, schedules, alerts.

mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
}

variables {
  project_id   = "test-project"
  st_tenant_id = "1234567"
  image        = "us-central1-docker.pkg.dev/test-project/st-ingestor/st-ingestor:2.0.0"
  alert_emails = ["data@example.com"]
}

run "with_an_image" {
  command = plan

  # The service is the briefs.
  assert {
    condition     = google_cloud_run_v2_service.serve[0].name == "st-v2-ingestor" && google_cloud_run_v2_service.serve[0].location == "us-central1"
    error_message = "name and region"
  }
  assert {
    condition     = google_cloud_run_v2_service.serve[0].template[0].containers[0].resources[0].limits == tomap({ cpu = "2", memory = "2Gi" })
    error_message = "2 CPU, 2 GiB"
  }
  assert {
    condition = (
      google_cloud_run_v2_service.serve[0].template[0].timeout == "3600s" &&
      google_cloud_run_v2_service.serve[0].template[0].scaling[0].min_instance_count == 0 &&
      google_cloud_run_v2_service.serve[0].template[0].scaling[0].max_instance_count == 5
    )
    error_message = "3600 s, 0 to 5 instances"
  }
  assert {
    condition     = google_cloud_run_v2_service.serve[0].template[0].containers[0].args == tolist(["serve"])
    error_message = "it runs serve"
  }

  # Nobody may call it by default.
  assert {
    condition     = length(google_cloud_run_v2_service_iam_member.invoker) == 0
    error_message = "invokers are named, or nobody"
  }
  assert {
    condition     = contains([for env in google_cloud_run_v2_service.serve[0].template[0].containers[0].env : "${env.name}=${env.value != null ? env.value : ""}"], "API_ALLOW_UNAUTHENTICATED=true")
    error_message = "Cloud Run has checked the caller"
  }

  # The worker is a pool.
  assert {
    condition     = google_cloud_run_v2_worker_pool.worker[0].template[0].containers[0].args == tolist(["worker"]) && google_cloud_run_v2_worker_pool.worker[0].scaling[0].manual_instance_count == 1
    error_message = "one worker, scaled by hand"
  }
  assert {
    condition = {
      for env in google_cloud_run_v2_worker_pool.worker[0].template[0].containers[0].env :
      env.name => env.value_source[0].secret_key_ref[0].secret if length(env.value_source) > 0
    } == { ST_CLIENT_ID = "ST_CLIENT_ID", ST_CLIENT_SECRET = "ST_CLIENT_SECRET", ST_APP_KEY = "ST_APP_KEY" }
    error_message = "credentials come from Secret Manager"
  }
  assert {
    condition     = length([for env in google_cloud_run_v2_service.serve[0].template[0].containers[0].env : env if startswith(env.name, "ST_") && env.name != "ST_TENANT_ID"]) == 0
    error_message = "the HTTP API has no credentials of ServiceTitan"
  }

  # The schedules publish.
  assert {
    condition     = alltrue([for name, job in google_cloud_scheduler_job.sync : endswith(name, "-v2") && job.time_zone == "America/Los_Angeles" && job.paused == false])
    error_message = "v2's own names, the brief's time zone"
  }
  assert {
    condition     = base64decode(google_cloud_scheduler_job.sync["jobs-sync-v2"].pubsub_target[0].data) == "{\"entity\":\"jobs\",\"mode\":\"incremental\"}" && google_cloud_scheduler_job.sync["jobs-sync-v2"].schedule == "0 */2 * * *"
    error_message = "jobs, every two hours"
  }
  assert {
    condition     = base64decode(google_cloud_scheduler_job.sync["weekly-full-sync-v2"].pubsub_target[0].data) == "{\"entity\":\"all\",\"mode\":\"full\"}" && google_cloud_scheduler_job.sync["weekly-full-sync-v2"].schedule == "0 3 * * 0"
    error_message = "everything, Sunday at 3"
  }

  # Alerts tell somebody what to do.
  assert {
    condition = alltrue([
      for policy in concat(values(google_monitoring_alert_policy.alert), values(google_monitoring_alert_policy.watermark_lag)) :
      length(policy.notification_channels) == 1 && length(policy.documentation[0].content) > 200
    ])
    error_message = "each has a channel and instructions"
  }
  assert {
    condition     = toset(keys(google_monitoring_alert_policy.alert)) == toset(["dead_letters", "failed_runs", "schema", "oldest_message_live", "oldest_message_backfill"])
    error_message = "what is watched beside the lag"
  }
  assert {
    condition     = { for key, policy in google_monitoring_alert_policy.alert : key => policy.conditions[0].condition_threshold[0].threshold_value } == { dead_letters = 0, failed_runs = 0, schema = 0, oldest_message_live = 14400, oldest_message_backfill = 86400 }
    error_message = "when it is told"
  }
  assert {
    condition     = alltrue([for policy in values(google_monitoring_alert_policy.alert) : alltrue([for condition in policy.conditions : strcontains(condition.condition_threshold[0].filter, "metric.type=") && strcontains(condition.condition_threshold[0].filter, "resource.type=")])])
    error_message = "Monitoring wants both in a filter"
  }
  assert {
    condition     = toset(keys(google_monitoring_alert_policy.watermark_lag)) == toset(["jobs", "invoices", "estimates", "payments", "payroll", "customers", "locations", "campaigns"])
    error_message = "one for each scheduled entity"
  }
  assert {
    condition     = google_monitoring_alert_policy.watermark_lag["jobs"].conditions[0].condition_threshold[0].aggregations[0].alignment_period == "18000s" && google_monitoring_alert_policy.watermark_lag["campaigns"].conditions[0].condition_threshold[0].aggregations[0].alignment_period == "90000s"
    error_message = "two missed syncs of jobs; a day and an hour, the most that Monitoring looks back, for a daily one"
  }
}


run "members_get_what_they_need" {
  command = plan

  variables {
    operators = ["user:ann@example.com"]
    invokers  = ["group:data@example.com"]
  }
  assert {
    condition     = [for member in values(google_cloud_run_v2_service_iam_member.invoker) : "${member.role} ${member.member}"] == ["roles/run.invoker group:data@example.com"]
    error_message = "the members of invokers and nobody else"
  }
  assert {
    condition     = { for key, member in google_pubsub_topic_iam_member.operator_publishes : member.topic => member.role } == { st-ingest = "roles/pubsub.publisher", st-backfill = "roles/pubsub.publisher" }
    error_message = "they publish to both lanes"
  }
  assert {
    condition     = google_pubsub_subscription_iam_member.operator_takes_dead_letters["user:ann@example.com"].subscription == "st-dead-letter-operator"
    error_message = "they read dead letters"
  }
}

run "open_to_all_means_a_token" {
  command = plan

  variables {
    allow_unauthenticated = true
  }
  assert {
    condition     = [for member in values(google_cloud_run_v2_service_iam_member.invoker) : member.member] == ["allUsers"]
    error_message = "all may call"
  }
  assert {
    condition = [
      for env in google_cloud_run_v2_service.serve[0].template[0].containers[0].env :
      "${env.name} ${env.value_source[0].secret_key_ref[0].secret}" if length(env.value_source) > 0
    ] == ["API_TOKEN API_TOKEN"]
    error_message = "the API token comes from its secret"
  }
  assert {
    condition     = !contains([for env in google_cloud_run_v2_service.serve[0].template[0].containers[0].env : env.name], "API_ALLOW_UNAUTHENTICATED")
    error_message = "the program must ask for the token"
  }
  assert {
    condition     = google_secret_manager_secret_iam_member.serve_reads[0].role == "roles/secretmanager.secretAccessor"
    error_message = "serve may read the token"
  }
}
