# A pool for each tier of the model catalogue (trainer/contract/resources.py), so that a model climbs from one to the
# next when its memory does not do. All from zero but `system`: somewhere DNS has to run.

locals {
  tiers = {
    small   = "n1-standard-4"
    medium  = "n1-standard-8"
    large   = "n1-standard-16"
    highmem = "n1-highmem-16"
  }
  label       = "f1-training/pool"
  base        = { accelerator = "", spot = false, min = 0, max = var.max_workers, scratch = 1, labels = { (local.label) = "worker" } }
  system      = merge(local.base, { machine = "e2-standard-2", min = 1, max = max(3, length(var.node_zones)), scratch = 0, labels = {} })
  chief       = merge(local.base, { machine = local.tiers["small"], max = 4, scratch = 0, labels = { (local.label) = "chief" } })
  on_demand   = { for tier, machine in local.tiers : "worker-${tier}" => merge(local.base, { machine = machine }) }
  spot        = { for tier, machine in local.tiers : "spot-${tier}" => merge(local.base, { machine = machine, spot = true }) }
  accelerated = { for tier in var.gpu.tiers : "gpu-${tier}" => merge(local.base, { machine = local.tiers[tier], accelerator = var.gpu.accelerator }) }
  pools       = merge({ system = local.system, chief = local.chief }, local.on_demand, local.spot, local.accelerated)
}

resource "google_container_node_pool" "of" {
  for_each = local.pools

  project        = var.project_id
  name           = each.key
  cluster        = google_container_cluster.training.id
  location       = var.region
  node_locations = var.node_zones
  # In each zone, to begin with: a pool may not begin below its least size.
  initial_node_count = each.value.min

  # In all zones together: a run of ten workers needs ten nodes, wherever.
  autoscaling {
    total_min_node_count = each.value.min
    total_max_node_count = each.value.max
    # Whichever zone has capacity; for Spot that is the difference between a node and none.
    location_policy = "ANY"
  }

  management {
    auto_repair  = true
    auto_upgrade = true
  }

  upgrade_settings {
    strategy        = "SURGE"
    max_surge       = 1
    max_unavailable = 0
  }

  node_config {
    machine_type    = each.value.machine
    image_type      = "COS_CONTAINERD"
    spot            = each.value.spot
    service_account = var.node_account
    # What an account may do is said by IAM, not by scopes.
    oauth_scopes      = ["https://www.googleapis.com/auth/cloud-platform"]
    disk_size_gb      = 100
    disk_type         = "pd-balanced"
    boot_disk_kms_key = var.kms_key
    tags              = [var.node_tag]
    labels            = each.value.labels
    resource_labels   = merge(var.labels, { pool = each.key })

    metadata = {
      disable-legacy-endpoints = "true"
    }

    # Shards are cached in an emptyDir: a local SSD reads them back faster than the boot disk.
    dynamic "ephemeral_storage_local_ssd_config" {
      for_each = each.value.scratch > 0 ? [each.value.scratch] : []

      content {
        local_ssd_count = ephemeral_storage_local_ssd_config.value
      }
    }

    # GKE itself puts the taint nvidia.com/gpu=present:NoSchedule on such nodes.
    dynamic "guest_accelerator" {
      for_each = each.value.accelerator == "" ? [] : [each.value.accelerator]

      content {
        type  = guest_accelerator.value
        count = 1

        gpu_driver_installation_config {
          gpu_driver_version = "DEFAULT"
        }
      }
    }

    # GKE labels Spot nodes, but taints none. Without it a chief could come to lie on one.
    dynamic "taint" {
      for_each = each.value.spot ? ["true"] : []

      content {
        key    = "cloud.google.com/gke-spot"
        value  = taint.value
        effect = "NO_SCHEDULE"
      }
    }

    workload_metadata_config {
      mode = "GKE_METADATA"
    }

    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }
  }

  lifecycle {
    # How a pool began is no reason to make it anew.
    ignore_changes = [initial_node_count]
  }
}
