variable "project_id" {
  description = "The project."
  type        = string
}

variable "region" {
  description = "Region of the environment."
  type        = string
}

variable "labels" {
  description = "Labels of the environment."
  type        = map(string)
}

variable "image" {
  description = "Image of the environment, a build."
  type        = string
}

variable "pypi_packages" {
  description = "Packages beside the image's."
  type        = map(string)
}

variable "network" {
  description = "The VPC."
  type        = string
}

variable "subnetwork" {
  description = "Airflow's subnet."
  type        = string
}

variable "internal_range" {
  description = "A range that Composer uses inside its own project; it may not overlap with the VPC's."
  type        = string
}

variable "service_account" {
  description = "Airflow's account."
  type        = string
}

variable "bucket" {
  description = "The environment's bucket."
  type        = string
}

variable "ui_ranges" {
  description = "Ranges from which the UI may be opened, by name."
  type        = map(string)
}

variable "kms_key" {
  description = "The environment's key."
  type        = string
}

variable "secrets" {
  description = "Names of connections and variables in Secret Manager."
  type        = list(string)
}

variable "secrets_kms_key" {
  description = "Their key."
  type        = string
}

variable "index" {
  description = "The package index to install from."
  type        = string
}

variable "wheels" {
  description = "The part of it that has this package's wheels."
  type        = string
}
