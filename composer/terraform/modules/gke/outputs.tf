output "name" {
  description = "The cluster's name."
  value       = google_container_cluster.training.name
}

output "node_selectors" {
  description = "Labels of the pools, as the Airflow Variable f1_training selects them."
  value = {
    chief  = local.chief.labels
    worker = local.base.labels
  }
}
