variable "project_id" {
  description = "The project."
  type        = string
}

variable "project_number" {
  description = "Its number: Google's service agents are named after it."
  type        = string
}

variable "region" {
  description = "Where buckets, datasets and keys are."
  type        = string
}

variable "bucket_prefix" {
  description = "The names' beginning."
  type        = string
}

variable "datasets" {
  description = "BigQuery datasets by what they hold."
  type        = map(string)
}

variable "labels" {
  description = "Labels of everything, by which costs are told apart."
  type        = map(string)
}

variable "deletion_protection" {
  description = "Whether datasets with tables survive `terraform destroy`."
  type        = bool
}
