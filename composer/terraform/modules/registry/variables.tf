variable "project_id" {
  description = "The project."
  type        = string
}

variable "region" {
  description = "Region of the repositories."
  type        = string
}

variable "labels" {
  description = "Labels of the repositories."
  type        = map(string)
}

variable "kms_key" {
  description = "The key that encrypts them."
  type        = string
}
