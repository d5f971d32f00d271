variable "project_id" {
  description = "The Google Cloud project that everything is made in."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id is a project's id: 6 to 30 lower case letters, digits and hyphens."
  }
}

variable "region" {
  description = "Region of everything: buckets, datasets and keys must lie where pods and Airflow run."
  type        = string
}

variable "node_zones" {
  description = "Zones of the nodes. Traffic between zones is billed, and training exchanges histograms each round."
  type        = list(string)

  validation {
    condition     = length(var.node_zones) >= 1
    error_message = "node_zones needs a zone; two or more find Spot capacity sooner."
  }
}

variable "billing_account" {
  description = "Id of the billing account that the budget watches."
  type        = string
}

variable "monthly_budget_usd" {
  description = "What a month may cost. Four models a week at $20 to $30 are $344 to $516, whatever else runs."
  type        = number

  validation {
    condition     = var.monthly_budget_usd > 0
    error_message = "monthly_budget_usd must be more than 0."
  }
}

variable "bucket_prefix" {
  description = "Bucket names are unique in the world: PREFIX-artifacts, PREFIX-models, PREFIX-checkpoints, PREFIX-composer."
  type        = string
}

variable "datasets" {
  description = "BigQuery datasets, as `datasets` of the Airflow Variable f1_training."
  type        = map(string)
  default = {
    raw        = "f1_raw"
    candidates = "f1_candidates"
    strategy   = "f1_strategy"
    staging    = "f1_staging"
    evaluation = "f1_evaluation"
  }
}

variable "landing_bucket" {
  description = "A bucket that exists, in which laps land; Airflow may read it. Empty: there is none."
  type        = string
  default     = ""
}

variable "billing_table" {
  description = "Cloud Billing's detailed usage export, PROJECT.DATASET.TABLE, which the cost report reads. Empty: none."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([^.]+[.][^.]+[.][^.]+)?$", var.billing_table))
    error_message = "billing_table is a table in full: PROJECT.DATASET.gcp_billing_export_resource_v1_ACCOUNT."
  }
}

variable "billing_location" {
  description = "Where the dataset of billing_table lies. Empty: in region."
  type        = string
  default     = ""
}

variable "reservation" {
  description = "BigQuery's reservation that f1_data's jobs run in: projects/P/locations/L/reservations/R. Empty: none."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(projects/[^/]+/locations/[^/]+/reservations/[^/]+)?$", var.reservation))
    error_message = "reservation is a reservation in full: projects/P/locations/L/reservations/R."
  }
}

variable "metrics_exporters" {
  description = "Where metrics of training go: prometheus, cloud_monitoring, both or nowhere."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.metrics_exporters : contains(["prometheus", "cloud_monitoring"], name)])
    error_message = "metrics_exporters names prometheus and cloud_monitoring only."
  }
}

variable "deployers" {
  description = "Who may deploy as the deployer's account, as members: user:ANN@example.com, principalSet://..."
  type        = list(string)
  default     = []
}

variable "composer_image" {
  description = "Image of the Composer environment. Pinned: the default is another one next month."
  type        = string
  default     = "composer-3-airflow-3.3.1-build.2"

  validation {
    condition     = can(regex("^composer-3-airflow-[0-9]+[.][0-9]+[.][0-9]+-build[.][0-9]+$", var.composer_image))
    error_message = "composer_image names a build, such as composer-3-airflow-3.3.1-build.2."
  }
}

variable "training_image" {
  description = "The training image, by digest or version. Empty until it has been built and pushed once."
  type        = string
  default     = ""
}

variable "pypi_packages" {
  description = "What Composer installs beside its image: the lines of requirements.txt, as package = \"==version\"."
  type        = map(string)
  default     = {}
}

variable "airflow_ui_ranges" {
  description = "Address ranges from which Airflow's UI may be opened."
  type        = map(string)
}

variable "admin_ranges" {
  description = "Private address ranges (VPN, bastion) from which the cluster's control plane may be reached."
  type        = map(string)
  default     = {}
}

variable "security_group" {
  description = "Google group for RBAC: gke-security-groups@DOMAIN."
  type        = string
}

variable "ranges" {
  description = "Address ranges inside the VPC. They must not overlap with what it is peered with."
  type = object({
    nodes         = string
    pods          = string
    airflow       = string
    control_plane = string
    composer      = string
  })
  default = {
    nodes         = "10.10.0.0/20"
    pods          = "10.12.0.0/16"
    airflow       = "10.10.16.0/24"
    control_plane = "172.16.0.0/28"
    composer      = "100.64.128.0/20"
  }
}

variable "airflow_egress_hosts" {
  description = "What Airflow may reach outside of Google, on port 443: alert channels and sources of laps."
  type        = list(string)
  default = [
    "hooks.slack.com",
    "slack.com",
    "events.pagerduty.com",
    "livetiming.formula1.com",
    "api.jolpi.ca",
  ]
}

variable "image_hosts" {
  description = "Registries outside of Google that nodes may pull images from, on port 443. Our images need none."
  type        = list(string)
  default     = []
}

variable "max_workers" {
  description = "Nodes of one kind of worker at most: two runs of ten workers and two evaluations."
  type        = number
  default     = 22
}

variable "gpu" {
  description = "GPU pools: the accelerator, and the catalogue's tiers that have one. No tiers: no GPU pools."
  type = object({
    accelerator = string
    tiers       = list(string)
  })
  default = {
    accelerator = "nvidia-tesla-t4"
    tiers       = []
  }
}

variable "secrets" {
  # The Variable f1_training is none: `make deploy` sets it in Airflow, and a secret of its name would take its place.
  description = "Airflow's connections in Secret Manager. Only their names: values are added by hand."
  type        = list(string)
  default = [
    "airflow-connections-kubernetes_default",
    "airflow-connections-f1_slack",
    "airflow-connections-f1_pagerduty",
  ]
}

variable "alert_emails" {
  description = "Who is told by e-mail of every alert, by a short name."
  type        = map(string)
}

variable "metric_prefix" {
  description = "What the names of metrics begin with: as Google's client writes them; empty for managed Prometheus."
  type        = string
  default     = "custom_googleapis_com:"
}

variable "critical_channels" {
  description = "Ids of channels with a token (Slack, PagerDuty), made in the console, so that no token is in the state."
  type        = list(string)
  default     = []
}

variable "deletion_protection" {
  description = "Whether `terraform destroy` is refused for the cluster and the datasets."
  type        = bool
  default     = true
}
