# Who read which rows and wrote which objects: kept a year, and in BigQuery to be asked.

# Admin activity (buckets made, rights changed) and system events are always logged; reading and writing data is not.
resource "google_project_iam_audit_config" "bigquery" {
  project = var.project_id
  service = "bigquery.googleapis.com"

  audit_log_config {
    log_type = "DATA_READ"
  }

  audit_log_config {
    log_type = "DATA_WRITE"
  }
}

# The Storage Read API, by which workers read, is a service of its own.
resource "google_project_iam_audit_config" "bigquery_storage" {
  project = var.project_id
  service = "bigquerystorage.googleapis.com"

  audit_log_config {
    log_type = "DATA_READ"
  }
}

# Reads are left out: a training reads its manifests over and over, and may read nothing that it could not write about.
resource "google_project_iam_audit_config" "storage" {
  project = var.project_id
  service = "storage.googleapis.com"

  audit_log_config {
    log_type = "DATA_WRITE"
  }

  audit_log_config {
    log_type = "ADMIN_READ"
  }
}

resource "google_project_iam_audit_config" "secrets" {
  project = var.project_id
  service = "secretmanager.googleapis.com"

  audit_log_config {
    log_type = "DATA_READ"
  }
}

locals {
  # In this language OR binds more closely than AND, so each part has its parentheses.
  pods = "(resource.labels.cluster_name=\"f1-training\" AND resource.labels.namespace_name=\"f1-training\")"
  audited = join(" OR ", [
    "log_id(\"cloudaudit.googleapis.com/activity\")",
    "log_id(\"cloudaudit.googleapis.com/system_event\")",
    "(log_id(\"cloudaudit.googleapis.com/data_access\") AND protoPayload.serviceName=(\"bigquery.googleapis.com\" OR \"bigquerystorage.googleapis.com\" OR \"storage.googleapis.com\" OR \"secretmanager.googleapis.com\"))",
    # Workers that start and stop: what the kubelet and the Job controller say of our pods.
    "(log_id(\"events\") AND resource.type=\"k8s_pod\" AND resource.labels.namespace_name=\"f1-training\" AND jsonPayload.reason=(\"Scheduled\" OR \"Started\" OR \"Killing\" OR \"Preempting\" OR \"Evicted\"))",
  ])
  logs = {
    training = {
      days   = 30
      filter = "resource.type=\"k8s_container\" AND ${local.pods} AND severity<ERROR"
    }
    errors = {
      days   = 90
      filter = "severity>=ERROR AND (${local.pods} OR resource.type=\"cloud_composer_environment\")"
    }
    audit = {
      days   = 365
      filter = local.audited
    }
  }
}

resource "google_logging_project_bucket_config" "of" {
  for_each = local.logs

  project          = var.project_id
  location         = var.region
  bucket_id        = "f1-${each.key}"
  description      = "f1-training: ${each.key}"
  retention_days   = each.value.days
  enable_analytics = true
  # A year of audit logs that somebody could shorten would be none. It cannot be unlocked.
  locked = each.key == "audit"

  cmek_settings {
    kms_key_name = var.kms_key
  }
}

resource "google_logging_project_sink" "buckets" {
  for_each = local.logs

  project                = var.project_id
  name                   = "f1-${each.key}"
  destination            = "logging.googleapis.com/${google_logging_project_bucket_config.of[each.key].id}"
  filter                 = each.value.filter
  unique_writer_identity = true
}

resource "google_bigquery_dataset" "audit" {
  project                         = var.project_id
  dataset_id                      = "f1_audit"
  location                        = var.region
  description                     = "f1-training: audit logs"
  labels                          = var.labels
  default_partition_expiration_ms = 365 * 24 * 3600 * 1000

  default_encryption_configuration {
    kms_key_name = var.bigquery_kms_key
  }
}

resource "google_logging_project_sink" "audit_to_bigquery" {
  project                = var.project_id
  name                   = "f1-audit-bigquery"
  destination            = "bigquery.googleapis.com/projects/${var.project_id}/datasets/${google_bigquery_dataset.audit.dataset_id}"
  filter                 = local.audited
  unique_writer_identity = true

  bigquery_options {
    use_partitioned_tables = true
  }
}

resource "google_bigquery_dataset_iam_member" "audit_writer" {
  project    = var.project_id
  dataset_id = google_bigquery_dataset.audit.dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = google_logging_project_sink.audit_to_bigquery.writer_identity
}
