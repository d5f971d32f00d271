# One root, eight modules. Arrows point one way: keys and accounts first, then what uses them, then who may do what.

data "google_project" "this" {
  project_id = var.project_id
}

locals {
  services = [
    "aiplatform",
    "artifactregistry",
    "bigquery",
    "bigquerystorage",
    "billingbudgets",
    "cloudbuild",
    "cloudkms",
    "cloudresourcemanager",
    "composer",
    "compute",
    "container",
    "dns",
    "iam",
    "iamcredentials",
    "logging",
    "monitoring",
    "pubsub",
    "secretmanager",
    "storage",
  ]
  labels = {
    app = "f1-training"
  }
}

resource "google_project_service" "used" {
  for_each = toset(local.services)

  project = var.project_id
  service = "${each.key}.googleapis.com"
  # Another system in the project may use it too.
  disable_on_destroy = false
}

module "network" {
  source = "./modules/network"

  project_id           = var.project_id
  region               = var.region
  ranges               = var.ranges
  node_account         = module.iam.accounts["nodes"]
  airflow_egress_hosts = var.airflow_egress_hosts
  image_hosts          = var.image_hosts

  depends_on = [google_project_service.used]
}

module "storage" {
  source = "./modules/storage"

  project_id          = var.project_id
  project_number      = data.google_project.this.number
  region              = var.region
  bucket_prefix       = var.bucket_prefix
  datasets            = var.datasets
  labels              = local.labels
  deletion_protection = var.deletion_protection

  depends_on = [google_project_service.used]
}

module "registry" {
  source = "./modules/registry"

  project_id = var.project_id
  region     = var.region
  labels     = local.labels
  kms_key    = module.storage.keys["registry"]
}

module "iam" {
  source = "./modules/iam"

  project_id     = var.project_id
  project_number = data.google_project.this.number
  region         = var.region
  buckets        = module.storage.buckets
  datasets       = module.storage.datasets
  repositories   = module.registry.repositories
  secrets        = module.composer.secrets
  landing_bucket = var.landing_bucket
  billing_table  = var.billing_table
  reservation    = var.reservation
  deployers      = var.deployers

  metrics_exporters = var.metrics_exporters

  depends_on = [google_project_service.used]
}

module "gke" {
  source = "./modules/gke"

  project_id          = var.project_id
  region              = var.region
  node_zones          = var.node_zones
  labels              = local.labels
  network             = module.network.network
  subnetwork          = module.network.subnetworks["nodes"]
  node_tag            = module.network.node_tag
  control_plane_range = var.ranges.control_plane
  # Airflow's tasks come from its own subnet; everybody else has to be named.
  control_plane_clients = merge({ airflow = var.ranges.airflow }, var.admin_ranges)
  node_account          = module.iam.accounts["nodes"]
  kms_key               = module.storage.keys["gke"]
  security_group        = var.security_group
  max_workers           = var.max_workers
  gpu                   = var.gpu
  deletion_protection   = var.deletion_protection
}

module "composer" {
  source = "./modules/composer"

  project_id      = var.project_id
  region          = var.region
  labels          = local.labels
  image           = var.composer_image
  pypi_packages   = var.pypi_packages
  network         = module.network.network
  subnetwork      = module.network.subnetworks["airflow"]
  internal_range  = var.ranges.composer
  service_account = module.iam.accounts["airflow"]
  bucket          = module.storage.buckets["composer"]
  ui_ranges       = var.airflow_ui_ranges
  kms_key         = module.storage.keys["composer"]
  secrets         = var.secrets
  secrets_kms_key = module.storage.keys["secrets"]
  index           = module.registry.index
  wheels          = module.registry.wheels
}

module "monitoring" {
  source = "./modules/monitoring"

  project_id        = var.project_id
  region            = var.region
  labels            = local.labels
  kms_key           = module.storage.keys["logs"]
  bigquery_kms_key  = module.storage.keys["bigquery"]
  alert_emails      = var.alert_emails
  critical_channels = var.critical_channels
  metric_prefix     = var.metric_prefix
}

module "budget" {
  source = "./modules/budget"

  billing_account = var.billing_account
  project_number  = data.google_project.this.number
  monthly_usd     = var.monthly_budget_usd
  channels        = module.monitoring.channels
}
