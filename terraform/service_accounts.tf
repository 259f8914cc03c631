# One identity per program. Cloud Scheduler needs none of ours: it publishes as its own service agent, which gets its role
# when the API is enabled.

resource "google_service_account" "worker" {
  project      = var.project_id
  account_id   = "st-v2-ingestor-worker"
  display_name = "st-ingestor worker"
  description  = "Reads ServiceTitan and loads BigQuery. The whole fleet uses this one: the change chain reads jobs that other workers made."

  depends_on = [google_project_service.api]
}

resource "google_service_account" "serve" {
  project      = var.project_id
  account_id   = "st-v2-ingestor-serve"
  display_name = "st-ingestor HTTP API"
  description  = "Publishes messages and reads the run log. It has no credentials of ServiceTitan and writes nothing to BigQuery."

  depends_on = [google_project_service.api]
}
