variable "project_id" {
  description = "The project."
  type        = string
}

variable "region" {
  description = "Region of the control plane."
  type        = string
}

variable "node_zones" {
  description = "Zones of the nodes."
  type        = list(string)
}

variable "labels" {
  description = "Labels of cluster and nodes, by which costs are told apart."
  type        = map(string)
}

variable "network" {
  description = "The VPC."
  type        = string
}

variable "subnetwork" {
  description = "The nodes' subnet, with the secondary range pods."
  type        = string
}

variable "node_tag" {
  description = "The tag that the firewall's rules are about."
  type        = string
}

variable "control_plane_range" {
  description = "A /28 for the control plane."
  type        = string
}

variable "control_plane_clients" {
  description = "Private ranges that may reach the control plane, by name."
  type        = map(string)
}

variable "node_account" {
  description = "Service account of the nodes; pods have their own."
  type        = string
}

variable "kms_key" {
  description = "The key of Kubernetes' Secrets and of boot disks."
  type        = string
}

variable "security_group" {
  description = "Google group for RBAC."
  type        = string
}

variable "max_workers" {
  description = "Nodes of one pool of workers at most."
  type        = number
}

variable "gpu" {
  description = "The accelerator, and the tiers that have a pool with one."
  type = object({
    accelerator = string
    tiers       = list(string)
  })
}

variable "deletion_protection" {
  description = "Whether `terraform destroy` is refused."
  type        = bool
}
