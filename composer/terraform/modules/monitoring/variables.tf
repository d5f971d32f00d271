variable "project_id" {
  description = "The project."
  type        = string
}

variable "region" {
  description = "Where logs are kept."
  type        = string
}

variable "labels" {
  description = "Labels."
  type        = map(string)
}

variable "kms_key" {
  description = "The key of the log buckets."
  type        = string
}

variable "bigquery_kms_key" {
  description = "The key of the dataset that audit logs are exported to."
  type        = string
}

variable "alert_emails" {
  description = "Who is told by e-mail, by name."
  type        = map(string)
}

variable "critical_channels" {
  description = "Ids of channels that also get critical alerts."
  type        = list(string)
}

variable "metric_prefix" {
  description = "What the names of metrics begin with; empty where GKE's managed Prometheus scrapes the pods."
  type        = string
}
