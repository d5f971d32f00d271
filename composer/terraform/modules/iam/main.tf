# One account for each thing that runs, and for each only what its code calls. docs/permissions.md is made from this.

locals {
  accounts = {
    airflow   = "Airflow: plans, writes snapshots, starts jobs, registers models"
    trainer   = "Chiefs and workers: read the training snapshot, create checkpoints and artifacts"
    evaluator = "Evaluations: read both snapshots and models, create metrics"
    serving   = "Prediction servers: read models"
    nodes     = "Machines of the cluster: logs, metrics, image pulls"
  }
  namespace = "f1-training"
  # What pods are in Kubernetes (composer/k8s/base/service-accounts.yaml), and on Google Cloud.
  kubernetes_accounts = {
    trainer   = "trainer"
    evaluator = "evaluator"
  }
  # Pods may not delete: what they are made to do cannot destroy a checkpoint or a model.
  create_and_read = ["roles/storage.objectCreator", "roles/storage.objectViewer"]
  bucket_roles = {
    "artifacts/trainer"   = { bucket = "artifacts", account = "trainer", roles = local.create_and_read }
    "artifacts/evaluator" = { bucket = "artifacts", account = "evaluator", roles = local.create_and_read }
    "artifacts/airflow"   = { bucket = "artifacts", account = "airflow", roles = ["roles/storage.objectUser"] }
    "models/trainer"      = { bucket = "models", account = "trainer", roles = ["roles/storage.objectViewer"] }
    "models/evaluator"    = { bucket = "models", account = "evaluator", roles = ["roles/storage.objectViewer"] }
    "models/serving"      = { bucket = "models", account = "serving", roles = ["roles/storage.objectViewer"] }
    "models/airflow"      = { bucket = "models", account = "airflow", roles = ["roles/storage.objectUser"] }
    "checkpoints/trainer" = { bucket = "checkpoints", account = "trainer", roles = [google_project_iam_custom_role.checkpoints.id] }
    "checkpoints/airflow" = { bucket = "checkpoints", account = "airflow", roles = ["roles/storage.objectUser"] }
    "composer/airflow"    = { bucket = "composer", account = "airflow", roles = ["roles/storage.objectUser"] }
  }
  bucket_grants = merge([
    for name, grant in local.bucket_roles : { for role in grant.roles : "${name}/${role}" => merge(grant, { role = role }) }
  ]...)
  # The trainer sees the rows that it trains on and no others: never a test row, never the tables that they came from.
  dataset_grants = {
    "staging/trainer"      = { dataset = "staging", account = "trainer", role = "roles/bigquery.dataViewer" }
    "evaluation/evaluator" = { dataset = "evaluation", account = "evaluator", role = "roles/bigquery.dataViewer" }
    # Training rows, too: the evaluation fits a linear model on some, to say what the boosted one is worth.
    "staging/evaluator"  = { dataset = "staging", account = "evaluator", role = "roles/bigquery.dataViewer" }
    "raw/airflow"        = { dataset = "raw", account = "airflow", role = "roles/bigquery.dataEditor" }
    "candidates/airflow" = { dataset = "candidates", account = "airflow", role = "roles/bigquery.dataEditor" }
    "strategy/airflow"   = { dataset = "strategy", account = "airflow", role = "roles/bigquery.dataEditor" }
    "staging/airflow"    = { dataset = "staging", account = "airflow", role = "roles/bigquery.dataEditor" }
    "evaluation/airflow" = { dataset = "evaluation", account = "airflow", role = "roles/bigquery.dataEditor" }
  }
  project_grants = {
    # Without it Composer refuses the account. It is wide; composer/terraform/README.md says what that leaves.
    "airflow/worker"  = { account = "airflow", role = "roles/composer.worker" }
    "airflow/queries" = { account = "airflow", role = "roles/bigquery.jobUser" }
    # To find the cluster; what it may do there is the Role of composer/k8s/base/rbac.yaml.
    "airflow/cluster" = { account = "airflow", role = "roles/container.clusterViewer" }
    "airflow/vertex"  = { account = "airflow", role = "roles/aiplatform.user" }
    # The Storage Read API: sessions and jobs belong to the project, the rows to the dataset.
    "trainer/queries"    = { account = "trainer", role = "roles/bigquery.jobUser" }
    "trainer/sessions"   = { account = "trainer", role = "roles/bigquery.readSessionUser" }
    "evaluator/queries"  = { account = "evaluator", role = "roles/bigquery.jobUser" }
    "evaluator/sessions" = { account = "evaluator", role = "roles/bigquery.readSessionUser" }
    "nodes/node"         = { account = "nodes", role = "roles/container.defaultNodeServiceAccount" }
  }
  repository_grants = {
    "images/nodes"   = { repository = "images", account = "nodes" }
    "index/airflow"  = { repository = "index", account = "airflow" }
    "wheels/airflow" = { repository = "wheels", account = "airflow" }
    "mirror/airflow" = { repository = "mirror", account = "airflow" }
  }
}

resource "google_service_account" "of" {
  for_each = local.accounts

  project      = var.project_id
  account_id   = each.key == "nodes" || each.key == "serving" ? "f1-${each.key}" : each.key
  display_name = "f1-training ${each.key}"
  description  = each.value
}

# Cloud Storage has no role that creates and reads without more.
resource "google_project_iam_custom_role" "checkpoints" {
  project     = var.project_id
  role_id     = "f1TrainingCheckpoints"
  title       = "f1-training: create and read checkpoints"
  description = "Neither replace nor delete: replacing an object takes the right to delete it"
  permissions = ["storage.objects.create", "storage.objects.get", "storage.objects.list"]
}

resource "google_project_iam_member" "of" {
  #checkov:skip=CKV_GCP_49:roles/composer.worker is what Composer asks of its account; the deny policy takes the rights over accounts back
  for_each = local.project_grants

  project = var.project_id
  role    = each.value.role
  member  = google_service_account.of[each.value.account].member
}

resource "google_storage_bucket_iam_member" "of" {
  for_each = local.bucket_grants

  bucket = var.buckets[each.value.bucket]
  role   = each.value.role
  member = google_service_account.of[each.value.account].member
}

resource "google_storage_bucket_iam_member" "landing" {
  count = var.landing_bucket == "" ? 0 : 1

  bucket = var.landing_bucket
  role   = "roles/storage.objectViewer"
  member = google_service_account.of["airflow"].member
}

# Vertex AI's own account uploads what Airflow registered, and serves it.
resource "google_storage_bucket_iam_member" "vertex" {
  bucket = var.buckets["models"]
  role   = "roles/storage.objectViewer"
  member = "serviceAccount:service-${var.project_number}@gcp-sa-aiplatform.iam.gserviceaccount.com"
}

resource "google_artifact_registry_repository_iam_member" "vertex" {
  project    = var.project_id
  location   = var.region
  repository = var.repositories["images"]
  role       = "roles/artifactregistry.reader"
  member     = "serviceAccount:service-${var.project_number}@gcp-sa-aiplatform.iam.gserviceaccount.com"
}

resource "google_artifact_registry_repository_iam_member" "of" {
  for_each = local.repository_grants

  project    = var.project_id
  location   = var.region
  repository = var.repositories[each.value.repository]
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.of[each.value.account].member
}

resource "google_bigquery_dataset_iam_member" "of" {
  for_each = local.dataset_grants

  project    = var.project_id
  dataset_id = var.datasets[each.value.dataset]
  role       = each.value.role
  member     = google_service_account.of[each.value.account].member
}

# Each secret by itself: a secret that somebody else adds to the project is none of Airflow's business.
resource "google_secret_manager_secret_iam_member" "airflow" {
  for_each = var.secrets

  project   = var.project_id
  secret_id = each.value
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.of["airflow"].member
}

# Pods become these accounts by their Kubernetes account; there is no key that could be lost.
resource "google_service_account_iam_member" "pods" {
  for_each = local.kubernetes_accounts

  service_account_id = google_service_account.of[each.key].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.project_id}.svc.id.goog[${local.namespace}/${each.value}]"
}

# A version that is deployed to an endpoint runs as the serving account, which Airflow names.
resource "google_service_account_iam_member" "serving" {
  service_account_id = google_service_account.of["serving"].name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.of["airflow"].member
}

# Composer's agent makes the environment's machines run as Airflow's account.
resource "google_service_account_iam_member" "composer_agent" {
  service_account_id = google_service_account.of["airflow"].name
  role               = "roles/composer.ServiceAgentV2Ext"
  member             = "serviceAccount:service-${var.project_number}@cloudcomposer-accounts.iam.gserviceaccount.com"
}
