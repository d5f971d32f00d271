variable "billing_account" {
  description = "Id of the billing account."
  type        = string
}

variable "project_number" {
  description = "The project that counts."
  type        = string
}

variable "monthly_usd" {
  description = "What a month may cost, in US dollars."
  type        = number
}

variable "channels" {
  description = "Who is told."
  type        = list(string)

  validation {
    condition     = length(var.channels) <= 5
    error_message = "A budget tells five channels at most: alert_emails and critical_channels together have more."
  }
}
