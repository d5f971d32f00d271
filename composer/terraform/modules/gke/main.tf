# The cluster: private, its pods' traffic encrypted between nodes, its nodes from zero (pools.tf).

resource "google_container_cluster" "training" {
  #checkov:skip=CKV_GCP_69:The default pool, which would lack it, is removed; every pool in pools.tf has GKE_METADATA
  #checkov:skip=CKV_GCP_12:Dataplane V2 enforces NetworkPolicy itself; the add-on that this check looks for is Calico
  project             = var.project_id
  name                = "f1-training"
  location            = var.region
  node_locations      = var.node_zones
  deletion_protection = var.deletion_protection
  resource_labels     = var.labels

  network         = var.network
  subnetwork      = var.subnetwork
  networking_mode = "VPC_NATIVE"

  # Pools are resources of their own: one that is changed does not replace the cluster.
  remove_default_node_pool = true
  initial_node_count       = 1

  # For the few minutes that the default pool lives.
  node_config {
    machine_type    = "e2-standard-2"
    service_account = var.node_account
    oauth_scopes    = ["https://www.googleapis.com/auth/cloud-platform"]
    tags            = [var.node_tag]

    workload_metadata_config {
      mode = "GKE_METADATA"
    }

    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }
  }

  # Services get GKE's own range, 34.118.224.0/20, of which the NetworkPolicies of composer/k8s know the address of DNS.
  ip_allocation_policy {
    cluster_secondary_range_name = "pods"
  }

  private_cluster_config {
    enable_private_nodes    = true
    enable_private_endpoint = true
    master_ipv4_cidr_block  = var.control_plane_range
  }

  master_authorized_networks_config {
    gcp_public_cidrs_access_enabled = false

    dynamic "cidr_blocks" {
      for_each = var.control_plane_clients

      content {
        cidr_block   = cidr_blocks.value
        display_name = cidr_blocks.key
      }
    }
  }

  # Dataplane V2 enforces the NetworkPolicies of composer/k8s. The collectives of XGBoost and LightGBM are plain sockets,
  # so the nodes encrypt what pods say to each other (errata row 13).
  datapath_provider            = "ADVANCED_DATAPATH"
  in_transit_encryption_config = "IN_TRANSIT_ENCRYPTION_INTER_NODE_TRANSPARENT"
  enable_intranode_visibility  = true

  workload_identity_config {
    workload_pool = "${var.project_id}.svc.id.goog"
  }

  database_encryption {
    state    = "ENCRYPTED"
    key_name = var.kms_key
  }

  enable_shielded_nodes = true
  enable_legacy_abac    = false

  authenticator_groups_config {
    security_group = var.security_group
  }

  master_auth {
    client_certificate_config {
      issue_client_certificate = false
    }
  }

  binary_authorization {
    evaluation_mode = "PROJECT_SINGLETON_POLICY_ENFORCE"
  }

  release_channel {
    channel = "REGULAR"
  }

  # Between the races, and not on Monday, when the weekly training runs. A chief that is drained loses its attempt.
  maintenance_policy {
    recurring_window {
      start_time = "2026-01-06T08:00:00Z"
      end_time   = "2026-01-06T16:00:00Z"
      recurrence = "FREQ=WEEKLY;BYDAY=TU,WE"
    }
  }

  cluster_autoscaling {
    # An empty node goes at once: scaling to zero is what makes large machines affordable.
    autoscaling_profile = "OPTIMIZE_UTILIZATION"
  }

  cost_management_config {
    enabled = true
  }

  logging_config {
    enable_components = ["SYSTEM_COMPONENTS", "WORKLOADS", "APISERVER"]
  }

  monitoring_config {
    enable_components = ["SYSTEM_COMPONENTS", "POD", "KUBELET", "CADVISOR"]

    managed_prometheus {
      enabled = true
    }
  }

  # GKE no longer scans for vulnerabilities itself; Artifact Registry scans our images (module registry).
  security_posture_config {
    mode               = "BASIC"
    vulnerability_mode = "VULNERABILITY_DISABLED"
  }

  lifecycle {
    # GKE fills it in for the default pool, which is gone.
    ignore_changes = [node_config]
  }
}
