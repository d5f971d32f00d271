# One key a purpose, so that who may decrypt a model need not be able to decrypt a log.

locals {
  # Google's own accounts that encrypt and decrypt for us, by key.
  agents = {
    storage  = ["service-${var.project_number}@gs-project-accounts.iam.gserviceaccount.com"]
    bigquery = ["bq-${var.project_number}@bigquery-encryption.iam.gserviceaccount.com"]
    gke = [
      "service-${var.project_number}@container-engine-robot.iam.gserviceaccount.com",
      "service-${var.project_number}@compute-system.iam.gserviceaccount.com",
    ]
    # Composer keeps its bucket, images, queues and machines under its own key.
    composer = [
      "service-${var.project_number}@cloudcomposer-accounts.iam.gserviceaccount.com",
      "service-${var.project_number}@gcp-sa-artifactregistry.iam.gserviceaccount.com",
      "service-${var.project_number}@container-engine-robot.iam.gserviceaccount.com",
      "service-${var.project_number}@gcp-sa-pubsub.iam.gserviceaccount.com",
      "service-${var.project_number}@compute-system.iam.gserviceaccount.com",
      "service-${var.project_number}@gs-project-accounts.iam.gserviceaccount.com",
    ]
    registry = ["service-${var.project_number}@gcp-sa-artifactregistry.iam.gserviceaccount.com"]
    secrets  = ["service-${var.project_number}@gcp-sa-secretmanager.iam.gserviceaccount.com"]
    logs     = ["cmek-p${var.project_number}@gcp-sa-logging.iam.gserviceaccount.com"]
  }
  grants = merge([
    for key, accounts in local.agents : { for account in accounts : "${key}/${account}" => { key = key, account = account } }
  ]...)
}

# Some agents are made with the first resource of their service; keys, and what Vertex AI may read, need them before.
resource "google_project_service_identity" "agents" {
  for_each = toset(["aiplatform", "artifactregistry", "composer", "pubsub", "secretmanager"])
  provider = google-beta

  project = var.project_id
  service = "${each.key}.googleapis.com"
}

# Three others are made when somebody asks for them. Their addresses follow from the project's number, so that it is
# known beforehand how many grants there are; that they are asked for here is what makes them.
data "google_storage_project_service_account" "agent" {
  project = var.project_id
}

data "google_bigquery_default_service_account" "agent" {
  project = var.project_id
}

data "google_logging_project_cmek_settings" "agent" {
  project = var.project_id
}

resource "google_kms_key_ring" "training" {
  project  = var.project_id
  name     = "f1-training"
  location = var.region
}

resource "google_kms_crypto_key" "of" {
  for_each = local.agents

  name            = each.key
  key_ring        = google_kms_key_ring.training.id
  purpose         = "ENCRYPT_DECRYPT"
  rotation_period = "7776000s"

  # A key that is gone takes every model with it.
  lifecycle {
    prevent_destroy = true
  }
}

resource "google_kms_crypto_key_iam_member" "agents" {
  for_each = local.grants

  crypto_key_id = google_kms_crypto_key.of[each.value.key].id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:${each.value.account}"

  depends_on = [
    google_project_service_identity.agents,
    data.google_storage_project_service_account.agent,
    data.google_bigquery_default_service_account.agent,
    data.google_logging_project_cmek_settings.agent,
  ]
}
