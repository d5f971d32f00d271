# Buckets and datasets. Nothing is public, nothing has its own access list, everything is encrypted with our keys.

# The lifecycle counts on nothing but age, and no age ends a model: f1_model_retention removes versions, as it alone
# knows which one serves.
resource "google_storage_bucket" "models" {
  #checkov:skip=CKV_GCP_62:Cloud Audit Logs record every write (module monitoring); usage logs would need a bucket of their own
  project                     = var.project_id
  name                        = "${var.bucket_prefix}-models"
  location                    = var.region
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  labels                      = var.labels

  versioning {
    enabled = true
  }

  encryption {
    default_kms_key_name = google_kms_crypto_key.of["storage"].id
  }

  # What was deleted or replaced by mistake can be brought back for a month.
  lifecycle_rule {
    condition {
      days_since_noncurrent_time = 30
      with_state                 = "ARCHIVED"
    }
    action {
      type = "Delete"
    }
  }

  lifecycle_rule {
    condition {
      age = 1
    }
    action {
      type = "AbortIncompleteMultipartUpload"
    }
  }

  depends_on = [google_kms_crypto_key_iam_member.agents]
}

resource "google_storage_bucket" "artifacts" {
  #checkov:skip=CKV_GCP_62:Cloud Audit Logs record every write (module monitoring); usage logs would need a bucket of their own
  project                     = var.project_id
  name                        = "${var.bucket_prefix}-artifacts"
  location                    = var.region
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  labels                      = var.labels

  versioning {
    enabled = true
  }

  encryption {
    default_kms_key_name = google_kms_crypto_key.of["storage"].id
  }

  # Nearline bills 30 days at least; from day 30 to day 90 it has 60.
  lifecycle_rule {
    condition {
      age                   = 30
      matches_storage_class = ["STANDARD"]
      with_state            = "LIVE"
    }
    action {
      type          = "SetStorageClass"
      storage_class = "NEARLINE"
    }
  }

  lifecycle_rule {
    condition {
      age        = 90
      with_state = "LIVE"
    }
    action {
      type = "Delete"
    }
  }

  # Without it the bucket would keep every deleted object as a version, for ever.
  lifecycle_rule {
    condition {
      days_since_noncurrent_time = 7
      with_state                 = "ARCHIVED"
    }
    action {
      type = "Delete"
    }
  }

  lifecycle_rule {
    condition {
      age = 1
    }
    action {
      type = "AbortIncompleteMultipartUpload"
    }
  }

  depends_on = [google_kms_crypto_key_iam_member.agents]
}

resource "google_storage_bucket" "checkpoints" {
  #checkov:skip=CKV_GCP_62:Cloud Audit Logs record every write (module monitoring); usage logs would need a bucket of their own
  #checkov:skip=CKV_GCP_78:Checkpoints are created once and never replaced; versions would only bill what the lifecycle deletes
  project  = var.project_id
  name     = "${var.bucket_prefix}-checkpoints"
  location = var.region
  # Nearline bills 30 days of what is deleted after 7: dearer.
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  labels                      = var.labels

  encryption {
    default_kms_key_name = google_kms_crypto_key.of["storage"].id
  }

  # By default deleted objects are kept, and billed, for seven days more.
  soft_delete_policy {
    retention_duration_seconds = 0
  }

  lifecycle_rule {
    condition {
      age = 7
    }
    action {
      type = "Delete"
    }
  }

  lifecycle_rule {
    condition {
      age = 1
    }
    action {
      type = "AbortIncompleteMultipartUpload"
    }
  }

  depends_on = [google_kms_crypto_key_iam_member.agents]
}

# Composer's own: DAGs and task logs. Made here, so that it is ours in key, access and lifecycle.
resource "google_storage_bucket" "composer" {
  #checkov:skip=CKV_GCP_62:Cloud Audit Logs record every write (module monitoring); usage logs would need a bucket of their own
  project                     = var.project_id
  name                        = "${var.bucket_prefix}-composer"
  location                    = var.region
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  labels                      = var.labels

  versioning {
    enabled = true
  }

  # The environment's key: Composer refuses a bucket with another one.
  encryption {
    default_kms_key_name = google_kms_crypto_key.of["composer"].id
  }

  lifecycle_rule {
    condition {
      age            = 30
      matches_prefix = ["logs/"]
    }
    action {
      type = "Delete"
    }
  }

  lifecycle_rule {
    condition {
      days_since_noncurrent_time = 30
      with_state                 = "ARCHIVED"
    }
    action {
      type = "Delete"
    }
  }

  depends_on = [google_kms_crypto_key_iam_member.agents]
}

resource "google_bigquery_dataset" "of" {
  for_each = var.datasets

  project     = var.project_id
  dataset_id  = each.value
  location    = var.region
  description = "f1-training: ${each.key}"
  labels      = var.labels
  # Snapshots and candidates say themselves when they expire; what forgot to goes after a week, as the package sets it.
  default_table_expiration_ms = contains(["candidates", "staging", "evaluation"], each.key) ? 604800000 : null
  delete_contents_on_destroy  = !var.deletion_protection
  max_time_travel_hours       = "168"

  default_encryption_configuration {
    kms_key_name = google_kms_crypto_key.of["bigquery"].id
  }

  depends_on = [google_kms_crypto_key_iam_member.agents]
}
