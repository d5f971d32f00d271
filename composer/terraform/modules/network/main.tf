# The VPC: two subnets, no public address, Google's APIs at their private addresses, NAT for what else is needed.

resource "google_compute_network" "training" {
  project                 = var.project_id
  name                    = "f1-training"
  auto_create_subnetworks = false
  routing_mode            = "REGIONAL"
}

resource "google_compute_subnetwork" "nodes" {
  #checkov:skip=CKV_GCP_76:IPv4 only; there is no IPv6 on this subnet whose Google access could be switched on
  project                  = var.project_id
  name                     = "f1-training-nodes"
  region                   = var.region
  network                  = google_compute_network.training.id
  ip_cidr_range            = var.ranges["nodes"]
  private_ip_google_access = true

  secondary_ip_range {
    range_name    = "pods"
    ip_cidr_range = var.ranges["pods"]
  }

  log_config {
    aggregation_interval = "INTERVAL_5_MIN"
    # Workers exchange histograms every round: a tenth of the flows says as much.
    flow_sampling = 0.1
    metadata      = "INCLUDE_ALL_METADATA"
  }
}

# Composer's machines are in a project of Google's. By way of a network attachment they have addresses of this subnet.
resource "google_compute_subnetwork" "airflow" {
  #checkov:skip=CKV_GCP_76:IPv4 only; there is no IPv6 on this subnet whose Google access could be switched on
  project                  = var.project_id
  name                     = "f1-training-airflow"
  region                   = var.region
  network                  = google_compute_network.training.id
  ip_cidr_range            = var.ranges["airflow"]
  private_ip_google_access = true

  log_config {
    aggregation_interval = "INTERVAL_5_MIN"
    flow_sampling        = 1.0
    metadata             = "INCLUDE_ALL_METADATA"
  }
}

resource "google_compute_router" "nat" {
  project = var.project_id
  name    = "f1-training"
  region  = var.region
  network = google_compute_network.training.id
}

# Which hosts are reached through it is said in firewall.tf; NAT itself knows no names.
resource "google_compute_router_nat" "nat" {
  project                            = var.project_id
  name                               = "f1-training"
  region                             = var.region
  router                             = google_compute_router.nat.name
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"

  subnetwork {
    name                    = google_compute_subnetwork.airflow.id
    source_ip_ranges_to_nat = ["PRIMARY_IP_RANGE"]
  }

  # Nodes only where images come from elsewhere. Their pods then share the way out, as GKE sends them out by the node's
  # address; that they do not use it is the NetworkPolicies' part.
  dynamic "subnetwork" {
    for_each = length(var.image_hosts) > 0 ? [google_compute_subnetwork.nodes.id] : []

    content {
      name                    = subnetwork.value
      source_ip_ranges_to_nat = ["PRIMARY_IP_RANGE"]
    }
  }

  log_config {
    enable = true
    filter = "ALL"
  }
}
