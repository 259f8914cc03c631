# The worker pulls; nothing calls it, so it is a worker pool: no port, no probe, no request time-out, CPU all the time.
# SIGTERM comes before an instance is taken away, SIGKILL 10 s later; the worker needs 8.

locals {
  needed_secrets = toset(flatten([
    for tenant in try(local.config.tenants, []) : [for member in ["clientIdEnv", "clientSecretEnv", "appKeyEnv"] : try([tenant[member]], [])]
  ]))
}

resource "google_cloud_run_v2_worker_pool" "worker" {
  count = local.deployed ? 1 : 0

  project             = var.project_id
  location            = var.region
  name                = var.worker_name
  description         = "st-ingestor worker: pulls messages, reads ServiceTitan, loads BigQuery"
  launch_stage        = var.worker_launch_stage
  deletion_protection = false # it holds nothing: unfinished messages come again

  scaling {
    scaling_mode          = "MANUAL"
    manual_instance_count = var.worker_instances
  }

  template {
    service_account = google_service_account.worker.email

    containers {
      image = var.image
      args  = ["worker"]

      resources {
        limits = { cpu = var.worker_resources.cpu, memory = var.worker_resources.memory }
      }

      dynamic "env" {
        for_each = merge(local.environment, { WORKER_PORT = "0" }) # nothing could reach it
        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = var.tenant_secrets
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
    }
  }

  lifecycle {
    precondition {
      condition     = var.st_tenant_id != null || length(local.needed_secrets) > 0
      error_message = "No tenant: set st_tenant_id, or a tenants list in config.json."
    }
    precondition {
      condition     = length(setsubtract(local.needed_secrets, keys(var.tenant_secrets))) == 0
      error_message = "tenant_secrets lacks variables that config.json's tenants name: ${join(", ", setsubtract(local.needed_secrets, keys(var.tenant_secrets)))}."
    }
  }

  depends_on = [
    google_bigquery_table.view,
    google_project_iam_member.program,
    google_bigquery_dataset_iam_member.worker_writes,
    google_pubsub_subscription_iam_member.worker_pulls,
    google_pubsub_topic_iam_member.worker_publishes,
    google_secret_manager_secret_iam_member.worker_reads,
  ]
}
