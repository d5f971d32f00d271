# Airflow: a private Composer 3 environment whose connections and variables are in Secret Manager.

locals {
  overrides = {
    "secrets-backend" = "airflow.providers.google.cloud.secrets.secret_manager.CloudSecretManagerBackend"
    "secrets-backend_kwargs" = jsonencode({
      project_id         = var.project_id
      connections_prefix = "airflow-connections"
      variables_prefix   = "airflow-variables"
      sep                = "-"
    })
    # A new DAG runs when somebody says so.
    "core-dags_are_paused_at_creation" = "True"
  }
}

# Where packages come from: the builds of a private environment reach nothing else. The index has the wheels already;
# they are named once more because `make deploy` looks for its own repository in here.
resource "google_storage_bucket_object" "pip" {
  bucket  = var.bucket
  name    = "config/pip/pip.conf"
  content = "[global]\nindex-url = ${var.index}\nextra-index-url = ${var.wheels}\n"
}

resource "google_composer_environment" "airflow" {
  project = var.project_id
  name    = "f1-training"
  region  = var.region
  labels  = var.labels

  storage_config {
    bucket = var.bucket
  }

  config {
    environment_size           = "ENVIRONMENT_SIZE_SMALL"
    resilience_mode            = "STANDARD_RESILIENCE"
    enable_private_environment = true
    enable_private_builds_only = true

    node_config {
      network                           = var.network
      subnetwork                        = var.subnetwork
      service_account                   = var.service_account
      composer_internal_ipv4_cidr_block = var.internal_range
    }

    software_config {
      image_version            = var.image
      airflow_config_overrides = local.overrides
      pypi_packages            = var.pypi_packages
    }

    workloads_config {
      scheduler {
        count      = 1
        cpu        = 1
        memory_gb  = 4
        storage_gb = 1
      }

      dag_processor {
        count      = 1
        cpu        = 1
        memory_gb  = 4
        storage_gb = 1
      }

      # A training lasts hours and is waited for here. Without a triggerer deferred tasks never go on; two, so that one
      # may be replaced.
      triggerer {
        count     = 2
        cpu       = 1
        memory_gb = 2
      }

      web_server {
        cpu        = 1
        memory_gb  = 4
        storage_gb = 1
      }

      worker {
        min_count  = 1
        max_count  = 4
        cpu        = 2
        memory_gb  = 8
        storage_gb = 10
      }
    }

    encryption_config {
      kms_key_name = var.kms_key
    }

    web_server_network_access_control {
      dynamic "allowed_ip_range" {
        for_each = var.ui_ranges

        content {
          value       = allowed_ip_range.value
          description = allowed_ip_range.key
        }
      }
    }

    maintenance_window {
      start_time = "2026-01-06T08:00:00Z"
      end_time   = "2026-01-06T14:00:00Z"
      recurrence = "FREQ=WEEKLY;BYDAY=TU,WE"
    }

    # The metadata database holds attempts, budgets and gates.
    recovery_config {
      scheduled_snapshots_config {
        enabled                    = true
        snapshot_location          = "gs://${var.bucket}/snapshots"
        snapshot_creation_schedule = "0 4 * * *"
        time_zone                  = "UTC+00"
      }
    }

    data_retention_config {
      airflow_metadata_retention_config {
        retention_mode = "RETENTION_MODE_ENABLED"
        retention_days = 365
      }

      task_logs_retention_config {
        storage_mode = "CLOUD_LOGGING_AND_CLOUD_STORAGE"
      }
    }
  }

  lifecycle {
    # `make deploy` installs packages; an apply after it would take them away.
    ignore_changes = [config[0].software_config[0].pypi_packages]
  }

  depends_on = [google_storage_bucket_object.pip]
}

# Names only. A value in Terraform would be in its state; `gcloud secrets versions add` puts it where it belongs.
resource "google_secret_manager_secret" "airflow" {
  for_each = toset(var.secrets)

  project   = var.project_id
  secret_id = each.key
  labels    = var.labels

  replication {
    user_managed {
      replicas {
        location = var.region

        customer_managed_encryption {
          kms_key_name = var.secrets_kms_key
        }
      }
    }
  }
}
