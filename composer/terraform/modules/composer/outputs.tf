output "airflow_uri" {
  description = "Airflow's UI."
  value       = google_composer_environment.airflow.config[0].airflow_uri
}

output "dag_folder" {
  description = "Where the files of dags/ go."
  value       = google_composer_environment.airflow.config[0].dag_gcs_prefix
}

output "secrets" {
  description = "Ids of the secrets."
  value       = { for name, secret in google_secret_manager_secret.airflow : name => secret.secret_id }
}
