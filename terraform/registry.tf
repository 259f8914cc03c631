# Where the image is pushed. Cloud Run of the same project may pull from it without a role of ours.

resource "google_artifact_registry_repository" "images" {
  project       = var.project_id
  location      = var.region
  repository_id = "st-ingestor"
  format        = "DOCKER"
  description   = "Images of st-ingestor"

  depends_on = [google_project_service.api]
}
