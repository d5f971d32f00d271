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
