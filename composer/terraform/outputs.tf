output "airflow_variable" {
  description = "The Airflow Variable f1_training for this deployment: the first settings.json of `make deploy`."
  value = jsonencode({
    project                   = var.project_id
    location                  = var.region
    image                     = var.training_image
    datasets                  = var.datasets
    uris                      = { for name in ["artifacts", "models", "checkpoints"] : name => "gs://${module.storage.buckets[name]}" }
    namespace                 = module.iam.namespace
    service_account           = module.iam.kubernetes_accounts["trainer"]
    evaluator_service_account = module.iam.kubernetes_accounts["evaluator"]
    machine_type_label        = "node.kubernetes.io/instance-type"
    chief_node_selector       = module.gke.node_selectors["chief"]
    worker_node_selector      = module.gke.node_selectors["worker"]
    worker_spot               = "preferred"
    chief_priority_class      = "f1-training-chief"
    worker_priority_class     = "f1-training-worker"
    gpu_accelerator           = length(var.gpu.tiers) > 0 ? var.gpu.accelerator : ""
    data                      = { landing = var.landing_bucket == "" ? "" : "gs://${var.landing_bucket}", reservation = var.reservation }
    costs                     = { billing_table = var.billing_table, location = var.billing_location }
    metrics                   = { exporters = var.metrics_exporters }
  })
}

output "cluster" {
  description = "Name of the cluster, for `gcloud container clusters get-credentials` and Airflow's Kubernetes connection."
  value       = module.gke.name
}

output "accounts" {
  description = "E-mail addresses of the service accounts, for the overlay of composer/k8s."
  value       = module.iam.accounts
}

output "airflow_uri" {
  description = "Airflow's UI."
  value       = module.composer.airflow_uri
}

output "dag_folder" {
  description = "Where the files of dags/ go."
  value       = module.composer.dag_folder
}

output "repositories" {
  description = "Artifact Registry: images, and the index that Composer installs from."
  value       = module.registry.repositories
}

output "deploy" {
  description = "What `make deploy` is given beside PROJECT and ENVIRONMENT, so that builds run as the deployer."
  value       = "--region=${var.region} --build-account=${module.iam.accounts["deployer"]} --build-staging=gs://${module.storage.buckets["artifacts"]}/_deploy/source"
}
