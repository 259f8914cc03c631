# Roles, each on the narrowest thing that works. A resource is named who_does_what.

# ---- Both programs, on the project: these two roles exist on no smaller thing ----------------------------------------

locals {
  programs = {
    worker = google_service_account.worker.member
    serve  = google_service_account.serve.member
  }
  program_roles = {
    for pair in setproduct(keys(local.programs), ["roles/bigquery.jobUser", "roles/logging.logWriter"]) :
    "${pair[0]} ${pair[1]}" => { program = pair[0], role = pair[1] }
  }
}

resource "google_project_iam_member" "program" {
  for_each = local.program_roles

  project = var.project_id
  role    = each.value.role
  member  = local.programs[each.value.program]
}

# ---- The worker -----------------------------------------------------------------------------------------------------

# Not the mart: that is the analysts'.
resource "google_bigquery_dataset_iam_member" "worker_writes" {
  for_each = toset(["raw", "stage", "logs"])

  project    = var.project_id
  dataset_id = google_bigquery_dataset.dataset[each.key].dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = google_service_account.worker.member
}

resource "google_pubsub_subscription_iam_member" "worker_pulls" {
  for_each = local.lanes

  project      = var.project_id
  subscription = google_pubsub_subscription.lane[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.worker.member
}

# The lanes, because "all" is expanded into one message per entity and tenant; the dead letters, with their reason.
resource "google_pubsub_topic_iam_member" "worker_publishes" {
  for_each = local.queues

  project = var.project_id
  topic   = google_pubsub_topic.queue[each.key].name
  role    = "roles/pubsub.publisher"
  member  = google_service_account.worker.member
}

resource "google_secret_manager_secret_iam_member" "worker_reads" {
  for_each = toset(values(var.tenant_secrets))

  project   = var.project_id
  secret_id = google_secret_manager_secret.secret[each.key].secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.worker.member
}

# ---- The HTTP API ---------------------------------------------------------------------------------------------------

# Answers /status, /last-sync, /runs and /tasks from the logs; /ready looks at a view there.
resource "google_bigquery_dataset_iam_member" "serve_reads_logs" {
  project    = var.project_id
  dataset_id = google_bigquery_dataset.dataset["logs"].dataset_id
  role       = "roles/bigquery.dataViewer"
  member     = google_service_account.serve.member
}

resource "google_pubsub_topic_iam_member" "serve_publishes" {
  for_each = local.lanes

  project = var.project_id
  topic   = google_pubsub_topic.queue[each.key].name
  role    = "roles/pubsub.publisher"
  member  = google_service_account.serve.member
}

# /ready looks whether the topic is there.
resource "google_pubsub_topic_iam_member" "serve_sees_topic" {
  project = var.project_id
  topic   = google_pubsub_topic.queue["live"].name
  role    = "roles/pubsub.viewer"
  member  = google_service_account.serve.member
}

resource "google_secret_manager_secret_iam_member" "serve_reads" {
  count = local.api_token ? 1 : 0

  project   = var.project_id
  secret_id = google_secret_manager_secret.secret[var.api_token_secret].secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.serve.member
}

# ---- Operators, at their own machines -------------------------------------------------------------------------------

resource "google_project_iam_member" "operator_queries" {
  for_each = var.operators

  project = var.project_id
  role    = "roles/bigquery.jobUser"
  member  = each.key
}

# They write, too: what was done with a dead letter, and which backfill was asked for.
resource "google_bigquery_dataset_iam_member" "operator_logs" {
  for_each = var.operators

  project    = var.project_id
  dataset_id = google_bigquery_dataset.dataset["logs"].dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = each.key
}

resource "google_pubsub_topic_iam_member" "operator_publishes" {
  for_each = { for pair in setproduct(local.lanes, var.operators) : "${pair[0]} ${pair[1]}" => { lane = pair[0], member = pair[1] } }

  project = var.project_id
  topic   = google_pubsub_topic.queue[each.value.lane].name
  role    = "roles/pubsub.publisher"
  member  = each.value.member
}

resource "google_pubsub_subscription_iam_member" "operator_takes_dead_letters" {
  for_each = var.operators

  project      = var.project_id
  subscription = google_pubsub_subscription.dead_letter.name
  role         = "roles/pubsub.subscriber"
  member       = each.key
}
