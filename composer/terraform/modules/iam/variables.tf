variable "project_id" {
  description = "The project."
  type        = string
}

variable "project_number" {
  description = "Its number: Google's service agents are named after it."
  type        = string
}

variable "region" {
  description = "Region of the repositories."
  type        = string
}

variable "buckets" {
  description = "Names of the buckets: artifacts, models, checkpoints, composer."
  type        = map(string)
}

variable "datasets" {
  description = "Ids of the datasets: raw, candidates, strategy, staging, evaluation."
  type        = map(string)
}

variable "repositories" {
  description = "Artifact Registry: images, wheels, mirror, index."
  type        = map(string)
}

variable "secrets" {
  description = "Ids of the secrets that Airflow reads."
  type        = map(string)
}

variable "landing_bucket" {
  description = "A bucket in which laps land; empty where there is none."
  type        = string
}

variable "billing_table" {
  description = "Cloud Billing's detailed usage export, PROJECT.DATASET.TABLE; empty where there is none."
  type        = string
}

variable "reservation" {
  description = "BigQuery's reservation, projects/P/locations/L/reservations/R; empty where there is none."
  type        = string
}

variable "metrics_exporters" {
  description = "Where metrics of training go: prometheus, cloud_monitoring."
  type        = list(string)
}

variable "deployers" {
  description = "Who may act as the account that deploys."
  type        = list(string)
}
