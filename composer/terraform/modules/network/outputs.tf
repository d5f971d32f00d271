output "network" {
  description = "The VPC."
  value       = google_compute_network.training.id
}

output "subnetworks" {
  description = "Subnets: nodes, airflow."
  value = {
    nodes   = google_compute_subnetwork.nodes.id
    airflow = google_compute_subnetwork.airflow.id
  }
}

output "node_tag" {
  description = "The tag that lets nodes be reached by each other."
  value       = local.node_tag
}
