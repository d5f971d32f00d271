output "repositories" {
  description = "Repositories by what they hold."
  value = {
    images = google_artifact_registry_repository.images.repository_id
    wheels = google_artifact_registry_repository.wheels.repository_id
    mirror = google_artifact_registry_repository.mirror.repository_id
    index  = google_artifact_registry_repository.index.repository_id
  }
}

output "index" {
  description = "The index that Composer installs from."
  value       = "https://${var.region}-python.pkg.dev/${var.project_id}/${google_artifact_registry_repository.index.repository_id}/simple/"
}

output "wheels" {
  description = "The index of the wheels alone."
  value       = "https://${var.region}-python.pkg.dev/${var.project_id}/${google_artifact_registry_repository.wheels.repository_id}/simple/"
}
