output "image_repository" {
  description = "Push the image to this path, with a tag."
  value       = "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.images.repository_id}/st-ingestor"
}

output "secrets" {
  description = "Secrets that need a value before an image is deployed: gcloud secrets versions add NAME --data-file=-"
  value       = sort(keys(google_secret_manager_secret.secret))
}

output "service_url" {
  description = "Address of the HTTP API; null until an image is deployed."
  value       = local.deployed ? google_cloud_run_v2_service.serve[0].uri : null
}

output "worker_service_account" {
  description = "Identity of the workers."
  value       = google_service_account.worker.email
}

output "serve_service_account" {
  description = "Identity of the HTTP API."
  value       = google_service_account.serve.email
}

output "topics" {
  description = "Topics by what they are for."
  value       = { for role, topic in google_pubsub_topic.queue : role => topic.id }
}

output "schedules" {
  description = "Names of the Cloud Scheduler jobs with their schedules."
  value       = { for name, job in google_cloud_scheduler_job.sync : name => "${job.schedule} (${job.time_zone})" }
}

output "environment" {
  description = "Settings of the programs, without secrets: what an operator's .env needs to reach the same topics and datasets."
  value       = local.environment
}
