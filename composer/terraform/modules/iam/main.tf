# One account for each thing that runs, and for each only what its code calls. docs/permissions.md is made from this.

locals {
  accounts = {
    airflow   = "Airflow: plans, writes snapshots, starts jobs, registers models"
    trainer   = "Chiefs and workers: read the training snapshot, create checkpoints and artifacts"
    evaluator = "Evaluations: read both snapshots and models, create metrics"
    serving   = "Prediction servers: read models"
    nodes     = "Machines of the cluster: logs, metrics, image pulls"
    deployer  = "`make deploy`, and the builds that it starts: images, wheel, the environment's packages and DAGs"
  }
  # Names that others in the project may want, too, have ours before them.
  prefixed  = ["nodes", "serving", "deployer"]
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
    # DAGs go into the environment's bucket; the state of deployments and the source of builds lie among the artifacts.
    "composer/deployer"  = { bucket = "composer", account = "deployer", roles = ["roles/storage.objectUser"] }
    "artifacts/deployer" = { bucket = "artifacts", account = "deployer", roles = ["roles/storage.objectUser"] }
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
    "deployer/deploy"    = { account = "deployer", role = google_project_iam_custom_role.deploy.id }
    "deployer/logs"      = { account = "deployer", role = "roles/logging.logWriter" }
  }
  repository_grants = {
    "images/nodes"    = { repository = "images", account = "nodes", role = "roles/artifactregistry.reader" }
    "index/airflow"   = { repository = "index", account = "airflow", role = "roles/artifactregistry.reader" }
    "wheels/airflow"  = { repository = "wheels", account = "airflow", role = "roles/artifactregistry.reader" }
    "mirror/airflow"  = { repository = "mirror", account = "airflow", role = "roles/artifactregistry.reader" }
    "images/deployer" = { repository = "images", account = "deployer", role = "roles/artifactregistry.writer" }
    "wheels/deployer" = { repository = "wheels", account = "deployer", role = "roles/artifactregistry.writer" }
  }
}

resource "google_service_account" "of" {
  for_each = local.accounts

  project      = var.project_id
  account_id   = contains(local.prefixed, each.key) ? "f1-${each.key}" : each.key
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

# What composer/deploy calls of Composer and Cloud Build. roles/composer.admin would also make and delete environments.
resource "google_project_iam_custom_role" "deploy" {
  project     = var.project_id
  role_id     = "f1TrainingDeploy"
  title       = "f1-training: deploy"
  description = "Update an environment, and start builds"
  permissions = [
    "cloudbuild.builds.create",
    "cloudbuild.builds.get",
    "cloudbuild.builds.list",
    "composer.environments.get",
    "composer.environments.list",
    "composer.environments.update",
    "composer.operations.get",
    "composer.operations.list",
    "serviceusage.services.use",
  ]
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

# Pods write to Cloud Monitoring only where the setting metrics.exporters says so.
resource "google_project_iam_member" "metrics" {
  for_each = toset(contains(var.metrics_exporters, "cloud_monitoring") ? ["airflow", "trainer", "evaluator"] : [])

  project = var.project_id
  role    = "roles/monitoring.metricWriter"
  member  = google_service_account.of[each.key].member
}

resource "google_storage_bucket_iam_member" "landing" {
  count = var.landing_bucket == "" ? 0 : 1

  bucket = var.landing_bucket
  role   = "roles/storage.objectViewer"
  member = google_service_account.of["airflow"].member
}

# What was spent, for the cost report. The export is made in the console, often in a project of its own. Where its dataset
# authorises views, grant by hand instead: the provider says that this resource takes such access away.
resource "google_bigquery_dataset_iam_member" "billing" {
  count = var.billing_table == "" ? 0 : 1

  project    = split(".", var.billing_table)[0]
  dataset_id = split(".", var.billing_table)[1]
  role       = "roles/bigquery.dataViewer"
  member     = google_service_account.of["airflow"].member
}

# A job that names its reservation needs this where the reservation is administered. The smallest role that Google has
# with it, BigQuery Resource Editor, could also change the reservation.
resource "google_project_iam_custom_role" "reservation" {
  count = var.reservation == "" ? 0 : 1

  project     = split("/", var.reservation)[1]
  role_id     = "f1TrainingReservation"
  title       = "f1-training: use a reservation"
  description = "Run BigQuery's jobs in a reservation"
  permissions = ["bigquery.reservations.use"]
}

resource "google_project_iam_member" "reservation" {
  count = var.reservation == "" ? 0 : 1

  project = split("/", var.reservation)[1]
  role    = google_project_iam_custom_role.reservation[0].id
  member  = google_service_account.of["airflow"].member
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
  role       = each.value.role
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

# The deployer's builds run as itself.
resource "google_service_account_iam_member" "builds" {
  service_account_id = google_service_account.of["deployer"].name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.of["deployer"].member
}

# Who may deploy, without a key: people, or a pipeline by workload identity federation.
resource "google_service_account_iam_member" "deployers" {
  for_each = toset(var.deployers)

  service_account_id = google_service_account.of["deployer"].name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = each.key
}

# Composer's agent makes the environment's machines run as Airflow's account.
resource "google_service_account_iam_member" "composer_agent" {
  service_account_id = google_service_account.of["airflow"].name
  role               = "roles/composer.ServiceAgentV2Ext"
  member             = "serviceAccount:service-${var.project_number}@cloudcomposer-accounts.iam.gserviceaccount.com"
}
