# What no grant of anybody, now or later, gives back to the accounts of pods. Roles are not granted above either: this is
# for the day on which somebody gives them Editor "for a moment".

locals {
  # Neither delete nor overwrite, in any bucket.
  no_delete = [
    "storage.googleapis.com/objects.delete",
    "storage.googleapis.com/objects.update",
    "storage.googleapis.com/objects.setIamPolicy",
    "storage.googleapis.com/buckets.create",
    "storage.googleapis.com/buckets.delete",
    "storage.googleapis.com/buckets.update",
    "storage.googleapis.com/buckets.setIamPolicy",
  ]
  # No writing to BigQuery: staging is Airflow's.
  no_tables = [
    "bigquery.googleapis.com/tables.create",
    "bigquery.googleapis.com/tables.update",
    "bigquery.googleapis.com/tables.updateData",
    "bigquery.googleapis.com/tables.delete",
    "bigquery.googleapis.com/datasets.create",
    "bigquery.googleapis.com/datasets.update",
    "bigquery.googleapis.com/datasets.delete",
  ]
  no_infrastructure = [
    "compute.googleapis.com/instances.create",
    "compute.googleapis.com/instances.delete",
    "compute.googleapis.com/instances.setMetadata",
    "compute.googleapis.com/networks.create",
    "compute.googleapis.com/firewalls.create",
    "compute.googleapis.com/firewalls.update",
    "compute.googleapis.com/firewalls.delete",
    "container.googleapis.com/clusters.create",
    "container.googleapis.com/clusters.update",
    "container.googleapis.com/clusters.delete",
  ]
  no_identity = [
    "cloudresourcemanager.googleapis.com/projects.setIamPolicy",
    "iam.googleapis.com/roles.create",
    "iam.googleapis.com/roles.update",
    "iam.googleapis.com/serviceAccounts.actAs",
    "iam.googleapis.com/serviceAccounts.create",
    "iam.googleapis.com/serviceAccounts.delete",
    "iam.googleapis.com/serviceAccounts.setIamPolicy",
    "iam.googleapis.com/serviceAccountKeys.create",
    "secretmanager.googleapis.com/versions.access",
  ]
  no_vertex = [
    "aiplatform.googleapis.com/models.upload",
    "aiplatform.googleapis.com/models.update",
    "aiplatform.googleapis.com/models.delete",
    "aiplatform.googleapis.com/endpoints.create",
    "aiplatform.googleapis.com/endpoints.deploy",
    "aiplatform.googleapis.com/endpoints.update",
  ]
  denied = {
    pods = {
      accounts    = ["trainer", "evaluator", "serving", "nodes"]
      permissions = concat(local.no_delete, local.no_tables, local.no_infrastructure, local.no_identity, local.no_vertex)
    }
    # Whoever deploys changes what runs, and neither machines, nor rights, nor data.
    deployer = {
      accounts = ["deployer"]
      permissions = concat(local.no_infrastructure, local.no_tables, local.no_vertex, [
        for permission in local.no_identity : permission if permission != "iam.googleapis.com/serviceAccounts.actAs"
      ])
    }
    # Airflow moves data and starts jobs. It makes no machines itself, and nobody's rights.
    airflow = {
      accounts = ["airflow"]
      permissions = concat(local.no_infrastructure, [
        "cloudresourcemanager.googleapis.com/projects.setIamPolicy",
        "iam.googleapis.com/roles.create",
        "iam.googleapis.com/roles.update",
        "iam.googleapis.com/serviceAccounts.create",
        "iam.googleapis.com/serviceAccounts.delete",
        "iam.googleapis.com/serviceAccounts.setIamPolicy",
        "iam.googleapis.com/serviceAccountKeys.create",
        "storage.googleapis.com/buckets.delete",
        "storage.googleapis.com/buckets.setIamPolicy",
      ])
    }
  }
}

resource "google_iam_deny_policy" "of" {
  for_each = local.denied

  parent       = urlencode("cloudresourcemanager.googleapis.com/projects/${var.project_id}")
  name         = "f1-training-${each.key}"
  display_name = "f1-training: what ${each.key} may never do"

  rules {
    description = "Whatever else is granted"

    deny_rule {
      denied_principals = [
        for account in each.value.accounts :
        "principal://iam.googleapis.com/projects/-/serviceAccounts/${google_service_account.of[account].email}"
      ]
      denied_permissions = each.value.permissions
    }
  }
}
