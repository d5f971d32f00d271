# Who reaches whom. The lower number wins; at equal numbers deny wins, so allow is at 900 and deny at 65000: between
# them are the rules that GKE makes for its own traffic (999 and 1000).

locals {
  node_tag = "f1-training-node"
  cluster  = [var.ranges["nodes"], var.ranges["pods"]]
  # Dask's scheduler, and the ports that the kernel gives to Dask's workers, XGBoost's tracker and LightGBM's machines;
  # DNS and the kubelet. Pods of different jobs are kept apart by NetworkPolicy and by each attempt's CA.
  internal_tcp = ["53", "8786", "10250", "32768-60999"]
  # DNS, and WireGuard: what pods say to pods on other nodes is encrypted by the nodes and travels as this.
  internal_udp = ["53", "51871"]
  # The API server, Konnectivity, kubelets, and webhooks such as Kueue's.
  control_plane_tcp = ["443", "8132", "8443", "9443", "10250"]
}

resource "google_compute_firewall" "internal" {
  project       = var.project_id
  name          = "f1-training-internal"
  network       = google_compute_network.training.id
  description   = "Nodes and pods to each other"
  direction     = "INGRESS"
  priority      = 900
  source_ranges = local.cluster
  target_tags   = [local.node_tag]

  allow {
    protocol = "tcp"
    ports    = local.internal_tcp
  }

  allow {
    protocol = "udp"
    ports    = local.internal_udp
  }

  # Path MTU discovery: encryption makes packets longer.
  allow {
    protocol = "icmp"
  }
}

resource "google_compute_firewall" "control_plane" {
  project       = var.project_id
  name          = "f1-training-control-plane"
  network       = google_compute_network.training.id
  description   = "The control plane to kubelets and webhooks"
  direction     = "INGRESS"
  priority      = 900
  source_ranges = [var.ranges["control_plane"]]
  target_tags   = [local.node_tag]

  allow {
    protocol = "tcp"
    ports    = local.control_plane_tcp
  }
}

resource "google_compute_firewall" "deny_ingress" {
  project       = var.project_id
  name          = "f1-training-deny-ingress"
  network       = google_compute_network.training.id
  description   = "Everything else, from wherever"
  direction     = "INGRESS"
  priority      = 65000
  source_ranges = ["0.0.0.0/0"]

  deny {
    protocol = "all"
  }

  log_config {
    metadata = "INCLUDE_ALL_METADATA"
  }
}

# Egress is a network firewall policy, because its rules know host names. It is asked after the rules above, which say
# nothing of egress.
resource "google_compute_network_firewall_policy" "egress" {
  project     = var.project_id
  name        = "f1-training-egress"
  description = "What may be reached from the VPC"
}

resource "google_compute_network_firewall_policy_association" "egress" {
  project           = var.project_id
  name              = "f1-training-egress"
  firewall_policy   = google_compute_network_firewall_policy.egress.id
  attachment_target = google_compute_network.training.id
}

resource "google_compute_network_firewall_policy_rule" "cluster" {
  project                 = var.project_id
  firewall_policy         = google_compute_network_firewall_policy.egress.name
  rule_name               = "cluster"
  description             = "Nodes and pods to each other"
  direction               = "EGRESS"
  action                  = "allow"
  priority                = 900
  target_service_accounts = [var.node_account]

  match {
    dest_ip_ranges = local.cluster

    layer4_configs {
      ip_protocol = "tcp"
      ports       = local.internal_tcp
    }

    layer4_configs {
      ip_protocol = "udp"
      ports       = local.internal_udp
    }

    layer4_configs {
      ip_protocol = "icmp"
    }
  }
}

resource "google_compute_network_firewall_policy_rule" "control_plane" {
  project         = var.project_id
  firewall_policy = google_compute_network_firewall_policy.egress.name
  rule_name       = "control-plane"
  description     = "Nodes and Airflow to the cluster's control plane"
  direction       = "EGRESS"
  action          = "allow"
  priority        = 910

  match {
    dest_ip_ranges = [var.ranges["control_plane"]]

    layer4_configs {
      ip_protocol = "tcp"
      ports       = ["443", "8132"]
    }
  }
}

resource "google_compute_network_firewall_policy_rule" "google_apis" {
  project         = var.project_id
  firewall_policy = google_compute_network_firewall_policy.egress.name
  rule_name       = "google-apis"
  description     = "BigQuery, Cloud Storage, Artifact Registry: image pulls need no Internet"
  direction       = "EGRESS"
  action          = "allow"
  priority        = 920

  match {
    dest_ip_ranges = [local.google_apis_range]

    layer4_configs {
      ip_protocol = "tcp"
      ports       = ["443"]
    }
  }
}

resource "google_compute_network_firewall_policy_rule" "images" {
  count = length(var.image_hosts) > 0 ? 1 : 0

  project                 = var.project_id
  firewall_policy         = google_compute_network_firewall_policy.egress.name
  rule_name               = "images"
  description             = "Images of other registries, for nodes"
  direction               = "EGRESS"
  action                  = "allow"
  priority                = 930
  target_service_accounts = [var.node_account]
  enable_logging          = true

  match {
    dest_fqdns = var.image_hosts

    layer4_configs {
      ip_protocol = "tcp"
      ports       = ["443"]
    }
  }
}

# By range, not by account: Composer's machines are not in this project, so neither their account nor a tag is known
# here. What has an address of this subnet is Airflow.
resource "google_compute_network_firewall_policy_rule" "airflow" {
  project         = var.project_id
  firewall_policy = google_compute_network_firewall_policy.egress.name
  rule_name       = "airflow"
  description     = "Alert channels and sources of laps, for Airflow"
  direction       = "EGRESS"
  action          = "allow"
  priority        = 940
  enable_logging  = true

  match {
    src_ip_ranges = [var.ranges["airflow"]]
    dest_fqdns    = var.airflow_egress_hosts

    layer4_configs {
      ip_protocol = "tcp"
      ports       = ["443"]
    }
  }
}

resource "google_compute_network_firewall_policy_rule" "deny_egress" {
  project         = var.project_id
  firewall_policy = google_compute_network_firewall_policy.egress.name
  rule_name       = "deny"
  description     = "Everything else"
  direction       = "EGRESS"
  action          = "deny"
  priority        = 65000
  enable_logging  = true

  match {
    dest_ip_ranges = ["0.0.0.0/0"]

    layer4_configs {
      ip_protocol = "all"
    }
  }
}
