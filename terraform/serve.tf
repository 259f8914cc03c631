# The HTTP API. It publishes and reads the run log; it never ingests, so it may go to zero instances.

resource "google_cloud_run_v2_service" "serve" {
  count = local.deployed ? 1 : 0

  project             = var.project_id
  location            = var.region
  name                = var.service_name
  description         = "st-ingestor HTTP API"
  ingress             = var.service_ingress
  deletion_protection = false # it holds nothing

  template {
    service_account = google_service_account.serve.email
    timeout         = "${var.service_timeout_seconds}s"

    scaling {
      min_instance_count = var.service_instances.min
      max_instance_count = var.service_instances.max
    }

    containers {
      image = var.image
      args  = ["serve"]

      resources {
        limits            = { cpu = var.service_resources.cpu, memory = var.service_resources.memory }
        cpu_idle          = true # CPU is paid for while a request is under way; nothing happens in between
        startup_cpu_boost = true
      }

      ports {
        container_port = 8080
      }

      dynamic "env" {
        # Where Cloud Run checks the caller, the program need not; it listens on no other way in.
        for_each = merge(local.environment, local.api_token ? {} : { API_ALLOW_UNAUTHENTICATED = "true" })
        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = local.api_token ? { API_TOKEN = var.api_token_secret } : {}
        content {
          name = env.key
          value_source {
            secret_key_ref {
              secret  = google_secret_manager_secret.secret[env.value].secret_id
              version = "latest"
            }
          }
        }
      }

      # /health and not /ready: an instance must not be restarted because the warehouse is slow.
      startup_probe {
        period_seconds    = 2
        timeout_seconds   = 2
        failure_threshold = 15
        http_get {
          path = "/health"
          port = 8080
        }
      }
      liveness_probe {
        period_seconds    = 30
        timeout_seconds   = 5
        failure_threshold = 3
        http_get {
          path = "/health"
          port = 8080
        }
      }
    }
  }

  depends_on = [
    google_bigquery_table.view,
    google_project_iam_member.program,
    google_bigquery_dataset_iam_member.serve_reads_logs,
    google_pubsub_topic_iam_member.serve_publishes,
    google_secret_manager_secret_iam_member.serve_reads,
  ]
}

resource "google_cloud_run_v2_service_iam_member" "invoker" {
  for_each = local.deployed ? setunion(var.invokers, var.allow_unauthenticated ? ["allUsers"] : []) : toset([])

  project  = var.project_id
  location = var.region
  name     = google_cloud_run_v2_service.serve[0].name
  role     = "roles/run.invoker"
  member   = each.key
}
