variable "project_id" {
  description = "The project."
  type        = string
}

variable "region" {
  description = "Region of the subnets."
  type        = string
}

variable "ranges" {
  description = "Address ranges: nodes, pods, airflow, control_plane."
  type        = map(string)
}

variable "node_account" {
  description = "Service account of the nodes: it, not a tag that anybody with a VM could set, decides what nodes may reach."
  type        = string
}

variable "airflow_egress_hosts" {
  description = "Hosts outside of Google that Airflow may reach on port 443."
  type        = list(string)
}

variable "image_hosts" {
  description = "Registries outside of Google that nodes may pull from."
  type        = list(string)
}
